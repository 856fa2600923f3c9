r"""From the score back to samples and densities.

Langevin's walk, dx = s dt + sqrt(2) dw, has the density of s as its stationary law: the Fokker-Planck equation says so. In steps of
finite size it does not quite, and a Metropolis test repairs that. Noise added to samples is a heat equation for their density; it
is run backwards by a diffusion with the score in its drift, or by an ordinary differential equation, which carries the density
along. So the scores of all noisy densities give samples and exact likelihoods.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from ..densities import Gaussian
from ..densities.noise import fisher_divergence, geometric_levels
from ..networks.models import EnergyMLP, ScoreMLP
from ..numerics.quadrature import Frame, integrate
from ..sampling.flow import log_likelihood, transport
from ..sampling.langevin import (
    annealed_langevin,
    langevin,
    langevin_step,
    log_acceptance,
    reverse_diffusion,
    reverse_step,
)
from .energy import REAL_LINE
from .means import EPS, integral, number, sampled, worst
from .noise import closed, half_scale, with_signs
from .score import two_modes
from .steps import Chapter, Sides, failing, vanishes

CHAPTER = Chapter(8, "from the score back")
FOKKER_PLANCK = "Risken (1989), The Fokker-Planck Equation"
ROBERTS_TWEEDIE = "Roberts & Tweedie (1996), Bernoulli 2:341-363"
SONG_SDE = "Song, Sohl-Dickstein, Kingma, Kumar, Ermon & Poole (2021), ICLR, arXiv:2011.13456"
VOLUME = "Chen, Rubanova, Bettencourt & Duvenaud (2018), NeurIPS 31, Theorem 1"


# ------------------------------------------------------------------------------- lines


@CHAPTER.line(
    "the density is stationary under its own score",
    r"0 = \partial_t E[g] = E_{p_0}[s_0 \cdot \nabla g + \Delta g]",
    FOKKER_PLANCK + "; the weak form of the stationary equation",
)
def stationary(case):
    """Drift and spreading balance in the mean of any smooth g, here a sine: Langevin's walk, once at p_0, stays there.

    If the density ends somewhere, p_0 grad g must vanish at the wall, or what arrives there would have to be turned back.
    """
    rim = case.bend_boundary
    return Sides(
        case.mean("drift g"),
        -case.mean("laplacian g"),
        (vanishes("boundary term p grad g vanishes", rim),),
        integral(rim),
    )


@CHAPTER.line(
    "the Fokker-Planck equation at a point",
    r"\frac{\Delta p_0}{p_0} = \mathrm{tr}\,\partial_x s_0 + |s_0|^2",
    FOKKER_PLANCK + "; div(p s) = p (tr + |s|^2)",
    needs=lambda case: case.smooth_data and not hasattr(case.density, "slack") and case.unbounded,
)
def pointwise(case):
    """What diffuses away, by second differences of the density alone, is what the drift brings back. At the worst of four points."""
    x = case.density.sample(4, rng=np.random.default_rng([case.seed, 10]))
    left = _relative_laplacian(case.density.logpdf, x, 1.5 * half_scale(case) * _detail(case))
    s, trace = case.density.score(x), case.density.trace(x)
    right = trace + np.sum(s**2, 1)
    return Sides(*worst(left, (right, 64 * EPS * (np.abs(trace) + np.sum(s**2, 1))))[:2])


def _detail(case):
    """Size of the density's finest feature, in standard deviations."""
    return getattr(getattr(case.density, "frame", None), "detail", 0.5)


def _relative_laplacian(log_p, x, h, halvings=4):
    """Laplacian of p over p at x (n, d), from log p: Romberg's table on central differences with steps h, h/2, ...; and its error."""
    n, d = x.shape
    at, axes = log_p(x), np.eye(d)[:, None]

    def differences(h):
        around = np.concatenate([(x + h * axes).reshape(-1, d), (x - h * axes).reshape(-1, d)])
        return np.expm1(log_p(around).reshape(2 * d, n) - at).sum(0) / h**2

    row = [differences(h)]
    for k in range(1, halvings + 1):
        before, row = row, [differences(h / 2**k)]
        for j, coarse in enumerate(before):
            row.append(row[j] + (row[j] - coarse) / (4 ** (j + 1) - 1))
    rounding = 8 * d * EPS * (1 + np.abs(at)) * (2**halvings / h) ** 2
    return row[-1], np.abs(row[-1] - before[-1]) + np.abs(row[-1] - row[-2]) + rounding


@CHAPTER.line(
    "noise is a heat equation",
    r"\log q_\sigma(x) - \log p_0(x) = \tfrac12 \int_0^{\sigma^2} (\mathrm{tr}\,\partial_x s_t + |s_t|^2)(x)\, dt, \quad"
    r" \partial_t q_t = \tfrac12 \Delta q_t",
    "heat equation of Gaussian smoothing, t = sigma^2",
    needs=closed,
)
def heat(case):
    """At a fixed point log q rises and falls with score and trace alone: nothing is differenced, the right side is integrated over t."""
    from scipy.integrate import quad_vec

    sigma, x = 2 * half_scale(case), case.density.sample(4, rng=np.random.default_rng([case.seed, 11]))

    def rate(t):
        q = case.density.perturbed(np.sqrt(t))
        return 0.5 * (q.trace(x) + np.sum(q.score(x) ** 2, 1))

    rise, error = quad_vec(rate, 0.0, sigma**2, epsabs=1e-12, epsrel=1e-12, norm="max", limit=100)
    ends = case.density.perturbed(sigma).logpdf(x), case.density.logpdf(x)
    rounding = 16 * EPS * (1 + np.abs(ends[0]) + np.abs(ends[1]))
    return Sides(*worst((ends[0] - ends[1], rounding), (rise, error + rounding))[:2])


@CHAPTER.line(
    "instantaneous change of variables",
    r"\log q_\sigma(x) = \log q_{\sigma'}(x') - \int_\sigma^{\sigma'} \varsigma\, \mathrm{tr}\,\partial_x s_\varsigma(x_\varsigma)\, d\varsigma, \quad"
    r" \frac{dx}{d\varsigma} = -\varsigma\, s_\varsigma(x)",
    VOLUME + "; " + SONG_SDE + ", section 4.3",
    needs=closed,
)
def likelihood(case):
    """Follow the flow of the scores to more noise, add up the trace on the way: the log density comes out, at the worst of four points.

    Solved at two tolerances; their difference bounds the error of the finer one.
    """
    low, high = 0.5 * half_scale(case), 4 * half_scale(case)
    x = case.density.sample(4, rng=np.random.default_rng([case.seed, 12]))
    family = case.density.perturbed
    coarse, fine = (
        log_likelihood(family, x, sigma_min=low, sigma_max=high, prior=family(high), rtol=rtol) for rtol in TOLERANCES
    )
    log_q = family(low).logpdf(x)
    return Sides(*worst((fine, _ode_error(coarse, fine)), (log_q, 32 * EPS * (1 + np.abs(log_q))))[:2])


TOLERANCES = (1e-10, 1e-12)


def _ode_error(coarse, fine):
    """Bound of the error of the finer solution, and of rounding."""
    return np.abs(coarse - fine) + 1e-13 + 64 * EPS * np.abs(fine)


# ------------------------------------------------------------------------------- examples


def _log_flow(x, log_p, score, y, step):
    """log p(x) g(y | x), the density of being at x and proposing y; g written out as a normal density."""
    return log_p + Gaussian(np.zeros(x.shape[1]), 2 * step).logpdf(y - x - step * score)


def _targets(seed):
    """Name, log p up to a constant, score, and 8 points x and y, of a Gaussian, a mixture and an energy network."""
    rng = np.random.default_rng(seed)
    plane = Gaussian(np.array([0.3, -0.5]), np.array([[1.0, 0.5], [0.5, 2.0]]))
    net = EnergyMLP.init(2, (6, 6), "softplus", confinement=0.5, rng=rng)
    for name, p, log_p in (
        ("Gaussian", plane, plane.logpdf),
        ("two modes", two_modes(2.0, 0.3), None),
        ("energy network, Z unknown", net, lambda x: -net.energy(x)),
    ):
        yield name, log_p or p.logpdf, p.score, *rng.standard_normal((2, 8, p.dim))


@CHAPTER.example(
    "detailed balance",
    r"p(x)\, g(y|x)\, a(x, y) = p(y)\, g(x|y)\, a(y, x), \quad g(y|x) = N(y;\, x + \tau s(x),\, 2\tau I)",
    ROBERTS_TWEEDIE,
)
def balance(seed):
    """With the Metropolis test as much goes from x to y as back, whatever the step; Z cancels, so that an energy is enough."""
    for name, log_p, score, x, y in _targets(seed):
        for step in (0.1, 2.0):
            at = (x, log_p(x), score(x)), (y, log_p(y), score(y))
            flows = []
            for here, there in (at, at[::-1]):
                accepted = np.minimum(0.0, log_acceptance(*here, *there, step))
                proposed = _log_flow(*here, there[0], step)
                flows.append((proposed + accepted, 64 * EPS * (1 + np.abs(proposed) + np.abs(accepted))))
            yield f"{name}, step {step:g}", Sides(*worst(*flows)[:2])


def _settled(step, move=langevin_step, n=300):
    """Variance, and the one before, after n steps on N(0, 1): the mean over x = +-sd and eps = +-1, exact for a linear step."""
    var = before = 0.25
    for _ in range(n):
        x, eps = with_signs(np.sqrt(var) * np.array([[1.0], [-1.0]]))
        before, var = var, float(np.mean(move(x, -x, step, eps) ** 2))
    return var, before


def _chains(step, seed, n_steps=100, **options):
    """Mean of x^2 over 20 000 chains on N(0, 1) that start at 0."""
    return sampled(langevin(Gaussian(0.0, 1.0), np.zeros((20_000, 1)), step, n_steps, rng=seed, **options).samples ** 2)


@CHAPTER.example(
    "Langevin in steps",
    r"v = (1 - \tau)^2 v + 2\tau \;\Rightarrow\; v = \frac1{1 - \tau/2} \quad \text{on } N(0, 1)",
    ROBERTS_TWEEDIE + ", with their h = 2 tau",
)
def unadjusted(seed):
    """Each step contracts and adds noise; where both balance the variance is not 1. By its recursion, and by 20 000 chains."""
    for step in (0.1, 0.5, 1.5):
        yield f"step {step:g}, recursion", Sides(number(_settled(step)[0], 1e-13), number(1 / (1 - step / 2)))
    for step in (0.1, 0.5):
        sides = Sides(_chains(step, seed), number(1 / (1 - step / 2)), method="monte carlo")
        yield f"step {step:g}, chains", sides


@CHAPTER.example(
    "Langevin with a Metropolis test", r"v = 1 \quad \text{on } N(0, 1), \text{ whatever } \tau", ROBERTS_TWEEDIE
)
def adjusted(seed):
    """The same chains, proposals refused where balance asks for it: the variance is 1."""
    for step in (0.5, 1.0):
        yield f"step {step:g}, chains", Sides(_chains(step, seed, adjusted=True), number(1.0), method="monte carlo")


@CHAPTER.example(
    "how fast Langevin forgets",
    r"\frac{d}{dt} \mathrm{KL}(p_t | p) = -E_{p_t} \left| \nabla \log \tfrac{p_t}{p} \right|^2 = -2 J_E(p_t, p)",
    "Jordan, Kinderlehrer & Otto (1998), SIAM J. Math. Anal. 29:1-17",
)
def forgetting(seed):
    """From N(0, v) towards N(0, 1), v_t = 1 + (v - 1) e^{-2t}: the explicit loss, doubled, is the speed. Left side by a complex step."""
    h = 1e-30
    for v in (0.2, 4.0):
        variance = lambda t: 1 + (v - 1) * np.exp(-2 * t)
        kl = lambda t: 0.5 * (variance(t) - 1 - np.log(variance(t)))
        for t in (0.1, 1.0):
            rate = kl(t + 1j * h).imag / h
            loss = fisher_divergence(Gaussian(0.0, variance(t)), Gaussian(0.0, 1.0), rtol=1e-12)
            yield f"v = {v:g}, t = {t:g}", Sides(number(rate, 32 * EPS * (1 + v)), -2.0 * integral(loss))


@CHAPTER.example(
    "the probability flow of a Gaussian",
    r"x' = m + (C + \sigma'^2 I)^{1/2} (C + \sigma^2 I)^{-1/2} (x - m), \quad \log\left|\tfrac{\partial x'}{\partial x}\right| ="
    r" \tfrac12 \log \frac{|C + \sigma'^2 I|}{|C + \sigma^2 I|}",
    SONG_SDE + ", section 4.3",
)
def gaussian_flow(seed):
    """From one noise level to another the flow stretches along the principal axes. Path and volume, up and down."""
    rng = np.random.default_rng(seed)
    for d, ends in ((1, (0.1, 3.0)), (2, (2.0, 0.2))):
        A, m = rng.standard_normal((d, d)), rng.standard_normal(d)
        C = A @ A.T + 0.1 * np.eye(d)
        p, x = Gaussian(m, C), m + 2 * rng.standard_normal((4, d))
        coarse, fine = (transport(p.perturbed, x, *ends, rtol=rtol) for rtol in TOLERANCES)
        var, axes = np.linalg.eigh(C)
        stretch = np.sqrt((var + ends[1] ** 2) / (var + ends[0] ** 2))
        end = m + (x - m) @ (axes * stretch) @ axes.T
        error = 64 * EPS * np.linalg.cond(C) * (1 + np.abs(end))
        paths = worst((fine.x, _ode_error(coarse.x, fine.x)), (end, error))[:2]
        volume = fine.log_volume, _ode_error(coarse.log_volume, fine.log_volume)
        subject = f"d = {d}, sigma {ends[0]:g} to {ends[1]:g}"
        yield f"{subject}: worst coordinate", Sides(*paths)
        log_stretch = np.full(4, np.log(stretch).sum())
        yield f"{subject}: volume", Sides(*worst(volume, (log_stretch, 64 * EPS * np.linalg.cond(C)))[:2])


@CHAPTER.example(
    "a flow of a score of linear growth has a density",
    r"\int e^{\log p(x)}\, dx = 1 \quad \text{if } |s(x)| \le a + b|x|",
    VOLUME,
)
def normalised_flow(seed):
    """A random conditional network, the score of nothing: flow and trace together still make a density. On the line, by quadrature.

    Linear growth keeps every path finite in finite time; what a faster score does is told by its counterexample.
    """
    for kind in (EnergyMLP, ScoreMLP):
        net = kind.init(1, (6,), "tanh", conditional=True, rng=seed)
        density = lambda x: np.exp(log_likelihood(net, x, sigma_min=0.5, sigma_max=2.0, rtol=1e-10))
        mass = integrate(density, Frame(np.zeros(1), np.array([[1.5]])), REAL_LINE, rtol=1e-10)
        yield f"random conditional {kind.__name__}", Sides(integral(mass), number(1, 1e-9))


def _levels(s, start, ratio, n):
    """Noise levels at which s^2 + sigma^2 falls by this ratio n times from start."""
    return np.sqrt(start * ratio ** np.arange(n + 1) - s**2)


@CHAPTER.example(
    "the reverse diffusion of a Gaussian",
    r"a_i = s^2 + \sigma_i^2 = a_0 \rho^i: \quad v_L = a_L \left( 1 + \tfrac{1 - \rho}{\rho} (1 - \rho^L) \right), \quad"
    r" m_L - m = (m_0 - m)\, \tfrac{a_L}{a_0}",
    SONG_SDE + ", Appendix E, variance exploding; the recursion solved for geometric a_i",
)
def reverse(seed):
    """Euler's steps down through the noise, started one off the mean: by the recursion of mean and variance, and by 20 000 samples.

    The finer the levels, the nearer is v_L to s^2 + sigma_L^2, and a wrong start is forgotten in proportion.
    """
    m, s, start, last = 1.0, 0.5, 25.0, 0.3
    family = Gaussian(m, s**2).perturbed
    for n in (10, 100):
        ratio = (last / start) ** (1 / n)
        sigmas = _levels(s, start, ratio, n)
        var = last * (1 + (1 - ratio) / ratio * (1 - ratio**n))
        mean = m + last / start
        here, spread = m + 1, start
        for sigma, below in pairwise(sigmas):
            x, eps = with_signs(here + np.sqrt(spread) * np.array([[1.0], [-1.0]]))
            y = reverse_step(x, family(sigma).score(x), sigma, below, eps)
            here, spread = float(np.mean(y)), float(np.var(y))
        yield f"{n} levels: mean", Sides(number(here, 1e-13), number(mean))
        yield (
            f"{n} levels: variance",
            Sides(number(spread, 1e-13), number(var), note=f"{var / last:.3f} of s^2 + sigma_L^2"),
        )
    x = m + 1 + np.sqrt(start) * np.random.default_rng(seed).standard_normal((20_000, 1))
    x = reverse_diffusion(family, x, sigmas, rng=seed, denoise=False).samples
    yield f"{n} levels: mean of samples", Sides(sampled(x), number(mean), method="monte carlo")
    yield f"{n} levels: variance of samples", Sides(sampled((x - mean) ** 2), number(var), method="monte carlo")


def _left_share(p, sigma=0.0):
    """Probability that a sample of two_modes(m, w) with this noise is negative."""
    from scipy.special import ndtr

    return float(p.weights @ ndtr(-p.means[:, 0] / np.sqrt(1 + sigma**2)))


BOX = 8.0  # starts of chains are uniform on [-BOX, BOX]


def _uniform_starts(n, seed):
    return np.random.default_rng([seed, 13]).uniform(-BOX, BOX, (n, 1))


@CHAPTER.example(
    "annealing finds the weights of far modes",
    r"\Pr[x < 0] = \sum_k \pi_k \Phi(-\mu_k / \sqrt{1 + \sigma_L^2})",
    "Song & Ermon (2019), NeurIPS 32, arXiv:1907.05600, Algorithm 1",
)
def annealed(seed):
    """Modes at +-5, weights .2/.8, chains from everywhere: from noise that joins the modes down to noise that parts them."""
    p, sigmas = two_modes(5.0, 0.2), geometric_levels(8.0, 0.5, 9)
    x = annealed_langevin(p.perturbed, _uniform_starts(3000, seed), sigmas, 60, step=0.05, rng=seed).samples
    share = sampled(x[:, 0] < 0)
    yield "share on the left", Sides(share, number(_left_share(p, 0.5)), method="monte carlo")


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "Langevin in steps taken for exact",
    r"v - 1 = \frac1{1 - \tau/2} - 1 = \frac{\tau}{2 - \tau} \ne 0",
    ROBERTS_TWEEDIE,
)
def bias(seed):
    """On N(0, 1) the unadjusted chain is too wide by tau/(2 - tau), however long it runs: a third at step 1/2."""
    for step in (0.1, 0.5, 1.5):
        foreseen = step / (2 - step)
        held = failing("steps are infinitely small, excess of the variance", foreseen)
        yield f"step {step:g}, recursion", Sides(number(_settled(step)[0], 1e-13), number(1), (held,), number(foreseen))
    sides = Sides(_chains(0.5, seed), number(1), (failing("steps are infinitely small", 1 / 3),), number(1 / 3))
    yield "step 0.5, chains", sides._replace(method="monte carlo")


@CHAPTER.counterexample(
    "a step too large",
    r"v_{n+1} = (1 - \tau)^2 v_n + 2\tau: \quad \tau = 2: v_{n+1} - v_n \to 4; \quad \tau > 2: \tfrac{v_{n+1}}{v_n} \to (1 - \tau)^2 > 1",
    ROBERTS_TWEEDIE,
)
def diverging(seed):
    """From twice the variance on every step overshoots by more than it came: at step 2 the variance grows for ever, beyond it explodes."""
    var, before = _settled(2.0)
    held = failing("step < 2, growth of the variance in a step", 4.0)
    yield "step 2", Sides(number(var - before, 16 * EPS * var), number(0, 0), (held,), number(4.0))
    for step in (2.5, 3.0):
        var, before = _settled(step)
        factor = (1 - step) ** 2
        held = failing("step < 2, growth factor of the variance in a step", factor)
        try:
            langevin(Gaussian(0.0, 1.0), np.zeros((4, 1)), step, 1000, rng=seed)
            note = "samplers.langevin went on"
        except ValueError as error:
            note = str(error).split(":")[1].strip()
        yield f"step {step:g}", Sides(number(var / before), number(1), (held,), number(factor - 1), note)


@CHAPTER.counterexample(
    "noise of the wrong size",
    r"x + \tau s + \tau \epsilon: \; v = \frac{\tau}{2 - \tau}; \qquad x + \tau s + \sqrt\tau\, \epsilon: \; v = \frac1{2 - \tau}; \qquad"
    r" \text{not } \frac{2}{2 - \tau}",
    "slips often seen: step and standard deviation, alpha and alpha/2 mistaken for each other",
)
def wrong_noise(seed):
    """The noise of a step is sqrt(2 tau). With tau the walk freezes at the mode; with sqrt(tau) it samples p^2, of half the variance."""
    for step in (0.01, 0.5):
        right = 2 / (2 - step)
        for name, size, settled in (
            ("step * eps", step, step / (2 - step)),
            ("sqrt(step) * eps", np.sqrt(step), right / 2),
        ):
            move = lambda x, score, step, eps: x + step * score + size * eps
            held = failing("the noise is sqrt(2 step) eps, excess of the variance", settled - right)
            var, _ = _settled(step, move, n=3000 if step < 0.1 else 300)
            sides = Sides(number(var, 1e-12), number(right), (held,), number(settled - right))
            yield f"{name}, step {step:g}", sides


@CHAPTER.counterexample(
    "a Metropolis test without the proposals",
    r"a(x, y) = \min(1, \tfrac{p(y)}{p(x)}): \quad \log \frac{p(x)\, g(y|x)\, a(x, y)}{p(y)\, g(x|y)\, a(y, x)} = \tfrac{2 - \tau}{4} (x^2 - y^2)",
    ROBERTS_TWEEDIE + "; on N(0, 1)",
)
def metropolis(seed):
    """Langevin proposals already lean uphill. Accepted by the ratio of densities alone they lean twice, and balance is lost."""
    p, (x, y) = Gaussian(0.0, 1.0), np.random.default_rng(seed).standard_normal((2, 1, 1))
    for step in (0.1, 1.0):
        rise = p.logpdf(y) - p.logpdf(x)
        forth = _log_flow(x, p.logpdf(x), p.score(x), y, step) + np.minimum(0.0, rise)
        back = _log_flow(y, p.logpdf(y), p.score(y), x, step) + np.minimum(0.0, -rise)
        foreseen = ((2 - step) / 4 * (x**2 - y**2)).item()
        held = failing("proposals are symmetric, log g(y|x) - log g(x|y)", foreseen)
        left, right = (number(flow.item(), 64 * EPS * (1 + abs(flow.item()))) for flow in (forth, back))
        yield f"step {step:g}", Sides(left, right, (held,), number(foreseen, 32 * EPS))


@CHAPTER.counterexample(
    "weights of far modes by plain Langevin",
    r"\Pr[x < 0] \approx \tfrac12 + \frac{\bar y}{2 L}, \quad \bar y = \frac{\int_{-m}^{m} y / p(y)\, dy}{\int_{-m}^{m} dy / p(y)}, \quad"
    r" \text{not } \pi_1",
    "the probability to reach one mode before the other; Song & Ermon (2019), section 3.2.2",
)
def far_modes(seed):
    """Modes at +-5, weights .2/.8, starts uniform on [-8, 8]: each chain falls into the mode on its side, and half of them are wrong there.

    The weights of the score play no part in it but for where the watershed lies.
    """
    m, p = 5.0, two_modes(5.0, 0.2)
    between = np.array([[-m, m]])
    shed = integrate(
        lambda y: np.exp(-p.logpdf(y))[:, None] * np.hstack([y**0, y]), Frame(np.zeros(1), np.eye(1)), between
    )
    foreseen = 0.5 + shed.value[1] / shed.value[0] / (2 * BOX)
    x = langevin(p, _uniform_starts(4000, seed), 0.05, 200, rng=seed).samples
    right = _left_share(p)
    held = failing("chains cross between modes, excess of the left one", foreseen - right)
    sides = Sides(sampled(x[:, 0] < 0), number(right), (held,), number(foreseen - right, 1e-8), method="monte carlo")
    yield "4000 chains, 200 steps of 0.05", sides


@CHAPTER.counterexample(
    "a likelihood without its trace",
    r"\log q_{\sigma'}(x') - \log q_\sigma(x) = -\tfrac d2 \log \frac{s^2 + \sigma'^2}{s^2 + \sigma^2}",
    VOLUME,
)
def no_volume(seed):
    """The prior's density at the end of the path is not that of its start: the flow has stretched space, and the trace knows by how much."""
    rng = np.random.default_rng(seed)
    for d in (1, 3):
        s, low, high = 0.7, 0.1, 2.0
        family, x = Gaussian(np.zeros(d), s**2).perturbed, rng.standard_normal((1, d))
        ends = [transport(family, x, low, high, volume=False, rtol=rtol).x for rtol in TOLERANCES]
        coarse, fine = (family(high).logpdf(y).item() for y in ends)
        foreseen = -d / 2 * np.log((s**2 + high**2) / (s**2 + low**2))
        held = failing("the flow keeps volumes, minus log of the stretch", foreseen)
        left, right = number(fine, _ode_error(coarse, fine)), family(low).logpdf(x).item()
        yield f"d = {d}", Sides(left, number(right, 32 * EPS * (1 + abs(right))), (held,), number(foreseen))


@CHAPTER.counterexample(
    "the drift of the diffusion in the flow",
    r"\frac{dx}{d\varsigma} = -2\varsigma\, s_\varsigma: \quad x' = \frac{s^2 + \sigma^2}{s^2 + \sigma'^2}\, x, \quad"
    r" \text{not } \sqrt{\frac{s^2 + \sigma^2}{s^2 + \sigma'^2}}\, x",
    "a slip often seen; " + SONG_SDE + ", section 4.3: half of the drift, since no noise is added",
)
def double_drift(seed):
    """The reverse diffusion pulls twice as hard as the flow, to make up for its own noise. Without the noise everything shrinks too far."""
    s, high, low, x = 0.8, 3.0, 0.1, np.array([[2.0]])
    p = Gaussian(0.0, s**2)
    double = lambda sigma: SimpleNamespace(score=lambda x: 2 * p.perturbed(sigma).score(x))
    coarse, fine = (transport(double, x, high, low, volume=False, rtol=rtol).x.item() for rtol in TOLERANCES)
    shrink = (s**2 + low**2) / (s**2 + high**2)
    right = np.sqrt(shrink) * x.item()
    foreseen = shrink * x.item() - right
    held = failing("the drift is -sigma s, change of the end", foreseen)
    yield "sigma 3 to 0.1", Sides(number(fine, _ode_error(coarse, fine)), number(right), (held,), number(foreseen))
