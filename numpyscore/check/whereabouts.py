"""Where a density lives, from its logarithm alone: modes by climbing, their size by curvature, and all of it by importance sampling.

What comes out is a mixture of Student's t that covers the density, a `Frame` for quadrature, and an estimate of the mass with its standard
error, independent of quadrature. A mode in whose basin no start falls stays unseen: nothing can be promised about it.
"""

from typing import NamedTuple

import numpy as np

from ..numerics.quadrature import Frame

SHELLS = 10.0 ** np.arange(-3, 6)  # distances of the starts, where nobody says where to look
STARTS, ROUNDS, DRAWS = 12, 8, 4000
NU = 4.0  # degrees of freedom of the proposals
LEAST = 0.02  # share of the draws that every component gets
FAINT = 1e-14  # share of the mass below which a mode is left out


class Whereabouts(NamedTuple):
    """Components (K, d), (K, d, d), the frame, and mass and relative standard error by importance sampling."""

    means: np.ndarray
    covs: np.ndarray
    frame: Frame
    log_mass: float
    error: float


def find(logp, support, x, rng):
    """The `Whereabouts` of a density; None if it is -inf, or has no size, wherever it was looked for.

    Parameters
    ----------
    logp : callable (n, d) -> (n,), -inf outside the support
    support : (d, 2) array
    x : (n, d) array or None, points that reach every part of it
    rng : numpy.random.Generator
    """
    modes, covs, weights = _modes(logp, _starts(support, x, rng), x)
    if len(modes) == 0:
        return None
    for _ in range(ROUNDS):
        points = _drawn(modes, covs, weights, rng)
        log_q, share = _proposal(points, modes, covs, weights)
        with np.errstate(invalid="ignore"):
            log_w = logp(points) - log_q
        log_w[~np.isfinite(log_w)] = -np.inf
        top = log_w.max()
        if top == -np.inf:
            return None
        w = np.exp(log_w - top)
        log_mass, error = top + np.log(w.mean()), w.std() / (w.mean() * np.sqrt(len(w)))
        modes, covs, weights = _refitted(points, w, share, modes, covs, weights)
    return Whereabouts(modes, covs, _frame(modes, covs, weights, support), float(log_mass), float(error))


def _starts(support, x, rng):
    """Points from which to climb: near x, and in shells of all sizes around its middle (or around 0)."""
    d = len(support)
    center, scale = (np.zeros(d), np.ones(d)) if x is None else (np.median(x, axis=0), x.std(axis=0) + 1e-300)
    shells = [center + r * scale * rng.standard_normal((200, d)) for r in SHELLS]
    near = [] if x is None else [x[rng.permutation(len(x))[:400]]]
    return [_inside(points, support) for points in (*near, *shells)]


def _inside(points, support):
    """Points moved into the support: reflected at a finite end, or drawn between two."""
    lower, upper = support.T
    below, above = np.isfinite(lower), np.isfinite(upper)
    a, b = np.where(below, lower, 0.0), np.where(above, upper, 0.0)
    out = np.where(below & ~above, a + np.abs(points - a), points)
    out = np.where(above & ~below, b - np.abs(b - points), out)
    middle, half = (a + b) / 2, np.where(below & above, (b - a) / 2, 1.0)
    return np.where(below & above, middle + half * np.tanh((points - middle) / half), out)


def _modes(logp, shells, x):
    """Modes (K, d), their covariances by curvature (K, d, d), and their shares (K,)."""
    found: list[tuple] = []  # mode, widths, log of its mass
    for top, mode in sorted(_climbed(logp, shells, x), key=lambda pair: -pair[0]):
        size = _widths(logp, mode, top)
        if size is not None and not any(np.all(np.abs(mode - m) <= w) for m, w, _ in found):
            found.append((mode, size, top + np.log(size).sum()))
    if not found:
        return np.zeros((0, 0)), np.zeros((0, 0, 0)), np.zeros(0)
    modes, sizes, logs = map(np.array, zip(*found, strict=True))
    keep = logs > logs.max() + np.log(FAINT)
    share = np.exp(logs[keep] - logs.max())
    return modes[keep], np.stack([np.diag(w**2) for w in sizes[keep]]), np.maximum(share / share.sum(), LEAST)


def _climbed(logp, shells, x):
    """(log p, point) at the tops that are reached from the best points of each shell."""
    from scipy.optimize import minimize

    down = lambda y: -float(logp(y[None])[0]) if np.isfinite(y).all() else np.inf
    for points in shells:
        logs = logp(points)
        if np.all(logs == -np.inf):
            continue
        for k in np.argsort(logs)[::-1][: STARTS if points is shells[0] and x is not None else 2]:
            scale = np.maximum(np.abs(points - points[k]).max(axis=0) / 10, 1e-9)
            simplex = np.concatenate([points[k : k + 1], points[k] + np.diag(scale)])
            options = {"initial_simplex": simplex, "xatol": 1e-10, "fatol": 1e-10, "maxfev": 400 * len(scale)}
            climb = minimize(down, points[k], method="Nelder-Mead", options=options)
            yield -climb.fun, climb.x


def _widths(logp, mode, top):
    """Distance along each axis at which log p has fallen by 1/2, (d,); None where it never does."""
    d = len(mode)
    steps = 10.0 ** np.arange(-12, 12, 0.1) * max(1.0, np.abs(mode).max())
    rays = np.stack([mode + sign * steps[:, None] * e for e in np.eye(d) for sign in (1, -1)])  # (2 d, S, d)
    fallen = (top - logp(rays.reshape(-1, d))).reshape(2 * d, -1) >= 0.5
    if not fallen.any(axis=1).all():
        return None
    width = steps[fallen.argmax(axis=1)].reshape(d, 2)
    return width.max(axis=1)


def _drawn(means, covs, weights, rng):
    """Points from the mixture of Student's t."""
    d = means.shape[1]
    which = rng.choice(len(means), DRAWS, p=weights / weights.sum())
    z = rng.standard_normal((DRAWS, d)) / np.sqrt(rng.chisquare(NU, (DRAWS, 1)) / NU)
    return means[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(covs)[which], z)


def _proposal(points, means, covs, weights):
    """log density of the mixture (n,), and the share of each component at each point (n, K)."""
    from scipy.special import gammaln, logsumexp

    d = means.shape[1]
    L = np.linalg.cholesky(covs)
    z = np.stack([np.linalg.solve(L[k], (points - means[k]).T).T for k in range(len(means))], axis=1)
    log_t = (
        gammaln((NU + d) / 2)
        - gammaln(NU / 2)
        - d / 2 * np.log(NU * np.pi)
        - np.log(np.diagonal(L, axis1=1, axis2=2)).sum(1)
    )
    log_t = log_t - (NU + d) / 2 * np.log1p(np.sum(z**2, axis=2) / NU) + np.log(weights / weights.sum())
    total = logsumexp(log_t, axis=1)
    return total, np.exp(log_t - total[:, None])


def _refitted(points, w, share, means, covs, weights):
    """Means, covariances and weights of the components from weighted points (population Monte Carlo)."""
    r = w[:, None] * share
    size = r.sum(axis=0)
    few = size**2 < 5 * (points.shape[1] + 2) * np.sum(r**2, axis=0)  # too few effective points to move it
    safe = np.where(size > 0, size, 1.0)
    new = (r.T @ points) / safe[:, None]
    off = points[:, None] - new
    cov = np.einsum("nk,nki,nkj->kij", r, off, off) / safe[:, None, None]
    floor = 1e-6 * np.einsum("kii->ki", covs)
    cov = cov + np.einsum("ki,ij->kij", floor, np.eye(points.shape[1]))
    means, covs = np.where(few[:, None], means, new), np.where(few[:, None, None], covs, cov)
    return means, covs, np.maximum(size / size.sum(), LEAST)


def _frame(means, covs, weights, support):
    """The `Frame` of the mixture: its mean and covariance, how far its components lie out, and how fine the finest is."""
    share = weights / weights.sum()
    center = share @ means
    off = means - center
    cov = np.einsum("k,kij->ij", share, covs + off[:, :, None] * off[:, None, :])
    axes = np.linalg.cholesky(cov) if not np.isfinite(support).any() else np.diag(np.sqrt(np.diag(cov)))
    inverse = np.linalg.inv(axes)
    sizes = [np.sqrt(np.linalg.eigvalsh(inverse @ c @ inverse.T).min()) for c in covs]
    reach = max(1.0, float(np.abs(off @ inverse.T).max()) + 1)
    return Frame(np.clip(center, *support.T), axes, "exponential", reach, float(min(1.0, *sizes)))
