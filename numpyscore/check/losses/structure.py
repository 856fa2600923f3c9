"""What is said of a loss that its right terms do not explain, by its arrays A, b and C, or by how it behaves: two tables of rules, read from the top."""

import numpy as np

from ..report import FAIL
from . import controls
from .identify import Answers, identify
from .names import LINEAR, Naming
from .trials import Trial, as_asked

SMALL = 1e-6
MONOTONE = 40  # models; others are in order by chance once in 40!


def shape_of(found):
    """The `Naming` of a loss by the pattern of its arrays, None if it has none that is known here."""
    own, b, C = found.own, found.b, found.C
    size = max(np.abs(found.A).max(), 1e-300)
    for rule in RULES:
        said = rule(found, own / size, b / size, C / size)
        if said:
            return Naming(FAIL, *said)
    return None


def _rows_interact(found, A, b, C):
    if found.cross <= SMALL:
        return None
    whole = found.A / np.abs(found.A).max()
    M, d = b.shape
    same = np.einsum("iaja->ij", whole) / d
    off = same[~np.eye(M, dtype=bool)]
    pattern = f"A between rows {off.min():.3g} to {off.max():.3g}, within {np.diag(same).min():.3g} to {np.diag(same).max():.3g}"
    if np.ptp(same) <= SMALL:
        return "rows interact: scores are averaged over the batch before they are squared", pattern
    if np.ptp(off) <= SMALL and np.ptp(np.diag(same)) <= SMALL:
        return (
            "rows interact: the mean over the batch is taken from each row (centred or normalised by batch statistics), or rows are paired with all others by broadcasting",
            pattern,
        )
    return "rows interact: the square has products of the scores of different rows; a loss is a mean over rows", pattern


def _coordinates_joined(found, A, b, C):
    d = A.shape[-1]
    diagonal = np.einsum("iaa->ia", A)
    off = A - diagonal[:, :, None] * np.eye(d)
    if np.abs(off).max() <= SMALL:
        return None
    ratio = off[:, 0, 1] / np.where(diagonal[:, 0] == 0, np.inf, diagonal[:, 0])
    ones = np.allclose(A, A[:, :1, :1], atol=SMALL)
    text = (
        "summed before the square: the entries of a row are added first, and then squared"
        if ones
        else "coordinates joined: the square has products of different entries of the score"
    )
    return f"wrong square: {text}", f"A of a row: off its diagonal {ratio[0]:.3g} of the diagonal"


def _left_out(found, A, b, C):
    diagonal = np.abs(np.einsum("iaa->ia", A))
    zero = diagonal <= SMALL
    if not zero.any() or zero.all():
        return None
    rows, columns = np.flatnonzero(zero.all(1)), np.flatnonzero(zero.all(0))
    if len(rows):
        which = (
            "the last row of the batch is"
            if rows.tolist() == [len(zero) - 1]
            else "the first row of the batch is"
            if rows.tolist() == [0]
            else f"rows {rows.tolist()} of the batch are"
        )
        return f"rows left out: {which} never squared", f"A = 0 in rows {rows.tolist()}"
    if len(columns):
        d = zero.shape[1]
        which = (
            "the last dimension is"
            if columns.tolist() == [d - 1]
            else "the first dimension is"
            if columns.tolist() == [0]
            else f"dimensions {columns.tolist()} are"
        )
        return f"dimensions left out: {which} never squared", f"A = 0 in dimensions {columns.tolist()}"
    return "entries left out: some entries of the score are never squared", f"A = 0 at {np.argwhere(zero)[0].tolist()}"


def _weights_apart(found, A, b, C):
    w, k, d = np.einsum("iaa->i", A), np.einsum("iaa->i", C), A.shape[-1]
    if np.abs(k).max() <= SMALL or np.abs(w).max() <= SMALL:
        return None
    if np.abs(C - k[:, None, None] / d * np.eye(d)).max() > SMALL * np.abs(C).max():
        return None
    if np.ptp(w) > SMALL * np.abs(w).max() and np.ptp(k) <= SMALL * np.abs(k).max():
        return (
            "weights at one term: the rows are weighted in the square alone, and not in the other term",
            f"weights {_few(w / w.mean())}",
        )
    if np.ptp(k) > SMALL * np.abs(k).max() and np.ptp(w) <= SMALL * np.abs(w).max():
        return (
            "weights at one term: the rows are weighted in the other term alone, and not in the square",
            f"weights {_few(k / k.mean())}",
        )
    return None


def _entries(found, A, b, C):
    mean = C.mean(0)
    d = len(mean)
    if np.abs(C).max() <= SMALL:
        return None
    if np.abs(C - mean).max() > SMALL * np.abs(C).max():
        own = np.abs(C - np.einsum("iaa->i", C)[:, None, None] / d * np.eye(d)).max() <= SMALL * np.abs(C).max()
        text = "wrong trace: of the Jacobians of different rows different entries are used, where the diagonal of each is wanted (a trace over the wrong axes)"
        return None if own else (text, f"C of the first row {np.array2string(C[0], precision=3)}".replace("\n", ""))
    if np.abs(mean - np.trace(mean) / d * np.eye(d)).max() <= SMALL * np.abs(mean).max():
        return None
    used = [f"[{i}, {j}]" for i, j in np.argwhere(np.abs(mean) > SMALL * np.abs(mean).max())[:6]]
    return (
        f"wrong trace: of the Jacobian the entries {', '.join(used)} are used, where the diagonal is wanted",
        f"C of a row {np.array2string(mean, precision=3)}".replace("\n", ""),
    )


def _linear(found, A, b, C):
    if np.abs(b).max() <= SMALL:
        return None
    return "extra term: a term linear in the score, which does not belong there", f"b of the first row {_few(b[0])}"


def _few(a):
    return "(" + ", ".join(f"{v:.4g}" for v in np.ravel(a)[:4]) + (", ..." if np.size(a) > 4 else "") + ")"


RULES = (_rows_interact, _left_out, _coordinates_joined, _weights_apart, _entries, _linear)


def growth(answers, caller, setting):
    """The power with which a loss grows in the model, for models of very different size; None where there is none."""
    probe = answers.probes[0]
    sizes = np.array([0.0, 1.0, -1.0, 1e3, -1e3, 1e6, -1e6])
    values = caller.values([probe.scaled(s) for s in sizes], setting)
    if not np.all(np.isfinite(values)):
        return None
    at = lambda s: np.abs(values[sizes == s][0] - values[0]) + np.abs(values[sizes == -s][0] - values[0])
    return float(np.log(max(at(1e6), 1e-300) / max(at(1e3), 1e-300)) / np.log(1e3))


PIECES = "pieces: only some of the rows count at a time (a maximum, a minimum, a median, a sort, a clip), where the loss is their mean"


def piecewise(answers):
    """Whether a loss that is no square for models anywhere is one for models near each other."""
    near = answers.near(1e-3)
    return any(identify(near, jacobian=j).fit.exact for j in (False, True))


def not_quadratic(power, left, linear):
    """The `Naming` of a loss that no arrays A, b, C explain."""
    if power is not None and abs(power - 2) > 0.05:
        what = (
            "stands still: it is clipped, or made of directions alone (a cosine)" if power < 0.05
            else "a norm, an absolute error or a Huber error stands where the square should" if abs(power - 1) < 0.05
            else f"not with its square, but its power {power:.3g}"
        )  # fmt: skip
        return Naming(
            FAIL,
            f"not a square: for large scores your loss grows with the power {power:.2g} of the score: {what}",
            f"{left:.2g} of it is not quadratic",
        )
    text = (
        f"unknown term: no combination of the terms known here is your loss; the {linear} and the square leave "
        f"{left:.2g} of it unexplained. It is not quadratic in the score, or is taken at other points, or mixes the samples"
    )
    return Naming(FAIL, text, f"off by {left:.2g}")


# ------------------------------------------------------------------------------- what no arrays explain


def unexplained(caller, kind, table, right, left, rng):
    """(`Naming`, sense) of a loss of which `left` is not explained; right are linear and square term (P, 2), or None."""
    for rule in LEFT:
        named = rule(caller, kind, table, right, left, rng)
        if named is not None:
            return named, 1
    power = growth(table, caller, table.trial.setting)
    return not_quadratic(power, left, LINEAR[caller.objective]), 0


def _clamped(caller, kind, table, right, left, rng):
    wrong = controls.bent(caller, kind, table.trial.setting, rng)
    return wrong if wrong is not None and "stands still" in wrong.diagnosis else None


def _round_off(caller, kind, table, right, left, rng):
    """It differences for itself, with a step so small that nothing but round-off is left."""
    near = table.trial.setting._replace(x=table.trial.setting.x * (1 + 2 * caller.eps))
    change = np.abs(caller.values(table.probes[:4], near) - table.values[:4]).max() / np.abs(table.values[:4]).max()
    if change < left / 100 or change < 1e4 * caller.eps:
        return None
    text = f"round-off: moving x by a unit in its last place changes the loss by {change:.0e} of it; the step of its own differences is too small, they cancel"
    return Naming(FAIL, text, f"{left:.2g} of it is unexplained")


def _function_of_right(caller, kind, table, right, left, rng):
    """It is a monotone function of the right one."""
    if right is None or not _monotone(right.sum(1)[: len(table.values)], table.values):
        return None
    text = "function of the loss: your loss is a function of the right one (a logarithm, a root, an exponential), not linear in it: its mean over batches has another minimum"
    return Naming(FAIL, text, "monotone in the reference")


def _function_of_each(caller, kind, table, right, left, rng):
    """It is the mean of a monotone function of the right loss of each row, which equal rows show."""
    setting = table.trial.setting
    if caller.objective != "implicit":
        return None
    x = np.tile(setting.x[:1], (setting.n, 1))
    equal = Answers(caller, kind, Trial(setting._replace(x=x), x[:1], None), rng).grow(MONOTONE)
    theirs = (0.5 * np.sum(equal.S**2, -1) + np.trace(equal.J, axis1=-2, axis2=-1))[:, 0]
    bent = np.abs(equal.values - np.polyval(np.polyfit(theirs, equal.values, 1), theirs)).max() > 1e-6 * np.ptp(theirs)
    if not bent or not _monotone(theirs, equal.values):
        return None
    text = "function of the loss: your loss is a function of the right one of each sample (a softplus, a logarithm, a root), not linear in it: its mean has another minimum"
    return Naming(FAIL, text, "of equal rows, monotone in the reference")


def _monotone(right, values):
    steps = np.diff(values[np.argsort(right)])
    return not (np.any(steps < 0) and np.any(steps > 0))


def _of_first_power(caller, kind, table, right, left, rng):
    """It grows with the model, not with its square."""
    power = growth(table, caller, table.trial.setting)
    return not_quadratic(power, left, "") if power is not None and abs(power - 1) < 0.05 else None


def _pieces(caller, kind, table, right, left, rng):
    """Only some rows or terms count at a time."""
    return Naming(FAIL, PIECES, "a square for models near each other, none for all") if piecewise(table) else None


def _away(caller, kind, table, right, left, rng):
    """It asks its model elsewhere than at the data."""
    setting = table.trial.setting
    points = as_asked(caller, kind, setting, rng).points
    if (
        "denoising" in caller.objective
        or caller.objective == "finite_difference_sliced"
        or np.abs(points[:, None] - setting.x).max(-1).min(1).max() < 1e-6
    ):
        return None
    text = f"other points: fn is asked at points that are not the data, where the {caller.objective} loss is taken at x alone (noise is added, x is scaled, or a step of differences is large)"
    return Naming(FAIL, text, f"asked at {np.array2string(points[-1], precision=3)}")


LEFT = (_clamped, _round_off, _function_of_right, _of_first_power, _pieces, _function_of_each, _away)
