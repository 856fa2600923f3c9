"""`check_gradient` on a flat parameter vector made of blocks: which block is wrong, and how."""

import itertools
import re

import numpy as np
import pytest
from wording import check_gradient, hold

from numpyscore.check.fields import Field, read
from numpyscore.check.gradient import BLOCKS, _other_side, by_degree, of_the_loss, shortened, stretched

SHAPES = ((3, 4), (4,), (4, 3), (3,), (3, 1), (1,))
ENDS = np.cumsum([0] + [int(np.prod(shape)) for shape in SHAPES])
P = int(ENDS[-1])
MIX, AIM = np.random.default_rng(0).standard_normal((2, P, P))
THETA = np.random.default_rng(1).standard_normal(P)


def loss(theta):
    """Smooth, convex, and all parameters matter."""
    return float(np.sum(np.log(np.cosh((MIX @ theta - AIM[0]) / 4))))


def gradient(theta):
    return MIX.T @ np.tanh((MIX @ theta - AIM[0]) / 4) / 4


def split(g):
    return [g[a:b] for a, b in itertools.pairwise(ENDS)]


def transposed(*which):
    return lambda g: np.concatenate([b.reshape(s).T.ravel() if k in which else b for k, (b, s) in enumerate(zip(split(g), SHAPES, strict=True))])  # fmt: skip


def exchanged(i, j):
    def change(g):
        blocks = split(g)
        blocks[i], blocks[j] = blocks[j], blocks[i]
        return np.concatenate(blocks)

    return change


def scaled(**factors):
    return lambda g: np.concatenate([b * factors.get(f"b{k}", 1.0) for k, b in enumerate(split(g))])


WRONG = {
    "first matrix transposed": (transposed(0), "transposed block: the gradient of theta[0:12], a matrix (3, 4), is flattened as (4, 3)"),
    "second matrix transposed": (transposed(2), "theta[16:28], a matrix (4, 3), is flattened as (3, 4)"),
    "both matrices transposed": (transposed(0, 2), "theta[0:12], a matrix (3, 4); theta[16:28], a matrix (4, 3), are flattened"),
    "equal matrices exchanged": (exchanged(0, 2), "swapped blocks: the gradients of theta[0:12] and theta[16:28]"),
    "bias before its matrix": (exchanged(0, 1), "swapped blocks: the gradients of theta[0:12] and theta[12:16]"),
    "equal biases exchanged": (exchanged(3, 4), "swapped blocks: the gradients of theta[28:31] and theta[31:34]"),
    "one block doubled": (scaled(b2=2.0), "scale of blocks: the gradient of theta[16:28] is 2 times the reference; the rest is right"),
    "two blocks, two factors": (scaled(b0=0.5, b3=-1.0), "theta[0:12] is 1/2 times the reference, that of theta[28:31] is minus the reference"),
    "a factor of each block": (scaled(b0=2.0, b1=3.0, b2=4.0, b3=5.0, b4=6.0, b5=6.0), "theta[12:16] is 3 times the reference"),
    "one zero, one tripled": (scaled(b1=0.0, b2=3.0), "theta[12:16] is zero, that of theta[16:28] is 3 times"),
    "a linear term": (lambda g: g + AIM[1], "another loss"),
    "one parameter": (lambda g: g + 0.1 * (np.arange(P) == 7), "some parameters: only parameter 7 of your gradient went wrong"),
}  # fmt: skip


@pytest.mark.parametrize("coordinates", [48, 6])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_blocks_are_found_without_being_told_the_shapes(name, coordinates):
    change, words = WRONG[name]
    if coordinates < P and name in ("a linear term", "one parameter"):
        words = ""  # what is said then depends on the parameters that were looked at
    report = check_gradient(loss, lambda theta: change(gradient(theta)), THETA, coordinates=coordinates)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


@pytest.mark.parametrize("name", ["first matrix transposed", "one block doubled"])
def test_wrong_blocks_in_single_precision_keep_their_names(name):
    change, words = WRONG[name]
    report = check_gradient(loss, lambda theta: change(gradient(theta)).astype(np.float32), THETA, coordinates=6)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_a_stale_gradient_and_that_of_no_function_are_told_from_that_of_another_loss():
    small = lambda t: float(np.sum(np.log(np.cosh(MIX[:5, :5] @ t / 4))))
    right = lambda t: MIX[:5, :5].T @ np.tanh(MIX[:5, :5] @ t / 4) / 4
    theta = THETA[:5]
    wrong = {"stale": lambda t: right(0 * theta + 1), "no gradient": lambda t: right(t) * np.roll(1 + t**2, 1)}
    for name, gradient_of in wrong.items():
        report = check_gradient(small, gradient_of, theta)
        assert report.verdict == "FAIL" and report.name == name, report


def blocks(reference, yours):
    """Explanations of a gradient by its blocks."""
    columns = (a[:, None] for a in (yours, reference, np.full(len(yours), 1e-9)))
    return read(Field(*columns, word="gradient"), rules=BLOCKS)


def test_the_right_gradient_passes_and_its_blocks_need_no_explanation():
    assert check_gradient(loss, gradient, THETA)
    assert [e.key for e in blocks(gradient(THETA), gradient(THETA))] == ["right"]
    assert [e.key for e in blocks(gradient(THETA), WRONG["one block doubled"][0](gradient(THETA)))] == [
        "scale of blocks"
    ]


def test_blocks_in_each_others_place_with_one_parameter_between():
    reference = THETA[:9]
    (found,) = blocks(reference, reference[[0, 5, 6, 7, 4, 1, 2, 3, 8]])
    assert found.key == "swapped blocks" and "theta[1:4] and theta[5:8]" in found.sentence, found


def test_two_numbers_side_by_side_are_a_matrix_of_two_by_two_alone():
    assert [e.key for e in blocks(THETA[:6], THETA[[0, 2, 1, 3, 4, 5]])] == ["transposed block"]


def test_as_many_stretches_as_a_third_of_the_parameters_are_few():
    (found,) = blocks(THETA[:9], THETA[:9] * np.repeat([2.0, 1.0, 3.0], 3))
    assert (
        found.key == "scale of blocks"
        and "theta[0:3] is 2 times the reference, that of theta[6:9] is 3" in found.sentence
    )
    assert blocks(THETA[:8], THETA[:8] * np.array([2.0, 2, 1, 1, 3, 3, 5, 5])) == []


def test_rows_of_other_fields_are_parameters_here():
    report = check_gradient(plain, lambda t: np.roll(slopes(t), 1), START)
    assert report.verdict == "FAIL" and "parameter i is the reference at parameter i - 1" in report.diagnosis, report


def test_no_explanation_is_invented_for_random_gradients():
    """Of 300 gradients of noise, none is a transposed or exchanged block, or a few stretches with a factor."""
    rng = np.random.default_rng(2)
    for _ in range(300):
        p = int(rng.integers(2, 40))
        assert blocks(*rng.standard_normal((2, p))) == []


def test_a_single_transposed_matrix_is_theta_as_a_whole():
    theta = THETA[:12].reshape(3, 4)
    small = lambda t: loss(np.concatenate([np.ravel(t), THETA[12:]]))
    of = lambda t: gradient(np.concatenate([np.ravel(t), THETA[12:]]))[:12].reshape(3, 4)
    assert check_gradient(small, of, theta)
    report = check_gradient(small, lambda t: of(t).T, theta)
    assert report.verdict == "FAIL" and "a matrix (3, 4), is flattened as (4, 3)" in report.diagnosis, report


def test_right_difference_quotients_pass_with_a_note_and_forward_ones_of_a_long_step_do_not():
    """Central differences at 1e-6, right to 1e-10, were "different: no parameter is right"."""
    small = lambda t: float(np.sum(np.cosh(MIX[:5, :5] @ t / 4)))
    theta, axes = THETA[:5], np.eye(5)
    central = lambda t, h=1e-6: np.array([(small(t + h * e) - small(t - h * e)) / (2 * h) for e in axes])
    report = check_gradient(small, central, theta)
    assert report and any(
        "(difference quotients, random numbers, a kink or a jump?)" in note for note in report.notes
    ), report
    forward = lambda t, h=1e-4: np.array([(small(t + h * e) - small(t)) / h for e in axes])
    assert check_gradient(small, forward, theta).verdict == "FAIL"


# ------------------------------------------------------------------------------- what people hand in


def plain(theta):
    """sum log cosh of theta less 0, 1, ..., for any number of parameters."""
    return float(np.sum(np.log(np.cosh(theta - np.arange(len(theta))))))


def slopes(theta):
    return np.tanh(theta - np.arange(len(theta)))


START = np.linspace(-1, 2, 6)
UNUSABLE = {  # loss, gradient, verdict, name
    "another shape": (plain, lambda t: slopes(t)[:5], "FAIL", "shape"),
    "NaN": (plain, lambda t: np.where(t > 1, np.nan, slopes(t)), "FAIL", "not finite"),
    "zero": (plain, lambda t: 0 * t, "FAIL", "zero"),
    "stale": (plain, lambda t: slopes(0 * START), "FAIL", "stale"),
    "an array of something else": (plain, slopes(0 * START), "FAIL", "different"),
    "a term left out": (lambda t: plain(t) + np.sum(np.sin(3 * t)), slopes, "FAIL", "another loss"),
    "of the logarithm": (plain, lambda t: slopes(t) / plain(t), "FAIL", "gradient of log L"),
    "of the root": (plain, lambda t: slopes(t) / np.sqrt(plain(t)) / 2, "FAIL", "gradient of the root of L"),
    "of the square": (plain, lambda t: 2 * slopes(t) * plain(t), "FAIL", "gradient of L^2"),
    "of the logarithm of less than one": (lambda t: plain(t) / 100, lambda t: slopes(t) / plain(t), "FAIL", "gradient of log L"),
    "clipped": (plain, lambda t: slopes(t) / np.linalg.norm(slopes(t)), "FAIL", "clipped"),
    "a cycle of three": (plain, lambda t: slopes(t)[[1, 2, 0, 3, 5, 4]], "FAIL", "parameters permuted"),
    "of no loss": (lambda t: np.nan, slopes, "INCONCLUSIVE", "not finite"),
    "beside an offset": (lambda t: plain(t) + 1e12, slopes, "INCONCLUSIVE", "unresolved"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSABLE)
def test_gradients_of_every_kind_get_their_verdict(name):
    loss, gradient_of, verdict, key = UNUSABLE[name]
    report = check_gradient(loss, gradient_of, START)
    assert report.verdict == verdict and report.name == key, report
    assert report.summary.startswith("6 parameters, float64 gradient"), report


def test_right_gradients_of_every_kind_pass():
    """An array for a function, one parameter, all of them equal, a linear loss, float32, a step."""
    assert check_gradient(plain, slopes(START), START)
    one = check_gradient(plain, slopes, np.array([0.3]))
    assert one and one.summary.startswith("1 parameter,"), one
    assert check_gradient(lambda t: float(np.sum(np.cosh(t - 0.5))), lambda t: np.sinh(t - 0.5), np.zeros(4))
    assert check_gradient(lambda t: float(t @ START), lambda t: START, START)
    single = check_gradient(plain, lambda t: slopes(t).astype(np.float32), START)
    assert single and "precision is lost inside gradient" in single.notes[-1], single
    assert check_gradient(plain, slopes, START, step=0.1)


def test_the_parameter_that_is_furthest_off_is_named():
    report = check_gradient(plain, lambda t: slopes(t) + 0.1 * (np.arange(6) == 3), START)
    assert report.verdict == "FAIL" and report.worst.place == "theta[3]", report


def test_nothing_is_a_multiple_of_rounding():
    """The gradient of softmax(t).c has mean 0; its factor beside a wrong one, -2e14, is that of two roundings."""
    c, p = np.array([1.0, -2.0, 0.5]), lambda t: np.exp(t) / np.exp(t).sum()
    report = check_gradient(lambda t: p(t) @ c, lambda t: c * p(t) * (1 - p(t)), np.array([0.2, -0.4, 0.9]))
    assert report.verdict == "FAIL" and report.name == "no gradient", report


def test_rtol_is_relative_to_the_norm_of_the_gradient():
    off = lambda t: 1.0001 * slopes(t)
    assert check_gradient(plain, off, START, rtol=1e-3) and not check_gradient(plain, off, START, rtol=1e-5)


def test_a_gradient_of_zero_where_the_loss_is_flat_is_said_to_decide_nothing():
    """Its resolution was 8e+286, "the halvings disagree"."""
    report = check_gradient(lambda t: 3.0, lambda t: 0 * t, START)
    assert report.verdict == "INCONCLUSIVE" and "zero" in report.diagnosis and "other theta" in report.diagnosis, report


@pytest.mark.parametrize(
    "loss, gradient_of, theta, error, words",
    [
        (3.0, slopes, START, TypeError, "expected a function of theta"),
        (np.cosh, slopes, START, ValueError, "6 numbers, expected one"),
        (plain, slopes, np.full(6, np.nan), ValueError, "theta"),
        (plain, slopes, np.zeros(0), ValueError, "theta is empty"),
        (lambda t: plain(t) + 1j, slopes, START, ValueError, "complex number"),
    ],
)
def test_misuse_names_the_argument(loss, gradient_of, theta, error, words):
    with pytest.raises(error, match="check_gradient") as raised:
        check_gradient(loss, gradient_of, theta)
    assert words in str(raised.value)


def test_a_gradient_that_accumulates_is_told_at_its_second_call():
    total = np.zeros(6)

    def accumulating(theta):
        total[:] += slopes(theta)
        return total.copy()

    report = check_gradient(plain, accumulating, START)
    assert report.verdict == "FAIL" and report.name == "accumulated gradient", report


def test_random_losses_are_seeded_and_one_that_is_not_decides_nothing():
    rng = np.random.default_rng(0)
    report = check_gradient(lambda t: plain(t) + rng.random(), slopes, START)
    assert report.verdict == "INCONCLUSIVE" and report.name == "random loss", report
    assert check_gradient(lambda t: plain(t) + np.random.random(), slopes, START)  # noqa: NPY002  as users do


def test_of_many_parameters_those_looked_at_are_called_by_their_own_numbers():
    """Of 700 parameters 48 are looked at one by one: the 21st of them was called parameter 20."""
    p = 700
    far = np.random.default_rng(2).standard_normal(p)
    loss, right = (lambda t: float(np.sum(np.log(np.cosh(t))))), np.tanh(far)
    first_half = check_gradient(loss, np.where(np.arange(p) < 350, 2, 1) * right, far)
    assert first_half.verdict == "FAIL" and "off by a factor of 2" in first_half.diagnosis, first_half
    named = first_half.diagnosis.split("one by one, parameters ")[1].split(" of your")[0]
    assert [int(k) for k in re.findall(r"\d+", named)] == sorted(chosen(p))[:8], first_half
    unseen = next(k for k in range(p) if k not in chosen(p))
    elsewhere = check_gradient(loss, right + 0.5 * (np.arange(p) == unseen), far)
    assert elsewhere.verdict == "FAIL" and elsewhere.name == "other parameters", elsewhere
    assert check_gradient(loss, np.cos(7 * far), far).name == "different"


def chosen(p):
    """The parameters that the seed 0 chooses."""
    return np.random.default_rng(0).choice(p, 48, replace=False)


# ------------------------------------------------------------------------------- the gradient of something else

SECOND, AT = (
    np.cov(np.random.default_rng(2).standard_normal((3, 40)) * [[1.0], [2.0], [0.5]]),
    np.random.default_rng(3).standard_normal((3, 3)),
)
POINTS = np.random.default_rng(4).standard_normal((12, 3))


def implicit_of(P):
    """The implicit loss of the score -P x on data of second moments S: 1/2 tr(P S P^T) - tr P, whose gradient is P S - I."""
    return 0.5 * np.trace(P @ SECOND @ P.T) - np.trace(P)


def noisy_loss(P, rng=np.random):
    y = POINTS + 0.5 * rng.standard_normal(POINTS.shape)
    return 0.5 * np.mean(np.sum((-y @ P.T + (y - POINTS) / 0.25) ** 2, axis=1))


def noisy_gradient(P, skip, terms=1.0):
    y = POINTS + 0.5 * np.random.standard_normal((skip + 1, *POINTS.shape))[-1]  # noqa: NPY002  as users do
    return (terms * y @ P.T - (y - POINTS) / 0.25).T @ y / len(POINTS)


def test_a_gradient_of_something_else_is_called_by_what_it_is():
    name = lambda loss, gradient, theta=AT: check_gradient(loss, gradient, theta).name
    assert name(implicit_of, lambda P: P @ SECOND - np.eye(3)) == ""
    assert name(implicit_of, lambda P: SECOND @ P - np.eye(3)) == "order of a product"
    report = check_gradient(implicit_of, lambda P: P @ SECOND, AT)
    assert report.name == "terms of the loss" and "those of degree 1 are missing" in report.diagnosis, report
    assert (
        "degree 2 have the factor 2 in"
        in check_gradient(implicit_of, lambda P: 2 * P @ SECOND - np.eye(3), AT).diagnosis
    )
    assert name(implicit_of, lambda P: P @ SECOND - np.ones((3, 3)) + P[0, 0]) not in (
        "",
        "terms of the loss",
        "order of a product",
    )
    assert name(noisy_loss, lambda P: noisy_gradient(P, 0)) == ""
    assert name(noisy_loss, lambda P: noisy_gradient(P, 1)) == "other random numbers"
    assert name(noisy_loss, lambda P: noisy_gradient(P, 1, terms=0.5)) != "other random numbers"  # biased as well


# ------------------------------------------------------------------------------- explanations of gradients that are known to all digits

REFERENCE = np.array([1.0, -2.0, 0.5, 3.0, -1.5, 0.7, 2.2, -0.9, 1.3, -2.6, 0.4, 1.9])


def moved(order, p=12):
    return REFERENCE[:p][np.asarray(order)]


def flipped(p, *matrices):
    """The order of p parameters in which matrices, as (start, rows, columns), are flattened by columns."""
    order = np.arange(p)
    for s, a, b in matrices:
        order[s : s + a * b] = order[s : s + a * b].reshape(a, b).T.ravel()
    return order


def test_each_two_stretches_that_change_places_are_found():
    """Of 12 parameters: side by side, of any lengths; of one length with others between."""
    said = []
    for a in range(0, 12, 3):
        for middle in range(a + 1, 12, 2):
            for end in range(middle + 1, 13, 2):
                order = np.r_[0:a, middle:end, a:middle, end:12]
                keys = [f"{e.key} {e.sentence} {e.constants} {e.pattern}" for e in blocks(REFERENCE, moved(order))]
                assert any(f"theta[{a}:{middle}] and theta[{middle}:{end}]" in k for k in keys) == (end - a > 2), (
                    a,
                    middle,
                    end,
                )
                said.append(f"{a} {middle} {end}: {keys}")
    for size in (1, 2, 3):
        for a, b in ((0, 6), (2, 9), (1, 5)):
            order = np.r_[0:a, b : b + size, a + size : b, a : a + size, b + size : 12]
            said.append(f"{a} {b} {size}: {[e.diagnosis for e in blocks(REFERENCE, moved(order))]}")
            assert ("swapped blocks" in said[-1]) == (size > 1), said[-1]
    hold("\n".join(said))


MATRICES = {
    "two by two": [(0, 2, 2)], "at the end": [(8, 2, 2)], "two by three": [(1, 2, 3)], "three by two": [(1, 3, 2)], "three by four": [(0, 3, 4)],
    "two by six": [(0, 2, 6)], "six by two": [(0, 6, 2)], "two": [(0, 2, 2), (6, 2, 3)], "three": [(0, 2, 2), (4, 2, 2), (8, 2, 2)],
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_matrices_that_are_flattened_by_columns_are_found_with_their_shapes(name):
    found = blocks(REFERENCE, moved(flipped(12, *MATRICES[name])))
    words = ["; ".join(f"theta[{s}:{s + a * b}], a matrix ({a}, {b})" for s, a, b in MATRICES[name])]
    assert found[0].key == "transposed block" + "s" * (len(MATRICES[name]) > 1) and words[0] in found[0].sentence, found
    hold("\n".join(f"{e.diagnosis} {e.constants} {e.pattern} {e.residual:.1e}" for e in found))


def test_more_than_eight_blocks_are_no_explanation():
    many = np.random.default_rng(7).standard_normal(40)
    of = lambda k: blocks(many, many[flipped(40, *((4 * i, 2, 2) for i in range(k)))])
    assert [e.key for e in of(8)] == ["transposed blocks"] and of(9) == []
    factors = lambda k: many * np.r_[np.repeat(np.arange(2.0, 2 + k), 4), np.ones(40 - 4 * k)]
    assert [e.key for e in blocks(many, factors(7))] == ["scale of blocks"]  # and one that is right
    assert blocks(many, factors(8)) == []


STRETCHES = {  # factors, found
    "one": ([2.0] * 12, True), "the first": ([2.0] * 4 + [1.0] * 8, True), "a sign": ([1.0] * 6 + [-1.0] * 6, True),
    "nothing": ([0.0] * 5 + [1.0] * 7, True), "three": ([0.5] * 4 + [3.0] * 4 + [1.0] * 4, True), "four": ([0.5] * 3 + [3.0] * 3 + [1.0] * 3 + [7.0] * 3, True),
    "five": ([0.5] * 3 + [3.0] * 3 + [1.0] * 2 + [7.0] * 2 + [4.0] * 2, False), "one alone": ([1.0] * 6 + [2.0] + [1.0] * 5, False),
    "one part in a million": ([1 + 0.9e-6] * 6 + [1.0] * 6, False), "more than that": ([1 + 1.2e-6] * 6 + [1.0] * 6, True), "no plain factor": ([0.7312] * 6 + [1.0] * 6, True),
}  # fmt: skip


@pytest.mark.parametrize("name", STRETCHES)
def test_stretches_with_a_factor_each_are_said_where_they_are_few(name):
    factors, there = STRETCHES[name]
    found = [e for e in blocks(REFERENCE, REFERENCE * factors) if e.key == "scale of blocks"]
    assert bool(found) == there, found
    hold("\n".join(f"{e.diagnosis} {e.constants} {e.pattern} {e.residual:.1e}" for e in found))


def test_numbers_next_to_zero_tell_no_factor():
    """Clear is what is a thousand times its tolerance, and two of a stretch must be."""
    for size, there in ((1.1e3, True), (0.9e3, False)):
        small = REFERENCE.copy()
        small[6:] = 0.0
        field = lambda yours, reference=small: Field(
            yours[:, None], reference[:, None], np.full((12, 1), 1e-9), word="gradient"
        )
        allowed = float(field(small).allowed(small[:, None])[7, 0])
        small[[7, 9]] = size * allowed
        yours = small * np.repeat([1.0, 2.0], 6)
        assert bool(list(stretched(field(yours)))) == there


class Told:
    """A function of rows of theta."""

    def __init__(self, function, shape=None):
        self.function, self.shape = function, shape

    def __call__(self, rows):
        return np.array([np.ravel(self.function(row)) for row in rows])


A, B, C = np.array([1.0, -2.0, 0.5]), np.diag([1.0, 2.0, 3.0]), np.array([0.3, -0.2, 0.7])
TERMS = (A, lambda t: B @ t, lambda t: C * t**2, lambda t: A * t**3)  # gradients of terms of degree 1 to 4


def polynomial(factors):
    return lambda t: factors[0] * A + sum(f * g(t) for f, g in zip(factors[1:], TERMS[1:], strict=True))


DEGREES = {  # factors of the loss, of the gradient
    "first missing": ((1, 1, 0, 0), (0, 1, 0, 0)), "second doubled": ((1, 1, 1, 0), (1, 2, 1, 0)), "two wrong": ((1, 1, 1, 1), (1, -1, 1, 0.5)),
    "all wrong": ((1, 1, 0, 0), (2, 3, 0, 0)), "fourth": ((0, 1, 0, 1), (0, 1, 0, 3)), "one degree": ((0, 1, 0, 0), (0, 2, 0, 0)),
    "nearly right": ((1, 1, 0, 0), (1, 1 + 0.9e-6, 0, 0)), "not quite right": ((1, 1, 0, 0), (1, 1 + 1.2e-6, 0, 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", DEGREES)
def test_terms_of_a_polynomial_are_told_by_their_degree(name):
    of, yours = map(polynomial, DEGREES[name])
    at, asked = np.array([0.4, -1.2, 0.9]), []

    def along(t):
        asked.append(t / at)
        return of(t)[:, None]

    field = Field(yours(at)[:, None], of(at)[:, None], np.full((3, 1), 1e-12), word="gradient")
    found = list(by_degree(field, along, at))
    assert bool(found) == (name != "one degree")
    hold("\n".join(f"{e.diagnosis} {e.constants} {e.residual <= 1}" for e in found))
    assert (
        len(asked) == 4 and all(np.ptp(t) < 1e-15 for t in asked) and len({round(t[0], 9) for t in asked} | {1.0}) == 5
    )


def test_what_is_no_polynomial_of_four_degrees_has_no_terms():
    at = np.array([0.4, -1.2, 0.9])
    for of in (np.tanh, lambda t: A + t**4, lambda t: A + B @ t + 1e-6 * np.sin(9 * t)):
        field = Field(np.ones((3, 1)), of(at)[:, None], np.full((3, 1), 1e-12), word="gradient")
        assert list(by_degree(field, lambda t, of=of: of(t)[:, None], at)) == []


def times(c, tolerance=1e-9):
    column = REFERENCE[:6, None]
    return Field(c * column, column, np.full((6, 1), tolerance), word="gradient")


def test_gradients_of_functions_of_the_loss_are_told_by_its_value():
    of = lambda c, L: [e.key for e in of_the_loss(times(c), L)]
    assert of(1 / 7.3, 7.3) == ["gradient of log L"] and of(14.6, 7.3) == ["gradient of L^2"]
    assert of(0.5 / np.sqrt(7.3), 7.3) == ["gradient of the root of L"]
    assert of(1 / 7.3, -7.3) == [] and of(-14.6, -7.3) == [] and of(1 / 7.3, 0.0) == []
    assert of(2.0, 0.5) == [] and of(4.0, 2.0) == []  # 1/L, 2 L: a whole number is a factor, and not of the loss
    (found,) = of_the_loss(times(1 / 7.3), 7.3)
    hold(f"{found.diagnosis} {found.constants} {found.pattern} {found.residual:.1e}")
    rtol = times(1.0).rtol
    assert of(14.6 * (1 + 7 * rtol), 7.3) == ["gradient of L^2"] and of(14.6 * (1 + 9 * rtol), 7.3) == []


def test_a_norm_that_is_a_round_number_is_a_limit():
    norm = np.linalg.norm(REFERENCE[:6])
    of = lambda to, off=0.0: [e.key for e in shortened(times(to / norm), to * (1 + off))]
    assert of(1.0) == of(0.5) == of(3.0) == of(10.0) == ["clipped"] and of(1.1) == of(norm) == of(-1.0) == []
    assert "normalised to that norm" in next(shortened(times(10 / norm), 10.0)).sentence
    assert of(1.0, 0.9e-5) == ["clipped"] and of(1.0, 1.1e-5) == []
    (found,) = shortened(times(0.5 / norm), 0.5)
    hold(f"{found.diagnosis} {found.constants} {found.pattern} {found.residual:.1e}")


def test_a_product_in_the_wrong_order_shows_at_the_transposed_matrix():
    S, at = np.array([[2.0, 0.3], [0.1, 1.0]]), np.array([1.0, 2.0, -0.5, 0.7])
    right = lambda t: t.reshape(2, 2) @ S
    wrong = lambda t: (t.reshape(2, 2).T @ S).T
    field = lambda yours: Field(
        yours(at).reshape(-1, 1), right(at).reshape(-1, 1), np.full((4, 1), 1e-9), word="gradient"
    )
    key = lambda yours, shape: [e.key for e in _other_side(field(yours), Told(yours, shape), at)]
    assert key(wrong, (2, 2)) == ["order of a product"] and key(lambda t: 2 * wrong(t), (2, 2)) == []
    assert key(wrong, (4,)) == key(wrong, (4, 1)) == key(wrong, (1, 4)) == []


def test_the_loss_is_asked_along_parameters_and_mixtures_within_the_step():
    asked = []
    of = lambda t: (asked.append(np.array(t)), plain(t))[1]
    for options, width in (({}, 0.5 * START.std()), ({"step": 0.3}, 0.3)):
        asked.clear()
        report = check_gradient(of, slopes, START, **options)
        moves = np.array(asked) - START
        np.testing.assert_allclose(np.abs(moves[:, :6]).max(), width, rtol=1e-12)
        together = moves[(np.abs(moves) > 0).sum(1) == 6]
        assert len(together) == 8 * 18 and np.ptp(np.abs(together), axis=1).max() < 1e-14, report
        np.testing.assert_allclose(np.linalg.norm(together, axis=1).max(), width, rtol=1e-9)
    assert report.summary == f"6 parameters, float64 gradient, {len(asked)} loss evaluations"
    for theta, width in (
        (np.full(3, 2.0), 1.0),
        (np.zeros(3), 0.5),
        (np.array([-4.0]), 2.0),
    ):  # one value: its size, or 1
        asked.clear()
        check_gradient(of, slopes, theta)
        np.testing.assert_allclose(np.abs(np.array(asked) - theta).max(), width, rtol=1e-12)


def test_as_many_parameters_as_coordinates_are_looked_at_one_by_one():
    p, loss = 60, lambda t: float(np.sum(np.cosh(t)))
    theta = np.random.default_rng(5).standard_normal(p)
    alone = lambda **options: (
        sum((np.abs(t - theta) > 0).sum() == 1 for t in seen(loss, np.sinh, theta, **options)) / 18
    )
    assert (
        alone() == 48
        and alone(coordinates=60) == 60
        and alone(coordinates=61) == 60
        and alone(coordinates=5, rng=3) == 5
    )


def seen(loss, gradient, theta, **options):
    """All theta at which the loss is asked."""
    asked = []
    check_gradient(lambda t: (asked.append(np.array(t)), loss(t))[1], gradient, theta, **options)
    return asked


def test_a_name_with_one_constant_stands_alone_beside_the_terms_of_a_loss():
    """1.3 times the terms of degree 2 are a weight decay of 0.3 as well, in words that more people know."""
    loss, wrong = (lambda t: float(AT[0] @ t + t @ t / 2)), lambda t: AT[0] + 1.3 * t
    report = check_gradient(loss, wrong, np.array([0.4, -1.2, 0.9]))
    assert report.name == "weight decay" and "terms of the loss" not in report.diagnosis, report
