r"""Derivatives of a black box by Romberg's extrapolation of central differences, with an error that can be relied on.

No step size to choose: central differences at nine halved steps h_k = h_0 / 2^k, extrapolated to h = 0,

.. math:: T_{k,m} = T_{k,m-1} + \frac{T_{k,m-1} - T_{k-1,m-1}}{4^m - 1},

and of all entries that one is kept whose error estimate, the distance to its two parents plus round-off, is smallest. The
round-off is measured, not assumed: where the function is smooth the deep entries differ by noise alone, and the noise of a
difference grows as 1/h_k.

Source: Romberg (1955); the estimate and the choice of the entry, Ridders (1982), Adv. Eng. Softw. 4:75-76.
"""

from typing import NamedTuple

import numpy as np

STEPS = 9
SAFETY = 32.0  # of the error estimate in a tolerance
UNITS = 128.0  # eps of the row norm in a tolerance: what a hand-written formula may lose
DEEP = 5  # from this row on, extrapolated entries of a smooth function differ by noise
ROWS = 1 << 21  # numbers in one call of the user's function
OUTLYING = 8.0  # ratio of standard deviation and that by quartiles from which on there are outliers
CLOSER = 4  # times that doubtful rows are differenced with smaller steps: down to 2^-44 of the width


class Derivative(NamedTuple):
    """Value, error estimate (without the safety factor), and the second derivative roughly; all of one shape."""

    value: np.ndarray
    error: np.ndarray
    second: np.ndarray


def widths(x, step=None):
    """Largest half-width of each column (d,), [x]: half its centred standard deviation, or what `step` says.

    A column whose rows lie together but for an outlier or two has the width of those that lie together.
    """
    if step is not None:
        return np.broadcast_to(np.asarray(step, float), x.shape[1:]).copy()
    spread = x.astype(float).std(axis=0) if len(x) else np.zeros(x.shape[1])
    size = np.abs(x).max(axis=0, initial=0.0)
    flat = spread <= 1e-9 * size  # one row, or a column that does not vary: nothing to be learnt from its spread
    if flat.all():
        spread = np.where(size > 0, size, 1.0)
    elif flat.any():
        spread[flat] = np.where(size[flat] > 0, np.minimum(size[flat], spread[~flat].max()), spread[~flat].max())
    bulk = _bulk(x)
    return 0.5 * np.where((bulk > 1e-9 * size) & (bulk < spread / OUTLYING), bulk, spread)


def _bulk(x):
    """Standard deviation of each column by its quartiles, as if it were normal."""
    low, high = np.quantile(x.astype(float), [0.25, 0.75], axis=0) if len(x) else np.zeros((2, x.shape[1]))
    return (high - low) / 1.349


def other_widths(x, step=None):
    """Half-widths to look at a row with that the first do not settle: 2^-STEPS of them, and again, and the whole standard deviation if there are outliers."""
    width = widths(x, step)
    smaller = [width / 2.0 ** (k * STEPS) for k in range(1, CLOSER + 1)]
    whole = 0.5 * x.astype(float).std(axis=0)
    return [np.maximum(width, whole), *smaller] if step is None and np.any(whole > OUTLYING * width) else smaller


def stencil(x, width, columns):
    """x +- h_k e_j for all k, and j of the columns: (2, STEPS, c, n, d); width (d,), or (n, d) of each row its own."""
    h = np.broadcast_to(width, x.shape) / 2.0 ** np.arange(STEPS)[:, None, None]  # (STEPS, n, d)
    moves = np.zeros((STEPS, len(columns), *x.shape))
    moves[:, np.arange(len(columns)), :, columns] = np.moveaxis(h[:, :, columns], 2, 0)
    return x + np.array([1.0, -1.0])[:, None, None, None, None] * moves


def differences(function, x, width, shape=()):
    """d function / d x_j at the rows of x.

    Parameters
    ----------
    function : callable (r, d) -> values (r, *shape), and the points (r, d) that it saw, rounded to its dtype
    x : (n, d) array
    width : (d,) array, largest half-widths, or (n, d), those of each row
    shape : shape of one value

    Returns
    -------
    Derivative
        Of shape (n, *shape, d), last index the column of x.
    evaluations : int
    """
    n, d = x.shape
    block = max(1, ROWS // (2 * STEPS * d * d))
    wide = max(1, ROWS // (2 * STEPS * d))  # columns in a call: all of them, up to a few hundred
    parts, evaluations = [], 0
    for start in range(0, n, block):
        found = []
        for first in range(0, d, wide):
            columns = np.arange(first, min(first + wide, d))
            here = width[start : start + block] if width.ndim == 2 else width
            points = stencil(x[start : start + block], here, columns)
            r, c = points.shape[3], np.arange(len(columns))
            values, seen = function(points.reshape(-1, d))
            evaluations += len(values)
            values = values.reshape(2, STEPS, len(c), r, *shape)
            seen = seen.reshape(points.shape).astype(float)
            half = 0.5 * (seen[0, :, c, :, columns] - seen[1, :, c, :, columns])  # (c, STEPS, r): advanced first
            half = np.moveaxis(half, 0, 1).reshape(STEPS, len(c), r, *(1 for _ in shape))
            found.append(romberg(values[0], values[1], half))
        parts.append([np.concatenate(a) for a in zip(*found, strict=True)])
    move = lambda a: np.moveaxis(np.concatenate(a, axis=1), 0, -1)  # (d, n, *shape) -> (n, *shape, d)
    return Derivative(*(move(list(p)) for p in zip(*parts, strict=True))), evaluations


def settled(function, x, others, found, doubtful, allowance, shape=()):
    """The `Derivative` found, with rows that are in doubt replaced by what other steps say of them, where that removes the doubt.

    A derivative is local. Where the spread of x is far beyond the scale on which the function changes (a heavy tail), the first steps
    step over everything, smoothly and with a small error; near a kink they step across it. A number gives way to one of less error, or to
    one that contradicts it. Other steps may clear a row and never accuse one: below its resolution a function is flat, and its
    differences agree on a wrong value.

    Parameters
    ----------
    function, x : as in `differences`
    others : list of (d,) arrays, half-widths
    found : Derivative
    doubtful : callable Derivative -> (n,) mask of the rows in doubt
    allowance : callable Derivative -> what each number may be off by, of the shape of its value
    shape : as in `differences`
    """
    for width in others:
        rows = doubtful(found)
        if not rows.any():
            break
        now, _ = differences(function, x[rows], width, shape)
        trial = Derivative(*(a.copy() for a in found))
        for whole, part in zip(trial, now, strict=True):
            whole[rows] = part
        before, after = allowance(found), allowance(trial)
        better = (after < before) | (np.abs(trial.value - found.value) > after + before)
        trial = Derivative(*(np.where(better, new, old) for new, old in zip(trial, found, strict=True)))
        clear = (rows & ~doubtful(trial)).reshape(-1, *(1 for _ in shape), 1)
        found = Derivative(*(np.where(clear, new, old) for new, old in zip(trial, found, strict=True)))
    return found


def romberg(plus, minus, half):
    """Derivative from function values at +half and -half, (STEPS, d, n, ...), half-widths falling by halves."""
    plus, minus, half = np.asarray(plus, float), np.asarray(minus, float), np.asarray(half, float)
    with np.errstate(all="ignore"):
        rows = [(plus - minus) / (2 * half)]  # rows[m][k - m] = T[k, m]
        for m in range(1, len(plus)):
            before = rows[-1]
            rows.append(before[1:] + (before[1:] - before[:-1]) / (4.0**m - 1))
        noise = _noise(plus, minus, rows, half)
        best = rows[0][-1]
        least = np.full(best.shape, np.inf)
        for m in range(len(rows)):
            for k in range(max(m, 1), len(plus)):
                here = rows[m][k - m]
                # T[k-1, m-1] is 4^m times as far away as the other parent, T[k, m-1]
                parent = rows[m - 1][k - m] if m else rows[0][k - 1]
                error = np.abs(here - parent) + noise / half[k]
                better = error < least
                best, least = np.where(better, here, best), np.where(better, error, least)
        second = np.nan_to_num((plus[2] + minus[2] - plus[3] - minus[3]) / (half[2] ** 2 - half[3] ** 2))
    return Derivative(best, least, second)


def _noise(plus, minus, rows, half):
    """Noise of one function value: what deep entries differ by, pooled over the columns of x, at least its round-off."""
    apart = [
        np.abs(rows[m][k - m] - rows[m - 1][k - m]) * half[k] for m in (2, 3, 4) for k in range(max(DEEP, m), len(plus))
    ]
    measured = np.nan_to_num(np.median(np.array(apart), axis=(0, 1)), posinf=0.0)  # (n, ...)
    size = np.maximum(*(np.where(np.isfinite(a), np.abs(a), 0.0).max(axis=(0, 1)) for a in (plus, minus)))
    return np.maximum(measured, np.finfo(float).eps * size)


def tolerance(derivative, scale, eps):
    """SAFETY x error + UNITS eps x scale: beyond this, two numbers differ."""
    return SAFETY * derivative.error + UNITS * eps * scale
