r"""The passes through a multilayer perceptron, by hand: forward, adjoint, tangent, curvature, and their pullbacks.

::

    a_0 = x        z_l = a_{l-1} W_l + b_l        a_l = phi(z_l)        l = 1..L        y = a_L W_{L+1} + b_{L+1}

Shapes: n samples, k units; activations and adjoints are (n, k), tangents are (r, n, k), one row per direction.
``layers`` is ((W_1, b_1), ..., (W_{L+1}, b_{L+1})); ``columns[l-1]`` is the activation's row at z_l: phi, phi', ... as
far as it is needed. A bar is a cotangent; T is a tangent; g_l and h_l are the adjoints of a_l and z_l.

Everything here is linear algebra on one block of samples. `models` gives it blocks and meaning.
"""

from typing import NamedTuple

import numpy as np


class Adjoint(NamedTuple):
    """What reverse mode leaves behind: g_l = adjoint of a_l, h_l = adjoint of z_l (lists), u = adjoint of x (n, d)."""

    g: list
    h: list
    u: np.ndarray | None


class Rows(NamedTuple):
    """A few tangent rows entering at z_1: T is (r, n or 1, n_1 - first); left of column `first` they are zero.

    ``place`` says which of all the rows these are, so that their cotangents find the way back.
    """

    T: np.ndarray
    first: int
    place: slice


# ------------------------------------------------------------------------------- forward mode, reverse mode


def forward(layers, row, x, order, shift=None):
    """Activation columns of every hidden layer and the output y (n, m). `shift` (n, n_1) is added to z_1."""
    columns, a = [], x
    for W, b in layers[:-1]:
        z = a @ W
        z += b
        if shift is not None and a is x:
            z += shift
        columns.append(row.columns(z, order))
        a = columns[-1][0]
    W, b = layers[-1]
    return columns, a @ W + b


def adjoint(layers, columns, y_bar, to_input=True):
    """Reverse mode: g_L = y_bar W_{L+1}^T,  h_l = g_l * phi'(z_l),  g_{l-1} = h_l W_l^T,  u = h_1 W_1^T."""
    g: list = []
    h: list = []
    a_bar = y_bar @ layers[-1][0].T
    for l in range(len(columns) - 1, -1, -1):
        g.insert(0, a_bar)
        h.insert(0, a_bar * columns[l][1])
        if l > 0 or to_input:
            a_bar = h[0] @ layers[l][0].T
    return Adjoint(g, h, a_bar if to_input else None)


def tangent(layers, columns, rows):
    """Forward mode: T_{l+1} = N_l W_{l+1} with N_l = T_l * phi'(z_l). The lists T_1..T_L and N_1..N_{L-1}."""
    T, N, first = [rows.T], [], rows.first
    for (W, _), (_, d1, *_) in zip(layers[1:-1], columns, strict=False):
        N.append(T[-1] * d1[:, first:])
        T.append(N[-1] @ W[first:])
        first = 0
    return T, N


def adjoint_tangent(layers, columns, reverse, T):
    """Forward mode over reverse mode: how u = dy/dx moves when z_l moves along T_l (1, n, n_l): u_dot (n, d).

    h_dot_l = g_dot_l phi' + g_l phi'' T_l,   g_dot_{l-1} = h_dot_l W_l^T,   g_dot_L = 0.
    """
    g_dot = 0
    for l in range(len(columns) - 1, -1, -1):
        _, d1, d2, *_ = columns[l]
        g_dot = (g_dot * d1 + reverse.g[l] * d2 * T[l][0]) @ layers[l][0].T
    return g_dot


# ------------------------------------------------------------------------------- curvature of a scalar network


def energy_curvature(columns, g, T, first):
    """v^T (Hess y) v = sum_l sum_k g_l phi''(z_l) T_l^2 for each row and sample: (r, n)."""
    total = 0
    for l, ((_, _, d2, *_), g_l) in enumerate(zip(columns, g, strict=True)):
        left = first if l == 0 else 0
        total = total + np.einsum("rnk,rnk,nk->rn", T[l], T[l], (g_l * d2)[:, left:])
    return total


def energy_rows_pullback(layers, columns, g, rows, T, N, c_bar, bars, grads):
    """Pull the cotangent c_bar (r or 1, n) of the curvature back to g_l, z_l (added to `bars`), to W_l and to T_1.

    Directly: with Q_l = sum_rows c_bar T_l^2, g_bar_l += phi'' Q_l and z_bar_l += g_l phi''' Q_l; T_bar_l = 2 c_bar g_l phi'' T_l.
    """
    direct = []
    for l, ((_, _, d2, d3), g_l) in enumerate(zip(columns, g, strict=True)):
        k = slice(rows.first if l == 0 else 0, None)
        cT = c_bar[:, :, None] * T[l]
        Q = np.einsum("rnk,rnk->nk", cT, T[l])
        bars.g[l][:, k] += d2[:, k] * Q
        bars.z[l][:, k] += (g_l * d3)[:, k] * Q
        cT *= 2 * (g_l * d2)[:, k]
        direct.append(cT)
    return rows_pullback(layers, columns, rows, T, N, direct.pop(), direct, bars, grads)


# ------------------------------------------------------------------------------- trace of a vector network


def score_curvature(columns, T, C, first):
    """v^T (dy/dx) v = sum_k T_L phi'(z_L) C with C = v W_{L+1}^T (r, n or 1, n_L): (r, n)."""
    left = first if len(columns) == 1 else 0
    return np.einsum("rnk,rnk->rn", T[-1], C[:, :, left:] * columns[-1][1][:, left:])


def score_rows_pullback(layers, columns, rows, T, N, C, c_bar, bars, grads):
    """Pull c_bar (r or 1, n) of `score_curvature` back to z_l and W_l; returns the cotangents of T_1 and of C."""
    k = slice(rows.first if len(columns) == 1 else 0, None)
    _, d1, d2, *_ = columns[-1]
    cT = c_bar[:, :, None] * T[-1]
    bars.z[-1][:, k] += d2[:, k] * np.einsum("rnk,rnk->nk", cT, np.broadcast_to(C[:, :, k], cT.shape))
    C_bar = np.zeros(C.shape[:1] + d1.shape, d1.dtype)
    C_bar[:, :, k] = cT * d1[:, k]
    T_bar = c_bar[:, :, None] * (C * d1)[:, :, k]
    return rows_pullback(layers, columns, rows, T, N, T_bar, None, bars, grads), C_bar


def cyclic_ends(W_1, W_out):
    """Rows T_1 (r, n_1) and C (r, n_L) of the cyclic trace, from whichever of d and n_1 is smaller.

    tr(W_1 D_1 ... D_L W_out) has d rows: those of W_1 against those of W_out^T. tr(D_1 ... D_L M), M = W_out W_1, has n_1:
    those of the identity against those of M^T.
    """
    d, n_1 = W_1.shape
    return (W_1, W_out.T) if d < n_1 else (np.eye(n_1, dtype=W_1.dtype), (W_out @ W_1).T)


def cyclic_trace(layers, columns, MT, c_bar, MT_bar, bars, grads):
    """The trace without any rows, for one or two hidden layers; with p_l = phi'(z_l) and M = W_{L+1} W_1:

    L = 1:  tr J = sum_k p_1k M_kk                      L = 2:  tr J = p_1^T K p_2,  K = W_2 * M^T

    With c_bar (1, n): z_bar_l += p_bar_l phi'' (in `bars`), W_2_bar += K_bar * M^T, MT_bar += K_bar * W_2.
    """
    if len(columns) == 1:
        p_1, M_kk = columns[0][1], np.diag(MT)
        if c_bar is not None:
            bars.z[0][...] += c_bar.T * M_kk * columns[0][2]
            MT_bar[np.diag_indices_from(MT_bar)] += c_bar[0] @ p_1
        return p_1 @ M_kk
    p_1, p_2 = columns[0][1], columns[1][1]
    W_2 = layers[1][0]
    K = W_2 * MT
    p_1K = p_1 @ K
    if c_bar is not None:
        bars.z[0][...] += c_bar.T * (p_2 @ K.T) * columns[0][2]
        bars.z[1][...] += c_bar.T * p_1K * columns[1][2]
        K_bar = (c_bar.T * p_1).T @ p_2
        grads[1][0][...] += K_bar * MT
        MT_bar += K_bar * W_2
    return np.einsum("nk,nk->n", p_1K, p_2)


# ------------------------------------------------------------------------------- pullbacks shared by both


class Bars(NamedTuple):
    """Cotangents of g_l and z_l, one (n, n_l) array per hidden layer, to be filled by the pullbacks."""

    g: list
    z: list

    @classmethod
    def zeros(cls, columns):
        """One zero array for every g_l and z_l."""
        return cls(*([np.zeros_like(phi) for phi, *_ in columns] for _ in range(2)))


def rows_pullback(layers, columns, rows, T, N, T_bar, direct, bars, grads):
    """Reverse of `tangent`, from the cotangent of T_L down to that of T_1, which it returns: (r, n, n_1).

    W_bar_{l+1} += N_l^T T_bar_{l+1},  N_bar = T_bar_{l+1} W_{l+1}^T,  z_bar_l += phi'' * sum_rows N_bar * T_l,
    T_bar_l = N_bar * phi' + direct_l.
    """
    for l in range(len(columns) - 1, 0, -1):
        k = slice(rows.first if l == 1 else 0, None)
        (W, _), (_, d1, d2, *_) = layers[l], columns[l - 1]
        N_l = N[l - 1].reshape(-1, N[l - 1].shape[-1])
        grads[l][0][k] += N_l.T @ T_bar.reshape(-1, T_bar.shape[-1])
        T_bar = T_bar @ W.T
        T_l = np.broadcast_to(T[l - 1], T_bar.shape[:2] + T[l - 1].shape[2:])
        bars.z[l - 1][:, k] += d2[:, k] * np.einsum("rnk,rnk->nk", T_bar[:, :, k], T_l)
        T_bar *= d1
        if direct is not None:
            T_bar[:, :, k] += direct[l - 1]
    return T_bar


def adjoint_pullback(layers, columns, reverse, u_bar, bars, grads=None):
    """Reverse of `adjoint`, upward: from u_bar (n, d) and bars.g to z_l (added to bars.z) and W_l; returns y_bar's bar.

    h_bar_1 = u_bar W_1,  g_bar_l += h_bar_l phi',  z_bar_l += h_bar_l g_l phi'',  W_bar_{l+1} += g_bar_l^T h_{l+1},
    h_bar_{l+1} = g_bar_l W_{l+1}.
    """
    g_bar = u_bar
    for l, (_, d1, d2, *_) in enumerate(columns):
        if g_bar is not None:
            h_bar = g_bar @ layers[l][0]
            if grads is not None:
                grads[l][0][...] += g_bar.T @ reverse.h[l]
            bars.z[l][...] += h_bar * (reverse.g[l] * d2)
            bars.g[l][...] += h_bar * d1
        g_bar = bars.g[l]
    return g_bar


def backprop(layers, columns, x, y_bar, bars, grads=None, to_input=False):
    """Ordinary backpropagation of y_bar (n, m) (or None) and bars.z to W_l, b_l and, if asked for, to x (n, d)."""
    a_bar = None if y_bar is None else y_bar @ layers[-1][0].T
    if grads is not None and y_bar is not None:
        grads[-1][0][...] += columns[-1][0].T @ y_bar
        grads[-1][1][...] += y_bar.sum(0)
    for l in range(len(columns) - 1, -1, -1):
        z_bar = bars.z[l]
        if a_bar is not None:
            z_bar += a_bar * columns[l][1]
        if grads is not None:
            grads[l][0][...] += (columns[l - 1][0] if l else x).T @ z_bar
            grads[l][1][...] += z_bar.sum(0)
        a_bar = z_bar @ layers[l][0].T if l or to_input else None
    return a_bar


# ------------------------------------------------------------------------------- which rows


def row_factor(W):
    """R with R^T R = W^T W and at most n_1 rows, and the map that lifts a cotangent of R to one of W.

    Only sums of squares over rows enter the trace, so min(d, n_1) rows do for any d. With W = Q R the lift is
    W_bar = Q R_bar, exactly, since the trace depends on W through W^T W alone. R is upper triangular, and so are half
    of the products with it. A well-conditioned W^T W is factored by Cholesky, Q R_bar = W (R^-1 R_bar), at a tenth of the cost
    of QR; otherwise QR. LAPACK has neither for longdouble, and a complex QR is not analytic: there R = W.
    """
    d, n_1 = W.shape
    if d <= n_1 or W.dtype not in (np.float32, np.float64):
        return W, lambda R_bar: R_bar
    gram = W.T @ W
    try:
        R = np.linalg.cholesky(gram, upper=True)
        independent = np.diag(R) > 0.1 * np.sqrt(np.diag(gram))  # each column against those before it
    except np.linalg.LinAlgError:
        independent = np.zeros(1, bool)
    if independent.all():
        return R, lambda R_bar: W @ np.linalg.solve(R, R_bar)
    Q, R = np.linalg.qr(W)
    return R, lambda R_bar: Q @ R_bar


def row_blocks(R, size):
    """Rows of an upper triangular (or full) factor R (r, n_1), `size` at a time, without their leading zeros."""
    triangular = R.shape[0] == R.shape[1] > 1 and not np.tril(R, -1).any()
    for start in range(0, R.shape[0], size):
        place = slice(start, start + size)
        first = start if triangular else 0
        yield Rows(R[place, None, first:], first, place)
