"""Chapter 2: the score."""

import numpy as np

from .exercise import Exercise, Lesson, points, slip

SLIP_ASK, SLIP_SOLUTION, SLIP_WRONG = slip(
    [
        "log p(x) = -f(x) - log Z",
        "grad_x log p = -grad_x f - grad_x log Z",
        "Z is the integral of exp(-f(x)), so it depends on x, and grad_x log Z = -E[grad_x f]",
        "therefore s = -grad_x f + E[grad_x f]",
    ],
    3,
    {
        1: "Line 1 is the logarithm of exp(-f)/Z. Look further: what does Z depend on?",
        2: "Line 2 differentiates line 1, term by term. Look further: what does Z depend on?",
        4: "Line 4 does follow from line 3. The fault is earlier: is the x under the integral still there after integrating?",
        0: "There is one. Is the x under the integral still there after integrating?",
    },
)

MIXTURE = """MEANS, VARS, PI = np.array([[-1.5, 0.0], [1.5, 0.5]]), np.array([0.6, 0.8]), np.array([0.3, 0.7])  # variances, weights"""

_PARTS = """d2 = np.sum((x[:, None] - MEANS) ** 2, axis=2)
log_parts = np.log(PI) - np.log(2 * np.pi * VARS) - d2 / (2 * VARS)
"""
_SOFT = """r = np.exp(log_parts - log_parts.max(axis=1, keepdims=True))
r = r / r.sum(axis=1, keepdims=True)
pull = (MEANS - x[:, None]) / VARS[:, None]
return np.sum(r[..., None] * pull, axis=1)"""


def _mixture_check(theirs):
    """check_score against log p of the mixture."""
    import numpyscore as ns

    mixture = ns.GaussianMixture([0.3, 0.7], [[-1.5, 0.0], [1.5, 0.5]], [0.6, 0.8])
    return ns.check_score(theirs, logpdf=mixture.logpdf, x=points(np.random.default_rng(0), 8, 2))


def _quartic(rng):
    a, b = rng.uniform(0.5, 1.5, 2)
    return (lambda x: a * x**4 / 4 + b * x**3 / 3 - x), rng.normal(size=5), 0.1


LESSON = Lesson(
    number=2,
    title="Score",
    minutes=7,
    claim="The gradient of log p in x does not know Z: the score is minus the gradient of the energy.",
    equation=r"s(x) = \nabla_x \log p(x) = -\nabla_x f(x)",
    exercises=(
        Exercise(
            name="gaussian_score",
            ask="The score of N(m, v I), v a variance.",
            call="x, m, v",
            gives="x (n, d), m and v numbers -> (n, d)",
            inputs=lambda rng: (points(rng), 0.5, 1.7),
            solution="-(x - m) / v",
            terms={"x/v": "x / v", "m/v": "m / v + 0 * x", "1": "1 + 0 * x"},
            wrong={
                "(m - x) / v * np.exp(-np.sum((x - m) ** 2, axis=1, keepdims=True) / (2 * v))": "This is grad p, up to a constant: the gradient of the density. The score is that of its logarithm, grad p / p.",
                "(x - m) / v": "This is the gradient of the energy: it points away from the mode. The score is minus that.",
                "-(x - m) / v**2": "You divided by v squared; v is already a variance.",
                "-(x - m) / np.sqrt(v)": "You divided by a standard deviation, sqrt(v). log p holds (x - m)^2/(2 v); differentiate that.",
                "-(x - m) / (2 * v)": "A 2 is left: differentiating the square brings one down that cancels the other.",
                "-x / v": "The mean is missing: the score vanishes at the mode, x = m.",
                "-x / v - m": "The mean has come out of its bracket: -(x - m)/v.",
                "np.sum(-(x - m) / v, axis=1)": "This is summed over dimensions: the score is a vector, one entry for each x_i.",
                "-np.sum((x - m) ** 2, axis=1) / (2 * v)": "This is log p up to a constant, not its gradient.",
                "((x - m) ** 2 - v) / (2 * v**2)": "This is the derivative of log p in v. The score here is the gradient in x: not in parameters.",
            },
            step="score at points",
            figure="old_faithful_score",
        ),
        Exercise(
            name="mixture_score",
            ask="The score of the mixture of the cell below: two isotropic modes in two dimensions. Each mode's pull, weighed by its posterior.",
            call="x",
            gives="x (n, 2) -> (n, 2)",
            given=MIXTURE,
            inputs=lambda rng: (points(rng, 8, 2),),
            solution=_PARTS + _SOFT,
            wrong={
                "np.sum(PI[:, None] * (MEANS - x[:, None]) / VARS[:, None], axis=1)": "You weigh by PI, the same everywhere. The weight is the posterior of a mode at x: PI_k N(x; m_k, v_k)/p(x).",
                _PARTS
                + "log_parts = log_parts - np.log(PI)\n"
                + _SOFT: "The posterior lacks PI_k: modes of weight 0.3 and 0.7 pull as if they were equal.",
                _PARTS
                + "log_parts = log_parts + np.log(2 * np.pi * VARS)\n"
                + _SOFT: "The posterior lacks each mode's normaliser, 1/(2 pi v_k) in two dimensions: the narrow mode is too weak.",
                _PARTS
                + "log_parts = log_parts + 0.5 * np.log(2 * np.pi * VARS)\n"
                + _SOFT: "A mode's normaliser has the power d/2; in two dimensions 1/(2 pi v), not 1/sqrt(2 pi v).",
                _PARTS
                + "p = np.exp(log_parts)\nreturn np.sum(p[..., None] * (MEANS - x[:, None]) / VARS[:, None], axis=1)": "This is grad p, not grad log p: divide by p(x).",
                _PARTS
                + _SOFT.replace("return np", "return -np"): "This is minus the score: check the sign of (m_k - x).",
                _PARTS
                + "k = d2.argmin(axis=1)\nreturn (MEANS[k] - x) / VARS[k][:, None]": "You take the nearer mode alone. Both pull, each by its posterior; that is where annealing will matter.",
                _PARTS
                + "k = log_parts.argmax(axis=1)\nreturn (MEANS[k] - x) / VARS[k][:, None]": "You take the likelier mode alone. Between modes both pull; that is where annealing will matter.",
                _PARTS
                + _SOFT.replace(" / VARS[:, None]", ""): "Each mode's pull is (m_k - x)/v_k: the variance is missing.",
                _PARTS
                + _SOFT.replace(
                    " / VARS[:, None]", " / VARS[:, None] ** 2"
                ): "Each mode's pull is (m_k - x)/v_k: you divided by v_k squared, but VARS are variances.",
                _PARTS.replace("(2 * VARS)", "VARS")
                + _SOFT: "In the posterior the exponent lacks its 1/2: exp(-|x - m_k|^2/(2 v_k)).",
            },
            check=_mixture_check,
            step="normaliser drops out",
            figure="levels_flow",
        ),
        Exercise(
            name="numerical_score",
            ask="The score of an energy f in one dimension by a central difference of width h on either side.",
            call="f, x, h",
            gives="f a function of x (n,), h a number -> (n,)",
            inputs=_quartic,
            solution="-(f(x + h) - f(x - h)) / (2 * h)",
            terms={"f(x + h)/h": "f(x + h) / h", "f(x - h)/h": "f(x - h) / h", "f(x)/h": "f(x) / h"},
            wrong={
                "-np.gradient(f(x), x)": "np.gradient takes neighbours in the list for neighbours on the line; these points are in no order. Evaluate f at x + h and x - h.",
                "(f(x + h) - f(x - h)) / (2 * h)": "This is the gradient of the energy. The score is minus that.",
                "-(f(x + h) - f(x - h)) / h": "The points are 2 h apart: divide by 2 h.",
                "-(f(x + h) - f(x)) / h": "This is a forward difference: its error is of order h, a central one's of order h^2.",
                "-(f(x) - f(x - h)) / h": "This is a backward difference: its error is of order h, a central one's of order h^2.",
                "-(f(x + h) - f(x - h)) / 2 * h": "Precedence: a / 2 * h multiplies by h. Write / (2 * h).",
                "-(f(x + h) - f(x - h))": "You did not divide by the distance 2 h: this goes to 0 with h.",
                "-(f(x + h) - 2 * f(x) + f(x - h)) / h**2": "This is minus the second derivative of f: the slope of the score, not the score.",
                "-np.gradient(f(x), h)": "np.gradient differences neighbouring samples; they are random points, not a grid. Evaluate f at x + h and x - h.",
            },
            step="score is the gradient of log p",
            figure="difference_order",
        ),
        Exercise(
            name="score_in_units",
            ask="y = c x, say metres in place of kilometres. From the score s of x, that of y at the same point, for c > 0.",
            call="s, c",
            gives="s (n, d), c a number -> (n, d)",
            inputs=lambda rng: (rng.normal(size=(5, 2)), rng.uniform(1.5, 3)),
            solution="s / c",
            wrong={
                "s * c": "The other way round: a score has the unit 1/[x]. Stretch the axis, and slopes become smaller.",
                "s": "The score has a unit, 1/[x]; it cannot stay what it was.",
                "s / c**2": "This is how the trace scales, the score's derivative: it has 1/[x]^2.",
                "s - np.log(c)": "log p moves by -log c, a constant; the score is multiplied by something.",
                "s / np.sqrt(c)": "One derivative in x, one factor 1/c.",
                "-s / c": "The factor is right, the sign is not: uphill stays uphill.",
            },
            step="other units",
        ),
        Exercise(
            name="mean_score",
            ask="E[s(x)] for x from N(3, 4), s the score of that density itself. A number.",
            solution="0.0",
            wrong={
                "3.0": "This is E[x]. E[s] is the integral of p s = p', over the line.",
                "0.75": "This is the score at x = 0. Take the mean over x.",
                "-0.75": "You put the mean into -x/v and forgot that the score is -(x - 3)/4.",
                "0.25": "This is E[s^2], the Fisher information. The mean itself is an integral of p'.",
                "-0.25": "This is E[s'], the mean slope. The mean of s itself is an integral of p'.",
                "1.0": "p integrates to 1; p s = p' integrates to p(end) - p(start).",
            },
            step="mean score is zero",
        ),
        Exercise(
            name="fisher",
            ask="E[s(x)^2] for x from N(3, 4), s the score of that density itself. A number.",
            solution="1 / 4",
            wrong={
                "0.0": "This is E[s]; its square is averaged here, and that is positive.",
                "4.0": "This is the variance of x. s = -(x - 3)/4, so E[s^2] = 4/16.",
                "1 / 16": "You took 4 for a standard deviation: s = -(x - 3)/4, and E(x - 3)^2 is 4.",
                "1 / 2": "This is its square root, 1/sd.",
                "-1 / 4": "This is E[s'], which is minus E[s^2]: the information equality.",
                "1 / 8": "This is half of it: the constant C = 1/2 E[s^2] of chapter 3.",
                "13 / 16": "You left the mean in: E[x^2]/16. The score is -(x - 3)/4.",
            },
            step="information equality",
        ),
        Exercise(
            name="normaliser_slip",
            ask=SLIP_ASK,
            solution=SLIP_SOLUTION,
            wrong=SLIP_WRONG,
            step="normaliser drops out",
        ),
        Exercise(
            name="base_ten",
            ask="A colleague differentiates log10 p in place of ln p. His score is c times the score. What is c? A number, four digits at least.",
            solution="1 / np.log(10)",
            wrong={
                "np.log(10)": "The other way round: log10 p = ln p / ln 10.",
                "1.0": "Bases differ by a factor, not a constant: it does not drop out as Z does.",
                "10.0": "log10 p is not 10 ln p. Which factor turns ln into log10?",
                "0.1": "log10 p is not ln p / 10. Which factor turns ln into log10?",
                "0.0": "log10 p still depends on x: log10 p = ln p / ln 10.",
                "-1 / np.log(10)": "The factor is right, the sign is not.",
                "1 / np.log(2)": "This is the factor of the logarithm to base 2.",
            },
            step="score is the gradient of log p",
        ),
        Exercise(
            name="blind_divergence",
            ask="Two densities on the same two separate intervals, the same shape on each, with weights 0.2 and 0.8 against 0.5 and 0.5. Their scores are equal everywhere. What is KL(first | second)? A number.",
            solution="0.2 * np.log(0.4) + 0.8 * np.log(1.6)",
            wrong={
                "0.0": "Equal scores, yes, but where the support is disconnected the densities may differ still: score matching cannot see it, KL does.",
                "0.5 * np.log(0.5 / 0.2) + 0.5 * np.log(0.5 / 0.8)": "This is KL(second | first): the mean is taken under the first, with weights 0.2 and 0.8.",
                "0.2 * np.log10(0.4) + 0.8 * np.log10(1.6)": "This uses the logarithm to base 10; nats were meant, np.log.",
                "-0.2 * np.log(0.4) - 0.8 * np.log(1.6)": "The sign: KL = E log(p/q), never negative.",
                "0.2 * np.log2(0.4) + 0.8 * np.log2(1.6)": "This is in bits; nats were meant, np.log.",
                "-0.2 * np.log(0.2) - 0.8 * np.log(0.8)": "This is the entropy of the weights 0.2 and 0.8; the second density's weights 0.5 are missing.",
                "0.3": "This is the difference of the weights. KL is the mean of log(p/q) under the first.",
            },
            step="equal scores need not mean equal densities",
            figure="blindness",
        ),
        Exercise(
            name="loop",
            ask="The field s(x, y) = (-y, x), carried once around the unit circle, counterclockwise: how much work does it do, the line integral of s? (A score does none.) A number, four digits at least.",
            solution="2 * np.pi",
            wrong={
                "360.0": "Degrees have no place here: the angle is in radians, where an arc has the length of its angle.",
                "0.0": "That would be so for a gradient. Along the circle s is the direction of travel itself, of length 1.",
                "np.pi": "This is the area of the disc; the curl, d_x x - d_y(-y), is 2.",
                "-2 * np.pi": "The sign: counterclockwise, (-y, x) points along the way.",
                "1.0": "This is s along the way at one point; its integral is 1 times the circle's length.",
                "4 * np.pi": "The curl is 2 and the area pi: 2 pi.",
                "2.0": "This is the curl; its integral over the disc, of area pi, is the work.",
            },
            step="a field that is no score",
        ),
        Exercise(
            name="hinge",
            ask="The step that most texts skip, and that brings the data in: p grad log p = grad p. From log p and the score at each point, grad p.",
            call="log_p, s",
            gives="log_p (n,), s (n, d) -> (n, d)",
            inputs=lambda rng: (rng.normal(size=6) - 0.7, rng.normal(size=(6, 2)) + 0.4),
            solution="np.exp(log_p)[:, None] * s",
            forms=("(np.exp(log_p) * s.T).T",),
            wrong={
                "log_p[:, None] * s": "p itself is the factor: np.exp(log_p).",
                "s / np.exp(log_p)[:, None]": "grad log p = grad p / p: to get grad p, multiply by p.",
                "-np.exp(log_p)[:, None] * s": "s is the gradient of log p, not of the energy: no minus.",
                "np.exp(log_p[:, None] + s)": "The score multiplies p; it does not stand in the exponent.",
                "np.mean(np.exp(log_p)[:, None] * s, axis=0)": "grad p at each point was asked, not a mean.",
                "np.exp(log_p) * np.sum(s, axis=1)": "grad p is a vector: keep the components apart.",
            },
            step="the log-derivative",
        ),
    ),
    counterexample=(
        "A field that is no score: (-y, x) does work around a loop, so no log p has it as its gradient. A score network may learn such a part; an energy network cannot.",
        """angle = np.linspace(0, 2 * np.pi, 10_001)[:-1]
x = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # a loop
along = np.stack([-np.sin(angle), np.cos(angle)], axis=1)  # its direction
for name, field in (("score of N(0, I)", -x), ("(-y, x)", np.stack([-x[:, 1], x[:, 0]], axis=1))):
    print(f"{name:18} work around the loop {np.mean(np.sum(field * along, axis=1)) * 2 * np.pi:+.6f}")""",
    ),
)
