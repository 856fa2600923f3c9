"""Triangular factors of a Gram matrix, the half of a cotangent that is enough, and where Cholesky gives way to QR."""

import numpy as np
import pytest
from networks_cases import EPS, network_of

from numpyscore import EnergyMLP, implicit
from numpyscore.networks import directions, triangle
from numpyscore.networks.directions import Collapsed
from numpyscore.networks.parameters import Network


def collapsed(W):
    """The directions of an energy network with this first layer and two hidden ones."""
    return Collapsed(Network({1: W}, {}, {}, 2, None), len(W))


def lifted(lift, R_bar, F=None):
    """W_bar = A^T B for the cotangent R_bar + R diag F."""
    A, B = lift(R_bar, np.zeros(R_bar.shape[1]) if F is None else F)
    return A.T @ B


@pytest.mark.parametrize("d, n_1", [(3, 5), (40, 7), (300, 64)])
@pytest.mark.parametrize("dependent", [False, True])
def test_the_curvature_at_z_1_itself_comes_back_entry_by_entry(d, n_1, dependent):
    """W diag F, to 4 eps of each entry, though F spans twenty decades; through R^-1 an entry takes the rounding of its column."""
    rng = np.random.default_rng(d)
    W, F = rng.standard_normal((d, n_1)), 10.0 ** rng.uniform(-10, 10, n_1)
    W[0] /= 1000
    if dependent:
        W[:, 1] = W[:, 0]
    ways = collapsed(W)
    assert ways.triangular == (d > n_1 and not dependent)
    off = lambda got: np.max(np.abs(got / (W * F) - 1))
    assert off(lifted(ways.lift, np.zeros_like(ways.R), F)) <= 4 * EPS  # one product, and sums with zeros
    if ways.triangular:  # control: F as a part of R_bar
        assert off(lifted(ways.lift, ways.R * F)) > 16 * EPS


def test_the_upper_half_of_a_cotangent_is_enough():
    """W_bar = W S from R_bar = R S, S symmetric, with everything below the diagonal squares of R_bar unknown."""
    rng = np.random.default_rng(0)
    for d, n_1 in ((40, 20), (200, 33), (300, 64), (400, 130), (900, 200)):
        W = rng.standard_normal((d, n_1)) / d**0.5
        ways = collapsed(W)
        R, lift, is_one = ways.R, ways.lift, ways.triangular
        assert is_one
        S = rng.standard_normal((n_1, n_1))
        S = S + S.T
        R_bar = R @ S
        for start in range(0, n_1, triangle.LEAF):
            R_bar[start : start + triangle.LEAF, :start] = np.nan
        # the solves lose a factor of cond(W)^2, below 40 for these shapes
        assert np.linalg.cond(W) ** 2 < 40
        np.testing.assert_allclose(lifted(lift, R_bar), W @ S, rtol=0, atol=64 * 40 * EPS * np.abs(W @ S).max())


@pytest.mark.parametrize("d", [150, 300])
def test_the_gradient_through_a_wide_triangle(d):
    """Against R = W, which longdouble takes: there no triangle and no lift are involved."""
    net, x = EnergyMLP.init(d, (100, 70), "tanh", rng=0), np.random.default_rng(1).standard_normal((5, d))
    W = net.layers[0][0]
    assert collapsed(W).triangular
    right = implicit(net.with_theta(net.theta.astype(np.longdouble)), x).gradient.astype(float)
    np.testing.assert_allclose(implicit(net, x).gradient, right, rtol=0, atol=2048 * EPS * np.abs(right).max())


def test_a_first_layer_that_happens_to_be_a_triangle():
    """d = n_1: the rows are those of W_1 itself, and every entry of their cotangent counts."""
    net = EnergyMLP.init(40, (40, 5), "tanh", rng=0)
    layers = [(np.triu(net.layers[0][0]), net.layers[0][1]), *net.layers[1:]]
    net, x = EnergyMLP.from_arrays(layers, "tanh"), np.random.default_rng(1).standard_normal((3, 40))
    right = implicit(net.with_theta(net.theta.astype(complex)), x).gradient.real
    assert np.abs(np.tril(net.unflatten(right)[0][0], -1)).max() > 1e-3
    np.testing.assert_allclose(implicit(net, x).gradient, right, rtol=0, atol=64 * EPS * np.abs(right).max())


def test_cholesky_and_qr_are_both_reached_and_give_one_trace():
    model, *_ = network_of(EnergyMLP, 30, (6, 5), seed=3)
    (W, _), *_ = model.layers
    ways = collapsed(W)
    R, lift, is_one = ways.R, ways.lift, ways.triangular
    assert is_one and R.shape == (6, 6) and np.all(np.diag(R) > 0)  # Cholesky's, QR's diagonal has any sign
    Q, R_qr = np.linalg.qr(W)
    bar = np.random.default_rng(0).standard_normal((6, 6))
    np.testing.assert_allclose(R.T @ R, W.T @ W, rtol=0, atol=64 * EPS * np.abs(W.T @ W).max())
    # cotangents of the form R Gbar (only W^T W enters) lift to W Gbar either way; condition number of W here is about 3
    np.testing.assert_allclose(lifted(lift, R @ (bar + bar.T)), Q @ (R_qr @ (bar + bar.T)), rtol=0, atol=1e-13)
    rank_one = np.outer(np.arange(1.0, 31), np.ones(6))
    ways = collapsed(rank_one)
    R, lift = ways.R, ways.lift
    np.testing.assert_allclose(lifted(lift, R @ (bar + bar.T)), rank_one @ (bar + bar.T), rtol=0, atol=1e-12 * 30 * 36)


def test_control_an_equation_solved_wrong_by_one_part_in_a_billion_is_seen(monkeypatch):
    right = directions.solve_symmetric
    monkeypatch.setattr(directions, "solve_symmetric", lambda R, B: right(R, B) * (1 + 1e-9))
    with pytest.raises(AssertionError):
        test_the_upper_half_of_a_cotangent_is_enough()
    with pytest.raises(AssertionError):
        test_the_gradient_through_a_wide_triangle(300)


@pytest.mark.parametrize("n", [1, 20, 95, 96, 200, 333])
def test_cholesky_solve_upper_and_solve_symmetric_are_what_they_say(n):
    """R^T R = G, R X = B, R S = B; W^T W has a condition number of about 4, so that rounding stays near n eps."""
    rng = np.random.default_rng(n)
    W, B = rng.standard_normal((9 * n, n)) / (9 * n) ** 0.5, rng.standard_normal((n, 7))
    R, S = triangle.cholesky(W.T @ W), rng.standard_normal((n, n))
    assert np.all(np.tril(R, -1) == 0) and np.all(np.diag(R) > 0)
    close = lambda got, want: np.testing.assert_allclose(got, want, rtol=0, atol=8 * n * EPS * np.abs(want).max())
    close(R.T @ R, W.T @ W)
    close(R @ triangle.solve_upper(R, B), B)
    close(triangle.solve_symmetric(R, R @ (S + S.T)), S + S.T)
