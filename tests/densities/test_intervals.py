"""A density restricted to a union of intervals, the weight that belongs to it, and the boundary terms of all its ends."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

import numpyscore as ns
from numpyscore.derivations import verify
from numpyscore.numerics.quadrature import Frame

TWO = [[-1.5, -0.5], [0.25, 2.0]]
P = ns.Restricted(ns.Gaussian(0.3, 1.0), TWO)
MASS = np.diff(stats.norm(0.3).cdf(TWO), axis=1).sum()


def test_normalised_and_zero_between():
    x = np.array([[-1.5], [-1.0], [0.0], [0.25], [2.0], [3.0]])
    want = stats.norm(0.3).logpdf(x[:, 0]) - np.log(MASS)
    want[[2, 5]] = -np.inf
    np.testing.assert_allclose(P.logpdf(x), want, rtol=1e-13)
    mean = ns.expectation(lambda y: np.stack([np.ones(len(y)), y[:, 0]], 1), P)
    by_parts = 0.3 - np.diff(stats.norm(0.3).pdf(TWO), axis=1).sum() / MASS  # E x = mean - [pdf] / mass
    np.testing.assert_allclose(mean.value, [1, by_parts], rtol=1e-12)
    assert [(part.dim, part.support.shape) for part in P.parts] == [(1, (1, 2))] * 2
    inside = x[[0, 1, 3, 4]]
    for part in ("score", "jacobian", "trace"):
        np.testing.assert_array_equal(getattr(P, part)(inside), getattr(ns.Gaussian(0.3, 1.0), part)(inside))
    with pytest.raises(ValueError, match="outside the support"):
        P.score(x)


def test_samples_lie_inside_and_follow_the_density():
    x = P.sample(5000, rng=0)
    assert P._inside(x).all()
    law = lambda t: (
        sum(
            np.clip(stats.norm(0.3).cdf(t) - stats.norm(0.3).cdf(a), 0, np.diff(stats.norm(0.3).cdf([a, b])))
            for a, b in TWO
        )
        / MASS
    )
    assert stats.kstest(x[:, 0], law).pvalue > 1e-3


def test_the_flux_has_four_ends_and_every_line_holds():
    """E[s_0 g] + E[g'] is p g at the ends of both intervals; lines hold, or fail by the flux foreseen, on two intervals as on one."""
    g = lambda x: np.cos(x)
    left = ns.expectation(lambda x: (P.score(x) * g(x))[:, 0] - np.sin(x[:, 0]), P)
    found = ns.flux(g, P)
    assert abs(found.value - left.value) < 1e-12 and abs(found.value) > 0.1
    outer = ns.flux(g, ns.TruncatedGaussian(0.3, 1.0, -1.5, 2.0)).value  # control: the ends of a box alone
    assert abs(outer - found.value) > 0.1
    verdicts = verify(P)
    assert all(v.ok for v in verdicts), verdicts
    assert {"weights kill the boundary term", "weighted losses differ by a constant"} <= {v.step for v in verdicts}


def test_mean_and_variance_come_back_by_the_weight_of_the_union():
    x = P.sample(40_000, rng=1)
    one, zero = np.ones((len(x), 1, 1)), np.zeros((len(x), 1, 1))
    F1, F2 = np.concatenate([one, -x[:, :, None]], 1), np.concatenate([zero, -one], 1)
    fit = lambda pair: ns.estimators.exponential_family(x, F1, F2, h=pair[0], h_prime=pair[1], covariance=True)
    off = lambda found: np.abs((found.value - [0.3, 1.0]) / found.standard_errors)
    assert np.all(off(fit(ns.interval_weight(TWO))) < 4)
    assert off(fit(ns.box_weight(-1.5, 2.0))).max() > 8, "control: inner ends forgotten"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ns.Restricted(ns.Gaussian(0.0, 1.0), [[1.0, 0.0]]), "lower end first"),
        (lambda: ns.Restricted(ns.Gaussian(0.0, 1.0), [[0.0, 1.0], [1.0, 2.0]]), "with room between"),
        (lambda: ns.Restricted(ns.Gaussian(np.zeros(2), 1.0), TWO), "in one dimension"),
        (lambda: ns.Restricted(ns.Exponential(1.0), TWO), r"from -1\.5 to 2\.0, beyond the support"),
        (lambda: ns.Restricted(ns.Uniform(), [[0.1, 0.2], [0.5, 1.5]]), r"from 0\.1 to 1\.5, beyond the support"),
        (lambda: ns.Restricted(ns.Gaussian(0.0, 1.0), [[60.0, 61.0]]).logpdf(np.array([[60.5]])), "no probability"),
    ],
)
def test_errors_name_the_argument_and_the_cure(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_intervals_may_reach_the_ends_of_the_support():
    p = ns.Restricted(ns.Uniform(), [[0.0, 0.25], [0.5, 1.0]])
    np.testing.assert_allclose(p.logpdf(np.array([[0.0], [0.3], [1.0]])), [-np.log(0.75), -np.inf, -np.log(0.75)])


def test_a_normaliser_that_is_not_known_is_refused():
    """|x - .3|^-0.9 has a singularity that nobody was told of: its integral over (0, 1) is known to a few digits, of however little mass."""
    spike = SimpleNamespace(
        dim=1, dtype=np.dtype(float), support=np.array([[0.0, 1.0]]), frame=Frame(np.array([0.5]), np.eye(1)),
        logpdf=lambda x: -0.9 * np.log(np.abs(x[:, 0] - 0.3) + 1e-300) - 20.0, score=lambda x: -0.9 / (x - 0.3),
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected an error below 1e-09"):
        ns.Restricted(spike, [[0.0, 0.4], [0.5, 1.0]]).logpdf([[0.2]])


def test_support_frame_and_parts_are_those_of_the_intervals():
    p = ns.Restricted(ns.Laplace(0.4, 2.0), TWO)
    whole = p.within.frame
    assert P.support.tolist() == [[-1.5, 2.0]] and [part.support.tolist() for part in P.parts] == [[TWO[0]], [TWO[1]]]
    assert all(part.dim == 1 and part.frame == P.within.frame for part in P.parts)
    assert p.frame.breaks == ((-0.5, 0.25, 0.4),) and P.frame.breaks == ((-0.5, 0.25),)
    assert (p.frame.center, p.frame.axes, p.frame.tail, p.frame.reach, p.frame.detail) == (
        whole.center, whole.axes, whole.tail, whole.reach, whole.detail,
    )  # fmt: skip
    np.testing.assert_array_equal(P.sample(5, rng=3), P.sample(5, rng=3))


def test_rejection_is_refused_below_a_share_of_1e_minus_4():
    """Of N(0, 1): 1.05e-4 lies beyond 3.708, 0.95e-4 beyond 3.732."""
    for low, refused in ((3.708, False), (3.732, True)):
        p = ns.Restricted(ns.Gaussian(0.0, 1.0), [[low, 9.0]])
        assert abs(stats.norm.sf(low) - (0.95e-4 if refused else 1.05e-4)) < 1e-6
        if refused:
            with pytest.raises(ValueError, match="too little for rejection"):
                p.sample(1, rng=0)
        else:
            assert p.sample(3, rng=0).shape == (3, 1)
