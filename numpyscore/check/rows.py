"""Losses in which every row has a level of its own: looked at row by row, each with its weight and its target."""

import numpy as np

from .calling import Setting
from .fitting import Explanation, Group, solve
from .joint import Level, asked
from .kernel import scale_of
from .levels import BY_SCALE, ROWS, Unseen, joint_setting, noise_size, rows_of, unit, with_rows
from .naming import Naming, name_right
from .noise import law
from .prediction import Prediction, convention, mistake
from .probes import random_probe
from .report import FAIL, PASS

FEW = (8, 3, 3)  # n, d, levels
SIZES = ((7, 2), (8, 3), (11, 3))  # n, d


def by_rows(caller, kind, rng):
    """The `Naming` of a loss over levels whose rows have coefficients of their own; None if they have none, or are not seen."""
    try:
        return _each_row(caller, kind, rng)
    except Unseen:
        return None


def _each_row(caller, kind, rng):
    """Whether the target of a row takes the level of another row."""
    size = noise_size(caller, kind, rng, False)
    setting = joint_setting(caller, rng, *FEW, False)
    rows = rows_of(caller, kind, setting, rng)
    setting = with_rows(setting, rows, size)
    M = rows.level.size
    situations, values = asked(caller, kind, setting, rng, 3 * M + 10)
    columns = np.array([_row_terms(q)[[0, 2]].ravel() for q in situations])
    fit = solve(columns, Group(setting, values, situations, caller.eps))
    if not fit.exact:
        return None
    a, b = fit.coefficients.reshape(2, M)
    level, sigma = rows.level.ravel(), setting.sigma.ravel()
    if np.any(np.abs(b) <= 1e-9 * np.abs(b).max()):
        return None
    sigmas = setting.extras["sigmas"]
    with np.errstate(all="ignore"):
        used = (b / a, np.sqrt(sigma * np.abs(b / a)))
    if np.allclose(used[0], sigma, rtol=1e-6):
        text = "rows of the same level are weighted differently: by another row's level, or by something else"
        return Naming(PASS, "", "target -eps/sigma of every row's own level", (f"another convention: {text}",))
    for words, other in zip(("-eps/sigma", "(x - x~)/sigma^2"), used, strict=True):
        near = np.abs(other[:, None] - sigmas).argmin(1)
        if np.allclose(other, sigmas[near], rtol=1e-6) and np.any(near != level):
            text = f"level of the target: the target {words} of a row is made with the sigma of another row"
            return Naming(FAIL, text, f"{np.mean(near != level):.0%} of the rows")
    return None


def _row_terms(q):
    """s.eps, s.x and 1/2 |s|^2 of every row (3, M), divided by the number of rows."""
    s = q.probe.score(q.at)
    terms = (q.shift / q.sigma, np.broadcast_to(q.x, s.shape), 0.5 * s)
    return np.stack([np.sum(s * f, -1).ravel() for f in terms]) * s.shape[-1] / s.size


# ------------------------------------------------------------------------------- a time drawn for every row


def own_levels(caller, kind, rng):
    """(`Naming`, resolution, levels) of a denoising loss that draws a level for each row inside and shows it by the scale of x.

    None where the noise is not of the size that belongs to the scale of its row.
    """
    size = _size_by_scale(caller, kind, rng)
    if size is None:
        return None
    levels: list[Level] = []
    found, doubts = [], []
    for n, d in SIZES:
        setting = Setting(n, d, 1e-6, 1, int(rng.integers(1 << 31)), 0.3 + 1.2 * rng.standard_normal((n, d)), {})
        c = scale_of(caller, random_probe(kind, d, rng), setting, rng)
        setting = setting._replace(scale=c, sigma=size(1.0, c))
        situations, values = asked(caller, kind, setting, rng, 4 * c.size + 10)
        columns = np.array([_row_terms(q).ravel() for q in situations])
        fit = solve(columns, Group(setting, values, situations, caller.eps))
        if not fit.exact:
            text = "unknown term: no weights and targets of its rows are your loss; it is not quadratic in what fn says, or mixes the rows"
            return Naming(FAIL, text, f"{fit.residual:.2g} of it is left"), fit.residual, levels
        a, e, b = fit.coefficients.reshape(3, -1)
        found.append(np.stack([b, -a / b, -e / b]))
        doubts.append(fit.doubt.reshape(3, -1) / np.maximum(np.abs(a), np.abs(b)))
        levels += [Level(n, d, float(s), 1, float(v), 1) for s, v in zip(setting.sigma.ravel(), c.ravel(), strict=True)]
    b, p, q = np.concatenate(found, axis=1)
    fn_is = Prediction(b, p, q, max(1e-8, 5 * float(np.max(np.concatenate(doubts, axis=1)))))
    return _named(caller, kind, fn_is, levels), fn_is.rtol, levels


def _named(caller, kind, fn_is, levels):
    """The `Naming` of what fn predicts at the levels of all rows."""
    free = kind == "score" and caller.free
    known = convention(fn_is, levels, caller.said) if free else None
    if known is not None:
        return known
    b, p, q = fn_is.b, fn_is.p, fn_is.q
    if np.any(np.abs(q) > fn_is.rtol * np.maximum(np.abs(p), np.abs(q))):
        return mistake(fn_is, levels, free)
    names, sigma = ("linear", "square"), np.array([level.sigma for level in levels])
    table, doubt = np.column_stack([-p * sigma * b, b]), np.full((len(b), 2), fn_is.rtol)
    return name_right("denoising", Explanation(names, names, names, table, doubt, {}, fn_is.rtol), levels, fn_is.rtol)


def _size_by_scale(caller, kind, rng):
    """Which of the kernels with a scale the noise of many rows has: the standard deviation as a function of c; None if it is neither."""
    setting = Setting(ROWS, 2, 1e-6, 1, int(rng.integers(1 << 31)), 0.3 + 1.2 * rng.standard_normal((ROWS, 2)), {})
    probe = random_probe(kind, 2, rng)
    c = scale_of(caller, probe, setting, rng)
    if c is None:
        return None
    shift = caller.ask(probe, setting._replace(scale=c)).situation.shift
    for size in BY_SCALE:
        eps = shift / size(1.0, c)
        if unit(eps) and all(law(e, setting.x) is None for e in eps):
            return size
    return None
