"""Sliced score matching, exact or by finite differences: the trace on average, along random directions."""

import functools

import numpy as np

from ..networks.sweep import Points
from .arguments import difference_step, network, probe_directions, working_dtype
from .arrays import energy_curvature
from .implicit import half
from .loss import Loss, Objective, half_square, of_samples, sample_weights, shares, squared_score, weighted_sum

NUMBERS = 262_144  # in the directions that one visit holds


def sliced(
    model,
    x,
    *,
    variance_reduced=True,
    probe="rademacher",
    n_probes=1,
    rng=None,
    probes=None,
    sigma=None,
    weights=None,
    gradient=True,
):
    r"""Sliced score matching: the trace replaced by its projection on random directions v with E[v v^T] = I.

    .. math:: \ell(x) = \frac1m \sum_v v^T J(x) v + \tfrac12 \lvert s(x) \rvert^2
        \qquad\text{or}\qquad \frac1m \sum_v v^T J(x) v + \tfrac12 (v \cdot s(x))^2

    The first, variance-reduced form integrates the square exactly. Both have the mean of `implicit`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    variance_reduced : bool
        The first form or the second.
    probe : "rademacher", "gaussian" or "sphere"
        Distribution of v: signs, standard normal, or uniform on the sphere of radius sqrt(d).
    n_probes : int
        Directions per sample, m.
    rng : seed or numpy.random.Generator
        Read once when the loss is made; the directions are drawn from it a block of samples at a time.
    probes : (n, d) or (m, n, d) array
        The directions themselves, instead of rng.
    sigma : scalar or (n,) array, the noise level a conditional network is told
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss, in units 1/[x]^2

    Raises
    ------
    ValueError
        If probe is unknown, probes has another shape, rng and probes are both given, or the activation is not twice
        differentiable.

    Notes
    -----
    Slices of unit length have E[v v^T] = I/d: both terms of the second form are then this loss divided by d; in the first
    form only the trace term is, which changes the minimiser. Without the 1/2 and with a doubled first term it is twice
    this; a mean over dimensions is this divided by d. The variance of v^T A v, A the symmetric part of J, is 2 |A|_F^2
    for Gaussian v, 2 sum_{i != j} A_ij^2 for signs, 2d/(d+2) (|A|_F^2 - tr(A)^2/d) on the sphere; that of the mean of m
    is 1/m of it.

    Source: Song, Garg, Shi & Ermon (2019), UAI, arXiv:1905.07088.
    """
    where = "sliced"
    network(where, model, x)
    points = model.points(where, x, sigma, second=True)
    own = sample_weights(where, weights, len(points.x))
    # m directions (m, n, d), drawn some at a time, the same ones each time they are asked for
    v = probe_directions(where, model, points.x, probe, n_probes, rng, probes)
    size = max(1, NUMBERS // (256 * model.dim))

    def projected(at, score):
        """1/2 (v.s)^2 and its cotangent (v.s) v, their means over directions."""
        term, bar = np.zeros(len(score), score.dtype), np.zeros_like(score)
        for start in range(0, v.m, size):
            v_here = v.draw(slice(start, min(v.m, start + size)), at, score.dtype)  # (r, k, d)
            along = np.einsum("rnd,nd->rn", v_here, score)
            term += 0.5 / v.m * np.einsum("rn,rn->n", along, along)
            bar += 1 / v.m * np.einsum("rn,rnd->nd", along, v_here)
        return term, bar

    # the square, and 1/m of the curvatures v.J v along them
    local = squared_score if variance_reduced else projected
    along = {"directions": v, "per_direction": 1 / v.m}
    return of_samples(where, model, points, local, weights=own, gradient=gradient, **along)


def _sliced_right(q, s):
    """v.J v, and 1/2 |s|^2 or 1/2 (v.s)^2."""
    square = half(s) if q.variance_reduced else 0.5 * np.sum(q.v * s, -1) ** 2
    return 0.0, np.einsum("mni,knij,mnj->mn", q.v, q.probe.jacobian(q.at), q.v), square


SLICED = Objective(
    sliced,
    linear="curvature v.J v",
    right=_sliced_right,
    takes=("v", "n_probes"),
    losses=lambda net, x, given, told: {
        "sliced": sliced(net, x, probes=given["probes"], **told),
        "sliced_projected": sliced(net, x, probes=given["probes"], variance_reduced=False, **told),
    },
    exact=lambda q: {
        "sliced": q.mean(q.curvatures) + q.half_square(q.score),
        "sliced_projected": q.mean(q.curvatures) + q.mean([q.half_square([q.dot(v, q.score)]) for v in q.probes]),
    },
    aliases=("ssm", "sliced_vr", "ssm_vr", "sliced_variance_reduced"),
    forms=({"variance_reduced": True}, {"variance_reduced": False}),
)


# ------------------------------------------------------------------------------- finite differences


def finite_difference_sliced(
    model,
    x,
    eps,
    *,
    variance_reduced=False,
    probe="rademacher",
    n_probes=1,
    rng=None,
    probes=None,
    sigma=None,
    weights=None,
    gradient=True,
):
    r"""Finite-difference sliced score matching: no second derivatives, at the price of an error eps^2 and of round-off.

    .. math:: \ell = -\frac{f_+ - 2 f + f_-}{\epsilon^2} + \frac{(f_+ - f_-)^2}{8 \epsilon^2}
        \qquad\text{or}\qquad \frac{v \cdot (s_+ - s_-)}{2 \epsilon} + \tfrac12 \Bigl(v \cdot \frac{s_+ + s_-}2\Bigr)^2

    at x and x +- eps v: the first for an `EnergyMLP`, which needs energies only, the second for a `ScoreMLP`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    eps : float, [x]
        Step. Truncation grows as eps^2, round-off as 1/eps^2 (1/eps for scores): 1e-3 to 1e-4 in float64, 0.02 to 0.1 in float32
        for data of unit size.
    variance_reduced : bool
        Put 1/2 |s(x)|^2 (energies) or 1/2 |(s_+ + s_-)/2|^2 (scores) in the second term's place. The first costs a
        backward pass, which the method is meant to save; so False is the default here.
    probe, n_probes, rng, probes, sigma
        As in `sliced`.
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units 1/[x]^2; that of `sliced` along the same probes up to O(eps^2).

    Raises
    ------
    ValueError
        If eps is below sqrt(eps of the dtype) times max(1, RMS of x), where a second difference is all round-off; or as
        in `sliced`.

    Notes
    -----
    Pang et al. write the step as part of the direction, |v| = eps and unit-length slices: their loss is this one divided
    by d, since there E[v v^T] = I/d before scaling. Without the 1/2 of the convention here it is twice this.

    Source: Pang, Xu, Li, Song, Ermon & Zhu (2020), NeurIPS, arXiv:2007.03317.
    """
    where = "finite_difference_sliced"
    network(where, model, x)
    points = model.points(where, x, sigma, second=True)
    own = sample_weights(where, weights, len(points.x))
    real = working_dtype(model, points.x)
    # a step that leaves digits of the second difference, and m directions (m, n, d)
    eps = difference_step(where, eps, points.x, real)
    v = probe_directions(where, model, points.x, probe, n_probes, rng, probes)
    rule = _energy_differences if model.kind == "EnergyMLP" else _score_differences

    def along(j, gradient):
        """One direction a sample."""
        return rule(where, model, points, v, j, eps, variance_reduced, real, own, gradient)

    # the mean over directions, one at a time: a batch is 2 or 3 points a sample
    parts: list = [(1 / v.m, functools.partial(along, j)) for j in range(v.m)]
    if variance_reduced and model.kind == "EnergyMLP":  # 1/2 |s(x)|^2 at the points themselves
        square = lambda gradient: of_samples(where, model, points, squared_score, weights=own, gradient=gradient)
        parts.append((1, square))
    return weighted_sum(parts, own, gradient, where)


def _beside(points, v, j, steps, real):
    """The points x + step v_j for each of some steps, those of one sample behind each other, and v_j (n, d)."""
    n, d = points.x.shape
    v_j = np.concatenate(
        [v.draw(slice(j, j + 1), slice(start, min(n, start + 256)), real)[0] for start in range(0, n, 256)]
    )
    x = points.x[:, None] + np.asarray(steps, real)[:, None] * v_j[:, None]  # (n, steps, d)
    sigma = points.sigma if np.ndim(points.sigma) == 0 else np.repeat(points.sigma, len(steps))
    return Points(x.reshape(-1, d), sigma, group=len(steps)), v_j


def _energy_differences(where, model, points, v, j, eps, reduced, real, weights, gradient):
    """-(f+ - 2 f + f-)/eps^2 + 1/2 ((f+ - f-)/(2 eps))^2, the second term left out where 1/2 |s|^2 stands for it."""
    n = len(points.x)
    three, _ = _beside(points, v, j, (-eps, 0, eps), real)

    def local(at, here):
        minus, centre, plus = here["energy"].reshape(-1, 3).T
        slope = np.zeros_like(plus) if reduced else (plus - minus) / (2 * eps)
        term = energy_curvature(minus, centre, plus, eps) + 0.5 * slope**2
        samples = slice(at.start // 3, at.stop // 3)
        bars = [-1 / eps**2 - slope / (2 * eps), np.full_like(plus, 2 / eps**2), -1 / eps**2 + slope / (2 * eps)]
        bar = shares(samples, plus, weights, n)[:, None] * np.stack(bars, axis=1)
        return np.repeat(term, 3), {"energy": bar.ravel().astype(plus.dtype, copy=False)}

    def compute(gradient):
        found = model.sweep(three, local=local, sees=("energy",), gradient=gradient, where=where)
        return found.term[::3], found.gradient  # each sample's three points carry its term

    return Loss(compute, weights, gradient, where)


def _score_differences(where, model, points, v, j, eps, reduced, real, weights, gradient):
    """v.(s+ - s-)/(2 eps) + 1/2 (v.m)^2 with m = (s+ + s-)/2, or + 1/2 |m|^2."""
    n, d = points.x.shape
    two, v_j = _beside(points, v, j, (-eps, eps), real)

    def local(at, here):
        minus, plus = here["score"].reshape(-1, 2, d).transpose(1, 0, 2)
        samples = slice(at.start // 2, at.stop // 2)
        v, mean = v_j[samples], 0.5 * (plus + minus)
        along = np.einsum("nd,nd->n", v, mean)
        square, mean_bar = (half_square(mean), mean) if reduced else (0.5 * along**2, along[:, None] * v)
        term = np.einsum("nd,nd->n", v, plus - minus) / (2 * eps) + square
        bars = np.stack([0.5 * mean_bar - v / (2 * eps), 0.5 * mean_bar + v / (2 * eps)], axis=1)  # (k, 2, d)
        bar = shares(samples, along, weights, n)[:, None, None] * bars
        return np.repeat(term, 2), {"score": bar.reshape(-1, d).astype(plus.dtype, copy=False)}

    def compute(gradient):
        found = model.sweep(two, local=local, gradient=gradient, where=where)
        return found.term[::2], found.gradient

    return Loss(compute, weights, gradient, where)


def _difference_right(q, s):
    """The forms that people use: of energies or of scores, the square at x or of a mean, central or forward."""
    p, plus, minus = q.probe, q.x + q.step * q.v, q.x - q.step * q.v
    along = np.sum(q.v * s, -1)
    if q.energies:
        up, mid, down = p.energy(plus), p.energy(q.x), p.energy(minus)
        slope = along if q.square_at_x else (up - down) / (2 * q.step)
        return 0.0, -(up - 2 * mid + down) / q.step**2, half(s) if q.variance_reduced else 0.5 * slope**2
    up, down, width = p.score(plus), (s if q.forward else p.score(minus)), (1 if q.forward else 2) * q.step
    mean = s if q.square_at_x else 0.5 * (up + down)
    square = half(mean) if q.variance_reduced else 0.5 * np.sum(q.v * mean, -1) ** 2
    return 0.0, np.sum(q.v * (up - down), -1) / width, square


FINITE_DIFFERENCE_SLICED = Objective(
    finite_difference_sliced,
    linear="second difference",
    right=_difference_right,
    takes=("step", "v", "n_probes"),
    first=1,
    losses=lambda net, x, given, told: {
        "finite_difference_sliced": finite_difference_sliced(net, x, given["step"], probes=given["probes"], **told),
        "finite_difference_sliced_reduced": finite_difference_sliced(
            net, x, given["step"], probes=given["probes"], variance_reduced=True, **told
        ),
    },
    exact=lambda q: {
        "finite_difference_sliced": q.mean([q.differences(v, False) for v in q.probes]),
        "finite_difference_sliced_reduced": q.mean([q.differences(v, True) for v in q.probes]),
    },
    aliases=("fd_sliced", "fdssm", "finite_difference"),
    forms=tuple(
        {"energies": e, "variance_reduced": v, "square_at_x": s, "forward": f}
        for s, f in ((False, False), (True, False), (True, True))
        for e in (True, False)
        for v in (False, True)
        if not (e and f)
    ),
)
