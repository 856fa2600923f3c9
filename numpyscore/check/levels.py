"""Which noise level each row of a multilevel loss has: the entry of sigmas whose change moves its noisy point, while the seed stays."""

from typing import NamedTuple

import numpy as np

from .calling import Setting
from .kernel import SIGMAS, scale_and_order, tolerance
from .noise import law
from .probes import random_probe

CHANGE = 0.8  # of one sigma; levels stay in order
ROWS = 2000
SIZES = (  # variance exploding, preserving, straight line, and c (x + sigma eps): standard deviation of the noise, from what is told and the scale c of the data
    lambda sigma, c: sigma,
    lambda sigma, c: np.sqrt(np.maximum(1 - c * c, 0)),
    lambda sigma, c: 1 - c,
    lambda sigma, c: c * sigma,
)
BY_SCALE = SIZES[1:3]  # those that c alone tells


SEVERAL = "the noise of a row does not depend on one of sigmas alone"


class Unseen(Exception):
    """The levels of rows cannot be told; the text says why."""


class Rows(NamedTuple):
    """What a call of a multilevel loss does to its rows, seen k at a time: each an array (k, n) or (k, n, 1)."""

    level: np.ndarray  # (k, n), index into sigmas
    scale: np.ndarray  # (k, n, 1)
    sigma: np.ndarray  # (k, n, 1), as told
    told: np.ndarray | None  # (k, n), what fn is told beside x; None if nothing, or nothing of that shape


def joint_setting(caller, rng, n, d, L, noise_per_level):
    """Data and everything that a multilevel loss may take, with L distinct levels, the largest first."""
    sigmas = 0.95 * np.geomspace(1, 0.3, L) * rng.uniform(0.97, 1.0, L)
    extras = {
        "sigmas": sigmas,
        "noise": rng.standard_normal((L, n, d) if noise_per_level else (n, d)),
        "level": np.concatenate([np.arange(L), rng.integers(0, L, n - L)])[rng.permutation(n)],
    }
    x = 0.3 + 1.2 * rng.standard_normal((n, d))
    return Setting(n, d, sigmas.min(), 1, int(rng.integers(1 << 31)), x, extras, 1.0, 1.0, False, L)


def rows_of(caller, kind, setting, rng):
    """The `Rows` of a setting; raises `Unseen`."""
    probe, sigmas = random_probe(kind, setting.d, rng), setting.extras["sigmas"]
    scale = scale_and_order(caller, probe, setting, rng)
    if scale is None and not _held(caller, probe, setting):
        raise Unseen("it draws noise that no seed holds; let the loss take rng= (or key, generator, noise)")
    if scale is None:
        raise Unseen("the noisy points are not seen, or are not c x + noise")
    answer = caller.ask(probe, setting)
    at, told = answer.situation.at, caller.told
    moved = []
    for k in range(len(sigmas)):
        changed = np.where(np.arange(len(sigmas)) == k, CHANGE, 1.0) * sigmas
        now = caller.ask(probe, setting._replace(extras=setting.extras | {"sigmas": changed})).situation.at
        if now.shape != at.shape:
            raise Unseen("the number of noisy points changes with sigmas")
        moved.append(np.abs(now - at).max(axis=-1) > 256 * caller.eps * np.abs(at).max())
    moves = np.array(moved)
    if np.any(moves.sum(0) != 1):
        raise Unseen(SEVERAL)
    level = moves.argmax(0)
    scale = np.where(np.abs(scale - 1) <= tolerance(caller), 1.0, scale)
    told = None if told is None or told.shape != level.shape else told
    return Rows(level, scale, sigmas[level][..., None], told)


def _held(caller, probe, setting):
    """Whether the noisy points of two calls with the same seed are the same."""
    once, again = (caller.ask(probe, setting).situation.at for _ in range(2))
    return np.array_equal(once, again)


def with_rows(setting, rows, size):
    """The setting, its noisy points known to be scale x + size(sigma, c) eps."""
    return setting._replace(scale=rows.scale, sigma=size(rows.sigma, rows.scale))


def noise_size(caller, kind, rng, noise_per_level):
    """Which of `SIZES` the noise has, from many rows; raises `Unseen` where it is of another size, or not Gaussian."""
    setting = joint_setting(caller, rng, ROWS, 2, 3, noise_per_level)
    rows = rows_of(caller, kind, setting, rng)
    at = caller.ask(random_probe(kind, 2, rng), setting).situation.at
    for size in SIZES:
        with np.errstate(all="ignore"):
            eps = (at - rows.scale * setting.x) / size(rows.sigma, rows.scale)
        if np.all(np.isfinite(eps)) and all(unit(eps[rows.level == k]) for k in np.unique(rows.level)):
            wrong = next((w for e in eps if (w := law(e, setting.x)) is not None), None)
            if wrong is not None:
                raise Unseen(wrong.diagnosis)
            return size
    raise Unseen("the noise is not of the size that sigmas say")


def unit(eps):
    """Whether the mean square of eps is 1 within its standard error."""
    return abs(np.mean(eps**2) - 1) <= SIGMAS * np.sqrt(2 / eps.size)


def given_noise_is_used(setting, rows, size, shift):
    """Whether the noisy points have the noise that the loss was given."""
    noise = setting.extras["noise"]
    eps = noise[None] if noise.ndim == 2 else np.take_along_axis(noise, rows.level[..., None], axis=0)
    return np.allclose(shift, size(rows.sigma, rows.scale) * eps, atol=1e-4)
