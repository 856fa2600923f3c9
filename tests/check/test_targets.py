"""From the arrays of a denoising loss to w, p and q of every point, and what these are within rounding."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import denoising
from numpyscore.check.losses.denoising import (
    Read,
    along_path,
    in_words,
    is_form,
    kernel_note,
    name,
    read,
    weights,
)
from numpyscore.check.losses.names import COARSEST, Level
from numpyscore.check.losses.trials import Trial

X, Z, U = np.random.default_rng(11).standard_normal((3, 4, 5))


def trial_of(sigma=0.5, c=0.8, apart=None, n=4, offset=None, row=None):
    setting = SimpleNamespace(n=n, d=5, m=2, levels=3, x=X)
    s, c = sigma + np.zeros(4), c + np.zeros(4)
    return Trial(
        setting,
        np.zeros((4, 5)),
        None,
        row=np.arange(4) if row is None else row,
        c=c,
        sigma=s,
        eps=Z,
        apart=apart,
        offset=offset,
    )


def found_of(target, w=1.0, doubt=0.0, skew=0.0):
    w = w + np.zeros(4)
    own = w[:, None, None] * (np.eye(5) + np.diag([skew, -skew, 0, 0, 0]))
    return SimpleNamespace(own=own, b=-w[:, None] * target, doubts=doubt + np.zeros(4))


def test_targets_are_solved_by_noise_and_data():
    w, p, q, e = (
        np.array([1.0, 2, 3, 4]),
        np.array([-1.0, 2, 0.5, 3]),
        np.array([0.3, 0, -2, 1]),
        np.array([0.0, 0.5, 1, -1]),
    )
    sigma, c = np.array([0.5, 0.6, 0.7, 0.8]), np.array([1.0, 0.9, 0.8, 0.7])
    target = p[:, None] * Z + q[:, None] * X
    r = read(
        [trial_of(sigma, c), trial_of(0.25, 0.5, apart=U)],
        [found_of(target, w, skew=0.1), found_of(target + e[:, None] * U, w)],
    )
    np.testing.assert_allclose(r.w, np.tile(4 * w, 2))
    np.testing.assert_allclose(r.p[4:], p)
    np.testing.assert_allclose(r.q[4:], q, atol=1e-12)
    np.testing.assert_allclose(r.apart, [0, 0, 0, 0, *e], atol=1e-12)
    assert (
        r.of.tolist() == [[t, k] for t in (0, 1) for k in range(4)] and r.rtol == 1e-9 and np.abs(r.left).max() < 1e-12
    )
    np.testing.assert_array_equal(r.sigma, [*sigma, *[0.25] * 4])
    np.testing.assert_array_equal(r.c, [*c, *[0.5] * 4])
    assert r.levels[1] == Level(4, 5, 0.6, 2, 0.9, 3) and r.levels[5] == Level(4, 5, 0.25, 2, 0.5, 3)
    turned = read(
        [trial_of(row=np.array([2, 0, 1, 3]), offset=np.full(5, 0.5))], [found_of(Z + 2 * (X + 0.5)[[2, 0, 1, 3]])]
    )
    np.testing.assert_allclose(turned.q, 2.0)
    clean = read([trial_of(np.array([0.5, 0, 0.5, 0]))], [found_of(target, w)])
    assert clean.of.tolist() == [[0, 0], [0, 2]] and len(clean.levels) == 2
    none = read([trial_of(0.0)], [found_of(target)])
    assert none.p.shape == (0,) and none.rtol == 1e-9 and none.levels == []


def test_a_point_without_weight_has_no_target():
    weightless = lambda by: read([trial_of()], [found_of(Z, np.array([5.0, 5 * by, 5, 5]))])
    lost, kept = weightless(0.98e-9), weightless(1.02e-9)
    assert (
        np.isnan(lost.p[1])
        and np.isnan(lost.q[1])
        and (lost.left[1], lost.apart[1]) == (0, 0)
        and not np.isnan(kept.p).any()
    )
    assert lost.w[1] == pytest.approx(3 * 5 * 0.98e-9) and lost.rtol == 1e-9  # of the three points that count
    np.testing.assert_allclose(lost.w[[0, 2, 3]], 3 * 5)
    np.testing.assert_allclose(kept.w, 4 * np.array([5, 5 * 1.02e-9, 5, 5]))
    below = read([trial_of()], [found_of(Z, np.array([5.0, -5, 5, 5]))])
    np.testing.assert_allclose(below.p, 1.0)
    doubtful = read([trial_of()], [found_of(Z, np.array([5.0, 0, 5, 5]), np.array([0, 1.0, 0, 0]))])
    assert doubtful.rtol == 1e-9  # what has no weight has no doubt


def test_what_is_left_is_relative_to_what_is_there():
    """The larger of p, q and the part of normals apart; at least a thousandth of the largest of all points."""
    basis = np.stack([Z[1], X[1], np.zeros(5)], axis=1)
    off = np.random.default_rng(4).standard_normal(5)
    off -= basis @ np.linalg.lstsq(basis, off, rcond=None)[0]
    off /= np.abs(off).max()
    row = (np.arange(4) == 1)[:, None]

    def left(p, q, others=1.0, apart=0.0):
        target = np.where(row, p * Z + q * X, others * Z) + 0.1 * row * off
        return read([trial_of()], [found_of(target)]).left[1]

    assert (
        left(4.0, 0.5) == pytest.approx(0.025)
        and left(-0.5, 2.0) == pytest.approx(0.05)
        and left(0.5, -4.0) == pytest.approx(0.025)
    )
    assert (
        left(1e-4, 0.0, 1.0) == pytest.approx(100.0)
        and left(1e-2, 0.0, 1.0) == pytest.approx(10.0)
        and left(2e-3, 0.0, 1.0) == pytest.approx(50.0)
    )
    assert left(1e-4, 0.0, 4.0) == pytest.approx(25.0)
    with_apart = np.stack([Z[1], X[1], U[1]], axis=1)
    rest = off - with_apart @ np.linalg.lstsq(with_apart, off, rcond=None)[0]
    rest /= np.abs(rest).max()
    r = read([trial_of(apart=U)], [found_of(np.where(row, Z + 8 * U, Z) + 0.1 * row * rest)])
    assert r.left[1] == pytest.approx(0.1 / 8)


def test_points_are_known_to_their_doubt():
    """Five standard errors of the weight, by 1 + the size of the target; relative to p and q."""
    target = 3 * Z
    size = np.abs(target).max(1)
    one = lambda doubt, w=2.0: read([trial_of()], [found_of(target, w, doubt)])
    r = one(1e-6)
    assert r.rtol == pytest.approx((5 * 1e-6 / 2 * (1 + size) / 3).max())
    assert one(0.0).rtol == 1e-9 and len(one(1e-6).p) == 4
    # lost: relative to the target, or to 1
    lost = lambda d: 5 * d / 2 * (1 + size) / np.maximum(size, 1)
    at = 1e-3 / lost(1.0)
    some = lambda part: read([trial_of()], [found_of(target, 2.0, np.array([part * at[0], 0, 0, 0]))])
    assert len(some(0.98).p) == 4 and len(some(1.02).p) == 3 and some(1.02).of[0].tolist() == [0, 1]
    assert len(some(1.02).levels) == 3 and some(1.02).rtol == 1e-9
    every = lambda d: read([trial_of()], [found_of(target, 2.0, d)])
    assert np.isfinite(every(1.02 * at).rtol) and len(every(1.02 * at).p) == 4  # all are as bad
    worst = 0.5 / 1e-3 * at
    assert (
        np.isfinite(every(0.98 * worst).rtol)
        and np.isinf(every(1.02 * worst).rtol)
        and np.isfinite(every(1.02 * worst * [1, 1, 1, 0.9]).rtol)
    )
    error = 5 / 2 * (1 + np.abs(0.01 * Z[0]).max())  # of a small target: relative to 1
    small = lambda part: read([trial_of()], [found_of(0.01 * Z, 2.0, np.array([part * 1e-3 / error, 0, 0, 0]))])
    assert len(small(0.98).p) == 4 and len(small(1.02).p) == 3


# ------------------------------------------------------------------------------- within rounding

SIGMA = np.array([0.5, 0.8, 0.3, 0.65, 0.75])
SIZES = ((4, 3), (2, 4), (6, 3), (4, 5), (2, 5))


def made(p, q=0.0, c=None, w=1.0, rtol=1e-9, levels=1, sigma=SIGMA):
    none = np.zeros(5)
    c = np.sqrt(1 - sigma**2) if c is None else c + none
    of = [Level(n, d, s, 1, k, levels) for (n, d), s, k in zip(SIZES, sigma, c, strict=True)]
    return Read(
        w + none, p + none, q + none, none, c, sigma, np.stack([np.arange(5), np.zeros(5, int)], axis=1), of, rtol, none
    )


ONE = np.arange(5) == 3


def test_forms_hold_within_what_is_known():
    form = lambda c, s: (3.0, -4.0)
    near = lambda by, rtol=1e-9, **more: is_form(made(3 + 4 * by * ONE, -4.0, rtol=rtol), form, **more)
    assert near(0.98 * COARSEST) and not near(1.02 * COARSEST) and near(0.98e-3, 1e-3) and not near(1.02e-3, 1e-3)
    assert near(0.98e-3, rtol=1e-9, **{}) is False
    low = lambda by: is_form(made(3.0, -4.0 * (1 + by * ONE)), form)
    assert low(0.98 * COARSEST) and not low(1.02 * COARSEST)
    with np.errstate(all="raise"):
        assert not is_form(made(1.0), lambda c, s: (np.array([1.0, 0, 1, 1, 1]) / np.array([1.0, 0, 1, 1, 1]), 0))
    assert is_form(made(1.0), lambda c, s: (1, 0)) and denoising.of_score(1.0, np.array([0.5])) == (-2.0, 0)


def test_scores_are_known_within_rounding():
    score = lambda p, q=0.0, **more: name(made(p, q, **more), "denoising", False, None).verdict
    p = -1 / SIGMA
    off = lambda by, **more: score(p * (1 + by * ONE), **more)
    assert (
        off(0.97 * COARSEST) == "PASS"
        and off(1.03 * COARSEST) == "FAIL"
        and off(0.97e-4, rtol=1e-4) == "PASS"
        and off(1.03e-4, rtol=1e-4) == "FAIL"
    )
    beside = lambda by, **more: score(p, by * np.abs(p) * ONE, **more)
    assert beside(0.97 * COARSEST) == "PASS" and beside(1.03 * COARSEST) == "FAIL"
    assert beside(0.97e-4, rtol=1e-4) == "PASS" and beside(1.03e-4, rtol=1e-4) == "FAIL"
    said = lambda p, **more: name(made(p, **more), "denoising", False, None).diagnosis.split(":")[0]
    none, wide = "no product with the noise", {"sigma": 2 * SIGMA + 1, "c": 1.0}
    assert (
        said(0.98e-9, **wide) == none
        and said(1.02e-9, **wide) != none
        and said(0.98e-9 / SIGMA) == none != said(1.02e-9 / SIGMA)
    )
    assert said(1.1e-9) == none and said(np.where(ONE, 3.0, 0.0)) != none


def test_conventions_are_known_within_rounding():
    c = np.sqrt(1 - SIGMA**2)
    v = lambda by, **more: name(made(np.sqrt(c**2 + by), -SIGMA, c=np.sqrt(c**2 + by), **more), "denoising", True, None)
    known = lambda by, **more: "fn predicts v = c eps - sigma x" in str(v(by, **more))
    assert known(0.97e-6) and not known(1.03e-6) and "the velocity of a path with c^2" in str(v(1.03e-6))
    assert known(0.97e-4, rtol=1e-4) and not known(1.03e-4, rtol=1e-4)
    notes = lambda p, q, w, objective="denoising": name(made(p, q, w=w), objective, True, None).notes
    assert (
        len(notes(1.0, 0.0, 1 / SIGMA**2)) == 1
        and len(notes(1.0, 0.0, 1.0)) == 2
        and "with that score, " in notes(1.0, 0.0, 1.0)[1]
    )
    assert (
        len(notes(1.0, 0.0, 1.0, "multilevel_denoising")) == 1
        and len(notes(1.0, 0.0, 1 / SIGMA**2, "multilevel_denoising")) == 2
    )
    assert len(notes(c, -SIGMA, c**2 / SIGMA**2)) == 1 and len(notes(c, -SIGMA, 1.0)) == 2
    assert len(notes(0.0, 1.0, c**2 / SIGMA**4)) == 1 and len(notes(0.0, 1.0, 2 * c**2 / SIGMA**4)) == 2
    assert name(made(1.7 * c, -1.7 * SIGMA, w=np.where(ONE, 0.0, 1.0)), "denoising", True, None).verdict != "PASS"


def test_weights_below_zero_are_told_by_their_levels():
    say = lambda w, objective="denoising": name(made(-1 / SIGMA, w=w), objective, False, None)
    some = say(np.array([1.0, -2, 1, -1, 1]))
    assert (
        some.diagnosis == f"sign of the weight: {denoising.WRONG_WAY}, at sigma 0.65 to 0.8"
        and some.pattern == "weights between -2 and 1"
    )
    assert say(-1.0).diagnosis == "sign of the loss: minimising it drives the score away from the data"
    assert say(np.where(ONE, 0.0, 1.0)).verdict == "PASS" and say(np.where(ONE, 0.0, -1.0)).diagnosis.startswith(
        "sign of the weight"
    )
    form = lambda w: name(made(1.0, w=w), "denoising", True, None).verdict
    assert form(np.where(ONE, 0.0, 1.0)) == "PASS" and form(np.where(ONE, -1.0, 1.0)) == "FAIL"
    levelled = name(made(-1 / SIGMA, w=3.0, levels=3), "denoising", False, None)
    assert levelled.verdict == "PASS" and "3" in levelled.notes[0]


def test_paths_are_known_within_rounding():
    c = np.sqrt(1 - SIGMA**2)
    circle = lambda p=1.7 * c, q=-1.7 * SIGMA, **more: along_path(made(p, q, **more))
    assert (
        circle()[0] == "1.7 (c eps - sigma x), the velocity of a path with c^2 + sigma^2 = 1"
        and circle()[1] == "-x~ - (c/sigma) fn/1.7"
    )
    uneven = lambda by, **more: circle(1.7 * c * (1 + by * ONE), **more)
    assert (
        uneven(0.9e-6) is not None
        and uneven(1.1e-6) is None
        and uneven(0.9e-3, q=-1.7 * SIGMA * (1 + 0.9e-3 * ONE), rtol=1e-3) is not None
    )
    other = lambda by: circle(q=-1.7 * SIGMA + 1.7 * by * ONE)
    assert other(0.97e-6) is not None and other(1.03e-6) is None
    off = lambda by: along_path(made(1.7 * c, -1.7 * SIGMA, c=np.sqrt(1 - SIGMA**2 + by * ONE)))
    assert off(0.9e-6) is not None and off(2e-5) is None
    line = lambda p=-2.0, q=2.0, c=1 - SIGMA, **more: along_path(made(p, q, c=c, **more))
    assert line() == (
        "2 x - 2 eps, the velocity of a straight path",
        "-(q x~ - c fn)/(sigma (q sigma - p c)) with fn = p eps + q x",
    )
    assert line(2.0, -2.0)[0] == "-2 x + 2 eps, the velocity of a straight path"
    assert (
        line(p=-2 * (1 + 0.98e-6 * ONE)) is not None
        and line(p=-2 * (1 + 1.02e-6 * ONE)) is None
        and line(q=2 * (1 + 1.02e-6 * ONE)) is None
    )
    assert line(c=1 - SIGMA + 0.9e-6 * ONE) is not None and line(c=1 - SIGMA + 2e-5 * ONE) is None
    assert line(p=-2 * (1 + 0.9e-5)) is not None and line(p=-2 * (1 + 1.2e-5)) is None and line(q=0.0) is None
    two = np.where(SIGMA > 0.6, 0.3, 0.5)
    assert line(c=two, sigma=1 - two) is None
    three = np.array([0.5, 0.3, 0.7, 0.3, 0.5])
    assert line(c=three, sigma=1 - three) is not None
    close = np.array([0.5, 0.5 + 4e-7, 0.7, 0.7, 0.7])
    assert line(c=close, sigma=1 - close) is None  # two levels, to six digits
    apart = np.array([0.5, 0.5 + 4e-6, 0.7, 0.7, 0.7])
    assert line(c=apart, sigma=1 - apart) is not None
    with np.errstate(all="raise"):
        assert along_path(made(1.0, 0.0, c=0.0, sigma=SIGMA * 0 + 1)) is None


def test_kernels_and_lost_targets_within_a_millionth():
    lost = lambda by: name(
        made(2.0, 2 * np.sqrt(1 - SIGMA**2) / SIGMA + by), "denoising", True, None, None, True
    ).diagnosis.split(":")[0]
    assert lost(0.0) == "noisy point as the target"
    one = denoising._lost(
        made(3.0, 3.0 * (1 + np.array([0, 0.98e-6, 1.02e-6, -0.98e-6, -1.02e-6])), c=1.0, sigma=np.ones(5))
    )
    assert one.tolist() == [True, True, False, True, False]
    ends = np.where(ONE, 0.0, 1 - SIGMA)  # a straight line from data to noise, whose last level is all noise
    whole = name(made(0.0, 1.0, c=ends, sigma=1 - ends, w=ends**2 / (1 - ends) ** 4), "denoising", True, None)
    assert whole.verdict == "PASS" and len(whole.notes) == 1 and "fn predicts the clean x" in whole.notes[0]
    part = lambda p: (
        name(
            made(p * np.exp(SIGMA), 3 * np.exp(SIGMA) * np.cos(3 * SIGMA)), "denoising", True, None, None, True
        ).verdict
    )
    assert part(1.0) == "INCONCLUSIVE" and part(0.5e-6) == "FAIL"
    words = lambda q: in_words(made(-2.0, q * 2))
    assert (
        words(0.9 * COARSEST) == "-2 eps"
        and words(1.1 * COARSEST) != "-2 eps"
        and in_words(made(1.0, -1.0)) == "eps - x"
        and in_words(made(0.0, -3.0)) == "-3 x"
    )
    kernel = lambda by: kernel_note(np.sqrt(1 - SIGMA**2 + by * ONE), SIGMA)[0]
    assert (
        "variance preserving" in kernel(0.9e-6)
        and "variance preserving" in kernel(5e-6)
        and "variance preserving" not in kernel(2e-5)
    )
    straight = lambda by: kernel_note(1 - SIGMA + by * ONE, SIGMA)[0]
    assert "a straight line" in straight(5e-6) and "a straight line" not in straight(2e-5)


def test_weights_without_a_law_are_listed():
    r = made(-1 / SIGMA, w=np.array([0.1234567, 0.9, 0.4, 0.77, 0.5]), levels=3)
    (note,) = weights(r)
    assert (
        note
        == f"another convention: the weights of the levels follow no law known here (0.9, 0.5, 0.77, 0.1235 at sigma = 0.8, 0.75, 0.65, 0.5); {denoising.COMPROMISE}"
    )
    sigma = np.array([0.5, 0.5, 0.3, 0.5, 0.3])
    apart = lambda gap: weights(
        made(-1 / SIGMA, w=np.array([0.3, 0.3 + gap, 0.4, 0.9, 0.4]), sigma=sigma, c=1.0, levels=3)
    )[0]
    assert "(0.9, 0.3, 0.4 at sigma = 0.5, 0.5, 0.3)" in apart(4e-7) and "(0.9, 0.3, 0.3, 0.4 at" in apart(4e-6)
