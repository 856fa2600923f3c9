r"""Score matching in closed form: wherever the score is linear in the parameters, the loss is a quadratic.

Score means the gradient of log p in x. With s = s_base + sum_k theta_k grad F_k the implicit loss of n samples is
theta^T A theta / 2 + b^T theta + const, and its minimum one linear solve, theta = -A^-1 b. The Gaussian is such a family, the
truncated Gaussian and the exponential are with the weights of `objectives.generalised`, and so is a product of experts
with fixed directions: the output layer of an `EnergyMLP`. These are the analytic anchors for everything that is trained.

All take sample weights (n,), of which only the proportions count; a ridge, which adds ridge/2 |theta|^2 to the loss; and with
covariance=True return an `Estimate`, the value together with its covariance by the sandwich formula, see `errors`.
"""

from typing import NamedTuple

import numpy as np

from ..common.inputs import finite, numeric
from ..densities.weights import linear_weight, log_weight
from ..networks.activations import activation
from .arguments import data, given, refuse_outside, weight_pair
from .errors import Estimate, ridge_of, sample_weights, weighted_mean

NUMBERS = 262_144  # in one block of gradients


class Moments(NamedTuple):
    """What determines a Gaussian: mean (d,), [x], and cov (d, d), [x]^2. ``Gaussian(*moments)`` is the density."""

    mean: np.ndarray
    cov: np.ndarray


def gaussian(x, *, weights=None, ridge=0.0, covariance=False):
    r"""The Gaussian that minimises the implicit loss: exactly the sample's mean and 1/n covariance.

    .. math:: m = \bar x, \qquad C = \frac1n \sum_n (x_n - \bar x)(x_n - \bar x)^T

    Derivation: with precision K and s = -K (x - m) the loss is E|K (x - m)|^2 / 2 - tr K. Its gradient in m,
    -K^2 (E x - m), vanishes at the sample mean; that in K, with m there, is (K C + C K)/2 - I, which vanishes at K = C^-1,
    where the loss is -tr(C^-1)/2. So score matching and maximum likelihood agree on Gaussians. A ridge on K, ridge/2 |K|^2, adds
    ridge * K to the second equation: K = (C + ridge I)^-1, the covariance with its diagonal raised.

    Parameters
    ----------
    x : (n, d) array, n > d, or any n >= 1 with a ridge
    weights : (n,) array >= 0, optional
    ridge : float >= 0, [x]^2
        Raises the diagonal of the covariance.
    covariance : bool
        Return an `Estimate`.

    Returns
    -------
    Moments, or Estimate of it
        mean (d,) and cov (d, d). Errors in the order mean, then cov[i, j] by rows, i <= j.

    Raises
    ------
    ValueError
        If the samples lie in a subspace: their covariance is singular and the loss has no minimum.

    Source: Hyvarinen (2005), JMLR 6:695-709, section 3.1.
    """
    x = data("gaussian", x)
    w, ridge = sample_weights("gaussian", weights, len(x)), ridge_of("gaussian", ridge)
    mean = weighted_mean(x, w)
    centred = x - mean
    mean = mean + weighted_mean(centred, w)  # the rounding of the first mean
    centred = x - mean
    centred -= weighted_mean(
        centred, w
    )  # and of the second, which a float cannot hold: eps mean, squared in the covariance
    spread = (centred if w is None else w[:, None] * centred).T @ centred / len(x)
    cov = spread + ridge * np.eye(len(spread))
    _solve("gaussian", cov, np.zeros(len(cov)), "column")
    if not covariance:
        return Moments(mean, cov)
    first, second = np.triu_indices(len(mean))
    influence = np.column_stack([centred, centred[:, first] * centred[:, second] - spread[first, second]])
    return Estimate(Moments(mean, cov), _spread(influence, w))


def exponential_family(
    x, gradient, laplacian, *, h=None, h_prime=None, base_score=None, weights=None, ridge=0.0, covariance=False
):
    r"""The parameters of p proportional to p_base(x) exp(theta . F(x)) that minimise the implicit or generalised loss.

    .. math:: \theta = -\Bigl(E \sum_i \partial_i F\, \partial_i F^T\Bigr)^{-1} E\,[\Delta F]

    and with weights h_i and a base measure

    .. math:: \theta = -\Bigl(E \sum_i h_i\, \partial_i F\, \partial_i F^T\Bigr)^{-1}
        E \sum_i \bigl[h_i\, \partial_i^2 F + (h_i' + h_i\, s_{\mathrm{base},i})\, \partial_i F\bigr]

    Derivation: the score is s = s_base + sum_k theta_k grad F_k, so sum_i h_i s_i^2/2 + h_i' s_i + h_i d_i s_i is a
    quadratic in theta, with these two expectations as its matrix and its linear term.

    Parameters
    ----------
    x : (n, d) array
    gradient : (n, k, d) array, or callable of x that returns it
        Derivatives d_i F_k of the k statistics at the samples.
    laplacian : (n, k) or (n, k, d) array, or callable of x
        sum_i d_i^2 F_k; with h, which weighs the dimensions, the d_i^2 F_k themselves (n, k, d).
    h, h_prime : (n, d) arrays, or callables of x, optional
        Weights, for supports with a boundary: see `objectives.generalised`. h_i may depend on all coordinates, as that of
        `distance_weight` does; h_prime is dh_i/dx_i. On a curved surface in R^d, a sphere say, give gradients within the surface, the
        Laplacians of the surface (with h: spread over the d entries in any way), and the gradient of h.
    base_score : (n, d) array, or callable of x, optional
        Score of the base measure; 0 without it.
    weights : (n,) array >= 0, optional
    ridge : float >= 0, [loss]/[theta]^2
        Adds ridge/2 |theta|^2 to the loss: then k may exceed n d, as in kernel families.
    covariance : bool
        Return an `Estimate`.

    Returns
    -------
    theta : (k,) array, or Estimate of it

    Raises
    ------
    ValueError
        If the matrix is singular (statistics that are dependent, constant, or more than n d), or a shape does not fit.

    Source: Hyvarinen (2007), Comput. Statist. Data Anal. 51:2499-2512; the sphere, Mardia, Kent & Laha (2016), arXiv:1604.08470.
    """
    where = "exponential_family"
    x = data(where, x)
    n, d = x.shape
    G = given(where, "gradient", gradient, x, 3)
    k = G.shape[1]
    if (h is None) != (h_prime is None):
        raise ValueError(
            f"{where}: h and h_prime go together, and only one was given; pass both, *linear_weight() for example."
        )
    D2 = given(where, "laplacian", laplacian, x, 2 if h is None else 3)
    if G.shape != (n, k, d) or D2.shape != (n, k, d)[: D2.ndim]:
        raise ValueError(
            f"{where}: gradient has shape {G.shape} and laplacian {D2.shape}, expected ({n}, k, {d}) and "
            f"({n}, k{', ' + str(d) if h is not None else ''}) for {n} samples of dimension {d} and k statistics."
        )
    w = w_prime = None
    if h is not None:
        w, w_prime = (given(where, name, a, x, 2) for name, a in (("h", h), ("h_prime", h_prime)))
        if w.shape != x.shape or w_prime.shape != x.shape:
            raise ValueError(
                f"{where}: h has shape {w.shape} and h_prime {w_prime.shape}, expected that of x, {x.shape}."
            )
    base = None if base_score is None else given(where, "base_score", base_score, x, 2)
    if base is not None and base.shape != x.shape:
        raise ValueError(f"{where}: base_score has shape {base.shape}, expected that of x, {x.shape}.")
    refuse_outside(where, x, w)
    blocks = lambda at: (G[at], D2[at], *(None if a is None else a[at] for a in (w, w_prime, base)))
    theta, cov = _fit(where, n, k * d, blocks, sample_weights(where, weights, n), ridge_of(where, ridge), covariance)
    return Estimate(theta, cov) if covariance else theta


def exponential(x, h=None, h_prime=None, *, weights=None, ridge=0.0, covariance=False):
    r"""Rates of independent exponential densities on the half-lines [0, inf), by generalised score matching.

    .. math:: \mathrm{rate}_i = E[h_i'] / E[h_i]

    Derivation: s_i = -rate_i, so the loss is sum_i E[h_i] rate_i^2/2 - E[h_i'] rate_i. With h = x, the default, this is 1/mean:
    the maximum likelihood estimate. Plain implicit matching (h = 1) would say 0.

    Parameters
    ----------
    x : (n, d) array of numbers >= 0
    h, h_prime : callables (n, d) -> (n, d), or (n, d) arrays
        Weights, `linear_weight()` by default.
    weights : (n,) array >= 0, optional
    ridge : float >= 0, [h]
        Adds ridge/2 |rate|^2 to the loss, so that rate = E[h'] / (E[h] + ridge).
    covariance : bool
        Return an `Estimate`.

    Returns
    -------
    rate : (d,) array, 1/[x], or Estimate of it
        ``Exponential(rate)`` is the density.

    Raises
    ------
    ValueError
        If a sample is negative or a weight vanishes at all of them.

    Source: Yu, Drton & Shojaie (2019), JMLR 20(76); Hyvarinen (2007) for h = x^2.
    """
    x = data("exponential", x)
    if (x < 0).any():
        i, j = np.argwhere(x < 0)[0]
        raise ValueError(f"exponential: x[{i}, {j}] is {x[i, j]}, expected numbers >= 0 (first bad row: {i}).")
    w, w_prime = weight_pair("exponential", x, h, h_prime, linear_weight())
    each, ridge = sample_weights("exponential", weights, len(x)), ridge_of("exponential", ridge)
    total = weighted_mean(w, each) + ridge
    if not (total > 0).all():
        raise ValueError(
            f"exponential: the mean weight of column {int(np.argmin(total))} is 0, so its rate is not determined (h = x vanishes "
            f"where all samples are 0); remove the column, or choose another h."
        )
    rate = weighted_mean(w_prime, each) / total
    return Estimate(rate, _spread((w_prime - (w + ridge) * rate) / total, each)) if covariance else rate


def truncated_gaussian(
    x, lower=-np.inf, upper=np.inf, h=None, h_prime=None, *, weights=None, ridge=0.0, covariance=False
):
    r"""Mean and covariance, before truncation, of a Gaussian restricted to a box, without its normaliser.

    .. math:: s_i = \eta_i - \sum_j K_{ij} x_j, \qquad C = K^{-1}, \quad m = K^{-1} \eta

    The score does not know the box, so this is an exponential family with statistics x_i, -x_i^2/2 and -x_i x_j, solved with
    weights that vanish at the ends (see `exponential_family`), in standardised coordinates. Unlike `gaussian` it is not
    maximum likelihood, only consistent; without ends it is the sample's mean and covariance again.

    Parameters
    ----------
    x : (n, d) array inside the box
    lower, upper : scalars or (d,) arrays, [x]
    h, h_prime : callables (n, d) -> (n, d), or (n, d) arrays
        Weights; by default `log_weight` of the distance to the nearer end in standard deviations of the column. For a normal cut
        at 0, unit variance, mean -2, 0, 1.5, both unknown, it has the efficiencies .92, .995, .955 for the variance, where the distance
        itself has .97, .88, .77 and its square .42, .37, .36; with one of the two known see `asymptotics.efficiency`.
    weights : (n,) array >= 0, optional
    ridge : float >= 0, without unit
        Adds ridge/2 (|eta|^2 + sum_{i <= j} K_ij^2) to the loss in standardised coordinates.
    covariance : bool
        Return an `Estimate`; errors in the order mean, then cov[i, j] by rows, i <= j.

    Returns
    -------
    Moments, or Estimate of it
        ``TruncatedGaussian(*moments, lower, upper)`` is the density.

    Raises
    ------
    ValueError
        If a sample lies outside the box, or too few samples leave the parameters undetermined or K not positive definite.

    Source: Hyvarinen (2007), Comput. Statist. Data Anal. 51:2499-2512; Yu, Drton & Shojaie (2019), JMLR 20(76).
    """
    where = "truncated_gaussian"
    x = data(where, x)
    n, d = x.shape
    if not np.all((lower <= x) & (x <= upper)):
        i, j = np.argwhere(~((lower <= x) & (x <= upper)))[0]
        raise ValueError(
            f"{where}: x[{i}, {j}] is {x[i, j]}, outside the box from {lower} to {upper} (first bad row: {i}); remove such rows, "
            f"or give the box that the data have."
        )
    each, ridge = sample_weights(where, weights, n), ridge_of(where, ridge)
    centre = weighted_mean(x, each)
    scale = np.sqrt(weighted_mean((x - centre) ** 2, each))
    if not (scale > 0).all():
        raise ValueError(f"{where}: column {int(np.argmin(scale))} is constant, so its variance is 0; remove it.")
    z = (x - centre) / scale
    if h is None and h_prime is None:
        w, w_prime = (a(x) for a in log_weight(lower, upper, scale=scale))  # h without unit
        w_prime = w_prime * scale
    else:
        w, w_prime = weight_pair(where, x, h, h_prime, None)
        w, w_prime = w / scale**2, w_prime / scale  # per dimension, h s^2 keeps its value
    first, second = np.triu_indices(d)
    blocks = lambda at: (*_quadratic(z[at], first, second), w[at], w_prime[at], None)
    k = d + len(first)
    theta, spread = _fit(where, n, k * d, blocks, each, ridge, covariance)  # eta, then K_ij by rows, i <= j
    K = np.zeros((d, d))
    K[first, second] = K[second, first] = theta[d:]
    least = np.linalg.eigvalsh(K)[0]
    if not least > 0:
        raise ValueError(
            f"{where}: the estimated precision is not positive definite (smallest eigenvalue {least:.3g} in standard units), so "
            f"there is no Gaussian with it. In this box the {n} samples look no more concentrated than a uniform density; "
            f"more samples or a wider box would tell."
        )
    cov = np.linalg.inv(K)
    moments = Moments(centre + scale * (cov @ theta[:d]), 0.5 * (cov + cov.T) * np.outer(scale, scale))
    if not covariance:
        return moments
    J = _moments_by_natural(cov, theta[:d], scale)
    return Estimate(moments, J @ spread @ J.T)


def _quadratic(z, first, second):
    """Derivatives (n, k, d) and second derivatives (1, k, d) of the statistics z_i, then -z_i^2/2 and -z_i z_j by rows, i <= j."""
    n, d = z.shape
    k, row = d + len(first), np.arange(d, d + len(first))
    half = np.where(first == second, 0.5, 1.0)  # the two lines below meet where i = j
    G, D2 = np.zeros((n, k, d)), np.zeros((1, k, d))
    G[:, np.arange(d), np.arange(d)] = 1
    G[:, row, first] -= half * z[:, second]
    G[:, row, second] -= half * z[:, first]
    D2[:, row, first] -= first == second
    return G, D2


def _moments_by_natural(cov, eta, scale):
    """d (mean, cov) / d (eta, K) (k, k) of m = C eta, C = K^-1, in the units of the data: dm = C (d eta - dK m), dC = -C dK C."""
    d = len(eta)
    first, second = np.triu_indices(d)
    J = np.zeros((d + len(first), d + len(first)))
    J[:d, :d] = cov * scale[:, None]
    for row, (i, j) in enumerate(zip(first, second, strict=True), start=d):
        dK = np.zeros((d, d))
        dK[i, j] = dK[j, i] = 1.0
        J[:d, row] = -scale * (cov @ dK @ cov @ eta)
        J[d:, row] = -(cov @ dK @ cov * np.outer(scale, scale))[first, second]
    return J


def product_of_experts(
    x, W, b, activation_name="softplus", *, confinement=0.0, weights=None, ridge=0.0, covariance=False
):
    r"""The weights of a product of experts with fixed directions: the output layer of an `EnergyMLP`, trained exactly.

    .. math:: f(x) = \sum_k \alpha_k\, \phi(x \cdot W_k + b_k) + \tfrac\lambda2 |x|^2, \qquad
        A_{kl} = E[\phi_k' \phi_l']\, W_k \cdot W_l, \quad
        \alpha = A^{-1} \bigl(E[\phi_k''] |W_k|^2 - \lambda E[\phi_k'\, x \cdot W_k]\bigr)

    `exponential_family` with F_k = -phi(x . W_k + b_k); with directions learnt elsewhere, ICA's exponents.

    Parameters
    ----------
    x : (n, d) array
    W : (d, k) array
        Directions as columns, as in the first layer of a network.
    b : (k,) array
    activation_name : str or Activation
        Twice differentiable.
    confinement : float
        lambda.
    weights : (n,) array >= 0, optional
    ridge : float >= 0
        Adds ridge/2 |alpha|^2 to the loss.
    covariance : bool
        Return an `Estimate`.

    Returns
    -------
    alpha : (k,) array, or Estimate of it
        ``EnergyMLP.from_arrays([(W, b), (alpha[:, None], [0.0])], activation, confinement=...)`` minimises `implicit` on x among
        all output layers.

    Raises
    ------
    ValueError
        If A is singular: experts that are dependent on these samples.

    Source: Hyvarinen (2005), JMLR 6:695-709; Hyvarinen (2007).
    """
    where = "product_of_experts"
    x = data(where, x)
    W, b = (np.asarray(numeric(where, name, a), float) for name, a in (("W", W), ("b", b)))
    if W.ndim != 2 or W.shape[0] != x.shape[1] or b.shape != W.shape[1:]:
        raise ValueError(
            f"{where}: W has shape {W.shape} and b {b.shape}, expected ({x.shape[1]}, k) and (k,): a column of W for each expert."
        )
    finite(where, "W", W)
    finite(where, "b", b)
    row = activation(where, activation_name)
    if not row.smooth:
        raise ValueError(
            f"{where}: activation {row.name!r} is not twice differentiable; use softplus or another smooth one."
        )
    each, ridge = sample_weights(where, weights, len(x)), ridge_of(where, ridge)
    A, right, inner, norm = np.zeros((len(b), len(b))), np.zeros(len(b)), W.T @ W, np.sum(W**2, 0)

    def block(at):
        y = x[at] @ W
        _, d1, d2 = row(y + b, 2)
        return d1, d2 * norm - confinement * d1 * y, 1.0 if each is None else each[at, None]

    for at in _slices(len(x), max(W.shape)):
        d1, push, w = block(at)
        A += (w * d1).T @ d1
        right += (w * push).sum(0)
    A = A * inner / len(x) + ridge * np.eye(len(b))
    alpha = _solve(where, A, right / len(x), "expert")
    if not covariance:
        return alpha
    B = np.zeros_like(A)
    for at in _slices(len(x), max(W.shape)):
        d1, push, w = block(at)
        slope = w * (d1 * ((d1 * alpha) @ inner) - push + ridge * alpha)
        B += slope.T @ slope
    inverse = np.linalg.inv(A)
    return Estimate(alpha, inverse @ B @ inverse / len(x) ** 2)


# ------------------------------------------------------------------------------- the quadratic, and its minimum


def _fit(where, n, width, blocks, weights, ridge, covariance):
    """The minimum theta of the quadratic, and its covariance if asked for, from blocks of (gradient, second derivatives, h, h', base)."""
    A = b = 0
    for at in _slices(n, width):
        each = 1.0 if weights is None else weights[at, None, None]
        G, flat, push = _equations(blocks(at))
        A, b = A + flat(each * G).T @ flat(G), b + (each * push[:, :, None]).sum((0, 2))
    A = A / n
    A = A + ridge * np.eye(len(A))
    theta = -_solve(where, A, b / n, "statistic")
    if not covariance:
        return theta, None
    B = 0
    for at in _slices(n, width):
        each = 1.0 if weights is None else weights[at, None]
        G, _, push = _equations(blocks(at))
        slope = each * (np.einsum("nkd,nld,l->nk", G, G, theta) + push + ridge * theta)  # d rho, of mean 0
        B = B + slope.T @ slope
    inverse = np.linalg.inv(A)
    return theta, inverse @ B @ inverse / n**2


def _equations(block):
    """sqrt(h_i) d_iF (n, k, d), how it is flattened to (samples and dimensions, k), and sum_i h_i d_i^2F + (h_i' + h_i s_base,i) d_iF (n, k)."""
    G, D2, w, w_prime, base = block
    if w is None:
        push = np.broadcast_to(D2, G.shape[:2])
    else:
        push = np.einsum("nkd,nd->nk", np.broadcast_to(D2, G.shape), w) + np.einsum("nkd,nd->nk", G, w_prime)
    if base is not None:
        push = push + np.einsum("nkd,nd->nk", G, base if w is None else w * base)
    return G if w is None else G * np.sqrt(w)[:, None], lambda a: a.swapaxes(1, 2).reshape(-1, a.shape[1]), push


def _spread(influence, weights):
    """Covariance of an estimate from the influence of each sample (n, k)."""
    influence = influence if weights is None else weights[:, None] * influence
    return influence.T @ influence / len(influence) ** 2


def _solve(where, A, b, what):
    """A^-1 b for a symmetric A that must be positive definite, whatever the units of its rows."""
    size = np.sqrt(np.diag(A))
    if not (size > 0).all():
        raise ValueError(
            f"{where}: {what} {int(np.argmin(size))} has no derivative at any sample, or is constant: the system is singular and "
            f"the loss does not determine its parameter. Leave it out."
        )
    R = A / size / size[:, None]
    values, vectors = np.linalg.eigh(R)
    floor = len(A) * np.finfo(float).eps * 4
    if not values[0] > floor:
        share = vectors[:, 0] / size
        names = np.argsort(-np.abs(vectors[:, 0]))[:4]
        combination = ", ".join(f"{share[i]:+.3g} x {what} {i}" for i in names)
        raise ValueError(
            f"{where}: the system is singular to rounding (smallest eigenvalue {values[0]:.2g} of a matrix with unit diagonal, "
            f"expected above {floor:.2g}): the combination {combination} is constant on the samples, so the loss does not "
            f"determine its parameter. Leave one of them out, or use more samples."
        )
    return np.linalg.solve(R, b / size) / size


def _slices(n, width):
    step = max(1, NUMBERS // width)
    return (slice(start, min(n, start + step)) for start in range(0, n, step))
