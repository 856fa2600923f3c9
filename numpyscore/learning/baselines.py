r"""What a fitted density has to be better than: a Gaussian, a kernel density and a Gaussian mixture of the same rows.

Each is a function rows (n, d) -> density with `logpdf`, for standardised rows; `BASELINES` names them. What is to be chosen, the width of
the kernel and the number of components, is chosen on these rows alone: by the log-likelihood of each row under the others, and by

.. math:: \mathrm{BIC}(K) = -2 \sum_n \log p_K(x_n) + \log n \,\bigl[ K (1 + d + d(d + 1)/2) - 1 \bigr]
"""

import math

import numpy as np

from ..common.inputs import generator, samples
from ..densities import Gaussian, GaussianMixture, Parzen
from .splits import some

WIDTHS = np.geomspace(0.02, 1.0, 18)  # of the kernel, in standard deviations
ROWS = 600  # rows by which the width is chosen
KERNELS = 8000  # of the kernel density: rows beyond are left out
MIXED = 5000  # rows that a mixture is fitted to
COMPONENTS = 10  # at most
RIDGE = 1e-4  # added to each variance: a component on one row, or on a column of zeros, has no density
ITERATIONS, GAIN = 100, 1e-4  # of EM at most; nats a row below which it stops


def gaussian(x):
    """The Gaussian with the moments of rows x (n, d), their variances at least RIDGE^2."""
    x = samples("gaussian", x)
    return Gaussian(x.mean(axis=0), np.atleast_2d(np.cov(x.T, bias=True)) + RIDGE**2 * np.eye(x.shape[1]))


def kernel_density(x):
    """The mean of Gaussians at rows x (n, d), as wide as is best for each row under the others.

    Source: Habbema, Hermans & van den Broek (1974), COMPSTAT 101-110; Duin (1976), IEEE Trans. Comput. C-25:1175-1179.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    x = samples("kernel_density", x)
    x = x[some(len(x), KERNELS)]
    chosen, d = some(len(x), ROWS), x.shape[1]
    squares = cdist(x[chosen], x, "sqeuclidean")
    squares[np.arange(len(chosen)), chosen] = np.inf  # each row under the others
    others = [(logsumexp(-0.5 / h**2 * squares, axis=1) - d * math.log(h)).sum() for h in WIDTHS]
    return Parzen(x, WIDTHS[int(np.argmax(others))])


def mixture(x, rng=0):
    """The Gaussian mixture of rows x (n, d) by expectation and maximisation, its number of components by the BIC.

    Components are added until the BIC has risen twice.

    Source: Dempster, Laird & Rubin (1977), JRSS B 39:1-38; Schwarz (1978), Ann. Statist. 6:461-464, for the BIC.
    """
    x, rng = samples("mixture", x), generator("mixture", rng)
    x = x[some(len(x), MIXED)]
    n, d = x.shape
    best, found, rises = math.inf, None, 0
    for K in range(1, COMPONENTS + 1):
        if K > 1 and K * (d + 1) > n:
            break
        density, log_p = expectation_maximisation(x, K, rng)
        bic = -2 * log_p.sum() + math.log(n) * (K * (1 + d + d * (d + 1) / 2) - 1)
        best, found, rises = (bic, density, 0) if bic < best else (best, found, rises + 1)
        if rises == 2:
            break
    return found


def expectation_maximisation(x, K, rng):
    """A mixture of K Gaussians of rows x (n, d), and the log-likelihood of each row under it (n,)."""
    d = x.shape[1]
    means = _far_apart(x, K, rng)
    nearest = np.argmin(((x[:, None] - means) ** 2).sum(-1), axis=1)
    share, before = np.eye(K)[nearest], -math.inf  # (n, K), the probability that component k made row n
    for _ in range(ITERATIONS):
        weights = share.sum(axis=0) + 1e-10
        means = share.T @ x / weights[:, None]
        away = x[:, None] - means  # (n, K, d)
        covs = np.einsum("nk,nki,nkj->kij", share, away, away, optimize=True) / weights[:, None, None]
        covs = covs + RIDGE * np.eye(d)
        weights = weights / weights.sum()
        lower = np.linalg.cholesky(covs)
        unit = np.linalg.solve(lower, away.transpose(1, 2, 0))  # (K, d, n)
        log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        log_each = np.log(weights) - log_det - 0.5 * (unit**2).sum(axis=1).T - 0.5 * d * math.log(2 * math.pi)
        log_p = np.logaddexp.reduce(log_each, axis=1)
        share = np.exp(log_each - log_p[:, None])
        if log_p.mean() - before < GAIN:
            break
        before = log_p.mean()
    return GaussianMixture(weights, means, covs), log_p


def _far_apart(x, K, rng):
    """K rows of x, each drawn by the square of its distance to those before (Arthur & Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(x)))]
    far = ((x - x[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(K - 1):
        p = far / far.sum() if far.sum() > 0 else np.full(len(x), 1 / len(x))
        chosen.append(int(rng.choice(len(x), p=p)))
        far = np.minimum(far, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
    return x[chosen].astype(float)


BASELINES = {"gaussian": gaussian, "kernel_density": kernel_density, "mixture": mixture}
