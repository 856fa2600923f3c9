"""The user's function behind its numbers: called with arrays of his kind, its answers taken back as ours.

Before they mean anything: how precise they are, measured; whether they have the right shape, are finite, the same in each call, and each one its row's alone.
"""

import contextlib
import sys
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from ..common.arrays import dtype_name, framework, same_randomness, source, to_numpy, wrapper
from ..common.callables import parameters_of
from ..common.inputs import generator, positive, samples
from ..common.names import kind_of
from ..numerics.differences import widths
from .fields import few, numbered
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst, summary_of

EPS = float(np.finfo(float).eps)
SINGLE = 2.0**-23
UNITS = {"half": 2.0**-10, "bfloat16": 2.0**-8}  # eps of what arrives as float32
SOURCES = ("rng", "key", "generator", "seed")  # names of a parameter that is given random numbers
LOOSE = (  # where or how much, not what
    "different", "some rows", "some dimensions", "factor of each row", "inaccurate", "multiple of x", "linear",
)  # fmt: skip
EVALUATE = "put the model in evaluation mode"
TABLE = 8  # points on which scatter is measured
FEW = 64  # rows, up to which each is looked at by itself
FAR = 8  # rows that are looked at among near ones
PARTS = 48  # of a line between two points on which a jump is looked for
NOISY = 2.0**-46  # relative scatter that hand-written float64 code stays below
ROUGH = 16 * SINGLE  # the same in float32


class Precision(NamedTuple):
    """Relative scatter of a function's numbers, and its kind: "" (float64), "single", "half", "bfloat16", "offset" (x in float32, far from 0), "quotient"."""

    scatter: float
    kind: str

    @property
    def eps(self):
        """Round-off that explains such a scatter; constants may be rounded as well, and do not scatter."""
        return max(EPS, self.scatter * {"": 0, "quotient": 0.25}.get(self.kind, 2))

    def note(self, name, came):
        """What the user should know of it, or ""."""
        if self.kind == "quotient":
            return f"the numbers of {name} scatter by {self.scatter:.0e} of their size (difference quotients, random numbers, a kink or a jump?)"
        what = f"is computed in {self.kind} precision, or rounded to few digits"
        if self.kind == "offset":
            what = "rounds x to float32, which is far from the origin beside its spread (subtract the offset before it is rounded)"
        text = f"a part of {name} {what}: its numbers are rounded by some {self.scatter:.0e} of their size, in {came}; it is judged at that precision"
        return text if self.kind else ""


class Function:
    """A user's function of (r, d) points behind ndarrays in and out.

    It is tried as it is in float64; if it refuses, with points that require a gradient (a loss that differentiates inside
    wants that), then in float32 (parameters of another dtype). The first way that works is kept.
    With a `shape` it is a function of one array of that shape (parameters), asked for one row of x after the other.
    `again`, where it is given, starts the global generators once more before each of its calls (`common.arrays.same_randomness`).

    Attributes
    ----------
    evaluations : int, rows that the function was asked for
    changes : bool, whether it changed an array that it was given
    went, came : str, dtypes of what it was given and of what it returned
    eps : float, unit round-off of the coarser of both, or of what was measured
    precision : Precision, once `measure` was called
    """

    def __init__(self, where, name, function, wrap=None, like=None, shape=None, again=None):
        if isinstance(function, type):
            raise TypeError(
                f"{where}: {name} is {kind_of(function)}; make one, {function.__name__}(...), and pass its .{name}."
            )
        if not callable(function):
            of = "x (n, d)" if shape is None else "theta"
            raise TypeError(f"{where}: {name} is {function!r}, expected a function of {of}.")
        self.where, self.name, self.function, self.shape, self.again = where, name, function, shape, again
        make = wrapper(where, wrap, like)
        narrow = lambda a: make(a.astype(np.float32))
        grad = lambda a: a.requires_grad_(True) if hasattr(a, "requires_grad_") else a
        self.kind = framework(make(np.zeros((1, 1))))
        foreign = self.kind not in ("numpy", "builtins")
        self._ways = [make, lambda a: grad(make(a)), narrow, lambda a: grad(narrow(a))] if foreign else [make]
        self.evaluations, self.went, self.came, self.changes = 0, "", "", False
        self.eps, self.precision = EPS, Precision(0.0, "")

    def __call__(self, x):
        """The function's value at the rows of x, as an array."""
        return self.both(x)[0]

    def both(self, x):
        """Value, and the points as they arrived: rounded to the dtype that the function works in."""
        self.evaluations += len(x)
        if self.shape is None:
            return self._asked(np.ascontiguousarray(x, float))
        one_by_one = [self._asked(np.reshape(np.array(one, float), self.shape)) for one in x]
        return np.array([v.reshape(-1) for v, _ in one_by_one]), np.array([s.reshape(-1) for _, s in one_by_one])

    def _asked(self, x):
        value, sent, seen = self._call(x)
        came = to_numpy(value, f"{self.where}: what {self.name} returned")
        self.went, self.came = dtype_name(sent), dtype_name(value)
        self.changes |= not np.array_equal(to_numpy(sent), seen, equal_nan=True)
        for a in (came, seen):
            if a.dtype.kind == "f":
                self.eps = max(self.eps, float(np.finfo(a.dtype).eps))
        if "16" in self.came:  # widened on arrival, but no more digits for it
            self.eps = max(self.eps, UNITS["bfloat16" if "bfloat16" in self.came else "half"])
        real = came.dtype.kind == "b" or (came.dtype.kind == "c" and not np.any(came.imag))
        return came.real.astype(float) if real else came, seen

    def _call(self, x):
        errors = []
        for way in self._ways:
            sent = way(x)
            seen = to_numpy(sent)  # before the call, which may change it
            try:
                if self.again is not None:
                    self.again()
                value = self.function(sent)
            except Exception as error:
                errors.append((error, sent))
            else:
                self._ways = [way]
                return value, sent, seen
        first, sent = errors[0]
        of = "points (n, d)" if self.shape is None else "parameters"
        raise ValueError(
            f"{self.where}: {self.name} raised {type(first).__name__}: {first} when called with {dtype_name(sent)} {tuple(sent.shape)}; it must take "
            f"{of} of that type. Pass wrap= to give it arrays of another kind, or a function around it that converts."
        ) from first

    def measure(self, x):
        """Measure the precision of the numbers at the rows of x, whatever their dtype; `eps` follows it."""
        if self.eps == EPS and "32" not in self.came:
            self.precision = precision(self, x)
        elif "32" in self.came and (found := precision(self, x)).scatter > ROUGH:  # coarser than their type
            self.precision = found._replace(kind="offset" if found.kind == "offset" else "quotient")
        self.eps = max(self.eps, self.precision.eps)
        return self

    def notes(self):
        """What the user may not have noticed about dtypes."""
        out = []
        if self.changes:
            out.append(
                f"{self.name} changes the points that it is given, in place; whoever uses them afterwards has others: let it work on a copy"
            )
        if "64" in self.went and ("32" in self.came or "16" in self.came):
            out.append(f"{self.went} went in and {self.came} came back: precision is lost inside {self.name}")
        elif "32" in self.went or "16" in self.went:
            kind = "jax without jax_enable_x64" if (self.went, self.kind) == ("float32", "jax") else "your arrays"
            out.append(f"{self.name} worked in {self.went} ({kind}); float64 would resolve a million times more")
        # which is said, and need not be measured
        narrow = any(digits in self.went + self.came for digits in ("32", "16"))
        if self.precision.kind and (not narrow or self.precision.kind == "quotient"):
            out.append(self.precision.note(self.name, self.came))
        return out


class Compiled(Function):
    """A function that jax compiles where that gives the same numbers: as it is, each call would compile its parts anew.

    What is compiled is so for one number of rows: they are filled up to a power of two. Numbers of global generators would be the same in every
    call; a function that draws such is asked as it is.
    """

    compiled: bool | None = None  # not known before the first call

    @classmethod
    def of(cls, function):
        """The same function, once it is known that it keeps nothing."""
        out = cls.__new__(cls)
        vars(out).update(vars(function))
        return out

    def both(self, x):
        if self.kind != "jax" or self.compiled is False:
            return super().both(x)
        if self.compiled:
            rows = len(x) if self.shape is not None else 1 << (len(x) - 1).bit_length()
            value, seen = super().both(np.resize(x, (rows, x.shape[1])))
            return value[: len(x)], seen[: len(x)]
        if self.shape is not None and len(x) > 1:  # one of them is enough to find out
            self.both(x[:1])
            return self.both(x)
        (value, seen), plain = super().both(x), self.function  # what it keeps for later calls is kept now, as numbers
        same = lambda other: np.allclose(other, value, rtol=1e-4, atol=1e-4, equal_nan=True)
        if self.again is not None and not same(self._of_another_seed(x)):
            self.compiled = False
            return value, seen
        self.function, self.compiled = sys.modules["jax"].jit(lambda a: plain(a)), True
        try:
            whole = same(self.both(x)[0])
        except Exception:  # it asks for numbers, or leaves jax
            whole = False
        if not whole:
            self.function, self.compiled = plain, False
        return value, seen

    def _of_another_seed(self, x):
        """The numbers where global generators start from another seed."""
        own, self.again = self.again, partial(self.again, 7)
        try:
            return super().both(x)[0]
        finally:
            self.again = own


class Seeded:
    """A user's function with random numbers made of a seed, if it takes a source of them; global generators are seeded too."""

    def __init__(self, function, make):
        self.function, self.kind, self.name = function, framework(make(np.zeros((1, 1)))), random_parameter(function)

    def __call__(self, seed, *args, **named):
        given = {} if self.name is None else {self.name: source(self.name, int(seed), self.kind)}
        with same_randomness(int(seed)):
            return self.function(*args, **given, **named)


def random_parameter(function):
    """The name of the parameter by which a function is given random numbers, or None."""
    return next((name for name in SOURCES if name in (parameters_of(function) or ())), None)


def precision(function, x):
    """The `Precision` of a function (r, d) -> (r, ...) near the rows of x.

    On eight close points of a line a smooth function is a polynomial of degree five up to 1e-30, so its sixth difference is round-off
    alone: 924 times the variance of one number. A part in single precision stands still on float64 neighbours and steps where float32 does;
    a difference quotient scatters on both.

    Source: More & Wild (2011), SIAM J. Sci. Comput. 33:1292-1314 (noise from difference tables).
    """
    width = widths(x)
    coarse = np.clip(np.abs(x) / 2**21, width / 2**20, width / 2**12)  # apart in float32 too, where x is not far from 0
    fine = np.maximum(width / 2**44, np.abs(x) / 2**49)
    coarse, fine = (2.0 ** np.floor(np.log2(h)) for h in (coarse, fine))
    start = np.rint(x / fine) * fine  # all points are exact in float64, and rounded each in its own way in float32
    lines = [np.array([function(start + k * step) for k in range(TABLE)]) for step in (coarse * 351 / 256, fine)]
    if any(v.dtype.kind == "c" or v.shape[1:2] != (len(x),) or not np.isfinite(v).all() for v in lines):
        return Precision(0.0, "")
    lines = [v.reshape(TABLE, len(x), -1) for v in lines]
    size = np.linalg.norm(lines[0], axis=-1).max(axis=0)  # of the line: at its first point a right score may be 0
    size = np.maximum(size, np.sqrt(np.mean(size**2)) + 1e-300)[:, None]
    offset = SINGLE * float(np.max(np.abs(x) / width))  # what rounding x to float32 may move, in widths
    short = _short(lines[0])
    if short and offset < 2.0**-14:
        return Precision(UNITS[short] / 2, short)
    scatter = [np.sqrt(np.mean(np.diff(v, 6, axis=0) ** 2, axis=0) / 924) / size for v in lines]  # (n, entries)
    far, near = (float(np.median(s, axis=0).max()) for s in scatter)
    if far <= NOISY:
        return Precision(far, "")
    steps = "single" if far <= 1e-5 else "offset" if far <= offset else "half"
    return Precision(far, "quotient" if near > far / 64 else steps)


def _short(values):
    """The 16-bit type, "half" or "bfloat16", that holds all numbers, if they are not whole, or few (those of a step); else ""."""
    if np.array_equal(values, np.rint(values)) or len(np.unique(np.abs(values[0]))) <= values[0].size / 4:
        return ""
    with np.errstate(over="ignore"):
        half, single = values.astype(np.float16), np.ascontiguousarray(values, np.float32)
    if np.array_equal(single, values) and not np.any(single.view(np.uint32) & 0xFFFF):
        return "bfloat16"
    return "half" if np.array_equal(half, values) else ""


def points_of(where, x):
    """Points of any framework as a finite (n, d) array, n >= 1."""
    points = samples(where, to_numpy(x, f"{where}: x"))
    if points.dtype.kind == "c":
        raise TypeError(f"{where}: x is complex, expected real points (n, d).")
    if points.size == 0:
        raise ValueError(f"{where}: x has shape {points.shape}, expected at least one row and one column.")
    return points.astype(float)


# ------------------------------------------------------------------------------- does a row depend on others?


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
    n = len(points)
    whole, half = function(points), (n + 1) // 2
    report = partial(CheckReport, where, summary=summary_of(points, function, unit="row"))
    if whole.shape[:1] != (n,):
        text = f"shape: the result has shape {whole.shape} for {n} rows; expected one result per row"
        return report(FAIL, diagnosis=text)
    fewer, text = _fewer(function, points[:half], whole)
    if text:
        return report(FAIL, diagnosis=text)
    trials = _changes(function, points, whole, fewer, rng)
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    allowed = (4096 * function.eps if rtol is None else positive(where, "rtol", rtol)) * scale
    top = {name: float(gap.max()) for name, gap in trials.items()}
    resolution = float(allowed / scale) if scale else np.nan
    report = partial(report, resolution=resolution, notes=tuple(function.notes()), details={"largest change": top})
    if max(top.values()) <= allowed:
        return report(PASS)
    if top["two calls"] > allowed:
        changes = f"changes by {top['two calls'] / scale:.2g}"
        if drifts(function, points):
            return report(FAIL, pattern=changes, diagnosis=f"state: {DRIFTS.format('points')}")
        text = "random: two calls with the same rows differ (dropout, random probes?); nothing can be said about rows"
        return report(INCONCLUSIVE, pattern=changes, diagnosis=text)
    pattern = ", ".join(f"{key}: {value / scale:.1e}" for key, value in top.items() if key != "two calls")
    name = max(top, key=lambda key: top[key])
    if left := _left_out(function, points, whole):
        return report(FAIL, pattern=pattern, diagnosis=left)
    worst = Worst(f"row {int(trials[name].argmax())}, {name}", top[name], 0.0, resolution)
    text = _mixed(fewer, whole, top, allowed)
    with contextlib.suppress(ValueError):  # it cannot be asked at other points
        if text.startswith("position"):
            text = _of_earlier_rows(function, points, whole, allowed) or text
        if text.startswith("rows mixed"):
            text = (
                _permuted(function, points, whole, allowed) or _of_neighbours(function, points, whole, allowed) or text
            )
    return report(FAIL, worst=worst, pattern=f"{pattern} of the largest result", diagnosis=text)


def _fewer(function, points, whole):
    """(the results of some of the rows by themselves, what is wrong with their number)."""
    n, half = len(whole), len(points)
    try:
        fewer = function(points)
    except ValueError as error:
        why = error.__cause__ or error
        return None, f"size of the batch: it takes {n} rows, and with the first {half} of them it raises {why}"
    if fewer.shape == (half, *whole.shape[1:]):
        return fewer, ""
    return (
        None,
        f"shape: {n} rows give {whole.shape}, and {half} give {fewer.shape}: the number of results does not follow that of the rows (axes mixed up, a last chunk that is dropped, a fixed size of the batch, a sum or a vmap over the wrong axis?)",
    )


def _changes(function, points, whole, fewer, rng):
    """What was done beside a row -> the largest change of each row that was asked for again."""
    n, d = points.shape
    order = rng.permutation(n)
    while order[0] == 0 or order[-1] == n - 1:  # neither stays, from which all others may be counted
        order = np.roll(order, 1)
    others = np.concatenate([points[:1], points[1:].mean(0) + 3 * points.std(0) * rng.standard_normal((n - 1, d))])
    try:
        beside = function(others)
    except ValueError:  # outside of what it takes; what is between its own points is within
        others[1:] = (points + np.roll(points, 1, axis=0))[1:] / 2
        beside = function(others)
    trials = {
        "two calls": _change(function(points), whole),
        "another order": _change(function(points[order]), whole[order]),
        "half the batch": _change(fewer, whole[: len(fewer)]),
        "other rows": _change(beside[:1], whole[:1]),
        "near rows": np.zeros(n),
    }
    off = (points - points.mean(0)) / (points.std(0) + 1e-300)
    for i in np.sort(np.argsort(-np.sum(off**2, axis=1), kind="stable")[:FAR]):  # those that others push to a floor
        near = points[i] + 0.01 * (points - points[i])
        trials["near rows"][i] = _change(function(near)[[i]], whole[[i]])[0]
    return trials


def _of_earlier_rows(function, points, whole, allowed):
    """What is said of results that change with their place, if they change with the first row or with all rows before them; ""."""
    n = len(points)

    def others_change(k):
        there = np.arange(n) == k
        change = _change(function(np.where(there[:, None], points.mean(0) + 3 * points.std(0), points)), whole)
        return np.any(change[~there] > allowed)

    if not others_change(0):
        return ""
    if n > 2 and others_change(n // 2):
        return "rows before: the result of a row changes with the rows that stand before it (a cumulative sum, a scan over the rows?)"
    return "first row: the result of every row changes with the first row of the batch (a number of that row is used for all?)"


def _left_out(function, points, whole):
    """What is said of rows whose result is 0 in the batch, and is not where they stand first; ""."""
    zero = ~np.any(whole.reshape(len(whole), -1), axis=1)
    if not 0 < zero.sum() < len(whole):
        return ""
    first, rest = np.split(function(np.concatenate([points[zero], points[~zero]])), [zero.sum()])
    if not np.allclose(rest, whole[~zero], rtol=1e-6, atol=1e-9 * np.abs(whole).max()):
        return ""  # others change as well
    text = f"rows left out: the result of {numbered('row', np.flatnonzero(zero))} of {len(whole)} is 0, and another one where they stand first in the batch (a last chunk that is dropped, a loop that ends early?)"
    return text * bool(np.any(first))


def _permuted(function, points, whole, allowed):
    """What is said of results that are those of other rows, each asked for alone; ""."""
    n = len(points)
    if n > FEW:
        return ""
    alone = np.concatenate([function(points[[i]]) for i in range(n)])
    if alone.shape != whole.shape:
        return ""
    same = np.array([_change(np.broadcast_to(a, whole.shape), whole) <= allowed for a in alone])  # (row alone, place)
    of = same.argmax(0)
    if not same.any(0).all() or np.array_equal(of, np.arange(n)):
        return ""
    return f"rows permuted: the results are those of the rows {few(of.tolist())}, each asked for alone (a sort that is undone by its own order, and not by the inverse?)"


def _of_neighbours(function, points, whole, allowed):
    """What is said of results that change with the row before or after, and with no other; ""."""
    n = len(points)
    if not 4 <= n <= FEW:
        return ""
    moved = points.mean(0) + 3 * points.std(0) + 0 * points
    by = np.array(
        [_change(function(np.where((np.arange(n) == k)[:, None], moved, points)), whole) > allowed for k in range(n)]
    )
    changed = {int((k - i) % n) for k, i in zip(*np.nonzero(by), strict=True) if k != i}  # how many places further
    words = {
        frozenset({1}): "after it",
        frozenset({n - 1}): "before it",
        frozenset({1, n - 1}): "before it and with that after it",
    }
    if frozenset(changed) not in words:
        return ""
    return f"neighbours: the result of a row changes with the row {words[frozenset(changed)]}, and with no other (a roll, an index off by one, a convolution over rows?)"


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
        return "batch statistics: the result of a row changes with the other rows, not with their order (batch normalisation, centring, a norm or a clip of the whole batch, attention or a kernel between rows, a mean or sum over the wrong axis?)"
    if top["other rows"] <= allowed:
        return "position: the result of a row changes with its place in the batch (an index, a fixed noise array, a cumulative sum?)"
    return "rows mixed: the result of a row changes with the other rows and with their order"


def by_rows(report, function, points):
    """The report, or one that says that rows depend on each other, where the numbers themselves have no explanation."""
    if report.verdict != FAIL or report.name not in LOOSE or len(points) < 2:
        return report
    try:
        rows = _rows(report.check, function, points, None, generator(report.check, 0))
    except ValueError as error:
        why = str(error.__cause__ or error).split("\n")[0]
        return replace(report, diagnosis=f"{report.diagnosis}; asked at other points it raises ({why})")
    return replace(report, diagnosis=rows.diagnosis, pattern=rows.pattern) if rows.verdict == FAIL else report


def with_rows(report, function, value, points):
    """The report, a PASS only if half of the rows, asked for by themselves, get the same values."""
    half = len(points) // 2
    if report.verdict != PASS or half < 1 or function.changes:
        return report
    with contextlib.suppress(ValueError):  # a size of the batch that is fixed is another matter
        fewer = function(points[:half])
        allowed = 4096 * function.eps * np.abs(value).max()
        if fewer.shape == value[:half].shape and np.abs(fewer - value[:half]).max() <= allowed:
            return report
        rows = _rows(report.check, function, points, None, generator(report.check, 0))
        if rows.verdict == FAIL:
            return replace(report, verdict=FAIL, diagnosis=rows.diagnosis, pattern=rows.pattern)
    return report


# ------------------------------------------------------------------------------- what is no field at all


def unfit(where, function, value, shape, x, each="one row of numbers for each row of x", at="x"):
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
        text = f"not finite: {len(bad)} of {value.size} numbers of {name} are NaN or infinite, the first at [{place}], {at} = {x[bad[0][0]]}"
        pattern = f"{name}[{place}] = {value[tuple(bad[0])]}"
    summary = summary_of(x, function)
    return CheckReport(where, FAIL, summary, pattern=pattern, diagnosis=text, notes=notes) if text else None


def one_number_each(where, name, value, seen):
    """The values (r,) of a function with one number per row, and the points."""
    r = len(seen)
    if value.shape == (r, 1) or (r == 1 and value.shape == ()):  # SciPy's log densities are numbers for a single row
        value = value.reshape(r)
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
    elif np.allclose(function(x), once, rtol=1e-12, atol=0):
        text = f"rows depend on each other: the {name} of a row changes with the rest of the batch (batch normalisation: {EVALUATE}; a minimum, a mean or a sum over the batch: leave it out?)"
    else:
        text = f"random {name}: two calls at the same points differ (dropout?); {EVALUATE}"
    return CheckReport(where, INCONCLUSIVE, summary_of(x), diagnosis=text)


def _kept(function, value, points, turned, same):
    """Whether points in reverse order get another result than before once more of them were asked, or the right one beside one more; no, where more raise."""
    try:
        more = function(np.concatenate([points[::-1], points[:1]]))
    except ValueError:
        return False
    return not same(function(points[::-1]), turned) or same(more[:-1], value[::-1])


DRIFTS = "each call gives another result for the same {}, always further in one direction (a running mean, a counter?)"


def drifts(function, points):
    """Whether the numbers of the same points go up, or down, from call to call, each of ten: random ones would not, nor what stands still."""
    steps = np.diff([function(points) for _ in range(10)], axis=0)
    return bool(np.any(steps) and np.all((steps >= 0).all(0) | (steps <= 0).all(0)))


def unsteady(where, function, value, points):
    """A report if the same points give another result after other points were asked: a state, or random numbers; else None."""
    turned, again = function(points[::-1]), function(points)
    atol = 1e3 * function.eps * np.abs(value).max()
    same = lambda a, b: a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=atol)
    report = partial(CheckReport, where, summary=summary_of(points))
    cached = same(turned, value) and not same(value[::-1], value)
    if same(again, value):
        if cached and same(function(points + 0.37 * widths(points)), value):
            text = "other points get the same result (numbers that were computed before, a fixed array, a cache?)"
        elif not same(turned, value[::-1]) and _kept(function, value, points, turned, same):
            text = "a part of the result is that of an earlier call with as many points (a cache of hidden values)"
        else:
            with contextlib.suppress(ValueError):  # other points, where it takes them
                function(points + 0.37 * widths(points))
            again, text = function(points), ""
            if same(again, value):
                return None
    else:
        text = ""
    if not text:
        third = function(points)
        if cached and same(again, value[::-1]):
            text = "the result is that of the call before"
        elif same(third - again, value):
            text = "each call adds to what the calls before returned (gradients that accumulate, zero_grad missing, a buffer that is not cleared?)"
        elif same(third, again):
            text = "the same points give another result after other points were asked (a cache, a buffer, running statistics?)"
        elif drifts(function, points):
            text = DRIFTS.format("points")
        else:
            text = f"random {function.name}: two calls at the same points differ (dropout?); {EVALUATE}"
            return report(INCONCLUSIVE, diagnosis=text, notes=tuple(function.notes()))
    return report(FAIL, diagnosis=f"state: {text}", notes=tuple(function.notes()))


# ------------------------------------------------------------------------------- does the score jump?


def kink(function, x, halvings=None):
    """A point, the size of the jump and the width of the interval that shows it, if the score jumps between two of the points; else None."""
    (n, d), size = x.shape, lambda a: np.linalg.norm(a, axis=-1)
    ends = np.roll(x, 1, axis=0) if n > 1 else x + 2 * widths(x)
    t = np.linspace(0, 1, PARTS + 1)[:, None, None]
    line = (1 - t) * x + t * ends  # (PARTS + 1, n, d)
    s = function(line.reshape(-1, d)).reshape(PARTS + 1, n, -1)
    change, scale = size(np.diff(s, axis=0)), float(size(s).max())  # (PARTS, n)
    if not np.isfinite(change).all() or scale == 0:
        return None
    at, rows = change.argmax(0), np.arange(n)
    low, high = line[at, rows], line[at + 1, rows]
    s_low, s_high = s[at, rows], s[at + 1, rows]
    start = change[at, rows]
    for _ in range(halvings or (34 if function.eps < 1e-10 else 14)):  # to within 1e-11, or 1e-5
        middle = 0.5 * (low + high)
        s_mid = function(middle).reshape(n, -1)
        left = size(s_mid - s_low) >= size(s_high - s_mid)
        high, s_high = np.where(left[:, None], middle, high), np.where(left[:, None], s_mid, s_high)
        low, s_low = np.where(left[:, None], low, middle), np.where(left[:, None], s_low, s_mid)
    jump = size(s_high - s_low)
    i = int(jump.argmax())
    if jump[i] < 0.05 * start[i] or jump[i] < 1e-4 * scale or jump[i] > 10 * scale:  # a pole is no jump
        return None
    return low[i], float(jump[i]), float(size(high[i] - low[i]))
