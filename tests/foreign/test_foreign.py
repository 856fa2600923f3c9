"""Other people's numbers: each with its source, reproduced by the public API to the digits that were printed."""

from pathlib import Path

import numpy as np
import pytest

import numpyscore as ns
from numpyscore.densities.weights import log_weight
from numpyscore.estimation.asymptotics import asymptotic_variance
from numpyscore.estimation.estimators import exponential_family

HERE = Path(__file__).parent
HALF_LINE = np.loadtxt(HERE / "half_line_50.txt")[:, None]
SHARES = np.loadtxt(HERE / "compositions_60x4.txt")
WEIGHTS = np.loadtxt(HERE / "weights_60.txt")


def assert_printed(got, printed):
    """Equal to half a unit of the last digit printed, given as a string."""
    mantissa, _, exponent = printed.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    # a product of 50 or 60 rows in another order of summation: a few eps times a condition below 1e3
    assert abs(float(got) - float(printed)) <= 0.5 * 10.0**-digits + 1e-12 * abs(float(printed)), (got, printed)


# ---- R genscore 0388c38: a normal density cut at 0


def genscore_weight(cap):
    """h = min(log(1 + x), cap) and its derivative; where it is cut."""
    return log_weight(cap=cap), (np.expm1(cap),)


def cut_normal(mean_known=None, variance_known=None):
    """The family theta -> normal density cut at 0, of those parameters that are not known."""
    if mean_known is not None:
        return lambda var: ns.TruncatedGaussian(mean_known, var, 0.0, np.inf)
    return lambda mean: ns.TruncatedGaussian(mean, variance_known, 0.0, np.inf)


@pytest.mark.parametrize(
    "family, theta, printed",
    [(cut_normal(variance_known=1.0), 0.0, "2.795459"), (cut_normal(mean_known=0.0), 1.0, "2.379507")],
)
def test_asymptotic_variances_of_genscores_vignette(family, theta, printed):
    (h, h_prime), breaks = genscore_weight(2.0)
    got = asymptotic_variance(family, theta, "generalised", h=h, h_prime=h_prime, breaks=breaks)
    assert_printed(got.item(), printed)


@pytest.mark.parametrize(
    "mean, of_mean, of_variance",
    [
        (-2.0, "8.75050640385", "1.24861580508"),
        (0.0, "2.75193839388", "2"),
        (1.5, "1.29440994397", "3.12485565086"),
    ],
)
def test_cramer_rao_bounds_of_genscore(mean, of_mean, of_variance):
    bound = lambda family, theta: asymptotic_variance(family, theta, "likelihood", rtol=1e-11).item()
    assert_printed(bound(cut_normal(variance_known=1.0), mean), of_mean)
    assert_printed(bound(cut_normal(mean_known=mean), 1.0), of_variance)


def cut_normal_estimates(cap=None):
    """Mean (variance 1), variance (mean 0) and both, of the 50 draws; h = min(log(1 + x), 2), or min(x, cap)."""
    x = HALF_LINE
    h, h_prime = genscore_weight(2.0)[0] if cap is None else ns.capped_weight(cap)
    one, zero = np.ones((50, 1, 1)), np.zeros((50, 1, 1))
    linear, square = (one, zero), (-x[:, :, None], -one)  # F = x and -x^2/2: gradient and second derivative
    both = [np.concatenate(pair, axis=1) for pair in zip(linear, square, strict=True)]
    fit = lambda pair, base=None: exponential_family(x, *pair, h=h, h_prime=h_prime, base_score=base)
    eta, K = fit(both)
    # the second derivative of the base, -h, is a part of its score's loss that does not depend on theta
    return fit(linear, -x)[0], 1 / fit(square)[0], eta / K, 1 / K


def test_estimates_of_genscore_on_fifty_draws():
    printed = "0.468586489785", "1.40961711596", "0.376264081861", "1.1003888579"
    for got, digits in zip(cut_normal_estimates(), printed, strict=True):
        assert_printed(got, digits)
    for got, digits in zip(cut_normal_estimates(cap=1.0)[2:], ("0.305450443537", "1.26088989619"), strict=True):
        assert_printed(got, digits)


# ---- R scorematchingad d508563: compositions


def log_ratio_family(u):
    """The polynomially tilted pairwise interaction model in y = log(u_i / u_4): gradient, Laplacian, base score at beta_4 = .3.

    log p = sum_i a_ii u_i^2 + 2 sum_{i<j} a_ij u_i u_j + sum_i (1 + beta_i) log u_i, and du_a/dy_j = u_a (delta_aj - u_j).
    """
    n, (i, j) = len(u), (np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2]))
    E = np.eye(4)[:, :3]  # delta_aj
    dlog = E - u[:, None, :3]  # d log u_a / dy_j (n, 4, 3)
    twice = -u[:, :3] * (1 - u[:, :3])  # d^2 log u_a / dy_j^2, the same for every a (n, 3)
    product, factor = u[:, i] * u[:, j], np.where(i == j, 1.0, 2.0)
    slope = dlog[:, i] + dlog[:, j]  # d log (u_i u_j) / dy (n, 6, 3)
    gradient = np.concatenate([(factor * product)[:, :, None] * slope, dlog[:, :3]], axis=1)
    quadratic = factor * product * (np.sum(slope**2, 2) + 2 * twice.sum(1)[:, None])
    laplacian = np.concatenate([quadratic, np.repeat(twice.sum(1)[:, None], 3, 1)], axis=1)
    base = dlog[:, :3].sum(1) + 1.3 * dlog[:, 3]
    assert gradient.shape == (n, 9, 3) and laplacian.shape == (n, 9)
    return gradient, laplacian, base


@pytest.mark.parametrize(
    "weights, first, last",
    [(None, "-3.4458667240445", "1.05233494220751"), (WEIGHTS, "-1.86995060309177", "1.2026480759925")],
)
def test_the_interaction_model_of_scorematchingad_in_log_ratios(weights, first, last):
    gradient, laplacian, base = log_ratio_family(SHARES)
    y = np.log(SHARES[:, :3] / SHARES[:, 3:])
    theta = exponential_family(y, gradient, laplacian, base_score=base, weights=weights)
    assert_printed(theta[0], first)
    assert_printed(theta[-1], last)


def dirichlet_on_the_sphere(weight):
    """beta of prod u_i^beta_i from z = sqrt(u) on the sphere, by the weight h(z) (n,) with gradient (n, 4).

    There log p = sum_i (1 + 2 beta_i) log z_i. Gradients are projected, D z_i = e_i / z_i - z, and the Laplacian of log z_i on the sphere
    is -1/z_i^2 + 1 - (d - 1) = -1/z_i^2 + 2 - d.
    """
    z, d = np.sqrt(SHARES), 4
    h, slope = weight(z)
    gradient = 2 * (np.eye(d) / z[:, :, None] - z[:, None, :])  # (n, k, d), of F_i = 2 log z_i
    laplacian = 2 * (-1 / z**2 + 2 - d)  # (n, k)
    spread = lambda a: np.repeat(a[..., None], d, axis=-1)
    base = 1 / z - d * z
    return exponential_family(z, gradient, spread(laplacian) / d, h=spread(h), h_prime=slope, base_score=base)


def product_weight(z):
    """min(prod z, .1)^2."""
    p = z.prod(1)
    return np.minimum(p, 0.1) ** 2, np.where((p < 0.1)[:, None], 2 * (p**2)[:, None] / z, 0.0)


def least_weight(z):
    """min(z_j, .1)^2."""
    j = z.argmin(1)
    least = z.min(1)
    return np.minimum(least, 0.1) ** 2, np.where(least < 0.1, 2 * least, 0.0)[:, None] * np.eye(4)[j]


def test_the_dirichlet_of_scorematchingad_on_the_sphere():
    printed = "-0.271017880293909", "1.09725187582111", "1.04109734336564", "2.73074948391757"
    for got, digits in zip(dirichlet_on_the_sphere(product_weight), printed, strict=True):
        assert_printed(got, digits)
    theta = dirichlet_on_the_sphere(least_weight)
    assert_printed(theta[0], "-0.123313273619189")
    assert_printed(theta[-1], "1.93371660067608")


# ---- papers and other packages


def test_von_mises_fisher_of_mardia_kent_and_laha():
    """On the sphere in R^3 the Laplacian of x_i is -2 x_i: theta = 2 (I - mean x x^T)^-1 mean x, arXiv:1604.08470."""
    x = np.random.default_rng(0).standard_normal((200, 3)) + [1.0, 0.5, 0.0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    gradient = np.eye(3) - x[:, :, None] * x[:, None, :]
    want = 2 * np.linalg.solve(np.eye(3) - x.T @ x / 200, x.mean(0))
    np.testing.assert_allclose(exponential_family(x, gradient, -2 * x), want, rtol=1e-13)


def test_weight_of_two_modes_of_koehler_and_diao():
    """Koehler, Heckett & Risteski (2022) and Diao (2023) print 1.66, 9.42, 139.5, 5543."""
    for m, printed in ((1, "1.66"), (2, "9.42"), (3, "139.5"), (4, "5543")):
        family = lambda w, m=m: ns.GaussianMixture([w, 1 - w], [[-m], [m]], 1.0)
        ratio = asymptotic_variance(family, 0.5) / asymptotic_variance(family, 0.5, "likelihood")
        assert_printed(ratio.item(), printed)


def test_torchebms_unit_gaussian():
    """Exact score matching of a unit Gaussian: 1/2 mean |x|^2 - d."""
    x = np.random.default_rng(0).standard_normal((50, 3))
    p = ns.Gaussian(np.zeros(3), 1.0)
    assert np.isclose(ns.implicit_loss(p.score(x), p.trace(x)).mean(), 0.5 * np.mean(np.sum(x**2, 1)) - 3, rtol=1e-14)


def test_the_offsets_of_score_sde():
    """Bits per dimension of data scaled to [0, 1] or [-1, 1] from 256 whole numbers: 8 or 7 more than those of the scaled density."""
    for scale, offset in ((256.0, 8.0), (128.0, 7.0)):
        assert ns.bits_per_dimension(np.zeros(1), 5, scale=scale) == pytest.approx([offset], abs=1e-14)


def test_the_stein_kernel_of_stein_thinning():
    """Its test at x = (1, 2, 3), y = (2, 3, 4), scores (.5, .75, 1.5) and (1, 1.5, 3), imq kernel of bandwidth 1: 3.5."""
    from numpyscore.sampling.diagnostics import stein_kernel

    x, y = np.array([[1.0, 2.0, 3.0]]), np.array([[2.0, 3.0, 4.0]])
    u = stein_kernel(x, np.array([[0.5, 0.75, 1.5]]), y, np.array([[1.0, 1.5, 3.0]]), kernel="imq", bandwidth=1.0)
    assert np.isclose(u.item(), 3.5, rtol=1e-14)


def test_control_a_number_wrong_in_its_last_digit_is_told():
    with pytest.raises(AssertionError):
        assert_printed(2.795460, "2.795459")
    theta = dirichlet_on_the_sphere(lambda z: (product_weight(z)[0], 0 * z))  # the gradient of the weight forgotten
    with pytest.raises(AssertionError):
        assert_printed(theta[0], "-0.271017880293909")
