"""Is a function one of its rows, and steady: does row i of a result depend on row i of x alone, and is it the same each time?"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..common.inputs import generator, positive
from .functions import Caller, points_of
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst

LOOSE = ("different", "some rows", "some dimensions")  # diagnoses that say where, and not what


def check_rows(score, x, *, wrap=None, rtol=None, rng=0):
    """Does row i of the result depend on row i of x alone?

    The rows are asked again in another order, in half a batch, and with all other rows replaced; up to a few units of
    round-off (a matrix product sums in another order) nothing may change.

    Parameters
    ----------
    score : callable (n, d) -> (n, ...)
        Or an energy, a trace: anything with one result per row.
    x : (n, d) array, n >= 2
    wrap : as in `check_score`
    rtol : float, optional
        Allowed change relative to the largest result; 4096 eps by default.
    rng : seed or numpy.random.Generator
        Draws the order and the other rows.

    Returns
    -------
    CheckReport
    """
    where = "check_rows"
    points, rng = points_of(where, x), generator(where, rng)
    if len(points) < 2:
        raise ValueError(
            f"{where}: x has {len(points)} row, expected at least two: with one there is nothing it could depend on."
        )
    return _rows(where, Caller(where, "score", score, wrap, x), points, rtol, rng)


def _rows(where, caller, points, rtol, rng):
    """The report on rows."""
    n, d = points.shape
    whole = caller(points)
    summary = f"{n} rows x {d} dims, {caller.went} in, {caller.came} out"
    if whole.shape[:1] != (n,):
        text = f"shape: the result has shape {whole.shape} for {n} rows; expected one result per row"
        return CheckReport(where, FAIL, summary, diagnosis=text)
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    allowed = (4096 * caller.eps if rtol is None else positive(where, "rtol", rtol)) * scale
    order, half = rng.permutation(n), np.arange((n + 1) // 2)
    fewer = caller(points[half])
    if fewer.shape != (len(half), *whole.shape[1:]):
        text = f"axes: the result has shape {whole.shape} for {n} rows and {fewer.shape} for {len(half)}; rows and dimensions are mixed up (a trace, a sum or a vmap over the wrong axis)"
        return CheckReport(where, FAIL, summary, diagnosis=text)
    others = np.concatenate([points[:1], points[1:].mean(0) + 3 * points.std(0) * rng.standard_normal((n - 1, d))])
    again = caller(points)

    def change(now, i):
        """Largest change of each row; numbers that are not finite and stay what they are do not change."""
        with np.errstate(invalid="ignore"):
            gap = np.where((now == whole[i]) | (np.isnan(now) & np.isnan(whole[i])), 0.0, np.abs(now - whole[i]))
        return np.nan_to_num(gap, nan=np.inf).reshape(len(now), -1).max(axis=1)

    trials = {
        "two calls": change(again, np.arange(n)),
        "another order": change(caller(points[order]), order),
        "half the batch": change(fewer, half),
        "other rows": change(caller(others)[:1], np.arange(1)),
    }
    top = {name: float(gap.max()) for name, gap in trials.items()}
    name = max(top, key=lambda key: top[key])
    resolution = float(allowed / scale) if scale else np.nan
    common: dict[str, Any] = {
        "resolution": resolution,
        "notes": tuple(caller.notes()),
        "details": {"largest change": top},
    }
    if max(top.values()) <= allowed:
        return CheckReport(where, PASS, summary, **common)
    i = int(trials[name].argmax())
    if top["two calls"] > allowed:
        text = "random: two calls with the same rows differ (dropout, random probes); nothing can be said about rows"
        return CheckReport(
            where, INCONCLUSIVE, summary, pattern=f"changes by {top['two calls'] / scale:.2g}", diagnosis=text, **common
        )
    pattern = (
        ", ".join(f"{key}: {value / scale:.1e}" for key, value in top.items() if key != "two calls")
        + " of the largest result"
    )
    return CheckReport(
        where,
        FAIL,
        summary,
        pattern=pattern,
        diagnosis=_mixed(fewer, whole, top, allowed, n),
        **common | {"worst": Worst(f"row {i}, {name}", top[name], 0.0, resolution)},
    )


def _mixed(halved, whole, top, allowed, n):
    """In which way rows depend on each other."""
    m = len(halved)
    for c, text in (
        (n / m, "1/n: rows are divided by their number, as in the gradient of a mean over the batch"),
        (m / n, "n: rows are multiplied by their number"),
    ):
        if m != n and np.allclose(
            halved, c * whole[:m], rtol=1e-5, atol=1e-9 * np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
        ):
            return text
    if top["another order"] <= allowed:
        return "batch statistics: the result of a row changes with the other rows, not with their order (batch normalisation, centring, a mean or sum over the wrong axis)"
    if top["other rows"] <= allowed:
        return "position: the result of a row changes with its place in the batch (an index, a fixed noise array, a cumulative sum)"
    return "rows mixed: the result of a row changes with the other rows and with their order"


# ------------------------------------------------------------------------------- for the other checks


def by_rows(report, caller, points):
    """The report, or one that says that rows depend on each other, where the numbers themselves have no explanation."""
    if report.verdict != FAIL or report.name not in LOOSE or len(points) < 2:
        return report
    try:
        rows = _rows(report.check, caller, points, None, generator(report.check, 0))
    except ValueError as error:
        text = f"axes: with fewer rows than {len(points)} it raises; rows and dimensions are mixed up, or the size of the batch is fixed"
        return replace(report, diagnosis=text, pattern=str(error.__cause__ or error))
    return replace(report, diagnosis=rows.diagnosis, pattern=rows.pattern) if rows.verdict == FAIL else report


def unsteady(where, caller, value, points):
    """A report if the same points give another result after other points were asked: a state, or random numbers."""
    turned, again = caller(points[::-1]), caller(points)
    same = lambda a, b: (
        a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e3 * caller.eps * np.abs(value).max(), equal_nan=True)
    )
    if same(again, value):
        return None
    third = caller(points)
    summary = f"{len(points)} points x {points.shape[1]} dims"
    if len(points) > 1 and same(again, value[::-1]) and same(turned, value):
        text = "state: the result is that of the call before"
    elif same(third - again, value):
        text = "state: each call adds to what the calls before returned; gradients accumulate (zero_grad is missing)"
    elif same(third, again):
        text = "state: the same points give another result after other points were asked (a cache, a buffer, running statistics)"
    else:
        text = f"random {caller.name}: two calls at the same points differ (dropout?); put the model in evaluation mode"
        return CheckReport(where, INCONCLUSIVE, summary, diagnosis=text, notes=tuple(caller.notes()))
    return CheckReport(where, FAIL, summary, diagnosis=text, notes=tuple(caller.notes()))
