"""The two losses differ by a constant, and so share their minimum; where the data end at a wall they do not.

Left: data with two modes, a Gaussian model whose width varies. J_E and J_I run in parallel, C = 1/2 E|s_0|^2 = 0.401 apart, and have their
minimum at one width. Right: exponential data of rate 1, a model of rate b. The gap is C - b there, so the minimum of J_I is at b = 0, whatever
the data, and not at their rate.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 3
DATA = ns.GaussianMixture([0.3, 0.7], [[-1.5], [1.0]], [[[0.6]], [[0.8]]])


def losses(data, models):
    """Explicit and implicit loss of each model (k,) and half the Fisher information, by quadrature on one grid."""

    def columns(x):
        s_0 = data.score(x)
        explicit = [ns.explicit_loss(model.score(x), s_0) for model in models]
        implicit = [ns.implicit_loss(model.score(x), model.trace(x)) for model in models]
        return np.stack([*explicit, *implicit, np.sum(s_0**2, 1) / 2], 1)

    values = ns.expectation(columns, data).value
    return values[: len(models)], values[len(models) : -1], values[-1]


def measure():
    """Both losses and C, over widths of a model of the mixture, and over rates of a model of the exponential."""
    widths, rates = np.linspace(0.75, 3, 91), np.linspace(0, 2.5, 26)
    J_E, J_I, C = losses(DATA, [ns.Gaussian(0.25, w) for w in widths**2])
    wall = losses(ns.Exponential(1.0), [ns.Exponential(max(b, 1e-12)) for b in rates])
    return {
        "widths": widths,
        "J_E": J_E,
        "J_I": J_I,
        "C": C,
        "rates": rates,
        "J_E at the wall": wall[0],
        "J_I at the wall": wall[1],
    }


def claim(found):
    """Asserted: the closed forms of all losses, a constant gap and one minimum on the line, -ab more and two minima at the wall."""
    w, J_E, J_I, C = (found[key] for key in ("widths", "J_E", "J_I", "C"))
    square = 0.3 * (0.6 + 1.75**2) + 0.7 * (0.8 + 0.75**2)  # E(x - 0.25)^2
    np.testing.assert_allclose(J_I, square / (2 * w**4) - 1 / w**2, atol=1e-10)
    np.testing.assert_allclose(J_E - J_I, C + 0 * w, atol=1e-10)
    assert np.argmin(J_E) == np.argmin(J_I) and abs(C - 0.401) < 5e-4
    b, J_E, J_I = (found[key] for key in ("rates", "J_E at the wall", "J_I at the wall"))
    np.testing.assert_allclose(J_E, (b - 1) ** 2 / 2, atol=1e-10)
    np.testing.assert_allclose(J_E - J_I - 0.5, -b, atol=1e-10)  # -ab
    assert b[np.argmin(J_E)] == 1 and b[np.argmin(J_I)] == 0


def draw():
    """Losses against the model's width, and against its rate at the wall."""
    found = measure()
    claim(found)
    figure, (left, right) = plots.panels(2, height=3.2)
    blue, red = plots.looks(2)
    for ax, x, ends in ((left, "widths", ""), (right, "rates", " at the wall")):
        for name, look in (("J_E", blue), ("J_I", red)):
            y = found[name + ends]
            ax.plot(found[x], y, **(look | {"marker": ""}))
            best = np.argmin(y)
            ax.plot(found[x][best], y[best], color=look["color"], marker=look["marker"], markersize=7)
    best = np.argmin(found["J_E"])
    plots.between(left, found["widths"][best], found["J_I"][best], found["J_E"][best], "C")
    plots.name(left, 2.9, 0.3, "$J_E$, explicit", blue["color"], ha="right", xytext=(0, 9))
    plots.name(left, 2.9, -0.1, "$J_I$, implicit", red["color"], ha="right", xytext=(0, -11))
    left.set_ylim(-0.5, 1.9)
    plots.labels(left, "standard deviation of the model, [x]", "loss, 1/[x]²", "On the line: one minimum")
    right.set_ylim(-0.35, 2.4)
    plots.name(right, 1.0, 0.0, "b = 1, the data's", blue["color"], xytext=(-10, -12), ha="left")
    plots.name(right, 0.0, 0.0, "b = 0", red["color"], xytext=(0, -12), ha="left")
    plots.name(right, 2.1, 0.6, "$J_E$", blue["color"], xytext=(6, -6))
    plots.name(right, 1.7, 1.45, "$J_I$", red["color"], xytext=(-6, 4), ha="right")
    plots.labels(right, "rate b of the model, 1/[x]", "loss, 1/[x]²", "At a wall: two")
    return figure
