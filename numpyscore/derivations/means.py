"""Numbers with bounds: means taken together, their linear combinations, and constants that carry their own error."""

from typing import NamedTuple

import numpy as np

EPS = np.finfo(float).eps
SIGMAS = 4.0  # half-width of a Monte Carlo bound in standard errors: one false alarm in 16 000


class Mean:
    """A linear combination of means taken together (`source`) and of a constant that carries its own error."""

    def __init__(self, source, weights=None, constant=0.0, error=0.0):
        self.source, self.weights, self.constant, self.constant_error = source, weights or {}, constant, error

    def __add__(self, other):
        if not isinstance(other, Mean):
            return Mean(self.source, self.weights, self.constant + other, self.constant_error)
        if self.weights and other.weights and self.source is not other.source:
            raise ValueError(
                "a side mixes means of two sources: their errors are not known together; make one a number."
            )
        weights = dict(self.weights)
        for name, w in other.weights.items():
            weights[name] = weights.get(name, 0.0) + w
        source, error = self.source or other.source, self.constant_error + other.constant_error
        return Mean(source, weights, self.constant + other.constant, error)

    def __mul__(self, c):
        weights = {name: c * w for name, w in self.weights.items()}
        return Mean(self.source, weights, c * self.constant, abs(c) * self.constant_error)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + (-other)

    __radd__, __rmul__ = __add__, __mul__

    def only(self, name):
        """One of its weighted means alone."""
        return Mean(self.source, {name: self.weights[name]})

    @property
    def terms(self):
        """The constant and each weighted mean."""
        return [self.constant, *(w * self.source.value[name] for name, w in self.weights.items())]

    @property
    def value(self):
        """The number."""
        return sum(self.terms)

    @property
    def size(self):
        """Sum of the absolute terms: what the error is to be compared with."""
        return sum(map(abs, self.terms))

    @property
    def error(self):
        """Its bound: errors of the integrals added up, or SIGMAS standard errors of this very combination."""
        return self.constant_error + (self.source.error_of(self.weights) if self.weights else 0.0)


class Quadrature(NamedTuple):
    """Means by quadrature: their errors are bounds and add up."""

    value: dict
    error: dict

    def error_of(self, weights):
        """Bound of a linear combination."""
        return sum(abs(w) * self.error[name] for name, w in weights.items())


class MonteCarlo(NamedTuple):
    """Means over samples: the covariance of the columns gives the standard error of any combination."""

    value: dict
    cov: np.ndarray
    n: int

    def error_of(self, weights):
        """SIGMAS standard errors of a linear combination, plus rounding."""
        w = np.array([weights.get(name, 0.0) for name in self.value])
        rounding = EPS * np.sqrt(self.n) * np.abs(w) @ np.abs(np.array([*self.value.values()]))
        return SIGMAS * np.sqrt(max(w @ self.cov @ w, 0.0) / self.n) + rounding


# ------------------------------------------------------------------------------- numbers as sides


def number(value, error=None):
    """A number that is not a mean, with its error; by default the rounding of a few operations."""
    value = float(value)
    return Mean(None, {}, value, 8 * EPS * abs(value) if error is None else float(error))


def integral(found, sign=1.0):
    """An `Integral`, or one entry of it, as a side."""
    return number(sign * found.value, found.error)


def sampled(values):
    """The mean of independent samples (n,), with SIGMAS standard errors as its bound."""
    values = np.asarray(values, float)
    return number(values.mean(), SIGMAS * values.std(ddof=1) / np.sqrt(values.size))


def worst(left, right):
    """Both sides, (values, errors) each, at the entry that is furthest beyond their errors, and its index.

    Where none is beyond them it is the largest entry: the one that rounding has moved most would be another on another machine.
    """
    (a, _), (b, _) = left, right
    errors = [np.broadcast_to(error, np.shape(a)) for _, error in (left, right)]
    off, allowed = np.abs(a - b), sum(errors) + 4 * EPS * (np.abs(a) + np.abs(b))
    beyond = ~(off <= allowed)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.where(beyond, off / allowed, -1.0) if beyond.any() else np.abs(a)
    at = np.unravel_index(np.argmax(most), np.shape(a))
    return number(a[at], errors[0][at]), number(b[at], errors[1][at]), at
