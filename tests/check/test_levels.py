"""`check_loss` and what must hold between rows: whose level fn is told, whose weight a row has, whose noise, and which way time goes."""

from types import SimpleNamespace

import numpy as np
import pytest
from nightly import mostly
from wording import check_loss

from numpyscore.check.losses.denoising import Read
from numpyscore.check.losses.levels import (
    Batch,
    _classes,
    _said,
    averaged,
    function_of,
    numbers,
    of_one_level,
    one_to_one,
    questions,
    shared,
    smooth,
    target_of_another,
    told,
    velocity,
    weights_note,
    which,
)
from numpyscore.check.losses.names import Level
from numpyscore.check.losses.trials import Trial

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
    assert report.verdict == "INCONCLUSIVE" and report.name == "one weight for a batch", report
    assert "the mean of the weights of its rows, as (n, 1) times (n,) makes it" in report.diagnosis
    assert report.pattern == "one weight in all rows of a batch"


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
        (lambda e, x, c, s: s * e - c * x, "c and sigma exchanged"),
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


# ------------------------------------------------------------------------------- functions of the level, and rules, on made arrays

LEVEL = np.linspace(0.1, 1.4, 40)
SHUFFLED = np.random.default_rng(0).permutation(LEVEL)
ALONG = np.roll(SHUFFLED, -1)[np.argsort(SHUFFLED)]  # what the next row has, along the levels
TURNS = (
    f"along the levels in order, what fn is told goes through {np.abs(np.diff(ALONG)).sum() / 1.3:.1f} of its ranges"
)


def test_few_ups_and_downs_make_a_function_and_many_do_not():
    assert function_of(np.cos(np.linspace(0, 2.4 * np.pi, 40)), LEVEL)  # 2.4 ranges up and down
    assert not function_of(np.cos(np.linspace(0, 2.7 * np.pi, 40)), LEVEL)
    assert not function_of(np.where(LEVEL > 1, np.nan, LEVEL), LEVEL)
    twice = np.repeat(LEVEL[::2], 2)  # every level twice
    off = np.where(np.arange(40) == 5, 1.0, 0.0)
    assert function_of(twice**2, twice) and not function_of(twice**2 + 1e-5 * off, twice)
    assert function_of(twice**2 + 1e-5 * off, twice, close=1e-4)  # known to so much
    size = np.abs(twice**2).max()
    assert function_of(twice**2 + 0.9e-6 * size * off, twice) and not function_of(twice**2 + 1.1e-6 * size * off, twice)
    assert function_of(1e-7 * off, twice, size=1.0) and not function_of(1e-7 * off, twice)
    noisy = 1e-9 * np.random.default_rng(0).standard_normal(40)  # rounding of a constant goes up and down as it likes
    assert function_of(1 + noisy, LEVEL)
    shuffled = np.random.default_rng(1).permutation(40)
    assert function_of((LEVEL**2)[shuffled], LEVEL[shuffled])


def batch(level=LEVEL, told=None, given=None, exact=True, n=None, c=None, sigma=None, eps=None, **more):
    """A `Batch` of one point for each row."""
    M, level = len(level), np.asarray(level, float)
    c, sigma = np.cos(level) if c is None else c, np.sin(level) if sigma is None else sigma
    eps = np.random.default_rng(3).standard_normal((M, 3)) if eps is None else eps
    setting = SimpleNamespace(x=np.zeros((n or M, 3)), n=n or M, d=3)
    beside = None if told is None else np.asarray(told, float)[:, None]
    trial = Trial(setting, np.zeros((M, 3)), told, row=np.arange(M), c=c, sigma=sigma, eps=eps, beside=beside)
    none = trial.only(np.zeros(M, bool))
    return Batch(trial, given, told, level, exact, **({"clean": none} | more))


def test_what_is_told_goes_with_the_level_one_to_one():
    assert one_to_one(LEVEL**2, batch()) and one_to_one(-np.log(LEVEL), batch())
    assert not one_to_one(np.roll(SHUFFLED, 1), batch(SHUFFLED)) and not one_to_one(SHUFFLED, batch())
    rounded = np.round(1000 * LEVEL)
    assert one_to_one(rounded, batch()) and one_to_one(np.round(4 * LEVEL), batch())  # the level is no number
    steps = np.repeat(np.arange(5.0), 8)
    counted = batch(0.1 + 0.2 * steps)
    permuted = np.array([3.0, 0, 4, 1, 2])[steps.astype(int)]
    assert one_to_one(permuted, counted)  # labels, each of one level
    assert not one_to_one(np.minimum(permuted, 3), counted)  # two levels told as one
    few = np.where(np.arange(40) == 0, 9.0, steps)  # one level told as two, and few enough to be counted
    assert not one_to_one(np.random.default_rng(0).permutation(steps), counted)
    assert one_to_one(few, counted) == (np.abs(np.diff(few[np.lexsort((few, counted.level))])).sum() <= 2.5 * 9)
    numbers = np.arange(40)
    handed = batch(given=numbers)
    assert one_to_one(numbers + 1.0, handed) and one_to_one(numbers / 7, handed)
    assert not one_to_one(numbers // 2 * 1.0, handed) and not one_to_one(numbers // 2 * 0.3, handed)
    single = LEVEL + 1e-6 * np.random.default_rng(2).standard_normal(40)  # of repeated levels in single precision
    assert one_to_one(np.repeat(LEVEL[::4], 4), batch(np.repeat(single[::4], 4), exact=False))


RULES_SAID = {  # batch, trials -> what is said
    "one size, told others": (lambda: batch(np.full(40, 0.5), LEVEL), "levels mixed: the noise of all points has one size, and a number that fn is told varies among them (a level by whose sigma the noise is not multiplied, or no level?)", "told 0.1 to 1.4, sigma 0.4794 throughout"),
    "one size, one told": (lambda: batch(np.full(40, 0.5), np.full(40, 0.5)), "", ""),
    "one size, more points than rows": (lambda: batch(np.full(40, 0.5), LEVEL, n=20), "", ""),
    "rows without noise": (lambda: batch(n=42, clean=batch(np.zeros(2), np.array([0.3, 0.6])).trial), "clean points: some rows get no noise, and fn is told the level of noise there that they have not; those rows are to be left out, or told so", "2 of 42 rows have no noise"),
    "rows without noise, told one": (lambda: batch(n=42, clean=batch(np.zeros(2), np.array([0.0, 0.0])).trial), "", ""),
    "one row without noise": (lambda: batch(n=41, clean=batch(np.zeros(1), np.array([0.3])).trial), "", ""),
    "rows twice": (lambda: batch(n=20, clean=batch(np.zeros(2), np.array([0.3, 0.6])).trial), "", ""),
    "two levels": (lambda: batch(SHUFFLED, sigma=np.roll(np.sin(SHUFFLED), 1)), "levels mixed: the noise of a row has the sigma of the next row, beside a scale c of x that is its own: neither is a function of the other", "c and sigma of the points are no functions of each other"),
    "two levels, shuffled": (lambda: batch(sigma=np.random.default_rng(0).permutation(np.sin(LEVEL))), "levels mixed: c and sigma of the points are no functions of each other (two draws of the level, a gain of x that is drawn, the sigma of another row?); what fn learns is the score given what it is told", "c and sigma of the points are no functions of each other", "INCONCLUSIVE"),
    "one c": (lambda: batch(c=np.ones(40), sigma=np.random.default_rng(0).permutation(np.sin(LEVEL))), "", ""),
    "told one level": (lambda: batch(told=np.full(40, 0.7)), "level told: a number that fn is told is one for all rows of a batch (the level of its first row, or no level?), where the noise of each row has its own", "told 0.7 in all rows"),
    "told the next": (lambda: batch(SHUFFLED, np.roll(SHUFFLED, -1)), "level told: fn is told the time or level of the previous row, not that of the noise which its point has: neither is a function of the other", TURNS),
    "told the previous": (lambda: batch(np.random.default_rng(0).permutation(LEVEL), np.roll(np.random.default_rng(0).permutation(LEVEL), 1)), "level told: fn is told the time or level of the next row, not that of the noise which its point has: neither is a function of the other", None),
    "told reversed": (lambda: batch(np.random.default_rng(0).permutation(LEVEL), np.random.default_rng(0).permutation(LEVEL)[::-1]), "level told: fn is told the time or level of the rows in reversed order, not that of the noise which its point has: neither is a function of the other", None),
    "told coarsely": (lambda: batch(np.repeat(LEVEL[::4], 4), np.repeat(np.arange(5.0), 8)), "level told: fn is told the same number at different levels (an integer division, a rounding, a clamp?)", "5 numbers told at 10 levels"),
    "told right": (lambda: batch(told=LEVEL**2), "", ""),
    "noise of the level": (lambda: batch(eps=np.stack([np.zeros(40), -LEVEL, LEVEL * 0], axis=1)), "one key: the noise of a row goes with its level: both are made of the same random numbers (one key, one seed?); split the key", None),
    "noise of the level, handed": (lambda: batch(given=LEVEL, eps=np.stack([LEVEL] * 3, axis=1)), "", ""),
    "weight of another": (lambda: batch(w=np.roll(np.exp(LEVEL), 1), p=LEVEL, q=LEVEL), "", ""),
    "target of another": (lambda: batch(w=np.ones(40), p=np.random.default_rng(0).permutation(LEVEL), q=0 * LEVEL), "", ""),
}  # fmt: skip
RULES_SAID["weight of another"] = (lambda: batch(SHUFFLED, w=np.roll(np.exp(SHUFFLED), 1), p=SHUFFLED, q=SHUFFLED), "weights of other rows: the weight of a row is made of the level of the previous row", "weights and errors of different rows are paired")  # fmt: skip
RULES_SAID["weight of none"] = (lambda: batch(SHUFFLED, w=np.random.default_rng(5).permutation(np.exp(SHUFFLED)), p=SHUFFLED, q=SHUFFLED), "", "")  # fmt: skip
RULES_SAID["target of another"] = (lambda: batch(SHUFFLED, w=np.ones(40), p=np.roll(SHUFFLED, -1), q=0 * LEVEL), "level of the target: the target of a row is made with the level of the next row", "p and q belong to another level")  # fmt: skip
RULES_SAID["target of its own"] = (lambda: batch(SHUFFLED, w=np.ones(40), p=np.cos(SHUFFLED), q=np.sin(SHUFFLED)), "", "")  # fmt: skip
RULES_SAID["lost rows have no target"] = (lambda: batch(SHUFFLED, w=1.0 * (np.arange(40) > 0), p=np.where(np.arange(40) > 0, SHUFFLED, 7e3), q=0 * LEVEL), "", "")  # fmt: skip


@pytest.mark.parametrize("case", RULES_SAID)
def test_a_rule_between_rows_says_what_is_there(case):
    make, text, pattern, *verdict = RULES_SAID[case]
    made = make()
    small = SimpleNamespace(told=np.array([0.2, 0.9]), sigma=np.array([0.5, 0.5]), c=np.array([0.8, 0.8]))
    naming = questions(made, [small])
    if not text:
        assert naming is None
        return
    assert [naming.verdict] == (verdict or ["FAIL"]) and naming.diagnosis == text, naming
    assert pattern in (None, naming.pattern), naming


def test_a_rule_between_rows_looks_at_the_other_batches_too():
    told = lambda *v: SimpleNamespace(told=np.array(v), sigma=np.full(2, 0.5), c=np.full(2, 0.8))
    constant = batch(told=np.full(40, 0.7))
    assert questions(constant, [told(0.7, 0.7)]) is None  # the same in every batch: a constant, for one model
    one_size = batch(np.full(40, 0.5), LEVEL)
    other = SimpleNamespace(told=None, sigma=np.array([0.5, 0.6]), c=np.full(2, 0.8))
    assert questions(one_size, [other]) is None  # a level for each batch, beside labels


PAIRS = {  # (own, used, number of levels) of each row -> which
    "the sigma of the next level: an index is off by one": [(0, 1, 3), (1, 2, 3), (2, 2, 3)],
    "the sigma of the previous level: an index is off by one": [(0, 2, 3), (1, 0, 3), (2, 1, 3)],
    "one sigma for all levels, the first": [(0, 0, 3), (1, 0, 3), (2, 0, 3)],
    "one sigma for all levels, the last": [(0, 2, 3), (1, 2, 3), (0, 3, 4)],
    "one sigma for all levels, number 1": [(0, 1, 3), (1, 1, 3), (2, 1, 3)],
    "sigmas in reversed order": [(0, 3, 4), (1, 2, 4), (3, 0, 4)],
    "the sigma of another level": [(0, 2, 4), (1, 3, 4), (0, 2, 4), (3, 0, 4)],
    "the sigma of another row, or one drawn apart": [(0, 2, 4), (0, 3, 4), (1, 0, 4), (3, 3, 4)],
}


@pytest.mark.parametrize("words", PAIRS)
def test_which_other_level_it_is(words):
    assert which(PAIRS[words]) == words
    if "next" in words:
        assert which([(0, 1, 3), (2, 0, 3)]) == words  # the list goes round


def test_the_path_of_a_list_and_classes_of_what_is_alike():
    a = np.array([3.0, 1.0, 1.0 + 1e-9, 2.0, 3.0 - 1e-9])
    assert _classes(a, 1e-6).tolist() == [2, 0, 0, 1, 2] and _classes(0 * a, 1e-6).tolist() == [0] * 5
    assert _classes(a, 1e-12).tolist() == [4, 0, 1, 2, 3]


SIGMAS = np.array([0.9, 0.5, 0.3])


def noised(index, told=None, sigmas=SIGMAS, c=1.0, n=None, size=1.0):
    """A `Trial` whose points have the noise of these levels."""
    index = np.asarray(index)
    M = len(index)
    setting = SimpleNamespace(n=n or M, d=3, levels=len(sigmas), extras={"sigmas": sigmas}, m=1)
    told = None if told is None else np.asarray(told, float)
    c = c + np.zeros(M)
    return Trial(setting, np.zeros((M, 3)), told, row=np.arange(M), c=c, sigma=size * sigmas[index], eps=np.ones((M, 3)))  # fmt: skip


def test_levels_are_numbers_of_the_list_that_was_handed():
    assert numbers(noised([0, 2, 1])).tolist() == [0, 2, 1]
    assert numbers(noised([0, 2, 1], c=0.5)).tolist() == [0, 2, 1]
    scaled = noised([0, 2, 1])._replace(sigma=0.5 * SIGMAS[[0, 2, 1]], c=np.full(3, 0.5))
    assert numbers(scaled).tolist() == [0, 2, 1]  # sigma/c is the level
    assert numbers(noised([0, 2, 1], size=1 + 0.9e-6)).tolist() == [0, 2, 1]
    assert numbers(noised([0, 2, 1], size=1 + 1.1e-6)) is None and numbers(noised([0, 1], size=1.1)) is None


TOLD_OF_LEVELS = {  # what fn is told of rows with the levels 0, 1, 2, 0, 2 -> (diagnosis, notes, share of the rows)
    "sigma": (SIGMAS[[0, 1, 2, 0, 2]], "", ()),
    "number": ([0, 1, 2, 0, 2], "", ()),
    "from one": ([1, 2, 3, 1, 3], "", ()),
    "backwards": ([2, 1, 0, 2, 0], "", ()),
    "logarithm": (np.log(SIGMAS[[0, 1, 2, 0, 2]]), "", ()),
    "constant": ([0.5] * 5, "", ("the numbers that fn is told are the same at every level: right only for one model that serves all levels",)),
    "nothing": (None, "", ("fn is not told the noise level in a form that was recognised: right only for one model that serves all levels",)),
    "next sigma": (SIGMAS[[1, 2, 0, 1, 0]], "level told: fn is told the sigma of the next level: an index is off by one, not that of the noise which its point has", "100%"),
    "next number": ([1, 2, 0, 1, 0], "level told: fn is told the number of the next level: an index is off by one, not that of the noise which its point has", "100%"),
    "sigma of another row": (SIGMAS[[0, 2, 1, 2, 0]], "level told: fn is told the sigma of another row, or one drawn apart, not that of the noise which its point has", "80%"),
    "number of another row": ([0, 2, 1, 2, 0], "level told: fn is told the number of another row, or one drawn apart, not that of the noise which its point has", "80%"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOLD_OF_LEVELS)
def test_what_is_told_of_a_list_of_levels(case):
    values, text, rest = TOLD_OF_LEVELS[case]
    naming, notes = told([noised([0, 1, 2, 0, 2], values)])
    if text:
        assert naming.verdict == "FAIL" and naming.diagnosis == text and notes == ()
        assert naming.pattern == f"{rest} of the rows are told another level"
    else:
        assert naming is None and notes == rest


def test_what_is_told_in_single_precision_is_a_level_and_what_is_far_is_none():
    near = lambda off: _said([noised([0, 1, 2], SIGMAS + off)], "sigma")
    assert near(0.9e-5 * 0.9) == [(0, 0, 3), (1, 1, 3), (2, 2, 3)] and near(1.1e-5 * 0.9) is None
    assert _said([noised([0, 1, 2], [0, 1, 2], size=1.1)], "number") is None
    assert _said([noised([0, 1, 2], [0, 1, 3])], "number") == [(0, 0, 3), (1, 1, 3), (2, 3, 3)]


def targets(p, q, index, trial, w=1.0):
    """The `Read` of the points of some trials."""
    p, q, none = np.asarray(p, float), q + 0.0 * np.asarray(p), 0.0 * np.asarray(p)
    t = np.asarray(trial)
    of = np.stack([t, np.concatenate([np.arange(np.sum(t == k)) for k in np.unique(t)])], axis=1)
    s = SIGMAS[np.asarray(index)]
    levels = [Level(4 + 2 * k, 3 + k, v, 1, 1.0, 3) for k, v in zip(t, s, strict=True)]
    return Read(w + none, p, q, none, none + 1, s, of, levels, 1e-9, none)


def test_targets_of_another_level_are_named_by_the_level_that_they_have():
    index = [0, 1, 2, 0, 2]
    trials, of = [noised(index)], lambda used: -1 / SIGMAS[np.asarray(used)]
    say = lambda p, q=0.0: target_of_another(trials, targets(p, q, index, [0] * 5))
    assert (
        say(of(index)) is None and say(of([1, 2, 0, 1, 0]), q=0.1) is None and say(-1 / (1.1 * SIGMAS[index])) is None
    )
    naming = say(of([1, 2, 0, 1, 0]))
    assert (
        naming.diagnosis
        == "level of the target: the target -eps/sigma is made with the sigma of the next level: an index is off by one"
    )
    assert (naming.verdict, naming.pattern) == ("FAIL", "p = -1/sigma of another level")
    naming = say(of([0, 2, 1, 2, 0]))
    assert (
        naming.diagnosis
        == "level of the target: the target -eps/sigma of a row is made with the sigma of another row, or one drawn apart"
    )
    squared = say(-SIGMAS[index] / SIGMAS[[1, 2, 0, 1, 0]] ** 2)
    assert squared.diagnosis.startswith(
        "level of the target: the target (x - x~)/sigma^2 is made with the sigma of the next"
    )
    assert target_of_another([noised(index, size=1.1)], targets(of([1, 2, 0, 1, 0]), 0, index, [0] * 5)) is None


def test_targets_of_one_level_for_a_batch():
    index, trial = [0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]
    one = targets([2, 2, 2, 3, 3, 3], 0.5, index, trial)
    naming = of_one_level(one)
    assert (
        naming.diagnosis
        == "level of the target: the targets of all rows of a batch have the same factors, and those of the next batch others (one level for all, an average, a mean or a deviation of the batch?)"
    )
    assert naming.pattern == "p = 2 and q = 0.5 in all rows of the first batch, 3 and 0.5 in the second"
    first = -1 / SIGMAS[[0, 0, 0, 1, 1, 1]]
    naming = of_one_level(targets(first, 0, [0, 1, 2, 1, 0, 2], trial))
    assert (
        naming.diagnosis
        == "level of the target: the targets of all rows of a batch are made with one level, that of the first row, where each row has its own"
    )
    assert of_one_level(targets([2] * 6, 0.5, index, trial)) is None  # the same everywhere: eps, or x
    assert of_one_level(targets([2, 2, 2, 3, 3, 3], 0, [0, 0, 0, 1, 1, 1], trial)) is None  # each batch has one level
    assert of_one_level(targets([2, 2, 2, 3, 3, 4], 0, index, trial)) is None
    none = of_one_level(targets([0, 1, 2, 0, 1, 2], 0, index, trial))
    assert none.diagnosis.startswith("rows without a target: ") and none.pattern == "2 of 6 rows"
    assert of_one_level(targets([0, 0, 0, 0, 1, 2], 0, index, trial)) is None


def test_notes_on_weights_and_on_levels_that_are_shared():
    masked = batch(w=np.random.default_rng(0).permutation(np.repeat([0.0, 1.0], 20)), p=LEVEL, q=LEVEL)
    assert weights_note(masked)[0].startswith(
        "another convention: the weights of the rows are no function of their level"
    )
    assert weights_note(batch(w=np.exp(LEVEL))) == () and weights_note(None) == () and weights_note(batch()) == ()
    assert smooth(batch(w=np.ones(40), p=LEVEL, q=LEVEL)) and not smooth(None) and not smooth(batch())
    assert not smooth(batch(w=np.ones(40), p=SHUFFLED, q=LEVEL)) and not smooth(
        batch(w=np.ones(40), p=LEVEL, q=SHUFFLED)
    )
    assert not smooth(batch(np.full(40, 0.5), w=np.ones(40), p=LEVEL, q=LEVEL))
    assert shared([noised([1, 1, 1]), noised([2, 2])]) and shared([noised([1, 1, 2])]) == ()
    assert shared([noised([1, 1, 1], n=2)]) == ()


def test_a_velocity_is_known_by_the_time_that_is_handed():
    """A cubic spline through forty points of these paths is off by 1e-5 at its ends."""
    t = np.linspace(0.05, 0.95, 40)
    path = lambda t: (np.cos(t) ** 2 + 0 * t, np.sin(t))
    slope = lambda t: (-2 * np.cos(t) * np.sin(t), np.cos(t))
    c, s = path(t)
    made = batch(np.arctan2(s, c), told=t, c=c, sigma=s)
    at = np.array([0.2, 0.4, 0.6, 0.85])
    dc, ds = slope(at)
    trial = SimpleNamespace(told=at, setting=SimpleNamespace(level=0.0, n=4), row=np.arange(4))
    of = np.stack([np.zeros(4, int), np.arange(4)], axis=1)
    say = lambda p, q, b=made, tr=trial: velocity(b, SimpleNamespace(p=p, q=q, of=of), [tr])
    assert say(ds, dc) == 1 and say(-2 * ds, -2 * dc) == -1 and say(ds, -dc) == 0 and say(ds * at, dc * at) == 0
    total, slopes = sum(path(at)), sum(slope(at))
    scaled = [(v * total - a * slopes) / total**2 for a, v in zip(path(at), slope(at), strict=True)]
    assert say(scaled[1], scaled[0]) == 2 and say(-scaled[1], -scaled[0]) == -2
    handed = batch(np.arctan2(s, c), given=t, c=c, sigma=s)
    assert (
        say(ds, dc, handed, SimpleNamespace(told=None, setting=SimpleNamespace(level=at, n=4), row=np.arange(4))) == 1
    )
    outside = SimpleNamespace(told=at + 1, setting=trial.setting, row=trial.row)
    assert say(ds, dc, made, outside) is None and say(ds, dc, None) is None and say(ds, dc, batch(told=None)) is None
    assert say(ds, dc, batch(np.arctan2(s, c), told=np.full(40, 0.3), c=c, sigma=s)) is None
    coarse = np.round(4 * t)  # five times, of many levels each
    assert say(ds, dc, batch(np.arctan2(s, c), told=coarse, c=c, sigma=s)) is None
    assert say(ds, dc, batch(np.arctan2(s, c), told=np.round(20 * t), c=c, sigma=s)) is None


def test_a_weight_that_is_the_mean_of_its_batch():
    groups = [0, 0, 0, 1, 1, 1]
    index = [0, 1, 2, 0, 1, 1]
    setting = SimpleNamespace(extras={"sigmas": SIGMAS})
    for power, word in ((2, "sigma^2"), (1, "sigma"), (-1, "1/sigma"), (-2, "1/sigma^2")):
        s = SIGMAS[index]
        means = np.repeat([np.mean(s[:3] ** power), np.mean(s[3:] ** power)], 3)
        r = targets(-1 / s, 0, index, groups, w=means)
        naming = averaged(None, "score", None, [SimpleNamespace(setting=setting)], r, None)
        assert naming.diagnosis == (
            f"weights averaged: every row has the mean weight of its batch, that of {word}, and levels none of their own "
            "(as weights (n, 1) times losses (n,) do, which make (n, n))"
        )
        assert naming.pattern == f"weight = mean of {word} over the rows of a batch"
    assert (
        averaged(None, "score", None, [], targets(-1 / s, 0, index, groups, w=1.0), None) is None
    )  # one weight for all
    assert averaged(None, "score", None, [], targets(-1 / s, 0, index, groups, w=s**2), None) is None  # of their own
    one_level = targets([-1.0] * 6, 0, [0, 0, 0, 1, 1, 1], groups, w=np.repeat([0.3, 0.7], 3))
    assert averaged(None, "score", None, [], one_level, None) is None
    unknown = targets(-1 / s, 0, index, groups, w=np.repeat([0.31, 0.74], 3))
    assert averaged(None, "score", None, [], unknown, None) is None
