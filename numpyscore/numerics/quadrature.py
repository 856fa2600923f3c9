"""Integrals under a density, with an error estimate and the evidence it rests on, and the flux of a field through the boundary.

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
from .trapezoid import EPS, Piece, Sum, inverse, subdivide, trapezoid

BUDGET = {0: 1, 1: 1 << 17, 2: 1 << 22, 3: 1 << 22}  # points of the largest grid
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


def _support(where, support):
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


def _needs(where, name, function, density):
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


def _rotated(axes):
    return bool((axes != np.diag(np.diag(axes))).any())


def _per_axis(where, breaks, d):
    """breaks as d sequences; in one dimension a flat sequence will do."""
    if d == 1 and len(breaks) and np.ndim(breaks[0]) == 0:
        breaks = (breaks,)
    if len(breaks) not in (0, d) or any(np.ndim(b) != 1 for b in breaks):
        raise ValueError(
            f"{where}: breaks is {breaks!r}, expected {d} sequences of points, one per axis (empty for none)."
        )
    return [sorted(map(float, b)) for b in breaks] or [[] for _ in range(d)]


def _values(where, name, a, x, trailing=None):
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


class _Rows:
    """g as a function (n, d) -> (n, k) that remembers trailing shape and precision; with a last column of ones if asked."""

    def __init__(self, where, name, g, mass=False):
        self.where, self.name, self.g, self.mass, self.trailing, self.eps = where, name, g, mass, None, EPS

    def __call__(self, x):
        with np.errstate(over="ignore"):  # an infinite value is a finding, not an accident
            raw = np.asarray(called(self.where, self.name, self.g, x))
        values = _values(self.where, self.name, raw, x, self.trailing)
        self.trailing = values.shape[1:]
        if raw.dtype.kind == "f":
            self.eps = max(
                self.eps, float(np.finfo(raw.dtype).eps)
            )  # a float32 network integrates to float32's accuracy
        columns = values.reshape(len(x), -1)
        return np.column_stack([columns, np.ones(len(x))]) if self.mass else columns


# --------------------------------------------------------------------------- public


def _over(where, f, frame, support, logpdf, rtol, breaks, budget):
    """Sum over all pieces of the integral of f (n, k) times exp(logpdf); None if it underflows at every node."""
    d = len(support)
    rotated = _rotated(frame.axes)
    known = _per_axis(where, frame.breaks, d)
    cuts = [sorted({c for c in (*known[j], *breaks[j]) if a < c < b}) for j, (a, b) in enumerate(support)]
    if rotated and (np.isfinite(support).any() or any(cuts)):
        raise ValueError(
            f"{where}: the frame's axes are not diagonal, but the support has finite ends or there are breaks. The pieces "
            f"are boxes in x: give the frame diagonal axes."
        )
    center, scale = (np.zeros(d), np.ones(d)) if rotated else (frame.center, np.abs(np.diag(frame.axes)))
    logdet = np.linalg.slogdet(frame.axes)[1] if rotated else 0.0

    spent, eps = 0, EPS

    def terms(x, logw, away=0):
        """f p dx/du at the nodes, or relatively as far `away` from them as rounding is."""
        nonlocal spent, eps
        spent += len(x)
        x = np.ascontiguousarray(frame.center + x @ frame.axes.T) if rotated else x
        x = np.clip(x * (1 + away), *support.T) if np.ndim(away) else x
        logp = (
            np.zeros(len(x)) if logpdf is None else _values(where, "logpdf", called(where, "logpdf", logpdf, x), x, ())
        )
        weight = logp + logw + logdet
        alive = weight > -700  # beyond, p underflows; if f has grown so much there that it matters, the rim tells
        if not alive.any():
            return None, alive, np.zeros((2, 1))
        values = f(x if alive.all() else x[alive])
        eps = max(eps, getattr(f, "eps", 0.0))
        if logpdf is None:
            alive = (values != 0).any(axis=1)
            logp = np.log(np.abs(values).max(axis=1), where=alive, out=np.zeros(len(x)))
            t = (values * np.exp(weight)[:, None]).T
        else:
            t = np.zeros((values.shape[1], len(x)))
            with np.errstate(over="ignore"):
                t[:, alive] = (values * np.exp(weight[alive])[:, None]).T
        with np.errstate(invalid="ignore", over="ignore"):
            checks = np.abs(t) @ np.stack([eps * (8 + np.where(alive, np.abs(logp), 0)), weight < -550], axis=1)
            checks[~(np.abs(values) > 1e150).any(axis=0), 1] = 0
        return t, alive, checks.T

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
        open_ = ~part.endless & (part.total > 0)
        if np.any(part.error[open_] > rtol * part.total[open_]) and np.all(part.rest[open_] < rtol * part.total[open_]):
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
        whole.evaluations = spent
    return whole


def _reconcile(part, value, error, mass):
    """Give a component of the Sum another rule's value and error where these are sharper; no rule is believed that is refuted.

    Where both disagree beyond their errors at least one has missed something, and what one has missed once it may miss in
    every component: the Sum stays, its errors as large as the distance. Where the last component is known to be `mass`, a rule
    that does not find it, while the other does, has missed a part of the density.
    """
    apart = np.abs(value - part.value)
    apart[part.endless] = 0
    claimed = error + part.error
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


def integrate(f, frame, support, *, logpdf=None, rtol=1e-12, breaks=(), budget=None):
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
        Points of the largest grid; 2^17, 2^21, 2^22 in 1, 2, 3 dimensions.

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
    ends, rtol, rows = _support("integrate", support), positive("integrate", "rtol", rtol), _Rows("integrate", "f", f)
    whole = _over("integrate", rows, frame, ends, logpdf, rtol, _per_axis("integrate", breaks, len(ends)), budget)
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
        Its .frame says where it lives. Without one: median and quartiles of .sample(1000, rng=0), else the unit frame.
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
    _needs("expectation", "g", g, density)
    if (chart := getattr(density, "chart", None)) is not None:  # on a surface: over its coordinates
        return expectation(lambda u: g(chart.place(u)), chart.density, rtol=rtol, breaks=breaks, budget=budget)
    ends, rtol = _support("expectation", density.support), positive("expectation", "rtol", rtol)
    rows = _Rows("expectation", "g", g, mass=True)
    frame, cuts = frame_of(density, ends), _per_axis("expectation", breaks, len(ends))
    whole = _over("expectation", rows, frame, ends, density.logpdf, rtol, cuts, budget)
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


def flux(field, density, *, rtol=1e-12, breaks=(), budget=None):
    r"""Flux of p times a field out of the density's support, faces at infinity included as limits.

    .. math:: \oint_{\partial\,{\rm support}} p(x)\, v(x) \cdot n(x)\, dS = \int_{\rm support} {\rm div}(p v)\, dx

    This is the boundary term of the integration by parts. At a finite end p and v are evaluated on the end itself, as the
    support is closed. Where p is 0 there, and at an infinite end, p v is followed, in logarithms, through points and faces ever nearer.

    Parameters
    ----------
    field : callable, (n, d) -> (n, d)
    density, rtol, breaks, budget : see expectation

    Returns
    -------
    Integral
        Where the flux through far faces dies out, its last magnitude is part of the error. It may tend to another limit in one
        dimension, or at a finite end: value contains that limit and the note says so. Otherwise value is nan and error inf.

    Raises
    ------
    ValueError
        As integrate; or if field does not return one vector per point.

    Source: Gauss's divergence theorem; Hyvarinen (2005), JMLR 6:695-709, whose Theorem 1 assumes this term to be 0.
    Test: test_quadrature.py::test_divergence_theorem
    """
    _needs("flux", "field", field, density)
    if (parts := getattr(density, "parts", None)) is not None:  # of a union of intervals each has ends of its own
        return sum(flux(field, part, rtol=rtol, breaks=breaks, budget=budget) for part in parts)
    ends, rtol = _support("flux", density.support), positive("flux", "rtol", rtol)
    d, frame, field_of = len(ends), frame_of(density, ends), _Rows("flux", "field", field)
    field_of.trailing = (d,)
    known, told = _per_axis("flux", frame.breaks, d), _per_axis("flux", breaks, d)
    cuts = [sorted({*a, *b}) for a, b in zip(known, told, strict=True)]
    axes, sizes = frame.axes, np.abs(np.diag(frame.axes))
    if rotated := _rotated(axes):  # faces of a box in z, x = center + axes z; v becomes |det A| A^-1 v (Piola)
        origin, center, scale = frame.center, np.zeros(d), np.ones(d)
        normal = np.linalg.inv(axes) * abs(np.linalg.det(axes))
    else:
        origin, center, scale, axes, normal = np.zeros(d), frame.center, sizes, np.eye(d), np.eye(d)

    def through(j, at, rtol=rtol):
        """Integral of p v_j over the face z_j = at."""
        others = [i for i in range(d) if i != j]

        def embed(y):
            z = np.empty((len(y), d))
            z[:, j], z[:, others] = at, y
            return np.ascontiguousarray(origin + z @ axes.T) if rotated else z

        across = lambda y: field_of(embed(y)) @ normal[j][:, None]
        logpdf = lambda y: density.logpdf(embed(y))
        kinks = tuple(cuts[i] for i in others)
        face = Frame(center[others], np.diag(scale[others]), frame.tail, frame.reach, frame.detail, kinks)
        whole = _over("flux", across, face, ends[others], logpdf, rtol, [()] * (d - 1), budget)
        none = np.zeros(1)
        return whole or Sum(none, none, none, none, none > 0)

    def along(j, at):
        """log p and v_j at z_j = at on a line through the middle, up to the first point where v is no number; and whether there is one."""
        z = np.tile(center, (len(at), 1)).astype(float)
        z[:, j] = at
        x = np.ascontiguousarray(origin + z @ axes.T) if rotated else z
        with np.errstate(all="ignore"):
            logp, v = _values("flux", "logpdf", density.logpdf(x), x, ()), np.asarray(field(x))
        wrong = ~np.isfinite(v).all(axis=1) if v.shape == x.shape and v.dtype.kind == "f" else np.zeros(len(x), bool)
        stop = int(np.argmax(wrong)) if wrong.any() else len(x)
        v = _values("flux", "field", v[:stop] if wrong.any() else v, x[:stop], (d,)) if stop else np.zeros((0, d))
        return logp[:stop], v @ normal[j], bool(wrong.any())

    value = error = scale_of_all = 0.0
    evaluations, notes = 0, []
    for j, side in product(range(d), (0, 1)):
        sign, end = 2 * side - 1, ends[j, side]
        if inner := bool(
            np.isfinite(end)
        ):  # faces k = 0, 1, ... ever nearer, as long as rounding lets one tell x - end
            width = min(scale[j], 0.5 * (ends[j, 1] - ends[j, 0]))
            most = int(min(40, np.log(width / max(1e4 * np.spacing(abs(end)), 1e-280)) / np.log(4)))
            face = lambda k, e=end, s=sign, w=width: e - s * w * 4.0**-k
        else:
            most = 40
            face = lambda k, c=center[j], s=sign, w=scale[j]: c + s * w * (frame.reach + 2 * (4.0**k - 1))
        found = [through(j, end)] if inner and d > 1 else []
        if inner and d == 1:
            logp, v, wrong = along(0, np.array([end]))
            found = [_point(logp[0], v[0])] if not wrong else []
        bound, news, spent = 0.0, "", sum(f.evaluations for f in found)
        if not (found and found[0].total[0] > 0) and most > 3:
            steps = np.arange(0, most, 0.23)  # in no octaves: sin x and sin log x are not in step with them
            line, apart, said = _limit(*along(j, face(steps)))
            spent += len(steps)
            vanishes = said in ("", SLOWLY)
            if d == 1 and not (found and vanishes):
                found, bound, news = [line], apart, said
            elif d > 1 and not (inner and vanishes):
                found, bound, news = _follow(lambda k, j=j, f=face: through(j, f(k), 1e-6), most, inner)
                spent += sum(f.evaluations for f in found)
                if not vanishes and np.isfinite(bound) and found[-1].total[0] < 0.1 * line.total[0]:
                    bound, news = np.inf, "the flux does not vanish: where p underflows, p v does not"
        if not found:
            found, bound, news = [_point(-np.inf, 0.0)], np.inf, "the field is not finite"
        scale_of_all = max(scale_of_all, found[0].total[0])
        notes += [f"{news} through x[:, {j}] = {f'{end:g}' if inner else '-+'[side] + 'inf'}"] if news else []
        evaluations += spent
        lost = found[-1].endless[0] or np.isinf(bound)
        value += np.nan if lost else sign * found[-1].value[0]
        error += np.inf if lost else bound + (found[-1].error + found[-1].rest)[0]
    converged = bool(error <= rtol * scale_of_all)
    if not converged and not notes:
        notes = [f"error {error:.0e} against a flux of {scale_of_all:.0e} through the bulk"]
    return Integral(float(value), float(error), evaluations, converged, "; ".join(notes))


SLOWLY = "the flux vanishes slowly"


def _point(logp, v):
    """p v at a point as a Sum: by logarithms, for p may underflow where p v does not."""
    with np.errstate(divide="ignore", over="ignore"):
        size = np.exp(logp + np.log(np.abs(np.array([v]))))
    rounding = EPS * (8 + np.abs(logp)) * size if size > 0 else 0 * size
    return Sum(np.sign(v) * size, size, 0 * size, rounding, ~np.isfinite(size))


def _limit(logp, v, wrong):
    """The limit of p v at points (m,) ever nearer to an end: a Sum, how far it is from the limit, the news.

    wrong : v was no number at the next point. Where log |v| then grows faster than -log p, it overtakes it further on.
    """
    if len(v) < 6:
        return _point(-np.inf, 0.0), np.inf, "the field is not finite"
    found = [_point(*pair) for pair in zip(logp, v, strict=True)]
    flow, size = (np.array([getattr(f, name)[0] for f in found]) for name in ("value", "total"))
    last, m = found[-1], max(3, len(v) // 4)
    last.total = np.array([np.max(size)])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_v, log_p = np.log(np.abs(v[-3:])), -logp[-3:]
        power = lambda log: np.log(log[2] / log[0])
        overtaken = wrong and min(log_v[0], log_p[0]) > 1 and power(log_v) > 1.01 * power(log_p)
    if not overtaken and np.isfinite(size).all():
        if size[-3:].max() <= 0.1 * EPS * size.max():
            return last, size[-3:].max(), ""
        if size[-1] < 0.9 * size[-1 - m] and size[-m:].max() < 0.9 * size[-2 * m : -m].max():
            return last, 4 * size[-3:].max(), SLOWLY
        tail, before = np.ptp(flow[-m:]), np.ptp(flow[-2 * m : -m])
        if tail <= 0.1 * before or tail <= 1e-10 * size[-1]:
            return last, 2 * tail, "the flux tends to a limit that is not 0"
    return last, np.inf, "the flux does not vanish"


def _follow(through, most, inner):
    """Follow the flux through faces k = 0, 1, ... ever nearer to an end: the sums found, how far from the limit, the news.

    Faces are whole planes, not sides of a box; where the flux vanishes that makes no difference. A limit other than 0
    is a number for all to agree on only at an end of the support (`inner`).
    """
    found = [through(0)]
    size = lambda back: found[-back].total[0]
    while len(found) < most:
        if found[-1].endless[0]:
            return found, np.inf, "the flux is infinite on the way"
        if len(found) > 1 and size(1) <= 0.1 * EPS * found[0].total[0]:
            return found, size(1), ""
        if len(found) >= 8 and min(size(1) / size(2), size(2) / size(3)) > 0.99:
            break
        found.append(through(len(found)))
    if size(1) < 0.9 * size(2):
        return found, 4 * size(1), SLOWLY
    last, before = (abs(found[-k].value[0] - found[-k - 1].value[0]) for k in (1, 2))
    if inner and (last <= 0.5 * before or last <= 1e-12 * size(1)):
        return found, 4 * last, "the flux tends to a limit that is not 0"
    return found, np.inf, "the flux does not vanish"
