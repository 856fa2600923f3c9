"""Right implementations of everything that is checked, drawn at random over dimensions, scales and conventions: no check accuses one.

A check that accused right code would be worse than none. Each `right_*` draws one implementation and returns the report of its
check; the last tests break each of them by a little, and see it accused, so that a check that says nothing does not pass here.
"""

import numpy as np
import pytest

import numpyscore as ns

ACTIVATIONS = ("softplus", "tanh", "silu", "sigmoid", "sin")
VERDICTS = ("PASS", "FAIL", "INCONCLUSIVE")


def network(rng, kinds=(ns.EnergyMLP, ns.ScoreMLP)):
    """A network of any shape, and points x for it at one of thirteen scales: to be called at x / scale."""
    d, kind = int(rng.choice([1, 2, 3, 5, 10, 20, 50])), kinds[rng.integers(len(kinds))]
    options = {"confinement": float(rng.uniform(0, 2))} if kind is ns.EnergyMLP else {}
    model = kind.init(d, rng.integers(2, 24, rng.integers(1, 4)), str(rng.choice(ACTIVATIONS)), rng=rng, **options)
    scale = 10.0 ** rng.integers(-6, 7)
    return model, scale * (rng.standard_normal((int(rng.integers(2, 7)), d)) + rng.uniform(-2, 2, d)), scale


def right_trace(rng, off=1.0):
    model, x, scale = network(rng)
    method = str(rng.choice(["exact", "textbook", "hutchinson"]))
    options = {"n_probes": int(rng.integers(40, 90)), "rng": rng} if method == "hutchinson" else {}
    trace = lambda x: off * model.trace(x / scale, method, **options) / scale**2
    return ns.check_trace(
        trace, score=lambda x: model.score(x / scale) / scale, x=x, n_calls=60
    )  # a network of small trace and large Jacobian is hard to estimate


def right_field(rng, off=1.0):
    """A gradient field: of a network, turned and stretched by a matrix A, s(A x) A is a gradient again."""
    model, x, scale = network(rng, (ns.EnergyMLP,))
    A = np.eye(model.dim) + 0.3 * rng.standard_normal((model.dim, model.dim)) / model.dim**0.5
    skew = np.triu(rng.standard_normal(A.shape), 1)
    whirl = (off - 1) * (skew - skew.T)
    score = lambda x: (model.score(x / scale @ A.T) @ A + x / scale @ whirl) / scale
    return ns.check_conservative(score, x=x)


def right_rows(rng, off=1.0):
    model, x, scale = network(rng)
    answer = (lambda x: model.score(x / scale)) if rng.random() < 0.5 else (lambda x: model.trace(x / scale))
    mixed = lambda x: answer(x) + (off - 1) * np.mean(answer(x), axis=0)
    return ns.check_rows(answer if off == 1 else mixed, x)


def right_gradient(rng, off=1.0):
    """Of an objective drawn at random, in the parameters of a network."""
    model, x, scale = network(rng)
    noise = rng.standard_normal(x.shape)
    of = [
        lambda net: ns.implicit(net, x / scale),
        lambda net: ns.explicit(net, x / scale, noise),
        lambda net: ns.denoising(net, x / scale, 0.4, noise=noise),
        lambda net: ns.sliced(net, x / scale, probes=noise[None]),
    ][rng.integers(4)]
    gradient = lambda theta: off * of(model.with_theta(theta)).gradient
    return ns.check_gradient(lambda theta: of(model.with_theta(theta)).value, gradient, model.theta, coordinates=12)


def right_sampler(rng, off=1.0):
    """Both meanings of the step size, and a Metropolis test."""
    a = float(rng.choice([0.5, 1.0]))  # x + a step s + sqrt(2 a step) z
    size, seed = float(rng.uniform(0.05, 0.5)), int(rng.integers(1 << 31))

    def euler(x, score, step, rng):
        return x + a * step * score(x) + off * np.sqrt(2 * a * step) * rng.standard_normal(x.shape)

    return ns.check_sampler(euler, step_size=size, rng=seed)


def right_loss(rng, off=1.0):
    """An objective, of energies or scores, as sum or mean, times a number, plus a number; `off` is a factor of its linear term."""
    K, shift = float(rng.choice([1.0, 2.0, 0.5, 10.0])), float(rng.choice([0.0, 3.0]))
    total = np.sum if rng.random() < 0.3 else np.mean
    half = lambda s: 0.5 * np.sum(s * s, axis=-1)
    done = lambda per_row: K * total(per_row) + shift

    def denoising(fn, x, sigma, noise):
        s = fn.score(x + sigma * noise)
        return done(half(s) + off * np.sum(s * noise, -1) / sigma)

    losses = {
        "implicit": lambda fn, x: done(half(fn.score(x)) + off * fn.trace(x)),
        "explicit": lambda fn, x, target_score: done(half(fn.score(x)) - off * np.sum(fn.score(x) * target_score, -1)),
        "denoising": denoising,
        "sliced": lambda fn, x, probes: done(half(fn.score(x)) + off * fn.curvature(x, probes)),
        "generalised": lambda fn, x, h, h_prime: done(
            np.sum(0.5 * h * fn.score(x) ** 2, -1)
            + off * np.sum(h_prime * fn.score(x) + h * np.diagonal(fn.jacobian(x), 0, -2, -1), -1)
        ),
    }
    objective = list(losses)[rng.integers(len(losses))]
    return ns.check_loss(losses[objective], objective=objective, model=str(rng.choice(["energy", "score"])), rng=rng)


RIGHT = {f.__name__: f for f in (right_trace, right_field, right_rows, right_gradient, right_sampler, right_loss)}
COSTS = {"right_loss": 4, "right_gradient": 2, "right_sampler": 2}  # fewer of the dear ones
SHARE = 0.8  # of them at least pass; the rest may be inconclusive
nightly = pytest.mark.nightly


@pytest.mark.parametrize("count", [12, pytest.param(480, marks=nightly)])
@pytest.mark.parametrize("name", RIGHT)
def test_right_code_is_not_accused(name, count):
    rng = np.random.default_rng(7)
    count //= COSTS.get(name, 1)
    verdicts = []
    for k in range(count):
        report = RIGHT[name](rng)
        verdicts.append(report.verdict)
        assert report.verdict != "FAIL", (k, report)
    print(name, {word: verdicts.count(word) for word in VERDICTS})
    assert verdicts.count("PASS") >= SHARE * count, verdicts


@pytest.mark.parametrize("name", RIGHT)
def test_control_code_that_is_off_is_accused(name):
    """One per cent, half of it for a random trace or sampler, is far above any resolution: of five, all that are not inconclusive; of three gradients, all."""
    rng = np.random.default_rng(8)
    off, count = {"right_trace": 1.5, "right_sampler": 1.1}.get(name, 1.01), 3 if name == "right_gradient" else 5
    verdicts = [RIGHT[name](rng, off).verdict for _ in range(count)]
    assert verdicts.count("FAIL") >= min(count, 4) and "PASS" not in verdicts, verdicts
