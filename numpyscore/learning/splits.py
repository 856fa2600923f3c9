r"""Which rows train, which choose sigma and the stopping point, which are kept for the report: never the same ones.

The best of many held-out values flatters itself, so the rows that chose cannot report. A large table is split in three. A
small one is cross-validated twice, one inside the other, so that every row is tested once by a network that never saw
it, at a sigma and a stopping point that it had no part in choosing:

- for each pair of folds {i, j} a network is trained on the other folds and scored on both at every snapshot;
- fold i is tested by a network trained on all others, stopped where their folds, scored by the networks that saw neither
  them nor i, were best;
- the network that is handed out is trained on all rows, stopped where all folds were best.

Pairs serve both orders, so F folds need F (F - 1) / 2 + F + 1 trainings, 16 for five.

A network that is trained at all noise levels at once leaves less to choose, how fast weights decay, a stopping point and the least
level, and F trainings for each decay and one more will do: fold i is tested by the network that did not train on it, of the decay
and stopped where the other folds, each scored by the network that did not train on it, were best. These networks trained on fold i,
but its rows had no part in the scores that choose for it.

Source: Stone (1974), J. R. Statist. Soc. B 36:111-147, for choice and assessment by cross-validation, one inside the other.
"""

import itertools
from typing import NamedTuple

import numpy as np


class Snapshot(NamedTuple):
    """One line of a history: the averaged network of training `run` after `step` steps, scored on one fold.

    objective : mean training loss of the steps since the snapshot before, on noisy rows. train, held_out : the criterion on (up
    to 300 of) the rows it was trained on and on fold `fold`; fold is -1, and held_out NaN, where no fold was kept from it.
    sigma is the noise of the level, 0 for a network that was told several.
    """

    run: int
    fold: int
    sigma: float
    step: int
    objective: float
    train: float
    held_out: float


class Run(NamedTuple):
    """One training: the rows it sees, the folds scored at each snapshot, its last step, the rows scored at its end, which way it goes."""

    rows: np.ndarray
    folds: dict
    stop: int
    report: np.ndarray
    way: int = 0


NOBODY = np.empty(0, int)
CHOOSE, REPORT = 5000, 20_000  # rows that choose, and that report, of a large table: at most


def some(n, most):
    """At most so many of the indices 0 ... n - 1, in order: at random, as rows at equal distances may all be of one kind; the same each time."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(n).choice(n, most, replace=False))


def best_step(history, scored):
    """The step at which the mean of held_out over (run, fold) pairs is least, and the means by step, in order."""
    values: dict = {}
    for line in history:
        if (line.run, line.fold) in scored:
            values.setdefault(line.step, []).append(line.held_out)
    means = {step: float(np.mean(values[step])) for step in sorted(values)}
    return min(means, key=lambda step: (means[step], step)), means


class NestedFolds:
    """Nested cross-validation: every row tested once."""

    def __init__(self, n, steps, rng, folds=5):
        self.n, self.steps = n, steps
        self.folds = [np.sort(part) for part in np.array_split(rng.permutation(n), folds)]
        self.pairs = list(itertools.combinations(range(folds), 2))
        self.runs = len(self.pairs) + folds + 1
        self.words = (
            f"nested {folds}-fold cross-validation: every row tested once, by a network that never saw it, at a sigma and a "
            f"stopping point chosen on other rows; the network handed out is trained on all rows"
        )

    def scored(self, without=None):
        """The (run, fold) pairs that choose; those of networks that never saw fold `without`."""
        pairs = [(run, pair) for run, pair in enumerate(self.pairs) if without is None or without in pair]
        return {(run, fold) for run, pair in pairs for fold in pair if fold != without}

    def run(self, index, history):
        """The training `index`, whose stopping point may depend on the history of those before."""
        if index < len(self.pairs):
            pair = self.pairs[index]
            return Run(self._others(*pair), {fold: self.folds[fold] for fold in pair}, self.steps, NOBODY)
        fold = index - len(self.pairs)
        if fold < len(self.folds):
            return Run(self._others(fold), {}, best_step(history, self.scored(fold))[0], self.folds[fold])
        return Run(np.arange(self.n), {}, best_step(history, self.scored())[0], NOBODY)

    def tested(self):
        """(rows that are tested, rows the network testing them was trained on), one pair for each test."""
        return [(fold, self._others(k)) for k, fold in enumerate(self.folds)]

    def _others(self, *out):
        return np.sort(np.concatenate([fold for k, fold in enumerate(self.folds) if k not in out]))


class Folds:
    """Cross-validation, not nested: every row tested once, by a network that did not train on it, with what the other folds chose.

    There may be several ways to train, between which the folds choose too: training `index` leaves out fold index modulo F, by way
    index // F.
    """

    def __init__(self, n, steps, rng, folds=5, ways=1):
        self.n, self.steps, self.ways, self.runs = n, steps, ways, folds * ways + 1
        self.folds = [np.sort(part) for part in np.array_split(rng.permutation(n), folds)]
        also = " with weights that decay or do not," if ways > 1 else ""
        self.words = (
            f"{folds}-fold cross-validation: every row tested once, by a network that never saw it,{also} at a stopping point and a "
            f"least sigma that the other folds chose; the network handed out is trained on all rows"
        )

    def scored(self, without=None, way=0):
        """The (run, fold) pairs that choose a stopping point, without that of fold `without`."""
        F = len(self.folds)
        return {(way * F + fold, fold) for fold in range(F) if fold != without}

    def chosen(self, history, without=None):
        """The way and the step at which the held-out loss is least, by all folds but `without`."""
        found = []
        for way in range(self.ways):
            step, means = best_step(history, self.scored(without, way))
            found.append((means[step], way, step))
        return min(found)[1:]

    def run(self, index, history):
        """The training `index`; the last, on all rows, goes the way and stops where all folds were best."""
        way, fold = divmod(index, len(self.folds))
        if way < self.ways:
            return Run(self._others(fold), {fold: self.folds[fold]}, self.steps, NOBODY, way)
        way, stop = self.chosen(history)
        return Run(np.arange(self.n), {}, stop, NOBODY, way)

    def tested(self):
        """(rows that are tested, rows the network testing them was trained on), one pair for each fold."""
        return [(fold, self._others(k)) for k, fold in enumerate(self.folds)]

    def looked_at(self, shown):
        """All rows: each of them is scored."""
        return np.arange(self.n)

    def _others(self, out):
        return np.sort(np.concatenate([fold for k, fold in enumerate(self.folds) if k != out]))


class ThreeWay:
    """Seven tenths train, or more, the rest chooses and reports; the network handed out is the one that is reported.

    Three twentieths of the rows each, at most CHOOSE and REPORT of them: a mean over so many is known well enough, and what a
    snapshot costs does not grow with the table.

    The rows that choose are few, and a network trained with little noise on data without detail has losses that scatter: less noise
    takes the place of more only where it is better by two standard errors of the difference, row by row.
    """

    def __init__(self, n, steps, rng):
        self.n, self.steps, self.runs = n, steps, 1
        rows = rng.permutation(n)
        choose, report = min(3 * n // 20, CHOOSE), min(3 * n // 20, REPORT)
        first, second = n - choose - report, n - report
        self.train, self.choose, self.report = (np.sort(part) for part in np.split(rows, [first, second]))
        self.words = (
            f"three-way split: {len(self.train)} rows train, {len(self.choose)} choose sigma and the stopping point, "
            f"{len(self.report)} are used for nothing but the report"
        )

    def looked_at(self, shown):
        """The rows that are ever scored, in order: of those trained on the first `shown`."""
        return np.sort(np.concatenate([self.train[:shown], self.choose, self.report]))

    def scored(self):
        """The (run, fold) pair that chooses."""
        return {(0, 0)}

    def run(self, index, history):
        """The one training."""
        return Run(self.train, {0: self.choose}, self.steps, self.report)

    def tested(self):
        """(rows that are tested, rows the network testing them was trained on)."""
        return [(self.report, self.train)]
