"""The user's function, called with arrays of his kind, its answers taken back as ours; and how precise those numbers are, measured."""

import inspect
from typing import NamedTuple

import numpy as np

from ..common.arrays import dtype_name, framework, same_randomness, source, to_numpy, wrapper
from ..common.inputs import samples
from ..common.names import kind_of
from ..numerics.differences import widths

EPS = float(np.finfo(float).eps)
SINGLE = 2.0**-23
UNITS = {"half": 2.0**-10, "bfloat16": 2.0**-8}  # eps of what arrives as float32
SOURCES = ("rng", "key", "generator", "seed")  # names of a parameter that is given random numbers
TABLE = 8  # points on which scatter is measured
NOISY = 2.0**-46  # relative scatter that hand-written float64 code stays below
QUOTIENT = 1e-7  # relative error up to which numbers that scatter as difference quotients do are right


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
            return f"the numbers of {name} scatter by {self.scatter:.0e} of their size, as difference quotients do"
        what = f"is computed in {self.kind} precision"
        if self.kind == "offset":
            what = "rounds x to float32, which is far from the origin beside its spread (subtract the offset before it is rounded)"
        text = f"a part of {name} {what}: its numbers step by {self.scatter:.0e} of their size, in {came}; it is judged at that precision"
        return text if self.kind else ""


class Function:
    """A user's function of (r, d) points behind ndarrays in and out.

    It is tried as it is in float64; if it refuses, with points that require a gradient (a loss that differentiates inside
    wants that), then in float32 (parameters of another dtype). The first way that works is kept.
    With a `shape` it is a function of one array of that shape (parameters), asked for one row of x after the other.

    Attributes
    ----------
    evaluations : int, rows that the function was asked for
    changes : bool, whether it changed an array that it was given
    went, came : str, dtypes of what it was given and of what it returned
    eps : float, unit round-off of the coarser of both, or of what was measured
    precision : Precision, once `measure` was called
    """

    def __init__(self, where, name, function, wrap=None, like=None, shape=None):
        if isinstance(function, type):
            raise TypeError(
                f"{where}: {name} is {kind_of(function)}; make one, {function.__name__}(...), and pass its .{name}."
            )
        if not callable(function):
            raise TypeError(f"{where}: {name} is {function!r}, expected a function of x (n, d).")
        self.where, self.name, self.function, self.shape = where, name, function, shape
        make = wrapper(where, wrap, like)
        narrow = lambda a: make(a.astype(np.float32))
        self.kind = framework(make(np.zeros((1, 1))))
        foreign = self.kind not in ("numpy", "builtins")
        ways = [make, narrow] if foreign else [make]
        self._ways = [way for one in ways for way in ((one, _with_gradient(one)) if foreign else (one,))]
        self._settled = False
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
                value = self.function(sent)
            except Exception as error:
                if self._settled:
                    raise self._explained(error, sent) from error
                errors.append((error, sent))
                continue
            if not self._settled:
                self._ways, self._settled = [way], True
            return value, sent, seen
        first, sent = errors[0]
        raise self._explained(first, sent) from first

    def _explained(self, error, sent):
        return ValueError(
            f"{self.where}: {self.name} raised {type(error).__name__}: {error} when called with {dtype_name(sent)} "
            f"{tuple(sent.shape)}; it must take {'points (n, d)' if self.shape is None else 'parameters'} of that type. Pass wrap= to give it arrays of another kind, or a "
            f"function around it that converts."
        )

    def measure(self, x):
        """Measure the precision of the numbers at the rows of x, whatever their dtype; `eps` follows it."""
        if self.eps == EPS and "32" not in self.came:
            self.precision = precision(self, x)
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
        elif self.precision.kind:
            out.append(self.precision.note(self.name, self.came))
        return out


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
    try:
        parameters = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None
    return next((name for name in SOURCES if name in parameters), None)


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
    """The 16-bit type, "half" or "bfloat16", that holds all numbers, if they are not whole; else ""."""
    if np.array_equal(values, np.rint(values)):
        return ""
    with np.errstate(over="ignore"):
        half, single = values.astype(np.float16), np.ascontiguousarray(values, np.float32)
    if np.array_equal(single, values) and not np.any(single.view(np.uint32) & 0xFFFF):
        return "bfloat16"
    return "half" if np.array_equal(half, values) else ""


def _with_gradient(make):
    """Arrays that require a gradient, where the framework knows that word."""

    def sent(a):
        out = make(a)
        return out.requires_grad_(True) if hasattr(out, "requires_grad_") else out

    return sent


def points_of(where, x):
    """Points of any framework as a finite (n, d) array, n >= 1."""
    points = samples(where, to_numpy(x, f"{where}: x"))
    if points.dtype.kind == "c":
        raise TypeError(f"{where}: x is complex, expected real points (n, d).")
    if points.size == 0:
        raise ValueError(f"{where}: x has shape {points.shape}, expected at least one row and one column.")
    return points.astype(float)
