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


class Derivative(NamedTuple):
    """Value, error estimate (without the safety factor), and the second derivative roughly; all of one shape."""

    value: np.ndarray
    error: np.ndarray
    second: np.ndarray


def widths(x, step=None):
    """Largest half-width of each column (d,), [x]: half its centred standard deviation, or what `step` says."""
    if step is not None:
        return np.broadcast_to(np.asarray(step, float), x.shape[1:]).copy()
    spread = x.astype(float).std(axis=0) if len(x) > 1 else np.zeros(x.shape[1])
    size = np.abs(x).max(axis=0, initial=0.0)
    flat = spread <= 1e-9 * size  # one row, or a column that does not vary: nothing to be learnt from its spread
    if flat.all():
        spread = np.where(size > 0, size, 1.0)
    elif flat.any():
        spread[flat] = np.where(size[flat] > 0, np.minimum(size[flat], spread[~flat].max()), spread[~flat].max())
    return 0.5 * spread


def stencil(x, width):
    """x +- h_k e_j for all k, j: (2, STEPS, d, n, d)."""
    d = x.shape[1]
    h = width / 2.0 ** np.arange(STEPS)[:, None]  # (STEPS, d)
    moves = h[:, :, None] * np.eye(d)  # (STEPS, d, d)
    return x + np.array([1.0, -1.0])[:, None, None, None, None] * moves[None, :, :, None, :]


def differences(function, x, width, shape=()):
    """d function / d x_j at the rows of x.

    Parameters
    ----------
    function : callable (r, d) -> values (r, *shape), and the points (r, d) that it saw, rounded to its dtype
    x : (n, d) array
    width : (d,) array, largest half-widths
    shape : shape of one value

    Returns
    -------
    Derivative
        Of shape (n, *shape, d), last index the column of x.
    evaluations : int
    """
    n, d = x.shape
    block = max(1, ROWS // (2 * STEPS * d * d))
    parts, evaluations = [], 0
    for start in range(0, n, block):
        points = stencil(x[start : start + block], width)
        r = points.shape[3]
        values, seen = function(points.reshape(-1, d))
        evaluations += len(values)
        values = values.reshape(2, STEPS, d, r, *shape)
        seen = seen.reshape(points.shape).astype(float)
        columns = np.arange(d)
        half = 0.5 * (
            seen[0, :, columns, :, columns] - seen[1, :, columns, :, columns]
        )  # (d, STEPS, r): advanced first
        half = np.moveaxis(half, 0, 1).reshape(STEPS, d, r, *(1 for _ in shape))
        parts.append(romberg(values[0], values[1], half))
    move = lambda a: np.moveaxis(np.concatenate(a, axis=1), 0, -1)  # (d, n, *shape) -> (n, *shape, d)
    return Derivative(*(move(list(p)) for p in zip(*parts, strict=True))), evaluations


def romberg(plus, minus, half):
    """Derivative from function values at +half and -half, (STEPS, d, n, ...), half-widths falling by halves."""
    plus, minus, half = np.asarray(plus, float), np.asarray(minus, float), np.asarray(half, float)
    with np.errstate(all="ignore"):
        rows = [(plus - minus) / (2 * half)]  # rows[m][k - m] = T[k, m]
        for m in range(1, len(plus)):
            before = rows[-1]
            rows.append(before[1:] + (before[1:] - before[:-1]) / (4.0**m - 1))
        noise = _noise(plus, minus, rows, half)
        best, least = rows[0][-1], np.full(plus.shape[1:], np.inf)
        for m in range(len(rows)):
            for k in range(max(m, 1), len(plus)):
                here = rows[m][k - m]
                parents = [rows[m - 1][k - m + 1], rows[m - 1][k - m]] if m else [rows[0][k - 1]]
                error = np.max([np.abs(here - p) for p in parents], axis=0) + noise / half[k]
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
