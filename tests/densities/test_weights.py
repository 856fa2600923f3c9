"""Weights of the generalised loss: continuous, zero or one at the ends, with the derivative that they say."""

import numpy as np
import pytest

from numpyscore.densities.weights import box_weight, capped_weight, interval_weight, linear_weight, square_weight


@pytest.mark.parametrize(
    "weight",
    [
        linear_weight(0.1),
        square_weight(0.1),
        capped_weight(0.7, 0.1),
        box_weight(0.1, 3),
        box_weight([0.1, -np.inf], [np.inf, 3]),
        box_weight([0.1, -np.inf], [np.inf, 3], cap=0.7),
        box_weight(-np.inf, np.inf),
    ],
)
def test_weights_are_continuous_vanish_at_the_ends_and_have_the_derivative_they_say(weight):
    h, h_prime = weight
    x, step = np.linspace(0.2, 2.9, 28).repeat(2).reshape(-1, 2) + 0.0123, 1e-6
    np.testing.assert_allclose((h(x + step) - h(x - step)) / (2 * step), h_prime(x), atol=1e-8)
    assert np.all(h(x) > 0) and np.shape(h(x)) == np.shape(h_prime(x)) == x.shape
    end = h(np.array([[0.1, 3.0]]))[0]
    assert end[0] == 0 or end[0] == 1


def test_the_weight_of_a_union_of_intervals():
    """In each interval the distance to its nearer end, at most the cap; 0 at every end, negative outside; infinite ends have none."""
    h, slope = interval_weight([[-2.0, -1.0], [1.0, np.inf]], cap=3.0)
    x = np.array([[-2.0], [-1.9], [-1.2], [-1.0], [0.5], [1.5], [9.0]])
    np.testing.assert_allclose(h(x)[:, 0], [0, 0.1, 0.2, 0, -0.5, 0.5, 3], atol=1e-15)
    np.testing.assert_array_equal(slope(x)[[1, 2, 5, 6], 0], [1, -1, 1, 0])
    y = np.array([[-1.7, 1.3], [4.5, -1.4]])
    np.testing.assert_allclose((h(y + 1e-6) - h(y - 1e-6)) / 2e-6, slope(y), atol=1e-8)
    with pytest.raises(ValueError, match="in ascending order"):
        interval_weight([[1.0, 2.0], [-2.0, -1.0]])
