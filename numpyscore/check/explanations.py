"""What may be said of a user's numbers: one sentence a name, with the free constants that it needs and how far it is from holding."""

from dataclasses import dataclass, field
from typing import Any


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
