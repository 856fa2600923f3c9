"""A density in one dimension restricted to a union of intervals: what lies between them is outside."""

from functools import cached_property
from types import SimpleNamespace

import numpy as np

from ..numerics.quadrature import Frame, integrate
from .base import Density

KNOWN = 1e-9  # of the normaliser: what log p may be off by


class Restricted(Density):
    r"""A density q in one dimension restricted to a union of intervals: inside them, score and Jacobian are those of q.

    .. math:: \log p(x) = \log q(x) - \log \sum_j \int_{a_j}^{b_j} q, \qquad s = \nabla \log q

    The score knows neither the ends nor what each interval weighs. The normaliser is an integral of q over each interval, taken when
    logpdf is first called; ValueError where it is not known to 1e-9. p need not vanish at the inner ends, so the boundary term has 2m of
    them: `flux` adds all, and `interval_weight` vanishes at each.

    Parameters
    ----------
    density : density in one dimension
        For example ``Gaussian(0.0, 1.0)``.
    intervals : (m, 2) array, [x]
        Ends a_j < b_j in ascending order, not touching each other; the outermost may be infinite.

    Source: unions of intervals as domains of score matching, Yu, Drton & Shojaie (2022), Information and Inference 11:739-780.
    Test: test_intervals.py::test_normalised_and_zero_between
    """

    _says = ("intervals",)

    def __init__(self, density, intervals):
        if getattr(density, "dim", None) != 1 or not hasattr(density, "score"):
            raise ValueError(
                f"Restricted: density is {density!r}, expected a density with a score in one dimension, such as Gaussian(0.0, 1.0)."
            )
        self.intervals, self.within = union("Restricted", intervals), density
        low, high = density.support[0]
        if self.intervals[0, 0] < low or self.intervals[-1, 1] > high:
            raise ValueError(
                f"Restricted: intervals reach from {self.intervals[0, 0]} to {self.intervals[-1, 1]}, beyond the support of the density, "
                f"[{low}, {high}]; keep within it."
            )
        super().__init__(self.intervals[[0, -1], [0, 1]][None], np.zeros((), density.dtype))

    @cached_property
    def _log_mass(self):
        one, q = (lambda x: np.ones(len(x))), self.within
        found = [integrate(one, q.frame, ends[None], logpdf=q.logpdf) for ends in self.intervals]
        found = [part for part in found if part.evaluations]  # none where q underflows at every node
        mass, error = sum(part.value for part in found), sum(part.error for part in found)
        if not mass > 0:
            raise ValueError(
                "Restricted: the intervals hold no probability in float64, so log p cannot be normalised; score and trace need no normaliser."
            )
        if error > KNOWN * mass:
            raise ValueError(
                f"Restricted: the intervals hold {mass:.6g} +- {error:.1e} of the density, expected an error below {KNOWN:g} of that: log p cannot "
                f"be normalised to it. Give the density a frame that says where it is fine, or cut the intervals there."
            )
        return np.log(mass)

    def _inside(self, x):
        return ((self.intervals[:, 0] <= x) & (x <= self.intervals[:, 1])).any(axis=1)

    def _logpdf(self, x):
        return self.within.logpdf(x) - self._log_mass

    def _score(self, x):
        return self.within.score(x)

    def _jacobian(self, x):
        return self.within.jacobian(x)

    def _trace(self, x):
        return self.within.trace(x)

    def _sample(self, n, rng):
        if self._log_mass < np.log(1e-4):
            raise ValueError(
                f"Restricted.sample: the intervals hold exp({self._log_mass:.1f}) of the density, too little for rejection sampling. "
                f"Widen them, or run langevin in each."
            )
        accepted, missing = [np.empty((0, 1))], n
        while missing > 0:
            x = self.within.sample(int(1.1 * missing / np.exp(self._log_mass)) + 8, rng=rng)
            accepted.append(x[self._inside(x)][:missing])
            missing -= len(accepted[-1])
        return np.concatenate(accepted)

    @property
    def parts(self):
        """The density on one interval after the other, whose masses add to 1."""
        return [
            SimpleNamespace(dim=1, support=ends[None], logpdf=self.logpdf, frame=self.within.frame)
            for ends in self.intervals
        ]

    @property
    def frame(self):
        """That of the density, cut at the inner ends."""
        whole, inner = self.within.frame, self.intervals.ravel()[1:-1].tolist()
        known = whole.breaks[0] if whole.breaks else ()
        return Frame(
            whole.center, whole.axes, whole.tail, whole.reach, whole.detail, (tuple(sorted({*known, *inner})),)
        )


def union(where, intervals):
    """(m, 2) ends of intervals, in ascending order and apart; ValueError for anything else."""
    ends = np.asarray(intervals, float)
    if ends.ndim != 2 or ends.shape[1:] != (2,) or not len(ends) or not (np.diff(ends.ravel()) > 0).all():
        raise ValueError(
            f"{where}: intervals are {ends.tolist()}, expected (m, 2), each with its lower end first, in ascending order, with room between "
            f"them: [[-2, -1], [1, 2]]."
        )
    return ends
