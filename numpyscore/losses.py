"""The losses on arrays that came from anywhere, the weights of supports with a boundary, and noise levels: no network in sight.

Score means the gradient of log p in x; `explicit`, `implicit`, `generalised` and the others named below are in `objectives`, which fits
networks to the same losses by the same conventions and says how those of other libraries convert.
"""

import numpy as np

from .inputs import directions, finite, numeric, positive

# ------------------------------------------------------------------------------- losses of arrays


def explicit_loss(score, target_score):
    """Explicit loss of each sample (n,) from two scores (n, d): 1/2 |s - s_0|^2. See `explicit`."""
    _same_shape("explicit_loss", score, target_score=target_score)
    return half_square(np.asarray(score) - target_score)


def implicit_loss(score, trace):
    """Implicit loss of each sample (n,) from a score (n, d) and the trace of its Jacobian (n,). See `implicit`."""
    _one_number_per_row("implicit_loss", score, trace=trace)
    return half_square(np.asarray(score)) + trace


def generalised_loss(score, diagonal, h, h_prime):
    """Generalised loss (n,): sum_i 1/2 h_i s_i^2 + h_i' s_i + h_i J_ii, all arguments (n, d). See `generalised`."""
    _same_shape("generalised_loss", score, diagonal=diagonal, h=h, h_prime=h_prime)
    s = np.asarray(score)
    return np.sum((0.5 * np.asarray(h) * s + h_prime) * s + np.asarray(h) * diagonal, axis=1)


def denoising_loss(score, noise, sigma):
    """Denoising loss of each sample (n,): 1/2 |s + eps/sigma|^2.

    Parameters
    ----------
    score : (n, d) array, 1/[x]
        At the noisy points x + sigma * noise.
    noise : (n, d) array, without unit
        The standard normal eps that was added, before it was scaled by sigma.
    sigma : scalar or (n,) array, [x]

    See `denoising`. For one of several levels multiply by its weight, for example sigma^2: see `multilevel_denoising`.
    """
    where = "denoising_loss"
    _same_shape(where, score, noise=noise)
    s = np.asarray(score)
    return half_square(s + np.asarray(noise) / column(deviations(where, "sigma", sigma, ((), (len(s),)))))


def sliced_loss(score, curvature, probes=None):
    """Sliced loss of each sample (n,): v^T J v + 1/2 |s|^2, or, if the probes are given, v^T J v + 1/2 (v.s)^2.

    Parameters
    ----------
    score : (n, d) array, 1/[x]
    curvature : (n,) or (m, n) array, 1/[x]^2
        v^T J v along one probe per sample, or m, over which the loss is the mean.
    probes : (n, d) or (m, n, d) array, optional
        The v themselves; they choose the form without variance reduction.

    See `sliced`.
    """
    s, K = np.asarray(score), np.asarray(curvature)
    if s.ndim != 2 or K.shape not in (s.shape[:1], K.shape[:1] + s.shape[:1]) or 0 in K.shape[:-1]:
        raise ValueError(
            f"sliced_loss: curvature has shape {K.shape} and score {s.shape}, expected (n,) or (m, n) beside (n, d), one number "
            f"per row of score; a column would broadcast and pair every sample with all the others."
        )
    K = K if K.ndim == 2 else K[None]
    if probes is None:
        return K.mean(0) + half_square(s)
    v = directions("sliced_loss", probes, len(s), s.shape[1], "probes")
    if len(v) != len(K):
        raise ValueError(f"sliced_loss: probes are {len(v)} per sample and curvature {len(K)}, expected as many.")
    return (K + 0.5 * np.einsum("mnd,nd->mn", v, s) ** 2).mean(0)


def finite_difference_energy_loss(minus, centre, plus, eps):
    """Finite-difference sliced loss (n,) of energies (n,) at x - eps v, x, x + eps v. See `finite_difference_sliced`."""
    minus, centre, plus = map(np.asarray, (minus, centre, plus))
    if centre.ndim != 1 or minus.shape != centre.shape or plus.shape != centre.shape:
        raise ValueError(
            f"finite_difference_energy_loss: energies have shapes {minus.shape}, {centre.shape}, {plus.shape}, expected (n,) "
            f"for each of minus, centre and plus."
        )
    eps = positive("finite_difference_energy_loss", "eps", eps)
    return energy_curvature(minus, centre, plus, eps) + 0.5 * ((plus - minus) / (2 * eps)) ** 2


def finite_difference_score_loss(minus, plus, probes, eps):
    """Finite-difference sliced loss (n,) of scores (n, d) at x - eps v and x + eps v. See `finite_difference_sliced`."""
    where = "finite_difference_score_loss"
    _same_shape(where, minus, plus=plus, probes=probes)
    minus, plus, v = map(np.asarray, (minus, plus, probes))
    projected = np.einsum("nd,nd->n", v, 0.5 * (plus + minus))
    return np.einsum("nd,nd->n", v, plus - minus) / (2 * positive(where, "eps", eps)) + 0.5 * projected**2


def _same_shape(where, score, **others):
    for name, a in others.items():
        if np.ndim(score) != 2 or np.shape(a) != np.shape(score):
            raise ValueError(
                f"{where}: {name} has shape {np.shape(a)} and score {np.shape(score)}, expected (n, d) for both; other shapes "
                f"would broadcast and pair samples that do not belong together."
            )


def _one_number_per_row(where, score, **others):
    for name, a in others.items():
        if np.ndim(score) != 2 or np.shape(a) != np.shape(score)[:1]:
            raise ValueError(
                f"{where}: {name} has shape {np.shape(a)}, expected {np.shape(score)[:1]}, one number per row of score "
                f"{np.shape(score)}. A column would broadcast to a square and pair every sample with all the others; "
                f"pass {name}[:, 0]."
            )


def half_square(a):
    """1/2 |a|^2 of each row, without conjugation, so that complex steps pass."""
    return 0.5 * np.einsum("nd,nd->n", a, a)


def energy_curvature(minus, centre, plus, eps):
    """Second difference of -f."""
    return -((plus - centre) - (centre - minus)) / eps**2


# ------------------------------------------------------------------------------- weights for supports with a boundary


def linear_weight(lower=0.0):
    """h = x - lower and h' = 1, for supports [lower, inf); lower is a scalar or (d,), [x]. A pair for `generalised`."""
    return (lambda x: x - np.asarray(lower)), (lambda x: np.ones(np.shape(x)))


def square_weight(lower=0.0):
    """h = (x - lower)^2, h' = 2 (x - lower), for supports [lower, inf); Hyvarinen's (2007) choice. A pair for `generalised`.

    A square cannot tell a point below `lower`: that is checked here, and raises ValueError when h is computed.
    """
    a = np.asarray(lower)

    def h(x):
        if (x < a).any():
            row = int(np.argwhere(x < a)[0][0])
            raise ValueError(
                f"square_weight: x[{row}] = {x[row]} lies below lower = {lower} (first bad row: {row}), outside the support; "
                f"remove such rows, or lower the end."
            )
        return (x - a) ** 2

    return h, (lambda x: 2 * (x - a))


def capped_weight(c, lower=0.0):
    """h = min(x - lower, c), for supports [lower, inf): far samples count equally. A pair for `generalised`.

    Parameters
    ----------
    c : positive float, [x]
        Yu, Drton & Shojaie (2019) find that bounded weights bring lower variance than x^2.
    lower : scalar or (d,) array, [x]
    """
    c = positive("capped_weight", "c", c)
    return (lambda x: np.minimum(x - np.asarray(lower), c)), (lambda x: np.where(x - np.asarray(lower) < c, 1.0, 0.0))


def box_weight(lower, upper, cap=np.inf):
    """h = distance to the nearer end of each side of a box, h' = +-1 (0 half way). A pair for `generalised`.

    Parameters
    ----------
    lower, upper : scalars or (d,) arrays, [x]
        Ends of the box; infinite where there is none. A side without ends has h = 1, h' = 0, as in `implicit`.
    cap : positive float, [x]
        Largest h of a side with ends, where h' is 0: far samples count equally, see `capped_weight`.
    """
    a, b = (np.asarray(numeric("box_weight", name, end), float) for name, end in (("lower", lower), ("upper", upper)))
    if not np.all(a < b):
        raise ValueError(f"box_weight: lower is {a}, upper {b}, expected lower < upper on every side, no NaN.")
    if not cap > 0:
        raise ValueError(f"box_weight: cap is {cap}, expected a positive number, or inf for none.")
    free = np.isinf(a) & np.isinf(b)
    middle = 0.5 * np.where(free, 0, a) + 0.5 * np.where(free, 0, b)
    distance = lambda x: np.minimum(x - a, b - x)
    h = lambda x: np.where(free, 1.0, np.minimum(distance(x), cap))
    return h, (lambda x: np.where(free | (distance(x) >= cap), 0.0, np.sign(middle - x)))


# ------------------------------------------------------------------------------- noise levels


def deviations(where, name, value, shapes, dtype=None):
    """Positive real standard deviations of one of these shapes, between tiny and max of the dtype."""
    sigma = numeric(where, name, value)
    if sigma.shape not in shapes:
        expected = " or ".join("one number" if shape == () else str(shape) for shape in shapes)
        raise ValueError(f"{where}: {name} has shape {sigma.shape}, expected {expected}, one per sample of x.")
    if sigma.dtype.kind == "c":
        raise TypeError(f"{where}: {name} is complex, expected real standard deviations; pass {name}.real.")
    finite(where, name, sigma)
    low = 0 if dtype is None else np.finfo(dtype).tiny
    high = np.inf if dtype is None else np.finfo(dtype).max
    if not (np.all(sigma > 0) and np.all(sigma >= low) and np.all(sigma <= high)):
        bad = sigma[~((sigma > 0) & (sigma >= low) & (sigma <= high))].flat[0]
        raise ValueError(
            f"{where}: {name} has the value {bad}, expected positive standard deviations"
            f"{'' if bad <= 0 else f' in the range of {dtype}, {low} to {high}'}: the target is -eps/sigma. "
            f"{'For no noise at all use implicit.' if bad <= 0 else 'Rescale the data.'}"
        )
    return sigma if dtype is None else sigma.astype(np.finfo(dtype).dtype)


def column(sigma):
    """sigma () or (n,) so that it divides rows."""
    return sigma if np.ndim(sigma) == 0 else sigma[:, None]
