r"""The directions of a sliced loss: those it was given, those it drew, or those that its points were moved by; and whether E[v v^T] = I.

Of directions that were not heard C = v v^T is known row by row, and at n equal rows the mean of it, K I up to 1/sqrt(n) if they are isotropic.
"""

import numpy as np

from ..report import FAIL, PASS
from .identify import Answers, identify
from .names import LINEAR, SQUARE, Naming, conversion, factor, levels_of, name_parts
from .probes import random_probe
from .trials import Trial

MANY = 3000
SIGMAS = 6.0
LAWS = (lambda d: 1.0, lambda d: 1 / d, lambda d: d, lambda d: 2.0, lambda d: 0.5, lambda d: 1 / 3,
        lambda d: 4.0, lambda d: 0.25, lambda d: 1 / 12, lambda d: 1 / d**2)  # fmt: skip
FIXED_WRONG = "fixed directions: they are the same in every call, whatever the random numbers; draw new ones with E[v v^T] = I for every row"
FIXED = "its directions are the same in every call, whatever the random numbers: right for a test, not for training"
METRIC = "directions not isotropic: the mean M of v v^T is no multiple of I; with (v.s)^2 as the square the loss weighs errors by M: right only for a model that can reach the score"
SHARED = "shared probe: all rows of the batch use one direction; the mean is right, but averaging over the batch does not reduce its noise"
UNEVEN = "directions not isotropic: the mean of v v^T is not a multiple of I, so v.J v does not average to the trace"
TWO = "two directions: the Jacobian has different vectors on its two sides, u.J v in place of v.J v (two independent vectors, v drawn twice, or the product with the same v left out), which averages to nothing"


def of_draws(trial):
    """Directions (m, n, d) that may be made of the draws of a trial, in a fixed order: a name -> v, raw, of length sqrt(d), as signs."""
    n, d = trial.setting.n, trial.setting.d
    out = {}
    for k, draw in enumerate(trial.draws):
        a = np.asarray(draw.value, float)
        if not a.ndim or not a.size or a.size % d or not (a.shape[-1] == d or a.size // d % n == 0 or a.size == d):
            continue
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


def law_of(sizes, settings, within):
    """The first of `LAWS` in d that the sizes (G,) of E[v v^T] / I follow; None."""
    follows = lambda law: np.all(np.abs(sizes / np.array([law(s.d) for s in settings]) - 1) <= within)
    return next((law for law in LAWS if follows(law)), None)


def law(caller, kind, setting, pick, projected, rng):
    """(a `Naming` of what is wrong with the directions, or without verdict what is to be said of them; E[v v^T] / I as far as it is measured; its relative error).

    pick : callable setting -> the directions that are drawn there; projected : whether they are in the square too, (v.s)^2
    """
    d, x = setting.d, 0.3 + rng.standard_normal((MANY, setting.d))
    v = pick(setting._replace(n=MANY, x=x, seed=setting.seed + 1))
    small = [pick(setting._replace(seed=setting.seed + k)) for k in range(2)]
    if v is None or small[0] is None:
        return None, 1.0, 0.0
    fixed = small[1] is not None and np.array_equal(*small)
    flat = v.reshape(-1, d)
    V = flat.T @ flat / len(flat)
    K, error = float(np.trace(V)) / d, SIGMAS * np.sqrt(2 / len(flat))
    same, uneven = np.allclose(v, v[:, :1]), np.abs(V - K * np.eye(d)).max() > error * K
    measured = f"M/K = {np.array2string(V / K, precision=2)}".replace("\n", "")
    if fixed and (same or uneven):
        return Naming(FAIL, FIXED_WRONG, "another seed, the same directions"), K, error
    if same:
        return Naming(FAIL, SHARED, "the mean of v v^T has rank one"), K, error
    if uneven and projected and np.linalg.eigvalsh(V)[0] > error * K:
        return Naming("", METRIC, measured), K, error
    if uneven:
        return Naming(FAIL, UNEVEN, measured), K, error
    return (Naming("", FIXED, "") if fixed else None), K, error


# ------------------------------------------------------------------------------- directions that were not heard


def hidden(caller, kind, settings, rng):
    """The `Naming` of a sliced loss none of whose draws is its direction, by its arrays; None if they do not explain it."""
    found = []
    for setting in settings:
        one = _by_arrays(caller, kind, setting, rng)
        if one is None or isinstance(one, Naming):
            return one
        found.append(one)
    curvature, size, error = np.array([f[:3] for f in found]).T
    levels, error, metric = levels_of(settings), error.max(), found[0][3]
    lawful = None if error <= 1e-6 else law_of(curvature, settings, error)
    curvature = curvature if lawful is None else np.array([lawful(s.d) for s in settings])
    naming = name_parts("sliced", {SQUARE: np.ones(len(found)), LINEAR["sliced"]: curvature}, levels, 1e-6)
    law, notes = law_of(size, settings, 0.2), (metric,) * bool(metric)
    if naming.verdict == PASS and not metric and law not in (None, LAWS[0]):
        notes = (conversion(factor([law(s.d) for s in settings], levels, 1e-6), "sliced"),)
    if error > 1e-6:
        notes = (*notes, f"the directions were not heard: the size of the curvature is known to {error:.0%}")
    return naming._replace(notes=notes, resolution=error)


def _by_arrays(caller, kind, setting, rng):
    """(curvature beside the square, E[v v^T] / I of both, relative error) by the arrays of each row, and of many equal rows; what is wrong with them; None."""
    table = Answers(caller, kind, Trial(setting, setting.x, None), rng)
    found = identify(table)
    own, C, d, tol = found.own, found.C, setting.d, 1e-6
    size = np.abs(C).max()
    if not found.fit.near or found.cross > tol or size <= tol * np.abs(own).max():
        return None
    if (wrong := _of_rows(caller, kind, table, C, rng)) is not None:
        return wrong
    if min(np.abs(own).max(), np.abs(own).max() - np.abs(found.b).max()) <= tol * size:
        return None
    drawn = caller.ask(random_probe(kind, d, rng), setting).draws
    many = setting._replace(n=MANY, x=np.tile(setting.x[:1], (MANY, 1)))
    try:
        mean = identify(Answers(caller, kind, Trial(many, setting.x[:1], None), rng))
    except Exception as why:  # its directions are numbers of its own, too few of them
        stopped = f"nothing is drawn, and with {MANY} rows it raised {type(why).__name__}"
        return None if drawn else Naming(FAIL, FIXED_WRONG, stopped)
    if not mean.fit.near:
        return None
    N, M, error = mean.own[0], mean.C[0], SIGMAS * np.sqrt(2 / MANY)
    a, k = np.trace(N) / d, np.trace(M) / d
    even = lambda m: np.abs(m - np.trace(m) / d * np.eye(d)).max() <= error * abs(np.trace(m) / d)
    ratio = np.sum(own * C) / np.sum(own * own)
    projected = np.abs(C - ratio * own).max() <= tol * size
    if projected and np.linalg.eigvalsh(M / k)[0] > error:
        return ratio, k / ratio, tol, "" if even(M) else METRIC
    if not even(M):
        return Naming(FAIL, UNEVEN, f"M/K = {np.array2string(M / k, precision=3)}".replace("\n", ""))
    if not even(N):
        return None
    traces, squares = np.einsum("iaa->i", C), np.einsum("iaa->ia", own)
    if (
        max(np.ptp(traces) / np.abs(traces).max(), np.ptp(squares) / np.abs(squares).max()) <= tol
    ):  # |v|^2 is the same in all rows
        return traces[0] / squares[0].sum(), 1.0, tol, ""
    return k / a, 1.0, 2 * error, ""


def _of_rows(caller, kind, table, C, rng):
    """A FAIL of directions that are the same in every call or every row, or other ones on the two sides of the Jacobian."""
    setting, even = table.trial.setting, (C + C.swapaxes(1, 2)) / 2
    size, values = np.abs(C).max(), np.linalg.eigvalsh(even)
    one = np.all(np.sum(np.abs(values) > 1e-6 * size, axis=1) == 1)
    if one and setting.d > 1 and np.allclose(even, even[:1], atol=1e-6 * size):
        again = caller.values(table.probes[:1], setting._replace(seed=setting.seed + 1))[0]
        return Naming(FAIL, FIXED_WRONG if table.values[0] == again else SHARED, "C is the same in all rows")
    sides = kind == "score" and np.abs(C - even).max() > 1e-6 * size
    sides = sides or np.any(values.min(1) * values.max(1) < -1e-9 * size**2)
    if sides and caller.ask(random_probe(kind, setting.d, rng), setting).draws:
        return Naming(FAIL, TWO, f"C of the first row {np.array2string(C[0], precision=3)}".replace("\n", ""))
    return None
