r"""The exact trace of a score network: tr dy/dx is the trace of a product, and a product may be begun anywhere in the circle.

::

    tr dy/dx = tr(W_1 D_1 W_2 D_2 ... D_L W_{L+1}) = tr(D_1 W_2 D_2 ... D_L M),      M = W_{L+1} W_1,      D_l = diag phi'(z_l)

With one or two hidden layers that is a form in phi' alone (`Bilinear`); with more, tangents enter at z_1 and leave against M (`Cyclic`). Along
directions v of x they leave against v W_{L+1}^T: either way the output layer costs nothing a direction (`Leave`).
"""

import numpy as np

from .parallel import shared_product
from .passes import Meter
from .triangle import LEAF


def cyclic(net, d):
    """The way that is cheapest for this many hidden layers."""
    return Bilinear(net, d) if net.L <= 2 else Cyclic(net, d)


class Leave(Meter):
    """Of a vector network, the score: v.J v = N_L . C, N_L = T_L phi'(z_L), with C = v W_{L+1}^T, or rows of M^T."""

    def begin(self):
        """The sum over directions, zero at first."""
        self.total = np.zeros(len(self.at.y), self.at.y.dtype)

    def see(self, l, T):
        """Nothing on the way: only T_L leaves."""

    def chunk(self, C, lengths):
        """v.J v of each direction (r, n), or None where the sum will do."""
        L = max(self.here.T)
        T, d1 = self.here.T[L], self.here.d1[L]
        self.C, self.N = C, np.multiply(T, d1, out=self.work.array("N_L", len(T), *d1.shape))
        if self.each:
            self.K = self.curvatures(np.einsum("rnk,rnk->rn", self.N, np.broadcast_to(C, self.N.shape)), lengths)
            return self.K
        one = C.shape[1] == 1  # the same for all samples
        self.total[self.rows] += np.einsum("rnk,rk->n" if one else "rnk,rnk->n", self.N, C[:, 0] if one else C)
        return None

    def pull(self, chunk):
        """N_L_bar = c_bar C and C_bar = c_bar N_L (r, n, n_L)."""
        c = self.inside(self.c_bar(chunk, self.K)) if self.each else self.c_bar[self.rows]
        N_bar = self.work.array("N_L_bar", *self.N.shape) if self.C.shape[1] == 1 else None
        return np.multiply(c[..., None], self.C, out=N_bar), c[..., None] * self.N

    def finish(self, lengths):
        """The sum over directions (n,)."""
        return None if self.each else self.curvatures(self.total, lengths)


class Cyclic:
    """Of a score network: tr dy/dx = tr d(y W_1)/dz_1, so the n_1 basis vectors of z_1 do: T_1 = I, leaving against M^T, M = W_out W_1.

    Where d < n_1, the d rows of W_1 against those of W_out^T are fewer.
    """

    shared, through, numbers = True, True, 0

    def __init__(self, net, d):
        self.W_1, self.W_out = W_1, W_out = net.W[1][:d], net.W[net.L + 1]
        n_1 = W_1.shape[1]
        self.triangular = d >= n_1
        self.T_1 = np.eye(n_1, dtype=W_1.dtype) if self.triangular else W_1
        self.C = shared_product(W_out, W_1).T if self.triangular else W_out.T
        self.m = len(self.T_1)

    def enter(self, chunk, at, work):
        """T_1 (r, 1, n_1 - first) and C (r, 1, n_L)."""
        first = chunk.start - chunk.start % LEAF if self.triangular else 0
        return self.T_1[chunk, None, first:], self.C[chunk, None], None

    def weigh(self, bar, work):
        """No curvature at z_1 itself."""

    def back(self, _, chunk, T_1_bar, C_bar, work):
        """Both ends, gathered over the batches of this thread."""
        if not self.triangular:
            work.sum("T_bar", self.T_1)[chunk] += T_1_bar[:, 0]
        work.sum("C_bar", self.C)[chunk] += C_bar.sum(1)

    def finish(self, work):
        """To W_1 and W_out, through M if it was made."""
        if "C_bar" in work.sums:
            to_ends(self.W_1, self.W_out, work, work.sums["C_bar"], work.sums.get("T_bar"))


class Bilinear:
    r"""Of a score network with one or two hidden layers: the sum over all directions in closed form, free of d, with p_l = phi'(z_l).

    L = 1:  tr J = p_1 . K,  K_k = M_kk            L = 2:  tr J = p_1^T K p_2,  K = W_2 * M^T            M = W_{L+1} W_1
    """

    shared, through, m = True, False, 0

    def __init__(self, net, d):
        self.L, self.W_1, self.W_out, self.W_2 = net.L, net.W[1][:d], net.W[net.L + 1], net.W[2]
        self.MT = shared_product(self.W_out, self.W_1).T
        self.K = np.diag(self.MT) if net.L == 1 else self.W_2 * self.MT
        self.KT = np.ascontiguousarray(self.K.T)

    def trace(self, batch, at, bar, c_bar, work):
        """The trace (n,), and where `bar` is given its pullback from c_bar (n,): to phi'_bar_l, and K_bar gathered over a thread's batches."""
        p_1, p_2 = at.d1[1], at.d1[self.L]
        if bar is not None:
            c_bar = batch.per_row(c_bar).astype(p_1.dtype, copy=False)
            c = c_bar[:, None]
        if self.L == 1:
            if bar is not None:
                bar.d1[1] = c * self.K
                work.sum("K_bar", self.K)[...] += np.einsum("n,nk->k", c_bar, p_1)
            return batch.per_row(np.einsum("nk,k->n", p_1, self.K))
        right = work.product(p_1, self.K)
        if bar is not None:
            bar.d1[1], bar.d1[2] = c * work.product(p_2, self.KT), c * right
            work.add_outer(work.sum("K_bar", self.K), c * p_1, p_2)
        return batch.per_row(np.einsum("nk,nk->n", right, p_2))

    def finish(self, work):
        """K_bar to W_1, W_2 and W_out."""
        if "K_bar" not in work.sums:
            return
        K_bar = work.sums["K_bar"]
        if self.L == 2:
            work.grads.W[2] += K_bar * self.MT
        to_ends(self.W_1, self.W_out, work, np.diag(K_bar) if self.L == 1 else K_bar * self.W_2)


def to_ends(W_1, W_out, work, MT_bar, T_bar=None):
    """The cotangent of M^T = (W_out W_1)^T, or of the rows of W_out^T and W_1 themselves where T_bar is given, to both."""
    out = work.grads.at(max(work.grads.W))
    if T_bar is not None:
        work.grads.waiting.append((np.eye(len(W_1), dtype=W_1.dtype), T_bar))
        out += MT_bar.T
        return
    out += shared_product(W_1, MT_bar).T
    work.grads.waiting.append((W_out, np.ascontiguousarray(MT_bar.T)))
