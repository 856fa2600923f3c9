"""Where a field is wrong, if not everywhere, and what small errors look like: round-off, one-sided differences, a few digits."""

import numpy as np

from .field import Finding


def located(field):
    """Where the entries are wrong, if not everywhere."""
    wrong = np.abs(field.yours - field.reference) > field.tolerance
    n, d = wrong.shape
    dims, samples = wrong.any(axis=0), wrong.any(axis=1)
    pattern = f"{wrong.sum()} of {wrong.size} entries differ"
    if dims.sum() < d:
        text = f"only {dimensions(np.flatnonzero(dims))} of your {field.word} went wrong{where(field, samples)}"
        return Finding("some dimensions", text, pattern)
    if samples.sum() < n:
        return Finding("some rows", f"only rows {few(np.flatnonzero(samples))} differ{where(field, samples)}", pattern)
    return None


def dimensions(numbers):
    """ "dimension 1", "dimensions 0, 2"."""
    return f"dimension {numbers[0]}" if len(numbers) == 1 else f"dimensions {few(numbers)}"


def few(numbers):
    """The first six of them, in words."""
    return ", ".join(map(str, numbers[:6])) + " ..." * (len(numbers) > 6)


def where(field, wrong):
    """What sets the wrong rows apart: one coordinate, the norm or the energy above or below a threshold."""
    if not (0 < wrong.sum() < len(wrong)) or len(wrong) < 4:
        return ""
    looked = [(f"x[:, {j}]", column) for j, column in enumerate(field.x.T)]
    looked += [
        ("|x|", np.linalg.norm(field.x, axis=1)),
        ("E", field.energy),
        ("|score|", np.linalg.norm(field.reference, axis=1)),
    ]
    for name, values in looked:
        if values[wrong].min() > values[~wrong].max():
            return f": exactly those with {name} > {values[~wrong].max():.4g}"
        if values[wrong].max() < values[~wrong].min():
            return f": exactly those with {name} < {values[~wrong].min():.4g}"
    return ""


# ------------------------------------------------------------------------------- small errors


def one_sided(field):
    """yours - reference = c x second derivative: a one-sided difference."""
    yours, ref = field.yours, field.reference
    gap, allowed = yours - ref, field.tolerance
    c = np.sum(gap * field.second) / np.sum(field.second**2)
    if (
        np.all(np.abs(gap - c * field.second) <= 0.05 * np.abs(gap).max() + allowed)
        and np.abs(gap).max() < 0.05 * np.abs(ref).max()
    ):
        text = f"the error is proportional to the curvature, as of a one-sided difference with step {abs(2 * c):.2g}; take central ones, or differentiate"
        return Finding("one-sided difference", text, f"yours - reference = {c:.3g} x d^2E/dx_j^2")
    return None


def rounded(field):
    """The coarsest dtype whose round-off explains the differences: all of them small, and nearly all there."""
    gap = np.abs(field.yours - field.reference)
    unit_of = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
    size = np.linalg.norm(field.reference, axis=1, keepdims=True)
    everywhere = np.mean(gap > field.tolerance) > 0.7
    root = np.sqrt(np.abs(field.second))
    moved = root * np.sum(root * np.abs(field.x), axis=1, keepdims=True)  # by a relative rounding of x
    for name, unit in unit_of.items():
        if field.eps < unit and everywhere and np.all(gap <= 16 * unit * size) and np.median(gap / size) > unit / 64:
            text = f"the differences have the size of {name} round-off: somewhere your numbers pass through {name}"
            return Finding("precision", text, f"relative differences up to {np.max(gap / size):.0e}")
        if (
            field.eps < unit
            and everywhere
            and np.all(gap <= unit * moved)
            and np.median(gap / np.maximum(moved, 1e-300)) > unit / 64
        ):
            text = f"the differences have the size of rounding x to {name}: x is far from the origin beside its spread; subtract the offset before it is rounded"
            return Finding("precision", text, f"relative differences up to {np.max(gap / size):.0e}")
    return None


def inaccurate(field):
    """Nearly the reference, everywhere."""
    gap, size = np.abs(field.yours - field.reference), np.linalg.norm(field.reference, axis=1, keepdims=True)
    share = np.max(gap / np.maximum(size, np.sqrt(np.mean(size**2))))
    if share < 1e-2 and np.mean(gap > field.tolerance) > 0.5:
        text = f"your {field.word} is the reference up to {share:.0e}: a finite difference, an iteration that stops early, or a regulariser"
        return Finding(
            "inaccurate",
            text,
            f"relative differences up to {share:.0e}, in {np.mean(gap > field.tolerance):.0%} of the entries",
        )
    return None
