"""A field beside its reference: every transformation of the tables is recognised, ties stay ties, and noise is explained by nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check import fields
from numpyscore.check.fields import MAPS, Field, few, moved, numbered, where
from numpyscore.check.fields import read as read_all
from numpyscore.check.report import Explanation, diagnosis_of, ranked, tied

RNG = np.random.default_rng(0)
X = 0.4 + RNG.standard_normal((7, 3)) * [0.5, 1.0, 2.0]
S = np.tanh(X @ RNG.standard_normal((3, 3))) - 0.3 * X  # of order one, no symmetry
ENERGY = 0.5 + np.sum(X**2, axis=1)
DOUBT = 1e-12


def read_field(theirs, reference, tolerance, among=(), **known):
    return read_all(Field(theirs, reference, tolerance, **known), among)


def read(theirs, reference=S, among=()):
    return read_field(theirs, reference, DOUBT, among, x=X, energy=ENERGY)


class Beside:
    """What a map may ask for."""

    theirs, x, energy = np.clip(S, -0.4, 0.6), X, ENERGY


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.37])
@pytest.mark.parametrize("row", MAPS, ids=lambda row: row.key)
def test_every_row_of_the_table_is_recognised(row, factor):
    reference = S if row.key != "transposed" else S[:3]
    x = np.exp(X) if row.key == "chain rule" else X  # which has a logarithm
    t = row.of(reference, SimpleNamespace(theirs=Beside.theirs, x=x, energy=ENERGY))
    found = read_field(factor * t, reference, DOUBT, x=x[: len(reference)], energy=ENERGY[: len(reference)])
    assert row.key in [e.key for e in tied(found)], found
    assert found[0].constants == (factor == 0.37 and not row.free), found
    if factor < 0:
        assert any("wrong sign" in e.sentence for e in tied(found)), found


OTHERS = {  # theirs, key
    "sign": (-S, "sign"),
    "a mean over the batch": (S / 7, "scale"),
    "a factor": (1.01 * S, "scale"),
    "zero": (0 * S, "zero"),
    "constant": (0 * S + 3, "constant"),
    "confinement": (S + 0.7 * X, "linear term"),
    "shift": (S + [1, 2, 3], "constant shift"),
    "two columns": (S[:, [1, 0, 2]], "columns permuted"),
    "three rows": (S[[1, 2, 0, 3, 4, 5, 6]], "rows permuted"),
    "one dimension": (S * [1, 0, 1], "no score for some dimensions"),
    "two signs": (S * [1, -1, -1], "sign of some dimensions"),
    "one scale": (S * [1, 2, 1], "scale of some dimensions"),
    "all scales": (S * [0.3, 2, 5], "scale of each dimension"),
    "entries clipped": (np.clip(S, -0.4, 0.4), "clipped"),
    "rows clipped": (S * np.minimum(1, 0.7 / np.linalg.norm(S, axis=1))[:, None], "clipped"),
    "two rows": (S * np.where(np.arange(7) < 2, 1.1, 1)[:, None], "some rows"),
    "no two rows": (S * (np.arange(7) > 1)[:, None], "no score for some rows"),
    "weights": (S * RNG.uniform(0.5, 2, (7, 1)), "factor of each row"),
    "a matrix": (S @ RNG.standard_normal((3, 3)), "other coordinates"),
    "covariance": (S @ np.cov(X.T), "preconditioned"),
    "a rotation": (S @ np.linalg.qr(RNG.standard_normal((3, 3)))[0], "rotated"),
    "single precision": (S.astype(np.float32).astype(float), "precision"),
    "nearly": (S + 1e-5 * RNG.standard_normal(S.shape), "inaccurate"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_rule_is_recognised(name):
    theirs, key = OTHERS[name]
    first, *_ = read(theirs)
    assert first.key == key and first.right == (key == "precision"), read(theirs)


def test_a_matrix_is_shown_and_a_covariance_is_one_constant():
    (other, *_) = read(S @ np.array([[2.0, 0.1234567, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 3.0]]))
    assert other.constants == 9 and " 0.1235 " in other.pattern and "e-" not in other.pattern, other
    (covariance, *_) = read(S @ np.cov(X.T))
    assert covariance.constants == 1 and covariance.sentence == "your score is multiplied by the covariance of x", (
        covariance
    )


def test_a_dimension_off_by_a_factor_is_named_with_it():
    """It was "scale of some dimensions" of two empty lists where no factor was off."""
    (first, *_) = read(S * [1, 2, 1])
    assert first.sentence == "dimension 1 of your score is off by a factor of 2, the others are right"


def test_equal_fields_are_right_and_others_of_noise_are_explained_by_nothing():
    assert [e.key for e in read(S)] == ["right"] and [e.key for e in read(S + 0.9 * DOUBT)] == ["right"]
    for seed in range(20):
        found = read(np.random.default_rng(seed).standard_normal(S.shape))
        assert [e.key for e in found] == ["linear"] * (seed == 0)  # the noise that X is made of


def test_what_is_off_by_less_than_a_hundredth_is_inaccurate():
    norm = np.linalg.norm(S, axis=1, keepdims=True)
    size = np.maximum(norm, np.sqrt(np.mean(norm**2)))
    signs = np.where(np.random.default_rng(3).random(S.shape) < 0.5, -1.0, 1.0)
    keys = lambda by: [e.key for e in fields.rounded(Field(S + by * size * signs, S, DOUBT + 0 * S, x=X))]
    assert keys(0.99e-2) == ["inaccurate"] and keys(1.01e-2) == []


def test_entries_beyond_a_threshold_are_wrong_in_several_dimensions_alone():
    x = np.random.default_rng(4).standard_normal((12, 2))
    keys = lambda x, wrong: [
        e.key for e in fields.by_entry(Field(np.where(wrong, 2.5, 1.0) * x, x, DOUBT + 0 * x, x=x))
    ]
    assert keys(x, np.abs(x) > 1) == ["some entries"] and keys(x[:1], np.abs(x[:1]) > 1) == []
    assert keys(x.reshape(-1, 1), np.abs(x.reshape(-1, 1)) > 1) == []  # rows, which `located` tells
    assert keys(x, np.abs(x) >= np.abs(x).max()) == []  # one entry lies beyond some threshold always


def test_one_row_has_no_factor_for_each_dimension_unless_some_are_right():
    keys = lambda factors: {e.key for e in read_field(S[:1] * factors, S[:1], DOUBT)}
    assert "scale of some dimensions" in keys([2.3, 1, 1]) and not keys([2.3, 3.1, 5.7]) and not keys([0, 3.1, 5.7])


def test_a_constant_of_two_rows_is_one_and_no_clip():
    assert [e.key for e in read_field(np.full((2, 3), 3.0), S[:2], DOUBT)] == ["constant"]


def test_rows_of_one_length_are_normalised_and_not_clipped():
    short = 0.1 * S / np.linalg.norm(S, axis=1, keepdims=True)
    assert [e.key for e in tied(read(short))] == ["normalised"]
    root = read_field(
        0.3 * X / np.linalg.norm(X, axis=1, keepdims=True), -X, DOUBT, x=X, energy=np.sum(X**2, axis=1) / 2
    )
    assert {e.key for e in tied(root)} == {"normalised", "root of the energy"}, (
        root
    )  # of a quadratic energy they are one


def test_a_shift_is_no_round_off_however_small():
    """One constant explains it; round-off of single precision, of the same size, leaves every difference open."""
    assert {e.key for e in tied(read(S + 3e-8))} == {"constant shift"}


def test_what_the_numbers_do_not_decide_is_a_tie():
    """With as many rows as dimensions 1/n is 1/d; with two rows the previous is the next."""
    square = read_field(S[:3] / 3, S[:3], DOUBT)
    assert {e.detail["reading"] for e in tied(square)} >= {"1/n", "1/d"}
    two = read_field(S[1::-1], S[:2], DOUBT)
    assert {e.key for e in tied(two)} >= {"previous row", "next row", "rows reversed"}


def test_fields_of_another_formula_are_recognised_among_those_given():
    other = RNG.standard_normal(S.shape)
    found = read(-2 * other, among=[("another level", "it is the reference at the level before", other)])
    assert found[0].key == "another level" and found[0].sentence.endswith("times -2") and found[0].constants == 1


def test_an_explanation_holds_for_every_entry_or_is_none():
    almost = -S + 1e-9 * (
        np.arange(21).reshape(7, 3) == 4
    )  # one entry contradicts the sign by a thousand times the doubt
    assert not any(e.key == "sign" for e in read(almost))
    near, far = (Explanation("a", "", constants=2, residual=r) for r in (0.9, 1.1))
    simple = Explanation("b", "", constants=1)
    assert ranked([far, near, simple]) == [simple, near]
    four = [Explanation(key, "it is") for key in "abacd"]
    assert diagnosis_of(four) == "a: it is -- or -- b: it is -- or -- c: it is"  # each once, and three of them


# ------------------------------------------------------------------------------- rule by rule

X1, S1 = X[:, :1], S[:, :1]
NUMBER = np.arange(7)[:, None]
FACTOR = np.array([1, 1.1, 1, 1, 2, 1, 1])[:, None]
MATRIX = np.array([[2.0, 0.1234567, 0.5], [-1.5, 1.0, 1.0], [0.25, -0.75, 3.0]])
ORTHOGONAL = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2 + np.eye(3))[0]
CURVED = np.cos(X)
PARAMETERS = {"of": "theta", "word": "gradient"}


def beside(theirs, reference=S, **more):
    known = {"n": len(reference), "d": reference.shape[1]}
    of_x = (
        {"x": X, "energy": ENERGY}
        if len(reference) == 7
        else {"x": X[: len(reference)], "energy": ENERGY[: len(reference)]}
    )
    return Field(
        np.asarray(theirs, float), reference, np.full(reference.shape, DOUBT), **{"known": known} | of_x | more
    )


SAID = {  # rule, field, (key, constants, sentence, pattern) of each explanation that holds
    "half": (fields.scaled, beside(S / 2), [("scale", 0, "your score is 1/2 times the reference (a factor 1/2 too many, a half that is left out, a difference over 2 h in place of h?)", "yours = 0.5 x reference")]),
    "double": (fields.scaled, beside(2 * S), [("scale", 0, "your score is 2 times the reference (a square without its 1/2, a pair counted twice, a sum that goes on, or accumulates, a difference over h in place of 2 h?)", "yours = 2 x reference")]),
    "minus three": (fields.scaled, beside(-3 * S), [("scale", 0, "your score is d times the reference, 3 here, with the wrong sign (a sum over dimensions where a mean is meant?)", "yours = -3 x reference"), ("scale", 0, "your score is 3 times the reference, with the wrong sign (a factor, a temperature, a variance that is left out or twice there, a sum for a mean?)", "yours = -3 x reference")]),
    "a mean over the batch": (fields.scaled, beside(S / 7), [("scale", 0, "your score is 1/n times the reference, 1/7 here (a mean over the batch where a sum is meant?)", "yours = 0.142857142857 x reference")]),
    "its negative": (fields.scaled, beside(-S / 7), [("scale", 0, "your score is 1/n times the reference, 1/7 here, with the wrong sign (a mean over the batch where a sum is meant?)", "yours = -0.142857142857 x reference")]),
    "sign": (fields.scaled, beside(-S), [("sign", 0, "this is grad E; the score is -grad E = grad log p", "yours = -1 x reference")]),
    "sign of a gradient": (fields.scaled, beside(-S, word="gradient"), [("sign", 0, "your gradient is minus the reference", "yours = -1 x reference")]),
    "nothing": (fields.scaled, beside(0 * S), [("zero", 0, "your score is zero everywhere (the graph is cut, the energy is not used, differences of a tiny step are rounded away?)", "yours = 0 x reference")]),
    "some number": (fields.scaled, beside(1.2345 * S), [("scale", 1, "your score is 1.2345 times the reference", "yours = 1.2345 x reference")]),
    "a large number": (fields.scaled, beside(1234.5 * S), [("scale", 1, "your score is 2469/2 times the reference (other units, not divided by the step of a difference, or by its square?)", "yours = 1234.5 x reference")]),
    "less than a thousand": (fields.scaled, beside(990.5 * S), [("scale", 1, "your score is 1981/2 times the reference", "yours = 990.5 x reference")]),
    "a small number": (fields.scaled, beside(-1.2345e-4 * S), [("scale", 1, "your score is -0.00012345 times the reference (other units, not divided by the step of a difference, or by its square?)", "yours = -0.00012345 x reference")]),
    "more than a thousandth": (fields.scaled, beside(1.012e-3 * S), [("scale", 1, "your score is 0.001012 times the reference", "yours = 0.001012 x reference")]),
    "a third": (fields.scaled, beside(S / 3), [("scale", 0, "your score is 1/d times the reference, 1/3 here (a mean over dimensions where a sum is meant?)", "yours = 0.333333333333 x reference"), ("scale", 0, "your score is 1/3 times the reference (a factor, a temperature, a variance that is left out or twice there, a sum for a mean?)", "yours = 0.333333333333 x reference")]),
    "the number of rows": (fields.scaled, beside(7 * S), [("scale", 0, "your score is n times the reference, 7 here (a sum over the batch where a mean is meant?)", "yours = 7 x reference")]),
    "a root": (fields.scaled, beside(2**0.5 * S), [("scale", 1, "your score is sqrt(2) times the reference", "yours = 1.41421356237 x reference")]),
    "two parameters": (fields.scaled, beside(2 * S, known={"p": 2}, word="gradient"), [("scale", 0, "your gradient is 2 times the reference (a square without its 1/2, a pair counted twice, a sum that goes on, or accumulates, a difference over h in place of 2 h?)", "yours = 2 x reference"), ("scale", 0, "your gradient is p times the reference, 2 here", "yours = 2 x reference")]),
    "itself": (fields.scaled, beside(S), []),
    "itself to the digits of single precision": (fields.scaled, beside(S * (1 + 2.0**-24)), []),
    "more than that": (fields.scaled, beside(S * (1 + 2.0**-22)), [("scale", 1, "your score is 1.0000002384 times the reference", "yours = 1.00000023842 x reference")]),
    "one number": (fields.constant, beside(0 * S + 3), [("constant", 1, "your score is 3 at all points", "the same number in every entry")]),
    "one row": (fields.constant, beside(0 * S + [1.0, 2, 3]), [("constant", 3, "your score is the same row for every x", "[1. 2. 3.]")]),
    "one row of two": (fields.constant, beside((0 * S + [1.0, 2, 3])[:2], S[:2]), []),
    "a single row": (fields.constant, beside(0 * S[:1] + 3, S[:1]), []),
    "a vector": (fields.shifted, beside(S + [1.0, 2, 3]), [("constant shift", 3, "your score is the reference plus a constant vector: their energies differ by a linear term (a mean that is left out?)", "yours - reference = [1. 2. 3.] in every row")]),
    "a vector of two numbers": (fields.shifted, beside([1.0, 2, 0] - S), [("constant shift", 3, "your score is minus the reference plus a constant vector: their energies differ by a linear term (a mean that is left out?)", "yours - minus reference = [1. 2. 0.] in every row")]),
    "the same in each dimension": (fields.shifted, beside(S + 0.5), [("constant shift", 1, "your score is the reference plus a constant vector: their energies differ by a linear term (a mean that is left out?)", "yours - reference = [0.5 0.5 0.5] in every row")]),
    "one dimension up": (fields.shifted, beside(S1 + 0.5, S1, x=X1), [("constant shift", 1, "your score is the reference + 1/2 everywhere", "yours - reference = [0.5] in every row")]),
    "one dimension down and turned": (fields.shifted, beside(-S1 - 1 / 3, S1, x=X1), [("constant shift", 2, "your score is minus the reference - 1/3 everywhere", "yours - minus reference = [-0.333333] in every row")]),
    "a shift of one row": (fields.shifted, beside(S[:1] + 1, S[:1]), []),
    "minus x alone": (fields.added, beside(-2 * X), [("multiple of x", 1, "your score is -2 x, and the reference is no multiple of x (terms that are left out, a mean, another formula, the energy is not used?)", "yours = -2.000000000000 x")]),
    "a quadratic term": (fields.added, beside(S + 0.7 * X), [("linear term", 1, "your score is the reference + 7/10 x (the denoised x + sigma^2 s, a drift, a step of a sampler, a quadratic term of the energy, a confinement, a prior, a penalty, a weight decay, in one of them alone or with another factor?)", "yours = 1.000000000000 x reference +0.700000000000 x")]),
    "a quadratic term about the mean": (fields.added, beside(S - 0.7 * (X - X.mean(0))), [("linear term", 1, "your score is the reference - 7/10 (x - mean) (the denoised x + sigma^2 s, a drift, a step of a sampler, a quadratic term of the energy, a confinement, a prior, a penalty, a weight decay, in one of them alone or with another factor?)", "yours = 1.000000000000 x reference -0.700000000000 (x - mean)")]),
    "a logarithm": (fields.added, beside(S + 1 / X), [("logarithmic term", 1, "your score is the reference + 1/x (a logarithm of x in one of them alone, or with another factor: an exponent off by one, the Jacobian of a change of variables?)", "yours = 1.000000000000 x reference +1.000000000000 1/x")]),
    "a Laplace prior": (fields.added, beside(S - 0.3 * np.sign(X)), [("sign term", 1, "your score is the reference - 3/10 sign(x) (a term |x|, a Laplace prior, an L1 penalty, in one of them alone or with another factor?)", "yours = 1.000000000000 x reference -0.300000000000 sign(x)")]),
    "a quartic term": (fields.added, beside(S - 2 * X**3), [("cubic term", 1, "your score is the reference - 2 x^3 (a quartic term in one of them alone, or with another factor?)", "yours = 1.000000000000 x reference -2.000000000000 x^3")]),
    "all but a prior summed": (fields.added, beside(9 * S + 4 * X), [("linear term", 2, "your score is 9 x the reference + 4 x (the denoised x + sigma^2 s, a drift, a step of a sampler, a quadratic term of the energy, a confinement, a prior, a penalty, a weight decay, in one of them alone or with another factor?)", "yours = 9.000000000000 x reference +4.000000000000 x")]),
    "all but a prior averaged": (fields.added, beside(S / 2 - 0.35 * X), [("linear term", 2, "your score is 1/2 x the reference - 7/20 x (the denoised x + sigma^2 s, a drift, a step of a sampler, a quadratic term of the energy, a confinement, a prior, a penalty, a weight decay, in one of them alone or with another factor?)", "yours = 0.500000000000 x reference -0.350000000000 x")]),
    "a weight decay": (fields.added, beside(S + 0.1 * X, **PARAMETERS), [("weight decay", 1, "your gradient is the reference + 1/10 theta (a quadratic term of the energy, a confinement, a prior, a penalty, a weight decay, in one of them alone or with another factor?)", "yours = 1.000000000000 x reference +0.100000000000 theta")]),
    "a quartic penalty": (fields.added, beside(S + 0.1 * X**3, **PARAMETERS), [("cubic term", 1, "your gradient is the reference + 1/10 theta^3 (a quartic term in one of them alone, or with another factor?)", "yours = 1.000000000000 x reference +0.100000000000 theta^3")]),
    "a term, without points": (fields.added, beside(S + X, x=None), []),
    "a term, with other points": (fields.added, beside(S + X, x=X1), []),
    "two columns": (fields.by_dimension, beside(S[:, [1, 0, 2]]), [("columns permuted", 1, "your dimensions are those of the reference in the order 1, 0, 2", "dimensions are those of the reference in the order 1, 0, 2")]),
    "two columns, one turned": (fields.by_dimension, beside(S[:, [1, 0, 2]] * [1, -1, 1]), [("columns permuted", 2, "your dimensions are those of the reference in the order 1, 0, 2, some negated", "dimensions are those of the reference in the order 1, 0, 2, some negated")]),
    "three rows": (fields.by_row, beside(S[[1, 2, 0, 3, 4, 5, 6]]), [("rows permuted", 2, "your rows are those of the reference in the order 1, 2, 0, 3, 4, 5 ...: they are mixed up (a transpose, a shuffle?)", "rows are those of the reference in the order 1, 2, 0, 3, 4, 5 ...: they are mixed up (a transpose, a shuffle?)")]),
    "three rows, one turned": (fields.by_row, beside(S[[1, 2, 0, 3, 4, 5, 6]] * np.where(NUMBER == 3, -1, 1)), [("rows permuted", 3, "your rows are those of the reference in the order 1, 2, 0, 3, 4, 5 ..., some negated: they are mixed up (a transpose, a shuffle?)", "rows are those of the reference in the order 1, 2, 0, 3, 4, 5 ..., some negated: they are mixed up (a transpose, a shuffle?)")]),
    "one row twice": (fields.by_row, beside(S[[1, 1, 0, 3, 4, 5, 6]]), [("rows permuted", 2, "your rows are those of the reference in the order 1, 1, 0, 3, 4, 5 ...: they are mixed up (a transpose, a shuffle?)", "rows are those of the reference in the order 1, 1, 0, 3, 4, 5 ...: they are mixed up (a transpose, a shuffle?)")]),
    "one column twice": (fields.by_dimension, beside(S[:, [1, 1, 2]]), []),
    "no dimension 1": (fields.by_dimension, beside(S * [1, 0, 1]), [("no score for some dimensions", 1, "dimension 1 of your score is zero (detached, or never written?), the others are right", "a factor for each dimension: [1. 0. 1.]")]),
    "two turned": (fields.by_dimension, beside(S * [1, -1, -1]), [("sign of some dimensions", 1, "dimensions 1, 2 of your score have the wrong sign, the others are right", "a factor for each dimension: [ 1. -1. -1.]")]),
    "one doubled": (fields.by_dimension, beside(S * [1, 2, 1]), [("scale of some dimensions", 2, "dimension 1 of your score is off by a factor of 2, the others are right", "a factor for each dimension: [1. 2. 1.]")]),
    "two scaled": (fields.by_dimension, beside(S * [1, 2, 3]), [("scale of some dimensions", 3, "dimensions 1, 2 of your score are off by a factor of 2, 3, the others are right", "a factor for each dimension: [1. 2. 3.]")]),
    "all scaled": (fields.by_dimension, beside(S * [0.5, 2, 3]), [("scale of each dimension", 3, "each dimension of your score is off by its own factor, 1/2, 2, 3 (scales of the columns, whose chain rule is left out?)", "a factor for each dimension: [0.5 2.  3. ]")]),
    "two factors for three": (fields.by_dimension, beside(S * [2, 2, 3]), [("scale of each dimension", 2, "each dimension of your score is off by its own factor, 2, 3 (scales of the columns, whose chain rule is left out?)", "a factor for each dimension: [2. 2. 3.]")]),
    "one factor for three": (fields.by_dimension, beside(S * [2, 2, 2]), []),
    "a single row scaled": (fields.by_dimension, beside(S[:1] * [1, 2, 1], S[:1]), [("scale of some dimensions", 2, "dimension 1 of your score is off by a factor of 2, the others are right", "a factor for each dimension: [1. 2. 1.]")]),
    "two rows scaled": (fields.by_row, beside(S * FACTOR), [("some rows", 3, "rows 1, 4 of your score are off by a factor of 11/10, 2, the others are right", "a factor for each row: [1.  1.1 1.  1.  2.  1. ] ...")]),
    "two rows zero": (fields.by_row, beside(S * (FACTOR == 1)), [("no score for some rows", 1, "rows 1, 4 of your score are zero (detached, or never written?), the others are right", "a factor for each row: [1. 0. 1. 1. 0. 1.] ...")]),
    "one row turned": (fields.by_row, beside(S * np.where(FACTOR == 2, -1, 1)), [("sign of some rows", 1, "row 4 of your score has the wrong sign, the others are right", "a factor for each row: [ 1.  1.  1.  1. -1.  1.] ...")]),
    "every row scaled": (fields.by_row, beside(S * (2 + NUMBER / 6)), [("factor of each row", 7, "each row has the right direction and a length of its own: a function of x multiplies the score", "a factor for each row: [2.       2.166667 2.333333 2.5      2.666667 2.833333] ...")]),
    "six rows scaled": (fields.by_row, beside(S * (1 + NUMBER)), [("some rows", 7, "rows 1-6 of your score are off by a factor of 2, 3, 4, 5, 6, 7, the others are right", "a factor for each row: [1. 2. 3. 4. 5. 6.] ...")]),
    "two parameters scaled": (fields.by_row, beside(S1 * FACTOR, S1, x=X1, **PARAMETERS), [("some parameters", 3, "parameters 1, 4 of your gradient are off by a factor of 11/10, 2, the others are right", "a factor for each parameter: [1.  1.1 1.  1.  2.  1. ] ...")]),
    "three parameters moved": (fields.by_row, beside(S1[[1, 2, 0, 3, 4, 5, 6]], S1, x=X1, **PARAMETERS), [("parameters permuted", 2, "your parameters are those of the reference in the order 1, 2, 0, 3, 4, 5 ...: they are mixed up (a transpose, a shuffle?)", "parameters are those of the reference in the order 1, 2, 0, 3, 4, 5 ...: they are mixed up (a transpose, a shuffle?)"), ("some parameters", 4, "parameters 0-2 of your gradient are off by a factor of 0.864441, -1.08664, -1.06458, the others are right", "a factor for each parameter: [ 0.864441 -1.086638 -1.064583  1.        1.        1.      ] ...")]),
    "rows with numbers": (fields.by_row, beside(S * FACTOR, numbers=np.array([3, 5, 8, 9, 12, 20, 21])), [("some rows", 3, "rows 5, 12 of your score are off by a factor of 11/10, 2, the others are right", "a factor for each row: [1.  1.1 1.  1.  2.  1. ] ...")]),
    "entries": (fields.clipped, beside(np.clip(S, -0.4, 0.4)), [("clipped", 2, "entries are clipped to [-0.4, 0.4]", "12 entries of 21 stand at a limit")]),
    "entries above": (fields.clipped, beside(np.minimum(S, 0.3)), [("clipped", 1, "entries above 0.3 are clipped to it", "4 entries of 21 stand at a limit")]),
    "lengths": (fields.clipped, beside(S * np.minimum(1, 0.7 / np.linalg.norm(S, axis=1))[:, None]), [("clipped", 1, "rows longer than 7/10 are clipped to that norm", "")]),
    "a matrix": (fields.matrix, beside(S @ MATRIX), [("other coordinates", 9, "your score is the reference times a matrix (a linear map of x whose chain rule is missing or doubled, a matrix in the place of another?)", "yours = reference @ M, M = [[ 2.      0.1235  0.5   ] [-1.5     1.      1.    ] [ 0.25   -0.75    3.    ]]")]),
    "a matrix of five rows": (fields.matrix, beside((S @ MATRIX)[:5], S[:5]), [("other coordinates", 9, "your score is the reference times a matrix (a linear map of x whose chain rule is missing or doubled, a matrix in the place of another?)", "yours = reference @ M, M = [[ 2.      0.1235  0.5   ] [-1.5     1.      1.    ] [ 0.25   -0.75    3.    ]]")]),
    "a matrix of four rows": (fields.matrix, beside((S @ MATRIX)[:4], S[:4]), []),
    "a rotation": (fields.matrix, beside(S @ ORTHOGONAL), [("rotated", 3, "your score is the reference in rotated coordinates: multiplied by an orthogonal matrix", "yours = reference @ M, M = [[-0.0269  0.0847 -0.996 ] [-0.2424 -0.9672 -0.0757] [-0.9698  0.2394  0.0466]]"), ("other coordinates", 9, "your score is the reference times a matrix (a linear map of x whose chain rule is missing or doubled, a matrix in the place of another?)", "yours = reference @ M, M = [[-0.0269  0.0847 -0.996 ] [-0.2424 -0.9672 -0.0757] [-0.9698  0.2394  0.0466]]")]),
    "a covariance": (fields.matrix, beside(S @ np.cov(X.T)), [("preconditioned", 1, "your score is multiplied by the covariance of x", "yours = reference @ M, M = [[ 0.3597  0.2721  0.2942] [ 0.2721  0.5034 -0.2241] [ 0.2942 -0.2241  1.6306]]"), ("other coordinates", 9, "your score is the reference times a matrix (a linear map of x whose chain rule is missing or doubled, a matrix in the place of another?)", "yours = reference @ M, M = [[ 0.3597  0.2721  0.2942] [ 0.2721  0.5034 -0.2241] [ 0.2942 -0.2241  1.6306]]")]),
    "an inverse covariance": (fields.matrix, beside(2 * S @ np.linalg.inv(np.cov(X.T))), [("preconditioned", 1, "your score is multiplied by the inverse covariance of x", "yours = reference @ M, M = [[ 20.0166 -13.2387  -5.4309] [-13.2387  12.9881   4.1735] [ -5.4309   4.1735   2.78  ]]"), ("other coordinates", 9, "your score is the reference times a matrix (a linear map of x whose chain rule is missing or doubled, a matrix in the place of another?)", "yours = reference @ M, M = [[ 20.0166 -13.2387  -5.4309] [-13.2387  12.9881   4.1735] [ -5.4309   4.1735   2.78  ]]")]),
    "a forward difference": (fields.one_sided, beside(S + 1e-4 * CURVED, second=CURVED), [("one-sided difference", 1, "the error is proportional to the curvature, as of a one-sided difference with step 0.0002; take central ones, or differentiate", "yours - reference = 0.0001 x second derivative")]),
    "a backward difference": (fields.one_sided, beside(S - 1e-4 * CURVED, second=CURVED), [("one-sided difference", 1, "the error is proportional to the curvature, as of a one-sided difference with step 0.0002; take central ones, or differentiate", "yours - reference = -0.0001 x second derivative")]),
    "a difference of a long step": (fields.one_sided, beside(S + 0.2 * CURVED, second=CURVED), []),
    "a difference of which no curvature is known": (fields.one_sided, beside(S + 1e-4 * CURVED), []),
    "single precision": (fields.rounded, beside(S.astype(np.float32).astype(float)), [("precision", 2, "the differences have the size of float32 round-off, as of a part in single precision, of constants kept in float32, or of an approximation as good", "relative differences up to 2e-08, in 100% of the entries")]),
    "nearly right": (fields.rounded, beside(S * (1 + 1e-5 * np.sin(7 * X))), [("inaccurate", 21, "your score is the reference up to 7e-06, as with a finite difference, an iteration that stops early, a regulariser or a small term that is wrong", "relative differences up to 7e-06, in 100% of the entries")]),
    "not nearly right": (fields.rounded, beside(S * (1 + 0.1 * np.sin(7 * X))), []),
    "x rounded far from the origin": (fields.rounded, beside(S + 2e3 * 2**-24 * np.sign(CURVED), second=np.ones(S.shape), x=X + 1e3, rounds="float32"), [("precision", 2, "it rounds x to float32, which is far from the origin beside its spread: the numbers are the same at x rounded, and the differences have that size; subtract the offset before it is rounded", "relative differences up to 1e-04, in 100% of the entries")]),
    "one dimension": (fields.located, beside(S + [0, 1, 0]), [("some dimensions", 7, "only dimension 1 of your score went wrong", "7 of 21 entries differ")]),
    "one row wrong": (fields.located, beside(S + (NUMBER == 2)), [("some rows", 3, "only row 2 of your score went wrong", "3 of 21 entries differ")]),
    "rows beyond a threshold": (fields.located, beside(S + (X[:, :1] > 0.6)), [("some rows", 6, "only rows 2, 6 of your score went wrong", "6 of 21 entries differ")]),
    "everywhere": (fields.located, beside(S + 1), []),
    "one parameter": (fields.located, beside(S1 + (NUMBER == 2), S1, x=X1, **PARAMETERS), [("some parameters", 1, "only parameter 2 of your gradient went wrong, which is 2.46444 times what it should be: a term in which they stand is wrong, left out or detached", "1 of 7 entries differ")]),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_every_rule_says_what_it_found_with_its_numbers(name):
    rule, field, expected = SAID[name]
    with np.errstate(all="ignore"):
        found = [e for e in rule(field) if e.residual <= 1]
    numbers = lambda e: e.pattern.split(", residual")[0].replace("yours = -0 x", "yours = 0 x")
    told = [(e.key, e.constants, e.sentence, numbers(e)) for e in found]
    assert told[: len(expected)] == expected and len(told) == len(expected), told
    assert [e.right for e in found] == [name == "single precision"] * len(found)


# ------------------------------------------------------------------------------- what a field knows of itself


def test_a_field_s_numbers_are_judged_by_its_tolerance_and_their_size():
    theirs, reference = np.array([[3.0, 4.5], [0.0, 0.1]]), np.array([[3.0, 4.0], [0.0, 0.0]])
    field = Field(theirs, reference, np.array([[0.1, 0.25], [0.01, 0.02]]), round_off=1e-3)
    assert np.array_equal(field.gap, [[0, 0.5], [0, 0.1]])
    root = np.sqrt(25 / 2)  # the norm of a row, at least that of the field
    np.testing.assert_allclose(field.sizes, [[5], [root]], rtol=1e-15)
    np.testing.assert_allclose(field._replace(size=np.array([[2.0], [8.0]])).sizes, [[np.sqrt(34)], [8]], rtol=1e-15)
    zero = field._replace(reference=0 * reference)
    assert np.array_equal(zero.sizes, [[4.5], [4.5]]) and np.array_equal(
        zero._replace(theirs=0 * theirs).sizes, [[1e-300]] * 2
    )
    other = np.array([[1.0, -9.0], [0.0, 0.0]])
    expected = 4 * (field.tolerance + [[1.0, 2.0], [0.0, 0.0]]) + 1e-3 * np.array([[3.0, 9.0], [0.0, 0.1]])
    np.testing.assert_allclose(field.allowed(other, np.array([[1.0, 2.0], [0.0, 0.0]])), expected, rtol=1e-14)
    np.testing.assert_allclose(
        field.residual(other),
        np.max(np.abs(theirs - other) / (4 * field.tolerance + 1e-3 * np.array([[3.0, 9.0], [0.0, 0.1]]))),
        rtol=1e-14,
    )
    with np.errstate(invalid="ignore"):
        assert field.residual(np.full((2, 2), np.inf)) == np.inf
    assert field.allowing("c", None, 1.0) is field
    np.testing.assert_allclose(
        field.allowing("c", 0.1, np.array([[2.0], [0.1]])).tolerance, [[0.2, 0.25], [0.01, 0.02]], rtol=1e-14
    )
    with pytest.raises(ValueError, match="c: rtol"):
        field.allowing("c", -1.0, 1.0)
    some = field._replace(x=np.array([[1.0], [2.0]]), energy=np.array([5.0, 6.0])).rows(slice(1))
    assert (
        some.theirs.shape == (1, 2)
        and some.x.tolist() == [[1]]
        and some.energy.tolist() == [5]
        and some.word == "score"
    )
    assert (field.unit, field._replace(of="theta").unit) == ("row", "parameter")


def test_a_factor_is_known_to_eight_tolerances_of_the_median_number():
    field = Field(S, S, np.linspace(1e-5, 3e-5, 21).reshape(7, 3))
    assert abs(field.rtol - 8 * 2e-5 / np.median(np.abs(S))) < 1e-15
    assert Field(S, S, np.full(S.shape, 1e-16)).rtol == 1e-12 and Field(S, 0 * S, np.full(S.shape, 1e-3)).rtol == 8e-3


@pytest.mark.parametrize(
    "gap, tolerance, doubtful", [(0.9e-8, 1e-8, False), (1.1e-8, 1e-8, True), (0.0, 0.9e-6, False), (0.0, 1.1e-6, True)]
)
def test_rows_that_are_wrong_or_unresolved_are_doubtful(gap, tolerance, doubtful):
    field = Field(np.ones((2, 1)) + [[gap], [0]], np.ones((2, 1)), np.array([[tolerance], [1e-9]]))
    assert field.doubtful(1e-16).tolist() == [doubtful, False]
    assert field.doubtful(1e-9).tolist() == [gap > tolerance, False]  # in single precision two per cent are enough
    assert Field(np.ones((1, 1)), np.ones((1, 1)), np.array([[0.019]])).doubtful(1e-7).tolist() == [False]
    assert Field(np.ones((1, 1)), np.ones((1, 1)), np.array([[0.021]])).doubtful(1e-7).tolist() == [True]


def test_coefficients_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(1)
    tolerance = 10.0 ** rng.uniform(-6, -2, S.shape)
    field = Field(2 * S - 3 * X + tolerance * rng.standard_normal(S.shape), S, tolerance)
    allowed = field.allowed(field.theirs)
    A = np.stack([S.ravel(), X.ravel()], 1) / allowed.reshape(-1, 1)
    np.testing.assert_allclose(
        field.fitted(S, X), np.linalg.lstsq(A, (field.theirs / allowed).ravel(), rcond=None)[0], rtol=1e-9
    )
    assert np.array_equal(field.fitted(0 * S), [0.0])
    sharp = field._replace(tolerance=0 * S + 1e-9)  # what is no multiple up to what the numbers are known to is none
    assert sharp.proportional(-3 * S) and sharp.proportional(S + 0.5e-9 * X) and sharp.proportional(0 * S)
    assert not sharp.proportional(S + 1e-6 * X) and field.proportional(S + 1e-8 * X)


def test_equal_fields_say_how_near_they_are_and_known_numbers_include_rows_and_dimensions():
    (right,) = read_all(Field(S + 0.5e-12, S, DOUBT))
    assert right.right and right.sentence == "" and 0.4 < right.residual < 0.6
    seen = []
    read_all(
        Field(S + 1, S, DOUBT, known={"p": 5}),
        rules=[lambda field: seen.append((field.known, field.tolerance.shape)) or []],
    )
    assert seen == [({"n": 7, "d": 3, "p": 5}, (7, 3))]
    one = Explanation("a", "", constants=21, residual=0.0)
    keep = lambda e, n=7: read_all(Field(S[:n] + 1, S[:n], DOUBT), rules=[lambda field: [e]])
    assert (
        keep(one) == []
        and keep(Explanation("a", "", constants=20))
        and keep(Explanation("precision", "", constants=21))
        and keep(Explanation("inaccurate", "", constants=30))
    )
    assert (
        read_all(
            Field(S[:1, :1] + 1, S[:1, :1], DOUBT),
            rules=[lambda f: [Explanation("a", "", constants=1), Explanation("b", "", constants=2)]],
        )[0].key
        == "a"
    )


# ------------------------------------------------------------------------------- words


def test_numbers_of_rows_are_said_in_ranges():
    assert numbered("row", np.array([4])) == "row 4" and numbered("row", np.array([0, 2])) == "rows 0, 2"
    assert numbered("row", np.array([0, 1, 5, 6, 7])) == "rows 0, 1, 5-7"
    assert (
        numbered("row", np.arange(0, 18, 2)) == "rows 0, 2, 4, 6, 8, 10, 12, 14 ..."
        and numbered("row", np.arange(0, 16, 2)) == "rows 0, 2, 4, 6, 8, 10, 12, 14"
    )
    assert few([1, 2, 3, 4, 5, 6]) == "1, 2, 3, 4, 5, 6" and few(list("abcdefg")) == "a, b, c, d, e, f ..."


def test_rounding_of_x_moves_a_gradient_by_its_second_derivatives():
    second, x = np.array([[4.0, -9.0]]), np.array([[-1.0, 10.0]])
    np.testing.assert_allclose(moved(second, x), [[2 * (2 * 1 + 3 * 10), 3 * (2 * 1 + 3 * 10)]], rtol=1e-15)


def test_what_sets_wrong_rows_apart_is_a_threshold_that_chance_hardly_makes():
    x = np.arange(24.0)[:, None] * [1.0, 0.0] + [0.0, 1.0]
    x[:, 1] = np.random.default_rng(0).permutation(24) * 1e-3
    reference = np.random.default_rng(1).standard_normal((24, 2))
    field = Field(reference, reference, DOUBT, x=x)
    assert (
        where(field, x[:, 0] > 15) == ": exactly those with x[:, 0] > 15"
        and where(field, x[:, 0] < 4) == ": exactly those with x[:, 0] < 4"
    )
    assert where(field, x[:, 1] > 0.0155) == ": exactly those with x[:, 1] > 0.015"
    away = field._replace(x=x - 11.5)
    assert where(away, np.linalg.norm(x - 11.5, axis=1) > 14).startswith(": exactly those with |x| > 13.")
    energy = np.random.default_rng(2).permutation(24) * 1.0
    assert where(field._replace(energy=energy), energy < 7) == ": exactly those with E < 7"
    size = np.linalg.norm(reference, axis=1)
    limit = np.sort(size)[10]
    assert (
        where(field, size > limit) == f": exactly those with |score| > {limit:.4g}"
        and where(field, np.arange(24) % 2 == 0) == ""
    )
    line = Field(reference[:, :1], reference[:, :1], DOUBT, x=x[:, :1], of="theta", word="gradient")
    assert where(line, x[:, 0] > 15) == ": exactly those with theta > 15"
    assert where(field._replace(x=None), x[:, 0] > 15) == ""
    # of n rows one is parted from the others by 2 q of n thresholds: 2 of 5 at most, here q = 2
    for n, told in ((10, True), (9, False)):
        few_rows = Field(reference[:n, :1], reference[:n, :1], DOUBT, x=x[:n, :1])
        assert bool(where(few_rows, x[:n, 0] > n - 1.5)) == told


def test_explanations_that_tie_are_decided_by_half_of_the_rows():
    """Of six rows in three dimensions 1/n is 1/(2 d); of their half it is not. A function of fewer rows that has another shape decides nothing."""
    x, s = X[:6], S[:6]
    asked = []

    def by_n(p):
        asked.append(len(p))
        return S[: len(p)] / len(p)

    field = Field(s / 6, s, DOUBT, x=x)
    readings = lambda function: [e.detail.get("reading") for e in fields.explained(field, function)]
    assert readings(by_n) == ["1/n"] and asked == [3] and readings(lambda p: S[: len(p)] / 6) == ["1/(2 d)"]
    assert readings(lambda p: S[:2]) == ["1/n", "1/(2 d)"] and readings(lambda p: S[: len(p)] * 5) == ["1/n", "1/(2 d)"]
    odd = Field(S / 7, S, DOUBT, x=X)
    assert fields.explained(odd, by_n)[0].detail["reading"] == "1/n" and asked[-1] == 4
    asked.clear()
    assert (
        fields.explained(Field(S + 0.7 * X, S, DOUBT, x=X), by_n)[0].key == "linear term" and asked == []
    )  # nothing ties
    assert fields.explained(Field(s[:1] / 2, s[:1], DOUBT, x=x[:1]), by_n) and asked == []
    line = Field(s[:, :1] / 6, s[:, :1], DOUBT, x=x)
    assert [e.detail.get("reading") for e in fields.explained(line, lambda p: S[: len(p), 0] / len(p))] == ["1/n"]


# ------------------------------------------------------------------------------- what each map is, entry by entry

N, DIM = S.shape
ROWS, COLUMNS = range(N), range(DIM)
STD = np.sqrt(np.sum((X - np.sum(X, axis=0) / N) ** 2, axis=0) / N)
LENGTH = [np.sqrt(sum(S[i, j] ** 2 for j in COLUMNS)) for i in ROWS]
ENTRIES = [  # words of the sentence, the entry (i, j), up to one factor where it is free
    ("reference at row i - 1", lambda i, j: S[(i - 1) % N, j]),
    ("reference at row i + 1", lambda i, j: S[(i + 1) % N, j]),
    ("rows of the reference stand in reverse", lambda i, j: S[N - 1 - i, j]),
    ("dimensions of the reference stand in reverse", lambda i, j: S[i, DIM - 1 - j]),
    ("the transpose", None),
    ("mean over the batch is subtracted", lambda i, j: S[i, j] - sum(S[:, j]) / N),
    ("the mean of its entries is subtracted", lambda i, j: S[i, j] - sum(S[i]) / DIM),
    ("every row is the mean over the batch", lambda i, j: sum(S[:, j]) / N),
    ("every row is the sum over the batch", lambda i, j: sum(S[:, j])),
    ("cumulative sums over the batch", lambda i, j: sum(S[: i + 1, j])),
    ("cumulative sums over the dimensions", lambda i, j: sum(S[i, : j + 1])),
    ("every entry is the sum over dimensions", lambda i, j: sum(S[i])),
    ("every entry is the mean over dimensions", lambda i, j: sum(S[i]) / DIM),
    ("its absolute value", lambda i, j: max(S[i, j], -S[i, j])),
    ("only the sign", lambda i, j: 1.0 if S[i, j] > 0 else -1.0),
    ("each entry is squared", lambda i, j: S[i, j] ** 2),
    ("squared with its sign", lambda i, j: S[i, j] ** 2 * (1 if S[i, j] > 0 else -1)),
    ("1 divided by", lambda i, j: 1 / S[i, j]),
    ("went through tanh", lambda i, j: 1 - 2 / (np.exp(2 * S[i, j]) + 1)),
    ("cut to a whole number", lambda i, j: float(int(S[i, j]))),
    ("rounded to a whole number", lambda i, j: float(round(S[i, j]))),
    ("negative entries are zero", lambda i, j: S[i, j] if S[i, j] > 0 else 0.0),
    ("positive entries are zero", lambda i, j: S[i, j] if S[i, j] < 0 else 0.0),
    ("divided by its norm", lambda i, j: S[i, j] / LENGTH[i]),
    ("multiplied by its norm", lambda i, j: S[i, j] * LENGTH[i]),
    ("multiplied by its number", lambda i, j: S[i, j] * (i + 1)),
    ("divided by its number", lambda i, j: S[i, j] / (i + 1)),
    ("the gradient of p", lambda i, j: S[i, j] * np.exp(-ENERGY[i])),
    ("the gradient of exp(E)", lambda i, j: S[i, j] * np.exp(ENERGY[i])),
    ("the gradient of E^2", lambda i, j: 2 * ENERGY[i] * S[i, j]),
    ("the gradient of log E", lambda i, j: S[i, j] / ENERGY[i]),
    ("the gradient of sqrt(E)", lambda i, j: S[i, j] / (2 * np.sqrt(ENERGY[i]))),
    ("the 1/x of the chain rule is missing", None),
    ("of log x is there twice", None),
    ("multiplied by the standard deviation", lambda i, j: S[i, j] * STD[j]),
    ("divided by the standard deviation", lambda i, j: S[i, j] / STD[j]),
    ("multiplied by the variance", lambda i, j: S[i, j] * STD[j] ** 2),
    ("divided by the variance", lambda i, j: S[i, j] / STD[j] ** 2),
]  # fmt: skip


def test_maps_are_what_their_sentences_say_entry_by_entry():
    field = beside(S)
    assert len(MAPS) == len(ENTRIES)
    for row, (words, entry) in zip(MAPS, ENTRIES, strict=True):
        assert words in row.sentence and row.free == (row.key in ("gradient of p", "gradient of 1/p"))
        if row.key == "chain rule":
            power = 1 if "missing" in row.sentence else -1
            assert row.of(S, field) is None and row.of(S, field._replace(x=np.exp(X[:, :2]))) is None
            np.testing.assert_allclose(row.of(S, field._replace(x=np.exp(X))), S * np.exp(power * X), rtol=1e-14)
            continue
        if entry is None:
            assert row.of(S, field) is None and np.array_equal(
                row.of(S[:3], field), [[S[j, i] for j in COLUMNS] for i in COLUMNS]
            )
            continue
        expected, found = np.array([[entry(i, j) for j in COLUMNS] for i in ROWS]), row.of(S, field)
        if row.free:  # by a factor that keeps it in range
            expected = expected * np.exp((1 if row.key == "gradient of p" else -1) * ENERGY.mean())
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14, err_msg=row.sentence)


def test_maps_that_need_what_is_not_there_are_none():
    zero = S * (NUMBER != 3)
    of = {row.sentence.split(":")[0]: row.of for row in MAPS}
    assert of["each entry is 1 divided by what it should be"](S * (S > 0), beside(S)) is None
    assert of["each row is divided by its norm (or clipped to a shorter one)"](zero, beside(S)) is None
    for words in (
        "each row is multiplied by exp(E)",
        "each row is divided by the energy",
        "this is the gradient of p, not of log p",
    ):
        assert of[words](S, beside(S, energy=None)) is None
    root = of["each row is divided by twice the root of the energy"](S, beside(S, energy=ENERGY - 2.0))
    assert np.array_equal(np.isnan(root[:, 0]), ENERGY <= 2.0) and 0 < np.isnan(root[:, 0]).sum() < N
    std = of["each dimension is multiplied by the standard deviation of its column"]
    assert (
        std(S, beside(S, x=None)) is None
        and std(S, beside(S, x=X1)) is None
        and std(S, beside(S, x=X * [1, 0, 1])) is None
    )
    even = (X - X.mean(0)) / X.std(0)
    assert (
        std(S, beside(S, x=even * (1 + 0.9e-6 * np.array([0, 0, 1])))) is None
        and std(S, beside(S, x=even * (1 + 1.1e-6 * np.array([0, 0, 1])))) is not None
    )


def test_a_map_is_one_up_to_a_factor_and_some_are_none():
    same = list(fields._of_map(beside(-S[::-1] * 0.5), MAPS[2]))
    assert [(e.sentence, e.constants, e.detail["factor"], e.pattern) for e in same] == [
        (f"{MAPS[2].sentence}, times -1/2", 1, pytest.approx(-0.5), "factor -0.5")
    ]
    free = next(row for row in MAPS if row.key == "gradient of p")
    (one,) = fields._of_map(beside(-3.7 * free.of(S, beside(S))), free)
    assert one.sentence == f"{free.sentence}, with the wrong sign" and one.constants == 0
    assert list(fields._of_map(beside(S), fields.Map("a", "", lambda r, f: 2 * r))) == []  # a multiple of the reference
    assert list(fields._of_map(beside(0 * S + 2.0), fields.Map("a", "", lambda r, f: 0 * r + 1))) == []  # a constant
    batch = fields.Map("batch", "", lambda r, f: 0 * r + 1)  # of which a constant is the mean itself, or anything
    assert list(fields._of_map(beside(0 * S + 2.0), batch)) == []
    assert [e.constants for e in fields._of_map(beside(0 * S + 1.0), batch)] == [0]
    for nothing in (
        lambda r, f: None,
        lambda r, f: r[:2],
        lambda r, f: 0 * r,
        lambda r, f: np.where(NUMBER == 1, np.inf, r),
    ):
        assert list(fields._of_map(beside(S), fields.Map("a", "", nothing))) == []


def test_two_rows_are_clipped_and_two_columns_and_three_rows_are_enough_to_be_permuted():
    norms = np.linalg.norm(S, axis=1)
    for k, clipped in ((2, [True]), (1, [])):  # one row alone that is shorter has some factor
        limit = np.sort(norms)[-k - 1 :][:2].mean()
        found = fields.clipped(beside(S * np.minimum(1, limit / norms)[:, None]))
        assert [e.residual <= 1 for e in found if "rows longer than" in e.sentence] == clipped
    keys = lambda rule, yours, reference: [e.key for e in rule(beside(yours, reference)) if e.residual <= 1]
    assert "columns permuted" in keys(fields.by_dimension, S[:, [1, 0]], S[:, :2])
    assert "rows permuted" in keys(fields.by_row, S[[1, 2, 0]], S[:3]) and keys(fields.by_row, S[[1, 0]], S[:2]) == []
    assert keys(fields.by_dimension, 2 * S[:, :1], S[:, :1]) == []


def test_a_term_is_measured_where_x_is_large_and_a_row_said_to_six_digits():
    large = 1e4 * X
    found = [e for e in fields.added(beside(S + 1e-10 * large, x=large)) if e.residual <= 1]
    assert "linear term" in [e.key for e in found], found
    row = np.array([1 / 3, -2 / 3, 1 / 7])
    (e,) = fields.constant(beside(0 * S + row))
    assert e.pattern == "[ 0.333333 -0.666667  0.142857]" and e.constants == 3
    (zero,) = [e for e in fields.scaled(beside(0 * S)) if e.key == "zero"]
    assert zero.pattern.endswith("x reference, residual 0e+00")
