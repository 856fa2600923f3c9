r"""One batch of many rows: of each noisy point c, sigma, what fn is told beside it, and the w, p and q of the loss there, w 1/2 |fn - (p eps + q x)|^2.

A right loss makes all of them functions of the level that the point has, what fn is told one to one, and draws eps whatever the level is. Which
function it is need not be known.
"""

from typing import Any, NamedTuple

import numpy as np

from ..fields import numbered
from ..report import FAIL, INCONCLUSIVE
from .denoising import RIGHT, is_form, of_score
from .identify import SPARE, Answers, solve
from .names import Naming, alike, factor
from .trials import mixture, noisy, with_draw_apart, with_mixture

ROWS = 40
BATCHES = 40  # in which a level must turn up
HANDED = {"level", "t", "sigma", "alpha"}  # parameters by which a loss takes the level of its rows
ALIKE = 1e-6
SMOOTH = 2.5  # ranges that a function of the level may go up and down; what belongs to other rows goes through a dozen
DEPENDENT = 0.75  # rank correlation of 40 rows; independent ones exceed it once in 1e8
ORDERS = {
    "the next row": lambda a: np.roll(a, -1),
    "the previous row": lambda a: np.roll(a, 1),
    "the rows in reversed order": lambda a: a[::-1],
}
SORTED = {
    "another row (they are sorted)": np.sort,
    "another row (they are sorted, the largest first)": lambda a: np.sort(a)[::-1],
}


class Batch(NamedTuple):
    """The M noisy points of a `Trial`: `given` is the level that the loss was handed for each, `told` what fn is told; None where there is none."""

    trial: Any
    given: np.ndarray | None
    told: np.ndarray | None
    level: np.ndarray  # (M,), arctan(sigma/c): 0 is data, pi/2 is noise
    exact: bool  # in double precision
    close: float = ALIKE  # what w, p and q are known to, of the largest of each
    w: np.ndarray | None = None
    p: np.ndarray | None = None
    q: np.ndarray | None = None
    clean: Any = None  # the `Trial` of the points without noise
    extra: bool = False  # whether the loss has the squared score there as well

    @property
    def varied(self):
        """Whether the rows have different levels."""
        return bool(np.ptp(self.level) > ALIKE)

    @property
    def measured(self):
        """Whether they have, and w, p and q are known."""
        return self.varied and self.w is not None


def widened(caller, kind, setting, rng):
    """The `Trial` of a loss with `ROWS` rows in place of a few, and all else as it is."""
    L, noise = setting.levels, setting.extras["noise"]
    index = rng.permutation(np.resize(np.arange(L), ROWS))
    extras = setting.extras | {"noise": rng.standard_normal((*noise.shape[:-2], ROWS, setting.d)), "level": index}
    level = setting.level if np.ndim(setting.level) == 0 else _levels(caller, setting, index, rng)
    x = 0.3 + 1.2 * rng.standard_normal((ROWS, setting.d))
    return noisy(caller, kind, setting._replace(n=ROWS, x=x, extras=extras, level=level), rng)


def of_many_rows(caller, kind, like, rng):
    """The `Batch` of a loss for `ROWS` rows, without w, p and q; None where its noise is not known. The data are mapped as in `like`, a `Trial`."""
    trial = widened(caller, kind, like.setting, rng)
    B = mixture(trial, caller.eps)
    if B is not None and np.allclose(B.T @ B, np.eye(like.setting.d), atol=1e-6):
        trial = with_mixture(trial, B, caller.eps) or trial
    if trial.trouble or not np.any(trial.sigma > 0):
        return None
    trial = (with_draw_apart(trial, like.apart_of) if like.apart_of else None) or trial
    trial, clean = trial.only(trial.sigma > 0), trial.only(trial.sigma == 0)
    trial, level = trial._replace(c=trial.c / like.scale, scale=like.scale), trial.setting.level
    handed = np.ndim(level) > 0 and bool(HANDED & caller.takes.keys())
    given = np.asarray(level)[trial.row] if handed else None
    level = np.arctan2(trial.sigma, np.abs(trial.c))  # of -x it is that of x
    out = Batch(trial, given, trial.told, level, caller.eps < 1e-10, clean=clean)
    beside = [] if trial.beside is None else list(trial.beside.T)  # whatever fn is told, labels and levels
    vary = [k for k, t in enumerate(beside) if not alike(t)]
    same = [k for k in vary if one_to_one(beside[k], out)]
    others = [k for k in vary if given is not None and np.array_equal(np.sort(beside[k]), np.sort(given))]
    k = next(iter(same or others or ([] if caller.column is None else vary)), None)
    return out if k is None else out._replace(told=beside[k], clean=clean._replace(told=clean.beside[:, k]))


def _levels(caller, setting, index, rng):
    """A level for each row of a loss that is handed one: of the user's schedule both ends, and others at random."""
    schedule = caller.known["levels"]
    if schedule is not None:
        picked = np.concatenate([np.array([0, 1, -2, -1]) % len(schedule), rng.integers(len(schedule), size=ROWS - 4)])
        return picked if schedule.ndim == 2 else schedule[picked]
    if {"sigmas", "alphas", "level"} & caller.takes.keys():
        return setting.extras["sigmas"][index]
    return rng.uniform(0.05, 0.95, ROWS)


def with_level_told(caller, trials):
    """The trials with that of the numbers told to fn which goes with the level of the points, in all of them; without one if none does, and not all that is told was read."""
    known = [t for t in trials if t.beside is not None and t.sigma is not None and not np.isnan(t.sigma).any()]
    if not known or (known[0].beside.shape[1] == 1 and not caller.unread):
        return trials
    level, close = np.concatenate([np.arctan2(t.sigma, t.c) for t in known]), ALIKE if caller.eps < 1e-10 else 1e-4
    columns = np.concatenate([t.beside[:, : known[0].beside.shape[1]] for t in known]).T
    at = _classes(level, close)
    pairs = lambda told: len({*zip(_classes(told, close).tolist(), at.tolist(), strict=True)})
    fits = [k for k, told in enumerate(columns) if pairs(told) == at.max() + 1 == _classes(told, close).max() + 1]
    first = (
        [k for k in fits if abs(np.corrcoef(_classes(columns[k], close), at)[0, 1]) > 1 - 1e-9] if at.max() else fits
    )
    caller.column = next(iter(first or fits), None if caller.unread else 0)
    told = lambda t: None if t.beside is None or caller.column is None else t.beside[:, caller.column]
    return [t._replace(told=told(t)) for t in trials]


def many(caller, kind, like, rng):
    """The `Batch` of a loss with w, p and q, where its rows have different levels and these can be known; None where its noise is not."""
    batch = of_many_rows(caller, kind, like, rng)
    return batch if batch is None or not batch.varied else with_values(caller, kind, batch, rng)


def with_values(caller, kind, batch, rng):
    """The `Batch` with w, p and q of every point; as it was where the loss is not of that form."""
    trial, M = batch.trial, len(batch.level)
    if M > 2 * ROWS:
        return batch
    answers = Answers(caller, kind, trial, rng).grow(4 * M + 2 * len(batch.clean.points) + 1 + SPARE)
    parts = [0.5 * answers.S**2, answers.S * trial.eps, answers.S * trial.data[trial.row]]
    parts += [] if trial.apart is None else [answers.S * trial.apart]
    if len(batch.clean.points):  # a control variate: the noise of the row times what fn says without noise
        noise = trial.eps[[int(np.argmax(trial.row == i)) for i in batch.clean.row]]
        parts.append(answers.of(lambda probe: probe.score(batch.clean.points)) * noise)
    fitted = lambda parts: solve(
        np.concatenate([np.sum(p, axis=-1) for p in parts], axis=1), answers.values, caller.eps
    )
    fit = fitted(parts)
    if len(batch.clean.points) and not fit.exact:
        squares = 0.5 * answers.of(lambda probe: probe.score(batch.clean.points)) ** 2
        if fitted([*parts, squares]).exact:
            return batch._replace(extra=True)
    w, a, b = fit.coefficients[: 3 * M].reshape(3, M)
    if not fit.near or np.abs(w).max() <= 1e-9 * max(np.abs(a).max(), np.abs(b).max()):
        return batch
    doubt = fit.doubt[: 3 * M].reshape(3, M)
    doubt = np.abs(doubt[0]).max() / np.abs(w).max() + np.abs(doubt[1:]).max() / max(np.abs(a).max(), np.abs(b).max())
    with np.errstate(all="ignore"):
        return batch._replace(w=M * w, p=-a / w, q=-b / w, close=max(ALIKE, 10 * float(doubt)))


# ------------------------------------------------------------------------------- functions of the level


def function_of(values, level, close=ALIKE, size=None):
    """Whether values (M,), known to `close` of their size, could be a function of the level: one where the level is one, few ups and downs between."""
    if not np.all(np.isfinite(values)):
        return False
    allowed = close * (np.abs(values).max() if size is None else size)
    order = np.lexsort((values, level))
    a, at = values[order], level[order]
    same = np.diff(at) <= 1e-3 * close * np.abs(at).max()
    return bool(np.all(np.diff(a)[same] <= allowed) and _path(a) <= SMOOTH * np.ptp(a) + len(a) * allowed)


def one_to_one(told, batch):
    """Whether what fn is told (M,) and the level could be functions of each other; numbers that are told may be rounded if the level is no number.

    Of a path on which one level is met twice (a bridge) what fn is told may be a function of the time that the loss is handed.
    """
    level, close = batch.level, ALIKE if batch.exact else 1e-4
    counts = batch.given is not None and batch.given.dtype.kind in "iu"
    if counts and np.all(told == np.round(told)) and len({*zip(batch.given, told, strict=True)}) > len({*told}):
        return False  # two timesteps told as one
    t, at = _classes(told, close), _classes(level, close)
    repeated = at.max() < len(at) / 2
    counted = repeated or counts
    pairs = len(set(zip(t.tolist(), at.tolist(), strict=True)))
    if repeated and pairs == t.max() + 1 == at.max() + 1:
        return True
    if counted and pairs > t.max() + 1 and _spread(level, t) > 1e-3 * np.ptp(level):
        return False
    function = lambda a, b: _path(a[np.lexsort((a, b))]) <= SMOOTH * np.ptp(a)
    return function(level, told) and (
        function(told, level) or (batch.given is not None and function(told, batch.given))
    )


def _path(a):
    return np.abs(np.diff(a)).sum()


def _classes(a, close):
    """(M,) numbers 0, 1, ... of the values that are alike."""
    order = np.argsort(a, kind="stable")
    out = np.empty(len(a), int)
    out[order] = np.concatenate([[0], np.cumsum(np.diff(a[order]) > close * max(np.abs(a).max(), 1e-300))])
    return out


def _spread(level, classes):
    """The largest range of levels within one class."""
    return max(np.ptp(level[classes == k]) for k in range(classes.max() + 1))


def _other(holds, orders=ORDERS):
    """The first other order of the rows in which something holds; "" if it does in none."""
    return next((word for word, order in orders.items() if holds(order)), "")


# ------------------------------------------------------------------------------- rules: what is wrong, as (diagnosis, pattern); None


EXTRA = "extra term: beside the noisy points your loss has {} at the clean ones; it is no control variate (a product with the noise, of mean 0), and moves the minimiser"


def _square_at_clean_points(batch, trials):
    return (EXTRA.format("the squared score"), "A is not 0 at the clean points") if batch.extra else None


def _told_whatever_the_noise_is(batch, trials):
    if batch.varied or batch.told is None or alike(batch.told) or len(batch.told) != len(batch.trial.setting.x):
        return None
    if any(np.ptp(t.sigma) > ALIKE or np.ptp(t.c) > ALIKE for t in trials) or any(map(alike, batch.trial.beside.T)):
        return None  # one level for a batch, beside labels
    if batch.given is None and np.all(batch.told == np.round(batch.told)) and np.ptp(batch.told) < LABELS:
        return None  # labels alone
    text = "levels mixed: the noise of all points has one size, and a number that fn is told varies among them (a level by whose sigma the noise is not multiplied, or no level?)"
    return text, f"told {batch.told.min():.4g} to {batch.told.max():.4g}, sigma {batch.trial.sigma[0]:.4g} throughout"


def _rows_without_noise(batch, trials):
    n, clean = len(batch.trial.setting.x), batch.clean
    if len(clean.points) + len(batch.level) != n or clean.told is None or len(clean.told) < 2 or alike(clean.told):
        return None
    text = "clean points: some rows get no noise, and fn is told the level of noise there that they have not; those rows are to be left out, or told so"
    return text, f"{len(clean.points)} of {n} rows have no noise"


def _kernel_of_two_levels(batch, trials):
    c, sigma = batch.trial.c, batch.trial.sigma
    if alike(c) or alike(sigma) or function_of(sigma, c) or function_of(c, sigma):
        return None
    other = _other(lambda order: len(c) == len(batch.trial.setting.x) and function_of(order(sigma), c))
    pattern = "c and sigma of the points are no functions of each other"
    if not other:
        return KERNEL, pattern, INCONCLUSIVE
    text = f"levels mixed: the noise of a row has the sigma of {other}, beside a scale c of x that is its own: neither is a function of the other"
    return text, pattern


LABELS = 50  # classes; whole numbers that go further are those of timesteps
KERNEL = "levels mixed: c and sigma of the points are no functions of each other (two draws of the level, a gain of x that is drawn, the sigma of another row?); what fn learns is the score given what it is told"


def _told_one_level(batch, trials):
    others = [v for t in trials if t.told is not None for v in t.told[t.sigma > 0]]
    if batch.told is None or not batch.varied or not alike(batch.told) or alike(np.array([*others, batch.told[0]])):
        return None
    text = "level told: a number that fn is told is one for all rows of a batch (the level of its first row, or no level?), where the noise of each row has its own"
    return text, f"told {batch.told[0]:.4g} in all rows"


def _told_another(batch, trials):
    told = batch.told
    if told is None or not batch.varied or alike(told):
        return None
    if (share := _sigmas_of_others(told, batch.trial.sigma)) > 0:
        text = (
            "level told: fn is told the sigma of another level of the batch, not that of the noise which its point has"
        )
        return text, f"{share:.0%} of the points are told another sigma"
    if one_to_one(told, batch):
        return None
    if function_of(told, batch.level) and len({*told}) < len({*_classes(batch.level, ALIKE)}):
        text = "level told: fn is told the same number at different levels (an integer division, a rounding, a clamp?)"
        return text, f"{len({*told})} numbers told at {len({*_classes(batch.level, ALIKE)})} levels"
    rows = len(told) == len(batch.trial.setting.x)
    order = np.lexsort((told, _classes(batch.level, ALIKE)))  # of one level as it is told, whatever rounding says
    turns = _path(told[order]) / np.ptp(told)
    pattern = f"along the levels in order, what fn is told goes through {turns:.1f} of its ranges"
    if other := _other(lambda order: rows and one_to_one(order(told), batch)):
        text = f"level told: fn is told the time or level of {other}, not that of the noise which its point has: neither is a function of the other"
    elif _overflows(batch.given, told):
        text = "level told: fn is told the number of its level modulo 256: an integer of 8 bits overflows"
    elif turns <= SMOOTH:
        text = "level told: what fn is told does not tell the levels of the noise apart: it is no function of them that can be turned round"
    else:
        text = "level told: what fn is told goes up and down along the levels of the noise (the level of another row, one drawn apart, or no level: a class label?): it is not that of its point"
    return text, pattern


def _overflows(given, told):
    """Whether numbers of levels are told modulo 256, some of them others than those that were handed."""
    whole = given is not None and given.dtype.kind in "iu"
    return bool(whole and np.any(given != told) and np.all((given - told) % 256 == 0))


def _sigmas_of_others(told, sigma):
    """The share of the points (M,) that are told a sigma of the batch other than their own; 0 where told are no sigmas, or may be numbers of levels."""
    near = np.abs(sigma[:, None] - told) <= 1e-5 * sigma.max()
    few = len({*_classes(sigma, ALIKE)}) <= len(sigma) / 2
    return 1 - np.mean(np.diag(near)) if few and np.all(near.any(0)) and np.any(told != np.round(told)) else 0.0


def _noise_of_the_level(batch, trials):
    if not batch.varied or batch.given is not None or len(batch.level) > 2 * ROWS:
        return None
    ranks = lambda a: np.argsort(np.argsort(a, axis=0, kind="stable"), axis=0, kind="stable")
    r = np.corrcoef(ranks(batch.level), ranks(batch.trial.eps), rowvar=False)[0, 1:]
    if np.abs(r).max() <= DEPENDENT:
        return None
    text, k = (
        "one key: the noise of a row goes with its level: both are made of the same random numbers (one key, one seed?); split the key",
        np.abs(r).argmax(),
    )
    return text, f"rank correlation {r[k]:.2f} between the level and dimension {k} of the noise"


def _made_of_another(batch, trials):
    for of_the_level, text, pattern in MADE:
        if not batch.measured or of_the_level(batch):
            continue
        in_order = lambda order, holds=of_the_level: holds(batch._replace(level=order(batch.level)))
        other = _other(in_order, ORDERS | SORTED)
        if other:
            return f"{text} the level of {other}", pattern
    return None


def _weighted(batch):
    """Whether the weights are a function of the level."""
    return function_of(batch.w, batch.level, batch.close)


def _smooth(batch):
    """Whether the target has factors that are functions of the level, where rows have a weight."""
    use = np.abs(batch.w) > 1e-6 * np.abs(batch.w).max()
    p, q, level = batch.p[use], batch.q[use], batch.level[use]
    size = max(np.abs(p).max(), np.abs(q).max())
    return function_of(p, level, batch.close, size) and function_of(q, level, batch.close, size)


# fmt: off
MADE = (  # what is a function of the level, and what is wrong if it is one of that of another row
    (_weighted, "weights of other rows: the weight of a row is made of", "weights and errors of different rows are paired"),
    (_smooth, "level of the target: the target of a row is made with", "p and q belong to another level"),
)
# fmt: on
RULES = (
    _square_at_clean_points,
    _rows_without_noise,
    _told_whatever_the_noise_is,
    _kernel_of_two_levels,
    _told_one_level,
    _told_another,
    _noise_of_the_level,
    _made_of_another,
)  # fmt: skip


def told_before(caller, kind, trials, rng):
    """A FAIL if another seed changes the levels that the loss draws, and nothing that fn is told."""
    trial = trials[0]
    if HANDED & caller.takes.keys() or trial.told is None or alike(trial.beside) or caller.condition:
        return None
    other = noisy(caller, kind, trial.setting._replace(seed=trial.setting.seed + 1), rng)
    if other.trouble or not np.array_equal(other.beside, trial.beside):
        return None
    moved = np.abs(np.arctan2(other.sigma, other.c) - np.arctan2(trial.sigma, trial.c)).max()
    text = "state: another seed gives the points other levels, and fn is told the same numbers as before (what an earlier call has left, or no levels: labels, numbers of rows?)"
    if moved <= ALIKE:
        return None
    return Naming(FAIL, text, f"told {trial.beside[0, 0]:.4g} beside the first point, whatever its level")


def questions(batch, trials):
    """The FAIL of the first rule that finds something; None."""
    said = next((said for rule in RULES if (said := rule(batch, trials))), None)
    return None if said is None else Naming(said[2] if len(said) > 2 else FAIL, *said[:2])


def weights_note(batch):
    """A note on weights that are no function of the level; ()."""
    note = "another convention: the weights of the rows are no function of their level (a mask, numbers that are drawn for them?)"
    return (note,) if batch is not None and batch.measured and not _weighted(batch) else ()


BEHIND = {"noise": lambda t: t.eps, "data": lambda t: t.data[t.row]}  # what stands behind a noisy point (M, d)
WEIGHED = " (importance weights of the data are right if the score of the weighted data is meant)"
MANY_OF = {"a row": "rows", "an entry": "entries"}
GOES_WITH = "weights of the {0}: the weight of {1} {2} with {3} own {0}; it may depend on the level and on the noisy point alone, for otherwise the minimiser is another"


def weighted_by_what_is_behind(r, trials):
    """A FAIL if rows of one level are weighted by the size of their noise, or of their data: in every batch in the same order, and not in that of the points."""
    here = [h for h in r.batches if np.ptp(r.sigma[h]) <= ALIKE and not alike(r.w[h], 10 * max(ALIKE, r.rtol))]
    of = lambda what: [(r.w[h], np.linalg.norm(what(trials[r.of[h[0], 0]])[r.of[h, 1]], axis=1)) for h in here]
    return _goes_with("a row", of)


def entries_weighted_by_what_is_behind(trials, founds):
    """The same of the weights of single entries, by the size of the number behind an entry, or by that number itself."""
    weights = [(t, np.einsum("iaa->ia", f.own)) for t, f in zip(trials, founds, strict=True) if alike(t.sigma)]
    for size, whose in ((np.abs, "the size of its"), (np.positive, "its")):
        of = lambda what, size=size: [(w.ravel(), size(what(t)).ravel()) for t, w in weights]
        if (wrong := _goes_with("an entry", of, whose, ties=True)) is not None:
            return wrong
    return None


def _goes_with(unit, of, whose="the size of its", ties=False):
    """The FAIL of weights that go with what is behind their points; of(what) are the (weights, sizes) of each batch, in which there may be `ties`, as of a mask."""
    for word, what in BEHIND.items():
        sign, n = _in_order(of(what), ties)
        if sign and not _in_order(of(lambda t: t.points), ties)[0]:
            text = GOES_WITH.format(word, unit, "grows" if sign > 0 else "falls", whose)
            verdict, text = (FAIL, text) if word == "noise" else (INCONCLUSIVE, text + WEIGHED)
            return Naming(verdict, text, f"in the same order for all {n} {MANY_OF[unit]} of one level")
    return None


LEAST = 12  # rows whose order is no accident, but once in 1e4
RARE = np.log(1e6)  # the same for weights among which there are ties


def _in_order(batches, ties):
    """(1 if in all batches of (weights, sizes) the weights grow with the sizes, -1 if they fall, 0 if neither, or if an accident may have ordered them; how many)."""
    from scipy.special import gammaln

    signs, n, orders = set(), 0, 0.0
    for w, size in batches:
        close = 1e-6 * np.abs(w).max()
        steps = np.diff(w[np.argsort(size, kind="stable")])
        grows, falls = (np.all(s >= -close) if ties else np.all(s > 0) for s in (steps, -steps))
        signs.add(1 if grows else -1 if falls else 0)
        often = np.diff(np.flatnonzero(np.r_[True, np.diff(np.sort(w)) > close, True]))  # equal ones may be exchanged
        orders += gammaln(len(w) + 1) - gammaln(often + 1).sum()
        n += len(w)
    sure = n >= LEAST and (orders >= RARE or not ties)
    return (signs.pop() if len(signs) == 1 and sure else 0), n


def coarse_note(batch):
    """A note on a told number that is the same at several of the levels that are met; ()."""
    if batch is None or batch.told is None or not batch.varied or alike(batch.told):
        return ()
    if not function_of(batch.told, batch.level):  # labels
        return ()
    told, met = len({*_classes(batch.told, ALIKE)}), len({*_classes(batch.level, ALIKE)})
    note = f"fn is told {told} numbers at {met} levels: right only for a network that needs no finer ones"
    return (note,) * (2 * told <= met)


def smooth(batch):
    """Whether a batch of several levels was measured, and its target p eps + q x has p and q that are functions of the level."""
    return batch is not None and batch.measured and _smooth(batch)


def averaged(caller, kind, batch, trials, r, rng):
    """A FAIL if all rows of a batch have one weight, and it is another one in the next batch: the mean over the rows of a function of the level."""
    several = [g for g in r.batches if np.ptp(r.sigma[g]) > 1e-3]
    if not several or not all(alike(r.w[g]) for g in several):
        return None
    w, sizes = zip(*((r.w[g[0]], r.levels[g[0]]._replace(sigma=1.0, scale=1.0)) for g in several), strict=True)
    if _lawful(w, sizes, r.rtol):
        return None
    means = {word: [np.mean(r.sigma[g] ** power) for g in several] for power, word in POWERS}
    of = next((word for word, m in means.items() if _lawful(np.divide(w, m), sizes, r.rtol)), None)
    if of is None:
        if batch is None or batch.w is None or not alike(batch.w, batch.close):
            return None
        setting = trials[0].setting
        again = many(caller, kind, trials[0]._replace(setting=setting._replace(seed=setting.seed + 1)), rng)
        if again is None or again.w is None or not alike(again.w, batch.close):
            return None
        if alike(np.array([again.w[0], batch.w[0]]), 10 * batch.close):
            return None
    if of is None:
        return Naming(INCONCLUSIVE, ONE_WEIGHT, "one weight in all rows of a batch")
    text = f"weights averaged: every row has the mean weight of its batch, that of {of}, and levels none of their own (as weights (n, 1) times losses (n,) do, which make (n, n))"
    return Naming(FAIL, text, f"weight = mean of {of} over the rows of a batch")


ONE_WEIGHT = "one weight for a batch: all its rows have the same, and another batch another one (the mean of the weights of its rows, as (n, 1) times (n,) makes it, or a norm of the batch?)"
POWERS = ((2, "sigma^2"), (1, "sigma"), (-1, "1/sigma"), (-2, "1/sigma^2"))


def _lawful(values, sizes, rtol):
    """Whether values, one for each trial, follow a law in the sizes alone."""
    found = factor(values, sizes, rtol)
    return found.known and not found.form


# ------------------------------------------------------------------------------- velocities


def velocity(batch, r, trials):
    """1 if targets are the velocity (c' x + sigma' eps) of the points as the time goes that the loss is handed, or fn is told; -1 if minus that.

    2 and -2 if that of the points scaled to c + sigma = 1, which a network sees whose input is scaled; always up to a factor that is no function
    of time. None where there is no such time, and 0 where they are none of these. The derivatives are those of a spline through the batch.
    """
    from scipy.interpolate import CubicSpline

    if batch is None or not batch.varied:
        return None
    time = batch.given if batch.given is not None else batch.told
    if time is None or alike(time):
        return None
    t, first = np.unique(time, return_index=True)
    kernel = np.stack([batch.trial.c, batch.trial.sigma], axis=1)
    if len(t) < 6 or np.abs(kernel - kernel[first][np.searchsorted(t, time)]).max() > ALIKE:
        return None
    handed = lambda trial: np.broadcast_to(trial.setting.level, trial.setting.n)[trial.row]
    times = [trial.told if batch.given is None else handed(trial) for trial in trials]
    at = np.array([times[k][p] for k, p in r.of], float)
    inside = (at >= t[0]) & (at <= t[-1])
    if not inside.any():
        return None
    p, q = r.p[inside], r.q[inside]
    for name, path in ((1, kernel[first]), (2, kernel[first] / kernel[first].sum(1, keepdims=True))):
        if sign := along(p, q, *CubicSpline(t, path)(at[inside], 1).T):
            return name * sign
    return 0


def along(p, q, c, s):
    """1 if every target p eps + q x is one positive factor times the velocity c x + s eps, c and s being derivatives; -1 if a negative one; else 0."""
    with np.errstate(all="ignore"):  # a path that stands still
        k = (p * s + q * c) / (s * s + c * c)
        off = np.hypot(p - k * s, q - k * c) / np.hypot(p, q)
    return int(np.sign(k[0])) if off.max() <= COARSE and np.ptp(k) <= COARSE * np.abs(k).max() else 0


def by_moving_time(caller, kind, r, trials, rng):
    """As `velocity`, where the loss is handed one time for a batch: the derivatives are differences of c and sigma; None where they are not known."""
    if "t" not in caller.takes or caller.known["levels"] is not None or np.ndim(trials[0].setting.level):
        return None
    slopes = []
    for trial in trials:
        at = lambda h, setting=trial.setting: noisy(caller, kind, setting._replace(level=setting.level + h), rng)
        after, before = at(STEP), at(-STEP)
        if after.trouble or before.trouble or not len(trial.c) == len(after.c) == len(before.c):
            return None
        slopes.append([after.c - before.c, after.sigma - before.sigma])  # times 2 STEP, which is one factor for all
    return along(r.p, r.q, *np.array([[slopes[k][0][p], slopes[k][1][p]] for k, p in r.of]).T)


def told_as_handed(trials):
    """Whether fn is told the time that the loss is handed, or none."""
    return all(t.told is None or np.allclose(t.told, t.setting.level) for t in trials)


STEP = 1e-4  # in time
COARSE = 0.03  # of the derivative of a spline through forty points


# ------------------------------------------------------------------------------- levels that the loss was handed


def numbers(trial):
    """The level (M,) of each point as an index into sigmas; None where the noise is of none of them."""
    sigmas = trial.setting.extras["sigmas"]
    with np.errstate(all="ignore"):
        sizes = (trial.sigma, trial.sigma / trial.c)
    return next((index for size in sizes if (index := _nearest(size, sigmas, ALIKE * sigmas)) is not None), None)


def _nearest(values, known, allowed):
    """The number (M,) of the one known value (k,) that each is; None where some are none."""
    index = np.abs(values[:, None] - known).argmin(1)
    return index if np.all(np.abs(values - known[index]) <= allowed[index]) else None


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
    none = np.abs(r.w) <= 1e-9 * np.abs(r.w).max()
    of_trial = [i if (i := numbers(t)) is not None and t.setting.levels == L else None for t in trials]
    used: dict[bool, set] = {True: set(), False: set()}  # levels of points without a weight, and with one
    for (t, p), unused in zip(r.of, none, strict=True):
        if (i := of_trial[t]) is not None:
            used[bool(unused)].add(int(i[p]))
    weightless = used[True] - used[False]
    missing = sorted((set(range(L)) - met) | weightless)
    if not missing:
        return None
    said = (_said(trials[:1], "sigma") or _said(trials[:1], "number") or ()) if trial.told is not None else ()
    told = {b for _, b, _ in said}
    if not weightless and set(missing) <= told:
        text = f"level told: fn is told {numbered('number', np.array(missing))} of sigmas, and no point has that noise: the noise is that of another level (an index off by one?)"
        return Naming(FAIL, text, f"levels {sorted(int(k) for k in met)} of {L} met in up to {BATCHES} batches")
    one = f"{_numbered(missing[0], L)} of sigmas is"
    which = one if len(missing) == 1 else f"{numbered('number', np.array(missing))} of sigmas are"
    unmet = "an upper end that randint excludes, a slice that ends too early, an index off by one?"
    why = "its weight is zero" if weightless else unmet
    text = f"level forgotten: {which} never used ({why}); the network does not learn that level"
    return Naming(FAIL, text, f"levels {sorted(int(k) for k in met)} of {L} met in up to {BATCHES} batches")


def of_one_level(r):
    """A FAIL of targets that have the same factors in all rows of a batch, of several levels, and others in the next batch; of rows without a target."""
    none, size = r.size <= 1e-9 * np.median(r.size), r.size.max()
    if 0 < none.sum() <= len(none) / 2:
        text = "rows without a target: the target of some rows is 0 (dropped, masked?), and those rows have their weight; leave them out of the loss"
        return Naming(FAIL, text, f"{none.sum()} of {len(none)} rows")
    one = lambda a, g: np.ptp(a[g]) <= ALIKE * size
    if not all(one(r.p, g) and one(r.q, g) for g in r.batches) or any(one(r.sigma, g) for g in r.batches):
        return None
    own = r.only([g[0] for g in r.batches])
    p, q = own.p, own.q
    if max(np.ptp(p), np.ptp(q)) <= ALIKE * size:  # one for all batches too: eps, x
        return None
    first_row = any(is_form(own, form) for form in RIGHT)
    text = "level of the target: the targets of all rows of a batch are made with one level, that of the first row, where each row has its own"
    if not first_row:
        text = "level of the target: the targets of all rows of a batch have the same factors, and those of the next batch others (one level for all, an average, a mean or a deviation of the batch?)"
    pattern = f"p = {p[0]:.4g} and q = {q[0]:.4g} in all rows of the first batch"
    return Naming(FAIL, text, f"{pattern}, {p[1]:.4g} and {q[1]:.4g} in the second")


def none_of_them(trials, r):
    """A FAIL if the noise that is added is of no level, and the target is of another."""
    if all(numbers(t) is not None for t in trials) or is_form(r, of_score):
        return None
    text = "levels mixed: the noise that is added is that of none of the levels, and the target does not belong to it"
    return Naming(FAIL, text, f"sigma of the points {', '.join(f'{s:.4g}' for s in trials[0].sigma[:4])}")


def _noise_of_a_power(trials, r):
    """A FAIL if the noise that is added, of none of the levels, has the square, or the root, of a sigma of the schedule for its size, and the target is that of that sigma."""
    for power, word in ((2.0, "sigma^2"), (0.5, "sqrt(sigma)")):
        fits = []
        for t, here in zip(trials, r.batches, strict=True):
            sigmas = t.setting.extras["sigmas"]
            index = _nearest(r.sigma[here] ** (1 / power), sigmas, ALIKE * sigmas)
            with np.errstate(all="ignore"):
                fits.append(index is not None and np.allclose(-1 / r.p[here], sigmas[index]))
        if all(fits):
            text = f"scale of the noise: the noise that is added has standard deviation {word} of its level, the target is that of sigma"
            return Naming(FAIL, text, f"sigma of the points {', '.join(f'{s:.4g}' for s in trials[0].sigma[:4])}")
    return None


def _numbered(k, L):
    """Level k of L in words."""
    return "the first" if k == 0 else "the last" if k == L - 1 else f"number {k}"


def which(pairs):
    """Which other level: (own, used, number of levels) of each row."""
    for step, word in ((1, "next"), (-1, "previous")):
        if all(b in ((a + step) % L, min(max(a + step, 0), L - 1)) for a, b, L in pairs):
            return f"the sigma of the {word} level: an index is off by one"
    if len({b for _, b, _ in pairs}) == 1 or all(b == L - 1 for _, b, L in pairs):
        places = {_numbered(b, L) for _, b, L in pairs}
        return f"one sigma for all levels, {places.pop() if len(places) == 1 else f'number {pairs[0][1]}'}"
    if all(b == L - 1 - a for a, b, L in pairs):
        return "sigmas in reversed order"
    if len(set(pairs)) == len({(a, L) for a, _, L in pairs}):
        return "the sigma of another level"
    return "the sigma of another row, or one drawn apart"


def target_of_another(trials, r):
    """A FAIL if the targets are made with the sigma of another level or row."""
    if np.any(np.abs(r.q) > 1e-6 * np.abs(r.p)) or is_form(r, of_score):
        return None
    with np.errstate(all="ignore"):
        candidates = (("-eps/sigma", -1 / r.p), ("(x - x~)/sigma^2", np.sqrt(np.abs(r.sigma / r.p))))
    for words, used in candidates:
        pairs = []
        for (t, p), value in zip(r.of, used, strict=True):
            own, sigmas = numbers(trials[t]), trials[t].setting.extras["sigmas"]
            if own is None:
                return _noise_of_a_power(trials, r)
            near = _nearest(value[None] * sigmas[own[p]] / trials[t].sigma[p], sigmas, ALIKE * sigmas)
            if near is None:
                break
            pairs.append((int(own[p]), int(near[0]), len(sigmas)))
        else:
            if all(a == b for a, b, _ in pairs):
                continue
            text = f"level of the target: the target {words} {'of a row ' if 'row' in which(pairs) else ''}is made with {which(pairs)}"
            return Naming(FAIL, text, "p = -1/sigma of another level")
    return None


SAME_TOLD = "the numbers that fn is told are the same at every level: right only for one model that serves all levels"


def constant(trials):
    """A note on fn that is told one number at levels that differ; ()."""
    levels = np.concatenate([np.arctan2(t.sigma, t.c)[t.sigma > 0] for t in trials])
    if alike(levels) or any(t.beside is None for t in trials):
        return ()
    return (SAME_TOLD,) * alike(np.concatenate([t.beside.ravel() for t in trials]))


def told(trials):
    """(a FAIL if fn is told the level of other rows, notes)."""
    if any(t.told is None for t in trials):
        return None, (
            "fn is not told the noise level in a form that was recognised: right only for one model that serves all levels",
        )
    if len({float(v) for t in trials for v in t.told[t.sigma > 0]}) == 1:
        return None, (SAME_TOLD,)
    for what in ("sigma", "number"):
        pairs = _said(trials, what)
        if pairs is None:
            continue
        steps = {b - a for a, b, _ in pairs}
        # from 1, or backwards
        counted = what == "number" and (len(steps) == 1 or all(b == L - 1 - a for a, b, L in pairs))
        if steps == {0} or counted:
            return None, ()
        wrong = [pair for pair in pairs if pair[0] != pair[1]]
        one_to_one = len(set(pairs)) == len({(a, L) for a, _, L in pairs})
        other = (
            which(wrong).replace("the sigma of", f"the {what} of")
            if one_to_one
            else f"the {what} of another row, or one drawn apart"
        )
        if all(np.ptp(t.told) == 0 for t in trials):
            first = all(a == b for a, b, _ in (_said([t], what)[0] for t in trials))
            of_batch = f"one {what} for all rows of a batch{', that of the first row' * first}"
            other = other if other.startswith("one") and not first else of_batch
        elif all(b == L - 1 - a for a, b, L in pairs):
            other = f"the {what}s in reversed order"
        elif one_to_one and len(wrong) < len(pairs):
            a, b, L = wrong[0]
            other = f"at some levels alone another {what} (of {L} levels that of {_numbered(b, L)} at {_numbered(a, L)}: a clamp, an end of a range?)"
        text = f"level told: fn is told {other}, not that of the noise which its point has"
        return Naming(FAIL, text, f"{len(wrong) / len(pairs):.0%} of the rows are told another level"), ()
    return None, ()


def _said(trials, what):
    """(level, level that fn is told, number of levels) of all rows, if what it is told are numbers of levels or sigmas; None if not."""
    pairs = []
    for trial in trials:
        sigmas, own = trial.setting.extras["sigmas"], numbers(trial)
        if own is None:
            return None
        values = sigmas if what == "sigma" else np.arange(len(sigmas) + 1)
        number = _nearest(trial.told, values, np.full(len(values), 1e-5 * values.max()))
        if number is None:
            return None
        pairs += [(int(a), int(b), len(sigmas)) for a, b in zip(own, number, strict=True)]
    return pairs


def shared(trials):
    """A note if all rows of a batch have one level, drawn anew for every batch."""
    if not all(np.ptp(t.sigma[t.sigma > 0]) <= ALIKE and len(t.points) == t.setting.n for t in trials):
        return ()
    return ("all rows of a batch share one level: right on average, but noisier than a level for each row",)
