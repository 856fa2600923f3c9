"""Passes and their pullbacks: one Jacobian, whichever way it is asked for."""

import itertools

import numpy as np
import pytest
from accuracy import LIMITS
from hypothesis import given
from networks_cases import BOTH, SEEDS, assert_within, drawn
from oracles import extended, scales

from numpyscore import EnergyMLP
from numpyscore import textbook as tb
from numpyscore.networks import models, passes
from numpyscore.networks.activations import ACTIVATIONS, Activation
from numpyscore.networks.parallel import Gradient, Worker
from numpyscore.networks.parameters import Network

# ------------------------------------------------------------------------------- products agree


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


@BOTH
@given(seed=SEEDS)
def test_jvp_vjp_curvature_jacobian_and_trace_are_of_one_jacobian(cls, seed):
    rng, model, x, sigma = drawn(seed, cls, max_dim=12, max_width=10)
    check_products(model, x, sigma, *rng.standard_normal((2, *x.shape)))


@pytest.mark.parametrize("what", ["curvature", "adjoint_tangent", "adjoint_pullback"])
def test_control_a_product_off_by_a_part_in_a_billion_is_seen(what, monkeypatch):
    rng, model, x, sigma = drawn(7, EnergyMLP, max_dim=5, max_width=5)
    v, u = rng.standard_normal((2, *x.shape))
    check_products(model, x, sigma, v, u)
    where = passes if what == "curvature" else models
    right = getattr(where, what)

    def wrong(net, *rest):
        if what == "adjoint_pullback":
            net = net._replace(W={l: W * (1 + 1e-9) for l, W in net.W.items()})
        out = right(net, *rest)
        return out if what == "adjoint_pullback" else out * (1 + 1e-9)

    monkeypatch.setattr(where, what, wrong)
    with pytest.raises(AssertionError):
        check_products(model, x, sigma, v, u)


@given(seed=SEEDS)
def test_curvature_identity(seed):
    """v^T J v by one tangent sweep is v . (J v) with J v from a complex step of the score: no shared formula."""
    rng, model, x, sigma = drawn(seed, EnergyMLP, max_dim=8, max_width=8)
    v = rng.standard_normal(x.shape)
    net, real = extended(model)
    Jv = net.score(x.astype(real) + 1j * real(1e-30) * v, **sigma).imag / real(1e-30)
    S = np.einsum("ni,nij,nj->n", np.abs(v), scales(model, x, **sigma)[2], np.abs(v))
    assert_within(LIMITS["jacobian"], model.curvature(x, v, **sigma), np.einsum("nd,nd->n", v, Jv), S, "v^T J v")


# ------------------------------------------------------------------------------- each function against the textbook's
#
# Both sides sum the same products in another order: a few eps a layer and at most five layers, with terms of order one, for any
# dtype: 256 eps of the largest entry. An error of 1e-9 is 17,000 times that in float64.

SHAPES = [
    (3, (8,)),
    (9, (4,)),
    (3, (7, 5)),
    (9, (4, 6)),
    (3, (6, 5, 4)),
    (7, (3, 5, 2)),
    (2, (3, 2, 4, 3)),
    (5, (3, 4, 2, 3)),
]
DTYPES = (np.float32, np.float64, np.longdouble, np.complex128)
FUNCTIONS = ("forward", "adjoint", "tangent", "adjoint_tangent", "curvature", "curvature_pullback", "factors")
FUNCTIONS += ("tangent_pullback", "adjoint_pullback", "forward_pullback")


class Pair:
    """A network and n samples with m directions, for the engine's passes and for the textbook's."""

    def __init__(self, d, widths, outputs, dtype, n, name="silu", alone=True, row=None):
        self.rng, self.dtype, self.n, self.m = np.random.default_rng(n), dtype, n, 3
        sizes = [d, *widths, outputs]
        layers = [(self.draw(i, o) / 2, self.draw(o)) for i, o in itertools.pairwise(sizes)]
        self.tb = tb.Network.of(layers, getattr(tb, name))
        W, b, L, _ = self.tb
        self.net = Network(W, b, {l: W_l.T for l, W_l in W.items()}, L, (row or ACTIVATIONS[name]).jet)
        self.x, self.y_bar = self.draw(n, d), self.draw(n, outputs)
        self.work = Worker(slice(0, n), dtype, alone)
        self.fresh()

    def draw(self, *shape):
        """Normal numbers of the case's dtype, an imaginary part for complex ones."""
        a = self.rng.standard_normal(shape)
        return (a + 0.3j * self.rng.standard_normal(shape) if self.dtype == np.complex128 else a).astype(self.dtype)

    def fresh(self):
        """Zero gradients."""
        self.work.grads = Gradient(self, self.dtype, False, self.work)

    @property
    def theta(self):
        """All parameters in one vector, and `unflatten` its views: what a gradient is made like."""
        return np.concatenate([a.ravel() for l in self.net.W for a in (self.net.W[l], self.net.b[l])])

    def unflatten(self, theta):
        """((W_1, b_1), ...) as views of theta."""
        shapes = [a.shape for l in self.net.W for a in (self.net.W[l], self.net.b[l])]
        ends = np.cumsum([np.prod(shape) for shape in shapes])
        views = [a.reshape(shape) for a, shape in zip(np.split(theta, ends[:-1]), shapes, strict=True)]
        return list(zip(views[::2], views[1::2], strict=True))

    def close(self, got, want, what):
        """Equal to 256 eps of the largest entry; a single row of `got` stands for all samples."""
        got = np.broadcast_to(got, want.shape) if got.shape[0] == 1 else got
        assert got.shape == want.shape and got.dtype == self.dtype, (what, got.shape, want.shape, got.dtype)
        error, size = np.abs(got - want).max(initial=0), np.abs(want).max(initial=0)
        assert error <= 256 * np.finfo(self.dtype).eps * size, f"{what}: {error / size:.2g}"

    def tapes(self, T_1=None, full=None):
        """Both tapes: forward, adjoint from y_bar, and from T_1 on tangents (`full` where the engine's is cut or shared)."""
        scalar = self.y_bar.shape[1] == 1
        at, there = passes.forward(self.net, self.x, 3, self.work), tb.forward(self.tb, self.x)
        tb.adjoint(self.tb, there, np.ones_like(there.y) if scalar else self.y_bar)
        passes.adjoint(self.net, at, self.work, None if scalar else self.y_bar)
        at.w = {l: at.g[l] * at.d2[l] for l in at.d2}
        if T_1 is not None:
            passes.tangent(self.net, at, T_1, self.work, lambda l, T: None, keep=True)
            tb.tangent(
                self.tb, there, np.broadcast_to(T_1 if full is None else full, (len(T_1), self.n, self.net.b[1].size))
            )
        return at, there

    def zero(self, at):
        """Cotangents with a place for each phi'."""
        bar = passes.Cotangents()
        bar.d1 = {l: np.zeros_like(d1) for l, d1 in at.d1.items()}
        return bar

    def gradients(self, bar, there_bar, what):
        """W and b of both."""
        self.work.grads.gather(bar)
        for l in self.net.W:
            self.close(self.work.grads.W[l], there_bar.W[l], f"W_{l} of {what}")
            self.close(self.work.grads.b[l], there_bar.b[l], f"b_{l} of {what}")

    def z_bar(self, at, bar, l):
        """What phi'_bar and phi''_bar mean for z_l."""
        parts = [(bar.d1, at.d2), (bar.d2, at.d3)]
        return sum(
            (bars[l] * d[l] for bars, d in parts if l in bars), np.zeros((self.n, self.net.b[l].size), self.dtype)
        )


def check_values(case):
    """Forward, adjoint, tangent, how g_0 moves, curvature."""
    at, there = case.tapes(case.draw(case.m, case.n, case.net.b[1].size))
    for name in ("a", "d1", "d2", "d3", "g", "h", "T", "N"):
        for l, got in getattr(at, name).items():
            case.close(got, getattr(there, name)[l], f"{name}_{l}")
    assert set(at.g) == set(there.g) and set(at.h) | {case.net.L + 1} == set(there.h) and set(at.T) == set(at.d1)
    case.close(at.y, there.y, "y")
    for T_1 in at.T[1][:2]:
        one, one_there = case.tapes(T_1[None].copy())
        case.close(
            passes.adjoint_tangent(case.net, one, case.work), tb.adjoint_tangent(case.tb, one_there)[0], "g_0 moves"
        )
    at, there = case.tapes(case.draw(case.m, case.n, case.net.b[1].size))
    each = {l: T**2 for l, T in at.T.items()}
    case.close(passes.curvature(at, each), tb.curvature(there)[..., 0], "curvatures")
    case.close(
        passes.curvature(at, {l: S.sum(0) for l, S in each.items()}), tb.curvature(there)[..., 0].sum(0), "their sum"
    )


def check_curvature_pullback(case):
    """g_bar, phi''_bar, and the factors in front of T_l, for one cotangent of the sum and for one of each direction."""
    at, there = case.tapes(case.draw(case.m, case.n, case.net.b[1].size))
    for c_bar in (case.draw(case.n), case.draw(case.m, case.n)):
        bar, there_bar = passes.Cotangents(), tb.cotangents(case.tb, there)
        tb.curvature_pullback(there, there_bar, np.broadcast_to(c_bar, (case.m, case.n))[..., None])
        passes.factors(at, bar, c_bar)
        S = {l: np.sum(T**2 if c_bar.ndim == 1 else c_bar[..., None] * T**2, 0) for l, T in at.T.items()}
        bar.g, bar.d2 = ({l: np.empty_like(d) for l, d in at.d2.items()} for _ in range(2))
        passes.curvature_pullback(at, bar, S, c_bar if c_bar.ndim == 1 else None)
        for l in at.d1:
            case.close(bar.g[l], there_bar.g[l], f"g_{l}")
            case.close(bar.T[l] * at.T[l], there_bar.T[l], f"T_{l}")
            case.close(case.z_bar(at, bar, l), there_bar.z[l], f"z_{l}")


def check_tangent_pullback(case):
    """Tangents of each sample, shared ones, and shared ones without their first columns, which are zero; with and without factors."""
    k, L = case.net.b[1].size, case.net.L
    for way, factored, left in itertools.product(("own", "shared", "cut"), ("none", "shared", "own"), (True, False)):
        if factored == "none" and not left:
            continue  # no cotangent at all
        if way == "cut" and left and L == 1:
            continue  # with one hidden layer the trace of a score network is `Bilinear`: nothing enters cut and leaves
        if way != "own" and not left and L == 1:
            continue  # `Collapsed.weigh` has taken all there is
        case.fresh()
        full = case.draw(case.m, case.n if way == "own" else 1, k)
        first = k // 2 if way == "cut" else 0
        full[..., :first] = 0
        at, there = case.tapes(full[..., first:].copy(), full)
        bar, there_bar = case.zero(at), tb.cotangents(case.tb, there)
        if factored != "none":
            shape = (case.m,) if factored == "own" else ()
            bar.T = {l: case.draw(*shape, *d1.shape) for l, d1 in at.d1.items()}
            if way != "own":
                del bar.T[1]  # `Collapsed.weigh` takes it
            there_bar.T.update({l: factor * there.T[l] for l, factor in bar.T.items()})
        N_bar = None
        if left:
            there_bar.T[L + 1] = case.draw(*there.T[L + 1].shape)
            N_bar = there_bar.T[L + 1] @ case.net.WT[L + 1]
            case.work.grads.add(L + 1, (at.T[L] * at.d1[L][..., -at.T[L].shape[2] :]).reshape(-1, at.T[L].shape[2]),
                                there_bar.T[L + 1].reshape(-1, case.net.b[L + 1].size), case.net.b[L].size - at.T[L].shape[2])  # fmt: skip
        tb.tangent_pullback(case.tb, there, there_bar)
        T_bar = passes.tangent_pullback(case.net, at, bar, N_bar, case.work)
        want, what = there_bar.T[1][..., first:], f"{way} tangents, {factored} factors, {left}"
        case.close(T_bar, want if way == "own" else want.sum(1, keepdims=True), f"T_1, {what}")
        case.gradients(bar, there_bar, what)
        for l in at.d1:
            case.close(case.z_bar(at, bar, l), there_bar.z[l], f"z_{l}, {what}")


def check_adjoint_pullback(case):
    """From the cotangents of g_0 and of every g_l."""
    case.fresh()
    at, there = case.tapes()
    bar, there_bar = passes.Cotangents(), tb.cotangents(case.tb, there)
    there_bar.g = {l: case.draw(*g.shape) for l, g in there.g.items()}
    bar.g = {l: g.copy() for l, g in there_bar.g.items() if l}
    passes.adjoint_pullback(case.net, at, bar, there_bar.g[0], case.work)
    tb.adjoint_pullback(case.tb, there, there_bar)
    case.gradients(bar, there_bar, "adjoint_pullback")
    for l in at.d1:
        case.close(bar.g[l], there_bar.g[l], f"g_{l}")
        case.close(case.z_bar(at, bar, l), there_bar.z[l], f"z_{l}")


def check_forward_pullback(case):
    """From the cotangents of y and of every phi' and phi''; what the textbook calls bar.z is made of these."""
    case.fresh()
    at, there = case.tapes()
    bar, there_bar = case.zero(at), tb.cotangents(case.tb, there)
    bar.d1, bar.d2 = ({l: case.draw(*d.shape) for l, d in at.d1.items()} for _ in range(2))
    there_bar.z = {l: bar.d1[l] * there.d2[l] + bar.d2[l] * there.d3[l] for l in there.z}
    there_bar.y[:] = case.y_bar
    x_bar = passes.forward_pullback(case.net, at, bar, case.y_bar, case.work, to_input=True)
    case.close(x_bar, tb.forward_pullback(case.tb, there, there_bar), "x")
    case.gradients(bar, there_bar, "forward_pullback")


def check_all(case):
    """Every pass and every pullback.

    A product of single rows in float32 may raise BLAS's flag for an invalid value in lanes that it computes and does not keep (seen once in
    many runs, of finite factors); a NaN among the numbers fails by itself.
    """
    with case.work, np.errstate(invalid="ignore"):
        check_values(case)
        check_tangent_pullback(case)
        check_forward_pullback(case)
        if case.y_bar.shape[1] == 1:
            check_curvature_pullback(case)
            check_adjoint_pullback(case)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_pass_is_the_textbooks(shape, dtype):
    for k, (outputs, n) in enumerate(itertools.product((1, shape[0]), (1, 6))):
        check_all(Pair(*shape, outputs, dtype, n, tuple(tb_names())[k], alone=k % 2 == 0))


def tb_names():
    """The activations that the textbook has."""
    return (name for name, row in ACTIVATIONS.items() if row.analytic)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_any_function_wrong_by_one_part_in_a_billion_is_seen(name, monkeypatch):
    right, off = getattr(passes, name), 1 + 1e-9

    def wrong(first, *rest, **options):
        if isinstance(first, Network):
            scaled = lambda W: {l: a * off for l, a in W.items()}
            return right(first._replace(W=scaled(first.W), WT=scaled(first.WT)), *rest, **options)
        *rest, last = rest  # the sums of squares, or the cotangent
        if name == "curvature_pullback":
            rest[1] = {l: S * off for l, S in rest[1].items()}
        return right(first, *rest, last if name == "curvature_pullback" else scale(last, off))

    case = lambda: Pair(7, (3, 5, 2), 1, np.float64, 4)
    check_all(case())
    monkeypatch.setattr(passes, name, wrong)
    with pytest.raises(AssertionError):
        check_all(case())


def scale(a, off):
    """An array, or each array of a dict, times a number."""
    return {l: b * off for l, b in a.items()} if isinstance(a, dict) else a * off


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_control_a_derivative_wrong_by_one_part_in_a_billion_is_seen(order):
    right = ACTIVATIONS["silu"].jet
    wrong = lambda z, k: tuple(a * (1 + 1e-9 * (i == order)) for i, a in enumerate(right(z, k)))
    check_all(Pair(3, (7, 5), 1, np.float64, 4))
    with pytest.raises(AssertionError):
        check_all(Pair(3, (7, 5), 1, np.float64, 4, row=Activation("wrong", wrong)))
    case = Pair(3, (7, 5), 1, np.float64, 4, row=Activation("wrong", wrong))
    if order:  # the pullbacks see it by themselves
        with case.work, pytest.raises(AssertionError):
            (check_forward_pullback if order > 1 else check_adjoint_pullback)(case)


# ------------------------------------------------------------------------------- what is not computed, and what is written over


def test_a_gradient_that_is_not_asked_for_is_not_computed():
    case = Pair(3, (7, 5), 1, np.float64, 4)
    with case.work:
        at = passes.forward(case.net, case.x, 1, case.work)
        assert at.d2 == {1: None, 2: None} == at.d3
        passes.adjoint(case.net, at, case.work, to_input=False)
        assert set(at.g) == {1, 2} and set(at.h) == {2}
        at = passes.forward(case.net, case.x, 1, case.work)
        passes.adjoint(case.net, at, case.work)
        assert set(at.g) == {0, 1, 2} and set(at.h) == {1, 2}
        bar = case.zero(at)
        assert (
            passes.forward_pullback(case.net, passes.forward(case.net, case.x, 2, case.work), bar, None, case.work)
            is None
        )
        assert passes.forward_pullback(case.net, at, passes.Cotangents(), None, case.work, to_input=True) is None


def test_tangents_that_are_not_kept_take_two_arrays_and_leave_those_that_came_alone():
    case = Pair(3, (4, 5, 3, 6, 2), 1, np.float64, 4)
    T_1 = case.draw(3, 4, 4)
    T_1.flags.writeable = False
    seen = []
    with case.work:
        case.work.array = passes.Workspace(float)
        at = passes.forward(case.net, case.x, 1, case.work)
        passes.tangent(case.net, at, T_1, case.work, lambda l, T: seen.append((l, T.copy())), keep=False)
        assert set(case.work.array.kept) == {("N", 1), ("T", 0), ("T", 1)}
        kept = []
        passes.tangent(case.net, at, T_1, case.work, lambda l, T: kept.append((l, T)), keep=True)
    assert [l for l, _ in seen] == [l for l, _ in kept] == [1, 2, 3, 4, 5]
    for (_, one), (_, other) in zip(seen, kept, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_workspace_writes_over_what_is_large_enough():
    space = passes.Workspace(np.float32)
    first = space("a", 2, 3)
    assert first.shape == (2, 3) and first.dtype == np.float32 and not np.shares_memory(first, space("b", 2, 3))
    assert (
        np.shares_memory(first, space("a", 6)) and np.shares_memory(first, space("a", 1, 2)) and space("a").shape == ()
    )
    larger = space("a", 7)
    assert not np.shares_memory(first, larger) and np.shares_memory(larger, space("a", 2, 2))


def test_a_tape_s_part_is_of_its_samples_and_what_serves_all_stays():
    at = passes.Tape(np.arange(6.0).reshape(3, 2))
    at.d1, at.d2, at.g = {1: np.arange(3.0)[:, None]}, {1: None}, {1: np.ones((1, 4))}
    part = at.part(slice(1, 3))
    assert part.a[0].tolist() == [[2, 3], [4, 5]] and part.d1[1].tolist() == [[1], [2]] and part.d2[1] is None
    assert part.g[1] is at.g[1] and part.T == part.N == {}
