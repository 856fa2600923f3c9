"""Chapter 7: noise."""

from .exercise import Exercise, Lesson, points


def _denoising_check(theirs):
    import numpyscore as ns

    return ns.check_loss(
        lambda fn, x, sigma, noise: theirs(fn.score(x + sigma * noise), noise, sigma), objective="denoising"
    )


def _noisy(rng):
    return points(rng), rng.normal(size=(7, 3)), rng.uniform(0.4, 0.8)


def _with_score(rng):
    x, eps, sigma = _noisy(rng)
    a = rng.uniform(0.5, 1.5)
    return (lambda x: -a * x - 0.3 * x**3), x, eps, sigma


LESSON = Lesson(
    number=7,
    title="Noise",
    minutes=8,
    claim="With noise added, the target is known: the score learns to point from the noisy sample back to the clean one, no trace and no boundary term needed.",
    equation=r"J_D = \tfrac12 E\left|s(x + \sigma\varepsilon) + \frac{\varepsilon}{\sigma}\right|^2 = J_E(q_\sigma) + \mathrm{const}",
    exercises=(
        Exercise(
            name="noisy",
            ask="Noisy samples x~ of standard deviation sigma, from given unit noise eps.",
            call="x, eps, sigma",
            gives="x, eps (n, d), sigma a number -> (n, d)",
            inputs=_noisy,
            solution="x + sigma * eps",
            terms={"x": "x", "sigma eps": "sigma * eps", "eps": "eps", "sigma x": "sigma * x"},
            wrong={
                "x + sigma**2 * eps": "sigma is a standard deviation: it multiplies eps as it is, not squared.",
                "x + np.sqrt(sigma) * eps": "sigma is a standard deviation, not a variance: no root.",
                "x - sigma * eps": "In law the same, but the target -eps/sigma then points away from x: keep x + sigma eps.",
                "x + eps": "sigma is missing: this is noise of size 1.",
                "sigma * eps": "The sample x is missing.",
                "np.sqrt(1 - sigma**2) * x + sigma * eps": "This is the variance-preserving convention, which shrinks x. Here x stays as it is.",
                "x * (1 + sigma * eps)": "The noise is multiplied by x here; it is added.",
            },
            step="noise is a convolution",
        ),
        Exercise(
            name="target",
            ask="The score in x~ of N(x~; x, sigma^2 I), at x~ = x + sigma eps: the target, from eps.",
            call="eps, sigma",
            gives="eps (n, d), sigma a number -> (n, d)",
            inputs=lambda rng: (rng.normal(size=(6, 2)), rng.uniform(0.4, 0.8)),
            solution="-eps / sigma",
            wrong={
                "eps / sigma": "The sign: the score points back to the clean sample, against the noise.",
                "-eps / sigma**2": "(x - x~)/sigma^2 = -sigma eps/sigma^2: one sigma cancels.",
                "-eps": "A score has the unit 1/[x]: divide by sigma. (-eps is what an eps-network predicts.)",
                "-eps * sigma": "-sigma eps is x - x~; divide by sigma^2.",
                "eps": "This is the noise itself; the target is -eps/sigma.",
                "-eps / np.sqrt(sigma)": "sigma is a standard deviation: -sigma eps/sigma^2.",
                "eps / sigma**2": "Sign and power: (x - x~)/sigma^2 = -sigma eps/sigma^2.",
            },
            step="denoising is explicit on the noisy density",
        ),
        Exercise(
            name="target_from_points",
            ask="The same target from the two points.",
            call="x_noisy, x, sigma",
            gives="x_noisy, x (n, d) -> (n, d)",
            inputs=lambda rng: (points(rng), points(rng), rng.uniform(0.4, 0.8)),
            solution="(x - x_noisy) / sigma**2",
            terms={
                "x/sigma^2": "x / sigma**2",
                "x~/sigma^2": "x_noisy / sigma**2",
                "x/sigma": "x / sigma",
                "x~/sigma": "x_noisy / sigma",
            },
            wrong={
                "(x_noisy - x) / sigma**2": "The sign: the score points from x~ back to x.",
                "(x - x_noisy) / sigma": "sigma squared: the exponent is -|x~ - x|^2/(2 sigma^2).",
                "x - x_noisy": "Divide by the variance sigma^2.",
                "(x - x_noisy) / (2 * sigma**2)": "The 2 from the square cancels the other.",
                "(x - x_noisy) * sigma**2": "Divide by sigma^2; the less noise, the larger the score.",
                "-x_noisy / sigma**2": "This is the score of noise about 0; the noise is about x.",
                "-np.sum((x - x_noisy) ** 2, axis=1) / (2 * sigma**2)": "This is log of the kernel, up to a constant; its gradient in x~ was asked.",
            },
            step="denoising is explicit on the noisy density",
        ),
        Exercise(
            name="denoising_loss",
            ask="J_D from the model's score s at the noisy points.",
            call="s, eps, sigma",
            gives="s, eps (n, d), sigma a number -> a number",
            inputs=lambda rng: (rng.normal(size=(6, 2)), rng.normal(size=(6, 2)) + 0.2, rng.uniform(0.4, 0.8)),
            solution="np.mean(0.5 * np.sum((s + eps / sigma) ** 2, axis=1))",
            terms={
                "1/2 mean |s|^2": "np.mean(0.5 * np.sum(s**2, 1))",
                "mean s . eps/sigma": "np.mean(np.sum(s * eps, 1)) / sigma",
                "1/2 mean |eps|^2/sigma^2": "np.mean(0.5 * np.sum(eps**2, 1)) / sigma**2",
                "mean s . eps": "np.mean(np.sum(s * eps, 1))",
                "1/2 mean |eps|^2": "np.mean(0.5 * np.sum(eps**2, 1))",
                "mean s . eps/sigma^2": "np.mean(np.sum(s * eps, 1)) / sigma**2",
            },
            wrong={
                "np.mean(0.5 * np.sum((s - eps / sigma) ** 2, axis=1))": "The sign: the target is -eps/sigma, so s + eps/sigma. Yours learns minus the score.",
                "np.mean(0.5 * np.sum((s + eps / sigma**2) ** 2, axis=1))": "sigma for sigma^2: the target is -eps/sigma (or (x - x~)/sigma^2).",
                "np.mean(np.sum((s + eps / sigma) ** 2, axis=1))": "The 1/2 before the square is missing.",
                "np.mean(0.5 * (s + eps / sigma) ** 2)": "A mean over dimensions too: sum over d, mean over n.",
                "np.mean(0.5 * np.sum((s + eps) ** 2, axis=1))": "This trains s to be -eps: the noise, not the score. Divide eps by sigma.",
                "np.mean(0.5 * np.sum((s + sigma * eps) ** 2, axis=1))": "The target is -eps/sigma: divide by sigma.",
                "np.sum(0.5 * (s + eps / sigma) ** 2)": "A sum over samples; the loss is their mean.",
                "0.5 * np.sum((s + eps / sigma) ** 2, axis=1)": "This is the loss of each sample, (n,); the loss is their mean.",
                "np.mean(0.5 * np.linalg.norm(s + eps / sigma, axis=1))": "This is the norm; its square is meant.",
                "np.mean(0.5 * np.sum((sigma * s + eps) ** 2, axis=1))": "This is sigma^2 J_D, the weighted loss of several levels: a fair choice, but one level's J_D was asked.",
                "np.mean(0.5 * np.sum(s**2, axis=1) + np.sum(s * eps, axis=1) / sigma)": "The constant 1/2 |eps|^2/sigma^2 is left out: same gradient, another value. The whole square was asked.",
            },
            check=_denoising_check,
            step="denoising at finite n",
        ),
        Exercise(
            name="denoise",
            ask="The same, but with the score as a function: it is for you to say where it is evaluated.",
            call="score, x, eps, sigma",
            gives="score (n, d) -> (n, d), x, eps (n, d) -> a number",
            inputs=_with_score,
            solution="np.mean(0.5 * np.sum((score(x + sigma * eps) + eps / sigma) ** 2, axis=1))",
            wrong={
                "np.mean(0.5 * np.sum((score(x) + eps / sigma) ** 2, axis=1))": "The score is evaluated at the clean point x; it belongs at x + sigma eps. Yours learns 0 for lack of a clue about eps.",
                "np.mean(0.5 * np.sum((score(x + eps) + eps / sigma) ** 2, axis=1))": "The noise lacks its size: x + sigma eps.",
                "np.mean(0.5 * np.sum((score(x + sigma**2 * eps) + eps / sigma) ** 2, axis=1))": "sigma is a standard deviation: x + sigma eps.",
                "np.mean(0.5 * np.sum((score(x - sigma * eps) + eps / sigma) ** 2, axis=1))": "Noise and target disagree: with x - sigma eps the target is +eps/sigma.",
                "np.mean(0.5 * np.sum((score(x + sigma * eps) - eps / sigma) ** 2, axis=1))": "The sign of the target: -eps/sigma, so s + eps/sigma.",
                "np.mean(0.5 * np.sum((score(x + sigma * eps) + eps / sigma**2) ** 2, axis=1))": "sigma for sigma^2: the target is -eps/sigma.",
                "np.mean(np.sum((score(x + sigma * eps) + eps / sigma) ** 2, axis=1))": "The 1/2 before the square is missing.",
                "np.mean(0.5 * np.sum((score(x + sigma * eps) + eps) ** 2, axis=1))": "The target is -eps/sigma: eps lacks its 1/sigma.",
                "np.mean(0.5 * np.sum((score(x + sigma * eps) - x) ** 2, axis=1))": "This compares a score with a clean sample; their units differ. The target is (x - x~)/sigma^2.",
            },
            step="the score at the clean point",
        ),
        Exercise(
            name="posterior_mean",
            ask="Tweedie: the best guess E[x | x~] of the clean sample from the noisy one and its score.",
            call="x_noisy, s, sigma",
            gives="x_noisy, s (n, d), sigma a number -> (n, d)",
            inputs=lambda rng: (points(rng), rng.normal(size=(7, 3)), rng.uniform(0.4, 0.8)),
            solution="x_noisy + sigma**2 * s",
            terms={"x~": "x_noisy", "sigma^2 s": "sigma**2 * s", "sigma s": "sigma * s", "s": "s"},
            wrong={
                "x_noisy + sigma * s": "sigma for sigma^2: a score is 1/[x], so sigma^2 s is an [x].",
                "x_noisy - sigma**2 * s": "The sign: go up the score, towards where the data are.",
                "x_noisy + sigma**2 / 2 * s": "A half too little: this is a step of Langevin or of the flow, not Tweedie.",
                "x_noisy + s": "The step has no size: sigma^2 s.",
                "sigma**2 * s": "The noisy point is missing: this is the displacement alone.",
                "x_noisy + s / sigma**2": "Multiply by sigma^2: without noise there is nothing to correct.",
                "x_noisy + sigma**2 * s + sigma": "E[x | x~] has no noise and no shift added.",
            },
            step="Tweedie's formula",
        ),
        Exercise(
            name="smoothed_score",
            ask="Data N(0, v I) with noise sigma added: the score of the noisy density.",
            call="x, v, sigma",
            gives="x (n, d), v a variance, sigma a standard deviation -> (n, d)",
            inputs=lambda rng: (points(rng), rng.uniform(0.5, 2), rng.uniform(0.4, 0.8)),
            solution="-x / (v + sigma**2)",
            wrong={
                "-x / (v + sigma)": "Variances add, and sigma is a standard deviation: v + sigma^2.",
                "-x / v": "This is the clean density's score. Noise widens it: v + sigma^2.",
                "-x / sigma**2": "This is the noise alone; the data have their own variance v.",
                "-x / (v**2 + sigma**2)": "v is a variance already: v + sigma^2.",
                "-x / np.sqrt(v + sigma**2)": "A score divides by the variance, not by the standard deviation.",
                "-x / v - x / sigma**2": "Precisions add when densities are multiplied; adding noise convolves them, and variances add.",
                "x / (v + sigma**2)": "The sign: the score points to the mode.",
            },
            step="score of the noisy density",
        ),
        Exercise(
            name="noise_floor",
            ask="The least J_D that any model can have on data N(0, v I) in d dimensions.",
            call="v, sigma, d",
            gives="numbers -> a number",
            inputs=lambda rng: (rng.uniform(0.5, 2), rng.uniform(0.4, 0.8), int(rng.integers(2, 6))),
            solution="d * v / (2 * sigma**2 * (v + sigma**2))",
            forms=("d / (2 * sigma**2) - d / (2 * (v + sigma**2))",),
            wrong={
                "0.0": "The target -eps/sigma is random given x~: no model predicts it exactly. What is left is its conditional variance.",
                "v / (2 * sigma**2 * (v + sigma**2))": "This is one dimension's.",
                "d * v / (sigma**2 * (v + sigma**2))": "The 1/2 before the square is missing.",
                "d / (2 * sigma**2)": "This is the loss of s = 0; a good score explains part of the target.",
                "d / (2 * (v + sigma**2))": "This is the explained part, 1/2 E|grad log q|^2; the rest is left over.",
                "d * v / (2 * sigma * (v + sigma))": "sigma is a standard deviation; variances are sigma^2.",
                "d * v / (2 * (v + sigma**2))": "This is sigma^2 times the floor; J_D itself was asked.",
                "-d / (2 * (v + sigma**2))": "This is the least implicit loss on the noisy density. J_D is a square and never negative.",
            },
            step="least denoising loss of a Gaussian",
        ),
        Exercise(
            name="multilevel",
            ask="Several levels: the mean over levels of sigma^2 times the level's J_D.",
            call="losses, sigmas",
            gives="losses (k,), sigmas (k,) -> a number",
            inputs=lambda rng: (rng.uniform(0.5, 4, size=4), rng.uniform(0.1, 3, size=4)),
            solution="np.mean(sigmas**2 * losses)",
            forms=("np.sum(sigmas**2 * losses) / len(sigmas)",),
            wrong={
                "np.mean(losses)": "The weight is missing: J_D grows like 1/sigma^2, and the least noise would drown all other levels.",
                "np.sum(sigmas**2 * losses)": "A sum over levels; their mean was asked.",
                "np.mean(sigmas * losses)": "The weight is sigma^2: it makes |sigma s + eps|^2 of order one at every level.",
                "np.mean(losses / sigmas**2)": "The wrong way: small noise has large losses already.",
                "np.sum(sigmas**2 * losses) / np.sum(sigmas**2)": "This is a weighted mean, divided by the weights; the plain mean over levels was asked.",
                "np.mean(sigmas**2) * np.mean(losses)": "A product of means; each loss has its own weight.",
                "np.mean((sigmas * losses) ** 2)": "The loss is a square already: sigma^2 times it, not the square of both.",
            },
            step="the weight sigma squared",
        ),
        Exercise(
            name="levels",
            ask="n noise levels in a geometric row, from the largest down to the smallest.",
            call="sigma_max, sigma_min, n",
            gives="numbers -> (n,)",
            inputs=lambda rng: (rng.uniform(5, 20), rng.uniform(0.05, 0.5), int(rng.integers(4, 9))),
            solution="np.geomspace(sigma_max, sigma_min, n)",
            forms=("sigma_max * (sigma_min / sigma_max) ** (np.arange(n) / (n - 1))",),
            wrong={
                "np.linspace(sigma_max, sigma_min, n)": "This is an arithmetic row: nearly all of its levels are large. Equal ratios are wanted.",
                "np.geomspace(sigma_min, sigma_max, n)": "From the largest down: annealing begins where the modes overlap.",
                "np.geomspace(sigma_max, sigma_min, n + 1)": "One level too many.",
                "sigma_max * (sigma_min / sigma_max) ** (np.arange(n) / n)": "The smallest level is missing at the end: the last exponent is (n - 1)/n; divide by n - 1.",
                "np.logspace(sigma_max, sigma_min, n)": "np.logspace takes exponents; np.geomspace takes the ends themselves.",
                "np.log(np.geomspace(sigma_max, sigma_min, n))": "These are the logarithms of the levels.",
                "np.geomspace(sigma_max, sigma_min, n) ** 2": "These are variances; sigma is a standard deviation.",
            },
            step="coverage grows with the noise",
            figure="levels_flow",
        ),
        Exercise(
            name="linear_optimum",
            ask="Data of mean 0 and variance 1, noise sigma = 0.5, model s = -theta x. Which theta has the least denoising loss? A number.",
            solution="0.8",
            wrong={
                "1.0": "This is the clean data's. Denoising learns the noisy density's score, 1/(1 + sigma^2).",
                "1 / 1.5": "sigma for sigma^2: variances add, 1 + 0.25.",
                "1.25": "This is the noisy variance; theta is a precision, its inverse.",
                "4.0": "This is 1/sigma^2, the noise alone; the data have variance 1 as well.",
                "0.2": "This is sigma^2/(1 + sigma^2), the share of the noise.",
                "5.0": "This is 1 + 1/sigma^2: precisions add when densities are multiplied, here they are convolved.",
                "1 / 1.25**0.5": "A precision is one over a variance, not over a standard deviation.",
                "0.0": "The target is -eps/sigma, and x~ holds some of eps: a flat score leaves that unused.",
            },
            step="linear score on noisy data",
            figure="noise_trade_off",
        ),
        Exercise(
            name="posterior_variance",
            ask="One dimension: the variance of the clean x given the noisy x~, from the slope s' of the noisy density's score at x~.",
            call="slope, sigma",
            gives="slope (n,), sigma a number -> (n,)",
            inputs=lambda rng: (-rng.uniform(0.05, 0.2, size=6), rng.uniform(1.2, 2)),
            solution="sigma**2 + sigma**4 * slope",
            terms={
                "sigma^2": "sigma**2 + 0 * slope",
                "sigma^4 s'": "sigma**4 * slope",
                "sigma^2 s'": "sigma**2 * slope",
            },
            wrong={
                "sigma**2 - sigma**4 * slope": "The sign: at a peak s' is negative, and there one is surer than sigma^2 says.",
                "sigma**2 + sigma**2 * slope": "Units: s' is an 1/[x]^2, so sigma^4 s' has that of a variance.",
                "sigma**2 + 0 * slope": "This is the noise alone; the data around x~ make one surer.",
                "sigma**4 * slope": "sigma^2 is missing: without any slope the variance is that of the noise.",
                "1 + sigma**2 * slope": "This is the variance over sigma^2.",
                "sigma + sigma**2 * slope": "sigma is a standard deviation; variances were added and asked.",
            },
            step="Tweedie's second formula",
        ),
        Exercise(
            name="entropy_rate",
            ask="Data N(0, v) with noise of variance t added: how fast does the entropy, in nats, rise with t? (Half the mean square of the noisy density's score: de Bruijn.)",
            call="v, t",
            gives="numbers -> a number",
            inputs=lambda rng: (rng.uniform(0.5, 2), rng.uniform(0.2, 1)),
            solution="1 / (2 * (v + t))",
            wrong={
                "1 / (v + t)": "This is the mean square of the score; the rate is half of it.",
                "-1 / (2 * (v + t))": "Noise raises the entropy: the rate is positive.",
                "1 / (2 * v)": "This is the rate at t = 0; later the density has variance v + t.",
                "0.5 * np.log(2 * np.pi * np.e * (v + t))": "This is the entropy; its derivative in t was asked.",
                "1 / (2 * (v + t) ** 2)": "The mean square of -x/(v + t) is (v + t)/(v + t)^2.",
                "1 / (2 * (v + t**2))": "t is a variance already.",
            },
            step="de Bruijn's identity",
        ),
    ),
    counterexample=(
        "The score at the clean point: there x knows nothing of eps, so the best linear score is flat, theta = 0. At the noisy point it is 1/(1 + sigma^2).",
        """rng = np.random.default_rng(0)
x, eps, sigma = rng.normal(size=100_000), rng.normal(size=100_000), 0.5
for name, where in (("noisy", x + sigma * eps), ("clean", x)):
    theta = np.mean(where * eps / sigma) / np.mean(where**2)  # least mean of (-theta x + eps/sigma)^2
    print(f"at the {name} point: theta = {theta:.3f}")
print(f"right: {1 / (1 + sigma**2):.3f}")""",
    ),
)
