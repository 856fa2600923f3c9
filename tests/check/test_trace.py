"""`check_trace` on exact traces, on estimators of every law of directions, and on scores that jump."""

import numpy as np
import pytest
from wording import check_trace

import numpyscore as ns
from numpyscore import EnergyMLP
from numpyscore.check.functions import Function
from numpyscore.check.score import Differenced
from numpyscore.check.trace import _beside, _biased, _enough, _mean, _of_the_jacobian, _ratio, kink
from numpyscore.numerics.differences import widths

X = 0.4 + np.random.default_rng(1).standard_normal((9, 3)) * [0.5, 1.0, 2.0]
W = np.random.default_rng(4).standard_normal((3, 3))
PAIR = np.array([[1.0, 0.7], [0.7, 1.0]])


def score(x):
    """-W tanh(W'x): no diagonal Jacobian."""
    return -np.tanh(x @ W) @ W.T


def jacobian(x):
    return -np.einsum("ik,nk,jk->nij", W, 1 / np.cosh(x @ W) ** 2, W)


def curvature(x, v):
    return np.einsum("ni,nij,nj->n", v, jacobian(x), v)


def trace(x):
    return np.trace(jacobian(x), axis1=1, axis2=2)


def signs(rng, shape):
    return rng.choice([-1.0, 1.0], shape)


def estimator(draw, factor=1.0):
    return lambda x, rng: factor * curvature(x, draw(rng, x.shape))


def test_exact_traces_and_their_shapes():
    assert check_trace(trace, score=score, x=X)
    assert check_trace(lambda x: trace(x)[:, None], score=score, x=X)
    flat = check_trace(score, score=score, x=X)
    assert flat.verdict == "FAIL" and flat.name == "shape" and "trace returned (9, 3)" in flat.diagnosis, flat
    doubled = check_trace(lambda x: 2 * trace(x), score=score, x=X)
    assert doubled.name == "scale" and doubled.worst.place in {f"x[{i}]" for i in range(9)}, (
        doubled
    )  # a trace has no dim
    other = check_trace(trace, score=lambda x: score(x)[:, 0], x=X)
    assert other.verdict == "FAIL" and "score returned (9,)" in other.diagnosis, other
    assert check_trace(lambda x: 0 * x[:, 0], score=lambda x: 0 * x, x=X)


def test_a_trace_in_single_precision_and_one_off_by_a_number_everywhere():
    single = check_trace(lambda x: trace(x).astype(np.float32), score=score, x=X)
    assert single and any("float32 came back" in note for note in single.notes), single
    more = check_trace(lambda x: trace(x) + 3, score=score, x=X)
    assert (
        more.verdict == "FAIL" and more.diagnosis == "constant shift: your trace is the reference + 3 everywhere (d?)"
    ), more
    near = lambda off, **options: check_trace(lambda x: trace(x) * (1 + off), score=score, x=X, **options)
    assert near(0.5e-5, rtol=1e-5) and near(2e-5, rtol=1e-5).verdict == "FAIL"  # nothing finer is asked for
    mean = check_trace(lambda x: trace(x) / 3, score=score, x=X)
    assert "1/d times the reference, 1/3 here (a mean over dimensions where a sum is meant?)" in mean.diagnosis, mean


def test_an_estimate_of_something_else_of_the_jacobian_is_named():
    """E |J v|^2 is the squared Frobenius norm; with few calls, or beside the trace itself, nothing else is."""
    length = lambda x, rng: np.sum(np.einsum("nij,nj->ni", jacobian(x), signs(rng, x.shape)) ** 2, axis=1)
    report = check_trace(length, score=score, x=X, n_calls=2000)
    squares = (
        "Frobenius norm: on average this is the squared Frobenius norm",
        "trace of the square",
    )  # of a symmetric J they are one
    assert report.verdict == "FAIL" and all(text in report.diagnosis for text in squares), report
    both = check_trace(
        lambda x, rng: length(x, rng) + curvature(x, signs(rng, x.shape)), score=score, x=X, n_calls=2000
    )
    assert both.verdict == "FAIL" and both.name == "biased", both


OF_THE_JACOBIAN = {
    "sum of the Jacobian": lambda J, s: J.sum((1, 2)),
    "Frobenius norm": lambda J, s: np.linalg.norm(J, axis=(1, 2)),
    "trace of the square": lambda J, s: np.einsum("nij,nji->n", J, J),
    "determinant": lambda J, s: np.linalg.det(J),
    "log determinant": lambda J, s: np.linalg.slogdet(J)[1],
    "squared score": lambda J, s: np.sum(s**2, 1),
    "sum of the score": lambda J, s: np.sum(s, 1),
    "s.J s": lambda J, s: np.einsum("ni,nij,nj->n", s, J, s),
    "squared diagonal": lambda J, s: np.einsum("nii->ni", J**2).sum(1),
    "product of the diagonal": lambda J, s: J[:, 0, 0] * J[:, 1, 1] * J[:, 2, 2],
    "antidiagonal": lambda J, s: J[:, 0, 2] + J[:, 1, 1] + J[:, 2, 0],
    "off the diagonal": lambda J, s: J.sum((1, 2)) - np.trace(J, axis1=1, axis2=2),
    "trace plus |s|^2": lambda J, s: np.trace(J, axis1=1, axis2=2) + np.sum(s**2, 1),
    "trace plus |s|^2/2": lambda J, s: np.trace(J, axis1=1, axis2=2) + np.sum(s**2, 1) / 2,
    "without entry 1": lambda J, s: J[:, 0, 0] + J[:, 2, 2],
    "row 2": lambda J, s: J[:, 2].sum(1),
    "sign": lambda J, s: -np.trace(J, axis1=1, axis2=2),
    "absolute value": lambda J, s: np.abs(np.trace(J, axis1=1, axis2=2)),
}


@pytest.mark.parametrize("name", OF_THE_JACOBIAN)
def test_what_else_was_made_of_the_jacobian_is_named(name):
    skew = lambda x: score(x) + np.sin(x[:, [1, 2, 0]])  # J is not symmetric: a row is no column
    J = lambda x: jacobian(x) + np.cos(x[:, [1, 2, 0]])[:, :, None] * np.eye(3)[[1, 2, 0]]
    skewed = skew if name != "absolute value" else lambda x: score(x) + 2 * x * [1, 2, -1]
    of = (lambda x: jacobian(x) + 2 * np.diag([1, 2, -1])) if name == "absolute value" else J
    report = check_trace(lambda x: OF_THE_JACOBIAN[name](of(x), skewed(x)), score=skewed, x=X)
    assert report.verdict == "FAIL" and report.name == name, report


# ------------------------------------------------------------------------------- estimators

RIGHT = {
    "signs": signs,
    "Gaussian": lambda rng, shape: rng.standard_normal(shape),
    "sphere": lambda rng, shape: (lambda v: np.sqrt(3) * v / np.linalg.norm(v, axis=1, keepdims=True))(rng.standard_normal(shape)),
    "one axis": lambda rng, shape: np.sqrt(3) * np.eye(3)[rng.integers(3, size=shape[0])],
}  # fmt: skip


@pytest.mark.parametrize("n_calls", [2, 200])
@pytest.mark.parametrize("name", RIGHT)
def test_right_estimators_are_accused_by_no_number_of_calls(name, n_calls):
    """Two calls with signs may agree in a row by chance; its standard error was 0, and the check raised that NaN is no integer."""
    report = check_trace(estimator(RIGHT[name]), score=score, x=X, n_calls=n_calls)
    assert report.verdict != "FAIL", report
    assert report or "n_calls=" in report.diagnosis, report


def test_rows_whose_estimates_do_not_scatter_are_judged_at_round_off():
    """Where J is diagonal, signs estimate exactly: the error of such a row was that of its sum, 1e-17, beside differences right to 1e-13."""
    bent = lambda x: np.where(x[:, :1] < 0.4, -np.sinh(x), score(x))

    def hutchinson(x, rng):
        diagonal = -np.sum(np.cosh(x), axis=1) + 0.0 * rng.random(len(x))
        return np.where(x[:, 0] < 0.4, diagonal, curvature(x, signs(rng, x.shape)))

    points = np.concatenate([X[X[:, 0] < 0.2], X[X[:, 0] > 0.6]])
    assert 2 <= np.sum(points[:, 0] < 0.4) < len(points)
    report = check_trace(hutchinson, score=bent, x=points)
    assert report.verdict != "FAIL" or report.name == "kink", report


WRONG = {  # directions, factor, the name and words of it
    "sign": (signs, -1.0, "sign", "wrong sign"),
    "halved": (signs, 0.5, "halved", "half the trace"),
    "four probes summed": (signs, 4.0, "multiplied by 4", "4 times the trace (a sum over 4 probes that is not divided by their number"),
    "times d": (signs, 3.0, "multiplied by d", "d times the trace (a sum over 3 probes that is not divided by their number"),
    "unit length": (lambda rng, shape: np.eye(3)[rng.integers(3, size=shape[0])], 1.0, "divided by d", "the trace divided by d (directions of unit length"),
    "a factor": (signs, 0.8, "scale", "times the trace"),
    "twelve uniform": (lambda rng, shape: rng.random(shape) - 0.5, 1.0, "scale", "the mean is 1/12 of the trace (directions of that variance"),
    "uniform to sqrt 2": (lambda rng, shape: rng.uniform(-(2**0.5), 2**0.5, shape), 1.0, "scale", "the mean is 2/3 of the trace (directions of that variance"),
    "uniform to 1, d = 3": (lambda rng, shape: rng.uniform(-1, 1, shape), 1.0, "divided by d", "or -- scale: the mean is 1/3 of the trace (directions of that variance"),
    "from 1/2 to 3/2": (lambda rng, shape: rng.random(shape) + 0.5, 1.0, "directions not white", "1/12 of the trace plus 1 of the sum"),
    "1/2 and 3/2": (lambda rng, shape: rng.integers(2, size=shape) + 0.5, 1.0, "directions not white", "1/4 of the trace plus 1 of the sum"),
    "from 0 to 1": (lambda rng, shape: rng.random(shape), 1.0, "directions not white", "(numbers from 0 to 1)"),
    "0 and 1": (lambda rng, shape: rng.integers(2, size=shape), 1.0, "directions not white", "0 and 1 in place of -1 and 1"),
    "anisotropic": (lambda rng, shape: signs(rng, shape) * [2.0, 0.5, 1.0], 1.0, "biased", "not isotropic"),
    "squares from 0 to 1": (lambda rng, shape: 3 * rng.random(shape) ** 2, 1.0, "directions not white", "(numbers from 0 to 1, or 0 and 1, entries that share a part?)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_the_law_of_wrong_directions_is_named(name):
    draw, factor, key, words = WRONG[name]
    report = check_trace(estimator(draw, factor), score=score, x=X, n_calls=200)
    assert report.verdict == "FAIL" and report.name == key and words in report.diagnosis, report
    assert report.pattern.startswith("mean = ") and report.notes[-1].startswith("random: the mean of "), report
    row = int(report.worst.place[2])
    assert report.worst.place == f"x[{row}], mean of 200 calls" and abs(report.worst.reference - trace(X)[row]) < 1e-9


def test_directions_that_differ_on_both_sides_average_to_nothing():
    two = lambda x, rng: np.einsum("ni,nij,nj->n", signs(rng, x.shape), jacobian(x), signs(rng, x.shape))
    report = check_trace(two, score=score, x=X)
    assert report.verdict == "FAIL" and report.name == "zero mean", report


def test_a_mean_that_is_no_multiple_is_called_by_no_whole_number_near_it():
    """1.78 +- .05 times the trace, of directions with variances 4, 1, 1/4, was "multiplied by 2: the mean is 2 times the trace"."""
    net = EnergyMLP.init(3, (12, 12), "softplus", confinement=0.7, rng=0)
    report = check_trace(
        lambda x, rng: net.curvature(x, rng.standard_normal(x.shape) * [1, 2, 0.5]), score=net.score, x=X
    )
    assert report.verdict == "FAIL" and "multiplied" not in report.diagnosis and "probes" not in report.diagnosis, (
        report
    )


def test_noise_that_drowns_the_trace_says_how_many_calls_would_settle_it():
    noisy = lambda x, rng: trace(x) + 30 * rng.standard_normal(len(x))
    report = check_trace(noisy, score=score, x=X, n_calls=20)
    assert report.verdict == "INCONCLUSIVE" and report.name == "unresolved", report
    needed = (
        1.3 * 20 * (report.resolution / 0.25) ** 2
    )  # an error falls as the root of their number, and a PASS needs a quarter
    told = int(report.diagnosis.split("n_calls=")[1])
    assert 0 <= told - needed <= 100 and told % 100 == 0 and needed > 200, report


@pytest.mark.parametrize(
    "J", [np.zeros((3, 3)), np.array([[1.0, 2, 0], [2, -1, 0], [0, 0, 0]])], ids=["flat", "saddle"]
)
def test_a_trace_of_zero_asks_for_other_points_and_not_for_1e32_calls(J):
    of = lambda x, rng: np.einsum("ni,ij,nj->n", v := signs(rng, x.shape), J, v) + 1e-3 * rng.standard_normal(len(x))
    report = check_trace(of, score=lambda x: 1 + x @ J, x=X)
    assert (
        report.verdict == "INCONCLUSIVE" and "next to nothing" in report.diagnosis and "n_calls" not in report.diagnosis
    ), report


# ------------------------------------------------------------------------------- jumps


def test_a_jump_of_the_score_is_found_between_two_points_and_none_where_it_is_not_finite():
    points = np.array([[-1.0], [1.0], [2.0]])
    report = check_trace(lambda x: 0 * x[:, 0], score=lambda x: -np.sign(x), x=points)
    assert report.verdict == "FAIL" and report.name == "kink" and "jumps by 2 " in report.diagnosis, report
    with np.errstate(divide="ignore"):
        assert check_trace(lambda x: 1 / x[:, 0] ** 2, score=lambda x: -1 / x, x=points)  # no jump, no number at 0
    steep = lambda x: -np.tanh(x / 1e-2)  # rises within a 50th of the interval, and does not jump
    assert check_trace(lambda x: -1e2 / np.cosh(x[:, 0] / 1e-2) ** 2, score=steep, x=points[:2]).name != "kink"


@pytest.mark.parametrize("share, found", [(3e-4, True), (3e-5, False)])
def test_a_jump_is_one_from_a_ten_thousandth_of_the_largest_score_and_is_looked_for_between_the_points_alone(
    share, found
):
    asked = []

    def bent(x):
        asked.append(x)
        return np.array([-2.0, 0.0]) - share * 2.0 * (x[:, :1] > 0.3) * [1.0, 0.0]

    points = np.array([[-1.0, 0.5], [2.0, 0.1], [1.9, 0.2]])
    seen = kink(Function("check_trace", "score", bent), points)
    every = np.concatenate(asked)
    assert np.all(every >= points.min(0) - 1e-12) and np.all(every <= points.max(0) + 1e-12)
    assert (seen is not None) == found
    if found:
        at, jump, width = seen
        assert abs(at[0] - 0.3) <= 2 * width < 1e-10 and abs(jump / (2 * share) - 1) < 1e-6


def test_of_one_point_the_jump_is_looked_for_beside_it():
    point = np.array([[0.2]])
    reach = 2 * float(widths(point)[0])
    for share, found in ((0.9, True), (1.1, False)):
        edge = 0.2 + share * reach
        seen = kink(Function("check_trace", "score", lambda x, edge=edge: -np.sign(x - edge)), point)
        assert (seen is not None) == found and (seen is None or (seen[1] == 2 and abs(seen[0][0] - edge) < 1e-9))


# ------------------------------------------------------------------------------- estimates of which every number is known


class Alternating:
    """A trace that is off by +-e in alternate calls, in neighbouring rows the other way: its mean over m calls is known, and its error e/sqrt(m - 1)."""

    def __init__(self, mean, e, shared=False):
        self.mean, self.e, self.shared, self.calls = np.asarray(mean, float), e, shared, 0

    def __call__(self, x):
        self.calls += 1
        sign = np.where(
            (np.arange(len(x)) % 2 if not self.shared else 0 * np.arange(len(x))) ^ (self.calls % 2), 1.0, -1.0
        )
        return np.resize(self.mean, len(x)) + self.e * sign


ASIDE = 2 + 13 + 8  # calls beside those that are averaged: is it random, does it keep a state, is one direction shared
SLOPES = np.array([[1.0, 0.5], [0.25, 0.75]])  # a score x @ SLOPES, whose trace is 7/4
LINE = lambda x: x @ SLOPES
ONE_ROW, TWO_ROWS = np.array([[0.3, -0.2]]), np.array([[0.3, -0.2], [1.1, 0.4]])


def of_error(resolution, mean=1.75, calls=200, x=ONE_ROW, **options):
    """The report on an estimate whose mean over calls resolves so much of the trace 7/4, in one row or in two together."""
    e = resolution / 5 * 1.75 * np.sqrt((calls - 1) * len(x))
    estimate = Alternating(mean, e)
    check = (
        check_trace if len(x) == 1 else ns.check_trace
    )  # of two rows equally far off, rounding decides which is said
    return check(estimate, score=LINE, x=x, n_calls=calls, **options), estimate


def test_mean_error_ratio_and_resolution_of_an_estimate_are_those_of_its_calls():
    report, estimate = of_error(0.2)
    assert report and report.pattern == "mean = 1 +- 0.04 x reference, largest |z| = 0.0", report
    assert estimate.calls == ASIDE + 200
    np.testing.assert_allclose(report.resolution, 0.2, rtol=1e-9)
    np.testing.assert_allclose(report.details["mean"], [1.75], rtol=1e-13)
    np.testing.assert_allclose(report.details["standard error"], [0.04 * 1.75], rtol=1e-9)
    np.testing.assert_allclose(report.details["reference"], [1.75], rtol=1e-10)
    assert report.notes == ("random: the mean of 200 calls was checked",)
    assert report.worst.place == "x[0], mean of 200 calls" and abs(report.worst.tolerance - 0.04) < 1e-9
    assert report.summary.startswith("1 point x 2 dims, float64 in, float64 out, ")


@pytest.mark.parametrize("share", [0.99, 1.01, -0.99, -1.01])
def test_a_mean_is_wrong_beyond_five_standard_errors_of_all_rows_or_six_of_one(share, monkeypatch):
    far = abs(share) > 1
    monkeypatch.setattr("numpyscore.check.trace.SUSPECT", np.inf)
    one, _ = of_error(0.1, 1.75 * (1 + 0.1 * share))
    assert (one.verdict == "FAIL") == far, one
    error = 0.1 / 5 * np.sqrt(2) * 1.75
    two, _ = of_error(0.1, 1.75 + np.array([6, -6]) * error * share, x=TWO_ROWS)
    assert (two.verdict == "FAIL") == far and f"largest |z| = {6 * abs(share):.1f}" in two.pattern, two
    np.testing.assert_allclose(two.resolution, 0.1, rtol=1e-6)
    if far:
        assert (
            two.name == "biased"
            and one.name == "scale"
            and f"the mean is {1 + 0.1 * share:.4g} +- 0.005 times" in one.diagnosis
        )


@pytest.mark.parametrize("share, calls", [(0.99, 200), (-0.99, 200), (1.01, 3200), (-1.01, 3200)])
def test_more_calls_are_made_where_a_mean_is_three_standard_errors_off(share, calls):
    """The estimate is off by as much in all of them, which is twelve standard errors of 3200."""
    report, estimate = of_error(0.1, 1.75 * (1 + 0.06 * share))
    assert estimate.calls == ASIDE + calls and (report.verdict == "FAIL") == (calls == 3200), report
    assert report.notes == (f"random: the mean of {calls} calls was checked",)


CALLS = {  # resolution of the first twenty calls, calls that were made, verdict
    "enough": (0.24, 20, "PASS"),
    "a hundred": (0.45, 100, "PASS"),
    "thirty times as many": (1.19, 600, "PASS"),
    "more than thirty times": (1.21, 20, "INCONCLUSIVE"),
    "no number of them": (1.01e3, 20, "INCONCLUSIVE"),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_up_to_thirty_times_the_calls_are_made_where_they_settle_it(name):
    resolution, made, verdict = CALLS[name]
    report, estimate = of_error(resolution, calls=20)
    assert report.verdict == verdict and estimate.calls == ASIDE + made, report
    assert report.notes[-1] == f"random: the mean of {made} calls was checked"
    left = resolution * np.sqrt(19 / (made - 1))
    np.testing.assert_allclose(report.resolution, left, rtol=1e-6)
    if resolution > 1e3:
        error = f"{left / 5 * 1.75:.2g}"
        assert f"beside the scatter of its estimate, +- {error}, and no number of calls" in report.diagnosis, report
    elif verdict != "PASS":
        assert (
            report.diagnosis == f"unresolved: 20 calls leave an error of {left:.0%} of the trace; take n_calls=700"
        ), report


def test_calls_that_a_resolution_takes_go_with_its_square_in_hundreds():
    """1.3 n (resolution / 0.25)^2, to have room, and rounded up."""
    assert [_enough(n, r) for n, r in ((20, 0.25), (20, 0.2501), (200, 0.5), (300, 0.5), (77, 2.0))] == [
        20,
        100,
        1100,
        1600,
        6500,
    ]
    assert _enough(200, 0.25 * np.sqrt(100 / 260)) == 200


def test_fewer_than_twenty_calls_are_twenty_and_two_hundred_the_default():
    assert check_trace(estimator(signs), score=score, x=X, n_calls=2).notes[-1].startswith("random: the mean of ")
    estimate = Alternating(1.75, 0.1)
    assert check_trace(estimate, score=LINE, x=ONE_ROW).notes[-1] == "random: the mean of 200 calls was checked"
    assert (
        check_trace(Alternating(1.75, 0.1), score=LINE, x=ONE_ROW, n_calls=3).notes[-1]
        == "random: the mean of 20 calls was checked"
    )
    assert (
        check_trace(Alternating(1.75, 0.1), score=LINE, x=ONE_ROW, n_calls=21).notes[-1]
        == "random: the mean of 21 calls was checked"
    )


@pytest.mark.parametrize("steps, random", [(500, False), (525, True)])
def test_two_calls_that_differ_by_round_off_are_no_estimate(steps, random):
    """512 eps of the largest: 256 of it, and 256 of each."""
    eps = np.finfo(float).eps
    report = check_trace(Alternating(1.0, steps * eps / 2), score=lambda x: x, x=np.array([[0.3]]))
    assert any(note.startswith("random: the mean of") for note in report.notes) == random, report


def test_one_direction_for_all_rows_is_judged_by_the_errors_of_whole_calls():
    report = ns.check_trace(Alternating(1.75, 0.1, shared=True), score=LINE, x=TWO_ROWS)
    assert report.verdict == "FAIL" and report.name == "shared random numbers", report
    assert (
        "all rows of a batch use the same (one direction, a shared probe, one minibatch or mask?)" in report.diagnosis
    )
    assert report.pattern == "equal rows get equal values, which change from call to call"
    np.testing.assert_allclose(report.resolution, 5 * 0.1 / 1.75 / np.sqrt(199), rtol=1e-6)  # not by sqrt(2) less


def test_random_numbers_are_those_of_the_seed_and_others_in_each_call():
    seeds = []

    def of(x, seed):
        seeds.append(seed)
        return 1.75 + 0.1 * np.random.default_rng(seed).standard_normal(len(x))

    check_trace(of, score=LINE, x=ONE_ROW, n_calls=20)
    once = list(seeds)
    rng = np.random.default_rng(0)
    assert once == [int(rng.integers(1 << 31)) for _ in once] and len(once) == ASIDE + 20
    seeds.clear()
    check_trace(of, score=LINE, x=ONE_ROW, n_calls=20, rng=1)
    assert seeds[0] == np.random.default_rng(1).integers(1 << 31)


def test_means_and_ratios_of_estimates():
    """Least squares of the means on the reference, weighted by their errors; of one direction for all rows, the scatter of that sum."""
    rng = np.random.default_rng(6)
    values, reference, floor = (
        rng.standard_normal((30, 4)) + 3,
        np.array([3.0, -1.0, 0.5, 2.0]),
        np.array([0.0, 0.1, 0.2, 1.0]),
    )
    mean, error = _mean(values, floor)
    np.testing.assert_allclose(mean, np.sum(values, 0) / 30, rtol=1e-14)
    np.testing.assert_allclose(error**2, np.sum((values - mean) ** 2, 0) / 29 / 30 + floor**2, rtol=1e-12)
    assert _mean(np.ones((5, 1)), np.zeros(1))[1] == 1e-300
    ratio, of = _ratio(values, reference, floor)
    (fit,), (cov,) = (
        np.linalg.lstsq((reference / error)[:, None], mean / error, rcond=None)[0],
        np.linalg.inv([[np.sum((reference / error) ** 2)]]),
    )
    np.testing.assert_allclose([ratio, of], [fit, np.sqrt(cov[0])], rtol=1e-12)
    share = reference / error**2 / np.sum((reference / error) ** 2)
    together, its = _ratio(values, reference, floor, True)
    np.testing.assert_allclose(together, ratio, rtol=1e-12)
    sums = values @ share
    np.testing.assert_allclose(its**2, sums.var(ddof=1) / 30 + (np.abs(share) @ floor) ** 2, rtol=1e-12)
    assert _ratio(np.zeros((3, 1)), np.zeros(1), np.ones(1)) == (0.0, 1e150)


# ------------------------------------------------------------------------------- what a biased mean is


def biased(mean, error=0.01, d=3, ratio=None, ratio_error=1e-3, trace=None, whole=None):
    t = np.array([-3.0, -2.0, -4.0, -2.5]) if trace is None else np.asarray(trace, float)
    w = np.array([1.0, -2.0, 0.5, 3.0]) if whole is None else np.asarray(whole, float)
    mean = mean(t, w) if callable(mean) else mean * t
    ratio = np.sum(mean * t) / np.sum(t * t) if ratio is None else ratio
    return _biased(mean, np.full(len(t), error), t, w, ratio, ratio_error, d)


MULTIPLES = {  # factor, dimension, what is said
    "sign": (-1, 3, "sign: the estimate has the wrong sign"),
    "nothing": (0, 3, "zero mean: the estimate averages to nothing (two different v on both sides?)"),
    "unit length": (1 / 5, 5, "divided by d: the mean is the trace divided by d (directions of unit length, E[v v^T] = I/d, v.J v averaged over the dimensions, one entry of the diagonal without its factor d?)"),
    "times d": (5, 5, "multiplied by d: the mean is d times the trace (a sum over 5 probes that is not divided by their number, a factor of the loss, directions of variance 5, calls that add up?)"),
    "half": (0.5, 5, "halved: the mean is half the trace"),
    "half, or of unit length": (0.5, 2, "divided by d: the mean is the trace divided by d (directions of unit length, E[v v^T] = I/d, v.J v averaged over the dimensions, one entry of the diagonal without its factor d?) -- or -- halved: the mean is half the trace"),
    "four probes": (4, 5, "multiplied by 4: the mean is 4 times the trace (a sum over 4 probes that is not divided by their number, a factor of the loss, directions of variance 4, calls that add up?)"),
    "two probes": (2, 5, "multiplied by 2: the mean is 2 times the trace (a sum over 2 probes that is not divided by their number, a factor of the loss, directions of variance 2, calls that add up?)"),
    "a third": (1 / 3, 5, "scale: the mean is 1/3 of the trace (directions of that variance, as uniform numbers have?)"),
    "two thirds": (2 / 3, 5, "scale: the mean is 2/3 of the trace (directions of that variance, as uniform numbers have?)"),
    "a twelfth": (1 / 12, 5, "scale: the mean is 1/12 of the trace (directions of that variance, as uniform numbers have?)"),
    "a number": (0.8, 5, "scale: on average over the points the mean is 0.8 +- 0.001 times the trace"),
    "nearly itself in one dimension": (1.002, 1, "scale: on average over the points the mean is 1.002 +- 0.001 times the trace"),
}  # fmt: skip


@pytest.mark.parametrize("name", MULTIPLES)
def test_a_multiple_of_the_trace_is_named_within_three_and_a_half_standard_errors(name):
    factor, d, words = MULTIPLES[name]
    assert biased(factor, d=d) == words
    if name not in ("a number", "nearly itself in one dimension"):
        for off in (3.4e-3, -3.4e-3):
            assert biased(factor, d=d, ratio=factor + off, error=1.0) == words.replace("0 I", "0 I")
        for off in (3.6e-3, -3.6e-3):
            assert biased(factor, d=d, ratio=factor + off, error=1.0).startswith(
                "scale: on average over the points the mean is "
            )


def test_a_variance_beside_another_name_is_one_only_where_it_is_one_over_d():
    both = biased(1 / 3, d=3)
    assert both.startswith(
        "divided by d: the mean is the trace divided by d (directions of unit length"
    ) and both.endswith(
        " -- or -- scale: the mean is 1/3 of the trace (directions of that variance, as uniform numbers have?)"
    )
    wide = biased(0.5, d=5, ratio=0.5, ratio_error=0.06, error=1.0)  # 2/3 is within the error, and 1/2 is nearer
    assert wide == "halved: the mean is half the trace"
    vague = biased(0.75, d=9, ratio=0.75, ratio_error=0.05, error=9.0)  # 2/3 is near in errors, and 12 per cent off
    assert vague.startswith("scale: on average over the points the mean is 0.75 +- 0.05"), vague
    assert "scale: the mean is 2/3 of the trace (directions of that variance" in biased(
        0.72, d=9, ratio=0.72, ratio_error=0.05, error=9.0
    )


NOT_CENTRED = {  # a, b: E[v v^T] = a I + b 1 1^T, and what is said
    "zeros and ones": (0.25, 0.25, "1/4 of the trace plus 1/4 of the sum of all entries of the Jacobian, so E[v v^T] = 1/4 I + 1/4 1 1^T (0 and 1 in place of -1 and 1) and"),
    "from 0 to 1": (1 / 12, 0.25, "1/12 of the trace plus 1/4 of the sum of all entries of the Jacobian, so E[v v^T] = 1/12 I + 1/4 1 1^T (numbers from 0 to 1) and"),
    "others": (1.0, 0.5, "1 of the trace plus 1/2 of the sum of all entries of the Jacobian, so E[v v^T] = 1 I + 1/2 1 1^T (numbers from 0 to 1, or 0 and 1, entries that share a part?) and"),
    "a third": (1 / 3, 1 / 12, "is 1/3 of the trace plus 1/12 of"),
    "no plain ones": (0.7, 0.62, "is 0.7 of the trace plus 0.62 of"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_CENTRED)
def test_directions_that_are_not_centred_are_told_by_two_numbers(name):
    a, b, words = NOT_CENTRED[name]
    of = lambda t, w: a * t + b * w
    found = biased(of)
    assert found.startswith("directions not white: the mean is ") and words in found, found
    assert found.endswith(
        "what is off the diagonal does not average out; draw v with mean 0, variance 1 and independent entries"
    )
    # within four standard errors of a number it is that number
    t, w = np.array([-3.0, -2.0, -4.0, -2.5]), np.array([1.0, -2.0, 0.5, 3.0])
    spread = 0.01 * np.sqrt(np.diag(np.linalg.inv(np.array([[t @ t, t @ w], [t @ w, w @ w]]))))
    for k in range(2):
        off = spread * np.eye(2)[k]
        for share in (3.9, -3.9):
            assert words in biased(lambda t, w, off=share * off: (a + off[0]) * t + (b + off[1]) * w) or "plain" in name
        for share in (4.1, -4.1):
            far = biased(lambda t, w, off=share * off: (a + off[0]) * t + (b + off[1]) * w)
            assert words not in far or name in ("others", "no plain ones"), far


def test_directions_are_centred_up_to_four_standard_errors_and_the_fit_holds_for_each_row():
    t, w = np.array([-3.0, -2.0, -4.0, -2.5]), np.array([1.0, -2.0, 0.5, 3.0])
    spread = 0.01 * np.sqrt(np.linalg.inv(np.array([[t @ t, t @ w], [t @ w, w @ w]]))[1, 1])
    of = lambda b: biased(lambda t, w: 0.8 * t + b * w).startswith("directions not white")
    assert of(4.1 * spread) and not of(3.9 * spread) and not of(-4.1 * spread)
    A = np.column_stack([t, w])
    out = np.linalg.svd(A, full_matrices=True)[0][:, -1]  # what no fit reaches
    for share in (5.9, 6.1):
        extra = share * 0.01 * out / np.abs(out).max()
        found = biased(lambda t, w, extra=extra: 0.25 * t + 0.25 * w + extra)
        assert found.startswith("directions not white") == (share < 6) and (share < 6 or found.startswith("biased: "))
    assert biased(lambda t, w: 0.25 * t + 0.25 * w, trace=[-3.0, -2.0], whole=[1.0, -2.0]).startswith(
        "biased"
    )  # two rows fit two numbers
    assert (
        biased(lambda t, w: 0.5 * t, whole=[-3.0, -2.0, -4.0, -2.5]) == "halved: the mean is half the trace"
    )  # both are one
    assert biased(lambda t, w: 0.25 * t + 0.25 * w, trace=[-3.0, -2.0, -4.0], whole=[1.0, -2.0, 0.5]).startswith(
        "directions not white"
    )


def test_a_mean_is_a_multiple_up_to_six_standard_errors_of_each_row():
    for share in (4.2, 4.3):  # of four rows the squares add up to 4 +- sqrt(8)
        off = share * 0.01 * np.array([0, 0, 1, 0])
        found = biased(lambda t, w, off=off: 0.5 * t + off, whole=[1e3, 1e3, -1e3, 0], ratio=0.5)
        assert found.startswith(
            "halved" if share**2 < 4 + 5 * np.sqrt(8) else "biased: the mean is no multiple of the trace"
        ), found


# ------------------------------------------------------------------------------- what else is made of a Jacobian


def test_every_other_number_of_a_jacobian_is_what_its_sentence_says():
    rng = np.random.default_rng(8)
    J, s = rng.standard_normal((4, 3, 3)), rng.standard_normal((4, 3))
    of = lambda make: [make(j, r) for j, r in zip(J, s, strict=True)]
    three = range(3)
    expected = {
        "all entries of the Jacobian": of(lambda j, r: sum(j[i, k] for i in three for k in three)),
        "the Frobenius norm": of(lambda j, r: sum(j[i, k] ** 2 for i in three for k in three) ** 0.5),
        "squared Frobenius norm": of(lambda j, r: sum(j[i, k] ** 2 for i in three for k in three)),
        "trace of the squared Jacobian": of(lambda j, r: np.trace(j @ j)),
        "is the determinant": of(lambda j, r: np.linalg.det(j)),
        "log |det J|": of(lambda j, r: np.log(abs(np.linalg.det(j)))),
        "log |det(I + J)|": of(lambda j, r: np.log(abs(np.linalg.det(np.eye(3) + j)))),
        "log |det(I - J)|": of(lambda j, r: np.log(abs(np.linalg.det(np.eye(3) - j)))),
        "the largest eigenvalue": of(lambda j, r: max(np.linalg.eigvals(j).real)),
        "the spectral norm": of(lambda j, r: np.linalg.svd(j)[1][0]),
        "this is |s|^2": of(lambda j, r: r @ r),
        "the sum of the score's entries": of(lambda j, r: sum(r)),
        "the curvature along the score": of(lambda j, r: r @ j @ r),
        "absolute values of the diagonal": of(lambda j, r: sum(abs(j[i, i]) for i in three)),
        "are squared before": of(lambda j, r: sum(j[i, i] ** 2 for i in three)),
        "multiplied, not summed": of(lambda j, r: j[0, 0] * j[1, 1] * j[2, 2]),
        "the antidiagonal": of(lambda j, r: j[0, 2] + j[1, 1] + j[2, 0]),
        "off the diagonal": of(lambda j, r: sum(j[i, k] for i in three for k in three if i != k)),
        "|s|^2 is added": of(lambda j, r: np.trace(j) + r @ r),
        "|s|^2/2 is added": of(lambda j, r: np.trace(j) + r @ r / 2),
        "beside the diagonal, j the dimension after i": of(lambda j, r: j[0, 1] + j[1, 2]),
        "j the dimension after i, all round": of(lambda j, r: j[0, 1] + j[1, 2] + j[2, 0]),
        "beside the diagonal, j the dimension before i": of(lambda j, r: j[1, 0] + j[2, 1]),
        "j the dimension before i, all round": of(lambda j, r: j[1, 0] + j[2, 1] + j[0, 2]),
    }  # fmt: skip
    for i in three:
        expected[f"entry d s_{i}/d x_{i}, not the sum"] = of(lambda j, r, i=i: j[i, i])
        expected[f"d s_{i}/d x_{i} is missing"] = of(lambda j, r, i=i: np.trace(j) - j[i, i])
        expected[f"the gradient of s_{i}"] = of(lambda j, r, i=i: sum(j[i]))
        expected[f"the summed score in x_{i}"] = of(lambda j, r, i=i: sum(j[:, i]))
    found = _of_the_jacobian(J, s)
    assert len(found) == len(expected)
    for (_, sentence, a), (words, values) in zip(found, expected.items(), strict=True):
        assert words in sentence and a.shape == (4, 1)
        np.testing.assert_allclose(a[:, 0], values, rtol=1e-12, err_msg=words)
    assert [key for key, *_ in found[24:28]] == ["entry 0", "without entry 0", "row 0", "column 0"]
    assert len(_of_the_jacobian(J[:, :1, :1], s[:, :1])) == 20  # of one dimension the entry is the trace
    flat = [key for key, *_ in _of_the_jacobian(0 * J, s)]
    assert (
        "log determinant" in flat
        and not any("log |det J|" in text for _, text, _ in _of_the_jacobian(0 * J, s))
        and "determinant" in flat
    )  # log 0


def test_a_trace_beside_its_jacobian_is_known_to_the_sum_of_what_its_entries_are():
    rng = np.random.default_rng(9)
    value, tolerance, second = rng.standard_normal((2, 3, 3)), rng.random((2, 3, 3)), rng.standard_normal((2, 3, 3))
    value[0] -= np.diag(np.diag(value[0])) - np.diag([2.0, -1.0, -1.0])
    field = _beside(np.array([5.0, 6.0]), np.ones((2, 3)), 1e-3, Differenced(value, tolerance, second))
    for n in range(2):
        diagonal = [value[n, i, i] for i in range(3)]
        assert field.theirs[n, 0] == 5 + n and abs(field.reference[n, 0] - sum(diagonal)) < 1e-15
        total = sum(map(abs, diagonal))
        np.testing.assert_allclose(
            field.tolerance[n, 0], sum(tolerance[n, i, i] for i in range(3)) + 0.128 * total, rtol=1e-13
        )
        np.testing.assert_allclose(field.second[n, 0], sum(second[n, i, i] for i in range(3)), rtol=1e-13)
        np.testing.assert_allclose(field.size[n, 0], max(total, np.sqrt(np.sum(value[n] ** 2))), rtol=1e-13)
    assert field.known == {"d": 3} and field.word == "trace" and field.x.shape == (2, 3)
    own = _beside(None, np.ones((2, 3)), 0.0, Differenced(value, tolerance, second))
    assert np.array_equal(own.theirs, own.reference)


@pytest.mark.parametrize("kind", ["forward", "backward", "central"])
def test_divergences_by_difference_quotients_are_named(kind):
    h, up, down = 1e-2, kind != "backward", kind != "forward"
    quotient = lambda x: sum(
        (score(x + up * h * e) - score(x - down * h * e))[:, j] / (h * (up + down)) for j, e in enumerate(np.eye(3))
    )
    report = check_trace(quotient, score=score, x=X)
    assert (
        report.verdict == "FAIL" and f"it is the {kind} difference of the score with step 0.01" in report.diagnosis
    ), report


@pytest.mark.parametrize("share, found", [(0.052, True), (0.048, False)])
def test_a_jump_is_one_from_a_twentieth_of_the_rise_around_it(share, found):
    """Over a 48th of the way between two points; in a jump of a share j the halves beside it rise equally."""
    rise = 1.0
    width = 1.0 / 48
    slope, jump = rise * (1 - share) / width, rise * share
    steep = lambda x: slope * (np.clip(x, 0.5, 0.5 + width) - 0.5) + jump * (x > 0.5 + 0.37 * width)
    seen = kink(Function("check_trace", "score", steep), np.array([[0.0], [1.0]]))
    assert (seen is not None) == found, seen
    assert seen is None or (abs(seen[1] - jump) < 1e-6 and abs(seen[0][0] - 0.5 - 0.37 * width) < 1e-9)


def test_a_jump_is_said_with_its_place_and_width_and_leaves_a_name_alone():
    points = np.array([[-1.0, 0.25], [1.0, 0.25]])
    step = lambda x: -np.where(x[:, :1] > 0.125, 2.0, 0.0) * [1.0, 0.0] - 1.1 * x
    report = check_trace(lambda x: -2.2 + 0 * x[:, 0], score=step, x=points)
    assert report.verdict == "FAIL" and report.worst is None and report.name == "kink", report
    assert "the score jumps by 2 at x = [0.125 0.25 ]; the trace has a point mass there" in report.diagnosis, report
    amount, width = report.pattern.removeprefix("jump of ").split(" within ")
    assert amount == "2" and float(width) < 1e-10, report
    assert check_trace(lambda x: 2.2 + 0 * x[:, 0], score=step, x=points).name == "sign"
    assert (
        check_trace(
            lambda x: 2.0 + np.cos(9 * x[:, 0]) * x[:, 1], score=step, x=np.r_[points, [[0.5, 0.9], [0.3, 2.0]]]
        ).name
        == "kink"
    )
    assert check_trace(lambda x: -2.2 + 0 * x[:, 0], score=lambda x: -1.1 * x, x=points)


def by_quotients(dims, h=1e-4):
    """The trace by central differences of some dimensions, right to h^2/6."""
    shift = h * np.eye(3)
    return lambda x: sum((score(x + shift[i])[:, i] - score(x - shift[i])[:, i]) / (2 * h) for i in dims)


def test_a_mistake_beside_difference_quotients_weights_and_terms_that_die_out_have_names():
    assert check_trace(by_quotients(range(3)), score=score, x=X)
    assert check_trace(by_quotients(range(2)), score=score, x=X).name == "without entry 2"
    weighted = check_trace(lambda x: jacobian(x)[:, range(3), range(3)] @ [1.0, 0.3, 2.0], score=score, x=X)
    assert weighted.name == "weights of the entries" and "0.3 at [1, 1], 2 at [2, 2]" in weighted.diagnosis, weighted
    linear = lambda x: -(1 - np.tanh(x @ W)) @ np.sum(W**2, axis=0)  # 1 - tanh for 1 - tanh^2
    assert check_trace(linear, score=score, x=X).name == "differs by what stays bounded"
    bias = lambda x: -(1 / np.cosh(x @ W + 0.5) ** 2) @ np.sum(W**2, axis=0) - 3
    assert check_trace(bias, score=lambda x: score(x) - x, x=X).name == "differs by what dies out"


@pytest.mark.parametrize("h, verdict", [(0.1, "FAIL"), (1e-2, "PASS"), (5e-3, "PASS"), (3e-3, "PASS"), (1e-3, "PASS")])
def test_five_point_differences_are_right_up_to_1e_7(h, verdict):
    """Their error is h^4/30 times a fifth derivative, and scatters less than hand-written derivatives may."""
    central = lambda x, h: sum((score(x + h * e) - score(x - h * e))[:, k] / (2 * h) for k, e in enumerate(np.eye(3)))
    report = check_trace(lambda x: (4 * central(x, h) - central(x, 2 * h)) / 3, score=score, x=X)
    assert report.verdict == verdict, report
    assert verdict == "PASS" or "the five-point difference of the score with step 0.1" in report.diagnosis, report
