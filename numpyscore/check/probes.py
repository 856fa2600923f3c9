r"""Probe models that need no framework: written with `*`, `@` and `.sum(-1)` alone, they run, and differentiate, on anybody's arrays.

.. math:: E(x) = \tfrac12 x^T A x + b \cdot x + \tfrac14 \sum_k (q_k \cdot x)^4, \qquad
    s(x) = -(A x + b + \sum_k r_k (q_k \cdot x)^3)

with r_k = q_k and A symmetric for an energy, and both general for a score, which need not be a gradient. Score, Jacobian and
trace are closed forms, so every term of every objective is known. A probe also writes down where it was asked: the noise that a loss drew
for itself is the distance from there to the data.
"""

import copy

import numpy as np

from ..common.arrays import concrete, framework


class Probe:
    """A random model of `kind` "energy" or "score" in dimension d, times `scale`."""

    def __init__(self, kind, d, rng, scale=1.0, quartic=True):
        self.kind, self.dim = kind, d
        A = 0.8 * rng.standard_normal((d, d))
        self.A = scale * (A + A.T) / 2 if kind == "energy" else scale * A
        self.b = scale * rng.standard_normal(d)
        self.Q = 0.5 * rng.standard_normal((d, 2)) * quartic
        R = self.Q if kind == "energy" else 0.5 * rng.standard_normal((d, 2)) * quartic
        self.R = scale * R

    @classmethod
    def isotropic(cls, kind, d, scale):
        """scale |x|^2 / 2, for the oracle with one number."""
        out = cls(kind, d, np.random.default_rng(0), 1.0, quartic=False)
        out.A, out.b = scale * np.eye(d), np.zeros(d)
        return out

    def scaled(self, c):
        """c times this model."""
        out = copy.copy(self)
        out.A, out.b, out.R = c * self.A, c * self.b, c * self.R
        return out

    # ---- closed forms, on ndarrays

    def energy(self, x):
        """(n,); of a score probe, the energy of its symmetric part, for want of another."""
        y = x @ self.Q
        return np.sum(x * (0.5 * x @ self.A + self.b), axis=-1) + 0.25 * np.sum(y**3 * (x @ self.R), axis=-1)

    def score(self, x):
        """(n, d)."""
        return -(x @ self.A + self.b + (x @ self.Q) ** 3 @ self.R.T)

    def jacobian(self, x):
        """jac[n, i, j] = d s_i / d x_j, (n, d, d)."""
        return -(self.A.T + 3 * np.einsum("ik,...k,jk->...ij", self.R, (x @ self.Q) ** 2, self.Q))

    def trace(self, x):
        """(n,)."""
        return np.trace(self.jacobian(x), axis1=-2, axis2=-1)


def random_probe(kind, d, rng):
    """A probe model of random sign and scale."""
    return Probe(kind, d, rng, rng.choice([-1, 1]) * rng.uniform(0.5, 2))


class Asked:
    """A probe as the user's loss sees it: a function of his arrays, with `scale` a number of his that he may differentiate in.

    Called like a network, `fn(x)`, with points (..., d); whatever else he passes (a noise level) is written down and not used.
    NumPy code may instead call `fn.energy(x)`, `fn.score(x)`, `fn.trace(x)`, `fn.jacobian(x)`, `fn.curvature(x, v)`, `fn.jvp(x, v)`.
    """

    def __init__(self, probe, make, scale=None):
        self.probe, self.dim = probe, probe.dim
        self._constants = [make(np.ascontiguousarray(a)) for a in (probe.A, probe.b, probe.Q, probe.R.T)]
        self.scale = scale
        self.points: list = []  # ndarrays (..., d), or None where a compiler hid them
        self.told: list = []
        self.as_score = False

    def __call__(self, x, *told, **named):
        return self.of(x, self.scale, *told, **named)

    def of(self, x, scale, *told, **named):
        """The model's value at x in the user's arrays."""
        self._note(x, told, named)
        A, b, Q, R = (_beside(x, c) for c in self._constants)
        y = x @ Q
        if self.probe.kind == "energy":
            value = (x * (0.5 * (x @ A) + b)).sum(-1) + 0.25 * ((y * y * y) * (x @ R.T)).sum(-1)
        else:
            value = -(x @ A + b + (y * y * y) @ R)
        return value if scale is None else scale * value

    def _note(self, x, told, named):
        self.points.append(concrete(x))
        self.told.append([concrete(value) for value in (*told, *named.values())])

    # ---- for NumPy code, which differentiates by hand

    def energy(self, x):
        """Energy (n,)."""
        self._note(x, (), {})
        return self.probe.energy(np.asarray(x))

    def score(self, x, *told, **named):
        """Score (n, d)."""
        self.as_score = True
        self._note(x, told, named)
        return self.probe.score(np.asarray(x))

    def jacobian(self, x):
        """Jacobian of the score (n, d, d)."""
        self._note(x, (), {})
        return self.probe.jacobian(np.asarray(x))

    def trace(self, x):
        """Trace of it (n,)."""
        self._note(x, (), {})
        return self.probe.trace(np.asarray(x))

    def jvp(self, x, v):
        """J v (n, d)."""
        return np.einsum("...ij,...j->...i", self.jacobian(x), v)

    def vjp(self, x, v):
        """v^T J (n, d)."""
        return np.einsum("...ij,...i->...j", self.jacobian(x), v)

    def curvature(self, x, v):
        """v^T J v (n,)."""
        return np.sum(v * self.jvp(x, v), axis=-1)


def _beside(x, constant):
    """A constant in the dtype of x (and on its device)."""
    if getattr(x, "dtype", None) == constant.dtype or not hasattr(x, "dtype"):
        return constant
    return constant.to(x) if hasattr(constant, "to") and framework(constant) == "torch" else constant.astype(x.dtype)
