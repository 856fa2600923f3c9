"""`check_reverse`: right steps down in level pass in every parametrisation, wrong ones are called by their name."""

import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from wording import check_reverse

from numpyscore.check import reverse
from numpyscore.check.report import CheckReport
from numpyscore.check.reverse import Level, Part, Steps
from numpyscore.check.steps import KNOWN_STEPS, Flaw, Place
from numpyscore.cli import main
from numpyscore.testing import assert_reverse

SIGMAS = np.geomspace(5, 0.05, 7)  # variance exploding
BETAS = np.linspace(0.02, 0.3, 9)
BARS = np.cumprod(1 - BETAS)
DDPM = np.column_stack([np.sqrt(BARS), np.sqrt(1 - BARS)])  # variance preserving, told by its row


def normal(x, rng):
    return rng.standard_normal(x.shape)


# ------------------------------------------------------------------------------- right steps


def annealed(x, fn, sigma, rng, of=lambda s: 0.1 * s**2, root=np.sqrt):
    step = of(sigma)
    return x + step * fn(x, sigma) + root(2 * step) * normal(x, rng)


def ancestral(x, fn, sigma, lower, rng):
    s = fn(x, sigma)
    return x + (sigma**2 - lower**2) * s + np.sqrt(lower**2 * (sigma**2 - lower**2) / sigma**2) * normal(x, rng)


def diffusion(x, fn, sigma, lower, rng):
    return x + (sigma**2 - lower**2) * fn(x, sigma) + np.sqrt(sigma**2 - lower**2) * normal(x, rng)


def flow(x, fn, sigma, lower):
    return x + (lower - sigma) * (-sigma * fn(x, sigma))


def heun(x, fn, sigma, lower, second=lambda sigma, lower: lower):
    d = -sigma * fn(x, sigma)
    y = x + (lower - sigma) * d
    if lower == 0:
        return y
    return x + (lower - sigma) * (d - lower * fn(y, second(sigma, lower))) / 2


def corrected(x, fn, sigma, lower, rng, snr=0.16):
    """Predictor, then a Langevin step whose size is set by norms over the batch, as in score_sde."""
    y = diffusion(x, fn, sigma, lower, rng)
    s, z = fn(y, lower), normal(x, rng)
    step = 2 * (snr * np.linalg.norm(z, axis=1).mean() / np.linalg.norm(s, axis=1).mean()) ** 2
    return y + step * s + np.sqrt(2 * step) * z


def ddpm(
    x, fn, t, rng, noise=lambda beta, below: np.sqrt(beta * (1 - below) / (1 - (1 - beta) * below)), eps=1.0, bars=BARS
):
    """Algorithm 2 of Ho, Jain & Abbeel; eps predicted."""
    beta, below = BETAS[t], BARS[t - 1]
    mean = (x - eps * beta / np.sqrt(1 - bars[t]) * fn(x, t)) / np.sqrt(1 - beta)
    return mean + noise(beta, below) * normal(x, rng)


def ddim(x, fn, t, lower, rng, eta=0.0, clip=1.0, room=1.0):
    """From the predicted x_0, clipped to [-1, 1], and the predicted noise, which leaves room for the new one."""
    eps = fn(x, t)
    x0 = np.clip((x - np.sqrt(1 - BARS[t]) * eps) / np.sqrt(BARS[t]), -clip, clip)
    sigma = eta * np.sqrt((1 - BARS[lower]) / (1 - BARS[t]) * (1 - BARS[t] / BARS[lower]))
    return np.sqrt(BARS[lower]) * x0 + np.sqrt(1 - BARS[lower] - room * sigma**2) * eps + sigma * normal(x, rng)


def from_velocity(x, fn, t, lower):
    return x + (lower - t) * fn(x, t)


def heun_on_line(x, fn, t, lower):
    v = fn(x, t)
    return x + (lower - t) * (v + fn(x + (lower - t) * v, lower)) / 2


TIMES = {float(t): (1 - t, t) for t in np.linspace(0.95, 0.05, 7)}
VE, VP = {"levels": SIGMAS}, {"levels": DDPM, "predicts": "eps"}
RIGHT = {  # step, options, note
    "annealed": (annealed, VE | {"kind": "annealed"}, "0.1 sigma^2"),
    "annealed, found out": (annealed, VE, "Langevin step at each level"),
    "ancestral": (ancestral, VE | {"kind": "ancestral"}, "posterior variance"),
    "ancestral, to zero": (ancestral, {"levels": [3.0, 1.0, 0.3, 0.0]}, "posterior variance"),
    "reverse diffusion": (diffusion, VE, "forward variance"),
    "probability flow": (flow, VE | {"kind": "ddim"}, "DDIM"),
    "heun": (heun, {"levels": [3.0, 1.0, 0.3, 0.0], "kind": "heun"}, "Heun"),
    "predictor-corrector": (corrected, VE | {"kind": "predictor-corrector"}, "then a Langevin step"),
    "ddpm": (ddpm, VP | {"kind": "ancestral"}, "posterior variance"),
    "ddpm, beta": (lambda x, fn, t, rng: ddpm(x, fn, t, rng, lambda beta, below: np.sqrt(beta)), VP, "forward variance"),
    "ddim": (ddim, VP | {"kind": "ddim"}, "DDIM"),
    "ddim, eta 0.5": (lambda x, fn, t, lower, rng: ddim(x, fn, t, lower, rng, 0.5), VP | {"kind": "ddim"}, "eta = 0.5"),
    "flow matching": (from_velocity, {"levels": TIMES, "predicts": "velocity"}, "DDIM"),
    "x predicted": (lambda x, fn, s, lower: lower / s * x + (1 - lower / s) * fn(x, s), VE | {"predicts": "x"}, "DDIM"),
    "heun along a line": (lambda x, fn, t, lower: heun_on_line(x, fn, t, lower), {"levels": TIMES, "predicts": "velocity", "kind": "heun"}, "straight path"),
    "clipped": (lambda x, fn, t, lower, rng: ddim(x, fn, t, lower, rng), VP, "right only for data within"),
    "one level for each row": (lambda x, fn, s, lower: flow(x, lambda y, level: fn(y, np.full(len(y), level)), s, lower), VE, "DDIM"),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_steps_pass_and_say_what_they_are(name):
    step, options, words = RIGHT[name]
    report = check_reverse(step, n=2000, **options)
    assert report and any(words in note for note in report.notes), report
    assert report.pattern == PATTERNS.get(name, report.pattern) and report.resolution == 5 * np.sqrt(2 / 4000)
    assert report.summary.endswith(f" levels, 2000 chains x 2 dims, fn predicts {options.get('predicts', 'score')}")


PATTERNS = {
    "annealed": "first step, (1, 5) to (1, 2.321): x' = 1 x + 2.5 score + 2.243 z",
    "heun": "first step, (1, 3) to (1, 1): x' = 1 x + 3 score_0 + 1 score_1 + 0 z",
    "ddpm": "first step, (0.4445, 0.8958) to (0.5312, 0.8472): x' = 1.19522861 x + 0.358569 score + 0.5196 z",
    "flow matching": "first step, (0.05, 0.95) to (0.2, 0.8): x' = 4 x + 2.85 score + 0 z",
}


def test_a_step_of_two_evaluations_that_is_in_no_table_is_judged_by_its_law():
    """Ralston's method, with a quarter of the first slope and three of that at two thirds of the way."""

    def ralston(x, fn, sigma, lower):
        first, m = -sigma * fn(x, sigma), sigma + (lower - sigma) * 2 / 3
        second = -m * fn(x + (m - sigma) * first, m)
        return x + (lower - sigma) * (first + 3 * second) / 4

    levels = np.geomspace(5, 0.05, 59)
    right = check_reverse(ralston, levels=levels, n=4000)
    assert right and "none of the known steps" in right.notes[-1], right
    wrong = check_reverse(lambda x, fn, s, lower: 1.03 * ralston(x, fn, s, lower), levels=levels, n=4000)
    assert wrong.verdict == "FAIL", wrong


# ------------------------------------------------------------------------------- wrong steps


def swapped(x, fn, t, lower, rng):
    """The posterior's mean with the coefficients of x and x_0 exchanged."""
    a, b = BARS[t], BARS[lower]
    x0 = (x - np.sqrt(1 - a) * fn(x, t)) / np.sqrt(a)
    mean = np.sqrt(b) * (1 - a / b) * x + np.sqrt(a / b) * (1 - b) * x0
    return mean / (1 - a) + np.sqrt((1 - b) / (1 - a) * (1 - a / b)) * normal(x, rng)


WRONG = {  # step, options, words
    "noise without root": (lambda x, fn, s, rng: annealed(x, fn, s, rng, root=lambda a: a), VE | {"kind": "annealed"}, "noise without root"),
    "noise 2 too small": (lambda x, fn, s, rng: annealed(x, fn, s, rng, root=lambda a: np.sqrt(a / 2)), VE | {"kind": "annealed"}, "2 under the root is missing"),
    "uphill": (lambda x, fn, s, rng: annealed(x, lambda y, level: -fn(y, level), s, rng), VE | {"kind": "annealed"}, "sign of the drift"),
    "annealed without noise": (lambda x, fn, s, rng: annealed(x, fn, s, rng, root=lambda a: 0 * a), VE | {"kind": "annealed"}, "no noise"),
    "told the next level": (lambda x, fn, s, lower, rng: ancestral(x, lambda y, level: fn(y, lower), s, lower, rng), VE, "level told: fn is told the next"),
    "told a constant": (lambda x, fn, s, lower, rng: ancestral(x, lambda y, level: fn(y, SIGMAS[2]), s, lower, rng), VE, "level told"),
    "drift halved": (lambda x, fn, s, lower, rng: ancestral(x, lambda y, level: 0.5 * fn(y, level), s, lower, rng), VE | {"kind": "ancestral"}, "drift halved"),
    "sign": (lambda x, fn, s, lower, rng: ancestral(x, lambda y, level: -fn(y, level), s, lower, rng), VE, "sign of the drift"),
    "variance for deviation": (lambda x, fn, s, lower, rng: x + (s**2 - lower**2) * fn(x, s) + (s**2 - lower**2) * normal(x, rng), VE, "variance is taken for a standard deviation"),
    "root of difference": (lambda x, fn, s, lower, rng: x + (s**2 - lower**2) * fn(x, s) + (s - lower) * normal(x, rng), VE | {"kind": "ancestral"}, "difference of the levels"),
    "noise of the next level": (lambda x, fn, s, lower, rng: x + (s**2 - lower**2) * fn(x, s) + lower * normal(x, rng), VE | {"kind": "ancestral"}, "sigma' z"),
    "ancestral, flow's drift": (lambda x, fn, s, lower: x + 0.5 * (lower - s) * (-s * fn(x, s)), VE | {"kind": "ddim"}, "drift halved"),
    "sigma_t for sigma_{t-1}": (lambda x, fn, s, lower: x + (lower - s) * (-lower * fn(x, s)), VE | {"kind": "ddim"}, "sigma of the next level in front"),
    "heun at the old level": (lambda x, fn, s, lower: heun(x, fn, s, lower, lambda s, lower: s), VE | {"kind": "heun"}, ""),
    "ddpm, x not rescaled": (lambda x, fn, t, rng: ddpm(x, fn, t, rng) * np.sqrt(1 - BETAS[t]), VP | {"kind": "ancestral"}, "not rescaled by r"),
    "ddpm, beta as deviation": (lambda x, fn, t, rng: ddpm(x, fn, t, rng, lambda beta, below: beta), VP | {"kind": "ancestral"}, "variance is taken for a standard deviation"),
    "ddpm, eps for score": (lambda x, fn, t, rng: ddpm(x, fn, t, rng, eps=np.sqrt(1 - BARS[t])), VP | {"kind": "ancestral"}, "sigma"),
    "ddpm, sign": (lambda x, fn, t, rng: ddpm(x, fn, t, rng, eps=-1.0), VP | {"kind": "ancestral"}, "sign of the drift"),
    "ddim, bars without root": (lambda x, fn, t, lower: BARS[lower] * (x - (1 - BARS[t]) ** 0.5 * fn(x, t)) / BARS[t] + (1 - BARS[lower]) ** 0.5 * fn(x, t), VP | {"kind": "ddim"}, ""),
    "ddim, noise of this level": (lambda x, fn, t, lower: BARS[lower] ** 0.5 * (x - (1 - BARS[t]) ** 0.5 * fn(x, t)) / BARS[t] ** 0.5 + (1 - BARS[t]) ** 0.5 * fn(x, t), VP | {"kind": "ddim"}, "sigma of this level"),
    "flow the wrong way": (lambda x, fn, t, lower: x - (lower - t) * fn(x, t), {"levels": TIMES, "predicts": "velocity"}, "sign of the step"),
    "flow the wrong way, said to be Euler": (lambda x, fn, t, lower: x - (lower - t) * fn(x, t), {"levels": dict(list(TIMES.items())[::2]), "predicts": "velocity", "kind": "euler"}, "sign of the step"),
    "sigma of the next level under the slope": (lambda x, fn, s, lower: x + (x - fn(x, s)) / lower * (lower - s), VE | {"predicts": "x", "kind": "euler"}, "sigma"),
    "against the score": (lambda x, fn, s, lower: x - (s - lower) ** 1.5 * fn(x, s), VE | {"kind": "euler"}, "against the score"),
    "heun from the predicted point": (lambda x, fn, s, lower: heun(x, fn, s, lower) + (lower - s) * (-s * fn(x, s)), VE | {"kind": "heun"}, "start of the second half"),
    "noise not taken from eps": (lambda x, fn, t, lower, rng: ddim(x, fn, t, lower, rng) + 0.1 * normal(x, rng), VP, "not taken from the direction"),
    "the direction's noise is another": (lambda x, fn, t, lower, rng: ddim(x, fn, t, lower, rng, 0.5, room=2.0), VP, "leaves room for 2 times"),
    "the level t - 1 of a coarser ladder": (lambda x, fn, t, lower, rng: ddim(x, fn, t, t - 1, rng), {"levels": {k: tuple(DDPM[k]) for k in (8, 6, 4, 2)}, "predicts": "eps", "kind": "ddim"}, "arrives elsewhere"),
    "posterior exchanged": (swapped, VP | {"kind": "ancestral"}, "coefficients exchanged: x has the coefficient of x_0"),
    "x_0 as eps": (lambda x, fn, t, lower: (DDPM[lower, 0] + DDPM[lower, 1]) * fn(x, t), {"levels": DDPM, "predicts": "x", "kind": "ddim"}, "fn's x_0 is used as eps"),
    "no direction": (lambda x, fn, t, lower, rng: DDPM[lower, 0] * (x - DDPM[t, 1] * fn(x, t)) / DDPM[t, 0] + DDPM[t, 1] * normal(x, rng), VP | {"kind": "ddim"}, "x' = c' x_0 + sigma z, without a direction"),
    "1 - alpha_bar": (lambda x, fn, t, lower: DDPM[lower, 0] * (x - DDPM[t, 1] ** 2 * fn(x, t)) / DDPM[t, 0] + DDPM[lower, 1] * fn(x, t), VP | {"kind": "ddim"}, "sigma^2 in place of sigma, at this level"),
    "heun half way": (lambda x, fn, s, lower: x + (lower - s) * (-s * fn(x, s) - lower * fn(x + (s - lower) * s * fn(x, s) / 2, lower)) / 2, VE | {"kind": "heun"}, "second call is at other points"),
    "heun at the old point": (lambda x, fn, s, lower: x + (lower - s) * (-s * fn(x, s) - lower * fn(x, lower)) / 2, VE | {"kind": "heun"}, "second call is at the same points as its first"),
    "x_0 keeps its scale": (lambda x, fn, t, lower: x + (DDPM[lower, 1] - DDPM[t, 1]) * fn(x, t), VP | {"kind": "ddim"}, "A is c, "),
    "velocity for minus velocity": (lambda x, fn, t, lower: from_velocity(x, lambda y, s: -fn(y, s), t, lower), {"levels": TIMES, "predicts": "velocity", "kind": "ddim"}, "sign of"),
    "eps for x": (lambda x, fn, t, lower, rng: ddim(x, fn, t, lower, rng), VP | {"predicts": "x"}, "takes it for eps"),
    "shared noise": (lambda x, fn, s, lower, rng: ancestral(x[:1], lambda y, level: 0 * y, s, lower, rng) - x[:1] + x + (s**2 - lower**2) * fn(x, s), VE, "shared noise"),
    "repeated noise": (lambda x, fn, s, lower: ancestral(x, fn, s, lower, np.random.default_rng(0)), VE, "repeated noise"),
    "another kind": (diffusion, VE | {"kind": "ddim"}, "another step"),
    "shape": (lambda x, fn, s, lower: fn(x, s)[:, :1], VE, "shape"),
    "fn not used": (lambda x, fn, s, lower, rng: x + normal(x, rng), VE, "fn not used"),
    "no drift in the corrector": (lambda x, fn, s, lower, rng: diffusion(x, fn, s, lower, rng) + lower * normal(x, rng) + 0 * fn(x, lower), VE | {"kind": "predictor-corrector"}, "corrector: after"),
}  # fmt: skip


FULL = {  # what is said of them in all
    "noise without root": "noise without root: it is 0.2 sigma^2 z, to 11%, for a drift of 0.1 sigma^2 score, where sqrt(2 D) z belongs to D score",
    "told the next level": "level told: fn is told the next, less noisy one in its call 1, and not the level of its point (6 of 6 steps)",
    "told a constant": "level told: fn is told another one in its call 1, and not the level of its point (5 of 6 steps)",
    "drift halved": "drift halved (beside an ancestral step (posterior variance))",
    "sign": "sign of the step: it goes up in level (beside an ancestral step (posterior variance)) -- or -- sign of the drift (beside an ancestral step (posterior variance))",
    "variance for deviation": "noise without its root: the variance is taken for a standard deviation (beside an ancestral step with the forward variance beta, or a reverse-diffusion step, or an Euler-Maruyama step of the reverse SDE)",
    "root of difference": "noise of the difference of the levels, (sigma - sigma') z (beside an ancestral step (posterior variance), or an ancestral step with the forward variance beta); on a geometric ladder a constant factor and a power of sigma/sigma' are the same: levels that are not geometric tell them apart",
    "ancestral, flow's drift": "drift halved (beside DDIM, the probability flow in sigma / c)",
    "sigma_t for sigma_{t-1}": "sigma of the next level in front of the score (beside DDIM, the probability flow in sigma / c); on a geometric ladder a constant factor and a power of sigma/sigma' are the same: levels that are not geometric tell them apart",
    "heun at the old level": "level told: fn is told the one before, noisier in its call 2, and not the level of its point (6 of 6 steps)",
    "ddpm, x not rescaled": "the result not rescaled by r (beside an ancestral step (posterior variance))",
    "ddpm, beta as deviation": "noise without its root: the variance is taken for a standard deviation (beside an ancestral step with the forward variance beta)",
    "ddpm, eps for score": "drift multiplied by sigma (beside an ancestral step (posterior variance))",
    "ddpm, sign": "sign of the drift (beside an ancestral step (posterior variance))",
    "ddim, bars without root": "alpha_bar in place of its root (beside DDIM, the probability flow in sigma / c)",
    "ddim, noise of this level": "sigma of this level where that of the next one belongs (beside DDIM, the probability flow in sigma / c)",
    "flow the wrong way": "sign of velocity: fn predicts velocity, and the step takes it for minus that (beside DDIM, the probability flow in sigma / c) -- or -- sign of the step: it goes up in level (beside DDIM, the probability flow in sigma / c)",
    "sigma of the next level under the slope": "score multiplied by sigma/sigma' (beside DDIM, the probability flow in sigma / c); on a geometric ladder a constant factor and a power of sigma/sigma' are the same: levels that are not geometric tell them apart",
    "against the score": "sign of the drift: the step goes against the score, up in level, or the velocity is added with the wrong sign",
    "heun from the predicted point": "start of the second half: Heun's mean slope is added to the predicted point, not to the first (beside Heun's step of the probability flow)",
    "noise not taken from eps": "noise: x and the score have the coefficients of DDIM, the probability flow in sigma / c, and the noise is added, and not taken from the direction to eps",
    "the direction's noise is another": "noise beside the direction: the direction to eps leaves room for 2 times the variance of the noise that is added (beside DDIM with noise)",
    "the level t - 1 of a coarser ladder": "arrives elsewhere: the coefficients of fn's x_0 and eps are those of x' = 0.8587 x_0 + 0.5124 eps, where c' x_0 and noise of standard deviation sigma' in all belong; step 2 arrives at c = 0.8587, sigma = 0.5124, and not at c = 0.918, sigma = 0.3965 (another schedule, another next level, a schedule in few digits?)",
    "posterior exchanged": "coefficients exchanged: x has the coefficient of x_0, and x_0 that of x (beside an ancestral step (posterior variance))",
    "no direction": "arrives elsewhere: the coefficients of fn's x_0 and eps are those of x' = c' x_0 + sigma z, without a direction to eps, where c' x_0 and noise of standard deviation sigma' in all belong; step 7 arrives at c = 0.9899, sigma = 0.2727, and not at c = 0.9899, sigma = 0.1414",
    "1 - alpha_bar": "sigma^2 in place of sigma, at this level (beside DDIM, the probability flow in sigma / c)",
    "heun half way": "point of a call: fn's second call is at other points, and belongs at those to which an Euler step leads",
    "x_0 keeps its scale": "coefficient of x_0: x' = A x_0 + B eps has the other coefficients of DDIM, the probability flow in sigma / c, and A is c, 0.4445 in step 0, where c', 0.5312 belongs",
    "eps for x": "parametrisation: fn predicts x, and the step takes it for eps (beside DDIM, the probability flow in sigma / c)",
    "another kind": "another step: this is an ancestral step with the forward variance beta, not a step of kind 'ddim'",
    "shape": "shape: the step returned (2000, 1), expected (2000, 2)",
    "fn not used": "fn not used: the step never asks the network",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_steps_are_called_by_their_name(name):
    step, options, words = WRONG[name]
    report = check_reverse(step, n=2000, **options)
    assert report.verdict == "FAIL" and words in report.diagnosis, report
    assert report.diagnosis.startswith(FULL.get(name, "")) and len(report.diagnosis) == len(
        FULL.get(name, report.diagnosis)
    ), report


def test_what_two_kinds_share_is_undecided_until_one_is_said():
    """x + D score + sqrt(2 D) z with D = sigma^2 - sigma'^2: Langevin, or reverse diffusion with noise too large by sqrt(2)."""
    step = lambda x, fn, s, lower, rng: (
        x + (s**2 - lower**2) * fn(x, s) + np.sqrt(2 * (s**2 - lower**2)) * normal(x, rng)
    )
    assert check_reverse(step, levels=SIGMAS, n=2000).verdict == "INCONCLUSIVE"
    assert check_reverse(step, levels=SIGMAS, n=2000, kind="annealed")
    report = check_reverse(step, levels=SIGMAS, n=2000, kind="ancestral")
    assert report.verdict == "FAIL", report


@pytest.mark.parametrize(
    "options, words",
    [({"levels": [1.0, 0.5]}, "three"), ({"levels": np.ones((2, 2, 2))}, "shape"), ({"levels": SIGMAS, "kind": "magic"}, "kind"), ({"levels": SIGMAS, "predicts": "magic"}, "predicts"), ({"levels": [1.0, 1.0, 0.5]}, "same")],
)  # fmt: skip
def test_misuse_is_an_error_that_names_the_check(options, words):
    with pytest.raises(ValueError, match="check_reverse") as error:
        check_reverse(flow, **options)
    assert words in str(error.value)


def test_torch_steps():
    torch = pytest.importorskip("torch")

    def step(x, fn, t, lower, sign=1.0):
        a, b = torch.tensor(BARS)[int(t)], torch.tensor(BARS)[int(lower)]
        eps = fn(x, torch.full((len(x),), int(t)))
        x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
        return b.sqrt() * x0 + sign * (1 - b).sqrt() * eps

    right = check_reverse(step, levels=DDPM, predicts="eps", kind="ddim", wrap="torch", n=2000)
    assert right, right
    wrong = check_reverse(
        lambda x, fn, t, lower: step(x, fn, t, lower, -1.0),
        levels=DDPM,
        predicts="eps",
        kind="ddim",
        wrap="torch",
        n=2000,
    )
    assert wrong.verdict == "FAIL", wrong
    noisy = lambda x, fn, s, lower: x + (s**2 - lower**2) * fn(x, s) + (s**2 - lower**2) ** 0.5 * torch.randn_like(x)
    assert check_reverse(noisy, levels=SIGMAS, wrap="torch", n=2000)


def test_jax_steps():
    jax = pytest.importorskip("jax")

    @jax.jit
    def noise(key, x):
        return jax.random.normal(key, x.shape)

    step = lambda x, fn, s, lower, key: x + (s**2 - lower**2) * fn(x, s) + (s**2 - lower**2) ** 0.5 * noise(key, x)
    assert check_reverse(step, levels=SIGMAS, wrap="jax", n=2000)
    halved = lambda x, fn, s, lower, key: (
        x + 0.5 * (s**2 - lower**2) * fn(x, s) + (s**2 - lower**2) ** 0.5 * noise(key, x)
    )
    report = check_reverse(halved, levels=SIGMAS, wrap="jax", n=2000, kind="ancestral")
    assert report.verdict == "FAIL" and "drift halved" in report.diagnosis, report


MINE = """
import numpy as np
levels = {0: (0.3, 0.95), 1: (0.6, 0.8), 2: (0.9, 0.43)}
C = {k: c for k, (c, s) in levels.items()}
S = {k: s for k, (c, s) in levels.items()}


def ddim(x, fn, t, lower):
    eps = fn(x, t)
    return C[lower] * (x - S[t] * eps) / C[t] + S[lower] * eps


def flow(x, fn, sigma, lower):
    return x - 0.5 * (lower - sigma) * sigma * fn(x, sigma)


def langevin(x, score, step, rng):
    return x + step * score(x) + np.sqrt(2 * step) * rng.standard_normal(x.shape)


def plain(x):
    return x @ np.array([[-1.0, 0.5], [-0.2, -1.0]])
"""


def test_the_assertion_and_the_command(tmp_path, capsys):
    with pytest.raises(AssertionError, match="sigma of this level"):
        step, options, _ = WRONG["ddim, noise of this level"]
        assert_reverse(step, n=500, **options)
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    run = lambda line: (main(["check", *line.split()]), capsys.readouterr())
    code, said = run(f"{file}:ddim --reverse {file}:levels --predicts eps --kind ddim")
    assert code == 0 and "DDIM" in said.out
    code, said = run(f"{file}:flow --reverse 5,2,1,0.5 --kind ddim")
    assert code == 1 and "drift halved" in said.out
    code, said = run(f"{file}:langevin --sampler euler")
    assert code == 0 and "Euler-Maruyama" in said.out
    for line in ("--kind ddim --dim 2", "--reverse 5,2", "--reverse magic", "--reverse 5,2,1 --sampler euler"):
        code, said = run(f"{file}:flow {line}")
        assert code == 2 and len(said.err.splitlines()) == 1, said


def test_a_score_of_which_nothing_was_claimed_is_told_how_far_from_a_gradient_it_is(tmp_path, capsys):
    """It was FAIL, "not a gradient", where the user had only asked whether all is well."""
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    code = main(["check", f"{file}:plain", "--dim", "2"])
    out = capsys.readouterr().out
    # J = [[-1, -0.2], [0.5, -1]]: |J - J^T| / 2 over |J| is 0.35 sqrt(2) / sqrt(2.29) = 0.327
    assert code == 0 and "usual" in out and "0.33 of its Jacobian" in out, out
    assert main(["check", f"{file}:plain", "--dim", "2", "--conservative"]) == 1
    assert "no energy has this score" in capsys.readouterr().out


def test_euler_steps_of_the_flow_in_sigma_and_along_a_straight_line_are_euler_steps():
    """x + (x - D)/sigma (sigma' - sigma), and x + (t' - t) v of x_t = (1 - t) x_0 + t eps: both are DDIM as well."""
    in_sigma = lambda x, fn, level, to: x + (x - fn(x, level)) / level * (to - level)
    assert check_reverse(in_sigma, levels=[10.0, 5.0, 2.0, 1.0, 0.5], kind="euler", predicts="x")
    t = np.linspace(0.95, 0.05, 13)
    along = lambda x, fn, level, to: x + (t[int(to)] - t[int(level)]) * fn(x, level)
    line = np.stack([1 - t, t], axis=1)
    assert check_reverse(along, levels=line, kind="euler", predicts="velocity")
    turned = lambda x, fn, level, to: x - (t[int(to)] - t[int(level)]) * fn(x, level)
    assert check_reverse(turned, levels=line, kind="euler", predicts="velocity").verdict == "FAIL"


# ------------------------------------------------------------------------------- steps of which every number is known

C, S = np.array([0.5, 0.6, 0.75, 0.85, 0.95]), np.array([0.85, 0.8, 0.65, 0.5, 0.2])  # no variance is preserved
LADDER = [Level(k, c, s) for k, (c, s) in enumerate(zip(C, S, strict=True))]
P = Place(C[:-1], S[:-1], C[1:], S[1:])
R = P.d / P.c
KNOWN = {step.name: step for step in KNOWN_STEPS}
DDIM = "DDIM, the probability flow in sigma / c"
ANCESTRAL = "an ancestral step (posterior variance)"


def steps_of(
    alpha, gamma, var, levels=None, draws=4000, predicts="score", exact=1e-8, strays="", bent=False, ladder=LADDER
):
    """`Steps` with these coefficients, gamma a tuple where fn is asked twice."""
    columns = np.column_stack(gamma) if isinstance(gamma, tuple) else np.reshape(gamma, (-1, 1))
    told = levels or [tuple(i + k for k in range(columns.shape[1])) for i in range(len(columns))]
    one = lambda a: np.broadcast_to(a, len(columns))
    parts = [
        Part(float(a), tuple(map(float, g)), float(v), t, exact, bent, strays)
        for a, g, v, t in zip(one(alpha), columns, one(var), told, strict=True)
    ]
    return Steps(ladder, parts, draws, predicts)


def known(name, **options):
    return steps_of(*KNOWN[name].of(P), **options)


@pytest.mark.parametrize("name", KNOWN)
def test_known_steps_are_right_by_their_name(name):
    found = reverse.right(known(name))
    assert (KNOWN[name].kind, name) in found
    if name == "an ancestral step with the forward variance beta":
        assert [n for _, n in found] == [name]


def test_coefficients_are_the_same_up_to_what_they_are_known_to():
    alpha, gamma, var = KNOWN[ANCESTRAL].of(P)
    steps = known(ANCESTRAL)
    assert (
        steps.same(alpha, gamma, var)
        and steps.calls == 1
        and steps.exact == 1e-8
        and steps.error == 5 * np.sqrt(2 / 4000)
    )
    last = np.array([0, 0, 0, 1.0])
    for share, same in ((0.98, True), (1.02, False)):
        assert steps.same(alpha * (1 + share * 1e-6 * last), gamma, var) == same
        assert steps.same(alpha, gamma * (1 - share * 1e-6 * last), var) == same
        assert steps.same(alpha, gamma, var * (1 - share * steps.error * last)) == same  # of the larger
        assert steps.same(alpha, gamma, var / (1 - share * steps.error * last)) == same
        assert known(DDIM).same(*KNOWN[DDIM].of(P)[:2], share * 1e-8 * P.s**2 * last / (1 - steps.error)) == same
    assert not steps.same(alpha, (gamma, gamma), var) and not steps.same(alpha * np.nan, gamma, var)
    assert not steps.same(alpha, gamma, np.where(last, np.inf, var))
    assert known(ANCESTRAL, exact=1.0).exact == 1e-4
    two = steps_of(alpha, (gamma, 1e-3 * gamma), var)
    assert two.same(alpha, (gamma, 1e-3 * gamma + 0.98e-6 * np.abs(gamma)), var) and not two.same(
        alpha, (gamma, 1e-3 * gamma + 1.02e-6 * np.abs(gamma)), var
    )
    uneven = Steps(
        LADDER,
        [Part(1.0, (2.0,), 0.0, (0,), 1e-9, False), Part(1.0, (2.0, 3.0), 0.0, (1, 2), 1e-7, False)] * 2,
        100,
        "eps",
    )
    assert uneven.gamma.tolist() == [[2, 0], [2, 3]] * 2 and uneven.exact == 1e-7


def test_known_steps_of_a_kind_are_those_that_ask_as_often():
    once = np.ones(4)
    names = lambda kind, calls=None, gamma=once: [step.name for step, _ in steps_of(1.0, gamma, 0.0).known(kind, calls)]
    every = [name for name, step in KNOWN.items() if step.levels == (0,)]
    assert names(None) == every and names("ancestral") == every[:2] and names("ddim") == [DDIM]
    assert (
        names("euler") == [DDIM, *(n for n in every if KNOWN[n].kind == "euler")]
        and names("heun") == names("predictor-corrector") == []
    )
    two = (np.ones(4), np.ones(4))
    assert len(names("heun", gamma=two)) == 2 and names(None, 1, two) == every and names("ddim", gamma=two) == []
    for _, (alpha, gamma, var) in known(DDIM).known("ddim"):
        np.testing.assert_allclose(alpha * 0 + gamma + var, P.s * (R * P.s - P.t))


def test_langevin_ddim_with_noise_and_what_stands_between_flow_and_sde_are_right_too():
    D = np.array([0.3, 0.2, 0.05, 0.01])
    assert reverse.right(steps_of(1.0, D, 2 * D)) == [("annealed", "a Langevin step at each level")]
    assert reverse.right(steps_of(1.0, D, 2.4 * D)) == reverse.right(steps_of(1.01, D, 2 * D)) == []
    posterior = P.beta * (P.t / P.s) ** 2
    for eta in (0.5, 0.8):
        var = eta**2 * posterior
        of = lambda var, told: steps_of(R, R * P.s**2 - P.s * np.sqrt(P.t**2 - var), told)
        assert reverse.right(of(var, var)) == [("ddim", f"DDIM with noise, eta = {eta:.3g}")]
        assert reverse.right(of(var, 1.5 * var)) == []
    for var in (0.0, 0.25 * posterior):  # the direction to eps turned round leaves as much room for noise
        assert reverse.right(steps_of(R, R * P.s**2 + P.s * np.sqrt(P.t**2 - var), var)) == []
        assert not list(reverse.other_room(steps_of(R, R * P.s**2 + P.s * np.sqrt(P.t**2 - 2 * var), var), None))
    fine = [
        Level(k, 1.0, 1.0 - 1e-6 * k) for k in range(5)
    ]  # so little between levels that any step has next to no noise
    assert reverse.right(steps_of(1.0, 1.001e-6 * np.ones(4), 0.0, ladder=fine)) == []
    half = (P.beta + 0.3 * P.beta) / 2
    for alpha in (1 + (1 - R**-2.0) / 2, 2 - 1 / R):
        assert reverse.right(steps_of(alpha, half, 0.3 * P.beta)) == [
            ("euler", "an Euler step between the probability flow and the reverse SDE")
        ]
        assert (
            reverse.right(steps_of(alpha, half, 0.4 * P.beta))
            == reverse.right(steps_of(1.02 * alpha, half, 0.3 * P.beta))
            == []
        )


@pytest.mark.parametrize("name", [ANCESTRAL, DDIM, "a reverse-diffusion step"])
def test_a_langevin_step_before_or_after_a_predictor_is_a_corrector(name):
    """x_1 = x + D s + sqrt(2 D) z before x' = alpha x_1 + gamma s_1 + b z, or after it at the next level."""
    alpha, gamma, var = KNOWN[name].of(P)
    D = np.array([0.3, 0.2, 0.05, 0.01])
    after = reverse.right(steps_of(alpha, (gamma, D), var + 2 * D))
    before = reverse.right(steps_of(alpha, (alpha * D, gamma), var + 2 * alpha**2 * D))
    assert ("predictor-corrector", f"{name}, then a Langevin step at the next level") in after
    assert ("predictor-corrector", f"a Langevin step, then {name}") in before
    assert reverse.right(steps_of(alpha, (gamma, D), var + 3 * D)) == []
    wrong = list(reverse.wrong_corrector(steps_of(alpha, (gamma, D), var + 3 * D), "predictor-corrector"))
    assert (
        f"corrector: after {name} the score at the next level has the coefficient 0.3 and its noise the variance 0.9 or so, where twice the coefficient belongs"
        in wrong
    )
    assert list(reverse.wrong_corrector(steps_of(alpha, (gamma, D), var + 3 * D), "heun")) == []


def test_heun_s_step_to_no_noise_is_euler_s():
    ladder = [*LADDER[:4], Level(4, 0.95, 0.0)]
    place = Place(C[:-1], S[:-1], C[1:], np.append(S[1:4], 0.0))
    alpha, (first, second), var = KNOWN["Heun's step of the probability flow"].of(place)
    last = np.array([0, 0, 0, 1.0])
    euler = np.where(last, place.r * place.s**2, first)  # x_0 = (x + s^2 score)/c alone is left
    heun = ("heun", "Heun's step of the probability flow")
    assert reverse.right(steps_of(alpha, (euler, second * (1 - last)), var, ladder=ladder)) == [heun]
    assert reverse.right(steps_of(alpha, (euler * (1 + last), second * (1 - last)), var, ladder=ladder)) == []
    assert reverse.right(steps_of(alpha, (first, second), var, ladder=ladder)) == [heun]


AS_SCORE = {  # of an answer f at x
    "score": lambda f, x: f,
    "eps": lambda f, x: -f / P.s,
    "x": lambda f, x: (P.c * f - x) / P.s**2,
    "v": lambda f, x: -(f * P.c + P.s * x) / (P.s * (P.c**2 + P.s**2)),
    "velocity": lambda f, x: -(P.c * f + x) / (P.s * (P.c + P.s)),
}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("taken", AS_SCORE)
@pytest.mark.parametrize("predicts", AS_SCORE)
def test_an_answer_taken_for_another_is_named(predicts, taken, sign):
    """The answer is a score S and a multiple of x; the step makes of it what it takes it for."""
    answer = {
        "score": lambda s, x: s, "eps": lambda s, x: -P.s * s, "x": lambda s, x: (x + P.s**2 * s) / P.c,
        "v": lambda s, x: P.c * -P.s * s - P.s * (x + P.s**2 * s) / P.c, "velocity": lambda s, x: -P.s * s - (x + P.s**2 * s) / P.c,
    }[predicts]  # fmt: skip
    zero, one = 0 * P.c, 0 * P.c + 1
    for s, x in ((one, zero), (zero, one)):
        np.testing.assert_allclose(AS_SCORE[predicts](answer(s, x), x), s, rtol=1e-12, atol=1e-12)
    a, b = reverse.slopes(predicts, P.c, P.s)
    np.testing.assert_allclose([a + zero, b + zero], [answer(one, zero), answer(zero, one)], rtol=1e-13)
    alpha, gamma, var = KNOWN[DDIM].of(P)
    step = lambda s, x: alpha * x + gamma * AS_SCORE[taken](sign * answer(s, x), x)
    found = list(reverse.misread(steps_of(step(zero, one), step(one, zero), var, predicts=predicts), "ddim"))
    if (taken, sign) == (predicts, 1):
        assert found == []
    elif taken == predicts:
        assert found == [
            f"sign of {predicts}: fn predicts {predicts}, and the step takes it for minus that (beside {DDIM})"
        ]
    else:
        assert found == [
            f"parametrisation: fn predicts {predicts}, and the step takes it for {'minus ' * (sign < 0)}{taken} (beside {DDIM})"
        ]


def test_changes_beside_a_known_step_are_listed_with_it():
    alpha, gamma, var = KNOWN[ANCESTRAL].of(P)
    assert list(reverse.changes(steps_of(alpha, gamma / 2, var), "ancestral", 1)) == [
        f"drift halved (beside {ANCESTRAL})"
    ]
    assert list(reverse.changes(steps_of(alpha, gamma / 2, 4 * var), "ancestral", 1)) == []
    assert f"drift halved; noise doubled (beside {ANCESTRAL})" in reverse.changes(
        steps_of(alpha, gamma / 2, 4 * var), "ancestral", 2
    )
    assert list(reverse.within_fn(steps_of(alpha, gamma / 2, var), "ancestral", 1)) == []
    s_next = KNOWN[DDIM].of(P._replace(s=P.t))
    of_eps = steps_of(s_next[0], s_next[1] * P.s / P.t, 0.0, predicts="eps")  # eps taken, and divided by the next sigma
    assert list(reverse.within_fn(of_eps, "ddim", 1)) == [
        f"sigma of the next level where that of this one belongs (beside {DDIM})"
    ]
    assert list(reverse.uphill(steps_of(alpha, -gamma, var), None)) and not list(
        reverse.uphill(steps_of(alpha, gamma * [-1, -1, -1, 0], var), None)
    )


# x' = A x_0 + B eps, told by the two coefficients
def in_x0_and_eps(A, B, var=0.0, **options):
    return steps_of(A / P.c, (A / P.c * P.s - B) * P.s, var, **options)


COEFFICIENTS = {  # A, B, options, what is said
    "c for c'": (P.c, P.t, {}, f"coefficient of x_0: x' = A x_0 + B eps has the other coefficients of {DDIM}, and A is c, 0.6 in step 1, where c', 0.75 belongs"),
    "sigma for sigma'": (P.d, P.s, {}, f"coefficient of eps: x' = A x_0 + B eps has the other coefficients of {DDIM}, and B is sigma, 0.5 in step 3, where sigma', 0.2 belongs"),
    "a product": (P.d * P.s, P.t, {}, f"coefficient of x_0: x' = A x_0 + B eps has the other coefficients of {DDIM}, and A is sigma c', 0.475 in step 3, where c', 0.95 belongs"),
    "twice": (2 * P.d, P.t, {}, f"coefficient of x_0: x' = A x_0 + B eps has the other coefficients of {DDIM}, and A is 2 c', 1.2 in step 0, where c', 0.6 belongs"),
    "exchanged": (P.t, P.d, {}, f"coefficients exchanged: x_0 has the coefficient of eps, and eps that of x_0 (beside {DDIM})"),
}  # fmt: skip


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_a_coefficient_that_is_not_as_the_others_is_told_in_words(name):
    A, B, options, words = COEFFICIENTS[name]
    assert list(reverse.coefficient(in_x0_and_eps(A, B, **options), "ddim", plainly=True)) == [words]


def test_a_coefficient_of_no_words_is_told_by_its_number_where_words_are_not_asked_for():
    odd = P.d * np.array([1.1, 1.3, 0.7, 0.9])
    steps = in_x0_and_eps(odd, P.t)
    assert list(reverse.coefficient(steps, "ddim", plainly=True)) == []
    own, theirs = (a[2] - P.c[2] * P.t[2] / P.s[2] for a in (odd, P.d))  # beside x' = sigma'/sigma x + ...
    assert list(reverse.coefficient(steps, "ddim", plainly=False)) == [
        f"coefficient of x_0: x' = A x + B x_0 has the other coefficients of {DDIM}, and B is {own:.4g} in step 2, where {theirs:.4g} belongs"
    ]
    noisy = list(reverse.coefficient(in_x0_and_eps(P.c, P.t, 0.01), "ddim", plainly=True))
    assert noisy == []  # other noise than that of the known step
    alpha, gamma, var = KNOWN[ANCESTRAL].of(P)
    with_noise = list(reverse.coefficient(steps_of(alpha * 1.5, gamma, var), "ancestral", plainly=False))
    assert with_noise and "+ b z has the other coefficients" in with_noise[0], with_noise
    assert list(reverse.coefficient(steps_of(alpha, (gamma, gamma), var), None, plainly=False)) == []


def test_terms_are_other_ways_to_write_one_step():
    rng = np.random.default_rng(0)
    alpha, gamma = rng.random(4), rng.random(4)
    x, score = rng.standard_normal(4), rng.standard_normal(4)
    eps, x_0 = -P.s * score, (x + P.s**2 * score) / P.c
    values = {"x": x, "x_0": x_0, "eps": eps, "score": score, "v": P.c * eps - P.s * x_0, "velocity": eps - x_0}
    for predicts in ("score", "eps", "x", "v", "velocity"):
        found = reverse.terms(steps_of(alpha, gamma, 0.0, predicts=predicts), alpha, gamma)
        named = dict.fromkeys(("x_0" if predicts == "x" else predicts, "x_0", "eps", "score"))
        assert list(found) == [*(("x", word) for word in named), ("x_0", "eps")]
        for (one, other), (a, b, size_a, size_b) in found.items():
            np.testing.assert_allclose(a * values[one] + b * values[other], alpha * x + gamma * score, rtol=1e-10)
            assert np.all(size_a >= np.abs(a) - 1e-12) and np.all(size_b >= np.abs(b) - 1e-12)
    _, _, size_a, size_b = found["x_0", "eps"]
    np.testing.assert_allclose([size_a, size_b], [P.c * alpha, alpha * P.s + gamma / P.s], rtol=1e-12)
    a, b, size_a, size_b = reverse.terms(steps_of(alpha, gamma, 0.0), alpha, gamma)["x", "x_0"]
    np.testing.assert_allclose([size_a, size_b], [alpha + gamma / P.s**2, gamma * P.c / P.s**2], rtol=1e-12)


def test_numbers_at_four_levels_are_products_of_few_powers():
    size = 1 + 0 * P.c
    law = lambda values, p=P, exact=1e-6: reverse.in_law(values, np.ones(len(values)), p, exact)
    assert law(0.9e-6 * size) == "0" and law(1.1e-6 * size) != "0"
    assert (
        law(P.s * P.t) == "sigma sigma'"
        and law(P.c / P.d**2) == "c/c'^2"
        and law(-2 * np.sqrt(P.s)) == "-2 sqrt(sigma)"
    )
    assert law(P.c**3 / P.d) == "c^3/c'" and law(P.c**4 / P.d) == ""  # at most four in all
    assert law(np.array([1.0, 2.0, 0.3, 5.0])) == "" and law(1.5 * size) == "1.5"
    three = Place(*(a[:3] for a in P))
    assert (
        law(P.s[:3], three) == ""
        and law(P.s, P._replace(t=P.t * [1, 1, 1, 0])) == ""
        and law(P.s, P._replace(s=P.s * [0, 1, 1, 1])) == ""
    )
    assert (
        law(P.s * (1 + 0.9e-5 * np.array([0, 1, 0, 1]))) == "sigma"
        and law(P.s * (1 + 1.2e-5 * np.array([0, 1, 0, 1]))) == ""
    )


def test_noise_beside_right_coefficients_is_told_with_its_variance():
    alpha, gamma, var = KNOWN[ANCESTRAL].of(P)
    more = 3 * P.beta * np.array([1, 2, 1, 1])
    found = list(reverse.noise_alone(steps_of(alpha, gamma, more), "ancestral"))
    i = int(np.argmax(np.abs(more - var) / more))
    assert (
        found[0]
        == f"noise: x and the score have the coefficients of {ANCESTRAL}, and the noise has the variance {more[i]:.4g} where {var[i]:.4g} belongs, in step {i}"
    )
    assert len(found) == 2  # beside either variance
    assert (
        list(reverse.noise_alone(steps_of(alpha, gamma, (var + P.beta) / 2), "ancestral")) == []
    )  # any between them is right
    error = 5 * np.sqrt(2 / 4000)
    for share, between in ((0.98, True), (1.02, False)):
        assert (
            list(reverse.noise_alone(steps_of(alpha, gamma, P.beta * (1 + share * error)), "ancestral")) == []
        ) == between
        assert (
            list(reverse.noise_alone(steps_of(alpha, gamma, var * (1 - share * error)), "ancestral")) == []
        ) == between
    added = list(reverse.noise_alone(steps_of(*KNOWN[DDIM].of(P)[:2], 0.01), "ddim"))
    assert added == [
        f"noise: x and the score have the coefficients of {DDIM}, and the noise is added, and not taken from the direction to eps"
    ]
    assert list(reverse.noise_alone(steps_of(alpha, (gamma, gamma), var), None)) == []


def test_room_for_noise_is_told_where_it_goes_with_another_variance():
    var = 0.3 * P.beta * (P.t / P.s) ** 2
    of = lambda room: steps_of(R, R * P.s**2 - P.s * np.sqrt(P.t**2 - room), var)
    assert list(reverse.other_room(of(2 * var), None)) == [
        "noise beside the direction: the direction to eps leaves room for 2 times the variance of the noise that is added (beside DDIM with noise)"
    ]
    assert list(reverse.other_room(of(2 * var), "ddim")) and not list(reverse.other_room(of(2 * var), "euler"))
    assert not list(reverse.other_room(of(var * [2, 1, 2, 1]), None))
    even = [
        Level(k, 1.0, 0.9**k) for k in range(5)
    ]  # the ratio of levels is the same: a step of first order looks like it
    s, t = 0.9 ** np.arange(4), 0.9 ** np.arange(1, 5)
    assert not list(
        reverse.other_room(steps_of(1.0, s**2 - s * np.sqrt(t**2 - 0.02 * t**2), 0.01 * t**2, ladder=even), None)
    )


def test_where_a_step_arrives_is_said_of_the_step_that_is_furthest_off():
    var = 0.04 * P.t**2
    steps = in_x0_and_eps(1.5 * P.d, P.t, var)
    scale, q, *_ = reverse.terms(steps, steps.alpha, steps.gamma[:, 0])["x_0", "eps"]
    np.testing.assert_allclose([scale, q], [1.5 * P.d, P.t], rtol=1e-12)
    said = lambda *a: reverse.elsewhere(in_x0_and_eps(*a))
    assert said(P.c, P.t, var) == (
        "arrives elsewhere: the coefficients of fn's x_0 and eps are those of x' = c x_0 + sigma' eps + 0.2 sigma' z, where c' x_0 and noise of standard deviation sigma' in all belong; "
        f"step 1 arrives at c = 0.6, sigma = {P.t[1] * np.sqrt(1.04):.4g}, and not at c = 0.75, sigma = 0.65"
    )
    assert "are those of x' = (c' + sigma) x_0 - sigma' eps, where" in said(P.d + P.s, -P.t)
    assert "are those of x' = (c' - sigma/2) x_0 + sigma eps, where" in said(P.d - P.s / 2, P.s)
    assert "are those of x' = x_0 + sigma' eps, where" in said(1.0 + 0 * P.c, P.t)
    off = P.d * np.array([1.0, 1.0, 1.37, 1.0])
    assert f"are those of x' = {off[2]:.4g} x_0 + sigma' eps, where" in said(
        off, P.t
    ) and "; step 2 arrives at" in said(off, P.t)
    eps = said(P.d + P.t, 0 * P.t)
    assert "x' = (c' + sigma') x_0, without a direction to eps; fn's x_0 is used as eps, where" in eps


# ------------------------------------------------------------------------------- the level and the points of a call

TOLD = {  # levels told in four steps, the kind, what is said
    "its own": ([(0,), (1,), (2,), (3,)], None, ""),
    "the next": ([(1,), (2,), (3,), (4,)], None, "level told: fn is told the next, less noisy one in its call 1, and not the level of its point (4 of 4 steps)"),
    "the one before, once": ([(0,), (0,), (2,), (3,)], None, "level told: fn is told the one before, noisier in its call 1, and not the level of its point (1 of 4 steps)"),
    "none": ([(None,)] * 4, None, "level told: fn is told no level of the ladder in its call 1, and not the level of its point (4 of 4 steps)"),
    "none, and another": ([(None,), (2,), (2,), (3,)], None, "level told: fn is told another one in its call 1, and not the level of its point (2 of 4 steps)"),
    "two further": ([(2,), (1,), (2,), (3,)], None, "level told: fn is told another one in its call 1, and not the level of its point (1 of 4 steps)"),
    "of heun, both": ([(0, 1), (1, 2), (2, 3), (3, 4)], "heun", ""),
    "of heun, twice its own": ([(0, 0), (1, 1), (2, 2), (3, 3)], "heun", "level told: fn is told the one before, noisier in its call 2, and not the level of its point (4 of 4 steps)"),
    "of heun, the second beyond": ([(0, 2), (1, 2), (2, 3), (3, 4)], "heun", "level told: fn is told the next, less noisy one in its call 2, and not the level of its point (1 of 4 steps)"),
    "of heun, no second at the end": ([(0, 1), (1, 2), (2, 3), (3,)], "heun", ""),
    "of what is none, twice its own": ([(0, 0), (1, 1), (2, 2), (3, 3)], "predictor-corrector", ""),
    "of what is none, the second anywhere": ([(0, 3), (1, 0), (2, 1), (3, 3)], None, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_the_level_that_fn_is_told_is_that_of_its_point(name):
    levels, kind, words = TOLD[name]
    gamma = (np.ones(4),) * max(map(len, levels)) if max(map(len, levels)) > 1 else np.ones(4)
    assert reverse._wrong_level(steps_of(1.0, gamma, 0.0, levels), [], kind) == words


def test_a_corrector_s_second_call_is_told_the_next_level_where_its_name_says_so():
    twice = steps_of(1.0, (np.ones(4), np.ones(4)), 0.0, [(k, k) for k in range(4)])
    next_one = [("predictor-corrector", "an Euler step, then a Langevin step at the next level")]
    assert "in its call 2" in reverse._wrong_level(twice, next_one, None)
    assert reverse._wrong_level(twice, [("predictor-corrector", "a Langevin step, then an Euler step")], None) == ""


def test_calls_at_the_same_points_and_level_are_one():
    a, b = np.zeros((2, 1)), np.ones((2, 1))
    group, first = reverse._grouped([(0, a), (0, a), (0, b), (1, a), (0, b.copy()), (1, a)])
    assert group == [0, 0, 1, 2, 1, 2] and [(t, p[0, 0]) for t, p in first] == [(0, 0), (0, 1), (1, 0)]
    assert reverse._grouped([]) == ([], [])


def test_a_second_call_belongs_where_an_euler_step_leads():
    here, below, x = LADDER[0], LADDER[1], np.array([[1.0, -0.5], [0.3, 0.2]])
    w = 0.7
    x_0, eps = (x + here.sigma**2 * w) / here.c, -here.sigma * w
    ends = below.c * x_0 + below.sigma * eps
    stray = lambda points, exact=1e-3: reverse._strays([(0, x), (1, points)], here, below, w, exact)
    assert (
        stray(ends) == ""
        and stray(ends + 0.9e-3) == ""
        and stray(ends + 1.1e-3) == "at other points"
        and stray(x) == "at the same points as its first"
    )
    many = lambda *asked: reverse._strays(list(asked), here, below, w, 1e-3)
    assert many((0, x)) == many((0, x), (1, ends), (1, ends + 1)) == ""
    assert many((0, x), (1, ends), (1, x)) == "at the same points as its first"


# ------------------------------------------------------------------------------- what is measured

STEPPED = lambda x, fn, k, lower, rng: 1.3 * x + 0.2 * (k + 1) * fn(x, k) + 0.1 * rng.standard_normal(x.shape)


def measured(step, i=1, n=4000, predicts="score"):
    walk = reverse.Walk("c", step, wrap=None, ladder=LADDER, predicts=predicts)
    return reverse._measured(walk, i, np.random.default_rng(0).standard_normal((n, 2)))


def test_a_step_is_measured_to_round_off_and_its_noise_by_its_spread():
    part = measured(STEPPED)
    assert abs(part.alpha - 1.3) < 1e-12 and abs(part.gamma[0] - 0.4) < 1e-12 and len(part.gamma) == 1
    z = np.random.default_rng(1).standard_normal((4000, 2))
    np.testing.assert_allclose(part.var, 0.01 * z.var(), rtol=1e-9)
    assert part.levels == (1,) and not part.bent and part.strays == "" and 1e-8 <= part.exact < 1e-6
    two = measured(lambda x, fn, k, lower: 0.5 * x + 0.3 * fn(x, k) - 0.2 * fn(x + 1, lower))
    np.testing.assert_allclose([two.alpha, *two.gamma, two.var], [0.5, 0.3, -0.2, 0.0], atol=1e-12)
    assert two.levels == (1, 2) and two.strays == "at other points"
    once = measured(lambda x, fn, k, lower: x + 0.1 * fn(x, k) + 0.2 * fn(x, k))
    np.testing.assert_allclose(once.gamma, [0.3], rtol=1e-10)
    single = measured(lambda x, fn, k, lower: (1.3 * x + 0.2 * fn(x, k)).astype(np.float32).astype(float))
    assert single.exact >= 1e-6 and abs(single.alpha - 1.3) < 1e-5


def test_what_is_no_sum_of_x_and_scores_is_not_measured():
    assert measured(lambda x, fn, k, lower: x + 1e-2 * x**2 + fn(x, k)) is None
    assert measured(lambda x, fn, k, lower: x + np.tanh(fn(x, k))) is None
    assert measured(lambda x, fn, k, lower: x + fn(x + 0.1, k)) is None
    state = np.random.default_rng(0)
    assert measured(lambda x, fn, k, lower: x + fn(x, k) + state.standard_normal(x.shape)) is None
    clipped = measured(lambda x, fn, k, lower: np.clip(1.1 * x + 0.2 * fn(x, k), -3, 3))
    assert clipped.bent and abs(clipped.alpha - 1.1) < 1e-10
    with pytest.raises(Flaw, match=r"^biased: the step has an offset of 3,"):
        measured(lambda x, fn, k, lower, rng: x + fn(x, k) + 3.0 + 0.1 * rng.standard_normal(x.shape))
    with pytest.raises(Flaw, match=r"^repeated noise"):
        measured(lambda x, fn, k, lower: x + fn(x, k) + np.random.default_rng(0).standard_normal(x.shape))


def test_levels_are_found_by_what_they_are_called_and_steps_given_what_they_take():
    walk = reverse.Walk(
        "c", lambda x, fn, level: x, wrap=None, ladder=[Level(t, 1.0, t) for t in (5.0, 1.0, 0.2)], predicts="score"
    )
    assert [
        walk.level_of(v) for v in (5.0, 1.0 + 0.9e-4, 1.0 + 1.1e-4, np.full(3, 0.2), np.array([0.2, 1.0]), 0.0)
    ] == [0, 1, Level(1.0 + 1.1e-4, 1.0, 1.0 + 1.1e-4), 2, None, None]
    assert walk.level_of(np.float32(0.2)) == 2
    walk = reverse.Walk("c", lambda x, fn, level: x, wrap=None, ladder=LADDER, predicts="score")
    assert walk.level_of(1.5) is None and not walk.unknown  # told to a first call it is wrong, to a later one unknown
    walk.asked.append((0, np.zeros((2, 1))))
    assert walk.level_of(77) is None and not walk.unknown
    assert walk.level_of(1.5) is None and walk.unknown == "1.5"
    takes = lambda step: reverse.Walk("c", step, wrap=None, ladder=LADDER, predicts="score").takes_next
    assert takes(lambda x, fn, a, b: x) and not takes(lambda x, fn, a: x) and not takes(lambda x, fn, a, b=None: x)
    assert (
        not takes(lambda x, fn, a, rng: x)
        and takes(lambda x, fn, a, b, rng: x)
        and not takes(lambda x, fn, a, *, b: x)
        and takes(max)
    )
    told = []
    step = lambda x, fn, a, b: (
        told.append((a, b, fn(x, 2)[0, 0], fn(x, level=1)[0, 0], fn(x, t=0)[0, 0], fn(x, 77)[0, 0])) or x
    )
    walk = reverse.Walk("c", step, wrap=None, ladder=LADDER, predicts="eps")
    walk(np.zeros((2, 1)), 3, 1, lambda k, points, v: 10.0 + k)
    assert told == [(3, 4, -S[2] * 10, -S[1] * 11, -S[0] * 12, -S[3] * 13)] and [t for t, _ in walk.asked] == [
        2,
        1,
        0,
        None,
    ]


def test_ladders_are_sorted_from_the_noisiest_and_need_three_levels():
    assert reverse._ladder("c", [0.2, 5, 1]) == [Level(5.0, 1.0, 5.0), Level(1.0, 1.0, 1.0), Level(0.2, 1.0, 0.2)]
    assert reverse._ladder("c", [[0.9, 0.1], [0.5, 0.8], [0.7, 0.0]]) == [
        Level(1, 0.5, 0.8),
        Level(0, 0.9, 0.1),
        Level(2, 0.7, 0.0),
    ]
    assert reverse._ladder("c", {"a": (1, 2), "b": (2, 2), "c": (3, 2)})[2] == Level("c", 3.0, 2.0)
    for bad in ([[1, 2], [0, 1], [1, 0.5]], [3, 2, -1], [3, np.inf, 1], [2, 1]):
        with pytest.raises(
            ValueError, match="expected at least three of c > 0 and sigma >= 0; of a few hundred give some"
        ):
            reverse._ladder("c", bad)
    with pytest.raises(
        ValueError, match=r"levels has shape \(3, 3\), expected \(L,\) of sigma or \(L, 2\) of \(c, sigma\)"
    ):
        reverse._ladder("c", np.ones((3, 3)))
    with pytest.raises(ValueError, match="two levels have the same sigma / c; each must be noisier than the next"):
        reverse._ladder("c", [[1, 2], [0.5, 1], [1, 0.5]])


# ------------------------------------------------------------------------------- the verdict


def verdict_of(steps, kind=None, takes_next=True, law=None):
    report = partial(CheckReport, "check_reverse", summary="")
    return reverse._verdict(report, steps, kind, SimpleNamespace(takes_next=takes_next), lambda: law)


def test_the_verdict_says_what_a_step_is_and_what_it_needs():
    D = np.array([0.3, 0.2, 0.05, 0.01])
    langevin = steps_of(1.0, D, 2 * D)
    assert verdict_of(langevin).verdict == "INCONCLUSIVE" and "say kind='annealed'" in verdict_of(langevin).diagnosis
    high, low = D[0] / P.s[0] ** 2, D[-1] / P.s[-1] ** 2
    ladder = (
        f"its step does not go with sigma^2, as usual: it is {high:.3g} sigma^2 at the highest level, and {low:.3g} sigma^2 at the lowest from which a step starts",
    )
    assert (
        verdict_of(langevin, takes_next=False).notes
        == verdict_of(langevin, "annealed").notes
        == ("this is a Langevin step at each level", *ladder)
    )
    usual = steps_of(1.0, 0.125 * P.s**2, 0.25 * P.s**2)
    assert verdict_of(usual, "annealed").notes[1] == "its step is 0.125 sigma^2"
    for share, same in ((0.9e-4, True), (1.1e-4, False)):
        uneven = 0.125 * P.s**2 * (1 + share * np.array([0, 1, 0, 0]))
        assert verdict_of(steps_of(1.0, uneven, 2 * uneven), "annealed").notes[1].startswith("its step is") == same
    bent = verdict_of(known(DDIM, bent=True), "ddim")
    assert bent and bent.notes == (
        f"this is {DDIM}",
        "it is not linear for larger x (x_0 clipped to [-1, 1]?): right only for data within those bounds",
    )
    assert (
        verdict_of(known(DDIM), "euler")
        and verdict_of(known("an Euler step of the probability flow"), "ddim").verdict == "FAIL"
    )
    assert (
        verdict_of(steps_of(1 + 1.1e-6, D, 2 * D, exact=1e-10), "annealed").diagnosis
        == f"x rescaled: a Langevin step leaves the coefficient of x at 1, yours is {1 + 1.1e-6:.6g}"
    )
    assert verdict_of(steps_of(1 + 0.9e-6, D, 3 * D, exact=1e-10), "annealed").diagnosis.startswith(
        "temperature: the noise has 1.5 times"
    )
    report = verdict_of(known(ANCESTRAL), "ancestral")
    assert (
        report.pattern
        == f"first step, (0.5, 0.85) to (0.6, 0.8): x' = {R[0]:.9g} x + {(R * P.beta)[0]:.6g} score + {np.sqrt(P.beta[0]) * 0.8 / 0.85:.4g} z"
    )
    assert set(report.details) == {"alpha", "gamma", "noise variance"} and report.resolution == 5 * np.sqrt(2 / 4000)


def test_other_kinds_and_points_of_calls_are_told():
    other = verdict_of(known("a reverse-diffusion step"), "ddim")
    assert other.diagnosis == "another step: this is a reverse-diffusion step, not a step of kind 'ddim'", other
    heun = "Heun's step of the probability flow"
    assert verdict_of(known(heun, strays="at other points"), "heun").diagnosis.startswith(
        "point of a call: fn's second call is at other points, and"
    )
    assert verdict_of(known(heun), "heun") and verdict_of(known(heun, strays="at other points")).verdict == "FAIL"


def test_what_is_none_of_the_known_steps_is_judged_by_its_law():
    odd = steps_of(np.array([1.2, 1.1, 0.9, 1.3]), np.array([0.3, 0.1, 0.4, 0.2]), np.array([0.1, 0.4, 0.2, 0.3]))
    law = lambda verdict: CheckReport(
        "c", verdict, "", pattern="mean and variance are others", diagnosis="wrong law: others", notes=("a note",)
    )
    for kind, asked in ((None, ""), ("euler", ", and not whether it is of kind 'euler'")):
        report = verdict_of(odd, kind, law=law("PASS"))
        assert report and report.notes == (
            "a note",
            f"it is none of the known steps, so its law on a Gaussian was checked{asked}: mean and variance are others",
        ), report
    for kind in ("heun", "predictor-corrector"):
        report = verdict_of(odd, kind, law=law("PASS"))
        assert report.verdict == "FAIL" and report.diagnosis == (
            f"another step: fn is asked once in a step with noise, which is none of kind '{kind}'"
        ), report
    failed = verdict_of(odd, None, law=law("FAIL"))
    assert failed.diagnosis == f"{reverse.elsewhere(odd)}; mean and variance are others"
    assert (
        verdict_of(odd, "ancestral", law=law("PASS")).diagnosis
        == verdict_of(odd, "ddim", law=law("PASS")).diagnosis
        == reverse.elsewhere(odd)
    )
    two = steps_of(
        np.array([1.2, 1.1, 0.9, 1.3]),
        (np.array([0.3, 0.1, 0.4, 0.2]), np.array([0.1, 0.3, 0.2, 0.5])),
        np.array([0.1, 0.4, 0.2, 0.3]),
    )
    assert verdict_of(two, None, law=law("FAIL")).diagnosis == "wrong law: others"


def law_of(levels, mean, variance, n=5000):
    """The report on chains that arrive with this mean and variance, beside those that belong there, in units of its own errors."""
    ladder = reverse._ladder("c", levels)
    end = ladder[-1]
    z = np.random.default_rng(3).standard_normal((n, 2))
    z = (z - z.mean()) / z.std()
    seen = []

    def walk(x, i, seed, score):
        seen.append((i, x.mean(), x.var(), score(0, x, ladder[i])[0, 0], x[0, 0]))
        return end.c * 0.7 + mean + np.sqrt(variance) * z if i == len(ladder) - 2 else x

    known_walk = type("Known", (), {"ladder": ladder, "__call__": lambda self, *a: walk(*a)})()
    report = reverse._by_law(
        partial(CheckReport, "check_reverse", summary=""), known_walk, n, 2, np.random.default_rng(0)
    )
    return report, seen


def cost_of(levels):
    """What the four first known steps are off by in variance and mean, from Gaussian data N(0.7, 1.6)."""
    ladder, worst, shift = reverse._ladder("c", levels), 0.0, 0.0
    spread = lambda v: v.c**2 * 1.6 + v.sigma**2
    for name in (ANCESTRAL, "an ancestral step with the forward variance beta", DDIM, "a reverse-diffusion step"):
        mean, var = ladder[0].c * 0.7, spread(ladder[0])
        for a, b in itertools.pairwise(ladder):
            alpha, gamma, noise = (
                float(q[0]) for q in KNOWN[name].of(Place(*(np.array([v]) for v in (a.c, a.sigma, b.c, b.sigma))))
            )
            # x' = alpha x - gamma (x - c m)/spread + b z
            mean, var = (
                alpha * mean - gamma * (mean - a.c * 0.7) / spread(a),
                (alpha - gamma / spread(a)) ** 2 * var + noise,
            )
        worst, shift = max(worst, abs(var / spread(ladder[-1]) - 1)), max(shift, abs(mean - ladder[-1].c * 0.7))
    return worst, shift / np.sqrt(spread(ladder[-1])), spread(ladder[-1])


SHORT = np.column_stack([np.linspace(0.3, 0.99, 40), np.sqrt(1 - np.linspace(0.3, 0.99, 40) ** 2)])
LONG_STEPS = SHORT[[0, 20, 39]]


@pytest.mark.parametrize("levels, share", [(SHORT, 1.5), (LONG_STEPS, 0.25)], ids=["short", "long"])
def test_a_law_is_right_within_what_right_steps_of_that_length_cost(levels, share):
    length, shift, target = cost_of(levels)
    assert (length <= 0.1) == (share == 1.5)
    statistical = 5 * np.sqrt(2 / 10000)
    for far, verdict in (
        (0.98 * (share * length + statistical), "PASS"),
        (1.02 * (share * length + statistical), "INCONCLUSIVE"),
        (0.98 * (4 * length + statistical), "INCONCLUSIVE"),
        (1.02 * (4 * length + statistical), "FAIL"),
    ):
        report, _ = law_of(levels, 0.0, target * (1 + far))
        assert report.verdict == verdict, (far, report)
    np.testing.assert_allclose(report.resolution, statistical + share * length, rtol=1e-9)
    text = f"{0.7 * 0.99:.4g} and {target * (1 + far):.4g} where {0.7 * 0.99:.4g} and {target:.4g} belong; right steps of this length are off by up to {length:.1%} in the variance"
    assert (
        report.diagnosis == f"wrong law: mean and variance at the last level are {text}"
        and report.pattern == f"mean and variance at the last level are {text}"
    )
    assert (
        report.worst.place == "variance at the last level"
        and abs(report.worst.reference - target) < 1e-12
        and abs(report.worst.yours - target * (1 + far)) < 1e-9
    )
    for off, verdict in (
        (0.98 * (share * shift + statistical), "PASS"),
        (1.02 * (share * shift + statistical), "INCONCLUSIVE"),
        (-1.02 * (4 * shift + statistical), "FAIL"),
    ):
        assert law_of(levels, off * np.sqrt(target), target)[0].verdict == verdict
    assert (
        "unresolved: the steps between these levels are long ("
        in law_of(levels, 0.0, target * (1 + 3 * length + statistical))[0].diagnosis
    )
    assert "); give more levels" in law_of(levels, 0.0, target * (1 + 3 * length + statistical))[0].diagnosis


def test_chains_start_in_the_law_of_the_noisiest_level_and_are_told_the_score_of_the_data():
    _, seen = law_of(SHORT, 0.0, 1.0)
    c, s = SHORT[0]
    spread = c**2 * 1.6 + s**2
    assert [i for i, *_ in seen] == list(range(39))
    assert abs(seen[0][1] - 0.7 * c) < 5 * np.sqrt(spread / 10000) and abs(seen[0][2] / spread - 1) < 5 * np.sqrt(
        2 / 10000
    )
    assert abs(seen[0][3] + (seen[0][4] - 0.7 * c) / spread) < 1e-12


@pytest.mark.parametrize("c, sigma", [(1.0, 2.5), (0.6, 0.8), (0.7, 0.3)])
def test_what_a_network_answers_for_a_score_is_what_its_name_says(c, sigma):
    """x = c x_0 + sigma eps, with the means eps = -sigma S and x_0 = (x - sigma eps)/c of a score S."""
    S, x, v = np.array([0.3, -1.2, 0.8]), np.array([1.1, 0.4, -0.7]), Level(0, c, sigma)
    eps = -sigma * S
    x_0 = (x - sigma * eps) / c
    answers = {"score": S, "eps": eps, "x": x_0, "v": c * eps - sigma * x_0, "velocity": eps - x_0}
    assert list(reverse.SCORES) == list(answers)
    for name, answer in answers.items():
        np.testing.assert_allclose(reverse.SCORES[name](S, x, v), answer, rtol=1e-14, atol=1e-15)
        a, b = reverse.slopes(name, c, sigma)
        np.testing.assert_allclose(a * S + b * x, answer, rtol=1e-13, atol=1e-15)


def test_a_step_of_two_calls_goes_uphill_where_their_sum_does():
    up = lambda *gamma: len(list(reverse.uphill(steps_of(1.0, tuple(g * np.ones(4) for g in gamma), 0.0), None)))
    assert up(-3.0, 1.0) == 1 and up(3.0, -1.0) == 0 and up(-1.0, -1.0) == 1 and up(-1.0, 3.0) == 0
    mixed = steps_of(1.0, np.array([-1.0, -1.0, -1.0, 1.0]), 0.0)
    assert not list(reverse.uphill(mixed, None))


def test_coefficients_that_are_not_finite_are_no_step_s():
    alpha, gamma, var = KNOWN[ANCESTRAL].of(P)
    steps, nan = known(ANCESTRAL), np.full(4, np.nan)
    for other in ((nan, gamma, var), (alpha, nan, var), (alpha, gamma, nan), (alpha, (gamma, gamma, gamma), var)):
        assert steps.same(*other) is False


def test_one_dimension_is_one():
    report = check_reverse(lambda x, fn, s, lower: x + (s - lower) * s * fn(x, s), levels=SIGMAS, n=200, dim=1)
    assert report.summary == "6 steps between 7 levels, 200 chains x 1 dim, fn predicts score" and report


# ------------------------------------------------------------------------------- levels between

DOWN = np.geomspace(6.0, 0.05, 9)


def midpoint(middle=lambda s, t: np.sqrt(s * t), told=lambda m: m, times=1.0, at=lambda x, y: y):
    """All the way with the slope at a level between."""

    def step(x, fn, s, t):
        slope = fn(x, s)
        if t == 0:
            return x + (t - s) * slope
        m = middle(s, t)
        return x + times * (t - s) * fn(at(x, x + (m - s) * slope), told(m))

    return step


@pytest.mark.parametrize("levels", [DOWN, np.append(DOWN, 0.0)])
@pytest.mark.parametrize("middle", [lambda s, t: np.sqrt(s * t), lambda s, t: (s + t) / 2])
def test_a_midpoint_step_asks_at_a_level_between_and_is_right(levels, middle):
    report = check_reverse(midpoint(middle), levels=levels, predicts="eps")
    assert report and report.notes[0].startswith("this is a midpoint step"), report
    assert check_reverse(midpoint(middle), levels=levels, predicts="eps", kind="heun").verdict == "FAIL"


@pytest.mark.parametrize("wrong", [{"told": lambda m: m**2}, {"times": 0.5}, {"at": lambda x, y: x}])
def test_a_midpoint_step_that_is_wrong_is_found(wrong):
    assert check_reverse(midpoint(**wrong), levels=DOWN, predicts="eps").verdict == "FAIL"


def test_a_level_between_those_of_a_ladder_of_timesteps_is_not_known():
    bar = np.cumprod(1 - np.linspace(1e-3, 0.2, 20))

    def step(x, fn, k, j):
        (a, b), e = bar[[k, j]], fn(x, k)
        middle = np.sqrt(a * b)
        x_0 = (x - np.sqrt(1 - a) * e) / np.sqrt(a)
        e = fn(np.sqrt(middle) * x_0 + np.sqrt(1 - middle) * e, (k + j) / 2)
        return np.sqrt(b) * (x - np.sqrt(1 - a) * e) / np.sqrt(a) + np.sqrt(1 - b) * e

    levels = np.stack([np.sqrt(bar), np.sqrt(1 - bar)], axis=1)
    report = check_reverse(step, levels=levels, predicts="eps")
    assert report.verdict == "INCONCLUSIVE" and report.name == "level between" and "0.5" in report.diagnosis, report
