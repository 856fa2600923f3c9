"""Standard errors: known closed forms, two routes to one covariance, coverage of the truth, weights and ridges."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import binom

import numpyscore as ns
from numpyscore.densities.weights import distance_weight, linear_weight
from numpyscore.estimation.errors import Estimate, sandwich
from numpyscore.estimation.estimators import (
    exponential,
    exponential_family,
    gaussian,
    product_of_experts,
    truncated_gaussian,
)

RNG = np.random.default_rng


def line(x):
    """F = (x, -x^2/2): gradient (n, 2, 1) and second derivative (n, 2)."""
    return np.stack([np.ones_like(x), -x], 1), np.stack([0 * x, -np.ones_like(x)], 1)[:, :, 0]


# ---- known answers


def test_the_errors_of_a_gaussian_are_those_of_the_moments():
    x = RNG(0).gamma(3.0, size=(500, 1))
    found = gaussian(x, covariance=True)
    second, third, fourth = (np.mean((x - x.mean()) ** k) for k in (2, 3, 4))
    want = np.array([[second, third], [third, fourth - second**2]]) / 500
    np.testing.assert_allclose(found.cov, want, rtol=1e-12)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(np.diag(want)), rtol=1e-12)


def test_the_error_of_an_exponential_rate_is_that_of_one_over_the_mean():
    x = RNG(1).exponential(size=(400, 2)) / [1.0, 4.0]
    found = exponential(x, covariance=True)
    want = x.std(0) / x.mean(0) ** 2 / np.sqrt(400)  # the delta method on 1/mean
    np.testing.assert_allclose(found.standard_errors, want, rtol=1e-12)


def test_the_gaussian_through_the_family_has_the_same_errors():
    """theta = (m, 1) / v: the delta method takes one covariance to the other."""
    x = RNG(2).gamma(2.0, size=(300, 1))
    family, direct = exponential_family(x, *line(x), covariance=True), gaussian(x, covariance=True)
    m, v = direct.value.mean[0], direct.value.cov[0, 0]
    J = np.array([[1 / v, -m / v**2], [0.0, -1 / v**2]])
    np.testing.assert_allclose(family.cov, J @ direct.cov @ J.T, rtol=1e-9)


def test_the_truncated_gaussian_without_ends_has_the_errors_of_the_gaussian():
    x = RNG(3).standard_normal((400, 2)) @ [[1.0, 0.4], [0.0, 2.0]] + [5.0, -3.0]
    cut, direct = truncated_gaussian(x, covariance=True), gaussian(x, covariance=True)
    np.testing.assert_allclose(cut.cov, direct.cov, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_a_networks_output_layer_has_the_errors_of_its_closed_form(activation):
    rng = RNG(4)
    x, W, b = rng.standard_normal((300, 2)), rng.standard_normal((2, 3)), rng.standard_normal(3)
    found = product_of_experts(x, W, b, activation, confinement=0.5, covariance=True)
    net = ns.EnergyMLP.from_arrays([(W, b), (found.value[:, None], [0.0])], activation, confinement=0.5)
    output = np.eye(net.theta.size)[-4:-1]
    by_network = sandwich(net, x, directions=output)
    np.testing.assert_allclose(by_network.cov, found.cov, rtol=1e-7)
    with pytest.raises(ValueError, match="not at the minimum"):
        sandwich(net.with_theta(net.theta + output.sum(0)), x, directions=output)


def test_the_sandwich_takes_any_objective_and_gives_the_network_that_is_a_gaussian_its_errors():
    """The energy lambda x^2 / 2 has no parameter; a network of one steep unit is not one. So: denoising against its own simulation."""
    rng = RNG(5)
    W, b = np.array([[1.0, -1.5]]), np.array([0.3, 0.2])
    x = rng.standard_normal((4000, 1))
    noisy, eps = ns.perturb(x, 0.5, rng=rng)
    # denoising is quadratic in the output weights: least squares of -eps/sigma + noisy on -phi' W
    t = np.tanh(noisy @ W + b)
    design = -(1 - t**2) * W
    target = (-eps / 0.5 + noisy)[:, 0]
    w, *_ = np.linalg.lstsq(design, target, rcond=None)
    net = ns.EnergyMLP.from_arrays([(W, b), (w[:, None], [0.0])], "tanh", confinement=1.0)
    found = sandwich(net, x, ns.denoising, directions=np.eye(7)[4:6], sigma=0.5, noise=eps)
    residual = design * (design @ w - target)[:, None]  # White's (1980) covariance of least squares
    bread = np.linalg.inv(design.T @ design)
    np.testing.assert_allclose(found.cov, bread @ (residual.T @ residual) @ bread, rtol=1e-7)


# ---- weights and ridges

FITS = {
    "gaussian": lambda x, **o: gaussian(x, **o),
    "exponential": lambda x, **o: exponential(np.abs(x), **o),
    "truncated_gaussian": lambda x, **o: truncated_gaussian(np.abs(x), 0.0, **o),
    "exponential_family": lambda x, **o: exponential_family(x, *line(x), **o),
    "product_of_experts": lambda x, **o: product_of_experts(
        x, np.array([[1.0, -0.5]]), np.array([0.2, 0.4]), "tanh", **o
    ),
}


def flat(value):
    return np.concatenate([np.ravel(part) for part in value]) if isinstance(value, tuple) else np.ravel(value)


@pytest.mark.parametrize("name", FITS)
def test_whole_weights_repeat_rows(name):
    fit, x = FITS[name], RNG(6).standard_normal((80, 1)) + 0.5
    count = RNG(7).integers(0, 4, 80)
    weighted, repeated = fit(x, weights=count), fit(np.repeat(x, count, 0))
    np.testing.assert_allclose(flat(weighted), flat(repeated), rtol=1e-10)
    scaled = fit(x, weights=7.0 * count, covariance=True)
    assert isinstance(scaled, Estimate)
    np.testing.assert_allclose(flat(scaled.value), flat(weighted), rtol=1e-12)
    np.testing.assert_allclose(
        fit(x, covariance=True).cov, fit(x, weights=np.ones(80), covariance=True).cov, rtol=1e-12
    )
    for bad, words in (
        (count[:-1], r"weights have shape \(79,\)"),
        (-count, "weights have minimum"),
        (0 * count, "all 0"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(x, weights=bad)


@pytest.mark.parametrize("name", FITS)
def test_the_covariance_is_that_of_a_jackknife(name):
    """Leaving out a row at a time, whatever the formula: (n - 1)/n sum (theta_-i - mean)^2. They differ by terms of order 1/n."""
    fit, n = FITS[name], 400
    x, w = RNG(8).standard_normal((n, 1)) + 0.5, RNG(9).uniform(0.5, 1.5, n)
    keep = lambda value: flat(value)[: 2 if name != "exponential" else 1]
    without = np.array([keep(fit(np.delete(x, i, 0), weights=np.delete(w, i))) for i in range(n)])
    jackknife = (n - 1) ** 2 / n * np.cov(without.T, bias=True)
    found = fit(x, weights=w, covariance=True).cov
    np.testing.assert_allclose(
        np.atleast_2d(found), np.atleast_2d(jackknife), rtol=0.1, atol=0.03 * np.abs(found).max()
    )


def test_a_ridge_is_what_it_says():
    x = RNG(10).standard_normal((60, 2))
    np.testing.assert_allclose(gaussian(x, ridge=0.3).cov, gaussian(x).cov + 0.3 * np.eye(2), rtol=1e-13)
    assert gaussian(x[:1], ridge=0.5).cov == pytest.approx(0.5 * np.eye(2))  # one row will do
    y = np.abs(x)
    np.testing.assert_allclose(exponential(y, ridge=0.25), 1 / (y.mean(0) + 0.25), rtol=1e-13)
    with pytest.raises(ValueError, match="ridge is -1"):
        gaussian(x, ridge=-1)


def test_a_kernel_family_fits_with_a_ridge_where_it_has_none_without():
    """150 Gaussian bumps on 60 rows: singular without a ridge; with one the gradient of the penalised loss vanishes."""
    rng = RNG(11)
    x, centres, width, ridge = rng.standard_normal((60, 1)), np.linspace(-3, 3, 150), 0.5, 1e-3
    u = (x - centres) / width
    k = np.exp(-0.5 * u**2)
    gradient, second = (-u * k / width)[:, :, None], (u**2 - 1) * k / width**2
    base = -x
    with pytest.raises(ValueError, match="singular"):
        exponential_family(x, gradient, second, base_score=base)
    theta = exponential_family(x, gradient, second, base_score=base, ridge=ridge)
    loss = lambda t: ns.implicit_loss(base + gradient[:, :, 0] @ t[:, None], second @ t - 1).mean() + ridge / 2 * t @ t
    for v in rng.standard_normal((5, 150)):
        assert abs(loss(theta + 1e-2 * v) - loss(theta - 1e-2 * v)) < 1e-9 * loss(theta + v)  # odd part of a parabola


def test_a_networks_errors_with_sample_weights_are_those_of_its_closed_form():
    """A weight of 2 counts a row's slope twice: the slopes were unweighted beside a weighted second derivative."""
    rng = RNG(4)
    x, W, b, w = (
        rng.standard_normal((300, 2)),
        rng.standard_normal((2, 3)),
        rng.standard_normal(3),
        rng.uniform(0.2, 5, 300),
    )
    found = product_of_experts(x, W, b, "tanh", confinement=0.5, weights=w, covariance=True)
    net = ns.EnergyMLP.from_arrays([(W, b), (found.value[:, None], [0.0])], "tanh", confinement=0.5)
    output = np.eye(net.theta.size)[-4:-1]
    by_network = sandwich(net, x, directions=output, weights=w)
    np.testing.assert_allclose(by_network.cov, found.cov, rtol=1e-7)
    np.testing.assert_allclose(sandwich(net, x, directions=output, weights=7 * w).cov, by_network.cov, rtol=1e-12)
    with pytest.raises(ValueError, match="not at the minimum"):
        sandwich(net, x, directions=output)


def test_weights_of_all_coordinates_on_a_disc():
    """A Gaussian cut to a disc: distance to the rim as the weight; the mean and the precision come back within four errors."""
    rng = RNG(12)
    y = ns.Gaussian(np.array([0.6, 0.0]), 0.5).sample(120_000, rng=rng)
    x = y[np.sum(y**2, 1) < 1][:40_000]
    h, h_prime = distance_weight(ball=([0.0, 0.0], 1.0))
    gradient = np.concatenate([np.tile(np.eye(2), (len(x), 1, 1)), -x[:, None]], axis=1)
    second = np.tile([[0.0, 0.0], [0.0, 0.0], [-1.0, -1.0]], (len(x), 1, 1))
    found = exponential_family(x, gradient, second, h=h, h_prime=h_prime, covariance=True)
    off = (found.value - [1.2, 0.0, 2.0]) / found.standard_errors
    assert np.abs(off).max() < 4
    naive = exponential_family(x, gradient, second.sum(2), covariance=True)
    assert np.abs((naive.value - [1.2, 0.0, 2.0]) / naive.standard_errors).max() > 40, "control: without the weight"


# ---- coverage


def gaussian_case(rng):
    x = ns.Gaussian(np.array([1.0, -1.0]), np.array([[1.0, 0.6], [0.6, 2.0]])).sample(800, rng=rng)
    return gaussian(x, covariance=True), np.array([1.0, -1.0, 1.0, 0.6, 2.0])


def truncated_case(rng):
    x = ns.TruncatedGaussian(0.5, 1.0, 0.0, np.inf).sample(4000, rng=rng)
    return truncated_gaussian(x, 0.0, covariance=True), np.array([0.5, 1.0])


def weighted_case(rng):
    """Draws of N(0, 1.5^2) with the weights that make them draws of N(0.2, 1)."""
    q, p = ns.Gaussian(0.0, 2.25), ns.Gaussian(0.2, 1.0)
    x = q.sample(1000, rng=rng)
    w = np.exp(p.logpdf(x) - q.logpdf(x))
    return exponential_family(x, *line(x), weights=w, covariance=True), np.array([0.2, 1.0])


W, B, OUT = np.array([[1.2, -0.7]]), np.array([-0.5, 0.3]), np.array([-1.5, 1.0])


def network_case(rng):
    """Two tanh units and a confinement: their output weights, from draws of exp(-f)/Z by inverting its distribution function."""
    grid = np.linspace(-8, 8, 4001)[:, None]
    truth = ns.EnergyMLP.from_arrays([(W, B), (OUT[:, None], [0.0])], "tanh", confinement=1.0)
    mass = np.cumsum(np.exp(-truth.energy(grid)))
    x = np.interp(rng.random(2000), mass / mass[-1], grid[:, 0] + 0.002)[
        :, None
    ]  # mass up to the middle between two points
    w = product_of_experts(x, W, B, "tanh", confinement=1.0)
    net = ns.EnergyMLP.from_arrays([(W, B), (w[:, None], [0.0])], "tanh", confinement=1.0)
    return Estimate(w, sandwich(net, x, directions=np.eye(7)[4:6]).cov), OUT


def half_line_case(rng):
    x = ns.Exponential(2.0).sample(500, rng=rng)
    return exponential(x, *linear_weight(), covariance=True), np.array([2.0])


def assert_covered(case, repetitions):
    """95 % intervals of every parameter cover the truth as often as a binomial number does, within 4 of its deviations or 93 to 97 %."""
    covered = 0
    for seed in range(repetitions):
        found, truth = case(RNG([13, seed]))
        value = found.value
        if isinstance(value, tuple):
            first, second = np.triu_indices(len(value.mean))
            value = np.append(value.mean, value.cov[first, second])
        covered = covered + (np.abs(value - truth) < 1.959964 * found.standard_errors)
    low, high = binom.ppf([3e-5, 1 - 3e-5], repetitions, 0.95) if repetitions < 1000 else (930, 970)
    assert np.all((low <= covered) & (covered <= high)), covered / repetitions


CASES = (gaussian_case, truncated_case, weighted_case, network_case, half_line_case)


@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth(case):
    assert_covered(case, 100)


@pytest.mark.nightly
@pytest.mark.parametrize("case", CASES)
def test_intervals_cover_the_truth_in_93_to_97_per_cent_of_a_thousand(case):
    assert_covered(case, 1000)


def test_control_errors_of_the_likelihood_do_not_cover_for_score_matching():
    """Inverse information in place of the sandwich for h = x on half-normal data: too narrow by 1 - sqrt(2.75/3.14) and so on; halved, told."""

    def halved(rng):
        found, truth = gaussian_case(rng)
        return Estimate(found.value, found.cov / 4), truth

    with pytest.raises(AssertionError):
        assert_covered(halved, 100)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_sandwich_of_a_regression_near_its_minimum_is_known(weighted):
    """1/2 (a . theta - b)^2: A = mean of a a^T, B the covariance of a r about its mean, which is a third of a standard error off."""
    model = ns.EnergyMLP.init(1, (2,), rng=0)
    rng, p, n = RNG(0), model.theta.size, 400
    a, w = rng.standard_normal((n, p)), np.ones(n) if not weighted else RNG(1).uniform(0.5, 1.5, n)
    w = w / w.mean()
    b = a @ model.theta + rng.standard_normal(n) * (1 + a[:, 0] ** 2)
    best = np.linalg.lstsq(a * np.sqrt(w)[:, None], b * np.sqrt(w), rcond=None)[0]

    def objective(model, x, weights=None):
        r = a @ model.theta - b
        return SimpleNamespace(per_sample=r**2 / 2, gradient=(w[:, None] * a).T @ r / n)

    A = (w[:, None] * a).T @ a / n
    off = best + np.linalg.solve(A, 0.3 * np.std(w[:, None] * a * (a @ best - b)[:, None], axis=0) / np.sqrt(n))
    slopes = w[:, None] * a * (a @ off - b)[:, None]
    found = sandwich(model.with_theta(off), np.zeros((n, 1)), objective, weights=w if weighted else None)
    B = np.cov(slopes.T, bias=True)
    np.testing.assert_allclose(found.A, A, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found.B, B, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(found.cov, np.linalg.inv(A) @ B @ np.linalg.inv(A) / n, rtol=1e-9, atol=1e-13)
    with pytest.raises(ValueError, match="of its standard errors from 0"):
        sandwich(
            model.with_theta(best + 0.55 / 0.3 * (off - best)),
            np.zeros((n, 1)),
            objective,
            weights=w if weighted else None,
        )
    for wrong in (np.ones((2, p + 1)), np.ones((0, p)), np.ones((1, 2, p))):
        with pytest.raises(ValueError, match="directions have shape"):
            sandwich(model, np.zeros((n, 1)), objective, directions=wrong)


def test_a_weight_of_0_is_on_the_boundary_and_a_negative_one_outside():
    x, h = np.abs(RNG(0).standard_normal((4, 1))), np.array([[0.0], [1.0], [-0.5], [1.0]])
    with pytest.raises(ValueError, match=r"h\[2, 0\] is -0.5 .*first bad row: 2"):
        exponential(x, h, np.ones((4, 1)))


IN_THE_PLANE = {
    "gaussian": (lambda x, **o: gaussian(x, **o), 0.3),
    "exponential": (lambda x, **o: exponential(x**2, **o), 0.3),
    "truncated_gaussian": (lambda x, **o: truncated_gaussian(x, -4.0, 4.0, *ns.box_weight(-4.0, 4.0), **o), 0.0),
    "exponential_family": (lambda x, **o: exponential_family(x, *bent(x), **o), 0.3),
    "weighted family on a base": (lambda x, **o: exponential_family(x, bent(x)[0], bent(x, whole=True), h=1 + x**2, h_prime=2 * x, base_score=-x, **o), 0.3),
    "product_of_experts": (lambda x, **o: product_of_experts(x, W_PLANE, np.array([0.2, 0.4, -1.0]), "tanh", confinement=0.5, **o), 0.3),
}  # fmt: skip
W_PLANE = np.array([[1.0, -0.5, 0.3], [0.2, 0.9, -1.1]])


def bent(x, whole=False):
    """F = (x_1, x_2, -|x|^2/2, -x_1^2 x_2): gradients (n, 4, 2), and Laplacians (n, 4) or their terms (n, 4, 2)."""
    (u, v), zero, one = x.T, np.zeros(len(x)), np.ones(len(x))
    first = np.stack([[one, zero, -u, -2 * u * v], [zero, one, -v, -(u**2)]]).transpose(2, 1, 0)
    second = np.stack([[zero, zero, -one, -2 * v], [zero, zero, -one, zero]]).transpose(2, 1, 0)
    return (first, second.sum(2)) if not whole else second


def numbers(value):
    if not isinstance(value, tuple):
        return np.ravel(value)
    first, second = np.triu_indices(len(value.mean))
    return np.append(value.mean, value.cov[first, second])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", IN_THE_PLANE)
def test_the_covariance_is_the_infinitesimal_jackknife(name, weighted):
    """sum_n (w_n d theta / d w_n)^2, exactly the sandwich of any such estimate: every row's weight moved, by central differences."""
    fit, ridge = IN_THE_PLANE[name]
    rng, n, e = RNG(3), 25, 1e-4
    x = rng.standard_normal((n, 2)) @ [[1.0, 0.4], [0.0, 0.7]] + [0.2, -0.3]
    w = rng.uniform(0.5, 1.5, n) if weighted else np.ones(n)
    w = w / w.mean()
    at = lambda weights: numbers(fit(x, weights=weights, ridge=ridge))
    moved = np.array([(at(w + e * one) - at(w - e * one)) / (2 * e) for one in np.eye(n)]) * w[:, None]
    found = fit(x, weights=w if weighted else None, ridge=ridge, covariance=True)
    np.testing.assert_allclose(numbers(found.value), at(w), rtol=1e-9)
    np.testing.assert_allclose(found.cov, moved.T @ moved, rtol=0, atol=1e-6 * np.abs(found.cov).max())
    np.testing.assert_allclose(found.standard_errors**2, np.diag(found.cov), rtol=1e-12)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_estimates_and_errors_have_the_units_of_the_data(unit):
    x = np.abs(RNG(3).standard_normal((40, 2)))
    for fit, power in ((gaussian, 1), (lambda y, **o: truncated_gaussian(y, 0.0, **o), 1), (exponential, -1)):
        one, other = (fit(y, covariance=True) for y in (x, unit * x))
        scale = unit ** np.array([power] * 2 + [2] * 3 if fit is not exponential else [-1.0, -1.0])
        np.testing.assert_allclose(numbers(other.value), scale * numbers(one.value), rtol=1e-9)
        np.testing.assert_allclose(other.standard_errors, scale * one.standard_errors, rtol=1e-9)


def test_a_sandwich_in_other_units_of_the_directions_and_one_that_sees_nothing():
    """Directions a million times longer or shorter; two that are one are no minimum in any unit."""
    rng = RNG(4)
    x, W, b = rng.standard_normal((300, 2)), rng.standard_normal((2, 3)), rng.standard_normal(3)
    alpha = product_of_experts(x, W, b, "tanh", confinement=0.5)
    net = ns.EnergyMLP.from_arrays([(W, b), (alpha[:, None], [0.0])], "tanh", confinement=0.5)
    output = np.eye(net.theta.size)[-4:-1]
    one = sandwich(net, x, directions=output)
    np.testing.assert_array_equal(one.standard_errors, np.sqrt(np.diag(one.cov)))
    for unit in (1e-6, 1e6):
        np.testing.assert_allclose(sandwich(net, x, directions=unit * output).cov * unit**2, one.cov, rtol=1e-8)
        with pytest.raises(ValueError, match="does not see one of the directions"):
            sandwich(net, x, directions=unit * output[[0, 0]])
    np.testing.assert_allclose(sandwich(net, x, directions=output[0]).A, one.A[:1, :1], rtol=1e-12)
    for wrong, message in (
        (lambda: sandwich(3, x), "model is .*, expected an EnergyMLP or a ScoreMLP"),
        (lambda: sandwich(net, x, directions=output * np.nan), r"directions\[0, 0\] is nan"),
        (
            lambda: sandwich(ns.EnergyMLP.init(2, (3,), "gelu", rng=0), x),
            "activation 'gelu' does not take complex input",
        ),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            wrong()


def test_weights_and_ridges_that_are_none_are_refused():
    x = RNG(0).standard_normal((5, 1))
    for options, message in (
        ({"weights": [1, 2, np.nan, 1, 1]}, r"weights\[2\] is nan"),
        ({"weights": [1, 2, -1e-3, 1, 1]}, "weights have minimum -0.001"),
        ({"ridge": np.nan}, "ridge is nan, expected one finite number >= 0"),
        ({"ridge": np.inf}, "ridge is inf"),
        ({"ridge": [0.1, 0.1]}, r"ridge is \[0.1, 0.1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            gaussian(x, **options)
    np.testing.assert_allclose(
        gaussian(x, weights=[0, 1, 1, 0, 0.5]).mean, (x[1] + x[2] + 0.5 * x[4]) / 2.5, rtol=1e-14
    )
