"""Networks: exact against textbook, all products against each other, pullbacks, invariances, inputs, parameters, files.

Tolerances are in units of eps * S, S the error scale of MATH's section 6 (`oracles.scales`): the same formula in absolute values.
Two computations that are each within k eps S of the truth differ by at most 2 k eps S; k is LIMITS of test_accuracy.
"""

import hashlib
import io
import itertools
import os
import zipfile

import numpy as np
import pytest
from accuracy import LIMITS, SMOOTH, scaled
from hypothesis import given
from hypothesis import strategies as st
from oracles import absolute, extended, random_network, scales

from numpyscore.networks import base as network
from numpyscore.networks import passes as mlp
from numpyscore.networks import products
from numpyscore.networks import schedule as blocks
from numpyscore.networks.activations import ACTIVATIONS, Activation
from numpyscore.networks.base import MLP
from numpyscore.networks.models import EnergyMLP, ScoreMLP, load
from numpyscore.objectives.loss import explicit, implicit

EPS = np.finfo(float).eps
ISSUE = 1e-12 / EPS  # "1e-12 relative" in the issues reads 1e-12 of S: 4504 eps S
BOTH = pytest.mark.parametrize("cls", (EnergyMLP, ScoreMLP), ids=lambda cls: cls.kind)
SEEDS = st.integers(0, 2**32 - 1)
long = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="longdouble is no better than double here")


def network_of(cls, d, widths, activation="tanh", *, conditional=False, confinement=0.0, seed=0, n=2, dtype=float):
    """A network, points and noise levels; confinement is dropped where there is none."""
    rng = np.random.default_rng(seed)
    options = {"confinement": confinement} if cls is EnergyMLP else {}
    model = cls.init(d, widths, activation, conditional=conditional, rng=rng, dtype=dtype, **options)
    x = rng.standard_normal((n, d)).astype(dtype)
    return model, x, {"sigma": np.exp(rng.uniform(-1, 1, n))} if conditional else {}


def trace_scale(model, x, sigma):
    """S of the trace (n,)."""
    return np.abs(absolute(model, x, **sigma).evaluate(np.abs(x), score=False, trace=True, **sigma).trace)


def assert_within(limit, got, want, S, what=""):
    """|got - want| <= limit * eps * S."""
    assert np.shape(got) == np.shape(want), (what, np.shape(got), np.shape(want))
    error = scaled(got, want, S)
    assert error <= limit, f"{what}: {error:.3g} eps S, more than {limit:.3g}"
    return error


# ------------------------------------------------------------------------------- exact against textbook


def textbook_error(model, x, sigma):
    """|exact - textbook| of the trace in eps S."""
    return scaled(model.trace(x, **sigma), model.trace(x, "textbook", **sigma), trace_scale(model, x, sigma))


def shapes(d):
    """First layers narrower than d, as wide, and wider; beyond d = 384 a wider one is a nightly matter."""
    return sorted({max(1, min(d - 1, 9)), d, d + 3} if d < 300 else {9, 24} | ({d + 3} if d < 3000 else set()))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("d", [1, 2, 17, 384, 3072])
@BOTH
def test_exact_is_textbook(cls, d, depth):
    worst = 0.0
    for conditional in (False, True):
        for first in shapes(d):
            if conditional == (first == 24) if d == 3072 else conditional and first > 300:
                continue  # the same code, seconds of time
            confinement = 0.7 * (not conditional or depth % 2)
            widths = (first, 7, 5, 6)[:depth]
            activation = SMOOTH[(d + depth + first) % len(SMOOTH)]
            case = network_of(
                cls, d, widths, activation, conditional=conditional, confinement=confinement, seed=d + first
            )
            error = textbook_error(*case)
            worst = max(worst, error)
            assert error <= ISSUE, f"{case[0]}: {error:.3g} eps S"
    print(f"exact against textbook, {cls.kind}, d = {d}, {depth} hidden: {worst:.1f} eps S")


@pytest.mark.nightly
@BOTH
def test_exact_is_textbook_with_a_first_layer_wider_than_an_image(cls):
    assert textbook_error(*network_of(cls, 3072, (3080, 6), seed=1, n=1)) <= ISSUE


def deficient(model, how):
    """The same network whose W_1 has dependent columns, so that its Gram matrix has no Cholesky factor."""
    theta = model.theta.copy()
    W = model.unflatten(theta)[0][0]
    if how == "duplicate columns":
        W[:, -1] = W[:, 0]
    elif how == "zero column":
        W[:, 1] = 0
    elif how == "zero":
        W[:] = 0
    elif how == "nearly dependent":
        W[:, -1] = W[:, 0] * (1 + 1e-9)
    elif how == "badly scaled":
        W[:, 0] *= 1e-12
    return model.with_theta(theta)


HOW = ("full rank", "duplicate columns", "zero column", "zero", "nearly dependent", "badly scaled")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("widths", [(5,), (5, 4), (5, 4, 3)], ids=str)
@BOTH
def test_a_rank_deficient_first_layer_changes_nothing(cls, widths, how):
    for d in (3, 5, 11):  # n_1 = 5: wide, square, narrow
        model, x, sigma = network_of(cls, d, widths, conditional=d == 11, confinement=0.3, seed=d)
        model = deficient(model, how)
        assert textbook_error(model, x, sigma) <= ISSUE
        # the gradient by complex steps in clongdouble, where T_1 = W_1: an oracle that knows neither Cholesky nor QR
        places = np.arange(0, model.theta.size, 3 if d < 11 else 7)
        assert_gradient(model, x, sigma, places)


def assert_gradient(model, x, sigma, places):
    """Gradient of implicit against complex steps at some places, in units of S."""
    net, real = extended(model)
    h, exact = real(1e-30), []
    for i in places:
        theta = net.theta.copy()
        theta[i] += 1j * h
        exact.append(implicit(net.with_theta(theta), x, **sigma).value.imag / h)
    S = scales(model, x, **sigma)[3][places]
    assert_within(LIMITS["gradient"], implicit(model, x, **sigma).gradient[places], np.array(exact), S, repr(model))


@pytest.mark.parametrize("d", [1, 2, 17, 384])
@BOTH
def test_the_gradient_of_the_exact_trace(cls, d):
    for depth, first in ((1, 4), (2, d + 2 if d < 300 else 6), (3, 5), (4, 3)):
        conditional = depth % 2 == 0
        case = network_of(
            cls, d, (first, 5, 4, 3)[:depth], "softplus", conditional=conditional, confinement=0.4, seed=depth
        )
        p = case[0].theta.size
        assert_gradient(*case, np.unique(np.linspace(0, p - 1, 12).astype(int)))


def test_cholesky_and_qr_are_both_reached_and_give_one_trace():
    model, *_ = network_of(EnergyMLP, 30, (6, 5), seed=3)
    (W, _), *_ = model.layers
    R, lift, triangular = mlp.row_factor(W)
    assert triangular and R.shape == (6, 6) and np.all(np.diag(R) > 0)  # Cholesky's, QR's diagonal has any sign
    Q, R_qr = np.linalg.qr(W)
    bar = np.random.default_rng(0).standard_normal((6, 6))
    np.testing.assert_allclose(R.T @ R, W.T @ W, rtol=0, atol=64 * EPS * np.abs(W.T @ W).max())
    # cotangents of the form R Gbar (only W^T W enters) lift to W Gbar either way; condition number of W here is about 3
    np.testing.assert_allclose(lift(R @ (bar + bar.T)), Q @ (R_qr @ (bar + bar.T)), rtol=0, atol=1e-13)
    rank_one = np.outer(np.arange(1.0, 31), np.ones(6))
    R, lift, _triangular = mlp.row_factor(rank_one)
    np.testing.assert_allclose(lift(R @ (bar + bar.T)), rank_one @ (bar + bar.T), rtol=0, atol=1e-12 * 30 * 36)


@BOTH
def test_control_a_trace_wrong_by_one_part_in_a_hundred_billion_is_seen(cls, monkeypatch):
    case = network_of(cls, 17, (6, 5), seed=5)
    assert textbook_error(*case) <= ISSUE
    name = "laplacian" if cls is EnergyMLP else "cyclic_trace"
    right = getattr(mlp, name)
    monkeypatch.setattr(mlp, name, lambda *a: right(*a) * (1 + 1e-11))
    assert textbook_error(*case) > ISSUE / 100  # some of S cancels in the trace: at least a tenth of it here
    with pytest.raises(AssertionError):
        monkeypatch.setattr(mlp, name, lambda *a: right(*a) * (1 + 1e-9))
        assert textbook_error(*case) <= ISSUE


# ------------------------------------------------------------------------------- products and probes agree


def check_products(model, x, sigma, v, u):
    """jvp, vjp, curvature (n, d) and (m, n, d), jacobian, evaluate and trace: one Jacobian."""
    _, S_trace, S_jac, *_ = scales(model, x, **sigma)
    jac = model.jacobian(x, **sigma)
    V, U = np.abs(v), np.abs(u)
    dot = lambda a, b: np.einsum("nd,nd->n", a, b)
    k = 2 * LIMITS["jacobian"]
    assert_within(
        k, model.jvp(x, v, **sigma), np.einsum("nij,nj->ni", jac, v), np.einsum("nij,nj->ni", S_jac, V), "jvp"
    )
    assert_within(
        k, model.vjp(x, u, **sigma), np.einsum("ni,nij->nj", u, jac), np.einsum("ni,nij->nj", U, S_jac), "vjp"
    )
    S_uv = np.einsum("ni,nij,nj->n", U, S_jac, V)
    assert_within(2 * k, dot(u, model.jvp(x, v, **sigma)), dot(model.vjp(x, u, **sigma), v), S_uv, "<u, Jv> = <uJ, v>")
    c = model.curvature(x, v, **sigma)
    S_vv = np.einsum("ni,nij,nj->n", V, S_jac, V)
    assert_within(k, c, np.einsum("ni,nij,nj->n", v, jac, v), S_vv, "curvature")
    assert_within(k, model.trace(x, **sigma), np.trace(jac, axis1=1, axis2=2), S_trace, "trace")
    several = model.curvature(x, np.stack([v, u, v + u]), **sigma)
    assert several.shape == (3, len(x))
    assert_within(64, several[0], c, S_vv, "one of several directions")
    # polarisation: the curvature is a quadratic form
    mixed = (several[2] - several[0] - several[1]) - dot(u, model.jvp(x, v, **sigma)) - dot(v, model.jvp(x, u, **sigma))
    S_all = np.einsum("ni,nij,nj->n", V + U, S_jac, V + U)
    assert_within(8 * k, mixed, np.zeros(len(x)), S_all, "polarisation")
    ev = model.evaluate(x, trace=True, **sigma)
    np.testing.assert_array_equal(ev.trace, model.trace(x, **sigma))
    assert_within(64, ev.score, model.score(x, **sigma), scales(model, x, **sigma)[0], "score")


def drawn(seed, cls, **limits):
    """A random network with points, noise levels, and the generator that made them."""
    rng = np.random.default_rng(seed)
    model, x, sigma = random_network(rng, cls, SMOOTH, **limits)
    return rng, model, x, sigma


@BOTH
@given(seed=SEEDS)
def test_jvp_vjp_curvature_jacobian_and_trace_are_of_one_jacobian(cls, seed):
    rng, model, x, sigma = drawn(seed, cls, max_dim=12, max_width=10)
    check_products(model, x, sigma, *rng.standard_normal((2, *x.shape)))


@pytest.mark.parametrize("what", ["energy_curvature", "adjoint_tangent", "adjoint_pullback"])
def test_control_a_product_off_by_a_part_in_a_billion_is_seen(what, monkeypatch):
    rng, model, x, sigma = drawn(7, EnergyMLP, max_dim=5, max_width=5)
    v, u = rng.standard_normal((2, *x.shape))
    check_products(model, x, sigma, v, u)
    right = getattr(mlp, what)

    def wrong(layers, *rest):
        if what == "adjoint_pullback":
            layers = [layer._replace(W=layer.W * (1 + 1e-9)) for layer in layers]
        out = right(layers, *rest)
        return out if what == "adjoint_pullback" else out * (1 + 1e-9)

    monkeypatch.setattr(mlp, what, wrong)
    with pytest.raises(AssertionError):
        check_products(model, x, sigma, v, u)


PROBES = ("rademacher", "gaussian", "sphere")


def probe_deviation(model, probe, exact, draws=4000):
    """(mean over draws - exact) in standard errors, and the variance of one draw with its own standard error."""
    x, n = exact[0], draws
    estimates = model.trace(np.repeat(x, n, axis=0), "hutchinson", probe=probe, rng=11)
    off = estimates - exact[1]
    variance = np.mean(off**2)
    return off.mean() / np.sqrt(variance / n), variance, np.std(off**2) / np.sqrt(n)


@pytest.mark.parametrize("probe", PROBES)
@BOTH
def test_hutchinson_has_the_exact_mean_and_the_variance_of_its_probe(cls, probe):
    model, x, _ = network_of(cls, 6, (7, 5), seed=8, n=1)
    A = model.jacobian(x)[0]
    A, trace, d = (A + A.T) / 2, model.trace(x)[0], 6  # v^T J v sees the symmetric part alone
    square = np.sum(A * A)
    # Var: Gaussian 2|A|^2; Rademacher 2 sum_{i != j} A_ij^2; sphere 2d/(d+2) (|A|^2 - tr^2/d)   (MATH, section 5)
    variance = {
        "gaussian": 2 * square,
        "rademacher": 2 * (square - np.sum(np.diag(A) ** 2)),
        "sphere": 2 * d / (d + 2) * (square - trace**2 / d),
    }[probe]
    deviation, found, error = probe_deviation(model, probe, (x, trace))
    assert abs(deviation) < 5
    assert abs(found - variance) < 5 * error
    several = model.trace(np.repeat(x, 500, axis=0), "hutchinson", n_probes=8, probe=probe, rng=3)
    assert abs(several.mean() - trace) < 5 * np.sqrt(variance / 4000)
    assert several.var() < variance / 8 * 2  # eight probes: an eighth of the variance


def test_control_probes_of_unit_length_are_seen(monkeypatch):
    model, x, _ = network_of(EnergyMLP, 6, (7, 5), confinement=0.5, seed=8, n=1)
    exact = (x, model.trace(x)[0])
    assert abs(probe_deviation(model, "sphere", exact)[0]) < 5
    right = network.draw_probes
    monkeypatch.setattr(
        network, "draw_probes", lambda where, probe, shape, *a: right(where, probe, shape, *a) / shape[-1] ** 0.5
    )
    assert abs(probe_deviation(model, "sphere", exact)[0]) > 5


@pytest.mark.parametrize("probe", PROBES)
@BOTH
def test_rademacher_is_exact_in_one_dimension_and_every_probe_has_unit_second_moment(cls, probe):
    model, x, _ = network_of(cls, 1, (4, 3), n=5)
    if probe != "gaussian":  # v = +-1
        S = trace_scale(model, x, {})
        assert_within(2 * LIMITS["trace"], model.trace(x, "hutchinson", probe=probe, rng=0), model.trace(x), S)
    v = network.draw_probes("test", probe, (20000, 3), np.random.default_rng(0))
    # entries of v v^T have variance at most 2: five standard errors of 20000 draws
    np.testing.assert_allclose(v.T @ v / 20000, np.eye(3), rtol=0, atol=5 * np.sqrt(2 / 20000))


def test_probes_keep_dtype_and_refuse_unknown_names():
    assert network.draw_probes("t", "sphere", (4, 3), np.random.default_rng(0), np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="trace: probe is 'cube', expected 'rademacher', 'gaussian' or 'sphere'"):
        network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "hutchinson", probe="cube")
    with pytest.raises(ValueError, match="trace: method is 'fast', expected 'exact', 'textbook' or 'hutchinson'"):
        network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "fast")
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="trace: n_probes is"):
            network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "hutchinson", n_probes=bad)


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_what_is_asked_for_together_is_what_is_asked_for_alone(cls, conditional):
    """evaluate(trace=True, curvature=v) once returned a trace of uninitialised memory."""
    model, x, sigma = network_of(cls, 5, (6, 4), conditional=conditional, confinement=0.3, n=3)
    v = np.stack([x, -2 * x])
    names = ["score", "trace", "curvature", *(["energy"] if cls is EnergyMLP else [])]
    alone = {name: getattr(model, name)(x, **({"v": v} if name == "curvature" else {}), **sigma) for name in names}
    for size in range(len(names) + 1):
        for some in itertools.combinations(names, size):
            asked = {"score": False} | {name: v if name == "curvature" else True for name in some}
            ev = model.evaluate(x, **asked, **sigma)
            for name in ("energy", *names):
                if name in some:
                    # the same operations on the same numbers: the same bits
                    np.testing.assert_array_equal(getattr(ev, name), alone[name], err_msg=f"{name} of {some}")
                else:
                    assert getattr(ev, name) is None, (name, some)


# ------------------------------------------------------------------------------- blocks


def everything(model, x, sigma, v, several):
    """Every quantity at x that does not depend on random numbers, by name, and the gradient of implicit."""
    out = {
        "score": model.score(x, **sigma),
        "trace": model.trace(x, **sigma),
        "textbook": model.trace(x, "textbook", **sigma),
        "jacobian": model.jacobian(x, **sigma),
        "jvp": model.jvp(x, v, **sigma),
        "vjp": model.vjp(x, v, **sigma),
        "curvature": model.curvature(x, v, **sigma),
        "several": np.moveaxis(model.curvature(x, several, **sigma), 1, 0),
    }
    if isinstance(model, EnergyMLP):
        out["energy"] = model.energy(x, **sigma)
    return out


def size_of(model, x, sigma, v, several):
    """S of each of `everything`."""
    S_score, S_trace, S_jac, S_gradient, S_energy = scales(model, x, **sigma)
    V, M = np.abs(v), np.abs(several)
    out = {"score": S_score, "trace": S_trace, "textbook": S_trace, "jacobian": S_jac, "energy": S_energy}
    out |= {"jvp": np.einsum("nij,nj->ni", S_jac, V), "vjp": np.einsum("ni,nij->nj", V, S_jac)}
    out |= {"curvature": np.einsum("ni,nij,nj->n", V, S_jac, V), "several": np.einsum("mni,nij,mnj->nm", M, S_jac, M)}
    return out, S_gradient


def gradients(model, x, sigma, v, several):
    """Pullbacks through the shared rows and through rows of directions."""
    loss = implicit(model, x, **sigma)
    ev = model.evaluate(x, curvature=several, **sigma)
    return loss.value, loss.gradient, ev.pullback(score_bar=v, curvature_bar=1.0)


@pytest.mark.parametrize("constants", [(1, 1, 1), (64, 1, 99999), (1, 1 << 17, 1), (200, 50, 1)], ids=str)
@pytest.mark.parametrize("widths", [(7,), (7, 6), (4, 6, 5)], ids=str)
@BOTH
def test_results_do_not_depend_on_the_block_constants(cls, widths, constants, monkeypatch):
    rng = np.random.default_rng(1)
    for d in (5, 12):
        model, x, sigma = network_of(cls, d, widths, conditional=d == 5, confinement=0.3, seed=2, n=50)
        v, several = rng.standard_normal(x.shape), rng.standard_normal((3, *x.shape))
        case = (model, x, sigma, v, several)
        S, S_gradient = size_of(*case)
        whole, (value, gradient, other) = everything(*case), gradients(*case)
        with monkeypatch.context() as small:
            small.setattr(blocks, "SAMPLES", constants[0])
            small.setattr(blocks, "ROWS", constants[1])
            small.setattr(blocks, "WORK", constants[2])  # for a lane of its own
            small.setattr(products, "PIECE", 64)
            parts, (value_parts, gradient_parts, other_parts) = everything(*case), gradients(*case)
        # the same sums in another order: two computations within 8 eps S of each other in all trials, 32 allowed
        for name, want in whole.items():
            assert_within(32, parts[name], want, S[name], name)
        assert_within(32, gradient_parts, gradient, S_gradient, "gradient")
        assert abs(value_parts - value) <= 32 * EPS * np.mean(0.5 * np.sum(S["score"] ** 2, 1) + S["trace"])
        np.testing.assert_allclose(other_parts, other, rtol=0, atol=1e-13 * np.abs(other).max())


@BOTH
def test_a_thousand_samples_at_once_are_a_thousand_samples_one_by_one(cls):
    rng = np.random.default_rng(4)
    model, x, sigma = network_of(cls, 4, (6, 5), conditional=True, confinement=0.3, seed=2, n=1000)
    v, several = rng.standard_normal(x.shape), rng.standard_normal((2, *x.shape))
    S, _ = size_of(model, x, sigma, v, several)
    whole = everything(model, x, sigma, v, several)
    for i in range(0, 1000, 23):
        at = slice(i, i + 1)
        one = everything(model, x[at], {"sigma": sigma["sigma"][at]}, v[at], several[:, at])
        for name, got in one.items():
            assert_within(32, got, whole[name][at], S[name][at], f"{name} of sample {i}")
    few = slice(300, 500)
    gradient = np.mean([implicit(model, x[[i]], sigma=sigma["sigma"][i]).gradient for i in range(300, 500)], 0)
    x, sigma = x[few], {"sigma": sigma["sigma"][few]}
    assert_within(32, gradient, implicit(model, x, **sigma).gradient, scales(model, x, **sigma)[3], "gradient")


@BOTH
def test_control_a_block_that_forgets_its_place_is_seen(cls, monkeypatch):
    model, x, sigma = network_of(cls, 5, (4, 6, 5), n=50)
    whole, S = model.trace(x), trace_scale(model, x, sigma)
    monkeypatch.setattr(blocks, "SAMPLES", 1)
    right = blocks.Call.blocks
    monkeypatch.setattr(
        blocks.Call,
        "blocks",
        lambda self, lane: ((at, blocks.Block(self, slice(0, at.stop - at.start))) for at, _ in right(self, lane)),
    )
    with pytest.raises(AssertionError):
        assert_within(32, model.trace(x), whole, S)


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_no_samples_give_empty_results_of_the_right_shape(cls, conditional):
    model, x, _ = network_of(cls, 3, (4, 5), conditional=conditional, n=0)
    for sigma in [{"sigma": np.empty(0)}, {"sigma": 0.5}] if conditional else [{}]:
        ev = model.evaluate(x, trace=True, **sigma)
        assert ev.score.shape == (0, 3) and ev.trace.shape == (0,)
        if cls is EnergyMLP:
            assert model.energy(x, **sigma).shape == (0,)
        for method in ("exact", "textbook", "hutchinson"):
            assert model.trace(x, method, rng=0, **sigma).shape == (0,)
        assert model.jacobian(x, **sigma).shape == (0, 3, 3)
        assert model.jvp(x, x, **sigma).shape == model.vjp(x, x, **sigma).shape == (0, 3)
        assert model.curvature(x, x, **sigma).shape == (0,)
        assert model.curvature(x, np.empty((4, 0, 3)), **sigma).shape == (4, 0)
        np.testing.assert_array_equal(ev.pullback(score_bar=x, trace_bar=1.0), np.zeros(model.theta.size))
    model, x, sigma = network_of(cls, 3, (4, 5), conditional=conditional, n=2)
    assert model.curvature(x, np.empty((0, 2, 3)), **sigma).shape == (0, 2)


# ------------------------------------------------------------------------------- pullback of any cotangents


def combined(ev, bars):
    """The number whose gradient `pullback` returns: the sum of quantities times their cotangents."""
    return sum(np.sum(bar * getattr(ev, name[: -len("_bar")])) for name, bar in bars.items())


def pullback_scale(model, x, sigma, v, bars):
    """S of a pullback: that of the absolute network with cotangents of one sign, one sample at a time."""
    total = 0
    for i in range(len(x)):
        at = slice(i, i + 1)
        one = {"sigma": np.asarray(sigma["sigma"])[at]} if sigma else {}
        row = None if v is None else np.abs(v[..., at, :])
        # an energy network's score is minus a sum of absolute values: its cotangents take the sign along
        sign = -1 if isinstance(model, EnergyMLP) else 1
        size = {
            k: (1 if k == "energy_bar" else sign) * np.abs(b[..., at, :] if k == "score_bar" else b[..., at])
            for k, b in bars.items()
        }
        total = total + np.abs(
            absolute(model, x[at], **one).evaluate(np.abs(x[at]), curvature=row, **one).pullback(**size)
        )
    return total


def pullback_error(model, x, sigma, v, bars):
    """Error of `pullback` against complex steps at some parameters, in eps S."""
    asked = {name[: -len("_bar")]: True for name in bars}
    asked |= {"curvature": v} if "curvature_bar" in bars else {}
    got = model.evaluate(x, **asked, **sigma).pullback(**bars)
    assert got.shape == model.theta.shape and got.dtype == np.float64
    net, real = extended(model)
    h, places, exact = real(1e-30), np.unique(np.linspace(0, model.theta.size - 1, 25).astype(int)), []
    for i in places:
        theta = net.theta.copy()
        theta[i] += 1j * h
        exact.append(combined(net.with_theta(theta).evaluate(x, **asked, **sigma), bars).imag / h)
    S = pullback_scale(model, x, sigma, v if "curvature_bar" in bars else None, bars)
    return scaled(got[places], np.array(exact), S[places])


PULLED = ("energy", "score", "trace", "curvature", "curvature of several", "all with trace", "all with curvature")


def bars_for(what, rng, n, d, energy):
    """Random cotangents, and directions (n, d) or (m, n, d)."""
    v = rng.standard_normal((3, n, d) if "several" in what or "all" in what else (n, d))
    every = {"energy": rng.standard_normal(n), "score": rng.standard_normal((n, d)), "trace": rng.standard_normal(n)}
    every["curvature"] = rng.standard_normal(v.shape[:-1])
    if what.startswith("all"):
        every.pop("curvature" if what.endswith("trace") else "trace")
        if not energy:
            every.pop("energy")
        names = every
    else:
        names = [what.split()[0]]
    return v, {f"{name}_bar": every[name] for name in names}


@pytest.mark.parametrize("what", PULLED)
@pytest.mark.parametrize("widths", [(5,), (5, 4), (3, 5, 4)], ids=str)
@BOTH
def test_pullback_against_complex_steps(cls, widths, what):
    if cls is ScoreMLP and what == "energy":
        pytest.skip("a ScoreMLP has no energy")
    rng = np.random.default_rng(6)
    for d, conditional in ((3, True), (8, False)):
        model, x, sigma = network_of(cls, d, widths, "silu", conditional=conditional, confinement=0.4, seed=d, n=3)
        v, bars = bars_for(what, rng, 3, d, cls is EnergyMLP)
        error = pullback_error(model, x, sigma, v, bars)
        assert error <= LIMITS["gradient"], f"{error} eps S"


@BOTH
def test_control_a_pullback_wrong_by_one_part_in_a_billion_is_seen(cls, monkeypatch):
    model, x, sigma = network_of(cls, 4, (3, 5, 4), n=3)
    v, bars = bars_for("curvature", np.random.default_rng(0), 3, 4, True)
    right = mlp.rows_pullback
    monkeypatch.setattr(mlp, "rows_pullback", lambda *a: right(*a) * (1 + 1e-9))
    assert pullback_error(model, x, sigma, v, bars) > LIMITS["gradient"]


@BOTH
def test_a_number_as_cotangent_stands_for_all_and_integers_for_floats(cls):
    model, x, _ = network_of(cls, 3, (4, 3), n=3)
    ev = model.evaluate(x, trace=True, curvature=x)
    want = ev.pullback(trace_bar=np.ones(3))
    for one in (1, 1.0, True, np.uint8(1), np.ones(3, np.uint8), np.ones(3, bool), [1, 1, 1], np.float16(1)):
        np.testing.assert_array_equal(ev.pullback(trace_bar=one), want)
    np.testing.assert_array_equal(ev.pullback(curvature_bar=2), ev.pullback(curvature_bar=np.full(3, 2.0)))
    np.testing.assert_array_equal(ev.pullback(), np.zeros(model.theta.size))


@BOTH
def test_pullback_says_what_is_wrong(cls):
    model, x, _ = network_of(cls, 3, (4, 3), n=4)
    ev = model.evaluate(x, trace=True)
    cases = [
        ({"score_bar": np.zeros(4)}, ValueError, r"score_bar has shape \(4,\), expected \(4, 3\)"),
        ({"trace_bar": np.zeros((4, 1))}, ValueError, r"trace_bar has shape \(4, 1\), expected \(4,\)"),
        ({"curvature_bar": 1.0}, ValueError, r"curvature_bar needs evaluate\(..., curvature=v\)"),
        ({"trace_bar": np.full(4, np.nan)}, ValueError, r"trace_bar\[0\] is nan"),
        ({"trace_bar": 1j}, TypeError, "trace_bar is complex"),
        ({"trace_bar": "1"}, TypeError, "trace_bar has dtype"),
    ]
    if cls is ScoreMLP:
        cases.append(({"energy_bar": 1.0}, ValueError, "a ScoreMLP has no energy"))
    for bars, error, message in cases:
        with pytest.raises(error, match="pullback: .*" + message):
            ev.pullback(**bars)
    with pytest.raises(ValueError, match="trace_bar and curvature_bar in one call"):
        model.evaluate(x, curvature=x).pullback(trace_bar=1.0, curvature_bar=1.0)
    with pytest.raises(ValueError, match=r"curvature_bar has shape \(4,\), expected \(2, 4\)"):
        model.evaluate(x, curvature=np.stack([x, x])).pullback(curvature_bar=np.ones(4))


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


@given(seed=SEEDS)
def test_curvature_identity(seed):
    """v^T J v by one tangent sweep is v . (J v) with J v from a complex step of the score: no shared formula."""
    rng, model, x, sigma = drawn(seed, EnergyMLP, max_dim=8, max_width=8)
    v = rng.standard_normal(x.shape)
    net, real = extended(model)
    Jv = net.score(x.astype(real) + 1j * real(1e-30) * v, **sigma).imag / real(1e-30)
    S = np.einsum("ni,nij,nj->n", np.abs(v), scales(model, x, **sigma)[2], np.abs(v))
    assert_within(LIMITS["jacobian"], model.curvature(x, v, **sigma), np.einsum("nd,nd->n", v, Jv), S, "v^T J v")


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
    right = type(model)._block

    def wrong(self, call, block, at, v, out, *rest):  # adds a constant to the trace, whatever the unit of x
        K = right(self, call, block, at, v, out, *rest)
        if "trace" in out:
            out["trace"][at] += 1e-6
        return K

    monkeypatch.setattr(type(model), "_block", wrong)
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


# ------------------------------------------------------------------------------- what may come in as x, v and sigma

V = np.linspace(-1, 1, 12).reshape(4, 3)


def calls(model, sigma):
    """name -> function of x alone, for everything that takes x. `None` stands for a v that fits any good x."""
    v_like = lambda x: np.linspace(-1, 1, np.asarray(x).size).reshape(np.asarray(x).shape)
    fixed = lambda f: lambda x: f(x, V if np.shape(np.asarray(V)) != np.shape(_peek(x)) else v_like(_peek(x)))
    out = {
        "score": lambda x: model.score(x, **sigma),
        "trace": lambda x: model.trace(x, **sigma),
        "textbook": lambda x: model.trace(x, "textbook", **sigma),
        "hutchinson": lambda x: model.trace(x, "hutchinson", rng=0, **sigma),
        "jacobian": lambda x: model.jacobian(x, **sigma),
        "jvp": fixed(lambda x, v: model.jvp(x, v, **sigma)),
        "vjp": fixed(lambda x, v: model.vjp(x, v, **sigma)),
        "curvature": fixed(lambda x, v: model.curvature(x, v, **sigma)),
        "evaluate": lambda x: model.evaluate(x, trace=True, **sigma).pullback(trace_bar=1.0, score_bar=1.0),
        "implicit": lambda x: implicit(model, x, **sigma).gradient,
        "explicit": fixed(lambda x, v: explicit(model, x, v, **sigma).gradient),
    }
    if isinstance(model, EnergyMLP):
        out["energy"] = lambda x: model.energy(x, **sigma)
    return out


def _peek(x):
    """x as an array, or an empty one if it is none."""
    try:
        return np.asarray(x)
    except ValueError:
        return np.empty(0)


PLAIN = np.random.default_rng(0).integers(-8, 8, (4, 3)) / 4.0  # numbers that every float format holds
INTEGERS = np.random.default_rng(0).integers(0, 5, (4, 3))


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def embedded(a, step_rows, step_columns):
    """A view with the values of a and these strides (in elements of a larger array)."""
    big = np.full((len(a) * abs(step_rows), a.shape[1] * abs(step_columns)), np.nan)
    view = big[::step_rows, ::step_columns][: len(a), : a.shape[1]]
    view[...] = a
    return view


GOOD = {
    "list": PLAIN.tolist(),
    "tuples": tuple(map(tuple, PLAIN.tolist())),
    "list of arrays": list(PLAIN),
    "read-only": read_only(PLAIN),
    "Fortran": np.asfortranarray(PLAIN),
    "strided rows": embedded(PLAIN, 3, 1),
    "strided columns": embedded(PLAIN, 1, 2),
    "negative strides": embedded(PLAIN, -1, -1),
    "transposed view": np.ascontiguousarray(PLAIN.T).T,
    "broadcast": np.broadcast_to(PLAIN[:1], (4, 3)),
    "int64": INTEGERS,
    "int8": INTEGERS.astype(np.int8),
    "uint8": INTEGERS.astype(np.uint8),
    "big-endian int": INTEGERS.astype(">i4"),
    "bool": INTEGERS > 2,
    "float16": PLAIN.astype(np.float16),
    "float32": PLAIN.astype(np.float32),
    "big-endian float64": PLAIN.astype(">f8"),
    "big-endian float32": PLAIN.astype(">f4"),
    "matrix": PLAIN.view(np.matrix),
    "masked array without a mask": np.ma.array(PLAIN),
    "masked array, nothing masked": np.ma.array(PLAIN, mask=np.zeros((4, 3), bool)),
    "unaligned": np.frombuffer(b"?" + PLAIN.tobytes(), offset=1).reshape(4, 3),
}


def checksum(x):
    return hashlib.sha256(np.asarray(x).tobytes()).hexdigest(), type(x)


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@pytest.mark.parametrize("name", GOOD)
@BOTH
def test_good_input_gives_the_result_of_the_plain_array(cls, name, conditional):
    model, *_ = network_of(cls, 3, (5, 4), conditional=conditional, confinement=0.5)
    x = GOOD[name]
    plain = np.array(np.asarray(x).tolist(), dtype=float)
    before = checksum(x)
    for what, call in calls(model, {"sigma": 0.5} if conditional else {}).items():
        got, want = call(x), call(plain)
        assert type(got) is np.ndarray and got.dtype == np.float64, (what, type(got), got.dtype)
        np.testing.assert_array_equal(got, want, err_msg=what)  # blocks are copied to one layout first: the same bits
    assert checksum(x) == before


@pytest.mark.parametrize("name", GOOD)
def test_good_directions_targets_and_noise_levels(name):
    model, *_ = network_of(EnergyMLP, 3, (5, 4), conditional=True, confinement=0.5)
    x, v = PLAIN, GOOD[name]
    plain, before = np.array(np.asarray(v).tolist(), dtype=float), checksum(v)
    for call in (
        model.jvp,
        model.vjp,
        model.curvature,
        lambda x, v, sigma: explicit(model, x, v, sigma=sigma).gradient,
    ):
        got = call(x, v, sigma=0.5)
        assert type(got) is np.ndarray and got.dtype == np.float64
        np.testing.assert_array_equal(got, call(x, plain, sigma=0.5))
    ev, want = model.evaluate(x, curvature=v, sigma=0.5), model.evaluate(x, curvature=plain, sigma=0.5)
    np.testing.assert_array_equal(
        ev.pullback(curvature_bar=1.0, score_bar=v), want.pullback(curvature_bar=1.0, score_bar=plain)
    )
    levels = np.abs(np.asarray(plain))[:, 0] + 1
    np.testing.assert_array_equal(
        model.score(x, sigma=levels.astype(">f4")), model.score(x, sigma=levels.astype(">f4").astype(float))
    )
    assert checksum(v) == before


LIMIT32 = 64  # of float32: energy 5.6, score 9.1, trace 58 eps S were seen in float64; a small network is near 5


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_float32_stays_float32_and_mixed_becomes_float64(cls, conditional):
    model, x, sigma = network_of(cls, 3, (5, 4), conditional=conditional, confinement=0.5, dtype=np.float32)
    assert model.theta.dtype == np.float32
    v = np.ones_like(x)
    ev = model.evaluate(x, trace=True, curvature=v, energy=cls is EnergyMLP, **sigma)
    results = [
        ev.score,
        ev.trace,
        ev.curvature,
        model.jacobian(x, **sigma),
        model.jvp(x, v, **sigma),
        model.vjp(x, v, **sigma),
    ]
    results += [model.trace(x, method, rng=0, **sigma) for method in ("textbook", "hutchinson")]
    results += [
        implicit(model, x, **sigma).gradient,
        implicit(model, x, **sigma).per_sample,
        explicit(model, x, v, **sigma).gradient,
    ]
    results += [ev.pullback(trace_bar=1.0, score_bar=np.ones(x.shape)), *([ev.energy] if cls is EnergyMLP else [])]
    assert {str(r.dtype) for r in results} == {"float32"}
    double = model.with_theta(model.theta.astype(float))
    sigma32 = {k: s.astype(np.float32).astype(float) for k, s in sigma.items()}
    S_score, S_trace, *_ = scales(double, x.astype(float), **sigma32)
    ratio = np.finfo(np.float32).eps / EPS
    assert scaled(ev.score, double.score(x, **sigma32), S_score) <= LIMIT32 * ratio
    assert scaled(ev.trace, double.trace(x, **sigma32), S_trace) <= LIMIT32 * ratio
    assert model.score(x.astype(float), **sigma).dtype == np.float64
    assert double.score(x, **sigma).dtype == np.float64


BAD = {
    "one-dimensional": (PLAIN[0], ValueError, r"x has shape \(3,\), expected \(n, d\).*x\[None, :\].*x\[:, None\]"),
    "a number": (1.5, ValueError, r"x has shape \(\), expected \(n, d\)"),
    "three-dimensional": (PLAIN[None], ValueError, r"x has shape \(1, 4, 3\), expected \(n, d\).*reshape"),
    "empty list": ([], ValueError, r"x has shape \(0,\), expected \(n, d\)"),
    "too narrow": (PLAIN[:, :2], ValueError, r"x has shape \(4, 2\), expected \(n, 3\)"),
    "too wide": (np.ones((4, 5)), ValueError, r"x has shape \(4, 5\), expected \(n, 3\)"),
    "no columns": (np.ones((4, 0)), ValueError, r"x has shape \(4, 0\), expected \(n, 3\)"),
    "transposed": (np.ones((3, 7)), ValueError, r"x has shape \(3, 7\), expected \(n, 3\).*pass x\.T"),
    "NaN": (
        np.where(np.arange(12).reshape(4, 3) == 7, np.nan, PLAIN),
        ValueError,
        r"x\[2, 1\] is nan.*first bad row: 2",
    ),
    "infinity": (
        np.where(np.arange(12).reshape(4, 3) >= 10, -np.inf, PLAIN),
        ValueError,
        r"x\[3, 1\] is -inf.*first bad row: 3",
    ),
    "NaN in float32": (np.full((4, 3), np.nan, np.float32), ValueError, r"x\[0, 0\] is nan.*first bad row: 0"),
    "objects": (PLAIN.astype(object), TypeError, "x has dtype object, expected numbers"),
    "strings": (PLAIN.astype(str), TypeError, "x has dtype <U.*, expected numbers"),
    "a string": ("x", TypeError, "x has dtype <U1, expected numbers"),
    "bytes": (PLAIN.astype(bytes), TypeError, r"x has dtype \|S.*, expected numbers"),
    "dates": (INTEGERS.astype("datetime64[s]"), TypeError, r"x has dtype datetime64\[s\], expected numbers"),
    "records": (np.zeros((4, 3), "f8,f8"), TypeError, "x has dtype .*, expected numbers"),
    "unequal rows": ([[1.0, 2.0, 3.0], [4.0]], ValueError, "x cannot be made an array.*rows of unequal length"),
    "None": (None, TypeError, "x has dtype object, expected numbers"),
    "None in a list": ([[1.0, None, 2.0]], TypeError, "x has dtype object, expected numbers"),
    "a dict": ({"x": 1}, TypeError, "x has dtype object, expected numbers"),
    "masked entries": (
        np.ma.array(PLAIN, mask=PLAIN[1, 1] == PLAIN),
        ValueError,
        "x is a masked array with .* masked entries",
    ),
}
# explicit is looked at below
EXPLICIT_FIRST = {
    "one-dimensional",
    "a number",
    "three-dimensional",
    "empty list",
    "too narrow",
    "too wide",
    "no columns",
}
EXPLICIT_FIRST |= {"transposed", "a string", "unequal rows", "None", "None in a list", "a dict"}


@pytest.mark.parametrize("name", BAD)
@BOTH
def test_bad_input_is_one_clear_error_that_names_x(cls, name):
    model, *_ = network_of(cls, 3, (5, 4))
    x, error, message = BAD[name]
    for what, call in calls(model, {}).items():
        if what == "explicit" and name in EXPLICIT_FIRST:
            continue
        with pytest.raises(error, match=r"^[a-z]+: " + message):
            call(x)


@pytest.mark.parametrize("name", sorted(set(BAD) - {"three-dimensional", "masked entries"}))
def test_bad_directions_are_one_clear_error_that_names_v(name):
    model, *_ = network_of(EnergyMLP, 3, (5, 4))
    v, error, _ = BAD[name]
    for call in (model.jvp, model.vjp, model.curvature):
        with pytest.raises(error, match=r"^[a-z]+: v\b"):
            call(PLAIN, v)
    with pytest.raises(ValueError, match=r"jvp: v has shape \(2, 3\), expected \(4, 3\)"):
        model.jvp(PLAIN, PLAIN[:2])
    with pytest.raises(ValueError, match=r"v has shape \(2, 5, 3\), expected \(4, 3\)"):
        model.curvature(PLAIN, np.ones((2, 5, 3)))
    several = np.ones((2, 4, 3))
    several[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"v\[1, 2, 0\] is nan"):
        model.curvature(PLAIN, several)


def test_the_first_bad_row_is_found_in_large_arrays():
    model, *_ = network_of(EnergyMLP, 3, (5,))
    for rows in ((70000,), (99999, 60001)):
        x = np.zeros((100000, 3))
        x[list(rows), 2] = np.nan
        with pytest.raises(ValueError, match=rf"x\[{min(rows)}, 2\] is nan.*first bad row: {min(rows)}\)"):
            model.score(np.asfortranarray(x))


SIGMAS = {
    "missing": (None, ValueError, r"conditional on the noise level; pass sigma="),
    "zero": (0.0, ValueError, "sigma has a value 0.0, expected positive"),
    "negative": (-1.0, ValueError, "sigma has a value -1.0, expected positive"),
    "one negative": ([1.0, 2.0, -3.0, 1.0], ValueError, "sigma has a value -3.0, expected positive"),
    "NaN": (np.nan, ValueError, "sigma.* is nan"),
    "one NaN": ([1.0, np.nan, 1.0, 1.0], ValueError, r"sigma\[1\] is nan"),
    "infinite": (np.inf, ValueError, "sigma.* is inf"),
    "wrong length": (np.ones(3), ValueError, r"sigma has shape \(3,\), expected one number or \(4,\)"),
    "column": (np.ones((4, 1)), ValueError, r"sigma has shape \(4, 1\), expected one number or \(4,\)"),
    "string": ("1", TypeError, "sigma has dtype"),
    "below the smallest float": (1e-310, ValueError, "sigma ranges from"),
}


@pytest.mark.parametrize("name", SIGMAS)
@BOTH
def test_noise_levels_that_are_none(cls, name):
    model, *_ = network_of(cls, 3, (5, 4), conditional=True)
    sigma, error, message = SIGMAS[name]
    for what, call in calls(model, {"sigma": sigma}).items():
        with pytest.raises(error, match=r"^[a-z]+: .*" + message):
            print(what, call(PLAIN))


@BOTH
def test_a_noise_level_for_a_network_that_takes_none(cls):
    model, *_ = network_of(cls, 3, (5, 4))
    for what, call in calls(model, {"sigma": 1.0}).items():
        with pytest.raises(ValueError, match=r"^[a-z]+: sigma was given, but this network is not conditional"):
            print(what, call(PLAIN))


def test_a_noise_level_out_of_the_range_of_float32():
    model, x, _ = network_of(EnergyMLP, 3, (5,), conditional=True, dtype=np.float32)
    with pytest.raises(ValueError, match=r"sigma ranges from 1e-60 .* the range of float32"):
        model.score(x, sigma=1e-60)


# ---- extended precision and complex numbers: oracles, for five activations


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


def test_a_complex_step_in_the_noise_level_passes():
    model, x, _ = network_of(EnergyMLP, 3, (5, 4), conditional=True, confinement=0.3)
    h = 1e-30
    rate = model.energy(x, sigma=0.7 + 1j * h).imag / h
    difference = (model.energy(x, sigma=0.7 + 1e-6) - model.energy(x, sigma=0.7 - 1e-6)) / 2e-6
    np.testing.assert_allclose(rate, difference, rtol=0, atol=1e-8)  # round-off eps/1e-6, truncation 1e-12


# ---- relu


NEEDS_TRACE = ("trace", "textbook", "hutchinson", "jacobian", "jvp", "vjp", "curvature", "evaluate", "implicit")


@BOTH
def test_relu_is_refused_for_all_that_needs_the_trace_with_the_reason(cls):
    model, *_ = network_of(cls, 3, (5, 4), "relu")
    run = calls(model, {})
    reason = r"^[a-z]+: activation 'relu' is not twice differentiable.*the trace would silently miss the kink.*softplus"
    for what in NEEDS_TRACE:
        with pytest.raises(ValueError, match=reason):
            run[what](PLAIN)
        with pytest.raises(ValueError, match=reason):
            run[what](PLAIN[:0]) if what not in ("implicit", "jvp", "vjp", "curvature") else run[what](PLAIN)
    assert model.score(PLAIN).shape == (4, 3)
    loss = explicit(model, PLAIN, V)
    assert np.isfinite(loss.value)
    if cls is EnergyMLP:
        assert np.isfinite(model.energy(PLAIN)).all()
        with pytest.raises(ValueError, match=reason):
            loss.gradient  # noqa: B018
    else:  # its gradient needs first derivatives alone
        assert np.isfinite(loss.gradient).all()


def test_the_refused_trace_would_indeed_be_wrong():
    """On relu the curvature formula returns 0, and differences of the score across a kink do not."""
    model, x, _ = network_of(EnergyMLP, 2, (6, 5), "relu", seed=1)
    silent = EnergyMLP(model.layers, Activation("relu as if smooth", ACTIVATIONS["relu"].columns))
    assert np.all(silent.trace(x) == 0)
    far = 10 * np.eye(2)
    assert np.abs(model.score(far) - model.score(-far)).max() > 0.1


# ------------------------------------------------------------------------------- parameters


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


# ---- torch


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


# ------------------------------------------------------------------------------- random numbers


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), np.random.SeedSequence(7)], ids=repr)
@BOTH
def test_the_same_seed_gives_the_same_bits(cls, seed):
    one, two = (cls.init(3, (5, 4), rng=seed) for _ in range(2))
    np.testing.assert_array_equal(one.theta, two.theta)
    traces = [one.trace(PLAIN, "hutchinson", n_probes=3, rng=seed) for _ in range(2)]
    np.testing.assert_array_equal(*traces)


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
    with pytest.raises(ValueError, match=r"save: activation 'cube' is your own row; call activations\.register"):
        model.save(tmp_path / "model.npz")
    assert not os.listdir(tmp_path)
    impostor = Activation("tanh", cube.columns)
    with pytest.raises(ValueError, match="save: activation 'tanh' is your own row"):
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


# ------------------------------------------------------------------------------- found and reported, not yet mended


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


@pytest.mark.parametrize("name", sorted(EXPLICIT_FIRST))
def test_explicit_names_x_when_x_is_bad(name):
    model, *_ = network_of(EnergyMLP, 3, (5, 4))
    x, error, message = BAD[name]
    with pytest.raises(error, match="^explicit: " + message):
        explicit(model, x, V)
