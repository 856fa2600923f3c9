"""Densities in closed form: log density, score, Jacobian and trace by hand, right in the tails, with exact normalisers.

Every density answers the three questions the project meets on (score, trace, projected curvature), so it can stand
wherever a model stands. Arithmetic is float64; results carry the common dtype of `x` and the parameters.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from ..common.inputs import count, positive
from ..numerics.quadrature import Frame
from .base import Density, with_dtype
from .mixtures import GaussianMixture, Parzen
from .parameters import (
    array,
    box,
    cholesky,
    everywhere,
    length,
    location_and_shape,
    log_gamma_ratio,
    log_interval,
    normal_between,
    vectors,
)

__all__ = [
    "Banana", "Beta", "Density", "Exponential", "Gamma", "Gaussian", "GaussianMixture", "HalfNormal", "Laplace", "Logistic", "Parzen", "Ring",
    "StudentT", "TruncatedGaussian", "Uniform",
]  # fmt: skip


# --------------------------------------------------------------------------- Gaussian and its relatives


class _Elliptical(Density):
    """Location and shape = L L^T: x = loc + L z."""

    _tail = "gaussian"

    def __init__(self, loc, shape, support, *parameters):
        super().__init__(support, *parameters)
        self._loc, (self._chol, self._white) = loc, cholesky(type(self).__name__, shape)
        self._precision = self._white.T @ self._white
        self._log_scale = np.log(np.diag(self._chol)).sum() + 0.5 * self.dim * math.log(2 * math.pi)

    def _whiten(self, x):
        """z = L^-1 (x - loc), and P (x - loc) = L^-T z."""
        z = (x - self._loc) @ self._white.T
        return z, z @ self._white

    @property
    def frame(self):
        return Frame(self._loc, self._chol, tail=self._tail)


class Gaussian(_Elliptical):
    r"""Normal density with mean m and covariance C, P = C^{-1}.

    .. math:: s(x) = -P (x - m), \qquad J = -P

    Parameters
    ----------
    mean : (d,) array or scalar (d = 1), [x]
    cov : (d, d) array, or a scalar variance meaning cov * I, [x]^2

    Test: test_closed_forms.py::test_gaussian_score_is_the_posterior_mean_of_the_noise
    """

    _says: tuple = ("mean", "cov")

    def __init__(self, mean, cov):
        self.mean, self.cov = location_and_shape(type(self).__name__, mean, cov)
        super().__init__(self.mean, self.cov, everywhere(len(self.mean)), mean, cov)

    def _logpdf(self, x):
        z, _ = self._whiten(x)
        return -0.5 * (z**2).sum(1) - self._log_scale

    def _score(self, x):
        return -self._whiten(x)[1]

    def _jacobian(self, x):
        return np.broadcast_to(-self._precision, (len(x), self.dim, self.dim))

    def _trace(self, x):
        return np.full(len(x), -np.trace(self._precision))

    def _sample(self, n, rng):
        return self.mean + rng.standard_normal((n, self.dim)) @ self._chol.T

    def perturbed(self, sigma):
        """Density of x + sigma * eps: the Gaussian with covariance cov + sigma^2 I."""
        sigma = positive("Gaussian.perturbed", "sigma", sigma)
        return with_dtype(self.dtype, Gaussian(self.mean, self.cov + sigma**2 * np.eye(self.dim)))


class TruncatedGaussian(Gaussian):
    r"""Normal density restricted to a box: inside it, score and Jacobian are the Gaussian's.

    .. math:: \log p(x) = \log N(x; m, C) - \log \Pr[\mathrm{lower} \le y \le \mathrm{upper}], \qquad y \sim N(m, C)

    Accuracy of log p from its normaliser, which is computed when logpdf is first called and which the score does not need:
    diagonal covariance, log Phi differences, safe in both tails: a few eps times 1 + a^2 + a / w for an interval that
    begins a standard deviations from the mean and is w wide; correlated, dimension 2, SciPy's bivariate integral: about
    1e-15 of absolute error in the probability, so mind boxes in the far tail; correlated, dimension 3 and more, SciPy's
    quasi-Monte Carlo: 1e-8 asked for, fixed seed.

    Parameters
    ----------
    mean, cov : as for Gaussian, of the density before truncation
    lower, upper : (d,) arrays or scalars, [x]
        Ends of the box, lower < upper; infinite where there is none.

    Source: Genz (1992), J. Comput. Graph. Statist. 1:141-149 (the correlated normaliser).
    Test: test_closed_forms.py::test_normalised
    """

    _says = ("mean", "cov", "lower", "upper")

    def __init__(self, mean, cov, lower=-np.inf, upper=np.inf):
        super().__init__(mean, cov)
        Density.__init__(self, box("TruncatedGaussian", lower, upper, self.dim), mean, cov, lower, upper)
        self.lower, self.upper = self.support.T
        self._sd = np.sqrt(np.diag(self.cov))
        self._diagonal = not (self.cov - np.diag(np.diag(self.cov))).any()
        self._ends = (self.support.T - self.mean) / self._sd  # (2, d), standard deviations

    @cached_property
    def _log_masses(self):
        return np.array([log_interval(a, b) for a, b in self._ends.T.tolist()])

    @cached_property
    def _log_mass(self):
        if self._diagonal:
            mass = self._log_masses.sum()
        else:
            from scipy.stats import multivariate_normal

            gaussian = multivariate_normal(self.mean, self.cov, allow_singular=True, seed=0, abseps=1e-8, releps=1e-8)
            probability = float(gaussian.cdf(self.upper, lower_limit=self.lower))
            mass = math.log(probability) if probability > 0 else -np.inf
        if mass == -np.inf:
            raise ValueError(
                "TruncatedGaussian: the box holds no probability in float64, so its log density cannot be normalised. "
                "Widen the box or move it towards the mean; score, jacobian and trace need no normaliser and work."
            )
        return mass

    def _logpdf(self, x):
        return super()._logpdf(x) - self._log_mass

    def _sample(self, n, rng):
        if self._diagonal:
            (a, b), u = self._ends, rng.random((n, self.dim))
            return self.mean + self._sd * normal_between(a, b, self._log_masses, u)
        if self._log_mass < math.log(1e-4):
            raise ValueError(
                f"TruncatedGaussian.sample: the box holds exp({self._log_mass:.1f}) of the correlated Gaussian, too little "
                f"for rejection sampling. Move the box towards the mean, or run samplers.langevin."
            )
        accepted, missing = [np.empty((0, self.dim))], n
        while missing > 0:
            x = super()._sample(int(1.1 * missing / math.exp(self._log_mass)) + 8, rng)
            accepted.append(x[self._inside(x)][:missing])
            missing -= len(accepted[-1])
        return np.concatenate(accepted)

    perturbed = Density.perturbed

    @property
    def frame(self):
        """Centred on the point of the box nearest the mean, as wide as the density falls off there."""
        center = np.clip(self.mean, self.lower, self.upper)
        outside = np.abs(center - self.mean) / self._sd
        width = np.minimum(self._sd / (1 + outside), self.upper - self.lower)
        return Frame(center, np.diag(width), tail="exponential" if outside.any() else "gaussian")


class StudentT(_Elliptical):
    r"""Multivariate t with nu degrees of freedom and shape matrix S, P = S^{-1}, e = x - loc, q = e^T P e.

    .. math:: s = -\frac{\nu + d}{\nu + q} P e, \qquad
        J = -\frac{\nu + d}{\nu + q}\Bigl[P - \frac{2 (P e)(P e)^T}{\nu + q}\Bigr]

    Parameters
    ----------
    df : positive float
    loc : (d,) array or scalar (d = 1), [x]
    scale : (d, d) shape matrix, [x]^2, or a positive scalar in the units of x, [x], meaning shape scale^2 * I
        The covariance is df / (df - 2) times the shape matrix, where df > 2.

    Source: Kotz & Nadarajah (2004), Multivariate t Distributions and Their Applications.
    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    _tail = "algebraic"

    _says = ("df", "loc", "scale")

    def __init__(self, df, loc=0.0, scale=1.0):
        self.df = positive("StudentT", "df", df)
        shape = positive("StudentT", "scale", scale) ** 2 if np.ndim(scale) == 0 else scale
        self.loc, self.scale = location_and_shape("StudentT", loc, shape, names=("loc", "scale"))
        super().__init__(self.loc, self.scale, everywhere(len(self.loc)), loc, scale)

    def _logpdf(self, x):
        z, _ = self._whiten(x)
        half = 0.5 * self.dim
        # tends to 0 with 1 / df: a t with many degrees of freedom is a Gaussian
        heavier = log_gamma_ratio(0.5 * self.df, half)
        q = (z**2).sum(1) / self.df
        log_q = np.where(
            np.isfinite(q), np.log1p(q), 2 * np.log(np.hypot(1, length(z) / math.sqrt(self.df)))
        )  # log(1 + q)
        return heavier - self._log_scale - (0.5 * self.df + half) * log_q

    def _unit(self, x):
        """r = sqrt(nu + q) (n, 1), and P e / r (n, d), which never overflow; q itself does from 1e154 on."""
        z, _ = self._whiten(x)
        r = np.hypot(math.sqrt(self.df), length(z))[:, None]
        return r, (z / r) @ self._white

    def _score(self, x):
        r, unit = self._unit(x)
        return -(self.df + self.dim) * (unit / r)

    def _jacobian(self, x):
        r, unit = (a[:, :, None] for a in self._unit(x))
        return -(self.df + self.dim) * ((self._precision - 2 * unit * unit.mT) / r / r)

    def _trace(self, x):
        r, unit = self._unit(x)
        return -(self.df + self.dim) * ((np.trace(self._precision) - 2 * (unit**2).sum(1)) / r[:, 0] / r[:, 0])

    def _sample(self, n, rng):
        z = rng.standard_normal((n, self.dim)) / np.sqrt(rng.chisquare(self.df, (n, 1)) / self.df)
        return self.loc + z @ self._chol.T


# --------------------------------------------------------------------------- products over dimensions


# fmt: off
# z = (x - loc) / scale:     log density                                  score            slope of the score
def _logistic(z): e = np.exp(-np.abs(z)); return -np.abs(z) - 2*np.log1p(e), -np.tanh(z / 2), -2 * e / (1 + e)**2
def _laplace(z):     return -np.abs(z) - math.log(2),                        -np.sign(z),     0 * z
def _exponential(z): return -z,                                              0 * z - 1,       0 * z
def _half_normal(z): return -0.5 * z**2 + 0.5 * math.log(2 / math.pi),       -z,              0 * z - 1
def _uniform(z):     return 0 * z,                                           0 * z,           0 * z
# fmt: on


class _Product(Density):
    """Independent coordinates x_i = loc_i + scale_i z_i; a subclass names its row of the table and how z is drawn."""

    _tail = "gaussian"
    _rule: Callable
    _draw: Callable

    def __init__(self, loc, scale, support, *parameters):
        super().__init__(support, *parameters)
        self._loc, self._scale = loc, scale

    def _in_units(self, x):
        log_p, s, slope = self._rule((x - self._loc) / self._scale)
        return log_p - np.log(self._scale), s / self._scale, slope / self._scale**2

    def _logpdf(self, x):
        return self._in_units(x)[0].sum(1)

    def _score(self, x):
        return self._in_units(x)[1]

    def _jacobian(self, x):
        return self._in_units(x)[2][:, :, None] * np.eye(self.dim)

    def _trace(self, x):
        return self._in_units(x)[2].sum(1)

    def _sample(self, n, rng):
        return self._loc + self._scale * self._draw(rng, (n, self.dim))

    @property
    def frame(self):
        return Frame(self._loc, np.diag(self._scale), tail=self._tail)


class Logistic(_Product):
    r"""Product of logistic densities: z = (x - loc) / scale.

    .. math:: \log p = -|z| - 2 \log(1 + e^{-|z|}) - \log\mathrm{scale}, \qquad s = -\tanh(z/2) / \mathrm{scale}

    Parameters
    ----------
    loc, scale : (d,) arrays or scalars, [x]; scale positive

    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    _tail = "exponential"
    _rule, _draw = staticmethod(_logistic), staticmethod(lambda rng, shape: rng.logistic(size=shape))

    _says = ("loc", "scale")

    def __init__(self, loc=0.0, scale=1.0):
        self.loc, self.scale = vectors("Logistic", ("scale",), loc=loc, scale=scale)
        super().__init__(self.loc, self.scale, everywhere(len(self.loc)), loc, scale)


class Laplace(_Product):
    r"""Product of Laplace densities: z = (x - loc) / scale.

    .. math:: \log p = -|z| - \log(2\,\mathrm{scale}), \qquad s = -\mathrm{sign}(z) / \mathrm{scale}

    At the kink x_i = loc_i the score is 0 by convention. Jacobian and trace are 0 almost everywhere; as a distribution
    the trace is -sum_i (2 / scale_i) delta(x_i - loc_i), which no pointwise evaluation can see: implicit score matching
    on this density misses E[trace] = -sum_i 1 / scale_i^2.

    Parameters
    ----------
    loc, scale : (d,) arrays or scalars, [x]; scale positive

    Test: test_closed_forms.py::test_conventions_at_kinks
    """

    _tail = "exponential"
    _rule, _draw = staticmethod(_laplace), staticmethod(lambda rng, shape: rng.laplace(size=shape))

    _says = ("loc", "scale")

    def __init__(self, loc=0.0, scale=1.0):
        self.loc, self.scale = vectors("Laplace", ("scale",), loc=loc, scale=scale)
        super().__init__(self.loc, self.scale, everywhere(len(self.loc)), loc, scale)

    @property
    def frame(self):
        """Cut at loc, where the score jumps."""
        return Frame(self.loc, np.diag(self.scale), tail=self._tail, breaks=tuple((b,) for b in self.loc.tolist()))


class Exponential(_Product):
    r"""Product of exponential densities on [0, inf)^d.

    .. math:: \log p = \sum_i \log\mathrm{rate}_i - \mathrm{rate}_i x_i, \qquad s = -\mathrm{rate}, \qquad J = 0

    The density does not vanish at its boundary: there the theorem behind implicit score matching fails.

    Parameters
    ----------
    rate : (d,) array or scalar, positive, 1/[x]

    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    _tail = "exponential"
    _rule, _draw = staticmethod(_exponential), staticmethod(lambda rng, shape: rng.exponential(size=shape))

    _says = ("rate",)

    def __init__(self, rate=1.0):
        (self.rate,) = vectors("Exponential", ("rate",), rate=rate)
        super().__init__(np.zeros_like(self.rate), 1 / self.rate, box("Exponential", 0.0, np.inf, len(self.rate)), rate)


class HalfNormal(_Product):
    r"""Product of densities of |y|, y ~ N(0, scale^2), on [0, inf)^d.

    .. math:: \log p = \tfrac12 \log\tfrac2\pi - \log\mathrm{scale} - \tfrac12 x^2/\mathrm{scale}^2, \qquad
        s = -x / \mathrm{scale}^2

    Parameters
    ----------
    scale : (d,) array or scalar, positive, [x]

    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    _rule, _draw = staticmethod(_half_normal), staticmethod(lambda rng, shape: np.abs(rng.standard_normal(shape)))

    _says = ("scale",)

    def __init__(self, scale=1.0):
        (self.scale,) = vectors("HalfNormal", ("scale",), scale=scale)
        super().__init__(np.zeros_like(self.scale), self.scale, box("HalfNormal", 0.0, np.inf, len(self.scale)), scale)


class Gamma(_Product):
    r"""Product of gamma densities on [0, inf)^d: z = rate x.

    .. math:: \log p = \log\mathrm{rate} - \log\Gamma(k) + (k - 1) \log z - z, \qquad s = \mathrm{rate} \left( \frac{k - 1}{z} - 1 \right)

    The density to teach the boundary with. Shape k = 1 is the exponential, whose boundary term is finite; for 1 < k <= 2 the density vanishes
    at 0 and yet E|s|^2 is infinite; beyond 2 all is well. At 0 itself log p is -inf and the score inf for k > 1 (the reverse for k < 1).

    Parameters
    ----------
    shape, rate : (d,) arrays or scalars, positive; rate in 1/[x]

    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    _tail = "exponential"

    _says = ("shape", "rate")

    def __init__(self, shape=2.0, rate=1.0):
        self.shape, self.rate = vectors("Gamma", ("shape", "rate"), shape=shape, rate=rate)
        Density.__init__(self, box("Gamma", 0.0, np.inf, len(self.rate)), shape, rate)
        self._log_norm = np.array([math.lgamma(k) for k in self.shape])

    def _in_units(self, x):
        k, z = self.shape - 1, self.rate * x
        log_p = _power(k, z) - z - self._log_norm + np.log(self.rate)
        return log_p, self.rate * (_over(k, z) - 1), -_over(k, z, z) * self.rate**2

    def _sample(self, n, rng):
        return rng.standard_gamma(self.shape, (n, self.dim)) / self.rate

    @property
    def frame(self):
        """At the mean, as wide as a standard deviation."""
        return Frame(self.shape / self.rate, np.diag(np.sqrt(self.shape) / self.rate), tail=self._tail, detail=0.5)


class Beta(_Product):
    r"""Product of beta densities on [0, 1]^d.

    .. math:: \log p = (a - 1) \log x + (b - 1) \log(1 - x) - \log B(a, b), \qquad s = \frac{a - 1}{x} - \frac{b - 1}{1 - x}

    At an end whose parameter is not 1, log p and score are infinite. 1 - x carries the rounding of x near 1.

    Parameters
    ----------
    a, b : (d,) arrays or scalars, positive

    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    def __init__(self, a=2.0, b=2.0):
        self.a, self.b = vectors("Beta", ("a", "b"), a=a, b=b)
        Density.__init__(self, box("Beta", 0.0, 1.0, len(self.a)), a, b)
        log_beta = [math.lgamma(i) + math.lgamma(j) - math.lgamma(i + j) for i, j in zip(self.a, self.b, strict=True)]
        self._log_norm = np.array(log_beta)

    def _in_units(self, x):
        a, b, y = self.a - 1, self.b - 1, 1 - x
        log_p = _power(a, x) + _power(b, y) - self._log_norm
        return log_p, _over(a, x) - _over(b, y), -_over(a, x, x) - _over(b, y, y)

    def _sample(self, n, rng):
        return rng.beta(self.a, self.b, (n, self.dim))

    @property
    def frame(self):
        """At the mean, as wide as a standard deviation."""
        total = self.a + self.b
        return Frame(self.a / total, np.diag(np.sqrt(self.a * self.b / (total + 1)) / total), detail=0.5)


def _power(k, z):
    """k log z, 0 where k is 0, -+inf at z = 0 otherwise."""
    with np.errstate(divide="ignore"):
        log_z = np.log(z)
    return np.multiply(k, log_z, out=np.zeros(np.broadcast_shapes(np.shape(k), z.shape)), where=k != 0)


def _over(k, *divisors):
    """k divided by each divisor, 0 where k is 0, -+inf where a divisor is 0 otherwise."""
    out = np.broadcast_to(k, divisors[0].shape).astype(float)
    for z in divisors:
        with np.errstate(divide="ignore", over="ignore"):
            out = np.divide(out, z, out=np.zeros(z.shape), where=out != 0)
    return out


class Uniform(_Product):
    r"""Uniform density on a box: score, Jacobian and trace vanish inside.

    .. math:: \log p = -\sum_i \log(\mathrm{upper}_i - \mathrm{lower}_i), \qquad s = 0

    Parameters
    ----------
    lower, upper : (d,) arrays or scalars, finite, lower < upper, [x]

    Test: test_closed_forms.py::test_logpdf_is_scipys
    """

    _rule, _draw = staticmethod(_uniform), staticmethod(lambda rng, shape: rng.random(shape))

    _says = ("lower", "upper")

    def __init__(self, lower=0.0, upper=1.0):
        self.lower, self.upper = vectors("Uniform", (), lower=lower, upper=upper)
        support = box("Uniform", self.lower, self.upper, len(self.lower))
        super().__init__(self.lower, self.upper - self.lower, support, lower, upper)

    @property
    def frame(self):
        """Centre and half-width of the box."""
        return Frame(self.lower + 0.5 * self._scale, np.diag(0.5 * self._scale))


# --------------------------------------------------------------------------- curved densities


class Banana(Density):
    r"""Twisted Gaussian: y_1 ~ N(0, spread^2), y_j ~ N(0, 1), x = y but x_2 = y_2 - bend (y_1^2 - spread^2).

    .. math:: \log p = -\tfrac12 (x_1/a)^2 - \tfrac12 \sum_{j \ge 2} y_j^2 - \log a - \tfrac d2 \log 2\pi, \qquad
        y_2 = x_2 + b (x_1^2 - a^2), \qquad a = \mathrm{spread}, \quad b = \mathrm{bend}

    The twist preserves volume, so the normaliser is the Gaussian's; mean 0, variances a^2, 1 + 2 b^2 a^4, 1, ...

    Parameters
    ----------
    bend : float, 1/[x]
    spread : positive float, [x]
    dim : int, at least 2

    Source: Haario, Saksman & Tamminen (1999), Comput. Statist. 14:375-395 (their bend 0.03 or 0.1, spread 10).
    Test: test_closed_forms.py::test_normalised
    """

    def __init__(self, bend=0.5, spread=2.0, dim=2):
        self.bend, self.spread = array("Banana", "bend", bend).item(), positive("Banana", "spread", spread)
        d = count("Banana", "dim", dim, least=2)
        super().__init__(everywhere(d), bend, spread)

    def _untwist(self, x):
        y = x.copy()
        y[:, 1] += self.bend * (x[:, 0] - self.spread) * (x[:, 0] + self.spread)
        return y

    def _logpdf(self, x):
        y = self._untwist(x)
        y[:, 0] /= self.spread
        return -0.5 * (y**2).sum(1) - math.log(self.spread) - 0.5 * self.dim * math.log(2 * math.pi)

    def _score(self, x):
        y = self._untwist(x)
        s = -y
        s[:, 0] = -x[:, 0] / self.spread**2 - 2 * self.bend * x[:, 0] * y[:, 1]
        return s

    def _jacobian(self, x):
        jac = np.tile(-np.eye(self.dim), (len(x), 1, 1))
        jac[:, 0, 0] = self._first(x)
        jac[:, 0, 1] = jac[:, 1, 0] = -2 * self.bend * x[:, 0]
        return jac

    def _trace(self, x):
        return self._first(x) - (self.dim - 1)

    def _first(self, x):
        """J_11."""
        return -1 / self.spread**2 - 2 * self.bend * self._untwist(x)[:, 1] - (2 * self.bend * x[:, 0]) ** 2

    def _sample(self, n, rng):
        x = rng.standard_normal((n, self.dim))
        x[:, 0] *= self.spread
        x[:, 1] -= self.bend * (x[:, 0] - self.spread) * (x[:, 0] + self.spread)
        return x

    @property
    def frame(self):
        """A Gaussian tail once past the arms: |y_1| <= 8 spread, where 1e-15 is left, puts x_2 within 63 bend spread^2."""
        arm = abs(self.bend) * self.spread**2
        units = np.ones(self.dim)
        units[:2] = self.spread, math.hypot(1, 2 * arm)
        return Frame(np.zeros(self.dim), np.diag(units), reach=max(1.0, 63 * arm / units[1]), detail=1 / units[1])


class Ring(Density):
    r"""Radial density, a Gaussian profile around a sphere: r = |x|, n = x / r, R = radius, w = width.

    .. math:: p \propto e^{-(r - R)^2 / 2 w^2}, \qquad s = -\frac{r - R}{w^2} n, \qquad
        J = -\frac1{w^2}\Bigl[n n^T + \bigl(1 - \tfrac Rr\bigr)(I - n n^T)\Bigr]

    The normaliser is exact: radial moments I_m = int_0^inf r^m e^{-(r - R)^2 / 2 w^2} dr obey, by parts,
    I_m = R I_{m-1} + (m - 1) w^2 I_{m-2}.
    At the origin, a kink, the score is 0 by convention and J is its finite part -I / w^2; around it the trace grows as
    (d - 1) R / (r w^2), which is integrable and leaves no delta.

    Parameters
    ----------
    radius, width : positive floats, [x]
    dim : int, at least 2

    Test: test_closed_forms.py::test_normalised
    """

    def __init__(self, radius=3.0, width=0.5, dim=2):
        self.radius, self.width = positive("Ring", "radius", radius), positive("Ring", "width", width)
        d = count("Ring", "dim", dim, least=2)
        super().__init__(everywhere(d), radius, width)
        rho = self.radius / self.width
        moment = math.sqrt(math.pi / 2) * math.erfc(-rho / math.sqrt(2))  # I_0 / w
        ratio = [rho + math.exp(-0.5 * rho**2) / moment]  # I_1 / I_0 / w; then I_m / I_{m-1} / w, all terms positive
        for m in range(2, d + 2):
            ratio.append(rho + (m - 1) / ratio[-1])
        self._rms = self.width * math.sqrt(ratio[d] * ratio[d - 1])  # sqrt E r^2
        sphere = math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)
        self._log_norm = sphere + d * math.log(self.width) + math.log(moment) + sum(map(math.log, ratio[: d - 1]))

    def _polar(self, x):
        """r (n, 1), n (n, d) and R / r (n, 1), with 0 for n and R / r at the origin."""
        r = length(x)[:, None]
        away = np.where(r > 0, r, 1.0)
        return r, np.where(r > 0, x / away, 0.0), np.where(r > 0, self.radius / away, 0.0)

    def _logpdf(self, x):
        r = length(x)
        return -0.5 * ((r - self.radius) / self.width) ** 2 - self._log_norm

    def _score(self, x):
        r, n, _ = self._polar(x)
        return -(r - self.radius) / self.width**2 * n

    def _jacobian(self, x):
        _, n, ratio = self._polar(x)
        ratio = ratio[:, :, None]
        return -((1 - ratio) * np.eye(self.dim) + ratio * (n[:, :, None] * n[:, None, :])) / self.width**2

    def _trace(self, x):
        return -(1 + (self.dim - 1) * (1 - self._polar(x)[2][:, 0])) / self.width**2

    def _sample(self, n, rng):
        """Exact rejection: log r lies below its tangent at the mode, which leaves a Gaussian of the same width."""
        R, w, k = self.radius, self.width, self.dim - 1
        mode = 0.5 * (R + math.sqrt(R**2 + 4 * k * w**2))
        r = np.empty(0)
        while len(r) < n:
            t = (mode + w * rng.standard_normal(2 * (n - len(r)) + 8)) / mode
            t = t[t > 0]
            r = np.append(r, mode * t[np.log(1 - rng.random(len(t))) <= k * (np.log(t) - (t - 1))])
        x = rng.standard_normal((n, self.dim))
        return x * (r[:n] / np.linalg.norm(x, axis=1))[:, None]

    @property
    def frame(self):
        """Centred, of the size of the outer edge."""
        sd = self._rms / math.sqrt(self.dim)
        # the kink at the origin is worth a break only where the density there is not negligible
        breaks = ((0.0,),) * self.dim if self.radius < 9 * self.width else ()
        reach = max(1.0, self.radius / sd)
        detail = min(1.0, self.width / sd)
        return Frame(np.zeros(self.dim), sd * np.eye(self.dim), reach=reach, detail=detail, breaks=breaks)
