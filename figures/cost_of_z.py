"""Nobody can pay for Z in many dimensions; the score does not ask for it.

Z of the energy f, the sum over dimensions of x^2/2 + x^4/10, to eight digits. A grid needs 25 points in one dimension and 25^d in d (squares:
counted). Samples from a normal distribution start at 8e14, and their number grows with 1.08^d. The score of a point
is one evaluation.
"""

import numpy as np

from numpyscore.display import plots

CHAPTER = 1
DIGITS = 1e-8


def energy(x):
    """One coordinate's part of the energy."""
    return x**2 / 2 + x**4 / 10


def points_needed(d, Z):
    """Points of the coarsest grid in d dimensions that gives Z^d to a relative 1e-8."""
    for m in range(4, 64):
        axis, h = np.linspace(-5.5, 5.5, m, retstep=True)
        grid = energy(axis)
        for _ in range(d - 1):
            grid = np.add.outer(grid, energy(axis))
        if abs(np.exp(-grid).sum() * h**d / Z**d - 1) < DIGITS:
            return grid.size
    raise ArithmeticError("no grid of up to 63 points an axis reaches 1e-8")


def measure():
    """Points counted for d = 1..4; and how often larger E[w^2] is than Z^2 in one dimension, w = exp(-f)/q with q the normal density."""
    axis, h = np.linspace(-8, 8, 4001, retstep=True)
    Z = np.exp(-energy(axis)).sum() * h
    square = (np.exp(-2 * energy(axis) + axis**2 / 2) * np.sqrt(2 * np.pi)).sum() * h
    counted = np.array([points_needed(d, Z) for d in (1, 2, 3, 4)], float)
    return {"counted": counted, "ratio": np.array(square / Z**2)}


def claim(found):
    """Asserted: the counts, that a grid's price is their power; and the variance of 200 000 weights in one dimension, within four standard errors."""
    counted = found["counted"]
    np.testing.assert_allclose(counted, [25, 625, 15625, 390625], rtol=1e-9)
    y = np.random.default_rng(0).standard_normal(200_000)
    w = np.exp(-(y**4) / 10)  # exp(-f)/q up to a constant
    found_ratio = np.mean(w**2) / np.mean(w) ** 2
    error = np.std(w**2 / np.mean(w) ** 2 - 2 * found_ratio * w / np.mean(w)) / np.sqrt(len(y))
    assert abs(found["ratio"] - found_ratio) < 4 * error < 0.003, (found["ratio"], found_ratio, error)


def draw():
    """Points, samples and evaluations against the dimension."""
    found = measure()
    claim(found)
    counted, ratio = found["counted"], found["ratio"]
    figure, (ax,) = plots.panels(1, width=5.4, height=3.2)
    d = np.arange(1, 21)
    grid, sampled, score = plots.looks(3)
    ax.plot(d, counted[0] ** d, **(grid | {"marker": ""}))
    ax.plot(d[:4], counted, color=grid["color"], marker="s", linestyle="")
    ax.plot(d, (ratio**d - 1) / DIGITS**2, **(sampled | {"marker": ""}))
    ax.plot(d, np.ones(20), **(score | {"marker": "", "linewidth": 2.4}))
    ax.set(yscale="log", xticks=[1, 5, 10, 15, 20])
    plots.name(ax, 9, 25.0**9, "Z on a grid:\n25$^d$ points", grid["color"], xytext=(8, -22))
    plots.name(ax, 1, 1e15, "Z by samples: about 10$^{15}$", sampled["color"], xytext=(-4, 14))
    plots.name(ax, 20, 1, "a score: one evaluation", score["color"], ha="right", xytext=(0, 8))
    plots.labels(ax, "dimension d", "evaluations of the energy", "Eight digits of Z, or a score")
    return figure
