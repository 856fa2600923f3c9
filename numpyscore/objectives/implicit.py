"""Explicit, implicit and generalised score matching: a square of the score, and a trace in place of the data's own score."""

import numpy as np

from ..networks.directions import Axes
from .arguments import beside, network
from .loss import Objective, distance, of_samples, sample_weights, squared_score


def explicit(model, x, target_score, *, sigma=None, weights=None, gradient=True):
    r"""Explicit score matching: half the squared distance to a known score (the gradient of log p in x).

    .. math:: \ell(x) = \tfrac12 \lvert s(x) - s_0(x) \rvert^2

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
    x : (n, d) array, n >= 1
    target_score : (n, d) array, 1/[x]
        Score of the data density s_0 at the same points: `density.score(x)`.
    sigma : scalar or (n,) array, the noise level a conditional network is told
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean under the data density is the Fisher divergence, with the 1/2 in front of the square as everywhere here.

    Raises
    ------
    ValueError
        If target_score has another shape than x, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Without the 1/2 (as in some papers) multiply by 2; a mean over dimensions is this divided by d.

    Source: Hyvarinen (2005), JMLR 6:695-709, section 2.
    """
    network("explicit", model, x)
    points = model.points("explicit", x, sigma)
    target = beside("explicit", "target_score", target_score, points.x, model, "one score per sample")
    shares = sample_weights("explicit", weights, len(points.x))
    return of_samples("explicit", model, points, distance(target), weights=shares, gradient=gradient)


EXPLICIT = Objective(
    explicit,
    linear="product with the target",
    right=lambda q, s: (half(q.target), -np.sum(s * q.target, -1), half(s)),
    takes=("target",),
    first=1,
    losses=lambda net, x, given, told: {"explicit": explicit(net, x, given["target_score"], **told)},
    exact=lambda q: {"explicit": q.half_square([s - t for s, t in zip(q.score, q.target_score, strict=True)])},
    aliases=("esm", "fisher"),
)


def implicit(model, x, *, sigma=None, weights=None, gradient=True):
    r"""Implicit score matching: needs samples only, no score of the data (the gradient of log p in x).

    .. math:: \ell(x) = \tfrac12 \lvert s(x) \rvert^2 + \mathrm{tr}\, \partial_x s(x)

    The trace is exact, at min(d, n_1) directions for an `EnergyMLP` and free of d for a `ScoreMLP`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    sigma : scalar or (n,) array, the noise level a conditional network is told
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean is that of `explicit` minus half the Fisher information of the data, E|s_0|^2 / 2, provided that the
        boundary term p s vanishes; so it may be negative; differences between models are differences of Fisher divergences.

    Raises
    ------
    ValueError
        If the activation is not twice differentiable, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Written with tr + |s|^2/2 everywhere; where a source drops the 1/2 and doubles the trace, that is twice this loss.
    A mean over dimensions is this divided by d. On finitely many samples a flexible network has no minimum: the trace
    runs to minus infinity at the samples. Where the data's density does not vanish at the boundary of its support, use
    `generalised`.

    Source: Hyvarinen (2005), JMLR 6:695-709, Theorem 1.
    """
    network("implicit", model, x)
    points = model.points("implicit", x, sigma, second=True)
    shares = sample_weights("implicit", weights, len(points.x))
    return of_samples("implicit", model, points, squared_score, weights=shares, gradient=gradient, trace=True)


IMPLICIT = Objective(
    implicit,
    linear="trace",
    right=lambda q, s: (0.0, q.probe.trace(q.at), half(s)),
    losses=lambda net, x, given, told: {"implicit": implicit(net, x, **told)},
    exact=lambda q: {"implicit": q.half_square(q.score) + sum(q.diagonal)},
    aliases=("ism", "hyvarinen"),
)


# ------------------------------------------------------------------------------- supports with a boundary


def generalised(model, x, h, h_prime, *, sigma=None, weights=None, gradient=True):
    r"""Generalised score matching: for half-lines, boxes and other supports where the data's density need not vanish at the boundary.

    .. math:: \ell(x) = \sum_i \tfrac12 h_i(x) s_i(x)^2 + h_i'(x) s_i(x) + h_i(x)\, \partial_i s_i(x), \qquad h_i' = \partial_i h_i

    Each weight h_i >= 0 goes to 0 at those points of the boundary that a line along x_i meets, which kills the boundary term p h s that
    plain implicit matching would be off by. On a box x_i alone tells how near they are (`box_weight`); on a disc or a polytope all
    coordinates do (`distance_weight`). The diagonal of the Jacobian costs d directions sqrt(h_i) e_i, however
    narrow the network is: no collapse to n_1 of them, unlike the trace in `implicit`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
        Samples inside the support.
    h, h_prime : callables (n, d) -> (n, d), or (n, d) arrays
        The weights at x, in any unit [h], and the derivative of each in its own coordinate, dh_i/dx_i, [h]/[x]. `linear_weight()`,
        `square_weight()`, `capped_weight(c)`, `box_weight(lower, upper)` and `distance_weight(...)` return such pairs:
        ``generalised(model, x, *linear_weight())``.
    sigma : scalar or (n,) array, the noise level a conditional network is told
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units [h]/[x]^2. Its mean is E sum_i h_i (s_i - s_0i)^2 / 2 up to a constant of the data.

    Raises
    ------
    ValueError
        If h is negative at a sample (a point outside the support), h or h_prime has another shape than x or is not finite,
        or the activation is not twice differentiable.

    Notes
    -----
    h = 1, h' = 0 is `implicit`. Hyvarinen (2007) writes h = x^2 as 2 x s + x^2 J + x^2 s^2/2 on the half-line: the same.
    Without the 1/2 and with doubled linear terms it is twice this; a mean over dimensions is this divided by d. h' is the
    derivative of h itself: where a source writes the weight as sqrt(h), square it first.

    Source: Hyvarinen (2007), Comput. Statist. Data Anal. 51:2499-2512; Yu, Drton & Shojaie (2019), JMLR 20(76).
    """
    where = "generalised"
    network(where, model, x)
    points = model.points(where, x, sigma, second=True)
    x, shares = points.x, sample_weights(where, weights, len(points.x))
    call = lambda f: f(x) if callable(f) else f
    h = beside(where, "h", call(h), x, model, "one weight per entry of x")
    h_prime = beside(where, "h_prime", call(h_prime), x, model, "one derivative per entry of x")
    if (h.real < 0).any():
        i, j = np.argwhere(h.real < 0)[0]
        raise ValueError(
            f"{where}: h[{i}, {j}] is {h[i, j]} at x[{i}, {j}] = {x[i, j]}, expected h >= 0 (first bad row: {i}). The weight is "
            f"0 at the boundary of the support, so a sample where it is negative lies outside; remove such rows, or "
            f"give the weight of the support that the data have."
        )

    def local(at, s):
        """1/2 h s^2 + h' s and its cotangent h s + h'."""
        w, w_prime = (a[at].astype(s.dtype, copy=False) for a in (h, h_prime))
        bar = w * s + w_prime
        return 0.5 * np.sum((bar + w_prime) * s, axis=1), bar

    axes = Axes(np.sqrt(h))  # along sqrt(h_i) e_i the curvature is h_i J_ii
    return of_samples(where, model, points, local, weights=shares, gradient=gradient, directions=axes)


GENERALISED = Objective(
    generalised,
    linear="linear part",
    right=lambda q, s: (0.0, np.sum(q.h_prime * s + q.h * _diagonal(q), -1), 0.5 * np.sum(q.h * s * s, -1)),
    takes=("h", "h_prime"),
    first=2,
    losses=lambda net, x, given, told: {"generalised": generalised(net, x, given["h"], given["h_prime"], **told)},
    exact=lambda q: {
        "generalised": sum(
            s * s * (q.HALF * h) + s * h_prime + J_ii * h
            for h, h_prime, s, J_ii in zip(q.h, q.h_prime, q.score, q.diagonal, strict=True)
        )
    },
    aliases=("generalized",),
)


def half(s):
    """1/2 |s|^2 over the last axis."""
    return 0.5 * np.sum(s * s, axis=-1)


def _diagonal(q):
    return np.diagonal(q.probe.jacobian(q.at), axis1=-2, axis2=-1)
