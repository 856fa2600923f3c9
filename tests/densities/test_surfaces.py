"""Densities on the sphere and the simplex: SciPy's log densities, derivatives along curves, integrals over charts of their own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ive

import numpyscore as ns
from numpyscore import Dirichlet, VonMisesFisher
from numpyscore.densities.surfaces import _log_bessel

seeds = st.integers(0, 2**32 - 1)
H, STENCIL = 1e-3, np.array([1, -8, 8, -1]) / 12
TANGENT = (
    1e-9  # fourth order differences of terms of order 10: truncation 1e-11, rounding 1e-12, and a factor for |x|^-5
)


def von_mises_fisher(rng, d):
    m = rng.standard_normal(d)
    p = VonMisesFisher(m / np.linalg.norm(m), rng.uniform(0.3, 6))
    return p, stats.vonmises_fisher(p.direction, p.concentration)


def dirichlet(rng, d):
    p = Dirichlet(rng.uniform(0.7, 5, d))
    return p, stats.dirichlet(p.alpha)


SURFACES = (von_mises_fisher, dirichlet)


def points(p, rng, n=6):
    """Points of a surface, those of the simplex away from its rim, and an orthonormal basis of the tangent plane at each (n, d - 1, d)."""
    if isinstance(p, VonMisesFisher):
        x = rng.standard_normal((n, p.dim))
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        return x, np.array([np.linalg.svd(row[None])[2][1:] for row in x])
    x = 0.1 / p.dim + 0.9 * rng.dirichlet(np.full(p.dim, 3.0), n)
    return x / x.sum(1, keepdims=True), np.tile(np.linalg.svd(np.ones((1, p.dim)))[2][1:], (n, 1, 1))


def moved(p, x, v, t):
    """The geodesic from x along a tangent v of length 1, at t: an arc of the sphere, a line of the simplex."""
    return np.cos(t) * x + np.sin(t) * v if isinstance(p, VonMisesFisher) else x + t * v


@pytest.mark.parametrize("make", SURFACES)
@given(seed=seeds, d=st.integers(2, 5))
@settings(max_examples=max(4, settings.default.max_examples // 4))
def test_logpdf_is_scipys(make, seed, d):
    rng = np.random.default_rng(seed)
    p, scipys = make(rng, d)
    x, _ = points(p, rng)
    want = scipys.logpdf(x) if make is von_mises_fisher else scipys.logpdf(x.T)
    np.testing.assert_allclose(p.logpdf(x), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", SURFACES)
@given(seed=seeds, d=st.integers(2, 5))
@settings(max_examples=max(4, settings.default.max_examples // 8))  # some sixty differences each
def test_score_and_jacobian_are_derivatives_along_geodesics(make, seed, d):
    """First and second derivative of log p along a geodesic are s . v and v . J v; the trace sums the second over a basis."""
    rng = np.random.default_rng(seed)
    p, _ = make(rng, d)
    x, basis = points(p, rng)
    step = H * (1 if make is von_mises_fisher else x.min())  # no longer than the way to the rim
    total = np.zeros(len(x))
    for v in basis.swapaxes(0, 1):
        along = np.array([p.logpdf(moved(p, x, v, k * step)) for k in (-2, -1, 1, 2)])
        slope = STENCIL @ along / step
        scores = np.array([p.score(moved(p, x, v, k * step)) for k in (-2, -1, 1, 2)])
        turned = np.array(
            [
                (moved(p, x, v, (k + 0.01) * step) - moved(p, x, v, (k - 0.01) * step)) / (0.02 * step)
                for k in (-2, -1, 1, 2)
            ]
        )
        bend = STENCIL @ np.sum(scores * turned, 2) / step  # (s . v)' along the geodesic, v carried with it
        size = 1 + np.abs(p.jacobian(x)).sum((1, 2))
        np.testing.assert_allclose(np.sum(p.score(x) * v, 1), slope, atol=TANGENT * size.max())
        assert np.all(np.abs(p.curvature(x, v) - bend) <= 1e-7 * size)  # carried by a difference: 1e-16 / (0.01 H)
        total += p.curvature(x, v)
    np.testing.assert_allclose(p.trace(x), total, rtol=1e-12, atol=1e-12 * size.max())
    # nothing points out of the surface
    normal = x if make is von_mises_fisher else np.full_like(x, d**-0.5)
    assert np.all(np.abs(np.einsum("ni,ni->n", p.score(x), normal)) <= 1e-13 * size)
    assert np.all(np.abs(np.einsum("nij,nj->ni", p.jacobian(x), normal)) <= 1e-12 * size[:, None])
    np.testing.assert_allclose(p.trace(x), np.einsum("nii->n", p.jacobian(x)), rtol=1e-12, atol=1e-12 * size.max())


@pytest.mark.parametrize(
    "p",
    [VonMisesFisher([0.6, 0.8], 2.5), VonMisesFisher([0.0, 0.6, 0.8], 0.7), VonMisesFisher([0.0, 0.0, 1.0], 400.0)]
    + [Dirichlet([3.5, 4.0]), Dirichlet([4.0, 3.5, 5.0])]
    + [pytest.param(Dirichlet([5.0, 4.5, 4.0, 6.0]), marks=pytest.mark.nightly)],  # a grid in three dimensions
    ids=lambda p: f"{type(p).__name__}-{p.dim}",
)
def test_means_over_the_surface_and_integration_by_parts(p):
    """Mass 1; the mean of the score is 0 within the plane; E[s_0 . s] + E[tr s] = 0 for another density's s, whatever the bend."""
    other = (
        VonMisesFisher(np.roll(p.direction, 1), 1.5)
        if isinstance(p, VonMisesFisher)
        else Dirichlet(p.alpha[::-1] + 0.5)
    )
    columns = lambda x: np.stack(
        [
            np.ones(len(x)),
            np.sum(p.score(x) * other.score(x), 1) + other.trace(x),
            p.trace(x) + np.sum(p.score(x) ** 2, 1),
        ],
        1,
    )
    size = ns.expectation(lambda x: np.sum(p.score(x) ** 2 + other.score(x) ** 2, 1), p).value
    found = ns.expectation(columns, p, rtol=1e-11)
    assert np.all(np.abs(found.value - [1, 0, 0]) <= found.error)
    assert np.all(found.error < 1e-8 * size)


def test_the_mean_of_a_von_mises_fisher_and_of_a_dirichlet():
    """coth k - 1/k along the direction, I_1/I_0 on the circle, alpha over its sum."""
    sphere, circle, simplex = (
        VonMisesFisher([0.0, 0.6, 0.8], 1.7),
        VonMisesFisher([0.6, 0.8], 1.7),
        Dirichlet([3.0, 2.2, 4.0]),
    )
    for p, mean in (
        (sphere, (1 / np.tanh(1.7) - 1 / 1.7) * sphere.direction),
        (circle, ive(1, 1.7) / ive(0, 1.7) * circle.direction),
        (simplex, simplex.alpha / 9.2),
    ):
        np.testing.assert_allclose(ns.expectation(lambda x: x, p).value, mean, rtol=1e-12, atol=1e-13)
        x = p.sample(20_000, rng=0)
        assert np.all(np.abs(x.mean(0) - mean) < 5 * x.std(0) / np.sqrt(20_000))
        assert np.isfinite(p.score(x)).all()


@pytest.mark.parametrize("d, k", [(3, 1e-6), (3, 1e4), (300, 1.0), (2000, 3.0), (2000, 100.0), (2000, 5e3)])
def test_the_normaliser_in_many_dimensions(d, k):
    """I_nu underflows from d = 300 on; Olver's uniform expansion to the order nu^-4 is the oracle there, SciPy's ive elsewhere."""
    nu = d / 2 - 1
    z = k / nu if nu > 10 else None
    if z is None:
        want = np.log(ive(nu, k)) + k - nu * np.log(k)
    else:
        t = 1 / np.hypot(1, z)
        eta = np.hypot(1, z) + np.log(z / (1 + np.hypot(1, z)))
        u = [
            1, (3 * t - 5 * t**3) / 24, (81 * t**2 - 462 * t**4 + 385 * t**6) / 1152,
            (30375 * t**3 - 369603 * t**5 + 765765 * t**7 - 425425 * t**9) / 414720,
        ]  # fmt: skip
        series = sum(term / nu**j for j, term in enumerate(u))
        want = nu * eta - 0.5 * np.log(2 * np.pi * nu) - 0.5 * np.log(np.hypot(1, z)) + np.log(series) - nu * np.log(k)
    assert _log_bessel(nu, k) == pytest.approx(want, rel=1e-12, abs=1e-8)


def test_estimates_on_the_sphere_and_the_simplex_are_within_four_errors():
    fit = ns.estimators.exponential_family
    p = VonMisesFisher([0.6, 0.0, 0.8], 3.0)
    x = p.sample(20_000, rng=0)
    found = fit(x, np.eye(3) - x[:, :, None] * x[:, None, :], -2 * x, covariance=True)
    assert np.all(np.abs(found.value - 3 * p.direction) < 4 * found.standard_errors)

    q, d = Dirichlet([1.5, 2.0, 3.0]), 3  # alpha below 2: E|s|^2 is infinite, so with a weight of all coordinates
    x = q.sample(20_000, rng=0)
    P, h = np.eye(d) - 1 / d, np.prod(x, axis=1)
    slope = (h[:, None] / x) @ P  # gradient of h within the simplex
    gradient = P / x[:, :, None]  # of F_k = log x_k: P e_k / x_k
    laplacian = -(1 - 1 / d) / x**2
    spread = lambda a: np.repeat(a[..., None], d, axis=-1) / d
    given = gradient, spread(laplacian)
    found = fit(x, *given, h=np.repeat(h[:, None], d, 1), h_prime=slope, covariance=True)
    assert np.all(np.abs(found.value - [0.5, 1.0, 2.0]) < 4 * found.standard_errors)
    plain = fit(x, gradient, laplacian, covariance=True)
    assert np.abs((plain.value - [0.5, 1.0, 2.0]) / plain.standard_errors).max() > 4, "control: without the weight"


def test_the_rim_of_the_simplex():
    p = Dirichlet([1.0, 2.0, 3.0])
    edge, corner = np.array([[0.5, 0.0, 0.5]]), np.array([[1.0, 0.0, 0.0]])
    assert p.logpdf(edge) == -np.inf and np.isinf(p.score(edge)).all() and p.score(edge)[0, 1] > 0
    assert np.isnan(p.score(corner)).any()  # no limit there
    assert np.isfinite(p.score(np.array([[0.0, 0.5, 0.5]]))).all()  # its a is 1
    assert p.logpdf(np.array([[-0.1, 0.5, 0.6]])) == -np.inf
    with pytest.raises(ValueError, match="outside the support"):
        p.score(np.array([[-0.1, 0.5, 0.6]]))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: VonMisesFisher([1.0, 1.0], 1.0), r"length 1\.41421, expected"),
        (lambda: VonMisesFisher([1.0, 0.0], -1.0), "concentration"),
        (lambda: VonMisesFisher([1.0], 1.0), "d >= 2"),
        (lambda: VonMisesFisher([1.0, 0.0], 1.0).score(np.array([[1.0, 0.1]])), r"off the surface by 0\.005.*norm"),
        (lambda: VonMisesFisher([1.0, 0.0], 1.0).logpdf(np.array([[2.0, 0.0]])), "off the surface by 1"),
        (lambda: VonMisesFisher([1.0, 0, 0, 0], 1.0).chart, "out of reach"),
        (lambda: Dirichlet([1.0, -1.0]), "minimum -1"),
        (lambda: Dirichlet([2.0, 2.0]).logpdf(np.array([[0.5, 0.6]])), r"x\[0\].*off the surface by 0\.1.*sum to 1"),
    ],
)
def test_errors_name_the_argument_and_the_cure(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_float32_in_float32_out():
    for p in (VonMisesFisher(np.array([0.6, 0.8], np.float32), np.float32(2)), Dirichlet(np.array([2, 3], np.float32))):
        x = p.sample(50, rng=0)
        assert x.dtype == np.float32 and p.score(x).dtype == np.float32 and p.jacobian(x).shape == (50, 2, 2)


def test_control_the_trace_in_space_is_not_that_of_the_sphere():
    """k m . x is linear, its Laplacian in space 0: without the bend integration by parts misses by E|s|^2."""
    p = VonMisesFisher([0.0, 0.6, 0.8], 2.0)
    flat = ns.expectation(lambda x: np.sum(p.score(x) ** 2, 1), p)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(flat.value, 0, atol=1e-9)


def test_a_row_off_the_surface_by_half_of_its_digits_is_named():
    p, q = VonMisesFisher([0.6, 0.8], 2.0), Dirichlet([2.0, 3.0])
    good = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    off = good + np.array([[0.0, 0.0], [0.0, 0.01], [0.5, 0.0]])
    for density in (p, q):
        with pytest.raises(ValueError, match=r"x\[1\] = .* off the surface by 0\.01 \(first bad row: 1\)"):
            density.logpdf(off)
        density.logpdf(good + [1e-8, 0.0])
        with pytest.raises(ValueError, match="off the surface"):
            density.logpdf(good + [3e-8, 0.0])
    for d in (2, 3):
        assert VonMisesFisher(np.eye(d)[0]).support.tolist() == [[-1, 1]] * d
        assert Dirichlet(np.ones(d)).support.tolist() == [[0, 1]] * d


def test_a_direction_is_of_length_1_within_1e_minus_6_and_then_exactly():
    for length in (1 + 0.95e-6, 1 - 0.95e-6):
        assert abs(np.linalg.norm(VonMisesFisher(length * np.array([0.6, 0.8])).direction) - 1) <= 4e-16
    for length in (1 + 1.1e-6, 1 - 1.1e-6):
        with pytest.raises(ValueError, match="length"):
            VonMisesFisher(length * np.array([0.6, 0.8]))
    assert VonMisesFisher([1.0, 0.0]).concentration == 1
    for alpha in ([1.0], [1.0, 0.0], [[1.0, 1.0]]):
        with pytest.raises(ValueError, match="d >= 2"):
            Dirichlet(alpha)


@pytest.mark.parametrize(
    "p", [VonMisesFisher([0.6, 0.8], 3.0), VonMisesFisher([0.0, 0.6, 0.8], 3.0), Dirichlet([2.0, 3.0, 4.0])]
)
def test_a_chart_has_a_dimension_less_covers_the_surface_and_the_same_seed_gives_the_same_points(p):
    density, place = p.chart
    assert density.dim == len(density.support) == p.dim - 1
    low, high = density.support.T
    u = low + (high - low) * np.random.default_rng(0).random((200, p.dim - 1))
    x = place(u)
    assert np.all(p._off(x) < 1e-14) and np.all(np.ptp(x, axis=0) > 0.8 * np.ptp(p.support, axis=1))
    np.testing.assert_array_equal(p.sample(5, rng=3), p.sample(5, rng=3))


@pytest.mark.parametrize("k", [1e-9, 4.0, 1e4])
def test_the_frame_of_a_circle_is_as_wide_as_the_peak(k):
    """Half the circle where all is even; and between 1 and pi standard deviations of a peak, 1 / sqrt(k)."""
    width = VonMisesFisher([1.0, 0.0], k).chart.density.frame.axes[0, 0]
    assert width == pytest.approx(np.pi, rel=1e-4) if k < 1e-8 else 1 <= width * np.sqrt(k) <= np.pi


def test_a_corner_of_the_simplex_warns_of_nothing():
    p = Dirichlet([1.5, 2.0, 3.0])
    assert np.isnan(p.score([[1.0, 0.0, 0.0]])).any() and np.isnan(p.jacobian([[1.0, 0.0, 0.0]])).any()
