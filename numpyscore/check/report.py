"""What a check says: the verdict, the worst number, the pattern in the numbers, and the diagnosis in a sentence."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
SCHEMA = "numpyscore-check/1"


class Worst(NamedTuple):
    """Where the two numbers are furthest apart for their tolerance, and both of them."""

    place: str
    yours: float
    reference: float
    tolerance: float

    def __str__(self):
        return (
            f"{self.place}: yours {self.yours:+.9g}, reference {self.reference:+.9g} (resolution {self.tolerance:.0e})"
        )


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
        record = {
            "schema": SCHEMA,
            "check": self.check,
            "verdict": self.verdict,
            "summary": self.summary,
            "worst": None if self.worst is None else self.worst._asdict(),
            "pattern": self.pattern,
            "name": self.name,
            "diagnosis": self.diagnosis,
            "resolution": self.resolution,
            "notes": self.notes,
            "details": self.details,
        }
        return _plain(record)

    def __str__(self):
        lines = [f"{self.check} {self.verdict}  {self.summary}"]
        rows = [
            ("worst", self.worst if self.verdict != PASS else None),
            ("pattern", self.pattern),
            ("diagnosis", self.diagnosis),
        ]
        lines += [f"  {word:<10} {text}" for word, text in rows if text]
        if np.isfinite(self.resolution):
            noticed = f"would have noticed a relative error of {self.resolution:.0e}"
            lines += [f"  {'resolution':<10} {noticed}"]
        return "\n".join(lines + [f"  {'note':<10} {note}" for note in self.notes])

    __repr__ = __str__


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
