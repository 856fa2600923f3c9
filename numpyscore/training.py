"""Minimising a loss over a network's parameters."""

import contextlib
import time

import numpy as np


class _Enough(Exception):
    """Time is up: raised inside SciPy's optimiser to leave it with the best parameters so far."""


def minimise(model, loss, *, max_iterations=200, seconds=None, progress=None):
    """The network with the parameters at which SciPy's L-BFGS left ``loss(model)``, and the loss per iteration.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
    loss : callable, model -> Loss
        For example ``lambda net: implicit(net, x)``.
    max_iterations : int
    seconds : float, optional
        Stop after this time. Where the clock stops it, two runs need not agree to the bit.
    progress : callable, optional
        Called as progress(iteration, value) after each iteration.

    Returns
    -------
    model, history
        history is the list of loss values, the first before training.

    Source: Byrd, Lu, Nocedal & Zhu (1995), SIAM J. Sci. Comput. 16:1190-1208, as in SciPy.
    """
    from scipy.optimize import minimize

    start, best = time.monotonic(), [np.inf, model.theta]
    history: list[float] = []

    def objective(theta):
        result = loss(model.with_theta(theta.astype(model.theta.dtype)))
        gradient, value = result.gradient, float(result.value)
        if value < best[0]:
            best[:] = value, theta.copy()
        if not history:
            history.append(value)
        return value, gradient.astype(float)

    def callback(intermediate_result):
        history.append(float(intermediate_result.fun))
        if progress is not None:
            progress(len(history) - 1, history[-1])
        if seconds is not None and time.monotonic() - start > seconds:
            raise _Enough

    options = {"maxiter": max_iterations, "maxcor": 20}
    with contextlib.suppress(_Enough):
        minimize(objective, model.theta.astype(float), jac=True, method="L-BFGS-B", callback=callback, options=options)
    return model.with_theta(best[1].astype(model.theta.dtype)), history
