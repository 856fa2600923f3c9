"""What a wrong field looks like: `yours` (n, d) as a transformation of the reference, simplest first.

Each explanation is a hypothesis with few free numbers, fitted and then held against all entries; it counts only if it explains
every one of them to its tolerance. So an explanation is an identity between the user's numbers and ours, not a resemblance.
"""

import numpy as np

from .field import Finding, fitted
from .numbers import close, readings, said
from .places import dimensions, few, inaccurate, located, one_sided, rounded, where


def recognise(field, rules=None):
    """All explanations of the simplest kind that fits, a list of Finding; empty if none does."""
    with np.errstate(all="ignore"):
        for rule in rules or RULES:
            found = rule(field)
            if found:
                return found if isinstance(found, list) else [found]
    return []


# ------------------------------------------------------------------------------- one number


def scaled(field):
    """yours = c x reference."""
    (c,) = fitted(field, field.reference)
    fits, residual = field.explains(c * field.reference)
    if not fits:
        return None
    pattern = f"yours = {c:.12f} x reference, residual {residual:.0e}"
    n, d = field.x.shape
    if abs(c) <= field.rtol:
        return Finding(
            "zero", f"your {field.word} is zero everywhere: the graph is cut, or the energy is not used", pattern
        )
    if close(c, -1, field.rtol):
        what = (
            "this is grad E; the score is -grad E = grad log p"
            if field.word == "score"
            else f"your {field.word} is minus the reference"
        )
        return Finding("sign", what, pattern)
    sign = " and the wrong sign" if c < 0 else ""
    found = []
    for text in readings(abs(c), {"n": n, "d": d}, 4 * field.rtol)[:3]:
        found.append(Finding("scale", f"your {field.word} is {text} of the reference{sign}{_why(text)}", pattern))
    return found or Finding("scale", f"your {field.word} is {said(c, field.rtol)} times the reference{sign}", pattern)


def _why(text):
    """Where such a factor usually comes from."""
    return {
        "1/n": ": the gradient of a mean over the batch where a sum was meant",
        "n": ": multiplied by the number of rows",
        "1/d": ": a mean over dimensions where a sum was meant",
        "d": ": multiplied by the number of dimensions",
        "1/2": ": a factor 1/2 too many",
        "2": ": the gradient of a square without its 1/2",
    }.get(text, "")


def offset(field):
    """yours = reference + c x, + c (x - mean), or + a constant vector; or the user's own linear field without the energy."""
    x, ref = field.x, field.reference
    (c,) = fitted(field, x)
    if field.explains(c * x)[0]:
        text = f"your {field.word} is {said(c, field.rtol)} x, whatever the energy is: the energy is not used"
        return Finding("energy not used", text, f"yours = {c:.12f} x")
    for name, extra in (("x", x), ("(x - mean)", x - x.mean(0))):
        a, c = fitted(field, ref, extra)
        fits, residual = field.explains(a * ref + c * extra)
        if fits:
            front = "" if close(a, 1, 1e3 * field.rtol) else f"{said(a, field.rtol)} x "
            what = "a quadratic term (a confinement, a prior, a weight decay) is in one of them and not in the other"
            pattern = f"yours = {a:.12f} x reference {c:+.12f} {name}, residual {residual:.0e}"
            return Finding(
                "linear term",
                f"your {field.word} is {front}the reference {'-' if c < 0 else '+'} {said(abs(c), 1e-6)} {name}: {what}",
                pattern,
            )
    sign = -1.0 if np.sum(field.yours * ref) < 0 else 1.0
    for a in (1.0, sign):
        shift = np.median(field.yours - a * ref, axis=0)
        if field.explains(a * (ref - ref.mean(0)))[0]:
            text = "the mean over the batch is subtracted from every row: rows depend on each other"
            return Finding(
                "batch mean removed", text, f"yours - reference = {np.array2string(shift, precision=6)} in every row"
            )
        if field.explains(a * ref + shift)[0]:
            text = f"your {field.word} is {'minus ' * (a < 0)}the reference plus a constant vector: a linear term is in one and not in the other"
            return Finding(
                "constant shift",
                text,
                f"yours - {'-' * (a < 0)}reference = {np.array2string(shift, precision=6)} in every row",
            )
    return None


# ------------------------------------------------------------------------------- one number for each column


def _columns(values, among):
    """For each column of `values`, the columns of `among` that equal it up to a sign: list of lists of (index, sign)."""
    scale = np.abs(among).max()
    out = []
    for v in values.T:
        out.append(
            [
                (k, s)
                for k, w in enumerate(among.T)
                for s in (1, -1)
                if np.allclose(v, s * w, rtol=1e-6, atol=1e-7 * scale)
            ]
        )
    return out


def columns(field):
    """Columns permuted, or each with its own factor."""
    yours, ref = field.yours, field.reference
    d = yours.shape[1]
    if d == 1:
        return None
    same = _columns(yours, ref)
    if all(same) and len({s[0][0] for s in same}) == d and any(s[0][0] != j for j, s in enumerate(same)):
        order = [s[0][0] for s in same]
        candidate = ref[:, order] * [s[0][1] for s in same]
        if field.explains(candidate)[0]:
            sign = " and change sign" if any(s[0][1] < 0 for s in same) else ""
            how = " (reversed)" if order == list(range(d))[::-1] else ""
            text = f"your columns are those of the reference in the order {order}{how}{sign}: dimensions are mixed up"
            return Finding("columns permuted", text, f"yours[:, j] = reference[:, {order}[j]]")
    top = np.sum(yours * ref, axis=0)
    c = top / np.maximum(np.sum(ref**2, axis=0), 1e-300)
    if len(yours) < 2 or not field.explains(c * ref)[0]:
        return None
    pattern = f"yours[:, j] = c_j x reference[:, j] with c = {np.array2string(c, precision=6)}"
    zero, right, negated = (np.abs(c - v) <= 1e3 * field.rtol for v in (0, 1, -1))
    names = lambda mask: dimensions(np.flatnonzero(mask))
    if zero.any() and (zero | right).all():
        text = f"{names(zero)} of your {field.word} {'is' if zero.sum() == 1 else 'are'} zero, the others are right"
        return Finding("missing dimensions", text, pattern)
    if negated.any() and (negated | right).all():
        return Finding(
            "sign of some dimensions",
            f"{names(negated)} of your {field.word} have the wrong sign, the others are right",
            pattern,
        )
    std = field.x.std(axis=0)
    for power, what in (
        (1, "the standard deviation"),
        (-1, "1 / the standard deviation"),
        (2, "the variance"),
        (-2, "1 / the variance"),
    ):
        ratio = c / std**power
        if np.ptp(std) > 1e-6 * std.max() and np.allclose(ratio, ratio[0], rtol=1e-6):
            text = f"each dimension is multiplied by {what} of its column: the chain rule of a standardisation is missing or doubled"
            return Finding("standardisation", text, pattern)
    wrong = ~right
    if wrong.sum() < d:
        return Finding(
            "scale of some dimensions",
            f"{names(wrong)} of your {field.word} {'is' if wrong.sum() == 1 else 'are'} off by a factor of {', '.join(said(v, 1e-6) for v in c[wrong])}",
            pattern,
        )
    return Finding("scale of each dimension", f"each dimension of your {field.word} is off by its own factor", pattern)


# ------------------------------------------------------------------------------- one number for each row


def rows(field):
    """Rows permuted, or each with its own factor: the gradient of another function of E, a clipped or normalised field."""
    yours, ref, E = field.yours, field.reference, field.energy
    n = len(yours)
    if n < 3:
        return None
    same = _columns(yours.T, ref.T)
    if all(same) and any(all(k != i for k, _ in s) for i, s in enumerate(same)):
        order = [s[0][0] for s in same]
        if field.explains(ref[order] * np.array([s[0][1] for s in same])[:, None])[0]:
            text = f"your rows are those of the reference in the order {order}: samples are mixed up"
            return Finding("rows permuted", text, f"yours[i] = reference[{order}[i]]")
    size = np.maximum(np.sum(ref**2, axis=1), 1e-300)
    c = np.sum(yours * ref, axis=1) / size
    if not field.explains(c[:, None] * ref)[0]:
        return None
    if yours.shape[1] == 1 and not _lawful(field, c):
        return None  # in one dimension every field is c(x) times the reference
    norm = np.sqrt(size)
    pattern = f"yours[i] = c_i x reference[i] with c = {np.array2string(c[:6], precision=6)}{' ...' * (n > 6)}"
    constant = lambda a: np.all(np.isfinite(a)) and np.allclose(a, a[0], rtol=1e-6, atol=1e-300)
    right, zero = np.abs(c - 1) <= 1e3 * field.rtol, np.abs(c) <= 1e3 * field.rtol
    for name, law, sentence in (
        (
            "gradient of p",
            np.abs(c) * np.exp(E - E.mean()),
            "this is the gradient of p, not of log p: each row is multiplied by p(x)",
        ),
        (
            "gradient of 1/p",
            np.abs(c) * np.exp(E.mean() - E),
            "each row is multiplied by exp(E): the gradient of exp(E)",
        ),
        ("square of the energy", c / E, "each row is multiplied by the energy: the gradient of E^2"),
        ("logarithm of the energy", c * E, "each row is divided by the energy: the gradient of log E"),
        ("normalised", np.abs(c) * norm, "each row is divided by its norm: only the direction is left"),
        ("times its norm", c / norm, "each row is multiplied by its norm"),
    ):
        if constant(law) and not constant(c):
            return Finding(name, sentence, pattern)
    if right.any() and not right.all():
        wrong = ~right
        if (wrong & zero).sum() == wrong.sum():
            return Finding(
                "missing rows",
                f"rows {few(np.flatnonzero(wrong))} of your {field.word} are zero, the others are right",
                pattern,
            )
        if constant((c * norm)[wrong]) and np.all((c * norm)[wrong] <= norm[wrong]):
            text = f"rows longer than {said((c * norm)[wrong][0], 1e-6)} are clipped to that norm"
            return Finding("clipped", text, pattern)
        return Finding(
            "some rows",
            f"rows {few(np.flatnonzero(wrong))} are off by a factor, the others are right{where(field, wrong)}",
            pattern,
        )
    index = np.arange(1, n + 1)
    for name, law, what in (("row number", c / index, "multiplied by"), ("row number", c * index, "divided by")):
        if constant(law) and not constant(c):
            return Finding(
                name, f"each row is {what} its number in the batch: an index or a cumulative sum got into it", pattern
            )
    return Finding(
        "factor of each row",
        "each row has the right direction and a length of its own: a function of x multiplies the score",
        pattern,
    )


def _lawful(field, c):
    """In one dimension: whether the factors follow one of the laws, or are 1 for most rows."""
    E, norm = field.energy, np.abs(field.reference[:, 0])
    laws = (
        np.abs(c) * np.exp(E - E.mean()),
        np.abs(c) * np.exp(E.mean() - E),
        c / E,
        c * E,
        np.abs(c) * norm,
        c / norm,
    )
    right = np.abs(c - 1) <= 1e3 * field.rtol
    return right.any() or any(np.all(np.isfinite(a)) and np.allclose(a, a[0], rtol=1e-6) for a in laws)


# ------------------------------------------------------------------------------- entries


def entries(field):
    """A function applied to each entry, or a sum or mean along an axis."""
    yours, ref = field.yours, field.reference
    gap = np.abs(yours - ref)
    for name, candidate, sentence in (
        ("absolute value", np.abs(ref), "each entry is its absolute value"),
        ("signs only", np.sign(ref), "only the sign of each entry is left"),
        ("square", ref**2, "each entry is squared"),
        ("tanh", np.tanh(ref), "each entry went through tanh"),
        ("whole numbers", np.trunc(ref), "each entry is cut to a whole number (an integer dtype?)"),
        ("whole numbers", np.rint(ref), "each entry is rounded to a whole number"),
        ("batch mean", np.broadcast_to(ref.mean(0), ref.shape), "every row is the mean over the batch"),
        ("batch mean removed", ref - ref.mean(0), "the mean over the batch is subtracted: rows depend on each other"),
        ("batch sum", np.broadcast_to(ref.sum(0), ref.shape), "every row is the sum over the batch"),
        ("cumulative sum", np.cumsum(ref, axis=0), "rows are cumulative sums over the batch"),
        (
            "sum over dimensions",
            np.repeat(ref.sum(1, keepdims=True), ref.shape[1], axis=1),
            "every entry is the sum over dimensions",
        ),
    ):
        if name == "signs only" and np.ptp(candidate) == 0:
            continue  # that is a constant
        for sign in (1, -1):
            if field.explains(sign * candidate)[0]:
                return Finding(
                    name,
                    sentence + ", and the sign is wrong" * (sign < 0),
                    f"residual {field.explains(sign * candidate)[1]:.0e}",
                )
    if len(yours) > 1 and np.ptp(yours) <= 64 * field.eps * np.abs(yours).max():
        return Finding(
            "constant",
            f"your {field.word} is {said(yours.flat[0], 1e-9)} everywhere, whatever x is",
            "the same number in every entry",
        )
    top, bottom = yours.max(), yours.min()
    if top > bottom and field.explains(np.clip(ref, bottom, top))[0]:
        text = f"entries are clipped to [{bottom:.6g}, {top:.6g}]"
        return Finding("clipped", text, f"{np.sum(gap > field.tolerance)} entries of {gap.size} stand at a limit")
    shape = (len(ref), ref.shape[1])
    if shape[0] == shape[1] and field.explains(ref.T)[0]:
        return Finding("transposed", "your array is the transpose of the reference", "yours = reference.T")
    return None


# ------------------------------------------------------------------------------- a matrix


def matrix(field):
    """yours = reference @ M for one matrix M: the score of other coordinates."""
    yours, ref = field.yours, field.reference
    n, d = ref.shape
    if d == 1 or n < d + 2:
        return None
    M = np.linalg.lstsq(ref, yours, rcond=None)[0]
    if not field.explains(ref @ M)[0]:
        return None
    pattern = f"yours = reference @ M, M = {np.array2string(M[:4, :4], precision=4, max_line_width=200)}{' ...' * (d > 4)}".replace(
        "\n", ""
    )
    cov = np.cov(field.x.T)
    for name, other in (("the covariance of x", cov), ("the inverse covariance of x", np.linalg.pinv(cov))):
        if np.allclose(M / M[0, 0], other / other[0, 0], rtol=1e-5):
            return Finding("preconditioned", f"your {field.word} is multiplied by {name}", pattern)
    if np.allclose(M @ M.T, np.eye(d), atol=1e-6):
        return Finding(
            "rotated",
            f"your {field.word} is the reference in rotated coordinates: multiplied by an orthogonal matrix",
            pattern,
        )
    return Finding(
        "other coordinates",
        f"your {field.word} is the reference times a matrix: the chain rule of a linear map of x is missing or doubled",
        pattern,
    )


def shifted(field):
    """yours = +- reference + constant, of fields with one number per row."""
    for sign in (1.0, -1.0):
        shift = np.median(field.yours - sign * field.reference)
        if field.explains(sign * field.reference + shift)[0]:
            text = f"your {field.word} is {'minus ' if sign < 0 else ''}the reference {'-' if shift < 0 else '+'} {said(abs(shift), 1e-6)} everywhere"
            return Finding("constant shift", text, f"yours = {'-' if sign < 0 else ''}reference {shift:+.9g}")
    return None


RULES = (scaled, columns, offset, rows, entries, one_sided, rounded, matrix, inaccurate, located)
ONE_EACH = (scaled, shifted, entries, rounded, inaccurate, located)  # for one number per row
