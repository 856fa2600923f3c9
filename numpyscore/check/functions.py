"""The user's function, called with arrays of his kind, its answers taken back as ours, with what came and went written down."""

import numpy as np

from ..common.arrays import dtype_name, framework, to_numpy, wrapper
from ..common.inputs import samples

UNTOLD = 1.0  # round-off of numbers that do not tell how they were computed


class Caller:
    """A user's function of (r, d) points behind ndarrays in and out.

    It is tried as it is in float64; if it refuses, with points that require a gradient (a loss that differentiates inside
    wants that), then in float32 (parameters of another dtype). The first way that works is kept.

    Attributes
    ----------
    evaluations : int, rows that the function was asked for
    changes : bool, whether it changed an array that it was given
    went, came : str, dtypes of what it was given and of what it returned
    eps : float, unit round-off of the coarser of both
    inside : float, at least that, coarser where all that came back are numbers of half or single precision
    """

    def __init__(self, where, name, function, wrap=None, like=None):
        if not callable(function):
            raise TypeError(f"{where}: {name} is {function!r}, expected a function of x (n, d).")
        self.where, self.name, self.function = where, name, function
        make = wrapper(where, wrap, like)
        narrow = lambda a: make(a.astype(np.float32))
        foreign = framework(make(np.zeros((1, 1)))) not in ("numpy", "builtins")
        ways = [make, narrow] if foreign else [make]
        self._ways = [way for one in ways for way in ((one, _with_gradient(one)) if foreign else (one,))]
        self._settled = False
        self.evaluations, self.went, self.came, self.changes = 0, "", "", False
        self.eps, self._inside = float(np.finfo(float).eps), UNTOLD

    @property
    def inside(self):
        """See above."""
        return self.eps if self._inside == UNTOLD else max(self.eps, self._inside)

    def __call__(self, x):
        """The function's value at the rows of x, as an array."""
        return self.both(x)[0]

    def both(self, x):
        """Value, and the points as they arrived: rounded to the dtype that the function works in."""
        value, sent, seen = self._call(np.ascontiguousarray(x, float))
        self.evaluations += len(x)
        came = to_numpy(value, f"{self.where}: what {self.name} returned")
        self.went, self.came = dtype_name(sent), dtype_name(value)
        self.changes |= not np.array_equal(to_numpy(sent), seen, equal_nan=True)
        for a in (came, seen):
            if a.dtype.kind == "f":
                self.eps = max(self.eps, float(np.finfo(a.dtype).eps))
        self._inside = min(self._inside, _round_off(came, x))
        if "16" in self.came:  # widened on arrival, but no more digits for it
            self.eps = max(self.eps, 2.0**-8 if "bfloat16" in self.came else 2.0**-10)
        return came.real.astype(float) if came.dtype.kind == "c" and not np.any(came.imag) else came, seen

    def _call(self, x):
        errors = []
        for way in self._ways:
            sent = way(x)
            seen = to_numpy(sent)  # before the call, which may change it
            try:
                value = self.function(sent)
            except Exception as error:
                if self._settled:
                    raise self._told(error, sent) from error
                errors.append((error, sent))
                continue
            if not self._settled:
                self._ways, self._settled = [way], True
            return value, sent, seen
        first, sent = errors[0]
        raise self._told(first, sent) from first

    def _told(self, error, sent):
        return ValueError(
            f"{self.where}: {self.name} raised {type(error).__name__}: {error} when called with {dtype_name(sent)} "
            f"{tuple(sent.shape)}; it must take points (n, d) of that type. Pass wrap= to give it arrays of another kind, or a "
            f"function around it that converts."
        )

    def notes(self):
        """What the user may not have noticed about dtypes."""
        out = []
        if self.changes:
            out.append(
                f"{self.name} changes the points that it is given, in place; whoever uses them afterwards has others: let it work on a copy"
            )
        if "64" in self.went and "32" in self.came:
            out.append(f"{self.went} went in and {self.came} came back: precision is lost inside {self.name}")
        elif "64" in self.came and self.inside > 1e-10:
            word = "half" if self.inside > 1e-4 else "single"
            out.append(
                f"all numbers that came back are of {word} precision: it is lost inside {self.name}, which returns {self.came}"
            )
        elif "32" in self.went or "16" in self.went:
            kind = (
                "jax without jax_enable_x64"
                if self.went == "float32" and framework_is(self._ways, "jax")
                else "your arrays"
            )
            out.append(f"{self.name} worked in {self.went} ({kind}); float64 would resolve a million times more")
        return out


def _round_off(values, x):
    """Round-off of the narrowest of half, single and double precision that holds all values at x; UNTOLD if it holds x as well."""
    a = values[np.isfinite(values)].real
    if a.size < 3 or np.all(a == np.rint(a)):
        return UNTOLD
    with np.errstate(over="ignore", under="ignore"):
        for kind in (np.float16, np.float32):
            if np.array_equal(a.astype(kind), a):
                return UNTOLD if np.array_equal(x.astype(kind), x) else float(np.finfo(kind).eps)
    return float(np.finfo(float).eps)


def framework_is(ways, name):
    """Whether the arrays made are of this framework."""
    return framework(ways[0](np.zeros((1, 1)))) == name


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
