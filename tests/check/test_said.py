"""What is said of a difference is true of it: small ones of every kind, and names that are given by what they are, not by a resemblance."""

import numpy as np
import pytest

import numpyscore as ns
from numpyscore.check.report import said

RNG = np.random.default_rng(3)
MEANS = np.array([[1.0, -0.5, 0.3], [-1.0, 0.7, 0.2]])
X = RNG.standard_normal((7, 3))


def energy(x):
    return 0.05 * (x**4).sum(1) - np.log(np.exp(-((x[:, None] - MEANS) ** 2).sum(2) / 2).sum(1))


def score(x):
    share = np.exp(-((x[:, None] - MEANS) ** 2).sum(2) / 2)
    return share / share.sum(1, keepdims=True) @ MEANS - x - 0.2 * x**3


SMALL = {  # a difference of a part e of a score, and a word of its name where it is one of that size at all
    "factor": (lambda s, x, e: s * (1 + e), "scale"),
    "shift": (lambda s, x, e: s + e * np.array([1.0, 2.0, -0.5]), "constant shift"),
    "one dimension": (lambda s, x, e: s * (1 + e * np.array([0, 1, 0])), "some dimensions"),
    "some rows": (lambda s, x, e: s * (1 + e * (x[:, :1] > 0)), "some rows"),
    "prior": (lambda s, x, e: s + e * x, "linear term"),
    "quartic": (lambda s, x, e: s + e * x**3, "cubic term"),
    "sine": (lambda s, x, e: s + e * np.sin(5 * x), "inaccurate"),
    "whirl": (lambda s, x, e: s + e * x @ np.array([[0.0, 1, 0], [-1, 0, 2], [0, -2, 0]]), "inaccurate"),
}


@pytest.mark.parametrize("off", [0.0, 1000.0])
@pytest.mark.parametrize("kind", SMALL)
def test_a_small_difference_is_called_what_it_is_or_nothing_is_claimed(kind, off):
    """A factor 1 + 1e-9 was "it rounds x to float32", one of 1 + 1e-10 "rotated coordinates", one of 1 + 1e-6 "a factor of 1"."""
    change, name = SMALL[kind]
    for e in 10.0 ** np.arange(-12, -5):
        wrong = lambda x, e=e: change(score(x - off), x - off, e)
        report = ns.check_score(wrong, energy=lambda x: energy(x - off), x=X + off)
        if report:
            assert e < 1e-6 and not any("a part is computed" in note for note in report.notes), report
        else:
            near = name in report.name or (off and report.name == "inaccurate")  # with the digits that x - 1000 has
            assert near and "factor of 1," not in report.diagnosis, report


def test_x_rounded_to_float32_is_said_where_the_numbers_are_those_at_x_rounded():
    x = RNG.standard_normal((8, 3)) + 1e5
    far = lambda y: np.cosh(y - 1e5).sum(1)
    rounded = ns.check_score(lambda y: -np.sinh(y.astype(np.float32).astype(float) - 1e5), energy=far, x=x)
    assert "rounds x to float32" in rounded.diagnosis and rounded.verdict == "FAIL", rounded
    size = 1e5 * 2.0**-25  # of the same size, and not from rounding
    other = ns.check_score(lambda y: -np.sinh(y - 1e5) + size * np.sin(9 * y), energy=far, x=x)
    assert "rounds x" not in other.diagnosis and other.name == "inaccurate", other


def test_parameters_that_are_a_little_off_are_not_called_right():
    """Differences that grew with theta were "some parameters off by a factor of 1, the others are right: exactly those with |gradient| < 0.65"."""
    theta = np.linspace(-1, 2, 8)
    for e in (1e-6, 1e-5, 1e-4):
        slope = lambda t, e=e: 4 * np.sinh(t) + e * t**6
        report = ns.check_gradient(lambda t: 4 * np.cosh(t).sum(), slope, theta)
        assert "others are right" not in report.diagnosis and (report.name == "inaccurate" or e < 1e-5), report


def test_a_number_is_not_called_by_one_that_it_is_not():
    assert said(1 + 1e-6, 4e-7) == "1.000001" and said(1 - 1e-6, 4e-7) == "0.999999" and said(1 + 1e-7, 1e-6) == "1"
    assert said(-2 - 2e-6, 4e-7) == "-2.000002"
    for e in (5e-7, -5e-7, 1e-6):  # less is what single precision leaves
        report = ns.check_density(lambda x, e=e: e - 0.5 * x[:, 0] ** 2 - 0.5 * np.log(2 * np.pi), dim=1)
        assert report.name == ("unnormalised" if e > 0 else "mass missing"), report
        number = "the integral of p is" if e > 0 else "integrates to"
        assert f"{number} {1 + e:.7g}" in report.diagnosis, report
    loss = lambda fn, x: np.mean((1 + 1e-6) * fn.trace(x) + 0.5 * (fn.score(x) ** 2).sum(1))
    assert "the trace is 1.000001 times" in ns.check_loss(loss, objective="implicit").diagnosis


def test_points_a_little_off_are_no_function_of_the_noise():
    """fn asked at (1 + 1e-12) x~ was "noise changed: each entry is a function of the normal number that was drawn, and not its multiple"."""

    def loss(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        return np.mean(0.5 * ((fn((1 + e) * (x + sigma * eps)) + eps / sigma) ** 2).sum(1))

    for e in (1e-12, 1e-10, 1e-8):  # noqa: B007 (the loss reads it)
        report = ns.check_loss(loss, objective="denoising")
        assert report.verdict != "FAIL" and not any("c = 1;" in note for note in report.notes), report


# ------------------------------------------------------------------------------- names that fit anything, and names that were missing


def test_whole_numbers_are_no_name_where_the_right_ones_are_whole():
    """A trace one too large at whole points was "cut to a whole number, times 0.88": where the cut jumps, anything fitted."""
    x = np.random.default_rng(0).integers(-3, 4, (7, 3)).astype(float)
    wrong = ns.check_trace(lambda x: 1 + (x[:, 0] > 0) - (x**2).sum(1), score=lambda x: -(x**3) / 3, x=x)
    assert wrong.verdict == "FAIL" and wrong.name != "whole numbers", wrong
    cut = ns.check_trace(lambda x: np.trunc(-(x**2).sum(1)), score=lambda x: -(x**3) / 3, x=x + 0.4)
    assert cut.name == "whole numbers", cut


def test_rows_that_only_a_floor_couples_are_told():
    """A log-sum-exp shifted by the largest number of the batch, and floored: rows far below it lose their value."""
    shifted = lambda x: 2 * (x[:, None] @ MEANS.T)[:, 0] - 9 * (x**2).sum(1)[:, None]
    coupled = lambda x: np.log(np.maximum(np.exp((a := shifted(x)) - a.max()), 1e-8).sum(1)) + a.max()
    right = lambda x: np.log(np.exp((a := shifted(x)) - a.max(1, keepdims=True)).sum(1)) + a.max(1)
    x = 1.5 * np.random.default_rng(1).standard_normal((7, 3))
    report = ns.check_rows(coupled, x)
    assert report.name == "batch statistics" and "near rows" in report.pattern, report
    assert ns.check_rows(right, x)


@pytest.mark.parametrize("kind", ["energy", "score"])
def test_targets_in_a_random_order_are_other_rows_targets(kind):
    of = (lambda fn, x: fn.score(x)) if kind == "energy" else (lambda fn, x: fn(x))

    def shuffled(fn, x, target_score, rng):
        return np.mean(np.sum((of(fn, x) - rng.permutation(target_score)) ** 2, axis=1))

    report = ns.check_loss(shuffled, objective="explicit")
    assert report.verdict == "FAIL" and "rows permuted" in report.diagnosis, report

    def noisy(fn, x, target_score, rng):  # right on average
        return np.mean(np.sum((of(fn, x) - target_score - rng.standard_normal(x.shape)) ** 2, axis=1))

    assert ns.check_loss(noisy, objective="explicit").verdict == "INCONCLUSIVE"


def test_an_absolute_value_is_no_clip_and_a_clip_is_one():
    square = lambda a: (a**2).sum(1)
    lengths = ns.check_loss(
        lambda fn, x, target_score: np.mean(np.abs(square(fn(x)) - square(target_score))), objective="explicit"
    )
    assert lengths.verdict == "FAIL" and "clip" not in lengths.name and "absolute value" in lengths.diagnosis, lengths
    half = lambda fn, x: np.mean(fn.trace(x) + square(fn.score(x)) / 2)
    assert ns.check_loss(lambda fn, x: max(half(fn, x), -0.5), objective="implicit").name == "clipped loss"
    assert ns.check_loss(lambda fn, x: min(half(fn, x), 2.0), objective="implicit").name == "clipped loss"


# ------------------------------------------------------------------------------- the score of another energy

NET = ns.EnergyMLP.init(3, [6], "softplus", confinement=1.0, rng=0)
(W, B), (V, _) = NET.layers


@pytest.mark.parametrize("step", ["relu", "rounded"])
def test_a_step_in_the_place_of_a_smooth_function_is_told_where_it_jumps(step):
    of = (lambda z: z > 0) if step == "relu" else (lambda z: np.round(8 / (1 + np.exp(-z))) / 8)
    report = ns.check_score(lambda x: -x - of(x @ W + B) * V[:, 0] @ W.T, energy=NET.energy, x=X)
    assert report.verdict == "FAIL" and report.name == "jumps", report
    bends = lambda x: np.maximum(x @ W + B, 0) @ V[:, 0]  # its right score jumps, and one more than a term is wrong
    both = ns.check_score(lambda x: -((x @ W + B > 0) * V[:, 0]) @ W.T - np.sinh(x), energy=bends, x=X)
    assert both.verdict == "FAIL" and both.name != "jumps", both


def test_a_difference_that_turns_far_out_has_no_power():
    """kappa cos where kappa sin belongs was "so does the gradient of a term that grows as |x|, a softplus, a norm"."""
    angle = lambda x: -2.0 * np.cos(x - 0.5)
    report = ns.check_score(angle, logpdf=lambda x: (2.0 * np.cos(x - 0.5)).sum(1), x=X)
    assert report.verdict == "FAIL" and report.name == "another energy", report


def test_weights_of_a_mixture_are_told_where_they_underflow_far_out():
    """Responsibilities without the determinants, by exponentials that are all zero at a hundred times the spread."""
    sigma, far = np.array([0.5, 1.0]), MEANS[:, :2]
    off = lambda x: ((x[:, None] - far) ** 2).sum(2) / (2 * sigma**2)
    logp = lambda x: np.logaddexp(*(-off(x) - 2 * np.log(sigma)).T)

    def wrong(x):
        share = np.exp(-off(x))
        with np.errstate(invalid="ignore"):
            share = share / share.sum(1, keepdims=True)
        return np.einsum("nk,nkd->nd", share / sigma**2, far - x[:, None])

    report = ns.check_score(wrong, logpdf=logp, x=X[:, :2])
    assert (
        report.verdict == "FAIL" and report.name == "differs by what dies out" and "determinant" in report.diagnosis
    ), report


# ------------------------------------------------------------------------------- what a density lacks


def test_a_truncated_normal_not_divided_by_its_mass_is_named_though_it_is_minus_infinity_outside():
    cov = np.array([[1.0, 0.4], [0.4, 0.8]])
    normal = lambda x: (
        -0.5 * np.einsum("ni,ij,nj->n", x, np.linalg.inv(cov), x) - np.log(2 * np.pi * np.sqrt(np.linalg.det(cov)))
    )
    half = lambda x: np.where(np.all(x > -0.5, axis=1), normal(x), -np.inf)
    support = np.array([[-0.5, np.inf], [-0.5, np.inf]])
    assert ns.check_density(half, support=support).name == "mass of the support"
    other = lambda x: half(x) - 0.1 * np.sum(x**3, axis=1)  # no normal, and its mass is another
    assert ns.check_density(other, support=support).name == "mass missing"


def test_logits_for_weights_are_seen_in_the_masses_of_the_parts():
    parts = lambda x: -0.5 * ((x - [-1.0, 2.0]) / 0.8) ** 2 - np.log(0.8) - 0.5 * np.log(2 * np.pi)
    report = ns.check_density(lambda x: np.logaddexp(*(parts(x) + [0.3, 1.2]).T), dim=1)
    assert report.name == "weights of the parts" and "3.32012, 1.34986, which sum to 4.66998" in report.diagnosis, (
        report
    )
    low = ns.check_density(lambda x: np.logaddexp(*(parts(x) - [0.9, 1.2]).T), dim=1)
    assert low.name == "mass missing", low  # a third part may lie where nobody looked
