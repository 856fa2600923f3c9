r"""What every step shares: a case (a density and a model on it), its means with bounds, and the verdict.

A step states one line of the derivation as left = right and computes both sides. Everything a line needs is a mean under
the data density, so a case evaluates all of them once, on the same nodes or the same samples, as columns of one
integrand. A side is a linear combination of these means; the bound of a gap then knows how its terms depend on each other.
"""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..losses import explicit_loss, implicit_loss
from ..quadrature import Integral, expectation, flux

EPS = np.finfo(float).eps
ENOUGH = 1e-6  # a bound above this share of the terms proves nothing: the verdict is "inconclusive"
BUDGET = {1: 1 << 17, 2: 1 << 18, 3: 1 << 20}  # points of a grid: what a step may take, by dimension
SIGMAS = 4.0  # half-width of a Monte Carlo bound in standard errors: one false alarm in 16 000


# ------------------------------------------------------------------------------- verdicts


class Hypothesis(NamedTuple):
    """A condition the step needs, how far it is from holding, and whether it does."""

    name: str
    value: float
    bound: float
    holds: bool

    def __str__(self):
        sign = "holds" if self.holds else "FAILS"
        return f"{self.name}: {self.value:.3g} +- {self.bound:.1g} ({sign})"


@dataclass(frozen=True)
class Verdict:
    """Both sides of one line of the derivation, and what is to be made of them.

    left, right : the two sides; gap = left - right; bound : |computed gap - true gap| is at most this (for Monte Carlo,
    four standard errors). predicted : the gap that theory foresees, 0 for an identity whose hypotheses hold.
    holds : whether the identity holds within the bound; None if the bound is too wide to tell.
    expected : whether it should hold. A counterexample is expected not to, and to miss by `predicted`.
    """

    step: str
    chapter: str
    left: float
    right: float
    gap: float
    bound: float
    holds: bool | None
    expected: bool
    hypotheses: tuple[Hypothesis, ...] = ()
    note: str = ""
    subject: str = ""
    predicted: float = 0.0
    method: str = "quadrature"
    source: str = ""

    @property
    def ok(self):
        """True as it should be, False if a difference was found, None if inconclusive."""
        if self.holds is None:
            return None
        return abs(self.gap - self.predicted) <= self.bound and self.holds == self.expected

    @property
    def word(self):
        """The verdict in a word or two."""
        if self.ok is None:
            return "inconclusive"
        if not self.ok:
            return "DIFFERS"
        return "holds" if self.expected else "fails as predicted"

    def to_dict(self):
        """Plain numbers, strings and lists, for JSON."""
        record = asdict(self) | {"verdict": self.word, "ok": self.ok}
        record["hypotheses"] = [dict(zip(Hypothesis._fields, h, strict=True)) for h in self.hypotheses]
        return {key: _plain(value) for key, value in record.items()}


def _plain(value):
    """JSON has no infinity and no NaN: they become None, numpy's scalars become Python's."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


# ------------------------------------------------------------------------------- means with bounds


class Mean:
    """A linear combination of means taken together (`source`) and of a constant that carries its own error."""

    def __init__(self, source, weights=None, constant=0.0, error=0.0):
        self.source, self.weights, self.constant, self.constant_error = source, weights or {}, constant, error

    def __add__(self, other):
        if not isinstance(other, Mean):
            return Mean(self.source, self.weights, self.constant + other, self.constant_error)
        weights = dict(self.weights)
        for name, w in other.weights.items():
            weights[name] = weights.get(name, 0.0) + w
        source, error = self.source or other.source, self.constant_error + other.constant_error
        return Mean(source, weights, self.constant + other.constant, error)

    def __mul__(self, c):
        weights = {name: c * w for name, w in self.weights.items()}
        return Mean(self.source, weights, c * self.constant, abs(c) * self.constant_error)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return self + (-other)

    __radd__, __rmul__ = __add__, __mul__

    @property
    def terms(self):
        """The constant and each weighted mean."""
        return [self.constant, *(w * self.source.value[name] for name, w in self.weights.items())]

    @property
    def value(self):
        """The number."""
        return sum(self.terms)

    @property
    def size(self):
        """Sum of the absolute terms: what the error is to be compared with."""
        return sum(map(abs, self.terms))

    @property
    def error(self):
        """Its bound: errors of the integrals added up, or SIGMAS standard errors of this very combination."""
        return self.constant_error + (self.source.error_of(self.weights) if self.weights else 0.0)


class Quadrature(NamedTuple):
    """Means by quadrature: their errors are bounds and add up."""

    value: dict
    error: dict

    def error_of(self, weights):
        """Bound of a linear combination."""
        return sum(abs(w) * self.error[name] for name, w in weights.items())


class MonteCarlo(NamedTuple):
    """Means over samples: the covariance of the columns gives the standard error of any combination."""

    value: dict
    cov: np.ndarray
    n: int

    def error_of(self, weights):
        """SIGMAS standard errors of a linear combination, plus rounding."""
        w = np.array([weights.get(name, 0.0) for name in self.value])
        rounding = EPS * np.sqrt(self.n) * np.abs(w) @ np.abs(np.array([*self.value.values()]))
        return SIGMAS * np.sqrt(max(w @ self.cov @ w, 0.0) / self.n) + rounding


# ------------------------------------------------------------------------------- a case


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
    direction: Any = field(default=None, repr=False)

    @property
    def dim(self):
        """Dimension d of x."""
        return self.density.dim

    @property
    def method(self):
        """How the means are taken: "quadrature" or "monte carlo"."""
        return "quadrature" if self.samples is None else "monte carlo"

    def columns(self, x):
        """All integrands at x (n, d), by name; s_0 is the score of the data, s that of the model."""
        s_0, s = self.density.score(x), self.model.score(x)
        trace = self.model.trace(x)
        split = self.dim <= 3 and hasattr(self.model, "jacobian")
        jacobian = self.model.jacobian(x) if split else np.zeros((len(x), 0, 0))
        out = {
            "one": np.ones(len(x)),
            "fisher": 0.5 * np.sum(s_0**2, 1),
            "square": 0.5 * np.sum(s**2, 1),
            "cross": np.sum(s_0 * s, 1),
            "trace": trace,
            "explicit": explicit_loss(s, s_0),
            "implicit": implicit_loss(s, trace),
        }
        for i in range(jacobian.shape[1]):
            out[f"cross {i}"] = s_0[:, i] * s[:, i]
            out[f"slope {i}"] = jacobian[:, i, i]
        return out

    def slopes(self, x):
        """d/dtheta of both losses along `direction`, by a complex step through every pass."""
        moved = self.model.with_theta(self.model.theta + 1e-30j * self.direction)
        s, trace = moved.score(x), moved.trace(x)
        explicit, implicit = explicit_loss(s, self.density.score(x)), implicit_loss(s, trace)
        return {"d explicit": explicit.imag / 1e-30, "d implicit": implicit.imag / 1e-30}

    def _means(self, columns, rtol):
        """The mean of every column, all on the same points."""
        if self.samples is not None:
            found = columns(self.samples)
            table = np.stack([*found.values()])
            return MonteCarlo(dict(zip(found, table.mean(1), strict=True)), np.cov(table), table.shape[1])
        names: list[str] = []

        def integrand(x):
            found = columns(x)
            names[:] = found
            return np.stack([*found.values()], 1)

        integral = expectation(integrand, self.density, rtol=rtol, breaks=self.breaks, budget=BUDGET[self.dim])
        return Quadrature(dict(zip(names, integral.value, strict=True)), dict(zip(names, integral.error, strict=True)))

    @functools.cached_property
    def moments(self):
        """Every column's mean."""
        return self._means(self.columns, 1e-12 if self.dim < 3 else 1e-11)

    @functools.cached_property
    def slope_moments(self):
        """The means of `slopes`."""
        return self._means(self.slopes, 1e-11)

    def mean(self, name):
        """E[column] as a side of an equation."""
        return Mean(self.slope_moments if name.startswith("d ") else self.moments, {name: 1.0})

    def constant(self, value, error=0.0):
        """A number that is not a mean, with its own error."""
        return Mean(None, {}, float(value), float(error))

    @functools.cached_property
    def boundary(self) -> Integral:
        """Flux of p_0 s through the boundary of the support: the term that integration by parts leaves behind."""
        if self.samples is None:
            return flux(self.model.score, self.density)
        return far_flux(self.density, self.model.score, self.samples, self.seed)


def far_flux(density, field_, x, seed):
    """Bound of the flux of p v through a sphere far outside the samples, for dimensions beyond quadrature.

    The mean of |p v . n| over random points of the sphere times its area, in logarithms, since both are extreme.
    """
    from scipy.special import gammaln

    d = x.shape[1]
    center = x.mean(0)
    radius = 2 * np.sqrt(np.max(np.sum((x - center) ** 2, 1)))
    n = np.random.default_rng(seed).standard_normal((64, d))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    points = center + radius * n
    outward = np.abs(np.sum(field_(points) * n, 1))
    log_area = np.log(2) + d / 2 * np.log(np.pi) - gammaln(d / 2) + (d - 1) * np.log(radius)
    logs = density.logpdf(points) + np.log(np.maximum(outward, np.finfo(float).tiny))
    bound = np.exp(np.clip(log_area + logs.max(), -700.0, 700.0))
    return Integral(0.0, bound, 64, True, f"at most {bound:.1e} through a sphere of radius {radius:.3g}")


# ------------------------------------------------------------------------------- steps


@dataclass(frozen=True)
class Step:
    """One line of the derivation: a function of a case that returns both sides (and perhaps more), with its place."""

    name: str
    chapter: str
    equation: str
    source: str
    needs: Callable[[Case], bool]
    sides: Callable[[Case], "Sides"]

    def __call__(self, case):
        """The verdict of this line on a case."""
        sides = self.sides(case)
        gap = sides.left - sides.right
        bound = gap.error + 4 * EPS * gap.size
        predicted = 0.0 if sides.predicted is None else sides.predicted.value
        if sides.predicted is not None:
            bound += sides.predicted.error
        value = float(gap.value)
        scale = max(sides.left.size, sides.right.size, 1e-300)
        enough = np.isfinite(value) and bound <= (ENOUGH if case.samples is None else 1.0) * max(scale, 1.0)
        expected = all(h.holds for h in sides.hypotheses)
        return Verdict(
            step=self.name,
            chapter=self.chapter,
            left=float(sides.left.value),
            right=float(sides.right.value),
            gap=value,
            bound=float(bound),
            holds=bool(abs(value) <= bound) if enough else None,
            expected=bool(expected),
            hypotheses=tuple(sides.hypotheses),
            note=sides.note,
            subject=case.subject,
            predicted=float(0.0 if expected else predicted),
            method=case.method,
            source=self.source,
        )


class Sides(NamedTuple):
    """What a step returns: both sides, the hypotheses it looked at, and the gap foreseen where one fails."""

    left: Mean
    right: Mean
    hypotheses: tuple = ()
    predicted: Mean | None = None
    note: str = ""


STEPS: list[Step] = []


def step(name, chapter, equation, source, needs=lambda case: True):
    """Register a function of a case as a step of the derivation."""

    def register(sides):
        STEPS.append(Step(name, chapter, equation, source, needs, sides))
        return STEPS[-1]

    return register


def boundary_vanishes(case):
    """The hypothesis of integration by parts: p_0 s has no flux through the boundary."""
    term = case.boundary
    exists = np.isfinite(term.value) and np.isfinite(term.error)
    return Hypothesis(
        "boundary term p s vanishes",
        float(term.value),
        float(term.error),
        bool(exists and abs(term.value) <= term.error),
    )
