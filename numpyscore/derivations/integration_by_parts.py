r"""Chapter: from explicit to implicit score matching.

1/2 E|s_0 - s|^2 needs the unknown score s_0 = grad log p_0. Expand the square; in the cross term p_0 s_0 = grad p_0, so
integrate by parts; the boundary term must vanish; drop the constant. What is left, E[1/2 |s|^2 + tr ds/dx], needs samples only.
"""

import numpy as np

from ..densities import Exponential, Gaussian
from .common import Case, Hypothesis, Sides, boundary_vanishes, step

CHAPTER = "explicit to implicit"
HYVARINEN = "Hyvarinen (2005), JMLR 6:695-709, Theorem 1 and its appendix"


@step(
    "expansion of the square",
    CHAPTER,
    r"\tfrac12 E|s_0 - s|^2 = \tfrac12 E|s_0|^2 - E[s_0 \cdot s] + \tfrac12 E|s|^2",
    HYVARINEN,
)
def expansion(case):
    """Three terms: a constant of the data, the cross term, and the model's own."""
    return Sides(case.mean("explicit"), case.mean("fisher") - case.mean("cross") + case.mean("square"))


@step("boundary term", CHAPTER, r"\oint p_0\, s \cdot n \,dS = 0", HYVARINEN)
def boundary(case):
    """The flux of p_0 s through the boundary, evaluated: what integration by parts takes for granted."""
    term = case.constant(case.boundary.value, case.boundary.error)
    return Sides(term, case.constant(0.0), (boundary_vanishes(case),), term, case.boundary.note)


@step(
    "cross term by parts",
    CHAPTER,
    r"E[s_0 \cdot s] = \oint p_0\, s \cdot n\,dS - E[\mathrm{tr}\,\partial_x s]",
    HYVARINEN,
)
def by_parts(case):
    """grad p_0 . s integrated by parts, the boundary term kept."""
    hypotheses, predicted = _smooth(case)
    right = case.constant(case.boundary.value, case.boundary.error) - case.mean("trace")
    return Sides(case.mean("cross"), right, hypotheses, predicted)


@step(
    "cross term by parts, each component",
    CHAPTER,
    r"E[s_{0,i} s_i] = -E[\partial_i s_i], \quad i = 1..d",
    HYVARINEN,
    needs=lambda case: case.samples is None and 1 < case.dim <= 3 and hasattr(case.model, "jacobian"),
)
def by_components(case):
    """The same one coordinate at a time; the worst component is shown. Its own boundary term is not kept."""
    sides = [(case.mean(f"cross {i}"), -case.mean(f"slope {i}")) for i in range(case.dim)]
    gaps = [abs((left - right).value) for left, right in sides]
    worst = int(np.argmax(gaps))
    hypothesis = boundary_vanishes(case)
    return Sides(*sides[worst], (hypothesis,), sides[worst][0] - sides[worst][1], f"worst component: {worst}")


@step("explicit minus implicit is a constant", CHAPTER, r"J_E(s) - J_I(s) = \tfrac12 E|s_0|^2", HYVARINEN)
def constant(case):
    """Half the Fisher information of the data, whatever the model: so both losses have the same minimiser."""
    hypotheses, kink = _smooth(case)
    hypotheses = (boundary_vanishes(case), *hypotheses)
    predicted = -case.constant(case.boundary.value, case.boundary.error)
    if kink is not None:
        predicted = predicted - kink
    return Sides(case.mean("explicit") - case.mean("implicit"), case.mean("fisher"), hypotheses, predicted)


@step(
    "both losses have the same gradient",
    CHAPTER,
    r"\partial_\theta J_E = \partial_\theta J_I",
    HYVARINEN,
    needs=lambda case: case.direction is not None,
)
def same_gradient(case):
    """Along a random direction in parameter space; the constant has no gradient."""
    return Sides(case.mean("d explicit"), case.mean("d implicit"), (boundary_vanishes(case),))


# ------------------------------------------------------------------------------- counterexamples


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


def _smooth(case):
    """The hypothesis that the score has no jumps; where it has, what they contribute: -sum p_0(kink) jump."""
    kinks = getattr(case.model, "kinks", ())
    if not len(kinks):
        return (), None
    jumps = case.model.jumps()
    p = np.exp(case.density.logpdf(np.array(kinks, float)[:, None]))
    missed = float(p @ jumps)
    return (Hypothesis("score has no jumps, p(kink) jump", missed, 0.0, missed == 0.0),), case.constant(-missed, 1e-15)


def counterexamples():
    """Cases in which a hypothesis fails, and the gap that this must leave."""
    a, b = 2.0, 3.0
    exponential = Case(
        Exponential(a), Exponential(b), f"exponential data of rate {a:g}, exponential model of rate {b:g}"
    )
    kinked = Case(Gaussian(0.0, 1.0), Kinked(0.7), "standard normal data, kinked energy |x|/0.7", breaks=((0.0,),))
    return [
        (exponential, ("boundary term", "explicit minus implicit is a constant")),
        (kinked, ("cross term by parts", "explicit minus implicit is a constant")),
    ]
