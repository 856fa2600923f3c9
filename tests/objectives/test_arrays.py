"""Losses of arrays: by hand, the same as those of networks, and shapes that would broadcast refused."""

import numpy as np
import pytest
from objectives_cases import BOTH

from numpyscore.densities.weights import linear_weight
from numpyscore.networks.models import EnergyMLP
from numpyscore.objectives import arrays
from numpyscore.objectives.arrays import (
    denoising_loss,
    explicit_loss,
    finite_difference_energy_loss,
    finite_difference_score_loss,
    generalised_loss,
    implicit_loss,
    sliced_loss,
)
from numpyscore.objectives.denoising import denoising
from numpyscore.objectives.implicit import generalised
from numpyscore.objectives.sliced import finite_difference_sliced, sliced


def test_the_one_half_the_sum_over_dimensions_and_the_mean_over_samples():
    """On numbers one can check by hand: score (3, 4) and (1, 0), target 0, traces 2 and -1."""
    score, trace = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([2.0, -1.0])
    np.testing.assert_array_equal(explicit_loss(score, np.zeros((2, 2))), [12.5, 0.5])
    np.testing.assert_array_equal(explicit_loss(score, [[3, 3], [0, 0]]), [0.5, 0.5])
    np.testing.assert_array_equal(implicit_loss(score, trace), [14.5, -0.5])
    np.testing.assert_array_equal(implicit_loss(score.tolist(), trace.tolist()), [14.5, -0.5])


@BOTH
def test_arrays_from_elsewhere_give_the_same_losses(cls):
    rng, n, d = np.random.default_rng(4), 6, 3
    model, x = cls.init(d, (5, 4), "tanh", rng=rng), rng.uniform(0.1, 2, (n, d))
    v, noise, s, J = rng.standard_normal((2, n, d)), rng.standard_normal((n, d)), model.score(x), model.jacobian(x)
    K = model.curvature(x, v)
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    h, h_prime = linear_weight()
    same(generalised(model, x, h, h_prime).per_sample, generalised_loss(s, np.einsum("nii->ni", J), h(x), h_prime(x)))
    sd = rng.uniform(0.5, 2, n)
    same(
        denoising(model, x, sd, noise=noise).per_sample, denoising_loss(model.score(x + sd[:, None] * noise), noise, sd)
    )
    same(sliced(model, x, probes=v).per_sample, sliced_loss(s, K))
    same(sliced(model, x, probes=v[0]).per_sample, sliced_loss(s, K[0]))
    same(sliced(model, x, probes=v, variance_reduced=False).per_sample, sliced_loss(s, K, v))
    got = finite_difference_sliced(model, x, 1e-2, probes=v[0]).per_sample
    ends = [x - 1e-2 * v[0], x, x + 1e-2 * v[0]]
    if cls is EnergyMLP:
        np.testing.assert_allclose(got, finite_difference_energy_loss(*map(model.energy, ends), 1e-2), atol=1e-10)
    else:
        want = finite_difference_score_loss(model.score(ends[0]), model.score(ends[2]), v[0], 1e-2)
        np.testing.assert_allclose(got, want, atol=1e-12)


def test_losses_of_arrays_refuse_shapes_that_would_broadcast():
    score = np.ones((4, 3))
    for target in (np.ones(3), np.ones((1, 3)), np.ones((4, 1)), 0.0):
        with pytest.raises(ValueError, match=r"^explicit_loss: target_score has shape .* expected \(n, d\) for both"):
            explicit_loss(score, target)
    for trace in (np.ones((4, 1)), np.ones(1), 1.0, np.ones((4, 4))):
        with pytest.raises(ValueError, match=r"^implicit_loss: trace has shape .* expected \(4,\), one number per row"):
            implicit_loss(score, trace)
    with pytest.raises(ValueError, match="explicit_loss"):
        explicit_loss(np.ones(3), np.ones(3))


@BOTH
def test_control_a_square_wrong_by_one_part_in_a_billion_is_seen(cls, monkeypatch):
    right = arrays.half_square
    monkeypatch.setattr(arrays, "half_square", lambda a: right(a) * (1 + 1e-9))
    with pytest.raises(AssertionError):
        test_arrays_from_elsewhere_give_the_same_losses(cls)


def test_no_rows_have_no_losses_and_no_directions_are_refused():
    none = np.empty((0, 3))
    assert sliced_loss(none, np.empty(0)).shape == sliced_loss(none, np.empty((2, 0))).shape == (0,)
    with pytest.raises(ValueError, match=r"curvature has shape \(0, 0\)"):
        sliced_loss(none, np.empty((0, 0)))
