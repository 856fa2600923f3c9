"""What a second pair of examiners brought: code that keeps something, shares something, or is wrong by a formula, beside the right code, which passes."""

import numpy as np
import pytest

import numpyscore as ns

half = lambda a: 0.5 * np.sum(a**2, axis=1)
column = lambda a: np.reshape(a, (-1, 1))
X = 0.3 + np.random.default_rng(0).standard_normal((7, 3)) * [0.5, 1.5, 1.0]


def said(report, words):
    assert report.verdict == "FAIL" and words in report.diagnosis, report


# ------------------------------------------------------------------------------- what is kept from call to call


class Kept:
    """A function of points with something made of them once for each number of rows."""

    def __init__(self, kept, function, key=np.shape):
        self.kept, self.function, self.key, self.had = kept, function, key, {}

    def __call__(self, x):
        return self.function(x, self.had.setdefault(self.key(x), self.kept(x)))


def test_a_part_that_is_kept_for_each_shape_is_told():
    weights = lambda x: np.tanh(x)
    score = lambda x, w: -x - w
    energy = lambda x: half(x) + np.log(np.cosh(x)).sum(1)
    assert ns.check_score(lambda x: score(x, weights(x)), energy=energy, x=X)
    said(
        ns.check_score(Kept(weights, score), energy=energy, x=X),
        "state: a part of the result is that of an earlier call",
    )


def test_a_gradient_that_adds_to_what_it_returned_before_is_told():
    theta, sum_of = np.array([0.5, -1.0, 2.0]), []

    def gradient(theta):
        sum_of.append(2 * theta)
        return 3 * theta + sum(sum_of)

    assert ns.check_gradient(lambda t: np.sum(t**2), lambda t: 2 * t, theta)
    said(ns.check_gradient(lambda t: np.sum(t**2), gradient, theta), "accumulated gradient: each call adds")


def test_a_running_mean_of_gradients_is_a_state():
    kept = [np.zeros(3)]

    def gradient(theta):
        kept.append(0.9 * kept[-1] + 0.2 * theta)
        return kept[-1]

    theta = np.array([0.5, -1.0, 2.0])
    said(
        ns.check_gradient(lambda t: np.sum(t**2), gradient, theta),
        "state: each call gives another result for the same theta",
    )


def projected(directions):
    def loss(fn, x, rng):
        v = directions(x, rng)
        return np.mean(0.5 * np.sum(v * fn.score(x), 1) ** 2 + fn.curvature(x, v))

    return loss


def test_directions_that_are_kept_are_told_though_others_are_drawn():
    kept: dict = {}
    draw = lambda x, rng: rng.standard_normal(x.shape)
    fresh = ns.check_loss(projected(draw), objective="sliced")
    stale = ns.check_loss(projected(lambda x, rng: kept.setdefault(x.shape, draw(x, rng))), objective="sliced")
    same = "the same in every call"
    assert fresh and stale and not any(same in n for n in fresh.notes) and any(same in n for n in stale.notes), stale


def cosine(t):
    return np.cos(np.pi / 2 * t), np.sin(np.pi / 2 * t)


def denoised(told=lambda self, t: t, kernel=cosine, of=None, at=lambda t: t):
    class Loss:
        last = None

        def __call__(self, fn, x, rng):
            t = rng.uniform(0.05, 0.95, len(x))
            c, s = (column(a) for a in kernel(at(t)))
            eps = rng.standard_normal(x.shape)
            say = told(self, t)
            self.last = t
            return np.mean(np.sum((fn(c * x + s * eps, say) - eps) ** 2, axis=1))

    return Loss()


COSINE = {"objective": "denoising", "kernel": cosine, "predicts": "eps"}


def test_a_level_of_the_call_before_is_told():
    before = lambda self, t: t if self.last is None or len(self.last) != len(t) else self.last
    assert ns.check_loss(denoised(), **COSINE)
    said(ns.check_loss(denoised(told=before), **COSINE), "state: after another call, with other levels")


def test_levels_of_the_first_call_are_told():
    first: dict = {}
    kept = lambda self, t: first.setdefault(len(t), t)
    said(ns.check_loss(denoised(told=kept), **COSINE), "state: another seed gives the points other levels")


def test_one_number_at_all_levels_is_noted():
    one_time = lambda fn, x, t, noise, told: np.mean(
        np.sum((fn(cosine(t)[0] * x + cosine(t)[1] * noise, told(t)) - noise) ** 2, 1)
    )
    right = ns.check_loss(lambda fn, x, t, noise: one_time(fn, x, t, noise, lambda t: t), **COSINE)
    cut = ns.check_loss(lambda fn, x, t, noise: one_time(fn, x, t, noise, int), **COSINE)
    words = "the numbers that fn is told are the same at every level"
    assert right and cut and not any(words in n for n in right.notes) and any(words in n for n in cut.notes), cut


def test_a_schedule_that_is_changed_in_place_is_a_state():
    table = np.stack(cosine(np.linspace(0.1, 0.9, 9)), axis=1)

    def loss(change):
        a = np.linspace(0.99, 0.9, 9)
        alphas = np.cumprod(a)

        def of(fn, x, t, noise):
            if change:
                np.cumprod(a, out=a)
            k = np.ravel(t)
            bar = column((a if change else alphas)[k])
            return np.mean(np.sum((fn(np.sqrt(bar) * x + np.sqrt(1 - bar) * noise, t) - noise) ** 2, 1))

        return of

    bar = np.cumprod(np.linspace(0.99, 0.9, 9))
    table = np.stack([np.sqrt(bar), np.sqrt(1 - bar)], axis=1)
    options = {"objective": "denoising", "levels": table, "predicts": "eps"}
    assert ns.check_loss(loss(False), **options)
    said(ns.check_loss(loss(True), **options), "state: the same call")


# ------------------------------------------------------------------------------- levels and weights of others


LEVELS = {  # how the time of the points is changed, and what is said
    "they are those of the levels of other rows of the batch": lambda t: np.roll(t, 1),
    "all rows have the c and sigma of one level, that of the first row": lambda t: t[0] + 0 * t,
    "all rows have the c and sigma of one level, the mean over the batch": lambda t: t.mean() + 0 * t,
}


@pytest.mark.parametrize("words", LEVELS)
def test_points_of_the_levels_of_other_rows_are_told(words):
    said(ns.check_loss(denoised(at=LEVELS[words]), **COSINE), words)


def test_a_root_of_one_less_c_is_told():
    vp = lambda t: (np.exp(-t), np.sqrt(1 - np.exp(-2 * t)))
    options = COSINE | {"kernel": vp}
    assert ns.check_loss(denoised(kernel=vp), **options)
    said(
        ns.check_loss(denoised(kernel=lambda t: (np.exp(-t), np.sqrt(1 - np.exp(-t)))), **options),
        "sigma is sqrt(1 - c)",
    )


def generalised(of=lambda h: h, square=lambda h: h):
    def loss(fn, x, h, h_prime):
        s, J = fn.score(x), np.einsum("nii->ni", fn.jacobian(x))
        return np.mean(np.sum(0.5 * square(of(h)) * s**2 + of(h_prime) * s + of(h) * J, axis=1))

    return loss


def test_weights_of_other_columns_and_their_factor_are_told():
    weight = (lambda x: x**2, lambda x: 2 * x)
    assert ns.check_loss(generalised(), objective="generalised", weight=weight)
    said(
        ns.check_loss(generalised(lambda h: h[:, ::-1]), objective="generalised", weight=weight),
        "the h of the columns in reverse order",
    )
    said(
        ns.check_loss(generalised(square=np.sqrt), objective="generalised", weight=weight),
        "the square weighted by h', times 1/2",
    )
    summed = lambda h: h.sum(1, keepdims=True) + 0 * h
    said(
        ns.check_loss(generalised(square=summed), objective="generalised", weight=weight),
        "a multiple of the square weighted by the mean or the sum of h",
    )


def test_a_term_with_another_factor_is_not_called_right_beside_an_extra_one():
    def loss(k):
        def of(fn, x):
            s, trace = fn.score(x), np.einsum("nii->n", fn.jacobian(x))
            return np.mean(half(s) + k * trace + 0.5 * np.sum(s * x, axis=1))

        return of

    said(
        ns.check_loss(loss(1.0), objective="implicit"),
        "extra term: the right loss, and in it the product of score and x",
    )
    said(
        ns.check_loss(loss(1.5), objective="implicit"),
        "scale of the trace: the trace is 3/2 times what it should be beside the square; extra term: beside these terms",
    )


def test_the_clean_half_of_a_batch_and_targets_of_the_other_half_are_told():
    def loss(halves, target):
        def of(fn, x, sigma, rng):
            eps = rng.standard_normal(x.shape)
            y, z = x + sigma * eps, x - sigma * eps
            first = fn(np.concatenate([x, y] if halves else [y, z]))
            return np.mean(np.sum((sigma * first[: len(x)] + eps) ** 2, 1)) + (
                0 if halves else np.mean(np.sum((sigma * first[len(x) :] - target(eps)) ** 2, 1))
            )

        return of

    options = {"objective": "denoising", "model": "score"}
    assert ns.check_loss(loss(False, lambda eps: eps), **options)
    said(ns.check_loss(loss(True, None), **options), "clean point: what fn says at the clean x is used")
    said(ns.check_loss(loss(False, lambda eps: eps[::-1]), **options), "rows permuted")


@pytest.mark.parametrize("first", [True, False])
def test_rows_may_be_flipped_before_or_after_the_noise_and_the_target_goes_with_it(first):
    def loss(with_target):
        def of(fn, x, sigma, rng):
            eps, some = rng.standard_normal(x.shape), rng.random(len(x)) < 0.5
            flip = lambda a: np.where(some[:, None], a[:, ::-1], a)
            y = flip(x) + sigma * eps if first else flip(x + sigma * eps)
            return np.mean(np.sum((fn(y) + (flip(eps) if with_target else eps) / sigma) ** 2, axis=1))

        return of

    right = ns.check_loss(loss(not first), objective="denoising", model="score")
    assert right and any("stand in another order" in n for n in right.notes), right
    said(ns.check_loss(loss(first), objective="denoising", model="score"), "wrong target, entries permuted")


def test_noise_that_accumulates_beside_numbers_of_levels_is_told():
    def loss(keep):
        def of(fn, x, sigmas, rng):
            total = 0.0
            for i, s in enumerate(sigmas):
                eps = rng.standard_normal(x.shape)
                y = x + s * eps
                total = total + np.mean(np.sum((s * fn(y, np.full(len(x), i)) + eps) ** 2, axis=1))
                x = y if keep else x
            return total

        return of

    options = {"objective": "multilevel_denoising", "model": "score"}
    assert ns.check_loss(loss(False), **options)
    said(ns.check_loss(loss(True), **options), "noise accumulates")


def test_targets_in_another_order_are_told():
    loss = lambda order: lambda fn, x, target_score: np.mean(np.sum((fn.score(x) - order(target_score)) ** 2, axis=1))
    assert ns.check_loss(loss(lambda a: a), objective="explicit")
    said(
        ns.check_loss(loss(lambda a: a.T.copy().reshape(a.shape)), objective="explicit"),
        "wrong target, entries permuted",
    )


def test_one_sign_for_all_dimensions_leaves_one_product():
    coordinate = lambda x, rng: np.sqrt(x.shape[1]) * np.eye(x.shape[1])[rng.integers(x.shape[1], size=len(x))]
    trace = lambda v: lambda fn, x, rng: np.mean(half(fn.score(x)) + fn.curvature(x, v(x, rng)))
    assert ns.check_loss(trace(coordinate), objective="implicit")
    sign = lambda x, rng: rng.choice([-1.0, 1.0], (len(x), 1)) + 0 * x
    said(ns.check_loss(trace(sign), objective="implicit"), "v v^T is the same in every call")

    def never_last(fn, x, rng):
        d = x.shape[1]
        i = rng.integers(0, d - 1, len(x))
        return np.mean(half(fn.score(x)) + (d - 1) * fn.jacobian(x)[np.arange(len(x)), i, i])

    said(ns.check_loss(never_last, objective="implicit"), "dimension 2 is in none of them")


# ------------------------------------------------------------------------------- traces, scores, densities


def test_sums_beside_the_diagonal_and_points_on_a_grid_are_told():
    W = np.random.default_rng(1).standard_normal((3, 3))
    score = lambda x: -x + np.tanh(x @ W) @ W.T
    jacobian = lambda x: -np.eye(3) + np.einsum("ik,nk,jk->nij", W, 1 - np.tanh(x @ W) ** 2, W)
    trace = lambda x: np.trace(jacobian(x), axis1=1, axis2=2)
    assert ns.check_trace(trace, score=score, x=X)
    said(ns.check_trace(lambda x: np.trace(jacobian(x), 1, 1, 2), score=score, x=X), "beside the diagonal")
    said(ns.check_trace(lambda x: trace(np.round(x, 1)), score=score, x=X), "steps: your trace stands still")
    energy = lambda x: half(x) - np.log(np.cosh(x @ W)).sum(1)
    assert ns.check_score(score, energy=energy, x=X)
    said(ns.check_score(lambda x: score(np.round(x, 1)), energy=energy, x=X), "steps: your score stands still")


# ------------------------------------------------------------------------------- samplers


def move(x, y, log_ratio, rng):
    return np.where((np.log(rng.random(len(x))) < log_ratio)[:, None], y, x)


def walk(x, energy, size, rng):
    y = x + size * rng.standard_normal(x.shape)
    return move(x, y, energy(x) - energy(y), rng)


def hamiltonian(x, score, energy, length, count, rng):
    p = rng.standard_normal(x.shape)
    y, q = x, p + length / 2 * score(x)
    for k in range(count):
        y = y + length * q
        q = q + length * (1.0 if k < count - 1 else 0.5) * score(y)
    return move(x, y, energy(x) - energy(y) + half(p) - half(q), rng)


def test_a_kernel_that_is_drawn_for_all_chains_is_right_and_said():
    mixed = lambda x, score, step, energy, rng: walk(x, energy, (0.5, 2.5)[rng.integers(2)], rng)
    lengths = lambda x, score, step, energy, rng: hamiltonian(x, score, energy, 0.9, rng.integers(1, 4), rng)
    one = lambda x, score, step, energy, rng: walk(x, energy, 1.5, rng)
    for step, shared in ((one, False), (mixed, True), (lengths, True)):
        report = ns.check_sampler(step, discretisation="adjusted", n=6000)
        assert report and any("share random numbers" in n for n in report.notes) == shared, report


def test_one_uniform_number_for_all_chains_is_told():
    def step(x, score, step, energy, rng):
        y = x + rng.standard_normal(x.shape)
        return np.where((np.log(rng.random()) < energy(x) - energy(y))[:, None], y, x)

    said(
        ns.check_sampler(step, discretisation="adjusted", n=6000),
        "changing share: the share of the chains that move from one start changes from call to call (one uniform number,",
    )


def langevin(noise=lambda z: z):
    return lambda x, score, step, rng: x + step * score(x) + np.sqrt(2 * step) * noise(rng.standard_normal(x.shape))


def test_numbers_of_chains_that_are_not_by_themselves_are_not_told():
    assert ns.check_sampler(langevin())
    few = ns.check_sampler(langevin(lambda z: z * (np.arange(len(z)) % 2)[:, None]))
    said(few, "chains without noise: 50% of the chains")
    shared = ns.check_sampler(langevin(lambda z: z[:1]))
    said(shared, "shared noise")
    centred = lambda x, score, step, rng: (lambda y: y - (y - x).mean(0))(langevin()(x, score, step, rng))
    joined = ns.check_sampler(centred)
    said(joined, "rows mixed")
    assert few.pattern == shared.pattern == joined.pattern == "" and few.worst is shared.worst is joined.worst is None


def test_a_variance_for_a_standard_deviation_in_the_proposal_density_is_told():
    def mala(var):
        def step(x, score, step, energy, rng):
            y = x + step * score(x) + np.sqrt(2 * step) * rng.standard_normal(x.shape)
            log_q = lambda a, b: -np.sum((a - b - step * score(b)) ** 2, axis=1) / (2 * var(step))
            return move(x, y, energy(x) - energy(y) + log_q(x, y) - log_q(y, x), rng)

        return step

    options = {"discretisation": "adjusted", "step_size": 0.3}
    assert ns.check_sampler(mala(lambda step: 2 * step), **options)
    said(
        ns.check_sampler(mala(lambda step: (2 * step) ** 2), **options),
        "q has the variance of the proposal for its standard deviation",
    )


# ------------------------------------------------------------------------------- losses by round-off, and by one number


def test_second_differences_that_drown_are_told():
    def loss(step, dtype):
        def of(fn, x, rng):
            v = step * rng.standard_normal(x.shape)
            up, down, middle = (-fn(y).astype(dtype) for y in (x + v, x - v, x))
            return np.mean((up + down - 2 * middle) / step**2 + ((up - down) / (2 * step)) ** 2 / 2)

        return of

    check = lambda step, dtype: ns.check_loss(
        loss(step, dtype), objective="finite_difference_sliced", model="energy", step=step
    )
    assert check(0.05, float)
    said(check(1e-5, np.float32), "round-off: the loss comes in float32")


def test_score_of_may_want_one_number_where_all_rows_have_one():
    def loss(fn, x, sigma, rng):
        y = x + sigma * rng.standard_normal(x.shape)
        return np.mean(np.sum((fn(y) - x) ** 2, axis=1))

    of = lambda power: lambda out, y, level: (out - y) / level**power
    each = lambda out, y, level: (out - y) / level[:, None] ** 2
    for right in (of(2), each):
        assert ns.check_loss(loss, objective="denoising", score_of=right)
    assert ns.check_loss(loss, objective="denoising", score_of=of(1)).verdict == "FAIL"


# ------------------------------------------------------------------------------- steps that come down in level


DOWN = np.array([5.0, 2.5, 1.2, 0.5, 0.3])


def flow(x, fn, s, lower):
    return x + s * (s - lower) * fn(x, s)


def test_calls_of_which_nothing_is_made_do_not_hide_what_is_wrong():
    def unused(x, fn, s, lower):
        fn(x, s)
        return flow(x, fn, s, lower)

    def of_next(x, fn, s, lower):
        fn(x, s)
        return x + lower * (s - lower) * fn(x, lower)

    assert ns.check_reverse(flow, levels=DOWN, kind="ddim") and ns.check_reverse(unused, levels=DOWN, kind="ddim")
    said(ns.check_reverse(of_next, levels=DOWN, kind="ddim"), "level told: fn is told the next, less noisy one")


def heun(again):
    def step(x, fn, s, lower):
        first = s * fn(x, s)
        y = x + (s - lower) * first
        fn(y, lower)
        return x + (s - lower) / 2 * (first + lower * fn(x if again else y, lower))

    return step


def test_two_levels_told_at_the_same_points_are_told():
    assert ns.check_reverse(heun(False), levels=DOWN, kind="heun")
    said(
        ns.check_reverse(heun(True), levels=DOWN, kind="heun"),
        "point of a call: fn's second call is at the same points",
    )

    def corrected(again):
        def step(x, fn, s, lower, rng):
            beta = s**2 - lower**2
            y = x + beta * fn(x, s) + np.sqrt(beta) * lower / s * rng.standard_normal(x.shape)
            a = 0.1 * lower**2
            return y + a * fn(x if again else y, lower) + np.sqrt(2 * a) * rng.standard_normal(x.shape)

        return step

    options = {"levels": DOWN, "kind": "predictor-corrector"}
    assert ns.check_reverse(corrected(False), **options)
    said(ns.check_reverse(corrected(True), **options), "fn is asked twice at the same points, and told two levels")


def test_what_is_returned_of_x_0_is_told_with_its_scale():
    t = np.linspace(0.7, 0.1, 6)
    levels = np.stack(cosine(t), axis=1)

    def ddim(share, scale):
        def step(x, fn, k, j):
            (c, s), (d, u) = levels[int(k)], levels[int(j)]
            eps = fn(x, k)
            return (d if scale else 1.0) * (x - s * eps) / c + share * u * eps

        return step

    options = {"levels": levels, "predicts": "eps", "kind": "ddim"}
    assert ns.check_reverse(ddim(1.0, True), **options)
    said(ns.check_reverse(ddim(0.0, True), **options), "the step returns c' times fn's x_0, without")
    said(ns.check_reverse(ddim(0.0, False), **options), "the step returns fn's x_0, without")


def test_annealed_dynamics_may_be_those_of_the_next_level():
    def step(x, fn, s, lower, rng, noise=1.0):
        for _ in range(5):
            a = 0.1 * lower**2
            x = x + a * fn(x, lower) + noise * np.sqrt(2 * a) * rng.standard_normal(x.shape)
        return x

    report = ns.check_reverse(step, levels=DOWN, kind="annealed", n=4000)
    assert report and any("the next level in every call" in n for n in report.notes), report
    assert "5 scores, whose coefficients sum to" in report.pattern and any(
        "its step is 0.1 sigma^2" in n for n in report.notes
    )
    cold = lambda x, fn, s, lower, rng: step(x, fn, s, lower, rng, noise=np.sqrt(0.5))
    said(ns.check_reverse(cold, levels=DOWN, kind="annealed", n=4000), "temperature: the noise has 0.")
    said(
        ns.check_reverse(lambda x, fn, s, lower: x + s * (s - lower) * fn(x, lower), levels=DOWN, kind="ddim"),
        "level told",
    )


def test_a_step_that_counts_its_calls_is_a_state():
    class Counted:
        i = 0

        def __call__(self, x, fn, s, lower):
            k, self.i = self.i % 4, self.i + 1
            return flow(x, fn, DOWN[k], DOWN[k + 1]) if self.i > 0 else x

    counted = ns.check_reverse(Counted(), levels=DOWN, kind="ddim")  # used as it is meant to be its law is right
    assert counted and "state: made again from the same points" in str(counted) and "only its law" in str(counted), (
        counted
    )
    own = np.random.default_rng(0)
    noisy = lambda x, fn, s, lower: (
        x + (s**2 - lower**2) * fn(x, s) + np.sqrt(s**2 - lower**2) * own.standard_normal(x.shape)
    )
    assert "state" not in ns.check_reverse(noisy, levels=np.geomspace(3, 0.1, 60), n=2000).name


def test_a_loss_of_energies_alone_is_told_as_that():
    # no entry but those of the energies is above round-off; read in units of round-off, it had a square, a trace and a regulariser
    report = ns.check_loss(lambda fn, x: fn(x).mean(), objective="implicit")
    assert report.verdict == "FAIL" and report.diagnosis == "not a square: your loss is the energy itself", report
    assert ns.check_loss(lambda fn, x: (half(fn.score(x)) + fn.trace(x)).mean(), objective="implicit")
