"""Chapter 4: what the two terms do."""

from .exercise import Exercise, Lesson

LESSON = Lesson(
    number=4,
    title="What the two terms do",
    minutes=6,
    claim="The square flattens the model, the trace sharpens it, and they settle where E|s|^2 = -E tr ds/dx.",
    equation=r"J_I = E[\tfrac12 |s|^2] + E[\mathrm{tr}\,\partial_x s]",
    exercises=(
        Exercise(
            name="linear_loss",
            ask="J_I for the model s = -theta x in d dimensions, on data of mean 0 and variance v in each.",
            call="theta, v, d",
            gives="numbers -> a number",
            inputs=lambda rng: (rng.uniform(0.5, 2), rng.uniform(0.5, 3), int(rng.integers(2, 7))),
            solution="theta**2 * v * d / 2 - theta * d",
            terms={
                "theta^2 v d/2": "theta**2 * v * d / 2",
                "theta d": "theta * d",
                "theta": "theta",
                "theta^2 v/2": "theta**2 * v / 2",
                "theta v": "theta * v",
            },
            wrong={
                "theta**2 * v * d / 2 + theta * d": "The slope of -theta x is -theta: the trace is -theta d.",
                "theta**2 * v * d - theta * d": "The 1/2 before the square is missing.",
                "theta**2 * v * d / 2 - theta": "The trace sums d slopes, -theta each.",
                "theta**2 * v / 2 - theta * d": "The square sums d entries: E|x|^2 = v d.",
                "theta**2 * v / 2 - theta": "Both terms are sums over d dimensions; this is one dimension's.",
                "theta**2 * v**2 * d / 2 - theta * d": "v is a variance already: E|x|^2 = v d.",
                "theta * v * d / 2 - theta * d": "The score is squared: theta^2.",
                "theta**2 * v * d / 2": "The trace is missing.",
            },
            step="together they settle",
            figure="two_terms",
        ),
        Exercise(
            name="force",
            ask="The derivative of that loss in theta: the two terms as two forces on theta. Descent moves theta by minus this.",
            call="theta, v, d",
            gives="numbers -> a number",
            inputs=lambda rng: (rng.uniform(0.5, 2), rng.uniform(0.5, 3), int(rng.integers(2, 7))),
            solution="theta * v * d - d",
            terms={"theta v d": "theta * v * d", "d": "d", "theta d": "theta * d", "v d": "v * d"},
            wrong={
                "theta * v * d + d": "The trace pulls the other way: its derivative is -d.",
                "d - theta * v * d": "This is minus the derivative, the way descent moves; the derivative was asked.",
                "2 * theta * v * d - d": "The 2 from the square undoes the 1/2.",
                "theta * v * d / 2 - d": "Differentiating theta^2/2 gives theta: no 1/2 is left.",
                "theta * v * d": "This is the square's force alone: it would flatten the model, theta to 0.",
                "-d": "This is the trace's force alone: it would sharpen the model without end.",
                "theta * v - 1": "This is one dimension's; both terms are sums over d.",
                "theta * v * d - theta * d": "theta d is the trace itself, not yet differentiated.",
            },
            step="the square alone flattens",
            figure="two_terms",
        ),
        Exercise(
            name="best_theta",
            ask="Score matching in closed form: from data x, the theta that is least for s = -theta x.",
            call="x",
            gives="x (n,) -> a number",
            inputs=lambda rng: (rng.normal(size=9) * 1.5 + 0.6,),
            solution="1 / np.mean(x**2)",
            wrong={
                "np.mean(1 / x**2)": "The mean of 1/x^2 is not one over the mean of x^2; for data that come near 0 it has no end.",
                "1 / np.var(x, ddof=1)": "This is one over a variance around the sample's mean, with n - 1 besides; the score -theta x has its zero at 0.",
                "np.mean(x**2)": "This is the variance; theta is a precision, its inverse.",
                "1 / np.var(x)": "np.var subtracts the mean of the data. This model's mean is 0: E[x^2].",
                "1 / np.std(x)": "A precision is one over a variance, not over a standard deviation.",
                "1 / np.mean(x) ** 2": "You squared the mean; the mean of the square is meant.",
                "1 / np.sqrt(np.mean(x**2))": "A precision is one over a mean square; no root.",
                "0.5 / np.mean(x**2)": "This is where the loss without its 1/2 would settle: half the right one.",
                "2 / np.mean(x**2)": "theta E[x^2] - 1 = 0 has no 2.",
                "(len(x) - 1) / np.sum(x**2)": "n - 1 belongs to a sample variance about its own mean; the loss is a plain mean.",
                "1 / np.sum(x**2)": "A sum over samples; a mean is meant.",
            },
            step="together they settle",
        ),
        Exercise(
            name="settled_trace",
            ask="Data N(0, 2 I) in 3 dimensions, and the best score of all. What is E[tr ds/dx]? A number.",
            solution="-3 / 2",
            wrong={
                "0.0": "The trace is not driven to zero: it settles at -E|s|^2, and the best score is -x/2.",
                "3 / 2": "This is E|s|^2; the trace is minus that.",
                "-3.0": "Each of three slopes is -1/2, not -1.",
                "-1 / 2": "This is one dimension's slope; a trace sums all three.",
                "-3 / 4": "This is the loss at its minimum, -1/2 E|s|^2: half the trace.",
                "-6.0": "You multiplied by the variance; s = -x/2 has the slope -1/2.",
                "-3 / 2**0.5": "You divided by the standard deviation; s = -x/2.",
                "-np.inf": "The trace alone would fall without end; the square holds it.",
            },
            step="the trace is not driven to zero",
        ),
        Exercise(
            name="least_loss",
            ask="The least J_I that any model can have on data N(m, v I) in d dimensions.",
            call="v, d",
            gives="v a variance -> a number",
            inputs=lambda rng: (rng.uniform(0.5, 3), int(rng.integers(2, 7))),
            solution="-d / (2 * v)",
            wrong={
                "0.0": "This is the least J_E. J_I is lower by C = 1/2 E|s_0|^2.",
                "d / (2 * v)": "The sign: the loss goes below zero, and the better the lower.",
                "-d / v": "This is the mean trace; the square takes half of it back.",
                "-1 / (2 * v)": "This is one dimension's.",
                "-d * v / 2": "E|s_0|^2 = d/v: a sharper density can reach less.",
                "-d / (2 * v**2)": "v is a variance already: E|s_0|^2 = v d/v^2.",
                "-3 * d / (2 * v)": "You subtracted the square: 1/2 E|s|^2 enters with a plus.",
                "-d / 2 * np.log(v)": "No logarithm: this looks like an entropy. J_I is a mean of squares and slopes.",
            },
            step="the implicit loss of the truth",
        ),
        Exercise(
            name="spike",
            ask="A model with a bump of variance w at a training point x_1: near it s = -(x - x_1)/w. What does the implicit loss of that sample, 1/2 s^2 + s', become at x = x_1 itself?",
            call="w",
            gives="w a variance -> a number",
            inputs=lambda rng: (rng.uniform(0.05, 0.5),),
            solution="-1 / w",
            wrong={
                "1 / w": "The slope at a peak is negative.",
                "0.0": "s is 0 there, its slope is not: -1/w.",
                "-1 / w**2": "s = -(x - x_1)/w has the slope -1/w.",
                "-1 / (2 * w)": "This is the mean over data N(x_1, w). At the point itself s = 0 and the square does not help.",
                "1 / (2 * w**2) - 1 / w": "You took the square at distance 1; at the point itself s = 0.",
                "-1 / np.sqrt(w)": "w is a variance: the slope is -1/w.",
                "-w": "The narrower the bump the steeper: -1/w, without end as w goes to 0.",
            },
            step="without noise the loss on samples has no minimum",
            figure="collapse",
        ),
    ),
    counterexample=(
        "Without noise the loss on samples has no minimum: a bump on every training point (a Parzen density of width h, at its own points) drives it to minus infinity, and held-out points pay.",
        """rng = np.random.default_rng(0)
train, held = rng.normal(size=50), rng.normal(size=50)
for h in (0.5, 0.1, 0.02):
    for name, x in (("train", train), ("held out", held)):
        far = (train - x[:, None]) / h  # (n, 50)
        r = np.exp(-(far**2 - np.min(far**2, axis=1, keepdims=True)) / 2)
        r = r / r.sum(axis=1, keepdims=True)
        s = np.sum(r * far, axis=1) / h
        slope = (np.sum(r * far**2, axis=1) - np.sum(r * far, axis=1) ** 2 - 1) / h**2
        print(f"h = {h:4}, {name:8}: {np.mean(s**2 / 2 + slope):12.2f}")""",
    ),
)
