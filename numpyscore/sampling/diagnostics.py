r"""Are these samples good, and of what? Convergence of chains, samples against a score, samples against samples.

`effective_sample_size` and `split_r_hat` read the trace of a sampler. `kernel_stein_discrepancy` holds samples against a
score, without any normaliser; `energy_distance` against other samples. Both come with a test of their level: the p value is
uniform where nothing is wrong.
"""

import math
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, finite, generator, numeric, positive, samples
from .targets import score_of

ROWS = 1_000_000  # numbers in one block of a matrix of pairs
FOURIER = 2_000_000  # numbers in one block of transforms

# ------------------------------------------------------------------------------- chains


def _halves(where, trace):
    """Every chain cut in two: (t, 2 n, d) from (t', n, d), t = t' // 2; float64."""
    a = numeric(where, "trace", trace)
    if a.ndim != 3 or a.shape[0] < 4 or a.shape[1] == 0:
        raise ValueError(
            f"{where}: trace has shape {a.shape}, expected (t, n, d): t >= 4 draws of n >= 1 chains of dimension d, as samplers "
            f"record with thin=. One chain (t, d) is trace[:, None]; one number per draw (t, n) is trace[:, :, None]."
        )
    if a.dtype.kind == "c":
        raise TypeError(f"{where}: trace is complex, expected real numbers.")
    finite(where, "trace", a)
    t = a.shape[0] // 2
    return np.concatenate([a[:t], a[-t:]], axis=1, dtype=float)


def _within_and_total(halves):
    """Mean variance within chains W, and the estimate of the whole variance from within and between, each (d,)."""
    t = len(halves)
    within = halves.var(axis=0, ddof=1).mean(axis=0)
    return within, (t - 1) / t * within + halves.mean(axis=0).var(axis=0, ddof=1)


def effective_sample_size(trace):
    r"""How many independent samples would give a mean of the same standard error, for each dimension.

    .. math:: \mathrm{ESS} = \frac{t\, n}{-1 + 2 \sum_k \hat P_k}, \qquad
        \hat P_k = \min_{j \le k} (\hat\rho_{2j} + \hat\rho_{2j+1})

    The sum runs over Geyer's initial monotone sequence: pairs of neighbouring autocorrelations, made to decrease, as long as
    they are positive. rho combines all chains, each cut in half, with their disagreement: chains that sit in different
    modes are worth little, however fast they mix inside. Antithetic chains may be worth more than their length, up to
    a factor of log10 of the number of draws.

    Parameters
    ----------
    trace : (t, n, d) array
        t draws of n chains, as `Chains.trace`. For the standard error of a variance pass (x - mean)**2, and so on.

    Returns
    -------
    ess : (d,) array
        nan where the trace is constant.

    Raises
    ------
    ValueError
        If trace is not (t, n, d) with t >= 4 and n >= 1.

    Source: Geyer (1992), Statist. Sci. 7:473-483; for several chains Vehtari, Gelman, Simpson, Carpenter &
    Buerkner (2021), Bayesian Anal. 16:667-718.
    Test: test_langevin.py::test_effective_sample_size_of_an_autoregression
    """
    x = _halves("effective_sample_size", trace)
    (t, n, d), (within, total) = x.shape, _within_and_total(x)
    moving = total > 0
    rho = 1 - (within - _autocovariance(x)) / np.where(moving, total, 1)
    rho = np.concatenate([np.ones((1, d)), rho[1:]])
    pairs = rho[: t - t % 2].reshape(-1, 2, d).sum(axis=1)
    pairs = np.where(np.logical_and.accumulate(pairs > 0, axis=0), pairs, 0)
    time = -1 + 2 * np.minimum.accumulate(pairs, axis=0).sum(axis=0)
    draws = t * n
    return np.where(moving, draws / np.maximum(time, 1 / math.log10(draws)), np.nan)


def _autocovariance(x):
    """(t, d): autocovariances at lags 0 ... t - 1 of x (t, n, d), mean over chains, biased by 1/t and by (t - 1)/t undone."""
    t, n, d = x.shape
    size, out = 2 * t, np.zeros((t, d))  # zeros behind, so that nothing wraps round
    step = max(1, FOURIER // (size * d))
    for start in range(0, n, step):
        y = x[:, start : start + step]
        f = np.fft.rfft(y - y.mean(axis=0), size, axis=0)
        power = np.sum(f.real**2 + f.imag**2, axis=1)
        out += np.fft.irfft(power, size, axis=0)[:t]
    return out / (n * (t - 1))


def split_r_hat(trace, *, ranked=True):
    r"""How much wider all chains together are than each by itself, for each dimension: near 1 where they have mixed.

    .. math:: \hat R = \sqrt{\frac{\frac{t - 1}{t} W + B}{W}}

    with W the mean variance within half chains and B the variance of their means.

    Parameters
    ----------
    trace : (t, n, d) array
        t draws of n chains, as `Chains.trace`.
    ranked : bool
        Take normal scores of the ranks instead of the draws, which heavy tails cannot hide from, and the larger of the
        numbers for the draws and for their distances from the median, which shows chains of different width. False gives
        Gelman and Rubin's number of the split chains.

    Returns
    -------
    r_hat : (d,) array
        Vehtari et al. advise to stop below 1.01. nan where the trace is constant.

    Raises
    ------
    ValueError
        If trace is not (t, n, d) with t >= 4 and n >= 1.

    Source: Vehtari et al. (2021), Bayesian Anal. 16:667-718, equations 3, 4 and 14.
    Test: test_langevin.py::test_r_hat_sees_other_places_other_widths_and_drifts
    """
    x = _halves("split_r_hat", trace)
    if not ranked:
        return _r_hat(x)
    folded = np.abs(x - np.median(x, axis=(0, 1)))
    return np.maximum(_r_hat(_normal_scores(x)), _r_hat(_normal_scores(folded)))


def _r_hat(x):
    within, total = _within_and_total(x)
    moving = within > 0
    return np.where(moving, np.sqrt(total / np.where(moving, within, 1)), np.nan)


def _normal_scores(x):
    """Normal quantiles of the ranks, per dimension; equal draws share their mean rank."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    flat = x.reshape(-1, x.shape[2])
    return ndtri((rankdata(flat, axis=0) - 0.375) / (len(flat) + 0.25)).reshape(x.shape)


# ------------------------------------------------------------------------------- samples against a score


class Statistic(NamedTuple):
    """A statistic and its p value, nan if no test was asked for; bandwidth: of the kernel, [x], None where there is none."""

    value: float
    p_value: float
    bandwidth: float | None = None


# phi, phi', phi'' of k(x, y) = phi(|x - y|^2 / h^2)
def _imq(t):
    phi = 1 / np.sqrt(1 + t)
    return phi, -0.5 * phi**3, 0.75 * phi**5


def _gaussian(t):
    phi = np.exp(-0.5 * t)
    return phi, -0.5 * phi, 0.25 * phi


KERNELS = {"imq": _imq, "gaussian": _gaussian}


def stein_kernel(x, score_x, y, score_y, *, kernel="imq", bandwidth=1.0):
    r"""The Stein kernel u of every pair of rows of x and y: its mean over y ~ p is 0 for every x.

    .. math:: u(x, y) = s(x)^T s(y)\, k + s(x)^T \nabla_y k + s(y)^T \nabla_x k + \mathrm{tr}\, \nabla_x \nabla_y^T k

    Parameters
    ----------
    x : (n, d) array, [x]
    score_x : (n, d) array, 1/[x]
    y, score_y : (m, d) arrays
    kernel : "imq" or "gaussian"
        k = (1 + r^2/h^2)^(-1/2), whose discrepancy controls weak convergence for distantly
        dissipative targets (a log density that falls like a square far out; Gorham & Mackey 2017), or exp(-r^2 / (2 h^2)), r = |x - y|.
    bandwidth : positive float, h, [x]

    Returns
    -------
    u : (n, m) array, 1/[x]^2

    Source: Liu, Lee & Jordan (2016), ICML; Gorham & Mackey (2017), ICML, for the IMQ kernel.
    Test: test_diagnostics.py::test_the_stein_kernel_by_differences
    """
    from scipy.spatial.distance import cdist

    if kernel not in KERNELS:
        raise ValueError(f"stein_kernel: kernel is {kernel!r}, expected {' or '.join(map(repr, KERNELS))}.")
    h, d = positive("stein_kernel", "bandwidth", bandwidth), x.shape[1]
    t = cdist(x, y, "sqeuclidean") / h**2
    phi, d1, d2 = KERNELS[kernel](t)
    origin = y.mean(axis=0)  # so that nothing cancels far from 0
    a, b = x - origin, y - origin
    along = np.sum(a * score_x, axis=1)[:, None] + np.sum(b * score_y, axis=1) - a @ score_y.T - score_x @ b.T
    return phi * (score_x @ score_y.T) - 2 / h**2 * (d1 * (along + d) + 2 * d2 * t)


def kernel_stein_discrepancy(
    target,
    x,
    *,
    kernel="imq",
    bandwidth=None,
    statistic="u",
    bootstrap="multinomial",
    n_bootstrap=0,
    flip=0.5,
    rng=None,
):
    r"""Kernel Stein discrepancy of samples from a target that is known by its score, squared, with a bootstrap test.

    .. math:: \mathrm{KSD}^2 = E\, u(x, x'), \qquad
        \hat U = \frac{1}{n (n - 1)} \sum_{i \ne j} u(x_i, x_j), \qquad \hat V = \frac{1}{n^2} \sum_{i, j} u(x_i, x_j)

    Zero for samples of the target, positive for others. As the score does not know the weights of far modes, neither does
    this number: it does not see that one of two far modes was missed.

    Parameters
    ----------
    target : anything with score(x)
    x : (n, d) array, n >= 2, [x]
    kernel : "imq" or "gaussian"
        See `stein_kernel`.
    bandwidth : positive float, optional, [x]
        Default: the median distance of two rows, of the first 1000.
    statistic : "u" or "v"
        Unbiased, may be negative; or biased by E u(x, x) / n, never negative.
    bootstrap : "multinomial" or "wild"
        Weights of the test: counts of resampling, for independent rows; or random signs that flip along the rows with
        probability `flip`, for the states of one chain (a small flip keeps signs about as long as the chain remembers).
    n_bootstrap : int
        Resampled statistics; 0 for no test. p = (1 + how many are not below the observed) / (1 + n_bootstrap).
    flip : float in (0, 1/2]
        1/2 for independent rows.
    rng : seed or numpy.random.Generator

    Returns
    -------
    Statistic
        value is KSD^2, 1/[x]^2.

    Raises
    ------
    ValueError
        If x has fewer than two different rows, or an option is unknown.

    Source: Liu, Lee & Jordan (2016), ICML, statistic and multinomial bootstrap; Chwialkowski, Strathmann & Gretton
    (2016), ICML, the wild one.
    Test: test_diagnostics.py::test_the_level_of_the_tests
    """
    where = "kernel_stein_discrepancy"
    x, B = samples(where, x), count(where, "n_bootstrap", n_bootstrap, least=0)
    n = len(x)
    if n < 2 or statistic not in ("u", "v"):
        raise ValueError(
            f"{where}: x has {n} rows and statistic is {statistic!r}, expected at least 2, and 'u' or 'v'."
        )
    score = np.asarray(score_of(where, target, x), float)
    x = x.astype(float, copy=False)
    h = _median_distance(where, x) if bandwidth is None else positive(where, "bandwidth", bandwidth)
    weights = _weights(where, bootstrap, B, n, flip, generator(where, rng))
    total, diagonal, resampled, squares = 0.0, np.empty(n), np.zeros(B), weights**2
    for at in _blocks(n):
        u = stein_kernel(x[at], score[at], x, score, kernel=kernel, bandwidth=h)
        diagonal[at] = u[np.arange(len(u)), np.arange(n)[at]]
        total += u.sum()
        resampled += np.einsum("bn,bn->b", weights[:, at] @ u, weights)
    pairs = n**2
    if statistic == "u":
        total, resampled, pairs = total - diagonal.sum(), resampled - squares @ diagonal, n * (n - 1)
    return Statistic(float(total / pairs), _p_value(total, resampled), h)


def _weights(where, bootstrap, B, n, flip, rng):
    """(B, n) weights of mean 0 and variance 1: counts minus one, or signs that flip."""
    if bootstrap == "multinomial":
        return rng.multinomial(n, np.full(n, 1 / n), size=B) - 1.0
    if bootstrap != "wild" or not 0 < flip <= 0.5:
        raise ValueError(
            f"{where}: bootstrap is {bootstrap!r} and flip {flip!r}, expected 'multinomial' or 'wild', and a number in (0, 1/2]."
        )
    flips = rng.random((B, n)) < flip
    flips[:, 0] = rng.random(B) < 0.5
    return 1.0 - 2.0 * (np.cumsum(flips, axis=1) % 2)


def _p_value(observed, resampled):
    """The share of statistics that are not below the observed one, itself among them; nan without any."""
    return float((1 + np.sum(resampled >= observed)) / (1 + len(resampled))) if len(resampled) else math.nan


def _median_distance(where, x):
    """Median distance of two rows, of the first 1000."""
    from scipy.spatial.distance import pdist

    apart = pdist(x[:1000])
    if not apart.max() > 0:
        raise ValueError(f"{where}: all rows of x are equal, expected a spread; pass a bandwidth.")
    return float(np.median(apart[apart > 0]))


def _blocks(n):
    """Slices of n rows against n columns."""
    step = max(1, ROWS // n)
    return [slice(start, min(n, start + step)) for start in range(0, n, step)]


# ------------------------------------------------------------------------------- samples against samples


def energy_distance(x, y, *, n_permutations=0, rng=None):
    r"""Energy distance of two samples, with a permutation test that needs nothing but exchangeability.

    .. math:: 2 E|X - Y| - E|X - X'| - E|Y - Y'|

    as means over all pairs, a row and itself included: a V-statistic, never negative, and 0 where the samples are the same. For two
    samples of one distribution its expectation is not 0 but (1/n + 1/m) E|X - X'|; the limit for large n and m is 0 only where the
    distributions are the same. The test needs no such correction.

    Parameters
    ----------
    x, y : (n, d) and (m, d) arrays, n, m >= 2, [x]
        Standardise columns of different units by the same numbers first.
    n_permutations : int
        0 for no test. p = (1 + how many are not below the observed) / (1 + n_permutations), exact at every n and m.
    rng : seed or numpy.random.Generator

    Returns
    -------
    Statistic
        value in [x].

    Raises
    ------
    ValueError
        If the samples are of different dimension, or one has fewer than two rows.

    Source: Szekely & Rizzo (2013), J. Statist. Plann. Inference 143:1249-1272; Baringhaus & Franz (2004), J. Multivariate Anal.
    88:190-206.
    Test: test_diagnostics.py::test_energy_distance_by_its_definition
    """
    from scipy.spatial.distance import cdist

    where = "energy_distance"
    x, y = samples(where, x), samples(where, y, name="y")
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            f"{where}: x has shape {x.shape} and y {y.shape}, expected (n, d) and (m, d), n and m at least 2."
        )
    pooled, n, N = np.concatenate([x, y]).astype(float), len(x), len(x) + len(y)
    member = np.zeros((N, 1 + count(where, "n_permutations", n_permutations, least=0)))  # 1 for rows that play x
    member[:n] = 1
    member[:, 1:] = generator(where, rng).permuted(member[:, 1:], axis=0)
    sums = np.zeros((3, member.shape[1]))  # of distances within x, between, within y
    for at in _blocks(N):
        D = cdist(pooled[at], pooled)
        to_x = D @ member
        to_y = D.sum(axis=1)[:, None] - to_x
        mine = member[at]
        sums += [(mine * to_x).sum(axis=0), (mine * to_y).sum(axis=0), ((1 - mine) * to_y).sum(axis=0)]
    m = N - n
    within_x, between, within_y = sums / [[n * n], [n * m], [m * m]]
    values = 2 * between - within_x - within_y
    # equal up to rounding counts as equal: relabelling equal rows must not decide
    tie = 64 * np.finfo(float).eps * between[0]
    return Statistic(float(values[0]), _p_value(values[0] - tie, values[1:]))
