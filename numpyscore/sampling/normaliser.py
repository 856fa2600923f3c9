r"""log Z of an energy by quadrature, with an estimate of its error, in up to three dimensions; `annealing` goes beyond.

.. math:: Z = \int e^{-f(x)} dx, \qquad p = e^{-f} / Z

Score matching needs no Z. It is wanted once, for log-likelihoods: log p = -f - log Z.
"""

from typing import NamedTuple

import numpy as np

from ..densities import Gaussian
from ..numerics.quadrature import frame_of, integrate
from .targets import at_level

SHIFTS = 5  # times that the energy taken for the least one may turn out not to be
OVERFLOW, SLACK = 700, 30  # by how much: what exp bears; what is worth a frame at the right place


class LogNormaliser(NamedTuple):
    """log Z, and an estimate of its error; both inf where Z is."""

    value: float
    error: float


def log_normaliser(model, density=None, *, sigma=None, rtol=1e-12, budget=None):
    """log Z by quadrature over the support of a density, dimension 1, 2 or 3, and an estimate of its error; inf where Z is.

    Parameters
    ----------
    model : anything with energy(x)
    density : density, optional
        Where exp(-f) lives: its frame and support. Not needed for a network with confinement lambda, whose exp(-f) has the
        tail of N(0, 1/lambda).
    sigma : positive float, optional, [x]
        The noise level, for a conditional model.
    rtol : float
        Accuracy wanted of Z, relative.
    budget : int, optional
        Points of the largest grid: see `integrate`.

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
    confined = confinement(model, sigma) > 0 and np.isinf(density.support).all()
    draws = density.sample(64, rng=0)
    at, shift = _least(draws, target.energy(draws))
    if confined:
        density = reference(model, sigma)  # exp(-f) has the tail of its confinement, not that of the data
    for _ in range(SHIFTS):
        seen = at, shift  # the point of least energy, of all that the quadrature visits

        def relative(x, shift=shift):
            nonlocal seen
            seen = min(seen, _least(x, energy := target.energy(x)), key=lambda point: point[1])
            return np.exp(shift - energy)

        frame = frame_of(density, density.support)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is looked at again
            integral = integrate(relative, frame, density.support, rtol=rtol, budget=budget)
        right = np.isfinite(integral.value) and integral.value > 0
        if seen[1] > shift - (SLACK if confined else OVERFLOW):
            break
        at, shift = _descend(target, *seen) if confined else seen
        if confined:  # a well away from the origin: the frame goes where it is
            density = Gaussian(at, 1 / confinement(model, sigma))
    if not right:
        return LogNormaliser(np.inf, np.inf)
    return LogNormaliser(float(np.log(integral.value) - shift), float(integral.error / integral.value))


def _least(x, energy):
    """The row of x of least energy, and that energy."""
    k = int(np.argmin(energy))
    return x[k], float(energy[k])


def _descend(target, x, energy):
    """The minimum of the energy near x (d,), and its energy."""
    from scipy.optimize import minimize

    if not hasattr(target, "score"):
        return x, energy
    slope = lambda y: -np.asarray(target.score(y[None])[0], float)
    found = minimize(lambda y: float(target.energy(y[None])[0]), np.asarray(x, float), jac=slope, method="L-BFGS-B")
    return (found.x, float(found.fun)) if found.fun < energy else (x, energy)


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
