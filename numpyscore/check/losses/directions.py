r"""The directions of a sliced loss: those it was given, those it drew, or those that its points were moved by; and whether E[v v^T] = I.

Whatever they are, at n equal rows the loss is 1/2 s.N s + tr(J M) + constant with N and M the means over the batch, which `identify` finds for one
point; M is K I up to 1/sqrt(n) if directions are isotropic.
"""

import numpy as np

from ..report import FAIL, INCONCLUSIVE
from .identify import Answers, identify
from .names import Naming
from .trials import Trial, rows_of

MANY = 3000
SIGMAS = 6.0


def of_draws(trial):
    """Directions (m, n, d) that may be made of the draws of a trial, in a fixed order: a name -> v, raw, of length sqrt(d), as signs."""
    n, d = trial.setting.n, trial.setting.d
    wide = [(k, w) for k, w in _wide(trial, d)]
    out = {}
    for k, a in wide:
        rows = a.reshape(-1, d)
        if len(rows) == 1:
            out[f"{k} shared"] = np.broadcast_to(rows, (1, n, d))
        elif len(rows) % n == 0:
            out[f"{k}"] = rows.reshape(-1, n, d)
            if len(rows) > n:
                out[f"{k} by rows"] = rows.reshape(n, -1, d).swapaxes(0, 1)
    whole = [v for key, v in out.items() if v.shape == (1, n, d) and "shared" not in key]
    if len(whole) > 1:
        out["all"] = np.concatenate(whole)
    for key, v in list(out.items()):
        out[f"{key} unit"] = v / np.linalg.norm(v, axis=-1, keepdims=True) * np.sqrt(d)
        out[f"{key} sign"] = np.sign(v - (0.5 if v.min() >= 0 else 0.0))
        if v.min() >= 0:
            out[f"{key} twice less one"] = 2 * v - 1
    return out


def _wide(trial, d):
    for k, draw in enumerate(trial.draws):
        a = np.asarray(draw.value, float)
        if (
            a.size
            and a.size % d == 0
            and a.ndim
            and (a.shape[-1] == d or a.size // d % trial.setting.n == 0 or a.size == d)
        ):
            yield k, a


def of_points(trial, step):
    """Directions (m, n, d) of the points x + step v that a loss asked at, one of each pair x +- step v; None if there are none."""
    x = trial.setting.x
    row = np.linalg.norm(trial.points[:, None] - x, axis=-1).argmin(1)
    moved = (trial.points - x[row]) / step
    kept: list = [[] for _ in x]
    for i, v in zip(row, moved, strict=True):
        if np.abs(v).max() > 1e-9 and not any(np.allclose(v, -w, atol=1e-6 * np.abs(v).max()) for w in kept[i]):
            kept[i].append(v)
    if len({len(k) for k in kept}) != 1 or not kept[0]:
        return None
    return np.array(kept).swapaxes(0, 1)


def as_far(v, step):
    """Directions on a sphere, whatever its radius, as those with |v|^2 = d, and the step that goes as far: (v, step)."""
    length = np.linalg.norm(v, axis=-1) / np.sqrt(v.shape[-1])
    return (v, step) if np.ptp(length) > 1e-6 * length.max() else (v / length.mean(), step * length.mean())


def law(caller, kind, setting, pick, rng):
    """(a `Naming` of what is wrong with the directions or None, E[v v^T] / I as far as it is measured, its relative error)."""
    d = setting.d
    x = 0.3 + rng.standard_normal((MANY, d))
    large = setting._replace(n=MANY, x=x, seed=setting.seed + 1, extras=setting.extras)
    small = [pick(setting._replace(seed=setting.seed + k)) for k in range(2)]
    v = pick(large)
    if v is None or small[0] is None:
        return None, 1.0, 0.0
    fixed = small[1] is not None and np.array_equal(*small)
    flat = v.reshape(-1, d)
    V = flat.T @ flat / len(flat)
    K, error = float(np.trace(V)) / d, SIGMAS * np.sqrt(2 / len(flat))
    same = np.allclose(v, v[:, :1])
    uneven = np.abs(V - K * np.eye(d)).max() > error * K
    if fixed and (same or uneven):
        return Naming(FAIL, FIXED_WRONG, "another seed, the same directions"), K, error
    if same:
        text = "shared probe: all rows of the batch use one direction; the mean is right, but averaging over the batch does not reduce its noise"
        return Naming(FAIL, text, "the mean of v v^T has rank one"), K, error
    if uneven:
        text = (
            "directions not isotropic: the mean of v v^T is not a multiple of I, so v.J v does not average to the trace"
        )
        return Naming(FAIL, text, f"M/K = {np.array2string(V / K, precision=2)}".replace("\n", "")), K, error
    return (None, K, error) if not fixed else (Naming("", FIXED, ""), K, error)


FIXED_WRONG = "fixed directions: they are the same in every call, whatever the random numbers; draw new ones with E[v v^T] = I for every row"
FIXED = "its directions are the same in every call, whatever the random numbers: right for a test, not for training"


def unheard(caller, kind, setting, rng):
    """The `Naming` of a sliced loss none of whose draws explains it, from its arrays at each row, and at many equal rows."""
    table = Answers(caller, kind, Trial(setting, setting.x, None), rng)
    found = identify(table)
    if not found.fit.near:
        return None
    d, size = setting.d, np.abs(found.C).max()
    square, linear = np.abs(found.A).max(), np.abs(found.b).max()
    if size > 1e-6 * max(square, linear) and square <= 1e-6 * size:
        if linear > 1e-6 * size:
            text = "projection not squared: a term linear in the score, v.s, stands where 1/2 (v.s)^2 should; it has no minimum"
            return Naming(FAIL, text, f"loss = s.b + tr(J M) + constant, |b| = {linear:.2g}")
        return Naming(FAIL, "no square: the square of the score is missing from your loss; it has no minimum", "A = 0")
    if size <= 1e-6 * square:
        return Naming(
            FAIL,
            "no curvature: the curvature v.J v is missing from your loss; it is minimised by a score of zero",
            "C = 0",
        )
    C = (found.C + found.C.swapaxes(1, 2)) / 2
    values = np.linalg.eigvalsh(C)
    sides = (kind == "score" and np.abs(found.C - C).max() > 1e-6 * size) or np.any(
        values.min(1) * values.max(1) < -1e-9 * size**2
    )
    draws = len(rows_of(trial_draws(caller, kind, setting, rng), d)[0])
    if sides and draws:
        text = "two directions: the Jacobian has different vectors on its two sides, u.J v in place of v.J v (v drawn twice, or the product with v left out), which averages to nothing"
        return Naming(FAIL, text, f"C of the first row {np.array2string(found.C[0], precision=3)}".replace("\n", ""))
    own = found.own
    if (
        np.allclose(C, C[:1])
        and table.values[0] == caller.values(table.probes[:1], setting._replace(seed=setting.seed + 1))[0]
    ):
        return Naming(FAIL, FIXED_WRONG, "another seed, the same directions")
    rank = lambda m: np.all(
        np.sum(np.abs(np.linalg.eigvalsh(m)) > 1e-6 * np.abs(m).max((1, 2), keepdims=True)[..., 0], axis=1) == 1
    )
    if d > 2 and rank(C) and rank(own) and not np.allclose(own / own.max(), C / C.max(), atol=1e-6):
        if np.allclose(own / np.trace(own, axis1=1, axis2=2)[:, None, None], np.ones((d, d)) / d, atol=1e-6):
            text = "wrong square: the square of the sum of the score's entries (summed before it is squared) stands in place of the square"
            return Naming(FAIL, text, "A = c 1 1^T")
        return Naming(
            FAIL,
            "two draws: the square and the curvature use different directions v",
            "A and C come from different directions",
        )
    many = np.tile(setting.x[:1], (MANY, 1))
    mean = identify(Answers(caller, kind, Trial(setting._replace(n=MANY, x=many), setting.x[:1], None), rng))
    M = mean.C[0]
    K = np.trace(M) / d
    if mean.fit.near and np.abs(M - K * np.eye(d)).max() > SIGMAS * np.sqrt(2 / MANY) * abs(K):
        text = (
            "directions not isotropic: the mean of v v^T is not a multiple of I, so v.J v does not average to the trace"
        )
        return Naming(FAIL, text, f"M/K = {np.array2string(M / K, precision=2)}".replace("\n", ""))
    text = "hidden directions: they were not heard (a compiled function, or another library draws them); let the loss take rng= (or key, generator, probes)"
    return Naming(
        INCONCLUSIVE, text, f"C of the first row {np.array2string(found.C[0], precision=3)}".replace("\n", "")
    )


def trial_draws(caller, kind, setting, rng):
    """What a loss draws in a setting."""
    from .probes import random_probe

    return caller.ask(random_probe(kind, setting.d, rng), setting).draws
