"""Noise: what is added, which levels are proposed, and what a level brings and costs, against closed forms and brute force."""

import inspect
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import defaults
from scipy import integrate, stats

from numpyscore.data.datasets import old_faithful, standardise
from numpyscore.densities import Gaussian, GaussianMixture, Parzen, Uniform
from numpyscore.densities.noise import (
    bias,
    cosine_levels,
    coverage,
    fisher_divergence,
    geometric_levels,
    kl_divergence,
    noisy,
    perturb,
    suggest_levels,
    visibility,
)

EPS = np.finfo(float).eps
SIGMAS_4 = 4.0  # standard errors: one false alarm in 16 000

# ------------------------------------------------------------------------------- perturbation


@pytest.mark.parametrize("sigma", [0.3, np.linspace(0.1, 2.0, 50)], ids=["one sigma", "one per sample"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_noise_is_what_was_added(dtype, sigma):
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(dtype)
    kept = x.copy()
    y, eps = perturb(x, sigma, rng=1)
    assert y.dtype == eps.dtype == dtype and np.array_equal(x, kept)
    # one rounding of the product and one of the sum, each half an eps of its result; sigma itself is rounded to the dtype
    assert np.all(
        np.abs(y - x - np.reshape(sigma, (-1, 1)) * eps) <= 2 * np.finfo(dtype).eps * (np.abs(y) + np.abs(y - x))
    )
    again = perturb(x, sigma, rng=np.random.default_rng(1))
    assert np.array_equal(y, again[0]) and np.array_equal(eps, again[1])
    assert not np.array_equal(eps, perturb(x, sigma, rng=2)[1])


def test_the_noise_is_standard_normal():
    eps = perturb(np.zeros((20_000, 2)), 7.0, rng=0)[1]
    # mean 0 +- 1/sqrt(n), variance 1 +- sqrt(2/n), correlation 0 +- 1/sqrt(n); a Laplace or uniform law fails the test of KS
    n = len(eps)
    assert np.all(np.abs(eps.mean(0)) < SIGMAS_4 / math.sqrt(n))
    assert np.all(np.abs(eps.var(0) - 1) < SIGMAS_4 * math.sqrt(2 / n))
    assert abs(np.mean(eps[:, 0] * eps[:, 1])) < SIGMAS_4 / math.sqrt(n)
    assert stats.kstest(eps.ravel(), "norm").pvalue > 1e-4
    assert stats.kstest(np.random.default_rng(0).laplace(0, 1 / math.sqrt(2), 2 * n), "norm").pvalue < 1e-4


def test_whole_numbers_become_float64_and_no_rows_stay_none():
    y, eps = perturb([[1, 2], [3, 4]], 0.5, rng=0)
    assert y.dtype == eps.dtype == np.float64
    assert perturb(np.zeros((0, 2)), 1.0, rng=0)[0].shape == (0, 2)


@pytest.mark.parametrize(
    "sigma, message",
    [(0.0, "positive standard deviations"), (-1.0, "positive"), (np.ones(3), "one number or"), (np.nan, "finite")],
)
def test_a_wrong_sigma_is_named(sigma, message):
    with pytest.raises(ValueError, match=message):
        perturb(np.zeros((2, 2)), sigma)


# ------------------------------------------------------------------------------- levels


@given(low=st.floats(1e-3, 10), ratio=st.floats(1.01, 1e4), n=st.integers(2, 40), scale=st.floats(0.1, 10))
def test_levels_end_where_they_should_and_step_as_they_say(low, ratio, n, scale):
    high = low * ratio
    sigmas = geometric_levels(high, low, n)
    assert sigmas.shape == (n,) and sigmas[0] == high and sigmas[-1] == low and np.all(np.diff(sigmas) < 0)
    # the logarithms are equally spaced: each carries an eps of itself and one of rounding sigma
    steps = np.diff(np.log(sigmas)) * (n - 1)
    np.testing.assert_allclose(steps, -math.log(ratio), atol=8 * n * EPS * (1 + np.abs(np.log(sigmas)).max()))
    sigmas = cosine_levels(high, low, n, scale=scale)
    assert sigmas.shape == (n,) and sigmas[0] == high and sigmas[-1] == low and np.all(np.diff(sigmas) < 0)
    # atan undoes tan with an error of eps in either direction, whatever the angle
    steps = np.diff(np.arctan(sigmas / scale)) * (n - 1)
    np.testing.assert_allclose(steps, math.atan(low / scale) - math.atan(high / scale), atol=16 * n * EPS)


def test_cosine_levels_crowd_where_signal_and_noise_are_of_one_size():
    share = lambda sigmas: np.mean((sigmas > 0.5) & (sigmas < 2))
    assert share(cosine_levels(50, 0.01, 1001)) == pytest.approx(
        (math.atan(2) - math.atan(0.5)) * 2 / math.pi, abs=0.02
    )
    assert share(geometric_levels(50, 0.01, 1001)) == pytest.approx(math.log(4) / math.log(5000), abs=0.002)


@pytest.mark.parametrize("rule", [geometric_levels, cosine_levels])
def test_wrong_ends_are_named(rule):
    for arguments, message in [
        ((1.0, 1.0, 3), "sigma_max > sigma_min"),
        ((1.0, 0.1, 1), "n is 1"),
        ((1.0, 0.0, 3), "sigma_min"),
    ]:
        with pytest.raises(ValueError, match=message):
            rule(*arguments)


def brute_force(x):
    """Largest distance of two rows, and the median over rows of the smallest that is not 0, by double loop."""
    largest, nearest = 0.0, []
    for i in range(len(x)):
        away = [math.dist(x[i], x[j]) for j in range(len(x))]
        largest = max(largest, *away)
        nearest.append(min(r for r in away if r > 0))
    return largest, np.median(nearest)


@pytest.mark.parametrize("d", [1, 2, 5, 30])
def test_suggested_levels_follow_their_rules(d):
    x = np.random.default_rng(d).standard_normal((60, d)) * np.linspace(1, 3, d)
    x[:7] = x[7]  # equal rows are one
    sigmas = suggest_levels(x)
    largest, spacing = brute_force(x)
    np.testing.assert_allclose(sigmas[[0, -1]], [largest, spacing / (2 * math.sqrt(d))], rtol=(d + 8) * EPS)
    ratio = sigmas[0] / sigmas[1]
    np.testing.assert_allclose(sigmas[:-1] / sigmas[1:], ratio, rtol=64 * EPS)
    wanted = 1.5 if d < 41 else math.sqrt(2 * d) / (math.sqrt(2 * d) - 3)
    n = len(sigmas)
    assert (
        wanted ** (1 / (1 + 1 / (n - 2))) * (1 - 1e-9) < ratio <= wanted * (1 + 1e-9)
    )  # not more levels than it takes
    assert len(suggest_levels(x, 5)) == 5


def test_the_ratio_makes_neighbouring_levels_share_half_their_lengths():
    """Technique 2 in its own words: P(sqrt(d) sigma_i +- 3 sigma_i / sqrt 2 | next level) = 1/2, solved numerically."""
    from scipy.optimize import brentq

    for d in (64, 784, 3072):
        root = math.sqrt(2 * d)
        overlap = lambda g, r=root: stats.norm.cdf(r * (g - 1) + 3 * g) - stats.norm.cdf(r * (g - 1) - 3 * g) - 0.5
        x = np.random.default_rng(0).standard_normal((20, d))
        sigmas = suggest_levels(x)
        exact = brentq(overlap, 1.0, 3.0)
        assert exact == pytest.approx(root / (root - 3), rel=1e-6)
        assert len(sigmas) == 1 + math.ceil(math.log(sigmas[0] / sigmas[-1]) / math.log(exact))


@given(st.integers(0, 1000), st.sampled_from([1e-3, 7.0, 1e4]))
def test_levels_are_in_the_units_of_the_data(seed, c):
    x = np.random.default_rng(seed).standard_normal((30, 2))
    np.testing.assert_allclose(suggest_levels(c * x, 6), c * suggest_levels(x, 6), rtol=1e-9)


def test_many_rows_are_sampled_within_bounded_memory():
    x = np.random.default_rng(0).standard_normal((30_000, 2))
    tracemalloc.start()
    sigmas = suggest_levels(x, rows=400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (
        peak < 150e6
    )  # a block is 2^22 distances, 34 MB, and a mask; all of them together would be 96 MB, and 7 GB for rows=n
    assert np.array_equal(sigmas, suggest_levels(x, rows=400)) and not np.array_equal(
        sigmas, suggest_levels(x, rows=400, rng=1)
    )
    from scipy.spatial import cKDTree, distance

    hull = x[np.argsort(-np.linalg.norm(x, axis=1))[:2000]]
    diameter, nearest = distance.pdist(hull).max(), cKDTree(x).query(x, 2)[0][:, 1]
    assert 0.8 * diameter < sigmas[0] <= diameter
    # the median of 400 out of 30 000: its standard error is 1/(2 f sqrt 400) with f the density of the distances there
    middle = np.median(nearest)
    f = np.mean(np.abs(nearest - middle) < 0.2 * middle) / (0.4 * middle)
    assert abs(sigmas[-1] * 2 * math.sqrt(2) - middle) < SIGMAS_4 / (2 * f * 20)


def test_no_levels_without_a_spread():
    for x in (np.zeros((0, 2)), np.ones((1, 2)), np.full((5, 2), 3.0)):
        with pytest.raises(ValueError, match="no two different rows"):
            suggest_levels(x)


def test_rounded_data_are_not_followed_below_their_grid():
    minutes = np.random.default_rng(0).integers(0, 40, (500, 1))
    assert suggest_levels(minutes)[-1] == 0.5 and suggest_levels(minutes)[0] == 39


# ------------------------------------------------------------------------------- coverage


@pytest.mark.parametrize("sigma", [0.5, 2.0, 6.0])
def test_coverage_of_a_gaussian_is_that_of_an_interval(sigma):
    """The smallest set of mass 0.99 of N(1, s^2) is 1 +- 2.58 s; of a disc, radius^2 = -2 s^2 log 0.01."""
    sd = math.hypot(1.5, sigma)
    low, high = (np.clip(1 + side * stats.norm.ppf(0.995) * sd, -8, 8) for side in (-1, 1))
    found = coverage(Gaussian(1.0, 1.5**2), sigma, [[-8.0, 8.0]])
    assert abs(found.share - (high - low) / 16) < SIGMAS_4 * found.error
    radius = sd * math.sqrt(-2 * math.log(0.01))
    if radius < 12:
        found = coverage(Gaussian(np.zeros(2), 1.5**2), sigma, [[-12.0, 12.0], [-12.0, 12.0]])
        assert abs(found.share - math.pi * radius**2 / 24**2) < SIGMAS_4 * found.error
        assert found.threshold == pytest.approx(-math.log(2 * math.pi * sd**2) + math.log(0.01), abs=0.3)
    assert 0 <= found.error < 0.01


def test_control_the_errors_of_coverage_are_no_excuse():
    """The same interval for another mass is told apart."""
    found = coverage(Gaussian(0.0, 1.0), 1.0, [[-8.0, 8.0]], mass=0.98)
    assert abs(found.share - stats.norm.ppf(0.995) * math.sqrt(2) / 8) > SIGMAS_4 * found.error
    assert abs(found.share - stats.norm.ppf(0.99) * math.sqrt(2) / 8) < SIGMAS_4 * found.error


def test_the_error_of_coverage_is_that_of_repetitions():
    repeated = [coverage(Gaussian(0.0, 1.0), 1.0, [[-8.0, 8.0]], n=400, rng=seed) for seed in range(200)]
    spread, stated = np.std([c.share for c in repeated]), np.mean([c.error for c in repeated])
    assert 0.8 < spread / stated < 1.25  # a standard deviation from 200 has a standard error of 5 %


def test_coverage_grows_from_nothing_to_everything_and_has_no_unit():
    x = np.random.default_rng(0).standard_normal((40, 2))
    box = np.array([[-8.0, 8.0], [-8.0, 8.0]])
    shares = [coverage(x, sigma, box, n=4000).share for sigma in (0.01, 0.1, 0.5, 2.0, 8.0)]
    assert np.all(np.diff(shares) > 0) and shares[0] < 0.01 and shares[-1] == 1.0
    a, b = coverage(x, 0.5, box, n=1000), coverage(4 * x, 2.0, 4 * box, n=1000)  # powers of two round alike
    assert a.share == b.share and a.threshold == pytest.approx(b.threshold + 2 * math.log(4), abs=1e-12)


def test_wrong_boxes_and_masses_are_named():
    p = Gaussian(np.zeros(2), 1.0)
    for box, mass, message in [([0, 1], 0.9, "box has shape"), ([[0, 1], [0, np.inf]], 0.9, "infinite end"), ([[0, 1], [1, 0]], 0.9, "lower < upper"), ([[0, 1], [0, 1]], 1.0, "between 0 and 1")]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            coverage(p, 1.0, box, mass=mass)
    with pytest.raises(NotImplementedError, match="Parzen"):
        coverage(Uniform(0.0, 1.0), 1.0, [[0, 1]])


# ------------------------------------------------------------------------------- bias, visibility


def test_what_has_no_score_or_no_logpdf_is_named():
    class Bare:
        dim = 1

    for run, words in (
        (
            lambda: fisher_divergence(Gaussian(0.0, 1.0), Bare()),
            r"fisher_divergence: q is a Bare, expected something with \.score",
        ),
        (
            lambda: fisher_divergence(Bare(), Gaussian(0.0, 1.0)),
            "fisher_divergence: p is a Bare, expected something with",
        ),
        (lambda: kl_divergence(Gaussian(0.0, 1.0), Bare()), "kl_divergence: q is a Bare, expected something with"),
    ):
        with pytest.raises(TypeError, match=words):
            run()


def gaussian_divergences(m0, S0, m, S):
    """J_E and KL of N(m, S) from N(m0, S0) in closed form."""
    P, P0, e = np.linalg.inv(S), np.linalg.inv(S0), m0 - m
    fisher = 0.5 * (np.sum((P @ e) ** 2) + np.trace((P - P0) @ S0 @ (P - P0)))
    kl = 0.5 * (np.trace(P @ S0) + e @ P @ e - len(e) + np.linalg.slogdet(S)[1] - np.linalg.slogdet(S0)[1])
    return fisher, kl


@pytest.mark.parametrize("d", [1, 2, 3])
def test_divergences_of_gaussians_in_closed_form(d):
    rng = np.random.default_rng(d)
    A, B = rng.standard_normal((2, d, d))
    m0, m, S0, S = rng.standard_normal(d), rng.standard_normal(d), A @ A.T + np.eye(d), B @ B.T + np.eye(d)
    p, q = Gaussian(m0, S0), Gaussian(m, S)
    fisher, kl = gaussian_divergences(m0, S0, m, S)
    for found, truth in ((fisher_divergence(p, q), fisher), (kl_divergence(p, q), kl)):
        assert found.converged and found.error < 1e-9 * truth
        assert abs(found.value - truth) <= found.error + 64 * EPS * truth
        assert abs(found.value - 2 * truth) > found.error  # control: the convention without the half is told apart
    found = bias(p, 0.7)
    fisher, kl = gaussian_divergences(m0, S0, m0, S0 + 0.49 * np.eye(d))
    for integral, truth in ((found.fisher, fisher), (found.kl, kl)):
        assert abs(integral.value - truth) <= integral.error + 64 * EPS * truth


M = 5 * math.sqrt(2)
DATA, MODEL = GaussianMixture([0.2, 0.8], [-M, M], 1.0), GaussianMixture([0.5, 0.5], [-M, M], 1.0)
SEEN = {2.0: 5.2e-4, 4.0: 2.7e-3, 5.0: 2.3e-3, 10.0: 4.8e-4}


def by_hand(sigma, weight=0.5):
    """J_E of the two mixtures by SciPy's adaptive rule and scores written out here."""
    var = 1 + sigma**2

    def parts(x, w):
        a, b = w * stats.norm.pdf(x, -M, math.sqrt(var)), (1 - w) * stats.norm.pdf(x, M, math.sqrt(var))
        return a + b, -(a * (x + M) + b * (x - M)) / (var * (a + b))

    def integrand(x):
        (p, s), (_, t) = parts(x, 0.2), parts(x, weight)
        return 0.5 * p * (s - t) ** 2

    reach = M + 12 * math.sqrt(var)
    return integrate.quad(integrand, -reach, reach, points=[-M, 0, M], epsabs=1e-15, epsrel=1e-11, limit=400)[0]


@pytest.mark.parametrize("sigma", SEEN)
def test_blindness_and_its_cure_with_the_numbers_of_the_derivation(sigma):
    found = visibility(DATA, MODEL, sigma)
    assert float(f"{found.value:.1e}") == SEEN[sigma]
    assert found.value == pytest.approx(by_hand(sigma), rel=1e-9) and found.error < 1e-12
    assert found.value != pytest.approx(by_hand(sigma, weight=0.49), rel=1e-3)  # control: another weight shows


def test_without_noise_the_weights_are_invisible_and_the_divergence_is_not():
    assert fisher_divergence(DATA, MODEL).value == pytest.approx(1.2e-11, rel=0.03)
    assert kl_divergence(DATA, MODEL).value == pytest.approx(0.2 * math.log(0.4) + 0.8 * math.log(1.6), abs=1e-9)


def test_visibility_has_its_optimum_inside():
    sigmas = np.geomspace(0.5, 50, 41)
    seen = np.array([visibility(DATA, MODEL, sigma).value for sigma in sigmas])
    best = seen.argmax()
    assert 3.5 < sigmas[best] < 4.5
    assert np.all(np.diff(seen[: best + 1]) > 0) and np.all(np.diff(seen[best:]) < 0)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_visibility_is_the_rate_at_which_noise_takes_the_divergence_away(sigma):
    h = 1e-3  # in sigma^2: fourth-order differences, truncation near h^4 and rounding near 1e-12 / h
    kl = lambda k: kl_divergence(*(noisy(p, math.sqrt(sigma**2 + k * h)) for p in (DATA, MODEL))).value
    slope = (kl(-2) - 8 * kl(-1) + 8 * kl(1) - kl(2)) / (12 * h)
    assert visibility(DATA, MODEL, sigma).value == pytest.approx(-slope, abs=1e-8)


def test_bias_on_data_has_an_optimum_inside():
    """Too little noise learns the samples, too much forgets them; without data only the second remains."""
    p, sigmas = GaussianMixture([0.3, 0.7], [-2.0, 2.0], 0.5), np.geomspace(0.03, 3, 13)
    x = p.sample(100, rng=0)
    on_data = [bias(p, sigma, x) for sigma in sigmas]
    clean = [bias(p, sigma) for sigma in sigmas]
    for name in ("fisher", "kl"):
        curve, floor = (np.array([getattr(b, name).value for b in found]) for found in (on_data, clean))
        best = curve.argmin()
        assert 0 < best < len(sigmas) - 1 and curve[best] < 0.2 * min(curve[0], curve[-1])
        assert np.all(np.diff(floor) > 0) and floor[0] < 1e-2 * curve[0]
    assert all(b.fisher.converged and b.kl.converged for b in on_data)


def test_a_narrow_kernel_is_seen_by_the_quadrature():
    """q a hundredth as wide as p, with gaps between its kernels: the closed form of E_p over each kernel's cell."""
    p, x = Gaussian(0.0, 1.0), np.array([[-1.0], [1.0]])
    found = bias(p, 0.01, x)
    # between the kernels log q is, up to log-sum-exp, quadratic around the nearer one: J_E = 1/2 E(|x| - 1)^2/sigma^4 and so on
    exact = integrate.quad(lambda t: stats.norm.pdf(t) * ((t - 1) / 1e-4 - t) ** 2, 0, 12, epsrel=1e-12)[0]
    assert found.fisher.value == pytest.approx(exact, rel=1e-3) and found.fisher.error < 1e-4 * exact


def test_noisy_is_the_perturbed_density_or_the_parzen_density():
    x = np.random.default_rng(0).standard_normal((5, 2))
    y = np.array([[0.3, -0.2]])
    assert noisy(x, 0.5).logpdf(y) == Parzen(x, 0.5).logpdf(y)
    assert noisy(Parzen(x, 0.3), 0.4).logpdf(y) == pytest.approx(Parzen(x, 0.5).logpdf(y), rel=8 * EPS)
    assert noisy(Gaussian(np.zeros(2), 1.0), 2.0).score(y) == pytest.approx(-y / 5)


def test_suggested_levels_of_old_faithful():
    sigmas = suggest_levels(standardise(old_faithful()).x)
    assert 4 < sigmas[0] < 5 and 0.01 < sigmas[-1] < 0.05 and 10 <= len(sigmas) <= 20


def test_what_is_left_out_of_levels_and_divergences_and_weights():
    from numpyscore.densities import noise, support, weights

    assert defaults(noise.cosine_levels) == {"scale": 1} and defaults(support.Support.perturb) == {"stretch": 1}
    assert inspect.signature(noise.suggest_levels).parameters["rng"].default == 0
    assert defaults(noise.coverage) == {"mass": 0.99, "n": 20_000, "rng": 0}
    for function in (noise.fisher_divergence, noise.kl_divergence, noise.bias, noise.visibility):
        assert defaults(function) == {"rtol": 1e-10}
    assert (
        defaults(weights.linear_weight)
        == defaults(weights.square_weight)
        == defaults(weights.capped_weight)
        == {"lower": 0}
    )
    assert defaults(weights.log_weight) == {"lower": 0, "upper": np.inf, "cap": 1.5, "scale": 1}


def test_rows_are_chosen_without_replacement_and_in_blocks_of_any_size(monkeypatch):
    """49 of 50 rows hold one of the two that are farthest apart, whatever the seed; with replacement one seed in eight would miss both."""
    x = np.concatenate([[[-1000.0], [1000.0]], np.random.default_rng(0).standard_normal((48, 1))])
    assert all(suggest_levels(x, 5, rows=49, rng=seed)[0] == 2000 for seed in range(40))
    whole = suggest_levels(x, 5)
    for numbers in (1, 170):
        monkeypatch.setattr("numpyscore.densities.noise.DISTANCES", numbers)
        np.testing.assert_array_equal(suggest_levels(x, 5), whole)


def test_the_ratio_of_levels_in_few_dimensions():
    """sqrt(2 d) is 3 at 4.5: up to there, and until sqrt(2 d) / (sqrt(2 d) - 3) falls below it at d = 41, the ratio is 3/2 at most."""
    for d in (1, 2, 3, 4, 5, 8, 40):
        x = np.random.default_rng(d).standard_normal((12, d))
        sigmas = suggest_levels(x)
        assert len(sigmas) == 1 + math.ceil(math.log(sigmas[0] / sigmas[-1]) / math.log(1.5))


def test_coverage_by_its_definition():
    """The same draws again: starts above the quantile of log q; the error of the share, and of the quantile by how the share moves with it."""
    p, box, n = Gaussian(np.zeros(2), 1.0), [[-4.0, 3.0], [-2.0, 5.0]], 500
    for mass in (0.5, 0.9, 0.9999):
        found = coverage(p, 1.0, box, mass=mass, n=n, rng=3)
        rng, q = np.random.default_rng(3), Gaussian(np.zeros(2), 2.0)
        inside = np.sort(q.logpdf(q.sample(n, rng=rng)))
        starts = q.logpdf(rng.uniform([-4.0, -2.0], [3.0, 5.0], (n, 2)))
        at = lambda u, inside=inside: np.interp(min(max(u, 0.0), 1.0) * (n - 1), np.arange(n), inside)
        slack = math.sqrt(mass * (1 - mass) / n)
        share, more, less = (np.mean(starts >= at(u)) for u in (1 - mass, 1 - mass - slack, 1 - mass + slack))
        error = math.hypot(math.sqrt(share * (1 - share) / n), (more - less) / 2)
        assert found.share == share and found.threshold == pytest.approx(at(1 - mass), rel=1e-12)
        assert found.error == pytest.approx(error, rel=1e-9) and 0 < share < 1
    away = coverage(p, 1.0, [[50.0, 51.0], [50.0, 51.0]], n=100)
    assert away.share == 0 and away.error == pytest.approx(1 / 100)  # as if one start in n were inside
    for options, message in (({"n": 99}, "n is 99"), ({"mass": 0.0}, "mass is 0.0"), ({"mass": np.nan}, "mass is nan")):
        with pytest.raises(ValueError, match=message):
            coverage(p, 1.0, box, **options)
    assert coverage(p, 1.0, box, n=100).share > 0


def test_what_a_divergence_asks_of_the_quadrature(monkeypatch):
    """p itself, with the finer detail of both frames; without a frame of q just p; the tolerance is handed on."""
    from types import SimpleNamespace

    from numpyscore.densities import noise

    asked = []

    def stand_in(g, density, *, rtol):
        asked.append((density, rtol))
        return np.mean(g(np.array([[0.5, -0.5]])))

    monkeypatch.setattr(noise, "expectation", stand_in)
    p, q = Gaussian(np.zeros(2), np.diag([4.0, 0.25])), Gaussian(np.zeros(2), np.diag([1.0, 0.01]))
    narrow = GaussianMixture([0.5, 0.5], [[0.0, 0.0], [3.0, 0.0]], 0.04)
    for run, rtol in (
        (lambda: fisher_divergence(p, q), 1e-10), (lambda: fisher_divergence(p, q, rtol=1e-4), 1e-4), (lambda: kl_divergence(p, q, rtol=1e-5), 1e-5),
    ):  # fmt: skip
        asked.clear()
        run()
        ((seen, given),) = asked
        assert given == rtol and (seen.dim, seen.logpdf(np.zeros((1, 2)))) == (2, p.logpdf(np.zeros((1, 2))))
        assert seen.support is p.support and seen.frame.detail == pytest.approx(0.1 / 2)  # 0.1 of q in units of 2
        for name in ("center", "axes", "tail", "reach", "breaks"):
            assert np.array_equal(getattr(seen.frame, name), getattr(p.frame, name))
    asked.clear()
    fisher_divergence(p, narrow)
    assert asked[-1][0].frame.detail == pytest.approx(narrow.frame.detail * 0.2 / 2)
    fisher_divergence(narrow, p)
    assert asked[-1][0].frame.detail == narrow.frame.detail  # the finer one is its own
    fisher_divergence(p, SimpleNamespace(score=lambda x: -x))
    assert asked[-1][0] is p
    bias(p, 0.5, rtol=1e-6)
    visibility(p, q, 0.5, rtol=1e-7)
    assert [rtol for _, rtol in asked[-3:]] == [1e-6, 1e-6, 1e-7]
