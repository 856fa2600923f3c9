"""What a step says: both sides of one line, the gap and its bound, the hypotheses looked at, and whether it is as it should be."""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np


class Hypothesis(NamedTuple):
    """A condition the step needs, how far it is from holding, and whether it does."""

    name: str
    value: float
    bound: float
    holds: bool

    def __str__(self):
        sign = "holds" if self.holds else "FAILS"
        return f"{self.name}: {self.value:.3g} +- {self.bound:.1g} ({sign})"


@dataclass(frozen=True)
class Verdict:
    """Both sides of one line of the derivation, and what is to be made of them.

    left, right : the two sides; gap = left - right; bound : |computed gap - true gap| is at most this (for Monte Carlo,
    four standard errors). predicted : the gap that theory foresees, 0 for an identity whose hypotheses hold.
    holds : whether the identity holds within the bound; None if the bound is too wide to tell.
    expected : whether it should hold. A counterexample is expected not to, and to miss by `predicted`. relation : "=", or "<="
    or ">=", where only a violation counts as a gap.
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
