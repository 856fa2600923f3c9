"""Integrals under a density, with an error estimate that can be trusted, and the flux of a field through the boundary.

One rule: the trapezoidal rule after a change of variable per axis that makes the integrand fade at both ends. For analytic
integrands it converges geometrically (Trefethen & Weideman 2014, SIAM Review 56:385-458); the maps at finite ends are
those of Takahasi & Mori (1974, Publ. RIMS 9:721-741). Its error is known exactly, in Fourier space, so it is estimated there.
"""

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from .inputs import count, positive

EPS = float(np.finfo(float).eps)
BLOCK = 1 << 15  # points per call of the integrand: bounded memory
SHELL = 0.25  # width in u of the outermost shells, whose sums bound what lies beyond them
FAR = 170.0  # largest u towards infinity: |x| near 1e73, so that x^4 is still a number
BUDGET = {0: 1, 1: 1 << 17, 2: 1 << 22, 3: 1 << 22}  # points of the largest grid
MEMORY = 1 << 25  # numbers in the terms of one grid
SUBDIVISIONS = {1: 4000, 2: 450, 3: 45}  # of SciPy's adaptive rule: about a second
MARGIN = {"gaussian": 9.0, "exponential": 40.0, "algebraic": 3e3}  # first guess: bulk to 1e-17, in units of the frame


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
class Integral:
    """An integral and how far it can be trusted.

    value : float, or array of the integrand's trailing shape; nan where the integral does not exist.
    error : the same shape; abs(value - truth) is at most this. inf where nothing can be promised.
    evaluations : number of points at which the integrand was evaluated.
    converged : whether the accuracy asked for was reached; `note` says why not.
    """

    value: Any
    error: Any
    evaluations: int
    converged: bool = True
    note: str = ""

    def __float__(self):
        return float(self.value)

    def __repr__(self):
        error = f"{self.error:.1e}" if np.ndim(self.error) == 0 else np.array2string(self.error, precision=1)
        state = "" if self.converged else ", not converged"
        return (
            f"Integral({self.value} +- {error}, {self.evaluations} evaluations{state}{self.note and ': ' + self.note})"
        )


# --------------------------------------------------------------------------- one axis: from u on the line to x


@dataclass(frozen=True)
class _Piece:
    """x(u) between two ends of one axis.

    Both infinite: x = c + s u for a Gaussian tail, c + s sinh u for an exponential one, c + s sinh(4 sinh(u / 4)) for an
    algebraic one (1.4 to 3 times fewer nodes per axis than sinh on Student's t). One finite: x = end +- s exp(u - exp(-u)),
    u = -inf being the end. Both finite: tanh-sinh. Near a finite end x is that end plus something tiny, never a difference.
    """

    low: float
    high: float
    center: float
    scale: float
    frame: Frame

    @property
    def infinite(self):
        """Do the lower and the upper end of u lead to infinity?"""
        ends = np.isinf([self.low, self.high])
        return bool(ends.all()), bool(ends.any())

    @property
    def end(self):
        return self.low if np.isfinite(self.low) else self.high

    def distance(self, u):
        """From the nearer finite end, to full relative accuracy."""
        if self.infinite == (False, True):
            return self.scale * np.exp(u - np.exp(-u))
        t = np.exp(-np.pi * np.sinh(np.abs(u)))
        return (self.high - self.low) * t / (1 + t)

    def nodes(self, u):
        """x and log dx/du."""
        if self.infinite == (True, True):
            if self.frame.tail == "gaussian":
                return self.center + self.scale * u, np.full(u.shape, np.log(self.scale))
            v, log_dv = (u, 0.0) if self.frame.tail == "exponential" else (4 * np.sinh(u / 4), np.log(np.cosh(u / 4)))
            return self.center + self.scale * np.sinh(v), np.logaddexp(v, -v) + log_dv + np.log(self.scale / 2)
        r = self.distance(u)
        if self.infinite == (False, True):
            return (self.low + r if self.end == self.low else self.high - r), np.log(r) + np.log1p(np.exp(-u))
        near = np.pi * np.cosh(u) * (1 - r / (self.high - self.low))  # d log(distance) / d|u|
        return np.where(u < 0, self.low + r, self.high - r), np.log(r) + np.log(near)

    def limits(self):
        """The range of u: distances from a finite end that rounding can tell from the end; FAR towards infinity."""
        if self.infinite[0]:
            far = {"gaussian": 1e3, "exponential": FAR, "algebraic": 4 * np.arcsinh(FAR / 4)}[self.frame.tail]
            return -far, far
        u = -np.arange(0, 6.5 if self.infinite[1] else 5.3, 0.01)
        low, high = (
            u[self.distance(u) >= 2 * np.spacing(abs(end))][-1:].sum()
            for end in ((self.end, self.end) if self.infinite[1] else (self.low, self.high))
        )
        return low, FAR if self.infinite[1] else -high

    def start(self):
        """First box, and a spacing at which no feature of size `detail` falls between the nodes."""
        reach, margin, h = self.frame.reach, MARGIN[self.frame.tail], 0.6 * min(1.0, self.frame.detail)
        if self.infinite[0]:
            if self.frame.tail == "gaussian":
                return -reach - margin, reach + margin, h
            far = np.arcsinh(reach + margin)
            far = 4 * np.arcsinh(far / 4) if self.frame.tail == "algebraic" else far
            return -far, far, min(h / np.hypot(1, reach), 0.4)
        if self.infinite[1]:
            far = max(1.0, abs(self.center - self.end) / self.scale + reach)
            return -3.5, np.log(far + margin), min(h / far, 0.3)
        return -3.2, 3.2, min(h * self.scale / (self.high - self.low), 0.3)


# --------------------------------------------------------------------------- the ends of the box


@dataclass(frozen=True)
class _End:
    """What the samples say about one end of one axis; arrays are (k,), one number per component of the integrand."""

    at: float  # u of this end
    width: float  # of a shell
    spare: int  # nodes that may be dropped here
    blocked: bool  # nowhere to go: underflow beyond, or the range of u ends
    outer: np.ndarray  # mass of the outermost shell
    ratio: np.ndarray  # that over the mass of the next shell: the rate of decay
    tail: np.ndarray  # bound for the mass outside

    def endless(self, goal):
        """No decay worth the name, and it matters."""
        return (self.ratio > 0.99) & (self.tail > goal)


def _end(profile, alive, at, h, infinite, blocked, goal, past):
    """Judge an end; profile (k, n): sums of |terms| over the other axes, from the end inwards; past: before it moved out."""
    first = int(np.argmax(alive))  # nothing further out is representable
    m = max(2, int(np.ceil(SHELL / h)))
    edge, width = profile[:, first : first + 2 * m], m * h
    outer, inner = edge[:, :m].sum(axis=1), edge[:, m:].sum(axis=1)
    with np.errstate(over="ignore"):
        ratio = np.where(inner > 0, outer / np.where(inner > 0, inner, 1), np.where(outer > 0, 0.98, 0.0))
    if past is not None and abs(at - past.at) > width:
        # A box growing along all axes cuts the others too early for slow decay to show along this one; its history shows it.
        before = np.where(past.outer > 0, past.outer / past.width, np.inf)
        with np.errstate(over="ignore"):
            ratio = np.maximum(ratio, (outer / width / before) ** (width / abs(at - past.at)))
    r = np.clip(ratio, 1e-300, 0.999)
    # To infinity: twice the geometric continuation, or the shell itself if that is larger. To a finite end, near which nothing
    # oscillates: from the last node, exact for geometric decay and ample for the faster decay there.
    tail = outer * np.maximum(1, 2 * r / (1 - r)) if infinite else 2 * edge[:, 0] * m / -np.log(r)
    inside = (np.cumsum(profile, axis=1) > 1e-4 * goal[:, None]).any(axis=0)
    keep = max(0, int(np.argmax(inside)) - 1) if inside.any() else 0
    keep = min(keep, max(0, first - 2 * m)) if first else keep  # see next time, too, that it is dead beyond
    return _End(at, width, keep, first > 0 or blocked, outer, ratio, tail)


# --------------------------------------------------------------------------- the rule on a product of pieces


@dataclass
class _Sum:
    """A finished sum, per component (k,): value, sum of |terms|, error inside the box, error outside and from rounding."""

    value: np.ndarray
    total: np.ndarray
    error: np.ndarray
    rest: np.ndarray
    endless: np.ndarray  # where the integral does not exist, or no number shows it
    where: str = ""  # the axes along which it does not decay
    evaluations: int = 1


def _sample(terms, pieces, lo, h, n):
    """Terms (k, n_1, ..., n_d), None if all are 0; the nodes alive (n_1, ..., n_d); round-off (k,); mass on the rim (k,)."""
    at = [p.nodes(a + s * np.arange(m)) for p, a, s, m in zip(pieces, lo, h, n, strict=True)]
    size, t, extra = int(np.prod(n)), None, np.zeros((2, 1))
    alive = np.zeros(size, bool)
    for start in range(0, size, BLOCK):
        block = slice(start, min(start + BLOCK, size))
        index = np.unravel_index(np.arange(block.start, block.stop), n)
        x = np.stack([a[0][i] for a, i in zip(at, index, strict=True)], axis=1)
        logw = np.sum([a[1][i] for a, i in zip(at, index, strict=True)], axis=0) + np.log(h).sum()
        values, alive[block], more = terms(x, logw)
        if values is not None:
            t = np.zeros((len(values), size)) if t is None else t
            t[:, block], extra = values, extra + more
    return None if t is None else t.reshape(-1, *n), alive.reshape(n), *extra


def _highest(f, j, n, low):
    """Largest |coefficient| at frequencies from `low` (cycles per sample) to Nyquist along axis j, which has n samples."""
    cut = int(np.ceil(low * n))
    return np.abs(f[(slice(None),) * j + (slice(cut, None if j == f.ndim - 1 else n - cut + 1),)]).max()


def _spectrum(t):
    """(k, d): the largest Fourier coefficient of the samples at frequencies 3/8 (7/16 if d > 1) to 1/2 of 1/h, per axis.

    The error of the rule at spacing h is exactly the sum of the integrand's Fourier coefficients at the multiples of 1/h
    (Poisson summation). Those are out of sight, but the coefficients just below Nyquist are in sight, and larger. The
    difference of the last two refinements is one single coefficient, which may vanish by accident of phase; the maximum of
    a band does not. Rounding inside the integrand is white noise, as loud in the band as at frequency 0, so it is seen too.
    """
    spectra = (np.fft.rfftn(row) for row in t)
    low = 0.375 if t.ndim == 2 else 0.4375
    return np.array([[_highest(f, j, n, low) for j, n in enumerate(t.shape[1:])] for f in spectra])


def _spectrum_at_the_aliases(terms, pieces, t, lo, h):
    """(k, d): the same at 15/16 to 1 of 1/h, where the error really comes from, for d > 1.

    Points interleaved along one axis at a time put 1/h within that axis' Nyquist frequency; along the other axes spectra
    stay folded, which hides nothing. In three dimensions that costs 4 grids, where the band below Nyquist asks for 12.
    """
    n, band = t.shape[1:], np.empty((len(t), t.ndim - 1))
    for j, m in enumerate(n):
        between = _sample(terms, pieces, lo + 0.5 * h * (np.arange(len(n)) == j), h, n)[0]
        for k, row in enumerate(t):
            both = np.stack([row, 0 * row if between is None else between[k]], axis=j + 1)
            both = both.reshape(*n[:j], 2 * m, *n[j + 1 :])
            band[k, j] = _highest(np.fft.rfftn(both), j, 2 * m, 15 / 32) / 2
    return band


def _inverse(total):
    """1 / total, and 0 where total is 0 or nearly so."""
    return np.where(total > 1e-290, 1 / np.maximum(total, 1e-290), 0)


def _misfit(terms, pieces, t, lo, h, per_total):
    """(k,): estimate of int |f - its band-limited interpolant|, from 24 random points between nodes that matter.

    The integral of the interpolant is the sum, so this bounds the error. It guards against the one thing no spectrum of
    samples shows: an oscillation in step with the nodes, such as sin(30 x), which looks smooth on them.
    """
    share = np.tensordot(per_total, np.abs(t), 1).ravel()
    chance, rng = share / share.sum(), np.random.default_rng(0)
    cells = rng.choice(share.size, 24, p=chance)
    at = np.stack(np.unravel_index(cells, t.shape[1:]), axis=1) + rng.uniform(-0.5, 0.5, (24, len(h)))
    x, logw = zip(*(p.nodes(a + s * i) for p, a, s, i in zip(pieces, lo, h, at.T, strict=True)), strict=True)
    f = terms(np.stack(x, axis=1), np.sum(logw, axis=0) + np.log(h).sum())[0]
    sinc = [np.sinc(np.arange(m)[:, None] - i) for m, i in zip(t.shape[1:], at.T, strict=True)]
    seen = t @ sinc.pop()
    while sinc:
        seen = np.einsum("...im,im->...m", seen, sinc.pop())
    return np.mean(np.abs(seen - (0 if f is None else f)) / chance[cells], axis=1)


def _count(box, h):
    """Nodes per axis."""
    return np.maximum(np.ceil((box[1] - box[0]) / h) + 1, 8)


def _ends(magnitude, alive, lo, hi, h, limits, infinite, blocked, goal, past):
    """Both ends of every axis: {(axis, 0 or 1): _End}."""
    ends, n = {}, alive.shape
    for j, side in product(range(len(n)), (0, 1)):
        others = tuple(i for i in range(len(n)) if i != j)
        out = slice(None, None, 1 - 2 * side)
        at = (lo[j], hi[j])[side]
        stop = blocked or abs(limits[j, side] - at) < h[j]
        profile, living = magnitude.sum(axis=tuple(i + 1 for i in others))[:, out], alive.any(axis=others)[out]
        ends[j, side] = _end(profile, living, at, h[j], infinite[j][side], stop, goal, past.get((j, side)))
    return ends


def _trapezoid(terms, pieces, rtol, budget):
    """Adapt box and spacing until shells and spectrum leave less than rtol; returns the _Sum and the box."""
    aim = rtol / 32  # geometric convergence gives digits beyond rtol almost free, and they keep the error bound sharp
    d, limits, infinite = len(pieces), np.array([p.limits() for p in pieces]), [p.infinite for p in pieces]
    lo, hi, h = np.array([p.start() for p in pieces]).T
    lo, hi = np.maximum(lo, limits[:, 0]), np.minimum(hi, limits[:, 1])
    past: dict = {}
    before: dict = {}
    settled, last, budget = False, False, budget if d == 1 else budget // 2
    if (
        excess := np.prod(_count((lo, hi), h)) / budget
    ) > 1:  # features finer than the budget allows: do what can be done
        h, last = h * 1.05 * excess ** (1 / d), True
    while True:
        n = _count((lo, hi), h).astype(int)
        h = (hi - lo) / (n - 1)
        t, alive, rounding, rim = _sample(terms, pieces, lo, h, n)
        if t is None:
            return None, lo, hi
        with np.errstate(over="ignore", invalid="ignore"):
            wild = ~np.isfinite(t.reshape(len(t), -1).sum(axis=1))
        t[wild] = 0
        value, magnitude = t.reshape(len(t), -1).sum(axis=1), np.abs(t)
        total = magnitude.reshape(len(t), -1).sum(axis=1)
        budget = min(budget, MEMORY // len(t))
        goal, per_total = aim * total, _inverse(total)
        ends = _ends(magnitude, alive, lo, hi, h, limits, infinite, settled or last, goal, past)
        del magnitude
        wild |= rim > goal
        endless = wild | np.any([e.endless(goal) & e.blocked for e in ends.values()], axis=0)

        # 1. The box: move ends out as far as their decay asks for. It never shrinks here, or it might go back and forth.
        new, moved = np.array([lo, hi]), {}
        for (j, side), e in ends.items():
            worst, out = np.max(e.tail * per_total * ~endless) / aim, 2 * side - 1
            if worst > 1 and not e.blocked:
                rate = -np.log(np.clip(e.ratio[~endless].max(), 1e-3, 0.98)) / e.width
                move = np.clip(np.log(worst) / rate, 2 * e.width, max(2.0, 0.5 * (hi[j] - lo[j])))
                new[side, j] += out * min(move, abs(limits[j, side] - e.at))
                moved[j, side] = e
        if moved and np.prod(_count(new, h)) <= budget:
            (lo, hi), past = new, past | moved
            continue
        if moved:  # no room: what has not decayed by now is taken not to
            settled, endless = True, wild | np.any([e.endless(goal) for e in ends.values()], axis=0)
        drop = np.array([[ends[j, side].spare for j in range(d)] for side in (0, 1)]) * h
        new = np.array([lo + drop[0], hi - drop[1]])  # from here on without what is empty

        # 2. The spacing: finer along the axes whose spectrum has not died out.
        band, want, sight = _spectrum(t), aim / (4 * d), 0.375 if d == 1 else 0.4375
        below, share = band, (per_total * ~endless)[:, None]
        if d > 1 and (last or np.all(band * share < want ** (1 / 3))) and np.any(band * share > want):
            band, sight = _spectrum_at_the_aliases(terms, pieces, t, lo, h), 1.0
        level = band * share
        noise = (level > 0.8 * before.get(sight, np.inf)) & (level < 1e-9)  # rounding does not fall under refinement
        before[sight] = level
        level = np.where(noise, 0, level)
        if (last or np.all(level <= want)) and np.any(per_total[~endless] > 0):
            gap = _misfit(terms, pieces, t, lo, h, per_total * ~endless)
            unseen = np.where((gap > 1e3 * (below.sum(axis=1) + rounding)) & ~endless, gap, 0)[:, None]
            band, level = band + unseen, level + unseen * share
        level = level.max(axis=0)
        rough = level > want
        # How much finer, if the spectrum is exponential; a Gaussian one would need the root of this.
        factor = np.maximum(1.1, np.log(want) / np.log(np.clip(level, want, 0.99)) * (sight if d > 1 else 1))
        finer = np.where(rough, h / np.minimum(factor, 2), h)
        beyond = np.prod(_count(new, h / np.sqrt(factor))) > 2 * budget and np.all(level < 1e-3)
        full = last or not rough.any()
        if not full and (beyond or np.prod(_count(new, finer)) > budget):  # the largest grid there is, and no more
            last, room = True, 0.97 * budget / np.prod(_count(new, h))
            full, finer = room < 1.1 and sight != 0.4375, np.where(rough, h / max(room, 1) ** (1 / rough.sum()), h)
        if full:
            # With 1/k^2 or 1/k decay, a kink or a jump, all aliases together are up to pi times the first.
            error, tails = 4 * band.sum(axis=1), np.sum([e.tail for e in ends.values()], axis=0)
            where = dict.fromkeys(f"x[:, {j}]" for (j, _), e in ends.items() if np.any(e.endless(goal) & endless))
            return _Sum(value, total, error, tails + rounding, endless, ", ".join(where)), lo, hi
        (lo, hi), h = new, finer


def _subdivide(terms, pieces, lo, hi, total, rtol):
    """SciPy's adaptive subdivision on the same box, for integrands with kinks: value, error (k,).

    Done several times, in differently skewed coordinates. Adaptive rules are blind to a jump that lies within 0.2% of the edge
    of a cell: one in six steps ends up there on the way down to 1e-15, and is then misjudged by anything up to 1e-3. Meshes
    are not blind alike: the two that agree best count, and their distance is part of the error.
    """
    from scipy.integrate import cubature

    d, scale, found = len(pieces), np.where(total > 1e-290, total, 1), []
    first = 8 if d == 1 else 1  # a line can afford a fair first mesh
    cells = [([k / first] * d, [(k + 1) / first] * d) for k in range(first)]
    skews = (0.07, -0.11, 0.23, -0.29, 0.37) if d == 1 else (0.07, -0.11, 0.23)
    most, atol = SUBDIVISIONS[d] // (len(skews) * first), rtol / (8 * first)
    for skew in skews:

        def f(v, skew=skew):
            u = lo + (hi - lo) * v * (1 + skew * (1 - v))
            stretch = np.log((hi - lo) * (1 + skew * (1 - 2 * v))).sum(axis=1)
            x, logw = zip(*(p.nodes(u[:, j]) for j, p in enumerate(pieces)), strict=True)
            t = terms(np.stack(x, axis=1), np.sum(logw, axis=0) + stretch)[0]
            return np.zeros((len(u), len(scale))) if t is None else (t / scale[:, None]).T

        parts = [cubature(f, *cell, rule="gk21", rtol=0, atol=atol, max_subdivisions=most) for cell in cells]
        found.append([sum(p.estimate for p in parts), sum(p.error for p in parts)])
    values, errors = np.swapaxes(found, 0, 1)  # each (runs, k)
    order = np.argsort(values, axis=0)
    values, errors = np.take_along_axis(values, order, axis=0), np.take_along_axis(errors, order, axis=0)
    gap = np.diff(values, axis=0)
    best = np.argmin(gap, axis=0), np.arange(len(scale))
    rounding = 64 * EPS  # of a running sum over some hundred cells
    return values[best] * scale, (2 * np.maximum(errors[:-1], errors[1:]) + 4 * gap)[best] * scale + rounding * scale


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


def _frame(density, ends):
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
            raw = np.asarray(self.g(x))
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

    def terms(x, logw):
        nonlocal spent, eps
        spent += len(x)
        x = np.ascontiguousarray(frame.center + x @ frame.axes.T) if rotated else x
        logp = np.zeros(len(x)) if logpdf is None else _values(where, "logpdf", logpdf(x), x, ())
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
        pieces = [_Piece(float(a), float(b), c, s, frame) for (a, b), c, s in zip(ends, center, scale, strict=True)]
        part, lo, hi = _trapezoid(terms, pieces, rtol, budget)
        if part is None:
            continue
        open_ = ~part.endless & (part.total > 0)
        if np.any(part.error[open_] > rtol * part.total[open_]) and np.all(part.rest[open_] < rtol * part.total[open_]):
            value, error = _subdivide(terms, pieces, lo, hi, part.total, rtol)
            better = error < part.error
            part.value, part.error = np.where(better, value, part.value), np.where(better, error, part.error)
        if whole is None:
            whole = part
        else:
            for name in ("value", "total", "error", "rest"):
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            whole.endless, whole.where = whole.endless | part.endless, whole.where or part.where
    if whole is not None:
        whole.evaluations = spent
    return whole


def _report(whole, trailing, rtol, note=""):
    """The Integral of a _Sum, in the integrand's trailing shape."""
    error = np.where(whole.endless, np.inf, whole.error + whole.rest)
    value = np.where(whole.endless, np.nan, whole.value)
    converged = bool(np.all(error <= rtol * whole.total))
    if whole.endless.any():
        note = f"the integrand does not decay along {whole.where or 'the axes'}: the integral is infinite, or does not exist, "
        note += "or converges too slowly for this rule"
    elif not converged and not note:
        worst = np.max(error * _inverse(whole.total))
        note = f"relative accuracy {worst:.0e} reached, {rtol:.0e} asked for; "
        note += "a kink needs breaks=, fine detail a larger budget="
    shape = lambda a: a.reshape(trailing) if trailing else float(a[0])
    return Integral(shape(value), shape(error), whole.evaluations, converged, note)


def _nothing(note):
    return Integral(np.nan, np.inf, 0, False, note)


def integrate(f, frame, support, *, logpdf=None, rtol=1e-12, breaks=(), budget=None):
    r"""Integral of a function over a box, and a bound for its error.

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
    r"""Expectation under a density, with an error bound that can be trusted.

    .. math:: \mathbb E_p\, g = \int_{\rm support} g(x)\, p(x)\, dx

    The mass of p is integrated along, on the same points. Where it is not 1 the frame has missed something or logpdf is
    not normalised, and the error is inf.

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
    ends, rtol = _support("expectation", density.support), positive("expectation", "rtol", rtol)
    rows = _Rows("expectation", "g", g, mass=True)
    frame, cuts = _frame(density, ends), _per_axis("expectation", breaks, len(ends))
    whole = _over("expectation", rows, frame, ends, density.logpdf, rtol, cuts, budget)
    if whole is None:
        return _nothing("the density underflows at every node: give it a frame that says where it lives")
    defect, note = abs(whole.value[-1] - 1), ""
    if defect > max(rtol, 8 * (whole.error + whole.rest)[-1]):
        note = f"the density integrates to {whole.value[-1]:.6g} on its frame: logpdf is not normalised, or the frame misses a part"
        whole.rest = whole.rest + np.inf
    whole.rest = whole.rest + defect * whole.total  # errors of logpdf itself act on g and on the mass alike
    for name in ("value", "total", "error", "rest", "endless"):
        setattr(whole, name, getattr(whole, name)[:-1])
    return _report(whole, rows.trailing, rtol, note)


def flux(field, density, *, rtol=1e-12, breaks=(), budget=None):
    r"""Flux of p times a field out of the density's support, faces at infinity included as limits.

    .. math:: \oint_{\partial\,{\rm support}} p(x)\, v(x) \cdot n(x)\, dS = \int_{\rm support} {\rm div}(p v)\, dx

    This is the boundary term of the integration by parts. At a finite end p and v are evaluated on the end itself, as the
    support is closed. At an infinite end the flux is followed through faces 4^k times farther out than the bulk.

    Parameters
    ----------
    field : callable, (n, d) -> (n, d)
    density, rtol, breaks, budget : see expectation

    Returns
    -------
    Integral
        Where the flux through far faces dies out, its last magnitude is part of the error. In one dimension it may tend to
        another limit: value contains that limit and the note says so. Otherwise value is nan and error inf.

    Raises
    ------
    ValueError
        As integrate; or if field does not return one vector per point.

    Source: Gauss's divergence theorem; Hyvarinen (2005), JMLR 6:695-709, whose Theorem 1 assumes this term to be 0.
    Test: test_quadrature.py::test_divergence_theorem
    """
    ends, rtol = _support("flux", density.support), positive("flux", "rtol", rtol)
    d, frame, field_of = len(ends), _frame(density, ends), _Rows("flux", "field", field)
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
        if d == 1:
            point = np.zeros((1, 0))
            logp = _values("flux", "logpdf", logpdf(point), embed(point), ())
            value = np.exp(logp) * across(point)[0] if logp[0] > -700 else np.zeros(1)
            rounding = EPS * (8 + np.abs(np.maximum(logp, -700))) * abs(value)
            return _Sum(value, abs(value), 0 * value, rounding, np.zeros(1, bool))
        kinks = tuple(cuts[i] for i in others)
        face = Frame(center[others], np.diag(scale[others]), frame.tail, frame.reach, frame.detail, kinks)
        whole = _over("flux", across, face, ends[others], logpdf, rtol, [()] * (d - 1), budget)
        none = np.zeros(1)
        return whole or _Sum(none, none, none, none, none > 0)

    value = error = scale_of_all = 0.0
    evaluations, notes = 0, []
    for j, side in product(range(d), (0, 1)):
        sign = 2 * side - 1
        if np.isfinite(ends[j, side]):
            found, bound = [through(j, ends[j, side])], 0.0
            scale_of_all += found[0].total[0]
        else:
            radii = [frame.reach, *(frame.reach + 2 * 4.0**k for k in range(1, 40))]
            found, bound, news = _to_infinity(
                lambda k, j=j, r=radii, s=sign: through(j, center[j] + s * scale[j] * r[k], 1e-6), d == 1
            )
            scale_of_all = max(scale_of_all, found[0].total[0])
            notes += [f"{news} through x[:, {j}] = {'+' if side else '-'}inf"] if news else []
        evaluations += sum(f.evaluations for f in found)
        lost = found[-1].endless[0] or np.isinf(bound)
        value += np.nan if lost else sign * found[-1].value[0]
        error += np.inf if lost else bound + (found[-1].error + found[-1].rest)[0]
    converged = bool(error <= rtol * scale_of_all)
    if not converged and not notes:
        notes = [f"error {error:.0e} against a flux of {scale_of_all:.0e} through the bulk"]
    return Integral(float(value), float(error), evaluations, converged, "; ".join(notes))


def _to_infinity(through, alone):
    """Follow the flux through faces k = 0, 1, ... farther and farther out: the sums found, how far from the limit, the news.

    Faces are whole planes, not sides of a box; where the flux vanishes that makes no difference. A limit other than 0
    is a number for all to agree on only if a face is a point (`alone`).
    """
    found = [through(0)]
    size = lambda back: found[-back].total[0]
    while len(found) < 40:
        if found[-1].endless[0]:
            return found, np.inf, "the flux is infinite on the way"
        if len(found) > 1 and size(1) <= 0.1 * EPS * found[0].total[0]:
            return found, size(1), ""
        if len(found) >= 8 and min(size(1) / size(2), size(2) / size(3)) > 0.99:
            break
        found.append(through(len(found)))
    if size(1) < 0.9 * size(2):
        return found, 4 * size(1), "the flux vanishes slowly"
    last, before = (abs(found[-k].value[0] - found[-k - 1].value[0]) for k in (1, 2))
    if alone and (last <= 0.5 * before or last <= 1e-12 * size(1)):
        return found, 4 * last, "the flux tends to a limit that is not 0"
    return found, np.inf, "the flux does not vanish"
