"""Explicit, implicit and generalised: their definitions, gradients, identities and closed forms, and supports with a boundary."""

import numpy as np
import pytest
from accuracy import LIMITS, scaled
from hypothesis import given
from objectives_cases import BOTH, EPS, SEEDS, linear_score, loss_scale, small
from oracles import absolute, scales, true_gradient

from numpyscore.densities import Exponential, TruncatedGaussian
from numpyscore.densities.weights import linear_weight, square_weight
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.numerics.quadrature import expectation
from numpyscore.objectives import loss as objectives
from numpyscore.objectives.implicit import explicit, generalised, implicit

# ------------------------------------------------------------------------------- the definitions


def check_definitions(model, x, sigma, target):
    """explicit and implicit against their formulas, from the score and the textbook trace."""
    s, t = model.score(x, **sigma), model.trace(x, "textbook", **sigma)
    for loss, formula, S in (
        (explicit(model, x, target, **sigma), ((s - target) ** 2).sum(1) / 2, loss_scale(model, x, sigma, target)),
        (implicit(model, x, **sigma), (s**2).sum(1) / 2 + t, loss_scale(model, x, sigma)),
    ):
        # a square doubles the relative error of the score; score and trace have at most LIMITS each, twice over
        limit = 4 * LIMITS["trace"]
        assert scaled(loss.per_sample, formula, S) <= limit
        assert abs(loss.value - formula.mean()) <= limit * EPS * S.mean()
        assert loss.value == loss.per_sample.mean() == float(loss)
        assert f"n={len(x)}" in repr(loss)


@BOTH
@given(seed=SEEDS)
def test_explicit_and_implicit_are_what_they_say(cls, seed):
    rng, model, x, sigma = small(cls, seed)
    check_definitions(model, x, sigma, rng.standard_normal(x.shape))


@BOTH
@pytest.mark.parametrize("break_it", ["square", "trace"])
def test_control_a_halved_square_or_trace_is_seen(cls, break_it, monkeypatch):
    rng, model, x, sigma = small(cls, 3)
    if break_it == "square":
        right = objectives.half_square
        monkeypatch.setattr(objectives, "half_square", lambda a: right(a) * (1 + 1e-9))
    else:
        right = model.sweep
        halved = lambda found: found if found.trace is None else found._replace(trace=found.trace / 2)
        monkeypatch.setattr(model, "sweep", lambda *a, **k: halved(right(*a, **k)), raising=False)
    with pytest.raises(AssertionError):
        check_definitions(model, x, sigma, rng.standard_normal(x.shape))


def test_on_a_linear_score_the_implicit_loss_is_the_closed_form_of_a_gaussian():
    """MATH section 5: J_I = 1/2 (tr(S^-2 S0) + |S^-1 (m0 - m)|^2) - tr S^-1, S0 the 1/n covariance of the samples."""
    rng = np.random.default_rng(0)
    d, x = 3, rng.standard_normal((50, 3)) @ rng.standard_normal((3, 3)) + [1, 2, 3]
    root = rng.standard_normal((d, d))
    P, m = root @ root.T + np.eye(d), np.array([0.5, 1, 2])  # precision S^-1 and mean of the model
    m0, S0 = x.mean(0), np.cov(x.T, bias=True)
    want = 0.5 * (np.trace(P @ P @ S0) + np.sum((P @ (m0 - m)) ** 2)) - np.trace(P)
    # sin(y) = y - y^3/6 with y = x/1e6: relative error 1e-11 at |x| < 8
    assert abs(implicit(linear_score(-P, P @ m), x).value - want) < 1e-9 * abs(want)
    # the minimiser is the sample mean and covariance, and the minimum -1/2 tr S0^-1
    best = np.linalg.inv(S0)
    least = implicit(linear_score(-best, best @ m0), x)
    assert abs(least.value + 0.5 * np.trace(best)) < 1e-9 * np.trace(best)
    b_out = least.gradient[-d:]  # the gradient in the output bias is that in b: zero at the minimum
    np.testing.assert_allclose(b_out, 0, atol=1e-9 * np.abs(best).sum())


@BOTH
@given(seed=SEEDS)
def test_explicit_minus_implicit_is_a_constant_of_the_data(cls, seed):
    """On N(0, 1): E explicit - E implicit = 1/2 for every network, by quadrature (Hyvarinen 2005, Theorem 1)."""
    rng = np.random.default_rng(seed)
    model = cls.init(1, rng.integers(1, 6, rng.integers(1, 3)), "tanh", rng=rng)
    h = 0.01
    x = np.arange(-12, 12 + h / 2, h)[:, None]
    weight = h * np.exp(-(x[:, 0] ** 2) / 2) / np.sqrt(2 * np.pi)
    mean = weight @ (explicit(model, x, -x).per_sample - implicit(model, x).per_sample)
    # the trapezoidal rule is off by exp(-2 pi w / h), w = pi / (2 |W|) the distance of tanh's poles: below 1e-19 for |W| < 20
    assert abs(mean - 0.5) <= 1e-12 * (weight @ loss_scale(model, x, {}, -x) + 0.5)


@BOTH
@given(seed=SEEDS)
def test_explicit_at_its_own_score_is_zero_with_zero_gradient(cls, seed):
    _, model, x, sigma = small(cls, seed)
    loss = explicit(model, x, model.score(x, **sigma), **sigma)
    S = scales(model, x, **sigma)[0]
    # gradient's sweep may order sums otherwise: a score within LIMITS eps S of the target
    assert np.all(loss.per_sample <= 0.5 * np.sum((LIMITS["score"] * EPS * S) ** 2, 1))
    assert np.all(np.isfinite(loss.gradient))


# ------------------------------------------------------------------------------- gradients


def gradient_error(model, x, sigma, target, rng):
    """Errors of the gradients of implicit and explicit against complex steps, in eps S."""
    p = model.theta.size
    places = np.unique(np.concatenate([[0, p - 1], rng.integers(0, p, 12)]))
    # far in a tail the oracle's own exp(-z^2/2) is off by z^2/2 eps, and a step of 1e-30 underflows: entries below 1e-60 of
    # the largest are held to that
    floor = lambda S: S + 1e-60 * S.max()
    S = floor(scales(model, x, **sigma)[3])
    exact = true_gradient(model, lambda net: implicit(net, x, **sigma).value, places)
    first = scaled(implicit(model, x, **sigma).gradient[places], exact, S[places])
    exact = true_gradient(model, lambda net: explicit(net, x, target, **sigma).value, places)
    S = floor(explicit_gradient_scale(model, x, sigma, target))
    return first, scaled(explicit(model, x, target, **sigma).gradient[places], exact, S[places])


def explicit_gradient_scale(model, x, sigma, target):
    """S of the gradient of explicit: the pullback of S_score + |target| through the network of absolute values."""
    total, sign = 0, -1 if isinstance(model, EnergyMLP) else 1
    for i in range(len(x)):
        one = {"sigma": np.asarray(sigma["sigma"])[i : i + 1]} if sigma else {}
        part = absolute(model, x[i : i + 1], **one).evaluate(np.abs(x[i : i + 1]), **one)
        total = total + np.abs(part.pullback(score_bar=part.score + sign * np.abs(target[i : i + 1]))) / len(x)
    return total


@BOTH
@given(seed=SEEDS)
def test_gradients_against_complex_steps(cls, seed):
    rng, model, x, sigma = small(cls, seed)
    errors = gradient_error(model, x, sigma, rng.standard_normal(x.shape), rng)
    assert max(errors) <= LIMITS["gradient"], errors


@BOTH
def test_control_a_gradient_without_its_one_over_n_is_seen(cls, monkeypatch):
    rng, model, x, sigma = small(cls, 6)
    target = rng.standard_normal(x.shape)
    assert max(gradient_error(model, x, sigma, target, rng)) <= LIMITS["gradient"]
    right = model.sweep
    slightly = lambda found: found if found.gradient is None else found._replace(gradient=found.gradient * (1 + 1e-9))
    monkeypatch.setattr(model, "sweep", lambda *a, **k: slightly(right(*a, **k)), raising=False)
    assert min(gradient_error(model, x, sigma, target, rng)) > LIMITS["gradient"]


# ------------------------------------------------------------------------------- generalised: the boundary


@pytest.mark.parametrize("a, b", [(1.0, 1.0), (2.0, 0.5)])
def test_on_the_exponential_the_weight_removes_the_gap_that_implicit_has(a, b):
    """Data of rate a, model of rate b: J_E - J_I - 1/2 E|s_0|^2 = -ab; weighted by h = x there is none."""
    model = ScoreMLP.from_arrays([(np.zeros((1, 1)), np.zeros(1)), (np.zeros((1, 1)), np.array([-b]))])
    data = Exponential(a)
    mean = lambda g: expectation(g, data).value
    gap = mean(lambda x: explicit(model, x, data.score(x)).per_sample - implicit(model, x).per_sample) - 0.5 * a**2
    assert abs(gap + a * b) < 1e-12
    for h, h_prime in (linear_weight(), square_weight()):
        weighted = mean(lambda x, h=h: 0.5 * np.sum(h(x) * (model.score(x) - data.score(x)) ** 2, 1))
        constant = mean(lambda x, h=h: 0.5 * np.sum(h(x) * data.score(x) ** 2, 1))
        loss = mean(lambda x, h=h, h_prime=h_prime: generalised(model, x, h, h_prime).per_sample)
        assert abs(weighted - loss - constant) < 1e-12


@BOTH
def test_generalised_is_the_weighted_fisher_divergence_for_any_network(cls):
    """On a truncated Gaussian in a box, with the distance to the boundary as weight; plain implicit is off by the flux."""
    data = TruncatedGaussian([0.3], [[1.0]], -1.0, 2.0)
    model = cls.init(1, (6, 5), "tanh", rng=1)
    mean = lambda g: expectation(g, data).value
    smooth = (lambda x: (x + 1) * (2 - x), lambda x: 1 - 2 * x)  # a weight without a kink, for the quadrature
    s_0 = data.score
    weighted = mean(lambda x: 0.5 * np.sum(smooth[0](x) * ((model.score(x) - s_0(x)) ** 2 - s_0(x) ** 2), 1))
    assert abs(weighted - mean(lambda x: generalised(model, x, *smooth).per_sample)) < 1e-11
    plain = mean(lambda x: 0.5 * np.sum((model.score(x) - s_0(x)) ** 2 - s_0(x) ** 2, 1))
    assert abs(plain - mean(lambda x: implicit(model, x).per_sample)) > 1e-2


@BOTH
def test_a_sample_on_the_boundary_has_weight_zero_and_counts_its_derivative_alone(cls):
    """h >= 0 includes 0: there h s^2 / 2 + h J is nothing, and h' s is left."""
    net, x = cls.init(2, (4,), "tanh", rng=0), np.array([[0.0, 0.0], [1.0, 2.0]])
    loss = generalised(net, x, *linear_weight())
    assert loss.per_sample[0] == pytest.approx(net.score(x[:1]).sum(), rel=8 * EPS)


@BOTH
def test_with_weight_one_generalised_is_implicit(cls):
    model, x = cls.init(40, (6, 5), "tanh", rng=1), np.random.default_rng(0).standard_normal((30, 40))
    one, two = generalised(model, x, np.ones_like, np.zeros_like), implicit(model, x)
    np.testing.assert_allclose(one.per_sample, two.per_sample, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-10, atol=1e-12)


def test_the_first_negative_weight_is_named_by_row_and_column():
    model, x, h = ScoreMLP.init(3, (4,), rng=0), np.arange(6.0).reshape(2, 3), np.ones((2, 3))
    h[1, 2], h[0, 0] = -0.5, 0.0  # a weight of 0 is one
    with pytest.raises(ValueError, match=r"h\[1, 2\] is -0.5 at x\[1, 2\] = 5.0.*first bad row: 1"):
        generalised(model, x, h, 0 * h)
    h[0, 1] = -2.0
    with pytest.raises(ValueError, match=r"h\[0, 1\] is -2.0 at x\[0, 1\] = 1.0"):
        generalised(model, x, h, 0 * h)
