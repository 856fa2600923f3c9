r"""Standard errors of what minimises a loss: the sandwich A^{-1} B A^{-1} / n, from the samples themselves.

theta-hat is where the weighted mean of d_theta rho vanishes. Near it the mean moves by A per unit of theta and fluctuates with the covariance
B / n; so theta-hat fluctuates with A^{-1} B A^{-1} / n, whether the model is right or not. Where the model is right and the loss is the
likelihood, A = B; score matching has no such shortcut.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import finite, numeric
from ..objectives.arguments import network
from ..objectives.implicit import implicit

STEP = 1e-30  # of a complex step


class Estimate(NamedTuple):
    """value: the parameters as they come without covariance. cov (k, k): their covariance; for `Moments` in the order mean, then
    cov[i, j] by rows, i <= j. Standard errors are the roots of its diagonal."""

    value: Any
    cov: np.ndarray

    @property
    def standard_errors(self):
        """(k,) array: value +- 1.96 of them covers the truth in 95 % of large samples."""
        return np.sqrt(np.diag(self.cov))


class Sandwich(NamedTuple):
    """cov (k, k): covariance of the coefficients along the directions. A, B (k, k): second derivative of the loss, and covariance of
    the slopes of the samples."""

    cov: np.ndarray
    A: np.ndarray
    B: np.ndarray

    @property
    def standard_errors(self):
        """(k,) array."""
        return np.sqrt(np.diag(self.cov))


def sandwich(model, x, objective=implicit, *, directions=None, weights=None, **options):
    r"""Covariance of a fitted network's parameters along given directions, by the sandwich formula.

    .. math:: A_{jk} = v_j^T\, \partial_\theta^2 J\, v_k, \qquad B = \mathrm{Cov}_n\,(v_j \cdot \partial_\theta \rho_n), \qquad
        C = A^{-1} B A^{-1} / n

    theta = theta-hat + sum_j c_j v_j; C is the covariance of c, the other directions held fixed. A network has directions that no loss
    sees (units that swap, or saturate), so few are asked for: the default, all p of them, serves small networks. Derivatives are
    complex steps through the passes, free of differencing.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
        At the minimum of the objective; elsewhere the formula means nothing. Activation with complex input (tanh, softplus, silu, sigmoid, sin).
    x : (n, d) array
    objective : callable, (model, x, **options) -> Loss
        `implicit`, `denoising`, ...; of random objectives give the noise or a seed among the options: one draw for each sample, as in training.
    directions : (k, p) array, optional
        v_j in the space of model.theta.
    weights : (n,) array >= 0, optional
        Sample weights, handed to the objective: a sample's slope counts with its weight (of mean 1), in A and, squared, in B.

    Returns
    -------
    Sandwich

    Raises
    ------
    ValueError
        If A is not positive definite: not at a minimum, or the loss does not see one of the directions. If the gradient along a
        direction is not small beside its standard error.

    Source: Huber (1967), 5th Berkeley Symp. 1:221-233; White (1982), Econometrica 50:1-25.
    Test: test_errors.py::test_a_networks_output_layer_has_the_errors_of_its_closed_form
    """
    where = "sandwich"
    network(where, model, x)
    V = _directions(where, model, directions)  # (k, p)
    if not model.activation.analytic:
        raise ValueError(
            f"{where}: activation {model.activation.name!r} does not take complex input, which the derivatives need; use tanh, softplus, "
            f"silu, sigmoid or sin."
        )
    w = sample_weights(where, weights, len(x))
    if w is not None:
        options["weights"] = w
    slopes, rows = [], []  # d rho_n / dc_j, and the row j of A
    for v in V:
        loss = objective(model.with_theta(model.theta + 1j * STEP * v), x, **options)
        slopes.append((1.0 if w is None else w) * loss.per_sample.imag / STEP)  # (n,)
        rows.append(V @ (loss.gradient.imag / STEP))  # (k,)
    A, rho = np.array(rows), np.array(slopes).T
    A, n = 0.5 * (A + A.T), len(rho)
    least = np.linalg.eigvalsh(A)[0]
    if not least > 1e-12 * np.abs(A).max():
        raise ValueError(
            f"{where}: the second derivative of the loss along the directions has the smallest eigenvalue {least:.3g}, expected a "
            f"positive one: the model is not at a minimum, or the loss does not see one of the directions. Train on, or leave directions out."
        )
    mean = rho.mean(0)
    B = (rho - mean).T @ (rho - mean) / n
    away = np.abs(mean) / np.sqrt(np.maximum(np.diag(B) / n, np.finfo(float).tiny))
    if away.max() > 0.5:
        j = int(np.argmax(away))
        raise ValueError(
            f"{where}: the gradient along direction {j} is {mean[j]:.3g}, {away[j]:.2g} of its standard errors from 0: the model is not at the "
            f"minimum of this objective on these samples. Train on, or give the objective and noise it was trained with."
        )
    inverse = np.linalg.inv(A)
    return Sandwich(inverse @ B @ inverse / n, A, B)


def _directions(where, model, directions):
    """(k, p) directions in the space of model.theta; all axes for None."""
    p = model.theta.size
    if directions is None:
        return np.eye(p)
    V = np.atleast_2d(np.asarray(numeric(where, "directions", directions), float))
    if V.ndim != 2 or V.shape[1] != p or not len(V):
        raise ValueError(
            f"{where}: directions have shape {V.shape}, expected (k, {p}), directions in the space of theta."
        )
    finite(where, "directions", V)
    return V


def weighted_mean(values, weights):
    """Mean over the first axis, with weights of mean 1 (n,) or None."""
    return values.mean(0) if weights is None else np.tensordot(weights, values, 1) / len(weights)


def sample_weights(where, weights, n):
    """Weights (n,) scaled to mean 1, or None."""
    if weights is None:
        return None
    w = np.asarray(numeric(where, "weights", weights), float)
    if w.shape != (n,):
        raise ValueError(f"{where}: weights have shape {w.shape}, expected ({n},), one for each row of x.")
    finite(where, "weights", w)
    if (w < 0).any() or not w.any():
        raise ValueError(
            f"{where}: weights have minimum {w.min()} and sum {w.sum()}, expected numbers >= 0, not all 0."
        )
    return w / w.mean()


def ridge_of(where, ridge):
    """A number >= 0."""
    r = np.asarray(numeric(where, "ridge", ridge), float)
    if r.ndim or not (r >= 0 and math.isfinite(r)):
        raise ValueError(f"{where}: ridge is {ridge!r}, expected one finite number >= 0.")
    return float(r)
