"""A field beside its reference: every transformation of the tables is recognised, ties stay ties, and noise is explained by nothing."""

import numpy as np
import pytest

from numpyscore.check.fields import MAPS, Field
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
    t = row.of(reference, Beside)
    found = read_field(factor * t, reference, DOUBT, x=X[: len(reference)], energy=ENERGY[: len(reference)])
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
        assert read(np.random.default_rng(seed).standard_normal(S.shape)) == []


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
