"""What a report says is what was measured: causes that are one of several stand in a question, and right code that once looked like a mistake passes.

Each case was said something else of: the words that were untrue of it are the third entry, and must not come back.
"""

import numpy as np
import pytest

import numpyscore as ns

MANY = "multilevel_denoising"


def half_square(a, b):
    return 0.5 * np.mean(np.sum((a - b) ** 2, -1))


def embedded(t):
    return np.stack([f(2.0**k * np.pi * t) for k in range(4) for f in (np.sin, np.cos)], -1)


def said(report, verdict, words, untrue=""):
    text = str(report)
    assert report.verdict == verdict and words in text, report
    assert not untrue or untrue not in text, report


# ------------------------------------------------------------------------------- denoising losses


def conditional(fn, x, rng):
    n = len(x)
    t, y = rng.uniform(0.05, 0.95, n), rng.integers(0, 10, n)
    s, eps = t[:, None], rng.standard_normal(x.shape)
    return half_square(fn(np.sqrt(1 - s * s) * x + s * eps, embedded(t), y), eps)


def labels_first(fn, x, sigmas, level, rng):
    s, y, eps = sigmas[level][:, None], rng.integers(0, 2, len(x)), rng.standard_normal(x.shape)
    return half_square(fn(x + s * eps, y, s), eps)


def guided(fn, x, rng):
    s, eps = rng.uniform(0.1, 0.9, (len(x), 1)), rng.standard_normal(x.shape)
    return half_square(fn(x + s * eps, embedded(s[:, 0]), rng.uniform(1, 7)), eps)


def one_sigma_and_labels(fn, x, rng):
    s, y, eps = rng.uniform(0.1, 0.9), rng.integers(0, 10, len(x)), rng.standard_normal(x.shape)
    return half_square(fn(x + s * eps, embedded(np.full(len(x), s)), y), eps)


def turned(fn, x, rng):
    s, eps = rng.uniform(0.05, 0.95, (len(x), 1)), rng.standard_normal(x.shape)
    x = x * rng.choice([-1, 1], (len(x), 1))
    return half_square(fn(np.sqrt(1 - s * s) * x + s * eps, s), eps)


def masked_rows(fn, x, sigmas, level, rng):
    s, eps, m = sigmas[level][:, None], rng.standard_normal(x.shape), rng.random(len(x)) > 0.3
    return 0.5 * np.sum(m * np.sum((fn(x + s * eps, s) - eps) ** 2, -1)) / len(x)


def masked_levels(fn, x, rng):
    t, eps = rng.uniform(0.05, 0.95, len(x)), rng.standard_normal(x.shape)
    return 0.5 * np.mean((t < 0.5) * np.sum((fn(x + t[:, None] * eps, t) - eps) ** 2, 1))


def clean_rows(fn, x, rng):
    n = len(x)
    t, y = np.where(np.arange(n) % 2 == 0, rng.uniform(0.1, 0.9, n), 0), rng.integers(0, 10, n)
    return half_square(fn(x + t[:, None] * rng.standard_normal(x.shape), y, t), x)


def told_in_thousands(fn, x, rng):
    t, eps = rng.uniform(0.01, 0.99, len(x)), rng.standard_normal(x.shape)
    return half_square(fn(np.cos(t)[:, None] * x + np.sin(t)[:, None] * eps, 999 * t), eps)


def noise_level_of_wavegrad(fn, x, noise_level, rng):
    a, eps = noise_level, rng.standard_normal(x.shape)
    return half_square(fn(a * x + np.sqrt(1 - a * a) * eps, a), eps)


def antithetic(fn, x, sigma, noise):
    e = np.concatenate([noise[: len(x) // 2], -noise[: len(x) // 2]])
    return half_square(fn(x + sigma * e, sigma), -e / sigma)


KEPT = {"rng": np.random.default_rng(0)}


def in_a_dict(fn, x):
    t, eps = KEPT["rng"].uniform(0.01, 0.99, len(x)), KEPT["rng"].standard_normal(x.shape)
    return half_square(fn(np.cos(t)[:, None] * x + np.sin(t)[:, None] * eps, t), eps)


@pytest.mark.parametrize(
    "loss, options, words",
    [
        (conditional, {}, "not told the noise level in a form that was recognised"),
        (labels_first, {}, ""),
        (guided, {}, "not told the noise level in a form that was recognised"),
        (one_sigma_and_labels, {}, "not told the noise level in a form that was recognised"),
        (turned, {}, ""),
        (masked_rows, {}, "points have no weight"),
        (masked_levels, {}, "points have no weight"),
        (clean_rows, {"predicts": "x"}, ""),
        (told_in_thousands, {"kernel": lambda t: (np.cos(t), np.sin(t))}, "fn is told 999 times the level of kernel="),
        (noise_level_of_wavegrad, {"objective": "denoising"}, "if it is meant to be sigma, c and sigma are exchanged"),
        (antithetic, {"objective": "denoising", "predicts": "score"}, "rows have the noise of other rows"),
        (in_a_dict, {}, ""),
    ],
)
def test_right_denoising_losses_that_looked_wrong(loss, options, words):
    said(ns.check_loss(loss, **{"objective": MANY, "predicts": "eps"} | options), "PASS", words)


@pytest.mark.parametrize("told, verdict, words", [(lambda t: t, "PASS", ""), (np.flip, "FAIL", "in reversed order")])
def test_a_loss_may_want_a_time_for_each_row(told, verdict, words):
    def loss(fn, x, t, rng):
        a, eps = np.pi / 2 * t[:, None], rng.standard_normal(x.shape)
        return half_square(fn(np.cos(a) * x + np.sin(a) * eps, told(t)), eps)

    of = {"kernel": lambda t: (np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t))}
    said(ns.check_loss(loss, objective="denoising", predicts="eps", **of), verdict, words)


def rounded(fn, x, sigma, rng):
    x = np.round(x * 127.5) / 127.5
    eps = rng.standard_normal(x.shape)
    return half_square(fn(x + sigma * eps, sigma), -eps / sigma)


def inpainting(fn, x, sigma, rng):
    eps, m = rng.standard_normal(x.shape), rng.random(x.shape) < 0.5
    return 0.5 * np.mean(np.sum(m * (fn(np.where(m, x + sigma * eps, x)) - eps) ** 2, -1))


def swapped_entries(fn, x, rng):
    return half_square(fn(np.where(rng.random(x.shape) < 0.15, x[rng.permutation(len(x))], x)), x)


def divided_by_the_largest(fn, x, sigma, rng):
    eps = rng.standard_normal(x.shape)
    y = x + sigma * eps
    return half_square(fn(y / np.abs(y).max(1, keepdims=True)), -eps / sigma)


def random_gain(fn, x, rng):
    s, eps = rng.uniform(0.05, 0.95, (len(x), 1)), rng.standard_normal(x.shape)
    return half_square(fn(np.sqrt(1 - s * s) * x * rng.uniform(0.8, 1.2, (len(x), 1)) + s * eps, s), eps)


def relative(fn, x, rng):
    s, eps = rng.uniform(0.1, 0.9, (len(x), 1)), rng.standard_normal(x.shape)
    return half_square(fn(x + s * eps, s), eps) / np.mean(eps**2)


def mean_removed(fn, x, t, rng):
    eps = rng.standard_normal(x.shape)
    return half_square(fn((1 - t) * x + t * eps, t), x - x.mean(1, keepdims=True) + eps)


def mixed_entries(fn, x, sigma, rng):
    from scipy.fft import dct

    eps = rng.standard_normal(x.shape)
    return half_square(fn(x + sigma * eps), dct(eps, norm="ortho", axis=1))


def sum_for_difference(fn, x, t, rng):
    eps = rng.standard_normal(x.shape)
    return half_square(fn((1 - t) * x + t * eps, t), eps + x)


def drawn_twice(fn, x, sigma, seed):
    draw = lambda: np.random.default_rng(seed).standard_normal(x.shape)
    return half_square(fn(x + sigma * draw()), draw() / sigma)


def half_the_noise(fn, x, rng):
    eps = rng.standard_normal(x.shape)
    return half_square(fn(x + 0.25 * eps), -eps / 0.25)


def clipped_x0(out, y, s):
    s = s[:, None]
    c = np.sqrt(1 - s * s)
    return (c * np.clip((y - s * out) / c, -1, 1) - y) / s**2


def preserving(fn, x, sigma, rng):
    eps = rng.standard_normal(x.shape)
    return half_square(fn(np.sqrt(1 - sigma**2) * x + sigma * eps, sigma), eps)


def half_batch_size(fn, x, sigma, rng):
    eps = rng.standard_normal(x.shape)
    return half_square(fn(x + sigma**2 * eps, sigma), eps)


@pytest.mark.parametrize(
    "loss, options, verdict, words, untrue",
    [
        (rounded, {}, "INCONCLUSIVE", "transformed or rounded first", "data not used"),
        (inpainting, {"predicts": "eps"}, "INCONCLUSIVE", "have no weight in the loss (inpainting, a context?)", "the target has noise in all"),
        (swapped_entries, {"predicts": "x"}, "FAIL", "swapped between rows, masked?", "clipped points"),
        (divided_by_the_largest, {}, "FAIL", "divided by their largest", "clipped points"),
        (random_gain, {"objective": MANY, "predicts": "eps"}, "INCONCLUSIVE", "a gain of x that is drawn", "the sigma of another row, beside"),
        (relative, {"objective": MANY, "predicts": "eps"}, "INCONCLUSIVE", "one weight for a batch", "weights averaged"),
        (mean_removed, {"predicts": "velocity"}, "FAIL", "no p eps + q x of its own point", "is a function of that"),
        (mixed_entries, {"predicts": "eps"}, "FAIL", "entries mixed by a matrix or a transform", "is in it"),
        (sum_for_difference, {"predicts": "velocity"}, "FAIL", "sign of one term of the target", "a factor that changes with it is missing"),
        (drawn_twice, {"predicts": "score"}, "FAIL", "sign of the target", "one key"),
        (half_the_noise, {"sigma": 0.5}, "FAIL", "or half of it?", "(its square: a variance"),
        (preserving, {"score_of": clipped_x0}, "INCONCLUSIVE", "score_of is not affine in what fn says", "score_of makes the score of"),
        (half_batch_size, {"predicts": "eps"}, "PASS", "the noise that is added has standard deviation sigma^2", ""),
    ],
)  # fmt: skip
def test_denoising_losses_are_said_what_was_seen(loss, options, verdict, words, untrue):
    said(ns.check_loss(loss, **{"objective": "denoising"} | options), verdict, words, untrue)


# ------------------------------------------------------------------------------- other losses


def traced(fn, x):
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + fn.trace(x))


def of_three(fn, x):
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + np.einsum("nii->n", fn.jacobian(x)[:, :3, :3]))


def hyvarinen(fn, x):
    s, J = fn.score(x), np.einsum("nii->ni", fn.jacobian(x))
    return np.mean(np.sum(0.5 * x**2 * s**2 + 2 * x * s + x**2 * J, 1))


def weighted_dimensions(fn, x):
    w = np.arange(1.0, x.shape[1] + 1)
    return np.mean(0.5 * fn.score(x) ** 2 @ w + np.einsum("nii,i->n", fn.jacobian(x), w))


def weighted_trace(fn, x):
    w = np.arange(1.0, x.shape[1] + 1)
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + np.einsum("nii,i->n", fn.jacobian(x), w))


def in_parts(fn, x):
    square, trace = np.mean(0.5 * np.sum(fn.score(x) ** 2, 1)), np.mean(fn.trace(x))
    return {"square": square, "trace": trace, "total": square + trace}


def shared_signs(fn, x, rng):
    v = rng.choice([-1.0, 1.0], (1, x.shape[1])) + 0 * x
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + fn.curvature(x, v))


def two_sides(fn, x, rng, M=4):
    u, v = rng.standard_normal((2, M, *x.shape))
    curves = [np.einsum("ni,nij,nj->n", a, fn.jacobian(x), b) for a, b in zip(u, v, strict=True)]
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1)) + np.mean(curves)


def antithetic_directions(fn, x, rng):
    v = rng.standard_normal((len(x) // 2, x.shape[1]))
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + fn.curvature(x, np.concatenate([v, -v])))


def on_some_rows(fn, x, rng):
    v, k = rng.standard_normal(x.shape), rng.integers(0, len(x), 3)
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1)) + np.mean(fn.curvature(x[k], v[k]))


def own_directions(fn, x, v):
    return np.mean(
        0.5 * np.sum(fn.score(x) ** 2, 1) + fn.curvature(x, np.random.default_rng().standard_normal(x.shape))
    )


def uniform_moves(fn, x, eps, rng):
    v = rng.random(x.shape)
    s, ahead = fn.score(x), fn.score(x + eps * v)
    return np.mean(0.5 * np.sum(s**2, 1) + np.sum(v * (ahead - s), 1) / eps)


def normal_moves(fn, x, eps, rng):
    v = rng.standard_normal(x.shape)
    s, ahead = fn.score(x), fn.score(x + eps * v)
    return np.mean(0.5 * np.sum(s**2, 1) + np.sum(v * (ahead - s), 1) / eps)


def no_moves(fn, x, rng):
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + fn.curvature(x, rng.standard_normal(x.shape)))


def longer_step(fn, x, eps, rng):
    h, v = 10 * eps, rng.standard_normal(x.shape)
    p, m, o = fn.energy(x + h * v), fn.energy(x - h * v), fn.energy(x)
    return np.mean((p - m) ** 2 / (8 * h**2) - (p + m - 2 * o) / h**2)


def fourth_order(fn, x, eps, rng):
    v = rng.standard_normal(x.shape)
    E = lambda k: fn.energy(x + k * eps * v)
    first, second = E(1) + E(-1) - 2 * E(0), E(2) + E(-2) - 2 * E(0)
    return np.mean((E(1) - E(-1)) ** 2 / (8 * eps**2) - (4 * first / 3 - second / 12) / eps**2)


def jittered(fn, x, rng):
    return traced(fn, x + 1e-3 * rng.standard_normal(x.shape))


def weights_of_rows(fn, x, target):
    return np.mean(np.exp(-np.sum(x**2, 1)) * np.sum((fn.score(x) - target) ** 2, 1))


def outliers_masked(fn, x):
    return np.mean((0.5 * np.sum(fn.score(x) ** 2, 1) + fn.trace(x))[np.all(np.abs(x) < 2.5, axis=1)])


def importance_weights(fn, x):
    w = np.exp(-0.3 * np.sum(np.abs(x), 1))
    return np.sum(w * (0.5 * np.sum(fn.score(x) ** 2, 1) + fn.trace(x))) / np.sum(w)


def minus_trace(fn, x):
    return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) - fn.trace(x))


@pytest.mark.parametrize(
    "loss, options, verdict, words, untrue",
    [
        (of_three, {}, "FAIL", "right for batches of 4 x 2, 6 x 3, 8 x 3, 6 x 2 numbers, and not for 2 x 4", "function of the loss"),
        (hyvarinen, {"objective": "generalised"}, "INCONCLUSIVE", "say weight=(h, h')", "wrong square"),
        (weighted_dimensions, {}, "PASS", "a positive definite metric", "where its diagonal is wanted"),
        (weighted_trace, {}, "FAIL", "its diagonal with other weights", "where its diagonal is wanted"),
        (in_parts, {}, "PASS", "its entry 'total' was checked", ""),
        (traced, {"objective": "sliced"}, "PASS", "it has the trace itself, along no directions", "right for a test, not for training"),
        (shared_signs, {"objective": "sliced", "rng": 1}, "FAIL", "shared probe", "fixed directions"),
        (two_sides, {"objective": "sliced"}, "FAIL", "two directions", "averages to nothing"),
        (antithetic_directions, {"objective": "sliced"}, "PASS", "not numbers that were heard", "shared probe"),
        (on_some_rows, {"objective": "sliced"}, "INCONCLUSIVE", "some of the rows alone", "not isotropic"),
        (own_directions, {"objective": "sliced"}, "PASS", "are not used: it draws its own", "wrong axes"),
        (uniform_moves, {"objective": "finite_difference_sliced"}, "FAIL", "directions not isotropic", ""),
        (normal_moves, {"objective": "finite_difference_sliced"}, "PASS", "", "directions"),
        (no_moves, {"objective": "finite_difference_sliced"}, "INCONCLUSIVE", "say objective='sliced'", "kinks"),
        (longer_step, {"objective": "finite_difference_sliced"}, "PASS", "", "long step"),
        (fourth_order, {"objective": "finite_difference_sliced"}, "INCONCLUSIVE", "a difference of higher order", "function of the loss"),
        (jittered, {"model": "score"}, "FAIL", "other points", "no product with v"),
        (weights_of_rows, {"objective": "explicit"}, "PASS", "weights of their own", "weights at one term"),
        (outliers_masked, {}, "FAIL", "left out by their x", "is never used"),
        (importance_weights, {}, "INCONCLUSIVE", "right for importance weights", ""),
        (minus_trace, {"model": "energy"}, "FAIL", "or is fn log p in your loss?", ""),
    ],
)  # fmt: skip
def test_other_losses_are_said_what_was_seen(loss, options, verdict, words, untrue):
    said(ns.check_loss(loss, **{"objective": "implicit"} | options), verdict, words, untrue)


# ------------------------------------------------------------------------------- scores, traces, densities, gradients

X, W = np.random.default_rng(0).standard_normal((8, 3)), np.random.default_rng(1).standard_normal((3, 5))
QUARTIC = {"energy": lambda x: 0.25 * (x**4).sum(1), "x": X}
MU, VAR = np.array([0.5, -0.2, 1]), np.array([0.5, 2.0, 1.3])
COV = np.array([[2.0, 0.6], [0.6, 1.0]])
NORMAL = lambda x: -0.5 * np.einsum("ni,ij,nj->n", x, np.linalg.inv(COV), x)


def of_positive(score):
    def checked(x):
        if (x <= 0).any():
            raise ValueError("x must be positive")
        return score(x)

    return checked


POSITIVE = np.random.default_rng(2).gamma(3.0, size=(8, 1))


class Accumulated:
    out = 0.0

    def __call__(self, x):
        self.out = (self.out if np.shape(self.out) == x.shape else 0.0) - x**3
        return self.out


@pytest.mark.parametrize(
    "score, options, verdict, words, untrue",
    [
        (lambda x: -x / 0.49, {"logpdf": lambda x: -((x - MU) ** 2).sum(1) / 0.98}, "FAIL", "plus a constant vector", "the energy is not used"),
        (lambda x: -x, {"energy": lambda x: 0.5 * (x**2).sum(1) + 0.1 * (x**2).sum(1) ** 2}, "FAIL", "terms that are left out", "whatever the energy is"),
        (lambda x: -(x - MU) / VAR**2, {"logpdf": lambda x: -0.5 * ((x - MU) ** 2 / VAR).sum(1)}, "FAIL", "a variance given as a standard deviation", ""),
        (lambda x: -x @ np.array([[1.0, 0.6], [0.6, 2.0]]) / np.linalg.det(COV), {"logpdf": NORMAL, "x": X[:, :2]}, "FAIL", "signs of the correlations", "matrices in another order:"),
        (lambda x: x - 0.25 * x**3, QUARTIC, "FAIL", "the denoised x + sigma^2 s", "a sum over the batch"),
        (lambda x: np.minimum(-(x**3), 0.3), QUARTIC, "FAIL", "entries above 0.3 are clipped to it", "clipped to ["),
        (lambda x: -(x**3) * 4.11e-21, QUARTIC, "FAIL", "4.11e-21 times the reference (other units", "zero everywhere"),
        (lambda x: X, QUARTIC, "FAIL", "a fixed array", "an earlier call"),
        (Accumulated(), QUARTIC, "FAIL", "a buffer that is not cleared", ""),
        (lambda x: -(x**3) * 8 / len(x), QUARTIC, "FAIL", "1/n", ""),
        (lambda x: -(x**3), {"energy": lambda x: 0.25 * (x**4).sum(1) - 0.25 * (x**4).sum(1).min()}, "INCONCLUSIVE", "a minimum, a mean or a sum over the batch", ""),
        (of_positive(lambda x: 2 / x - np.sqrt(x)), {"logpdf": lambda x: np.where(x > 0, 2 * np.log(np.abs(x)) - x, -np.inf)[:, 0], "x": POSITIVE}, "FAIL", "another energy", "with fewer rows"),
        (lambda x: -(x**3), QUARTIC | {"x": np.ones((4, 3))}, "PASS", "all rows of x are equal", ""),
    ],
)  # fmt: skip
def test_scores_are_said_what_was_seen(score, options, verdict, words, untrue):
    said(ns.check_score(score, **{"x": X} | options), verdict, words, untrue)


def jacobian(x):
    return -np.einsum("ik,nk,jk->nij", W, 1 - np.tanh(x @ W) ** 2, W) - 0.3 * np.eye(3)


def along(x, rng, times=1.0, take=np.sum):
    v = rng.choice([-1.0, 1.0], x.shape)
    return times * take(v * np.einsum("nij,nj->ni", jacobian(x), v), -1)


class Total:
    kept: dict = {}  # noqa: RUF012

    def __call__(self, x):
        self.kept[len(x)] = self.kept.get(len(x), 0) + np.trace(jacobian(x), axis1=1, axis2=2)
        return self.kept[len(x)].copy()


@pytest.mark.parametrize(
    "trace, words, untrue",
    [
        (lambda x, rng: along(x, rng, take=np.mean), "averaged over the dimensions", "unit-length directions:"),
        (lambda x, rng: along(x, rng, 2.0), "a factor of the loss", "summed over probes"),
        (Total(), "each call adds to what the calls before returned", "probes"),
        (lambda x, rng: along(x, rng)[0] + np.zeros(len(x)), "one row's number for all?", "it is summed"),
    ],
)
def test_traces_are_said_what_was_seen(trace, words, untrue):
    score = lambda x: -np.tanh(x @ W) @ W.T - 0.3 * x
    said(ns.check_trace(trace, score=score, x=X), "FAIL", words, untrue)


@pytest.mark.parametrize("wrap", [np.pi, None])
def test_a_score_that_jumps_and_one_with_a_pole(wrap):
    if wrap:
        image = lambda x: -((x + wrap) % (2 * wrap) - wrap)
        x = np.random.default_rng(0).uniform(-3, 6, (8, 2))
        said(ns.check_trace(lambda x: -2 + 0 * x[:, 0], score=image, x=x), "FAIL", "a minimum image", "use a smooth")
    else:
        x = np.array([[-2.0], [-1.1], [-0.4], [0.5], [1.2], [2.2]])
        said(ns.check_trace(lambda x: (-2 / x**2 - 1)[:, 0], score=lambda x: 2 / x - x, x=x), "PASS", "")


def test_rows_are_said_what_was_seen():
    x = X
    said(
        ns.check_rows(lambda x: -x[: len(x) // 8 * 8], x),
        "FAIL",
        "a last chunk that is dropped",
        "rows and dimensions are mixed up",
    )
    said(ns.check_rows(lambda x: -x.reshape(8, 3), x), "FAIL", "with the first 4 of them it raises")
    said(ns.check_rows(of_positive(lambda x: 2 / x - 1), POSITIVE), "PASS", "")
    said(ns.check_rows(lambda x: (x**2).sum(1) - (x**2).sum(1)[-1], x), "FAIL", "rows mixed", "rows left out")
    for k in range(4):
        said(ns.check_rows(lambda x: np.cumsum(x, 0), x[:3], rng=k), "FAIL", "rows before", "batch statistics")
    hidden = lambda x: (h := x @ W) - h.mean(0)
    said(ns.check_conservative(lambda x: -np.tanh(hidden(x)) @ W.T, x=x), "FAIL", "batch statistics")
    turned = lambda x: -np.tanh(hidden(x)) @ W.T @ np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    said(ns.check_conservative(turned, x=x, claimed=False), "FAIL", "batch statistics")


def test_gradients_are_said_what_was_seen():
    rng = np.random.default_rng(0)
    t, c = np.abs(rng.standard_normal(6)) + 0.1, rng.standard_normal(6)
    loss, gradient = lambda t: 0.5 * ((t - c) ** 2).sum() + 0.1 * (t**4).sum(), lambda t: t - c + 0.4 * t**3
    said(ns.check_gradient(loss, gradient(t) + np.tanh(t), t), "FAIL", "a function of theta, and no array", "stale")
    said(
        ns.check_gradient(loss, lambda t: gradient(t) - gradient(t).mean(), t),
        "FAIL",
        "their mean is subtracted",
        "depend on each other",
    )
    said(ns.check_gradient(loss, lambda t: t * gradient(t), t), "FAIL", "the gradient in log theta", "the score of log")
    linear, A = rng.standard_normal(6), np.diag(np.arange(1.0, 7))
    said(
        ns.check_gradient(lambda t: 0.5 * t @ A @ t + linear @ t, lambda t: linear + 0 * t, t),
        "FAIL",
        "those of degree 2 are missing",
        "stale:",
    )
    said(ns.check_gradient(loss, lambda t: 0.1 * gradient(t), t), "FAIL", "1/10", "1/n times")
    deviations = np.array([0.3, 0.5, 1.0, 2.0])
    likelihood = of_positive(lambda s: (np.log(s) + 0.5 / s**2).sum())
    said(ns.check_gradient(likelihood, lambda s: 1 / s - 1 / s**3, deviations), "PASS", "")
    said(ns.check_gradient(loss, gradient, 0 * t), "PASS", "theta is 0")


def test_densities_are_said_what_was_seen():
    from scipy import stats
    from scipy.special import gammaln

    circle = lambda x: 2 * np.cos(x[:, 0]) - np.log(2 * np.pi * np.i0(2))
    said(ns.check_density(circle, dim=1), "FAIL", "then give support=?", "sign of log p")
    exponent = lambda x: (2.5 * np.log(x) - x - gammaln(2.5))[:, 0]
    said(
        ns.check_density(exponent, support=[[0, np.inf]]),
        "FAIL",
        "an exponent that is off by one?",
        "integrates to 1 only",
    )
    p = stats.multivariate_normal(np.zeros(2), COV)
    said(ns.check_density(lambda x: p.logpdf(x) / 2, dim=2), "FAIL", "at a temperature?", "so log p is")
    said(ns.check_density(lambda x: -(x**2).sum(1) - np.log(2 * np.pi), dim=2), "FAIL", "the exponent is wrong, a 1/2")
    said(ns.check_density(stats.multivariate_t(df=0.5, shape=np.eye(2)).logpdf, dim=2), "PASS", "")
    said(ns.check_density(stats.gamma(3)), "PASS", "")


# ------------------------------------------------------------------------------- samplers

LADDER = [5.0, 3.0, 2.0, 1.0, 0.5]
FLOW = {"levels": LADDER, "kind": "ddim", "predicts": "eps", "n": 4000}


def noise(x, rng):
    return rng.standard_normal(x.shape)


def rescaled(x, fn, s, t):
    e = fn(x, s)
    g = e + 7.5 * (e - fn(x, s))
    return x + (t - s) * g * e.std(1, keepdims=True) / g.std(1, keepdims=True)


def in_one_batch(x, fn, s, t):
    e, c = np.split(fn(np.concatenate([x, x]), s), 2)
    return x + (t - s) * (e + 3 * (c - e))


class Multistep:
    """DPM-Solver++(2M)."""

    old = None

    def __call__(self, x, fn, s, t):
        x0, h = x - s * fn(x, s), np.log(s / t)
        fresh = self.old is None or self.old[0].shape != x.shape
        D = x0 if fresh else x0 + (x0 - self.old[0]) * h / (2 * self.old[1])
        self.old = x0, h
        return t / s * x - np.expm1(-h) * D


def two_steps(x, fn, s, rng):
    for _ in range(2):
        x = x + 0.025 * s**2 * fn(x, s) + np.sqrt(0.1) * s * noise(x, rng)
    return x


ALPHAS = np.cumprod(1 - np.linspace(0.01, 0.3, 12))
TABLE = {i: (np.sqrt(a), np.sqrt(1 - a)) for i, a in enumerate(ALPHAS)}


def learnt_variance(x, fn, t, rng):
    beta = 1 - ALPHAS[t] / ALPHAS[t - 1]
    var = beta * np.sqrt((1 - ALPHAS[t - 1]) / (1 - ALPHAS[t]))
    return (x - beta / np.sqrt(1 - ALPHAS[t]) * fn(x, t)) / np.sqrt(1 - beta) + np.sqrt(var) * noise(x, rng)


def last_without_noise(x, fn, t, rng):
    beta = 1 - ALPHAS[t] / (ALPHAS[t - 1] if t else 1.0)
    mean = (x - beta / np.sqrt(1 - ALPHAS[t]) * fn(x, t)) / np.sqrt(1 - beta)
    return mean + np.sqrt(beta) * noise(x, rng) * (t > 0)


DOWN = lambda x, fn, s, t, rng: x + (s**2 - t**2) * fn(x, s) + t / s * np.sqrt(s**2 - t**2) * noise(x, rng)
TWINS = lambda x, rng: np.tile(rng.standard_normal((len(x) // 2, x.shape[1])), (2, 1))


@pytest.mark.parametrize(
    "step, options, verdict, words, untrue",
    [
        (lambda x, fn, s, t: x + (t - s) * fn(x, s)[0], {}, "FAIL", "answers in other places", ""),
        (lambda x, fn, s, t: x + (t - s) * fn(x, s).mean(), {}, "FAIL", "answers in other places", ""),
        (lambda x, fn, s, t: x + (t - s) * fn(x, s)[:, ::-1], {}, "FAIL", "answers in other places", ""),
        (lambda x, fn, s, t: x + (t - s) * fn(x, s), {}, "PASS", "this is DDIM", ""),
        (rescaled, {}, "PASS", "this is DDIM", "not finite"),
        (in_one_batch, {}, "PASS", "this is DDIM", ""),
        (Multistep(), {"kind": None}, "PASS", "a multistep method", "coefficients could not"),
        (lambda x, fn, s, t: (x + (t - s) * fn(x, s) + 1) / 2, {}, "FAIL", "constant: beside x and the score the step adds [0.5 0.5]", "repeated noise"),
        (lambda x, fn, s, t, rng: (fn(x, s), x + np.sqrt(s**2 - t**2) * noise(x, rng))[1], {"kind": "euler"}, "FAIL", "its factor is 0", "(a cache)"),
        (two_steps, {"kind": "annealed", "predicts": "score"}, "FAIL", "one z for all of them, or a factor sqrt(2) too much?", "draw it anew"),
        (lambda x, fn, s, t: x + (s**2 - t**2) * fn(x, s), {"kind": None, "predicts": "score"}, "FAIL", "drift doubled", ""),
        (lambda x, fn, s, t: x - 0.1 * s**2 * fn(x, s), {"kind": "annealed", "predicts": "score"}, "FAIL", "runs down from the mode", "gradient ascent"),
        (lambda x, fn, s, rng: x + 0.1 * s**2 * fn(x, s) + np.sqrt(0.2) * s * noise(x, rng), {"kind": "annealed"}, "FAIL", "the step takes it for score", "sign of the drift"),
        (lambda x, fn, s, t: x + 0.1 * fn(x, s), {"levels": [5.0, 4, 3, 2, 1], "predicts": "score"}, "FAIL", "and the right one is not", "not equally far apart"),
        (learnt_variance, {"levels": TABLE, "kind": "ancestral"}, "PASS", "between that of the posterior and beta", ""),
        (last_without_noise, {"levels": {-1: (1.0, 0.0)} | TABLE, "kind": "ancestral"}, "PASS", "forward variance beta", ""),
        (DOWN, {"kind": "heun", "predicts": "score"}, "FAIL", "not a step of kind 'heun'", ""),
        (lambda x, fn, s, t, rng: x + (s**2 - t**2) * fn(x, s) + t / s * np.sqrt(s**2 - t**2) * TWINS(x, rng), {"kind": "ancestral", "predicts": "score"}, "FAIL", "get the noise of another one", ""),
        (lambda x, fn, s, t: x + (s - t) * fn(x, s), {"levels": {s: (1 - s, s) for s in (0.9, 0.7, 0.5, 0.3, 0.1)}, "predicts": "velocity"}, "FAIL", "sign of velocity", ""),
    ],
)  # fmt: skip
def test_steps_down_are_said_what_was_seen(step, options, verdict, words, untrue):
    said(ns.check_reverse(step, **FLOW | options), verdict, words, untrue)


P = np.array([1, 0.25])
Z = lambda x, h, rng: np.sqrt(2 * h) * noise(x, rng)


def five(x, score, h, rng, P=1.0, root=2.0):
    for _ in range(5):
        x = x + h * P * score(x) + np.sqrt(root * h * P) * noise(x, rng)
    return x


def projected(x, score, energy, step_size, rng):
    h = step_size
    y = np.maximum(x + h * score(x) + Z(x, h, rng), 0)
    q = lambda a, b: -((b - a - h * score(a)) ** 2).sum(1) / (4 * h)
    accept = np.log(rng.random(len(x))) < energy(x) - energy(y) + q(y, x) - q(x, y)
    return np.where(accept[:, None], y, x)


def in_five_dimensions(x, score, energy, step_size, rng):
    M, h = np.array([1, 0.5, 0.8, 1, 0.3]), step_size
    y = x + h * score(x) * M + np.sqrt(2 * h * M) * noise(x, rng)
    q = lambda a, b: -((b - a - h * score(a) * M) ** 2 / M).sum(1) / (4 * h)
    accept = np.log(rng.random(len(x))) < energy(x) - energy(y) + q(y, x) - q(x, y)
    return np.where(accept[:, None], y, x)


ADJUSTED = {"discretisation": "adjusted"}


@pytest.mark.parametrize(
    "step, options, verdict, words, untrue",
    [
        (lambda x, score, h, rng: x + 0 * Z(x, h, rng), {}, "FAIL", "no step", "gradient ascent"),
        (lambda x, score, h: x - h * score(x), {}, "FAIL", "runs down from the mode", "gradient ascent"),
        (lambda x, score, h, rng: x + h * score(x)[:, ::-1] + Z(x, h, rng), {}, "FAIL", "coordinates exchanged", "random walk"),
        (lambda x, score, h, rng: x + h * score(x) * [1, -1] + Z(x, h, rng), {}, "FAIL", "dimension 1 of a chain moves away", "random walk"),
        (lambda x, score, h, rng: five(x, score, h, rng, P), {}, "PASS", "preconditioned", "temperature"),
        (lambda x, score, h, rng: five(x, score, h, rng, P, 3.0), {}, "FAIL", "noise of a preconditioned step", ""),
        (lambda x, score, h, rng: five(x, score, h, rng, root=1.0), {}, "FAIL", "0.5 times the variance of a step with the law of Euler's step", "instead of 2.12"),
        (lambda x, score, h, rng: x + h * (score(x) + [0, 0.5]) + Z(x, h, rng), {}, "FAIL", "in dimension 1", ""),
        (lambda x, score, h, rng: x + h * score(x) + np.sqrt(2 * h) * TWINS(x, rng), {}, "FAIL", "50% of the chains get the noise of another one", ""),
        (projected, ADJUSTED, "FAIL", "points that are clipped, projected", "must leave the chain at x."),
        (in_five_dimensions, ADJUSTED | {"dim": 5, "n": 4000}, "PASS", "", ""),
        (lambda x, score, step_size: x + step_size * score(x), ADJUSTED, "FAIL", "gradient ascent on log p", "shared noise"),
    ],
)  # fmt: skip
def test_samplers_are_said_what_was_seen(step, options, verdict, words, untrue):
    said(ns.check_sampler(step, **options), verdict, words, untrue)


def test_a_sentence_that_is_untrue_would_be_seen():
    """The negative control: `said` of a report with other words, or with one that must not be there."""
    report = ns.check_score(lambda x: x**3, **QUARTIC)
    with pytest.raises(AssertionError):
        said(report, "FAIL", "another energy")
    with pytest.raises(AssertionError):
        said(report, "FAIL", "sign", untrue="grad E")
