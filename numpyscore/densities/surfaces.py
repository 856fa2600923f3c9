r"""Densities on curved or flat surfaces of dimension d - 1 in R^d: the sphere and the simplex.

Score, Jacobian and trace are those *within* the surface, since nothing else of log p is defined: with P(x) the projection on the tangent
plane, and any smooth extension f of log p to the space around,

.. math:: s = P \nabla f, \qquad \mathrm{tr}\, J = \mathrm{tr}(P\, \partial_x^2 f) - \text{(bend)} \cdot \nabla f

so that integration by parts reads as it does in space, E[s_0 . s] = (flux through the rim) - E[tr J]: the sphere has no rim, the
simplex has one. log p is taken against the area of the sphere, and against the first d - 1 shares of the simplex, as SciPy does.
"""

import math
from functools import cached_property
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import positive, samples
from ..numerics.quadrature import Frame
from .base import Density
from .closed_forms import Beta, _over, _power
from .parameters import array, real


class Chart(NamedTuple):
    """Coordinates of a surface: a density of coordinates u (n, d - 1), and place(u), the points (n, d) that they stand for."""

    density: Any
    place: Any


class _Surface(Density):
    """A density on a surface of dimension d - 1 in R^d; a subclass adds `_off`, `_cure` and `chart`."""

    _cure: str

    def _evaluate(self, name, shape, rule, x, *more):
        """As for every density; rows that are off the surface by more than half their digits are refused."""
        where = f"{type(self).__name__}.{name}"
        x = real(where, "x", samples(where, x, self.dim))
        off = self._off(x.astype(float, copy=False))
        rounding = math.sqrt(np.finfo(x.dtype if x.dtype.kind == "f" else float).eps)
        if (off > rounding).any():
            row = int(np.argmax(off > rounding))
            raise ValueError(
                f"{where}: x[{row}] = {x[row]} is off the surface by {off[row]:.2g} (first bad row: {row}), expected {self._cure}."
            )
        return super()._evaluate(name, shape, rule, x, *more)


class VonMisesFisher(_Surface):
    r"""Von Mises-Fisher density on the unit sphere in R^d (d = 2: von Mises on the circle), mean direction m, concentration k.

    .. math:: \log p = k\, m \cdot x - \log\bigl[(2\pi)^{d/2} I_{d/2-1}(k)\, k^{1-d/2}\bigr], \qquad s = k\,(m - (m \cdot x)\, x),
        \qquad J = -k\,(m \cdot x)(I - x x^T)

    The trace, -(d - 1) k m . x, is what the bend of the sphere leaves of a linear function, whose Hessian in space is 0.

    Parameters
    ----------
    direction : (d,) array of length 1 within 1e-6 (then normalised), d >= 2
    concentration : positive float

    Source: Mardia & Jupp (2000), Directional Statistics; score matching there, Mardia, Kent & Laha (2016), arXiv:1604.08470.
    Test: test_surfaces.py::test_logpdf_is_scipys
    """

    _says: tuple = ("direction", "concentration")
    _cure = "rows of length 1: pass x / np.linalg.norm(x, axis=1, keepdims=True)"

    def __init__(self, direction, concentration=1.0):
        where = "VonMisesFisher"
        m, self.concentration = array(where, "direction", direction), positive(where, "concentration", concentration)
        length = float(np.linalg.norm(m))
        if m.ndim != 1 or m.size < 2 or abs(length - 1) > 1e-6:
            raise ValueError(
                f"{where}: direction has shape {m.shape} and length {length:.6g}, expected (d,) with d >= 2 and length 1; "
                f"pass direction / np.linalg.norm(direction)."
            )
        self.direction = m / length
        super().__init__(np.tile([-1.0, 1.0], (m.size, 1)), direction, concentration)
        nu = 0.5 * m.size - 1
        self._log_norm = (0.5 * m.size) * math.log(2 * math.pi) + _log_bessel(nu, self.concentration)

    def _inside(self, x):
        return np.ones(len(x), bool)

    def _off(self, x):
        return np.abs(np.linalg.norm(x, axis=1) - 1)

    def _logpdf(self, x):
        return self.concentration * (x @ self.direction) - self._log_norm

    def _score(self, x):
        return self.concentration * (self.direction - (x @ self.direction)[:, None] * x)

    def _jacobian(self, x):
        tangent = np.eye(self.dim) - x[:, :, None] * x[:, None, :]  # P (n, d, d)
        return -self.concentration * (x @ self.direction)[:, None, None] * tangent

    def _trace(self, x):
        return -(self.dim - 1) * self.concentration * (x @ self.direction)

    def _sample(self, n, rng):
        from scipy.stats import vonmises_fisher

        return vonmises_fisher(self.direction, self.concentration).rvs(n, random_state=rng).reshape(n, self.dim)

    @cached_property
    def chart(self):
        """On the circle the angle from m; on the sphere t = m . x and the angle around m, both of equal area."""
        k, m = self.concentration, self.direction
        if self.dim > 3:
            raise ValueError(
                f"VonMisesFisher: a grid on the sphere in R^{self.dim} is out of reach, expected d <= 3; take means over samples."
            )
        around = np.linalg.svd(m[None])[2][1:]  # (d - 1, d), orthonormal and orthogonal to m
        norm = self._log_norm
        if self.dim == 2:
            circle = lambda u: np.cos(u) * m + np.sin(u) * around[0]
            logpdf = lambda u: k * np.cos(u[:, 0]) - norm
            frame = Frame(np.zeros(1), np.array([[np.pi / (1 + math.sqrt(k))]]), detail=0.5)
            support = np.pi * np.array([[-1.0, 1.0]])
            return Chart(SimpleNamespace(dim=1, support=support, logpdf=logpdf, frame=frame), circle)

        def sphere(u):
            t, angle = u[:, :1], u[:, 1:]
            across = np.sqrt(np.maximum((1 - t) * (1 + t), 0.0))
            return t * m + across * (np.cos(angle) * around[0] + np.sin(angle) * around[1])

        logpdf = lambda u: k * u[:, 0] - norm
        frame = Frame(
            np.zeros(2), np.diag([1.0, np.pi]), detail=0.5
        )  # a peak at t = 1 is resolved by the map of that end
        support = np.array([[-1.0, 1.0], [-np.pi, np.pi]])
        return Chart(SimpleNamespace(dim=2, support=support, logpdf=logpdf, frame=frame), sphere)


class Dirichlet(_Surface):
    r"""Dirichlet density on the simplex of d shares, x_i >= 0, sum_i x_i = 1; P = I - 1 1^T / d projects on it.

    .. math:: \log p = \sum_i (a_i - 1) \log x_i - \log B(a), \qquad s = P\, \frac{a - 1}{x}, \qquad
        J = -P\, \mathrm{diag}\Bigl(\frac{a - 1}{x^2}\Bigr) P

    At the rim, where a share with a_i != 1 is 0, log p and score are infinite; where two are, the score has no limit and is nan. E|s|^2 is
    finite where all a_i > 2, and for smaller ones a weight of all coordinates is needed: `distance_weight`.

    Parameters
    ----------
    alpha : (d,) array, positive, d >= 2

    Test: test_surfaces.py::test_logpdf_is_scipys
    """

    _says = ("alpha",)
    _cure = "shares that sum to 1: pass x / x.sum(axis=1, keepdims=True)"

    def __init__(self, alpha):
        self.alpha = array("Dirichlet", "alpha", alpha)
        if self.alpha.ndim != 1 or self.alpha.size < 2 or not (self.alpha > 0).all():
            raise ValueError(
                f"Dirichlet: alpha has shape {self.alpha.shape} and minimum {self.alpha.min(initial=np.inf):.6g}, expected (d,) with d >= 2, "
                f"positive numbers, one for each share."
            )
        super().__init__(np.tile([0.0, 1.0], (self.alpha.size, 1)), alpha)
        self._log_norm = math.fsum(map(math.lgamma, self.alpha)) - math.lgamma(math.fsum(self.alpha))
        self._flat = np.eye(self.dim) - 1 / self.dim  # P

    def _inside(self, x):
        return (x >= 0).all(axis=1)

    def _off(self, x):
        return np.abs(x.sum(axis=1) - 1)

    def _logpdf(self, x):
        return _power(self.alpha - 1, x).sum(1) - self._log_norm

    def _score(self, x):
        with np.errstate(invalid="ignore"):
            return _over(self.alpha - 1, x) @ self._flat

    def _jacobian(self, x):
        with np.errstate(invalid="ignore"):
            return -np.einsum("ij,nj,jk->nik", self._flat, _over(self.alpha - 1, x, x), self._flat)

    def _trace(self, x):
        return -(1 - 1 / self.dim) * _over(self.alpha - 1, x, x).sum(1)

    def _sample(self, n, rng):
        return rng.dirichlet(self.alpha, n)

    @cached_property
    def chart(self):
        """Sticks broken off one after the other: u_i, the share x_i of what is left, are independent beta variables."""
        rest = np.cumsum(self.alpha[::-1])[::-1]

        def place(u):
            left = np.cumprod(np.column_stack([np.ones(len(u)), 1 - u]), axis=1)  # (n, d): what is left before each
            return left * np.column_stack([u, np.ones(len(u))])

        return Chart(Beta(self.alpha[:-1], rest[1:]), place)


def _log_bessel(nu, k):
    """log of I_nu(k) k^-nu, for nu >= 0 and k > 0, by SciPy; by its power series, all terms positive, where I_nu underflows."""
    from scipy.special import gammaln, ive, logsumexp

    scaled = float(ive(nu, k))  # I_nu(k) e^-k
    if scaled > 1e-280:
        return math.log(scaled) + k - nu * math.log(k)
    m = np.arange(64 + int(k))  # terms (k/2)^(2m) / (m! Gamma(nu + m + 1)) are largest below m = k/2
    terms = 2 * m * math.log(k / 2) - gammaln(m + 1) - gammaln(nu + m + 1)
    return float(logsumexp(terms)) - nu * math.log(2)
