"""Chapter 8: from the score back to samples."""

from .exercise import Exercise, Lesson, points


def _proposal(rng):
    x, y = rng.normal(size=(2, 6, 2))
    sx, sy = rng.normal(size=(2, 6, 2))
    return rng.normal(size=6), rng.normal(size=6), x, y, sx, sy, rng.uniform(0.1, 0.4)


_Q = "there = np.sum((y - x - step * s_x) ** 2, axis=1) / (4 * step)\nback = np.sum((x - y - step * s_y) ** 2, axis=1) / (4 * step)\n"

LESSON = Lesson(
    number=8,
    title="From the score back",
    minutes=7,
    claim="The score is enough to draw samples: uphill along it, with noise; its finite step is a bias, and far modes need noise levels.",
    equation=r"x \leftarrow x + \tau s(x) + \sqrt{2\tau}\, z, \qquad \frac{dx}{d\sigma} = -\sigma\, s_\sigma(x)",
    exercises=(
        Exercise(
            name="langevin_step",
            ask="One step of Langevin with step tau, from given unit noise z.",
            call="x, s, tau, z",
            gives="x, s, z (n, d), tau a number -> (n, d)",
            inputs=lambda rng: (points(rng), rng.normal(size=(7, 3)), rng.uniform(0.1, 0.4), rng.normal(size=(7, 3))),
            solution="x + tau * s + np.sqrt(2 * tau) * z",
            terms={
                "x": "x",
                "tau s": "tau * s",
                "sqrt(2 tau) z": "np.sqrt(2 * tau) * z",
                "tau z": "tau * z",
                "sqrt(tau) s": "np.sqrt(tau) * s",
            },
            wrong={
                "x + tau * s + np.sqrt(tau) * z": "The noise is too small: with tau s belongs sqrt(2 tau) z. Yours samples p^2, up to its constant: too narrow.",
                "x + tau * s + 2 * tau * z": "The noise grows like the root: sqrt(2 tau), not 2 tau.",
                "x - tau * s + np.sqrt(2 * tau) * z": "The sign: uphill along the score. Yours runs away.",
                "x + tau * s": "The noise is missing: this climbs to a mode and stays there.",
                "x + tau / 2 * s + np.sqrt(tau) * z": "Right in the convention with step 2 tau; here tau s goes with sqrt(2 tau) z.",
                "x + tau / 2 * s + np.sqrt(2 * tau) * z": "Two conventions mixed: tau s with sqrt(2 tau) z, or tau/2 s with sqrt(tau) z.",
                "x + tau * s + tau * z": "The noise grows like the root of the step: sqrt(2 tau).",
                "x + tau * s + 2 * np.sqrt(tau) * z": "sqrt(2 tau), not 2 sqrt(tau): the 2 stands under the root.",
                "tau * s + np.sqrt(2 * tau) * z": "The x is missing: this is the displacement alone.",
                "x + np.sqrt(2 * tau) * z": "The score is missing: this is pure diffusion.",
            },
            step="Langevin in steps",
            figure="langevin",
        ),
        Exercise(
            name="settled_variance",
            ask="Unadjusted Langevin on N(0, 1): x <- (1 - tau) x + sqrt(2 tau) z. At which variance does it settle?",
            call="tau",
            gives="tau a number -> a number",
            inputs=lambda rng: (rng.uniform(0.2, 1.4),),
            solution="1 / (1 - tau / 2)",
            forms=("2 / (2 - tau)", "2 * tau / (1 - (1 - tau) ** 2)"),
            wrong={
                "1 + tau": "The first order in tau is half of that, and the answer has all orders: set the variance after a step equal to that before it.",
                "1.0": "Only for tau to 0: a finite step is a bias. Solve V = (1 - tau)^2 V + 2 tau.",
                "1 / (1 + tau / 2)": "The sign: it settles too wide, not too narrow.",
                "1 - tau / 2": "The inverse: V = (1 - tau)^2 V + 2 tau.",
                "1 + tau / 2": "This is the first order in tau of the answer; it can be had exactly.",
                "2 * tau / (1 - (1 - tau))": "(1 - tau) is squared in a variance.",
                "1 / (1 - tau)": "Solve V = (1 - tau)^2 V + 2 tau: half of this bias.",
                "2 * tau": "This is what one step adds; the chain remembers (1 - tau)^2 of the rest.",
                "1 / np.sqrt(1 - tau / 2)": "This is the standard deviation.",
            },
            step="Langevin in steps",
            figure="langevin",
        ),
        Exercise(
            name="largest_step",
            ask="On N(0, 0.5) beyond which step tau does unadjusted Langevin run away? A number.",
            solution="1.0",
            wrong={
                "2.0": "This is for N(0, 1). The score is -x/v: |1 - tau/v| < 1 needs tau < 2 v.",
                "0.5": "There 1 - tau/v = 0: the best contraction. It runs away where 1 - tau/v reaches -1.",
                "4.0": "You divided by the variance: tau < 2 v, a narrow density needs smaller steps.",
                "0.25": "|1 - tau/v| < 1 needs tau < 2 v, not v/2.",
                "np.inf": "Each step multiplies x by 1 - tau/v; beyond -1 it grows.",
                "2 * 0.5**0.5": "0.5 is the variance: tau < 2 v.",
                "0.0": "Small steps are safe: each multiplies x by 1 - tau/v.",
            },
            step="a step too large",
        ),
        Exercise(
            name="log_accept",
            ask="The Metropolis test for a Langevin proposal y from x: log of the acceptance ratio, before it is cut off at 0. The proposal is N(x + tau s(x), 2 tau I).",
            call="log_x, log_y, x, y, s_x, s_y, step",
            gives="log p (n,) and scores (n, d) at x and y, step = tau -> (n,)",
            inputs=_proposal,
            solution=_Q + "return log_y - log_x - back + there",
            terms={"log p(y)": "log_y", "log p(x)": "log_x", "there": _Q + "return there", "back": _Q + "return back"},
            wrong={
                "log_y - log_x - np.sum((x - y - step * s_x) ** 2, axis=1) / (4 * step) + np.sum((y - x - step * s_y) ** 2, axis=1) / (4 * step)": "The scores are exchanged: the way from x to y drifts by s(x), the way back by s(y).",
                "log_y - log_x - np.sum((x - y - step / 2 * s_y) ** 2, axis=1) / (4 * step) + np.sum((y - x - step / 2 * s_x) ** 2, axis=1) / (4 * step)": "The drift is step times the score, beside noise of variance 2 step; half of it belongs to noise of variance step.",
                "log_y - log_x": "The proposals are missing: going there is not as likely as coming back. Without them the chain is biased.",
                _Q
                + "return log_x - log_y - there + back": "Turned round: this is log of the ratio for going from y to x.",
                _Q
                + "return log_y - log_x + back - there": "The sign of the proposals: p(y) q(x | y) over p(x) q(y | x), and log q is minus a square.",
                _Q
                + "return log_y - log_x - 2 * back + 2 * there": "The variance is 2 tau, so the exponent divides by 4 tau, not 2 tau.",
                _Q
                + "return log_y - log_x - back / 2 + there / 2": "The exponent divides by 2 x 2 tau = 4 tau, not 8 tau.",
                "there = np.sum((y - x) ** 2, axis=1) / (4 * step)\nback = np.sum((x - y - step * s_y) ** 2, axis=1) / (4 * step)\nreturn log_y - log_x - back + there": "The mean of the way there is x + tau s(x), not x.",
                _Q + "return log_y - log_x + there": "The way back is missing: q(x | y).",
                _Q + "return log_y - log_x - back": "The way there is missing: q(y | x).",
                _Q
                + "return np.minimum(0, log_y - log_x - back + there)": "This is cut off at 0; before that was asked.",
                _Q + "return np.exp(log_y - log_x - back + there)": "This is the ratio; its logarithm was asked.",
            },
            step="detailed balance",
        ),
        Exercise(
            name="level_step",
            ask="Annealed Langevin: the step at noise sigma, if at sigma_min it is tau. Every level then has the same ratio of signal to noise.",
            call="tau, sigma, sigma_min",
            gives="numbers -> a number",
            inputs=lambda rng: (rng.uniform(0.01, 0.1), rng.uniform(1, 5), rng.uniform(0.1, 0.5)),
            solution="tau * (sigma / sigma_min) ** 2",
            wrong={
                "tau": "One step for all levels: at large noise it is far too small to get anywhere.",
                "tau * sigma / sigma_min": "A step is an [x]^2: it scales with sigma squared.",
                "tau * (sigma_min / sigma) ** 2": "Turned round: the more noise, the larger the step.",
                "tau * sigma**2": "Relative to sigma_min: at that level the step is tau.",
                "tau / sigma_min**2": "sigma is missing: this is one step for all levels.",
                "tau * np.sqrt(sigma / sigma_min)": "A step is an [x]^2: squared, no root.",
                "tau * sigma_min / sigma": "Turned round, and a step is an [x]^2.",
            },
            step="annealing finds the weights of far modes",
            figure="three_samplers",
        ),
        Exercise(
            name="plain_weight",
            ask="Two far modes of weights 0.2 and 0.8, half of the chains started at each, plain Langevin for a time that does not cross over. Which share of the samples is in the first mode? A number.",
            solution="0.5",
            wrong={
                "0.2": "This is the truth, and plain Langevin does not find it: no chain crosses, and each mode's score knows nothing of its weight.",
                "0.8": "This is the other mode's weight. No chain crosses: the start decides.",
                "0.35": "Half way? Without crossing nothing moves from the start's share.",
                "0.0": "Chains do stay in the lesser mode: its score holds them as well as the other's.",
                "1.0": "Each chain stays where it began; half began at each.",
                "0.25": "Not 0.2/0.8 either: the score near a mode does not know its weight at all.",
            },
            step="weights of far modes by plain Langevin",
            figure="three_samplers",
        ),
        Exercise(
            name="flow_velocity",
            ask="The probability flow for noise sigma: dx/dsigma from the score at that level.",
            call="s, sigma",
            gives="s (n, d), sigma a number -> (n, d)",
            inputs=lambda rng: (rng.normal(size=(6, 2)), rng.uniform(1.2, 3)),
            solution="-sigma * s",
            wrong={
                "sigma * s": "The sign: as sigma grows points move away from the data, against the score.",
                "-(sigma**2) * s": "d(sigma^2) = 2 sigma dsigma, and the flow in sigma^2 is -s/2: -sigma s.",
                "-s": "sigma is missing: the flow in sigma^2 is -s/2, so in sigma it is -sigma s.",
                "-2 * sigma * s": "This is the drift of the reverse diffusion, which has noise to make up for it; the flow takes half.",
                "-sigma * s / 2": "A 1/2 too many: the flow in sigma^2 is -s/2, and d(sigma^2) = 2 sigma dsigma.",
                "-s / 2": "This is dx/d(sigma^2); in sigma there is a factor 2 sigma.",
                "-s / sigma": "Multiply by sigma: (the velocity is a pure number, a score is 1/[x]).",
            },
            step="noise is a heat equation",
            figure="flow_paths",
        ),
        Exercise(
            name="flow_of_gaussian",
            ask="Data N(0, v). A point x at noise high follows the flow down to noise low. Where does it arrive?",
            call="x, v, high, low",
            gives="x (n,), v a variance, high and low standard deviations -> (n,)",
            inputs=lambda rng: (rng.normal(size=6) * 3, rng.uniform(0.5, 2), rng.uniform(3, 5), rng.uniform(0.1, 0.5)),
            solution="x * np.sqrt((v + low**2) / (v + high**2))",
            wrong={
                "x * (np.sqrt(v) + low) / (np.sqrt(v) + high)": "The standard deviation at level sigma is the root of v + sigma^2, not sqrt(v) + sigma.",
                "x + (low - high) * high * x / (v + high**2)": "This is one Euler step from the highest level to the lowest; the equation was to be solved.",
                "x * (v + low**2) / (v + high**2)": "The root is missing: points scale like the standard deviation.",
                "x * np.sqrt((v + high**2) / (v + low**2))": "Turned round: going down points come together.",
                "x * low / high": "This forgets the data's own variance v: not everything flows into one point.",
                "x * np.sqrt((v + low) / (v + high))": "high and low are standard deviations: squares add to v.",
                "x * v / (v + high**2)": "This is Tweedie's mean E[x | x~] from noise high; the flow keeps the density's spread.",
                "x": "The flow moves points: dx/dsigma = sigma x/(v + sigma^2).",
                "x * np.sqrt((v**2 + low**2) / (v**2 + high**2))": "v is a variance already.",
                "x * np.exp(-(high**2 - low**2) / (2 * v))": "The rate changes on the way: v + sigma^2 in it, not v.",
            },
            step="the probability flow of a Gaussian",
            figure="flow_paths",
        ),
        Exercise(
            name="density_rate",
            ask="Along that flow, the rate of log p in sigma: d log p_sigma(x(sigma))/d sigma, from the trace of the score.",
            call="trace, sigma",
            gives="trace (n,), sigma a number -> (n,)",
            inputs=lambda rng: (rng.normal(size=6) - 1, rng.uniform(1.2, 3)),
            solution="sigma * trace",
            wrong={
                "-sigma * trace": "The sign: it is minus the divergence of the velocity -sigma s.",
                "trace": "sigma is missing: the velocity is -sigma s.",
                "0 * trace": "Without the trace the likelihood is that of a flow that keeps volumes; this one contracts.",
                "sigma**2 * trace": "The velocity is -sigma s: one sigma.",
                "sigma * trace / 2": "The flow's velocity is -sigma s, without a 1/2.",
                "2 * sigma * trace": "2 sigma belongs to the diffusion's drift; the flow takes half.",
                "-trace": "Sign and sigma: minus the divergence of -sigma s.",
            },
            step="instantaneous change of variables",
        ),
        Exercise(
            name="reverse_drift",
            ask="The reverse diffusion goes down in sigma with noise of its own. Its drift dx/dsigma, from the score at that level: how strong must it pull, beside the flow?",
            call="s, sigma",
            gives="s (n, d), sigma a number -> (n, d)",
            inputs=lambda rng: (rng.normal(size=(6, 2)) + 0.4, rng.uniform(1.2, 3)),
            solution="-2 * sigma * s",
            terms={"sigma s": "sigma * s", "sigma^2 s": "sigma**2 * s", "s": "s"},
            wrong={
                "-sigma * s": "This is the flow's, which adds no noise. The diffusion spreads as it goes, so it pulls twice as hard.",
                "2 * sigma * s": "The sign: going down, dsigma is negative, and x moves along +s.",
                "-2 * sigma**2 * s": "The variance sigma^2 grows by 2 sigma dsigma: one sigma.",
                "-2 * s": "sigma is missing: d(sigma^2) = 2 sigma dsigma.",
                "-sigma**2 * s": "This is Tweedie's whole step with a minus; the drift is per dsigma: -2 sigma s.",
                "sigma * s": "The flow's, and its sign: dx/dsigma = -2 sigma s here.",
            },
            step="the drift of the diffusion in the flow",
        ),
        Exercise(
            name="too_quiet",
            ask="Somebody writes x + tau s + sqrt(tau) z, without the 2, in very small steps on N(0, 1). At which variance does it settle? A number.",
            solution="0.5",
            wrong={
                "1.0": "With sqrt(2 tau) z it would. Half the noise variance, half the temperature: it samples p^2.",
                "2.0": "Less noise, not more: the walk settles nearer to the mode.",
                "0.25": "The variance of the noise is halved, tau for 2 tau, not quartered.",
                "np.sqrt(0.5)": "This is the standard deviation; the variance was asked.",
                "0.0": "It freezes at the mode with tau z; with sqrt(tau) z it keeps half the variance.",
                "1.5": "v = (1 - tau)^2 v + tau: for small tau 2 v = 1.",
            },
            step="noise of the wrong size",
        ),
    ),
    counterexample=(
        "A step too large: on N(0, 1) the chain settles too wide, 1/(1 - tau/2), and beyond tau = 2 it runs away.",
        """rng = np.random.default_rng(0)
for tau in (0.1, 0.5, 1.5, 2.1):
    x = rng.normal(size=20_000)
    for _ in range(150):
        x = (1 - tau) * x + np.sqrt(2 * tau) * rng.normal(size=x.size)
    said = f"{1 / (1 - tau / 2):9.3f} foreseen" if tau < 2 else "none foreseen"
    print(f"tau = {tau}: variance {np.var(x):9.3g}, {said}")""",
    ),
)
