"""Denoising losses: what they do to the data, what they pull their model to at every noisy point, and what must hold between levels."""

import numpy as np

from ...common.arrays import to_numpy
from ..report import FAIL, INCONCLUSIVE, PASS
from . import batch, denoising, levels
from .hearing import NORMAL
from .identify import NEAR, Answers, identify
from .names import COARSEST, SQUARE, Level, Naming, factor, missing, name_wrong
from .plain import near_note, target_named, unusable
from .structure import PIECES, shape_of
from .terms import CALLS, observation, search, vocabulary
from .trials import SINGLE, as_asked, mixture, noisy, rows_of, with_mixture
from .unexplained import unexplained

MANY = 1000
SIGMAS = 6.0
TROUBLE = {
    "unseen": "its points are hidden from the probe (a compiled function); let the loss take noise= (unit normals)",
    "not held": "it draws noise that no seed holds; let the loss take rng= (or key, generator, noise)",
    "not scaled": "the noisy points are not c x + noise, row by row (tokens of several rows, noise coupled to the data, or x is transformed first); say shape=, or let the loss take noise=",
    "correlated": "its noise was not heard, or has another level in each row, and is correlated between the coordinates of a row, or of different size in them: the target must be -C^-1 (x~ - c x)",
    "not heard": "its noise was not heard (another library draws it, or it is mixed or shifted after it is drawn), and is of no size known here; let the loss take rng= (or key, generator, noise)",
}
MIXED = "levels mixed: only some of the levels or rows count at a time (a maximum, a minimum, a median, a sort, a clip), together they are not the weighted sum of their losses"


def denoised(caller, kind, settings, rng):
    """(`Naming`, sense, details) of a denoising loss with fn of one kind."""
    trials = [noisy(caller, kind, s, rng) for s in settings]
    if any(t.trouble == "unseen" for t in trials) and not caller.uncompiled:
        caller.uncompiled = True
        trials = [noisy(caller, kind, s, rng) for s in settings]
    covariances = ()
    if all(t.trouble == "not heard" for t in trials):
        mixed = _mixed(caller, kind, trials, rng)
        trials, covariances = mixed if mixed is not None else (_inferred(caller, kind, trials, rng), ())
    trials, mapped = _of_mapped_data(trials)
    tables = [Answers(caller, kind, t, rng) for t in trials]
    wrong = unusable([t.grow(CALLS) for t in tables[:2]]) or _perturbation(caller, trials)
    if wrong is not None:
        return wrong, 1, {}
    if any(np.abs(C - np.eye(len(C))).max() > 1e-6 for C in covariances):
        joined = _correlated(caller, trials, covariances, tables)
        return (_drawn(caller, kind, trials, rng) or joined if joined.verdict == PASS else joined), 1, {}
    trouble = next((t.trouble for t in trials if t.trouble not in ("", "inferred")), "")
    if trouble:
        return Naming(INCONCLUSIVE, f"hidden randomness: {TROUBLE[trouble]}", ""), 0, {}
    naming, sense, details = _read(caller, kind, trials, tables, rng)
    if naming.verdict != FAIL:
        naming = _drawn(caller, kind, trials, rng) or naming
    notes = naming.notes + mapped
    if caller.eps < SINGLE and any(t.single for t in trials) and not any(n.startswith("right up to") for n in notes):
        notes = (near_note(SINGLE), *notes)
        naming = naming._replace(resolution=max(naming.resolution, COARSEST))
    notes += denoising.kernel_note(
        *(np.concatenate([getattr(t, k)[t.sigma > 0] for t in trials]) for k in ("c", "sigma"))
    )
    if any(t.coupled for t in trials) and naming.verdict == FAIL:
        return (
            Naming(
                INCONCLUSIVE,
                f"coupled noise: the noise goes to other rows when the data change (an assignment, optimal transport); {naming.diagnosis}",
                naming.pattern,
                notes,
            ),
            0,
            details,
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


def _of_mapped_data(trials):
    """(the trials with c beside scale (x + offset), notes) of a loss that maps its data affinely before they are noised.

    The scale is what makes all c one, or the kernel variance preserving, or a straight line; 1 where nothing does.
    """
    if not any(t.offset is not None for t in trials):
        return trials, ()
    c, s = (np.concatenate([getattr(t, k) for t in trials if t.offset is not None]) for k in ("c", "sigma"))
    with np.errstate(all="ignore"):
        scales = (c, c / np.sqrt(1 - s**2), c / (1 - s))
        scale = next((float(a.mean()) for a in scales if np.ptp(a) <= 1e-9 * np.abs(a).max()), 1.0)
    scale = float(np.round(scale)) if abs(scale - np.round(scale)) <= 1e-9 and round(scale) else scale
    rest = [np.where(np.abs(t.c / scale - 1) <= 1e-9, 1.0, t.c / scale) for t in trials if t.c is not None]
    of = iter(rest)
    trials = [t if t.c is None else t._replace(c=next(of), scale=scale) for t in trials]
    words = dict.fromkeys(_map_in_words(t) for t in trials if t.offset is not None)
    note = f"another convention: the data are mapped to {' or '.join(words)} before the noise is added; the score learnt is that of the mapped data"
    return trials, (note,)


def _map_in_words(trial):
    """scale (x + offset) in words."""
    b = trial.scale * trial.offset
    x = "x" if trial.scale == 1 else f"{trial.scale:.6g} x"
    return (
        f"{x} {'-' if b[0] < 0 else '+'} {abs(b[0]):.6g}"
        if np.ptp(b) <= 1e-9 * np.abs(b).max()
        else f"{x} + a constant vector"
    )


def _perturbation(caller, trials):
    """A FAIL if something is wrong with the noisy points themselves."""
    if any(t.trouble in ("not heard", "not scaled") for t in trials) and (changed := _changed(trials)) is not None:
        return changed
    if shared := next((said for rule in SHARED if (said := rule(trials))), None):
        return Naming(FAIL, *shared)
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


NO_NOISE = "dimensions without noise: some dimensions (columns) of the points get no noise, or it is masked; the target has noise in all"


def _changed(trials):
    """The FAIL of noisy points that are c x + sigma eps but for some entries; None if they are not."""
    what = []
    for t in trials:
        rows, of = rows_of(t.draws, t.setting.d)
        rows = rows[[t.draws[k].law == NORMAL for k, _ in of]] if len(of) else rows
        for p in [] if t.sigma is None else np.flatnonzero(np.isnan(t.sigma)):
            shift = t.points[p] - t.c[p] * t.setting.x[t.row[p]]
            with np.errstate(all="ignore"):
                ratio = shift / rows  # (K, d)
            same = np.abs(ratio[:, :, None] / ratio[:, None] - 1) <= 1e-6
            agree = np.where(np.isfinite(ratio) & (ratio != 0), same.sum(2), 0) if len(rows) else np.zeros((1, 1))
            if agree.max() < 2:
                continue
            k, j = np.unravel_index(agree.argmax(), agree.shape)
            off = ~same[k, j]
            zero, edge = np.abs(shift[off]) <= 1e-12, np.abs(shift[off] / ratio[k, j])
            what += ["zero" if z else f"{e:.6g}" for z, e in zip(zero, edge, strict=True)]
            what += [f"at {v:.6g}" for v in np.abs(t.points[p, off])]
    if any(np.sum(np.abs(t.points) == np.abs(t.points).max()) > 2 for t in trials):
        edge = np.abs(trials[0].points).max()
        text = f"clipped points: the noisy points are clipped (clamped) at {edge:.4g}; they are not c x + sigma eps, and their law is no Gaussian perturbation"
        return Naming(FAIL, text, f"several entries stand at {edge:.4g}")
    columns = [np.abs(t.points - t.c[:, None] * t.setting.x[t.row]).max(0) for t in trials if t.c is not None]
    if columns and all(np.any(c == 0) and np.any(c > 0) for c in columns):
        return Naming(FAIL, NO_NOISE, "x~ = c x in some columns")
    if not what:
        return None
    if what.count("zero") > len(what) / 4:
        return Naming(FAIL, NO_NOISE, "x~ = c x there")
    often = max(set(what), key=what.count)
    if what.count(often) > 2 and often.startswith("at"):
        return Naming(
            FAIL,
            f"clipped points: the noisy points are clipped (clamped) {often}; they are not c x + sigma eps, and their law is no Gaussian perturbation",
            f"{what.count(often)} entries stand {often}",
        )
    if what.count(often) > 2:
        return Naming(
            FAIL,
            f"clipped noise: the noise is clipped (truncated) at {often} standard deviations; the target -eps/sigma is right for Gaussian noise alone",
            f"{what.count(often)} entries stand there",
        )
    return None


def _drawn(caller, kind, trials, rng):
    """A FAIL of noise that is the same in every call, or that comes from the random numbers of something else."""
    trial = trials[0]
    if "noise" not in caller.takes:
        other = as_asked(caller, kind, trial.setting._replace(seed=trial.setting.seed + 7), rng)
        if np.array_equal(other.points, trial.points):
            text = "fixed noise: another seed gives the same noise; it never changes (a generator or key made anew inside the loss), and the network learns one noise for each row"
            return Naming(FAIL, text, "another seed, the same points")
    for draws in (t.draws for t in trials):
        keyed = [(d.key, d.value.shape, d.name) for d in draws if d.key is not None]
        for k, (key, *what) in enumerate(keyed):
            if any(key == other and what != more for other, *more in keyed[:k]):
                text = "one key: two different draws of the loss come from one key, or one state; what they give is not independent (the time and the noise, say): split the key"
                return Naming(FAIL, text, f"{what[1]} {what[0]} from the key of an earlier draw")
    return None


def _shifts(trials):
    """x~ - c x (M, d) and the row of the data (M,) of the points that have noise, of each trial in which c is known."""
    for t in trials:
        if t.c is not None and t.setting.d > 1:
            shift = t.points - t.c[:, None] * t.setting.x[t.row]
            use = np.abs(shift).max(1) > 1e-9 * np.abs(t.points).max()
            if use.any():
                yield shift[use], t.row[use]


def _signs(shift):
    """Whether all entries of a row have one size, so that rows and columns may be equal by chance."""
    return bool(np.ptp(np.abs(shift), axis=1).max() <= 1e-6 * np.abs(shift).max())


def _coordinates_shared(trials):
    groups = []
    for shift, _ in _shifts(trials):
        same = (
            np.abs(shift[:, :, None] - shift[:, None]).max(0) <= 1e-6 * np.abs(shift).max()
            if len(shift) > 1
            else np.eye(1)
        )
        groups.append([list(map(int, g)) for g in dict.fromkeys(tuple(np.flatnonzero(row)) for row in same)])
    if not groups or any(all(len(g) == 1 for g in group) for group in groups):
        return None
    if all(len(group) == 1 for group in groups):
        return "shared noise: every dimension of a row gets the same noise", "x~ - c x is the same in all columns"
    if any(_signs(shift) for shift, _ in _shifts(trials)):
        return None
    which = ", ".join(map(str, next(g for g in groups if len(g) > 1)))
    text = "shared noise: some coordinates of a row get the same noise: it is drawn for a part of the shape (one channel, one row of pixels), and broadcast"
    return text, f"x~ - c x is the same in the columns {which}"


def _rows_shared(trials):
    found = []
    for shift, row in _shifts(trials):
        unit = shift / np.linalg.norm(shift, axis=1)[:, None]
        twins = (np.abs(unit[:, None] - unit).max(-1) <= 1e-6) & (row[:, None] != row)
        found.append(1.0 if (twins | (row[:, None] == row)).all() and twins.any() else 0.5 * twins.any(1).all())
    if not found or not all(found) or (min(found) < 1 and any(_signs(shift) for shift, _ in _shifts(trials))):
        return None
    if min(found) == 1:
        return "shared noise: every row gets the same noise; draw one for each row", "x~ - c x is the same in all rows"
    text = "shared noise: different rows of the batch get the same noise: it is drawn for a part of the batch, and repeated"
    return text, "x~ - c x is the same in several rows"


def _centred_over_rows(trials):
    several = [shift for shift, row in _shifts(trials) if len(set(row.tolist())) > 2]
    for shift in several:
        antithetic = np.abs(shift[:, None] + shift).max(-1) <= 1e-6 * np.abs(shift).max()
        if np.abs(shift.sum(0)).max() > 1e-9 * np.abs(shift).max() or antithetic.any(1).all():
            return None
    if not several:
        return None
    text = "noise centred: the mean over the batch is taken from the noise: its rows depend on each other, and have the variance 1 - 1/n"
    return text, "the sum of x~ - c x over the rows is 0"


SHARED = (_coordinates_shared, _rows_shared, _centred_over_rows)


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
    if np.ndim(first.level):
        return trials
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
            if np.abs(z.T @ z / len(z) - np.eye(first.d)).max() > SIGMAS * np.sqrt(2 / len(z)):
                return [t._replace(trouble="correlated") for t in trials]
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


def _mixed(caller, kind, trials, rng):
    """(the trials, C (d, d) of each) of noise that is a mixture of the normals that were drawn, eps_i = r_i B with one B for all rows; None.

    C = B^T B, its mean variance 1. B is found from many rows, and must hold in the trial itself.
    """
    out = []
    for trial in trials:
        B = mixture(batch.widened(caller, kind, trial.setting, rng), caller.eps)
        mixed = None if B is None else with_mixture(trial, B, caller.eps)
        if mixed is None:
            return None
        out.append((mixed, B.T @ B))
    return tuple(zip(*out, strict=True))


def _correlated(caller, trials, covariances, tables):
    """The `Naming` of correlated noise, of covariance sigma^2 C: the score of such points is -C^-1 (x~ - c x)/sigma^2."""
    forms = []
    for trial, C, table in zip(trials, covariances, tables, strict=True):
        found, d = identify(table, jacobian=False), trial.setting.d
        w = np.einsum("iaa->i", found.own)[:, None] / d
        if not found.fit.near or np.abs(found.own - w[..., None] * np.eye(d)).max() > 1e-6 * np.abs(w).max():
            return Naming(INCONCLUSIVE, f"{JOINED}; what fn is pulled to was not read off", "")
        if np.any(w <= 0):
            return Naming(INCONCLUSIVE, f"{JOINED}; some rows have no weight, or one below 0", "")
        target, eps, sigma = -found.b / w, trial.eps, trial.sigma[:, None]
        is_it = lambda other, target=target: np.abs(target - other).max() <= 1e-6 * np.abs(target).max()
        along = np.sum(target * eps, axis=1, keepdims=True) / np.sum(eps**2, axis=1, keepdims=True)
        forms.append(1 if is_it(-eps @ np.linalg.pinv(C) / sigma) else -1 if is_it(along * eps) else 0)
    pattern = (
        f"covariance of the noise over its mean variance, first row {np.array2string(covariances[-1][0], precision=3)}"
    )
    if all(form == 1 for form in forms):
        note = f"another convention: {JOINED}, C, and the target is its score -C^-1 (x~ - c x)"
        return Naming(PASS, "", pattern, (note,))
    if all(form == -1 for form in forms) and (not caller.free or caller.known["predicts"] == "score"):
        return Naming(FAIL, f"{JOINED}; the target is not the score of the points, which is -C^-1 (x~ - c x)", pattern)
    text = f"{JOINED}; the score of the points is -C^-1 (x~ - c x), and the target is something else"
    return Naming(INCONCLUSIVE, text, pattern)


JOINED = "correlated noise: the noise has a covariance C between the coordinates of a row that is no multiple of the identity"


# ------------------------------------------------------------------------------- what fn is pulled to


def _read(caller, kind, trials, tables, rng):
    """(`Naming`, sense, details) of the arrays of a loss at its noisy points."""
    founds = [identify(t, jacobian=False) for t in tables]
    left = max(f.fit.residual for f in founds)
    if not all(f.fit.near for f in founds):
        return _unread(caller, kind, trials, tables, founds, rng)
    if all(np.abs(f.A).max() <= 1e-9 * np.abs(f.b).max() for f in founds):
        return Naming(FAIL, missing(caller.objective, SQUARE), "A = 0"), 2, {}
    founds, entry_notes = _entry_weights(caller, kind, trials, founds, rng)
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
    return naming._replace(resolution=max(r.rtol, COARSEST), notes=(*naming.notes, *entry_notes)), 2, details


def _entry_weights(caller, kind, trials, founds, rng):
    """(the arrays without weights of single entries, if these are positive on average and the targets are right where they count; notes)."""
    out = []
    for trial, found in zip(trials, founds, strict=True):
        use, d = trial.sigma > 0, trial.points.shape[1]
        w = np.einsum("iaa->ia", found.own)
        plain = np.abs(found.own - w[:, :, None] * np.eye(d)).max() <= 1e-6 * np.abs(w).max() and found.cross <= 1e-6
        if not plain or np.all(np.ptp(w[use], axis=1) <= 1e-6 * np.abs(w).max()) or np.any(w < -1e-9 * w.max()):
            return founds, ()
        x, s, eps, c = trial.data[trial.row], trial.sigma[:, None], trial.eps, trial.c[:, None]
        forms = [(-1 / np.where(s > 0, s, 1), 0), *(row.form(c, s) for row in denoising.PARAMETRISATIONS[:-1])]
        fields = [p * eps + q * x for p, q in forms]
        t = next((t for t in fields if np.abs(found.b + w * t)[use].max() <= 1e-6 * np.abs(found.b).max()), None)
        if t is None:
            return founds, ()
        if np.any(w[use] <= 1e-9 * w.max()):
            other = identify(
                Answers(
                    caller, kind, noisy(caller, kind, trial.setting._replace(seed=trial.setting.seed + 3), rng), rng
                ),
                jacobian=False,
            )
            if other.b.shape != found.b.shape or np.array_equal(
                np.einsum("iaa->ia", other.own) > 1e-9 * w.max(), w > 1e-9 * w.max()
            ):
                return founds, ()
        mean = np.full_like(w, w[use].mean())
        A = np.zeros_like(found.A)
        A[np.arange(len(w))[:, None], np.arange(d), np.arange(len(w))[:, None], np.arange(d)] = mean
        out.append(found._replace(A=A, b=-mean * t))
    return out, ("another convention: single entries have weights of their own (a mask, or weights of the dimensions)",)


def _named(caller, kind, trials, r, rng):
    """The `Naming` of w, p and q of every point."""
    objective, known = caller.objective, caller.known
    multilevel = trials[0].setting.levels > 1
    if multilevel and (lost := levels.forgotten(caller, kind, trials, r, rng)) is not None:
        return lost
    wrong, notes = levels.told(trials) if objective == "multilevel_denoising" else (None, ())
    wrong = wrong or _as_said(caller, trials)
    if wrong is not None:
        return wrong
    many = _many(caller, kind, trials, rng)
    wrong = (
        (batch.questions(many, trials) if many is not None else None)
        or (levels.target_of_another(trials, r) if multilevel else None)
        or batch.averaged(caller, kind, many, trials, r, rng)
        or _size(caller, trials, r)
    )
    if wrong is not None:
        return wrong
    if known["score_of"] is not None:
        return _by_score(caller, trials, r)
    if known["predicts"] == "velocity" and (named := _velocity(many, trials, r)) is not None:
        return named
    free = caller.free and kind == "score" and known["predicts"] != "score"
    naming = denoising.name(
        r, objective if multilevel else "denoising", free, caller.said, known["predicts"], batch.smooth(many)
    )
    if known["predicts"] == "velocity":
        notes = (
            *notes,
            "time is not known here, so that eps - x and x - eps are both taken for the velocity: its sign is right for one direction of time alone",
        )
    if naming.verdict == FAIL and multilevel and known["predicts"] is None and "between" in naming.diagnosis:
        naming = levels.none_of_them(trials, r) or naming
    if naming.verdict != PASS:
        return naming._replace(notes=(*naming.notes, *notes))
    return naming._replace(
        notes=(*naming.notes, *notes, *batch.weights_note(many), *(levels.shared(trials) if multilevel else ()))
    )


def _velocity(many, trials, r):
    """The `Naming` of targets that are, or are minus, the velocity of the noisy points as time goes; None where time is not known."""
    sign = batch.velocity(many, r, trials)
    if not sign or np.any(r.w < 0):
        return None
    target = denoising.in_words(r)
    if sign > 0:
        note = "another convention: fn predicts the velocity c' x + sigma' eps of the noisy points; the score is (c fn - c' x~)/(sigma (c' sigma - c sigma'))"
        return Naming(PASS, "", f"target = {target}", (note,))
    text = "sign of the target: fn is pulled towards minus the velocity dx~/dt = c' x + sigma' eps, as time goes that the loss is handed or fn is told"
    return Naming(FAIL, text, f"target = {target}")


def _level_meant(caller, trial, table):
    """The level of each point: ours where the loss takes one; else what fn was told, or the row of the table that is nearest; None if unknown."""
    if LEVELS & caller.takes.keys():
        return np.broadcast_to(trial.setting.level, trial.setting.n)[trial.row]
    if table is None or table.ndim < 2:
        return trial.told
    if trial.told is not None and np.isin(trial.told, np.arange(len(table))).all():
        return trial.told
    here = np.stack([trial.c, trial.sigma], axis=1)
    return np.abs(here[:, None] - table).max(axis=2).argmin(axis=1)


LEVELS = {"level", "t", "sigma", "alpha"}  # parameters by which a loss takes the level of its rows


def _as_said(caller, trials):
    """A FAIL if c and sigma are not those of the user's own kernel or schedule."""
    kernel, table = caller.known["kernel"], caller.known["levels"]
    if table is not None and table.ndim == 2:
        kernel = lambda index: table[np.asarray(index, int)].T
    if kernel is None:
        return None
    for trial in trials:
        level = _level_meant(caller, trial, table)
        if level is None:
            continue
        c, sigma = (np.broadcast_to(np.asarray(v, float), len(level)) for v in kernel(level))
        use = trial.sigma > 0
        off = np.maximum(np.abs(trial.c - c), np.abs(trial.sigma - sigma))[use]
        if off.max() > COARSEST * 10:
            p = np.flatnonzero(use)[off.argmax()]
            text = "other noise level: the noisy points have not the c and sigma that belong to their level"
            return Naming(
                FAIL,
                text,
                f"at level {level[p]:.4g} c = {trial.c[p]:.6g}, sigma = {trial.sigma[p]:.6g}; meant are {c[p]:.6g} and {sigma[p]:.6g}",
            )
    return None


def _by_score(caller, trials, r):
    """The `Naming` of a loss by the score that the user's sampler makes of what fn learns."""
    for t, trial in enumerate(trials):
        here = r.of[:, 0] == t
        points = r.of[here, 1]
        learnt = r.p[here, None] * trial.eps[points] + r.q[here, None] * trial.data[trial.row[points]]
        level = trial.sigma[points] if trial.told is None else trial.told[points]
        theirs = caller.known["score_of"](*(caller.make(a) for a in (learnt, trial.points[points], level)))
        theirs, right = to_numpy(theirs, "what score_of returned"), -trial.eps[points] / trial.sigma[points, None]
        if np.abs(theirs - right).max() > 1e-5 * np.abs(right).max():
            named = target_named(theirs, right, {"n": trial.setting.n, "d": trial.setting.d})
            text = "another parametrisation: what score_of makes of fn is not the score of the points that fn was trained at"
            said = f"{text}; {named.diagnosis.removeprefix('wrong target, ')}" if named is not None else text
            return Naming(FAIL, said, f"fn learns {denoising.in_words(r)}")
    if np.any(r.w < 0):
        return Naming(
            FAIL, "sign of the loss: minimising it drives fn away from its target", f"fn learns {denoising.in_words(r)}"
        )
    return Naming(PASS, "", f"fn learns {denoising.in_words(r)}, of which score_of makes the score")


def _many(caller, kind, trials, rng):
    """The `Batch` of a loss whose rows may have different levels; None of one that has a single level, or whose noise is not known there."""
    varied = any(np.ptp(np.arctan2(t.sigma, t.c)[t.sigma > 0]) > batch.ALIKE for t in trials)
    if caller.objective != "multilevel_denoising" and not varied:
        return None
    many = batch.of_many_rows(caller, kind, trials[0].setting, rng)
    return batch.with_values(caller, kind, many, rng) if many is not None and many.varied else many


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
            return shape_of(found)
    return None


def _strange(caller, trials, founds, r):
    """The FAIL of a loss whose targets are not made of the noise and the data of their own rows."""
    trial, found = max(zip(trials, founds, strict=True), key=lambda pair: pair[0].points.size)
    own = np.einsum("pii->pi", found.own).mean(1)
    use = (trial.sigma > 0) & (np.abs(own) > 1e-9 * np.abs(own).max())
    target, eps = -found.b[use] / own[use, None], trial.eps[use]
    x = trial.data[trial.row[use]]
    if (moved := _with_constant(target, eps, x, trial)) is not None:
        return moved
    for right in (-eps / trial.sigma[use, None], eps, x):
        named = target_named(target, right, {"n": trial.setting.n, "d": trial.setting.d})
        if named is not None:
            return named
    for values, word in ((eps, "the noise"), (trial.points[use], "the noisy point")):
        if target.size >= 12 and np.ptp(trial.sigma[use]) <= 1e-6 and batch.function_of(target.ravel(), values.ravel()):
            text = f"wrong target, not linear: every entry of the target is a function of that of {word}, and not its multiple (a square, a log density, a clip)"
            return Naming(FAIL, text, f"target of the first row {np.array2string(target[0], precision=3)}")
    paired = _other_rows_in(target, trial, np.flatnonzero(use))
    if paired is not None:
        return paired
    text = "other noise: the target is not made of the noise that was added; it is drawn anew (another key, a second call of randn), or belongs to other points"
    return Naming(
        FAIL,
        text,
        f"target of the first row {np.array2string(target[0], precision=3)}, eps {np.array2string(eps[0], precision=3)}",
    )


def _with_constant(target, eps, x, trial):
    """The FAIL of targets p eps + q x + r with one r for all entries, where data or noise have a constant added; None if they are not that."""
    if trial.offset is None or (target.shape[1] < 4 and len(target) < 4):
        return None
    basis = np.stack([a.ravel() for a in (eps, x, np.ones_like(x))], axis=1)
    if np.ptp(trial.sigma) > 1e-6:
        return None
    (p, q, r), *_ = np.linalg.lstsq(basis, target.ravel(), rcond=None)
    if np.abs(basis @ (p, q, r) - target.ravel()).max() > 1e-6 * np.abs(target).max():
        return None
    said = f"{p:.4g} eps {q:+.4g} x' {r:+.4g}" if abs(q) > 1e-6 * abs(p) else f"{p:.4g} eps {r:+.4g}"
    text = (
        f"wrong target, constant: the noisy points are x~ = c x' + sigma eps with x' = {_map_in_words(trial)}, and the target is {said} instead of -eps/sigma: "
        f"it belongs to data without that constant (or the noise has a mean that is not 0)"
    )
    return Naming(FAIL, text, f"target = {said}")


def _other_rows_in(target, trial, points):
    """The FAIL of targets p eps + q x with the noise or the data of other rows, or with numbers drawn apart; None if they are not that."""
    rows, of = rows_of(trial.draws, trial.setting.d)
    x, picked = trial.data, []
    for t, p in zip(target, points, strict=True):
        pairs = [(k, i) for k in range(len(rows)) for i in range(len(x))]
        basis = np.array([[rows[k], x[i]] for k, i in pairs]).reshape(-1, 2, len(t)).swapaxes(1, 2)
        left = (
            np.abs(t - np.einsum("kdc,kc->kd", basis, np.linalg.pinv(basis) @ t)).max(1)
            if len(pairs)
            else np.array([np.inf])
        )
        if left.min() > 1e-6 * np.abs(t).max():
            return None
        c = np.linalg.lstsq(basis[left.argmin()], t, rcond=None)[0] * [
            np.linalg.norm(b) for b in basis[left.argmin()].T
        ]
        k, i = pairs[left.argmin()]
        noise, data = np.abs(c) > 1e-6 * np.abs(c).max()
        picked.append(
            (
                noise and of[k, 0] != trial.source[p, 0],
                noise and tuple(of[k]) != tuple(trial.source[p]),
                data and i != trial.row[p],
            )
        )
    apart, noise, data = np.any(picked, axis=0)
    if apart or not (noise or data):
        return None
    what = " and ".join(w for w, there in (("noise", noise), ("data x", data)) if there)
    text = f"wrong target, other rows: the target of a row is made of the {what} of another row of the batch (shuffled, rolled, or paired wrongly)"
    return Naming(FAIL, text, f"{np.mean([any(p[1:]) for p in picked]):.0%} of the rows")


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
                named = shape_of(found)
                if named is not None:
                    return named, 1, {}
    naming, sense = unexplained(caller, kind, tables[0], None, left, rng)
    if trials[0].setting.levels > 1 and naming.diagnosis == PIECES:
        naming = naming._replace(diagnosis=MIXED)
    return naming, sense, {}
