r"""Arithmetic for the reference vectors, from the standard library's `decimal` alone and sharing nothing with the passes it judges.

Three small number types. A `Series` is a Taylor polynomial in one variable: every activation is its textbook definition in
exp, log and division, and its derivatives are Taylor coefficients, so none is written by hand. A `Number` remembers what it was
made from, and `gradient` goes back through that; it also knows its size, the same formula with every value positive and every
difference a sum. A `Jet` is a Number with its gradient and Hessian in x.
"""

import heapq
import itertools
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    getcontext,
    localcontext,
)

# ------------------------------------------------------------------------------- Taylor polynomials in one variable

ORDER = 3  # phi and three derivatives


class Series:
    """c_0 + c_1 t + c_2 t^2 + c_3 t^3, and what is cut off behind it."""

    def __init__(self, c):
        self.c = [*c, *[Decimal(0)] * (ORDER + 1 - len(c))]

    def __add__(self, other):
        return Series([a + b for a, b in zip(self.c, _series(other).c, strict=True)])

    def __sub__(self, other):
        return self + -1 * _series(other)

    def __mul__(self, other):
        b = _series(other).c
        return Series([sum(self.c[j] * b[k - j] for j in range(k + 1)) for k in range(ORDER + 1)])

    def __truediv__(self, other):
        b = _series(other).c
        q: list[Decimal] = []
        for k in range(ORDER + 1):  # a_k = sum_j b_j q_{k-j}
            q.append((self.c[k] - sum(b[j] * q[k - j] for j in range(1, k + 1))) / b[0])
        return Series(q)

    def __rtruediv__(self, other):
        return _series(other) / self

    def __neg__(self):
        return -1 * self

    __radd__, __rmul__ = __add__, __mul__


def _series(a):
    return a if isinstance(a, Series) else Series([Decimal(a)])


def _exp(a):
    """e = exp(a): e' = a' e, a coefficient at a time."""
    e = [a.c[0].exp()]
    for k in range(1, ORDER + 1):
        e.append(sum(j * a.c[j] * e[k - j] for j in range(1, k + 1)) / k)
    return Series(e)


def _log(a):
    """l = log(a): l' a = a'."""
    l = [a.c[0].ln()]
    for k in range(1, ORDER + 1):
        l.append((a.c[k] - sum((j * l[j] * a.c[k - j] for j in range(1, k)), Decimal(0)) / k) / a.c[0])
    return Series(l)


def _integral(a, start):
    """start + the integral of a."""
    return Series([start, *(a.c[k] / (k + 1) for k in range(ORDER))])


def _summed(term, ratio):
    """term (1 + r(1) (1 + r(2) (1 + ...))) until nothing moves."""
    total, least = term, Decimal(10) ** -getcontext().prec
    for k in itertools.count(1):
        term *= ratio(k)
        total += term
        if abs(term) <= least * abs(total) or term == 0:
            return total


def pi():
    """pi = 16 arctan(1/5) - 4 arctan(1/239), Machin's formula."""
    arctan = lambda n: sum(_terms(n))
    return 16 * arctan(5) - 4 * arctan(239)


def _terms(n):
    """1/n - 1/(3 n^3) + 1/(5 n^5) - ..."""
    power, least = Decimal(1) / n, Decimal(10) ** -(getcontext().prec + 2)
    for k in itertools.count():
        if power < least:
            return
        yield (power if k % 2 == 0 else -power) / (2 * k + 1)
        power /= n * n


def _erf(z):
    """Value 2/sqrt(pi) exp(-z^2) sum_k 2^k z^(2k+1) / (2k+1)!!, derivative 2/sqrt(pi) exp(-z^2)."""
    bell = 2 / pi().sqrt() * _exp(-(z * z))
    z_0 = z.c[0]
    value = bell.c[0] * _summed(z_0, lambda k: 2 * z_0 * z_0 / (2 * k + 1))
    # d/dt erf(z(t)) = bell(z(t)) z'(t)
    return _integral(bell * Series([(k + 1) * z.c[k + 1] for k in range(ORDER)]), value)


def _sin(z):
    """The sine and, for its derivatives, the cosine, from their series; z is a plain variable z_0 + t."""
    z_0 = z.c[0]
    s = _summed(z_0, lambda k: -z_0 * z_0 / (2 * k * (2 * k + 1)))
    c = _summed(Decimal(1), lambda k: -z_0 * z_0 / ((2 * k - 1) * 2 * k))
    return Series([s, c, -s / 2, -c / 6])


DEFINITIONS = {
    "tanh": lambda z: (_exp(z) - _exp(-z)) / (_exp(z) + _exp(-z)),
    "sigmoid": lambda z: 1 / (1 + _exp(-z)),
    "softplus": lambda z: _log(1 + _exp(z)),
    "silu": lambda z: z / (1 + _exp(-z)),
    "sin": _sin,
    "erf": _erf,
    "gelu": lambda z: z * (1 + _erf(z * (1 / Decimal(2).sqrt()))) / 2,
}


def derivatives(activation, z):
    """phi, phi', phi'', phi''' at a decimal z, to the digits of the current context.

    Intermediate results carry as many more digits as the definitions lose in the tails: log10 of e^(2|z|), or of e^(z^2).
    """
    lost = int((z * z if activation in ("erf", "gelu") else 2 * abs(z)) * Decimal("0.4343")) + 20
    with localcontext(prec=getcontext().prec + lost):
        c = DEFINITIONS[activation](Series([z, Decimal(1)])).c
        columns = [c[0], c[1], 2 * c[2], 6 * c[3]]
    return [+column for column in columns]


# ------------------------------------------------------------------------------- numbers that remember


class Number:
    """A decimal, its size, and how it moves with the numbers it was made from.

    ``size`` is the error scale: the same formula with absolute values, and plus for minus. ``edges`` are (number,
    derivative, size of the derivative). The integers 0 and 1 stand for themselves, so that nothing is computed with them.
    """

    __slots__ = ("edges", "serial", "size", "value")
    made = itertools.count()

    def __init__(self, value, size=None, edges=()):
        self.value, self.edges = value, edges
        self.size = abs(value) if size is None else size
        self.serial = next(Number.made)

    def __add__(self, other):
        if isinstance(other, int) and other == 0:
            return self
        a, b = self, number(other)
        return Number(a.value + b.value, a.size + b.size, ((a, 1, 1), (b, 1, 1)))

    def __sub__(self, other):
        return self + -other

    def __neg__(self):
        return Number(-self.value, self.size, ((self, -1, 1),))

    def __mul__(self, other):
        if isinstance(other, int) and other in (0, 1):
            return self if other else 0
        a, b = self, number(other)
        return Number(a.value * b.value, a.size * b.size, ((a, b.value, b.size), (b, a.value, a.size)))

    __radd__, __rmul__ = __add__, __mul__


def number(a):
    """`a` as a Number: itself, or a constant."""
    return a if isinstance(a, Number) else Number(Decimal(a))


def column(z, phi, k):
    """The k-th derivative of an activation at the Number z, phi being all of them; it moves with z by the next one."""
    return Number(phi[k], abs(phi[k]), ((z, phi[k + 1], abs(phi[k + 1])),))


def gradient(y, inputs):
    """(derivative, its size) of the Number y in each of the Numbers `inputs`: reverse accumulation.

    What was made last is settled first: by then everything made from it has sent back its share.
    """
    bars = {y.serial: [Decimal(1), Decimal(1)]}
    heap = [(-y.serial, y)]
    while heap:
        node = heapq.heappop(heap)[1]
        bar, size = bars[node.serial]
        for parent, derivative, derivative_size in node.edges:
            if parent.serial not in bars:
                bars[parent.serial] = [Decimal(0), Decimal(0)]
                heapq.heappush(heap, (-parent.serial, parent))
            bars[parent.serial][0] += bar * derivative
            bars[parent.serial][1] += size * derivative_size
    return [tuple(bars.get(a.serial, (Decimal(0), Decimal(0)))) for a in inputs]


# ------------------------------------------------------------------------------- value, gradient and Hessian in x


class Jet:
    """A Number with its first derivatives (d) and second derivatives (d x d) in x; lists stay empty where they are not wanted."""

    def __init__(self, value, first=(), second=()):
        self.value, self.first, self.second = value, first, second

    @classmethod
    def variable(cls, value, i, d, order):
        """x_i itself, of d variables, with derivatives up to `order`; with i None a constant."""
        first = [int(i == k) for k in range(d)] if order > 0 else []
        return cls(value, first, [[0] * d] * d if order > 1 else [])

    def __add__(self, other):
        if not isinstance(other, Jet):  # a constant, such as the 0 that sums begin with
            other = Jet(other, [0] * len(self.first), [[0] * len(self.first)] * len(self.second))
        plus = lambda a, b: [p + q for p, q in zip(a, b, strict=True)]
        second = [plus(a, b) for a, b in zip(self.second, other.second, strict=True)]
        return Jet(self.value + other.value, plus(self.first, other.first), second)

    def __mul__(self, other):
        """Times a Number or constant, or the product rule."""
        times = lambda a: [p * other for p in a]
        if not isinstance(other, Jet):
            return Jet(self.value * other, times(self.first), [times(row) for row in self.second])
        a, b, d = self, other, range(len(self.second))
        first = [a.value * q + b.value * p for p, q in zip(a.first, b.first, strict=True)]
        mixed = lambda i, j: a.first[i] * b.first[j] + a.first[j] * b.first[i]
        second = [[a.value * b.second[i][j] + mixed(i, j) + b.value * a.second[i][j] for j in d] for i in d]
        return Jet(a.value * b.value, first, second)

    def through(self, activation):
        """phi of this jet: phi' t_i, and phi'' t_i t_j + phi' t_ij (Faa di Bruno)."""
        z, d = self.value, range(len(self.second))
        phi = derivatives(activation, z.value)
        c0, c1, c2 = (column(z, phi, k) for k in range(3))
        first = [c1 * t for t in self.first]
        second = [[c2 * (self.first[i] * self.first[j]) + c1 * self.second[i][j] for j in d] for i in d]
        return Jet(c0, first, second)

    __radd__ = __add__


def context(digits):
    """The context in which everything here runs: `digits` significant digits, whatever the caller's own context is."""
    traps = [DivisionByZero, InvalidOperation, Overflow]
    return localcontext(Context(digits, ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, clamp=0, flags=[], traps=traps))
