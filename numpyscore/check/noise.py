"""The noise that a denoising loss really adds, as its probe saw it: its size, its law, and whether every row has its own."""

from typing import NamedTuple

import numpy as np

from .naming import Naming
from .probes import random_probe
from .report import FAIL, INCONCLUSIVE

ROWS = 2000
SIGMAS = 5.0  # a difference of this many standard errors is one


class Noise(NamedTuple):
    """`naming` if something is wrong with it; measured variance in units of sigma^2, and its relative standard error."""

    naming: Naming | None
    measured: np.ndarray  # (G,)
    error: float
    unsure: bool = False  # sigma itself is known by measurement alone

    def variance(self, ratio):
        """The variance (G,) to judge a target by, for a measured ratio of linear and square coefficient."""
        if not self.unsure and np.all(np.abs(self.measured - 1) <= SIGMAS * self.error):
            return np.ones(len(self.measured))
        if np.all(np.abs(ratio * self.measured - 1) <= SIGMAS * self.error):
            return 1 / ratio
        return self.measured


def noise_of(caller, evidence, rng):
    """What the noise of a denoising loss is like, in every setting."""
    settings = [g.setting for g in evidence.groups]
    if "noise" in caller.takes:
        given = [g.setting.extras["noise"] for g in evidence.groups]
        size = [
            np.mean(g.situations[0].shift * e, axis=(1, 2), keepdims=True) / (s.sigma * np.mean(e * e))
            for g, e, s in zip(evidence.groups, given, settings, strict=True)
        ]  # of each block of noisy points: antithetic ones have both signs
        same = all(
            np.allclose(g.situations[0].shift, c * s.sigma * e, atol=1e3 * caller.eps * np.abs(g.setting.x).max())
            and np.allclose(np.abs(c), np.abs(c[0]))
            for g, c, e, s in zip(evidence.groups, size, given, settings, strict=True)
        )
        if not same:
            text = "noise: the noisy points are not x + sigma noise with the noise that was given; another noise is drawn, or x is changed"
            return Noise(Naming(FAIL, text, "x~ - x is not proportional to the noise"), np.ones(len(settings)), 0.0)
        return Noise(None, np.array([float(c.flat[0]) for c in size]) ** 2, 1e3 * caller.eps)
    d, by_level, error = 2, {}, 0.0
    for base in {s.level: s for s in settings}.values():
        x = 0.3 + 1.2 * rng.standard_normal((ROWS, d))
        setting = base._replace(n=ROWS, d=d, x=x, seed=base.seed + 1)
        shift = caller.ask(random_probe(evidence.kind, d, rng), setting).situation.shift
        if shift is None:
            return Noise(None, np.ones(len(settings)), 0.0)
        eps = shift[0] / base.sigma
        wrong = law(eps, x)
        if wrong is not None and not evidence.repeatable and wrong.diagnosis.startswith(("biased", "x is scaled")):
            text = "hidden randomness: the noise comes from a generator that cannot be seeded, and x is scaled or shifted; let the loss take rng= or noise="
            wrong = Naming(INCONCLUSIVE, text, wrong.pattern)
        if wrong is not None:
            return Noise(wrong, np.ones(len(settings)), 0.0)
        by_level[base.level] = float(np.mean(eps**2))
        error = np.sqrt(2 / eps.size)
    measured = np.array([by_level[s.level] for s in settings])
    return Noise(None, measured, error * measured.max(), any(s.measured for s in settings))


def law(eps, x):
    """A FAIL if the noise is shared by rows or dimensions, biased, correlated with x, or not Gaussian."""
    z = eps / eps.std()
    if np.allclose(eps, eps[:1], atol=1e-9 * np.abs(eps).max()):
        return Naming(
            FAIL, "shared noise: every row gets the same noise; draw one for each row", "x~ - x is the same in all rows"
        )
    if np.allclose(eps, eps[:, :1], atol=1e-9 * np.abs(eps).max()):
        return Naming(
            FAIL, "shared noise: every dimension of a row gets the same noise", "x~ - x is the same in all columns"
        )
    root = np.sqrt(z.size)
    tests = {
        "biased noise: its mean is not zero": z.mean() * root,
        "not Gaussian: the target -eps/sigma is right for Gaussian noise alone": (np.mean(z**4) - 3)
        * root
        / np.sqrt(96),
        "skewed noise: its third moment is not zero": np.mean(z**3) * root / np.sqrt(15),
    }
    slope = np.sum(z * (x - x.mean(0))) / np.sum((x - x.mean(0)) ** 2)
    tests["x is scaled: the noisy points are not x + noise, but c x + noise (variance preserving?)"] = slope * np.sqrt(
        np.sum((x - x.mean(0)) ** 2)
    )
    for text, score in tests.items():
        if abs(score) > SIGMAS:
            return Naming(FAIL, text, f"z = {score:.1f} on {z.size} numbers")
    return None
