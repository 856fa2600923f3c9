"""What a fourth pair of examiners brought: wrong code with its name, and the right code beside it, which passes."""

import numpy as np
import pytest
from scipy import special, stats

import numpyscore as ns
from numpyscore.check.losses import levels

half = lambda a: 0.5 * np.sum(a**2, axis=1)
column = lambda a: np.reshape(a, (-1, 1))
X = 0.3 + np.random.default_rng(0).standard_normal((7, 3)) * [0.5, 1.5, 1.0]


def said(report, words):
    assert report.verdict == "FAIL" and words in report.diagnosis, report


# ------------------------------------------------------------------------------- densities


def normal_of(mean, std):
    """Of constants that are kept in single precision if they are given so."""
    return lambda x: np.sum(
        -0.5 * ((x - float(mean)) / float(std)) ** 2 - float(np.log(std)) - 0.5 * np.log(2 * np.pi), 1
    )


def test_constants_in_single_precision_are_no_missing_constant():
    """torch.distributions.Normal(.2, .6) has them; log .6 in single precision is off by 2e-8."""
    single = ns.check_density(normal_of(np.float32(0.2), np.float32(0.6)), dim=2)
    assert single and single.details["integral"] != 1 and "kept in single precision" in single.notes[-1], single
    double = ns.check_density(normal_of(0.2, 0.6), dim=2)
    assert double and not double.notes, double
    off = lambda c: ns.check_density(lambda x: normal_of(0.2, 0.6)(x) + np.log1p(c), dim=1)
    assert off(3e-7) and off(5e-7).verdict == "FAIL"  # beside SINGLE = 4e-7


def copula(r, within=np.inf):
    """Logistic margins, joined by a Gaussian copula; +-inf - inf is NaN where a distribution function is 1 in floating point."""

    def logpdf(x):
        u, v = special.ndtri(stats.logistic.cdf(x)).T
        joint = -(r * r * (u * u + v * v) - 2 * r * u * v) / (2 * (1 - r * r)) - 0.5 * np.log(1 - r * r)
        return np.where(np.abs(x).max(1) > within, np.nan, joint + stats.logistic.logpdf(x).sum(1))

    return logpdf


def test_a_nan_where_p_is_next_to_nothing_is_a_remark():
    x = np.random.default_rng(0).logistic(size=(300, 2))
    report = ns.check_density(copula(0.6), x=x)
    assert report and "logpdf is nan" in report.notes[-1], report
    said(ns.check_density(copula(0.6, within=5.0), x=x), "not finite: logpdf is nan")  # where 1.3 % of the mass is
    said(ns.check_density(lambda x: copula(0.6)(x) + np.log(2), x=x), "not finite: logpdf is nan")


# ------------------------------------------------------------------------------- losses


def preconditioned(fn, x, rng, wrong=0.0):
    """EDM's loss of the network inside, whose input is scaled (sigma of the data 1/2)."""
    s = np.exp(-1.2 + 1.2 * rng.standard_normal((len(x), 1)))
    y, r = x + s * rng.standard_normal(x.shape), np.sqrt(s**2 + 0.25)
    out = (0.25 + wrong) / r**2 * y + 0.5 * s / r * fn(y / r, np.log(s[:, 0]) / 4)
    return np.mean((out - x) ** 2 * r**2 / s**2)


def test_a_network_inside_a_preconditioning_is_known_though_it_is_called_a_score():
    report = ns.check_loss(preconditioned, objective="denoising", model="score")
    assert report and "EDM's network" in report.pattern and "if your fn is meant to be the score" in report.notes[0]
    said(ns.check_loss(preconditioned, objective="denoising", predicts="score"), "wrong target")
    other = lambda fn, x, rng: preconditioned(fn, x, rng, wrong=0.05)
    assert ns.check_loss(other, objective="denoising", model="score").verdict == "FAIL"


def test_a_kernel_with_a_variance_for_a_standard_deviation_is_noted():
    def loss(fn, x, t, noise, root=True):
        a = np.exp(-2 * column(t))
        size = np.sqrt(1 - a) if root else 1 - a
        return np.mean((fn(np.sqrt(a) * x + size * noise, t) - noise) ** 2)

    note = "sigma = 1 - c^2 (sub-VP, or a variance in place of its root)"
    objective = {"objective": "multilevel_denoising"}
    squared = ns.check_loss(lambda fn, x, t, noise: loss(fn, x, t, noise, root=False), **objective)
    assert any(note in n for n in squared.notes) and not any(note in n for n in ns.check_loss(loss, **objective).notes)


@pytest.mark.parametrize("kind", ["energy", "score"])
def test_directions_of_one_number_for_all_dimensions_are_told_as_that(kind):
    def loss(fn, x, rng, shape):
        v = rng.standard_normal(shape(x)) + 0 * x
        return np.mean(half(fn.score(x)) + fn.curvature(x, v))

    one = ns.check_loss(lambda fn, x, rng: loss(fn, x, rng, lambda x: (len(x), 1)), objective="sliced", model=kind)
    said(one, "one number for all dimensions: the entries of a direction are equal")
    assert ns.check_loss(lambda fn, x, rng: loss(fn, x, rng, np.shape), objective="sliced", model=kind)


def test_a_second_difference_without_its_middle_is_told():
    def loss(fn, x, eps, rng, middle=2.0):
        v = rng.standard_normal(x.shape)
        up, down, here = (-fn.energy(x + s * eps * v) for s in (1, -1, 0))
        return np.mean((up - down) ** 2 / 8 + up + down - middle * here) / eps**2

    objective = {"objective": "finite_difference_sliced", "model": "energy"}
    assert ns.check_loss(loss, **objective)

    def without(fn, x, eps, rng):
        v = rng.standard_normal(x.shape)
        up, down = (-fn.energy(x + s * eps * v) for s in (1, -1))
        return np.mean((up - down) ** 2 / 8 + up + down) / eps**2

    said(ns.check_loss(without, **objective), "no middle point: fn is asked at x + h v and x - h v alone")
    said(
        ns.check_loss(lambda fn, x, eps, rng: loss(fn, x, eps, rng, middle=1.0), **objective),
        "values of the difference",
    )


# ------------------------------------------------------------------------------- scores and steps


def test_the_derivative_of_a_saturating_activation_is_among_the_causes():
    W = np.random.default_rng(1).standard_normal((3, 4))
    energy = lambda x: half(x) + np.log(np.cosh(x @ W)).sum(1)
    hidden = lambda x: np.tanh(x @ W)
    assert ns.check_score(lambda x: -x - hidden(x) @ W.T, energy=energy, x=X)
    second = lambda x: half(x) + hidden(x).sum(1)  # its score has 1 - h^2
    assert ns.check_score(lambda x: -x - (1 - hidden(x) ** 2) @ W.T, energy=second, x=X)
    said(
        ns.check_score(lambda x: -x - (1 - hidden(x)) @ W.T, energy=second, x=X),
        "the derivative of an activation is (1 - h for 1 - h^2",
    )


@pytest.mark.parametrize("word, turn", [("earlier", False), ("later", True)])
def test_conditionals_without_the_terms_in_which_a_dimension_stands_are_triangular(word, turn):
    """log p(x) = -sum_i (x_i - tanh x_{i-1})^2 / 2, differentiated in x_i where x_i is what is conditioned alone."""
    way = lambda a: a[:, ::-1] if turn else a
    before = lambda x: np.concatenate([0 * x[:, :1], np.tanh(x[:, :-1])], axis=1)
    part = lambda x: before(way(x)) - way(x)
    whole = lambda x: part(x) - np.concatenate([part(x)[:, 1:] * (1 - np.tanh(way(x)[:, :-1]) ** 2), 0 * x[:, :1]], 1)
    assert ns.check_conservative(lambda x: way(whole(x)), x=X)
    said(
        ns.check_conservative(lambda x: way(part(x)), x=X),
        f"triangular: entry i of the score depends on the {word} dimensions",
    )
    other = ns.check_conservative(lambda x: x[:, [1, 2, 0]], x=X)
    assert other.verdict == "FAIL" and "triangular" not in other.diagnosis


@pytest.mark.parametrize("norm", [True, False])
def test_what_goes_along_theta_is_a_weight_decay_if_it_is_one_elsewhere(norm):
    """The loss of a direction theta/|theta|, whose norm is detached in the gradient; or a decay of 0.3."""
    theta, A = np.array([0.8, -1.1, 0.6]), np.diag([1.0, 2.0, 4.0])
    loss = lambda t: 0.5 * t @ A @ t / (t @ t)
    right = lambda t: A @ t / (t @ t) - t * (t @ A @ t) / (t @ t) ** 2
    wrong = (lambda t: A @ t / (t @ t)) if norm else (lambda t: right(t) + 0.3 * t)
    assert ns.check_gradient(loss, right, theta)
    name = "along theta" if norm else "weight decay"
    assert ns.check_gradient(loss, wrong, theta).name == name
    assert ns.check_gradient(loss, wrong(theta), theta).name == "weight decay"  # an array is known at one theta


def test_an_extra_term_is_not_told_beside_the_right_loss_where_the_target_is_scaled():
    norm = lambda a: np.linalg.norm(a, axis=1)
    loss = lambda c: lambda fn, x, target_score: np.mean(half(fn.score(x) - c * target_score) + norm(fn.score(x)))
    report = ns.check_loss(loss(0.25), objective="explicit")
    said(
        report, "the product with the target is 1/4 times what it should be beside the square; extra term: beside these"
    )
    said(ns.check_loss(loss(1.0), objective="explicit"), "extra term: the right loss, and in it the norm of the score")


# ------------------------------------------------------------------------------- kinks


def of_levels(of, change=lambda out: out):
    def loss(fn, x, sigmas, level, noise):
        s = column(sigmas[level])
        return of(half(s * change(fn(x + s * noise, s[:, 0])) + noise))

    return ns.check_loss(loss, objective="multilevel_denoising")


def test_a_clamp_of_what_fn_says_is_no_mixture_of_levels():
    """Every row counts: it was "levels mixed", a statement about rows that is not true."""
    assert of_levels(np.mean)
    said(of_levels(np.mean, lambda out: np.clip(out, -1, 1)), ": it stands still (clipped, made of directions alone,")
    said(of_levels(np.mean, lambda out: np.maximum(out, 0)), "what it makes of a row has kinks")
    said(of_levels(np.median), "levels mixed")
    said(of_levels(np.max), "levels mixed")


# ------------------------------------------------------------------------------- what rounding leaves of a difference


def quotient(h, dtype):
    """The trace of -x - tanh(x W) W^T by central differences of step h."""
    W = np.random.default_rng(0).standard_normal((3, 5))
    score = lambda x: -x - np.tanh(x @ W) @ W.T

    def trace(x):
        x, out = x.astype(dtype), np.zeros(len(x), dtype)
        for j, e in enumerate(np.eye(3, dtype=dtype) * dtype(h)):
            out += (score(x + e).astype(dtype) - score(x - e).astype(dtype))[:, j] / dtype(2 * h)
        return out

    return ns.check_trace(trace, score=score, x=X)


def test_a_difference_in_single_precision_is_judged_at_what_it_scatters_by():
    """With step 1e-6 it scatters by a part in 400, and was "a term that grows as |x|^2 is wrong, or left out"."""
    for h in (1e-3, 1e-4):
        report = quotient(h, np.float32)
        assert report and "(difference quotients, random numbers, a kink or a jump?)" in report.notes[-1], report
    drowned = quotient(1e-6, np.float32)
    assert drowned.verdict == "INCONCLUSIVE" and drowned.diagnosis.startswith("precision: the numbers of trace scatter")
    assert "take a longer step" in drowned.diagnosis and quotient(1e-5, np.float64)


# ------------------------------------------------------------------------------- rows, levels and calls


@pytest.mark.parametrize("down", [False, True])
def test_weights_of_sorted_levels_belong_to_other_rows(down):
    def loss(fn, x, t, noise, order=np.asarray):
        c, s = np.cos(1.4 * column(t)), np.sin(1.4 * column(t))
        weight = 1 / (1 + order(t) ** 2)
        return np.mean(weight * half(fn(c * x + s * noise, t) - noise))

    sort = (lambda t: np.sort(t)[::-1]) if down else np.sort
    of = lambda order: ns.check_loss(
        lambda fn, x, t, noise: loss(fn, x, t, noise, order), objective="multilevel_denoising"
    )
    said(of(sort), "weights of other rows: the weight of a row is made of the level of another row (they are sorted")
    assert of(np.asarray)
    drawn = of(lambda t: np.random.default_rng(3).random(t.shape))  # numbers that are no weights of these levels
    assert drawn and any("no function of their level" in note for note in drawn.notes)


def test_the_score_of_points_before_they_were_scaled_is_one_however_the_sampler_is_given_them():
    """EDM's sampler has y, and its network c y: score_of is written for y, where fn is asked at c y."""

    def score_of(out, y, level, width=0.5):
        s = column(np.exp(4 * np.asarray(level)))
        r = np.sqrt(s**2 + width**2)
        return (width**2 / r**2 * y + s * width / r * out - y) / s**2

    objective = {"objective": "multilevel_denoising"}
    report = ns.check_loss(preconditioned, score_of=score_of, **objective)
    assert report and any("where it is given y/c, the noisy points before they were scaled" in n for n in report.notes)
    wrong = ns.check_loss(preconditioned, score_of=lambda *a: score_of(*a, width=0.4), **objective)
    said(wrong, "another parametrisation: what score_of makes of fn is not the score")
    said(ns.check_loss(preconditioned, score_of=lambda *a: -score_of(*a), **objective), "what score_of makes of fn")

    def without_root(fn, x, rng):
        """c_out without its root: at y/c the sampler would make c times too little of it, which is the score of y."""
        s = np.exp(-1.2 + 1.2 * rng.standard_normal((len(x), 1)))
        y, r = x + s * rng.standard_normal(x.shape), np.sqrt(s**2 + 0.25)
        return np.mean((0.25 / r**2 * y + 0.5 * s / r**2 * fn(y / r, np.log(s[:, 0]) / 4) - x) ** 2 * r**2 / s**2)

    at_y = lambda out, y, level: score_of(out, y * np.sqrt(column(np.exp(8 * np.asarray(level))) + 0.25), level)
    assert ns.check_loss(preconditioned, score_of=at_y, **objective)
    said(ns.check_loss(without_root, score_of=at_y, **objective), "another parametrisation")


def test_a_score_that_is_asked_in_some_steps_alone_is_a_state():
    class Lazy:
        def __init__(self, every):
            self.every, self.calls, self.kept = every, 0, None

        def __call__(self, x, score, step_size, rng):
            if self.calls % self.every == 0 or self.kept.shape != x.shape:
                self.kept = score(x)
            self.calls += 1
            return x + step_size * self.kept + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)

    assert ns.check_sampler(Lazy(1))
    said(ns.check_sampler(Lazy(10)), "state: the score is asked in some of the steps alone")
    cold = lambda x, score, step_size, rng: Lazy(1)(x, score, step_size, rng) + 0.1 * np.sin(x)
    assert "asked in some" not in ns.check_sampler(cold).diagnosis


def test_a_velocity_is_that_in_the_time_which_is_handed_where_fn_is_told_that():
    def loss(fn, x, t, rng, power=1, of=1.0, tell=lambda t: t):
        eps, s = rng.standard_normal(x.shape), t**power
        slope = power * t ** (power - 1)
        return np.mean((fn((1 - s) * x + s * eps, tell(t)) - of * slope**of * (eps - x)) ** 2)

    of = lambda **way: ns.check_loss(
        lambda fn, x, t, rng: loss(fn, x, t, rng, **way), objective="denoising", predicts="velocity"
    )
    assert of() and of(power=2)

    def without(fn, x, t, rng, tell=lambda t: t):
        eps, s = rng.standard_normal(x.shape), t**2
        return np.mean((fn((1 - s) * x + s * eps, tell(t)) - (eps - x)) ** 2)

    said(ns.check_loss(without, objective="denoising", predicts="velocity"), "another velocity: fn learns eps - x")
    warped = lambda fn, x, t, rng: without(fn, x, t, rng, tell=np.square)  # it is the velocity in what fn is told
    assert ns.check_loss(warped, objective="denoising", predicts="velocity")


# ------------------------------------------------------------------------------- precision, rows, noise


def test_a_timestep_in_eight_bits_is_told_as_that():
    tab = np.stack([np.cos(np.linspace(0.01, 1.55, 1000)), np.sin(np.linspace(0.01, 1.55, 1000))], axis=1)

    def loss(fn, x, t, noise, dtype=int):
        y = column(tab[t, 0]) * x + column(tab[t, 1]) * noise
        return np.mean((fn(y, t.astype(dtype)) - noise) ** 2)

    many = {"objective": "multilevel_denoising", "levels": tab, "predicts": "eps"}
    said(
        ns.check_loss(lambda fn, x, t, noise: loss(fn, x, t, noise, np.uint8), **many),
        "fn is told the number of its level modulo 256",
    )
    assert ns.check_loss(loss, **many)


def test_points_that_are_zero_are_not_called_noise():
    report = ns.check_loss(lambda fn, x, sigma, rng: np.mean(half(fn(0 * x) + x)), objective="denoising")
    assert report.verdict == "FAIL" and "x~ = noise" not in report.pattern, report
    alone = ns.check_loss(
        lambda fn, x, sigma, rng: np.mean(half(fn.score(rng.standard_normal(x.shape)) + x)), objective="denoising"
    )
    assert alone.verdict == "FAIL", alone


def test_rows_in_the_order_of_a_sort_are_told():
    f = lambda x: np.tanh(x @ np.random.default_rng(2).standard_normal((3, 3)))

    def sorted_by(x, back):
        order = np.argsort(np.sum(x**2, axis=1))
        return f(x[order])[back(order)]

    report = ns.check_rows(lambda x: sorted_by(x, lambda order: order), X)
    said(report, "rows permuted: the results are those of the rows")
    assert ns.check_rows(lambda x: sorted_by(x, np.argsort), X)


def test_uniform_noise_of_a_step_is_asked_about():
    step = lambda draw: (
        lambda x, score, step_size, rng: x + step_size * score(x) + np.sqrt(2 * step_size) * draw(rng, x.shape)
    )
    said(
        ns.check_sampler(step(lambda rng, shape: rng.random(shape))),
        "(uniform numbers from 0 to 1 in place of normal ones?)",
    )
    biased = ns.check_sampler(step(lambda rng, shape: 0.3 + rng.standard_normal(shape)))
    assert biased.name == "biased" and "uniform" not in biased.diagnosis


def test_a_loss_in_half_precision_has_its_terms():
    """Widened on arrival to float32, it was judged at float32's precision, and had "no square" and "no trace"."""
    score = lambda fn, x, dtype: (half(fn.score(x).astype(dtype)) + fn.trace(x).astype(dtype)).mean(dtype=dtype)
    report = ns.check_loss(lambda fn, x: score(fn, x, np.float16), objective="implicit", model="score")
    assert report and "float16" in report.notes[-1] and 1e-3 < report.resolution < 0.1, report
    halved = lambda fn, x: (half(fn.score(x)).astype(np.float16) + 0.5 * fn.trace(x).astype(np.float16)).mean(
        dtype=np.float16
    )
    said(ns.check_loss(halved, objective="implicit", model="score"), "trace")


def test_a_step_may_take_an_energy_before_its_score_and_its_step():
    def accepted(x, y, score, energy, h, rng):
        forth, back = (np.sum((b - a - h * score(a)) ** 2, 1) / (4 * h) for a, b in ((x, y), (y, x)))
        return np.where(column(np.log(rng.random(len(x))) < energy(x) - energy(y) + forth - back), y, x)

    def proposed(x, score, h, rng):
        return x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)

    def mala(x, score, energy, step_size, rng):
        return accepted(x, proposed(x, score, step_size, rng), score, energy, step_size, rng)

    def without_score(x, energy, step_size, rng):
        y = x + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
        return np.where(column(np.log(rng.random(len(x))) < energy(x) - energy(y)), y, x)

    adjusted = {"discretisation": "adjusted", "n": 5000}
    assert ns.check_sampler(mala, **adjusted) and ns.check_sampler(without_score, **adjusted)
    last = lambda x, energy, step_size, score, rng: mala(x, score, energy, step_size, rng)
    swapped = lambda x, step_size, score, rng: proposed(x, score, step_size, rng)
    assert ns.check_sampler(last, **adjusted) and ns.check_sampler(swapped)
    with pytest.raises(TypeError, match="check_sampler: step takes x, energy, expected x, a score and a step size"):
        ns.check_sampler(lambda x, energy: x, **adjusted)
    all_of_them = lambda x, energy, step_size, rng: x + np.sqrt(2 * step_size) * rng.standard_normal(x.shape)
    said(ns.check_sampler(all_of_them, **adjusted), "not adjusted")


def test_directions_that_are_kept_for_each_shape_are_told():
    kept = {}

    def loss(fn, x, square):
        v = kept.setdefault(x.shape, np.random.default_rng(len(kept)).standard_normal(x.shape))
        return np.mean(square(fn.score(x), v) + fn.curvature(x, v))

    along = ns.check_loss(lambda fn, x: loss(fn, x, lambda s, v: 0.5 * np.sum(v * s, 1) ** 2), objective="sliced")
    assert any("its directions are the same in every call" in note for note in along.notes), along
    said(ns.check_loss(lambda fn, x: loss(fn, x, lambda s, v: half(s)), objective="sliced"), "fixed directions")


def test_a_trace_that_is_kept_for_each_shape_is_told():
    W = np.random.default_rng(0).standard_normal((3, 5))
    score = lambda x: -x - np.tanh(x @ W) @ W.T
    trace = lambda x: -3 - np.sum((1 - np.tanh(x @ W) ** 2) * np.sum(W**2, axis=0), axis=1)
    kept = {X.shape: trace(X + 1.0)}
    said(
        ns.check_trace(lambda x: kept.setdefault(x.shape, trace(x)), score=score, x=X),
        "state: other points get the same",
    )
    assert ns.check_trace(trace, score=score, x=X)


def test_noise_beside_a_direction_that_leaves_no_room_for_it_is_told_as_both():
    a = np.linspace(0.02, 0.98, 8) ** 1.5
    levels = np.stack([np.sqrt(a), np.sqrt(1 - a)], axis=1)

    def step(x, fn, i, j, rng, room=0.0):
        (c, s), (d, t) = levels[i], levels[j]
        eps, std = fn(x, i), np.sqrt((t / s) ** 2 * (1 - (c / d) ** 2))
        return d * (x - s * eps) / c + np.sqrt(t**2 - room * std**2) * eps + std * rng.standard_normal(x.shape)

    of = lambda room: ns.check_reverse(
        lambda x, fn, i, j, rng: step(x, fn, i, j, rng, room), levels=levels, predicts="eps", n=5000
    )
    assert of(1.0)
    said(of(0.0), "the noise is added, and not taken from the direction to eps")


def test_noise_of_some_dimensions_is_no_temperature():
    def step(scale):
        scale = np.asarray(scale)
        return lambda x, score, h, rng: x + h * score(x) + np.sqrt(2 * h) * scale * rng.standard_normal(x.shape)

    assert ns.check_sampler(step([1.0, 1.0]))
    said(ns.check_sampler(step([1.0, 0.0])), "dimensions without noise: a step adds no noise in dimension 1")
    said(
        ns.check_sampler(step([1.2, 0.8])),
        "noise of other sizes: the noise has another standard deviation in each dimension",
    )
    cold = ns.check_sampler(step(0.7))
    assert (
        cold.name == "temperature"
        and "(the factor 2 under the root is missing, the drift lacks its 1/2?)" in cold.diagnosis
    )


def test_a_score_that_is_not_the_samplers_is_told_in_the_points_that_it_is_written_for():
    """EDM's network with another sigma of the data in the sampler: fn and score_of are compared for one y, and not for a mixture of two."""

    def score_of(out, y, level, width=0.6, scaled=False):
        s = column(np.exp(4 * np.asarray(level)))
        r = np.sqrt(s**2 + width**2)
        y = y * np.sqrt(s**2 + 0.25) if scaled else y
        return (width**2 / r**2 * y + s * width / r * out - y) / s**2

    for scaled, given in ((False, "score_of, given y/c, makes"), (True, "score_of makes")):
        of = lambda *a, scaled=scaled: score_of(*a, scaled=scaled)
        said(ns.check_loss(preconditioned, objective="multilevel_denoising", score_of=of), given)


def test_sigmas_told_in_reversed_order_are_told_as_that():
    def loss(fn, x, sigmas, level, noise, turn=lambda s: s):
        s = column(sigmas[level])
        return np.mean(half(s * fn(x + s * noise, turn(sigmas)[level]) + noise))

    turned = lambda fn, x, sigmas, level, noise: loss(fn, x, sigmas, level, noise, lambda s: s[::-1])
    said(ns.check_loss(turned, objective="multilevel_denoising"), "fn is told the sigmas in reversed order")
    assert ns.check_loss(loss, objective="multilevel_denoising")


# ------------------------------------------------------------------------------- what is no gradient


CURVED = np.random.default_rng(3).standard_normal((3, 4))
FIELD = lambda x: -x - np.tanh(x @ CURVED) @ CURVED.T  # a gradient
NONE = {  # fields that are no gradients, and what is said of them
    "a norm": (lambda x: FIELD(x) / np.linalg.norm(FIELD(x), axis=1, keepdims=True), "it is a function of x times a gradient"),
    "a gate": (lambda x: FIELD(x) / (1 + np.exp(-x[:, :1])), "it is a function of x times a gradient"),
    "scales": (lambda x: FIELD(x) * [1.0, 2.0, 0.5], "with its dimensions divided by [1.  2.  0.5] it is symmetric"),
    "a drift": (lambda x: FIELD(x) + 0.3 * np.roll(x, 1, axis=1) * [1, 1, 0], "what is not symmetric is the same at all points: a linear"),
    "two in one": (lambda x: FIELD(x)[:, [1, 0, 2]], "with the dimensions 0 and 1 of the score exchanged it is symmetric"),
    "nothing known": (lambda x: -x - np.tanh(x @ CURVED) @ (CURVED.T + 0.1 * np.cos(np.arange(12.0)).reshape(4, 3)), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_gradient_is_told_by_its_jacobian(name):
    field, words = NONE[name]
    assert ns.check_conservative(FIELD, x=X)
    report = ns.check_conservative(field, x=X)
    said(report, "so no energy has this score" + "; " * bool(words) + words)
    assert words or report.diagnosis.endswith("so no energy has this score"), report
    assert ns.check_conservative(lambda x: field(x), x=X, claimed=False)


def test_a_level_of_shuffled_rows_is_no_overflow():
    """fn is told the timestep that was handed; the noise is that of other rows. It was "modulo 256": every difference is 0 times it."""
    tab = np.stack([np.cos(np.linspace(0.01, 1.55, 200)), np.sin(np.linspace(0.01, 1.55, 200))], axis=1)

    def loss(fn, x, t, noise):
        s = t[np.random.default_rng(1).permutation(len(t))]
        return np.mean((fn(column(tab[s, 0]) * x + column(tab[s, 1]) * noise, t) - noise) ** 2)

    report = ns.check_loss(loss, objective="multilevel_denoising", levels=tab, predicts="eps")
    assert report.verdict == "FAIL" and "256" not in report.diagnosis, report


def test_a_scale_of_no_known_number_is_one_however_many_calls_are_made():
    """More calls are held against their own ratio, not against that of the first: a multiple was "no multiple of the trace"."""
    W = np.random.default_rng(0).standard_normal((3, 5))
    score = lambda x: -x - np.tanh(x @ W) @ W.T

    def trace(x, rng, scale=0.42):
        v = rng.standard_normal(x.shape)
        slope = 1 - np.tanh(x @ W) ** 2
        return -scale * (np.sum(v**2, axis=1) + np.sum(slope * (v @ W) ** 2, axis=1))

    for seed in range(2):
        report = ns.check_trace(trace, score=score, x=X, rng=seed)
        said(report, "scale: on average over the points the mean is 0.4")
    assert ns.check_trace(lambda x, rng: trace(x, rng, scale=1.0), score=score, x=X)


def test_a_step_size_may_have_a_default_or_a_name_alone():
    def adjusted(x, score, energy, h, rng):
        y = x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
        forth, back = (np.sum((b - a - h * score(a)) ** 2, 1) / (4 * h) for a, b in ((x, y), (y, x)))
        return np.where(column(np.log(rng.random(len(x))) < energy(x) - energy(y) + forth - back), y, x)

    def euler(x, score, h, rng):
        return x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)

    default = lambda x, energy, score, step_size=0.3, *, rng: adjusted(x, score, energy, step_size, rng)
    assert ns.check_sampler(default, discretisation="adjusted", n=5000)
    assert ns.check_sampler(lambda x, score, *, step_size, rng: euler(x, score, step_size, rng), n=5000)
    assert ns.check_sampler(lambda x, s, h, rng, leaps=5: euler(x, s, h, rng), n=5000)
    assert ns.check_sampler(lambda x, score, step_size=0.1, rng=None: euler(x, score, step_size, rng), n=5000)


def test_an_overflow_is_one_of_numbers_that_were_changed():
    given = np.array([3, 300, 512])
    assert levels._overflows(given, given.astype(np.uint8).astype(float)) and levels._overflows(given, given - 256.0)
    assert not levels._overflows(given, given.astype(float)) and not levels._overflows(given, given / 2)
    assert not levels._overflows(None, given) and not levels._overflows(given.astype(float), given % 256)
