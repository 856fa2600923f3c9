r"""Which directions: how tangents enter at z_1, where those of a score network leave, and how their cotangents come back.

One tangent pass serves every trace and curvature; what differs is V, the directions (`numpyscore.textbook`):

====================== ================================== =============================================
V                      the sum of the curvatures v.J v    here
====================== ================================== =============================================
given, or random       the sliced term, Hutchinson's      `Probes`: T_1 = V W_1
w_i e_i                sum of w_i^2 J_ii                  `Axes`: T_1 = w_i times a row of W_1
columns of Q, W_1 = QR the trace of an energy's score     `Collapsed`: T_1 = Q^T W_1 = R
basis of z_1           the trace of a score network       `cyclic.Cyclic`: T_1 = I, against rows of M^T
====================== ================================== =============================================

`shared`: all samples have the same T_1. `through`: tangents go through the hidden layers at all. `numbers`: of x, in one direction.

A score network's tangents leave at a_L: v.J v = N_L . C with C = v W_{L+1}^T, so its output layer costs nothing a direction.
"""

from typing import Any

import numpy as np

from ..common.inputs import count, directions, generator
from .parallel import shared_gram
from .passes import tangent, tangent_pullback
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

    The curvature at z_1 itself makes R_bar = R F with F diagonal, which is W_1_bar = W_1 F: `weigh` keeps F. Through R^-1 a unit that
    hardly bends would take the rounding of those that do.
    """

    shared, numbers = True, 0

    def __init__(self, net, d):
        self.R, self.lift, self.triangular = _factor(net.W[1][:d])
        self.m, self.through = len(self.R), net.L > 1

    def enter(self, chunk, at, work):
        """T_1 (r, 1, n_1 - first), some of R, without the zeros left of the triangle's diagonal squares."""
        first = chunk.start - chunk.start % LEAF if self.triangular else 0
        return self.R[chunk, None, first:], None, None

    def weigh(self, bar, work):
        """F += sum over samples of the factor in front of T_1, gathered over the batches of this thread."""
        work.sum("F", self.R[0])[...] += bar.T.pop(1).sum(0)

    def back(self, _, chunk, T_1_bar, C_bar, work):
        """R_bar += T_1_bar, which there is where the tangents go on, gathered in the same way."""
        if T_1_bar is not None:
            work.sum("R_bar", self.R)[chunk, -T_1_bar.shape[2] :] += T_1_bar[:, 0]

    def finish(self, work):
        """W_1_bar += A^T B, the lift of R_bar and F."""
        if "F" in work.sums:
            R_bar = work.sums.get("R_bar", np.zeros_like(self.R))
            work.grads.waiting.append(self.lift(R_bar, work.sums["F"]))


def _factor(W):
    """R with R^T R = W^T W and at most n_1 rows, the A and B of W_bar = A^T B for the cotangent R_bar + R diag F, and whether R is a triangle."""
    d, n_1 = W.shape
    if d <= n_1 or W.dtype not in (np.float32, np.float64):
        return W, lambda R_bar, F: (np.eye(d, dtype=W.dtype), R_bar + W * F), False
    gram = shared_gram(W)
    try:
        R = cholesky(gram)
        independent = np.diag(R) > 0.1 * np.sqrt(np.diag(gram))  # each column against those before it
    except np.linalg.LinAlgError:
        independent = np.zeros(1, bool)
    if independent.all():
        return R, lambda R_bar, F: (W.T, solve_symmetric(R, R_bar) + np.diag(F)), True
    Q, R = np.linalg.qr(W)
    return R, lambda R_bar, F: (np.concatenate([Q.T, W.T]), np.concatenate([R_bar, np.diag(F)])), False


# ------------------------------------------------------------------------------- there and back along them


def along(call, batch, at, bar, meter, work):
    """Curvatures of a batch along the call's directions: their sum (n,), or each (m, n). Pulled back to `bar` where it is given.

    ``meter``, a `passes.Bend` or `cyclic.Leave`, makes curvatures of tangents, and cotangents of tangents.
    """
    ways, n, each = call.ways, len(batch.x), not call.total
    out: Any = np.zeros((ways.m, n), call.dtype) if each else None
    lengths = call.d if ways.shared else 0  # |v|^2; the columns of Q stand for all d directions
    if bar is not None and ways.shared:
        ways.weigh(bar, work)
    for part in _parts(call, n, work):  # fewer samples and more directions at a time than the other passes like
        samples, bar_here = slice(batch.at.start + part.start, batch.at.start + part.stop), bar
        if part.stop - part.start < n:
            meter.here, bar_here = at.part(part), None if bar is None else bar.part(part)
        meter.rows = part
        for chunk in _chunks(call, part.stop - part.start, work):
            # there: tangents and their curvatures
            T_1, C, kept = ways.enter(chunk, samples, work)  # (r, n or 1, n_1), (r, n or 1, n_L) or None
            tangent(call.net, meter.here, T_1, work, meter.see, keep=bar is not None or each)
            squares = ways.lengths(kept) if call.confinement and not ways.shared else 0  # (r, n)
            K = meter.chunk(C, squares)
            if each:
                out[chunk] = K
            elif not ways.shared:
                lengths = lengths + np.sum(squares, 0)
            # and back, before the next chunk writes over them
            if bar is not None:
                N_bar, C_bar = meter.pull(chunk)
                ways.back(kept, chunk, tangent_pullback(call.net, meter.here, bar_here, N_bar, work), C_bar, work)
                work.grads.gather(bar_here)
    total = meter.finish(lengths)
    return out if each else total


def _parts(call, n, work):
    """Slices of the n samples of a batch: where directions are shared, so few samples that 16 directions fit beside them."""
    size = max(1, _numbers(call, work) // (min(call.ways.m, 16) * call.width)) if call.ways.shared else max(n, 1)
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def _chunks(call, n, work):
    """Slices of the directions, so many at once that their tangents of n samples stay in cache."""
    ways = call.ways
    size = max(1, _numbers(call, work) // (max(n, 1) * max(call.width, ways.numbers)))
    return [slice(start, min(ways.m, start + size)) for start in range(0, ways.m, size)]


def _numbers(call, work):
    """How many numbers the tangents of a chunk should have: alone, a product with fewer than 1024 rows is slow."""
    return max(call.chunk, min(1024 * call.width, 4 * call.chunk)) if work.alone else call.chunk
