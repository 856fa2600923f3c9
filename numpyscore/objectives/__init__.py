"""Losses that fit a score (the gradient of log p in x), one file a family; the same losses for arrays from elsewhere.

Conventions, everywhere: 1/2 in front of the square, sum over dimensions, mean over samples, probes v with E[v v^T] = I, noise eps ~ N(0, I)
scaled by sigma, a standard deviation. A new objective is a file of its own and a line in `OBJECTIVES`.
"""

from .denoising import DENOISING, MULTILEVEL_DENOISING
from .implicit import EXPLICIT, GENERALISED, IMPLICIT
from .regularised import REGULARISED
from .sliced import FINITE_DIFFERENCE_SLICED, SLICED

OBJECTIVES = {
    row.name: row
    for row in (
        EXPLICIT,
        IMPLICIT,
        GENERALISED,
        DENOISING,
        MULTILEVEL_DENOISING,
        SLICED,
        FINITE_DIFFERENCE_SLICED,
        REGULARISED,
    )
}
