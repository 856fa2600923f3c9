r"""How the samples of one call are cut: into lanes that run side by side, lanes into blocks that stay in cache, rows into row blocks.

All cuts depend on shapes alone, so the same call gives the same bits on any number of cores.
"""

import itertools

import numpy as np

from . import passes as mlp
from .parallel import LANES, WORK, Lane
from .products import turned

SAMPLES = 1 << 15  # numbers in one (samples, width) array of a block: a handful of them stay in cache
ROWS = 1 << 17  # numbers in one (rows, samples, width) array of a block
FEW = 16  # samples in a lane, at least
SUMS = 1 << 24  # bytes in the lanes' gradients


class Call:
    """One call's constants, the parameters in its dtype, and its samples in lanes and blocks."""

    def __init__(self, x, sigma, dtype, layers, conditional, confinement):
        self.x, self.sigma, self.dtype = x, sigma, dtype
        self.confinement = confinement
        self.d = x.shape[1]
        self.size = sum(W.size + b.size for W, b in layers)
        self.w_sigma = None
        if conditional:
            (W, b), *rest = layers
            self.w_sigma, layers = W[-1], [(W[:-1], b), *rest]
        self.layers = [mlp.Layer(W, b, W.T) for W, b in layers]
        self.width = max(len(b) for _, b in layers[:-1])
        self.L = len(layers) - 1

    # ---- lanes

    def lanes(self, rows):
        """The samples in lanes for a sweep with so many tangent rows: as many as the work is worth and memory allows."""
        n = len(self.x)
        if n < 2 * FEW:
            return [self.lane()]
        hidden, units = sum(W.size for W, *_ in self.layers[1:-1]), sum(len(b) for _, b, _ in self.layers[:-1])
        work = n * (
            self.size + rows * hidden + 64 * units
        )  # an activation row costs about as much as 64 multiplications
        memory = SUMS // (self.size * np.dtype(self.dtype).itemsize)
        number = min(LANES, work // WORK, n // FEW, memory)
        if number <= 1:
            return [self.lane()]
        self.layers = [mlp.Layer(W, b, turned(W)) for W, b, _ in self.layers]
        cuts = [n * i // number for i in range(number + 1)]
        return [Lane(slice(*ends), self.dtype, alone=False) for ends in itertools.pairwise(cuts)]

    def lane(self):
        """All samples in one lane."""
        return Lane(slice(0, len(self.x)), self.dtype)

    # ---- blocks

    def blocks(self, lane, size=None):
        """(slice, Block) over the samples of a lane."""
        size = size or max(16, min(SAMPLES // self.width, (1 << 20) // self.d))
        for start in range(lane.at.start, lane.at.stop, size):
            at = slice(start, min(lane.at.stop, start + size))
            yield at, Block(self, at)

    def _numbers(self, lane):
        """How many numbers a block of rows should have: alone, a product with fewer than 1024 rows is slow."""
        return max(ROWS, min(1024 * self.width, 4 * ROWS)) if lane.alone else ROWS

    def parts(self, lane, n, r):
        """Slices of n samples: as many as leave room for 16 of the r rows that they share."""
        size = max(1, self._numbers(lane) // (min(r, 16) * self.width))
        return [slice(start, min(n, start + size)) for start in range(0, n, size)]

    def rows(self, lane, R, n, triangular):
        """Row blocks of the rows R (r, n_1) that n samples share."""
        return mlp.row_blocks(R, max(1, self._numbers(lane) // (n * self.width)), triangular)

    def probe_rows(self, lane, T):
        """Row blocks of rows T (m, n, n_1) that belong to one sample each."""
        size = max(1, self._numbers(lane) // (T.shape[1] * self.width))
        for start in range(0, len(T), size):
            yield mlp.Rows(T[start : start + size], 0, slice(start, start + size))


class Block:
    """A block of samples in the call's dtype, with the factors that its noise levels bring."""

    def __init__(self, call, at):
        self.x = np.ascontiguousarray(call.x[at], call.dtype)
        self.shift, self.log_sigma, self.scale, self.pull = None, None, None, None
        lam = call.confinement
        if call.w_sigma is not None:
            sigma = np.broadcast_to(call.sigma, len(call.x))[at].astype(call.dtype)
            self.log_sigma = np.log(sigma)
            self.shift = self.log_sigma[:, None] * call.w_sigma
            self.scale = 1 / sigma
            lam = lam / (1 + sigma**2)
        self.lam = np.asarray(lam, call.dtype)  # () or (n,), the confinement's curvature

    def per_row(self, a):
        """a (n, d) of the network part times the 1/sigma that it carries."""
        return a if self.scale is None else a * self.scale[:, None]

    def per_sample(self, a):
        """a (..., n) of the network part times the 1/sigma that it carries."""
        return a if self.scale is None else a * self.scale
