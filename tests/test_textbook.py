"""The textbook against complex steps and brute-force Jacobians that share no line with it, and the engine against the textbook.

Tolerances: the brute-force side is good to 1e-14 (a stencil of fourth order in longdouble, see `jacobian`); complex steps
are exact up to the rounding of what they step. The textbook loses a few eps at each layer, the layers here number five at
most, with terms of order one: 1e-12 is 4500 eps of float64 and 1e-3 of what an error of 1e-9 in one column does.
"""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import oracles
import pytest

import numpyscore as ns
from numpyscore import textbook as tb

NAMES = ("tanh", "sigmoid", "softplus", "silu", "sin")
JETS = pytest.mark.parametrize("name", NAMES)
SHAPES = [(3, (8,)), (3, (7, 5)), (3, (6, 5, 4)), (2, (3, 2, 4, 3)), (9, (4,)), (9, (4, 6)), (7, (3, 5, 2))]
H = 1e-30  # complex step: its truncation error is H^2
LONG = np.finfo(np.longdouble).eps < 1e-18
long = pytest.mark.skipif(not LONG, reason="longdouble is no better than double here")

# the definitions, by themselves: no derivative, no trick for a tail
PHI = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "sin": np.sin,
}


def close(got, want, size=None, rtol=1e-12):
    """|got - want| <= rtol of the largest entry (or of `size`, elementwise)."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, (got.shape, want.shape)
    size = np.abs(want).max(initial=0) if size is None else size
    assert (np.abs(got - want) <= rtol * size).all(), np.max(np.abs(got - want) / np.maximum(size, 1e-300))


# ------------------------------------------------------------------------------- activations


@long
@JETS
def test_each_column_is_the_derivative_of_the_one_before(name):
    """A complex step of each column against the next, from one tail to the other.

    The size of a column is its own in the tails, e^-|z| (1 + |z|), and of order one inside, where it may pass through zero.
    """
    jet, z = getattr(tb, name), np.linspace(-300, 300, 2001)
    size = 1.0 if name == "sin" else np.exp(-np.abs(z)) * (1 + np.abs(z))
    steps = [column.imag / H for column in jet(z.astype(np.longdouble) + 1j * np.longdouble(H))]
    columns = jet(z)
    for k in range(3):
        close(columns[k + 1], steps[k], np.abs(columns[k + 1]) + size, 32 * np.finfo(float).eps)
    # complex numbers: the same columns; NumPy's complex log1p loses the real part of a small e^z, to within eps of 1
    lost = 1.0 if name == "softplus" else 0.0
    for column, real in zip(jet(z.astype(complex)), columns, strict=True):
        close(column.imag, 0 * z)
        close(column.real, real, np.abs(real) + size + lost, 32 * np.finfo(float).eps)


@long
@JETS
def test_no_digit_is_lost_near_zero(name):
    """Where phi or a derivative is odd it is small: float64 against longdouble, relative to the value itself."""
    z = np.concatenate([sign * np.logspace(-12, -2, 41) for sign in (-1, 1)])
    for short, more in zip(getattr(tb, name)(z), getattr(tb, name)(z.astype(np.longdouble)), strict=True):
        close(short, more, np.abs(more), 16 * np.finfo(float).eps)


@JETS
def test_phi_is_what_its_name_says(name):
    """The ladder cannot see a whole row times two."""
    z = np.linspace(-20, 20, 401)
    close(getattr(tb, name)(z)[0], PHI[name](z))
    for dtype in (np.float32, np.float64, np.longdouble, np.complex128, np.clongdouble):
        assert {column.dtype for column in getattr(tb, name)(z.astype(dtype))} == {np.dtype(dtype)}


# ------------------------------------------------------------------------------- networks, and what is true of them


class Case:
    """A small network of one kind with points, directions, weights, noise; `sigma` is a column or None."""

    def __init__(self, kind, name, d, widths, conditional=False, lam=0.0, seed=0, n=3, m=2):
        rng = np.random.default_rng(seed)
        self.kind, self.name, self.d, self.n = kind, name, d, n
        self.lam = lam if kind == "energy" else 0.0
        sizes = [d + conditional, *widths, 1 if kind == "energy" else d]
        self.shapes = list(itertools.pairwise(sizes))
        self.theta = rng.standard_normal(sum((i + 1) * o for i, o in self.shapes)) / 2
        self.x, self.eps, self.s_0 = rng.standard_normal((3, n, d))
        self.v = rng.standard_normal((m, n, d))
        self.h, self.h1 = rng.uniform(0.1, 2, (n, d)), rng.standard_normal((n, d))
        self.sigma = np.exp(rng.uniform(-1, 1, (n, 1))) if conditional else None

    def layers(self, theta):
        """((W_1, b_1), ...) from theta."""
        out, at = [], 0
        for i, o in self.shapes:
            out.append((theta[at : at + i * o].reshape(i, o), theta[at + i * o : at + (i + 1) * o]))
            at += (i + 1) * o
        return out

    def net(self, theta=None, jet=None):
        """The textbook's network."""
        return tb.Network.of(self.layers(self.theta if theta is None else theta), jet or getattr(tb, self.name))

    def point(self, net, x, directions, sigma="its own"):
        """f, s, c and their pullback."""
        sigma = self.sigma if isinstance(sigma, str) else sigma
        if self.kind == "energy":
            return tb.energy_network(net, x, directions, self.lam, sigma)
        return tb.score_network(net, x, directions, sigma)

    def y(self, x):
        """The output f (n, 1) or s (n, d) by its definition."""
        a = x if self.sigma is None else np.hstack([x, np.log(self.sigma)])
        for l, (W, b) in enumerate(self.layers(self.theta.astype(np.longdouble)), 1):
            z = a @ W + b
            a = PHI[self.name](z) if l < len(self.shapes) else z
        if self.sigma is not None:
            a = a / self.sigma
        lam = self.lam if self.sigma is None else self.lam / (1 + self.sigma**2)
        return a + lam * (x**2).sum(1, keepdims=True) / 2

    def score(self, x):
        """The score (n, d) by complex steps of the energy, or as it is."""
        if self.kind == "score":
            return self.y(x)
        step = lambda e: self.y(x + 1j * np.longdouble(H) * e).imag[:, 0] / H
        return -np.stack([step(e) for e in np.eye(self.d)], 1)

    def jacobian(self):
        """J (n, d, d) by brute force: differences of fourth order, h = 1e-4, of longdouble scores.

        Truncation is h^4/30 = 3e-18 times a fifth derivative, rounding 1e-19/h = 1e-15.
        """
        x, h = self.x.astype(np.longdouble), np.longdouble(1e-4)
        slope = lambda e: sum(w * self.score(x + k * h * e) for k, w in ((-2, 1), (-1, -8), (1, 8), (2, -1))) / (12 * h)
        return np.stack([slope(e) for e in np.eye(self.d)], 2)


def cases():
    """Both kinds, every shape and activation in turn, conditional and confined or not."""
    for k, (d, widths) in enumerate(SHAPES):
        for kind in ("energy", "score"):
            for conditional in (False, True):
                name = NAMES[(k + conditional) % len(NAMES)]
                lam = 0.7 if (k + conditional) % 2 else 0.0
                note = f"{kind}-{name}-{d}-{widths}{'-conditional' * conditional}{'-confined' * (lam > 0)}"
                yield pytest.param(Case(kind, name, d, widths, conditional, lam, seed=k), id=note)


CASES = pytest.mark.parametrize("case", list(cases()))


def exact_trace(case, net, x):
    """The directions that collapse the trace."""
    return tb.collapsed(net, x) if case.kind == "energy" else tb.cyclic(net, x)


@long
@CASES
def test_values_against_brute_force(case):
    net, x, v = case.net(), case.x, case.v
    s, J = case.score(case.x.astype(np.longdouble)), case.jacobian()
    at = case.point(net, x, tb.along(net, v))
    if case.kind == "energy":
        close(at.f, case.y(x))
    close(at.s, s)
    close(at.c[..., 0], np.einsum("mni,nij,mnj->mn", v, J, v))
    diagonal = np.einsum("nii->ni", J)
    close(case.point(net, x, tb.along(net, tb.basis(x))).c[..., 0], diagonal.T)
    close(case.point(net, x, tb.along(net, tb.weighted(case.h))).c.sum(0)[:, 0], (case.h * diagonal).sum(1))
    for directions in (tb.along(net, tb.basis(x)), exact_trace(case, net, x)):
        close(case.point(net, x, directions).c.sum(0)[:, 0], diagonal.sum(1))
    rows = {"energy": min(case.d, case.shapes[0][1]), "score": case.shapes[0][1]}
    assert len(exact_trace(case, net, x).T_1) == rows[case.kind]


def test_a_weight_matrix_of_deficient_rank_needs_no_case_of_its_own():
    case = Case("energy", "tanh", 6, (4, 3), lam=0.5)
    net = case.net()
    net.W[1][:, 2] = net.W[1][:, 0] - 3 * net.W[1][:, 1]
    at = [case.point(net, case.x, way) for way in (tb.along(net, tb.basis(case.x)), tb.collapsed(net, case.x))]
    close(at[1].c.sum(0), at[0].c.sum(0))
    close(at[1].pullback(0, 0, 1), at[0].pullback(0, 0, 1))


def test_signs_have_the_trace_on_average():
    """All 2^d of them: exactly. Drawn ones: +-1, one set for each sample."""
    case = Case("energy", "silu", 3, (5, 4))
    net = case.net()
    every = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T
    mean = case.point(net, case.x, tb.along(net, tb.shared(every, case.x))).c.mean(0)
    close(mean, case.point(net, case.x, tb.along(net, tb.basis(case.x))).c.sum(0))
    drawn = tb.signs(case.x, 500, np.random.default_rng(0))
    assert drawn.shape == (500, *case.x.shape) and (drawn**2 == 1).all() and abs(drawn.mean()) < 4 / np.sqrt(4500)


# ------------------------------------------------------------------------------- every pass and its pullback


def passes(case, net, x, v, y_bar):
    """The four passes, and the tangent of the second, on one tape."""
    at = tb.forward(net, x)
    tb.adjoint(net, at, y_bar)
    tb.tangent(net, at, v @ net.W[1])
    return at


@long
@CASES
def test_passes_against_complex_steps(case):
    """g_0 = y_bar dy/dx, T_{L+1} = v (dy/dx)^T, and how g_0 moves along v, for scalar and vector outputs."""
    net, rng = case.net(), np.random.default_rng(1)
    inputs, outputs = case.shapes[0][0], case.shapes[-1][1]
    x, v = rng.standard_normal((3, inputs)), rng.standard_normal((2, 3, inputs))
    y_bar = rng.standard_normal((3, outputs))
    at = passes(case, net, x, v, y_bar)
    step = lambda e: passes(case, net, x.astype(np.clongdouble) + 1j * np.longdouble(H) * e, v, y_bar)
    close(at.g[0], np.stack([(y_bar * step(e).y.imag).sum(1) / H for e in np.eye(inputs)], 1))
    moved = [step(v_k) for v_k in v]
    close(at.T[net.L + 1], np.stack([m.y.imag / H for m in moved]))
    g_dot = tb.adjoint_tangent(net, at)
    close(g_dot, np.stack([m.g[0].imag / H for m in moved]))
    close(tb.curvature(at), tb.dot(g_dot, v))


@long
@CASES
def test_pullbacks_against_complex_steps(case):
    """Cotangents of one thing on the tape, and of all, pulled back to all parameters and to x."""
    for what in ("y", "z", "g", "T", "c", "all"):
        check_pullback(case, what, np.random.default_rng(2))


def check_pullback(case, what, rng):
    """Any cotangents of y, z_l, g_l, T_l and the curvature."""
    inputs, outputs = case.shapes[0][0], case.shapes[-1][1]
    x, v = rng.standard_normal((2, inputs)), rng.standard_normal((2, 2, inputs))
    y_bar = rng.standard_normal((2, outputs))
    net = case.net()
    at, weight = passes(case, net, x, v, y_bar), {}
    for name, arrays in (("y", {0: at.y}), ("z", at.z), ("g", at.g), ("T", at.T), ("c", {0: tb.curvature(at)})):
        here = what in (name, "all")
        weight[name] = {l: here * rng.standard_normal(a.shape) for l, a in arrays.items()}

    def total(net, x):
        at = passes(case, net, x, v, y_bar)
        got = {"y": {0: at.y}, "z": at.z, "g": at.g, "T": at.T, "c": {0: tb.curvature(at)}}
        return sum((weight[name][l] * a).sum() for name in weight for l, a in got[name].items())

    bar = tb.cotangents(net, at)
    bar.y += weight["y"][0]
    for name in "zgT":
        getattr(bar, name).update({l: a.copy() for l, a in weight[name].items()})
    tb.curvature_pullback(at, bar, weight["c"][0])
    tb.tangent_pullback(net, at, bar)
    bar.W[1] += tb.outer(v, bar.T[1])
    tb.adjoint_pullback(net, at, bar)
    x_bar = tb.forward_pullback(net, at, bar)
    close(tb.flat(bar), steps(case, lambda net: total(net, x)))
    step = lambda e: total(net, x.astype(np.clongdouble) + 1j * np.longdouble(H) * e.reshape(x.shape)).imag / H
    close(x_bar.ravel(), [step(e) for e in np.eye(x.size)])


def steps(case, value):
    """d value / d theta by a complex step in each parameter (p,)."""
    out = []
    for i in range(case.theta.size):
        theta = case.theta.astype(np.clongdouble)
        theta[i] += 1j * np.longdouble(H)
        out.append(value(case.net(theta)).imag / H)
    return np.array(out)


# ------------------------------------------------------------------------------- every objective


def objectives(case):
    """name -> (row of the table, points, directions of a network, what else it is given, the loss of each sample by its formula).

    The formulas are those of MATH section 4, of the brute-force score and Jacobian.
    """
    x, v, s_0, eps, h, h1 = case.x, case.v, case.s_0, case.eps, case.h, case.h1
    s_d, e = 0.3, 0.02
    noisy = x + s_d * eps
    nothing = lambda net: tb.along(net, tb.nowhere(x))
    every = lambda net: tb.along(net, tb.basis(x))
    given = lambda net: tb.along(net, v)
    s, J = case.score(x.astype(np.longdouble)), case.jacobian()
    square, diagonal = (s**2).sum(1) / 2, np.einsum("nii->ni", J)
    vJv, vs = np.einsum("mni,nij,mnj->mn", v, J, v), np.einsum("mni,ni->mn", v, s)
    out = {
        "explicit": (tb.explicit, x, nothing, (s_0,), ((s - s_0) ** 2).sum(1) / 2),
        "implicit": (tb.implicit, x, every, (), square + diagonal.sum(1)),
        "generalised": (
            tb.generalised,
            x,
            lambda net: tb.along(net, tb.weighted(h)),
            (h, h1),
            (h * s**2 / 2 + h1 * s + h * diagonal).sum(1),
        ),
        "denoising": (
            tb.denoising,
            noisy,
            nothing,
            (eps, s_d, s_d**2),
            s_d**2 * ((case.score(noisy.astype(np.longdouble)) + eps / s_d) ** 2).sum(1) / 2,
        ),
        "sliced": (tb.sliced, x, given, (), square + vJv.mean(0)),
        "projected": (tb.projected, x, given, (v,), (vs**2 / 2 + vJv).mean(0)),
    }
    at = lambda k: x.astype(np.longdouble) + k * np.longdouble(e) * v[0]
    if case.kind == "energy":
        minus, f, plus = (case.y(at(k))[:, 0] for k in (-1, 0, 1))
        loss = -(plus - 2 * f + minus) / e**2 + (plus - minus) ** 2 / (8 * e**2)
        points = np.vstack([x - e * v[0], x, x + e * v[0]])
        none = lambda net: tb.along(net, tb.nowhere(points))
        out["differences"] = (tb.energy_differences, points, none, (e,), loss)
    else:
        minus, plus = (case.score(at(k)) for k in (-1, 1))
        loss = (v[0] * (plus - minus)).sum(1) / (2 * e) + ((v[0] * (plus + minus)).sum(1) / 2) ** 2 / 2
        points = np.vstack([x - e * v[0], x + e * v[0]])
        none = lambda net: tb.along(net, tb.nowhere(points))
        out["differences"] = (tb.score_differences, points, none, (v[0], e), loss)
    return out


def levels(case, points):
    """The noise levels of stacked points, as a column."""
    return None if case.sigma is None else np.tile(case.sigma, (len(points) // case.n, 1))


@long
@CASES
def test_every_objective_and_its_gradient(case):
    """The loss against its printed formula, of brute-force score and Jacobian; its gradient against complex steps of the loss."""
    for name, (objective, points, directions, given, formula) in objectives(case).items():
        sigma = levels(case, points)

        def value(net, jet=None, a=(objective, points, directions, given, sigma)):
            objective, points, directions, given, sigma = a
            f, s, c, _ = case.point(net, points, directions(net), sigma)
            return objective(f, s, c, *given)[0]

        net = case.net()
        # second differences of energies lose eps/e^2 = 2500 eps of their size
        size = np.abs(formula).max() + (1 / 0.02**2 if name == "differences" else 0)
        close(value(net)[:, 0], formula, size)
        loss, gradient = tb.loss_and_gradient(objective, case.point(net, points, directions(net), sigma), *given)
        close(loss, formula.mean(), size)
        exact = steps(case, lambda net, value=value: value(net).mean())
        size = np.abs(exact).max() * (1 / 0.02**2 if name == "differences" else 1)
        close(gradient, exact, size)
        if name == "implicit":
            at = case.point(net, points, exact_trace(case, net, points), sigma)
            close(tb.loss_and_gradient(objective, at)[1], exact, size)


def test_a_third_derivative_wrong_by_one_part_in_a_billion_is_seen():
    """As by `test_every_objective_and_its_gradient`; 1e-9 of one column among four is 100 times its tolerance at least."""
    case = Case("energy", "tanh", 3, (7, 5))
    every = lambda net: case.point(net, case.x, tb.along(net, tb.basis(case.x)))
    exact = steps(case, lambda net: tb.implicit(*every(net)[:3])[0].mean())
    wrong = lambda z: (*tb.tanh(z)[:3], tb.tanh(z)[3] * (1 + 1e-9))
    close(tb.loss_and_gradient(tb.implicit, every(case.net()))[1], exact)
    gradient = tb.loss_and_gradient(tb.implicit, every(case.net(jet=wrong)))[1]
    with pytest.raises(AssertionError):
        close(gradient, exact, rtol=1e-10)


# ------------------------------------------------------------------------------- the engine is the textbook made fast


def largest(gap, S):
    """The largest difference in units of S; an entry below 1e-60 of the largest S is held to that: there a product underflows."""
    S = np.broadcast_to(S, np.shape(gap))
    return float(np.max(np.abs(gap) / (S + 1e-60 * S.max(initial=1e-300)), initial=0))


def value_gaps(model, x, sigma, rng):
    """Largest differences of every quantity, in units of S."""
    n, d = x.shape
    net, v, energy = oracles.network(model, model.theta), rng.standard_normal((2, n, d)), model.kind == "EnergyMLP"
    S_score, S_trace, S_jacobian, _, S_energy = oracles.scales(model, x, **sigma)
    at = oracles.at(model, net, x, v, **sigma)
    bent = np.einsum("mni,nij,mnj->mn", np.abs(v), S_jacobian, np.abs(v))
    out = {"score": largest(model.score(x, **sigma) - at.s, S_score)}
    out["curvature"] = largest(model.curvature(x, v, **sigma) - at.c[..., 0], bent)
    for way in ("every", "exact"):
        trace = oracles.at(model, net, x, exact=way == "exact", **sigma).c[..., 0].sum(0)
        out[f"trace, {way}"] = largest(model.trace(x, **sigma) - trace, S_trace)
    d_passes = model.trace(x, "textbook", **sigma)
    out["trace, d backward passes"] = largest(d_passes - trace, S_trace)
    if energy:
        out["energy"] = largest(model.energy(x, **sigma) - at.f[:, 0], S_energy)
    # J v in forward mode, v J in reverse mode: over the adjoint pass for an energy, over the forward pass for a score
    over = oracles.column(sigma.get("sigma"), n) if sigma else 1.0
    tape = tb.forward(net, np.hstack([x, np.log(over)]) if sigma else x)
    tb.adjoint(net, tape, np.ones_like(tape.y) if energy else v[0])
    tb.tangent(net, tape, tb.along(net, v).T_1)
    if energy:
        bar = tb.cotangents(net, tape)
        bar.g[0][:, :d] = v[0]
        tb.adjoint_pullback(net, tape, bar)
        lam = model.confinement / (1 + over**2) if sigma else model.confinement
        jvp = -(tb.adjoint_tangent(net, tape)[0, :, :d] / over + lam * v[0])
        vjp = -(tb.forward_pullback(net, tape, bar)[:, :d] / over + lam * v[0])
    else:
        jvp, vjp = tape.T[net.L + 1][0] / over, tape.g[0][:, :d] / over
    out["jvp"] = largest(model.jvp(x, v[0], **sigma) - jvp, np.einsum("nij,nj->ni", S_jacobian, np.abs(v[0])))
    out["vjp"] = largest(model.vjp(x, v[0], **sigma) - vjp, np.einsum("ni,nij->nj", np.abs(v[0]), S_jacobian))
    return out


class Row(NamedTuple):
    """An objective of the package at work, and the textbook's row for it: where, along what, at which levels, given what."""

    theirs: Any
    row: Any
    points: Any
    reach: Any  # sizes of the points
    along: Any  # directions, a function of the points that makes them, or "exact" for the trace
    sigma: Any  # what the network is told
    given: tuple = ()
    sizes: tuple = ()  # of what is given, with the sign that makes a sum of every difference

    @property
    def v(self):
        """The directions, if it is not the trace."""
        return None if self.along == "exact" else self.along(self.points)


def rows(model, x, sigma, rng):
    """Every objective."""
    n, d = x.shape
    told, level, e = sigma.get("sigma"), lambda a: a if model.conditional else None, 0.02
    s_0, eps, h1 = rng.standard_normal((3, n, d))
    v, h, one = rng.standard_normal((2, n, d)), rng.uniform(0.1, 2, (n, d)), np.exp(rng.uniform(-1, 1, (n, 1)))
    levels, noise = np.exp(rng.uniform(-1, 1, 3)), rng.standard_normal((3, n, d))
    each, wide, r, none = np.repeat(levels, n)[:, None], np.vstack(noise), np.abs(x), tb.nowhere
    if model.kind == "EnergyMLP":
        row, k, given, sizes = tb.energy_differences, (-1, 0, 1), (e,), (e,)
    else:
        row, k, given, sizes = tb.score_differences, (-1, 1), (v[0], e), (np.abs(v[0]), e)
    points, reach = (np.vstack([y + i * e * w for i in k]) for y, w in ((x, v[0]), (r, 0 * v[0])))
    reach = reach + e * np.abs(np.vstack([v[0]] * len(k)))
    between = np.vstack([x] * 3) + each * wide
    return {
        # along every direction, though no term asks for the curvature: what it is then decides nothing
        "explicit": Row(
            ns.explicit(model, x, s_0, **sigma), tb.explicit, x, r, tb.basis, told, (s_0,), (-np.abs(s_0),)
        ),
        "implicit": Row(ns.implicit(model, x, **sigma), tb.implicit, x, r, "exact", told),
        "implicit, every": Row(ns.implicit(model, x, **sigma), tb.implicit, x, r, tb.basis, told),
        "generalised": Row(
            ns.generalised(model, x, h, h1, **sigma),
            tb.generalised,
            x,
            r,
            lambda _: tb.weighted(h),
            told,
            (h, h1),
            (h, np.abs(h1)),
        ),
        "denoising": Row(
            *(ns.denoising(model, x, one[:, 0], noise=eps), tb.denoising, x + one * eps, r + np.abs(one * eps), none),
            *(level(one[:, 0]), (eps, one), (np.abs(eps), one)),
        ),
        "multilevel denoising": Row(
            *(ns.multilevel_denoising(model, x, levels, noise=noise), tb.denoising, between),
            *(np.vstack([r] * 3) + np.abs(each * wide), none, level(each[:, 0])),
            *((wide, each, each**2), (np.abs(wide), each, each**2)),
        ),
        "sliced": Row(ns.sliced(model, x, probes=v, **sigma), tb.sliced, x, r, lambda _: v, told),
        "projected": Row(
            *(ns.sliced(model, x, probes=v, variance_reduced=False, **sigma), tb.projected, x, r, lambda _: v, told),
            *((v,), (np.abs(v),)),
        ),
        "differences": Row(
            *(ns.finite_difference_sliced(model, x, e, probes=v[0], **sigma), row, points, reach, none),
            *(None if told is None else np.tile(told, len(k)), given, sizes),
        ),
    }


def sizes_of(model, a):
    """S of a row's loss (n, 1) and of its gradient (p,): the row itself on sizes, with a plus for every minus."""
    told, exact = {} if a.sigma is None else {"sigma": a.sigma}, a.v is None
    v = None if exact else np.abs(a.v)
    size = oracles.absolute(model, a.points, **told).evaluate(a.reach, trace=exact, curvature=v, **told)
    f, s, c = size.energy, np.abs(size.score), np.abs(size.trace[None] if exact else size.curvature)[..., None]
    bars = {"reach": a.reach}
    if a.row is tb.energy_differences:
        (e,), (minus, f, plus) = a.sizes, np.split(f, 3)
        u = (plus + minus) / (2 * e)
        loss = (u**2 / 2 + (plus + 2 * f + minus) / e**2)[:, None]
        bars["energy_bar"] = 3 * np.concatenate([u / (2 * e) + 1 / e**2, 0 * f + 2 / e**2, u / (2 * e) + 1 / e**2])
    elif a.row is tb.score_differences:
        (v_0, e), (minus, plus) = a.sizes, np.split(s, 2)
        u = tb.dot(v_0, plus + minus) / 2
        loss = tb.half(u) + tb.dot(v_0, plus + minus) / (2 * e)
        bars["score_bar"] = 2 * np.vstack([(u / 2 + 1 / (2 * e)) * v_0] * 2)
    else:
        loss, _, bars["score_bar"], c_bar = a.row(f, s, c, *a.sizes)
        along = {"trace_bar": np.ones(len(s))} if exact else {"v": v, "curvature_bar": np.full(c.shape[:2], c_bar)}
        bars |= along if len(c) else {}
    return loss, oracles.gradient_scale(model, a.points, told, **bars)


def loss_gaps(model, x, sigma, rng):
    """Largest differences of every objective's loss and gradient, in units of S."""
    net, out = oracles.network(model, model.theta), {}
    for name, a in rows(model, x, sigma, rng).items():
        at = oracles.at(model, net, a.points, a.v, a.sigma, exact=a.v is None)
        loss, _, _, _ = a.row(*at[:3], *a.given)
        value, gradient = tb.loss_and_gradient(a.row, at, *a.given)
        S_loss, S_gradient = sizes_of(model, a)
        mean = lambda columns: columns.reshape(-1, len(x)).mean(0)  # over the levels
        out[name] = largest(a.theirs.per_sample - mean(loss), mean(S_loss))
        out[name + ": mean"] = largest(a.theirs.value - value, S_loss.mean())
        out[name + ": gradient"] = largest(a.theirs.gradient - gradient, S_gradient)
    return out


@pytest.mark.parametrize(
    "count", [30, pytest.param(300, marks=pytest.mark.nightly)], ids=["30 networks", "300 networks"]
)
def test_the_engine_computes_what_the_textbook_says(count):
    """To 1e-12 of S, 4500 eps S: each is within a few eps S2 of the truth, and S2 is below 100 S where z cancels 100-fold at most."""
    rng, worst = np.random.default_rng(count), {}
    for k in range(count):
        kind = (ns.EnergyMLP, ns.ScoreMLP)[k % 2]
        model, x, sigma = oracles.random_network(rng, kind, NAMES, max_dim=30, max_width=20)
        for name, gap in (value_gaps(model, x, sigma, rng) | loss_gaps(model, x, sigma, rng)).items():
            worst[name] = max(worst.get(name, 0.0), gap)
    print({name: f"{gap:.0e}" for name, gap in worst.items()})
    assert max(worst.values()) <= 1e-12, worst


@pytest.mark.parametrize("kind", [ns.EnergyMLP, ns.ScoreMLP], ids=lambda kind: kind.kind)
def test_a_derivative_wrong_by_one_part_in_a_billion_is_seen_between_engine_and_textbook(kind, monkeypatch):
    """phi''' for an energy; the trace of a score network has phi' in it, its gradient phi''."""
    rng, order = np.random.default_rng(0), 3 if kind is ns.EnergyMLP else 2
    model, x, sigma = oracles.random_network(rng, kind, ("tanh",))

    def wrong(z):
        jet = list(tb.tanh(z))
        jet[order] = jet[order] * (1 + 1e-9)
        return tuple(jet)

    right = loss_gaps(model, x, sigma, np.random.default_rng(1))
    monkeypatch.setitem(oracles.JETS, "tanh", wrong)
    found = loss_gaps(model, x, sigma, np.random.default_rng(1))
    for name in ("implicit", "implicit, every", "sliced", "projected", "generalised"):
        name += ": gradient"
        assert right[name] <= 1e-13 and found[name] > 1e-12, (name, right[name], found[name])


# ------------------------------------------------------------------------------- the file itself


def test_it_is_one_file_of_250_lines_that_needs_numpy_alone():
    """Loaded by itself, out of the package, it loads the standard library and NumPy."""
    file = Path(tb.__file__)
    assert len(file.read_text().splitlines()) <= 250
    code = f"""
import sys, runpy, numpy
before = set(sys.modules)
runpy.run_path({str(file)!r})
print(*sorted({{name.split(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names) - {{"numpy"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
