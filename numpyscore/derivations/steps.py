r"""Steps and chapters: a step states one line of the derivation as left = right, computes both sides, and is judged.

A *line* is computed for any case, a density and a model on it: closed forms, or the reader's own data. An *example* brings its
own settings. A *counterexample* takes a hypothesis away and says by how much the line must then miss. All three return
`Sides`; the docstring of the function is what a reader is told about it.
"""

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .means import EPS, Mean, number
from .verdict import Hypothesis, Verdict

ENOUGH = 1e-6  # a bound above this share of the terms proves nothing: the verdict is "inconclusive"
RELATIONS = {"=": lambda gap: gap, "<=": lambda gap: max(gap, 0.0), ">=": lambda gap: min(gap, 0.0)}


class Sides(NamedTuple):
    """What a step returns: both sides, the hypotheses it looked at, and the gap foreseen where one fails.

    relation : "=", or "<=" or ">=", of which only a violation counts as a gap. method : how the sides were computed, where
    it is not the case's own way; "monte carlo" allows wide bounds, four standard errors.
    """

    left: Mean
    right: Mean
    hypotheses: tuple = ()
    predicted: Mean | None = None
    note: str = ""
    relation: str = "="
    method: str = ""


def judge(step, sides, *, subject="", method="quadrature"):
    """The verdict on both sides of a step: the gap, its bound with rounding, and what theory foresees."""
    method = sides.method or method
    gap = sides.left - sides.right
    bound = gap.error + 4 * EPS * gap.size
    predicted = 0.0
    expected = all(h.holds for h in sides.hypotheses)
    if sides.predicted is not None:
        bound += sides.predicted.error
        predicted = 0.0 if expected else float(sides.predicted.value)
    value = float(RELATIONS[sides.relation](gap.value))
    scale = max(sides.left.size, sides.right.size, 1.0)
    enough = np.isfinite(value) and bound <= (1.0 if method == "monte carlo" else ENOUGH) * scale
    return Verdict(
        step=step.name,
        chapter=step.chapter.title,
        left=float(sides.left.value),
        right=float(sides.right.value),
        gap=value,
        bound=float(bound),
        holds=bool(abs(value) <= bound) if enough else None,
        expected=bool(expected),
        hypotheses=tuple(sides.hypotheses),
        note=sides.note,
        subject=subject,
        predicted=predicted,
        method=method,
        source=step.source,
        relation=sides.relation,
    )


@dataclass(frozen=True, eq=False)
class Step:
    """One line of the derivation, with its place, its equation (TeX), its source, and the function that computes both sides.

    kind : "line", "example" or "counterexample". A line is called with a case and gives its verdict; the others are called
    with a seed and give a verdict for each of their settings. needs : of a line, the cases it applies to.
    """

    name: str
    chapter: "Chapter"
    kind: str
    equation: str
    source: str
    sides: Callable
    needs: Callable[[Any], bool] | None = None

    @property
    def words(self):
        """What a reader is told about it: the docstring of its function."""
        return inspect.cleandoc(self.sides.__doc__ or "")

    @property
    def code(self):
        """Where it stands: derivations.<file>.<function>."""
        return f"{self.sides.__module__.removeprefix('numpyscore.')}.{self.sides.__name__}"

    def applies(self, case):
        """Whether this line can be computed for a case."""
        return self.needs is None or self.needs(case)

    def __call__(self, case):
        """The verdict of this line on a case."""
        own = hasattr(
            case.density, "slack"
        )  # somebody's samples may lie where exp overflows: inf and nan decide nothing, in silence
        with np.errstate(over="ignore", invalid="ignore") if own else contextlib.nullcontext():
            sides = self.sides(case)
        means = sides.left.weights or sides.right.weights
        slack = case.slack(sides.left, sides.right) if means else case.slack_at_points
        if slack:
            sides = sides._replace(left=sides.left + number(0, slack))
        return judge(self, sides, subject=case.subject, method=case.method)

    def settings(self, seed=0) -> Iterator[Verdict]:
        """The verdicts of an example or a counterexample, one for each of its settings."""
        for subject, sides in self.sides(seed):
            yield judge(self, sides, subject=subject)


@dataclass(frozen=True, eq=False)
class Chapter:
    """A chapter of the derivation: its number, its title, and its steps in order; the file's docstring is its text."""

    number: int
    title: str
    steps: list = field(default_factory=list)

    @property
    def heading(self):
        """Number and title, as a heading."""
        return f"{self.number}. {self.title[0].upper()}{self.title[1:]}"

    @property
    def text(self):
        """What a reader is told about it: the docstring of its file, below the first line."""
        doc = inspect.cleandoc(sys.modules[self.steps[0].sides.__module__].__doc__ or "")
        return doc.partition("\n\n")[2]

    def _register(self, kind, name, equation, source, needs=None):
        def register(sides):
            self.steps.append(Step(name, self, kind, equation, source, sides, needs))
            return self.steps[-1]

        return register

    def line(self, name, equation, source, needs=None):
        """Register a function of a case as a line of the derivation; `needs` says to which cases it applies."""
        return self._register("line", name, equation, source, needs)

    def example(self, name, equation, source):
        """Register a function of a seed that yields (subject, sides) for settings of its own."""
        return self._register("example", name, equation, source)

    def counterexample(self, name, equation, source):
        """The same, for settings in which a hypothesis fails: its sides say which, and the gap that this must leave."""
        return self._register("counterexample", name, equation, source)


# ------------------------------------------------------------------------------- hypotheses


def hypothesis(name, value, bound=0.0, holds=None):
    """A condition with the number that should vanish; it holds if that is within its bound."""
    if holds is None:
        holds = bool(np.isfinite(value) and np.isfinite(bound) and abs(value) <= bound)
    return Hypothesis(name, float(value), float(bound), bool(holds))


def vanishes(name, integral):
    """The hypothesis that an integral, such as a boundary term, is zero."""
    return hypothesis(name, integral.value, integral.error)


def boundary_vanishes(case):
    """The hypothesis of integration by parts: p_0 s has no flux through the boundary."""
    return vanishes("boundary term p s vanishes", case.boundary)


def failing(name, value):
    """A hypothesis that fails by construction, with the number that says how far."""
    return hypothesis(name, value, 0.0, holds=False)


# ------------------------------------------------------------------------------- wrong twins


def twins(sides):
    """Sides that are wrong in one term: its sign flipped, doubled, left out. (what was done, sides) for each.

    Terms that are zero within their error are passed over, since no number could tell; so is everything in an inequality.
    """
    if sides.relation != "=":
        return
    total = sides.left - sides.right
    bound = total.error + 8 * EPS * total.size
    for side in ("left", "right"):
        whole = getattr(sides, side)
        for name in [None, *whole.weights]:
            term = number(whole.constant, whole.constant_error) if name is None else whole.only(name)
            if abs(term.value) > bound:
                for what, factor in (("sign of", -2.0), ("twice", 1.0), ("without", -1.0)):
                    wrong = whole + factor * term
                    yield f"{what} {name or 'the constant'} on the {side}", sides._replace(**{side: wrong})
