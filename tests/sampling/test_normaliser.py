"""log Z by quadrature against closed forms, within the bounds that it states."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.densities import Gaussian, HalfNormal, Logistic
from numpyscore.networks.models import EnergyMLP
from numpyscore.sampling.normaliser import _descend, _least, confinement, log_normaliser, reference


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


def test_the_confinement_of_a_level_and_the_gaussian_it_makes():
    """lambda |x|^2 / (2 (1 + sigma^2)): curvature lambda / 10 at sigma = 3, and the variance 10 / lambda."""
    net = EnergyMLP.init(2, (4,), confinement=2.0, conditional=True, rng=0)
    assert confinement(net) == 2 and confinement(net, 3.0) == pytest.approx(0.2)
    assert reference(net, 3.0).logpdf([[0.0, 0.0]]) == pytest.approx(Gaussian(np.zeros(2), 5.0).logpdf([[0.0, 0.0]]))
    assert confinement(SimpleNamespace(), 3.0) == 0


def test_the_way_down_ends_at_the_minimum_or_stays():
    """Without a score it stays; a row of equal energy is no progress."""
    bowl = SimpleNamespace(energy=lambda x: np.sum((x - 3) ** 2, 1) / 2, score=lambda x: 3 - x)
    at, energy = _descend(bowl, np.zeros(2), 9.0)
    np.testing.assert_allclose(at, [3, 3], atol=1e-6)
    assert energy < 1e-10
    assert _descend(SimpleNamespace(energy=bowl.energy), np.zeros(2), 9.0)[1] == 9.0
    assert _descend(bowl, np.full(2, 3.0), -1.0)[1] == -1.0  # told to be lower than all it finds
    x, least = _least(np.array([[5.0], [7.0], [6.0]]), np.array([2.0, 1.0, 3.0]))
    assert x == 7 and least == 1.0


def test_a_confined_network_within_a_support_is_integrated_there():
    """exp(-|x|^2 / 4) over the positive half: half of sqrt(4 pi); the same bits twice."""
    net = EnergyMLP.init(1, (4,), confinement=0.5, rng=0)
    net = net.with_theta(0 * net.theta)
    once, twice = (log_normaliser(net, HalfNormal(1.0)) for _ in range(2))
    assert once == twice and once.value == pytest.approx(0.5 * math.log(math.pi), abs=1e-11)
    free = EnergyMLP.init(2, (8,), confinement=0.5, rng=3)
    assert log_normaliser(free) == log_normaliser(free)


def test_what_is_asked_of_the_quadrature_and_what_its_answer_is_worth(monkeypatch):
    """Tolerance and budget are handed on; a value of 0 or of nan is no normaliser."""
    asked, answers = [], iter([2.0, 0.0, np.nan, 0.25])

    def stand_in(g, frame, support, **options):
        asked.append(options)
        return SimpleNamespace(value=next(answers), error=1e-3)

    monkeypatch.setattr("numpyscore.sampling.normaliser.integrate", stand_in)
    found = [
        log_normaliser(unnormalised(Gaussian(0.0, 1.0), 0.0), Gaussian(0.0, 1.0), rtol=1e-7, budget=999)
        for _ in range(4)
    ]
    assert asked == [{"rtol": 1e-7, "budget": 999}] * 4
    assert [f.error for f in found] == [5e-4, np.inf, np.inf, 4e-3] and found[1].value == found[2].value == np.inf
    assert found[0].value - found[3].value == pytest.approx(math.log(8))
