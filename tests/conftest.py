"""Hypothesis profiles and the floating-point rules under which the whole suite runs."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded: the tests' processes have a core each

import cores
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from numpyscore.commands import terminal

terminal.EVERY = 3600.0  # on a busy machine a command may take longer than the ten seconds after which progress is told
slow_is_fine = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("ci", max_examples=15, derandomize=True, database=None, **slow_is_fine)
settings.register_profile("nightly", max_examples=1000, derandomize=False, print_blob=True, **slow_is_fine)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def every_floating_point_surprise_is_an_error():
    with np.errstate(all="raise", under="ignore"):
        yield


def pytest_runtestloop(session):
    """On all cores, where it pays; None leaves it to pytest."""
    return cores.run(session) or None
