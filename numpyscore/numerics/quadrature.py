"""Integrals under a density, with an error estimate and the evidence it rests on.

One rule: the trapezoidal rule after a change of variable per axis that makes the integrand fade at both ends. For analytic
integrands it converges geometrically (Trefethen & Weideman 2014, SIAM Review 56:385-458); the maps at finite ends are
those of Takahasi & Mori (1974, Publ. RIMS 9:721-741). Its error is known exactly, in Fourier space, so it is estimated there.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from ..common.callables import called
from ..common.inputs import count, positive
from ..common.names import having, kind_of
from ..common.numbers import Number, is_number, plain
from .trapezoid import EPS, Piece, inverse, subdivide, trapezoid

BUDGET = {1: 1 << 17, 2: 1 << 22, 3: 1 << 22}  # points of the largest grid on a line, of two such elsewhere
UNRESOLVED = 1e-3  # error of the mass beyond which too little of the density is known to bound anything under it


@dataclass(frozen=True)
class Frame:
    """Where a density lives: x = center + axes @ u, coordinates in which it is of unit size and centred.

    center : (d,) array; axes : (d, d) array (diagonal unless the support is all of R^d).
    tail : how the density decays in u at an infinite end: "gaussian", "exponential" or "algebraic".
    reach : half-width in u beyond which the density is in its tail (1 for a Gaussian; the farthest mean for a mixture).
    detail : size in u of its finest feature (1 for a Gaussian; smallest component sd over overall sd for a mixture).
    breaks : per axis of x, the points at which the density or its score is not smooth (a Laplace's location).
    """

    center: np.ndarray
    axes: np.ndarray
    tail: str = "gaussian"
    reach: float = 1.0
    detail: float = 1.0
    breaks: tuple = field(default=())


@dataclass(frozen=True, eq=False)
class Integral(Number):
    """An integral and how far it can be trusted.

    value : float, or array of the integrand's trailing shape; nan where the integral does not exist.
    error : the same shape; an estimate which abs(value - truth) does not exceed under the condition below. inf where nothing is known.
    evaluations : number of points at which the integrand was evaluated.
    converged : whether the accuracy asked for was reached; `note` says why not.

    The condition: every part of the integrand is seen by a node. The evidence is the spectrum of the samples, a second set of
    nodes that shares none with the first and is shifted at random (4096 on a line, half as dense as the rule in two and three
    dimensions), the mass of the density, which must be 1 within its own error, and, for kinks, a second rule that must agree.
    What no node sees cannot be seen in principle: on a line a part of g narrower than 1/4096 of the box, which is 1/200 of
    a Gaussian's standard deviation; in the plane and in space one narrower than the spacing of the nodes; a part beyond both the frame's reach
    and 15 times the box; a field that outgrows the density only beyond all points of a line that leads to 1e24 scales. A part
    of the *density* that is missed shows in its mass; a part of a normaliser given to `integrate` does not.
    """

    value: Any
    error: Any
    evaluations: int
    converged: bool = True
    note: str = ""

    @property
    def number(self):
        """Its value: sums, differences, products and quotients of integrals are integrals, and carry their errors."""
        return self.value

    def __add__(self, other):
        if isinstance(other, Integral):
            return self._made(other, self.value + other.value, self.error + other.error)
        return replace(self, value=self.value + plain(other)) if is_number(other) else NotImplemented

    def __mul__(self, other):
        if isinstance(other, Integral):
            error = abs(self.value) * other.error + abs(other.value) * self.error + self.error * other.error
            return self._made(other, self.value * other.value, error)
        if not is_number(other):
            return NotImplemented
        return replace(self, value=self.value * plain(other), error=self.error * abs(plain(other)))

    def __truediv__(self, other):
        return self * _inverse(other) if is_number(other) else NotImplemented

    def __rtruediv__(self, other):
        return _inverse(self) * other if is_number(other) else NotImplemented

    def __sub__(self, other):
        return self + -1.0 * other if is_number(other) else NotImplemented

    def __rsub__(self, other):
        return -1.0 * self + other if is_number(other) else NotImplemented

    __radd__, __rmul__ = __add__, __mul__

    def _made(self, other, value, error):
        """An integral made of both."""
        note = "; ".join(dict.fromkeys(n for n in (self.note, other.note) if n))
        return Integral(value, error, self.evaluations + other.evaluations, self.converged and other.converged, note)

    def __repr__(self):
        error = f"{self.error:.1e}" if np.ndim(self.error) == 0 else np.array2string(self.error, precision=1)
        state = "" if self.converged else ", not converged"
        return (
            f"Integral({self.value} +- {error}, {self.evaluations} evaluations{state}{self.note and ': ' + self.note})"
        )


def _inverse(other):
    """1 / b, of an integral with the error that b may have at most: infinite where b may be 0."""
    if not isinstance(other, Integral):
        return 1.0 / plain(other)
    b, e = np.asarray(other.value, float), np.asarray(other.error, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(e < abs(b), e / (abs(b) * np.maximum(abs(b) - e, 0.0)), np.inf)
        return replace(other, value=(1.0 / b)[()], error=error[()])


# --------------------------------------------------------------------------- what comes in


def support_of(where, support):
    """The ends of each axis (d, 2), looked at."""
    ends = np.asarray(support, float)
    if ends.ndim != 2 or ends.shape[1] != 2 or not np.all(ends[:, 0] < ends[:, 1]):
        raise ValueError(
            f"{where}: support is {ends.tolist()}, expected (d, 2) with lower < upper end, infinite ones as inf."
        )
    if not 1 <= len(ends) <= 3:
        raise ValueError(
            f"{where}: dimension {len(ends)}, expected 1, 2 or 3: the points of a grid grow like the power of the dimension. "
            f"Use Monte Carlo instead: np.mean(g(density.sample(n, rng=0)), axis=0) with its standard error."
        )
    return ends


def needs(where, name, function, density):
    """Refuse what is no function or no density, exchanged arguments among it."""
    if hasattr(function, "logpdf") and not callable(function):
        back = callable(density) and not hasattr(density, "logpdf")
        cure = (
            f"the arguments are exchanged: {where}({name}, density)"
            if back
            else f"pass one of its methods, such as {name}=p.score"
        )
        raise TypeError(f"{where}: {name} is {kind_of(function)}, expected a function of x (n, d); {cure}.")
    if not callable(function):
        raise TypeError(f"{where}: {name} is {kind_of(function)}, expected a function of x (n, d), one row a point.")
    having(where, "density", density, "logpdf", "support")


def frame_of(density, ends):
    """The density's own frame; else median and quartiles of a sample; else the unit frame (exponential tails, detail 1/4)."""
    if getattr(density, "frame", None) is not None:
        return density.frame
    d = len(ends)
    center, scale, reach = np.clip(np.zeros(d), ends[:, 0], ends[:, 1]), np.ones(d), 3.0
    if hasattr(density, "sample"):
        low, center, high = np.quantile(x := np.asarray(density.sample(1000, rng=0), float), [0.25, 0.5, 0.75], axis=0)
        scale = np.maximum((high - low) / 1.35, 1e-12 * (1 + np.abs(center)))
        reach = float(np.clip(np.quantile(np.abs(x - center) / scale, 0.99), 1, 10))
    return Frame(center, np.diag(scale), "exponential", reach, 0.25)


def rotated(axes):
    """Whether the axes of a frame are not those of x."""
    return bool((axes != np.diag(np.diag(axes))).any())


def per_axis(where, breaks, d):
    """breaks as d sequences; in one dimension a flat sequence will do."""
    if d == 1 and len(breaks) and np.ndim(breaks[0]) == 0:
        breaks = (breaks,)
    if len(breaks) not in (0, d) or any(np.ndim(b) != 1 for b in breaks):
        raise ValueError(
            f"{where}: breaks is {breaks!r}, expected {d} sequences of points, one per axis (empty for none)."
        )
    return [sorted(map(float, b)) for b in breaks] or [[] for _ in range(d)]


def values_of(where, name, a, x, trailing=None):
    """One finite row per point: `a` as a float64 array; +-inf passes, the sum will notice."""
    a = np.asarray(a)
    if a.dtype.kind not in "biuf":
        raise TypeError(
            f"{where}: {name} returned dtype {a.dtype}, expected real numbers; integrate real and imaginary part apart."
        )
    if a.shape[:1] != (len(x),) or (trailing is not None and a.shape[1:] != trailing):
        expected = f"({len(x)}, ...)" if trailing is None else f"{(len(x), *trailing)}"
        raise ValueError(
            f"{where}: {name} returned shape {a.shape} for {len(x)} points, expected {expected}, one row per point."
        )
    bad = np.isnan(a.reshape(len(x), -1)).any(axis=1)
    if bad.any():
        raise ValueError(
            f"{where}: {name} is nan at x = {x[np.argmax(bad)].tolist()}. An integral needs a number at every point of the "
            f"support: give {name} its limit there, or restrict the support."
        )
    return a.astype(float, copy=False)


class Rows:
    """g as a function (n, d) -> (n, k) that remembers trailing shape and precision; with a last column of ones if asked."""

    def __init__(self, where, name, g, mass=False):
        self.where, self.name, self.g, self.mass, self.trailing, self.eps = where, name, g, mass, None, EPS

    def __call__(self, x):
        with np.errstate(over="ignore"):  # an infinite value is a finding, not an accident
            raw = np.asarray(called(self.where, self.name, self.g, x))
        values = values_of(self.where, self.name, raw, x, self.trailing)
        self.trailing = values.shape[1:]
        if raw.dtype.kind == "f":
            self.eps = max(
                self.eps, float(np.finfo(raw.dtype).eps)
            )  # a float32 network integrates to float32's accuracy
        columns = values.reshape(len(x), -1)
        return np.column_stack([columns, np.ones(len(x))]) if self.mass else columns


# --------------------------------------------------------------------------- public


class Terms:
    """f p dx/du at nodes, as `trapezoid` and `subdivide` ask for it: counts the points, and keeps the coarsest precision of f."""

    def __init__(self, where, f, frame, support, logpdf):
        self.where, self.f, self.frame, self.support, self.logpdf = where, f, frame, support, logpdf
        self.turned = rotated(frame.axes)
        self.logdet = np.linalg.slogdet(frame.axes)[1] if self.turned else 0.0
        self.spent, self.eps = 0, EPS

    def __call__(self, x, logw, away=0):
        """Terms (k, n), which nodes count (n,), round-off and weight of the rim (2, k); at the nodes, or relatively as far `away` as rounding is."""
        self.spent += len(x)
        x = np.ascontiguousarray(self.frame.center + x @ self.frame.axes.T) if self.turned else x
        x = np.clip(x * (1 + away), *self.support.T) if np.ndim(away) else x
        logp = np.zeros(len(x))
        if self.logpdf is not None:
            logp = values_of(self.where, "logpdf", called(self.where, "logpdf", self.logpdf, x), x, ())
        weight = logp + logw + self.logdet
        alive = weight > -700  # beyond, p underflows; if f has grown so much there that it matters, the rim tells
        if not alive.any():
            return None, alive, np.zeros((2, 1))
        values = self.f(x if alive.all() else x[alive])
        self.eps = max(self.eps, getattr(self.f, "eps", 0.0))
        t = np.zeros((values.shape[1], len(x)))
        with np.errstate(over="ignore"):
            t[:, alive] = (values * np.exp(weight[alive])[:, None]).T
        if self.logpdf is None:  # f has no part in logarithms: its own size stands for -log p
            size = np.abs(values).max(axis=1)
            logp[alive] = np.log(size, where=size > 0, out=np.zeros(len(size)))
            alive[alive] = size > 0
        with np.errstate(invalid="ignore"):
            checks = np.abs(t) @ np.stack([self.eps * (8 + np.where(alive, np.abs(logp), 0)), weight < -550], axis=1)
            checks[~(np.abs(values) > 1e150).any(axis=0), 1] = 0
        return t, alive, checks.T


def over_pieces(where, f, frame, support, logpdf, rtol, breaks, budget, kinks=None):
    """Sum over all pieces of the integral of f (n, k) times exp(logpdf); None if it underflows at every node."""
    d, terms = len(support), Terms(where, f, frame, support, logpdf)
    # the pieces: boxes in x between the cuts of each axis, or all of the rotated frame
    known = per_axis(where, frame.breaks, d)
    cuts = [sorted({c for c in (*known[j], *breaks[j]) if a < c < b}) for j, (a, b) in enumerate(support)]
    if terms.turned and (np.isfinite(support).any() or any(cuts)):
        raise ValueError(
            f"{where}: the frame's axes are not diagonal, but the support has finite ends or there are breaks. The pieces "
            f"are boxes in x: give the frame diagonal axes."
        )
    center, scale = frame.center, np.abs(np.diag(frame.axes))
    if terms.turned:
        center, scale = np.zeros(d), np.ones(d)
    boxes = [*product(*([*zip([a, *c], [*c, b], strict=True)] for (a, b), c in zip(support, cuts, strict=True)))]
    whole, budget = None, (BUDGET[d] if budget is None else count(where, "budget", budget)) // max(1, len(boxes) // 2)
    for ends in boxes:
        pieces = [
            Piece(float(a), float(b), c, s, frame.tail, frame.reach, frame.detail)
            for (a, b), c, s in zip(ends, center, scale, strict=True)
        ]
        part, lo, hi = trapezoid(terms, pieces, rtol, budget)
        if part is None:
            continue
        # where the trapezoidal rule is not sharp enough and nothing lies beyond its box, there is a kink: subdivide
        open_ = ~part.endless & (part.total > 0)
        error, total = part.error[open_], part.total[open_]
        if np.any(error > (kinks or rtol) * total) and np.all(part.rest[open_] < rtol * total):
            mass = 1.0 if getattr(f, "mass", False) and len(boxes) == 1 else None
            value, error = subdivide(terms, pieces, lo, hi, part.total, rtol)
            _reconcile(part, value, error, mass)
        if whole is None:
            whole = part
        else:
            for name in ("value", "total", "error", "rest"):
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            whole.endless, whole.where = whole.endless | part.endless, whole.where or part.where
    if whole is not None:
        whole.evaluations = terms.spent
    return whole


def _reconcile(part, value, error, mass):
    """Give a component of the Sum another rule's value and error where these are sharper; no rule is believed that is refuted.

    Where both disagree beyond their errors at least one has missed something, and what one has missed once it may miss in
    every component: the Sum stays, its errors as large as the distance. Where the last component is known to be `mass`, a rule
    that does not find it, while the other does, has missed a part of the density.
    """
    apart = np.abs(value - part.value)
    apart[part.endless] = 0
    claimed = error + part.error + part.rest  # the ends of the box and rounding among it
    if (
        mass is not None
        and abs(value[-1] - mass) + error[-1] > UNRESOLVED > abs(part.value[-1] - mass) + part.error[-1]
    ):
        return
    if np.any(apart > claimed):
        part.error = np.maximum(part.error, np.where(apart > claimed, 2, 0) * apart)
        return
    better = error < part.error
    part.error = np.maximum(part.error, np.where(apart > part.error, 2, 0) * apart * ~better)
    part.value, part.error = np.where(better, value, part.value), np.where(better, error, part.error)


def _report(whole, trailing, rtol, note=""):
    """The Integral of a Sum, in the integrand's trailing shape."""
    error = np.where(whole.endless, np.inf, whole.error + whole.rest)
    value = np.where(whole.endless, np.nan, whole.value)
    converged = bool(np.all(error <= rtol * whole.total))
    if whole.endless.any():
        note = f"the integrand does not decay along {whole.where or 'the axes'}: the integral is infinite, or does not exist, "
        note += "or converges too slowly for this rule"
    elif not converged and not note:
        worst = np.max(error * inverse(whole.total))
        note = f"relative accuracy {worst:.0e} reached, {rtol:.0e} asked for; "
        note += "a kink needs breaks=, fine detail a larger budget="
    shape = lambda a: a.reshape(trailing) if trailing else float(a[0])
    return Integral(shape(value), shape(error), whole.evaluations, converged, note)


def _nothing(note):
    return Integral(np.nan, np.inf, 0, False, note)


def integrate(f, frame, support, *, logpdf=None, rtol=1e-12, breaks=(), budget=None, kinks=None):
    r"""Integral of a function over a box, and an estimate of its error; see `Integral` for what it rests on.

    .. math:: \int_{\rm support} f(x)\, e^{\rm logpdf(x)} \, dx

    Parameters
    ----------
    f : callable, (n, d) -> (n,) or (n, ...)
        The integrand; several at once share the points. Called with C-contiguous float64 blocks of at most 2^15 points.
        For a normaliser: f = lambda x: np.exp(-energy(x)).
    frame : Frame
        Where the integrand lives. A feature finer than its `detail` or beyond its `reach` may go unseen.
    support : (d, 2) array, d = 1, 2, 3
        Lower and upper end per axis, infinite or not. The integrand is never evaluated outside.
    logpdf : callable, (n, d) -> (n,), optional
        A factor given by its logarithm; f is not evaluated where this factor times the volume element underflows.
    rtol : float
        Accuracy wanted, relative to the integral of |f| exp(logpdf): cancellation in f is not made up for.
    breaks : per axis, the points at which f is not smooth; in one dimension a flat sequence will do
        The axis is cut there, which restores geometric convergence. Kinks elsewhere cost accuracy, never honesty.
    budget : int, optional
        Points of the largest grid on a line, of two such in the plane and in space; 2^17, 2^22, 2^22 in 1, 2, 3 dimensions.
    kinks : float, optional
        Relative error above which a mesh is tried that is fine at kinks, rtol by default. It takes about a million points, and is no finer
        than the grid where kinks are curves all over the plane, as those of a network are.

    Returns
    -------
    Integral
        value and error of f's trailing shape. Where the integrand does not decay, value is nan and error inf.

    Raises
    ------
    ValueError
        If d > 3, f is nan somewhere or returns the wrong shape, or breaks or a finite end meet axes that are not diagonal.

    Source: Trefethen & Weideman (2014), SIAM Review 56:385-458; Takahasi & Mori (1974), Publ. RIMS 9:721-741.
    Test: test_quadrature.py::test_moments
    """
    ends, rtol, rows = support_of("integrate", support), positive("integrate", "rtol", rtol), Rows("integrate", "f", f)
    cuts = per_axis("integrate", breaks, len(ends))
    kinks = None if kinks is None else positive("integrate", "kinks", kinks)
    whole = over_pieces("integrate", rows, frame, ends, logpdf, rtol, cuts, budget, kinks)
    return (
        _nothing("the integrand is 0 at every node: frame or support miss it")
        if whole is None
        else _report(whole, rows.trailing, rtol)
    )


def expectation(g, density, *, rtol=1e-12, breaks=(), budget=None):
    r"""Expectation under a density, and an estimate of its error; see `Integral` for what it rests on.

    .. math:: \mathbb E_p\, g = \int_{\rm support} g(x)\, p(x)\, dx

    The mass of p is integrated along, on the same points. Where it is not 1, or not known to 1e-3, the frame has missed
    something or logpdf is not normalised, and the error of every component is inf.

    Parameters
    ----------
    g : callable, (n, d) -> (n,) or (n, ...)
    density : anything with .dim, .support (d, 2) and .logpdf(x) -> (n,)
        Its .frame says where it lives. Without one: median and quartiles of .sample(1000, rng=0), else the unit frame. A density on a
        surface has a .chart, coordinates with a density of their own, over which the mean is taken.
    rtol, breaks, budget : see integrate

    Returns
    -------
    Integral

    Raises
    ------
    ValueError
        As integrate.

    Source: Trefethen & Weideman (2014), SIAM Review 56:385-458.
    Test: test_quadrature.py::test_moments, test_honest_and_sharp
    """
    needs("expectation", "g", g, density)
    if (chart := getattr(density, "chart", None)) is not None:  # on a surface: over its coordinates
        return expectation(lambda u: g(chart.place(u)), chart.density, rtol=rtol, breaks=breaks, budget=budget)
    ends, rtol = support_of("expectation", density.support), positive("expectation", "rtol", rtol)
    rows = Rows("expectation", "g", g, mass=True)
    frame, cuts = frame_of(density, ends), per_axis("expectation", breaks, len(ends))
    whole = over_pieces("expectation", rows, frame, ends, density.logpdf, rtol, cuts, budget)
    if whole is None:
        return _nothing("the density underflows at every node: give it a frame that says where it lives")
    # Errors of logpdf itself, and what is unknown of p, act on g and on the mass alike; on a g that is 0 at every node as on |g| <= 1.
    mass, unknown = whole.value[-1], (whole.error + whole.rest)[-1]
    defect, note = abs(mass - 1), ""
    if defect > max(rtol, unknown):
        note = (
            f"the density integrates to {mass:.6g} on its frame: logpdf is not normalised, or the frame misses a part"
        )
        whole.rest = whole.rest + np.inf
    elif not unknown <= UNRESOLVED:
        note = f"the mass of the density is {mass:.6g} +- {unknown:.0e}: it is finer than the largest grid; give it a frame, or a larger budget="
        whole.rest = whole.rest + np.inf
    whole.total = np.where(whole.total > 0, whole.total, 1)
    whole.rest = whole.rest + (defect + unknown) * whole.total
    for name in ("value", "total", "error", "rest", "endless"):
        setattr(whole, name, getattr(whole, name)[:-1])
    return _report(whole, rows.trailing, rtol, note)
