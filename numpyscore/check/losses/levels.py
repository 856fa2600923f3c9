"""What must hold between the levels and rows of a denoising loss: every level used, nobody told another's, weights and targets of one's own level."""

import numpy as np

from ..report import FAIL
from .denoising import is_form
from .names import Naming, factor
from .trials import noisy

BATCHES = 40  # in which a level must turn up
ALIKE = 1e-6


def numbers(trial):
    """The level (M,) of each point as an index into sigmas; None where the noise is of none of them."""
    sigmas = trial.setting.extras["sigmas"]
    with np.errstate(all="ignore"):
        sizes = (trial.sigma, trial.sigma / trial.c)
    for size in sizes:
        index = np.abs(size[:, None] - sigmas).argmin(1)
        if np.all(np.abs(size - sigmas[index]) <= ALIKE * sigmas[index]):
            return index
    return None


def forgotten(caller, kind, trials, r, rng):
    """A FAIL if a level never turns up, or has no weight."""
    trial = trials[0]
    index = numbers(trial)
    if index is None:
        return None
    L, met, setting = trial.setting.levels, set(index.tolist()), trial.setting
    for _ in range(BATCHES):
        if len(met) == L:
            break
        again = noisy(caller, kind, setting._replace(seed=int(rng.integers(1 << 31))), rng)
        found = numbers(again) if not again.trouble else None
        met |= set() if found is None else set(found.tolist())
    here = r.of[:, 0] == 0
    weightless = {
        int(index[p]) for p, w in zip(r.of[here, 1], r.w[here], strict=True) if abs(w) <= 1e-9 * np.abs(r.w[here]).max()
    }
    missing = sorted((set(range(L)) - met) | weightless)
    if not missing:
        return None
    which = (
        "the first"
        if missing == [0]
        else "the last"
        if missing == [L - 1]
        else f"number {', '.join(map(str, missing))}"
    )
    why = (
        "its weight is zero"
        if weightless
        else "an upper end that randint excludes, a slice that ends too early, an index off by one"
    )
    text = f"level forgotten: {which} of sigmas is never used ({why}); the network does not learn that level"
    return Naming(FAIL, text, f"levels {sorted(int(k) for k in met)} of {L} met in up to {BATCHES} batches")


def none_of_them(trials, r):
    """A FAIL if the noise that is added is of no level, and the target is of another."""
    if all(numbers(t) is not None for t in trials) or is_form(r, lambda c, s: (-1 / s, 0)):
        return None
    text = "levels mixed: the noise that is added is that of none of the levels, and the target does not belong to it"
    return Naming(FAIL, text, f"sigma of the points {', '.join(f'{s:.4g}' for s in trials[0].sigma[:4])}")


def which(pairs):
    """Which other level: (own, used, number of levels) of each row."""
    for step, word in ((1, "next"), (-1, "previous")):
        if all(b in ((a + step) % L, min(max(a + step, 0), L - 1)) for a, b, L in pairs):
            return f"the sigma of the {word} level: an index is off by one"
    if len({b for _, b, _ in pairs}) == 1 or all(b == L - 1 for _, b, L in pairs):
        place = (
            "the first"
            if pairs[0][1] == 0
            else "the last"
            if all(b == L - 1 for _, b, L in pairs)
            else f"number {pairs[0][1]}"
        )
        return f"one sigma for all levels, {place}"
    if all(b == L - 1 - a for a, b, L in pairs):
        return "sigmas in reversed order"
    if len(set(pairs)) == len({(a, L) for a, _, L in pairs}):
        return "the sigma of another level"
    return "the sigma of another row"


def target_of_another(trials, r):
    """A FAIL if the targets are made with the sigma of another level or row."""
    if np.any(np.abs(r.q) > 1e-6 * np.abs(r.p)) or is_form(r, lambda c, s: (-1 / s, 0)):
        return None
    with np.errstate(all="ignore"):
        candidates = (("-eps/sigma", -1 / r.p), ("(x - x~)/sigma^2", np.sqrt(np.abs(r.sigma / r.p))))
    for words, used in candidates:
        pairs = []
        for (t, p), value in zip(r.of, used, strict=True):
            own, sigmas = numbers(trials[t]), trials[t].setting.extras["sigmas"]
            if own is None:
                return None
            scale = trials[t].sigma[p] / sigmas[own[p]]
            near = int(np.abs(value / scale - sigmas).argmin())
            if not abs(value / scale - sigmas[near]) <= ALIKE * sigmas[near]:
                break
            pairs.append((int(own[p]), near, len(sigmas)))
        else:
            if all(a == b for a, b, _ in pairs):
                continue
            text = f"level of the target: the target {words} {'of a row ' if 'row' in which(pairs) else ''}is made with {which(pairs)}"
            return Naming(FAIL, text, "p = -1/sigma of another level")
    return None


def averaged(trials, r):
    """A FAIL if all rows of a batch have one weight, the mean over them of a power of sigma, or the weight of another row."""
    groups = [r.of[:, 0] == t for t in range(len(trials))]
    alike = lambda values: np.ptp(values) <= max(10 * r.rtol, ALIKE) * np.abs(values).max()
    several = [g for g in groups if np.ptp(r.sigma[g]) > 1e-3]
    if not several or alike(r.w):
        return None
    powers = ((2, "sigma^2"), (1, "sigma"), (-1, "1/sigma"), (-2, "1/sigma^2"))
    if all(alike(r.w[g]) for g in several):
        for power, word in powers:
            rest = factor(
                [r.w[g][0] / np.mean(r.sigma[g] ** power) for g in several],
                [r.levels[np.flatnonzero(g)[0]]._replace(sigma=1.0, scale=1.0) for g in several],
                r.rtol,
            )
            if rest.known and not rest.form:
                text = f"weights averaged: every row has the mean weight of its batch, that of {word}, and levels none of their own"
                cause = "weights (n, 1) times losses (n,) make (n, n)"
                return Naming(
                    FAIL, f"{text}; a product of shapes ({cause})", f"weight = mean of {word} over the rows of a batch"
                )
    ordered = lambda w, s: all(_function_of(w[g], s[g]) for g in several)
    if ordered(r.w, r.sigma):
        return None
    for words, move in (
        ("the next row", lambda a: np.roll(a, -1)),
        ("the previous row", lambda a: np.roll(a, 1)),
        ("the rows in reversed order", lambda a: a[::-1]),
    ):
        moved = r.sigma.copy()
        for g in groups:
            moved[g] = move(r.sigma[g])
        if ordered(r.w, moved):
            return Naming(
                FAIL,
                f"weights of other rows: the weight of a row is made of the level of {words}",
                "weights and errors of different rows are paired",
            )
    return None


def _function_of(w, sigma):
    """Whether w could be a function of sigma: equal where sigma is, and smooth or monotone between."""
    order = np.argsort(sigma)
    w, sigma = w[order], sigma[order]
    same = np.diff(sigma) <= ALIKE * sigma[1:]
    if np.any(np.abs(np.diff(w))[same] > ALIKE * np.abs(w[1:])[same]):
        return False
    return bool(np.abs(np.diff(w)).sum() <= 2.5 * np.ptp(w) + ALIKE * np.abs(w).max()) or len(w) < 6


def told(trials):
    """(a FAIL if fn is told the level of other rows, notes)."""
    if any(t.told is None for t in trials):
        return None, (
            "fn is not told the noise level in a form that was recognised: right only for one model that serves all levels",
        )
    if len({float(v) for t in trials for v in t.told[t.sigma > 0]}) == 1:
        return None, ("fn is told the same at every level: right only for one model that serves all levels",)
    for what in ("sigma", "number"):
        pairs = _said(trials, what)
        if pairs is None:
            continue
        steps = {b - a for a, b, _ in pairs}
        counted = what == "number" and (
            len(steps) == 1 or all(b == L - 1 - a for a, b, L in pairs)
        )  # from 1, or backwards
        if steps == {0} or counted:
            return None, ()
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        one_to_one = len(set(pairs)) == len({(a, L) for a, _, L in pairs})
        other = which(wrong).replace("the sigma of", f"the {what} of") if one_to_one else f"the {what} of another row"
        text = f"level told: fn is told {other}, not that of the noise which its point has"
        return Naming(FAIL, text, f"{len(wrong) / len(pairs):.0%} of the rows are told another level"), ()
    return as_function(trials), ()


def handed(trials):
    """A FAIL if fn is told times that the loss was handed, one for each row, but those of other rows.

    That is so if what it is told are these times in some order, one of them beside points of different noise, and the noise is a function of the
    times in another order of the rows. A time that is rescaled, or rounded, is left alone.
    """
    orders = {
        "": lambda a: a,
        "the next row": lambda a: np.roll(a, -1),
        "the previous row": lambda a: np.roll(a, 1),
        "the rows in reversed order": lambda a: a[::-1],
    }
    found = []
    for trial in trials:
        times = np.asarray(trial.setting.level, float)
        if trial.told is None or times.ndim != 1 or np.any(trial.sigma == 0):
            return None
        kernel = np.stack([trial.c, trial.sigma], axis=1)
        if len(trial.told) != len(times) or not np.allclose(np.sort(trial.told), np.sort(times), rtol=ALIKE, atol=0):
            return None
        if _determines(trial.told, kernel):
            continue
        own = {word for word, order in orders.items() if _determines(order(times)[trial.row], kernel)}
        if not own:
            return None
        found.append(
            {word for word, order in orders.items() if np.allclose(order(times)[trial.row], trial.told, rtol=ALIKE)}
        )
    if not found:
        return None
    other = next((word for word in orders if word and all(word in words for words in found)), "another row")
    text = f"level told: fn is told the time of {other}, not that of the noise which its point has"
    return Naming(FAIL, text, "one time is told beside noise of different levels")


def _determines(time, kernel):
    """Whether rows with one time (M,) have one kernel (M, 2)."""
    same = np.abs(time[:, None] - time) <= ALIKE * np.abs(time).max()
    return bool(np.abs(kernel[:, None] - kernel).max(-1)[same].max() <= 1e-5 * np.abs(kernel).max())


def _said(trials, what):
    """(level, level that fn is told, number of levels) of all rows, if what it is told are numbers of levels or sigmas; None if not."""
    pairs = []
    for trial in trials:
        sigmas, own, use = trial.setting.extras["sigmas"], numbers(trial), trial.sigma > 0
        if own is None:
            return None
        values = sigmas if what == "sigma" else np.arange(len(sigmas) + 1)
        number = np.abs(trial.told[:, None] - values).argmin(-1)
        if np.abs(trial.told - values[number])[use].max() > 1e-5 * values.max():
            return None
        pairs += [(int(a), int(b), len(sigmas)) for a, b in zip(own[use], number[use], strict=True)]
    return pairs


def as_function(trials):
    """A FAIL if what fn is told is no function of the level that its point has."""
    for trial in trials:
        if trial.told is None:
            continue
        use = trial.sigma > 0
        level, said = np.arctan2(trial.sigma, trial.c)[use], trial.told[use]
        if len(level) < 12 or np.ptp(level) < 1e-6:
            continue
        order = np.argsort(level)
        path = lambda a, order=order: np.abs(np.diff(a[order])).sum() / max(np.ptp(a), 1e-300)
        if path(said) <= 2.5:
            continue
        other = next(
            (w for w, s in (("the next row", -1), ("the previous row", 1)) if path(np.roll(said, s)) <= 2.5), None
        )
        other = other or ("the rows in reversed order" if path(said[::-1]) <= 2.5 else None)
        text = f"level told: fn is told {f'the level of {other}' if other else 'a level that has nothing to do with it'}, not that of the noise which its point has"
        return Naming(FAIL, text, f"what fn is told varies {path(said):.1f} times its range along the levels in order")
    return None


def shared(trials):
    """A note if all rows of a batch have one level, drawn anew for every batch."""
    if not all(np.ptp(t.sigma[t.sigma > 0]) <= ALIKE and len(t.points) == t.setting.n for t in trials):
        return ()
    return ("all rows of a batch share one level: right on average, but noisier than a level for each row",)
