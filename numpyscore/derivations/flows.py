r"""From the score back, continued: what a flow may lose, what the losses bound, and the equation that scores of all levels obey.

A flow carries a density along only where the score grows at most linearly. Errors of the score add up to a bound on the divergence of the reverse
diffusion, whose noise forgets them on the way, and to none for the flow. And the scores of one density under more and more noise are
tied to each other by the heat equation.
"""

import warnings
from types import SimpleNamespace

import numpy as np

from ..densities import Gaussian
from ..densities.noise import fisher_divergence
from ..numerics.quadrature import Frame, integrate
from ..sampling.flow import fokker_planck_residual, log_likelihood
from .levels import over
from .means import integral, number, worst
from .sampling import CHAPTER, VOLUME
from .score import two_modes
from .steps import Sides, failing


@CHAPTER.counterexample(
    "a flow of a score that grows too fast",
    r"s = x^3: \quad \int e^{\log p(x)}\, dx = 2\,\Phi\!\left(\frac{1}{\sigma' \sqrt{\sigma'^2 - \sigma^2}}\right) - 1 = .203747",
    VOLUME + ", which assumes a Lipschitz field",
)
def lost_mass(seed):
    """From 1/2 to 2 every path ends within 1/sqrt(3.75): the rest of the prior came from infinity, and its mass belongs to no point. Within +-R."""
    low, high, R = 0.5, 2.0, 8.0
    cubic = SimpleNamespace(dim=1, score=lambda x: x**3, trace=lambda x: 3 * x[:, 0] ** 2)
    from scipy.special import ndtr

    def density(x):
        with warnings.catch_warnings():  # log_likelihood says what is shown here
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.exp(log_likelihood(lambda sigma: cubic, x, sigma_min=low, sigma_max=high, rtol=1e-10))

    ends = np.array([[-R, R]])
    mass = integrate(density, Frame(np.zeros(1), np.array([[0.5]]), reach=R), ends, rtol=1e-8)
    within = lambda R: 2 * ndtr(R / np.sqrt(1 + R**2 * (high**2 - low**2)) / high) - 1
    missing = 1 - within(1e12)
    held = failing("the score grows at most linearly, mass lost", -missing)
    beyond = within(1e12) - within(R)
    note = f"mass {mass.value + beyond:.6f}"
    yield (
        "s = x^3, sigma 0.5 to 2",
        Sides(integral(mass) + beyond, number(1, 1e-9), (held,), number(-missing, 1e-9), note),
    )


# ------------------------------------------------------------------------------- what the losses bound


SCALED = 0.1  # delta of a score that is (1 + delta) times too large
KL_BOUND = "Song, Durkan, Murray & Ermon (2021), NeurIPS 34, arXiv:2101.09258, Theorem 1; Lu et al. (2022), arXiv:2206.08265, for the flow"


def _kl(v, V):
    """KL of N(0, v) from N(0, V)."""
    return 0.5 * (v / V - 1 + np.log(V / v))


def _ending(v, T, noisy, delta=SCALED):
    """Variance of the reverse diffusion (noisy) or of the flow at t = 0, from N(0, v + T), by SciPy's eighth-order rule, in log u = log(v + t)."""
    from scipy.integrate import solve_ivp

    rate = (lambda l, V: 2 * (1 + delta) * V - np.exp(l)) if noisy else (lambda l, V: (1 + delta) * V)
    span = np.log(v + T), np.log(v)
    return solve_ivp(rate, span, [v + T], method="DOP853", rtol=1e-13, atol=1e-14).y[0, -1]


def _loss_bound(v, T, delta=SCALED):
    """Half the integral over t = sigma^2 of E|s - grad log q_t|^2, each an expectation."""

    def rate(log_u):
        u = np.exp(log_u)  # v + t
        q = Gaussian(0.0, u)
        found = fisher_divergence(
            q, SimpleNamespace(support=q.support, score=lambda x: (1 + delta) * q.score(x)), rtol=1e-12
        )
        return u * np.array([found.value, found.error])

    return over(rate, np.log(v), np.log(v + T))


@CHAPTER.example(
    "the losses bound the divergence of the reverse diffusion",
    r"\mathrm{KL}(p | p_{\mathrm{SDE}}) \le \int_0^T J_E\, d\sigma^2 = \tfrac{\delta^2}2 L, \quad s = (1 + \delta) \nabla \log q_t,\; L = \log\tfrac{v + T}{v}",
    KL_BOUND,
)
def diffusion_bound(seed):
    """Scores ten per cent too large on N(0, 1), noise up to 10: the samples' divergence is .008761, the bound .023076. Both are computed."""
    v, T = 1.0, 100.0
    L, delta = np.log((v + T) / v), SCALED
    bound, V = _loss_bound(v, T), _ending(v, T, True)
    yield "the bound in closed form", Sides(bound, number(0.5 * delta**2 * L))
    closed_V = v * (1 + 2 * delta * np.exp(-(1 + 2 * delta) * L)) / (1 + 2 * delta)
    yield "the diffusion in closed form", Sides(number(_kl(v, V), 1e-11), number(_kl(v, closed_V)))
    yield "the diffusion within the bound", Sides(number(_kl(v, V), 1e-11), bound, relation="<=")


@CHAPTER.counterexample(
    "the losses do not bound the divergence of the flow",
    r"\mathrm{KL}(p | p_{\mathrm{ODE}}) = \tfrac12 (e^{\delta L} - 1 - \delta L) = .062479 > \tfrac{\delta^2}2 L = .023076",
    KL_BOUND,
)
def flow_bound(seed):
    """Without noise on the way nothing corrects what the score gets wrong: the same scores, integrated, end further from the data than the bound."""
    v, T = 1.0, 100.0
    x = np.log((v + T) / v) * SCALED
    foreseen = 0.5 * (np.exp(x) - 1 - x) - 0.5 * SCALED * x
    held = failing("the sampler is the diffusion, excess over the bound", foreseen)
    flow = number(_kl(v, _ending(v, T, False)), 1e-11)
    yield "delta = .1, T = 100", Sides(flow, _loss_bound(v, T), (held,), number(foreseen), relation="<=")


# ------------------------------------------------------------------------------- the score's own equation


@CHAPTER.example(
    "the scores of noisy densities obey an equation of their own",
    r"\partial_{\sigma^2} s = \tfrac12 \nabla \left( \mathrm{tr}\,\partial_x s + |s|^2 \right)",
    "Lai, Takida, Murata, Uesaka, Mitsufuji & Ermon (2023), ICML, arXiv:2210.04296; gradient of the heat equation of log q",
)
def score_fokker_planck(seed):
    """The heat equation of log q, differentiated once: what ties the levels of noise to each other. Its two sides at the worst of 8 points."""
    for name, p in (("Gaussian", Gaussian(0.3, 0.8)), ("two modes", two_modes(1.0, 0.3))):
        x = np.linspace(-2.5, 2.5, 8)[:, None]
        found = fokker_planck_residual(p.perturbed, x, 0.8)
        yield name, Sides(*worst((found.change, found.error), (found.spread, found.error))[:2])


@CHAPTER.counterexample(
    "a scaled score breaks the equation of the scores",
    r"s = c\, \nabla \log q: \quad \partial_{\sigma^2} s - \tfrac12 \nabla(\mathrm{tr}\,\partial_x s + |s|^2) = (c - c^2) \frac{x}{(v + \sigma^2)^2}",
    "Lai et al. (2023), arXiv:2210.04296",
)
def scaled_score(seed):
    """At every level it is a score, that of a narrower Gaussian, but no density with more and more noise has them all."""
    v, sigma, x = 1.0, 0.8, np.array([[1.5], [-0.7]])
    for c in (1.3, 0.5):
        family = lambda level, c=c: SimpleNamespace(
            dim=1, score=lambda x: -c * x / (v + level**2), trace=lambda x: np.full(len(x), -c / (v + level**2))
        )
        found = fokker_planck_residual(family, x, sigma)
        foreseen = (c - c**2) * x[0, 0] / (v + sigma**2) ** 2
        held = failing("the levels belong together, residual", foreseen)
        left, right = number(found.change[0, 0], found.error[0, 0]), number(found.spread[0, 0], found.error[0, 0])
        yield f"c = {c:g}", Sides(left, right, (held,), number(foreseen))
