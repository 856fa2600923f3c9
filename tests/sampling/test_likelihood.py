"""Log densities of networks of each kind, on networks whose density is a Gaussian in closed form; and where there is none, why."""

import numpy as np
import pytest

from numpyscore import EnergyMLP, Gaussian, ScoreMLP
from numpyscore.sampling.likelihood import ROWS, log_density

X = np.random.default_rng(0).standard_normal((30, 4))


def flat(d, **options):
    """An energy whose network is 0: N(0, I / confinement), or at level sigma N(0, (1 + sigma^2) I)."""
    net = EnergyMLP.init(d, (4,), "silu", rng=0, **options)
    return net.with_theta(0 * net.theta)


def test_each_kind_of_network_has_the_density_that_it_is_said_to_have():
    plane = log_density(flat(2, confinement=0.5), X[:, :2])
    np.testing.assert_allclose(plane.value, Gaussian(np.zeros(2), 2.0).logpdf(X[:, :2]), atol=1e-9)
    space = log_density(flat(4, confinement=0.5), X, rng=0)
    assert plane.how["method"] == "quadrature" and space.how["method"] == "annealed importance sampling"
    # the chains start in N(0, 2 I) itself: no weight differs from another
    np.testing.assert_allclose(space.value, Gaussian(np.zeros(4), 2.0).logpdf(X), atol=1e-9)
    # the flow starts from N(0, 400 I) where N(0, 401 I) is right: per column 1/2 (1 - x'^2/400) log(401/400), x' of order 20
    flow = log_density(flat(4, confinement=1.0, conditional=True), X, sigmas=[20.0, 0.1])
    np.testing.assert_allclose(flow.value, Gaussian(np.zeros(4), 1.01).logpdf(X), atol=0.03)
    assert np.abs(flow.value - Gaussian(np.zeros(4), 1.5).logpdf(X)).max() > 0.1  # control


def test_batches_change_nothing_and_tell_how_far_they_are(monkeypatch):
    net, seen = EnergyMLP.init(4, (4,), "silu", confinement=1.0, conditional=True, rng=0), []
    whole = log_density(net, X, sigmas=[5.0, 0.1]).value
    monkeypatch.setattr("numpyscore.sampling.likelihood.ROWS", 8)
    parts = log_density(net, X, sigmas=[5.0, 0.1], progress=seen.append).value
    np.testing.assert_allclose(parts, whole, atol=1e-3)  # 1e-4 is that of a step, and a path has about ten
    assert ROWS > 8 and len(seen) == 4 and seen[-1] == 1


@pytest.mark.parametrize(
    "model, why",
    [
        (ScoreMLP.init(4, (4,), rng=0), "neither energy nor flow"),
        (EnergyMLP.init(4, (4,), "silu", rng=0), "without confinement"),
        (EnergyMLP.init(2, (4,), "tanh", rng=0), "Z is infinite"),
    ],
    ids=["score", "loose", "bounded"],
)
def test_where_there_is_none_the_reason_is_given(model, why):
    found = log_density(model, X[:, : model.dim])
    assert found.value is None and found.how["method"] is None and why in found.how["why"]
