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
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import to_numpy
from ..common.inputs import count, generator
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst, law, product
from .steps import (
    CHANGES,
    DDIM_WITH_NOISE,
    KNOWN_STEPS,
    MEAN,
    REPEATED,
    SIGMAS,
    STEPS_OF_A_DRIFT,
    VARIANCE,
    Flaw,
    Place,
    Step,
    changed,
    langevin_flaw,
    noise_flaw,
    sets_of_changes,
)  # fmt: skip

KINDS = ("annealed", "ancestral", "ddim", "euler", "heun", "predictor-corrector")
# Euler's step in sigma / c; so also in sigma where c stays, and in the time of a straight line
ALSO = {"ddim": "euler"}
LONG = 0.1  # error of right steps in the variance, above which the law decides nothing
MANY = 4  # calls whose coefficients are known one by one
FAR = 40.0  # times that, at which clipping is
SAME = "at the same points as its first"
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
        of the mapping. It goes from the noisiest to the least noisy, in that order. Of an array of sigma fn may be asked at any sigma between.
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
        A step that is none of these is judged by its law on a Gaussian, from the noisiest level to the least noisy; so is a copy, as it was handed,
        of a step that keeps something from call to call (a multistep method).

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
    n, dim, rng = count(where, "n", n, 100), count(where, "dim", dim), generator(where, rng)
    fresh = partial(Walk, where, wrap=wrap, ladder=_ladder(where, levels), predicts=predicts)
    walk, kept = fresh(step), _copied(step)
    many = len(walk.ladder) - 1
    summary = f"{many} steps between {many + 1} levels, {n} chains x {dim} dim{'s' * (dim > 1)}, fn predicts {predicts}"
    report = partial(CheckReport, where, summary=summary)
    x = rng.standard_normal((n, dim))
    by_law = lambda walk=walk: _by_law(report, walk, n, dim, rng)
    try:
        parts = [_measured(walk, i, x) for i in range(many)]
        if walk.unknown:
            text = f"level between: fn is told {walk.unknown}, which lies between two of levels=, and whose c and sigma are not known; of a ladder of sigma alone any other sigma is known"
            return report(INCONCLUSIVE, diagnosis=text)
        steps = Steps(walk.ladder, parts, n * dim, predicts) if all(parts) else None
        if steps is None:
            return _noted(by_law(), "its coefficients could not be measured, so only its law on a Gaussian was checked")
        return _verdict(report, steps, kind, walk, by_law)
    except Kept as error:  # what it keeps is that of the calls before
        law = None if kept is None else by_law(fresh(kept))
        if law is not None and law.verdict == PASS:
            return _noted(law, f"{error}; so only its law on a Gaussian was checked")
        return (
            report(INCONCLUSIVE, diagnosis=str(error))
            if law is None
            else replace(law, diagnosis=f"{error}; {law.diagnosis}")
        )
    except Flaw as error:
        return report(FAIL, diagnosis=str(error))


def _copied(step):
    """A copy of a step with what it keeps, as it was handed; None if there is none."""
    try:
        return copy.deepcopy(step)
    except Exception:
        return None


def _noted(report, note):
    return replace(report, notes=(*report.notes, note))


class Level(NamedTuple):
    """What the step is told, and the scale of x_0 and of the noise."""

    label: Any
    c: float
    sigma: float


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


def slopes(name, c, sigma):
    """(a, b) of fn's answer a S + b x at levels (c, sigma)."""
    v = Level(None, c, sigma)
    return SCORES[name](1.0, 0.0, v), SCORES[name](0.0, 1.0, v)


class Walk(Step):
    """The user's step with a network that answers what we choose, and writes down what it is asked."""

    def __init__(self, where, step, *, wrap, ladder, predicts):
        super().__init__(where, step, wrap, "x, fn, level, next_level")
        self.ladder, self.predicts = ladder, predicts
        places = [
            p for p in (self.parameters or {}).values()
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name != self.seeded.name and p.default is p.empty
        ]  # fmt: skip
        self.takes_next = self.parameters is None or len(places) > 3
        self.asked: list[tuple] = []  # (level, points) of each call of fn in the last step
        self.sigmas = all(v.label == v.sigma and v.c == 1 for v in ladder)  # any number is a level then
        self.unknown = ""  # a level between two of another ladder, told to a later call

    def level_of(self, label):
        """The number of the level that fn is told; of a ladder of sigmas any other `Level`; None if it is neither. label may be one for each row."""
        value = np.atleast_1d(to_numpy(label, f"{self.where}: the level that fn is told")).astype(float)
        labels, told = np.array([float(v.label) for v in self.ladder]), float(value.flat[0])
        near = int(np.argmin(np.abs(labels - told)))
        if np.ptp(value) == 0 and np.isclose(labels[near], told, rtol=1e-4, atol=1e-8):
            return near
        if np.ptp(value) == 0 and len(self.asked) and not self.sigmas and labels.min() < told < labels.max():
            self.unknown = f"{told:g}"
        return Level(told, 1.0, told) if np.ptp(value) == 0 and self.sigmas and told > 0 else None

    def __call__(self, x, i, seed, score):
        """x (n, d) from level i to the next; score(k, x, level) is what the k-th call of fn is to mean."""
        self.asked = []

        def fn(x, level=None, *more, **others):
            points = to_numpy(x, "x").astype(float)
            level = next(iter(others.values()), None) if level is None else level
            if level is None:
                raise TypeError(
                    f"{self.where}: fn is called without a level, expected fn(x, level); a network that needs none may be given it all the same."
                )
            told = self.level_of(level)
            v = told if isinstance(told, Level) else self.ladder[i if told is None else told]
            S = score(len(self.asked), points, v)
            self.asked.append((told, points))
            return self.make(np.ascontiguousarray(SCORES[self.predicts](S, points, v)))

        here, below = self.ladder[i], self.ladder[i + 1]
        return self.taken(x, seed, fn, *((here.label, below.label) if self.takes_next else (here.label,)))


# ------------------------------------------------------------------------------- measured


class Part(NamedTuple):
    """One step: alpha, gamma of each call of fn, variance of the noise, the levels told (as in `Walk.level_of`), how exact alpha is.

    `bent`: it is linear near 0 alone; `strays`: where a second call of fn is, if not where an Euler step leads.
    """

    alpha: float
    gamma: tuple[float, ...]
    var: float
    levels: tuple[int | Level | None, ...]
    exact: float
    bent: bool
    strays: str = ""
    spare: Any = None  # the same without the calls whose answers neither the result nor a later point is made of


ASKED_ONCE = (
    "state: fn is asked in the first call of a step alone; its answer is kept, and used again in later ones (a cache)"
)
UNUSED = "answer not used: what fn says changes nothing in the result (it is left out, it cancels, its factor is 0, or an answer from an earlier call stands in its place?)"
PLACES = "answers in other places: what fn says is not used entry by entry with one factor for all (an index [0], a mean over the batch, coordinates in another order, a factor for each of them?)"
CONSTANT = "constant: beside x and the score the step adds {}, whatever x is (a shift to [0, 1], a mean, a bias?)"
OTHER_AGAIN = "state: made again from the same points, with the same answers of fn and the same random numbers, the step leads elsewhere, by a multiple of x and of the answers (a multistep method, which keeps an answer, a counter, a list of levels that is used up?)"
ONE_NUMBER = "shared noise: made again from the same points, with the same answers of fn, the step leads all chains elsewhere by the same amount (one random number for all of them, which the check cannot seed, or something that is kept?)"


class Kept(Flaw):
    """A step that leads elsewhere when it is made again, as it may: it keeps something."""


def _affine(a, x, w):
    """Whether an array (n, d) is a multiple of x, one of w, and a constant: no random numbers are."""
    basis = np.stack([x.ravel(), w.ravel(), np.ones(x.size)], axis=1)
    left = a.ravel() - basis @ np.linalg.lstsq(basis, a.ravel(), rcond=None)[0]
    return bool(np.abs(left).max() <= 1e-6 * np.abs(a).max())


def _constant(a):
    """Whether an array (n, d) is the same in all rows."""
    return bool(np.ptp(a, axis=0).max() <= 1e-6 * np.abs(a).max())


def _same_again(walk, base, again, asked, x, w):
    """Whether a step from x, with answers w, that is made again is the same, and asks fn at x first, and not with noise on top; raises a `Flaw` of one that keeps something."""
    if not walk.asked:
        raise Flaw(ASKED_ONCE if asked else "fn not used: the step never asks the network")
    if not np.array_equal(base, again):
        if _constant(base - again):
            raise Flaw(ONE_NUMBER)
        if _affine(base - again, x, w):
            raise Kept(OTHER_AGAIN)
        return False
    at, d = asked[0][1], x.shape[1]  # x itself, or several times in one batch, as guidance asks
    return (
        at.shape[1:] == (d,)
        and at.size % x.size == 0
        and np.allclose(at, np.resize(x, at.shape), rtol=1e-5, atol=1e-6 * np.abs(x).max())
    )


def _coefficients(walk, run, x, w, places, calls):
    """(gamma (n, d) of each call, the calls that the result or a later point is made of, what twice the answers w (n, d) change of each)."""
    signs = lambda some, size: tuple(size if j in some else 1.0 for j in range(calls))
    of = lambda some, size: (run(x, signs(some, size)) - run(x, signs(some, -size))) / (2 * size * w * len(some))
    groups = [[k] for k in range(calls)] if calls <= MANY else [range(calls)]  # of many the sum is enough
    gammas, used, twice = [], [], []
    for some in groups:
        gammas += [of(some, 1.0)] * len(some)
        moves = not all(map(np.array_equal, places, (points for _, points in walk.asked)))
        used += list(some) * bool(np.any(gammas[-1]) or moves)
        twice += [of(some, 2.0) - gammas[-1]] * len(some)
    return gammas, used, twice


def _measured(walk, i, x):
    """The `Part` of the step from level i; None if it is no such sum or not repeatable. Raises a `Flaw` of its noise by itself."""
    v = walk.ladder[i]
    x, size = SMALL * v.c * x, SMALL * v.c / max(v.sigma, 1e-3 * v.c) ** 2
    fixed = np.random.default_rng(9)  # entry by entry: where an answer goes is seen
    w = size * fixed.choice([-1.0, 1.0], x.shape) * fixed.uniform(0.5, 1.5, x.shape)
    group: list[int] = []  # of each call of fn
    factor = lambda k, factors: factors[group[k]] if factors and k < len(group) else 1.0
    says = lambda k, points, level: np.resize(w, points.shape)
    run = lambda x, factors=(): walk(x, i, 1, lambda k, *at: says(k, *at) * factor(k, factors))
    base = run(x)
    if walk.asked and walk.asked[0][1].size < x.size:  # row by row, or in parts
        return None
    group, asked = _grouped(walk.asked)
    calls = len(asked)
    again, places = run(x), [points for _, points in walk.asked]
    if not _same_again(walk, base, again, asked, x, w):
        return None
    exact = 1e-6 if np.array_equal(base, base.astype(np.float32)) else 1e-8
    own = SMALL * v.c
    alphas = (run(x + own) - run(x - own)) / (2 * own)
    gammas, used, twice = _coefficients(walk, run, x, w, places, calls)
    steep = max(1.0, np.abs(base).max() / own)  # round-off of a difference
    close = 1e2 * exact * steep * own / size
    first = used[0] if used else 0
    if (
        np.ptp(alphas) > 1e2 * exact * steep
        or np.abs(twice[first]).max() > close
        or not _in_place(gammas, twice, close)
    ):
        return None
    alpha, gamma = float(alphas.mean()), tuple(float(g.mean()) for g in gammas)
    rest = base - alpha * x - w * sum(gamma)
    if np.abs(rest).max() <= 1e2 * steep * exact * own:
        rest = 0 * rest
    else:
        _flawed(rest, np.any(gammas), np.array_equal(base, walk(x, i, 2, says)))
    large = walk(FAR * x, i, 1, lambda *call: FAR * says(*call)) - rest - FAR * (alpha * x + w * sum(gamma))
    bent = calls == 1 and np.abs(large).max() > 1e2 * exact * steep * FAR * np.abs(base).max()
    where = lambda asked: _strays(asked, v, walk.ladder[i + 1], w, 1e2 * exact * steep)
    told = tuple(t for t, _ in asked)
    part = Part(alpha, gamma, float(rest.var()), told, exact * steep, bool(bent), where(asked))
    return part._replace(spare=_without(part, used, where, asked) if 0 < len(used) < calls else None)


def _without(part, used, where, asked):
    """The `Part` of the calls that are used."""
    of = lambda a: tuple(a[k] for k in used)
    return part._replace(gamma=of(part.gamma), levels=of(part.levels), strays=where(of(asked)))


def _in_place(gammas, twice, close):
    """Whether each coefficient (n, d) is one number; raises a `Flaw` of one that is none where it does not change with the size of the answers."""
    several = [more for gamma, more in zip(gammas, twice, strict=True) if np.ptp(gamma) > close]
    if any(np.abs(more).max() <= close for more in several):
        raise Flaw(PLACES)
    return not several


def _flawed(rest, used, repeated):
    """Raise the `Flaw` of what is left (n, d) of a step beside x and the scores, whether these are `used`, and other random numbers change nothing."""
    if used and repeated and _constant(rest):
        raise Flaw(CONSTANT.format(np.array2string(rest[0], precision=4)))
    if not used or repeated:
        raise Flaw(REPEATED if used else UNUSED)
    if flaw := noise_flaw(rest):
        raise Flaw(flaw)


def _grouped(asked):
    """(number of the group of each call of fn, the first call of each group): calls at the same points and level are one."""
    group: list[int] = []
    for told, points in asked:
        before = (g for g, (t, p) in zip(group, asked, strict=False) if t == told and np.array_equal(p, points))
        group.append(next(before, max(group, default=-1) + 1))
    return group, [asked[group.index(g)] for g in range(len(set(group)))]


def _strays(asked, here, below, score, exact):
    """Where the second of two calls of fn is, if not where an Euler step leads; of more, whether one is where the first is."""
    if len(asked) != 2:
        return SAME if any(np.array_equal(points, asked[0][1]) for _, points in asked[1:]) else ""
    (_, x), (told, ends) = asked
    below = told if isinstance(told, Level) else below
    score = np.resize(score, x.shape)
    euler = below.c / here.c * x + here.sigma * (below.c / here.c * here.sigma - below.sigma) * score
    if ends.shape != x.shape:
        return "at other points"
    if np.abs(ends - euler).max() <= exact * np.abs(x).max():
        return ""
    return SAME if np.array_equal(ends, x) else "at other points"


class Steps:
    """All parts beside the levels, as arrays over the steps."""

    def __init__(self, ladder, parts, draws, predicts):
        self.ladder, self.parts, self.predicts, self.draws = ladder, parts, predicts, draws
        self.calls = max(len(p.gamma) for p in parts)
        self.alpha = np.array([p.alpha for p in parts])
        self.gamma = np.array([p.gamma + (0.0,) * (self.calls - len(p.gamma)) for p in parts])
        self.var = np.array([p.var for p in parts])
        self.exact, self.error = min(1e-4, max(p.exact for p in parts)), SIGMAS * np.sqrt(2 / draws)
        c, s = (np.array([getattr(v, a) for v in ladder]) for a in ("c", "sigma"))
        self.here = Place(c[:-1], s[:-1], c[1:], s[1:])

    def all_told(self, k):
        """Whether fn is told the level so many steps further in every call."""
        return all(told == i + k for i, part in enumerate(self.parts) for told in part.levels)

    @property
    def still(self):
        """Whether no step moves any point."""
        drift = np.abs(self.gamma) / self.here.s[:, None] ** 2
        return bool(max(np.abs(self.alpha - 1).max(), drift.max()) <= 1e2 * self.exact and not self.var.any())

    @property
    def spare(self):
        """The same without the calls of which nothing is made; None if there are none."""
        parts = [part.spare or part for part in self.parts]
        return None if parts == self.parts else Steps(self.ladder, parts, self.draws, self.predicts)

    def same(self, alpha, gamma, var):
        """Whether these are the measured numbers (S,), (S, calls), (S,)."""
        near = lambda a, b, size: np.all(np.abs(a - b) <= 1e2 * self.exact * size + 1e-300)
        var = np.where((self.here.t == 0) & (self.var == 0), 0.0, var)  # a step to data may leave its noise out
        gamma = np.column_stack(gamma) if isinstance(gamma, tuple) else np.reshape(gamma, (-1, 1))
        if gamma.shape[1] != self.calls or not all(np.isfinite(a).all() for a in (alpha, gamma, var)):
            return False
        return bool(
            near(alpha, self.alpha, np.maximum(np.abs(alpha), np.abs(self.alpha)))
            and near(gamma, self.gamma, np.abs(self.gamma).max(axis=1, keepdims=True))
            and self.same_noise(var)
        )

    def same_noise(self, var):
        """Whether the noise has this variance (S,)."""
        return np.all(np.abs(var - self.var) <= self.error * np.maximum(var, self.var) + 1e-8 * self.here.s**2)

    def known(self, kind=None, calls=None):
        """The known steps of a kind with as many calls of fn, and their coefficients here."""
        for step in KNOWN_STEPS:
            if (kind in (None, step.kind) or kind == ALSO.get(step.kind)) and len(step.levels) == (calls or self.calls):
                yield step, step.of(self.here)


# ------------------------------------------------------------------------------- right


ALL_NEW = "c' x_0 + sigma' z, with all of its noise drawn anew: what fn says of x_0 is a mean, and stands for a sample, so that variance is lost"
LANGEVIN = "a Langevin step at each level", "several Langevin steps at each level"
NEAR_SDE = "near an Euler-Maruyama step of the reverse SDE"
BETWEEN = "an ancestral step whose variance lies between that of the posterior and beta"


def right(steps):
    """The right steps that these are: list of (kind, name)."""
    p, calls = steps.here, steps.calls
    found = [(step.kind, step.name) for step, of in steps.known() if steps.same(*of) or _heun(steps, step, of)]
    if calls == 1:
        gamma, noisy = steps.gamma[:, 0], p.t > 0
        etas = (np.sqrt(steps.var / p.beta) * p.s)[noisy] / p.t[noisy]
        eta = np.unique([f"{e:.3g}" for e in (etas.min(), etas.max())]) if noisy.any() else ["0"]
        found += [("ddim", ALL_NEW)] * steps.same(p.r, p.r * p.s**2, p.t**2)
        others = STEPS_OF_A_DRIFT if steps.var.any() and not found else ()
        fitting = [step for step in others if steps.same(*step.of(p, gamma))]
        near = np.all(np.abs(gamma / p.beta - 1) <= steps.error)  # and what it is near to is another step
        found += [
            (s.kind, NEAR_SDE if near and s.kind == "euler" else s.name.format(eta=" to ".join(eta)))
            for s in fitting[:1]
        ]
    at_home = calls == 1 or any(steps.all_told(k) for k in (0, 1))
    if at_home and not steps.still and steps.same(np.ones_like(p.s), tuple(steps.gamma.T), 2 * steps.gamma.sum(axis=1)):
        found.append(("annealed", LANGEVIN[calls > 1]))
    return found + list(_midway(steps) if calls == 2 else ()) + list(_corrected(steps) if 2 <= calls <= MANY else ())


def _heun(steps, step, of):
    """Heun's method whose step to sigma = 0 is Euler's."""
    (alpha, gamma, var), end = of, steps.here.t == 0
    if step.kind != "heun" or not end.any():
        return False
    first = np.where(end, steps.here.r * steps.here.s**2, gamma[0])
    return steps.same(alpha, (first, np.where(end, 0, gamma[1])), var)


def _corrected(steps):
    """Predictors of one call, with Langevin steps at the next level after them, or at this level before them."""
    after, before = steps.gamma.T[1:], steps.gamma.T[:-1]
    if not steps.gamma.any(axis=0).all():  # see `Part.spare`
        return
    langevin = "a Langevin step" if steps.calls == 2 else f"{steps.calls - 1} Langevin steps"
    for step, (alpha, gamma, var) in steps.known(calls=1):
        if steps.same(alpha, (gamma, *after), var + 2 * sum(after)):
            yield "predictor-corrector", f"{step.name}, then {langevin} at the next level"
        if steps.same(alpha, (*before, gamma), var + 2 * alpha * sum(before)):
            yield "predictor-corrector", f"{langevin}, then {step.name}"


def _midway(steps):
    """All the way with the slope at a level between, of a ladder of sigmas; Euler's step to sigma = 0."""
    p, second, end = steps.here, [part.levels[1:] for part in steps.parts], steps.here.t == 0
    told = np.array([v[0].sigma if v and isinstance(v[0], Level) else np.nan for v in second])
    euler = end & np.array([not v for v in second])
    gamma = np.where(euler, p.s**2, 0), np.where(euler, 0, (p.s - p.t) * np.nan_to_num(told))
    between = np.all(euler | ((p.t < told) & (told < p.s))) and not any(part.strays for part in steps.parts)
    if between and steps.same(np.ones_like(p.s), gamma, np.zeros_like(p.s)):
        yield "midpoint", "a midpoint step, with the slope at a level between (DPM-Solver-2)"


# ------------------------------------------------------------------------------- wrong


def changes(steps, kind, many, of=None):
    """So many changes that make a known step of the kind these, each of them a mistake; `of` as in `changed`."""
    for step, made in itertools.product([step for step, _ in steps.known(kind)], sets_of_changes(many)):
        with np.errstate(all="ignore"):
            same = (of is None or "place" in made) and steps.same(*changed(step, steps.here, made, of))
        if same:
            yield f"{'; '.join(made.values())} (beside {step.name})"


def within_fn(steps, kind, many):
    """The same with a wrong level where the step uses what fn answers, if that is no score."""
    if steps.predicts != "score" and steps.calls == 1:
        yield from changes(steps, kind, many, partial(slopes, steps.predicts))


def _readings(steps):
    """(what fn's answer may be taken for in place of what it is, the steps that these are then)."""
    predicts, (in_S, in_x) = steps.predicts, slopes(steps.predicts, steps.here.c, steps.here.s)
    for name, sign in itertools.product(SCORES, (1, -1)) if steps.calls == 1 else ():
        if (name, sign) == (predicts, 1):
            continue
        factor, (other_S, other_x) = steps.gamma[:, 0] / in_S, slopes(name, steps.here.c, steps.here.s)
        other = copy.copy(steps)
        other.alpha = steps.alpha + factor * (sign * other_x - in_x)
        other.gamma = (factor * sign * other_S)[:, None]
        what = f"parametrisation: fn predicts {predicts}, and the step takes it for {'minus ' * (sign < 0)}{name}"
        if name == predicts:
            what = f"sign of {name}: fn predicts {name}, and the step takes it for minus that"
        yield what, other


def misread(steps, kind):
    """The step takes fn's answer for another parametrisation, or for minus its own, and is a known step then."""
    for what, other in _readings(steps):
        for step, of in steps.known(kind):
            if other.same(*of):
                yield f"{what} (beside {step.name})"


def sign_within(steps, kind):
    """The step makes x_0 and eps of x and fn's answer a score + b x, and turns a sign in one of them."""
    p, predicts = steps.here, steps.predicts
    a, b = slopes(predicts, p.c, p.s)
    for step, (alpha, gamma, var) in steps.known(kind) if steps.calls == 1 and predicts != "score" else ():
        x_0, eps = p.c * alpha, p.s * alpha - gamma / p.s  # their coefficients
        for what, of, turned in (
            ("x", "x_0", (x_0 * (1 - p.s**2 * b / a) / p.c, 0)),
            (predicts, "x_0", (x_0 * p.s**2 * b / (a * p.c), x_0 * p.s**2 / p.c)),
            ("x", "eps", (eps * p.s * b / a, 0)),
            (predicts, "eps", (-eps * p.s * b / a, -eps * p.s)),
        ):
            if np.any(turned[0]) and steps.same(alpha - 2 * turned[0], gamma - 2 * turned[1], var):
                yield f"sign within {of}: {of} is made of x and fn's {predicts}, and the sign of {what} in it is turned (beside {step.name})"


def terms(steps, alpha, gamma):
    """{(word, word): (coefficient, coefficient, size of each)}: x' = alpha x + gamma score in other terms, fn's x_0 and eps among them."""
    p = steps.here
    out = {}
    for name in dict.fromkeys((steps.predicts, "x", "eps", "score")):
        a, b = slopes(name, p.c, p.s)
        share = gamma / a
        sizes = np.abs(alpha) + np.abs(share * b), np.abs(share)
        out["x", "x_0" if name == "x" else name] = (alpha - share * b, share, *sizes)
    size = np.abs(alpha * p.s) + np.abs(gamma / p.s)
    return out | {("x_0", "eps"): (p.c * alpha, alpha * p.s - gamma / p.s, np.abs(p.c * alpha), size)}


def in_law(values, size, p, exact):
    """Numbers (S,) as a product of powers of c, sigma, c' and sigma', in words; "" if they are none."""
    if np.all(np.abs(values) <= exact * size):
        return "0"
    settings = [{"c": c, "sigma": s, "c'": d, "sigma'": t} for c, s, d, t in zip(p.c, p.s, p.d, p.t, strict=True)]
    few = len(settings) < 4 or np.any(p.t <= 0) or np.any(p.s <= 0)
    found = None if few else law(values, settings, 10 * exact, odd=tuple(settings[0]))
    return product(found[0], found[1], max(1e-3, 10 * exact)) if found and sum(map(abs, found[1].values())) <= 4 else ""


def coefficient(steps, kind, plainly):
    """Of the coefficients of a step in terms of x, x_0, eps and score, two exchanged, or one that is not as the others; `plainly`: in words alone."""
    if steps.calls > 1:
        return
    p, exact, mine = steps.here, 1e2 * steps.exact, terms(steps, steps.alpha, steps.gamma[:, 0])
    same = lambda a, b, k, j: bool(np.all(np.abs(a[k] - b[j]) <= exact * (a[k + 2] + b[j + 2])))
    for step, (alpha, gamma, var) in steps.known(kind):
        if not steps.same_noise(var):
            continue
        found = []
        for words, theirs in terms(steps, alpha, gamma).items():
            own = mine[words]
            if same(own, theirs, 0, 1) and same(own, theirs, 1, 0):
                text = f"coefficients exchanged: {words[0]} has the coefficient of {words[1]}, and {words[1]} that of {words[0]} (beside {step.name})"
                found.append((0, text))
            if same(own, theirs, 0, 0) == same(own, theirs, 1, 1):
                continue
            k = 0 if same(own, theirs, 1, 1) else 1
            said, right = (in_law(v[k], v[k + 2], p, exact) for v in (own, theirs))
            i = int(np.argmax(np.abs(own[k] - theirs[k]) / (own[k + 2] + theirs[k + 2])))
            value = f"{said}, {own[k][i]:.4g} in step {i}, where {right + ', ' * bool(right)}{theirs[k][i]:.4g} belongs"
            if np.ptp(own[k]) <= exact * np.abs(own[k]).max() < np.ptp(theirs[k]):
                value += ": it is the same in every step (a constant dt, a factor that is left out?), and the right one is not"
            text = f"coefficient of {words[k]}: x' = A {words[0]} + B {words[1]}{' + b z' * bool(var.any())} has the other coefficients of {step.name}, and {'AB'[k]} is {value.removeprefix(', ')}"
            found.append((1 + 2 * (not said) + ("." in said), text))
        cost, text = min(found, key=lambda entry: entry[0], default=(3, ""))
        if text and (cost < 2 or not plainly):
            yield text


def noise_alone(steps, kind):
    """The coefficients of x and the score are those of a known step, the noise is not."""
    for step, (alpha, gamma, var) in steps.known(kind) if steps.calls == 1 else ():
        if steps.same(alpha, gamma, steps.var) and not (step.kind == "ancestral" and _between(steps)):
            extra = "is added, and not taken from the direction to eps"
            if var.any():
                i = int(np.argmax(np.abs(var - steps.var) / np.maximum(var, steps.var)))
                extra = f"has the variance {steps.var[i]:.4g} where {var[i]:.4g} belongs, in step {i}"
            yield f"noise: x and the score have the coefficients of {step.name}, and the noise {extra}"


def _between(steps):
    """Whether this is an ancestral step whose variance lies between that of the posterior and beta, as learnt ones do."""
    p = steps.here
    least, most = p.beta * (p.t / p.s) ** 2 * (1 - steps.error), p.beta * (1 + steps.error)
    within = np.all((steps.var <= most) & (steps.var >= least))
    return steps.calls == 1 and within and steps.same(p.r, p.r * p.beta, steps.var)


def other_room(steps, kind):
    """DDIM whose direction to eps leaves another room than the noise takes; told from first-order steps where t/s changes."""
    p = steps.here
    if steps.calls > 1 or kind not in (None, "ddim") or not np.all(steps.var > 0) or np.ptp(p.t / p.s) < 0.1:
        return
    alpha, gamma, room = DDIM_WITH_NOISE.of(p, steps.gamma[:, 0])
    ratio = np.mean(room / steps.var)
    if steps.same(alpha, gamma, room / ratio):
        yield f"noise beside the direction: the direction to eps leaves room for {ratio:.2g} times the variance of the noise that is added (beside DDIM with noise)"


def one_slope(steps, kind):
    """The mean of two slopes of which one has another coefficient than a known step gives it."""
    for step, (alpha, gamma, var) in steps.known(kind, calls=2) if steps.calls == 2 else ():
        for k, which in enumerate(("first", "second")):
            own = steps.gamma[:, k]
            if steps.same(alpha, tuple(own if j == k else g for j, g in enumerate(gamma)), var):
                laws = (in_law(a, np.abs(a), steps.here, 1e2 * steps.exact) for a in (own, gamma[k]))
                mine, right = (
                    f"{law or 'a coefficient'} ({a[0]:.4g} in the first step)"
                    for law, a in zip(laws, (own, gamma[k]), strict=True)
                )
                yield f"coefficient of the {which} slope: its score has {mine}, where {right} belongs; the other is right (beside {step.name})"


def wrong_corrector(steps, kind):
    """A known predictor, and a Langevin step at the next level whose noise does not belong to its drift."""
    for step, (alpha, gamma, var) in steps.known(calls=1) if (steps.calls, kind) == (2, "predictor-corrector") else ():
        if steps.same(alpha, (gamma, steps.gamma[:, 1]), steps.var) and np.all(steps.var >= var * (1 - steps.error)):
            D, noise = steps.gamma[0, 1], max(steps.var[0] - var[0], 0.0)
            yield f"corrector: after {step.name} the score at the next level has the coefficient {D:.4g} and its noise the variance {noise:.2g} or so, where twice the coefficient belongs"


def one_noise(steps, kind):
    """A known predictor, and a Langevin step at the next level with the same noise: standard deviations add up, and not variances."""
    for step, (alpha, gamma, var) in steps.known(calls=1) if steps.calls == 2 else ():
        after = steps.gamma[:, 1]
        if np.any(var > 0) and steps.same(
            alpha, (gamma, after), (np.sqrt(var) + np.sqrt(np.maximum(2 * after, 0))) ** 2
        ):
            yield f"one key: {step.name} and the Langevin step after it get the same noise; draw it anew"


def other_beta(steps, kind):
    """An ancestral step of a variance-preserving ladder with another beta in all its places."""
    p = steps.here
    if (
        steps.calls > 1
        or kind not in (None, "ancestral")
        or not np.allclose(p.c**2 + p.s**2, 1)
        or np.any(steps.alpha <= 1)
    ):
        return
    beta = 1 - steps.alpha**-2.0
    if any(steps.same(steps.alpha, steps.alpha * beta, noise) for noise in (beta, beta * (p.t / p.s) ** 2)):
        i = int(np.argmax(np.abs(beta - p.beta)))
        after = len(beta) > 1 and np.allclose(beta[:-1], p.beta[1:])
        before = len(beta) > 1 and np.allclose(beta[1:], p.beta[:-1])
        which = (
            "that of the step after this one: an index is off by one"
            if after
            else "that of the step before this one: an index is off by one"
            if before
            else "another schedule"
        )
        yield f"beta of another step: x, the score and the noise have the coefficients of an ancestral step with beta = {beta[i]:.4g} in step {i}, where 1 - alpha_bar/alpha_bar' = {p.beta[i]:.4g} belongs ({which})"


def stands_still(steps, kind):
    """The points are returned."""
    if steps.still:
        yield "no step: the points are returned as they came, at the level from which they came (one level stands for both?)"


def returns_x_0(steps, kind):
    """What fn says of x_0 is returned, without noise."""
    if steps.calls > 1 or steps.var.any() or not np.any(steps.here.t > 0):
        return
    scale, q, _, size = terms(steps, steps.alpha, steps.gamma[:, 0])["x_0", "eps"]
    for times, c in (("", 1), ("c' times ", steps.here.d)) if np.all(np.abs(q) <= 1e2 * steps.exact * size) else ():
        if np.allclose(scale, c, rtol=1e-4):
            yield f"x_0 returned: the step returns {times}fn's x_0, without the noise of the next level"
            return


def one_change(steps, kind):
    """One change of a known step; of an ancestral one another beta says more than a schedule that is padded in front."""
    found = list(changes(steps, kind, 1))
    padded = found and all("data without noise" in text for text in found)
    turned = (
        misread(steps, kind) if found and steps.predicts == "velocity" else ()
    )  # data - noise, as some papers have it
    return (padded and list(other_beta(steps, kind))) or [*(t for t in turned if t.startswith("sign of")), *found]


def uphill(steps, kind):
    """A step against the score: in no variable of time is that one down in level."""
    if np.all(steps.gamma.sum(axis=1) < 0):
        yield "sign of the drift: the step goes against the score, up in level, or the velocity is added with the wrong sign"


MISTAKES = (  # the first that finds anything speaks
    stands_still,
    returns_x_0,
    one_change,
    lambda steps, kind: itertools.chain(misread(steps, kind), within_fn(steps, kind, 1)),
    sign_within,
    lambda steps, kind: _with_noise_alone(steps, kind, coefficient(steps, kind, plainly=True)),
    lambda steps, kind: _as_two(steps, kind, itertools.chain(changes(steps, kind, 2), within_fn(steps, kind, 2))),
    noise_alone,
    other_beta,
    uphill,
    partial(coefficient, plainly=False),
    other_room,
    one_slope,
    one_noise,
    wrong_corrector,
)


def _with_noise_alone(steps, kind, found):
    """What is said of a coefficient, and that the noise alone is another, where that is so."""
    found = list(found)
    yield from (*found, *(noise_alone(steps, kind) if found else ()))


def _as_two(steps, kind, found):
    """Of steps that are two changes of a known one, behind the one coefficient that is another, where it is one."""
    found = list(dict.fromkeys(found))
    one = next(coefficient(steps, kind, plainly=False), "") if found else ""
    yield from (f"{one}; as two changes would make it: {_listed(found, 2)}",) if one else found


BESIDE = " (beside "


def _listed(texts, most=3):
    """Some texts as one, those of one mistake beside several known steps together."""
    steps: dict[str, list] = {}
    for text in texts:
        mistake, _, step = text.partition(BESIDE)
        steps.setdefault(mistake, []).extend([step.removesuffix(")")] * bool(step))
    said = [mistake + f"{BESIDE}{', or '.join(names)})" * bool(names) for mistake, names in steps.items()]
    return " -- or -- ".join(said[:most]) + f" -- or -- {len(said) - most} more" * (len(said) > most)


def elsewhere(steps):
    """Where a step of one call arrives, if not at its level, and what of fn's x_0 and eps it is made of."""
    p, exact = steps.here, 1e2 * steps.exact
    scale, q, *sizes = terms(steps, steps.alpha, steps.gamma[:, 0])["x_0", "eps"]
    noise = np.sqrt(q**2 + steps.var)
    i = int(np.argmax(np.abs(scale / p.d - 1) + np.abs(noise - p.t) / np.maximum(p.t, noise)))
    values, close = (scale, q, np.sqrt(steps.var)), (exact, exact, steps.error / 10)
    a, b, c = (in_law(v, size, p, e) for v, size, e in zip(values, (*sizes, p.s), close, strict=True))
    more = in_law(scale - p.d, sizes[0], p, exact)
    a = a or (f"(c' + {more})".replace("+ -", "- ") if more else "")
    why = "" if a or b else " (another schedule, another next level, a schedule in few digits?)"
    a, b, c = (word or f"{v[i]:.4g}" for word, v in zip((a, b, c), values, strict=True))
    x_0, noise_words = "" if a == "1" else f"{a} ", "" if c == "0" else f" + {c} z"
    eps = ", without a direction to eps" if b == "0" else ""
    eps += "; fn's x_0 is used as eps" if b == "0" and more == "sigma'" else ""
    direction = "" if b == "0" else f" {'-' if b[0] == '-' else '+'} {b.removeprefix('-')} eps"
    made = f"the coefficients of fn's x_0 and eps are those of x' = {x_0}x_0{direction}{noise_words}{eps}, where c' x_0 and noise of standard deviation sigma' in all belong"
    return f"arrives elsewhere: {made}; step {i} arrives at c = {scale[i]:.4g}, sigma = {noise[i]:.4g}, and not at c = {p.d[i]:.4g}, sigma = {p.t[i]:.4g}{why}"


# ------------------------------------------------------------------------------- the verdict


def _verdict(report, steps, kind, walk, by_law):
    """PASS for a known step of the kind, FAIL with its mistake, or what the law says."""
    p, first = steps.here, steps.parts[0]
    gamma = " + ".join(f"{g:.6g} score_{k}" if steps.calls > 1 else f"{g:.6g} score" for k, g in enumerate(first.gamma))
    if steps.calls > MANY:
        gamma = f"{steps.calls} scores, whose coefficients sum to {sum(first.gamma):.6g},"
    report = partial(
        report, resolution=steps.error, details={"alpha": steps.alpha, "gamma": steps.gamma, "noise variance": steps.var},
        pattern=f"first step, ({p.c[0]:.4g}, {p.s[0]:.4g}) to ({p.d[0]:.4g}, {p.t[0]:.4g}): x' = {first.alpha:.9g} x + {gamma} + {np.sqrt(first.var):.4g} z".replace("+ -", "- "),
    )  # fmt: skip
    every = right(steps)
    found = [entry for entry in every if kind in (None, entry[0]) or kind == ALSO.get(entry[0])]
    flaw = _wrong_call(steps, found, every, kind)
    if flaw:
        return report(FAIL, diagnosis=flaw)
    if found == [("annealed", "a Langevin step at each level")] and kind is None and walk.takes_next:
        text = "undecided: this is a Langevin step, x + D score + sqrt(2 D) z, with a D that depends on the next level; say kind='annealed', or what else it should be"
        return report(INCONCLUSIVE, diagnosis=text)
    if found:
        clipped = "it is not linear for larger x (x_0 clipped to [-1, 1]?): right only for data within those bounds"
        notes = (f"this is {found[0][1]}", *_size_of_langevin(steps, kind or found[0][0]))
        return report(PASS, notes=notes + (clipped,) * any(part.bent for part in steps.parts))
    if flaw := (kind == "annealed" and _no_langevin(steps)) or _mistaken(steps, kind):
        return report(FAIL, diagnosis=flaw)
    if kind in (None, "ancestral") and _between(steps):
        return report(PASS, notes=(f"this is {BETWEEN}",))
    if kind in ("ancestral", "ddim") and steps.calls == 1:
        return report(FAIL, diagnosis=elsewhere(steps))
    if steps.spare:
        return _verdict(report, steps.spare, kind, walk, by_law)
    return _of_law(report, steps, kind, by_law)


def _no_langevin(steps):
    """What is wrong with a step that is meant to be annealed Langevin dynamics; ""."""
    p, drift, of_score = steps.here, steps.gamma.sum(axis=1), steps.predicts == "score"
    if steps.calls > 1 and steps.var.any() and steps.same_noise(2 * steps.calls * drift):
        return ONE_FOR_ALL.format(calls=steps.calls)
    langevin = lambda s: s.same(np.ones_like(p.s), tuple(s.gamma.T), 2 * s.gamma.sum(axis=1))
    others = () if of_score else _readings(steps)
    if misread_as := next((what for what, other in others if langevin(other)), ""):
        return misread_as
    if np.abs(steps.alpha - 1).max() > 1e-6:
        beside = "" if of_score else f" beside the score that fn's {steps.predicts} stands for"
        return f"x rescaled: a Langevin step leaves the coefficient of x at 1, yours is {steps.alpha[0]:.6g}{beside}"
    return langevin_flaw(drift, steps.var, steps.error, [{"sigma": s} for s in p.s])


def _mistaken(steps, kind):
    """What the first rule that finds something says of a step, with what a geometric ladder does not tell apart; ""."""
    wrong = next((texts for rule in MISTAKES if (texts := list(dict.fromkeys(rule(steps, kind))))), [])
    changed = {part for text in wrong for part in text.partition(BESIDE)[0].split("; ")} & ALL_CHANGES
    geometric = np.ptp(steps.here.t / steps.here.s) <= 1e-6 and any("sigma" in part for part in changed)
    return _listed(wrong) + GEOMETRIC * bool(geometric)


def _of_law(report, steps, kind, by_law):
    """The report on a step that is none of the known ones, by its law, or by what its kind has in any case."""
    if (many := OF_KIND.get(kind)) and not many(steps):
        noise = "with noise" if steps.var.any() else "without noise"
        text = f"another step: fn is asked {'once' if steps.calls == 1 else f'{steps.calls} times'} in a step {noise}, which is none of kind {kind!r}"
        return report(FAIL, diagnosis=text)
    law = by_law()
    text = f"{elsewhere(steps)}; {law.pattern}" if law.verdict == FAIL and steps.calls == 1 else law.diagnosis
    asked = f", and not whether it is of kind {kind!r}" * (kind is not None)
    notes = (*law.notes, f"it is none of the known steps, so its law on a Gaussian was checked{asked}: {law.pattern}")
    if kind == "heun" and (strays := _straying(steps)):
        text = f"{POINT.format(strays)}; {text}" if law.verdict == FAIL else text
        notes += (f"fn's second call is {strays}, and not where an Euler step in sigma / c leads",)
    return report(law.verdict, worst=law.worst, diagnosis=text, notes=notes, resolution=law.resolution)


GEOMETRIC = "; on a geometric ladder a constant factor and a power of sigma/sigma' are the same: levels that are not geometric tell them apart"
POINT = "point of a call: fn's second call is {}, and belongs at those to which an Euler step leads"


OF_KIND: dict = {  # what a step of a kind has in any case
    "heun": lambda steps: steps.calls == 2 and not steps.var.any(),
    "predictor-corrector": lambda steps: steps.calls > 1 and steps.var.any(),
}


ALL_CHANGES = {name for table in CHANGES.values() for name in table}


def _straying(steps):
    """Where a second call of fn is that is not where an Euler step in sigma / c leads; ""."""
    return next((part.strays for part in steps.parts if part.strays), "")


def _wrong_call(steps, found, every, kind):
    """The diagnosis of a network that is asked for another level, or at other points, than it should, or of a step of another kind; ""."""
    flaw = _wrong_level(steps, found or every, kind)
    strays = _straying(steps)
    if not flaw and strays and (found or strays == SAME) and "heun" in {kind, *(k for k, _ in found)}:
        return POINT.format(strays)  # of other coefficients the law decides: Euler's step may be one in another time
    if not flaw and strays == SAME and np.any(steps.gamma, axis=0).all():
        return "level told: fn is asked twice at the same points, and told two levels; points have one"
    if not flaw and every and not found:
        other = f"another step: this is {every[0][1]}, not a step of kind {kind!r}"
        return " -- or -- ".join([*filter(None, [_listed(list(changes(steps, kind, 1)), 2)]), other])
    return flaw


def _wrong_level(steps, found, kind):
    """The diagnosis of a network that is told another level than its point has, or ""."""
    if kind == "annealed" and steps.all_told(1):  # the dynamics of the level to which it comes
        return ""
    later = "heun" in {kind, *(k for k, _ in found)} or any("next level" in name for _, name in found)
    between = lambda i, t: isinstance(t, Level) and steps.here.t[i] < t.sigma < steps.here.s[i]
    for k in range(min(steps.calls, MANY)):
        expected = int(later and k > 0)
        told = [(i, part.levels[k] if k < len(part.levels) else i + expected) for i, part in enumerate(steps.parts)]
        off = [(i, t) for i, t in told if t != i + expected and not (k and between(i, t))]
        if not off or (k and not found and kind != "heun"):
            continue
        shift = {t - i - expected if isinstance(t, int) else None for i, t in off}
        words = {1: "the next, less noisy one", -1: "the one before, noisier", None: "no level of the ladder"}
        which = words.get(shift.pop(), "another one") if len(shift) == 1 else "another one"
        return f"level told: fn is told {which} in its call {k + 1}, and not the level of its point ({len(off)} of {len(steps.parts)} steps)"
    return ""


def _size_of_langevin(steps, kind):
    """Whether the step size of annealed Langevin dynamics goes with sigma^2."""
    if kind != "annealed":
        return ()
    ahead = steps.all_told(1)
    ratio = steps.gamma[:, 0] / (steps.here.t if ahead else steps.here.s) ** 2
    size = f"its step is {ratio[0]:.4g} sigma^2"
    if np.ptp(ratio) > 1e-4 * np.abs(ratio).max():
        size = f"its step does not go with sigma^2, as usual: it is {ratio[0]:.3g} sigma^2 at the highest level, and {ratio[-1]:.3g} sigma^2 at the lowest from which a step starts"
    return (*(AHEAD,) * ahead, size)


ONE_FOR_ALL = "repeated noise or temperature: the noise of the {calls} steps at a level has {calls} times the variance that belongs to their drift (one z for all of them, or a factor sqrt({calls}) too much?)"
AHEAD = "fn is told the next level in every call: it is the dynamics of the level to which the step comes"


def _by_law(report, walk, n, dim, rng):
    """Mean and variance of Gaussian data after all steps, from the exact law of the noisiest level."""
    top, end = walk.ladder[0], walk.ladder[-1]
    spread = lambda v: v.c**2 * VARIANCE + v.sigma**2
    x = top.c * MEAN + np.sqrt(spread(top)) * rng.standard_normal((n, dim))
    score = lambda k, points, v: -(points - v.c * MEAN) / spread(v)
    for i in range(len(walk.ladder) - 1):
        x = walk(x, i, int(rng.integers(1 << 31)), score)
    # what steps of this length cost a right sampler
    exact = []
    for step in KNOWN_STEPS[:4]:
        mean, var = top.c * MEAN, spread(top)
        for here, below in itertools.pairwise(walk.ladder):
            ends = Place(*(np.array([q]) for q in (here.c, here.sigma, below.c, below.sigma)))
            a, g, b = (float(np.ravel(q)[0]) for q in step.of(ends))
            slope = a - g / spread(here)
            mean, var = slope * mean + g * here.c * MEAN / spread(here), slope**2 * var + b
        exact.append((mean, var))
    length = max(abs(var / spread(end) - 1) for _, var in exact)
    shift = max(abs(mean - end.c * MEAN) for mean, _ in exact) / np.sqrt(spread(end))
    statistical = SIGMAS * np.sqrt(2 / (n * dim))
    got = float(np.mean((x - x.mean()) ** 2))
    far, off = abs(got / spread(end) - 1), abs(x.mean() - end.c * MEAN) / np.sqrt(spread(end))
    share = 1.5 if length <= LONG else 0.25  # of what a first-order step is off by: long steps decide for better ones
    within = lambda share: far <= share * length + statistical and off <= share * shift + statistical
    text = f"{x.mean():.4g} and {got:.4g} where {end.c * MEAN:.4g} and {spread(end):.4g} belong; right steps of this length are off by up to {length:.1%} in the variance"
    report = partial(
        report, worst=Worst("variance at the last level", got, spread(end), statistical),
        pattern=f"mean and variance at the last level are {text}", resolution=statistical + share * length,
    )  # fmt: skip
    if within(share):
        return report(PASS)
    if within(4):
        text = f"unresolved: the steps between these levels are long ({text}); give more levels"
        return report(INCONCLUSIVE, diagnosis=text)
    return report(FAIL, diagnosis=f"wrong law: mean and variance at the last level are {text}")
