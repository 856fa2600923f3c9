"""Somebody's own density, as far as it is given: log p at least. What is missing is differenced or drawn, and said so."""

import functools
import warnings

import numpy as np

from ..common.callables import called, parameters_of
from ..common.inputs import count, generator
from ..numerics.differences import CLOSER, OUTLYING, SAFETY, STEPS, Derivative, differences, widths
from ..numerics.quadrature import Frame, Integral

PROPOSALS = 1 << 14  # for samples of a density that brings none
FAR = 64.0  # widths from the median beyond which steps of a share of that distance are tried too
NARROW = 256  # samples at which a part narrower than the others is looked for
ROUNDS, LONGEST = 16, 1024  # of proposals, after which it is foretold how many there will be, and how many there may be
RAYS = 64  # from samples to an edge of the support inside its box
NEARER = 1e-3, 1e-8  # shares of the way that are left to an edge
EPS = float(np.finfo(float).eps)


class Own:
    """A density made of an object with `dim` and `logpdf`, and with what else it has: support, score, trace, sample, frame.

    A missing score is differenced from logpdf (Romberg), a missing trace from a given score, and their errors are kept: see
    `slack`. Missing samples are drawn around the highest point of log p and weighted.
    """

    def __init__(self, given):
        name = str(getattr(given, "label", type(given).__name__))
        if not callable(getattr(given, "logpdf", None)):
            raise TypeError(f"verify: {name} has no logpdf; expected an object with dim and logpdf(x (n, d)) -> (n,).")
        if getattr(given, "dim", None) is None:
            raise TypeError(
                f"verify: {name} has no dim, expected the number of columns of x that its logpdf takes; set .dim = d."
            )
        self.given, self.name, self.dim = given, name, count("verify", "dim", given.dim)
        self.support = np.asarray(getattr(given, "support", np.tile([-np.inf, np.inf], (self.dim, 1))), float)
        if callable(getattr(given, "support", None)) or self.support.shape != (self.dim, 2):
            raise ValueError(
                f"verify: {name}.support has shape {self.support.shape}, expected ({self.dim}, 2), ends per axis."
            )
        self.has = {part: callable(getattr(given, part, None)) for part in ("score", "trace", "sample")}
        self._last: tuple = (None, None, None)
        self.empty = self._empty_share()
        x = self._seen = self.sample(1000, rng=0)
        self._center = np.median(x, axis=0)
        self.frame = given.frame if getattr(given, "frame", None) is not None else self._frame(x)

    def _frame(self, x):
        """Where it lives, by mean, covariance and 99 % point of its samples x; a grid that misses a part of it will notice."""
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
        bulk = (high - low) / 1.349  # a standard deviation, if it were normal
        if np.any(x.std(axis=0) > OUTLYING * bulk) and np.all(bulk > 0):  # a heavy tail, whose variance says nothing
            return Frame(np.clip(middle, *self.support.T), np.diag(bulk), "algebraic", 3.0, 0.5)
        unbounded = np.isinf(self.support).all()
        cov = np.atleast_2d(np.cov(x.T))
        axes = np.linalg.cholesky(cov) if unbounded else np.diag(np.sqrt(np.diag(cov)))
        u = np.linalg.solve(axes, (x - x.mean(0)).T)
        reach = float(np.clip(np.quantile(np.abs(u).max(0), 0.99) / 3, 1, 10))
        return Frame(np.clip(x.mean(0), *self.support.T), axes, "exponential", reach, 0.5)

    @property
    def notes(self):
        """What was missing, and what stands in for it."""
        out = []
        if not self.has["score"]:
            out.append(f"{self.name} has no score: log p is differenced, the error is part of every bound")
        if not self.has_trace:
            out.append(
                f"{self.name} has neither trace nor score: lines that need the trace of the data's score are left out"
            )
        elif not self.has["trace"]:
            out.append(f"{self.name} has no trace: the score is differenced, the error is part of every bound")
        if self.empty:
            out.append(
                f"{self.name}: p is 0 in {100 * self.empty:.2g} % of the box of its support, which a grid does not follow: means over samples, a "
                f"bound is four standard errors (for a grid give coordinates that fill a box)"
            )
        if not self.has["sample"] and not self.empty:
            out.append(f"{self.name} has no sample: points are drawn around the highest point of log p, and weighted")
        return out

    @property
    def has_trace(self):
        """Whether the trace of its score can be had without differencing twice."""
        return self.has["trace"] or self.has["score"]

    def _ask(self, part, x, shape):
        with (
            np.errstate(all="ignore"),
            warnings.catch_warnings(),
        ):  # what comes back is looked at; his warnings are not ours
            warnings.simplefilter("ignore", RuntimeWarning)
            a = np.asarray(called("verify", f"{self.name}.{part}", getattr(self.given, part), x))
        a = (
            a.reshape(shape) if len(x) == 1 and a.size == np.prod(shape) else a
        )  # SciPy's densities drop the axis of one row
        if a.shape != shape or a.dtype.kind not in "fiu":
            raise ValueError(
                f"verify: {self.name}.{part} returned {a.dtype} of shape {a.shape} for x of shape {x.shape}, expected real "
                f"numbers of shape {shape}; rows are samples."
            )
        bad = np.isnan(a.reshape(len(x), -1)).any(axis=1)
        if bad.any():
            at = x[int(np.argmax(bad))].tolist()
            raise ValueError(
                f"verify: {self.name}.{part} is nan at x = {at}, as at {bad.sum()} of {len(x)} points of the support {self.support.tolist()}. "
                f"Give it its limit there, or a support without such points."
            )
        return a.astype(float, copy=False)

    def logpdf(self, x):
        """Its log p (n,)."""
        return self._ask("logpdf", x, x.shape[:1])

    def _differenced(self, part, x, shape):
        """Derivatives (n, *shape, d) of a part at x, and their errors; steps stay inside the support."""
        if (
            self._last[0] is x and self._last[1] == part
        ):  # score or trace, and then their slack, are asked for the same points
            return self._last[2]
        self._last = (x, part, self._extrapolated(part, x, shape, self._width(part)))
        return self._last[2]

    @functools.cache  # noqa: B019
    def _width(self, part):
        """Largest half-widths of the differences of a part: so small that steps 2^-9 of them say the same at some of its samples.

        Steps that are wider than a narrow part of it step over that part smoothly, with a small error of their own.
        """
        x, shape, width = self._seen[:NARROW], () if part == "logpdf" else (self.dim,), widths(self._seen)
        for _ in range(4):
            wide, fine = (self._extrapolated(part, x, shape, width / 2.0**k) for k in (0, STEPS))
            apart = np.abs(wide.value - fine.value) > SAFETY * (wide.error + fine.error) + 64 * EPS * np.abs(wide.value)
            if not apart.any():
                break
            width = width / 2.0 ** (STEPS // 2)
        # of widths that say the same, the one of least error at nine in ten samples: poles of log p near the line shorten it
        smaller = width / 2.0 ** np.arange(4)[:, None]
        errors = [self._extrapolated(part, x, shape, w).error.reshape(len(x), -1).max(1, initial=0) for w in smaller]
        return smaller[np.argmin(np.quantile(errors, 0.9, axis=1))]

    def _extrapolated(self, part, x, shape, width):
        """Derivatives of a part at x with steps of at most width, halved row by row until they stay inside the support."""
        seen = lambda y: (self._ask(part, y, (len(y), *shape)), y)
        room = np.minimum(x - self.support[:, 0], self.support[:, 1] - x)  # (n, d)
        with np.errstate(divide="ignore"):
            halvings = np.ceil(np.log2(np.maximum(2 * width / room, 1.0))).clip(0, 1000)
        value, error, second = differences(seen, x, width / 2.0**halvings, shape)[0]

        def again(rows, smaller):
            """Other steps for these rows, kept where they have less error and say the same, or where there was no number."""
            found = differences(seen, x[rows], smaller, shape)[0]
            with np.errstate(invalid="ignore"):
                same = np.abs(found.value - value[rows]) <= SAFETY * (found.error + error[rows])
            better = lost()[rows] | (same & (found.error < error[rows]))
            value[rows], error[rows] = (
                np.where(better, found.value, value[rows]),
                np.where(better, found.error, error[rows]),
            )

        lost = lambda: ~(np.isfinite(value) & np.isfinite(error))
        any_of = lambda mask: np.flatnonzero(mask.reshape(len(x), -1).any(axis=1))
        # a tail changes on the scale of its distance, and steps of the width of the data are lost in the rounding of x
        distance = np.maximum(np.abs(x - self._center), width)
        if len(rows := any_of(distance > FAR * width)):
            again(rows, np.minimum(distance[rows] / 4, room[rows] / 2))
        # near an end of its own inside the box steps reach where p is 0: smaller ones
        for k in range(1, CLOSER + 1):
            if not len(rows := any_of(lost())):
                break
            again(rows, (width / 2.0**halvings)[rows] / 2.0 ** (k * STEPS))
        if len(rows := any_of(lost())) and np.isfinite(self.support).any():  # within rounding of an end
            bound, gone = self._crude(part, x[rows], shape, room[rows]), lost()[rows]
            value[rows], error[rows] = np.where(gone, 0.0, value[rows]), np.where(gone, bound / SAFETY, error[rows])
        return Derivative(value, error, second)

    def _crude(self, part, x, shape, room):
        """Bounds (n, *shape, d) of derivatives within rounding of an end, where nothing can be differenced: twice the change per unit
        on the way from x to twice its distance from the end, which a power of that distance does not exceed."""
        at, bounds = self._ask(part, x, (len(x), *shape)), []
        for j, (low, high) in enumerate(self.support):
            inward = np.where(x[:, j] - low <= high - x[:, j], 1.0, -1.0)
            y = x.copy()
            y[:, j] += inward * np.maximum(room[:, j], 4 * np.spacing(np.abs(x[:, j])))
            step = np.abs(y[:, j] - x[:, j]).reshape(-1, *(1 for _ in shape))
            beside = self._ask(part, y, (len(y), *shape))
            with np.errstate(invalid="ignore"):
                change = np.nan_to_num(np.abs(beside - at), nan=np.inf) + 8 * EPS * (1 + np.abs(at))
            bounds.append(2 * change / step)
        return np.stack(bounds, axis=-1)

    def score(self, x):
        """Its own score (n, d), or log p differenced."""
        return self._ask("score", x, x.shape) if self.has["score"] else self._differenced("logpdf", x, ()).value

    def trace(self, x):
        """Its own trace (n,), or its score differenced."""
        if self.has["trace"]:
            return self._ask("trace", x, x.shape[:1])
        return np.einsum("nii->n", self._differenced("score", x, (self.dim,)).value)

    def slack(self, x):
        """Bounds of the errors of score and trace at x, (n,) and (n,); 0 for what is given."""
        score = self.slack_of_score(x)
        if self.has["trace"] or not self.has_trace:
            return score, np.zeros(len(x))
        return score, SAFETY * np.einsum("nii->n", self._differenced("score", x, (self.dim,)).error)

    def slack_of_score(self, x):
        """A bound of the error of the score at x (n,), 0 if it is given."""
        if self.has["score"]:
            return np.zeros(len(x))
        return SAFETY * self._differenced("logpdf", x, ()).error.sum(1)

    # ---- a support of its own inside the box: a disc, a triangle

    def _in_the_box(self, n, rng):
        """n points (n, d) uniform in the box, and log p there."""
        x = rng.uniform(*self.support.T, (n, self.dim))
        return x, self.logpdf(x)

    def _empty_share(self):
        """The share of a finite box in which log p is -inf."""
        if np.isinf(self.support).any():
            return 0.0
        return float(np.mean(np.isneginf(self._in_the_box(PROPOSALS, np.random.default_rng(0))[1])))

    def _rejected(self, n, rng):
        """n independent samples: uniform points of the box, kept with probability p / max p; a new maximum starts them anew."""
        top, kept, rounds = self._in_the_box(PROPOSALS, np.random.default_rng(0))[1].max(), np.empty((0, self.dim)), 0
        while len(kept) < n:
            rounds += 1
            if rounds > ROUNDS and len(kept) < n * rounds / LONGEST:
                raise ValueError(
                    f"verify: {self.name} fills so little of the box of its support that {len(kept)} of {rounds * PROPOSALS} uniform points were "
                    f"kept as samples; give it sample(n, rng=...) -> (n, {self.dim}), or a support that fits closer."
                )
            x, logp = self._in_the_box(PROPOSALS, rng)
            if logp.max() > top:
                top, kept = logp.max(), kept[:0]
            kept = np.concatenate([kept, x[np.log(rng.random(len(x))) < logp - top]])
        return kept[:n]

    def edge(self, field):
        """Flux of p times a field through an edge inside the box: 0 and its last size where p |v| dies out on rays to the edge, else unknown."""
        rng = np.random.default_rng(0)
        x, way = self.sample(RAYS, rng=rng), rng.standard_normal((RAYS, self.dim))
        # a point beyond each edge, on the box or outside, and bisection between the two
        inside, outside = np.zeros(RAYS), np.full(RAYS, np.inf)
        with np.errstate(divide="ignore"):
            for end in self.support.T:
                along = (end - x) / way
                outside = np.minimum(outside, np.where(along > 0, along, np.inf).min(axis=1))
        for _ in range(50):
            middle = 0.5 * (inside + outside)
            there = np.isfinite(self.logpdf(x + middle[:, None] * way))
            inside, outside = np.where(there, middle, inside), np.where(there, outside, middle)
        sizes = []
        for share in NEARER:
            y = x + (inside * (1 - share))[:, None] * way
            sizes.append(np.exp(self.logpdf(y)) * np.linalg.norm(field(y), axis=1))
        if np.all(sizes[1] <= 0.1 * sizes[0]):
            lengths = np.diff(self.support)[:, 0]
            perimeter = 2 * np.sum(np.prod(lengths) / lengths)
            return Integral(0.0, float(perimeter * sizes[1].max()), 2 * RAYS, True, "")
        return Integral(np.nan, np.inf, 2 * RAYS, False, "p does not vanish at an edge inside the box of the support")

    # ---- samples

    def sample(self, n, *, rng=None):
        """n of its own samples (n, d), or points drawn around the highest point of log p, chosen by their weights."""
        if self.has["sample"]:
            takes_rng = _takes_rng(self.given.sample)
            x = called("verify", f"{self.name}.sample", self.given.sample, n, **({"rng": rng} if takes_rng else {}))
            return np.asarray(x, float).reshape(n, self.dim)
        rng = generator("verify", rng)
        if self.empty:
            return self._rejected(n, rng)
        points, p = self._weighted
        return points[rng.choice(len(points), n, p=p)]

    @functools.cached_property
    def _weighted(self):
        """Points from a Student-t (4 degrees of freedom) around the highest point of log p, and their weights p/q."""
        from scipy.optimize import minimize
        from scipy.stats import multivariate_t

        lower, upper = self.support.T
        boxed = np.isfinite(self.support).all(1)
        start = np.clip(0.0, lower + 1, upper - 1)  # 0, or one unit inside a half-line
        start[boxed] = self.support[boxed].mean(1)
        height = lambda y: self.logpdf(y[None])[0] if ((lower <= y) & (y <= upper)).all() else -np.inf
        with np.errstate(all="ignore"):
            mode = minimize(lambda y: -max(height(y), -1e300), start, method="Nelder-Mead").x
            step = 1e-3 * np.maximum(1.0, np.abs(mode))
            bend = [
                2 * height(mode) - height(mode + s * e) - height(mode - s * e)
                for s, e in zip(step, np.eye(self.dim), strict=True)
            ]
        width = np.where(np.isfinite(bend) & (np.array(bend) > 0), step / np.sqrt(np.maximum(bend, 1e-12)), 1.0)
        law = multivariate_t(mode, np.diag((1.5 * width) ** 2), df=4, seed=0)
        x = np.asarray(law.rvs(PROPOSALS)).reshape(PROPOSALS, self.dim)
        x = x[((lower < x) & (x < upper)).all(1)]
        log_w = self.logpdf(x) - law.logpdf(x).reshape(len(x))
        w = np.exp(log_w - log_w.max())
        return x, w / w.sum()


def _takes_rng(sample):
    """Whether somebody's sample takes rng=."""
    parameters = parameters_of(sample)
    return parameters is None or any(p.name == "rng" or p.kind is p.VAR_KEYWORD for p in parameters.values())
