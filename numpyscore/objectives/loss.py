r"""Losses that fit a score: local functions of score, trace and curvature, each beside its cotangents.

Score means the gradient of log p in x. Conventions, everywhere: 1/2 in front of the square, sum over dimensions, mean
over samples, probes v with E[v v^T] = I, noise eps ~ N(0, I) scaled by sigma, a standard deviation. An objective knows no
network: it says what a sample contributes and how that moves with the score, and the model's one pullback turns this
into the gradient in theta. Every one of them works for both kinds of network, conditional on a noise level or not. The same
losses of arrays from elsewhere, and the weights of supports with a boundary, are in `losses`.
"""

import functools

import numpy as np

from ..common.inputs import column, deviations, finite, generator, half_square, numeric, samples
from ..networks.schedule import SAMPLES
from .arguments import (
    beside,
    clean,
    difference_step,
    level_indices,
    level_weights,
    one_source,
    probe_draws,
    ready,
    real_as,
    seed_from,
    working_dtype,
)
from .arrays import energy_curvature

NUMBERS = 1 << 20  # in the directions of one block


class Loss:
    """A mean over samples: `value`, `per_sample` (n,), and `gradient` (p,), each computed when first read.

    Reading `gradient` first computes everything at once; reading `value` first never computes a gradient. Noise and probes
    are fixed when the loss is made, so that value and gradient see the same ones. The samples are not copied: an x changed
    in place before a quantity is first read changes that quantity. float(loss) is its value. ``value`` is complex if the
    parameters are: complex steps pass through.
    """

    def __init__(self, compute):
        self._compute = compute

    @functools.cached_property
    def _both(self):
        return self._compute(True)

    @functools.cached_property
    def per_sample(self):
        """Loss of each sample (n,)."""
        return self._both[0] if "_both" in self.__dict__ else self._compute(False)[0]

    @functools.cached_property
    def value(self):
        """Mean of `per_sample`."""
        return self.per_sample.mean()

    @property
    def gradient(self):
        """Gradient of `value` in theta (p,), in its order."""
        return self._both[1]

    def __float__(self):
        return float(self.value)

    def __repr__(self):
        return f"Loss(value={self.value!r}, n={len(self.per_sample)})"


# ------------------------------------------------------------------------------- how a loss meets a network


def _visit(where, model, x, sigma, local, gradient, *, trace=False, rows=None, share=1.0):
    """One sweep: what each sample contributes (n,), and the gradient of the mean (or None).

    ``local`` is given a slice of the samples and their score (n, d); it returns its term (n,) and that term's cotangent
    of the score (n, d). To the term come the trace, or ``share`` times the sum of the curvatures v^T J v along ``rows``, a
    function of (slice, d, dtype) that returns directions (m, n, d).
    """
    terms = {}  # by first sample: lanes come in any order

    def bars(at, here):
        term, score_bar = local(at, here["score"])
        terms[at.start] = term
        if not gradient:
            return None
        n = term.dtype.type(len(x))
        return {"score": score_bar / n, "trace": np.full(term.shape, 1 / n)} | (
            {} if rows is None else {"curvature": np.full((m, len(term)), share / n, term.dtype)}
        )

    m = 0 if rows is None else len(rows(slice(0, 0), model.dim, np.dtype(float)))
    out, theta_bar = model._sweep(where, x, sigma, trace=trace, curvature=rows, local=bars, gradient=gradient)
    per_sample = np.concatenate([terms[start] for start in sorted(terms)])
    if trace:
        per_sample = per_sample + out["trace"]
    if rows is not None:
        per_sample = per_sample + share * out["curvature"].sum(0)
    return per_sample, theta_bar


def _weighted_sum(parts):
    """The Loss sum_k w_k loss_k of (w_k, compute_k), a part at a time: levels, or groups of directions."""

    def compute(gradient):
        value, theta_bar = 0, 0 if gradient else None
        for weight, part in parts:
            term, bar = part(gradient)
            value = value + weight * term
            if gradient:
                theta_bar = theta_bar + weight * bar
        return value, theta_bar

    return Loss(compute)


def _groups(model, n, m):
    """Slices of m directions per sample, so few at once that those of a block of samples fit in memory."""
    width = max(b for _, (b,) in model._shapes[:-1])
    block = max(1, min(n, max(16, min(SAMPLES // width, NUMBERS // model.dim))))
    size = max(1, NUMBERS // (block * max(width, model.dim)))
    return [slice(start, min(m, start + size)) for start in range(0, m, size)]


def _squared_score(at, score):
    """1/2 |s|^2 and its cotangent."""
    return half_square(score), score


def _distance(target, weight=None):
    """The local function w/2 |s - target|^2, and its cotangent."""

    def local(at, score):
        off = score - target[at].astype(score.dtype, copy=False)
        if weight is None:
            return half_square(off), off
        w = weight[at].astype(score.dtype)
        return w * half_square(off), w[:, None] * off

    return local


# ------------------------------------------------------------------------------- explicit, implicit


def explicit(model, x, target_score, *, sigma=None):
    r"""Explicit score matching: half the squared distance to a known score (the gradient of log p in x).

    .. math:: \ell(x) = \tfrac12 \lvert s(x) - s_0(x) \rvert^2

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
    x : (n, d) array, n >= 1
    target_score : (n, d) array, 1/[x]
        Score of the data density s_0 at the same points: `density.score(x)`.
    sigma : scalar or (n,) array, the noise level a conditional network is told

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean under the data density is half the Fisher divergence.

    Raises
    ------
    ValueError
        If target_score has another shape than x, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Without the 1/2 (as in some papers) multiply by 2; a mean over dimensions is this divided by d.

    Source: Hyvarinen (2005), JMLR 6:695-709, equation 2.
    """
    x = samples("explicit", x, model.dim)
    target = beside("explicit", "target_score", target_score, x, model, "one score per sample")
    x, sigma = ready("explicit", model, x, sigma)
    return Loss(functools.partial(_visit, "explicit", model, x, sigma, _distance(target)))


def implicit(model, x, *, sigma=None):
    r"""Implicit score matching: needs samples only, no score of the data (the gradient of log p in x).

    .. math:: \ell(x) = \tfrac12 \lvert s(x) \rvert^2 + \mathrm{tr}\, \partial_x s(x)

    The trace is exact, at min(d, n_1) tangent rows for an `EnergyMLP` and free of d for a `ScoreMLP`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    sigma : scalar or (n,) array, the noise level a conditional network is told

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean is that of `explicit` minus half the Fisher information of the data, provided that the
        boundary term p s vanishes; so it may be negative, and differences between models are Fisher divergences.

    Raises
    ------
    ValueError
        If the activation is not twice differentiable, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Written with tr + |s|^2/2 everywhere; where a source drops the 1/2 and doubles the trace, that is twice this loss.
    A mean over dimensions is this divided by d. On finitely many samples a flexible network has no minimum: the trace
    runs to minus infinity at the samples. Where the data's density does not vanish at the boundary of its support, use
    `generalised`.

    Source: Hyvarinen (2005), JMLR 6:695-709, Theorem 1.
    """
    x, sigma = ready("implicit", model, x, sigma, second=True)
    return Loss(functools.partial(_visit, "implicit", model, x, sigma, _squared_score, trace=True))


# ------------------------------------------------------------------------------- generalised: supports with a boundary


def generalised(model, x, h, h_prime, *, sigma=None):
    r"""Generalised score matching: for half-lines and boxes, where the data's density need not vanish at the boundary.

    .. math:: \ell(x) = \sum_i \tfrac12 h_i(x_i) s_i(x)^2 + h_i'(x_i) s_i(x) + h_i(x_i)\, \partial_i s_i(x)

    Each weight h_i >= 0 depends on x_i alone and goes to 0 at the boundary, which kills the boundary term p h s that
    plain implicit matching would be off by. The diagonal of the Jacobian costs d tangent rows sqrt(h_i) e_i, however
    narrow the network is: no collapse to n_1 rows here, unlike the trace in `implicit`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
        Samples inside the support.
    h, h_prime : callables (n, d) -> (n, d), or (n, d) arrays
        The weights at x, in any unit [h], and their derivatives, [h]/[x]. `linear_weight()`, `square_weight()`,
        `capped_weight(c)` and `box_weight(lower, upper)` return such pairs: ``generalised(model, x, *linear_weight())``.
    sigma : scalar or (n,) array, the noise level a conditional network is told

    Returns
    -------
    Loss
        Units [h]/[x]^2. Its mean is E sum_i h_i (s_i - s_0i)^2 / 2 up to a constant of the data.

    Raises
    ------
    ValueError
        If h is negative at a sample (a point outside the support), h or h_prime has another shape than x or is not finite,
        or the activation is not twice differentiable.

    Notes
    -----
    h = 1, h' = 0 is `implicit`. Hyvarinen (2007) writes h = x^2 as 2 x s + x^2 J + x^2 s^2/2 on the half-line: the same.
    Without the 1/2 and with doubled linear terms it is twice this; a mean over dimensions is this divided by d. h' is the
    derivative of h itself: where a source writes the weight as sqrt(h), square it first.

    Source: Hyvarinen (2007), Comput. Statist. Data Anal. 51:2499-2512; Yu, Drton & Shojaie (2019), JMLR 20(76).
    """
    where = "generalised"
    x, sigma = ready(where, model, x, sigma, second=True)
    call = lambda f: f(x) if callable(f) else f
    h = beside(where, "h", call(h), x, model, "one weight per entry of x")
    h_prime = beside(where, "h_prime", call(h_prime), x, model, "one derivative per entry of x")
    if (h.real < 0).any():
        i, j = np.argwhere(h.real < 0)[0]
        raise ValueError(
            f"{where}: h[{i}, {j}] is {h[i, j]} at x[{i}, {j}] = {x[i, j]}, expected h >= 0 (first bad row: {i}). The weight is "
            f"0 at the boundary of the support, so a sample where it is negative lies outside; remove such rows, or "
            f"give the weight of the support that the data have."
        )

    def visit(group, gradient):
        """The dimensions of one group: their share of the sum."""

        def local(at, score):
            s = score[:, group]
            w, w_prime = (a[at, group].astype(s.dtype, copy=False) for a in (h, h_prime))
            bar = np.zeros_like(score)
            bar[:, group] = w * s + w_prime
            return np.sum((0.5 * w * s + w_prime) * s, axis=1), bar

        def rows(at, d, dtype):
            axes = np.arange(group.start, group.stop)
            v = np.zeros((len(axes), at.stop - at.start, d), dtype)
            v[axes - group.start, :, axes] = np.sqrt(h[at, group]).T
            return v

        return _visit(where, model, x, sigma, local, gradient, rows=rows)

    groups = _groups(model, len(x), model.dim)
    return _weighted_sum([(1, functools.partial(visit, group)) for group in groups])


# ------------------------------------------------------------------------------- denoising


def denoising(model, x, sigma, *, rng=None, noise=None):
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
    x, real = clean(where, model, x)
    sigma = deviations(where, "sigma", sigma, ((), (len(x),)), real)
    if noise is None:
        noise = generator(where, rng).standard_normal(x.shape)
    else:
        one_source(where, rng, "noise")
        noise = beside(where, "noise", noise, x, model, "one eps per entry of x")
    return _denoising(where, model, x, sigma, noise.astype(real, copy=False))


def multilevel_denoising(model, x, sigmas, *, weight="sigma2", rng=None, noise=None, level=None):
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
    x, real = clean(where, model, x)
    n, d = x.shape
    sigmas = numeric(where, "sigmas", sigmas)
    if sigmas.ndim != 1 or sigmas.size == 0:
        raise ValueError(f"{where}: sigmas has shape {sigmas.shape}, expected (L,), one number per level, L >= 1.")
    sigmas = deviations(where, "sigmas", sigmas, (sigmas.shape,), real)
    weights, L = level_weights(where, weight, sigmas), len(sigmas)
    if noise is not None:
        one_source(where, rng, "noise")
        noise = numeric(where, "noise", noise)
        shapes = [(n, d)] + [(L, n, d)] * (level is None)
        if noise.shape not in shapes:
            raise ValueError(
                f"{where}: noise has shape {noise.shape}, expected {' or '.join(map(str, shapes))}, "
                f"{'one eps per sample' if level is not None else 'the same eps at each level or one per level'}."
            )
        finite(where, "noise", noise)
        real_as(where, "noise", noise, model)
    if level is not None:
        level = level_indices(where, level, n, L)
        if noise is None:
            noise = generator(where, rng).standard_normal(x.shape)
        return _denoising(where, model, x, sigmas[level], noise.astype(real, copy=False), weights[level])
    seed = None if noise is not None else seed_from(where, rng)

    def visit(k, gradient):
        """One level; its noise is drawn again each time, so that memory does not grow with the number of levels."""
        eps = np.random.default_rng((seed, k)).standard_normal((n, d)) if seed is not None else noise
        eps = (eps if eps.ndim == 2 else eps[k]).astype(real, copy=False)
        return _denoising(where, model, x, sigmas[k], eps)._compute(gradient)

    return _weighted_sum([(weights[k] / L, functools.partial(visit, k)) for k in range(L)])


def _denoising(where, model, x, sigma, noise, weight=None):
    """The Loss w/2 |s(x + sigma eps) + eps/sigma|^2 for checked arguments."""
    noisy, target = x + column(sigma) * noise, -noise / column(sigma)
    noisy, told = ready(where, model, noisy, sigma if model.conditional else None)
    return Loss(functools.partial(_visit, where, model, noisy, told, _distance(target, weight)))


# ------------------------------------------------------------------------------- sliced


def sliced(model, x, *, variance_reduced=True, probe="rademacher", n_probes=1, rng=None, probes=None, sigma=None):
    r"""Sliced score matching: the trace replaced by its projection on random directions v with E[v v^T] = I.

    .. math:: \ell(x) = \frac1m \sum_v v^T J(x) v + \tfrac12 \lvert s(x) \rvert^2
        \qquad\text{or}\qquad \frac1m \sum_v v^T J(x) v + \tfrac12 (v \cdot s(x))^2

    The first, variance-reduced form integrates the square exactly. Both have the mean of `implicit`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    variance_reduced : bool
        The first form or the second.
    probe : "rademacher", "gaussian" or "sphere"
        Distribution of v: signs, standard normal, or uniform on the sphere of radius sqrt(d).
    n_probes : int
        Directions per sample, m.
    rng : seed or numpy.random.Generator
        Read once when the loss is made; the directions are drawn from it a block of samples at a time.
    probes : (n, d) or (m, n, d) array
        The directions themselves, instead of rng.
    sigma : scalar or (n,) array, the noise level a conditional network is told

    Returns
    -------
    Loss, in units 1/[x]^2

    Raises
    ------
    ValueError
        If probe is unknown, probes has another shape, rng and probes are both given, or the activation is not twice
        differentiable.

    Notes
    -----
    Slices of unit length have E[v v^T] = I/d: both terms of the second form are then this loss divided by d; in the first
    form only the trace term is, which changes the minimiser. Without the 1/2 and with a doubled first term it is twice
    this; a mean over dimensions is this divided by d. The variance of v^T A v, A the symmetric part of J, is 2 |A|_F^2
    for Gaussian v, 2 sum_{i != j} A_ij^2 for signs, 2d/(d+2) (|A|_F^2 - tr(A)^2/d) on the sphere; that of the mean of m
    is 1/m of it.

    Source: Song, Garg, Shi & Ermon (2019), UAI, arXiv:1905.07088.
    """
    where = "sliced"
    x, sigma = ready(where, model, x, sigma, second=True)
    m, draw = probe_draws(where, model, x, probe, n_probes, rng, probes)

    def visit(group, gradient):
        rows, share = functools.partial(draw, group), 1 / (group.stop - group.start)

        def projected(at, score):
            v = rows(at, model.dim, score.dtype)
            along = np.einsum("mnd,nd->mn", v, score)
            return 0.5 * share * np.sum(along**2, axis=0), share * np.einsum("mn,mnd->nd", along, v)

        local = _squared_score if variance_reduced else projected
        return _visit(where, model, x, sigma, local, gradient, rows=rows, share=share)

    groups = _groups(model, len(x), m)
    return _weighted_sum([((g.stop - g.start) / m, functools.partial(visit, g)) for g in groups])


def finite_difference_sliced(
    model, x, eps, *, variance_reduced=False, probe="rademacher", n_probes=1, rng=None, probes=None, sigma=None
):
    r"""Finite-difference sliced score matching: no second derivatives, at the price of an error eps^2 and of round-off.

    .. math:: \ell = -\frac{f_+ - 2 f + f_-}{\epsilon^2} + \frac{(f_+ - f_-)^2}{8 \epsilon^2}
        \qquad\text{or}\qquad \frac{v \cdot (s_+ - s_-)}{2 \epsilon} + \tfrac12 \Bigl(v \cdot \frac{s_+ + s_-}2\Bigr)^2

    at x and x +- eps v: the first for an `EnergyMLP`, which needs energies only, the second for a `ScoreMLP`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    eps : float, [x]
        Step. Truncation grows as eps^2, round-off as 1/eps^2 (1/eps for scores): 1e-3 to 1e-4 in float64, 0.02 to 0.1 in float32
        for data of unit size.
    variance_reduced : bool
        Put 1/2 |s(x)|^2 (energies) or 1/2 |(s_+ + s_-)/2|^2 (scores) in the second term's place. The first costs a
        backward pass, which the method is meant to save; so False is the default here.
    probe, n_probes, rng, probes, sigma
        As in `sliced`.

    Returns
    -------
    Loss
        Units 1/[x]^2; that of `sliced` along the same probes up to O(eps^2).

    Raises
    ------
    ValueError
        If eps is below sqrt(eps of the dtype) times max(1, RMS of x), where a second difference is all round-off; or as
        in `sliced`.

    Notes
    -----
    Pang et al. write the step as part of the direction, |v| = eps and unit-length slices: their loss is this one divided
    by d, since there E[v v^T] = I/d before scaling. Without the 1/2 of the convention here it is twice this.

    Source: Pang, Xu, Li, Song, Ermon & Zhu (2020), NeurIPS, arXiv:2007.03317.
    """
    where = "finite_difference_sliced"
    x, sigma = ready(where, model, x, sigma, second=True)
    real = working_dtype(model, x)
    eps = difference_step(where, eps, x, real)
    m, draw = probe_draws(where, model, x, probe, n_probes, rng, probes)
    rule = _energy_differences if model.kind == "EnergyMLP" else _score_differences
    size = max(1, (NUMBERS >> 2) // model.dim)

    def visit(j, gradient):
        """One direction per sample; a few samples at a time, so that memory stays bounded."""
        terms, theta_bar = [], 0 if gradient else None
        for start in range(0, len(x), size):
            at = slice(start, min(len(x), start + size))
            v = draw(slice(j, j + 1), at, model.dim, real)[0]
            level = sigma if np.ndim(sigma) == 0 else sigma[at]
            term, bar = rule(where, model, x[at].astype(real, copy=False), level, v, eps, variance_reduced, gradient)
            terms.append(term)
            if gradient:
                theta_bar = theta_bar + bar * term.dtype.type(len(term) / len(x))
        return np.concatenate(terms), theta_bar

    return _weighted_sum([(1 / m, functools.partial(visit, j)) for j in range(m)])


def _energy_differences(where, model, x, sigma, v, eps, variance_reduced, gradient):
    """The loss of each sample from three energies, and the gradient of its mean."""
    n, points = len(x), np.concatenate([x - eps * v, x, x + eps * v])
    told = sigma if np.ndim(sigma) == 0 else np.tile(sigma, 3)
    minus, centre, plus = model._sweep(where, points, told, energy=True)[0]["energy"].reshape(3, n)
    term, slope_bar = energy_curvature(minus, centre, plus, eps), 0
    if variance_reduced:
        square, theta_bar = _visit(where, model, x, sigma, _squared_score, gradient)
    else:
        slope = (plus - minus) / (2 * eps)
        square, slope_bar, theta_bar = 0.5 * slope**2, slope / (2 * eps), 0
    if gradient:
        curve_bar = -1 / eps**2
        energy_bar = np.concatenate(
            [curve_bar - slope_bar + 0 * plus, np.full(n, 2 / eps**2), curve_bar + slope_bar + 0 * plus]
        )
        energy_bar = (energy_bar / n).astype(plus.dtype)
        local = lambda at, here: {"energy": energy_bar[at]}
        theta_bar = theta_bar + model._sweep(where, points, told, local=local, gradient=True)[1]
    return term + square, theta_bar


def _score_differences(where, model, x, sigma, v, eps, variance_reduced, gradient):
    """The loss of each sample from two scores, and the gradient of its mean."""
    n, points = len(x), np.concatenate([x - eps * v, x + eps * v])
    told = sigma if np.ndim(sigma) == 0 else np.tile(sigma, 2)
    minus, plus = model._sweep(where, points, told, score=True)[0]["score"].reshape(2, *x.shape)
    mean = 0.5 * (plus + minus)
    along = np.einsum("nd,nd->n", v, mean)
    square, mean_bar = (half_square(mean), mean) if variance_reduced else (0.5 * along**2, along[:, None] * v)
    theta_bar = None
    if gradient:
        score_bar = np.concatenate([0.5 * mean_bar - v / (2 * eps), 0.5 * mean_bar + v / (2 * eps)])
        score_bar = (score_bar / n).astype(plus.dtype)
        local = lambda at, here: {"score": score_bar[at]}
        theta_bar = model._sweep(where, points, told, local=local, gradient=True)[1]
    return np.einsum("nd,nd->n", v, plus - minus) / (2 * eps) + square, theta_bar
