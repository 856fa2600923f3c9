r"""A multilevel denoising loss with all of its levels at once: how each level is weighted, and whether its target is its own.

With seen levels the loss is, for fn the score,

.. math:: \frac1{kn} \sum_{\rm rows} \left[ b_l\, \tfrac12 |s|^2 - b_l\, s \cdot (p_l \varepsilon + q_l x) \right] + {\rm constant},

l the level of the row, and regression finds b, p and q of every level. The reference has b = sigma^2, p = -1/sigma, q = 0. Other weights b
are a convention: they move the minimiser only where one network has to serve all levels.
"""

from typing import Any, NamedTuple

import numpy as np

from .fitting import Explanation, Group, solve
from .levels import Unseen, given_noise_is_used, joint_setting, noise_size, rows_of, with_rows
from .naming import COARSEST, Factor, Naming, conversion, factor, name_right
from .prediction import Prediction, convention, mistake
from .probes import random_probe
from .report import FAIL, PASS

SIZES = ((12, 2, 3), (12, 3, 4), (19, 3, 3))  # n, d, levels: 19 is prime, so powers of n, d and L are told apart
BATCHES = 60  # in which a level must turn up


class Level(NamedTuple):
    """One level of one setting, as `naming` looks at settings."""

    n: int
    d: int
    sigma: float
    m: int
    scale: float
    levels: int


class Joint(NamedTuple):
    """What was seen of a loss at several levels."""

    kind: str
    groups: list
    rows: list
    size: Any
    coefficients: np.ndarray  # (V, 3), of s.eps, s.x and 1/2 |s|^2, for every level of every setting
    of: list  # V of (setting's number, level)
    rtol: float

    @property
    def levels(self):
        """The V levels as settings."""
        out = []
        for g, k in self.of:
            s, rows = self.groups[g].setting, self.rows[g]
            c = float(np.median(rows.scale[rows.level == k]))
            sigma = float(self.size(s.extras["sigmas"][k], c))
            out.append(Level(s.n, s.d, sigma, s.m, c, s.levels))
        return out

    def parts(self, g, situation):
        """Linear and square part of the loss in setting g."""
        terms = _terms(situation, self.rows[g].level)
        linear = square = 0.0
        for (group, k), (a, e, b) in zip(self.of, self.coefficients, strict=True):
            if group == g:
                eps, x, half = terms[k]
                linear, square = linear + a * eps + e * x, square + b * half
        return linear, square

    @property
    def prediction(self):
        """b, p and q of every level; p and q are infinite or NaN where a level has no square."""
        a, e, b = self.coefficients.T
        with np.errstate(all="ignore"):
            return Prediction(b, -a / b, -e / b, self.rtol)


def joint(caller, model, rng):
    """The `Joint` of a loss; raises `Unseen` with the reason why levels cannot be told, or "" if no coefficients explain it."""
    reason = Unseen("the loss could not be called with several levels")
    layouts = (False, True) if "noise" in caller.takes and "level" not in caller.takes else (False,)
    for kind in [model] if model else ["energy", "score"]:
        for per_level in layouts:
            caller.forget()
            try:
                found = _seen(caller, kind, rng, per_level)
            except Unseen as unseen:
                reason = unseen if str(reason) else reason
                continue
            except Exception:  # the loss does not take such a fn, or such noise
                continue
            if found is not None:
                return found
            reason = Unseen("")  # seen, and not explained
    raise reason


def _seen(caller, kind, rng, per_level):
    """The `Joint` of a loss with fn of this kind, None if no coefficients explain it."""
    caller.ask(
        random_probe(kind, 2, rng), joint_setting(caller, rng, *SIZES[0], per_level)
    )  # whether it takes such a fn at all
    size = noise_size(caller, kind, rng, per_level)
    groups: list[Group] = []
    all_rows, of, coefficients, doubts = [], [], [], []
    for n, d, L in SIZES:
        setting = joint_setting(caller, rng, n, d, L, per_level)
        rows = rows_of(caller, kind, setting, rng)
        setting = with_rows(setting, rows, size)
        present = np.unique(rows.level)
        situations, values = asked(caller, kind, setting, rng, 6 + 3 * (3 * len(present) + 1))
        if "noise" in caller.takes and not given_noise_is_used(setting, rows, size, situations[0].shift):
            raise Unseen("the noise that is added is not the one that was given")
        table = [_terms(q, rows.level) for q in situations]
        columns = np.array([[t[k] for k in present] for t in table])  # (calls, levels, 3)
        group = Group(setting, values, situations, caller.eps)
        fit = _fitted(columns, group)
        if not fit.exact:
            return None
        of += [(len(groups), int(k)) for k in present]
        coefficients.append(fit.coefficients.reshape(-1, 3))
        size_of = np.abs(coefficients[-1]).max(axis=1, keepdims=True)
        doubts.append(fit.doubt.reshape(-1, 3) / np.where(size_of > 0, size_of, np.inf))
        groups.append(group)
        all_rows.append(rows)
    rtol = max(1e-9, 5 * float(np.max(np.concatenate(doubts))))
    return Joint(kind, groups, all_rows, size, np.concatenate(coefficients), of, rtol)


def _fitted(columns, group):
    """The `Fit` of all columns of every level; without those of s.x, if they are not needed."""
    calls, levels, _ = columns.shape
    fit = solve(columns[:, :, [0, 2]].reshape(calls, -1), group)
    if not fit.exact:
        return solve(columns.reshape(calls, -1), group)
    without = lambda values: np.insert(values.reshape(levels, 2), 1, 0.0, axis=1).ravel()
    return fit._replace(coefficients=without(fit.coefficients), doubt=without(fit.doubt))


def asked(caller, kind, setting, rng, calls):
    """Situations and values of a loss on random probes."""
    answers = [caller.ask(random_probe(kind, setting.d, rng), setting) for _ in range(calls)]
    return [a.situation for a in answers], np.array([a.value for a in answers])


def _terms(q, level):
    """Sum over the rows of each level of s.eps, s.x and 1/2 |s|^2, divided by the number of all rows: level -> three numbers."""
    s = q.probe.score(q.at)
    rows = np.stack([np.sum(s * f, -1) for f in (q.shift / q.sigma, np.broadcast_to(q.x, s.shape), 0.5 * s)])
    return {int(k): rows[:, level == k].sum(-1) / level.size for k in np.unique(level)}


# ------------------------------------------------------------------------------- what it means


def named(caller, seen, rng):
    """The `Naming` of a loss whose levels were seen and explained."""
    fn_is, levels = seen.prediction, seen.levels
    sigma = np.array([level.sigma for level in levels])
    forgotten = _forgotten(caller, seen, rng)
    if forgotten is not None:
        return forgotten
    told, told_notes = _told(seen)
    if told is not None:
        return told
    notes = (*told_notes, *_shared(seen))
    b, p, q, _ = fn_is
    if np.all(np.isfinite(p)):
        known = convention(fn_is, levels, "multilevel_denoising", notes) if _free(caller, seen) else None
        if known is not None:
            return known
        if np.any(np.abs(q) > seen.rtol * np.maximum(np.abs(p), np.abs(q))):
            return mistake(fn_is, levels, _free(caller, seen))
    ratio = -p * sigma
    if not np.allclose(ratio, 1, rtol=max(seen.rtol, COARSEST), atol=0):
        other = _other_level(seen, p)
        if other is not None:
            return other
    names = ("linear", "square")
    table, doubt = (
        np.column_stack([seen.coefficients[:, 0] * sigma, b]) / sigma[:, None] ** 2,
        np.full((len(b), 2), seen.rtol),
    )
    e = Explanation(names, names, names, table, doubt, {}, seen.rtol)
    naming = name_right("multilevel_denoising", e, levels, max(seen.rtol, 1e-9))
    if naming.verdict == PASS:
        pattern = f"loss = mean over levels of {factor(b, levels, seen.rtol).text} x [1/2 |s + eps/sigma|^2] + constant"
        return naming._replace(pattern=pattern, notes=(*weights(b, levels, seen.rtol), *notes))
    R = factor(ratio, levels, seen.rtol)
    if R.known and R.powers.keys() == {"sigma"} and abs(R.powers["sigma"]) == 2:
        square, product = factor(b, levels, seen.rtol).text, factor(ratio * b, levels, seen.rtol).text
        text = f"weight at one term: the weight of a level is {square} at the square of the score, {product} at the product with the noise"
        naming = naming._replace(diagnosis=f"{text} (or {naming.diagnosis.split(': ', 1)[1]})")
    return naming._replace(notes=(*naming.notes, *notes))


def weights(b, levels, rtol):
    """Notes on how levels are weighted beside the reference's sigma^2, and on the factor that is left."""
    W, out = factor(b, levels, rtol), []
    if not W.known:
        text = ", ".join(f"{v:.4g}" for v in b[: levels[0].levels])
        return (
            f"another convention: the weights of the levels follow no law known here ({text} at sigma = {_sigmas(levels)}); {COMPROMISE}",
        )
    of_level = {name: power for name, power in W.powers.items() if name in ("sigma", "c")}
    if of_level != {"sigma": 2.0}:
        word = factor(
            [level.sigma ** of_level.get("sigma", 0) * level.scale ** of_level.get("c", 0) for level in levels],
            levels,
            1e-9,
        ).text
        out.append(f"another convention: the weight of a level is {word}, the reference's is sigma^2; {COMPROMISE}")
    rest = Factor(W.c, {k: v for k, v in W.powers.items() if k not in of_level}, "", True, W.rtol, W.form)
    if not rest.one:
        values = b / [level.sigma ** of_level.get("sigma", 0) * level.scale ** of_level.get("c", 0) for level in levels]
        out.append(conversion(factor(values, levels, rtol), "multilevel_denoising"))
    return tuple(out)


COMPROMISE = "weights move the minimiser only where one network without enough freedom serves all levels"


def _sigmas(levels):
    return ", ".join(f"{level.sigma:.4g}" for level in levels[: levels[0].levels])


def _free(caller, seen):
    """Whether fn may be a model of something else than the score: it is called as fn(x)."""
    return seen.kind == "score" and not caller.as_score


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
