"""The verdict on a user's numbers beside the reference: PASS, FAIL with what explains every one of them, or INCONCLUSIVE."""

from functools import partial

import numpy as np

from ..common.inputs import positive
from ..numerics.differences import SAFETY
from .explanations import diagnosis_of, tied
from .fields import read
from .functions import QUOTIENT
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst


def enough(eps):
    """Relative resolution that a PASS needs, in float64 and below."""
    return 1e-6 if eps < 1e-10 else 2e-2


def sizes(reference, yours):
    """What a relative error of each row is relative to (n, 1): the norm of the row, at least that of the field."""
    norm = np.linalg.norm(reference, axis=1, keepdims=True)
    size = np.maximum(norm, np.sqrt(np.mean(norm**2)))
    return np.where(size > 0, size, np.maximum(np.abs(yours).max(), 1e-300))


def allowing(where, tolerance, rtol, size):
    """The tolerance, at least rtol of a size."""
    return tolerance if rtol is None else np.maximum(tolerance, positive(where, "rtol", rtol) * size)


def judge(where, summary, field, functions, explain, *, rtol=None, size=None, place=None):
    """PASS, FAIL or INCONCLUSIVE for a `Field` (n, d), with the diagnosis.

    functions : the `Function`s behind it, the user's field first; the coarsest precision counts
    explain : callable Field -> the explanations to be told; called if something is wrong
    size : (n, 1), what a relative error is relative to: the norm of a row, or for a sum of terms that cancel their absolute sum
    place : callable (i, j) -> text, where an entry stands
    """
    eps = max(f.eps for f in functions)
    size, least = sizes(field.reference if size is None else size, field.theirs), max(rtol or 0.0, enough(eps))
    gap, allowed = np.abs(field.theirs - field.reference), field.tolerance
    wrong, resolved, share = gap > allowed, allowed <= size * least, float(np.max(gap / size))
    notes = tuple(note for f in functions for note in f.notes())
    report = partial(
        CheckReport, where, summary=summary, worst=_worst(field, gap, size, place), resolution=float(np.max(allowed / size)),
        details={"yours": field.theirs, "reference": field.reference, "tolerance": allowed, "x": field.x},
    )  # fmt: skip
    if not wrong.any() and resolved.all():
        return report(PASS, notes=notes)
    if not np.any(wrong & (resolved | (gap > SAFETY * allowed))):
        return report(INCONCLUSIVE, notes=notes, diagnosis=_unresolved(field, functions, resolved, least))
    found = explain(field._replace(round_off=256 * eps))
    if found and found[0].right:
        return report(PASS, notes=(*notes, found[0].sentence))
    if share <= QUOTIENT and any(f.precision.kind == "quotient" for f in functions):
        quotient = (
            f"right up to {share:.0e} of its size, as difference quotients are; derivatives would be right to 1e-14"
        )
        return report(PASS, notes=(*notes, quotient))
    pattern = f"{wrong.sum()} of {wrong.size} entries differ, relative differences up to {share:.2g}"
    none = f"different: your {field.word} is no simple function of the reference; it belongs to another energy"
    pattern, text = (found[0].pattern, diagnosis_of(found)) if found else (pattern, none)
    return report(FAIL, notes=notes, pattern=pattern, diagnosis=text)


def _unresolved(field, functions, resolved, least):
    """Why nothing is claimed."""
    coarse = next((f for f in functions if f.precision.kind not in ("", "quotient")), None)
    if coarse:
        return f"precision: {coarse.precision.note(coarse.name, coarse.came)}, which decides nothing"
    return (
        f"unresolved: for {np.sum(~resolved)} of {resolved.size} entries the halvings disagree by more than {least:.0e} of the {field.word} (a kink, "
        f"an energy dominated by an offset, or too few digits); nothing is claimed about them"
    )


def _worst(field, gap, size, place):
    """The `Worst` pair of numbers: furthest apart for their tolerance."""
    with np.errstate(all="ignore"):
        ratio = np.where(field.tolerance > 0, gap / field.tolerance, np.where(gap > 0, np.inf, 0.0))
    i, j = np.unravel_index(np.nanargmax(ratio), gap.shape)
    text = f"x[{i}], dim {j}" if gap.shape[1] > 1 or field.word == "score" else f"x[{i}]"
    text = text if place is None else place(int(i), int(j))
    return Worst(
        text, float(field.theirs[i, j]), float(field.reference[i, j]), float(field.tolerance[i, j] / size[i, 0])
    )


def explained(field, function, among=()):
    """Explanations between which nothing decides: of those that tie, the ones that explain half of the rows as well. 1/n is no 1/(2 d) there."""
    found, n = tied(read(field, among)), len(field.theirs)
    half = slice((n + 1) // 2)
    if n < 2 or not found or not (len(found) > 1 or found[0].key == "scale"):
        return found
    value = function(field.x[half])
    value = value[:, None] if value.ndim == 1 else value
    if value.shape != field.theirs[half].shape:
        return found
    fewer = field.rows(half)._replace(theirs=value)
    same = lambda e: (e.key, e.detail.get("reading"))
    again = {same(e) for e in read(fewer, [(key, text, a[half]) for key, text, a in among])}
    return [e for e in found if same(e) in again] or found
