r"""Gaussian noise: samples with noise on them, levels to choose from, and what a level brings and costs.

.. math:: q_\sigma = p * N(0, \sigma^2 I)

Noise fills space, so that a score is defined, and learned, where there were no samples (`coverage`); it brings far modes in
sight of each other (`visibility`); and it moves the density that is learned away from the one that was meant (`bias`). The
last can be measured against the perturbed empirical density as well, and then has an optimum between too little noise,
which learns the samples, and too much, which forgets them.
"""

import math
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..common.inputs import column, count, deviations, generator, positive, samples
from ..common.names import having
from ..numerics.quadrature import Frame, Integral, expectation
from .closed_forms import Parzen
from .parameters import box as ends

ROWS = 2048  # rows whose distances to all others are taken
DISTANCES = 4_000_000  # held at once
STEEPEST = 1.5  # largest ratio of neighbouring levels


def perturb(x, sigma, *, rng=None):
    r"""Samples with Gaussian noise on them, and the unit noise itself.

    .. math:: \tilde x = x + \sigma \epsilon, \qquad \epsilon \sim N(0, I)

    Parameters
    ----------
    x : (n, d) array, [x]
    sigma : positive scalar or (n,) array, [x]
        A standard deviation; one per sample for several levels at once.
    rng : seed or numpy.random.Generator

    Returns
    -------
    x_noisy, eps : (n, d) arrays, [x] and without unit
        The target of denoising score matching is -eps / sigma. In the dtype of x; float64 for integers.

    Raises
    ------
    ValueError
        If sigma is not positive, or its shape is neither () nor (n,).

    Source: Vincent (2011), Neural Computation 23:1661-1674.
    Test: test_noise.py::test_noise_is_what_was_added
    """
    x = samples("perturb", x)
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(float)
    real = np.empty(0, dtype).real.dtype
    sigma = deviations("perturb", "sigma", sigma, ((), (len(x),)), real)
    eps = generator("perturb", rng).standard_normal(x.shape).astype(real)
    return x + column(sigma) * eps, eps


# ------------------------------------------------------------------------------- levels


def geometric_levels(sigma_max, sigma_min, n):
    r"""n noise levels in geometric progression, from the largest down.

    .. math:: \sigma_i = \sigma_{\max} (\sigma_{\min} / \sigma_{\max})^{i / (n - 1)}, \qquad i = 0 \ldots n - 1

    Parameters
    ----------
    sigma_max, sigma_min : positive floats, sigma_max > sigma_min, [x]
    n : int, at least 2

    Returns
    -------
    sigmas : (n,) array, decreasing; both ends exactly as given

    Source: Song & Ermon (2019), NeurIPS 32, section 4.1.
    Test: test_noise.py::test_levels_end_where_they_should_and_step_as_they_say
    """
    high, low, n = _range("geometric_levels", sigma_max, sigma_min, n)
    return np.geomspace(high, low, n)


def cosine_levels(sigma_max, sigma_min, n, *, scale=1.0):
    r"""n noise levels at equal steps of the angle between signal and noise, from the largest down.

    .. math:: \sigma_i = s \tan\theta_i, \qquad
        \frac{\tilde x}{\sqrt{s^2 + \sigma^2}} = \cos\theta \, \frac xs + \sin\theta \, \epsilon

    for data of standard deviation s, with theta_i equally spaced from arctan(sigma_max / s) to arctan(sigma_min / s). More
    levels lie near s, where signal and noise are of one size, than in a geometric progression, and fewer at both ends.

    Parameters
    ----------
    sigma_max, sigma_min : positive floats, sigma_max > sigma_min, [x]
    n : int, at least 2
    scale : positive float, [x]
        Standard deviation s of the data; 1 for standardised ones.

    Returns
    -------
    sigmas : (n,) array, decreasing; both ends exactly as given

    Source: Nichol & Dhariwal (2021), ICML, arXiv:2102.09672, section 3.2: their share of signal in the variance is
    cos^2(theta); their offset, which keeps theta from 0, is here sigma_min.
    Test: test_noise.py::test_levels_end_where_they_should_and_step_as_they_say
    """
    high, low, n = _range("cosine_levels", sigma_max, sigma_min, n)
    s = positive("cosine_levels", "scale", scale)
    sigmas = s * np.tan(np.linspace(math.atan(high / s), math.atan(low / s), n))
    sigmas[0], sigmas[-1] = high, low
    return sigmas


def _range(where, sigma_max, sigma_min, n):
    high, low = positive(where, "sigma_max", sigma_max), positive(where, "sigma_min", sigma_min)
    if not high > low:
        raise ValueError(f"{where}: sigma_max is {high} and sigma_min {low}, expected sigma_max > sigma_min.")
    return high, low, count(where, "n", n, least=2)


def suggest_levels(x, n=None, *, rows=ROWS, rng=0):
    r"""Noise levels that suit the data: geometric, from the largest distance between rows down to their spacing.

    - sigma_max, the largest distance of two rows: at this level a sample may come from any of them.
    - sigma_min, the median distance r of a row to its nearest neighbour over 2 sqrt(d): such noise moves a row, root mean
      square, half way to its neighbour. Rows that are equal are one row, so rounded data are not followed below their grid.
    - the ratio of neighbouring levels, sqrt(2 d) / (sqrt(2 d) - 3) where that lies between 1 and 1.5, else 1.5: with it half
      of the noise at one level has a length that the level above reaches too.

    Parameters
    ----------
    x : (n, d) array, [x], with at least two different rows
        Standardise columns of different units first.
    n : int, optional
        Number of levels, at least 2, in place of the third rule.
    rows : int
        Where x has more rows than this, distances are taken from so many of them, drawn at random, to all of x: the spacing is
        then an estimate, and the largest distance a lower bound, at least half the true one and hardly ever off by much.
        Memory is bounded by blocks, time grows as rows * n * d.
    rng : seed or numpy.random.Generator
        Of that draw. The default, 0, makes the suggestion a function of the data alone.

    Returns
    -------
    sigmas : (L,) array, decreasing, float64, [x]

    Raises
    ------
    ValueError
        If fewer than two rows of x differ.

    Source: Song & Ermon (2020), NeurIPS 33, arXiv:2006.09011, Techniques 1 and 2; the rule for sigma_min is ours.
    Test: test_noise.py::test_suggested_levels_follow_their_rules
    """
    x = samples("suggest_levels", x).astype(float, copy=False)
    rows, chosen = count("suggest_levels", "rows", rows), x
    if len(x) > rows:
        chosen = x[generator("suggest_levels", rng).choice(len(x), rows, replace=False)]
    farthest, nearest = _distances(chosen, x)
    if not farthest.max(initial=0.0) > 0:
        raise ValueError(
            f"suggest_levels: x has shape {x.shape} and no two different rows, expected a spread to take levels from."
        )
    d = x.shape[1]
    high, low = farthest.max(), np.median(nearest[np.isfinite(nearest)]) / (2 * math.sqrt(d))
    if n is None:
        root = math.sqrt(2 * d)
        ratio = min(STEEPEST, root / (root - 3)) if root > 3 else STEEPEST
        n = 1 + math.ceil(math.log(high / low) / math.log(ratio))
    return geometric_levels(high, low, n)


def _distances(chosen, x):
    """Of each chosen row: the largest distance to a row of x, and the smallest that is not 0 (inf if there is none)."""
    from scipy.spatial.distance import cdist

    farthest, nearest = np.zeros(len(chosen)), np.full(len(chosen), np.inf)
    step = max(1, DISTANCES // max(1, len(chosen)))
    for start in range(0, len(x), step):
        D = cdist(chosen, x[start : start + step])
        farthest = np.maximum(farthest, D.max(axis=1))
        D[D == 0] = np.inf
        nearest = np.minimum(nearest, D.min(axis=1))
    return farthest, nearest


# ------------------------------------------------------------------------------- what a level brings


def noisy(source, sigma):
    """q_sigma of a density that is closed under noise, `source.perturbed(sigma)`, or of rows of data, `Parzen(data, sigma)`.

    Parameters
    ----------
    source : Gaussian, GaussianMixture, Parzen, or anything with `perturbed`; or an (n, d) array of samples
    sigma : positive float, [x]
    """
    return source.perturbed(sigma) if hasattr(source, "perturbed") else Parzen(source, sigma)


class Coverage(NamedTuple):
    """Share of a box that noisy samples reach, its standard error, and the log density where the reach ends."""

    share: float
    error: float
    threshold: float


def coverage(source, sigma, box, *, mass=0.99, n=20_000, rng=0):
    r"""How much of a box the noisy samples reach: the probability that a uniform start there lands where a score was learned.

    .. math:: \Pr_{x \sim U(\mathrm{box})}[\, q_\sigma(x) \ge t \,], \qquad
        \Pr_{x \sim q_\sigma}[\, q_\sigma(x) \ge t \,] = \mathrm{mass}

    The set {q_sigma >= t} is the smallest that holds this mass of q_sigma. A score matching loss is a mean under q_sigma, so
    outside that set, where only a share 1 - mass of the training samples falls, hardly anything says what the score is.
    Rescaling x, box and sigma together changes nothing.

    Parameters
    ----------
    source : density with `perturbed`, or (n, d) array of samples
        See `noisy`.
    sigma : positive float, [x]
    box : (d, 2) array of lower and upper ends, [x], finite
        The starts: for Song & Ermon's toy [-8, 8] on both axes.
    mass : float between 0 and 1
    n : int
        Starts, and noisy samples for the threshold.
    rng : seed or numpy.random.Generator
        One seed for all sigma compares levels on common random numbers.

    Returns
    -------
    Coverage
        share and its standard error, which holds the sampling error of starts and of the threshold log t.

    Raises
    ------
    ValueError
        If the box is not finite or not (d, 2), or mass is not between 0 and 1.

    Source: the smallest set of given probability, Hyndman (1996), The American Statistician 50:120-126.
    Test: test_noise.py::test_coverage_of_a_gaussian_is_that_of_an_interval
    """
    q, rng, n = noisy(source, sigma), generator("coverage", rng), count("coverage", "n", n, least=100)
    if not 0 < mass < 1:
        raise ValueError(f"coverage: mass is {mass}, expected a number between 0 and 1, such as 0.99.")
    if np.shape(box) != (q.dim, 2):
        raise ValueError(
            f"coverage: box has shape {np.shape(box)}, expected ({q.dim}, 2), lower and upper ends per axis."
        )
    low, high = np.transpose(box)
    low, high = ends("coverage", low, high, q.dim).T
    if not np.isfinite([low, high]).all():
        raise ValueError("coverage: the box has an infinite end; a uniform start needs a finite box.")
    inside = q.logpdf(q.sample(n, rng=rng))
    at_start = q.logpdf(rng.uniform(low, high, (n, q.dim)))
    slack = math.sqrt(mass * (1 - mass) / n)  # standard error of the probability at which the quantile is taken
    t, *around = np.quantile(inside, np.clip([1 - mass, 1 - mass - slack, 1 - mass + slack], 0, 1))
    share, more, less = (float(np.mean(at_start >= level)) for level in (t, *around))
    error = math.hypot(math.sqrt(max(share * (1 - share), 1 / n) / n), 0.5 * (more - less))
    return Coverage(share, error, float(t))


# ------------------------------------------------------------------------------- what a level costs


def fisher_divergence(p, q, *, rtol=1e-10):
    r"""Explicit score matching loss of q under p, as an integral with an estimate of its error; dimension 1, 2 or 3.

    .. math:: J_E(p, q) = \tfrac12 E_p |\nabla \log p - \nabla \log q|^2

    Parameters
    ----------
    p : density with logpdf and score
    q : density, or anything with a score
    rtol : float
        Accuracy asked of the quadrature, see `expectation`.

    Returns
    -------
    Integral, 1/[x]^2

    Notes
    -----
    Other authors call twice this number, without the 1/2, the Fisher divergence.

    Source: Hyvarinen (2005), JMLR 6:695-709, section 2.
    Test: test_noise.py::test_divergences_of_gaussians_in_closed_form
    """
    having("fisher_divergence", "p", p, "logpdf", "score")
    having("fisher_divergence", "q", q, "score")
    return expectation(lambda x: 0.5 * np.sum((p.score(x) - q.score(x)) ** 2, axis=1), _seen(p, q), rtol=rtol)


def kl_divergence(p, q, *, rtol=1e-10):
    r"""Kullback-Leibler divergence of q from p in nats, with an estimate of its error; dimension 1, 2 or 3.

    .. math:: \mathrm{KL}(p \,|\, q) = E_p [\log p - \log q]

    Parameters
    ----------
    p, q : densities with logpdf
    rtol : float
        Accuracy asked of the quadrature, relative to E|log p - log q|.

    Returns
    -------
    Integral, nats

    Source: Kullback & Leibler (1951), Ann. Math. Statist. 22:79-86.
    Test: test_noise.py::test_divergences_of_gaussians_in_closed_form
    """
    having("kl_divergence", "p", p, "logpdf")
    having("kl_divergence", "q", q, "logpdf")
    return expectation(lambda x: p.logpdf(x) - q.logpdf(x), _seen(p, q), rtol=rtol)


def _seen(p, q):
    """p for the quadrature, with a frame whose detail is the finer one of both: q may be narrower than p anywhere."""
    frame, other = getattr(p, "frame", None), getattr(q, "frame", None)
    if frame is None or other is None:
        return p
    finest = other.detail * np.linalg.svd(other.axes, compute_uv=False).min()
    detail = min(frame.detail, finest / np.linalg.svd(frame.axes, compute_uv=False).max())
    fine = Frame(frame.center, frame.axes, frame.tail, frame.reach, detail, frame.breaks)
    return SimpleNamespace(dim=p.dim, support=p.support, logpdf=p.logpdf, frame=fine)


class Bias(NamedTuple):
    """Fisher divergence, 1/[x]^2, and Kullback-Leibler divergence, nats, of the noisy density from the clean one."""

    fisher: Integral
    kl: Integral


def bias(density, sigma, data=None, *, rtol=1e-10):
    r"""How far the density that noisy samples teach lies from the clean one: J_E(p, q_sigma) and KL(p | q_sigma).

    Without data, q_sigma = p * N(0, sigma^2 I): what remains of the error when samples are endless. It vanishes with sigma.
    With data, q_sigma is their Parzen density, at which a flexible network trained on these samples with this noise ends
    up: at small sigma it has learned the samples and not p, at large sigma it is the former bias, and in between lies an optimum.

    Parameters
    ----------
    density : density p of dimension 1, 2 or 3
    sigma : positive float, [x]
    data : (n, d) array, optional
        Samples of p.
    rtol : float
        See `fisher_divergence`.

    Returns
    -------
    Bias

    Source: Vincent (2011), Neural Computation 23:1661-1674: denoising learns the Parzen density.
    Test: test_noise.py::test_bias_on_data_has_an_optimum_inside
    """
    q = noisy(density if data is None else data, sigma)
    return Bias(fisher_divergence(density, q, rtol=rtol), kl_divergence(density, q, rtol=rtol))


def visibility(p, q, sigma, *, rtol=1e-10):
    r"""How much of the difference between two densities their scores show through noise.

    .. math:: J_E(p_\sigma, q_\sigma) = \tfrac12 E_{p_\sigma} |\nabla \log p_\sigma - \nabla \log q_\sigma|^2

    Wrong weights of far modes are invisible without noise, as the score of a mixture does not depend on them where one mode
    alone has mass; noise that lets the modes overlap shows them, and more noise than that blurs them again.

    Parameters
    ----------
    p, q : densities with `perturbed`, dimension 1, 2 or 3
    sigma : positive float, [x]
    rtol : float
        See `fisher_divergence`.

    Returns
    -------
    Integral, 1/[x]^2
        The derivative of -KL(p_sigma | q_sigma) in sigma^2.

    Source: Lyu (2009), UAI, arXiv:1205.2629, for the derivative.
    Test: test_noise.py::test_blindness_and_its_cure_with_the_numbers_of_the_derivation
    """
    return fisher_divergence(noisy(p, sigma), noisy(q, sigma), rtol=rtol)
