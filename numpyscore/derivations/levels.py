r"""Noise, continued: what a level of it brings and costs.

Noise fills space (coverage) and shows far modes to each other (visibility); what is learned is q_sigma and not p (bias). Between too
little and too much lies an optimum. Along sigma^2 as time the density obeys the heat equation: its entropy rises at the rate of
the Fisher information, and the divergence of two densities falls at the rate of their Fisher divergence.
"""

import numpy as np

from ..data.datasets import song_ermon_mixture
from ..densities import Gaussian, Parzen
from ..densities.noise import bias, coverage, kl_divergence, noisy, visibility
from ..numerics.quadrature import expectation
from ..objectives.denoising import multilevel_denoising
from ..objectives.loss import half_square
from .case import Case
from .means import EPS, integral, number
from .noise import CHAPTER, VINCENT, linear, standardised
from .score import two_modes
from .steps import Sides, failing

SONG_ERMON = "Song & Ermon (2019), NeurIPS 32, arXiv:1907.05600"
LYU = "Lyu (2009), UAI, arXiv:1205.2629"
LEVELS = np.array([4.0, 1.0, 0.25, 0.0625])


def over(rate, start, stop):
    """Integral of t -> (value, error) from start to stop as a number, by SciPy's adaptive rule; the errors are integrated along."""
    from scipy.integrate import quad_vec

    (value, inner), error = quad_vec(rate, start, stop, epsabs=1e-12, epsrel=1e-12, norm="max", limit=100)
    return number(value, error + inner)


# ------------------------------------------------------------------------------- examples


def _at_level(weight, k):
    """The weighted loss at level k of a score that is 0, on Old Faithful."""
    x, eps = standardised()
    at = np.full(len(x), k)
    return float(multilevel_denoising(linear(0.0, 2), x, LEVELS, weight=weight, noise=eps, level=at))


@CHAPTER.example(
    "the weight sigma squared",
    r"\sigma^2\, E\,\tfrac12 \left| 0 + \tfrac\epsilon\sigma \right|^2 = \frac d2 \quad \text{at every level}",
    SONG_ERMON + ", section 4.2",
)
def weights_equalise(seed):
    """The target has the size 1/sigma; weighted by sigma^2, a score that knows nothing starts with the loss d/2 at every level."""
    for k, sigma in enumerate(LEVELS):
        yield f"d = 2, sigma = {sigma:g}", Sides(number(_at_level("sigma2", k), 1e-13), number(1.0, 0))


@CHAPTER.example(
    "coverage of a box by a Gaussian",
    r"\Pr_{x \sim U[-L, L]}[q_\sigma(x) \ge t] = \frac{z_{0.995} \sqrt{s^2 + \sigma^2}}{L}; \quad d = 2:"
    r"\; \frac{\pi\, 2 \log 100\, (s^2 + \sigma^2)}{4 L^2}",
    "the smallest set of mass 0.99 is an interval, or a disc",
)
def covered(seed):
    """The share of a box in which 99 % of the noisy samples lie, by samples: the interval or disc widens with the noise."""
    from scipy.special import ndtri

    s, L = 0.3, 8.0
    for sigma in (0.1, 1.0, 2.0):
        var = s**2 + sigma**2
        for d, right in ((1, ndtri(0.995) * np.sqrt(var) / L), (2, np.pi * 2 * np.log(100) * var / (4 * L**2))):
            found = coverage(Gaussian(np.zeros(d), s**2), sigma, np.tile([[-L, L]], (d, 1)), rng=seed)
            sides = Sides(number(found.share, 4 * found.error), number(right), method="monte carlo")
            yield f"d = {d}, sigma = {sigma:g}", sides


@CHAPTER.example(
    "coverage grows with the noise",
    r"\sigma < \sigma' \;\Rightarrow\; \mathrm{coverage}(\sigma) \le \mathrm{coverage}(\sigma')",
    SONG_ERMON + ", section 3.2.1",
)
def coverage_grows(seed):
    """Fifty samples of two modes in the plane, the box [-8, 8]^2: from next to nothing to most of it. Common random numbers."""
    x, levels = song_ermon_mixture(50, rng=seed), (0.05, 0.2, 1.0, 4.0)
    found = [coverage(x, sigma, [[-8, 8], [-8, 8]], rng=seed) for sigma in levels]
    shares = [number(c.share, 4 * c.error) for c in found]
    for k in range(len(levels) - 1):
        subject = f"sigma = {levels[k + 1]:g} against {levels[k]:g}"
        note = f"covered {found[k].share:.3f} -> {found[k + 1].share:.3f}"
        yield subject, Sides(shares[k + 1], shares[k], relation=">=", note=note, method="monte carlo")


@CHAPTER.example(
    "bias of noise between Gaussians",
    r"J_E(p, q_\sigma) = \tfrac12 \mathrm{tr}[(S^{-1} - S_0^{-1})^2 S_0], \quad \mathrm{KL} = \tfrac12 \left\{ \mathrm{tr}(S^{-1} S_0)"
    r" - d + \log \tfrac{|S|}{|S_0|} \right\}, \quad S = S_0 + \sigma^2 I",
    "moments of a Gaussian",
)
def gaussian_bias(seed):
    """What is lost when q_sigma stands for p, by two measures, integrated and in closed form. Both vanish like sigma^4."""
    rng = np.random.default_rng(seed)
    for d in (1, 2):
        A = rng.standard_normal((d, d)) * 0.4 + np.eye(d)
        S0 = A @ A.T + 0.2 * np.eye(d)
        for sigma in (0.3, 1.5):
            S = S0 + sigma**2 * np.eye(d)
            P, P0 = np.linalg.inv(S), np.linalg.inv(S0)
            found, rounding = bias(Gaussian(np.zeros(d), S0), sigma, rtol=1e-12), 64 * EPS * np.linalg.cond(S0) * d
            fisher = 0.5 * np.trace((P - P0) @ (P - P0) @ S0)
            kl = 0.5 * (np.trace(P @ S0) - d + np.linalg.slogdet(S)[1] - np.linalg.slogdet(S0)[1])
            subject = f"d = {d}, sigma = {sigma:g}"
            yield f"{subject}: Fisher", Sides(integral(found.fisher), number(fisher, rounding * np.trace(P0)))
            yield f"{subject}: Kullback-Leibler", Sides(integral(found.kl), number(kl, rounding))


def _interior(values, levels, what):
    """(subject, sides) that say the least of `values` lies inside: against either end."""
    best = int(np.argmin([v.value for v in values]))
    note = f"{what} is best at sigma = {levels[best]:g} of {levels}"
    for end, name in ((0, "least"), (-1, "most")):
        yield f"{what}, against the {name} noise", Sides(values[best], values[end], relation="<=", note=note)


@CHAPTER.example(
    "the trade-off has its optimum inside",
    r"\min_\sigma \mathrm{KL}(p \,|\, q_\sigma^{(n)}) < \text{both ends}, \quad q_\sigma^{(n)} \text{ the noisy density of } n \text{ samples}",
    VINCENT + ": what denoising on n samples learns",
)
def trade_off(seed):
    """Twenty samples of two modes: with little noise denoising learns the samples, with much it forgets the modes. p is known here."""
    p, levels = two_modes(2.0, 0.3), (0.1, 0.3, 0.5, 1.0, 3.0)
    found = [bias(p, sigma, p.sample(20, rng=seed), rtol=1e-6) for sigma in levels]
    for what, values in (("Fisher", [b.fisher for b in found]), ("Kullback-Leibler", [b.kl for b in found])):
        yield from _interior([*map(integral, values)], levels, what)


@CHAPTER.example(
    "noise shows far modes to each other",
    r"J_E(p_\sigma, q_\sigma) = \tfrac12 \left( \tfrac{2m}{1 + \sigma^2} \right)^2 E_{p_\sigma} (r_p - r_q)^2",
    "r is the responsibility of the first mode; " + SONG_ERMON + ", section 3.2.2",
)
def sight(seed):
    """Modes at +-5 sqrt 2, weights .2/.8 against .5/.5: invisible without noise, 1e-11; with it 2.7e-3 at sigma = 4."""
    m = 5 * np.sqrt(2)
    p, q = two_modes(m, 0.2), two_modes(m, 0.5)
    for sigma in (2.0, 4.0, 5.0, 10.0):
        var = 1 + sigma**2
        share = lambda x, w: 1 / (1 + (1 - w) / w * np.exp(np.minimum(2 * m * x[:, 0] / var, 700.0)))
        shares = expectation(lambda x: 2 * (m / var * (share(x, 0.2) - share(x, 0.5))) ** 2, noisy(p, sigma))
        seen = visibility(p, q, sigma, rtol=1e-12)
        yield f"sigma = {sigma:g}", Sides(integral(seen), integral(shares), note=f"J_E = {seen.value:.2g}")


@CHAPTER.example(
    "what noise shows has its optimum inside",
    r"\max_\sigma J_E(p_\sigma, q_\sigma) > \text{both ends}",
    SONG_ERMON + ", section 3.2.2",
)
def sight_peaks(seed):
    """The same two mixtures: more noise than sigma = 4 blurs what it has shown."""
    p, q, levels = two_modes(5 * np.sqrt(2), 0.2), two_modes(5 * np.sqrt(2), 0.5), (0.1, 1.0, 2.0, 4.0, 5.0, 10.0, 30.0)
    yield from _interior([-integral(visibility(p, q, sigma)) for sigma in levels], levels, "visibility")


@CHAPTER.example(
    "de Bruijn's identity",
    r"H(q_T) - H(p) = \tfrac12 \int_0^T E_{q_t} |\nabla \log q_t|^2\, dt, \quad t = \sigma^2",
    "Stam (1959), Information and Control 2:101-112",
)
def de_bruijn(seed):
    """Noise raises the entropy at half the rate of the Fisher information. Nothing is differenced: the rate is integrated over t."""
    T, entropy = 2.0, lambda p: integral(expectation(lambda x: -p.logpdf(x), p))
    for subject, p in (("Gaussian", Gaussian(0.0, 0.5)), ("two modes", two_modes(2.0, 0.3))):

        def rate(t):
            q = noisy(p, np.sqrt(t))
            found = expectation(lambda x: half_square(q.score(x)), q)
            return np.array([found.value, found.error])

        yield f"{subject}, T = {T:g}", Sides(entropy(noisy(p, np.sqrt(T))) - entropy(p), over(rate, 0.0, T))


@CHAPTER.example(
    "noise takes divergence away",
    r"\frac{d}{dt} \mathrm{KL}(p_t | q_t) = -\tfrac12 E_{p_t} \left| \nabla \log \tfrac{p_t}{q_t} \right|^2 ="
    r" -\frac{(b - a)^2}{2 (a + t)(b + t)^2} \quad \text{for } N(0, a), N(0, b)",
    LYU,
)
def lyu(seed):
    """The closed form of the divergence between Gaussians, differentiated by a complex step, against the Fisher divergence integrated."""
    a, b, h = 0.5, 2.0, 1e-30
    kl = lambda t: 0.5 * (np.log((b + t) / (a + t)) + (a + t) / (b + t) - 1)
    for t in (0.1, 1.0, 4.0):
        left = kl(t + 1j * h).imag / h
        right = -integral(visibility(Gaussian(0.0, a), Gaussian(0.0, b), np.sqrt(t), rtol=1e-12))
        yield f"a = {a:g}, b = {b:g}, t = {t:g}", Sides(number(left, 32 * EPS), right)


@CHAPTER.example(
    "noise takes divergence away, mixtures",
    r"\mathrm{KL}(p_T | q_T) - \mathrm{KL}(p | q) = -\int_0^T J_E(p_t, q_t)\, dt, \quad t = \sigma^2",
    LYU,
)
def lyu_mixtures(seed):
    """Two modes with other weights: the divergence falls by all that the Fisher divergence has been on the way."""
    T = 4.0
    for m in (1.0, 3.0):
        p, q = two_modes(m, 0.2), two_modes(m, 0.5)
        kl = lambda a, b: integral(kl_divergence(a, b, rtol=1e-12))

        def rate(t):
            found = visibility(p, q, np.sqrt(t), rtol=1e-12)
            return np.array([found.value, found.error])

        left = kl(noisy(p, np.sqrt(T)), noisy(q, np.sqrt(T))) - kl(p, q)
        yield f"modes at +-{m:g}, T = {T:g}", Sides(left, -over(rate, 0.0, T))


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "the noisy density taken for the clean one",
    r"J_E(p, q_\sigma) = \frac{d\, \sigma^4}{2 s^2 (s^2 + \sigma^2)^2}, \quad"
    r" \mathrm{KL} = \frac d2 \left\{ \log\left(1 + \tfrac{\sigma^2}{s^2}\right) - \frac{\sigma^2}{s^2 + \sigma^2} \right\}",
    "moments of a Gaussian; " + VINCENT,
)
def too_much_noise(seed):
    """Denoising learns q_sigma. If that is taken for p = N(0, s^2 I), noise as large as the data costs a quarter of its information."""
    s, d = 2.0, 3
    for sigma in (1.0, 2.0, 6.0):
        total = s**2 + sigma**2
        fisher = d * sigma**4 / (2 * s**2 * total**2)
        kl = d / 2 * (np.log(total / s**2) - sigma**2 / total)
        found = bias(Gaussian(np.zeros(d), s**2), sigma, rtol=1e-12)
        for what, measured, foreseen in (("Fisher", found.fisher, fisher), ("Kullback-Leibler", found.kl, kl)):
            held = failing(f"q_sigma is p, {what} divergence", foreseen)
            yield f"sigma = {sigma:g}: {what}", Sides(integral(measured), number(0, 0), (held,), number(foreseen))


@CHAPTER.counterexample(
    "no noise where the support is thin",
    r"h^2\, E_{q_h} |\nabla \log q_h|^2 \to d - \dim(\text{support}) \ne 0",
    "the score of a density of thickness h is of size 1/h across; " + SONG_ERMON + ", section 3.1",
)
def thin(seed):
    """Points on a line in the plane, or on single values: without noise there is no density, and no score. As the noise goes its Fisher information grows like 1/h^2 for ever, once for each direction in which the data do not extend."""
    along = np.array([[0.5, 0.5], [0.5, 0.5]])  # of rank one: the direction (1, 1)/sqrt 2, variance 1
    atoms = 2 * np.arange(3.0)[:, None]
    for h in (0.1, 0.02):
        held = failing("the data have a density, limit of h^2 E|s|^2", 1.0)
        line, values = Gaussian(np.zeros(2), along + h**2 * np.eye(2)), Parzen(atoms, h)
        settings = (
            ("on a line in the plane", line, 1 + h**2 / (1 + h**2), 64 * EPS / h**2),
            ("on three values", values, 1.0, 1e-12),
        )
        for where, q, foreseen, error in settings:
            left = 2 * h**2 * Case(q, q).mean("fisher")
            yield f"{where}, h = {h:g}", Sides(left, number(0, 0), (held,), number(foreseen, error))


@CHAPTER.counterexample(
    "levels without weights",
    r"\lambda = 1: \quad \frac{\sigma_{\min}^{-2}}{\sum_i \sigma_i^{-2}} \ne \frac1L",
    SONG_ERMON + ", section 4.2",
)
def unweighted(seed):
    """Weighted alike, the loss at the lowest level is nearly all of the sum: the higher ones, which join the modes, are not learned."""
    losses, L = [_at_level("one", k) for k in range(len(LEVELS))], len(LEVELS)
    share, foreseen = losses[-1] / sum(losses), LEVELS[-1] ** -2 / np.sum(LEVELS**-2.0)
    held = failing("levels count alike, share of the lowest", foreseen - 1 / L)
    sides = Sides(number(share, 1e-13), number(1 / L), (held,), number(foreseen - 1 / L))
    yield f"sigmas {', '.join(f'{s:g}' for s in LEVELS)}", sides
