"""Losses that draw from a generator of their own, which no seed of ours holds: what can still be said, and what cannot."""

import numpy as np
import pytest
from nightly import mostly

from numpyscore import check_loss


def half(s):
    return 0.5 * np.sum(s**2, axis=1)


def sliced(seed, *, curvature=1.0, square="projected", unit=False, signs=False, total=1.0):
    """A sliced loss whose generator lives outside of it and goes on from call to call."""
    own = np.random.default_rng(seed)
    squares = {
        "projected": lambda s, v: 0.5 * np.sum(v * s, axis=1) ** 2,
        "whole": lambda s, v: half(s),
        "none": lambda s, v: 0.0,
    }

    def loss(fn, x):
        v = own.choice([-1.0, 1.0], x.shape) if signs else own.standard_normal(x.shape)
        v = v / np.linalg.norm(v, axis=1, keepdims=True) if unit else v
        return total * np.mean(curvature * fn.curvature(x, v) + squares[square](fn.score(x), v))

    return loss


def verdicts(count, seed):
    """Verdicts on right sliced losses: both forms, normal directions, signs, and unit length in both terms."""
    rng, out = np.random.default_rng(seed), []
    for k in range(count):
        forms = (
            {},
            {"square": "whole"},
            {"square": "whole", "signs": True},
            {"signs": True},
            {"unit": True},
            {"total": 2.0},
        )
        report = check_loss(
            sliced(seed + k, **forms[(seed + k) % 6]), objective="sliced", rng=int(rng.integers(1 << 30))
        )
        out.append(report.verdict)
    return out


def test_right_means_are_neither_accused_nor_acquitted():
    """|a/b - 1| <= 6 standard errors of a mean over 200 calls of 1000 rows: about 5 %."""
    assert verdicts(1, 1) == ["INCONCLUSIVE"]
    report = check_loss(sliced(9), objective="sliced")
    assert "rng=" in report.diagnosis and report.resolution < 0.15, report


@pytest.mark.nightly
def test_right_means_are_never_accused():
    assert verdicts(200, 100) == ["INCONCLUSIVE"] * 200


WRONG = {
    "curvature halved": ({"curvature": 0.5}, "curvature halved"),
    "halved beside |s|^2": ({"curvature": 0.5, "square": "whole"}, "curvature halved"),
    "sign": ({"curvature": -1.0}, "sign of the curvature"),
    "unit length beside |s|^2": ({"unit": True, "square": "whole"}, "curvature divided by d"),
    "no square": ({"square": "none"}, "no square"),
    "no curvature": ({"curvature": 0.0}, "no curvature"),
    "negated": ({"total": -1.0}, "sign of the loss"),
    "four fifths": ({"curvature": 0.8, "square": "whole"}, "scale of the curvature"),
}


@pytest.mark.parametrize("name", mostly(WRONG, "curvature halved", "unit length beside |s|^2", "no square", "negated"))
def test_a_mean_many_standard_errors_from_right_is_named(name):
    options, words = WRONG[name]
    report = check_loss(sliced(1, **options), objective="sliced")
    assert report.verdict == "FAIL" and words in report.diagnosis, report
    assert any("standard errors" in note for note in report.notes)


def denoising(target, c=lambda sigma: 1.0):
    own = np.random.default_rng(5)

    def loss(fn, x, sigma):
        eps = own.standard_normal(x.shape)
        return np.mean(half(fn.score(c(sigma) * x + sigma * eps) - target(eps, sigma)))

    return loss


def test_noise_is_seen_whoever_draws_it():
    """The square of the target changes from call to call, as the noise does; it is part of the fit."""
    right = check_loss(denoising(lambda e, s: -e / s), objective="denoising")
    assert right and any("gradient was not compared" in note for note in right.notes), right
    for target, words in ((lambda e, s: e / s, "sign of the target"), (lambda e, s: -e, "-eps instead")):
        report = check_loss(denoising(target), objective="denoising")
        assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_a_scale_of_x_that_cannot_be_measured_is_no_accusation():
    report = check_loss(denoising(lambda e, s: -e / s, lambda s: np.sqrt(1 - s**2)), objective="denoising")
    assert report.verdict == "INCONCLUSIVE" and "rng=" in report.diagnosis, report


def test_levels_are_checked_alone_where_no_seed_holds_the_noise():
    own = np.random.default_rng(6)

    def loss(fn, x, sigmas):
        eps = own.standard_normal((len(sigmas), *x.shape))
        return np.mean([s**2 * np.mean(half(fn.score(x + s * e) + e / s)) for s, e in zip(sigmas, eps, strict=True)])

    report = check_loss(loss, objective="multilevel_denoising")
    assert report and any("checked alone, as it draws noise that no seed holds" in note for note in report.notes), (
        report
    )
