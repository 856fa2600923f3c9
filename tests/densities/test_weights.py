"""Weights of the generalised loss: continuous, zero or one at the ends, with the derivative that they say."""

import numpy as np
import pytest

from numpyscore.densities.weights import (
    box_weight,
    capped_weight,
    distance_weight,
    interval_weight,
    linear_weight,
    log_weight,
    square_weight,
)


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


def test_weights_at_ends_kinks_and_caps():
    """Exact numbers: h, and h' with the value of the side that is said at a kink."""
    x = np.array([[0.0], [0.25], [0.5], [1.0], [3.0]])
    for (h, slope), values, slopes in (
        (linear_weight(), [0, 0.25, 0.5, 1, 3], [1, 1, 1, 1, 1]),
        (linear_weight(-1.0), [1, 1.25, 1.5, 2, 4], [1, 1, 1, 1, 1]),
        (square_weight(), [0, 0.0625, 0.25, 1, 9], [0, 0.5, 1, 2, 6]),
        (square_weight(-1.0), [1, 1.5625, 2.25, 4, 16], [2, 2.5, 3, 4, 8]),
        (capped_weight(0.5), [0, 0.25, 0.5, 0.5, 0.5], [1, 1, 0, 0, 0]),
        (capped_weight(1.0, -0.5), [0.5, 0.75, 1, 1, 1], [1, 1, 0, 0, 0]),
        (box_weight(0.0, 1.0), [0, 0.25, 0.5, 0, -2], [1, 1, 0, -1, -1]),
        (box_weight(0.0, 1.0, cap=0.25), [0, 0.25, 0.25, 0, -2], [1, 0, 0, -1, -1]),
        (box_weight(-np.inf, 1.0), [1, 0.75, 0.5, 0, -2], [-1, -1, -1, -1, -1]),
        (box_weight(-np.inf, np.inf, cap=0.1), [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]),
        (log_weight(), np.log1p(np.minimum(x[:, 0], np.expm1(1.5))), [1, 0.8, 2 / 3, 0.5, 0.25]),
        (log_weight(scale=2.0, cap=0.25), [0, *np.log1p([0.125, 0.25]), 0.25, 0.25], [0.5, 1 / 2.25, 0.4, 0, 0]),
        (log_weight(0.5), [-0.5, -0.25, 0, np.log(1.5), np.log(3.5)], [1, 1, 1, 1 / 1.5, 1 / 3.5]),
        (log_weight(-np.inf, np.inf), [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]),
        (log_weight(-np.inf, 3.0), np.log1p([3, 2.75, 2.5, 2, 0]), [-1 / 4, -1 / 3.75, -1 / 3.5, -1 / 3, -1]),
        (interval_weight([[0.0, 1.0], [2.0, 5.0]], cap=0.5), [0, 0.25, 0.5, 0, 0.5], [1, 1, 0, -1, 0]),
    ):  # fmt: skip
        np.testing.assert_allclose(h(x)[:, 0], values, rtol=1e-15)
        np.testing.assert_allclose(slope(x)[:, 0], slopes, rtol=1e-15)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: square_weight(1.0)[0](np.array([[1.0], [2.0], [0.5], [0.0]])), r"square_weight: x\[2\] = .0.5. lies below lower = 1.0 \(first bad row: 2\)"),
        (lambda: capped_weight(0.0), "c is 0.0"),
        (lambda: box_weight(0.0, 0.0), "lower is 0.0, upper 0.0, expected lower < upper"),
        (lambda: box_weight([0.0, 1.0], [1.0, 0.5]), "expected lower < upper on every side"),
        (lambda: box_weight(0.0, 1.0, cap=0.0), "box_weight: cap is 0.0"),
        (lambda: log_weight(scale=0.0), "scale is 0.0, expected positive"),
        (lambda: log_weight(scale=[1.0, -1.0]), "expected positive numbers"),
        (lambda: log_weight(cap=0.0), "cap is 0.0"),
        (lambda: distance_weight(ball=([0.0], 1.0), cap=0.0), "distance_weight: cap is 0.0"),
        (lambda: distance_weight(), "neither ball nor polytope is given"),
        (lambda: distance_weight(ball=([0.0], 0.0)), "radius is 0.0"),
        (lambda: distance_weight(polytope=(np.zeros((1, 2)), [1.0])), "no normal being 0"),
        (lambda: distance_weight(polytope=(np.ones(2), [1.0])), r"normals have shape \(2,\)"),
        (lambda: distance_weight(polytope=(np.eye(2), [1.0])), r"normals have shape \(2, 2\) and offsets \(1,\)"),
        (lambda: distance_weight(polytope=([[1.0, 0.0], [0.0, 0.0]], [1.0, 1.0])), "no normal being 0"),
        (lambda: distance_weight(ball=([0.0], 1.0), polytope=(np.eye(2), [1.0, 1.0])), r"the centre has shape \(1,\), expected \(2,\)"),
        (lambda: distance_weight(ball=([[0.0]], 1.0)), "the centre has shape"),
        (lambda: distance_weight(ball=([0.0, 0.0], 1.0))[0](np.zeros((3, 3))), r"x has shape \(3, 3\), expected \(n, 2\)"),
        (lambda: distance_weight(ball=([0.0, 0.0], 1.0))[1](np.zeros(2)), r"x has shape \(2,\), expected \(n, 2\)"),
    ],
    ids=range(19),
)  # fmt: skip
def test_weights_that_are_none_say_why(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_distances_from_a_ball_and_a_half_plane():
    """The half disc x_1 <= 0.5 of radius 2 about (1, 0) ... normals of any length; at the centre the slope is 0; where two are equal the ball's."""
    h, slope = distance_weight(ball=([1.0, 0.0], 2.0), polytope=([[10.0, 0.0]], [15.0]))
    x = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.75], [-0.5, 0.0], [1.5, 0.0], [-1.0, 0.0]])
    np.testing.assert_allclose(h(x), np.repeat([[0.5], [1.0], [0.25], [0.5], [0.0], [0.0]], 2, axis=1), atol=1e-15)
    np.testing.assert_allclose(slope(x), [[-1, 0], [1, 0], [0, -1], [1, 0], [-1, 0], [1, 0]], atol=1e-15)
    round_, bend = distance_weight(ball=([1.0, 0.0], 2.0), cap=0.5)
    np.testing.assert_allclose(round_(x)[:, 0], [0.5, 0.5, 0.25, 0.5, 0.5, 0.0], atol=1e-15)
    np.testing.assert_allclose(bend(x), [[0, 0], [0, 0], [0, -1], [0, 0], [0, 0], [1, 0]], atol=1e-15)
    np.testing.assert_array_equal(distance_weight(ball=([1.0, 0.0], 2.0))[1](x[:1]), [[0, 0]])
