"""What a pair of examiners found in the state before: wrong code that was misnamed or passed, with its name, and the right code beside it."""

import numpy as np
import pytest
from scipy import special

import numpyscore as ns
from numpyscore.check.losses.observe import LossCaller

half = lambda a: 0.5 * np.sum(a**2, axis=1)
X = 0.3 + np.random.default_rng(0).standard_normal((8, 3)) * [0.5, 1.5, 1.0]


def said(report, words):
    assert report.verdict == "FAIL" and words in report.diagnosis, report


# ------------------------------------------------------------------------------- steps that come down in level

ALPHA_BAR = np.cumprod(1 - np.linspace(2e-4, 0.3, 25))
LEVELS = np.stack([np.sqrt(ALPHA_BAR), np.sqrt(1 - ALPHA_BAR)], axis=1)


def ddim(turned=0.0, estimate=0):
    """In v; `turned` is the sign of sigma x in eps, `estimate` how many levels further x_0 is made."""

    def step(x, fn, t, s):
        v, (c, sigma), (d, tau) = fn(x, t), LEVELS[t + estimate * (s - t)], LEVELS[s]
        return d * (c * x - sigma * v) + tau * (c * v + (1 - 2 * turned) * sigma * x)

    return step


def test_a_sign_within_eps_or_x_0_is_told():
    check = lambda step: ns.check_reverse(step, levels=LEVELS, predicts="v", kind="ddim", n=2000)
    assert check(ddim())
    said(check(ddim(turned=1)), "sign within eps: eps is made of x and fn's v, and the sign of x in it is turned")


def test_a_step_that_stands_still_is_no_langevin_step():
    def eps_step(x, fn, t, s, of):
        e, (c, sigma), (d, tau) = fn(x, t), LEVELS[of(t, s)], LEVELS[s]
        return d * (x - sigma * e) / c + tau * e

    check = lambda of: ns.check_reverse(
        lambda x, fn, t, s: eps_step(x, fn, t, s, of), levels=LEVELS, predicts="eps", kind="ddim", n=2000
    )
    assert check(lambda t, s: t)
    said(check(lambda t, s: s), "no step: the points are returned as they came")


def test_noise_that_is_all_new_is_told():
    def step(x, fn, t, s, rng, kept):
        (c, sigma), (d, tau) = LEVELS[t], LEVELS[s]
        e = fn(x, t)
        return d * (x - sigma * e) / c + tau * (kept * e + np.sqrt(1 - kept**2) * rng.standard_normal(x.shape))

    check = lambda kept, kind: ns.check_reverse(
        lambda x, fn, t, s, rng: step(x, fn, t, s, rng, kept), levels=LEVELS, predicts="eps", kind=kind, n=4000
    )
    said(check(0.0, "ancestral"), "this is c' x_0 + sigma' z, with all of its noise drawn anew")
    assert check(0.9, "ddim")


def test_a_constant_step_of_time_on_levels_that_are_not_equally_far_apart_is_told():
    u = np.linspace(0.98, 0.04, 25)
    times = 3 * u / (1 + 2 * u)
    levels = {float(t): (1 - float(t), float(t)) for t in times}
    check = lambda step: ns.check_reverse(step, levels=levels, predicts="velocity", kind="euler", n=2000)
    assert check(lambda x, v, t, s: x + (s - t) * v(x, t))
    said(
        check(lambda x, v, t, s: x - 0.94 / 24 * v(x, t)),
        "it is the same in every step (a constant dt, a factor that is left out?), and the right one is not",
    )


VE = np.geomspace(10, 0.1, 24)


def corrected(told, many=2, old=False):
    """An ancestral step, and Langevin steps after it, at the points of the next level; fn is told `told` of both levels."""

    def step(x, fn, sigma, after, rng):
        beta, before = sigma**2 - after**2, x
        x = x + beta * fn(x, sigma) + np.sqrt(beta) * after / sigma * rng.standard_normal(x.shape)
        for _ in range(many):
            D = 0.05 * after**2
            x = x + D * fn(before if old else x, told(sigma, after)) + np.sqrt(2 * D) * rng.standard_normal(x.shape)
        return x

    return step


@pytest.mark.parametrize("many", [1, 2, 3])
def test_correctors_of_several_steps_are_asked_at_the_level_of_their_points(many):
    check = lambda *how: ns.check_reverse(
        corrected(how[0], many, *how[1:]), levels=VE, kind="predictor-corrector", n=4000
    )
    right = check(lambda here, after: after)
    assert right and f"then {'a Langevin step' if many == 1 else f'{many} Langevin steps'}" in right.notes[0], right
    said(check(lambda here, after: here), "level told: fn is told the one before, noisier in its call 2")
    said(
        check(lambda here, after: after, True), "level told: fn is asked twice at the same points, and told two levels"
    )


def annealed(one):
    def step(x, fn, sigma, after, rng):
        z = rng.standard_normal(x.shape)
        for _ in range(6):
            z = z if one else rng.standard_normal(x.shape)
            x = x + 0.02 * sigma**2 * fn(x, sigma) + np.sqrt(0.04) * sigma * z
        return x

    return step


def test_one_noise_for_all_steps_at_a_level_is_no_temperature():
    check = lambda one: ns.check_reverse(annealed(one), levels=VE, kind="annealed", n=4000)
    assert check(False)
    said(
        check(True),
        "repeated noise or temperature: the noise of the 6 steps at a level has 6 times the variance that belongs to their drift (one z for all of them,",
    )


def test_the_single_alpha_under_the_root_of_the_drift_is_told():
    betas = 1 - ALPHA_BAR / np.append(1.0, ALPHA_BAR[:-1])

    def ancestral(single):
        def step(x, fn, t, rng):
            beta, under = betas[t], betas[t] if single else 1 - ALPHA_BAR[t]
            mean = (x - beta / np.sqrt(under) * fn(x, t)) / np.sqrt(1 - beta)
            return mean + np.sqrt(beta * (1 - ALPHA_BAR[t - 1]) / (1 - ALPHA_BAR[t])) * rng.standard_normal(x.shape)

        return step

    check = lambda single: ns.check_reverse(ancestral(single), levels=LEVELS, predicts="eps", kind="ancestral", n=4000)
    assert check(False)
    said(check(True), "1 - alpha of the single step under the root of the drift, where 1 - alpha_bar belongs")


# ------------------------------------------------------------------------------- traces that are estimated

A = np.random.default_rng(2).standard_normal((4, 4))
POINTS = np.random.default_rng(3).standard_normal((5, 4))
score = lambda x: -x - 0.5 * np.tanh(x @ A.T) @ A
jacobian = lambda x: -np.eye(4) - 0.5 * np.einsum("ki,nk,kj->nij", A, 1 - np.tanh(x @ A.T) ** 2, A)


def along(v):
    """v.J v, with one v for each row."""

    def trace(x, rng):
        w = v(x.shape, rng)
        return np.einsum("ni,nij,nj->n", w, jacobian(x), w)

    return trace


def test_no_entry_is_missing_where_directions_are_not_centred():
    """The mean is a half of the trace and a half of all entries; of five rows that was "without entry 3"."""
    for seed in range(2):
        check = lambda v, seed=seed: ns.check_trace(along(v), score=score, x=POINTS, rng=seed)
        said(check(lambda shape, rng: rng.integers(0, 2, shape) * np.sqrt(2)), "directions not white")
        assert check(lambda shape, rng: 2.0 * rng.integers(0, 2, shape) - 1)


def coordinate(high):
    """d J_ii of a random i below `high`."""

    def trace(x, rng):
        i = rng.integers(0, high, len(x))
        return high * np.diagonal(jacobian(x), axis1=1, axis2=2)[np.arange(len(x)), i]

    return trace


def test_a_coordinate_that_is_never_drawn_is_noticed():
    """200 calls leave the mean within six standard errors; where it is three off, more are made."""
    assert all(ns.check_trace(coordinate(4), score=score, x=POINTS, rng=seed) for seed in range(4))
    assert not any(ns.check_trace(coordinate(3), score=score, x=POINTS, rng=seed) for seed in range(2))


# ------------------------------------------------------------------------------- scores


def test_a_score_that_is_right_here_and_there_uses_its_energy():
    energy = lambda x: special.huber(1.0, x).sum(1)
    x = np.random.default_rng(3).standard_normal((8, 3))
    check = lambda s: ns.check_score(s, energy=energy, x=x)
    assert check(lambda x: -np.clip(x, -1, 1))
    said(check(lambda x: -x), "some entries: of your score exactly the entries with |x_j| >")
    said(ns.check_score(lambda x: -x, energy=lambda x: half(3 * x) + np.cos(x).sum(1), x=X), "multiple of x")


# ------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("step, words", [(lambda g: g, "0.05 times the gradient"), (np.sign, "signs of the gradient")])
def test_a_gradient_after_a_step_of_an_optimiser_is_told(step, words):
    data = np.random.default_rng(5).standard_normal((40, 3))
    loss = lambda theta: np.mean(np.log(np.cosh(data @ theta))) + 0.1 * np.sum(theta**4)
    gradient = lambda theta: data.T @ np.tanh(data @ theta) / len(data) + 0.4 * theta**3
    theta = np.array([0.7, -0.6, 1.0])
    assert ns.check_gradient(loss, gradient, theta)
    report = ns.check_gradient(loss, lambda theta: gradient(theta - 0.05 * step(gradient(theta))), theta)
    said(report, "after a step: your gradient is that of the loss at theta moved by -0.05 times")
    said(report, words)


# ------------------------------------------------------------------------------- denoising losses


def denoising(shaped):
    """A loss whose errors r are squared as `shaped(r, z, rng)`."""

    def loss(fn, x, sigma, rng):
        z = rng.standard_normal(x.shape)
        return np.mean(shaped(fn.score(x + sigma * z) + z / sigma, z, rng))

    return loss


METRIC = np.eye(5) + 0.4


@pytest.mark.parametrize(
    "name, shaped, right",
    [
        ("signs", lambda r, z, rng: np.sum(rng.choice([-1, 1], r.shape) * r, 1) ** 2, True),
        ("normals", lambda r, z, rng: np.sum(rng.standard_normal(r.shape) * r, 1) ** 2, True),
        ("one matrix", lambda r, z, rng: np.sum(r @ METRIC[: r.shape[1], : r.shape[1]] * r, 1), True),
        ("sum before the square", lambda r, z, rng: np.sum(r, 1) ** 2, False),
        ("along the noise", lambda r, z, rng: np.sum(z * r, 1) ** 2, False),
        ("signs by whole numbers", lambda r, z, rng: np.sum((2 * rng.integers(0, 2, r.shape) - 1) * r, 1) ** 2, True),
        (
            "three draws",
            lambda r, z, rng: sum(np.sum(rng.standard_normal(r.shape) * r, 1) ** 2 for _ in range(3)),
            True,
        ),
        (
            "a block of three",
            lambda r, z, rng: np.mean(np.sum(rng.standard_normal((3, *r.shape)) * r, 2) ** 2, 0),
            True,
        ),
        ("along the signs of the noise", lambda r, z, rng: np.sum(np.sign(z) * r, 1) ** 2, False),
        ("along the noise of other columns", lambda r, z, rng: np.sum(np.roll(z, 1, 1) * r, 1) ** 2, False),
        ("one direction", lambda r, z, rng: np.sum(r * [1, -2, 0.5, 3, 1][: r.shape[1]], 1) ** 2, False),
    ],
)
def test_errors_squared_along_drawn_directions_are_right_unless_they_leave_one_out(name, shaped, right):
    report = ns.check_loss(denoising(shaped), objective="denoising")
    assert report.verdict == ("PASS" if right else "FAIL"), report
    assert any("squared along directions, or by a matrix" in note for note in report.notes) == right


def test_errors_squared_along_the_data_are_not_right():
    """E[x x^T | x~] goes with what is behind the noisy point: the minimiser of (x.(s + z/sigma))^2 is another."""

    def loss(fn, x, sigma, rng):
        z = rng.standard_normal(x.shape)
        return np.mean(np.sum(x * (fn.score(x + sigma * z) + z / sigma), 1) ** 2)

    said(ns.check_loss(loss, objective="denoising"), "wrong square")


SIGMA = 0.6


@pytest.mark.parametrize(
    "weights, words",
    [
        (
            lambda x, z, rng: np.abs(z),
            "weights of the noise: the weight of an entry grows with the size of its own noise",
        ),
        (
            lambda x, z, rng: 1 / (1 + z**2),
            "weights of the noise: the weight of an entry falls with the size of its own noise",
        ),
        (lambda x, z, rng: z > 0, "weights of the noise: the weight of an entry grows with its own noise"),
        (lambda x, z, rng: x**2, "weights of the data: the weight of an entry grows with the size of its own data"),
        (
            lambda x, z, rng: np.sum(x**2, 1, keepdims=True),
            "weights of the data: the weight of a row grows with the size",
        ),
        (lambda x, z, rng: (x + SIGMA * z) ** 2, ""),
        (lambda x, z, rng: np.sum((x + SIGMA * z) ** 2, 1, keepdims=True), ""),
        (lambda x, z, rng: rng.random(x.shape) > 0.4, ""),
        (lambda x, z, rng: rng.random(x.shape) > 0.1, ""),  # of six entries it may leave all
        (lambda x, z, rng: 1.0 + np.arange(x.shape[1]), ""),
        (lambda x, z, rng: rng.random((len(x), 1)), ""),
    ],
)
def test_weights_may_go_with_the_noisy_point_and_not_with_what_is_behind_it(weights, words):
    """Of E[w (s + z/sigma) | x~] = 0 the solution is the score if w is known once x~ is, or independent of both."""

    def loss(fn, x, rng):
        z = rng.standard_normal(x.shape)
        return np.mean(np.sum(weights(x, z, rng) * (fn.score(x + SIGMA * z) + z / SIGMA) ** 2, 1))

    report = ns.check_loss(loss, objective="denoising", sigma=SIGMA)
    assert report.verdict == (("FAIL" if "of the noise" in words else "INCONCLUSIVE") if words else "PASS"), report
    assert words in report.diagnosis, report
    assert ("right if the score of the weighted data is meant" in report.diagnosis) == ("of the data" in words), report


def test_points_that_are_clipped_to_the_range_of_the_batch_are_told():
    def loss(fn, x, sigma, noise, clipped=False):
        y = x + sigma * noise
        y = np.clip(y, x.min(), x.max()) if clipped else y
        return np.mean(half(fn.score(y) + noise / sigma))

    assert ns.check_loss(loss, objective="denoising")
    report = ns.check_loss(lambda fn, x, sigma, noise: loss(fn, x, sigma, noise, True), objective="denoising")
    said(
        report,
        "bounded points: the noisy points stay within the range of the batch, and its least and its largest number are among them (clipped or clamped,",
    )


def test_noise_of_one_length_is_told_where_sigma_is_said():
    def loss(fn, x, rng, normalised=False):
        z = rng.standard_normal(x.shape)
        z = z / np.linalg.norm(z, axis=1, keepdims=True) * np.sqrt(x.shape[1]) if normalised else z
        return np.mean(half(fn.score(x + 0.5 * z) + z / 0.5))

    assert ns.check_loss(loss, objective="denoising", sigma=0.5)
    report = ns.check_loss(lambda fn, x, rng: loss(fn, x, rng, True), objective="denoising", sigma=0.5)
    said(report, "noise normalised: the noise has one length in all rows")


def test_the_level_of_the_first_row_told_to_all_is_told():
    def loss(fn, x, sigmas, level, rng, first=False):
        s, z = sigmas[level][:, None], rng.standard_normal(x.shape)
        told = np.full(len(x), s[0, 0]) if first else s[:, 0]
        return np.mean(np.sum((s * fn(x + s * z, told) + z) ** 2, 1))

    check = lambda loss: ns.check_loss(loss, objective="multilevel_denoising", predicts="score")
    assert check(loss)
    said(
        check(lambda fn, x, sigmas, level, rng: loss(fn, x, sigmas, level, rng, True)),
        "level told: fn is told one sigma for all rows of a batch, that of the first row",
    )


def test_a_mean_over_the_batch_is_told_of_what_it_is():
    """mse_loss of (n, d) with (n, 1, d) compares all rows with all."""

    def loss(fn, x, sigma, rng):
        z = rng.standard_normal(x.shape)
        return np.mean((fn(x + sigma * z) - z[:, None]) ** 2)

    report = ns.check_loss(loss, objective="denoising", predicts="eps")
    said(report, "batch mean: every row is the mean over the batch (of the noise eps)")


def test_both_squares_of_a_sliced_loss_are_told():
    def loss(fn, x, rng, both=0.0):
        v, s = rng.standard_normal(x.shape), fn.score(x)
        return np.mean(fn.curvature(x, v) + 0.5 * np.sum(v * s, 1) ** 2 + both * half(s))

    assert ns.check_loss(loss, objective="sliced")
    report = ns.check_loss(lambda fn, x, rng: loss(fn, x, rng, 1.0), objective="sliced")
    said(report, "both squares, |s|^2 and that of the projection")


def in_steps(fn, x, t, rng, told=True):
    """Noise that is added step by step, t + 1 times, as the forward process adds it; the target is that of all of it."""
    y, t = x.copy(), np.asarray(t).astype(int).reshape(-1) + np.zeros(len(x), int)
    for k in range(6):
        z, share = rng.standard_normal(x.shape), 0.001 + 0.01 * k
        y = np.where((k <= t)[:, None], np.sqrt(1 - share) * y + np.sqrt(share) * z, y)
    c, sigma = STEPWISE[t].T[..., None]
    return np.mean(np.sum((sigma * fn(y, t) + (y - c * x) / sigma) ** 2, 1))


STEPWISE = np.cumprod(1 - 0.001 - 0.01 * np.arange(6))
STEPWISE = np.stack([np.sqrt(STEPWISE), np.sqrt(1 - STEPWISE)], axis=1)


def test_noise_of_many_draws_is_no_accusation():
    """Its entries over the normals of one draw are quotients of normals, beside whose outliers anything was smooth."""
    report = ns.check_loss(in_steps, objective="denoising", levels=STEPWISE)
    assert report.verdict == "INCONCLUSIVE" and "made of several draws" in report.diagnosis, report
    assert "let the loss take" not in report.diagnosis  # it takes rng already


@pytest.mark.parametrize(
    "rounded, what",
    [
        (np.round, "whole numbers"),
        (lambda y: np.round(255 * y) / 255, "whole multiples of 1/255"),
        (lambda y: np.round(127.5 * (y + 1)) / 127.5 - 1, "whole multiples of 1/255"),
    ],
)
def test_points_in_whole_numbers_are_told(rounded, what):
    def loss(fn, x, sigma, noise, by=lambda y: y):
        return np.mean(half(fn.score(by(x + sigma * noise)) + noise / sigma))

    report = ns.check_loss(lambda fn, x, sigma, noise: loss(fn, x, sigma, noise, rounded), objective="denoising")
    said(report, f"rounded points: the noisy points are {what} (")


def test_a_conversion_in_numpy_is_asked_with_its_arrays():
    torch = pytest.importorskip("torch")

    def loss(fn, x, sigma):
        eps = torch.randn_like(x)
        return ((fn(x + sigma * eps) - eps) ** 2).mean()

    of = lambda sign: lambda out, y, level: sign * np.asarray(out) / np.broadcast_to(level, len(y))[:, None]
    assert ns.check_loss(loss, objective="denoising", wrap="torch", score_of=of(-1))
    said(ns.check_loss(loss, objective="denoising", wrap="torch", score_of=of(1)), "sign of what score_of makes")


def test_directions_that_are_summed_are_told_by_their_number():
    def loss(fn, x, rng, share=1.0):
        out = half(fn.score(x))
        for _ in range(5):
            v = rng.choice([-1.0, 1.0], x.shape)
            out = out + share * fn.curvature(x, v)
        return np.mean(out)

    assert ns.check_loss(lambda fn, x, rng: loss(fn, x, rng, 1 / 5), objective="sliced")
    said(
        ns.check_loss(loss, objective="sliced"),
        "5 directions are drawn (summed in one term, and averaged in the other?)",
    )


def test_differences_of_one_side_have_no_square():
    def loss(fn, x, eps, rng, side=1):
        v = eps * rng.standard_normal(x.shape)
        up, down, at = (-fn.energy(y) for y in (x + v, x - side * v, x))
        return np.mean((up - down) ** 2 / 8 + up + down - 2 * at) / eps**2

    assert ns.check_loss(loss, objective="finite_difference_sliced")
    report = ns.check_loss(lambda fn, x, eps, rng: loss(fn, x, eps, rng, side=-1), objective="finite_difference_sliced")
    said(report, "no square: fn is asked on one side of x alone")


def test_energies_that_are_taken_for_scores_by_broadcasting_are_no_regulariser():
    torch = pytest.importorskip("torch")
    loss = lambda fn, x, target_score: ((fn(x)[:, None] - target_score[None]) ** 2).sum(-1).mean()
    report = ns.check_loss(loss, objective="explicit", wrap="torch")
    said(report, "batch mean: every row is the mean over the batch")
    assert torch is not None


def test_noise_of_the_neighbouring_level_is_no_level_forgotten():
    """fn is told the last level, and its target has it: no point has its noise."""

    def loss(fn, x, sigmas, level, noise, back=0):
        s, added = sigmas[level][:, None], sigmas[np.maximum(level - back, 0)][:, None]
        return np.mean(np.sum((s * fn(x + added * noise, level) + noise) ** 2, 1))

    assert ns.check_loss(loss, objective="multilevel_denoising")
    report = ns.check_loss(
        lambda fn, x, sigmas, level, noise: loss(fn, x, sigmas, level, noise, 1), objective="multilevel_denoising"
    )
    said(report, "of sigmas, and no point has that noise: the noise is that of another level")


def test_an_energy_penalty_in_a_denoising_loss_is_told():
    def loss(fn, x, sigma, noise, c=0.0):
        y = x + sigma * noise
        return np.mean(half(fn.score(y) + noise / sigma) + c * fn.energy(y) ** 2)

    assert ns.check_loss(loss, objective="denoising", model="energy")
    report = ns.check_loss(lambda fn, x, sigma, noise: loss(fn, x, sigma, noise, 0.1), objective="denoising")
    said(report, "extra term: the right loss, and in it the squared energy (a regulariser)")


def test_a_loss_of_jax_that_compiles_a_part_of_itself_is_compiled_whole(monkeypatch):
    """The points at which fn is asked within are not to be had outside; the loss was traced anew in each of its 113 calls (64 s, 6 s now)."""
    jax = pytest.importorskip("jax")

    def loss(fn, x):
        @jax.jit
        def one(y):
            g = jax.grad(fn)(y)
            return 0.5 * g @ g - jax.numpy.trace(jax.hessian(fn)(y))

        return jax.vmap(one)(x).mean()

    runs, run = [], LossCaller.run
    monkeypatch.setattr(LossCaller, "run", lambda self, *a, **more: runs.append(0) or run(self, *a, **more))
    report = ns.check_loss(loss, objective="implicit", model="energy", wrap="jax")
    assert report and len(runs) < 20 < 100 < int(report.summary.split()[-2]), (len(runs), report)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_signs_that_are_made_of_whole_numbers_are_heard(seed):
    """A row of two zeros is a row of signs: it was no direction, the draw was not heard, and of seed 1 the loss was accused of a shared probe."""

    def loss(fn, x, rng):
        v, s = 2.0 * rng.integers(0, 2, x.shape) - 1, fn.score(x)
        return np.mean(fn.curvature(x, v) + 0.5 * np.sum(v * s, 1) ** 2)

    report = ns.check_loss(loss, objective="sliced", rng=seed)
    assert report and report.summary.endswith(", 98 calls"), report
