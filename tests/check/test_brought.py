"""What a fourth pair of examiners brought: wrong code with its name, and the right code beside it, which passes."""

import numpy as np
import pytest
from scipy import special, stats

import numpyscore as ns

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
    said(of_levels(np.mean, lambda out: np.clip(out, -1, 1)), "stands still: it is clipped")
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
        assert report and "as difference quotients do" in report.notes[-1], report
    drowned = quotient(1e-6, np.float32)
    assert drowned.verdict == "INCONCLUSIVE" and drowned.diagnosis.startswith("precision: the numbers of trace scatter")
    assert "take a longer step" in drowned.diagnosis and quotient(1e-5, np.float64)
