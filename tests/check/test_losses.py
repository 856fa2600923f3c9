"""What the engine of `check_loss` hears and identifies, what the user may say, and the kinds of code that were once misjudged."""

import re

import numpy as np
import pytest

from numpyscore import check_loss
from numpyscore.check.losses.hearing import generators_of, listening
from numpyscore.check.losses.identify import solve


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
