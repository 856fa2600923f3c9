r"""From explicit to implicit score matching.

Explicit score matching, 1/2 E|s_0 - s|^2, needs the unknown score s_0 = grad log p_0. Expand the square; in the cross term
p_0 s_0 = grad p_0, so integrate by parts; the boundary term must vanish; drop the constant. What is left,
E[1/2 |s|^2 + tr ds/dx], needs samples only. The cross term enters with a minus, integration by parts turns it into a plus.
"""

import numpy as np

from ..densities import Exponential, Gaussian, StudentT, TruncatedGaussian, Uniform
from ..networks.models import EnergyMLP
from ..numerics.quadrature import Frame, expectation, integrate
from ..objectives.arrays import implicit_loss
from .case import Case
from .means import EPS, integral, number, worst
from .score import two_modes
from .steps import Chapter, Sides, boundary_vanishes, failing, hypothesis, vanishes

CHAPTER = Chapter(3, "explicit to implicit")
HYVARINEN = "Hyvarinen (2005), JMLR 6:695-709, Theorem 1 and its appendix"


# ------------------------------------------------------------------------------- lines


@CHAPTER.line(
    "expansion of the square",
    r"\tfrac12 E|s_0 - s|^2 = \tfrac12 E|s_0|^2 - E[s_0 \cdot s] + \tfrac12 E|s|^2",
    HYVARINEN,
)
def expansion(case):
    """Three terms: a constant of the data, the cross term, and the model's own."""
    return Sides(case.mean("explicit"), case.mean("fisher") - case.mean("cross") + case.mean("square"))


@CHAPTER.line(
    "Stein's identity",
    r"E[s_0\, g] = \oint p_0\, g\, n\,dS - E[\nabla g]",
    "Stein (1972) for the normal; for any density Stein, Diaconis, Holmes & Reinert (2004), IMS Lecture Notes 46:1-26; p_0 s_0 = grad p_0, by parts",
)
def stein(case):
    """For any smooth g, here a bounded one, along one direction w: the unknown score is traded for a derivative of g."""
    rim = case.flux(lambda x: case.bend(x)[0][:, None] * case.w)
    return Sides(case.mean("score g"), integral(rim) - case.mean("slope g"))


@CHAPTER.line("boundary term", r"\oint p_0\, s \cdot n \,dS = 0", HYVARINEN)
def boundary(case):
    """The flux of p_0 s through the boundary, evaluated: what integration by parts takes for granted."""
    term = integral(case.boundary)
    return Sides(term, number(0, 0), (boundary_vanishes(case),), term, case.boundary.note)


@CHAPTER.line(
    "cross term by parts",
    r"E[s_0 \cdot s] = \oint p_0\, s \cdot n\,dS - E[\mathrm{tr}\,\partial_x s]",
    HYVARINEN,
)
def by_parts(case):
    """grad p_0 . s integrated by parts, the boundary term kept."""
    hypotheses, predicted = _smooth(case)
    return Sides(case.mean("cross"), integral(case.boundary) - case.mean("trace"), hypotheses, predicted)


@CHAPTER.line(
    "cross term by parts, each component",
    r"E[s_{0,i} s_i] = -E[\partial_i s_i], \quad i = 1..d",
    HYVARINEN,
    needs=lambda case: case.samples is None and 1 < case.dim <= 3 and hasattr(case.model, "jacobian"),
)
def by_components(case):
    """The same one coordinate at a time; the worst component is shown, and what crosses the boundary along it is not added."""
    sides = [(case.mean(f"cross {i}"), -case.mean(f"slope {i}")) for i in range(case.dim)]
    i = int(worst(*(np.array([(m.value, m.error) for m in side]).T for side in zip(*sides, strict=True)))[2][0])
    term = case.flux(lambda x: case.model.score(x) * (np.arange(case.dim) == i))
    return Sides(*sides[i], (vanishes("boundary term p s_i vanishes", term),), integral(term), f"worst component: {i}")


@CHAPTER.line("explicit minus implicit is a constant", r"J_E(s) - J_I(s) = \tfrac12 E|s_0|^2", HYVARINEN)
def constant(case):
    """Half the Fisher information of the data, whatever the model: so both losses have the same minimiser."""
    hypotheses, kink = _smooth(case)
    predicted = -integral(case.boundary)
    if kink is not None:
        predicted = predicted - kink
    return Sides(
        case.mean("explicit") - case.mean("implicit"),
        case.mean("fisher"),
        (boundary_vanishes(case), *hypotheses),
        predicted,
    )


@CHAPTER.line(
    "both losses have the same gradient",
    r"\partial_\theta J_E = \partial_\theta J_I",
    HYVARINEN,
    needs=lambda case: case.direction is not None,
)
def same_gradient(case):
    """Along a random direction in parameter space, by a complex step; the constant has no gradient."""
    term = case.flux(case.score_slope)
    held = vanishes("boundary term p ds/dtheta vanishes", term)
    return Sides(case.mean("d explicit"), case.mean("d implicit"), (held,), -integral(term))


@CHAPTER.line(
    "the implicit loss of the truth",
    r"J_I(s_0) = -\tfrac12 E|s_0|^2",
    HYVARINEN,
    needs=lambda case: case.smooth_data,
)
def truth(case):
    """Where the explicit loss is 0 the implicit one is minus the constant: it is negative where it is good."""
    held = vanishes("boundary term p_0 s_0 vanishes", case.own_boundary)
    return Sides(
        case.mean("fisher") + case.mean("data trace"), -case.mean("fisher"), (held,), integral(case.own_boundary)
    )


def _both_vanish(case):
    return case.smooth_data and boundary_vanishes(case).holds and vanishes("p_0 s_0", case.own_boundary).holds


@CHAPTER.line("no score beats the truth", r"J_I(s) \ge J_I(s_0)", HYVARINEN, needs=_both_vanish)
def minimum(case):
    """Since the two losses differ by a constant and the explicit one is a square. What is missing to equality is the divergence."""
    return Sides(case.mean("implicit"), case.mean("fisher") + case.mean("data trace"), relation=">=")


def _smooth(case):
    """The hypothesis that the score has no jumps; where it has, what they contribute: -sum p_0(kink) jump."""
    kinks = getattr(case.model, "kinks", ())
    if not len(kinks):
        return (), None
    jumps = case.model.jumps()
    p = np.exp(case.density.logpdf(np.array(kinks, float)[:, None]))
    missed = float(p @ jumps)
    return (hypothesis("score has no jumps, p(kink) jump", missed, 0.0, missed == 0.0),), number(
        -missed, 16 * EPS * p @ np.abs(jumps)
    )


# ------------------------------------------------------------------------------- examples


@CHAPTER.example(
    "divergence theorem in a box",
    r"\oint_{\partial B} p\, s \cdot n\,dS = \int_B p\,(s_0 \cdot s + \mathrm{tr}\,\partial_x s)\,dx",
    "Gauss's divergence theorem",
)
def divergence(seed):
    """No infinity is needed: over any box, what flows out is what springs up inside. Integration by parts is its limit."""
    for d, density in ((1, two_modes(1.0, 0.3)), (2, Gaussian(np.zeros(2), np.array([[1.0, 0.4], [0.4, 1.5]])))):
        net = EnergyMLP.init(d, (6, 6), "softplus", rng=seed)
        box = np.tile([[-1.0, 1.5]], (d, 1))
        middle, half = box.mean(1), np.diff(box)[:, 0] / 2
        source = lambda x: np.exp(density.logpdf(x)) * (np.sum(density.score(x) * net.score(x), 1) + net.trace(x))
        inside = integrate(source, Frame(middle, np.diag(half)), box)
        out = number(0, 0)
        for i in range(d):
            for end, normal in ((box[i, 0], -1.0), (box[i, 1], 1.0)):
                out = out + normal * _through_face(density, net, box, i, end)
        yield f"d = {d}, random energy network", Sides(out, integral(inside))


def _through_face(density, net, box, i, end):
    """Integral of p s_i over the face x_i = end of a box; in one dimension the face is a point."""
    others = np.delete(np.arange(len(box)), i)

    def field(y):
        x = np.insert(y, i, end, axis=1)
        return np.exp(density.logpdf(x)) * net.score(x)[:, i]

    if not len(others):
        return number(field(np.empty((1, 0)))[0], 64 * EPS)
    face = box[others]
    return integral(integrate(field, Frame(face.mean(1), np.diag(np.diff(face)[:, 0] / 2)), face))


def _gaussians(seed, d):
    """Two random means and covariances."""
    rng = np.random.default_rng([seed, d])
    A, B = rng.standard_normal((2, d, d)) * 0.4 + np.eye(d)
    m0, m = rng.standard_normal((2, d))
    return m0, A @ A.T + 0.2 * np.eye(d), m, B @ B.T + 0.2 * np.eye(d)


@CHAPTER.example(
    "explicit loss between Gaussians",
    r"2 J_E = |S^{-1}(m_0-m)|^2 + \mathrm{tr}[(S^{-1} - S_0^{-1})^2 S_0]",
    "moments of a Gaussian",
)
def gaussian_explicit(seed):
    """Data N(m0, S0), model N(m, S): quadrature of the scores against the closed form."""
    for d in (1, 2, 3):
        m0, S0, m, S = _gaussians(seed, d)
        P, P0 = np.linalg.inv(S), np.linalg.inv(S0)
        right = 0.5 * (np.sum((P @ (m0 - m)) ** 2) + np.trace((P - P0) @ (P - P0) @ S0))
        error = 64 * EPS * max(np.linalg.cond(S), np.linalg.cond(S0)) * right
        yield f"d = {d}", Sides(Case(Gaussian(m0, S0), Gaussian(m, S)).mean("explicit"), number(right, error))


@CHAPTER.example(
    "implicit loss between Gaussians",
    r"J_I = \tfrac12 \{ \mathrm{tr}(S^{-2} S_0) + |S^{-1}(m_0-m)|^2 \} - \mathrm{tr}\, S^{-1}",
    "Hyvarinen (2005), JMLR 6:695-709, section 3.1",
)
def gaussian_implicit(seed):
    """The same two Gaussians, without the data's score."""
    for d in (1, 2, 3):
        m0, S0, m, S = _gaussians(seed, d)
        P = np.linalg.inv(S)
        terms = 0.5 * np.trace(P @ P @ S0), 0.5 * np.sum((P @ (m0 - m)) ** 2), -np.trace(P)
        error = 64 * EPS * np.linalg.cond(S) * np.abs(terms).sum()
        yield f"d = {d}", Sides(Case(Gaussian(m0, S0), Gaussian(m, S)).mean("implicit"), number(sum(terms), error))


@CHAPTER.example(
    "on samples the minimiser is the sample's Gaussian",
    r"\min_{m, S} J_I = -\tfrac12 \mathrm{tr}\, \hat S^{-1} \quad \text{at } \hat m, \hat S \text{ of the sample}",
    "Hyvarinen (2005), JMLR 6:695-709, section 3.1",
)
def sample_minimiser(seed):
    """The mean and the 1/n covariance of the rows: the value there, and the slope of the loss along a random direction, which is 0."""
    from ..data.datasets import old_faithful, standardise
    from ..estimation.estimators import gaussian

    x = standardise(old_faithful())[0]
    fit, moments = Gaussian(*gaussian(x)), gaussian(x)
    cond = np.linalg.cond(moments.cov)
    value = np.mean(implicit_loss(fit.score(x), fit.trace(x)))
    least = -0.5 * np.trace(np.linalg.inv(moments.cov))
    yield (
        "Old Faithful, value",
        Sides(number(value, 64 * EPS * cond * abs(least)), number(least, 64 * EPS * cond * abs(least))),
    )
    rng = np.random.default_rng(seed)
    dm, dP = rng.standard_normal(2), rng.standard_normal((2, 2))
    dP, P, residual = dP + dP.T, np.linalg.inv(moments.cov), x - moments.mean
    # s = -P (x - m): ds along (dm, dP), and the trace moves by -tr dP
    push = np.mean(np.sum((residual @ P) * (residual @ dP - dm @ P), 1))
    scale = (
        64
        * EPS
        * cond**2
        * np.mean(np.sum((np.abs(residual) @ np.abs(P)) * (np.abs(residual) @ np.abs(dP) + np.abs(dm) @ np.abs(P)), 1))
    )
    yield "Old Faithful, slope", Sides(number(push, scale), number(np.trace(dP)))


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "exponential data", r"J_E - J_I - \tfrac12 E|s_0|^2 = -ab", "the boundary term of Hyvarinen (2005), Theorem 1"
)
def exponential(seed):
    """Data of rate a, model of rate b: p_0 s is -ab at the end of the half-line, and there is nothing to cancel it."""
    for a, b in ((2.0, 3.0), (0.5, 0.5)):
        case = Case(Exponential(a), Exponential(b))
        yield f"a = {a:g}, b = {b:g}: boundary term", boundary.sides(case)
        yield f"a = {a:g}, b = {b:g}: constant", constant.sides(case)._replace(predicted=number(-a * b))


@CHAPTER.counterexample(
    "uniform data", r"J_E - J_I = 0 - \oint p_0\, s \cdot n\,dS", "the boundary term of Hyvarinen (2005), Theorem 1"
)
def uniform(seed):
    """The data's score is 0 inside, so their Fisher information is 0 and every model's gap is its flux through the walls."""
    for d in (1, 2):
        case = Case(Uniform(-np.ones(d), np.ones(d)), EnergyMLP.init(d, (6,), "softplus", confinement=0.5, rng=seed))
        yield f"d = {d}, random energy network", constant.sides(case)


@CHAPTER.counterexample(
    "truncated Gaussian data",
    r"J_E - J_I - \tfrac12 E|s_0|^2 = -\left[p_0 s\right]_{a}^{b}",
    "Hyvarinen (2007), Computational Statistics & Data Analysis 51:2499-2512",
)
def truncated(seed):
    """A Gaussian cut at a and b, and the very same Gaussian as the model: the untruncated score is right, the loss is not."""
    a, b, lower, upper = 0.3, 1.0, -1.0, 2.0
    p, s = TruncatedGaussian(a, b, lower, upper), Gaussian(a, b)
    ends = np.exp(p.logpdf(np.array([[lower], [upper]]))) * s.score(np.array([[lower], [upper]]))[:, 0]
    yield "N(0.3, 1) on (-1, 2)", constant.sides(Case(p, s))._replace(predicted=number(ends[0] - ends[1]))


@CHAPTER.counterexample(
    "heavy tails",
    r"\frac{d}{dR} \int_{-R}^{R} p_0 |s|^2 dx \to \frac2\pi \ne 0 \quad \text{for Cauchy data and } s = -x",
    "Hyvarinen (2005), Theorem 1, needs E|s|^2 finite",
)
def cauchy(seed):
    """Cauchy data and a Gaussian model: E|s|^2 is infinite. An average over samples would give a number; quadrature must not."""
    p, s = StudentT(1.0, 0.0, 1.0), Gaussian(0.0, 1.0)
    whole = expectation(lambda x: s.score(x)[:, 0] ** 2, p)
    R = 1e8
    rate = sum(np.exp(p.logpdf(np.array([[r]])))[0] * r**2 for r in (-R, R))
    recognised = not np.isfinite(whole.error)
    held = failing("E|s|^2 is finite: growth of the integral per unit of R", 2 / np.pi)
    note = f"quadrature over the line refuses: {whole.note}" if recognised else "quadrature believed it"
    yield "R = 1e8", Sides(number(rate), number(0, 0), (held,), number(2 / np.pi, 1e-14) if recognised else None, note)


class Kinked:
    """The energy |x|/b in one dimension: score -sign(x)/b, and a trace that is 0 wherever it is defined.

    Automatic differentiation sees that 0; the score also jumps by -2/b at the origin, and integration by parts sees the jump.
    ReLU networks are made of such kinks.
    """

    dim = 1
    kinks = (0.0,)

    def __init__(self, b):
        self.b = b

    def energy(self, x):
        """|x| / b (n,)."""
        return np.abs(x[:, 0]) / self.b

    def score(self, x):
        """-sign(x) / b (n, 1), 0 at the kink."""
        return -np.sign(x) / self.b

    def trace(self, x):
        """0 (n,): what differentiating piece by piece says."""
        return np.zeros(len(x))

    def jumps(self):
        """How far the score jumps at each kink."""
        return np.array([-2.0 / self.b])


class ReLU:
    """A ReLU energy network in one dimension, f = sum_k w_k max(0, W_k x + b_k) + lambda x^2/2, as it is differentiated automatically.

    Its score is piecewise linear; the trace that comes out is -lambda, while at each kink -b_k/W_k the score jumps by -w_k |W_k|.
    """

    dim = 1

    def __init__(self, W, b, w, confinement):
        self.W, self.b, self.w, self.confinement = W, b, w, confinement
        self.kinks = tuple(-b / W)

    def energy(self, x):
        """The network's energy (n,)."""
        return np.maximum(x * self.W + self.b, 0) @ self.w + 0.5 * self.confinement * x[:, 0] ** 2

    def score(self, x):
        """Minus its derivative (n, 1), taken piece by piece."""
        return -((x * self.W + self.b > 0) @ (self.w * self.W))[:, None] - self.confinement * x

    def trace(self, x):
        """-lambda (n,): the kinks are silently left out."""
        return np.full(len(x), -self.confinement)

    def jumps(self):
        """How far the score jumps at each kink, from left to right."""
        return -self.w * np.abs(self.W)


@CHAPTER.counterexample(
    "a kinked energy",
    r"f = |x|/b: \quad E[s_0 s] + E[s'] = \frac{2\,p_0(0)}{b}",
    "the jump of s at the kink; Hyvarinen (2005), Theorem 1, needs s differentiable",
)
def kinked(seed):
    """Standard normal data. Automatic differentiation says tr = 0; integration by parts sees -2/b times the density at the kink."""
    b = 0.7
    case = Case(Gaussian(0.0, 1.0), Kinked(b), breaks=((0.0,),))
    foreseen = number(-2 / np.sqrt(2 * np.pi) / b)
    yield f"b = {b:g}: cross term", by_parts.sides(case)._replace(predicted=-foreseen)
    yield f"b = {b:g}: constant", constant.sides(case)._replace(predicted=foreseen)


@CHAPTER.counterexample(
    "a ReLU energy",
    r"\mathrm{tr}\,\partial_x s = 0 \text{ almost everywhere}, \quad E[s_0 s] + E[s'] = \sum_k p_0(-b_k/W_k)\, w_k |W_k|",
    "the jumps of s at the kinks; Hyvarinen (2005), Theorem 1, needs s differentiable",
)
def relu(seed):
    """A network of 8 ReLU units: every kink carries a part of the curvature, and the trace that is computed has none of it."""
    rng = np.random.default_rng(seed)
    net = ReLU(rng.standard_normal(8), rng.standard_normal(8), rng.standard_normal(8), 0.5)
    density = two_modes(1.0, 0.3)
    case = Case(density, net, breaks=(net.kinks,))
    for name, line in (("cross term", by_parts), ("constant", constant)):
        yield f"8 units: {name}", line.sides(case)


@CHAPTER.counterexample(
    "a minus in place of the plus",
    r"J_E \ne \tfrac12 E|s|^2 - E[\mathrm{tr}\,\partial_x s] + C: \quad \text{gap } 2\,E[\mathrm{tr}\,\partial_x s]",
    "a slip often seen: the sign of the cross term is changed twice, by the square and by parts",
)
def minus(seed):
    """The cross term is -E[s_0 . s], and integration by parts makes it +E[tr]. Kept as a minus, the loss rewards blunt models."""
    net = EnergyMLP.init(1, (6, 6), "softplus", confinement=0.5, rng=seed)
    case = Case(two_modes(1.0, 0.3), net)
    wrong = case.mean("square") - case.mean("trace") + case.mean("fisher")
    held = failing("the cross term enters with a plus, 2 E[tr]", 2 * case.mean("trace").value)
    yield "mixture, random energy network", Sides(case.mean("explicit"), wrong, (held,), 2.0 * case.mean("trace"))
