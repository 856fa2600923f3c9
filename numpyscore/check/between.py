"""What a multilevel loss is, once its levels are seen: their weights, and what goes wrong between them."""

import numpy as np

from .fitting import Explanation
from .levels import rows_of
from .naming import COARSEST, Naming, conversion, factor, name_right
from .prediction import convention, mistake
from .report import FAIL, PASS

BATCHES = 60  # in which a level must turn up
COMPROMISE = "weights move the minimiser only where one network without enough freedom serves all levels"


def named(caller, seen, rng):
    """The `Naming` of a loss whose levels were seen and explained."""
    fn_is, levels, free = seen.prediction, seen.levels, seen.kind == "score" and caller.free
    forgotten = _forgotten(caller, seen, rng)
    if forgotten is not None:
        return forgotten
    told, told_notes = _told(seen)
    if told is not None:
        return told
    notes = (*told_notes, *_shared(seen))
    if np.all(np.isfinite(fn_is.p)):
        known = convention(fn_is, levels, caller.said, "multilevel_denoising", notes) if free else None
        if known is not None:
            return known
        if np.any(np.abs(fn_is.q) > fn_is.rtol * np.maximum(np.abs(fn_is.p), np.abs(fn_is.q))):
            return mistake(fn_is, levels, free)
    return _scores(seen, levels, notes)


def _scores(seen, levels, notes):
    """The `Naming` of a loss whose fn is the score."""
    b, p, _, rtol = seen.prediction
    sigma, linear = np.array([level.sigma for level in levels]), seen.coefficients[:, 0]
    if not np.allclose(-p * sigma, 1, rtol=max(rtol, COARSEST), atol=0):
        other = _other_level(seen, p)
        if other is not None:
            return other
    names, doubt = ("linear", "square"), np.full((len(b), 2), rtol)
    table = np.column_stack([linear / sigma, b / sigma**2])  # in units of the reference, which weights by sigma^2
    e = Explanation(names, names, names, table, doubt, {}, rtol)
    naming = name_right("multilevel_denoising", e, levels, rtol)
    if naming.verdict == PASS:
        lost = _averaged(seen, b)
        if lost is not None:
            return lost
        pattern = f"loss = mean over levels of {factor(b, levels, rtol).text} x [1/2 |s + eps/sigma|^2] + constant"
        return naming._replace(pattern=pattern, notes=(*weights(b, levels, rtol), *notes))
    R = factor(-p * sigma, levels, rtol)
    if R.known and R.powers.keys() == {"sigma"} and abs(R.powers["sigma"]) == 2:
        at_square, at_product = factor(b, levels, rtol).text, factor(linear * sigma, levels, rtol).text
        text = f"weight at one term: the weight of a level is {at_square} at the square of the score, {at_product} at the product with the noise"
        naming = naming._replace(diagnosis=f"{text} (or {naming.diagnosis.split(': ', 1)[1]})")
    return naming._replace(notes=(*naming.notes, *notes))


def _averaged(seen, b):
    """A FAIL if all levels of a batch have one weight, the mean over its rows of a power of sigma."""
    of = np.array([g for g, _ in seen.of])
    used = [
        np.broadcast_to(group.setting.sigma, rows.level.shape + (1,))
        for group, rows in zip(seen.groups, seen.rows, strict=True)
    ]
    alike = lambda values: np.ptp(values) <= 10 * seen.rtol * np.abs(values).max()
    several = all(np.sum(of == g) > 1 for g in set(of))
    if not several or alike(b) or not all(alike(b[of == g]) for g in set(of)):
        return None
    for power, word in ((2, "sigma^2"), (1, "sigma"), (-1, "1/sigma"), (-2, "1/sigma^2")):
        if alike(b / np.array([np.mean(used[g] ** power) for g in of])):
            text = f"weights averaged: every row has the mean weight of its batch, that of {word}, and levels none of their own"
            cause = "weights (n, 1) times losses (n,) make (n, n)"
            return Naming(
                FAIL, f"{text}; a product of shapes ({cause})", f"weight = mean of {word} over the rows of a batch"
            )
    return None


def weights(b, levels, rtol):
    """Notes on how levels are weighted beside the reference's sigma^2, and on the factor that is left."""
    W = factor(b, levels, rtol)
    if not W.known:
        text = ", ".join(f"{v:.4g}" for v in b[: levels[0].levels])
        law = f"the weights of the levels follow no law known here ({text} at sigma = {_sigmas(levels)})"
        return (f"another convention: {law}; {COMPROMISE}",)
    powers, out = {name: W.powers.get(name, 0.0) for name in ("sigma", "c")}, []
    weight = np.array([level.sigma ** powers["sigma"] * level.scale ** powers["c"] for level in levels])
    if powers != {"sigma": 2.0, "c": 0.0}:
        word = factor(weight, levels, 1e-9).text
        out.append(f"another convention: the weight of a level is {word}, the reference's is sigma^2; {COMPROMISE}")
    rest = factor(b / weight, levels, rtol)
    return tuple(out) if rest.one else (*out, conversion(rest, "multilevel_denoising"))


def _sigmas(levels):
    return ", ".join(f"{level.sigma:.4g}" for level in levels[: levels[0].levels])


def _shared(seen):
    """A note if all rows of a batch have one level, drawn anew for every batch."""
    alone = all(rows.level.shape[0] == 1 and np.ptp(rows.level) == 0 for rows in seen.rows)
    if not alone:
        return ()
    return ("all rows of a batch share one level: right on average, but noisier than a level for each row",)


def _forgotten(caller, seen, rng):
    """A FAIL if a level never turns up, or has no weight."""
    g = 0
    setting = seen.groups[g].setting
    L = setting.levels
    met = set(np.unique(seen.rows[g].level))
    for _ in range(BATCHES):
        if len(met) == L:
            break
        setting = setting._replace(seed=int(rng.integers(1 << 31)), scale=1.0, sigma=setting.extras["sigmas"].min())
        met |= set(np.unique(rows_of(caller, seen.kind, setting, rng).level))
    weight = np.abs(seen.coefficients).max(axis=1)
    weightless = [k for (group, k), w in zip(seen.of, weight, strict=True) if group == g and w <= 1e-9 * weight.max()]
    missing = sorted((set(range(L)) - met) | set(weightless))
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
        "an upper end that randint excludes, a slice that ends too early, an index off by one"
        if not weightless
        else "its weight is zero"
    )
    text = f"level forgotten: {which} of sigmas is never used ({why}); the network does not learn that level"
    return Naming(FAIL, text, f"levels {sorted(int(k) for k in met)} of {L} met in up to {BATCHES} batches")


def _other_level(seen, p):
    """A FAIL if targets are made with the sigma of another level."""
    for words, sigma_of in (
        ("-eps/sigma", lambda own, p: -1 / p),
        ("(x - x~)/sigma^2", lambda own, p: np.sqrt(np.abs(own / p))),
    ):
        pairs = []
        for (g, k), level, value in zip(seen.of, seen.levels, p, strict=True):
            s = seen.groups[g].setting
            sigmas = np.array([seen.size(v, level.scale) for v in s.extras["sigmas"]])
            near = np.flatnonzero(np.isclose(sigmas, sigma_of(level.sigma, value), rtol=1e-6))
            if len(near) == 0:
                break
            pairs.append((k, int(near[0]), s.levels))
        else:
            if all(a == b for a, b, _ in pairs):
                continue
            return Naming(
                FAIL,
                f"level of the target: the target {words} is made with {_which(pairs)}",
                "p = -1/sigma of another level",
            )
    return None


def _which(pairs):
    """Which other level: (own, used, number of levels) of each."""
    for step, word in ((1, "next"), (-1, "previous")):
        if all(b in ((a + step) % L, min(max(a + step, 0), L - 1)) for a, b, L in pairs):
            return f"the sigma of the {word} level: an index is off by one"
    if len({b for _, b, _ in pairs}) == 1 or all(b == L - 1 for _, b, L in pairs):
        which = (
            "the first"
            if pairs[0][1] == 0
            else "the last"
            if all(b == L - 1 for _, b, L in pairs)
            else f"number {pairs[0][1]}"
        )
        return f"one sigma for all levels, {which}"
    if all(b == L - 1 - a for a, b, L in pairs):
        return "sigmas in reversed order"
    return "the sigma of another level"


def _told(seen):
    """(a FAIL if fn is told the level of other rows, notes)."""
    if any(rows.told is None for rows in seen.rows):
        return None, (
            "fn is not told the noise level in a form that was recognised: right only for one model that serves all levels",
        )
    if len({float(t) for rows in seen.rows for t in rows.told.ravel()}) == 1:
        return None, ("fn is told the same at every level: right only for one model that serves all levels",)
    for what in ("sigma", "number"):
        pairs = _said(seen, what)
        if pairs is None:
            continue
        steps = {b - a for a, b, _ in pairs}
        counted = what == "number" and (
            len(steps) == 1 or all(b == L - 1 - a for a, b, L in pairs)
        )  # from 1, or backwards
        if steps == {0} or counted:
            break
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        one_to_one = len(set(pairs)) == len({(a, L) for a, _, L in pairs})
        which = _which(wrong).replace("the sigma of", f"the {what} of") if one_to_one else f"the {what} of another row"
        text = f"level told: fn is told {which}, not that of the noise which its point has"
        return Naming(FAIL, text, f"{len(wrong) / len(pairs):.0%} of the rows are told another level"), ()
    return None, ()


def _said(seen, what):
    """(level, level that fn is told, number of levels) of all rows, if what it is told are numbers of levels or sigmas; None if not."""
    pairs = []
    for group, rows in zip(seen.groups, seen.rows, strict=True):
        sigmas = group.setting.extras["sigmas"]
        L, values = len(sigmas), sigmas if what == "sigma" else np.arange(len(sigmas) + 1)
        number = np.abs(rows.told[..., None] - values).argmin(-1)
        if np.abs(rows.told - values[number]).max() > 1e-5 * values.max():
            return None
        pairs += [(int(a), int(b), L) for a, b in zip(rows.level.ravel(), number.ravel(), strict=True)]
    return pairs
