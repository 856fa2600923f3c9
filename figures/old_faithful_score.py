"""The score points uphill.

Old Faithful's eruptions, standardised, with a Gaussian of width 0.3 on every row: level lines of this Parzen density and arrows along its
score. Along every arrow the density rises, and between the two kinds of eruption the arrows part.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 2
WINDOW = ((-2.4, 2.2), (-2.6, 2.4))


def measure():
    """The rows and their Parzen density; asserted: a small step along the score goes uphill, everywhere in the window."""
    x = ns.standardise(ns.old_faithful()).x
    density = ns.Parzen(x, 0.3)
    _, _, points = plots.grid(WINDOW, 40)
    s = density.score(points)
    rise = density.logpdf(points + 1e-5 * s) - density.logpdf(points)
    np.testing.assert_allclose(rise, 1e-5 * np.sum(s**2, 1), rtol=1e-2, atol=1e-12)
    return x, density


def draw():
    """Rows, level lines, arrows."""
    x, density = measure()
    figure, (ax,) = plots.panels(1, width=5.4, height=4.6)
    ax.plot(*x.T, ".", color=plots.INK, markersize=3, alpha=0.35)
    plots.score_field(ax, density, WINDOW, arrows=15)
    plots.labels(ax, "eruption, standardised", "waiting time, standardised", "Old Faithful: density and score")
    return figure
