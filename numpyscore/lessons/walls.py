"""Chapter 6: half-lines and boxes."""

import numpy as np

from .exercise import Exercise, Lesson


def _halfline(rng):
    x = rng.exponential(1.3, size=8) + 0.05
    return (x,)


def _weighted(rng):
    return rng.normal(size=8), rng.normal(size=8) - 0.3, rng.uniform(0.2, 2, size=8), rng.normal(size=8) + 0.5


LESSON = Lesson(
    number=6,
    title="Walls",
    minutes=5,
    claim="Where the data end, p s does not vanish; a weight h that is 0 at the wall repairs it, and its derivative enters the loss.",
    equation=r"E[\tfrac12 h s^2 + h' s + h s'] = \tfrac12 E[h (s - s_0)^2] - C, \qquad h = 0 \text{ at the wall}",
    exercises=(
        Exercise(
            name="uniform_flux",
            ask="Data uniform on [0, 1], model s(x) = -(x - 0.5). What is [p s] from 0 to 1? A number.",
            solution="-1.0",
            wrong={
                "0.0": "Symmetric, but not zero: s(1) = -1/2 and s(0) = +1/2, and the jump is their difference.",
                "1.0": "The sign: right end minus left end, -1/2 - 1/2.",
                "-0.5": "This is the right end alone; subtract the left end's +1/2.",
                "0.5": "This is the left end alone; the jump is right minus left.",
                "-0.25": "p = 1 and s = -(x - 0.5) at both ends: nothing to multiply further.",
                "-2.0": "s is 1/2 in size at each end, not 1.",
            },
            step="uniform data",
            figure="parts_areas",
        ),
        Exercise(
            name="plain_best_rate",
            ask="Data exponential of rate 0.7, models s = -b for b >= 0. Which b has the least plain implicit loss, E[1/2 s^2 + s']? A number.",
            solution="0.0",
            wrong={
                "0.7": "This is the truth, and plain implicit matching does not find it: s' = 0, so nothing rewards b > 0.",
                "1 / 0.7": "This is the mean of the data. The loss is b^2/2 and knows nothing of it.",
                "1.0": "The loss is b^2/2 + 0; where is that least?",
                "-0.7": "b >= 0 was asked, and the loss is b^2/2.",
                "np.inf": "The loss b^2/2 grows with b.",
                "0.35": "The loss is b^2/2: s' = 0 leaves nothing to balance the square.",
            },
            step="no weight on a half-line",
        ),
        Exercise(
            name="weighted_loss",
            ask="The generalised loss in one dimension from arrays: mean of 1/2 h s^2 + h' s + h s'. slope is s', h_prime is h'.",
            call="s, slope, h, h_prime",
            gives="each (n,) -> a number",
            inputs=_weighted,
            solution="np.mean(0.5 * h * s**2 + h_prime * s + h * slope)",
            terms={
                "1/2 mean h s^2": "np.mean(0.5 * h * s**2)",
                "mean h' s": "np.mean(h_prime * s)",
                "mean h s'": "np.mean(h * slope)",
                "1/2 mean s^2": "np.mean(0.5 * s**2)",
                "mean s'": "np.mean(slope)",
                "mean h s": "np.mean(h * s)",
                "mean h'": "np.mean(h_prime)",
            },
            wrong={
                "np.mean(0.5 * h * s**2 + h * slope)": "h' is forgotten: (h s)' = h' s + h s'. With it missing the loss is biased.",
                "np.mean(0.5 * h * s**2 - h_prime * s + h * slope)": "h' s has a plus: (h s)' = h' s + h s'.",
                "np.mean(0.5 * h * s**2 + h_prime * s + slope)": "The slope needs its weight: h s'.",
                "np.mean(0.5 * s**2 + h_prime * s + h * slope)": "The square needs its weight: h s^2.",
                "np.mean(h * s**2 + h_prime * s + h * slope)": "The 1/2 before the square is missing.",
                "np.mean(0.5 * h * s**2 + h_prime + h * slope)": "h' is multiplied by s: (h s)' = h' s + h s'.",
                "np.mean(0.5 * (h * s) ** 2 + h_prime * s + h * slope)": "The weight stands outside the square: h s^2, not (h s)^2.",
                "np.mean(0.5 * h * s**2 + h_prime * s - h * slope)": "h s' has a plus, as in the plain loss.",
                "np.mean(h * (0.5 * s**2 + h_prime * s + slope))": "h' s is not weighted again: it is what differentiating h has left.",
                "np.mean(0.5 * s**2 + slope)": "This is the plain loss; every term needs the weight.",
                "np.sum(0.5 * h * s**2 + h_prime * s + h * slope)": "A sum over samples; the loss is their mean.",
                "np.mean(0.5 * h * s**2 + 0.5 * h_prime * s + 0.5 * h * slope)": "A 1/2 stands before the square alone.",
            },
            step="weighted losses differ by a constant",
            figure="boundary_weights",
        ),
        Exercise(
            name="rate",
            ask="With h = x, s = -b: the b of least loss, from data x > 0.",
            call="x",
            gives="x (n,) -> a number",
            inputs=_halfline,
            solution="1 / np.mean(x)",
            wrong={
                "np.sqrt(2 / np.mean(x**2))": "This matches the second moment, 2/b^2. With h = x the loss is b^2 E[x]/2 - b: it asks for the mean.",
                "np.mean(x)": "This is the mean; b is a rate, its inverse.",
                "0.0": "This is the plain loss's answer. With h = x the loss is b^2 E[x]/2 - b.",
                "2 / np.mean(x)": "b E[x] - 1 = 0: the 2 from the square undoes the 1/2.",
                "1 / (2 * np.mean(x))": "This is the loss without its 1/2 before the square.",
                "1 / np.mean(x**2)": "h = x multiplies s^2 = b^2, so E[x], not E[x^2].",
                "np.mean(1 / x)": "The mean of 1/x is not 1 over the mean.",
                "-1 / np.mean(x)": "The sign: s = -b and h' s = -b; b E[x] - 1 = 0.",
                "1 / np.std(x)": "An exponential's standard deviation equals its mean, a sample's does not: the loss asks for the mean.",
            },
            step="rate of an exponential",
        ),
        Exercise(
            name="rate_square",
            ask="The same with h = x^2.",
            call="x",
            gives="x (n,) -> a number",
            inputs=_halfline,
            solution="2 * np.mean(x) / np.mean(x**2)",
            wrong={
                "1 / np.mean(x)": "This is h = x. With h = x^2 the loss is b^2 E[x^2]/2 - b E[2 x].",
                "np.mean(x) / np.mean(x**2)": "h' = 2 x: its 2 is missing.",
                "1 / np.mean(x**2)": "h' = 2 x, so E[h'] = 2 E[x], not 1.",
                "2 / np.mean(x**2)": "h' = 2 x: its x is missing.",
                "2 * np.mean(x) / np.mean(x) ** 2": "You squared the mean; the mean of the square is meant.",
                "np.mean(x**2) / (2 * np.mean(x))": "This is the inverse: a mean, not a rate.",
                "4 * np.mean(x) / np.mean(x**2)": "The 2 from the square undoes the 1/2; the 2 of h' = 2 x is the only one left.",
            },
            step="three weights on a half-line",
        ),
        Exercise(
            name="truncated_mean",
            ask="Data N(m, 1) of which only x > 0 was kept; s = -(x - m). With h = x, the m of least loss.",
            call="x",
            gives="x (n,) -> a number",
            inputs=_halfline,
            solution="(np.mean(x**2) - 1) / np.mean(x)",
            wrong={
                "np.mean(x)": "The mean of what was kept is too large: the kept half hides the rest.",
                "np.mean(x**2) / np.mean(x)": "h' is forgotten: the loss has h' s, which moves m by -1/E[x].",
                "(np.mean(x**2) + 1) / np.mean(x)": "The sign of h' s: m E[h] = E[h x] - E[h'].",
                "np.mean(x**2) - 1": "Divide by E[h] = E[x].",
                "(np.var(x) - 1) / np.mean(x)": "E[h x] = E[x^2], without the mean subtracted.",
                "(np.mean(x) ** 2 - 1) / np.mean(x)": "You squared the mean; the mean of the square is meant.",
                "(np.mean(x**2) - 2) / np.mean(x)": "h' = 1 enters once: E[h x] - E[h'].",
            },
            step="a truncated Gaussian is recovered",
        ),
        Exercise(
            name="box",
            ask="A weight for data in [lower, upper]: the distance to the nearer wall.",
            call="x, lower, upper",
            gives="x (n,) -> (n,)",
            inputs=lambda rng: (rng.uniform(0.5, 3.5, size=9), 0.5, 3.5),
            solution="np.minimum(x - lower, upper - x)",
            wrong={
                "np.maximum(x - lower, upper - x)": "This is the distance to the farther wall: it does not vanish at either.",
                "x - lower": "One wall is forgotten: at the upper end this is not 0.",
                "upper - x": "One wall is forgotten: at the lower end this is not 0.",
                "(x - lower) * (upper - x)": "A fair weight too, 0 at both walls, but not the distance: its unit is [x]^2.",
                "np.abs(x - (lower + upper) / 2)": "This is the distance to the middle: largest at the walls, 0 within.",
                "np.minimum(x, upper - x)": "The lower wall is at `lower`, not at 0.",
                "np.minimum(x - lower, x - upper)": "upper - x, not x - upper: a distance is not negative.",
                "np.minimum(x - lower, upper - x) / (upper - lower)": "A fair weight too, but the distance itself was asked, not its share of the box.",
            },
            step="weights in a box",
        ),
        Exercise(
            name="sandwich",
            ask="A matching loss has second derivative A and its slopes have covariance B, both (p, p), at the true theta. What is n times the covariance of the estimate? (Not 1/A, which holds for a likelihood.)",
            call="A, B",
            gives="A, B (p, p) -> (p, p)",
            inputs=lambda rng: tuple((lambda M: M @ M.T + np.eye(3))(rng.normal(size=(3, 3))) for _ in range(2)),
            solution="np.linalg.inv(A) @ B @ np.linalg.inv(A)",
            wrong={
                "np.linalg.inv(A)": "A = B holds for a likelihood, and then this is right. Here B stands between two inverses of A.",
                "np.linalg.inv(B)": "This is for a likelihood, where A = B; and there one takes either.",
                "np.linalg.inv(A) @ B": "One inverse is missing: the estimate is A^-1 times a mean of slopes, on both sides of the covariance.",
                "B @ np.linalg.inv(A)": "One inverse is missing on the left: covariances are multiplied on both sides.",
                "A @ B @ A": "The inverse of A, on both sides: where the loss is steep the estimate is sure.",
                "np.linalg.inv(A @ B @ A)": "B is not inverted: slopes that vary more make an estimate worse.",
                "np.linalg.inv(A) * B * np.linalg.inv(A)": "`*` multiplies entry by entry; matrices want `@`.",
            },
            step="the second derivative taken for the error",
        ),
        Exercise(
            name="price",
            ask="Half-normal data: generalised matching with h = x finds the mean before the cut with n times variance pi, maximum likelihood with 1/(1 - 2/pi). How many samples does it need for one of maximum likelihood's? A number, four digits at least.",
            solution="np.pi - 2",
            wrong={
                "np.pi": "This is its own n times variance; divide by that of maximum likelihood.",
                "1 / (np.pi - 2)": "Turned round: matching needs more samples, not fewer.",
                "1 / (1 - 2 / np.pi)": "This is maximum likelihood's n times variance; the ratio was asked.",
                "np.sqrt(np.pi - 2)": "Samples are counted by variances: the ratio itself, no root.",
                "np.pi - 1 / (1 - 2 / np.pi)": "This is the difference; the ratio says how many samples.",
                "1.0": "That holds for the Stein-kernel weight. With h = x it is pi (1 - 2/pi).",
            },
            step="score matching taken for efficient",
            figure="price_in_samples",
        ),
        Exercise(
            name="stein_kernel",
            ask="The weight that costs nothing is tau/F', tau(x) = 1/p(x) times the integral of (t - E t) p(t) from x to infinity for the statistic F = x. For exponential data of rate a: tau(x)?",
            call="x, a",
            gives="x (n,), a a number -> (n,)",
            inputs=lambda rng: (rng.exponential(size=7) + 0.1, rng.uniform(0.4, 2)),
            solution="x / a",
            wrong={
                "x": "The shape is right, so the estimate would be too; tau itself is larger by the mean 1/a.",
                "x * a": "By parts the integral is x exp(-a x): divided by p = a exp(-a x) that is x/a.",
                "1 / a + 0 * x": "tau vanishes at the wall, as a weight must: it is 0 at x = 0.",
                "(x + 1 / a) / a": "This is the integral of t p, over p; from t its mean E t = 1/a is to be subtracted first.",
                "x * np.exp(-a * x)": "This is the integral; divide by p(x) = a exp(-a x).",
                "x - 1 / a": "This is t - E t at x; it is to be integrated from x on, and divided by p.",
            },
            step="the Stein-kernel weight costs nothing",
        ),
    ),
    counterexample=(
        "The derivative of the weight forgotten: on exponential data of rate 2 with h = x the loss then has its minimum at b = 0 again, not at 2.",
        """x = np.random.default_rng(0).exponential(1 / 2, size=100_000)
b = np.linspace(0, 4, 401)
right = b**2 / 2 * np.mean(x) - b * 1
forgotten = b**2 / 2 * np.mean(x)
print(f"least at b = {b[right.argmin()]:.2f} with h', at {b[forgotten.argmin()]:.2f} without; the truth is 2")""",
    ),
)
