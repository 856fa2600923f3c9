"""Denoising: the constant to explicit on the Parzen density, the optimum on a Gaussian, several levels, what the network is told."""

import functools

import numpy as np
import pytest
from objectives_cases import BOTH, X

from numpyscore.densities import Parzen
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.numerics.quadrature import expectation
from numpyscore.objectives import denoising as denoising_module
from numpyscore.objectives.denoising import denoising, multilevel_denoising
from numpyscore.objectives.implicit import explicit
from numpyscore.objectives.sliced import sliced


def gauss_hermite(points, d):
    """Nodes (k, d) and weights (k,) that integrate against N(0, I)."""
    z, w = np.polynomial.hermite_e.hermegauss(points)
    w = w / w.sum()
    return (
        np.stack([a.ravel() for a in np.meshgrid(*[z] * d, indexing="ij")], 1),
        functools.reduce(np.multiply.outer, [w] * d).ravel(),
    )


def integrated_denoising(model, x, sd, points):
    """E over the noise of the mean of denoising, by Gauss-Hermite."""
    z, w = gauss_hermite(points, x.shape[1])
    everywhere, noise = np.repeat(x, len(z), axis=0), np.tile(z, (len(x), 1))
    return denoising(model, everywhere, sd, noise=noise).per_sample.reshape(len(x), -1).mean(0) @ w


@BOTH
@pytest.mark.parametrize("d, points", [(1, 80), (2, 50)])
def test_denoising_minus_explicit_on_the_parzen_density_is_the_constant_at_finite_n(cls, d, points):
    """Vincent (2011): J_D - J_E(q) = 1/2 (d/sigma^2 - E_q |grad log q|^2), exactly, with q the Parzen mixture."""
    rng = np.random.default_rng(d)
    x, sd = rng.standard_normal((3, d)), 0.8
    q, conditional = Parzen(x, sd), d == 1
    told = {"sigma": sd} if conditional else {}
    model = cls.init(d, (5, 4), "sin", rng=3, conditional=conditional)
    model = model.with_theta(0.4 * model.theta)  # sin is entire, and slow at these weights: Gauss-Hermite converges
    fisher = lambda y: 0.5 * np.sum(q.score(y) ** 2, 1)
    explicit_there = expectation(lambda y: explicit(model, y, q.score(y), **told).per_sample, q).value
    gap = integrated_denoising(model, x, sd, points) - explicit_there
    assert abs(gap - (0.5 * d / sd**2 - expectation(fisher, q).value)) < 1e-10


def scaled_identity(lam, d):
    """An EnergyMLP whose score is exactly -lam x."""
    return EnergyMLP.from_arrays([(np.zeros((d, 1)), np.zeros(1)), (np.zeros((1, 1)), np.zeros(1))], confinement=lam)


@pytest.mark.parametrize("s, sd, d", [(1.0, 0.5, 1), (2.0, 0.1, 2), (0.3, 3.0, 1)])
def test_the_denoising_optimum_on_a_gaussian_is_the_closed_form(s, sd, d):
    """d s^2 / (2 sigma^2 (s^2 + sigma^2)) at lam = 1/(s^2 + sigma^2): on standardised data 1/(1 + sigma^2)."""
    z, w = gauss_hermite(4, 2 * d)  # exact for quadratics
    loss = lambda lam: denoising(scaled_identity(lam, d), s * z[:, :d], sd, noise=z[:, d:]).per_sample @ w
    best = 1 / (s**2 + sd**2)
    want = d * s**2 / (2 * sd**2 * (s**2 + sd**2))
    assert abs(loss(best) / want - 1) < 1e-12
    low, high = loss(0.5 * best), loss(1.5 * best)  # a parabola: its vertex from three points
    assert abs(0.25 * (low - high) / (low + high - 2 * loss(best))) < 1e-12


@BOTH
def test_multilevel_is_the_weighted_mean_of_its_levels(cls):
    rng = np.random.default_rng(0)
    x, noise, sigmas = rng.standard_normal((6, 3)), rng.standard_normal((3, 6, 3)), np.array([2, 0.5, 0.1])
    model = cls.init(3, (5,), "tanh", conditional=True, rng=1)
    for weight, lam in (("sigma2", sigmas**2), ("one", np.ones(3)), (lambda s: 1 / s, 1 / sigmas)):
        whole = multilevel_denoising(model, x, sigmas, weight=weight, noise=noise)
        parts = [denoising(model, x, s, noise=eps) for s, eps in zip(sigmas, noise, strict=True)]
        np.testing.assert_allclose(whole.per_sample, lam @ [p.per_sample for p in parts] / 3, rtol=1e-13)
        np.testing.assert_allclose(whole.gradient, lam @ [p.gradient for p in parts] / 3, rtol=1e-10, atol=1e-12)
        alone = [multilevel_denoising(model, x, sigmas, weight=weight, noise=noise[k], level=k) for k in range(3)]
        np.testing.assert_allclose(whole.value, np.mean([a.value for a in alone]), rtol=1e-13)
    shared = multilevel_denoising(model, x, sigmas, noise=noise[0])
    np.testing.assert_array_equal(
        shared.per_sample, multilevel_denoising(model, x, sigmas, noise=noise[[0, 0, 0]]).per_sample
    )


def test_a_conditional_network_is_told_the_level_and_others_need_none():
    net = ScoreMLP.init(3, (4,), conditional=True, rng=0)
    noise = np.ones((4, 3))
    want = 0.5 * np.sum((net.score(X + 0.3 * noise, sigma=0.3) + noise / 0.3) ** 2, 1)
    np.testing.assert_allclose(denoising(net, X, 0.3, noise=noise).per_sample, want, rtol=1e-13)
    with pytest.raises(ValueError, match=r"^sliced: this network is conditional on the noise level"):
        sliced(net, X)


@BOTH
def test_control_a_level_that_counts_one_part_in_a_billion_more_is_seen(cls, monkeypatch):
    right = denoising_module.level_weights
    monkeypatch.setattr(denoising_module, "level_weights", lambda *a: right(*a) * (1 + 1e-9))
    with pytest.raises(AssertionError):
        test_multilevel_is_the_weighted_mean_of_its_levels(cls)
