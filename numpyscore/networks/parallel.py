r"""Workers: shares of the samples that are visited side by side, each with arrays, products and sums of its own.

Samples are independent, so a pass over many of them is a few passes over fewer. NumPy lets go of Python's lock inside its
loops and products, so workers run on one thread per core. How samples are dealt to workers depends on shapes alone, and their sums are added in
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

WORKERS = 4  # at most
WORK = 1 << 24  # multiplications that are worth a thread of their own
SLICE = 1 << 18  # numbers of a large result that are worked on at a time
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


_waiting: dict = {}  # dtype -> workspaces that no worker uses now; list.append and list.pop are atomic


@functools.cache
def keep_freed_memory():
    """Let the C library keep the temporaries of a batch when they are freed, instead of handing them to the kernel.

    glibc returns a freed array above a threshold at once, so every fresh temporary costs its page faults again: five times
    the arithmetic of an activation row. The threshold follows the largest array freed so far (at most 32 MiB), so freeing
    one, never touched and therefore of no cost, raises it for the process. Elsewhere this does nothing.
    """
    np.empty(31 << 20, np.uint8)


class Gradient:
    """The cotangents of all W_l and b_l, dicts of views of one flat vector, and how products are added to them.

    Where samples are few, W_1_bar is much larger than all that it is made of. Then `late` is on: the factors A, B of
    W_1_bar += A^T B wait in `waiting` until the last batch has passed, and W_1_bar is written once, by all cores.
    """

    def __init__(self, theta, pairs, work, late=False):
        self.theta, self.work, self.late = theta, work, late
        self.W, self.b = (dict(enumerate(arrays, 1)) for arrays in zip(*pairs, strict=True))
        self.done = self.theta[self.W[1].size if late else 0 :]  # what is added to on the way
        self.done[...] = 0
        self.fresh, self.waiting = set(self.W), []

    def add(self, l, A, B, first=0, lasting=False):
        """W_bar_l += A^T B for A (m, i), B (m, j), at the rows first ... first + i; `lasting`: nobody writes over A and B.

        The very first product goes straight to its place.
        """
        if l == 1 and self.late and lasting:
            self.waiting.append((A, B))
            return
        fresh = l in self.fresh and A.shape[1] == len(self.W[l])
        self.work.add_outer(self.at(l)[first : first + A.shape[1]], A, B, fresh)

    def at(self, l):
        """W_bar_l, to be added to."""
        self.fresh.discard(l)
        return self.W[l]

    def take(self, other):
        """Add what another worker has."""
        self.done += other.done
        self.waiting += other.waiting
        self.fresh &= other.fresh

    def finish(self):
        """The whole flat vector, with what has waited."""
        if self.waiting or self.late:
            add_outers(self.W[1], self.waiting, fresh=self.late)
        return self.theta


class Worker:
    """The samples `at`, and what a pass over them works with: arrays, products, gradient, sums over its batches.

    Alone, a worker leaves whole products to BLAS and its threads; in company it computes them in pieces on its own core. A
    workspace is borrowed while the worker is entered (``with work:``).
    """

    def __init__(self, at, dtype, alone=True):
        self.at, self.dtype, self.alone = at, np.dtype(dtype), alone
        self.product = np.matmul if alone else product  # A @ W for A (n, k), W (k, m)
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

    def add_outer(self, target, A, B, fresh=False):
        """target (i, j) += A^T B for A (n, i), B (n, j); a fresh one is zero and is written over."""
        if not self.alone:
            add_outer(target, A, B, fresh)
        elif fresh:
            np.matmul(A.T, B, out=target)
        else:
            target += np.matmul(A.T, B, out=self.array("product", *target.shape))

    def sum(self, name, like):
        """The array, zero at first, in which this worker gathers what is called `name`."""
        if name not in self.sums:
            self.sums[name] = np.zeros_like(like)
        return self.sums[name]

    def add(self, other):
        """Take over what another worker gathered."""
        if self.grads is not None:
            self.grads.take(other.grads)
        for name, a in other.sums.items():
            self.sum(name, a)[...] += a


def cores():
    """How many threads may run: the cores this process may use, or fewer if OPENBLAS_NUM_THREADS or OMP_NUM_THREADS says so."""
    asked = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(here, int(asked)) if asked.isdigit() and int(asked) else here


def side_by_side(visit, workers):
    """``visit(work)`` for every worker, on as many threads as there are cores; the first worker's exception is raised.

    Threads live for this call only (a pool would not survive a fork) and see the caller's context, np.errstate included.
    """
    if len(workers) == 1:
        return visit(workers[0])
    queue = deque(enumerate(workers))
    failed: dict[int, BaseException] = {}

    def serve():
        while not failed:
            try:
                i, work = queue.popleft()
            except IndexError:
                return
            try:
                visit(work)
            except BaseException as error:  # an interrupt as well: the caller hears of it when all threads are done
                failed[i] = error

    # this thread serves as well, so one fewer is started than there are cores
    helpers = []
    for _ in range(min(len(workers), cores()) - 1):
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


# ------------------------------------------------------------------------------- products that all workers share


def _shares(n, work):
    """Slices of n rows, one for each thread that so many multiplications are worth."""
    number = max(1, min(WORKERS, work // WORK))
    return [slice(n * i // number, n * (i + 1) // number) for i in range(number)]


def shared_product(A, W):
    """A @ W in pieces on all cores. BLAS's own threads, once woken, wait for more work in our threads' way for milliseconds."""
    out = np.empty((len(A), W.shape[1]), A.dtype)
    side_by_side(lambda at: product(A[at], W, out[at]), _shares(len(A), A.size * W.shape[1]))
    return out


def shared_gram(A):
    """A^T A, likewise; of what is symmetric, one half."""
    out = np.zeros((A.shape[1], A.shape[1]), A.dtype)
    shares = _shares(len(out), A.size * A.shape[1])
    side_by_side(lambda at: add_outer(out[at, at.start :], A[:, at], A[:, at.start :], True), shares)
    for at in shares:
        out[at.stop :, at] = out[at, at.stop :].T
    return out


def add_outers(target, pairs, fresh):
    """target (i, j) += sum of A^T B over pairs (A (n, i) or narrower, B (n, j)), by all cores, a few rows of it at a time in cache.

    A few samples each make slow products: those are laid below each other first. A's that are a transposed W are taken as W.
    """
    upright = [(A.T, B) for A, B in pairs if A.T.flags.c_contiguous]
    flat = [(A, B) for A, B in pairs if not A.T.flags.c_contiguous]
    B = np.concatenate([np.zeros((0, target.shape[1]), target.dtype), *(B for _, B in flat)])
    step = max(32, SLICE // max(len(B), target.shape[1]))

    def visit(at):
        A = np.zeros((len(B), step), target.dtype)
        for start in range(at.start, at.stop, step):
            rows, n = slice(start, min(at.stop, start + step)), 0
            for part, _ in flat:
                here = part[:, rows]
                A[n : n + len(here), : here.shape[1]] = here
                A[n : n + len(here), here.shape[1] :] = 0
                n += len(here)
            if fresh:
                target[rows] = 0
            add_outer(target[rows], A[:, : rows.stop - start], B, fresh)
            for W, S in upright:
                here = target[rows][: len(W[rows])]
                here += product(W[rows], S)

    side_by_side(visit, _shares(len(target), sum(A.size for A, _ in pairs) * target.shape[1]))
