"""Weights that vanish at the boundary of a support: pairs (h, h') for generalised score matching."""

import numpy as np

from ..common.inputs import numeric, positive
from .intervals import union


def linear_weight(lower=0.0):
    """h = x - lower and h' = 1, for supports [lower, inf); lower is a scalar or (d,), [x]. A pair for `generalised`."""
    return (lambda x: x - np.asarray(lower)), (lambda x: np.ones(np.shape(x)))


def square_weight(lower=0.0):
    """h = (x - lower)^2, h' = 2 (x - lower), for supports [lower, inf); Hyvarinen's (2007) choice. A pair for `generalised`.

    A square cannot tell a point below `lower`: that is checked here, and raises ValueError when h is computed.
    """
    a = np.asarray(lower)

    def h(x):
        if (x < a).any():
            row = int(np.argwhere(x < a)[0][0])
            raise ValueError(
                f"square_weight: x[{row}] = {x[row]} lies below lower = {lower} (first bad row: {row}), outside the support; "
                f"remove such rows, or lower the end."
            )
        return (x - a) ** 2

    return h, (lambda x: 2 * (x - a))


def capped_weight(c, lower=0.0):
    """h = min(x - lower, c), for supports [lower, inf): far samples count equally. A pair for `generalised`.

    Parameters
    ----------
    c : positive float, [x]
        Yu, Drton & Shojaie (2019) find that bounded weights bring lower variance than x^2.
    lower : scalar or (d,) array, [x]
    """
    c = positive("capped_weight", "c", c)
    return (lambda x: np.minimum(x - np.asarray(lower), c)), (lambda x: np.where(x - np.asarray(lower) < c, 1.0, 0.0))


def box_weight(lower, upper, cap=np.inf):
    """h = distance to the nearer end of each side of a box, h' = +-1 (0 half way). A pair for `generalised`.

    Parameters
    ----------
    lower, upper : scalars or (d,) arrays, [x]
        Ends of the box; infinite where there is none. A side without ends has h = 1, h' = 0, as in `implicit`.
    cap : positive float, [x]
        Largest h of a side with ends, where h' is 0: far samples count equally, see `capped_weight`.

    Source: Liu, Kanamori & Williams (2022), JMLR 23(186); Yu, Drton & Shojaie (2022), Information and Inference 11:739-780.
    """
    a, b = (np.asarray(numeric("box_weight", name, end), float) for name, end in (("lower", lower), ("upper", upper)))
    if not np.all(a < b):
        raise ValueError(f"box_weight: lower is {a}, upper {b}, expected lower < upper on every side, no NaN.")
    if not cap > 0:
        raise ValueError(f"box_weight: cap is {cap}, expected a positive number, or inf for none.")
    free = np.isinf(a) & np.isinf(b)
    middle = 0.5 * np.where(free, 0, a) + 0.5 * np.where(free, 0, b)
    distance = lambda x: np.minimum(x - a, b - x)
    h = lambda x: np.where(free, 1.0, np.minimum(distance(x), cap))
    return h, (lambda x: np.where(free | (distance(x) >= cap), 0.0, np.sign(middle - x)))


def interval_weight(intervals, cap=np.inf):
    """h = distance to the nearer end of the interval that holds x, h' = +-1, for a union of intervals. A pair for `generalised`.

    Parameters
    ----------
    intervals : (m, 2) array, [x]
        Ends in ascending order, the same for every column; infinite where there is none. Between them, outside, h is negative.
    cap : positive float, [x]
        Largest h, where h' is 0: see `capped_weight`.

    Raises
    ------
    ValueError
        If the intervals are not in order, or touch, or cap is not positive.

    Source: Yu, Drton & Shojaie (2022), Information and Inference 11:739-780, whose domains have unions of intervals as sections.
    Test: test_weights.py::test_the_weight_of_a_union_of_intervals
    """
    ends = union("interval_weight", intervals)
    pairs = [box_weight(a, b, cap) for a, b in ends]

    def nearest(x):
        """(m, ...): h of each interval, of which the largest is that of the interval x is in, or nearest to."""
        return np.stack([h(np.asarray(x, float)) for h, _ in pairs])

    def h_prime(x):
        slopes = np.stack([slope(np.asarray(x, float)) for _, slope in pairs])
        return np.take_along_axis(slopes, nearest(x).argmax(0)[None], 0)[0]

    return (lambda x: nearest(x).max(0)), h_prime


def log_weight(lower=0.0, upper=np.inf, cap=1.5, scale=1.0):
    r"""h = min(log(1 + t), cap) with t the distance to the nearer end in units of `scale`, h' its derivative. A pair for `generalised`.

    It grows like the distance near an end and hardly beyond, which loses least: for a normal density cut at 0, unit variance, mean from
    -2 to 2.5, both parameters unknown, the distance itself has an efficiency of 77 % at worst, its square 26 %, this weight with the
    standard deviation of the data as `scale` 92 %.

    Parameters
    ----------
    lower, upper : scalars or (d,) arrays, [x]
        As for `box_weight`; a side without ends has h = 1, h' = 0.
    cap : positive float
    scale : positive scalar or (d,) array, [x]

    Source: Yu, Drton & Shojaie (2019), JMLR 20(76), for bounded weights such as min(log(1 + x), c).
    Test: test_asymptotics.py::test_the_default_weight_of_truncated_gaussian_loses_least
    """
    distance, slope = box_weight(lower, upper)
    scale = np.asarray(numeric("log_weight", "scale", scale), float)
    cap = positive("log_weight", "cap", cap)
    if not np.all(scale > 0):
        raise ValueError(f"log_weight: scale is {scale}, expected positive numbers, the unit of the distance.")
    free = np.isinf(np.asarray(lower, float)) & np.isinf(np.asarray(upper, float))
    far = scale * np.expm1(cap)

    def h(x):
        t = np.minimum(distance(x), far)
        return np.where(
            free, 1.0, np.where(t >= 0, np.log1p(np.maximum(t, 0) / scale), t)
        )  # below 0 outside, as a warning

    def h_prime(x):
        t = distance(x)
        return np.where(free | (t >= far), 0.0, slope(x) / (scale + np.maximum(t, 0)))

    return h, h_prime


def distance_weight(*, ball=None, polytope=None, cap=np.inf):
    r"""h_i = distance to the boundary of a ball, a polytope or their intersection, for every i; h_i' = dh/dx_i. A pair for `generalised`.

    .. math:: h(x) = \min\bigl(r - |x - c|,\; b_1 - a_1 \cdot x,\; b_2 - a_2 \cdot x,\; ...,\; \mathrm{cap}\bigr), \qquad |a_j| = 1

    The weight may depend on all coordinates: what integration by parts differentiates is p h s_i along i, so h_i' means dh/dx_i. As p h
    vanishes at the boundary whatever p does there, the loss is a weighted explicit one up to a constant. h has kinks where two distances are
    equal and at the centre of the ball, which integrals do not mind.

    Parameters
    ----------
    ball : (centre (d,), radius), optional, [x]
    polytope : (normals (m, d), offsets (m,)), optional
        The points with normals @ x <= offsets; the normals may have any length.
    cap : positive float, [x]
        Largest h: far samples count equally.

    Returns
    -------
    h, h_prime : callables (n, d) -> (n, d)
        h is negative outside, which `generalised` and the estimators refuse.

    Raises
    ------
    ValueError
        If neither is given, a shape does not fit, the radius is not positive or a normal is 0.

    Source: Liu, Kanamori & Williams (2022), JMLR 23(186), whose weight is the distance to the boundary; Yu, Drton & Shojaie (2022),
    Information and Inference 11:739-780, for domains in R^d.
    Test: test_support.py::test_distance_weights_are_distances_and_their_gradients
    """
    where = "distance_weight"
    if not cap > 0:
        raise ValueError(f"{where}: cap is {cap}, expected a positive number, or inf for none.")
    centre, radius, A, b = _region(where, ball, polytope)
    d = A.shape[1] if A is not None else len(centre)

    def nearest(x):
        """The distance (n,) to the nearest part of the boundary, and its gradient (n, d)."""
        x = np.asarray(x, float)
        if x.ndim != 2 or x.shape[1] != d:
            raise ValueError(f"{where}: x has shape {x.shape}, expected (n, {d}), the dimension of the region.")
        away, gradient = np.full(len(x), np.inf), np.zeros_like(x)
        if centre is not None:
            out = x - centre
            r = np.linalg.norm(out, axis=1)
            away, gradient = radius - r, -out / np.where(r > 0, r, 1.0)[:, None]
        if A is not None:
            room = b - x @ A.T
            j = np.argmin(room, axis=1)
            flat = room[np.arange(len(x)), j]
            nearer = flat < away
            away, gradient = np.where(nearer, flat, away), np.where(nearer[:, None], -A[j], gradient)
        return away, gradient

    def h(x):
        return np.repeat(np.minimum(nearest(x)[0], cap)[:, None], d, axis=1)

    def h_prime(x):
        away, gradient = nearest(x)
        return np.where((away < cap)[:, None], gradient, 0.0)

    return h, h_prime


def _region(where, ball, polytope):
    """Centre (d,) and radius of a ball, normals (m, d) of length 1 and offsets (m,) of a polytope; None for what is not given."""
    if ball is None and polytope is None:
        raise ValueError(
            f"{where}: neither ball nor polytope is given; pass ball=(centre, radius) or polytope=(normals, offsets)."
        )
    centre = radius = A = b = None
    if ball is not None:
        centre = np.atleast_1d(np.asarray(numeric(where, "ball[0]", ball[0]), float))
        radius = positive(where, "radius", ball[1])
    if polytope is not None:
        A, b = (np.asarray(numeric(where, f"polytope[{i}]", a), float) for i, a in enumerate(polytope))
        if A.ndim != 2 or b.shape != A.shape[:1] or not A.any(1).all():
            raise ValueError(
                f"{where}: normals have shape {A.shape} and offsets {b.shape}, expected (m, d) and (m,), no normal being 0."
            )
        length = np.linalg.norm(A, axis=1)
        A, b = A / length[:, None], b / length
    if centre is not None and centre.shape != (d := A.shape[1:] if A is not None else (centre.size,)):
        raise ValueError(f"{where}: the centre has shape {centre.shape}, expected {d} as the normals have.")
    return centre, radius, A, b
