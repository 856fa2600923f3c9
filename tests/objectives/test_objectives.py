"""Losses: their definition on arrays, their gradients, the identities between them, and what they refuse.

Tolerances in eps S as in test_models: the loss of one sample adds at most |s|^2/2 + |t| to the scale of score and trace.
"""

import functools

import numpy as np
import pytest
from accuracy import LIMITS, SMOOTH, scaled
from hypothesis import given
from hypothesis import strategies as st
from oracles import absolute, random_network, scales, true_gradient

from numpyscore.densities import Exponential, Parzen, TruncatedGaussian
from numpyscore.densities.weights import box_weight, capped_weight, linear_weight, square_weight
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.numerics.quadrature import expectation
from numpyscore.objectives import arguments
from numpyscore.objectives import loss as objectives
from numpyscore.objectives.arrays import (
    denoising_loss,
    explicit_loss,
    finite_difference_energy_loss,
    finite_difference_score_loss,
    generalised_loss,
    implicit_loss,
    sliced_loss,
)
from numpyscore.objectives.loss import (
    denoising,
    explicit,
    finite_difference_sliced,
    generalised,
    implicit,
    multilevel_denoising,
    sliced,
)

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
        right = objectives.half_square
        monkeypatch.setattr(objectives, "half_square", lambda a: right(a) * (1 + 1e-9))
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


# ------------------------------------------------------------------------------- the whole family


def cases(model, x, sigma, rng):
    """Every objective on a network with given randomness: name -> (loss of a network, brute-force per_sample, S of its gradient)."""
    n, d = x.shape
    eps = 1e-3
    v, noise = rng.standard_normal((2, n, d)), rng.standard_normal((3, n, d))
    h, h_prime = rng.uniform(0.1, 2, (2, n, d))
    s_d, levels = np.exp(rng.uniform(-1, 1, n)), np.exp(rng.uniform(-1, 1, 3))
    level = rng.integers(0, 3, n)
    told = lambda value: {"sigma": np.broadcast_to(value, n)} if model.conditional else {}
    size = lambda y, **k: np.abs(absolute(model, y, **k).evaluate(np.abs(y), **k).score)

    def at_noise(sd, eps, weight):
        """Brute force and S of one noise level."""
        c = np.reshape(sd, (-1, 1))
        y = x + c * eps
        value = lambda: weight * 0.5 * np.sum((model.score(y, **told(sd)) + eps / c) ** 2, 1)

        def scale():
            bar = np.reshape(weight, (-1, 1)) * (size(y, **told(sd)) + np.abs(eps / c))
            return gradient_scale(model, y, told(sd), score_bar=bar, reach=np.abs(x) + np.abs(c * eps))

        return value, scale

    one = at_noise(s_d, noise[0], np.ones(n))
    each = [at_noise(levels[k], noise[k], levels[k] ** 2) for k in range(3)]
    single = at_noise(levels[level], noise[0], np.ones(n))
    axes = np.sqrt(h.T)[:, :, None] * np.eye(d)[:, None]
    S = size(x, **sigma)
    here = lambda **bars: gradient_scale(model, x, sigma, **bars)
    s, J = model.score(x, **sigma), model.jacobian(x, **sigma)
    K = np.einsum("mni,nij,mnj->mn", v, J, v)
    along = np.einsum("mnd,nd->mn", np.abs(v), S)
    out = {
        "generalised": (
            lambda net: generalised(net, x, h, h_prime, **sigma),
            lambda: np.sum(0.5 * h * s**2 + h_prime * s + h * J[:, range(d), range(d)], 1),
            lambda: here(score_bar=h * S + h_prime, v=axes, curvature_bar=np.ones((d, n))),
        ),
        "denoising": (lambda net: denoising(net, x, s_d, noise=noise[0]), *one),
        "multilevel": (
            lambda net: multilevel_denoising(net, x, levels, noise=noise),
            lambda: np.mean([value() for value, _ in each], 0),
            lambda: np.mean([scale() for _, scale in each], 0),
        ),
        "one level each": (
            lambda net: multilevel_denoising(net, x, levels, weight="one", noise=noise[0], level=level),
            *single,
        ),
        "sliced, variance reduced": (
            lambda net: sliced(net, x, probes=v, **sigma),
            lambda: K.mean(0) + 0.5 * np.sum(s**2, 1),
            lambda: here(score_bar=S, v=v, curvature_bar=np.full((2, n), 0.5)),
        ),
        "sliced": (
            lambda net: sliced(net, x, probes=v, variance_reduced=False, **sigma),
            lambda: np.mean(K + 0.5 * np.einsum("mnd,nd->mn", v, s) ** 2, 0),
            lambda: here(
                score_bar=np.einsum("mn,mnd->nd", along, np.abs(v)) / 2, v=v, curvature_bar=np.full((2, n), 0.5)
            ),
        ),
    }
    for reduced in (False, True):
        out["finite differences" + ", variance reduced" * reduced] = (
            lambda net, reduced=reduced: finite_difference_sliced(
                net, x, eps, probes=v[0], variance_reduced=reduced, **sigma
            ),
            lambda reduced=reduced: difference_formula(model, x, sigma, v[0], eps, reduced),
            lambda reduced=reduced: difference_scale(model, x, sigma, v[0], eps, reduced),
        )
    return out


def difference_scale(model, x, sigma, v, eps, reduced):
    """S of the gradient of finite differences, 1/eps^2 (energies) or 1/eps (scores) included."""
    points = {k: (x + k * eps * v, np.abs(x) + np.abs(k * eps * v)) for k in (-1, 0, 1)}
    at = lambda k, **bars: gradient_scale(model, points[k][0], sigma, reach=points[k][1], **bars)
    size = {k: absolute(model, points[k][0], **sigma).evaluate(points[k][1], **sigma) for k in points}
    score = {k: np.abs(size[k].score) for k in points}
    if isinstance(model, EnergyMLP):
        F = {k: absolute(model, points[k][0], **sigma).energy(points[k][1], **sigma) for k in (-1, 1)}
        slope = 0 if reduced else (F[1] + F[-1]) / (4 * eps**2)
        energies = sum(at(k, energy_bar=slope + 1 / eps**2 + np.zeros(len(x))) for k in (-1, 1))
        energies = energies + at(0, energy_bar=np.full(len(x), 2 / eps**2))
        return energies + at(0, score_bar=score[0]) if reduced else energies
    mean = 0.5 * (score[1] + score[-1])
    bar = 0.5 * (mean if reduced else np.sum(np.abs(v) * mean, 1, keepdims=True) * np.abs(v)) + np.abs(v) / (2 * eps)
    return at(1, score_bar=bar) + at(-1, score_bar=bar)


def difference_formula(model, x, sigma, v, eps, reduced):
    """MATH section 4, finite differences, as it is printed."""
    if isinstance(model, EnergyMLP):
        plus, f, minus = (model.energy(x + k * eps * v, **sigma) for k in (1, 0, -1))
        square = 0.5 * np.sum(model.score(x, **sigma) ** 2, 1) if reduced else (plus - minus) ** 2 / (8 * eps**2)
        return -(plus - 2 * f + minus) / eps**2 + square
    plus, minus = (model.score(x + k * eps * v, **sigma) for k in (1, -1))
    mean = 0.5 * (plus + minus)
    square = 0.5 * np.sum(mean**2, 1) if reduced else 0.5 * np.sum(v * mean, 1) ** 2
    return np.sum(v * (plus - minus), 1) / (2 * eps) + square


def gradient_scale(model, x, sigma, *, score_bar=None, energy_bar=None, v=None, curvature_bar=None, reach=None):
    """S of a gradient with these absolute cotangents: the pullback through the network of absolute values at x."""
    sign, total, n = -1 if isinstance(model, EnergyMLP) else 1, 0, len(x)
    for i in range(n):  # one sample at a time: log sigma enters with its sign
        at = slice(i, i + 1)
        one = {"sigma": sigma["sigma"][at]} if sigma else {}
        size = absolute(model, x[at], **one)
        far = np.abs(x[at]) if reach is None else reach[at]
        bars = {} if score_bar is None else {"score_bar": sign * score_bar[at]}
        if energy_bar is not None:
            bars["energy_bar"] = energy_bar[at]
        if v is not None:
            bars["curvature_bar"] = sign * curvature_bar[:, at]
        part = size.evaluate(far, curvature=None if v is None else np.abs(v[:, at]), **one)
        total = total + np.abs(part.pullback(**bars)) / n
    return total


NAMES = tuple(cases(ScoreMLP.init(2, (2,), rng=0), np.ones((1, 2)), {}, np.random.default_rng(0)))


def family_errors(model, x, sigma, rng):
    """Errors of every objective's gradient against complex steps, in eps S."""
    p = model.theta.size
    places = np.unique(np.concatenate([[0, p - 1], rng.integers(0, p, 8)]))
    out = {}
    for name, (loss, _, scale) in cases(model, x, sigma, rng).items():
        S = scale()
        S = S + 1e-60 * S.max()  # see gradient_error
        exact = true_gradient(model, lambda net, loss=loss: loss(net).value, places)
        out[name] = scaled(loss(model).gradient[places], exact, S[places])
    return out


@BOTH
@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.nightly)])
def test_every_gradient_against_complex_steps(cls, count):
    worst = dict.fromkeys(NAMES, 0.0)
    for seed in range(count):
        rng, model, x, sigma = small(cls, (count, seed))
        for name, error in family_errors(model, x, sigma, rng).items():
            worst[name] = max(worst[name], error)
    print(cls.kind, {name: f"{error:.1f}" for name, error in worst.items()})
    assert max(worst.values()) <= LIMITS["gradient"], worst


@BOTH
def test_control_every_gradient_test_sees_one_part_in_a_million(cls, monkeypatch):
    """Finite differences are held to S / eps^2, 1e-10 of which is lost to them; the others would see 1e-12."""
    rng, model, x, sigma = small(cls, 6)
    right = model._sweep
    slightly = lambda out, g: (out, None if g is None else g * (1 + 1e-6))
    monkeypatch.setattr(model, "_sweep", lambda *a, **k: slightly(*right(*a, **k)), raising=False)
    errors = family_errors(model, x, sigma, rng)
    assert min(error for name, error in errors.items() if "finite" not in name) > LIMITS["gradient"], errors


@BOTH
@given(seed=SEEDS)
def test_every_loss_is_its_printed_formula(cls, seed):
    rng, model, x, sigma = small(cls, seed)
    for name, (loss, formula, _) in cases(model, x, sigma, rng).items():
        got, want = loss(model).per_sample, formula()
        assert got.shape == want.shape == (len(x),)
        # terms of either sign: their sizes, through the network's own sums of absolute values, bound the rounding
        size = np.abs(want) + loss_size(model, x, sigma) * 1e3
        np.testing.assert_array_less(np.abs(got - want), (1e-6 if "finite" in name else 1e-12) * size, err_msg=name)


def loss_size(model, x, sigma):
    """A generous size of scores and curvatures at and around x."""
    far = np.abs(x) + 10
    ev = absolute(model, x, **sigma).evaluate(far, trace=True, **sigma)
    return 1 + np.abs(ev.trace) + np.sum(ev.score**2, 1)


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


# ------------------------------------------------------------------------------- sliced: mean and variance


def linear_in(A):
    """A ScoreMLP of score A x, to 1e-12."""
    return linear_score(np.asarray(A, float), np.zeros(len(A)))


def slices(model, point, probe, n, reduced=True, seed=0):
    """Sliced losses of n copies of one point, one probe each."""
    return sliced(model, np.tile(point, (n, 1)), probe=probe, rng=seed, variance_reduced=reduced).per_sample


COUNTS = pytest.mark.parametrize("n", [10_000, pytest.param(100_000, marks=pytest.mark.nightly)])


@COUNTS
@BOTH
@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian", "sphere"])
def test_sliced_is_unbiased(cls, probe, reduced, n):
    model, point = cls.init(5, (7, 6), "softplus", rng=2), np.array([0.3, -1, 2, 0.5, -0.2])
    model = model.with_theta(2 * model.theta)
    losses = slices(model, point, probe, n, reduced)
    z = (losses.mean() - implicit(model, point[None]).value) / (losses.std() / np.sqrt(n))
    assert abs(z) < 5, z


def test_control_the_z_test_sees_slices_of_unit_length(monkeypatch):
    """The bug of sliced_score_matching's followers: |v| = 1, so that E[v v^T] = I/d."""
    model, point, n = ScoreMLP.init(5, (7, 6), rng=2), np.ones(5), 10_000
    right = arguments.draw_probes
    monkeypatch.setattr(arguments, "draw_probes", lambda w, p, shape, *r: right(w, p, shape, *r) / np.sqrt(shape[-1]))
    losses = slices(model, point, "sphere", n)
    assert abs(losses.mean() - implicit(model, point[None]).value) / (losses.std() / np.sqrt(n)) > 5


@COUNTS
@BOTH
@pytest.mark.parametrize("probe", ["rademacher", "gaussian", "sphere"])
def test_the_variance_of_a_slice_is_the_formula(cls, probe, n):
    model, point = cls.init(5, (7, 6), "softplus", rng=2), np.array([0.3, -1, 2, 0.5, -0.2])
    J = model.jacobian(point[None])[0]
    A, d = 0.5 * (J + J.T), 5
    total = np.sum(A**2)
    want = {
        "gaussian": 2 * total,
        "rademacher": 2 * (total - np.sum(np.diag(A) ** 2)),
        "sphere": 2 * d / (d + 2) * (total - np.trace(A) ** 2 / d),
    }[probe]
    got = slices(model, point, probe, n).var()
    # 5 % at 1e5 probes; the standard error of a variance grows as 1/sqrt(n)
    assert abs(got / want - 1) < 0.05 * np.sqrt(1e5 / n), got / want


@pytest.mark.parametrize(
    "probe, J",
    [("rademacher", np.diag([1, -2, 3, 0.5])), ("sphere", 2 * np.eye(4)), ("sphere", [[3]]), ("rademacher", [[3]])],
)
def test_where_the_variance_is_zero_every_slice_is_the_trace(probe, J):
    """Signs on a diagonal Jacobian, the sphere on a multiple of the identity, either in one dimension."""
    losses = slices(linear_in(J), np.zeros(len(J)), probe, 1000)
    np.testing.assert_allclose(losses, np.trace(J), rtol=1e-14)  # a sum of 4 products
    assert slices(linear_in(J), np.zeros(len(J)), "gaussian", 1000).std() > 0.1


def test_the_mean_of_m_slices_has_one_mth_of_the_variance():
    model, x = ScoreMLP.init(3, (6,), rng=0), np.zeros((20_000, 3))
    one, four = (sliced(model, x, n_probes=m, probe="gaussian", rng=1).per_sample.var() for m in (1, 4))
    assert abs(one / four - 4) < 0.4


@BOTH
def test_finite_differences_approach_the_slice_as_eps_squared(cls):
    model, x = cls.init(3, (6, 5), "tanh", rng=0), np.random.default_rng(0).standard_normal((5, 3))
    for reduced in (False, True):
        exact = sliced(model, x, rng=3, n_probes=2, variance_reduced=reduced).value
        near = [
            finite_difference_sliced(model, x, h, rng=3, n_probes=2, variance_reduced=reduced).value - exact
            for h in (0.04, 0.02)
        ]
        assert 3.9 < near[0] / near[1] < 4.1  # 4 + O(h^2); the same seed gives the same probes


# ------------------------------------------------------------------------------- denoising: the identities


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
def test_with_weight_one_generalised_is_implicit(cls):
    model, x = cls.init(40, (6, 5), "tanh", rng=1), np.random.default_rng(0).standard_normal((30, 40))
    one, two = generalised(model, x, np.ones_like, np.zeros_like), implicit(model, x)
    np.testing.assert_allclose(one.per_sample, two.per_sample, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(one.gradient, two.gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "weight",
    [
        linear_weight(0.1),
        square_weight(0.1),
        capped_weight(0.7, 0.1),
        box_weight(0.1, 3),
        box_weight([0.1, -np.inf], [np.inf, 3]),
        box_weight([0.1, -np.inf], [np.inf, 3], cap=0.7),
        box_weight(-np.inf, np.inf),
    ],
)
def test_weights_are_continuous_vanish_at_the_ends_and_have_the_derivative_they_say(weight):
    h, h_prime = weight
    x, step = np.linspace(0.2, 2.9, 28).repeat(2).reshape(-1, 2) + 0.0123, 1e-6
    np.testing.assert_allclose((h(x + step) - h(x - step)) / (2 * step), h_prime(x), atol=1e-8)
    assert np.all(h(x) > 0) and np.shape(h(x)) == np.shape(h_prime(x)) == x.shape
    end = h(np.array([[0.1, 3.0]]))[0]
    assert end[0] == 0 or end[0] == 1


# ------------------------------------------------------------------------------- randomness


RANDOM = {
    "denoising": lambda net, x, rng: denoising(net, x, 0.5, rng=rng),
    "multilevel": lambda net, x, rng: multilevel_denoising(net, x, [1, 0.5], rng=rng),
    "one level each": lambda net, x, rng: multilevel_denoising(net, x, [1, 0.5], rng=rng, level=np.arange(len(x)) % 2),
    "sliced": lambda net, x, rng: sliced(net, x, rng=rng, n_probes=3),
    "sliced, plain": lambda net, x, rng: sliced(net, x, rng=rng, probe="gaussian", variance_reduced=False),
    "finite differences": lambda net, x, rng: finite_difference_sliced(net, x, 1e-2, probe="sphere", rng=rng),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_the_same_seed_gives_the_same_bits_and_value_and_gradient_see_the_same_numbers(make):
    net, x = EnergyMLP.init(3, (5, 4), "tanh", rng=0), np.random.default_rng(1).standard_normal((700, 3))
    one, two, other = make(net, x, 5), make(net, x, np.random.default_rng(5)), make(net, x, 6)
    value = one.value
    np.testing.assert_array_equal(one.gradient, two.gradient)  # value first, gradient first
    np.testing.assert_array_equal(one.per_sample, two.per_sample)
    assert value == two.value != other.value
    step = 1e-6 * one.gradient  # the value moves along its own gradient
    slope = (
        make(net.with_theta(net.theta + step), x, 5).value - make(net.with_theta(net.theta - step), x, 5).value
    ) / 2e-6
    assert abs(slope / (one.gradient @ one.gradient) - 1) < 1e-5


def test_a_generator_is_read_once_when_the_loss_is_made():
    net, x = ScoreMLP.init(3, (5,), "tanh", rng=0), np.ones((9, 3))
    for make in RANDOM.values():
        rng = np.random.default_rng(0)
        loss = make(net, x, rng)
        state = rng.bit_generator.state
        _ = loss.value, loss.gradient
        assert rng.bit_generator.state == state
        assert make(net, x, rng).value != loss.value  # the generator has moved on


def test_probes_do_not_depend_on_how_a_sweep_cuts_its_blocks(monkeypatch):
    net, x = EnergyMLP.init(3, (5, 4), "tanh", rng=0), np.random.default_rng(1).standard_normal((1000, 3))
    whole = sliced(net, x, rng=0, n_probes=5, variance_reduced=False)
    pair = whole.per_sample, whole.gradient
    monkeypatch.setattr("numpyscore.networks.schedule.SAMPLES", 1 << 9)
    monkeypatch.setattr(objectives, "NUMBERS", 1 << 9)
    cut = sliced(net, x, rng=0, n_probes=5, variance_reduced=False)
    np.testing.assert_allclose(cut.per_sample, pair[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cut.gradient, pair[1], rtol=1e-11, atol=1e-13)


@BOTH
def test_float32_stays_float32(cls):
    net, x = cls.init(3, (5, 4), "tanh", rng=0, dtype=np.float32), np.full((9, 3), 0.5, np.float32)
    losses = [make(net, x, 0) for make in RANDOM.values()] + [generalised(net, x, *linear_weight())]
    losses += [sliced(net, x, probes=np.ones((9, 3))), denoising(net, x, np.full(9, 0.5), noise=np.ones((9, 3)))]
    for loss in losses:
        assert loss.per_sample.dtype == loss.gradient.dtype == loss.value.dtype == np.float32


@BOTH
def test_memory_does_not_grow_with_probes_or_levels(cls):
    import tracemalloc

    net, x = cls.init(20, (16,), "tanh", rng=0), np.zeros((2000, 20))
    mebi = []
    for make in (
        lambda: sliced(net, x, n_probes=100, rng=0),
        lambda: multilevel_denoising(net, x, np.ones(40), rng=0),
        lambda: generalised(net, x, np.ones_like, np.zeros_like),
        lambda: finite_difference_sliced(net, x, 1e-2, n_probes=5, rng=0),
    ):
        tracemalloc.start()
        _ = make().value
        mebi.append(tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
    print([f"{m:.1f} MiB" for m in mebi])
    assert max(mebi) < 64, mebi


# ------------------------------------------------------------------------------- what the family refuses

X = np.full((4, 3), 0.5)
REFUSED = [
    *[
        (lambda net, s=s: denoising(net, X, s), "denoising: sigma has the value .* expected positive standard deviations")
        for s in (0, -0.1, 0.0, [0.1, 0.2, -1, 0.3])
    ],
    (lambda net: denoising(net, X, np.nan), "denoising: sigma is nan"),
    (lambda net: denoising(net, X, [0.1, 0.2]), r"denoising: sigma has shape \(2,\), expected one number or \(4,\)"),
    (lambda net: denoising(net, X, np.ones((4, 1))), r"denoising: sigma has shape \(4, 1\)"),
    (lambda net: denoising(net, X, 1, noise=np.ones((4, 2))), r"denoising: noise has shape \(4, 2\), expected \(n, 3\)"),
    (lambda net: denoising(net, X, 1, noise=np.ones((1, 3))), r"denoising: noise has shape \(1, 3\), expected that of x"),
    (lambda net: denoising(net, X, 1, noise=np.full((4, 3), np.inf)), r"denoising: noise\[0, 0\] is inf"),
    (lambda net: denoising(net, X, 1, noise=X, rng=0), "denoising: rng and noise are both given"),
    (lambda net: denoising(net, X[0], 1), r"denoising: x has shape \(3,\)"),
    (lambda net: denoising(net, X[:0], 1), "denoising: x has no rows"),
    (lambda net: multilevel_denoising(net, X[:0], [1]), "multilevel_denoising: x has no rows"),
    (lambda net: multilevel_denoising(net, X, []), r"multilevel_denoising: sigmas has shape \(0,\)"),
    (lambda net: multilevel_denoising(net, X, 0.5), r"multilevel_denoising: sigmas has shape \(\), expected \(L,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 0]), "multilevel_denoising: sigmas has the value 0"),
    (lambda net: multilevel_denoising(net, X, [1], weight="sigma"), "weight is 'sigma', expected 'sigma2', 'one' or"),
    (lambda net: multilevel_denoising(net, X, [1], weight=2.0), "weight is 2.0, expected"),
    (lambda net: multilevel_denoising(net, X, [1], weight=lambda s: -s), "weight has the value -1.0, expected weights >= 0"),
    (lambda net: multilevel_denoising(net, X, [1, 2], weight=lambda s: s[:1]), r"weight returned float64 \(1,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=[0, 1, 2, 0]), "level has the value 2, expected 0 to 1"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=-1), "level has the value -1, expected 0 to 1"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=[0, 1]), r"level has shape \(2,\), expected one integer or \(4,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], noise=np.ones((3, 4, 3))), r"noise has shape \(3, 4, 3\), expected \(4, 3\) or \(2, 4, 3\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=0, noise=np.ones((2, 4, 3))), r"noise has shape \(2, 4, 3\), expected \(4, 3\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], rng=0, noise=X), "rng and noise are both given"),
    (lambda net: sliced(net, X, probe="cauchy"), "sliced: probe is 'cauchy', expected 'rademacher', 'gaussian' or 'sphere'"),
    (lambda net: sliced(net, X, n_probes=0), "sliced: n_probes is 0, expected an integer >= 1"),
    (lambda net: sliced(net, X, probes=np.ones((4, 2))), r"sliced: probes has shape \(4, 2\), expected \(4, 3\)"),
    (lambda net: sliced(net, X, probes=np.ones(3)), r"sliced: probes has shape \(3,\)"),
    (lambda net: sliced(net, X, probes=np.ones((0, 4, 3))), "sliced: probes are 0 per sample"),
    (lambda net: sliced(net, X, probes=X, n_probes=2), "sliced: probes are 1 per sample and n_probes is 2"),
    (lambda net: sliced(net, X, probes=X * np.nan), "sliced: probes.* is nan"),
    (lambda net: sliced(net, X, probes=X, rng=0), "sliced: rng and probes are both given"),
    (lambda net: sliced(net, X, rng=-1), "sliced: rng is -1"),
    (lambda net: sliced(net, X, sigma=1.0), "sliced: sigma was given, but this network is not conditional"),
    (lambda net: generalised(net, -X, *linear_weight()), r"generalised: h\[0, 0\] is -0.5 at x\[0, 0\] = -0.5, expected h >= 0 .*lies outside"),
    (lambda net: generalised(net, -X, *square_weight()), r"square_weight: x\[0\] = .* lies below lower"),
    (lambda net: generalised(net, X, *box_weight(0.6, 1)), "generalised: h.* lies outside"),
    (lambda net: generalised(net, X, 1.0, 0.0), r"generalised: h has shape \(\)"),
    (lambda net: generalised(net, X, np.ones((4, 2)), X), r"generalised: h has shape \(4, 2\)"),
    (lambda net: generalised(net, X, X, np.ones((1, 3))), r"generalised: h_prime has shape \(1, 3\), expected that of x"),
    (lambda net: generalised(net, X, X, X * np.nan), r"generalised: h_prime\[0, 0\] is nan"),
    (lambda net: finite_difference_sliced(net, X, 1e-9), "eps is 1e-09, expected at least 1.49e-08 .*in float64"),
    (lambda net: finite_difference_sliced(net, 1e6 * X, 1e-3), "eps is 0.001, expected at least 0.007"),
    (lambda net: finite_difference_sliced(net, X, 0), "finite_difference_sliced: eps is 0.0, expected a finite positive"),
    (lambda net: finite_difference_sliced(net, X, -1e-3), "eps is -0.001, expected a finite positive number"),
    (lambda net: finite_difference_sliced(net, X, np.nan), "eps is nan"),
    (lambda net: capped_weight(0), "capped_weight: c is 0.0"),
    (lambda net: box_weight(0, 1, cap=0), "box_weight: cap is 0, expected a positive number"),
    (lambda net: box_weight(1, 1), "box_weight: lower is 1.0, upper 1.0, expected lower < upper"),
    (lambda net: denoising_loss(X, X, -1), "denoising_loss: sigma has the value -1"),
    (lambda net: denoising_loss(X, X[0], 1), "denoising_loss: noise has shape"),
    (lambda net: sliced_loss(X, np.ones((4, 1))), r"sliced_loss: curvature has shape \(4, 1\)"),
    (lambda net: sliced_loss(X, np.ones((2, 4)), X), "sliced_loss: probes are 1 per sample and curvature 2"),
    (lambda net: generalised_loss(X, np.ones(4), X, X), "generalised_loss: diagonal has shape"),
    (lambda net: finite_difference_energy_loss(np.ones(3), np.ones(4), np.ones(4), 0.1), "energies have shapes"),
    (lambda net: finite_difference_score_loss(X, X[:2], X, 0.1), "finite_difference_score_loss: plus has shape"),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("run, message", REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_bad_input_is_refused_when_the_loss_is_made(cls, run, message):
    with pytest.raises(ValueError, match=message):
        run(cls.init(3, (4,), rng=0))


def test_a_step_fine_in_float64_is_refused_in_float32():
    net = EnergyMLP.init(3, (4,), rng=0, dtype=np.float32)
    assert np.isfinite(finite_difference_sliced(net, X, 1e-4, rng=0).value)
    with pytest.raises(ValueError, match=r"eps is 0.0001, expected at least 0.000345 .* in float32"):
        finite_difference_sliced(net, X.astype(np.float32), 1e-4, rng=0)


def test_types_that_are_no_numbers_are_refused():
    net = ScoreMLP.init(3, (4,), rng=0)
    for run in (
        lambda: denoising(net, X, "a"),
        lambda: denoising(net, X, 1j),
        lambda: denoising(net, X, 1, noise=1j * X),
        lambda: sliced(net, X, probes=1j * X),
        lambda: sliced(net, X, rng=np.random.RandomState(0)),
        lambda: generalised(net, X, 1j * X, X),
        lambda: multilevel_denoising(net, X, [1], level=0.0),
        lambda: multilevel_denoising(net, X, [1], noise=1j * X),
        lambda: finite_difference_sliced(net, X, "small"),
        lambda: sliced(net, X, n_probes=1.5),
    ):
        with pytest.raises(TypeError, match=r"^(denoising|sliced|generalised|multilevel|finite)"):
            run()


def test_relu_is_refused_wherever_the_trace_stands_behind():
    net = ScoreMLP.init(3, (4,), "relu", rng=0)
    for run in (
        lambda: sliced(net, X),
        lambda: generalised(net, X, *linear_weight()),
        lambda: finite_difference_sliced(net, X, 1e-2),
    ):
        with pytest.raises(ValueError, match="'relu' is not twice differentiable"):
            run()
    assert np.isfinite(denoising(net, X, 0.5, rng=0).gradient).all()  # first derivatives only


def test_a_conditional_network_is_told_the_level_and_others_need_none():
    net = ScoreMLP.init(3, (4,), conditional=True, rng=0)
    noise = np.ones((4, 3))
    want = 0.5 * np.sum((net.score(X + 0.3 * noise, sigma=0.3) + noise / 0.3) ** 2, 1)
    np.testing.assert_allclose(denoising(net, X, 0.3, noise=noise).per_sample, want, rtol=1e-13)
    with pytest.raises(ValueError, match=r"^sliced: this network is conditional on the noise level"):
        sliced(net, X)
