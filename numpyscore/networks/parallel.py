r"""Workers: shares of the samples that are visited side by side, each with arrays, products and sums of its own.

Samples are independent, so a pass over many of them is a few passes over fewer. NumPy lets go of Python's lock inside its
loops and products, so workers run on one thread per core. How samples are dealt to workers depends on shapes alone, and their sums are added in
their order: the same bits on one core as on many.

OpenBLAS hands a product of more than 2^18 multiplications to threads of its own, one product at a time, so that threads of ours
would wait for each other at its door. Smaller ones it computes on the spot. A large product cut into a stack of those (the
leading axes of `np.matmul`) runs as fast on each core as the whole product does, and beside other stacks on other cores.

How a product is cut depends on its shape alone. Where no cut fits, the whole product is computed: right, only slower in company.
"""

import contextvars
import functools
import os
import threading
from collections import deque

import numpy as np

from .passes import Workspace

WORKERS = 4  # at most
WORK = 1 << 24  # multiplications that are worth a thread of their own
SLICE = 1 << 18  # numbers of a large result that are worked on at a time
KEPT = 8  # workspaces of a dtype that wait for the next call
PIECE = 1 << 18  # multiplications in one piece
VECTOR = 1 << 13  # in one piece of a matrix times a vector
FEW = 8  # fewer rows or columns in a piece are slow
WIDE = 16  # columns to a row, from which a result is computed on its side
DEEP = 1 << 10  # terms of the sums in one piece, at most


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

    def __init__(self, model, dtype, late, work):
        self.theta, self.work, self.late = np.empty(model.theta.size, dtype), work, late
        pairs = enumerate(model.unflatten(self.theta), 1)
        self.W, self.b = {}, {}
        for l, pair in pairs:
            self.W[l], self.b[l] = pair
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

    def gather(self, bar):
        """Add what the passes left in `bar` for the parameters; it is forgotten there."""
        for l, A, B, first, lasting in bar.W:
            self.add(l, A, B, first, lasting)
        for l, z_bar in bar.b:
            self.b[l] += z_bar.sum(0)
        bar.W, bar.b = [], []

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
            target += A.T @ B

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


def together(visit, cuts, dtype, gradient=None):
    """``visit(work)`` by one worker for each slice of the samples in `cuts`, side by side; the workers, in their order.

    ``gradient(work)`` makes a worker's `Gradient`, in its own thread.
    """
    workers = [Worker(at, dtype, alone=len(cuts) == 1) for at in cuts]

    def serve(work):
        with work:
            if gradient is not None:
                work.grads = gradient(work)
            visit(work)

    side_by_side(serve, workers)
    return workers


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


# ------------------------------------------------------------------------------- products in pieces


@functools.cache
def _tile(k, most):
    """The largest divisor of k up to `most`, how many of k columns belong to one piece; all of them if that is small."""
    t = max(t for t in range(1, max(1, min(k, most)) + 1) if k % t == 0)
    return t if t >= FEW else k


def _stacks(n, rows):
    """Slices of n rows that are stacks of pieces of equal height: the whole pieces, and the rest; with that height."""
    whole = n - n % rows
    return [(part, height) for part, height in ((slice(0, whole), rows), (slice(whole, n), n - whole)) if n and height]


def product(A, W, out=None):
    """A @ W for A (n, k) and W (k, m), in pieces of some rows of A and some columns of W."""
    (n, k), m = A.shape, W.shape[1]
    if out is None and m > WIDE * n and not W.flags.c_contiguous:  # a wide W^T, read as it lies: four times as fast
        out, AT = np.empty((n, m), A.dtype), np.ascontiguousarray(A.T)
        for start in range(0, m, DEEP):
            out[:, start : start + DEEP] = product(W.T[start : start + DEEP], AT).T
        return out
    if k > DEEP and n * m * k > PIECE:
        out = product(A[:, :DEEP], W[:DEEP], out)
        for start in range(DEEP, k, DEEP):
            out += product(A[:, start : start + DEEP], W[start : start + DEEP])
        return out
    limit = VECTOR if m == 1 else PIECE
    t = _tile(m, limit // (k * FEW))
    rows = min(n, limit // (k * t))
    if n * k * m <= limit or rows == 0:
        return np.matmul(A, W, out=out)
    out = np.empty((n, m), A.dtype) if out is None else out
    tiles = W.reshape(k, m // t, t).transpose(1, 0, 2)
    for part, height in _stacks(n, rows):
        a = A[part].reshape(-1, 1, height, k)
        np.matmul(a, tiles, out=out[part].reshape(-1, height, m // t, t).transpose(0, 2, 1, 3))
    return out


def add_outer(target, A, B, fresh=False):
    """target (i, j) += A^T B for A (n, i) and B (n, j), in pieces of some samples, columns of A and columns of B.

    With `fresh` the target is known to be zero.
    """
    (n, i), j = A.shape, B.shape[1]
    limit = VECTOR if 1 in (i, j) else PIECE
    s = _tile(i, 4 * FEW)
    t = _tile(j, limit // (s * max(1, min(n, limit // (4 * FEW) ** 2))))
    rows = min(n, limit // (s * t))
    if n * i * j <= limit or rows < FEW:
        target += A.T @ B
        return
    tiles = target.reshape(i // s, s, j // t, t).transpose(0, 2, 1, 3)
    for part, height in _stacks(n, rows):
        a = A[part].reshape(-1, height, i // s, 1, s).transpose(0, 2, 3, 4, 1)
        b = B[part].reshape(-1, height, 1, j // t, t).transpose(0, 2, 3, 1, 4)
        if fresh and len(a) == 1:
            np.matmul(a[0], b[0], out=tiles)
            fresh = False
            continue
        fresh, some = False, max(1, (1 << 20) // (i * j))  # so that the stack of results stays small
        for start in range(0, len(a), some):
            pieces = np.matmul(a[start : start + some], b[start : start + some])
            tiles += pieces.sum(0) if len(pieces) > 1 else pieces[0]


def turned(W):
    """W^T for products in pieces: a copy in its own order if it is small, where a view would cost half the speed."""
    return np.ascontiguousarray(W.T) if W.size <= 1 << 15 else W.T


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
