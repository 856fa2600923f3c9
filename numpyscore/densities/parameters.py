"""Parameters of densities: checked as they come in, and the small linear algebra and special functions they need."""

import math

import numpy as np

from ..common.inputs import finite, numeric


def real(where, name, a):
    """Refuse complex and extended precision: densities compute in float64."""
    if a.dtype.kind == "c" or (a.dtype.kind == "f" and a.dtype.itemsize > 8):
        raise TypeError(
            f"{where}: {name} has dtype {a.dtype}, expected float32 or float64. Densities compute in float64, so a longer "
            f"or complex type would lose what it carries; only the network passes take them. Use {name}.real.astype(float)."
        )
    return a


def array(where, name, value):
    """A finite float64 copy of a parameter."""
    a = np.array(real(where, name, numeric(where, name, value)), dtype=float)
    finite(where, name, a)
    return a


def common_dtype(parameters):
    """float32 if every array among the parameters is; Python numbers follow, as in NumPy."""
    dtype = np.result_type(*(p if type(p) in (int, float) else np.asarray(p) for p in parameters))
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)


def everywhere(d):
    """The support R^d, (d, 2)."""
    return np.tile([-np.inf, np.inf], (d, 1))


def vectors(where, positives, **parameters):
    """Parameters as (d,) arrays of one length, scalars repeated; those named in `positives` must be."""
    arrays = {name: np.atleast_1d(array(where, name, value)) for name, value in parameters.items()}
    shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
    d = max(a.size for a in arrays.values())
    if d == 0 or any(a.shape not in ((1,), (d,)) for a in arrays.values()):
        raise ValueError(f"{where}: shapes are {shapes}, expected scalars or (d,) arrays of one length d >= 1.")
    for name in positives:
        if not (arrays[name] > 0).all():
            raise ValueError(f"{where}: {name} has minimum {arrays[name].min()}, expected positive numbers.")
    return [np.broadcast_to(a, (d,)).copy() for a in arrays.values()]


def box(where, lower, upper, d):
    """(d, 2) support from ends that may be infinite."""
    ends = [np.asarray(real(where, n, numeric(where, n, a)), float) for n, a in (("lower", lower), ("upper", upper))]
    if any(a.shape not in ((), (1,), (d,)) for a in ends):
        raise ValueError(f"{where}: lower {ends[0].shape}, upper {ends[1].shape}, expected scalars or {(d,)} arrays.")
    both = np.stack([np.broadcast_to(a, (d,)) for a in ends], 1)
    if not (both[:, 0] < both[:, 1]).all():
        i = int(np.argmin(both[:, 0] < both[:, 1]))
        raise ValueError(
            f"{where}: lower[{i}] = {both[i, 0]}, upper[{i}] = {both[i, 1]}, expected lower < upper, no NaN."
        )
    return both


def location_and_shape(where, loc, shape, names=("mean", "cov")):
    """(d,) location and (d, d) matrix; a scalar matrix means scalar * I."""
    m, C = np.atleast_1d(array(where, names[0], loc)), array(where, names[1], shape)
    if m.ndim != 1 or m.size == 0 or C.shape not in ((), (m.size, m.size)):
        raise ValueError(
            f"{where}: {names[0]} has shape {m.shape} and {names[1]} {C.shape}, expected (d,) and (d, d), or a scalar "
            f"{names[1]} for an isotropic density. For a diagonal one pass np.diag of its variances."
        )
    return m, square(C, m.size)


# --------------------------------------------------------------------------- matrices, or scalars that stand for them


def square(a, d):
    """A scalar as a multiple of the identity; matrices as they are."""
    return a * np.eye(d) if np.ndim(a) == 0 else a


def average(weights, C):
    """sum_k weights_k C_k over a stack of matrices; one matrix shared by all is its own average."""
    return C if C.ndim == 2 else np.tensordot(weights, C, 1)


def diagonal(a, d):
    """Diagonals (..., d) of matrices, or of a scalar times the identity."""
    return np.broadcast_to(a, (d,)) if np.ndim(a) == 0 else np.diagonal(a, axis1=-2, axis2=-1)


def times(A, e):
    """A_k e_k over axis 1 of e (n, d) or (n, d, K), for A a scalar, (d, d) or (K, d, d)."""
    return A * e if A.ndim == 0 else (A @ e.T).T


def cholesky(where, C):
    """L and L^-1 of C = L L^T, for a scalar variance, a matrix or a stack; rounding-level asymmetry is averaged."""
    if C.ndim == 0:
        if C <= 0:
            raise ValueError(f"{where}: the variance is {C}, expected a positive number.")
        L = np.sqrt(C)
        return L, np.asarray(1 / L)
    asymmetry = np.abs(C - C.mT).max()
    if asymmetry > 1e-6 * np.abs(C).max():
        raise ValueError(
            f"{where}: the covariance is not symmetric, C and its transpose differ by {asymmetry:.3g}. "
            f"Pass (C + C.T) / 2 if that is rounding."
        )
    try:
        L = np.linalg.cholesky(0.5 * (C + C.mT))
    except np.linalg.LinAlgError:
        raise ValueError(
            f"{where}: the covariance is not positive definite, smallest eigenvalue {np.linalg.eigvalsh(C).min():.3g}. "
            f"A density on a subspace has no score; add sigma**2 * np.eye(d), or drop dependent columns."
        ) from None
    d = C.shape[-1]
    identity = np.broadcast_to(np.eye(d), C.shape)
    white = np.linalg.solve(L, identity)
    if d <= 10 and (amplified := np.diagonal(C, 0, -2, -1) * (white**2).sum(-2)).max() > 100:
        L = L.copy()  # LAPACK's L is that of C (1 + eps), amplified: 1e-7 of L_22 for a correlation of 1 - 1e-9
        for k in np.argwhere(amplified.reshape(-1, d).max(-1) > 100)[:, 0]:
            one = (k,) if C.ndim == 3 else ()
            L[one] = _polished(0.5 * (C + C.mT)[one], L[one])
        white = np.linalg.solve(L, identity)
    return L, white


def _polished(C, L):
    """L after two steps of Newton's method for L L^T = C, with the residual summed exactly (products by Dekker 1971, Numer. Math. 18)."""
    for _ in range(2):
        high = 134217729.0 * L - (134217729.0 * L - L)  # the upper 26 bits: products of halves are exact
        low = L - high
        # (d, d, d, 4): the four parts of L_ik L_jk
        parts = np.stack([a[:, None] * b[None] for a in (high, low) for b in (high, low)], axis=-1)
        residual = np.array(
            [[math.fsum([c, *-t.ravel()]) for c, t in zip(*row, strict=True)] for row in zip(C, parts, strict=True)]
        )
        half = np.linalg.solve(L, np.linalg.solve(L, residual).T)
        L = L + L @ (np.tril(half, -1) + 0.5 * np.diag(np.diag(half)))
    return L


def length(z):
    """|z| of each row (n, d), as (n,), where squares would overflow too; exactly scaled, so no digit is lost."""
    unit = np.ldexp(1.0, np.frexp(np.abs(z).max(axis=1, initial=1.0))[1])  # the power of two above all of them
    return unit * np.linalg.norm(z / unit[:, None], axis=1)


# --------------------------------------------------------------------------- special functions


def log_gamma_ratio(a, b):
    """log of Gamma(a + b) / (Gamma(a) a^b), by Stirling's series (error below 1e-17) where the difference cancels."""
    if a < 100:
        return math.lgamma(a + b) - math.lgamma(a) - b * math.log(a)
    correction = lambda a: (1 / 12 - (1 / 360 - 1 / (1260 * a**2)) / a**2) / a
    return (a + b - 0.5) * math.log1p(b / a) - b + correction(a + b) - correction(a)


def log_interval(a, b):
    """log(Phi(b) - Phi(a)) of two numbers a < b, in either tail, however close they are."""
    from scipy.special import log_ndtr

    width, middle = b - a, 0.5 * (a + b)
    if width * (1 + abs(middle)) < 1e-3:  # the midpoint rule and its first correction; the next is below 1e-15
        return math.log(width) - 0.5 * (middle**2 + math.log(2 * math.pi)) + math.log1p((middle**2 - 1) * width**2 / 24)
    a, b = (-b, -a) if a > 0 else (a, b)  # the right tail is the left one mirrored
    if b > 0:
        return math.log(0.5 * (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))))
    share = -math.expm1(log_ndtr(a) - log_ndtr(b))
    return log_ndtr(b) + math.log(share) if share > 0 else -math.inf


def normal_between(a, b, log_mass, u):
    """The standard normal restricted to (a, b) at probability u in [0, 1), in either tail."""
    from scipy.special import log_ndtr, ndtri_exp

    flip = a > 0
    log_p = np.logaddexp(log_ndtr(np.where(flip, -b, a)), np.log1p(-u) + log_mass)
    return np.where(flip, -1, 1) * ndtri_exp(np.minimum(log_p, 0))
