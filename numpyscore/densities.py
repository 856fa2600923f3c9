"""Densities in closed form: log density, score, Jacobian and trace by hand, right in the tails, with exact normalisers.

Every density answers the three questions the project meets on (score, trace, projected curvature), so it can stand
wherever a model stands. Arithmetic is float64; results carry the common dtype of `x` and the parameters.
"""

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np

from .inputs import count, finite, generator, numeric, positive, samples
from .quadrature import Frame

BLOCK = 1 << 18  # numbers per block: temporaries stay in cache and memory is bounded however many samples come in


class Density:
    """What all densities share: checks, blocks of samples, dtype, and the quantities that follow from the others.

    A density adds `_logpdf`, `_score`, `_jacobian`, `_trace` on a float64 block of samples inside the support, `_sample`,
    and a `frame`. The support is closed: at a finite end log p is finite and the score is the limit from inside.
    Samples that are not (n, d), or not finite, raise ValueError; so do samples outside the support, except in logpdf and
    energy. Constructors raise ValueError naming the parameter that is not finite, not positive where it must be, of the
    wrong shape, or not a symmetric positive definite matrix. Complex and extended precision raise TypeError.

    dim : int. support : (d, 2) array of lower and upper ends, [x], infinite where there is none.
    dtype : float32 if every parameter came as float32, else float64.
    """

    _logpdf: Callable
    _score: Callable
    _jacobian: Callable
    _trace: Callable
    _sample: Callable

    def __init__(self, support, *parameters):
        self.dtype = _common_dtype(parameters)
        self.support = np.asarray(support, self.dtype).astype(float)  # ends that samples of this dtype can reach
        self.dim = len(self.support)
        self._row = self.dim**2  # numbers that one sample needs in a block

    def logpdf(self, x):
        """log p(x) of samples x (n, d): (n,) array, normalised, -inf outside the support."""

        def inside_only(x):
            value, inside = np.full(len(x), -np.inf), self._inside(x)
            value[inside] = self._logpdf(x[inside])
            return value

        return self._evaluate("logpdf", (), inside_only, x)

    def energy(self, x):
        """-log p(x) of samples x (n, d): (n,) array, inf outside the support."""
        return -self.logpdf(x)

    def score(self, x):
        """Gradient of log p in x at samples x (n, d): (n, d) array, 1/[x]."""
        return self._evaluate("score", (self.dim,), self._score, x)

    def jacobian(self, x):
        """jac[n, i, j] = d score_i / d x_j at samples x (n, d): (n, d, d) array, 1/[x]^2."""
        return self._evaluate("jacobian", (self.dim, self.dim), self._jacobian, x)

    def trace(self, x):
        """Trace of the score's Jacobian, without forming it, at x (n, d): (n,) array, 1/[x]^2."""
        return self._evaluate("trace", (), self._trace, x)

    def curvature(self, x, v):
        """v^T J v at samples x (n, d) along v (n, d): (n,) array, 1/[x]^2."""
        where = f"{type(self).__name__}.curvature"
        v = _real(where, "v", samples(where, v, self.dim, name="v"))
        if v.shape != np.shape(x):
            raise ValueError(f"{where}: v has shape {v.shape}, expected {np.shape(x)}, one direction per row of x.")
        return self._evaluate("curvature", (), lambda x, v: np.einsum("ni,nij,nj->n", v, self._jacobian(x), v), x, v)

    def sample(self, n, *, rng=None):
        """n independent samples: (n, d) array of the parameters' dtype; `rng` is a seed or a numpy.random.Generator."""
        where = f"{type(self).__name__}.sample"
        x = self._sample(count(where, "n", n, least=0), generator(where, rng))
        return np.clip(x, *self.support.T).astype(self.dtype)  # rounding may leave a closed support by one ulp

    def perturbed(self, sigma):
        """Density of x + sigma * eps, eps ~ N(0, I); here NotImplementedError: the family is not closed under noise."""
        name = type(self).__name__
        raise NotImplementedError(
            f"{name}.perturbed: a {name} plus Gaussian noise is not a {name}; only Gaussian, GaussianMixture and Parzen "
            f"are closed. Use the Parzen density of samples instead: Parzen(density.sample(n, rng=0), sigma)."
        )

    def _inside(self, x):
        lower, upper = self.support.T
        return ((lower <= x) & (x <= upper)).all(axis=1)

    def _evaluate(self, name, shape, rule, x, *more):
        """rule(block of x, block of more...) of every row, in the common dtype of x, more and the parameters."""
        where = f"{type(self).__name__}.{name}"
        x = _real(where, "x", samples(where, x, self.dim))
        if name != "logpdf" and not (inside := self._inside(x)).all():
            row = int(np.argmin(inside))
            raise ValueError(
                f"{where}: x[{row}] = {x[row]} lies outside the support {self.support.tolist()} (first bad row: "
                f"{row}). log p is -inf there and has no gradient; remove such rows, or model a wider support."
            )
        out = np.empty((len(x), *shape), np.result_type(self.dtype, x, *more))
        step = max(1, BLOCK // self._row)
        for start in range(0, len(x), step):
            block = slice(start, start + step)
            out[block] = rule(*(a[block].astype(float, copy=False) for a in (x, *more)))
        return out

    def __repr__(self):
        return f"{type(self).__name__}(dim={self.dim})"


# --------------------------------------------------------------------------- Gaussian and its relatives


class _Elliptical(Density):
    """Location and shape = L L^T: x = loc + L z."""

    _tail = "gaussian"

    def __init__(self, loc, shape, support, *parameters):
        super().__init__(support, *parameters)
        self._loc, (self._chol, self._white) = loc, _cholesky(type(self).__name__, shape)
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

    Test: test_densities.py::test_gaussian_score_is_the_posterior_mean_of_the_noise
    """

    def __init__(self, mean, cov):
        self.mean, self.cov = _location_and_shape(type(self).__name__, mean, cov)
        super().__init__(self.mean, self.cov, _everywhere(len(self.mean)), mean, cov)

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
        return _as(self.dtype, Gaussian(self.mean, self.cov + sigma**2 * np.eye(self.dim)))


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
    Test: test_densities.py::test_normalised
    """

    def __init__(self, mean, cov, lower=-np.inf, upper=np.inf):
        super().__init__(mean, cov)
        Density.__init__(self, _box("TruncatedGaussian", lower, upper, self.dim), mean, cov, lower, upper)
        self.lower, self.upper = self.support.T
        self._sd = np.sqrt(np.diag(self.cov))
        self._diagonal = not (self.cov - np.diag(np.diag(self.cov))).any()
        self._ends = (self.support.T - self.mean) / self._sd  # (2, d), standard deviations

    @cached_property
    def _log_masses(self):
        return np.array([_log_interval(a, b) for a, b in self._ends.T.tolist()])

    @cached_property
    def _log_mass(self):
        if self._diagonal:
            mass = self._log_masses.sum()
        else:
            from scipy.stats import multivariate_normal

            gaussian = multivariate_normal(self.mean, self.cov, seed=0, abseps=1e-8, releps=1e-8)
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
            return self.mean + self._sd * _normal_between(a, b, self._log_masses, u)
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

    Source: Kotz & Nadarajah (2004), Multivariate t Distributions and Their Applications, eq. 1.1.
    Test: test_densities.py::test_logpdf_is_scipys
    """

    _tail = "algebraic"

    def __init__(self, df, loc=0.0, scale=1.0):
        self.df = positive("StudentT", "df", df)
        shape = positive("StudentT", "scale", scale) ** 2 if np.ndim(scale) == 0 else scale
        self.loc, self.scale = _location_and_shape("StudentT", loc, shape, names=("loc", "scale"))
        super().__init__(self.loc, self.scale, _everywhere(len(self.loc)), loc, scale)

    def _logpdf(self, x):
        z, _ = self._whiten(x)
        half = 0.5 * self.dim
        # tends to 0 with 1 / df: a t with many degrees of freedom is a Gaussian
        heavier = _log_gamma_ratio(0.5 * self.df, half)
        return heavier - self._log_scale - (0.5 * self.df + half) * np.log1p((z**2).sum(1) / self.df)

    def _weights(self, x):
        """(nu + d) / (nu + q), P e and nu + q."""
        z, Pe = self._whiten(x)
        q = self.df + (z**2).sum(1)
        return (self.df + self.dim) / q, Pe, q

    def _score(self, x):
        w, Pe, _ = self._weights(x)
        return -w[:, None] * Pe

    def _jacobian(self, x):
        w, Pe, q = self._weights(x)
        outer = Pe[:, :, None] * Pe[:, None, :]
        return -w[:, None, None] * (self._precision - 2 * outer / q[:, None, None])

    def _trace(self, x):
        w, Pe, q = self._weights(x)
        return -w * (np.trace(self._precision) - 2 * (Pe**2).sum(1) / q)

    def _sample(self, n, rng):
        z = rng.standard_normal((n, self.dim)) / np.sqrt(rng.chisquare(self.df, (n, 1)) / self.df)
        return self.loc + z @ self._chol.T


# --------------------------------------------------------------------------- mixtures


class GaussianMixture(Density):
    r"""Mixture of K Gaussians with responsibilities r_k(x) and component scores s_k = P_k (mu_k - x).

    .. math:: s = \sum_k r_k s_k, \qquad J = \sum_k r_k (s_k - s)(s_k - s)^T - \sum_k r_k P_k

    All is computed relative to the strongest component at x: for components that share a covariance, log ratios and score
    differences come from mu_k - mu_strongest, not from two large numbers, so that nothing cancels however far x lies.
    With unequal covariances a log ratio carries eps times the squared distance, which is the rounding of x itself.

    Parameters
    ----------
    weights : (K,) array, positive, summing to one within 1e-6 (then normalised)
    means : (K, d) array, or (K,) for d = 1, [x]
    covs : (K, d, d) array; or shared: a (d, d) array, or a scalar variance meaning covs * I; or (K,) variances, [x]^2

    Test: test_densities.py::test_mixture_a_thousand_sigma_away
    """

    def __init__(self, weights, means, covs):
        where = type(self).__name__
        self.weights, self.means = _array(where, "weights", weights), _array(where, "means", means)
        if self.means.ndim == 1:
            self.means = self.means[:, None]
        K, d = self.means.shape if self.means.ndim == 2 else (0, 0)
        if self.weights.shape != (K,) or K == 0 or d == 0:
            raise ValueError(
                f"{where}: weights have shape {self.weights.shape} and means {self.means.shape}, expected (K,) and (K, d)."
            )
        total = self.weights.sum()
        if not ((self.weights > 0).all() and abs(total - 1) < 1e-6):
            raise ValueError(
                f"{where}: weights have minimum {self.weights.min()} and sum {total}, expected positive numbers with "
                f"sum 1. Drop empty components and pass weights / weights.sum()."
            )
        self.weights /= total
        C = _array(where, "covs", covs)
        if C.shape == (K,):
            C = C[:, None, None] * np.eye(d)
        if C.shape not in ((), (d, d), (K, d, d)):
            raise ValueError(f"{where}: covs has shape {C.shape}, expected {(K, d, d)}, {(d, d)}, {(K,)} or a scalar.")
        if C.ndim == 3 and (C[0] == C).all():
            C = C[0]  # one covariance for all, and the more accurate formulae with it
        super().__init__(_everywhere(d), weights, means, covs)
        self._row = max(K * d, d * d)
        self._covs = C  # (K, d, d), or shared: (d, d) or a scalar
        self._chol, self._white = _cholesky(where, C)
        log_det = np.log(_diagonal(self._chol, d)).sum(-1)
        self._log_weights = np.log(self.weights) - log_det - 0.5 * d * math.log(2 * math.pi)

    @property
    def covs(self):
        """(K, d, d) covariances, [x]^2; a read-only view where they are shared."""
        K, d = self.means.shape
        return np.broadcast_to(_square(self._covs, d), (K, d, d))

    @cached_property
    def _expanded(self):
        """Center c, whitened means m = L^-1 (mu - c), and the part of each log term that does not depend on x."""
        center = self.means.mean(0)
        m = _times(self._white, self.means - center)
        return center, m.T, self._log_weights - 0.5 * (m**2).sum(1)

    def _components(self, x):
        """A strongest component's log term (n,) and score (n, d); log ratio (n, K) and score gap (n, d, K) of all to it.

        Where the covariance is shared the gap is still white, L^-1 (mu_k - mu_best): see _score_gap.
        """
        W, mu = self._white, self.means
        if W.ndim == 3:
            z = _times(W, mu.T - x[:, :, None])
            term, score = self._log_weights - 0.5 * (z**2).sum(1), _times(W.mT, z)
            best = term.argmax(1)[:, None]
            base, s = np.take_along_axis(term, best, 1), np.take_along_axis(score, best[:, None], 2)
            return base[:, 0], s[:, :, 0], term - base, score - s
        center, m, constant = self._expanded  # a matrix product, accurate enough to choose the component
        best = (constant + _times(W, x - center) @ m).argmax(1)
        z, base = _times(W, mu[best] - x), self._log_weights[best]
        gap = mu.T - mu[best][:, :, None]
        gap = W * gap if W.ndim == 0 else W @ gap
        ratio = (z[:, None, :] @ gap)[:, 0] + 0.5 * np.einsum("ndk,ndk->nk", gap, gap)  # (|z_k|^2 - |z|^2) / 2
        return base - 0.5 * (z**2).sum(1), _times(W.T, z), self._log_weights - base[:, None] - ratio, gap

    def _score_gap(self, gap):
        return gap if self._white.ndim == 3 else _times(self._white.T, gap)

    def _posterior(self, x):
        """log p (n,), score (n, d), responsibilities r (n, K), and the gaps with their mean under r."""
        base, s, ratio, gap = self._components(x)
        top = ratio.max(1, keepdims=True)
        r = np.exp(ratio - top)
        total = r.sum(1, keepdims=True)
        r /= total
        mean = gap @ r[:, :, None]
        return base + (top + np.log(total))[:, 0], s + self._score_gap(mean[:, :, 0]), r, gap, mean

    def _spread(self, x):
        """r_k (n, K) and s_k - s (n, d, K)."""
        _, _, r, gap, mean = self._posterior(x)
        return r, self._score_gap(gap - mean)

    def _log_and_score(self, x):
        """log p (n,) and score (n, d): for a shared covariance two matrix products and one exponential.

        There L^-1(x - c) = y gives the log terms as constant_k + y . m_k; their error eps (|y| + |m|) |m| is that of rounding
        x itself unless the components lie in a distant cluster, and the strongest term is then taken from its own difference.
        """
        if self._white.ndim == 3:
            return self._posterior(x)[:2]
        center, m, constant = self._expanded
        y = _times(self._white, x - center)
        ratio = y @ m
        ratio += constant
        best = ratio.argmax(1)
        ratio -= np.take_along_axis(ratio, best[:, None], 1)
        r = np.exp(ratio, out=ratio)
        total = r.sum(1)
        z = _times(self._white, self.means[best] - x)
        log_p = self._log_weights[best] - 0.5 * (z**2).sum(1) + np.log(total)
        return log_p, _times(self._white.T, r @ m.T / total[:, None] - y)

    def _logpdf(self, x):
        return self._log_and_score(x)[0]

    def _score(self, x):
        return self._log_and_score(x)[1]

    def _jacobian(self, x):
        r, e = self._spread(x)
        return (r[:, None, :] * e) @ e.mT - self._mean_precision(r)

    def _trace(self, x):
        r, e = self._spread(x)
        P = np.broadcast_to((_square(self._white, self.dim) ** 2).sum((-2, -1)), len(self.means))  # tr P_k
        return np.einsum("nk,ndk,ndk->n", r, e, e) - r @ P

    def _mean_precision(self, r):
        """sum_k r_k P_k as (n, d, d), or (d, d) where all are the same."""
        W = _square(self._white, self.dim)
        return _average(r, W.mT @ W)

    def _sample(self, n, rng):
        k = rng.choice(len(self.weights), n, p=self.weights)
        z = rng.standard_normal((n, self.dim))
        if self._chol.ndim < 3:
            return self.means[k] + _times(self._chol, z)
        for component, L in enumerate(self._chol):
            z[k == component] = z[k == component] @ L.T
        return self.means[k] + z

    def perturbed(self, sigma):
        """Density of x + sigma * eps: the mixture with covariances covs + sigma^2 I."""
        sigma = positive(f"{type(self).__name__}.perturbed", "sigma", sigma)
        noise = sigma**2 * (np.eye(self.dim) if self._covs.ndim else 1.0)
        return _as(self.dtype, GaussianMixture(self.weights, self.means, self._covs + noise))

    @property
    def frame(self):
        """Whitened by the overall covariance; reach is the farthest mean, detail the smallest component sd."""
        center, C = self.weights @ self.means, _square(self._covs, self.dim)
        e = self.means - center
        L, white = _cholesky("frame", (self.weights * e.T) @ e + _average(self.weights, C))
        smallest = np.linalg.eigvalsh(white @ C @ white.T).min()
        reach = np.abs(e @ white.T).max()
        return Frame(center, L, reach=max(1.0, float(reach)), detail=math.sqrt(smallest))


class Parzen(GaussianMixture):
    r"""The empirical density of the user's rows after Gaussian noise: an equal-weight mixture, exact at finite n.

    .. math:: p(x) = \frac1K \sum_k N(x; \mathrm{data}_k, \sigma^2 I)

    Parameters
    ----------
    data : (K, d) array, [x]
        Rows are samples, K >= 1.
    sigma : positive float, [x]

    Source: Vincent (2011), Neural Computation 23:1661-1674, section 4.1.
    Test: test_densities.py::test_parzen_is_the_mixture
    """

    def __init__(self, data, sigma):
        data, self.sigma = samples("Parzen", data, name="data"), positive("Parzen", "sigma", sigma)
        if data.size == 0:
            raise ValueError(f"Parzen: data has shape {data.shape}, expected at least one row and one column.")
        super().__init__(np.full(len(data), 1 / len(data)), data, self.sigma**2)
        self.dtype = _common_dtype((data, sigma))
        self.data = self.means

    def perturbed(self, sigma):
        """Density of x + sigma * eps: the Parzen density of width sqrt(self.sigma^2 + sigma^2)."""
        return _as(self.dtype, Parzen(self.data, math.hypot(self.sigma, positive("Parzen.perturbed", "sigma", sigma))))


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

    Test: test_densities.py::test_logpdf_is_scipys
    """

    _tail = "exponential"
    _rule, _draw = staticmethod(_logistic), staticmethod(lambda rng, shape: rng.logistic(size=shape))

    def __init__(self, loc=0.0, scale=1.0):
        self.loc, self.scale = _vectors("Logistic", ("scale",), loc=loc, scale=scale)
        super().__init__(self.loc, self.scale, _everywhere(len(self.loc)), loc, scale)


class Laplace(_Product):
    r"""Product of Laplace densities: z = (x - loc) / scale.

    .. math:: \log p = -|z| - \log(2\,\mathrm{scale}), \qquad s = -\mathrm{sign}(z) / \mathrm{scale}

    At the kink x_i = loc_i the score is 0 by convention. Jacobian and trace are 0 almost everywhere; as a distribution
    the trace is -sum_i (2 / scale_i) delta(x_i - loc_i), which no pointwise evaluation can see: implicit score matching
    on this density misses E[trace] = -sum_i 1 / scale_i^2.

    Parameters
    ----------
    loc, scale : (d,) arrays or scalars, [x]; scale positive

    Test: test_densities.py::test_conventions_at_kinks
    """

    _tail = "exponential"
    _rule, _draw = staticmethod(_laplace), staticmethod(lambda rng, shape: rng.laplace(size=shape))

    def __init__(self, loc=0.0, scale=1.0):
        self.loc, self.scale = _vectors("Laplace", ("scale",), loc=loc, scale=scale)
        super().__init__(self.loc, self.scale, _everywhere(len(self.loc)), loc, scale)

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

    Test: test_densities.py::test_logpdf_is_scipys
    """

    _tail = "exponential"
    _rule, _draw = staticmethod(_exponential), staticmethod(lambda rng, shape: rng.exponential(size=shape))

    def __init__(self, rate=1.0):
        (self.rate,) = _vectors("Exponential", ("rate",), rate=rate)
        super().__init__(0 * self.rate, 1 / self.rate, _box("Exponential", 0.0, np.inf, len(self.rate)), rate)


class HalfNormal(_Product):
    r"""Product of densities of |y|, y ~ N(0, scale^2), on [0, inf)^d.

    .. math:: \log p = \tfrac12 \log\tfrac2\pi - \log\mathrm{scale} - \tfrac12 x^2/\mathrm{scale}^2, \qquad
        s = -x / \mathrm{scale}^2

    Parameters
    ----------
    scale : (d,) array or scalar, positive, [x]

    Test: test_densities.py::test_logpdf_is_scipys
    """

    _rule, _draw = staticmethod(_half_normal), staticmethod(lambda rng, shape: np.abs(rng.standard_normal(shape)))

    def __init__(self, scale=1.0):
        (self.scale,) = _vectors("HalfNormal", ("scale",), scale=scale)
        super().__init__(0 * self.scale, self.scale, _box("HalfNormal", 0.0, np.inf, len(self.scale)), scale)


class Uniform(_Product):
    r"""Uniform density on a box: score, Jacobian and trace vanish inside.

    .. math:: \log p = -\sum_i \log(\mathrm{upper}_i - \mathrm{lower}_i), \qquad s = 0

    Parameters
    ----------
    lower, upper : (d,) arrays or scalars, finite, lower < upper, [x]

    Test: test_densities.py::test_logpdf_is_scipys
    """

    _rule, _draw = staticmethod(_uniform), staticmethod(lambda rng, shape: rng.random(shape))

    def __init__(self, lower=0.0, upper=1.0):
        self.lower, self.upper = _vectors("Uniform", (), lower=lower, upper=upper)
        support = _box("Uniform", self.lower, self.upper, len(self.lower))
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
    Test: test_densities.py::test_normalised
    """

    def __init__(self, bend=0.5, spread=2.0, dim=2):
        self.bend, self.spread = _array("Banana", "bend", bend).item(), positive("Banana", "spread", spread)
        d = count("Banana", "dim", dim, least=2)
        super().__init__(_everywhere(d), bend, spread)

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

    Test: test_densities.py::test_normalised
    """

    def __init__(self, radius=3.0, width=0.5, dim=2):
        self.radius, self.width = positive("Ring", "radius", radius), positive("Ring", "width", width)
        d = count("Ring", "dim", dim, least=2)
        super().__init__(_everywhere(d), radius, width)
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
        r = np.linalg.norm(x, axis=1, keepdims=True)
        away = np.where(r > 0, r, 1.0)
        return r, np.where(r > 0, x / away, 0.0), np.where(r > 0, self.radius / away, 0.0)

    def _logpdf(self, x):
        r = np.linalg.norm(x, axis=1)
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
        reach, detail = max(1.0, self.radius / sd), min(1.0, self.width / sd)
        return Frame(np.zeros(self.dim), sd * np.eye(self.dim), reach=reach, detail=detail, breaks=breaks)


# --------------------------------------------------------------------------- parameters


def _real(where, name, a):
    """Refuse complex and extended precision: densities compute in float64."""
    if a.dtype.kind == "c" or (a.dtype.kind == "f" and a.dtype.itemsize > 8):
        raise TypeError(
            f"{where}: {name} has dtype {a.dtype}, expected float32 or float64. Densities compute in float64, so a longer "
            f"or complex type would lose what it carries; only the network passes take them. Use {name}.real.astype(float)."
        )
    return a


def _array(where, name, value):
    """A finite float64 copy of a parameter."""
    a = np.array(_real(where, name, numeric(where, name, value)), dtype=float)
    finite(where, name, a)
    return a


def _common_dtype(parameters):
    """float32 if every array among the parameters is; Python numbers follow, as in NumPy."""
    dtype = np.result_type(*(p if type(p) in (int, float) else np.asarray(p) for p in parameters))
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def _as(dtype, density):
    density.dtype = dtype
    return density


def _everywhere(d):
    return np.tile([-np.inf, np.inf], (d, 1))


def _vectors(where, positives, **parameters):
    """Parameters as (d,) arrays of one length, scalars repeated; those named in `positives` must be."""
    arrays = {name: np.atleast_1d(_array(where, name, value)) for name, value in parameters.items()}
    shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
    d = max(a.size for a in arrays.values())
    if d == 0 or any(a.shape not in ((1,), (d,)) for a in arrays.values()):
        raise ValueError(f"{where}: shapes are {shapes}, expected scalars or (d,) arrays of one length d >= 1.")
    for name in positives:
        if not (arrays[name] > 0).all():
            raise ValueError(f"{where}: {name} has minimum {arrays[name].min()}, expected positive numbers.")
    return [np.broadcast_to(a, (d,)).copy() for a in arrays.values()]


def _box(where, lower, upper, d):
    """(d, 2) support from ends that may be infinite."""
    ends = [np.asarray(_real(where, n, numeric(where, n, a)), float) for n, a in (("lower", lower), ("upper", upper))]
    if any(a.shape not in ((), (1,), (d,)) for a in ends):
        raise ValueError(f"{where}: lower {ends[0].shape}, upper {ends[1].shape}, expected scalars or {(d,)} arrays.")
    box = np.stack([np.broadcast_to(a, (d,)) for a in ends], 1)
    if not (box[:, 0] < box[:, 1]).all():
        i = int(np.argmin(box[:, 0] < box[:, 1]))
        raise ValueError(
            f"{where}: lower[{i}] = {box[i, 0]}, upper[{i}] = {box[i, 1]}, expected lower < upper, no NaN."
        )
    return box


def _location_and_shape(where, loc, shape, names=("mean", "cov")):
    """(d,) location and (d, d) matrix; a scalar matrix means scalar * I."""
    m, C = np.atleast_1d(_array(where, names[0], loc)), _array(where, names[1], shape)
    if m.ndim != 1 or m.size == 0 or C.shape not in ((), (m.size, m.size)):
        raise ValueError(
            f"{where}: {names[0]} has shape {m.shape} and {names[1]} {C.shape}, expected (d,) and (d, d), or a scalar "
            f"{names[1]} for an isotropic density. For a diagonal one pass np.diag of its variances."
        )
    return m, _square(C, m.size)


def _square(a, d):
    """A scalar as a multiple of the identity; matrices as they are."""
    return a * np.eye(d) if np.ndim(a) == 0 else a


def _average(weights, C):
    """sum_k weights_k C_k over a stack of matrices; one matrix shared by all is its own average."""
    return C if C.ndim == 2 else np.tensordot(weights, C, 1)


def _diagonal(a, d):
    return np.broadcast_to(a, (d,)) if np.ndim(a) == 0 else np.diagonal(a, axis1=-2, axis2=-1)


def _times(A, e):
    """A_k e_k over axis 1 of e (n, d) or (n, d, K), for A a scalar, (d, d) or (K, d, d)."""
    return A * e if A.ndim == 0 else (A @ e.T).T


def _cholesky(where, C):
    """L and L^-1 of C = L L^T, for a scalar variance, a matrix or a stack; rounding-level asymmetry is averaged."""
    if C.ndim == 0:
        if C <= 0:
            raise ValueError(f"{where}: the variance is {C}, expected a positive number.")
        L = np.sqrt(C)
        return L, np.asarray(1 / L)
    asymmetry = np.abs(C - C.mT).max()
    if asymmetry > 1e-6 * np.abs(C).max():
        raise ValueError(
            f"{where}: the covariance is not symmetric, C and its transpose differ by {asymmetry:.3g}. "
            f"Pass (C + C.T) / 2 if that is rounding."
        )
    try:
        L = np.linalg.cholesky(0.5 * (C + C.mT))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{where}: the covariance is not positive definite, smallest eigenvalue {np.linalg.eigvalsh(C).min():.3g}. "
            f"A density on a subspace has no score; add sigma**2 * np.eye(d), or drop dependent columns."
        ) from None
    return L, np.linalg.solve(L, np.broadcast_to(np.eye(C.shape[-1]), C.shape))


# --------------------------------------------------------------------------- special functions


def _log_gamma_ratio(a, b):
    """log of Gamma(a + b) / (Gamma(a) a^b), by Stirling's series (error below 1e-17) where the difference cancels."""
    if a < 100:
        return math.lgamma(a + b) - math.lgamma(a) - b * math.log(a)
    correction = lambda a: (1 / 12 - (1 / 360 - 1 / (1260 * a**2)) / a**2) / a
    return (a + b - 0.5) * math.log1p(b / a) - b + correction(a + b) - correction(a)


def _log_interval(a, b):
    """log(Phi(b) - Phi(a)) of two numbers a < b, in either tail."""
    from scipy.special import log_ndtr

    a, b = (-b, -a) if a > 0 else (a, b)  # the right tail is the left one mirrored
    if b > 0:
        return math.log(0.5 * (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))))
    share = -math.expm1(log_ndtr(a) - log_ndtr(b))
    return log_ndtr(b) + math.log(share) if share > 0 else -math.inf


def _normal_between(a, b, log_mass, u):
    """The standard normal restricted to (a, b) at probability u in [0, 1), in either tail."""
    from scipy.special import log_ndtr, ndtri_exp

    flip = a > 0
    log_p = np.logaddexp(log_ndtr(np.where(flip, -b, a)), np.log1p(-u) + log_mass)
    return np.where(flip, -1, 1) * ndtri_exp(np.minimum(log_p, 0))
