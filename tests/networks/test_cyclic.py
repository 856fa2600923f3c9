"""The two ways of a score network's exact trace: the closed form of few layers, and tangents that begin at z_1."""

import itertools

import numpy as np
import pytest
from networks_cases import EPS, assert_within, network_of, trace_scale

from numpyscore import ScoreMLP, implicit
from numpyscore import textbook as tb
from numpyscore.networks import cyclic
from numpyscore.networks.triangle import LEAF


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@pytest.mark.parametrize("widths", [(4,), (7,), (4, 6), (7, 5)], ids=str)
def test_the_closed_form_is_the_sum_along_the_basis_of_z_1(widths, conditional, monkeypatch):
    """d = 5 lies between the widths: the basis of z_1 is longer or shorter than the rows of W_1."""
    model, x, sigma = network_of(ScoreMLP, 5, widths, conditional=conditional, n=40)
    trace, loss = model.trace(x, **sigma), implicit(model, x, **sigma)
    value, gradient = loss.value, loss.gradient
    monkeypatch.setattr(ScoreMLP, "_trace_ways", staticmethod(cyclic.Cyclic))
    assert_within(16, model.trace(x, **sigma), trace, trace_scale(model, x, sigma))
    again = implicit(model, x, **sigma)
    assert abs(again.value - value) <= 64 * EPS * max(1, abs(value))
    # the same sums in another order, terms of order one
    np.testing.assert_allclose(again.gradient, gradient, rtol=0, atol=256 * EPS * np.abs(gradient).max())


def test_where_tangents_leave_is_the_textbooks_cyclic_trace():
    """T_1 (r, 1, n_1) and C (r, 1, n_L): for one linear layer after the other, sum of T C is the trace of the product."""
    rng = np.random.default_rng(0)
    for d, n_1 in ((3, 6), (6, 3)):
        net = tb.Network.of(
            [(rng.standard_normal(s), np.zeros(s[1])) for s in ((d, n_1), (n_1, n_1), (n_1, n_1), (n_1, d))], tb.tanh
        )
        ways = cyclic.Cyclic(net, d)
        T, C, _ = ways.enter(slice(0, ways.m), slice(0, 1), None)
        product = np.trace(net.W[1] @ net.W[2] @ net.W[3] @ net.W[4])
        assert abs(np.sum((T @ net.W[2] @ net.W[3]) * C) - product) <= 64 * EPS * max(1, abs(product)) * d * n_1


@pytest.mark.parametrize("start", [0, 1, 31, 32, 33, 70, 99])
def test_a_chunk_is_its_rows_of_t_1_without_zeros_on_the_left(start):
    net = tb.Network.of([(np.ones(s), np.zeros(s[1])) for s in ((120, 100), (100, 3), (3, 3), (3, 120))], tb.tanh)
    ways = cyclic.Cyclic(net, 120)
    T, C, _ = ways.enter(slice(start, start + 1), slice(0, 1), None)
    left = 100 - T.shape[2]
    assert 0 <= start - left < LEAF and not ways.T_1[start, :left].any()
    np.testing.assert_array_equal(T[0, 0], ways.T_1[start, left:])
    np.testing.assert_array_equal(C[0, 0], ways.C[start])


@pytest.mark.parametrize("way", ["Cyclic", "Bilinear"])
def test_control_a_way_that_forgets_half_of_its_pullback_is_seen(way, monkeypatch):
    model, x, _ = network_of(ScoreMLP, 5, (7, 6), n=4)
    right = implicit(model, x).gradient
    monkeypatch.setattr(ScoreMLP, "_trace_ways", staticmethod(getattr(cyclic, way)))
    monkeypatch.setattr(cyclic, "to_ends", lambda *a: None)
    assert np.abs(implicit(model, x).gradient - right).max() > 1e-3 * np.abs(right).max()


def test_directions_keep_the_dtype_of_the_weights():
    """A float64 identity would make float64 tangents of a float32 network."""
    rng = np.random.default_rng(0)
    for d, n_1 in ((3, 6), (6, 3), (4, 4)):
        shapes = ((d, n_1), (n_1, 5), (5, 2), (2, d))
        net = tb.Network.of(
            [(rng.standard_normal(s).astype(np.float32), np.zeros(s[1], np.float32)) for s in shapes], tb.tanh
        )
        ways = cyclic.Cyclic(net, d)
        assert ways.T_1.dtype == ways.C.dtype == np.float32 and ways.m == min(d, n_1)
        assert ways.triangular == (d >= n_1)  # at d = n_1 the identity, whose zeros on the left need no product


def test_few_layers_have_a_closed_form():
    for depth, way in ((1, cyclic.Bilinear), (2, cyclic.Bilinear), (3, cyclic.Cyclic), (4, cyclic.Cyclic)):
        sizes = [3, *[4] * depth, 3]
        net = tb.Network.of([(np.ones(s), np.zeros(s[1])) for s in itertools.pairwise(sizes)], tb.tanh)
        assert type(cyclic.cyclic(net, 3)) is way
