r"""The directions of a sliced loss: those it was given, those it drew, or those that its points were moved by; and whether E[v v^T] = I.

Whatever they are, at n equal rows the loss is 1/2 s.N s + tr(J M) + constant with N and M the means over the batch, which `identify` finds for one
point; M is K I up to 1/sqrt(n) if directions are isotropic.
"""

from typing import Any, NamedTuple

import numpy as np

from ..report import FAIL
from .identify import Answers, identify
from .names import Naming
from .probes import random_probe
from .trials import Trial

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
    out = {key: v for key, v in out.items() if np.all(np.isfinite(v)) and np.all(np.any(v != 0, axis=-1))}
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
        return Naming(FAIL, SHARED, "the mean of v v^T has rank one"), K, error
    if uneven:
        return Naming(FAIL, UNEVEN, f"M/K = {np.array2string(V / K, precision=2)}".replace("\n", "")), K, error
    return (None, K, error) if not fixed else (Naming("", FIXED, ""), K, error)


FIXED_WRONG = "fixed directions: they are the same in every call, whatever the random numbers; draw new ones with E[v v^T] = I for every row"
FIXED = "its directions are the same in every call, whatever the random numbers: right for a test, not for training"


class Unheard(NamedTuple):
    """A sliced loss by its arrays: what is wrong with it, or the coefficients of curvature and square, and how well they are known."""

    naming: Any = None
    curvature: float = 1.0
    square: float = 1.0
    error: float = 0.0
    size: float = 1.0  # E[v v^T] / I
    notes: tuple = ()


def by_arrays(caller, kind, setting, rng):
    """The `Unheard` of a sliced loss from its arrays at each row, and at many equal rows; None if no arrays explain it."""
    table = Answers(caller, kind, Trial(setting, setting.x, None), rng)
    found = identify(table)
    if not found.fit.near:
        return None
    own, b, C = found.own, found.b, found.C
    wrong = _without(own, b, C) or (_of_rows(caller, kind, setting, table, found, rng) if found.cross < 1e-6 else None)
    if wrong is not None or found.cross > 1e-6 or np.abs(b).max() > 1e-6 * np.abs(C).max():
        return Unheard(wrong) if wrong is not None else None
    many = np.tile(setting.x[:1], (MANY, 1))
    mean = identify(Answers(caller, kind, Trial(setting._replace(n=MANY, x=many), setting.x[:1], None), rng))
    if not mean.fit.near:
        return None
    return _of_means(own, C, mean.own[0], mean.C[0])


def _of_means(own, C, N, M):
    """The `Unheard` of the arrays of rows (n, d, d), and their means N and M over many equal rows."""
    d, error, text = len(N), SIGMAS * np.sqrt(2 / MANY), lambda m: np.array2string(m, precision=3).replace("\n", "")
    a, k = np.trace(N) / d, np.trace(M) / d
    even = lambda m: np.abs(m - np.trace(m) / d * np.eye(d)).max() <= error * abs(np.trace(m) / d)
    if not even(M):
        return Unheard(Naming(FAIL, UNEVEN, f"M/K = {text(M / k)}"))
    if not even(N):
        ones = np.allclose(own / np.trace(own, axis1=1, axis2=2)[:, None, None], np.ones((d, d)) / d, atol=1e-6)
        summed = "the square of the sum of the score's entries (summed before it is squared)"
        which = summed if ones else "a square that averages to no multiple of |s|^2"
        return Unheard(Naming(FAIL, f"wrong square: {which} stands in place of the square", f"N = {text(N)}"))
    ratio = np.sum(own * C) / np.sum(C * C)
    if np.abs(own - ratio * C).max() <= 1e-6 * np.abs(own).max():
        return Unheard(None, 1.0, ratio, 1e-6, k)
    diagonal = np.einsum("iaa->ia", C)
    exact = np.ptp(diagonal.sum(1)) <= 1e-6 * np.abs(diagonal).sum(1).max()
    if exact and np.ptp(own[:, range(d), range(d)]) <= 1e-6 * np.abs(own).max():  # |v|^2 is the same in all rows
        return Unheard(None, float(diagonal.sum(1)[0] / own[0].trace()), 1.0, 1e-6, 1.0)
    apart = () if np.allclose(own, own[:, :1, :1] * np.eye(d), atol=1e-6 * np.abs(own).max()) else (APART,)
    return Unheard(None, k / a, 1.0, 2 * error, 1.0, apart)


UNEVEN = "directions not isotropic: the mean of v v^T is not a multiple of I, so v.J v does not average to the trace"
APART = "the square and the curvature use different directions: right on average, and noisier"


def _without(A, b, C):
    """A FAIL of a loss without square or curvature."""
    square, linear, size = np.abs(A).max(), np.abs(b).max(), np.abs(C).max()
    if size > 1e-6 * max(square, linear) and square <= 1e-6 * size:
        if linear > 1e-6 * size:
            text = "projection not squared: a term linear in the score, v.s, stands where 1/2 (v.s)^2 should; it has no minimum"
            return Naming(FAIL, text, f"loss = s.b + tr(J M) + constant, |b| = {linear:.2g}")
        return Naming(FAIL, "no square: the square of the score is missing from your loss; it has no minimum", "A = 0")
    if size <= 1e-6 * square:
        text = "no curvature: the curvature v.J v is missing from your loss; it is minimised by a score of zero"
        return Naming(FAIL, text, "C = 0")
    return None


def _of_rows(caller, kind, setting, table, found, rng):
    """A FAIL of directions that are the same in every call or every row, or other ones on the two sides of the Jacobian."""
    C = (found.C + found.C.swapaxes(1, 2)) / 2
    size, values = np.abs(found.C).max(), np.linalg.eigvalsh(C)
    same, one = np.allclose(C, C[:1], atol=1e-6 * size), np.all(np.sum(np.abs(values) > 1e-6 * size, axis=1) == 1)
    elsewhere = caller.values(table.probes[:1], setting._replace(seed=setting.seed + 1))[0]
    drawn = bool(trial_draws(caller, kind, setting, rng))
    if same and one and setting.d > 1:
        if table.values[0] == elsewhere:
            return Naming(FAIL, FIXED_WRONG, "another seed, the same directions")
        return Naming(FAIL, SHARED, "C is the same in all rows")
    sides = (kind == "score" and np.abs(found.C - C).max() > 1e-6 * size) or np.any(
        values.min(1) * values.max(1) < -1e-9 * size**2
    )
    if sides and drawn:
        text = "two directions: the Jacobian has different vectors on its two sides, u.J v in place of v.J v (two independent vectors, v drawn twice, or the product with the same v left out), which averages to nothing"
        return Naming(FAIL, text, f"C of the first row {np.array2string(found.C[0], precision=3)}".replace("\n", ""))
    return None


SHARED = "shared probe: all rows of the batch use one direction; the mean is right, but averaging over the batch does not reduce its noise"


def trial_draws(caller, kind, setting, rng):
    """What a loss draws in a setting."""
    return caller.ask(random_probe(kind, setting.d, rng), setting).draws
