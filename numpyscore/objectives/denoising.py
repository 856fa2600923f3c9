"""Denoising score matching, at one noise level or several: the score of the perturbed density, and no trace."""

import functools

import numpy as np

from ..common.inputs import column, deviations, generator, numeric, samples
from .arguments import (
    beside,
    level_indices,
    level_noise,
    level_weights,
    network,
    one_source,
    seed_from,
    working_dtype,
)
from .implicit import half
from .loss import Objective, half_square, of_samples, sample_weights, weighted_sum


def denoising(model, x, sigma, *, rng=None, noise=None, weights=None, gradient=True):
    r"""Denoising score matching: the score of the data plus Gaussian noise (the gradient of log p_sigma in x), no trace.

    .. math:: \ell = \tfrac12 \lvert s(\tilde x) + \varepsilon / \sigma \rvert^2, \qquad
        \tilde x = x + \sigma \varepsilon, \quad \varepsilon \sim N(0, I)

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
        A conditional network is told sigma.
    x : (n, d) array, n >= 1
        Clean samples.
    sigma : scalar or (n,) array, [x]
        Standard deviation of the noise, positive.
    rng : seed or numpy.random.Generator
        Draws one eps per sample when the loss is made.
    noise : (n, d) array
        The eps themselves, of unit variance, instead of rng.
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean over the noise is that of `explicit` on the perturbed density q, plus the constant
        1/2 (d/sigma^2 - E_q |grad log q|^2); exactly so for finitely many samples, with q their `Parzen` density.

    Raises
    ------
    ValueError
        If sigma is not positive, noise has another shape than x, or rng and noise are both given.

    Notes
    -----
    The target of s is -eps/sigma = (x - x~)/sigma^2. Other conventions: a network that predicts the noise has
    eps_theta = -sigma s, and its loss |eps_theta - eps|^2 is 2 sigma^2 times this one; a target -eps belongs to sigma s; a
    target (x - x~) to sigma^2 s; the mean over dimensions is this divided by d. ncsn's `anneal_dsm_score_estimation`
    multiplies by sigma^anneal_power, 2 by default: see `multilevel_denoising`; a loss on sigma^2 s carries sigma^4.

    Source: Vincent (2011), Neural Comput. 23:1661-1674.
    """
    where = "denoising"
    network(where, model, x)
    x = samples(where, x, model.dim)
    real, shares = working_dtype(model, x), sample_weights(where, weights, len(x))
    sigma = deviations(where, "sigma", sigma, ((), (len(x),)), real)
    if noise is None:
        noise = generator(where, rng).standard_normal(x.shape)
    else:
        one_source(where, rng, "noise")
        noise = beside(where, "noise", noise, x, model, "one eps per entry of x")
    return _denoising(where, model, x, sigma, noise.astype(real, copy=False), shares, gradient)


def multilevel_denoising(
    model, x, sigmas, *, weight="sigma2", rng=None, noise=None, level=None, weights=None, gradient=True
):
    r"""Denoising score matching at several noise levels at once: what a noise-conditional network is trained on.

    .. math:: \ell = \frac1L \sum_k \lambda(\sigma_k)\, \tfrac12 \lvert s(\tilde x_k; \sigma_k) + \varepsilon_k / \sigma_k \rvert^2,
        \qquad \tilde x_k = x + \sigma_k \varepsilon_k

    With ``level`` each sample is seen at one level only: one term instead of the mean over L.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
        A conditional network is told sigma; another one has to do for all levels.
    x : (n, d) array, n >= 1
        Clean samples.
    sigmas : (L,) array, [x]
        The levels, positive standard deviations, in any order.
    weight : "sigma2", "one" or callable
        lambda: sigma^2 gives every level about the same size; 1; or a function of (L,) sigmas that returns (L,) weights >= 0.
    rng : seed or numpy.random.Generator
        Draws one eps per sample and level; not the levels, so that they are yours to choose:
        ``level=rng.integers(L, size=n)``.
    noise : (L, n, d) or (n, d) array
        The eps themselves instead of rng; (n, d) uses the same at every level.
    level : int or (n,) array of int
        Index into sigmas for each sample.
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units [lambda]/[x]^2: a pure number for sigma^2.

    Raises
    ------
    ValueError
        If a sigma is not positive, a level out of range, the weight unknown, or negative, noise of another shape, or rng
        and noise are both given.

    Notes
    -----
    Each term is `denoising`'s, with the 1/2. ncsn: ``anneal_power`` 2 is "sigma2", its mean over samples of the sum over
    dimensions is this loss with `level`. score_sde sums or averages over dimensions by ``reduce_mean``: the mean, without its
    1/2, is 2/d times this; its ``likelihood_weighting`` is another lambda. A noise-predicting network's mean |eps_theta - eps|^2 is
    twice this loss at "sigma2". A loss on sigma^2 s instead of s carries sigma^4.

    Source: Song & Ermon (2019), NeurIPS, arXiv:1907.05600, equations 5 and 6.
    """
    where = "multilevel_denoising"
    network(where, model, x)
    x = samples(where, x, model.dim)
    (n, d), real = x.shape, working_dtype(model, x)
    shares = sample_weights(where, weights, n)  # (n,) or None
    sigmas = numeric(where, "sigmas", sigmas)
    if sigmas.ndim != 1 or sigmas.size == 0:
        raise ValueError(f"{where}: sigmas has shape {sigmas.shape}, expected (L,), one number per level, L >= 1.")
    # levels sigma_k (L,), lambda(sigma_k) (L,)
    sigmas = deviations(where, "sigmas", sigmas, (sigmas.shape,), real)
    lam, L = level_weights(where, weight, sigmas), len(sigmas)
    # eps, given for all levels (n, d) or for each (L, n, d)
    if noise is not None:
        one_source(where, rng, "noise")
        noise = level_noise(where, noise, [(n, d)] + [(L, n, d)] * (level is None), model)
    # each sample at its own level: one denoising loss with sigma (n,)
    if level is not None:
        level = level_indices(where, level, n, L)
        if noise is None:
            noise = generator(where, rng).standard_normal(x.shape)
        eps = noise.astype(real, copy=False)
        return _denoising(where, model, x, sigmas[level], eps, shares, gradient, lam[level])
    # every sample at every level: the mean of L denoising losses
    seed = None if noise is not None else seed_from(where, rng)

    def at_level(k, gradient):
        """One level; its noise is drawn again each time, so that memory does not grow with the number of levels."""
        eps = np.random.default_rng((seed, k)).standard_normal((n, d)) if seed is not None else noise
        eps = (eps if eps.ndim == 2 else eps[k]).astype(real, copy=False)
        return _denoising(where, model, x, sigmas[k], eps, shares, gradient)

    parts = [(lam[k] / L, functools.partial(at_level, k)) for k in range(L)]
    return weighted_sum(parts, shares, gradient, where)


def _denoising(where, model, x, sigma, noise, shares, gradient, lam=None):
    """The Loss lambda/2 |s(x + sigma eps) + eps/sigma|^2 for checked arguments."""
    noisy, target = x + column(sigma) * noise, -noise / column(sigma)
    points = model.points(where, noisy, sigma if model.conditional else None)

    def local(at, score):
        """lambda/2 |s - target|^2 and its cotangent lambda (s - target)."""
        off = score - target[at].astype(score.dtype, copy=False)
        if lam is None:
            return half_square(off), off
        w = lam[at].astype(score.dtype)
        return w * half_square(off), w[:, None] * off

    return of_samples(where, model, points, local, weights=shares, gradient=gradient)


def _right(q, s):
    """lambda/2 (|t|^2 - 2 s.t + |s|^2) with the target t = -shift / sigma^2."""
    target = -q.shift / q.sigma**2
    return q.weight * half(target), q.weight * -np.sum(s * target, -1), q.weight * half(s)


DENOISING = Objective(
    denoising,
    linear="product with the noise",
    right=_right,
    takes=("sigma", "noise", "alpha", "t"),
    first=1,
    losses=lambda net, x, given, told: {
        "denoising": denoising(net, x, given["noise_sigma"], noise=given["noise"]),
    },
    exact=lambda q: {"denoising": q.denoising(q.noise, q.noise_sigma)},
    aliases=("dsm",),
)

MULTILEVEL_DENOISING = Objective(
    multilevel_denoising,
    linear="product with the noise",
    right=_right,
    takes=("sigmas", "noise", "level", "alphas"),
    first=1,
    losses=lambda net, x, given, told: {
        "multilevel_denoising": multilevel_denoising(net, x, given["level_sigmas"], noise=given["level_noise"]),
    },
    exact=lambda q: {"multilevel_denoising": q.mean([q.denoising(eps, level) * level**2 for level, eps in q.levels])},
    aliases=("multilevel",),
)
