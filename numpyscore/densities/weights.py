"""Weights that vanish at the boundary of a support: pairs (h, h') for generalised score matching."""

import numpy as np

from ..common.inputs import numeric, positive


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
