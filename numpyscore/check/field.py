"""A user's field beside the reference, and what may be said of the two: an explanation holds for every entry, or it is none."""

from typing import NamedTuple

import numpy as np


class Finding(NamedTuple):
    """One explanation: its name, a sentence for the user, and the numbers behind it."""

    name: str
    sentence: str
    pattern: str

    @property
    def diagnosis(self):
        """ "name: sentence"."""
        return f"{self.name}: {self.sentence}"


class Field(NamedTuple):
    """Everything an explanation may use: both fields (n, d), the tolerance of each entry, and what is known beside them."""

    yours: np.ndarray
    reference: np.ndarray
    tolerance: np.ndarray
    x: np.ndarray
    energy: np.ndarray  # (n,)
    second: np.ndarray  # (n, d), second derivatives of the energy along the axes
    eps: float
    word: str = "score"

    def explains(self, candidate):
        """Whether a candidate field is the user's, entry by entry, and the residual relative to the field."""
        scale = np.abs(self.yours).max() or 1.0
        allowed = 4 * self.tolerance + 256 * self.eps * np.maximum(np.abs(candidate), np.abs(self.yours))
        gap = np.abs(self.yours - candidate)
        return bool(np.all(gap <= allowed)), float(gap.max() / scale)

    @property
    def rtol(self):
        """How exactly a factor is known."""
        return float(max(1e-12, 8 * np.median(self.tolerance) / (np.median(np.abs(self.reference)) or 1.0)))


def fitted(field, *basis):
    """Coefficients of the fields of a basis that come nearest to the user's, entries weighted by their tolerance."""
    weight = 1 / (field.tolerance + 64 * field.eps * np.abs(field.yours) + 1e-300)
    weight = weight / weight.max()
    A = np.stack([(b * weight).ravel() for b in basis], axis=1)
    size = np.linalg.norm(A, axis=0)
    size[size == 0] = 1.0
    return np.linalg.lstsq(A / size, (field.yours * weight).ravel(), rcond=None)[0] / size
