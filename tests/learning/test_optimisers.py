"""Adam against the published update in extended precision, the schedule by its shape, L-BFGS on a quadratic."""

import numpy as np
import pytest

from numpyscore import EnergyMLP, implicit
from numpyscore.learning.optimisers import adam_start, adam_step, learning_rate, minimise

EPS = np.finfo(float).eps


def published(theta, gradients, rates, beta1=0.9, beta2=0.999, eps=1e-8, memory=0.98, decay=0.0):
    """Algorithm 1 as printed, the decay of algorithm 2 of Loshchilov & Hutter, and the average by its definition, number by number in extended precision."""
    real = np.longdouble
    one, beta1, beta2, eps, memory, decay = map(real, (1, beta1, beta2, eps, memory, decay))
    out, passed = [real(t) for t in theta], []
    m, v = [real(0)] * len(theta), [real(0)] * len(theta)
    for k, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        for i in range(len(theta)):
            m[i] = beta1 * m[i] + (one - beta1) * real(g[i])
            v[i] = beta2 * v[i] + (one - beta2) * real(g[i]) ** 2
            m_hat, v_hat = m[i] / (one - beta1**k), v[i] / (one - beta2**k)
            out[i] = out[i] - real(rate) * (m_hat / (np.sqrt(v_hat) + eps) + decay * out[i])
        passed.append(list(out))
    weights = [memory ** (len(passed) - i) for i in range(1, len(passed) + 1)]
    average = [sum(w * p[i] for w, p in zip(weights, passed, strict=True)) / sum(weights) for i in range(len(theta))]
    return np.array(out), np.array(average)


def run(theta, gradients, rates, **options):
    state = adam_start(theta)
    for g, rate in zip(gradients, rates, strict=True):
        state = adam_step(state, g, rate, **options)
    return state


@pytest.mark.parametrize(
    "options",
    [{}, {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "memory": 0.5}, {"decay": 0.7}],
    ids=["defaults", "others", "decay"],
)
def test_adam_is_the_published_update(options):
    """Over 50 steps a dozen roundings each of numbers near 1 (theta) and 0.01 (a step): 100 eps leaves room.

    1 - beta2^k loses three digits at k = 1 where beta2 = 0.999 itself is rounded: the longdouble run takes the same 0.999, so
    what is left is eps beta2/(1 - beta2) = 1e3 eps of a step of 0.01.
    """
    rng = np.random.default_rng(0)
    theta, gradients = rng.standard_normal(7), rng.standard_normal((50, 7)) * 10.0 ** rng.integers(-4, 5, (1, 7))
    rates = rng.uniform(0, 0.02, 50)
    got, (want, average) = run(theta, gradients, rates, **options), published(theta, gradients, rates, **options)
    assert got.step == 50
    np.testing.assert_allclose(got.theta, want.astype(float), rtol=0, atol=100 * EPS)
    np.testing.assert_allclose(got.average, average.astype(float), rtol=0, atol=100 * EPS)


@pytest.mark.parametrize(
    "wrong",
    [{"beta1": 0.9001}, {"beta2": 0.9991}, {"eps": 2e-8}, {"memory": 0.981}, {"decay": 1e-9}],
    ids=lambda w: next(iter(w)),
)
def test_control_a_constant_slightly_wrong_is_seen(wrong):
    rng = np.random.default_rng(0)
    theta, gradients, rates = rng.standard_normal(7), 1e-2 * rng.standard_normal((50, 7)), rng.uniform(0, 0.02, 50)
    got, (want, average) = run(theta, gradients, rates, **wrong), published(theta, gradients, rates)
    gap = max(abs(got.theta - want).max(), abs(got.average - average).max())
    assert gap > 1e6 * EPS


def test_the_first_step_has_the_size_of_the_rate_and_the_sign_of_the_gradient():
    state = run(np.zeros(3), [np.array([1e-3, -5.0, 1e6])], [0.01])
    np.testing.assert_allclose(state.theta, [-0.01, 0.01, -0.01], rtol=1e-4)
    np.testing.assert_array_equal(state.average, state.theta)


def test_a_step_changes_no_earlier_state_and_keeps_float32():
    theta = np.ones(3, np.float32)
    first = adam_start(theta)
    second = adam_step(first, np.ones(3, np.float32), 0.1)
    assert all(a.dtype == np.float32 for a in second[:4])
    assert (first.theta == 1).all() and (first.m == 0).all() and first.step == 0


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = np.array([learning_rate(k, 200, 0.3) for k in range(1, 201)])
    np.testing.assert_allclose(rates[:20], 0.3 * np.arange(1, 21) / 20, rtol=4 * EPS)
    assert rates.argmax() == 19 and (np.diff(rates[19:]) < 0).all() and abs(rates[-1]) < 1e-16
    np.testing.assert_allclose(rates[20 + 89], 0.15, rtol=1e-14)  # half way down
    assert learning_rate(1, 1, 0.3) == 0.3


def test_minimise_finds_the_minimum_of_a_quadratic():
    """The loss 1/2 |theta - target|^2 has its minimum at the target; L-BFGS stops at a gradient of 1e-5."""
    model, target = EnergyMLP.init(2, (3,), rng=0), np.linspace(-1, 1, 13)

    class Quadratic:
        def __init__(self, net):
            self.value, self.gradient = 0.5 * ((net.theta - target) ** 2).sum(), net.theta - target

    trained, history = minimise(model, Quadratic, max_iterations=50)
    np.testing.assert_allclose(trained.theta, target, atol=1e-5)
    assert history[0] == Quadratic(model).value and history[-1] < 1e-10


def test_minimise_lowers_the_implicit_loss_and_tells():
    model, x, told = (
        EnergyMLP.init(2, (5,), confinement=1.0, rng=0),
        np.random.default_rng(0).standard_normal((50, 2)),
        [],
    )
    trained, history = minimise(
        model, lambda net: implicit(net, x), max_iterations=5, progress=lambda k, value: told.append(k)
    )
    assert told == [1, 2, 3, 4, 5] and len(history) == 6
    assert history[-1] == implicit(trained, x).value < history[0] == implicit(model, x).value
