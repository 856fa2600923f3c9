r"""From explicit to implicit, continued: when the boundary term vanishes, and what is left where it does not.

In one dimension (p s)' = p (s_0 s + s'). If both means are finite the right side is integrable, so p s has a limit at each end; where p -> 0
that limit is 0, since otherwise s_0 = (log p)' would be integrable there and p could not vanish. So "p -> 0" alone is not the reason:
beside a finite value of p, only infinite means leave a boundary term. The gamma densities show all three cases.
"""

import math
from itertools import product

import numpy as np

from ..densities import Gamma, Gaussian, Parzen, StudentT
from ..networks.models import EnergyMLP
from ..numerics.quadrature import integrate
from ..objectives.arrays import explicit_loss, implicit_loss
from .case import Case
from .integration_by_parts import CHAPTER, HYVARINEN
from .means import EPS, integral, number
from .steps import Sides, failing

THEOREM = "(p s)' = p (s_0 s + s'), integrated; the limit is 0 by the integrability of s_0 where p s does not vanish"
HALF_LINE = np.array([[0.0, np.inf]])


def _gamma(k):
    """Density and score, functions of numbers of any shape, and the frame of the gamma density of shape k."""
    q = Gamma(k)
    p = lambda u: np.exp(q.logpdf(np.reshape(u, (-1, 1)))).reshape(np.shape(u))
    return p, (lambda u: q.score(np.reshape(u, (-1, 1))).reshape(np.shape(u))), q.frame


def _student(a, x):
    """p s of Student's t with 3 degrees of freedom and s = -x (1 + x^2)^((a - 1)/2), at a number x."""
    at = np.array([[x]])
    return float(np.exp(StudentT(3.0).logpdf(at))[0] * -x * (1 + x * x) ** ((a - 1) / 2))


@CHAPTER.example(
    "the boundary theorem",
    r"E|s_0 s|, E|s'| < \infty,\; p \to 0 \;\Rightarrow\; p\,s \to 0: \quad p \sim \tfrac{6\sqrt3}{\pi} x^{-4},\; s \sim -x^a,\; a < 4",
    THEOREM,
)
def theorem(seed):
    """Student's t with 3 degrees of freedom: scores that grow less fast than the fourth power leave nothing at infinity, however slowly."""
    R = 1e8
    for a in (1.0, 2.0, 3.0):
        flux = _student(a, R) - _student(a, -R)
        bound = 12 * np.sqrt(3) / np.pi * R ** (a - 4)
        yield f"a = {a:g}, flux through +-1e8", Sides(number(-flux), number(bound, 1e-12 * bound))


@CHAPTER.counterexample(
    "the equality case of the boundary theorem",
    r"s = -x (1 + x^2)^{3/2}: \quad [p\,s]_{-\infty}^{\infty} = -\frac{12\sqrt3}{\pi}, \quad E|s_0 s| = E|s'| = \infty",
    THEOREM,
)
def equality(seed):
    """At the fourth power the means just fail to exist, and a finite flux is left although p vanishes: the theorem's hypothesis is sharp."""
    foreseen = -12 * np.sqrt(3) / np.pi
    held = failing("E|s_0 s| is finite: its growth per logarithm of R", 4 * 6 * np.sqrt(3) / np.pi * 2)
    flux = _student(4.0, 1e8) - _student(4.0, -1e8)
    yield "Student t, 3 degrees of freedom", Sides(number(flux), number(0, 0), (held,), number(foreseen, 1e-12))


def _springs(k, s, slope):
    """E[s_0 s + s'] under gamma(k), the two summed at each point, since alone they may be infinite."""
    p, s_0, frame = _gamma(k)

    def source(x):
        u = x[:, 0]
        return p(u) * (s_0(u) * s(u) + slope(u))

    return integral(integrate(source, frame, HALF_LINE))


@CHAPTER.example(
    "gamma data of shape above two",
    r"p \propto x^{k-1} e^{-x},\; s = \tfrac1{2x} - 1: \quad E[s_0 s] = -E[s'] = \frac{1}{2 (k-1)(k-2)}",
    THEOREM,
)
def clean_gamma(seed):
    """For k > 2 both means are finite and nothing is left at 0, although model and data score are infinite there."""
    for k in (3.0, 4.5):
        p, s_0, frame = _gamma(k)
        cross = integrate(lambda x: (p(x) * s_0(x) * (0.5 / x - 1))[:, 0], frame, HALF_LINE)
        yield f"k = {k:g}", Sides(integral(cross), number(0.5 / ((k - 1) * (k - 2))))


@CHAPTER.example(
    "ratio matching on binary vectors",
    r"E \sum_i (q_i - p_i)^2 = E \sum_i (1 - q_i)^2 - \tfrac12 E \sum_i (1 - p_i), \quad p_i = P(x_i \,|\, x_{-i}),\; q_i \text{ likewise}",
    "Hyvarinen (2007), Comput. Statist. Data Anal. 51:2499-2512, ratio matching with g(u) = 1/(1 + u)",
)
def ratio_matching(seed):
    """Without derivatives the flip of a bit takes their place: pairs (x, x with bit i flipped) are summed once each way, and neither Z nor P is needed."""
    rng = np.random.default_rng(seed)
    for d in (2, 4):
        x = np.array(list(product((0, 1), repeat=d)))
        place = {tuple(row): k for k, row in enumerate(x)}
        A, B = rng.standard_normal((2, d, d))
        P, Q = (np.exp(np.einsum("ni,ij,nj->n", x, C, x)) for C in (A, B))  # Boltzmann machines; Q is not normalised
        P /= P.sum()
        flip = np.array([[place[tuple(row ^ e)] for e in np.eye(d, dtype=int)] for row in x])
        p, q = P[:, None] / (P[:, None] + P[flip]), Q[:, None] / (Q[:, None] + Q[flip])
        left, loss, rest = (float(P @ terms.sum(1)) for terms in ((q - p) ** 2, (1 - q) ** 2, 0.5 * (1 - p)))
        yield f"d = {d}, {2**d} vectors", Sides(number(left, 64 * EPS * d), number(loss, 64 * EPS * d) - rest)


@CHAPTER.counterexample(
    "gamma data of shape two",
    r"p = x e^{-x} \to 0,\; s = \tfrac1{2x} - 1: \quad E[s_0 s + s'] = -\tfrac12",
    THEOREM,
)
def gamma_two(seed):
    """p vanishes at 0, the model's score grows as fast, and -1/2 stays: 'p -> 0 at the boundary' is not enough. Both means are infinite."""
    held = failing("E|s'| is finite: its growth per logarithm of 1/x", 0.5)
    found = _springs(2.0, lambda u: 0.5 / u - 1, lambda u: -0.5 / u**2)
    yield "k = 2, s = .5/x - 1", Sides(found, number(0, 0), (held,), number(-0.5))


@CHAPTER.counterexample(
    "gamma data of shape one and a half",
    r"p\,s = \frac{x^{1/2} e^{-x}}{\Gamma(3/2)} \left(\tfrac1{2x} - 1\right): \quad \sqrt{x}\; p\,s \to \frac{1}{2\,\Gamma(3/2)} \ne 0",
    THEOREM,
)
def gamma_steep(seed):
    """The density still vanishes at 0, and the flux is infinite: it grows like 1/sqrt(x)."""
    p, _, _ = _gamma(1.5)
    x = 1e-20
    foreseen = 0.5 / math.gamma(1.5)
    held = failing("p s is bounded: the limit of sqrt(x) p s", foreseen)
    yield (
        "k = 1.5, x = 1e-20",
        Sides(number(np.sqrt(x) * p(x) * (0.5 / x - 1)), number(0, 0), (held,), number(foreseen, 1e-14)),
    )


@CHAPTER.counterexample(
    "an explicit loss that is infinite where the implicit one is not",
    r"p = x e^{-x},\; s = -1: \quad J_I = \tfrac12, \quad x \cdot \tfrac12 p\,(s_0 - s)^2 \to \tfrac12 \ne 0",
    HYVARINEN + " assumes E|s_0|^2 finite",
)
def infinite_explicit(seed):
    """An exponential model on gamma(2) data: 1/2 |s|^2 + s' is 1/2 everywhere, while 1/2 (s_0 - s)^2 p = e^{-x} / (2x) is not integrable."""
    p, s_0, _ = _gamma(2.0)
    x = 1e-12
    held = failing("E|s_0|^2 is finite: growth of J_E per logarithm of 1/x", 0.5)
    yield (
        "x = 1e-12",
        Sides(number(x * 0.5 * p(x) * (s_0(x) + 1) ** 2), number(0, 0), (held,), number(0.5 * np.exp(-x))),
    )


@CHAPTER.counterexample(
    "the logarithm to base ten",
    r"s \to c\,s,\; s_0 \to c\,s_0,\; \mathrm{tr} \to c\,\mathrm{tr}, \; c = \tfrac1{\ln 10}: \quad J_E - J_I - C = (c - 1)\,c\,E[\mathrm{tr}\,\partial_x s]",
    "a slip of units: p grad log p = grad p holds for the natural logarithm only",
)
def base_ten(seed):
    """log10 p has c times the score. Squares scale by c^2, the trace by c: data N(0, 1), model N(0, 2) miss by .122841392446."""
    c = 1 / np.log(10)
    case = Case(Gaussian(0.0, 1.0), Gaussian(0.0, 2.0))
    left = c**2 * case.mean("explicit") - c**2 * case.mean("square") - c * case.mean("trace")
    foreseen = (c - 1) * c * -0.5
    held = failing("the logarithm is natural, change of the gap", foreseen)
    yield "N(0, 1), N(0, 2)", Sides(left, c**2 * case.mean("fisher"), (held,), number(foreseen))


@CHAPTER.counterexample(
    "on samples the difference is no constant",
    r"\hat J_E - \hat J_I - \tfrac12 \overline{|s_0|^2} = -\overline{s_0 \cdot s + \mathrm{tr}\,\partial_x s}",
    "integration by parts holds for the mean under p_0, not for that over samples",
)
def on_samples(seed):
    """What is 0 on average fluctuates with the samples, differently for every model; a narrow mode on one sample makes it as large as one likes."""
    p = Gaussian(0.0, 1.0)
    x = p.sample(100, rng=seed)
    narrow = Parzen(x[:1], 0.003)
    for name, model in (
        ("random energy network", EnergyMLP.init(1, (6, 6), "softplus", confinement=0.5, rng=seed)),
        ("a mode of width .003 on a sample", Both(p, narrow, 1e-3)),
    ):
        s, s_0, trace = model.score(x), p.score(x), model.trace(x)
        terms = [explicit_loss(s, s_0), -implicit_loss(s, trace), -0.5 * s_0[:, 0] ** 2]
        rounding = 64 * EPS * np.abs(terms).sum() / len(x) + 64 * EPS * np.abs(trace).max()
        gap = float(-np.mean(s_0 * s + trace[:, None]))
        left, right = number(np.mean(terms[0] + terms[1]), rounding), number(-np.mean(terms[2]), rounding)
        held = failing("the mean of s_0 . s + tr over the samples is 0", -gap)
        yield f"100 samples, {name}", Sides(left, right, (held,), number(gap, rounding))


class Both:
    """The mixture (1 - share) p + share q of two densities in one dimension."""

    dim = 1

    def __init__(self, p, q, share):
        self.parts = (p, q, share)

    def _shares(self, x):
        p, q, share = self.parts
        a, b = np.log1p(-share) + p.logpdf(x), np.log(share) + q.logpdf(x)
        top = np.logaddexp(a, b)
        return np.exp(a - top)[:, None], np.exp(b - top)[:, None]

    def score(self, x):
        """Mean of the two scores by responsibility (n, 1)."""
        p, q, _ = self.parts
        a, b = self._shares(x)
        return a * p.score(x) + b * q.score(x)

    def trace(self, x):
        """Its derivative (n,)."""
        p, q, _ = self.parts
        a, b = self._shares(x)
        gap = p.score(x) - q.score(x)
        return (a * b * gap**2)[:, 0] + a[:, 0] * p.trace(x) + b[:, 0] * q.trace(x)
