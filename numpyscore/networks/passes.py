r"""The passes through a multilayer perceptron, by hand: forward, adjoint, tangent, curvature, and their pullbacks.

::

    a_0 = x        z_l = a_{l-1} W_l + b_l        a_l = phi(z_l)        l = 1..L        y = a_L W_{L+1} + b_{L+1}

Shapes: n samples, k units; activations and adjoints are (n, k), tangents are (r, n, k), one row per direction.
``layers`` are `Layer`s (W_l, b_l, W_l^T), l = 1..L+1; ``columns[l-1]`` is the activation's row at z_l: phi, phi', ... as
far as it is needed. ``lane`` has the arrays that are written over and the products (see `lanes`). A bar is a cotangent; T is a tangent; g_l and h_l are the adjoints of a_l and z_l.

Everything here is linear algebra on one block of samples. `models` gives it blocks and meaning.
"""

from typing import NamedTuple

import numpy as np

from .parallel import shared_outer, shared_product
from .products import product, turned

LEAF = 32  # where halving a triangle stops


class Layer(NamedTuple):
    """W (in, out), b (out,), and W^T as products take it best."""

    W: np.ndarray
    b: np.ndarray
    WT: np.ndarray


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


class Bars(NamedTuple):
    """Cotangents of g_l and z_l, one (n, n_l) array per hidden layer, to be filled by the pullbacks."""

    g: list
    z: list

    @classmethod
    def zeros(cls, columns):
        """One zero array for every g_l and z_l."""
        return cls(*([np.zeros_like(phi) for phi, *_ in columns] for _ in range(2)))


def part(lists, at):
    """Lists of (n, k) arrays, for some of the samples; an array of one row serves all samples and stays."""
    return [tuple(a[at] if len(a) > 1 else a for a in arrays) for arrays in lists]


# ------------------------------------------------------------------------------- forward mode, reverse mode


def forward(layers, row, x, order, lane, shift=None):
    """Activation columns of every hidden layer and the output y (n, m). `shift` (n, n_1) is added to z_1."""
    columns, a = [], x
    for W, b, _ in layers[:-1]:
        z = lane.product(a, W)
        z += b
        if shift is not None and a is x:
            z += shift
        columns.append(row.columns(z, order))
        a = columns[-1][0]
    W, b, _ = layers[-1]
    return columns, lane.product(a, W) + b


def adjoint(layers, columns, lane, y_bar=None, to_input=True):
    """Reverse mode: g_L = y_bar W_{L+1}^T,  h_l = g_l * phi'(z_l),  g_{l-1} = h_l W_l^T,  u = h_1 W_1^T.

    Without y_bar it is 1 for the only output, and g_L = w is one row (1, n_L) for all samples.
    """
    g: list = []
    h: list = []
    a_bar = layers[-1].WT if y_bar is None else lane.product(y_bar, layers[-1].WT)
    for l in range(len(columns) - 1, -1, -1):
        g.insert(0, a_bar)
        h.insert(0, a_bar * columns[l][1] if l > 0 or to_input else None)
        if h[0] is not None:
            a_bar = lane.product(h[0], layers[l].WT)
    return Adjoint(g, h, a_bar if to_input else None)


def tangents(layers, columns, rows, lane, keep=False):
    """Forward mode: T_{l+1} = N_l W_{l+1} with N_l = T_l * phi'(z_l). Yields T_1, (N_1, T_2), ... as (None or N, T).

    Unless they are to be kept for the way back, each is written over by the next but one: two arrays stay in cache.
    """
    r, n = len(rows.T), len(columns[0][1])
    T, first = rows.T, rows.first
    yield None, T
    for l, (W, *_) in enumerate(layers[1:-1]):
        W, d1 = W[first:], columns[l][1][:, first:]
        N = T if l and not keep else lane.array(("N", l), r, n, len(W))
        np.multiply(T, d1, out=N)
        T = lane.array(("T", l if keep else l % 2), r, n, W.shape[1])
        lane.product(N.reshape(r * n, -1), W, out=T.reshape(r * n, -1))
        first = 0
        yield N, T


def tangent(layers, columns, rows, lane):
    """The lists T_1..T_L and N_1..N_{L-1} of `tangents`, all kept."""
    N, T = zip(*tangents(layers, columns, rows, lane, keep=True), strict=True)
    return list(T), list(N[1:])


def rows_pullback(layers, columns, first, T, N, T_bar, direct, Z, lane):
    """Reverse of `tangent`, from the cotangent of T_L down to that of N_1 (r, n, n_1 - first), which it returns.

    W_bar_{l+1} += N_l^T T_bar_{l+1},  N_bar_l = T_bar_{l+1} W_{l+1}^T,  Z_l += sum_rows N_bar_l * T_l (z_bar_l = phi'' Z_l),
    T_bar_l = N_bar_l * phi' + direct_l * T_l.  Where `direct` is given, T_l is written over. With one layer: T_bar itself.
    """
    for l in range(len(columns) - 1, 0, -1):
        left = first if l == 1 else 0
        flat = T_bar.reshape(-1, T_bar.shape[-1])
        lane.grads.add_product(l, N[l - 1].reshape(len(flat), -1), flat, left)
        N_bar = lane.array(("bar", l), *N[l - 1].shape)
        lane.product(flat, layers[l].WT[:, left:], out=N_bar.reshape(len(flat), -1))
        rows = "rk" if T[l - 1].shape[1] == 1 else "rnk"  # shared rows have one sample's worth of numbers
        T_l = T[l - 1][:, 0] if rows == "rk" else T[l - 1]
        Z[l - 1][:, left:] += np.einsum(f"rnk,{rows}->nk", N_bar, T_l)
        T_bar = N_bar
        if l > 1:
            T_bar *= columns[l - 1][1]
            if direct is not None:
                T[l - 1] *= direct[l - 1]
                T_bar += T[l - 1]
    return T_bar


def adjoint_tangent(layers, columns, reverse, T, lane):
    """Forward mode over reverse mode: how u = dy/dx moves when z_l moves along T_l (1, n, n_l): u_dot (n, d).

    h_dot_l = g_dot_l phi' + g_l phi'' T_l,   g_dot_{l-1} = h_dot_l W_l^T,   g_dot_L = 0.
    """
    g_dot = 0
    for l in range(len(columns) - 1, -1, -1):
        _, d1, d2, *_ = columns[l]
        g_dot = lane.product(g_dot * d1 + reverse.g[l] * d2 * T[l][0], layers[l].WT)
    return g_dot


# ------------------------------------------------------------------------------- curvature of a scalar network


def weights(columns, g):
    """g_l phi''(z_l) for every layer: what each squared tangent counts in the curvature."""
    return [g_l * d2 for g_l, (_, _, d2, *_) in zip(g, columns, strict=True)]


def laplacian(layers, columns, g, w, blocks, lane, c_bar=None, bars=None, R_bar=None):
    """Laplacian of y (n,): sum_l sum_k w_l Q_l, w_l = g_l phi''(z_l), Q_l = sum of T_l^2 over rows that all samples share.

    With its cotangent c_bar (n,), pulled back to `bars` (written over), to W_2..W_L in the lane's gradient and to the rows in `R_bar`:
    g_bar_l = c_bar phi'' Q_l,  z_bar_l = c_bar g_l phi''' Q_l,  T_bar_l = 2 c_bar w_l T_l and then `rows_pullback`.
    """
    pulls = c_bar is not None
    direct = [(2 * c_bar[:, None]) * w_l for w_l in w] if pulls else []
    to_rows = direct[0].sum(0) if pulls else np.empty(0)
    Q = [np.zeros_like(w_l[:1] if l == 0 else w_l) for l, w_l in enumerate(w)]  # T_1 is the same for all samples
    Z = [np.zeros_like(w_l) for w_l in w[:-1]] if pulls else []
    for rows in blocks:
        T, N = [], []
        for l, (N_l, T_l) in enumerate(tangents(layers, columns, rows, lane, keep=pulls)):
            Q[l][:, -T_l.shape[2] :] += np.einsum("rnk,rnk->nk", T_l, T_l)
            T.append(T_l)
            N += [N_l] if l else []
        if pulls:
            R_bar[rows.place, rows.first :] += T[0][:, 0] * to_rows[rows.first :]
            if len(T) > 1:
                T_bar = np.multiply(T[-1], direct[-1], out=T[-1])
                N_bar = rows_pullback(layers, columns, rows.first, T, N, T_bar, direct, Z, lane)
                R_bar[rows.place, rows.first :] += np.einsum("rnk,nk->rk", N_bar, columns[0][1][:, rows.first :])
    total = np.einsum("nk,k->n", w[0], Q[0][0]) + sum(
        np.einsum("nk,nk->n", q, w_l) for q, w_l in zip(Q[1:], w[1:], strict=True)
    )
    if pulls:
        for l, (_, _, d2, d3) in enumerate(columns):
            cQ = np.multiply(c_bar[:, None], Q[l], out=bars.g[l])
            np.multiply(g[l], d3, out=bars.z[l])
            bars.z[l][...] *= cQ
            cQ *= d2
            if l < len(Z):
                Z[l] *= d2
                bars.z[l][...] += Z[l]
    return total


def energy_curvature(layers, columns, g, w, blocks, lane, c_bar=None, bars=None, back=None):
    """v^T (Hess y) v = sum_l sum_k g_l phi''(z_l) T_l^2 for rows that belong to one sample each: (r, n).

    With c_bar (r, n) pulled back as in `laplacian`, with Q_l = sum_rows c_bar T_l^2, and to the rows by ``back(place, T_bar)``.
    """
    Z = [np.zeros_like(w_l) for w_l in w] if c_bar is not None else []
    K = [np.empty((0, len(columns[0][1])), lane.dtype)]
    for rows in blocks:
        T, N = tangent(layers, columns, rows, lane)
        squares = [np.multiply(T_l, T_l, out=lane.array(("square", l), *T_l.shape)) for l, T_l in enumerate(T)]
        K.append(sum(np.einsum("rnk,nk->rn", square, w_l) for square, w_l in zip(squares, w, strict=True)))
        if c_bar is not None:
            c = c_bar[rows.place]
            for l, (square, (_, _, d2, d3)) in enumerate(zip(squares, columns, strict=True)):
                Q = np.einsum("rn,rnk->nk", c, square)
                bars.g[l][...] += d2 * Q
                bars.z[l][...] += g[l] * d3 * Q
            direct = [2 * c[:, :, None] * w_l for w_l in w]
            first = direct[0] * T[0]
            if len(T) > 1:
                T_bar = np.multiply(T[-1], direct[-1], out=T[-1])
                first += rows_pullback(layers, columns, 0, T, N, T_bar, direct, Z, lane) * columns[0][1]
            back(rows.place, first)
    for z_bar, Z_l, (_, _, d2, *_) in zip(bars.z if Z else [], Z, columns, strict=False):
        z_bar += d2 * Z_l
    return np.concatenate(K)


# ------------------------------------------------------------------------------- trace of a vector network


def score_curvature(layers, columns, C, blocks, lane, shared, c_bar=None, bars=None, back=None):
    """v^T (dy/dx) v = sum_k T_L phi'(z_L) C with C = v W_{L+1}^T (rows, 1 or n, n_L); shared rows are summed: (n,), else (r, n).

    With c_bar, (n,) or (r, n), pulled back to `bars`, to W_2..W_L and, by ``back(place, T_bar, C_bar)``, to rows and C.
    """
    total = np.zeros(len(columns[0][1]), lane.dtype)
    Z = [np.zeros_like(d1) for _, d1, *_ in columns] if c_bar is not None else []
    K = [np.empty((0, len(total)), lane.dtype)]
    for rows in blocks:
        T, N = tangent(layers, columns, rows, lane)
        k = slice(rows.first if len(T) == 1 else 0, None)
        C_rows, d1 = C[rows.place][:, :, k], columns[-1][1][:, k]
        scaled = np.multiply(T[-1], d1, out=lane.array("scaled", len(T[-1]), *d1.shape))
        if shared:
            total += np.einsum("rnk,rk->n", scaled, C_rows[:, 0])
        else:
            K.append(np.einsum("rnk,rnk->rn", scaled, C_rows))
        if c_bar is not None:
            c = c_bar[None, :, None] if shared else c_bar[rows.place][:, :, None]
            C_bar = c * scaled
            Z[-1][:, k] += np.einsum("rnk,rnk->nk", c * T[-1], np.broadcast_to(C_rows, scaled.shape))
            T_bar = np.multiply(C_rows, c * d1, out=scaled)
            if len(T) > 1:
                T_bar = rows_pullback(layers, columns, rows.first, T, N, T_bar, None, Z, lane)
                T_bar *= columns[0][1][:, rows.first :]
            back(rows.place, T_bar, C_bar)
    for z_bar, Z_l, (_, _, d2, *_) in zip(bars.z if Z else [], Z, columns, strict=False):
        z_bar += d2 * Z_l
    return total if shared else np.concatenate(K)


def cyclic_ends(W_1, W_out):
    """Rows T_1 (r, n_1) and C (r, n_L) of the cyclic trace, from whichever of d and n_1 is smaller, and whether T_1 is a triangle.

    tr(W_1 D_1 ... D_L W_out) has d rows: those of W_1 against those of W_out^T. tr(D_1 ... D_L M), M = W_out W_1, has n_1:
    those of the identity against those of M^T.
    """
    d, n_1 = W_1.shape
    return (W_1, W_out.T, False) if d < n_1 else (np.eye(n_1, dtype=W_1.dtype), shared_product(W_out, W_1).T, True)


def cyclic_trace(columns, K, lane, c_bar=None, bars=None):
    """The trace without any rows, for one or two hidden layers; with p_l = phi'(z_l) and M = W_{L+1} W_1:

    L = 1:  tr J = p_1 . K,  K_k = M_kk                 L = 2:  tr J = p_1^T K p_2,  K = W_2 * M^T

    With c_bar (n,): z_bar_l += p_bar_l phi'' (in `bars`), and K_bar in the lane's sums.
    """
    p_1, p_2 = columns[0][1], columns[-1][1]
    if len(columns) == 1:
        if c_bar is not None:
            bars.z[0][...] += c_bar[:, None] * K * columns[0][2]
            lane.sum("K_bar", K)[...] += np.einsum("n,nk->k", c_bar, p_1)
        return np.einsum("nk,k->n", p_1, K)
    p_1K = lane.product(p_1, K)
    if c_bar is not None:
        bars.z[0][...] += c_bar[:, None] * lane.product(p_2, turned(K)) * columns[0][2]
        bars.z[1][...] += c_bar[:, None] * p_1K * columns[1][2]
        lane.add_outer(lane.sum("K_bar", K), c_bar[:, None] * p_1, p_2)
    return np.einsum("nk,nk->n", p_1K, p_2)


# ------------------------------------------------------------------------------- pullbacks of both sweeps


def adjoint_pullback(layers, columns, reverse, w, u_bar, bars, lane):
    """Reverse of `adjoint`, upward: from u_bar (n, d) and bars.g to z_l (added to bars.z) and W_l; returns g_bar_L.

    h_bar_1 = u_bar W_1,  g_bar_l += h_bar_l phi',  z_bar_l += h_bar_l w_l (w_l = g_l phi''),  W_bar_{l+1} += g_bar_l^T h_{l+1},
    h_bar_{l+1} = g_bar_l W_{l+1}.
    """
    g_bar = u_bar
    for l, (_, d1, *_) in enumerate(columns):
        if g_bar is not None:
            h_bar = lane.product(g_bar, layers[l].W)
            if lane.grads is not None:
                lane.grads.add_product(l, g_bar, reverse.h[l])
            bars.z[l][...] += h_bar * w[l]
            h_bar *= d1
            bars.g[l][...] += h_bar
        g_bar = bars.g[l]
    return g_bar


def backprop(layers, columns, x, y_bar, bars, lane, to_input=False):
    """Ordinary backpropagation of y_bar (n, m) (or None) and bars.z to W_l, b_l and, if asked for, to x (n, d)."""
    a_bar = None if y_bar is None else lane.product(y_bar, layers[-1].WT)
    grads = lane.grads
    if grads is not None and y_bar is not None:
        grads.add_product(-1, columns[-1][0], y_bar)
        grads.b[-1][...] += y_bar.sum(0)
    for l in range(len(columns) - 1, -1, -1):
        z_bar = bars.z[l]
        if a_bar is not None:
            a_bar *= columns[l][1]
            z_bar += a_bar
        if grads is not None:
            grads.add_product(l, columns[l - 1][0] if l else x, z_bar)
            grads.b[l][...] += z_bar.sum(0)
        a_bar = lane.product(z_bar, layers[l].WT) if l or to_input else None
    return a_bar


# ------------------------------------------------------------------------------- which rows


def row_factor(W):
    """R with R^T R = W^T W and at most n_1 rows, the map that lifts a cotangent of R to one of W, and whether R is a triangle.

    Only sums of squares over rows enter the trace, so min(d, n_1) rows do for any d. A well-conditioned W^T W is factored by
    Cholesky: R is upper triangular, and so are half of the products with it. The trace depends on W through W^T W alone;
    therefore R_bar = R S and W_bar = W S with one symmetric S, for which the upper half of R_bar is enough. Otherwise
    W = Q R at ten times the cost, and W_bar = Q R_bar. LAPACK has neither for longdouble, and a complex QR is not analytic: there R = W.
    """
    d, n_1 = W.shape
    if d <= n_1 or W.dtype not in (np.float32, np.float64):
        return W, lambda R_bar: R_bar, False
    gram = shared_outer(W, W)
    try:
        R = _cholesky(gram)
        independent = np.diag(R) > 0.1 * np.sqrt(np.diag(gram))  # each column against those before it
    except np.linalg.LinAlgError:
        independent = np.zeros(1, bool)
    if independent.all():
        return R, lambda R_bar: shared_product(W, _solve_symmetric(R, R_bar)), True
    Q, R = np.linalg.qr(W)
    return R, lambda R_bar: Q @ R_bar, False


def _solve_symmetric(R, B):
    """The symmetric S with R S = B, R upper triangular, by halves; below its diagonal squares of LEAF rows, B is not read.

    R_22 S_22 = B_22,  R_11 S_12 = B_12 - R_12 S_22,  R_11 S_11 = B_11 - R_12 S_12^T.
    """
    n = len(R)
    if n <= LEAF:
        return np.linalg.inv(R) @ B
    m = LEAF * (-(-n // LEAF) // 2)
    S = np.empty_like(B)
    S[m:, m:] = _solve_symmetric(R[m:, m:], B[m:, m:])
    S[:m, m:] = _solve_upper(R[:m, :m], B[:m, m:] - product(R[:m, m:], S[m:, m:]))
    S[m:, :m] = S[:m, m:].T
    S[:m, :m] = _solve_symmetric(R[:m, :m], B[:m, :m] - product(R[:m, m:], S[m:, :m]))
    return S


def _solve_upper(R, B):
    """R^-1 B for a well-conditioned upper triangular R, by halves: a general solver takes eight times as long at 512."""
    m = len(R) // 2
    if m < LEAF:
        return product(np.linalg.inv(R), B)
    X = np.empty_like(B)
    X[m:] = _solve_upper(R[m:, m:], B[m:])
    X[:m] = _solve_upper(R[:m, :m], B[:m] - product(R[:m, m:], X[m:]))
    return X


def _cholesky(G):
    """Upper triangular R with R^T R = G, by halves: R_12 = R_11^-T G_12, R_22 that of G_22 - R_12^T R_12."""
    m = len(G) // 2
    if m < 48:
        return np.linalg.cholesky(G, upper=True)
    R = np.zeros_like(G)
    R[:m, :m] = _cholesky(G[:m, :m])
    flip = slice(None, None, -1)  # R_11^T is lower triangular: solved upside down
    R[:m, m:] = _solve_upper(R[:m, :m].T[flip, flip], G[:m, m:][flip])[flip]
    R[m:, m:] = _cholesky(G[m:, m:] - product(R[:m, m:].T, R[:m, m:]))
    return R


def row_blocks(R, size, triangular):
    """Rows of R (r, n_1), `size` at a time; those of an upper triangle without the zeros left of its diagonal squares."""
    for start in range(0, R.shape[0], size):
        place = slice(start, start + size)
        first = start - start % LEAF if triangular else 0
        yield Rows(R[place, None, first:], first, place)
