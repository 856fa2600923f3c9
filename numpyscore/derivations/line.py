r"""A line of one's own: left = right under a density, computed and judged as our own lines are, and what its gap is made of."""

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ..common.callables import called, parameters_of, per_row
from ..common.names import kind_of
from ..objectives.loss import half_square
from .case import averaged, integrated
from .means import EPS, SIGMAS, Mean, number
from .steps import RELATIONS, Chapter, Sides, Step, judge

WHERE = "verify_line"
OWN = Chapter(0, "a line of your own")
POINTS = 512  # samples at which a differenced score is moved by its error
CLEAR = 20.0  # bounds by which a term must stand out to be named
# what the mean of a known term is called, and what must be there to compute it
TERMS = {
    "cross": "E[s_0 . s]",
    "trace": "E[tr ds/dx]",
    "square": "1/2 E|s|^2",
    "explicit": "J_E = 1/2 E|s_0 - s|^2",
    "implicit": "J_I = E[1/2 |s|^2 + tr ds/dx]",
    "fisher": "1/2 E|s_0|^2",
    "data trace": "E[tr ds_0/dx]",
    "flux": "the boundary term, the flux of p_0 s",
    "own flux": "the boundary term, the flux of p_0 s_0",
    "dimension": "the dimension d",
}
OF_DATA = ("fisher", "data trace", "own flux", "dimension")
FACTORS = {1.0: "", -1.0: "-", 2.0: "2 x ", -2.0: "-2 x ", 0.5: "1/2 x ", -0.5: "-1/2 x "}


class Line(NamedTuple):
    """left and right, each a function, a number, or a dictionary of named terms whose sum it is; a density that it is meant for, or
    None; its name; and relation, "=", "<=" or ">="."""

    left: Any
    right: Any
    density: Any = None
    name: str = "your line"
    relation: str = "="


def line_of(given):
    """The Line that a user's object is: (left, right), (left, right, density), a mapping or an object with left and right, or a
    function without arguments that returns one.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    parts = {name for name in Line._fields if hasattr(given, name)}
    if callable(given) and "left" not in parts:
        given = called(WHERE, "the line", given)
        parts = {name for name in Line._fields if hasattr(given, name)}
    if isinstance(given, Mapping):
        found = {name: given[name] for name in Line._fields if name in given}
    elif isinstance(given, tuple | list) and not hasattr(given, "left"):
        found = dict(zip(Line._fields, given, strict=False)) if len(given) in (2, 3) else {}
    else:
        found = {name: getattr(given, name) for name in parts}
    if not {"left", "right"} <= set(found):
        raise ValueError(
            f"{WHERE}: the line is {kind_of(given)}, expected (left, right) or (left, right, density), or an object with left and "
            f"right; each a function of x (n, d) -> (n,)."
        )
    return Line(**found)


@dataclass(frozen=True, eq=False)
class OwnLine(Step):
    """A line of one's own as a step: called with a case it gives the verdict, and says what a gap is made of.

    model : the network that the line is about, if it is about one; True if it takes whatever the case brings. terms : of each side.
    """

    model: Any = None
    terms: Any = None

    def __call__(self, case):
        """The verdict of this line on a case."""
        sides = self.sides(case)
        verdict = judge(self, sides, subject=case.subject, method=case.method)
        if verdict.ok is not False or verdict.relation != "=":
            return verdict
        return replace(verdict, note=_explained(sides, case, verdict, self.model is not None, self.terms))


def step_of(line, model=None):
    """The step that a `Line` is; its model is found among what its functions refer to, where none is given."""
    if line.relation not in RELATIONS:
        raise ValueError(f"{WHERE}: relation is {line.relation!r}, expected one of {', '.join(RELATIONS)}.")
    terms = {side: _terms(side, getattr(line, side)) for side in ("left", "right")}
    functions = [term for found in terms.values() for term in found.values() if callable(term)]
    if model is None:
        model = True if any(_takes(f) > 2 for f in functions) else _referred(functions)
    return OwnLine(
        line.name, OWN, "line", "", "", lambda case: _sides(case, terms, line.relation), model=model, terms=terms
    )


def _referred(functions):
    """The one network that these functions refer to; None for none, or several."""
    found: list = []
    for function in functions:
        try:
            seen = inspect.getclosurevars(function)
        except (TypeError, ValueError):
            continue
        for thing in (*seen.nonlocals.values(), *seen.globals.values()):
            if hasattr(thing, "sweep") and hasattr(thing, "theta") and not any(thing is other for other in found):
                found.append(thing)
    return found[0] if len(found) == 1 and not found[0].conditional else None


def _terms(side, given):
    """name -> function or number of each term of a side."""
    terms = dict(given) if isinstance(given, Mapping) else {"": given}
    for name, term in terms.items():
        if isinstance(term, type) or not (callable(term) or (np.ndim(term) == 0 and _is_number(term))):
            raise TypeError(
                f"{WHERE}: {_called(side, name)} is {kind_of(term)}, expected a function of x (n, d) -> (n,), of (x, density) or of "
                f"(x, density, model); a number; or a dictionary of such terms."
            )
        if callable(term):
            _takes(term)
    return terms


def _is_number(term):
    try:
        float(term)
    except (TypeError, ValueError):
        return False
    return True


def _called(side, name):
    return f"the term {name!r} of {side}" if name else side


def _takes(function):
    """How many of (x, density, model) a function takes."""
    parameters = parameters_of(function)
    if parameters is None:
        return 1
    plain = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in plain)
    if needed > 3 or (not plain and not any(p.kind is p.VAR_POSITIONAL for p in parameters.values())):
        raise TypeError(
            f"{WHERE}: a side takes {needed} arguments, expected one to three: x, then the density, then a model of its score."
        )
    return max(1, needed)


class _Off:
    """A density whose score and trace are off by what they may be off: where they had to be differenced."""

    def __init__(self, given):
        self.given = given

    def score(self, x):
        return self.given.score(x) + (self.given.slack_of_score(x) / np.sqrt(x.shape[1]))[:, None]

    def trace(self, x):
        return self.given.trace(x) + self.given.slack(x)[1]

    def __getattr__(self, name):
        return getattr(self.given, name)


def _columns(case, terms, density):
    """Every term's values at x (n, d), by (side, name)."""

    def at(x):
        given = (x, density, case.model)
        out = {}
        for side, found in terms.items():
            for name, term in found.items():
                if callable(term):
                    what = _called(side, name)
                    with np.errstate(all="ignore"):  # what comes back is looked at
                        value = called(WHERE, what, term, *given[: _takes(term)])
                    value = per_row(WHERE, what, value, len(x))
                    if np.isnan(value).any():
                        where = x[int(np.argmax(np.isnan(value)))].tolist()
                        raise ValueError(
                            f"{WHERE}: {what} is nan at x = {where}; give it its limit there, or a density without such points."
                        )
                    out[side, name] = value
        return out

    return at


def _sides(case, terms, relation):
    """Both sides, each a combination of means taken together."""
    functions = [term for found in terms.values() for term in found.values() if callable(term)]
    columns, slack = _columns(case, terms, case.density), 0.0
    source: Any = None
    if functions and case.samples is None:
        exact = case.dim < 3 and not hasattr(case.density, "slack")
        source = integrated(columns, case.density, rtol=1e-12 if exact else 2e-10)
    elif functions:
        source = averaged(columns(case.samples))
    if hasattr(case.density, "slack") and any(_takes(f) > 1 for f in functions):  # its score had to be differenced
        slack = _slack(case, terms)
    sides = [
        sum((_mean(source, (side, name), term) for name, term in found.items()), number(0, 0))
        for side, found in terms.items()
    ]
    return Sides(sides[0] + number(0, slack), sides[1], relation=relation)


def _slack(case, terms):
    """What both sides may be off by where the data's score is: how much they move with it, at POINTS samples, eight times over."""
    x = case.density.sample(POINTS, rng=case.seed)
    there, moved = _columns(case, terms, case.density)(x), _columns(case, terms, _Off(case.density))(x)
    off = sum((np.abs(moved[key] - value) for key, value in there.items()), np.zeros(POINTS))
    return 8 * float(off.mean() + SIGMAS * off.std(ddof=1) / np.sqrt(POINTS))


def _mean(source, key, term):
    """The mean of a function, or a number with its error, if it has one."""
    return Mean(source, {key: 1.0}) if callable(term) else number(float(term), getattr(term, "error", None))


# ------------------------------------------------------------------------------- what a gap is made of


def _explained(sides, case, verdict, about_model, terms):
    """In words: the term whose sign, or factor, would close the gap; else the gap alone."""
    gap, bound = verdict.gap, verdict.bound
    said = [
        *_constant(case, terms, gap, bound),
        *_own_terms(sides, gap, bound),
        *_known_terms(case, gap, bound, about_model),
    ]
    how_far = f"the gap is {gap:.6g}" + (f", {abs(gap) / bound:.1e} times its bound" if bound else "")
    return "; ".join([how_far, *dict.fromkeys(said)][:4])


def _constant(case, terms, gap, bound):
    """Whether the sides differ by one and the same number at every x, whatever density they are averaged over."""
    functions = {side: [term for term in found.values() if callable(term)] for side, found in terms.items()}
    if not all(functions.values()):  # a number in place of a mean differs from a function in each point
        return
    x = case.density.sample(POINTS, rng=case.seed) if case.samples is None else case.samples[:POINTS]
    at = _columns(case, terms, case.density)(x)
    sums = {
        side: sum((at.get((side, n), t) for n, t in found.items()), np.zeros(len(x))) for side, found in terms.items()
    }
    apart, size = sums["left"] - sums["right"], np.abs(sums["left"]) + np.abs(sums["right"])
    if np.all(np.abs(apart - gap) <= 2 * bound + 64 * EPS * (1 + size)):
        yield f"left - right is {gap:.6g} at every x: a constant"


AS_IF = {2.0: ", as where its sign is turned", 1.0: ", as where it is missing or too many"}
CURES = (
    ("its sign is turned", 2.0),
    ("it counts twice", 0.5),
    ("it counts half", -1.0),
    ("it should not be there", 1.0),
)


def _own_terms(sides, gap, bound):
    """Of the terms as they were given: which would have to be turned, halved, doubled or left out; or how the whole sides compare."""
    left, right = sides.left, sides.right
    near = lambda a, size: abs(a) <= 2 * bound + 8 * EPS * abs(size)
    if not any(name for side in (left, right) for _, name in side.weights):
        if abs(right.value) > CLEAR * bound:
            for factor, words in FACTORS.items():
                if words and near(left.value - factor * right.value, right.value):
                    yield f"left is {words or 'just '}right"
        return
    for side, sign, whole in (("left", 1.0, left), ("right", -1.0, right)):
        for _, name in whole.weights:
            part = sign * whole.source.value[side, name]
            if name and abs(part) > CLEAR * bound:
                for cure, share in CURES:
                    if near(gap - share * part, part):
                        yield f"the term {name!r} of {side}: {cure} (its mean is {abs(part):.6g})"


def _known_terms(case, gap, bound, about_model):
    """Of the terms that the derivation knows, under this density and with this model: which the gap is a plain multiple of, alone or
    beside a boundary term."""
    means = _means(case, about_model)
    clear = {n: m for n, m in means.items() if np.isfinite(m[0]) and abs(m[0]) > CLEAR * max(bound, m[1])}
    rims = {"": (0.0, 0.0)} | {name: clear[name] for name in ("flux", "own flux") if name in clear}
    count = 0
    for rim, (flux, flux_error) in rims.items():
        for side in (1.0, -1.0) if rim else (1.0,):
            for name, (value, error) in clear.items():
                if name == rim or (name == "dimension" and (count or rim)):
                    continue
                for factor, words in FACTORS.items():
                    if abs(factor) not in AS_IF:
                        continue
                    off = abs(gap - side * flux - factor * value)
                    if off <= 2 * (bound + abs(factor) * error + flux_error) + 8 * EPS * (abs(value) + abs(flux)):
                        count += 1
                        beside = f"{' + ' if side > 0 else ' - '}{TERMS[rim]}" if rim else ""
                        yield f"it is {words}{TERMS[name]}{AS_IF[abs(factor)]}{beside}"
        if count:
            return


def _means(case, about_model):
    """(mean, bound) of each known term: those of the data's score alone, and those of the model if the line is about one."""
    found = {"dimension": (float(case.dim), 0.0)}
    fluxes: dict[str, Callable] = {"flux": lambda: case.boundary, "own flux": lambda: case.own_boundary}
    wanted = [name for name in TERMS if about_model or name in OF_DATA]
    with contextlib.suppress(ValueError, TypeError):  # a term that has no mean explains nothing
        moments = case.moments if not hasattr(case.density, "slack") else _cheap(case)
        for name in wanted:
            if name in moments.value and (case.knows_trace or name != "data trace"):
                side = Mean(moments, {name: 1.0})
                found[name] = (float(side.value), float(side.error))
    if case.samples is not None or hasattr(case.density, "slack"):
        return found
    for name in fluxes.keys() & set(wanted):
        with contextlib.suppress(ValueError, TypeError):
            flux = fluxes[name]()
            found[name] = (float(flux.value), float(flux.error))
    return found


def _cheap(case):
    """Of a density whose score has to be differenced: the means that do without it."""
    columns = lambda x: {"trace": case.model.trace(x), "square": half_square(case.model.score(x))}
    return integrated(columns, case.density, rtol=2e-10) if case.samples is None else averaged(columns(case.samples))
