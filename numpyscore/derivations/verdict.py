"""What a step says: both sides of one line, the gap and its bound, the hypotheses looked at, and whether it is as it should be.

`Verdicts` is the list that `verify` returns: it counts, it groups by step, and a terminal, a notebook and a page can show it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import NamedTuple

import numpy as np

from ..common.numbers import Number


class Hypothesis(NamedTuple):
    """A condition the step needs, how far it is from holding, and whether it does."""

    name: str
    value: float
    bound: float
    holds: bool

    def __str__(self):
        sign = "holds" if self.holds else "does not hold"
        return f"{self.name}: {self.value:.3g} +- {self.bound:.1g} ({sign})"


@dataclass(frozen=True)
class Verdict(Number):
    """Both sides of one line of the derivation, and what is to be made of them.

    left, right : the two sides; gap = left - right; bound : |computed gap - true gap| is at most this (for Monte Carlo,
    four standard errors). predicted : the gap that theory foresees, 0 for an identity whose hypotheses hold.
    holds : whether the identity holds within the bound; None if the bound is too wide to tell.
    expected : whether it should hold. A counterexample is expected not to, and to miss by `predicted`. relation : "=", or "<="
    or ">=", where only a violation counts as a gap. As a number it is its gap: ``abs(verdict) < 1e-9``, ``f"{verdict:.1e}"``; as a truth
    value whether it is as it should be.
    """

    step: str
    chapter: str
    left: float
    right: float
    gap: float
    bound: float
    holds: bool | None
    expected: bool
    hypotheses: tuple[Hypothesis, ...] = ()
    note: str = ""
    subject: str = ""
    predicted: float = 0.0
    method: str = "quadrature"
    source: str = ""
    relation: str = "="

    @property
    def number(self):
        """The gap."""
        return self.gap

    def __bool__(self):
        return self.ok is True

    def __str__(self):
        lines = f"{self.step}: {self.left:.6g} {self.relation} {self.right:.6g}, gap {self.gap:.1e}, bound {self.bound:.0e}: {self.word}"
        return "\n  ".join([lines, *self.remarks])

    @property
    def ok(self):
        """True as it should be, False if a difference was found, None if inconclusive."""
        if self.holds is None:
            return None
        return abs(self.gap - self.predicted) <= self.bound and self.holds == self.expected

    @property
    def word(self):
        """The verdict in a word or two."""
        if self.ok is None:
            return "inconclusive"
        if not self.ok:
            return "DIFFERS"
        return "holds" if self.expected else "fails as predicted"

    @property
    def remarks(self):
        """What a reader wants to know besides the numbers: hypotheses that fail, the gap they foretell, and the note."""
        lines = [str(h) for h in self.hypotheses if not h.holds]
        if not self.expected:
            lines.append(f"gap foreseen: {self.predicted:.12g}, found: {self.gap:.12g}")
        return [*lines, self.note] if self.note else lines

    @property
    def concern(self):
        """What to look at first: differences, then what could not be decided, then the largest miss for its bound."""
        return self.ok is False, self.ok is None, abs(self.gap - self.predicted) / max(self.bound, 1e-300)

    def to_dict(self):
        """Plain numbers, strings and lists, for JSON."""
        record = asdict(self) | {"verdict": self.word, "ok": self.ok}
        record["hypotheses"] = [dict(zip(Hypothesis._fields, h, strict=True)) for h in self.hypotheses]
        return {key: _plain(value) for key, value in record.items()}


def _plain(value):
    """JSON has no infinity and no NaN: they become None, numpy's scalars become Python's."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


# ------------------------------------------------------------------------------- many of them

WORDS = ("holds", "fails as predicted", "DIFFERS", "inconclusive")


class Verdicts(list):
    """A list of `Verdict` in the order of the derivation; str and a notebook show it as a table.

    seed : what networks, samples and training were seeded with. notes : what is to be said of the data, a line each.
    """

    def __init__(self, verdicts=(), *, seed=0, notes: Sequence[str] = ()):
        super().__init__(verdicts)
        self.seed, self.notes = seed, list(notes)

    def __str__(self):
        return f"{self.table()}\n{self.summary}"

    def add(self, study, verdicts):
        """The verdicts of a study, a part of a run, and its notes."""
        self.extend(verdicts)
        self.notes += [f"{study.title}: {note}" for note in study.notes]

    @property
    def counts(self):
        """How many verdicts have each of the four words."""
        return {word: sum(v.word == word for v in self) for word in WORDS}

    @property
    def summary(self):
        """The counts as a sentence."""
        holds, fails, differs, open_ = self.counts.values()
        return f"{len(self)} verdicts: {holds} hold, {fails} fail as predicted, {differs} differ, {open_} inconclusive."

    def by_step(self):
        """(chapter, step) -> its verdicts, in order."""
        groups: dict[tuple[str, str], Verdicts] = {}
        for v in self:
            groups.setdefault((v.chapter, v.step), Verdicts(seed=self.seed)).append(v)
        return groups

    @property
    def worst(self):
        """The one that is nearest to being wrong, or furthest beyond it."""
        return max(self, key=lambda v: v.concern)

    def to_dict(self):
        """Plain numbers, strings and lists, for JSON."""
        return {
            "seed": self.seed,
            "notes": list(self.notes),
            "counts": self.counts,
            "verdicts": [v.to_dict() for v in self],
        }

    def table(self, every=False):
        """Step, left, right, gap, bound, verdict as text: a row for every case, or the worst of each step where there are many."""
        wide = max((len(v.step) for v in self), default=4)
        lines = [f"  {'step':<{wide}} {'left':>12}    {'right':>12} {'gap':>9} {'bound':>8}  verdict"]
        alone = len({v.subject for v in self}) == 1
        for same in self.by_step().values():
            many = len({v.subject for v in same}) > 2 and not every
            for v in [same.worst] if many else same:
                lines.append(
                    f"  {v.step:<{wide}} {v.left:>12.6g} {v.relation:<2} {v.right:>12.6g} {v.gap:>9.1e} {v.bound:>8.0e}  {v.word}"
                )
                if many or not alone:
                    lines.append(f"    {f'worst of {len(same)} cases: ' if many else ''}{v.subject}")
                lines += [f"    {line}" for line in v.remarks]
        return "\n".join(lines)

    def _repr_html_(self):
        """The worst case of each step, for a notebook."""
        rows = []
        for same in self.by_step().values():
            v, style = same.worst, "text-align:left;white-space:normal"
            cells = [
                f'<th scope="row" style="{style}">{escape(v.step)}</th>',
                f"<td>{v.left:.6g}</td><td>{escape(v.relation)}</td><td>{v.right:.6g}</td>",
                f"<td>{v.gap:.1e}</td><td>{v.bound:.0e}</td>",
                f'<td style="{style}">{"<b>DIFFERS</b>" if v.ok is False else v.word}</td>',
                f'<td>{len(same)}</td><td style="{style}">{escape(v.subject)}</td>',
            ]
            rows.append(f"<tr>{''.join(cells)}</tr>")
        heads = ("step", "left", "", "right", "gap", "bound", "verdict", "cases", "the worst of them")
        head = "".join(f'<th scope="col">{name}</th>' for name in heads)
        return (
            f'<div style="overflow-x:auto"><table><caption>{escape(self.summary)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        )
