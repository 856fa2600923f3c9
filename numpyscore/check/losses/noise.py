"""Denoising losses: what they do to the data, what they pull their model to at every noisy point, and what must hold between levels."""

import numpy as np

from ..report import FAIL, INCONCLUSIVE, PASS
from . import denoising, levels
from .hearing import NORMAL
from .identify import NEAR, Answers, identify
from .names import COARSEST, LINEAR, SQUARE, Level, Naming, factor, missing, name_wrong
from .plain import near_note, unusable
from .structure import PIECES, growth, not_quadratic, piecewise, shape_of
from .terms import CALLS, observation, search, vocabulary
from .trials import noisy

MANY = 1000
SIGMAS = 6.0
TROUBLE = {
    "unseen": "its points are hidden from the probe (a compiled function); let the loss take noise= (unit normals)",
    "not held": "it draws noise that no seed holds; let the loss take rng= (or key, generator, noise)",
    "not scaled": "the noisy points are not c x + noise, row by row (tokens of several rows, noise coupled to the data, or x is transformed first); say shape=, or let the loss take noise=",
    "not heard": "its noise was not heard (another library draws it), and is of no size known here; let the loss take rng= (or key, generator, noise)",
}
MIXED = "levels mixed: only some of the levels or rows count at a time (a maximum, a minimum, a median, a sort, a clip), together they are not the weighted sum of their losses"


def denoised(caller, kind, settings, rng):
    """(`Naming`, sense, details) of a denoising loss with fn of one kind."""
    trials = [noisy(caller, kind, s, rng) for s in settings]
    if any(t.trouble == "unseen" for t in trials) and not caller.uncompiled:
        caller.uncompiled = True
        trials = [noisy(caller, kind, s, rng) for s in settings]
    if all(t.trouble == "not heard" for t in trials):
        trials = _inferred(caller, kind, trials, rng)
    tables = [Answers(caller, kind, t, rng) for t in trials]
    wrong = unusable([t.grow(CALLS) for t in tables[:2]]) or _perturbation(caller, trials)
    if wrong is not None:
        return wrong, 1, {}
    trouble = next((t.trouble for t in trials if t.trouble not in ("", "inferred")), "")
    if trouble:
        return Naming(INCONCLUSIVE, f"hidden randomness: {TROUBLE[trouble]}", ""), 0, {}
    naming, sense, details = _read(caller, kind, trials, tables, rng)
    notes = naming.notes + denoising.kernel_note(
        *(np.concatenate([getattr(t, k)[t.sigma > 0] for t in trials]) for k in ("c", "sigma"))
    )
    if any(t.trouble for t in trials):
        notes += ("the noise was not heard; its size was inferred from that of many rows",)
        if naming.verdict == FAIL:
            return (
                Naming(
                    INCONCLUSIVE, f"not heard: {naming.diagnosis}; but {TROUBLE['not heard']}", naming.pattern, notes
                ),
                0,
                details,
            )
    return naming._replace(notes=notes), sense, details


# ------------------------------------------------------------------------------- what happens to the data


def _perturbation(caller, trials):
    """A FAIL if something is wrong with the noisy points themselves."""
    trials = [t for t in trials if t.sigma is not None]
    if not trials:
        return None
    if all(np.all(t.c == 0) for t in trials):
        return Naming(FAIL, "data not used: the points at which fn is asked do not depend on x", "x~ = noise")
    if all(np.all(t.clean) for t in trials):
        text = "clean point: the score is taken at the clean x, never at the noisy x + sigma eps"
        return Naming(FAIL, text, "fn was asked at x and nowhere else")
    heard = [t for t in trials if not t.trouble]
    if len(heard) < len(trials):
        return None
    if any(np.any(t.sigma > 0) and _one_row_for_all(t) for t in heard):
        return Naming(
            FAIL, "shared noise: every row gets the same noise; draw one for each row", "x~ - x is the same in all rows"
        )
    if all(np.allclose(t.eps, t.eps[:, :1]) for t in heard):
        return Naming(
            FAIL, "shared noise: every dimension of a row gets the same noise", "x~ - x is the same in all columns"
        )
    used = [{int(k) for k in t.source[t.sigma > 0, 0]} for t in heard]
    drawn = {t.draws[k].name for t, u in zip(heard, used, strict=True) for k in u}
    if "noise" in caller.takes and "given" not in drawn:
        text = "noise: the noisy points are not x + sigma noise with the noise that was given; another noise is drawn, or x is changed"
        return Naming(FAIL, text, "x~ - x is not proportional to the noise")
    if "noise" in caller.takes and _other_rows(heard):
        text = "noise: the noisy points are not x + sigma noise with the noise that was given, row by row"
        return Naming(FAIL, text, "x~ - x is proportional to the noise of another row")
    odd = sorted(
        {
            t.draws[k].name
            for t, u in zip(heard, used, strict=True)
            for k in u
            if t.draws[k].law != NORMAL and t.draws[k].name != "given"
        }
    )
    if odd:
        return Naming(
            FAIL,
            f"not Gaussian: the target -eps/sigma is right for Gaussian noise alone, and the noise is drawn by {', '.join(odd)}",
            "the draws were heard",
        )
    return None


def _one_row_for_all(trial):
    """Whether points of different data have one and the same noise."""
    use = trial.sigma > 0
    pairs = {(r, *map(int, s)) for r, s in zip(trial.row[use], trial.source[use], strict=True)}
    return len({p[0] for p in pairs}) > 1 and len({p[1:] for p in pairs}) == 1


def _other_rows(trials):
    """Whether noise that was given to one row is added to another."""
    return any(np.any(t.source[t.sigma > 0, 1] % t.setting.n != t.row[t.sigma > 0]) for t in trials)


def _inferred(caller, kind, trials, rng):
    """Trials whose noise was not heard, with the one size known here that many rows have; as they were if there is none."""
    sizes = {
        "told": lambda t: np.broadcast_to(t.setting.level, t.c.shape),
        "preserving": lambda t: np.sqrt(np.maximum(1 - t.c**2, 0)),
        "straight": lambda t: 1 - t.c,
    }
    first = trials[0].setting
    x = 0.3 + 1.2 * rng.standard_normal((MANY, first.d))
    many = noisy(caller, kind, first._replace(n=MANY, x=x, extras=first.extras | {"noise": x}), rng)
    if many.trouble != "not heard":
        return trials
    shift = lambda t: t.points - t.c[:, None] * t.setting.x[t.row]
    for size in sizes.values():
        with np.errstate(all="ignore"):
            z = shift(many) / size(many)[:, None]
        fourth = np.mean(z**4) / 3
        if (
            np.all(np.isfinite(z))
            and abs(np.mean(z**2) - 1) <= SIGMAS * np.sqrt(2 / z.size)
            and abs(fourth - 1) <= SIGMAS * np.sqrt(11 / z.size)
        ):
            return [
                t._replace(
                    sigma=np.array(size(t), float),
                    eps=shift(t) / size(t)[:, None],
                    source=np.zeros((len(t.points), 2), int) - 3,
                    trouble="inferred",
                )
                for t in trials
            ]
    return trials


# ------------------------------------------------------------------------------- what fn is pulled to


def _read(caller, kind, trials, tables, rng):
    """(`Naming`, sense, details) of the arrays of a loss at its noisy points."""
    founds = [identify(t, jacobian=False) for t in tables]
    left = max(f.fit.residual for f in founds)
    if not all(f.fit.near for f in founds):
        return _unread(caller, kind, trials, tables, founds, rng)
    if all(np.abs(f.A).max() <= 1e-9 * np.abs(f.b).max() for f in founds):
        return Naming(FAIL, missing(caller.objective, SQUARE), "A = 0"), 2, {}
    wrong = _not_isotropic(trials, founds)
    if wrong is not None:
        return wrong, 1, {}
    r = denoising.read(trials, founds)
    if not all(f.fit.exact for f in founds):
        r = r._replace(rtol=max(r.rtol, 10 * left))
    details = dict(zip("bpq", (r.w, r.p, r.q), strict=True)) | {"sigma": r.sigma, "c": r.c}
    used = ~np.isnan(r.p)
    if np.any(r.left[used] > max(1e-6, 10 * r.rtol)):
        return _strange(caller, trials, founds, r), 1, details
    naming = _named(caller, kind, trials, r, rng)
    if naming.verdict == PASS and not all(f.fit.exact for f in founds):
        naming = naming._replace(notes=(near_note(left), *naming.notes))
    return naming._replace(resolution=max(r.rtol, COARSEST)), 2, details


def _named(caller, kind, trials, r, rng):
    """The `Naming` of w, p and q of every point."""
    objective, known = caller.objective, caller.known
    multilevel = trials[0].setting.levels > 1
    if multilevel and (lost := levels.forgotten(caller, kind, trials, r, rng)) is not None:
        return lost
    wrong, notes = levels.told(trials) if objective == "multilevel_denoising" else (levels.as_function(trials), ())
    wrong = (
        wrong
        or ((levels.target_of_another(trials, r) or levels.none_of_them(trials, r)) if multilevel else None)
        or levels.averaged(trials, r)
        or _size(caller, trials, r)
    )
    if wrong is not None:
        return wrong
    naming = denoising.name(
        r,
        objective if multilevel else "denoising",
        caller.free and kind == "score" and known["predicts"] != "score",
        caller.said,
        known["predicts"],
    )
    if naming.verdict != PASS:
        return naming._replace(notes=(*naming.notes, *notes))
    return naming._replace(notes=(*naming.notes, *notes, *(levels.shared(trials) if multilevel else ())))


def _size(caller, trials, r):
    """A FAIL if noise of one size is added, and the target is that of the sigma that the loss was told."""
    if "sigma" not in caller.takes or trials[0].setting.levels > 1 or np.any(np.abs(r.q) > 1e-6 * np.abs(r.p)):
        return None
    told = np.array([np.broadcast_to(trials[t].setting.level, len(trials[t].setting.x))[0] for t, _ in r.of], float)
    if np.allclose(r.sigma, told, rtol=1e-6) or np.allclose(-r.p * r.sigma, 1, rtol=1e-6):
        return None
    at = [Level(v.n, v.d, s, v.m, 1.0, 1) for v, s in zip(r.levels, told, strict=True)]
    for target in (-r.p * told, -r.p * told**2 / r.sigma):
        if np.allclose(target, 1, rtol=1e-6):
            size = factor(r.sigma, at, r.rtol)
            text = f"scale of the noise: the noise that is added has standard deviation {_times(size)}, the target is that of sigma"
            return Naming(FAIL, text, f"sigma told {told[0]:.4g}, added {r.sigma[0]:.4g}")
    return None


def _times(size):
    return size.text if size.powers else f"{size.text} whatever sigma is"


def _not_isotropic(trials, founds):
    """The `Naming` of squares that are no multiple of |fn|^2 in every row."""
    for trial, found in zip(trials, founds, strict=True):
        own = found.own[trial.sigma > 0]
        w = np.einsum("iaa->i", own) / own.shape[-1]
        if (
            np.abs(own - w[:, None, None] * np.eye(own.shape[-1])).max()
            > max(1e-6, 10 * found.doubt) * np.abs(own).max()
        ):
            return shape_of(found, trial.setting.x, "product with the noise")
    return None


FIELDS = {  # of (n, d) arrays: what a target may be made of, in place of its own row
    "the previous row's": lambda a: np.roll(a, 1, axis=0),
    "the next row's": lambda a: np.roll(a, -1, axis=0),
    "the batch mean": lambda a: np.broadcast_to(a.mean(0), a.shape),
    "the mean over dimensions": lambda a: np.broadcast_to(a.mean(1, keepdims=True), a.shape),
    "the columns in reversed order": lambda a: a[:, ::-1],
    "the columns moved by one": lambda a: np.roll(a, 1, axis=1),
    "the rows in reversed order": lambda a: a[::-1],
}


def _strange(caller, trials, founds, r):
    """The FAIL of a loss whose targets are not made of the noise and the data of their own rows."""
    trial, found = trials[0], founds[0]
    own = np.einsum("pii->pi", found.own).mean(1)
    use = (trial.sigma > 0) & (np.abs(own) > 1e-9 * np.abs(own).max())
    target, eps = -found.b[use] / own[use, None], trial.eps[use]
    for words, move in FIELDS.items():
        for what, field in (("noise", eps), ("target -eps/sigma", -eps / trial.sigma[use, None])):
            moved = move(field)
            k = np.sum(target * moved) / max(np.sum(moved**2), 1e-300)
            if np.abs(target - k * moved).max() <= 1e-6 * np.abs(target).max():
                return Naming(
                    FAIL, f"wrong target: it is made of {words} {what}", f"target = {k:.4g} times {words} {what}"
                )
    draws = [d.value.reshape(-1, trial.setting.d) for d in trial.draws if d.value.size == trial.setting.x.size]
    for a in draws:
        k = np.sum(target * a[: len(target)]) / np.sum(a[: len(target)] ** 2) if len(a) >= len(target) else 0.0
        if k and np.corrcoef(target.ravel(), a[: len(target)].ravel())[0, 1] ** 2 > 1 - 1e-9:
            break
    text = "other noise: the target is not made of the noise that was added; it is drawn anew (another key, a second call of randn), or belongs to other points"
    return Naming(
        FAIL,
        text,
        f"target of the first row {np.array2string(target[0], precision=3)}, eps {np.array2string(eps[0], precision=3)}",
    )


def _unread(caller, kind, trials, tables, founds, rng):
    """(`Naming`, sense, details) of a loss that is not quadratic in what fn says at each point alone."""
    tables, trials = tables[:2], trials[:2]
    seen = [observation(caller, t) for t in trials]
    terms, floors = [], [0.0] * len(tables)
    for table, trial, q in zip(tables, trials, seen, strict=True):
        sigma = np.where(trial.sigma > 0, trial.sigma, 1.0)
        terms.append(vocabulary(table, q, (trial.eps, sigma), -trial.eps / sigma[:, None]))
    found = search(tables, terms, None, floors)
    if found:
        at = [Level(t.setting.n, t.setting.d, float(np.median(t.sigma[t.sigma > 0]))) for t in trials]
        return name_wrong(caller.objective, found, at, 1e-6), 1, {"terms": found[0].names}
    left = max(f.fit.residual for f in founds)
    wide = [t for t in tables if t.trial.points.size <= 24]
    for jacobian, groups in ((True, None), (False, "all")):
        for table in wide[:1]:
            every = [np.arange(len(table.trial.points))] if groups else None
            found = identify(table, every, jacobian=jacobian)
            if found.fit.residual < NEAR / 100:
                named = shape_of(found, table.trial.setting.x, LINEAR[caller.objective])
                if named is not None:
                    return named, 1, {}
    if piecewise(tables[0]):
        return (
            Naming(
                FAIL,
                MIXED if trials[0].setting.levels > 1 else PIECES,
                f"near one model the loss is a square, over all {left:.2g} of it is none",
            ),
            1,
            {},
        )
    power = growth(tables[0], caller, kind, trials[0].setting)
    return not_quadratic(power, left, LINEAR[caller.objective]), 0, {}
