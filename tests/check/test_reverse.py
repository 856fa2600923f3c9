"""`check_reverse`: right steps down in level pass in every parametrisation, wrong ones are called by their name."""

import numpy as np
import pytest

from numpyscore import check_reverse
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


def test_a_step_of_two_evaluations_that_is_in_no_table_is_judged_by_its_law():
    """The midpoint method in log sigma."""

    def midpoint(x, fn, sigma, lower):
        middle = np.sqrt(sigma * lower)
        y = x + (middle - sigma) * (-sigma * fn(x, sigma))
        return x + (lower - sigma) * (-middle * fn(y, middle))

    levels = np.geomspace(5, 0.05, 30)
    every = np.sort(np.append(levels, np.sqrt(levels[1:] * levels[:-1])))
    right = check_reverse(lambda x, fn, s, lower: midpoint(x, fn, s, lower), levels=every, n=4000)
    assert right.verdict != "FAIL", right
    wrong = check_reverse(lambda x, fn, s, lower: 1.03 * midpoint(x, fn, s, lower), levels=every, n=4000)
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


@pytest.mark.parametrize("name", WRONG)
def test_wrong_steps_are_called_by_their_name(name):
    step, options, words = WRONG[name]
    report = check_reverse(step, n=2000, **options)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


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
