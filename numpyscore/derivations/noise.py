r"""Noise.

Add Gaussian noise, x~ = x + sigma eps, and the data's density becomes q_sigma = p * N(0, sigma^2 I). Its score is known on average:
(x - x~)/sigma^2, the way back to the clean sample. So a regression on that target, denoising score matching, needs neither the
score of the data nor a trace, and its gap to the explicit loss on q_sigma is a constant: on n samples too, where q_sigma is their
Parzen density. What a level of noise brings and costs is in `levels`.
"""

from itertools import product
from types import SimpleNamespace

import numpy as np

from ..data.datasets import old_faithful, standardise
from ..densities import Gaussian, Parzen
from ..densities.noise import perturb
from ..networks.models import EnergyMLP
from ..numerics.quadrature import Frame, expectation
from ..objectives.arrays import denoising_loss, explicit_loss, implicit_loss
from ..objectives.denoising import denoising
from ..objectives.loss import half_square
from .case import BUDGET, averaged, integrated
from .means import EPS, Mean, integral, number, worst
from .steps import Chapter, Sides, failing, vanishes

CHAPTER = Chapter(7, "noise")
VINCENT = "Vincent (2011), Neural Computation 23:1661-1674"
TWEEDIE = "Robbins (1956), Proc. 3rd Berkeley Symp. 1:157-163; Efron (2011), JASA 106:1602-1614"


def closed(case):
    """Whether the noisy density has a closed form."""
    try:
        case.density.perturbed(1.0)
    except (AttributeError, NotImplementedError):
        return False
    return True


def half_scale(case):
    """A noise level for the case: half of its smallest standard deviation along an axis, roughly."""
    return float(0.5 * case.scale.min())


def with_signs(x):
    """Every row of x (n, d) with every eps in {-1, 1}^d: their plain mean is the mean over N(0, I) of anything quadratic in eps."""
    signs = np.array(list(product((-1.0, 1.0), repeat=x.shape[1])))
    return np.repeat(x, len(signs), 0), np.tile(signs, (len(x), 1))


# ------------------------------------------------------------------------------- lines


def _on_a_grid(case):
    return case.samples is None and case.dim <= 2


def _posterior(case, *fields):
    """Four noisy points x~, q_sigma there, and E[field | x~] of each field(x, x - x~): Bayes's rule, by quadrature over the clean x.

    Returns sigma, x~ (4, d), and (values, errors) of each (4,): first of q_sigma, then of the fields.
    """
    sigma, rng = half_scale(case), np.random.default_rng([case.seed, 7])
    points, _ = perturb(case.density.sample(4, rng=rng), sigma, rng=rng)

    def integrand(x):
        back = x[:, None] - points
        kernel = np.exp(-0.5 * np.sum(back**2, 2) / sigma**2) / (2 * np.pi * sigma**2) ** (case.dim / 2)
        return np.stack([kernel, *(kernel * field(x, back) for field in fields)], 1)

    found = expectation(integrand, case.density, rtol=1e-12, breaks=case.breaks, budget=BUDGET[case.dim])
    (q, *tops), (q_error, *errors) = found.value, found.error
    means = [(top / q, (error + np.abs(top / q) * q_error) / q) for top, error in zip(tops, errors, strict=True)]
    return sigma, points, (q, q_error), *means


@CHAPTER.line(
    "noise is a convolution",
    r"\log q_\sigma(\tilde x) = \log E_{p}\, N(\tilde x;\, x, \sigma^2 I)",
    "the density of a sum of independent variables",
    needs=lambda case: _on_a_grid(case) and closed(case),
)
def convolution(case):
    """The closed form of the noisy density against quadrature over the clean one, at the worst of four noisy points."""
    sigma, points, (q, error) = _posterior(case)
    log_q = case.density.perturbed(sigma).logpdf(points)
    left, right, _ = worst((log_q, 32 * EPS * (1 + np.abs(log_q))), (np.log(q), error / q))
    return Sides(left, right)


@CHAPTER.line(
    "score of the noisy density",
    r"E[s_0(x) \,|\, \tilde x] = E\!\left[\tfrac{x - \tilde x}{\sigma^2} \,\middle|\, \tilde x\right] = \nabla \log q_\sigma(\tilde x)",
    VINCENT,
    needs=lambda case: _on_a_grid(case),
)
def posterior_score(case):
    """The score of q_sigma is the mean of the clean score, and of the way back, given the noisy point; by parts over the clean one.

    Any density will do; along one direction w, at the worst of four points. On a support with a boundary p itself must vanish there.
    """
    sigma = half_scale(case)
    slope = lambda x, back: (case.density.score(x) @ case.w)[:, None]
    way_back = lambda x, back: back @ case.w / sigma**2
    sigma, points, (q, _), *means = _posterior(case, slope, way_back)
    left, right, j = worst(*means)

    def crossing(x):
        kernel = np.exp(-0.5 * np.sum((x - points[j]) ** 2, 1) / sigma**2)
        return kernel[:, None] * case.w / (2 * np.pi * sigma**2) ** (case.dim / 2)

    rim = integral(case.flux(crossing)) * (1 / q[j])
    return Sides(left, right, (vanishes("boundary term p N(x~; x, sigma^2) vanishes", rim),), rim)


@CHAPTER.line(
    "Tweedie's formula",
    r"E[x \,|\, \tilde x] = \tilde x + \sigma^2\, \nabla \log q_\sigma(\tilde x)",
    TWEEDIE,
    needs=lambda case: _on_a_grid(case) and closed(case),
)
def tweedie(case):
    """The best guess of the clean sample is one step along the score of the noisy density. Along w, at the worst of four points."""
    sigma, points, _, (mean, error) = _posterior(case, lambda x, back: (x @ case.w)[:, None])
    step = sigma**2 * case.density.perturbed(sigma).score(points) @ case.w
    start = points @ case.w
    rounding = 32 * EPS * (np.abs(points) @ case.w + np.abs(step) + np.abs(start))
    left, right, _ = worst((mean, error), (start + step, rounding))
    return Sides(left, right)


@CHAPTER.line(
    "Tweedie's second formula",
    r"\mathrm{Cov}[x \,|\, \tilde x] = \sigma^2 \left( I + \sigma^2\, \nabla^2 \log q_\sigma(\tilde x) \right)",
    TWEEDIE + "; differentiated once more",
    needs=lambda case: _on_a_grid(case) and closed(case),
)
def tweedie_second(case):
    """How sure one can be of the clean sample is the curvature of the noisy density. The variance along w, at the worst of four points."""
    way_back = lambda x, back: back @ case.w
    sigma, points, _, (mean, error), (square, error_2) = _posterior(
        case, way_back, lambda x, back: way_back(x, back) ** 2
    )
    J = case.density.perturbed(sigma).jacobian(points)
    bend = sigma**4 * np.einsum("i,nij,j->n", case.w, J, case.w)
    start = sigma**2 * (case.w @ case.w)
    rounding = 32 * EPS * (square + mean**2 + start + np.abs(bend))
    left, right, _ = worst((square - mean**2, error_2 + 2 * np.abs(mean) * error + rounding), (start + bend, rounding))
    return Sides(left, right)


@CHAPTER.line(
    "denoising needs no boundary condition of the data",
    r"E_\epsilon\, \tfrac12 |s(\tilde x) + \tfrac{\epsilon}{\sigma}|^2 = E_\epsilon [\tfrac12 |s|^2 + \mathrm{tr}\,\partial_x s](\tilde x)"
    r" + \frac{d}{2\sigma^2} \quad \text{for every } x",
    VINCENT + "; by parts over the noise alone",
    needs=lambda case: not hasattr(case.model, "support") or np.isinf(case.model.support).all(),
)
def no_boundary(case):
    """For one clean sample, whatever its density: the noise is integrated by parts, and a Gaussian vanishes at infinity.

    What is needed is of the model alone: that s N(x, sigma^2 I) vanishes far out and E|s|^2 is finite, as for any growth below exp(|x|^2 / (4 sigma^2)).
    """
    sigma, rng = half_scale(case), np.random.default_rng([case.seed, 8])

    def columns(x, eps):
        s, trace = case.model.score(x + sigma * eps), case.model.trace(x + sigma * eps)
        return {"denoising": denoising_loss(s, eps, sigma), "implicit": implicit_loss(s, trace)}

    if case.samples is None:
        x = case.density.sample(1, rng=rng)
        source = integrated(lambda eps: columns(x, eps), Gaussian(np.zeros(case.dim), 1.0))
    else:
        source = averaged(columns(case.samples, rng.standard_normal(case.samples.shape)))
    constant = number(case.dim / (2 * sigma**2))
    return Sides(Mean(source, {"denoising": 1.0}), Mean(source, {"implicit": 1.0}) + constant)


@CHAPTER.line(
    "denoising is explicit on the noisy density",
    r"E\, \tfrac12 |s(\tilde x) + \tfrac{\epsilon}{\sigma}|^2 = \tfrac12 E_{q_\sigma} |s - \nabla \log q_\sigma|^2 + C, \quad"
    r" C = \tfrac12 \left( \tfrac{d}{\sigma^2} - E_{q_\sigma} |\nabla \log q_\sigma|^2 \right)",
    VINCENT,
    needs=lambda case: case.samples is None and case.dim == 1 and closed(case),
)
def vincent(case):
    """Endless samples: the loss integrated over sample and noise together, in two dimensions; the right side over x~ alone."""
    p, sigma = case.density, half_scale(case)
    noise, frame = Gaussian(0.0, 1.0), p.frame
    both = SimpleNamespace(
        dim=2,
        support=np.tile([[-np.inf, np.inf]], (2, 1)),
        logpdf=lambda y: p.logpdf(y[:, :1]) + noise.logpdf(y[:, 1:]),
        frame=Frame(
            np.append(frame.center, 0.0), np.diag([frame.axes[0, 0], 1.0]), frame.tail, frame.reach, frame.detail
        ),
    )
    loss = lambda x, eps: denoising_loss(case.model.score(x + sigma * eps), eps, sigma)
    left = expectation(lambda y: loss(y[:, :1], y[:, 1:]), both, budget=BUDGET[2])
    q = p.perturbed(sigma)
    columns = lambda x: {"explicit": explicit_loss(case.model.score(x), q.score(x)), "fisher": half_square(q.score(x))}
    right = Mean(integrated(columns, q), {"explicit": 1.0, "fisher": -1.0}) + number(1 / (2 * sigma**2))
    return Sides(integral(left), right)


@CHAPTER.line(
    "denoising at finite n",
    r"\frac1n \sum_k E_\epsilon\, \tfrac12 |s(x_k + \sigma\epsilon) + \tfrac{\epsilon}{\sigma}|^2 ="
    r" \tfrac12 E_q |s - \nabla \log q|^2 + C, \quad q = \tfrac1n \textstyle\sum_k N(x_k, \sigma^2 I)",
    VINCENT,
    needs=lambda case: hasattr(case.model, "theta") and (_on_a_grid(case) or case.samples is not None),
)
def finite(case):
    """On n samples, here three, nothing is approximate: denoising learns the score of their Parzen density, and of nothing else.

    The objective, with its noise given and integrated over, against the explicit loss integrated over the noisy points.
    """
    sigma, rng, n = half_scale(case), np.random.default_rng([case.seed, 9]), 3
    x = case.density.sample(n, rng=rng)
    q = Parzen(x, sigma)

    def loss(rows, eps):
        return denoising(case.model, rows, sigma, noise=eps, gradient=False).per_sample

    def explicit(noisy):
        s_q = q.score(noisy)
        return {"explicit": explicit_loss(case.model.score(noisy), s_q), "fisher": half_square(s_q)}

    if case.samples is None:
        every = lambda eps: loss(np.tile(x, (len(eps), 1)), np.repeat(eps, n, 0)).reshape(-1, n).mean(1)
        rtol = 1e-12 if case.dim == 1 else 1e-10  # in the plane two more digits are another grid
        left = integral(expectation(every, Gaussian(np.zeros(case.dim), 1.0), rtol=rtol, budget=BUDGET[case.dim]))
        source = integrated(explicit, q, rtol=rtol)
    else:
        rows, eps = x[rng.integers(n, size=len(case.samples))], rng.standard_normal(case.samples.shape)
        source = averaged({"denoising": loss(rows, eps)} | explicit(rows + sigma * eps))
        left = Mean(source, {"denoising": 1.0})
    return Sides(left, Mean(source, {"explicit": 1.0, "fisher": -1.0}) + number(case.dim / (2 * sigma**2)))


# ------------------------------------------------------------------------------- examples


@CHAPTER.example(
    "least denoising loss of a Gaussian",
    r"x \sim N(0, s^2 I): \quad \min_s E\,\tfrac12 |s(\tilde x) + \tfrac\epsilon\sigma|^2 = \frac{d\, s^2}{2 \sigma^2 (s^2 + \sigma^2)}",
    VINCENT + ": the constant, where the explicit loss is 0",
)
def least(seed):
    """Even the true score leaves a loss: the noise cannot be told from the sample. It is the constant, and grows like 1/sigma^2."""
    for d, s, sigma in ((1, 1.0, 1.0), (2, 2.0, 0.1), (3, 0.5, 3.0)):
        unit, eps = with_signs(with_signs(np.zeros((1, d)))[1])  # the loss is quadratic in sample and noise
        x = s * unit
        score = Gaussian(np.zeros(d), s**2 + sigma**2).score(x + sigma * eps)
        left = np.mean(denoising_loss(score, eps, sigma))
        right = d * s**2 / (2 * sigma**2 * (s**2 + sigma**2))
        rounding = 32 * EPS * d / sigma**2
        yield f"d = {d}, s = {s:g}, sigma = {sigma:g}", Sides(number(left, rounding), number(right))


def linear(lam, d):
    """The network of energy lambda |x|^2 / 2, score -lambda x: all its weights are 0."""
    net = EnergyMLP.init(d, (1,), "softplus", confinement=lam, rng=0)
    return net.with_theta(0 * net.theta)


def _minimiser(loss, d):
    """Where a loss of the model -lambda x is least: the vertex of the parabola through three of its values."""
    zero, one, two = (float(loss(linear(lam, d))) for lam in (0.0, 1.0, 2.0))
    curve, slope = (two - 2 * one + zero) / 2, (4 * one - 3 * zero - two) / 2
    return number(-slope / (2 * curve), 64 * EPS * max(zero, one, two) / curve)


def standardised():
    """Old Faithful, standardised, each row with each sign of the noise."""
    return with_signs(standardise(old_faithful())[0])


@CHAPTER.example(
    "linear score on noisy data",
    r"s = -\lambda x, \; E|x|^2 = d: \quad \lambda^* = \frac1{1 + \sigma^2}",
    VINCENT + ", on a model with one parameter",
)
def linear_score(seed):
    """On standardised data the best linear score is that of N(0, 1 + sigma^2): noise adds its variance. A test of any denoising code."""
    x, eps = standardised()
    for sigma in (0.1, 0.5, 2.0):
        loss = lambda net: denoising(net, x, sigma, noise=eps)
        yield f"Old Faithful, sigma = {sigma:g}", Sides(_minimiser(loss, 2), number(1 / (1 + sigma**2)))


@CHAPTER.example(
    "a denoising autoencoder is a score",
    r"r(\tilde x) = \tilde x + \sigma^2 s(\tilde x): \quad E|r(\tilde x) - x|^2 = 2 \sigma^4 J_D",
    VINCENT + "; Alain & Bengio (2014), JMLR 15:3563-3593",
)
def autoencoder(seed):
    """To put the clean sample back is to know the score: the reconstruction error is the denoising loss in other units."""
    x, eps = standardised()
    net = EnergyMLP.init(2, (8, 8), "softplus", confinement=0.5, rng=seed)
    for sigma in (0.2, 1.5):
        noisy = x + sigma * eps
        left = np.mean(np.sum((noisy + sigma**2 * net.score(noisy) - x) ** 2, 1))
        right = 2 * sigma**4 * float(denoising(net, x, sigma, noise=eps))
        yield (
            f"Old Faithful, sigma = {sigma:g}",
            Sides(number(left, 64 * EPS * (left + 4)), number(right, 64 * EPS * (right + 4))),
        )


@CHAPTER.example(
    "two targets of one score",
    r"x \sim N(0, v):\; \operatorname{Var}\!\left[-\tfrac\epsilon\sigma \middle| \tilde x\right] = \frac{v}{\sigma^2 (v + \sigma^2)}, \quad"
    r" \operatorname{Var}[s_0(x) | \tilde x] = \frac{\sigma^2}{v (v + \sigma^2)}, \quad \text{mixed by } \tfrac{v}{v + \sigma^2}: 0",
    "De Bortoli, Hutchinson, Wirnsberger & Doucet (2024), arXiv:2402.08667; both have the mean grad log q",
)
def two_targets(seed):
    """-eps/sigma is quiet at much noise, the clean score at little. They err in opposite ways, so that a mixture is the score of q itself."""
    for v, sigma in ((1.0, 0.3), (2.0, 2.0), (1.0, 1.0)):
        unit, eps = with_signs(np.array([[1.0], [-1.0]]))
        x = np.sqrt(v) * unit
        score = -(x + sigma * eps) / (v + sigma**2)
        share = v / (v + sigma**2)
        noise_target, clean_target = -eps / sigma, -x / v
        for name, target, right in (
            ("-eps/sigma", noise_target, v / (sigma**2 * (v + sigma**2))),
            ("clean score", clean_target, sigma**2 / (v * (v + sigma**2))),
            ("1 + their mixture", (1 - share) * noise_target + share * clean_target, 0.0),
        ):
            one = float("mixture" in name)
            left = one + np.mean((target - score) ** 2)
            yield (
                f"v = {v:g}, sigma = {sigma:g}: {name}",
                Sides(number(left, 64 * EPS * (1 + left)), number(right + one)),
            )


@CHAPTER.example(
    "denoising survives kinks",
    r"\tfrac1n \sum_k E_\epsilon\, \tfrac12 |s(\tilde x) + \tfrac\epsilon\sigma|^2 = \tfrac12 E_q |s - \nabla \log q|^2 + C \quad \text{for ReLU energies}",
    VINCENT + "; the score of the model is never differentiated",
)
def kinks(seed):
    """Eight ReLU units, whose implicit loss is wrong by what the kinks hold: see 'a ReLU energy'. Denoising asks for no derivative of s."""
    from .integration_by_parts import ReLU

    rng, sigma = np.random.default_rng(seed), 0.7
    net = ReLU(rng.standard_normal(8), rng.standard_normal(8), rng.standard_normal(8), 0.5)
    x = np.array([-1.0, 0.4, 1.5])
    q, left = Parzen(x[:, None], sigma), number(0, 0)
    for centre in x:  # the noise around each sample is cut where the kinks are
        cuts = (tuple((np.array(net.kinks) - centre) / sigma),)
        loss = lambda eps, centre=centre: denoising_loss(net.score(centre + sigma * eps), eps, sigma)
        left = left + integral(expectation(loss, Gaussian(0.0, 1.0), breaks=cuts)) * (1 / 3)
    columns = lambda y: {"explicit": explicit_loss(net.score(y), q.score(y)), "fisher": half_square(q.score(y))}
    right = Mean(integrated(columns, q, breaks=(net.kinks,)), {"explicit": 1.0, "fisher": -1.0})
    yield "8 ReLU units, 3 samples", Sides(left, right + number(1 / (2 * sigma**2)))


# ------------------------------------------------------------------------------- counterexamples


def _slip(loss, right, wrong, what, sigma):
    """Sides of the linear score's minimiser under a wrong loss, its hypothesis named."""
    held = failing(f"{what}, change of the minimiser", wrong - right)
    return f"Old Faithful, sigma = {sigma:g}", Sides(_minimiser(loss, 2), number(right), (held,), number(wrong - right))


@CHAPTER.counterexample(
    "the target with the wrong sign",
    r"E\,\tfrac12 |s(\tilde x) - \tfrac\epsilon\sigma|^2: \quad \lambda^* = -\frac1{1 + \sigma^2}",
    "a slip often seen: the gradient of the energy in place of the score",
)
def wrong_sign(seed):
    """The score points back, against the noise. Learned with the sign of grad E it points away from the data everywhere."""
    x, eps = standardised()
    for sigma in (0.5, 2.0):
        loss = lambda net: np.mean(half_square(net.score(x + sigma * eps) - eps / sigma))
        right = 1 / (1 + sigma**2)
        yield _slip(loss, right, -right, "the target is -eps/sigma", sigma)


@CHAPTER.counterexample(
    "the score at the clean point",
    r"E\,\tfrac12 |s(x) + \tfrac\epsilon\sigma|^2 = \tfrac12 E|s(x)|^2 + \frac{d}{2\sigma^2}: \quad \lambda^* = 0",
    "a slip often seen: x where x~ is meant; the noise is independent of x",
)
def clean_point(seed):
    """A network that never sees the noise cannot tell where it went: the cross term is 0, and the best score is no score."""
    x, eps = standardised()
    for sigma in (0.5, 2.0):
        loss = lambda net: np.mean(half_square(net.score(x) + eps / sigma))
        yield _slip(loss, 1 / (1 + sigma**2), 0.0, "the score is taken at x + sigma eps", sigma)


@CHAPTER.counterexample(
    "a wrong power of sigma",
    r"\text{target } -\epsilon\, \sigma^{-k}: \quad \lambda^* = \frac{\sigma^{1-k}}{1 + \sigma^2}",
    "a slip often seen: -eps, -eps/sigma and -eps/sigma^2 mistaken for each other",
)
def wrong_power(seed):
    """-eps is the target of sigma s, -eps/sigma^2 that of nothing in use; taken for that of s they scale the score."""
    x, eps = standardised()
    for k in (0, 2):
        for sigma in (0.5, 2.0):
            loss = lambda net: np.mean(half_square(net.score(x + sigma * eps) + eps / sigma**k))
            right = 1 / (1 + sigma**2)
            subject, sides = _slip(loss, right, sigma ** (1 - k) * right, "the target is -eps/sigma", sigma)
            yield f"target -eps/sigma^{k}, {subject}", sides
