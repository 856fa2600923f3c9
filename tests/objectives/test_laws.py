"""What a loss must not depend on: where the origin is, how the axes stand, the unit of x, the order of hidden units and of rows, a constant."""

import itertools

import numpy as np
import pytest
from objectives_cases import BOTH

from numpyscore.networks.models import EnergyMLP
from numpyscore.objectives import OBJECTIVES
from numpyscore.objectives.denoising import denoising, multilevel_denoising
from numpyscore.objectives.implicit import explicit, generalised, implicit
from numpyscore.objectives.sliced import finite_difference_sliced, sliced

N, D = 5, 4
differences = lambda reduced: lambda net, q: finite_difference_sliced(net, q["x"], q["step"], probes=q["v"][0], variance_reduced=reduced)  # fmt: skip
# name -> loss, whether it may be turned by any angle (those of the Jacobian's diagonal know their axes), power of the unit of x
LOSSES = {
    "explicit": (lambda net, q: explicit(net, q["x"], q["target"]), True, -2),
    "implicit": (lambda net, q: implicit(net, q["x"]), True, -2),
    "generalised": (lambda net, q: generalised(net, q["x"], q["h"], q["h_prime"]), False, -2),
    "regularised": (lambda net, q: OBJECTIVES["regularised"].function(net, q["x"], q["lam"]), False, -2),
    "denoising": (lambda net, q: denoising(net, q["x"], q["sd"], noise=q["noise"]), True, -2),
    "multilevel": (lambda net, q: multilevel_denoising(net, q["x"], q["levels"], noise=q["v"]), True, 0),
    "sliced": (lambda net, q: sliced(net, q["x"], probes=q["v"]), True, -2),
    "sliced, projected": (lambda net, q: sliced(net, q["x"], probes=q["v"], variance_reduced=False), True, -2),
    "finite differences": (differences(False), True, -2),
    "finite differences, reduced": (differences(True), True, -2),
}
EACH = pytest.mark.parametrize("name", LOSSES)
# Of the largest number of the loss. Its terms are at most 100, second differences divide their rounding by step^2 = 1/16,
# and some 30 roundings of a network of two layers add up: 100 * 16 * 30 * eps = 1e-11.
CLOSE = 1e-11


def close(got, want):
    """To CLOSE of the largest entry, or of one."""
    np.testing.assert_allclose(got, want, rtol=0, atol=CLOSE * max(1, np.abs(want).max()))


def drawn(cls, seed=0):
    """A network and what every objective is given, a row for each sample."""
    rng = np.random.default_rng(seed)
    net = cls.init(D, (6, 5), "silu", rng=rng)
    q = {name: rng.standard_normal((N, D)) for name in ("x", "target", "h_prime", "noise")} | {
        "v": rng.standard_normal((2, N, D)), "h": rng.uniform(0.1, 2, (N, D)), "sd": rng.uniform(0.5, 2, N),
        "levels": np.array([1.0, 0.5]), "step": 0.25, "lam": 0.3,
    }  # fmt: skip
    return net, q


def seen(net, q, Q, c, t):
    """The same network and data in the coordinates y = c x Q + t."""
    layers = [[W.copy(), b.copy()] for W, b in net.layers]
    first, last = layers[0], layers[-1]
    first[0] = Q.T @ first[0] / c
    first[1] = first[1] - t @ first[0]
    if not isinstance(net, EnergyMLP):  # the score is a gradient in y
        last[:] = last[0] @ Q / c, last[1] @ Q / c
    there = {
        "x": c * q["x"] @ Q + t, "target": q["target"] @ Q / c, "h": q["h"] @ Q**2, "h_prime": q["h_prime"] @ Q / c,
        "noise": q["noise"] @ Q, "v": q["v"] @ Q, "sd": c * q["sd"], "levels": c * q["levels"], "step": c * q["step"],
        "lam": c**2 * q["lam"],
    }  # fmt: skip
    return type(net).from_arrays(layers, net.activation), there


def moves(rng, any_angle):
    """(Q, c, t): a translation, a unit, a turn, and all of them."""
    Q = (
        np.linalg.qr(rng.standard_normal((D, D)))[0]
        if any_angle
        else np.eye(D)[rng.permutation(D)] * rng.choice([-1, 1], D)
    )
    t, I = rng.standard_normal(D), np.eye(D)
    return [(I, 1.0, t), (I, 10.0, 0 * t), (Q, 1.0, 0 * t), (Q, 0.1, t)]


def compare_moved(net, q, loss, any_angle, power):
    for Q, c, t in moves(np.random.default_rng(1), any_angle):
        other, there = seen(net, q, Q, c, t)
        close(loss(other, there).per_sample * c**-power, loss(net, q).per_sample)


@EACH
@BOTH
def test_neither_the_origin_nor_the_axes_nor_the_unit_matters(cls, name):
    compare_moved(*drawn(cls), *LOSSES[name])


@BOTH
def test_control_what_has_not_the_unit_of_a_loss_is_seen(cls):
    loss, *rest = LOSSES["implicit"]

    class Shifted:
        def __init__(self, net, q):
            self.per_sample = loss(net, q).per_sample + 1e-6

    with pytest.raises(AssertionError):
        compare_moved(*drawn(cls), Shifted, *rest)


@EACH
@BOTH
def test_hidden_units_may_change_places_with_their_gradients(cls, name):
    (net, q), loss = drawn(cls), LOSSES[name][0]
    rng, places = np.random.default_rng(2), [list(pair) for pair in net.unflatten(np.arange(net.theta.size))]
    for here, after in itertools.pairwise(places):
        order = rng.permutation(len(here[1]))
        here[0], here[1], after[0] = here[0][:, order], here[1][order], after[0][order]
    order = np.concatenate([a.ravel() for pair in places for a in pair])
    other = net.with_theta(net.theta[order])
    close(loss(other, q).value, loss(net, q).value)
    close(loss(other, q).gradient, loss(net, q).gradient[order])
    assert np.abs(loss(net, q).gradient[order] - loss(net, q).gradient).max() > 1e-3  # the order is not the old one


def rows_of(q, rows):
    """What is given for some of the samples, in any order and number."""
    pick = lambda a: (
        a if np.ndim(a) == 0 or (len(a) == 2 and np.ndim(a) == 1) else a[:, rows] if np.ndim(a) == 3 else a[rows]
    )
    return {name: pick(a) for name, a in q.items()}


@EACH
@BOTH
def test_a_mean_is_over_rows_however_they_are_ordered_repeated_or_split(cls, name):
    (net, q), loss = drawn(cls), LOSSES[name][0]
    whole, turned, twice = (loss(net, rows_of(q, rows)) for rows in (range(N), [3, 0, 4, 1, 2], np.repeat(range(N), 2)))
    for other in (turned, twice):
        close(other.value, whole.value)
        close(other.gradient, whole.gradient)
    first, rest = (loss(net, rows_of(q, rows)) for rows in ([0, 1], [2, 3, 4]))
    close((2 * first.value + 3 * rest.value) / N, whole.value)
    close((2 * first.gradient + 3 * rest.gradient) / N, whole.gradient)
    assert abs(first.value - rest.value) > 1e-3  # the parts are not each other's


@EACH
def test_an_energy_is_known_up_to_a_constant(name):
    (net, q), loss = drawn(EnergyMLP), LOSSES[name][0]
    risen = net.theta.copy()
    risen[-1] += 3.0
    other = net.with_theta(risen)
    close(loss(other, q).value, loss(net, q).value)
    close(loss(other, q).gradient, loss(net, q).gradient)
    close(loss(net, q).gradient[-1], 0.0)
