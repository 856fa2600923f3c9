"""Log densities of networks of each kind, on networks whose density is a Gaussian in closed form; and where there is none, why."""

import numpy as np
import pytest
from oracles import defaults

from numpyscore import EnergyMLP, Gaussian, HalfNormal, ScoreMLP
from numpyscore.sampling import likelihood
from numpyscore.sampling.annealing import AnnealedNormaliser
from numpyscore.sampling.likelihood import ROWS, log_density
from numpyscore.sampling.normaliser import LogNormaliser

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
    assert ROWS > 8 and seen == [8 / 30, 16 / 30, 24 / 30, 1]


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


@pytest.mark.parametrize("d, method", [(1, "quadrature"), (2, "quadrature"), (3, "annealed importance sampling")])
def test_within_a_support_the_density_is_that_of_the_part(d, method):
    """Half of the Gaussian in each column: log 2 more. By chains: they start in the half-line's N(0, 9), cut, and Z has their error."""
    x = np.abs(X[:, :d])
    found = log_density(flat(d, confinement=1.0), x, support=(0.0, np.inf), chains=120)
    assert found.how["method"] == method
    slack = 1e-9 if method == "quadrature" else 5 * found.how["standard_error"]
    np.testing.assert_allclose(found.value, HalfNormal(np.ones(d)).logpdf(x), rtol=0, atol=slack)
    assert slack < 0.5
    again = log_density(flat(d, confinement=1.0), x, support=(0.0, np.inf), chains=120)
    assert np.array_equal(found.value, again.value) and found.how == again.how  # the same seed


@pytest.mark.parametrize("error, said", [(0.05, None), (0.0501, "quadrature is sure of Z to a factor of 1.05 only")])
def test_a_normaliser_that_quadrature_does_not_know_to_five_per_cent_is_none(error, said, monkeypatch):
    monkeypatch.setattr(likelihood, "log_normaliser", lambda *a, **k: LogNormaliser(2.0, error))
    found = log_density(flat(2, confinement=1.0), X[:, :2])
    assert found.how["log_normaliser"] == 2.0 and found.how["error_bound"] == error and found.how.get("why") == said
    assert (found.value is None) == (said is not None) == (found.how["method"] is None)


@pytest.mark.parametrize("effective, said", [(10.0, None), (9.94, "only 9.9 effective chains")])
def test_a_normaliser_of_fewer_than_ten_effective_chains_is_none(effective, said, monkeypatch):
    asked = {}

    def stand_in(target, start, **options):
        asked.update(options)
        return AnnealedNormaliser(2.0, 0.1, effective)

    monkeypatch.setattr(likelihood, "annealed_importance_sampling", stand_in)
    found = log_density(flat(3, confinement=1.0), X[:, :3], rng=4, chains=30)
    assert asked == {"n_chains": 30, "n_levels": 30, "rng": 4}
    assert found.how["standard_error"] == 0.1 and found.how["effective"] == effective
    assert (found.value is None) == (said is not None) == (found.how["method"] is None)
    assert said is None or said in found.how["why"]
    if found.value is not None:
        np.testing.assert_allclose(found.value, -0.5 * np.sum(X[:, :3] ** 2, 1) - 2.0, rtol=1e-12)


def test_a_path_is_followed_from_the_least_level_to_the_largest_to_1e_minus_4_nats(monkeypatch):
    asked = {}
    monkeypatch.setattr(
        likelihood, "log_likelihood", lambda model, x, **options: asked.update(options) or np.zeros(len(x))
    )
    found = log_density(flat(4, confinement=1.0, conditional=True), X, sigmas=[20.0, 3.0, 0.1])
    assert asked == {"sigma_min": 0.1, "sigma_max": 20.0, "rtol": 1e-4} and not found.value.any()
    assert found.how == {"method": "probability flow", "sigma_min": 0.1, "sigma_max": 20.0}
    assert defaults(log_density) == {"rng": 0, "chains": 500}
