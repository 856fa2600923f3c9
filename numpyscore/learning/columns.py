"""What the columns of a table say before any training: where there is no density to learn, and what helps.

A density needs rows that spread in all directions. Whole numbers, zeros, repeated rows and columns that are functions of others have
none: the least noise then looks best, and the log-likelihood grows without bound as it falls.
"""

import math
from typing import NamedTuple

import numpy as np

from .splits import some

MOST = 20_000  # rows looked at
FEW, PILED, REPEATED = 12, 0.1, 0.05  # distinct values; share of one value; share of rows that repeat an earlier one
EXACT = 1e-9  # variance, of 1, that the other columns leave to a function of them
DOMINATES, OF_FEW, LEAST = (
    0.5,
    0.9,
    8,
)  # share of a column's variance in one cell; where rows are fewer than 20; fewer still, none
DECIMALS, LARGEST = 6, 1e12  # of a grid; of its values, in units of its step
ROWS_A_COLUMN = 5  # rows for each column, below which rows are few
NAMED = 6  # columns in one note
PERIODS = (  # length, first value, what it is; those that begin at 1 are whole numbers
    (360, 0, "degrees"), (360, -180, "degrees"), (24, 0, "hours"), (2 * np.pi, 0, "radians"), (365, 1, "days of the year"), (12, 1, "months"),
)  # fmt: skip


class Grid(NamedTuple):
    """What samples of a continuous density do not keep to: the least and greatest value of each column, and the step between the values
    that it takes, 0 where there is none; low, high, step (d,), [x]."""

    low: np.ndarray
    high: np.ndarray
    step: np.ndarray

    @classmethod
    def of(cls, x):
        """The Grid of rows x (n, d)."""
        low, high = x.min(axis=0), x.max(axis=0)
        return cls(low, high, np.array([_step(column) for column in x[some(len(x), MOST)].T]))

    def outside(self, x):
        """Where the entries of x (n, d) lie below low or above high, half a step apart, (n, d) bool."""
        slack = 0.5 * self.step
        return (x < self.low - slack) | (x > self.high + slack)

    def rounded(self, x):
        """x (n, d) with each entry at the nearest value of its column's grid."""
        step = np.where(self.step > 0, self.step, 1)
        return np.where(self.step > 0, _decimal(self.low + step * np.round((x - self.low) / step)), x)

    def clipped(self, x):
        """x (n, d) with what lies outside at the ends."""
        return np.clip(x, self.low, self.high)


def _step(column):
    """The largest number of which all differences in a column are multiples, of those with at most DECIMALS decimals; 0 if there is none."""
    for decimals in range(DECIMALS + 1):
        scaled = column.astype(float) * 10**decimals
        if np.abs(scaled).max() > LARGEST:
            return 0.0
        whole = np.round(scaled)
        if np.abs(scaled - whole).max() <= 4 * np.finfo(float).eps * np.abs(scaled).max():
            return math.gcd(*np.unique(whole - whole.min()).astype(int).tolist()) / 10**decimals
    return 0.0


def _decimal(x):
    """x without the round-off behind its decimals: 0.30000000000000004 is 0.3."""
    return np.round(x, DECIMALS)


def look(x, names, robust=False, within=False):
    """Notes on the columns of x (n, d), [x], in plain words, with the names of the columns; none where nothing is odd.

    Parameters
    ----------
    x : (n, d) array, n >= 2
    names : d strings
    robust : bool
        Columns are scaled by quartiles already.
    within : bool
        The ends of the columns are known already.
    """
    x = np.asarray(x[some(len(x), MOST)], float)
    constant = np.ptp(x, axis=0) == 0
    notes = _few_rows(x)
    for rule in (_constant, _discrete, _piled):
        notes += rule(x, names, constant)
    notes += _repeated(x)
    notes += _dependent(x, names, constant)
    rules = {_dominated: not robust, _circular: True, _ends: not within}
    for rule in (rule for rule, asked in rules.items() if asked):
        notes += rule(x, names, constant)
    return notes


def left_out(dropped):
    """The note on rows dropped for missing cells, if there were any."""
    return [f"{dropped} row{'s' * (dropped > 1)} with missing cells left out"] if dropped else []


def _named(names, chosen):
    chosen = list(chosen)
    more = f" and {len(chosen) - NAMED} more" if len(chosen) > NAMED else ""
    return ", ".join(str(names[i]) for i in chosen[:NAMED]) + more


def _few_rows(x):
    n, d = x.shape
    if n >= ROWS_A_COLUMN * (d + 1):
        return []
    return [
        f"{n} rows in {d} column{'s' * (d > 1)} are few: a Gaussian alone has {d + d * (d + 1) // 2} parameters, and what is learned or tested "
        f"on so few is uncertain"
    ]


def _constant(x, names, constant):
    """Columns of one value."""
    if not constant.any():
        return []
    return [
        f"constant columns kept at scale 1: {_named(names, np.flatnonzero(constant))}. Only the noise gives them a density, so the least noise will look "
        f"best; leave them out, or add to them the rounding that they lost"
    ]


def _discrete(x, names, constant):
    """Columns of few distinct values, and columns of whole numbers."""
    distinct = np.array([len(np.unique(column)) for column in x.T])
    few = np.flatnonzero((distinct <= min(FEW, len(x) // 3)) & ~constant)
    whole = [i for i in np.flatnonzero((x == np.round(x)).all(axis=0) & ~constant) if i not in few]
    whole = [i for i in whole if distinct[i] < 0.5 * len(x)]
    notes = []
    if len(few):
        notes.append(
            f"columns of few distinct values have no density: {_named(names, few)} ({', '.join(str(distinct[i]) for i in few[:NAMED])}). "
            f"Leave them out, or fit each of their values apart; fit --dequantise spreads whole numbers"
        )
    if whole:
        notes.append(
            f"columns of whole numbers: {_named(names, whole)}. A density piles up on their grid as the noise falls; fit --dequantise adds a "
            f"uniform number from -1/2 to 1/2, and makes the log-likelihood one of the whole numbers"
        )
    return notes


def _piled(x, names, constant):
    """Columns with many rows at one value, such as 0."""
    notes = []
    for i in np.flatnonzero(~constant):
        values, counts = np.unique(x[:, i], return_counts=True)
        k = int(np.argmax(counts))
        if len(values) > FEW and counts[k] > max(PILED * len(x), 3):
            notes.append(
                f"{counts[k] / len(x):.0%} of {names[i]} is {values[k]:g}: rows piled up at one value have no density there. Fit them and the others "
                f"apart"
            )
    return notes


def _repeated(x):
    share = 1 - len(np.unique(x, axis=0)) / len(x)
    if share <= REPEATED or x.shape[1] == 1:  # of one column: it is rounded
        return []
    return [
        f"{share:.0%} of the rows repeat another: a row in both parts is no test, so held-out numbers flatter. Remove copies, or "
        f"dequantise"
    ]


def _unit(x):
    """Powers of two (d,), of the size of each column: measured in them, squares are numbers."""
    return np.exp2(np.floor(np.log2(np.maximum(np.abs(x).max(axis=0), np.finfo(float).tiny))))


def _dependent(x, names, constant):
    """Columns that are sums of others, exactly, and shares that sum to a constant."""
    kept = np.flatnonzero(~constant)
    if len(kept) < 2 or len(x) <= len(kept):
        return []
    unit, x = _unit(x[:, kept]), x[:, kept]
    y = x / unit.max()
    total, scale = y.sum(axis=1), np.abs(y).sum(axis=1).max()
    moves = y.std(axis=0).max()  # a large constant in the columns is no reason for their sum to be one
    rounded = sum(_step(column) for column in x.T) / unit.max()  # by which rounded shares miss their sum, at most
    exact = np.ptp(total) <= min(1e-6 * scale, 1e-3 * moves)
    if (exact or np.ptp(total) <= min(rounded, 0.1 * moves)) and (x >= 0).all():
        told = (
            f"{total.mean() * unit.max():.6g} in every row"
            if exact
            else f"{total.mean() * unit.max():.3g} to within their rounding"
        )
        return [
            f"columns that sum to {told}: {_named(names, kept)}. They have a density on that plane only: leave one of them "
            f"out, or take logarithms of their ratios"
        ]
    z = x / unit
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    basis, notes = np.empty((len(z), 0)), []
    for k, i in enumerate(kept):
        rest = z[:, k] - basis @ (basis.T @ z[:, k])
        rest -= basis @ (basis.T @ rest)  # twice is enough
        if rest @ rest > EXACT * len(z):
            basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
            continue
        earlier = kept[:k]
        weights = np.linalg.lstsq(z[:, :k], z[:, k], rcond=None)[0]
        of = [j for j, w in zip(earlier, weights, strict=True) if abs(w) > 1e-3]
        notes.append(
            f"{names[i]} is an exact linear function of {_named(names, of)}: together they have no density. Leave {names[i]} out"
        )
    return notes


def _dominated(x, names, constant):
    """Columns most of whose variance is one cell."""
    notes = []
    y = x / _unit(x)
    squares = (y - np.median(y, axis=0)) ** 2
    for i in np.flatnonzero(~constant):
        row = int(np.argmax(squares[:, i]))
        if len(x) >= LEAST and squares[row, i] > (DOMINATES if len(x) >= 20 else OF_FEW) * squares[:, i].sum():
            notes.append(
                f"one cell, {x[row, i]:g}, makes {squares[row, i] / squares[:, i].sum():.0%} of the variance of {names[i]}, by which it is scaled, so that "
                f"all others lie close together. Check it, take logarithms, or scale with fit --robust"
            )
    return notes


def _circular(x, names, constant):
    """Columns that run round: angles, hours, days of the year, by their range, if both ends are as full as the middle."""
    notes = []
    for i in np.flatnonzero(~constant):
        column, (low, high) = x[:, i], (x[:, i].min(), x[:, i].max())
        for period, start, what in PERIODS:
            step = 1 if (column == np.round(column)).all() else 0
            if start == 1 and not step:
                continue
            last = start + period + 1e-9 + (step if period > 12 else 0)  # both 0 and 360, 24 or day 366 may come
            full = start <= low <= start + 0.01 * period and start + 0.99 * period <= high + step <= last
            edge = 0.05 * period
            ends = min(np.mean(column < start + edge), np.mean(column > start + period - edge - step))
            if full and ends > 0.02:
                notes.append(
                    f"{names[i]} fills {start} to {start + period - (start == 1):g}, as {what} do: a circular column is cut open at its ends; use its sine and cosine"
                )
                break
    return notes


def _ends(x, names, constant):
    """Columns that are never negative and come close to 0, or lie between 0 and 1."""
    low, high = x.min(axis=0), x.max(axis=0)
    y = x / _unit(x)
    quartiles, deviation = np.ptp(np.quantile(y, [0.25, 0.75], axis=0), axis=0) / 1.35, y.std(axis=0)
    scale = _unit(x) * np.where(quartiles > 0, np.minimum(quartiles, deviation), deviation)  # one cell does not rule it
    near = lambda i, end: np.mean(np.abs(x[:, i] - end) < 0.1 * scale[i]) > 0.03
    many = np.array(
        [len(np.unique(column)) > FEW for column in x.T]
    )  # of few values it is said that they have no density
    at = [i for i in np.flatnonzero(~constant & many & (low >= 0)) if near(i, 0)]
    if not at:
        return []
    within = all(high[i] <= 1 and near(i, 1) for i in at)
    ends = "--lower 0 --upper 1" if within else "--lower 0"
    one = f"--columns {names[at[0]]} " if len(at) < x.shape[1] else ""
    return [
        f"{_named(names, at)} {'has' if len(at) == 1 else 'have'} many rows close to 0 and none below: samples of a density without ends "
        f"will cross it. fit --objective generalised {one}{ends} learns the score within ends; for a density take logarithms"
    ]


def dequantised(x, rng):
    """Rows x (n, d) with a uniform number from -1/2 to 1/2 added to the columns of whole numbers, and which these are.

    A density of x + u bounds the probabilities of the whole numbers: log P(k) >= E log p(k + u).

    Source: Theis, van den Oord & Bethge (2016), ICLR, arXiv:1511.01844.
    """
    x = np.asarray(x, float)
    whole = np.flatnonzero((x == np.round(x)).all(axis=0) & (np.ptp(x, axis=0) > 0))
    out = x.copy()
    out[:, whole] += np.random.default_rng(rng).uniform(-0.5, 0.5, (len(x), len(whole)))
    return out, whole
