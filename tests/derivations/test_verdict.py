"""How both sides of a step are judged: what is decided, what a wrong twin is, what means and their errors come to, and what a table shows."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.derivations import Verdict, Verdicts, on_data
from numpyscore.derivations.means import EPS, Mean, MonteCarlo, integral, number, sampled, worst
from numpyscore.derivations.steps import Sides, failing, hypothesis, judge, twins

STEP = SimpleNamespace(name="a step", chapter=SimpleNamespace(title="a chapter"), source="")


@pytest.mark.parametrize(
    "right, error, method, holds",
    [
        (0.0, 0.9e-6, "quadrature", True),  # a millionth of 1, the least of scales
        (0.0, 1.2e-6, "quadrature", None),
        (10.0, 9e-6, "quadrature", True),  # and of larger sides
        (10.0, 12e-6, "quadrature", None),
        (10.0, np.inf, "quadrature", None),
        (0.0, 0.9, "monte carlo", True),
        (0.0, 1.2, "monte carlo", None),
    ],
)
def test_a_bound_above_a_millionth_of_the_sides_decides_nothing_and_of_samples_one_as_large_as_they(
    right, error, method, holds
):
    verdict = judge(STEP, Sides(number(right, error), number(right, 0)), method=method)
    assert verdict.holds is holds and verdict.ok is holds


@pytest.mark.parametrize(
    "left, relation, gap",
    [(1.5, "<=", 0.5), (0.5, "<=", 0.0), (1.5, ">=", 0.0), (0.5, ">=", -0.5), (1.5, "=", 0.5), (0.5, "=", -0.5)],
)
def test_of_an_inequality_its_violation_alone_is_a_gap(left, relation, gap):
    verdict = judge(STEP, Sides(number(left, 0), number(1.0, 0), relation=relation))
    assert verdict.gap == gap and verdict.ok is (gap == 0)


def test_a_hypothesis_holds_within_its_bound_and_without_one_at_0_alone():
    for value, bound, holds in ((0.5, 0.0, False), (0.0, 0.0, True), (0.5, 0.5, True), (-0.6, 0.5, False)):
        assert hypothesis("", value, bound).holds is holds
    assert not hypothesis("", 0.5).holds and not failing("", 0.0).holds
    assert hypothesis("", 0.5).bound == failing("", 0.5).bound == 0
    assert not hypothesis("", np.inf, np.inf).holds and not hypothesis("", 0.0, np.nan).holds


def test_a_miss_is_as_foreseen_only_where_a_hypothesis_fails():
    missing, as_foreseen = number(2.0, 0), number(1.0, 0)
    word = lambda *hypotheses: judge(STEP, Sides(missing, number(1.0, 0), hypotheses, as_foreseen)).word
    assert word(failing("a hypothesis", 1.0)) == "fails as predicted"
    assert word() == word(hypothesis("a hypothesis", 0.0)) == "DIFFERS"
    wrong = judge(STEP, Sides(missing, number(1.0, 0), (failing("a hypothesis", 1.0),), number(1.1, 0)))
    assert wrong.word == "DIFFERS"  # control: another miss is foreseen


def test_a_wrong_twin_has_a_term_turned_doubled_or_left_out():
    source = MonteCarlo({"a": 3.0, "b": 0.0}, np.zeros((2, 2)), 1)
    left = Mean(source, {"a": 2.0, "b": 1.0}, 5.0)
    made = {what: (wrong.left.value, wrong.right.value) for what, wrong in twins(Sides(left, number(11.0, 0)))}
    assert made == {
        "sign of the constant on the left": (1.0, 11.0),
        "twice the constant on the left": (16.0, 11.0),
        "without the constant on the left": (6.0, 11.0),
        "sign of a on the left": (-1.0, 11.0),
        "twice a on the left": (17.0, 11.0),
        "without a on the left": (5.0, 11.0),
        "sign of the constant on the right": (11.0, -11.0),
        "twice the constant on the right": (11.0, 22.0),
        "without the constant on the right": (11.0, 0.0),
    }
    assert not list(twins(Sides(left, number(11.0, 0), relation="<=")))


def test_means_and_their_errors_by_hand():
    source = MonteCarlo({"a": 1.0, "b": 2.0}, np.array([[4.0, 1.0], [1.0, 9.0]]), 100)
    a, b = Mean(source, {"a": 1.0}), Mean(source, {"b": 1.0}, error=0.5)
    rounding = 10 * EPS * 3
    for mean, value, variance, own in ((a, 1, 4, 0), (b, 2, 9, 0.5), (a + b, 3, 15, 0.5), (a - b, -1, 11, 0.5)):
        assert mean.value == value
        assert mean.error == pytest.approx(own + 4 * np.sqrt(variance / 100), abs=rounding)  # four standard errors
    assert (a - b).size == 3 and (-3.0 * a + 1.0).value == -2 and (-3.0 * (a + number(1.0, 0.5))).constant_error == 1.5
    assert sampled([0.0, 2.0]).error == pytest.approx(4) and sampled([0.0, 2.0]).value == 1
    found = SimpleNamespace(value=2.0, error=0.25)
    assert (integral(found).value, integral(found, -1.0).value, integral(found).error) == (2.0, -2.0, 0.25)


def test_of_many_entries_the_one_beyond_its_error_is_shown_else_the_largest():
    a, b = np.array([0.0, 5.0, -7.0, 3.0]), np.array([0.0, 5.0, -7.0, 3.0])
    shown = lambda *sides: tuple((m.value, m.error) for m in worst(*sides)[:2]) + worst(*sides)[2]
    assert shown((a, 0.0), (b, 0.0)) == ((-7.0, 0.0), (-7.0, 0.0), 2)  # 0 = 0 tells nothing, and is not beyond 0
    errors = np.array([1.0, 0.5, 0.1, 2.0])
    near = b + [0.5, -0.6, 0.0, 3.0]  # off by half, .8, 0 and 1.5 of both errors
    assert shown((a, 0.0), (near, errors)) == ((3.0, 0.0), (6.0, 2.0), 3)  # 3 / 2, where .6 / .5 is less
    assert shown((a, errors), (near, errors)) == ((-7.0, 0.1), (-7.0, 0.1), 2)  # 3 / 4: none is beyond
    table = np.array([[1.0, 2.0], [3.0, np.nan]])
    assert worst((table, 0.0), (np.ones((2, 2)), 0.0))[2] == (1, 1)  # NaN is beyond any error
    # the room of a difference itself: 4 eps of both
    assert worst((np.array([1.0, 2.0]), 0.0), (np.array([1.0 + 7 * EPS, 2.0]), 0.0))[2] == (1,)
    assert worst((np.array([1.0, 2.0]), 0.0), (np.array([1.0 + 9 * EPS, 2.0]), 0.0))[2] == (0,)


def verdict_on(subject, gap=0.0, step="a step"):
    return Verdict(step, "a chapter", 1.0 + gap, 1.0, gap, 1e-9, abs(gap) < 1e-9, True, subject=subject)


@pytest.mark.parametrize("subjects, rows", [("a", 1), ("aa", 2), ("ab", 2), ("abc", 1), ("abcd", 1)])
def test_a_table_has_the_worst_of_more_than_two_cases(subjects, rows):
    found = Verdicts([verdict_on(s, 1e-3 * (k == 1)) for k, s in enumerate(subjects)])
    lines = found.table().splitlines()
    assert sum(line.startswith("  a step ") for line in lines) == rows
    told = [line.strip() for line in lines if line.startswith("    ")]
    assert told == (
        [] if len(set(subjects)) == 1 else list(subjects) if rows == 2 else [f"worst of {len(subjects)} cases: b"]
    )
    assert sum(line.startswith("  a step ") for line in found.table(every=True).splitlines()) == len(subjects)


def test_a_table_of_nothing_is_its_heading_and_a_step_as_wide_as_its_name():
    assert Verdicts().seed == 0 and Verdicts().table().startswith("  step         left ")
    (heading, row) = Verdicts([verdict_on("a", step="a longer name")]).table().splitlines()
    assert heading.index("left") + 4 == row.index(" =")


def test_the_width_of_the_kernels_on_data_is_scotts_rule():
    for n, d in ((60, 1), (50, 2)):
        study = on_data(np.random.default_rng(0).standard_normal((n, d)), "any")
        assert study.cases[0].density.sigma == pytest.approx(n ** (-1 / (d + 4)), rel=1e-14)
