"""What a denoising loss does to its data: maps, mixtures and sizes of the noise that explain its points, and what is wrong with them."""

import contextlib

import numpy as np

from ..report import FAIL, INCONCLUSIVE, PASS
from .hearing import GIVEN, NORMAL
from .identify import identify
from .levels import function_of, widened
from .names import Naming, alike, equal
from .trials import SINGLE, as_asked, by_column, by_entry, mixture, noisy, with_mixture

MANY = 1000
SIGMAS = 6.0


def known(caller, kind, settings, rng):
    """(a `Trial` of each setting with all that can be known of its noise, the covariance C of each if the noise is a mixture, notes)."""
    trials = [noisy(caller, kind, s, rng) for s in settings]
    if any(t.trouble == "unseen" for t in trials) and not caller.uncompiled:
        caller.uncompiled = True
        trials = [noisy(caller, kind, s, rng) for s in settings]
    covariances, unheard = (), all(t.trouble == "not heard" for t in trials)
    mixed, scaled = _mixed(caller, kind, trials, rng) if unheard else None, [by_column(t) for t in trials]
    if mixed is not None:
        trials, covariances = mixed
    elif all(s is not None for s in scaled):
        trials, covariances = [s[0] for s in scaled], tuple(s[1] for s in scaled)
    elif unheard:
        trials = _inferred(caller, kind, trials, rng)
    trials, mapped = _of_mapped_data(trials)
    turned = (EXCHANGED,) * any(t.order is not None for t in trials)
    return trials, covariances, (*mapped, *turned)


EXCHANGED = "another convention: the entries of a row of x stand in another order in its noisy points (flipped, permuted?): a score learnt there is that of data so changed"


def _of_mapped_data(trials):
    """(the trials with c beside scale (x + offset), notes) of a loss that maps its data affinely before they are noised.

    The scale is what makes all c one, or the kernel variance preserving, or a straight line; 1 where nothing does.
    """
    if not any(t.offset is not None for t in trials):
        return trials, ()
    c, s = (np.concatenate([getattr(t, k) for t in trials if t.offset is not None]) for k in ("c", "sigma"))
    # c = k a, with a 1, sqrt(1 - sigma^2) or 1 - sigma, to single precision of 1: a schedule may be kept in it
    kernels = [np.ones_like(c), np.sqrt(np.maximum(1 - s**2, 0)), 1 - s]
    factors = [float(c @ a / max(a @ a, 1e-300)) for a in kernels]
    close = [
        np.abs(c**2 - (k * a) ** 2).max() <= 8 * SINGLE * np.abs(c).max() ** 2
        for k, a in zip(factors, kernels, strict=True)
    ]
    scale = next((k for k, fits in zip(factors, close, strict=True) if fits and k), 1.0)
    scale = float(np.round(scale)) if abs(scale - np.round(scale)) <= SINGLE * abs(scale) and round(scale) else scale
    rest = [np.where(np.abs(t.c / scale - 1) <= SINGLE, 1.0, t.c / scale) for t in trials if t.c is not None]
    of = iter(rest)
    trials = [t if t.c is None else t._replace(c=next(of), scale=scale) for t in trials]
    words = list(dict.fromkeys(map_in_words(t) for t in trials if t.offset is not None))
    added = np.concatenate([t.scale * t.offset for t in trials if t.offset is not None])
    words = words[:1] if alike(added, 8 * SINGLE) else words
    note = f"another convention: the data are mapped to {words[0]} before the noise is added; a score learnt there is that of the mapped data"
    if len(words) > 1:
        note = "another convention: beside c x + sigma eps the noisy points have a constant, another one at other levels (a path to a mean, noise with a mean?); a score learnt there is that of those points"
    return trials, (note,)


def map_in_words(trial):
    """scale (x + offset) in words."""
    b = trial.scale * trial.offset
    x = "x" if trial.scale == 1 else f"{trial.scale:.6g} x"
    return f"{x} {'-' if b[0] < 0 else '+'} {abs(b[0]):.6g}" if alike(b, 1e-9) else f"{x} + a constant vector"


def _mixed(caller, kind, trials, rng):
    """(the trials, C (d, d) of each) of noise that is a mixture of the normals that were drawn, eps_i = r_i B with one B for all rows; None.

    C = B^T B, its mean variance 1. B is found from many rows, and must hold in the trial itself.
    """
    out = []
    for trial in trials:
        B = mixture(widened(caller, kind, trial.setting, rng), caller.eps)
        mixed = None if B is None else with_mixture(trial, B, caller.eps)
        if mixed is None:
            return None
        out.append((mixed, B.T @ B))
    return tuple(zip(*out, strict=True))


def _inferred(caller, kind, trials, rng):
    """Trials whose noise was not heard, with the one size known here that many rows have; as they were if there is none."""
    sizes = (
        lambda t: np.broadcast_to(t.setting.level, t.c.shape),  # told
        lambda t: np.sqrt(np.maximum(1 - t.c**2, 0)),  # variance preserving
        lambda t: 1 - t.c,  # straight
    )
    first = trials[0].setting
    if np.ndim(first.level):
        return trials
    x = 0.3 + 1.2 * rng.standard_normal((MANY, first.d))
    many = trials[0]._replace(trouble="too many")
    with contextlib.suppress(Exception):  # what it keeps may be for so many rows, and no more
        many = noisy(caller, kind, first._replace(n=MANY, x=x, extras=first.extras | {"noise": x}), rng)
    if many.trouble != "not heard":
        return trials
    for size in sizes:
        with np.errstate(all="ignore"):
            z = many.shift / size(many)[:, None]
        off = lambda power, mean, spread, z=z: abs(np.mean(z**power) / mean - 1) / np.sqrt(spread / z.size)
        if not np.all(np.isfinite(z)) or max(off(2, 1, 2), off(4, 3, 11)) > SIGMAS:
            continue
        if np.abs(z.T @ z / len(z) - np.eye(first.d)).max() > SIGMAS * np.sqrt(2 / len(z)):
            return [t._replace(trouble="correlated") for t in trials]
        return [_of_size(t, np.array(size(t), float)) for t in trials]
    return trials


def _of_size(trial, sigma):
    """The trial with noise that was not heard, of known size."""
    source = np.full((len(sigma), 2), -3)
    return trial._replace(sigma=sigma, eps=trial.shift / sigma[:, None], source=source, trouble="inferred")


# ------------------------------------------------------------------------------- what is wrong with the points


def perturbation(caller, trials):
    """The FAIL of the first rule that finds something wrong with the noisy points themselves; None."""
    said = next((said for rule in RULES if (said := rule(caller, trials))), None)
    return None if said is None else Naming(FAIL, *said)


def _shifts(trials):
    """x~ - c x (M, d) and the row of the data (M,) of the points that have noise, of each trial in which c is known."""
    for t in (t for t in trials if t.c is not None and t.setting.d > 1):
        use = np.abs(t.shift).max(1) > 1e-9 * np.abs(t.points).max()
        if use.any():
            yield t.shift[use], t.row[use]


def _signs(shift):
    """Whether all entries of a row have one size, so that rows and columns may be equal by chance."""
    return bool(np.ptp(np.abs(shift), axis=1).max() <= 1e-6 * np.abs(shift).max())


def _heard(trials):
    """The trials if the noise of all points is known; ()."""
    return trials if all(t.sigma is not None and not t.trouble for t in trials) else ()


def _points_rounded(caller, trials):
    """Points of whole numbers, or of the 256 values of a picture from 0 to 1, or from -1 to 1."""
    if all(t.trouble in ("", "inferred") or not np.any(t.points) for t in trials):
        return None
    for unit, what in ((1, "whole numbers"), (255, "whole multiples of 1/255")):
        off = lambda t, unit=unit: t.points - np.round(t.points * unit) / unit
        if all(np.abs(off(t)).max() <= 1e-6 * np.abs(t.points).max() for t in trials):
            text = f"rounded points: the noisy points are {what} (an integer dtype, a picture of uint8, wrapped or clipped where such a type ends?); they are not c x + sigma eps"
            return text, f"x~ are {what}"
    return None


def _points_clipped(caller, trials):
    if all(t.trouble in ("", "inferred") for t in trials):
        return None
    ends = [(t.points.min() - t.setting.x.min(), t.points.max() - t.setting.x.max()) for t in trials]
    if all(low >= 0 >= high for low, high in ends) and np.sum(np.equal(ends, 0)) > len(trials):
        text = "bounded points: the noisy points stay within the range of the batch, and its least and its largest number are among them (clipped or clamped, swapped between rows, masked?); they are not c x + sigma eps"
        return text, "the least and the largest number of the noisy points are those of x"
    edges = ((np.abs(t.points).max(), np.abs(t.points)) for t in trials)
    edge = next((edge for edge, sizes in edges if np.sum(sizes == edge) > 2), None)
    if edge is None:
        return None
    text = f"bounded points: several entries of the noisy points stand at {edge:.4g} (clipped or clamped, divided by their largest, set to an end of the range?); they are not c x + sigma eps"
    return text, f"several entries stand at {edge:.4g}"


NO_NOISE = "dimensions without noise: some entries of the points get no noise (columns, a mask?)"


def _data_multiplied(caller, trials):
    """Noise that multiplies the data: x~ = (a + b z) x + ..., entry by entry, with normals z that were drawn."""
    for t in trials:
        if t.factors is None:
            return None
        rows = np.concatenate([np.empty((0, t.setting.d)), *t.normals.values()])
        off = t.factors - t.factors.mean(1, keepdims=True)
        along = rows - rows.mean(1, keepdims=True)
        with np.errstate(all="ignore"):
            k = off @ along.T / np.sum(along**2, axis=1)  # (M, K)
            left = np.abs(off[:, None] - k[..., None] * along).max(-1)
        if not len(rows) or t.setting.d < 3 or np.nanmin(left, axis=1).max() > 1e-6 * np.abs(off).max():
            return None
    text = "noise that multiplies the data: the noisy points are (a + b z) x, entry by entry, with the noise z; their law given x has the size of x in it, and its score is not -eps/sigma"
    return text, "x~ moves by a + b z times what x moves"


def _columns_without_noise(caller, trials):
    columns = [np.abs(t.shift).max(0) for t in trials if t.c is not None]
    some = bool(columns) and all(np.any(c == 0) and np.any(c > 0) for c in columns)
    return (NO_NOISE, "x~ = c x in some columns") if some else None


def _entries_changed(caller, trials):
    """Points that are c x + sigma eps but for some entries."""
    what = [text for t in trials if t.sigma is not None for text in _changes(t)]
    if what.count("zero") > len(what) / 4:
        return NO_NOISE, "x~ = c x there"
    often = max(set(what), key=what.count, default="")
    if what.count(often) <= 2:
        return None
    if often.startswith("at"):
        text = f"clipped points: the noisy points are clipped (clamped) {often}; they are not c x + sigma eps, and their law is no Gaussian perturbation"
        return text, f"{what.count(often)} entries stand {often}"
    text = f"clipped noise: the noise is clipped (truncated) at {often} standard deviations; the score of the noisy points is the mean of -eps/sigma for Gaussian noise alone"
    return text, f"{what.count(often)} entries stand there"


def _changes(trial):
    """Of entries that are not sigma eps, where others of their row are: "zero", or the number in place of eps, and "at" the point."""
    rows = np.concatenate([np.empty((0, trial.setting.d)), *trial.normals.values()])
    for p in np.flatnonzero(np.isnan(trial.sigma)) if len(rows) else ():
        shift = trial.shift[p]
        with np.errstate(all="ignore"):
            ratio = shift / rows  # (K, d)
            same = np.abs(ratio[:, :, None] / ratio[:, None] - 1) <= 1e-6
        agree = same.sum(2)
        if agree.max() < 2:
            continue
        k, j = np.unravel_index(agree.argmax(), agree.shape)
        off = ~same[k, j]
        size = np.abs(np.where(np.abs(shift) <= 1e-12, 0, shift / ratio[k, j]))
        yield from ("zero" if v == 0 else f"{v:.6g}" for v in size[off])
        yield from (f"at {v:.6g}" for v in np.abs(trial.points[p, off]))


def _levels_of_entries(caller, trials):
    """Entries of one point with noise of different levels, beside which fn is told one."""
    several = [t for t in trials if t.trouble in ("not heard", "not scaled") and t.told is not None]
    found = [_sizes_of_entries(t) for t in several]
    if 2 * len(several) <= len(trials) or any(one is None for one in found) or caller.unread:
        return None
    for t, sizes in zip(several, found, strict=True):
        at = np.round(sizes / sizes.max(), 6)
        often = np.unique(at, return_counts=True)[1].max()  # one size, but for entries that are clipped
        if not at.all() or np.all(at == at[:, :1]) or (t.setting.levels == 1 and 2 * often > at.size):
            return None
        sigmas = t.setting.extras["sigmas"]
        if t.setting.levels > 1 and np.abs(sizes[..., None] - sigmas).min(-1).max() > 1e-6 * sigmas.max():
            return None
    text = "levels mixed: the entries of a point have noise of different levels, where one level belongs to all of a row (it is drawn for each entry, or broadcast over the wrong axis?)"
    return text, f"sigmas of the first point {np.array2string(found[0][0], precision=4)}"


def _sizes_of_entries(trial):
    """sigma (n, d) of the entries of the points of n rows: a few numbers, or a function of other numbers that were drawn, entry by entry; None."""
    if (few := by_entry(trial)) is not None:
        return few[0]
    c = trial.factors if trial.c is None else trial.c[:, None]
    if c is None or trial.points.shape != trial.setting.x.shape:
        return None
    shift = trial.points - c * trial.setting.x
    others = {k: t.value.ravel().astype(float) for k, t in enumerate(trial.draws) if t.value.size == shift.size}
    for mine, rows in trial.normals.items():
        if rows.shape == shift.shape and np.all(rows):
            sizes = np.abs(shift / rows)
            # in the logarithm: a quotient of normals has outliers, beside which anything is smooth
            if np.all(sizes) and any(
                function_of(np.log(sizes).ravel(), other) for k, other in others.items() if k != mine
            ):
                return sizes
    return None


def _changed_by_entry(caller, trials):
    """Noise of one level whose entries are functions of the normals that were drawn, and no multiples of them."""
    strange = [t for t in trials if t.trouble == "not heard"]  # of few entries all may be cast to 0
    if 2 * len(strange) < len(trials):
        return None
    for t in strange:
        if t.setting.levels > 1 or t.c is None or len(t.points) != t.setting.n:
            return None
        if caller.unread and _sizes_of_entries(t) is not None:  # a level for each entry
            return None
        drawn = [rows[t.row] for rows in t.normals.values() if rows.shape == t.setting.x.shape]
        multiple = lambda rows, t=t: equal(t.shift, np.vdot(t.shift, rows) / np.vdot(rows, rows) * rows)
        if not any(function_of(t.shift.ravel(), rows.ravel()) and not multiple(rows) for rows in drawn):
            return None
    text = "noise changed: each entry of the noise is a function of the normal number that was drawn, and not its multiple (cast to integers, a power, an absolute value, a tanh?): it is not Gaussian"
    return text, "x~ - c x is a function of the numbers drawn, entry by entry"


def _accumulated(caller, trials):
    """Noisy batches one after the other, each made of the one before, whose fn is told the level of the last step."""
    seen = []
    for t in trials:
        (n, d), values = t.setting.x.shape, [np.asarray(draw.value, float) for draw in t.draws if draw.law == NORMAL]
        normals = [a.ravel() for a in values if a.size == n * d]
        steps = len(normals)
        if t.trouble != "not heard" or t.c is None or t.told is None or steps < 2 or len(t.points) != steps * n:
            return None
        shift = t.shift.reshape(steps, -1).T  # (n d, steps)
        made, left, *_ = np.linalg.lstsq(np.stack(normals, axis=1), shift, rcond=None)
        nested = np.array_equal(np.abs(made) > 1e-6, np.triu(np.ones_like(made)))
        told, sigmas = t.told.reshape(steps, -1)[:, 0], t.setting.extras.get("sigmas", ())
        if np.isin(told, np.arange(len(sigmas))).all():  # numbers of levels
            told = sigmas[told.astype(int)]
        if not nested or np.any(left > 1e-12 * np.sum(shift**2)) or not np.allclose(told, np.diagonal(made)):
            return None
        seen = [np.linalg.norm(made, axis=0), told]
    text = "noise accumulates: each noisy batch is made of the one before, so that a point has the noise of all steps so far, of standard deviation sqrt(sum sigma^2), and fn is told the level of the last step"
    return text, "standard deviations {}, told {}".format(*(np.array2string(a, precision=4) for a in seen))


def _of_one_length(caller, trials):
    """Normals of different lengths, and noise that has one length in all rows, of one level."""
    several = [t for t in _heard(trials) if t.setting.levels == 1 and not np.ndim(t.setting.level) and len(t.eps) > 1]
    norms = [(np.linalg.norm(t.shift, axis=1), np.linalg.norm(t.eps, axis=1)) for t in several if t.setting.d > 1]
    if not norms or any(a.min() <= 0 or np.ptp(a) > 1e-6 * a.max() or np.ptp(b) < 1e-3 * b.max() for a, b in norms):
        return None
    text = "noise normalised: the noise has one length in all rows, it is divided by its norm; it lies on a sphere, and is not normal"
    return text, f"|x~ - c x| = {norms[0][0][0]:.4g} in all rows"


def _coordinates_shared(caller, trials):
    groups = []
    for shift, _ in _shifts(trials):
        apart = np.abs(shift[:, :, None] - shift[:, None]).max(0)
        same = apart <= 1e-6 * np.abs(shift).max() if len(shift) > 1 else np.eye(1)
        groups.append([list(map(int, g)) for g in dict.fromkeys(tuple(np.flatnonzero(row)) for row in same)])
    if not groups or any(all(len(g) == 1 for g in group) for group in groups):
        return None
    if all(len(group) == 1 for group in groups):
        return "shared noise: every dimension of a row gets the same noise", "x~ - c x is the same in all columns"
    if any(_signs(shift) for shift, _ in _shifts(trials)):
        return None
    which = ", ".join(map(str, groups[0]))
    text = "shared noise: some coordinates of a row get the same noise: it is drawn for a part of the shape (one channel, one row of pixels?), and broadcast"
    return text, f"x~ - c x is the same in the columns {which}"


def _rows_shared(caller, trials):
    found = []
    for shift, row in _shifts(trials):
        unit = shift / np.linalg.norm(shift, axis=1)[:, None]
        twins = (np.abs(unit[:, None] - unit).max(-1) <= 1e-6) & (row[:, None] != row)
        found.append(1.0 if (twins | (row[:, None] == row)).all() and twins.any() else 0.5 * twins.any(1).all())
    if not found or not all(found) or (min(found) < 1 and any(_signs(shift) for shift, _ in _shifts(trials))):
        return None
    if min(found) == 1:
        return "shared noise: every row gets the same noise; draw one for each row", "x~ - c x is the same in all rows"
    text = "shared noise: different rows of the batch get the same noise (it is drawn for a part of the batch, and repeated, or its numbers are fixed nodes?)"
    return text, "x~ - c x is the same in several rows"


def _centred_over_rows(caller, trials):
    several = [shift for shift, row in _shifts(trials) if len(set(row.tolist())) > 2]
    for shift in several:
        antithetic = np.abs(shift[:, None] + shift).max(-1) <= 1e-6 * np.abs(shift).max()
        if np.abs(shift.sum(0)).max() > 1e-9 * np.abs(shift).max() or antithetic.any(1).all():
            return None
    if not several:
        return None
    text = "noise centred: the mean over the batch is taken from the noise: its rows depend on each other, and have the variance 1 - 1/n"
    return text, "the sum of x~ - c x over the rows is 0"


def _data_or_noise_alone(caller, trials):
    known = [t for t in trials if t.sigma is not None]
    if known and all(np.all(t.c == 0) for t in known):
        still = all(np.all(t.sigma == 0) for t in known)
        return "data not used: the points at which fn is asked do not depend on x", "x~ = 0" if still else "x~ = noise"
    if known and all(np.all(t.sigma == 0) for t in known):
        text = "clean point: the score is taken at the clean x, never at the noisy x + sigma eps"
        return text, "fn was asked at x and nowhere else"
    return None


def _given_noise_not_used(caller, trials):
    """Notes, no FAIL: what its target belongs to is another question."""
    if "noise" not in caller.takes or not _heard(trials):
        return None
    name = caller.takes["noise"][0]
    text = f"the noise of the points is not what was given as {name}"
    if GIVEN["noise"] not in {d.name for d in _sources(trials)}:
        caller.notes.add(f"{text}: another is drawn (or is {name} meant to be something else?)")
    elif any(np.any(t.source[t.sigma > 0, 1] % t.setting.n != t.row[t.sigma > 0]) for t in trials):
        caller.notes.add(f"{text}, row by row: rows have the noise of other rows")
    return None


def _not_gaussian(caller, trials):
    odd = sorted({d.name for d in _sources(_heard(trials)) if d.law != NORMAL} - ORDERED)
    text = f"not Gaussian: the score of the noisy points is the mean of -eps/sigma for Gaussian noise alone, and the noise is drawn by {', '.join(odd)}"
    return (text, "the draws were heard") if odd else None


ORDERED = {"permuted", "permutation", "shuffle"}  # which put numbers in another order that were there before


def _sources(trials):
    """The draws that are the noise of some points."""
    return [t.draws[k] for t in trials for k in {int(k) for k in t.source[t.sigma > 0, 0]}]


RULES = (
    _data_multiplied, _points_rounded, _points_clipped, _columns_without_noise, _levels_of_entries, _entries_changed, _changed_by_entry, _accumulated, _of_one_length, _coordinates_shared, _rows_shared, _centred_over_rows,
    _data_or_noise_alone, _given_noise_not_used, _not_gaussian,
)  # fmt: skip


def drawn(caller, kind, trials, rng):
    """A FAIL of noise that is the same in every call, or that comes from the random numbers of something else."""
    trial = trials[0]
    if "noise" not in caller.takes:
        other = as_asked(caller, kind, trial.setting._replace(seed=trial.setting.seed + 7), rng)
        normals = [k for k, draw in enumerate(trial.draws) if draw.law == NORMAL]
        used = normals if trial.source is None else [int(k) for k in trial.source[trial.sigma > 0, 0] if k >= 0]
        again = len(other.draws) == len(trial.draws)
        same = bool(used) and again and all(np.array_equal(trial.draws[k].value, other.draws[k].value) for k in used)
        if same or np.array_equal(other.points, trial.points):
            text = "fixed noise: another seed gives the same noise; it never changes (a generator or key made anew inside the loss, or numbers that are kept?), and the network learns one noise for each row"
            return Naming(FAIL, text, f"another seed, the same {'numbers' if same else 'points'}")
    return one_key(trials)


def one_key(trials):
    """A FAIL of two different draws that come from one key, or one state."""
    for draws in (t.draws for t in trials):
        keyed = [
            (d.key, d.value.shape, d.name) for d in draws if d.key is not None and np.any(d.value != d.value.flat[:1])
        ]
        for k, (key, *what) in enumerate(keyed):
            if any(key == other and what != more for other, *more in keyed[:k]):
                text = "one key: two different draws of the loss come from one key, or one state; what they give is not independent (the time and the noise, say): split the key"
                return Naming(FAIL, text, f"{what[1]} {what[0]} from the key of an earlier draw")
    return None


MEANT = {  # what fn may be said to predict of points with correlated noise, where that is known
    "score": "the score of the points, which is -C^-1 (x~ - c x)",
    "eps": "the noise that was added",
    "x": "the clean x",
}
UNEVEN = "noise of other sizes: the noise has another standard deviation in each dimension of a row, a covariance C that is diagonal and no multiple of the identity"
JOINED = "correlated noise: the noise has a covariance C between the coordinates of a row that is no multiple of the identity"


def correlated(caller, trials, covariances, tables):
    """The `Naming` of correlated noise, of covariance sigma^2 C: the score of such points is -C^-1 (x~ - c x)/sigma^2."""
    predicts, forms, sizes = caller.known["predicts"], [], []
    uneven = all(equal(C, np.diag(np.diag(C))) for C in covariances)
    joined = UNEVEN if uneven else JOINED
    for trial, C, table in zip(trials, covariances, tables, strict=True):
        found = identify(table, jacobian=False)
        if not found.fit.near:
            return Naming(INCONCLUSIVE, f"{joined}; what fn is pulled to was not read off", "")
        weights = np.linalg.eigvalsh(found.own)
        if weights.min() <= 1e-9 * weights.max():
            return Naming(INCONCLUSIVE, f"{joined}; some rows or dimensions have no weight, or one below 0", "")
        target, eps, sigma = -np.linalg.solve(found.own, found.b[..., None])[..., 0], trial.eps, trial.sigma[:, None]
        along = np.sum(target * eps, axis=1, keepdims=True) / np.sum(eps**2, axis=1, keepdims=True)
        known = {"score": -eps @ np.linalg.pinv(C) / sigma, "eps": along * eps, "x": trial.data[trial.row]}
        forms.append(next((form for form, right in known.items() if equal(target, right)), ""))
        sizes += along.ravel().tolist()
    pattern = f"covariance of the noise over its mean variance, first row {np.array2string(np.round(covariances[-1][0], 3) + 0.0)}"
    form = forms[0] if len(set(forms)) == 1 else ""
    if form == "score" and predicts in (None, "score"):
        note = f"another convention: {joined}, and the target is its score -C^-1 (x~ - c x)"
        return Naming(PASS, "", pattern, (note,))
    if predicts == form == "x" or (predicts == form == "eps" and min(sizes) > 0 and alike(sizes)):
        note = f"another convention: {joined}, and fn predicts {'the noise' if form == 'eps' else 'x'}; the score is C^-1 times what it is for independent noise"
        return Naming(PASS, "", pattern, (note,))
    if not caller.free or predicts in MEANT:
        return Naming(FAIL, f"{joined}; the target is not {MEANT.get(predicts, MEANT['score'])}", pattern)
    text = f"{joined}; the score of the points is -C^-1 (x~ - c x), and the target is something else; say predicts='eps' if it is that noise itself"
    return Naming(INCONCLUSIVE, text, pattern)
