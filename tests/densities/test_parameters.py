"""Small linear algebra and special functions of the densities, where whole numbers make them rational; parameters that are none."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from numpyscore.densities import Gaussian, GaussianMixture, StudentT, TruncatedGaussian, Uniform
from numpyscore.densities.parameters import cholesky, length, log_gamma_ratio, log_interval, normal_between

EPS = np.finfo(float).eps


@pytest.mark.parametrize("a", [99.0, 100.0, 101.5, 137.25, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("b", [1, 2, 3])
def test_a_ratio_of_gammas_a_whole_number_apart_is_a_product(a, b):
    """Gamma(a + b) / (Gamma(a) a^b) = (1 + 1/a) ... (1 + (b - 1)/a). Below 100 two logarithms of size a log a are subtracted."""
    exact = sum(math.log1p(k / a) for k in range(b))
    assert abs(log_gamma_ratio(a, b) - exact) <= EPS * (4 * b if a >= 100 else 4 * a * math.log(a))


def exact_corner(C):
    """L_22 of a 2 x 2 matrix, by fractions and a root of 60 digits."""
    (a, b), (_, d) = [[Fraction(v) for v in row] for row in C.tolist()]
    with localcontext() as context:
        context.prec = 60
        q = d - b * b / a
        return (Decimal(q.numerator) / Decimal(q.denominator)).sqrt()


@pytest.mark.parametrize("gap", [1e-2, 2e-3, 1e-3, 1e-4, 1e-6, 1e-9, 1e-12])
def test_the_root_of_a_nearly_singular_matrix_has_its_digits(gap):
    """LAPACK's corner loses as many as rho^2 / (1 - rho^2) says, 1e9 eps at a gap of 1e-9; here 4 eps, alone and in a stack, either sign."""
    worst = 0.0
    for k in range(8):
        C = np.array([[1.7 + k, 0.0], [0.0, 0.3 + 0.1 * k]])
        C[0, 1] = C[1, 0] = (-1) ** k * (1 - gap * (1 + 0.1 * k)) * math.sqrt(C[0, 0] * C[1, 1])
        stack = np.stack([np.eye(2), C, 2 * np.eye(2)])
        L, white = cholesky("test", C)
        many, inverse = cholesky("test", stack)
        last, _ = cholesky("test", stack[[0, 2, 1]])
        np.testing.assert_array_equal(last[2], L)
        np.testing.assert_array_equal(many[1], L)
        np.testing.assert_array_equal(inverse[1], white)
        np.testing.assert_array_equal(many[[0, 2]], [np.eye(2), math.sqrt(2) * np.eye(2)])
        corner = exact_corner(C)
        worst = max(worst, float(abs(Decimal(L[1, 1]) / corner - 1)))
        np.testing.assert_allclose(L @ white, np.eye(2), atol=1e-3 * math.sqrt(EPS))
    assert worst <= (4 if gap < 5e-3 else 120) * EPS  # above, LAPACK's own: 100 eps are let pass


def test_a_length_is_scaled_without_a_rounding():
    z = np.random.default_rng(0).standard_normal((200, 3)) * 10.0 ** np.arange(-10, 10)[:, None].repeat(10, 0)
    z[0] = 0
    np.testing.assert_array_equal(length(z), np.linalg.norm(z, axis=1))
    np.testing.assert_allclose(length(np.array([[3e300, 4e300], [-3.0, 0.0]])), [5e300, 3.0], rtol=4 * EPS)


def test_a_box_of_one_pair_of_ends_is_a_cube_and_a_mass_above_1_by_rounding_is_all():
    assert TruncatedGaussian(np.zeros(2), 1.0, [0.0], [1.0]).support.tolist() == [[0.0, 1.0]] * 2
    whole = np.array([-np.inf]), np.array([np.inf])
    assert normal_between(*whole, np.array([4 * EPS]), np.array([0.0])) == np.inf


def test_a_variance_and_its_root():
    L, white = cholesky("test", np.array(4.0))
    assert L == 2 and white == 0.5


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: GaussianMixture([1.0], [[0.0]], 0.0), ValueError, "the variance is 0.0, expected a positive number"),
        (lambda: GaussianMixture([1.0], [[0.0]], -1.0), ValueError, "the variance is -1.0"),
        (lambda: Gaussian(np.zeros(2), 1e-8 * np.array([[1.0, 0.5], [0.4, 1.0]])), ValueError, "not symmetric, .* differ by 1e-09"),
        (lambda: Gaussian(np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]])), ValueError, "not positive definite, smallest eigenvalue -1"),
        (lambda: TruncatedGaussian(np.zeros(2), 1.0, [0.0, 1.0], [1.0, 1.0]), ValueError, r"lower\[1\] = 1.0, upper\[1\] = 1.0, expected lower < upper"),
        (lambda: TruncatedGaussian(np.zeros(2), 1.0, [0.0, 2.0], [1.0, 1.0]), ValueError, r"lower\[1\] = 2.0, upper\[1\] = 1.0"),
        (lambda: TruncatedGaussian(np.zeros(2), 1.0, [0.0, 2.0, 3.0], 4.0), ValueError, r"lower \(3,\), upper \(\), expected scalars or \(2,\) arrays"),
        (lambda: Gaussian([], 1.0), ValueError, r"mean has shape \(0,\) and cov \(\)"),
        (lambda: Gaussian([[0.0]], 1.0), ValueError, r"mean has shape \(1, 1\)"),
        (lambda: Gaussian(np.zeros(2), np.ones(2)), ValueError, r"mean has shape \(2,\) and cov \(2,\)"),
        (lambda: Gaussian(np.longdouble(1), 1.0), TypeError, "mean has dtype (float128|longdouble), expected float32 or float64"),
        (lambda: Gaussian(1j, 1.0), TypeError, "mean has dtype complex128"),
        (lambda: Gaussian(np.nan, 1.0), ValueError, "mean is nan|mean"),
        (lambda: Uniform([], []), ValueError, "expected scalars or .* of one length d >= 1"),
        (lambda: Uniform([0.0, 0.0], [1.0, 1.0, 1.0]), ValueError, r"shapes are lower \(2,\), upper \(3,\)"),
        (lambda: StudentT(3.0, 0.0, 0.0), ValueError, "scale is 0.0"),
    ],
    ids=range(16),
)  # fmt: skip
def test_parameters_that_are_none_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_asymmetry_of_rounding_is_averaged_in_any_unit():
    for unit in (1e-8, 1.0, 1e8):
        C = unit * np.array([[1.0, 0.5 + 4e-7], [0.5 - 4e-7, 1.0]])
        np.testing.assert_allclose(Gaussian(np.zeros(2), C).trace(np.zeros((1, 2))), -2 / (0.75 * unit), rtol=1e-12)


@pytest.mark.parametrize("a, b", [(-1.0, 2.0), (3.0, 4.0), (-4.0, -3.0), (-np.inf, 0.5), (0.5, np.inf), (-np.inf, np.inf), (0.0, 0.5), (-0.5, 0.0), (30.0, 31.0), (0.2, 0.2009), (-2.0, -1.9997), (0.0, 9e-4), (5.0, 5.0001)])  # fmt: skip
def test_the_mass_of_an_interval_and_what_is_drawn_there(a, b):
    """By SciPy's distribution functions from the nearer tail; where both agree to few digits, by the midpoint rule of 4 Legendre nodes."""
    if b - a < 0.01:
        t, w = np.polynomial.legendre.leggauss(4)
        want = math.log(0.5 * (b - a) * (w @ stats.norm.pdf(0.5 * (a + b) + 0.5 * (b - a) * t)))
    else:
        u, v = (-b, -a) if a > 0 else (a, b)
        want = stats.norm.logcdf(v) + math.log1p(-math.exp(stats.norm.logcdf(u) - stats.norm.logcdf(v)))
    found = log_interval(a, b)
    assert found == pytest.approx(want, rel=1e-13, abs=1e-14)
    u = np.array([0.0, 0.25, 0.5, 0.999])
    x = normal_between(np.full(4, a), np.full(4, b), np.full(4, found), u)
    share = np.array([0.0 if y == a else math.exp(log_interval(a, y) - found) if a < y else 0.0 for y in x.tolist()])
    mirrored = np.array([math.exp(log_interval(y, b) - found) if y < b else 0.0 for y in x.tolist()])
    np.testing.assert_allclose(
        share if a <= 0 else mirrored, 1 - u, rtol=0, atol=1e-8
    )  # in the right tail from the right
