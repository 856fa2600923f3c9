"""Minimising a loss over a network's parameters: Adam with warm-up, cosine decay and weight averaging, and SciPy's L-BFGS."""

import contextlib
import math
import time
from typing import NamedTuple

import numpy as np


class Adam(NamedTuple):
    """All that Adam knows after `step` steps: theta, the means m of gradients and v of their squares, the average of theta."""

    theta: np.ndarray
    m: np.ndarray
    v: np.ndarray
    average: np.ndarray
    step: int = 0


def adam_start(theta):
    """Adam before its first step."""
    zero = np.zeros_like(theta)
    return Adam(theta, zero, zero, theta)


def adam_step(state, gradient, rate, *, beta1=0.9, beta2=0.999, eps=1e-8, memory=0.98, decay=0.0):
    r"""One step of Adam, and of the weighted mean of the parameters it has passed.

    .. math:: m_k = \beta_1 m_{k-1} + (1 - \beta_1) g, \quad v_k = \beta_2 v_{k-1} + (1 - \beta_2) g^2, \quad
        \theta_k = \theta_{k-1} - \eta \frac{m_k / (1 - \beta_1^k)}{\sqrt{v_k / (1 - \beta_2^k)} + \epsilon} - \eta \lambda \theta_{k-1},
        \qquad
        \bar\theta_k = \frac{1 - \mu}{1 - \mu^k} \sum_{i \le k} \mu^{k - i} \theta_i

    Parameters
    ----------
    state : Adam
    gradient : (p,) array
    rate : float
        Learning rate eta of this step; `learning_rate` gives it.
    beta1, beta2, eps : float
        The constants of the paper.
    memory : float
        mu of the average, in [0, 1): it reaches back 1/(1 - mu) steps.
    decay : float
        lambda, by which weights decay apart from the gradient; 0 is Adam.

    Returns
    -------
    Adam
        A new state; the old one is not changed, so it can be saved at any time.

    Source: Kingma & Ba (2015), arXiv:1412.6980, algorithm 1; Polyak & Juditsky (1992), SIAM J. Control Optim. 30:838-855, for averaging;
    Loshchilov & Hutter (2019), ICLR, arXiv:1711.05101, for the decay.
    Test: test_optimisers.py::test_adam_is_the_published_update
    """
    k = state.step + 1
    m = beta1 * state.m + (1 - beta1) * gradient
    v = beta2 * state.v + (1 - beta2) * gradient**2
    theta = state.theta - rate * (m / (1 - beta1**k)) / (np.sqrt(v / (1 - beta2**k)) + eps) - rate * decay * state.theta
    average = state.average + (1 - memory) / (1 - memory**k) * (theta - state.average)
    return Adam(theta, m, v, average, k)


def learning_rate(step, steps, peak, warm_up=0.1):
    """The rate of step 1 ... steps: linear up to `peak` in the first share `warm_up`, then half a cosine down to 0.

    Source: Loshchilov & Hutter (2017), arXiv:1608.03983, for the cosine.
    """
    rise = max(1, round(warm_up * steps))
    if step <= rise:
        return peak * step / rise
    return 0.5 * peak * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


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
