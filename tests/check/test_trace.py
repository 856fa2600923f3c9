"""`check_trace` on exact traces, on estimators of every law of directions, and on scores that jump."""

import numpy as np
import pytest

from numpyscore import EnergyMLP, check_trace
from numpyscore.check.functions import Function
from numpyscore.check.trace import kink
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
    assert more.verdict == "FAIL" and more.diagnosis == "constant shift: your trace is the reference + 3 everywhere", (
        more
    )
    mean = check_trace(lambda x: trace(x) / 3, score=score, x=X)
    assert "1/d of the reference: a mean over dimensions" in mean.diagnosis, mean


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
    "four probes summed": (signs, 4.0, "summed over probes", "4 times the trace"),
    "times d": (signs, 3.0, "multiplied by d", "or, with 3 probes, their sum"),
    "unit length": (lambda rng, shape: np.eye(3)[rng.integers(3, size=shape[0])], 1.0, "unit-length directions", "divided by d"),
    "a factor": (signs, 0.8, "scale", "times the trace"),
    "twelve uniform": (lambda rng, shape: rng.random(shape) - 0.5, 1.0, "variance of the directions", "1/12 I"),
    "uniform to sqrt 2": (lambda rng, shape: rng.uniform(-(2**0.5), 2**0.5, shape), 1.0, "variance of the directions", "2/3 I"),
    "uniform to 1, d = 3": (lambda rng, shape: rng.uniform(-1, 1, shape), 1.0, "unit-length directions", "or -- variance of the directions: E[v v^T] = 1/3 I"),
    "from 1/2 to 3/2": (lambda rng, shape: rng.random(shape) + 0.5, 1.0, "directions not centred", "1/12 of the trace plus 1 of the sum"),
    "1/2 and 3/2": (lambda rng, shape: rng.integers(2, size=shape) + 0.5, 1.0, "directions not centred", "1/4 of the trace plus 1 of the sum"),
    "from 0 to 1": (lambda rng, shape: rng.random(shape), 1.0, "directions not centred", "(numbers from 0 to 1)"),
    "0 and 1": (lambda rng, shape: rng.integers(2, size=shape), 1.0, "directions not centred", "0 and 1 in place of -1 and 1"),
    "anisotropic": (lambda rng, shape: signs(rng, shape) * [2.0, 0.5, 1.0], 1.0, "biased", "not isotropic"),
    "squares from 0 to 1": (lambda rng, shape: 3 * rng.random(shape) ** 2, 1.0, "directions not centred", "a generator of numbers from 0 to 1"),
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
    """1.78 +- .05 times the trace, of directions with variances 4, 1, 1/4, was "summed over probes: the mean is 2 times the trace"."""
    net = EnergyMLP.init(3, (12, 12), "softplus", confinement=0.7, rng=0)
    report = check_trace(
        lambda x, rng: net.curvature(x, rng.standard_normal(x.shape) * [1, 2, 0.5]), score=net.score, x=X
    )
    assert report.verdict == "FAIL" and "summed" not in report.diagnosis, report


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
