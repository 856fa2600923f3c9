r"""Samples from a score: Langevin with and without a Metropolis test, annealed, and the reverse diffusion.

A score is enough to walk. Every sampler takes many chains at once, x0 (n, d), one per row, and any target with `score(x)`;
those that descend through noise levels take a family of targets: a conditional model, or a function sigma -> density
such as `density.perturbed`. One step is a function of the state and the noise alone, so that it can be computed by hand:

.. math:: x' = x + \tau \, s(x) + \sqrt{2 \tau} \, \epsilon, \qquad \epsilon \sim N(0, I)

with tau the `step` of all signatures here, [x]^2. Others write alpha/2 for it: see `annealed_langevin`.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, generator, positive
from .targets import at_level, descending, log_density_and_score, score_of, starts


class Chains(NamedTuple):
    """What a sampler returns.

    samples : (n, d), where the chains ended. acceptance : (n,), share of proposals each chain accepted; None without a
    Metropolis test. trace : (t, n, d), the states after every `thin` steps; None unless asked for. `effective_sample_size`
    and `split_r_hat` in `diagnostics` read it.
    """

    samples: np.ndarray
    acceptance: np.ndarray | None
    trace: np.ndarray | None


# ------------------------------------------------------------------------------- one step, noise given


def langevin_step(x, score, step, eps):
    r"""One step of Langevin: x + step * score + sqrt(2 * step) * eps.

    Parameters
    ----------
    x, score : (n, d) arrays, [x] and 1/[x]
    step : positive float, [x]^2
    eps : (n, d) array, unit normal noise

    Source: Roberts & Tweedie (1996), Bernoulli 2:341-363, with their h = 2 step.
    Test: test_langevin.py::test_a_step_is_what_it_says
    """
    return x + step * score + math.sqrt(2 * step) * eps


def log_acceptance(x, log_p, score, y, log_p_y, score_y, step):
    r"""Logarithm of the Metropolis-Hastings ratio of Langevin proposals from x to y, per chain (n,).

    .. math:: \log\frac{p(y)\, g(x | y)}{p(x)\, g(y | x)}, \qquad g(y | x) = N(y;\, x + \tau s(x),\, 2 \tau I)

    Parameters
    ----------
    x : (n, d) array
        State.
    log_p, score : (n,) and (n, d) arrays
        Log density there, up to a constant, and its gradient.
    y, log_p_y, score_y
        The same at the proposal.
    step : positive float, tau, [x]^2

    Source: Roberts & Tweedie (1996), Bernoulli 2:341-363.
    Test: test_langevin.py::test_the_metropolis_ratio_is_that_of_normal_densities
    """
    forth, back = y - x - step * score, x - y - step * score_y
    return log_p_y - log_p + (np.einsum("nd,nd->n", forth, forth) - np.einsum("nd,nd->n", back, back)) / (4 * step)


def reverse_step(x, score, sigma, sigma_next, eps):
    r"""One Euler-Maruyama step of the reverse diffusion from noise level sigma down to sigma_next.

    .. math:: x' = x + (\sigma^2 - \sigma'^2)\, s(x; \sigma) + \sqrt{\sigma^2 - \sigma'^2}\; \epsilon

    Parameters
    ----------
    x, score : (n, d) arrays, [x] and 1/[x]
    sigma, sigma_next : positive floats, sigma > sigma_next, [x]
    eps : (n, d) array, unit normal noise

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole (2021), ICLR, arXiv:2011.13456, Appendix E, variance exploding.
    Test: test_langevin.py::test_a_step_is_what_it_says
    """
    var = sigma**2 - sigma_next**2
    return x + var * score + math.sqrt(var) * eps


def tweedie(x, score, sigma):
    r"""The mean of the clean sample given the noisy one: x + sigma^2 * score.

    .. math:: E[x \,|\, \tilde x] = \tilde x + \sigma^2\, \nabla \log q_\sigma(\tilde x)

    Parameters
    ----------
    x : (n, d) array, [x]
        Noisy samples.
    score : (n, d) array, 1/[x]
        Of the noisy density, there.
    sigma : positive scalar or (n, 1) array, [x]

    Source: Robbins (1956), Proc. 3rd Berkeley Symp. 1:157-163; Efron (2011), JASA 106:1602-1614.
    Test: test_langevin.py::test_tweedie_is_the_posterior_mean
    """
    return x + sigma**2 * score


# ------------------------------------------------------------------------------- chains


class _Walk:
    """Chains under way: where they are, what they accepted, what was recorded, and where noise comes from."""

    def __init__(self, where, x0, rng, thin):
        self.where, self.x, self.rng = where, starts(where, x0), generator(where, rng)
        self.thin = None if thin is None else count(where, "thin", thin)
        self.steps, self.trace = 0, []
        self.accepted = None

    def normal(self):
        return self.rng.standard_normal(self.x.shape).astype(self.x.dtype)

    def to(self, x):
        """Move there; refused where a chain has left, before its overflow spreads."""
        self.x, self.steps = x, self.steps + 1
        far = np.finfo(x.dtype).max ** 0.25
        if not np.max(np.abs(x), initial=0) < far:
            chain = int(np.argmin((np.abs(x) < far).all(axis=1)))
            raise ValueError(
                f"{self.where}: chain {chain} left the range of numbers at step {self.steps}: the step is too large for the "
                f"curvature of this target (on a Gaussian it must stay below 2 * variance), or its score points outwards, as "
                f"that of an energy without confinement may. Take a smaller step, or adjusted=True."
            )
        if self.thin is not None and self.steps % self.thin == 0:
            self.trace.append(x.copy())

    def score(self, target):
        score = score_of(self.where, target, self.x)
        self.x = self.x.astype(np.result_type(self.x, score), copy=False)
        return score

    def done(self):
        """The Chains."""
        trace = None if self.thin is None else np.array(self.trace).reshape(-1, *self.x.shape)
        return Chains(self.x, None if self.accepted is None else self.accepted / max(1, self.steps), trace)


def _unadjusted(walk, target, step, n_steps):
    for _ in range(n_steps):
        score = walk.score(target)
        with np.errstate(over="ignore"):  # `to` says what happened
            y = langevin_step(walk.x, score, step, walk.normal())
        walk.to(y)


def _adjusted(walk, target, step, n_steps):
    both = log_density_and_score(walk.where, target)
    log_p, score = both(walk.x)
    if not np.isfinite(log_p).all():
        raise ValueError(
            f"{walk.where}: x0[{int(np.argmin(np.isfinite(log_p)))}] lies outside the support of the target, where a chain "
            f"cannot start; move it inside."
        )
    walk.x = walk.x.astype(np.result_type(walk.x, score), copy=False)
    if walk.accepted is None:
        walk.accepted = np.zeros(len(walk.x))
    for _ in range(n_steps):
        y = langevin_step(walk.x, score, step, walk.normal())
        log_p_y, score_y = both(y)
        ratio = log_acceptance(walk.x, log_p, score, y, log_p_y, score_y, step)
        accept = -walk.rng.standard_exponential(len(y)) < ratio  # log of a uniform number
        log_p, score = np.where(accept, log_p_y, log_p), np.where(accept[:, None], score_y, score)
        walk.accepted += accept
        walk.to(np.where(accept[:, None], y, walk.x))


def langevin(target, x0, step, n_steps, *, adjusted=False, sigma=None, rng=None, thin=None):
    r"""Langevin chains, unadjusted or with a Metropolis test (MALA).

    .. math:: x' = x + \tau \, s(x) + \sqrt{2 \tau} \, \epsilon

    Unadjusted, the stationary law is not quite the target's: on N(0, v) the variance settles at v / (1 - tau / (2 v)), and the
    chain diverges from tau = 2 v on. Adjusted, the target's law is kept exactly, at the price of proposals refused. Either
    crosses from one far mode to another hardly ever, so that weights of modes are those of the start: see `annealed_langevin`.

    Parameters
    ----------
    target : anything with score(x); for adjusted=True also logpdf(x) or energy(x)
    x0 : (n, d) array, [x]
        Where the n chains start; not modified.
    step : positive float, tau, [x]^2
    n_steps : int
    adjusted : bool
        Accept or refuse each step by Metropolis and Hastings' rule. Best near 0.57 of acceptance in many dimensions.
    sigma : positive float, optional, [x]
        Take a family of targets, a conditional model or density.perturbed, at this noise level.
    rng : seed or numpy.random.Generator
    thin : int, optional
        Record every so many steps in `trace`.

    Returns
    -------
    Chains
        In the common dtype of x0 and the score.

    Raises
    ------
    TypeError
        If adjusted=True and the target has a score alone.
    ValueError
        If a chain leaves the range of numbers (step too large), a start lies outside the support, or shapes are wrong.

    Source: Roberts & Tweedie (1996), Bernoulli 2:341-363; the rate 0.57, Roberts & Rosenthal (1998), JRSS B 60:255-268.
    Test: test_langevin.py::test_variance_of_unadjusted_and_adjusted_chains
    """
    where, step = "langevin", positive("langevin", "step", step)
    walk = _Walk(where, x0, rng, thin)
    target = target if sigma is None else at_level(where, target, positive(where, "sigma", sigma))
    (_adjusted if adjusted else _unadjusted)(walk, target, step, count(where, "n_steps", n_steps, least=0))
    return walk.done()


def annealed_langevin(
    target, x0, sigmas, n_steps=100, *, step=None, adjusted=False, denoise=False, rng=None, thin=None
):
    r"""Langevin at one noise level after the other, from the largest down: modes get their weights while they still overlap.

    .. math:: \tau_i = \tau_L \, \sigma_i^2 / \sigma_L^2, \qquad i = 1 \ldots L

    so that signal and noise of a step keep their proportion at every level. Song & Ermon write
    x + alpha_i/2 s + sqrt(alpha_i) eps with alpha_i = epsilon sigma_i^2 / sigma_L^2: their epsilon is twice the step here.

    Parameters
    ----------
    target : family of targets
        A conditional model, or a function sigma -> density such as density.perturbed.
    x0 : (n, d) array, [x]
    sigmas : (L,) array, decreasing, [x]
        See `suggest_levels`, `geometric_levels`.
    n_steps : int
        Steps at each level. Too few and the weights of modes are not those of the level, which no later level repairs.
    step : positive float, optional, [x]^2
        tau_L, of the last level; default 0.1 sigma_L^2, Song & Ermon's epsilon of 0.2 sigma_L^2.
    adjusted : bool
        A Metropolis test at every level, see `langevin`.
    denoise : bool
        Return the mean of the clean sample given the last state, see `tweedie`.
    rng, thin
        See `langevin`; steps are counted through all levels.

    Returns
    -------
    Chains

    Raises
    ------
    ValueError
        If sigmas do not decrease, the target does not depend on sigma, or as `langevin`.

    Source: Song & Ermon (2019), NeurIPS 32, Algorithm 1.
    Test: test_langevin.py::test_annealing_finds_the_weights_and_plain_langevin_does_not
    """
    where, sigmas = "annealed_langevin", descending("annealed_langevin", sigmas)
    walk, n_steps = _Walk(where, x0, rng, thin), count(where, "n_steps", n_steps, least=0)
    last = 0.1 * sigmas[-1] ** 2 if step is None else positive(where, "step", step)
    for sigma in map(float, sigmas):
        level = last * (sigma / float(sigmas[-1])) ** 2
        (_adjusted if adjusted else _unadjusted)(walk, at_level(where, target, sigma), float(level), n_steps)
    return _finish(walk, target, float(sigmas[-1]), denoise)


def _finish(walk, target, sigma, denoise):
    """The Chains, denoised if asked for."""
    if denoise:
        walk.x = tweedie(walk.x, walk.score(at_level(walk.where, target, sigma)), sigma)
    return walk.done()


def reverse_diffusion(target, x0, sigmas, *, denoise=True, rng=None, thin=None):
    r"""The reverse of adding noise, by Euler-Maruyama through the levels sigmas, variance exploding.

    .. math:: dx = -\frac{d\sigma^2}{dt}\, s(x; \sigma)\, dt + \sqrt{\frac{d\sigma^2}{dt}}\; dw, \qquad \sigma \downarrow

    and at last the noise that remains is taken off by `tweedie`. The error of a step is of order (sigma_i - sigma_{i+1})^2:
    with few levels prefer `predictor_corrector`.

    Parameters
    ----------
    target : family of targets
        A conditional model, or a function sigma -> density such as density.perturbed.
    x0 : (n, d) array, [x]
        Samples of the noisiest density, for example mean + sigmas[0] * rng.standard_normal((n, d)) where sigmas[0] is much
        larger than the data's spread.
    sigmas : (L,) array, decreasing, [x]
        L - 1 steps are taken.
    denoise : bool
        Take off the noise of the last level.
    rng, thin
        See `langevin`.

    Returns
    -------
    Chains

    Raises
    ------
    ValueError
        As `annealed_langevin`.

    Source: Anderson (1982), Stoch. Proc. Appl. 12:313-326; Song et al. (2021), ICLR, arXiv:2011.13456, Appendix E.
    Test: test_langevin.py::test_the_reverse_diffusion_of_a_gaussian_has_the_variance_of_its_recursion
    """
    return _descend("reverse_diffusion", target, x0, sigmas, 0, None, denoise, rng, thin)


def predictor_corrector(target, x0, sigmas, *, n_corrector=1, snr=0.16, denoise=True, rng=None, thin=None):
    r"""`reverse_diffusion` with Langevin steps at each level that correct what the step down got wrong.

    .. math:: \tau_i = 2 r^2 \sigma_i^2, \qquad r = \mathrm{snr}

    Song et al. take tau = 2 (r |eps| / |s|)^2 with both norms averaged over the batch. With their typical values sqrt(d) and
    sqrt(d) / sigma that is the rule here, in which no chain depends on the others.

    Parameters
    ----------
    target, x0, sigmas, denoise, rng, thin
        See `reverse_diffusion`.
    n_corrector : int
        Langevin steps after each step down.
    snr : positive float
        Signal-to-noise ratio r of a corrector step. On Gaussians the step is stable below 1 and does not overshoot below 0.7.

    Returns
    -------
    Chains

    Raises
    ------
    ValueError
        As `annealed_langevin`.

    Source: Song et al. (2021), ICLR, arXiv:2011.13456, Algorithms 2 and 4.
    Test: test_langevin.py::test_the_corrector_repairs_what_few_levels_get_wrong
    """
    where = "predictor_corrector"
    n, snr = count(where, "n_corrector", n_corrector, least=0), positive(where, "snr", snr)
    return _descend(where, target, x0, sigmas, n, snr, denoise, rng, thin)


def _descend(where, target, x0, sigmas, n_corrector, snr, denoise, rng, thin):
    """Steps down through the levels, each followed by n_corrector steps of Langevin."""
    sigmas, walk = descending(where, sigmas), _Walk(where, x0, rng, thin)
    for sigma, below in pairwise(map(float, sigmas)):
        score = walk.score(at_level(where, target, sigma))
        with np.errstate(over="ignore"):
            y = reverse_step(walk.x, score, sigma, below, walk.normal())
        walk.to(y)
        if n_corrector:
            _unadjusted(walk, at_level(where, target, below), 2 * snr**2 * below**2, n_corrector)
    return _finish(walk, target, float(sigmas[-1]), denoise)
