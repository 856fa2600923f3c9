"""Wrong implementations that people have shipped, and some that nobody admits to, each with the diagnosis it must get; and right ones
in other conventions, that must pass with the conversion.

All in NumPy, so that `numpyscore check --self` shows the checks at work wherever the package is installed. A loss here is what a user would
write: a function of a model and data; the model is used by `fn.score(x)`, `fn.trace(x)`, `fn.curvature(x, v)` and so on.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from ..networks.models import EnergyMLP
from .density import check_density
from .functions import check_rows
from .gradient import check_gradient
from .losses import check_loss
from .report import FAIL, PASS, CheckReport
from .sampler import check_sampler
from .score import check_score
from .trace import check_trace


class Case(NamedTuple):
    """A wrong implementation: what is wrong with it, where it was seen, the check of it, and words its diagnosis must contain."""

    name: str
    seen: str
    run: Callable[[], CheckReport]
    says: str
    verdict: str = FAIL


# ------------------------------------------------------------------------------- losses, as users write them


def _half_square(s):
    return 0.5 * np.sum(s**2, axis=1)


def _implicit(trace=1.0, square=1.0, of_d=0, total=1.0):
    return lambda fn, x: total * np.mean(square * _half_square(fn.score(x)) + trace * x.shape[1] ** of_d * fn.trace(x))


def _denoising(
    target, *, clean=False, spread=lambda sigma: sigma, draw=lambda rng, shape: rng.standard_normal(shape), again=False
):
    """1/2 |s - target(eps, sigma)|^2 at x + spread eps, or at the clean point; `again`: the target's noise is drawn anew."""

    def loss(fn, x, sigma, rng):
        eps = draw(rng, x.shape)
        s = fn.score(x if clean else x + spread(sigma) * eps)
        return np.mean(_half_square(s - target(draw(rng, x.shape) if again else eps, sigma)))

    return loss


def _sliced(square, *, unit=False, shared=False, term=1.0):
    """v.J v + square(s, v)."""

    def loss(fn, x, rng):
        v = rng.standard_normal((1, x.shape[1]) if shared else x.shape) + np.zeros(x.shape)
        v = v / np.linalg.norm(v, axis=1, keepdims=True) if unit else v
        return np.mean(term * fn.curvature(x, v) + square(fn.score(x), v))

    return loss


def _projected(s, v):
    return 0.5 * np.sum(v * s, axis=1) ** 2


def _generalised(linear):
    return lambda fn, x, h, h_prime: np.mean(np.sum(0.5 * h * fn.score(x) ** 2 + linear(fn, x, h, h_prime), axis=1))


def _diagonal(fn, x):
    return np.diagonal(fn.jacobian(x), axis1=1, axis2=2)


def _differences(curve=1.0, slope=8.0):
    def loss(fn, x, eps, rng):
        v = rng.standard_normal(x.shape)
        up, mid, down = fn.energy(x + eps * v), fn.energy(x), fn.energy(x - eps * v)
        return np.mean(-curve * (up - 2 * mid + down) / eps**2 + (up - down) ** 2 / (slope * eps**2))

    return loss


def _perturbed(target, c=lambda sigma: np.sqrt(1 - sigma**2)):
    """1/2 |fn(x~) - target|^2 at x~ = c x + sigma eps."""

    def loss(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        noisy = c(sigma) * x + sigma * eps
        return np.mean(_half_square(fn(noisy) - target(eps, x, noisy, c(sigma), sigma)))

    return loss


def ddpm(fn, x, alphas_cumprod, rng):
    """A time for each row, and a network that predicts the noise."""
    t, eps = rng.integers(len(alphas_cumprod), size=len(x)), rng.standard_normal(x.shape)
    a = alphas_cumprod[t][:, None]
    return np.mean((fn(np.sqrt(a) * x + np.sqrt(1 - a) * eps, t) - eps) ** 2)


def _levels(
    *, weight=lambda s: s**2, target=lambda e, k, S: -e / S[k][:, None], told=lambda k, S: S[k], draw=lambda rng, L, n: rng.integers(L, size=n)
):  # fmt: skip
    """A level for each row, the loss weighted by it."""

    def loss(fn, x, sigmas, rng):
        k, eps = draw(rng, len(sigmas), len(x)), rng.standard_normal(x.shape)
        s = fn(x + sigmas[k][:, None] * eps, told(k, sigmas))
        return np.mean(weight(sigmas[k]) * _half_square(s - target(eps, k, sigmas)))

    return loss


def _each_level(term):
    """One level after the other, summed: term(score, eps, sigma) of each row."""

    def loss(fn, x, sigmas, rng):
        noise = [(sigma, rng.standard_normal(x.shape)) for sigma in sigmas]
        return sum(np.mean(term(fn(x + sigma * eps, sigma), eps, sigma)) for sigma, eps in noise)

    return loss


def _of(loss, objective):
    return partial(check_loss, loss, objective=objective)


LOSSES = (
    Case("trace halved", "a tutorial", _of(_implicit(trace=0.5), "implicit"), "trace halved"),
    Case("trace with the wrong sign", "", _of(_implicit(trace=-1.0), "implicit"), "sign of the trace"),
    Case("trace averaged over dimensions, square summed", "", _of(_implicit(of_d=-1), "implicit"), "trace divided by d"),
    Case("square without its 1/2", "", _of(_implicit(square=2.0), "implicit"), "square doubled"),
    Case("trace forgotten", "", _of(_implicit(trace=0.0), "implicit"), "no trace"),
    Case("square forgotten", "", _of(_implicit(square=0.0), "implicit"), "no square"),
    Case("whole loss negated", "", _of(_implicit(total=-1.0), "implicit"), "sign of the loss"),
    Case("derivative of the summed score as trace", "many", _of(lambda fn, x: np.mean(_half_square(fn.score(x)) + fn.jacobian(x).sum((1, 2))), "implicit"), "sum of all entries"),
    Case("score averaged before it is squared", "", _of(lambda fn, x: 0.5 * np.sum(fn.score(x).mean(0) ** 2) + np.mean(fn.trace(x)), "implicit"), "averaged, or summed, before it is squared"),
    Case("norm instead of its square", "", _of(lambda fn, x: np.mean(0.5 * np.linalg.norm(fn.score(x), axis=1) + fn.trace(x)), "implicit"), "not squared"),
    Case("trace of the first sample only", "", _of(lambda fn, x: np.mean(_half_square(fn.score(x))) + fn.trace(x)[0], "implicit"), "first row"),
    Case("penalty left in", "", _of(lambda fn, x: np.mean(_half_square(fn.score(x)) + fn.trace(x) + 0.01 * fn.energy(x) ** 2), "implicit"), "squared energy"),
    Case("target with the sign of grad E", "torchebm#318", _of(_denoising(lambda e, s: e / s), "denoising"), "sign of the target"),
    Case("target -eps", "score_sde_pytorch#26", _of(_denoising(lambda e, s: -e), "denoising"), "instead of -eps/sigma"),
    Case("target -eps/sigma^2", "acids-ircam#5", _of(_denoising(lambda e, s: -e / s**2), "denoising"), "-eps/sigma^2 instead"),
    Case("score at the clean point", "pml2-book#253", _of(_denoising(lambda e, s: -e / s, clean=True), "denoising"), "clean point"),
    Case("noise of size sigma^2", "", _of(_denoising(lambda e, s: -e / s, spread=lambda s: s**2), "denoising"), "scale of the noise"),
    Case("one noise for the whole batch", "", _of(_denoising(lambda e, s: -e / s, draw=lambda rng, shape: rng.standard_normal(shape[1]) + np.zeros(shape)), "denoising"), "shared noise"),
    Case("uniform noise", "", _of(_denoising(lambda e, s: -e / s, draw=lambda rng, shape: np.sqrt(12) * (rng.random(shape) - 0.5)), "denoising"), "not Gaussian"),
    Case("noise drawn twice", "", _of(_denoising(lambda e, s: -e / s, again=True), "denoising"), "other noise"),
    Case("slices of unit length beside |s|^2", "sliced_score_matching", _of(_sliced(lambda s, v: _half_square(s), unit=True), "sliced"), "divided by d"),
    Case("one slice for the whole batch", "", _of(_sliced(_projected, shared=True), "sliced"), "shared probe"),
    Case("projection not squared", "", _of(_sliced(lambda s, v: 0.5 * np.abs(np.sum(v * s, 1))), "sliced"), "absolute projection |v.s|"),
    Case("projection without its 1/2", "", _of(_sliced(lambda s, v: np.sum(v * s, 1) ** 2), "sliced"), "square doubled"),
    Case("curvature with the wrong sign", "", _of(_sliced(_projected, term=-1.0), "sliced"), "sign of the curvature"),
    Case("h' forgotten", "", _of(_generalised(lambda fn, x, h, h1: h * _diagonal(fn, x)), "generalised"), "no derivative term"),
    Case("h in place of h'", "", _of(_generalised(lambda fn, x, h, h1: h * fn.score(x) + h * _diagonal(fn, x)), "generalised"), "in place of its derivative"),
    Case("second difference halved", "", _of(_differences(curve=0.5), "finite_difference_sliced"), "second difference halved"),
    Case("slope without its 1/2", "", _of(_differences(slope=4.0), "finite_difference_sliced"), "square doubled"),
    Case("target transposed sign", "", _of(lambda fn, x, t: np.mean(_half_square(fn.score(x) + t)), "explicit"), "sign of the target"),
    Case("target of the previous row", "", _of(lambda fn, x, t: np.mean(_half_square(fn.score(x) - np.roll(t, 1, 0))), "explicit"), "previous row"),
)  # fmt: skip


# ------------------------------------------------------------------------------- scores, traces, steps, gradients


def _net(activation="softplus"):
    return EnergyMLP.init(3, (12, 12), activation, confinement=0.7, rng=0)


def _x():
    return 0.4 + np.random.default_rng(1).standard_normal((9, 3)) * [0.5, 1.0, 2.0]


def _score_case(change):
    return lambda: check_score(lambda x: change(_net(), x), energy=_net().energy, x=_x())


def _trace_case(trace, activation="softplus"):
    net = _net(activation)
    return lambda: check_trace(lambda x: trace(net, x), score=net.score, x=_x())


def _hutchinson(net, x, *, divide=True, unit=False, shared=False, m=3):
    total = 0.0
    for _ in range(m):
        v = np.random.standard_normal((1, 3) if shared else x.shape) + np.zeros(x.shape)  # noqa: NPY002  as users do
        total = total + net.curvature(x, v / np.linalg.norm(v, axis=1, keepdims=True) if unit else v)
    return total / m if divide else total


def _normal(x, rng):
    return rng.standard_normal(x.shape)


def _theta_case(change):
    target = np.arange(6.0)
    gradient = lambda theta: np.tanh(theta - target)
    loss = lambda theta: float(np.sum(np.log(np.cosh(theta - target))))
    return lambda: check_gradient(loss, lambda theta: change(gradient(theta), theta), np.linspace(-1, 2, 6))


OTHERS = (
    Case("grad E instead of -grad E", "many", _score_case(lambda net, x: -net.score(x)), "sign"),
    Case("gradient of the batch mean", "many", _score_case(lambda net, x: net.score(x) / len(x)), "1/n"),
    Case("gradient of p", "", _score_case(lambda net, x: net.score(x) * np.exp(-net.energy(x))[:, None]), "gradient of p"),
    Case("standardisation without its chain rule", "", _score_case(lambda net, x: net.score(x) * x.std(0)), "standardisation"),
    Case("confinement forgotten", "", _score_case(lambda net, x: net.score(x) + 0.7 * x), "quadratic term"),
    Case("columns swapped", "", _score_case(lambda net, x: net.score(x)[:, [1, 0, 2]]), "columns permuted"),
    Case("gradient clipped by norm", "", _score_case(lambda net, x: net.score(x) * np.minimum(1, 0.8 / np.linalg.norm(net.score(x), axis=1))[:, None]), "clipped"),
    Case("one-sided difference", "", _score_case(lambda net, x: np.stack([-(net.energy(x + 1e-4 * e) - net.energy(x)) / 1e-4 for e in np.eye(3)], 1)), "one-sided"),
    Case("batch statistics", "", lambda: check_rows(lambda x: _net().score((x - x.mean(0)) / x.std(0)), _x()), "batch statistics"),
    Case("trace divided by d", "", _trace_case(lambda net, x: net.trace(x) / 3), "1/d"),
    Case("one diagonal entry", "", _trace_case(lambda net, x: net.jacobian(x)[:, 0, 0]), "one diagonal entry"),
    Case("ReLU energy, trace silently 0", "several", _trace_case(lambda net, x: np.full(len(x), -0.7 * 3), "relu"), "kink"),
    Case("Hutchinson sum never divided", "bayesflow#772", _trace_case(lambda net, x: _hutchinson(net, x, divide=False, m=4)), "that is not divided by their number"),
    Case("unit-length probes", "", _trace_case(lambda net, x: _hutchinson(net, x, unit=True)), "directions of unit length"),
    Case("one probe for the whole batch", "", _trace_case(lambda net, x: _hutchinson(net, x, shared=True, m=1)), "shared probe"),
    Case("Langevin noise step z", "google-research/ibc#6", partial(check_sampler, lambda x, score, h, rng: x + h * score(x) + h * _normal(x, rng)), "it is step z"),
    Case("Langevin noise without the 2", "", partial(check_sampler, lambda x, score, h, rng: x + h * score(x) + np.sqrt(h) * _normal(x, rng)), "factor 2"),
    Case("Langevin downhill", "", partial(check_sampler, lambda x, score, h, rng: x - h * score(x) + np.sqrt(2 * h) * _normal(x, rng)), "sign of the drift"),
    Case("Metropolis step left out", "", partial(check_sampler, lambda x, score, h, rng: x + h * score(x) + np.sqrt(2 * h) * _normal(x, rng), discretisation="adjusted", step_size=0.8), "not adjusted"),
    Case("gradient ascends", "", _theta_case(lambda g, theta: -g), "sign"),
    Case("parameters detached", "torchebm#340", _theta_case(lambda g, theta: np.where(np.arange(6) < 2, 0, g)), "no gradient for some"),
    Case("weight decay in the gradient alone", "", _theta_case(lambda g, theta: g + 0.1 * theta), "weight decay"),
)  # fmt: skip

# ------------------------------------------------------------------------------- perturbations, levels, densities, blocks of a gradient


def _many(loss):
    return _of(loss, "multilevel_denoising")


def _gaussians(two_pi, of_sigma=2, weights=(0.2, 0.8), sigma=1.5):
    """log of two Gaussians in the plane at -5 and 5, with the exponents of 2 pi (halved) and sigma in the normaliser."""

    def logpdf(x):
        parts = [
            np.log(w) - 0.5 * np.sum((x - m) ** 2, axis=1) / sigma**2 for w, m in zip(weights, (-5, 5), strict=True)
        ]
        return np.logaddexp(*parts) - 0.5 * two_pi * np.log(2 * np.pi) - of_sigma * np.log(sigma)

    return logpdf


def _blocks_case(change):
    """A gradient in parameters that are a matrix (3, 4) and two vectors of 4."""
    rng = np.random.default_rng(0)
    M, theta = rng.standard_normal((20, 20)) / 4, rng.standard_normal(20)
    loss = lambda t: float(np.sum(np.log(np.cosh(M @ t))))
    gradient = lambda t: change(*np.split(M.T @ np.tanh(M @ t), [12, 16]))
    return lambda: check_gradient(loss, gradient, theta)


BETWEEN = (
    Case("target -eps, data scaled", "", _of(_perturbed(lambda e, x, y, c, s: -e), "denoising"), "-eps instead of -eps/sigma"),
    Case("target -eps/sigma^2, data scaled", "", _of(_perturbed(lambda e, x, y, c, s: -e / s**2), "denoising"), "-eps/sigma^2 instead"),
    Case("target (x - x~)/sigma^2 without the scale of x", "", _of(_perturbed(lambda e, x, y, c, s: (x - y) / s**2), "denoising"), "x is not scaled there"),
    Case("weight of the levels at the square alone", "", _many(_each_level(lambda s, e, sigma: sigma**2 * _half_square(s) + np.sum(s * e, axis=1) / sigma)), "weight at one term"),
    Case("sigma of the previous level in the target", "", _many(_levels(target=lambda e, k, S: -e / S[k - 1][:, None])), "sigma of the previous level"),
    Case("sigma of another row in the target", "", _many(_levels(target=lambda e, k, S: -e / S[np.roll(k, 1)][:, None])), "sigma of another row"),
    Case("last level never drawn", "", _many(_levels(draw=lambda rng, L, n: rng.integers(L - 1, size=n))), "level forgotten: the last"),
    Case("network told the next level", "", _many(_levels(told=lambda k, S: (k + 1) % len(S))), "level told"),
    Case("normalising constant without d", "ncsn", partial(check_density, _gaussians(1, 2, sigma=1.0), dim=2), "normaliser without d: p integrates to sqrt(2 pi)"),
    Case("log sigma without d", "", partial(check_density, _gaussians(2, 1), dim=2), "sigma where (2 pi) sigma^2 belongs"),
    Case("no normaliser", "", partial(check_density, _gaussians(0, 0), dim=2), "unnormalised"),
    Case("weights of a mixture that sum to two", "", partial(check_density, _gaussians(2, weights=(1, 1)), dim=2), "weights"),
    Case("half-line without its factor 2", "", partial(check_density, lambda x: -0.5 * x[:, 0] ** 2 - 0.5 * np.log(2 * np.pi), support=[[0, np.inf]]), "half of it"),
    Case("weight matrix transposed", "", _blocks_case(lambda W, b, c: np.r_[W.reshape(3, 4).T.ravel(), b, c]), "transposed block: the gradient of theta[0:12], a matrix (3, 4)"),
    Case("two biases exchanged", "", _blocks_case(lambda W, b, c: np.r_[W, c, b]), "swapped blocks"),
    Case("one bias summed twice", "", _blocks_case(lambda W, b, c: np.r_[W, 2 * b, c]), "scale of blocks: the gradient of theta[12:16] is 2 times"),
)  # fmt: skip

CASES = LOSSES + OTHERS + BETWEEN

RIGHT = (
    Case("variance preserving, target -eps/sigma", "", _of(_perturbed(lambda e, x, y, c, s: -e / s), "denoising"), "variance preserving", PASS),
    Case("network that predicts the noise", "ddpm", _of(_perturbed(lambda e, x, y, c, s: e), "denoising"), "fn predicts the noise eps", PASS),
    Case("network that predicts x", "edm", _of(_perturbed(lambda e, x, y, c, s: x), "denoising"), "fn predicts the clean x", PASS),
    Case("network that predicts v", "", _of(_perturbed(lambda e, x, y, c, s: c * e - s * x), "denoising"), "fn predicts v", PASS),
    Case("velocity of a straight line", "flow matching", _of(_perturbed(lambda e, x, y, c, s: e - x, lambda s: 1 - s), "denoising"), "fn predicts the velocity", PASS),
    Case("a time for each row, noise predicted", "ddpm", _many(ddpm), "variance preserving", PASS),
    Case("levels of equal weight", "", _many(_levels(weight=lambda s: 1.0)), "the weight of a level is 1,", PASS),
    Case("levels summed", "", _many(_each_level(lambda s, e, sigma: _half_square(sigma * s + e))), "a sum over levels instead of a mean", PASS),
    Case("one level for the whole batch", "", _many(_levels(draw=lambda rng, L, n: np.full(n, rng.integers(L)))), "share one level", PASS),
    Case("no 1/2", "", _of(_implicit(square=1.0, trace=1.0, total=2.0), "implicit"), "no 1/2", PASS),
    Case("single precision inside", "", _score_case(lambda net, x: net.score(x.astype(np.float32)).astype(float)), "in single precision", PASS),
)  # fmt: skip


def recognised(case, report):
    """Whether a report has the verdict that a case must get, with one of the words that name it: in the diagnosis, or in the notes of a PASS."""
    said = report.diagnosis if case.verdict == FAIL else " ".join(report.notes)
    return report.verdict == case.verdict and any(words in said for words in case.says.split(" -- or -- "))
