"""Energy, score, Jacobian, trace and gradients against the textbook's complex steps in extended precision, in units of eps and of S2."""

import numpy as np
import pytest
from accuracy import BOUND, LIMITS, SMOOTH, scaled
from oracles import random_network, scales, true_energy, true_implicit_gradient, true_jacobian, true_score

from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.objectives.implicit import implicit

pytestmark = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="longdouble is no better than double here")


def errors(model, x, sigma, rng):
    """The worst scaled error of every quantity of one network."""
    S_score, S_trace, S_jacobian, S_gradient, S_energy = scales(model, x, **sigma, cancellation=True)
    jacobian = true_jacobian(model, x, **sigma)
    out = {
        "jacobian": scaled(model.jacobian(x, **sigma), jacobian, S_jacobian),
        "trace": scaled(model.trace(x, **sigma), np.trace(jacobian, axis1=1, axis2=2), S_trace),
    }
    if isinstance(model, EnergyMLP):
        out["energy"] = scaled(model.energy(x, **sigma), true_energy(model, x, **sigma), S_energy)
    out["score"] = scaled(model.score(x, **sigma), true_score(model, x, **sigma), S_score)
    places = np.unique(np.concatenate([[0, model.theta.size - 1], rng.integers(0, model.theta.size, 10)]))
    exact = true_implicit_gradient(model, x, places, **sigma)
    out["gradient"] = scaled(implicit(model, x, **sigma).gradient[places], exact, S_gradient[places])
    return out


def worst_of(count, seed):
    """Worst scaled errors over `count` random networks of both kinds."""
    rng, worst = np.random.default_rng(seed), dict.fromkeys(LIMITS, 0.0)
    for k in range(count):
        model, x, sigma = random_network(rng, (EnergyMLP, ScoreMLP)[k % 2], SMOOTH)
        for name, error in errors(model, x, sigma, rng).items():
            worst[name] = max(worst[name], error)
    return worst


@pytest.mark.parametrize(
    "count", [60, pytest.param(600, marks=pytest.mark.nightly)], ids=["some networks", "600 networks"]
)
def test_every_quantity_agrees_with_complex_steps_in_extended_precision(count):
    worst = worst_of(count, seed=count)
    print({name: f"{error:.1f} eps" for name, error in worst.items()})
    assert max(worst.values()) <= BOUND, worst


def test_the_oracle_rejects_a_gradient_wrong_by_one_part_in_a_trillion(monkeypatch):
    rng = np.random.default_rng(3)
    model, x, sigma = random_network(rng, EnergyMLP, ("tanh",))
    right = model.activation.jet

    def wrong(z, order):
        phi, *rest = right(z, order)
        return (phi, *(column * (1 + 1e-12) for column in rest))

    object.__setattr__(model.activation, "jet", wrong)
    try:
        found = errors(model, x, sigma, rng)
    finally:
        object.__setattr__(model.activation, "jet", right)
    assert found["score"] > 100 * BOUND
