"""Every objective on a network, with its printed formula and the error scale of its gradient, that the tests of objectives share."""

import numpy as np
import pytest
from accuracy import SMOOTH, scaled
from hypothesis import strategies as st
from oracles import absolute, gradient_scale, random_network, true_gradient

from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.objectives.denoising import denoising, multilevel_denoising
from numpyscore.objectives.implicit import generalised
from numpyscore.objectives.sliced import finite_difference_sliced, sliced

EPS = np.finfo(float).eps
BOTH = pytest.mark.parametrize("cls", (EnergyMLP, ScoreMLP), ids=lambda cls: cls.kind)
SEEDS = st.integers(0, 2**32 - 1)
X = np.full((4, 3), 0.5)


def small(cls, seed, **limits):
    """A small random network of this kind with points, noise levels, and the generator that made them."""
    rng = np.random.default_rng(seed)
    return rng, *random_network(rng, cls, SMOOTH, **({"max_dim": 8, "max_width": 8} | limits))


def loss_scale(model, x, sigma, target=None):
    """S of the explicit (with a target) or implicit loss of each sample."""
    size = absolute(model, x, **sigma).evaluate(np.abs(x), trace=True, **sigma)
    S_score, S_trace = np.abs(size.score), np.abs(size.trace)
    if target is None:
        return 0.5 * np.sum(S_score**2, 1) + S_trace
    return 0.5 * np.sum((S_score + np.abs(target)) ** 2, 1)


def linear_score(A, b):
    """A ScoreMLP whose score is A x + b to 1e-12 near 0: sin(x / c) c with c large, one hidden layer."""
    c, d = 1e6, len(A)
    return ScoreMLP.from_arrays([(np.eye(d) / c, np.zeros(d)), (c * A.T, b)], "sin")


# ------------------------------------------------------------------------------- every objective, its brute force, and the error scale of its gradient


def cases(model, x, sigma, rng):
    """Every objective on a network with given randomness: name -> (loss of a network, brute-force per_sample, S of its gradient)."""
    n, d = x.shape
    eps = 1e-3
    v, noise = rng.standard_normal((2, n, d)), rng.standard_normal((3, n, d))
    h, h_prime = rng.uniform(0.1, 2, (2, n, d))
    s_d, levels = np.exp(rng.uniform(-1, 1, n)), np.exp(rng.uniform(-1, 1, 3))
    level = rng.integers(0, 3, n)
    told = lambda value: {"sigma": np.broadcast_to(value, n)} if model.conditional else {}
    size = lambda y, **k: np.abs(absolute(model, y, **k).evaluate(np.abs(y), **k).score)

    def at_noise(sd, eps, weight):
        """Brute force and S of one noise level."""
        c = np.reshape(sd, (-1, 1))
        y = x + c * eps
        value = lambda: weight * 0.5 * np.sum((model.score(y, **told(sd)) + eps / c) ** 2, 1)

        def scale():
            bar = np.reshape(weight, (-1, 1)) * (size(y, **told(sd)) + np.abs(eps / c))
            return gradient_scale(model, y, told(sd), score_bar=bar, reach=np.abs(x) + np.abs(c * eps))

        return value, scale

    one = at_noise(s_d, noise[0], np.ones(n))
    each = [at_noise(levels[k], noise[k], levels[k] ** 2) for k in range(3)]
    single = at_noise(levels[level], noise[0], np.ones(n))
    axes = np.sqrt(h.T)[:, :, None] * np.eye(d)[:, None]
    S = size(x, **sigma)
    here = lambda **bars: gradient_scale(model, x, sigma, **bars)
    s, J = model.score(x, **sigma), model.jacobian(x, **sigma)
    K = np.einsum("mni,nij,mnj->mn", v, J, v)
    along = np.einsum("mnd,nd->mn", np.abs(v), S)
    out = {
        "generalised": (
            lambda net: generalised(net, x, h, h_prime, **sigma),
            lambda: np.sum(0.5 * h * s**2 + h_prime * s + h * J[:, range(d), range(d)], 1),
            lambda: here(score_bar=h * S + h_prime, v=axes, curvature_bar=np.ones((d, n))),
        ),
        "denoising": (lambda net: denoising(net, x, s_d, noise=noise[0]), *one),
        "multilevel": (
            lambda net: multilevel_denoising(net, x, levels, noise=noise),
            lambda: np.mean([value() for value, _ in each], 0),
            lambda: np.mean([scale() for _, scale in each], 0),
        ),
        "one level each": (
            lambda net: multilevel_denoising(net, x, levels, weight="one", noise=noise[0], level=level),
            *single,
        ),
        "sliced, variance reduced": (
            lambda net: sliced(net, x, probes=v, **sigma),
            lambda: K.mean(0) + 0.5 * np.sum(s**2, 1),
            lambda: here(score_bar=S, v=v, curvature_bar=np.full((2, n), 0.5)),
        ),
        "sliced": (
            lambda net: sliced(net, x, probes=v, variance_reduced=False, **sigma),
            lambda: np.mean(K + 0.5 * np.einsum("mnd,nd->mn", v, s) ** 2, 0),
            lambda: here(
                score_bar=np.einsum("mn,mnd->nd", along, np.abs(v)) / 2, v=v, curvature_bar=np.full((2, n), 0.5)
            ),
        ),
    }
    for reduced in (False, True):
        out["finite differences" + ", variance reduced" * reduced] = (
            lambda net, reduced=reduced: finite_difference_sliced(
                net, x, eps, probes=v[0], variance_reduced=reduced, **sigma
            ),
            lambda reduced=reduced: difference_formula(model, x, sigma, v[0], eps, reduced),
            lambda reduced=reduced: difference_scale(model, x, sigma, v[0], eps, reduced),
        )
    return out


def difference_scale(model, x, sigma, v, eps, reduced):
    """S of the gradient of finite differences, 1/eps^2 (energies) or 1/eps (scores) included."""
    points = {k: (x + k * eps * v, np.abs(x) + np.abs(k * eps * v)) for k in (-1, 0, 1)}
    at = lambda k, **bars: gradient_scale(model, points[k][0], sigma, reach=points[k][1], **bars)
    size = {k: absolute(model, points[k][0], **sigma).evaluate(points[k][1], **sigma) for k in points}
    score = {k: np.abs(size[k].score) for k in points}
    if isinstance(model, EnergyMLP):
        F = {k: absolute(model, points[k][0], **sigma).energy(points[k][1], **sigma) for k in (-1, 1)}
        slope = 0 if reduced else (F[1] + F[-1]) / (4 * eps**2)
        energies = sum(at(k, energy_bar=slope + 1 / eps**2 + np.zeros(len(x))) for k in (-1, 1))
        energies = energies + at(0, energy_bar=np.full(len(x), 2 / eps**2))
        return energies + at(0, score_bar=score[0]) if reduced else energies
    mean = 0.5 * (score[1] + score[-1])
    bar = 0.5 * (mean if reduced else np.sum(np.abs(v) * mean, 1, keepdims=True) * np.abs(v)) + np.abs(v) / (2 * eps)
    return at(1, score_bar=bar) + at(-1, score_bar=bar)


def difference_formula(model, x, sigma, v, eps, reduced):
    """MATH section 4, finite differences, as it is printed."""
    if isinstance(model, EnergyMLP):
        plus, f, minus = (model.energy(x + k * eps * v, **sigma) for k in (1, 0, -1))
        square = 0.5 * np.sum(model.score(x, **sigma) ** 2, 1) if reduced else (plus - minus) ** 2 / (8 * eps**2)
        return -(plus - 2 * f + minus) / eps**2 + square
    plus, minus = (model.score(x + k * eps * v, **sigma) for k in (1, -1))
    mean = 0.5 * (plus + minus)
    square = 0.5 * np.sum(mean**2, 1) if reduced else 0.5 * np.sum(v * mean, 1) ** 2
    return np.sum(v * (plus - minus), 1) / (2 * eps) + square


NAMES = tuple(cases(ScoreMLP.init(2, (2,), rng=0), np.ones((1, 2)), {}, np.random.default_rng(0)))


def family_errors(model, x, sigma, rng):
    """Errors of every objective's gradient against complex steps, in eps S."""
    p = model.theta.size
    places = np.unique(np.concatenate([[0, p - 1], rng.integers(0, p, 8)]))
    out = {}
    for name, (loss, _, scale) in cases(model, x, sigma, rng).items():
        S = scale()
        S = S + 1e-60 * S.max()  # see gradient_error
        exact = true_gradient(model, lambda net, loss=loss: loss(net).value, places)
        out[name] = scaled(loss(model).gradient[places], exact, S[places])
    return out


RANDOM = {
    "denoising": lambda net, x, rng: denoising(net, x, 0.5, rng=rng),
    "multilevel": lambda net, x, rng: multilevel_denoising(net, x, [1, 0.5], rng=rng),
    "one level each": lambda net, x, rng: multilevel_denoising(net, x, [1, 0.5], rng=rng, level=np.arange(len(x)) % 2),
    "sliced": lambda net, x, rng: sliced(net, x, rng=rng, n_probes=3),
    "sliced, plain": lambda net, x, rng: sliced(net, x, rng=rng, probe="gaussian", variance_reduced=False),
    "finite differences": lambda net, x, rng: finite_difference_sliced(net, x, 1e-2, probe="sphere", rng=rng),
}
