r"""Which constant is wrong in a log p whose p integrates to I.

What a normaliser is made of is seen in log p itself: the standard deviation at its highest mode and that of its tails, and, where log p is linear
in a few known functions of x, the parameters of that family. I is then a product of powers of these numbers. A new family is a row of `FAMILIES`.
"""

import contextlib
import itertools
from collections.abc import Callable
from copy import copy
from fractions import Fraction
from functools import partial
from math import gamma, pi, sqrt
from typing import NamedTuple

import numpy as np

from .report import product, said

UNRESOLVED = 1e-3  # error of an integral that decides nothing
FAR = 10.0 ** np.array([6, 7, 8])  # distances, in standard deviations, at which log p is its tail


def named(function, found, I, ends, close, integral):
    """The diagnosis of a p that integrates to I, known to `close`, relative; "" if no rule explains it.

    integral : callable (log p, ends) -> `Integral`
    """
    # log p is 0 at its maximum: p has no normaliser, and was no density of the whole line or of a mixture
    bare = abs(found.top) <= 1e-6
    known = ((n, text) for value, n, text in _constants(function, found, ends, bare) if abs(I - value) <= close * value)
    constants, diagnosis = next(known, (2, ""))
    if constants > 1 and not bare:  # what was meant instead of p, and integrates to 1, is one change
        diagnosis = _variant(function, ends, close, integral, found) or diagnosis
    return diagnosis or (
        "" if bare else _multiplied(np.log(I), found.top, close) or _of_parts(function, found, ends, close)
    )


def _constants(function, found, ends, bare):
    """What p may integrate to, how many constants that takes, and what is wrong then, simple ones first: (value, number, diagnosis)."""
    d = len(ends)
    for m in range(1, int(np.sum(np.isfinite(ends).sum(axis=1) == 1)) + 1) if not bare else ():
        half = "a half-line" if m == 1 else f"{m} half-lines"
        text = f"half of it: p integrates to {said(0.5**m)}, as a density of the whole line does on {half}: then log 2 is missing for each"
        yield 0.5**m, 1, text
    (family, parts), sigma = _family(function, found, ends), _sigma(function, found)
    if family and not bare:
        yield from _products(family, parts)
    yield from _of_scale(d, "sigma", sigma if not family else None)
    if "h" in parts and not family and (sigma is None or abs(parts["h"] / sigma - 1) > 1e-3):
        yield from _of_scale(d, "h", parts["h"])
    for m in range(2, 65) if not bare else ():
        text = f"weights: p integrates to {m}, as a sum of {m} densities does whose weights are 1 each, in place of 1/{m} or of others that sum to 1, or a density of scale {m} without its 1/{m} (log det), or one without a factor 1/{m} in its normaliser; a constant factor alone is fine for the score"
        yield m, 1, text


# ------------------------------------------------------------------------------- powers of 2 pi and of one standard deviation


def _of_scale(d, name, scale):
    """`_constants` of a normaliser made of 2 pi and a standard deviation; h is that of the tails, where it is not that at the mode."""
    known = scale is not None and abs(np.log(scale)) > 1e-3
    halves = np.arange(-4 * d, 4 * d + 1) / 2  # exponents of sigma: the root of a determinant has d/2
    choices = itertools.product(range(-2 * d, 2 * d + 1), halves if known else (0,))
    where = ""
    if name == "h":
        where = f"; h = {scale:.4g} is the standard deviation of its tails: a kernel's bandwidth, or that of the widest part"
    for k, j in sorted(choices, key=lambda kj: (abs(kj[0]) + abs(kj[1]), -kj[0], -kj[1])):
        if k or j:
            text = _gaussian(d, k, j, known, name)
            value = (2 * np.pi) ** (k / 2) * (scale**j if j else 1.0)
            yield value, 1 + bool(k and j and text.startswith("normaliser")), text + where
    each = (2 * np.pi) ** 0.5 * (scale if known else 1.0)
    for subtracted in (each**d, d * each, d * np.sqrt(2 * np.pi)):
        text = "logarithm of the normaliser: sqrt(2 pi) is subtracted where log sqrt(2 pi) belongs"
        yield each**d * np.exp(-subtracted), 1, text


DETERMINANT = {  # exponent of sigma that p integrates to, over d: what may be wrong with a log determinant
    -1: "is all of log det of the covariance subtracted where half of it belongs?",
    0.5: "is the root of the determinant missing, or half of log det L subtracted where all of it belongs (half of log det of the covariance)?",
    1: "is a log determinant missing?",
    2: "has a log determinant the wrong sign?",
}


def _gaussian(d, k, j, known, scale):
    """In words: p integrates to (2 pi)^(k/2) sigma^j, so its normaliser has that much too little."""
    words = lambda a, b: product(1.0, {"(2 pi)": a / 2, scale: b})
    ratio, left = f"p integrates to {words(k, j)}", (d - k, d - j if known else 0)
    if k == d and j == 0 and known:
        return f"no normaliser: {ratio}: (2 pi)^(d/2) is missing in the normaliser (fine for the score, not for a likelihood)"
    if k == d and j in (0, d):
        return f"no normaliser: {ratio}, the normaliser of a Gaussian is missing (unnormalised: fine for the score, not for a likelihood)"
    if left == (-d, -d if known else 0):
        return f"sign of the normaliser: {ratio}; the logarithm of the normaliser is added where it is subtracted"
    without = d > 1 and (d - k == 1 or (j and d - j == 1))
    name, why = (
        ("normaliser without d", "; the dimension is missing in the exponent") if without else ("normaliser", "")
    )
    text = f"{name}: {ratio}: beside its exponent the normaliser is {words(*left)} where {words(d, d if known else 0)} belongs (or the exponent is wrong, a 1/2, a variance for a precision?){why}"
    cause = DETERMINANT.get(j / d) if k == 0 else None
    if cause is None or d == 1:
        return text
    return (
        f"{text} -- or -- determinant: {ratio}: {cause}" if without or j != d / 2 else f"determinant: {ratio}: {cause}"
    )


# ------------------------------------------------------------------------------- the numbers that a family's normaliser is made of


class Family(NamedTuple):
    """Log densities linear in two functions of one variable, up to a constant: x above the lower end, or its place u in (0, 1) between two.

    parts : the coefficients of the two -> {word: value}, what its normaliser is made of
    """

    name: str
    between: bool
    terms: tuple[Callable, Callable]
    parts: Callable[[float, float], dict[str, float]]


FAMILIES = (
    Family("a Gamma density x^(a-1) exp(-rate x)", False, (np.log, lambda x: x), lambda k, b: {"(rate^a)": (-b) ** (k + 1), "rate": -b, "Gamma(a)": gamma(k + 1), "a": k + 1}),
    Family("an inverse Gamma density x^(-a-1) exp(-scale/x)", False, (np.log, lambda x: 1 / x), lambda k, b: {"(scale^a)": (-b) ** (-k - 1), "scale": -b, "Gamma(a)": gamma(-k - 1)}),
    Family("a density x^(a-1) exp(-x^2/(2 h^2))", False, (np.log, lambda x: x**2), lambda k, q: {"h": sqrt(-0.5 / q), "(h^a)": sqrt(-0.5 / q) ** (k + 1), "Gamma(a/2)": gamma((k + 1) / 2), "(2^(a/2))": 2 ** ((k + 1) / 2), "2": 2, "pi": pi}),
    Family("a lognormal density", False, (np.log, lambda x: np.log(x) ** 2), lambda k, q: {"s": sqrt(-0.5 / q), "(2 pi)": 2 * pi}),
    Family("a Beta density u^(a-1) (1-u)^(b-1)", True, (np.log, lambda u: np.log(1 - u)), lambda k, j: {"Gamma(a)": gamma(k + 1), "Gamma(b)": gamma(j + 1), "Gamma(a+b)": gamma(k + j + 2)}),
)  # fmt: skip


def _family(function, found, ends):
    """(name, {word: value}) of the family that log p belongs to, or ("", {})."""
    (lower, upper), between = ends[0], bool(np.isfinite(ends).all())
    if len(ends) > 1 or np.isinf(lower):
        return _by_tails(function, found, len(ends)) if not np.isfinite(ends).any() else ("", {})
    u = np.linspace(0.05, 0.95, 24) if between else np.sqrt(found.covs[0, 0, 0]) * np.geomspace(0.01, 20, 24)
    values = function(lower + u[:, None] * (upper - lower if between else 1))
    for family in (f for f in FAMILIES if f.between == between and np.all(np.isfinite(values))):
        A = np.stack([1 + 0 * u, *(term(u) for term in family.terms)], axis=1)
        c = np.linalg.lstsq(A, values, rcond=None)[0]
        if np.abs(values - A @ c).max() <= 1e-9 * np.abs(A * c).max():
            with contextlib.suppress(ValueError, ZeroDivisionError, OverflowError):  # no density of that family
                return family.name, family.parts(*np.where(np.abs(c[1:]) > 1e-9, c[1:], 0.0).tolist())
    return "", {}


def _by_tails(function, found, d):
    """`_family` of a density of all of R^d by how log p falls off along both directions of each axis."""
    axes = np.sqrt(np.diagonal(found.covs.mean(0))) * np.eye(d)
    rays, width = np.concatenate([axes, -axes]), np.linalg.norm(np.concatenate([axes, axes]), axis=1)
    at = lambda r: function(found.mode + np.multiply.outer(r, rays).reshape(-1, d)).reshape(len(r), -1)  # (R, 2 d)
    near, far = at(np.array([0.0, 1.0, 3.0])), at(FAR)
    if not np.all(np.isfinite(far)):
        return "", {}
    fall = np.diff(far, axis=0)
    grows, alike = np.log10(fall[1] / fall[0]), lambda a: np.ptp(a) <= 1e-6 * np.abs(a).max()
    r = FAR[1:2] * width
    if np.abs(grows - 2).max() < 1e-3 and alike(h := np.sqrt(-49.5 * r**2 / fall[1])):
        return "", {"h": float(h.mean())}
    radii = np.array([[1.0], [3.0]]) * width
    # from the mode on: no other part is far away
    if np.abs(grows - 1).max() < 1e-3 and alike(radii / (near[0] - near[1:])):
        return "a Laplace density exp(-|x|/b)", {"b": float(np.mean(-9 * r / fall[1])), "2": 2.0}
    nu = float(np.mean(-fall[1] / np.log(10))) - d
    with np.errstate(all="ignore"):  # of (1 + r^2/(nu s^2))^(-(nu + d)/2)
        s = radii / np.sqrt(nu * np.expm1(2 * (near[0] - near[1:]) / (nu + d)))
    if not (np.all(np.isfinite(s)) and alike(s) and nu > 1e-6):
        return "", {}
    parts = {"(nu pi)": nu * pi, "s": float(s.mean()), "nu": nu, "pi": pi}
    return "a Student t", parts | {
        f"Gamma({k})": gamma(v) for k, v in (("(nu+d)/2", (nu + d) / 2), ("nu/2", nu / 2), ("(nu+1)/2", (nu + 1) / 2))
    }


POWERS = (1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
SIMPLE = (1.0, -1.0, 0.5, -0.5)  # of three parts, of which some product is near to most numbers


def _products(family, parts):
    """(value, number, diagnosis) of products of powers of at most three of the parts, simple ones first."""
    parts = {word: value for word, value in parts.items() if value > 0 and abs(np.log(value)) > 1e-6}
    said_of = ", ".join(f"{word} = {value:.6g}" for word, value in parts.items() if word not in ("2", "pi"))
    several = [
        (words, powers)
        for k in (1, 2, 3)
        for words in itertools.combinations(parts, k)
        for powers in itertools.product(POWERS if k < 3 else SIMPLE, repeat=k)
    ]
    for words, powers in sorted(several, key=lambda entry: sum(map(abs, entry[1])) + len(entry[0])):
        value = float(np.prod([parts[word] ** power for word, power in zip(words, powers, strict=True)]))
        made = product(1.0, dict(zip(words, powers, strict=True)))
        text = f"normaliser of {family}: p integrates to {value:.6g} ({made}?), with {said_of}: by that its normaliser is not that of its exponent (missing, twice, of the wrong sign in the logarithm, or the exponent is wrong?)"
        yield value, len(words), text


# ------------------------------------------------------------------------------- one change after which p integrates to 1


def _gaussian_mass(function, found):
    """The integral over all of R^d of the Gaussian that p is within its support, to all digits; NaN if it is none."""
    d, rng = len(found.mode), np.random.default_rng(0)
    x = found.frame.center + rng.standard_normal((60 * d, d)) @ found.frame.axes.T
    values = function(x)
    x, values = x[values > -np.inf] - found.mode, values[values > -np.inf]
    i, j = np.triu_indices(d)
    A = np.column_stack([np.ones(len(x)), x, x[:, i] * x[:, j]])
    c = np.linalg.lstsq(A, values, rcond=None)[0]
    P = np.zeros((d, d))
    P[i, j] = -c[1 + d :]
    P, b = P + P.T, c[1 : 1 + d]
    if (
        len(x) < 2 * A.shape[1]
        or np.abs(values - A @ c).max() > 1e-9 * np.abs(A * c).max()
        or np.linalg.eigvalsh(P)[0] <= 0
    ):
        return np.nan
    return np.exp(c[0] + b @ np.linalg.solve(P, b) / 2) * (2 * pi) ** (d / 2) / sqrt(np.linalg.det(P))


def _variant(function, ends, close, integral, found=None):
    """The diagnosis of a log p that integrates to 1 after one change, or ""."""
    is_one = lambda logp, ends: (
        abs((whole := integral(logp, ends)).value - 1) <= max(close, 4 * whole.error) <= UNRESOLVED
    )
    named = next((text for change, text in _variants(function, ends) if is_one(change, ends)), "")
    if named or not np.isfinite(ends).any():
        return named
    wide = copy(function)
    wide.ends = np.tile([-np.inf, np.inf], (len(ends), 1))
    everywhere = found is not None and abs(_gaussian_mass(function, found) - 1) <= close
    with contextlib.suppress(ValueError):  # it cannot be asked outside
        everywhere = everywhere or is_one(wide, wide.ends)
    text = "mass of the support: p, its formula continued, integrates to 1 over the whole line, and not over its support: it is not divided by its mass there"
    return text if everywhere else _of_some_ends(wide, ends, is_one)


def _of_some_ends(wide, ends, is_one):
    """The diagnosis of a log p that integrates to 1 if one dimension of its support has one end, or none; ""."""
    text = "mass of the support: p integrates to 1 over {}, and not over its support: {}"
    for j, free in itertools.product(
        np.flatnonzero(np.isfinite(ends).all(1)), ([True, False], [False, True], [True, True])
    ):
        wide.ends = ends.copy()
        wide.ends[j] = np.where(free, (-np.inf, np.inf), ends[j])
        with contextlib.suppress(ValueError):  # it cannot be asked outside
            if not is_one(wide, wide.ends):
                continue
            x = "x" if len(ends) == 1 else f"x_{j}"
            if all(free):
                return text.format(f"all {x}", "in that dimension it is not divided by its mass there")
            half = f"{x} < {ends[j, 1]:g}" if free[0] else f"{x} > {ends[j, 0]:g}"
            return text.format(half, "one distribution function stands where the difference of two belongs")
    return ""


def _variants(function, ends):
    """Changes of log p after which it may be normalised, and what was wrong if it is: (callable, diagnosis)."""
    d, (lower, upper) = len(ends), ends.T
    powers = {2: "halved, or at a temperature", 0.5: "doubled", np.log(2): "in base 2", np.log(10): "in base 10"}
    if d > 1:
        powers[d] = f"a mean over dimensions where a sum belongs{', or ' * (d in powers)}{powers.get(d, '')}"
    for m, text in powers.items():
        yield lambda x, m=m: m * function(x), f"power of p: {said(m)} log p is normalised (log p is {text}?)"
    for log_slope, slope, of in _jacobians(lower, upper):
        text = f"change of variables: p integrates to 1 when it is multiplied by {slope}"
        for times, why in (
            (1, f" (the Jacobian of {of}, or an exponent that is off by one?)"),
            (2, f" twice (the Jacobian of {of} has the wrong sign in log p?)"),
        ):
            yield partial(_with_slope, function, times, log_slope), text + why


def _with_slope(function, times, log_slope, x):
    values = function(x)
    with np.errstate(all="ignore"):
        return np.where(values > -np.inf, values + times * log_slope(x), -np.inf)


def _jacobians(lower, upper):
    """(log |dy/dx| of a change of variables from the support to the line (n, d) -> (n,), its slope and itself in words)."""
    from scipy.special import ndtri

    if np.isfinite(lower).all() and np.isinf(upper).all():
        yield lambda x: -np.log(x - lower).sum(1), "1/x", "log x"
    if np.isfinite(upper - lower).all():
        u = lambda x: (x - lower) / (upper - lower)
        logit = lambda x: -np.log(u(x) * (1 - u(x)) * (upper - lower)).sum(1)
        yield logit, "1/(x (1 - x))", "the logit"
        if np.all(lower == 0) and np.all(upper == 1):
            yield lambda x: -np.log1p(-x).sum(1), "1/(1 - x)", "-log(1 - x), a part of that of the logit"
            yield lambda x: -np.log(x).sum(1), "1/x", "log x, a part of that of the logit"
        if np.all(lower == -1) and np.all(upper == 1):
            yield lambda x: logit(x) - len(lower) * np.log(2), "1/(1 - x^2)", "artanh x"
        inner = lambda x: np.clip(u(x), 1e-10, 1 - 1e-10)  # who clips it in log p does so further out
        scores = "the normal scores z (the marginal densities of a copula, but for 2 pi)"
        yield lambda x: 0.5 * np.sum(ndtri(inner(x)) ** 2, axis=1), "exp(z^2/2)", scores


TIMES = {  # what the logarithm of the normaliser may be multiplied by
    -1.0: "sign of the normaliser: its logarithm is added where it is subtracted",
    2.0: "normaliser: its logarithm is subtracted twice",
    0.5: "normaliser: half of its logarithm is subtracted",
    1 / np.log(2): "base of the logarithm: the normaliser has log2 where the natural logarithm belongs",
    1 / np.log(10): "base of the logarithm: the normaliser has log10 where the natural logarithm belongs",
}


def _multiplied(log_I, top, close):
    """The diagnosis of a log p = q - c log Z with q = 0 at its maximum, log p = `top` there: then log I = log Z + top; ""."""
    log_Z = log_I - top
    if not 1e-3 < abs(log_Z) < 20:
        return ""
    Z = np.exp(log_Z)
    if abs(top + Z) <= close * (1 + Z):
        return f"logarithm of the normaliser: Z = {said(Z, 1e-6)} is subtracted where log Z belongs"
    text = next((text for c, text in TIMES.items() if abs(top + c * log_Z) <= close * (1 + abs(log_Z))), "")
    return text and f"{text}; Z = {said(Z, 1e-6)} if log p is 0 at its maximum but for the normaliser"


# ------------------------------------------------------------------------------- a mixture, part by part


def _parts(function, found):
    """(masses (K,), geometric mean of the standard deviations (K,)) of the Gaussians that p is the sum of, to all digits; None if it is no such sum."""
    from scipy.optimize import least_squares
    from scipy.special import logsumexp

    (K, d), lower = found.means.shape, np.tril_indices(found.means.shape[1])
    roots = np.linalg.cholesky(np.linalg.inv(found.covs))  # of the precisions
    z = np.random.default_rng(0).standard_normal((40 * d, K, d))
    x = (found.means + 1.5 * np.linalg.solve(roots.transpose(0, 2, 1), z[..., None])[..., 0]).reshape(-1, d)
    values = function(x)
    if not 1 < K <= 5 or not np.all(np.isfinite(values)):
        return None

    def split(t):
        L = np.zeros((K, d, d))
        L[:, *lower] = t[K + K * d :].reshape(K, -1)
        return t[:K], t[K : K + K * d].reshape(K, d), L

    def off(t):
        height, mean, L = split(t)
        return (
            logsumexp(height - 0.5 * np.sum(np.einsum("nki,kij->nkj", x[:, None] - mean, L) ** 2, axis=2), axis=1)
            - values
        )

    start = np.concatenate([function(found.means), found.means.ravel(), roots[:, *lower].ravel()])
    fit = least_squares(off, start, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    if np.abs(fit.fun).max() > 1e-8:
        return None
    height, _, L = split(fit.x)
    det = np.abs(np.linalg.det(L))
    return np.exp(height) * (2 * pi) ** (d / 2) / det, det ** (-1 / d)


def _of_parts(function, found, ends, close):
    """The diagnosis of a mixture of Gaussians whose parts are right but for what each lacks; ""."""
    parts = None if np.isfinite(ends).any() else _parts(function, found)
    if parts is None:
        return ""
    (mass, sigma), d = parts, len(ends)
    seen = f"p is the sum of {len(mass)} Gaussians with the masses {', '.join(f'{m:.6g}' for m in mass)}"
    if abs(np.log(mass).sum() - 1) <= close:
        return f"weights without their logarithm: {seen}, whose logarithms sum to 1: weights w are added where log w belongs"
    for j, k in itertools.product((d, -d, 1, -1, 2 * d), (0, d, -d)):
        if abs(np.sum(mass / (sigma**j * (2 * pi) ** (k / 2))) - 1) <= close:
            lacks = product(1.0, {"(2 pi)": k / 2, "sigma_k": j})
            return f"normaliser of the parts: {seen}, and divided by {lacks} each they sum to 1: by that the normaliser of each part is wrong"
    if mass.sum() < 1:  # a part may have been missed
        return ""
    return f"weights of the parts: {seen}, which sum to {said(mass.sum(), min(1e-6, close))} and not to 1: the weights (logits without their softmax?) or the normalisers of the parts are wrong"


def number(I, close, top):
    """The diagnosis of an integral that no rule explains: the number, and what it is made of, if that can be seen."""
    bare = abs(top) <= 1e-6
    size, near = said(I, min(1e-6, close)), lambda value: not bare and close <= 1e-6 and abs(value / I - 1) <= close
    fraction, logarithm = Fraction(I).limit_denominator(20), Fraction(np.log(I)).limit_denominator(12)
    if near(fraction):
        return f"weights or a factor: p integrates to {fraction}, unnormalised, which is no power of 2 pi or of its standard deviation (weights of a mixture that sum to it, a scale, a constant?); a constant factor alone is fine for the score"
    if k := next((k for k in range(4, 13) if abs(I * gamma(k + 1) - 1) <= max(close, 1e-6) <= 1e-4), 0):
        return f"factorial: p integrates to {size} = 1/{k}! = 1/Gamma({k + 1}): a Gamma function of a sum of parameters is left out of the normaliser; a constant factor alone is fine for the score"
    if near(np.exp(float(logarithm))):
        return f"factor e^{logarithm}: p integrates to {size} = exp({logarithm}), so log p is {logarithm} too large: a term left in it or out of it (a scaled special function, half a variance); a constant factor alone is fine for the score"
    name = "no normaliser: log p is 0 at its maximum, and" if bare else "unnormalised:"
    why = "a normaliser, the weights, or the Jacobian of a change of variables (log det) is wrong or missing; of these a constant alone is fine for the score"
    return f"{name} the integral of p is {size}, not 1; {why}"


@np.errstate(invalid="ignore")  # of a mode at an end, beside which log p is -inf
def _sigma(function, found):
    """The geometric mean of the standard deviations at the highest mode, by curvature; None if it is not a maximum."""
    L = np.linalg.cholesky(found.covs[int(np.argmax(function(found.means)))])
    d, h = len(L), 0.1
    at = lambda *moves: function((found.mode + h * sum(s * L[:, i] for s, i in moves))[None])[0]
    H = np.empty((d, d))
    for i, j in itertools.product(range(d), repeat=2):
        H[i, j] = (at((1, i), (1, j)) - at((1, i), (-1, j)) - at((-1, i), (1, j)) + at((-1, i), (-1, j))) / (4 * h * h)
    sign, logdet = np.linalg.slogdet(-H)
    if not np.isfinite(logdet) or sign <= 0:
        return None
    return float(np.exp((np.log(np.diag(L)).sum() - 0.5 * logdet) / d))
