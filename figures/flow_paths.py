"""The probability flow carries each point down at its own quantile.

Data: 0.3 N(-2, 0.09) + 0.7 N(1.5, 0.25) with noise from sigma = 8 down to 0.05. The paths solve dx/dsigma = -sigma s(x). In one dimension no
path can cross another, so each keeps the share of the density below it, to 1e-6: that is why samples of the noise become samples of the
data.
"""

from itertools import pairwise

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 8
WEIGHTS, MEANS, VARIANCES = np.array([0.3, 0.7]), np.array([-2.0, 1.5]), np.array([0.09, 0.25])


def below(x, sigma):
    """The share of the noisy density below x (n,)."""
    from scipy.special import ndtr

    return ndtr((x[:, None] - MEANS) / np.sqrt(VARIANCES + sigma**2)) @ WEIGHTS


def measure():
    """Noise levels (k,), paths (k, n), the shares (n,) they begin with, and the density before and after."""
    p = ns.GaussianMixture(WEIGHTS, MEANS[:, None], VARIANCES)
    sigmas = np.geomspace(8, 0.05, 60)
    shares = (np.arange(20) + 0.5) / 20
    grid = np.linspace(-30, 30, 60001)
    paths = [np.interp(shares, below(grid, sigmas[0]), grid)]
    for high, low in pairwise(sigmas):
        paths.append(ns.transport(p.perturbed, paths[-1][:, None], high, low, volume=False, rtol=1e-8).x[:, 0])
    y = np.linspace(-24, 24, 4801)
    return {
        "sigmas": sigmas, "paths": np.array(paths), "shares": shares, "y": y,
        "noisy": np.exp(p.perturbed(8.0).logpdf(y[:, None])), "clean": np.exp(p.perturbed(0.05).logpdf(y[:, None])),
    }  # fmt: skip


def claim(found):
    """Asserted: the share below each path is the same at every level; both densities hold the mass that they should."""
    shares = np.array([below(x, s) for x, s in zip(found["paths"], found["sigmas"], strict=True)])
    np.testing.assert_allclose(shares, np.broadcast_to(found["shares"], shares.shape), atol=1e-5)
    for name, sigma in (("noisy", 8.0), ("clean", 0.05)):
        y = found["y"]
        mass = below(y[-1:], sigma)[0] - below(y[:1], sigma)[0]
        np.testing.assert_allclose(np.trapezoid(found[name], y), mass, rtol=1e-4)


def draw():
    """Noise on the horizontal axis, from large on the left to small on the right; the densities at both ends."""
    found = measure()
    claim(found)
    figure, (left, ax, right) = plots.panels(
        3, height=3.4, together=True, sharey=True, gridspec_kw={"width_ratios": [1, 5, 1]}
    )
    plots.profile(left, found["noisy"][::40], found["y"][::40], plots.PALETTE[0], towards="left")
    plots.profile(right, found["clean"][::10], found["y"][::10], plots.PALETTE[0])
    lower = found["shares"] < WEIGHTS[0]
    for below_, colour, dash in ((lower, plots.PALETTE[1], (0, (5, 2))), (~lower, plots.PALETTE[2], "-")):
        ax.plot(found["sigmas"], found["paths"][:, below_], color=colour, linewidth=1.1, linestyle=dash)
    ax.set(xscale="log", xlim=(8, 0.05), ylim=(-22, 22))
    plots.labels(ax, "noise σ, [x], from large to small", "", "30 % go to the lower mode")
    left.set(ylabel="x, [x]", title="σ = 8")
    right.set(title="σ = 0.05")
    return figure
