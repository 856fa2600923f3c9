"""From coefficients to a sentence: which term of a loss is off, by which factor, and whether that is a bug or a convention."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from ..report import FAIL, PASS, PLAIN, close, law, product, said

LINEAR = {name: row.linear for name, row in OBJECTIVES.items()}  # what the linear term of each objective is called
SQUARE = "square of the score"
COARSEST = 4e-7  # coefficients that agree to this are the same: a level in single precision, off by 6e-8, squared or cubed, is no bug
SLOPE, WEIGHTED = "term sum h_i' s_i with the derivative of the weight", "weighted trace sum h_i J_ii"
REGULARISER = "regulariser lambda sum J_ii^2"
SHORT = {SQUARE: "square", "curvature v.J v": "curvature", SLOPE: "derivative term", WEIGHTED: "weighted trace", REGULARISER: "regulariser"}  # fmt: skip


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


def alike(a, close=1e-6):
    """Whether numbers are one, to `close` of the largest."""
    return bool(np.ptp(a) <= close * np.abs(a).max())


def equal(a, b, close=1e-6):
    """Whether arrays agree, to `close` of the largest entry of the first."""
    return bool(np.abs(a - b).max() <= close * np.abs(a).max())


def levels_of(settings):
    """The `Level` of each setting of a loss that has no noise."""
    return [Level(s.n, s.d, 1.0, s.m) for s in settings]


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
        plain, powers = close(abs(self.c), 1, 1e-6), sum(map(abs, self.powers.values()))
        return (not plain) + 2 * powers + 5 * (not self.known) + (self.c < 0) + bool(self.form)

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
    told = np.where(np.abs(values) > 1e-9 * np.abs(values).max(), values, 0.0)
    few, many = (f"{told.min():.{k}g} and {told.max():.{k}g}" for k in (4, 9))
    spread = f"between {few if len(set(few.split(' and '))) > 1 else many}"
    if np.any(values == 0) or np.any(np.sign(values) != np.sign(values[0])):
        return Factor(float(values[0]), {}, spread, False)
    known = [{"n": s.n, "d": s.d, "sigma": s.sigma, "m": s.m, "c": s.scale, "L": s.levels} for s in levels]
    for most, (name, form) in itertools.product((0, 1), FORMS.items()):  # 1/(d-1) before 1/d d/(d-1)
        scales = np.array([form(s) for s in levels])
        found = law(values / scales, known, rtol, odd=("sigma", "d", "n")) if np.all(scales != 0) else None
        if found and (not name or sum(map(abs, found[1].values())) <= most):
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
    ("2", (("sigma", 2),)): "weighted by sigma^2 without the 1/2: the mean of |eps_theta - eps|^2 of a noise-predicting network",
    ("1", (("sigma", 4),)): "weighted by sigma^4: the loss of sigma^2 s",
    ("2", (("sigma", 4),)): "weighted by sigma^4 without the 1/2",
}  # fmt: skip


def conversion(K, objective):
    """What a scale K of the whole loss means, and how to convert."""
    why = REASONS.get((said(K.c, 1e-6), tuple(K.powers.items())), "")
    if objective == "sliced" and said(K.c, 1e-6) == "1" and K.powers == {"d": -1}:
        why = "slices of unit length, or a mean over dimensions"
    if not K.known:
        return "another convention: your loss is the reference times a number that is another one for another batch: the minimiser of one batch is the same (over batches it is a weight)"
    convert = f"divide yours by {K.text} to get the reference"
    return f"another convention: your loss is {K.text} times the reference{f' ({why})' if why else ''}; the minimiser is the same; {convert}"


# ------------------------------------------------------------------------------- all right terms are there


def name_right(objective, a, b, levels, rtol):
    """The `Naming` of a loss made of the two right terms, a times the linear one and b times the square, at each of the levels."""
    return name_parts(objective, {SQUARE: b, LINEAR[objective]: a}, levels, rtol)


def name_parts(objective, parts, levels, rtol):
    """The `Naming` of a loss made of the right terms, each with a factor at each of the levels, {name: (G,)}; the square stands first."""
    largest = np.max(np.abs(list(parts.values())), axis=0)
    gone = [name for name, c in parts.items() if np.all(np.abs(c) <= max(rtol, 1e-9) * largest)]
    F = {name: factor(c, levels, rtol) for name, c in parts.items() if name not in gone}
    never = Factor(np.nan, {}, "", False)
    beside = lambda a, b: factor(parts[a] / parts[b], levels, rtol) if np.all(parts[b]) else never
    alike = {b: [a for a in F if beside(a, b).one] for b in F}
    # a loss is not turned if a term of it is right
    whole = min(F, key=lambda b: (F[b].c < 0, -len(alike[b]), F[b].cost))
    K, off = F[whole], [a for a in F if a not in alike[whole]]
    same = f"right: the same factor for {'both' if len(parts) == 2 else 'all'}"
    pattern = "loss = " + " + ".join(f"{f.text} x [{name}]" for name, f in F.items()) + f" + constant ({same})"
    if not gone and not off:
        if K.c < 0:
            text = f"sign of the loss: your loss is {K.text} times the reference; minimising it drives the score away from the data"
            return Naming(FAIL, text, pattern)
        return Naming(PASS, "", pattern, () if K.one else (conversion(K, objective),))
    if objective == "explicit" and not gone:
        return Naming(FAIL, wrong_target(beside(LINEAR[objective], SQUARE), F[SQUARE], "s_0"), pattern)
    rest = "other term" if len(parts) == 2 else "rest"
    texts = [missing(objective, name) for name in gone] + [_off(objective, a, beside(a, whole), rest) for a in off]
    return Naming(FAIL, "; ".join(texts) + ("" if gone else whole_loss(K)), pattern)


def whole_loss(K):
    """What is said of a loss that is K times the reference beside what is wrong with it."""
    return "" if K.one else f" (and the whole loss is {K.text} times the reference)"


OFF = {  # powers of a term beside the other
    (("d", -1),): "divided by d: a mean over dimensions where the other term has a sum",
    (("d", 1),): "multiplied by d: a sum over dimensions where the other term has a mean",
    (("n", -1),): "divided by n: averaged over the batch once more than the other term",
    (("n", 1),): "multiplied by n: summed over the batch where the other term is averaged",
    (("m", 1),): "multiplied by the number of probes: their sum is never divided by it",
    (("m", -1),): "divided by the number of probes: once too often, or the other term is never divided by it",
}


def _off(objective, term, F, rest):
    """One term is F times what it should be beside the other, or the rest."""
    short = SHORT.get(term, term)
    c, powers = said(F.c, 1e-6), tuple(F.powers.items())
    number = F.known and not powers and not F.form
    if number and close(F.c, -1, 1e-6):
        return f"sign of the {short}: the {term} enters with the wrong sign"
    if number and c == "1/2":
        return f"{short} halved: the {term} is half of what it should be beside the {rest}"
    if number and c == "2":
        half = "; its 1/2 is missing" if term == SQUARE else "; or the square has a 1/2 too many"
        return f"{short} doubled: the {term} is twice what it should be beside the {rest}{half * (rest != 'rest' or term == SQUARE)}"
    why = OFF.get(powers if F.known else (), "")
    sign = ", with the wrong sign" if F.c < 0 else ""
    if "sliced" in objective and F.known and powers == (("d", -1),):
        why += " (or slices of unit length, E[v v^T] = I/d)"
    if why and close(abs(F.c), 1, 1e-6):
        return f"{short} {why.split(':')[0]}: the {term} is {F.text} of what it should be beside the {rest}, {why.split(': ', 1)[1]}{sign}"
    return f"scale of the {short}: the {term} is {F.text} times what it should be beside the {rest}{sign}"


def wrong_target(R, B, what, rtol=1e-6):
    """The loss is B/2 |s - R target|^2, the target being `what`."""
    if R.known and not R.powers and not R.form and close(R.c, -1, rtol):
        return f"sign of the target: the score is pulled towards minus the target, that is towards grad E; the target is {what}{whole_loss(B)}"
    cross = {
        "1/2": "; that is, the cross term of the square is halved",
        "2": "; that is, the cross term of the square is doubled",
    }.get(R.text, "")
    return f"scale of the target: the target is {R.text} times what it should be, {what}; the minimiser is {R.text} times the score{whole_loss(B)}{cross}"


AFTER = {
    SQUARE: "it has no minimum",
    SLOPE: "it is minimised by another score",
    REGULARISER: "nothing penalises the curvature",
}


def missing(objective, term):
    """The diagnosis of a loss without one of its terms."""
    after = AFTER.get(term, "it is minimised by a score of zero")
    return f"no {SHORT.get(term, term)}: the {term} is missing from your loss (or kept from a call before, the same whatever fn is?); {after}"
