"""What the arrays A, b and C of a loss look like, where they are not those of the reference: a table of rules, read from the top."""

import numpy as np

from ..report import FAIL
from .identify import identify
from .names import Naming

SMALL = 1e-6


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
            "the last row"
            if rows.tolist() == [len(zero) - 1]
            else "the first row"
            if rows.tolist() == [0]
            else f"rows {rows.tolist()}"
        )
        return f"rows left out: {which} of the batch is never squared", f"A = 0 in rows {rows.tolist()}"
    if len(columns):
        d = zero.shape[1]
        which = (
            "the last dimension"
            if columns.tolist() == [d - 1]
            else "the first dimension"
            if columns.tolist() == [0]
            else f"dimensions {columns.tolist()}"
        )
        return f"dimensions left out: {which} is never squared", f"A = 0 in dimensions {columns.tolist()}"
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
