"""Data to learn from: two real tables shipped with the package, six synthetic sets.

A synthetic set is `name(n, ..., *, rng=)` -> (n, 2) array of independent samples, without units; one seed, one result.
"""

from importlib import resources
from typing import NamedTuple

import numpy as np

from ..common import inputs
from .csv import from_csv


class Standardised(NamedTuple):
    """Columns of mean 0 and standard deviation 1: x (n, d), mean (d,) and scale (d,) in [x], the constant columns."""

    x: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    constant: tuple


# ---- shipped and synthetic data


def _shipped(name, **how):
    with resources.as_file(resources.files(__package__) / name) as path:
        return from_csv(path, **how).x


def old_faithful():
    """Eruption time and waiting time to the next eruption of the Old Faithful geyser, (272, 2) array in minutes.

    Source: the `faithful` table of R's datasets package (W. Haerdle); Azzalini & Bowman (1990).
    Test: test_datasets.py::test_old_faithful_is_the_published_table
    """
    return _shipped("old_faithful.csv")


def digits(labels=False):
    """Handwritten digits of 8 x 8 pixels, (1797, 64) array of grey levels from 0 (paper) to 16 (ink).

    Parameters
    ----------
    labels : bool
        Return (pixels, labels) instead of the pixels alone.

    Source: E. Alpaydin & C. Kaynak, UCI machine learning repository, test part, CC BY 4.0.
    Test: test_datasets.py::test_digits_are_the_published_table
    """
    table = _shipped("digits.csv.gz", header=False)
    x = table[:, :64].copy()
    return (x, table[:, 64].astype(int)) if labels else x


def _start(where, n, rng, noise=0):
    zero = isinstance(noise, int | float) and noise == 0
    noise = 0.0 if zero else inputs.positive(where, "noise", noise)
    return inputs.count(where, "n", n, least=0), inputs.generator(where, rng), noise


def _ring(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def two_moons(n, *, noise=0.1, rng=None):
    """Two interleaved half circles of radius 1 around (0, 0) and (1, 1/2), equally likely.

    Parameters
    ----------
    n : int, number of samples
    noise : float, standard deviation of the Gaussian noise on each coordinate
    rng : seed or numpy.random.Generator
    """
    n, rng, noise = _start("two_moons", n, rng, noise)
    lower, angle = rng.integers(2, size=(n, 1)), np.pi * rng.random(n)
    return (1 - 2 * lower) * _ring(angle) + lower * [1, 0.5] + noise * rng.standard_normal((n, 2))


def eight_gaussians(n, *, noise=0.5, rng=None):
    """Eight equally likely Gaussians with centres on a circle of radius 4.

    Parameters
    ----------
    n : int, number of samples
    noise : float, standard deviation of each Gaussian
    rng : seed or numpy.random.Generator
    """
    n, rng, noise = _start("eight_gaussians", n, rng, noise)
    return 4 * _ring(np.pi / 4 * rng.integers(8, size=n)) + noise * rng.standard_normal((n, 2))


def checkerboard(n, *, rng=None):
    """Uniform on the eight dark squares, of side 2, of a 4 x 4 board on [-4, 4)^2; the corner (-4, -4) is dark.

    Parameters
    ----------
    n : int, number of samples
    rng : seed or numpy.random.Generator
    """
    n, rng, _ = _start("checkerboard", n, rng)
    column, row = rng.integers([4, 2], size=(n, 2)).T
    return 2 * (np.stack([column, 2 * row + column % 2], axis=1) + rng.random((n, 2))) - 4


def swiss_roll(n, *, noise=0.1, rng=None):
    """The planar spiral t (cos t, sin t) / 5 with t uniform in [1.5 pi, 4.5 pi], a turn and a half.

    Parameters
    ----------
    n : int, number of samples
    noise : float, standard deviation of the Gaussian noise on each coordinate
    rng : seed or numpy.random.Generator
    """
    n, rng, noise = _start("swiss_roll", n, rng, noise)
    t = np.pi * rng.uniform(1.5, 4.5, n)
    return t[:, None] / 5 * _ring(t) + noise * rng.standard_normal((n, 2))


def rings(n, *, noise=0.08, rng=None):
    """Four equally likely concentric circles of radius 1, 2, 3 and 4.

    Parameters
    ----------
    n : int, number of samples
    noise : float, standard deviation of the Gaussian noise on each coordinate
    rng : seed or numpy.random.Generator
    """
    n, rng, noise = _start("rings", n, rng, noise)
    radius, angle = rng.integers(1, 5, size=(n, 1)), 2 * np.pi * rng.random(n)
    return radius * _ring(angle) + noise * rng.standard_normal((n, 2))


def song_ermon_mixture(n, *, rng=None):
    """1/5 N((-5, -5), I) + 4/5 N((5, 5), I): Langevin without annealing gets the weights wrong.

    Parameters
    ----------
    n : int, number of samples
    rng : seed or numpy.random.Generator

    Source: Song & Ermon (2019), NeurIPS 32, section 3.2.
    Test: test_datasets.py::test_song_ermon_mixture_has_its_moments
    """
    n, rng, _ = _start("song_ermon_mixture", n, rng)
    return np.where(rng.random((n, 1)) < 0.2, -5, 5) + rng.standard_normal((n, 2))


def standardise(x, columns=None):
    """Centre and scale every column: (x - mean) / scale, with the 1/n standard deviation as scale.

    A column that is constant up to rounding becomes 0 and keeps scale 1: it has no spread to divide by.

    Parameters
    ----------
    x : (n, d) array, [x], n >= 1
    columns : d names for `constant`; without them it holds column numbers, from 0

    Returns
    -------
    standardised : Standardised, x without units, mean and scale in [x]

    Test: test_datasets.py::test_standardise_is_accurate_far_from_the_origin
    """
    x = inputs.samples("standardise", x)
    if len(x) == 0 or x.dtype.kind == "c":
        raise ValueError(f"standardise: x is {x.dtype} of shape {x.shape}, expected at least one row of real numbers.")
    if columns is not None and len(columns) != x.shape[1]:
        raise ValueError(f"standardise: columns has {len(columns)} names, expected {x.shape[1]}, one per column of x.")
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(float)
    y = x.astype(np.promote_types(dtype, float))
    exponent = np.frexp(np.abs(y).max(axis=0))[1]
    y = np.ldexp(y, -exponent)  # in [-1, 1] and exact: neither sums nor squares can overflow or underflow
    constant = (np.ptp(y, axis=0) <= 8 * np.finfo(dtype).eps) | (exponent < np.finfo(dtype).minexp)
    mean = y.mean(axis=0)
    mean = np.where(constant, y[0], mean + (y - mean).mean(axis=0))  # the second pass adds what rounding left
    y -= mean
    spread = np.where(constant, 1, np.sqrt(np.mean(y**2, axis=0)))
    y = np.where(constant, 0, y / spread)
    mean, scale = np.ldexp(mean, exponent), np.ldexp(spread, np.where(constant, 0, exponent))
    named = tuple(int(i) if columns is None else columns[i] for i in np.flatnonzero(constant))
    return Standardised(y.astype(dtype), mean.astype(dtype), scale.astype(dtype), named)
