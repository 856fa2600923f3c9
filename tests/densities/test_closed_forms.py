"""Densities against oracles that share no line with them: differences, quadrature, scipy.stats, fifty-digit decimals."""

import itertools
import math
import subprocess
import sys
import tracemalloc
from decimal import Decimal as D
from decimal import localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import defaults
from scipy import integrate, stats
from scipy.special import logsumexp

from numpyscore.densities import (
    Banana,
    Beta,
    Exponential,
    Gamma,
    Gaussian,
    GaussianMixture,
    HalfNormal,
    Laplace,
    Logistic,
    Parzen,
    Ring,
    StudentT,
    TruncatedGaussian,
    Uniform,
)
from numpyscore.densities import base as density

EPS = np.finfo(float).eps
STENCIL, STEPS, H = np.array([1, -8, 8, -1]) / 12, (-2, -1, 1, 2), 1e-3
seeds = st.integers(0, 2**32 - 1)


# --------------------------------------------------------------------------- densities to test: (density, finest length)


def covariance(rng, d):
    """Random axes, standard deviations between 0.5 and 2: condition number at most 16."""
    Q, _ = np.linalg.qr(rng.standard_normal((d, d)))
    C = (Q * rng.uniform(0.25, 4, d)) @ Q.T
    return 0.5 * (C + C.T)


def weights(rng, K):
    w = rng.uniform(0.2, 1, K)
    return w / w.sum()


def make_gaussian(rng, d):
    return Gaussian(rng.normal(size=d), covariance(rng, d)), 0.5


def make_mixture(rng, d):
    return GaussianMixture(weights(rng, 3), 3 * rng.normal(size=(3, d)), [covariance(rng, d) for _ in range(3)]), 0.5


def make_shared_mixture(rng, d):
    return GaussianMixture(weights(rng, 4), 3 * rng.normal(size=(4, d)), covariance(rng, d)), 0.5


def make_parzen(rng, d):
    return Parzen(rng.normal(size=(25, d)), 0.3), 0.3


def make_student(rng, d):
    return StudentT(rng.uniform(1, 9), rng.normal(size=d), covariance(rng, d)), 0.5


def make_logistic(rng, d):
    return Logistic(rng.normal(size=d), rng.uniform(0.5, 2, d)), 0.5


def make_laplace(rng, d):
    return Laplace(rng.normal(size=d), rng.uniform(0.5, 2, d)), 0.5


def make_exponential(rng, d):
    return Exponential(rng.uniform(0.5, 2, d)), 0.5


def make_half_normal(rng, d):
    return HalfNormal(rng.uniform(0.5, 2, d)), 0.5


def make_box(rng, d):
    lower = rng.uniform(-2, 1, d)
    upper = np.where(rng.random(d) < 0.5, np.inf, lower + rng.uniform(0.5, 3, d))
    return TruncatedGaussian(rng.normal(size=d), np.diag(rng.uniform(0.25, 4, d)), lower, upper), 0.5


def make_correlated_box(rng, d):
    d = min(d, 2)  # the normaliser is exact up to here
    C, mean = covariance(rng, d), rng.normal(size=d)
    return TruncatedGaussian(mean, C, mean - rng.uniform(0, 1, d), np.inf), 0.5


def make_uniform(rng, d):
    lower = rng.normal(size=d)
    return Uniform(lower, lower + rng.uniform(0.5, 2, d)), 0.5


def make_gamma(rng, d):
    return Gamma(rng.uniform(3, 6, d), rng.uniform(0.5, 2, d)), 0.15


def make_beta(rng, d):
    return Beta(rng.uniform(2, 5, d), rng.uniform(2, 5, d)), 0.01


def make_banana(rng, d):
    return Banana(rng.uniform(-0.5, 0.5), rng.uniform(0.5, 2), max(d, 2)), 0.3


def make_ring(rng, d):
    return Ring(rng.uniform(1, 3), rng.uniform(0.3, 1), max(d, 2)), 0.3


SMOOTH = [
    make_gaussian,
    make_mixture,
    make_shared_mixture,
    make_parzen,
    make_student,
    make_logistic,
    make_banana,
    make_ring,
]
BOUNDED = [make_exponential, make_half_normal, make_box, make_correlated_box, make_uniform, make_gamma, make_beta]
FAMILIES = [*SMOOTH, make_laplace, *BOUNDED]
each_family = pytest.mark.parametrize("make", FAMILIES, ids=lambda make: make.__name__[5:])


def points(p, length, rng, n=6):
    """Samples, some pushed outwards, all away from ends, kinks and the origin by more than a stencil."""
    margin = 4 * H * length
    x = p.sample(n, rng=rng) * np.where(np.arange(n) % 3 == 0, 2.0, 1.0)[:, None]
    lower, upper = p.support.T
    x = np.clip(x, lower + margin, upper - margin)
    if isinstance(p, Gamma | Beta):  # score and slope are infinite at the ends
        x = np.clip(x, 0.1, np.where(upper == 1, 0.9, np.inf))
    if isinstance(p, Laplace):
        x = np.where(np.abs(x - p.loc) < margin, p.loc + margin, x)
    if isinstance(p, Ring):
        x = x * np.maximum(1, 0.3 / np.linalg.norm(x, axis=1, keepdims=True))
    return x


def differentiate(f, x, length):
    """Fourth-order differences of f in every coordinate, on a new last axis."""
    h = H * length
    near = [[f(x + k * h * e) for k in STEPS] for e in np.eye(x.shape[1])]
    return np.moveaxis(np.tensordot(np.array(near), STENCIL / h, (1, 0)), 0, -1)


def assert_derivative(f, df, x, length):
    """df is the gradient of f. In units of the finest length, f has fifth derivatives of a few thousand at most (cumulants
    of a few components, the curvature of a ring near its centre), so truncation is at most 4e3 H^4 / 30 ~ 1e-10; values of order
    100 with rounding 4 eps give 1.5 * 4 eps * 100 / H ~ 1e-10. 1e-9 of the scale of the largest value covers both."""
    exact, approx = df(x), differentiate(f, x, length)
    scale = (1 + np.abs(f(x)).max() + np.abs(exact).max() * length) / length
    np.testing.assert_allclose(approx, exact, rtol=0, atol=1e-9 * scale)


# --------------------------------------------------------------------------- the chain of derivatives


@each_family
@given(seed=seeds, d=st.integers(1, 3))
def test_each_quantity_is_the_derivative_of_the_one_before(make, seed, d):
    rng = np.random.default_rng(seed)
    p, length = make(rng, d)
    x = points(p, length, rng)
    assert_derivative(p.logpdf, p.score, x, length)
    assert_derivative(p.score, p.jacobian, x, length)


@each_family
@given(seed=seeds, d=st.integers(1, 5))
def test_trace_curvature_and_energy_follow(make, seed, d):
    rng = np.random.default_rng(seed)
    p, length = make(rng, d)
    x = points(p, length, rng)
    v, jac = rng.normal(size=x.shape), p.jacobian(x)
    # both sums run over at most K d^2 = 100 terms of size at most |J| + d / length^2
    size = np.abs(jac).max() + p.dim / length**2
    np.testing.assert_allclose(p.trace(x), np.trace(jac, axis1=1, axis2=2), rtol=0, atol=100 * EPS * p.dim * size)
    np.testing.assert_allclose(jac, jac.transpose(0, 2, 1), rtol=0, atol=100 * EPS * size)
    vJv = [v_n @ J_n @ v_n for v_n, J_n in zip(v, jac, strict=True)]
    np.testing.assert_allclose(p.curvature(x, v), vJv, rtol=0, atol=100 * EPS * size * (v**2).sum(1).max())
    np.testing.assert_array_equal(p.energy(x), -p.logpdf(x))


def test_the_chain_rejects_a_score_wrong_by_one_part_in_a_million():
    p, x = Gaussian([0.0, 1.0], [[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, -0.5], [0.3, 2.0]])
    assert_derivative(p.logpdf, p.score, x, 1.0)
    with pytest.raises(AssertionError):
        assert_derivative(p.logpdf, lambda x: p.score(x) * (1 + 1e-6), x, 1.0)
    with pytest.raises(AssertionError):
        assert_derivative(p.score, lambda x: p.jacobian(x) * (1 + 1e-6), x, 1.0)


# --------------------------------------------------------------------------- log densities


def scipy_logpdf(p, x):
    """The same log density by scipy.stats."""
    columns = lambda dist, **kw: sum(dist.logpdf(x[:, i], **{k: v[i] for k, v in kw.items()}) for i in range(p.dim))
    match p:
        case TruncatedGaussian():
            sd = np.sqrt(np.diag(p.cov))
            return columns(stats.truncnorm, a=(p.lower - p.mean) / sd, b=(p.upper - p.mean) / sd, loc=p.mean, scale=sd)
        case Gaussian():
            return stats.multivariate_normal(p.mean, p.cov).logpdf(x)
        case GaussianMixture():
            terms = [stats.multivariate_normal(m, C).logpdf(x) for m, C in zip(p.means, p.covs, strict=True)]
            return logsumexp(np.log(p.weights)[:, None] + np.array(terms).reshape(-1, len(x)), axis=0)
        case StudentT():
            return stats.multivariate_t(p.loc, p.scale, df=p.df).logpdf(x)
        case Logistic():
            return columns(stats.logistic, loc=p.loc, scale=p.scale)
        case Laplace():
            return columns(stats.laplace, loc=p.loc, scale=p.scale)
        case Exponential():
            return columns(stats.expon, scale=1 / p.rate)
        case HalfNormal():
            return columns(stats.halfnorm, scale=p.scale)
        case Gamma():
            return columns(stats.gamma, a=p.shape, scale=1 / p.rate)
        case Beta():
            return columns(stats.beta, a=p.a, b=p.b)
        case Uniform():
            return columns(stats.uniform, loc=p.lower, scale=p.upper - p.lower)


@pytest.mark.parametrize(
    "make",
    [m for m in FAMILIES if m not in (make_banana, make_ring, make_correlated_box)],
    ids=lambda make: make.__name__[5:],
)
@given(seed=seeds, d=st.integers(1, 4))
def test_logpdf_is_scipys(make, seed, d):
    rng = np.random.default_rng(seed)
    p, length = make(rng, d)
    x = points(p, length, rng)
    with np.errstate(all="ignore"):
        expected = np.reshape(scipy_logpdf(p, x), len(x))
    # squares of whitened distances: relative rounding of both sides times a condition number of 16
    np.testing.assert_allclose(p.logpdf(x), expected, rtol=0, atol=1000 * EPS * (1 + np.abs(expected).max()))


ONE_D = [
    Gaussian(0.3, 2.0),
    GaussianMixture([0.2, 0.8], [-2.0, 3.0], [0.5, 2.0]),
    StudentT(2.5, 1.0, 0.7),
    Logistic(1.0, 0.5),
    Laplace(-1.0, 2.0),
    Exponential(3.0),
    HalfNormal(2.0),
    TruncatedGaussian(1.0, 4.0, -0.5, 2.0),
    TruncatedGaussian(0.0, 1.0, 30.0, np.inf),
    TruncatedGaussian(0.0, 1.0, -np.inf, -6.0),
    TruncatedGaussian(0.0, 1.0, 8.0, 8.01),
    Uniform(-1.0, 4.0),
    Parzen([[0.0], [1.0], [3.0]], 0.4),
]
one_d = pytest.mark.parametrize("p", ONE_D, ids=lambda p: type(p).__name__)


def pieces(p):
    """Ends, kinks and means of a 1-d density: between them quad sees one smooth bump or tail."""
    lower, upper = p.support[0]
    inner = np.unique([*getattr(p, "means", p.frame.center).ravel(), *p.sample(9, rng=0).ravel()])
    return [lower, *inner[(inner > lower) & (inner < upper)], upper]


def quad(f, ends):
    """Integral of f over consecutive ends, asked to 1e-13 of its size."""
    return sum(integrate.quad(f, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0] for a, b in itertools.pairwise(ends))


@one_d
def test_normalised(p):
    with np.errstate(all="ignore"):
        total = quad(lambda t: np.exp(p.logpdf(np.array([[t]]))[0]), pieces(p))
    # quad's own 1e-13 a piece; the narrow box far out loses eps a / w = 2e-13 and the tail at 30 log p ~ 450 eps
    assert total == pytest.approx(1, abs=3e-12)


def grid_total(p, reach, n):
    """Trapezoidal rule in 2-d: for a smooth decaying integrand it converges faster than any power."""
    axes = [np.linspace(-r, r, n) for r in reach]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    return np.exp(p.logpdf(x)).sum() * math.prod(a[1] - a[0] for a in axes)


def test_curved_densities_are_normalised_on_a_grid():
    # half-widths where the density is below 1e-16 of its peak, step a third of the finest length: e^(-2 pi^2 9) is nothing
    assert grid_total(Banana(0.5, 1.0), (9, 45), 601) == pytest.approx(1, abs=1e-13)
    assert grid_total(Banana(-0.3, 1.5), (13.5, 65), 801) == pytest.approx(1, abs=1e-13)
    assert grid_total(Ring(3.0, 0.3), (6, 6), 401) == pytest.approx(1, abs=1e-13)
    assert grid_total(
        GaussianMixture([0.3, 0.7], [[1, 0], [-1, 2]], [[[1, 0.5], [0.5, 1]], np.eye(2)]), (11, 11), 201
    ) == (pytest.approx(1, abs=1e-13))


@pytest.mark.parametrize("d", [2, 3, 5, 20])
@given(rho=st.floats(0.1, 30), width=st.floats(0.1, 10))
def test_ring_is_normalised(d, rho, width):
    p = Ring(rho * width, width, d)
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2)
    e = np.eye(d)[:1]
    # in units of the width; the radial density peaks near the mode below and is nothing ten widths away
    mode = 0.5 * (rho + math.sqrt(rho**2 + 4 * (d - 1)))
    f = lambda u: area * (u * width) ** (d - 1) * width * np.exp(p.logpdf(u * width * e)[0])
    total = quad(f, [max(0, mode - 10), max(0.01, mode - 3), mode, mode + 3, mode + 10])
    assert total == pytest.approx(1, abs=1e-11)  # quad's 1e-13 and the powers' d eps


@given(seed=seeds)
def test_correlated_box_is_normalised(seed):
    """The probability of a correlated box by Gauss-Legendre on the box, cut where nothing is left."""
    rng = np.random.default_rng(seed)
    C, mean = covariance(rng, 2), rng.normal(size=2)
    lower, upper = mean - rng.uniform(-0.5, 2, 2), mean + rng.uniform(1, 3, 2)
    upper = np.where(rng.random(2) < 0.5, upper, np.inf)
    p = TruncatedGaussian(mean, C, lower, upper)
    u, w = np.polynomial.legendre.leggauss(120)
    cut = np.minimum(upper, mean + 9 * np.sqrt(np.diag(C)))  # 1e-19 beyond
    half = 0.5 * (cut - lower)
    grid = np.stack(np.meshgrid(*(lower + half * (1 + u[:, None])).T, indexing="ij"), -1).reshape(-1, 2)
    total = (np.exp(p.logpdf(grid)) * np.outer(w, w).ravel()).sum() * half.prod()
    # SciPy's bivariate integral is good to about 1e-15 absolute, the probability here is above 1e-3
    assert total == pytest.approx(1, abs=1e-11)


def test_orthant_of_three_correlated_dimensions():
    C = 0.5 + 0.5 * np.eye(3)
    p = TruncatedGaussian(np.zeros(3), C, 0.0)
    orthant = 1 / 8 + 3 * math.asin(0.5) / (4 * math.pi)  # the classical formula
    expected = stats.multivariate_normal(np.zeros(3), C).logpdf(np.ones(3)) - math.log(orthant)
    assert p.logpdf(np.ones((1, 3)))[0] == pytest.approx(
        expected, abs=1e-6
    )  # 1e-8 asked of the quasi-Monte Carlo, of 0.25


@given(nu=st.floats(50, 1e12), d=st.integers(1, 6))
def test_a_t_with_many_degrees_of_freedom_is_a_gaussian(nu, d):
    x = np.linspace(-1, 1, 2 * d).reshape(2, d)
    t, g = StudentT(nu, np.zeros(d)).logpdf(x), Gaussian(np.zeros(d), 1.0).logpdf(x)
    q = (x**2).sum(1)
    first = ((q - d) ** 2 - 2 * d) / (4 * nu)  # log t = log N + first / ... + O(1 / nu^2)
    # second order: a cubic in (d, q) over nu^2; rounding: lgamma(50) ~ 145 below df = 200
    np.testing.assert_allclose(t - g, first, rtol=0, atol=(d + 2) ** 3 / nu**2 + 1e-12)


# --------------------------------------------------------------------------- mixtures far away, in fifty digits


def decimal_mixture(w, means, covs, x):
    """log p, score and Jacobian of a 2-d mixture at one point, straight from the definition in fifty digits."""
    w, x = [D(float(a)) for a in w], [D(float(a)) for a in x]
    pi, log_terms, scores, precisions = D("3.14159265358979323846264338327950288419716939937510582"), [], [], []
    for w_k, mean, C in zip(w, means, covs, strict=True):
        a, b, c = (D(float(C[i][j])) for i, j in ((0, 0), (0, 1), (1, 1)))
        det = a * c - b * b
        P = [[c / det, -b / det], [-b / det, a / det]]
        e = [D(float(m)) - x_i for m, x_i in zip(mean, x, strict=True)]
        s = [P[i][0] * e[0] + P[i][1] * e[1] for i in (0, 1)]
        log_terms.append(w_k.ln() - (2 * pi).ln() - det.ln() / 2 - (e[0] * s[0] + e[1] * s[1]) / 2)
        scores.append(s), precisions.append(P)
    top = max(log_terms)
    r = [(t - top).exp() for t in log_terms]
    total = sum(r)
    r = [a / total for a in r]
    s = [sum(a * s_k[i] for a, s_k in zip(r, scores, strict=True)) for i in (0, 1)]
    jac = [
        [
            sum(
                a * ((s_k[i] - s[i]) * (s_k[j] - s[j]) - P[i][j])
                for a, s_k, P in zip(r, scores, precisions, strict=True)
            )
            for j in (0, 1)
        ]
        for i in (0, 1)
    ]
    return float(top + total.ln()), np.array(s, float), np.array(jac, float)


COVS = {
    "isotropic": [np.eye(2) * 0.25] * 3,
    "shared": [np.array([[2.0, 0.5], [0.5, 1.0]])] * 3,
    "distinct": [np.eye(2), np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[0.5, -0.2], [-0.2, 3.0]])],
}


@pytest.mark.parametrize("kind", COVS)
@given(
    angle=st.one_of(st.floats(0, 2 * math.pi), st.sampled_from([0.0, math.pi / 2, math.pi, 1.5 * math.pi])),
    radius=st.one_of(st.floats(0, 10), st.floats(500, 2000)),
)
def test_mixture_a_thousand_sigma_away(kind, angle, radius):
    w, means, covs = [0.2, 0.5, 0.3], np.array([[1.0, 0.0], [-1.0, 0.0], [0.5, 2.0]]), COVS[kind]
    x = np.array(
        [
            radius * math.cos(angle) * 0.001 if angle == math.pi / 2 else radius * math.cos(angle),
            radius * math.sin(angle),
        ]
    )
    p = GaussianMixture(w, means, covs[0][0, 0] if kind == "isotropic" else covs)
    with localcontext() as context:
        context.prec = 50
        logp, s, jac = decimal_mixture(p.weights, means, covs, x)
    x = x[None]
    np.testing.assert_allclose(p.logpdf(x)[0], logp, rtol=20 * EPS, atol=20 * EPS)
    # an error in a log ratio moves the score by r (1 - r) gap and the Jacobian by r (1 - r) gap^2, both below |J| + 1; it is
    # eps |gap| |x| with a shared covariance and eps |x|^2, the rounding of x itself, with distinct ones
    ratio = EPS * (30 * (1 + radius) if kind != "distinct" else 10 * (1 + radius) ** 2)
    size = 1 + np.abs(jac).max()
    np.testing.assert_allclose(p.score(x)[0], s, rtol=0, atol=20 * EPS * np.abs(s).max() + ratio * size)
    np.testing.assert_allclose(p.jacobian(x)[0], jac, rtol=0, atol=(100 * EPS + ratio) * size)
    np.testing.assert_allclose(p.trace(x)[0], np.trace(jac), rtol=0, atol=(100 * EPS + ratio) * size)


def test_equidistant_a_thousand_sigma_away():
    """On the bisector both components count however far out: expanding the squares would leave 1e-10 here."""
    p, x = Parzen([[1.0, 0.1], [-1.0, 0.2]], 1.0), np.array([[49.9925 + 0.2, 1000.0]])
    with localcontext() as context:
        context.prec = 50
        logp, s, jac = decimal_mixture([0.5, 0.5], p.data, [np.eye(2)] * 2, x[0])
    assert jac[0, 0] + 1 > 0.05  # both components count: a lone one has variance 0
    # a log ratio is gap (1e-1 in the far direction) times distance: 1e3 * 0.1 * eps * 4
    np.testing.assert_allclose(p.logpdf(x)[0], logp, rtol=4 * EPS)
    np.testing.assert_allclose(p.score(x)[0], s, rtol=4 * EPS, atol=1e-13)
    np.testing.assert_allclose(p.jacobian(x)[0], jac, rtol=0, atol=1e-13)
    np.testing.assert_allclose(p.trace(x)[0], np.trace(jac), rtol=0, atol=1e-13)


@given(seed=seeds, d=st.integers(1, 4), K=st.integers(1, 30))
def test_parzen_is_the_mixture(seed, d, K):
    rng = np.random.default_rng(seed)
    data, x = rng.normal(size=(K, d)), 2 * rng.normal(size=(5, d))
    p = Parzen(data, 0.5)
    # distinct covariances take the other branch of the mixture: perturb one of them in the last bit
    covs = np.tile(0.25 * np.eye(d), (K, 1, 1))
    covs[0, 0, 0] += EPS / 4
    q = GaussianMixture(np.full(K, 1 / K), data, covs)
    assert K == 1 or (p._white.ndim, q._white.ndim) == (0, 3)
    for name in ("logpdf", "score", "jacobian", "trace"):
        a, b = getattr(p, name)(x), getattr(q, name)(x)
        # squared distances of up to 400 widths carry 400 eps into the ratios, gaps of scores up to 40, squared
        np.testing.assert_allclose(a, b, rtol=0, atol=400 * EPS * 40**2)


# --------------------------------------------------------------------------- noise


@given(mean=st.floats(-3, 3), var=st.floats(0.1, 4), sigma=st.floats(0.3, 3), t=st.floats(-3, 3))
def test_gaussian_score_is_the_posterior_mean_of_the_noise(mean, var, sigma, t):
    """Score of the perturbed density = E[(clean - noisy) / sigma^2 | noisy], by the trapezoidal rule."""
    p = Gaussian(mean, var)
    x_noisy = mean + t * math.sqrt(var + sigma**2)
    center = (x_noisy * var + mean * sigma**2) / (var + sigma**2)  # only where to put the grid
    clean = center + np.linspace(-10, 10, 401) * math.sqrt(var) * sigma / math.sqrt(var + sigma**2)
    log_joint = -0.5 * (clean - mean) ** 2 / var - 0.5 * (clean - x_noisy) ** 2 / sigma**2
    posterior = np.exp(log_joint - log_joint.max())
    expected = (posterior * (clean - x_noisy)).sum() / posterior.sum() / sigma**2
    # spectral accuracy of the rule (step a twentieth of a width); 10 eps a term of size |clean - noisy| / sigma^2 < 100 / sigma^2
    assert p.perturbed(sigma).score([[x_noisy]])[0, 0] == pytest.approx(expected, abs=1000 * EPS * 30 / sigma**2)


@given(seed=seeds)
def test_mixture_score_is_the_posterior_mean_of_the_noise_in_two_dimensions(seed):
    rng = np.random.default_rng(seed)
    p, sigma, x = (
        GaussianMixture([0.4, 0.6], rng.normal(size=(2, 2)), [covariance(rng, 2), np.eye(2)]),
        1.0,
        rng.normal(size=2),
    )
    axis = np.linspace(
        -16, 16, 257
    )  # step 1/8: a quarter of the finest posterior width 0.45, e^(-2 pi^2 3.6^2) is nothing
    clean = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    prior = sum(
        w * stats.multivariate_normal(m, C).pdf(clean) for w, m, C in zip(p.weights, p.means, p.covs, strict=True)
    )
    joint = prior * np.exp(-0.5 * ((clean - x) ** 2).sum(1) / sigma**2) / (2 * math.pi * sigma**2)
    evidence, step = joint.sum(), (axis[1] - axis[0]) ** 2
    noisy = p.perturbed(sigma)
    np.testing.assert_allclose(noisy.score(x[None])[0], joint @ (clean - x) / evidence / sigma**2, rtol=0, atol=1e-12)
    assert noisy.logpdf(x[None])[0] == pytest.approx(math.log(evidence * step), abs=1e-12)


@pytest.mark.parametrize("make", [make_gaussian, make_mixture, make_shared_mixture, make_parzen])
@given(seed=seeds, d=st.integers(1, 3), a=st.floats(0.1, 2), b=st.floats(0.1, 2))
def test_noise_upon_noise_adds_variances(make, seed, d, a, b):
    rng = np.random.default_rng(seed)
    p, _ = make(rng, d)
    x = p.sample(5, rng=rng)
    twice, once = p.perturbed(a).perturbed(b), p.perturbed(math.hypot(a, b))
    assert type(twice) is type(p)
    for name in ("logpdf", "score", "trace"):
        # covariances differ in the last bit: a few eps times squared distances of up to 1e3 units
        np.testing.assert_allclose(getattr(twice, name)(x), getattr(once, name)(x), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize("make", [m for m in FAMILIES if m not in SMOOTH[:4]], ids=lambda make: make.__name__[5:])
def test_families_that_noise_leaves_say_what_to_do(make):
    p, _ = make(np.random.default_rng(0), 2)
    with pytest.raises(NotImplementedError, match=r"is not a .*Parzen\(density.sample"):
        p.perturbed(0.1)


# --------------------------------------------------------------------------- samples


def cdf(p, t):
    """Distribution function of a 1-d density by integrating exp(logpdf) from its lower end."""
    grid = np.sort(t)
    ends = sorted({*pieces(p), grid[-1]})
    start = ends[0]
    with np.errstate(all="ignore"):
        f = lambda a: np.exp(p.logpdf(np.array([[a]]))[0])
        below = quad(f, [start, grid[0]])
        # 16-point Gauss-Legendre between neighbouring samples
        u, w = np.polynomial.legendre.leggauss(16)
        half = 0.5 * np.diff(grid)
        nodes = grid[:-1, None] + half[:, None] * (1 + u)
        steps = (np.exp(p.logpdf(nodes.reshape(-1, 1))).reshape(nodes.shape) @ w) * half
    return np.interp(t, grid, below + np.concatenate([[0], np.cumsum(steps)]))


@one_d
def test_samples_follow_the_density(p):
    x = p.sample(4000, rng=11)[:, 0]
    # a fixed seed: p-values are numbers, not luck; a law off by 5 % of a standard deviation has p ~ 1e-4 here
    assert stats.kstest(x, lambda t: cdf(p, t)).pvalue > 1e-3


def test_samples_of_curved_densities_follow_them():
    b = Banana(0.5, 2.0, 3).sample(4000, rng=5)
    y = np.column_stack([b[:, 0] / 2, b[:, 1] + 0.5 * (b[:, 0] ** 2 - 4), b[:, 2]])
    assert min(stats.kstest(c, "norm").pvalue for c in (*y.T, (y @ [0.6, 0.8, 0]), (y @ [0.6, -0.8, 0]))) > 1e-3
    for d, radius, width in ((2, 3.0, 0.5), (3, 0.2, 1.0), (10, 1.0, 0.7)):
        x = Ring(radius, width, d).sample(4000, rng=6)
        r = np.linalg.norm(x, axis=1)
        f = lambda t, d=d, radius=radius, width=width: t ** (d - 1) * math.exp(-0.5 * ((t - radius) / width) ** 2)
        knots = np.linspace(0, r.max() + 1e-9, 200)
        steps = [integrate.quad(f, a, b)[0] for a, b in itertools.pairwise(knots)]
        total = integrate.quad(f, 0, radius + 12 * width + d, limit=200)[0]
        law = np.concatenate([[0], np.cumsum(steps)]) / total
        assert stats.kstest(r, lambda t, k=knots, law=law: np.interp(t, k, law)).pvalue > 1e-3
        # the first coordinate of a direction uniform on the sphere: (1 + n_1) / 2 is Beta((d-1)/2, (d-1)/2)
        assert stats.kstest((1 + x[:, 0] / r) / 2, stats.beta((d - 1) / 2, (d - 1) / 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("make", SMOOTH, ids=lambda make: make.__name__[5:])
def test_stein_identity_on_samples(make):
    """E[s] = 0 and E[s x^T] = -I: samples and score belong to one density. Off by five standard errors never happens."""
    rng = np.random.default_rng(3)
    p, _ = make(rng, 2)
    x = p.sample(20000, rng=rng)
    s = p.score(x)
    center = np.median(x, axis=0)
    for terms, expected in ((s, 0.0), ((s[:, :, None] * (x - center)[:, None, :]).reshape(-1, 4), -np.eye(2).ravel())):
        error = terms.std(axis=0) / math.sqrt(len(x))
        assert (np.abs(terms.mean(axis=0) - expected) < 5 * error).all()


def test_samples_of_a_correlated_box():
    mean, C = np.array([0.5, -0.3]), np.array([[1.0, 0.8], [0.8, 2.0]])
    p = TruncatedGaussian(mean, C, [0.0, -1.0], [np.inf, 1.0])
    x = p.sample(4000, rng=1)
    assert p._inside(x).all()
    # marginal of the first coordinate: normal times the conditional probability of the second's interval
    slope, sd = 0.8, math.sqrt(2 - 0.64)
    f = lambda t: (
        stats.norm.pdf(t - 0.5) * np.diff(stats.norm.cdf((np.array([-1.0, 1.0]) - (-0.3 + slope * (t - 0.5))) / sd))[0]
    )
    knots = np.linspace(0, 6, 121)
    steps = [integrate.quad(f, a, b)[0] for a, b in itertools.pairwise(knots)]
    law = np.concatenate([[0], np.cumsum(steps)]) / sum(steps)
    assert stats.kstest(x[:, 0], lambda t: np.interp(t, knots, law)).pvalue > 1e-3
    with pytest.raises(ValueError, match="too little for rejection"):
        TruncatedGaussian(mean, C, [8.0, -8.0], [9.0, -7.0]).sample(1)


@each_family
def test_the_same_seed_gives_the_same_samples(make):
    p, _ = make(np.random.default_rng(0), 2)
    np.testing.assert_array_equal(p.sample(7, rng=4), p.sample(7, rng=np.random.default_rng(4)))
    assert not np.array_equal(p.sample(7, rng=4), p.sample(7, rng=5))
    assert np.isfinite(p.logpdf(p.sample(500, rng=1))).all()


# --------------------------------------------------------------------------- symmetries


@pytest.mark.parametrize(
    "make", [make_gaussian, make_mixture, make_shared_mixture, make_student], ids=lambda m: m.__name__[5:]
)
@given(seed=seeds, d=st.integers(1, 4), c=st.floats(0.1, 10))
def test_moved_turned_and_rescaled_together(make, seed, d, c):
    """x -> c Q x + t: score turns and scales by 1/c, Jacobian by 1/c^2, log p loses d log c. Units are a free test."""
    rng = np.random.default_rng(seed)
    p, _ = make(rng, d)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    t, x = rng.normal(size=d), p.sample(5, rng=rng)
    move, turn = lambda m: c * m @ Q.T + t, lambda C: c**2 * Q @ C @ Q.T
    match p:
        case Gaussian():
            q = Gaussian(move(p.mean), turn(p.cov))
        case StudentT():
            q = StudentT(p.df, move(p.loc), turn(p.scale))
        case GaussianMixture():
            q = GaussianMixture(p.weights, move(p.means), turn(p.covs))
    y = move(x)
    # whitened distances below 1e3 (a t with one degree of freedom: more, but then only its logarithm counts); condition 16; t and m subtract: eps * 30 / c
    tight = {"rtol": 0, "atol": 1e-11 * (1 + 1 / c) * (1 + np.abs(p.logpdf(x)).max())}
    np.testing.assert_allclose(q.logpdf(y), p.logpdf(x) - d * math.log(c), **tight)
    np.testing.assert_allclose(c * q.score(y), p.score(x) @ Q.T, **tight)
    np.testing.assert_allclose(c**2 * q.trace(y), p.trace(x), **tight)
    np.testing.assert_allclose(c**2 * q.jacobian(y), Q @ p.jacobian(x) @ Q.T, **tight)


@given(rho=st.floats(0.5, 5), seed=seeds, d=st.integers(2, 4))
def test_ring_looks_the_same_from_everywhere(rho, seed, d):
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    p = Ring(rho, 1.0, d)
    x = p.sample(5, rng=rng)
    np.testing.assert_allclose(p.logpdf(x @ Q.T), p.logpdf(x), rtol=0, atol=1e-12)  # (r - R) eps r for r < 30
    np.testing.assert_allclose(p.score(x @ Q.T), p.score(x) @ Q.T, rtol=0, atol=1e-12)


# --------------------------------------------------------------------------- conventions and contract


def test_conventions_at_kinks():
    p = Laplace([0.0, 1.0], 2.0)
    np.testing.assert_array_equal(p.score([[0.0, 3.0], [5.0, 1.0]]), [[0, -0.5], [-0.5, 0]])
    np.testing.assert_array_equal(p.trace([[0.0, 1.0]]), [0])
    # the delta that no point sees: E|s|^2 = 1 / scale^2 per dimension, which Stein's identity owes to the trace
    assert (p.score(p.sample(10, rng=0)) ** 2).sum(1).mean() == 0.5
    r = Ring(2.0, 0.5, 3)
    np.testing.assert_array_equal(r.score(np.zeros((1, 3))), np.zeros((1, 3)))
    np.testing.assert_array_equal(r.jacobian(np.zeros((1, 3)))[0], -np.eye(3) / 0.25)
    assert r.trace(np.zeros((1, 3)))[0] == -3 / 0.25


@pytest.mark.parametrize("make", BOUNDED, ids=lambda make: make.__name__[5:])
def test_outside_the_support(make):
    p, _ = make(np.random.default_rng(0), 2)
    x = p.sample(4, rng=0)
    x[2] = p.support[:, 0] - 0.1
    assert p.logpdf(x)[2] == -np.inf and np.isfinite(np.delete(p.logpdf(x), 2)).all()
    assert p.energy(x)[2] == np.inf
    for name in ("score", "jacobian", "trace"):
        with pytest.raises(
            ValueError, match=rf"{type(p).__name__}.{name}: x\[2\].*outside the support.*first bad row: 2"
        ):
            getattr(p, name)(x)
    with pytest.raises(ValueError, match="outside the support"):
        p.curvature(x, x)
    ends = np.where(np.isfinite(p.support), p.support, 1.5).T  # the support is closed: its finite ends belong to it
    if make in (make_gamma, make_beta):  # p vanishes there, as a power
        assert np.isneginf(p.logpdf(ends[:1])).all() and not np.isnan(p.score(ends)).any()
    else:
        assert np.isfinite(p.score(ends)).all() and np.isfinite(p.logpdf(ends)).all()


@each_family
def test_empty_float32_and_bad_samples(make):
    p, _ = make(np.random.default_rng(1), 2)
    d = p.dim
    shapes = {"logpdf": (), "energy": (), "score": (d,), "jacobian": (d, d), "trace": ()}
    for name, shape in shapes.items():
        f = getattr(p, name)
        assert f(np.empty((0, d))).shape == (0, *shape)
        assert f(p.sample(3, rng=0)).shape == (3, *shape)
        with pytest.raises(ValueError, match=r"expected \(n, d\)"):
            f(np.zeros(d))
        with pytest.raises(ValueError, match=rf"expected \(n, {d}\)"):
            f(np.zeros((4, d + 1)))
        for bad in (np.nan, np.inf):
            with pytest.raises(ValueError, match=r"x\[1, 0\] is .*first bad row: 1"):
                f(np.where(np.arange(2 * d).reshape(2, d) == d, bad, 0.0))
        for dtype in (complex, np.longdouble):
            if np.dtype(dtype) != float:
                with pytest.raises(TypeError, match="expected float32 or float64"):
                    f(np.zeros((1, d), dtype))
    assert p.sample(0, rng=0).shape == (0, d)
    with pytest.raises(ValueError, match="one direction per row"):
        p.curvature(p.sample(3, rng=0), np.ones((2, d)))


def as_float32(p):
    single = lambda a: np.asarray(a, np.float32)
    match p:
        case TruncatedGaussian():
            return TruncatedGaussian(single(p.mean), single(p.cov), single(p.lower), single(p.upper))
        case Gaussian():
            return Gaussian(single(p.mean), single(p.cov))
        case Parzen():
            return Parzen(single(p.data), 0.25)
        case GaussianMixture():
            return GaussianMixture(single(p.weights), single(p.means), single(p.covs))
        case StudentT():
            return StudentT(p.df, single(p.loc), single(p.scale))
        case Logistic() | Laplace():
            return type(p)(single(p.loc), single(p.scale))
        case Exponential():
            return Exponential(single(p.rate))
        case HalfNormal():
            return HalfNormal(single(p.scale))
        case Gamma():
            return Gamma(single(p.shape), single(p.rate))
        case Beta():
            return Beta(single(p.a), single(p.b))
        case Uniform():
            return Uniform(single(p.lower), single(p.upper))
        case Banana():
            return Banana(np.float32(p.bend), np.float32(p.spread), p.dim)
        case Ring():
            return Ring(np.float32(p.radius), np.float32(p.width), p.dim)


@each_family
@given(seed=seeds)
def test_float32_in_float32_out(make, seed):
    rng = np.random.default_rng(seed)
    p = as_float32(make(rng, 2)[0])
    x = p.sample(20, rng=0)
    assert p.dtype == x.dtype == np.float32
    for name in ("logpdf", "score", "jacobian", "trace"):
        single, double = getattr(p, name)(x), getattr(p, name)(x.astype(float))
        assert (single.dtype, double.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(
            single, double, rtol=np.finfo(np.float32).eps, atol=1e-30
        )  # one rounding, at the end
    if make in SMOOTH[:4]:
        assert p.perturbed(0.5).dtype == np.float32


@each_family
def test_blocks_do_not_change_results(make, monkeypatch):
    p, _ = make(np.random.default_rng(0), 2)
    x = p.sample(50, rng=0)
    v = np.random.default_rng(1).normal(size=x.shape)
    whole = [p.logpdf(x), p.score(x), p.jacobian(x), p.trace(x), p.curvature(x, v)]
    monkeypatch.setattr(density, "BLOCK", 7 * p._row)
    for a, b in zip(whole, [p.logpdf(x), p.score(x), p.jacobian(x), p.trace(x), p.curvature(x, v)], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)  # a matrix product may sum in another order


def test_parzen_memory_is_bounded():
    p, x = Parzen(np.random.default_rng(0).normal(size=(500, 4)), 0.5), np.zeros((4000, 4))
    tracemalloc.start()
    p.trace(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * density.BLOCK * 8  # all at once would be 4000 * 500 * 4 numbers, 64 MB each time


def test_parameters_are_copied():
    mean = np.zeros(2)
    p = Gaussian(mean, 1.0)
    mean += 1
    np.testing.assert_array_equal(p.mean, [0, 0])


NOT_PD, SKEW, C_HALF = [[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.2, 1.0]], [[1.0, 0.5], [0.5, 1.0]]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Gaussian([0.0, 0.0], NOT_PD), ValueError, "not positive definite, smallest eigenvalue -1"),
        (lambda: Gaussian([0.0, 0.0], SKEW), ValueError, "not symmetric"),
        (lambda: Gaussian(0.0, -1.0), ValueError, "positive"),
        (lambda: Gaussian([0.0, 0.0], [1.0, 1.0]), ValueError, "np.diag"),
        (lambda: Gaussian([0.0, np.nan], 1.0), ValueError, r"mean\[1\] is nan"),
        (lambda: Gaussian([[0.0]], 1.0), ValueError, "mean has shape"),
        (lambda: Gaussian(0j, 1.0), TypeError, "complex"),
        (lambda: Gaussian("a", 1.0), TypeError, "expected numbers"),
        (lambda: StudentT(0.0), ValueError, "df"),
        (lambda: StudentT(3.0, 0.0, -1.0), ValueError, "scale"),
        (lambda: StudentT(3.0, [0.0, 0.0], NOT_PD), ValueError, "not positive definite"),
        (lambda: GaussianMixture([0.5, 0.6], [0.0, 1.0], 1.0), ValueError, r"weights / weights.sum\(\)"),
        (lambda: GaussianMixture([0.0, 1.0], [0.0, 1.0], 1.0), ValueError, "Drop empty"),
        (lambda: GaussianMixture([0.5, 0.5], [0.0], 1.0), ValueError, "weights have shape"),
        (lambda: GaussianMixture([], [], 1.0), ValueError, "weights have shape"),
        (lambda: GaussianMixture([0.5, 0.5], np.zeros((2, 3)), np.eye(2)), ValueError, "covs has shape"),
        (
            lambda: GaussianMixture([0.5, 0.5], np.zeros((2, 2)), [NOT_PD, np.eye(2)]),
            ValueError,
            "not positive definite",
        ),
        (lambda: GaussianMixture([0.5, 0.5], [0.0, 1.0], 0.0), ValueError, "variance"),
        (lambda: Parzen([1.0, 2.0], 0.1), ValueError, r"data\[:, None\]"),
        (lambda: Parzen(np.empty((0, 2)), 0.1), ValueError, "at least one row"),
        (lambda: Parzen([[0.0]], 0.0), ValueError, "sigma"),
        (lambda: Logistic(0.0, [1.0, 0.0]), ValueError, "scale has minimum"),
        (lambda: Laplace([0.0, 0.0, 0.0], [1.0, 1.0]), ValueError, "shapes are"),
        (lambda: Exponential(-1.0), ValueError, "rate has minimum"),
        (lambda: HalfNormal(0.0), ValueError, "scale"),
        (lambda: Uniform([0.0, 0.0], [1.0, 0.0]), ValueError, r"lower\[1\]"),
        (lambda: Uniform(0.0, np.inf), ValueError, "upper"),
        (lambda: TruncatedGaussian(0.0, 1.0, 1.0, 1.0), ValueError, "lower < upper"),
        (lambda: TruncatedGaussian(0.0, 1.0, np.nan), ValueError, "no NaN"),
        (lambda: TruncatedGaussian(0.0, 1.0, [0.0, 1.0]), ValueError, "expected scalars"),
        (lambda: TruncatedGaussian([0.0, 0.0], C_HALF, 40.0).logpdf([[41.0, 41.0]]), ValueError, "no probability"),
        (lambda: Banana(dim=1), ValueError, "dim"),
        (lambda: Banana(spread=-1.0), ValueError, "spread"),
        (lambda: Ring(radius=0.0), ValueError, "radius"),
        (lambda: Ring(dim=1), ValueError, "dim"),
        (lambda: Ring(dim=2.0), TypeError, "dim"),
        (lambda: Gaussian(0.0, 1.0).sample(-1), ValueError, "Gaussian.sample: n"),
        (lambda: Gaussian(0.0, 1.0).sample(1, rng="x"), TypeError, "rng"),
        (lambda: Gaussian(0.0, 1.0).perturbed(0.0), ValueError, "Gaussian.perturbed: sigma"),
    ],
)
def test_errors_name_the_argument_and_the_cure(call, error, message):
    with pytest.raises(error, match=message):
        call()


@each_family
@given(seed=seeds)
def test_frames_hold_the_density(make, seed):
    rng = np.random.default_rng(seed)
    p, length = make(rng, 2)
    frame = p.frame
    if np.isfinite(p.support).any():
        np.testing.assert_array_equal(frame.axes, np.diag(np.diag(frame.axes)))
    u = np.linalg.solve(frame.axes, (p.sample(2000, rng=0) - frame.center).T)
    # half of the samples lie within the reach plus two units, whatever the tail; and a feature is no finer than promised
    assert np.median(np.abs(u)) < frame.reach + 2
    assert frame.detail * np.linalg.svd(frame.axes)[1].max() < 30 * length
    assert frame.reach >= 1 >= frame.detail > 0


def test_the_frame_of_a_mixture_whitens_it():
    rng = np.random.default_rng(0)
    p, _ = make_mixture(rng, 3)
    frame = p.frame
    u = np.linalg.solve(frame.axes, (p.sample(40000, rng=1) - frame.center).T)
    np.testing.assert_allclose(
        np.cov(u), np.eye(3), atol=0.05
    )  # five standard errors of a kurtosis below 3: 5 sqrt(3 / 4e4)
    parzen = Parzen(rng.normal(size=(50, 2)), 0.1)
    # isotropic components in whitened units: the smallest sd is sigma over the largest overall sd
    assert parzen.frame.detail == pytest.approx(0.1 / np.linalg.svd(parzen.frame.axes)[1][0], rel=1e-12)


def test_importing_densities_loads_numpy_alone():
    code = "import sys, numpyscore.densities as d; d.Gaussian(0., 1.).score([[1.]]); assert 'scipy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_box_much_narrower_than_the_gaussian_is_normalised():
    """Differences of Phi lose eps over the width, 7e-9 at 1e-8; the midpoint rule with its correction does not."""
    for a, w in ((-1e-8, 1e-8), (0.5, 1e-5), (-3.0, 1e-10), (6.0, 1e-4), (-30.0, 1e-6), (0.0, 9e-4)):
        p, middle = TruncatedGaussian(0.0, 1.0, a, a + w), a + w / 2
        w = p.upper[0] - p.lower[0]  # as rounded
        series = 1 + (middle**2 - 1) * w**2 / 24 + (middle**4 - 6 * middle**2 + 3) * w**4 / 1920
        truth = -np.log(w) - np.log(series)  # log of phi(middle) / (phi(middle) w series)
        assert abs(p.logpdf(np.array([[middle]]))[0] - truth) <= 4 * np.finfo(float).eps * (abs(truth) + a**2)


@pytest.mark.parametrize("rho", [0.5, 1 - 1e-9, 1 - 1e-10, 1 - 1e-12])
def test_a_quadrant_of_nearly_parallel_axes_is_normalised(rho):
    """Pr[both positive] = 1/4 + arcsin(rho) / 2 pi (Sheppard); SciPy calls a correlation of 1 - 1e-10 singular unless told not to."""
    C = np.array([[1, rho], [rho, 1]])
    p, x = TruncatedGaussian(np.zeros(2), C, 0.0, np.inf), np.array([[0.7, 0.7]])
    log_share = Gaussian(np.zeros(2), C).logpdf(x) - p.logpdf(x)
    assert np.exp(log_share)[0] == pytest.approx(0.25 + math.asin(rho) / (2 * math.pi), abs=1e-13)


@pytest.mark.parametrize("k", [0.5, 1.0, 1.5, 2.0, 8.0])
def test_the_gamma_density_at_its_end_and_in_its_mean(k):
    """Shape 1 is the exponential to the last bit; at 0 log p and score have the limits that they have; E x = k / rate by quadrature."""
    from numpyscore import expectation

    p, end = Gamma(k, 2.0), np.zeros((1, 1))
    assert p.logpdf(end)[0] == (np.log(2.0) if k == 1 else np.inf if k < 1 else -np.inf)
    assert p.score(end)[0, 0] == (-2.0 if k == 1 else -np.inf if k < 1 else np.inf)
    if k >= 1:
        assert expectation(lambda x: x[:, 0], p).value == pytest.approx(k / 2, rel=1e-12)
    if k == 1:
        x = p.sample(20, rng=0)
        np.testing.assert_array_equal(p.score(x), Exponential(2.0).score(x))


def test_a_density_says_what_it_is_and_knows_what_others_call_its_parts():
    said = {
        "Gaussian(dim=2, mean=[0., 1.], cov=[[2., 0.], [0., 2.]])": Gaussian([0.0, 1.0], 2.0),
        "Gaussian(dim=20, mean=<20>, cov=<20 x 20>)": Gaussian(np.zeros(20), 1.0),
        "Parzen(3 rows x 2 columns, sigma=0.3)": Parzen(np.eye(3)[:, :2], 0.3),
        "Exponential(dim=1, rate=[2.])": Exponential(2.0),
        "Exponential(dim=1, rate=[0.1235])": Exponential(0.123456789),
        "Gaussian(dim=3, mean=[0., 0., 0.], cov=[[1., 0., 0.], [0., 1., 0.], [0., 0., 1.]])": Gaussian(
            np.zeros(3), 1.0
        ),
        "Gaussian(dim=10, mean=<10>, cov=<10 x 10>)": Gaussian(np.zeros(10), 1.0),
        "StudentT(dim=1, df=3., loc=[0.], scale=[[4.]])": StudentT(3.0, 0.0, 2.0),
    }
    assert [repr(one) for one in said.values()] == [*said]
    with pytest.raises(AttributeError, match=r"Gaussian has no attribute 'rvs'; here it is \.sample\(n, rng=seed\)"):
        Gaussian(0.0, 1.0).rvs(3)
    with pytest.raises(AttributeError, match="did you mean logpdf"):
        Gaussian(0.0, 1.0).logpdff(3)


# ---- beyond where squares overflow, and clusters far apart


FAR_OUT = [
    Gaussian(0.0, 1.0),
    Gaussian([0.0, 0.0], [[2.0, 0.5], [0.5, 1.0]]),
    GaussianMixture([0.5, 0.5], [-1.0, 1.0], [1.0, 2.0]),
    GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 1.0),
    StudentT(3.0),
    StudentT(2.5, [0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]]),
    Logistic(), Laplace(), Exponential(), HalfNormal(), Gamma(2.0), Gamma(0.5), Ring(),
    TruncatedGaussian(0.0, 1.0, -1.0),
    Parzen([[0.0], [1.0]], 0.1),
]  # fmt: skip


@pytest.mark.parametrize("p", FAR_OUT, ids=lambda p: f"{type(p).__name__}{p.dim}")
def test_squares_that_overflow_leave_no_nan(p):
    """From 1e150, where all is finite, to 1e300 every score grows or falls by a power: 1e150 to the same exponent at each step."""
    with np.errstate(all="raise", under="ignore"):
        x = np.array([1e100, 1e150, 1e200])[:, None] * np.ones(p.dim)
        s = np.abs(p.score(x))
        for value in (p.trace(x), p.jacobian(x), s):
            assert np.isfinite(value).all()
        np.testing.assert_allclose(s[2] / s[1], s[1] / s[0], rtol=1e-12)
        log_p = p.logpdf(x)
    assert not np.isnan(log_p).any() and np.all(np.diff(log_p) <= 0)


@pytest.mark.parametrize("r", [1e153, 1e154, 1e155, 1e200, 1e307])
def test_students_t_is_right_where_its_square_is_no_number(r):
    """By logarithms: log p = log c - (nu + d)/2 log(1 + q/nu), and s = -(nu + d) P e/q as 1/q is below rounding."""
    C = np.array([[2.0, 0.5], [0.5, 1.0]])
    for p, q, direction in (
        (StudentT(3.0), 1.0, np.array([1.0])),
        (StudentT(2.5, [0.0, 1.0], C), np.array([1, -1]) @ np.linalg.solve(C, [1, -1]), np.array([1.0, -1.0])),
    ):
        P, c = p._precision, p.logpdf(np.array([p.loc]))[0]
        x = r * direction[None]
        log_p = c - 0.5 * (p.df + p.dim) * (2 * math.log(r) + math.log(q) - math.log(p.df))
        np.testing.assert_allclose(p.logpdf(x)[0], log_p, rtol=4 * EPS * 10)
        np.testing.assert_allclose(p.score(x)[0] * r, -(p.df + p.dim) * P @ direction / q, rtol=1e-14)
        if r < 1e155:  # later 1/r^2 is denormal
            J = -(p.df + p.dim) * (P - 2 * np.outer(P @ direction, P @ direction) / q) / q
            np.testing.assert_allclose(p.jacobian(x)[0] * r * r, J, rtol=1e-13, atol=1e-13)
            np.testing.assert_allclose(p.trace(x)[0] * r * r, np.trace(J), rtol=1e-13, atol=1e-13)


def parzen_by_decimals(data, sigma, x):
    """Score and log p of a Parzen density in one dimension to fifty digits."""
    with localcontext() as context:
        context.prec = 50
        terms = [-((D(x) - D(m)) ** 2) / (2 * D(sigma) ** 2) for m in data]
        r = [(t - max(terms)).exp() for t in terms]
        score = sum(a * (D(m) - D(x)) for a, m in zip(r, data, strict=True)) / sum(r) / D(sigma) ** 2
        return float(score), float(max(terms) + (sum(r) / len(data) / D(sigma)).ln()) - 0.5 * math.log(2 * math.pi)


@pytest.mark.parametrize("gap", [1e2, 1e4, 1e6, 1e8])
def test_parzen_in_clusters_far_apart(gap):
    """The score of a cluster near 0 lost eps D/sigma^2, and the log ratios within it eps (D/sigma)^2, to a cluster D away.

    Allowed: 64 eps of the largest term of the sum, and of what rounding x itself does, eps |x| / sigma^2.
    """
    data, sigma = [0.0, 0.004, 0.01, gap, gap + 0.02], 0.01
    p = Parzen(np.array(data)[:, None], sigma)
    for x in (0.007, 0.003, -0.02, 0.3, gap - 0.007, gap + 0.013):
        score, log_p = parzen_by_decimals(data, sigma, x)
        size = (np.sort(np.abs(np.array(data) - x))[2] + EPS * abs(x)) / sigma**2
        assert abs(p.score(np.array([[x]]))[0, 0] - score) <= 64 * EPS * size * (1 + abs(score) * 0.01), x
        assert abs(p.logpdf(np.array([[x]]))[0] - log_p) <= 64 * EPS * (1 + abs(log_p) + abs(score) * abs(x)), x


def test_clusters_agree_with_one_component_at_a_time():
    """Two dimensions, 200 kernels in clusters, the mixture's own posterior (differences from the strongest mean) as the oracle."""
    rng = np.random.default_rng(0)
    data = np.repeat(rng.normal(size=(5, 2)) * [[1], [10], [100], [1e3], [1e4]], 40, axis=0) + 0.02 * rng.normal(
        size=(200, 2)
    )
    p = Parzen(data, 0.01)
    x = p.sample(400, rng=1)
    log_p, score = p._posterior(x)[:2]
    np.testing.assert_allclose(p.score(x), score, rtol=0, atol=1e-10 * 100)  # FAR^2 eps of 1/sigma
    np.testing.assert_allclose(p.logpdf(x), log_p, rtol=1e-12)


def test_frames_say_what_they_are_said_to_say():
    """Centre, unit, tail, reach, detail and breaks of each, from its docstring, in the plane or on the line."""
    v = np.array
    gamma, beta = Gamma([4.0, 9.0], [2.0, 1.0]), Beta(v([2.0, 3.0]), v([3.0, 5.0]))
    sd = lambda laws: np.sqrt([law.var() for law in laws])
    arm, ring = 0.5 * 4, Ring(3.0, 0.5, 3)
    outside = 3.0 / 2.0  # standard deviations from the box to the mean
    table = [
        (Gaussian(v([1.0, 2.0]), 4.0), v([1.0, 2.0]), 2 * np.eye(2), "gaussian", 1, 1, ()),
        (StudentT(3.0, v([1.0, 2.0]), 4 * np.eye(2)), v([1.0, 2.0]), 2 * np.eye(2), "algebraic", 1, 1, ()),
        (Logistic(v([1.0, 2.0]), 3.0), v([1.0, 2.0]), 3 * np.eye(2), "exponential", 1, 1, ()),
        (Laplace(v([1.0, 2.0]), 3.0), v([1.0, 2.0]), 3 * np.eye(2), "exponential", 1, 1, ((1.0,), (2.0,))),
        (gamma, v([2.0, 9.0]), np.diag(sd([stats.gamma(4, scale=0.5), stats.gamma(9)])), "exponential", 1, 0.5, ()),
        (beta, v([0.4, 0.375]), np.diag(sd([stats.beta(2, 3), stats.beta(3, 5)])), "gaussian", 1, 0.5, ()),
        (Uniform(v([1.0, -2.0]), v([2.0, 6.0])), v([1.5, 2.0]), np.diag([0.5, 4.0]), "gaussian", 1, 1, ()),
        (
            TruncatedGaussian(v([0.0, 1.0]), np.diag([4.0, 9.0]), v([3.0, -20.0]), v([np.inf, 20.0])),
            v([3.0, 1.0]), np.diag([2 / (1 + outside), 3.0]), "exponential", 1, 1, (),
        ),
        (TruncatedGaussian(1.0, 9.0, 0.0, 2.0), v([1.0]), np.diag([2.0]), "gaussian", 1, 1, ()),
        (
            Banana(0.5, 2.0, 3), np.zeros(3), np.diag([2, math.hypot(1, 2 * arm), 1]), "gaussian",
            63 * arm / math.hypot(1, 2 * arm), 1 / math.hypot(1, 2 * arm), (),
        ),
    ]  # fmt: skip
    for p, center, axes, tail, reach, detail, breaks in table:
        frame = p.frame
        np.testing.assert_allclose(frame.center, center, rtol=1e-14, err_msg=repr(p))
        np.testing.assert_allclose(frame.axes, axes, rtol=1e-14, atol=1e-15, err_msg=repr(p))
        assert (frame.tail, frame.breaks) == (tail, breaks), p
        assert (frame.reach, frame.detail) == (pytest.approx(reach), pytest.approx(detail)), p
    unit = ring.frame.axes[0, 0]
    assert unit == pytest.approx(np.sqrt(np.mean(ring.sample(20000, rng=0) ** 2)), rel=0.01)
    assert ring.frame.reach == pytest.approx(3 / unit) and ring.frame.detail == pytest.approx(0.5 / unit)
    assert ring.frame.breaks == ((0.0,),) * 3 and Ring(3.0, 0.3).frame.breaks == ()  # e^(-81 / 2) at the origin


def test_a_frame_reaches_a_unit_at_least():
    """A Banana that is not bent, a Ring that is hardly one, a mixture of one; a mixture of two reaches its means."""
    alone, two = GaussianMixture([1.0], [0.5], 4.0), GaussianMixture([0.5, 0.5], [-3.0, 3.0], 1e-2)
    for p in (Banana(0.0, 3.0), Ring(0.1, 1.0), alone, two, Parzen([[0.5]], 2.0)):
        assert p.frame.reach == 1
    assert GaussianMixture([0.9, 0.1], [0.0, 10.0], 1.0).frame.reach == pytest.approx(9 / math.sqrt(1 + 9))


def test_equal_covariances_are_one_covariance():
    """Given K times or once, or as a (1, 1) matrix on the line: the same bits, however far out."""
    C, means, x = np.array([[2.0, 0.3], [0.3, 1.0]]), [[0.0, 1.0], [3.0, -2.0]], np.array([[1e9, 3e8], [0.3, 0.1]])
    many, one = (GaussianMixture([0.3, 0.7], means, covs) for covs in (np.stack([C, C]), C))
    for name in ("logpdf", "score", "jacobian", "trace"):
        np.testing.assert_array_equal(getattr(many, name)(x), getattr(one, name)(x))
    line = GaussianMixture([0.3, 0.7], [0.0, 1.0], [[4.0]])
    np.testing.assert_allclose(
        line.logpdf(x[:, :1]), GaussianMixture([0.3, 0.7], [0.0, 1.0], 4.0).logpdf(x[:, :1]), rtol=1e-14
    )
    assert line.covs.shape == (2, 1, 1)


def test_the_normaliser_of_three_correlated_dimensions_is_the_same_each_time():
    C = np.array([[1.0, 0.5, 0.2], [0.5, 1.0, -0.3], [0.2, -0.3, 1.0]])
    one, two = (TruncatedGaussian(np.zeros(3), C, -0.5, 1.0).logpdf(np.zeros((1, 3))) for _ in range(2))
    assert one == two


def test_a_ring_of_any_width_is_sampled_by_its_own_law():
    """P(r < t) by quadrature of r^(d - 1) e^(-(r - R)^2 / 2 w^2); the same seed gives the same rows."""
    for p in (Ring(3.0, 0.5, 2), Ring(0.2, 1.0, 4)):
        r = np.linalg.norm(p.sample(4000, rng=0), axis=1)
        weight = lambda t, p=p: t ** (p.dim - 1) * np.exp(-(((t - p.radius) / p.width) ** 2) / 2)
        whole = integrate.quad(weight, 0, p.radius + 12 * p.width)[0]
        law = lambda t, weight=weight, whole=whole: np.array([integrate.quad(weight, 0, b)[0] / whole for b in t])
        places = np.quantile(r, np.linspace(0.02, 0.98, 25))
        share = np.searchsorted(np.sort(r), places, side="right") / len(r)
        assert np.abs(share - law(places)).max() < 1.95 / math.sqrt(len(r))  # Kolmogorov's 0.1 %
        np.testing.assert_array_equal(p.sample(7, rng=3), p.sample(7, rng=3))
        assert len(p.sample(1, rng=0)) == 1


def test_what_is_let_pass_and_what_is_not():
    """Weights that add to 1 within 1e-6; a share of 1e-4 of a correlated Gaussian, 0.95e-4 beyond 3.732 and 1.05e-4 beyond 3.708."""
    for sign in (-1, 1):
        assert GaussianMixture([0.5, 0.5 + sign * 0.95e-6], [0.0, 1.0], 1.0).weights.sum() == pytest.approx(1, abs=EPS)
        with pytest.raises(ValueError, match="with sum 1"):
            GaussianMixture([0.5, 0.5 + sign * 1.1e-6], [0.0, 1.0], 1.0)
    tail = lambda low: TruncatedGaussian(np.zeros(2), np.array([[1.0, 0.5], [0.5, 1.0]]), [low, -np.inf], np.inf)
    assert tail(3.708).sample(1, rng=0)[0, 0] >= 3.708
    with pytest.raises(ValueError, match="too little for rejection sampling"):
        tail(3.732).sample(1, rng=0)


def test_what_is_left_out_is_standard():
    """Location 0 and scale, rate and bounds of 1; the numbers of Gamma, Beta, Banana and Ring are those of the examples."""
    standard = {"loc": 0, "scale": 1}
    table = {
        StudentT: standard, Logistic: standard, Laplace: standard, Exponential: {"rate": 1}, HalfNormal: {"scale": 1},
        Gamma: {"shape": 2, "rate": 1}, Beta: {"a": 2, "b": 2}, Uniform: {"lower": 0, "upper": 1},
        TruncatedGaussian: {"lower": -np.inf, "upper": np.inf}, Banana: {"bend": 0.5, "spread": 2, "dim": 2},
        Ring: {"radius": 3, "width": 0.5, "dim": 2},
    }  # fmt: skip
    assert {density: defaults(density) for density in table} == table


def test_a_direction_that_is_none_is_named_and_one_row_is_no_block():
    with pytest.raises(ValueError, match=r"Gaussian\.curvature: v\[1, 0\] is nan"):
        Gaussian(np.zeros(2), 1.0).curvature(np.zeros((2, 2)), np.array([[0.0, 0.0], [np.nan, 0.0]]))
    with pytest.raises(ValueError, match=r"v has shape \(1, 2\), expected \(2, 2\), one direction per row of x"):
        Gaussian(np.zeros(2), 1.0).curvature(np.zeros((2, 2)), np.zeros((1, 2)))
