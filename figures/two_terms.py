"""One term flattens, the other sharpens, together they settle.

The model s = -theta x on Old Faithful's waiting times: gradient descent on the square alone lets theta die away, on the trace alone lets it
grow without end, on both brings it to 1/E|x|^2, the precision of the data.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 4
START, STEP = 0.4, 1e-3
SLOPES = {"square alone": lambda m, y: m * y, "trace alone": lambda m, y: -1.0, "both": lambda m, y: m * y - 1}


def measure():
    """The mean square of the data, times, and theta(t) of the three flows by descent in small steps."""
    m = np.mean((ns.standardise(ns.old_faithful()).x[:, 1:] + 0.3) ** 2)
    t = np.arange(5001) * STEP
    found = {"m": m, "t": t}
    for name, slope in SLOPES.items():
        theta = [START]
        for _ in t[1:]:
            theta.append(theta[-1] - STEP * slope(m, theta[-1]))
        found[name] = np.array(theta)
    return found


def claim(found):
    """Asserted: the data's mean square, 1 + 0.3^2; each flow within a step of its closed form; theta within 2 % of 1/m at the end."""
    m, t = found["m"], found["t"]
    np.testing.assert_allclose(m, 1.09, rtol=1e-9)
    np.testing.assert_allclose(t[[1, -1]], [STEP, 5])
    decay = np.exp(-m * t)
    exact = {"square alone": START * decay, "trace alone": START + t, "both": 1 / m + (START - 1 / m) * decay}
    for name, theta in exact.items():
        np.testing.assert_allclose(found[name], theta, rtol=STEP * 5, atol=STEP)
    assert abs(found["both"][-1] * m - 1) < 0.02


def draw():
    """The three flows."""
    found = measure()
    claim(found)
    figure, (ax,) = plots.panels(1, width=5.4, height=3.2)
    square, trace, both = (look | {"marker": ""} for look in plots.looks(3))
    t, best = found["t"], 1 / found["m"]
    ax.axhline(best, color=plots.INK, linewidth=0.8, linestyle=(0, (2, 2)))
    for name, look in zip(SLOPES, (square, trace, both), strict=True):
        ax.plot(t, found[name], **look)
    plots.name(ax, 5, 0.01, "the square alone: flat", square["color"], ha="right", xytext=(0, 11))
    plots.name(ax, 1.9, 2.3, "the trace alone:\na needle", trace["color"], ha="right", va="bottom", xytext=(-8, 2))
    plots.name(ax, 5, best, "both: θ = 1/E|x|², the data's precision", both["color"], ha="right", xytext=(0, 11))
    ax.set(xlim=(0, 5), ylim=(0, 3))
    plots.labels(ax, "time of the descent", "θ, 1/[x]²", "Model s = −θx")
    return figure
