r"""Losses whose points are the data: explicit, implicit, generalised, regularised, sliced, and with finite differences.

First the terms of the reference, each with a factor of its own, in every trial; what they do not explain is read by its arrays A, b, C (`patterns`).
Of directions that were not heard C = v v^T is known row by row, and at n equal rows the mean of it, K I up to 1/sqrt(n) if they are isotropic.
"""

from typing import Any, NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from ..fields import numbered
from ..report import FAIL, INCONCLUSIVE, PASS, close
from . import patterns
from .identify import Answers, identify, random_probe, solve
from .names import COARSEST, LINEAR, REGULARISER, SQUARE, Naming, alike, conversion, factor, levels_of, name_parts
from .trials import Trial, as_asked, plain

CALLS = 14  # probes in a trial, where a few coefficients are wanted
SIGMAS = 5.0
INACCURATE = 1e-2  # what a loss may be off by, of its terms, to be called inaccurate rather than another


class Observation(NamedTuple):
    """What one call of a loss was about: the probe, the data, and the random numbers that it used; what `Objective.right` is given."""

    probe: Any
    x: np.ndarray  # (n, d)
    at: np.ndarray  # (k, n, d) where the score is taken: x itself, or the noisy points
    v: np.ndarray | None = None  # (m, n, d)
    target: np.ndarray | None = None
    h: np.ndarray | None = None
    h_prime: np.ndarray | None = None
    step: float = 0.0
    variance_reduced: bool = False  # 1/2 |s|^2 in place of 1/2 (v.s)^2
    energies: bool = False  # finite differences of energies, not of scores
    square_at_x: bool = False  # of the score itself, where others take differences or a mean
    numbers: dict = {}  # noqa: RUF012  of the objective itself
    forward: bool = False  # v.(s(x + eps v) - s(x)) / eps in place of the central difference


def observation(caller, trial):
    """The `Observation` of a trial, its probe and its directions still to be put in."""
    extras, x = trial.setting.extras, trial.setting.x
    weights = {k: extras[k] for k in ("h", "h_prime") if caller.objective == "generalised"}
    target = extras["target"] if caller.objective == "explicit" else None
    return Observation(None, x, x[None], target=target, step=caller.known["step"], numbers=caller.numbers, **weights)


class Right(NamedTuple):
    """A loss as a sum of the terms of the reference in one of its forms: their factors (G,) in each trial, and what they leave."""

    parts: dict
    fits: list
    form: dict
    seen: list  # `Observation` of each trial

    @property
    def near(self):
        """Whether they leave hardly anything in every trial."""
        return all(f.near for f in self.fits)

    @property
    def left(self):
        """The most that they leave, relative to the terms."""
        return max(f.residual for f in self.fits)


def _round_off(caller, table):
    """Round-off of an energy over the square of the user's step; 0 where there are no differences."""
    if caller.objective != "finite_difference_sliced":
        return 0.0
    size = max(np.abs(p.energy(table.trial.setting.x)).max() for p in table.probes)
    return caller.eps * size / caller.known["step"] ** 2


DRY = 1e-3  # of the terms, below which what is left is no second difference that drowned
DROWNED = "round-off: the loss comes in {came}, and is unexplained; if the energies do too, their round-off over the squared step is {off:.0e} beside terms of {size:.0e}, and the second difference drowns in it; take a longer step, or double precision"


def _drowned(caller, table):
    """The FAIL of a loss whose second differences are round-off; None."""
    off, size = (
        _round_off(caller, table),
        np.median(np.abs([np.sum(p.score(table.trial.setting.x) ** 2, -1).mean() for p in table.probes])),
    )
    if off <= 0.1 * size:
        return None
    return Naming(FAIL, DROWNED.format(came=caller.came, off=off, size=size), f"step {caller.known['step']:g}")


def as_it_should_be(caller, tables, seen):
    """The `Right` of the first right form that explains all trials, else of that which leaves least."""
    objective, best, floors = caller.objective, None, [256 * _round_off(caller, t) for t in tables]
    for form in OBJECTIVES[objective].forms:
        if form.get("energies") and tables[0].kind != "energy":
            continue
        here = [q._replace(**form) for q in seen]
        columns = [patterns.right_parts(objective, t.grow(CALLS), q) for t, q in zip(tables, here, strict=True)]
        fits = [
            solve(np.column_stack(list(c.values())), t.values, t.caller.eps, f)
            for c, t, f in zip(columns, tables, floors, strict=True)
        ]
        factors = np.transpose([f.coefficients for f in fits])
        found = Right(dict(zip(columns[0], factors, strict=True)), fits, form, here)
        if all(f.exact for f in fits):
            return found
        best = found if best is None or found.left < best.left else best
    return best


def of_terms(caller, kind, settings, rng):
    """(`Naming`, sense, details) of a loss made of a square and a linear term at the data."""
    look = as_asked if caller.objective == "finite_difference_sliced" else plain
    trials = [look(caller, kind, s, rng) for s in settings]
    tables = [Answers(caller, kind, t._replace(points=t.setting.x), rng).grow(CALLS) for t in trials]
    if (wrong := unusable(tables)) is not None:
        return wrong, 0, {}
    key, right = _right(caller, trials, tables)
    drowned = _drowned(caller, tables[0])
    if right is not None and right.near and (drowned is None or right.left < DRY):
        naming, details = _factors(caller, kind, settings, right, rng)
        if caller.objective == "sliced" and key:
            draws = lambda s: directions_of(plain(caller, kind, s, rng)).get(key)
            naming = _with_law(caller, kind, settings, draws, naming, right, rng)
        elif caller.objective == "finite_difference_sliced" and "v" not in caller.takes:
            naming = _with_law_of_moves(caller, kind, settings, naming, right, rng)
        return naming, 2, details
    if drowned is not None:
        return drowned, 0, {}
    if caller.objective == "implicit" and trials[0].draws:
        return _estimated(caller, kind, settings, rng)
    return _wrong(caller, kind, trials, tables, right, rng)


def _estimated(caller, kind, settings, rng):
    """`of_terms` of an implicit loss that estimates its trace along directions which it draws: that of a sliced loss."""
    caller.objective = "sliced"
    try:
        naming, sense, details = of_terms(caller, kind, settings, rng)
    finally:
        caller.objective = "implicit"
    note = "it draws numbers, and is judged as a sliced loss (a trace along directions, or of rows or dimensions, that are drawn?)"
    return naming._replace(notes=(*naming.notes, note)), sense, details


def _right(caller, trials, tables):
    """(name of the draws that are directions, the `Right` or None)."""
    objective, seen = caller.objective, [observation(caller, t) for t in trials]
    along = lambda vs: [q._replace(v=v) for q, v in zip(seen, vs, strict=True)]
    if "v" in caller.takes:
        seen = along([t.setting.extras["v"] for t in trials])
        found = as_it_should_be(caller, tables, seen)
        if not found.near and objective == "sliced" and trials[0].draws:
            key, other = _along_draws(caller, trials, tables, along)
            if key:
                caller.notes.add(
                    f"the directions that it is given as {caller.takes['v'][0]} are not used: it draws its own"
                )
                return key, other
        return "", found
    elif objective == "finite_difference_sliced":
        found = [_moved(t, caller.known["step"]) for t in trials]
        if any(v is None for v in found):
            return "", None
        if "step" in caller.takes and all(np.mean(v**2) > LONG for v in found):
            way = caller.known["step"] * np.sqrt(np.mean(found[0] ** 2))
            if not _goes_with_step(caller, tables[0].kind, trials[0], way):
                return "", None
        far = [_as_far(v, caller.known["step"]) for v in found]
        seen = [q._replace(v=v, step=h) for q, (v, h) in zip(seen, far, strict=True)]
    elif objective == "sliced":
        return _along_draws(caller, trials, tables, along)
    return "", as_it_should_be(caller, tables, seen)


def _along_draws(caller, trials, tables, along):
    """`_right` of a sliced loss that draws its directions, by those that explain it, else the first that may be directions."""
    choices = [directions_of(t) for t in trials]
    keys = [k for k in choices[0] if all(k in c for c in choices)]
    for key in keys:
        seen = along([c[key] for c in choices])
        if as_it_should_be(caller, tables[:2], seen[:2]).near:
            return key, as_it_should_be(caller, tables, seen)
    return "", as_it_should_be(caller, tables, along([c[keys[0]] for c in choices])) if keys else None


def unusable(tables):
    """A FAIL of a loss that is not finite, or that does not depend on fn."""
    values = np.concatenate([t.values for t in tables])
    if not np.all(np.isfinite(values)):
        odd = [t.trial.setting for t in tables if not np.all(np.isfinite(t.values))]
        at = f", all in batches of {' and '.join(f'{s.n} x {s.d}' for s in odd)} numbers" * (len(odd) < len(tables))
        text = f"not finite: {np.sum(~np.isfinite(values))} of {values.size} values of the loss are NaN or infinite{at}"
        return Naming(FAIL, text, f"value {values[~np.isfinite(values)][0]}")
    if all(np.ptp(t.values) <= 64 * t.caller.eps * np.abs(t.values).max() for t in tables):
        return Naming(FAIL, "model not used: the loss does not depend on fn", f"always {values[0]:.6g}")
    return None


def _factors(caller, kind, settings, right, rng):
    """The `Naming` of a loss made of the terms of the reference, by their factors, and details."""
    exact = all(f.exact for f in right.fits)
    doubt = max(float(np.max(f.doubt) / max(np.abs(f.coefficients).max(), 1e-300)) for f in right.fits)
    rtol = max(1e-9, SIGMAS * doubt, 0.0 if exact else 30 * right.left)
    parts, notes = _at_its_own_number(caller, right.parts, rtol)
    naming = name_parts(caller.objective, parts, levels_of(settings), rtol)
    if REGULARISER in right.parts and REGULARISER not in parts:
        own = f" + a lambda of its own x [{REGULARISER.removeprefix('regulariser lambda ')}] + constant"
        naming = naming._replace(pattern=naming.pattern.replace(" + constant", own))
    if naming.verdict == FAIL and caller.objective == "sliced" and "v" not in caller.takes:
        naming = _by_number(naming, parts, len(right.seen[0].v))
    if naming.verdict == FAIL and caller.objective == "finite_difference_sliced":
        naming = _by_step(naming, parts, caller.known["step"])
    if (
        naming.verdict == FAIL
        and kind == "energy"
        and naming.diagnosis.startswith("sign of the")
        and len(right.parts) == 2
    ):
        naming = naming._replace(diagnosis=naming.diagnosis + LOG_P)
    if naming.verdict == PASS and naming.notes and caller.objective == "finite_difference_sliced" and caller.own_step:
        naming = naming._replace(notes=(OWN_STEP.format(caller.known["step"]),))
    notes += () if exact else (near_note(right.left),)
    details = {"factors": right.parts, "residual": right.left, "form": right.form}
    details["settings"] = [{k: getattr(s, k) for k in ("n", "d", "m")} for s in settings]
    if naming.verdict == FAIL and caller.objective == "implicit":
        yours = patterns.minimiser(caller, kind, settings[0], rng)
        if yours is not None and abs(yours - 1) > 1e-6:
            details["oracle"] = {"yours": yours, "right": 1.0}
            of = f"{settings[0].n} standardised rows in {settings[0].d} dimensions"
            said = f"for lambda |x|^2/2 on {of} your loss has its minimum at lambda = {yours:.6g}, the right one at 1"
            notes += (said,)
    return naming._replace(resolution=max(rtol, COARSEST), notes=(*notes, *naming.notes)), details


LOG_P = " (or is fn log p in your loss? here it is an energy, -log p)"
OWN_STEP = "another convention, or another step: it takes no step, and is a multiple of the reference as of one of {:g}; say step= for more"


def _by_number(naming, parts, m):
    """The `Naming` of a projected Jacobian beside the square, that says where its factor is the number of directions that were drawn."""
    square, along = parts.values()
    with np.errstate(all="ignore"):
        times = np.nan_to_num(along / square, posinf=0)
    if m > 1 and alike(times) and (close(times[0], m, 1e-6) or close(times[0], 1 / m, 1e-6)):
        return naming._replace(
            diagnosis=f"{naming.diagnosis}: {m} directions are drawn (summed in one term, and averaged in the other?)"
        )
    return naming


def _by_step(naming, parts, step):
    """The `Naming` of a second difference beside the square, that says where its factor is a power of the step."""
    square, second = parts.values()
    for power, why in (
        (1, "the second difference lacks a division by the step, or the square has one too many"),
        (-1, "the second difference has one division by the step too many, or the square lacks one"),
        (2, "the second difference lacks the division by the squared step, or the square has it once too often"),
    ):
        if np.all(square) and alike(second / square) and abs(second[0] / square[0] / step**power - 1) < 1e-6:
            return naming._replace(diagnosis=f"{naming.diagnosis}: {why}")
    return naming


def _at_its_own_number(caller, parts, rtol):
    """(the parts, notes) of a regularised loss; of one that takes no lambda beside the lambda that it has, one above 0 in all trials."""
    if REGULARISER not in parts or "lam" in caller.takes:
        return parts, ()
    with np.errstate(all="ignore"):
        share = parts[REGULARISER] / parts[SQUARE]
    if not np.all(np.isfinite(share)) or not np.all(share) or not alike(share, max(rtol, COARSEST)):
        return parts, ()
    if share[0] < 0:
        return parts | {REGULARISER: -parts[SQUARE]}, ()
    note = f"it takes no lam, and has lambda = {caller.numbers['lam'] * share[0]:.6g} beside 1/2 |s|^2: whether that is meant is not asked here"
    return {name: part for name, part in parts.items() if name != REGULARISER}, (note,)


def near_note(left):
    """What is said of a loss that is right but for a little."""
    return f"right up to {left:.0e} of its terms: as when a part is computed in single precision, by finite differences of its own, or with an epsilon"


# ------------------------------------------------------------------------------- directions: given, drawn, or those that points were moved by

MANY = 3000  # rows, of which the mean of v v^T is known to sqrt(2/3000)
LAWS = (lambda d: 1.0, lambda d: 1 / d, lambda d: d, lambda d: 2.0, lambda d: 0.5, lambda d: 1 / 3,
        lambda d: 4.0, lambda d: 0.25, lambda d: 1 / 12, lambda d: 1 / d**2)  # fmt: skip
FIXED_WRONG = "fixed directions: they are the same in every call, whatever the random numbers; draw new ones with E[v v^T] = I for every row"
FIXED_PRODUCT = "fixed directions: v v^T is the same in every call, whatever the random numbers (v is kept, or one sign is drawn for all its dimensions?); draw new ones with E[v v^T] = I for every row"
FIXED_FEW = (
    f"{FIXED_WRONG}; over the few of a batch v v^T has a mean that is not I, and beside |s|^2 the minimiser follows it"
)
FIXED = "its directions are the same in every call, whatever the random numbers: right for a test, not for training"
METRIC = "directions not isotropic: the mean M of v v^T is no multiple of I; with (v.s)^2 as the square the loss weighs errors by M: right only for a model that can reach the score (numbers from 0 to 1, whose mean is not 0, dimensions of other variances?)"
SHARED = "shared probe: all rows of the batch use one direction; the mean is right, but averaging over the batch does not reduce its noise"
OVER_BATCH = (
    "directions normalised over the batch: the mean of v v^T goes as 1/n; each row must have its own length, |v|^2 = d"
)
UNEVEN = "directions not isotropic: the mean of v v^T is not a multiple of I, so v.J v does not average to the trace"
ONE_NUMBER = "one number for all dimensions: the entries of a direction are equal (drawn as (n, 1), and broadcast?), so v.J v is the sum of all entries of the Jacobian, times a square, and not its trace"
FORGOT = (
    "no product with v: the Jacobian times v is summed over its entries, where v.J v belongs: v is left out on one side"
)
TWO = "two directions: the Jacobian has different vectors on its two sides, u.J v in place of v.J v (two independent vectors, v drawn twice, a function of v on one side, or the product with the same v left out?); its mean is E[u v^T] : J, nothing where u and v are independent"
TRACE = "it has the trace itself, along no directions (or along a basis of them in every row)"
SOME_ROWS = "some rows: the curvature is taken on some of the rows alone (a part of the batch that is drawn?): whether it is right on average is not asked; with all rows more can be said"


def _with_law_of_moves(caller, kind, settings, naming, right, rng):
    """`_with_law` of a loss of finite differences, by where it asks; of one with a step of its own no size is known."""
    step = caller.known["step"]

    def moves(s):
        v = _moved(as_asked(caller, kind, s, rng), step)
        return None if v is None else _as_far(v, step)[0]

    laws = _with_law(caller, kind, settings, moves, naming, right, rng)
    of_size = laws.diagnosis.startswith(("scale", "curvature", "second difference", "square", "sign"))
    return laws if laws.verdict == FAIL and not (caller.own_step and of_size) else naming


def _with_law(caller, kind, settings, draws, naming, right, rng):
    """The `Naming` with what the law of the directions adds: E[v v^T] = K I, or something wrong with them."""
    some = [settings[0], settings[2]]
    projected = not (right.form.get("variance_reduced") or right.form.get("square_at_x"))
    objective = caller.objective
    laws = [_law(caller, kind, s, draws, projected, rng) for s in some]
    said = [w for w, *_ in laws if w is not None]
    if (wrong := next((w for w in said if w.verdict), None)) is not None:
        return wrong
    naming = naming._replace(notes=(*naming.notes, *dict.fromkeys(w.diagnosis for w in said)))
    if naming.verdict == FAIL and projected:
        return naming
    K, error = np.array([size for _, *size in laws]).T
    law = _law_of(K, some, error)
    size = np.array([K[0] if law is None else law(s.d) for s in settings])
    if np.all(size == 1) or METRIC in naming.notes:  # no number converts a matrix
        return naming
    (b, a), levels = right.parts.values(), levels_of(settings)
    if not projected:
        return name_parts(objective, {SQUARE: b, LINEAR[objective]: a * size}, levels, 1e-6)._replace(resolution=0.1)
    return naming._replace(notes=(*naming.notes, conversion(factor(size * b, levels, 1e-6), objective)))


def directions_of(trial):
    """Directions (m, n, d) that may be made of the draws of a trial, in a fixed order: a name -> v, raw, of length sqrt(d), as signs."""
    n, d = trial.setting.n, trial.setting.d
    out = {}
    for k, draw in enumerate(trial.draws):
        a = np.asarray(draw.value, float)
        if not a.ndim or not a.size or a.size % d:
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
    out = {key: v for key, v in out.items() if np.all(np.isfinite(v)) and np.any(v)}
    for key, v in list(out.items()):
        length = np.linalg.norm(v, axis=-1, keepdims=True)
        out[f"{key} unit"] = v / np.where(length > 0, length, 1.0) * np.sqrt(d)
        out[f"{key} sign"] = np.sign(v - (0.5 if v.min() >= 0 else 0.0))
        if v.min() >= 0:
            out[f"{key} twice less one"] = 2 * v - 1
    return {key: v for key, v in out.items() if np.all(np.any(v != 0, axis=-1))}


LONG = 50.0  # times the squared step, beyond which no direction of variance 1 leads in the mean


def _row_of(trial):
    """The row of x (M,) that each point is nearest to; of so long steps that these are not as many for each, that of its place in a block of n."""
    from scipy.spatial import cKDTree

    near = cKDTree(trial.setting.x).query(trial.points)[1]
    each = np.bincount(near, minlength=trial.setting.n)
    blocks = np.arange(len(near)) % trial.setting.n
    return blocks if np.ptp(each) and len(near) % trial.setting.n == 0 else near


def _moved(trial, step):
    """Directions (m, n, d) of the points x + step v that a loss asked at, one of each pair x +- step v; None if there are none."""
    x = trial.setting.x
    row = _row_of(trial)
    moved = (trial.points - x[row]) / step
    kept: list = [[] for _ in x]
    for i, v in zip(row, moved, strict=True):
        if np.abs(v).max() > 1e-9 and not any(np.allclose(v, -w, atol=1e-6 * np.abs(v).max()) for w in kept[i]):
            kept[i].append(v)
    if len({len(k) for k in kept}) != 1 or not kept[0]:
        return None
    return np.array(kept).swapaxes(0, 1)


def _as_far(v, step):
    """Directions on a sphere, whatever its radius, as those with |v|^2 = d, and the step that goes as far: (v, step)."""
    length = np.linalg.norm(v, axis=-1) / np.sqrt(v.shape[-1])
    return (v / length.mean(), step * length.mean()) if alike(length) else (v, step)


def _uneven(M):
    """The FAIL of directions with the mean M (d, d) of v v^T, of mean 1 on its diagonal."""
    never = np.flatnonzero(np.diag(M) <= 1e-9)
    which = f"; {numbered('dimension', never)} {'is' if len(never) == 1 else 'are'} in none of them (a coordinate that is never drawn?)"
    text = ONE_NUMBER if np.allclose(M, 1, atol=1e-6) else UNEVEN + which * bool(len(never))
    return Naming(FAIL, text, f"M/K = {np.array2string(M, precision=3)}".replace("\n", ""))


def _law_of(sizes, settings, within):
    """The first of `LAWS` in d that the sizes (G,) of E[v v^T] / I follow; None."""
    follows = lambda law: np.all(np.abs(sizes / np.array([law(s.d) for s in settings]) - 1) <= within)
    return next((law for law in LAWS if follows(law)), None)


def _law(caller, kind, setting, pick, projected, rng):
    """(a `Naming` of what is wrong with the directions, or without verdict what is to be said of them; E[v v^T] / I as far as it is measured; its relative error).

    pick : callable setting -> the directions that are drawn there; projected : whether they are in the square too, (v.s)^2
    """
    d, x = setting.d, 0.3 + rng.standard_normal((MANY, setting.d))
    v = pick(setting._replace(n=MANY, x=x, seed=setting.seed + 1))
    small = [pick(setting._replace(seed=setting.seed + k)) for k in range(2)]
    if v is None or small[0] is None:
        return None, 1.0, 0.0
    fixed = np.array_equal(*small) and np.array_equal(small[0], pick(setting._replace(seed=setting.seed + 2)))
    fixed = fixed or _same_of_other_seeds(caller, random_probe(kind, d, rng), setting)  # what it draws need not be used
    flat = v.reshape(-1, d)
    V = flat.T @ flat / len(flat)
    K, error = float(np.trace(V)) / d, 6 * np.sqrt(2 / len(flat))
    same, uneven = np.allclose(v, v[:, :1]), np.abs(V - K * np.eye(d)).max() > error * K
    measured = f"M/K = {np.array2string(V / K, precision=2)}".replace("\n", "")
    # beside |s|^2 the mean of v v^T over the rows of a batch is then one matrix that is not I, but for a basis in every row
    whole = np.abs(np.einsum("mni,mnj->nij", v, v) / len(v) - K * np.eye(d)).max() <= 1e-6 * K
    if fixed and (same or uneven or not (projected or whole)):
        text = FIXED_WRONG if same or uneven else FIXED_FEW
        return Naming(FAIL, text, "another seed, the same directions"), K, error
    if same:
        return Naming(FAIL, SHARED, "the mean of v v^T has rank one"), K, error
    if uneven and projected and np.linalg.eigvalsh(V)[0] > error * K:
        return Naming("", METRIC, measured), K, error
    if uneven:
        return _uneven(V / K), K, error
    return (Naming("", FIXED, "") if fixed else None), K, error


# ------------------------------------------------------------------------------- directions that were not heard


def _hidden(caller, kind, settings, rng):
    """The `Naming` of a sliced loss none of whose draws is its direction, by its arrays; None if they do not explain it."""
    found = []
    for setting in settings:
        one = _by_arrays(caller, kind, setting, rng)
        if one is None or isinstance(one, Naming):
            return one
        found.append(one)
    curvature, size, error = np.array([f[:3] for f in found]).T
    levels, error, metric = levels_of(settings), error.max(), found[0][3]
    lawful = None if error <= 1e-6 else _law_of(curvature, settings, error)
    if lawful is None and _law_of(curvature * MANY, settings, error) in LAWS[:3]:
        return Naming(FAIL, OVER_BATCH, f"with {MANY} rows v.J v has the mean {curvature[0]:.2g} tr J")
    curvature = curvature if lawful is None else np.array([lawful(s.d) for s in settings])
    naming = name_parts("sliced", {SQUARE: np.ones(len(found)), LINEAR["sliced"]: curvature}, levels, 1e-6)
    law, notes = _law_of(size, settings, 0.2), (metric,) * bool(metric)
    if naming.verdict == PASS and not metric and law not in (None, LAWS[0]):
        notes = (conversion(factor([law(s.d) for s in settings], levels, 1e-6), "sliced"),)
    if error > 1e-6:
        notes = (
            *notes,
            f"its directions are not numbers that were heard: the size of the curvature is known to {error:.0%}",
        )
    if naming.verdict == FAIL and error > 1e-2:
        text = f"scale of the curvature: beside the square v.J v is about {found[0][0]:.2g} times what it should be, known to {error:.0%} ({naming.diagnosis.partition(':')[0]}?)"
        naming = naming._replace(
            diagnosis=text,
            pattern=f"{found[0][0]:.2g} and {found[1][0]:.2g} in {settings[0].d} and {settings[1].d} dimensions",
        )
    return naming._replace(notes=notes, resolution=error)


def _by_arrays(caller, kind, setting, rng):
    """(curvature beside the square, E[v v^T] / I of both, relative error) by the arrays of each row, and of many equal rows; what is wrong with them; None."""
    table = Answers(caller, kind, Trial(setting, setting.x, None), rng)
    found = identify(table)
    own, C, d, tol = found.own, found.C, setting.d, 1e-6
    size = np.abs(C).max()
    if not found.fit.near or found.cross > tol or size <= tol * np.abs(own).max():
        return None
    if (wrong := _in_some_rows(own, C, tol) or _of_rows(caller, kind, table, C, rng)) is not None:
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
    N, M, error = mean.own[0], mean.C[0], 6 * np.sqrt(2 / MANY)
    a, k = np.trace(N) / d, np.trace(M) / d
    even = lambda m: np.abs(m - np.trace(m) / d * np.eye(d)).max() <= error * abs(np.trace(m) / d)
    ratio = np.sum(own * C) / np.sum(own * own)
    projected = np.abs(C - ratio * own).max() <= tol * size
    fixed = _same_of_other_seeds(caller, table.probes[0], setting)
    if projected and np.abs(C - np.trace(C[0]) / d * np.eye(d)).max() <= tol * size:
        return ratio, k / ratio, tol, TRACE
    if fixed and not projected:
        return Naming(FAIL, FIXED_FEW, "another seed, the same value")
    if projected and np.linalg.eigvalsh(M / k)[0] > error:
        return ratio, k / ratio, tol, FIXED if fixed else "" if even(M) else METRIC
    if not even(M):
        return _uneven(M / k)
    if not even(N):
        return None
    traces, squares = np.einsum("iaa->i", C), np.einsum("iaa->ia", own)
    if alike(traces) and alike(squares):  # |v|^2 is the same in all rows
        return traces[0] / squares[0].sum(), 1.0, tol, ""
    return k / a, 1.0, 2 * error, ""


def _in_some_rows(own, C, tol):
    """INCONCLUSIVE where the curvature (n, d, d) is 0 in some of the rows that have a square; None."""
    size, squares = np.abs(C).max(), np.abs(own).max((1, 2))
    none = np.abs(C).max((1, 2)) <= tol * size
    whole = np.isin(np.round(C / size, 6), (0, 1)).all()  # of numbers 0 and 1 some directions are 0
    if not none.any() or whole or np.any(squares <= tol * squares.max()):
        return None
    return Naming(INCONCLUSIVE, SOME_ROWS, f"C is 0 in {none.sum()} of {len(none)} rows")


SEEDS = 12  # signs in two dimensions make the same v v^T for one seed in two


def _same_of_other_seeds(caller, probe, setting):
    """Whether a loss says the same of a probe with other random numbers, whatever they are."""
    says = lambda k: caller.values([probe], setting._replace(seed=setting.seed + k))[0]
    first = says(0)
    return all(says(k) == first for k in range(1, SEEDS))


def _of_rows(caller, kind, table, C, rng):
    """A FAIL of directions that are the same in every call or every row, or other ones on the two sides of the Jacobian."""
    setting, even = table.trial.setting, (C + C.swapaxes(1, 2)) / 2
    size, values = np.abs(C).max(), np.linalg.eigvalsh(even)
    one = np.all(np.sum(np.abs(values) > 1e-6 * size, axis=1) == 1)
    if one and setting.d > 2 and setting.n >= 4 and np.allclose(even, even[:1], atol=1e-6 * size):
        text = FIXED_PRODUCT if _same_of_other_seeds(caller, table.probes[0], setting) else SHARED
        return Naming(FAIL, text, "C is the same in all rows")
    sides = kind == "score" and np.abs(C - even).max() > 1e-6 * size
    sides = sides or np.any(values.min(1) * values.max(1) < -1e-9 * size**2)
    if sides and _with_ones(even, size):
        return Naming(FAIL, FORGOT, f"C of the first row {np.array2string(C[0], precision=3)}".replace("\n", ""))
    if sides and caller.ask(random_probe(kind, setting.d, rng), setting).draws:
        return Naming(FAIL, TWO, f"C of the first row {np.array2string(C[0], precision=3)}".replace("\n", ""))
    return None


def _with_ones(even, size):
    """Whether the symmetric parts (n, d, d) of u v^T + v u^T have u = (1, ..., 1) in every row, in more than two dimensions."""
    values, vectors = np.linalg.eigh(even)
    ones, there = np.ones(even.shape[1]), np.abs(values) > 1e-6 * size
    span = vectors * there[:, None]
    return (
        len(ones) > 2
        and there.sum(1).max() <= 2
        and bool(np.allclose(np.einsum("nik,njk,j->ni", span, span, ones), ones, atol=1e-6))
    )


# ------------------------------------------------------------------------------- something else


def _wrong(caller, kind, trials, tables, right, rng):
    """(`Naming`, sense, details) of a loss that the terms of the reference do not explain."""
    objective, settings = caller.objective, [t.setting for t in trials]
    if (away := patterns.elsewhere(caller, kind, settings[1], rng)) is not None:
        return away, 1, {}
    exact = [] if right is None else [k for k, fit in enumerate(right.fits) if fit.exact]
    hidden = None
    if objective == "sliced" and "v" not in caller.takes:
        hidden = None if _nearly(right) else _hidden(caller, kind, settings[1::-1], rng)
        if hidden is not None and (hidden.verdict == PASS or not hidden.resolution > 1e-3):
            return hidden, 2, {}
    if "sliced" not in objective and trials[0].draws and _random(caller, tables[0]):
        paired = objective == "explicit" and patterns.named_by_arrays(
            caller, kind, tables[1], observation(caller, trials[1]), rng
        )
        if paired and "another row" in paired.diagnosis:  # in whatever order they are drawn
            return paired, 2, {}
        text = "random: the loss draws numbers, of which its objective has none, and only their mean could be checked (rows that are drawn, dropout, noise?); let it be without"
        return Naming(INCONCLUSIVE, text, "another seed, another value"), 1, {}
    if exact and len(exact) < len(trials):
        return _in_some_batches(caller, kind, trials, tables, right, exact, rng)
    if objective == "finite_difference_sliced":
        named = _differences(caller, kind, trials[1], rng)
    else:  # in three dimensions: of two, the last is all but the first
        q = observation(caller, trials[1]) if right is None else right.seen[1]
        named = patterns.named_by_arrays(caller, kind, tables[1], q, rng)
        named = named or patterns.named_by_one_more(caller, kind, tables[1], q) or hidden
    if named is not None:
        # what is no square of an energy may be one of a score: more may be said of that
        return named, 2 - named.diagnosis.startswith("not a square: your loss is"), {}
    left = 1.0 if right is None else right.left
    terms = None if right is None else patterns.right_parts(objective, tables[0], right.seen[0])
    if (named := patterns.rounded(tables[0], terms)) is not None:
        return named, 2, {}
    if _nearly(right):
        text = f"inaccurate: your loss is the right one up to {left:.0e} of its terms, as with a finite difference of its own, an epsilon, or a small term that is wrong"
        return Naming(FAIL, text, f"off by {left:.2g}"), 1, {}
    return *patterns.unexplained(caller, kind, tables[0], terms, left, rng), {}


def _in_some_batches(caller, kind, trials, tables, right, exact, rng):
    """`_wrong` of a loss that is right in some of the trials, by the one in which it is furthest off."""
    of = lambda trial: f"{trial.setting.n} x {trial.setting.d}"
    k = int(np.argmax([fit.residual for fit in right.fits]))
    named = patterns.named_by_arrays(caller, kind, tables[k], right.seen[k], rng)
    if named is not None and named.verdict != FAIL:
        return named, 2, {}
    clamped = patterns.bent(caller, kind, trials[0].setting, rng)
    if clamped is not None and "stands still" in clamped.diagnosis:
        return clamped, 1, {}
    text = f"right for batches of {', '.join(of(trials[j]) for j in exact)} numbers, and not for {of(trials[k])}"
    why = "a size that is written down, rows or dimensions that are left out, a threshold?"
    why = why if named is None else f"there {named.diagnosis}"
    return Naming(FAIL, f"some batches: {text} ({why})", f"off by {right.left:.2g}"), 1, {}


def _nearly(right):
    """Whether the terms of the reference, each with the same factor, are nearly all that a loss is."""
    if right is None or right.left >= INACCURATE:
        return False
    c = np.array(list(right.parts.values()))
    return bool(np.all(np.abs(c / c[0] - 1) < INACCURATE))


def _random(caller, table):
    """Whether a loss depends on what it draws."""
    setting = table.trial.setting
    other = caller.values(table.probes[:3], setting._replace(seed=setting.seed + 1))
    return not np.array_equal(other, table.values[:3])


def _goes_with_step(caller, kind, trial, way):
    """Whether the points of the differences, which lie so far from x, come nearer to it with a step of half the size."""
    step = caller.known["step"]
    caller.known["step"] = step / 2
    try:
        near = as_asked(caller, kind, trial.setting, np.random.default_rng(0))
    finally:
        caller.known["step"] = step
    offset = near.points - near.setting.x[_row_of(near)]
    ends = np.abs(offset).max(1) > 1e-9 * np.abs(offset).max()
    return np.sqrt(np.mean(offset[ends] ** 2)) < 0.75 * way


def _differences(caller, kind, trial, rng):
    """The `Naming` of a finite-difference loss by what it does at the points x + h v, x and x - h v of a row; None if that explains nothing."""
    x, n, row = trial.setting.x, trial.setting.n, _row_of(trial)
    offset = trial.points - x[row]
    ends = np.abs(offset).max(1) > 1e-9 * np.abs(offset).max()
    if not ends.any():
        return Naming(INCONCLUSIVE, NO_DIFFERENCES, "asked at x")
    groups = [np.flatnonzero(row == i) for i in range(n)]
    pairs = [g[ends[g]] for g in groups]
    way, step = np.sqrt(np.mean(offset[ends] ** 2)), caller.known["step"]
    if "step" in caller.takes and way**2 > LONG * step**2 and not _goes_with_step(caller, kind, trial, way):
        text = f"long step: the points of the differences lie {way:.2g} from x in each dimension, on average, where the step that the loss is told is {step:g}: the directions are not multiplied by it"
        return Naming(FAIL, text, f"first offset {patterns.few(offset[ends][0])}")
    if any(len(p) > 3 for p in pairs):
        return Naming(INCONCLUSIVE, APART, f"{max(map(len, pairs))} points beside x in a row")
    if any(len(p) == 2 and np.abs(offset[p].sum(0)).max() > 1e-6 * np.abs(offset).max() for p in pairs):
        text = "directions apart: the two points of a difference do not lie opposite each other: they are taken along different directions, or with different steps"
        return Naming(FAIL, text, f"x + a and x + b with a + b = {patterns.few(offset[pairs[0]].sum(0))}")
    points = [[*p, *np.setdiff1d(g, p)] for g, p in zip(groups, pairs, strict=True)]
    sizes, table, answers = {len(p) for p in points}, Answers(caller, kind, trial, rng), ["S"]
    if kind == "energy" and sizes in ({2}, {3}) and all(len(p) == 2 for p in pairs):
        answers.insert(sizes == {2}, "E")  # at two ends alone scores make what differences of energies nearly make
    if kind == "energy" and all(len(p) == 1 for p in pairs):
        found = identify(table, groups, jacobian=False, quadratic=("E",))
        if found.fit.near and np.abs(found.F).max() <= 1e-6 * np.abs(found.e).max():
            return Naming(
                FAIL, ONE_SIDE, f"energies have the factors {patterns.few(found.e[points[0]])} in the first row"
            )
    for of in answers:
        found = identify(table, groups, jacobian=False, quadratic=(of,))
        if found.fit.exact or (found.fit.near and found.doubt < KNOWN):
            return _second_difference(found, np.array(points), step) if of == "E" else _of_scores(found, pairs, offset)
    return None


NO_DIFFERENCES = "no differences: fn is asked at x alone, and at no points beside it; for a loss with derivatives say objective='sliced' or 'implicit'"
APART = "several directions: fn is asked at more than two points beside x in a row (other directions for the square than for the second difference, a difference of higher order?): with one pair for each row more can be said"
KNOWN = 0.05  # relative error of arrays that are read
ONE_SIDE = "no square: fn is asked on one side of x alone, at x + h v and at x, and the loss is linear in what it says: no difference of two sides is squared, and none is a second one"


def _of_scores(found, pairs, offset):
    """`_differences` of scores at the ends of each row (k,), which lie at an offset (M, d)."""
    size = max(np.abs(found.b).max(), np.abs(found.A).max())
    if all(len(p) == 1 for p in pairs) and np.abs(found.b).max() <= 1e-6 * size:
        text = "no second difference: fn is asked on one side of x alone, at x + h v, and no difference of its answers is left: the curvature is missing"
        return Naming(FAIL, text, "one point beside x in every row, b = 0")
    if any(len(p) != 2 for p in pairs):
        return None
    first, second = np.array(pairs).T
    b, v, said = (
        (found.b[first] - found.b[second]) / 2,
        offset[first],
        f"b of the first row {patterns.few(found.b[first[0]])}",
    )
    if np.abs(found.b[first] + found.b[second]).max() > 1e-6 * size:
        return None
    if not alike(np.sum(b * v, 1) / np.sum(v * v, 1)) and np.ptp(b) <= 1e-6 * size:
        text = "no product with v: the difference of the two scores is summed over its entries, where its product with v belongs"
        return Naming(FAIL, text, said)
    both, one = found.A[first, :, second], found.A[first, :, first]
    if np.abs(one).max() > 1e-6 * size and np.abs(both + one).max() <= 1e-6 * size:
        text = "wrong square: the difference of the two scores is squared, where their mean (or sum) belongs: the score itself has no square"
        return Naming(FAIL, text, f"A between the two ends is minus that of one end; {said}")
    return None


def _second_difference(found, points, step):
    """`_differences` of energies at the points (n, 3): two ends, and the middle, or (n, 2) without it."""
    n = len(points)
    at = found.e[points] * step**2 * n
    size, said = np.abs(at).max(), patterns.few(at[0]).strip("()")
    if points.shape[1] == 2:
        if not size > 1e-6 * step**2 * np.abs(found.F).max():  # no energy by itself
            return None
        text = f"no middle point: fn is asked at x + h v and x - h v alone, whose energies have the factors {said} over h^2 in the second difference; that at x itself is missing, with the factor 2 beside -1 and -1"
        return Naming(FAIL, text, f"second difference {said}")
    if np.ptp(at, axis=0).max() > 1e-5 * size:
        if np.abs(at.sum(1)).max() > 1e-5 * size:
            return None
        if np.abs(at - at[:, 2:] * [-0.5, -0.5, 1]).max() > 1e-5 * size:
            text = "points mixed: in the second difference the energies at the three points of a row have other factors in every row (points of different rows in one difference: interleaved where blocks belong, or the reverse?)"
            return Naming(FAIL, text, f"factors of the first row {said}")
        text = "weight of the second difference: it has another factor in every row (it is divided by the length of v, in this term alone?)"
        return Naming(FAIL, text, f"factors of the rows {patterns.few(at[:, 2] / 2)}")
    if np.abs(found.F[points[:, 2]]).max() > 1e-6 * np.abs(found.F).max() + SIGMAS * found.fit.doubt[: 6 * n].max():
        text = "values of the difference: the middle point x enters the squared difference, where the two ends x + h v and x - h v belong (a one-sided difference, whose square lacks a factor 4 beside the central one?)"
        return Naming(FAIL, text, f"in the second difference the energies have {said}")
    if np.abs(at[0] / size - np.array([-0.5, -0.5, 1.0])).max() <= 1e-5:
        return None
    text = f"values of the difference: the energies at x + h v, x - h v and the middle point x have the factors {said} over h^2 in the second difference, where -1, -1, 2 belong"
    return Naming(FAIL, text, f"second difference {said}")
