"""One field for each noise level: from one hill, where all arrows agree, to the two of the data.

Old Faithful's density with noise sigma = 2, 0.9, 0.4, 0.15 (a Gaussian on each row) and its score, times sigma. The same 24 points flow down
through all of them by dx/dsigma = -sigma s and end where the data are.
"""

from itertools import pairwise

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 7
LEVELS, WINDOW, WIDTH = (2.0, 0.9, 0.4, 0.15), ((-3.4, 3.4), (-3.4, 3.4)), 0.12


def family(sigma):
    """The density of the standardised data with noise sigma."""
    return ns.Parzen(ns.standardise(ns.old_faithful()).x, WIDTH).perturbed(sigma)


def measure():
    """Fine levels (k,), paths (k, 24, 2), and each level's density on a grid (4, 61, 61)."""
    fine = np.geomspace(LEVELS[0], LEVELS[-1], 40)
    paths = [family(LEVELS[0]).sample(24, rng=3)]
    for high, low in pairwise(fine):
        paths.append(ns.transport(family, paths[-1], high, low, volume=False, rtol=1e-6).x)
    _, _, points = plots.grid(WINDOW, 61)
    density = np.array([np.exp(family(sigma).logpdf(points)).reshape(61, 61) for sigma in LEVELS])
    return {"levels": fine, "paths": np.array(paths), "density": density}


def claim(found):
    """Asserted: in one go the flow arrives at the same points; those are at the data; each density has the mass its Gaussians have there."""
    from scipy.special import ndtr

    x, paths = ns.standardise(ns.old_faithful()).x, found["paths"]
    direct = ns.transport(family, paths[0], found["levels"][0], found["levels"][-1], volume=False, rtol=1e-8).x
    np.testing.assert_allclose(paths[-1], direct, atol=2e-3)
    nearest = lambda y: np.sqrt(((y[:, None] - x[None]) ** 2).sum(-1)).min(1)
    assert np.median(nearest(paths[-1])) < 0.1 and np.median(nearest(paths[0])) > 0.4
    np.testing.assert_allclose(found["levels"][[0, -1]], [LEVELS[0], LEVELS[-1]])
    for sigma, p in zip(LEVELS, found["density"], strict=True):
        side = np.sqrt(sigma**2 + WIDTH**2)
        mass = np.mean(np.prod(ndtr((3.4 - x) / side) - ndtr((-3.4 - x) / side), axis=1))
        axis = np.linspace(-3.4, 3.4, 61)
        np.testing.assert_allclose(np.trapezoid(np.trapezoid(p, axis), axis), mass, rtol=4e-3)


def draw():
    """Four levels, a field in each, and the way the points have come since the level before."""
    found = measure()
    claim(found)
    fine, paths = found["levels"], found["paths"]
    figure, axes = plots.panels(4, width=9.6, height=2.9, sharex=True, sharey=True)
    for k, (ax, sigma) in enumerate(zip(axes, LEVELS, strict=True)):
        gx, gy, _ = plots.grid(WINDOW, 61)
        p = found["density"][k]
        ax.contour(gx, gy, p / p.max(), [0.05, 0.3, 0.8], colors=plots.PALETTE[5], linewidths=0.8)
        _, _, tails = plots.grid(WINDOW, 9)
        s = sigma * family(sigma).score(tails)  # in units of 1/sigma: comparable from level to level
        s = s / np.maximum(1, np.linalg.norm(s, axis=1, keepdims=True) / 1.4)
        ax.quiver(*tails.T, *s.T, color=plots.PALETTE[0], width=0.006, scale=16, pivot="mid")
        at = int(np.argmin(np.abs(fine - sigma)))
        since = 0 if k == 0 else int(np.argmin(np.abs(fine - LEVELS[k - 1])))
        ax.plot(paths[since : at + 1 : 2, :, 0], paths[since : at + 1 : 2, :, 1], color=plots.PALETTE[1], linewidth=1.1)
        ax.plot(*paths[at].T, "o", color=plots.PALETTE[1], markersize=3.6)
        ax.set(xlim=WINDOW[0], ylim=WINDOW[1], title=f"σ = {sigma:g}", aspect="equal", xlabel="eruption, standardised")
    axes[0].set_ylabel("waiting, standardised")
    return figure
