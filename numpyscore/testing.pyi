"""The types of `testing.py`: each assertion takes what the check of the same name takes and returns its report."""

# fmt: off
from collections.abc import Sequence

import numpy as np
from hypothesis.strategies import SearchStrategy

from . import (
    EnergyMLP,
    Gaussian,
    GaussianMixture,
    Logistic,
    ScoreMLP,
    StudentT,
    check_conservative,
    check_density,
    check_gradient,
    check_loss,
    check_reverse,
    check_rows,
    check_sampler,
    check_score,
    check_trace,
)

assert_conservative = check_conservative
assert_density = check_density
assert_gradient = check_gradient
assert_loss = check_loss
assert_reverse = check_reverse
assert_rows = check_rows
assert_sampler = check_sampler
assert_score = check_score
assert_trace = check_trace

def points(
    dim: int, *, min_rows: int = ..., max_rows: int = ..., scale: float = ...
) -> SearchStrategy[np.ndarray[tuple[int, ...], np.dtype[np.float64]]]: ...
def networks(
    dim: int, *, kind: str = ..., activations: Sequence[str] = ..., max_width: int = ..., max_layers: int = ...
) -> SearchStrategy[EnergyMLP | ScoreMLP]: ...
def densities(dim: int) -> SearchStrategy[Gaussian | GaussianMixture | StudentT | Logistic]: ...
