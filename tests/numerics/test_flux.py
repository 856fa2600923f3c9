"""Flux through the boundary: right where the limit is known, and no number where there is none."""

import inspect
import math
from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.densities import (
    Exponential,
    Gaussian,
    GaussianMixture,
    HalfNormal,
    Laplace,
    StudentT,
    TruncatedGaussian,
    Uniform,
)
from numpyscore.numerics import flux as module
from numpyscore.numerics.flux import Faces, _at_end, _follow, _limit, _point, flux
from numpyscore.numerics.quadrature import Frame, expectation, integrate
from numpyscore.numerics.trapezoid import Sum

EPS, INF = np.finfo(float).eps, np.inf
ones = np.ones
CORRELATED = {d: 0.9 * ones((d, d)) + 0.1 * np.eye(d) for d in (2, 3)}
NARROW = GaussianMixture([0.5, 0.5], [-2.0, 1.0], [1.0, 0.0025])


def assert_honest(found, truth):
    """|value - truth| <= error; 4 eps of slack for the truth's own rounding."""
    assert abs(found.value - truth) <= found.error + 4 * EPS * abs(truth), f"{found} against {truth}"


@pytest.mark.parametrize("d", [1, 2, 3])
def test_boundary_term_of_the_exponential(d):
    """p s through the boundary at 0, for the model score -b: p(0) (-b) (-1) = a b per axis."""
    a, b = 2.0, 3.0
    found = flux(lambda x: np.full(x.shape, -b), Exponential(a * ones(d)))
    assert found.converged
    assert_honest(found, a * b * d)


@pytest.mark.parametrize(
    "density",
    [
        Gaussian(ones(2), CORRELATED[2]),
        Gaussian(ones(3), CORRELATED[3]),
        StudentT(3.0, ones(2), CORRELATED[2]),
        Laplace(ones(2)),
        NARROW,
    ],
    ids=lambda p: f"{type(p).__name__} {p.dim}",
)
def test_no_flux_through_infinity(density):
    found = flux(lambda x: x, density)
    assert found.converged and abs(found.value) <= found.error <= 1e-15


@pytest.mark.parametrize(
    "density",
    [
        Uniform([1.0, -1.0], [2.0, 3.0]),
        TruncatedGaussian([0.0, 0.5], np.diag([1.0, 2.0]), [-1.0, -np.inf], [np.inf, 2.0]),
        HalfNormal([1.0, 2.0]),
        Laplace([0.0, 1.0]),
        Gaussian([0.0, 1.0], [[1.0, 0.5], [0.5, 2.0]]),
        TruncatedGaussian(0.5, 1.0, -1.0, 2.0),
    ],
    ids=lambda p: f"{type(p).__name__} {p.dim}",
)
def test_divergence_theorem(density):
    """int div(p v) = E[div v + v . s] is the flux of p v through the boundary; the left has no boundary term to forget."""
    y = lambda x: x[:, -1]
    v = lambda x: np.column_stack([np.sin(x[:, 0] + y(x)), np.cos(x[:, 0]) * y(x)])[:, : density.dim]
    if density.dim == 1:
        div = lambda x: 2 * np.cos(2 * x[:, 0])
    else:
        div = lambda x: np.cos(x[:, 0] + y(x)) + np.cos(x[:, 0])
    inside = expectation(lambda x: div(x) + (v(x) * density.score(x)).sum(axis=1), density)
    through = flux(v, density)
    assert inside.converged and through.error < 1e-12
    assert abs(inside.value - through.value) <= inside.error + through.error


def test_flux_that_does_not_vanish_is_reported():
    limit = flux(lambda x: x * np.abs(x), StudentT(1.0))  # p x |x| -> 1 / pi at both ends
    assert_honest(limit, 2 / np.pi)
    assert "limit that is not 0" in limit.note
    grows = flux(lambda x: x**3, StudentT(1.0))
    assert np.isnan(grows.value) and np.isinf(grows.error) and not grows.converged


def gamma(k, dim=1):
    """x^(k - 1) e^-x / Gamma(k) per axis, which is 0 at 0 for k > 1, and is never asked for its frame."""

    def logpdf(x):
        with np.errstate(divide="ignore"):
            return ((k - 1) * np.log(x) - x - math.lgamma(k)).sum(axis=1)

    return SimpleNamespace(dim=dim, support=np.array([[0.0, np.inf]] * dim), logpdf=logpdf)


@pytest.mark.parametrize(
    "density, field, truth",
    [
        (Laplace(0.0), lambda x: np.sign(x) * np.exp(np.abs(x)), 1.0),
        (Gaussian(0.0, 1.0), lambda x: np.sign(x) * np.exp(x**2 / 2) * np.sqrt(2 * np.pi), 2.0),
        (gamma(2), lambda x: 0.5 / x - 1, -0.5),
        (gamma(3), lambda x: 0.5 / x - 1, 0.0),
        (gamma(2, 2), lambda x: 0.5 / x - 1, -1.0),
    ],
    ids=["laplace", "gaussian", "shape 2", "shape 3", "shape 2 in the plane"],
)
def test_flux_where_p_vanishes_or_underflows_and_p_v_does_not(density, field, truth):
    found = flux(field, density)
    assert_honest(found, truth)
    assert found.error < (1e-12 if density.dim == 1 else 1e-2)


@pytest.mark.parametrize(
    "density, field",
    [
        (Gaussian(0.0, 1.0), lambda x: x * np.exp(0.6 * x**2)),
        (Gaussian(0.0, 1.0), lambda x: np.exp(x**4 / 1e6)),  # p v falls to e^-12000 before v overflows, and then rises
        (
            Gaussian(np.zeros(2), np.eye(2)),
            lambda x: np.sign(x) * np.exp(x**2 / 2),
        ),  # p underflows on a face, p v does not
        (gamma(1.5), lambda x: 0.5 / x - 1),
        (gamma(1.5, 2), lambda x: 0.5 / x - 1),
        (StudentT(1.0), lambda x: np.sin(x) * (1 + x**2)),
        (StudentT(1.0), lambda x: np.sin(np.log1p(np.abs(x))) * (1 + x**2)),
    ],
    ids=["grows", "grows late", "plane", "shape 1.5", "shape 1.5 in the plane", "oscillates", "oscillates slowly"],
)
def test_flux_without_a_limit_is_no_number(density, field):
    found = flux(field, density)
    assert np.isnan(found.value) and np.isinf(found.error) and not found.converged and "does not vanish" in found.note


@pytest.mark.parametrize("c", [1e-9, 1e9])
@pytest.mark.parametrize(
    "density, field",
    [
        (Gaussian(0.0, 1.0), lambda x: x),
        (StudentT(1.0), lambda x: np.sign(x) * np.abs(x) ** 1.5),  # p v falls as |x|^-1/2
        (StudentT(1.0), lambda x: x * np.abs(x)),
        (StudentT(1.0), lambda x: x**3),
        (gamma(2), lambda x: 0.5 / x - 1),
        (gamma(1.5), lambda x: 0.5 / x - 1),
        (gamma(1.0001), lambda x: x),
    ],
    ids=["vanishes", "slowly", "limit", "grows", "limit at 0", "grows at 0", "vanishes at 0"],
)
def test_the_unit_of_the_field_changes_no_word(density, field, c, request):
    """The flux is linear in the field: c v has c times the flux and the same note; errors that are rounding may differ, by 10 here."""
    one, other = flux(field, density), flux(lambda x: c * field(x), density)
    assert other.note == one.note and other.converged == one.converged
    assert ("slowly" in one.note) == (request.node.callspec.id.startswith("slowly"))
    if np.isfinite(one.error):
        assert abs(other.value - c * one.value) <= other.error + c * one.error
        assert one.error / 10 <= other.error / c <= 10 * one.error


def test_a_field_must_be_a_vector_per_point():
    with pytest.raises(ValueError, match="field returned shape"):
        flux(lambda x: (x**2).sum(axis=1), Gaussian(np.zeros(2), np.eye(2)))


def test_a_face_that_is_forgotten_is_noticed(monkeypatch):
    """Negative control: with the sign of the lower ends turned, the divergence theorem fails."""
    monkeypatch.setattr("numpyscore.numerics.flux.product", lambda axes, sides: [(j, 1) for j in axes for _ in sides])
    density = Uniform([1.0, -1.0], [2.0, 3.0])
    inside = expectation(lambda x: 1 + 0 * x[:, 0], density)  # the divergence of (x_1, 0)
    assert abs(inside.value - flux(lambda x: x * [1.0, 0.0], density).value) > 0.5


@pytest.mark.parametrize(
    "density", [Gaussian([0.0], [[1.0]]), Exponential([1.0]), Uniform([0.0], [1.0])], ids=lambda p: type(p).__name__
)
def test_the_evaluations_of_a_flux_are_the_points_it_asked_for(density):
    asked = []
    found = flux(lambda x: (asked.append(len(x)), -x)[1], density)
    assert found.evaluations == sum(asked) > 100


def test_faces_of_a_rotated_frame_are_planes_of_its_own_coordinates():
    """p v through z_j = c, x = m + A z: the unit normal density of c, times component j of A^-1 v; and the points lie where they should."""
    p, v = Gaussian([50.0, -20.0], [[1.0, 0.9], [0.9, 1.0]]), np.array([3.0, -1.0])
    faces = Faces(lambda x: np.tile(v, (len(x), 1)), p, 1e-12, (), None)
    A, z = p.frame.axes, np.array([[0.7, -1.2], [2.0, 0.1]])
    np.testing.assert_allclose(faces.x(z), p.frame.center + z @ A.T, rtol=1e-15)
    assert faces.x(z).flags.c_contiguous and faces.turned
    for j, at in ((0, 0.3), (1, -1.1)):
        found = faces.through(j, at)
        truth = np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi) * np.linalg.solve(A, v)[j]
        assert abs(found.value[0] - truth) <= (found.error + found.rest)[0] + 4 * EPS
        assert found.total[0] == pytest.approx(abs(truth), rel=1e-14)
        logp, along, wrong = faces.along(j, np.array([at]))
        np.testing.assert_allclose(along, np.linalg.solve(A, v)[j] * np.linalg.det(A), rtol=1e-14)
        z = np.where(np.arange(2) == j, at, faces.middle)
        np.testing.assert_allclose(logp, p.logpdf((p.frame.center + A @ z)[None]), rtol=1e-14)
        assert not wrong


def test_the_note_names_the_end_and_the_axis():
    assert "through x[:, 0] = 0" in flux(lambda x: 0.5 / x - 1, gamma(2)).note
    assert "through x[:, 0] = +inf" in flux(lambda x: x**3 * (x > 0), StudentT(1.0)).note
    assert "through x[:, 0] = -inf" in flux(lambda x: x**3 * (x < 0), StudentT(1.0)).note
    one = flux(lambda x: np.column_stack([0 * x[:, 0], 0.5 / x[:, 1] - 1]), gamma(2, 2)).note
    assert "x[:, 1] = 0" in one and "x[:, 0]" not in one


@pytest.mark.parametrize("axis", [0, 1])
def test_the_line_towards_an_end_does_not_run_where_p_or_the_field_is_0(axis):
    """p is 0 on the edge of a quadrant, where the centre of a density without a frame lies; x_1^2 on the axis: the flux was 0 +- 1e-54."""
    other = 1 - axis
    along = lambda f: lambda x: np.where(np.arange(2) == axis, f(x)[:, None], 0.0)
    assert_honest(flux(along(lambda x: 0.5 / x[:, axis] - 1), gamma(2, 2)), -0.5)
    assert_honest(flux(along(lambda x: x[:, other] ** 2 * (0.5 / x[:, axis] - 1)), gamma(2, 2)), -3.0)  # E x^2 is 6
    field = along(lambda x: np.sign(x[:, axis]) * x[:, other] ** 2 * np.exp(x[:, axis] ** 2 / 2))
    assert np.isnan(flux(field, Gaussian(np.zeros(2), np.eye(2))).value)  # sqrt(2 / pi), where p underflows


def test_no_field_has_no_flux_and_the_arguments_are_looked_at():
    none = flux(lambda x: 0 * x, Gaussian(np.zeros(2), np.eye(2)))
    assert none.value == 0 == none.error and none.converged and not none.note
    with pytest.raises(TypeError, match="exchanged"):
        flux(Gaussian(0.0, 1.0), lambda x: x)
    with pytest.raises(ValueError, match="rtol is"):
        flux(lambda x: x, Gaussian(0.0, 1.0), rtol=-1.0)


def test_the_accuracy_asked_for_is_1e_minus_12_unless_told_otherwise():
    assert {inspect.signature(f).parameters["rtol"].default for f in (flux, expectation, integrate)} == {1e-12}


def test_the_words_for_a_flux_on_its_way_to_an_end():
    """Of 60 points: m = 15 of them are looked at, and those before; what came earlier does not count."""
    k = np.arange(60.0)
    peak = np.exp(-((k - 20) ** 2) / 8)  # in the second quarter
    kinds = {
        "": np.exp(-k),
        "the flux vanishes slowly": 50 * peak + (1 + k) ** -0.5,
        "the flux tends to a limit that is not 0": 50 * peak + 1 + np.exp(-k / 2),
        "the flux does not vanish": 1 + 0.5 * np.sin(k),
    }
    for told, size in kinds.items():
        for sign in (1, -1):
            found, bound, news = _limit(np.zeros(60), sign * size, False)
            assert news == told and found.value[0] == pytest.approx(sign * size[-1]), told
            truth = {"the flux tends to a limit that is not 0": sign, "the flux does not vanish": INF}.get(told, 0)
            assert bound >= min(abs(truth - found.value[0]), INF) and found.total[0] == pytest.approx(size.max())
            assert (bound < INF) == (told != "the flux does not vanish")
    growing = 1e-3 * np.exp(0.1 * k)
    assert _limit(np.zeros(60), growing, False)[1:] == (INF, "the flux does not vanish")
    assert _limit(np.zeros(5), np.ones(5), False)[1:] == (INF, "the field is not finite")
    # p v falls, but log v grows as k^2 and -log p as k until v is no number: it overtakes it further on
    late = _limit(-1.0 - 20 * k, np.exp(0.2 * k**2 - 0.01), True)
    assert late[1:] == (INF, "the flux does not vanish")
    assert _limit(-1.0 - 20 * k, np.exp(0.3 * k), True)[2] == ""


@pytest.mark.parametrize(
    "density", [Uniform(0.0, 1.0), Gaussian(0.0, 1.0), Exponential(2.0), Uniform([0.0, 2.0], [1.0, 6.0])]
)
def test_faces_come_ever_nearer_from_within(density):
    faces = Faces(lambda x: x, density, 1e-12, (), None)
    for j in range(density.dim):
        low, high = density.support[j]
        for side, end in enumerate((low, high)):
            face, most = faces.nearer(j, side)
            z = face(np.arange(12.0))
            assert np.all((low < z) & (z < high)) and 10 < most <= 40 and np.all(np.diff(z) * (2 * side - 1) > 0)
            assert abs(face(most) - end) < 1e-9 if np.isfinite(end) else abs(z[-1]) > 1e4
        if np.isfinite([low, high]).all() or np.isinf([low, high]).all():  # from either side alike
            one, other = (faces.nearer(j, side)[0](np.arange(5.0)) for side in (0, 1))
            middle = 0.5 * (low + high) if np.isfinite(low) else 0.0
            np.testing.assert_allclose(one - middle, middle - other, rtol=1e-12)


# --------------------------------------------------------------------------- the parts, each against what it is said to be


def whole(value, total=None, endless=False, error=0.0, rest=0.0):
    """The Sum of one face."""
    total = abs(value) if total is None else total
    return Sum(*(np.array([float(a)]) for a in (value, total, error, rest)), np.array([endless]), evaluations=7)


def test_p_v_at_a_point_with_the_rounding_of_its_logarithm():
    for v in (2.0, -2.0):
        found = _point(-5.0, v)
        assert (
            found.total[0] == pytest.approx(2 * math.exp(-5), rel=1e-15)
            and found.value[0] == np.sign(v) * found.total[0]
        )
        assert found.rest[0] == pytest.approx(EPS * (8 + 5) * found.total[0], rel=1e-14, abs=0) and found.error[0] == 0
        assert not found.endless[0]
    nothing, huge = _point(-5.0, 0.0), _point(1e3, 1.0)
    for found in (nothing, _point(-INF, 1.0)):
        assert found.value[0] == found.total[0] == found.error[0] == found.rest[0] == 0 and not found.endless[0]
    assert huge.endless[0]
    assert _point(-1e3, 1e300).total[0] == pytest.approx(
        math.exp(-1e3 + 300 * math.log(10)), rel=1e-12, abs=0
    )  # p is 0


# on the way to an end: p v at each point, each number on its side of a threshold. The last quarter is compared with the one before.
LIMIT, SLOW, NOT = "the flux tends to a limit that is not 0", "the flux vanishes slowly", "the flux does not vanish"
up_down = lambda n, low, high: [low, high] * (n // 2) + [low] * (n % 2)
LINES = {
    "last three below a tenth of eps": ([1.0] * 9 + [0.09 * EPS, 0.08 * EPS, 0.07 * EPS], "", 0.09 * EPS),
    "one of them above it": ([1.0] * 9 + [0.11 * EPS, 0.01 * EPS, 0.01 * EPS], SLOW, 0.44 * EPS),
    "nothing at all": ([0.0] * 12, "", 0.0),
    "six points are enough": ([1.0] * 3 + [0.01 * EPS] * 3, "", 0.01 * EPS),
    "a quarter of 60": ([1.0] * 45 + [0.8] * 15, SLOW, 3.2),
    "three of 8 at least": ([1.0] * 5 + [0.8] * 3, SLOW, 3.2),
    "by a tenth": ([1.0] * 45 + [0.89] * 15, SLOW, 3.56),
    "by less": ([1.0] * 45 + [0.91] * 15, LIMIT, 0.0),
    "slowly, of the last three the largest": ([1.0] * 45 + [0.5] * 12 + [0.4, 0.3, 0.2], SLOW, 1.6),
    "the last point alone falls": ([1.0] * 59 + [0.5], NOT, INF),
    "the largest alone falls": ([1.0] * 44 + [0.5] + [0.6] * 15, LIMIT, 0.0),
    "the last point has not fallen": ([1.0] * 30 + [2.0] * 14 + [1.0] + [0.8] * 14 + [0.95], NOT, INF),
    "settles tenfold": ([2.0] * 30 + up_down(15, 2.0, 3.0) + up_down(15, 2.5, 2.59), LIMIT, 0.18),
    "settles, but less": ([2.0] * 30 + up_down(15, 2.0, 3.0) + up_down(15, 2.5, 2.61), NOT, INF),
    "settled to a ten billionth": ([4.0] * 45 + up_down(15, 4.0, 4.0 + 3.6e-10), LIMIT, 7.2e-10),
    "settled, but less": ([4.0] * 45 + up_down(15, 4.0, 4.0 + 4.4e-10), NOT, INF),
    "changes its sign": ([2.0] * 45 + up_down(15, 2.0, -2.0), NOT, INF),
    "overflows": ([1.0] * 9 + [INF] * 3, NOT, INF),
}  # fmt: skip


@pytest.mark.parametrize("flow, news, bound", LINES.values(), ids=LINES)
def test_the_limit_along_a_line_is_judged_by_its_last_quarter(flow, news, bound):
    with np.errstate(over="ignore"):
        logp = np.where(np.isinf(flow), 800.0, 0.0)
    v = np.where(np.isinf(flow), 1.0, flow)
    found, far, told = _limit(logp, v, False)
    assert told == news and far == pytest.approx(bound, rel=1e-4, abs=1e-30)
    assert found.total[0] == pytest.approx(np.max(np.abs(flow))) and found.value[0] == pytest.approx(flow[-1])


@pytest.mark.parametrize(
    "log_v, log_p, wrong, overtakes",
    [
        ((2.0, 3.0, 8.3), (70, 140, 280), True, True),  # -log p grows fourfold, log |v| a little more
        ((2.0, 3.0, 8.3), (70, 140, 280), False, False),  # v is a number all the way
        ((2.0, 3.0, 8.0), (70, 140, 280), True, False),  # as fast
        ((2.0, 3.0, 8.02), (70, 140, 280), True, False),  # faster by less than a hundredth of the power
        ((1.02, 3.0, 9.0), (70, 140, 280), True, True),
        ((0.98, 3.0, 9.0), (70, 140, 280), True, False),  # too small to tell
        ((2.0, 3.0, 8.3), (0.98, 20, 3.6), True, False),
        ((2.0, 3.0, 8.3), (1.02, 20, 3.6), True, True),
    ],
)
def test_a_field_that_overflows_later_has_overtaken_p_if_its_logarithm_grows_faster(log_v, log_p, wrong, overtakes):
    """By the last three of twelve points; those before say the contrary. p v itself is next to nothing there."""
    v = np.exp([300.0 - 20 * k for k in range(9)] + list(log_v))
    logp = -np.array([0.0, *[400.0 + k for k in range(8)], *log_p])
    found = _limit(logp, v, wrong)
    assert found[1:] == (INF, NOT) if overtakes else found[2] == ""


# on the way through faces: value and |p v| on each, in the order they are asked for
def followed(values, totals, inner, most=40, endless=()):
    faces = lambda k: whole(values[min(k, len(values) - 1)], totals[min(k, len(totals) - 1)], k in endless)
    found, bound, news = _follow(faces, most, inner)
    assert [f.total[0] for f in found] == [faces(k).total[0] for k in range(len(found))]
    return len(found), bound, news


GEOMETRIC = {r: [r**k for k in range(40)] for r in (0.89, 0.91, 0.5)}
halving = lambda r, n=40: [1 + r**k for k in range(n)]
FACES = {
    "nothing at all": (([0], [0.0]), 40, True, (2, 0.0, "")),
    "below a tenth of eps of the first": (([0], [1.0, 0.09 * EPS]), 40, True, (2, 0.09 * EPS, "")),
    "exactly there": (([0], [1.0, 0.1 * EPS]), 40, True, (2, 0.1 * EPS, "")),
    "of the first, not of the largest": (([0], [1.0, 100.0, 0.2 * EPS, 0.05 * EPS]), 40, True, (4, 0.05 * EPS, "")),
    "not yet": (([0], [1.0, 0.11 * EPS, 0.01 * EPS]), 40, True, (3, 0.01 * EPS, "")),
    "slowly": ((GEOMETRIC[0.89], GEOMETRIC[0.89]), 20, False, (20, 4 * 0.89**19, SLOW)),
    "slowly at an end": ((GEOMETRIC[0.89], GEOMETRIC[0.89]), 20, True, (20, 4 * 0.89**19, SLOW)),
    "too slowly": (([1.0], GEOMETRIC[0.91]), 20, False, (20, INF, NOT)),
    "level from the first on": (([1.0], [1.0]), 40, True, (8, 0.0, LIMIT)),
    "level, far away": (([1.0], [1.0]), 40, False, (8, INF, NOT)),
    "level in the last but one step only": (([1.0], [0.98**k for k in range(10)] + [0.98**9] * 30), 40, True, (12, 0.0, LIMIT)),
    "up and down again": (([1.0], [1, 1, 1, 1, 1, 1, 1.02, 1]), 40, True, (10, 0.0, LIMIT)),
    "growing": (([1.0], [2.0**k for k in range(8)]), 40, False, (8, INF, NOT)),
    "half the distance each time": ((halving(0.5), [2.0]), 40, True, (8, 4 * 0.5**7, LIMIT)),
    "more than half": ((halving(0.51), [2.0]), 40, True, (8, INF, NOT)),
    "half the distance, far away": ((halving(0.5), [2.0]), 40, False, (8, INF, NOT)),
    "rounding": (([1, 1, 1, 1, 1, 1, 1 - 1.8e-12, 1], [2.0]), 40, True, (8, 7.2e-12, LIMIT)),
    "more than rounding": (([1, 1, 1, 1, 1, 1, 1 - 2.2e-12, 1], [2.0]), 40, True, (8, INF, NOT)),
}  # fmt: skip


@pytest.mark.parametrize("faces, most, inner, expected", FACES.values(), ids=FACES)
def test_the_flux_through_faces_ever_nearer(faces, most, inner, expected):
    length, bound, news = followed(*faces, inner, most)
    assert (length, news) == (expected[0], expected[2])
    assert bound == pytest.approx(expected[1], rel=1e-3, abs=1e-30)


def test_an_infinite_flux_on_the_way_ends_it():
    for k in (0, 3):
        assert followed([1.0], [1.0], True, endless=(k,)) == (k + 1, INF, "the flux is infinite on the way")


def box(support, center, scale, reach=1.5, breaks=(), own=()):
    """Faces of a density with a diagonal frame there, constant, and the field x."""
    d = len(support)
    frame = Frame(np.array(center, float), np.diag(np.array(scale, float)), "gaussian", reach, 1.0, own)
    density = SimpleNamespace(dim=d, support=np.array(support, float), logpdf=lambda x: -(x**2).sum(1), frame=frame)
    return Faces(lambda x: x, density, 1e-9, breaks, None)


def test_faces_towards_infinity_and_towards_an_end():
    faces = box([[-INF, INF], [1.0, INF], [2.0, 3.0]], [5.0, 2.0, 2.5], [2.0, 4.0, 3.0])
    for side, sign in ((0, -1), (1, 1)):
        face, most = faces.nearer(0, side)
        assert [face(k) for k in range(3)] == [5 + sign * 2 * (1.5 + 2 * (4**k - 1)) for k in range(3)]
        assert most == 40 == module.MOST
    assert faces.nearer(1, 1)[0](0) == 2 + 4 * 1.5
    face, most = faces.nearer(1, 0)  # by its scale, and never closer than ten thousand spacings of the end
    assert [face(k) for k in range(3)] == [5.0, 2.0, 1.25]
    distance = lambda k: 4 * 4.0**-k / np.spacing(1.0)
    assert distance(most) >= 1e4 > distance(most + 1)
    for side, end, sign in ((0, 2.0, 1), (1, 3.0, -1)):  # by half of the interval
        assert [faces.nearer(2, side)[0](k) for k in range(2)] == [2.5, end + sign * 0.125]
    assert box([[0.0, INF]], [1.0], [1.0]).nearer(0, 0)[1] == 40  # next to 0 are ever smaller numbers


def test_the_line_to_an_end_leads_through_the_inside_and_off_planes_of_symmetry():
    """A third of the scale off the centre, and as far within the support as it allows: its middle, or a scale from an end."""
    for support, center, scale, middle in (
        ([-INF, INF], 0.0, 2.0, 0.6),
        ([0.0, 1.0], 0.5, 1.0, 0.5),
        ([0.0, INF], 0.0, 1.0, 1.0),
        ([0.0, 10.0], 0.0, 1.0, 1.0),
        ([0.0, 10.0], 10.0, 1.0, 9.0),
        ([-INF, 3.0], 3.0, 0.5, 2.5),
        ([0.0, 10.0], 5.0, 1.0, 5.3),
    ):
        assert box([support], [center], [scale]).middle == pytest.approx([middle])


def test_breaks_of_the_frame_and_those_that_are_given_cut_a_face_both():
    faces = box([[-INF, INF]] * 2, [0, 0], [1, 1], breaks=((2.0, 0.5), (3.0,)), own=((0.5, -1.0), ()))
    assert faces.cuts == [[-1.0, 0.5, 2.0], [3.0]]


def test_a_face_on_which_p_underflows_has_no_flux():
    found = box([[-INF, INF]] * 2, [0, 0], [1, 1]).through(0, 1e3)
    assert found.value[0] == found.total[0] == found.error[0] == found.rest[0] == 0 and not found.endless[0]


def test_the_accuracy_of_a_face_is_that_of_the_flux_unless_told_otherwise(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "over_pieces", lambda *a: asked.append(a))
    faces = box([[-INF, INF]] * 2, [0, 0], [1, 1])
    faces.through(0, 0.5), faces.through(1, 0.5, 1e-6)
    assert [a[5] for a in asked] == [1e-9, 1e-6]


def test_a_field_that_is_no_number_further_on_ends_the_line_there():
    faces = box([[-INF, INF]] * 2, [0, 0], [1, 1])
    faces.field = lambda x: np.where(x[:, :1] > 2, np.nan, 1.0) * [3.0, 4.0]
    at = np.array([0.0, 1.0, 3.0, 1.5])
    logp, v, wrong = faces.along(0, at)
    assert wrong is True and v.tolist() == [3.0, 3.0] and len(logp) == 2
    logp, v, wrong = faces.along(1, at)
    assert wrong is False and v.tolist() == [4.0] * 4
    np.testing.assert_allclose(logp, -(at**2) - 0.3**2)
    logp, v, wrong = faces.along(0, at + 3)
    assert wrong is True and len(v) == len(logp) == 0
    faces.field = lambda x: np.ones(x.shape, int)
    assert faces.along(0, at)[1].tolist() == [1] * 4


class Ways:
    """Faces of a table: what p v is on the end, along the line and through faces on the way; what was asked."""

    def __init__(self, d, inner, end=None, line=(), faces=(), most=10):
        self.d, self.ends = d, np.array([[0.0 if inner else -INF, INF]])
        self.end, self.line, self.faces, self.most, self.asked = end, line, faces, most, []

    def nearer(self, j, side):
        """Faces 1, 1/2, 1/4 ... from the end, or further and further out."""
        return lambda k: 2.0**-k, self.most

    def through(self, j, at, rtol=None):
        """The end itself is asked for to full accuracy, those on the way to 1e-6."""
        self.asked.append((at, rtol))
        k = round(-np.log2(at)) if at else 0
        value, total = self.end if at == 0 else self.faces[min(k, len(self.faces) - 1)]
        return whole(value, total)

    def along(self, j, at):
        """log p = 0 and v."""
        if at.tolist() == [0.0]:
            return (
                (np.zeros(1), np.array([self.end]), False) if self.end is not None else (np.zeros(0), np.zeros(0), True)
            )
        self.asked.append(at)
        v = np.resize(np.array(self.line, float), len(at)) if len(self.line) == 1 else np.interp(at, *self.line)
        return np.zeros(len(at)), v, False


FALLING = [(0.0, 4.0**-k) for k in range(40)]
TO_NOTHING = ([0.0, 1e-2, 2e-2, 1.0], [0.0, 0.0, 1.0, 1.0])  # v by the distance from the end


@pytest.mark.parametrize(
    "ways, value, bound, news, points, last",
    [
        # one dimension: the point on the end counts if p v is not 0 there, or if it vanishes on the way as well
        (Ways(1, True, end=3.0), 3, 0, "", 1, None),
        (Ways(1, True, end=0.0, line=TO_NOTHING), 0, 0, "", 45, 44),
        (Ways(1, True, end=0.0, line=[2.0]), 2, 0, LIMIT, 45, 44),
        (Ways(1, True, end=None, line=[2.0]), 2, 0, LIMIT, 44, 44),
        (Ways(1, True, end=None, line=TO_NOTHING), 0, 0, "", 44, 44),
        (Ways(1, True, end=None, most=3), 0, INF, "the field is not finite", 0, None),
        (Ways(1, True, end=None, line=[2.0], most=4), 2, 0, LIMIT, 18, 18),
        (Ways(1, False, line=TO_NOTHING), 0, 0, "", 44, 44),
        (Ways(1, False, line=[2.0]), 2, 0, LIMIT, 44, 44),
        # more: the face on the end counts likewise; else faces on the way are followed
        (Ways(2, True, end=(3.0, 4.0)), 3, 0, "", 7, None),
        (Ways(2, True, end=(0.0, 0.0), line=TO_NOTHING), 0, 0, "", 7 + 44, 44),
        (Ways(2, True, end=(0.0, 0.0), line=[2.0], faces=[(2.0, 2.0)]), 2, 0, LIMIT, 7 + 44 + 8 * 7, 44),
        (Ways(2, False, line=TO_NOTHING, faces=FALLING, most=40), 0, 4.0**-28, "", 174 + 29 * 7, 174),
        # the line does not vanish, but all faces do: where p underflows on a face, p v need not
        (Ways(2, False, line=[2.0], faces=FALLING, most=40), 0, INF, NOT + ": where p underflows, p v does not", 377, 174),
        (Ways(2, True, end=(0.0, 0.0), line=[2.0], faces=[(0.21, 0.21)]), 0.21, 0, LIMIT, 107, 44),
        (Ways(2, True, end=(0.0, 0.0), line=[2.0], faces=[(0.19, 0.19)]), 0.19, INF, NOT + ": where p underflows, p v does not", 107, 44),
        (Ways(2, False, line=[2.0], faces=[(0.1, 0.1)]), 0.1, INF, NOT, 44 + 56, 44),
    ],
)  # fmt: skip
def test_an_end_is_looked_at_and_where_nothing_comes_through_the_way_to_it(ways, value, bound, news, points, last):
    found, far, told, spent = _at_end(ways, 0, 0)
    assert told == news and spent == points and found[-1].value[0] == pytest.approx(value, abs=1e-12)
    assert far == pytest.approx(bound, rel=1e-9, abs=1e-12)
    lines = [a for a in ways.asked if isinstance(a, np.ndarray)]
    assert [len(a) for a in lines] == ([] if last is None else [last])
    assert all(a[0] == 1.0 for a in lines)  # from the first face on
    assert all(rtol == (None if at == 0 else 1e-6) for at, rtol in (a for a in ways.asked if isinstance(a, tuple)))


def test_the_error_of_a_flux_is_that_of_all_ends_with_what_lies_beyond_them(monkeypatch):
    """Value 3 of the upper end minus 1 of the lower; errors .25 + .5 + 1 and 2 + 4 + 8."""
    ends = {0: ([whole(9.0, 9.0), whole(1.0, 5.0, error=0.25, rest=0.5)], 1.0, "", 10), 1: ([whole(3.0, 6.0, error=2, rest=4)], 8.0, "", 3)}  # fmt: skip
    monkeypatch.setattr(module, "_at_end", lambda faces, j, side: ends[side])
    found = flux(lambda x: x, Gaussian(0.0, 1.0))
    assert (found.value, found.error, found.evaluations, found.converged) == (2.0, 15.75, 13, False)
    assert found.note == "error 2e+01 against a flux of 9e+00 through the bulk"  # the largest of the first ones
    assert flux(lambda x: x, Gaussian(0.0, 1.0), rtol=15.75 / 9).converged  # the accuracy asked for, and no more
    assert not flux(lambda x: x, Gaussian(0.0, 1.0), rtol=15.7 / 9).converged
    ends[0] = (ends[0][0], INF, "far", 10)
    found = flux(lambda x: x, Gaussian(0.0, 1.0))
    assert np.isnan(found.value) and found.error == INF and found.note == "far through x[:, 0] = -inf"
    ends[0] = ([whole(1.0, 5.0, endless=True)], 0.0, "", 10)
    assert flux(lambda x: x, Gaussian(0.0, 1.0)).error == INF


def test_a_union_of_intervals_has_the_ends_of_each_of_them(monkeypatch):
    both = SimpleNamespace(
        dim=1, support=np.array([[0.0, 3.0]]), logpdf=None, parts=[Uniform(0.0, 1.0), Uniform(2.0, 3.0)]
    )
    assert flux(lambda x: x**2, both).value == pytest.approx(1 + 9 - 4)
    asked = []

    def recorded(*a):
        asked.append(a[2:])
        return Faces(*a)

    monkeypatch.setattr(module, "Faces", recorded)
    flux(lambda x: x, both, rtol=1e-3, breaks=((0.5,),), budget=99)
    assert asked == [(1e-3, ((0.5,),), 99)] * 2
