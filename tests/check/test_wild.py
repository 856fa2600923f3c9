"""Code as it stands in the wild, reduced: right forms that are no textbook's, and wrong ones; each once came out otherwise."""

import math

import numpy as np
import pytest
from scipy.special import softmax
from wording import (
    check_conservative,
    check_gradient,
    check_loss,
    check_reverse,
    check_sampler,
    check_score,
    check_trace,
)

MANY = "multilevel_denoising"
half = lambda s: 0.5 * np.sum(s**2, axis=1)


# ------------------------------------------------------------------------------- denoising, by other derivations


def with_jitter(by=0.1):
    """Noise and an independent normal in the target, both from one draw."""

    def loss(fn, x, sigma, rng):
        z, other = rng.standard_normal((2, *x.shape))
        return np.mean(half(fn.score(x + sigma * z) + z / sigma - by * other))

    return loss


def two_noises(total=np.hypot):
    """A path with noise of its own; both noises from one draw."""

    def loss(fn, x, rng):
        t, (e, f) = rng.uniform(0.1, 0.9, (len(x), 1)), rng.standard_normal((2, *x.shape))
        a, b = t, np.sqrt(0.5 * t * (1 - t))
        target = -(a * e + b * f) / total(a, b) ** 2
        return np.mean(np.sum((a**2 + b**2) * (fn((1 - t) * x + a * e + b * f, t[:, 0]) - target) ** 2, axis=1))

    return loss


def posterior_mean(sharp=1.0):
    """The target's mean given the noisy point, over the rows of the batch."""

    def loss(fn, x, sigma, rng):
        y = x + sigma * rng.standard_normal(x.shape)
        w = softmax(-sharp * np.sum((y[:, None] - x) ** 2, axis=-1) / (2 * sigma**2), axis=1)
        return np.mean(half(fn.score(y) - (w @ x - y) / sigma**2))

    return loss


def by_parts(trace=1.0):
    """Stein's identity: the product with the noise has the mean of the trace."""

    def loss(fn, x, sigma, rng):
        y = x + sigma * rng.standard_normal(x.shape)
        return np.mean(half(fn.score(y)) + trace * fn.trace(y))

    return loss


def by_parts_at_levels(weight):
    def loss(fn, x, sigmas, rng):
        s = sigmas[rng.integers(len(sigmas), size=len(x))]
        y = x + s[:, None] * rng.standard_normal(x.shape)
        return np.mean(weight(s, y) * (half(fn.score(y)) + fn.trace(y)))

    return loss


def test_a_normal_from_the_same_draw_as_the_noise_only_adds_variance():
    report = check_loss(with_jitter(), objective="denoising")
    assert report and "only adds variance" in report.notes[-1], report
    no_noise = lambda fn, x, sigma, rng: np.mean(half(fn.score(x + sigma * (z := rng.standard_normal((2, *x.shape)))[0]) + z[1] / sigma))  # fmt: skip
    assert check_loss(no_noise, objective="denoising").verdict == "FAIL"


def test_two_noises_of_one_draw_are_one_of_the_root_of_their_squares():
    assert check_loss(two_noises(), objective=MANY)
    report = check_loss(two_noises(np.add), objective=MANY)
    assert report.verdict != "PASS" and "other" not in report.name, report


def test_a_kernel_is_given_one_number():
    def loss(fn, x, sigma, noise, wide=1.0):
        y = (x + sigma * noise) / np.hypot(1, wide * sigma)
        return np.mean(np.sum((fn(y) - noise) ** 2, axis=-1))

    of = {"objective": "denoising", "predicts": "eps", "kernel": lambda s: (1 / math.hypot(1, s), s / math.hypot(1, s))}
    assert check_loss(loss, **of)
    wrong = check_loss(lambda fn, x, sigma, noise: loss(fn, x, sigma, noise, 2.0), **of)
    assert wrong and any("the points of kernel=, scaled" in note for note in wrong.notes), wrong
    other = check_loss(lambda fn, x, sigma, noise: loss(fn, x, sigma, 2 * noise), **of)
    assert other.verdict == "FAIL" and other.name == "other noise level", other


def test_a_target_averaged_over_the_rows_that_may_lie_behind_its_point_is_right():
    report = check_loss(posterior_mean(), objective="denoising")
    assert report and "means given the noisy points" in report.notes[-1], report
    assert check_loss(posterior_mean(2.0), objective="denoising").verdict == "FAIL"


def test_the_trace_at_noisy_points_stands_for_the_product_with_the_noise():
    report = check_loss(by_parts(), objective="denoising")
    assert report and "Stein's identity" in report.notes[-1], report
    assert check_loss(by_parts(-1.0), objective="denoising").name == "sign of the trace"
    assert check_loss(by_parts(0.5), objective="denoising").name == "trace halved"
    assert check_loss(by_parts_at_levels(lambda s, y: s**2), objective=MANY)
    of_y = by_parts_at_levels(lambda s, y: 1 + y[:, 0] ** 2)
    assert check_loss(of_y, objective=MANY).verdict == "FAIL"  # a weight of x~ needs its gradient


def test_rows_keep_their_weights_where_single_entries_are_masked():
    def loss(fn, x, rng, tokens):
        n, L, _ = x.shape
        sigma, z = rng.uniform(0.2, 1.0, (n, 1, 1)), rng.standard_normal(x.shape)
        mask = np.arange(L) != rng.integers(0, L, (n, 1))
        r = sigma * fn(x + sigma * z, sigma[:, 0, 0]) + z
        return (mask[..., None] * r**2).sum() / (mask.sum() * tokens)

    report = check_loss(loss, objective=MANY, shape=(3, 2), condition={"tokens": 2})
    assert report and any("weights of their own" in note for note in report.notes), report


def test_a_row_that_is_masked_whole_leaves_no_level_out():
    def loss(fn, x, sigmas, level, noise, rng):
        s = sigmas[level][:, None]
        mask = rng.random(x.shape) < 0.5
        return np.mean(np.sum(mask * (s * fn.score(x + s * noise, s[:, 0]) + noise) ** 2, axis=1))

    reports = [check_loss(loss, objective=MANY, rng=seed) for seed in range(4)]
    assert all(reports), reports


def kernel(t):
    """c and sigma of score_sde's tutorial."""
    return 1.0, np.sqrt((25.0 ** (2 * t) - 1) / (2 * np.log(25.0)))


def score_sde(sign=1.0):
    """Its loss_fn(model, x, eps=1e-5), eps the smallest time."""

    def loss(model, x, rng, eps=1e-5):
        t, z = rng.random(len(x)) * (1 - eps) + eps, rng.standard_normal(x.shape)
        std = kernel(t)[1][:, None]
        return np.mean(np.sum((model(x + z * std, t) * std + sign * z) ** 2, axis=1))

    return loss


def test_a_number_by_default_is_no_noise():
    assert check_loss(score_sde(), objective=MANY, kernel=kernel)
    assert check_loss(score_sde(-1.0), objective=MANY, kernel=kernel).verdict == "FAIL"


# ------------------------------------------------------------------------------- timesteps

BAR = np.cumprod(1 - np.linspace(0.02, 0.4, 8))
SCHEDULE = np.stack([np.sqrt(BAR), np.sqrt(1 - BAR)], axis=1)


def drawn_from(low, high):
    def loss(fn, x, rng):
        t, e = rng.integers(low, high, size=len(x)), rng.standard_normal(x.shape)
        a = BAR[t][:, None]
        return np.mean((fn(np.sqrt(a) * x + np.sqrt(1 - a) * e, t) - e) ** 2)

    return loss


def test_of_a_short_schedule_every_level_must_turn_up():
    of = {"objective": MANY, "levels": SCHEDULE, "predicts": "eps"}
    assert check_loss(drawn_from(0, 8), **of)
    for low, high, which in ((1, 7, "levels 0, 7 of the 8"), (0, 7, "level 7 of the 8")):
        report = check_loss(drawn_from(low, high), **of)
        assert report.verdict == "FAIL" and f"level forgotten: {which}" in report.diagnosis, report


def test_a_level_that_is_told_by_another_number_is_remarked():
    def told(shift):
        def loss(fn, x, t, rng):
            e, a = rng.standard_normal(x.shape), BAR[t][:, None]
            return np.mean((fn(np.sqrt(a) * x + np.sqrt(1 - a) * e, t + shift) - e) ** 2)

        return check_loss(loss, objective=MANY, levels=SCHEDULE, predicts="eps")

    assert told(1) and any("the number of its level +1" in note for note in told(1).notes)
    assert told(0) and not any("the number of its level" in note for note in told(0).notes)


# ------------------------------------------------------------------------------- gradients of surrogates


@pytest.mark.parametrize("square, right", [(1.0, True), (0.5, False)])
def test_a_loss_whose_value_is_a_surrogate_is_judged_by_its_gradient(square, right):
    torch = pytest.importorskip("torch")

    def loss(fn, x):
        x = x.requires_grad_(True)
        s = -torch.autograd.grad(fn(x).sum(), x, create_graph=True)[0]
        columns = [torch.autograd.grad(s[:, i].sum(), x, create_graph=True)[0][:, i] for i in range(x.shape[1])]
        return (square * (s * s.detach()).sum(-1) + sum(columns)).mean()

    report = check_loss(loss, objective="implicit", wrap="torch")
    assert bool(report) is right and report.verdict != "INCONCLUSIVE", report
    assert not right or "its gradient in the parameters is" in report.notes[-1]


@pytest.mark.parametrize("objective", ["sliced", "implicit"])
def test_directions_of_another_law_are_no_surrogate(objective):
    torch = pytest.importorskip("torch")

    def loss(fn, x):
        x, v = x.requires_grad_(True), torch.rand_like(x)
        s = fn(x)
        along = torch.autograd.grad((v * s).sum(), x, create_graph=True)[0]
        return (0.5 * (s * s).sum(-1) + (v * along).sum(-1)).mean()

    assert check_loss(loss, objective=objective, wrap="torch").verdict == "FAIL"


# ------------------------------------------------------------------------------- samplers


def langevin_at_each_level(noise=np.sqrt, steps=5):
    def step(x, fn, level, rng):
        a = 0.05 * level**2
        for _ in range(steps):
            x = x + 0.5 * a * fn(x, level) + noise(a) * rng.standard_normal(x.shape)
        return x

    return step


def test_several_langevin_steps_at_each_level_are_annealed_langevin_dynamics():
    levels = np.geomspace(3.0, 0.3, 6)
    report = check_reverse(langevin_at_each_level(), levels=levels, kind="annealed", n=4000)
    assert report and report.notes[0] == "this is several Langevin steps at each level", report
    report = check_reverse(langevin_at_each_level(lambda a: a), levels=levels, kind="annealed", n=4000)
    assert report.verdict == "FAIL" and report.name == "noise without root", report


def test_a_proposal_changed_in_place_is_always_accepted():
    def step(x, score, step_size, energy, rng):
        y = x = x.copy()
        y += 0.9 * rng.standard_normal(x.shape)
        return np.where((np.log(rng.random(len(x))) < energy(x) - energy(y))[:, None], y, x)

    report = check_sampler(step, discretisation="adjusted", n=4000)
    assert report.verdict == "FAIL" and report.name == "nothing rejected" and "changed in place" in report.diagnosis, (
        report
    )


def test_a_drift_divided_by_a_mean_over_the_batch_mixes_chains():
    def step(x, score, step_size, rng):
        g = score(x)
        drift = g / np.sqrt(0.9 + 0.1 * np.mean(g**2, axis=0))
        return x + 0.5 * step_size * drift + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)

    report = check_sampler(step, n=4000)
    assert report.verdict == "FAIL" and report.name == "rows mixed", report


# ------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("power, word", [(0, "missing"), (2, "twice")])
def test_the_chain_rule_of_a_logarithm(power, word):
    """x is lognormal: d log p / dx = -(1 + (log x - m)/s^2) / x."""
    x = np.random.default_rng(0).lognormal(size=(7, 2))

    def logpdf(x):
        with np.errstate(all="ignore"):
            return np.sum(-np.log(x) - (np.log(x) - 0.2) ** 2 / 0.72, axis=1)

    report = check_score(lambda x: -(1 + (np.log(x) - 0.2) / 0.36) / x**power, logpdf=logpdf, x=x)
    assert report.verdict == "FAIL" and report.name == "chain rule" and word in report.diagnosis, report
    assert check_score(lambda x: -(1 + (np.log(x) - 0.2) / 0.36) / x, logpdf=logpdf, x=x)


# ------------------------------------------------------------------------------- traces, and steps with the law of others


def test_an_exact_trace_along_random_axes_by_differences_is_right():
    """Its calls differ by what differences leave, 1e-9, and not by chance."""
    x = np.random.default_rng(1).standard_normal((5, 3))
    score = lambda x: -np.tanh(x @ A) @ A.T

    def trace(x, rng, h=1e-4, times=1.0):
        axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        return times * sum(((score(x + h * q) - score(x - h * q)) @ q) / (2 * h) for q in axes)

    assert (report := check_trace(trace, score=score, x=x)), report
    assert check_trace(lambda x, rng: trace(x, rng, times=1 + 1e-6), score=score, x=x).verdict == "FAIL"
    scaled = lambda x: np.einsum(
        "nii->n", -((1 - np.tanh(x @ A) ** 2)[:, None] * A) @ A.T * np.array([0.6, 1.3, 0.4]) ** 2
    )
    report = check_trace(scaled, score=score, x=np.concatenate([x, 1.5 * x]))
    assert report.name == "weights of the entries" and "scaled coordinates" in report.diagnosis, report


A = np.random.default_rng(2).standard_normal((3, 3))


class Kept:
    """Noise that is the mean of this step's and the last one's: exact on a Gaussian (Leimkuhler & Matthews)."""

    def __init__(self):
        self.last = {}

    def __call__(self, x, score, step_size, rng):
        z = rng.standard_normal(x.shape)
        last, self.last[x.shape] = self.last.get(x.shape, z), z
        return x + step_size * score(x) + np.sqrt(step_size / 2) * (z + last)


def test_a_step_with_the_law_of_the_target_or_of_euler_s_step_has_a_right_law():
    def leapfrogs(x, score, step_size, rng, kick=0.5):
        h, p = np.sqrt(2 * step_size), rng.standard_normal(x.shape)
        for _ in range(3):
            p = p + kick * h * score(x)
            x = x + h * p
            p = p + kick * h * score(x)
        return x

    report = check_sampler(leapfrogs)
    assert report and "the law of Euler's step" in report.notes[0], report
    assert check_sampler(lambda x, score, step_size, rng: leapfrogs(x, score, step_size, rng, 1.0)).verdict == "FAIL"
    report = check_sampler(Kept())
    assert report and "the target itself" in report.notes[-1], report


def slopes(second=lambda s, t: t, first=lambda s, t: s):
    def heun(x, fn, s, t):
        d = -first(s, t) * fn(x, s)
        return x + (t - s) * (d - second(s, t) * fn(x + (t - s) * -s * fn(x, s), t)) / 2

    return check_reverse(heun, levels=np.geomspace(5.0, 0.5, 7), n=2000)


def test_one_wrong_slope_of_heun_s_step_is_named():
    assert slopes()
    report = slopes(lambda s, t: t * t / s)  # the second one divided by the first sigma
    assert report.verdict == "FAIL" and "second slope" in report.diagnosis, report
    report = slopes(lambda s, t: 1.0, lambda s, t: 1.0)
    assert report.verdict == "FAIL" and "sigma of each slope forgotten" in report.diagnosis, report


# ------------------------------------------------------------------------------- a sixth look: terms, matrices, entries


def cast(term, kind):
    """An implicit loss one of whose terms is cast, or rounded."""

    def loss(fn, x):
        terms = {"square": half(fn.score(x)), "trace": fn.trace(x)}
        terms[term] = kind(terms[term])
        return np.mean(terms["square"] + terms["trace"])

    return loss


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (cast("trace", lambda t: t.astype(int)), "the trace is rounded to whole numbers"),
        (cast("trace", lambda t: np.round(t, 2)), "the trace is rounded to 0.01"),
        (cast("square", lambda s: np.round(s, 1)), "the square of the score is rounded to 0.1"),
    ],
)
def test_a_term_that_is_rounded_is_named_by_what_it_is_rounded_to(loss, said):
    report = check_loss(loss, objective="implicit")
    assert report.verdict == "FAIL" and report.name == "rounded" and said in report.diagnosis, report


def test_what_is_not_rounded_is_not_called_so():
    report = check_loss(cast("trace", lambda t: np.minimum(t, 1.0)), objective="implicit")
    assert report.verdict == "FAIL" and "rounded" not in report.diagnosis, report


SIX = np.random.default_rng(3).standard_normal((7, 3))
COVARIANCE = np.array([[1, 0.5, 0.2], [0.5, 1.4, -0.3], [0.2, -0.3, 0.8]])
PRECISION, ROOT = np.linalg.inv(COVARIANCE), np.linalg.cholesky(COVARIANCE)
TILTED = np.array([[2, 0.7, 0.1], [0.1, 1.5, 0.4], [0.3, -0.2, 1.0]])


def of_matrix(B, precision=PRECISION):
    """check_score of -B (x - mu) beside the Gaussian of that precision."""
    mu = np.array([0.3, -0.2, 0.5])
    energy = lambda x: 0.5 * np.einsum("ni,ij,nj->n", x - mu, precision, x - mu)
    return check_score(lambda x: -(x - mu) @ np.transpose(B), energy=energy, x=SIX)


@pytest.mark.parametrize(
    ("B", "name"),
    [
        (COVARIANCE, "inverse matrix"),
        (np.diag(np.diag(PRECISION)), "correlations left out"),
        (np.diag(1 / np.diag(COVARIANCE)), "correlations left out"),
        (np.tril(PRECISION), "triangle"),
        (np.triu(PRECISION), "triangle"),
        (ROOT, "root of the matrix"),
        (np.linalg.inv(ROOT), "root of the matrix"),
        (np.linalg.inv(ROOT).T, "root of the matrix"),
        (PRECISION @ PRECISION, "squared matrix"),
        (COVARIANCE @ COVARIANCE, "squared matrix"),
        (ROOT.T @ ROOT @ np.diag([1.0, 2, 3]), "not symmetric"),
    ],
)
def test_the_matrix_of_a_gaussian_is_named(B, name):
    report = of_matrix(B)
    assert report.verdict == "FAIL" and report.name == name, report


def test_a_matrix_that_is_not_symmetric_and_a_product_in_another_order_are_named():
    for A, precision in ((TILTED, TILTED), (TILTED, 2 * TILTED)):
        report = of_matrix(A, precision)
        assert report.verdict == "FAIL" and report.name == "not symmetric" and "A^T" in report.diagnosis, report
    assert of_matrix(TILTED @ TILTED.T, TILTED.T @ TILTED).name == "same eigenvalues"
    assert of_matrix(PRECISION)


def test_the_derivative_of_a_pair_in_one_of_its_coordinates_alone_is_no_gradient():
    energy = lambda x: np.sum(x**2, 1) / 2 + np.sum(np.cos(x[:, 1:] - x[:, :-1]), 1)

    def score(x, both=1.0):
        pull, out = np.sin(x[:, 1:] - x[:, :-1]), -x
        out[:, 1:] += pull
        out[:, :-1] -= both * pull
        return out

    assert check_score(score, energy=energy, x=SIX)
    report = check_score(lambda x: score(x, 0.0), energy=energy, x=SIX)
    assert report.name == "some dimensions" and "no gradient" in report.diagnosis, report


def by_entries(size, c=lambda t: 1 + 0 * t):
    """A loss that draws one t for each entry."""

    def loss(fn, x, rng):
        t, z = rng.uniform(0.1, 0.9, x.shape), rng.standard_normal(x.shape)
        return np.mean(np.sum((size(t) * fn(c(t) * x + size(t) * z, t[:, 0]) + z) ** 2, 1))

    return loss


@pytest.mark.parametrize("loss", [by_entries(lambda t: t), by_entries(np.sin, np.cos)])
def test_a_level_for_each_entry_is_named(loss):
    report = check_loss(loss, objective=MANY)
    assert report.verdict == "FAIL" and "entries of a point" in report.diagnosis, report


def test_noise_that_is_given_and_multiplies_the_data_is_named():
    loss = lambda fn, x, sigma, noise: np.mean(half(fn.score(x + sigma * x * noise) + noise / sigma))
    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and report.name == "noise that multiplies the data", report


# ------------------------------------------------------------------------------- a sixth look: estimates, gradients, samplers, ladders


NET = np.array([[1.0, 0.5, -0.3], [0.2, 1.2, 0.4], [-0.6, 0.1, 0.9]])
tanh_score = lambda x: -np.tanh(x @ NET) @ NET.T
tanh_jacobian = lambda x: -np.einsum("ik,nk,jk->nij", NET, 1 - np.tanh(x @ NET) ** 2, NET)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_log_determinant_of_a_change_of_variables_is_no_trace(sign):
    theirs = lambda x: np.linalg.slogdet(np.eye(3) + sign * tanh_jacobian(x))[1]
    report = check_trace(theirs, score=tanh_score, x=SIX)
    assert report.name == "log determinant" and f"I {'+' if sign > 0 else '-'} J" in report.diagnosis, report


def test_the_mean_length_of_j_v_is_the_frobenius_norm_and_no_direction_that_is_not_centred():
    draw = lambda x, rng: np.einsum("nij,nj->ni", tanh_jacobian(x), rng.choice([-1.0, 1.0], x.shape))
    report = check_trace(lambda x, rng: np.sum(draw(x, rng) ** 2, 1), score=tanh_score, x=SIX)
    assert report.verdict == "FAIL" and report.name == "Frobenius norm", report


def test_a_score_of_two_values_is_not_in_half_precision():
    x = SIX + 0.3 * np.sign(SIX)
    assert check_score(lambda x: -np.sign(x) / 0.8, energy=lambda x: np.abs(x).sum(1) / 0.8, x=x)
    half = lambda x: -x.astype(np.float16).astype(float)
    assert check_score(half, energy=lambda x: np.sum(x**2, 1) / 2, x=x).name == "precision"


TABLE_OF = np.random.default_rng(4).standard_normal((9, 4))


def of_theta(theta):
    r = TABLE_OF @ theta.reshape(-1) - 1
    return np.mean(r**2 + 0.3 * r**4)


def test_a_gradient_by_long_forward_differences_and_one_that_was_kept_are_named():
    theta = np.array([0.3, -0.2, 0.5, 0.1])
    slope = lambda t: TABLE_OF.T @ (lambda r: 2 * r + 1.2 * r**3)(TABLE_OF @ t - 1) / 9
    assert check_gradient(of_theta, slope, theta)
    forward = lambda t: np.array([(of_theta(t + 0.1 * e) - of_theta(t)) / 0.1 for e in np.eye(4)])
    report = check_gradient(of_theta, forward, theta)
    assert report.name == "one-sided difference" and "step 0.1" in report.diagnosis, report
    assert (
        "those of degree 2 are missing in your gradient; the others are right (or it was computed once, and kept"
        in check_gradient(lambda t: np.sum((TABLE_OF @ t - 1) ** 2), lambda t: -2 * TABLE_OF.sum(0), theta).diagnosis
    )


def metropolis(accept):
    """MALA whose proposals are taken by `accept` (uniform numbers, log ratio of each coordinate) -> bool (n, d)."""

    def step(x, score, step_size, rng):
        gap = lambda a, b: (a - b - step_size * score(b)) ** 2 / (4 * step_size)
        y = x + step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
        each = ((x - 0.7) ** 2 - (y - 0.7) ** 2) / 3.2 - gap(x, y) + gap(y, x)
        return np.where(accept(rng.uniform(size=x.shape), each), y, x)

    return step


def test_one_decision_is_taken_for_a_row_or_each_coordinate_has_a_ratio_of_its_own():
    own = metropolis(lambda u, r: np.log(u) < r)
    joint = metropolis(lambda u, r: np.log(u) < r.sum(1, keepdims=True))
    say = lambda step: check_sampler(step, discretisation="adjusted", step_size=0.9)
    assert say(own)
    assert say(joint).name == "accepted by coordinate"


def test_accepted_points_that_are_put_into_other_rows_mix_chains():
    def step(x, score, step_size, energy, rng):
        y = x + step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
        gap = lambda a, b: np.sum((a - b - step_size * score(b)) ** 2, 1) / (4 * step_size)
        take = np.log(rng.uniform(size=len(x))) < energy(x) - energy(y) - gap(x, y) + gap(y, x)
        out = x.copy()
        out[take] = y[: take.sum()]
        return out

    assert check_sampler(step, discretisation="adjusted", step_size=0.8).name == "rows mixed"


def test_noise_before_the_drift_is_another_splitting():
    def step(x, score, step_size, rng):
        y = x + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
        return y + step_size * score(y)

    report = check_sampler(step)
    assert report and "noise before the drift" in report.notes[0], report


LADDER = np.stack([np.sqrt(BAR), np.sqrt(1 - BAR)], axis=1)
BETAS = 1 - BAR / np.append(1.0, BAR[:-1])


def ddpm(beta=lambda t: BETAS[t], scale=lambda t: np.sqrt(1 - BETAS[t]), small=True):
    """One of DDPM's steps, with fn a network that predicts the noise."""

    def step(x, fn, t, rng):
        b = beta(t)
        mean = (x - b / np.sqrt(1 - BAR[t]) * fn(x, t)) / scale(t)
        share = (1 - BAR[t - 1]) / (1 - BAR[t]) if small else 1.0
        return mean + np.sqrt(b * share) * rng.standard_normal(x.shape)

    return step


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (ddpm(), ""),
        (ddpm(scale=lambda t: np.sqrt(BAR[t])), "alpha_bar in place of alpha"),
        (ddpm(scale=lambda t: 1 - BETAS[t]), "alpha in place of its root"),
        (ddpm(lambda t: BETAS[t - 1], lambda t: np.sqrt(1 - BETAS[t - 1])), "beta of another step"),
        (ddpm(lambda t: BETAS[t - 1], lambda t: np.sqrt(1 - BETAS[t - 1]), False), "beta of another step"),
    ],
)
def test_of_a_ddpm_step_the_quantity_that_is_another_is_named(step, name):
    report = check_reverse(step, levels=LADDER, kind="ancestral", predicts="eps")
    assert report.verdict == "PASS" if not name else report.name == name, report


def test_a_level_that_is_skipped_is_named():
    def step(x, fn, t, below):
        (c, s), (d, r) = LADDER[t], LADDER[max(below - 1, 0)]
        eps = fn(x, t)
        return d * (x - s * eps) / c + r * eps

    assert check_reverse(step, levels=LADDER, kind="ddim", predicts="eps").name.startswith("a level skipped")


# ------------------------------------------------------------------------------- a sixth look: losses


@pytest.mark.parametrize("target", [lambda z, s: -z, lambda z, s: -s * z])
def test_a_network_may_be_the_score_times_sigma_and_is_not_accused_unless_it_is_said(target):
    def loss(fn, x, sigmas, level, rng):
        s, z = sigmas[level][:, None], rng.standard_normal(x.shape)
        return np.mean((fn(x + s * z) - target(z, s)) ** 2)

    report = check_loss(loss, objective=MANY)
    assert report.verdict == "INCONCLUSIVE" and report.name == "noise or score", report
    assert check_loss(loss, objective=MANY, model="noise")
    assert check_loss(loss, objective=MANY, predicts="score").name == "scale of the target"


KERNEL = lambda t: (np.cos(t), np.sin(t))


@pytest.mark.parametrize(
    ("kernel", "words"),
    [
        (lambda c, s: (c**2, s**2), "these are the squares"),
        (lambda c, s: (c, s**2), "sigma is squared"),
        (lambda c, s: (s, c), "c and sigma are exchanged"),
        (lambda c, s: (1 + 0 * c, s), "x is not scaled"),
    ],
)
def test_what_a_kernel_is_in_place_of_the_one_that_is_meant_is_said(kernel, words):
    def loss(fn, x, t, rng):
        c, s = kernel(*(a[:, None] for a in KERNEL(t)))
        z = rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * z, t) - z) ** 2)

    report = check_loss(loss, objective=MANY, predicts="eps", kernel=KERNEL)
    assert report.name == "other noise level" and words in report.diagnosis, report


def test_noise_that_is_normalised_is_no_other_level():
    def loss(fn, x, t, rng):
        c, s = (a[:, None] for a in KERNEL(t))
        z = rng.standard_normal(x.shape)
        z *= np.sqrt(x.shape[1]) / np.linalg.norm(z, axis=1, keepdims=True)
        return np.mean((fn(c * x + s * z, t) - z) ** 2)

    assert "noise normalised" in check_loss(loss, objective=MANY, predicts="eps", kernel=KERNEL).diagnosis


def test_on_a_bridge_one_level_belongs_to_two_times():
    def bridge(size):
        def loss(fn, x, t, noise):
            s = size(t)[:, None]
            return np.mean(np.sum(s**2 * (fn(x + s * noise, t) + noise / s) ** 2, 1))

        return loss

    assert check_loss(bridge(lambda t: np.sqrt(t * (1 - t))), objective=MANY, predicts="score")
    rolled = lambda fn, x, t, noise: bridge(lambda t: np.sqrt(t * (1 - t)))(
        lambda y, t: fn(y, np.roll(t, 1)), x, t, noise
    )
    assert check_loss(rolled, objective=MANY, predicts="score").name == "level told"


def test_a_level_that_an_earlier_call_has_left_is_state():
    kept = []

    def loss(fn, x, sigmas, level, noise):
        s = sigmas[level]
        told = kept[-1] if kept and len(kept[-1]) == len(s) else s
        kept.append(s)
        return np.mean((s[:, None] * fn(x + s[:, None] * noise, told) + noise) ** 2)

    report = check_loss(loss, objective=MANY, predicts="score")
    assert report.verdict == "FAIL" and report.name == "state", report


def test_a_second_difference_divided_by_the_step_once_is_named():
    def loss(fn, x, eps, probes):
        up, mid, down = fn(x + eps * probes), fn(x), fn(x - eps * probes)
        return np.mean((up - down) ** 2 / (8 * eps**2) - (up + down - 2 * mid) / eps)

    report = check_loss(loss, objective="finite_difference_sliced")
    assert report.verdict == "FAIL" and "the second difference lacks a division by the step" in report.diagnosis, report


def beside_the_clean_points(extra):
    """A right denoising loss, and something of the score at the clean points."""

    def loss(fn, x, sigma, noise):
        return np.mean(half(fn(x + sigma * noise) + noise / sigma) + extra(fn(x), noise / sigma))

    return loss


@pytest.mark.parametrize("model", ["energy", "score"])
def test_what_stands_at_the_clean_points_is_a_control_variate_or_a_fault(model):
    def loss(extra):
        of = (lambda fn: fn.score) if model == "energy" else (lambda fn: fn)
        return lambda fn, x, sigma, noise: beside_the_clean_points(extra)(of(fn), x, sigma, noise)

    say = lambda extra: check_loss(loss(extra), objective="denoising", model=model)
    assert say(lambda s, e: -np.sum(s * e, 1))
    for extra in (lambda s, e: 0.1 * np.sum(s**2, 1), lambda s, e: np.sum(s, 1)):
        assert say(extra).name == "extra term"


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_that_never_changes_is_seen_beside_levels_that_do(seed):
    def loss(fn, x, sigmas, rng):
        s = sigmas[rng.integers(len(sigmas), size=len(x))][:, None]
        z = np.random.default_rng(seed).standard_normal(x.shape)
        return np.mean((s * fn(x + s * z, s[:, 0]) + z) ** 2)

    assert check_loss(loss, objective=MANY, predicts="score").name == "fixed noise"


def test_the_sigma_of_another_level_is_told_whatever_the_permutation():
    def loss(fn, x, rng, shift=1):
        S = np.array([0.9, 0.6, 0.3, 0.1])
        k, z = rng.integers(4, size=len(x)), rng.standard_normal(x.shape)
        s = S[k][:, None]
        return np.mean((s * fn(x + s * z, S[(k + shift) % 4]) + z) ** 2)

    assert check_loss(lambda fn, x, rng: loss(fn, x, rng, 0), objective=MANY, predicts="score")
    assert check_loss(loss, objective=MANY, predicts="score").name == "level told"


def test_a_sigma_that_is_said_is_held_against_the_noise():
    loss = lambda own: lambda fn, x, noise: np.mean(half(fn(x + own * noise) + noise / own))
    say = lambda own: check_loss(loss(own), objective="denoising", model="score", sigma=0.3)
    assert say(0.3)
    report = say(0.09)
    assert report.name == "other noise level" and "a variance" in report.diagnosis, report


@pytest.mark.parametrize("of", ["x", "v"])
def test_mapped_data_and_a_schedule_in_single_precision(of):
    bar = np.cumprod(1 - np.linspace(0.02, 0.4, 8)).astype(np.float32)

    def loss(fn, x, t, rng):
        c, s = (np.sqrt(a[t])[:, None].astype(float) for a in (bar, 1 - bar))
        x, z = 2 * x - 1, rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * z, t) - (x if of == "x" else c * z - s * x)) ** 2)

    assert check_loss(loss, objective=MANY, predicts=of, levels=np.arange(8))


def test_minus_the_score_is_a_sign_and_no_difference_quotient():
    energy = lambda x: np.sum(np.log1p(np.exp(-3 * x**2)) + 0.5 * x**2, 1)
    score = lambda x: 6 * x / (1 + np.exp(3 * x**2)) - x
    assert check_score(score, energy=energy, x=SIX)
    assert check_score(lambda x: -score(x), energy=energy, x=SIX).name == "sign"


def test_a_sampler_gets_one_log_density_whatever_the_call():
    seen = []

    def step(x, score, step_size, logpdf, rng):
        seen.append(logpdf)
        y = x + step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
        gap = lambda a, b: np.sum((a - b - step_size * score(b)) ** 2, 1) / (4 * step_size)
        take = np.log(rng.uniform(size=len(x))) < logpdf(y) - logpdf(x) - gap(x, y) + gap(y, x)
        return np.where(take[:, None], y, x)

    assert check_sampler(step, discretisation="adjusted") and len(set(map(id, seen))) <= 2


def test_a_step_without_x_and_one_that_keeps_what_the_network_said_are_named():
    increment = lambda x, score, step_size, rng: (
        step_size * score(x) + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
    )
    assert check_sampler(increment).name == "x left out"
    kept = {}

    def step(x, fn, t, below):
        (c, s), (d, r) = LADDER[t], LADDER[below]
        eps = kept.setdefault("eps", None)
        if eps is None or len(eps) != len(x):
            eps = kept["eps"] = fn(x, t)
        return d * (x - s * eps) / c + r * eps

    assert check_reverse(step, levels=LADDER, kind="ddim", predicts="eps").name == "state"


# ------------------------------------------------------------------------------- after a referee's reading of the names


def test_the_answer_of_a_network_that_is_kept_changes_nothing_later():
    kept = {}

    def step(x, fn, t, below):
        (c, s), (d, r) = LADDER[t], LADDER[below]
        eps = kept.setdefault(x.shape, fn(x, t))
        return d * (x - s * eps) / c + r * eps

    assert check_reverse(step, levels=LADDER, kind="ddim", predicts="eps").name == "answer not used"


@pytest.mark.parametrize("name", ["alpha of the single step", "ratio upside down"])
def test_single_steps_and_a_ratio_upside_down_are_named_in_a_step(name):
    alone = np.stack([np.sqrt(1 - BETAS), np.sqrt(BETAS)], axis=1)

    def single(x, fn, t, below):
        (c, s), (d, r) = alone[t], alone[below]
        eps = fn(x, t)
        return d * (x - s * eps) / c + r * eps

    def turned(x, fn, t, rng):
        mean = (x - BETAS[t] / np.sqrt(1 - BAR[t]) * fn(x, t)) / np.sqrt(1 - BETAS[t])
        return mean + np.sqrt(BETAS[t] * (1 - BAR[t]) / (1 - BAR[t - 1])) * rng.standard_normal(x.shape)

    step, kind = (single, "ddim") if name.startswith("alpha") else (turned, "ancestral")
    assert name in check_reverse(step, levels=LADDER, kind=kind, predicts="eps").diagnosis


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (np.stack([np.sqrt(1 - BETAS), np.sqrt(BETAS)], axis=1), "alpha of the single step"),
        (np.stack([BAR**0.25, np.sqrt(1 - BAR**0.5)], axis=1), "a square is left out"),
    ],
)
def test_what_a_schedule_is_in_place_of_the_one_that_is_meant_is_said(schedule, words):
    def loss(fn, x, t, rng):
        c, s = schedule[t].T[:, :, None]
        z = rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * z, t) - z) ** 2)

    report = check_loss(loss, objective=MANY, predicts="eps", levels=LADDER)
    assert report.name == "other noise level" and words in report.diagnosis, report


@pytest.mark.parametrize("sign", [1, -1])
def test_the_velocity_of_a_path_on_the_circle_is_a_multiple_of_v(sign):
    def loss(fn, x, t, noise):
        c, s = (f(np.pi / 2 * t)[:, None] for f in (np.cos, np.sin))
        return np.mean((fn(c * x + s * noise, t) - np.pi / 2 * (c * noise - sign * s * x)) ** 2)

    report = check_loss(loss, objective=MANY, predicts="velocity")
    assert report if sign > 0 else report.name == "sign of one term of the target", report


def test_a_regulariser_of_its_own_number_may_have_the_wrong_sign():
    loss = lambda sign: (
        lambda fn, x: np.mean(
            half(fn.score(x)) + fn.trace(x) + sign * 0.1 * np.sum(np.einsum("nii->ni", fn.jacobian(x)) ** 2, 1)
        )
    )
    assert check_loss(loss(1), objective="regularised")
    assert check_loss(loss(-1), objective="regularised").name == "sign of the regulariser"


@pytest.mark.parametrize("model", ["energy", "score"])
def test_a_product_with_v_that_is_left_out_is_named(model):
    def loss(fn, x, rng):
        v = rng.choice([-1.0, 1.0], x.shape)
        return np.mean(half(fn.score(x)) + np.sum(fn.jvp(x, v), 1))

    report = check_loss(loss, objective="sliced", model=model)
    assert report.verdict == "FAIL" and (
        "v is left out" in report.diagnosis or "not its product with v" in report.diagnosis
    ), report


def test_a_gradient_that_draws_numbers_of_its_own_is_random():
    own = np.random.default_rng(99)
    loss = lambda t: np.mean((TABLE_OF @ t - 1) ** 2)
    slope = lambda t: 2 * TABLE_OF.T @ (TABLE_OF @ t - 1 + 0.1 * own.standard_normal(9)) / 9
    report = check_gradient(loss, slope, np.array([0.3, -0.2, 0.5, 0.1]))
    assert report.verdict == "INCONCLUSIVE" and report.name == "random gradient", report


def test_two_dimensions_that_are_exchanged_are_said_of_what_is_no_gradient():
    score = lambda x: tanh_score(x)[:, [1, 0, 2]]
    report = check_conservative(score, x=SIX)
    assert report.verdict == "FAIL" and "dimensions 0 and 1 of the score exchanged" in report.diagnosis, report
    assert "exchanged" not in check_conservative(lambda x: -x @ TILTED.T, x=SIX).diagnosis


def test_a_mixture_of_kernels_that_moves_some_coordinates_alone_is_right():
    def step(x, score, step_size, energy, rng):
        alone = (rng.uniform(size=(len(x), 1)) < 0.5) & (
            np.arange(x.shape[1]) > 0
        )  # the first coordinate moves by itself
        drift = lambda a: np.where(alone, 0.0, step_size * score(a))
        y = x + drift(x) + np.where(alone, 0.0, np.sqrt(2 * step_size) * rng.standard_normal(x.shape))
        gap = lambda a, b: np.sum((a - b - drift(b)) ** 2, 1) / (4 * step_size)
        take = np.log(rng.uniform(size=len(x))) < energy(x) - energy(y) - gap(x, y) + gap(y, x)
        return np.where(take[:, None], y, x)

    assert check_sampler(step, discretisation="adjusted", step_size=0.9)


def test_numbers_of_levels_are_no_sigmas_of_other_levels():
    def loss(fn, x, rng):
        S = np.array([3.0, 2.0, 1.0])
        k, z = rng.integers(3, size=len(x)), rng.standard_normal(x.shape)
        s = S[k][:, None]
        return np.mean((s * fn(x + s * z, k + 1) + z) ** 2)

    assert check_loss(loss, objective=MANY, predicts="score")
