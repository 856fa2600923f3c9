"""The known steps from a noise level to the next as three formulas each, and what people change in them.

x' = alpha x + sum_k gamma_k score_k + b z. A new step is a row of `KNOWN_STEPS`, a new mistake a row of one of the tables of changes.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


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
    """A known step: its kind, its name, and (alpha, gamma, b^2) of a `Place`; gamma a tuple where fn is asked more than once."""

    kind: str
    name: str
    of: Callable[[Place], tuple]
    levels: tuple[int, ...] = (0,)  # 0 where a call of fn is told this level, 1 where the next


def _heun_in_noise(p):
    """In rho = sigma / c: x'/c' = x/c + (rho' - rho) (eps_0 + eps_1)/2."""
    fall = p.d * (p.s / p.c - p.t / p.d) / 2
    return p.r, (fall * p.s, fall * p.t), 0 * p.s


def _heun_on_line(p):
    """x' = x + h (v_0 + v_1)/2 with the velocity v = eps - x_0 = -(x + sigma score)/c of c = 1 - sigma."""
    h = p.t - p.s
    alpha = 1 - h / 2 * (1 / p.c + (1 - h / p.c) / p.d)
    return alpha, (h / 2 * p.s / p.c * (h / p.d - 1), -h / 2 * p.t / p.d), 0 * p.s


KNOWN_STEPS = (
    KnownStep("ancestral", "an ancestral step (posterior variance)", lambda p: (p.r, p.r * p.beta, p.beta * (p.t / p.s) ** 2)),
    KnownStep("ancestral", "an ancestral step with the forward variance beta", lambda p: (p.r, p.r * p.beta, p.beta)),
    KnownStep("ddim", "DDIM, the probability flow in sigma / c", lambda p: (p.r, p.r * p.s**2 - p.s * p.t, 0 * p.s)),
    KnownStep("euler", "a reverse-diffusion step", lambda p: (2 - 1 / p.r, p.beta, p.beta)),
    KnownStep("euler", "an Euler-Maruyama step of the reverse SDE", lambda p: (1 + (1 - p.r**-2) / 2, p.beta, p.beta)),
    KnownStep("euler", "an Euler step of the probability flow", lambda p: (1 + (1 - p.r**-2) / 2, p.beta / 2, 0 * p.s)),
    KnownStep("euler", "a reverse-diffusion step of the probability flow", lambda p: (2 - 1 / p.r, p.beta / 2, 0 * p.s)),
    KnownStep("euler", "an Euler-Maruyama step of the reverse SDE in continuous time", lambda p: (1 + p.clock, 2 * p.clock, 2 * p.clock)),
    KnownStep("euler", "an Euler step of the probability flow in continuous time", lambda p: (1 + p.clock, p.clock, 0 * p.s)),
    KnownStep("euler", "an Euler-Maruyama step of the reverse SDE in sigma", lambda p: (p.r, 2 * p.s * (p.s - p.t), 2 * p.s * (p.s - p.t))),
    KnownStep("heun", "Heun's step of the probability flow", _heun_in_noise, (0, 1)),
    KnownStep("heun", "Heun's step along a straight path", _heun_on_line, (0, 1)),
)  # fmt: skip


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
DRIFTS = {  # factors of gamma, two of them for steps that ask twice
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
    "start of the second half: Heun's mean slope is added to the predicted point, not to the first": lambda p: (
        3.0,
        1.0,
    ),
    "the first slope alone, twice over": lambda p: (2.0, 0.0),
    "the second slope alone, twice over": lambda p: (0.0, 2.0),
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


CHANGES: dict[str, dict[str, Callable]] = {"place": PLACES, "scale": SCALES, "drift": DRIFTS, "noise": NOISES}


def changed(step, p, changes):
    """(alpha, gamma, b^2) of a known step with changes, {table: name}."""
    of = {table: CHANGES[table][name] for table, name in changes.items()}
    alpha, gamma, var = step.of(of["place"](p) if "place" in of else p)
    alpha, rest = of["scale"](alpha, p) if "scale" in of else (alpha, 1.0)
    factor = of["drift"](p) if "drift" in of else 1.0
    if isinstance(gamma, tuple):  # a factor of each call of fn
        factors = factor if isinstance(factor, tuple) else (factor,) * len(gamma)
        gamma = tuple(rest * f * g for f, g in zip(factors, gamma, strict=True))
    else:
        gamma = np.nan * gamma if isinstance(factor, tuple) else rest * factor * gamma
    return alpha, gamma, rest**2 * (of["noise"](var, p) if "noise" in of else var)


def sets_of_changes(many):
    """All sets of so many changes of different tables: {table: name}."""
    for tables in itertools.combinations(CHANGES, many):
        for names in itertools.product(*(CHANGES[table] for table in tables)):
            yield dict(zip(tables, names, strict=True))
