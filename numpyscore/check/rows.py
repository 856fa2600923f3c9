"""Is a result one of its rows, the same in each call, of the right shape and finite: before its numbers mean anything."""

from dataclasses import replace
from functools import partial

import numpy as np

from ..common.inputs import generator, positive
from ..numerics.differences import widths
from .functions import Function, points_of
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst, summary_of

LOOSE = (  # where or how much, not what
    "different", "some rows", "some dimensions", "factor of each row", "inaccurate", "energy not used",
)  # fmt: skip
EVALUATE = "put the model in evaluation mode"


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
    return _rows(where, Function(where, "score", score, wrap, x), points, rtol, rng)


def _rows(where, function, points, rtol, rng):
    """The report on rows."""
    n, d = points.shape
    whole, half = function(points), np.arange((n + 1) // 2)
    fewer = function(points[half]) if whole.shape[:1] == (n,) else whole
    report = partial(CheckReport, where, summary=f"{n} rows x {d} dims, {function.went} in, {function.came} out")
    if whole.shape[:1] != (n,):
        text = f"shape: the result has shape {whole.shape} for {n} rows; expected one result per row"
        return report(FAIL, diagnosis=text)
    if fewer.shape != (len(half), *whole.shape[1:]):
        text = f"axes: the result has shape {whole.shape} for {n} rows and {fewer.shape} for {len(half)}; rows and dimensions are mixed up (a trace, a sum or a vmap over the wrong axis)"
        return report(FAIL, diagnosis=text)
    order = rng.permutation(n)
    others = np.concatenate([points[:1], points[1:].mean(0) + 3 * points.std(0) * rng.standard_normal((n - 1, d))])
    trials = {
        "two calls": _change(function(points), whole),
        "another order": _change(function(points[order]), whole[order]),
        "half the batch": _change(fewer, whole[half]),
        "other rows": _change(function(others)[:1], whole[:1]),
    }
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    allowed = (4096 * function.eps if rtol is None else positive(where, "rtol", rtol)) * scale
    top = {name: float(gap.max()) for name, gap in trials.items()}
    resolution = float(allowed / scale) if scale else np.nan
    report = partial(report, resolution=resolution, notes=tuple(function.notes()), details={"largest change": top})
    if max(top.values()) <= allowed:
        return report(PASS)
    if top["two calls"] > allowed:
        text = "random: two calls with the same rows differ (dropout, random probes); nothing can be said about rows"
        return report(INCONCLUSIVE, pattern=f"changes by {top['two calls'] / scale:.2g}", diagnosis=text)
    pattern = ", ".join(f"{key}: {value / scale:.1e}" for key, value in top.items() if key != "two calls")
    name = max(top, key=lambda key: top[key])
    worst = Worst(f"row {int(trials[name].argmax())}, {name}", top[name], 0.0, resolution)
    text = _mixed(fewer, whole, top, allowed)
    return report(FAIL, worst=worst, pattern=f"{pattern} of the largest result", diagnosis=text)


def _change(now, before):
    """Largest change of each row; numbers that are not finite and stay what they are do not change."""
    with np.errstate(invalid="ignore"):
        gap = np.where((now == before) | (np.isnan(now) & np.isnan(before)), 0.0, np.abs(now - before))
    return np.nan_to_num(gap, nan=np.inf).reshape(len(now), -1).max(axis=1)


def _mixed(halved, whole, top, allowed):
    """In which way rows depend on each other."""
    m, n, size = len(halved), len(whole), np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    times = lambda c: m != n and np.allclose(halved, c * whole[:m], rtol=1e-5, atol=1e-9 * size)
    if times(n / m):
        return "1/n: rows are divided by their number, as in the gradient of a mean over the batch"
    if times(m / n):
        return "n: rows are multiplied by their number"
    if top["another order"] <= allowed:
        return "batch statistics: the result of a row changes with the other rows, not with their order (batch normalisation, centring, a mean or sum over the wrong axis)"
    if top["other rows"] <= allowed:
        return "position: the result of a row changes with its place in the batch (an index, a fixed noise array, a cumulative sum)"
    return "rows mixed: the result of a row changes with the other rows and with their order"


def by_rows(report, function, points):
    """The report, or one that says that rows depend on each other, where the numbers themselves have no explanation."""
    if report.verdict != FAIL or report.name not in LOOSE or len(points) < 2:
        return report
    try:
        rows = _rows(report.check, function, points, None, generator(report.check, 0))
    except ValueError as error:
        text = f"axes: with fewer rows than {len(points)} it raises; rows and dimensions are mixed up, or the size of the batch is fixed"
        return replace(report, diagnosis=text, pattern=str(error.__cause__ or error))
    return replace(report, diagnosis=rows.diagnosis, pattern=rows.pattern) if rows.verdict == FAIL else report


# ------------------------------------------------------------------------------- what is no field at all


def unfit(where, function, value, shape, x, each="one row of numbers for each row of x"):
    """A FAIL if the user's array has another shape than it must have, or is not finite, or is complex; else None."""
    name, notes = function.name, tuple(function.notes())
    text = pattern = ""
    if value.dtype.kind == "c":
        text = f"complex: {name} returned complex numbers"
    elif value.shape != shape:
        flipped = " (transposed?)" if value.shape == shape[::-1] else ""
        text = f"shape: {name} returned {value.shape}{flipped} where {shape} was expected, {each}"
        pattern = f"shape {value.shape}"
    elif not np.isfinite(value).all():
        bad = np.argwhere(~np.isfinite(value))
        place = ", ".join(map(str, bad[0]))
        text = f"not finite: {len(bad)} of {value.size} numbers of {name} are NaN or infinite, the first at [{place}], x = {x[bad[0][0]]}"
        pattern = f"{name}[{place}] = {value[tuple(bad[0])]}"
    summary = summary_of(x, function)
    return CheckReport(where, FAIL, summary, pattern=pattern, diagnosis=text, notes=notes) if text else None


def one_number_each(where, name, value, seen):
    """The values (r,) of a function with one number per row, and the points."""
    r = len(seen)
    if value.shape == (r, 1):
        value = value[:, 0]
    if value.shape != (r,) or value.dtype.kind == "c":
        raise ValueError(
            f"{where}: {name} returned {value.dtype} {value.shape} for {r} points, expected ({r},), one real number per row. A function of "
            f"a single point: map it over rows first (jax.vmap, numpy.vectorize); a sum or mean over the batch: leave it out."
        )
    return value.astype(float), seen


def unfit_energy(where, name, function, x, rng):
    """INCONCLUSIVE if the energy is not finite, random, or depends on the other rows: it has no differences to speak of; else None."""
    once = function(x)
    order = rng.permutation(len(x))[: max(1, len(x) // 2)]
    i = int(np.isfinite(once).argmin())
    if not np.isfinite(once[i]):
        text = f"not finite: the {name} is {once[i]} at x[{i}] = {x[i]}, and has no gradient there; leave such rows out"
    elif np.allclose(once[order], function(x[order]), rtol=1e-3, atol=1e-3 * np.abs(once).max()):
        return None
    elif np.allclose(function(x), once, rtol=1e-12):
        text = f"rows depend on each other: the {name} of a row changes with the rest of the batch (batch normalisation?); {EVALUATE}"
    else:
        text = f"random {name}: two calls at the same points differ (dropout?); {EVALUATE}"
    return CheckReport(where, INCONCLUSIVE, summary_of(x), diagnosis=text)


def _kept(function, points, turned, same):
    """Whether points in reverse order get another result than before, once fewer of them were asked; no, where fewer raise."""
    try:
        function(points[:1])
    except ValueError:
        return False
    return not same(function(points[::-1]), turned)


def unsteady(where, function, value, points):
    """A report if the same points give another result after other points were asked: a state, or random numbers; else None."""
    turned, again = function(points[::-1]), function(points)
    atol = 1e3 * function.eps * np.abs(value).max()
    same = lambda a, b: a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=atol, equal_nan=True)
    report = partial(CheckReport, where, summary=summary_of(points))
    cached = same(turned, value) and not same(value[::-1], value)
    if same(again, value):
        if cached and same(function(points + 0.37 * widths(points)), value):
            text = "other points get the same result: it is that of an earlier call with as many points (a cache)"
        elif not same(turned, value[::-1]) and _kept(function, points, turned, same):
            text = "a part of the result is that of an earlier call with as many points (a cache of hidden values)"
        else:
            return None
    else:
        third = function(points)
        if cached and same(again, value[::-1]):
            text = "the result is that of the call before"
        elif same(third - again, value):
            text = "each call adds to what the calls before returned; gradients accumulate (zero_grad is missing)"
        elif same(third, again):
            text = "the same points give another result after other points were asked (a cache, a buffer, running statistics)"
        else:
            text = f"random {function.name}: two calls at the same points differ (dropout?); {EVALUATE}"
            return report(INCONCLUSIVE, diagnosis=text, notes=tuple(function.notes()))
    return report(FAIL, diagnosis=f"state: {text}", notes=tuple(function.notes()))
