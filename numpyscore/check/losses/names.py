"""From coefficients to a sentence: which term of a loss is off, by which factor, and whether that is a bug or a convention."""

import math
from typing import Any, NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from ..report import FAIL, PASS, PLAIN, close, law, product, said

LINEAR = {name: row.linear for name, row in OBJECTIVES.items()}  # what the linear term of each objective is called
SQUARE = "square of the score"
COARSEST = 4e-7  # coefficients that agree to this are the same: a level in single precision, off by 6e-8, squared or cubed, is no bug
SHORT = {SQUARE: "square", "curvature v.J v": "curvature"}


class Naming(NamedTuple):
    """Verdict, "name: sentence", the numbers behind it, and what else to say."""

    verdict: str
    diagnosis: str
    pattern: str
    notes: tuple[str, ...] = ()
    resolution: float = np.nan


class Level(NamedTuple):
    """What a coefficient may depend on: sizes, noise level, number of probes, scale of the data, number of levels."""

    n: int
    d: int
    sigma: float = 1.0
    m: int = 1
    scale: float = 1.0
    levels: int = 1


class Factor(NamedTuple):
    """A factor as a law in the settings: c times powers, in words; `known` if a law was found."""

    c: float
    powers: dict
    text: str
    known: bool
    rtol: float = COARSEST
    form: str = ""

    @property
    def cost(self):
        """How far it is from 1, for choosing between two accounts of the same numbers."""
        plain = close(abs(self.c), 1, 1e-6)
        return (
            (not plain)
            + 2 * sum(map(abs, self.powers.values()))
            + 5 * (not self.known)
            + (self.c < 0)
            + bool(self.form)
        )

    @property
    def one(self):
        """Whether it is 1."""
        return self.known and not self.powers and not self.form and close(self.c, 1, self.rtol)


FORMS = {  # factors that are no powers
    "": lambda s: 1.0,
    "n/(n-1)": lambda s: s.n / (s.n - 1),
    "(n-1)/n": lambda s: (s.n - 1) / s.n,
    "(d-1)/d": lambda s: (s.d - 1) / s.d,
    "d/(d-1)": lambda s: s.d / (s.d - 1),
    "1/(d-1)": lambda s: 1 / (s.d - 1),
    "1/(d+1)": lambda s: 1 / (s.d + 1),
    "1/(1+sigma^2)": lambda s: 1 / (1 + s.sigma**2),
    "(1+sigma^2)": lambda s: 1 + s.sigma**2,
    "(1-sigma)": lambda s: 1 - s.sigma,
}


def factor(values, levels, rtol):
    """The `Factor` behind a coefficient at each level: powers of n, d, sigma, the number of probes, or n/(n-1) and the like."""
    values, rtol = np.asarray(values, float), max(rtol, COARSEST)
    spread = f"between {values.min():.4g} and {values.max():.4g}"
    if np.any(values == 0) or np.any(np.sign(values) != np.sign(values[0])):
        return Factor(float(values[0]), {}, spread, False)
    known = [{"n": s.n, "d": s.d, "sigma": s.sigma, "m": s.m, "c": s.scale, "L": s.levels} for s in levels]
    for name, form in FORMS.items():
        scales = np.array([form(s) for s in levels])
        found = law(values / scales, known, rtol, odd=("sigma", "d", "n")) if np.all(scales != 0) else None
        if found and (not name or sum(map(abs, found[1].values())) <= 1):
            c, powers = found
            c = next((math.copysign(v, c) for v in PLAIN if close(abs(c), v, rtol)), c)
            text = product(c, powers, rtol)
            return Factor(c, powers, name if name and text == "1" else f"{text} {name}".strip(), True, rtol, name)
    return Factor(float(values[0]), {}, f"{spread} from setting to setting", False)


REASONS = {  # (number, powers) of the whole loss beside the reference
    ("2", ()): "no 1/2 in front of the square",
    ("1", (("d", -1),)): "a mean over dimensions instead of a sum",
    ("2", (("d", -1),)): "a mean over dimensions instead of a sum, and no 1/2",
    ("1", (("n", 1),)): "a sum over samples instead of a mean",
    ("2", (("n", 1),)): "a sum over samples instead of a mean, and no 1/2",
    ("1", (("L", 1),)): "a sum over levels instead of a mean",
    ("2", (("L", 1),)): "a sum over levels instead of a mean, and no 1/2",
    ("1", (("m", 1),)): "a sum over probes instead of a mean",
    ("1", (("sigma", 2),)): "weighted by sigma^2",
    (
        "2",
        (("sigma", 2),),
    ): "weighted by sigma^2 without the 1/2: the mean of |eps_theta - eps|^2 of a noise-predicting network",
    ("1", (("sigma", 4),)): "weighted by sigma^4: the loss of sigma^2 s",
    ("2", (("sigma", 4),)): "weighted by sigma^4 without the 1/2",
}


def conversion(K, objective):
    """What a scale K of the whole loss means, and how to convert."""
    why = REASONS.get((said(K.c, 1e-6), tuple(K.powers.items())), "")
    if objective == "sliced" and said(K.c, 1e-6) == "1" and K.powers == {"d": -1}:
        why = "slices of unit length, or a mean over dimensions"
    convert = f"divide yours by {K.text} to get the reference"
    return f"another convention: your loss is {K.text} times the reference{f' ({why})' if why else ''}; the minimiser is the same; {convert}"


# ------------------------------------------------------------------------------- both right terms are there


def name_right(objective, a, b, levels, rtol):
    """The `Naming` of a loss made of the two right terms, a times the linear one and b times the square, at each of the levels."""
    linear = LINEAR[objective]
    for name, mine, other in ((linear, a, b), (SQUARE, b, a)):
        if np.all(np.abs(mine) <= max(rtol, 1e-9) * np.abs(other)):
            return Naming(FAIL, missing(objective, name), f"loss has none of the {name}")
    A, B = factor(a, levels, rtol), factor(b, levels, rtol)
    R = factor(a / b, levels, rtol) if np.all(b) else None
    pattern = f"loss = {B.text} x [{SQUARE}] + {A.text} x [{linear}] + constant (right: the same factor for both)"
    if R is not None and R.one:
        if np.any(b < 0):
            text = f"sign of the loss: your loss is {B.text} times the reference; minimising it drives the score away from the data"
            return Naming(FAIL, text, pattern)
        return Naming(PASS, "", pattern, () if B.one else (conversion(B, objective),))
    if objective == "explicit" and R is not None:
        return Naming(FAIL, _target(R, B), pattern)
    K, off_name, F = (B, linear, R) if B.cost <= A.cost or R is None else (A, SQUARE, factor(b / a, levels, rtol))
    whole = "" if K.one else f" (and the whole loss is {K.text} times the reference)"
    return Naming(FAIL, _off(objective, off_name, F) + whole, pattern)


OFF = {  # powers of a term beside the other
    (("d", -1),): "divided by d: a mean over dimensions where the other term has a sum",
    (("d", 1),): "multiplied by d: a sum over dimensions where the other term has a mean",
    (("n", -1),): "divided by n: averaged over the batch once more than the other term",
    (("n", 1),): "multiplied by n: summed over the batch where the other term is averaged",
    (("m", 1),): "multiplied by the number of probes: their sum is never divided by it",
    (("m", -1),): "divided by the number of probes: once too often, or the other term is never divided by it",
}


def _off(objective, term, F):
    """One term is F times what it should be beside the other."""
    short = SHORT.get(term, term)
    c, powers = said(F.c, 1e-6), tuple(F.powers.items())
    number = F.known and not powers and not F.form
    if number and close(F.c, -1, 1e-6):
        return f"sign of the {short}: the {term} enters with the wrong sign"
    if number and c == "1/2":
        return f"{short} halved: the {term} is half of what it should be beside the other term"
    if number and c == "2":
        half = "; its 1/2 is missing" if term == SQUARE else "; or the square has a 1/2 too many"
        return f"{short} doubled: the {term} is twice what it should be beside the other term{half}"
    why = OFF.get(powers if F.known else (), "")
    sign = ", with the wrong sign" if F.c < 0 else ""
    if objective == "sliced" and F.known and powers == (("d", -1),):
        why += " (or slices of unit length, E[v v^T] = I/d)"
    if why and close(abs(F.c), 1, 1e-6):
        return f"{short} {why.split(':')[0]}: the {term} is {F.text} of what it should be beside the other term, {why.split(': ', 1)[1]}{sign}"
    return f"scale of the {short}: the {term} is {F.text} times what it should be beside the other term{sign}"


def _target(R, B):
    """The loss is B/2 |s - R target|^2."""
    whole = "" if B.one else f" (and the whole loss is {B.text} times the reference)"
    if R.known and not R.powers and close(R.c, -1, 1e-6):
        return f"sign of the target: the score is pulled towards minus the target, that is towards grad E; the target is s_0{whole}"
    return f"scale of the target: the target is {R.text} times what it should be, s_0; the minimiser is {R.text} times the score{whole}"


def missing(objective, term):
    """The diagnosis of a loss without one of its two terms."""
    after = "; it has no minimum" if term == SQUARE else "; it is minimised by a score of zero"
    return f"no {SHORT.get(term, term)}: the {term} is missing from your loss{after}"


# ------------------------------------------------------------------------------- other terms are there


class Explanation(NamedTuple):
    """A loss as a combination of terms: their names, words and kinds, and their coefficients (G, c) in each trial."""

    names: tuple[str, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    coefficients: Any


def name_wrong(objective, found, levels, rtol):
    """The `Naming` of a loss that other terms explain; several explanations are all listed."""
    named = [_one(objective, e, levels, rtol) for e in found[:3]]
    return Naming(FAIL, " -- or -- ".join(dict.fromkeys(text for text, _ in named)), named[0][1])


def _one(objective, e, levels, rtol):
    linear, F = (
        LINEAR[objective],
        {n: factor(c, levels, rtol) for n, c in zip(e.names, np.transpose(e.coefficients), strict=True)},
    )
    parts = {"linear": f"[{linear}]", "square": f"[{SQUARE}]"}
    words = {name: parts.get(name, f"[{w}]") for name, w in zip(e.names, e.words, strict=True)}
    pattern = "loss = " + " + ".join(f"{F[n].text} x {words[n]}" for n in e.names) + " + constant"
    extra = [n for n in e.names if n not in parts]
    has = {kind: kind in e.names for kind in parts}
    said_of = lambda n: f"{words[n].strip('[]')}{'' if F[n].one else f' times {F[n].text}'}"
    listed = " and ".join(map(said_of, extra))
    if not extra:
        return missing(objective, SQUARE if has["linear"] else linear), pattern
    if objective == "generalised" and (text := _weighted(F)):
        return text, pattern
    if objective == "regularised" and (text := _regulariser(F)):
        return text, pattern
    if all(has.values()):
        if math.isclose(F["linear"].c, F["square"].c, rel_tol=1e-6) and F["linear"].powers == F["square"].powers:
            return f"extra term: the right loss, and in it {listed}, which does not belong there", pattern
        both = f"beside the {linear} times {F['linear'].text} and the square times {F['square'].text}"
        return f"extra term: {both} there is {listed}", pattern
    kinds = dict(zip(e.names, e.kinds, strict=True))
    if len(extra) == 1 and (has["linear"] or has["square"]):
        term, where = (SQUARE, "square") if has["linear"] else (linear, "linear term")
        return f"wrong {where}: in place of the {term} your loss has {said_of(extra[0])}", pattern
    if len(e.names) == 1 and kinds[extra[0]] == "other":
        return f"not a square: your loss is {said_of(extra[0])}", pattern
    absent = [t for t, k in ((SQUARE, "square"), (linear, "linear")) if not has[k]]
    return f"wrong terms: in place of the {' and the '.join(absent)} your loss has {listed}", pattern


def _regulariser(F):
    """The diagnosis of a regularised loss whose lambda sum_i J_ii^2 has another factor; "" of any other terms. The right square is half a square and that."""
    if not {"linear"} < set(F) <= {"linear", "square", "|s|^2", "sum J_ii^2"}:
        return ""
    if not all(f.known and not f.powers and not f.form for f in F.values()):
        return ""
    of, lam = (lambda name: F[name].c if name in F else 0.0), OBJECTIVES["regularised"].numbers["lam"][1]
    b, price = of("square") + 2 * of("|s|^2"), of("square") + of("sum J_ii^2") / lam
    if not close(of("linear"), b, 1e-6):
        if abs(price) > 1e-6 * abs(b):
            return ""
        where = ", where lambda stands" if close(of("linear"), b * (1 + lam), 1e-6) else ""
        return f"no regulariser: lambda sum J_ii^2 is missing, and the trace is {said(of('linear') / b, 1e-6)} times what it should be{where}"
    if close(price, -b, 1e-6):
        return "sign of the regulariser: lambda sum J_ii^2 enters with the wrong sign; the loss has no minimum"
    return f"scale of the regulariser: lambda sum J_ii^2 is {said(price / b, 1e-6)} times what it should be beside the other terms"


def _weighted(F):
    """The diagnosis of b [square] + p [sum h_i J_ii] + q [sum h_i' s_i] where p or q is not b; "" of any other terms.

    The right linear term is the sum of both, so that one loss has several explanations; p and q are the same in all of them.
    """
    trace, slope = "h.J", "h'.s"
    if "square" not in F or not set(F) <= {"linear", "square", trace, slope}:
        return ""
    if not all(f.known and not f.powers and not f.form for f in F.values()):
        return ""
    of = lambda name: F[name].c if name in F else 0.0
    b, p, q = of("square"), of("linear") + of(trace), of("linear") + of(slope)
    for name, sentence, here, other in (
        ("derivative term", "sum h_i' s_i, the term with the derivative of the weight,", q, p),
        ("weighted trace", "sum h_i J_ii, the weighted trace,", p, q),
    ):
        if not close(other, b, 1e-6):
            continue
        if abs(here) <= 1e-6 * abs(b):
            return f"no {name}: {sentence} is missing from your loss"
        if close(here, -b, 1e-6):
            return f"sign of the {name}: {sentence} enters with the wrong sign"
        return (
            f"scale of the {name}: {sentence} is {said(here / b, 1e-6)} times what it should be beside the other terms"
        )
    return ""
