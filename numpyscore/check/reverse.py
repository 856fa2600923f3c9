r"""Is a step that comes down in noise level the one that it is meant to be: annealed Langevin, ancestral, DDIM, Euler, Heun, predictor-corrector?

A point of level (c, sigma) is x = c x_0 + sigma eps. The network is ours: it answers with a score S_k that we choose, whatever x is, in the
parametrisation that the step expects. So a step is

.. math:: x' = \alpha x + \sum_k \gamma_k S_k + b z,

alpha and gamma exact by differences with common random numbers, b by the spread of the rest, and every known step is three formulas in
(c, sigma) and (c', sigma'). With r = c'/c and beta = sigma^2 - sigma'^2/r^2, the variance that the forward process adds on the way:

====================  ===========  =========================  ====================
step                  alpha        gamma                      b^2
====================  ===========  =========================  ====================
ancestral             r            r beta                     beta sigma'^2/sigma^2, or beta
DDIM                  r            r sigma^2 - sigma sqrt(sigma'^2 - b^2)   0
reverse diffusion     2 - 1/r      beta                       beta
annealed Langevin     1            D                          2 D
====================  ===========  =========================  ====================

Source: Song & Ermon (2019), algorithm 1; Ho, Jain & Abbeel (2020), algorithm 2; Song, Meng & Ermon (2021), equation 12; Song et al. (2021),
appendices D to G; Karras et al. (2022), algorithm 1.
"""

import copy
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import framework, same_randomness, source, to_numpy, wrapper
from ..common.inputs import count, generator
from .functions import random_parameter
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst
from .sampler import MEAN, SIGMAS, VARIANCE

KINDS = ("annealed", "ancestral", "ddim", "euler", "heun", "predictor-corrector")
LONG = 0.1  # error of right steps in the variance, above which the law decides nothing
FAR = 40.0  # times that, at which clipping is
SMALL = 0.1  # size of x_0 at which a step is measured: no clipping to [-1, 1] is felt


def check_reverse(step, *, levels, kind=None, predicts="score", wrap=None, rng=0, n=20000, dim=2):
    r"""Is this step from a noise level to the next lower one right?

    Parameters
    ----------
    step : callable step(x, fn, level, next_level) -> x', or step(x, fn, level)
        One step for all rows of x (n, d); what has a default is not given. `fn(x, level)` is the network, in the user's arrays; level is one number or one for each row. A
        parameter called rng, key, generator or seed is given random numbers. Without next_level the next one of `levels` is meant.
    levels : (L,) array of sigma, (L, 2) array of (c, sigma), or mapping from what the step is told to (c, sigma); L >= 3
        Points of a level are c x_0 + sigma eps. The step is told sigma itself, the row number of the array (an integer timestep), or the key
        of the mapping. It goes from the noisiest to the least noisy, in that order.
    kind : "annealed", "ancestral", "ddim", "euler", "heun", "predictor-corrector", or None
        What it is meant to be; with None it may be any of them, and a note says which it is.
    predicts : "score", "eps", "x", "v" (c eps - sigma x_0) or "velocity" (eps - x_0)
        What the step takes from fn.
    wrap : as in `check_score`
    rng : seed or numpy.random.Generator
    n : int
        Chains; the noise's size is known to 1/sqrt(2 n d).
    dim : int

    Returns
    -------
    CheckReport
        A step that is none of these is judged by its law on a Gaussian, from the noisiest level to the least noisy.

    Raises
    ------
    TypeError, ValueError
        If levels, kind or predicts are nothing of the kind, or the step does not take these arguments.
    """
    where = "check_reverse"
    if kind is not None and kind not in KINDS:
        raise ValueError(f"{where}: kind is {kind!r}, expected one of {', '.join(KINDS)}, or None.")
    if predicts not in SCORES:
        raise ValueError(f"{where}: predicts is {predicts!r}, expected one of {', '.join(SCORES)}.")
    ladder = _ladder(where, levels)
    n, dim, rng = count(where, "n", n, 100), count(where, "dim", dim), generator(where, rng)
    walk = Walk(where, step, wrapper(where, wrap), ladder, predicts)
    summary = f"{len(ladder) - 1} steps between {len(ladder)} levels, {n} chains x {dim} dims, fn predicts {predicts}"
    x = rng.standard_normal((n, dim))
    try:
        parts = [_measured(walk, i, x) for i in range(len(ladder) - 1)]
    except Misshapen as error:
        return CheckReport(where, FAIL, summary, diagnosis=str(error))
    text = next((part for part in parts if isinstance(part, str) and part), "")
    if text:
        return CheckReport(where, FAIL, summary, diagnosis=text)
    if any(part is None for part in parts):
        return _by_law(where, walk, n, dim, rng, summary)
    return _verdict(where, Steps(ladder, parts, n * dim, predicts), kind, walk, n, dim, rng, summary)


class Level(NamedTuple):
    """What the step is told, and the scale of x_0 and of the noise."""

    label: Any
    c: float
    sigma: float


class Misshapen(Exception):
    """The step returned something else than points."""


def _ladder(where, levels):
    """The levels, noisiest first."""
    if isinstance(levels, Mapping):
        found = [Level(label, *map(float, pair)) for label, pair in levels.items()]
    else:
        a = to_numpy(levels, f"{where}: levels").astype(float)
        if a.ndim == 1:
            found = [Level(float(s), 1.0, float(s)) for s in a]
        elif a.ndim == 2 and a.shape[1] == 2:
            found = [Level(i, float(c), float(s)) for i, (c, s) in enumerate(a)]
        else:
            raise ValueError(f"{where}: levels has shape {a.shape}, expected (L,) of sigma or (L, 2) of (c, sigma).")
    if len(found) < 3 or not all(np.isfinite([v.c, v.sigma]).all() and v.c > 0 and v.sigma >= 0 for v in found):
        raise ValueError(
            f"{where}: levels are {found[:4]}, expected at least three of c > 0 and sigma >= 0; of a few hundred give some."
        )
    found = sorted(found, key=lambda v: -v.sigma / v.c)
    if any(a.sigma / a.c <= b.sigma / b.c for a, b in itertools.pairwise(found)):
        raise ValueError(f"{where}: two levels have the same sigma / c; each must be noisier than the next.")
    return found


SCORES: dict[str, Callable] = {  # what fn answers for a score S at x of a level
    "score": lambda S, x, v: S + 0 * x,
    "eps": lambda S, x, v: -v.sigma * S + 0 * x,
    "x": lambda S, x, v: (x + v.sigma**2 * S) / v.c,
    "v": lambda S, x, v: -v.c * v.sigma * S - v.sigma * (x + v.sigma**2 * S) / v.c,
    "velocity": lambda S, x, v: -v.sigma * S - (x + v.sigma**2 * S) / v.c,
}


class Walk:
    """The user's step on ndarrays, with a network that answers what we choose, and writes down what it is asked."""

    def __init__(self, where, step, make, ladder, predicts):
        if not callable(step):
            raise TypeError(f"{where}: step is {step!r}, expected a function step(x, fn, level, next_level).")
        self.where, self.step, self.make, self.ladder, self.predicts = where, step, make, ladder, predicts
        self.kind, self.random = framework(make(np.zeros((1, 1)))), random_parameter(step)
        try:
            named = inspect.signature(step).parameters.values()
            places = [
                p for p in named if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != self.random
            ]
            self.takes_next = len([p for p in places if p.default is p.empty]) > 3
        except (TypeError, ValueError):
            self.takes_next = True
        self.asked: list[tuple] = []  # (level, points) of each call of fn in the last step

    def level_of(self, label):
        """The level that fn is told, the nearest of the ladder; label may be one for each row."""
        value = np.atleast_1d(to_numpy(label, f"{self.where}: the level that fn is told")).astype(float)
        labels = np.array([float(v.label) for v in self.ladder])
        near = int(np.argmin(np.abs(labels - value.flat[0])))
        return near if np.ptp(value) == 0 and np.isclose(labels[near], value.flat[0], rtol=1e-4, atol=1e-8) else None

    def __call__(self, x, i, seed, score):
        """x (n, d) from level i to the next; score(k, x, level) is what the k-th call of fn is to mean."""
        self.asked = []

        def fn(x, level=None, *more, **others):
            points = to_numpy(x, "x").astype(float)
            told = self.level_of(next(iter(others.values())) if level is None else level)
            v = self.ladder[i if told is None else told]
            S = score(len(self.asked), points, v)
            self.asked.append((told, points))
            return self.make(np.ascontiguousarray(SCORES[self.predicts](S, points, v)))

        here, below = self.ladder[i], self.ladder[i + 1]
        noise = {} if self.random is None else {self.random: source(self.random, seed, self.kind)}
        told = (here.label, below.label) if self.takes_next else (here.label,)
        with same_randomness(seed):
            out = self.step(self.make(x), fn, *told, **noise)
        out = to_numpy(out[0] if isinstance(out, tuple) else out, f"{self.where}: what step returned").astype(float)
        if out.shape != x.shape or not np.isfinite(out).all():
            raise Misshapen(
                f"shape: the step returned {out.shape}, expected {x.shape}"
                if out.shape != x.shape
                else "not finite: the step returned NaN or infinity"
            )
        return out


# ------------------------------------------------------------------------------- measured


class Part(NamedTuple):
    """One step: alpha, gamma of each call of fn, variance of the noise, the levels told (None if it is no level of the ladder), how exact alpha is, and whether the step is linear near 0 alone."""

    alpha: float
    gamma: tuple[float, ...]
    var: float
    told: tuple[int | None, ...]
    exact: float
    bent: bool


def _measured(walk, i, x):
    """The `Part` of the step from level i; a text if its noise is wrong by itself, None if it is no such sum or not repeatable."""
    v = walk.ladder[i]
    x, w = SMALL * v.c * x, SMALL * v.c / max(v.sigma, 1e-3 * v.c) ** 2
    group: list[int] = []  # calls of fn at the same points and level are one
    run = lambda x, factors=(): walk(
        x, i, 1, lambda k, points, level: w * (factors[group[k]] if k < len(group) and factors else 1.0)
    )
    base = run(x)
    asked = list(walk.asked)
    for told, points in asked:
        before = (g for g, (t, p) in zip(group, asked, strict=False) if t == told and np.array_equal(p, points))
        group.append(next(before, max(group, default=-1) + 1))
    calls = len(set(group))
    asked = [asked[group.index(g)] for g in range(calls)]
    if not np.array_equal(base, run(x)):
        return None
    if calls == 0:
        return "fn not used: the step never asks the network"
    if not np.allclose(asked[0][1], x, rtol=1e-5, atol=1e-6 * np.abs(x).max()):
        return None  # asked at another point, such as one with noise on top
    exact = 1e-6 if np.array_equal(base, base.astype(np.float32)) else 1e-8
    own = SMALL * v.c
    alphas = (run(x + own) - run(x - own)) / (2 * own)
    signs = lambda k, size: tuple(size if j == k else 1.0 for j in range(calls))
    gammas = [(run(x, signs(k, 1.0)) - run(x, signs(k, -1.0))) / (2 * w) for k in range(calls)]
    twice = (run(x, signs(0, 2.0)) - run(x, signs(0, -2.0))) / (4 * w)
    steep = max(1.0, np.abs(base).max() / own)  # round-off of a difference
    if np.ptp(alphas) > 1e2 * exact * steep or np.abs(twice - gammas[0]).max() > 1e2 * exact * steep * np.abs(own / w):
        return None
    alpha, gamma = float(alphas.mean()), tuple(float(g.mean()) for g in gammas)
    rest = base - alpha * x - w * sum(gamma)
    text = _noise(rest, base, walk, i, x, w, steep * exact * own)
    if text:
        return text
    large = walk(FAR * x, i, 1, lambda k, points, level: FAR * w) - rest - FAR * (alpha * x + w * sum(gamma))
    bent = calls == 1 and np.abs(large).max() > 1e2 * exact * steep * FAR * np.abs(base).max()
    var = float(rest.var() if rest.std() > 1e2 * exact * own else 0.0)
    return Part(alpha, gamma, var, tuple(t for t, _ in asked), exact * steep, bool(bent))


def _noise(rest, base, walk, i, x, w, least):
    """What is wrong with the noise by itself, or ""."""
    (n, d), size = rest.shape, rest.std()
    if np.abs(rest).max() <= 1e2 * least:
        return ""
    if np.allclose(rest, rest[:1], atol=1e-6 * np.abs(rest).max()):
        return "shared noise: all chains get the same noise in a step"
    if np.array_equal(base, walk(x, i, 2, lambda k, points, level: w)):
        return "repeated noise: steps with different random numbers are the same; a generator or a key is made anew in each step"
    if abs(rest.mean()) > (SIGMAS + 1) * size / np.sqrt(n * d) + 1e2 * least:
        return f"biased: the step has an offset of {rest.mean():.3g}, whatever x and the score are"
    if d > 1 and abs(np.mean(rest[:, 0] * rest[:, 1])) > (SIGMAS + 1) * size**2 / np.sqrt(n):
        return "correlated noise: the dimensions of the noise are not independent"
    if abs(np.mean((rest / size) ** 4) - 3) > (SIGMAS + 1) * np.sqrt(96 / (n * d)):
        return "noise not Gaussian: its fourth moment is not that of a normal number"
    return ""


class Steps:
    """All parts beside the levels, as arrays over the steps."""

    def __init__(self, ladder, parts, draws, predicts):
        self.ladder, self.predicts = ladder, predicts
        self.parts, self.calls = parts, max(len(p.gamma) for p in parts)
        self.c, self.s = (np.array([getattr(v, a) for v in ladder]) for a in ("c", "sigma"))
        self.alpha = np.array([p.alpha for p in parts])
        self.gamma = np.array([p.gamma + (0.0,) * (self.calls - len(p.gamma)) for p in parts])
        self.var = np.array([p.var for p in parts])
        self.exact, self.error = min(1e-4, max(p.exact for p in parts)), SIGMAS * np.sqrt(2 / draws)
        c, s = self.c, self.s
        self.here = Place(c[:-1], s[:-1], c[1:], s[1:])

    def same(self, alpha, gamma, var):
        """Whether these are the measured numbers (S,), (S, calls), (S,)."""
        near = lambda a, b: np.all(np.abs(a - b) <= 1e2 * self.exact * np.maximum(np.abs(a), np.abs(b)) + 1e-300)
        gamma = np.column_stack(gamma) if isinstance(gamma, tuple) else np.reshape(gamma, (-1, 1))
        if gamma.shape[1] != self.calls or not all(np.isfinite(a).all() for a in (alpha, gamma, var)):
            return False
        scale = np.abs(self.gamma).max(axis=1, keepdims=True)
        close = np.all(np.abs(gamma - self.gamma) <= 1e2 * self.exact * scale + 1e-300)
        noisy = np.abs(var - self.var) <= self.error * np.maximum(var, self.var) + 1e-8 * self.here.s**2
        return bool(near(alpha, self.alpha) and close and np.all(noisy))


class Place(NamedTuple):
    """Scale and noise of this level (c, s) and the next (d, t), arrays over the steps."""

    c: np.ndarray
    s: np.ndarray
    d: np.ndarray
    t: np.ndarray

    @property
    def r(self):
        """Ratio of the scales."""
        return self.d / self.c

    @property
    def clock(self):
        """Half the integral of beta(t) dt; NaN where the scale stays."""
        return np.where(self.r > 1, np.log(self.r), np.nan)

    @property
    def beta(self):
        """Variance that the forward process adds between the two."""
        return self.s**2 - (self.t / self.r) ** 2


# ------------------------------------------------------------------------------- the known steps


class Form(NamedTuple):
    """A known step: its kind, its name, and (alpha, gamma, b^2) of a `Place`; gamma a tuple where fn is asked more than once."""

    kind: str
    name: str
    of: Callable[[Place], tuple]
    told: tuple[int, ...] = (0,)  # 0 where a call of fn is told this level, 1 where the next


def _heun_in_noise(p):
    """In rho = sigma / c: x'/c' = x/c + (rho' - rho) (eps_0 + eps_1)/2."""
    fall = p.d * (p.s / p.c - p.t / p.d) / 2
    return p.r, (fall * p.s, fall * p.t), 0 * p.s


def _heun_on_line(p):
    """x' = x + h (v_0 + v_1)/2 with the velocity v = eps - x_0 = -(x + sigma score)/c of c = 1 - sigma."""
    h = p.t - p.s
    alpha = 1 - h / 2 * (1 / p.c + (1 - h / p.c) / p.d)
    return alpha, (h / 2 * p.s / p.c * (h / p.d - 1), -h / 2 * p.t / p.d), 0 * p.s


FORMS = (
    Form("ancestral", "an ancestral step (posterior variance)", lambda p: (p.r, p.r * p.beta, p.beta * (p.t / p.s) ** 2)),
    Form("ancestral", "an ancestral step with the forward variance beta", lambda p: (p.r, p.r * p.beta, p.beta)),
    Form("ddim", "DDIM, the probability flow in sigma / c", lambda p: (p.r, p.r * p.s**2 - p.s * p.t, 0 * p.s)),
    Form("euler", "a reverse-diffusion step", lambda p: (2 - 1 / p.r, p.beta, p.beta)),
    Form("euler", "an Euler-Maruyama step of the reverse SDE", lambda p: (1 + (1 - p.r**-2) / 2, p.beta, p.beta)),
    Form("euler", "an Euler step of the probability flow", lambda p: (1 + (1 - p.r**-2) / 2, p.beta / 2, 0 * p.s)),
    Form("euler", "a reverse-diffusion step of the probability flow", lambda p: (2 - 1 / p.r, p.beta / 2, 0 * p.s)),
    Form("euler", "an Euler-Maruyama step of the reverse SDE in continuous time", lambda p: (1 + p.clock, 2 * p.clock, 2 * p.clock)),
    Form("euler", "an Euler step of the probability flow in continuous time", lambda p: (1 + p.clock, p.clock, 0 * p.s)),
    Form("euler", "an Euler-Maruyama step of the reverse SDE in sigma", lambda p: (p.r, 2 * p.s * (p.s - p.t), 2 * p.s * (p.s - p.t))),
    Form("heun", "Heun's step of the probability flow", _heun_in_noise, (0, 1)),
    Form("heun", "Heun's step along a straight path", _heun_on_line, (0, 1)),
)  # fmt: skip


def recognised(steps, kind):
    """Names of the right steps that these are, with their kinds: list of (kind, name)."""
    p, found = steps.here, []
    for form in FORMS:
        if steps.same(*form.of(p)) or (form.kind == "heun" and _heun(steps, form)):
            found.append((form.kind, form.name))
    if not found and steps.calls == 1:
        eta = p.r * p.s**2 - p.s * np.sqrt(np.maximum(p.t**2 - steps.var, 0))
        # b is known to a part in a few hundred, and gamma with it
        slack = (
            steps.error
            * p.s
            * np.where(p.t**2 > steps.var, steps.var / np.sqrt(np.maximum(p.t**2 - steps.var, 1e-300)), p.t)
        )
        if (
            np.all(steps.var > 0)
            and steps.same(p.r, steps.gamma[:, 0], steps.var)
            and np.all(np.abs(eta - steps.gamma[:, 0]) <= slack)
        ):
            share = np.sqrt(steps.var[0] / (p.beta[0] * (p.t[0] / p.s[0]) ** 2))
            found.append(("ddim", f"DDIM with noise, eta = {share:.3g}"))
    if not found and steps.calls == 1:
        found += [("euler", name) for name in _between(steps)]
    if steps.calls == 1 and steps.same(np.ones_like(p.s), steps.gamma[:, 0], 2 * steps.gamma[:, 0]):
        found.append(("annealed", "a Langevin step at each level"))
    if steps.calls == 2:
        found += [("predictor-corrector", name) for name in _corrected(steps)]
    return [entry for entry in found if kind is None or entry[0] == kind] or found


def _between(steps):
    """Euler steps with some of the noise: dx = (f - (1 + l^2)/2 g^2 score) dt + l g dw."""
    p, gamma = steps.here, steps.gamma[:, 0]
    mixed = np.all(steps.var > 0) and np.all(np.abs(2 * gamma - p.beta - steps.var) <= steps.error * steps.var)
    if mixed and any(steps.same(alpha, gamma, steps.var) for alpha in (1 + (1 - p.r**-2) / 2, 2 - 1 / p.r)):
        yield "an Euler step between the probability flow and the reverse SDE"


def _heun(steps, form):
    """Heun's method whose step to sigma = 0 is Euler's."""
    alpha, gamma, var = form.of(steps.here)
    end = steps.here.t == 0
    first = np.where(end, steps.here.r * steps.here.s**2, gamma[0])
    return end.any() and steps.same(alpha, (first, np.where(end, 0, gamma[1])), var)


def _corrected(steps):
    """Predictors of one call, with a Langevin step at the next level after them, or at this level before them."""
    for form in FORMS:
        if form.told != (0,):
            continue
        alpha, gamma, var = form.of(steps.here)
        after = steps.gamma[:, 1]
        if steps.same(alpha, (gamma, after), var + 2 * after):
            yield f"{form.name}, then a Langevin step at the next level"
        before = steps.gamma[:, 0] / alpha
        if steps.same(alpha, (alpha * before, gamma), var + 2 * alpha**2 * before):
            yield f"a Langevin step, then {form.name}"


# ------------------------------------------------------------------------------- the known mistakes


def _with(**changes):
    """A place with other entries: functions of the place."""
    return lambda p: p._replace(**{name: change(p) for name, change in changes.items()})


def _next(a):
    """The entries of the next level; that of the last one once more."""
    return np.append(a[1:], a[-1])


PLACES = {  # which level is taken for which
    "sigma of the next level where that of this one belongs": _with(s=lambda p: p.t),
    "sigma of this level where that of the next one belongs": _with(t=lambda p: p.s),
    "this level and the next one exchanged": _with(c=lambda p: p.d, s=lambda p: p.t, d=lambda p: p.c, t=lambda p: p.s),
    "levels shifted by one: those of the step after this one": _with(c=lambda p: p.d, s=lambda p: p.t, d=lambda p: _next(p.d), t=lambda p: _next(p.t)),
    "alpha_bar in place of its root": _with(c=lambda p: p.c**2, d=lambda p: p.d**2),
    "the root of c taken once more": _with(c=lambda p: np.sqrt(p.c), d=lambda p: np.sqrt(p.d)),
    "sigma^2 in place of sigma": _with(s=lambda p: p.s**2, t=lambda p: p.t**2),
    "the root of sigma in place of sigma": _with(s=lambda p: np.sqrt(p.s), t=lambda p: np.sqrt(p.t)),
    "x_0 not scaled: c of this level left out": _with(c=lambda p: 1 + 0 * p.c),
    "c of the next level left out": _with(d=lambda p: 1 + 0 * p.c),
}  # fmt: skip
DRIFTS = {  # factors of gamma
    "drift halved": lambda p: 0.5,
    "drift doubled": lambda p: 2.0,
    "sign of the drift": lambda p: -1.0,
    "no drift: the score is not used": lambda p: 0.0,
    "eps taken for the score": lambda p: -p.s,
    "the score taken for eps": lambda p: -1 / p.s,
    "sigma of the next level in front of the score": lambda p: p.t / p.s,
    "score multiplied by sigma/sigma'": lambda p: p.s / p.t,
    "drift divided by sigma": lambda p: 1 / p.s,
    "drift multiplied by sigma": lambda p: p.s,
    "drift divided by sigma^2": lambda p: p.s**-2.0,
    "drift multiplied by sigma^2": lambda p: p.s**2,
    "drift divided by the scale r of x": lambda p: 1 / p.r,
    "drift multiplied by the scale r of x": lambda p: p.r,
    "drift of the score left by sqrt(beta)": lambda p: 1 / np.sqrt(p.beta),
}
NOISES = {  # b^2 of what it should be
    "no noise": lambda b, p: 0 * b,
    "noise without its root: the variance is taken for a standard deviation": lambda b, p: b**2,
    "root of the noise taken twice": lambda b, p: np.sqrt(b),
    "noise too small by sqrt(2)": lambda b, p: b / 2,
    "noise too large by sqrt(2)": lambda b, p: 2 * b,
    "noise halved": lambda b, p: b / 4,
    "noise doubled": lambda b, p: 4 * b,
    "noise of the size of the next level, sigma' z": lambda b, p: p.t**2,
    "noise of the size of this level, sigma z": lambda b, p: p.s**2,
    "noise of the difference of the levels, (sigma - sigma') z": lambda b, p: (p.s - p.t) ** 2,
    "noise sqrt(beta) z": lambda b, p: p.beta,
    "unit noise z": lambda b, p: 1 + 0 * b,
}
SCALES = {  # alpha, and the factor of all the rest
    "x not rescaled": lambda a, p: (1 + 0 * a, 1.0),
    "x scaled the other way": lambda a, p: (1 / a, 1.0),
    "x scaled twice": lambda a, p: (a**2, 1.0),
    "sign of the step: it goes up in level": lambda a, p: (2 - a, -1.0),
    "the result not rescaled by r": lambda a, p: (a / p.r, 1 / p.r),
    "the result rescaled by r twice": lambda a, p: (a * p.r, p.r),
    "the result rescaled by 1/r": lambda a, p: (a / p.r**2, 1 / p.r**2),
}


def mistakes(steps, kind, many):
    """So many changes that make a known step of the kind these: list of texts, each one a mistake or two of one step."""
    p = steps.here
    forms = [form for form in FORMS if kind in (None, form.kind) and len(form.told) == steps.calls]
    found = []
    for form, changes in itertools.product(forms, _changes(many)):
        place = PLACES[changes["place"]](p) if "place" in changes else p
        with np.errstate(all="ignore"):
            alpha, gamma, var = form.of(place)
            alpha, all_else = SCALES[changes["scale"]](alpha, p) if "scale" in changes else (alpha, 1.0)
            factor = all_else * (DRIFTS[changes["drift"]](p) if "drift" in changes else 1.0)
            gamma = tuple(factor * g for g in gamma) if isinstance(gamma, tuple) else factor * gamma
            var = all_else**2 * (NOISES[changes["noise"]](var, p) if "noise" in changes else var)
        if steps.same(alpha, gamma, var):
            found.append(f"{'; '.join(changes.values())} (beside {form.name})")
    return list(dict.fromkeys(found))


def _misread(steps, kind):
    """Texts: the step takes fn's answer for another parametrisation, or for minus its own, and is a known step then."""
    found: list[str] = []
    if steps.calls > 1:
        return found
    own = SCORES[steps.predicts]
    for name, sign in itertools.product(SCORES, (1, -1)):
        if (name, sign) == (steps.predicts, 1):
            continue
        alpha, gamma = np.empty((2, len(steps.parts)))
        for i, v in enumerate(steps.ladder[:-1]):
            factor = steps.gamma[i, 0] / own(1.0, 0.0, v)  # of fn's answer
            alpha[i] = steps.alpha[i] - factor * own(0.0, 1.0, v) + factor * sign * SCORES[name](0.0, 1.0, v)
            gamma[i] = factor * sign * SCORES[name](1.0, 0.0, v)
        other = copy.copy(steps)
        other.alpha, other.gamma = alpha, gamma[:, None]
        for form in FORMS:
            if kind in (None, form.kind) and other.same(*form.of(steps.here)):
                word = f"{'minus ' * (sign < 0)}{name}"
                found.append(
                    f"sign of {name}: fn predicts {name}, and the step takes it for minus that (beside {form.name})"
                    if (name, sign) == (steps.predicts, -1)
                    else f"parametrisation: fn predicts {steps.predicts}, and the step takes it for {word} (beside {form.name})"
                )
    return list(dict.fromkeys(found))


def _half_right(steps, kind):
    """Texts: two of the three coefficients are those of a known step, the third is not."""
    found = []
    for form in FORMS if steps.calls == 1 else ():
        if kind not in (None, form.kind):
            continue
        alpha, gamma, var = form.of(steps.here)
        posterior = form.kind == "ancestral" and np.all(
            (steps.var <= steps.here.beta * (1 + steps.error))
            & (steps.var >= steps.here.beta * (steps.here.t / steps.here.s) ** 2 * (1 - steps.error))
        )
        if steps.same(alpha, gamma, steps.var) and not posterior:
            extra = (
                "is added, and not taken from the direction to eps"
                if not var.any()
                else f"has the variance {steps.var[0]:.4g} where {var[0]:.4g} belongs, in the first step"
            )
            found.append(f"noise: x and the score have the coefficients of {form.name}, and the noise {extra}")
        elif var.any() and steps.same(alpha, steps.gamma[:, 0], var):
            found.append(
                f"drift: x and the noise have the coefficients of {form.name}, and the score {steps.gamma[0, 0]:.4g} where {gamma[0]:.4g} belongs, in the first step"
            )
    return found


def arrival(steps):
    """Where a step of one call takes x = c x_0 + sigma eps: coefficients of x_0 and eps, and sqrt(q^2 + b^2), (S,) each."""
    p = steps.here
    q = (steps.alpha * p.s**2 - steps.gamma[:, 0]) / p.s
    return p.c * steps.alpha, q, np.sqrt(q**2 + steps.var)


def _elsewhere(steps):
    """A text where a step of one call arrives, if not at its level."""
    if steps.calls > 1:
        return ""
    scale, q, noise = arrival(steps)
    i = int(
        np.argmax(np.abs(scale / steps.here.d - 1) + np.abs(noise - steps.here.t) / np.maximum(steps.here.t, noise))
    )
    sign = "; the coefficient of eps is negative" * bool(np.all(q < 0))
    return f"arrives elsewhere: the coefficients of x, score and noise take step {i} to c = {scale[i]:.4g}, sigma = {noise[i]:.4g}, and not to c = {steps.here.d[i]:.4g}, sigma = {steps.here.t[i]:.4g}{sign}"


def _changes(many):
    """All sets of this many changes: dicts of what is changed."""
    tables = {"place": PLACES, "scale": SCALES, "drift": DRIFTS, "noise": NOISES}
    for names in itertools.combinations(tables, many):
        for values in itertools.product(*(tables[name] for name in names)):
            yield dict(zip(names, values, strict=True))


# ------------------------------------------------------------------------------- the verdict


def _verdict(where, steps, kind, walk, n, dim, rng, summary):
    """PASS for a known step of the kind, FAIL with its mistake, or what the law says."""
    p, first = steps.here, steps.parts[0]
    gamma = " + ".join(f"{g:.6g} score_{k}" if steps.calls > 1 else f"{g:.6g} score" for k, g in enumerate(first.gamma))
    pattern = f"first step, ({p.c[0]:.4g}, {p.s[0]:.4g}) to ({p.d[0]:.4g}, {p.t[0]:.4g}): x' = {first.alpha:.9g} x + {gamma} + {np.sqrt(first.var):.4g} z"
    details = {"alpha": steps.alpha, "gamma": steps.gamma, "noise variance": steps.var}
    report = lambda verdict, text="", notes=(): CheckReport(
        where, verdict, summary, None, pattern, text, steps.error, tuple(notes), details
    )
    found = recognised(steps, kind)
    told = _told(steps, found, kind)
    if told:
        return report(FAIL, told)
    kinds = {entry[0] for entry in found}
    if found and kind is not None and kind not in kinds:
        other = f"another step: this is {found[0][1]}, not a step of kind {kind!r}"
        return report(FAIL, " -- or -- ".join([*mistakes(steps, kind, 1)[:2], other]))
    if found == [("annealed", "a Langevin step at each level")] and kind is None and walk.takes_next:
        text = "undecided: this is a Langevin step, x + D score + sqrt(2 D) z, with a D that depends on the next level; say kind='annealed', or what else it should be"
        return report(INCONCLUSIVE, text)
    if found:
        clipped = "it is not linear for larger x (x_0 clipped to [-1, 1]?): right only for data within those bounds"
        notes = [f"this is {found[0][1]}", *_langevin_notes(steps, kind or found[0][0])]
        return report(PASS, notes=notes + [clipped] * any(part.bent for part in steps.parts))
    if kind == "annealed":
        return report(FAIL, _not_langevin(steps))
    wrong = (
        mistakes(steps, kind, 1)
        or _misread(steps, kind)
        or mistakes(steps, kind, 2)
        or _half_right(steps, kind)
        or _wrong_corrector(steps, kind)
    )
    if wrong:
        return report(FAIL, " -- or -- ".join(wrong[:3]))
    if kind in ("ancestral", "ddim") and steps.calls == 1:
        return report(FAIL, _elsewhere(steps))
    by_law = _by_law(where, walk, n, dim, rng, summary)
    text = f"{_elsewhere(steps)}; {by_law.pattern}" if by_law.verdict == FAIL and steps.calls == 1 else by_law.diagnosis
    more = (*by_law.notes, "it is none of the known steps, so its law on a Gaussian was checked")
    return CheckReport(where, by_law.verdict, summary, by_law.worst, pattern, text, steps.error, more, details)


def _told(steps, found, kind):
    """The diagnosis of a network that is told another level than its point has, or ""."""
    expected = (
        (0, 1) if "heun" in {kind, *(k for k, _ in found)} or any("next level" in name for _, name in found) else (0, 0)
    )
    for k in range(min(steps.calls, 2)):
        off = [
            (i, part.told[k])
            for i, part in enumerate(steps.parts)
            if k < len(part.told) and part.told[k] != i + expected[k]
        ]
        if not off or (k and not found and kind != "heun"):
            continue
        shift = {None if t is None else t - i - expected[k] for i, t in off}
        only = next(iter(shift)) if len(shift) == 1 else 0
        words = {1: "the next, less noisy one", -1: "the one before, noisier", None: "no level of the ladder"}
        which = words.get(only, "another one")
        return f"level told: fn is told {which} in its call {k + 1}, and not the level of its point ({len(off)} of {len(steps.parts)} steps)"
    return ""


def _langevin_notes(steps, kind):
    """Whether the step size of annealed Langevin dynamics goes with sigma^2."""
    if kind != "annealed":
        return []
    ratio = steps.gamma[:, 0] / steps.here.s**2
    constant = np.ptp(ratio) <= 1e-4 * np.abs(ratio).max()
    return [
        f"its step is {ratio[0]:.4g} sigma^2"
        if constant
        else "its step does not go with sigma^2, as usual: too small at high levels, or too large at low ones"
    ]


def _not_langevin(steps):
    """What is wrong with a step that should be x + D score + sqrt(2 D) z."""
    D, var = steps.gamma.sum(axis=1), steps.var
    near = lambda a: np.all(np.abs(var - a) <= steps.error * np.maximum(a, var) + 1e-12)
    if np.abs(steps.alpha - 1).max() > 1e-6:
        return f"x rescaled: a Langevin step leaves the coefficient of x at 1, yours is {steps.alpha[0]:.6g}"
    if np.all(D < 0):
        return "sign of the drift: the step goes down the density"
    if np.all(D == 0):
        return "no drift: the score is not used"
    if np.all(var == 0):
        return "no noise: the step climbs to the mode"
    for a, text in ((4 * D**2, "2 D z"), (D**2, "D z"), (2 * D**2, "sqrt(2) D z")):
        if near(a):
            return f"noise without root: it is {text} for a drift of D score, and must be sqrt(2 D) z"
    ratio = var / (2 * D)
    if np.ptp(ratio) <= 2 * steps.error * ratio.max():
        why = {
            0.5: ": the 2 under the root is missing, or the drift lacks its 1/2",
            2.0: ": a sqrt(2) too much, or the drift has a 1/2 too many",
        }
        hint = next((text for c, text in why.items() if abs(ratio[0] / c - 1) <= 2 * steps.error), "")
        return f"temperature: the noise has {ratio[0]:.3g} times the variance that belongs to the drift{hint}"
    return "noise of the levels: its variance beside the drift changes with the level; it must be twice the drift's coefficient at each"


def _wrong_corrector(steps, kind):
    """A known predictor, and a Langevin step at the next level whose noise does not belong to its drift: list of texts."""
    found = []
    for form in FORMS if steps.calls == 2 and kind == "predictor-corrector" else ():
        alpha, gamma, var = form.of(steps.here)
        if form.told != (0,) or not steps.same(alpha, (gamma, steps.gamma[:, 1]), steps.var):
            continue
        D, noise = steps.gamma[0, 1], steps.var[0] - var[0]
        found.append(
            f"corrector: after {form.name} the score at the next level has the coefficient {D:.4g} and its noise the variance {noise:.4g}, where twice the coefficient belongs"
        )
    return found


def _by_law(where, walk, n, dim, rng, summary):
    """Mean and variance of Gaussian data after all steps, from the exact law of the noisiest level."""
    top, end = walk.ladder[0], walk.ladder[-1]
    spread = lambda v: v.c**2 * VARIANCE + v.sigma**2
    x = top.c * MEAN + np.sqrt(spread(top)) * rng.standard_normal((n, dim))
    score = lambda k, points, v: -(points - v.c * MEAN) / spread(v)
    try:
        for i in range(len(walk.ladder) - 1):
            x = walk(x, i, int(rng.integers(1 << 31)), score)
    except Misshapen as error:
        return CheckReport(where, FAIL, summary, diagnosis=str(error))
    exact = []
    for form in FORMS[:4]:  # what steps of this length cost a right sampler
        mean, var = top.c * MEAN, spread(top)
        for here, below in itertools.pairwise(walk.ladder):
            a, g, b = (
                float(np.ravel(q)[0])
                for q in form.of(Place(*(np.array([q]) for q in (here.c, here.sigma, below.c, below.sigma))))
            )
            slope = a - g / spread(here)
            mean, var = slope * mean + g * here.c * MEAN / spread(here), slope**2 * var + b
        exact.append((mean, var))
    statistical = SIGMAS * np.sqrt(2 / (n * dim))
    length = max(abs(var / spread(end) - 1) for _, var in exact)
    shift = max(abs(mean - end.c * MEAN) for mean, _ in exact) / np.sqrt(spread(end))
    got = float(np.mean((x - x.mean()) ** 2))
    far, off = abs(got / spread(end) - 1), abs(x.mean() - end.c * MEAN) / np.sqrt(spread(end))
    worst = Worst("variance at the last level", got, spread(end), statistical)
    text = f"{x.mean():.4g} and {got:.4g} where {end.c * MEAN:.4g} and {spread(end):.4g} belong; right steps of this length are off by up to {length:.1%} in the variance"
    pattern = f"mean and variance at the last level are {text}"
    share = (
        1.5 if length <= LONG else 0.25
    )  # of what a first-order step is off by: long steps decide for better ones alone
    if far <= share * length + statistical and off <= share * shift + statistical:
        return CheckReport(where, PASS, summary, worst, pattern, "", statistical + length)
    if far <= 4 * length + statistical and off <= 4 * shift + statistical:
        text = f"unresolved: the steps between these levels are long ({text}); give more levels"
        return CheckReport(where, INCONCLUSIVE, summary, worst, pattern, text, statistical + length)
    return CheckReport(
        where,
        FAIL,
        summary,
        worst,
        pattern,
        f"wrong law: mean and variance at the last level are {text}",
        statistical + length,
    )
