r"""Chapter: energy, normaliser and score.

p = exp(-f)/Z. The score, the gradient of log p in x, is -grad f: Z is a constant and drops out. A gradient can be told from its
integral along a path, so both sides are computed without differencing anything.
"""

import numpy as np

from ..quadrature import Frame, integrate
from .common import EPS, Hypothesis, Sides, step

CHAPTER = "energy and score"


def _path(case, log_p, score):
    """log p(b) - log p(a), and the line integral of the score from a to b, for the worst of 8 random pairs."""
    from scipy.integrate import quad_vec

    rng = np.random.default_rng(case.seed)
    a, b = case.density.sample(16, rng=rng).reshape(2, 8, case.dim)
    along = lambda t: np.sum(score(a + t * (b - a)) * (b - a), 1)
    right, error = quad_vec(along, 0.0, 1.0, epsabs=1e-13, epsrel=1e-13, norm="max", limit=200)
    ends = log_p(a), log_p(b)
    left = ends[1] - ends[0]
    worst = int(np.argmax(np.abs(left - right)))
    rounding = 16 * EPS * max(np.abs(end).max() for end in ends)
    return (
        case.constant(left[worst], rounding),
        case.constant(right[worst], error + 16 * EPS * abs(right[worst]) + rounding),
    )


@step(
    "density integrates to one",
    CHAPTER,
    r"\int p_0(x)\,dx = 1",
    "definition of a density",
    needs=lambda case: case.samples is None,
)
def normalised(case):
    """The closed-form normaliser of the data density against quadrature."""
    return Sides(case.mean("one"), case.constant(1.0))


@step(
    "score is the gradient of log p",
    CHAPTER,
    r"\log p_0(b) - \log p_0(a) = \int_a^b s_0 \cdot dx",
    "definition of the score",
)
def data_score(case):
    """The closed-form score of the data against its log density, along a path."""
    return Sides(*_path(case, case.density.logpdf, case.density.score))


@step(
    "normaliser drops out",
    CHAPTER,
    r"\nabla \log \tfrac{e^{-f}}{Z} = -\nabla f",
    "Hyvarinen (2005), section 2",
    needs=lambda case: hasattr(case.model, "energy"),
)
def normaliser(case):
    """log p(b) - log p(a) with p = exp(-f)/Z normalised by quadrature, against the line integral of -grad f."""
    model = case.model
    log_Z, note = 0.0, "Z is out of reach of quadrature here, and is not needed"
    hypotheses: tuple = ()
    if case.samples is None:
        log_Z, relative = log_normaliser(model, case.density)
        finite = bool(np.isfinite(log_Z))
        hypotheses = (Hypothesis("Z is finite, log Z", log_Z, relative, finite),)
        note = (
            "" if finite else "Z is infinite: exp(-f) is no density, though it has a score; confinement > 0 repairs it"
        )
        log_Z = log_Z if finite else 0.0
    left, right = _path(case, lambda x: -model.energy(x) - log_Z, model.score)
    return Sides(left, right, tuple(h for h in hypotheses if h.holds), None, note)


def log_normaliser(model, density):
    """log Z = log of the integral of exp(-f) over the support of `density`, and its relative error; inf if none."""
    frame, support = getattr(density, "frame", None), density.support
    lam = getattr(model, "confinement", 0.0)
    if lam > 0 and np.isinf(support).all():  # exp(-f) has the tail of its confinement, not that of the data
        frame = Frame(np.zeros(density.dim), np.eye(density.dim) / np.sqrt(lam))
    shift = float(np.min(model.energy(density.sample(64, rng=0))))
    integral = integrate(lambda x: np.exp(shift - model.energy(x)), frame, support)
    if not (np.isfinite(integral.value) and integral.value > 0):
        return np.inf, np.inf
    return float(np.log(integral.value) - shift), float(integral.error / integral.value)
