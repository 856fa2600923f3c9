"""`check_density`: what integrates to 1 passes wherever it lives, and the constant that is missing elsewhere is named."""

import numpy as np
import pytest
from nightly import mostly
from scipy import special, stats

import numpyscore as ns
from numpyscore import check_density
from numpyscore.check.density import find
from numpyscore.cli import main
from numpyscore.testing import assert_density


def normal(dim, sigma=1.5, mean=0.0, two_pi=None, of_sigma=None):
    """log N(mean, sigma^2 I), with the exponents of 2 pi (halved) and sigma in its normaliser."""
    a, b = (dim if e is None else e for e in (two_pi, of_sigma))
    return lambda x: -0.5 * np.sum((x - mean) ** 2, axis=1) / sigma**2 - 0.5 * a * np.log(2 * np.pi) - b * np.log(sigma)


def two_modes(two_pi, weights=(0.2, 0.8)):
    """Modes at -5 and 5 in two dimensions, as in ncsn's toy problem."""

    def logpdf(x):
        parts = [np.log(w) - 0.5 * np.sum((x - m) ** 2, axis=1) for w, m in zip(weights, (-5, 5), strict=True)]
        return np.logaddexp(*parts) - 0.5 * two_pi * np.log(2 * np.pi)

    return logpdf


def of_normal(g):
    """E g(u) for u normal, by the trapezoid rule on [-12, 12], right to 1e-15 for what is smooth."""
    u = np.linspace(-12, 12, 2001)
    return float(np.sum(g(u) * np.exp(-(u**2) / 2)) * 0.012 / np.sqrt(2 * np.pi))


WRONG = {  # logpdf, options, integral, words
    "ncsn's mixture, 2 pi without d": (two_modes(1), {"dim": 2}, np.sqrt(2 * np.pi), "normaliser without d: p integrates to sqrt(2 pi)"),
    "the same, with samples": (two_modes(1), {"x": ns.song_ermon_mixture(200, rng=0)}, np.sqrt(2 * np.pi), "sqrt(2 pi): its normaliser is sqrt(2 pi) where (2 pi) belongs; the dimension"),
    "sigma without d": (normal(3, of_sigma=1), {"dim": 3}, 1.5**2, "normaliser without d: p integrates to sigma^2"),
    "both without d": (normal(2, two_pi=1, of_sigma=1), {"dim": 2}, 1.5 * np.sqrt(2 * np.pi), "sqrt(2 pi) sigma where (2 pi) sigma^2 belongs"),
    "far, narrow, and without d": (normal(2, 1e-3, 1e4, two_pi=1), {"dim": 2}, np.sqrt(2 * np.pi), "normaliser without d"),
    "no normaliser": (normal(2, two_pi=0, of_sigma=0), {"dim": 2}, 2 * np.pi * 2.25, "no normaliser: p integrates to (2 pi) sigma^2"),
    "sigma forgotten": (normal(1, of_sigma=0), {"dim": 1}, 1.5, "its normaliser is sqrt(2 pi) where sqrt(2 pi) sigma belongs"),
    "variance for sigma": (normal(2, of_sigma=4), {"dim": 2}, 1 / 2.25, "p integrates to 1/sigma^2"),
    "normaliser with the wrong sign": (normal(2, two_pi=-2, of_sigma=-2), {"dim": 2}, (2 * np.pi * 2.25) ** 2, "sign of the normaliser"),
    "a whole determinant for its root": (normal(2, of_sigma=4), {"dim": 2}, 1 / 2.25, "or -- determinant: p integrates to 1/sigma^2: all of log det of the covariance"),
    "no sigma at all": (normal(2, of_sigma=0), {"dim": 2}, 2.25, "normaliser: p integrates to sigma^2: its normaliser is (2 pi) where (2 pi) sigma^2 belongs -- or -- determinant: p integrates to sigma^2: a log determinant is missing"),
    "no sigma in one dimension": (normal(1, of_sigma=0), {"dim": 1}, 1.5, "normaliser: p integrates to sigma: its normaliser is sqrt(2 pi) where sqrt(2 pi) sigma belongs"),
    "weights that sum to two": (two_modes(2, (1.0, 1.0)), {"dim": 2}, 2.0, "weights: p integrates to 2"),
    "half a normal": (normal(1), {"support": [[0, np.inf]]}, 0.5, "half of it"),
    "a quarter": (normal(2), {"support": [[0, np.inf], [-np.inf, 0]]}, 0.25, "2 half-lines"),
    "mean over dimensions": (lambda x: normal(2)(x) / 2, {"dim": 2}, 3 * np.sqrt(2 * np.pi), "power of p: 2 log p is normalised"),
    "exponential without its rate": (lambda x: -2.5 * x[:, 0], {"support": [[0, np.inf]]}, 0.4, "no normaliser: log p is 0 at its maximum"),
    "exponential of rate 2 without it": (lambda x: -2 * x[:, 0], {"support": [[0, np.inf]]}, 0.5, "no normaliser: log p is 0 at its maximum"),
    "uniform without its length": (lambda x: 0 * x[:, 0], {"support": [[0, 2]]}, 2.0, "no normaliser: log p is 0 at its maximum"),
    "log p doubled": (lambda x: 2 * normal(1, 1.0)(x), {"dim": 1}, 0.5 / np.sqrt(np.pi), "power of p: 1/2 log p is normalised, so log p is doubled"),
    "log p halved": (lambda x: normal(1, 1.0)(x) / 2, {"dim": 1}, 2 * (2 * np.pi) ** 0.25 / np.sqrt(2), "power of p: 2 log p is normalised, so log p is halved"),
    "sqrt(2 pi) for its logarithm": (lambda x: -0.5 * np.sum(x**2, axis=1) - 2 * np.sqrt(2 * np.pi), {"dim": 2}, 2 * np.pi * np.exp(-2 * np.sqrt(2 * np.pi)), "logarithm of the normaliser"),
    "root of a determinant": (normal(2, of_sigma=1), {"dim": 2}, 1.5, "or -- determinant: p integrates to sigma"),
    "no plain fraction": (lambda x: normal(1)(x) + np.log(5 / 21), {"x": np.linspace(-3, 3, 50)[:, None]}, 5 / 21, "unnormalised: p integrates to 5/21"),
    "cut to an interval": (normal(1, 1.0), {"support": [[-1, 2]]}, 0.8185946141203637, "mass of the support: p integrates to 1 over the whole line"),
    "log x is normal": (lambda x: normal(1, 1.0)(np.log(x)), {"support": [[0, np.inf]]}, np.exp(0.5), "change of variables: p integrates to 1 only when it is multiplied by 1/x"),
    "logit x is normal": (lambda x: normal(1, 1.0)(np.log((x - 1) / (4 - x))), {"support": [[1, 4]]}, 3 * of_normal(lambda u: 0.25 / np.cosh(u / 2) ** 2), "the Jacobian of the logit"),
    "artanh x is normal": (lambda x: normal(1, 1.0)(np.arctanh(x)), {"support": [[-1, 1]]}, of_normal(lambda u: 1 / np.cosh(u) ** 2), "the Jacobian of artanh x"),
    "three too large": (lambda x: normal(1, 1.0)(x) + 3, {"dim": 1}, np.exp(3.0), "factor e^3: p integrates to 20.0855 = exp(3), so log p is 3 too large"),
    "a scale for a rate": (lambda x: 2 * np.log(x[:, 0]) - x[:, 0] / 1.5 - np.log(2) + 3 * np.log(1.5), {"support": [[0, np.inf]]}, 1.5**6, "power of a parameter: p integrates to 729/64 = (3/2)^6"),
    "some constant": (lambda x: normal(2)(x) + np.log(7.3), {"dim": 2}, 7.3, "unnormalised"),
    "less than 1, points given": (lambda x: normal(1)(x) - np.log(3), {"x": np.linspace(-3, 3, 50)[:, None]}, 1 / 3, "weights or a factor: p integrates to 1/3"),
}  # fmt: skip


# Nightly: what another case measures by the same integrals and names by the same words.
@pytest.mark.parametrize(
    "name",
    mostly(
        WRONG,
        "ncsn's mixture, 2 pi without d",
        "both without d",
        "far, narrow, and without d",
        "no normaliser",
        "sigma forgotten",
        "normaliser with the wrong sign",
        "weights that sum to two",
        "half a normal",
        "exponential of rate 2 without it",
        "uniform without its length",
        "log p doubled",
        "log p halved",
        "sqrt(2 pi) for its logarithm",
        "root of a determinant",
        "no plain fraction",
        "some constant",
        "less than 1, points given",
    ),
)
def test_missing_constants_are_measured_and_named(name):
    logpdf, options, integral, words = WRONG[name]
    report = check_density(logpdf, **options)
    assert report.verdict == "FAIL" and words in report.diagnosis, report
    assert report.diagnosis.startswith(words) or not words.startswith("normaliser:"), report
    assert abs(report.details["integral"] / integral - 1) <= max(report.details["bound"], 1e-12), report
    assert "score" in report.diagnosis or "unnormalised" not in report.diagnosis


RIGHT = {
    "far and narrow": (normal(2, 1e-3, 1e4), {"dim": 2}),
    "two modes": (two_modes(2), {"dim": 2}),
    "correlated": (ns.Gaussian([3.0, -1.0], [[1.0, 0.99], [0.99, 1.0]]), {}),
    "Cauchy": (lambda x: -np.log(np.pi * (1 + x[:, 0] ** 2)), {"dim": 1}),
    "Student": (ns.StudentT(3.0, [0.0, 1.0], np.eye(2)), {}),
    "logistic": (ns.Logistic([0.0, 1.0, 2.0], [1.0, 2.0, 3.0]), {}),
    "exponential": (ns.Exponential([2.0, 0.1]), {}),
    "half-normal": (ns.HalfNormal([1.0, 20.0]), {}),
    "uniform": (ns.Uniform([0.0, 1.0], [1.0, 3.0]), {}),
    "banana": (ns.Banana(), {}),
    "of SciPy, a number for a single row": (stats.multivariate_normal([0.0, 1.0], np.diag([1.0, 2.0])).logpdf, {"dim": 2}),
    "ring": (ns.Ring(), {}),
    "a wide and a narrow mode": (ns.GaussianMixture([0.3, 0.7], [[0.0, 0.0], [1.0, 3.0]], np.stack([np.eye(2), 1e-4 * np.eye(2)])), {}),
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    mostly(
        RIGHT,
        "far and narrow",
        "two modes",
        "correlated",
        "Cauchy",
        "half-normal",
        "uniform",
        "of SciPy, a number for a single row",
        "ring",
    ),
)
def test_what_integrates_to_one_passes_wherever_it_lives(name):
    density, options = RIGHT[name]
    report = check_density(density, **options)
    assert report and report.resolution < 1e-3, report


def test_kinks_cost_resolution_not_truth():
    report = check_density(ns.Laplace([0.5], [0.3]))
    assert report, report


def alarms(count, seed, shift=0.0, dims=(1, 1, 2, 2, 3)):
    """Verdicts other than PASS on random right densities, their log p raised by `shift`."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        d, K = int(rng.choice(dims)), int(rng.integers(1, 4))
        size = 10.0 ** rng.uniform(-4, 4)
        means = 10.0 ** rng.uniform(-1, 2) * size * rng.standard_normal(d) + size * rng.uniform(
            0, 6
        ) * rng.standard_normal((K, d))
        A = rng.standard_normal((K, d, d))
        covs = size**2 * (A @ A.transpose(0, 2, 1) + 0.1 * np.eye(d))
        density = ns.GaussianMixture(np.full(K, 1 / K), means, covs)
        if K == 1 and rng.random() < 0.5:
            density = ns.StudentT(float(rng.uniform(1.5, 8)), means[0], covs[0])
        options = {"x": density.sample(300, rng=1)} if rng.random() < 0.5 else {"dim": d}
        report = check_density(lambda x, of=density: of.logpdf(x) + shift, **options)
        if report.verdict != "PASS":
            found.append((report.verdict, str(density), str(report)))
    return found


def test_no_false_alarm_on_random_densities():
    found = alarms(4, 0, dims=(1, 2))
    assert not [f for f in found if f[0] == "FAIL"] and len(found) <= 1, found


def test_a_constant_of_one_part_in_a_million_is_no_one():
    found = alarms(3, 1, shift=1e-6, dims=(1, 2))
    assert [f[0] for f in found] == ["FAIL"] * 3, found


@pytest.mark.nightly
def test_no_false_alarm_on_many_random_densities():
    found = alarms(300, 2)
    assert not [f for f in found if f[0] == "FAIL"] and len(found) <= 60, found


def test_mass_below_one_is_no_accusation_where_a_part_may_be_unseen():
    report = check_density(lambda x: normal(2)(x) - np.log(3), dim=2)
    assert report.verdict == "INCONCLUSIVE" and "x=" in report.diagnosis, report
    narrow = ns.GaussianMixture([0.3, 0.7], [[0.0, 0.0], [40.0, 3.0]], np.stack([np.eye(2), 1e-6 * np.eye(2)]))
    assert check_density(narrow.logpdf, dim=2).verdict != "FAIL"


def test_a_density_that_cannot_be_asked_outside_its_support_is_not_named_by_what_it_is_there():
    def refuses(x):
        if np.any((x < -1) | (x > 2)):
            raise RuntimeError("outside")
        return normal(1, 1.0)(x)

    report = check_density(refuses, support=[[-1, 2]])
    assert report.verdict == "FAIL" and report.name == "unnormalised" and "0.818595" in report.diagnosis, report


def test_what_has_no_integral_or_no_number_is_said():
    bounded = check_density(lambda x: np.tanh(x).sum(1), dim=2)
    assert bounded.verdict == "FAIL" and bounded.name == "no density", bounded
    energy = check_density(lambda x: 0.5 * np.sum(x**2, axis=1), dim=2)
    assert energy.verdict == "FAIL" and energy.name == "sign of log p", energy
    squashed = lambda x: np.sum(-0.5 * np.arctanh(x) ** 2 - np.log1p(-(x**2)) - 0.5 * np.log(2 * np.pi), axis=1)
    assert check_density(squashed, support=[[-1, 1]])  # NaN at the ends was an accusation
    slow = check_density(lambda x: -0.9 * np.log1p(x[:, 0] ** 2) / 2, dim=1)
    assert slow.verdict == "FAIL" and slow.name == "no density", slow
    undefined = check_density(lambda x: np.log(x[:, 0]), dim=1)
    assert undefined.verdict == "FAIL" and undefined.name == "not finite", undefined
    cut = check_density(lambda x: np.where(x[:, 0] < 0, -np.inf, normal(1)(x)), dim=1)
    assert cut.verdict == "INCONCLUSIVE" and "support=" in cut.diagnosis, cut


class OfAnObject:
    """A density with what people write: log p, its dimension, and perhaps draws."""

    dim = 2

    def logpdf(self, x):
        return normal(2)(x - 300)


class WithDraws(OfAnObject):
    def sample(self, n, rng):
        return 300 + 1.5 * np.random.default_rng(rng).standard_normal((n, 2))


def test_points_may_stand_at_the_ends_of_the_support_and_see_one_of_two_parts():
    flat = check_density(lambda x: 0 * x[:, 0] - np.log(2), support=[[0, 2]], x=np.array([[0.0], [1.0], [2.0]]))
    assert flat, flat
    parts = lambda x: np.logaddexp(normal(1, 1e-5)(x), normal(1, 1e-5, 3e-4)(x)) - np.log(2)
    seen = check_density(parts, x=1e-5 * np.random.default_rng(0).standard_normal((60, 1)))
    assert seen, seen  # the other part is thirty standard deviations away


def test_density_objects_are_read_and_their_draws_used():
    assert check_density(WithDraws()) and check_density(OfAnObject())
    assert check_density(lambda x: normal(1)(x)[:, None], dim=1)  # a column
    assert check_density(lambda x: normal(1)(x) + 1e-4, dim=1, rtol=1e-3)


def test_a_density_that_is_nowhere_to_be_found_or_infinite_is_said():
    nowhere = check_density(lambda x: np.full(len(x), -np.inf), dim=1)
    assert nowhere.verdict == "INCONCLUSIVE" and nowhere.name == "not found", nowhere
    infinite = check_density(lambda x: np.where(x[:, 0] == 0, np.inf, normal(1)(x)), x=np.array([[0.0], [1], [2]]))
    assert infinite.verdict == "FAIL" and "logpdf is inf at x = [0.0]" in infinite.diagnosis, infinite


@pytest.mark.parametrize("d", mostly((1, 2), 1))
def test_single_precision_is_no_mistake(d):
    single = lambda x: normal(d)(x.astype(np.float32)).astype(np.float32)
    report = check_density(single, dim=d)
    assert report.verdict != "FAIL", report


@pytest.mark.parametrize("seeds", mostly((2, 4), 2))
def test_importance_sampling_covers_its_truth(seeds):
    """|log mass| <= 5 standard errors: an independent second opinion, whose error bar is its own."""
    density = ns.GaussianMixture([0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]], np.stack([np.eye(2)] * 2))
    for seed in range(seeds):
        found = find(density.logpdf, np.array([[-np.inf, np.inf]] * 2), None, np.random.default_rng(seed))
        assert abs(found.log_mass) <= 5 * found.error < 0.1 and len(found.means) == 2


@pytest.mark.parametrize(
    "options, words",
    [({}, "dim="), ({"dim": 4}, "1, 2 or 3"), ({"dim": 2, "support": [[0, 1]]}, "support"), ({"x": np.zeros(3)}, "x"), ({"x": -np.ones((3, 1)), "support": [[0, 1]]}, "outside")],
)  # fmt: skip
def test_misuse_is_an_error_that_names_the_check(options, words):
    with pytest.raises(ValueError, match="check_density") as error:
        check_density(normal(2), **options)
    assert words in str(error.value)


def test_the_assertion_and_the_command(tmp_path, capsys):
    assert assert_density(normal(1), dim=1)
    with pytest.raises(AssertionError, match="normaliser"):
        assert_density(normal(2, two_pi=1), dim=2)
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "right = lambda x: -0.5 * (x**2).sum(1) - x.shape[1] / 2 * np.log(2 * np.pi)\n"
        "wrong = lambda x: -0.5 * (x**2).sum(1) - 0.5 * np.log(2 * np.pi)\n"
        "half = lambda x: -x.sum(1)\n"
    )
    run = lambda line: (main(["check", *line.split()]), capsys.readouterr().out)
    code, out = run(f"{tmp_path}/mine.py:right --density --dim 1")
    assert code == 0 and "check_density PASS" in out
    code, out = run(f"{tmp_path}/mine.py:wrong --density --dim 2")
    assert code == 1 and "normaliser without d" in out
    code, out = run(f"{tmp_path}/mine.py:half --density --support 0:inf,0:inf")
    assert code == 0, out
    bad = (
        "--density",
        "--density --dim 9",
        "--density --support 0",
        "--density --support 1:0",
        "--support 0:1 --dim 1",
    )
    for line in bad:
        assert main(["check", f"{tmp_path}/mine.py:right", *line.split()]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1, err


@pytest.mark.parametrize("dim", [1, 2])
def test_p_given_for_log_p_is_named_and_a_bounded_energy_is_not(dim):
    p = lambda x: np.exp(-0.5 * (x**2).sum(1)) / (2 * np.pi) ** (x.shape[1] / 2)
    assert ns.check_density(p, dim=dim).name == "p for log p"
    assert ns.check_density(lambda x: -p(x), dim=dim).name == "no density"  # control: negative, as no p is
    assert ns.check_density(lambda x: 1 + p(x), dim=dim).name == "no density"


def gamma_density(x, a=2.0, rate=3.0):
    return (a - 1) * np.log(x[:, 0]) - rate * x[:, 0] - special.gammaln(a)


def student(x, nu=5.0, s=1.3):
    return -(nu + 2) / 2 * np.log1p(np.sum(x**2, axis=1) / (nu * s**2)) - 2 * np.log(s)


SCORES = lambda x: special.ndtri(np.clip(x, 1e-12, 1 - 1e-12))
KERNELS = lambda x: special.logsumexp(
    -np.sum((x[:, None] - np.linspace(-2, 2, 20)[:, None]) ** 2, axis=2) / 0.32, axis=1
)
OF_FAMILIES = {  # logpdf, options, words
    "a rate taken for a scale": (lambda x: gamma_density(x) - 2 * np.log(3), {"support": [[0, np.inf]]}, "Gamma density x^(a-1) exp(-rate x): p integrates to 1/(rate^a)^2"),
    "the t of one dimension in the plane": (lambda x: student(x) + special.gammaln(3) - special.gammaln(2.5) - 0.5 * np.log(5 * np.pi), {"dim": 2}, "normaliser of a Student t"),
    "a kernel density divided by h, not by h^2": (lambda x: KERNELS(x) - np.log(20 * 2 * np.pi * 0.4), {"dim": 2}, "normaliser without d: p integrates to h"),
    "log2 in the normaliser": (lambda x: -0.5 * x[:, 0] ** 2 / 0.64 - 0.5 * np.log2(2 * np.pi * 0.64), {"dim": 1}, "base of the logarithm"),
    "a copula with its marginals": (lambda x: -0.5 * np.log(0.64) - 0.5 * np.sum(SCORES(x) * (SCORES(x) @ np.array([[1, -0.6], [-0.6, 1]])), axis=1) / 0.64, {"support": [[0, 1]] * 2}, "the normal scores"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_FAMILIES)
def test_what_a_normaliser_is_made_of_is_seen_in_the_shape_of_log_p(name):
    logpdf, options, words = OF_FAMILIES[name]
    report = check_density(logpdf, **options)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_a_density_that_is_infinite_in_corners_passes():
    A = np.array([[0.16, 0.4], [0.4, 0.16]]) / 0.84  # R^-1 - I of correlation -0.4
    copula = lambda x: -0.5 * np.log(0.84) - 0.5 * np.sum(SCORES(x) * (SCORES(x) @ A), axis=1)
    assert check_density(copula, support=[[0, 1]] * 2)


def test_a_mixture_is_looked_at_part_by_part():
    weights, means, sigmas = np.array([0.3, 0.7]), np.array([-1.5, 1.0]), np.array([0.6, 0.8])
    parts = lambda x, of_sigma=1: (
        -0.5 * ((x - means) / sigmas) ** 2 - of_sigma * np.log(sigmas) - 0.5 * np.log(2 * np.pi)
    )
    name = lambda logs: check_density(lambda x: special.logsumexp(logs(x), axis=1), dim=1).name
    assert name(lambda x: np.log(weights) + parts(x)) == ""
    assert name(lambda x: weights + parts(x)) == "weights without their logarithm"
    assert (
        name(lambda x: np.log(weights) + parts(x, 0))
        == name(lambda x: np.log(weights) + parts(x, 2))
        == "normaliser of the parts"
    )
    assert name(lambda x: np.log(weights + [0.1, 0.2]) + parts(x)) not in (
        "weights without their logarithm",
        "normaliser of the parts",
    )
