"""What the engine of `check_loss` hears and identifies, what the user may say, and the kinds of code that were once misjudged."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from wording import check_loss

from numpyscore.check.losses import loss as questions
from numpyscore.check.losses import patterns
from numpyscore.check.losses.hearing import Draw, generators_of, listening
from numpyscore.check.losses.identify import (
    SPARE,
    UNITS,
    WIDE,
    Answers,
    Asked,
    Fit,
    Probe,
    entries_of,
    identify,
    random_probe,
    solve,
)
from numpyscore.check.losses.loss import _is_schedule, _is_shape, _setting, _settings
from numpyscore.check.losses.names import (
    COARSEST,
    REGULARISER,
    SLOPE,
    WEIGHTED,
    Factor,
    Level,
    conversion,
    factor,
    missing,
    name_parts,
    name_right,
)
from numpyscore.check.losses.observe import LossCaller, _first, _where, mean_of
from numpyscore.check.losses.patterns import right_parts
from numpyscore.check.losses.plain import (
    LAWS,
    Observation,
    _as_far,
    _law_of,
    _moved,
    _second_difference,
    directions_of,
    near_note,
    unusable,
)
from numpyscore.check.losses.trials import Trial


def half(s):
    return 0.5 * np.sum(s**2, axis=1)


def vp(t):
    return np.cos(t), np.sin(t)


def diffusion(target, weight=lambda c, s: 1.0, told=lambda t, rng: t):
    """A time for each row, drawn inside."""

    def loss(fn, x, rng):
        t, e = rng.uniform(0.1, 1.4, len(x)), rng.standard_normal(x.shape)
        c, s = (a[:, None] for a in vp(t))
        return np.mean(weight(c, s) * (fn(c * x + s * e, told(t, rng)) - target(e, x, c, s)) ** 2)

    return loss


EPS, X = lambda e, x, c, s: e, lambda e, x, c, s: x
V, SCORE = lambda e, x, c, s: c * e - s * x, lambda e, x, c, s: -e / s


# ------------------------------------------------------------------------------- hearing and identifying


def test_everything_that_numpy_gives_is_written_down():
    own = np.random.default_rng(3)

    def loss(fn, x, rng):
        return rng.normal(1, 2, 3), np.random.randn(2), own.standard_normal(4), np.random.default_rng(0).random(5)  # noqa: NPY002  as users do

    held = generators_of(loss)
    with listening(held, 7, "numpy") as ear:
        out = loss(None, None, own)
    heard = [d.value for d in ear.draws]
    assert [len(v) for v in heard] == [3, 2, 4, 5]
    np.testing.assert_array_equal(heard[1], out[1])
    assert [d.law for d in ear.draws] == ["normal", "normal", "normal", "other"]


def test_a_quadratic_function_is_solved_and_a_cubic_one_is_not():
    rng = np.random.default_rng(0)
    u = rng.standard_normal((40, 3))
    columns = np.concatenate([u, u**2], axis=1)
    fit = solve(columns, 3 + u @ [1.0, 2, 3] + 0.5 * u[:, 0] ** 2, 2.2e-16)
    assert fit.exact
    np.testing.assert_allclose(fit.coefficients, [1, 2, 3, 0.5, 0, 0], atol=1e-13)  # forty equations of condition ten
    assert not solve(columns, u[:, 0] ** 3, 2.2e-16).near


# ------------------------------------------------------------------------------- what the user says


@pytest.mark.parametrize("said, target", [("eps", EPS), ("x", X), ("v", V), ("score", SCORE)])
def test_what_fn_predicts_is_as_it_was_said(said, target):
    assert check_loss(diffusion(target), objective="denoising", predicts=said)
    turned = check_loss(diffusion(lambda *a: -target(*a)), objective="denoising", predicts=said)
    assert turned.verdict == "FAIL", turned
    other = check_loss(diffusion(X if said != "x" else EPS), objective="denoising", predicts=said)
    assert other.verdict == "FAIL", other


def test_the_sampler_s_own_conversion_decides():
    of_eps = lambda out, y, t: -out / np.sin(t)[:, None]
    assert check_loss(diffusion(EPS), objective="denoising", score_of=of_eps)
    report = check_loss(diffusion(EPS), objective="denoising", score_of=lambda out, y, t: out / np.sin(t)[:, None])
    assert report.verdict == "FAIL" and "sign" in report.diagnosis, report
    report = check_loss(diffusion(V), objective="denoising", score_of=of_eps)
    assert report.verdict == "FAIL" and report.name == "another parametrisation", report


ABAR = np.cumprod(1 - np.linspace(1e-2, 0.3, 12))
TABLE = np.stack([np.sqrt(ABAR), np.sqrt(1 - ABAR)], axis=1)


def by_timestep(step=0):
    def loss(fn, x, t, rng):
        a, e = ABAR[np.minimum(t + step, 11)][:, None], rng.standard_normal(x.shape)
        return np.mean((fn(np.sqrt(a) * x + np.sqrt(1 - a) * e, t) - e) ** 2)

    return loss


def test_integer_timesteps_and_a_schedule_of_one_s_own():
    assert check_loss(by_timestep(), objective="denoising", levels=TABLE)
    report = check_loss(by_timestep(1), objective="denoising", levels=TABLE)
    assert report.verdict == "FAIL" and report.name == "other noise level", report


def test_the_kernel_that_is_meant():
    def loss(fn, x, t, rng):
        e = rng.standard_normal(x.shape)
        return np.mean((fn(np.cos(t) * x + np.sin(t) * e, t) - e) ** 2)

    assert check_loss(loss, objective="denoising", kernel=lambda t: (np.cos(t), np.sin(t)))
    report = check_loss(loss, objective="denoising", kernel=lambda t: (1 - t, t))
    assert report.verdict == "FAIL" and report.name == "other noise level", report


def test_images_and_conditions():
    def loss(fn, x, sigma, rng, label):
        assert x.shape[1:] == (1, 2, 3) and label == 4
        e = rng.standard_normal(x.shape)
        return np.mean((fn(x + sigma * e, label) + e / sigma) ** 2)

    assert check_loss(loss, objective="denoising", shape=(1, 2, 3), condition={"label": 4})


def test_images_of_many_pixels_are_solved_entry_by_entry():
    """Of 48 pixels all products of two in a row would be 7,000 unknowns; one weight and one target of each are 600, and as many calls for each batch."""

    def loss(fn, x, sigma, rng, sign=1, joined=False):
        e, kept = rng.standard_normal(x.shape), rng.random((len(x), 1, *x.shape[2:])) < 0.7
        error = fn(x + sigma * e) - sign * e
        return np.mean(kept * (error.sum(1, keepdims=True) if joined else error) ** 2)

    ask = lambda shape, **more: check_loss(
        lambda fn, x, sigma, rng: loss(fn, x, sigma, rng, **more), objective="denoising", shape=shape, predicts="eps"
    )
    report = ask((3, 4, 4))
    assert report and int(re.search(r"(\d+) calls", report.summary)[1]) < 4000, report
    assert ask((2, 3, 3), sign=-1).name == "sign of the target"
    assert "different entries" in ask((2, 2, 2), joined=True).diagnosis
    assert "smaller shape=" in ask((3, 3, 3), joined=True).diagnosis


# ------------------------------------------------------------------------------- known kinds


def single(a):
    return np.asarray(a).astype(np.float32).astype(float)


SINGLE = {  # a part in single precision, the rest in double
    "accumulator": lambda fn, x, sigma, rng: single(half(fn.score(x + sigma * (e := rng.standard_normal(x.shape))) + e / sigma)).mean(),
    "noise over sigma": lambda fn, x, sigma, rng: np.mean(half(fn.score(x + sigma * (e := rng.standard_normal(x.shape))) + single(e / sigma))),
}  # fmt: skip


@pytest.mark.parametrize("name", SINGLE)
def test_a_part_in_single_precision_is_said_and_no_mistake(name):
    report = check_loss(SINGLE[name], objective="denoising")
    assert report, report


def test_a_trace_in_single_precision_is_said_and_a_thousandth_is_still_seen():
    of = lambda c: lambda fn, x: np.mean(half(fn.score(x)) + c * single(fn.trace(x)))
    report = check_loss(of(1.0), objective="implicit")
    assert report and "single precision" in report.notes[0], report
    off = check_loss(of(1.001), objective="implicit")
    assert off.verdict == "FAIL" and "1.001" in off.diagnosis, off


def test_an_fn_that_broadcasts_as_an_energy_too_is_no_accusation():
    def loss(fn, x, sigma, rng):
        e = rng.standard_normal(x.shape)
        out = fn(x + sigma * e)
        return np.mean((out.reshape(len(x), -1) + e / sigma) ** 2)

    assert check_loss(loss, objective="denoising")


def test_noise_that_never_changes_is_found():
    def loss(fn, x, sigma):
        e = np.random.default_rng(0).standard_normal(x.shape)
        return np.mean(half(fn.score(x + sigma * e) + e / sigma))

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and report.name == "fixed noise", report


def test_one_seed_for_time_and_noise_is_found():
    def loss(fn, x, seed):
        t = np.random.default_rng(seed).uniform(0.1, 1.4, len(x))
        e, (c, s) = np.random.default_rng(seed).standard_normal(x.shape), vp(t[:, None])
        return np.mean((fn(c * x + s * e, t) - e) ** 2)

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and report.name == "one key", report


def test_another_time_than_the_noise_has_is_found():
    report = check_loss(diffusion(EPS, told=lambda t, rng: rng.uniform(0.1, 1.4, len(t))), objective="denoising")
    assert report.verdict == "FAIL" and report.name == "level told", report
    assert check_loss(diffusion(EPS, told=lambda t, rng: np.log(np.tan(t))), objective="denoising")


def test_a_running_average_is_state():
    kept = []

    def loss(fn, x):
        kept.append(np.mean(half(fn.score(x)) + fn.trace(x)))
        return np.mean(kept)

    report = check_loss(loss, objective="implicit")
    assert report.verdict == "FAIL" and report.name == "state", report


def test_weights_of_other_rows_are_found():
    def loss(fn, x, sigmas, rng, move=1):
        s = sigmas[rng.integers(len(sigmas), size=len(x))]
        e = rng.standard_normal(x.shape)
        return np.mean(np.roll(s, move) ** 2 * half(fn(x + s[:, None] * e, s) + e / s[:, None]))

    report = check_loss(loss, objective="multilevel_denoising")
    assert report.verdict == "FAIL" and report.name == "weights of other rows", report
    assert check_loss(lambda fn, x, sigmas, rng: loss(fn, x, sigmas, rng, 0), objective="multilevel_denoising")


# ------------------------------------------------------------------------------- what is done to the data, the noise and the time


def perturbed(noise=lambda rng, s: rng.standard_normal(s), mapped=lambda x: x, residual="eps"):
    """fn.score at mapped(x) + sigma eps, pulled to -eps/sigma, written with eps or with the points."""

    def loss(fn, x, sigma, rng):
        x, e = mapped(x), noise(rng, x.shape)
        y = x + sigma * e
        return np.mean(half(fn.score(y) + (e / sigma if residual == "eps" else (y - x) / sigma**2)))

    return loss


def normalised(target):
    """x goes to 2 x - 1 before it is noised, as images do."""
    inner = diffusion(target)
    return lambda fn, x, rng: inner(fn, 2 * x - 1, rng)


@pytest.mark.parametrize("residual", ["eps", "points"])
def test_data_that_are_mapped_affinely_first_are_no_mistake(residual):
    report = check_loss(perturbed(mapped=lambda x: 2 * x - 1, residual=residual), objective="denoising")
    assert report and any("2 x - 1" in note for note in report.notes), report


@pytest.mark.parametrize("said, target", [("eps", EPS), ("x", X), ("v", V), ("score", SCORE)])
def test_predictions_of_mapped_data_are_read_as_those_of_data(said, target):
    assert check_loss(normalised(target), objective="denoising", predicts=said)
    turned = check_loss(normalised(lambda *a: -target(*a)), objective="denoising", predicts=said)
    assert turned.verdict == "FAIL", turned


def test_a_wrong_target_of_mapped_data_is_still_found():
    def loss(fn, x, sigma, rng):
        y = 2 * x - 1 + sigma * rng.standard_normal(x.shape)
        return np.mean(half(fn.score(y) + (y - x) / sigma**2))

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and report.name == "wrong target, constant", report
    report = check_loss(perturbed(lambda rng, s: rng.normal(0.2, 1, s), residual="points"), objective="denoising")
    assert report.verdict == "FAIL" and "mean" in report.diagnosis and "sum over" not in report.diagnosis, report


@pytest.mark.parametrize("residual", ["eps", "points"])
@pytest.mark.parametrize("mapped", [lambda x: x, lambda x: 2 * x - 1])
def test_noise_in_single_precision_is_said_and_no_mistake(residual, mapped):
    in_single = lambda rng, s: rng.standard_normal(s, dtype=np.float32)
    report = check_loss(perturbed(in_single, mapped, residual), objective="denoising")
    assert report and any("single precision" in note for note in report.notes), report


def test_a_thousandth_is_seen_beside_noise_in_single_precision():
    def loss(fn, x, sigma, rng):
        y = x + sigma * rng.standard_normal(x.shape, dtype=np.float32)
        return np.mean(half(fn.score(y) + 1.001 * (y - x) / sigma**2))

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and "1.001" in report.diagnosis, report


def joined(target, mix=lambda d: np.linalg.cholesky(0.5 * np.eye(d) + 0.5), call=lambda fn, y: fn.score(y)):
    """Noise sigma B r, r unit normals, pulled to target(r, e = B r, sigma, C = B B^T)."""

    def loss(fn, x, sigma, rng):
        B, r = mix(x.shape[1]), rng.standard_normal(x.shape)
        e = r @ B.T
        return np.mean(half(call(fn, x + sigma * e) - target(r, e, sigma, B @ B.T)))

    return loss


def test_correlated_noise_has_another_score():
    wrong = lambda r, e, s, C: -e / s
    report = check_loss(joined(wrong), objective="denoising")
    assert report.verdict == "FAIL" and report.name == "correlated noise", report
    report = check_loss(joined(wrong, lambda d: np.diag(np.linspace(0.5, 1.5, d))), objective="denoising")
    assert report.verdict == "FAIL" and report.name == "noise of other sizes", report
    report = check_loss(joined(wrong, call=lambda fn, y: fn(y)), objective="denoising")  # fn may be C times the score
    assert report.verdict == "INCONCLUSIVE" and report.name == "correlated noise", report
    unmixed = joined(lambda r, e, s, C: r, call=lambda fn, y: fn(y))  # the noise before it was mixed
    report = check_loss(unmixed, objective="denoising", predicts="eps")
    assert report.verdict == "FAIL" and "not the noise that was added" in report.diagnosis, report
    assert check_loss(joined(lambda r, e, s, C: e, call=lambda fn, y: fn(y)), objective="denoising", predicts="eps")


def test_the_score_of_correlated_noise_is_right():
    assert check_loss(joined(lambda r, e, s, C: -e @ np.linalg.inv(C) / s), objective="denoising")
    turned = lambda d: np.linalg.qr(np.arange(1.0, d * d + 1).reshape(d, d) ** 1.5 + np.eye(d))[0]
    assert check_loss(joined(lambda r, e, s, C: -e / s, turned), objective="denoising")
    off = check_loss(joined(lambda r, e, s, C: e @ np.linalg.inv(C) / s), objective="denoising")
    assert not off, off


SCHEDULES = {"preserving": vp, "cosine": lambda t: (np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)), "line": lambda t: (1 - t, t)}  # fmt: skip


def told_beside(schedule, told, noised=lambda t: t):
    def loss(fn, x, t, rng):
        (c, s), e = SCHEDULES[schedule](noised(t)[:, None]), rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * e, told(t)) - e) ** 2)

    return loss


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_time_of_another_row_is_found_under_every_schedule(schedule):
    report = check_loss(told_beside(schedule, lambda t: np.roll(t, 1)), objective="multilevel_denoising")
    assert report.verdict == "FAIL" and report.name == "level told", report
    for told, noised in (
        (lambda t: t, lambda t: t),
        (lambda t: np.roll(t, 1), lambda t: np.roll(t, 1)),
        (lambda t: 1000 * t, lambda t: t),
        (lambda t: np.log(t), lambda t: t),
        (lambda t: np.round(4 * t), lambda t: t),
    ):
        report = check_loss(told_beside(schedule, told, noised), objective="multilevel_denoising")
        assert report.verdict != "FAIL", report


def test_a_constant_added_beside_any_scale_is_no_accusation():
    def loss(fn, x, t, rng):
        (c, s), e = vp(t[:, None]), rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * e + 1, t) - e) ** 2)

    report = check_loss(loss, objective="multilevel_denoising")
    assert report.verdict != "FAIL", report
    both = lambda rng, s: 0.6 * rng.standard_normal(s) + 0.8 * rng.standard_normal((s[0], 1))
    report = check_loss(perturbed(both), objective="denoising")
    assert report.verdict == "FAIL" and report.name == "correlated noise", report


def test_antithetic_noise_is_not_shared():
    both = lambda rng, s: np.concatenate([e := rng.standard_normal((s[0] // 2, s[1])), -e])
    assert check_loss(perturbed(both), objective="denoising")
    report = check_loss(perturbed(lambda rng, s: np.ones(s) * rng.standard_normal(s[1])), objective="denoising")
    assert report.verdict == "FAIL" and report.name == "shared noise", report


# ------------------------------------------------------------------------------- factors in words

# five settings in which n, d, sigma, m, c and L follow no law in each other
SETTINGS = [Level(4, 2, 0.5, 1, 0.9, 3), Level(6, 3, 0.8, 2, 0.7, 4), Level(2, 4, 0.3, 3, 0.95, 2), Level(8, 3, 0.65, 1, 0.6, 5), Level(6, 2, 0.8, 2, 0.5, 3)]  # fmt: skip
FACTORS = {  # text -> the factor of a setting
    "1": lambda s: 1.0,
    "-1": lambda s: -1.0,
    "1/2": lambda s: 0.5,
    "0.37": lambda s: 0.37,
    "2/d": lambda s: 2 / s.d,
    "n": lambda s: s.n,
    "1/n^2": lambda s: s.n**-2.0,
    "sigma^4": lambda s: s.sigma**4,
    "sqrt(sigma)": lambda s: s.sigma**0.5,
    "1/sqrt(d)": lambda s: s.d**-0.5,
    "sqrt(n)": lambda s: s.n**0.5,
    "m": lambda s: s.m,
    "c^2": lambda s: s.scale**2,
    "1/L": lambda s: 1 / s.levels,
    "-sigma/2": lambda s: -s.sigma / 2,
    "n/(n-1)": lambda s: s.n / (s.n - 1),
    "(n-1)/n": lambda s: (s.n - 1) / s.n,
    "2 (n-1)/n": lambda s: 2 * (s.n - 1) / s.n,
    "(d-1)/d": lambda s: (s.d - 1) / s.d,
    "d/(d-1)": lambda s: s.d / (s.d - 1),
    "1/(d-1)": lambda s: 1 / (s.d - 1),
    "1/(d+1)": lambda s: 1 / (s.d + 1),
    "1/(1+sigma^2)": lambda s: 1 / (1 + s.sigma**2),
    "(1+sigma^2)": lambda s: 1 + s.sigma**2,
    "sigma (1+sigma^2)": lambda s: s.sigma * (1 + s.sigma**2),
    "(1-sigma)": lambda s: 1 - s.sigma,
}


@pytest.mark.parametrize("text", FACTORS)
def test_a_factor_is_read_off_in_five_settings(text):
    found = factor([FACTORS[text](s) for s in SETTINGS], SETTINGS, 1e-9)
    assert (found.text, found.known, found.rtol) == (text, True, COARSEST)
    first = SETTINGS[0]
    values = {"n": first.n, "d": first.d, "sigma": first.sigma, "m": first.m, "c": first.scale, "L": first.levels}
    law = found.c * np.prod([values[k] ** p for k, p in found.powers.items()])
    of_form = FACTORS.get(found.form, lambda s: 1.0)(first)
    assert law * of_form == pytest.approx(FACTORS[text](first), rel=1e-9)  # a few roundings
    assert found.one == (text == "1")


def test_what_follows_no_law_is_told_by_its_range():
    for values in (
        [1, 2, 3, 4, 6.5],
        [s.n**2 * s.n / (s.n - 1) for s in SETTINGS],
        [np.exp(s.sigma) for s in SETTINGS],
    ):
        found = factor(values, SETTINGS, 1e-9)
        assert not found.known and not found.one and found.powers == {} and found.c == values[0]
        assert found.text == f"between {min(values):.4g} and {max(values):.4g} from setting to setting"
    for values in ([1, 1, 0, 1, 1], [1, 1, -1, 1, 1]):  # no logarithms of them
        found = factor(values, SETTINGS, 1e-9)
        assert not found.known and found.text == f"between {min(values)} and 1"
    assert factor([1.0, 1.0], [Level(4, 2, 1.0), Level(6, 2, 1.0)], 1e-9).one
    assert factor([4.0, 7.0], [Level(4, 2, 1.0), Level(6, 2, 1.0)], 1e-9).text.startswith(
        "between"
    )  # 1 - sigma is 0 there


def test_factors_agree_to_what_levels_in_single_precision_leave():
    """A level is off by 6e-8 there, its cube by three times that; a unit more than `COARSEST` is another factor."""
    of = lambda off, rtol=0.0: factor([0.5, 0.5 * (1 + off), 0.5], SETTINGS[:3], rtol)
    assert of(0.9 * COARSEST).text == "1/2" and of(0.9 * COARSEST).c == 0.5
    assert not of(1.5 * COARSEST).known and of(1.5 * COARSEST, 2 * COARSEST).known
    assert of(0.0, 1e-3).rtol == 1e-3
    near = Factor(1 + 0.9 * COARSEST, {}, "", True)
    assert near.one and not Factor(1 + 1.5 * COARSEST, {}, "", True).one and not near._replace(form="n/(n-1)").one
    assert not near._replace(powers={"d": 1}).one and not near._replace(known=False).one


def test_of_two_accounts_the_plain_one_is_taken():
    cost = lambda c=1.0, powers=(), known=True, form="": Factor(c, dict(powers), "", known, 1e-9, form).cost
    assert cost() == 0 and cost(2.0) == 1 and cost(1 + 2e-6) == 1 and cost(1 + 0.5e-6) == 0
    assert cost(-1.0) == 1 and cost(-2.0) == 2 and cost(form="n/(n-1)") == 1 and cost(known=False) == 5
    assert cost(powers={"d": -1}) == 2 and cost(powers={"d": -2, "n": 1}) == 6


CONVERSIONS = {  # (objective, c, powers) -> why
    ("implicit", 2, ()): "no 1/2 in front of the square",
    ("implicit", 1, (("d", -1),)): "a mean over dimensions instead of a sum",
    ("implicit", 2, (("d", -1),)): "a mean over dimensions instead of a sum, and no 1/2",
    ("implicit", 1, (("n", 1),)): "a sum over samples instead of a mean",
    ("implicit", 2, (("n", 1),)): "a sum over samples instead of a mean, and no 1/2",
    ("multilevel_denoising", 1, (("L", 1),)): "a sum over levels instead of a mean",
    ("multilevel_denoising", 2, (("L", 1),)): "a sum over levels instead of a mean, and no 1/2",
    ("sliced", 1, (("m", 1),)): "a sum over probes instead of a mean",
    ("sliced", 1, (("d", -1),)): "slices of unit length, or a mean over dimensions",
    ("sliced", 2, (("d", -1),)): "a mean over dimensions instead of a sum, and no 1/2",
    ("denoising", 1, (("sigma", 2),)): "weighted by sigma^2",
    ("denoising", 2, (("sigma", 2),)): "weighted by sigma^2 without the 1/2: the mean of |eps_theta - eps|^2 of a noise-predicting network",
    ("denoising", 1, (("sigma", 4),)): "weighted by sigma^4: the loss of sigma^2 s",
    ("denoising", 2, (("sigma", 4),)): "weighted by sigma^4 without the 1/2",
    ("denoising", 3, ()): "",
}  # fmt: skip


@pytest.mark.parametrize("case", CONVERSIONS, ids=str)
def test_a_scale_of_the_whole_loss_is_told_with_its_reason(case):
    objective, c, powers = case
    K = Factor(c * (1 + 0.5e-6), dict(powers), "so many", True)
    why = f" ({CONVERSIONS[case]})" if CONVERSIONS[case] else ""
    assert conversion(K, objective) == (
        f"another convention: your loss is so many times the reference{why}; the minimiser is the same; divide yours by so many to get the reference"
    )


def said_of(objective, square, linear, rtol=1e-9, count=5):
    """What is said of a loss whose terms have these factors."""
    of = lambda f: np.array([f(s) if callable(f) else float(f) for s in SETTINGS[:count]])
    return name_right(objective, of(linear), of(square), SETTINGS[:count], rtol)


TERMS = {  # (objective, factor of the square, factor of the linear term) -> verdict, diagnosis
    ("implicit", 1, 1): ("PASS", ""),
    ("implicit", 2, 2): ("PASS", ""),
    ("implicit", -1, -1): ("FAIL", "sign of the loss: your loss is -1 times the reference; minimising it drives the score away from the data"),
    ("implicit", 1, -1): ("FAIL", "sign of the trace: the trace enters with the wrong sign"),
    ("implicit", -1, 1): ("FAIL", "sign of the square: the square of the score enters with the wrong sign"),
    ("implicit", 1, 0.5): ("FAIL", "trace halved: the trace is half of what it should be beside the other term"),
    ("implicit", 2, 1): ("FAIL", "square doubled: the square of the score is twice what it should be beside the other term; its 1/2 is missing"),
    ("implicit", 1, 2): ("FAIL", "trace doubled: the trace is twice what it should be beside the other term; or the square has a 1/2 too many"),
    ("implicit", 2, 4): ("FAIL", "trace doubled: the trace is twice what it should be beside the other term; or the square has a 1/2 too many (and the whole loss is 2 times the reference)"),
    ("implicit", 1, 0): ("FAIL", "no trace: the trace is missing from your loss (or kept from a call before, the same whatever fn is?); it is minimised by a score of zero"),
    ("implicit", 0, 1): ("FAIL", "no square: the square of the score is missing from your loss (or kept from a call before, the same whatever fn is?); it has no minimum"),
    ("implicit", 0, 2): ("FAIL", "no square: the square of the score is missing from your loss (or kept from a call before, the same whatever fn is?); it has no minimum"),
    ("implicit", 1, lambda s: 1 / s.d): ("FAIL", "trace divided by d: the trace is 1/d of what it should be beside the other term, a mean over dimensions where the other term has a sum"),
    ("implicit", 1, lambda s: -1 / s.d): ("FAIL", "trace divided by d: the trace is -1/d of what it should be beside the other term, a mean over dimensions where the other term has a sum, with the wrong sign"),
    ("implicit", 1, lambda s: 2 / s.d): ("FAIL", "scale of the trace: the trace is 2/d times what it should be beside the other term"),
    ("implicit", 1, lambda s: -0.3): ("FAIL", "scale of the trace: the trace is -3/10 times what it should be beside the other term, with the wrong sign"),
    ("implicit", 1, lambda s: s.n / (s.n - 1)): ("FAIL", "scale of the trace: the trace is n/(n-1) times what it should be beside the other term"),
    ("implicit", 1, lambda s: s.d): ("FAIL", "trace multiplied by d: the trace is d of what it should be beside the other term, a sum over dimensions where the other term has a mean"),
    ("implicit", 1, lambda s: 1 / s.n): ("FAIL", "trace divided by n: the trace is 1/n of what it should be beside the other term, averaged over the batch once more than the other term"),
    ("implicit", 1, lambda s: s.n): ("FAIL", "trace multiplied by n: the trace is n of what it should be beside the other term, summed over the batch where the other term is averaged"),
    ("sliced", 1, lambda s: s.m): ("FAIL", "curvature multiplied by the number of probes: the curvature v.J v is m of what it should be beside the other term, their sum is never divided by it"),
    ("sliced", 1, lambda s: 1 / s.m): ("FAIL", "curvature divided by the number of probes: the curvature v.J v is 1/m of what it should be beside the other term, once too often, or the other term is never divided by it"),
    ("sliced", 1, lambda s: 1 / s.d): ("FAIL", "curvature divided by d: the curvature v.J v is 1/d of what it should be beside the other term, a mean over dimensions where the other term has a sum (or slices of unit length, E[v v^T] = I/d)"),
    ("explicit", 1, -1): ("FAIL", "sign of the target: the score is pulled towards minus the target, that is towards grad E; the target is s_0"),
    ("explicit", 2, -2): ("FAIL", "sign of the target: the score is pulled towards minus the target, that is towards grad E; the target is s_0 (and the whole loss is 2 times the reference)"),
    ("explicit", 1, 3): ("FAIL", "scale of the target: the target is 3 times what it should be, s_0; the minimiser is 3 times the score"),
    ("explicit", 1, lambda s: -s.d): ("FAIL", "scale of the target: the target is -d times what it should be, s_0; the minimiser is -d times the score"),
    ("explicit", 1, 0): ("FAIL", "no product with the target: the product with the target is missing from your loss (or kept from a call before, the same whatever fn is?); it is minimised by a score of zero"),
}  # fmt: skip


@pytest.mark.parametrize("case", TERMS, ids=range(len(TERMS)))
def test_two_terms_and_their_factors_are_a_sentence(case):
    naming = said_of(*case)
    assert (naming.verdict, naming.diagnosis) == TERMS[case]
    assert bool(naming.notes) == (naming.verdict == "PASS" and case[1] == 2)
    if 0 not in case:
        texts = [factor([f(s) if callable(f) else f for s in SETTINGS], SETTINGS, 1e-9).text for f in case[1:]]
        linear = {"implicit": "trace", "sliced": "curvature v.J v", "explicit": "product with the target"}[case[0]]
        assert naming.pattern == (
            f"loss = {texts[0]} x [square of the score] + {texts[1]} x [{linear}] + constant (right: the same factor for both)"
        )


def test_of_three_terms_those_that_agree_are_the_rest():
    names = ("square of the score", WEIGHTED, SLOPE)
    of = lambda *c: name_parts("generalised", {n: np.full(5, v) for n, v in zip(names, c, strict=True)}, SETTINGS, 1e-9)
    assert of(1.0, 1.0, 1.0).verdict == "PASS" and "(right: the same factor for all)" in of(1.0, 1.0, 1.0).pattern
    assert of(1.0, 1.0, 0.5).diagnosis == (
        "derivative term halved: the term sum h_i' s_i with the derivative of the weight is half of what it should be beside the rest"
    )
    assert of(2.0, 1.0, 1.0).diagnosis == (
        "square doubled: the square of the score is twice what it should be beside the rest; its 1/2 is missing"
    )
    assert of(1.0, 2.0, 1.0).diagnosis == (
        "weighted trace doubled: the weighted trace sum h_i J_ii is twice what it should be beside the rest"
    )
    assert of(1.0, 1.0, 0.0).diagnosis == (
        "no derivative term: the term sum h_i' s_i with the derivative of the weight is missing from your loss (or kept from a call before, the same whatever fn is?); it is minimised by another score"
    )
    both = of(1.0, 3.0, -1.0).diagnosis  # each beside the first
    assert both.count("; ") == 1 and "scale of the weighted trace" in both and "sign of the derivative term" in both
    assert missing("regularised", REGULARISER).endswith("; nothing penalises the curvature")


def test_a_term_is_gone_where_it_is_less_than_is_known():
    assert said_of("implicit", 1, 1e-10).diagnosis.startswith("no trace")
    assert said_of("implicit", 1, 1e-4, rtol=1e-3).diagnosis.startswith("no trace")
    assert said_of("implicit", 1, 1e-8).diagnosis.startswith("scale of the trace")
    uneven = said_of("implicit", lambda s: s.n != 4, 1)  # a square that is gone in one setting alone is there
    assert uneven.verdict == "FAIL" and "no square" not in uneven.diagnosis


# ------------------------------------------------------------------------------- probes, and the regression


@pytest.mark.parametrize("kind", ["energy", "score"])
def test_a_probe_s_score_and_jacobian_are_its_derivatives(kind):
    """Complex steps of 1e-30 are exact to rounding; the terms are of order ten."""
    d, rng = 3, np.random.default_rng(1)
    x, step = rng.standard_normal((5, d)), 1e-30 * np.eye(d)
    for probe in (random_probe(kind, d, rng), Probe(kind, d, rng, scale=0.7, ridges=0).scaled(-2.0)):
        slope = lambda f, i: f(x + 1j * step[i]).imag / 1e-30
        if kind == "energy":
            score = -np.stack([slope(probe.energy, i) for i in range(d)], axis=-1)
            np.testing.assert_allclose(probe.score(x), score, rtol=0, atol=1e-12)
        jac = np.stack([slope(probe.score, i) for i in range(d)], axis=-1)
        np.testing.assert_allclose(probe.jacobian(x), jac, rtol=0, atol=1e-12)
        np.testing.assert_allclose(probe.trace(x), np.einsum("nii->n", jac), rtol=0, atol=1e-12)
        symmetric = np.abs(probe.jacobian(x) - probe.jacobian(x).swapaxes(1, 2)).max()
        assert (symmetric <= 1e-12) == (kind == "energy")


def test_probes_are_moved_scaled_and_of_random_size():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((4, 3))
    for kind in ("energy", "score"):
        probe = random_probe(kind, 3, rng)
        np.testing.assert_allclose(probe.scaled(-1.5).score(x), -1.5 * probe.score(x), rtol=1e-12)
        np.testing.assert_allclose(probe.scaled(-1.5).energy(x), -1.5 * probe.energy(x), rtol=1e-12)
        near, far = (np.abs(probe.moved(h, np.random.default_rng(5)).score(x) - probe.score(x)) for h in (1e-3, 1e-2))
        assert near.max() < 0.1  # twenty numbers of order one, a thousandth of each
        np.testing.assert_allclose(far, 10 * near, rtol=1e-9, atol=1e-12)  # linear in what is moved
        moved = probe.moved(1e-3, rng)
        symmetric = np.abs(moved.jacobian(x) - moved.jacobian(x).swapaxes(1, 2)).max() < 1e-12
        assert symmetric == (kind == "energy")
        assert np.all(moved.A != probe.A) and np.all(moved.b != probe.b) and np.all(moved.R != probe.R)
    flat = Probe.isotropic("energy", 3, 2.5, b=0.5)
    np.testing.assert_allclose(flat.energy(x), 1.25 * np.sum(x**2, 1) + 0.5 * x.sum(1), rtol=1e-13)
    np.testing.assert_array_equal(Probe.isotropic("score", 3, 2.5).score(x), -2.5 * x)
    sizes = [np.abs(random_probe("energy", 40, rng).A).max() for _ in range(40)]
    assert 2 < max(sizes) / min(sizes) < 12  # scales from 1/2 to 2, of the largest of 1600 normals


def test_a_probe_answers_as_a_network_and_as_numpy_code_does():
    rng = np.random.default_rng(3)
    x, v = rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    for kind in ("energy", "score"):
        probe = random_probe(kind, 6, rng)
        asked, images = Asked(probe, np.asarray), Asked(probe, np.asarray, shape=(2, 3))
        value = probe.energy(x) if kind == "energy" else probe.score(x)
        np.testing.assert_allclose(asked(x), value, rtol=1e-12)
        asked.scale = images.scale = -3.0
        np.testing.assert_allclose(asked(x, 0.3, label=None), -3 * value, rtol=1e-12)
        np.testing.assert_allclose(images(x.reshape(4, 2, 3)).reshape(value.shape), -3 * value, rtol=1e-12)
        np.testing.assert_allclose(images(x).reshape(value.shape), -3 * value, rtol=1e-12)  # flat points do as well
        assert not asked.as_score
        J = probe.jacobian(x)
        np.testing.assert_array_equal(asked.energy(x), probe.energy(x))
        assert not asked.as_score
        np.testing.assert_array_equal(asked.trace(x), probe.trace(x))
        np.testing.assert_allclose(asked.jvp(x, v), np.einsum("nij,nj->ni", J, v), rtol=1e-12)
        np.testing.assert_allclose(asked.vjp(x, v), np.einsum("nij,ni->nj", J, v), rtol=1e-12)
        np.testing.assert_allclose(asked.curvature(x, v), np.einsum("ni,nij,nj->n", v, J, v), rtol=1e-10)
        np.testing.assert_array_equal(asked.score(x, 0.5, time=np.arange(4)), probe.score(x))
        assert asked.as_score
        told = [[np.asarray(t).tolist() for t in more] for more in asked.told]
        assert told[1] == [0.3] and told[-1] == [0.5, [0, 1, 2, 3]] and len(asked.points) == len(told) == 8
        assert asked(x.astype(np.float32)).dtype == np.float32  # in the user's precision


class Form:
    """A loss that is known: 1/2 s.A s + b.s + C : J + 1/2 sum J.D J + e.E + 1/2 E.F E + 3, of what a probe answers at some points."""

    eps = 2.2e-16

    def __init__(self, points, noise=0.0, **arrays):
        self.points, self.arrays, self.noise = points, arrays, noise

    def values(self, probes, setting):
        a, out = self.arrays, []
        for k, p in enumerate(probes):
            s, J, E = p.score(self.points), p.jacobian(self.points), p.energy(self.points)
            value = 3.0 + self.noise * (-1) ** k
            value += 0.5 * np.einsum("ia,iajb,jb", s, a["A"], s) if "A" in a else 0
            value += np.sum(a["b"] * s) if "b" in a else 0
            value += np.sum(a["C"] * J) if "C" in a else 0
            value += 0.5 * a["D"] * np.einsum("nii,nii->", J, J) if "D" in a else 0
            value += a["e"] @ E if "e" in a else 0
            value += 0.5 * E @ a["F"] @ E if "F" in a else 0
            out.append(value)
        return np.array(out)


def answers_of(kind, M=3, d=2, noise=0.0, **arrays):
    rng = np.random.default_rng(7)
    points = rng.standard_normal((M, d))
    trial = Trial(SimpleNamespace(d=d, n=M), points, None)
    return Answers(Form(points, noise, **arrays), kind, trial, rng)


def own_blocks(rng, M, d):
    """A (M, d, M, d) that multiplies answers of one point alone."""
    A = np.zeros((M, d, M, d))
    for i in range(M):
        B = rng.standard_normal((d, d))
        A[i, :, i] = B + B.T
    return A


@pytest.mark.parametrize("kind", ["energy", "score"])
def test_all_arrays_of_a_loss_are_solved(kind):
    """Equations of condition 1e3 at most, so twelve digits of numbers of order one."""
    rng, M, d = np.random.default_rng(4), 3, 2
    even = (lambda C: (C + C.swapaxes(1, 2)) / 2) if kind == "energy" else (lambda C: C)
    b, C, e = rng.standard_normal((M, d)), even(rng.standard_normal((M, d, d))), rng.standard_normal(M)
    A, F, close = own_blocks(rng, M, d), rng.standard_normal((M, M)), {"rtol": 0, "atol": 1e-8}
    F = F + F.T
    one = answers_of(kind, A=A, b=b, C=C)
    found = identify(one)
    assert found.fit.exact and found.doubt < 1e-8 and found.cross == 0
    for name, array in (("A", A), ("b", b), ("C", C), ("D", 0), ("e", 0), ("F", 0)):
        np.testing.assert_allclose(getattr(found, name), array, **close)
    np.testing.assert_array_equal(found.own, np.array([found.A[i, :, i] for i in range(M)]))
    width = 4 if kind == "score" else 3
    assert len(one.probes) == len(one.values) == M * (3 + 2 + width) + 2 + SPARE and found.D.shape == (M, width, width)
    assert found.fit.coefficients.shape == found.fit.doubt.shape == (M * (3 + 2 + width),)
    scores = identify(answers_of(kind, A=A, b=b, noise=1e-3), jacobian=False)  # 3 products and 2 scores at each point
    doubt = scores.fit.doubt[:9].reshape(M, 3), scores.fit.doubt[9:].reshape(M, 2)
    np.testing.assert_array_equal(scores.doubts, np.concatenate(doubt, axis=1).max(1))
    assert scores.doubt == pytest.approx(scores.fit.doubt.max() / np.abs(scores.fit.coefficients).max())
    assert not identify(answers_of(kind, A=A, b=b, C=C), jacobian=False).fit.near
    whole = rng.standard_normal((M * d, M * d))
    whole = (whole + whole.T).reshape(M, d, M, d)
    joined = identify(answers_of(kind, A=whole, b=b, C=C), [np.arange(M)])
    np.testing.assert_allclose(joined.A, whole, **close)
    off = np.abs(whole) * (1 - np.eye(M))[:, None, :, None]
    assert joined.cross == pytest.approx(off.max() / np.abs(whole).max(), rel=1e-8)
    assert not identify(answers_of(kind, A=whole, b=b, C=C)).fit.near
    if kind == "energy":
        squares = identify(answers_of(kind, A=A, b=b, C=C, e=e, F=F), [np.arange(M)], quadratic=("S", "E"))
        for name, array in (("A", A), ("b", b), ("C", C), ("e", e), ("F", F)):
            np.testing.assert_allclose(getattr(squares, name), array, rtol=0, atol=1e-7)
    regularised = identify(answers_of(kind, A=A, b=b, C=C, D=0.6), quadratic=("S", "J"))
    basis = entries_of(kind, d)
    meant = 0.6 * np.einsum("pii,qii->pq", basis, basis)
    np.testing.assert_allclose(regularised.D, np.broadcast_to(meant, (M, *meant.shape)), rtol=0, atol=1e-7)
    np.testing.assert_allclose(regularised.C, C, rtol=0, atol=1e-7)


def test_one_more_term_has_the_last_coefficient_and_asks_no_more():
    one = answers_of("score", A=own_blocks(np.random.default_rng(0), 3, 2), C=np.ones((3, 2, 2)))
    one.grow(40)
    one.values = one.values + 0.25 * np.abs(one.S).sum((1, 2))
    found = identify(one, jacobian=True, beside=np.abs(one.S).sum((1, 2)))
    assert found.fit.exact and found.fit.coefficients[-1] == pytest.approx(0.25, rel=1e-9) and len(one.probes) == 40
    np.testing.assert_allclose(found.C, 1, rtol=1e-9)


def test_in_many_dimensions_entries_are_looked_at_one_by_one_first():
    d, rng = WIDE + 1, np.random.default_rng(5)
    w, C = rng.standard_normal((2, d)), np.zeros((2, d, d))
    A = np.zeros((2, d, 2, d))
    for i in range(2):
        A[i, np.arange(d), i, np.arange(d)] = w[i]
        C[i] = np.diag(w[1 - i])
    few = answers_of("score", M=2, d=d, A=A, C=C)
    found = identify(few)
    assert found.fit.exact and len(few.probes) == 2 * (d + 2 * d) + 2 + SPARE  # squares, scores and the diagonal
    np.testing.assert_allclose(found.A, A, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.C, C, rtol=0, atol=1e-8)
    A[0, 0, 0, 1] = A[0, 1, 0, 0] = 0.5
    found = identify(answers_of("score", M=2, d=d, A=A), jacobian=False)
    assert found.fit.exact and found.A[0, 0, 0, 1] == pytest.approx(0.5, rel=1e-6)
    many = answers_of("score", M=32, d=d, A=np.zeros((32, d, 32, d)) + 0.1)  # 32 (45 + 9 + 81) unknowns are too many
    assert not identify(many).fit.near and len(many.probes) == 32 * 3 * d + 2 + SPARE
    narrow = answers_of("score", M=1, d=WIDE, A=np.zeros((1, WIDE, 1, WIDE)), b=np.ones((1, WIDE)))
    identify(narrow, jacobian=False)
    assert len(narrow.probes) == WIDE * (WIDE + 1) // 2 + WIDE + 2 + SPARE


def test_the_entries_of_a_jacobian_make_up_all_of_it():
    J = np.arange(9.0).reshape(3, 3)
    even, basis = J + J.T, entries_of("energy", 3)
    assert basis.shape == (6, 3, 3) and entries_of("score", 3).shape == (9, 3, 3)
    np.testing.assert_array_equal(np.einsum("wij,ij->w", entries_of("score", 3), J), J.ravel())
    np.testing.assert_array_equal(np.einsum("wij,ij->w", basis, even), even[np.triu_indices(3)])
    np.testing.assert_array_equal(entries_of("energy", 3, True), entries_of("score", 3, True))
    np.testing.assert_array_equal(np.einsum("wij,ij->w", entries_of("score", 3, True), J), [0, 4, 8])


def test_probes_near_each_other_move_from_the_first():
    one = answers_of("energy", b=np.ones((3, 2)))
    one.grow(3).grow(2)
    assert len(one.probes) == 3
    near = one.near(1e-3).grow(4)
    assert np.ptp(near.S, axis=0).max() < 0.1 < np.ptp(one.S, axis=0).max()
    np.testing.assert_array_equal(one.of(lambda p: p.trace(one.trial.points)), np.einsum("pmii->pm", one.J))
    first = one.S.copy()
    assert one.grow(5).S.shape == (5, 3, 2) and np.array_equal(one.S[:3], first) and one.E.shape == (5, 3)


def test_the_standard_errors_of_least_squares():
    """Against (X^T X)^-1 with the columns as they are; the rounding of what is summed is added."""
    rng = np.random.default_rng(6)
    X, scale = rng.standard_normal((30, 3)) * [1, 100, 1e-3], np.array([2.0, -1.0, 5.0])
    y = 4 + X @ scale + 0.01 * rng.standard_normal(30)
    fit = solve(X, y, 2.2e-16)
    full = np.column_stack([np.ones(30), X])
    right, *_ = np.linalg.lstsq(full, y, rcond=None)
    left = y - full @ right
    error = np.sqrt(left @ left / 26 * np.diag(np.linalg.inv(full.T @ full)))
    np.testing.assert_allclose(fit.coefficients, right[1:], rtol=1e-9)
    np.testing.assert_allclose(fit.doubt, error[1:], rtol=1e-9)
    sizes = np.abs(full * right).sum(1) + np.abs(y)
    assert fit.residual == pytest.approx(np.abs(left).max() / sizes.max(), rel=1e-9)
    assert not fit.exact and not fit.near
    assert solve(X, y, 2.2e-16, floor=np.abs(left).max() * 1.001).exact  # what the user's own rounding may leave
    assert not solve(X, y, 2.2e-16, floor=np.abs(left).max() * 0.999).exact
    eps = np.abs(left).max() / (UNITS * sizes.max())
    assert solve(X, y, 1.001 * eps).exact and not solve(X, y, 0.999 * eps).exact
    coarse = solve(X, 4 + X @ scale, 1e-3)  # nothing is left: what rounding may do remains
    parts = np.abs(full * [4, *scale]).sum(1) + np.abs(4 + X @ scale)
    inverse = np.sqrt(np.diag(np.linalg.inv(full.T @ full)))
    np.testing.assert_allclose(coarse.doubt, 1e-3 * np.sqrt(np.mean(parts**2)) * inverse[1:], rtol=1e-6)
    square = solve(np.eye(3)[:, :2], np.array([1.0, 2.0, 3.0]), 2.2e-16)  # as many unknowns as equations
    np.testing.assert_allclose(square.coefficients, [-2, -1], rtol=1e-12)
    assert np.all(np.isfinite(square.doubt)) and square.exact


def test_columns_that_follow_from_others_or_are_nothing_are_shared():
    """The smallest coefficients that explain the values: those of a pseudo-inverse of columns of one length."""
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((2, 30))
    fit = solve(np.stack([a, a, 0 * a, b], axis=1), 3 * a + b + 1, 2.2e-16)
    assert fit.exact and np.all(np.isfinite(fit.doubt))
    np.testing.assert_allclose(fit.coefficients, [1.5, 1.5, 0, 1], atol=1e-10)
    near = Fit(np.zeros(1), np.zeros(1), 0.99e-5, False)
    assert near.near and not near._replace(residual=1.01e-5).near and near._replace(residual=1.0, exact=True).near


# ------------------------------------------------------------------------------- what a loss takes, and what it is given


def caller_of(loss, objective, condition=None, shape=None, **known):
    weight = (lambda x: x, lambda x: 1 + 0 * x)
    said = {"step": 0.05, "weight": weight, "predicts": None, "score_of": None, "kernel": None, "levels": None}
    return LossCaller("check_loss", loss, objective, None, said | known, None, shape, condition)


def taking(*parameters):
    return eval(f"lambda fn, x, {', '.join(parameters)}: 0.0")


TAKEN = {  # objective, parameters -> what they are given
    ("denoising", "sigma", "rng"): ["sigma", "source"],
    ("denoising", "noise_std", "eps"): ["sigma", "noise"],
    ("denoising", "z", "t", "key"): ["noise", "t", "source"],
    ("denoising", "alpha_bar", "x0", "seed"): ["alpha", "noise", "source"],
    ("denoising", "level_of_noise"): ["sigma"],  # the one that it must be handed
    ("multilevel_denoising", "sigmas", "labels", "epsilon"): ["sigmas", "level", "noise"],
    ("multilevel_denoising", "alphas_cumprod", "t"): ["alphas", "t"],
    ("multilevel_denoising", "sigma", "generator"): ["sigma", "source"],
    ("explicit", "target"): ["target"],
    ("explicit", "whatever"): ["target"],
    ("explicit", "other=3"): [],
    ("generalised", "a", "b"): ["h", "h_prime"],
    ("generalised", "dh", "h"): ["h_prime", "h"],
    ("sliced", "probes", "num_slices"): ["v", "n_probes"],
    ("sliced", "*", "directions"): ["v"],
    ("finite_difference_sliced", "v", "eps", "rng"): ["v", "step", "source"],
    ("finite_difference_sliced", "delta", "slices"): ["step", "v"],
    ("regularised", "lambda_"): ["lam"],
}


@pytest.mark.parametrize("case", TAKEN, ids=" ".join)
def test_parameters_are_known_by_their_names(case):
    objective, *parameters = case
    takes = caller_of(taking(*parameters), objective).takes
    names = [p.split("=")[0] for p in parameters if p != "*"]
    order = {name: what for what, (name, _) in takes.items()}
    assert [order[n] for n in names if n in order] == TAKEN[case]
    assert {how for _, how in takes.values()} <= {"named"}


def test_what_a_loss_cannot_take_is_said():
    def only(fn):
        return 0.0

    for loss, objective, error, words in (
        (only, "implicit", TypeError, "loss takes 1 positional arguments, expected loss(fn, x, ...)"),
        (taking("temperature"), "implicit", TypeError, "has a parameter 'temperature' that means nothing to the objective 'implicit'"),
        (taking("*", "temperature"), "explicit", TypeError, "lambda fn, x: loss(fn, x, temperature=...), or say condition={'temperature': ...}."),
        (taking("sigma", "sigma_n"), "denoising", TypeError, "parameter 'sigma_n'"),
        (3.0, "implicit", TypeError, "loss is 3.0, expected a function loss(fn, x, ...)."),
    ):  # fmt: skip
        with pytest.raises(error, match=re.escape(words)):
            caller_of(loss, objective)
    assert caller_of(taking("temperature"), "implicit", {"temperature": 2}).takes == {}
    assert caller_of(lambda *a: 0.0, "implicit").takes == {}
    known = re.escape("any of probes, probe, v, vectors, projections, directions, slices, n_probes")
    with pytest.raises(TypeError, match=known):
        caller_of(taking("temperature"), "sliced")


def given(objective, *parameters, m=1, L=1, sigma=0.5, **options):
    """(what a loss was handed by name, the setting)."""
    seen = {}
    names = [p.split("=")[0] for p in parameters]
    body = f"lambda fn, x, {', '.join(parameters)}: seen.update(x=x, {', '.join(f'{n}={n}' for n in names)}) or 1.0 * fn(x).sum()"
    caller = caller_of(eval(body, {"seen": seen}), objective, **options)
    setting = _setting(caller, np.random.default_rng(1), 6, 4, L, sigma, m)
    caller.ask(random_probe("score", 4, np.random.default_rng(0)), setting)
    return seen, setting


def test_a_loss_is_given_what_it_takes():
    seen, s = given("denoising", "sigma", "noise", "seed")
    assert seen["sigma"] == 0.5 and type(seen["sigma"]) is float and seen["seed"] == s.seed
    np.testing.assert_array_equal(seen["noise"], s.extras["noise"])
    np.testing.assert_array_equal(seen["x"], s.x)
    seen, s = given("denoising", "alpha", "rng")
    assert seen["alpha"] == 0.75 and isinstance(seen["rng"], np.random.Generator)
    assert given("denoising", "t")[0]["t"] == 0.5
    seen, s = given("multilevel_denoising", "sigmas", "level", "noise", L=3)
    np.testing.assert_array_equal(seen["sigmas"], s.extras["sigmas"])
    np.testing.assert_array_equal(seen["level"], s.extras["level"])
    assert seen["level"].dtype.kind == "i" and set(seen["level"]) == {0, 1, 2} and np.all(np.diff(seen["sigmas"]) < 0)
    assert np.all(seen["sigmas"] <= 0.95) and seen["sigmas"][-1] >= 0.95 * 0.3 * 0.97
    np.testing.assert_allclose(given("multilevel_denoising", "alphas", L=3)[0]["alphas"], 1 - s.extras["sigmas"] ** 2)
    seen, s = given("multilevel_denoising", "sigma", L=3)
    np.testing.assert_array_equal(seen["sigma"], s.extras["sigmas"][s.extras["level"]])
    assert given("denoising", "std")[0]["std"] == 0.5
    for m, shape in ((1, (6, 4)), (3, (3, 6, 4))):
        seen, s = given("sliced", "v", "n_probes", m=m)
        assert seen["v"].shape == shape and seen["n_probes"] == m
        np.testing.assert_array_equal(seen["v"], s.extras["v"].reshape(shape))
    assert np.all(np.abs(np.abs(s.extras["v"]) - 1) <= 0.5) and np.any(s.extras["v"] < 0)
    assert given("finite_difference_sliced", "eps", step=0.07)[0]["eps"] == 0.07
    seen, s = given("generalised", "h", "h_prime", weight=(np.exp, lambda x: 3 * x))
    np.testing.assert_array_equal(seen["h"], np.exp(s.x))
    np.testing.assert_array_equal(seen["h_prime"], 3 * s.x)
    assert np.all(s.x >= 0.2)
    seen, s = given("denoising", "sigma", "noise", shape=(1, 2, 2))
    assert seen["x"].shape == seen["noise"].shape == (6, 1, 2, 2)
    seen, s = given("explicit", "target", shape=(2, 2))
    np.testing.assert_array_equal(seen["target"].reshape(6, 4), s.extras["target"])
    times = np.array([0.1, 0.2, 0.7])
    seen, s = given("denoising", "t", levels=times)
    assert seen["t"].shape == (6,) and set(seen["t"]) <= set(times)
    seen, s = given("denoising", "t", levels=np.stack([times, times], axis=1))
    assert seen["t"].dtype.kind == "i" and set(seen["t"]) <= {0, 1, 2}
    assert given("explicit", "target", "label", condition={"label": "cat"})[0]["label"] == "cat"


def test_a_weight_whose_derivative_is_no_constant_goes_to_losses_that_take_both():
    seen = []

    def both(fn, x, h, h_prime):
        seen.append((x, h, h_prime))
        return np.mean(np.sum(0.5 * h * fn.score(x) ** 2 + h_prime * fn.score(x) + h * np.einsum("nii->ni", fn.jacobian(x)), 1))  # fmt: skip

    assert check_loss(both, objective="generalised")
    x, h, dh = seen[0]
    np.testing.assert_allclose(h, x + x**2 / 4)
    np.testing.assert_allclose(dh, 1 + x / 2)
    seen.clear()
    assert check_loss(both, objective="generalised", weight=(lambda x: x, np.ones_like))
    np.testing.assert_array_equal(seen[0][1], seen[0][0])


WRONG_WORDS = [  # what is said of a loss -> error, words
    ({"objective": "iism"}, ValueError, "objective is 'iism', expected one of explicit, implicit"),
    ({"objective": "implicit", "model": "noise"}, ValueError, "model is 'noise', expected 'energy', 'score', for a denoising loss 'noise', or None to find out."),
    ({"objective": "denoising", "model": "net"}, ValueError, "model is 'net'"),
    ({"objective": "denoising", "predicts": "edm"}, ValueError, "predicts is 'edm', expected one of score, eps, x, v, velocity, for a denoising loss."),
    ({"objective": "implicit", "predicts": "eps"}, ValueError, "predicts is 'eps'"),
    ({"objective": "implicit", "levels": [0.1]}, ValueError, "levels is given for the objective 'implicit', which has no use for it; it belongs to a denoising loss; leave it out."),
    ({"objective": "implicit", "weight": (np.sin, np.cos)}, ValueError, "it belongs to a generalised loss"),
    ({"objective": "generalised", "weight": np.sin}, TypeError, "weight is <ufunc 'sin'>, expected a pair of functions (h, h')."),
    ({"objective": "generalised", "weight": (np.sin, 1.0)}, TypeError, "expected a pair of functions (h, h')."),
    ({"objective": "denoising", "score_of": 3}, TypeError, "score_of is 3, expected a function score_of(out, y, level)."),
    ({"objective": "denoising", "kernel": 3}, TypeError, "kernel is 3, expected a function from a level to (c, sigma)."),
    ({"objective": "implicit", "condition": 3}, ValueError, "condition is 3, expected a mapping from names of the loss's arguments."),
    *(({"objective": "denoising", "levels": v}, ValueError, "expected times (k,), or c and sigma (k, 2), finite, sigma not below 0.")
      for v in ([], [[1.0, -0.1]], [np.inf], [[1.0, 2, 3]], "abc", [[[1.0, 2.0]]])),
    *(({"objective": "denoising", "shape": v}, ValueError, "expected a tuple of positive integers, such as (1, 8, 8), of at most 256 numbers")
      for v in ((), 3, (0, 2), (1.5, 2), (257,), (2, 129), (-1, -2))),
    ({"objective": "denoising", "sigma": 0.0}, ValueError, "sigma"),
    ({"objective": "implicit", "step": -1}, ValueError, "step"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(WRONG_WORDS)))
def test_what_is_said_wrongly_is_refused(case):
    options, error, words = WRONG_WORDS[case]
    with pytest.raises(error, match=re.escape(words)):
        check_loss(lambda fn, x: 0.0, **options)


def test_the_largest_sample_and_schedules_that_are_taken():
    assert _is_shape((256,)) and _is_shape([2, 128]) and _is_shape((np.int64(3), 4)) and not _is_shape((257,))
    assert _is_schedule([0.1]) and _is_schedule(np.ones((3, 2))) and _is_schedule([[1.0, 0.0]]) and _is_schedule([-0.1])
    assert not _is_schedule([[1.0, -1e-9]]) and not _is_schedule([np.nan]) and not _is_schedule(None)
    long = "x" * 90
    with pytest.raises(TypeError, match=f"kernel is {'x' * 80}, expected"):
        check_loss(lambda fn, x: 0.0, objective="denoising", kernel=long)


def test_sizes_and_levels_of_the_trials():
    sizes = lambda loss, objective, sigma=None, **k: [
        (s.n, s.d, s.levels, s.m, s.level if np.ndim(s.level) == 0 else np.shape(s.level))
        for s in _settings("check_loss", caller_of(loss, objective, **k), np.random.default_rng(0), sigma)
    ]
    assert sizes(lambda fn, x: 0.0, "implicit") == [(4, 2, 1, 1, 0.5), (6, 3, 1, 1, 0.8), (2, 4, 1, 1, 0.3), (8, 3, 1, 1, 0.65), (6, 2, 1, 1, 0.8)]  # fmt: skip
    assert [s[3] for s in sizes(taking("n_probes"), "sliced")] == [1, 2, 3, 1, 2]
    own = sizes(lambda fn, x: 0.0, "denoising")
    assert [s[:2] for s in own] == [(4, 3), (2, 4), (6, 3), (4, 5), (2, 5)] and {s[4] for s in own} == {0.5}
    assert {s[4] for s in sizes(lambda fn, x: 0.0, "denoising", 0.7)} == {0.7}
    assert [s[4] for s in sizes(taking("sigma"), "denoising")] == [0.5, 0.8, 0.3, 0.65, 0.8]
    assert [s[1] for s in sizes(taking("sigma"), "denoising", shape=(2, 3))] == [6] * 5
    many = sizes(taking("sigmas"), "multilevel_denoising")
    assert [s[:3] for s in many] == [(8, 3, 3), (4, 4, 4), (6, 3, 4)]
    assert [s[4] for s in sizes(taking("t"), "multilevel_denoising")] == [(8,), (4,), (6,)]
    assert [s[:3] for s in sizes(lambda fn, x, rng: 0.0, "multilevel_denoising")] == [(n, d, 1) for n, d, *_ in own]
    few = _setting(
        caller_of(taking("sigmas", "level"), "multilevel_denoising"), np.random.default_rng(0), 2, 3, 4, 0.5, 1
    )
    assert few.extras["level"].shape == (2,) and np.all(few.extras["level"] < 4)


# ------------------------------------------------------------------------------- what comes back


def test_the_loss_in_what_comes_back():
    record, first = SimpleNamespace(loss=3.0), "the loss returns {} things: the first was checked"
    entry = "the loss returns a dict of {}: its entry {!r} was checked"
    for value, n, loss, chosen in (
        (3.0, 4, 3.0, ""), ((3.0, "more"), 4, 3.0, first.format(2)), ([3.0, "more"], 4, 3.0, first.format(2)), (record, 4, 3.0, ""),
        ({"a": 1.0, "loss": 3.0}, 4, 3.0, entry.format(2, "loss")), ({"a": 3.0, "b": 1.0}, 4, 3.0, entry.format(2, "a")), ({"a": 3.0}, 4, 3.0, ""),
        ({"square": 1.0, "total": 3.0, "trace": 2.0}, 4, 3.0, entry.format(3, "total")), ({"a": 1.0, "objective": 3.0}, 4, 3.0, entry.format(2, "objective")),
        ({"total_loss": 3.0, "objective": 1.0}, 4, 3.0, entry.format(2, "total_loss")), ({"total": 1.0, "loss": 3.0}, 4, 3.0, entry.format(2, "loss")),
        ([1.0, 5.0], 2, 3.0, ""), ((3.0, 1.0, 2.0), 2, 3.0, first.format(3)), ([3.0], 1, 3.0, ""), ((3.0,), 4, 3.0, ""),
        ([3.0, np.ones(2)], 2, 3.0, first.format(2)), ((), 4, (), ""), ({}, 4, {}, ""),
    ):  # fmt: skip
        assert _first(value, n) == (loss, chosen)
    array = np.arange(3.0)
    assert (
        _first(array, 3)[0] is array and _first(array, 3)[1] == "" and mean_of(array, 3) == 1 and mean_of(2.0, 3) == 2
    )


@pytest.mark.parametrize(
    "shape, note",
    [
        ((), ""),
        ((1,), ""),
        ((4,), "(n,)"),
        ((4, 1), "(n, 1)"),
        ((4, 2), "(n, d)"),
        ((1, 4), "(1, n)"),
        ((4, 3), "(n, 3)"),
    ],
)
def test_an_array_in_place_of_a_number_is_noted(shape, note):
    caller = caller_of(lambda fn, x: 0.0, "implicit")
    value = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    assert caller._number(value, SimpleNamespace(n=4, d=2)) == value.mean()
    assert caller.notes == (
        {f"the loss returns an array {note} instead of a number: its mean was checked"} if note else set()
    )
    assert caller.eps == np.finfo(float).eps and caller.came == "float64"
    caller._number(np.float32(2.0), SimpleNamespace(n=4))
    assert caller.eps == np.finfo(np.float32).eps and caller.came == "float32"
    caller._number(np.array(2), SimpleNamespace(n=4))
    assert caller.eps == np.finfo(np.float32).eps


def test_points_are_taken_once_with_all_that_is_told_beside_them():
    setting, x = SimpleNamespace(d=2, n=3), np.arange(6.0).reshape(3, 2)
    where = lambda points, told: _where(points, told, setting.d)
    t = np.array([0.1, 0.2, 0.3])
    points, beside, twice = where([x, x + 10, x], [[t], [t + 1], [t]])
    np.testing.assert_array_equal(points, np.concatenate([x, x + 10]))
    np.testing.assert_array_equal(beside[:, 0], [*t, *(t + 1)])
    assert not twice and where([x, x], [[t], [t + 1]])[2]
    points, beside, _ = where([x[::-1]], [[np.float64(0.5), t[:, None]]])
    np.testing.assert_array_equal(points, x[::-1])  # in the order in which it asks
    np.testing.assert_array_equal(beside, np.stack([np.full(3, 0.5), t], axis=1))
    assert where([x, x + 1], [[t], []])[1] is None and where([None], [[]])[0] is None and where([], [])[0] is None
    assert where([x], [[np.array(["a", "b", "c"])]])[1] is None and where([x[:, :1]], [[]])[0] is None
    three = np.arange(12.0).reshape(2, 3, 2)
    points, beside, _ = where([three], [[np.array([0.1, 0.2, 0.3])]])  # a level for each of three, in two stacks
    np.testing.assert_array_equal(points, three.reshape(6, 2))
    np.testing.assert_array_equal(beside[:, 0], [0.1, 0.2, 0.3] * 2)
    assert where([x], [[np.array([1.0, 2.0])]])[1] is None  # of another size
    assert where([x], [[np.array([1, 2, 3])]])[1].tolist() == [[1], [2], [3]]


# ------------------------------------------------------------------------------- questions for every loss


class Scaled:
    """A loss that is a function of the scale lambda of |x|^2 / 2, or of the number of the call."""

    kind, objective, eps, calls = "numpy", "implicit", 2.2e-16, 0

    def __init__(self, of):
        self.of = of

    def ask(self, probe, setting):
        return SimpleNamespace(value=float(self.values([probe], setting)[0]), told=None, points=setting.x)

    def values(self, probes, setting):
        self.calls += len(probes)
        return np.array(
            [self.of(p.A[0, 0] * (-1 if p.kind == "none" else 1), k) for k, p in enumerate(probes, self.calls)]
        )


def asked_with(of, objective="implicit"):
    caller = Scaled(of)
    caller.objective, caller.takes = objective, {}
    extras = {"level": np.zeros(5, int)}
    setting = SimpleNamespace(x=np.random.default_rng(0).standard_normal((5, 3)), d=3, n=5, seed=1, extras=extras)
    setting._replace = lambda **k: SimpleNamespace(**{**vars(setting), **k})
    return caller, "energy", setting, np.random.default_rng(1)


def test_the_minimiser_is_that_of_a_parabola():
    assert patterns.minimiser(*asked_with(lambda a, k: 2 * (a - 0.75) ** 2 + 5)) == pytest.approx(0.75, rel=1e-9)
    assert patterns.minimiser(*asked_with(lambda a, k: 0.0)) is None
    assert patterns.minimiser(*asked_with(lambda a, k: -2 * (a - 0.75) ** 2)) is None  # a maximum
    # without its square (its trace) a loss has no minimum (has it at 0), and rounding makes neither
    assert patterns.minimiser(*asked_with(lambda a, k: 3 * a + 1e-15 * a**2)) is None
    assert patterns.minimiser(*asked_with(lambda a, k: 3 * a**2 + 1e-15 * a)) == 0


def test_a_loss_that_is_no_parabola_is_clipped():
    bent = lambda of: patterns.bent(*asked_with(of))
    assert bent(lambda a, k: 3 * a * a - 2 * a) is None and bent(lambda a, k: np.inf if a > 4 else a * a) is None
    low = bent(lambda a, k: max(a * a - a, 0.1))
    assert low.verdict == "FAIL" and low.diagnosis.endswith(
        "no parabola: it stands still at 0.1 (it, or a term of it, is clamped: clamp, relu, maximum, clip?)"
    )
    assert low.pattern == "loss of lambda |x|^2/2 at lambda = -2 ... 4.3: 6, 2, 0.56, 0.1, 0.1, 0.1, 0.96, 3.75, 14.19"
    high = bent(lambda a, k: min(a * a, 4.5))
    assert "stands still at 4.5 (it, or a term" in high.diagnosis
    smooth = bent(lambda a, k: np.cosh(a))
    assert smooth.diagnosis.startswith(
        "clipped loss: in the scale of the model the loss is no parabola (it, or a term of it, is clamped"
    )
    assert bent(lambda a, k: a * a + 1e-3 * a**3) is not None


def test_a_loss_says_the_same_when_it_is_asked_again():
    again = lambda of: questions.again(*asked_with(of))
    assert again(lambda a, k: a) is None and again(lambda a, k: np.nan) is None
    for grows in (lambda a, k: k, lambda a, k: -k, lambda a, k: min(k, 3)):
        assert again(grows).verdict == "FAIL" and again(grows).diagnosis.startswith("state: the same call")
    jumps = again(lambda a, k: float(np.sin(3 * k)))
    assert jumps.verdict == "INCONCLUSIVE" and jumps.diagnosis.startswith("hidden randomness")
    assert again(lambda a, k: 2.0 + k).pattern == "3 first, 5 after another call"
    assert jumps.pattern == f"{np.sin(3):.9g} first, {np.sin(9):.9g} when the same was asked again"


def test_how_a_loss_grows_with_its_model():
    def grown(power, only=()):
        caller, kind, setting, rng = asked_with(lambda a, k: 0.0)
        probe = random_probe(kind, 3, rng)
        caller.values = lambda probes, s: np.array([7 + abs(p.b[0] / probe.b[0]) ** power for p in probes])
        table = SimpleNamespace(probes=[probe], trial=SimpleNamespace(setting=setting))
        return patterns._power(caller, kind, table, None, 0.3, rng, only)

    assert (
        grown(2) is None and grown(1.97) is None and grown(1, only=(2.0,)) is None and grown(1, only=(1.0,)) is not None
    )
    norm = grown(1)
    assert norm.verdict == "FAIL" and norm.pattern == "0.3 of it is not quadratic"
    assert (
        norm.diagnosis
        == "not a square: for large scores what should be the square grows with the power 1 of the score (a norm, an absolute error, a Huber error?)"
    )
    assert grown(1.5).diagnosis.endswith("what should be the square grows with the power 1.5 of the score")
    assert (
        grown(0).diagnosis.endswith("as by a weight 1/loss that is not detached?)")
        and ": it stands still (clipped," in grown(0).diagnosis
    )
    assert grown(4).diagnosis.endswith("what should be the square grows with the power 4 of the score")
    ordered = patterns._monotone
    assert ordered(np.array([3.0, 1, 2]), np.array([9.0, 1, 4])) and ordered(
        np.array([3.0, 1, 2]), np.array([-9.0, -1, -4])
    )
    assert not ordered(np.array([3.0, 1, 2]), np.array([9.0, 1, 12])) and ordered(np.arange(3.0), np.array([1.0, 1, 2]))


# ------------------------------------------------------------------------------- directions, and losses that are of no use


def test_directions_that_may_be_made_of_what_was_drawn():
    n, d, rng = 4, 3, np.random.default_rng(0)
    made = lambda *arrays: directions_of(SimpleNamespace(setting=SimpleNamespace(n=n, d=d), draws=[Draw("normal", a) for a in arrays]))  # fmt: skip
    v = rng.standard_normal((n, d))
    one = made(v)
    assert list(one) == ["0", "0 unit", "0 sign"]
    np.testing.assert_array_equal(one["0"], v[None])
    np.testing.assert_allclose(one["0 unit"][0], v / np.sqrt((v**2).sum(1))[:, None] * np.sqrt(3), rtol=1e-14)
    np.testing.assert_array_equal(one["0 sign"][0], np.where(v > 0, 1, -1))
    positive = made(rng.random((n, d)) + 0.01)
    assert list(positive) == ["0", "0 unit", "0 sign", "0 twice less one"]
    u = positive["0"]
    np.testing.assert_array_equal(positive["0 sign"], np.where(u > 0.5, 1, -1))
    np.testing.assert_array_equal(positive["0 twice less one"], 2 * u - 1)
    many = rng.standard_normal((2 * n, d))
    several = made(many)
    np.testing.assert_array_equal(several["0"], many.reshape(2, n, d))
    np.testing.assert_array_equal(several["0 by rows"], np.stack([many[::2], many[1::2]]))
    shared = made(v[0])
    np.testing.assert_array_equal(shared["0 shared"], np.tile(v[0], (1, n, 1)))
    both = made(v, 2 * v)
    np.testing.assert_array_equal(both["all"], np.stack([v, 2 * v]))
    assert "all" not in made(v, v[0]) and "all" not in one
    flat = made(v.ravel())
    np.testing.assert_array_equal(flat["0"], v[None])
    unusable_draws = (rng.standard_normal((n, 2)), np.array(1.0), np.empty((0, d)), np.zeros((n, d)), np.full((n, d), np.nan), rng.standard_normal((5, d)))  # fmt: skip
    assert made(*unusable_draws) == {}
    coins = np.array([[0.0, 0, 0], [1, 0, 1], [0, 1, 1], [1, 1, 1]])  # a row of zeros is one of signs
    assert list(made(coins)) == ["0 sign", "0 twice less one"]


def test_directions_by_which_points_were_moved():
    x, v = np.random.default_rng(0).standard_normal((2, 5, 3))
    setting = SimpleNamespace(x=x, n=5, d=3)
    of = lambda *points: _moved(SimpleNamespace(setting=setting, points=np.concatenate(points)), 0.01)
    np.testing.assert_allclose(of(x, x + 0.01 * v, x - 0.01 * v), v[None], rtol=1e-9)
    two = of(x + 0.01 * v, x - 0.01 * v, x + 0.02 * np.abs(v))
    np.testing.assert_allclose(two, np.stack([v, 2 * np.abs(v)]), rtol=1e-9)
    assert of(x) is None and of(x, x[:1] + 0.01 * v[:1]) is None
    unit = v / np.linalg.norm(v, axis=1, keepdims=True)
    far, step = _as_far(unit[None] * 0.5, 0.1)
    np.testing.assert_allclose(far, unit[None] * np.sqrt(3), rtol=1e-12)
    assert step == pytest.approx(0.1 * 0.5 / np.sqrt(3)) and _as_far(v[None], 0.1)[1] == 0.1


def test_laws_of_the_size_of_directions():
    settings = [SimpleNamespace(d=d) for d in (2, 3, 5)]
    d = np.array([2.0, 3, 5])
    for sizes in (
        1 + 0 * d,
        1 / d,
        d,
        2 + 0 * d,
        0.5 + 0 * d,
        1 / 3 + 0 * d,
        4 + 0 * d,
        0.25 + 0 * d,
        1 / 12 + 0 * d,
        d**-2.0,
    ):
        law = _law_of(sizes * (1 + 0.009), settings, 0.01)
        np.testing.assert_allclose([law(v) for v in d], sizes)
        assert _law_of(sizes * 1.012, settings, 0.01) is None
    assert _law_of(d**2, settings, 0.01) is None and LAWS[0](7) == 1


def test_a_loss_that_is_not_finite_or_not_of_its_model():
    trials = [SimpleNamespace(setting=SimpleNamespace(n=n, d=d)) for n, d in ((4, 2), (6, 3), (2, 4))]
    of = lambda *values: unusable([SimpleNamespace(values=np.array(v), caller=SimpleNamespace(eps=1e-16), trial=t) for v, t in zip(values, trials, strict=False)])  # fmt: skip
    bad = of([1.0, np.nan], [2.0, np.inf])
    assert bad.verdict == "FAIL" and bad.pattern == "value nan"
    assert bad.diagnosis == "not finite: 2 of 4 values of the loss are NaN or infinite"
    some = of([1.0, 2.0], [2.0, np.inf], [np.nan, np.nan])
    assert some.diagnosis == (
        "not finite: 3 of 6 values of the loss are NaN or infinite, all in batches of 6 x 3 and 2 x 4 numbers"
    )
    same = of([3.0, 3.0], [3.0 * (1 + 4e-15), 3.0])
    assert same.diagnosis == "model not used: the loss does not depend on fn" and same.pattern == "always 3"
    assert of([3.0, 3.0], [3.0, 3.1]) is None and of([3.0, 3.0], [3.0 * (1 + 8e-15), 3.0]) is None
    assert near_note(3.2e-7).startswith("right up to 3e-07 of its terms: ")


def test_the_terms_of_the_reference_by_name():
    """Of a generalised loss the derivative of the weight apart, of a regularised one the regulariser."""
    rng = np.random.default_rng(3)
    probe, x, h, dh = random_probe("score", 3, rng), *rng.random((3, 4, 3))
    s, D = probe.score(x), np.einsum("nii->ni", probe.jacobian(x))
    answers, mean = SimpleNamespace(probes=[probe]), lambda a: a.sum(1).mean()
    q = Observation(None, x, x[None], h=h, h_prime=dh, target=dh, numbers={"lam": 0.3})
    wanted = {
        "implicit": {"square of the score": mean(s**2) / 2, "trace": mean(D)},
        "explicit": {"square of the score": mean(s**2) / 2, "product with the target": -mean(s * dh)},
        "generalised": {"square of the score": mean(h * s**2) / 2, WEIGHTED: mean(h * D), SLOPE: mean(dh * s)},
        "regularised": {"square of the score": mean(s**2) / 2, "trace": mean(D), REGULARISER: 0.3 * mean(D**2)},
    }
    for objective, terms in wanted.items():
        found = right_parts(objective, answers, q)
        assert list(found) == list(terms)
        np.testing.assert_allclose([v[0] for v in found.values()], list(terms.values()), rtol=1e-12)


def differenced_energies(weights, ends=(1, -1), middle=0.0, uneven=None):
    """The arrays of -(w . f)/h^2 + ... of energies at x + h v, x - h v and x, of 4 rows of 3 points."""
    n, h = 4, 0.05
    e = np.tile(np.asarray(weights, float), n) / h**2 / n
    e = e if uneven is None else e * np.repeat(uneven, 3)
    F = np.zeros((3 * n, 3 * n))
    for i in range(n):
        f = np.array([*ends, middle])
        F[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = np.outer(f, f)
    found = SimpleNamespace(e=e, F=F, fit=SimpleNamespace(doubt=np.zeros(30)))
    return _second_difference(found, np.arange(3 * n).reshape(n, 3), h)


def test_a_second_difference_is_read_by_its_factors():
    assert differenced_energies([-1, -1, 2]) is None
    once = differenced_energies([-1, -1, 1])
    assert once.verdict == "FAIL" and once.pattern == "second difference -1, -1, 1"
    assert (
        once.diagnosis
        == "values of the difference: the energies at x + h v, x - h v and the middle point x have the factors -1, -1, 1 over h^2 in the second difference, where -1, -1, 2 belong"
    )
    middle = differenced_energies([-1, -1, 2], ends=(1, 0), middle=-1)
    assert middle.diagnosis.startswith("values of the difference: the middle point x enters the squared difference")
    assert middle.pattern == "in the second difference the energies have -1, -1, 2"
    weighted = differenced_energies([-1, -1, 2], uneven=[1.0, 2, 3, 4])
    assert weighted.diagnosis.startswith("weight of the second difference: it has another factor in every row")
    assert weighted.pattern == "factors of the rows (1, 2, 3, 4)"
    assert differenced_energies([-1, -1, 1], uneven=[1.0, 2, 3, 4]) is None  # nothing known
