"""What examiners brought who had seen no line of the engine: each mistake by the name that says it, beside the right code, which passes."""

import re

import numpy as np
import pytest
from scipy.special import gammaln, log_ndtr, ndtr

import numpyscore as ns
from numpyscore.check.losses.names import LINEAR, SLOPE, SQUARE, WEIGHTED, Level, name_parts

ONE, MANY, SLICED, DIFFERENCES = "denoising", "multilevel_denoising", "sliced", "finite_difference_sliced"
half = lambda a: 0.5 * np.sum(a**2, axis=1)
column = lambda a: np.reshape(a, (-1, 1))
X = 0.3 + np.random.default_rng(0).standard_normal((7, 3)) * [0.5, 1.5, 3.0]


def said(report, words):
    assert report.verdict == "FAIL" and words in report.diagnosis, report


# ------------------------------------------------------------------------------- losses at the data


def sliced(curve=lambda s, J, v: np.einsum("ni,nij,nj->n", v, J, v), square=lambda s, v: half(s)):
    def loss(fn, x, v):
        s = fn.score(x)
        return np.mean(square(s, v) + curve(s, fn.jacobian(x), v))

    return loss


SLICES = {
    "the product s.J v of score and Jacobian": sliced(lambda s, J, v: np.einsum("ni,nij,nj->n", s, J, v)),
    "the squared curvature (v.J v)^2": sliced(lambda s, J, v: np.einsum("ni,nij,nj->n", v, J, v) ** 2),
    "the product of v.s and the trace": sliced(lambda s, J, v: np.sum(v * s, 1) * np.einsum("nii->n", J)),
}


@pytest.mark.parametrize("words", SLICES)
def test_products_of_score_and_jacobian_are_read(words):
    assert ns.check_loss(sliced(), objective=SLICED)
    said(ns.check_loss(SLICES[words], objective=SLICED), words)


def differences(
    dot=lambda v, gap: np.sum(v * gap, 1), square=lambda a, b: half(a + b) / 4, back=lambda x, v, rng: x - v
):
    def loss(fn, x, eps, rng):
        v = rng.choice([-1.0, 1.0], x.shape)
        a, b = fn.score(x + eps * v), fn.score(back(x, eps * v, rng))
        return np.mean(square(a, b) + dot(v, a - b) / (2 * eps))

    return loss


ENDS = {
    "no second difference": differences(back=lambda x, v, rng: x + v),
    "directions apart": differences(back=lambda x, v, rng: x - 0.05 * rng.choice([-1.0, 1.0], x.shape)),
    "no product with v": differences(dot=lambda v, gap: gap.sum(1)),
    "wrong square: the difference of the two scores": differences(square=lambda a, b: half(a - b) / 4),
}


@pytest.mark.parametrize("words", ENDS)
def test_differences_of_scores_are_read_at_their_ends(words):
    assert ns.check_loss(differences(), objective=DIFFERENCES)
    said(ns.check_loss(ENDS[words], objective=DIFFERENCES), words)


def test_what_is_averaged_over_the_batch_before_it_is_squared_lets_rows_interact():
    def loss(mean):
        def of(fn, x, lam):
            diagonal = np.einsum("nii->ni", fn.jacobian(x))
            return np.mean(half(fn.score(x)) + fn.trace(x)) + lam * mean(diagonal)

        return of

    assert ns.check_loss(loss(lambda d: np.mean(np.sum(d**2, 1))), objective="regularised")
    said(
        ns.check_loss(loss(lambda d: np.sum(d.mean(0) ** 2)), objective="regularised"),
        "rows interact: what one row adds",
    )


def test_the_weight_of_another_row_is_told():
    def loss(weight):
        def of(fn, x, h, h_prime):
            s, J = fn.score(x), np.einsum("nii->ni", fn.jacobian(x))
            return np.mean(np.sum(0.5 * weight(h) * s**2 + h * J + h_prime * s, axis=1))

        return of

    assert ns.check_loss(loss(lambda h: h), objective="generalised")
    said(
        ns.check_loss(loss(lambda h: np.roll(h, 1, axis=0)), objective="generalised"),
        "weighted by the h of the previous row",
    )
    said(
        ns.check_loss(loss(lambda h: h.mean(0) + 0 * h), objective="generalised"),
        "weighted by the mean or the sum of h over the batch",
    )


def test_a_loss_is_not_turned_if_one_of_its_terms_is_right():
    levels, turned = [Level(n, d) for n, d in ((4, 2), (6, 3), (2, 4))], -np.ones(3)
    parts = {SQUARE: np.ones(3), WEIGHTED: turned, SLOPE: turned}
    text = name_parts("generalised", parts, levels, 1e-9).diagnosis
    assert "sign of the weighted trace" in text and "sign of the derivative term" in text and "whole loss" not in text
    whole = name_parts("implicit", {SQUARE: turned, LINEAR["implicit"]: turned}, levels, 1e-9)
    assert whole.diagnosis.startswith("sign of the loss")


# ------------------------------------------------------------------------------- denoising losses


def noised(
    target=lambda e, s: -e / s, points=lambda x, s, e: x + s * e, noise=lambda x, rng: rng.standard_normal(x.shape)
):
    def loss(fn, x, sigma, rng):
        e = noise(x, rng)
        return np.mean(half(fn.score(points(x, sigma, e)) - target(e, sigma)))

    return loss


def unit(x, rng):
    z = rng.standard_normal(x.shape)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


POINTS = {
    "entries permuted": noised(target=lambda e, s: -e.T.reshape(e.shape) / s),
    "noise normalised": noised(noise=unit),
    "noise of other sizes": noised(points=lambda x, s, e: x + s * np.linspace(0.5, 1.5, x.shape[1]) * e),
}


@pytest.mark.parametrize("words", POINTS)
def test_what_became_of_the_noise_is_told(words):
    assert ns.check_loss(noised(), objective=ONE)
    said(ns.check_loss(POINTS[words], objective=ONE), words)


def test_noise_of_another_size_in_each_dimension_is_right_with_its_score_whatever_its_weights():
    def loss(fn, x, sigma, rng):
        e, f = rng.standard_normal(x.shape), sigma * np.linspace(0.5, 1.5, x.shape[1])
        return np.mean(half(f * fn.score(x + f * e) + e))

    assert ns.check_loss(loss, objective=ONE)


def test_mirrored_points_have_mirrored_targets():
    def loss(sign):
        def of(fn, x, sigma, rng):
            e = rng.standard_normal(x.shape)
            return np.mean(half(fn.score(x + sigma * e) + e / sigma) + half(fn.score(x - sigma * e) + sign * e / sigma))

        return of

    assert ns.check_loss(loss(-1), objective=ONE)
    said(ns.check_loss(loss(1), objective=ONE), "sign of some targets: at 50% of the points")


def test_noise_that_stays_beside_other_numbers_that_do_not_is_fixed():
    def loss(anew):
        def of(fn, x, rng):
            beside, t = rng.standard_normal(x.shape), column(rng.uniform(0.1, 0.9, len(x)))
            z = (rng if anew else np.random.default_rng(0)).standard_normal(x.shape) + 0 * beside
            return np.mean(half(fn((1 - t) * x + t * z, t[:, 0]) - (z - x)))

        return of

    assert ns.check_loss(loss(True), objective=MANY, predicts="velocity")
    assert ns.check_loss(loss(False), objective=MANY, predicts="velocity").name == "fixed noise"


SCHEDULE = np.sqrt(np.cumprod(1 - np.linspace(1e-3, 0.3, 20)))
TABLE = np.stack([SCHEDULE, np.sqrt(1 - SCHEDULE**2)], axis=1)


def ddpm(kernel=lambda t: TABLE[t].T):
    def loss(fn, x, t, rng):
        (c, s), e = map(column, kernel(t)), rng.standard_normal(x.shape)
        return np.mean((fn(c * x + s * e, t) - e) ** 2)

    return loss


KERNELS = {
    "1 - sqrt(alpha_bar) stands where sqrt(1 - alpha_bar) belongs": lambda t: (SCHEDULE[t], 1 - SCHEDULE[t]),
    "sigma is that of the level after": lambda t: (SCHEDULE[t], TABLE[np.minimum(t + 1, 19), 1]),
    "c is that of the level before": lambda t: (SCHEDULE[np.maximum(t - 1, 0)], TABLE[t, 1]),
    "log c is 0.25 times what it should be": lambda t: (SCHEDULE[t] ** 0.25, np.sqrt(1 - SCHEDULE[t] ** 0.5)),
    "these are those of the level before (an index that is off by one, on a geometric schedule a factor?)": lambda t: (
        TABLE[t - 1].T
    ),  # of 0 the last
    "arctan(sigma/c) is 2 times what it should be": lambda t: (2 * SCHEDULE[t] ** 2 - 1, 2 * SCHEDULE[t] * TABLE[t, 1]),
}


@pytest.mark.parametrize("words", KERNELS)
def test_what_a_kernel_is_in_place_of_the_one_that_was_said(words):
    said_levels = {"levels": TABLE, "predicts": "eps"}
    assert ns.check_loss(ddpm(), objective=MANY, **said_levels)
    said(ns.check_loss(ddpm(KERNELS[words]), objective=MANY, **said_levels), words)


def test_a_time_that_is_warped_is_that_of_another_level():
    def loss(warp):
        def of(fn, x, t, rng):
            s, e = column(warp(t)), rng.standard_normal(x.shape)
            return np.mean((fn((1 - s) * x + s * e, t) - (e - x)) ** 2)

        return of

    straight = {"kernel": lambda t: (1 - t, t), "predicts": "velocity", "objective": MANY}
    assert ns.check_loss(loss(lambda t: t), **straight)
    said(ns.check_loss(loss(lambda t: t**2), **straight), "they are those of another level")


def test_a_level_for_each_entry_is_told_also_where_it_is_made_of_normals():
    def loss(shape):
        def of(fn, x, rng):
            s = np.exp(-1 + 0.5 * rng.standard_normal(shape(x)))
            e = rng.standard_normal(x.shape)
            return np.mean(half(s * fn(x + s * e, s[:, 0]) + e))

        return of

    assert ns.check_loss(loss(lambda x: (len(x), 1)), objective=MANY, predicts="score")
    said(ns.check_loss(loss(lambda x: x.shape), objective=MANY, predicts="score"), "levels mixed")


def levelled(size=lambda s: s, outer=lambda a: a):
    def loss(fn, x, sigmas, rng):
        k, e = rng.integers(len(sigmas), size=len(x)), rng.standard_normal(x.shape)
        s = column(sigmas[k])
        return outer(np.mean(s[:, 0] ** 2 * half(fn(x + size(s) * e, sigmas[k]) + e / s)))

    return loss


def test_the_square_of_a_level_added_and_the_logarithm_of_a_loss():
    assert ns.check_loss(levelled(), objective=MANY, predicts="score")
    squared = ns.check_loss(levelled(lambda s: s**2), objective=MANY, predicts="score")
    said(squared, "the noise that is added has standard deviation sigma^2 of its level")
    said(
        ns.check_loss(levelled(outer=np.log), objective=MANY, predicts="score"), "grows with the logarithm of the score"
    )


def test_channels_that_are_summed_before_they_are_squared():
    def loss(square):
        def of(fn, x, sigma, rng):
            e = rng.standard_normal(x.shape)
            return np.mean(square(sigma * fn(x + sigma * e, sigma) + e))

        return of

    options = {"objective": ONE, "shape": (2, 3), "predicts": "score"}
    assert ns.check_loss(loss(lambda a: np.sum(a**2, axis=(1, 2))), **options)
    said(ns.check_loss(loss(lambda a: np.sum(a.sum(1) ** 2, axis=1)), **options), "sums over the entries")


def test_a_square_at_the_clean_points_of_few_rows_is_found_among_many():
    def loss(extra):
        def of(fn, x, rng):
            t = column(rng.uniform(0.01, 1, len(x)))
            c, e = np.exp(-2.5 * t**2), rng.standard_normal(x.shape)
            s = np.sqrt(1 - c**2)
            at, off = fn(c * x, s[:, 0]), fn(c * x + s * e, s[:, 0]) + e / s
            control = -2 / s[:, 0] * np.sum(e * at, 1) + extra * np.sum(at**2, 1)
            return np.mean(s[:, 0] ** 2 * (2 * half(off) + np.where(s[:, 0] < 0.3, control, 0)))

        return of

    assert ns.check_loss(loss(0), objective=MANY, model="score")
    said(ns.check_loss(loss(1), objective=MANY, model="score"), "extra term: beside the noisy points")


def test_what_the_sampler_makes_of_fn_is_compared_in_its_own_units():
    """A network behind EDM's preconditioning, its input scaled: minus the score, and one factor of the output left out."""
    sd = 0.5

    def loss(fn, x, rng):
        s = column(np.exp(-1 + 0.8 * rng.standard_normal(len(x))))
        y, root = x + s * rng.standard_normal(x.shape), np.sqrt(s**2 + sd**2)
        D = sd**2 / root**2 * y + s * sd / root * fn(y / root, s[:, 0])
        return np.mean((root / (s * sd)) ** 2 * (D - x) ** 2)

    def sampler(sign=1.0, out_of=sd):
        def score(out, y, level):
            s = column(level)
            root = np.sqrt(s**2 + sd**2)
            return sign * (sd**2 / root * y + s * out_of / root * out - y * root) / s**2

        return score

    assert ns.check_loss(loss, objective=MANY, score_of=sampler())
    assert ns.check_loss(loss, objective=MANY, score_of=sampler(-1)).name == "sign of what score_of makes of fn"
    report = ns.check_loss(loss, objective=MANY, score_of=sampler(out_of=1.0))
    said(report, "another parametrisation")
    learns, makes = (float(v) for v in re.findall(r"([-\d.]+) eps", report.diagnosis))
    assert makes == pytest.approx(learns / 2, rel=1e-3), report  # 1 in place of 1/2


# ------------------------------------------------------------------------------- scores, traces, rows, gradients


V = np.array([0.25, 1.5, 9.0])
gaussian = lambda x: 0.5 * np.sum(x**2 / V, axis=1)


def test_scores_are_told_what_they_are():
    check = lambda score, energy=gaussian: ns.check_score(score, energy=energy, x=X)
    assert check(lambda x: -x / V)
    assert check(lambda x: -x / np.sqrt(V)).name == "root of the variances"
    coarse = check(lambda x: -(x.astype(np.float16).astype(float)) / V)
    said(coarse, "it rounds x to float16")
    linear = check(lambda x: -x * [1, 2, 3], lambda x: np.log(np.cosh(x)).sum(1))
    said(linear, "linear: your score is linear in x, and the reference is not")
    huber = lambda t: lambda x: -np.where(np.abs(x) < 1, x, t * np.sign(x))
    energy = lambda x: np.where(np.abs(x) < 1, x**2 / 2, np.abs(x) - 0.5).sum(1)
    assert check(huber(1.0), energy)
    said(check(huber(2.5), energy), "exactly the entries with |x_j| > ")


def test_columns_are_permuted_also_where_two_are_each_others_negative():
    energy = lambda x: (x[:, 0] - x[:, 1]) ** 2 + x[:, 2] ** 4
    score = lambda x: np.stack([-2 * (x[:, 0] - x[:, 1]), 2 * (x[:, 0] - x[:, 1]), -4 * x[:, 2] ** 3], axis=1)
    assert ns.check_score(score, energy=energy, x=X)
    assert ns.check_score(lambda x: score(x)[:, [2, 0, 1]], energy=energy, x=X).name == "columns permuted"


def test_two_dimensions_are_not_called_exchanged():
    turned = ns.check_conservative(lambda x: np.stack([-x[:, 0] - x[:, 1], x[:, 0] - x[:, 1]], axis=1), x=X[:, :2])
    assert turned.verdict == "FAIL" and "exchanged" not in turned.diagnosis


J = np.random.default_rng(3).standard_normal((3, 3))
field = lambda x: np.tanh(x @ J.T) * x
whole = lambda x: (
    np.einsum("ni,ij,nj->nij", 1 / np.cosh(x @ J.T) ** 2 * x, J, np.ones_like(x))
    + np.tanh(x @ J.T)[:, :, None] * np.eye(3)
)


def test_traces_are_told_what_they_are():
    check = lambda trace: ns.check_trace(trace, score=field, x=X)
    curve = lambda x, v: np.einsum("ni,nij,nj->n", v, whole(x), v)
    along = lambda v: lambda x: curve(x, v(x))
    assert check(lambda x: np.einsum("nii->n", whole(x)))
    fixed = check(along(lambda x: np.random.default_rng(0).standard_normal(x.shape)))
    assert fixed.verdict == "FAIL" and fixed.name == "fixed probe"
    ours = np.random.default_rng(1)
    assert check(along(lambda x: ours.choice([-1.0, 1.0], x.shape)))
    together = check(lambda x: 0 * x[:, 0] + np.mean(along(lambda x: ours.choice([-1.0, 1.0], x.shape))(x)))
    assert together.verdict == "FAIL" and together.name == "one number for all rows"


def test_a_multiple_of_a_norm_is_no_name():
    """s = x/(1 + |x|^2): where the gate is held fixed the trace is d/(1 + |x|^2), d times the largest eigenvalue of the Jacobian."""
    gate = lambda x: 1 / (1 + np.sum(x**2, axis=1, keepdims=True))
    report = ns.check_trace(lambda x: 3 * gate(x)[:, 0], score=lambda x: x * gate(x), x=X)
    assert report.verdict == "FAIL" and "norm" not in report.name and "eigenvalue" not in report.name


def test_a_sketch_without_its_residual_is_no_mistake_of_the_directions():
    rng, A = np.random.default_rng(2), np.diag([4.0, 3.0, 1.0, 0.5]) + 0.2
    matrices = lambda x: (1 + 0.3 * np.sin(x[:, :1, None])) * A

    def trace(x):
        Q = np.linalg.qr(matrices(x) @ rng.standard_normal((len(x), 4, 2)))[0]
        return np.einsum("nik,nij,njk->n", Q, matrices(x), Q)

    score = lambda x: np.stack(
        [
            A[0, 0] * (x[:, 0] - 0.3 * np.cos(x[:, 0])),
            *((1 + 0.3 * np.sin(x[:, 0])) * x[:, k] * A[k, k] for k in (1, 2, 3)),
        ],
        axis=1,
    )
    report = ns.check_trace(trace, score=score, x=np.random.default_rng(0).standard_normal((6, 4)))
    assert report.verdict == "FAIL" and report.name != "directions not white", report


def test_rows_are_told_which_others_they_change_with():
    assert ns.check_rows(lambda x: -x, X)
    assert ns.check_rows(lambda x: -x / np.linalg.norm(x[0]), X).name == "first row"
    assert ns.check_rows(lambda x: np.cumsum(x, axis=0), X).name == "rows before"
    assert ns.check_rows(lambda x: x * np.arange(len(x))[:, None], X).name == "position"


def test_a_parameter_that_is_a_logarithm_has_a_chain_rule():
    loss = lambda theta: float(theta[0] ** 2 + np.exp(2 * theta[1]) + theta[0] * theta[2])
    right = lambda t: np.array([2 * t[0] + t[2], 2 * np.exp(2 * t[1]), t[0]])
    theta = np.array([0.7, -0.4, 1.3])
    assert ns.check_gradient(loss, right, theta)
    wrong = ns.check_gradient(loss, lambda t: right(t) * [1, np.exp(-t[1]), 1], theta)
    said(wrong, "exp(-theta)")


# ------------------------------------------------------------------------------- densities


def normal(x):
    return -0.5 * np.sum(x**2, axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi)


def test_masses_of_a_support_are_told_by_its_ends():
    a, b = -0.5, 1.0
    inside, ends = np.log(ndtr(b) - ndtr(a)), [[a, b]]
    assert ns.check_density(lambda x: normal(x) - inside, support=ends)
    said(ns.check_density(lambda x: normal(x) - log_ndtr(b), support=ends), "p integrates to 1 over x < 1")
    said(ns.check_density(lambda x: normal(x) - log_ndtr(-a), support=ends), "p integrates to 1 over x > -0.5")
    both = ns.check_density(lambda x: normal(x) - inside, support=[*ends, *ends])
    said(both, "over all x_0" if "x_0" in both.diagnosis else "over all x_1")


def test_a_gamma_function_left_out_and_rows_that_are_normalised_together():
    beta = lambda x: 2 * np.log(x[:, 0]) + 3 * np.log1p(-x[:, 0])
    whole = gammaln(7) - gammaln(3) - gammaln(4)
    assert ns.check_density(lambda x: beta(x) + whole, support=[[0, 1]])
    said(ns.check_density(lambda x: beta(x) - gammaln(3) - gammaln(4), support=[[0, 1]]), "Gamma")
    together = lambda x: normal(x) - np.logaddexp.reduce(normal(x))
    said(ns.check_density(together, dim=1), "rows depend on each other")


# ------------------------------------------------------------------------------- steps


def test_a_step_that_remembers_and_one_that_asks_elsewhere():
    kept = {}

    def stale(x, score, h, rng):
        used = kept.get(x.shape, score(x))
        kept[x.shape] = score(x)
        return x + h * used + np.sqrt(2 * h) * rng.standard_normal(x.shape)

    assert ns.check_sampler(stale).name == "state"
    mean = lambda x, score, h, rng: x + h * score(x.mean(0) + 0 * x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
    assert ns.check_sampler(mean).name == "rows mixed"


SIGMAS = np.geomspace(3, 0.2, 6)


def test_steps_down_that_return_x_0_or_use_a_noise_twice():
    ddim = lambda x, fn, s, t: x + s * (s - t) * fn(x, s)
    assert ns.check_reverse(ddim, levels=SIGMAS, kind="ddim")
    assert ns.check_reverse(lambda x, fn, s, t: x + s * s * fn(x, s), levels=SIGMAS, kind="ddim").name == "x_0 returned"

    def corrected(anew):
        def step(x, fn, s, t, rng):
            z = rng.standard_normal(x.shape)
            x = x + (s**2 - t**2) * fn(x, s) + np.sqrt(s**2 - t**2) * z
            z = rng.standard_normal(x.shape) if anew else z
            return x + 0.1 * t**2 * fn(x, t) + np.sqrt(0.2) * t * z

        return step

    assert ns.check_reverse(corrected(True), levels=SIGMAS, kind="predictor-corrector")
    assert ns.check_reverse(corrected(False), levels=SIGMAS, kind="predictor-corrector").name == "one key"


def test_two_changes_at_once_are_said_behind_the_coefficient_that_is_another():
    """DDIM written with h = log(sigma/sigma'), its sign turned in one term: one coefficient is another, and two exchanges would make it too."""
    c = np.sqrt(1 - np.linspace(0.95, 0.1, 7) ** 2)
    table = {k: (float(a), float(np.sqrt(1 - a * a))) for k, a in enumerate(c)}

    def step(sign):
        def of(x, fn, k, j):
            (a, s), (b, t) = table[k], table[j]
            h = np.log(b / t) - np.log(a / s)
            return b / a * x - t * np.expm1(sign * h) * fn(x, k)

        return of

    options = {"levels": table, "kind": "ddim", "predicts": "eps"}
    assert ns.check_reverse(step(1), **options)
    said(ns.check_reverse(step(-1), **options), "coefficient of eps")


def hamiltonian(kinetic=1.0, first=0.5, last=0.5, steps=4):
    """One step of Hamiltonian Monte Carlo whose leapfrog steps have the length sqrt(2 step)."""

    def step(x, score, h, rng, energy):
        p = rng.standard_normal(x.shape)
        start, y, length = p, x, np.sqrt(2 * h)
        for k in range(steps):
            p = p + (first if k == 0 else 1) * length * score(y)
            y = y + length * p
        p = p + last * length * score(y)
        ratio = energy(x) - energy(y) + kinetic * 0.5 * np.sum(start**2 - p**2, axis=1)
        return np.where(np.log(rng.random(len(x)))[:, None] < ratio[:, None], y, x)

    return step


def test_hamiltonian_steps_are_told_by_their_trajectories():
    options = {"discretisation": "adjusted", "n": 1000}
    assert ns.check_sampler(hamiltonian(), **options)
    said(ns.check_sampler(hamiltonian(kinetic=0.0), **options), "without the kinetic energy")
    report = ns.check_sampler(hamiltonian(last=1.0), **options)
    said(report, "leapfrog: the last step of the momentum is a whole one")
    assert "4 leapfrog steps of length sqrt(2 step)" in report.diagnosis


def test_what_a_second_examination_found():
    minus = lambda x: x[:, 0] + 2 * np.log1p(np.exp(-x[:, 0]))  # of a logistic density: exp overflows on the left
    assert ns.check_density(lambda x: -minus(x), dim=1)
    with np.errstate(over="ignore"):
        assert ns.check_density(minus, dim=1).name == "sign of log p"
    P, S = np.diag([1.0, 2.0, 0.5]) + 0.3, np.diag([2.0, 1.0, 1.5])
    loss = lambda P: np.sum(S * P) - np.linalg.slogdet(P)[1]
    right = lambda P: S - np.linalg.inv(P).T
    assert ns.check_gradient(loss, right, P)
    twice = ns.check_gradient(loss, lambda P: 2 * right(P) - np.diag(np.diag(right(P))), P)
    said(twice, "off by a factor of 2, the others are right: exactly the entries off the diagonal of the matrix")
    c = np.append(1.0, np.sqrt(np.cumprod(1 - np.linspace(0.02, 0.5, 7))))
    table = np.stack([c[1:], np.sqrt(1 - c[1:] ** 2)], axis=1)

    def step(k):
        def of(x, fn, i, j):
            (a, s), (b, t) = ((c[m + k], np.sqrt(1 - c[m + k] ** 2)) for m in (i, j))
            e = fn(x, i)
            return b * (x - s * e) / a + t * e

        return of

    options = {"levels": table, "kind": "ddim", "predicts": "eps"}
    assert ns.check_reverse(step(1), **options)
    said(
        ns.check_reverse(step(0), **options),
        "levels shifted by one: those of the step after this one, the last of them data",
    )


def test_a_loss_that_is_a_module_is_asked_for_what_its_forward_takes():
    torch = pytest.importorskip("torch")

    class Denoising(torch.nn.Module):
        def __init__(self, sign):
            super().__init__()
            self.sign = sign

        def forward(self, fn, x, sigma, noise):
            return 0.5 * ((fn(x + sigma * noise) + self.sign * noise / sigma) ** 2).sum(1).mean()

    assert ns.check_loss(Denoising(1.0), objective=ONE, wrap="torch", model="score")
    assert ns.check_loss(Denoising(-1.0), objective=ONE, wrap="torch", model="score").name == "sign of the target"


def test_points_of_a_shuffled_batch_have_targets_of_other_rows():
    def loss(order):
        def of(fn, x, sigma, rng):
            k, e = order(rng, len(x)), rng.standard_normal(x.shape)
            y = x[k] + sigma * e
            return np.mean(half(fn(y) - (x - y) / sigma**2))

        return of

    assert ns.check_loss(loss(lambda rng, n: np.arange(n)), objective=ONE, predicts="score")
    mixed = ns.check_loss(loss(lambda rng, n: np.roll(np.arange(n), 1)), objective=ONE, predicts="score")
    said(mixed, "the target of a row is made of the data x of another row")

    def of_levels(fn, x, sigmas, level, rng):
        s, e = column(sigmas[level]), rng.standard_normal(x.shape)
        y = x[rng.permutation(len(x))] + s * e
        return np.mean(half(s * (fn(y, level) + (y - x) / s**2)))

    shuffled = ns.check_loss(of_levels, objective=MANY, predicts="score")
    said(shuffled, "the target of a row is made of the data x of another row")


def test_coefficients_that_are_exchanged_and_a_level_that_is_told_alone():
    preserving = lambda swap: lambda x, s, e: (s, np.sqrt(1 - s**2))[swap] * e + (np.sqrt(1 - s**2), s)[swap] * x
    assert ns.check_loss(noised(points=preserving(0)), objective=ONE)
    said(
        ns.check_loss(noised(points=preserving(1)), objective=ONE),
        "c and sigma exchanged: x is multiplied by the sigma",
    )

    def loss(step):
        def of(fn, x, sigmas, rng):
            k, e = rng.integers(len(sigmas), size=len(x)), rng.standard_normal(x.shape)
            s, size = column(sigmas[k]), column(sigmas[np.minimum(k + step, len(sigmas) - 1)])
            return np.mean(s[:, 0] ** 2 * half(fn(x + size * e, sigmas[k]) + e / s))

        return of

    assert ns.check_loss(loss(0), objective=MANY, predicts="score")
    said(
        ns.check_loss(loss(1), objective=MANY, predicts="score"),
        "level told: fn is told number 0 of sigmas, and no point",
    )


def test_directions_with_a_metric_have_no_conversion():
    def loss(fn, x, rng):
        v = rng.random(x.shape)
        return np.mean(0.5 * np.sum(v * fn.score(x), 1) ** 2 + fn.curvature(x, v))

    report = ns.check_loss(loss, objective=SLICED)
    assert report and any("no multiple of I" in note for note in report.notes), report
    assert not any("another convention" in note for note in report.notes), report


def test_what_is_random_does_not_depend_on_other_rows():
    rng = np.random.default_rng(0)
    report = ns.check_density(lambda x: normal(x) + 0.3 * rng.standard_normal(len(x)), dim=1)
    assert not report and report.name != "rows depend on each other", report


def test_a_loss_that_takes_nothing_is_misuse():
    with pytest.raises(TypeError, match="takes 0 positional arguments"):
        ns.check_loss(lambda: 1.0, objective="implicit")
