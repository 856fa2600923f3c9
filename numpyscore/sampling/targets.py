"""What samplers and flows ask of a target: its score, and perhaps its log density, at one noise level.

A target is anything with `score(x)`: a density, a model, a user's own object. A family of targets, one for each noise level,
is a conditional model, whose calls take `sigma=`, or a function sigma -> density, such as `density.perturbed`.
"""

import functools
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..common.callables import called
from ..common.inputs import deviations, numeric, samples
from ..common.names import having


class Ladder(NamedTuple):
    """A family of targets: networks without levels, one for each of the noise levels that training came down by.

    networks : L of them, of one shape. sigmas : (L,) array, decreasing. Called with a level it gives the network that was trained
    nearest to it.
    """

    networks: tuple
    sigmas: np.ndarray

    def __call__(self, sigma):
        return self.networks[int(np.argmin(np.abs(np.log(self.sigmas / sigma))))]


def at_level(where, family, sigma):
    """The member of a family at noise level sigma: anything with `score(x)`; without `sigma=` where it was a model."""
    if isinstance(family, type):
        having(where, "target", family)
    if not hasattr(family, "score"):
        if callable(family):
            found = family(sigma)
            cure = "a function is taken for sigma -> density; a score function s(x, sigma) is made one by types.SimpleNamespace(score=s)"
            having(where, f"target({sigma:g})", found, "score", cure=cure)
            return found
        raise TypeError(
            f"{where}: target is a {type(family).__name__}, expected a conditional model (score(x, sigma=...)) or a function "
            f"sigma -> density, such as density.perturbed."
        )
    if hasattr(family, "perturbed") or getattr(family, "conditional", True) is False:
        cure = "density.perturbed" if hasattr(family, "perturbed") else "a network made with conditional=True"
        if hasattr(family, "units"):
            cure = "its network, fit.model, and rows in its units; or ask it: fit.sample(n), fit.logpdf(x)"
        raise ValueError(
            f"{where}: target is one {type(family).__name__}, which does not depend on the noise level, expected one for each "
            f"sigma. Pass {cure}."
        )
    names = [name for name in ("energy", "score", "trace", "evaluate") if hasattr(family, name)]
    return SimpleNamespace(**{name: functools.partial(getattr(family, name), sigma=sigma) for name in names})


def score_of(where, target, x):
    """The target's score (n, d) at x (n, d), its shape checked: a column or a row would broadcast silently."""
    having(where, "target", target, "score")
    score = called(where, "target.score", target.score, x)
    if np.shape(score) != x.shape:
        raise ValueError(
            f"{where}: target.score(x) has shape {np.shape(score)} for x of shape {x.shape}, expected the same: the gradient "
            f"of log p in x, one row per sample."
        )
    return score


def log_density_and_score(where, target):
    """A function x (n, d) -> log p up to a constant (n,), -inf outside the support, and score (n, d), 0 there."""
    having(where, "target", target, "score")
    if hasattr(target, "logpdf"):
        log_density = lambda x: called(where, "target.logpdf", target.logpdf, x)
    elif hasattr(target, "energy"):
        log_density = lambda x: -target.energy(x)
    else:
        raise TypeError(
            f"{where}: target is a {type(target).__name__} with a score but neither logpdf nor energy, and a Metropolis test "
            f"compares densities: a score alone, which need not be the gradient of anything, does not tell by how much log p "
            f"rises. Use an EnergyMLP or a density, or adjusted=False with a small step."
        )
    if hasattr(target, "evaluate") and not hasattr(target, "logpdf"):

        def both(x):
            at = target.evaluate(x, energy=True)
            return -at.energy, at.score

        return both

    def apart(x):
        log_p = log_density(x)
        if np.isfinite(log_p).all():
            return log_p, score_of(where, target, x)
        inside, score = np.isfinite(log_p), np.zeros(x.shape, x.dtype)
        score[inside] = score_of(where, target, x[inside])
        return log_p, score

    return apart


def score_and_trace(where, target, x):
    """The target's score (n, d) and the trace of its Jacobian (n,), in one sweep where it is a network."""
    if hasattr(target, "evaluate"):
        at = target.evaluate(x, trace=True)
        return at.score, at.trace
    trace = target.trace(x)
    if np.shape(trace) != x.shape[:1]:
        raise ValueError(
            f"{where}: target.trace(x) has shape {np.shape(trace)} for x of shape {x.shape}, expected {x.shape[:1]}, one per row."
        )
    return score_of(where, target, x), trace


def descending(where, sigmas):
    """Noise levels (L,), L >= 1, from the largest down, as float64."""
    a = numeric(where, "sigmas", sigmas)
    if a.ndim != 1 or len(a) == 0:
        raise ValueError(f"{where}: sigmas has shape {a.shape}, expected (L,), the noise levels from the largest down.")
    a = deviations(where, "sigmas", a, (a.shape,), np.dtype(float))
    if (np.diff(a) >= 0).any():
        raise ValueError(
            f"{where}: sigmas are not decreasing ({a[0]:.3g} to {a[-1]:.3g}), expected the largest first: samples start as "
            f"noise. Pass np.sort(sigmas)[::-1]."
        )
    return a


def starts(where, x0, name="x0"):
    """Where chains or paths start: a finite copy of x0 (n, d), float64 for integers."""
    x = samples(where, x0, name=name)
    if x.dtype.kind == "c":
        raise TypeError(f"{where}: {name} is complex, expected real numbers; pass {name}.real.")
    return x.astype(x.dtype if x.dtype.kind == "f" else float)
