"""Losses whose points are the data: explicit, implicit, generalised, regularised, sliced, and with finite differences."""

import numpy as np

from ..report import FAIL, INCONCLUSIVE, PASS
from . import controls, directions
from .identify import NEAR, Answers, identify
from .names import COARSEST, LINEAR, SQUARE, Level, Naming, conversion, factor, name_right, name_wrong
from .structure import growth, not_quadratic, shape_of
from .terms import CALLS, as_it_should_be, observation, search, vocabulary
from .trials import as_asked, plain

SIGMAS = 5.0
INACCURATE = 1e-2  # what a loss may be off by, of its terms, to be called inaccurate rather than another


def of_terms(caller, kind, settings, rng):
    """(`Naming`, sense, details) of a loss made of a square and a linear term at the data."""
    look = as_asked if caller.objective == "finite_difference_sliced" else plain
    trials = [look(caller, kind, s, rng) for s in settings]
    tables = [Answers(caller, kind, t._replace(points=t.setting.x), rng).grow(CALLS) for t in trials]
    wrong = unusable(tables)
    if wrong is not None:
        return wrong, 0, {}
    pick, best, seen, floors = _right(caller, trials, tables)
    if best is not None and all(f.near for f in best[1]) and (exact := max(f.residual for f in best[1])) is not None:
        naming, details = _coefficients(caller, kind, settings, best, exact, rng)
        if caller.objective == "sliced" and pick and "v" not in caller.takes:
            naming = _with_law(caller, kind, settings, pick, naming, best, rng)
        return naming, 2, details
    return _wrong(caller, kind, trials, tables, seen, floors, best, rng)


def unusable(tables):
    """A FAIL of a loss that is not finite, or that does not depend on fn."""
    values = np.concatenate([t.values for t in tables])
    if not np.all(np.isfinite(values)):
        text = f"not finite: {np.sum(~np.isfinite(values))} of {values.size} values of the loss are NaN or infinite"
        return Naming(FAIL, text, f"value {values[~np.isfinite(values)][0]}")
    if all(np.ptp(t.values) <= 64 * t.caller.eps * np.abs(t.values).max() for t in tables):
        return Naming(FAIL, "model not used: the loss does not depend on fn", f"always {values[0]:.6g}")
    return None


def _right(caller, trials, tables):
    """(name of the draws that are directions, coefficients of the right terms, observations, floors)."""
    objective, floors = caller.objective, [0.0] * len(tables)
    if objective == "finite_difference_sliced":  # round-off of an energy over the step's square
        floors = [
            256
            * caller.eps
            * max(np.abs(p.energy(t.trial.setting.x)).max() for p in t.probes)
            / caller.known["step"] ** 2
            for t in tables
        ]
    seen = [observation(caller, t) for t in trials]
    if objective not in ("sliced", "finite_difference_sliced"):
        return "", as_it_should_be(objective, tables, seen, floors), seen, floors
    if "v" in caller.takes:
        seen = [q._replace(v=t.setting.extras["v"]) for q, t in zip(seen, trials, strict=True)]
        return "given", as_it_should_be(objective, tables, seen, floors), seen, floors
    if objective == "finite_difference_sliced":
        found = [directions.of_points(t, caller.known["step"]) for t in trials]
        if any(v is None for v in found):
            return "", None, seen, floors
        far = [directions.as_far(v, caller.known["step"]) for v in found]
        seen = [q._replace(v=v, step=h) for q, (v, h) in zip(seen, far, strict=True)]
        return "points", as_it_should_be(objective, tables, seen, floors), seen, floors
    nearest = None
    choices = [directions.of_draws(t) for t in trials]
    for key in [k for k in choices[0] if all(k in c for c in choices)]:
        with_v = [q._replace(v=c[key]) for q, c in zip(seen, choices, strict=True)]
        best = as_it_should_be(objective, tables[:2], with_v[:2], floors[:2])
        if all(f.near for f in best[1]):
            return key, as_it_should_be(objective, tables, with_v, floors), with_v, floors
        nearest = nearest or with_v
    return (
        ("", None, seen, floors)
        if nearest is None
        else ("", as_it_should_be(objective, tables, nearest, floors), nearest, floors)
    )


def _levels(settings):
    return [Level(s.n, s.d, 1.0, s.m) for s in settings]


def _coefficients(caller, kind, settings, best, left, rng):
    """The `Naming` of a loss made of the two right terms, and details."""
    (table, fits, form), levels = best, _levels(settings)
    a, b = table.T
    exact = all(f.exact for f in fits)
    rtol = max(
        1e-9,
        SIGMAS * float(max(np.max(f.doubt) / max(np.abs(f.coefficients).max(), 1e-300) for f in fits)),
        0.0 if exact else 10 * left,
    )
    naming = name_right(caller.objective, a, b, levels, rtol)
    if not exact:
        naming = naming._replace(notes=(near_note(left), *naming.notes))
    details = {
        "linear": a,
        "square": b,
        "residual": left,
        "form": form,
        "settings": [{k: getattr(s, k) for k in ("n", "d", "m")} for s in settings],
    }
    if naming.verdict == FAIL and caller.objective not in ("explicit", "generalised", "regularised"):
        yours = controls.minimiser(caller, kind, settings[0], rng)
        if yours is not None and caller.objective == "implicit":
            details["oracle"] = {"yours": yours, "right": 1.0}
            if abs(yours - 1) > 1e-6:
                note = f"for lambda |x|^2/2 on standardised data your loss has its minimum at lambda = {yours:.6g}, the right one at 1"
                naming = naming._replace(notes=(*naming.notes, note))
    return naming._replace(resolution=max(rtol, COARSEST)), details


def near_note(left):
    """What is said of a loss that is right but for a little."""
    return f"right up to {left:.0e} of its terms: a part is computed in single precision, by finite differences of its own, or with an epsilon"


# ------------------------------------------------------------------------------- directions

LAWS = (("1", lambda d: 1.0), ("1/d", lambda d: 1 / d), ("d", lambda d: d), ("2", lambda d: 2.0), ("1/2", lambda d: 0.5), ("1/3", lambda d: 1 / 3),
        ("4", lambda d: 4.0), ("1/4", lambda d: 0.25), ("1/12", lambda d: 1 / 12), ("1/d^2", lambda d: 1 / d**2))  # fmt: skip


def _with_law(caller, kind, settings, key, naming, best, rng):
    """The `Naming` with what the law of the directions adds: E[v v^T] = K I, or something wrong with them."""
    (table, _, form), measured = best, []
    draws = lambda s: directions.of_draws(plain(caller, kind, s, rng)).get(key)
    for setting in (settings[0], settings[2]):
        wrong, K, error = directions.law(caller, kind, setting, draws, rng)
        if wrong is not None and wrong.verdict:
            return wrong
        if wrong is not None:
            naming = naming._replace(notes=(*naming.notes, wrong.diagnosis))
        measured.append((K, error, setting.d))
    if naming.verdict == FAIL and not form.get("variance_reduced"):
        return naming
    known = next((law for _, law in LAWS if all(abs(K / law(d) - 1) <= error for K, error, d in measured)), None)
    known = known or (lambda d, K=measured[0][0]: K)
    size = np.array([known(s.d) for s in settings])
    if np.all(size == 1):
        return naming
    a, b = table.T
    levels = _levels(settings)
    if form.get("variance_reduced"):
        return name_right("sliced", a * size, b, levels, 1e-6)._replace(resolution=0.1)
    return naming._replace(notes=(*naming.notes, conversion(factor(size * b, levels, 1e-6), "sliced")))


# ------------------------------------------------------------------------------- something else


def _wrong(caller, kind, trials, tables, seen, floors, best, rng):
    """(`Naming`, sense, details) of a loss that its right terms do not explain."""
    objective, settings = caller.objective, [t.setting for t in trials]
    right = (
        None if best is None else [_right_columns(objective, t, q, best[2]) for t, q in zip(tables, seen, strict=True)]
    )
    terms = [vocabulary(t, q) for t, q in zip(tables, seen, strict=True)]
    hidden = (
        directions.unheard(caller, kind, settings[1], rng)
        if objective == "sliced" and "v" not in caller.takes
        else None
    )
    if hidden is not None and hidden.verdict == FAIL:
        return hidden, 2, {}
    found = search(tables, terms, right, floors)
    if found:
        details = {"terms": found[0].names, "coefficients": found[0].coefficients}
        naming = name_wrong(objective, found, _levels(settings), 1e-6)
        good = 2 if any(n in ("linear", "square") for n in found[0].names) else 1
        return naming._replace(resolution=1e-6), good, details
    random = objective in ("explicit", "implicit", "generalised", "regularised") and bool(trials[0].draws)
    if random:
        text = "random: the loss draws numbers that its objective has no use for, and only their mean could be checked; let it be without"
        return Naming(INCONCLUSIVE, text, "another seed, another value"), 1, {}
    if (
        best is not None
        and max(f.residual for f in best[1]) < INACCURATE
        and np.all(np.abs(best[0][:, 0] / best[0][:, 1] - 1) < INACCURATE)
    ):
        left = max(f.residual for f in best[1])
        text = f"inaccurate: your loss is the right one up to {left:.0e} of its terms: a finite difference of its own, an epsilon, or a small regulariser"
        return Naming(FAIL, text, f"off by {left:.2g}"), 1, {}
    if hidden is not None:
        return hidden, 1, {}
    named = _by_arrays(tables[0], settings[0], LINEAR[objective])
    if named is not None:
        return named, 1, {}
    left = max((f.residual for f in best[1]), default=1.0) if best is not None else 1.0
    wrong = controls.bent(caller, kind, settings[0], rng)
    if wrong is not None and "stands still" in wrong.diagnosis:
        return wrong, 1, {}
    power = growth(tables[0], caller, kind, settings[0])
    return not_quadratic(power, left, LINEAR[objective]), 0, {}


def _right_columns(objective, table, q, form):
    from .terms import right_terms

    return right_terms(objective, table, q, form)


def _by_arrays(table, setting, linear):
    """The `Naming` by the pattern of A, b and C in one trial, rows alone or all together; None if they explain nothing."""
    everything = [np.arange(len(table.trial.points))]
    for groups in (None, everything):
        found = identify(table, groups)
        if found.fit.exact or found.fit.residual < NEAR / 100:
            return shape_of(found, setting.x, linear)
    return None


__all__ = ["PASS", "SQUARE", "of_terms", "unusable"]
