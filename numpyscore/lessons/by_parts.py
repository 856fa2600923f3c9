"""Chapter 3: from the explicit to the implicit loss, by parts."""

from .exercise import Exercise, Lesson, slip

MINUS_ASK, MINUS_SOLUTION, MINUS_WRONG = slip(
    [
        "J_E = E[1/2 |s|^2] - E[s_0 . s] + C, with C = 1/2 E|s_0|^2",
        "E[s_0 . s] = int p_0 grad log p_0 . s dx = int grad p_0 . s dx",
        "int grad p_0 . s dx = [p_0 s] - int p_0 tr(ds/dx) dx, and [p_0 s] = 0",
        "so J_E = E[1/2 |s|^2] - E[tr ds/dx] + C",
        "so minimise the mean over the data of 1/2 |s|^2 - tr ds/dx",
    ],
    4,
    {
        1: "Line 1 expands the square. Watch the sign of the cross term as you go on.",
        2: "Line 2 holds: p grad log p = grad p. Watch the sign of the cross term as you go on.",
        3: "Line 3 is integration by parts, minus and all. What happens when it is put into line 1?",
        5: "Line 5 does follow from line 4. The fault is earlier: put line 3 into line 1.",
        0: "There is one: put line 3 into line 1 and count the minus signs.",
    },
)
WALL_ASK, WALL_SOLUTION, WALL_WRONG = slip(
    [
        "(p_0 s)' = p_0' s + p_0 s' = p_0 (s_0 s + s')",
        "p_0 goes to 0 at both ends, as every density on the line does that has a limit there",
        "therefore p_0 s goes to 0 at both ends, and [p_0 s] = 0",
        "therefore 0 = E[s_0 s] + E[s']",
    ],
    3,
    {
        1: "Line 1 is the product rule, with p_0' = p_0 s_0.",
        2: "Line 2 is right: a limit other than 0 could not be integrated. What does it say of a product?",
        4: "Line 4 follows from 1 and 3 by integrating. The fault is earlier: a product of something that vanishes and something that grows.",
        0: "There is one: p_0 vanishes, but s may grow as fast. (What does make p_0 s vanish is that E|s_0 s| and E|s'| are finite.)",
    },
)


THEOREM_ASK, THEOREM_SOLUTION, THEOREM_WRONG = slip(
    [
        "(p s)' = p (s_0 s + s'), and E|s_0 s| and E|s'| are finite, so (p s)' is integrable and p s has a limit c at +infinity",
        "were c not 0, then |s_0| <= 2 p |s_0 s| / |c| far out, which is integrable",
        "then log p would have a finite limit at +infinity, against p -> 0; so c = 0",
        "the same at -infinity, so [p s] = 0",
        "therefore [p s] = 0 for every smooth s, whatever E|s_0 s| and E|s'| are",
    ],
    5,
    {
        1: "Line 1 holds: what has an integrable derivative has a limit.",
        2: "Line 2 holds: far out p |s| is above |c|/2, so 1 is below 2 p |s|/|c|; multiply by |s_0|.",
        3: "Line 3 holds: s_0 is the slope of log p, and a slope with a finite integral leads to a finite limit.",
        4: "Line 4 follows, by turning x round. What has been used on the way?",
        0: "There is one. Which line drops what line 1 needed?",
    },
)


def _explicit_check(theirs):
    import numpyscore as ns

    return ns.check_loss(lambda fn, x, target_score: theirs(fn.score(x), target_score), objective="explicit")


def _implicit_check(theirs):
    import numpyscore as ns

    return ns.check_loss(lambda fn, x: theirs(fn.score(x), fn.trace(x)), objective="implicit")


def _pair(rng):
    return rng.normal(size=(7, 3)) + 0.4, rng.normal(size=(7, 3)) - 0.2


FLUX = "-18 * 2 / (np.pi * np.sqrt(3))"  # -18 c

LESSON = Lesson(
    number=3,
    title="Explicit to implicit",
    minutes=12,
    claim="The unknown score of the data can be integrated away: what is left differs from the loss we want by a constant, if p s vanishes at the ends.",
    equation=r"E[s_0 \cdot s] = [p_0 s] - E[\mathrm{tr}\,\partial_x s] \;\Rightarrow\; J_E = E[\tfrac12|s|^2 + \mathrm{tr}\,\partial_x s] + C",
    exercises=(
        Exercise(
            name="explicit_loss",
            ask="J_E = 1/2 E|s - s_0|^2 from arrays of scores.",
            call="s, s_0",
            gives="s, s_0 (n, d) -> a number",
            inputs=_pair,
            solution="np.mean(0.5 * np.sum((s - s_0) ** 2, axis=1))",
            terms={
                "1/2 mean |s|^2": "np.mean(0.5 * np.sum(s**2, 1))",
                "mean s . s_0": "np.mean(np.sum(s * s_0, 1))",
                "1/2 mean |s_0|^2": "np.mean(0.5 * np.sum(s_0**2, 1))",
                "1/2 |mean s - mean s_0|^2": "0.5 * np.sum(np.mean(s - s_0, 0) ** 2)",
            },
            wrong={
                "np.mean(np.sum((s - s_0) ** 2, axis=1))": "The 1/2 is missing. The minimum stays, but the trace of chapter 3 would have to be doubled too.",
                "np.mean(0.5 * (s - s_0) ** 2)": "You averaged over dimensions as well: sum over the d entries, mean over the n samples.",
                "np.sum(0.5 * (s - s_0) ** 2)": "You summed over the samples: the loss is an expectation, a mean over n.",
                "np.mean(0.5 * np.linalg.norm(s - s_0, axis=1))": "This is the norm, not its square.",
                "0.5 * np.sum(np.mean(s - s_0, axis=0) ** 2)": "You squared the mean difference; the mean of the square is meant.",
                "np.mean(0.5 * np.sum((s + s_0) ** 2, axis=1))": "One score has the wrong sign, s + s_0: explicit matching pulls s to s_0.",
                "0.5 * np.sum((s - s_0) ** 2, axis=1)": "This is the loss of each sample, (n,); the loss is their mean.",
                "np.mean(0.5 * np.sum(np.abs(s - s_0), axis=1))": "This is the absolute value; the square is meant.",
                "np.mean(0.5 * (np.sum(s**2, axis=1) - np.sum(s_0**2, axis=1)))": "This is a difference of squares; the square of the difference is meant.",
            },
            check=_explicit_check,
            step="expansion of the square",
        ),
        Exercise(
            name="cross_term",
            ask="Expand J_E: what stands in it beside 1/2 E|s|^2 and 1/2 E|s_0|^2? With its sign.",
            call="s, s_0",
            gives="s, s_0 (n, d) -> a number",
            inputs=_pair,
            solution="-np.mean(np.sum(s * s_0, axis=1))",
            terms={
                "mean s . s_0": "np.mean(np.sum(s * s_0, 1))",
                "mean |s|^2": "np.mean(np.sum(s * s, 1))",
                "mean |s_0|^2": "np.mean(np.sum(s_0 * s_0, 1))",
            },
            wrong={
                "-np.mean(np.linalg.norm(s, axis=1) * np.linalg.norm(s_0, axis=1))": "A product of lengths forgets the angle between both: sum s_i s_0i over dimensions.",
                "-np.mean(np.sum((s - s.mean(0)) * (s_0 - s_0.mean(0)), axis=1))": "This is a covariance: nothing is to be subtracted. E[s_0] is 0 over the whole density, but not on a sample of it.",
                "np.mean(np.sum(s * s_0, axis=1))": "The sign: (a - b)^2 = a^2 - 2 a b + b^2.",
                "-0.5 * np.mean(np.sum(s * s_0, axis=1))": "The 2 of the binomial undoes the 1/2: no 1/2 is left.",
                "-2 * np.mean(np.sum(s * s_0, axis=1))": "The 1/2 before the square undoes the 2 of the binomial.",
                "-np.mean(s * s_0)": "A mean over dimensions too; a scalar product is a sum over them.",
                "-np.sum(s * s_0)": "A sum over samples too; an expectation is their mean.",
                "-np.mean(s @ s_0.T)": "s @ s_0.T pairs every sample with all the others, (n, n), and its mean is a product of means; each sample belongs to its own score.",
                "-np.sum(s * s_0, axis=1)": "One number a sample came back; its mean was asked.",
            },
            step="expansion of the square",
        ),
        Exercise(
            name="by_parts",
            ask="In one dimension and for any smooth data on the line: E[s_0 s] for the model s(x) = -(x - 1)/3. A number, by parts.",
            solution="1 / 3",
            wrong={
                "-1 / 3": "This is E[s']. By parts E[s_0 s] = [p s] - E[s'].",
                "0.0": "This would be E[s_0] E[s], a product of means. By parts E[s_0 s] = [p s] - E[s'].",
                "-1.0": "This is s' with its 3 lost; and by parts E[s_0 s] = [p s] - E[s'].",
                "3.0": "E[s_0 s] = -E[s'], and s' = -1/3: divide by 3.",
                "1 / 9": "This is E[s^2] for data N(1, 1) with that s. What is asked knows nothing of the data but that p s vanishes.",
                "1.0": "s' is the slope -1/3; the 3 has got lost.",
                "1 / 6": "No 1/2 here: E[s_0 s], not half of it.",
            },
            step="cross term by parts",
            figure="parts_areas",
        ),
        Exercise(
            name="implicit_loss",
            ask="J_I = E[1/2 |s|^2 + tr ds/dx] from the score and its trace.",
            call="s, trace",
            gives="s (n, d), trace (n,) -> a number",
            inputs=lambda rng: (rng.normal(size=(6, 3)) + 0.4, rng.normal(size=6) - 0.5),
            solution="np.mean(0.5 * np.sum(s**2, axis=1) + trace)",
            terms={
                "1/2 mean |s|^2": "np.mean(0.5 * np.sum(s**2, 1))",
                "mean trace": "np.mean(trace)",
                "mean |s|": "np.mean(np.linalg.norm(s, axis=1))",
            },
            wrong={
                "np.mean(0.5 * np.sum(s**2, axis=1) - trace)": "The trace enters with a plus: the cross term has a minus, and integration by parts turns it. Yours has no minimum.",
                "np.mean(0.5 * np.sum(s**2, axis=1) + 0.5 * trace)": "The trace is halved. A 1/2 stands before the square alone.",
                "np.mean(np.sum(s**2, axis=1) + trace)": "The 1/2 before the square is missing: the minimum moves to half the true score.",
                "np.mean(0.5 * np.mean(s**2, axis=1) + trace)": "The square is averaged over dimensions and the trace is a sum: both must be sums over d.",
                "np.mean(0.5 * np.sum(s**2, axis=1) + trace / s.shape[1])": "The trace is divided by d and the square is not: both must be sums over d.",
                "np.mean(0.5 * np.sum(s**2, axis=1))": "The trace is missing: the best s would be 0 everywhere.",
                "np.mean(trace)": "The square is missing: nothing stops the trace from falling without end.",
                "np.sum(0.5 * np.sum(s**2, axis=1) + trace)": "A sum over samples; the loss is their mean.",
                "0.5 * np.sum(s**2, axis=1) + trace": "This is the loss of each sample, (n,); the loss is their mean.",
                "np.mean(0.5 * np.sum(s**2, axis=1, keepdims=True) + trace, axis=0)": "A column (n, 1) met trace (n,) and became (n, n): every sample was paired with all the others. Leave out keepdims.",
                "np.mean(np.sum(s**2, axis=1) + 2 * trace)": "This is twice the loss, Hyvarinen's other convention. Here 1/2 stands before the square and 1 before the trace.",
                "np.mean(0.5 * np.linalg.norm(s, axis=1) + trace)": "This is the norm; its square is meant.",
            },
            check=_implicit_check,
            step="explicit minus implicit is a constant",
            figure="explicit_implicit",
        ),
        Exercise(
            name="constant",
            ask="Data N(0, 4). What is J_E - J_I, for every smooth model? A number.",
            solution="1 / 8",
            wrong={
                "1 / 4": "This is E|s_0|^2; the constant is half of it.",
                "1 / 32": "4 is the variance, not the standard deviation: E|s_0|^2 = 4/16.",
                "2.0": "This is 1/2 E[x^2]. The score is squared, and s_0 = -x/4.",
                "0.0": "It is not zero: J_I(s_0) = -1/2 E|s_0|^2, while J_E(s_0) = 0.",
                "-1 / 8": "The sign: J_E is the larger one. J_I may be negative, J_E never is.",
                "1 / 2": "This is C for N(0, 1). Here s_0 = -x/4 and E[x^2] = 4.",
                "1 / 16": "s_0 squared is x^2/16, and E[x^2] = 4; the 4 has got lost, or the 1/2.",
            },
            step="explicit minus implicit is a constant",
        ),
        Exercise(
            name="minus_slip",
            ask=MINUS_ASK,
            solution=MINUS_SOLUTION,
            wrong=MINUS_WRONG,
            step="a minus in place of the plus",
        ),
        Exercise(name="boundary_slip", ask=WALL_ASK, solution=WALL_SOLUTION, wrong=WALL_WRONG, step="heavy tails"),
        Exercise(
            name="exponential_gap",
            ask="Data exponential of rate 0.7, model exponential of rate 3, so s = -3 on x > 0. What is J_E - J_I - C? A number.",
            solution="-0.7 * 3",
            wrong={
                "0.0": "It would be 0 if p s vanished at x = 0. There p(0) = 0.7 and s(0) = -3.",
                "0.7 * 3": "The sign: J_E - J_I - C = -[p s], and the lower end enters [p s] with another minus, on s(0) = -3.",
                "-0.7": "This is -p(0); it is multiplied by s(0) = -3.",
                "-3.0": "This is s(0) alone; weigh it with p(0) = 0.7.",
                "-0.7 * 3 / 2": "Not half: the 2 of the cross term undoes the 1/2 before the square.",
                "(3 - 0.7) ** 2 / 2": "This is J_E itself; J_I = 9/2 and C = 0.49/2 are to be subtracted.",
                "0.49 / 2 - 0.7 * 3": "This is J_E - J_I; the constant C = 1/2 E|s_0|^2 = 0.49/2 is to be subtracted too.",
            },
            step="exponential data",
            figure="parts_areas",
        ),
        Exercise(
            name="heavy_jump",
            ask="Student t with 3 degrees of freedom, p = c (1 + x^2/3)^-2 with c = 2/(pi sqrt 3), and s(x) = -x (1 + x^2)^(3/2). What is the jump [p s] from -infinity to +infinity? A number, four digits at least.",
            solution=FLUX,
            wrong={
                "0.0": "p goes to 0, but s grows as fast: far out p is 9 c/x^4 and s is -x^4, up to its sign.",
                "-9 * 2 / (np.pi * np.sqrt(3))": "This is one end; at the other p s goes to +9 c, and the jump is their difference.",
                "18 * 2 / (np.pi * np.sqrt(3))": "The sign: at +infinity p s is -9 c, at -infinity +9 c; the jump is right minus left.",
                "-2 * 2 / (np.pi * np.sqrt(3))": "(1 + x^2/3)^-2 goes like 9/x^4: the 3 comes out squared.",
                "-6 * 2 / (np.pi * np.sqrt(3))": "The 3 comes out squared: (1 + x^2/3)^-2 goes like 9/x^4, not 3/x^4.",
                "9 * 2 / (np.pi * np.sqrt(3))": "This is p s at the left end; the jump is right minus left.",
                "-18.0": "c = 2/(pi sqrt 3) is missing.",
                "-np.inf": "Both factors balance: p goes like 9 c/x^4 and s like x^4, so p s has a limit.",
            },
            step="heavy tails",
        ),
        Exercise(
            name="gaussian_implicit",
            ask="J_I in one dimension: data of mean m0 and variance v0, model N(m, v).",
            call="m0, v0, m, v",
            gives="numbers -> a number",
            inputs=lambda rng: (rng.normal(), rng.uniform(0.5, 2), rng.normal() + 1, rng.uniform(0.5, 2)),
            solution="(v0 + (m0 - m) ** 2) / (2 * v**2) - 1 / v",
            terms={
                "v0/(2 v^2)": "v0 / (2 * v**2)",
                "(m0 - m)^2/(2 v^2)": "(m0 - m) ** 2 / (2 * v**2)",
                "1/v": "1 / v",
                "1/v0": "1 / v0",
            },
            forms=("0.5 * v0 / v**2 + 0.5 * (m0 - m) ** 2 / v**2 - 1 / v",),
            wrong={
                "(v + (m0 - m) ** 2) / (2 * v0**2) - 1 / v0": "Data and model are exchanged: the mean is over N(m0, v0), and the score is that of N(m, v).",
                "0.5 * (v0 / v + (m0 - m) ** 2 / v - 1 + np.log(v / v0))": "This is the Kullback-Leibler divergence, which compares logarithms; score matching compares slopes.",
                "v0 / (2 * v**2) - 1 / v": "The means are missing: E(x - m)^2 = v0 + (m0 - m)^2.",
                "(v0 + (m0 - m) ** 2) / (2 * v**2) + 1 / v": "s = -(x - m)/v has the slope -1/v: the trace is negative.",
                "(v0 + (m0 - m) ** 2) / (2 * v) - 1 / v": "The score is squared: v^2 below, not v.",
                "(v0 + (m0 - m) ** 2) / v**2 - 1 / v": "The 1/2 before the square is missing.",
                "(v0 + (m0 - m) ** 2) / (2 * v**2) - 1 / (2 * v)": "The trace is halved; a 1/2 stands before the square alone.",
                "(v0 + (m0 - m) ** 2) / (2 * v**2) - 1 / v + 1 / (2 * v0)": "This is J_E: you added the constant 1/2 E|s_0|^2 = 1/(2 v0).",
                "(v0**2 + (m0 - m) ** 2) / (2 * v**2) - 1 / v": "v0 is a variance already: E(x - m)^2 = v0 + (m0 - m)^2.",
                "(v0 + (m0 - m) ** 2) / (2 * v**2)": "The trace is missing: s' = -1/v.",
            },
            step="implicit loss between Gaussians",
        ),
        Exercise(
            name="base_ten_gap",
            ask="Data N(0, 1), model N(0, 2). Somebody takes log10 in place of ln on both: s_0 and s are both multiplied by c = 1/ln 10. What is J_E - J_I - C now, C half the mean square of his s_0? A number, four digits at least.",
            solution="(1 / np.log(10) - 1) / np.log(10) * -0.5",
            wrong={
                "0.0": "By parts uses p' = p s_0, which holds for the natural logarithm alone: the cross term is -c^2 E[s_0 s], the trace c E[s'].",
                "-(1 / np.log(10) - 1) / np.log(10) * -0.5": "The sign: J_E - C holds c^2 E[s'], J_I holds c E[s'], and c^2 < c while E[s'] = -1/2.",
                "(1 / np.log(10) - 1) * -0.5": "A factor c is missing: (c^2 - c) E[s'] = (c - 1) c E[s'].",
                "(1 / np.log(10)) ** 2 * -0.5": "This is the cross term's part; J_I's trace c E[s'] is to be subtracted.",
                "(1 / np.log(10) - 1) / np.log(10)": "E[s'] = -1/2 for s = -x/2.",
                "(np.log(10) - 1) * np.log(10) * -0.5": "c = 1/ln 10, not ln 10.",
                "(1 / np.log(10) - 1) / np.log(10) * 0.5 * 0.5": "s = -x/2 has the slope -1/2; this looks like half of the answer.",
            },
            step="cross term by parts",
        ),
        Exercise(
            name="theorem_slip",
            ask=THEOREM_ASK,
            solution=THEOREM_SOLUTION,
            wrong=THEOREM_WRONG,
            step="the boundary theorem",
        ),
        Exercise(
            name="gamma_jump",
            ask="Data p(x) = x exp(-x) on x > 0, which vanishes at 0. Model s(x) = 0.5/x - 1. What is the jump [p s] from 0 to infinity? A number.",
            solution="-0.5",
            wrong={
                "0.0": "p goes to 0 at 0, but s grows as fast: p s = (0.5 - x) exp(-x).",
                "0.5": "The sign: the jump is p s at infinity, 0, minus p s at 0.",
                "-1.0": "p s = x exp(-x) (0.5/x - 1): at 0 it is 0.5.",
                "-np.inf": "s is infinite at 0, but p is 0 there: their product has a limit, x times 0.5/x.",
                "np.inf": "s is infinite at 0, but p is 0 there: their product x times 0.5/x has a limit.",
                "-0.25": "0.5 enters once: x times 0.5/x.",
            },
            step="gamma data of shape two",
            figure="parts_areas",
        ),
        Exercise(
            name="bit_probability",
            ask="Binary vectors have no derivatives; the flip of a bit takes their place, and Z drops out of the odds. From the energies of x and of x with bit i flipped: the probability of x_i as it is, given all other bits.",
            call="f, f_flipped",
            gives="each (n,) -> (n,)",
            inputs=lambda rng: (rng.normal(size=6) + 0.5, rng.normal(size=6) - 0.4),
            solution="1 / (1 + np.exp(f - f_flipped))",
            forms=("np.exp(-f) / (np.exp(-f) + np.exp(-f_flipped))",),
            wrong={
                "1 / (1 + np.exp(f_flipped - f))": "This is the probability of the flipped bit: a low energy is likely.",
                "np.exp(f_flipped - f)": "These are the odds; probability = odds / (1 + odds).",
                "np.exp(f - f_flipped)": "These are the odds of the flipped bit.",
                "np.exp(-f)": "This is not normalised over all vectors. Given the other bits only two are possible: normalise over those.",
                "f / (f + f_flipped)": "Energies are no probabilities: exp(-f) is.",
                "1 / (1 + np.exp(f + f_flipped))": "What counts is the difference of the energies.",
                "f_flipped - f": "This is the logarithm of the odds.",
                "1 / (1 + np.exp(-f))": "One energy alone says nothing: a constant added to all of them must drop out. Compare the two.",
                "1 - np.exp(f - f_flipped)": "exp(f - f_flipped) are the odds of the flipped bit, not its probability.",
            },
            step="ratio matching on binary vectors",
        ),
    ),
    counterexample=(
        "Implicit matching at a wall: exponential data of rate 0.7, models s = -b. J_I has its minimum at b = 0, which is not even a density, and J_E at 0.7.",
        """rng = np.random.default_rng(0)
x = rng.exponential(1 / 0.7, size=100_000)
for b in (0.0, 0.35, 0.7, 1.4):
    s, slope = np.full_like(x, -b), np.zeros_like(x)
    explicit, implicit = np.mean((s + 0.7) ** 2 / 2), np.mean(s**2 / 2 + slope)
    print(f"b = {b:.2f}: J_E {explicit:.4f}, J_I {implicit:.4f}, J_E - J_I - C {explicit - implicit - 0.7**2 / 2:+.4f} = -0.7 b")""",
    ),
)
