"""Shipped data against published facts, synthetic sets against their laws, and the CSV reader against every file we could think of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpyscore.data import datasets
from numpyscore.data.datasets import standardise

SETS = ["two_moons", "eight_gaussians", "checkerboard", "swiss_roll", "rings", "song_ermon_mixture"]


def test_old_faithful_is_the_published_table():
    x = datasets.old_faithful()  # R: dim(faithful), colMeans(faithful), range, cor
    assert x.shape == (272, 2) and x.dtype == float
    np.testing.assert_allclose(x.mean(axis=0), [3.4877831, 70.8970588], atol=5e-8)
    assert x.min(axis=0).tolist() == [1.6, 43] and x.max(axis=0).tolist() == [5.1, 96]
    assert round(np.corrcoef(x.T)[0, 1], 7) == 0.9008112


def test_digits_are_the_published_table():
    x, y = datasets.digits(labels=True)  # scikit-learn: load_digits
    assert x.shape == (1797, 64) and y.dtype.kind == "i"
    assert x.min() == 0 and x.max() == 16 and np.all(x == np.round(x)) and x.sum() == 561718
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.array_equal(datasets.digits(), x)


def test_shipped_data_are_fresh_copies():
    datasets.old_faithful()[:] = 0
    assert datasets.old_faithful().min() > 1


# ---- synthetic sets


@pytest.mark.parametrize("name", SETS)
def test_a_seed_decides_every_bit(name):
    make = getattr(datasets, name)
    x = make(50, rng=3)
    assert x.shape == (50, 2) and x.dtype == float and np.isfinite(x).all()
    assert np.array_equal(x, make(50, rng=np.random.default_rng(3))) and not np.array_equal(x, make(50, rng=4))
    assert make(0, rng=3).shape == (0, 2)
    with pytest.raises(ValueError, match=f"{name}: n is -1"):
        make(-1)
    with pytest.raises(TypeError, match="rng"):
        make(3, rng="seed")


def test_song_ermon_mixture_has_its_moments():
    n = 40_000
    x = datasets.song_ermon_mixture(n, rng=0)
    # mean 4/5*5 - 1/5*5 = 3; variance 1 + 25 - 9 = 17; covariance 25 - 9 = 16. Five standard errors each.
    np.testing.assert_allclose(x.mean(axis=0), 3, atol=5 * np.sqrt(17 / n))
    np.testing.assert_allclose(np.cov(x.T), [[17, 16], [16, 17]], atol=5 * 26 / np.sqrt(n))
    near = x[:, 0] + x[:, 1] > 0
    assert abs(near.mean() - 0.8) < 5 * np.sqrt(0.16 / n)
    np.testing.assert_allclose(np.cov(x[near].T), np.eye(2), atol=5 * np.sqrt(2 / (0.8 * n)))  # not a point mass


def test_without_noise_the_sets_lie_on_their_curves():
    radius = np.linalg.norm(datasets.rings(500, noise=0, rng=0), axis=1)
    np.testing.assert_allclose(radius, np.round(radius), atol=1e-14)
    assert set(np.round(radius)) == {1, 2, 3, 4}
    x = datasets.swiss_roll(500, noise=0, rng=0)
    t = 5 * np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(np.arctan2(x[:, 1], x[:, 0]), np.angle(np.exp(1j * t)), atol=1e-12)
    assert 1.5 * np.pi <= t.min() and t.max() <= 4.5 * np.pi
    centres = datasets.eight_gaussians(500, noise=0, rng=0)
    assert len(np.unique(np.round(centres, 9) + 0.0, axis=0)) == 8
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 4)
    x = datasets.two_moons(500, noise=0, rng=0)
    upper, lower = np.linalg.norm(x, axis=1), np.linalg.norm(x - [1, 0.5], axis=1)
    on_upper, on_lower = np.isclose(upper, 1) & (x[:, 1] >= 0), np.isclose(lower, 1) & (x[:, 1] <= 0.5)
    assert np.all(on_upper | on_lower) and on_upper.sum() > 150 and on_lower.sum() > 150


def test_checkerboard_is_uniform_on_the_dark_squares():
    n = 8000
    square = np.floor(datasets.checkerboard(n, rng=0) / 2).astype(int) + 2
    assert np.all(square.sum(axis=1) % 2 == 0)
    counts = np.bincount(4 * square[:, 0] + square[:, 1], minlength=16)
    assert np.count_nonzero(counts) == 8
    assert np.abs(counts[counts > 0] - n / 8).max() < 5 * np.sqrt(n / 8)


@pytest.mark.parametrize("noise", [-1, np.nan, "much"])
def test_noise_is_a_standard_deviation(noise):
    with pytest.raises((ValueError, TypeError), match="two_moons: noise"):
        datasets.two_moons(3, noise=noise)


# ---- standardise


def test_standardise_is_accurate_far_from_the_origin():
    x = np.stack([1e9 + np.random.default_rng(0).standard_normal(1000), np.arange(1000) * 1e-300], axis=1)
    exact = np.array([float(v) - 1e9 for v in x[:, 0]])  # exact: Sterbenz
    before = x.copy()
    z, mean, scale, constant = standardise(x)
    assert np.array_equal(x, before) and constant == ()
    np.testing.assert_allclose(scale[0], exact.std(), rtol=1e-12)
    assert abs(mean[0] - 1e9 - exact.mean()) <= np.spacing(1e9)  # a one-pass variance would be wrong by 100
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=2e-7)  # half a unit of the mean's last digit
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_array_equal(z[:, 0], (x[:, 0] - mean[0]) / scale[0])


def test_a_constant_column_is_named_and_keeps_scale_1():
    x = np.array([[0.1 + 0.2, 7, 1], [0.3, 7, 2], [0.3, 7, 4]])  # 0.1 + 0.2 differs from 0.3 by one rounding
    z, mean, scale, constant = standardise(x, columns=["a", "b", "c"])
    assert constant == ("a", "b") and scale.tolist()[:2] == [1, 1] and mean[1] == 7
    assert np.all(z[:, :2] == 0) and np.isclose(z[:, 2].std(), 1)
    assert standardise(x).constant == (0, 1)


@given(st.lists(st.floats(-1.7e308, 1.7e308, allow_subnormal=False), min_size=2, max_size=8))
def test_standardise_at_any_magnitude(values):
    z, mean, scale, constant = standardise(np.array(values)[:, None])
    assert np.isfinite(z).all() and np.isfinite(mean).all() and (scale > 0).all()
    if not constant:
        np.testing.assert_allclose(np.sqrt(np.mean(z**2)), 1, rtol=1e-6)


def test_standardise_keeps_float32_and_refuses_what_has_no_mean():
    assert {a.dtype for a in standardise(np.ones((3, 2), np.float32))[:3]} == {np.dtype(np.float32)}
    assert standardise(np.array([[1], [3]])).x.tolist() == [[-1], [1]]
    for bad in (np.empty((0, 2)), np.ones((2, 2)) * 1j, np.array([[np.nan]])):
        with pytest.raises(ValueError, match="standardise: x"):
            standardise(bad)
    with pytest.raises(ValueError, match="one per column"):
        standardise(np.ones((2, 2)), columns=["a"])
