r"""What the two terms do.

E[1/2 |s|^2] wants the score to vanish where the data are: alone it flattens the density. E[tr ds/dx] wants to be as negative as
possible, a peak at every datum: alone it sharpens without end. Together they settle where E|s|^2 = -E[tr ds/dx], so the
trace is not driven to zero, as is sometimes said. On finitely many samples and a flexible model nothing stops the second term.
"""

import numpy as np

from ..data.datasets import old_faithful, standardise
from ..densities import Gaussian, Parzen
from ..estimation.estimators import exponential_family
from ..objectives.arrays import implicit_loss
from .case import Case
from .integration_by_parts import HYVARINEN
from .means import EPS, number
from .score import two_modes
from .steps import Chapter, Sides, failing

CHAPTER = Chapter(4, "what the two terms do")
FLOW = "gradient flow of a quadratic; Hyvarinen (2005), Theorem 1, on one parameter"


def _flow(slope, theta, t):
    """theta(t) under d theta/dt = -slope(theta), by SciPy's eighth-order Runge-Kutta rule at 1e-12."""
    from scipy.integrate import solve_ivp

    found = solve_ivp(lambda _, y: -slope(y), (0.0, t), np.atleast_1d(theta), method="DOP853", rtol=1e-13, atol=1e-13)
    return float(found.y[0, -1])


def _waiting():
    """The standardised waiting times of Old Faithful, off their mean on purpose (n, 1)."""
    return standardise(old_faithful())[0][:, 1:] + 0.3


@CHAPTER.example(
    "the square alone flattens",
    r"\dot\theta = -\partial_\theta\, \tfrac12 E|\theta x|^2 \;\Rightarrow\; \theta(t) = \theta_0 e^{-m t}",
    FLOW,
)
def square_alone(seed):
    """s = -theta x on the data, m = E|x|^2, the trace left out: theta dies away, and with it the density's only feature."""
    m = float(np.mean(_waiting() ** 2))
    for t in (1.0, 4.0):
        yield f"t = {t:g}", Sides(number(_flow(lambda y: y * m, 0.5, t), 1e-11), number(0.5 * np.exp(-m * t)))


@CHAPTER.example(
    "the trace alone sharpens without end",
    r"\dot\theta = -\partial_\theta\, E[-\theta] \;\Rightarrow\; \theta(t) = \theta_0 + t",
    FLOW,
)
def trace_alone(seed):
    """The same family, the square left out: the precision theta grows for ever, a peak ever higher."""
    for t in (1.0, 100.0):
        yield f"t = {t:g}", Sides(number(_flow(lambda y: -np.ones(1), 0.5, t), 1e-11), number(0.5 + t))


@CHAPTER.example(
    "together they settle",
    r"\dot\theta = 1 - m\theta \;\Rightarrow\; \theta(t) = \tfrac1m + (\theta_0 - \tfrac1m) e^{-mt}",
    FLOW,
)
def both(seed):
    """Pull and push balance at theta = 1/E|x|^2: the precision of the data."""
    m = float(np.mean(_waiting() ** 2))
    for t in (1.0, 40.0):
        right = 1 / m + (0.5 - 1 / m) * np.exp(-m * t)
        yield f"t = {t:g}", Sides(number(_flow(lambda y: y * m - 1, 0.5, t), 1e-11), number(right))


@CHAPTER.example(
    "the square puts the peak where the data are",
    r"\dot\mu = -\partial_\mu\, \tfrac12 E|x - \mu|^2 \;\Rightarrow\; \mu(t) = \bar x + (\mu_0 - \bar x) e^{-t}",
    FLOW,
)
def location(seed):
    """s = -(x - mu): the trace does not depend on mu, the square pulls the zero of the score to the mean of the data."""
    x = _waiting()
    for t in (1.0, 30.0):
        right = x.mean() + (2.0 - x.mean()) * np.exp(-t)
        yield f"t = {t:g}", Sides(number(_flow(lambda y: np.mean(y - x, 0), 2.0, t), 1e-11), number(right))


def _fitted(x):
    """Score and trace at the rows x (n, 1) of p ~ exp(theta . F), F = (x, x^2, x^3, x^4), fitted by score matching."""
    F1 = np.stack([np.ones_like(x), 2 * x, 3 * x**2, 4 * x**3], 1)  # (n, 4, 1)
    F2 = np.stack([0 * x, 2 + 0 * x, 6 * x, 12 * x**2], 1)[..., 0]
    theta = exponential_family(x, F1, F2)
    return np.einsum("k,nkd->nd", theta, F1), F2 @ theta, F1, F2


@CHAPTER.example(
    "at the optimum the two terms balance",
    r"E|s|^2 = -E[\mathrm{tr}\,\partial_x s] \quad \text{wherever } s \mapsto (1+\epsilon) s \text{ stays in the family}",
    "d/d epsilon of J_I((1 + epsilon) s) = 0",
)
def balance(seed):
    """A quartic exponential family fitted to the waiting times by one linear solve: stationary in scale, so the terms balance."""
    s, t, F1, _ = _fitted(_waiting())
    cond = np.linalg.cond(np.einsum("nkd,nld->kl", F1, F1))
    scale = np.mean(s**2)
    yield (
        "quartic family on Old Faithful",
        Sides(number(np.mean(s**2), 64 * EPS * cond * scale), number(-np.mean(t), 64 * EPS * cond * scale)),
    )
    for m in (1.0, 2.0):
        p = two_modes(m, 0.3)
        case = Case(p, p)
        yield f"the truth, modes at {m:g}", Sides(2.0 * case.mean("square"), -case.mean("trace"))


@CHAPTER.example(
    "noise bounds the loss from below",
    r"E_{q_\sigma}[\tfrac12|s|^2 + \mathrm{tr}\,\partial_x s] \ge -\tfrac12 E_{q_\sigma}|\nabla \log q_\sigma|^2",
    HYVARINEN + ", on the perturbed density",
)
def noise_bounds(seed):
    """The same samples with noise sigma = 0.2: a model of kernels of any width h cannot get below the Fisher information of q_sigma."""
    x = _waiting()[::16]
    q = Parzen(x, 0.2)
    for h in (0.05, 0.1, 0.2, 0.4):
        case = Case(q, Parzen(x, h))
        yield f"h = {h:g}", Sides(case.mean("implicit"), -case.mean("fisher"), relation=">=")


@CHAPTER.example(
    "held out, the loss has an interior minimum",
    r"\min_h J_I^{\text{held out}}(h) < J_I^{\text{held out}}(\text{ends})",
    "cross-validation of the implicit loss",
)
def interior(seed):
    """Kernels on the odd rows of Old Faithful, the loss on the even ones: too narrow is as bad as too wide."""
    x = standardise(old_faithful())[0]
    loss = lambda h: float(np.mean(implicit_loss((q := Parzen(x[1::2], h)).score(x[::2]), q.trace(x[::2]))))
    widths = (0.02, 0.1, 0.2, 0.3, 0.5, 2.0)
    losses = [loss(h) for h in widths]
    best = int(np.argmin(losses))
    note = f"best of {widths} at h = {widths[best]:g}"
    for end, name in ((0, "narrowest"), (-1, "widest")):
        yield f"best against {name}", Sides(number(losses[best]), number(losses[end]), relation="<=", note=note)


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "the trace is not driven to zero",
    r"E[\mathrm{tr}\,\partial_x s_0] = -E|s_0|^2 \ne 0",
    "a slip often seen; at the minimum of Hyvarinen's loss the trace is minus the Fisher information",
)
def trace_not_zero(seed):
    """At the true score, where the loss is smallest, the mean trace is as far below zero as the Fisher information is above."""
    for name, p in (("standard normal", Gaussian(0.0, 1.0)), ("two modes", two_modes(2.0, 0.3))):
        case = Case(p, p)
        held = failing("the minimum is where the trace vanishes, E|s_0|^2", 2 * case.mean("fisher").value)
        yield name, Sides(case.mean("trace"), number(0, 0), (held,), -2.0 * case.mean("fisher"))


@CHAPTER.counterexample(
    "without noise the loss on samples has no minimum",
    r"J_I(h) = -\frac{d}{h^2} \to -\infty, \quad J_I(h/2) - J_I(h) = -\frac{3d}{h^2}",
    "kernels of width h on the samples; the collapse of a flexible model on finite data",
)
def collapse(seed):
    """A peak on every sample: the score is 0 there and the trace is -d/h^2. Halve the width, and the loss is four times as low."""
    rng = np.random.default_rng(seed)
    for d in (1, 2):
        x = rng.permutation(np.arange(8.0))[:, None] + 0.1 * rng.uniform(-1, 1, (8, d))  # at least 0.8 apart
        for h in (0.05, 0.02):  # neighbours contribute exp(-0.8^2/(2 h^2)), below 1e-55
            loss = lambda h, x=x: float(np.mean(implicit_loss((q := Parzen(x, h)).score(x), q.trace(x))))
            held = failing("the loss is bounded below, its change as h is halved", -3 * d / h**2)
            yield (
                f"8 samples, d = {d}, h = {h:g}",
                Sides(number(loss(h / 2)), number(loss(h)), (held,), number(-3 * d / h**2)),
            )
