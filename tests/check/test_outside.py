"""Faults that an examination from outside found in the checks: right code accused, wrong code passed, a mistake called by another's name."""

import json
import re

import numpy as np
import pytest
from commandline import call
from wording import check_loss

import numpyscore as ns
from numpyscore.check.report import readings
from numpyscore.numerics.differences import ROWS, STEPS, differences, widths

# ------------------------------------------------------------------------------- the command line

UNSEEDED = """
import sys
import numpy as np

W = np.random.default_rng().normal(size=(3, 8))  # a network that starts anywhere, as modules do


def energy(x):
    return np.logaddexp(0, x @ W).sum(1)


def score(x):
    return -(1 / (1 + np.exp(-x @ W))) @ W.T


def other(x):
    return score(x) + 1e-3


def leaves(x):
    sys.exit(0)
"""


def test_a_file_runs_once_so_that_score_and_energy_are_of_one_network(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(UNSEEDED)
    options = ("--energy", f"{file}:energy", "--dim", "3", "--json")
    code, out, _ = call(capsys, "check", f"{file}:score", *options)
    assert code == 0 and [r["verdict"] for r in json.loads(out)] == ["PASS", "PASS"]
    assert call(capsys, "check", f"{file}:other", *options)[0] == 1  # a wrong one is seen as before


def test_code_that_leaves_the_program_is_no_pass(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(UNSEEDED)
    code, out, err = call(capsys, "check", f"{file}:leaves", "--energy", f"{file}:energy", "--dim", "3")
    assert code == 2 and out == "" and "SystemExit" in err and err.count("\n") == 1


# ------------------------------------------------------------------------------- points whose spread is not the energy's scale


def square(x):
    return np.sum(x**2, axis=1)


class Cauchy:
    """log p = -2 log(1 + |x|^2): a scale of 1, and samples anywhere."""

    logpdf = staticmethod(lambda x: -2 * np.log1p(square(x)))
    score = staticmethod(lambda x: -4 * x / (1 + square(x))[:, None])
    trace = staticmethod(lambda x: -4 * x.shape[1] / (1 + square(x)) + 8 * square(x) / (1 + square(x)) ** 2)


def thrown(places):
    """Eight points of size 1, each thrown out by its own factor."""
    return np.random.default_rng(21).standard_normal((8, 3)) * np.asarray(places, float)[:, None]


SPREADS = {"one outlier": [1, 1, 1, 1e6, 1, 1, 1, 1], "nine decades": np.logspace(-3, 6, 8), "two outliers": [1, -1e5, 1, 1e7, 1, 1, 1, 1]}  # fmt: skip


@pytest.mark.parametrize("name", SPREADS)
def test_a_wide_spread_of_the_points_accuses_no_right_code(name):
    """The first steps, half a standard deviation, stepped over the bulk: relative errors of 1e9 were reported."""
    p, x = Cauchy, thrown(SPREADS[name])
    reports = (
        ns.check_score(p.score, logpdf=p.logpdf, x=x),
        ns.check_trace(p.trace, score=p.score, x=x),
        ns.check_conservative(p.score, x=x),
    )
    for report in reports:
        assert report.verdict == "PASS" and report.resolution < 1e-6, report


def test_with_an_outlier_a_wrong_factor_is_found_and_named():
    p, x = Cauchy, thrown(SPREADS["one outlier"])
    score = ns.check_score(lambda y: 1.01 * p.score(y), logpdf=p.logpdf, x=x)
    trace = ns.check_trace(lambda y: 1.01 * p.trace(y), score=p.score, x=x)
    twist = lambda y: p.score(y) + 1e-3 * np.roll(p.score(y), 1, axis=1)
    for report, words in (
        (score, "1.01 times"),
        (trace, "1.01 times"),
        (ns.check_conservative(twist, x=x), "gradient"),
    ):
        assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_smaller_steps_clear_a_row_and_never_hide_an_error():
    """Ripples finer than half a standard deviation were unresolved; an error of one part in a million of the row stays one."""
    x = thrown(np.ones(8))
    energy, score = lambda y: 0.01 * np.sin(40 * y).sum(1) + 0.5 * square(y), lambda y: -0.4 * np.cos(40 * y) - y
    assert ns.check_score(score, energy=energy, x=x).verdict == "PASS"
    assert ns.check_score(lambda y: (1 + 1e-6) * score(y), energy=energy, x=x).verdict == "FAIL"


def test_widths_are_those_of_the_rows_that_lie_together():
    x = thrown(np.ones(8))
    np.testing.assert_array_equal(widths(x), 0.5 * x.std(axis=0))  # no outlier: as ever
    assert np.all(widths(thrown(SPREADS["one outlier"])) < 1)


def test_a_thousand_dimensions_are_differenced_in_calls_of_bounded_size():
    """3072 dimensions took 8 GB in one call of 221194 rows."""
    d, largest = 1000, 0
    x = np.random.default_rng(0).standard_normal((2, d))

    def function(points):
        nonlocal largest
        largest = max(largest, points.size)
        return np.cosh(points).sum(1), points

    found, evaluations = differences(function, x, np.full(d, 0.5))
    # the sum of a thousand terms loses 1e3 eps, differenced at steps of 1e-2 or more: 1e-11 of it
    np.testing.assert_allclose(found.value, np.sinh(x), rtol=0, atol=1e-11 * np.cosh(x).sum())
    assert largest <= ROWS and evaluations == 2 * 2 * STEPS * d


# ------------------------------------------------------------------------------- losses


def differenced(step, factor=1.0):
    """An implicit loss whose trace is the user's own central difference of the score."""

    def loss(fn, x):
        moves = step * np.eye(x.shape[1])
        trace = sum((fn(x + m)[:, i] - fn(x - m)[:, i]) / (2 * step) for i, m in enumerate(moves))
        return np.mean(0.5 * square(fn(x)) + factor * trace)

    return loss


def test_the_round_off_of_a_loss_that_differences_for_itself_is_no_unknown_term():
    """Its 1e-12 was reported as an unknown term; the round-off of a loss is measured now, so that what is beyond it is still seen."""
    right, wrong = (check_loss(differenced(1e-5, factor), objective="implicit", model="score") for factor in (1, 1.001))
    assert right.verdict == "PASS", right
    assert wrong.verdict == "FAIL" and "1.001 times" in wrong.diagnosis, wrong
    # a cubic score is not differenced exactly: a step of 1e-3 leaves 1e-7 of the trace, one of 0.03 a thousand times that
    near, far = (check_loss(differenced(step), objective="implicit", model="score") for step in (1e-3, 0.03))
    assert near.verdict == "PASS" and "right up to" in near.notes[0], near
    assert far.verdict == "FAIL" and far.name == "inaccurate", far


def test_a_mean_over_probes_in_one_term_alone_is_named():
    """The sentence for one term divided by the number of probes was cut at a colon that it did not have: IndexError."""

    def loss(fn, x, rng, n_probes):
        v = rng.choice([-1.0, 1.0], (n_probes, *x.shape))
        s, J = fn.score(x), fn.jacobian(x)
        curvature = np.einsum("mni,nij,mnj->mn", v, J, v).sum(0)
        return np.mean(curvature + 0.5 * (np.sum(v * s, -1) ** 2).mean(0))

    report = check_loss(loss, objective="sliced")
    assert report.verdict == "FAIL" and "number of probes" in report.diagnosis, report


# ------------------------------------------------------------------------------- samplers


def langevin(noise, drift=lambda h: h):
    """An unadjusted step with this noise (rng, shape) and drift."""
    return lambda x, score, h, rng: x + drift(h) * score(x) + np.sqrt(2 * h) * noise(rng, x.shape)


def metropolis(decide):
    """A Metropolis-adjusted step in which `decide` (log ratio, rng) says who is accepted."""

    def step(x, score, h, rng):
        y = x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
        log_q = lambda a, b: -square(a - b - h * score(b)) / (4 * h)
        log_ratio = np.sum((score(x) + score(y)) * (y - x), axis=1) / 2 + log_q(x, y) - log_q(y, x)
        return np.where(decide(log_ratio, rng)[:, None], y, x)

    return step


def rule(log_ratio, rng):
    return np.log(rng.random(len(log_ratio))) < log_ratio


SAMPLERS = {
    "repeated noise": (langevin(lambda rng, shape: np.random.default_rng(0).standard_normal(shape)), "euler"),
    "correlated noise": (langevin(lambda rng, shape: rng.standard_normal((shape[0], 1))), "euler"),
    "scale of the drift": (langevin(lambda rng, shape: rng.standard_normal(shape), lambda h: h**2), "euler"),
    "not adjusted": (metropolis(lambda log_ratio, rng: np.ones(len(log_ratio), bool)), "adjusted"),
    "acceptance reversed": (metropolis(lambda log_ratio, rng: ~rule(log_ratio, rng)), "adjusted"),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_wrong_samplers_are_called_by_their_name(name):
    """Noise that repeats in every step, and noise shared by the dimensions, passed; the others were a 'wrong law' or a wrong noise."""
    step, discretisation = SAMPLERS[name]
    report = ns.check_sampler(step, discretisation=discretisation)
    assert report.verdict == "FAIL" and report.name == name, report


@pytest.mark.parametrize("step_size", [0.1, 0.5, 1.0])
def test_right_samplers_pass_at_any_step(step_size):
    right = langevin(lambda rng, shape: rng.standard_normal(shape))
    assert ns.check_sampler(right, step_size=step_size)
    assert ns.check_sampler(metropolis(rule), discretisation="adjusted", step_size=step_size)


# ------------------------------------------------------------------------------- a function that is none of its rows


class Gaussian:
    """E = |x|^2 / 2."""

    energy = staticmethod(lambda x: 0.5 * square(x))
    score = staticmethod(lambda x: -x)


def accumulating():
    total = {}

    def score(x):
        total[x.shape] = total.get(x.shape, 0) - x
        return total[x.shape]

    return score


def late():
    results = []

    def score(x):
        results.append(-x)
        return results[-2] if len(results) > 1 and results[-2].shape == x.shape else results[-1]

    return score


STATES = {"gradients that accumulate": accumulating, "call before": late}


@pytest.mark.parametrize("words", STATES)
def test_a_score_that_is_right_in_its_first_call_alone_is_no_pass(words):
    report = ns.check_score(STATES[words](), energy=Gaussian.energy, x=thrown(np.ones(8)))
    assert report.verdict == "FAIL" and report.name == "state" and words in report.diagnosis, report


def test_a_score_that_changes_its_points_is_told_so():
    def score(x):
        x *= -1
        return x

    report = ns.check_score(score, energy=Gaussian.energy, x=thrown(np.ones(8)))
    assert report and any("in place" in note for note in report.notes), report
    report = ns.check_score(Gaussian.score, energy=Gaussian.energy, x=thrown(np.ones(8)))
    assert report and not report.notes


def test_where_rows_depend_on_each_other_the_score_is_not_said_to_belong_to_another_energy():
    mixed = lambda x: Gaussian.score(np.sort(x, axis=0))
    report = ns.check_score(mixed, energy=Gaussian.energy, x=thrown(np.ones(8)))
    assert report.verdict == "FAIL" and report.name == "rows mixed", report
    fixed = np.random.default_rng(0).standard_normal((8, 3))
    probe = lambda x: np.sum(fixed[: len(x)] ** 2 * np.cos(x), axis=1)  # Hutchinson with the same directions for ever
    report = ns.check_trace(probe, score=np.sin, x=thrown(np.ones(8)))
    assert report.verdict == "FAIL" and report.name == "fixed probe", report
    other = ns.check_score(lambda x: -np.sinh(x), energy=Gaussian.energy, x=thrown(np.ones(8)))
    assert other.name == "another energy"  # where rows are independent, as before


def test_with_as_many_rows_as_dimensions_a_trace_over_the_wrong_axis_is_named():
    def trace(x):
        return np.trace(-np.cosh(x)[:, :, None] * np.eye(x.shape[1]) + x[:, None, :] * 0.1)  # axes 0 and 1 by default

    score = lambda x: -np.sinh(x)
    report = ns.check_trace(trace, score=score, x=thrown(np.ones(8))[:3])
    assert report.verdict == "FAIL" and report.name == "shape" and "axes mixed up" in report.diagnosis, report

    def needs_a_square(x):
        return np.einsum("nii->n", (x @ x)[:, :, None] * np.eye(3))

    report = ns.check_trace(needs_a_square, score=score, x=thrown(np.ones(8))[:3])
    assert report.verdict == "FAIL" and report.name == "size of the batch", report


def test_rows_with_infinite_results_are_not_called_random():
    """inf - inf is no change; it was one, with a RuntimeWarning from inside."""
    infinite = lambda x: np.where(x > 1, np.inf, x)
    assert ns.check_rows(infinite, thrown(np.ones(8)))
    assert ns.check_rows(lambda x: infinite(x - x.mean(0)), thrown(np.ones(8))).verdict == "FAIL"


# ------------------------------------------------------------------------------- numbers, and traces


def test_of_the_readings_of_a_factor_the_simple_ones_are_said_and_n_settles_itself():
    """1/6 of six points in three dimensions was "2 d/n^2", 1/4 of eight parameters "2/p", 1/4 in four dimensions "1/(2 sqrt(d))" as well."""
    assert readings(1 / 6, {"n": 6, "d": 3})[0] == "1/n"
    assert readings(1 / 4, {"p": 8})[0] == "1/4" and readings(1 / 2, {"n": 6, "d": 3}) == ["1/2"]
    assert readings(1 / 4, {"n": 9, "d": 4}) == ["1/d", "1/4"]
    x = thrown(np.ones(8))[:6]
    mean = ns.check_score(lambda y: Gaussian.score(y) / len(y), energy=Gaussian.energy, x=x)
    assert mean.diagnosis.startswith("scale: your score is 1/n times") and "or --" not in mean.diagnosis, mean
    over = ns.check_score(lambda y: Gaussian.score(y) / (2 * y.shape[1]), energy=Gaussian.energy, x=x)
    assert over.diagnosis.startswith("scale: your score is 1/(2 d) times") and "1/n" not in over.diagnosis, over


B = np.random.default_rng(5).standard_normal((4, 4))
TANH = {"score": lambda x: np.tanh(x @ B), "x": np.random.default_rng(6).standard_normal((9, 4))}


def hutchinson(draw):
    """v.J v of the score tanh(x B) with directions draw(rng, shape)."""

    def trace(x, rng):
        v = draw(rng, x.shape)
        return np.sum((v @ B) * (1 - np.tanh(x @ B) ** 2) * v, axis=1)

    return trace


def test_a_trace_that_cancels_is_relative_to_its_terms():
    score = lambda x: np.stack([np.sin(x[:, 1]), np.cos(x[:, 0])], axis=1)
    x = thrown(np.ones(8))[:, :2]
    assert ns.check_trace(lambda x: np.zeros(len(x)), score=score, x=x)
    assert ns.check_trace(lambda x: 1e-6 * x[:, 0], score=score, x=x).verdict == "FAIL"


def test_a_right_estimator_makes_the_calls_that_it_needs_or_says_how_many():
    rademacher = hutchinson(lambda rng, shape: rng.choice([-1.0, 1.0], shape))
    few = ns.check_trace(rademacher, n_calls=20, **TANH)
    more = ns.check_trace(rademacher, n_calls=200, **TANH)
    assert more and more.resolution <= 0.25, more
    if not few:
        needed = int(few.diagnosis.split("n_calls=")[1])
        assert ns.check_trace(rademacher, n_calls=needed, **TANH), few


@pytest.mark.parametrize(
    "draw", [lambda rng, shape: rng.integers(0, 2, shape) * 1.0, lambda rng, shape: rng.random(shape)]
)
def test_directions_that_are_not_centred_are_named(draw):
    """0 and 1 for the signs, and numbers from 0 to 1, were "halved" or "biased"."""
    report = ns.check_trace(hutchinson(draw), n_calls=400, **TANH)
    assert report.verdict == "FAIL" and report.name == "directions not white", report


def test_uniform_directions_are_not_only_unit_length_where_d_is_three():
    trace = lambda x, rng: np.sum(rng.uniform(-1, 1, x.shape) ** 2 * -np.cosh(x), axis=1)
    report = ns.check_trace(trace, score=lambda x: -np.sinh(x), x=thrown(np.ones(8)))
    assert report.verdict == "FAIL" and "uniform numbers" in report.diagnosis, report
    assert "divided by d: the mean is the trace divided by d (directions of unit length" in report.diagnosis, report


def test_a_constant_is_no_sign():
    report = ns.check_trace(lambda x: -np.ones(len(x)), score=lambda x: -np.sinh(x), x=thrown(np.ones(8)))
    assert report.verdict == "FAIL" and report.name == "constant", report
    whole = ns.check_trace(
        lambda x: np.full(len(x), -np.cosh(x).sum()), score=lambda x: -np.sinh(x), x=thrown(np.ones(8))
    )
    assert whole.name == "batch sum", whole  # the same number in every row, and one that says what it is


def test_rounded_numbers_are_told_apart():
    """int64 came back as 'another energy', float32 points far from the origin as bfloat16."""
    x = thrown(np.ones(8))
    energy, score = lambda y: np.cosh(y).sum(1), lambda y: -np.sinh(y)
    cut = ns.check_score(lambda y: score(y).astype(int), energy=energy, x=2 * x)
    assert cut.verdict == "FAIL" and cut.name == "whole numbers", cut
    far = lambda y: 0.5 * square(y - 1e6)
    near = lambda y: -(y.astype(np.float32) - np.float32(1e6)).astype(float)
    rounded = ns.check_score(near, energy=far, x=x + 1e6)
    assert rounded.name == "precision" and "rounds x to float32" in rounded.diagnosis, rounded
    single = ns.check_score(lambda y: score(y.astype(np.float32)).astype(float), energy=energy, x=x)
    assert single and any("in single precision" in note for note in single.notes), single


# ------------------------------------------------------------------------------- parameter gradients

DATA = np.random.default_rng(7).standard_normal((30, 5))
THETA = np.linspace(-1, 2, 20)


def fit_loss(theta):
    return (
        np.mean((np.tanh(DATA @ theta[:15].reshape(5, 3)) @ theta[15:18] + theta[18] * DATA[:, 0]) ** 2)
        + theta[19] ** 2
    )


def fit_gradient(theta, h=1e-30):
    """By complex steps."""
    return np.array([fit_loss(theta + 1j * h * e).imag / h for e in np.eye(20)])


def clip(g, limit):
    return g * min(1.0, limit / (np.linalg.norm(g) + 1e-6))


GRADIENTS = {
    "clipped": (lambda t: clip(fit_gradient(t), 0.5), "norm 0.5"),
    "gradient of log L": (lambda t: fit_gradient(t) / fit_loss(t), "log L"),
    "gradient of the root of L": (lambda t: 0.5 * fit_gradient(t) / np.sqrt(fit_loss(t)), "root of L"),
    "no gradient for some parameters": (lambda t: fit_gradient(t) * (np.arange(20) % 17 > 2), "parameters 0-2, 17-19 of"),
    "scale": (lambda t: fit_gradient(t) * 0.5, "1/2 times"),
}  # fmt: skip


@pytest.mark.parametrize("name", GRADIENTS)
def test_wrong_gradients_are_called_by_their_name(name):
    wrong, words = GRADIENTS[name]
    report = ns.check_gradient(fit_loss, wrong, THETA)
    assert report.verdict == "FAIL" and report.name == name and words in report.diagnosis, report
    assert ns.check_gradient(fit_loss, fit_gradient, THETA)


# ------------------------------------------------------------------------------- losses, once more


def implicit(fn, x):
    return np.mean(0.5 * square(fn.score(x)) + fn.trace(x))


@pytest.mark.parametrize("clip", [lambda v: max(v, 0.0), lambda v: max(v, -0.5), lambda v: min(v, 3.0)])
def test_a_loss_that_is_clamped_is_no_pass(clip):
    """Random models stay above its minimum: it had the right coefficients, and passed."""
    report = check_loss(lambda fn, x: clip(implicit(fn, x)), objective="implicit")
    assert report.verdict == "FAIL" and ("stands still" in report.diagnosis or report.name == "unknown term"), report
    assert check_loss(implicit, objective="implicit")


def test_noise_of_variance_sigma_is_named_by_its_size():
    """It was 'the target is -eps/sigma^2', beside a note that the minimum is right."""

    def loss(fn, x, sigma, rng):
        noise = np.sqrt(sigma) * rng.standard_normal(x.shape)
        return np.mean(0.5 * square(fn.score(x + noise) + noise / sigma**2))

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and "standard deviation sqrt(sigma)," in report.diagnosis, report


def test_a_loss_that_changes_x_is_told_so_and_its_resolution_is_a_number():
    def loss(fn, x, sigma, rng):
        noisy = x
        noisy += sigma * rng.standard_normal(x.shape)
        return np.mean(0.5 * square(fn.score(noisy) + (noisy - x) / sigma**2))

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and any("in place" in note for note in report.notes), report
    assert report.resolution < 1, report  # it was 1e287: relative to a coefficient of zero


def curved(u, J, v):
    """u.J v of each row."""
    return np.einsum("ni,nij,nj->n", u, J, v)


def sliced(draw, curvature=curved, projection=lambda v, s: 0.5 * np.sum(v * s, axis=1) ** 2):
    """A sliced loss with hidden directions draw(rng, shape)."""

    def loss(fn, x, rng):
        v = draw(rng, x.shape)
        return np.mean(curvature(v, fn.jacobian(x), v) + projection(v, fn.score(x)))

    return loss


def normal(rng, shape):
    return rng.standard_normal(shape)


SLICED = {
    "two directions": sliced(normal, lambda u, J, v: curved(np.roll(u, 1, 0), J, v)),
    "wrong square": sliced(normal, projection=lambda v, s: 0.5 * np.sum(v * s, axis=1)),
    "fixed directions": sliced(lambda rng, shape: np.ones(shape)),
    "shared probe": sliced(lambda rng, shape: np.broadcast_to(rng.standard_normal(shape[1]), shape)),
}


@pytest.mark.parametrize("model", ["energy", "score"])
@pytest.mark.parametrize("name", SLICED)
def test_hidden_directions_that_are_wrong_are_called_by_their_name(name, model):
    """They were 'unknown term: not quadratic in the score', and a direction of ones 'shared', with a mean that is right."""
    report = check_loss(SLICED[name], objective="sliced", model=model)
    assert report.verdict == "FAIL" and report.name == name, report


@pytest.mark.parametrize("model", ["energy", "score"])
def test_the_same_hidden_directions_in_every_call_are_noted_and_no_mistake(model):
    fixed = sliced(lambda rng, shape: np.random.default_rng(0).standard_normal(shape))
    report = check_loss(fixed, objective="sliced", model=model)
    assert report and any("same in every call" in note for note in report.notes), report
    report = check_loss(sliced(normal), objective="sliced", model=model)
    assert report and not any("same in every call" in note for note in report.notes), report


def test_the_same_directions_in_every_call_beside_the_whole_square_are_a_mistake():
    """Of the few rows of a batch v v^T has a mean M that is not I: the minimiser of v.J v + 1/2 |s|^2 is M times the score."""
    square = lambda v, s: 0.5 * np.sum(s**2, axis=1)
    fixed = sliced(lambda rng, shape: np.random.default_rng(0).standard_normal(shape), projection=square)
    assert ns.check_loss(fixed, objective="sliced", model="score").name == "fixed directions"
    assert ns.check_loss(sliced(normal, projection=square), objective="sliced", model="score")
    columns = lambda rng, shape: (v := normal(rng, shape)) / np.linalg.norm(v, axis=0)
    over_batch = ns.check_loss(sliced(columns, projection=square), objective="sliced", model="score")
    assert over_batch.name == "directions normalised over the batch", over_batch


def generalised(trace=1.0, slope=1.0):
    def loss(fn, x, h, h_prime):
        s, J = fn.score(x), np.diagonal(fn.jacobian(x), axis1=1, axis2=2)
        return np.mean(np.sum(0.5 * h * s**2 + slope * h_prime * s + trace * h * J, axis=1))

    return loss


WEIGHTED = {
    "no derivative term": generalised(slope=0),
    "sign of the derivative term": generalised(slope=-1),
    "derivative term doubled": generalised(slope=2),
    "no weighted trace": generalised(trace=0),
    "sign of the weighted trace": generalised(trace=-1),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_terms_of_a_generalised_loss_are_named_once(name):
    """A wrong sign of h' s had three readings side by side, 'extra term ... which does not belong there' the first of them."""
    report = check_loss(WEIGHTED[name], objective="generalised")
    assert report.verdict == "FAIL" and report.name == name and "or --" not in report.diagnosis, report
    assert check_loss(generalised(), objective="generalised")


def test_a_trace_without_its_weight_is_told_from_one_with_the_derivative():
    """With h = x the derivative is 1, and the two were the same; a loss that takes both is told another weight."""

    def loss(fn, x, h, h_prime):
        s, J = fn.score(x), np.diagonal(fn.jacobian(x), axis1=1, axis2=2)
        return np.mean(np.sum(0.5 * h * s**2 + h_prime * s + J, axis=1))

    report = check_loss(loss, objective="generalised")
    assert report.verdict == "FAIL" and "the trace of the Jacobian" in report.diagnosis, report


def test_a_target_made_of_other_noise_is_named():
    """It was an unknown term; a constant score has its minimum at the mean target, which is compared with the noise added."""

    def loss(fn, x, sigma, rng, again=True):
        noise = rng.standard_normal(x.shape)
        noisy, target = x + sigma * noise, rng.standard_normal(x.shape) if again else noise
        return np.mean(0.5 * square(fn.score(noisy) + target / sigma))

    for model in ("energy", "score"):
        report = check_loss(loss, objective="denoising", model=model)
        assert report.verdict == "FAIL" and report.name == "other noise", report
    assert check_loss(lambda fn, x, sigma, rng: loss(fn, x, sigma, rng, again=False), objective="denoising")

    def cubed(fn, x, sigma, rng):  # the right target, and another power
        noise = rng.standard_normal(x.shape)
        return np.mean(square(fn.score(x + sigma * noise) + noise / sigma) ** 1.5)

    assert check_loss(cubed, objective="denoising").name == "not a square"


def test_a_list_of_each_sample_s_loss_is_their_mean_and_a_tuple_is_a_loss_with_other_things():
    """Numbers in a list were taken for a loss and what comes with it: the first sample alone."""
    rows = lambda fn, x: [0.5 * (s @ s) + np.trace(J) for s, J in zip(fn.score(x), fn.jacobian(x), strict=True)]
    assert check_loss(rows, objective="implicit").verdict == "PASS"
    assert check_loss(lambda fn, x: (np.mean(rows(fn, x)), 7.0, "other"), objective="implicit").verdict == "PASS"
    assert check_loss(lambda fn, x: rows(fn, x)[:1] * len(x), objective="implicit").verdict == "FAIL"  # control


def test_scaled_noise_is_not_eps_where_eps_was_said():
    """fn learns sigma eps; a sampler that takes it for eps is off by sigma. It passed, with a note."""

    def loss(fn, x, sigma, rng, scaled=True):
        noise = sigma * rng.standard_normal(x.shape)
        return np.mean((fn(x + noise) - (noise if scaled else noise / sigma)) ** 2)

    report = check_loss(loss, objective="denoising", predicts="eps")
    assert report.verdict == "FAIL" and report.name == "another parametrisation", report
    assert "sigma eps, and is meant to predict eps" in report.diagnosis
    right = lambda fn, x, sigma, rng: loss(fn, x, sigma, rng, scaled=False)
    assert check_loss(right, objective="denoising", predicts="eps").verdict == "PASS"
    assert check_loss(loss, objective="denoising", model="noise").verdict == "PASS"  # nothing was said of its size
    made = lambda f: check_loss(loss, objective="denoising", score_of=f)
    assert made(lambda out, y, sigma: -out / sigma[:, None] ** 2).verdict == "PASS"
    assert made(lambda out, y, sigma: -out / sigma**2).verdict == "PASS"  # one level for all rows may be one number
    for wrong, words in (
        (
            lambda out, y, sigma: -out / sigma[:, None, None] ** [[1.0, 2.0]],
            r"score_of raised ValueError: .*; it is given out and y of shape \(4, 3\) and level \(4,\)",
        ),
        (lambda out, y, sigma: (-out / sigma[:, None] ** 2).sum(1), r"score_of returned shape \(4,\); it is given"),
    ):
        report = made(wrong)
        assert report.verdict == "INCONCLUSIVE" and re.match(words, report.diagnosis), report


@pytest.mark.parametrize("price, words", [(0.3, "the trace is 13/10 times"), (1.0, "the trace is twice")])
def test_a_regulariser_that_became_a_part_of_the_trace_is_named(price, words):
    """It was said that the squared score times 1/2 stands in place of the square, which is the same."""

    def loss(fn, x, lam):
        return np.mean(0.5 * square(fn.score(x)) + (1 + (lam if price == 0.3 else price)) * fn.trace(x))

    report = check_loss(loss, objective="regularised")
    assert report.verdict == "FAIL" and report.name == "no regulariser" and words in report.diagnosis, report


# ---- names that a blind bank found wrong


def test_one_decision_for_all_chains_is_told_from_always_accepting():
    """From one start the mean ratio is nearly the same in each call: it took for always accepted what was nearly always."""

    def step(x, score, step_size, energy, rng, together=True):
        y = x + step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
        q = lambda a, b: ((a - b - step_size * score(b)) ** 2).sum(1) / (4 * step_size)
        ratio = energy(x) - energy(y) - q(x, y) + q(y, x)
        if together:
            return y if np.log(rng.random()) < ratio.mean() else x
        return y

    assert ns.check_sampler(step, discretisation="adjusted").name == "one decision for all chains"
    always = lambda x, score, step_size, energy, rng: step(x, score, step_size, energy, rng, together=False)
    assert ns.check_sampler(always, discretisation="adjusted").name == "not adjusted"


def test_a_score_divided_by_a_sum_over_the_batch_is_no_multiple_of_x():
    """Student's t with |x|^2 summed over the rows is a multiple of x in each call: "the energy is not used"."""
    x = np.random.default_rng(0).standard_normal((7, 3))
    log_p = lambda x: -3.5 * np.log1p((x**2).sum(1) / 4)
    report = ns.check_score(lambda x: -7 * x / (4 + (x**2).sum()), logpdf=log_p, x=x)
    assert report.verdict == "FAIL" and report.name == "batch statistics", report
    assert ns.check_score(lambda x: -7 * x, logpdf=log_p, x=x).name == "multiple of x"


def path_loss(target, weight=lambda c, s: 1.0):
    """A loss along c = sin, sigma = cos of pi t / 2."""

    def loss(fn, x, t, rng):
        z, a = rng.standard_normal(x.shape), t[:, None] * np.pi / 2
        c, s = np.sin(a), np.cos(a)
        return np.mean(weight(c, s) * (fn(c * x + s * z, t) - target(x, z, c, s)) ** 2)

    return loss


def test_predicted_targets_of_another_path_or_weighed_below_zero_are_called_that():
    """It was said that fn learns x - eps, and is meant to predict eps - x or x - eps; or that it learns eps, and is meant to predict eps."""
    ask = lambda loss, predicts: check_loss(loss, objective="multilevel_denoising", predicts=predicts)
    straight = ask(path_loss(lambda x, z, c, s: x - z), "velocity")
    assert straight.verdict == "FAIL" and straight.name == "another path", straight
    assert ask(path_loss(lambda x, z, c, s: s * x - c * z), "velocity").verdict == "PASS"
    below = ask(path_loss(lambda x, z, c, s: z, lambda c, s: np.log((c / s) ** 2)), "eps")
    assert below.verdict == "FAIL" and below.name == "sign of the weight", below
    assert ask(path_loss(lambda x, z, c, s: z, lambda c, s: c**2), "eps").verdict == "PASS"


def test_what_score_of_makes_is_told_without_a_guess_at_its_factor():
    def loss(fn, x, sigma, rng):
        z = rng.standard_normal(x.shape)
        return np.mean((fn(x + sigma * z) - z) ** 2)

    report = check_loss(loss, objective="denoising", score_of=lambda out, y, sigma: -out / sigma[:, None] ** 2)
    assert (
        report.verdict == "FAIL"
        and "where sigma is 0.5 fn learns 1 eps, and score_of, given the y at which fn is asked, makes the score of 0.5 eps"
        in report.diagnosis
    ), report
    assert "without its 1/2" not in report.diagnosis


def test_a_density_of_scale_two_without_its_half_may_be_two_densities():
    log_p = lambda x: -0.5 * ((x[:, 0] - 1) / 2) ** 2 - 0.5 * np.log(2 * np.pi)
    report = ns.check_density(log_p, dim=1)
    assert (
        report.verdict == "FAIL"
        and "beside its exponent the normaliser is sqrt(2 pi) where sqrt(2 pi) sigma belongs (or the exponent is wrong, a 1/2, a variance for a precision?)"
        in report.diagnosis
    ), report
    logistic = ns.check_density(lambda x: -x[:, 0] / 2 - 2 * np.logaddexp(0, -x[:, 0] / 2), dim=1)
    assert logistic.verdict == "FAIL" and "a density of scale 2 without its 1/2 (log det)" in logistic.diagnosis, (
        logistic
    )


def test_noise_of_another_size_than_the_level_that_was_handed_is_called_that():
    """sigma taken for a variance where the noise is added; it was "scale of the target", which is right."""

    def loss(fn, x, sigmas, level, rng, power=0.5):
        s, z = sigmas[level][:, None], rng.standard_normal(x.shape)
        return np.mean(s**2 * (fn.score(x + s**power * z, level) + z / s) ** 2)

    report = check_loss(loss, objective="multilevel_denoising")
    assert report.verdict == "FAIL" and report.name == "scale of the noise", report
    right = lambda fn, x, sigmas, level, rng: loss(fn, x, sigmas, level, rng, power=1)
    assert check_loss(right, objective="multilevel_denoising").verdict == "PASS"


def test_a_huber_error_beside_a_target_is_named():
    """Half a square for small differences of score and target, linear beyond 1."""

    def loss(fn, x, target_score):
        entries = np.abs(fn.score(x) - target_score)
        return np.mean(np.where(entries < 1, entries**2 / 2, entries - 0.5).sum(1))

    report = check_loss(loss, objective="explicit")
    assert report.verdict == "FAIL" and "a Huber error: a square for small differences" in report.diagnosis, report


def test_rows_of_nothing_finite_are_told_and_no_traceback():
    x = np.random.default_rng(0).standard_normal((4, 2))
    report = ns.check_rows(lambda x: np.full_like(x, np.nan), x)
    assert report.verdict == "PASS", report  # each is what it was, in any company
