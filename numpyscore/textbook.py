r"""The score is the gradient of log p in x. Score matching by hand: each pass an equation, and beneath it its pullback.

    a_0 = x        z_l = a_{l-1} W_l + b_l        a_l = phi(z_l)        l = 1..L        y = a_L W_{L+1} + b_{L+1}

    energy network    p = exp(-f) / Z,    f = y + lam |x|^2 / 2,    s = grad log p = -grad f
    score network     s = y

To fit s to data takes the trace of its Jacobian J = ds/dx, or its curvatures v.J v along some directions v, and then
the gradient of all that in the parameters. Four passes give the one; the same four backwards give the other:

    forward   ->  adjoint   ->  tangent   ->  curvature     y,  grad y,  how all of it moves along v,  v.(Hess y) v
    forward_  <-  adjoint_  <-  tangent_  <-  curvature_    their pullbacks: from cotangents to parameters

Samples are rows, x (n, d); one number a sample is a column (n, 1). Directions are (m, n, d), m at each sample, their
tangents (m, n, n_l). Layers are dicts that begin at 1, as the equations do. The tape `at` holds what the passes leave
behind; `bar` the cotangents of all that, bar.z[l] = dLoss/dz_l, at first 0. Nothing is fast here and nothing checked:
this is what the engine computes, and what it is tested against. Complex and longdouble numbers go through.
"""

from collections.abc import Callable
from types import SimpleNamespace as Tape
from typing import Any, NamedTuple

import numpy as np


# fmt: off
# ------------------------------------------------------------- activations: phi and its first three derivatives
def logistic(z):
    """s = 1/(1 + e^-z),    q = s (1 - s),    h = 1 - 2 s = -tanh(z/2): no digit is lost near 0 or in a tail."""
    s, r = 1/(1 + np.exp(-z)), 1/(1 + np.exp(z))
    return s, s*r, -np.tanh(z/2)

#                                                                            phi                   phi'      phi''         phi'''
def tanh(z):      "2/(1 + e^-2z) - 1";  _, q, h = logistic(2*z);      return -h,                   4*q,      8*q*h,        16*q*(1 - 6*q)
def sigmoid(z):   "1/(1 + e^-z)";       s, q, h = logistic(z);        return s,                    q,        q*h,          q*(1 - 6*q)
def softplus(z):  "log(1 + e^z)";       s, q, h = logistic(z);        return np.log1p(np.exp(z)),  s,        q,            q*h
def silu(z):      "z/(1 + e^-z)";       s, q, h = logistic(z);        return z*s,                  s + z*q,  q*(2 + z*h),  q*(3*h + z*(1 - 6*q))
def sin(z):       "sin z";              s, c = np.sin(z), np.cos(z);  return s,                    c,        -s,           -c

# ------------------------------------------------------------- a network, and the cotangents of a tape
class Network(NamedTuple):
    """Weights W[1..L+1] (in, out), biases b[1..L+1], the number L of hidden layers, the activation phi."""
    W: dict; b: dict; L: int; phi: Callable

    @classmethod
    def of(cls, layers, phi):
        """From ((W_1, b_1), ..., (W_{L+1}, b_{L+1}))."""
        W, b = (dict(enumerate(arrays, 1)) for arrays in zip(*layers, strict=True))
        return cls(W, b, len(W) - 1, phi)

def cotangents(net, at):
    """Zero, for every parameter and for all that the passes left on the tape."""
    zeros = lambda arrays: {l: np.zeros(a.shape, at.y.dtype) for l, a in arrays.items()}
    return Tape(W=zeros(net.W), b=zeros(net.b), z=zeros(at.z), g=zeros(at.g), T=zeros(at.T), y=np.zeros_like(at.y))

def flat(bar):
    """The gradient in theta = (W_1, b_1, W_2, b_2, ...), row by row."""
    return np.concatenate([a.ravel() for l in bar.W for a in (bar.W[l], bar.b[l])])

def outer(A, B):  "A^T B, summed over directions and samples";  return np.tensordot(A, B, ((0, 1), (0, 1)))
def dot(a, b):    "a.b of each sample";                         return (a*b).sum(-1, keepdims=True)
def half(a):      "|a|^2/2 of each sample";                     return dot(a, a)/2

# ------------------------------------------------------------- forward: from x to y
def forward(net, x):
    """z_l = a_{l-1} W_l + b_l,    a_l = phi(z_l),    y = a_L W_{L+1} + b_{L+1}."""
    W, b, L, phi = net
    at = Tape(a={0: x}, z={}, d1={}, d2={}, d3={}, g={}, h={}, T={}, N={})
    for l in range(1, L + 1):
        at.z[l]                               = at.a[l-1] @ W[l] + b[l]
        at.a[l], at.d1[l], at.d2[l], at.d3[l] = phi(at.z[l])
    at.y                                      = at.a[L] @ W[L+1] + b[L+1]
    return at

def forward_pullback(net, at, bar):
    """The same lines reversed, from bar.y and bar.z: backpropagation. What is left over is the cotangent of x."""
    W, _, L, _ = net
    bar.W[L+1]   += at.a[L].T @ bar.y
    bar.b[L+1]   += bar.y.sum(0)
    a_bar         = bar.y @ W[L+1].T
    for l in range(L, 0, -1):
        bar.z[l] += a_bar * at.d1[l]
        bar.W[l] += at.a[l-1].T @ bar.z[l]
        bar.b[l] += bar.z[l].sum(0)
        a_bar     = bar.z[l] @ W[l].T
    return a_bar

# ------------------------------------------------------------- adjoint: g_l = dy/da_l, h_l = dy/dz_l
def adjoint(net, at, y_bar):
    """g_L = y_bar W_{L+1}^T,    h_l = g_l phi'(z_l),    g_{l-1} = h_l W_l^T;    g_0 = y_bar dy/dx."""
    W, _, L, _ = net
    at.h[L+1]     = y_bar
    at.g[L]       = y_bar @ W[L+1].T
    for l in range(L, 0, -1):
        at.h[l]   = at.g[l] * at.d1[l]
        at.g[l-1] = at.h[l] @ W[l].T

def adjoint_pullback(net, at, bar):
    """The same lines reversed, from bar.g; bar.z is left for the forward pass."""
    W, _, L, _ = net
    for l in range(1, L + 1):
        h_bar     = bar.g[l-1] @ W[l]
        bar.W[l] += bar.g[l-1].T @ at.h[l]
        bar.g[l] += h_bar * at.d1[l]
        bar.z[l] += h_bar * at.g[l] * at.d2[l]
    bar.W[L+1]   += bar.g[L].T @ at.h[L+1]

# ------------------------------------------------------------- tangent: T_l is how z_l moves, N_l how a_l
def tangent(net, at, T_1):
    """T_1 = v W_1,    N_l = T_l phi'(z_l),    T_{l+1} = N_l W_{l+1};    T_{L+1} is how y moves."""
    W, _, L, _ = net
    at.T[1]       = T_1
    for l in range(1, L + 1):
        at.N[l]   = at.T[l] * at.d1[l]
        at.T[l+1] = at.N[l] @ W[l+1]

def tangent_pullback(net, at, bar):
    """The same lines reversed, from bar.T; bar.T[1] is left for T_1, bar.z for the forward pass."""
    W, _, L, _ = net
    for l in range(L, 0, -1):
        N_bar       = bar.T[l+1] @ W[l+1].T
        bar.W[l+1] += outer(at.N[l], bar.T[l+1])
        bar.T[l]   += N_bar * at.d1[l]
        bar.z[l]   += (N_bar * at.T[l]).sum(0) * at.d2[l]

def adjoint_tangent(net, at):
    """How g_0 moves:    g_dot_L = 0,    h_dot_l = g_dot_l phi' + g_l phi'' T_l,    g_dot_{l-1} = h_dot_l W_l^T."""
    W, _, L, _ = net
    g_dot     = 0
    for l in range(L, 0, -1):
        h_dot = g_dot * at.d1[l] + at.g[l] * at.d2[l] * at.T[l]
        g_dot = h_dot @ W[l].T
    return g_dot

# ------------------------------------------------------------- curvature: v.(Hess y) v, without that last pass
def curvature(at):
    """v.(Hess y) v = sum_l sum_k g_l phi''(z_l) T_l^2:    each unit bends by phi'' T^2, and y by g times as much."""
    return sum(dot(at.g[l] * at.d2[l], at.T[l]**2) for l in at.z)

def curvature_pullback(at, bar, c_bar):
    """The same line reversed, with Q_l = sum over directions of c_bar T_l^2. Nothing else needs phi'''."""
    for l in at.z:
        Q         = (c_bar * at.T[l]**2).sum(0)
        bar.g[l] += Q * at.d2[l]
        bar.z[l] += Q * at.g[l] * at.d3[l]
        bar.T[l] += c_bar * 2*at.T[l] * at.g[l] * at.d2[l]

# ------------------------------------------------------------- the exact trace is a choice of directions
# The curvatures along e_1, ..., e_d sum to tr J. Fewer will do: how y bends along v depends on v W_1 alone, n_1 numbers,
# however large d is. Whatever the choice, the passes are the same, and so is the way back: W_1_bar += v^T T_1_bar.
def basis(x):          "e_i: they sum to tr J, as it is taught";  return shared(np.eye(x.shape[1]), x)
def weighted(h):       "sqrt(h_i) e_i: to sum_i h_i J_ii";        return np.sqrt(h).T[:, :, None] * basis(h)
def signs(x, m, rng):  "E[v v^T] = I: on average tr J";           return rng.choice([-1.0, 1.0], (m, *x.shape))
def nowhere(x):        "none, for losses without J";              return basis(x)[:0]
def shared(v, x):      "(m, d) as (m, n, d)";                     return np.repeat(v[:, None], len(x), axis=1)

class Directions(NamedTuple):
    """Tangents T_1 at z_1, u that T_{L+1} is held against, the curvature of |x|^2/2, and the pullback to W_1."""
    T_1: Any; u: Any; bend: Any; pullback: Callable

def along(net, v):
    """Directions v (m, n, d):    T_1 = v W_1,    c = v.J v."""
    return Directions(v @ net.W[1][:v.shape[-1]], v, dot(v, v), lambda T_bar, u_bar: outer(v, T_bar))

def collapsed(net, x):
    """tr J of an energy: W_1 = Q R, and y bends along the min(d, n_1) columns of Q only; |x|^2/2 along all d."""
    Q, _ = np.linalg.qr(net.W[1][:x.shape[1]])
    return along(net, shared(Q.T, x))._replace(bend=x.shape[1] / Q.shape[1])

def cyclic(net, x):
    """tr J of a score network: tr dy/dx = tr d(y W_1)/dz_1, so T_1 = I and u = W_1^T, n_1 directions in place of d."""
    W_1 = net.W[1][:x.shape[1]]
    return Directions(shared(np.eye(W_1.shape[1]), x), shared(W_1.T, x), 0, lambda T_bar, u_bar: u_bar.sum(1).T)

# ------------------------------------------------------------- two networks: f, s, c = v.J v, and their pullback
class Point(NamedTuple):
    """Energy (n, 1), score (n, d), curvatures (m, n, 1); pullback(f_bar, s_bar, c_bar) is the gradient in theta."""
    f: Any; s: Any; c: Any; pullback: Callable

def conditional(x, lam, sigma):
    """f = y(x, log sigma)/sigma + lam |x|^2 / (2 (1 + sigma^2)): what y is given, lam, and what y is divided by."""
    return (x, lam, 1) if sigma is None else (np.hstack([x, np.log(sigma)]), lam/(1 + sigma**2), sigma)

def energy_network(net, x, directions, lam=0, sigma=None):
    """f = y + lam |x|^2 / 2,    s = -grad f,    c = -v.(Hess f) v."""
    d, (X, lam, sigma) = x.shape[1], conditional(x, lam, sigma)
    at = forward(net, X)
    adjoint(net, at, np.ones_like(at.y))
    tangent(net, at, directions.T_1)
    f =   at.y           / sigma + lam * half(x)
    s = -(at.g[0][:, :d] / sigma + lam * x)
    c = -(curvature(at)  / sigma + lam * directions.bend)

    def pullback(f_bar, s_bar, c_bar):
        bar              = cotangents(net, at)
        bar.y[:]         =  f_bar / sigma
        bar.g[0][:, :d]  = -s_bar / sigma
        curvature_pullback(at, bar, -c_bar / sigma)
        tangent_pullback(net, at, bar)
        bar.W[1][:d]    += directions.pullback(bar.T[1], 0)
        adjoint_pullback(net, at, bar)
        forward_pullback(net, at, bar)
        return flat(bar)

    return Point(f, s, c, pullback)

def score_network(net, x, directions, sigma=None):
    """s = y,    c = u.T_{L+1}."""
    d, (X, _, sigma) = x.shape[1], conditional(x, 0, sigma)
    at = forward(net, X)
    tangent(net, at, directions.T_1)
    s = at.y                             / sigma
    c = dot(directions.u, at.T[net.L+1]) / sigma

    def pullback(_, s_bar, c_bar):
        bar                = cotangents(net, at)
        bar.y[:]           = s_bar                / sigma
        bar.T[net.L+1][:]  = c_bar * directions.u / sigma
        tangent_pullback(net, at, bar)
        bar.W[1][:d]      += directions.pullback(bar.T[1], c_bar * at.T[net.L+1] / sigma)
        forward_pullback(net, at, bar)
        return flat(bar)

    return Point(None, s, c, pullback)

# ------------------------------------------------------------- objectives: a loss, and beside it its cotangents
#                                                                          loss of each sample               of f  of s                   of c
def explicit(f, s, c, s_0):               "|s - s_0|^2 / 2";         return half(s - s_0),                   0,    s - s_0,               0
def implicit(f, s, c):                    "|s|^2 / 2 + tr J";        return half(s) + c.sum(0),              0,    s,                     1
def generalised(f, s, c, h, h1):          "h s^2 / 2 + (h s)'";      return dot(h*s/2 + h1, s) + c.sum(0),   0,    h*s + h1,              1
def denoising(f, s, c, eps, sigma, w=1):  "w |s + eps/sigma|^2 / 2"; return w*half(s + eps/sigma),           0,    w*(s + eps/sigma),     0
def sliced(f, s, c):                      "|s|^2 / 2 + v.J v";       return half(s) + c.mean(0),             0,    s,                     1/len(c)
def projected(f, s, c, v):                "(v.s)^2 / 2 + v.J v";     return (half(dot(v, s)) + c).mean(0),   0,    (dot(v, s)*v).mean(0), 1/len(c)

def energy_differences(f, s, c, e):
    """At x - e v, x and x + e v, with u = (f_- - f_+)/2e in place of v.s:    u^2/2 - (f_+ - 2 f + f_-)/e^2."""
    minus, f, plus = np.split(f, 3); u = (minus - plus)/(2*e)
    return half(u) - (plus - 2*f + minus)/e**2, np.vstack([u/(2*e) - 1/e**2, 0*u + 2/e**2, -u/(2*e) - 1/e**2]), 0, 0

def score_differences(f, s, c, v, e):
    """At x - e v and x + e v, with u = v.(s_+ + s_-)/2 in place of v.s:    u^2/2 + v.(s_+ - s_-)/2e."""
    minus, plus = np.split(s, 2); u = dot(v, plus + minus)/2
    return half(u) + dot(v, plus - minus)/(2*e), 0, np.vstack([(u/2 - 1/(2*e))*v, (u/2 + 1/(2*e))*v]), 0

def loss_and_gradient(objective, point, *given):
    """The mean over samples, and its gradient in theta."""
    f, s, c, pullback = point
    loss, *bars = objective(f, s, c, *given)
    return loss.mean(), pullback(*(bar / len(loss) for bar in bars))
