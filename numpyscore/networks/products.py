r"""Matrix products in pieces, each so small that BLAS computes it in the thread that asks for it.

OpenBLAS hands a product of more than 2^18 multiplications to threads of its own, one product at a time, so that threads of ours
would wait for each other at its door. Smaller ones it computes on the spot. A large product cut into a stack of those (the
leading axes of `np.matmul`) runs as fast on each core as the whole product does, and beside other stacks on other cores.

How a product is cut depends on its shape alone. Where no cut fits, the whole product is computed: right, only slower in company.
"""

import functools

import numpy as np

PIECE = 1 << 18  # multiplications in one piece
VECTOR = 1 << 13  # in one piece of a matrix times a vector
FEW = 8  # fewer rows or columns in a piece are slow
WIDE = 16  # columns to a row, from which a result is computed on its side
DEEP = 1 << 10  # terms of the sums in one piece, at most


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
