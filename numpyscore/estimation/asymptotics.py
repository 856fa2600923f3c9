r"""What a loss costs in samples: asymptotic variances by quadrature, and the weight that loses nothing.

A family theta -> p_theta is fitted by the minimum of a mean of local losses rho(x; theta). With n samples of p_theta itself the minimum
spreads around theta with the covariance

.. math:: \frac1n A^{-1} B A^{-1}, \qquad A = E\, \partial_\theta^2 \rho, \quad B = \mathrm{Cov}\, \partial_\theta \rho

Every loss here is a weighted explicit one up to a constant, so at the truth A needs first derivatives of the score alone,
A = E sum_i h_i (d_theta s_i)(d_theta s_i)^T. Maximum likelihood has A = B, the Fisher information, and no consistent loss does better.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import count, numeric, positive
from ..numerics.quadrature import Frame, expectation, integrate

LOSSES = ("implicit", "generalised", "denoising", "sliced", "likelihood")
STEP, HALVINGS = 1 / 16, 4  # of a difference in theta, relative where it is not 0; Richardson to the order 2 HALVINGS
REACH, NODES = 9.0, 180  # of the inner mean over noise: trapezoidal rule on [-REACH, REACH], twice NODES intervals
LEGENDRE = np.polynomial.legendre.leggauss(12)


class Efficiency(NamedTuple):
    """efficiency (k,): bound / variance, at most 1. variance, bound (k, k): n times the covariance, and the Cramer-Rao bound."""

    efficiency: np.ndarray
    variance: np.ndarray
    bound: np.ndarray


def asymptotic_variance(
    family,
    theta,
    loss="implicit",
    *,
    h=None,
    h_prime=None,
    sigma=None,
    noise="drawn",
    probe="rademacher",
    n_probes=1,
    variance_reduced=True,
    derivatives=None,
    breaks=(),
    rtol=1e-10,
):
    r"""n times the covariance of the estimate that minimises a loss, for samples of the family at theta, n large.

    .. math:: V = A^{-1} B A^{-1}

    ==============  ==================================================================================================
    loss            d_theta rho, whose covariance is B
    ==============  ==================================================================================================
    "implicit"      s . ds + tr dJ
    "generalised"   sum_i h_i s_i ds_i + h_i' ds_i + h_i dJ_ii
    "sliced"        the implicit one, plus the variance of v^T (dJ) v over the probes, divided by their number; without variance
                    reduction that of v^T (dJ + sym s ds^T) v
    "denoising"     noise="drawn", one eps for a sample: ds . (s + eps/sigma), of covariance E ds^T (I/sigma^2 + J) ds by
                    Tweedie's second formula; noise="integrated", endless eps for each sample: E_eps[s . ds + tr dJ](x + sigma eps)
    "likelihood"    d_theta log p: V is the Cramer-Rao bound
    ==============  ==================================================================================================

    Parameters
    ----------
    family : callable, theta (k,) -> density
        With logpdf, score, jacobian, and for denoising perturbed; anything that `expectation` takes. A family of one parameter is
        called with a number. It is differenced in theta (Richardson's extrapolation, about 1e-11), so it must be smooth there.
    theta : number or (k,) array
    loss : str
        One of the table.
    h, h_prime : callables (n, d) -> (n, d)
        Weights of "generalised"; h_prime is dh_i/dx_i. See `densities.weights`.
    sigma : positive float, [x]
        Noise of "denoising"; the model is the family with noise, p_theta * N(0, sigma^2 I).
    noise : "drawn" or "integrated"
        The second in one dimension only.
    probe, n_probes, variance_reduced
        Of "sliced": "rademacher", "gaussian" or "sphere".
    derivatives : callable, x (n, d) -> ((n, k), (n, k, d), (n, k, d, d)), optional
        Derivatives in theta of log p, score and Jacobian, by hand, where differences would be lost in rounding: the score of a mixture in
        its far tails depends on the weights by less than 1e-16. Not for "denoising".
    breaks : see `expectation`
        Kinks of h, for example.
    rtol : float
        Of the quadrature.

    Returns
    -------
    variance : (k, k) array, [theta]^2; divide by n for the covariance of an estimate

    Raises
    ------
    ValueError
        For an unknown loss, an option without effect, a score that does not depend on theta, or a mean that does not exist.

    Source: Hyvarinen (2005); Koehler, Heckett & Risteski (2023), ICLR, arXiv:2210.00726; the sandwich of van der Vaart (1998), Theorem 5.21.
    Test: test_asymptotics.py::test_weight_of_two_modes
    """
    where = "asymptotic_variance"
    theta, family = _parameters(where, family, theta)
    _options(where, loss, h, h_prime, sigma, noise)
    if loss == "denoising":
        sigma = positive(where, "sigma", sigma)
        clean, family = family(theta), lambda t, clean=family: clean(t).perturbed(sigma)
        if noise == "integrated":
            return _sandwich(where, *_integrated(where, clean, family, theta, sigma, breaks, rtol))
        if derivatives is not None:
            raise ValueError(
                f"{where}: derivatives have no effect on 'denoising', whose family is the noisy one; leave them out."
            )
    density = family(theta)
    d, by_theta = density.dim, derivatives or _derivatives(family, theta)
    M = count(where, "n_probes", n_probes)

    def columns(x):
        """A and B at each point, (n, 2, k, k), and d rho (n, k)."""
        if loss == "likelihood":
            push = by_theta(x)[0] if derivatives else _slopes(lambda t: family(t).logpdf(x), theta).T  # (n, k)
            second = push[:, :, None] * push[:, None, :]
            return second, second, push
        s, (_, ds, dJ) = density.score(x), by_theta(x)
        if loss == "denoising":
            inside = np.eye(d) / sigma**2 + density.jacobian(x)  # Cov[eps/sigma | x~]
            return _gram(ds, ds), np.einsum("nai,nij,nbj->nab", ds, inside, ds), np.zeros(ds.shape[:2])
        w, slope = (np.ones_like(x), np.zeros_like(x)) if loss != "generalised" else (h(x), h_prime(x))
        push = np.einsum("nki,ni->nk", ds, w * s + slope) + np.einsum("nkii,ni->nk", dJ, w)
        outer = push[:, :, None] * push[:, None, :]
        if loss == "sliced":
            S = dJ  # symmetric, as the Jacobian of a gradient is
            if not variance_reduced:
                S = S + 0.5 * (ds[..., :, None] * s[:, None, None, :] + ds[..., None, :] * s[:, None, :, None])
            outer = outer + _probe_covariance(where, S, probe) / M
        return _gram(ds * w[:, None], ds), outer, push

    A, second, push = _means(where, columns, density, breaks, rtol)
    return _sandwich(where, A, second - np.outer(push, push))


def efficiency(family, theta, loss="implicit", **options):
    """How much of the information in the samples a loss uses: the Cramer-Rao bound over its variance, for each parameter.

    Arguments, units and errors are those of `asymptotic_variance`; 1/efficiency is how many times as many samples the loss needs as maximum
    likelihood.

    Returns
    -------
    Efficiency

    Test: test_asymptotics.py::test_the_stein_weight_loses_nothing
    """
    variance = asymptotic_variance(family, theta, loss, **options)
    shared = {name: options[name] for name in ("rtol", "derivatives") if name in options}
    bound = asymptotic_variance(family, theta, "likelihood", **shared)
    return Efficiency(np.diag(bound) / np.diag(variance), variance, bound)


def stein_weight(family, theta, *, derivatives=None, rtol=1e-13):
    r"""The weight with which generalised score matching is as good as maximum likelihood: one parameter, one dimension.

    .. math:: h = \frac{\tau}{\partial_\theta s}, \qquad \tau(x) = \frac{1}{p(x)} \int_x^{\mathrm{sup}} \partial_\theta \log p\; p\, dx

    tau is the Stein kernel of d_theta log p: (p tau)' = -p d_theta log p, so h s ds + h' ds + h dJ = tau s_0 + tau' = -d_theta log p, and the
    equation of the weighted loss is that of the likelihood. Where d_theta s changes its sign there is no such weight. tau vanishes at the
    ends of the support by itself, whether p does or not.

    Parameters
    ----------
    family : callable, number -> density in one dimension
    theta : number
        Where the weight is taken. In practice a first estimate.
    derivatives : see `asymptotic_variance`
    rtol : float
        Of the tails' integrals.

    Returns
    -------
    h, h_prime : callables (n, 1) -> (n, 1)
        A pair for `generalised` and for `estimators.exponential_family`.

    Source: h = tau / F' of the Stein kernel tau, Ley, Reinert & Swan (2017), Probab. Surv. 14:1-52.
    Test: test_asymptotics.py::test_the_stein_weight_loses_nothing
    """
    theta, family = _parameters("stein_weight", family, theta)
    density = family(theta)
    if theta.size != 1 or density.dim != 1:
        raise ValueError(
            f"stein_weight: {theta.size} parameters in {density.dim} dimensions, expected one of each: in more, the equation "
            f"for tau has many solutions; use distance_weight or box_weight."
        )
    by_theta = derivatives or _derivatives(family, theta)
    push = lambda x: by_theta(x)[0][:, 0]
    right, left = (_Tail(density, push, sign, rtol) for sign in (1, -1))

    def parts(x):
        """tau, tau', d_theta s', and 1 / d_theta s, which is 0 where that underflows: nothing is to be learned there. (n, 1) each."""
        beyond, (dlog_p, ds, dJ) = x[:, 0] >= right.start, by_theta(x)
        tau, F1 = np.empty_like(x), ds[:, 0]
        tau[beyond], tau[~beyond] = right(x[beyond]), -left(x[~beyond])
        slope = -dlog_p - tau * density.score(x)
        return tau, slope, dJ[:, 0, :, 0], np.divide(1.0, F1, out=np.zeros_like(F1), where=np.abs(F1) > 1e-150)

    def h(x):
        tau, _, _, inverse = parts(np.asarray(x, float))
        return tau * inverse

    def h_prime(x):
        tau, slope, bend, inverse = parts(np.asarray(x, float))
        return slope * inverse - tau * (bend * inverse) * inverse

    return h, h_prime


class _Tail:
    """The integral of push p / p(x) from x outwards, for the outer part of the line: from `start` to the right, or to the left.

    Panels of Gauss's rule, from a point to the next knot beyond it; from knot to knot they are added up once, from the end inwards,
    in units of p at each knot, so that nothing underflows.
    """

    def __init__(self, density, push, sign, rtol):
        self.density, self.push, self.sign = density, push, sign
        frame, (low, high) = density.frame, density.support[0]
        scale = abs(frame.axes[0, 0]) * min(1.0, frame.detail)
        ends = (low + 0.5 * scale if np.isfinite(low) else low, high - 0.5 * scale if np.isfinite(high) else high)
        self.start = float(np.clip(frame.center[0], *ends)) if ends[0] < ends[1] else 0.5 * (low + high)
        end = high if sign > 0 else low
        u = (
            np.sqrt(np.arange(1, 3200) / 2) if frame.tail == "gaussian" else np.arange(1, 3200) / 4
        )  # spacing 1/(4u), or 1/4
        knots = self.start + sign * scale * np.append(0.0, u)
        if np.isfinite(end):
            knots = np.append(knots[sign * knots < sign * end], end)
        self.knots = knots
        inner, outer = knots[:-1], knots[1:]
        total = np.zeros(len(knots))
        if np.isinf(end):
            x = knots[-1]
            edge = Frame(np.array([x]), np.array([[scale / (1 + u[-1])]]), frame.tail, frame.reach, frame.detail)
            at, piece = density.logpdf(np.array([[x]]))[0], [(x, end) if sign > 0 else (end, x)]
            total[-1] = integrate(push, edge, piece, logpdf=lambda y: density.logpdf(y) - at, rtol=rtol).value
        panels, share = self._panel(inner, outer)
        for i in range(
            len(panels) - 1, 0, -1
        ):  # nothing is asked at the start itself: its panel looks at the next knot
            total[i] = panels[i] + share[i] * total[i + 1]
        self.total = total

    def _panel(self, x, beyond):
        """Integral of push p / p(x) from x to beyond, and p(beyond) / p(x)."""
        half = 0.5 * (beyond - x)[:, None]
        y = np.column_stack([x[:, None] + half * (1 + LEGENDRE[0]), x, beyond])
        log_p = self.density.logpdf(y.reshape(-1, 1)).reshape(y.shape)
        inside = y[:, :-2].reshape(-1, 1)
        ratio = np.exp(log_p - log_p[:, -2:-1])
        values = self.push(inside).reshape(len(x), len(LEGENDRE[0])) * ratio[:, :-2]
        return np.abs(half[:, 0]) * (values @ LEGENDRE[1]), ratio[:, -1]

    def __call__(self, x):
        u = self.sign * x[:, 0]
        at = np.searchsorted(self.sign * self.knots, u, side="right")  # the next knot, where there is one
        out, far = np.zeros(len(x)), u >= self.sign * self.knots[-1]
        panel, share = self._panel(x[~far, 0], self.knots[at[~far]])
        out[~far] = panel + share * self.total[at[~far]]
        out[far] = self.total[-1]  # beyond the last knot, 40 units out: of no weight
        return out[:, None]


# ------------------------------------------------------------------------------- parts


def _parameters(where, family, theta):
    """theta (k,), and the family as a function of it."""
    if not callable(family):
        raise TypeError(f"{where}: family is {family!r}, expected a function theta -> density.")
    given = np.asarray(numeric(where, "theta", theta), float)
    if given.ndim > 1 or not given.size:
        raise ValueError(
            f"{where}: theta has shape {given.shape}, expected a number or (k,), the parameters of the family."
        )
    return np.atleast_1d(given), (lambda t: family(float(t[0]))) if given.ndim == 0 else family


def _options(where, loss, h, h_prime, sigma, noise):
    """Refuse unknown losses, and options that would have no effect."""
    if loss not in LOSSES:
        raise ValueError(f"{where}: loss is {loss!r}, expected one of {', '.join(LOSSES)}.")
    if (loss == "generalised") != (h is not None) or (h is None) != (h_prime is None):
        raise ValueError(
            f"{where}: loss is {loss!r} with h {'given' if h is not None else 'not given'}; h and h_prime go together, and with "
            f"'generalised' only."
        )
    if (loss == "denoising") != (sigma is not None):
        raise ValueError(
            f"{where}: loss is {loss!r} with sigma = {sigma}; sigma goes with 'denoising', and with it alone."
        )
    if noise not in ("drawn", "integrated"):
        raise ValueError(f"{where}: noise is {noise!r}, expected 'drawn' or 'integrated'.")


def _slopes(f, theta):
    """d f / d theta_j for each j (k, ...): central differences with steps h, h/2, ..., extrapolated to 0."""
    out = []
    for j, e in enumerate(np.eye(theta.size)):
        h = STEP * (abs(theta[j]) or 1.0)
        row: list[np.ndarray] = []
        for k in range(HALVINGS):
            step = h / 2**k
            new = [(np.asarray(f(theta + step * e)) - f(theta - step * e)) / (2 * step)]
            for i, coarse in enumerate(row):
                new.append(new[i] + (new[i] - coarse) / (4 ** (i + 1) - 1))
            row = new
        out.append(row[-1])
    return np.stack(out)


def _derivatives(family, theta):
    """The function x -> derivatives in theta of log p (n, k), score (n, k, d) and Jacobian (n, k, d, d) of a family."""

    def by_theta(x):
        parts = [
            _slopes(lambda t, part=part: getattr(family(t), part)(x), theta) for part in ("logpdf", "score", "jacobian")
        ]
        return tuple(part.swapaxes(0, 1) for part in parts)

    return by_theta


def _gram(a, b):
    """sum_i a_ki b_li (n, k, k)."""
    return np.einsum("nai,nbi->nab", a, b)


def _probe_covariance(where, S, probe):
    """Cov over v of v^T S_a v and v^T S_b v (n, k, k), for symmetric S (n, k, d, d)."""
    d = S.shape[-1]
    whole = np.einsum("naij,nbij->nab", S, S)
    diagonal = np.einsum("naii->nai", S)
    if probe == "gaussian":
        return 2 * whole
    if probe == "rademacher":
        return 2 * (whole - _gram(diagonal, diagonal))
    if probe == "sphere":
        trace = diagonal.sum(2)
        return 2 * d / (d + 2) * (whole - trace[:, :, None] * trace[:, None, :] / d)
    raise ValueError(f"{where}: probe is {probe!r}, expected 'rademacher', 'gaussian' or 'sphere'.")


def _means(where, columns, density, breaks, rtol):
    """E of A (k, k), of d rho d rho^T (k, k), and of d rho (k,)."""
    shapes: list[Any] = []

    def flat(x):
        parts = columns(x)
        shapes[:] = [p.shape[1:] for p in parts]
        return np.concatenate([p.reshape(len(x), -1) for p in parts], axis=1)

    found = expectation(flat, density, breaks=breaks, rtol=rtol)
    if not np.isfinite(found.error).all():
        raise ValueError(f"{where}: a mean does not exist or is out of reach of quadrature: {found.note}.")
    ends = np.cumsum([math.prod(s) for s in shapes])[:-1]
    return [part.reshape(s) for part, s in zip(np.split(found.value, ends), shapes, strict=True)]


def _integrated(where, clean, noisy, theta, sigma, breaks, rtol):
    """A and B of denoising with the noise integrated out: for each x the mean over eps by the trapezoidal rule."""
    if clean.dim != 1:
        raise ValueError(
            f"{where}: noise is 'integrated' in {clean.dim} dimensions, expected 1: each sample needs an integral of its own. "
            f"Use noise='drawn'."
        )
    q, eps = noisy(theta), np.linspace(-REACH, REACH, 2 * NODES + 1)
    weight = np.exp(-0.5 * eps**2)
    weight /= weight.sum()

    def push(x):
        s, ds = q.score(x), _slopes(lambda t: noisy(t).score(x), theta)
        return (s * ds).sum(2).T + _slopes(lambda t: noisy(t).trace(x), theta).T  # (n, k)

    def columns(x):
        inner = push((x + sigma * eps).reshape(-1, 1)).reshape(len(x), len(eps), -1)
        mean = np.einsum("e,nek->nk", weight, inner)
        half = np.einsum("e,nek->nk", weight[::2] / weight[::2].sum(), inner[:, ::2])
        if not np.abs(mean - half).max() <= 1e-9 * (1 + np.abs(mean).max()):
            raise ValueError(
                f"{where}: the mean over the noise at sigma = {sigma:g} is not settled by {len(eps)} points: half as many differ by "
                f"{np.abs(mean - half).max():.1e}; the family has detail finer than sigma / 20."
            )
        outer = mean[:, :, None] * mean[:, None, :]
        return np.zeros_like(outer), outer, mean

    _, second, mean = _means(where, columns, clean, breaks, rtol)

    def information(x):
        ds = _slopes(lambda t: noisy(t).score(x), theta).swapaxes(0, 1)
        return _gram(ds, ds), np.zeros((len(x), 1)), np.zeros((len(x), 1))

    A, *_ = _means(where, information, q, (), rtol)
    return A, second - np.outer(mean, mean)


def _sandwich(where, A, B):
    """A^-1 B A^-1."""
    if not np.linalg.eigvalsh(A)[0] > 0:
        raise ValueError(
            f"{where}: the loss does not determine theta: its second derivative {A.tolist()} is not positive definite, since the score "
            f"(or the weighted score) does not depend on some combination of the parameters."
        )
    inverse = np.linalg.inv(A)
    return inverse @ B @ inverse.T
