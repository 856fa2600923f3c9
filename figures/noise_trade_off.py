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
COVERED, BLURRED = (0.1615, 0.4200, 1.0000), (0.5001, 2.0743)  # at three levels and at two
BOX = np.array([[-3.5, 3.5], [-3.5, 3.5]])  # in standard deviations


def seen_at(sigma):
    """The explicit loss between both mixtures with noise."""
    m = 5 * np.sqrt(2)
    p, q = (ns.GaussianMixture([w, 1 - w], [[-m], [m]], 1.0) for w in (0.2, 0.5))
    return ns.visibility(p, q, sigma).value


def measure():
    """Noise levels with what they show; others with the share of a box they cover and the divergence from the clean density."""
    sigmas = np.sort(np.append(np.geomspace(0.5, 20, 28), [*NAMED]))
    clean = ns.Parzen(ns.standardise(ns.old_faithful()).x[::2], 0.15)
    levels, rng = np.geomspace(0.05, 2, 12), np.random.default_rng(0)
    x = clean.sample(4000, rng=rng)
    return {
        "sigmas": sigmas, "seen": np.array([seen_at(s) for s in sigmas]), "levels": levels,
        "coverage": np.array([ns.coverage(clean, s, BOX, n=4000, rng=0).share for s in levels]),
        "bias": np.array([np.mean(clean.logpdf(x) - clean.perturbed(s).logpdf(x)) for s in levels]),
    }  # fmt: skip


def claim(found):
    """Asserted: what is seen, again on a grid, with its optimum inside; both others rise from a level to the next, and have the values named."""
    sigmas, seen = found["sigmas"], found["seen"]
    t, m = np.linspace(-120, 120, 24001), 5 * np.sqrt(2)
    for sigma, value in zip(sigmas, seen, strict=True):
        v = 1 + sigma**2
        low, high = np.exp(-((t + m) ** 2) / (2 * v)), np.exp(-((t - m) ** 2) / (2 * v))
        a, b = (w * low + (1 - w) * high for w in (0.2, 0.5))
        inside = a > 1e-290
        gap = 2 * m / v * (0.5 * low[inside] / b[inside] - 0.2 * low[inside] / a[inside])
        np.testing.assert_allclose(value, np.sum(a[inside] * gap**2 / 2) / np.sum(a), rtol=1e-5)
    for sigma, value in NAMED.items():
        assert abs(seen[np.argmin(np.abs(sigmas - sigma))] / value - 1) < 0.02, sigma
    assert 3 < sigmas[np.argmax(seen)] < 5
    coverage, bias = found["coverage"], found["bias"]
    np.testing.assert_allclose(found["levels"][[0, -1]], [0.05, 2], rtol=1e-9)
    assert np.all(np.diff(coverage) > -0.03) and np.all(np.diff(bias) > 0)
    np.testing.assert_allclose(coverage[[0, 7, -1]], COVERED, rtol=4e-3)
    np.testing.assert_allclose(bias[[7, -1]], BLURRED, rtol=4e-3)


def draw():
    """Visibility with its optimum; coverage and bias."""
    found = measure()
    claim(found)
    sigmas, seen = found["sigmas"], found["seen"]
    figure, (left, right) = plots.panels(2, height=3.2)
    blue, red = plots.PALETTE[:2]
    left.plot(sigmas, seen, color=blue)
    at = np.isin(sigmas, [*NAMED])
    left.plot(sigmas[at], seen[at], "s", color=blue)
    best = np.argmax(seen)
    plots.rule(left, x=sigmas[best], text=f"best, {sigmas[best]:.2g}")
    left.set(xscale="log", yscale="log", ylim=(1e-8, 1e-2))
    plots.labels(left, "noise σ, in standard deviations of a mode", "$J_E$ with noise, 1/[x]²", "Are far modes seen?")
    coverage, bias = found["coverage"], found["bias"]
    right.plot(bias, coverage, "s-", color=red)
    for k in (1, 5, 7, 9, 11):
        plots.name(right, bias[k], coverage[k], f"σ = {found['levels'][k]:.2g}", xytext=(7, -7))
    right.set(xlim=(-0.05, 1.25 * bias[-1]), ylim=(0, 1.05))
    plots.labels(
        right,
        "cost: divergence from the clean density, nats",
        "gain: share of the box covered",
        "What noise brings and costs",
    )
    return figure
