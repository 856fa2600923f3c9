r"""Which directions: how tangents enter at z_1, where those of a score network leave, and how their cotangents come back.

One tangent pass serves every trace and curvature; what differs is V, the directions (`numpyscore.textbook`):

====================== ================================== =============================================
V                      the sum of the curvatures v.J v    here
====================== ================================== =============================================
given, or random       the sliced term, Hutchinson's      `Probes`: T_1 = V W_1
w_i e_i                sum of w_i^2 J_ii                  `Axes`: T_1 = w_i times a row of W_1
columns of Q, W_1 = QR the trace of an energy's score     `Collapsed`: T_1 = Q^T W_1 = R
basis of z_1           the trace of a score network       `Cyclic`: T_1 = I, against the rows of M^T
====================== ================================== =============================================

`shared`: all samples have the same T_1. `through`: tangents go through the hidden layers at all. `numbers`: of x, in one direction.

A score network's tangents leave at a_L: v.J v = N_L . C with C = v W_{L+1}^T, so its output layer costs nothing a direction.
"""

import numpy as np

from ..common.inputs import count, directions, generator
from .parallel import shared_gram, shared_product
from .triangle import LEAF, cholesky, solve_symmetric

STREAM = 256  # samples whose probes come from one stream: the same probes however a sweep cuts its batches


# ------------------------------------------------------------------------------- directions of x, m for each sample


def draw_probes(where, probe, shape, rng, dtype=float):
    """Directions v (..., d) with E[v v^T] = I: "rademacher" (signs), "gaussian", or "sphere" (of radius sqrt d)."""
    if probe == "rademacher":
        return rng.integers(0, 2, shape, dtype=np.int8).astype(dtype) * 2 - 1
    if probe not in ("gaussian", "sphere"):
        raise ValueError(f"{where}: probe is {probe!r}, expected 'rademacher', 'gaussian' or 'sphere'.")
    v = rng.standard_normal(shape).astype(dtype, copy=False)
    return v if probe == "gaussian" else v * np.sqrt(shape[-1] / np.sum(v * v, -1, keepdims=True)).astype(dtype)


class Probes:
    """m directions of x for each sample: given, drawn at random, or a function of the sample.

    Parameters
    ----------
    m : int
    draw : callable
        ``draw(chunk, at, dtype)`` returns the directions (r, n, d) in the slice `chunk` of the m, of the samples in the slice `at`:
        the same ones each time, from any thread.
    """

    shared = False

    def __init__(self, m, draw):
        self.m, self.draw = m, draw

    @classmethod
    def given(cls, v):
        """Those of an array (m, n, d)."""
        return cls(len(v), lambda chunk, at, dtype: v[chunk, at].astype(dtype, copy=False))

    @classmethod
    def drawn(cls, where, probe, m, n, d, rng):
        """Random ones with E[v v^T] = I, of n samples of dimension d; one seed is read from `rng` now, and the streams made from it."""
        count(where, "n_probes", m)
        draw_probes(where, probe, (0, d), np.random.default_rng(0))  # refuses an unknown name
        seed = int(generator(where, rng).integers(1 << 63))

        def draw(chunk, at, dtype):
            v = np.empty((chunk.stop - chunk.start, at.stop - at.start, d), dtype)
            for start in range(at.start - at.start % STREAM, at.stop, STREAM):
                stop = min(n, start + STREAM)
                here = slice(max(at.start, start), min(at.stop, stop))
                for j in range(chunk.start, chunk.stop):
                    stream = np.random.default_rng((seed, j, start))
                    drawn = draw_probes(where, probe, (stop - start, d), stream, dtype)
                    v[j - chunk.start, here.start - at.start : here.stop - at.start] = drawn[
                        here.start - start : here.stop - start
                    ]
            return v

        return cls(m, draw)

    @classmethod
    def of(cls, where, v, n, d):
        """`v` itself if it is Probes, else those of an array (n, d) or (m, n, d), looked at."""
        return v if isinstance(v, cls) else cls.given(directions(where, v, n, d))

    def prepared(self, net, d, scalar):
        """Beside a network of dimension d with scalar or vector output: `Along`."""
        return Along(self, net, d, scalar)


class Along:
    """Probes beside a network: T_1 = v W_1, leaving against C = v W_{L+1}^T."""

    shared, through = False, True

    def __init__(self, probes, net, d, scalar):
        self.probes, self.m, self.d, self.numbers = probes, probes.m, d, d
        self.W_1, self.WT_out = net.W[1][:d], None if scalar else net.WT[net.L + 1]
        self.L = net.L

    def enter(self, chunk, at, work):
        """T_1 (r, n, n_1), C (r, n, n_L) or None, and what `back` wants to see again."""
        v = self.probes.draw(chunk, at, work.dtype)
        times = lambda W: work.product(v.reshape(-1, self.d), W).reshape(*v.shape[:2], W.shape[1])
        return times(self.W_1), None if self.WT_out is None else times(self.WT_out), v

    def back(self, v, chunk, T_1_bar, C_bar, work):
        """W_1_bar += v^T T_1_bar,    W_{L+1}_bar += C_bar^T v."""
        flat = lambda a: a.reshape(-1, a.shape[-1])
        work.grads.add(1, flat(v), flat(T_1_bar))
        if C_bar is not None:
            work.grads.add(self.L + 1, flat(C_bar), flat(v))

    def lengths(self, v):
        """|v|^2 (r, n)."""
        return np.einsum("rnd,rnd->rn", v, v)

    def finish(self, work):
        """All has come back already."""


class Axes:
    """w_i(x) e_i for each of the d dimensions, the weights (n, d): the curvatures along them are w_i^2 J_ii."""

    def __init__(self, weights):
        self.weights, self.m = weights, weights.shape[1]

    def prepared(self, net, d, scalar):
        """Beside a network of dimension d with scalar or vector output: `AlongAxes`."""
        return AlongAxes(self.weights, net, d, scalar)


class AlongAxes:
    """Axes beside a network: T_1 = w_i times row i of W_1, leaving against C = w_i times column i of W_{L+1}; no products."""

    shared, through, numbers = False, True, 0

    def __init__(self, weights, net, d, scalar):
        self.weights, self.m = weights, d
        self.W_1, self.WT_out = net.W[1][:d], None if scalar else net.W[net.L + 1].T
        self.L = net.L

    def enter(self, chunk, at, work):
        """T_1 (r, n, n_1), C (r, n, n_L) or None, and the weights (r, n)."""
        w = self.weights[at, chunk].T.astype(work.dtype)
        times = lambda W: w[:, :, None] * W[chunk, None]
        return times(self.W_1), None if self.WT_out is None else times(self.WT_out), w

    def back(self, w, chunk, T_1_bar, C_bar, work):
        """Row i of W_1_bar and column i of W_{L+1}_bar, summed over samples."""
        work.grads.at(1)[chunk] += np.einsum("rn,rnk->rk", w, T_1_bar)
        if C_bar is not None:
            work.grads.at(self.L + 1)[:, chunk] += np.einsum("rn,rnk->rk", w, C_bar).T

    def lengths(self, w):
        """w_i^2 (r, n)."""
        return w * w

    def finish(self, work):
        """All has come back already."""


# ------------------------------------------------------------------------------- directions that all samples share


class Collapsed:
    r"""The min(d, n_1) columns of Q in W_1 = Q R: an energy bends nowhere else, so the curvatures along them sum to the trace.

    Only T_1 = Q^T W_1 = R is ever formed. R^T R = W_1^T W_1 is all that the trace sees of W_1, so any R with this product does:

    - a well-conditioned W_1^T W_1 is factored by Cholesky. R is upper triangular, and so are half of the products with it. The
      trace depends on W_1 through the Gram matrix alone, therefore R_bar = R S and W_1_bar = W_1 S with one symmetric S, for which the
      upper half of R_bar is enough;
    - otherwise W_1 = Q R by QR at ten times the cost, and W_1_bar = Q R_bar;
    - d <= n_1: R = W_1, the d basis vectors. So also for longdouble (LAPACK has none) and complex (a complex QR is not analytic).
    """

    shared, numbers = True, 0

    def __init__(self, W_1, L):
        self.R, self.lift, self.triangular = _factor(W_1)
        self.m, self.through = len(self.R), L > 1

    def enter(self, chunk, at, work):
        """T_1 (r, 1, n_1 - first), some of R, without the zeros left of the triangle's diagonal squares."""
        first = chunk.start - chunk.start % LEAF if self.triangular else 0
        return self.R[chunk, None, first:], None, None

    def back(self, _, chunk, T_1_bar, C_bar, work):
        """R_bar += T_1_bar, gathered over the batches of this thread."""
        work.sum("R_bar", self.R)[chunk, -T_1_bar.shape[2] :] += T_1_bar[:, 0]

    def finish(self, work):
        """W_1_bar += A^T B, the lift of R_bar."""
        if "R_bar" in work.sums:
            work.grads.waiting.append(self.lift(work.sums["R_bar"]))


def _factor(W):
    """R with R^T R = W^T W and at most n_1 rows, the A and B of W_bar = A^T B for a cotangent of R, and whether R is a triangle."""
    d, n_1 = W.shape
    if d <= n_1 or W.dtype not in (np.float32, np.float64):
        return W, lambda R_bar: (np.eye(d, dtype=W.dtype), R_bar), False
    gram = shared_gram(W)
    try:
        R = cholesky(gram)
        independent = np.diag(R) > 0.1 * np.sqrt(np.diag(gram))  # each column against those before it
    except np.linalg.LinAlgError:
        independent = np.zeros(1, bool)
    if independent.all():
        return R, lambda R_bar: (W.T, solve_symmetric(R, R_bar)), True
    Q, R = np.linalg.qr(W)
    return R, lambda R_bar: (Q.T, R_bar), False


class Cyclic:
    """Of a score network: tr dy/dx = tr d(y W_1)/dz_1, so the n_1 basis vectors of z_1 do: T_1 = I, leaving against M^T, M = W_out W_1.

    Where d < n_1, the d rows of W_1 against those of W_out^T are fewer.
    """

    shared, through, numbers = True, True, 0

    def __init__(self, W_1, W_out):
        self.W_1, self.W_out = W_1, W_out
        d, n_1 = W_1.shape
        self.triangular = d >= n_1
        self.T_1 = np.eye(n_1, dtype=W_1.dtype) if self.triangular else W_1
        self.C = shared_product(W_out, W_1).T if self.triangular else W_out.T
        self.m = len(self.T_1)

    def enter(self, chunk, at, work):
        """T_1 (r, 1, n_1 - first) and C (r, 1, n_L)."""
        first = chunk.start - chunk.start % LEAF if self.triangular else 0
        return self.T_1[chunk, None, first:], self.C[chunk, None], None

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

    def __init__(self, net, W_1, W_out):
        self.L, self.W_1, self.W_out, self.W_2 = net.L, W_1, W_out, net.W[2]
        self.MT = shared_product(W_out, W_1).T
        self.K = np.diag(self.MT) if net.L == 1 else self.W_2 * self.MT
        self.KT = np.ascontiguousarray(self.K.T)

    def trace(self, at, work):
        """The trace (n,)."""
        if self.L == 1:
            return np.einsum("nk,k->n", at.d1[1], self.K)
        return np.einsum("nk,nk->n", work.product(at.d1[1], self.K), at.d1[2])

    def trace_pullback(self, at, bar, c_bar, work):
        """From c_bar (n,) to phi'_bar_l, and K_bar gathered over the batches of this thread."""
        c, p_1, p_2 = c_bar[:, None], at.d1[1], at.d1[self.L]
        if self.L == 1:
            bar.d1[1] = c * self.K
            work.sum("K_bar", self.K)[...] += np.einsum("n,nk->k", c_bar, p_1)
            return
        bar.d1[1] = c * work.product(p_2, self.KT)
        bar.d1[2] = c * work.product(p_1, self.K)
        work.add_outer(work.sum("K_bar", self.K), c * p_1, p_2)

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
