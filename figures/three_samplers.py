"""Plain Langevin keeps the shares it was started with; annealed Langevin finds those of the data.

Two modes at (-5, -5) and (5, 5) of weights 0.2 and 0.8; 8000 chains from uniform starts, 300 of them drawn. Independent samples: 0.20 in the
lesser mode. Plain Langevin: 0.50, as started. Annealed from sigma = 20 down to 1: within 0.04 of the truth.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 8
N = 8000


def measure():
    """Samples (N, 2) of the three ways and the share of each in the lesser mode."""
    p = ns.GaussianMixture([0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]], 1.0)
    rng = np.random.default_rng(0)
    start = rng.uniform(-8, 8, (N, 2))
    found = {
        "independent": p.sample(N, rng=rng),
        "plain Langevin": ns.langevin(p, start, 0.1, 150, rng=rng).samples,
        "annealed Langevin": ns.annealed_langevin(
            p.perturbed, start, ns.geometric_levels(20, 1, 10), 50, step=0.05, rng=rng
        ).samples,
    }
    return found | {"shares": np.array([np.mean(x.sum(1) < 0) for x in found.values()])}


def claim(found):
    """Asserted: the shares are those of the samples; each sample of the greater mode is centred where the data are."""
    names = [name for name in found if name != "shares"]
    sigma = {"annealed Langevin": np.sqrt(2.0)}  # its last level is the density with noise 1
    for name, share in zip(names, found["shares"], strict=True):
        x = found[name]
        assert share == np.mean(x.sum(1) < 0)
        greater = x[x.sum(1) > 0]
        np.testing.assert_allclose(greater.mean(), 5, atol=3.5 * sigma.get(name, 1) / np.sqrt(greater.size))
    assert (
        abs(found["shares"][0] - 0.2) < 0.02
        and abs(found["shares"][1] - 0.5) < 0.02
        and abs(found["shares"][2] - 0.2) < 0.04
    )


def draw():
    """Three clouds side by side."""
    found = measure()
    claim(found)
    shares = found.pop("shares")
    figure, axes = plots.panels(3, height=2.8, sharex=True, sharey=True)
    for ax, (name, x), share, colour in zip(axes, found.items(), shares, plots.PALETTE, strict=False):
        ax.plot(*x[:300].T, ".", color=colour, markersize=3)
        ax.set(xlim=(-9, 9), ylim=(-9, 9), aspect="equal", title=name, xlabel="x₁, [x]")
        ax.annotate(f"{share:.2f}", (-8.5, 0.6), fontsize=14, color=colour)
        ax.annotate(f"{1 - share:.2f}", (4.2, -1.8), fontsize=14, color=colour)
    axes[0].set_ylabel("x₂, [x]")
    return figure
