"""Rows that train, choose and report are never the same: read off the plans by brute force."""

import math

import numpy as np
import pytest

from numpyscore.learning.splits import Folds, NestedFolds, Snapshot, ThreeWay, best_step


def line(run, fold, step, held_out):
    return Snapshot(run, fold, 0.1, step, 0.0, 0.0, held_out)


def history_of(split, value, steps=(1, 2, 3)):
    """A history in which every scored (run, fold) has the loss value(run, fold, step)."""
    out = []
    for index in range(split.runs):
        for step in steps:
            folds = split.run(index, tuple(out)).folds
            out += [line(index, fold, step, value(index, fold, step)) for fold in folds]
    return tuple(out)


@pytest.mark.parametrize("n", [10, 11, 272])
def test_every_row_is_tested_once_by_a_training_that_never_saw_it(n):
    split = NestedFolds(n, 3, np.random.default_rng(0))
    history = history_of(split, lambda run, fold, step: step)
    runs = [split.run(k, history) for k in range(split.runs)]
    reported = np.concatenate([run.report for run in runs])
    assert len(runs) == 16 and sorted(reported) == list(range(n))
    for run in runs:
        assert not set(run.rows) & set(run.report)
        for rows in run.folds.values():
            assert not set(run.rows) & set(rows) and not set(run.report) & set(rows)
    np.testing.assert_array_equal(runs[-1].rows, np.arange(n))
    for (tested, trained), run in zip(split.tested(), runs[10:15], strict=True):
        np.testing.assert_array_equal(tested, run.report)
        np.testing.assert_array_equal(trained, run.rows)


def test_the_stopping_point_of_a_test_does_not_depend_on_its_rows_or_on_networks_that_saw_them():
    """Losses of fold k, and of trainings that saw fold k, are made absurd: the choice for fold k must not move."""
    split = NestedFolds(50, 3, np.random.default_rng(0))
    honest = lambda run, fold, step: {1: 0.0, 2: -1.0, 3: -0.5}[step]
    for k in range(5):

        def absurd(run, fold, step, k=k):
            saw = run >= len(split.pairs) or k not in split.pairs[run]
            return -100.0 * step if fold == k or saw else honest(run, fold, step)

        assert split.run(10 + k, history_of(split, absurd)).stop == 2
        assert split.run(15, history_of(split, absurd)).stop == 3  # control: the last training does look at them


def test_three_way_rows_are_disjoint_and_complete():
    split = ThreeWay(1001, 3, np.random.default_rng(0))
    run = split.run(0, ())
    rows = [run.rows, run.folds[0], run.report]
    assert sorted(np.concatenate(rows)) == list(range(1001)) and [len(part) for part in rows] == [701, 150, 150]
    assert run.stop == 3 and split.runs == 1 and split.scored() == {(0, 0)}


def test_the_best_step_is_the_earliest_with_the_least_mean_of_the_pairs_asked_for():
    history = (line(0, 0, 1, 3.0), line(0, 1, 1, 1.0), line(0, 0, 2, 1.0), line(0, 1, 2, 1.0), line(1, 0, 2, -math.inf))
    history += (line(0, 0, 3, 0.0), line(0, 1, 3, 2.0))
    assert best_step(history, {(0, 0), (0, 1)}) == (2, {1: 2.0, 2: 1.0, 3: 1.0})
    assert best_step(history, {(0, 1)})[0] == 1


def test_another_seed_gives_other_folds():
    a, b = (NestedFolds(50, 3, np.random.default_rng(seed)) for seed in (0, 1))
    assert any((p != q).any() for p, q in zip(a.folds, b.folds, strict=True))


def test_folds_that_are_not_nested_choose_for_one_another():
    """Five trainings and one on all rows; the losses of fold k made absurd move the last choice, and not that for fold k."""
    split = Folds(52, 3, np.random.default_rng(0))
    honest = lambda fold, step: {1: 0.0, 2: -1.0, 3: -0.5}[step]
    for k in range(5):
        history = history_of(split, lambda run, fold, step, k=k: -100.0 * step if fold == k else honest(fold, step))
        assert best_step(history, split.scored(k))[0] == 2 and split.run(5, history).stop == 3
    runs = [split.run(k, history) for k in range(split.runs)]
    assert len(runs) == 6 and len(runs[5].rows) == 52 and not runs[5].folds
    # two ways: the second is better, but for fold 3, without whose rows the first is
    split = Folds(52, 3, np.random.default_rng(0), ways=2)
    other = lambda run, fold, step: honest(fold, step) - (0.0 if run < 5 else 9.0 if fold == 3 else -1.0)
    history = history_of(split, other)
    assert [split.chosen(history, k) for k in (None, 0, 3)] == [(1, 2), (1, 2), (0, 2)]
    assert [split.run(k, history).way for k in (0, 4, 5, 9, 10)] == [0, 0, 1, 1, 1] and split.runs == 11
    np.testing.assert_array_equal(split.run(7, history).folds[2], split.folds[2])
    for k, (tested, trained) in enumerate(split.tested()):
        np.testing.assert_array_equal(runs[k].folds[k], tested)
        np.testing.assert_array_equal(runs[k].rows, trained)
        assert sorted([*tested, *trained]) == list(range(52))


def test_of_a_large_table_a_bounded_number_of_rows_chooses_and_reports():
    split = ThreeWay(200_000, 3, np.random.default_rng(0))
    assert [len(part) for part in (split.train, split.choose, split.report)] == [175_000, 5000, 20_000]
