"""The order of questions about a loss: what is fn, are the numbers known, do the right terms explain them, which others do, is the graph whole?"""

from typing import NamedTuple

import numpy as np

from .between import named
from .calling import LossCaller
from .fitting import Group, as_it_should_be, search, solve
from .graph import by_scale, graph, oracle
from .joint import joint
from .kernel import with_kernel
from .levels import SEVERAL, Unseen
from .naming import COARSEST, Naming, name_right, name_wrong
from .noise import SIGMAS, noise_of
from .parabola import bent, strange_target
from .prediction import convention, kernel_note, mistake, prediction
from .probes import random_probe
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport
from .rows import by_rows, own_levels
from .slices import hidden_slices
from .terms import LINEAR, right

CALLS = 14  # probes in a setting
ALMOST = 1e-5  # what a loss may be off by, of its terms, by finite differences of its own
NEARLY = 1e-3  # what a loss may be off by, of its terms, to be called inaccurate rather than another
PRONOUN = {"energy": "an", "score": "a"}
ROUNDOFF = 16.0  # what a handful of its samples may fall short of the largest
TRIED = 1  # the setting in which a loss is tried first
HOPELESS = ("hidden", "unseen")  # numbers that no further call would show
UNKNOWN = {
    "unseen": "its noise is drawn where the probe cannot see it (a compiled function); let the loss take noise= (unit normals)",
    "level": "each row's noise level is drawn inside and never shown to fn; call fn(x, sigma), or let the loss take noise=",
    "rows": "each row draws a level of its own inside; let the loss take sigma, alpha or t, or check it as multilevel_denoising with sigmas",
}


EACH = "every row draws a level of its own, which was told by the scale of x"
UNHELD = "the loss draws noise that no seed holds: its gradient was not compared with its value; let it take rng= (or key, generator, noise)"
MIXED = "levels mixed: alone each level is right, together they are not the weighted sum of their losses; something joins levels or rows"


class Evidence(NamedTuple):
    """The groups of calls, what fn is, and why random numbers are not known ("" if they are)."""

    kind: str
    groups: list
    hidden: str
    repeatable: bool


def ask(caller, kind, setting, rng, calls=CALLS):
    """The loss on random probes in one setting: a `Group`, and why its random numbers are hidden ("" if they are not)."""
    answers = [caller.ask(random_probe(kind, setting.d, rng), setting) for _ in range(calls)]
    hidden = next((a.noisy for a in answers if a.noisy), "")
    values = np.array([a.value for a in answers])
    floor = 0.0
    if caller.objective == "finite_difference_sliced":  # round-off of an energy over the step's square
        energies = max(np.abs(a.situation.probe.energy(setting.x)).max() for a in answers)
        floor = 256 * caller.eps * energies / caller.known["step"] ** 2
    situations = [a.situation for a in answers]
    return Group(setting, values, situations, caller.eps, floor, _drift(situations)), hidden


def _drift(situations):
    """E|eps|^2 and E[eps.x] of every call, as columns, if noise changes from call to call; None if it is held by the seed."""
    shifts = [q.shift for q in situations]
    if any(e is None for e in shifts) or all(np.array_equal(e, shifts[0]) for e in shifts):
        return None
    return np.array([[np.mean(np.sum(e * f, -1)) for f in (e, q.x)] for e, q in zip(shifts, situations, strict=True)])


def _with_roundoff(caller, group, calls=4):
    """A group whose `floor` holds the round-off of the loss itself: of its own finite differences, say.

    Measured, not assumed: x moved by two units of round-off moves a loss by as much as its own round-off, or its terms', does.
    """
    near = group.setting._replace(x=group.setting.x * (1 + 2 * caller.eps))
    moved = [
        abs(caller.ask(q.probe, near).value - v) for q, v in zip(group.situations[:calls], group.values, strict=False)
    ]
    return group._replace(floor=group.floor + ROUNDOFF * float(np.nan_to_num(np.max(moved))))


def gather(where, caller: LossCaller, settings, model, rng):
    """`Evidence` in all settings, with fn an energy or a score: what was said, or what the loss accepts and makes sense of."""
    errors, tried = {}, {}
    for kind in [model] if model else ["energy", "score"]:
        caller.forget()
        try:
            tried[kind] = ask(caller, kind, settings[TRIED], rng), caller.way
            if tried[kind][0][1] == "unseen" and not caller.uncompiled:
                caller.uncompiled = True
                tried[kind] = ask(caller, kind, settings[TRIED], rng), caller.way
        except Exception as error:
            errors[kind] = error
    if not tried:
        said = "; ".join(
            f"with fn {PRONOUN[k]} {k}, {type(e).__name__}: {str(e).rstrip('.')}" for k, e in errors.items()
        )
        raise ValueError(
            f"{where}: loss could not be called: {said}. It is called as loss(fn, x, ...) with fn(x) like a network and x (n, d); for "
            f"another interface put a function around it, for other arrays pass wrap=."
        ) from next(iter(errors.values()))
    kind = max(tried, key=lambda kind: (_sense(caller, tried[kind][0], kind), kind == "energy"))
    (first, hidden), caller.way = tried[kind]
    groups: list[Group] = []
    seen: dict = {}
    for k, plain in enumerate([] if hidden in HOPELESS else settings):
        setting = plain
        if "denoising" in caller.objective and not hidden:
            setting = with_kernel(caller, kind, setting, rng, seen)
            if np.ndim(setting.scale):
                hidden, setting = "rows", setting._replace(scale=1.0)
            elif setting.sigma == 0:
                hidden, setting = "clean", setting._replace(sigma=setting.level)
        known = k == TRIED and (setting.scale, setting.sigma) == (plain.scale, plain.sigma) and not caller.interleaved
        group, now = tried[kind][0] if known else ask(caller, kind, setting, rng)
        hidden = hidden or now
        groups.append(group)
    if groups and not hidden and as_it_should_be(caller.objective, groups, kind) is None:
        groups = [_with_roundoff(caller, group) for group in groups]
    return Evidence(kind, groups or [first], hidden, _repeatable(caller, kind, settings, rng))


def _repeatable(caller, kind, settings, rng):
    """Whether calls with the same seed say the same: three of them, for random signs of few rows often do by chance."""
    setting = max(settings, key=lambda s: s.n * s.d)
    probe = random_probe(kind, setting.d, rng)
    return len({caller.ask(probe, setting).value for _ in range(3)}) == 1


def _sense(caller, asked, kind):
    """How much sense a loss makes with fn of this kind: 2 right terms found, 1 other terms, 0 none, -1 not even numbers."""
    group, hidden = asked
    if not np.all(np.isfinite(group.values)) or np.ptp(group.values) == 0:
        return -1
    if hidden == "hidden":
        return 1
    if hidden:
        return 0
    found = search(caller.objective, [group], kind)
    return 0 if not found else 1 + any(name in ("linear", "square") for name in found[0].names)


# ------------------------------------------------------------------------------- the investigation


def investigate(where, caller, settings, model, rng):
    """The `CheckReport` of a loss."""
    alone: tuple[str, ...] = ()
    if caller.objective == "multilevel_denoising" and {"sigmas", "alphas"} & caller.takes.keys():
        report, reason = _jointly(where, caller, model, rng)
        if report is not None:
            return report
        alone = (f"each level was checked alone{f', as {reason}' if reason else ''}",)
    evidence = gather(where, caller, settings, model, rng)
    naming, resolution, details = _judged(caller, evidence, rng)
    if alone and naming.verdict == PASS and not reason:
        naming = by_rows(caller, evidence.kind, rng) or Naming(FAIL, MIXED, "alone each level is right")
    elif alone and naming.verdict == PASS and reason == SEVERAL:
        naming = Naming(
            INCONCLUSIVE, f"levels mixed: {SEVERAL}; what is right for one level alone need not be for several", ""
        )
    if naming.verdict == PASS and evidence.repeatable and not alone:
        naming = bent(caller, evidence.kind, evidence.groups[0], rng) or naming
    if naming.verdict == PASS and not evidence.repeatable:
        naming = naming._replace(notes=(*naming.notes, UNHELD))
    elif naming.verdict == PASS and evidence.hidden in ("", "hidden"):
        asked = [g.setting for g in evidence.groups]
        parts = by_scale(caller, asked) if evidence.hidden else _parts(caller, evidence)
        naming = graph(caller, evidence.kind, asked, parts, rng) or naming
    n, d = [sorted({getattr(s, size) for s in settings}) for size in ("n", "d")]
    summary = f"{caller.objective} with fn {PRONOUN[evidence.kind]} {evidence.kind}, n {n[0]}-{n[-1]}, d {d[0]}-{d[-1]}, {caller.came} out, {caller.calls} calls"
    notes = (*naming.notes, *sorted(caller.notes))
    if "denoising" in caller.objective:
        notes += kernel_note([g.setting for g in evidence.groups])
    notes += alone
    if "32" in caller.came or "16" in caller.came:
        notes += (f"the loss comes back in {caller.came}: errors below {resolution:.0e} stay unseen",)
    return CheckReport(
        where, naming.verdict, summary, None, naming.pattern, naming.diagnosis, resolution, notes, details
    )


def _jointly(where, caller, model, rng):
    """(the report of a multilevel loss with its levels at once or None, why there is none: "" where it was seen and not explained)."""
    try:
        try:
            seen = joint(caller, model, rng)
        except Unseen:
            if caller.kind != "jax" or caller.uncompiled:
                raise
            caller.uncompiled = True
            seen = joint(caller, model, rng)
        naming = named(caller, seen, rng)
    except Unseen as unseen:
        return None, str(unseen)
    settings = [g.setting for g in seen.groups]
    if naming.verdict == PASS:
        naming = graph(caller, seen.kind, settings, seen.parts, rng) or naming
    summary = f"multilevel_denoising with fn {'an energy' if seen.kind == 'energy' else 'a score'}, 3-4 levels, n 12-19, d 2-3, {caller.came} out, {caller.calls} calls"
    notes = (*naming.notes, *sorted(caller.notes), *kernel_note(seen.levels))
    if "32" in caller.came or "16" in caller.came:
        notes += (f"the loss comes back in {caller.came}: errors below {max(seen.rtol, COARSEST):.0e} stay unseen",)
    details = dict(zip("bpq", seen.prediction, strict=False)) | {"sigma": [level.sigma for level in seen.levels]}
    return CheckReport(
        where, naming.verdict, summary, None, naming.pattern, naming.diagnosis, max(seen.rtol, COARSEST), notes, details
    ), ""


def _judged(caller, evidence, rng):
    """Naming, resolution and details of the value of a loss."""
    groups, kind, objective = evidence.groups, evidence.kind, caller.objective
    settings = [g.setting for g in groups]
    if np.any([np.all(s.scale == 0) for s in settings]):
        return (
            Naming(FAIL, "data not used: the points at which fn is asked do not depend on x", "x~ = noise"),
            np.nan,
            {},
        )
    values = np.concatenate([g.values for g in groups])
    if evidence.hidden == "hidden":
        return hidden_slices(caller, kind, evidence.repeatable, rng)
    if not np.all(np.isfinite(values)):
        text = f"not finite: {np.sum(~np.isfinite(values))} of {values.size} values of the loss are NaN or infinite"
        return Naming(FAIL, text, f"value {values[~np.isfinite(values)][0]}"), np.nan, {}
    if all(np.ptp(g.values) <= 64 * g.eps * np.abs(g.values).max() for g in groups):
        return Naming(FAIL, "model not used: the loss does not depend on fn", f"always {values[0]:.6g}"), np.nan, {}
    if evidence.hidden == "clean":
        text = "clean point: the score is taken at the clean x, never at the noisy x + sigma eps"
        return Naming(FAIL, text, "fn was asked at x and nowhere else"), np.nan, {}
    if evidence.hidden == "rows" and (found := own_levels(caller, kind, rng)) is not None:
        naming, rtol, levels = found
        return naming._replace(notes=(*naming.notes, EACH, *kernel_note(levels))), rtol, {}
    if evidence.hidden in UNKNOWN:
        return Naming(INCONCLUSIVE, f"hidden randomness: {UNKNOWN[evidence.hidden]}", ""), np.nan, {}
    noise = noise_of(caller, evidence, rng) if objective in ("denoising", "multilevel_denoising") else None
    if noise is not None and noise.naming is not None:
        return noise.naming, np.nan, {}
    fn_is = (
        prediction(groups, SIGMAS * noise.error if noise is not None and noise.unsure else 0.0)
        if "denoising" in objective
        else None
    )
    free = kind == "score" and caller.free
    if fn_is is not None and free:
        known = convention(fn_is, settings, caller.said)
        if known is not None:
            return known, fn_is.rtol, {"eps": fn_is.p, "x": fn_is.q}
    e = as_it_should_be(objective, groups, kind)
    if e is None and fn_is is not None:
        return (
            mistake(fn_is, settings, free),
            fn_is.rtol,
            {"eps": fn_is.p, "x": fn_is.q},
        )
    if e is not None:
        a, b = e.coefficient("linear"), e.coefficient("square")
        doubt = float(np.max(e.doubt / np.maximum(np.abs(e.coefficients).max(1, keepdims=True), 1e-300)))
        naming = name_right(objective, e, settings, max(1e-9, SIGMAS * doubt), **_as_added(noise, a / b))
        details = {
            "linear": a,
            "square": b,
            "residual": e.residual,
            "form": e.form,
            "settings": [s._asdict() | {"x": None, "extras": None} for s in settings],
        }
        details |= oracle(caller, kind, settings[0], rng) if evidence.repeatable else {}
        if naming.verdict == FAIL and "yours" in details.get("oracle", {}):
            yours, theirs = details["oracle"]["yours"], details["oracle"]["right"]
            if abs(yours - theirs) > 1e-6 * abs(theirs):
                note = f"for lambda |x|^2/2 on standardised data your loss has its minimum at lambda = {yours:.6g}, the right one at {theirs:.6g}"
                naming = naming._replace(notes=(*naming.notes, note))
        return naming, max(SIGMAS * doubt, COARSEST), details
    found = search(objective, groups, kind)
    if found:
        rtol = max(1e-9, SIGMAS * float(np.max(found[0].doubt / np.maximum(np.abs(found[0].coefficients), 1e-300))))
        details = {"terms": found[0].names, "coefficients": found[0].coefficients, "residual": found[0].residual}
        return name_wrong(objective, found, settings, rtol), rtol, details
    strange = strange_target(caller, kind, settings[0]) if objective == "denoising" else None
    return (strange, np.nan, {}) if strange else _unexplained(caller, groups, kind, rng)


def _random(caller, setting, kind, rng):
    """Whether another seed gives another value."""
    probe = random_probe(kind, setting.d, rng)
    values = [caller.ask(probe, setting._replace(seed=setting.seed + k)).value for k in range(3)]
    return np.ptp(values) > 1e3 * caller.eps * np.abs(values).max()


def _parts(caller, evidence):
    """Linear and square part of the value, as a function of the setting's number and a `Situation`."""
    e = as_it_should_be(caller.objective, evidence.groups, evidence.kind)
    if e is None and "denoising" in caller.objective:
        return prediction(evidence.groups).parts
    if e is None:
        return by_scale(caller, [g.setting for g in evidence.groups])

    def parts(k, situation):
        _, linear, square = right(caller.objective, situation._replace(**e.form))
        return e.coefficients[k, 0] * linear, e.coefficients[k, 1] * square

    return parts


def _as_added(noise, ratio):
    """The size of the noise, for `name_right`."""
    return {} if noise is None else {"noise": noise.variance(ratio), "error": SIGMAS * noise.error}


def _unexplained(caller, groups, kind, rng):
    """No combination of known terms: say how much of the loss the right terms leave."""
    objective = caller.objective
    if objective in ("explicit", "implicit", "generalised") and _random(caller, groups[0].setting, kind, rng):
        text = "random: the loss draws numbers that its objective has no use for, and only their mean could be checked; let it be without"
        return Naming(INCONCLUSIVE, text, "another seed, another value"), np.nan, {}
    columns = [np.array([right(objective, q) for q in g.situations])[:, 1:] for g in groups]
    fits = [solve(c, g) for c, g in zip(columns, groups, strict=True)]
    left = max(f.residual for f in fits)
    text = (
        f"unknown term: no combination of the terms known here is your loss; the {LINEAR[objective]} and the square leave "
        f"{left:.2g} of it unexplained. It is not quadratic in the score, or is taken at other points, or mixes the samples"
    )
    c = np.mean([f.coefficients for f in fits], axis=0)
    one = max(abs(f.coefficients[0] / f.coefficients[1] - 1) for f in fits)
    if max(left, one) < ALMOST:
        note = f"right up to {max(left, one):.0e} of its terms: finite differences of its own, or an epsilon"
        return (
            Naming(PASS, "", f"loss = {c[1]:.6g} x [square] + {c[0]:.6g} x [{LINEAR[objective]}] + constant", (note,)),
            ALMOST,
            {},
        )
    if left < NEARLY and all(abs(f.coefficients[0] / f.coefficients[1] - 1) < NEARLY for f in fits):
        text = f"inaccurate: your loss is the right one up to {left:.0e} of its terms: a finite difference of its own, an epsilon, or a small regulariser"
    return (
        Naming(
            FAIL,
            text,
            f"nearest: {c[1]:.4g} x [square] + {c[0]:.4g} x [{LINEAR[objective]}] + constant, off by {left:.2g}",
        ),
        left,
        {},
    )
