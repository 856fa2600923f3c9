"""What lets a result with a value stand where a number does: formatted, compared, added, handed to NumPy."""

import operator

import numpy as np

from .names import missing

ELSEWHERE = {
    "item": "float(result)",
    "numpy": "np.asarray(result)",
    "backward": ".gradient, computed by hand with the value: there is nothing to run backward",
    "grad": ".gradient",
    "mean": ".value; per_sample has one number for each sample",
    "detach": ".value, a plain number",
}


class Number:
    """A result that is also a number: ``f"{r:.3f}"``, ``r < 1e-9``, ``2 * r + 1``, ``abs(r)``, ``np.sqrt(r)``. A class says which in `number`."""

    __array_priority__ = 1000  # so that np.float64(2) * r comes here

    @property
    def number(self):
        """The number, or array of numbers, that it stands for."""
        raise NotImplementedError

    def _with(self, rule, other):
        return rule(self.number, plain(other)) if is_number(other) else NotImplemented

    # fmt: off
    def __lt__(self, other):       return self._with(operator.lt, other)
    def __le__(self, other):       return self._with(operator.le, other)
    def __gt__(self, other):       return self._with(operator.gt, other)
    def __ge__(self, other):       return self._with(operator.ge, other)
    def __eq__(self, other):       return self._with(operator.eq, other)
    def __add__(self, other):      return self._with(operator.add, other)
    def __sub__(self, other):      return self._with(operator.sub, other)
    def __mul__(self, other):      return self._with(operator.mul, other)
    def __truediv__(self, other):  return self._with(operator.truediv, other)
    def __pow__(self, other):      return self._with(operator.pow, other)
    def __radd__(self, other):     return self._with(lambda b, a: a + b, other)
    def __rsub__(self, other):     return self._with(lambda b, a: a - b, other)
    def __rmul__(self, other):     return self._with(lambda b, a: a * b, other)
    def __rtruediv__(self, other): return self._with(lambda b, a: a / b, other)
    # fmt: on

    def __neg__(self):
        return self * -1.0

    def __abs__(self):
        return abs(self.number)

    def __bool__(self):
        return bool(self.number)

    def __hash__(self):
        return hash(float(self))

    def __float__(self):
        return float(self.number)

    def __int__(self):
        return int(self.number)

    def __round__(self, digits=None):
        return round(float(self), digits)

    def __format__(self, spec):
        if not spec:
            return str(self)
        if np.ndim(self.number):
            return f"[{' '.join(format(value, spec) for value in np.ravel(self.number))}]"
        return format(self.number, spec)

    def __getattr__(self, name):
        raise missing(self, name, ELSEWHERE)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.number, dtype=dtype)


def plain(value):
    """The number behind a Number, anything else as it is."""
    return value.number if isinstance(value, Number) else value


def is_number(value):
    """Whether a value can stand in arithmetic: a number of Python or NumPy, an array of them, or a Number."""
    return isinstance(value, Number | int | float | complex | np.number | np.ndarray)
