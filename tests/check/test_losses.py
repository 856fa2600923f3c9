"""What the engine of `check_loss` hears and identifies, what the user may say, and the kinds of code that were once misjudged."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from wording import check_loss

from numpyscore.check.losses.hearing import generators_of, listening
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
    assert report.verdict == "FAIL" and report.name == "correlated noise", report
    report = check_loss(joined(wrong, call=lambda fn, y: fn(y)), objective="denoising")  # fn may be C times the score
    assert report.verdict == "INCONCLUSIVE" and report.name == "correlated noise", report


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
    ("implicit", 1, 0): ("FAIL", "no trace: the trace is missing from your loss; it is minimised by a score of zero"),
    ("implicit", 0, 1): ("FAIL", "no square: the square of the score is missing from your loss; it has no minimum"),
    ("implicit", 0, 2): ("FAIL", "no square: the square of the score is missing from your loss; it has no minimum"),
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
    ("explicit", 1, 0): ("FAIL", "no product with the target: the product with the target is missing from your loss; it is minimised by a score of zero"),
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
        "no derivative term: the term sum h_i' s_i with the derivative of the weight is missing from your loss; it is minimised by another score"
    )
    both = of(1.0, 3.0, -1.0).diagnosis  # each beside the first
    assert both.count("; ") == 1 and "scale of the weighted trace" in both and "sign of the derivative term" in both
    assert missing("regularised", REGULARISER).endswith("; it is the implicit loss")


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
        assert not asked.as_score and not asked.methods
        J = probe.jacobian(x)
        np.testing.assert_array_equal(asked.energy(x), probe.energy(x))
        assert asked.methods and not asked.as_score
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
