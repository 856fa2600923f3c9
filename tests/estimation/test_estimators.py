"""Closed-form estimators: known answers, brute-force minima of the losses they minimise, and what they refuse."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpyscore.densities import Exponential, Gaussian, TruncatedGaussian
from numpyscore.densities.weights import capped_weight, linear_weight, log_weight, square_weight
from numpyscore.estimation import estimators
from numpyscore.estimation.estimators import (
    exponential,
    exponential_family,
    gaussian,
    product_of_experts,
    truncated_gaussian,
)
from numpyscore.networks.models import EnergyMLP
from numpyscore.objectives.arrays import generalised_loss, implicit_loss
from numpyscore.objectives.implicit import generalised, implicit

EPS = np.finfo(float).eps

SEEDS = st.integers(0, 2**32 - 1)
close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13)


def cloud(rng, n, d):
    """Correlated samples away from the origin."""
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.uniform(-3, 3, d)


def quadratic_minimum(loss, k):
    """The minimiser of a quadratic function of k numbers, from its values alone."""
    zero, I = loss(np.zeros(k)), np.eye(k)
    ends = np.array([[loss(s * I[i]) for s in (1, -1)] for i in range(k)])
    slope, A = 0.5 * (ends[:, 0] - ends[:, 1]), np.diag(ends.sum(1) - 2 * zero)
    for i in range(k):
        for j in range(i):
            A[i, j] = A[j, i] = loss(I[i] + I[j]) - ends[i, 0] - ends[j, 0] + zero
    return -np.linalg.solve(A, slope)


# ------------------------------------------------------------------------------- Gaussian


@given(seed=SEEDS, d=st.integers(1, 5))
def test_gaussian_is_exactly_the_samples_mean_and_covariance(seed, d):
    x = cloud(np.random.default_rng(seed), 60, d)
    mean, cov = gaussian(x)
    close(mean, x.mean(0))
    close(cov, np.cov(x.T, bias=True).reshape(d, d), atol=1e-13 * np.abs(cov).max())


def test_gaussian_far_from_the_origin_keeps_its_digits():
    x = np.array([[0.0], [1.0], [2.0], [5.0]])
    mean, cov = gaussian(x + 2.0**30)  # exact in float64
    assert mean == 2 + 2.0**30 and cov == 3.5


def test_the_gaussian_has_the_least_implicit_loss_minus_half_the_trace_of_its_precision():
    rng = np.random.default_rng(0)
    x = cloud(rng, 50, 3)
    loss = lambda density: implicit_loss(density.score(x), density.trace(x)).mean()
    mean, cov = gaussian(x)
    least = loss(Gaussian(mean, cov))
    close(least, -0.5 * np.trace(np.linalg.inv(cov)))
    for _ in range(20):
        step = 1e-3 * rng.standard_normal((3, 3))
        assert loss(Gaussian(mean + 1e-3 * rng.standard_normal(3), cov + step @ step.T)) > least


def test_the_gaussian_through_the_family_is_the_same():
    """Statistics x_i and -x_i x_j: the linear solve finds what the moments say."""
    x = cloud(np.random.default_rng(1), 80, 2)
    (u, v), one, zero = x.T, np.ones(80), np.zeros(80)
    grad = np.array([[one, zero], [zero, one], [-u, zero], [-v, -u], [zero, -v]]).transpose(2, 0, 1)
    laplacian = np.tile([0, 0, -1, 0, -1], (80, 1))
    eta, K = np.split(exponential_family(x, grad, laplacian), [2])
    P = np.array([[K[0], K[1]], [K[1], K[2]]])
    mean, cov = gaussian(x)
    close(np.linalg.inv(P), cov, rtol=1e-11)
    close(np.linalg.solve(P, eta), mean, rtol=1e-11)


# ------------------------------------------------------------------------------- exponential families


def polynomial_family(x):
    """F = (x, -x^2/2, -x^4/12) in each of one dimension: gradient (n, 3, 1) and second derivative."""
    u = x[:, :1]
    return np.stack([1 + 0 * u, -u, -(u**3) / 3], 1), np.stack([0 * u, -1 + 0 * u, -(u**2)], 1)


@given(seed=SEEDS)
def test_a_family_is_the_minimum_of_its_implicit_loss(seed):
    x = np.random.default_rng(seed).standard_normal((100, 1)) * 1.5
    gradient, second = polynomial_family(x)
    loss = lambda theta: implicit_loss(np.tensordot(gradient, theta, (1, 0)), second[:, :, 0] @ theta).mean()
    got = exponential_family(x, gradient, second[:, :, 0])
    close(
        got, quadratic_minimum(loss, 3), rtol=1e-9, atol=1e-9
    )  # values of order 1 differenced: 1e-16 times the condition
    called = exponential_family(x, lambda x: polynomial_family(x)[0], lambda x: polynomial_family(x)[1][:, :, 0])
    np.testing.assert_array_equal(got, called)


@given(seed=SEEDS)
def test_a_weighted_family_on_a_base_is_the_minimum_of_its_generalised_loss(seed):
    rng = np.random.default_rng(seed)
    x = rng.exponential(size=(100, 1)) + 0.1
    gradient, second = polynomial_family(x)
    h, h_prime = square_weight()
    base = rng.standard_normal((100, 1))  # its own derivative does not move the minimum
    score = lambda theta: base + np.tensordot(gradient, theta, (1, 0))
    loss = lambda theta: generalised_loss(score(theta), np.tensordot(second, theta, (1, 0)), h(x), h_prime(x)).mean()
    got = exponential_family(x, gradient, second, h=h, h_prime=h_prime, base_score=base)
    scale = np.abs(got).max()
    # a solve from differenced values is what limits this: condition up to 1e6
    np.testing.assert_allclose(got, quadratic_minimum(loss, 3), rtol=1e-6, atol=1e-6 * scale)


def test_blocks_of_samples_add_up(monkeypatch):
    x = np.random.default_rng(0).standard_normal((1000, 1))
    gradient, second = polynomial_family(x)
    whole = exponential_family(x, gradient, second[:, :, 0]), truncated_gaussian(x, -9, 9)
    for numbers in (70, 1):  # many rows at a time, and one row where a row is more than a block
        monkeypatch.setattr(estimators, "NUMBERS", numbers)
        close(exponential_family(x, gradient, second[:, :, 0]), whole[0])
        close(truncated_gaussian(x, -9, 9).cov, whole[1].cov)


# ------------------------------------------------------------------------------- half-lines and boxes


def test_exponential_rates_are_the_known_ones():
    x = np.random.default_rng(0).exponential(size=(500, 3)) / [1, 2, 5]
    close(exponential(x), 1 / x.mean(0))  # h = x: maximum likelihood
    close(exponential(x, *square_weight()), 2 * x.mean(0) / (x**2).mean(0))
    close(exponential(x, *capped_weight(1.0)), (x < 1).mean(0) / np.minimum(x, 1).mean(0))
    F = (np.ones((500, 1, 1)), np.zeros((500, 1, 1)))  # the family with F = x: theta = -rate
    h, h_prime = linear_weight()
    close(-exponential_family(x[:, :1], *F, h=h, h_prime=h_prime), exponential(x)[:1])


@pytest.mark.parametrize("weight", [linear_weight(), square_weight(), capped_weight(0.5)])
def test_exponential_rates_converge(weight):
    rate = np.array([0.5, 3.0])
    got = exponential(Exponential(rate).sample(200_000, rng=0), *weight)
    assert np.abs(got / rate - 1).max() < 0.03  # a standard error is below 0.5 %


@given(seed=SEEDS, d=st.integers(1, 4))
def test_truncated_gaussian_without_ends_is_the_gaussian(seed, d):
    x = cloud(np.random.default_rng(seed), 100, d)
    got, want = truncated_gaussian(x), gaussian(x)
    # the linear system's condition is about the square of the correlation's
    loss = 1e-13 * np.linalg.cond(np.corrcoef(x.T).reshape(d, d)) ** 2
    np.testing.assert_allclose(got.cov, want.cov, rtol=0, atol=(1e-12 + loss) * np.abs(want.cov).max())
    np.testing.assert_allclose(got.mean, want.mean, rtol=0, atol=(1e-12 + loss) * (1 + np.abs(want.mean).max()))


BOXES = [(0.0, np.inf), (-1.0, 2.0), ([0.0, -np.inf], [np.inf, 1.0])]


@pytest.mark.parametrize("lower, upper", BOXES)
def test_truncated_gaussian_is_the_minimum_of_its_generalised_loss(lower, upper):
    x = TruncatedGaussian([0.3, -0.2], [[1.0, 0.5], [0.5, 1.5]], lower, upper).sample(400, rng=1)
    scale = x.std(0)  # the default: log(1 + distance / scale), without unit in z = x / scale, so scale^2 of it in x
    h, h_prime = (lambda x, a=a: scale**2 * a(x) for a in log_weight(lower, upper, scale=scale))

    def loss(theta):
        K = np.array([[theta[2], theta[3]], [theta[3], theta[4]]])
        diagonal = np.broadcast_to(-np.diag(K), x.shape)
        return generalised_loss(theta[:2] - x @ K, diagonal, h(x), h_prime(x)).mean()

    theta = quadratic_minimum(loss, 5)
    K = np.array([[theta[2], theta[3]], [theta[3], theta[4]]])
    mean, cov = truncated_gaussian(x, lower, upper)
    close(cov, np.linalg.inv(K), rtol=1e-9)  # values of order 1 differenced, condition about 1e3
    close(mean, np.linalg.solve(K, theta[:2]), rtol=1e-9, atol=1e-9)
    given = truncated_gaussian(x, lower, upper, h, h_prime)
    close(given.cov, cov)


@pytest.mark.parametrize("lower, upper", BOXES)
def test_truncated_gaussian_converges(lower, upper):
    mean, cov = np.array([0.3, -0.2]), np.array([[1.0, 0.5], [0.5, 1.5]])
    got = truncated_gaussian(TruncatedGaussian(mean, cov, lower, upper).sample(200_000, rng=0), lower, upper)
    assert np.abs(got.mean - mean).max() < 0.1 and np.abs(got.cov - cov).max() < 0.1
    naive = gaussian(TruncatedGaussian(mean, cov, lower, upper).sample(200_000, rng=0))
    assert np.abs(naive.cov - cov).max() > 0.2, "control: ignoring the box is far off"


def test_truncated_gaussian_does_not_depend_on_the_units():
    x = TruncatedGaussian([0.3], [[1.0]], 0.0, 2.0).sample(500, rng=0)
    one, big = truncated_gaussian(x, 0, 2), truncated_gaussian(1e6 * x, 0, 2e6)
    close(big.mean, 1e6 * one.mean)
    close(big.cov, 1e12 * one.cov)


# ------------------------------------------------------------------------------- products of experts, and the networks


@pytest.mark.parametrize("activation", ["softplus", "tanh", "gelu"])
@pytest.mark.parametrize("confinement", [0.0, 0.7])
def test_the_output_layer_of_a_network_is_fitted_exactly(activation, confinement):
    rng = np.random.default_rng(0)
    x, W, b = rng.standard_normal((300, 4)), rng.standard_normal((4, 6)), rng.standard_normal(6)
    alpha = product_of_experts(x, W, b, activation, confinement=confinement)
    net = lambda alpha: EnergyMLP.from_arrays(
        [(W, b), (alpha[:, None], np.zeros(1))], activation, confinement=confinement
    )
    best = implicit(net(alpha), x)
    along = best.gradient[-7:-1]  # that of the output weights
    assert np.abs(along).max() < 1e-12 * (1 + np.abs(alpha).max()) * np.sum(W**2)
    for _ in range(5):
        assert implicit(net(alpha + 0.01 * rng.standard_normal(6)), x).value > best.value


def test_control_an_expert_wrong_by_one_part_in_a_million_leaves_a_gradient():
    rng = np.random.default_rng(0)
    x, W, b = rng.standard_normal((300, 4)), rng.standard_normal((4, 6)), rng.standard_normal(6)
    alpha = product_of_experts(x, W, b) * (1 + 1e-6)
    net = EnergyMLP.from_arrays([(W, b), (alpha[:, None], np.zeros(1))], "softplus")
    assert np.abs(implicit(net, x).gradient[-7:-1]).max() > 1e-12 * (1 + np.abs(alpha).max()) * np.sum(W**2)


def test_a_networks_generalised_gradient_vanishes_at_the_weighted_family():
    """One hidden layer on the half-line: the same closed form, with the weights of the boundary."""
    rng = np.random.default_rng(2)
    x, W, b = rng.exponential(size=(300, 2)), rng.standard_normal((2, 4)), rng.standard_normal(4)
    t = np.tanh(x @ W + b)
    d1, d2 = 1 - t**2, -2 * t * (1 - t**2)
    gradient, second = -d1[:, :, None] * W.T, -d2[:, :, None] * W.T**2  # F_k = -phi_k
    alpha = exponential_family(x, gradient, second, h=linear_weight()[0], h_prime=linear_weight()[1])
    net = EnergyMLP.from_arrays([(W, b), (alpha[:, None], np.zeros(1))], "tanh")
    along = generalised(net, x, *linear_weight()).gradient[-5:-1]
    assert np.abs(along).max() < 1e-11 * (1 + np.abs(alpha).max())


# ------------------------------------------------------------------------------- refusals

X = np.random.default_rng(0).standard_normal((20, 2))
G, D2 = np.ones((20, 1, 2)), np.ones((20, 1))


@pytest.mark.parametrize(
    "run, message",
    [
        (lambda: gaussian(X[0]), r"^gaussian: x has shape \(2,\)"),
        (lambda: gaussian(X[:0]), r"^gaussian: x has shape \(0, 2\), expected at least one row"),
        (lambda: gaussian(X * np.nan), r"^gaussian: x\[0, 0\] is nan"),
        (lambda: gaussian(X[:2]), "^gaussian: the system is singular to rounding"),
        (lambda: gaussian(np.c_[X, X[:, 0]]), "^gaussian: the system is singular .* column"),
        (
            lambda: gaussian(np.c_[X, np.ones(20)]),
            "^gaussian: column 2 has no derivative at any sample, or is constant",
        ),
        (lambda: exponential_family(X, np.ones((20, 2)), D2), r"gradient has shape \(20, 2\), expected \(n, k, d\)"),
        (lambda: exponential_family(X, G[:19], D2), r"gradient has shape \(19, 1, 2\)"),
        (lambda: exponential_family(X, np.ones((20, 1, 3)), D2), r"gradient has shape \(20, 1, 3\) and laplacian"),
        (lambda: exponential_family(X, G, np.ones((20, 2))), r"gradient has shape .* laplacian \(20, 2\)"),
        (lambda: exponential_family(X, G, D2, h=X), "h and h_prime go together"),
        *(
            (
                lambda wide=wide: exponential(np.abs(X), np.ones((20, 3 - wide)), np.ones((20, wide))),
                r"h has shape \(20, \d\) and h_prime \(20, \d\), expected that of x, \(20, 2\)",
            )
            for wide in (1, 2)
        ),
        (
            lambda: exponential_family(X, G, D2, h=X**2, h_prime=X),
            r"laplacian has shape \(20, 1\), expected \(n, k, d\)",
        ),
        (lambda: exponential_family(X, G, np.ones((20, 1, 2)), h=-(X**2), h_prime=X), r"h\[0, 0\] is -.*outside"),
        (lambda: exponential_family(X, 0 * G, D2), "statistic 0 has no derivative"),
        (lambda: exponential_family(X, np.ones((20, 2, 2)), np.ones((20, 2))), "singular to rounding .* statistic"),
        (lambda: exponential_family(X, G, D2, base_score=np.ones((20, 1))), r"base_score has shape \(20, 1\)"),
        (lambda: exponential_family(X, np.nan * G, D2), r"gradient\[0, 0, 0\] is nan"),
        (lambda: exponential(X), r"^exponential: x\[\d, \d\] is -.*, expected numbers >= 0"),
        (lambda: exponential(np.zeros((3, 1))), "mean weight of column 0 is 0"),
        (lambda: exponential(np.abs(X), np.ones_like), "h and h_prime go together"),
        (lambda: truncated_gaussian(X, 0, 1), r"^truncated_gaussian: x\[\d+, \d\] is .*outside the box"),
        (lambda: truncated_gaussian(X[:2]), "^truncated_gaussian: the system is singular"),
        (lambda: truncated_gaussian(np.ones((5, 1))), "column 0 is constant"),
        (lambda: truncated_gaussian(np.array([[0.01], [0.02], [0.98], [0.99]]), 0, 1), "not positive definite"),
        (
            lambda: product_of_experts(X, np.ones((3, 2)), np.ones(2)),
            r"W has shape \(3, 2\) and b \(2,\), expected \(2, k\)",
        ),
        (lambda: product_of_experts(X, np.ones((2, 2)), np.ones(2)), "singular .* expert"),
        (lambda: product_of_experts(X, np.eye(2), np.ones(2), "relu"), "'relu' is not twice differentiable"),
        (lambda: product_of_experts(X, np.eye(2), np.ones(3)), r"W has shape \(2, 2\) and b \(3,\), expected \(2, k\)"),
        (lambda: product_of_experts(X, np.ones(2), np.ones(2)), r"W has shape \(2,\) and b \(2,\), expected \(2, k\)"),
        (lambda: product_of_experts(X, np.eye(2) * np.nan, np.ones(2)), r"W\[0, 0\] is nan"),
        (lambda: product_of_experts(X, np.eye(2), np.array([0.0, np.inf])), r"b\[1\] is inf"),
        (lambda: exponential_family(X, G, np.ones((20, 1, 2)), h=np.ones((20, 1)), h_prime=X), r"h has shape \(20, 1\) and h_prime \(20, 2\), expected that of x"),
        (lambda: exponential_family(X, G, np.ones((20, 1, 2)), h=X**2, h_prime=np.ones((20, 1))), r"h has shape \(20, 2\) and h_prime \(20, 1\), expected that of x"),
        (lambda: exponential_family(X, G, D2, h_prime=X), "h and h_prime go together"),
        (lambda: exponential_family(X, G, np.ones((20, 1, 2))), r"laplacian has shape \(20, 1, 2\), expected \(n, k\) with n = 20"),
        (lambda: exponential_family(X, G, np.ones((20, 1, 2)), h=X[0], h_prime=X), r"h has shape \(2,\), expected \(n, d\) with n = 20"),
        (lambda: exponential_family(X, G, D2 * np.inf), r"laplacian\[0, 0\] is inf"),
        (lambda: exponential([[0.0, 1.0], [1.0, 2.0], [3.0, -1.5], [-2.0, 1.0]]), r"x\[2, 1\] is -1.5, .*first bad row: 2"),
        (lambda: exponential(np.ones((4, 1)), np.array([[0.0], [1.0], [-0.5], [-0.7]]), np.ones((4, 1))), r"h\[2, 0\] is -0.5 at x\[2, 0\] = 1.0.*first bad row: 2"),
        (lambda: truncated_gaussian(np.array([[0.0, 0.5], [1.0, 0.5], [0.5, 1.5], [-1.0, 0.5]]), 0, 1), r"x\[2, 1\] is 1.5, outside the box from 0 to 1 \(first bad row: 2\)"),
        (lambda: truncated_gaussian(X, h=np.ones_like), "h and h_prime go together"),
        (lambda: truncated_gaussian(X, h_prime=np.ones_like), "h and h_prime go together"),
        (lambda: truncated_gaussian(np.c_[np.tile([0.01, 0.02, 0.98, 0.99], 5), 0.1 * X[:, 0]], [0, -9], [1, 9]), "not positive definite"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(run, message):
    with pytest.raises(ValueError, match=message):
        run()


def test_complex_data_are_refused():
    with pytest.raises(TypeError, match=r"^gaussian: x is complex"):
        gaussian(1j * X)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_covariance_far_from_zero_is_right_to_the_last_digits(weighted):
    """1e8 +- 1e-3 in rational numbers: a float cannot hold that mean to 1e-16 of the spread, and its rounding, squared, was 2e-11 of it."""
    from fractions import Fraction

    rng = np.random.default_rng(0)
    x = 1e8 + 1e-3 * rng.standard_normal((200, 2))
    w = rng.integers(1, 5, 200) if weighted else np.ones(200, int)
    rows = [[Fraction(v) for v in row] for row in x.tolist()]
    mean = [sum(int(k) * row[j] for k, row in zip(w, rows, strict=True)) / int(w.sum()) for j in range(2)]
    product = lambda i, j: (
        sum(int(k) * (r[i] - mean[i]) * (r[j] - mean[j]) for k, r in zip(w, rows, strict=True)) / int(w.sum())
    )
    exact = np.array([[float(product(i, j)) for j in range(2)] for i in range(2)])
    found = estimators.gaussian(x, weights=w if weighted else None)
    np.testing.assert_array_equal(found.mean, [float(m) for m in mean])
    size = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    assert np.all(np.abs(found.cov - exact) <= 16 * EPS * size)


def test_samples_at_the_ends_one_number_and_weights_that_vanish():
    x = np.array([[0.0, 2.0], [1.0, 0.0], [3.0, 1.0]])
    close(exponential(x), 1 / x.mean(0))
    close(exponential(0.01 * x), 100 / x.mean(0))
    y = np.array([[0.0], [0.45], [0.5], [0.55], [0.4], [0.5], [0.6], [1.0]])
    assert truncated_gaussian(y, 0, 1).mean == pytest.approx(1 - truncated_gaussian(1 - y, 0, 1).mean)
    assert gaussian([[3.0]], ridge=0.5).cov == 0.5


def test_the_combination_that_is_constant_is_named():
    """Column 5 is column 0 + 2 x column 1: these three, in that proportion, and no more than four names, the largest first."""
    import re

    x = np.random.default_rng(0).standard_normal((50, 6)) * [1.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    x[:, 5] = x[:, 0] + 2 * x[:, 1]
    with pytest.raises(ValueError, match="constant on the samples") as told:
        gaussian(x)
    terms = [(int(i), float(a)) for a, i in re.findall(r"([+-][\d.e+-]+) x column (\d)", str(told.value))]
    assert len(terms) == 4 and {i for i, _ in terms[:3]} == {0, 1, 5}
    found = dict(terms)
    assert found[1] / found[0] == pytest.approx(2, rel=0.01) and found[5] / found[0] == pytest.approx(-1, rel=0.01)
    assert abs(terms[3][1]) < 1e-6
