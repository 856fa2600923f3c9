"""The checks as assertions for pytest, and Hypothesis strategies for property tests of one's own.

    from numpyscore.testing import assert_loss

    def test_my_loss():
        assert_loss(my_loss, objective="implicit", wrap="torch")

Each `assert_*` takes what the `check_*` of the same name takes, returns its report on a PASS, and raises AssertionError with the report as
its text on a FAIL and on an INCONCLUSIVE. Hypothesis is loaded when a strategy is first made.
"""

import functools
from typing import Any

import numpy as np

from . import check
from .densities import Gaussian, GaussianMixture, Logistic, StudentT
from .networks.models import EnergyMLP, ScoreMLP

__all__ = [
    "assert_conservative",
    "assert_density",
    "assert_gradient",
    "assert_loss",
    "assert_reverse",
    "assert_rows",
    "assert_sampler",
    "assert_score",
    "assert_trace",
    "densities",
    "networks",
    "points",
]


def _asserted(function):
    """The check as an assertion."""

    @functools.wraps(function)
    def asserted(*args, **options):
        __tracebackhide__ = True
        report = function(*args, **options)
        if not report:
            raise AssertionError(f"\n{report}")
        return report

    asserted.__name__ = function.__name__.replace("check_", "assert_")
    asserted.__qualname__ = asserted.__name__
    asserted.__module__ = __name__
    asserted.__doc__ = f"`{function.__name__}`, raising AssertionError with the report as its text unless it is a PASS.\n\n{function.__doc__}"
    return asserted


assert_score = _asserted(check.check_score)
assert_trace = _asserted(check.check_trace)
assert_conservative = _asserted(check.check_conservative)
assert_density = _asserted(check.check_density)
assert_loss = _asserted(check.check_loss)
assert_gradient = _asserted(check.check_gradient)
assert_sampler = _asserted(check.check_sampler)
assert_reverse = _asserted(check.check_reverse)
assert_rows = _asserted(check.check_rows)


# ------------------------------------------------------------------------------- strategies


def points(dim, *, min_rows=2, max_rows=12, scale=3.0):
    """Hypothesis strategy: samples (n, dim), normal with a mean and a spread of up to `scale`, float64.

    Parameters
    ----------
    dim : int
    min_rows, max_rows : int
    scale : float, [x]
    """
    from hypothesis import strategies as st

    def draw(n, seed, spread, shift):
        return shift + spread * np.random.default_rng(seed).standard_normal((n, dim))

    sizes = st.floats(scale / 30, scale)
    return st.builds(draw, st.integers(min_rows, max_rows), st.integers(0, 2**32 - 1), sizes, st.floats(-scale, scale))


def networks(dim, *, kind="energy", activations=("softplus", "tanh", "silu", "sin"), max_width=16, max_layers=3):
    """Hypothesis strategy: smooth random networks of this dimension, `EnergyMLP` or `ScoreMLP`.

    Parameters
    ----------
    dim : int
    kind : "energy" or "score"
    activations : names of activations
    max_width, max_layers : int
    """
    from hypothesis import strategies as st

    cls: Any = {"energy": EnergyMLP, "score": ScoreMLP}.get(kind)
    if cls is None:
        raise ValueError(f"networks: kind is {kind!r}, expected 'energy' or 'score'.")

    def build(widths, activation, seed, confinement):
        options = {"confinement": confinement} if kind == "energy" else {}
        return cls.init(dim, widths, activation, rng=seed, **options)

    widths = st.lists(st.integers(1, max_width), min_size=1, max_size=max_layers)
    return st.builds(build, widths, st.sampled_from(activations), st.integers(0, 2**32 - 1), st.floats(0, 2))


def densities(dim):
    """Hypothesis strategy: smooth closed-form densities of this dimension: Gaussian, mixture, Student t, logistic.

    Parameters
    ----------
    dim : int
    """
    from hypothesis import strategies as st

    def build(family, seed):
        rng = np.random.default_rng(seed)
        A = rng.standard_normal((dim, dim))
        mean, cov = rng.standard_normal(dim), A @ A.T + 0.3 * np.eye(dim)
        if family == "gaussian":
            return Gaussian(mean, cov)
        if family == "mixture":
            return GaussianMixture([0.4, 0.6], np.stack([mean, -mean]), np.stack([cov, np.eye(dim)]))
        if family == "t":
            return StudentT(float(rng.uniform(2, 9)), mean, cov)
        return Logistic(mean, rng.uniform(0.5, 2, dim))

    return st.builds(build, st.sampled_from(("gaussian", "mixture", "t", "logistic")), st.integers(0, 2**32 - 1))
