"""Four passes give the score and its curvature, and the same four backwards give the gradient.

The names are those of `textbook`: forward, adjoint, tangent and curvature above, each with its pullback below, which reads what the pass left and
hands cotangents on. Two tests hold them together: what moves forward and what is pulled back have the same product, and the gradient at
the end is that of a complex step.
"""

import numpy as np

from numpyscore import textbook as tb
from numpyscore.display import plots

CHAPTER = 5
PASSES = (
    ("forward", "$z_l$,  $a_l$,  $y$", "bar.W, bar.b"),
    ("adjoint", "$g_l = dy/da_l$", "bar.z, bar.W"),
    ("tangent", "$T_l$: how $z_l$ moves", "bar.z, bar.W"),
    ("curvature", "$v \\cdot (\\mathrm{Hess}\\,y)\\,v$", "bar.g, bar.z, bar.T"),
)


def network(theta):
    """Two hidden layers of four units on three inputs, from 41 parameters."""
    shapes, layers = ((3, 4), (4, 4), (4, 1)), []
    for rows, columns in shapes:
        W, b, theta = np.split(theta, [rows * columns, (rows + 1) * columns])
        layers.append((W.reshape(rows, columns), b))
    return tb.Network.of(layers, tb.tanh)


def passes(theta, x, v):
    """All four at x (n, 3) along v (1, n, 3): y, its gradient, how y moves, its curvature, and the mean loss with its gradient."""
    net = network(theta)
    point = tb.energy_network(net, x, tb.along(net, v))
    at = tb.forward(net, x)
    tb.adjoint(net, at, np.ones_like(at.y))
    tb.tangent(net, at, v @ net.W[1])
    value, gradient = tb.loss_and_gradient(tb.sliced, point)
    return {
        "y": at.y,
        "grad y": at.g[0],
        "y moves": at.T[3][0],
        "curvature": tb.curvature(at)[0],
        "loss": value,
        "gradient": gradient,
    }


def measure():
    """Parameters, points and directions, and what the passes make of them."""
    rng = np.random.default_rng(0)
    theta, x, v = rng.standard_normal(41), rng.standard_normal((5, 3)), rng.standard_normal((1, 5, 3))
    return {"theta": theta, "x": x, "v": v} | passes(theta, x, v)


def claim(found):
    """Asserted: tangent and adjoint have one product; curvature and gradient are those of complex steps."""
    theta, x, v = found["theta"], found["x"], found["v"]
    step = 1e-30j
    y = lambda x: tb.forward(network(theta), x).y
    np.testing.assert_allclose(found["y"], y(x), rtol=1e-12)
    np.testing.assert_allclose(found["y moves"], y(x + step * v[0]).imag / 1e-30, rtol=1e-10)
    np.testing.assert_allclose(np.sum(found["grad y"] * v[0], 1, keepdims=True), found["y moves"], rtol=1e-10)
    moved = passes(theta, x + step * v[0], v)["grad y"].imag / 1e-30
    np.testing.assert_allclose(found["curvature"], np.sum(moved * v[0], 1, keepdims=True), rtol=1e-10)
    slopes = np.array([passes(theta + step * e, x, v)["loss"].imag / 1e-30 for e in np.eye(41)])
    np.testing.assert_allclose(found["gradient"], slopes, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["loss"], np.mean(tb.half(found["grad y"]) - found["curvature"]), rtol=1e-12)


def draw():
    """Four boxes from left to right, four beneath them from right to left; on a phone from top to bottom and back."""
    claim(measure())
    return plots.passes(PASSES)
