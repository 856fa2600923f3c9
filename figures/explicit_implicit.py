"""The two losses differ by a constant, unless something crosses the boundary.

Left: data with two modes, a Gaussian model whose width varies; explicit and implicit loss run in parallel, half the Fisher information
apart, and share their minimum. Right: exponential data of rate a = 1 and an exponential model of rate b; the constant is missed by -ab.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 3


def losses(data, model):
    """Explicit loss, implicit loss and half the Fisher information, by quadrature."""

    def columns(x):
        s_0, s = data.score(x), model.score(x)
        return np.stack([ns.explicit_loss(s, s_0), ns.implicit_loss(s, model.trace(x)), np.sum(s_0**2, 1) / 2], 1)

    return ns.expectation(columns, data).value


def measure():
    """Widths with both losses and the constant, rates with the gap; asserted: a constant, one minimum, and -ab, all to 1e-10."""
    data = ns.GaussianMixture([0.3, 0.7], [[-1.5], [1.0]], [[[0.6]], [[0.8]]])
    widths = np.linspace(0.75, 3, 46)
    explicit, implicit, fisher = np.array([losses(data, ns.Gaussian(0.25, w)) for w in widths**2]).T
    np.testing.assert_allclose(explicit - implicit, fisher[0], atol=1e-10)
    assert np.argmin(explicit) == np.argmin(implicit)
    rates = np.linspace(0.25, 3, 12)
    found = np.array([losses(ns.Exponential(1.0), ns.Exponential(b)) for b in rates]).T
    gap = found[0] - found[1] - found[2]
    np.testing.assert_allclose(gap, -rates, atol=1e-10)
    return widths, explicit, implicit, fisher[0], rates, gap


def draw():
    """Losses against the model's width, and the exponential's gap against its rate."""
    widths, explicit, implicit, constant, rates, gap = measure()
    figure, (left, right) = plots.panels(2)
    plots.curves(left, widths, {"explicit J$_E$": explicit, "implicit J$_I$": implicit})
    best = np.argmin(explicit)
    plots.rule(left, x=widths[best], text="both minima")
    left.annotate("", (2.6, explicit[-10]), (2.6, implicit[-10]), arrowprops={"arrowstyle": "<->", "color": plots.INK})
    left.annotate(
        f"{constant:.3f}",
        (2.6, (explicit[-10] + implicit[-10]) / 2),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
    )
    plots.labels(left, "standard deviation of the model", "loss", "No boundary: a constant")
    look = plots.looks(2)
    right.plot(rates, -rates, **(look[0] | {"marker": ""}), label="-ab")
    right.plot(rates, gap, **(look[1] | {"linestyle": ""}), label="J$_E$ - J$_I$ - C, measured")
    right.legend()
    plots.labels(right, "rate b of the model", "gap", "Exponential data, a = 1")
    return figure
