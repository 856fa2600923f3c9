r"""Lanes: parts of the samples that are visited side by side, each with arrays, products and sums of its own.

Samples are independent, so a pass over many of them is a few passes over fewer. NumPy lets go of Python's lock inside its
loops and products, so lanes run on one thread per core. How samples are dealt to lanes depends on shapes alone, and the lanes' sums are added in
their order: the same bits on one core as on many.
"""

import contextvars
import functools
import math
import os
import threading
from collections import deque

import numpy as np

from .products import add_outer, product

LANES = 4  # at most
WORK = 1 << 24  # multiplications that are worth a thread of their own
KEPT = 8  # workspaces of a dtype that wait for the next call


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


_waiting: dict = {}  # dtype -> workspaces that no lane uses now; list.append and list.pop are atomic


@functools.cache
def keep_freed_memory():
    """Let the C library keep the temporaries of a block when they are freed, instead of handing them to the kernel.

    glibc returns a freed array above a threshold at once, so every fresh temporary costs its page faults again: five times
    the arithmetic of an activation row. The threshold follows the largest array freed so far (at most 32 MiB), so freeing
    one, never touched and therefore of no cost, raises it for the process. Elsewhere this does nothing.
    """
    np.empty(31 << 20, np.uint8)


class Gradient:
    """The cotangents of all W_l and b_l, views of one flat vector, and how products are added to them.

    In a conditional network the row of W_1 that multiplies log sigma goes apart, as `sigma`.
    """

    def __init__(self, theta, pairs, conditional, lane):
        self.theta, self.lane, self.sigma = theta, lane, None
        if conditional:
            (W, b), *rest = pairs
            self.sigma, pairs = W[-1], [(W[:-1], b), *rest]
        self.W, self.b = [W for W, _ in pairs], [b for _, b in pairs]
        self.fresh = {id(W) for W in self.W}

    def add_product(self, l, A, B, first=0):
        """W_bar_l[first:] += A^T B for A (m, i), B (m, j); alone, the very first product goes straight to its place."""
        fresh = first == 0 and id(self.W[l]) in self.fresh
        self.lane.add_outer(self.W[l][first:], A, B, fresh)
        self.fresh.discard(id(self.W[l]))


class Lane:
    """The samples `at`, and what a pass over them works with: workspace, products, gradient, sums over its blocks.

    Alone, a lane leaves whole products to BLAS and its threads; in company it computes them in pieces on its own core. A
    workspace is borrowed while the lane is entered (``with lane:``).
    """

    def __init__(self, at, dtype, alone=True):
        self.at, self.dtype, self.alone = at, np.dtype(dtype), alone
        self.grads: Gradient | None = None
        self.sums: dict = {}

    def __enter__(self):
        keep_freed_memory()
        spaces = _waiting.setdefault(self.dtype, [])
        try:
            self.array = spaces.pop()
        except IndexError:
            self.array = Workspace(self.dtype)
        return self

    def __exit__(self, *exception):
        if len(spaces := _waiting[self.dtype]) < KEPT:
            spaces.append(self.array)
        del self.array

    def product(self, A, W, out=None):
        """A @ W for A (n, k), W (k, m)."""
        return np.matmul(A, W, out=out) if self.alone else product(A, W, out)

    def add_outer(self, target, A, B, fresh=False):
        """target (i, j) += A^T B for A (n, i), B (n, j); a fresh one is zero and is written over."""
        if not self.alone:
            add_outer(target, A, B, fresh)
        elif fresh:
            np.matmul(A.T, B, out=target)
        else:
            target += np.matmul(A.T, B, out=self.array("product", *target.shape))

    def sum(self, name, like):
        """The array, zero at first, in which this lane gathers what is called `name`."""
        if name not in self.sums:
            self.sums[name] = np.zeros_like(like)
        return self.sums[name]

    def add(self, other):
        """Take over what another lane gathered."""
        if self.grads is not None:
            self.grads.theta += other.grads.theta
        for name, a in other.sums.items():
            self.sum(name, a)[...] += a


def cores():
    """How many threads may run: the cores this process may use, or fewer if OPENBLAS_NUM_THREADS or OMP_NUM_THREADS says so."""
    asked = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, int(asked)) if asked.isdigit() and int(asked) else here


def abreast(visit, lanes):
    """``visit(lane)`` for every lane, on as many threads as there are cores; the first lane's exception is raised.

    Threads live for this call only (a pool would not survive a fork) and see the caller's context, np.errstate included.
    """
    if len(lanes) == 1:
        return visit(lanes[0])
    queue = deque(enumerate(lanes))
    failed: dict[int, BaseException] = {}

    def serve():
        while not failed:
            try:
                i, lane = queue.popleft()
            except IndexError:
                return
            try:
                visit(lane)
            except BaseException as error:  # an interrupt as well: the caller hears of it when all threads are done
                failed[i] = error

    helpers = []
    for _ in range(min(len(lanes), cores()) - 1):
        helper = threading.Thread(target=contextvars.copy_context().run, args=(serve,), daemon=True)
        try:
            helper.start()
        except RuntimeError:  # no more threads, or the interpreter is shutting down
            break
        helpers.append(helper)
    serve()
    for helper in helpers:
        helper.join()
    if failed:
        raise failed[min(failed)]


# ------------------------------------------------------------------------------- products that all lanes share


def _shares(n, work):
    """Slices of n rows, one for each thread that so many multiplications are worth."""
    number = max(1, min(LANES, work // WORK))
    return [slice(n * i // number, n * (i + 1) // number) for i in range(number)]


def shared_product(A, W):
    """A @ W in pieces on all cores. BLAS's own threads, once woken, wait for more work in our threads' way for milliseconds."""
    out = np.empty((len(A), W.shape[1]), A.dtype)
    abreast(lambda at: product(A[at], W, out[at]), _shares(len(A), A.size * W.shape[1]))
    return out


def shared_outer(A, B):
    """A^T B, likewise."""
    out = np.zeros((A.shape[1], B.shape[1]), A.dtype)
    abreast(lambda at: add_outer(out[at], A[:, at], B, True), _shares(len(out), A.size * B.shape[1]))
    return out
