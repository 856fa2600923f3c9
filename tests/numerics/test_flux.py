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
from numpyscore.numerics.flux import Faces, _limit, flux
from numpyscore.numerics.quadrature import expectation, integrate

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
