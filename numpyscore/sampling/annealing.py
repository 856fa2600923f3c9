r"""Chains led from a density that can be sampled to one that cannot, by way of all that lie between them.

.. math:: p_\beta \propto p_0^{1 - \beta}\, e^{-\beta f}, \qquad \beta_k = (k / K)^2, \quad k = 0 \ldots K

x_0 is drawn from p_0; x_k is moved from x_{k-1} by steps of adjusted Langevin that leave p_beta invariant. On the way the chains
gather weights, and these are worth two things: their mean is an estimate of Z without bias, and resampling by them gives samples
whose modes have their right weights, however far apart they lie, as long as p_0 covers them all.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, generator
from .langevin import Chains, langevin_step, log_acceptance
from .normaliser import reference
from .targets import at_level, log_density_and_score

RATE = 0.57  # acceptance at which adjusted Langevin moves fastest in many dimensions: Roberts & Rosenthal (1998)
PILOT = 100  # chains in the run that tunes the steps
SEARCH = 20  # its steps at the first level, where the first guess may be far off


class AnnealedNormaliser(NamedTuple):
    """log Z; its standard error; effective: how many equally weighted chains the weights are worth, (sum w)^2 / sum w^2."""

    value: float
    error: float
    effective: float


def annealed_importance_sampling(target, start=None, *, sigma=None, n_chains=1000, n_levels=200, n_steps=1, rng=None):
    r"""log Z of an unnormalised target in any dimension, with an error bar.

    .. math:: \hat Z = \frac1n \sum_{\mathrm{chains}} \prod_k
        \Bigl( \frac{e^{-f(x_{k-1})}}{p_0(x_{k-1})} \Bigr)^{\beta_k - \beta_{k-1}}

    The mean of Z is right however few the levels; its logarithm is low by about half its squared error. The sizes of the steps
    are tuned in a run of other chains, which are thrown away: tuned on themselves, these would be biased.

    Parameters
    ----------
    target : anything with score and energy (or logpdf, which need not be normalised)
    start : density p_0 with sample, logpdf and score, optional
        Normalised, and wider than the target. Default: N(0, 1/lambda), for a network with confinement lambda.
    sigma : positive float, optional, [x]
        The noise level, for a conditional model.
    n_chains : int
        The error falls as its root.
    n_levels : int, K
        The spread of the weights falls with it.
    n_steps : int
        Steps at each level.
    rng : seed or numpy.random.Generator

    Returns
    -------
    AnnealedNormaliser
        Below some ten effective chains one weight rules, and the error is not to be believed: take more levels.

    Raises
    ------
    TypeError
        If the target has a score alone.
    ValueError
        If there is neither a start nor a confinement.

    Source: Neal (2001), Statistics and Computing 11:125-139.
    Test: test_annealing.py::test_annealing_knows_the_normalisers_of_closed_forms
    """
    way = _Way("annealed_importance_sampling", target, start, sigma, n_levels, n_steps, rng)
    n = count(way.where, "n_chains", n_chains, least=2)
    _, log_w, _ = way.lead(n, way.tuned())
    top = log_w.max()
    w = np.exp(log_w - top)
    error = w.std(ddof=1) / (w.mean() * math.sqrt(n))
    return AnnealedNormaliser(float(top + math.log(w.mean())), float(error), float(_effective(log_w)))


def tempered_langevin(target, n, start=None, *, sigma=None, n_levels=100, n_steps=1, rng=None):
    r"""n samples of exp(-f)/Z by a sequential Monte Carlo sampler: annealed chains, resampled by their weights on the way.

    Where `langevin` leaves as many chains in a mode as started near it, here chains in a mode of too little weight die out and
    others are doubled, as soon as the weights are worth less than half the chains. The samples are not quite
    independent: doubled ones part by and by.

    Parameters
    ----------
    target : anything with score and energy or logpdf
    n : int
        Samples. A few hundred at least: the weights of modes come from their number.
    start, sigma, n_levels, n_steps, rng
        See `annealed_importance_sampling`.

    Returns
    -------
    Chains
        acceptance: that of each chain, over all levels.

    Raises
    ------
    TypeError, ValueError
        As `annealed_importance_sampling`.

    Source: Del Moral, Doucet & Jasra (2006), JRSS B 68:411-436, for these weights.
    Test: test_annealing.py::test_modes_far_apart_get_their_weights
    """
    way = _Way("tempered_langevin", target, start, sigma, n_levels, n_steps, rng)
    n = count(way.where, "n", n, least=0)
    if n == 0:
        return Chains(way.draw(0), np.zeros(0), None)
    x, _, acceptance = way.lead(n, way.tuned(), resample=True)
    return Chains(x, acceptance, None)


class _State(NamedTuple):
    """Points x (n, d), with log densities (2, n) and scores (2, n, d) of p_0 and of the target."""

    x: np.ndarray
    log_p: np.ndarray
    score: np.ndarray

    def between(self, beta):
        """Log density (n,) and score (n, d) of p_beta."""
        parts = np.array([1 - beta, beta])
        return parts @ self.log_p, np.tensordot(parts, self.score, 1)

    def rows(self, at):
        """These rows, some of them several times."""
        return _State(self.x[at], self.log_p[:, at], self.score[:, at])


class _Way:
    """The way from p_0 to the target: both ends, the levels between, and the source of randomness."""

    def __init__(self, where, target, start, sigma, n_levels, n_steps, rng):
        self.where, self.rng = where, generator(where, rng)
        self.start = reference(target, sigma) if start is None else start
        target = target if sigma is None else at_level(where, target, sigma)
        self.ends = log_density_and_score(where, self.start), log_density_and_score(where, target)
        self.betas = (np.arange(count(where, "n_levels", n_levels) + 1) / n_levels) ** 2
        self.n_steps = count(where, "n_steps", n_steps)

    def draw(self, n):
        return np.asarray(self.start.sample(n, rng=self.rng), float)

    def look(self, x):
        log_p, score = zip(*(end(x) for end in self.ends), strict=True)
        return _State(x, np.stack(log_p), np.stack(score))

    def move(self, state, beta, step):
        """One step of adjusted Langevin on p_beta: the new state, and which chains accepted (n,)."""
        log_p, score = state.between(beta)
        y = langevin_step(state.x, score, step, self.rng.standard_normal(state.x.shape))
        new = self.look(y)
        with np.errstate(invalid="ignore"):  # outside the support -inf, or nan: either is refused
            log_p_y, score_y = new.between(beta)
            ratio = log_acceptance(state.x, log_p, score, y, log_p_y, score_y, step)
        accept = -self.rng.standard_exponential(len(y)) < ratio
        rows = accept[:, None]
        kept = [np.where(c, a, b) for c, a, b in zip((rows, accept, rows), new, state, strict=True)]
        return _State(*kept), accept

    def tuned(self):
        """The step at each level, by chains that serve for nothing else: longer where more than RATE accept, else shorter."""
        x, steps = self.draw(PILOT), []
        step = float(x.var(axis=0).min()) / x.shape[1] ** (1 / 3)
        state = self.look(x)
        for k, beta in enumerate(self.betas[1:]):
            for _ in range(self.n_steps + SEARCH * (k == 0)):
                state, accept = self.move(state, beta, step)
                step *= math.exp(accept.mean() - RATE)
            steps.append(step)
        return steps

    def lead(self, n, steps, resample=False):
        """n chains at the end of the way: where (n, d), their log weights (n,), and their rates of acceptance (n,)."""
        state, log_w, accepted = self.look(self.draw(n)), np.zeros(n), np.zeros(n)
        for (before, beta), step in zip(pairwise(self.betas), steps, strict=True):
            log_w += (beta - before) * (state.log_p[1] - state.log_p[0])
            if resample and (_effective(log_w) < 0.5 * n or beta == 1):
                state, log_w = state.rows(self.resampled(log_w)), np.zeros(n)
            for _ in range(self.n_steps):
                state, accept = self.move(state, beta, step)
                accepted += accept
        return state.x, log_w, accepted / (self.n_steps * len(steps))

    def resampled(self, log_w):
        """Indices of chains, each as often as its weight says up to less than one: systematic resampling."""
        w = np.exp(log_w - log_w.max())
        edges = np.cumsum(w)
        at = (self.rng.random() + np.arange(len(w))) / len(w)
        return np.searchsorted(edges / edges[-1], at)  # the last edge is 1, which no rounding of `at` exceeds


def _effective(log_w):
    """How many equal weights these are worth."""
    w = np.exp(log_w - log_w.max())
    return w.sum() ** 2 / (w @ w)
