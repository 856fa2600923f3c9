"""`check_loss` and what must hold between rows: whose level fn is told, whose weight a row has, whose noise, and which way time goes."""

import numpy as np
import pytest
from nightly import mostly
from wording import check_loss

from numpyscore.check.losses.levels import function_of

MANY = "multilevel_denoising"


def half(s):
    return 0.5 * np.sum(s**2, axis=1)


def cosine(t):
    return np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)


def diffusion(
    told=lambda t, rng: t,
    weight=lambda t: np.ones(len(t)),
    target=lambda e, x, c, s: e,
    schedule=cosine,
    draw=lambda rng, n: rng.uniform(0.05, 0.95, n),
    reduce=np.mean,
):
    """A time for each row, drawn inside; weights (n,) beside errors (n,)."""

    def loss(fn, x, rng):
        t, e = draw(rng, len(x)), rng.standard_normal(x.shape)
        c, s = (a[:, None] for a in schedule(t))
        errors = half(fn(c * x + s * e, told(t, rng)) - target(e, x, c, s))
        return reduce(weight(t) * errors)

    return loss


def given(told, target=lambda e, x, t: e, schedule=lambda t: (1 - t, t)):
    """A time, or a timestep, for each row, handed over."""

    def loss(fn, x, t, rng):
        (c, s), e = (a[:, None] for a in schedule(t)), rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * e, told(t)) - target(e, x, t[:, None])) ** 2)

    return loss


def test_what_may_be_a_function_of_the_level():
    rng = np.random.default_rng(0)
    t = rng.uniform(0.05, 0.95, 40)
    assert function_of(t * (1 - t), t) and function_of(np.minimum(1 / t, 5), t)
    assert not function_of(np.roll(t, 1), t) and not function_of(rng.uniform(size=40), t)


# ------------------------------------------------------------------------------- what fn is told

INDEX = lambda rng, n: rng.integers(1, 11, n) / 11
DRAWN = [pytest.param(lambda rng, n: rng.uniform(0.05, 0.95, n), marks=pytest.mark.nightly), INDEX]
TOLD = {  # what fn is told in place of t
    "the next row": lambda t, rng: np.roll(t, -1),
    "reversed": lambda t, rng: t[::-1],
    "the first": lambda t, rng: np.full_like(t, t[0]),
    "the mean": lambda t, rng: np.full_like(t, t.mean()),
    "drawn anew": lambda t, rng: rng.permutation(t),
}


@pytest.mark.parametrize("draw", DRAWN, ids=["times", "steps"])
@pytest.mark.parametrize("name", TOLD)
def test_another_level_than_the_noise_has_is_found(name, draw):
    report = check_loss(diffusion(TOLD[name], draw=draw), objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "level told", report


ABAR = np.cumprod(1 - np.linspace(1e-2, 0.3, 12))
TABLE = np.stack([np.sqrt(ABAR), np.sqrt(1 - ABAR)], axis=1)


@pytest.mark.parametrize("told", [lambda t: np.maximum(t - 1, 0), lambda t: t[::-1], lambda t: t // 4])
def test_timesteps_are_told_one_to_one(told):
    report = check_loss(given(told, schedule=lambda t: TABLE[t].T), objective=MANY, levels=TABLE, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "level told", report


@pytest.mark.parametrize(
    "told", [lambda t: t, lambda t: t + 1, lambda t: 11 - t, lambda t: t / 12, lambda t: np.log(1 + t)]
)
def test_timesteps_may_be_told_in_any_unit(told):
    assert check_loss(given(told, schedule=lambda t: TABLE[t].T), objective=MANY, levels=TABLE, predicts="eps")


@pytest.mark.parametrize("draw", DRAWN, ids=["times", "steps"])
@pytest.mark.parametrize(
    "told", [lambda t: t, lambda t: np.round(1000 * t), lambda t: np.log(np.tan(np.pi * t / 2)), lambda t: 0 * t]
)
def test_the_level_may_be_told_in_any_unit(told, draw):
    assert check_loss(diffusion(lambda t, rng: told(t), draw=draw), objective=MANY, predicts="eps")


def test_noise_that_is_not_multiplied_by_its_level_is_found():
    def loss(fn, x, rng, scaled=False):
        s, e = np.exp(rng.standard_normal(len(x)))[:, None], rng.standard_normal(x.shape)
        return np.mean((1 + s**2) / s**2 * (fn(x + (s if scaled else 1) * e, s[:, 0]) - x) ** 2)

    report = check_loss(loss, objective=MANY, predicts="x")
    assert report.verdict == "FAIL" and report.name == "levels mixed", report
    assert check_loss(lambda fn, x, rng: loss(fn, x, rng, True), objective=MANY, predicts="x")


def test_noise_that_goes_with_its_level_is_found():
    def loss(fn, x, rng, apart=False):
        a, rest = rng.standard_normal(len(x)), rng.standard_normal((len(x), x.shape[1] - 1))
        e = np.column_stack([a, rest])
        t = 0.5 + 0.4 * np.tanh(rng.standard_normal(len(x)) if apart else a)
        c, s = (v[:, None] for v in cosine(t))
        return np.mean((fn(c * x + s * e, t) - e) ** 2)

    report = check_loss(loss, objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "one key", report
    assert check_loss(lambda fn, x, rng: loss(fn, x, rng, True), objective=MANY, predicts="eps")


def test_labels_beside_the_level_are_no_levels():
    def loss(fn, x, rng, told=lambda t: t):
        t, e, label = rng.uniform(0.05, 0.95, len(x)), rng.standard_normal(x.shape), rng.integers(10, size=len(x))
        c, s = (a[:, None] for a in cosine(t))
        return np.mean((fn(c * x + s * e, label, told(t)) - e) ** 2)

    assert check_loss(loss, objective=MANY, predicts="eps")
    report = check_loss(lambda fn, x, rng: loss(fn, x, rng, np.flip), objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "level told", report


# ------------------------------------------------------------------------------- weights and targets of other rows

SNR = lambda t: np.minimum(1 / np.tan(np.pi * t / 2) ** 2, 5)


def test_weights_are_those_of_their_own_rows():
    assert check_loss(diffusion(weight=SNR), objective=MANY, predicts="eps")
    assert check_loss(diffusion(weight=lambda t: SNR(t) / SNR(t).mean()), objective=MANY, predicts="eps")
    report = check_loss(diffusion(weight=lambda t: np.roll(SNR(t), 1)), objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "weights of other rows", report
    report = check_loss(diffusion(weight=lambda t: SNR(t)[:, None]), objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "weights averaged", report


def test_targets_are_those_of_their_own_rows():
    v = lambda roll: lambda e, x, c, s: np.roll(c, roll, 0) * e - np.roll(s, roll, 0) * x
    report = check_loss(diffusion(target=v(1)), objective=MANY, predicts="v")
    assert report.verdict == "FAIL" and report.name == "level of the target", report
    assert check_loss(diffusion(target=v(0)), objective=MANY, predicts="v")
    mixed = lambda t: (cosine(t)[0], np.roll(cosine(t)[1], 1))
    report = check_loss(diffusion(schedule=mixed), objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "levels mixed", report


def preconditioned(fn, x, rng, width=0.5):
    """Karras et al. (2022): the network inside its preconditioning, at the noisy points as they are."""
    s, e = np.exp(0.8 * rng.standard_normal(len(x)) - 0.5)[:, None], rng.standard_normal(x.shape)
    y, total = x + s * e, s**2 + width**2
    return np.mean((fn(y, s[:, 0]) - (x - width**2 / total * y) * np.sqrt(total) / (s * width)) ** 2)


def test_a_network_inside_its_preconditioning_is_no_accusation():
    report = check_loss(preconditioned, objective=MANY)
    assert report.verdict == "INCONCLUSIVE" and "score_of=" in report.diagnosis, report

    def score_of(out, y, s, width=0.5):
        s = s[:, None]
        total = s**2 + width**2
        return (width**2 / total * y + s * width / np.sqrt(total) * out - y) / s**2

    assert check_loss(preconditioned, objective=MANY, score_of=score_of)
    report = check_loss(preconditioned, objective=MANY, score_of=lambda *a: -score_of(*a))
    assert report.verdict == "FAIL", report


def test_scaled_data_alone_are_a_wrong_target():
    report = check_loss(diffusion(target=lambda e, x, c, s: c * x), objective=MANY)
    assert report.verdict == "FAIL" and report.name == "wrong target", report


# ------------------------------------------------------------------------------- which way time goes

SCHEDULES = {  # c and sigma, and their derivatives
    "to noise": (lambda t: (1 - t, t), lambda t: (-1, 1)),
    "to data": (lambda t: (t, 1 - t), lambda t: (1, -1)),
    "almost to noise": (lambda t: (1 - t, 0.05 + 0.95 * t), lambda t: (-1, 0.95)),
    "cosine": (cosine, lambda t: (-np.pi / 2 * np.sin(np.pi * t / 2), np.pi / 2 * np.cos(np.pi * t / 2))),
    "sub-VP": (lambda t: (np.exp(-2 * t**2), 1 - np.exp(-4 * t**2)), lambda t: (-4 * t * np.exp(-2 * t**2), 8 * t * np.exp(-4 * t**2))),
}  # fmt: skip


@pytest.mark.parametrize("name", mostly(SCHEDULES, "to data", "sub-VP"))
def test_a_velocity_has_the_direction_of_time(name):
    schedule, slopes = SCHEDULES[name]

    def flow(sign, inside):
        def loss(fn, x, t, rng):
            (c, s), e = (a[:, None] for a in schedule(t)), rng.standard_normal(x.shape)
            dc, ds = slopes(t[:, None])
            return np.mean((fn(c * x + s * e, t) - sign * (dc * x + ds * e)) ** 2)

        return (lambda fn, x, rng: loss(fn, x, rng.uniform(0.05, 0.95, len(x)), rng)) if inside else loss

    for inside in (True, False):
        assert check_loss(flow(1, inside), objective=MANY, predicts="velocity")
        report = check_loss(flow(-1, inside), objective=MANY, predicts="velocity")
        assert report.verdict == "FAIL" and report.name == "sign of the target", report


def test_without_a_time_the_sign_of_a_velocity_is_said_to_be_unknown():
    untold = diffusion(lambda t, rng: None, schedule=lambda t: (1 - t, t), target=lambda e, x, c, s: x - e)
    report = check_loss(untold, objective=MANY, predicts="velocity")
    assert report and any("direction of time" in note for note in report.notes), report


@pytest.mark.parametrize(
    "target, words",
    [
        (lambda e, x, c, s: c * e - s * (c * x + s * e), "noisy point in the target"),
        (lambda e, x, c, s: s * e - c * x, "factors exchanged"),
        (lambda e, x, c, s: c * e + s * x, "sign of one term"),
    ],
)
def test_slips_in_a_target_that_was_said_are_named(target, words):
    report = check_loss(diffusion(target=target), objective=MANY, predicts="v")
    assert report.verdict == "FAIL" and report.name.startswith(words), report


# ------------------------------------------------------------------------------- noise that is shared, centred, or no unit noise

NOISE = {  # noise of shape s, words
    "a number for each row": (lambda rng, s: rng.standard_normal((s[0], 1)) * np.ones(s), "every dimension of a row"),
    "a row of pixels": (lambda rng, s: (rng.standard_normal((s[0], 1, 2)) * np.ones((s[0], 2, 2))).reshape(s), "some coordinates"),
    "a channel": (lambda rng, s: (rng.standard_normal((s[0], 2, 1)) * np.ones((s[0], 2, 2))).reshape(s), "some coordinates"),
    "one row": (lambda rng, s: rng.standard_normal(s[1:]) * np.ones(s), "every row"),
    "half of the batch": (lambda rng, s: np.tile(rng.standard_normal((s[0] // 2, s[1])), (2, 1)), "rows"),
    "centred": (lambda rng, s: (e := rng.standard_normal(s)) - e.mean(0), "noise centred"),
    "signs": (lambda rng, s: rng.choice([-1.0, 1.0], s), "not Gaussian"),
    "two signs": (lambda rng, s: np.concatenate([e := rng.choice([-1.0, 1.0], (s[0] // 2, s[1])), -e]), "not Gaussian"),
    "a covariance": (lambda rng, s: rng.multivariate_normal(np.zeros(s[1]), np.eye(s[1]) + 0.5, s[0]), "correlated noise"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOISE)
def test_noise_that_is_not_drawn_for_every_entry_is_named_as_what_it_is(name):
    noise, words = NOISE[name]

    def loss(fn, x, sigma, rng):
        e = noise(rng, x.shape)
        return np.mean(half(fn.score(x + sigma * e) + e / sigma))

    shape = (4,) if "pixels" in name or "channel" in name else None
    report = check_loss(loss, objective="denoising", shape=shape)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_normals_of_the_identity_are_unit_normals():
    def loss(fn, x, sigma, rng):
        e = rng.multivariate_normal(np.zeros(x.shape[1]), np.eye(x.shape[1]), len(x))
        return np.mean(half(fn.score(x + sigma * e) + e / sigma))

    assert check_loss(loss, objective="denoising")


def test_a_mixture_of_normals_is_solved_whatever_the_levels_are():
    def loss(fn, x, rng, mix, target):
        t, a, b = rng.uniform(0.05, 0.95, (len(x), 1)), rng.standard_normal(x.shape), rng.standard_normal((len(x), 1))
        c, s = cosine(t)
        e = mix(a, b)
        return np.mean((fn.score(c * x + s * e) - target(a, e, s)) ** 2)

    right = lambda a, e, s: -e / s
    offset = lambda fn, x, rng: loss(fn, x, rng, lambda a, b: a + 0.3 * b, right)
    report = check_loss(offset, objective=MANY)
    assert report.verdict == "FAIL" and report.name == "correlated noise", report

    def twice(fn, x, sigma, rng, of=lambda a, b: (a + b) / 2):
        a, b = rng.standard_normal(x.shape), rng.standard_normal(x.shape)
        return np.mean(half(fn.score(x + sigma * (a + b)) + of(a, b) / sigma))

    assert check_loss(twice, objective="denoising")
    half_of_it = check_loss(lambda fn, x, sigma, rng: twice(fn, x, sigma, rng, lambda a, b: b), objective="denoising")
    assert half_of_it and any("only adds variance" in note for note in half_of_it.notes)  # E[b | a + b] = (a + b) / 2
    report = check_loss(lambda fn, x, sigma, rng: twice(fn, x, sigma, rng, lambda a, b: a - b), objective="denoising")
    assert report.verdict == "FAIL" and report.name == "other noise", report


# ------------------------------------------------------------------------------- other names


def test_a_target_that_is_no_multiple_of_the_noise_is_named():
    def loss(fn, x, sigma, rng):
        e = rng.standard_normal(x.shape)
        return np.mean(half(fn(x + sigma * e) + e**2 / 2 + np.log(sigma)))

    report = check_loss(loss, objective="denoising", model="score")
    assert report.verdict == "FAIL" and report.name == "wrong target, not linear", report


def test_a_regulariser_of_the_wrong_sign_or_size_is_named():
    def loss(fn, x, lam, factor):
        s, D = fn.score(x), np.einsum("nii->ni", fn.jacobian(x))
        return np.mean(np.sum(0.5 * s**2 + D + factor * lam * D**2, axis=1))

    assert check_loss(lambda fn, x, lam: loss(fn, x, lam, 1.0), objective="regularised")
    for factor, words in ((-1.0, "sign of the regulariser"), (0.5, "regulariser halved")):
        report = check_loss(lambda fn, x, lam, f=factor: loss(fn, x, lam, f), objective="regularised")
        assert report.verdict == "FAIL" and report.name == words, report


def test_rows_that_are_never_used_are_named():
    report = check_loss(lambda fn, x: np.mean(half(fn.score(x[:-1])) + fn.trace(x[:-1])), objective="implicit")
    assert report.verdict == "FAIL" and report.name == "rows left out", report


def test_a_trace_over_the_wrong_axes_is_named():
    def loss(fn, x):
        return np.mean(half(fn.score(x))) + np.trace(fn.jacobian(x)).sum() / len(x)

    report = check_loss(loss, objective="implicit")
    assert report.verdict == "FAIL" and report.name == "wrong trace", report


def test_a_second_difference_that_counts_its_middle_once_is_named():
    def loss(energy, x, eps, rng):
        v = np.sign(rng.standard_normal(x.shape))
        p, m, o = energy(x + eps * v), energy(x - eps * v), energy(x)
        return np.mean((p - m) ** 2 / (8 * eps**2) - (p + m - o) / eps**2)

    report = check_loss(loss, objective="finite_difference_sliced", model="energy")
    assert report.verdict == "FAIL" and "have the factors -1, -1, 1" in report.diagnosis, report


def test_functions_of_the_loss_of_each_sample_are_named():
    softplus = lambda fn, x: np.mean(np.logaddexp(0, half(fn.score(x)) + fn.trace(x)))
    report = check_loss(softplus, objective="implicit")
    assert report.verdict == "FAIL" and report.name == "function of the loss", report
    volume = lambda fn, x: np.mean(half(fn.score(x)) + np.linalg.slogdet(fn.jacobian(x))[1])
    report = check_loss(volume, objective="implicit")
    assert report.verdict == "FAIL" and "determinant" in report.diagnosis, report
