r"""A case: a data density p_0 and a model of its score, with every mean that the lines of the derivation ask for.

Everything a line needs is a mean under the data density, so a case evaluates all of them once, on the same nodes or the same
samples, as columns of one integrand. A side is a linear combination of these means; the bound of a gap then knows how its
terms depend on each other.
"""

import functools
from dataclasses import dataclass
from dataclasses import field as entry
from typing import Any

import numpy as np

from ..numerics.flux import flux
from ..numerics.quadrature import Integral, expectation
from ..objectives.arrays import explicit_loss, implicit_loss
from .means import Mean, MonteCarlo, Quadrature

STEP = 1e-30  # of a complex step
TINY = float(np.finfo(float).tiny)
LINEAR = {"score . w", "score g", "drift g"}  # means of the score of the data along bounded directions
SQUARES = {"fisher", "explicit", "d explicit"}  # means of something quadratic in the score of the data
ROUGH = {1: 1 << 11, 2: 1 << 13, 3: 1 << 15}  # points of a grid for a bound
BUDGET = {1: 1 << 17, 2: 1 << 18, 3: 1 << 20}  # points of a grid: what a step may take, by dimension


def integrated(columns, density, *, rtol=1e-12, breaks=(), budget=None):
    """The means of columns(x), a dictionary of names, under a density, by quadrature on one grid."""
    names: list[str] = []

    def integrand(x):
        found = columns(x)
        names[:] = found
        return np.stack([*found.values()], 1)

    integral = expectation(integrand, density, rtol=rtol, breaks=breaks, budget=budget or BUDGET[density.dim])
    return Quadrature(dict(zip(names, integral.value, strict=True)), dict(zip(names, integral.error, strict=True)))


def averaged(columns):
    """The means of columns, a dictionary of names, each (n,), over the same n independent samples."""
    table = np.stack([*columns.values()])
    return MonteCarlo(dict(zip(columns, table.mean(1), strict=True)), np.atleast_2d(np.cov(table)), table.shape[1])


@dataclass
class Case:
    """A data density p_0 and a model of its score, with every mean the steps ask for.

    density : anything with dim, support, logpdf, score, sample. model : anything with score and trace (an energy or a score network,
    another density, a formula). breaks : per axis, points where the model is not smooth. samples : if given, means are
    taken over them (Monte Carlo) instead of by quadrature. spare : samples to fall back on where quadrature cannot decide.
    """

    density: Any
    model: Any
    subject: str = ""
    breaks: tuple = ()
    samples: np.ndarray | None = None
    seed: int = 0
    spare: np.ndarray | None = None
    direction: Any = entry(default=None, repr=False)

    @property
    def dim(self):
        """Dimension d of x."""
        return self.density.dim

    @property
    def method(self):
        """How the means are taken: "quadrature" or "monte carlo"."""
        return "quadrature" if self.samples is None else "monte carlo"

    def columns(self, x):
        """All integrands at x (n, d), by name; s_0 is the score of the data, s that of the model, g a test function, `bend`."""
        s_0, s = self.density.score(x), self.model.score(x)
        trace = self.model.trace(x)
        split = self.dim <= 3 and hasattr(self.model, "jacobian")
        jacobian = self.model.jacobian(x) if split else np.zeros((len(x), 0, 0))
        g, grad_g, laplacian_g = self.bend(x)
        out = {
            "one": np.ones(len(x)),
            "fisher": 0.5 * np.sum(s_0**2, 1),
            "square": 0.5 * np.sum(s**2, 1),
            "cross": np.sum(s_0 * s, 1),
            "trace": trace,
            "data trace": self.density.trace(x) if self.knows_trace else np.zeros(len(x)),
            "explicit": explicit_loss(s, s_0),
            "implicit": implicit_loss(s, trace),
            "score . w": s_0 @ self.w,
            "score g": s_0 @ self.w * g,
            "slope g": grad_g @ self.w,
            "drift g": np.sum(s_0 * grad_g, 1),
            "laplacian g": laplacian_g,
        }
        for i in range(jacobian.shape[1]):
            out[f"cross {i}"] = s_0[:, i] * s[:, i]
            out[f"slope {i}"] = jacobian[:, i, i]
        return out

    @functools.cached_property
    def scale(self):
        """About a standard deviation of the data along each axis (d,), from the density's frame; 1 without one."""
        frame = getattr(self.density, "frame", None)
        return np.ones(self.dim) if frame is None else np.sqrt(np.sum(frame.axes**2, 1))

    @functools.cached_property
    def w(self):
        """A direction (d,) along which a standard deviation of the data is about one quarter."""
        return 0.25 / (self.scale * np.sqrt(self.dim))

    def bend(self, x):
        """A test function g (n,), its gradient (n, d) and its Laplacian (n,): g = u / sqrt(1 + u^2), u = w . x + 1/2.

        Bounded, and as smooth far out as near, so that heavy tails can be integrated.
        """
        u = x @ self.w + 0.5
        r = 1 / np.sqrt(1 + u * u)
        return u * r, (r**3)[:, None] * self.w, -3 * u * r**5 * (self.w @ self.w)

    @functools.cached_property
    def moved(self):
        """The model a complex step along `direction` away, through every pass."""
        return self.model.with_theta(self.model.theta + 1j * STEP * self.direction)

    def score_slope(self, x):
        """d s / d theta along `direction` (n, d)."""
        return self.moved.score(x).imag / STEP

    def slopes(self, x):
        """d/dtheta of both losses along `direction`."""
        s, trace = self.moved.score(x), self.moved.trace(x)
        explicit, implicit = explicit_loss(s, self.density.score(x)), implicit_loss(s, trace)
        return {"d explicit": explicit.imag / STEP, "d implicit": implicit.imag / STEP}

    def _means(self, columns, rtol):
        """The mean of every column, all on the same points."""
        if self.samples is not None:
            return averaged(columns(self.samples))
        return integrated(columns, self.density, rtol=rtol, breaks=self.breaks)

    @functools.cached_property
    def moments(self):
        """Every column's mean."""
        own = 2e-10 if self.exact else 1e-9  # no further than a differenced score carries
        return self._means(self.columns, 1e-12 if self.dim < 3 and not hasattr(self.density, "slack") else own)

    def _slack_columns(self, x):
        """What the columns may be off by where the data's score had to be differenced, beside 1: those linear in s_0, its products with s,
        and its square, since the mean of one may be infinite where that of another is not."""
        s_0, s = (np.hypot.reduce(a, axis=1) for a in (self.density.score(x), self.model.score(x)))  # of 1e160 too
        e, e_trace = self.density.slack(x)
        return {
            "one": np.ones(len(x)),
            "slack": 1 + 2 * e * np.linalg.norm(self.w),
            "slack of products": 1 + 2 * e * np.maximum(s, TINY),  # of an infinite e too
            "slack of squares": 1 + 2 * e * (s_0 + s + e),
            "slack of the trace": 1 + e_trace,
        }

    @functools.cached_property
    def slack_moments(self):
        """Means of these; errors are too rough to be integrated sharply, and need not be beside 1."""
        if self.samples is not None:
            return averaged(self._slack_columns(self.samples))
        return integrated(self._slack_columns, self.density, rtol=1e-7, breaks=self.breaks, budget=ROUGH[self.dim])

    @functools.cached_property
    def slope_moments(self):
        """The means of `slopes`."""
        return self._means(self.slopes, 1e-11)

    def mean(self, name):
        """E[column] as a side of an equation."""
        return Mean(self.slope_moments if name.startswith("d ") else self.moments, {name: 1.0})

    def flux(self, field):
        """Flux of p_0 times a field (n, d) -> (n, d) through the boundary of the support; an estimate of its size by Monte Carlo."""
        if self.samples is None:
            return flux(field, self.density)
        if getattr(self.density, "empty", 0.0):
            return self.density.edge(field)
        return far_flux(self.density, field, self.samples, self.seed)

    @functools.cached_property
    def boundary(self) -> Integral:
        """Flux of p_0 s: the term that integration by parts leaves behind."""
        return self.flux(self.model.score)

    @functools.cached_property
    def own_boundary(self) -> Integral:
        """Flux of p_0 s_0, the data's own score."""
        return self.flux(self.density.score)

    @functools.cached_property
    def bend_boundary(self) -> Integral:
        """Flux of p_0 grad g."""
        return self.flux(lambda x: self.bend(x)[1])

    @property
    def unbounded(self):
        """Whether the data may lie anywhere in R^d."""
        return bool(np.isinf(self.density.support).all()) and not hasattr(self.density, "intervals")

    @property
    def exact(self):
        """Whether the data's score is given, by the density itself or by somebody; False where it has to be differenced."""
        return getattr(self.density, "has", {"score": True})["score"]

    @property
    def knows_trace(self):
        """Whether the trace of the data's score can be had; somebody's own density may have log p alone."""
        return getattr(self.density, "has_trace", True)

    def slack(self, *sides):
        """What the data's score, where it had to be differenced, may add to the error of a line; 0 for the densities here.

        Only what the line's own means ask for: the mean of |s_0|^2 may be infinite where that of s_0 . s is not.
        """
        if not hasattr(self.density, "slack"):
            return 0.0
        own = [self.__dict__.get(name) for name in ("moments", "slope_moments")]
        names = {
            name for side in sides if any(side.source is source for source in own if source) for name in side.weights
        }
        kinds = {"slack": names & LINEAR, "slack of products": {n for n in names if n.startswith("cross")}}
        kinds |= {"slack of squares": names & SQUARES, "slack of the trace": names & {"data trace"}}
        if not any(kinds.values()):
            return 0.0
        found = [Mean(self.slack_moments, {kind: 1.0, "one": -1.0}) for kind, names in kinds.items() if names]
        return 8 * sum(abs(mean.value) + mean.error for mean in found)

    @functools.cached_property
    def slack_at_points(self):
        """The same for a line that is computed at points: the largest error of the data's score at 64 samples."""
        if not hasattr(self.density, "slack"):
            return 0.0
        return 8 * float(self.density.slack_of_score(self.density.sample(64, rng=self.seed)).max())

    @property
    def smooth_data(self):
        """Whether the data's score has a trace and no jumps: their frame names none."""
        return self.knows_trace and not any(len(b) for b in getattr(getattr(self.density, "frame", None), "breaks", ()))


def far_flux(density, field, x, seed):
    """Estimate of how large the flux of p v through a sphere far outside the samples can be, for dimensions beyond quadrature.

    The largest |p v . n| of 64 random points of the sphere times its area, in logarithms, since both are extreme. It bounds the flux where
    no point of the sphere has more than the largest of these: for densities that fall alike in all directions out there. Its error is
    that number, and its value 0.
    """
    from scipy.special import gammaln

    d = x.shape[1]
    center = x.mean(0)
    radius = 2 * np.sqrt(np.max(np.sum((x - center) ** 2, 1)))
    n = np.random.default_rng(seed).standard_normal((64, d))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    points = center + radius * n
    outward = np.abs(np.sum(field(points) * n, 1))
    log_area = np.log(2) + d / 2 * np.log(np.pi) - gammaln(d / 2) + (d - 1) * np.log(radius)
    logs = density.logpdf(points) + np.log(np.maximum(outward, np.finfo(float).tiny))
    bound = np.exp(np.clip(log_area + logs.max(), -700.0, 700.0))
    return Integral(0.0, bound, 64, True, f"about {bound:.1e} or less through a sphere of radius {radius:.3g}")
