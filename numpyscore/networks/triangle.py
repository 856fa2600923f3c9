"""Upper triangular factors of a Gram matrix and their equations, by halves: products of our own, on whichever core asks."""

import numpy as np

from .parallel import product

LEAF = 32  # where halving a triangle stops


def solve_symmetric(R, B):
    """The symmetric S with R S = B, R upper triangular, by halves; below its diagonal squares of LEAF rows, B is not read.

    R_22 S_22 = B_22,  R_11 S_12 = B_12 - R_12 S_22,  R_11 S_11 = B_11 - R_12 S_12^T.
    """
    n = len(R)
    if n <= LEAF:
        return np.linalg.inv(R) @ B
    m = LEAF * (-(-n // LEAF) // 2)
    S = np.empty_like(B)
    S[m:, m:] = solve_symmetric(R[m:, m:], B[m:, m:])
    S[:m, m:] = solve_upper(R[:m, :m], B[:m, m:] - product(R[:m, m:], S[m:, m:]))
    S[m:, :m] = S[:m, m:].T
    S[:m, :m] = solve_symmetric(R[:m, :m], B[:m, :m] - product(R[:m, m:], S[m:, :m]))
    return S


def solve_upper(R, B):
    """R^-1 B for a well-conditioned upper triangular R, by halves: a general solver takes eight times as long at 512."""
    m = len(R) // 2
    if m < LEAF:
        return product(np.linalg.inv(R), B)
    X = np.empty_like(B)
    X[m:] = solve_upper(R[m:, m:], B[m:])
    X[:m] = solve_upper(R[:m, :m], B[:m] - product(R[:m, m:], X[m:]))
    return X


def cholesky(G):
    """Upper triangular R with R^T R = G, by halves: R_12 = R_11^-T G_12, R_22 that of G_22 - R_12^T R_12."""
    m = len(G) // 2
    if m < 48:
        return np.linalg.cholesky(G, upper=True)
    R = np.zeros_like(G)
    R[:m, :m] = cholesky(G[:m, :m])
    flip = slice(None, None, -1)  # R_11^T is lower triangular: solved upside down
    R[:m, m:] = solve_upper(R[:m, :m].T[flip, flip], G[:m, m:][flip])[flip]
    R[m:, m:] = cholesky(G[m:, m:] - product(R[:m, m:].T, R[:m, m:]))
    return R
