"""The two kinds of network: their symmetries, double backward of torch, and files, whole or damaged."""

import io
import itertools
import os
import re
import zipfile

import numpy as np
import pytest
from accuracy import LIMITS
from hypothesis import given
from networks_cases import (
    BOTH,
    EPS,
    ISSUE,
    SEEDS,
    assert_within,
    drawn,
    network_of,
    trace_scale,
)
from oracles import scales

from numpyscore import EnergyMLP, ScoreMLP, implicit
from numpyscore.networks import models
from numpyscore.networks.activations import ACTIVATIONS, Activation
from numpyscore.networks.base import MLP
from numpyscore.networks.models import load


@BOTH
def test_what_parameters_were_made_of_is_fixed_and_the_rest_is_free(cls):
    net = cls.init(2, (3,), "tanh", rng=0)
    for name in {"theta", "layers", "activation", "conditional", "confinement", "dim"} & net.__dict__.keys():
        with pytest.raises(AttributeError, match=f"{name} is immutable"):
            setattr(net, name, getattr(net, name))
    for note in ("first", "second"):
        net.note = note
    assert net.note == "second"


def test_an_energy_alone_costs_no_backward_pass(monkeypatch):
    net, x = EnergyMLP.init(2, (3,), "tanh", rng=0), np.ones((4, 2))
    called = []
    right = models.adjoint
    monkeypatch.setattr(models, "adjoint", lambda *a, **k: called.append(1) or right(*a, **k))
    net.energy(x)
    assert not called
    net.score(x)  # control
    assert called


def test_a_score_network_has_no_energy():
    model, x, _ = network_of(ScoreMLP, 3, (4,))
    assert not hasattr(model, "energy")
    with pytest.raises(ValueError, match="evaluate: a ScoreMLP has no energy"):
        model.evaluate(x, energy=True)
    with pytest.raises(TypeError, match="confinement"):
        ScoreMLP.init(3, (4,), confinement=1.0)
    with pytest.raises(TypeError, match="common part of EnergyMLP and ScoreMLP"):
        MLP([(np.ones((2, 3)), np.ones(3)), (np.ones((3, 1)), np.ones(1))], "tanh")


# ------------------------------------------------------------------------------- properties


def dyadic(a, bits=12):
    """a rounded to multiples of 2^-bits: sums and products of a few such numbers are exact, in any order."""
    return np.round(a * 2.0**bits) / 2.0**bits


def exact_first_layer(model, x):
    """The network with a dyadic first layer, and dyadic points: its z_1 = x W_1 + b_1 have no rounding error."""
    theta = model.theta.copy()
    for a in model.unflatten(theta)[0]:
        a[...] = dyadic(a)
    return model.with_theta(theta), dyadic(x)


def with_first_layer(model, W, b):
    """The network with another first layer; W is its part that sees x."""
    theta = model.theta.copy()
    layer = model.unflatten(theta)[0]
    layer[0][: model.dim], layer[1][...] = W, b
    return model.with_theta(theta)


def orthogonal(rng, d):
    """A random orthogonal matrix with entries in {0, +-1/2, +-1}: Hadamard blocks between two signed permutations."""
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    Q = np.eye(d)
    for k in range(0, d - 3, 4):
        Q[k : k + 4, k : k + 4] = hadamard
    return (Q[rng.permutation(d)] * rng.choice([-1, 1], d))[:, rng.permutation(d)]


def without_confinement(model):
    """The same network, lambda = 0."""
    return type(model)(model.layers, model.activation, conditional=model.conditional)


def invariances(model, x, sigma, rng):
    """(name, the equivalent network, its points, factors by which energy, score (a matrix) and trace should change)."""
    d = model.dim
    (W, b), *_ = model.layers
    W = W[:d]
    t, Q, c = dyadic(rng.standard_normal(d), 8), orthogonal(rng, d), 2.0 ** rng.integers(-3, 4)
    out = []
    if isinstance(model, EnergyMLP):
        if model.confinement == 0:  # the well stays at the origin
            out.append(("translation", with_first_layer(model, W, b - t @ W), x + t, np.eye(d), 1))
        out.append(("rotation", with_first_layer(model, Q.T @ W, b), x @ Q, Q, 1))
        scaled_well = EnergyMLP(
            model.layers, model.activation, conditional=model.conditional, confinement=model.confinement / c**2
        )
        out.append(("units", with_first_layer(scaled_well, W / c, b), c * x, np.eye(d) / c, 1 / c**2))
    else:  # the output layer turns with the input: s' = s Q
        out.append(("translation", with_first_layer(model, W, b - t @ W), x + t, np.eye(d), 1))
        for name, turn, back, square in (("rotation", Q, Q, 1), ("units", np.eye(d) * c, np.eye(d) / c, 1 / c**2)):
            theta = with_first_layer(model, np.linalg.inv(turn) @ W, b).theta.copy()
            last = model.unflatten(theta)[-1]
            last[0][...], last[1][...] = last[0] @ back, last[1] @ back
            out.append((name, model.with_theta(theta), x @ turn, back, square))
    return out


def check_invariances(model, x, sigma, rng):
    """Score and trace of the equivalent networks; z_1 is the same number in both, so only round-off remains."""
    S_score, S_trace, *_ = scales(model, x, **sigma)
    score, trace = model.score(x, **sigma), model.trace(x, **sigma)
    for name, other, y, M, square in invariances(model, x, sigma, rng):
        assert_within(
            2 * LIMITS["score"], other.score(y, **sigma), score @ M, S_score @ np.abs(M), f"score under {name}"
        )
        S_other = np.maximum(S_trace * square, trace_scale(other, y, sigma))  # a rotation mixes signs: S may grow
        assert_within(2 * LIMITS["trace"], other.trace(y, **sigma), trace * square, S_other, f"trace under {name}")


@BOTH
@given(seed=SEEDS)
def test_translation_rotation_and_units(cls, seed):
    rng, model, x, sigma = drawn(seed, cls, max_dim=12, max_width=10)
    model, x = exact_first_layer(model, x)
    check_invariances(model, x, sigma, rng)
    if cls is EnergyMLP:
        check_invariances(without_confinement(model), x, sigma, rng)


@BOTH
def test_control_a_curvature_without_its_units_is_seen(cls, monkeypatch):
    _, model, x, sigma = drawn(12, cls, max_dim=12, max_width=10)
    model, x = exact_first_layer(model, x)
    right = cls.visit

    def wrong(self, call, batch, work):  # adds a constant to the trace, whatever the unit of x
        right(self, call, batch, work)
        if "trace" in call.out:
            call.out["trace"][batch.at] += 1e-6

    monkeypatch.setattr(cls, "visit", wrong)
    with pytest.raises(AssertionError, match="trace under units"):
        for seed in range(20):  # a unit of 1 is drawn now and then
            check_invariances(model, x, sigma, np.random.default_rng(seed))


@BOTH
@given(seed=SEEDS)
def test_hidden_units_have_no_order(cls, seed):
    rng, model, x, sigma = drawn(seed, cls, max_dim=10, max_width=12)
    layers = [[W.copy(), b.copy()] for W, b in model.layers]
    for here, after in itertools.pairwise(layers):
        order = rng.permutation(len(here[1]))
        here[0], here[1], after[0] = here[0][:, order], here[1][order], after[0][order]
    other = cls(layers, model.activation, **model._options())
    S_score, S_trace, *_ = scales(model, x, **sigma)
    assert_within(2 * LIMITS["score"], other.score(x, **sigma), model.score(x, **sigma), S_score, "score")
    assert_within(2 * LIMITS["trace"], other.trace(x, **sigma), model.trace(x, **sigma), S_trace, "trace")


@given(seed=SEEDS)
def test_a_constant_in_the_energy_changes_nothing_else_and_its_jacobian_is_symmetric(seed):
    _, model, x, sigma = drawn(seed, EnergyMLP, max_dim=10, max_width=12)
    theta = model.theta.copy()
    theta[-1] += 3.0
    other = model.with_theta(theta)
    for got, want in ((other.score, model.score), (other.trace, model.trace), (other.jacobian, model.jacobian)):
        np.testing.assert_array_equal(got(x, **sigma), want(x, **sigma))
    *_, S_jac, _, S_energy = scales(model, x, **sigma)
    rise = 3.0 / np.asarray(sigma.get("sigma", 1.0))
    S_rise = S_energy + 4 * np.abs(rise)
    assert_within(
        4 * LIMITS["energy"], other.energy(x, **sigma) - model.energy(x, **sigma), np.broadcast_to(rise, len(x)), S_rise
    )
    jac = model.jacobian(x, **sigma)
    assert_within(2 * LIMITS["jacobian"], jac, jac.transpose(0, 2, 1), S_jac, "symmetry")


def test_control_a_score_network_is_not_symmetric():
    model, x, _ = network_of(ScoreMLP, 4, (5, 3))
    jac = model.jacobian(x)
    with pytest.raises(AssertionError, match="symmetry"):
        assert_within(2 * LIMITS["jacobian"], jac, jac.transpose(0, 2, 1), scales(model, x)[2], "symmetry")


@BOTH
def test_conditional_means_log_sigma_in_and_one_over_sigma_out(cls):
    model, x, _ = network_of(cls, 3, (5, 4), conditional=True, confinement=0.6, n=4, seed=9)
    sigma = np.array([0.1, 0.7, 1.0, 9.0])
    (W, b), *rest = model.layers
    plain = [cls([(W[:-1], b + np.log(s) * W[-1]), *rest], model.activation) for s in sigma]
    lam = getattr(model, "confinement", 0) / (1 + sigma**2)
    sign = -1 if cls is EnergyMLP else 0
    for i, net in enumerate(plain):
        at, one = slice(i, i + 1), {"sigma": sigma[i]}
        S_score, S_trace, _, _, S_energy = scales(model, x[at], sigma=sigma[at])
        assert_within(64, model.score(x[at], **one), net.score(x[at]) / sigma[i] + sign * lam[i] * x[at], S_score)
        assert_within(64, model.trace(x[at], **one), net.trace(x[at]) / sigma[i] + sign * 3 * lam[i], S_trace)
        if cls is EnergyMLP:
            want = net.energy(x[at]) / sigma[i] + lam[i] * np.sum(x[at] ** 2, 1) / 2
            assert_within(64, model.energy(x[at], **one), want, S_energy)
    np.testing.assert_array_equal(model.score(x, sigma=0.7), model.score(x, sigma=np.full(4, 0.7)))


# ------------------------------------------------------------------------------- against torch


TORCH = {"tanh": "tanh", "softplus": "nn.functional.softplus", "silu": "nn.functional.silu", "sigmoid": "sigmoid"}
TORCH |= {"sin": "sin", "erf": "erf", "gelu": "nn.functional.gelu"}


@pytest.mark.parametrize("name", TORCH)
@BOTH
def test_against_torch_double_backward(cls, name):
    torch = pytest.importorskip("torch")
    phi = torch
    for part in TORCH[name].split("."):
        phi = getattr(phi, part)
    d, widths, n = 5, (7, 6), 4
    generator = torch.Generator().manual_seed(0)
    sizes = [d, *widths, 1 if cls is EnergyMLP else d]
    state = {}
    for l, (k, m) in enumerate(itertools.pairwise(sizes)):
        state[f"{l}.weight"] = torch.randn(m, k, dtype=torch.float64, generator=generator) / k**0.5
        state[f"{l}.bias"] = torch.randn(m, dtype=torch.float64, generator=generator)
    parameters = [p.requires_grad_() for p in state.values()]
    model = cls.from_torch(state, name)
    x = torch.randn(n, d, dtype=torch.float64, generator=generator).requires_grad_()
    a = x
    for l in range(len(widths)):
        a = phi(a @ state[f"{l}.weight"].T + state[f"{l}.bias"])
    y = a @ state[f"{len(widths)}.weight"].T + state[f"{len(widths)}.bias"]
    score = -torch.autograd.grad(y.sum(), x, create_graph=True)[0] if cls is EnergyMLP else y
    trace = sum(torch.autograd.grad(score[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(d))
    loss = (0.5 * (score**2).sum(1) + trace).mean()
    grads = torch.autograd.grad(loss, parameters, allow_unused=True)
    grads = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
    flat = np.concatenate([(g.T if g.ndim == 2 else g).detach().numpy().ravel() for g in grads])
    points = x.detach().numpy()
    S_score, S_trace, _, S_gradient, S_energy = scales(model, points)
    if cls is EnergyMLP:
        assert_within(ISSUE, model.energy(points), y[:, 0].detach().numpy(), S_energy, "energy")
    assert_within(ISSUE, model.score(points), score.detach().numpy(), S_score, "score")
    assert_within(ISSUE, model.trace(points), trace.detach().numpy(), S_trace, "trace")
    # torch's activations are accurate to eps of their size, not in the tails: entries of small S are held to the largest
    assert_within(ISSUE, implicit(model, points).gradient, flat, S_gradient + 1e-3 * S_gradient.max(), "gradient")


# ------------------------------------------------------------------------------- files


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble, np.complex128], ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_save_and_load_bit_for_bit(cls, conditional, name, dtype, tmp_path):
    if not ACTIVATIONS[name].analytic and np.dtype(dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        pytest.skip("refused for this activation")
    model, *_ = network_of(cls, 3, (5, 4), name, conditional=conditional, confinement=0.1, dtype=dtype)
    if np.finfo(dtype).eps < EPS:
        model = model.with_theta(model.theta + np.finfo(dtype).eps)
    path = tmp_path / "model.npz"
    model.save(path)
    other = load(path)
    assert type(other) is cls and repr(other) == repr(model) and other.activation is model.activation
    assert other.theta.dtype == model.theta.dtype and other.theta.tobytes() == model.theta.tobytes()
    assert other._options() == model._options() and other.dim == model.dim
    assert os.listdir(tmp_path) == ["model.npz"]
    with np.load(path, allow_pickle=False) as file:  # plain npz: anyone can read it
        np.testing.assert_array_equal(file["W1"], model.layers[0][0])
    other.save(str(path))  # over an existing file, from a str
    assert load(str(path)).theta.tobytes() == model.theta.tobytes()


@pytest.mark.parametrize("moment", ["write_array", "fsync", "replace"])
def test_a_failed_save_leaves_the_file_that_was_there(moment, tmp_path, monkeypatch):
    model, *_ = network_of(EnergyMLP, 3, (5,))
    path = tmp_path / "model.npz"
    model.save(path)
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format if moment == "write_array" else os, moment, full)
    with pytest.raises(OSError, match="No space left"):
        model.with_theta(model.theta * 2).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["model.npz"]
    monkeypatch.undo()
    with pytest.raises(OSError):
        model.save(tmp_path / "nowhere" / "model.npz")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_saved_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "other").write_text("")
    network_of(EnergyMLP, 3, (5,))[0].save(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_row_of_your_own_must_be_registered_to_be_saved(tmp_path):
    cube = Activation("cube", lambda z, order: (z**3, 3 * z**2, 6 * z, 6 + 0 * z)[: order + 1])
    model, *_ = network_of(EnergyMLP, 3, (5,), cube)
    with pytest.raises(ValueError, match=r"save: activation 'cube' is your own; call activations\.register"):
        model.save(tmp_path / "model.npz")
    assert not os.listdir(tmp_path)
    impostor = Activation("tanh", cube.jet)
    with pytest.raises(ValueError, match="save: activation 'tanh' is your own"):
        network_of(EnergyMLP, 3, (5,), impostor)[0].save(tmp_path / "model.npz")


@pytest.fixture
def saved(tmp_path):
    """A saved network's path, and a function that writes a variant of its contents and returns its path."""
    path = tmp_path / "model.npz"
    network_of(EnergyMLP, 3, (5, 4), conditional=True, confinement=0.1)[0].save(path)

    def variant(**changes):
        with np.load(path) as file:
            data = dict(file)
        for name, value in changes.items():
            data.pop(name, None)
            if value is not None:
                data[name] = np.asarray(value)
        np.savez(tmp_path / "variant.npz", **data)
        return tmp_path / "variant.npz"

    assert load(variant()).dim == 3
    return path, variant


VARIANTS = {
    "another version": ({"version": 2}, "format version 2"),
    "no version": ({"version": None}, "version"),
    "foreign": ({"format": "their-model"}, "not a numpyscore model"),
    "no format": ({"format": None}, "not a numpyscore model"),
    "no kind": ({"kind": None}, "'kind'"),
    "another kind": ({"kind": "Transformer"}, "'Transformer'"),
    "no activation": ({"activation": None}, "'activation'"),
    "unknown activation": ({"activation": "swish"}, "activation is 'swish'"),
    "no confinement": ({"confinement": None}, "'confinement'"),
    "negative confinement": ({"confinement": -1.0}, "confinement is -1"),
    "no conditional": ({"conditional": None}, "'conditional'"),
    "no W2": ({"W2": None}, "'[Wb]"),
    "no b2": ({"b2": None}, "'b2'"),
    "no layers": ({f"{n}{l}": None for n in "Wb" for l in (1, 2, 3)}, "0 layers"),
    "W2 of another shape": ({"W2": np.ones((9, 4))}, "W2 has shape"),
    "b1 a matrix": ({"b1": np.ones((5, 1))}, "layer 1"),
    "NaN": ({"W1": np.full((4, 5), np.nan)}, r"W1\[0, 0\] is nan"),
    "pickled objects": ({"W1": np.array([1, None], object)}, "plain arrays"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_file_with_wrong_contents_is_one_value_error(name, saved):
    changes, message = VARIANTS[name]
    with pytest.raises(ValueError, match=message):
        load(saved[1](**changes))


@pytest.mark.parametrize("kind", ["text", "npy", "empty", "zip of something", "truncated", "too large"])
def test_a_file_that_is_no_model_is_one_value_error(kind, saved, tmp_path):
    path, options = tmp_path / "bad.npz", {}
    whole = saved[0].read_bytes()
    if kind == "text":
        path.write_text("hello, world\n" * 10)
    elif kind == "npy":
        np.save(tmp_path / "bad", np.ones(3))
        (tmp_path / "bad.npy").rename(path)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "zip of something":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    elif kind == "truncated":
        for size in range(1, len(whole) - 1, 97):
            path.write_bytes(whole[:size])
            with pytest.raises(ValueError, match=r"^load: "):
                load(path)
    else:
        path.write_bytes(whole)
        options = {"max_bytes": 500}
    with pytest.raises(ValueError, match=r"^load: .*bad\.npz.*expected a file written by model\.save"):
        load(path, **options)


def test_a_flipped_bit_is_never_another_network(saved, tmp_path):
    """Every array has a checksum: a flip in an array is found, one in a field that nobody reads changes nothing."""
    path, whole = tmp_path / "flipped.npz", saved[0].read_bytes()
    right = load(saved[0])
    refused = 0
    for place in range(0, len(whole), 11):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = load(path)
        except Exception:  # which error: the next test
            refused += 1
            continue
        assert found.theta.tobytes() == right.theta.tobytes() and found._options() == right._options(), place
    assert refused > len(whole) / 11 / 2


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere.npz")
    with pytest.raises(OSError):
        load(tmp_path)


def archive_with_header(path, source, name, header):
    """A copy of the npz file with one member replaced by these bytes."""
    with np.load(source) as file, zipfile.ZipFile(path, "w") as archive:
        for member, value in file.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, value)
            archive.writestr(f"{member}.npy", header if member == name else stream.getvalue())


REPORTED = {
    "version an array": {"version": np.arange(3)},
    "version a word": {"version": "one"},
    "confinement a word": {"confinement": "much"},
    "confinement an array": {"confinement": np.ones(2)},
    "conditional an array": {"conditional": np.ones(2)},
    "W1 of strings": {"W1": np.full((4, 5), "a")},
    "half precision": {
        f"{n}{l}": np.ones(s, np.float16)
        for n, l, s in (("W", 1, (4, 5)), ("b", 1, 5), ("W", 2, (5, 4)), ("b", 2, 4), ("W", 3, (4, 1)), ("b", 3, 1))
    },
    "an array too many": {"b9": np.ones(3)},
}


@pytest.mark.parametrize("name", REPORTED)
def test_load_refuses_every_wrong_header_with_its_own_value_error(name, saved):
    with pytest.raises(ValueError, match=r"variant\.npz"):
        load(saved[1](**REPORTED[name]))


@pytest.mark.parametrize("kind", ["compression", "encrypted", "huge array"])
def test_load_turns_every_damage_into_a_value_error(kind, saved, tmp_path):
    whole, path = bytearray(saved[0].read_bytes()), tmp_path / "bad.npz"
    central = whole.find(b"PK\x01\x02")
    if kind == "compression":
        whole[central + 10] = 99
    elif kind == "encrypted":
        whole[central + 8] |= 1
    path.write_bytes(whole)
    if kind == "huge array":
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)})
        archive_with_header(path, saved[0], "W1", header.getvalue() + b"0" * 80)
    with pytest.raises(ValueError, match=r"bad\.npz"):
        load(path)


def test_a_message_about_a_file_is_bounded(saved):
    """40 characters of a kind that is none, 1000 of what a network says of its layers; the words of both stay."""
    with pytest.raises(ValueError, match=r"is of kind '(k{40})', which this program does not know"):
        load(saved[1](kind="k" * 100))
    name = "a" * 1500
    with pytest.raises(ValueError, match=r"does not make a network \(EnergyMLP: activation is '(a+)\)") as caught:
        load(saved[1](activation=name))
    assert str(caught.value).count("a" * 900) == 1 and len(re.search(r"\((EnergyMLP.*)\);", str(caught.value)).group(1)) == 1000  # fmt: skip


def test_a_score_network_says_how_many_rows_its_first_layer_needs():
    layers = [(np.ones((1, 3)), np.ones(3)), (np.ones((3, 1)), np.ones(1))]
    for cls in (EnergyMLP, ScoreMLP):
        with pytest.raises(ValueError, match=f"{cls.kind}: W1 has 1 rows, expected at least 2, the last for log sigma"):
            cls(layers, "tanh", conditional=True)
    assert ScoreMLP(layers, "tanh").dim == EnergyMLP(layers, "tanh").dim == 1


def test_a_score_network_of_some_confinement_is_refused(saved, tmp_path):
    network_of(ScoreMLP, 3, (5,))[0].save(tmp_path / "score.npz")
    with np.load(tmp_path / "score.npz") as file:
        data = dict(file)
    assert load(tmp_path / "score.npz").dim == 3
    np.savez(tmp_path / "other.npz", **data | {"confinement": np.array(0.5)})
    with pytest.raises(ValueError, match=r"has the confinement 0.5, expected 0 of a score network"):
        load(tmp_path / "other.npz")
