"""The score points uphill.

Old Faithful's eruptions, standardised, with a Gaussian of width 0.3 on every row: level lines of this Parzen density and arrows along its
score. Along every arrow the density rises, and between the two kinds of eruption the arrows part.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 2
WINDOW, WIDTH = ((-2.4, 2.2), (-2.6, 2.4)), 0.3


def measure():
    """The rows; points of a grid with log p and score of their Parzen density."""
    x = ns.standardise(ns.old_faithful()).x
    density = ns.Parzen(x, WIDTH)
    _, _, points = plots.grid(WINDOW, 40)
    return {"rows": x, "points": points, "log p": density.logpdf(points), "score": density.score(points)}


def claim(found):
    """Asserted: log p is the mean of the rows' Gaussians, the score is the mean way to them over the width squared, and a small step along it goes uphill."""
    x, points, s = found["rows"], found["points"], found["score"]
    way = x[None] - points[:, None]  # (points, rows, 2)
    log_parts = -np.sum(way**2, -1) / (2 * WIDTH**2) - np.log(2 * np.pi * WIDTH**2 * len(x))
    top = log_parts.max(1, keepdims=True)
    log_p = top[:, 0] + np.log(np.sum(np.exp(log_parts - top), 1))
    np.testing.assert_allclose(found["log p"], log_p, rtol=1e-9)
    share = np.exp(log_parts - log_p[:, None])
    np.testing.assert_allclose(s, np.einsum("pr,prd->pd", share, way) / WIDTH**2, rtol=1e-8, atol=1e-9)
    rise = ns.Parzen(x, WIDTH).logpdf(points + 1e-5 * s) - log_p
    np.testing.assert_allclose(rise, 1e-5 * np.sum(s**2, 1), rtol=1e-2, atol=1e-12)


def draw():
    """Rows, level lines, arrows."""
    found = measure()
    claim(found)
    figure, (ax,) = plots.panels(1, width=5.4, height=4.6)
    ax.plot(*found["rows"].T, ".", color=plots.INK, markersize=3, alpha=0.35)
    plots.score_field(ax, ns.Parzen(found["rows"], WIDTH), WINDOW, arrows=13)
    plots.labels(ax, "eruption, standardised", "waiting time, standardised", "Old Faithful: density and score")
    return figure
