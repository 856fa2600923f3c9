"""What a check says of a user's numbers: the verdict, the worst of them, in a sentence what explains every one; and a number in words: 0.125 is 1/8, or 1/n."""

import itertools
import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from ..numerics.differences import SAFETY

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
SCHEMA = "numpyscore-check/1"
QUOTIENT = 1e-7  # relative error up to which what may be a difference quotient is right
# what a small error of a quotient looks like
APPROXIMATE = ("five-point difference", "one-sided difference", "inaccurate", "constant shift", "some rows")


class Worst(NamedTuple):
    """Where the two numbers are furthest apart for their tolerance, and both of them."""

    place: str
    yours: float
    reference: float
    tolerance: float

    def __str__(self):
        # a resolution of 1 or more resolves nothing
        resolution = f" (resolution {self.tolerance:.0e})" if self.tolerance < 1 else ""
        return f"{self.place}: yours {self.yours:+.9g}, reference {self.reference:+.9g}{resolution}"


@dataclass(frozen=True)
class CheckReport:
    """The result of a check; `bool(report)` is True on PASS alone, `print(report)` says all of it.

    check : which check this is, for example "check_score"
    verdict : "PASS", "FAIL", or "INCONCLUSIVE" where the numbers sustain neither
    summary : what was compared: how many points, which dtypes, how many evaluations
    worst : the `Worst` pair of numbers, None if there is none
    pattern : what the difference looks like, in numbers
    diagnosis : what it is, "name: a sentence"; empty on a PASS that needs no words
    resolution : the smallest relative error that would have been noticed
    notes : whatever else the user should know: dtypes that changed, conventions and their conversion
    details : numbers for machines
    """

    check: str
    verdict: str
    summary: str
    worst: Worst | None = None
    pattern: str = ""
    diagnosis: str = ""
    resolution: float = np.nan
    notes: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)

    def __bool__(self):
        return self.verdict == PASS

    @property
    def name(self):
        """The diagnosis in a word or two: what stands before its colon."""
        return self.diagnosis.split(":")[0]

    def to_dict(self):
        """Plain numbers, strings and lists, for JSON."""
        worst = None if self.worst is None else self.worst._asdict()
        return _plain({"schema": SCHEMA, **vars(self), "worst": worst, "name": self.name})

    def __str__(self):
        noticed = f"would have noticed a relative error of {self.resolution:.0e}"
        rows = [
            ("worst", self.worst if self.verdict != PASS else None),
            ("pattern", self.pattern),
            ("diagnosis", self.diagnosis),
            ("resolution", noticed if 0 < self.resolution < 1 else ""),
            *(("note", note) for note in self.notes),
        ]
        first = f"{self.check} {self.verdict}  {self.summary}"
        return "\n".join([first, *(f"  {word:<10} {text}" for word, text in rows if text)])

    __repr__ = __str__


def summary_of(points, function=None, evaluations="", unit="point"):
    """Points, dtypes and evaluations in words."""
    n, d = points.shape
    dtypes = () if function is None else (f"{function.went} in", f"{function.came} out")
    return ", ".join(filter(None, (f"{n} {unit}{'s' * (n > 1)} x {d} dim{'s' * (d > 1)}", *dtypes, evaluations)))


def _plain(value):
    """JSON has no infinity and no NaN: they become None, NumPy's scalars and arrays become Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        return [_plain(value.real), _plain(value.imag)]
    return None if isinstance(value, float) and not np.isfinite(value) else value


# ------------------------------------------------------------------------------- what explains a user's numbers


@dataclass(frozen=True)
class Explanation:
    """One account of what the user's numbers are.

    key : its name, a word or two, such as "sign" or "previous row"
    sentence : the same for the user
    right : whether it is another convention and no mistake
    constants : free constants that were fitted, plus one for each change beyond the first; the fewer, the more it explains
    residual : largest distance from the user's numbers, over every entry, in units of the stated tolerance; it holds up to 1
    detail : numbers behind it; `detail["pattern"]` is their text
    """

    key: str
    sentence: str
    right: bool = False
    constants: int = 0
    residual: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def diagnosis(self):
        """ "key: sentence"."""
        return f"{self.key}: {self.sentence}"

    @property
    def pattern(self):
        """The numbers behind it, as text."""
        return str(self.detail.get("pattern", ""))


def ranked(explanations):
    """Those that hold for every entry within the stated tolerance, fewest constants first; the order of equals is kept."""
    return sorted((e for e in explanations if e.residual <= 1), key=lambda e: e.constants)


def tied(explanations):
    """The first of ranked explanations with all others of as few constants: between these the numbers do not decide."""
    return [e for e in explanations if e.constants == explanations[0].constants]


def diagnosis_of(explanations):
    """The diagnosis that names the first three of them, each once."""
    return " -- or -- ".join(list(dict.fromkeys(e.diagnosis for e in explanations))[:3])


# ------------------------------------------------------------------------------- the verdict on a field beside its reference


def enough(eps):
    """Relative resolution that a PASS needs, in float64 and below."""
    return 1e-6 if eps < 1e-10 else 2e-2


def sizes(reference, yours):
    """What a relative error of each row is relative to (n, 1): the norm of the row, at least that of the field."""
    norm = np.linalg.norm(reference, axis=1, keepdims=True)
    size = np.maximum(norm, np.sqrt(np.mean(norm**2)))
    return np.where(size > 0, size, np.maximum(np.abs(yours).max(), 1e-300))


def judge(where, summary, field, functions, explain, *, rtol=None, place=None):
    """PASS, FAIL or INCONCLUSIVE for a `Field` (n, d), with the diagnosis.

    functions : the `Function`s behind it, the user's field first; the coarsest precision counts
    explain : callable Field -> the explanations to be told; called if something is wrong
    place : callable (i, j) -> text, where an entry stands
    """
    eps = max(f.eps for f in functions)
    size, least, gap, allowed = field.sizes, max(rtol or 0.0, enough(eps)), field.gap, field.tolerance
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
    quotients = any(f.precision.kind == "quotient" for f in functions)
    found = explain(field._replace(round_off=256 * eps))
    if not found and quotients:  # something of the table, but for what difference quotients leave
        found = explain(field._replace(tolerance=np.maximum(allowed, QUOTIENT * size)))
    if found and found[0].right:
        return report(PASS, notes=(*notes, found[0].sentence))
    loose = not found or found[0].key in APPROXIMATE or found[0].constants > 1  # it need not be what they come from
    if share <= QUOTIENT and (quotients or loose):
        like = "as difference quotients are; derivatives would be right to 1e-14"
        if not quotients and not (found and found[0].key.endswith("difference")):
            like = "as difference quotients, iterations and short constants are; where that comes from is not known"
        return report(PASS, notes=(*notes, f"right up to {share:.0e} of its size, {like}"))
    pattern = (
        f"{wrong.sum()} of {wrong.size} entries differ, by up to {share:.2g} of the size of a row{_spanned(field)}"
    )
    none = f"different: your {field.word} is none of the functions of the reference that are known here (another energy, other parameters, a term that is wrong or left out?)"
    pattern, text = (found[0].pattern, diagnosis_of(found)) if found else (pattern, none)
    return report(FAIL, notes=notes, pattern=pattern, diagnosis=text)


def _spanned(field):
    """Which directions the differences lie along, if not all."""
    n, d = field.theirs.shape
    *_, sizes, axes = np.linalg.svd(field.theirs - field.reference)
    rank = int(np.sum(sizes > 1e-6 * sizes[0]))
    if rank >= min(n - 1, d):
        return ""
    one = np.round(axes[0] / axes[0][np.abs(axes[0]).argmax()], 6) + 0.0  # -0. is 0.
    along = np.array2string(one, precision=4) if rank == 1 else f"{rank} directions"
    return f", and lie along {along} in every row: a term of {rank} of the {d} directions of x"


def _unresolved(field, functions, resolved, least):
    """Why nothing is claimed."""
    coarse = next((f for f in functions if f.precision.kind and f.eps == max(f.eps for f in functions)), None)
    if coarse:
        cure = ": take a longer step, double precision, or derivatives, the same random numbers, other points" * (
            coarse.precision.kind == "quotient"
        )
        return f"precision: {coarse.precision.note(coarse.name, coarse.came)}, which decides nothing{cure}"
    if np.all(np.abs(field.reference) <= field.tolerance):
        return f"unresolved: the {field.word} is zero to all digits that differences have, and nothing is relative to zero; take other {field.of}"
    return (
        f"unresolved: for {np.sum(~resolved)} of {resolved.size} entries the halvings disagree by more than {least:.0e} of the {field.word} (a step that is too long, "
        f"or leaves the domain: give step=; a kink, a large offset, too few digits?); nothing is claimed about them"
    )


def _worst(field, gap, size, place):
    """The `Worst` pair of numbers: furthest apart for their tolerance."""
    with np.errstate(all="ignore"):
        ratio = gap / (field.tolerance + 1e-300)
    i, j = np.unravel_index(np.nanargmax(ratio), gap.shape)
    text = f"x[{i}], dim {j}" if gap.shape[1] > 1 or field.word == "score" else f"x[{i}]"
    text = text if place is None else place(int(i), int(j))
    return Worst(text, *(float(a[i, j]) for a in (field.theirs, field.reference, field.tolerance / size)))


# ------------------------------------------------------------------------------- a number in words

PLAIN = {1.0: "1", 2.0: "2", 0.5: "1/2", 4.0: "4", 0.25: "1/4", 3.0: "3", 1 / 3: "1/3", 8.0: "8", 0.125: "1/8"}
SIMPLE = (*PLAIN, 3 / 2, 2 / 3, 3 / 4, 4 / 3)  # numbers that stand for themselves, whatever n or d is
PLAINNESS = 3  # cost of a plain number: beside "1/n" (2) it is listed, and "2 d/n^2" (7) is not
NEXT = 1  # readings that cost more than this beyond the simplest are far-fetched beside it
IRRATIONAL = {
    math.sqrt(2): "sqrt(2)",
    math.sqrt(0.5): "1/sqrt(2)",
    math.pi: "pi",
    2 * math.pi: "2 pi",
    math.sqrt(2 * math.pi): "sqrt(2 pi)",
    1 / math.sqrt(2 * math.pi): "1/sqrt(2 pi)",
    math.log(2): "log 2",
    1 / math.log(2): "1/log 2",
    math.log(10): "log 10",
}


def close(a, b, rtol):
    """Whether two numbers agree to rtol of the larger."""
    return abs(a - b) <= rtol * max(abs(a), abs(b))


def said(c, rtol=1e-9):
    """A number as one would say it: "1/2", "-1", "sqrt(2)", or its digits."""
    sign, size = ("-" if c < 0 else ""), abs(c)
    for value, text in (PLAIN | IRRATIONAL).items():
        if close(size, value, rtol):
            return sign + text
    if rtol < 1e-5 and size < 1e6:
        fraction = Fraction(size).limit_denominator(64)
        if fraction and close(float(fraction), size, rtol):
            return f"{sign}{fraction}"
    digits = max(2, min(12, round(-math.log10(rtol))))
    text = f"{c:.{digits}g}"
    return text if abs(float(text)) not in PLAIN else f"{c:.{digits + 3}g}"  # it is not that number, or it were said


def power(name, exponent):
    """ "sigma^2", "1/d", "sqrt(d)" ..."""
    root = abs(exponent) == 0.5
    bare = name.removeprefix("(").removesuffix(")") if name.startswith("(") else name
    size = f"sqrt({bare})" if root else name if abs(exponent) == 1 else f"{name}^{abs(exponent):g}"
    return size if exponent > 0 else f"1/{size}"


def product(c, exponents, rtol=1e-9):
    """c times powers in words: "2/d", "sigma^4", "-1/n"."""
    above = [power(name, e) for name, e in exponents.items() if e > 0]
    below = [power(name, -e) for name, e in exponents.items() if e < 0]
    number = said(c, rtol)
    if not above and not below:
        return number
    sign = "-" if number.startswith("-") else ""
    top = [t for t in [number.removeprefix("-")] if t != "1"] + above
    if top and top[0].startswith("1/"):
        below, top = [top[0][2:]] + below, top[1:]
    text = " ".join(top) or "1"
    if below:
        text += "/" + (below[0] if len(below) == 1 else f"({' '.join(below)})")
    return sign + text


def readings(c, known, rtol=1e-9):
    """All simple readings of a number as a power of known quantities, simplest first: ["1/n", "1/d"] when n = d.

    Parameters
    ----------
    c : float
    known : dict, name -> value, such as {"n": 8, "d": 3}
    rtol : float
    """
    found = []
    if any(close(abs(c), value, rtol) for value in SIMPLE):  # 1/2 is no d/n of six points in three dimensions
        found.append((PLAINNESS, said(c, rtol)))
    names = list(known)
    for exponents in itertools.product((0, 1, -1, 2, -2, 0.5, -0.5), repeat=len(names)):
        if sum(map(bool, exponents)) > 2 or any(e and not known[n] for n, e in zip(names, exponents, strict=True)):
            continue
        rest = c / math.prod(known[n] ** e for n, e in zip(names, exponents, strict=True))
        for value in (1.0, 2.0, 0.5):
            if close(abs(rest), value, rtol):
                powers = {n: e for n, e in zip(names, exponents, strict=True) if e}
                cost = 2 * sum(abs(e) + (abs(e) == 0.5) for e in exponents) + (value != 1) + (rest < 0)
                found.append((cost, product(math.copysign(value, rest), powers)))
    least = min((cost for cost, _ in found), default=0)
    return list(dict.fromkeys(text for cost, text in sorted(found) if cost <= least + NEXT))


@cache
def _exponents(choices):
    """All combinations of exponents (C, names)."""
    return np.array(list(itertools.product(*choices)), float)


def _near(of, log, choices, rtol):
    """All exponents (C, names) with |of @ e - log| <= rtol, as the sums of two halves of the names."""
    half = len(choices) // 2
    left, right = _exponents(tuple(choices[:half])), _exponents(tuple(choices[half:]))
    i, j = np.nonzero(np.abs(log - (left @ of[:half])[:, None] - right @ of[half:]) <= rtol)
    return np.hstack([left[i], right[j]])


def _fitting(sizes, logs, choices, rtol):
    """The exponents (C, names), one of the choices of each name, with |sizes @ e - logs| <= rtol in all rows."""
    k = len(choices)
    nearest, _, rank, scale = np.linalg.lstsq(sizes, logs, rcond=None) if k <= len(sizes) else (np.zeros(k), 0, 0, None)
    if k and rank == k and 2 * np.sqrt(len(sizes)) * rtol / scale[-1] < 0.25:  # no two half integers are as near
        one = np.round(2 * nearest) / 2
        exponents = one[None] if all(e in of for e, of in zip(one, choices, strict=True)) else np.empty((0, k))
    else:
        exponents = _near(sizes[0], logs[0], choices, rtol) if k else np.empty((1, 0))
    for of, log in zip(sizes, logs, strict=True):  # few choices survive the first
        exponents = exponents[np.abs(log - exponents @ of) <= rtol]
    return exponents


def law(values, settings, rtol=1e-8, odd=()):
    """(c, {name: exponent}) with values[g] = c prod settings[g][name]^exponent for all g, simplest first; None if there is none.

    Parameters
    ----------
    values : sequence of floats, all of one sign
    settings : sequence of dicts, name -> positive value, one for each value
    rtol : float
    odd : names whose exponents may be halves
    """
    names = [name for name in settings[0] if len({s[name] for s in settings}) > 1]
    choices = [(0, 1, -1, 2, -2, 4, -4, 3, -3) + ((0.5, -0.5) if name in odd else ()) for name in names]
    values = np.asarray(values, float)
    if np.any(values == 0) or np.any(np.sign(values) != np.sign(values[0])):
        return None
    sizes = np.log(np.array([[s[name] for name in names] for s in settings], float).reshape(len(settings), -1))
    logs = np.log(np.abs(values))
    exponents = _fitting(sizes[1:] - sizes[0], logs[1:] - logs[0], choices, rtol)
    if len(exponents) == 0:
        return None
    best = exponents[np.argmin(np.abs(exponents).sum(1) + 0.1 * (exponents != 0).sum(1))]
    c = float(np.sign(values[0]) * np.exp(logs[0] - best @ sizes[0]))
    return c, {name: float(e) for name, e in zip(names, best, strict=True) if e}
