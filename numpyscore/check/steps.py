"""A user's step of a sampler: how it is called, and what is wrong with its noise, by itself or beside its drift."""

import contextlib
import inspect

import numpy as np

from ..common.arrays import to_numpy, wrapper
from .functions import Seeded
from .numbers import law, product

VARIANCE, MEAN = 1.6, 0.7  # of the Gaussian on which laws are known
SIGMAS = 5.0
REPEATED = "repeated noise: steps with different random numbers are the same; a generator or a key is made anew in each step, or there is no noise"


class Misshapen(Exception):
    """The step returned something else than points."""


class Step:
    """The user's step on ndarrays, given random numbers if a parameter asks for them; global generators are seeded too."""

    def __init__(self, where, step, wrap, arguments):
        if not callable(step):
            raise TypeError(f"{where}: step is {step!r}, expected a function step({arguments}).")
        self.where, self.make = where, wrapper(where, wrap)
        self.seeded = Seeded(step, self.make)
        self.parameters: dict[str, inspect.Parameter] | None = None
        with contextlib.suppress(TypeError, ValueError):
            self.parameters = dict(inspect.signature(step).parameters)

    def taken(self, x, seed, *told, **named):
        """The step from x (n, d)."""
        out = self.seeded(seed, self.make(x), *told, **named)
        out = to_numpy(out[0] if isinstance(out, tuple) else out, f"{self.where}: what step returned").astype(float)
        if out.shape != x.shape:
            raise Misshapen(f"shape: the step returned {out.shape}, expected {x.shape}")
        if not np.isfinite(out).all():
            raise Misshapen("not finite: the step returned NaN or infinity")
        return out


def noise_flaw(noise, independent=True):
    """What is wrong with the noise (n, d) of a step by itself: "name: sentence", or "".

    independent : whether its dimensions must be, and each of them normal; not so where a preconditioner multiplies it
    """
    (n, d), size = noise.shape, noise.std()
    largest = np.abs(noise).max()
    if largest == 0:
        return ""
    if n > 1 and np.allclose(noise, noise[:1], atol=1e-6 * largest):
        return "shared noise: all chains get the same noise in a step"
    means = noise.mean(0)
    if np.any(np.abs(means) > (SIGMAS + 1) * noise.std(0) / np.sqrt(n) + 1e-9 * size):
        return f"biased: the step has an offset of {means[0]:.3g}, whatever x is; the noise has a mean, or the score is taken at another point"
    correlation = np.corrcoef(noise.T)[np.triu_indices(d, 1)] if independent and d > 1 and np.all(noise.std(0)) else [0]
    worst = max(correlation, key=abs)
    if abs(worst) > (SIGMAS + 1) / np.sqrt(n):
        one = "one number for all dimensions of a chain" if worst > 0.999 else "they must be independent"
        return f"correlated noise: the dimensions of the noise have correlation {worst:.3g}; {one}"
    if independent and abs(np.mean((noise / size) ** 4) - 3) > (SIGMAS + 1) * np.sqrt(96 / (n * d)):
        return "noise not Gaussian: its fourth moment is not that of a normal number"
    return ""


WHY = {  # the variance of the noise over twice the drift's coefficient, and where that usually comes from
    0.5: ": the factor 2 under the root is missing, or the drift lacks its 1/2",
    2.0: ": a factor sqrt(2) too much, or the drift has a 1/2 too many",
    0.25: ": the noise is half of what it should be",
}


def in_words(values, settings, error):
    """The law of positive numbers in the settings, ("sqrt(2) sqrt(step)", (factor, exponents)), or the first of them and None."""
    found = law(values, settings, error, odd=tuple(settings[0])) if np.all(values > 0) or np.all(values < 0) else None
    return (product(found[0], found[1], 2e-2), found) if found else (f"{values[0]:.4g}", None)


@np.errstate(all="ignore")
def langevin_flaw(drift, var, error, settings):
    """What is wrong with the noise of x + D score + sqrt(var) z, which has var = 2 D: "name: sentence", or "".

    drift, var : (k,), D and var in k settings, such as [{"step": 0.2}, {"step": 0.1}], of which they may be powers
    error : relative, of var
    """
    if np.all(var <= 1e-12):
        return "no noise: the step only climbs to the mode; it is gradient ascent, not Langevin"
    if np.all(np.abs(drift) < 1e-9):
        return "no drift: the score is not used; this is a random walk"
    if np.all(drift < 0):
        return "sign of the drift: the step moves away from the mode, along grad E instead of the score"
    ratio = var / (2 * drift)
    if np.all(np.abs(ratio - 1) <= error):
        return ""
    (D, D_law), (B, B_law) = in_words(drift, settings, 1e-3), in_words(np.sqrt(var), settings, error)
    it_is = f"it is {B} z for a drift of {D} score"
    if np.ptp(ratio) <= 2 * error * np.abs(ratio).max():
        why = next((text for c, text in WHY.items() if abs(ratio[0] / c - 1) <= 2 * error), "")
        return f"temperature: the noise has {ratio[0]:.3g} times the variance that belongs to the drift{why}; {it_is}; the samples are those of p^{1 / ratio[0]:.3g}"
    square = var / drift**2
    if np.ptp(square) <= 2 * error * square.max():
        return f"noise without root: {it_is}, where sqrt(2 D) z belongs to D score"
    if D_law and B_law and D_law[1] != {"step": 1} and B_law[1] == {"step": 0.5}:
        return f"scale of the drift: it is {D} x score for a noise of {B} z, where D score belongs to sqrt(2 D) z"
    return f"scale of the noise: {it_is}, where sqrt(2 D) z belongs to D score; the ratio must be the same at every {next(iter(settings[0]))}"
