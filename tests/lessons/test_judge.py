"""What the numbers of a wrong answer give away: the solution's own, spoilt in every way, on every exercise whose answer has the shape for it."""

import numpy as np
import pytest

from numpyscore.lessons import EXERCISES
from numpyscore.lessons.judge import judge, right


def exercises(shape):
    """The (lesson, exercise)s whose answer is a number, or an array of this many axes with more than one row and another number of columns."""
    out = []
    for lesson, exercise in EXERCISES.values():
        true = right(exercise)[0]
        of_axes = bool(exercise.call) and true.ndim == shape and true.size > 1 and len(set(true.shape)) == shape
        if (not exercise.call) if shape == 0 else of_axes:
            out.append((lesson, exercise))
    return out


def spoilt(lesson, exercise, spoil):
    """The judgement of an answer that spoils what the solution gives."""
    solution = lesson.answers(exercise, exercise.solution)
    return judge(
        lesson, exercise, (lambda *a: spoil(np.array(solution(*a), float))) if exercise.call else spoil(solution)
    )


def lacking(v):
    """Two columns whose sum is v, not in halves, so that their mean is nothing known."""
    return np.stack([0.3 * v, 0.7 * v], axis=-1)


ARRAYS = {
    "column": (1, lambda v: v[:, None], "A column beside a row"),
    "row": (1, lambda v: v[None], "An axis of length 1"),
    "pairs": (1, lambda v: v[:, None] - 0.5 * v, "every sample was paired"),
    "mean": (1, np.mean, "the mean over everything"),
    "sum": (1, np.sum, "the sum over everything"),
    "largest": (1, np.max, "One number came back"),
    "missing sum": (1, lacking, "the sum over axis 1"),
    "missing mean": (1, lambda v: np.stack([0.3 * v, 1.7 * v], axis=-1), "the mean over axis 1"),
    "three columns": (1, lambda v: np.stack([v**2, v, 1 + v], axis=-1), "A sum or a mean over the other axes is missing"),
    "one less": (1, lambda v: v[:-1], "over which did you sum"),
    "NaN": (1, lambda v: np.where(np.arange(len(v)) == 1, np.nan, v), "are NaN or infinite"),
    "zero": (1, lambda v: 0 * v, "0 everywhere"),
    "words": (1, lambda v: v.astype(str), "numbers of shape"),
    "another factor": (1, lambda v: 1.7 * v, "1.7 times the right answer"),
    "a constant more": (1, lambda v: v + 1.7, "the same everywhere"),
    "square": (1, lambda v: v**2, "the square of the right answer"),
    "inverse": (1, lambda v: 1 / v, "one over the right answer"),
    "exponential": (1, np.exp, "exp of the right answer"),
    "size": (2, np.abs, "the absolute value of the right answer"),
    "one wrong": (1, lambda v: np.where(np.arange(len(v)) == 2, 3.7 * v + 1, v), "a case or an index is missing"),
    "another order": (1, lambda v: v[::-1], "in another order"),
    "transposed": (2, lambda M: M.T, "It looks transposed"),
    "summed dimensions": (2, lambda M: M.sum(1), "summed over dimensions"),
    "summed samples": (2, lambda M: M.sum(0), "averaged over the samples"),
    "columns alike": (2, lambda M: M.sum(1, keepdims=True) + 0 * M, "the same number in every dimension"),
}  # fmt: skip
NUMBERS = {
    "function": (lambda v: lambda x: v, "a number was asked"),
    "words": (lambda v: "two", "a number was asked"),
    "complex": (lambda v: v + 1j, "a number was asked"),
    "list": (lambda v: [v, v], "one number was asked"),
    "nearly": (lambda v: v * 1.01, "within two percent"),
    "pi times": (lambda v: np.pi * v, "This is pi times the right number"),
    "inverse": (lambda v: 1 / v, "one over the right number"),
    "square": (lambda v: v**2, "the square or the root of the right number"),
    "elsewhere": (lambda v: 17.3 * v + 5, "is not it"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_answer_that_is_spoilt_is_not_accepted_and_told_how(name):
    axes, spoil, said = ARRAYS[name]
    with np.errstate(all="ignore"):
        found = [spoilt(*both, spoil) for both in exercises(axes)]
    assert len(found) > 2 and sum(said in one.said for one in found) >= 1, {one.said for one in found}
    assert all(one.state == "wrong" for one in found) or name in ("size", "columns alike", "another order")


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_that_is_spoilt_is_told_how(name):
    spoil, said = NUMBERS[name]
    found = [spoilt(*both, spoil) for both in exercises(0) if right(both[1])[0] not in (0, 1)]
    assert len(found) > 2 and any(said in one.said for one in found), {one.said for one in found}


def test_control_the_solutions_are_right():
    assert all(spoilt(*both, lambda v: v).state == "done" for axes in (0, 1, 2) for both in exercises(axes))
