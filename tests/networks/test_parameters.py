"""Parameters: their order, dtypes, copies, what makes no network, torch's names, seeds."""

import itertools

import numpy as np
import pytest
from accuracy import LIMITS, scaled
from networks_cases import BOTH, EPS, PLAIN, long, network_of, trace_scale
from oracles import scales

from numpyscore import EnergyMLP, ScoreMLP, load
from numpyscore.networks.activations import ACTIVATIONS

# ------------------------------------------------------------------------------- one flat vector


@BOTH
def test_theta_is_w1_b1_w2_b2_row_major(cls):
    out = 1 if cls is EnergyMLP else 2
    sizes = [(2, 3), (3,), (3, 4), (4,), (4, out), (out,)]
    count = iter(range(1, 100))
    arrays = [np.array([next(count) for _ in range(int(np.prod(s)))], float).reshape(s) for s in sizes]
    model = cls.from_arrays(list(zip(arrays[::2], arrays[1::2], strict=True)), "tanh")
    np.testing.assert_array_equal(model.theta, np.arange(1.0, model.theta.size + 1))
    assert model.dim == 2
    for (W, b), W_in, b_in in zip(model.layers, arrays[::2], arrays[1::2], strict=True):
        np.testing.assert_array_equal(W, W_in)
        np.testing.assert_array_equal(b, b_in)
    # a loss's gradient has the same order: that of the output bias is the last, of the sum of energies it is n
    if cls is EnergyMLP:
        assert model.evaluate(PLAIN[:, :2], energy=True).pullback(energy_bar=1.0)[-1] == 4
    # and z = a @ W + b: one hidden layer by hand
    z = np.array([[0.1, -0.2]]) @ arrays[0] + arrays[1]
    y = np.tanh(np.tanh(z) @ arrays[2] + arrays[3]) @ arrays[4] + arrays[5]
    got = model.energy([[0.1, -0.2]]) if cls is EnergyMLP else model.score([[0.1, -0.2]])
    np.testing.assert_allclose(got, y[:, 0] if cls is EnergyMLP else y, rtol=32 * EPS)
    # conditional: dim + 1 rows, the last for log sigma
    arrays[0] = np.vstack([arrays[0], [0.5, -0.5, 0.25]])
    model = cls.from_arrays(list(zip(arrays[::2], arrays[1::2], strict=True)), "tanh", conditional=True)
    assert model.dim == 2 and model.layers[0][0].shape == (3, 3)
    z = z + np.log(0.3) * arrays[0][2]
    y = (np.tanh(np.tanh(z) @ arrays[2] + arrays[3]) @ arrays[4] + arrays[5]) / 0.3
    got = model.energy([[0.1, -0.2]], sigma=0.3) if cls is EnergyMLP else model.score([[0.1, -0.2]], sigma=0.3)
    np.testing.assert_allclose(got, y[:, 0] if cls is EnergyMLP else y, rtol=32 * EPS)


@BOTH
def test_with_theta_and_unflatten_go_round(cls):
    model, x, sigma = network_of(cls, 3, (5, 4), conditional=True, confinement=0.3)
    again = model.with_theta(model.theta)
    assert type(again) is cls and repr(again) == repr(model)
    np.testing.assert_array_equal(again.theta, model.theta)
    np.testing.assert_array_equal(again.trace(x, **sigma), model.trace(x, **sigma))
    theta = model.theta * 2
    other = model.with_theta(theta)
    theta[:] = 0
    assert np.array_equal(other.theta, model.theta * 2), "with_theta must copy"
    np.testing.assert_array_equal(
        np.concatenate([a.ravel() for pair in model.unflatten(theta + 1) for a in pair]), theta + 1
    )
    gradient = np.zeros_like(theta)
    model.unflatten(gradient)[1][1][...] = 7  # views: what is written there is in the flat vector
    assert np.sum(gradient == 7) == 4
    assert model.with_theta(model.theta.astype(np.float32)).theta.dtype == np.float32
    assert model.with_theta(model.theta + 0j).theta.dtype == np.complex128
    assert model.with_theta(np.zeros(theta.size, int)).theta.dtype == np.float64
    assert model.with_theta(list(model.theta)).theta.dtype == np.float64
    big = model.with_theta(model.theta.astype(">f8"))
    assert big.theta.dtype.isnative and np.array_equal(big.theta, model.theta)


@BOTH
def test_theta_of_another_shape_is_refused(cls):
    model, *_ = network_of(cls, 3, (5, 4))
    for bad in (model.theta[:-1], model.theta[None], 1.0, []):
        for call in (model.unflatten, model.with_theta):
            with pytest.raises(ValueError, match=rf"unflatten: theta has shape .*, expected \({model.theta.size},\)"):
                call(bad)
    bad = model.theta.copy()
    bad[4] = np.inf
    with pytest.raises(ValueError, match=r"W1\[0, 4\] is inf"):
        model.with_theta(bad)
    with pytest.raises(TypeError, match="with_theta: theta has dtype"):
        model.with_theta("theta")


def test_parameters_are_read_only_and_copied():
    model, *_ = network_of(EnergyMLP, 3, (5, 4))
    for a in (model.theta, *(a for pair in model.layers for a in pair)):
        assert not a.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            a[...] = 0
    W, b, w, c = np.ones((2, 3)), np.ones(3), np.ones((3, 1)), np.ones(1)
    model = EnergyMLP.from_arrays([(W, b), (w, c)], "tanh")
    for a in (W, b, w, c):
        a[...] = 5
    np.testing.assert_array_equal(model.theta, 1)


LAYERS = [(np.ones((2, 3)), np.ones(3)), (np.ones((3, 1)), np.ones(1))]


WRONG_LAYERS = {
    "one layer": (LAYERS[:1], ValueError, "1 layers came, expected at least 2"),
    "none": ([], ValueError, "0 layers came, expected at least 2"),
    "not pairs": ([1, 2], TypeError, "layers is not a sequence of pairs"),
    "nothing": (None, TypeError, "layers is not a sequence of pairs"),
    "transposed": (
        [(np.ones((3, 2)), np.ones(3)), LAYERS[1]],
        ValueError,
        r"layer 1 has W of shape \(3, 2\).*from_torch, or pass W\.T",
    ),
    "do not fit": ([LAYERS[0], (np.ones((4, 1)), np.ones(1))], ValueError, r"W2 has shape \(4, 1\), expected 3 rows"),
    "bias a column": ([(np.ones((2, 3)), np.ones((3, 1))), LAYERS[1]], ValueError, "layer 1 has W of shape"),
    "two outputs": (
        [LAYERS[0], (np.ones((3, 2)), np.ones(2))],
        ValueError,
        "output layer has 2 units, expected 1, the energy",
    ),
    "no inputs": ([(np.ones((0, 3)), np.ones(3)), LAYERS[1]], ValueError, "W1 has shape"),
    "NaN": ([(np.full((2, 3), np.nan), np.ones(3)), LAYERS[1]], ValueError, r"W1\[0, 0\] is nan"),
    "strings": ([(np.full((2, 3), "a"), np.ones(3)), LAYERS[1]], TypeError, "W1 has dtype"),
}


@pytest.mark.parametrize("name", WRONG_LAYERS)
def test_layers_that_make_no_network(name):
    layers, error, message = WRONG_LAYERS[name]
    with pytest.raises(error, match="^EnergyMLP: .*" + message):
        EnergyMLP.from_arrays(layers, "tanh")


def test_init_says_what_is_wrong():
    init = EnergyMLP.init
    for run, error, message in (
        (lambda: init(0, (3,)), ValueError, "dim is 0"),
        (lambda: init(2.0, (3,)), TypeError, "dim is 2.0"),
        (lambda: init(2, 3), TypeError, "widths is 3, expected a sequence"),
        (lambda: init(2, ()), ValueError, "widths is empty"),
        (lambda: init(2, (3, 0)), ValueError, "widths is 0"),
        (lambda: init(2, (3.0,)), TypeError, "widths is 3.0"),
        (lambda: init(2, (3,), "rely"), ValueError, "activation is 'rely', expected one of tanh, "),
        (lambda: init(2, (3,), confinement=-1), ValueError, "confinement is -1"),
        (lambda: init(2, (3,), confinement=np.nan), ValueError, "confinement is nan"),
        (lambda: init(2, (3,), confinement="much"), TypeError, "confinement is 'much'"),
        (
            lambda: ScoreMLP.from_arrays(LAYERS, "tanh"),
            ValueError,
            "output layer has 1 units, expected 2, one per dimension",
        ),
        (
            lambda: EnergyMLP([(np.ones((1, 3)), np.ones(3)), LAYERS[1]], "tanh", conditional=True),
            ValueError,
            "expected at least 2",
        ),
    ):
        with pytest.raises(error, match=message):
            run()


# ------------------------------------------------------------------------------- dtypes: five activations take complex numbers and extended precision


@pytest.mark.parametrize(
    "dtype", [np.longdouble, np.complex64, np.complex128, np.clongdouble], ids=lambda t: t.__name__
)
@pytest.mark.parametrize("name", ACTIVATIONS)
@BOTH
def test_which_activations_accept_which_numbers(cls, name, dtype):
    if np.dtype(dtype) == np.float64:
        pytest.skip("longdouble is double here")
    model, x, _ = network_of(cls, 3, (5, 4), name)
    wide = x.astype(dtype)
    runs = [lambda: model.score(wide), lambda: model.with_theta(model.theta.astype(dtype)).score(x)]
    if name in ("tanh", "softplus", "silu", "sigmoid", "sin"):
        runs += [
            lambda: model.trace(wide),
            lambda: model.jvp(wide, x),
            lambda: model.jvp(x, wide),
            lambda: model.curvature(wide, x),
        ]
        want = np.result_type(dtype, np.float64)
        for run in runs:
            assert run().dtype == want
        x = wide.real.astype(float)  # what complex64 has left of it
        assert scaled(model.score(wide), model.score(x), scales(model, x)[0]) <= LIMITS["score"]
        if np.finfo(dtype).eps < EPS:  # the extra digits are there
            assert np.any(model.score(wide) != model.score(x))
    else:
        for run in runs:
            with pytest.raises(
                TypeError, match=f"activation '{name}' is refused.*Complex and longdouble work with tanh"
            ):
                run()


@long
@BOTH
def test_longdouble_has_its_own_digits(cls):
    model, x, sigma = network_of(cls, 4, (3, 5, 4), conditional=True, confinement=0.3, seed=4)
    wide = model.with_theta(model.theta.astype(np.longdouble))
    exact, textbook = wide.trace(x, **sigma), wide.trace(x, "textbook", **sigma)
    assert np.all(
        np.abs(exact - textbook) <= LIMITS["trace"] * np.finfo(np.longdouble).eps * trace_scale(model, x, sigma)
    )


def test_half_precision_networks_are_refused():
    with pytest.raises(TypeError, match="dtype float16 is not supported"):
        EnergyMLP.init(2, (3,), dtype=np.float16)
    with pytest.raises(TypeError, match=r"EnergyMLP\.init: dtype is int64"):
        EnergyMLP.init(2, (3,), dtype=np.int64)


# ------------------------------------------------------------------------------- torch's names


class FakeTensor:
    """What from_torch may touch of a tensor, in the order in which a real one demands it."""

    def __init__(self, array, stage=0):
        self._array, self._stage = array, stage

    def detach(self):
        """A tensor that no longer requires grad."""
        return FakeTensor(self._array, 1)

    def cpu(self):
        """The tensor in main memory."""
        assert self._stage == 1, "a leaf on the device would keep its graph"
        return FakeTensor(self._array, 2)

    def numpy(self):
        """Its array, sharing memory."""
        assert self._stage == 2, "Can't call numpy() on Tensor that requires grad"
        return self._array


@pytest.mark.parametrize("wrap", [np.asarray, FakeTensor, np.asfortranarray], ids=["arrays", "tensors", "Fortran"])
@BOTH
def test_from_torch_transposes_and_copies(cls, wrap):
    model, x, sigma = network_of(cls, 3, (5, 4), "silu", conditional=True, confinement=0.2)
    options = model._options()
    raw = {
        f"net.{2 * l}.{name}": a.T.copy()
        for l, pair in enumerate(model.layers)
        for name, a in zip(("weight", "bias"), pair, strict=True)
    }
    other = cls.from_torch({name: wrap(a) for name, a in raw.items()}, "silu", **options)
    for a in raw.values():
        a[...] = 0
    np.testing.assert_array_equal(other.theta, model.theta)
    np.testing.assert_array_equal(other.trace(x, **sigma), model.trace(x, **sigma))


def test_from_torch_names():
    weights = {"a.weight": np.ones((3, 2)), "a.bias": np.ones(3), "b.weight": np.ones((1, 3))}
    assert EnergyMLP.from_torch(weights).theta[-1] == 0, "a missing bias is zero"
    assert EnergyMLP.from_torch({k: a.astype(np.float32) for k, a in weights.items()}).theta.dtype == np.float32
    for extra in ({"c.running_mean": np.ones(3)}, {"c.bias": np.ones(3)}, {"norm.weight": np.ones(3)}):
        with pytest.raises(ValueError, match=r"from_torch: the names are .*expected '<layer>.weight' \(2-d\)"):
            EnergyMLP.from_torch(weights | extra)
    with pytest.raises(ValueError, match="from_torch: the names are"):
        EnergyMLP.from_torch({})
    with pytest.raises(TypeError, match=r"from_torch: a\.weight has dtype object"):
        EnergyMLP.from_torch(weights | {"a.weight": None})
    with pytest.raises(TypeError, match="from_torch: mapping is a list"):
        EnergyMLP.from_torch([1])


# ------------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.random.SeedSequence(7)], ids=repr)
@BOTH
def test_the_same_seed_gives_the_same_bits(cls, seed):
    one, two = (cls.init(3, (5, 4), rng=seed) for _ in range(2))
    np.testing.assert_array_equal(one.theta, two.theta)
    traces = [one.trace(PLAIN, "hutchinson", n_probes=3, rng=seed) for _ in range(2)]
    np.testing.assert_array_equal(*traces)


@BOTH
def test_weights_are_normal_and_biases_uniform_by_the_root_of_their_inputs(cls):
    """4 x 2500 and 2500 x 40 weights: their standard deviation to five of its standard errors; biases fill +-1/sqrt(fan_in)."""
    net = cls.init(4, (2500, 40), rng=0)
    for (W, b), inputs in zip(net.layers, (4, 2500, 40), strict=True):
        assert W.std() == pytest.approx(inputs**-0.5, rel=5 / (2 * W.size) ** 0.5)
        assert np.abs(b).max() <= inputs**-0.5
    assert net.layers[0][1].min() < -0.49 and net.layers[0][1].max() > 0.49
    assert cls.init(4, (3,), conditional=True, rng=0).layers[0][0].shape == (5, 3)


def test_a_network_prints_what_it_is():
    assert (
        repr(EnergyMLP.init(3, (5, 4), "tanh", rng=0))
        == "EnergyMLP(dim=3, widths=(5, 4), tanh, float64, 49 parameters)"
    )
    one = EnergyMLP.init(3, (64,), conditional=True, confinement=0.5, rng=0, dtype=np.float32)
    assert repr(one) == (
        "EnergyMLP(dim=3, widths=(64), softplus, confinement=0.5, conditional=True, float32, 385 parameters)"
    )
    assert repr(ScoreMLP.init(2, (6,), "sin", conditional=True, rng=0)) == (
        "ScoreMLP(dim=2, widths=(6), sin, conditional=True, float64, 38 parameters)"
    )


@BOTH
def test_a_generator_is_used_and_moves_on(cls):
    np.testing.assert_array_equal(cls.init(3, (5,), rng=np.random.default_rng(5)).theta, cls.init(3, (5,), rng=5).theta)
    rng, model = np.random.default_rng(5), cls.init(3, (5,), rng=0)
    first, second = (model.trace(PLAIN, "hutchinson", probe="gaussian", rng=rng) for _ in range(2))
    assert np.all(first != second)
    assert np.all(first == model.trace(PLAIN, "hutchinson", probe="gaussian", rng=5))
    assert np.any(cls.init(3, (5,)).theta != cls.init(3, (5,)).theta)
    assert np.any(cls.init(3, (5,), rng=1).theta != cls.init(3, (5,), rng=2).theta)


@pytest.mark.parametrize(
    "bad", ["seed", 1.5, np.random.RandomState(0), [1, 2], object()], ids=lambda b: type(b).__name__
)
def test_a_bad_rng_is_refused(bad):
    model, *_ = network_of(EnergyMLP, 3, (5,))
    for run in (lambda: EnergyMLP.init(3, (5,), rng=bad), lambda: model.trace(PLAIN, "hutchinson", rng=bad)):
        with pytest.raises(TypeError, match=r"rng is .*expected an integer seed or a numpy\.random\.Generator"):
            run()
    with pytest.raises(ValueError, match="rng is -1, expected a seed >= 0"):
        EnergyMLP.init(3, (5,), rng=-1)


@BOTH
def test_control_parameters_in_another_order_are_seen(cls, monkeypatch):
    right = cls.unflatten
    monkeypatch.setattr(cls, "unflatten", lambda self, theta: right(self, np.asarray(theta)[::-1]))
    with pytest.raises(AssertionError):
        test_theta_is_w1_b1_w2_b2_row_major(cls)


# ------------------------------------------------------------------------------- one common dtype for all layers

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
