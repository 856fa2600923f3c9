"""The trial: random and adversarial integrals whose values are known by other means, and not one false claim among them.

Truths are closed forms and SciPy's special functions. A claim is false if the truth lies further off than the error, beyond the
rounding of the truth itself. Widths of parts are at least 1/200 of the density's scale: see `Integral` for what is out of sight.
"""

import collections
import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.densities import Exponential, Gaussian, GaussianMixture, HalfNormal, Laplace, StudentT, Uniform
from numpyscore.numerics.quadrature import expectation

EPS = np.finfo(float).eps


def scaled(rng):
    """A location and a scale, the scale from 1e-8 to 1e8, the location at most 100 scales away."""
    scale = 10 ** rng.uniform(-8, 8)
    return scale * rng.normal() * rng.choice([0, 1, 100]), scale


# Each returns g, density, truth, and the size of what rounding acts on.


def smooth(rng):
    m, s = scaled(rng)
    kind = rng.integers(6)
    z = lambda x: (x[:, 0] - m) / s
    w = rng.uniform(0.2, 4)
    if kind == 0:
        return lambda x: np.cos(w * z(x)), Gaussian(m, s**2), math.exp(-(w**2) / 2), 1
    if kind == 1:
        return lambda x: np.exp(w * z(x) / 2), Gaussian(m, s**2), math.exp(w**2 / 8), math.exp(w**2 / 8)
    if kind == 2:
        k = int(rng.integers(1, 9))
        return lambda x: (x[:, 0] / s) ** k, Exponential(1 / s), math.gamma(k + 1), math.gamma(k + 1)
    if kind == 3:
        return lambda x: np.cos(w * z(x)), Laplace(m, s), 1 / (1 + w**2), 1
    if kind == 4:
        return lambda x: np.exp(w * (x[:, 0] - m) / s), Uniform(m, m + s), math.expm1(w) / w, math.expm1(w) / w
    k = int(rng.integers(1, 5))
    truth = 2**k * math.gamma(k + 0.5) / math.sqrt(math.pi)
    return lambda x: (x[:, 0] / s) ** (2 * k), HalfNormal(s), truth, truth


def mixtures(rng):
    """Overlapping, and far: means up to 100 narrowest widths apart."""
    m, s = scaled(rng)
    k = rng.integers(2, 4)
    weights, means, sd = rng.dirichlet(np.ones(k)), m + s * rng.uniform(-10, 10, k), s * 10 ** rng.uniform(-1, 0, k)
    weights = np.maximum(weights, 1e-3) / np.maximum(weights, 1e-3).sum()
    w = rng.uniform(0.1, 2) / s
    p = GaussianMixture(weights, means, sd**2)
    truth = np.sum(weights * np.exp(-((w * sd) ** 2) / 2) * np.cos(w * (means - m)))
    return lambda x: np.cos(w * (x[:, 0] - m)), p, truth, 1


def correlated(rng):
    """A random covariance in the plane, correlations up to 1 - 1e-6; E cos(a . x), and the narrow direction's variance."""
    rho = (1 - 10 ** rng.uniform(-6, 0)) * rng.choice([-1, 1])
    s = 10 ** rng.uniform(-8, 8, 2)
    C = np.array([[s[0] ** 2, rho * s[0] * s[1]], [rho * s[0] * s[1], s[1] ** 2]])
    if np.linalg.eigvalsh(C / np.outer(s, s)).min() < 1e-7:
        return correlated(rng)
    a = rng.normal(size=2) / s
    variance = np.sum(np.outer(a, a) * C)
    return lambda x: np.cos(x @ a), Gaussian(np.zeros(2), C), math.exp(-variance / 2), 1


def infinite(rng):
    """Student's t: a moment that does not exist."""
    s, a = 10 ** rng.uniform(-8, 8), rng.uniform(2, 4)
    return lambda x: np.abs(x[:, 0] / s) ** a, StudentT(rng.uniform(1.2, a), 0.0, s), np.inf, 1


def heavy(rng):
    """Student's t: even moments, at least half a power below the degrees of freedom."""
    m, s = 0.0, 10 ** rng.uniform(-8, 8)
    a = 2 * rng.integers(1, 3)
    df = a + rng.uniform(0.5, 8)
    truth = df ** (a / 2) * math.gamma((a + 1) / 2) * math.gamma((df - a) / 2) / math.gamma(df / 2) / math.sqrt(math.pi)
    return lambda x: np.abs(x[:, 0] / s) ** a, StudentT(df, m, s), truth, truth


def kinks(rng):
    m, s = scaled(rng)
    c = rng.normal()
    from scipy.stats import norm

    kind = rng.integers(2)
    if kind == 0:
        truth = 2 * norm.pdf(c) + c * (2 * norm.cdf(c) - 1)
        return lambda x: np.abs((x[:, 0] - m) / s - c), Gaussian(m, s**2), truth, truth
    truth = norm.pdf(c) - c * norm.sf(c)
    return lambda x: np.maximum((x[:, 0] - m) / s - c, 0), Gaussian(m, s**2), truth, truth


def jumps(rng):
    from scipy.stats import norm

    m, s = scaled(rng)
    c = rng.normal() * rng.choice([1, 3])
    return lambda x: ((x[:, 0] - m) / s > c) * 1.0, Gaussian(m, s**2), norm.sf(c), norm.sf(c)


def narrow(rng):
    """A bump or a box of g, from 1/200 of the scale upward, under a Gaussian; and a narrow part of the density itself."""
    from scipy.stats import norm

    m, s = 0.0, 10 ** rng.uniform(-8, 8)
    c, w = rng.normal(), 10 ** rng.uniform(np.log10(1 / 200), 0)
    kind = rng.integers(3)
    if kind == 0:
        truth = 1 + w / math.hypot(1, w) * math.exp(-(c**2) / 2 / (1 + w**2))
        return lambda x: 1 + np.exp(-(((x[:, 0] / s - c) / w) ** 2) / 2), Gaussian(m, s**2), truth, truth
    if kind == 1:
        truth = norm.cdf(c + w / 2) - norm.cdf(c - w / 2)
        return lambda x: (np.abs(x[:, 0] / s - c) < w / 2) * 1.0, Gaussian(m, s**2), truth, 1
    p = GaussianMixture([0.7, 0.3], [0.0, c], [1.0, w**2 * 1e-4])
    bare = SimpleNamespace(dim=1, support=p.support, logpdf=p.logpdf, sample=p.sample)
    return lambda x: x[:, 0], bare if rng.random() < 0.5 else p, 0.3 * c, 1


def singular(rng):
    from scipy.special import gamma, hyp1f1

    m, s = 0.0, 10 ** rng.uniform(-8, 8)
    c, a = rng.normal(), rng.uniform(-0.95, 0.9)
    truth = 2 ** (a / 2) * gamma((1 + a) / 2) / math.sqrt(math.pi) * hyp1f1(-a / 2, 0.5, -(c**2) / 2)
    if rng.random() < 0.5:
        c = abs(c)  # at the end of the support, where it is resolved: E x^a under the exponential
        return lambda x: (x[:, 0] / s) ** a, Exponential(1 / s), math.gamma(1 + a), math.gamma(1 + a)
    return lambda x: np.abs(x[:, 0] / s - c) ** a, Gaussian(m, s**2), truth, truth


def far(rng):
    """Two modes whose widths and distance differ by orders of magnitude; the share of one, and the mean."""
    gap, weight = 10 ** rng.uniform(0.5, 6), rng.uniform(0.01, 0.99)
    sd = 10 ** rng.uniform(-4, 0, 2)
    p = GaussianMixture([weight, 1 - weight], [0.0, gap], sd**2)
    if rng.random() < 0.5:
        from scipy.stats import norm

        truth = weight * norm.cdf(gap / 2 / sd[0]) + (1 - weight) * norm.cdf(-gap / 2 / sd[1])
        return lambda x: (x[:, 0] < gap / 2) * 1.0, p, truth, 1
    return lambda x: x[:, 0] / gap, p, 1 - weight, 1


def plane(rng):
    """Kinks, jumps and narrow ridges across the plane, smooth functions of it, and three dimensions once in ten."""
    from scipy.stats import norm

    d = 3 if rng.random() < 0.1 else 2
    a, c = rng.normal(size=d), rng.normal()
    a /= np.linalg.norm(a)
    p = Gaussian(np.zeros(d), np.eye(d))
    kind = rng.integers(4)
    if kind == 0:
        return lambda x: (x @ a > c) * 1.0, p, norm.sf(c), 1
    if kind == 1:
        return lambda x: np.abs(x @ a - c), p, 2 * norm.pdf(c) + c * (2 * norm.cdf(c) - 1), 1
    if kind == 2:
        w = 10 ** rng.uniform(-1, 0)
        truth = w / math.hypot(1, w) * math.exp(-(c**2) / 2 / (1 + w**2))
        return lambda x: np.exp(-(((x @ a - c) / w) ** 2) / 2), p, truth, truth
    return lambda x: np.cos(3 * (x @ a - c)), p, math.exp(-4.5) * math.cos(3 * c), 1


# kind: how often in 100
KINDS = {
    smooth: 30,
    mixtures: 10,
    correlated: 8,
    heavy: 6,
    infinite: 2,
    kinks: 8,
    jumps: 8,
    narrow: 10,
    singular: 8,
    far: 7,
    plane: 3,
}
SMOOTH = (smooth, mixtures, correlated, heavy)
SCHEDULE = [kind for kind, share in KINDS.items() for _ in range(share)]


def trial(numbers, rule=expectation):
    """Counts by kind, false claims, refusals among the smooth ones, and the ratios of claimed to true error."""
    counts: dict = collections.defaultdict(
        lambda: np.zeros(4, int)
    )  # integrals, converged, false claims of it, bounds broken
    false, ratios = [], []
    for i in numbers:
        rng = np.random.default_rng([12, i])
        kind = SCHEDULE[rng.integers(len(SCHEDULE))]
        g, density, truth, size = kind(rng)
        with np.errstate(all="ignore"):
            found = rule(g, density, budget=1 << 18 if density.dim > 1 else None)
        gap = abs(found.value - truth) if np.isfinite(truth) else np.inf
        broken = bool(np.isfinite(found.error) and not gap <= found.error + 16 * EPS * abs(size))
        counts[kind.__name__] += [1, found.converged, found.converged and broken, broken]
        if broken:
            false.append((i, kind.__name__, density, truth, found))
        if np.isfinite(found.error) and np.isfinite(truth):
            ratios.append(found.error / max(gap, EPS * abs(size)))
    return counts, false, ratios


def report(counts, false, ratios):
    """A table by kind."""
    for name, c in sorted(counts.items()):
        print(f"{name:12s} integrals {c[0]:5d}  converged {c[1]:5d}  false claims {c[2]:3d}  bounds broken {c[3]:3d}")
    print(f"claimed over true error: median {np.median(ratios):.0f}", *false, sep="\n")


@pytest.mark.parametrize("n", [12, pytest.param(3300, marks=pytest.mark.nightly)])
def test_no_false_claim(n):
    counts, false, ratios = trial(range(n))
    report(counts, false, ratios)
    assert not false, false[0]
    assert np.median(ratios) <= 1000
    asked, converged = sum(counts[k.__name__] for k in SMOOTH)[:2]
    assert converged >= 0.97 * asked


def test_the_trial_tells_a_false_claim():
    """The control: a rule that claims rounding whatever it does."""
    believe = lambda g, density, budget=None: dataclasses.replace(expectation(g, density, budget=budget), error=1e-300)
    assert trial(range(4), believe)[1]
