"""Losses: their definition on arrays, their gradients, the identities between them, and what they refuse.

Tolerances in eps S as in test_models: the loss of one sample adds at most |s|^2/2 + |t| to the scale of score and trace.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import absolute, random_network, scales, true_gradient
from test_accuracy import LIMITS, SMOOTH, scaled

from numpyscore import objectives
from numpyscore.models import EnergyMLP, ScoreMLP
from numpyscore.objectives import explicit, explicit_loss, implicit, implicit_loss

EPS = np.finfo(float).eps
BOTH = pytest.mark.parametrize("cls", (EnergyMLP, ScoreMLP), ids=lambda cls: cls.kind)
SEEDS = st.integers(0, 2**32 - 1)


def small(cls, seed, **limits):
    """A small random network of this kind with points, noise levels, and the generator that made them."""
    rng = np.random.default_rng(seed)
    return rng, *random_network(rng, cls, SMOOTH, **({"max_dim": 8, "max_width": 8} | limits))


def loss_scale(model, x, sigma, target=None):
    """S of the explicit (with a target) or implicit loss of each sample."""
    size = absolute(model, x, **sigma).evaluate(np.abs(x), trace=True, **sigma)
    S_score, S_trace = np.abs(size.score), np.abs(size.trace)
    if target is None:
        return 0.5 * np.sum(S_score**2, 1) + S_trace
    return 0.5 * np.sum((S_score + np.abs(target)) ** 2, 1)


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
        right = objectives._square
        monkeypatch.setattr(objectives, "_square", lambda a: right(a) * (1 + 1e-9))
    else:
        right = model._sweep
        halved = lambda out, g: (out | {"trace": out["trace"] / 2} if "trace" in out else out, g)
        monkeypatch.setattr(model, "_sweep", lambda *a, **k: halved(*right(*a, **k)), raising=False)
    with pytest.raises(AssertionError):
        check_definitions(model, x, sigma, rng.standard_normal(x.shape))


def test_the_one_half_the_sum_over_dimensions_and_the_mean_over_samples():
    """On numbers one can check by hand: score (3, 4) and (1, 0), target 0, traces 2 and -1."""
    score, trace = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([2.0, -1.0])
    np.testing.assert_array_equal(explicit_loss(score, np.zeros((2, 2))), [12.5, 0.5])
    np.testing.assert_array_equal(explicit_loss(score, [[3, 3], [0, 0]]), [0.5, 0.5])
    np.testing.assert_array_equal(implicit_loss(score, trace), [14.5, -0.5])
    np.testing.assert_array_equal(implicit_loss(score.tolist(), trace.tolist()), [14.5, -0.5])


def linear_score(A, b):
    """A ScoreMLP whose score is A x + b to 1e-12 near 0: sin(x / c) c with c large, one hidden layer."""
    c, d = 1e6, len(A)
    return ScoreMLP.from_arrays([(np.eye(d) / c, np.zeros(d)), (c * A.T, b)], "sin")


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
    right = model._sweep
    monkeypatch.setattr(
        model,
        "_sweep",
        lambda *a, **k: (lambda out, g: (out, None if g is None else g * (1 + 1e-9)))(*right(*a, **k)),
        raising=False,
    )
    assert min(gradient_error(model, x, sigma, target, rng)) > LIMITS["gradient"]


@BOTH
def test_a_small_step_against_the_gradient_lowers_the_loss_by_its_square(cls):
    """First-order Taylor slope: L(theta - h g) = L - h |g|^2 + O(h^2); halving h quarters what remains."""
    _, model, x, sigma = small(cls, 5)
    for loss in (lambda net: implicit(net, x, **sigma), lambda net: explicit(net, x, -x, **sigma)):
        here, g = loss(model).value, loss(model).gradient
        rest = [
            loss(model.with_theta(model.theta - h * g)).value - here + h * g @ g
            for h in 1e-3 / (1 + g @ g) * np.array([1, 0.5])
        ]
        assert 3.5 < rest[0] / rest[1] < 4.5  # 4 + O(h)


@BOTH
def test_value_first_or_gradient_first_makes_no_difference(cls):
    _, model, x, sigma = small(cls, 9)
    for make in (lambda: implicit(model, x, **sigma), lambda: explicit(model, x, -x, **sigma)):
        one, two = make(), make()
        value, gradient = one.value, one.gradient
        assert gradient is one.gradient and gradient.shape == model.theta.shape
        np.testing.assert_array_equal(two.gradient, gradient)
        np.testing.assert_array_equal(two.per_sample, one.per_sample)
        assert two.value == value


def test_reading_the_value_never_computes_a_gradient(monkeypatch):
    _, model, x, sigma = small(EnergyMLP, 9)
    seen, right = [], model._sweep
    monkeypatch.setattr(model, "_sweep", lambda *a, **k: (seen.append(k["gradient"]), right(*a, **k))[1], raising=False)
    loss = implicit(model, x, **sigma)
    assert seen == [], "nothing before the first reading"
    _ = loss.value, loss.per_sample, loss.value
    assert seen == [False]
    _ = loss.gradient, loss.gradient
    assert seen == [False, True]
    both = implicit(model, x, **sigma)
    _ = both.gradient, both.value, both.per_sample
    assert seen == [False, True, True], "one sweep gives both"


@BOTH
def test_the_mean_over_samples_is_the_mean_of_the_losses_of_each(cls):
    model = cls.init(4, (6, 5), "silu", rng=0)
    x = np.random.default_rng(1).standard_normal((300, 4))
    for make in (lambda at: implicit(model, x[at]), lambda at: explicit(model, x[at], -x[at])):
        whole, ones = make(slice(None)), [make(slice(i, i + 1)) for i in range(300)]
        np.testing.assert_allclose(
            whole.per_sample, [one.value for one in ones], rtol=0, atol=1e-13 * np.abs(whole.per_sample).max()
        )
        gradient = np.mean([one.gradient for one in ones], 0)
        np.testing.assert_allclose(whole.gradient, gradient, rtol=0, atol=1e-13 * np.abs(gradient).max())


@BOTH
def test_dtypes_of_losses(cls):
    model = cls.init(3, (4,), "tanh", rng=0, dtype=np.float32)
    x = np.ones((5, 3), np.float32)
    for loss in (
        implicit(model, x),
        explicit(model, x, x),
        explicit(model, x, x.astype(float)),
        explicit(model, x, np.ones((5, 3), int)),
    ):
        assert loss.value.dtype == loss.per_sample.dtype == loss.gradient.dtype == np.float32
    assert implicit(model, x.astype(float)).gradient.dtype == np.float64
    assert implicit(model.with_theta(model.theta + 0j), x).value.dtype.kind == "c"


# ------------------------------------------------------------------------------- refusals


@BOTH
def test_a_loss_of_no_samples_is_refused(cls):
    model, x = cls.init(3, (4,), rng=0), np.empty((0, 3))
    for name, run in (("explicit", lambda: explicit(model, x, x)), ("implicit", lambda: implicit(model, x))):
        with pytest.raises(
            ValueError, match=f"^{name}: x has no rows, and a loss is a mean over samples; expected at least one row"
        ):
            run()


@pytest.mark.parametrize(
    "target, error, message",
    [
        (np.ones(3), ValueError, r"target_score has shape \(3,\), expected \(n, d\)"),
        (np.ones((4, 2)), ValueError, r"target_score has shape \(4, 2\), expected \(n, 3\)"),
        (np.ones((5, 3)), ValueError, r"target_score has shape \(5, 3\), expected that of x, \(4, 3\)"),
        (np.ones((1, 3)), ValueError, r"target_score has shape \(1, 3\), expected that of x"),  # must not broadcast
        (np.full((4, 3), np.nan), ValueError, r"target_score\[0, 0\] is nan"),
        (np.full((4, 3), "a"), TypeError, "target_score has dtype"),
        (None, TypeError, "target_score has dtype object"),
        ([[1, 2, 3], [1]], ValueError, "target_score cannot be made an array"),
        (np.ma.array(np.ones((4, 3)), mask=np.eye(4, 3)), ValueError, "target_score is a masked array"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(target, error, message):
    with pytest.raises(error, match="^explicit: " + message):
        explicit(ScoreMLP.init(3, (4,), rng=0), np.zeros((4, 3)), target)


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


def test_relu_has_an_explicit_loss_only():
    model = EnergyMLP.init(3, (4,), "relu", rng=0)
    x = np.ones((2, 3))
    assert np.isfinite(explicit(model, x, x).value)
    for run in (lambda: implicit(model, x), lambda: explicit(model, x, x).gradient):
        with pytest.raises(
            ValueError, match=r"'relu' is not twice differentiable.*the trace would silently miss the kink"
        ):
            run()


def test_a_complex_target_for_a_real_network_is_refused():
    with pytest.raises(TypeError, match="target_score"):
        _ = explicit(ScoreMLP.init(3, (4,), rng=0), np.zeros((4, 3)), np.full((4, 3), 1j)).value
