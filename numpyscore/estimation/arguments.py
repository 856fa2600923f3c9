"""What comes in to an estimator: samples, weights that vanish at a boundary, and arrays or functions with an entry per sample."""

import numpy as np

from ..common.inputs import finite, numeric, samples


def data(where, x):
    """Samples in float64, at least one."""
    x = samples(where, x)
    if x.size == 0:
        raise ValueError(
            f"{where}: x has shape {x.shape}, expected at least one row and one column; an estimate needs data."
        )
    return floats(where, "x", x)


def floats(where, name, a):
    """A real array in float64."""
    if a.dtype.kind == "c":
        raise TypeError(f"{where}: {name} is complex, expected real numbers; pass {name}.real.")
    return np.asarray(a, float)


def given(where, name, value, x, ndim):
    """An array with one entry per sample, or what a function of x returns."""
    a = numeric(where, name, value(x) if callable(value) else value)
    if a.ndim != ndim or len(a) != len(x):
        shape = ("n", "k", "d")[:ndim] if name in ("gradient", "laplacian") else ("n", "d")
        raise ValueError(f"{where}: {name} has shape {a.shape}, expected ({', '.join(shape)}) with n = {len(x)}.")
    finite(where, name, a)
    return floats(where, name, a)


def weight_pair(where, x, h, h_prime, usual):
    """h and h' at the samples (n, d), the usual ones if none are given."""
    if (h is None) != (h_prime is None):
        raise ValueError(f"{where}: h and h_prime go together, and only one was given; pass both, or neither.")
    pair = usual if h is None else (h, h_prime)
    w, w_prime = (given(where, name, a, x, 2) for name, a in zip(("h", "h_prime"), pair, strict=True))
    if w.shape != x.shape or w_prime.shape != x.shape:
        raise ValueError(f"{where}: h has shape {w.shape} and h_prime {w_prime.shape}, expected that of x, {x.shape}.")
    refuse_outside(where, x, w)
    return w, w_prime


def refuse_outside(where, x, w):
    """ValueError where a weight w (n, d) or None is negative: that sample lies outside the support."""
    if w is not None and (w < 0).any():
        i, j = np.argwhere(w < 0)[0]
        raise ValueError(
            f"{where}: h[{i}, {j}] is {w[i, j]} at x[{i}, {j}] = {x[i, j]}, expected h >= 0 (first bad row: {i}): the sample lies "
            f"outside the support; remove such rows, or give the weight of the support that the data have."
        )
