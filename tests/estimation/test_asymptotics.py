"""What a loss costs in samples: the numbers of the literature and of the derivation, by quadrature, and simulation beside them."""

import numpy as np
import pytest

import numpyscore as ns
from numpyscore.densities.weights import capped_weight, linear_weight, log_weight, square_weight
from numpyscore.estimation.asymptotics import asymptotic_variance, efficiency, stein_weight
from numpyscore.estimation.estimators import truncated_gaussian


def two_modes(m):
    """Unit modes at -m and m as a family in the weight of the first."""
    return lambda w: ns.GaussianMixture([w, 1 - w], [[-m], [m]], 1.0)


def by_weight(m, w=0.5):
    """Derivatives of that family in w by hand: right where both modes are far, where differences would be rounding."""

    def derivatives(x):
        a = -2 * m * x[:, :1]
        r = 1 / (1 + (1 - w) / w * np.exp(-a)), 1 / (1 + w / (1 - w) * np.exp(a))
        both = r[0] * r[1] / (w * (1 - w))
        return (
            r[0] / w - r[1] / (1 - w),
            (-2 * m * both)[:, :, None],
            (4 * m**2 * both * (r[1] - r[0]))[:, :, None, None],
        )

    return derivatives


half_line_mean = lambda mean: ns.TruncatedGaussian(mean, 1.0, 0.0, np.inf)
half_line_variance = lambda var: ns.TruncatedGaussian(0.0, var, 0.0, np.inf)


def assert_ratio(variance, bound, printed):
    """Equal to half a unit of the last digit of a string."""
    digits = len(printed.partition(".")[2])
    assert abs(variance.item() / bound.item() - float(printed)) <= 0.5000001 * 10.0**-digits, (
        variance / bound,
        printed,
    )


TABLE = {
    1: ("1.66298", ("1.01", "1.05", "1.08", "1.09"), ("1.34", "1.12")),
    2: ("9.42281", ("1.20", "1.04", "1.10", "1.14"), ("1.87", "1.22")),
    3: ("139.5215", ("2.11", "1.03", "1.03", "1.06"), ("2.70", "1.23")),
    4: ("5542.807", ("5.79", "1.16", "1.01", "1.02"), ("4.37", "1.27")),
}


@pytest.mark.parametrize("m", [*(pytest.param(m, marks=pytest.mark.nightly) for m in (1, 2, 3)), 4])
def test_weight_of_two_modes(m):
    """The table of the derivation: noise turns 5543 into 1.01, with an optimum inside."""
    family, (implicit, integrated, drawn) = two_modes(m), TABLE[m]
    bound = asymptotic_variance(family, 0.5, "likelihood")
    assert_ratio(asymptotic_variance(family, 0.5), bound, implicit)
    for sigma, printed in zip((3.0, 10.0), drawn, strict=True):
        assert_ratio(asymptotic_variance(family, 0.5, "denoising", sigma=sigma), bound, printed)
    for sigma, printed in zip((1.0, 2.0, 3.0, 4.0), integrated, strict=True):
        found = asymptotic_variance(family, 0.5, "denoising", sigma=sigma, noise="integrated", rtol=1e-6)
        assert_ratio(found, bound, printed)


@pytest.mark.parametrize(
    "family, theta, weight, want",
    [
        (half_line_mean, 0.0, linear_weight(), np.pi),
        (half_line_mean, 0.0, square_weight(), 7.0),
        (half_line_variance, 1.0, linear_weight(), 7 * np.pi / 8),
        (half_line_variance, 1.0, square_weight(), 14 / 3),
    ],
)
def test_half_normal_data(family, theta, weight, want):
    """The four closed forms; the Cramer-Rao bounds are 1/(1 - 2/pi) and 2."""
    found = efficiency(family, theta, "generalised", h=weight[0], h_prime=weight[1])
    assert found.variance.item() == pytest.approx(want, rel=1e-9)
    bound = 1 / (1 - 2 / np.pi) if family is half_line_mean else 2.0
    assert found.bound.item() == pytest.approx(bound, rel=1e-10)
    assert found.efficiency.item() == pytest.approx(bound / want, rel=1e-9)


@pytest.mark.parametrize("mean, printed", [(-2.0, 8.750506403853), (0.0, 2.751938393884), (1.5, 1.294409943970)])
def test_the_stein_weight_loses_nothing(mean, printed):
    h, h_prime = stein_weight(half_line_mean, mean)
    found = asymptotic_variance(half_line_mean, mean, "generalised", h=h, h_prime=h_prime).item()
    assert found == pytest.approx(printed, abs=5e-12)  # the family is differenced: 3e-13 of 8.75
    assert np.abs(h(np.array([[0.0]]))).item() < 1e-14  # 0 at the end, by itself
    one, zero = (lambda x: np.ones_like(x)), (lambda x: np.zeros_like(x))
    with pytest.raises(
        AssertionError
    ):  # control: without the weight the integration by parts is wrong, and so is the number
        assert asymptotic_variance(half_line_mean, mean, "generalised", h=one, h_prime=zero).item() == pytest.approx(
            printed, abs=5e-12
        )


@pytest.mark.parametrize("m", [1, 4])
def test_the_stein_weight_of_the_weight_of_modes(m):
    """The ratio 1.0000000 where h = 1 has up to 5543."""
    by_hand = by_weight(m)
    h, h_prime = stein_weight(two_modes(m), 0.5, derivatives=by_hand)
    found = efficiency(two_modes(m), 0.5, "generalised", h=h, h_prime=h_prime, derivatives=by_hand)
    assert 1 / found.efficiency == pytest.approx(1.0, abs=5e-8)
    plain = efficiency(two_modes(m), 0.5, derivatives=by_hand)
    assert 1 / plain.efficiency == pytest.approx(1 / efficiency(two_modes(m), 0.5).efficiency, rel=1e-8)


def test_the_stein_weight_solves_its_equation():
    """(p h F')' = -p d log p / d theta, by differences of p h F' at points."""
    theta, x = 0.3, np.linspace(0.2, 3, 15)[:, None]
    h, h_prime = stein_weight(half_line_mean, theta)
    e = 1e-5
    np.testing.assert_allclose((h(x + e) - h(x - e)) / (2 * e), h_prime(x), rtol=0, atol=1e-9)
    mean = ns.expectation(lambda y: y[:, 0], half_line_mean(theta)).value
    tau_slope = h_prime(x) + h(x) * half_line_mean(theta).score(x)  # F' = 1
    np.testing.assert_allclose(tau_slope, -(x - mean), atol=1e-11)


def test_the_default_weight_of_truncated_gaussian_loses_least():
    """Both parameters unknown, mean -2 to 2.5: the worst efficiency of the default, of the distance, and of its square."""
    both, worst = (lambda t: ns.TruncatedGaussian(t[0], t[1], 0.0, np.inf)), {"log": 1.0, "x": 1.0, "x^2": 1.0}
    for mean in (-2.0, 1.5, 2.5):
        density = both((mean, 1.0))
        first, second = ns.expectation(lambda x: np.hstack([x, x**2]), density).value
        sd = float(np.sqrt(second - first**2))
        for name, (h, h_prime), breaks in (
            ("log", log_weight(scale=sd), (sd * np.expm1(1.5),)),
            ("x", linear_weight(), ()),
            ("x^2", square_weight(), ()),
        ):
            found = efficiency(
                both, np.array([mean, 1.0]), "generalised", h=h, h_prime=h_prime, breaks=breaks, rtol=1e-6
            )
            worst[name] = min(worst[name], found.efficiency.min())
    assert worst["log"] > 0.92 and worst["x"] < 0.78 and worst["x^2"] < 0.27


@pytest.mark.parametrize("variance_reduced", [True, False])
@pytest.mark.parametrize("probe", ["gaussian", "rademacher", "sphere"])
def test_sliced_losses_by_simulation(probe, variance_reduced):
    """The variance of the slope of the loss at the truth, over 40 000 samples and probes, against B; A is the implicit one."""
    family = lambda t: ns.Gaussian(np.array([t[0], 0.0]), np.array([[1.0, t[1]], [t[1], 1.5]]))
    theta, n = np.array([0.2, 0.5]), 40_000
    options = {"probe": probe, "variance_reduced": variance_reduced}
    V = asymptotic_variance(family, theta, "sliced", **options, rtol=1e-8)
    rng = np.random.default_rng(0)
    x = family(theta).sample(n, rng=rng)
    v = rng.standard_normal((n, 2)) if probe != "rademacher" else rng.choice([-1.0, 1.0], (n, 2))
    if probe == "sphere":
        v *= np.sqrt(2) / np.linalg.norm(v, axis=1, keepdims=True)

    def rho(t):
        p = family(t)
        s, K = p.score(x), p.curvature(x, v)
        return ns.sliced_loss(s, K) if variance_reduced else ns.sliced_loss(s, K, v)

    e = 1e-4 * np.eye(2)
    slopes = np.stack([(rho(theta + step) - rho(theta - step)) / 2e-4 for step in e], 1)
    A = np.linalg.inv(asymptotic_variance(family, theta, rtol=1e-8))
    ds = np.stack([(family(theta + step).score(x) - family(theta - step).score(x)) / 2e-4 for step in e], 1)
    A = np.einsum("nai,nbi->ab", ds, ds) / n
    simulated = np.linalg.inv(A) @ np.cov(slopes.T) @ np.linalg.inv(A)
    np.testing.assert_allclose(
        simulated, V, rtol=0, atol=0.06 * np.abs(V).max()
    )  # sqrt(kurtosis / n) is 1.5 %, four of them


@pytest.mark.parametrize("repetitions", [80, pytest.param(1000, marks=pytest.mark.nightly)])
def test_denoising_with_one_eps_for_each_row_by_simulation(repetitions):
    """Estimates of the weight of two modes: their spread over repetitions."""
    m, sigma, n = 1.0, 1.0, 2000
    want = asymptotic_variance(two_modes(m), 0.5, "denoising", sigma=sigma).item()
    rng, found, h = np.random.default_rng(1), [], 1e-4

    def slope(w, noisy, eps):
        above, at, below = (two_modes(m)(v).perturbed(sigma).score(noisy) for v in (w + h, w, w - h))
        return np.mean((above - below) / (2 * h) * (at + eps / sigma))

    for _ in range(repetitions):
        x = two_modes(m)(0.5).sample(n, rng=rng)
        noisy, eps = ns.perturb(x, sigma, rng=rng)
        w, e = 0.5, 1e-3
        for _ in range(2):  # Newton's steps
            w -= slope(w, noisy, eps) * 2 * e / (slope(w + e, noisy, eps) - slope(w - e, noisy, eps))
        found.append(w)
    assert n * np.var(found) == pytest.approx(want, rel=4 * np.sqrt(2 / repetitions))  # 4 standard errors of a variance
    assert np.mean(found) == pytest.approx(0.5, abs=4 * np.sqrt(want / n / repetitions))


def test_endless_noise_makes_denoising_of_a_gaussian_as_good_as_its_moments():
    """Mean and variance at once: the minimiser is the samples' own mean and variance, n times its covariance diag(v, 2 v^2)."""
    family = lambda t: ns.Gaussian(t[0], t[1])
    found = asymptotic_variance(family, np.array([0.3, 1.5]), "denoising", sigma=0.8, noise="integrated", rtol=1e-6)
    np.testing.assert_allclose(found, np.diag([1.5, 2 * 1.5**2]), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "run, words",
    [
        (lambda: asymptotic_variance(two_modes(1), 0.5, "explicit"), "loss is 'explicit', expected one of"),
        (lambda: asymptotic_variance(two_modes(1), 0.5, "generalised"), "h and h_prime go together"),
        (
            lambda: asymptotic_variance(two_modes(1), 0.5, h=np.ones_like, h_prime=np.zeros_like),
            "with 'generalised' only",
        ),
        (lambda: asymptotic_variance(two_modes(1), 0.5, sigma=1.0), "sigma goes with 'denoising'"),
        (lambda: asymptotic_variance(lambda t: ns.Gaussian(0.0, 1.0), 0.5), "does not determine theta"),
        (
            lambda: asymptotic_variance(lambda t: ns.StudentT(3.0, 0.0, t), 1.0, "sliced", probe="uniform"),
            "probe is 'uniform'",
        ),
        (lambda: stein_weight(lambda t: ns.Gaussian(np.zeros(2), t), 1.0), "expected one of each"),
        (
            lambda: asymptotic_variance(
                lambda t: ns.Gaussian(t, np.eye(2)), np.zeros(2), "denoising", sigma=1.0, noise="integrated"
            ),
            "in 2 dimensions, expected 1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(run, words):
    with pytest.raises(ValueError, match=words):
        run()


def test_units_and_estimates_by_the_default_weight():
    """n times the variance of 200 estimates by the default weight, against the sandwich of one of them."""
    p, n = ns.TruncatedGaussian(0.5, 1.0, 0.0, np.inf), 1000
    found = [truncated_gaussian(p.sample(n, rng=seed), 0.0) for seed in range(200)]
    one = truncated_gaussian(p.sample(20_000, rng=9), 0.0, covariance=True)
    spread = np.var([[f.mean[0], f.cov[0, 0]] for f in found], axis=0)
    np.testing.assert_allclose(spread / (20 * np.diag(one.cov)), 1, atol=0.45)  # 10 % each, and skewness at n = 1000


def test_capped_weights_have_the_efficiency_of_a_cap():
    """min(log(1 + x), 1) has 2.793 for the mean of half-normal data."""
    h, h_prime = log_weight(cap=1.0)
    found = asymptotic_variance(half_line_mean, 0.0, "generalised", h=h, h_prime=h_prime, breaks=(np.e - 1,))
    assert found.item() == pytest.approx(2.793, abs=5e-4)
    h, h_prime = capped_weight(1.0)
    found = asymptotic_variance(half_line_mean, 0.0, "generalised", h=h, h_prime=h_prime, breaks=(1.0,))
    assert 2.793 < found.item() < np.pi
