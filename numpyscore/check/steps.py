"""Steps of samplers: how a user's is called, what is wrong with its noise, and the known steps from a level to the next with what people change in them.

A known step is x' = alpha x + sum_k gamma_k score_k + b z, three formulas of two levels: a new one is a row of `KNOWN_STEPS`, a new mistake a row of
one of the tables of changes.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..common.arrays import to_numpy, wrapper
from ..common.callables import parameters_of
from .fields import numbered
from .functions import Seeded
from .report import law, product

VARIANCE, MEAN = 1.6, 0.7  # of the Gaussian on which laws are known
SIGMAS = 5.0
REPEATED = "repeated noise: steps with different random numbers are the same (a generator or a key is made anew in each step, numbers are kept, there is no noise?)"


class Flaw(Exception):
    """What is wrong with a step before its coefficients are looked at: "name: sentence"."""


class Step:
    """The user's step on ndarrays, given random numbers if a parameter asks for them; global generators are seeded too."""

    def __init__(self, where, step, wrap, arguments):
        if not callable(step):
            raise TypeError(f"{where}: step is {step!r}, expected a function step({arguments}).")
        self.where, self.make = where, wrapper(where, wrap)
        self.seeded = Seeded(step, self.make)
        self.parameters = parameters_of(step)

    def taken(self, x, seed, *told, **named):
        """The step from x (n, d)."""
        out = self.seeded(seed, self.make(x), *told, **named)
        out = to_numpy(out[0] if isinstance(out, tuple) else out, f"{self.where}: what step returned").astype(float)
        if out.shape != x.shape:
            raise Flaw(f"shape: the step returned {out.shape}, expected {x.shape}")
        if not np.isfinite(out).all():
            raise Flaw("not finite: the step returned NaN or infinity")
        return out


def noise_flaw(noise, independent=True):
    """What is wrong with the noise (n, d) of a step by itself: "name: sentence", or "".

    independent : whether its dimensions must be, and each of them normal; not so where a preconditioner multiplies it
    """
    (n, d), size = noise.shape, noise.std()
    largest = np.abs(noise).max()
    if largest == 0:
        return ""
    if none := np.mean(~np.any(np.abs(noise) > 1e-9 * largest, axis=1)):
        return f"chains without noise: {none:.0%} of the chains get no noise in a step"
    if n > 1 and np.allclose(noise, noise[:1], atol=1e-6 * largest):
        return "shared noise: all chains get the same noise in a step"
    first = len(np.unique(np.round(noise[:, 0] / largest, 9)))  # of signs, and other whole numbers, there are few
    if first > 0.05 * n and (kinds := len(np.unique(np.round(noise / largest, 9), axis=0))) < 0.9 * n:
        return f"shared noise: {1 - kinds / n:.0%} of the chains get the noise of another one in a step"
    stds = noise.std(0)
    if np.any(np.abs(noise.mean(0)) > (SIGMAS + 1) * stds / np.sqrt(n) + 1e-9 * size):
        return _biased(noise)
    still = np.flatnonzero(np.abs(noise).max(0) <= 1e-9 * largest)
    if independent and len(still):
        return f"dimensions without noise: a step adds no noise in {numbered('dimension', still)} of the chains"
    correlation = np.corrcoef(noise.T)[np.triu_indices(d, 1)] if independent and d > 1 and np.all(stds) else [0.0]
    worst = max(correlation, key=abs)
    if abs(worst) > (SIGMAS + 1) / np.sqrt(n):
        one = (
            "one number for all dimensions of a chain"
            if worst > 0.999
            else "they must be independent where the drift has no matrix of its own (a preconditioner in the noise alone?)"
        )
        return f"correlated noise: the dimensions of the noise have correlation {worst:.3g}; {one}"
    if independent and np.ptp(stds) > 2 * SIGMAS * size / np.sqrt(2 * n):
        of = np.array2string(stds[:6], precision=3)
        return f"noise of other sizes: the noise has another standard deviation in each dimension, {of}, where the score has one coefficient"
    if independent and abs(np.mean((noise / size) ** 4) - 3) > (SIGMAS + 1) * np.sqrt(96 / (n * d)):
        return "noise not Gaussian: its fourth moment is not that of a normal number"
    return ""


def _biased(noise):
    """What is said of noise (n, d) with a mean."""
    means, stds = noise.mean(0), noise.std(0)
    square, fourth = (np.mean((noise - means) ** k) for k in (2, 4))
    flat = abs(fourth - 1.8 * square**2) < 0.1 * square**2  # as of uniform numbers
    why = " (uniform numbers from 0 to 1 in place of normal ones?)" * bool(flat)
    k = int(np.argmax(np.abs(means) / np.maximum(stds, 1e-9 * np.abs(noise).max())))
    where = f" in dimension {k}" * bool(len(means) > 1 and np.abs(means).min() < abs(means[k]) / 2)
    return f"biased: the step has an offset of {means[k]:.3g}{where}, whatever x is: has the noise a mean{why}, is the score taken at another point, or has the drift a term beside the score?"


WHY = {  # the variance of the noise over twice the drift's coefficient, and where that may come from
    0.5: " (the factor 2 under the root is missing, the drift lacks its 1/2?)",
    2.0: " (a factor sqrt(2) too much, a 1/2 too many in the drift?)",
    0.25: " (the noise is half of what it should be?)",
}


def in_words(values, settings, error):
    """The law of positive numbers in the settings, ("sqrt(2) sqrt(step)", (factor, exponents)), or the first of them and None."""
    found = law(values, settings, error, odd=tuple(settings[0]))
    return (product(found[0], found[1], 2e-2), found) if found else (f"{values[0]:.4g}", None)


@np.errstate(all="ignore")
def langevin_flaw(drift, var, error, settings):
    """What is wrong with the noise of x + D score + sqrt(var) z, which has var = 2 D: "name: sentence", or "".

    drift, var : (k,), D and var in k settings, such as [{"step": 0.2}, {"step": 0.1}], of which they may be powers
    error : relative, of var
    """
    if np.all(var <= 1e-12) and np.all(np.abs(drift) < 1e-9):
        return "no step: the points are returned as they came"
    if np.all(var <= 1e-12):
        uphill = np.all(drift > 0)
        what = "climbs to the mode" if uphill else "runs down from the mode: the sign of its drift is another mistake"
        return (
            f"no noise: the step only {what}; it is gradient {'ascent' if uphill else 'descent'} on log p, not Langevin"
        )
    if np.all(np.abs(drift) < 1e-9):
        return "no drift: the score is not used; this is a random walk"
    if np.all(drift < 0):
        return "sign of the drift: the step moves away from the mode, along grad E instead of the score"
    ratio = var / (2 * drift)
    if np.all(np.abs(ratio - 1) <= error):
        return ""
    (D, D_law), (B, B_law) = in_words(drift, settings, 1e-3), in_words(np.sqrt(var), settings, error)
    it_is = f"it is {B} z, to {error:.0%}, for a drift of {D} score"
    if np.ptp(ratio) <= 2 * error * np.abs(ratio).max():
        why = next((text for c, text in WHY.items() if abs(ratio[0] / c - 1) <= 2 * error), "")
        return f"temperature: the noise has {ratio[0]:.3g} times the variance that belongs to the drift{why}; {it_is}; the samples are those of p^{1 / ratio[0]:.3g}"
    square = var / drift**2
    if np.ptp(square) <= 2 * error * square.max():
        return f"noise without root: {it_is}, where sqrt(2 D) z belongs to D score"
    if D_law and B_law and D_law[1] != {"step": 1} and B_law[1] == {"step": 0.5}:
        return f"scale of the drift: it is {D} x score for a noise of {B} z, where D score belongs to sqrt(2 D) z"
    return f"scale of the noise: {it_is}, where Euler's step with a drift of D score has sqrt(2 D) z, at every {next(iter(settings[0]))}"


# ------------------------------------------------------------------------------- known steps from a level to the next


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


class KnownStep(NamedTuple):
    """A known step: its kind, its name, and (alpha, gamma, b^2) of a `Place` (and of gamma, where it may be any); gamma a tuple where fn is asked more than once."""

    kind: str
    name: str
    of: Callable[..., tuple]
    levels: tuple[int, ...] = (0,)  # 0 where a call of fn is told this level, 1 where the next


def _heun_in_noise(p):
    """In rho = sigma / c: x'/c' = x/c + (rho' - rho) (eps_0 + eps_1)/2."""
    fall = p.d * (p.s / p.c - p.t / p.d) / 2
    return p.r, (fall * p.s, fall * p.t), np.zeros_like(p.s)


def _heun_on_line(p):
    """x' = x + h (v_0 + v_1)/2 with the velocity v = eps - x_0 = -(x + sigma score)/c of c = 1 - sigma."""
    h = p.t - p.s
    alpha = 1 - h / 2 * (1 / p.c + (1 - h / p.c) / p.d)
    return alpha, (h / 2 * p.s / p.c * (h / p.d - 1), -h / 2 * p.t / p.d), np.zeros_like(p.s)


def _ddim_with_noise(p, gamma):
    """x' = c' x_0 + q eps + b z, which have q^2 + b^2 = sigma'^2; turned round, the direction to eps would leave as much room for noise."""
    q = p.r * p.s - gamma / p.s
    return p.r, gamma, np.where(q > -1e-6 * p.s, p.t**2 - q**2, np.nan)


KNOWN_STEPS = (
    KnownStep("ancestral", "an ancestral step (posterior variance)", lambda p: (p.r, p.r * p.beta, p.beta * (p.t / p.s) ** 2)),
    KnownStep("ancestral", "an ancestral step with the forward variance beta", lambda p: (p.r, p.r * p.beta, p.beta)),
    KnownStep("ddim", "DDIM, the probability flow in sigma / c", lambda p: (p.r, p.r * p.s**2 - p.s * p.t, np.zeros_like(p.s))),
    KnownStep("euler", "a reverse-diffusion step", lambda p: (2 - 1 / p.r, p.beta, p.beta)),
    KnownStep("euler", "an Euler-Maruyama step of the reverse SDE", lambda p: (1 + (1 - p.r**-2) / 2, p.beta, p.beta)),
    KnownStep("euler", "an Euler step of the probability flow", lambda p: (1 + (1 - p.r**-2) / 2, p.beta / 2, np.zeros_like(p.s))),
    KnownStep("euler", "a reverse-diffusion step of the probability flow", lambda p: (2 - 1 / p.r, p.beta / 2, np.zeros_like(p.s))),
    KnownStep("euler", "an Euler-Maruyama step of the reverse SDE in continuous time", lambda p: (1 + p.clock, 2 * p.clock, 2 * p.clock)),
    KnownStep("euler", "an Euler step of the probability flow in continuous time", lambda p: (1 + p.clock, p.clock, np.zeros_like(p.s))),
    KnownStep("euler", "an Euler-Maruyama step of the reverse SDE in sigma", lambda p: (p.r, 2 * p.s * (p.s - p.t), 2 * p.s * (p.s - p.t))),
    KnownStep("heun", "Heun's step of the probability flow", _heun_in_noise, (0, 1)),
    KnownStep("heun", "Heun's step along a straight path", _heun_on_line, (0, 1)),
)  # fmt: skip
STEPS_OF_A_DRIFT = (  # a drift g of any size, with the noise that belongs to it; between flow and SDE dx = (f - (1 + l^2)/2 g^2 score) dt + l g dw
    KnownStep("ddim", "DDIM with noise, eta = {eta}", _ddim_with_noise),
    KnownStep("euler", "an Euler step between the probability flow and the reverse SDE", lambda p, g: (1 + (1 - p.r**-2) / 2, g, 2 * g - p.beta)),
    KnownStep("euler", "an Euler step between the probability flow and the reverse SDE", lambda p, g: (2 - 1 / p.r, g, 2 * g - p.beta)),
)  # fmt: skip
DDIM_WITH_NOISE = STEPS_OF_A_DRIFT[0]


# ------------------------------------------------------------------------------- the known mistakes


def _with(**changes):
    """A place with other entries: functions of the place."""
    return lambda p: p._replace(**{name: change(p) for name, change in changes.items()})


def _next(a, last=None):
    """The entries of the next level; that of the last one once more, or another."""
    return np.append(a[1:], a[-1] if last is None else last)


def _of_single_steps(p):
    """c of each level over that of the less noisy one after it, of a variance-preserving ladder; the last over 1."""
    c, d = p.c / p.d, p.d / np.append(p.d[1:], 1.0)
    return Place(c, np.sqrt(1 - c**2), d, np.sqrt(1 - d**2))


PLACES = {  # which level is taken for which
    "sigma of the next level where that of this one belongs": _with(s=lambda p: p.t),
    "sigma of this level where that of the next one belongs": _with(t=lambda p: p.s),
    "this level and the next one exchanged": _with(c=lambda p: p.d, s=lambda p: p.t, d=lambda p: p.c, t=lambda p: p.s),
    "levels shifted by one: those of the step after this one": _with(c=lambda p: p.d, s=lambda p: p.t, d=lambda p: _next(p.d), t=lambda p: _next(p.t)),
    "levels shifted by one: those of the step after this one, the last of them data without noise": _with(c=lambda p: p.d, s=lambda p: p.t, d=lambda p: _next(p.d, 1.0), t=lambda p: _next(p.t, 0.0)),
    "a level skipped: the one after the next stands where the next one belongs": _with(d=lambda p: _next(p.d), t=lambda p: _next(p.t)),
    "alpha_bar in place of its root": _with(c=lambda p: p.c**2, d=lambda p: p.d**2),
    "the root of c taken once more": _with(c=lambda p: np.sqrt(p.c), d=lambda p: np.sqrt(p.d)),
    "sigma^2 in place of sigma": _with(s=lambda p: p.s**2, t=lambda p: p.t**2),
    "the root of sigma in place of sigma": _with(s=lambda p: np.sqrt(p.s), t=lambda p: np.sqrt(p.t)),
    "sigma^2 in place of sigma, at this level": _with(s=lambda p: p.s**2),
    "sigma^2 in place of sigma, at the next level": _with(t=lambda p: p.t**2),
    "alpha_bar in place of its root, at this level": _with(c=lambda p: p.c**2),
    "alpha_bar in place of its root, at the next level": _with(d=lambda p: p.d**2),
    "alpha of the single step in place of alpha_bar, the product of all": _of_single_steps,
    "x_0 not scaled: c of this level left out": _with(c=lambda p: np.ones_like(p.c)),
    "c of the next level left out": _with(d=lambda p: np.ones_like(p.d)),
}  # fmt: skip
DRIFTS = {  # factors of gamma, two of them for steps that ask twice
    "drift halved": lambda p: 0.5,
    "drift doubled (the sum of two slopes for their mean?)": lambda p: 2.0,
    "sign of the drift": lambda p: -1.0,
    "no drift: the score is not used": lambda p: 0.0,
    "eps taken for the score": lambda p: -p.s,
    "the score taken for eps": lambda p: -1 / p.s,
    "sigma of the next level in front of the score": lambda p: p.t / p.s,
    "score multiplied by sigma/sigma'": lambda p: p.s / p.t,
    "drift divided by sigma, as where the root of 1 - alpha_bar is left out": lambda p: 1 / p.s,
    "drift multiplied by sigma": lambda p: p.s,
    "drift divided by sigma^2": lambda p: p.s**-2.0,
    "drift multiplied by sigma^2": lambda p: p.s**2,
    "drift divided by the scale r of x": lambda p: 1 / p.r,
    "drift multiplied by the scale r of x": lambda p: p.r,
    "drift of the score left by sqrt(beta)": lambda p: 1 / np.sqrt(p.beta),
    "1 - alpha of the single step under the root of the drift, where 1 - alpha_bar belongs": lambda p: p.s / np.sqrt(p.beta),
    "start of the second half: Heun's mean slope is added to the predicted point, not to the first": lambda p: (3.0, 1.0),
    "sigma of each slope forgotten: the score is taken for it, where it is -sigma score": lambda p: (1 / p.s, 1 / p.t),
    "the first slope alone, twice over": lambda p: (2.0, 0.0),
    "the second slope alone, twice over": lambda p: (0.0, 2.0),
}  # fmt: skip
NOISES = {  # b^2 of what it should be
    "no noise": lambda b, p: np.zeros_like(b),
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
    "unit noise z": lambda b, p: np.ones_like(b),
    "ratio upside down, sigma/sigma' in place of sigma'/sigma in the noise": lambda b, p: b * (p.s / p.t) ** 4,
}
SCALES = {  # alpha, and the factor of the drift and of the noise, or of each
    "x not rescaled": lambda a, p: (np.ones_like(a), 1.0),
    "x scaled the other way": lambda a, p: (1 / a, 1.0),
    "x scaled twice": lambda a, p: (a**2, 1.0),
    "alpha_bar in place of alpha: the mean is divided by its root c, not by the scale of the step": lambda a, p: (
        1 / p.c,
        (1 / (p.c * p.r), 1.0),
    ),
    "alpha in place of its root: the mean is divided by the squared scale of the step": lambda a, p: (
        a * p.r,
        (p.r, 1.0),
    ),
    "sign of the step: it goes up in level": lambda a, p: (2 - a, -1.0),
    "the result not rescaled by r": lambda a, p: (a / p.r, 1 / p.r),
    "the result rescaled by r twice": lambda a, p: (a * p.r, p.r),
    "the result rescaled by 1/r": lambda a, p: (a / p.r**2, 1 / p.r**2),
}


CHANGES: dict[str, dict[str, Callable]] = {"place": PLACES, "scale": SCALES, "drift": DRIFTS, "noise": NOISES}


def changed(step, p, changes, slopes=None):
    """(alpha, gamma, b^2) of a known step with changes, {table: name}.

    slopes : (c, s) -> (a, b), fn's answer being a score + b x; a wrong level is then taken where the step uses that answer, not the score
    """
    of = {table: CHANGES[table][name] for table, name in changes.items()}
    other = of["place"](p) if "place" in of else p
    alpha, gamma, var = step.of(other)
    # alpha x + gamma score = (alpha - e b) x + e fn, with a and b of the other place, then of this one
    if slopes is not None:
        (a, b), (right_a, right_b) = slopes(other.c, other.s), slopes(p.c, p.s)
        alpha, gamma = alpha + gamma / a * (right_b - b), gamma / a * right_a
    alpha, rest = of["scale"](alpha, p) if "scale" in of else (alpha, 1.0)
    rest, noise = rest if isinstance(rest, tuple) else (rest, rest)
    factor = of["drift"](p) if "drift" in of else 1.0
    if isinstance(gamma, tuple):  # a factor of each call of fn
        factors = factor if isinstance(factor, tuple) else (factor,) * len(gamma)
        gamma = tuple(rest * f * g for f, g in zip(factors, gamma, strict=True))
    else:
        gamma = np.nan * gamma if isinstance(factor, tuple) else rest * factor * gamma
    return alpha, gamma, noise**2 * (of["noise"](var, p) if "noise" in of else var)


def sets_of_changes(many):
    """All sets of so many changes of different tables: {table: name}."""
    for tables in itertools.combinations(CHANGES, many):
        for names in itertools.product(*(CHANGES[table] for table in tables)):
            yield dict(zip(tables, names, strict=True))
