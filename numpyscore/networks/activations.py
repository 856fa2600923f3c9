r"""Activations and their jets: phi and its first three derivatives, with full relative accuracy in both tails and near zero.

The energy needs phi, the score phi', the trace phi'', the parameter gradient of the trace phi'''. A jet is the whole truth about one
activation: ``jet(z, order)`` returns phi and its first ``order`` derivatives, so nothing is computed in vain.

Accuracy is relative in the tails and at z = 0, absolute at interior zeros (silu' at -1.28, softplus''' at 0 excepted).
Complex input (a complex step) branches on z.real; `erf` and `gelu` are real only, since SciPy's erfcx is what makes
their tails right and there is no longdouble version of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..common.inputs import count


@dataclass(frozen=True)
class Activation:
    """An activation function with its first three derivatives, as a network is built from it.

    Parameters
    ----------
    name : str
        The name under which networks save it.
    jet : callable
        ``jet(z, order)`` returns ``(phi, phi', phi'', phi''')[:order + 1]``, arrays of the shape and dtype of z;
        order is 0 to 3. It must not modify z.
    smooth : bool
        Whether phi is twice continuously differentiable. If not, everything that needs the trace refuses it.
    analytic : bool
        Whether ``jet`` accepts complex and longdouble input (the oracles use both).

    Notes
    -----
    One of your own: ``Activation("cube", lambda z, order: (z**3, 3*z**2, 6*z, 6 + 0*z)[:order + 1])``; hand it to a
    network in place of a name, or `register` it so that saved networks find it again.
    """

    name: str
    jet: Callable[[np.ndarray, int], tuple[np.ndarray, ...]]
    smooth: bool = True
    analytic: bool = True

    def __call__(self, z, order=0):
        """phi and its first `order` derivatives at z (any shape)."""
        if count(f"activation {self.name}", "order", order, 0) > 3:
            raise ValueError(f"activation {self.name}: order is {order}, expected 0 to 3: phi and three derivatives.")
        z = np.asarray(z)
        z = z if z.dtype.kind in "fc" else z.astype(float)
        return tuple(a.reshape(z.shape) for a in self.jet(np.atleast_1d(z), order))


def _size(z):
    """|z|, continued analytically from the real line on either side of Re z = 0."""
    return np.where(z.real >= 0, z, -z) if z.dtype.kind == "c" else np.abs(z)


def _decay(z):
    """exp(-|z|), continued analytically as |z| is; never overflows."""
    e = np.where(z.real >= 0, -z, z) if z.dtype.kind == "c" else np.copysign(z, -1)
    return np.exp(e, out=e)


def _logistic(z):
    """s = 1/(1 + exp(-z)), q = s(1 - s) and h = 1 - 2s = -tanh(z/2), each with full relative accuracy."""
    e = _decay(z)
    s = np.where(z.real >= 0, 1, e) if z.dtype.kind == "c" else np.exp(np.minimum(z, 0))
    w = 1 + e
    s /= w
    e /= w
    e /= w
    return s, e, -np.tanh(0.5 * z)


def _log1p(e):
    """log(1 + e); NumPy's complex log1p loses the real part of a small e, artanh does not."""
    return 2 * np.arctanh(e / (2 + e)) if e.dtype.kind == "c" else np.log1p(e)


def _tanh(z, order):
    t = np.tanh(z)
    if order == 0:
        return (t,)
    r = _decay(z)  # sech z = exp(-|z|) (1 + |tanh z|), squared; 1 - t*t is exactly 0 from |z| = 19
    w = _size(t)
    w += 1
    r *= w
    r *= r
    if order == 1:
        return t, r
    d2 = t * r
    d2 *= -2
    return (t, r, d2) if order == 2 else (t, r, d2, r * (4 - 6 * r))


def _sigmoid(z, order):
    s, q, h = _logistic(z)
    return (s, q, q * h, q * (1 - 6 * q))[: order + 1]


def _softplus(z, order):
    s, q, h = _logistic(z)
    positive = np.where(z.real >= 0, z, 0) if z.dtype.kind == "c" else np.maximum(z, 0)
    return (positive + _log1p(_decay(z)), s, q, q * h)[: order + 1]


def _silu(z, order):
    s, q, h = _logistic(z)
    zq = z * q
    return (z * s, s + zq, 2 * q + zq * h, q * 3 * h + zq * (1 - 6 * q))[: order + 1]


def _sin(z, order):
    s, c = np.sin(z), np.cos(z)
    return (s, c, -s, -c)[: order + 1]


def _bell(z, scale):
    """exp(-z^2/scale) with full relative accuracy: z^2 is split so that its rounding error does not reach exp."""
    z = np.clip(z, -60, 60)  # exp(-60^2/2) is 0 in every dtype accepted here, and 1e308 must not be squared
    high = np.round(16 * z) / 16
    return np.exp(-high * high / scale) * np.exp((high - z) * (high + z) / scale), z


def _erf(z, order):
    from scipy.special import erf

    bell, near = _bell(z, 1)
    p = 2 / np.sqrt(np.pi).item() * bell
    return (erf(z), p, -2 * near * p, (4 * near * near - 2) * p)[: order + 1]


def _gelu(z, order):
    from scipy.special import erfcx

    bell, near = _bell(z, 2)
    tail = 0.5 * erfcx(np.abs(z) * 0.5**0.5) * bell  # Phi(-|z|), relative accuracy far into the tail
    cdf = np.where(z >= 0, 1 - tail, tail)
    p = bell / np.sqrt(2 * np.pi).item()
    return (z * cdf, cdf + near * p, p * (2 - near * near), near * p * (near * near - 4))[: order + 1]


def _relu(z, order):
    step = (z > 0).astype(z.dtype)
    zero = np.zeros_like(z)
    return (z * step, step, zero, zero)[: order + 1]


tanh = Activation("tanh", _tanh)
sigmoid = Activation("sigmoid", _sigmoid)
softplus = Activation("softplus", _softplus)
silu = Activation("silu", _silu)
sin = Activation("sin", _sin)
erf = Activation("erf", _erf, analytic=False)
gelu = Activation("gelu", _gelu, analytic=False)
relu = Activation("relu", _relu, smooth=False, analytic=False)  # kept for the counterexample: its trace is silently 0

ACTIVATIONS = {phi.name: phi for phi in (tanh, sigmoid, softplus, silu, sin, erf, gelu, relu)}


def register(phi):
    """Make an activation of your own known by its name, so that saved networks that use it can be loaded.

    Raises
    ------
    TypeError
        If `phi` is not an `Activation`.
    ValueError
        If the name is taken by another one: a saved file must mean one function.
    """
    if not isinstance(phi, Activation):
        raise TypeError(f"register: phi is {phi!r}, expected a numpyscore.networks.activations.Activation.")
    if ACTIVATIONS.setdefault(phi.name, phi) is not phi:
        raise ValueError(f"register: the name {phi.name!r} is taken; give your activation another name.")
    return phi


def activation(where, name):
    """The activation called `name`, or `name` itself if it is one already."""
    if isinstance(name, Activation):
        return name
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(
            f"{where}: activation is {name!r}, expected one of {', '.join(ACTIVATIONS)} "
            f"or a numpyscore.networks.activations.Activation of your own."
        )
    return ACTIVATIONS[name]
