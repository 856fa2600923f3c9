r"""Does a density integrate to 1, and if not, which constant is missing?

.. math:: I = \int_{\rm support} e^{\log p(x)}\, dx

by quadrature, whose error is bounded, on a frame found from log p itself, and once more by importance sampling, which shares nothing with
it but the places looked at. The score does not see a constant; a likelihood does.

Where a density lives is found from its logarithm alone: modes by climbing, their size by curvature, and all of it by importance sampling with
a mixture of Student's t that covers it. A mode in whose basin no start falls stays unseen: nothing can be promised about it.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, generator, positive
from ..numerics.quadrature import Frame, Integral, integrate
from .functions import Compiled, one_number_each, points_of
from .normaliser import named, number
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst, said

BUDGET = {1: 1 << 17, 2: 1 << 20, 3: 1 << 21}
ENOUGH = 1e-3  # a coarser bound decides nothing
SLACK = 1e-9
SINGLE = 4e-7  # of an integral: what a few constants in single precision may be off by
SIGMAS = 6.0
SHELLS = 10.0 ** np.arange(-3, 6)  # distances of the starts, where nobody says where to look
STARTS, ROUNDS, DRAWS = 12, 8, 4000
SIGHT = 65  # points of a line on which it is seen whether log p rises
NU = 4.0  # degrees of freedom of the proposals
LEAST = 0.02  # share of the draws that every component gets
WITHIN = 20.0  # units of the frame; further out a NaN is a remark
FURTHEST = 300.0  # coordinates u beyond which x is its end
FAINT = 1e-14  # share of the mass below which a mode is left out


def check_density(logpdf, *, dim=None, x=None, support=None, wrap=None, rtol=None, rng=0):
    r"""Does exp(logpdf) integrate to 1, and if not, which constant is missing?

    Parameters
    ----------
    logpdf : callable (n, d) -> (n,), or anything with .logpdf
        In the user's framework, d = 1, 2, 3; one of jax is compiled, where that gives the same numbers.
        Of a density object `dim`, `support` and `sample` are used as well.
    dim : int, optional
        d, where neither x nor support tells it.
    x : (n, d) array, optional
        Points that reach every part of the density, for example samples. Without them it is looked for from 0 outwards; a narrow
        mode beside others may stay unseen, so that mass below 1 is FAIL with them, and without them only if its constant is recognised.
    support : (d, 2) array, optional
        Lower and upper ends, infinite by default; logpdf is asked outside only to name what is wrong.
    wrap : None, "torch", "jax" or callable
        As in `check_score`.
    rtol : float, optional
        Allowed difference of the integral from 1, beyond the estimate of its error.
    rng : seed or numpy.random.Generator
        Of the search and of importance sampling.

    Returns
    -------
    CheckReport
        INCONCLUSIVE where the bound is large, or both integrals disagree. A difference below 4e-7, as constants in single precision leave it,
        and a NaN where p is next to nothing, are notes.

    Raises
    ------
    TypeError, ValueError
        If d is unknown or above 3, x or support do not fit, or logpdf does not take such points.

    Source: quadrature as in `numpyscore.integrate`; population Monte Carlo, Cappe, Guillin, Marin & Robert (2004).
    """
    where, rng = "check_density", generator("check_density", rng)
    dim, x, support = _of_object(logpdf, dim, x, support)
    points = None if x is None else points_of(where, x)
    ends = _support(where, dim, points, support)
    function = _Masked(where, getattr(logpdf, "logpdf", logpdf), wrap, x, ends)
    found = find(function, ends, points, rng)
    d, asked = len(ends), function.caller
    frame = _unit(points, d) if found is None else found.frame
    verdict, diagnosis, pattern, whole = FAIL, _improper(function, frame, ends, rng), "", None
    if not diagnosis and found is None:
        verdict = INCONCLUSIVE
        diagnosis = "not found: no place was found where p is positive and falls off to all sides; give x=, points where the density lives"
    elif found is not None and (not diagnosis or (function.undefined and diagnosis.startswith("not finite"))):
        integral = _integral(function, found.frame, ends)
        if not diagnosis or abs(integral.value - 1) + integral.error <= SINGLE:  # NaN where p is next to nothing
            whole, (verdict, pattern, diagnosis) = integral, _judged(function, found, integral, ends, points, rtol)
    if verdict != PASS and _of_other_rows(function, frame):
        verdict, diagnosis = FAIL, OTHER_ROWS
    far = "" if diagnosis.startswith("not finite") else _not_finite(function, frame)
    notes = (*asked.notes(), *[f"{far}; p is taken for 0 there"] * bool(far))
    off = 0.0 if whole is None else abs(whole.value - 1) - whole.error
    if verdict == PASS and SLACK < off <= SINGLE and asked.eps < 1e-10:
        notes += (ROUNDED.format(off),)
    report = partial(
        CheckReport, where, verdict, f"{d} dim{'s' * (d > 1)}, {asked.came} out, {asked.evaluations} evaluations",
        pattern=pattern, diagnosis=diagnosis, notes=notes,
    )  # fmt: skip
    if whole is None or found is None:
        return report()
    worst = Worst("the integral of p", whole.value, 1.0, whole.error) if verdict == FAIL else None
    numbers = {"integral": whole.value, "bound": whole.error, "importance sampling": np.exp(found.log_mass)}
    return report(worst=worst, resolution=whole.error, details={**numbers, "standard error": found.error})


ROUNDED = "p integrates to 1 up to {:.0e}, as where constants are kept in single precision (torch makes such of plain numbers), or are written with few digits"
OTHER_ROWS = "rows depend on each other: the log density of a row changes with the other rows of the batch, or with how many they are (a softmax, a mean or a maximum over the wrong axis, len(x) for the dimension?)"


def _of_other_rows(function, frame):
    """Whether the log density of a row changes with the other rows."""
    x = frame.center + np.random.default_rng(5).standard_normal((8, len(frame.center))) @ frame.axes.T
    with np.errstate(all="ignore"):
        whole, again, some = function(x)[:3], function(x)[:3], function(x[:3])
    use = np.isfinite(whole) & np.isfinite(some)
    steady = np.array_equal(whole, again, equal_nan=True)  # random numbers are another matter
    return bool(steady and use.any() and not np.allclose(whole[use], some[use], rtol=1e-4, atol=1e-4))


# ------------------------------------------------------------------------------- what comes in


def _of_object(density, dim, x, support):
    """dim, x and support, from the density object where they are not given."""
    if hasattr(density, "logpdf"):
        dim = getattr(density, "dim", dim) if dim is None else dim
        support = getattr(density, "support", None) if support is None else support
        if callable(support):  # of a frozen density of SciPy, in one dimension
            support = [support()]
        if x is None and hasattr(density, "sample"):
            x = density.sample(400, rng=0)
        elif x is None and hasattr(density, "rvs"):
            x = np.reshape(density.rvs(400, random_state=0), (400, -1))
    return dim, x, support


def _support(where, dim, x, support):
    """Lower and upper ends (d, 2)."""
    d = x.shape[1] if x is not None else dim if dim is not None else None if support is None else len(support)
    if d is None:
        raise ValueError(f"{where}: the dimension is not known; give dim=, x= or support=.")
    if not 1 <= count(where, "dim", d) <= 3:
        raise ValueError(
            f"{where}: the dimension is {d}, expected 1, 2 or 3: quadrature reaches no further. Check the same code in three dimensions."
        )
    ends = np.tile([-np.inf, np.inf], (d, 1)) if support is None else np.asarray(support, float)
    if ends.shape != (d, 2) or not np.all(ends[:, 0] < ends[:, 1]):
        raise ValueError(
            f"{where}: support is {ends.tolist()}, expected ({d}, 2), lower and upper end of each dimension."
        )
    if x is not None and np.any((x < ends[:, 0]) | (x > ends[:, 1])):
        raise ValueError(f"{where}: some rows of x lie outside the support {ends.tolist()}.")
    return ends


class _Masked:
    """The user's log density, -inf outside the support and at its ends, where it is not asked, and at the points `bad`, where it is NaN or +inf."""

    def __init__(self, where, function, wrap, like, ends):
        self.where, self.ends, self.zero = where, ends, False
        self.bad: list[tuple] = []  # (points, values) of each call
        self.caller = Compiled(where, "logpdf", function, wrap, like)

    def __call__(self, x):
        x = np.asarray(x, float)
        inside = np.all((x > self.ends[:, 0]) & (x < self.ends[:, 1]), axis=1) & np.isfinite(x).all(axis=1)
        out = np.full(len(x), -np.inf)
        if inside.any():
            with np.errstate(all="ignore"):
                out[inside] = one_number_each(self.where, "logpdf", *self.caller.both(x[inside]))[0]
        self.zero |= bool(np.any(out[inside] == -np.inf))
        wrong = np.isnan(out) | (out == np.inf)
        if wrong.any():
            self.bad.append((x[wrong], out[wrong]))
            out[wrong] = -np.inf
        return out

    @property
    def undefined(self):
        """Whether log p is NaN somewhere, and +inf nowhere."""
        return bool(self.bad) and not any(np.any(values == np.inf) for _, values in self.bad)


# ------------------------------------------------------------------------------- the integral


def _unit(x, d):
    """The frame of a density of which nothing is known but points x."""
    return Frame(np.zeros(d), np.eye(d)) if x is None else Frame(np.median(x, axis=0), np.diag(x.std(axis=0) + 1e-300))


def _not_finite(function, frame, within=np.inf):
    """The diagnosis of a log p that is +inf somewhere, or NaN within so many units of the frame; else ""."""
    far = lambda points: np.abs((points - frame.center) @ np.linalg.inv(frame.axes).T).max(axis=1)
    bad = ((points, values, (far(points) <= within) | (values == np.inf)) for points, values in function.bad)
    points, values, counts = next((one for one in bad if one[2].any()), ((), (), None))
    if counts is None:
        return ""
    k = int(counts.argmax())
    return f"not finite: logpdf is {values[k]} at x = {points[k].tolist()}; -inf alone has a meaning, that p is 0"


SIGN = "sign of log p: it grows outwards along all rays that were asked, as an energy does; log p = -energy - log Z falls off"


def _improper(function, frame, ends, rng):
    """The diagnosis of a log p that is NaN or +inf where p is, or that falls off along some ray more slowly than r^-d; else ""."""
    d = len(ends)
    rays, finite = rng.standard_normal((32, d)), np.isfinite(ends).any()
    if text := _not_finite(function, frame, WITHIN):
        unit = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        values = [function(r * unit) for r in (8.0, 16.0, 32.0, 64.0)]  # the search went outwards, where it grows
        with np.errstate(invalid="ignore"):
            return SIGN if not finite and np.all(np.diff(values, axis=0) > 0) else text
    if finite:
        return ""
    near, far = (function(frame.center + r * rays @ frame.axes.T) for r in (1e4, 1e8))
    with np.errstate(invalid="ignore"):
        if not np.any((far - near) / np.log(1e4) > -d + 1e-3):
            return ""
    near, far, farther = (function(frame.center + r * rays @ frame.axes.T) for r in (1e2, 1e4, 1e6))
    values = function(np.concatenate([frame.center + r * rays @ frame.axes.T for r in (0.0, 0.5, 1.0, 2.0, 1e4)]))
    if values.min() >= 0 and values[-32:].max() < 1e-6 < 1e-3 < values.max():
        return (
            "p for log p: your function is never negative and goes to 0 far out, as p does; its logarithm was asked for"
        )
    with np.errstate(invalid="ignore"):
        if np.mean((far > near + 1) & (farther > far + 1)) > 0.9:
            return SIGN
    return "no density: p does not fall off fast enough to have an integral (a bounded energy, a missing confinement, a circle or an interval: then give support=?); no constant can normalise it"


def _integral(logp, frame, ends):
    """The `Integral` of p by the tail that suits it."""
    budget, kinks = BUDGET[len(ends)], None
    if len(ends) > 1 and np.isinf(ends).all():  # a kink is a curve, on which half the points and no mesh do as well
        budget, kinks = budget // 2, ENOUGH

    def by(tail):
        shape = Frame(frame.center, frame.axes, tail, frame.reach, frame.detail)
        one = lambda x: np.ones(len(x))
        return integrate(one, shape, ends, logpdf=logp, rtol=1e-10, budget=budget, kinks=kinks)

    whole = by("exponential")
    return whole if np.isfinite(whole.error) else by("algebraic")


def _of_variant(found, logp, ends):
    """`_integral` of a change of p, or what the draws say of it, where they leave no doubt that it is not 1."""
    if found.draws:
        points, log_q = found.draws
        with np.errstate(all="ignore"):
            w = np.exp(logp(points) - log_q)
            value, error = w.mean(), w.std() / np.sqrt(len(w))
        if abs(value - 1) > 0.1 + SIGMAS * error and error < 0.2 * value:
            return Integral(value, SIGMAS * error, len(w))
    return _integral(logp, found.frame, ends)


ABOVE = 1.1  # what a mean of a few thousand weights must clearly exceed


def _judged(function, found, whole, ends, x, rtol):
    """Verdict, pattern and diagnosis."""
    I, bound, eps = whole.value, whole.error, function.caller.eps
    sampled, error = np.exp(found.log_mass), found.error * np.exp(found.log_mass)
    apart = lambda: abs(sampled - I) > SIGMAS * error + bound or error > 0.2 * sampled
    pattern = (
        f"integral of p = {I:.10g} +- {bound:.0e} by quadrature, {sampled:.4g} +- {error:.1g} by importance sampling"
    )
    if not bound <= ENOUGH * max(abs(I), 1e-300) and not abs(I - 1) > 10 * bound:
        why = whole.note.split(";")[0] or "the density is too narrow for its width"
        cure = "; where p is 0 beyond a line, say so with support=" if function.zero else ""
        cure = cure or "; kinks cost digits in each dimension: check the same code in fewer" * (len(ends) > 1)
        if sampled - SIGMAS * error > ABOVE and error < 0.2 * sampled:
            text = f"mass above 1: by importance sampling p integrates to {sampled:.4g} +- {error:.1g}, which no part that is missed would mend; quadrature does not resolve it ({why}?)"
            return FAIL, pattern, text
        return INCONCLUSIVE, pattern, f"unresolved: the integral is known to {bound:.0e} only ({why}?){cure}"
    slack = max(SINGLE, 1e3 * eps * (eps > 1e-10), 0.0 if rtol is None else positive("check_density", "rtol", rtol))
    disagree = abs(sampled - I) > SIGMAS * error + bound
    if disagree or (apart() and abs(I - 1) > bound + slack):
        text = "unresolved: quadrature and importance sampling disagree (a part of the density was missed?); give x=, points that reach every part of it"
        if not disagree:
            text = f"unresolved: importance sampling leaves an error of {error / sampled:.0%} (heavy tails, parts far apart?), and confirms nothing"
        return INCONCLUSIVE, pattern, text
    if abs(I - 1) <= bound + slack:
        return PASS, pattern, ""
    close = min(max(1e-6, 4 * bound / I, slack), abs(I - 1) / 8)  # so near is no number that 1 is near as well
    diagnosis = named(function, found, I, ends, close, partial(_of_variant, found))
    if diagnosis:
        return FAIL, pattern, diagnosis
    if I < 1 and x is None and abs(found.top) > 1e-6 and not np.isfinite(ends).all():
        text = f"mass missing: what was found integrates to {said(I, min(1e-6, close))}; either the normaliser is wrong, or a part of the density was not found: give x=, points that reach every part of it"
        return INCONCLUSIVE, pattern, text
    return FAIL, pattern, number(I, close, found.top)


# ------------------------------------------------------------------------------- where it lives


class Modes(NamedTuple):
    """Components (K, d), (K, d, d), the frame, mass and relative standard error by importance sampling, the highest mode (d,) and log p there.

    draws : the last points (n, d) and the logarithm of their density (n,); () where the support has ends, in whose corners they may miss a part
    """

    means: np.ndarray
    covs: np.ndarray
    frame: Frame
    log_mass: float
    error: float
    mode: np.ndarray
    top: float
    draws: tuple = ()


def find(logp, support, x, rng):
    """The `Modes` of a density; None if it is -inf, or has no size, wherever it was looked for.

    Parameters
    ----------
    logp : callable (n, d) -> (n,), -inf outside the support
    support : (d, 2) array
    x : (n, d) array or None, points that reach every part of it
    rng : numpy.random.Generator
    """
    coordinates = Unconstrained(support)

    def of_u(u):
        with np.errstate(all="ignore"):  # x may be as far out as numbers go
            return logp(coordinates.x(u)) + coordinates.log_slope(u)

    starts = [coordinates.u(points) for points in _starts(support, x, rng)]
    modes, covs, weights = _modes(of_u, starts, x)
    if len(modes) == 0:
        return None
    highest = modes[int(np.argmax(of_u(modes)))]
    for _ in range(ROUNDS):
        points = _drawn(modes, covs, weights, rng)
        log_q, share = _proposal(points, modes, covs, weights)
        log_w = of_u(points) - log_q
        top = log_w.max()
        if top == -np.inf:
            return None
        w = np.exp(log_w - top)
        log_mass, error = top + np.log(w.mean()), w.std() / (w.mean() * np.sqrt(len(w)))
        modes, covs, weights = _refitted(points, w, share, modes, covs, weights)
    ended = np.isfinite(support).any()  # p may be highest at an end, where no mode of u is
    tops = _climbed(logp, [coordinates.x(points[:200])], None) if ended else [(float(logp(highest[None])[0]), highest)]
    top, highest = max(tops, key=lambda pair: pair[0])
    means, covs = coordinates.moments(modes, covs)
    frame, draws = _frame(means, covs, weights, support), () if ended else (points, log_q)
    return Modes(means, covs, frame, float(log_mass), float(error), highest, top, draws)


class Unconstrained:
    """Unconstrained coordinates u, all of R^d, of the points x of a support: x itself, the logarithm of the distance from an end, or the logit between two.

    There a density has a mode though it grows without bound towards an end, and falls off to all sides.
    """

    def __init__(self, support):
        lower, upper = support.T
        self.below, self.above = np.isfinite(lower), np.isfinite(upper)
        self.between, self.ended = self.below & self.above, self.below | self.above
        self.end = np.where(self.below, lower, np.where(self.above, upper, 0.0))
        self.sign, self.width = np.where(self.below, 1.0, -1.0), np.where(self.between, upper - lower, 1.0)

    def x(self, u):
        """Points (..., d) of the support."""
        from scipy.special import expit

        with np.errstate(over="ignore"):
            away = np.where(self.between, self.width * expit(u), np.exp(np.where(self.ended, u, 0.0)))
        return np.where(self.ended, self.end + self.sign * away, u)

    def u(self, x):
        """Coordinates (..., d); as far out as numbers go at an end."""
        from scipy.special import logit

        with np.errstate(all="ignore"):
            away = np.where(self.ended, self.sign * (x - self.end), 1.0)
            out = np.where(self.between, logit(away / self.width), np.log(away))
        return np.where(self.ended, np.clip(out, -FURTHEST, FURTHEST), x)

    def log_slope(self, u):
        """log |dx/du| (...,)."""
        from scipy.special import log_expit

        between = np.log(self.width) + log_expit(u) + log_expit(-u)
        return np.sum(np.where(self.between, between, np.where(self.ended, u, 0.0)), axis=-1)

    def moments(self, means, covs):
        """Means (K, d) and covariances (K, d, d) in x, to first order, of parts of u; of those that u spreads over many sizes, of its own size."""
        at, size = self.x(means), np.sqrt(np.diagonal(covs, axis1=1, axis2=2))
        away = np.abs(at - self.end)
        slope = np.where(self.between, away * (1 - away / self.width), away) / np.maximum(size, 1.0)
        slope = np.where(self.ended, slope, 1.0)
        return at, covs * slope[:, :, None] * slope[:, None]


def _starts(support, x, rng):
    """Points from which to climb: near x, and in shells of all sizes around its middle (or around 0)."""
    d = len(support)
    center, scale = (np.zeros(d), np.ones(d)) if x is None else (np.median(x, axis=0), x.std(axis=0) + 1e-300)
    shells = [center + r * scale * rng.standard_normal((200, d)) for r in SHELLS]
    near = [] if x is None else [x[rng.permutation(len(x))[:400]]]
    return [_inside(points, support) for points in (*near, *shells)]


def _inside(points, support):
    """Points moved into the support: reflected at a finite end, or drawn between two."""
    lower, upper = support.T
    below, above = np.isfinite(lower), np.isfinite(upper)
    a, b = np.where(below, lower, 0.0), np.where(above, upper, 0.0)
    out = np.where(below & ~above, a + np.abs(points - a), points)
    out = np.where(above & ~below, b - np.abs(b - points), out)
    middle, half = (a + b) / 2, np.where(below & above, (b - a) / 2, 1.0)
    return np.where(below & above, middle + half * np.tanh((points - middle) / half), out)


def _modes(logp, shells, x):
    """Modes (K, d), their covariances by curvature (K, d, d), and their shares (K,)."""
    found: list[tuple] = []  # mode, widths, log of its mass
    for top, mode in sorted(_climbed(logp, shells, x), key=lambda pair: -pair[0]):
        size = _widths(logp, mode, top)
        if size is not None and not any(np.all(np.abs(mode - m) <= w) for m, w, _ in found):
            found.append((mode, size, top + np.log(size).sum()))
    if not found:
        return np.zeros((0, 0)), np.zeros((0, 0, 0)), np.zeros(0)
    modes, sizes, logs = map(np.array, zip(*found, strict=True))
    keep = logs > logs.max() + np.log(FAINT)
    share = np.exp(logs[keep] - logs.max())
    return modes[keep], np.stack([np.diag(w**2) for w in sizes[keep]]), np.maximum(share / share.sum(), LEAST)


def _climbed(logp, shells, x):
    """(log p, point) at the tops that are reached from the best points of each shell, of those from which no top is in sight."""
    from scipy.optimize import minimize

    down = lambda y: -float(logp(y[None])[0]) if np.isfinite(y).all() else np.inf
    tops: list[tuple] = []
    for points in shells:
        logs = logp(points)
        left = points[np.argsort(logs)[::-1]][: np.sum(logs > -np.inf)]
        for _, top in tops:
            left = left[~_in_sight(logp, left, top)]
        for _ in range(STARTS if points is shells[0] and x is not None else 2):
            if len(left) == 0:
                break
            scale = np.maximum(np.abs(points - left[0]).max(axis=0) / 10, 1e-9)
            simplex = np.concatenate([left[:1], left[0] + np.diag(scale)])
            options = {"initial_simplex": simplex, "xatol": 1e-10, "fatol": 1e-10, "maxfev": 400 * len(scale)}
            climb = minimize(down, left[0], method="Nelder-Mead", options=options)
            tops.append((-climb.fun, climb.x))
            left = left[1:][~_in_sight(logp, left[1:], climb.x)]
    return tops


def _in_sight(logp, points, top):
    """Whether log p rises all the way on the straight line from each point to a top (m,): one call in place of a climb each."""
    way = points + np.linspace(0, 1, SIGHT)[:, None, None] * (top - points)  # (SIGHT, m, d)
    values = logp(way.reshape(-1, points.shape[1])).reshape(SIGHT, -1)
    with np.errstate(invalid="ignore"):
        return np.all(np.diff(values, axis=0) >= -1e-9 * np.abs(values).max(axis=0), axis=0)


def _widths(logp, mode, top):
    """Distance along each axis at which log p has fallen by 1/2, (d,); None where it never does."""
    d = len(mode)
    steps = 10.0 ** np.arange(-12, 12, 0.1) * max(1.0, np.abs(mode).max())
    rays = np.stack([mode + sign * steps[:, None] * e for e in np.eye(d) for sign in (1, -1)])  # (2 d, S, d)
    fallen = (top - logp(rays.reshape(-1, d))).reshape(2 * d, -1) >= 0.5
    if not fallen.any(axis=1).all():
        return None
    width = steps[fallen.argmax(axis=1)].reshape(d, 2)
    return width.max(axis=1)


def _drawn(means, covs, weights, rng):
    """Points from the mixture of Student's t."""
    d = means.shape[1]
    which = rng.choice(len(means), DRAWS, p=weights / weights.sum())
    z = rng.standard_normal((DRAWS, d)) / np.sqrt(rng.chisquare(NU, (DRAWS, 1)) / NU)
    return means[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(covs)[which], z)


def _proposal(points, means, covs, weights):
    """log density of the mixture (n,), and the share of each component at each point (n, K)."""
    from scipy.special import gammaln, logsumexp

    d = means.shape[1]
    L = np.linalg.cholesky(covs)
    z = np.stack([np.linalg.solve(L[k], (points - means[k]).T).T for k in range(len(means))], axis=1)
    log_t = (
        gammaln((NU + d) / 2)
        - gammaln(NU / 2)
        - d / 2 * np.log(NU * np.pi)
        - np.log(np.diagonal(L, axis1=1, axis2=2)).sum(1)
    )
    log_t = log_t - (NU + d) / 2 * np.log1p(np.sum(z**2, axis=2) / NU) + np.log(weights / weights.sum())
    total = logsumexp(log_t, axis=1)
    return total, np.exp(log_t - total[:, None])


def _refitted(points, w, share, means, covs, weights):
    """Means, covariances and weights of the components from weighted points (population Monte Carlo)."""
    r = w[:, None] * share
    size = r.sum(axis=0)
    few = size**2 <= 5 * (points.shape[1] + 2) * np.sum(r**2, axis=0)  # too few effective points to move it, or none
    safe = np.where(size > 0, size, 1.0)
    new = (r.T @ points) / safe[:, None]
    off = points[:, None] - new
    cov = np.einsum("nk,nki,nkj->kij", r, off, off) / safe[:, None, None]
    floor = 1e-6 * np.einsum("kii->ki", covs)
    cov = cov + np.einsum("ki,ij->kij", floor, np.eye(points.shape[1]))
    means, covs = np.where(few[:, None], means, new), np.where(few[:, None, None], covs, cov)
    return means, covs, np.maximum(size / size.sum(), LEAST)


def _frame(means, covs, weights, support):
    """The `Frame` of the mixture: its mean and covariance, how far its components lie out, and how fine the finest is."""
    share = weights / weights.sum()
    center = share @ means
    off = means - center
    cov = np.einsum("k,kij->ij", share, covs + off[:, :, None] * off[:, None, :])
    axes = np.linalg.cholesky(cov) if not np.isfinite(support).any() else np.diag(np.sqrt(np.diag(cov)))
    inverse = np.linalg.inv(axes)
    sizes = [np.sqrt(np.linalg.eigvalsh(inverse @ c @ inverse.T).min()) for c in covs]
    reach = max(1.0, float(np.abs(off @ inverse.T).max()) + 1)
    return Frame(np.clip(center, *support.T), axes, "exponential", reach, float(min(1.0, *sizes)))
