r"""What fn predicts in a denoising loss: with x~ = c x + sigma eps, the loss is b E[1/2 |fn(x~)|^2 - fn(x~).(p eps + q x)] + constant.

The minimiser is p E[eps | x~] + q E[x | x~], and x~ = c E[x | x~] + sigma E[eps | x~]; so unless q sigma = p c it knows the score,

.. math:: s(\tilde x) = -E[\varepsilon \mid \tilde x] / \sigma, \qquad
    E[\varepsilon \mid \tilde x] = \frac{q \tilde x - c\, {\rm fn}}{q \sigma - p c}

and the loss is b sigma^2 (q sigma - p c)^2 / c^2 times the reference of that score.

Source: Vincent (2011) for the score; Ho, Jain & Abbeel (2020) for eps; Salimans & Ho (2022) for v.
"""

from typing import NamedTuple

import numpy as np

from .fitting import solve
from .naming import COARSEST, Naming, conversion, factor
from .report import FAIL, INCONCLUSIVE, PASS


class Prediction(NamedTuple):
    """b, p and q in every setting, and how exactly they are known, relative to the larger of |p| and |q|."""

    b: np.ndarray
    p: np.ndarray
    q: np.ndarray
    rtol: float

    def parts(self, k, situation):
        """Linear and square part of the loss in setting k."""
        eps, x, square = terms(situation)
        return -self.b[k] * (self.p[k] * eps + self.q[k] * x), self.b[k] * square


FORMS = (  # name, (p, q) of c and sigma, a number that is 1 for the kernels it belongs to, the score in terms of fn
    ("the noise eps", lambda c, s: (1, 0), lambda c, s: 1, "-fn/sigma"),
    ("the noise sigma eps", lambda c, s: (s, 0), lambda c, s: 1, "-fn/sigma^2"),
    ("the clean x", lambda c, s: (0, 1), lambda c, s: 1, "(c fn - x~)/sigma^2"),
    ("v = c eps - sigma x", lambda c, s: (c, -s), lambda c, s: c * c + s * s, "-x~ - (c/sigma) fn"),
    ("the velocity eps - x", lambda c, s: (1, -1), lambda c, s: c + s, "-(x~ + c fn)/sigma"),
    ("the velocity x - eps", lambda c, s: (-1, 1), lambda c, s: c + s, "-(x~ - c fn)/sigma"),
    (
        "sigma x/r - r c eps with r = sqrt(1 - sigma^2)/c (-v if r = 1; EDM's network inside its preconditioning)",
        lambda c, s: (-np.sqrt(1 - s * s), s * c / np.sqrt(1 - s * s)),
        lambda c, s: s < 1,
        "-x~ + (r c/sigma) fn",
    ),
)
MISTAKES = (
    ("-(x~ - x)/sigma^2: x is not scaled there as it is in x~ = c x + sigma eps, and the target should be (c x - x~)/sigma^2", lambda c, s: (-1 / s, (1 - c) / s**2)),
    ("(x~ - x)/sigma^2, with the wrong sign, and x is not scaled there as it is in x~ = c x + sigma eps", lambda c, s: (1 / s, -(1 - c) / s**2)),
    ("x - x~: the scale c of x and the division by sigma^2 are missing", lambda c, s: (-s, 1 - c)),
    ("x~ - x: the scale c of x, the division by sigma^2 and the sign are wrong", lambda c, s: (s, c - 1)),
    ("-x", lambda c, s: (0, -1)),
)  # fmt: skip


def terms(q):
    """E[fn.eps], E[fn.x] and E[1/2 |fn|^2] of a `Situation`."""
    s = q.probe.score(q.at)
    return [float(np.mean(np.sum(s * f, -1))) for f in (q.shift / q.sigma, q.x[None], 0.5 * s)]


def prediction(groups, error=0.0):
    """The `Prediction` that explains a denoising loss in all settings, or None."""
    found = []
    for g in groups:
        found.append(solve(np.array([terms(q) for q in g.situations]), g))
    if not all(f.exact for f in found):
        return None
    (a, e, b), doubt = np.array([f.coefficients for f in found]).T, np.array([f.doubt for f in found])
    size = np.maximum(np.abs(a), np.abs(e))
    if np.any(size <= 1e-9 * np.abs(b)) or np.any(np.abs(b) <= 1e-9 * size):
        return None
    rtol = max(1e-9, 5 * float(np.max(doubt / np.minimum(size, np.abs(b))[:, None])), error)
    return Prediction(b, -a / b, -e / b, rtol)


def convention(found, settings, said, objective="denoising", more=()):
    """The PASS of a loss whose fn predicts something that the score follows from, or None.

    Noise added to x as it is says nothing of what fn is meant to be; there the noise as target is right only if fn was `said` to be "noise".
    """
    for name, form, kernel, score in FORMS:
        sizes = [kernel(s.scale, s.sigma) for s in settings]
        if not np.allclose(sizes, 1, atol=found.rtol, rtol=0) or not _is(found, settings, form) or np.any(found.b < 0):
            continue
        c, sigma = _scale(settings), _sigma(settings)
        weight = sigma**2 if objective == "multilevel_denoising" else 1.0
        K = factor(found.b * sigma**2 / weight * (found.q * sigma - found.p * c) ** 2 / c**2, settings, found.rtol)
        text = f"another convention: fn predicts {name}, and the score is {score}; if your fn is meant to be the score itself, the target is wrong"
        pattern = (
            f"loss = {factor(found.b, settings, found.rtol).text} x [1/2 |fn - target|^2] + constant, target {name}"
        )
        scaled = () if K.one else (f"with that score, {conversion(K, objective)}",)
        if "noise" in name and np.all(c == 1) and said != "noise":
            text = f"noise or score: fn learns {name}; if that is meant, say model='noise': it is right, and the score is {score}. If fn is meant to be the score, the target is wrong, it should be -eps/sigma"
            return Naming(INCONCLUSIVE, text, pattern, (*scaled, *more))
        return Naming(PASS, "", pattern, (text, *scaled, *more))
    return None


def mistake(found, settings, free):
    """The `Naming` of a loss whose target is something else: FAIL, or INCONCLUSIVE if fn is `free` to be a model of something unknown here."""
    target = _target(found, settings)
    pattern = f"target = {target}"
    for text, form in MISTAKES:
        if _is(found, settings, form):
            return Naming(FAIL, f"wrong target: the target is {text}", pattern)
    if free and not np.any(np.abs(found.q * _sigma(settings) - found.p * _scale(settings)) <= 1e-6 * np.abs(found.q)):
        text = f"unknown target: fn predicts {target}; the score follows from that, but if fn is meant to be the score itself, the target is wrong"
        return Naming(INCONCLUSIVE, text, pattern)
    return Naming(FAIL, f"wrong target: the target is {target}, it should be -eps/sigma", pattern)


def _scale(settings):
    return np.array([s.scale for s in settings], float)


def _sigma(settings):
    return np.array([s.sigma for s in settings], float)


def _is(found, settings, form):
    """Whether p and q are those of a form in all settings."""
    p, q = np.array([form(s.scale, s.sigma) for s in settings], float).T
    allowed = max(found.rtol, COARSEST) * np.maximum(np.abs(found.p), np.abs(found.q))
    return bool(np.all(np.abs(found.p - p) <= allowed) and np.all(np.abs(found.q - q) <= allowed))


def _target(found, settings):
    """p eps + q x in words."""
    size, out = np.maximum(np.abs(found.p), np.abs(found.q)), ""
    for values, name in ((found.p, "eps"), (found.q, "x")):
        if np.any(np.abs(values) > max(found.rtol, COARSEST) * size):
            text = factor(np.abs(values), settings, found.rtol).text
            out += f" {'-' if values[0] < 0 else '+'} {name if text == '1' else f'{text} {name}'}"
    return out.removeprefix(" + ").replace(" - ", "-", 1) if out.startswith(" -") else out.removeprefix(" + ")


def kernel_note(settings):
    """What the noisy points are, if they are not x + sigma eps with the sigma that was told, and how scores convert; () otherwise."""
    c, sigma = _scale(settings), _sigma(settings)
    if np.all(c == 1):
        return ()
    if np.allclose(c**2 + sigma**2, 1, atol=1e-6):
        form = "sqrt(1 - sigma^2) (variance preserving)"
    elif np.allclose(c + sigma, 1, atol=1e-6):
        form = "1 - sigma (a straight line from data to noise)"
    else:
        form = f"between {c.min():.6g} and {c.max():.6g}" if np.ptp(c) > 1e-6 else f"{c[0]:.6g}"
    return (
        f"another convention: the noisy points are x~ = c x + sigma eps with c = {form}; the score learnt is that of x~, and the score of "
        f"x + (sigma/c) eps at y is c s(c y)",
    )
