r"""Half-lines and boxes, continued: surfaces, and domains in several parts.

On a surface score and trace are those within it. The sphere has no rim, so nothing is left of the integration by parts, but its bend is a part
of the trace; the simplex has a rim, and a weight of all coordinates that vanishes there. A union of intervals has inner ends, each
with a boundary term of its own.
"""

import numpy as np

from ..densities import Dirichlet, Gaussian, Restricted, VonMisesFisher
from ..densities.weights import box_weight, interval_weight
from ..networks.models import EnergyMLP
from .case import integrated
from .generalised import BOXES, CHAPTER, weighted
from .means import Mean, number
from .steps import Sides, failing

SPHERE = "Mardia, Kent & Laha (2016), arXiv:1604.08470"
INTERVALS = np.array([[-1.5, -0.5], [0.25, 2.0]])
SIMPLEX = (
    "Scealy & Wood (2023), JASA 118:1811-1823, weights that vanish at the rim; the divergence theorem within the plane"
)


def _losses(p, q):
    """Means under p of the explicit loss of q, of its square and trace, and of 1/2 |s_0|^2, all within the surface."""

    def columns(x):
        s_0, s = p.score(x), q.score(x)
        half = lambda a: 0.5 * np.sum(a**2, 1)
        return {"explicit": half(s - s_0), "square": half(s), "trace": q.trace(x), "fisher": half(s_0)}

    source = integrated(columns, p)
    return {name: Mean(source, {name: 1.0}) for name in source.value}


def _pairs():
    """Two von Mises-Fisher densities on the circle and on the sphere: the data's and the model's, and E[m . x] of the first in units of m."""
    from scipy.special import ive

    k = 1.7
    of_circle, of_sphere = ive(1, k) / ive(0, k), 1 / np.tanh(k) - 1 / k
    for d, length in ((2, of_circle), (3, of_sphere)):
        m, other = np.eye(d)[0], 0.6 * np.eye(d)[0] + 0.8 * np.eye(d)[1]
        yield d, VonMisesFisher(m, k), VonMisesFisher(other, 0.9), float(length)


@CHAPTER.example(
    "on a sphere nothing is left",
    r"J_E(s) - J_I(s) = \tfrac12 E|s_0|^2, \quad s = P\,\nabla \log q, \quad \mathrm{tr} \to \Delta_S \log q",
    SPHERE,
)
def sphere(seed):
    """Data and model von Mises-Fisher, on the circle and on the sphere: no rim, no boundary term, and no hypothesis about one."""
    for d, p, q, _ in _pairs():
        mean = _losses(p, q)
        yield f"d = {d}", Sides(mean["explicit"] - mean["square"] - mean["trace"], mean["fisher"])


@CHAPTER.example(
    "score matching on the sphere",
    r"(d - 1)\, E[m \cdot x] = k\,(1 - E[(m \cdot x)^2]): \quad \hat\theta = (d - 1)(I - \overline{x x^\top})^{-1} \bar x",
    SPHERE,
)
def concentration(seed):
    """The equation of the minimum at the true concentration, where the likelihood has a Bessel function."""
    for d, p, _, _ in _pairs():
        source = integrated(lambda x, m=p.direction: {"mean": x @ m, "square": (x @ m) ** 2}, p)
        mean, square = (Mean(source, {name: 1.0}) for name in ("mean", "square"))
        k = p.concentration
        yield f"d = {d}, k = {k:g}", Sides((d - 1.0) * mean, number(k) - k * square)


@CHAPTER.counterexample(
    "the trace of space taken on a sphere",
    r"\nabla^2 (\theta \cdot x) = 0, \quad \Delta_S (\theta \cdot x) = -(d - 1)\,\theta \cdot x: \quad \text{gap } -(d - 1)\,\theta \cdot E\,x",
    SPHERE,
)
def flat_trace(seed):
    """log q is linear, its Hessian in space 0, and a trace by automatic differentiation finds nothing: the bend of the sphere is missing."""
    for d, p, q, length in _pairs():
        mean = _losses(p, q)
        gap = -(d - 1) * q.concentration * float(q.direction @ p.direction) * length
        held = failing("the trace is that of the surface, E[tr]", gap)
        yield f"d = {d}", Sides(mean["explicit"] - mean["square"], mean["fisher"], (held,), number(gap))


@CHAPTER.example(
    "a weight of all coordinates on the simplex",
    r"\tfrac12 E\,h|s - s_0|^2 = E[h(\tfrac12|s|^2 + \mathrm{tr}) + \nabla h \cdot s] + \tfrac12 E\,h|s_0|^2, \quad h = x_1 x_2 x_3",
    SIMPLEX,
)
def simplex(seed):
    """Dirichlet data of which E|s_0|^2 is infinite: with a weight that vanishes at the rim all means are finite, and nothing crosses."""
    p, q = Dirichlet([1.5, 2.0, 3.0]), Dirichlet([2.5, 1.5, 2.0])

    def columns(x):
        s_0, s, h = p.score(x), q.score(x), np.prod(x, axis=1)
        slope = np.stack(
            [x[:, 1] * x[:, 2], x[:, 0] * x[:, 2], x[:, 0] * x[:, 1]], 1
        )  # its mean part meets s, which has none
        half = lambda a: 0.5 * h * np.sum(a**2, 1)
        return {
            "explicit": half(s - s_0),
            "implicit": half(s) + h * q.trace(x),
            "slope": np.sum(slope * s, 1),
            "rest": half(s_0),
        }

    source = integrated(columns, p)
    explicit, implicit, slope, rest = (Mean(source, {name: 1.0}) for name in source.value)
    yield "three shares", Sides(explicit, implicit + slope + rest)


@CHAPTER.counterexample(
    "the simplex without a weight",
    r"p_0 = 2,\; s = -c\,(x - \tfrac13): \quad J_E - J_I = -E[\mathrm{tr}] = 2c",
    SIMPLEX,
)
def bare_simplex(seed):
    """Uniform shares: the density does not vanish at the rim, and what crosses it is the whole trace."""
    p, c = Dirichlet(np.ones(3)), 1.5

    def columns(x):
        square = 0.5 * np.sum((c * (x - 1 / 3)) ** 2, 1)
        return {"explicit": square, "implicit": square - 2 * c}

    source = integrated(columns, p)
    held = failing("p vanishes at the rim, p", 2.0)
    explicit, implicit = (Mean(source, {name: 1.0}) for name in source.value)
    yield "three shares", Sides(explicit, implicit, (held,), number(2 * c))


def _in_two_parts(seed, pair, breaks):
    """A normal density on two intervals and a random energy network: the two weighted losses, and the constant between them."""
    density = Restricted(Gaussian(0.3, 1.0), INTERVALS)
    net = EnergyMLP.init(1, (6,), "softplus", confinement=0.5, rng=seed)
    explicit, implicit, rest, _ = weighted(density, net, pair, breaks)
    return density, net, explicit, implicit + rest


@CHAPTER.example(
    "a union of intervals",
    r"h = \min(x - a_j,\, b_j - x) \text{ on } (a_j, b_j): \quad \tfrac12 E\,h|s - s_0|^2 = E[h(\tfrac12 s^2 + s') + h' s] + C",
    BOXES,
)
def two_intervals(seed):
    """The weight returns to 0 at every end, the inner ones too."""
    middles = (tuple(INTERVALS.mean(axis=1)),)
    _, _, left, right = _in_two_parts(seed, interval_weight(INTERVALS), middles)
    yield "normal density on (-1.5, -0.5) and (0.25, 2)", Sides(left, right)


@CHAPTER.counterexample(
    "the inner ends forgotten",
    r"h = \min(x - a_1,\, b_2 - x): \quad \text{gap } -\,[p_0 h s](b_1) + [p_0 h s](a_2)",
    BOXES,
)
def inner_ends(seed):
    """The weight of the box around both intervals: it vanishes at the outer ends alone."""
    h, h_prime = box_weight(INTERVALS[0, 0], INTERVALS[1, 1])
    density, net, left, right = _in_two_parts(seed, (h, h_prime), ((INTERVALS[[0, 1], [0, 1]].mean(),),))
    ends = INTERVALS.ravel()[1:3, None]
    flow = (np.exp(density.logpdf(ends)) * (h(ends) * net.score(ends))[:, 0]) @ [1.0, -1.0]
    held = failing("boundary term p h s vanishes at the inner ends", flow)
    yield "normal density on (-1.5, -0.5) and (0.25, 2)", Sides(left, right, (held,), number(-flow, 1e-12))
