"""The losses on arrays that came from anywhere: no network in sight.

Score means the gradient of log p in x; `explicit`, `implicit`, `generalised` and the others named below are in `objectives`, which fits
networks to the same losses by the same conventions and says how those of other libraries convert.
"""

import numpy as np

from ..common.inputs import column, deviations, directions, positive
from .loss import half_square

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


def energy_curvature(minus, centre, plus, eps):
    """Second difference of -f."""
    return -((plus - centre) - (centre - minus)) / eps**2
