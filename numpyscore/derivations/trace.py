r"""The trace.

The trace of the score's Jacobian is held to cost one backward pass per dimension. For multilayer perceptrons it does not: only
sums of squares of tangents enter, and min(d, n_1) directions have the same sums as d of them. Where one does not want even
those, random directions v with E[v v^T] = I give it on average: Hutchinson's estimator, and with it sliced score matching.
What the networks of the package say is held against `textbook`, whose passes share no line with theirs.
"""

from itertools import product
from types import SimpleNamespace

import numpy as np

from .. import textbook as tb
from ..networks.activations import Activation, tanh
from ..networks.directions import Collapsed, draw_probes
from ..networks.models import EnergyMLP, ScoreMLP
from ..objectives.arrays import finite_difference_energy_loss
from ..objectives.sliced import finite_difference_sliced, sliced
from .case import STEP
from .means import EPS, number, sampled, worst
from .steps import Chapter, Sides, failing

CHAPTER = Chapter(5, "the trace")
HUTCHINSON = "Hutchinson (1990), Communications in Statistics: Simulation and Computation 19:433-450"
AVRON = "Avron & Toledo (2011), J. ACM 58(2):8, for Gaussian probes"
SONG = "Song, Garg, Shi & Ermon (2019), arXiv:1905.07088"
PANG = "Pang, Xu, Li, Song, Ermon & Zhu (2020), arXiv:2007.03317"
LAWS = ("rademacher", "gaussian", "sphere")
PHI = {phi.__name__: phi for phi in (tb.tanh, tb.sigmoid, tb.softplus, tb.silu, tb.sin)}


def _points(case, n=16):
    return case.density.sample(n, rng=np.random.default_rng([case.seed, 5]))


def scale(model, v=None):
    """S of MATH section 6 for v^T J v, or for the trace without v: every weight and direction by its size, phi', phi'' at most 1.13.

    It bounds the sum of the absolute terms at any x, so it is what rounding is to be compared with.
    """
    W, out = [np.abs(W) for W, _ in model.layers[:-1]], np.abs(model.layers[-1][0])
    T = (np.eye(model.dim) if v is None else np.abs(v)[None]) @ W[0]
    tangents = [T]
    for W_l in W[1:]:
        tangents.append(T := 1.13 * T @ W_l)
    if model.kind == "ScoreMLP":
        last = 1.13 * T @ out
        return float(np.trace(last) if v is None else last[0] @ np.abs(v))
    g, S = out[:, 0], model.confinement * (model.dim if v is None else v @ v)
    for l in range(len(W) - 1, -1, -1):
        S += 1.13 * np.sum(tangents[l] ** 2, 0) @ g
        g = 1.13 * W[l] @ g
    return float(S)


def _worst(left, right, error):
    """The worst pair of two arrays, each with this error."""
    return Sides(*worst((left, error), (right, error))[:2])


def _network(case):
    return hasattr(case.model, "layers")


def _textbook(model):
    """The same network as `textbook` writes it."""
    return tb.Network.of(model.layers, PHI.get(model.activation.name, lambda z: model.activation(z, 3)))


def by_textbook(model, x, v=None):
    """Score s and curvatures c (m, n, 1) along v (m, n, d), or along every e_i, as `textbook` computes them."""
    net = _textbook(model)
    directions = tb.along(net, tb.basis(x) if v is None else v)
    if model.kind == "EnergyMLP":
        return tb.energy_network(net, x, directions, model.confinement)
    return tb.score_network(net, x, directions)


def backward_passes(model, x):
    """The trace (n,) as it is taught: the gradient in x of s_i, for each i, and of it the entry i."""
    net, trace = _textbook(model), 0.0
    at = tb.forward(net, x)
    for i in range(model.dim):
        e_i = np.zeros_like(x)
        e_i[:, i] = 1
        if model.kind == "ScoreMLP":
            tb.adjoint(net, at, e_i)
            trace = trace + at.g[0][:, i]
            continue
        tb.adjoint(net, at, np.ones_like(at.y))  # g_0 = grad y, and back through that pass and the one before it
        bar = tb.cotangents(net, at)
        bar.g[0] = e_i
        tb.adjoint_pullback(net, at, bar)
        trace = trace - tb.forward_pullback(net, at, bar)[:, i] - model.confinement
    return trace


# ------------------------------------------------------------------------------- lines


@CHAPTER.line(
    "the trace sums the diagonal",
    r"\mathrm{tr}\,\partial_x s = \sum_i \partial_i s_i",
    "definition of the trace",
    needs=lambda case: _network(case) and case.dim <= 3,
)
def diagonal(case):
    """The collapsed trace against the textbook's curvatures along e_1, ..., e_d, one tangent pass for each; worst of 16 points."""
    x = _points(case)
    return _worst(case.model.trace(x), by_textbook(case.model, x).c.sum(0)[:, 0], 128 * EPS * scale(case.model))


@CHAPTER.line(
    "d backward passes",
    r"\mathrm{tr}\,\partial_x s = \sum_i e_i^\top (\partial_x s)\, e_i",
    "the textbook way: one backward pass per dimension",
    needs=_network,
)
def textbook(case):
    """The exact trace of one sweep against d backward passes, the method whose cost is held against score matching."""
    x = _points(case, 4)
    return _worst(case.model.trace(x), backward_passes(case.model, x), 128 * EPS * scale(case.model))


@CHAPTER.line(
    "curvature identity",
    r"v^\top (\partial_x^2 f)\, v = \sum_l \sum_k g_{l,k}\, \phi''(z_{l,k})\, T_{l,k}^2",
    "chain rule: T_l are the tangents of v, g_l the adjoints of the energy; derived in the documentation of mlp",
    needs=lambda case: _network(case) and case.model.activation.analytic,
)
def curvature(case):
    """One tangent sweep and the adjoints already at hand, against a complex step of the textbook's score; worst of 16 points."""
    x, v = _points(case), case.w
    rows = np.broadcast_to(v, x.shape)
    bend = by_textbook(case.model, x + 1j * STEP * v, tb.nowhere(x)).s.imag @ v / STEP
    return _worst(case.model.curvature(x, rows), bend, 128 * EPS * scale(case.model, v))


# ------------------------------------------------------------------------------- examples


@CHAPTER.example(
    "rows no more than the width",
    r"R^\top R = W_1^\top W_1 \;\Rightarrow\; \sum_{i \le d} T_{l,i}^2 = \sum_{i \le n_1} R_{l,i}^2",
    "every tangent is a right multiple of T_1 = W_1; QR or Cholesky factorisation",
)
def collapsed(seed):
    """In d dimensions with n_1 = 8 units the d basis vectors may be replaced by 8 rows: same squares, same trace."""
    for d in (60, 500):
        net = EnergyMLP.init(d, (8, 8), "softplus", rng=seed)
        W = net.layers[0][0]
        R = Collapsed(SimpleNamespace(W={1: W}, L=2), d).R
        size = np.abs(W).T @ np.abs(W)
        yield f"d = {d}: rows", Sides(number(len(R), 0), number(8, 0))
        yield f"d = {d}: squares of the rows", _worst(R.T @ R, W.T @ W, 64 * EPS * size.max())
        x = np.random.default_rng(seed).standard_normal((4, d))
        yield f"d = {d}: trace", _worst(net.trace(x), by_textbook(net, x).c.sum(0)[:, 0], 128 * EPS * scale(net))


@CHAPTER.example(
    "the cyclic trace of a score network",
    r"\mathrm{tr}(W_1 D_1 \cdots D_L W_{L+1}) = \mathrm{tr}(D_1 W_2 \cdots D_L M), \quad M = W_{L+1} W_1",
    "invariance of the trace under cyclic permutation",
)
def cyclic(seed):
    """M is formed once for all samples; with one or two hidden layers the trace then costs no more than the score itself."""
    for widths in ((8,), (8, 6), (8, 6, 7)):
        net = ScoreMLP.init(40, widths, "softplus", rng=seed)
        x = np.random.default_rng(seed).standard_normal((8, 40))
        yield (
            f"d = 40, widths {widths}",
            _worst(net.trace(x), by_textbook(net, x).c.sum(0)[:, 0], 128 * EPS * scale(net)),
        )


@CHAPTER.example(
    "sweeps through the network",
    r"\text{exact: } 1, \qquad \text{textbook: } d",
    "counted: evaluations of the activation per sample and unit",
)
def sweeps(seed):
    """How often the samples pass through the network, counted in the activation: once for the exact trace, d times as it is taught."""
    count = [0]

    def jet(z, order):
        count[0] += z.size
        return tanh.jet(z, order)

    for d in (3, 30, 300):
        net = EnergyMLP.init(d, (8, 8), Activation("counted tanh", jet), rng=seed)
        x = np.random.default_rng(seed).standard_normal((2, d))
        for method, right in (("exact", 1), ("textbook", d)):
            count[0] = 0
            net.trace(x, method)
            yield f"{method}, d = {d}", Sides(number(count[0] / (2 * 16), 0), number(right, 0))


def designs(d):
    """Points (m, d) and weights (m,) that integrate polynomials of degree 4 exactly under each probe law.

    Rademacher: all 2^d sign vectors. Gaussian: the product of three-point Gauss-Hermite rules. Sphere of radius sqrt d: Stroud's rule
    on the 2d axis points and the 2d(d-1) midpoints of pairs of them.
    """
    signs = np.array([*product((-1.0, 1.0), repeat=d)])
    nodes = np.array([*product((-np.sqrt(3), 0.0, np.sqrt(3)), repeat=d)])
    masses = np.where(nodes == 0, 2 / 3, 1 / 6).prod(1)
    axes = np.sqrt(d) * np.concatenate([np.eye(d), -np.eye(d)])
    pairs = np.array([v for v in product((-1.0, 0.0, 1.0), repeat=d) if np.abs(v).sum() == 2]) * np.sqrt(d / 2)
    ball = np.concatenate([np.full(len(axes), (4 - d) / (2 * d * (d + 2))), np.full(len(pairs), 1 / (d * (d + 2)))])
    return {
        "rademacher": (signs, np.full(len(signs), 0.5**d)),
        "gaussian": (nodes, masses),
        "sphere": (np.concatenate([axes, pairs]), ball),
    }


def probe_variance(law, A):
    """Var v^T A v for a symmetric A: 2|A|^2; 2 sum_{i != j} A_ij^2; 2d/(d+2) (|A|^2 - tr^2/d)."""
    d, square = len(A), np.sum(A**2)
    return {
        "gaussian": 2 * square,
        "rademacher": 2 * (square - np.sum(np.diag(A) ** 2)),
        "sphere": 2 * d / (d + 2) * (square - np.trace(A) ** 2 / d),
    }[law]


def _at_a_point(seed, d=4):
    """Score s (d,) and Jacobian J (d, d) of a random energy network at a random point."""
    net = EnergyMLP.init(d, (8, 8), "softplus", confinement=0.3, rng=seed)
    x = np.random.default_rng(seed).standard_normal((1, d))
    return net.score(x)[0], net.jacobian(x)[0]


def _moments(values, weights):
    mean = weights @ values
    return (
        mean,
        weights @ (values - mean) ** 2,
        64 * EPS * (np.abs(weights) @ np.abs(values)),
        64 * EPS * (np.abs(weights) @ values**2),
    )


@CHAPTER.example("Hutchinson's mean", r"E[v v^\top] = I \;\Rightarrow\; E[v^\top J v] = \mathrm{tr}\, J", HUTCHINSON)
def hutchinson_mean(seed):
    """The expectation over v is not sampled but summed: designs that are exact for polynomials of degree four."""
    _, J = _at_a_point(seed)
    for law, (v, w) in designs(len(J)).items():
        mean, _, error, _ = _moments(np.einsum("mi,ij,mj->m", v, J, v), w)
        yield law, Sides(number(mean, error), number(np.trace(J), error))


@CHAPTER.example(
    "Hutchinson's variance",
    r"2\|J\|_F^2, \qquad 2\sum_{i\ne j} J_{ij}^2, \qquad \frac{2d}{d+2}\left(\|J\|_F^2 - \frac{(\mathrm{tr}\,J)^2}{d}\right)",
    HUTCHINSON + ", for signs; " + AVRON + "; fourth moments of the three laws",
)
def hutchinson_variance(seed):
    """Gaussian, Rademacher, sphere. Signs do not see the diagonal, the sphere does not see multiples of the identity."""
    _, J = _at_a_point(seed)
    for law, (v, w) in designs(len(J)).items():
        _, variance, _, error = _moments(np.einsum("mi,ij,mj->m", v, J, v), w)
        yield law, Sides(number(variance, error), number(probe_variance(law, J), error))


@CHAPTER.example("Hutchinson's estimator, sampled", r"\frac1m \sum_v v^\top J v \to \mathrm{tr}\, J", HUTCHINSON)
def hutchinson_sampled(seed):
    """20 000 directions as the package draws them: the mean, and the variance around it, within four standard errors."""
    _, J = _at_a_point(seed)
    for law in LAWS:
        v = draw_probes("verify", law, (20_000, len(J)), np.random.default_rng([seed, 7]))
        values = np.einsum("mi,ij,mj->m", v, J, v)
        yield f"{law}: mean", Sides(sampled(values), number(np.trace(J)), method="monte carlo")
        spread = sampled((values - np.trace(J)) ** 2)
        yield f"{law}: variance", Sides(spread, number(probe_variance(law, J)), method="monte carlo")


@CHAPTER.example(
    "sliced is implicit on average",
    r"E_v[v^\top J v + \tfrac12 (v \cdot s)^2] = \mathrm{tr}\, J + \tfrac12 |s|^2",
    SONG,
)
def sliced_mean(seed):
    """The package's sliced objective summed over all sign vectors, against the textbook's implicit one, on a batch of samples."""
    net = EnergyMLP.init(4, (8, 8), "softplus", confinement=0.3, rng=seed)
    x = np.random.default_rng(seed).standard_normal((32, 4))
    signs, _ = designs(4)["rademacher"]
    probes = np.broadcast_to(signs[:, None], (len(signs), *x.shape))
    f, s, c, _ = by_textbook(net, x)
    right = tb.implicit(f, s, c)[0].mean()
    for reduced, name in ((False, "sliced"), (True, "variance reduced")):
        left = sliced(net, x, variance_reduced=reduced, probes=probes)
        error = 128 * EPS * (scale(net) + np.mean(np.sum(s**2, 1)))
        yield name, Sides(number(left.value, error), number(right, error))


@CHAPTER.example(
    "what variance reduction removes",
    r"\mathrm{Var}\left[v^\top(J + \tfrac12 s s^\top) v\right] - \mathrm{Var}\left[v^\top J v\right]",
    SONG + "; the variances above",
)
def variance_reduced(seed):
    """Its square integrated exactly, the sliced loss loses the variance of (v.s)^2/2 and what it shares with the curvature."""
    s, J = _at_a_point(seed)
    A = J + 0.5 * np.outer(s, s)
    for law, (v, w) in designs(len(J)).items():
        quadratic = lambda B: np.einsum("mi,ij,mj->m", v, B, v)
        (_, full, _, e), (_, reduced, _, f) = _moments(quadratic(A), w), _moments(quadratic(J), w)
        right = probe_variance(law, A) - probe_variance(law, J)
        yield law, Sides(number(full - reduced, e + f), number(right, e + f))


@CHAPTER.example(
    "the error of finite differences",
    r"\ell_\epsilon = -(f^{(2)} + \tfrac{\epsilon^2}{12} f^{(4)}) + \tfrac12 (f^{(1)} + \tfrac{\epsilon^2}{6} f^{(3)})^2",
    PANG + "; Taylor's theorem, exact for a quartic",
)
def difference_error(seed):
    """Of second order in the step, with known constants: on f = x^4/4 - x^2 nothing is left over. Round-off grows as 1/eps^2."""
    x = np.linspace(-2, 2, 9)
    f = lambda x: x**4 / 4 - x**2
    for eps in (0.1, 0.01):
        loss = finite_difference_energy_loss(f(x - eps), f(x), f(x + eps), eps)
        right = -(3 * x**2 - 2 + eps**2 / 2) + 0.5 * (x**3 - 2 * x + eps**2 * x) ** 2
        rounding = 16 * EPS * (np.abs(f(x)).max() / eps**2 + np.abs(right).max() / eps)
        yield f"eps = {eps:g}", Sides(*worst((loss, rounding), (right, 8 * EPS * np.abs(right)))[:2])


@CHAPTER.example("finite differences tend to slices", r"\ell_\epsilon = \ell + O(\epsilon^2) \to \ell", PANG)
def differences_tend(seed):
    """Two Richardson steps take the eps^2 and eps^4 terms away; what is left is the sliced loss along the same directions."""
    net = EnergyMLP.init(3, (8, 8), "softplus", confinement=0.3, rng=seed)
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal((16, 3)), rng.standard_normal((1, 16, 3))
    f, s, c, _ = by_textbook(net, x, v)
    exact = tb.projected(f, s, c, v)[0].mean()
    steps = 0.08 / 2 ** np.arange(4)
    table = np.array([finite_difference_sliced(net, x, eps, probes=v, gradient=False).value for eps in steps])
    for k in (1, 2, 3):
        before, table = table, (4**k * table[1:] - table[:-1]) / (4**k - 1)
    error = 4 * abs(table[-1] - before[-1]) + 64 * EPS / steps[-1] ** 2
    yield "three extrapolations from eps = 0.08", Sides(number(table[-1], error), number(exact), method="extrapolation")


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "probes of another size",
    r"E[v v^\top] = c\,I \;\Rightarrow\; E[v^\top J v + \tfrac12 (v\cdot s)^2] = c\,(\mathrm{tr}\, J + \tfrac12 |s|^2)",
    SONG + "; unit-length slices appear in published code",
)
def wrong_size(seed):
    """Slices of unit length have c = 1/d, numbers uniform on (-1, 1) have c = 1/3. Both terms shrink alike, so the minimiser stays."""
    s, J = _at_a_point(seed)
    v, w = designs(len(J))["sphere"]
    right = np.trace(J) + 0.5 * s @ s
    for name, c in (("unit length, d = 4", 1 / len(J)), ("uniform on (-1, 1)", 1 / 3)):
        u = np.sqrt(c) * v  # the second moments are all that enters
        mean, _, error, _ = _moments(np.einsum("mi,ij,mj->m", u, J, u) + 0.5 * (u @ s) ** 2, w)
        held = failing("E[v v^T] = I, c - 1", c - 1)
        yield name, Sides(number(mean, error), number(right), (held,), number((c - 1) * right))


@CHAPTER.counterexample(
    "one term sliced, the other not",
    r"E[v^\top J v] + \tfrac12 |s|^2 \text{ with } E[v v^\top] = \tfrac1d I: \quad \text{gap } (\tfrac1d - 1)\, \mathrm{tr}\, J",
    SONG + "; the trace divided by d, with the square left whole",
)
def half_sliced(seed):
    """With the variance-reduced square, unit-length slices divide the trace alone by d: now the minimiser is another one."""
    s, J = _at_a_point(seed)
    d = len(J)
    v, w = designs(d)["sphere"]
    mean, _, error, _ = _moments(np.einsum("mi,ij,mj->m", v, J, v) / d, w)
    held = failing("E[v v^T] = I, 1/d - 1", 1 / d - 1)
    left, right = number(mean, error) + 0.5 * (s @ s), number(np.trace(J)) + 0.5 * (s @ s)
    yield "d = 4", Sides(left, right, (held,), number((1 / d - 1) * np.trace(J)))


@CHAPTER.counterexample(
    "a sum over probes taken for their mean",
    r"\sum_{j \le m} v_j^\top J v_j = m\, \mathrm{tr}\, J",
    "a sum never divided by the number of probes, as in published code",
)
def not_averaged(seed):
    """All 16 sign vectors, added up: the trace counts 16 times against the square."""
    _, J = _at_a_point(seed)
    v, _ = designs(len(J))["rademacher"]
    values = np.einsum("mi,ij,mj->m", v, J, v)
    held = failing("the estimate is a mean over probes, m - 1", len(v) - 1.0)
    error = 64 * EPS * np.abs(values).sum()
    yield (
        "m = 16",
        Sides(number(values.sum(), error), number(np.trace(J)), (held,), number((len(v) - 1) * np.trace(J), error)),
    )
