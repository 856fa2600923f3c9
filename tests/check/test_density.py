"""`check_density`: what integrates to 1 passes wherever it lives, and the constant that is missing elsewhere is named."""

from types import SimpleNamespace

import numpy as np
import pytest
from nightly import mostly
from scipy import special, stats
from wording import check_density

import numpyscore as ns
from numpyscore.check import density as parts
from numpyscore.check import normaliser
from numpyscore.check.density import find
from numpyscore.cli import main
from numpyscore.numerics.quadrature import Frame
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
    "the same, with samples": (two_modes(1), {"x": ns.song_ermon_mixture(200, rng=0)}, np.sqrt(2 * np.pi), "sqrt(2 pi): beside its exponent the normaliser is sqrt(2 pi) where (2 pi) belongs (or the exponent is wrong, a 1/2, a variance for a precision?); the dimension"),
    "sigma without d": (normal(3, of_sigma=1), {"dim": 3}, 1.5**2, "normaliser without d: p integrates to sigma^2"),
    "both without d": (normal(2, two_pi=1, of_sigma=1), {"dim": 2}, 1.5 * np.sqrt(2 * np.pi), "sqrt(2 pi) sigma where (2 pi) sigma^2 belongs"),
    "far, narrow, and without d": (normal(2, 1e-3, 1e4, two_pi=1), {"dim": 2}, np.sqrt(2 * np.pi), "normaliser without d"),
    "no normaliser": (normal(2, two_pi=0, of_sigma=0), {"dim": 2}, 2 * np.pi * 2.25, "no normaliser: p integrates to (2 pi) sigma^2"),
    "sigma forgotten": (normal(1, of_sigma=0), {"dim": 1}, 1.5, "beside its exponent the normaliser is sqrt(2 pi) where sqrt(2 pi) sigma belongs (or the exponent is wrong, a 1/2, a variance for a precision?)"),
    "variance for sigma": (normal(2, of_sigma=4), {"dim": 2}, 1 / 2.25, "p integrates to 1/sigma^2"),
    "normaliser with the wrong sign": (normal(2, two_pi=-2, of_sigma=-2), {"dim": 2}, (2 * np.pi * 2.25) ** 2, "sign of the normaliser"),
    "a whole determinant for its root": (normal(2, of_sigma=4), {"dim": 2}, 1 / 2.25, "or -- determinant: p integrates to 1/sigma^2: is all of log det of the covariance"),
    "no sigma at all": (normal(2, of_sigma=0), {"dim": 2}, 2.25, "normaliser: p integrates to sigma^2: beside its exponent the normaliser is (2 pi) where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?) -- or -- determinant: p integrates to sigma^2: is a log determinant missing?"),
    "no sigma in one dimension": (normal(1, of_sigma=0), {"dim": 1}, 1.5, "normaliser: p integrates to sigma: beside its exponent the normaliser is sqrt(2 pi) where sqrt(2 pi) sigma belongs (or the exponent is wrong, a 1/2, a variance for a precision?)"),
    "weights that sum to two": (two_modes(2, (1.0, 1.0)), {"dim": 2}, 2.0, "weights: p integrates to 2"),
    "half a normal": (normal(1), {"support": [[0, np.inf]]}, 0.5, "half of it"),
    "a quarter": (normal(2), {"support": [[0, np.inf], [-np.inf, 0]]}, 0.25, "2 half-lines"),
    "mean over dimensions": (lambda x: normal(2)(x) / 2, {"dim": 2}, 3 * np.sqrt(2 * np.pi), "power of p: 2 log p is normalised"),
    "exponential without its rate": (lambda x: -2.5 * x[:, 0], {"support": [[0, np.inf]]}, 0.4, "no normaliser: log p is 0 at its maximum"),
    "exponential of rate 2 without it": (lambda x: -2 * x[:, 0], {"support": [[0, np.inf]]}, 0.5, "no normaliser: log p is 0 at its maximum"),
    "uniform without its length": (lambda x: 0 * x[:, 0], {"support": [[0, 2]]}, 2.0, "no normaliser: log p is 0 at its maximum"),
    "log p doubled": (lambda x: 2 * normal(1, 1.0)(x), {"dim": 1}, 0.5 / np.sqrt(np.pi), "power of p: 1/2 log p is normalised (log p is doubled?)"),
    "log p halved": (lambda x: normal(1, 1.0)(x) / 2, {"dim": 1}, 2 * (2 * np.pi) ** 0.25 / np.sqrt(2), "power of p: 2 log p is normalised (log p is halved, or at a temperature?)"),
    "sqrt(2 pi) for its logarithm": (lambda x: -0.5 * np.sum(x**2, axis=1) - 2 * np.sqrt(2 * np.pi), {"dim": 2}, 2 * np.pi * np.exp(-2 * np.sqrt(2 * np.pi)), "logarithm of the normaliser"),
    "root of a determinant": (normal(2, of_sigma=1), {"dim": 2}, 1.5, "or -- determinant: p integrates to sigma"),
    "no plain fraction": (lambda x: normal(1)(x) + np.log(5 / 21), {"x": np.linspace(-3, 3, 50)[:, None]}, 5 / 21, "unnormalised: the integral of p is 5/21"),
    "cut to an interval": (normal(1, 1.0), {"support": [[-1, 2]]}, 0.8185946141203637, "mass of the support: p, its formula continued, integrates to 1 over the whole line"),
    "log x is normal": (lambda x: normal(1, 1.0)(np.log(x)), {"support": [[0, np.inf]]}, np.exp(0.5), "change of variables: p integrates to 1 when it is multiplied by 1/x (the Jacobian of log x, or an exponent that is off by one?)"),
    "logit x is normal": (lambda x: normal(1, 1.0)(np.log((x - 1) / (4 - x))), {"support": [[1, 4]]}, 3 * of_normal(lambda u: 0.25 / np.cosh(u / 2) ** 2), "the Jacobian of the logit"),
    "artanh x is normal": (lambda x: normal(1, 1.0)(np.arctanh(x)), {"support": [[-1, 1]]}, of_normal(lambda u: 1 / np.cosh(u) ** 2), "the Jacobian of artanh x"),
    "three too large": (lambda x: normal(1, 1.0)(x) + 3, {"dim": 1}, np.exp(3.0), "factor e^3: p integrates to 20.0855 = exp(3), so log p is 3 too large"),
    "a scale for a rate": (lambda x: 2 * np.log(x[:, 0]) - x[:, 0] / 1.5 - np.log(2) + 3 * np.log(1.5), {"support": [[0, np.inf]]}, 1.5**6, "normaliser of a Gamma density x^(a-1) exp(-rate x): p integrates to 11.3906 (1/(rate^a)^2?)"),
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
    def refuses(x, logp):
        if np.any((x < -1) | (x > 2)):
            raise RuntimeError("outside")
        return logp(x)

    logistic = lambda x: -x[:, 0] - 2 * np.log1p(np.exp(-x[:, 0]))
    report = check_density(lambda x: refuses(x, logistic), support=[[-1, 2]])
    assert report.verdict == "FAIL" and report.name == "unnormalised" and "0.611856" in report.diagnosis, report
    report = check_density(lambda x: refuses(x, normal(1, 1.0)), support=[[-1, 2]])  # what a normal is there is known
    assert report.name == "mass of the support" and "0.8185946" in report.pattern, report


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


# ------------------------------------------------------------------------------- what comes in


def test_dimension_support_and_points_are_taken_from_an_object_where_they_are_not_given():
    thing = SimpleNamespace(logpdf=None, dim=2, support=[[0, 1], [0, 1]], sample=lambda n, rng: (n, rng))
    assert parts._of_object(thing, None, None, None) == (2, (400, 0), [[0, 1], [0, 1]])
    assert parts._of_object(thing, 1, "x", "support") == (1, "x", "support")
    assert parts._of_object(SimpleNamespace(logpdf=None), None, None, None) == (None, None, None)
    assert parts._of_object(SimpleNamespace(dim=3, sample=None), None, None, None) == (None, None, None)  # a function


def test_the_dimension_is_that_of_the_points_then_the_one_given_then_that_of_the_support():
    infinite = [-np.inf, np.inf]
    assert parts._support("c", 1, np.zeros((4, 3)), None).tolist() == [infinite] * 3
    assert parts._support("c", 2, None, None).tolist() == [infinite] * 2
    assert parts._support("c", None, None, [[0, 1], [2, np.inf]]).tolist() == [[0, 1], [2, np.inf]]
    for dim, x, support, words in (
        (None, None, None, "c: the dimension is not known; give dim=, x= or support=."),
        (4, None, None, "c: the dimension is 4, expected 1, 2 or 3: quadrature reaches no further."),
        (None, None, [[0, 0]], r"c: support is \[\[0.0, 0.0\]\], expected \(1, 2\), lower and upper end"),
        (None, np.array([[1.1]]), [[0, 1]], r"c: some rows of x lie outside the support \[\[0.0, 1.0\]\]"),
        (None, np.array([[-0.1]]), [[0, 1]], "outside the support"),
    ):
        with pytest.raises(ValueError, match=words):
            parts._support("c", dim, x, support)
    assert parts._support("c", None, np.array([[0.0], [1.0]]), [[0, 1]]).tolist() == [[0, 1]]


def test_log_p_is_asked_within_the_support_alone_and_its_bad_numbers_are_kept():
    asked = []

    def logp(x):
        asked.append(x.copy())
        return np.where(x[:, 0] == 2, np.nan, np.where(x[:, 0] == 3, np.inf, np.where(x[:, 0] == 4, -np.inf, -x[:, 0])))

    masked = parts._Masked("c", logp, None, None, np.array([[0.0, 5.0], [-np.inf, np.inf]]))
    points = np.array([[0.0, 1], [1, 1], [5, 1], [6, 1], [4.5, np.inf], [np.nan, 1]])
    assert masked(points).tolist() == [-np.inf, -1, -np.inf, -np.inf, -np.inf, -np.inf]
    assert asked[-1].tolist() == [[1, 1]] and masked.bad == [] and not masked.zero
    assert masked(points[:1]).tolist() == [-np.inf] and len(asked) == 1  # nothing to ask
    assert masked(np.array([[4.0, 0]])).tolist() == [-np.inf] and masked.zero and masked.bad == []
    assert masked(np.array([[1.0, 0], [3, 0], [2, 0]])).tolist() == [-1, -np.inf, -np.inf]
    masked(np.array([[2.0, 7]]))
    (places, values), (place, value) = masked.bad
    assert places.tolist() == [[3, 0], [2, 0]] and values[0] == np.inf and np.isnan(values[1]) and masked.zero
    assert place.tolist() == [[2, 7]] and np.isnan(value[0])


def test_a_nan_far_out_is_a_remark_and_one_where_p_is_a_fault():
    beyond = lambda r, value=np.nan: lambda x: np.where(np.abs(x[:, 0]) > r, value, normal(1, 1.0)(x))
    report = check_density(beyond(30.0), dim=1)
    assert report and "logpdf is nan at x" in report.notes[-1] and "taken for 0 there" in report.notes[-1], report
    for logp in (
        beyond(3.0),
        beyond(30.0, np.inf),
        lambda x: np.where(np.abs(x[:, 0]) < 0.5, np.nan, normal(1, 1.0)(x)),
    ):
        report = check_density(logp, dim=1)
        assert report.verdict == "FAIL" and report.name == "not finite", report
    twice = check_density(lambda x: beyond(30.0)(x) + np.log(2), dim=1)
    assert twice.verdict == "FAIL" and twice.name == "weights" and "nan" in twice.notes[-1], twice


def test_a_nan_is_near_within_twenty_units_of_the_frame_and_infinity_wherever_it_is():
    function = SimpleNamespace(bad=[(np.array([[41.0], [45.0]]), np.array([np.nan, np.nan]))])
    frame = parts.Frame(np.array([1.0]), np.array([[2.0]]))
    said = lambda: parts._not_finite(function, frame, parts.WITHIN)
    assert said().startswith("not finite: logpdf is nan at x = [41.0];")
    function.bad[0][0][0] = 41.1
    assert said() == "" and "[41.1]" in parts._not_finite(function, frame)
    function.bad[0][1][1] = np.inf
    assert said().startswith("not finite: logpdf is inf at x = [45.0];")


SINGULAR = {  # infinite at an end of their support
    "chi-squared of one degree": (lambda x: -0.5 * np.log(x) - x / 2 - 0.5 * np.log(2 * np.pi), (0, np.inf)),
    "Gamma of a = 1/10": (lambda x: -0.9 * np.log(x) - x - special.gammaln(0.1), (0, np.inf)),
    "Gamma of a = 3/5, from 3 down": (lambda x: -0.4 * np.log(3 - x) - (3 - x) - special.gammaln(0.6), (-np.inf, 3)),
    "Weibull of k = 1/2": (lambda x: -0.5 * np.log(4 * x) - np.sqrt(x), (0, np.inf)),
    "Beta of 3/10 and 2": (lambda x: -0.7 * np.log(x) + np.log1p(-x) - special.betaln(0.3, 2), (0, 1)),
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("d", [1, 2])
def test_a_density_that_is_infinite_at_an_end_passes_without_points(name, d):
    one, ends = SINGULAR[name]
    logp = lambda x: one(x).sum(1)
    assert (report := check_density(logp, support=np.array([ends] * d, float))), report
    off = check_density(lambda x: logp(x) + np.log(3), support=np.array([ends] * d, float))
    assert off.verdict == "FAIL" and abs(off.details["integral"] - 3) < 1e-9, off


def test_coordinates_of_a_support_are_all_of_the_line_and_their_slope_is_that_of_their_map():
    ends = np.array([[-np.inf, np.inf], [2.0, np.inf], [-np.inf, -1.0], [-1.0, 4.0]])
    line, u = parts.Unconstrained(ends), np.random.default_rng(0).standard_normal((50, 4)) * 3
    x = line.x(u)
    assert np.all((x > ends[:, 0]) & (x < ends[:, 1])) and np.array_equal(x[:, 0], u[:, 0])
    np.testing.assert_allclose(x[:, 1], 2 + np.exp(u[:, 1]), rtol=1e-15)
    np.testing.assert_allclose(x[:, 2], -1 - np.exp(u[:, 2]), rtol=1e-15)
    np.testing.assert_allclose(x[:, 3], 5 / (1 + np.exp(-u[:, 3])) - 1, rtol=0, atol=4e-15)
    np.testing.assert_allclose(line.u(x), u, rtol=1e-9, atol=1e-9)
    h = 1e-6
    slopes = np.abs(line.x(u + h) - line.x(u - h)) / (2 * h)
    np.testing.assert_allclose(
        line.log_slope(u), np.log(slopes).sum(1), atol=1e-6
    )  # differences of 1e-6, e^9 beside an end at 2
    assert line.u(ends[:, 0])[1] == -parts.FURTHEST and line.u(ends[:, 1])[2:].tolist() == [
        -parts.FURTHEST,
        parts.FURTHEST,
    ]
    far = line.x(np.full(4, 1e12))
    assert far[1] == np.inf and far[2] == -np.inf and far[3] == 4.0


def test_moments_in_x_are_those_of_u_to_first_order_and_no_wider_than_a_part_lies_from_its_end():
    ends = np.array([[-np.inf, np.inf], [2.0, np.inf], [0.0, 4.0]])
    line, means = parts.Unconstrained(ends), np.array([[0.5, np.log(3.0), 0.0]])
    covs = np.diag([9.0, 0.25, 0.01])[None] + 0.1 * (np.ones((3, 3)) - np.eye(3))
    at, found = line.moments(means, covs)
    assert at.tolist() == [[0.5, pytest.approx(5.0), 2.0]]
    slope = np.array([1.0, 3.0, 1.0])  # dx/du
    np.testing.assert_allclose(found[0], covs[0] * slope * slope[:, None], rtol=1e-14)
    wide = line.moments(means, 16 * covs)[1][0]
    np.testing.assert_allclose(np.diag(wide), [144.0, 9.0, 0.16], rtol=1e-14)  # a standard deviation of 2 is cut to 1


def test_the_frame_of_which_nothing_is_known_is_the_unit_one_or_that_of_the_points():
    unit = parts._unit(None, 2)
    assert unit.center.tolist() == [0, 0] and unit.axes.tolist() == [[1, 0], [0, 1]]
    x = np.array([[0.0, 1], [1, 1], [8, 1]])
    assert parts._unit(x, 2).center.tolist() == [1, 1]
    np.testing.assert_allclose(np.diag(parts._unit(x, 2).axes), [x[:, 0].std(), 1e-300], rtol=1e-15)


WHOLE = np.array([[-np.inf, np.inf]])


def improper(logp, d=1, ends=None):
    masked = parts._Masked("c", logp, None, None, np.tile(WHOLE, (d, 1)) if ends is None else np.asarray(ends, float))
    return parts._improper(masked, Frame(np.zeros(d), np.eye(d)), masked.ends, np.random.default_rng(0))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_p_has_an_integral_if_it_falls_off_faster_than_r_to_minus_d(d):
    tail = lambda power: lambda x: -power * np.log1p(np.linalg.norm(x, axis=1))
    assert improper(tail(d + 0.01), d) == "" and improper(tail(d - 0.01), d).startswith(
        "no density: p does not fall off"
    )
    assert improper(tail(d - 0.01), d, [[0, np.inf]] + [[-np.inf, np.inf]] * (d - 1)) == ""  # rays leave the support


IMPROPER = {  # log p, name
    "an energy": (lambda x: np.sum(x**2, axis=1), "sign of log p"),
    "grows by more than one from 100 to 10,000": (lambda x: 1.05 / np.log(100) * np.log(1 + np.abs(x[:, 0])), "sign of log p"),
    "grows by less than one": (lambda x: 0.95 / np.log(100) * np.log(1 + np.abs(x[:, 0])), "no density"),
    "p": (lambda x: np.exp(-(x[:, 0] ** 2)), "p for log p"),
    "p of at most a hundredth": (lambda x: 0.01 * np.exp(-(x[:, 0] ** 2)), "p for log p"),
    "p of at most a two thousandth": (lambda x: 5e-4 * np.exp(-(x[:, 0] ** 2)), "no density"),
    "p with a slow tail": (lambda x: 1 / (1 + x[:, 0] ** 6), "p for log p"),
    "p with a slower tail": (lambda x: 1 / (1 + np.abs(x[:, 0])), "no density"),
    "p, and below 0": (lambda x: np.exp(-(x[:, 0] ** 2)) - 1e-3, "no density"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMPROPER)
def test_what_has_no_integral_is_told_by_its_growth(name):
    logp, key = IMPROPER[name]
    assert improper(logp).split(":")[0] == key


def test_a_number_that_is_none_is_told_before_anything_else():
    masked = parts._Masked("c", lambda x: np.where(x[:, 0] > 1, np.nan, 0.0), None, None, WHOLE)
    masked(np.array([[0.5], [1.5]]))
    words = "not finite: logpdf is nan at x = [1.5]; -inf alone has a meaning, that p is 0"
    assert parts._improper(masked, Frame(np.zeros(1), np.eye(1)), WHOLE, np.random.default_rng(0)) == words


# ------------------------------------------------------------------------------- the verdict on an integral


class Known:
    """A log density with what is known of its numbers."""

    def __init__(self, logp=None, ends=WHOLE, eps=2.0**-52, zero=False):
        self.logp, self.ends, self.zero, self.caller = (
            logp or normal(1, 1.0),
            np.asarray(ends, float),
            zero,
            SimpleNamespace(eps=eps),
        )

    def __call__(self, x):
        return self.logp(x)


def modes(mass=1.0, error=0.01, top=-0.9, d=1, cov=1.0):
    frame = Frame(np.zeros(d), np.eye(d))
    return parts.Modes(np.zeros((1, d)), cov * np.eye(d)[None], frame, float(np.log(mass)), error, np.zeros(d), top)


def verdict_on(I, bound, function=None, found=None, x=True, rtol=None, note=""):
    function = Known() if function is None else function
    whole = SimpleNamespace(value=I, error=bound, note=note)
    found = modes(mass=I, d=len(function.ends)) if found is None else found
    return parts._judged(function, found, whole, function.ends, x or None, rtol)


def test_the_pattern_holds_both_integrals_with_their_errors():
    verdict, pattern, _ = verdict_on(1.00000000012, 3.4e-10, found=modes(1.0123, 0.0321))
    assert verdict == "PASS"
    assert pattern == "integral of p = 1 +- 3e-10 by quadrature, 1.012 +- 0.03 by importance sampling"


@pytest.mark.parametrize(
    "off, bound, eps, rtol, passes",
    [
        (3.9e-7, 0.0, 2.0**-52, None, True), (4.1e-7, 0.0, 2.0**-52, None, False), (-4.1e-7, 0.0, 2.0**-52, None, False),
        (4.5e-7, 5.8e-8, 2.0**-52, None, True), (4.6e-7, 5.8e-8, 2.0**-52, None, False),
        (0.9e-4, 0.0, 1e-7, None, True), (1.1e-4, 0.0, 1e-7, None, False),  # a thousand eps of single precision
        (1e-6, 0.0, 1e-11, None, False), (0.9e-3, 0.0, 2.0**-52, 1e-3, True), (1.1e-3, 0.0, 2.0**-52, 1e-3, False),
    ],
)  # fmt: skip
def test_an_integral_is_one_within_its_bound_and_what_rounding_leaves(off, bound, eps, rtol, passes):
    verdict, _, text = verdict_on(1 + off, bound, Known(eps=eps), rtol=rtol)
    assert (verdict == "PASS") == passes and (text == "") == passes, text


def test_a_change_of_p_is_integrated_where_the_draws_leave_a_doubt_that_it_is_not_one():
    """p is a normal density of the plane to the power 1/2, so p^m integrates to (2 pi)^(1 - m/2) 2 / m."""
    p, ends, tails = normal(2, 1.0), np.tile(WHOLE, (2, 1)), np.random.default_rng(0)
    logp = lambda x: p(x) / 2
    found = parts.find(logp, ends, None, tails)
    mass = lambda m, found=found: parts._of_variant(found, lambda x: m * logp(x), ends)
    for m in (0.5, 1.5, 1.8, 2.3, 3.0):
        whole = mass(m)
        assert abs(whole.value - (2 * np.pi) ** (1 - m / 2) * 2 / m) <= whole.error and whole.evaluations == parts.DRAWS
    for m in (1.98, 2.0, 2.02):
        assert mass(m).error < 1e-9 < 4000 < mass(m).evaluations
    points, log_q = found.draws
    few = np.where(np.arange(len(points)) % 400 == 0, log_q - 5, log_q + 30)  # 0.1 +- 0.04, of ten draws
    assert mass(3.0, found._replace(draws=(points, few))).error < 1e-9
    half = np.array([[0.0, np.inf], [-np.inf, np.inf]])
    assert parts.find(lambda x: np.where(x[:, 0] > 0, logp(x), -np.inf), half, None, tails).draws == ()


def test_a_bound_that_is_too_coarse_decides_nothing_unless_the_integral_is_far_from_one():
    assert verdict_on(1.0, 0.99e-3)[0] == "PASS" and verdict_on(1.0, 1.01e-3)[0] == "INCONCLUSIVE"
    assert verdict_on(0.5, 0.0501)[0] == "INCONCLUSIVE" and verdict_on(0.5, 0.0499)[0] == "FAIL"
    above = verdict_on(2.0, 0.101)  # which importance sampling says as well
    assert above[0] == "FAIL" and above[2].startswith("mass above 1: by importance sampling p integrates to 2 +- "), (
        above
    )
    assert verdict_on(1.09, 0.02)[0] == "INCONCLUSIVE"
    assert verdict_on(0.5, 0.51)[0] == "INCONCLUSIVE"
    why = lambda **options: verdict_on(1.0, 0.02, **options)[2]
    assert why() == "unresolved: the integral is known to 2e-02 only (the density is too narrow for its width?)"
    assert "(it oscillates?)" in why(note="it oscillates; and more") and "more" not in why(
        note="it oscillates; and more"
    )
    assert why(function=Known(zero=True)).endswith("; where p is 0 beyond a line, say so with support=")
    plane = Known(normal(2, 1.0), np.tile(WHOLE, (2, 1)))
    assert why(function=plane).endswith("; kinks cost digits in each dimension: check the same code in fewer")
    assert "kinks" not in why(function=Known(normal(2, 1.0), np.tile(WHOLE, (2, 1)), zero=True))


def test_two_integrals_that_disagree_are_none():
    agree = lambda mass, error, bound=0.0: verdict_on(1.0, bound, found=modes(mass, error))[0]
    assert (
        agree(1.063, 0.01) == "PASS" and agree(1.065, 0.01) == "INCONCLUSIVE"
    )  # six of its standard errors, which are relative
    assert agree(0.944, 0.01) == "PASS" and agree(0.942, 0.01) == "INCONCLUSIVE"
    assert agree(1.0645, 0.01, 0.9e-3) == "PASS"
    assert agree(1.0, 0.199) == agree(1.0, 0.201) == "PASS"  # heavy tails, which quadrature resolves
    wrong = lambda error: verdict_on(1.5, 0.0, found=modes(1.5, error))
    assert wrong(0.199)[0] == "FAIL" and wrong(0.201)[0] == "INCONCLUSIVE"
    assert "importance sampling leaves an error of 20% (heavy tails, parts far apart?), and confirms" in wrong(0.201)[2]
    assert (
        "quadrature and importance sampling disagree (a part of the density was missed?); give x="
        in verdict_on(1.0, 0.0, found=modes(2.0))[2]
    )


def test_mass_below_one_is_missing_where_no_points_were_given():
    I = 0.7311
    missing = verdict_on(I, 1e-9, x=False)
    assert missing[0] == "INCONCLUSIVE" and missing[2].startswith(
        "mass missing: what was found integrates to 0.7311; either"
    ), missing
    assert verdict_on(I, 1e-9)[0] == "FAIL" and verdict_on(1.7311, 1e-9, x=False)[0] == "FAIL"
    assert verdict_on(I, 1e-9, x=False, found=modes(I, top=0.0))[0] == "FAIL"  # no normaliser at all
    assert verdict_on(I, 1e-9, x=False, found=modes(I, top=1.1e-6))[0] == "INCONCLUSIVE"
    assert verdict_on(I, 1e-9, x=False, found=modes(I, top=0.9e-6))[0] == "FAIL"
    assert verdict_on(I, 1e-9, Known(normal(1, 1.0), [[0, np.inf]]), x=False)[0] == "FAIL"


@pytest.mark.parametrize(
    "off, bound, named", [(0.9e-6, 0.0, True), (1.1e-6, 0.0, False), (3.9e-6, 2e-6, True), (4.1e-6, 2e-6, False)]
)
def test_a_constant_is_recognised_to_a_millionth_or_four_bounds(off, bound, named):
    for sign in (1, -1):
        I = 2 * (1 + sign * off)
        assert (verdict_on(I, bound)[2].startswith("weights: p integrates to 2,")) == named


# ------------------------------------------------------------------------------- which constant


@pytest.mark.parametrize("d, sigma", [(1, 1.7), (2, 1.7), (3, 1.7), (2, None), (2, 1.0005)])
def test_the_constants_of_gaussians_are_all_powers_of_two_pi_and_sigma_simple_ones_first(d, sigma):
    found, known = list(normaliser._of_scale(d, "sigma", sigma)), sigma == 1.7
    halves = [j / 2 for j in range(-4 * d, 4 * d + 1)] if known else [0]
    powers = [(k, j) for k in range(-2 * d, 2 * d + 1) for j in halves if k or j]
    powers.sort(key=lambda p: (abs(p[0]) + abs(p[1]), -p[0], -p[1]))
    first, rest = found[: len(powers)], found[len(powers) :]
    for (value, number, text), (k, j) in zip(first, powers, strict=True):
        np.testing.assert_allclose(value, (2 * np.pi) ** (k / 2) * (sigma or 1.0) ** j, rtol=1e-13)
        assert text == normaliser._gaussian(d, k, j, known, "sigma")
        assert number == (2 if k and j and text.startswith("normaliser") else 1), text
    root = np.sqrt(2 * np.pi) * (sigma if known else 1)
    logs = [np.log(value) for value, _, _ in rest]  # log p has -log Z, and Z or d Z_1 was written for log Z
    expected = [d * np.log(root) - s for s in (root**d, d * root, d * np.sqrt(2 * np.pi))]
    np.testing.assert_allclose(logs, expected, rtol=1e-12)
    assert all(number == 1 and text.startswith("logarithm of the normaliser") for _, number, text in rest)
    tails = list(normaliser._of_scale(d, "h", 1.7))
    assert all("; h = 1.7 is the standard deviation of its tails" in text for _, _, text in tails[:-3])


GAUSSIAN_WORDS = {  # d, k, j, is sigma known: (2 pi)^(k/2) sigma^j
    (2, 2, 2, True): "no normaliser: p integrates to (2 pi) sigma^2, the normaliser of a Gaussian is missing (unnormalised: fine for the score, not for a likelihood)",
    (2, 2, 0, True): "no normaliser: p integrates to (2 pi): (2 pi)^(d/2) is missing in the normaliser (fine for the score, not for a likelihood)",
    (1, 2, 2, True): "sign of the normaliser: p integrates to (2 pi) sigma^2; the logarithm of the normaliser is added where it is subtracted",
    (1, 2, 0, False): "sign of the normaliser: p integrates to (2 pi); the logarithm of the normaliser is added where it is subtracted",
    (2, 1, 1, True): "normaliser without d: p integrates to sqrt(2 pi) sigma: beside its exponent the normaliser is sqrt(2 pi) sigma where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?); the dimension is missing in the exponent",
    (3, 0, 2, True): "normaliser without d: p integrates to sigma^2: beside its exponent the normaliser is (2 pi)^1.5 sigma where (2 pi)^1.5 sigma^3 belongs (or the exponent is wrong, a 1/2, a variance for a precision?); the dimension is missing in the exponent",
    (3, 0, 1, True): "normaliser: p integrates to sigma: beside its exponent the normaliser is (2 pi)^1.5 sigma^2 where (2 pi)^1.5 sigma^3 belongs (or the exponent is wrong, a 1/2, a variance for a precision?)",
    (1, 1, 0, False): "no normaliser: p integrates to sqrt(2 pi), the normaliser of a Gaussian is missing (unnormalised: fine for the score, not for a likelihood)",
    (1, 0, 1, True): "normaliser: p integrates to sigma: beside its exponent the normaliser is sqrt(2 pi) where sqrt(2 pi) sigma belongs (or the exponent is wrong, a 1/2, a variance for a precision?)",
    (2, -1, 0, False): "normaliser: p integrates to 1/sqrt(2 pi): beside its exponent the normaliser is (2 pi)^1.5 where (2 pi) belongs (or the exponent is wrong, a 1/2, a variance for a precision?)",
    (2, 0, 2, True): "normaliser: p integrates to sigma^2: beside its exponent the normaliser is (2 pi) where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?) -- or -- determinant: p integrates to sigma^2: is a log determinant missing?",
    (2, 0, 1, True): "normaliser without d: p integrates to sigma: beside its exponent the normaliser is (2 pi) sigma where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?); the dimension is missing in the exponent -- or -- determinant: p integrates to sigma: is the root of the determinant missing, or half of log det L subtracted where all of it belongs (half of log det of the covariance)?",
    (4, 0, 2, True): "determinant: p integrates to sigma^2: is the root of the determinant missing, or half of log det L subtracted where all of it belongs (half of log det of the covariance)?",
    (2, 0, -2, True): "normaliser: p integrates to 1/sigma^2: beside its exponent the normaliser is (2 pi) sigma^4 where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?) -- or -- determinant: p integrates to 1/sigma^2: is all of log det of the covariance subtracted where half of it belongs?",
    (2, 0, 4, True): "normaliser: p integrates to sigma^4: beside its exponent the normaliser is (2 pi)/sigma^2 where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?) -- or -- determinant: p integrates to sigma^4: has a log determinant the wrong sign?",
    (2, 1, 2, True): "normaliser without d: p integrates to sqrt(2 pi) sigma^2: beside its exponent the normaliser is sqrt(2 pi) where (2 pi) sigma^2 belongs (or the exponent is wrong, a 1/2, a variance for a precision?); the dimension is missing in the exponent",
}  # fmt: skip


@pytest.mark.parametrize("case", GAUSSIAN_WORDS)
def test_powers_of_two_pi_and_sigma_are_called_by_their_cause(case):
    assert normaliser._gaussian(*case, "sigma") == GAUSSIAN_WORDS[case]


NUMBERS = {  # integral, what it is said to be
    2 / 7: "weights or a factor: p integrates to 2/7, unnormalised",
    19 / 20: "weights or a factor: p integrates to 19/20, unnormalised",
    np.exp(-2.5): "factor e^-5/2: p integrates to 0.082085 = exp(-5/2), so log p is -5/2 too large",
    np.exp(11 / 12): "factor e^11/12: p integrates to 2.50094 = exp(11/12), so log p is 11/12 too large",
    5 / 21: "unnormalised: the integral of p is 5/21, not 1; a normaliser, the weights, or",
    1.2345678: "unnormalised: the integral of p is 1.23457, not 1; a normaliser, the weights, or",
}  # fmt: skip


@pytest.mark.parametrize("I", NUMBERS)
def test_an_integral_of_no_rule_is_told_by_what_number_it_is(I):
    assert normaliser.number(I, 1e-6, -0.9).startswith(NUMBERS[I]), normaliser.number(I, 1e-6, -0.9)
    assert normaliser.number(I, 1e-6, 0.9e-6).startswith(
        "no normaliser: log p is 0 at its maximum, and the integral of p is "
    )
    assert normaliser.number(I, 1e-6, 1.1e-6).startswith(NUMBERS[I])
    assert normaliser.number(I, 1.1e-6, -0.9).startswith("unnormalised: ")  # too coarse for a number


def test_a_number_is_one_to_its_error():
    for value in (2 / 7, np.exp(-2.5)):
        kind = NUMBERS[value].split(":")[0]
        for sign in (1, -1):
            assert normaliser.number(value * (1 + sign * 0.9e-6), 1e-6, -0.9).startswith(kind)
            assert normaliser.number(value * (1 + sign * 1.1e-6), 1e-6, -0.9).startswith("unnormalised")


def test_sigma_is_the_geometric_mean_of_the_deviations_at_the_highest_mode():
    cov = np.array([[2.0, 0.6], [0.6, 0.5]])
    top = ns.Gaussian([1.0, -1.0], cov)
    logp = lambda x: np.logaddexp(top.logpdf(x), ns.Gaussian([40.0, 0.0], 9 * np.eye(2)).logpdf(x) - 9)
    found = parts.Modes(
        np.array([[40.0, 0.0], [1.0, -1.0]]),
        np.stack([9 * np.eye(2), 1.3 * cov]),
        None,
        0.0,
        0.0,
        np.array([1.0, -1.0]),
        0.0,
    )
    np.testing.assert_allclose(normaliser._sigma(logp, found), np.linalg.det(cov) ** 0.25, rtol=1e-9)
    assert normaliser._sigma(lambda x: np.sum(x**2, axis=1), modes()) is None
    assert normaliser._sigma(lambda x: 0 * x[:, 0], modes()) is None
    saddle = lambda x: x[:, 0] ** 2 - x[:, 1] ** 2
    assert normaliser._sigma(saddle, modes(d=2)) is None
    np.testing.assert_allclose(normaliser._sigma(normal(3, 1.5), modes(d=3)), 1.5, rtol=1e-9)


# ------------------------------------------------------------------------------- where it lives


def test_starts_are_some_of_the_points_and_shells_of_nine_sizes():
    ends = np.tile(WHOLE, (2, 1))
    found, rng = parts._starts(ends, None, np.random.default_rng(4)), np.random.default_rng(4)
    assert len(found) == 9
    for k, points in enumerate(found):
        assert points.shape == (200, 2)
        np.testing.assert_allclose(points, 10.0 ** (k - 3) * rng.standard_normal((200, 2)), rtol=1e-12)
    x = np.random.default_rng(5).standard_normal((500, 2)) * [1.0, 3.0] + [5.0, 0.0]
    near, *shells = parts._starts(ends, x, np.random.default_rng(4))
    rng = np.random.default_rng(4)
    for k, points in enumerate(shells):
        np.testing.assert_allclose(
            points, np.median(x, axis=0) + 10.0 ** (k - 3) * x.std(axis=0) * rng.standard_normal((200, 2)), rtol=1e-12
        )
    assert near.shape == (400, 2) and np.array_equal(near, x[rng.permutation(500)[:400]])


def test_points_are_moved_into_the_support():
    """Mirrored at one end; between two ends squeezed by a tanh about the middle."""
    ends = np.array([[-np.inf, np.inf], [2.0, np.inf], [-np.inf, -1.0], [1.0, 5.0]])
    points = np.random.default_rng(0).standard_normal((300, 4)) * 6
    found = parts._inside(points, ends)
    assert np.array_equal(found[:, 0], points[:, 0]) and np.all((found > ends[:, 0]) & (found < ends[:, 1] + 1e-12))
    np.testing.assert_allclose(found[:, 1], np.where(points[:, 1] > 2, points[:, 1], 4 - points[:, 1]), rtol=1e-12)
    np.testing.assert_allclose(found[:, 2], np.where(points[:, 2] < -1, points[:, 2], -2 - points[:, 2]), rtol=1e-12)
    np.testing.assert_allclose(found[:, 3], 3 + 2 * np.tanh((points[:, 3] - 3) / 2), rtol=1e-12)


def test_widths_are_where_log_p_has_fallen_by_a_half_in_tenths_of_a_power_of_ten():
    grid = 10.0 ** np.arange(-12, 12, 0.1)
    quadratic = lambda s: lambda x: -0.5 * np.sum((x / s) ** 2, axis=1)
    for s in (0.45, 2.2e-7, 3e9):
        (width,) = parts._widths(quadratic(s), np.zeros(1), 0.0)
        assert width == grid[grid >= s][0]
    assert parts._widths(quadratic(2e-13), np.zeros(1), 0.0)[0] == grid[0]
    assert (
        parts._widths(quadratic(5e11), np.zeros(1), 0.0) is not None
        and parts._widths(quadratic(9e11), np.zeros(1), 0.0) is None
    )
    far = parts._widths(lambda x: quadratic(0.5)(x - [300.0, 0.0]), np.array([300.0, 0.0]), 0.0)
    scaled = 300 * grid
    assert np.array_equal(far, [scaled[scaled >= 0.5][0]] * 2)
    uneven = lambda x: -np.where(x[:, 0] > 0, x[:, 0], -5 * x[:, 0]) - np.abs(x[:, 1])
    width = parts._widths(uneven, np.zeros(2), 0.0)
    assert np.array_equal(width, [grid[grid >= 0.5][0]] * 2)  # the longer of both sides
    assert parts._widths(lambda x: -np.maximum(x[:, 0], 0), np.zeros(1), 0.0) is None
    assert parts._widths(quadratic(1.0), np.zeros(1), 0.3)[0] == grid[grid >= np.sqrt(0.4)][0]  # from the top


def test_a_top_is_in_sight_if_log_p_rises_at_all_of_65_points_of_the_way():
    top = np.array([1.0, 0.0])
    rising = lambda x: -np.abs(x[:, 0] - 1)
    points = np.array([[0.0, 0.0], [0.5, 1.0], [2.0, 0.0]])
    assert parts._in_sight(rising, points, top).tolist() == [True] * 3
    dip = lambda at, depth: lambda x: np.where(np.abs(x[:, 0] - at) < 1e-9, -depth, 0.0) + rising(x)
    seen = lambda at, depth=1.0: parts._in_sight(dip(at, depth), points[:1], top)[0]
    assert not seen(0.5) and not seen(1 / 64) and not seen(63 / 64) and seen(0.5 + 1 / 128)
    flat = lambda depth: lambda x: 1.0 - np.where(np.abs(x[:, 0] - 0.5) < 1e-9, depth, 0.0)
    assert parts._in_sight(flat(0.9e-9), points[:1], top)[0] and not parts._in_sight(flat(1.1e-9), points[:1], top)[0]
    assert parts._in_sight(lambda x: np.where(x[:, 0] > 0.5, 0.0, -np.inf), points, top).tolist() == [
        False,
        True,
        True,
    ]


def test_modes_have_their_widths_and_the_shares_of_their_mass():
    """Heights 1 and e^-2 with deviations 1 and 3: masses as 1 to 3 e^-2, by the widths of the grid."""
    logp = lambda x: np.logaddexp(-0.5 * (x[:, 0] + 20) ** 2, -0.5 * ((x[:, 0] - 30) / 3) ** 2 - 2)
    x = np.array([[-20.3], [29.0], [31.0], [-19.0]])
    means, covs, weights = parts._modes(logp, parts._starts(WHOLE, x, np.random.default_rng(0)), x)
    np.testing.assert_allclose(means[:, 0], [-20, 30], atol=1e-6)
    grids = 10.0 ** np.arange(-12, 12, 0.1)
    widths = [(20 * grids)[20 * grids >= 1][0], (30 * grids)[30 * grids >= 3][0]]
    np.testing.assert_allclose(np.sqrt(covs[:, 0, 0]), widths, rtol=1e-5)
    masses = np.array([widths[0], widths[1] * np.exp(-2)])
    np.testing.assert_allclose(weights, masses / masses.sum(), rtol=1e-5)
    for drop, shares in ((31.0, [1.0, 0.02]), (34.0, [1.0])):  # 3e-14 and 2e-15 of the mass
        faint = lambda x, drop=drop: np.logaddexp(-0.5 * (x[:, 0] + 20) ** 2, -0.5 * (x[:, 0] - 30) ** 2 - drop)
        found = parts._modes(faint, parts._starts(WHOLE, x, np.random.default_rng(0)), x)
        np.testing.assert_allclose(found[2], shares, rtol=1e-12)
        assert len(found[0]) == len(found[1]) == len(shares)
    nothing = parts._modes(
        lambda x: np.full(len(x), -np.inf), parts._starts(WHOLE, None, np.random.default_rng(0)), None
    )
    assert [len(a) for a in nothing] == [0, 0, 0]


MEANS, COVS = np.array([[0.0, 1.0], [3.0, -1.0]]), np.stack([np.array([[2.0, 0.6], [0.6, 0.5]]), 0.1 * np.eye(2)])
SHARES = np.array([0.6, 0.2])  # of a sum that is not 1


def test_the_proposal_is_a_mixture_of_students_t_of_four_degrees_of_freedom():
    points = np.random.default_rng(0).standard_normal((50, 2)) * 3
    log_q, share = parts._proposal(points, MEANS, COVS, SHARES)
    parts_of = np.stack(
        [
            np.log(w) + stats.multivariate_t(m, c, df=4).logpdf(points)
            for m, c, w in zip(MEANS, COVS, (0.75, 0.25), strict=True)
        ]
    )
    np.testing.assert_allclose(log_q, np.logaddexp(*parts_of), rtol=1e-12)
    np.testing.assert_allclose(share, np.exp(parts_of - np.logaddexp(*parts_of)).T, rtol=1e-11)


def test_draws_are_of_that_mixture():
    x = parts._drawn(MEANS, COVS, SHARES, np.random.default_rng(1))
    assert x.shape == (4000, 2)
    share = parts._proposal(x, MEANS, COVS, SHARES)[1]
    assert abs(share[:, 0].mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 4000)
    own = parts._drawn(MEANS[:1], COVS[:1], SHARES[:1], np.random.default_rng(1))
    z = np.linalg.solve(np.linalg.cholesky(COVS[0]), (own - MEANS[0]).T)
    for row in (*z, (z[0] + z[1]) / np.sqrt(2)):
        assert stats.kstest(row, stats.t(4).cdf).pvalue > 1e-3
    assert stats.kstest(np.sum(z**2, axis=0) / 2, stats.f(2, 4).cdf).pvalue > 1e-3  # one chi square for both


def test_components_are_refitted_by_weighted_means_where_enough_points_are_theirs():
    rng = np.random.default_rng(2)
    points, w = rng.standard_normal((40, 2)), rng.random(40)
    share = np.column_stack([np.full(40, 0.9), np.r_[np.full(3, 0.1), np.zeros(37)], np.zeros(40)])
    means, covs = np.vstack([MEANS, [[9.0, 9.0]]]), np.concatenate([COVS, np.eye(2)[None]])
    new, cov, weights = parts._refitted(points, w, share, means, covs, np.ones(3))
    r = w * 0.9
    mean = sum(a * p for a, p in zip(r, points, strict=True)) / r.sum()
    spread = sum(a * np.outer(p - mean, p - mean) for a, p in zip(r, points, strict=True)) / r.sum()
    np.testing.assert_allclose(new[0], mean, rtol=1e-12)
    np.testing.assert_allclose(cov[0], spread + 1e-6 * np.diag([2.0, 0.5]), rtol=1e-12)
    assert np.array_equal(new[1:], means[1:]) and np.array_equal(cov[1:], covs[1:])  # three points are too few
    mass = np.array([r.sum(), 0.1 * w[:3].sum(), 0.0])
    np.testing.assert_allclose(weights, np.maximum(mass / mass.sum(), 0.02), rtol=1e-12)
    # more than 5 (d + 2) = 20 effective points move a component
    for m, moved in ((21, True), (20, False)):
        only = np.r_[np.ones(m), np.zeros(40 - m)][:, None]
        found = parts._refitted(points, np.ones(40), only, MEANS[:1], COVS[:1], np.ones(1))[0]
        assert np.array_equal(found, MEANS[:1]) != moved


def test_the_frame_is_the_mean_and_covariance_of_the_mixture():
    plane, w = np.tile(WHOLE, (2, 1)), SHARES / SHARES.sum()
    frame = parts._frame(MEANS, COVS, SHARES, plane)
    mean = w[0] * MEANS[0] + w[1] * MEANS[1]
    cov = sum(a * (c + np.outer(m - mean, m - mean)) for a, c, m in zip(w, COVS, MEANS, strict=True))
    np.testing.assert_allclose(frame.center, mean, rtol=1e-13)
    np.testing.assert_allclose(frame.axes, np.linalg.cholesky(cov), rtol=1e-12)
    inverse = np.linalg.inv(frame.axes)
    np.testing.assert_allclose(frame.reach, 1 + np.abs(inverse @ (MEANS - mean).T).max(), rtol=1e-12)
    finest = min(np.linalg.eigvalsh(inverse @ c @ inverse.T)[0] for c in COVS)
    np.testing.assert_allclose(frame.detail, np.sqrt(finest), rtol=1e-12)
    assert frame.tail == "exponential"
    half = parts._frame(MEANS, COVS, SHARES, np.array([[2.0, np.inf], [-np.inf, np.inf]]))
    np.testing.assert_allclose(half.axes, np.diag(np.sqrt(np.diag(cov))), rtol=1e-12)
    np.testing.assert_allclose(half.center, [2.0, mean[1]], rtol=1e-12)  # within the support
    one = parts._frame(MEANS[:1], COVS[:1], SHARES[:1], plane)
    assert one.reach == 1 and abs(one.detail - 1) < 1e-12


def test_the_modes_of_a_density_have_its_mass_and_its_top():
    top = lambda x: -0.5 * np.sum(((x - [3.0, 0.0]) / [1.0, 2.0]) ** 2, axis=1) + 0.25
    found = find(top, np.tile(WHOLE, (2, 1)), None, np.random.default_rng(0))
    assert abs(found.top - 0.25) < 1e-9 and found.means.shape == (1, 2)
    mass = np.log(4 * np.pi) + 0.25
    assert abs(found.log_mass - mass) < 5 * found.error < 0.05
    np.testing.assert_allclose(found.covs[0], np.diag([1.0, 4.0]), atol=0.4)
    # its error is that of a mean of 4000 weights, exp(log p - log q)
    errors = [find(top, np.tile(WHOLE, (2, 1)), None, np.random.default_rng(s)).log_mass - mass for s in range(6)]
    assert 0.3 < np.sqrt(np.mean(np.square(errors))) / found.error < 2.5
    assert find(lambda x: np.full(len(x), -np.inf), WHOLE, None, np.random.default_rng(0)) is None


def test_a_report_holds_both_integrals_and_the_worst():
    report = check_density(lambda x: normal(1)(x) + np.log(2), x=np.linspace(-3, 3, 50)[:, None])
    assert (
        report.worst[:3] == ("the integral of p", report.details["integral"], 1.0)
        and report.resolution == report.details["bound"]
    )
    assert report.worst.tolerance == report.details["bound"] and report.summary.startswith("1 dim, float64 out, ")
    assert report.summary.endswith(" evaluations") and int(report.summary.split(", ")[2].split()[0]) > 4000
    sampled = report.details["importance sampling"]
    assert abs(sampled - 2) < 6 * report.details["standard error"] * sampled
    right = check_density(normal(2), dim=2)
    assert right.worst is None and right.summary.startswith("2 dims, ") and set(right.details) == set(report.details)
    nothing = check_density(lambda x: np.full(len(x), -np.inf), dim=1)
    assert np.isnan(nothing.resolution) and nothing.details == {} and nothing.pattern == ""


def gamma_density(x, a=2.0, rate=3.0):
    return (a - 1) * np.log(x[:, 0]) - rate * x[:, 0] - special.gammaln(a)


def student(x, nu=5.0, s=1.3):
    return -(nu + 2) / 2 * np.log1p(np.sum(x**2, axis=1) / (nu * s**2)) - 2 * np.log(s)


SCORES = lambda x: special.ndtri(np.clip(x, 1e-12, 1 - 1e-12))
KERNELS = lambda x: special.logsumexp(
    -np.sum((x[:, None] - np.linspace(-2, 2, 20)[:, None]) ** 2, axis=2) / 0.32, axis=1
)
OF_FAMILIES = {  # logpdf, options, words
    "a rate taken for a scale": (lambda x: gamma_density(x) - 2 * np.log(3), {"support": [[0, np.inf]]}, "Gamma density x^(a-1) exp(-rate x): p integrates to 0.0123457 (1/(rate^a)^2?)"),
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
