r"""A sliced loss that draws its directions where nobody sees them.

At n equal rows the score s and the Jacobian J are the same in every row, so whatever the directions are, the loss is

.. math:: s^T N s + \mathrm{tr}(J M) + \text{constant}

with matrices N and M that regression finds, from models drawn at random while the loss's seed stays. With V the mean of v v^T, the right
loss has M = K V and N = K V / 2, or N = K I / 2 in its variance-reduced form; and V is I up to 1/sqrt(n).
"""

import numpy as np

from .averages import averaged
from .calling import Setting
from .fitting import Explanation
from .naming import Naming, conversion, factor, name_right
from .numbers import law
from .probes import random_probe
from .report import FAIL, PASS

ROWS = 3000
SIGMAS = 6.0


def hidden_slices(caller, kind, repeatable, rng):
    """Naming, resolution and details of a sliced loss whose directions are hidden."""
    if not repeatable:
        return averaged(caller, kind, rng)
    found, settings, rough, fixed = [], [], 0.0, True
    for d, m in ((2, 1), (3, 2), (4, 3)):
        x = np.tile(0.3 + rng.standard_normal(d), (ROWS, 1))
        m = m if "n_probes" in caller.takes else 1
        setting = Setting(ROWS, d, 1.0, m, int(rng.integers(1 << 31)), x, {}, 1.0)
        upper = np.triu_indices(d)
        rows, values = [], []
        for _ in range(3 * len(upper[0])):
            probe = random_probe(kind, d, rng)
            s, J = probe.score(x[:1])[0], probe.jacobian(x[:1])[0]
            twice = np.where(upper[0] == upper[1], 1.0, 2.0)
            rows.append(np.concatenate([[1.0], (np.outer(s, s)[upper] * twice), ((J + J.T)[upper] * twice / 2)]))
            values.append(caller.ask(probe, setting).value)
        A, y = np.array(rows), np.array(values)
        if not np.all(np.isfinite(y)):
            return Naming(FAIL, "not finite: the loss is NaN or infinite", f"value {y[~np.isfinite(y)][0]}"), np.nan, {}
        c = np.linalg.lstsq(A, y, rcond=None)[0]
        left = np.abs(y - A @ c).max() / np.abs(A * c).sum(1).max()
        k = len(upper[0])
        N, M = _symmetric(c[1 : k + 1], upper, d), _symmetric(c[k + 1 :], upper, d)
        if left > max(1e-4, 1e4 * caller.eps):
            return _other_terms(caller, kind, setting, rng, left), left, {}
        fixed &= caller.ask(probe, setting._replace(seed=setting.seed + 1)).value == values[-1]
        found.append((N, M))
        rough = max(rough, left)
        settings.append(setting)
    naming, resolution, details = _named(found, settings, rough if rough > 1e-9 else 0.0, max(1e-8, 1e4 * caller.eps))
    if fixed and naming.diagnosis.startswith(("shared probe", "directions not isotropic")):
        text = "fixed directions: they are the same in every call, whatever the random numbers; draw new ones with E[v v^T] = I for every row"
        naming = naming._replace(diagnosis=text)
    elif fixed:
        naming = naming._replace(
            notes=(
                *naming.notes,
                "its directions are the same in every call, whatever the random numbers: right for a test, not for training",
            )
        )
    return naming, resolution, details


def _other_terms(caller, kind, setting, rng, left):
    """A loss that is not s.N s + tr(J M) with symmetric matrices: with a general M, or a term that is linear in the score?"""
    d, x = setting.d, setting.x[:1]
    rows, values = [], []
    for _ in range(3 * d * (d + 2)):
        probe = random_probe(kind, d, rng)
        s, J = probe.score(x)[0], probe.jacobian(x)[0]
        rows.append(np.concatenate([[1.0], s, np.outer(s, s)[np.triu_indices(d)], J.ravel()]))
        values.append(caller.ask(probe, setting).value)
    A, y = np.array(rows), np.array(values)
    c = np.linalg.lstsq(A, y, rcond=None)[0]
    if np.abs(y - A @ c).max() > max(1e-9, 1e4 * caller.eps) * np.abs(A * c).sum(1).max():
        text = "unknown term: at equal rows your loss is not s.N s + tr(J M); it is not quadratic in the score, or mixes the samples"
        return Naming(FAIL, text, f"{left:.2g} of it is left")
    b, N, M = c[1 : d + 1], c[d + 1 : -d * d], c[-d * d :].reshape(d, d)
    if np.abs(N).max() < 1e-6 * np.abs(M).max():
        text = "projection not squared: a term linear in the score, v.s, stands where 1/2 (v.s)^2 should; it has no minimum"
        return Naming(FAIL, text, f"loss = s.b + tr(J M) + constant, |b| = {np.linalg.norm(b):.2g}")
    twist = np.abs(M - M.T).max() / np.abs(M).max()
    text = "two directions: the Jacobian has different vectors on its two sides, u.J v in place of v.J v (v drawn twice, or the product with v left out), which averages to nothing"
    return Naming(
        FAIL,
        text,
        f"tr(J M) with M of size {np.abs(M).max():.2g} beside N of size {np.abs(N).max():.2g}, {twist:.0%} of it antisymmetric",
    )


def _symmetric(c, upper, d):
    S = np.zeros((d, d))
    S[upper] = c
    return S + S.T - np.diag(np.diag(S))


def _named(found, settings, left, exact):
    """From the matrices to the coefficients of both terms."""
    coefficients, forms = [], []
    noise = max(SIGMAS * np.sqrt(2 / ROWS), SIGMAS * left)
    exact = max(exact, SIGMAS * left)
    for N, M in found:
        d, size = len(N), np.abs(M).max()
        if size <= exact * np.abs(N).max():
            return (
                Naming(
                    FAIL,
                    "no curvature: the curvature v.J v is missing from your loss; it is minimised by a score of zero",
                    "tr(J M) with M = 0",
                ),
                exact,
                {},
            )
        if np.abs(N).max() <= exact * size:
            return (
                Naming(
                    FAIL,
                    "no square: the square of the score is missing from your loss; it has no minimum",
                    "s.N s with N = 0",
                ),
                exact,
                {},
            )
        if size <= 4 / np.sqrt(ROWS) * np.abs(N).max():
            text = "two directions: u.J v in place of v.J v (v drawn twice, or the product with v left out): the curvature averages to nothing beside the square"
            return (
                Naming(FAIL, text, f"tr(J M) with M of size {size:.2g} beside N of size {np.abs(N).max():.2g}"),
                exact,
                {},
            )
        values = np.linalg.eigvalsh(M)
        if d > 1 and np.sum(np.abs(values) > 1e-6 * size) == 1:
            return (
                Naming(
                    FAIL,
                    "shared probe: all rows of the batch use one direction; the mean is right, but averaging over the batch does not reduce its noise",
                    "the mean of v v^T has rank one",
                ),
                exact,
                {},
            )
        K = np.trace(M) / d
        if np.abs(M - K * np.eye(d)).max() > noise * abs(K):
            return (
                Naming(
                    FAIL,
                    "directions not isotropic: the mean of v v^T is not a multiple of I, so v.J v does not average to the trace",
                    f"M/K = {np.array2string(M / K, precision=2)}".replace("\n", ""),
                ),
                noise,
                {},
            )
        ratio = np.sum(N * M) / np.sum(M * M)
        if np.abs(N - ratio * M).max() <= exact * np.abs(N).max():
            forms.append("1/2 (v.s)^2")
            coefficients.append((K, 2 * ratio * K))
        elif np.abs(N - np.trace(N) / d * np.eye(d)).max() <= exact * np.abs(N).max():
            forms.append("1/2 |s|^2")
            coefficients.append((K, 2 * np.trace(N) / d))
        elif np.abs(N - np.trace(N) / d**2).max() <= exact * np.abs(N).max():
            return (
                Naming(
                    FAIL,
                    "wrong square: the square of the sum of the score's entries (summed before it is squared) stands in place of the square",
                    "s.N s with N = c 1 1^T",
                ),
                exact,
                {},
            )
        elif np.abs(N - np.trace(N) / d * np.eye(d)).max() <= noise * np.trace(N) / d:
            return (
                Naming(
                    FAIL,
                    "two draws: the square and the curvature use different directions v",
                    "N and M come from different directions",
                ),
                noise,
                {},
            )
        else:
            return (
                Naming(
                    FAIL,
                    "wrong square: the squared term is neither |s|^2 nor (v.s)^2",
                    f"N = {np.array2string(N, precision=3)}".replace("\n", ""),
                ),
                noise,
                {},
            )
    a, b = np.array(coefficients).T
    reduced = forms[0] == "1/2 |s|^2"
    names = ("linear", "square")
    doubt = np.full((len(a), 2), exact)
    if not reduced:  # both terms carry the size of v: its law is known to noise, their ratio exactly
        K = factor(a, settings, noise)
        ratio = b / a
        e = Explanation(names, names, names, np.column_stack([np.sign(ratio), np.abs(ratio)]), doubt, {}, exact)
        naming = name_right("sliced", e, settings, exact)
        if naming.verdict == PASS and (K.powers or abs(K.c - 1) > noise):
            naming = (
                naming._replace(notes=(conversion(K, "sliced"),))
                if K.c > 0
                else Naming(FAIL, f"sign of the loss: your loss is {K.text} times the reference", naming.pattern)
            )
    else:
        rtol = exact if np.all(np.abs(a / b - np.round(a / b)) < exact) else noise
        e = Explanation(names, names, names, np.column_stack([a, b]), doubt, {}, exact)
        if rtol == noise:
            e = e._replace(coefficients=np.column_stack([_snapped(a / b, settings, noise) * b, b]))
        naming = name_right("sliced", e, settings, exact if rtol == exact else 1e-6)
    note = f"the directions are hidden: the form with {forms[0]}, their size known to {noise:.0%}"
    return naming._replace(notes=(*naming.notes, note)), exact if not reduced else noise, {"linear": a, "square": b}


def _snapped(ratio, settings, noise):
    """A noisy ratio as the law that it follows within its noise, or as it is."""
    known = [{"d": s.d, "m": s.m} for s in settings]
    for c in (1.0, 2.0, 0.5, -1.0):
        found = law(np.asarray(ratio) / c, known, noise, odd=("d",))
        if found and abs(abs(found[0]) - 1) <= noise:
            return np.array(
                [c * np.sign(found[0]) * np.prod([k[name] ** e for name, e in found[1].items()]) for k in known]
            )
    return ratio
