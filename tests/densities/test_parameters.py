"""Special functions of the densities, where whole numbers make them rational."""

import math

import numpy as np
import pytest

from numpyscore.densities.parameters import log_gamma_ratio

EPS = np.finfo(float).eps


@pytest.mark.parametrize("a", [99.0, 100.0, 101.5, 137.25, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("b", [1, 2, 3])
def test_a_ratio_of_gammas_a_whole_number_apart_is_a_product(a, b):
    """Gamma(a + b) / (Gamma(a) a^b) = (1 + 1/a) ... (1 + (b - 1)/a). Below 100 two logarithms of size a log a are subtracted."""
    exact = sum(math.log1p(k / a) for k in range(b))
    assert abs(log_gamma_ratio(a, b) - exact) <= EPS * (4 * b if a >= 100 else 4 * a * math.log(a))
