r"""The sweep: the only loop over samples. Which batch, which directions, which core.

A batch of samples goes forward, back, and once through the tangents along its directions; if cotangents are given, all of it
comes back to the parameters before the next batch begins. So memory is bounded for any number of samples, and an
objective gets its value and its gradient from one visit to each sample.

All cuts depend on shapes and on the size of the cache alone: the same call gives the same bits on any number of cores of one machine.
"""

import functools
import itertools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .parallel import WORK, WORKERS, Gradient, Worker, side_by_side
from .passes import (
    Network,
    curvature,
    curvature_pullback,
    factors,
    tangent,
    tangent_pullback,
)
from .products import turned

FEW = 32  # samples of a worker, at least
SUMS = 1 << 24  # bytes in the workers' gradients
INPUT = 1 << 20  # numbers in the x of a batch
JET = 64  # multiplications that cost as much as an activation's jet


class Points(NamedTuple):
    """Samples x (n, d) and noise level sigma, None, () or (n,), as a model has looked at them: see `MLP.points`.

    Of every `group` samples, one behind the other, none goes into another batch than the rest.
    """

    x: np.ndarray
    sigma: Any = None
    group: int = 1


class Swept(NamedTuple):
    """What a sweep found, as far as it was asked for: energy (n,), score (n, d), trace (n,), curvature (n,) or (m, n), gradient (p,)."""

    energy: Any = None
    score: Any = None
    trace: Any = None
    curvature: Any = None
    gradient: Any = None


# ------------------------------------------------------------------------------- how much at once


@functools.cache
def cache_bytes():
    """The size of a core's second-level cache, as Linux tells it; 1 MiB where nobody says."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
        return int(text[:-1]) * {"K": 1 << 10, "M": 1 << 20}[text[-1]]
    except (OSError, KeyError, ValueError, IndexError):
        return 1 << 20


@functools.cache
def numbers(cache):
    """How many numbers a batch's (n, width) arrays and a chunk's (r, n, width) arrays have, by the size of the cache."""
    scale = max(1, min(4, cache >> 20))  # measured at 1 MiB; at 2 MiB batches bear more than chunks
    return (1 << 15) * min(4, scale**2), (1 << 17) * scale


# ------------------------------------------------------------------------------- one call


class Batch:
    """Some of the samples in the call's dtype, with log sigma beside x in a conditional network, and the factors that sigma brings."""

    def __init__(self, call, at):
        self.at, self.d, x = at, call.d, call.points.x[at]
        lam, self.scale = call.confinement, None
        if call.conditional:
            sigma = np.broadcast_to(call.points.sigma, len(call.points.x))[at].astype(call.dtype)
            x = np.column_stack([x, np.log(sigma)])
            self.scale, lam = 1 / sigma, lam / (1 + sigma**2)
        self.x = np.ascontiguousarray(x, call.dtype)  # (n, d), or (n, d + 1)
        self.lam = np.asarray(lam, call.dtype)  # () or (n,), the confinement's curvature

    def per_row(self, a):
        """a (n, d) of the network part times the 1/sigma that it carries."""
        return a if self.scale is None else a * self.scale[:, None]

    def per_sample(self, a):
        """a (..., n) of the network part times the 1/sigma that it carries."""
        return a if self.scale is None else a * self.scale

    def of_x(self, u):
        """u (n, d) of an u beside x, without the column that belongs to log sigma."""
        return u[:, : self.d]

    def beside_x(self, u):
        """u (n, d) with a column of zeros for log sigma, which nothing is differentiated in."""
        return u if self.scale is None else np.column_stack([u, np.zeros(len(u), u.dtype)])


class Call:
    """One call's constants: the network in its dtype, its samples in workers and batches, its directions, and where answers go."""

    def __init__(self, model, points, dtype):
        self.model, self.points, self.dtype = model, points, np.dtype(dtype)
        self.confinement, self.conditional, self.d = model.confinement, model.conditional, model.dim
        layers = model.unflatten(model.theta.astype(dtype, copy=False))
        W, b = (dict(enumerate(arrays, 1)) for arrays in zip(*layers, strict=True))
        self.net = Network(W, b, {l: W_l.T for l, W_l in W.items()}, len(W) - 1, model.activation.jet)
        self.width = max(b[l].size for l in range(1, len(W)))
        self.batch, self.chunk = numbers(cache_bytes())
        self.ways: Any = None  # the directions beside this network
        self.second = "trace"  # what the curvatures along them are: "trace" or "curvature"
        self.out: dict = {}
        self.local: Any = None
        self.sees: tuple = ()
        self.gradient, self.total = False, True

    @property
    def late(self):
        """Whether W_1_bar waits for the last batch: what it is made of is smaller then, and no tangents of a batch come to it."""
        return len(self.points.x) <= self.net.b[1].size and (self.ways is None or self.ways.shared)

    def workers(self):
        """The samples dealt to workers: as many as the work is worth and memory allows."""
        n, net = len(self.points.x), self.net
        hidden = sum(net.W[l].size for l in range(2, net.L + 1))
        units = sum(net.b[l].size for l in range(1, net.L + 1))
        through = self.ways.m if self.ways is not None and self.ways.through else 0
        work = n * (self.model.theta.size + through * hidden + JET * units)
        size = self.model.theta.size - (net.W[1].size if self.late else 0)
        memory = SUMS // (size * self.dtype.itemsize)
        number = min(WORKERS, work // WORK, n // FEW, memory)
        if number <= 1:
            return [Worker(slice(0, n), self.dtype)]
        self.net = net._replace(WT={l: turned(W) for l, W in net.W.items()})
        g = self.points.group
        cuts = [n // g * i // number * g for i in range(number + 1)]
        return [Worker(slice(*ends), self.dtype, alone=False) for ends in itertools.pairwise(cuts)]

    def batches(self, work, size=None):
        """The batches of a worker's samples."""
        size = size or max(FEW, min(self.batch // self.width, INPUT // self.d))
        size = -(-size // self.points.group) * self.points.group
        for start in range(work.at.start, work.at.stop, size):
            yield Batch(self, slice(start, min(work.at.stop, start + size)))

    def parts(self, n, work):
        """Slices of the n samples of a batch: where directions are shared, so few samples that 16 directions fit beside them."""
        size = max(1, self._numbers(work) // (min(self.ways.m, 16) * self.width)) if self.ways.shared else max(n, 1)
        return [slice(start, min(n, start + size)) for start in range(0, n, size)]

    def chunks(self, n, work):
        """Slices of the directions, so many at once that their tangents of n samples stay in cache."""
        size = max(1, self._numbers(work) // (max(n, 1) * max(self.width, self.ways.numbers)))
        return [slice(start, min(self.ways.m, start + size)) for start in range(0, self.ways.m, size)]

    def _numbers(self, work):
        """How many numbers the tangents of a chunk should have: alone, a product with fewer than 1024 rows is slow."""
        return max(self.chunk, min(1024 * self.width, 4 * self.chunk)) if work.alone else self.chunk


def run(call, workers=None):
    """Every batch once, side by side; `call.out` is filled, and the gradient in theta (or None) returned."""
    workers = call.workers() if workers is None else workers

    def visit(work):
        if call.gradient:
            theta_bar = np.empty(call.model.theta.size, call.dtype)
            work.grads = Gradient(theta_bar, call.model.unflatten(theta_bar), work, call.late)
        with work:
            for batch in call.batches(work):
                call.model.visit(call, batch, work)

    side_by_side(visit, workers)
    if not call.gradient:
        return None
    first, *others = workers
    for work in others:  # in their order: the same bits whoever was first
        first.add(work)
    if call.ways is not None:
        call.ways.finish(first)
    return first.grads.finish()


# ------------------------------------------------------------------------------- the directions of one batch


def along(call, at, batch, Meter, c_bar, bar, work):
    """Curvatures along the call's directions and |v|^2: their sums (n,), or each (m, n). Pulled back where `bar` is given.

    ``Meter``, `Bend` or `Leave`, says how tangents become curvatures. ``c_bar`` is the cotangent of the sum (n,), or, of each,
    a function of (chunk, curvatures (r, n), what `enter` kept).
    """
    ways, n, each = call.ways, len(batch.x), not call.total
    out = np.zeros((ways.m, n) if each else n, call.dtype)
    lengths = call.d if ways.shared else np.zeros_like(out)  # the columns of Q stand for all d directions
    for part in call.parts(n, work):  # fewer samples and more directions at a time than the other passes like
        here, bar_here = at.part(part), None if bar is None else bar.part(part)
        samples = slice(batch.at.start + part.start, batch.at.start + part.stop)
        c = None if each or bar is None else c_bar[part]
        meter = Meter(here, bar_here, each, c, work)
        for chunk in call.chunks(part.stop - part.start, work):
            T_1, C, kept = ways.enter(chunk, samples, work)  # (r, n or 1, n_1), (r, n or 1, n_L) or None
            tangent(call.net, here, T_1, work, meter.see, keep=bar is not None or each)
            K = meter.chunk(C)  # (r, n) where each is wanted
            if call.confinement and not ways.shared:
                square = ways.lengths(kept)
                lengths[chunk if each else ...] += square if each else square.sum(0)
            if each:
                out[chunk] = K
                c = None if bar is None else c_bar(chunk, K, kept)
            if bar is not None:
                N_bar, C_bar = meter.pull(c)
                ways.back(kept, chunk, tangent_pullback(call.net, here, bar_here, N_bar, work), C_bar, work)
        total = meter.finish()
        if not each:
            out[part] = total
    return out, lengths


class Bend:
    """Of a scalar network: v.(Hess y) v from the squares of the tangents, (see `passes.curvature`).

    S_l (n, n_l) gathers sum of T_l^2 over directions, each multiplied by its own cotangent where each has one.
    """

    def __init__(self, at, bar, each, c, work):
        self.at, self.bar, self.each, self.c, self.work = at, bar, each, c, work
        self.S: dict = {}
        self.squares: dict = {}
        if c is not None:
            factors(at, bar, c)

    def see(self, l, T):
        """T_l (r, n or 1, n_l), squared while it is in cache."""
        if self.each:
            self.squares[l] = np.multiply(T, T, out=self.work.array(("square", l), *T.shape))
        else:
            self._gather(l, np.einsum("rnk,rnk->nk", T, T))

    def _gather(self, l, square):
        if l in self.S:
            self.S[l][:, -square.shape[1] :] += square
        else:
            self.S[l] = square

    def chunk(self, _):
        """Curvature of each direction (r, n), or None where the sum will do."""
        return curvature(self.at, self.squares) if self.each else None

    def pull(self, c):
        """Cotangents for the tangents of a chunk; of each direction its own (r, n)."""
        if self.each:
            factors(self.at, self.bar, c)
            for l, square in self.squares.items():
                self._gather(l, np.einsum("rn,rnk->nk", c, square))
        return None, None

    def finish(self):
        """The sum over directions (n,); what is left of the cotangents goes to g_l and phi''."""
        if self.bar is not None and self.S:
            curvature_pullback(self.at, self.bar, self.S, self.c)
        return None if self.each else curvature(self.at, self.S)


class Leave:
    """Of a vector network: v.J v = N_L . C, N_L = T_L phi'(z_L), with C = v W_{L+1}^T, or C = rows of M^T (see `directions`)."""

    def __init__(self, at, bar, each, c, work):
        self.at, self.bar, self.each, self.work = at, bar, each, work
        self.total = 0

    def see(self, l, T):
        """Nothing on the way: only T_L leaves."""

    def chunk(self, C):
        """v.J v of each direction (r, n), or None where the sum will do."""
        L = max(self.at.T)
        T, d1 = self.at.T[L], self.at.d1[L]
        self.C, self.N = C, np.multiply(T, d1, out=self.work.array("N_L", len(T), *d1.shape))
        if self.each:
            return np.einsum("rnk,rnk->rn", self.N, np.broadcast_to(C, self.N.shape))
        if C.shape[1] == 1:
            self.total = self.total + np.einsum("rnk,rk->n", self.N, C[:, 0])
        else:
            self.total = self.total + np.einsum("rnk,rnk->n", self.N, C)
        return None

    def pull(self, c):
        """N_L_bar = c_bar C and C_bar = c_bar N_L (r, n, n_L)."""
        c = c[..., None]
        return c * self.C if self.C.shape[1] > 1 else np.multiply(
            c, self.C, out=self.work.array("N_L_bar", *self.N.shape)
        ), c * self.N

    def finish(self):
        """The sum over directions (n,)."""
        return self.total
