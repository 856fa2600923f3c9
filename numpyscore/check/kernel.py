r"""The perturbation of a denoising loss as its probe sees it, x~ = c x + sigma eps: c by moving x, sigma by what is told or measured.

With the loss's seed held, noise stays where it is when x moves, so (x~' - x~) / (x' - x) is c to round-off. What is left, x~ - c x, is
sigma eps. The target -eps/sigma = (c x - x~) / sigma^2 is right for every c: it gives the score of the density of c x + sigma eps.
"""

import numpy as np

from .probes import random_probe

ROWS, DIMS = 2000, 8
SIGMAS = 5.0


def with_kernel(caller, kind, setting, rng, seen):
    """The setting with the scale and the noise of the loss at its level; `seen` keeps what is known of levels."""
    if setting.level not in seen:
        seen[setting.level] = _kernel(caller, kind, setting, rng)
    scale, sigma, measured = seen[setting.level]
    return setting._replace(scale=scale, sigma=sigma, measured=measured)


def _kernel(caller, kind, setting, rng):
    """(c, sigma, whether sigma is only measured) at the level of a setting."""
    told = "sigma" in caller.takes or not ({"alpha", "t", "alphas"} & caller.takes.keys())
    as_told = 1.0, setting.level, False
    probe = random_probe(kind, setting.d, rng)
    scale = scale_and_order(caller, probe, setting, rng)
    if scale is None:
        return as_told
    if np.ptp(scale) > tolerance(caller):  # every row has a level of its own
        return scale, setting.level, False
    c = float(np.median(scale))
    if abs(c - 1) <= tolerance(caller):
        c = 1.0
        if told:
            return as_told
    size, error = _size(caller, kind, setting._replace(scale=c), rng)
    if size is None:
        return c, setting.level, False
    if size <= tolerance(caller):  # c x, and no noise
        return c, 0.0, False
    for sigma in [setting.level] * told + [np.sqrt(max(0.0, 1 - c * c)), 1 - c, 1 - c * c] + [c * setting.level] * told:
        if abs(size - sigma) <= SIGMAS * error * size:
            return c, float(sigma), False
    return c, size, "noise" not in caller.takes


def tolerance(caller):
    """How exactly c is known."""
    return 1e4 * caller.eps


def scale_and_order(caller, probe, setting, rng):
    """`scale_of` with the rows in order: of several noisy points for each row, the batch again and again or one row after the other."""
    for caller.interleaved in (False, True):
        scale = scale_of(caller, probe, setting, rng)
        if scale is not None:
            return scale
    caller.interleaved = False
    return None


def scale_of(caller, probe, setting, rng):
    """c of each row (k, n, 1), or None where the noisy points are not c x + noise."""
    step = rng.choice([-1.0, 1.0], setting.x.shape) * rng.uniform(0.5, 1.5, setting.x.shape)
    moved = setting._replace(x=setting.x + step)
    before, after = (caller.ask(probe, s).situation for s in (setting, moved))
    if before.shift is None or after.shift is None or before.at.shape != after.at.shape:
        return None
    ratio = (after.at - before.at) / step
    scale = np.median(ratio, axis=-1, keepdims=True)
    return None if np.abs(ratio - scale).max() > tolerance(caller) else scale


def _size(caller, kind, setting, rng):
    """Standard deviation of x~ - c x and its relative standard error; None where it is not seen."""
    x, noise = 0.3 + 1.2 * rng.standard_normal((ROWS, DIMS)), rng.standard_normal((ROWS, DIMS))
    large = setting._replace(n=ROWS, d=DIMS, x=x, extras=setting.extras | {"noise": noise})
    shift = caller.ask(random_probe(kind, DIMS, rng), large).situation.shift
    if shift is None:
        return None, 0.0
    if "noise" in caller.takes:
        return float(abs(np.median(shift / noise))), tolerance(caller)
    return float(np.sqrt(np.mean(shift**2))), 1 / np.sqrt(2 * shift.size)
