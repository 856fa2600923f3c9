"""What must hold between the levels that a denoising loss was handed: every level used, nobody told another's, targets of one's own level."""

import numpy as np

from ..report import FAIL
from .denoising import is_form
from .names import Naming
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
    return None, ()


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


def shared(trials):
    """A note if all rows of a batch have one level, drawn anew for every batch."""
    if not all(np.ptp(t.sigma[t.sigma > 0]) <= ALIKE and len(t.points) == t.setting.n for t in trials):
        return ()
    return ("all rows of a batch share one level: right on average, but noisier than a level for each row",)
