"""Regularised score matching: its formula, its gradient, the minimiser that it must have, and how `check` reads it."""

import numpy as np
import pytest
from oracles import true_gradient

import numpyscore as ns

BOTH = pytest.mark.parametrize("cls", (ns.EnergyMLP, ns.ScoreMLP), ids=lambda cls: cls.kind)
LAM = 0.3


def case(cls, conditional=False):
    """A network, points, and what it is told."""
    options = {"confinement": 0.5} if cls is ns.EnergyMLP else {}
    net = cls.init(4, (6, 5), "silu", conditional=conditional, rng=1, **options)
    x = np.random.default_rng(2).standard_normal((7, 4))
    return net, x, {"sigma": np.linspace(0.5, 2, 7)} if conditional else {}


def check_formula(net, x, told):
    """1/2 |s|^2 + tr J + lambda sum_i J_ii^2, from the whole Jacobian; sums of some 50 terms, each to a few eps."""
    s, diagonal = net.score(x, **told), np.diagonal(net.jacobian(x, **told), axis1=1, axis2=2)
    want = 0.5 * np.sum(s**2, 1) + diagonal.sum(1) + LAM * np.sum(diagonal**2, 1)
    size = 0.5 * np.sum(s**2, 1) + np.abs(diagonal).sum(1) + LAM * np.sum(diagonal**2, 1)
    found = ns.regularised(net, x, LAM, **told).per_sample
    assert np.all(np.abs(found - want) <= 512 * np.finfo(float).eps * size)


@BOTH
@pytest.mark.parametrize("conditional", [False, True])
def test_it_is_its_formula(cls, conditional):
    check_formula(*case(cls, conditional))


def test_control_a_halved_lambda_is_seen(monkeypatch):
    right = ns.regularised
    monkeypatch.setattr(ns, "regularised", lambda net, x, lam, **how: right(net, x, lam * (1 + 1e-9), **how))
    with pytest.raises(AssertionError):
        check_formula(*case(ns.EnergyMLP))


@BOTH
@pytest.mark.parametrize("conditional", [False, True])
def test_its_gradient_against_complex_steps(cls, conditional):
    """The cotangent of each J_ii depends on J_ii itself, which no other objective does; weights as well."""
    net, x, told = case(cls, conditional)
    how = told | {"weights": np.arange(1.0, 8.0)}
    places = np.arange(net.theta.size)
    exact = true_gradient(net, lambda other: ns.regularised(other, x, LAM, **how).value, places)
    found = ns.regularised(net, x, LAM, **how).gradient
    assert np.abs(found - exact).max() <= 1e-12 * np.abs(exact).max()


def test_the_diagonal_is_visited_in_chunks_and_on_any_number_of_workers(monkeypatch):
    net, x = ns.EnergyMLP.init(30, (20, 20), "tanh", rng=0), np.random.default_rng(0).standard_normal((500, 30))
    whole = ns.regularised(net, x, LAM)
    monkeypatch.setattr("numpyscore.networks.sweep.numbers", lambda cache: (1 << 9, 1 << 9))
    cut = ns.regularised(net, x, LAM)
    np.testing.assert_allclose(cut.per_sample, whole.per_sample, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cut.gradient, whole.gradient, rtol=1e-10, atol=1e-13)


def test_a_gaussian_score_shrinks_as_if_the_data_had_two_lambda_more_variance():
    """s = -a x: the loss a^2 m / 2 - a d + lambda a^2 d, m = mean |x|^2, is least at a = d / (m + 2 lambda d)."""
    x = np.random.default_rng(1).standard_normal((40, 3)) * 1.5
    m, c = np.mean(np.sum(x**2, axis=1)), 1e6  # sin(x / c) c is x to 1e-12
    score = lambda a: ns.ScoreMLP.from_arrays([(np.eye(3) / c, np.zeros(3)), (-a * c * np.eye(3), np.zeros(3))], "sin")
    value = lambda a: ns.regularised(score(a), x, LAM, gradient=False).value
    best = 3 / (m + 2 * LAM * 3)
    at = [value(best + h) for h in (-1e-3, 0, 1e-3)]
    np.testing.assert_allclose(at[1], best**2 * m / 2 - 3 * best + 3 * LAM * best**2, rtol=1e-10)
    # a parabola in a: its vertex from three values, where rounding of 1e-16 over a step of 1e-3 leaves 1e-10
    assert abs(0.5 * 1e-3 * (at[0] - at[2]) / (at[0] - 2 * at[1] + at[2])) < 1e-9


def test_check_reads_it_from_its_row():
    """What check must know of an objective stands in the registry: right, the regulariser halved, and a sign turned."""

    def loss(fn, x, lam, share=1.0, sign=1.0):
        eps = 1e-3  # fn is a polynomial of degree four at most: differences of fourth order are exact
        e = np.eye(x.shape[1])[:, None] * eps
        s = fn.score(x) if hasattr(fn, "score") else fn(x)
        stencil = [
            (fn.score(x + k * e_i) if hasattr(fn, "score") else fn(x + k * e_i)) for e_i in e for k in (-2, -1, 1, 2)
        ]
        jets = np.array(stencil).reshape(x.shape[1], 4, *x.shape)
        rows = np.einsum("k,iknj->inj", np.array([1, -8, 8, -1]) / (12 * eps), jets)
        diagonal = np.array([rows[i, :, i] for i in range(x.shape[1])])
        return np.mean(0.5 * np.sum(s**2, 1) + sign * diagonal.sum(0) + share * lam * np.sum(diagonal**2, 0))

    if_energy = ns.check_loss(lambda fn, x, lam: loss(fn, x, lam), objective="regularised", model="score", rng=0)
    assert if_energy.verdict == "PASS", str(if_energy)
    turned = ns.check_loss(
        lambda fn, x, lam: loss(fn, x, lam, sign=-1.0), objective="regularised", model="score", rng=0
    )
    assert turned.verdict == "FAIL", str(turned)
    own = ns.check_loss(lambda fn, x: loss(fn, x, 0.1), objective="regularised", model="score", rng=0)
    assert own and any("lambda = 0.1 " in note for note in own.notes), str(
        own
    )  # one that takes no lam is checked at its own
    for other in (lambda fn, x: loss(fn, x, 0.1, sign=-1.0), lambda fn, x: loss(fn, x, 0.1, share=-1.0)):
        assert ns.check_loss(other, objective="regularised", model="score", rng=0).verdict == "FAIL"


@pytest.mark.parametrize("lam", [0, -1, np.nan, "much"])
def test_a_lambda_that_is_no_price_is_refused(lam):
    net, x, _ = case(ns.EnergyMLP)
    with pytest.raises((ValueError, TypeError), match="regularised: lam is"):
        ns.regularised(net, x, lam)
