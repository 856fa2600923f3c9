"""The trapezoidal rule on a product of axes, each mapped so that the integrand fades at both ends; its error from its spectrum.

The engine of `quadrature`, which says what is integrated and reports what was found. Maps of an axis (`Piece`), how far out
its ends must go, and a box and a spacing adapted until neither what lies outside nor what aliases matters (`trapezoid`);
for integrands with kinks, adaptive subdivision of the same box (`subdivide`).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

EPS = float(np.finfo(float).eps)
BLOCK = 1 << 15  # points per call of the integrand: bounded memory
SHELL = 0.25  # width in u of the outermost shells, whose sums bound what lies beyond them
FAR = 170.0  # largest u towards infinity: |x| near 1e73, so that x^4 is still a number
EVIDENCE = 1 << 12  # nodes on a line beside those of the rule: a part wider than this share of the box is seen
MEMORY = 1 << 25  # numbers in the terms of one grid
SUBDIVISIONS = {1: 4000, 2: 450, 3: 45}  # of SciPy's adaptive rule: about a second
MARGIN = {"gaussian": 9.0, "exponential": 40.0, "algebraic": 3e3}  # first guess: bulk to 1e-17, in units of the frame


# --------------------------------------------------------------------------- one axis: from u on the line to x


@dataclass(frozen=True)
class Piece:
    """x(u) between two ends of one axis.

    Both infinite: x = c + s u for a Gaussian tail, c + s sinh u for an exponential one, c + s sinh(4 sinh(u / 4)) for an
    algebraic one (1.4 to 3 times fewer nodes per axis than sinh on Student's t). One finite: x = end +- s exp(u - exp(-u)),
    u = -inf being the end. Both finite: tanh-sinh. Near a finite end x is that end plus something tiny, never a difference.
    """

    low: float
    high: float
    center: float
    scale: float
    tail: str  # how the density decays, its reach and its detail: see quadrature.Frame
    reach: float
    detail: float

    @property
    def infinite(self):
        """Do the lower and the upper end of u lead to infinity?"""
        ends = np.isinf([self.low, self.high])
        return bool(ends.all()), bool(ends.any())

    @property
    def end(self):
        """The finite end, the lower one if there are two."""
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
            if self.tail == "gaussian":
                return self.center + self.scale * u, np.full(u.shape, np.log(self.scale))
            v, log_dv = (u, 0.0) if self.tail == "exponential" else (4 * np.sinh(u / 4), np.log(np.cosh(u / 4)))
            return self.center + self.scale * np.sinh(v), np.logaddexp(v, -v) + log_dv + np.log(self.scale / 2)
        r = self.distance(u)
        if self.infinite == (False, True):
            return (self.low + r if self.end == self.low else self.high - r), np.log(r) + np.log1p(np.exp(-u))
        near = np.pi * np.cosh(u) * (1 - r / (self.high - self.low))  # d log(distance) / d|u|
        return np.where(u < 0, self.low + r, self.high - r), np.log(r) + np.log(near)

    def limits(self):
        """The range of u: distances from a finite end that rounding can tell from the end; FAR towards infinity."""
        if self.infinite[0]:
            far = {"gaussian": 1e3, "exponential": FAR, "algebraic": 4 * np.arcsinh(FAR / 4)}[self.tail]
            return -far, far
        u = -np.arange(0, 6.5 if self.infinite[1] else 5.3, 0.01)
        low, high = (
            u[self.distance(u) >= 2 * np.spacing(abs(end))][-1:].sum()
            for end in ((self.end, self.end) if self.infinite[1] else (self.low, self.high))
        )
        return low, FAR if self.infinite[1] else -high

    def start(self):
        """First box, and a spacing at which no feature of size `detail` falls between the nodes."""
        reach, margin, h = self.reach, MARGIN[self.tail], 0.6 * min(1.0, self.detail)
        if self.infinite[0]:
            if self.tail == "gaussian":
                return -reach - margin, reach + margin, h
            far = np.arcsinh(reach + margin)
            far = 4 * np.arcsinh(far / 4) if self.tail == "algebraic" else far
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
    if (
        first
    ):  # beyond the first node alive all underflows; a shell as wide as the mode beside it says less than that node
        tail = np.where(edge[:, 0] < 1e-100 * goal, edge[:, 0] * m, tail)
    inside = (np.cumsum(profile, axis=1) > 1e-4 * goal[:, None]).any(axis=0)
    keep = max(0, int(np.argmax(inside)) - 1) if inside.any() else 0
    keep = min(keep, max(0, first - 2 * m)) if first else keep  # see next time, too, that it is dead beyond
    return _End(at, width, keep, first > 0 or blocked, outer, ratio, tail)


# --------------------------------------------------------------------------- the rule on a product of pieces


@dataclass
class Sum:
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
            with np.errstate(over="ignore", invalid="ignore"):
                known = between is not None and np.isfinite(between[k].sum())  # else it is endless, and has no spectrum
            both = np.stack([row, between[k] if known else 0 * row], axis=j + 1)
            both = both.reshape(*n[:j], 2 * m, *n[j + 1 :])
            band[k, j] = _highest(np.fft.rfftn(both), j, 2 * m, 15 / 32) / 2
    return band


def inverse(total):
    """1 / total, and 0 where total is 0 or nearly so."""
    return np.where(total > 1e-290, 1 / np.maximum(total, 1e-290), 0)


def _misfit(terms, pieces, t, lo, h, per_total):
    """(k,): estimates of int |f - its band-limited interpolant| and of int |f(x) - f(x')|, x' a rounding away, from 24 random points.

    The integral of the interpolant is the sum, so the first bounds the error. It guards against the one thing no spectrum of
    samples shows: an oscillation in step with the nodes, such as sin(30 x), which looks smooth on them. The second is what the
    map and the integrand make of eps |x|: where axes are nearly parallel, or far from 0, that is more than eps of the sum.
    """
    share = np.tensordot(per_total, np.abs(t), 1).ravel()
    chance, rng = share / share.sum(), np.random.default_rng(0)
    cells = rng.choice(share.size, 24, p=chance)
    at = np.stack(np.unravel_index(cells, t.shape[1:]), axis=1) + rng.uniform(-0.5, 0.5, (24, len(h)))
    columns, logs = zip(*(p.nodes(a + s * i) for p, a, s, i in zip(pieces, lo, h, at.T, strict=True)), strict=True)
    x, logw = np.stack(columns, axis=1), np.sum(logs, axis=0) + np.log(h).sum()
    f, near = (terms(x, logw, away)[0] for away in (0, EPS * rng.choice([-1.0, 1.0], x.shape)))
    sinc = [np.sinc(np.arange(m)[:, None] - i) for m, i in zip(t.shape[1:], at.T, strict=True)]
    seen = t @ sinc.pop()
    while sinc:
        seen = np.einsum("...im,im->...m", seen, sinc.pop())
    f = np.zeros_like(seen) if f is None else f
    mean = lambda gap: np.mean(np.abs(gap) / chance[cells], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):  # of a component that is endless
        return mean(seen - f), mean(f - (0 if near is None else near))


def _beyond(terms, lo, hi, limits, pieces, goal):
    """For each end, (2, d): how far it must move for what 32 points on the way to its limit show to be worth more than `goal`."""
    rng, d = np.random.default_rng(2), len(pieces)
    move = np.zeros((2, d))
    for j, side in product(range(d), (0, 1)):
        ladder = 0.5 * (hi[j] - lo[j]) * (2 ** (np.arange(1, 33) / 8) - 1)
        ladder = ladder[ladder < abs(limits[j, side] - (lo, hi)[side][j])]
        if not len(ladder):
            continue
        u = rng.uniform(lo, hi, (len(ladder), d))
        u[:, j] = (lo[j] - ladder, hi[j] + ladder)[side]
        x, logw = zip(*(p.nodes(column) for p, column in zip(pieces, u.T, strict=True)), strict=True)
        volume = np.log(np.diff(ladder, prepend=0)) + np.log(np.delete(hi - lo, j)).sum()
        try:
            with np.errstate(all="ignore"):
                f = terms(np.stack(x, axis=1), np.sum(logw, axis=0) + volume)[0]
        except ValueError:
            continue  # f need not be a number where p is next to nothing
        if f is not None and (worth := np.any(np.abs(f) > goal[:, None], axis=0)).any():
            move[side, j] = ladder[np.flatnonzero(worth)[-1]]
    return move


def _apart(terms, pieces, n, lo, h, value, evidence):
    """(k,): the distance of the sum from one over nodes that share none with it: spacing 2 h, finer on a line, shifted at random.

    Its own error is no larger than the coefficients from 1/2 of 1/h on, which are in sight. What falls between the nodes of one,
    a part narrower than they see, does not fall between those of both; what is narrower than both is out of sight.
    """
    step = 2.0 if len(n) > 1 else 1 / max(1, evidence // n[0])
    first = np.random.default_rng(1).uniform(0.1, 0.9, len(n)) * step
    f = _sample(terms, pieces, lo + first * h, step * h, ((n - 1 - first) / step).astype(int) + 1)[0]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(np.abs((0 if f is None else f.reshape(len(f), -1).sum(axis=1)) - value), nan=np.inf)


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


def trapezoid(terms, pieces, rtol, budget):
    """Adapt box and spacing until shells and spectrum leave less than rtol; returns the Sum and the box."""
    aim = rtol / 32  # geometric convergence gives digits beyond rtol almost free, and they keep the error bound sharp
    d, limits, infinite = len(pieces), np.array([p.limits() for p in pieces]), [p.infinite for p in pieces]
    lo, hi, h = np.array([p.start() for p in pieces]).T
    lo, hi = np.maximum(lo, limits[:, 0]), np.minimum(hi, limits[:, 1])
    past: dict = {}
    before: dict = {}
    settled, last, looked, budget = False, False, False, budget if d == 1 else budget // 2
    while (excess := np.prod(_count((lo, hi), h)) / budget) > 1:  # features finer than the budget: what can be done
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
        goal, per_total = aim * total, inverse(total)
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
        elif not (settled or last or looked) and (far := _beyond(terms, lo, hi, limits, pieces, goal)).any():
            lo, hi, looked = lo - far[0], hi + far[1], True
            continue
        looked = True
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
            gap, moved = _misfit(terms, pieces, t, lo, h, per_total * ~endless)
            claimed = 4 * below.sum(axis=1) + rounding + moved + np.sum([e.tail for e in ends.values()], axis=0)
            apart = _apart(terms, pieces, n, lo, h, value, EVIDENCE if rtol < 1e-8 else EVIDENCE // 8)
            gap = np.maximum(np.where(gap > 250 * claimed, gap, 0), np.where(apart > claimed, apart, 0))
            unseen, rounding = np.where(endless, 0, gap)[:, None], rounding + moved
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
            return Sum(value, total, error, tails + rounding, endless, ", ".join(where)), lo, hi
        (lo, hi), h = new, finer


def subdivide(terms, pieces, lo, hi, total, rtol):
    """SciPy's adaptive subdivision on the same box, for integrands with kinks: value, error (k,).

    Done several times, in differently skewed coordinates. Adaptive rules are blind to a jump that lies within 0.2% of the edge
    of a cell: one in six steps ends up there on the way down to 1e-15, and is then misjudged by anything up to 1e-3. Meshes
    are not blind alike: the two that agree best count, and their distance is part of the error.
    """
    from scipy.integrate import cubature

    d, scale, found, spikes = len(pieces), np.where(total > 1e-290, total, 1), [], []
    first = 8 if d == 1 else 1  # a line can afford a fair first mesh
    cells = [([k / first] * d, [(k + 1) / first] * d) for k in range(first)]
    skews = (0.07, -0.11, 0.23, -0.29, 0.37) if d == 1 else (0.07, -0.11, 0.23)
    most, atol = SUBDIVISIONS[d] // (len(skews) * first), rtol / (8 * first)
    for skew in skews:
        visited: list = [(np.zeros((0, d)), np.zeros((0, len(scale))))]

        def f(v, skew=skew, visited=visited):
            known, values = visited[-1]
            # the error of a cell begins with its estimate's nodes
            asked = len(known) * np.array_equal(known, v[: len(known)])
            v = v[asked:]
            u = lo + (hi - lo) * v * (1 + skew * (1 - v))
            stretch = np.log((hi - lo) * (1 + skew * (1 - 2 * v))).sum(axis=1)
            x, logw = zip(*(p.nodes(u[:, j]) for j, p in enumerate(pieces)), strict=True)
            t = terms(np.stack(x, axis=1), np.sum(logw, axis=0) + stretch)[0]
            visited.append((v, np.zeros((len(u), len(scale))) if t is None else (t / scale[:, None]).T))
            return np.concatenate([values[:asked], visited[-1][1]])

        parts = [cubature(f, *cell, rule="gk21", rtol=0, atol=atol, max_subdivisions=most) for cell in cells]
        found.append([sum(p.estimate for p in parts), sum(p.error for p in parts)])
        spikes.append(_spike(*map(np.concatenate, zip(*visited, strict=True))) if d == 1 else 0.0)
    values, errors = np.swapaxes(found, 0, 1)  # each (runs, k)
    order = np.argsort(values, axis=0)
    values, errors = np.take_along_axis(values, order, axis=0), np.take_along_axis(errors, order, axis=0)
    gap = np.diff(values, axis=0)
    best = np.argmin(gap, axis=0), np.arange(len(scale))
    rounding = 64 * EPS  # of a running sum over some hundred cells
    error = (2 * np.maximum(errors[:-1], errors[1:]) + 4 * gap)[best] + np.max(spikes, axis=0) + rounding
    return values[best] * scale, error * scale


def _spike(v, f):
    """(k,): what lies between a singularity and the points v (m, 1) nearest to it, from the growth of |f|, f (m, k), towards it.

    Subdivision ends at the spacing of doubles, its own estimate with it; under |v|^-a there is still delta^(1 - a) / (1 - a) to come.
    """
    out = np.zeros(f.shape[1])
    for k, column in enumerate(np.abs(f).T):
        far = np.abs(v[:, 0] - v[np.argmax(column), 0])
        delta = np.min(far[far > 0])
        if delta > 1e-9:
            continue  # no cell shrunk to a point
        near, beyond = (column[(low * delta <= far) & (far <= 10 * low * delta)].max(initial=0) for low in (1, 1e3))
        power = np.log(near / beyond) / np.log(1e3) if beyond > 0 else 0.0 if near == 0 else np.inf
        if power > 0.05:
            out[k] = 20 * near * delta / (1 - power) if power < 0.97 else np.inf
    return out
