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
- ``work`` gives arrays that are written over, products on this core, and the gradient's sums: see `parallel`.
"""

from typing import Any, NamedTuple

import numpy as np


class Network(NamedTuple):
    """Weights W[1..L+1] (in, out), biases b[1..L+1], W^T as products take it best, the number L of hidden layers, the activation."""

    W: dict
    b: dict
    WT: dict
    L: int
    phi: Any


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
    """Cotangents of g_l, phi'(z_l) and phi''(z_l) (n, n_l), dicts over the layers, empty at first; T as factors."""

    def __init__(self):
        self.g, self.d1, self.d2, self.T = {}, {}, {}, {}

    def part(self, at):
        """Those of some of the samples."""
        out = Cotangents()
        out.g, out.d1, out.d2 = ({l: a[at] for l, a in bars.items()} for bars in (self.g, self.d1, self.d2))
        return out


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
    grads, L, a_bar = work.grads, net.L, None
    if y_bar is not None:
        a_bar = work.product(y_bar, net.WT[L + 1])
        if grads is not None:
            grads.add(L + 1, at.a[L], y_bar)
            grads.b[L + 1] += y_bar.sum(0)
    for l in range(L, 0, -1):
        z_bar = None
        for cotangent, derivative in ((a_bar, at.d1), (bar.d1.get(l), at.d2), (bar.d2.get(l), at.d3)):
            if cotangent is not None:
                cotangent *= derivative[l]
                z_bar = cotangent if z_bar is None else np.add(z_bar, cotangent, out=z_bar)
        if z_bar is None:  # nothing comes down to this layer
            return None
        if grads is not None:
            grads.add(l, at.a[l - 1], z_bar, lasting=True)
            grads.b[l] += z_bar.sum(0)
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
            if work.grads is not None:
                work.grads.add(l, g_bar, at.h[l], lasting=True)
            add(bar.d1, l, h_bar * at.g[l])
            h_bar *= at.d1[l]
            add(bar.g, l, h_bar)
        g_bar = bar.g.get(l)
    if g_bar is not None and work.grads is not None:
        target = work.grads.at(net.L + 1)
        target += g_bar.sum(0)[:, None]


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
    it is summed over them. The kept tangents are written over.
    """
    T_bar: Any = None
    for l in range(net.L, 0, -1):
        T, k = at.T[l], at.T[l].shape[2]
        if T_bar is not None:  # from the layer above
            T_bar = _flat(T_bar)
            work.grads.add(l + 1, _flat(at.N[l]), T_bar, net.b[l].size - k)
            N_bar = work.array(("bar", l), *at.N[l].shape)
            work.product(T_bar, net.WT[l + 1][:, -k:], out=_flat(N_bar))
        factor = bar.T.get(l)  # (n, n_l) or (r, n, n_l)
        if N_bar is None:  # the last layer of an energy: nothing comes from above
            T_bar = _scaled(T, factor, out=T if l > 1 else None)
            continue
        # phi'_bar_l += sum over directions of N_bar_l T_l
        shared = T.shape[1] == 1 and N_bar.shape[1] > 1
        bar.d1[l][:, -k:] += np.einsum("rnk,rk->nk", N_bar, T[:, 0]) if shared else np.einsum("rnk,rnk->nk", N_bar, T)
        # T_bar_l = N_bar_l phi' + factor_l T_l
        if l == 1 and shared:
            T_bar = np.einsum("rnk,nk->rk", N_bar, at.d1[1][:, -k:])[:, None]
        else:
            T_bar = N_bar
            T_bar *= at.d1[l][:, -k:]
        if factor is not None:
            T_bar += _scaled(T, factor, out=T if l > 1 else None)
    return T_bar


def _scaled(T, factor, out):
    """factor T for a factor (n, k) or (r, n, k), summed over samples where T is shared by them."""
    k = T.shape[2]
    if T.shape[1] == 1 and factor.shape[-2] > 1:
        return T * factor[..., -k:].sum(-2, keepdims=True)
    return np.multiply(T, factor[..., -k:], out=out)


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
