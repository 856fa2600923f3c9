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

from .parallel import WORK, WORKERS, Gradient, together, turned
from .parameters import Network

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
    """What a sweep found, as far as it was asked for.

    term (n,), energy (n,), score (n, d), trace (n,), curvature (n,) or (m, n), gradient (p,).
    """

    term: Any = None
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
        self.at, x = at, call.points.x[at]
        lam, self.scale = call.confinement, np.ones((), call.dtype)
        if call.conditional:
            sigma = np.broadcast_to(call.points.sigma, len(call.points.x))[at].astype(call.dtype)
            x = np.column_stack([x, np.log(sigma)])
            self.scale, lam = 1 / sigma, lam / (1 + sigma**2)
        self.x = np.ascontiguousarray(x, call.dtype)  # (n, d), or (n, d + 1)
        self.lam = np.asarray(lam, call.dtype)  # () or (n,), the confinement's curvature

    def per_row(self, a):
        """a (n, ...) of the network part times the 1/sigma that it carries."""
        return a if self.scale.ndim == 0 else a * self.scale.reshape(-1, *[1] * (a.ndim - 1))

    def beside_x(self, u):
        """u (n, d) with a column of zeros for log sigma, which nothing is differentiated in."""
        return u if self.scale.ndim == 0 else np.column_stack([u, np.zeros(len(u), u.dtype)])


class Call:
    """One call's constants: the network in its dtype, its samples, its directions, what is asked for and where answers go.

    ``ways`` are the directions beside this network, `second` says whether their curvatures are the "trace" or a "curvature"; `local`, `sees`,
    `gradient` and `total` are those of `MLP.sweep`.
    """

    def __init__(self, model, points, dtype, out=None, local=None, sees=(), gradient=False, total=True):
        self.model, self.points, self.dtype = model, points, np.dtype(dtype)
        self.confinement, self.conditional, self.d = model.confinement, model.conditional, model.dim
        self.out, self.local, self.sees = out or {}, local, sees if local else ()
        self.gradient, self.total = gradient, total
        # the network, W_l and b_l from l = 1
        pairs = list(enumerate(model.layers, 1))
        W = {l: W_l.astype(dtype, copy=False) for l, (W_l, _) in pairs}
        b = {l: b_l.astype(dtype, copy=False) for l, (_, b_l) in pairs}
        self.net = Network(W, b, {l: W_l.T for l, W_l in W.items()}, len(W) - 1, model.activation.jet)
        self.width = max(b[l].size for l in range(1, len(W)))
        self.batch, self.chunk = numbers(cache_bytes())
        self.ways: Any = None
        self.second = "trace"

    def late(self):
        """Whether W_1_bar waits for the last batch: what it is made of is smaller then, and no tangents of a batch come to it."""
        return len(self.points.x) <= self.net.b[1].size and (self.ways is None or self.ways.shared)

    def cuts(self):
        """The samples dealt to workers: as many as the work is worth and memory allows."""
        n, net = len(self.points.x), self.net
        hidden = sum(net.W[l].size for l in range(2, net.L + 1))
        units = sum(net.b[l].size for l in range(1, net.L + 1))
        through = self.ways.m if self.ways is not None and self.ways.through else 0
        work = n * (self.model.theta.size + through * hidden + JET * units)
        size = self.model.theta.size - (net.W[1].size if self.late() else 0)
        memory = SUMS // (size * self.dtype.itemsize)
        number = max(1, min(WORKERS, work // WORK, n // FEW, memory))
        g = self.points.group
        ends = [n // g * i // number * g for i in range(number)] + [n]
        return [slice(*pair) for pair in itertools.pairwise(ends)]

    def batches(self, at, size=None):
        """Slices of the samples `at`, a batch each."""
        size = size or max(FEW, min(self.batch // self.width, INPUT // self.d))
        size = -(-size // self.points.group) * self.points.group
        return [slice(start, min(at.stop, start + size)) for start in range(at.start, at.stop, size)]


def run(call):
    """Every batch once, side by side; `call.out` is filled, and the gradient in theta (or None) returned."""
    model, cuts = call.model, call.cuts()
    if len(cuts) > 1:
        call.net = call.net._replace(WT={l: turned(W) for l, W in call.net.W.items()})

    def visit(work):
        for at in call.batches(work.at):
            model.visit(call, Batch(call, at), work)

    gradient = functools.partial(Gradient, model, call.dtype, call.late()) if call.gradient else None
    first, *others = together(visit, cuts, call.dtype, gradient)
    if gradient is None:
        return None
    for work in others:  # in their order: the same bits whoever was first
        first.add(work)
    if call.ways is not None:
        call.ways.finish(first)
    return first.grads.finish()
