"""What a loss costs in samples: the numbers of the literature and of the derivation, by quadrature, and simulation beside them."""

import numpy as np
import pytest
from oracles import defaults
from scipy import integrate, stats

import numpyscore as ns
from numpyscore.densities.weights import capped_weight, linear_weight, log_weight, square_weight
from numpyscore.estimation import asymptotics
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


PROBES = {  # points and shares of a rule that is exact for polynomials of degree 4 in v of the plane
    "rademacher": (np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), np.full(4, 0.25)),
    "sphere": (np.sqrt(2) * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1), np.full(8, 0.125)),
}  # fmt: skip
_nodes, _shares = np.polynomial.hermite_e.hermegauss(5)
GRID = np.stack(np.meshgrid(_nodes, _nodes), -1).reshape(-1, 2), np.outer(_shares, _shares).ravel() / (2 * np.pi)
PROBES["gaussian"] = GRID


@pytest.mark.parametrize("variance_reduced, n_probes", [(True, 1), (True, 3), (False, 1), (False, 2)])
@pytest.mark.parametrize("probe", PROBES)
def test_sliced_losses_by_sums_over_probes(probe, variance_reduced, n_probes):
    """A Gaussian in the plane, of one mean, one covariance and one variance: all slopes are polynomials in x and v, and sums over nodes are exact."""
    family = lambda t: ns.Gaussian(np.array([t[0], 0.0]), np.array([[1.0, t[1]], [t[1], t[2]]]))
    theta = np.array([0.2, 0.5, 1.5])
    p, moves = family(theta), np.array([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    P, (z, w), (v, r) = np.linalg.inv(p.cov), GRID, PROBES[probe]
    e = z @ np.linalg.cholesky(p.cov).T  # x - m (n, 2)
    s = -e @ P
    dJ = np.stack([np.zeros((2, 2)), *(P @ C @ P for C in moves)])  # (3, 2, 2): J = -P
    ds = np.stack([np.broadcast_to(P[0], e.shape), *(e @ J.T for J in dJ[1:])], 1)  # (n, 3, 2)
    push = np.einsum("nki,ni->nk", ds, s) + np.trace(dJ, axis1=1, axis2=2)
    one = np.einsum("mi,kij,mj->mk", v, dJ, v)[:, None]  # (m, n, 3)
    one = one + (
        np.einsum("nki,ni->nk", ds, s) if variance_reduced else np.einsum("mi,nki->mnk", v, ds) * (v @ s.T)[:, :, None]
    )
    np.testing.assert_allclose(np.einsum("m,mnk->nk", r, one), push, atol=1e-13)
    spread = np.einsum("m,mnk,mnl,n->kl", r, one - push, one - push, w) / n_probes
    A, B = np.einsum("nai,nbi,n->ab", ds, ds, w), np.einsum("nk,nl,n->kl", push, push, w) + spread
    want = np.linalg.inv(A) @ B @ np.linalg.inv(A)
    options = {"probe": probe, "variance_reduced": variance_reduced, "n_probes": n_probes}
    found = asymptotic_variance(family, theta, "sliced", **options, rtol=1e-8)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-7 * np.abs(want).max())
    assert np.abs(want - np.linalg.inv(A) @ (B - spread) @ np.linalg.inv(A)).max() > 1e-3 or not spread.any()


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
        (lambda: stein_weight(lambda t: ns.Gaussian(np.zeros(2), t), 1.0), "1 parameters in 2 dimensions, expected one of each"),
        (lambda: stein_weight(lambda t: ns.Gaussian(t[0], t[1]), np.ones(2)), "2 parameters in 1 dimensions, expected one of each"),
        (lambda: asymptotic_variance(two_modes(1), [[0.5]]), r"theta has shape \(1, 1\), expected a number or \(k,\)"),
        (lambda: asymptotic_variance(two_modes(1), []), r"theta has shape \(0,\)"),
        *(
            (lambda loss=loss, o=o: asymptotic_variance(two_modes(1), 0.5, loss, **o), f"loss is '{loss}' with h {said}; h and h_prime go together")
            for loss, o, said in (("generalised", {"h": np.ones_like}, "given"), ("generalised", {"h_prime": np.ones_like}, "not given"), ("implicit", {"h": np.ones_like}, "given"), ("implicit", {"h_prime": np.ones_like}, "not given"))
        ),
        (lambda: asymptotic_variance(two_modes(1), 0.5, "denoising"), "loss is 'denoising' with sigma = None"),
        (lambda: asymptotic_variance(two_modes(1), 0.5, "denoising", sigma=-1.0), "sigma is -1.0"),
        (lambda: asymptotic_variance(two_modes(1), 0.5, "denoising", sigma=1.0, noise="none"), "noise is 'none', expected 'drawn' or 'integrated'"),
        (lambda: asymptotic_variance(two_modes(1), 0.5, "denoising", sigma=1.0, derivatives=by_weight(1)), "derivatives have no effect on 'denoising'"),
        (lambda: asymptotic_variance(two_modes(1), 0.5, "sliced", n_probes=0), "n_probes is 0"),
        (lambda: asymptotic_variance(lambda t: ns.StudentT(1.0, t), 0.0, derivatives=lambda x: (x, x[:, None], 0 * x[:, None, None])), "a mean does not exist or is out of reach of quadrature: ."),
        (lambda: asymptotic_variance(two_modes(30), 0.5, "denoising", sigma=1.0, noise="integrated"), "is not settled by 361 points: half as many differ by"),
        (
            lambda: asymptotic_variance(
                lambda t: ns.Gaussian(t, np.eye(2)), np.zeros(2), "denoising", sigma=1.0, noise="integrated"
            ),
            "in 2 dimensions, expected 1",
        ),
    ],
)  # fmt: skip
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


def test_the_mean_of_a_gaussian_in_the_plane_by_every_loss():
    """n times the covariance is v I by the likelihood and the implicit loss, v (v + sigma^2) / sigma^2 I by denoising with one eps a row."""
    v, sigma = 1.5, 0.8
    family, theta = (lambda t: ns.Gaussian(t, v * np.eye(2))), np.array([0.3, -2.0])
    want = {"implicit": v, "likelihood": v, "denoising": v * (v + sigma**2) / sigma**2}
    for loss, size in want.items():
        found = asymptotic_variance(family, theta, loss, sigma=sigma if loss == "denoising" else None)
        np.testing.assert_allclose(found, size * np.eye(2), rtol=0, atol=1e-8)
    for size in (1e-6, 1e6):  # differences are relative to the parameter
        found = asymptotic_variance(lambda t: ns.Gaussian(0.0, t), size, "likelihood")
        assert found.item() == pytest.approx(2 * size**2, rel=1e-8)
    given = asymptotic_variance(lambda t: ns.Gaussian(0.0, t), 1.0, "likelihood", derivatives=lambda x: (x, None, None))
    assert given.item() == pytest.approx(1, rel=1e-9)  # those given are taken: differences of a variance would say 2
    one = asymptotic_variance(lambda t: ns.Gaussian(t[0], v), [0.3])  # a row of one is handed on as that
    np.testing.assert_allclose(one, [[v]], rtol=1e-9)


def test_a_weight_that_is_none_has_a_slope_of_its_own():
    """h = 1 on half-normal data: the slope x - 0 has a mean, and its covariance is 1 - 2/pi about that."""
    one, zero = (lambda x: np.ones_like(x)), (lambda x: np.zeros_like(x))
    found = asymptotic_variance(half_line_mean, 0.0, "generalised", h=one, h_prime=zero)
    assert found.item() == pytest.approx(1 - 2 / np.pi, rel=1e-9)


def test_what_is_left_out_and_what_is_asked_of_the_quadrature(monkeypatch):
    assert defaults(asymptotic_variance) == {
        "loss": "implicit", "noise": "drawn", "probe": "rademacher", "n_probes": 1, "variance_reduced": True, "breaks": (), "rtol": 1e-10,
    }  # fmt: skip
    asked, right = [], asymptotics.expectation
    monkeypatch.setattr(asymptotics, "expectation", lambda g, p, **o: (asked.append(o), right(g, p, **o))[1])
    h, h_prime = capped_weight(1.0)
    efficiency(half_line_mean, 0.0, "generalised", h=h, h_prime=h_prime, breaks=(1.0,), rtol=1e-7)
    assert asked == [{"breaks": (1.0,), "rtol": 1e-7}, {"breaks": (), "rtol": 1e-7}]
    with pytest.raises(TypeError, match=r"asymptotic_variance: family is 3, expected a function theta -> density"):
        asymptotic_variance(3, 0.5)


def cut_normal(a, b):
    """tau of the mean of N(t, 1) on (a, b): (phi(x) - phi(b) - (phi(a) - phi(b)) (Phi(b) - Phi(x)) / Z) / phi(x), from the nearer end."""

    def tau(x, t):
        N = stats.norm(t)
        Z = N.cdf(b) - N.cdf(a)
        right = N.pdf(x) - N.pdf(b) - (N.pdf(a) - N.pdf(b)) * (N.sf(x) - N.sf(b)) / Z
        left = N.pdf(x) - N.pdf(a) - (N.pdf(b) - N.pdf(a)) * (N.cdf(x) - N.cdf(a)) / Z
        return np.where(N.cdf(x) - N.cdf(a) > 0.5 * Z, right, left) / N.pdf(x)

    return tau


STEIN = {  # family, parameter, points, tau / d_theta s at them
    "normal": (lambda t: ns.Gaussian(t, 0.25), 0.7, np.array([-29.0, -10.0, -1.0, 0.7, 0.71, 3.0, 19.0, 30.0]), lambda x, t: 0.25 + 0 * x),
    "exponential": (lambda t: ns.Exponential(t), 2.0, np.array([0.0, 0.1, 0.25, 0.26, 0.5, 7.0, 100.0, (0.5 + 799.75) / 2]), lambda x, t: x / t),
    "gamma": (lambda t: ns.Gamma(3.0, t), 2.0, np.array([0.01, 0.5, 1.4, 1.5, 1.6, 9.0, 100.0]), lambda x, t: x / t),
    "half line": (half_line_mean, 0.3, np.array([0.0, 0.2, 0.5, 1.5, 4.0, 6.0]), cut_normal(0.0, np.inf)),
    "left half line": (lambda t: ns.TruncatedGaussian(t, 1.0, -np.inf, 0.0), 0.3, -np.array([0.0, 0.2, 0.5, 1.5, 4.0]), cut_normal(-np.inf, 0.0)),
    "interval": (lambda t: ns.TruncatedGaussian(t, 1.0, -1.0, 2.0), 0.3, np.array([-1.0, -0.5, 0.3, 0.35, 1.0, 1.99, 2.0]), cut_normal(-1.0, 2.0)),
    "narrow interval": (lambda t: ns.TruncatedGaussian(t, 1.0, 0.5, 0.75), 0.3, np.array([0.5, 0.51, 0.6, 0.625, 0.7, 0.75]), cut_normal(0.5, 0.75)),
    "off centre": (lambda t: ns.TruncatedGaussian(t, 1.0, 1.0, 3.0), 0.3, np.array([1.0, 1.1, 1.5, 2.9, 3.0]), cut_normal(1.0, 3.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEIN)
def test_the_stein_weight_in_closed_form(name):
    """At the ends, in the middle where the two tails meet, far out, and beyond the last panel; h' by a difference of h, where h is smooth."""
    family, theta, x, want = STEIN[name]
    h, h_prime = stein_weight(family, theta)
    truth = np.asarray(want(x, theta), float)
    np.testing.assert_allclose(h(x[:, None])[:, 0], truth, rtol=1e-8, atol=1e-10 * np.abs(truth).max())
    low, high = family(theta).support[0]
    y, e = x[(x > low + 1e-3) & (x < high - 1e-3) & (np.abs(x) < 50)], 1e-5
    slope = (want(y + e, theta) - want(y - e, theta)) / (2 * e)
    np.testing.assert_allclose(h_prime(y[:, None])[:, 0], slope, rtol=0, atol=1e-6 * (1 + np.abs(slope).max()))


def test_the_stein_weight_of_a_tail_that_falls_like_a_power():
    """The location of a t with 5 degrees of freedom, by SciPy's quadrature; where its score's slope changes sign there is no weight: not asked."""
    t, x = stats.t(5), np.array([-1.5, -0.7, 0.0, 0.7, 1.5])
    push = lambda y: 6 * y / (5 + y**2)  # d log p / d loc at loc = 0
    tau = [integrate.quad(lambda y: push(y) * t.pdf(y), a, np.inf, epsabs=0, epsrel=1e-12)[0] / t.pdf(a) for a in x]
    slope = 6 * (5 - x**2) / (5 + x**2) ** 2
    h, _ = stein_weight(lambda loc: ns.StudentT(5.0, loc), 0.0)
    np.testing.assert_allclose(h(x[:, None])[:, 0], tau / slope, rtol=1e-8)


def test_where_nothing_is_to_be_learned_the_stein_weight_is_0():
    """Two modes at +-4: 60 away from either d_theta s is 1e-207, and its inverse is not taken."""
    h, h_prime = stein_weight(two_modes(4), 0.5, derivatives=by_weight(4))
    x = np.array([[-60.0], [0.0], [60.0]])
    assert h(x)[[0, 2], 0].tolist() == h_prime(x)[[0, 2], 0].tolist() == [0, 0] and h(x)[1, 0] > 0
