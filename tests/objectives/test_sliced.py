"""Sliced losses: mean and variance over directions, finite differences as their steps go to 0, batches cut anyhow."""

from types import SimpleNamespace

import numpy as np
import pytest
from objectives_cases import BOTH, linear_score

from numpyscore.networks import directions
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.objectives import OBJECTIVES
from numpyscore.objectives.implicit import implicit
from numpyscore.objectives.sliced import finite_difference_sliced, sliced


def linear_in(A):
    """A ScoreMLP of score A x, to 1e-12."""
    return linear_score(np.asarray(A, float), np.zeros(len(A)))


def slices(model, point, probe, n, reduced=True, seed=0):
    """Sliced losses of n copies of one point, one probe each."""
    return sliced(model, np.tile(point, (n, 1)), probe=probe, rng=seed, variance_reduced=reduced).per_sample


COUNTS = pytest.mark.parametrize("n", [10_000, pytest.param(100_000, marks=pytest.mark.nightly)])


@COUNTS
@BOTH
@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("probe", ["rademacher", "gaussian", "sphere"])
def test_sliced_is_unbiased(cls, probe, reduced, n):
    model, point = cls.init(5, (7, 6), "softplus", rng=2), np.array([0.3, -1, 2, 0.5, -0.2])
    model = model.with_theta(2 * model.theta)
    losses = slices(model, point, probe, n, reduced)
    z = (losses.mean() - implicit(model, point[None]).value) / (losses.std() / np.sqrt(n))
    assert abs(z) < 5, z


def test_control_the_z_test_sees_slices_of_unit_length(monkeypatch):
    """The bug of sliced_score_matching's followers: |v| = 1, so that E[v v^T] = I/d."""
    model, point, n = ScoreMLP.init(5, (7, 6), rng=2), np.ones(5), 10_000
    right = directions.draw_probes
    monkeypatch.setattr(directions, "draw_probes", lambda w, p, shape, *r: right(w, p, shape, *r) / np.sqrt(shape[-1]))
    losses = slices(model, point, "sphere", n)
    assert abs(losses.mean() - implicit(model, point[None]).value) / (losses.std() / np.sqrt(n)) > 5


@COUNTS
@BOTH
@pytest.mark.parametrize("probe", ["rademacher", "gaussian", "sphere"])
def test_the_variance_of_a_slice_is_the_formula(cls, probe, n):
    model, point = cls.init(5, (7, 6), "softplus", rng=2), np.array([0.3, -1, 2, 0.5, -0.2])
    J = model.jacobian(point[None])[0]
    A, d = 0.5 * (J + J.T), 5
    total = np.sum(A**2)
    want = {
        "gaussian": 2 * total,
        "rademacher": 2 * (total - np.sum(np.diag(A) ** 2)),
        "sphere": 2 * d / (d + 2) * (total - np.trace(A) ** 2 / d),
    }[probe]
    got = slices(model, point, probe, n).var()
    # 5 % at 1e5 probes; the standard error of a variance grows as 1/sqrt(n)
    assert abs(got / want - 1) < 0.05 * np.sqrt(1e5 / n), got / want


@pytest.mark.parametrize(
    "probe, J",
    [("rademacher", np.diag([1, -2, 3, 0.5])), ("sphere", 2 * np.eye(4)), ("sphere", [[3]]), ("rademacher", [[3]])],
)
def test_where_the_variance_is_zero_every_slice_is_the_trace(probe, J):
    """Signs on a diagonal Jacobian, the sphere on a multiple of the identity, either in one dimension."""
    losses = slices(linear_in(J), np.zeros(len(J)), probe, 1000)
    np.testing.assert_allclose(losses, np.trace(J), rtol=1e-14)  # a sum of 4 products
    assert slices(linear_in(J), np.zeros(len(J)), "gaussian", 1000).std() > 0.1


def test_the_mean_of_m_slices_has_one_mth_of_the_variance():
    model, x = ScoreMLP.init(3, (6,), rng=0), np.zeros((20_000, 3))
    one, four = (sliced(model, x, n_probes=m, probe="gaussian", rng=1).per_sample.var() for m in (1, 4))
    assert abs(one / four - 4) < 0.4


@BOTH
def test_finite_differences_approach_the_slice_as_eps_squared(cls):
    model, x = cls.init(3, (6, 5), "tanh", rng=0), np.random.default_rng(0).standard_normal((5, 3))
    for reduced in (False, True):
        exact = sliced(model, x, rng=3, n_probes=2, variance_reduced=reduced).value
        near = [
            finite_difference_sliced(model, x, h, rng=3, n_probes=2, variance_reduced=reduced).value - exact
            for h in (0.04, 0.02)
        ]
        assert 3.9 < near[0] / near[1] < 4.1  # 4 + O(h^2); the same seed gives the same probes


def test_every_form_of_a_finite_difference_of_a_linear_score_is_the_slice():
    """Of s = A x: v.A v exactly, forward or central, of energies or of scores; the square of v.s or of s, at x or of the mean, which is s(x)."""
    rng, n, d = np.random.default_rng(0), 4, 3
    A, x, v = (a := rng.standard_normal((d, d))) + a.T, rng.standard_normal((n, d)), rng.standard_normal((n, d))
    score = lambda y: y @ A
    probe = SimpleNamespace(score=score, energy=lambda y: -0.5 * np.sum(y * score(y), -1))
    row = OBJECTIVES["finite_difference_sliced"]
    for form in row.forms:
        for step in (0.25, 0.5):
            constant, linear, square = row.right(SimpleNamespace(probe=probe, x=x, v=v, step=step, **form), score(x))
            want = 0.5 * np.sum(score(x) ** 2, -1) if form["variance_reduced"] else 0.5 * np.sum(v * score(x), -1) ** 2
            np.testing.assert_allclose(linear, np.sum(v * score(v), -1), rtol=1e-12, atol=1e-12, err_msg=f"{form}")
            np.testing.assert_allclose(square, want, rtol=1e-12, atol=1e-12, err_msg=f"{form}")
            assert constant == 0


def test_probes_do_not_depend_on_how_a_sweep_cuts_its_batches(monkeypatch):
    net, x = EnergyMLP.init(3, (5, 4), "tanh", rng=0), np.random.default_rng(1).standard_normal((1000, 3))
    whole = sliced(net, x, rng=0, n_probes=5, variance_reduced=False)
    pair = whole.per_sample, whole.gradient
    monkeypatch.setattr("numpyscore.networks.sweep.numbers", lambda cache: (1 << 9, 1 << 9))
    monkeypatch.setattr("numpyscore.objectives.sliced.NUMBERS", 1 << 9)
    cut = sliced(net, x, rng=0, n_probes=5, variance_reduced=False)
    np.testing.assert_allclose(cut.per_sample, pair[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cut.gradient, pair[1], rtol=1e-11, atol=1e-13)
