r"""Supports with ends, half-lines and boxes: the weights that vanish at them, noise that does not leave them, and targets within.

Everything follows from one weight per column, the distance to the nearer end, at most `REACH`, which is one standard deviation of a
standardised column; a column without ends has h = 1. The noise is Gaussian in a coordinate u in which the ends are infinitely far away:

.. math:: h(x) = \min(x - a,\; b - x,\; 1), \qquad u = \int \frac{dx}{h(x)}, \qquad \tilde u = u + \sigma \epsilon

Far from the ends that is noise of sigma on x, as everywhere; near an end the distance to it is multiplied by exp(sigma eps), so that
what was inside stays inside. The density of noisy points has the score e^{3 sigma^2/2} s(a) at an end where the clean one has s(a) and
does not vanish: 1.5 per cent more at sigma = 0.1.
"""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from ..common.inputs import generator, positive, samples
from .parameters import box
from .weights import box_weight

REACH = 1.0
TINY = np.finfo(float).tiny
NODES = 21  # of a mean over the noise


class Support(NamedTuple):
    """lower, upper (d,), [x]: the ends of each column, infinite where there is none."""

    lower: np.ndarray
    upper: np.ndarray

    def standardised(self, mean, scale):
        """The same ends in units of z = (x - mean) / scale."""
        return Support((self.lower - mean) / scale, (self.upper - mean) / scale)

    def inside(self, x):
        """Whether each row lies within, ends included (n,)."""
        return np.all((self.lower <= x) & (x <= self.upper), axis=1)

    def refuse_outside(self, where, x, name):
        """ValueError for the first entry of x (n, d) that lies outside."""
        outside = ~((self.lower <= x) & (x <= self.upper))
        if outside.any():
            i, j = np.argwhere(outside)[0]
            raise ValueError(
                f"{where}: {name}[{i}, {j}] is {x[i, j]}, outside the support from {self.lower[j]} to {self.upper[j]}, as are entries of "
                f"{outside.any(axis=1).sum()} of the {len(x)} rows; remove such rows, or give the ends that the data have."
            )

    @property
    def weight(self):
        """h and h', functions (n, d) -> (n, d): a pair for `generalised`. At an end h is 0, whichever way its float32 was rounded."""
        h, h_prime = box_weight(self.lower, self.upper, cap=REACH)
        return (lambda x: np.maximum(h(x), 0)), h_prime

    def perturb(self, x, sigma, *, stretch=1.0, rng=None):
        """x (n, d) with noise of sigma h(x) that never leaves the support; see the module. sigma in units of x at `REACH` from the ends.

        Distances from one end are divided by `stretch` (d,), which keeps their mean: see `Support.stretch`.
        """
        sigma, x = positive("perturb", "sigma", sigma), samples("perturb", x, len(self.lower))
        noisy = self._moved(x, sigma * generator("perturb", rng).standard_normal(x.shape))
        if np.any(stretch != 1.0):
            one, end = self._one_end
            noisy = np.where(one, end + (noisy - end) / stretch, noisy)
        return noisy.astype(x.dtype, copy=False)

    def _moved(self, x, step):
        """x with u moved by step, a number or (n, d)."""
        a, b = self.lower, self.upper
        knee = np.minimum(REACH, 0.5 * (b - a))  # how far from an end the weight grows
        left, right = np.isfinite(a), np.isfinite(b)
        origin = np.where(left, np.where(left, a, 0) + knee, np.where(right, np.where(right, b, 0) - knee, 0))  # u = 0
        top = b - knee - origin  # where the upper end begins
        ratio = np.maximum(np.minimum(x - a, b - x), TINY) / knee
        bend = np.log(np.minimum(ratio, 1))  # u by which the point lies beyond a knee
        u = np.clip(x - origin, np.where(left, 0, -np.inf), top) + np.where(x - a < b - x, bend, -bend)
        u = u + step
        near, far = a + knee * np.exp(np.minimum(u, 0)), b - knee * np.exp(np.minimum(top - u, 0))
        return np.where(left & (u < 0), near, np.where(u > top, far, origin + u))

    def stretch(self, x, sigma):
        r"""By how much `perturb` lengthens the mean distance of rows x (n, d) from the end, in each column with one end (d,); 1 in others.

        .. math:: c = \frac{\sum_n E |\tilde x_n - a|}{\sum_n |x_n - a|}

        Noise that multiplies distances lengthens them, by e^{sigma^2/2} near the end: exponential rows on the whole by 8 % at
        sigma = 0.8. Divided by c they keep their mean. The mean over the noise is by Gauss-Hermite quadrature.

        Source: the shrinkage of a smoothed sample, Silverman & Young (1987), Biometrika 74:469-479, for one end.
        """
        one, end = self._one_end
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        moved = [np.abs(self._moved(x, sigma * eps) - end).mean(axis=0) for eps in nodes]  # (NODES, d)
        before = np.abs(x - end).mean(axis=0)
        after = weights / weights.sum() @ np.array(moved)
        return np.where(one & (before > 0), after / np.where(before > 0, before, 1), 1.0)

    @property
    def _one_end(self):
        """Which columns have one end alone (d,), and where it is, 0 in others."""
        one = np.isfinite(self.lower) != np.isfinite(self.upper)
        return one, np.where(one, np.where(np.isfinite(self.lower), self.lower, self.upper), 0)

    def restricted(self, model):
        """An energy's density within, as a target of samplers: log p = -f up to a constant, -inf outside."""

        def logpdf(x):
            return np.where(self.inside(x), -model.energy(x), -np.inf)

        return SimpleNamespace(dim=model.dim, logpdf=logpdf, score=model.score)


def support_of(where, support, d):
    """The Support of a pair (lower, upper), each a number or (d,), or of a Support; ValueError for anything else, or without an end."""
    try:
        lower, upper = support
    except (TypeError, ValueError):
        raise ValueError(
            f"{where}: support is {support!r}, expected (lower, upper), each one number or {d}, one for a column; infinite where "
            f"there is no end."
        ) from None
    ends = Support(*box(where, lower, upper, d).T)
    if np.isinf(ends).all():
        raise ValueError(
            f"{where}: no column has an end: support is infinite everywhere, expected at least one finite end; without any the loss "
            f"is the implicit one: use 'implicit'."
        )
    return ends
