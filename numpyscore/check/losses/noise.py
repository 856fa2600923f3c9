"""Denoising losses: what they pull their model to at every noisy point, and what is said of it."""

import contextlib
import itertools
import re
from collections.abc import Callable
from functools import partial

import numpy as np

from ...common.arrays import to_numpy
from ..fields import numbered
from ..report import FAIL, INCONCLUSIVE, PASS
from . import denoising, levels, perturbation
from .identify import NEAR, Answers, identify
from .names import COARSEST, LINEAR, SQUARE, Level, Naming, alike, equal, factor, missing, name_parts
from .patterns import PERMUTED, PIECES, multiples, named_by_one_more, shape_of, target_named, unexplained
from .plain import CALLS, directions_of, near_note, observation, unusable
from .trials import SINGLE, apart_from, noisy, rows_of, with_draw_apart, with_posterior_means

TROUBLE = {
    "unseen": "its points are hidden from the probe (a compiled function); let the loss take noise= (unit normals)",
    "not held": "it draws noise that no seed holds; let the loss take rng= (or key, generator, noise)",
    "not scaled": "the noisy points are not c x + noise, row by row (tokens of several rows: say shape=; x that is transformed or rounded first: do that outside; noise coupled to the data?); or let the loss take noise=",
    "centred": "the noisy points do not move when all rows of x move together (x is centred or standardised by its batch, or rows are taken from each other?); do that outside",
    "correlated": "its noise was not heard, or has another level in each row, and is correlated between the coordinates of a row, or of different size in them: the target must be -C^-1 (x~ - c x)",
    "not heard": "x~ - c x is no multiple of anything that was heard (another library draws it, or it is mixed, shifted, rounded or wrapped after it is drawn, or made of several draws?); let the loss take rng= (or key, generator, noise)",
}
HEADS = {
    "not heard": "unknown noise",
    "not scaled": "unknown points",
    "centred": "rows depend on each other",
    "correlated": "correlated noise",
}
MIXED = "levels mixed: the loss is not the sum of those of its levels or rows with weights of their own: only some count at a time (a maximum, a minimum, a median, a sort, a clip?), or a weight is made of the loss itself and not detached"


def denoised(caller, kind, settings, rng):
    """(`Naming`, sense, details) of a denoising loss with fn of one kind."""
    trials, covariances, mapped = perturbation.known(caller, kind, settings, rng)
    trials = levels.with_level_told(caller, trials)
    tables = [Answers(caller, kind, t, rng) for t in trials]
    wrong = unusable([t.grow(CALLS) for t in tables[:2]]) or perturbation.perturbation(caller, trials)
    if wrong is not None and wrong.diagnosis == perturbation.NO_NOISE and _not_counted(tables):
        return Naming(INCONCLUSIVE, CONTEXT, wrong.pattern), 1, {}
    if wrong is not None:
        return wrong, 1, {}
    if any(np.abs(C - np.eye(len(C))).max() > 1e-6 for C in covariances):
        naming = perturbation.correlated(caller, trials, covariances, tables)
        naming = (perturbation.drawn(caller, kind, trials, rng) or naming) if naming.verdict == PASS else naming
        return naming, 1, {}
    trouble = next((t.trouble for t in trials if t.trouble not in ("", "inferred")), "")
    if trouble == "not heard" and (kept := perturbation.drawn(caller, kind, trials, rng)) is not None:
        return kept, 1, {}
    if trouble:
        text = f"{HEADS.get(trouble, 'hidden randomness')}: {_why(caller, trouble)}"
        return Naming(INCONCLUSIVE, text, ""), 0, {}
    naming, sense, details = _read(caller, kind, trials, tables, rng)
    if naming.verdict != FAIL:
        naming = perturbation.drawn(caller, kind, trials, rng) or naming
    naming = _with_caveats(caller, trials, naming, mapped)
    return naming, sense if naming.verdict != INCONCLUSIVE or not naming.diagnosis.startswith(CAVEATS) else 0, details


def _why(caller, trouble):
    """What is said of a trouble; nothing is asked for that the loss takes already."""
    taken = {"noise", "source"} & caller.takes.keys()
    return re.sub(r"(;|, or) let the loss take .*", "", TROUBLE[trouble]) if taken else TROUBLE[trouble]


CAVEATS = ("coupled noise", "not heard")
COUPLED = "coupled noise: x~ moves by c times a small step of x, and not a large one (noise that goes to other rows when the data change, an assignment, optimal transport, or x that is clipped or wrapped?)"
CONTEXT = "dimensions without noise: some entries of the points get no noise, and have no weight in the loss (inpainting, a context?): hand over the others alone, and those with condition="


def _not_counted(tables):
    """Whether the entries without noise have no weight in the loss."""
    for t in tables:
        if t.trial.c is None:
            return False
        still = np.abs(t.trial.shift) <= 1e-9 * np.abs(t.trial.points).max()
        w = np.einsum("iaa->ia", identify(t, jacobian=False).own)
        if np.abs(w[still]).max(initial=0) > 1e-6 * np.abs(w).max():
            return False
    return True


def _with_caveats(caller, trials, naming, mapped):
    """The `Naming` with what must be said of the noise; no FAIL where that noise is coupled to the data, or was inferred."""
    notes = naming.notes + mapped
    if caller.eps < SINGLE and any(t.single for t in trials) and not any(n.startswith("right up to") for n in notes):
        notes = (near_note(SINGLE), *notes)
        naming = naming._replace(resolution=max(naming.resolution, COARSEST))
    used = {frozenset(t.row.tolist()) for t in trials}
    first = max(map(len, used))
    if used == {frozenset(range(first))} and first < min(t.setting.n for t in trials):
        note = f"only the first {first} of the rows of x are used, however many are handed over: right only for a batch of so many"
        notes += (note,)
    c, sigma = (np.concatenate([getattr(t, k)[t.sigma > 0] for t in trials]) for k in ("c", "sigma"))
    notes += denoising.kernel_note(np.abs(c), sigma)
    inferred = any(t.trouble for t in trials)
    notes += ("the noise was not heard; its size was inferred from that of many rows",) * inferred
    if any(t.coupled for t in trials):
        notes += (
            f"{COUPLED}: where it is assigned, a velocity learnt so carries noise to data, but no score follows from it",
        )
        if naming.verdict == FAIL and caller.known["predicts"] is None and caller.known["score_of"] is None:
            return Naming(INCONCLUSIVE, f"{COUPLED}; {naming.diagnosis}; say predicts=", naming.pattern, notes)
    if naming.verdict == FAIL and inferred and not naming.diagnosis.startswith("fixed noise"):  # which was seen
        text = f"not heard: {naming.diagnosis}; but its noise was not heard, and only its size inferred"
        return Naming(INCONCLUSIVE, text, naming.pattern, notes)
    return naming._replace(notes=notes)


# ------------------------------------------------------------------------------- what fn is pulled to


def _read(caller, kind, trials, tables, rng):
    """(`Naming`, sense, details) of the arrays of a loss at its noisy points."""
    founds = [identify(t, jacobian=False) for t in tables]
    left = max(f.fit.residual for f in founds)
    if not all(f.fit.near for f in founds):
        return _unread(caller, kind, trials, tables, founds, rng)
    if all(np.abs(f.A).max() <= 1e-9 * np.abs(f.b).max() for f in founds):
        return Naming(FAIL, missing(caller.objective, SQUARE), "A = 0"), 2, {}
    if (extra := _at_clean_points(caller, trials, founds)) is not None:
        return extra, 2, {}
    as_they_are = founds
    founds, entry_notes = _entry_weights(caller, kind, trials, founds, rng)
    wrong = entry_notes and levels.entries_weighted_by_what_is_behind(trials, as_they_are)
    wrong = wrong or _not_isotropic(caller, kind, trials, founds)
    if wrong:
        return wrong, 1, {}
    trials, r, more = _of_other_numbers(trials, founds)
    if not np.isfinite(r.rtol):
        text = "unresolved: the points with noise lie too near to others that fn is asked at; ask it at fewer, or add more noise"
        return Naming(INCONCLUSIVE, text, ""), 0, {}
    if not all(f.fit.exact for f in founds):
        r = r._replace(rtol=max(r.rtol, 10 * left))
    details = dict(zip("bpq", (r.w, r.p, r.q), strict=True)) | {"sigma": r.sigma, "c": r.c}
    if _unexplained(r):
        return _strange(caller, trials, founds, r), 1, details
    naming = _named(caller, kind, trials, r, rng)
    if naming.verdict == PASS and not all(f.fit.exact for f in founds):
        naming = naming._replace(notes=(near_note(left), *naming.notes))
    return naming._replace(resolution=max(r.rtol, COARSEST), notes=(*naming.notes, *entry_notes, *more)), 2, details


PULLED = "at the clean points of rows that have noisy ones too fn is pulled to something as well (a level without noise, or a term of an autoencoder?)"


def _at_clean_points(caller, trials, founds):
    """The FAIL of what a loss has at the clean points beside the noisy ones; of the product with the noise of their row, a control variate, the mean is 0."""
    for trial, found in zip(trials, founds, strict=True):
        noisy_row = trial.row[trial.sigma > 0]
        largest = np.abs(found.A).max()
        if largest > 0 and np.abs(found.own[trial.sigma > 0]).max(initial=0) <= 1e-9 * largest:
            return Naming(FAIL, CLEAN_ALONE, "A is 0 at the noisy points")
        clean = np.flatnonzero((trial.sigma == 0) & np.isin(trial.row, noisy_row))
        squares = np.abs(found.own[clean]).max(initial=0) > 1e-6 * np.abs(found.A).max()
        size = 1e-6 * np.abs(found.b).max()
        left = [
            found.b[p] - _along(found.b[p], trial.eps[(trial.row == trial.row[p]) & (trial.sigma > 0)]) for p in clean
        ]
        if squares and np.abs(found.b[clean]).max() <= size:  # a level without noise is pulled to something
            return Naming(FAIL, levels.EXTRA.format("the squared score"), "A is not 0 at the clean points")
        if not squares and np.abs(left).max(initial=0) > size:
            return Naming(
                FAIL,
                levels.EXTRA.format("a term linear in the score"),
                "b at the clean points is no multiple of the noise",
            )
        if squares:
            caller.notes.add(PULLED)
    return None


CLEAN_ALONE = "clean point: what fn says at the clean x is used, and what it says at the noisy points is not (halves of a batch exchanged?)"


def _along(b, noises):
    """The part of b (d,) along the noises (k, d)."""
    return np.linalg.lstsq(noises.T, b, rcond=None)[0] @ noises


def _unexplained(r):
    """Whether some target is not made of the noise and the data of its point."""
    return bool(np.any(r.left[~np.isnan(r.p)] > max(1e-6, 10 * r.rtol)))


MEANS = "the targets are means given the noisy points, over the rows of the batch that may lie behind them: that only lowers the variance"


def _of_other_numbers(trials, founds):
    """(trials, their `Read`, notes); with other normals that were drawn in the targets, or means given the noisy points, if nothing else explains them."""
    r = denoising.read(trials, founds)
    if not _unexplained(r):
        return trials, r, ()
    d = [t.setting.d for t in trials]
    others = [[with_posterior_means(t) for t in trials]]
    others += [[with_draw_apart(t, block) for t in trials] for block in apart_from(trials[0]) if min(d) >= 3 < max(d)]
    for k, beside in enumerate(others):
        if all(t is not None for t in beside) and not _unexplained(other := denoising.read(beside, founds)):
            return beside, other, (MEANS,) * (k == 0)
    return trials, r, ()


def _entry_weights(caller, kind, trials, founds, rng):
    """(the arrays without weights of single entries, if these are positive on average and the targets are right where they count; notes)."""
    out = []
    for trial, found in zip(trials, founds, strict=True):
        use, d = trial.sigma > 0, trial.points.shape[1]
        w = np.einsum("iaa->ia", found.own)
        plain = equal(found.own, w[:, :, None] * np.eye(d))
        if found.cross > 1e-6:
            return founds, ()
        if plain and np.all(np.ptp(w[use], axis=1) <= 1e-6 * np.abs(w).max()):
            out.append(found)  # of few entries a mask may leave all
            continue
        if (t := _pulled_to(trial, found)) is None:
            return founds, ()
        if not plain:
            return _along_directions(trials, founds)
        if np.any(w < -1e-9 * w.max()):
            return founds, ()
        if np.any(w[use] <= 1e-9 * w.max()):
            again = noisy(caller, kind, trial.setting._replace(seed=trial.setting.seed + 3), rng)
            other = np.einsum("iaa->ia", identify(Answers(caller, kind, again, rng), jacobian=False).own)
            if other.shape != w.shape or np.array_equal(other > 1e-9 * w.max(), w > 1e-9 * w.max()):
                return founds, ()
        used = w > 1e-9 * w.max()
        mean, some = np.sum(w * used, axis=1) / np.maximum(used.sum(1), 1), used.any(1)
        # a row that is masked whole counts as one of its level
        like = np.abs(trial.sigma[:, None] - trial.sigma[some]).argmin(1)
        out.append(_isotropic(found, np.where(some, mean, mean[some][like]), t))
    return (out, (ENTRIES,)) if any(a is not b for a, b in zip(out, founds, strict=True)) else (founds, ())


ENTRIES = "another convention: single entries have weights of their own (a mask, weights of the dimensions?)"


def _pulled_to(trial, found):
    """The right target (M, d), up to a factor, with b = -A t in every row; None if there is none."""
    use = trial.sigma > 0
    c, s = trial.c[:, None], np.where(use, trial.sigma, 1.0)[:, None]
    fields = [p * trial.eps + q * trial.data[trial.row] for p, q in (form(c, s) for form in denoising.RIGHT[:-1])]
    left = lambda t: np.abs(found.b + np.einsum("iab,ib->ia", found.own, t))[use].max()
    return next((t for t in fields if left(t) <= 1e-6 * np.abs(found.b).max()), None)


def _isotropic(found, w, t):
    """The arrays of w (M,) times the square of s - t, (M, d)."""
    A = np.zeros_like(found.A)
    np.einsum("iaia->ia", A)[:] = w[:, None]
    return found._replace(A=A, b=-w[:, None] * t)


ALONG = "another convention: the errors are squared along directions, or by a matrix: right for a model that can reach the score"


def _along_directions(trials, founds):
    """The same of squares r.A r of the errors with the right targets, if A is known not to depend on them, and no direction is left out over the rows."""
    out, sums = [], dict[int, np.ndarray]()
    for trial, found in zip(trials, founds, strict=True):
        d, t, w = trial.points.shape[1], _pulled_to(trial, found), _of_a_metric(trial, found.own)
        if t is None or w is None or found.cross > 1e-6:
            return founds, ()
        sums[d] = sums.get(d, 0) + found.own.sum(0) / np.abs(w).max()
        out.append(_isotropic(found, w, t))
    most = sums[min(sums)]  # of few dimensions there are more rows
    return (out, (ALONG,)) if np.linalg.eigvalsh(most).min() > 1e-3 * np.trace(most) else (founds, ())


def _of_a_metric(trial, own):
    """w (M,) with A = w P in every row (M, d, d): P one matrix, or the mean of v v^T over drawn directions of which no point is made; None.

    An A that is made of a row's own noise or data goes with its target: E[A (s - t) | x~] = 0 has another solution.
    """
    used = {int(k) for k in trial.source[:, 0]}
    apart = trial._replace(draws=tuple(draw for k, draw in enumerate(trial.draws) if k not in used))
    one = own[np.argmax(trial.sigma > 0)]
    metrics = [one * len(one) / np.trace(one)] if np.trace(one) > 0 else []
    metrics += [np.einsum("mia,mib->iab", v, v)[trial.row] / len(v) for v in directions_of(apart).values()]
    return next((w for P in metrics if (w := multiples(own, P, 1e-6)) is not None), None)


def _named(caller, kind, trials, r, rng):
    """The `Naming` of w, p and q of every point."""
    multilevel = trials[0].setting.levels > 1
    if multilevel and (lost := levels.forgotten(caller, kind, trials, r, rng)) is not None:
        return lost
    wrong, notes = (
        levels.told(trials) if caller.objective == "multilevel_denoising" else (None, levels.constant(trials))
    )
    wrong = wrong or levels.told_before(caller, kind, trials, rng) or _as_said(caller, trials)
    if wrong is not None:
        return wrong
    many, size = _many(caller, kind, trials, rng), _size(caller, trials, r)
    wrong = (
        _of_noise_apart(r, many, trials)
        or (levels.target_of_another(trials, r) if multilevel else None)
        or (levels.questions(many, trials) if many is not None else None)
        or _never(caller, kind, many, rng)
        or levels.averaged(caller, kind, many, trials, r, rng)
        or levels.weighted_by_what_is_behind(r, trials)
        or (levels.of_one_level(r) if multilevel else None)
        or size[0]
    )
    if wrong is not None:
        return wrong
    if caller.known["score_of"] is not None:
        return _by_score(caller, trials, r)
    naming = _by_target(caller, kind, trials, r, many, multilevel, rng)
    notes = (*naming.notes, *notes, *size[1])
    if np.any(np.abs(r.apart) > COARSEST * r.size):
        notes += (APART,)
    if naming.verdict == PASS:
        notes += (
            *levels.weights_note(many),
            *levels.coarse_note(many),
            *_counted(caller, many),
            *(levels.shared(trials) if multilevel else ()),
        )
    return naming._replace(notes=notes)


NO_TIME = "which way time goes was not found out, so that eps - x and x - eps are both taken for the velocity: its sign is right for one direction of time alone"


def _by_target(caller, kind, trials, r, many, multilevel, rng):
    """The `Naming` of targets by what fn is meant to predict, or may."""
    predicts, velocity = caller.known["predicts"], _velocity(caller, kind, many, trials, r, rng)
    free = caller.free and kind == "score" and predicts != "score"
    objective = caller.objective if multilevel else "denoising"
    naming = denoising.name(r, objective, free, caller.said, predicts, levels.smooth(many))
    if predicts == "velocity" and velocity is not None:
        slip = naming.verdict == FAIL and not naming.diagnosis.startswith(("another parametrisation", "another path"))
        return naming if slip and velocity.diagnosis.startswith("another velocity") else velocity
    if predicts == "velocity" and naming.verdict == PASS:
        return naming._replace(notes=(*naming.notes, NO_TIME))
    handed = bool({"sigmas", "alphas", "level"} & caller.takes.keys()) and predicts is None
    if naming.verdict == FAIL and multilevel and handed and "between" in naming.diagnosis:
        return levels.none_of_them(trials, r) or naming
    by_time = naming.verdict == INCONCLUSIVE and predicts is None  # a path that is known by its time alone
    return velocity if by_time and velocity is not None and velocity.verdict == PASS else naming


APART = "the target has noise in it that is independent of its point, of mean zero: it only adds variance"
OTHER_NOISE = "other noise: the target is not made of the noise that was added; it is drawn anew (another key, a second call of randn?), or belongs to other points"
NOT_OF_ITS_ROW = "wrong target: it is no p eps + q x of its own point (noise that is drawn anew, entries mixed by a matrix or a transform, a function of other points?)"


def _of_noise_apart(r, many, trials):
    """A FAIL of targets without the noise of their points, that would be right if what is drawn apart were that noise; None."""
    size = np.maximum(np.abs(r.q), np.abs(r.apart))
    if np.any(np.abs(r.p) > 1e-6 * size) or np.all(r.apart == 0):
        return None
    meant = r._replace(p=r.apart)
    known = any(denoising.is_form(meant, form) for form in denoising.RIGHT) or denoising.along_path(meant)
    if known or np.all(np.abs(r.q) <= 1e-6 * size) or levels.velocity(many, meant, trials):
        return Naming(FAIL, OTHER_NOISE, f"target = {denoising.in_words(meant)}, its eps drawn apart")
    return None


ANOTHER_TIME = "another velocity: fn learns {}, which is no constant times dx~/dt = c' x + sigma' eps, t being the time that the loss is handed (the derivative of a schedule is missing, another path, another quantity?)"


def _velocity(caller, kind, many, trials, r, rng):
    """The `Naming` of targets that are, or are minus, the velocity of the noisy points as time goes; None where time is not known."""
    sign, target = levels.velocity(many, r, trials), denoising.in_words(r)
    if sign is None and caller.known["predicts"] == "velocity":
        sign = levels.by_moving_time(caller, kind, r, trials, rng)
        if sign == 0 and levels.told_as_handed(trials):
            return Naming(FAIL, ANOTHER_TIME.format(target), f"target = {target}")
    if not sign or np.any(r.w < 0):
        return None
    if sign > 0:
        of = "noisy points" if sign == 1 else "points x~/(c + sigma), in units of its own"
        note = f"another convention: fn predicts the velocity c' x + sigma' eps of the {of}; the score is (c fn - c' x~)/(sigma (c' sigma - c sigma')); if your fn is meant to be the score itself, the target is wrong"
        return Naming(PASS, "", f"target = {target}", (note,))
    text = "sign of the target: fn is pulled towards minus the velocity dx~/dt = c' x + sigma' eps, as time goes that the loss is handed or fn is told"
    return Naming(FAIL, text, f"target = {target}")


def _level_meant(caller, trial, table):
    """The level of each point: ours where the loss takes one; else what fn was told, or the row of the table that is nearest; None if unknown."""
    if levels.HANDED & caller.takes.keys():
        return np.broadcast_to(trial.setting.level, trial.setting.n)[trial.row]
    if table is None or table.ndim < 2:
        return trial.told
    if trial.told is not None and np.isin(trial.told, np.arange(len(table))).all():
        return trial.told
    here = np.stack([trial.c, trial.sigma], axis=1)
    return np.abs(here[:, None] - table).max(axis=2).argmin(axis=1)


@np.errstate(all="ignore")
def _of_single_step(c, before):
    """(c, sigma) of the steps of a variance-preserving schedule by themselves."""
    return c / before, np.sqrt(1 - (c / before) ** 2)


def _beside(c, s, near, k, parts):
    """c and sigma, those of `parts` as they are k rows further."""
    return tuple(other if i in parts else own for i, (own, other) in enumerate(zip((c, s), near(k), strict=True)))


INSTEAD: dict[str, Callable] = {  # what a kernel may be in place of the one that was said: (c, sigma) of that, of c, sigma and those of the rows beside
    "these are the squares of what is meant: a root is left out (alpha_bar for its root, a variance for a standard deviation?)": lambda c, s, near: (c**2, s**2),
    "sigma is squared: a variance stands where a standard deviation belongs": lambda c, s, near: (c, s**2),
    "c is squared: alpha_bar stands where its root belongs": lambda c, s, near: (c**2, s),
    "these are the roots of what is meant": lambda c, s, near: (np.sqrt(c), np.sqrt(s)),
    "sigma is the root of what is meant": lambda c, s, near: (c, np.sqrt(s)),
    "alpha_bar is the root of what is meant: a square is left out": lambda c, s, near: (np.sqrt(c), np.sqrt(1 - c)),
    "alpha of the single step stands where alpha_bar, the product of all steps, belongs": lambda c, s, near: _of_single_step(c, near(-1)[0]),
    "c and sigma are exchanged": lambda c, s, near: (s, c),
    "x is not scaled": lambda c, s, near: (1 + 0 * c, s),
    "sigma is sqrt(1 - c): c stands where its square belongs": lambda c, s, near: (c, np.sqrt(1 - c)),
    "sigma is 1 - c: 1 - sqrt(alpha_bar) stands where sqrt(1 - alpha_bar) belongs": lambda c, s, near: (c, 1 - c),
    "c is 1 - sigma, as on a straight line": lambda c, s, near: (1 - s, s),
    **{
        f"{what} of the level {word}{beside} (an index that is off by one, on a geometric schedule a factor?)": partial(_beside, k=k, parts=parts)
        for parts, what, beside in (
            ((0, 1), "these are those", ""),
            ((1,), "sigma is that", ", beside c of the level itself"),
            ((0,), "c is that", ", beside sigma of the level itself"),
        )
        for word, k in (("after", 1), ("before", -1))
    },
}  # fmt: skip


def _normalised(trial, sigma):
    """That the noise of all points has one length in units of sigma (M,), in words; ""."""
    use, d = trial.sigma > 0, trial.points.shape[1]
    length = trial.sigma * np.linalg.norm(trial.eps, axis=1)
    for of, word in ((np.sqrt(d), "sqrt(d)"), (1.0, "1")):
        if d > 1 and np.allclose(length[use], of * sigma[use], rtol=1e-5):
            return f"noise normalised: it has the length {word} sigma in every row, and is not normal"
    return ""


def _other_level(trial, kernel, level):
    """The levels (M,) between 0 and 1 at which a kernel of a time has the c and sigma of the noisy points; None if it has them nowhere, or is one of whole numbers."""
    from scipy.optimize import minimize_scalar

    if np.all(level == np.round(level)):
        return None
    t, here = np.linspace(0, 1, 401)[1:-1], np.stack([trial.c, trial.sigma], axis=1)
    at = lambda one: np.array([float(v) for v in kernel(one)])
    off = lambda one, point: np.linalg.norm(at(one) - point)
    with contextlib.suppress(Exception):  # it is a kernel of something else
        near = np.linalg.norm(here[:, None] - np.array([at(one) for one in t]), axis=-1).argmin(1)
        between = zip(here, t[np.maximum(near - 1, 0)], t[np.minimum(near + 1, len(t) - 1)], strict=True)
        found = [minimize_scalar(off, args=(p,), bounds=(a, b), options={"xatol": 1e-10}) for p, a, b in between]
        if max(f.fun for f in found) <= 1e-5:
            return np.array([f.x for f in found])
    return None


@np.errstate(all="ignore")
def _instead(trial, c, sigma, kernel, level):
    """What the c and sigma of noisy points are, where c and sigma (M,) are meant, in words with a semicolon; ""."""
    use, same = trial.sigma > 0, lambda a, b: np.allclose(a, b, rtol=1e-5, atol=0)

    def at(k):
        with contextlib.suppress(Exception):  # no such level
            if k >= 0:  # a table has rows from the end below 0
                return [float(v) for v in kernel(k)]
        return [np.nan, np.nan]

    near = lambda step: np.array([at(one + step) for one in level.tolist()]).T
    if normalised := _normalised(trial, sigma):
        return f"; {normalised.replace(': ', ' (', 1)})"
    for words, of in INSTEAD.items():
        meant = of(c, sigma, near)
        meant = np.broadcast_arrays(*meant, c)[:2]
        there = use & np.all(np.isfinite(meant), axis=0)
        if there.sum() > use.sum() / 2 and all(
            map(same, (trial.c[there], trial.sigma[there]), (a[there] for a in meant))
        ):
            return f"; {words}"
    if (other := _other_level(trial, kernel, level)) is not None:
        return f"; {_level_in_words(other, level, np.flatnonzero(use)[0])}"
    return _other_schedule(trial.c[use], trial.sigma[use], c[use], sigma[use])


def _level_in_words(other, level, p):
    """What the levels (M,) of noisy points are, where others are meant, point p the first of them that has noise."""
    if np.allclose(np.sort(other), np.sort(level), rtol=1e-4):
        return (
            "they are those of the levels of other rows of the batch (shuffled, rolled, drawn again in another order?)"
        )
    if alike(other, 1e-4) and not alike(level):
        means = {"the mean over the batch": level.mean(), "that of the first row": level[0], "the largest": level.max()}
        word = next((word for word, v in means.items() if np.isclose(v, other[0], rtol=1e-4)), f"{other[0]:.4g}")
        return f"all rows have the c and sigma of one level, {word}"
    return f"they are those of another level: of {other[p]:.4g} where {level[p]:.4g} is meant (a time that is warped or scaled after it was handed over, or another rate of the schedule?)"


def _other_schedule(c, sigma, c_meant, sigma_meant):
    """What is said of points of another variance-preserving schedule than the one that is meant, with a semicolon; ""."""
    if not all(np.allclose(a**2 + b**2, 1, rtol=1e-5) for a, b in ((c, sigma), (c_meant, sigma_meant))):
        return ""
    sizes = {
        "log c": np.log(c) / np.log(c_meant),
        "arctan(sigma/c)": np.arctan2(sigma, c) / np.arctan2(sigma_meant, c_meant),
    }
    known = ((word, k) for word, k in sizes.items() if np.all(np.isfinite(k)) and alike(k))
    rate = next((f": {word} is {k[0]:.4g} times what it should be" for word, k in known), "")
    return f"; they are those of another schedule with c^2 + sigma^2 = 1, or of other rows of it{rate} (the integral or the sum of beta, a rate, a time in other units, an index?)"


def _as_said(caller, trials):
    """A FAIL if c and sigma are not those of the user's own kernel or schedule."""
    kernel, table = caller.known["kernel"], caller.known["levels"]
    if table is not None and table.ndim == 2:
        kernel = lambda index: table[int(index)]
    if kernel is None:
        return _of_sigma_said(caller, trials)
    for trial in trials:
        level = _level_meant(caller, trial, table)
        if level is None:
            caller.notes.add(NOT_COMPARED)
            continue
        each, rows = np.unique(
            level, return_inverse=True
        )  # one number at a time: the kernel may be made of math's functions
        try:
            c, sigma = np.array([[float(v) for v in kernel(one)] for one in each.tolist()]).T[:, rows.ravel()]
        except Exception as error:
            text = f"kernel: at {each[0]:.4g} it raised {type(error).__name__}: {error}; it is given one number, and returns (c, sigma)"
            return Naming(INCONCLUSIVE, text, "")
        use = trial.sigma > 0
        off = np.maximum(np.abs(trial.c - c), np.abs(trial.sigma - sigma))[use]
        if off.max() > COARSEST * 10:
            p = np.flatnonzero(use)[off.argmax()]
            if np.allclose(trial.sigma[use] * c[use], trial.c[use] * sigma[use], rtol=1e-6) and np.all(c[use]):
                caller.notes.add(
                    f"fn is asked at the points of {'levels' if table is not None else 'kernel'}=, scaled (an input that is divided by a root?): right if the sampler scales them too"
                )
                continue
            if table is None and not levels.HANDED & caller.takes.keys() and (k := _times_told(trial, kernel, level)):
                caller.notes.add(
                    f"fn is told {k:.6g} times the level of kernel=: right if the sampler tells it the same"
                )
                continue
            text = "other noise level: the noisy points have not the c and sigma that belong to their level"
            here = f"at level {level[p]:.4g} c = {trial.c[p]:.6g}, sigma = {trial.sigma[p]:.6g}"
            text += _instead(trial, c, sigma, kernel, level)
            return Naming(FAIL, text, f"{here}; meant are {c[p]:.6g} and {sigma[p]:.6g}")
    return None


NOT_COMPARED = "kernel= was not compared with the points: which level they have is not known (let the loss take t=, or tell it to fn)"


def _times_told(trial, kernel, level):
    """How many times the level of the kernel fn is told, where the points are those of the kernel at another level; 0."""
    other = _other_level(trial, kernel, level)
    return (
        0.0 if other is None or not np.all(other) or not alike(level / other, 1e-4) else float(np.mean(level / other))
    )


def _of_sigma_said(caller, trials):
    """A FAIL if the noise of a loss of one level, which takes none, has not the sigma that was said."""
    said = caller.known.get("sigma")
    if said is None or {"sigma", "alpha", "t"} & caller.takes.keys() or caller.objective != "denoising":
        return None
    c, sigma = (np.concatenate([getattr(t, k)[t.sigma > 0] for t in trials]) for k in ("c", "sigma"))
    if not alike(sigma) or any(np.allclose(a, said, rtol=1e-6) for a in (sigma, sigma / np.where(c == 0, 1, c))):
        return None
    text = f"other noise level: the noise has the standard deviation {sigma[0]:.6g}, and sigma={said:g} is said"
    half = ", or half of it" * bool(np.isclose(sigma[0], said / 2))
    return Naming(
        FAIL,
        text + f" (its square, a variance for a standard deviation{half}?)" * bool(np.isclose(sigma[0], said**2)),
        f"sigma = {sigma[0]:.6g}",
    )


# batches in which a quarter of the levels must turn up, of rows with levels of their own or of one level
SHORT = 16  # levels of a schedule of which each turns up in 40 batches of 40 rows, of a right loss
DRAWN = {True: 10, False: 60}
NEVER = "level forgotten: {} of the {} of your schedule never turn up (an upper end of randint, a slice, a time that is never drawn?); the network does not learn them"


def _never(caller, kind, many, rng):
    """A FAIL if a quarter of the user's own schedule, a table of (c, sigma), never turns up where a loss draws its timesteps itself; of a short one any level."""
    table = caller.known["levels"]
    if many is None or many.given is not None or table is None or table.ndim < 2:
        return None
    short = len(table) <= SHORT
    trial, met, batches = many.trial, set[int](), max(DRAWN[many.varied], levels.BATCHES * short)
    for _ in range(batches):
        met |= {int(k) for k in _level_meant(caller, trial, table)}
        ends = np.array([-1, *sorted(met), len(table)])
        k = int(np.diff(ends).argmax())
        if ends[k + 1] - ends[k] - 1 < (1 if short else len(table) / 4):
            return None
        trial = noisy(caller, kind, trial.setting._replace(seed=int(rng.integers(1 << 31))), rng)
        if trial.trouble:
            return None
    seen = f"{len(met)} of {len(table)} levels met in {batches} batches of {len(trial.points)} points"
    gone = np.setdiff1d(np.arange(len(table)), list(met))
    which = numbered("level", gone) if short else f"levels {ends[k] + 1} to {ends[k + 1] - 1}"
    return Naming(FAIL, NEVER.format(which, len(table)), seen)


def _counted(caller, many):
    """A note on a loss that tells fn the number of its level, in the user's schedule or as it was handed, plus a constant; ()."""
    table = caller.known["levels"]
    if many is None or many.told is None or (many.given is None and (table is None or table.ndim < 2)):
        return ()
    own = many.given if many.given is not None else _level_meant(caller, many.trial._replace(told=None), table)
    shifts = {float(v) for v in many.told - own}
    if len(shifts) > 1 or np.any(own != np.round(own)) or not (shift := shifts.pop()):
        return ()
    return (f"fn is told the number of its level {shift:+g}: right only if the sampler tells it the same",)


def _score_made(caller, learnt, points, level):
    """What score_of makes of fn's answers (M, d) at points (M, d), and "" or why it is none; it may want NumPy's arrays, and of one level for all rows that number."""
    given = f"it is given out and y of shape {learnt.shape} and level {level.shape}; level[:, None] goes with each row"
    trouble = ""
    levels_given = (level, level.mean())[: 1 + alike(level)]
    for one, make in itertools.product(levels_given, (caller.make, np.array)):
        try:
            theirs = to_numpy(caller.known["score_of"](*map(make, (learnt, points, one))), "what score_of returned")
        except Exception as error:
            trouble = trouble or f"score_of raised {type(error).__name__}: {error}; {given}"
            continue
        if theirs.shape == learnt.shape:
            return theirs, ""
        trouble = trouble or f"score_of returned shape {theirs.shape}; {given}"
    return None, trouble


UNSCALED = "score_of makes the score where it is given y/c, the noisy points before they were scaled, and not where it is given the y at which fn is asked"


def _by_score(caller, trials, r):
    """The `Naming` of a loss by the score that the user's sampler makes of what fn learns."""
    pattern = f"fn learns {denoising.in_words(r)}"
    notes: tuple[str, ...] = ()
    for t, trial in enumerate(trials):
        here = r.of[:, 0] == t
        points = r.of[here, 1]
        mine = np.stack([r.p[here], r.q[here]], axis=1)
        learnt = np.sum(mine[:, :, None] * np.stack([trial.eps[points], trial.data[trial.row[points]]], axis=1), axis=1)
        level, c = trial.sigma[points] if trial.told is None else trial.told[points], trial.c[points, None]
        right = -trial.eps[points] / trial.sigma[points, None]
        rights = (right, right * c)  # of the points, and of x + (sigma/c) eps
        is_right = lambda theirs, rights=rights: any(equal(of, theirs, 1e-5) for of in rights)
        theirs, trouble = _score_made(caller, learnt, trial.points[points], level)
        if not trouble and not np.all(np.isfinite(theirs)):
            trouble = "score_of returned NaN or infinity"
        if trouble:
            return Naming(INCONCLUSIVE, trouble, pattern)
        if is_right(theirs):
            continue
        before = None if np.any(c == 0) else _score_made(caller, learnt, trial.points[points] / c, level)[0]
        if before is None or not equal(rights[1], before, 1e-5):  # the score there, and no other
            if not _affine(caller, trial.points[points], level):
                return Naming(INCONCLUSIVE, BENT, pattern)
            return Naming(FAIL, _another_score(caller, trial, points, level, theirs, mine, rights), pattern)
        notes = (UNSCALED,)
    if np.any(r.w < 0):
        return Naming(FAIL, "sign of the loss: minimising it drives fn away from its target", pattern)
    return Naming(PASS, "", f"{pattern}, of which score_of makes the score", notes)


BENT = "score_of is not affine in what fn says (x_0 that is clipped?), and what it makes of fn is not the score of the points that fn was trained at: leave that out here, and more can be said"


GIVEN_Y = "given the y at which fn is asked"


def _affine(caller, y, level):
    """Whether score_of is affine in what fn says at points y (M, d)."""
    none, one, two = (_score_made(caller, k + 0 * y, y, level)[0] for k in (0.0, 3.0, 6.0))
    return none is None or one is None or two is None or bool(np.allclose(two - one, one - none, rtol=1e-4, atol=1e-6))


def _another_score(caller, trial, points, level, theirs, mine, rights):
    """What is said of a score (M, d) that score_of makes, which is none of the right ones; fn learns p eps + q x, `mine` (M, 2)."""
    if any(equal(of, -theirs, 1e-5) for of in rights):
        return "sign of what score_of makes of fn: it is minus the score of the points that fn was trained at"
    c, s, y = trial.c[points], trial.sigma[points], trial.points[points]
    known = any(np.allclose(a, 1) for a in (c, c**2 + s**2, c + s)) or np.any(c == 0)
    ways = [
        (y, rights[0], 1, GIVEN_Y),
        *([] if known else [(y, rights[1], c, GIVEN_Y), (y / c[:, None], rights[1], c, "given y/c")]),
    ]
    scores = [(_meant_by(caller, trial, points, at, level, of), size, given) for at, of, size, given in ways]
    meant, size, given = min(scores, key=lambda one: _apart(mine, one[0]))
    far = np.abs(mine - meant).max(1)
    k = int(np.argmax(far >= (1 - 1e-9) * far.max()))  # the first of the largest, whatever rounding says
    text = "another parametrisation: what score_of makes of fn is not the score of the points that fn was trained at;"
    text = "sign of what score_of makes of fn:" if np.allclose(mine, -meant, rtol=1e-5) else text
    at = f"sigma is {(s / size)[k]:.4g}" + f" and c is {(c / size)[k]:.4g}" * (not np.isclose((c / size)[k], 1))
    return f"{text} where {at} fn learns {_sum(*mine[k])}, and score_of, {given}, makes the score of {_sum(*meant[k])}"


def _apart(mine, meant):
    """How far some (p, q) (M, 2) are from multiples of others, relative."""
    with np.errstate(all="ignore"):
        k = np.sum(mine * meant, 1) / np.sum(meant**2, 1)
        off = np.abs(mine - k[:, None] * meant).max() / np.abs(mine).max()
    return float(np.nan_to_num(off, nan=np.inf))


def _sum(p, q, x="x"):
    """p eps + q x in numbers."""
    if abs(p) < 1e-6 * abs(q):
        return f"{q:.4g} {x}"
    return f"{p:.4g} eps" + (f" {q:+.4g} {x}" if abs(q) > 1e-6 * abs(p) else "")


def _meant_by(caller, trial, points, y, level, right):
    """(p, q) (M, 2) of the p eps + q x of which score_of, which is affine in what fn says, makes the right score (M, d) of some points, given as y (M, d)."""
    eps, x = trial.eps[points], trial.data[trial.row[points]]
    none, one = (_score_made(caller, a, y, level)[0] for a in (np.zeros_like(y), np.ones_like(y)))
    with np.errstate(all="ignore"):
        needed = np.nan_to_num((right - none) / (one - none), posinf=0, neginf=0)
    fit = lambda *basis, of: np.linalg.lstsq(np.stack(basis, axis=1), of, rcond=None)[0]
    return np.array([fit(eps[k], x[k], of=needed[k]) for k in range(len(y))])


def _many(caller, kind, trials, rng):
    """The `Batch` of a loss whose rows may have different levels; None of one that has a single level, or whose noise is not known there."""
    varied = any(np.ptp(np.arctan2(t.sigma, t.c)[t.sigma > 0]) > levels.ALIKE for t in trials)
    if caller.objective != "multilevel_denoising" and not varied:
        return None
    return levels.many(caller, kind, trials[0], rng)


def _sigma_handed(caller, trial):
    """The sigma of each row (n,) that the loss was handed, itself or by its number; None if it was not."""
    s = trial.setting
    if "sigma" in caller.takes and s.levels == 1:
        return np.broadcast_to(s.level, len(s.x))
    return s.level if {"sigmas", "level"} <= caller.takes.keys() and caller.known["levels"] is None else None


def _size(caller, trials, r):
    """(a FAIL if noise of one size is added, and the target is that of the sigma that the loss was told; a note if both are of another size)."""
    handed = [_sigma_handed(caller, t) for t in trials]
    if any(h is None for h in handed) or np.any(np.abs(r.q) > 1e-6 * np.abs(r.p)):
        return None, ()
    told = np.array([handed[t][trials[t].row[p]] for t, p in r.of], float)
    if np.allclose(r.sigma, told, rtol=1e-6) or np.allclose(r.sigma, r.c * told, rtol=1e-6):
        return None, ()
    size = factor(r.sigma, [Level(v.n, v.d, s, v.m, 1.0, 1) for v, s in zip(r.levels, told, strict=True)], r.rtol)
    if np.allclose(r.c, told) and np.allclose(r.sigma, np.sqrt(np.maximum(1 - told**2, 0))):
        if np.allclose(-r.p * told, 1, rtol=1e-6):
            text = "c and sigma exchanged: x is multiplied by the sigma that the loss is told, and the noise by sqrt(1 - sigma^2)"
            return Naming(FAIL, text, f"sigma told {told[0]:.4g}, added {r.sigma[0]:.4g}"), ()
        return None, (
            "the number that the loss is handed for sigma is the c of its points, and their sigma is sqrt(1 - c^2): if it is meant to be sigma, c and sigma are exchanged",
        )
    for t, trial in enumerate(trials if not size.known else ()):
        if normalised := _normalised(trial, np.broadcast_to(handed[t], len(trial.setting.x))[trial.row]):
            return Naming(FAIL, normalised, f"sigma told {told[0]:.4g}"), ()
    note = f"another convention: the noise that is added has standard deviation {_times(size)}, sigma being what the loss is handed"
    if np.allclose(-r.p * r.sigma, 1, rtol=1e-6):
        return None, (f"{note}, and the target is that of this noise",)
    if any(np.allclose(target, 1, rtol=1e-6) for target in (-r.p * told, -r.p * told**2 / r.sigma)):
        text = f"scale of the noise: the noise that is added has standard deviation {_times(size)}, the target is that of sigma"
        return Naming(FAIL, text, f"sigma told {told[0]:.4g}, added {r.sigma[0]:.4g}"), ()
    return None, (note,)


def _times(size):
    return size.text if size.powers or not size.known else f"{size.text} whatever sigma is"


def _not_isotropic(caller, kind, trials, founds):
    """The `Naming` of squares that are no multiple of |fn|^2 in every row."""
    for trial, found in zip(trials, founds, strict=True):
        own, d = found.own[trial.sigma > 0], found.own.shape[-1]
        w = np.einsum("iaa->i", own) / d
        if not equal(own, w[:, None, None] * np.eye(d), max(1e-6, 10 * found.doubt)):
            q = observation(caller, trial)._replace(x=trial.points)
            return shape_of(caller, kind, found, q)
    return None


def _strange(caller, trials, founds, r):
    """The FAIL of a loss whose targets are not made of the noise and the data of their own rows."""
    trial, found = max(
        zip(trials, founds, strict=True), key=lambda pair: (pair[0].points.shape[1] > 3, pair[0].points.size)
    )
    own = np.einsum("pii->pi", found.own).mean(1)
    use = (trial.sigma > 0) & (np.abs(own) > 1e-9 * np.abs(own).max())
    target, eps = -found.b[use] / own[use, None], trial.eps[use]
    x, first_row = trial.data[trial.row[use]], f"target of the first row {np.array2string(target[0], precision=3)}"
    namings: list[Naming] = []
    if (moved := _with_constant(target, eps, x, trial)) is not None:
        return moved
    # what before which, and without a factor before with one
    plain = lambda named: ("wrong target, some " in named.diagnosis, " times " in named.diagnosis.split(" -- ")[0])
    for right, word in ((-eps / trial.sigma[use, None], "-eps/sigma"), (eps, "the noise eps"), (x, "x")):
        permuted = equal(np.sort(target, axis=None), np.sort(right, axis=None)) and not equal(target, right)
        same = np.abs(target[:, None] - right).max(-1) <= 1e-6 * np.abs(target).max()
        if permuted and same.any(1).all():
            text = "wrong target, rows permuted: the target of each point is that of another point (halves exchanged, rolled, shuffled?)"
            return Naming(FAIL, text, first_row)
        some = np.abs(target) > 1e-9 * np.abs(target).max()
        factors = target[some] / right[some]
        if 0.2 < some.mean() < 1 and some.any(1).mean() > 0.5 and alike(factors):
            text = "entries without a target: the target of some entries is 0 (dropped, masked?), and these are pulled to 0; leave them out of the loss"
            return Naming(FAIL, text, f"{1 - some.mean():.0%} of the entries")
        if (named := target_named(target, right, {"n": trial.setting.n, "d": trial.setting.d})) is not None:
            namings.append(named._replace(diagnosis=f"{named.diagnosis} (of {word})"))
        if permuted and (not namings or any(plain(min(namings, key=plain)))):
            return Naming(FAIL, PERMUTED, first_row)
    best = min(namings, key=plain, default=None)
    if best is not None and not plain(best)[0]:
        return best
    # first, as it is exact, where a function is a matter of few ups and downs
    paired = _other_rows_in(target, trial, np.flatnonzero(use))
    if paired is not None:
        return paired
    many = target.size >= 12 and np.ptp(trial.sigma[use]) <= 1e-6
    for values, word in ((eps, "the noise"), (trial.points[use], "the noisy point")):
        if many and levels.function_of(target.ravel(), values.ravel()):
            text = f"wrong target, not linear: it is no p eps + q x of its own point; its entries go with those of {word}, and are not their multiples (a square, a log density, a clip, a mean that is removed?)"
            return Naming(FAIL, text, first_row)
    return best or Naming(FAIL, NOT_OF_ITS_ROW, f"{first_row}, eps {np.array2string(eps[0], precision=3)}")


def _with_constant(target, eps, x, trial):
    """The FAIL of targets p eps + q x + r with one r for all entries, where data or noise have a constant added; None if they are not that."""
    if trial.offset is None or (target.shape[1] < 4 and len(target) < 4):
        return None
    basis = np.stack([a.ravel() for a in (eps, x, np.ones_like(x))], axis=1)
    if np.ptp(trial.sigma) > 1e-6:
        return None
    (p, q, r), *_ = np.linalg.lstsq(basis, target.ravel(), rcond=None)
    if not equal(target.ravel(), basis @ (p, q, r)):
        return None
    said = _sum(p, q, "x'") + f" {r:+.4g}"
    text = f"wrong target, constant: the noisy points are x~ = c x' + sigma eps with x' = {perturbation.map_in_words(trial)}, and the target is {said} instead of -eps/sigma: it belongs to data without that constant (or the noise has a mean that is not 0)"
    return Naming(FAIL, text, f"target = {said}")


def _other_rows_in(target, trial, points):
    """The FAIL of targets with the noise or the data of other rows in them, beside their own or in place of them; None if they are not that."""
    rows, of = rows_of(trial.draws, trial.setting.d)
    all_rows, K, d = np.concatenate([rows, trial.data]), len(rows), trial.setting.d
    pairs = [(k, K + i) for k in range(K) for i in range(len(trial.data))]
    picked = []
    for t, p in zip(target, points, strict=True):
        own = np.stack([trial.eps[p], trial.data[trial.row[p]]])
        found = _sum_of(t, [((j,), [*own, v]) for j, v in enumerate(all_rows)]) if d > 3 else None
        found = found or _sum_of(t, [(pair, all_rows[list(pair)]) for pair in pairs])
        if found is None:
            return None
        noise, data = [k for k in found if k < K], [j - K for j in found if j >= K]
        picked.append((
            any(of[k, 0] != trial.source[p, 0] for k in noise), any(tuple(of[k]) != tuple(trial.source[p]) for k in noise),
            any(i != trial.row[p] for i in data),
        ))  # fmt: skip
    apart, noise, data = np.any(picked, axis=0)
    if apart or not (noise or data):
        return None
    what = " and ".join(w for w, there in (("noise", noise), ("data x", data)) if there)
    text = f"wrong target, other rows: the target of a row is made of the {what} of another row of the batch (shuffled, rolled, or paired wrongly?)"
    return Naming(FAIL, text, f"{np.mean([any(p[1:]) for p in picked]):.0%} of the rows")


def _sum_of(target, candidates):
    """Of (numbers, vectors), those numbers whose vectors, the last ones of each, have a part in the target (d,) that all of them make up; None."""
    if not candidates:
        return None
    bases = np.array([vectors for _, vectors in candidates]).swapaxes(1, 2)  # (C, d, m)
    c = np.linalg.pinv(bases) @ target
    left = np.abs(target - np.einsum("kdc,kc->kd", bases, c)).max(1)
    best = int(left.argmin())
    if left[best] > 1e-6 * np.abs(target).max():
        return None
    numbers, shares = candidates[best][0], np.abs(c[best]) * np.linalg.norm(bases[best], axis=0)
    return [k for k, share in zip(numbers, shares[-len(numbers) :], strict=True) if share > 1e-6 * shares.max()]


BY_PARTS = "another convention: it is implicit score matching at the noisy points, with the trace in place of the product with the noise, which has the same mean (Stein's identity)"


def _implicit(trials, tables):
    """The `Naming` of w (1/2 |s|^2 + k tr J) at noisy points, w a function of the level, by w and k; None of a loss that is something else."""
    rows = []
    for trial, table in zip(trials, tables, strict=True):
        (M, d), found = trial.points.shape, identify(table)
        w, v = (np.einsum("iaa->i", a) / d for a in (found.own, found.C))
        same = equal(found.own, w[:, None, None] * np.eye(d)) and equal(found.C, v[:, None, None] * np.eye(d))
        none = max(np.abs(found.b).max() / np.abs(found.A).max(), found.cross) <= 1e-6
        if not (found.fit.near and same and none and np.all(w > 0) and np.all(trial.sigma > 0) and alike(v / w)):
            return None
        if not levels.function_of(w, np.arctan2(trial.sigma, trial.c)):
            return None
        size, one = M * w.mean() if alike(w) else 1.0, alike(trial.sigma)
        level = Level(trial.setting.n, d, float(trial.sigma[0]) if one else 1.0)
        rows.append((size, size * np.mean(v / w), level))
    square, trace, at = map(list, zip(*rows, strict=True))
    naming = name_parts("implicit", {SQUARE: np.array(square), LINEAR["implicit"]: np.array(trace)}, at, 1e-6)
    return naming._replace(notes=(*naming.notes, BY_PARTS))


def _unread(caller, kind, trials, tables, founds, rng):
    """(`Naming`, sense, details) of a loss that is not quadratic in what fn says at each point alone."""
    for table, trial in zip(tables[1:3], trials[1:3], strict=True):
        sigma = np.where(trial.sigma > 0, trial.sigma, 1.0)
        q = observation(caller, trial)._replace(x=trial.points, target=-trial.eps / sigma[:, None])
        named = named_by_one_more(caller, kind, table, q, jacobian=False, noise=(trial.eps, sigma))
        if named is not None:
            return named, 1, {}
    left = max(f.fit.residual for f in founds)
    if (implicit := _implicit(trials, tables)) is not None:
        return implicit, 2, {}
    for table in [t for t in tables if t.trial.points.size <= 24][:1]:
        q, together = (
            observation(caller, table.trial)._replace(x=table.trial.points),
            [np.arange(len(table.trial.points))],
        )
        for groups in (None, together):  # each point alone with its Jacobian, or all of them
            found = identify(table, groups, jacobian=groups is None)
            named = shape_of(caller, kind, found, q) if found.fit.residual < NEAR / 100 else None
            if named is not None:
                return named, 1, {}
    furthest = int(np.argmax([f.fit.residual for f in founds]))
    naming, sense = unexplained(caller, kind, tables[furthest], None, left, rng)
    if trials[0].setting.levels > 1 and naming.diagnosis == PIECES:
        naming = naming._replace(diagnosis=MIXED)
    return naming, sense, {}
