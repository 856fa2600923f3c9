"""Regularised score matching: implicit, and a price on the squares of the Jacobian's diagonal. How an objective is added: this file, and a line."""

import numpy as np

from ..common.inputs import positive
from ..networks.directions import Axes
from .arguments import network
from .implicit import half
from .loss import Loss, Objective, half_square, sample_weights, shares


def regularised(model, x, lam, *, sigma=None, weights=None, gradient=True):
    r"""Regularised score matching: noise in the samples, to first order, without any noise.

    .. math:: \ell(x) = \tfrac12 \lvert s(x) \rvert^2 + \sum_i \partial_i s_i(x) + \lambda \sum_i (\partial_i s_i(x))^2

    s is the score, the gradient of log p in x. The diagonal of the Jacobian costs d directions e_i, as in `generalised`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, with a twice differentiable activation
    x : (n, d) array, n >= 1
    lam : float > 0, [x]^2
        lambda; for 0 it is `implicit`, which finds the sum of the diagonal cheaper.
    sigma : scalar or (n,) array, the noise level a conditional network is told
    weights : (n,) array, optional
        Sample weights >= 0, in any unit: the loss is the weighted mean.
    gradient : bool
        Whether the gradient will be wanted: it is then computed with the value. See `Loss`.

    Returns
    -------
    Loss
        Units 1/[x]^2.

    Raises
    ------
    ValueError
        If lam is not positive, the activation is not twice differentiable, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Of a Gaussian score -a x the loss is a^2 x^2/2 - a d + lambda a^2 d: the minimiser shrinks to a = 1/(var + 2 lambda), so 2 lambda
    acts as an added variance.

    Source: Kingma & LeCun (2010), Regularized estimation of image statistics by score matching, NeurIPS 23.
    """
    where = "regularised"
    network(where, model, x)
    points, lam = model.points(where, x, sigma, second=True), positive(where, "lam", lam)
    n, share = len(points.x), sample_weights(where, weights, len(points.x))

    def local(at, here):
        """1/2 |s|^2 and its cotangent s; of each J_ii the cotangent 1 + 2 lambda J_ii."""
        s = here["score"]
        w = shares(at, s, share, n)
        return half_square(s), {"score": w[:, None] * s, "curvature": lambda chunk, J: w * (1 + 2 * lam * J)}

    def compute(gradient):
        axes = Axes(np.ones_like(points.x))
        found = model.sweep(points, directions=axes, total=False, local=local, gradient=gradient, where=where)
        diagonal = found.curvature  # (d, n)
        return found.term + np.sum(diagonal + lam * diagonal**2, axis=0), found.gradient

    return Loss(compute, share, gradient, "regularised")


def _right(q, s):
    """The trace, and 1/2 |s|^2 + lambda sum_i J_ii^2."""
    diagonal = np.diagonal(q.probe.jacobian(q.at), axis1=-2, axis2=-1)
    return 0.0, diagonal.sum(-1), half(s) + q.numbers["lam"] * np.sum(diagonal**2, -1)


REGULARISED = Objective(
    regularised,
    linear="trace",
    right=_right,
    numbers={"lam": (("lam", "lambda_", "regularisation"), 0.3)},
    aliases=("kingma_lecun",),
)
