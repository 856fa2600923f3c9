"""A frozen distribution of SciPy as a density: `stats.gamma(3)`, `stats.multivariate_normal(mean, cov)`, `stats.Normal()`."""

import numpy as np

from ..common.inputs import generator


def is_frozen(thing):
    """Whether a thing is a distribution of SciPy: frozen, or of the newer kind."""
    return not isinstance(thing, type) and type(thing).__module__.startswith("scipy.stats")


class Frozen:
    """A distribution of SciPy with the words used here: dim, support, logpdf, sample. It has no score: that is differenced.

    Parameters
    ----------
    given : frozen distribution of scipy.stats, continuous, of one or several dimensions

    Raises
    ------
    TypeError
        If it is not frozen, or discrete, and so has no density.
    """

    def __init__(self, given):
        name = type(given).__name__
        if hasattr(given, "freeze") or not hasattr(given, "logpdf"):
            kind = "not frozen" if hasattr(given, "freeze") else "discrete or no density"
            like = f"{getattr(given, 'name', 'norm')}(...)" if hasattr(given, "freeze") else "norm(0, 1)"
            raise TypeError(
                f"density is {name} of SciPy, {kind}; expected a frozen continuous distribution, such as scipy.stats.{like}."
            )
        self.given = given
        self.name = getattr(getattr(given, "dist", None), "name", None) or name.removesuffix("_frozen")
        self.label = f"{self.name} of SciPy"
        dim = getattr(given, "dim", None)
        self._flat = dim is None  # functions of numbers, not of rows
        self.dim = 1 if dim is None else int(dim)
        ends = given.support() if self._flat else (-np.inf, np.inf)
        if np.ndim(ends[0]) or np.ndim(ends[1]):
            raise TypeError(
                f"density is {name} with parameters of shape {np.shape(ends[0])}, expected one distribution."
            )
        self.support = np.tile(np.array(ends, float), (self.dim, 1))

    def logpdf(self, x):
        """log p(x) of rows x (n, d): (n,) array."""
        return np.asarray(self.given.logpdf(x[:, 0] if self._flat else x), float).reshape(len(x))

    def sample(self, n, *, rng=None):
        """n samples (n, d)."""
        rng = generator(self.name, rng)
        old = hasattr(self.given, "rvs")
        found = self.given.rvs(n, random_state=rng) if old else self.given.sample(n, rng=rng)
        return np.asarray(found, float).reshape(n, self.dim)

    def __repr__(self):
        return f"{self.label}, dim={self.dim}"
