"""One term flattens, the other sharpens, together they settle.

The model s = -theta x on Old Faithful's waiting times: gradient descent on the square alone lets theta die away, on the trace alone lets it
grow without end, on both brings it to 1/E|x|^2, the precision of the data.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 4


def measure():
    """Times and theta(t) of the three flows, by descent in small steps; asserted: against their closed forms to 1e-2."""
    x = ns.standardise(ns.old_faithful()).x[:, 1:] + 0.3
    m, step, start = np.mean(x**2), 1e-3, 0.4
    t = np.arange(5001) * step
    slopes = {"square alone": lambda y: m * y, "trace alone": lambda y: -1.0, "both": lambda y: m * y - 1}
    theta = {name: [start] for name in slopes}
    for name, slope in slopes.items():
        for _ in t[1:]:
            theta[name].append(theta[name][-1] - step * slope(theta[name][-1]))
    decay = np.exp(-m * t)
    exact = {"square alone": start * decay, "trace alone": start + t, "both": 1 / m + (start - 1 / m) * decay}
    for name in slopes:
        np.testing.assert_allclose(theta[name], exact[name], atol=1e-2)
    return t, theta, 1 / m


def draw():
    """The three flows."""
    t, theta, best = measure()
    figure, (ax,) = plots.panels(1, width=5.4)
    plots.curves(ax, t, theta)
    plots.rule(ax, y=best, text="1/E|x|²")
    ax.set_ylim(0, 3)
    plots.labels(ax, "time of the gradient flow", "theta", "Model s = -theta x")
    return figure
