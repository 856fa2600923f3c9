"""Probes and the regression where the tables of a loss leave off: how many unknowns there are, what is doubted, and whose arrays a probe answers in."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import identify as module
from numpyscore.check.losses.identify import Answers, Asked, Fit, _beside, entries_of, identify, random_probe, solve
from numpyscore.check.losses.trials import Trial


def test_a_moved_probe_is_itself_and_numbers_drawn():
    for kind in ("energy", "score"):
        probe, stream = random_probe(kind, 3, np.random.default_rng(1)), np.random.default_rng(2)
        moved = probe.moved(1e-2, np.random.default_rng(2))
        A = stream.standard_normal((3, 3))
        close = {"rtol": 0, "atol": 1e-12}
        np.testing.assert_allclose((moved.A - probe.A) / 1e-2, A + A.T if kind == "energy" else A, **close)
        np.testing.assert_allclose((moved.b - probe.b) / 1e-2, stream.standard_normal(3), **close)
        np.testing.assert_allclose((moved.r - probe.r) / 1e-2, stream.standard_normal(60), **close)
        R = probe.Q * moved.r if kind == "energy" else probe.R + 1e-2 * stream.standard_normal((3, 60))
        np.testing.assert_allclose(moved.R, R, **close)


def test_a_probe_answers_in_the_shape_and_precision_that_it_is_asked_in():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 4, 6))
    for kind in ("energy", "score"):
        probe = random_probe(kind, 6, rng)
        asked, images = Asked(probe, np.asarray), Asked(probe, np.asarray, shape=(2, 3))
        value = probe.energy(x) if kind == "energy" else probe.score(x)
        np.testing.assert_allclose(asked(x), value, rtol=1e-12)
        made = images(x.reshape(8, 2, 3))
        assert made.shape == ((8,) if kind == "energy" else (8, 2, 3))
        np.testing.assert_allclose(made.ravel(), value.ravel(), rtol=1e-12)
    constant = np.ones(3)
    assert _beside(np.ones(2), constant) is constant and _beside([1.0], constant) is constant
    assert _beside(np.ones(2, np.float32), constant).dtype == np.float32

    class Theirs:
        """An array of no framework that is known, with a method called `to`."""

        dtype = "float64"

        def to(self, other):
            return "moved"

        def astype(self, dtype):
            return f"cast to {dtype}"

    assert _beside(np.ones(2, np.float32), Theirs()) == "cast to float32"


class Loss:
    """1/2 sum over the rows of the squared entries of a Jacobian, and a little of the squared score."""

    eps = 2.2e-16

    def __init__(self, points, of):
        self.points, self.of, self.counts = points, of, []

    def values(self, probes, setting):
        self.counts.append(len(probes))
        return np.array([self.of(p.score(self.points), p.jacobian(self.points)) for p in probes])


def answers_of(of, kind="score", M=2, d=2):
    points = np.random.default_rng(7).standard_normal((M, d))
    trial = Trial(SimpleNamespace(d=d, n=M), points, None)
    return Answers(Loss(points, of), kind, trial, np.random.default_rng(8))


@pytest.mark.parametrize("kind", ["energy", "score"])
def test_products_of_entries_of_a_jacobian_are_solved(kind):
    found = identify(answers_of(lambda s, J: 0.25 * np.sum(s**2) + 0.35 * np.sum(J**2), kind), quadratic=("S", "J"))
    basis = entries_of(kind, 2)
    assert found.fit.exact
    np.testing.assert_allclose(found.own, 0.5 * np.eye(2) + np.zeros((2, 2, 2)), rtol=0, atol=1e-7)
    meant = 0.7 * np.einsum("pij,qij->pq", basis, basis)
    np.testing.assert_allclose(found.D, np.broadcast_to(meant, found.D.shape), rtol=0, atol=1e-7)
    entry = identify(answers_of(lambda s, J: 0.1 * np.sum(s**2), kind), jacobian=False)
    assert np.abs(entry.fit.coefficients).max() == pytest.approx(0.2) and entry.doubt == pytest.approx(
        entry.fit.doubt.max() / 0.2, rel=1e-6
    )


def test_probes_grow_by_what_is_missing():
    one = answers_of(lambda s, J: np.sum(s))
    one.grow(3).grow(3).grow(2).grow(4)
    assert one.caller.counts == [3, 1] and len(one.probes) == len(one.values) == 4
    near = one.near(1e-3).grow(3)
    assert np.abs(near.S - one.S[0]).max() < 0.1 and np.abs(one.S[1] - one.S[0]).max() > 0.1


def test_the_doubt_of_few_equations_and_of_equal_columns():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((4, 2))
    y = 1 + X @ [2.0, -1.0] + 0.1 * rng.standard_normal(4)
    full = np.column_stack([np.ones(4), X])
    left = y - full @ np.linalg.lstsq(full, y, rcond=None)[0]
    error = np.sqrt(left @ left / 1 * np.diag(np.linalg.inv(full.T @ full)))  # four equations, three unknowns
    np.testing.assert_allclose(solve(X, y, 1e-16).doubt, error[1:], rtol=1e-9)
    a, b = rng.standard_normal((2, 30))
    values = 3 * a + b + 0.1 * rng.standard_normal(30)
    for scale in (1.0, 100.0):
        alone, twice = (
            solve(np.stack([scale * a, b], axis=1), values, 1e-16),
            solve(np.stack([scale * a, scale * a, b], axis=1), values, 1e-16),
        )
        np.testing.assert_allclose(twice.coefficients[:2], alone.coefficients[0] / 2, rtol=1e-9)
        freedom = np.sqrt(27 / 26)  # one unknown more
        np.testing.assert_allclose(
            twice.doubt, np.array([alone.doubt[0] / 2, alone.doubt[0] / 2, alone.doubt[1]]) * freedom, rtol=1e-9
        )


def stages(
    monkeypatch, kind="score", d=3, M=2, groups=None, quadratic=("S",), jacobian=True, near=False, wide=2, many=10**6
):
    """Whether each of the fits is of single entries alone."""
    asked = []

    def identified(answers, groups, once, quadratic, beside, alone):
        asked.append((alone, "".join(once)))
        return SimpleNamespace(fit=Fit(np.zeros(1), np.zeros(1), 1.0, near))

    monkeypatch.setattr(module, "_identified", identified)
    monkeypatch.setattr(module, "WIDE", wide)
    monkeypatch.setattr(module, "MANY", many)
    answers = SimpleNamespace(trial=SimpleNamespace(points=np.zeros((M, d))), kind=kind)
    identify(answers, groups, jacobian, quadratic)
    return [alone for alone, _ in asked], asked[0][1]


def test_products_are_looked_at_where_they_are_few(monkeypatch):
    say = lambda **more: stages(monkeypatch, **more)
    assert say(d=2) == ([False], "SJ") and say(d=3) == ([True, False], "SJ") and say(d=3, near=True)[0] == [True]
    assert (
        say(jacobian=False)[1] == "S" and say(quadratic=("S", "E"))[1] == "SJE" and say(quadratic=("S", "J"))[1] == "SJ"
    )
    counts = (  # products of z numbers in each group, and what stands alone, for two points of three dimensions
        (2 * 6 + 2 * (3 + 9), {}), (12 + 2 * (3 + 6), {"kind": "energy"}), (12 + 2 * 3, {"jacobian": False}), (6 * 7 // 2 + 24, {"groups": [np.arange(2)]}),
        (2 * (4 * 5 // 2) + 2 * (3 + 6 + 1), {"kind": "energy", "quadratic": ("S", "E")}), (2 * (12 * 13 // 2) + 24, {"quadratic": ("S", "J")}), (2 * (9 * 10 // 2) + 18, {"kind": "energy", "quadratic": ("S", "J")}),
    )  # fmt: skip
    for unknowns, more in counts:
        assert say(many=unknowns, **more)[0] == [True, False] and say(many=unknowns - 1, **more)[0] == [True], more


def test_single_entries_are_solved_alone_first(monkeypatch):
    monkeypatch.setattr(module, "WIDE", 1)
    w = np.array([[1.0, -2.0], [0.5, 3.0]])
    few = answers_of(lambda s, J: 0.5 * np.sum(w * s**2) + np.einsum("ni,nii->", w[::-1], J))
    found = identify(few)
    assert found.fit.exact and len(few.probes) == 2 * (2 + 2 * 2) + 2 + module.SPARE
    np.testing.assert_allclose(np.einsum("iaa->ia", found.own), w, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.C, np.einsum("ni,ij->nij", w[::-1], np.eye(2)), rtol=0, atol=1e-8)
    joined = answers_of(lambda s, J: np.sum(s[:, 0] * s[:, 1]))
    assert identify(joined, jacobian=False).A[0, 0, 0, 1] == pytest.approx(1.0, rel=1e-7)
