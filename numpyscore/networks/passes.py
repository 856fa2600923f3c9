r"""The passes of `numpyscore.textbook` made fast: the same functions under the same names in the same order, on one batch of samples.

::

    a_0 = x        z_l = a_{l-1} W_l + b_l        a_l = phi(z_l)        l = 1..L        y = a_L W_{L+1} + b_{L+1}

    forward   ->  adjoint   ->  tangent   ->  curvature     y,  grad y,  how all of it moves along v,  v.(Hess y) v
    forward_  <-  adjoint_  <-  tangent_  <-  curvature_    their pullbacks, in reverse: from cotangents to parameters

What differs from the textbook, and why:

- Directions come in chunks that stay in cache: tangents are (r, n, k), r directions of n samples, written over by the next chunk. The
  curvature is needed only as a sum over directions, so a chunk leaves S_l = sum of T_l^2 behind, and its tangents are not looked at again.
- Tangents that all samples share enter with a sample axis of 1; the columns left of their first nonzero one are left out.
- `bar` holds cotangents of what the activation returned, bar.d1 of phi' and bar.d2 of phi''. All of them reach z_l in one place,
  `forward_pullback`: z_bar = a_bar phi' + d1_bar phi'' + d2_bar phi'''.
- bar.T[l] = 2 c_bar g_l phi'' T_l, the cotangent of a tangent, is kept as the factor in front of T_l until `tangent_pullback` has T_l at hand.
- A pullback computes no W_bar_l += A^T B: it leaves A and B in `bar.W`, for whoever holds the gradient (`parallel.Gradient.gather`).
- ``work`` gives arrays that are written over (`Workspace`) and products on this core: see `parallel`.
"""

import math
from typing import Any

import numpy as np


class Tape:
    """What the passes leave behind for one batch: dicts over the layers, as in the equations. y is (n, m)."""

    def __init__(self, x):
        self.a, self.d1, self.d2, self.d3 = {0: x}, {}, {}, {}  # phi, phi', phi'', phi''' at z_l (n, n_l)
        self.g, self.h, self.w = {}, {}, {}  # adjoints of a_l and z_l; w_l = g_l phi''
        self.T, self.N = {}, {}  # tangents of z_l and a_l (r, n, n_l)
        self.y = None

    def part(self, at):
        """The tape of some of the samples, without tangents; an array of one row serves all samples and stays."""
        out = Tape(None)
        for name in ("a", "d1", "d2", "d3", "g", "w"):
            setattr(out, name, {l: _some(a, at) for l, a in getattr(self, name).items()})
        return out


class Cotangents:
    """Cotangents, empty at first: dicts over the layers of g_l, phi'(z_l) and phi''(z_l) (n, n_l), and of T_l as factors.

    What comes to the parameters is not computed here. `W` lists (l, A, B, first, lasting): W_bar_l += A^T B for A (m, i), B (m, j), at the
    rows first ... first + i, `lasting` if the next chunk does not write over A and B. `b` lists (l, z_bar): b_bar_l += sum of z_bar.
    """

    def __init__(self, at=None):
        """Of the tape `at`, where curvatures come: with a place for each cotangent that they leave there."""
        self.g, self.d1, self.d2, self.T = {}, {}, {}, {}
        self.W, self.b = [], []
        if at is not None:
            self.d1 = {l: np.zeros_like(d1) for l, d1 in at.d1.items()}
            if at.g:  # those of a scalar y, see `curvature_pullback`
                self.g, self.d2 = ({l: np.empty_like(d1) for l, d1 in at.d1.items()} for _ in range(2))

    def part(self, at):
        """Those of some of the samples, to be added to in place; nothing for the parameters as yet."""
        out = Cotangents()
        for name in ("g", "d1", "d2", "T"):
            setattr(out, name, {l: a[at] for l, a in getattr(self, name).items()})
        return out


class Workspace:
    """Arrays that are written again and again: a fresh large temporary would cost page faults."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.kept: dict = {}

    def __call__(self, name, *shape):
        """An uninitialised array of this shape; the next call with the same name writes over it."""
        size = math.prod(shape)
        if name not in self.kept or self.kept[name].size < size:
            self.kept[name] = np.empty(size, self.dtype)
        return self.kept[name][:size].reshape(shape)


def _some(a, at):
    return a if a is None or len(a) == 1 else a[at]


def add(bars, l, a):
    """bars[l] += a; the first one is kept as it is, and written over later."""
    if l in bars:
        bars[l] += a
    else:
        bars[l] = a


def _flat(A):
    """(r, n, k) as (r n, k)."""
    return A.reshape(-1, A.shape[-1])


# ------------------------------------------------------------------------- forward: from x to y


def forward(net, x, order, work):
    """z_l = a_{l-1} W_l + b_l,    a_l = phi(z_l),    y = a_L W_{L+1} + b_{L+1};    phi up to its derivative of this order."""
    at = Tape(x)
    for l in range(1, net.L + 1):
        z = work.product(at.a[l - 1], net.W[l])  # (n, n_l)
        z += net.b[l]
        jet = (*net.phi(z, order), None, None, None)
        at.a[l], at.d1[l], at.d2[l], at.d3[l] = jet[:4]
    at.y = work.product(at.a[net.L], net.W[net.L + 1])
    at.y += net.b[net.L + 1]
    return at


def forward_pullback(net, at, bar, y_bar, work, to_input=False):
    """z_bar_l = a_bar_l phi' + phi'_bar phi'' + phi''_bar phi''',    W_bar_l += a_{l-1}^T z_bar_l,    a_bar_{l-1} = z_bar_l W_l^T.

    From y_bar (n, m) or None; returns x_bar if it is asked for. What `bar` holds is written over.
    """
    L, a_bar = net.L, None
    if y_bar is not None:
        a_bar = work.product(y_bar, net.WT[L + 1])
        bar.W.append((L + 1, at.a[L], y_bar, 0, True))
        bar.b.append((L + 1, y_bar))
    for l in range(L, 0, -1):
        z_bar = None
        for cotangent, derivative in ((a_bar, at.d1), (bar.d1.get(l), at.d2), (bar.d2.get(l), at.d3)):
            if cotangent is not None:
                cotangent *= derivative[l]
                z_bar = cotangent if z_bar is None else np.add(z_bar, cotangent, out=z_bar)
        if z_bar is None:  # nothing comes down to this layer
            return None
        bar.W.append((l, at.a[l - 1], z_bar, 0, True))
        bar.b.append((l, z_bar))
        a_bar = work.product(z_bar, net.WT[l]) if l > 1 or to_input else None
    return a_bar


# ------------------------------------------------------------------------- adjoint: the gradient in x of a scalar y


def adjoint(net, at, work, y_bar=None, to_input=True):
    """g_L = w,    h_l = g_l phi'(z_l),    g_{l-1} = h_l W_l^T;    g_0 = grad y.

    With y_bar (n, m) it is reverse mode from there; without, y is a scalar and g_L = w one row (1, n_L) for all samples.
    """
    at.g[net.L] = net.WT[net.L + 1] if y_bar is None else work.product(y_bar, net.WT[net.L + 1])
    for l in range(net.L, 0, -1):
        if l > 1 or to_input:
            at.h[l] = at.g[l] * at.d1[l]
            at.g[l - 1] = work.product(at.h[l], net.WT[l])


def adjoint_pullback(net, at, bar, u_bar, work):
    """h_bar_l = g_bar_{l-1} W_l,    W_bar_l += g_bar_{l-1}^T h_l,    g_bar_l += h_bar_l phi',    phi'_bar_l += h_bar_l g_l.

    From u_bar (n, d), the cotangent of g_0, or None, and bar.g.
    """
    g_bar = u_bar
    for l in range(1, net.L + 1):
        if g_bar is not None:
            h_bar = work.product(g_bar, net.W[l])
            bar.W.append((l, g_bar, at.h.get(l), 0, True))  # h_1 is there if g_0 was asked for
            add(bar.d1, l, h_bar * at.g[l])
            h_bar *= at.d1[l]
            add(bar.g, l, h_bar)
        g_bar = bar.g.get(l)
    if g_bar is not None:  # g_L = w is the same for all samples
        bar.W.append((net.L + 1, g_bar, np.ones((len(g_bar), 1), g_bar.dtype), 0, True))


# ------------------------------------------------------------------------- tangent: how all of it moves as z_1 moves along T_1


def tangent(net, at, T_1, work, see, keep):
    """N_l = T_l phi'(z_l),    T_{l+1} = N_l W_{l+1},    up to T_L;    `see(l, T_l)` is shown each one while it is in cache.

    T_1 is (r, n or 1, n_1 - first): left of column `first` it is zero. Unless they are to be kept for the way back, N_l is
    written over T_l and two arrays do for all layers.
    """
    T, (r, _, k) = T_1, T_1.shape
    for l in range(1, net.L):
        see(l, T)  # (r, n or 1, n_l)
        W, d1 = net.W[l + 1][-k:] if l == 1 else net.W[l + 1], at.d1[l][:, -k:] if l == 1 else at.d1[l]
        N = T if l > 1 and not keep else work.array(("N", l), r, *d1.shape)
        np.multiply(T, d1, out=N)  # N_l (r, n, n_l)
        at.T[l], at.N[l] = T, N
        T = work.array(("T", l if keep else l % 2), r, len(d1), W.shape[1])
        work.product(
            _flat(N), W, out=_flat(T)
        )  # one product for all directions and samples: (r n, n_l) by (n_l, n_{l+1})
    see(net.L, T)
    at.T[net.L] = T


def tangent_pullback(net, at, bar, N_bar, work):
    """N_bar_l = T_bar_{l+1} W_{l+1}^T,    W_bar_{l+1} += N_l^T T_bar_{l+1},    phi'_bar_l += sum N_bar_l T_l,    T_bar_l += N_bar_l phi'.

    From the factors bar.T and from N_bar_L (r, n, n_L) or None down to T_bar_1, which it returns; where all samples share T_1,
    it is summed over them, and there is no factor in front of it (`directions.Collapsed.weigh`). The kept tangents are written over.
    """
    T_bar: Any = None
    for l in range(net.L, 0, -1):
        T, k = at.T[l], at.T[l].shape[2]
        if T_bar is not None:  # from the layer above
            T_bar = _flat(T_bar)
            bar.W.append((l + 1, _flat(at.N[l]), T_bar, net.b[l].size - k, False))
            N_bar = work.array(("bar", l), *at.N[l].shape)
            work.product(T_bar, net.WT[l + 1][:, -k:], out=_flat(N_bar))
        factor = bar.T.get(l)  # (n, n_l) or (r, n, n_l)
        if N_bar is None:  # the last layer of an energy: nothing comes from above
            T_bar = None if factor is None else np.multiply(T, factor, out=T)
            continue
        # phi'_bar_l += sum over directions of N_bar_l T_l
        shared = T.shape[1] < N_bar.shape[1]
        bar.d1[l][:, -k:] += np.einsum("rnk,rk->nk", N_bar, T[:, 0]) if shared else np.einsum("rnk,rnk->nk", N_bar, T)
        # T_bar_l = N_bar_l phi' + factor_l T_l
        if l == 1 and shared:
            T_bar = np.einsum("rnk,nk->rk", N_bar, at.d1[1][:, -k:])[:, None]
        else:
            T_bar = N_bar
            T_bar *= at.d1[l][:, -k:]
        if factor is not None:
            T_bar += np.multiply(T, factor[..., -k:], out=T)
    return T_bar


def adjoint_tangent(net, at, work):
    """How grad y moves:    h_dot_l = g_dot_l phi' + g_l phi'' T_l,    g_dot_{l-1} = h_dot_l W_l^T;    g_dot_L = 0."""
    g_dot: Any = 0
    for l in range(net.L, 0, -1):
        h_dot = g_dot * at.d1[l] + at.g[l] * at.d2[l] * at.T[l][0]
        g_dot = work.product(h_dot, net.WT[l])
    return g_dot


# ------------------------------------------------------------------------- curvature: v.(Hess y) v, by one line less


def curvature(at, S):
    """v.(Hess y) v = sum_l sum_k g_l phi''(z_l) S_l:    (n,) with S_l the sum of T_l^2 over directions, (r, n) with S_l = T_l^2."""
    return sum(np.einsum("...nk,...nk->...n", S[l], at.w[l]) for l in S)


def curvature_pullback(at, bar, S, c_bar):
    """The same line reversed:    g_bar_l = c_bar phi'' S_l,    phi''_bar_l = c_bar g_l S_l;    T_bar_l: see `factors`.

    c_bar (n,) is that of the sum, or None where S_l carries each direction's own.
    """
    for l in S:
        cS = S[l] if c_bar is None else c_bar[:, None] * S[l]
        np.multiply(cS, at.g[l], out=bar.d2[l])
        np.multiply(cS, at.d2[l], out=bar.g[l])


def factors(at, bar, c_bar):
    """bar.T[l] = 2 c_bar g_l phi''(z_l), to be multiplied by T_l:    (n, n_l), or (r, n, n_l) where each direction has its c_bar."""
    for l in at.w:
        bar.T[l] = (2 * c_bar[..., None]) * at.w[l]


# ------------------------------------------------------------------------- from tangents to curvatures, a chunk of directions at a time


class Meter:
    """How the tangents of a batch become curvatures v.J v = sign (v.(D net) v / sigma + lambda |v|^2): `Bend`, or `cyclic.Leave`.

    ``c_bar`` (n,) is the cotangent of their sum over directions; with `each` it is a function of (chunk, curvatures (r, n)). ``here``
    and ``rows`` say whose tangents come: some of the samples that the tape `at` is about.
    """

    sign = 1
    begin: Any  # makes what is gathered over directions

    def __init__(self, batch, at, bar, each, c_bar, work):
        self.batch, self.at, self.bar, self.each, self.work = batch, at, bar, each, work
        self.here, self.rows = at, slice(None)
        self.c_bar = c_bar if each or bar is None else self.inside(c_bar)
        self.begin()

    def inside(self, c_bar):
        """The cotangent of v.(D net) v."""
        return (self.sign * c_bar * self.batch.scale).astype(self.at.y.dtype, copy=False)

    def curvatures(self, K, lengths):
        """v.J v from v.(D net) v and |v|^2."""
        return self.sign * (K * self.batch.scale + self.batch.lam * lengths)


class Bend(Meter):
    """Of a scalar network whose score is -grad y: v.(Hess y) v from the squares of the tangents, see `curvature`.

    S_l (n, n_l) gathers sum of T_l^2 over directions, each multiplied by its own cotangent where each has one.
    """

    sign = -1

    def begin(self):
        """What each squared tangent counts, and the factors in front of the tangents' cotangents."""
        self.S, self.squares = {}, {}
        self.at.w = {l: self.at.g[l] * d2 for l, d2 in self.at.d2.items()}
        if self.bar is not None and not self.each:
            factors(self.at, self.bar, self.c_bar)

    def see(self, l, T):
        """T_l (r, n or 1, n_l), squared while it is in cache."""
        if self.each:
            self.squares[l] = np.multiply(T, T, out=self.work.array(("square", l), *T.shape))
            return
        (n, n_l), shared = self.at.d2[l].shape, T.shape[1] < len(self.here.d2[l])
        if l not in self.S:
            self.S[l] = np.zeros((1 if shared else n, n_l), T.dtype)
        S = self.S[l]
        if len(S) == n:
            S = S[self.rows]
        elif self.rows.start:
            return  # what all samples share was counted with the first of them
        S[:, -T.shape[2] :] += np.einsum("rnk,rnk->nk", T, T)

    def chunk(self, _, lengths):
        """Curvature of each direction (r, n), or None where the sum will do."""
        self.K = self.curvatures(curvature(self.here, self.squares), lengths) if self.each else None
        return self.K

    def pull(self, chunk):
        """Cotangents for N_L and C, of which there are none; those of the tangents are factors."""
        if self.each:
            c = self.inside(self.c_bar(chunk, self.K))
            factors(self.here, self.bar, c)
            for l, square in self.squares.items():
                self.S[l] = self.S.get(l, 0) + np.einsum("rn,rnk->nk", c, square)
        return None, None

    def finish(self, lengths):
        """The sum over directions (n,); what is left of the cotangents goes to g_l and phi''."""
        if self.bar is not None and self.S:
            curvature_pullback(self.at, self.bar, self.S, None if self.each else self.c_bar)
        return None if self.each else self.curvatures(curvature(self.at, self.S), lengths)
