"""The parameters of a network: one common dtype for all layers, so that no entry loses a digit on the way in."""

import itertools

import numpy as np
import pytest

from numpyscore import EnergyMLP, ScoreMLP, load

# fmt: off
INTEGERS = [np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
# fmt: on
FLOATS = [np.float32, np.float64, np.longdouble, np.complex64, np.complex128, np.clongdouble]
THIRD = {np.dtype(t): np.ones(1, t)[0] / 3 for t in FLOATS} | {np.dtype(t): np.ones(1, t)[0] for t in INTEGERS}


def layers_of(*dtypes):
    """Two layers whose W1, b1, W2, b2 have these dtypes; a third in every float, 1/3 (1 + i) in a complex one, and ones in integers."""

    def entry(dtype):
        third = THIRD[np.dtype(dtype)]
        return third * dtype(1 + 1j) if np.dtype(dtype).kind == "c" else third

    shapes = (2, 2), (2,), (2, 1), (1,)
    made = [np.full(shape, entry(t), t) for shape, t in zip(shapes, dtypes, strict=True)]
    return [(made[0], made[1]), (made[2], made[3])]


def assert_entries_survive(net, layers):
    """Every entry is the one that came, in the common dtype."""
    came = [a for pair in layers for a in pair]
    common = np.result_type(*came)
    common = common if common.kind in "fc" else np.dtype(float)
    assert net.theta.dtype == common
    for there, here in zip((a for pair in net.layers for a in pair), came, strict=True):
        np.testing.assert_array_equal(there, here.astype(common), strict=True)


@pytest.mark.parametrize("place", [(0, 1), (0, 3), (2, 1), (1, 0), (0, 2), (1, 3)], ids=str)
def test_all_layers_get_one_common_dtype(place):
    for pair in itertools.product(INTEGERS + FLOATS, repeat=2):
        dtypes = [pair[0]] * 4
        dtypes[place[1]] = pair[1]
        layers = layers_of(*dtypes)
        assert_entries_survive(EnergyMLP.from_arrays(layers, "tanh"), layers)


def test_the_control_sees_a_bias_of_the_dtype_of_its_weights():
    layers = layers_of(np.int64, np.float64, np.float32, np.float64)
    lost = [(W, b.astype(W.dtype)) for W, b in layers]
    with pytest.raises(AssertionError):
        assert_entries_survive(EnergyMLP.from_arrays(lost, "tanh"), layers)


def test_integer_weights_keep_their_biases(tmp_path):
    """The teaching case, by hand: E = tanh(x_1 + .5) - tanh(2 x_1 + x_2 + .75) + .25."""
    layers = [([[1, 2], [0, 1]], [0.5, 0.75]), ([[1], [-1]], [0.25])]
    net, x = EnergyMLP.from_arrays(layers, "tanh"), np.array([[0.3, -0.2]])
    by_hand = np.tanh(0.8) - np.tanh(1.15) + 0.25
    assert abs(by_hand - 0.0963) < 1e-4
    np.testing.assert_allclose(net.energy(x), by_hand, rtol=1e-15)
    net.save(tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as data:
        arrays = dict(data)
    np.savez(tmp_path / "integers.npz", **arrays | {"W1": np.array(layers[0][0]), "W2": np.array(layers[1][0])})
    np.testing.assert_allclose(load(tmp_path / "integers.npz").energy(x), by_hand, rtol=1e-15)


def test_a_complex_bias_beside_real_weights_keeps_its_imaginary_part():
    """A complex step in b: dE/db = 1 - tanh^2(z) for one unit; the step is 1e-20, its error 1e-40."""
    net = ScoreMLP.from_arrays([(np.ones((1, 1)), [0.5 + 1e-20j]), (np.ones((1, 1)), [0.0])], "tanh")
    slope = net.score(np.array([[0.3]])).imag[0, 0] / 1e-20
    np.testing.assert_allclose(slope, 1 - np.tanh(0.8) ** 2, rtol=1e-14)
