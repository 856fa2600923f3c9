"""Log density of rows under a trained network, by the way that its kind allows: the twin of `draw`.

A network that knows noise levels has a density by its probability flow; an energy without levels is exp(-f)/Z, its Z by
quadrature in one or two dimensions and by annealed importance sampling beyond; a score without levels has none.
"""

import math
from typing import NamedTuple

import numpy as np

from ..common.inputs import samples
from ..densities.support import support_of
from .annealing import annealed_importance_sampling
from .draw import noise_levels, wide
from .flow import log_likelihood
from .normaliser import log_normaliser

ROWS = 4096  # in one batch of paths
DIGITS = 1e-4  # nats: tolerance of a log-likelihood, well below what rows held out tell
POINTS = 500_000  # of a quadrature
BELIEVED, EFFECTIVE = 0.05, 10  # error of log Z above which, and effective chains below which, it is not to be believed
CHAINS = 500  # of annealed importance sampling, and levels


class LogDensity(NamedTuple):
    """value (n,), nats per unit of standardised data, None where there is none; how: by which method, how exactly, or why not."""

    value: np.ndarray | None
    how: dict


def log_density(model, x, *, sigmas=None, support=None, rng=0, chains=CHAINS, progress=None):
    """Log density of rows under a network, at standardised rows x (n, d).

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, conditional or not
    x : (n, d) array
    sigmas : (L,) array, decreasing
        Of a conditional network: the levels it was trained at; the density is that at the least. Others have none.
    support : (lower, upper), optional
        Ends of the columns, for an energy without levels.
    rng : seed or numpy.random.Generator
        Of annealed importance sampling.
    chains : int
        Of annealed importance sampling, and as many levels: its time grows as the square.
    progress : callable, optional
        Called as progress(share of the rows done).

    Returns
    -------
    LogDensity
        Within 1e-4 nats by the flow, which is followed in batches of rows; how["error_bound"] or how["standard_error"] is that of log Z.

    Raises
    ------
    ValueError
        If a conditional network comes without sigmas, or a path cannot be followed.

    Test: test_likelihood.py::test_each_kind_of_network_has_the_density_that_it_is_said_to_have
    """
    x = samples("log_density", x, model.dim)
    if model.conditional:
        levels = noise_levels("log_density", model, sigmas)
        low, high = levels[-1], levels[0]
        out = np.empty(len(x))
        for start in range(0, len(x), ROWS):
            at = slice(start, start + ROWS)
            out[at] = log_likelihood(model, x[at], sigma_min=low, sigma_max=high, rtol=DIGITS)
            if progress is not None:
                progress(min(1.0, (start + ROWS) / len(x)))
        return LogDensity(out, {"method": "probability flow", "sigma_min": low, "sigma_max": high})
    if model.kind == "ScoreMLP":
        return LogDensity(None, _none("a score network without noise levels has neither energy nor flow"))
    log_Z, how = _normaliser(
        model, None if support is None else support_of("log_density", support, model.dim), rng, chains
    )
    return LogDensity(None if log_Z is None else -model.energy(x) - log_Z, how)


def _none(why):
    return {"method": None, "why": why}


def _normaliser(model, support, rng, chains):
    """log Z, None where it cannot be believed, and how it was found."""
    start = wide(model, support)
    if model.dim <= 2:
        log_Z, error = log_normaliser(model, start, rtol=1e-10, budget=POINTS)
        if not math.isfinite(log_Z):
            return None, _none("Z is infinite: exp(-f) has no integral; train with confinement > 0")
        how = {"method": "quadrature", "log_normaliser": log_Z, "error_bound": error}
        if error > BELIEVED:
            return None, how | {"method": None, "why": f"quadrature is sure of Z to a factor of {1 + error:.3g} only"}
        return log_Z, how
    if model.confinement == 0:
        return None, _none("without confinement nothing says that Z is finite, and no quadrature can look")
    target = model if support is None else support.restricted(model)
    found = annealed_importance_sampling(target, start, n_chains=chains, n_levels=chains, rng=rng)
    how = {"method": "annealed importance sampling", "log_normaliser": found.value}
    how |= {"standard_error": found.error, "effective": found.effective}
    if found.effective < EFFECTIVE:
        why = f"only {found.effective:.1f} effective chains: log Z is not to be believed"
        return None, how | {"method": None, "why": why}
    return found.value, how
