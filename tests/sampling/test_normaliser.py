"""log Z by quadrature against closed forms, within the bounds that it states."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.densities import Gaussian, HalfNormal, Logistic
from numpyscore.networks.models import EnergyMLP
from numpyscore.sampling.normaliser import log_normaliser


def unnormalised(density, log_z):
    """A density as an energy whose log Z is known."""
    return SimpleNamespace(dim=density.dim, energy=lambda x: -density.logpdf(x) - log_z, score=density.score)


@pytest.mark.parametrize(
    "density",
    [Gaussian(np.zeros(1), 2.0), Logistic(np.zeros(2)), HalfNormal(np.ones(2)), Gaussian(np.zeros(3), 1.0)],
    ids=["gaussian 1", "logistic 2", "half normal 2", "gaussian 3"],
)
def test_quadrature_knows_the_normalisers_of_closed_forms(density):
    found = log_normaliser(unnormalised(density, 123.456), density)
    assert abs(found.value - 123.456) <= found.error + 1e-12 and found.error < 1e-9
    assert (
        abs(found.value - 123.456 - math.log(2) * density.dim / 2) > found.error
    )  # control: a factor sqrt 2 an axis shows


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("sigma", [None, 0.7])
def test_a_confined_network_says_where_it_lives(dim, sigma):
    """With all weights zero but the last bias c, exp(-f) is a Gaussian times exp(-c / sigma), of variance (1 + sigma^2) / lambda."""
    net = EnergyMLP.init(dim, (8,), confinement=2.0, conditional=sigma is not None, rng=0)
    theta = np.zeros_like(net.theta)
    theta[-1] = 1.7
    found = log_normaliser(net.with_theta(theta), sigma=sigma)
    var = 1 / 2 if sigma is None else (1 + sigma**2) / 2
    truth = dim / 2 * math.log(2 * math.pi * var) - 1.7 / (1 if sigma is None else sigma)
    assert found.value == pytest.approx(truth, abs=1e-12) and found.error < 1e-11


def test_an_infinite_normaliser_is_infinite_and_none_is_asked_for():
    net = EnergyMLP.init(1, (8,), "tanh", rng=0)
    assert log_normaliser(net, Gaussian(0.0, 1.0)).value == np.inf
    with pytest.raises(ValueError, match="no confinement"):
        log_normaliser(net)


def test_a_finite_normaliser_is_finite_however_deep_the_energy_is_where_no_draw_fell():
    """By SciPy's adaptive quadrature around the minimum, shifted by it; weights times 20 put a well of depth 1276 far from the origin."""
    from scipy.integrate import quad

    net = EnergyMLP.init(1, (8,), "silu", confinement=0.1, rng=0)
    net = net.with_theta(20 * net.theta)
    x = np.linspace(-400, 400, 80001)[:, None]
    f = net.energy(x)
    at, low = float(x[np.argmin(f), 0]), f.min()
    value, _ = quad(lambda t: math.exp(low - net.energy(np.array([[t]]))[0]), at - 60, at + 60, points=[at], limit=400)
    found = log_normaliser(net)
    assert low < -700 and abs(found.value - (math.log(value) - low)) < 1e-7 and found.error < 1e-6
    unconfined = EnergyMLP.init(1, (8,), "silu", rng=0)  # control: energies that fall without end have none
    none = log_normaliser(unconfined.with_theta(20 * unconfined.theta), Gaussian(0.0, 1.0))
    assert none.value == np.inf or none.error > 1  # relative to Z: nothing is claimed
