"""The textbook in decimals: every quantity of a network and every objective's gradient to 50 digits and more, and the scales S and S2.

The equations of `numpyscore.textbook` run on arrays of decimals as they stand. What they say is tested elsewhere by what shares nothing with
them (complex steps, and the reference vectors' reverse accumulation); here they give the value without rounding, at the very numbers that the
package was given. On floats, with every term replaced by its absolute value, the same equations give S and S2 of MATH's section 6.
"""

import itertools
import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from numpyscore import textbook as tb
from numpyscore.vectors.decimals import context, derivatives, pi

DIGITS = 80  # computed with: 50 are wanted, and near 0 1 - e^-z loses some
FAR = 30  # |z| from which sin is reduced, and erf is 1 to DIGITS; its complement is kept for gelu up to 40
ZERO, ONE = Decimal(0), Decimal(1)


class Level(Decimal):
    """A noise level: np.log of an array of them asks each for its logarithm."""

    def log(self):
        return self.ln()


def decimals(a, kind=Decimal):
    """An array of decimals with exactly these values."""
    return np.array([kind(float(v)) for v in np.ravel(a)], dtype=object).reshape(np.shape(a))


# ------------------------------------------------------------------------------- activations and four derivatives


def logistic(z):
    """s = 1/(1 + e^-z), its complement, q = s (1 - s), h = 1 - 2 s."""
    e = (-abs(z)).exp()
    big, small = 1 / (1 + e), e / (1 + e)
    s, r = (big, small) if z >= 0 else (small, big)
    return s, r, s * r, ((1 - e) / (1 + e)).copy_sign(-z)


def log1p_exp(z):
    """log(1 + e^z); where e^z is tiny, by its series."""
    e = (-abs(z)).exp()
    tail = e - e * e / 2 + e**3 / 3 - e**4 / 4 if abs(z) > 50 else (1 + e).ln()
    return max(z, ZERO) + tail


def sigmoid(z):
    s, _, q, h = logistic(z)
    return s, q, q * h, q * (1 - 6 * q), q * h * (1 - 12 * q)


def softplus(z):
    s, _, q, h = logistic(z)
    return log1p_exp(z), s, q, q * h, q * (1 - 6 * q)


def tanh(z):
    _, _, q, h = logistic(2 * z)
    return -h, 4 * q, 8 * q * h, 16 * q * (1 - 6 * q), 32 * q * h * (1 - 12 * q)


def silu(z):
    s, q, d2, d3, d4 = sigmoid(z)
    return z * s, s + z * q, 2 * q + z * d2, 3 * d2 + z * d3, 4 * d3 + z * d4


def sin(z):
    if abs(z) > FAR:  # as many more digits as z has before the point
        with context(DIGITS + 2 * max(z.adjusted(), 0) + 10):
            whole = 2 * pi()
            z = z - (z / whole).to_integral_value() * whole
    s, c, *_ = derivatives("sin", z)
    return s, c, -s, -c, s


def bell(z):
    return (-z * z / 2).exp() / (2 * pi()).sqrt()


def erf(z):
    value = derivatives("erf", z)[0] if abs(z) < FAR else ONE.copy_sign(z)
    p = 2 * (-z * z).exp() / pi().sqrt()
    return value, p, -2 * z * p, (4 * z * z - 2) * p, (12 * z - 8 * z**3) * p


def gelu(z):
    p = bell(z)
    value = derivatives("gelu", z)[0] if abs(z) < FAR + 10 else max(z, ZERO)
    cdf = value / z if z else Decimal("0.5")
    return value, cdf + z * p, (2 - z * z) * p, (z**3 - 4 * z) * p, (-(z**4) + 7 * z * z - 4) * p


JETS = {f.__name__: f for f in (tanh, sigmoid, softplus, silu, sin, erf, gelu)}


def columns(name):
    """phi and four derivatives of an array of decimals, each number looked up once."""
    jet = JETS[name]
    return lambda z: [np.array(c, dtype=object).reshape(z.shape) for c in zip(*map(jet, z.ravel()), strict=True)]


# ------------------------------------------------------------------------------- a network and what it is given


class Exact:
    """A model of the package in decimals: `at` is the textbook's Point, `jacobian` its (n, d, d)."""

    def __init__(self, model):
        self.energies, self.conditional = model.kind == "EnergyMLP", model.conditional
        self.lam = Decimal(model.confinement) if self.energies else ZERO
        self.columns = columns(model.activation.name)
        self.net = tb.Network.of([(decimals(W), decimals(b)) for W, b in model.layers], lambda z: self.columns(z)[:4])

    def at(self, x, v, sigma):
        """Energy, score, curvatures along v, and their pullback."""
        directions = tb.along(self.net, v)
        if self.energies:
            return tb.energy_network(self.net, x, directions, self.lam, sigma)
        return tb.score_network(self.net, x, directions, sigma)

    def jacobian(self, x, sigma):
        """ds_i/dx_j, by how the first derivatives move along every e_j."""
        d, (X, lam, over) = x.shape[1], tb.conditional(x, self.lam, sigma)
        net, tape = self.net, tb.forward(self.net, X)
        tb.tangent(net, tape, tb.along(net, basis(x)).T_1)
        if not self.energies:
            return (tape.T[net.L + 1] / over).transpose(1, 2, 0)
        tb.adjoint(net, tape, np.ones_like(tape.y))
        moved = tb.adjoint_tangent(net, tape)[..., :d] / over + lam * basis(x)
        return -moved.transpose(1, 2, 0)

    def sizes(self, x, reach, sigma, least):
        """The networks of absolute values at one point x (1, d), a sum of terms of size `reach`: S, and S2.

        In S2 a column counts how z moves it, and `least`, the smallest normal number, eps times which is what rounding costs below it.
        """
        logs = [] if sigma is None else [np.log(sigma)]
        a, S_a, jets = np.hstack([x, *logs]), np.hstack([reach, *map(np.abs, logs)]), []
        for l in range(1, self.net.L + 1):
            W, b = self.net.W[l], self.net.b[l]
            z, S_z = a @ W + b, S_a @ np.abs(W) + np.abs(b)
            phi = self.columns(z)
            size = [np.abs(c) for c in phi]
            a, S_a = phi[0], size[0] + size[1] * S_z
            jets.append([(floats(c), floats(c + moved * S_z) + least) for c, moved in itertools.pairwise(size)])
        return [Absolute(self, [tuple(pair[k] for pair in jet) for jet in jets]) for k in (0, 1)]


class Absolute(Exact):
    """See `Exact.sizes`. An energy's score and curvature come out negative, as minus sums of absolute values."""

    def __init__(self, exact, rows):
        self.energies, self.lam = exact.energies, float(exact.lam)
        jets = itertools.cycle(rows)
        size = lambda arrays: {l: np.abs(floats(a)) for l, a in arrays.items()}
        self.net = tb.Network(size(exact.net.W), size(exact.net.b), exact.net.L, lambda z: next(jets))


def floats(a):
    """As doubles; what is beyond them is infinite."""
    return np.array([float(v) if v.is_finite() else np.inf for v in map(Decimal, np.ravel(a))]).reshape(np.shape(a))


def basis(x):
    """e_1, ..., e_d (d, n, d) of x's own kind of number."""
    return tb.shared(np.eye(x.shape[1]).astype(int).astype(object) if x.dtype == object else np.eye(x.shape[1]), x)


# ------------------------------------------------------------------------------- objectives: their points, directions and cotangents


class Part(NamedTuple):
    """Rows of points x + move, the noise levels told, directions (m, rows, d), and cotangents(f, s, c, signs) there."""

    x: Any
    move: Any
    sigma: Any
    v: Any
    cotangents: Callable


class Signs:
    """How a formula reads: as it stands, or for its scale with every term positive."""

    def __init__(self, scale):
        self.minus = operator.add if scale else operator.sub
        self.of = np.abs if scale else lambda a: a


def objectives(exact, given):
    """{objective: its parts}, as MATH's section 4 has them; `given` are decimals (n, d), probes and noises (m, n, d)."""
    x, sigma, v, noise, level, levels, target, h, h1, e, lam = given.values()
    n, energies, at_x, one = len(x), exact.energies, 0 * x, e / e
    none, told = v[:1] * 0, (lambda s: s) if exact.conditional else lambda s: None
    root = np.sqrt(h)
    column = lambda s: np.full((n, 1), s)

    def denoised(eps, s, weight):
        cotangents = lambda f, S, c, k: (0, weight * (S + k.of(eps) / s), 0)
        return Part(x, s * eps, told(s), none, cotangents)

    def at(v, cotangents):
        return Part(x, at_x, sigma, v, cotangents)

    def projected(f, S, c, k):
        p = k.of(v)
        return 0, (tb.dot(p, S) * p).sum(0) / len(v), one / len(v)

    def energy_differences(reduced):
        def cotangents(f, S, c, k):
            minus, _, plus = np.split(f, 3)
            u = 0 if reduced else k.minus(minus, plus) / (2 * e) / (2 * e)
            far, near = k.minus(0 * minus, u), 1 / e**2 + 0 * minus  # -u
            return (
                np.vstack([k.minus(u, near), 2 * near, k.minus(far, near)]),
                np.vstack([0 * x, S[n : 2 * n], 0 * x]) if reduced else 0,
                0,
            )

        return cotangents

    def score_differences(reduced):
        def cotangents(f, S, c, k):
            minus, plus = np.split(S, 2)
            p, m = k.of(v[0]), (minus + plus) / 2
            u = m / 2 if reduced else tb.dot(p, m) / 2 * p
            return 0, np.vstack([k.minus(u, p / (2 * e)), u + p / (2 * e)]), 0

        return cotangents

    def differences(reduced):
        steps = (-1, 0, 1) if energies else (-1, 1)
        many = lambda a: None if a is None else np.vstack([a] * len(steps))
        row = (energy_differences if energies else score_differences)(reduced)
        return Part(
            many(x), np.vstack([k * e * v[0] for k in steps]), many(sigma), np.concatenate([none] * len(steps), 1), row
        )

    return {
        "explicit": [at(none, lambda f, S, c, k: (0, k.minus(S, k.of(target)), 0))],
        "implicit": [at(basis(x), lambda f, S, c, k: (0, S, one))],
        "generalised": [at(root.T[:, :, None] * basis(x), lambda f, S, c, k: (0, h * S + k.of(h1), one))],
        "regularised": [at(basis(x), lambda f, S, c, k: (0, S, 1 + 2 * lam * c))],
        "denoising": [denoised(noise[0], column(level), 1)],
        "multilevel": [denoised(eps, column(s), s * s / len(levels)) for eps, s in zip(noise[1:], levels, strict=True)],
        "sliced": [at(v, lambda f, S, c, k: (0, S, one / len(v)))],
        "projected": [at(v, projected)],
        "differences": [differences(False)],
        "differences, reduced": [differences(True)],
    }


def gradient(exact, parts, n):
    """The gradient in theta of a loss, the mean over n samples, in decimals."""
    total = 0
    for p in parts:
        f, s, c, pullback = exact.at(p.x + p.move, p.v, p.sigma)
        total = total + pullback(*(ONE * bar / n for bar in p.cotangents(f, s, c, Signs(False))))
    return total


def gradient_sizes(exact, parts, positive, n, least):
    """S and S2 of that gradient; `positive` are the same parts made of absolute values, as floats."""
    return [
        sum(
            map(
                _part_size,
                itertools.repeat(exact),
                parts,
                positive,
                itertools.repeat(n),
                [k] * len(parts),
                itertools.repeat(least),
            )
        )
        for k in (0, 1)
    ]


def _part_size(exact, part, positive, n, squared, least):
    """One part's S or S2: its rows one by one, since every row has jets of its own."""
    sign, points = (-1.0 if exact.energies else 1.0), []
    for r in range(len(part.x)):
        here = slice(r, r + 1)
        row = lambda a, here=here: None if a is None else a[here]
        x, move = part.x[here], part.move[here]
        size = exact.sizes(x + move, np.abs(x) + np.abs(move), row(part.sigma), least)[squared]
        points.append(size.at(row(positive.x) + row(positive.move), positive.v[:, here], row(positive.sigma)))
    f = None if points[0].f is None else np.vstack([p.f for p in points])
    s, c = np.vstack([np.abs(p.s) for p in points]), np.concatenate([np.abs(p.c) for p in points], 1)
    total, bars = 0.0, positive.cotangents(f, s, c, Signs(True))
    for r, point in enumerate(points):
        f_bar, s_bar, c_bar = (a[..., r : r + 1, :] if np.ndim(a) else a for a in bars)
        total = total + np.abs(point.pullback(f_bar * 1.0, sign * s_bar, sign * c_bar)) / n
    return total
