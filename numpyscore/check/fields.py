"""A user's field (n, d) beside its reference: which transformation of the reference is it?

Each row of the tables is a hypothesis with few free constants, fitted and then held against every entry: an explanation is an
identity between the user's numbers and ours within the stated tolerance, not a resemblance. A new name is a new row of `MAPS`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import positive
from .report import Explanation, close, enough, ranked, readings, said, sizes, tied

SLACK = 4.0  # of the tolerance of each of two numbers that are compared
ROUND_OFF = 2.0**-44  # of what hand-written arithmetic may lose on the way from the reference to a transformation of it


class Field(NamedTuple):
    """The user's numbers, the reference, what each number may be off by, and what is known beside them.

    theirs, reference, tolerance : (n, d) arrays
    x : (n, d') array or None, where it was evaluated
    energy : (n,) array or None
    second : (n, d) array or None, second derivatives of the energy along the axes
    known : dict, name -> value, of the quantities that a factor may be a power of, beside n and d
    word, of : what it is called, and what it is a function of
    round_off : relative, of the numbers that came back
    numbers : (n,) array or None, which rows of a whole these are, if they are some of it
    size : (n, 1) array, what a relative error is relative to, where that is not the norm of a row: of a sum that cancels, the absolute sum
    rounds : the type, "float32" or "float16", at x rounded to which the user's numbers are the same; "" if it is none
    """

    theirs: np.ndarray
    reference: np.ndarray
    tolerance: Any
    x: np.ndarray | None = None
    energy: np.ndarray | None = None
    second: np.ndarray | None = None
    known: dict[str, float] | None = None
    word: str = "score"
    round_off: float = ROUND_OFF
    of: str = "x"
    numbers: np.ndarray | None = None
    size: np.ndarray | None = None
    rounds: str = ""

    @property
    def gap(self):
        """Distance of the user's numbers from the reference."""
        return np.abs(self.theirs - self.reference)

    @property
    def sizes(self):
        """What a relative error of each row is relative to (n, 1)."""
        return sizes(self.reference if self.size is None else self.size, self.theirs)

    def doubtful(self, eps):
        """Rows (n,) of which no PASS can be said: wrong, or not resolved."""
        return ~np.all((self.gap <= self.tolerance) & (self.tolerance <= enough(eps) * self.sizes), axis=1)

    def allowing(self, where, rtol, size):
        """The field with a tolerance of at least rtol of a size."""
        if rtol is None:
            return self
        return self._replace(tolerance=np.maximum(self.tolerance, positive(where, "rtol", rtol) * size))

    @property
    def unit(self):
        """What a row of it is."""
        return "parameter" if self.of == "theta" else "row"

    @property
    def rtol(self):
        """How exactly a factor is known."""
        size = np.median(np.abs(self.reference)) or 1.0
        return float(max(1e-12, 8 * np.median(self.tolerance) / size))

    def rows(self, these):
        """The field at some of its rows."""
        parts: dict[str, Any] = {k: a[these] for k, a in self._asdict().items() if isinstance(a, np.ndarray)}
        return self._replace(**parts)

    def allowed(self, candidate, tolerance=0.0):
        """What a candidate, known to `tolerance`, may differ from the user's numbers by, entry by entry."""
        size = np.maximum(np.abs(candidate), np.abs(self.theirs))
        return SLACK * (self.tolerance + tolerance) + self.round_off * size + 1e-300

    def residual(self, candidate, tolerance=0.0):
        """Largest distance between a candidate field and the user's, in units of what they may differ by."""
        gap = np.abs(self.theirs - candidate) / self.allowed(candidate, tolerance)
        return float(gap.max()) if np.isfinite(candidate).all() else np.inf

    def says(self, key, text, candidate, constants=0, pattern="", tolerance=0.0, **detail):
        """The explanation that the user's field is this candidate."""
        residual = self.residual(candidate, tolerance)
        return Explanation(key, text, False, int(constants), residual, {"pattern": pattern, **detail})

    def fitted(self, *basis):
        """Coefficients of the fields of a basis that come nearest to the user's, entries weighted by their tolerance."""
        allowed = self.allowed(self.theirs)
        weight = allowed.min() / allowed
        A = np.stack([(b * weight).ravel() for b in basis], axis=1)
        size = np.abs(A).max(axis=0)  # no sum of squares, which underflows
        size[size == 0] = 1.0
        return np.linalg.lstsq(A / size, (self.theirs * weight).ravel(), rcond=None)[0] / size

    def proportional(self, candidate):
        """Whether a candidate is a multiple of the reference, and so says nothing that a factor does not."""
        c = np.sum(candidate * self.reference) / max(np.sum(self.reference**2), 1e-300)
        return bool(np.all(np.abs(candidate - c * self.reference) <= self.allowed(candidate)))


def read(field, among=(), rules=None):
    """All explanations of a user's field that hold for every entry, fewest constants first; an empty list if there is none.

    Parameters
    ----------
    field : Field
        What is missing of it leaves out the rules that need it.
    among : list of (key, sentence, (n, d) array)
        Other fields that the user's may be, up to a factor: those of another row, another level, another formula.
    rules : callables Field -> explanations, all that are known if nothing else is said

    Returns
    -------
    list of Explanation
        The first is "right", with no sentence, where the fields agree; `tied` of it are those between which nothing decides.
    """
    n, d = field.reference.shape
    tolerance = np.broadcast_to(np.asarray(field.tolerance, float), (n, d))
    sizes = {} if field.of == "theta" else {"n": n, "d": d}
    field = field._replace(tolerance=tolerance, known=sizes | (field.known or {}))
    gap = field.gap
    if np.all(gap <= tolerance):
        return [Explanation("right", "", right=True, residual=float(np.max(gap / (tolerance + 1e-300))))]
    with np.errstate(all="ignore"):
        found = [e for rule in (RULES if rules is None else rules) for e in rule(field)]
        of = lambda a: lambda r, f: np.asarray(a, float)
        found += [e for key, sentence, a in among for e in _of_map(field, Map(key, sentence, of(a)))]
    if any(e.key in ("sign", "scale", "zero") and e.residual <= 1 for e in found):  # no multiple of a quotient then
        found = [e for e in found if "difference" not in e.key or close(e.detail.get("factor", 1.0), 1, 1e-6)]
    return ranked(e for e in found if e.constants < max(n * d, 2) or e.key in OF_SIZE)


def explained(field, function, among=()):
    """Explanations between which nothing decides: of those that tie, the ones that explain half of the rows as well. 1/n is no 1/(2 d) there."""
    found, n = tied(read(field, among)), len(field.theirs)
    if (not found or found[0].key == "inaccurate") and (coarse := _rounds(field, function)):
        found = tied(read(field._replace(rounds=coarse), among))
    if not found and _still(field, function):
        return [Explanation("steps", f"your {field.word} {STANDS_STILL}", constants=1)]
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


STANDS_STILL = "stands still where x moves by a ten millionth of its spread, and changes where it moves further (x is rounded on its way to a grid, to whole numbers, to few digits, or what is made of it?)"


def _rounds(field, function):
    """The type at x rounded to which, another x, the user's numbers are the same; "" if it is none."""
    for name in COARSE if field.second is not None else ():
        with np.errstate(over="ignore"):
            x = field.x.astype(name).astype(float)
        if (
            np.isfinite(x).all()
            and np.any(x != field.x)
            and np.array_equal(np.ravel(function(x)), np.ravel(field.theirs))
        ):
            return name
    return ""


def _still(field, function):
    """`_stands_still`, of a function that can be asked so far away."""
    try:
        return _stands_still(field, function)
    except ValueError:
        return False


def _stands_still(field, function):
    """Whether the user's numbers are the same at points a ten millionth of their spread away, and not at those a half of it away."""
    if field.second is None or len(field.x) < 2:
        return False
    near, far = (np.ravel(function(field.x + h * field.x.std(axis=0))) for h in (1e-7, 0.5))
    return np.array_equal(near, np.ravel(field.theirs)) and np.mean(far == near) < 0.5


# ------------------------------------------------------------------------------- one factor on a transformation of the reference


class Map(NamedTuple):
    """A transformation of the reference that a user's field may be: key, sentence, `of` (reference, field) -> (n, d) or None.

    free : whether its factor is arbitrary by nature, as the normaliser of a density is
    """

    key: str
    sentence: str
    of: Callable[[np.ndarray, Field], Any]
    free: bool = False


def _norm(r):
    return np.linalg.norm(r, axis=1, keepdims=True)


def _of_energy(function):
    """A map that multiplies each row by a function of its energy."""
    return lambda r, f: None if f.energy is None else function(f.energy)[:, None] * r


def _of_std(power):
    """A map that multiplies each column by a power of the standard deviation of its column of x."""

    def of(r, f):
        std = None if f.x is None or f.x.shape != r.shape else f.x.std(axis=0)
        return None if std is None or np.ptp(std) <= 1e-6 * std.max() or not np.all(std) else r * std**power

    return of


def _times_x(power):
    """A map that multiplies each entry by a power of its x, where that has a logarithm."""
    return lambda r, f: r * f.x**power if f.x is not None and f.x.shape == r.shape and np.all(f.x > 0) else None


CHAIN_RULE = "the chain rule of a standardisation is missing or doubled"
MAPS = (
    Map("previous row", "row i is the reference at row i - 1: all are shifted by one place (rolled, or another order?)", lambda r, f: np.roll(r, 1, axis=0)),
    Map("next row", "row i is the reference at row i + 1: all are shifted by one place (rolled, or another order?)", lambda r, f: np.roll(r, -1, axis=0)),
    Map("rows reversed", "the rows of the reference stand in reverse order", lambda r, f: r[::-1]),
    Map("columns reversed", "the dimensions of the reference stand in reverse order", lambda r, f: r[:, ::-1]),
    Map("transposed", "it is the transpose of the reference", lambda r, f: r.T if len(r) == len(r.T) else None),
    Map("batch mean removed", "the mean over the batch is subtracted: rows depend on each other", lambda r, f: r - r.mean(0)),
    Map("mean over dimensions removed", "from each row the mean of its entries is subtracted", lambda r, f: r - r.mean(1, keepdims=True)),
    Map("batch mean", "every row is the mean over the batch", lambda r, f: r.mean(0) + 0 * r),
    Map("batch sum", "every row is the sum over the batch", lambda r, f: r.sum(0) + 0 * r),
    Map("cumulative sum", "rows are cumulative sums over the batch", lambda r, f: np.cumsum(r, axis=0)),
    Map("cumulative sum over dimensions", "entries are cumulative sums over the dimensions", lambda r, f: np.cumsum(r, axis=1)),
    Map("sum over dimensions", "every entry is the sum over dimensions", lambda r, f: r.sum(1, keepdims=True) + 0 * r),
    Map("mean over dimensions", "every entry is the mean over dimensions", lambda r, f: r.mean(1, keepdims=True) + 0 * r),
    Map("absolute value", "each entry is its absolute value", lambda r, f: np.abs(r)),
    Map("signs only", "only the sign of each entry is left", lambda r, f: np.sign(r)),
    Map("square", "each entry is squared", lambda r, f: r**2),
    Map("square", "each entry is squared with its sign", lambda r, f: r * np.abs(r)),
    Map("inverse", "each entry is 1 divided by what it should be", lambda r, f: 1 / r if np.all(r) else None),
    Map("tanh", "each entry went through tanh", lambda r, f: np.tanh(r)),
    Map("whole numbers", "each entry is cut to a whole number (an integer dtype?)", lambda r, f: np.trunc(r)),
    Map("whole numbers", "each entry is rounded to a whole number", lambda r, f: np.rint(r)),
    Map("floored at zero", "negative entries are zero (a ReLU or a clamp?)", lambda r, f: np.maximum(r, 0)),
    Map("floored at zero", "positive entries are zero (a ReLU or a clamp?)", lambda r, f: np.minimum(r, 0)),
    Map("normalised", "each row is divided by its norm (or clipped to a shorter one): only the direction is left", lambda r, f: r / _norm(r) if np.all(_norm(r)) else None),
    Map("times its norm", "each row is multiplied by its norm", lambda r, f: r * _norm(r)),
    Map("row number", "each row is multiplied by its number in the batch: an index or a cumulative sum got into it", lambda r, f: r * np.arange(1, len(r) + 1)[:, None]),
    Map("row number", "each row is divided by its number in the batch: an index or a cumulative mean got into it", lambda r, f: r / np.arange(1, len(r) + 1)[:, None]),
    Map("gradient of p", "this is the gradient of p, not of log p: each row is multiplied by p(x) (or by its share of the batch: a logsumexp, or a softmax, over the batch?)", _of_energy(lambda E: np.exp(E.mean() - E)), free=True),
    Map("gradient of 1/p", "each row is multiplied by exp(E): the gradient of exp(E)", _of_energy(lambda E: np.exp(E - E.mean())), free=True),
    Map("square of the energy", "each row is multiplied by twice the energy: the gradient of E^2", _of_energy(lambda E: 2 * E)),
    Map("logarithm of the energy", "each row is divided by the energy: the gradient of log E", _of_energy(lambda E: 1 / E)),
    Map("root of the energy", "each row is divided by twice the root of the energy: the gradient of sqrt(E)", _of_energy(lambda E: 0.5 / np.sqrt(np.where(E > 0, E, np.nan)))),
    Map("chain rule", "each entry is multiplied by its x: the score of log x, and the 1/x of the chain rule is missing", _times_x(1)),
    Map("chain rule", "each entry is divided by its x: the 1/x of the chain rule of log x is there twice", _times_x(-1)),
    Map("standardisation", f"each dimension is multiplied by the standard deviation of its column: {CHAIN_RULE}", _of_std(1)),
    Map("standardisation", f"each dimension is divided by the standard deviation of its column: {CHAIN_RULE}", _of_std(-1)),
    Map("standardisation", f"each dimension is multiplied by the variance of its column: {CHAIN_RULE}", _of_std(2)),
    Map("standardisation", f"each dimension is divided by the variance of its column: {CHAIN_RULE}", _of_std(-2)),
)  # fmt: skip


def _of_map(field, row):
    """The explanation that the user's field is c times a map of the reference."""
    r = field.reference
    t = row.of(r, field)
    if t is None or t.shape != r.shape or not np.isfinite(t).all() or not t.any() or field.proportional(t):
        return
    constant = np.ptp(t) == 0
    if constant and "batch" not in row.key:  # a constant is said as such
        return
    tolerance = sum(np.abs(np.nan_to_num(row.of(r + s * field.tolerance, field)) - t) for s in (1, -1))
    unknown = tolerance > 1e-3 * np.abs(t).max()  # where the map jumps: anything is a multiple
    if np.mean(unknown) >= 0.5:
        return
    c = float(*field.fitted(t))
    if abs(c) <= field.rtol or field.residual(c * t, np.abs(c) * tolerance) > 1:
        return
    rtol = 4 * max(field.rtol, field.round_off)
    plain = row.free or any(close(c, unit, rtol) for unit in (1.0, -1.0))
    if constant and not plain:
        return
    times = ", with the wrong sign" * (c < 0) if plain else f", times {said(c, rtol)}"
    text = row.sentence + times
    yield field.says(row.key, text, c * t, not plain, f"factor {c:.9g}", np.abs(c) * tolerance, factor=c)


def mapped(field):
    """All rows of `MAPS` that hold."""
    return [e for row in MAPS for e in _of_map(field, row)]


# ------------------------------------------------------------------------------- one number


WHY = {  # where a factor usually comes from
    "1/n": " (a mean over the batch where a sum is meant?)",
    "n": " (a sum over the batch where a mean is meant?)",
    "1/d": " (a mean over dimensions where a sum is meant?)",
    "d": " (a sum over dimensions where a mean is meant?)",
    "1/2": " (a factor 1/2 too many, a half that is left out, a difference over 2 h in place of h?)",
    "2": " (a square without its 1/2, a pair counted twice, a sum that goes on, or accumulates, a difference over h in place of 2 h?)",
}


FACTOR = " (a factor, a temperature, a variance that is left out or twice there, a sum for a mean?)"


def _factor(text):
    """Where a number comes from that is written in a few digits, as 3 and 2/3 are; ""."""
    return FACTOR * (len(text) <= 4 and text[0].isdigit())


def scaled(field):
    """theirs = c x reference."""
    c = float(*field.fitted(field.reference))
    candidate, word = c * field.reference, field.word
    if field.residual(candidate) > 1 or field.residual(field.reference) <= 1 or abs(c - 1) <= SINGLE:
        return  # 1 is near enough, or is it to the digits of some type
    rtol = min(field.rtol, abs(c - 1) / 8)
    left = np.abs(field.theirs - candidate).max() / (np.abs(field.theirs).max() or 1)
    say = lambda key, text, constants=0, **detail: field.says(
        key, text, candidate, constants, f"yours = {c + 0.0:.12g} x reference, residual {left:.0e}", factor=c, **detail
    )
    sign = ", with the wrong sign" * (c < 0)
    known = readings(abs(c), field.known, 4 * rtol)[:3]
    if not field.theirs.any():
        yield say(
            "zero",
            f"your {word} is zero everywhere (the graph is cut, the energy is not used, differences of a tiny step are rounded away?)",
        )
    elif close(c, -1, rtol):
        grad = "this is grad E; the score is -grad E = grad log p"
        yield say("sign", grad if word == "score" else f"your {word} is minus the reference")
    elif not known:
        far = " (other units, not divided by the step of a difference, or by its square?)"
        step = _factor(said(abs(c), rtol)) if 1e-3 <= abs(c) <= 1e3 else far
        yield say("scale", f"your {word} is {said(c, rtol)} times the reference{step}", 1)
    else:
        for text in known:
            here = "" if said(abs(c), rtol) == text else f", {said(abs(c), rtol)} here"
            yield say(
                "scale",
                f"your {word} is {text} times the reference{here}{sign}{WHY.get(text, _factor(text))}",
                reading=text,
            )


def constant(field):
    """theirs is one number, or one row, whatever x is."""
    row = field.theirs.mean(axis=0)
    if len(field.theirs) < 2 or np.ptp(field.theirs, axis=0).max() > 64 * field.round_off * np.abs(row).max():
        return
    if np.ptp(row) <= 64 * field.round_off * np.abs(row).max():
        text = f"your {field.word} is {said(row[0], 1e-9)} at all points"
        yield field.says("constant", text, 0 * field.theirs + row, 1, "the same number in every entry")
    elif len(field.theirs) > 2:
        text = f"your {field.word} is the same row for every x"
        yield field.says("constant", text, 0 * field.theirs + row, len(row), np.array2string(row, precision=6))


def shifted(field):
    """theirs = +- reference + a constant, in each dimension its own."""
    ref = field.reference
    for a in (1.0, -1.0) if len(ref) > 1 else ():
        shift = np.median(field.theirs - a * ref, axis=0)
        size, minus = np.abs(shift).max(), "minus " * (a < 0)
        what = "plus a constant vector: their energies differ by a linear term (a mean that is left out?)"
        if ref.shape[1] == 1:
            sizes = [r for r in readings(abs(shift[0]), field.known, 1e-9)[:2] if not r[0].isdigit()]  # of n and d
            what = (
                f"{'-' if shift[0] < 0 else '+'} {said(abs(shift[0]), 1e-6)} everywhere"
                + f" ({', '.join(sizes)}?)" * bool(sizes)
            )
        constants = 1 if np.ptp(shift) <= 1e-6 * size else np.sum(np.abs(shift) > 1e-9 * size)
        pattern = f"yours - {minus}reference = {np.array2string(shift, precision=6)} in every row"
        text = f"your {field.word} is {minus}the reference {what}"
        yield field.says("constant shift", text, a * ref + shift, constants + (a < 0), pattern)


class Term(NamedTuple):
    """What may be added to the reference, entry by entry: key, as it is written for x, function of x, and the term of the energy."""

    key: str
    written: str
    of: Callable[[np.ndarray], np.ndarray]
    why: str


QUADRATIC = "a quadratic term of the energy, a confinement, a prior, a penalty, a weight decay, in one of them alone or with another factor"
TERMS = (
    Term("linear term", "x", lambda x: x, QUADRATIC),
    Term("linear term", "(x - mean)", lambda x: x - x.mean(0), QUADRATIC),
    Term(
        "logarithmic term",
        "1/x",
        lambda x: 1 / x,
        "a logarithm of {} in one of them alone, or with another factor: an exponent off by one, the Jacobian of a change of variables",
    ),
    Term(
        "sign term",
        "sign(x)",
        np.sign,
        "a term |{}|, a Laplace prior, an L1 penalty, in one of them alone or with another factor",
    ),
    Term("cubic term", "x^3", lambda x: x**3, "a quartic term in one of them alone, or with another factor"),
)


def added(field):
    """theirs = a reference + c T(x); or c x, without the energy."""
    x, ref, rtol, your = field.x, field.reference, field.rtol, f"your {field.word} is"
    if x is None or x.shape != ref.shape:
        return
    (c,) = field.fitted(x)
    shift = ref + np.median(field.theirs - ref, axis=0)  # of which more is right
    if not field.proportional(x) and np.mean(field.gap <= field.tolerance) < 0.25 and field.residual(shift) > 1:
        text = f"{your} {said(c, rtol)} {field.of}, and the reference is no multiple of {field.of} (terms that are left out, a mean, another formula, the energy is not used?)"
        yield field.says(f"multiple of {field.of}", text, c * x, 1, f"yours = {c:.12f} {field.of}")
    had: list[np.ndarray] = []
    for term in TERMS:
        extra, name = term.of(x), term.written.replace("x", field.of)
        if not np.isfinite(extra).all() or any(np.allclose(extra, other) for other in had):
            continue
        had.append(extra)
        a, c = field.fitted(ref, extra)
        if abs(c) <= 1e3 * rtol * np.abs(ref).max() / (np.abs(extra).max() or 1.0) or abs(a) <= 1e3 * rtol:
            continue
        one, times = close(a, 1, 1e3 * rtol), lambda c, name=name: f"{said(abs(c), 1e-6)} {name}".removeprefix("1 ")
        why = term.why.format(field.of)
        if term.why is QUADRATIC and field.word == "score":
            why = f"the denoised x + sigma^2 s, a drift, a step of a sampler, {why}"
        text = f"the reference {'-' if c < 0 else '+'} {times(c)} ({why}?)"
        if not one:  # a reference + c T = a (reference - k T) + k T
            text = f"{said(a, rtol)} x {text}"
            whole = max(abs(a), 1 / abs(a))  # the number of rows, which of a gradient is not known
            if close(whole, field.known.get("n", round(whole)), 1e3 * rtol) and round(whole) > 2:
                text += f"; that is, all but a term {times(c / (1 - a))} is multiplied by {said(a, rtol)} (a sum over the batch where a mean belongs, or the reverse?)"
        key = "weight decay" if term.why is QUADRATIC and field.of == "theta" else term.key
        pattern = f"yours = {a:.12f} x reference {c:+.12f} {name}"
        yield field.says(key, f"{your} {text}", a * ref + c * extra, 1 + (not one), pattern, coefficients=(a, c))


# ------------------------------------------------------------------------------- one number for each dimension, or each row


def by_unit(field, axis):
    """Dimensions (axis 0) or rows (axis 1) permuted, or each with its own factor: left out or weighted."""
    theirs, r, tolerance = (a if axis else a.T for a in (field.theirs, field.reference, field.tolerance))
    (k, m), unit = r.shape, field.unit if axis else "dimension"
    if k < 2 + axis:
        return
    back = lambda a: a if axis else a.T
    order, signs = _order(theirs, r)
    if order is not None and (axis or (m > 1 and len(set(order)) == k)):
        negated = bool(np.any(signs < 0))
        why = ": they are mixed up (a transpose, a shuffle?)" * axis
        text = f"your {unit}s are those of the reference in the order {few(order)}{', some negated' * negated}{why}"
        key = f"{unit if axis else 'column'}s permuted"
        candidate, allowed = back(r[order] * signs[:, None]), back(tolerance[order])
        yield field.says(key, text, candidate, 1 + axis + negated, text[5:], allowed)
    c = np.sum(theirs * r, axis=1) / np.maximum(np.sum(r**2, axis=1), 1e-300)
    if m > 1 or np.ptp(c) == 0 or np.any(np.abs(c - 1) <= 1e3 * field.rtol):
        factors = np.where(np.abs(c - 1) > 1e3 * field.rtol, c, 1.0)  # near 1 is right, or it explains nothing
        yield from _with_factors(field, factors, back(factors[:, None] * r), unit, axis)


by_dimension, by_row = partial(by_unit, axis=0), partial(by_unit, axis=1)


def _order(rows, among):
    """Which row of `among` each row is, up to its sign, and the signs; (None, None) if one is none, or all stand where they should."""
    from scipy.optimize import linear_sum_assignment

    scale = 1e-7 * np.abs(among).max()
    same = lambda s: np.array([np.all(np.abs(row - s * among) <= 1e-6 * np.abs(among) + scale, axis=1) for row in rows])
    plus, minus = same(1), same(-1)
    either = plus | minus
    order = either.argmax(axis=1)
    if not either.any(axis=1).all() or np.array_equal(order, np.arange(len(rows))):
        return None, None
    if len(set(order)) < len(rows):  # of equal rows each is one
        _, each = linear_sum_assignment(np.where(plus, 0, np.where(minus, 1, len(rows) + 1)))
        order = each if either[np.arange(len(rows)), each].all() else order
    return order, np.where(plus[np.arange(len(rows)), order], 1, -1)


def _with_factors(field, c, candidate, unit, is_row):
    """Explanations by one factor for each dimension, or for each row: c (k,)."""
    wrong, word = c != 1, field.word
    if not wrong.any() or field.residual(candidate) > 1:
        return
    digits = min(1e-6, np.abs(c[wrong] - 1).min() / 8)  # a factor that differs from 1 is not called 1
    different = list(dict.fromkeys(said(v, digits) for v in c[wrong]))
    pattern = f"a factor for each {unit}: {np.array2string(c[:6], precision=6)}{' ...' * (len(c) > 6)}"
    say = lambda key, text, constants: field.says(key, text, candidate, constants, pattern, factors=c)
    if wrong.all():
        text = f"each {unit} has the right direction and a length of its own: a function of {field.of} multiplies the {word}"
        if is_row:
            yield say(f"factor of each {unit}", text, len(c))
        elif len(different) > 1:
            text = f"each dimension of your {word} is off by its own factor, {few(different)} (scales of the columns, whose chain rule is left out?)"
            yield say("scale of each dimension", text, max(2, len(different)))
        return
    names = f"{numbered(unit, which_rows(field, wrong) if is_row else np.flatnonzero(wrong))} of your {word}"
    which = f", the others are right{where(field, wrong) if is_row else ''}"
    is_, has = ("is", "has") if wrong.sum() == 1 else ("are", "have")
    factors = f" of {', '.join(different)}" * (len(different) <= 6)
    scale = f"{'' if is_row else 'scale of '}some {unit}s", f"{is_} off by a factor{factors}", 1 + len(different)
    special = {
        "0": (f"no {word} for some {unit}s", f"{is_} zero (detached, or never written?)", 1),
        "-1": (f"sign of some {unit}s", f"{has} the wrong sign", 1),
    }
    near = next((v for v in special if np.all(np.abs(c[wrong] - float(v)) <= 1e3 * field.rtol)), "")
    key, what, constants = special.get(near, scale)
    yield say(key, f"{names} {what}{which}", constants)


def clipped(field):
    """Rows clipped to a norm, or entries to an interval."""
    theirs, r = field.theirs, field.reference
    longest, norm = _norm(theirs).max(), _norm(r)
    at_longest = np.sum(_norm(theirs) >= longest * (1 - 1e-9))
    if r.shape[1] > 1 and 0 < np.sum(norm > longest * (1 + 1e-9)) < len(r) and at_longest > 1:
        text = f"rows longer than {said(longest, 1e-6)} are clipped to that norm"
        yield field.says("clipped", text, r * np.minimum(1.0, longest / np.maximum(norm, 1e-300)), 1)
    top, bottom, near = theirs.max(), theirs.min(), field.allowed(theirs)
    above, below = (theirs >= top - near) & (r > top + near), (theirs <= bottom + near) & (r < bottom - near)
    at_limit = int(np.sum(above | below))
    if top > bottom and at_limit > 2:
        pattern = f"{at_limit} entries of {theirs.size} stand at a limit"
        ends = [f"above {top:.6g}"] * bool(above.any()) + [f"below {bottom:.6g}"] * bool(below.any())
        text = (
            f"entries are clipped to [{bottom:.6g}, {top:.6g}]"
            if len(ends) > 1
            else f"entries {ends[0]} are clipped to it"
        )
        yield field.says("clipped", text, np.clip(r, bottom, top), len(ends), pattern)


# ------------------------------------------------------------------------------- a matrix


def matrix(field):
    """theirs = reference @ M for one matrix M: the score of other coordinates."""
    theirs, ref, word = field.theirs, field.reference, field.word
    n, d = ref.shape
    if d == 1 or n < d + 2:
        return
    M = np.linalg.lstsq(ref, theirs, rcond=None)[0]
    U, _, V = np.linalg.svd(M)
    if field.residual(ref @ M) > 1:
        return
    pattern = f"yours = reference @ M, M = {_shown(M)}"
    say = lambda key, text, constants, M=M: field.says(key, f"your {word} is {text}", ref @ M, constants, pattern)
    if field.x is not None and field.x.shape == ref.shape:
        cov = np.cov(field.x.T)
        for name, other in (("the covariance of x", cov), ("the inverse covariance of x", np.linalg.pinv(cov))):
            if np.allclose(M / M[0, 0], other / other[0, 0], rtol=1e-5):
                yield say("preconditioned", f"multiplied by {name}", 1)
    rotated = "the reference in rotated coordinates: multiplied by an orthogonal matrix"
    yield say("rotated", rotated, d * (d - 1) // 2, U @ V)
    why = "(a linear map of x whose chain rule is missing or doubled, a matrix in the place of another?)"
    yield say("other coordinates", f"the reference times a matrix {why}", d * d)


def _triangle(B):
    """Whether a matrix is symmetric, or has nothing on one side of its diagonal."""
    return any(np.allclose(B, other, rtol=1e-6, atol=1e-6 * np.abs(B).max()) for other in (B.T, np.tril(B), np.triu(B)))


MATRICES = (  # of a score -B (x - mu) where -H (x - mu) belongs: key, sentence, whether B is that of H, constants for d dimensions
    ("inverse matrix", "its matrix is the inverse of the right one: a covariance stands where a precision, its inverse, belongs, or the reverse", lambda B, H: (B @ H, np.eye(len(H))), lambda d: 0),
    ("correlations left out", "its matrix is the diagonal of the right one: its other entries, the correlations, are left out", lambda B, H: (B, np.diag(np.diag(H))), lambda d: 0),
    ("correlations left out", "it divides by the variance of each dimension alone: the correlations are left out", lambda B, H: (B, np.diag(1 / np.diag(np.linalg.inv(H)))), lambda d: 0),
    ("root of the variances", "it divides by the standard deviation of each dimension where the variance, its square, belongs (or multiplies by the root of a precision)", lambda B, H: (B, np.sqrt(np.abs(np.diag(np.diag(H))))), lambda d: 0),
    ("triangle", "its matrix is one triangle of the right one: the other half is left out", lambda B, H: (B, np.tril(H) if abs(B[0, -1]) < abs(B[-1, 0]) else np.triu(H)), lambda d: 0),
    ("root of the matrix", "its matrix B has the square B B^T of the right one: a root (a Cholesky factor) stands where the matrix belongs", lambda B, H: (B @ B.T, H), lambda d: 1),
    ("root of the matrix", "its matrix B has the square B^T B of the right one: a root (a Cholesky factor) stands where the matrix belongs, or its transpose", lambda B, H: (B.T @ B, H), lambda d: 1),
    ("root of the matrix", "its matrix is a root of the inverse of the right one: a Cholesky factor of the covariance stands where the precision belongs, or the reverse", lambda B, H: (B @ B.T @ H, np.eye(len(H))), lambda d: 1),
    ("not symmetric", "its matrix A is not symmetric, and (A + A^T)/2 is the right one: the gradient of x.A x/2 is (A + A^T) x/2, not A x", lambda B, H: (B + B.T, 2 * H), lambda d: d * (d - 1) // 2),
    ("not symmetric", "its matrix A is not symmetric, and A + A^T is the right one: the gradient of x.A x is (A + A^T) x, not A x", lambda B, H: (B + B.T, H), lambda d: d * (d - 1) // 2),
    ("squared matrix", "its matrix is the square of the right one (a variance given as a standard deviation, a product that is taken twice?)", lambda B, H: (B, H @ H), lambda d: 0),
    ("squared matrix", "its matrix is the inverse of the right one, squared: a covariance is multiplied twice where its inverse belongs", lambda B, H: (B @ H @ H, np.eye(len(H))), lambda d: 0),
    ("same eigenvalues", "its matrix has the eigenvalues of the right one (signs of the correlations, dimensions or matrices in another order, a transpose?)", lambda B, H: (np.poly(B), np.poly(H)), lambda d: d * (d - 1) // 2 + 1),
    ("not symmetric", "its matrix is not symmetric, and so it is the gradient of no energy (a product of matrices that lacks one or has one twice, x.A x differentiated to A x, one of two terms left out?)", lambda B, H: (B, B), lambda d: d * d - 1),
)  # fmt: skip


def linear(field):
    """theirs = -B (x - mu) where the reference is -H (x - mu): what B is of H."""
    x, d = field.x, field.reference.shape[1]
    if x is None or x.shape != field.reference.shape or len(x) < d + 2 or d == 1:
        return
    basis = np.column_stack([x, np.ones(len(x))])
    (B, b), (H, h) = ((-c[:d].T, c[d]) for c in (np.linalg.lstsq(basis, a, rcond=None)[0] for a in field[:2]))
    candidate = b - x @ B.T
    if field.residual(candidate) > 1:
        return
    if field._replace(theirs=field.reference).residual(h - x @ H.T) > 1:
        text = f"your {field.word} is linear in {field.of}, and the reference is not (terms that are left out, weights, responsibilities or a scale that are taken as constant, the energy is not used?)"
        yield field.says("linear", text, candidate, d * (d + 1), f"yours = b - B {field.of}, B = {_shown(B)}")
        return
    if np.linalg.cond(H) > 1e8 or np.abs(b - B @ np.linalg.solve(H, h)).max() > 1e-6 * max(
        np.abs(b).max(), np.abs(candidate).max()
    ):
        return
    same = lambda a, c: np.abs(a - c).max() <= 1e-6 * np.abs(c).max()
    for key, text, of, constants in MATRICES:
        fits = {"not symmetric": not same(B.T, B), "root of the matrix": _triangle(B)}.get(key, True)
        if fits and same(*of(B, H)) and not same(B, H):
            say = f"your {field.word} is linear in {field.of}, as the reference is, and {text}"
            yield field.says(key, say, candidate, constants(d), f"B = {_shown(B)}, H = {_shown(H)}")


def _shown(M):
    """The first numbers of a matrix, as text."""
    text = np.array2string(M[:4, :4] + 0.0, precision=4, max_line_width=200, suppress_small=True).replace("\n", "")
    return text + " ..." * (len(M) > 4)


# ------------------------------------------------------------------------------- small errors, and where they are


def one_sided(field):
    """theirs - reference = c x second derivative: a one-sided difference."""
    if field.second is None:
        return
    gap, second = field.theirs - field.reference, field.second
    c = np.sum(gap * second) / max(np.sum(second**2), 1e-300)
    rest = np.abs(gap - c * second) / (0.05 * np.abs(gap).max() + field.allowed(field.theirs))
    if np.abs(gap).max() < 0.05 * np.abs(field.reference).max():
        moved = ", or where x is moved by half of that" * (second.shape[1] == 1)
        text = f"the error is proportional to the curvature, as of a one-sided difference with step {abs(2 * c):.2g}{moved}; take central ones, or differentiate"
        detail = {"step": 2 * c, "pattern": f"yours - reference = {c:.3g} x second derivative"}
        yield Explanation("one-sided difference", text, False, 1, float(rest.max()), detail)


SINGLE = 2.0**-23
COARSE = {"float16": 2.0**-10, "float32": SINGLE}  # types of few digits, the fewest first
OF_SIZE = ("precision", "inaccurate")  # they say how large the differences are, and leave every one of them free


def rounded(field):
    """All differences small, and nearly all there: round-off of single precision, of x or of constants; or a coarse approximation."""
    gap, size = field.gap, _norm(field.reference)
    share, differ = np.max(gap / np.maximum(size, np.sqrt(np.mean(size**2)) + 1e-300)), np.mean(gap > field.tolerance)
    if differ <= 0.5:
        return
    detail = {"pattern": f"relative differences up to {share:.0e}, in {differ:.0%} of the entries"}
    say = lambda key, text, right, constants: Explanation(key, text, right, constants, 1.0, detail)
    like = lambda unit, size: np.all(gap <= unit * size) and np.median(gap / (size + 1e-300)) > unit / 1024
    if like(SINGLE, 16 * size):
        text = "the differences have the size of float32 round-off, as of a part in single precision, of constants kept in float32, or of an approximation as good"
        yield say("precision", text, True, 2)
    elif field.rounds and like(COARSE[field.rounds], moved(field.second, field.x)):
        far = ", which is far from the origin beside its spread" * (field.rounds == "float32")
        cure = (
            "subtract the offset before it is rounded"
            if far
            else "leave x, and what it is multiplied by, in double precision"
        )
        text = f"it rounds x to {field.rounds}{far}: the numbers are the same at x rounded, and the differences have that size; {cure}"
        yield say("precision", text, False, 2)
    elif share < 1e-2:
        text = f"your {field.word} is the reference up to {share:.0e}, as with a finite difference, an iteration that stops early, a regulariser or a small term that is wrong"
        yield say("inaccurate", text, False, gap.size)


def moved(second, x):
    """What a relative rounding of x moves a gradient by (n, d): sum_j |H_ij| |x_j|, with |H_ij| bounded by sqrt |H_ii H_jj|."""
    root = np.sqrt(np.abs(second))
    return root * np.sum(root * np.abs(x), axis=1, keepdims=True)


def located(field):
    """Where the entries are wrong, if not everywhere: a free constant for each of them."""
    wrong = field.gap > field.tolerance
    dims, rows = wrong.any(axis=0), wrong.any(axis=1)
    if not dims.all():
        unit, names = "dimension", numbered("dimension", np.flatnonzero(dims))
    elif not rows.all():
        unit, names = field.unit, numbered(field.unit, which_rows(field, rows))
    else:
        return
    text = f"only {names} of your {field.word} went wrong{where(field, rows)}"
    if wrong.sum() == 1 and np.any(field.reference[wrong]):
        times = float(field.theirs[wrong][0] / field.reference[wrong][0]) + 0.0
        text += f", which is {times:.6g} times what it should be{_of_its_own(field, wrong, times)}"
    text += ": a term in which they stand is wrong, left out or detached" * (field.of == "theta")
    detail = {"pattern": f"{wrong.sum()} of {wrong.size} entries differ"}
    yield Explanation(f"some {unit}s", text, False, int(wrong.sum()), 1.0, detail)


def _of_its_own(field, wrong, times):
    """What a factor of one parameter is of that parameter, in words; ""."""
    if field.of != "theta" or field.x is None:
        return ""
    theta = float(field.x[wrong.any(axis=1)][0, 0])
    known = {f"exp({k:g} theta)".replace("(1 ", "(").replace("-1 ", "-"): math.exp(k * theta) for k in (1, -1, 2, -2, 0.5, -0.5)} | {
        "theta": theta, "theta^2": theta**2, "1/theta": 1 / theta if theta else math.inf, "2 theta": 2 * theta,
    }  # fmt: skip
    word = next((word for word, value in known.items() if close(times, value, 1e-6)), "")
    return (
        f" ({word}, theta being that parameter: the chain rule of a parameter that is a logarithm, or a square)"
        * bool(word)
    )


def by_entry(field):
    """Exactly the entries wrong beyond a threshold of their own x, or of the reference, with one factor, or a constant, if it is one."""
    wrong, x, r = field.gap > field.tolerance, field.x, field.reference
    looked = [] if x is None or x.shape != r.shape else [(f"|{field.of}_j|", np.abs(x)), (f"{field.of}_j", x)]
    n = int(wrong.sum())
    if not 2 <= n <= wrong.size - 2 or wrong.shape[1] == 1 or CHANCE * math.comb(wrong.size, n) < 8:
        return
    for name, values in [*looked, (f"|{field.word}_j|", np.abs(r))]:
        for sign, than in ((1, ">"), (-1, "<")):
            limit = sign * np.max(sign * values[~wrong])
            if np.min(sign * values[wrong]) <= sign * limit:
                continue
            c, off = field.theirs[wrong] / np.where(r[wrong], r[wrong], np.nan), (field.theirs - r)[wrong]
            same = lambda a: np.ptp(a) <= 1e-6 * np.abs(a).max()
            what = f", by a factor {said(c[0], 1e-6)}" if same(c) else f", by {off[0]:+.6g}" if same(off) else ""
            text = f"of your {field.word} exactly the entries with {name} {than} {limit:.4g} are off{what}: another formula stands there (a threshold, a clip, a branch that is taken at the wrong place?)"
            pattern = f"{n} of {wrong.size} entries differ"
            yield Explanation("some entries", text, False, 3 if what else 4, 1.0, {"pattern": pattern})
            return


def few(words):
    """The first six of them."""
    return ", ".join(map(str, words[:6])) + " ..." * (len(words) > 6)


def numbered(unit, numbers):
    """Ascending numbers of a unit in words: "dimension 1", "rows 0, 2", "parameters 0-14, 20, 22-24"; the first eight ranges of them."""
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    pieces = [f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs[:8]]
    return f"{unit}{'s' * (len(numbers) > 1)} {', '.join(pieces)}{' ...' * (len(runs) > 8)}"


def which_rows(field, these):
    """Numbers of some of its rows, in the whole that they are taken from."""
    return np.flatnonzero(these) if field.numbers is None else field.numbers[these]


CHANCE = 0.4  # with which a threshold on one of the quantities looked at may part rows in any way


def where(field, wrong):
    """What sets the wrong rows apart: one coordinate, the norm or the energy above or below a threshold, if chance hardly does; or ""."""
    x, of, looked = field.x, field.of, []
    if x is not None and x.shape[1] == 1:
        looked = [(of, x[:, 0])]
    elif x is not None:
        looked = [*((f"{of}[:, {j}]", xj) for j, xj in enumerate(x.T)), (f"|{of}|", _norm(x)[:, 0])]
    looked += [] if field.energy is None else [("E", field.energy)]
    looked += [(f"|{field.word}|", _norm(field.reference)[:, 0])]
    if 2 * len(looked) > CHANCE * math.comb(len(wrong), int(wrong.sum())):
        return ""
    for name, values in looked:
        for sign, than in ((1, ">"), (-1, "<")):
            limit = sign * np.max(sign * values[~wrong])
            if np.min(sign * values[wrong]) > sign * limit:
                return f": exactly those with {name} {than} {limit:.4g}"
    return ""


RULES = (
    scaled,
    constant,
    shifted,
    added,
    by_dimension,
    by_row,
    mapped,
    clipped,
    matrix,
    linear,
    one_sided,
    rounded,
    by_entry,
    located,
)
