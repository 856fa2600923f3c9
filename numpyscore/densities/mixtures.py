"""Gaussian mixtures, right however far out, and the mixture that is a user's own data plus noise."""

import math
from functools import cached_property

import numpy as np

from ..common.inputs import positive, samples
from ..numerics.quadrature import Frame
from .base import Density, with_dtype
from .parameters import array, average, cholesky, common_dtype, diagonal, everywhere, square, times

FAR = 100.0  # standard deviations from a centre, up to which matrix products about it lose nothing that matters


class GaussianMixture(Density):
    r"""Mixture of K Gaussians with responsibilities r_k(x) and component scores s_k = P_k (mu_k - x).

    .. math:: s = \sum_k r_k s_k, \qquad J = \sum_k r_k (s_k - s)(s_k - s)^T - \sum_k r_k P_k

    All is computed relative to the strongest component at x: for components that share a covariance, log ratios and score
    differences come from mu_k - mu_strongest, not from two large numbers, so that nothing cancels however far x lies.
    Score and log p of a shared covariance come by matrix products about a centre within FAR standard deviations of the strongest mean, the
    centre of all means or that of its cluster: a log ratio loses less than FAR^2 eps = 2e-12, however far apart clusters lie.
    With unequal covariances a log ratio carries eps times the squared distance, which is the rounding of x itself.

    Parameters
    ----------
    weights : (K,) array, positive, summing to one within 1e-6 (then normalised)
    means : (K, d) array, or (K,) for d = 1, [x]
    covs : (K, d, d) array; or shared: a (d, d) array, or a scalar variance meaning covs * I; or (K,) variances, [x]^2

    Test: test_closed_forms.py::test_mixture_a_thousand_sigma_away
    """

    _says = ("weights", "means")

    def __init__(self, weights, means, covs):
        where = type(self).__name__
        self.weights, self.means = array(where, "weights", weights), array(where, "means", means)
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
        C = array(where, "covs", covs)
        if C.shape == (K,):
            C = C[:, None, None] * np.eye(d)
        if C.shape not in ((), (d, d), (K, d, d)):
            raise ValueError(f"{where}: covs has shape {C.shape}, expected {(K, d, d)}, {(d, d)}, {(K,)} or a scalar.")
        if C.ndim == 3 and (C[0] == C).all():
            C = C[0]  # one covariance for all, and the more accurate formulae with it
        super().__init__(everywhere(d), weights, means, covs)
        self._row = max(K * d, d * d)
        self._covs = C  # (K, d, d), or shared: (d, d) or a scalar
        self._chol, self._white = cholesky(where, C)
        log_det = np.log(diagonal(self._chol, d)).sum(-1)
        self._log_weights = np.log(self.weights) - log_det - 0.5 * d * math.log(2 * math.pi)

    @property
    def covs(self):
        """(K, d, d) covariances, [x]^2; a read-only view where they are shared."""
        K, d = self.means.shape
        return np.broadcast_to(square(self._covs, d), (K, d, d))

    @cached_property
    def _expanded(self):
        """`_about` the centre of all means."""
        return self._about(self.means.mean(0))

    def _about(self, center):
        """Center c, whitened means m = L^-1 (mu - c), and the part of each log term that does not depend on x."""
        m = times(self._white, self.means - center)
        return center, m.T, self._log_weights - 0.5 * (m**2).sum(1)

    @cached_property
    def _clusters(self):
        """Centres of clusters (C, d), and the cluster of each mean (K,); number 0, about the centre of all, has those within FAR of it."""
        center, m, _ = self._expanded
        near = np.linalg.norm(m, axis=0) <= FAR
        if near.all():
            return center[None], np.zeros(len(near), int)
        cell = np.where(near[:, None], np.inf, np.round(m.T / FAR * np.sqrt(self.dim)))  # cubes with a diagonal of FAR
        bits = np.ascontiguousarray(cell).view(f"V{cell.itemsize * self.dim}")[:, 0]
        _, first, which = np.unique(bits, return_index=True, return_inverse=True)
        return np.concatenate([center[None], self.means[first]]), np.where(near, 0, which + 1)

    def _components(self, x):
        """A strongest component's log term (n,) and score (n, d); log ratio (n, K) and score gap (n, d, K) of all to it.

        Where the covariance is shared the gap is still white, L^-1 (mu_k - mu_best): see _score_gap.
        """
        W, mu = self._white, self.means
        if W.ndim == 3:
            z = times(W, mu.T - x[:, :, None])
            term, score = self._log_weights - 0.5 * (z**2).sum(1), times(W.mT, z)
            beyond = np.isinf(term).all(1)  # squares overflow in every component: the nearest takes it all
            near = np.linalg.norm(z[beyond] / np.abs(z[beyond]).max((1, 2), keepdims=True), axis=1)
            best = term.argmax(1)[:, None]
            best[beyond, 0] = near.argmin(1)
            base, s = np.take_along_axis(term, best, 1), np.take_along_axis(score, best[:, None], 2)
            ratio = term - np.where(beyond[:, None], 0.0, base)
            ratio[beyond, best[beyond, 0]] = 0.0
            return base[:, 0], s[:, :, 0], ratio, score - s
        center, m, constant = self._expanded  # a matrix product, accurate enough to choose the component
        best = (constant + times(W, x - center) @ m).argmax(1)
        z, base = times(W, mu[best] - x), self._log_weights[best]
        gap = mu.T - mu[best][:, :, None]
        gap = W * gap if W.ndim == 0 else W @ gap
        ratio = (z[:, None, :] @ gap)[:, 0] + 0.5 * np.einsum("ndk,ndk->nk", gap, gap)  # (|z_k|^2 - |z|^2) / 2
        return base - 0.5 * (z**2).sum(1), times(W.T, z), self._log_weights - base[:, None] - ratio, gap

    def _score_gap(self, gap):
        return gap if self._white.ndim == 3 else times(self._white.T, gap)

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
        x itself unless |m| is large and |x| is not: rows whose strongest mean is that far from c go by the centre of its cluster.
        """
        if self._white.ndim == 3:
            return self._posterior(x)[:2]
        y, ratio, best = self._terms(x, self._expanded)
        centers, cluster = self._clusters
        there = cluster[best]
        if not there.any():
            return self._summed(x, y, self._expanded[1], ratio, best)
        numbers = np.unique(there)
        if 4 * len(numbers) > len(x):  # few rows in each: no centre of their own is worth its products
            return self._posterior(x)[:2]
        log_p, score = np.empty(len(x)), np.empty(x.shape)
        for number in numbers:
            rows, about = there == number, self._about(centers[number])
            y, ratio, best = self._terms(x[rows], about)
            log_p[rows], score[rows] = self._summed(x[rows], y, about[1], ratio, best)
        return log_p, score

    def _terms(self, x, about):
        """y = L^-1 (x - c) (n, d), log terms up to -|y|^2/2 (n, K), and the strongest (n,)."""
        center, m, constant = about
        y = times(self._white, x - center)
        ratio = y @ m
        ratio += constant
        return y, ratio, ratio.argmax(1)

    def _summed(self, x, y, m, ratio, best):
        """log p (n,) and score (n, d) from `_terms`, whose log terms are overwritten."""
        ratio -= np.take_along_axis(ratio, best[:, None], 1)
        r = np.exp(ratio, out=ratio)
        total = r.sum(1)
        z = times(self._white, self.means[best] - x)
        log_p = self._log_weights[best] - 0.5 * (z**2).sum(1) + np.log(total)
        return log_p, times(self._white.T, r @ m.T / total[:, None] - y)

    def _logpdf(self, x):
        return self._log_and_score(x)[0]

    def _score(self, x):
        return self._log_and_score(x)[1]

    def _jacobian(self, x):
        r, e = self._spread(x)
        return (r[:, None, :] * e) @ e.mT - self._mean_precision(r)

    def _trace(self, x):
        r, e = self._spread(x)
        P = np.broadcast_to((square(self._white, self.dim) ** 2).sum((-2, -1)), len(self.means))  # tr P_k
        return np.einsum("nk,ndk,ndk->n", r, e, e) - r @ P

    def _mean_precision(self, r):
        """sum_k r_k P_k as (n, d, d), or (d, d) where all are the same."""
        W = square(self._white, self.dim)
        return average(r, W.mT @ W)

    def _sample(self, n, rng):
        k = rng.choice(len(self.weights), n, p=self.weights)
        z = rng.standard_normal((n, self.dim))
        if self._chol.ndim < 3:
            return self.means[k] + times(self._chol, z)
        for component, L in enumerate(self._chol):
            z[k == component] = z[k == component] @ L.T
        return self.means[k] + z

    def perturbed(self, sigma):
        """Density of x + sigma * eps: the mixture with covariances covs + sigma^2 I."""
        sigma = positive(f"{type(self).__name__}.perturbed", "sigma", sigma)
        noise = sigma**2 * (np.eye(self.dim) if self._covs.ndim else 1.0)
        return with_dtype(self.dtype, GaussianMixture(self.weights, self.means, self._covs + noise))

    @property
    def frame(self):
        """Whitened by the overall covariance; reach is the farthest mean, detail the smallest component sd."""
        center, C = self.weights @ self.means, square(self._covs, self.dim)
        e = self.means - center
        L, white = cholesky("frame", (self.weights * e.T) @ e + average(self.weights, C))
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

    Source: Vincent (2011), Neural Computation 23:1661-1674.
    Test: test_closed_forms.py::test_parzen_is_the_mixture
    """

    def __init__(self, data, sigma):
        data, self.sigma = samples("Parzen", data, name="data"), positive("Parzen", "sigma", sigma)
        if data.size == 0:
            raise ValueError(f"Parzen: data has shape {data.shape}, expected at least one row and one column.")
        super().__init__(np.full(len(data), 1 / len(data)), data, self.sigma**2)
        self.dtype = common_dtype((data, sigma))
        self.data = self.means

    def __repr__(self):
        K, d = self.data.shape
        return f"Parzen({K} rows x {d} columns, sigma={self.sigma:.4g})"

    def perturbed(self, sigma):
        """Density of x + sigma * eps: the Parzen density of width sqrt(self.sigma^2 + sigma^2)."""
        return with_dtype(
            self.dtype, Parzen(self.data, math.hypot(self.sigma, positive("Parzen.perturbed", "sigma", sigma)))
        )
