"""Noise makes far modes visible, and blurs what is seen: the optimum lies in between.

Left: modes at -m and m, m = 5 sqrt 2, with weights .2/.8 against .5/.5. Their explicit loss, 1e-11 without noise, is 5.2e-4, 2.7e-3, 2.3e-3 and
4.8e-4 at sigma = 2, 4, 5, 10: highest near 4. Right: Old Faithful with noise; the share of a box that the noisy density covers with 99 % of
its mass, against its Kullback-Leibler divergence from the density without that noise; one point for each sigma: more of the one costs more of the other.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 7
NAMED = {2: 5.2e-4, 4: 2.7e-3, 5: 2.3e-3, 10: 4.8e-4}
BOX = np.array([[-3.5, 3.5], [-3.5, 3.5]])  # in standard deviations


def seen_at(sigma):
    """The explicit loss between both mixtures with noise."""
    m = 5 * np.sqrt(2)
    p, q = (ns.GaussianMixture([w, 1 - w], [[-m], [m]], 1.0) for w in (0.2, 0.5))
    return ns.visibility(p, q, sigma).value


def measure():
    """Noise levels with visibility, coverage and bias; asserted: the named numbers, an interior optimum, and that both others rise."""
    sigmas = np.geomspace(0.5, 20, 33)
    seen = np.array([seen_at(s) for s in sigmas])
    for sigma, value in NAMED.items():
        assert abs(seen_at(sigma) / value - 1) < 0.02, sigma
    assert 3 < sigmas[np.argmax(seen)] < 5
    clean = ns.Parzen(ns.standardise(ns.old_faithful()).x[::2], 0.15)
    levels, rng = np.geomspace(0.05, 2, 12), np.random.default_rng(0)
    x = clean.sample(4000, rng=rng)
    coverage = np.array([ns.coverage(clean, s, BOX, n=4000, rng=0).share for s in levels])
    bias = np.array([np.mean(clean.logpdf(x) - clean.perturbed(s).logpdf(x)) for s in levels])
    assert np.all(np.diff(coverage) > -0.03) and coverage[-1] > 3 * coverage[0] and np.all(np.diff(bias) > 0)
    return sigmas, seen, levels, coverage, bias


def draw():
    """Visibility with its optimum; coverage and bias."""
    sigmas, seen, levels, coverage, bias = measure()
    figure, (left, right) = plots.panels(2)
    plots.curves(left, sigmas, {"J$_E$": seen})
    left.plot(list(NAMED), [seen_at(s) for s in NAMED], **(plots.looks(2)[1] | {"linestyle": ""}))
    best = np.argmax(seen)
    plots.rule(left, x=sigmas[best], text=f"best, {sigmas[best]:.2g}")
    left.set(xscale="log", yscale="log", ylim=(1e-8, 1e-2))
    plots.labels(left, "noise σ, in standard deviations of a mode", "J$_E$ with noise", "Are far modes seen?")
    right.plot(bias, coverage, "s-", color=plots.PALETTE[1])
    for k in (0, 5, 7, 9, 11):
        word = {"xytext": (6, -10), "textcoords": "offset points", "fontsize": 8.5}
        right.annotate(f"σ = {levels[k]:.2g}", (bias[k], coverage[k]), **word)
    right.set(xlim=(-0.05, 1.25 * bias[-1]), ylim=(0, 1.05))
    plots.labels(
        right,
        "cost: divergence from the clean density, nats",
        "gain: share of the box covered",
        "Old Faithful: what noise brings and costs",
    )
    return figure
