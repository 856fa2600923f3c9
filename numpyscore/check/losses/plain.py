r"""Losses whose points are the data: explicit, implicit, generalised, regularised, sliced, and with finite differences.

First the terms of the reference, each with a factor of its own, in every trial; what they do not explain is read by its arrays A, b, C (`patterns`).
"""

from typing import Any, NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from ..report import FAIL, INCONCLUSIVE, PASS
from . import controls, directions, patterns
from .identify import Answers, identify, solve
from .names import (
    COARSEST,
    LINEAR,
    REGULARISER,
    SLOPE,
    SQUARE,
    WEIGHTED,
    Naming,
    conversion,
    factor,
    levels_of,
    name_parts,
)
from .trials import as_asked, plain

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


def right_parts(objective, answers, q):
    """The terms of the reference by name, the square first, each for all probes (P,)."""
    parts: dict[str, list[float]] = {}
    for probe in answers.probes:
        s = probe.score(q.at)
        _, linear, square = OBJECTIVES[objective].right(q._replace(probe=probe), s)
        here = {SQUARE: square, LINEAR[objective]: linear}
        if objective == "generalised":
            slope = np.sum(q.h_prime * s, axis=-1)
            here = {SQUARE: square, WEIGHTED: linear - slope, SLOPE: slope}
        elif objective == "regularised":
            half = 0.5 * np.sum(s**2, axis=-1)
            here = {SQUARE: half, LINEAR[objective]: linear, REGULARISER: square - half}
        for name, value in here.items():
            parts.setdefault(name, []).append(float(np.mean(value)))
    return {name: np.array(values) for name, values in parts.items()}


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


def as_it_should_be(objective, tables, seen, floors):
    """The `Right` of the first right form that explains all trials, else of that which leaves least."""
    best = None
    for form in OBJECTIVES[objective].forms:
        if form.get("energies") and tables[0].kind != "energy":
            continue
        here = [q._replace(**form) for q in seen]
        columns = [right_parts(objective, t.grow(CALLS), q) for t, q in zip(tables, here, strict=True)]
        fits = [
            solve(np.column_stack(list(c.values())), t.values, t.caller.eps, f)
            for c, t, f in zip(columns, tables, floors, strict=True)
        ]
        found = Right(
            dict(zip(columns[0], np.transpose([f.coefficients for f in fits]), strict=True)), fits, form, here
        )
        if all(f.exact for f in fits):
            return found
        best = found if best is None or found.left < best.left else best
    return best


def of_terms(caller, kind, settings, rng):
    """(`Naming`, sense, details) of a loss made of a square and a linear term at the data."""
    look = as_asked if caller.objective == "finite_difference_sliced" else plain
    trials = [look(caller, kind, s, rng) for s in settings]
    tables = [Answers(caller, kind, t._replace(points=t.setting.x), rng).grow(CALLS) for t in trials]
    wrong = unusable(tables)
    if wrong is not None:
        return wrong, 0, {}
    key, right = _right(caller, trials, tables)
    if right is not None and right.near:
        naming, details = _factors(caller, kind, settings, right, rng)
        if caller.objective == "sliced" and key and "v" not in caller.takes:
            naming = _with_law(caller, kind, settings, key, naming, right, rng)
        return naming, 2, details
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
    note = "its trace is estimated along directions that it draws, v.J v in place of tr J: judged as a sliced loss"
    return naming._replace(notes=(*naming.notes, note)), sense, details


def _right(caller, trials, tables):
    """(name of the draws that are directions, the `Right` or None)."""
    objective, seen, floors = caller.objective, [observation(caller, t) for t in trials], [0.0] * len(tables)
    along = lambda vs: [q._replace(v=v) for q, v in zip(seen, vs, strict=True)]
    differences = objective == "finite_difference_sliced"
    if differences:  # round-off of an energy over the step's square
        sizes = [max(np.abs(p.energy(t.trial.setting.x)).max() for p in t.probes) for t in tables]
        floors = [256 * caller.eps * size / caller.known["step"] ** 2 for size in sizes]
    if "v" in caller.takes:
        seen = along([t.setting.extras["v"] for t in trials])
    elif differences:
        found = [directions.of_points(t, caller.known["step"]) for t in trials]
        if any(v is None for v in found):
            return "", None
        far = [directions.as_far(v, caller.known["step"]) for v in found]
        seen = [q._replace(v=v, step=h) for q, (v, h) in zip(seen, far, strict=True)]
    elif objective == "sliced":
        return _of_draws(trials, tables, along)
    return "", as_it_should_be(objective, tables, seen, floors)


def _of_draws(trials, tables, along):
    """`_right` of a sliced loss that draws its directions: those that explain it, else the first that may be directions."""
    choices = [directions.of_draws(t) for t in trials]
    keys = [k for k in choices[0] if all(k in c for c in choices)]
    floors = [0.0] * len(tables)
    for key in keys:
        seen = along([c[key] for c in choices])
        if as_it_should_be("sliced", tables[:2], seen[:2], floors[:2]).near:
            return key, as_it_should_be("sliced", tables, seen, floors)
    return "", as_it_should_be("sliced", tables, along([c[keys[0]] for c in choices]), floors) if keys else None


def unusable(tables):
    """A FAIL of a loss that is not finite, or that does not depend on fn."""
    values = np.concatenate([t.values for t in tables])
    if not np.all(np.isfinite(values)):
        text = f"not finite: {np.sum(~np.isfinite(values))} of {values.size} values of the loss are NaN or infinite"
        return Naming(FAIL, text, f"value {values[~np.isfinite(values)][0]}")
    if all(np.ptp(t.values) <= 64 * t.caller.eps * np.abs(t.values).max() for t in tables):
        return Naming(FAIL, "model not used: the loss does not depend on fn", f"always {values[0]:.6g}")
    return None


def _factors(caller, kind, settings, right, rng):
    """The `Naming` of a loss made of the terms of the reference, by their factors, and details."""
    exact = all(f.exact for f in right.fits)
    doubt = max(float(np.max(f.doubt) / max(np.abs(f.coefficients).max(), 1e-300)) for f in right.fits)
    rtol = max(1e-9, SIGMAS * doubt, 0.0 if exact else 30 * right.left)
    naming = name_parts(caller.objective, right.parts, levels_of(settings), rtol)
    notes: tuple[str, ...] = () if exact else (near_note(right.left),)
    details = {"factors": right.parts, "residual": right.left, "form": right.form}
    details["settings"] = [{k: getattr(s, k) for k in ("n", "d", "m")} for s in settings]
    if naming.verdict == FAIL and caller.objective == "implicit":
        yours = controls.minimiser(caller, kind, settings[0], rng)
        if yours is not None and abs(yours - 1) > 1e-6:
            details["oracle"] = {"yours": yours, "right": 1.0}
            said = f"for lambda |x|^2/2 on standardised data your loss has its minimum at lambda = {yours:.6g}, the right one at 1"
            notes += (said,)
    return naming._replace(resolution=max(rtol, COARSEST), notes=(*notes, *naming.notes)), details


def near_note(left):
    """What is said of a loss that is right but for a little."""
    return f"right up to {left:.0e} of its terms: a part is computed in single precision, by finite differences of its own, or with an epsilon"


# ------------------------------------------------------------------------------- directions


def _with_law(caller, kind, settings, key, naming, right, rng):
    """The `Naming` with what the law of the directions adds: E[v v^T] = K I, or something wrong with them."""
    some, projected = [settings[0], settings[2]], not right.form["variance_reduced"]
    draws = lambda s: directions.of_draws(plain(caller, kind, s, rng)).get(key)
    laws = [directions.law(caller, kind, s, draws, projected, rng) for s in some]
    said = [w for w, *_ in laws if w is not None]
    if (wrong := next((w for w in said if w.verdict), None)) is not None:
        return wrong
    naming = naming._replace(notes=(*naming.notes, *dict.fromkeys(w.diagnosis for w in said)))
    if naming.verdict == FAIL and projected:
        return naming
    K, error = np.array([size for _, *size in laws]).T
    law = directions.law_of(K, some, error)
    size = np.array([K[0] if law is None else law(s.d) for s in settings])
    if np.all(size == 1):
        return naming
    (b, a), levels = right.parts.values(), levels_of(settings)
    if not projected:
        return name_parts("sliced", {SQUARE: b, LINEAR["sliced"]: a * size}, levels, 1e-6)._replace(resolution=0.1)
    return naming._replace(notes=(*naming.notes, conversion(factor(size * b, levels, 1e-6), "sliced")))


# ------------------------------------------------------------------------------- something else


def _wrong(caller, kind, trials, tables, right, rng):
    """(`Naming`, sense, details) of a loss that the terms of the reference do not explain."""
    objective, settings = caller.objective, [t.setting for t in trials]
    hidden = None
    if objective == "sliced" and "v" not in caller.takes:
        hidden = directions.hidden(caller, kind, settings[1:3], rng)
        if hidden is not None and (hidden.verdict == PASS or not hidden.resolution > 1e-3):
            return hidden, 2, {}
    if "sliced" not in objective and trials[0].draws and _random(caller, tables[0]):
        text = "random: the loss draws numbers that its objective has no use for, and only their mean could be checked; let it be without"
        return Naming(INCONCLUSIVE, text, "another seed, another value"), 1, {}
    if objective == "finite_difference_sliced":
        named = _differences(caller, kind, trials[1], rng)
    else:  # in three dimensions: of two, the last is all but the first
        q = observation(caller, trials[1]) if right is None else right.seen[1]
        named = patterns.named_by_arrays(caller, kind, tables[1], q, rng)
        named = named or patterns.named_by_one_more(caller, kind, tables[1], q) or hidden
    if named is not None:
        return named, 2, {}
    left = 1.0 if right is None else right.left
    if right is not None and left < INACCURATE:
        c = np.array(list(right.parts.values()))
        if np.all(np.abs(c / c[0] - 1) < INACCURATE):
            text = f"inaccurate: your loss is the right one up to {left:.0e} of its terms: a finite difference of its own, an epsilon, or a small regulariser"
            return Naming(FAIL, text, f"off by {left:.2g}"), 1, {}
    total = None if right is None else sum(right_parts(objective, tables[0], right.seen[0]).values())
    return *controls.unexplained(caller, kind, tables[0], total, left, rng), {}


def _random(caller, table):
    """Whether a loss depends on what it draws."""
    setting = table.trial.setting
    other = caller.values(table.probes[:3], setting._replace(seed=setting.seed + 1))
    return not np.array_equal(other, table.values[:3])


def _differences(caller, kind, trial, rng):
    """The `Naming` of a finite-difference loss by the coefficients of the energies at x + h v, x and x - h v; None if they explain nothing."""
    x, n = trial.setting.x, trial.setting.n
    row = np.linalg.norm(trial.points[:, None] - x, axis=-1).argmin(1)
    groups = [np.flatnonzero(row == i) for i in range(n)]
    if kind != "energy" or any(len(g) != 3 for g in groups):
        return None
    moved = np.array([trial.points[g] - x[i] for i, g in enumerate(groups)])  # (n, 3, d)
    if np.abs(moved.sum(1)).max() > 1e-6 * np.abs(moved).max():
        text = "directions apart: the two points of a difference do not lie opposite each other: they are taken along different directions, or with different steps"
        return Naming(FAIL, text, f"x + a and x - b with a + b = {patterns.few(moved[0].sum(0))}")
    found = identify(Answers(caller, kind, trial, rng), groups, jacobian=False, quadratic=("E",))
    if not found.fit.near:
        return None
    order = np.argsort(np.abs(moved).max(2) < 1e-12, axis=1, kind="stable")  # the two ends first
    points = np.take_along_axis(np.array(groups), order, axis=1)
    at = found.e[points] * caller.known["step"] ** 2 * n
    size, said = np.abs(at).max(), patterns.few(at[0]).strip("()")
    if np.ptp(at, axis=0).max() > 1e-5 * size:
        if np.abs(at.sum(1)).max() > 1e-5 * size:
            return None
        text = "weight of the second difference: it has another factor in every row (it is divided by the length of v, in this term alone)"
        return Naming(FAIL, text, f"factors of the rows {patterns.few(at[:, 2] / 2)}")
    if np.abs(found.F[points[:, 2]]).max() > 1e-6 * np.abs(found.F).max() + SIGMAS * found.fit.doubt[: 6 * n].max():
        text = "values of the difference: the middle point x enters the squared difference, where the two ends x + h v and x - h v belong"
        return Naming(FAIL, text, f"in the second difference the energies have {said}")
    if np.abs(at[0] / np.abs(at[0]).max() - np.array([-0.5, -0.5, 1.0])).max() <= 1e-5:
        return None
    text = f"values of the difference: the energies at x + h v, x - h v and the middle point x have the factors {said} over h^2 in the second difference, where -1, -1, 2 belong"
    return Naming(FAIL, text, f"second difference {said}")
