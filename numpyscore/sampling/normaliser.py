r"""log Z of an energy by quadrature, with a bound for its error, in up to three dimensions; `annealing` goes beyond.

.. math:: Z = \int e^{-f(x)} dx, \qquad p = e^{-f} / Z

Score matching needs no Z. It is wanted once, for log-likelihoods: log p = -f - log Z.
"""

from typing import NamedTuple

import numpy as np

from ..densities import Gaussian
from ..numerics.quadrature import frame_of, integrate
from .targets import at_level


class LogNormaliser(NamedTuple):
    """log Z, and a bound for its error; both inf where Z is."""

    value: float
    error: float


def log_normaliser(model, density=None, *, sigma=None):
    """log Z by quadrature over the support of a density, dimension 1, 2 or 3, and a bound for its error; inf where Z is.

    Parameters
    ----------
    model : anything with energy(x)
    density : density, optional
        Where exp(-f) lives: its frame and support. Not needed for a network with confinement lambda, whose exp(-f) has the
        tail of N(0, 1/lambda).
    sigma : positive float, optional, [x]
        The noise level, for a conditional model.

    Returns
    -------
    LogNormaliser

    Raises
    ------
    ValueError
        If there is neither a density nor a confinement, or the dimension is above 3.

    Source: quadrature as in `integrate`.
    Test: test_normaliser.py::test_quadrature_knows_the_normalisers_of_closed_forms
    """
    target = model if sigma is None else at_level("log_normaliser", model, sigma)
    density = reference(model, sigma) if density is None else density
    shift = float(np.min(target.energy(density.sample(64, rng=0))))
    if confinement(model, sigma) > 0 and np.isinf(density.support).all():
        density = reference(model, sigma)  # exp(-f) has the tail of its confinement, not that of the data
    frame = frame_of(density, density.support)
    integral = integrate(lambda x: np.exp(shift - target.energy(x)), frame, density.support)
    if not (np.isfinite(integral.value) and integral.value > 0):
        return LogNormaliser(np.inf, np.inf)
    return LogNormaliser(float(np.log(integral.value) - shift), float(integral.error / integral.value))


def confinement(model, sigma=None):
    """The curvature lambda, or lambda / (1 + sigma^2), that holds exp(-f) together at infinity; 0 if there is none, 1/[x]^2."""
    lam = getattr(model, "confinement", 0.0)
    return lam if sigma is None else lam / (1 + sigma**2)


def reference(model, sigma=None):
    """N(0, 1/lambda), the Gaussian that the confinement of a network alone would make.

    Raises ValueError for a model without confinement.
    """
    lam = confinement(model, sigma)
    if not lam > 0:
        raise ValueError(
            f"log_normaliser: this {type(model).__name__} has no confinement, so that nothing says where exp(-f) lives, nor that Z "
            f"is finite. Give a density that says so, or make the network with confinement > 0."
        )
    return Gaussian(np.zeros(model.dim), 1 / lam)
