r"""Does a density integrate to 1, and if not, which constant is missing?

.. math:: I = \int_{\rm support} e^{\log p(x)}\, dx

by quadrature, whose error is bounded, on a frame found from log p itself, and once more by importance sampling, which shares nothing with
it but the places looked at. The score does not see a constant; a likelihood does.
"""

import itertools

import numpy as np

from ..common.inputs import count, generator, positive
from ..numerics.quadrature import Frame, integrate
from .functions import Function, points_of
from .numbers import power, said
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst
from .score import one_number_each
from .whereabouts import find

BUDGET = {1: 1 << 17, 2: 1 << 20, 3: 1 << 21}
ENOUGH = 1e-3  # a coarser bound decides nothing
SLACK = 1e-9
SIGMAS = 6.0


def check_density(logpdf, *, dim=None, x=None, support=None, wrap=None, rtol=None, rng=0):
    r"""Does exp(logpdf) integrate to 1, and if not, which constant is missing?

    Parameters
    ----------
    logpdf : callable (n, d) -> (n,), or anything with .logpdf
        In the user's framework, d = 1, 2, 3. Of a density object `dim`, `support` and `sample` are used as well.
    dim : int, optional
        d, where neither x nor support tells it.
    x : (n, d) array, optional
        Points that reach every part of the density, for example samples. Without them it is looked for from 0 outwards; a narrow
        mode beside others may stay unseen, so that mass below 1 is FAIL with them, and without them only if its constant is recognised.
    support : (d, 2) array, optional
        Lower and upper ends, infinite by default; logpdf is not asked outside.
    wrap : None, "torch", "jax" or callable
        As in `check_score`.
    rtol : float, optional
        Allowed difference of the integral from 1, beyond the bound for its error.
    rng : seed or numpy.random.Generator
        Of the search and of importance sampling.

    Returns
    -------
    CheckReport
        INCONCLUSIVE where the bound is large, or both integrals disagree.

    Raises
    ------
    TypeError, ValueError
        If d is unknown or above 3, x or support do not fit, or logpdf does not take such points.

    Source: quadrature as in `numpyscore.integrate`; population Monte Carlo, Cappe, Guillin, Marin & Robert (2004).
    """
    where, rng = "check_density", generator("check_density", rng)
    dim, x, support = _of_object(logpdf, dim, x, support)
    points = None if x is None else points_of(where, x)
    ends = _support(where, dim, points, support)
    function = _Masked(where, getattr(logpdf, "logpdf", logpdf), wrap, x, ends)
    found = find(function, ends, points, rng)
    d = len(ends)
    summary = lambda: f"{d} dim{'s' * (d > 1)}, {function.caller.came} out, {function.caller.evaluations} evaluations"
    notes = function.caller.notes
    if function.bad is not None:
        text = f"not finite: logpdf is {function.bad[1]} at x = {function.bad[0].tolist()}; -inf alone has a meaning, that p is 0"
        return CheckReport(where, FAIL, summary(), diagnosis=text, notes=tuple(notes()))
    frame = _unit(points, d) if found is None else found.frame
    if not np.isfinite(ends).any() and _endless(function, frame, rng):
        text = "no density: p does not fall off fast enough to have an integral (a bounded energy, a missing confinement); no constant can normalise it"
        return CheckReport(where, FAIL, summary(), diagnosis=text, notes=tuple(notes()))
    if found is None:
        text = "not found: no place was found where p is positive and falls off to all sides; give x=, points where the density lives"
        return CheckReport(where, INCONCLUSIVE, summary(), diagnosis=text, notes=tuple(notes()))
    whole = _integral(function, found.frame, ends)
    verdict, pattern, diagnosis = _judged(function, found, whole, ends, points, rtol)
    worst = Worst("the integral of p", whole.value, 1.0, whole.error) if verdict == FAIL else None
    details = {
        "integral": whole.value,
        "bound": whole.error,
        "importance sampling": np.exp(found.log_mass),
        "standard error": found.error,
    }
    return CheckReport(where, verdict, summary(), worst, pattern, diagnosis, whole.error, tuple(notes()), details)


# ------------------------------------------------------------------------------- what comes in


def _of_object(density, dim, x, support):
    """dim, x and support, from the density object where they are not given."""
    if hasattr(density, "logpdf"):
        dim = getattr(density, "dim", dim) if dim is None else dim
        support = getattr(density, "support", None) if support is None else support
        if x is None and hasattr(density, "sample"):
            x = density.sample(400, rng=0)
    return dim, x, support


def _support(where, dim, x, support):
    """Lower and upper ends (d, 2)."""
    d = x.shape[1] if x is not None else dim if dim is not None else None if support is None else len(support)
    if d is None:
        raise ValueError(f"{where}: the dimension is not known; give dim=, x= or support=.")
    if not 1 <= count(where, "dim", d) <= 3:
        raise ValueError(
            f"{where}: the dimension is {d}, expected 1, 2 or 3: quadrature reaches no further. Check the same code in three dimensions."
        )
    ends = np.tile([-np.inf, np.inf], (d, 1)) if support is None else np.asarray(support, float)
    if ends.shape != (d, 2) or not np.all(ends[:, 0] < ends[:, 1]):
        raise ValueError(
            f"{where}: support is {ends.tolist()}, expected ({d}, 2), lower and upper end of each dimension."
        )
    if x is not None and np.any((x < ends[:, 0]) | (x > ends[:, 1])):
        raise ValueError(f"{where}: some rows of x lie outside the support {ends.tolist()}.")
    return ends


class _Masked:
    """The user's log density, -inf outside the support, where it is not asked; `bad` is the first point where it is NaN or +inf."""

    def __init__(self, where, function, wrap, like, ends):
        self.where, self.ends, self.bad, self.zero = where, ends, None, False
        self.caller = Function(where, "logpdf", function, wrap, like)

    def __call__(self, x):
        x = np.asarray(x, float)
        inside = np.all((x >= self.ends[:, 0]) & (x <= self.ends[:, 1]), axis=1) & np.isfinite(x).all(axis=1)
        out = np.full(len(x), -np.inf)
        if inside.any():
            with np.errstate(all="ignore"):
                out[inside] = one_number_each(self.where, "logpdf", *self.caller.both(x[inside]))[0]
        self.zero |= bool(np.any(out[inside] == -np.inf))
        wrong = np.isnan(out) | (out == np.inf)
        if wrong.any():
            self.bad = self.bad or (x[wrong][0], out[wrong][0])
            out[wrong] = -np.inf
        return out


# ------------------------------------------------------------------------------- the integral


def _unit(x, d):
    """The frame of a density of which nothing is known but points x."""
    return Frame(np.zeros(d), np.eye(d)) if x is None else Frame(np.median(x, axis=0), np.diag(x.std(axis=0) + 1e-300))


def _endless(function, frame, rng):
    """Whether p falls off along some ray more slowly than r^-d, so that its integral is infinite."""
    d = len(frame.center)
    rays = rng.standard_normal((32, d))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    near, far = (function(frame.center + r * rays @ frame.axes.T) for r in (1e4, 1e8))
    with np.errstate(invalid="ignore"):
        slope = (far - near) / np.log(1e4)
    return bool(np.any(slope > -d + 1e-3))


def _integral(function, frame, ends):
    """The `Integral` of p by the tail that suits it."""

    def by(tail):
        shape = Frame(frame.center, frame.axes, tail, frame.reach, frame.detail)
        one = lambda x: np.ones(len(x))
        return integrate(one, shape, ends, logpdf=function, rtol=1e-10, budget=BUDGET[len(ends)])

    whole = by("exponential")
    return whole if np.isfinite(whole.error) else by("algebraic")


def _judged(function, found, whole, ends, x, rtol):
    """Verdict, pattern and diagnosis."""
    I, bound = whole.value, whole.error
    sampled = np.exp(found.log_mass)
    pattern = f"integral of p = {I:.10g} +- {bound:.0e} by quadrature, {sampled:.4g} +- {found.error * sampled:.1g} by importance sampling"
    if not bound <= ENOUGH * max(abs(I), 1e-300) and not abs(I - 1) > 10 * bound:
        why = whole.note or "the density is too narrow for its width"
        cure = "; where p is 0 beyond a line, say so with support=" if function.zero else ""
        return INCONCLUSIVE, pattern, f"unresolved: the integral is known to {bound:.0e} only ({why}){cure}"
    if abs(sampled - I) > SIGMAS * found.error * sampled + bound or found.error > 0.2:
        return (
            INCONCLUSIVE,
            pattern,
            "unresolved: quadrature and importance sampling disagree, a part of the density was missed; give x=, points that reach every part of it",
        )
    slack = max(
        SLACK,
        1e3 * (function.caller.eps > 1e-10) * function.caller.eps,
        0.0 if rtol is None else positive("check_density", "rtol", rtol),
    )
    if abs(I - 1) <= bound + slack:
        return PASS, pattern, ""
    diagnosis = _named(function, found, I, max(1e-6, 4 * bound / I, slack), ends)
    if diagnosis is None and I < 1 and x is None:
        text = "mass missing: what was found integrates to less than 1; either the normaliser is wrong, or a part of the density was not found: give x=, points that reach every part of it"
        return INCONCLUSIVE, pattern, text
    return (
        FAIL,
        pattern,
        diagnosis
        or f"unnormalised: p integrates to {said(I, 1e-6)}, not to 1; that is fine for the score, not for a likelihood",
    )


# ------------------------------------------------------------------------------- which constant


def _named(function, found, I, rtol, ends):
    """The diagnosis of a ratio that is recognised, or None."""
    d, sigma = len(ends), _sigma(function, found)
    same = lambda value: abs(I - value) <= rtol * value
    known = sigma is not None and abs(np.log(sigma)) > 1e-3
    choices = itertools.product(range(-2 * d, 2 * d + 1), range(-2 * d, 2 * d + 1) if known else (0,))
    for k, j in sorted(choices, key=lambda kj: (abs(kj[0]) + abs(kj[1]), -kj[0], -kj[1])):
        if (k or j) and same((2 * np.pi) ** (k / 2) * (sigma**j if j else 1.0)):
            return _gaussian(d, k, j, known)
    half_lines = int(np.sum(np.isfinite(ends).sum(axis=1) == 1))
    for m in range(1, half_lines + 1):
        if same(0.5**m):
            return f"half of it: p integrates to {said(0.5**m)}: a density of the whole line on {'a half-line' if m == 1 else f'{m} half-lines'}; log 2 is missing for each"
    if 2 <= round(I) <= 64 and same(round(I)):
        return f"weights: p integrates to {round(I)}, as a sum of {round(I)} densities does whose weights are 1 instead of 1/{round(I)}; unnormalised, fine for the score"
    return None


def _gaussian(d, k, j, known):
    """In words: p integrates to (2 pi)^(k/2) sigma^j, so its normaliser has that much too little."""
    two_pi = lambda e: (
        ""
        if e == 0
        else "sqrt(2 pi)"
        if e == 1
        else "1/sqrt(2 pi)"
        if e == -1
        else power("(2 pi)", e / 2).replace("((2 pi))", "(2 pi)")
    )
    of_sigma = lambda e: power("sigma", e) if e else ""
    product = lambda a, b: " ".join(t for t in (two_pi(a), of_sigma(b)) if t) or "1"
    ratio = product(k, j)
    yours, right = product(d - k, d - j if known else 0), product(d, d if known else 0)
    if (d - k, j) == (0, 0) or (d - k, d - j) == (0, 0):
        return f"unnormalised: p integrates to {ratio}, the normaliser of a Gaussian is missing; that is fine for the score, not for a likelihood"
    if (d - k, d - j) == (-d, -d) or (d - k == -d and not known):
        return f"sign of the normaliser: p integrates to {ratio}; the logarithm of the normaliser is added where it is subtracted"
    without = d > 1 and (d - k == 1 or (j and d - j == 1))
    name = "normaliser without d" if without else "normaliser"
    why = "; the dimension is missing in the exponent" if without else ""
    return f"{name}: p integrates to {ratio}: its normaliser is {yours} where {right} belongs{why}"


def _sigma(function, found):
    """The geometric mean of the standard deviations at the highest mode, by curvature; None if it is not a maximum."""
    tops = function(found.means)
    k = int(np.argmax(tops))
    L = np.linalg.cholesky(found.covs[k])
    d, h = len(L), 0.1
    at = lambda *moves: function((found.means[k] + h * sum(s * L[:, i] for s, i in moves))[None])[0]
    H = np.empty((d, d))
    for i, j in itertools.product(range(d), repeat=2):
        H[i, j] = (at((1, i), (1, j)) - at((1, i), (-1, j)) - at((-1, i), (1, j)) + at((-1, i), (-1, j))) / (4 * h * h)
    sign, logdet = np.linalg.slogdet(-H)
    if not np.isfinite(logdet) or sign <= 0:
        return None
    return float(np.exp((np.log(np.diag(L)).sum() - 0.5 * logdet) / d))
