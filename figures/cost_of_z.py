"""The normaliser gets exponentially more expensive with the dimension, the score does not.

A trapezoidal grid needs a power of the dimension in points: to reach Z of sum x^2/2 + x^4/10 to 1e-8 it takes N points in one dimension
and N^d in d. Counted up to d = 4 (squares), and continued as N^d: in ten dimensions it is more than 1e13.
"""

import numpy as np

from numpyscore.display import plots

CHAPTER = 1


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
        if abs(np.exp(-grid).sum() * h**d / Z**d - 1) < 1e-8:
            return grid.size
    raise ArithmeticError("no grid of up to 63 points an axis reaches 1e-8")


def measure():
    """Points counted for d = 1..4, and that they grow at least as a power of those for d = 1."""
    axis, h = np.linspace(-8, 8, 4001, retstep=True)
    Z = np.exp(-energy(axis)).sum() * h
    counted = np.array([points_needed(d, Z) for d in (1, 2, 3, 4)])
    assert np.all(counted >= counted[0] ** np.arange(1, 5)), counted
    assert float(counted[0]) ** 10 > 1e13
    return counted


def draw():
    """Points against the dimension."""
    counted = measure()
    figure, (ax,) = plots.panels(1, width=5.2)
    d = np.arange(1, 11)
    plots.curves(ax, d, {f"{counted[0]}$^d$": float(counted[0]) ** d})
    ax.plot(d[:4], counted, **(plots.looks(2)[1] | {"linestyle": ""}), label="counted")
    ax.set_yscale("log")
    ax.legend()
    plots.labels(ax, "dimension d", "points of the grid", "Cost of Z to eight digits")
    return figure
