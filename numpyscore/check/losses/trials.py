r"""Where a loss asks, and what it did to the data to get there: x~ = c (x + o) + sigma eps, row by row, from one call that was heard.

With the random numbers held, x~ moves by c times what x moves: that gives the row of the data behind each point, and c. What is left, x~ - c x,
is a multiple of one of the rows of numbers that the loss drew: that gives eps, and sigma. If it is none, an offset o of the data is sought with
which it is one for every point: images go to 2 x - 1 before they are noised.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

from .hearing import NORMAL
from .identify import random_probe
from .names import equal

MANY = 500  # points; more are not compared with each other
TRIED = 1e7  # numbers that pairs of rows of two draws may take


class Trial(NamedTuple):
    """One setting of a loss, and what it does there at its M points."""

    setting: Any
    points: np.ndarray  # (M, d)
    told: np.ndarray | None  # (M,), what fn is told beside them
    draws: tuple = ()
    row: np.ndarray | None = None  # (M,), the data's row behind each point
    c: Any = None  # (M,)
    sigma: np.ndarray | None = None  # (M,)
    eps: np.ndarray | None = None  # (M, d)
    source: np.ndarray | None = None  # (M, 2), number of the draw, and row in it; -1 where no draw was heard
    offset: np.ndarray | None = None  # (d,), added to all data
    scale: float = 1.0  # of data with an offset: what is noised is scale (x + offset)
    coupled: bool = False  # what is drawn goes to other rows when the data move
    factors: np.ndarray | None = None  # (M, d), by which the entries of x are multiplied, where it is not one for a row
    trouble: str = ""  # why c, sigma and eps are not known
    beside: np.ndarray | None = None  # (M, k), all that fn is told
    apart: np.ndarray | None = None  # (M, d), unit normals drawn for the points, independent of eps
    apart_of: tuple = ()  # the number of their draw, and of their n rows in it, of which no point is made
    order: np.ndarray | None = (
        None  # (n, d), the column of x behind each entry of a row, where they are exchanged (a flip)
    )

    def only(self, keep):
        """The trial of some of its points."""
        names = ("points", "told", "row", "c", "sigma", "eps", "source", "beside", "apart")
        return self._replace(**{k: a[keep] for k in names if (a := getattr(self, k)) is not None})

    @property
    def single(self):
        """Whether noise was drawn in single precision."""
        used = set() if self.source is None else {int(k) for k in self.source[:, 0] if k >= 0}
        return any(self.draws[k].value.dtype == np.float32 for k in used)

    @property
    def data(self):
        """(n, d), what x~ is c times, but for the noise."""
        return self.x if self.offset is None else self.scale * (self.x + self.offset)

    @property
    def x(self):
        """(n, d), the data with the entries of each row in the order of its points."""
        x = self.setting.x
        return x if self.order is None else np.take_along_axis(x, self.order, axis=1)

    @property
    def shift(self):
        """(M, d), x~ - c x."""
        return self.points - self.c[:, None] * self.x[self.row]

    @property
    def normals(self):
        """{number of a draw of normals: its rows of d numbers (K, d)}."""
        rows = {k: rows_of([t], self.setting.d)[0] for k, t in enumerate(self.draws) if t.law == NORMAL}
        return {k: of for k, of in rows.items() if len(of)}


def plain(caller, kind, setting, rng):
    """A `Trial` whose points are the data themselves."""
    call = caller.ask(random_probe(kind, setting.d, rng), setting)
    return Trial(setting, setting.x, None, call.draws)


def as_asked(caller, kind, setting, rng):
    """A `Trial` with the points where the loss asks, and nothing known of them."""
    call = caller.ask(random_probe(kind, setting.d, rng), setting)
    if call.points is None:
        return Trial(setting, setting.x, None, call.draws, trouble="unseen")
    return Trial(setting, call.points, call.told, call.draws, beside=call.beside)


def noisy(caller, kind, setting, rng):
    """A `Trial` with c, sigma and eps of every point; `trouble` says why not."""
    trial, probe = as_asked(caller, kind, setting, rng), random_probe(kind, setting.d, rng)
    if trial.trouble:
        return trial
    trial, centres = _centred(trial)
    again = centres(caller.ask(probe, setting))
    if again.points is None or not np.array_equal(again.points, trial.points):
        return trial._replace(trouble="not held")
    single = np.array_equal(trial.points, trial.points.astype(np.float32))
    rounded = single and not np.array_equal(setting.x, setting.x.astype(np.float32))
    eps = max(caller.eps, SINGLE) if rounded else caller.eps
    far: Any = None
    for size in (1.0, 1e-4, 1e-6):
        step = size * rng.choice([-1.0, 1.0], setting.x.shape) * rng.uniform(0.5, 1.5, setting.x.shape)
        moved = centres(caller.ask(probe, setting._replace(x=setting.x + step)))
        found, far = _scale(trial, moved, step, eps), far or (moved, step)
        if found is not None and not found[1].any() and not np.array_equal(far[0].points, trial.points):
            found = None  # a small step does not move what is rounded
        if found is not None or eps > 1e-10:
            break
    if found is None and (exchanged := _exchanged(trial, far[0], far[1], eps)) is not None:
        return exchanged
    if found is None:
        points_of = lambda x: centres(caller.ask(probe, setting._replace(x=x))).points
        found = _multiplied(trial, points_of, rng)
        return found if found.factors is not None else _translated(trial, points_of) or found
    row, c = found
    eps = max(eps, np.finfo(float).eps / (1e3 * size))  # of c, the more uncertain the smaller the step is
    c = np.where(np.abs(c - 1) <= 1e4 * eps, 1.0, c)
    trial = trial._replace(row=row, c=c, coupled=size < 1)
    return with_noise(trial, trial.shift, eps)


SINGLE = float(np.finfo(np.float32).eps)
CLOSE = 1e-3  # points nearer than this belong to one difference quotient of the user's


def _centred(trial):
    """(the trial with the middle of each group of points that lie close together in place of them, the same for other calls)."""
    points = trial.points
    if len(points) > MANY:
        return trial, lambda call: call
    near = np.abs(points[:, None] - points).max(-1) < CLOSE * np.abs(points).max()
    group = near.argmax(1)  # the first point that each lies close to
    firsts, which = np.unique(group, return_inverse=True)
    sizes = np.bincount(which)
    if sizes.min() < 2 or np.ptp(sizes):
        return trial, lambda call: call
    known = lambda a: a is not None and len(a) == len(which)
    mean = lambda a: np.array([a[which == k].mean(0) for k in range(len(firsts))]) if known(a) else None
    middle = trial._replace(points=mean(points), told=mean(trial.told), beside=mean(trial.beside))
    return middle, lambda call: call._replace(points=mean(call.points))


def _scale(trial, moved, step, eps):
    """(row of the data, c) of each point, from where it goes when the data move by `step`; None where it goes elsewhere."""
    if moved.points is None or moved.points.shape != trial.points.shape:
        return None
    change = moved.points - trial.points  # (M, d)
    c = change @ step.T / np.sum(step**2, axis=1)  # (M, n)
    left = np.abs(change[:, None] - c[..., None] * step).max(-1)
    row = left.argmin(1)
    every = np.arange(len(row))
    c, left = c[every, row], left[every, row]
    still = np.abs(change).max(1) == 0
    row = np.where(still, every % len(step), row)
    allowed = 1e3 * eps * np.abs(trial.points).max() + 1e4 * eps * np.abs(step).max()
    return None if np.any(left > allowed) else (row, np.where(still, 0.0, c))


def _exchanged(trial, moved, step, eps):
    """The trial whose points are made of the data with the entries of a row in another order, with c, sigma and eps; None where they are not."""
    if moved.points is None or moved.points.shape != trial.points.shape:
        return None
    change, every = moved.points - trial.points, np.arange(len(trial.points))
    size, of = np.sort(np.abs(change), axis=1), np.sort(np.abs(step), axis=1)
    c = np.linalg.norm(size, axis=1)[:, None] / np.linalg.norm(of, axis=1)  # (M, n)
    row = np.abs(size[:, None] - c[..., None] * of).max(-1).argmin(1)
    c, order = c[every, row], np.empty(change.shape, int)
    np.put_along_axis(order, np.argsort(np.abs(change), axis=1), np.argsort(np.abs(step[row]), axis=1), axis=1)
    left = change - c[:, None] * np.take_along_axis(step[row], order, axis=1)
    of_row = np.tile(np.arange(step.shape[1]), (len(step), 1))
    of_row[row] = order
    if np.abs(left).max() > 1e4 * eps * np.abs(trial.points).max() or not np.array_equal(of_row[row], order):
        return None
    trial = trial._replace(row=row, c=np.where(np.abs(c - 1) <= 1e4 * eps, 1.0, c), order=of_row)
    found = with_noise(trial, trial.shift, eps)
    if not found.trouble:
        return found
    back = np.argsort(order, axis=1)  # the noise may be exchanged with the data
    found = with_noise(trial, np.take_along_axis(trial.shift, back, axis=1), eps)
    return found if found.trouble else found._replace(eps=np.take_along_axis(found.eps, order, axis=1))


def _translated(trial, points_of):
    """The trial whose n points move by c times what all rows of x move by together; None where they do not.

    Noise in units of the data's standard deviation stays what it is then, and x that is centred by its batch does not move.
    """
    x, step = trial.setting.x, np.linspace(0.5, 1.0, trial.setting.d)
    moved = points_of(x + step)
    if moved is None or moved.shape != x.shape or trial.points.shape != x.shape:
        return None
    change = moved - trial.points
    c = change @ step / (step @ step)
    if np.abs(change - c[:, None] * step).max() > 1e-6 * np.abs(trial.points).max():
        return None
    trouble, c = "centred" if np.abs(c).max() <= 1e-6 else "not scaled", np.where(np.abs(c - 1) <= 1e-6, 1.0, c)
    return trial._replace(row=np.arange(len(x)), c=c, trouble=trouble)


def _multiplied(trial, points_of, rng):
    """The trial whose points do not move by one c for a row; with the factor of each entry where it is one, whatever the step."""
    x, found = trial.setting.x, []
    for _ in range(2):
        step = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.5, x.shape)
        moved = points_of(x + step)
        if moved is None or moved.shape != x.shape or trial.points.shape != x.shape:
            return trial._replace(trouble="not scaled")
        found.append((moved - trial.points) / step)
    return trial._replace(trouble="not scaled", factors=found[0] if equal(found[0], found[1], 1e-9) else None)


def with_noise(trial, shift, eps):
    """The trial with sigma and eps of shift = c offset + sigma eps, (M, d), by the draw that each row of it is a multiple of."""
    found = _multiples(trial, shift, eps)
    if found.trouble and (offset := _offset(trial, shift, eps)) is not None:
        moved = _multiples(trial, shift - trial.c[:, None] * offset, eps)
        if not moved.trouble:
            return moved._replace(offset=offset)
    if found.trouble and (two := _of_two_draws(trial, shift, eps)) is not None:
        return two
    return _multiples(trial, shift, eps, spread=True) if found.trouble else found


def _of_two_draws(trial, shift, eps):
    """The trial with sigma and eps of shift = a u + b v = sigma eps, u and v rows of two blocks of normals; None if it is not that.

    Given a and b, the unit normals (b u - a v)/sigma are independent of eps.
    """
    d = shift.shape[1]
    whole = [(block, rows) for block, rows in blocks_of(trial).items() if np.ptp(rows, axis=1).min() > 0]
    allowed = (8 * SINGLE if np.any(_single(trial, eps)) else 1e4 * eps) * np.abs(trial.points).max()
    for ((k, b), u), (_, v) in itertools.combinations(whole, 2):
        if d < 3 or len(u) * len(v) * shift.size > TRIED:
            continue
        i, j = (a.ravel() for a in np.indices((len(u), len(v))))
        basis = np.stack([u[i], v[j]], axis=-1)  # (pairs, d, 2)
        factors = np.linalg.pinv(basis) @ shift.T  # (pairs, 2, M)
        left = np.abs(basis @ factors - shift.T).max(1)
        best = left.argmin(0)
        if left.min(0).max() > allowed:
            continue
        source = np.stack([np.full(len(best), k), b * len(u) + i[best]], axis=1)
        a, b = factors[best, :, np.arange(len(best))].T[..., None]
        sigma, u, v = np.hypot(a, b), u[i[best]], v[j[best]]
        trial = trial._replace(sigma=sigma[:, 0], eps=(a * u + b * v) / sigma, source=source)
        return trial._replace(apart=(b * u - a * v) / sigma)
    return None


def blocks_of(trial):
    """{(k, b): the b-th n rows (n, d) of the k-th draw of normals}; a draw of another number of rows is one block."""
    out: dict[tuple, np.ndarray] = {}
    n = trial.setting.n
    for k, rows in trial.normals.items():
        size = n if len(rows) % n == 0 else len(rows)
        out |= {(k, b): rows[b * size : (b + 1) * size] for b in range(len(rows) // size)}
    return out


def apart_from(trial):
    """Which blocks of normals no point is made of, one for each row of the data."""
    used = {(int(k), int(j) // trial.setting.n) for k, j in trial.source if k >= 0}
    return [block for block, rows in blocks_of(trial).items() if len(rows) == trial.setting.n and block not in used]


def with_draw_apart(trial, block):
    """The trial with normals that no point is made of, as numbered in `apart_from`, beside its points; None where they are not there."""
    if block not in apart_from(trial):
        return None
    return trial._replace(apart=blocks_of(trial)[block][trial.row], apart_of=block)


def with_posterior_means(trial):
    r"""The trial whose noise and data are their means given its n noisy points, over all rows of the batch that may lie behind them; None of others.

    .. math:: w_{ij} \propto e^{-|\tilde x_i - c_i x_j|^2 / (2 \sigma_i^2)}, \qquad x \to \sum_j w_{ij} x_j
    """
    from scipy.special import softmax

    if len(trial.points) != trial.setting.n or not np.all(trial.sigma > 0):
        return None
    c, s = trial.c[:, None], trial.sigma[:, None]
    far = np.sum((trial.points[:, None] - c[..., None] * trial.data) ** 2, axis=-1)
    x = softmax(-far / (2 * s**2), axis=1) @ trial.data
    eps = (trial.points - c * x) / s
    setting = trial.setting._replace(x=x)
    return trial._replace(setting=setting, row=np.arange(len(x)), offset=None, scale=1.0, eps=eps, order=None)


def _single(trial, eps):
    """Which of the draws are in single precision or less, where the loss is in double."""
    coarse = lambda a: eps < SINGLE and a.dtype.kind == "f" and a.dtype.itemsize < 8
    return np.array([coarse(draw.value) for draw in trial.draws], bool)


def _offset(trial, shift, eps):
    """The one vector o (d,) with which shift = c o + sigma eps, eps the normals that the loss drew row by row; None if there is none.

    With P the projection that removes eps of a point, P shift = c P o: a linear system, with more equations than unknowns.
    """
    M, d = shift.shape
    if M * (d - 1) <= d or np.all(trial.c == 0):
        return None
    allowed = (8 * SINGLE if np.any(_single(trial, eps)) else 1e4 * eps) * np.abs(trial.points).max()
    for mine in trial.normals.values():
        for which in (np.arange(M) % len(mine), trial.row % len(mine)):
            unit = mine[which] / np.linalg.norm(mine[which], axis=1)[:, None]
            P = np.eye(d) - unit[:, :, None] * unit[:, None]
            A, y = (trial.c[:, None, None] * P).reshape(-1, d), np.einsum("mij,mj->mi", P, shift).ravel()
            offset, _, rank, _ = np.linalg.lstsq(A, y, rcond=1e-8)
            if rank == d and np.abs(A @ offset - y).max() <= allowed:
                return np.where(np.abs(offset) <= 1e5 * eps, 0.0, offset)
    return None


def _multiples(trial, shift, eps, spread=False):
    """The trial with sigma and eps of shift = sigma eps, (M, d); with `spread`, sigma eps but for a constant, of numbers whose mean is not 0."""
    M, d = shift.shape
    rows, of = rows_of(trial.draws, d)
    size = np.linalg.norm(shift, axis=1)
    none = size <= 64 * eps * max(1.0, np.abs(trial.points).max()) * np.sqrt(d)
    sigma, unit, source = np.zeros(M), np.zeros((M, d)), np.full((M, 2), -1)
    if len(rows):
        norm = np.sum(rows**2, axis=1)
        factor = shift @ rows.T / norm  # (M, K)
        left = np.linalg.norm(shift[:, None] - factor[..., None] * rows, axis=-1)
        own = (of[:, 1] % len(trial.setting.x) == trial.row[:, None]) & (factor > 0)  # signs have many multiples
        best = (left + 1e-9 * size[:, None] * ~own).argmin(1)
        precision = np.where(_single(trial, eps)[of[:, 0]], 8 * SINGLE, 1e4 * eps)
        for p in np.flatnonzero(~none):
            k = best[p]
            if left[p, k] <= precision[k] * max(size[p], np.abs(trial.points).max() * 1e-2):
                s = factor[p, k]
                sigma[p], unit[p], source[p] = abs(s), np.sign(s) * rows[k], of[k]
            elif spread and d > 2 and (k := _spread(shift[p], rows)) is not None:
                centred = abs(shift[p].sum()) <= 1e4 * eps * np.abs(trial.points).max()
                if trial.draws[of[k, 0]].law == NORMAL and not centred:
                    continue  # something else is added
                unit[p], source[p] = rows[k] - rows[k].mean(), of[k]
                sigma[p] = np.linalg.norm(shift[p]) / float(np.linalg.norm(unit[p]) + 1e-300)
    unknown = ~none & (source[:, 0] < 0)
    sigma[unknown], unit[unknown] = np.nan, np.nan
    source[none] = -2
    trial = trial._replace(sigma=sigma, eps=unit, source=source)
    return trial._replace(trouble="not heard") if unknown.any() else trial


def _normals_of_rows(trial):
    """All normals that were drawn row by row (M, K), each once."""
    M = len(trial.points)
    values = [np.asarray(t.value, float) for t in trial.draws if t.law == NORMAL]
    drawn = [column for a in values if a.shape[:1] == (M,) for column in a.reshape(M, -1).T]
    once = [a for k, a in enumerate(drawn) if not any(np.array_equal(a, b) for b in drawn[:k])]
    return np.array(once).reshape(-1, M).T


def mixture(trial, eps):
    """B (K, d) of noise that is a mixture of the K normals drawn for each row, x~_i - c_i x_i = sigma_i r_i B, with mean variance 1; None if it is not.

    r_i B - lambda_i (x~ - c x)_i = 0 is linear in B and lambda_i = 1/sigma_i, and many rows determine them up to a factor.
    """
    if trial.trouble != "not heard":
        return None
    r, shift = _normals_of_rows(trial), trial.shift
    (M, K), d = r.shape, shift.shape[1]
    if K == 0 or M * d <= K * d + M or not np.all(np.any(shift, axis=1)):
        return None
    A = np.zeros((M, d, K * d + M))
    for a in range(d):
        A[:, a, a : K * d : d] = r
    A[np.arange(M), :, K * d + np.arange(M)] = -shift / np.abs(shift).max()
    _, sizes, V = np.linalg.svd(A.reshape(M * d, -1), full_matrices=False)
    if sizes[-1] > _closeness(trial, eps) * sizes[0] or sizes[-2] < 1e-6 * sizes[0]:
        return None
    B = V[-1, : K * d].reshape(K, d) * np.sign(V[-1, K * d :].sum())
    return B * np.sqrt(d / np.sum(B**2))


def with_mixture(trial, B, eps):
    """The trial with sigma and eps = r B of the normals r that it drew; None where they do not explain it."""
    r, shift = _normals_of_rows(trial), trial.shift
    if r.shape[1] != len(B):
        return None
    unit = r @ B
    sigma = np.sum(shift * unit, axis=1) / np.sum(unit**2, axis=1)
    if not equal(shift, sigma[:, None] * unit, _closeness(trial, eps)) or np.any(sigma <= 0):
        return None
    return _made_of(trial, sigma, unit)


def _made_of(trial, sigma, eps):
    """The trial with sigma and eps that are made of the normals which it drew first."""
    first = next(k for k, t in enumerate(trial.draws) if t.law == NORMAL)
    source = np.stack([np.full(len(sigma), first), trial.row], axis=1)
    return trial._replace(sigma=sigma, eps=eps, source=source, trouble="")


def by_entry(trial):
    """(sigma (M, d) of each entry, the normals (M, d)) of x~ - c x, by the draw of normals of which the entries are a few multiples; None."""
    if trial.c is None or len(trial.points) != trial.setting.n or trial.setting.d < 2:
        return None
    shift = trial.shift
    for rows in trial.normals.values() if np.any(shift) else ():
        if rows.shape == trial.setting.x.shape and np.all(rows):
            sizes = np.abs(shift / rows[trial.row])
            _, which, often = np.unique(np.round(sizes / sizes.max(), 6), return_inverse=True, return_counts=True)
            if len(often) <= sizes.size / 2 and np.any(often[which.reshape(sizes.shape)] > 1, axis=1).all():
                return sizes, rows[trial.row]
    return None


def by_column(trial):
    """(the trial with sigma and eps, C (d, d)) of noise whose dimensions have sizes of their own, sigma_i f_j; None where it is none."""
    if trial.trouble not in ("not scaled", "not heard") or (found := by_entry(trial)) is None:
        return None
    sizes, normals = found
    sigma = np.sqrt(np.mean(sizes**2, axis=1))
    f = sizes / np.where(sigma > 0, sigma, 1.0)[:, None]
    if np.ptp(f, axis=0).max() > 1e-6 or np.ptp(f[0]) <= 1e-6:
        return None
    return _made_of(trial, sigma, f[0] * normals), np.diag(f[0] ** 2)


def _closeness(trial, eps):
    """What a mixture may be off by, relative."""
    return 8 * SINGLE if eps > 1e-10 or np.any(_single(trial, eps)) else 1e-9


def _spread(shift, rows):
    """Number of the row that a shift is a multiple of but for a constant, None if there is none."""
    centred, off = rows - rows.mean(1, keepdims=True), shift - shift.mean()
    norm = np.maximum(np.sum(centred**2, axis=1), 1e-300)
    left = np.linalg.norm(off - (centred @ off / norm)[:, None] * centred, axis=1)
    return int(left.argmin()) if left.min() <= 1e-6 * np.linalg.norm(off) else None


def rows_of(draws, d):
    """All rows of d numbers in what was drawn: (K, d), and where each comes from (K, 2)."""
    rows, of = [], []
    for k, draw in enumerate(draws):
        a = np.asarray(draw.value, float)
        fits = a.size and a.size % d == 0 and a.shape and draw.law != "integers" and _ends_with(a.shape, d)
        wide = a.reshape(-1, d) if fits else None
        if wide is None and a.ndim == 2 and a.shape[0] == d and draw.law == NORMAL:
            wide = a.T  # drawn as (d, n)
        if wide is None and a.ndim and a.size and (a.shape[-1] == 1 or a.ndim == 1) and draw.law == NORMAL:
            wide = np.repeat(a.reshape(-1, 1), d, axis=1)  # one number for all dimensions of a row
        if wide is not None:
            rows.append(wide)
            of += [(k, j) for j in range(len(wide))]
    all_rows = np.concatenate(rows) if rows else np.empty((0, d))
    used = np.sum(all_rows**2, axis=1) > 0
    return all_rows[used], np.array(of).reshape(-1, 2)[used]


def _ends_with(shape, d):
    """Whether the last axes of a shape hold d numbers."""
    size = 1
    for n in reversed(shape):
        size *= n
        if size >= d:
            return size == d
    return False
