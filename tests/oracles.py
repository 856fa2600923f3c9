"""Independent truths for the networks: complex steps in extended precision, and the error scale S of MATH's section 6.

S is the same formula with every weight, term and activation column replaced by its absolute value. The passes are sums of
products, so they compute S themselves when they are fed a network of absolute values whose activation row returns the
absolute columns at the true z.
"""

import itertools

import numpy as np

from numpyscore.networks.activations import Activation
from numpyscore.networks.passes import forward
from numpyscore.networks.schedule import Block, Call

H = 1e-30  # complex step: its truncation error is H^2


def _erf_row(gelu):
    """erf and gelu from SciPy's complex error function: for complex steps in double precision."""
    from scipy.special import erf, erfc

    def columns(z, order):
        z = z.astype(complex)
        p = np.exp(-z * z) * 2 / np.sqrt(np.pi)
        out = (erf(z), p, -2 * z * p, (4 * z * z - 2) * p)
        if gelu:
            p = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
            cdf = 0.5 * erfc(-z / np.sqrt(2))
            out = (z * cdf, cdf + z * p, p * (2 - z * z), z * p * (z * z - 4))
        return out[: order + 1]

    return Activation("gelu" if gelu else "erf", columns)


def extended(model):
    """The same network for complex steps: clongdouble, or complex128 for the two activations that have no more."""
    if model.activation.analytic:
        return model.with_theta(model.theta.astype(np.clongdouble)), np.longdouble
    layers = [(W.astype(complex), b.astype(complex)) for W, b in model.layers]
    return type(model)(layers, _erf_row(model.activation.name == "gelu"), **model._options()), float


def true_score(model, x, **sigma):
    """-df/dx by a complex step of the energy (n, d)."""
    net, real = extended(model)
    step = lambda j: (
        net.energy(x.astype(real) + 1j * real(H) * np.eye(x.shape[1], dtype=real)[j], **sigma).imag / real(H)
    )
    return -np.stack([step(j) for j in range(x.shape[1])], axis=1)


def true_jacobian(model, x, **sigma):
    """ds_i/dx_j by a complex step of the score (n, d, d)."""
    net, real = extended(model)
    step = lambda j: (
        net.score(x.astype(real) + 1j * real(H) * np.eye(x.shape[1], dtype=real)[j], **sigma).imag / real(H)
    )
    return np.stack([step(j) for j in range(x.shape[1])], axis=2)


def true_gradient(model, loss, places):
    """d loss / d theta at some places, by complex steps of the loss of a network."""
    net, real = extended(model)
    out = []
    for i in places:
        theta = net.theta.copy()
        theta[i] += 1j * real(H)
        out.append(loss(net.with_theta(theta)).imag / real(H))
    return np.array(out)


def absolute(model, x, sigma=None):
    """The network of absolute values, whose activation columns are the absolute ones of `model` at x."""
    call = Call(
        x, sigma if sigma is None else np.asarray(sigma), np.dtype(float), list(model.layers), model.conditional, 0.0
    )
    block = Block(call, slice(0, len(x)))
    columns, _ = forward(call.layers, model.activation, block.x, 3, call.lane(), block.shift)
    layerwise = itertools.cycle([tuple(np.abs(c) for c in layer) for layer in columns])
    row = Activation("absolute", lambda z, order: next(layerwise)[: order + 1])
    return type(model)([(np.abs(W), np.abs(b)) for W, b in model.layers], row, **model._options())


def scales(model, x, **sigma):
    """S of score (n, d), trace (n,), Jacobian (n, d, d), gradient of implicit (p,), and energy (n,) where there is one."""
    sign = -1 if hasattr(model, "energy") else 1
    n, gradient = len(x), 0
    size = absolute(model, x, **sigma)
    ev = size.evaluate(np.abs(x), trace=True, **sigma)
    jacobian = np.abs(size.jacobian(np.abs(x), **sigma))
    energy = size.energy(np.abs(x), **sigma) if sign < 0 else None
    for i in range(n):  # one sample at a time: log sigma enters the gradient with its sign
        at = slice(i, i + 1)
        one = {"sigma": np.asarray(sigma["sigma"])[at]} if sigma else {}
        part = absolute(model, x[at], **one).evaluate(np.abs(x[at]), trace=True, **one)
        gradient = gradient + np.abs(part.pullback(score_bar=part.score / n, trace_bar=sign / n))
    return np.abs(ev.score), np.abs(ev.trace), jacobian, gradient, energy


def random_network(rng, cls, activations, max_dim=40, max_width=24):
    """A random network of any shape, with random biases, and points and noise levels to go with it."""
    d = int(rng.integers(1, max_dim + 1))
    widths = rng.integers(1, max_width + 1, rng.integers(1, 5))
    options = {"conditional": bool(rng.integers(2))}
    if cls.kind == "EnergyMLP":
        options["confinement"] = float(rng.choice([0, rng.uniform(0, 2)]))
    model = cls.init(d, widths, str(rng.choice(activations)), rng=rng, **options)
    model = model.with_theta(model.theta * rng.uniform(0.3, 2.5))
    n = int(rng.integers(1, 5))
    sigma = {"sigma": np.exp(rng.uniform(-2, 2, n))} if options["conditional"] else {}
    return model, rng.standard_normal((n, d)) * rng.uniform(0.2, 3), sigma
