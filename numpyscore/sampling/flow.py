r"""The probability-flow ODE: noise and data joined by a bijection, and so exact likelihoods, as the trace is exact.

.. math:: \frac{dx}{d\log\sigma} = -\sigma^2 s(x; \sigma), \qquad
    \frac{d}{d\log\sigma} \log \Bigl| \det \frac{\partial x}{\partial x_0} \Bigr| = -\sigma^2\, \mathrm{tr}\, \partial_x s(x; \sigma)

Its paths carry q_sigma from one noise level to the next, if s is the score of q_sigma. For any s of at most linear growth in x they are a
bijection: the density that it makes of a prior at sigma_max integrates to one, and is the density of the model. A score that grows faster
sends points to infinity on the way: s = x^3 from sigma 2 to 1/2 leaves .2037 of the mass.

A model here is a family of targets: a conditional network, or a function sigma -> density such as `density.perturbed`.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, generator, numeric, positive
from ..densities import Gaussian
from .targets import at_level, score_and_trace, score_of, starts

NUMBERS = 16_384  # in the state of one block of samples
LEAST = 3e-14  # relative tolerance below which SciPy's solvers see rounding alone
PATIENCE = 300  # steps after which, and after as many more, it is asked whether the explicit rule is held back by its stability
STABLE = 3.0  # step x rate of contraction at which it is: the rule is stable to about 6 (Hairer, Norsett & Wanner 1993)
FINER = 100.0  # times finer for the implicit rule, of order 5 at most, whose errors add up
FLOOR = 2.3e-14  # its least tolerance


class Transported(NamedTuple):
    """x (n, d): where the paths end. log_volume (n,): log |det| of end over start; None if it was not asked for."""

    x: np.ndarray
    log_volume: np.ndarray | None


def transport(model, x, sigma, sigma_to, *, volume=True, rtol=1e-10):
    r"""Follow the probability flow from one noise level to another.

    .. math:: \log q_\sigma(x) = \log q_{\sigma'}(x') + \log \Bigl| \det \frac{\partial x'}{\partial x} \Bigr|

    Parameters
    ----------
    model : family of targets
        A conditional network, or a function sigma -> density such as density.perturbed.
    x : (n, d) array, [x]
        Points at level sigma.
    sigma, sigma_to : positive floats, [x]
        Either may be the larger.
    volume : bool
        Compute log_volume, which needs the trace.
    rtol : float
        Tolerance of a step, relative to x and absolute, in units of the smaller sigma, for x; absolute, in nats, for
        log_volume. It holds for every number of every sample and not for their root mean square, as SciPy's own does: the
        tolerance given to it is smaller by the root of how many there are.

    Returns
    -------
    Transported
        In the common dtype of x and the model; arithmetic is float64.

    Raises
    ------
    ValueError
        If rtol is too small for float64, or a path cannot be followed.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole (2021), ICLR, arXiv:2011.13456, section 4.3; the volume, Chen,
    Rubanova, Bettencourt & Duvenaud (2018), NeurIPS 31, Theorem 1.
    Test: test_flow.py::test_paths_of_a_gaussian_are_known
    """
    where = "transport"
    sigma, sigma_to = positive(where, "sigma", sigma), positive(where, "sigma_to", sigma_to)
    x, rtol = starts(where, x, name="x"), positive(where, "rtol", rtol)
    n, d = x.shape
    dtype = np.result_type(x, at_level(where, model, sigma).score(x[:1]))
    size = int(min(NUMBERS, (rtol / LEAST) ** 2) / (d + 1))
    if size < 1:
        raise ValueError(
            f"{where}: rtol is {rtol:.1e}, expected at least {LEAST * math.sqrt(d + 1):.1e} in dimension {d}, where rounding begins."
        )
    y, log_volume = np.empty((n, d), dtype), np.zeros(n, dtype)
    for start in range(0, n, size):
        at = slice(start, start + size)
        y[at], log_volume[at] = _paths(where, model, x[at].astype(float), sigma, sigma_to, volume, rtol)
    return Transported(y, log_volume if volume else None)


def _paths(where, model, x, sigma, sigma_to, volume, rtol):
    """End points and log volumes of one block, as one system of equations in u = log sigma.

    Between far modes, where the score jumps, paths are drawn to the plane of equal weights at a rate that allows an explicit rule tiny
    steps only: there an implicit one goes on.
    """
    from scipy.integrate import DOP853, LSODA

    shape = x.shape[0], x.shape[1] + int(volume)

    def slope(u, state):
        level = math.exp(u)
        target, z = at_level(where, model, level), np.ascontiguousarray(state.reshape(shape)[:, : x.shape[1]])
        if not volume:
            return -(level**2) * score_of(where, target, z).ravel()
        score, trace = score_and_trace(where, target, z)
        return -(level**2) * np.column_stack([score, trace]).ravel()

    start = np.zeros(shape)
    start[:, : x.shape[1]] = x
    tolerance = rtol / math.sqrt(start.size)
    unit = np.full(shape, min(sigma, sigma_to))
    unit[:, x.shape[1] :] = 1.0
    options, end = {"rtol": tolerance, "atol": tolerance * unit.ravel()}, math.log(sigma_to)
    solver, steps, message = DOP853(slope, math.log(sigma), start.ravel(), end, **options), 0, None
    while solver.status == "running":
        message, steps = solver.step(), steps + 1
        if steps % PATIENCE == 0 and solver.status == "running" and isinstance(solver, DOP853):
            rate = _rate(slope, solver.t, solver.y.reshape(shape), x.shape[1])
            if rate * abs(solver.step_size) > STABLE:
                finer = {name: np.maximum(tol / FINER, FLOOR) for name, tol in options.items()}
                solver = LSODA(slope, solver.t, solver.y, end, lband=x.shape[1], uband=x.shape[1], **finer)
    if solver.status == "failed":
        raise ValueError(
            f"{where}: the path stops at sigma = {math.exp(solver.t):.4g} on the way from {sigma:.4g} to {sigma_to:.4g} "
            f"({message}). A score that changes this fast is hardly that of noisy data; a larger rtol may do."
        )
    final = solver.y.reshape(shape)
    return final[:, : x.shape[1]], final[:, -1]  # without volume the second is a coordinate, and not used


def _rate(slope, u, state, d):
    """The fastest contraction or expansion of a path, per unit of u: the largest eigenvalue of all d slope / d x, by differences."""
    here, J = slope(u, state).reshape(state.shape)[:, :d], np.empty((len(state), d, d))
    for j in range(d):
        h = math.sqrt(np.finfo(float).eps) * (math.exp(u) + np.abs(state[:, j]))  # between rounding and curvature
        moved = state.copy()
        moved[:, j] += h
        J[:, :, j] = (slope(u, moved).reshape(state.shape)[:, :d] - here) / h[:, None]
    return np.abs(np.linalg.eigvals(J)).max()


def log_likelihood(model, x, *, sigma_min, sigma_max, prior=None, rtol=1e-10):
    r"""Log density of the model at x in nats, exact up to the tolerance of the ODE: flow to sigma_max, ask the prior there.

    .. math:: \log p(x) = \log \pi(x') - \int_{\sigma_{\min}}^{\sigma_{\max}} \sigma\, \mathrm{tr}\, \partial_x s(x(\sigma); \sigma)\, d\sigma

    Parameters
    ----------
    model : family of targets
        A conditional network, or a function sigma -> density such as density.perturbed.
    x : (n, d) array, [x]
    sigma_min, sigma_max : positive floats, [x]
        The density is that at level sigma_min: of data with this noise on them, if the score is right.
    prior : density with logpdf, optional
        At level sigma_max; default N(0, sigma_max^2 I), fair where sigma_max is much larger than the spread of centred data.
        With density.perturbed as the model, density.perturbed(sigma_max) makes the result that of its perturbed(sigma_min).
    rtol : float
        See `transport`.

    Returns
    -------
    log_p : (n,) array, nats
        With any prior that is a density and a score of at most linear growth, exp(log_p) integrates to one over x; a score that grows
        faster far out is told by a RuntimeWarning. See `bits_per_dimension` for bits.

    Raises
    ------
    ValueError
        If sigma_min is not below sigma_max, or as `transport`.

    Source: Song et al. (2021), ICLR, arXiv:2011.13456, section 4.3 and Appendix D.2.
    Test: test_flow.py::test_log_likelihood_is_the_closed_form
    """
    low, high = _ends("log_likelihood", sigma_min, sigma_max)
    _warn_of_growth("log_likelihood", model, x, (low, high))
    y, log_volume = transport(model, x, low, high, rtol=rtol)
    d = y.shape[1]
    prior = _noise(d, high) if prior is None else prior
    log_p = prior.logpdf(y) + log_volume
    # what an error of rtol |x'| does to log pi(x'), in units of rtol: d for an ordinary row, |x'|^2 / sigma_max^2 for one far out
    size = np.abs(prior.logpdf(y * (1 + 1e-6)) - prior.logpdf(y)) / 1e-6
    far = size > 10 * d
    finest = 10 * LEAST * math.sqrt(d + 1)
    if far.any() and rtol > finest:
        y, log_volume[far] = transport(
            model, np.asarray(x)[far], low, high, rtol=max(finest, rtol * d / size[far].max())
        )
        log_p[far] = prior.logpdf(y) + log_volume[far]
    return log_p.astype(log_volume.dtype, copy=False)


def sample_flow(model, n, *, sigma_min, sigma_max, prior=None, rng=None, rtol=1e-6):
    r"""Samples of the model: draws from the prior, carried down the probability flow from sigma_max to sigma_min.

    Their density is that of `log_likelihood`, with the same arguments.

    Parameters
    ----------
    model : family of targets
    n : int
    sigma_min, sigma_max : positive floats, [x]
    prior : density with sample and dim, optional
        At level sigma_max; default N(0, sigma_max^2 I).
    rng : seed or numpy.random.Generator
    rtol : float
        See `transport`; samples need fewer digits than likelihoods.

    Returns
    -------
    samples : (n, d) array, [x]

    Raises
    ------
    ValueError
        If sigma_min is not below sigma_max, or as `transport`.

    Source: Song et al. (2021), ICLR, arXiv:2011.13456, section 4.3.
    Test: test_flow.py::test_samples_have_the_density
    """
    low, high = _ends("sample_flow", sigma_min, sigma_max)
    dim = getattr(model, "dim", None) or at_level("sample_flow", model, high).dim
    prior = _noise(dim, high) if prior is None else prior
    x = prior.sample(count("sample_flow", "n", n, least=0), rng=generator("sample_flow", rng))
    return transport(model, x, high, low, volume=False, rtol=rtol).x


class Residual(NamedTuple):
    """change = ds/d(sigma^2), spread = 1/2 grad(tr + |s|^2), residual = change - spread, and a bound of each's error, all (n, d), 1/[x]^3."""

    residual: np.ndarray
    change: np.ndarray
    spread: np.ndarray
    error: np.ndarray


def fokker_planck_residual(model, x, sigma):
    r"""How far a family of scores is from belonging to one density with more and more noise on it.

    .. math:: \partial_{\sigma^2} s - \tfrac12 \nabla \left( \mathrm{tr}\, \partial_x s + |s|^2 \right) = 0

    This is the gradient of the heat equation of log q. Each level of a conditional network is fitted alone; where this is not small the
    levels contradict each other, and likelihoods by the flow and samples by the diffusion do too.

    Parameters
    ----------
    model : family of targets
        A conditional network, or a function sigma -> density such as density.perturbed.
    x : (n, d) array, [x]
    sigma : positive float, [x]

    Returns
    -------
    Residual
        By central differences in sigma^2 and in x with steps of sigma/8, sigma/16, ..., extrapolated to 0 (Richardson).

    Raises
    ------
    ValueError
        If sigma is not positive or x is not (n, d).

    Source: Lai, Takida, Murata, Uesaka, Mitsufuji & Ermon (2023), ICML, arXiv:2210.04296.
    Test: test_flow.py::test_the_fokker_planck_residual_of_noisy_densities_is_zero
    """
    where = "fokker_planck_residual"
    sigma, x = positive(where, "sigma", sigma), np.asarray(starts(where, x, name="x"), float)
    d = x.shape[1]

    def potential(y):
        score, trace = score_and_trace(where, target, y)
        return 0.5 * (trace + np.sum(score**2, 1))

    def extrapolated(slope, step):
        """Romberg's table of a central difference, and how far its last two corners are apart."""
        row, last = [slope(step)], []
        for k in range(1, 6):
            last, row = row, [slope(step / 2**k)]
            for i, coarse in enumerate(last):
                row.append(row[i] + (row[i] - coarse) / (4 ** (i + 1) - 1))
        return row[-1], np.abs(row[-1] - last[-1]) + np.abs(row[-1] - row[-2])

    at = lambda t: score_of(where, at_level(where, model, math.sqrt(t)), x)
    change, error = extrapolated(lambda h: (at(sigma**2 + h) - at(sigma**2 - h)) / (2 * h), sigma**2 / 8)
    target, spread, errors = at_level(where, model, sigma), np.empty_like(x), np.empty_like(x)
    for i, e in enumerate(np.eye(d)):
        slope = lambda h, e=e: (potential(x + h * e) - potential(x - h * e)) / (2 * h)
        spread[:, i], errors[:, i] = extrapolated(slope, sigma / 8)
    # rounding at the finest step, sigma / 256 in x and sigma^2 / 256 in sigma^2, a few times a unit of the last place, of x too
    size = (
        np.abs(at(sigma**2)).max(1) / sigma**2
        + (np.abs(potential(x)) + np.max(np.abs(x), 1) * np.max(np.abs(spread), 1)) / sigma
    )
    return Residual(change - spread, change, spread, error + errors + 1024 * np.finfo(float).eps * (1 + size)[:, None])


def bits_per_dimension(log_p, dim, *, scale=1.0):
    r"""Bits per dimension of log densities in nats, in the units of the raw data.

    .. math:: b = -\frac{\log p(x) - \sum_j \log c_j}{d \log 2}, \qquad \mathrm{raw}_j = c_j x_j + \mathrm{const}

    For whole numbers as raw data, dequantised as raw + u with u uniform on [0, 1): the mean of b over u bounds from above the
    bits that a code for the whole numbers needs. 8 x 8 digits as x = (pixel + u) / 17 have c = 17; standardised columns
    have the standard deviation they were divided by.

    Parameters
    ----------
    log_p : (n,) array, nats
        Log density of x, as from `log_likelihood`.
    dim : int, d
    scale : positive scalar or (d,) array, c

    Returns
    -------
    bits : (n,) array

    Source: dequantisation and its bound, Theis, van den Oord & Bethge (2016), ICLR, arXiv:1511.01844.
    Test: test_flow.py::test_bits_are_those_of_the_raw_data
    """
    where = "bits_per_dimension"
    dim, c = count(where, "dim", dim), numeric(where, "scale", scale)
    if c.shape not in ((), (dim,)) or not np.all(c > 0) or not np.isfinite(c).all():
        raise ValueError(
            f"{where}: scale is {scale!r}, expected one positive number or {dim}, the units of x in raw units."
        )
    return -(numeric(where, "log_p", log_p) - np.log(np.broadcast_to(c, (dim,))).sum()) / (dim * math.log(2))


def _warn_of_growth(where, model, x, levels):
    """Warn if the score far outside x, at 20 to 400 times its reach, grows faster than linearly: then mass leaves the flow."""
    x = starts(where, x, name="x")
    if not len(x):
        return
    direction = np.random.default_rng(0).standard_normal((4, x.shape[1]))
    direction *= 20 * (levels[1] + np.abs(x).max()) / np.linalg.norm(direction, axis=1, keepdims=True)
    for sigma in levels:
        target = at_level(where, model, sigma)
        near, far = (np.linalg.norm(score_of(where, target, r * direction), axis=1) for r in (1.0, 20.0))
        if np.any(far > 20**1.5 * near) and np.any(far * sigma > 1):
            warnings.warn(
                f"{where}: at sigma = {sigma:g} the score grows like |x|^{np.log((far / np.maximum(near, 1e-300)).max()) / np.log(20):.2g} far "
                f"out, expected at most linear growth: paths come from infinity, and exp(log p) integrates to less than one.",
                RuntimeWarning,
                stacklevel=3,
            )
            return


def _ends(where, sigma_min, sigma_max):
    low, high = positive(where, "sigma_min", sigma_min), positive(where, "sigma_max", sigma_max)
    if not low < high:
        raise ValueError(f"{where}: sigma_min is {low} and sigma_max {high}, expected sigma_min < sigma_max.")
    return low, high


def _noise(dim, sigma):
    """The density of noise alone."""
    return Gaussian(np.zeros(dim), sigma**2)
