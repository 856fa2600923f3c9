r"""Models whose answers are known everywhere and that run, and differentiate, on anybody's arrays.

A probe is a sum of ridge functions, written with `*`, `/`, `@` and `.sum(-1)` alone,

.. math:: E(x) = \tfrac12 x^T A x + b \cdot x + \sum_k r_k f(q_k \cdot x + o_k), \qquad f(y) = 1 / (1 + y^2)

and its score is minus the gradient; a score probe has vectors R_k in place of r_k q_k and need be no gradient. With enough ridges the answers at the
points where a loss asks, and the Jacobians there, are as good as independent random numbers: that is what `identify` needs.
"""

import copy

import numpy as np

from ...common.arrays import concrete, framework

RIDGES = 60


class Probe:
    """A random model of `kind` "energy" or "score" in dimension d."""

    def __init__(self, kind, d, rng, scale=1.0, ridges=RIDGES):
        self.kind, self.dim = kind, d
        A = 0.5 * rng.standard_normal((d, d))
        self.A = scale * (A + A.T) / 2 if kind == "energy" else scale * A
        self.b = scale * rng.standard_normal(d)
        self.Q = rng.standard_normal((d, ridges)) / np.sqrt(d / 2)
        self.o = 1.5 * rng.standard_normal(ridges)
        size = 4 * scale / np.sqrt(max(1, ridges))
        if kind == "energy":
            self.r = size * rng.standard_normal(ridges)
            self.R = self.Q * self.r
        else:
            self.R = size * rng.standard_normal((d, ridges))
            self.r = np.sum(self.R * self.Q, axis=0) / np.maximum(np.sum(self.Q**2, axis=0), 1e-9)

    @classmethod
    def isotropic(cls, kind, d, scale, b=0.0):
        """scale |x|^2 / 2 + b.x."""
        out = cls(kind, d, np.random.default_rng(0), ridges=0)
        out.A, out.b = scale * np.eye(d), b + np.zeros(d)
        return out

    def scaled(self, c):
        """c times this model."""
        out = copy.copy(self)
        out.A, out.b, out.r, out.R = c * self.A, c * self.b, c * self.r, c * self.R
        return out

    def moved(self, size, rng):
        """This model and a little of another one."""
        out, A = copy.copy(self), rng.standard_normal(self.A.shape)
        out.A = self.A + size * (A + A.T if self.kind == "energy" else A)
        out.b = self.b + size * rng.standard_normal(self.dim)
        out.r = self.r + size * rng.standard_normal(self.r.shape)
        out.R = self.Q * out.r if self.kind == "energy" else self.R + size * rng.standard_normal(self.R.shape)
        return out

    # ---- closed forms, on ndarrays (..., d)

    def _f(self, x):
        """f, f' and f'' at the ridges (..., k)."""
        y = x @ self.Q + self.o
        f = 1 / (1 + y * y)
        return f, -2 * y * f * f, (8 * y * y * f - 2) * f * f

    def energy(self, x):
        """(...,); of a score probe, some energy, for want of another."""
        return np.sum(x * (0.5 * x @ self.A + self.b), axis=-1) + self._f(x)[0] @ self.r

    def score(self, x):
        """(..., d): -(A x + b + R f') with R = r Q for an energy; f in place of f' for a score."""
        return -(x @ self.A + self.b + self._f(x)[self.kind == "energy"] @ self.R.T)

    def jacobian(self, x):
        """jac[..., i, j] = d s_i / d x_j."""
        slope = self._f(x)[1 + (self.kind == "energy")]
        return -(self.A.T + np.einsum("ik,...k,jk->...ij", self.R, slope, self.Q))

    def trace(self, x):
        """(...,)."""
        return np.trace(self.jacobian(x), axis1=-2, axis2=-1)

    @property
    def constants(self):
        """What the formula in the user's framework is made of."""
        return self.A, self.b, self.Q, self.o, self.r, self.R.T


def random_probe(kind, d, rng):
    """A probe model of random sign and scale."""
    return Probe(kind, d, rng, rng.choice([-1, 1]) * rng.uniform(0.5, 2))


class Asked:
    """A probe as the user's loss sees it: a function of his arrays, with `scale` a number of his that he may differentiate in.

    Called like a network, `fn(x)`, with points (..., d) or (..., *shape); whatever else he passes (a noise level) is written down and not
    used. NumPy code may instead call `fn.energy(x)`, `fn.score(x)`, `fn.trace(x)`, `fn.jacobian(x)`, `fn.curvature(x, v)`, `fn.jvp(x, v)`.
    """

    def __init__(self, probe, make, shape=None):
        self.probe, self.dim, self.shape = probe, probe.dim, shape
        self.constants = [make(np.ascontiguousarray(a)) for a in probe.constants]
        self.scale = None
        self.points: list = []  # ndarrays (..., d), or None where a compiler hid them
        self.told: list = []
        self.as_score = self.methods = False

    def __call__(self, x, *told, **named):
        return self.of(x, self.scale, *told, **named)

    def of(self, x, scale, *told, **named):
        """The model's value at x in the user's arrays."""
        images = self.shape is not None and tuple(x.shape[-len(self.shape) :]) == self.shape
        at = x.reshape((*x.shape[: -len(self.shape)], self.dim)) if images and self.shape else x
        self._note(at, told, named)
        A, b, Q, o, r, R = (_beside(at, c) for c in self.constants)
        y = at @ Q + o
        f = 1 / (1 + y * y)
        if self.probe.kind == "energy":
            value = (at * (0.5 * (at @ A) + b)).sum(-1) + (f * r).sum(-1)
        else:
            value = -(at @ A + b + f @ R)
            value = value.reshape(x.shape) if images else value
        return value if scale is None else scale * value

    def _note(self, x, told, named):
        self.points.append(concrete(x))
        self.told.append([concrete(value) for value in (*told, *named.values()) if value is not None])

    # ---- for NumPy code, which differentiates by hand

    def _of(self, what, x, told=(), named=None):
        self._note(x, told, named or {})
        self.methods = True
        return getattr(self.probe, what)(np.asarray(x))

    def energy(self, x):
        """Energy (n,)."""
        return self._of("energy", x)

    def score(self, x, *told, **named):
        """Score (n, d)."""
        self.as_score = True
        return self._of("score", x, told, named)

    def jacobian(self, x):
        """Jacobian of the score (n, d, d)."""
        return self._of("jacobian", x)

    def trace(self, x):
        """Trace of it (n,)."""
        return self._of("trace", x)

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
