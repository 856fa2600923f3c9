"""Directions: the exact trace against the textbook one, first layers of deficient rank, and probes of unit second moment.

Tolerances are in units of eps * S, S the error scale of MATH's section 6 (`oracles.scales`): the same formula in absolute values.
Two computations that are each within k eps S of the truth differ by at most 2 k eps S; k is LIMITS of test_accuracy.
"""

import numpy as np
import pytest
from accuracy import LIMITS, SMOOTH
from networks_cases import BOTH, ISSUE, assert_within, deficient, network_of, textbook_error, trace_scale
from nightly import mostly
from oracles import extended, scales

from numpyscore import EnergyMLP, implicit
from numpyscore.networks import cyclic, directions, passes

# ------------------------------------------------------------------------------- exact against textbook


def shapes(d):
    """First layers narrower than d, as wide, and wider; beyond d = 384 a wider one is a nightly matter."""
    return sorted({max(1, min(d - 1, 9)), d, d + 3} if d < 300 else {9, 24} | ({d + 3} if d < 3000 else set()))


@pytest.mark.parametrize("depth", mostly([1, 2, 3, 4], 1, 3))
@pytest.mark.parametrize("d", [1, 2, 17, 384, 3072])
@BOTH
def test_exact_is_textbook(cls, d, depth):
    worst = 0.0
    for conditional in (False, True):
        for first in shapes(d):
            if conditional == (first == 24) if d == 3072 else conditional and first > 300:
                continue  # the same code, seconds of time
            confinement = 0.7 * (not conditional or depth % 2)
            widths = (first, 7, 5, 6)[:depth]
            activation = SMOOTH[(d + depth + first) % len(SMOOTH)]
            case = network_of(
                cls, d, widths, activation, conditional=conditional, confinement=confinement, seed=d + first
            )
            error = textbook_error(*case)
            worst = max(worst, error)
            assert error <= ISSUE, f"{case[0]}: {error:.3g} eps S"
    print(f"exact against textbook, {cls.kind}, d = {d}, {depth} hidden: {worst:.1f} eps S")


@pytest.mark.nightly
@BOTH
def test_exact_is_textbook_with_a_first_layer_wider_than_an_image(cls):
    assert textbook_error(*network_of(cls, 3072, (3080, 6), seed=1, n=1)) <= ISSUE


HOW = ("full rank", "duplicate columns", "zero column", "zero", "nearly dependent", "badly scaled")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("widths", [(5,), (5, 4), (5, 4, 3)], ids=str)
@BOTH
def test_a_rank_deficient_first_layer_changes_nothing(cls, widths, how):
    for d in (3, 5, 11):  # n_1 = 5: wide, square, narrow
        model, x, sigma = network_of(cls, d, widths, conditional=d == 11, confinement=0.3, seed=d)
        model = deficient(model, how)
        assert textbook_error(model, x, sigma) <= ISSUE
        # the gradient by complex steps in clongdouble, where T_1 = W_1: an oracle that knows neither Cholesky nor QR
        places = np.arange(0, model.theta.size, 3 if d < 11 else 7)
        assert_gradient(model, x, sigma, places)


def assert_gradient(model, x, sigma, places):
    """Gradient of implicit against complex steps at some places, in units of S."""
    net, real = extended(model)
    h, exact = real(1e-30), []
    for i in places:
        theta = net.theta.copy()
        theta[i] += 1j * h
        exact.append(implicit(net.with_theta(theta), x, **sigma).value.imag / h)
    S = scales(model, x, **sigma)[3][places]
    assert_within(LIMITS["gradient"], implicit(model, x, **sigma).gradient[places], np.array(exact), S, repr(model))


@pytest.mark.parametrize("d", [1, 2, 17, 384])
@BOTH
def test_the_gradient_of_the_exact_trace(cls, d):
    for depth, first in ((1, 4), (2, d + 2 if d < 300 else 6), (3, 5), (4, 3)):
        conditional = depth % 2 == 0
        case = network_of(
            cls, d, (first, 5, 4, 3)[:depth], "softplus", conditional=conditional, confinement=0.4, seed=depth
        )
        p = case[0].theta.size
        assert_gradient(*case, np.unique(np.linspace(0, p - 1, 12).astype(int)))


@BOTH
def test_control_a_trace_wrong_by_one_part_in_a_hundred_billion_is_seen(cls, monkeypatch):
    case = network_of(cls, 17, (6, 5), seed=5)
    assert textbook_error(*case) <= ISSUE
    where, name = (passes, "curvature") if cls is EnergyMLP else (cyclic.Bilinear, "trace")
    right = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *a: right(*a) * (1 + 1e-11))
    assert textbook_error(*case) > ISSUE / 100  # some of S cancels in the trace: at least a tenth of it here
    with pytest.raises(AssertionError):
        monkeypatch.setattr(where, name, lambda *a: right(*a) * (1 + 1e-9))
        assert textbook_error(*case) <= ISSUE


# ------------------------------------------------------------------------------- probes


PROBES = ("rademacher", "gaussian", "sphere")


def probe_deviation(model, probe, exact, draws=4000):
    """(mean over draws - exact) in standard errors, and the variance of one draw with its own standard error."""
    x, n = exact[0], draws
    estimates = model.trace(np.repeat(x, n, axis=0), "hutchinson", probe=probe, rng=11)
    off = estimates - exact[1]
    variance = np.mean(off**2)
    return off.mean() / np.sqrt(variance / n), variance, np.std(off**2) / np.sqrt(n)


@pytest.mark.parametrize("probe", PROBES)
@BOTH
def test_hutchinson_has_the_exact_mean_and_the_variance_of_its_probe(cls, probe):
    model, x, _ = network_of(cls, 6, (7, 5), seed=8, n=1)
    A = model.jacobian(x)[0]
    A, trace, d = (A + A.T) / 2, model.trace(x)[0], 6  # v^T J v sees the symmetric part alone
    square = np.sum(A * A)
    # Var: Gaussian 2|A|^2; Rademacher 2 sum_{i != j} A_ij^2; sphere 2d/(d+2) (|A|^2 - tr^2/d)   (MATH, section 5)
    variance = {
        "gaussian": 2 * square,
        "rademacher": 2 * (square - np.sum(np.diag(A) ** 2)),
        "sphere": 2 * d / (d + 2) * (square - trace**2 / d),
    }[probe]
    deviation, found, error = probe_deviation(model, probe, (x, trace))
    assert abs(deviation) < 5
    assert abs(found - variance) < 5 * error
    several = model.trace(np.repeat(x, 500, axis=0), "hutchinson", n_probes=8, probe=probe, rng=3)
    assert abs(several.mean() - trace) < 5 * np.sqrt(variance / 4000)
    assert several.var() < variance / 8 * 2  # eight probes: an eighth of the variance


def test_control_probes_of_unit_length_are_seen(monkeypatch):
    model, x, _ = network_of(EnergyMLP, 6, (7, 5), confinement=0.5, seed=8, n=1)
    exact = (x, model.trace(x)[0])
    assert abs(probe_deviation(model, "sphere", exact)[0]) < 5
    right = directions.draw_probes
    monkeypatch.setattr(
        directions, "draw_probes", lambda where, probe, shape, *a: right(where, probe, shape, *a) / shape[-1] ** 0.5
    )
    assert abs(probe_deviation(model, "sphere", exact)[0]) > 5


@pytest.mark.parametrize("probe", PROBES)
@BOTH
def test_rademacher_is_exact_in_one_dimension_and_every_probe_has_unit_second_moment(cls, probe):
    model, x, _ = network_of(cls, 1, (4, 3), n=5)
    if probe != "gaussian":  # v = +-1
        S = trace_scale(model, x, {})
        assert_within(2 * LIMITS["trace"], model.trace(x, "hutchinson", probe=probe, rng=0), model.trace(x), S)
    v = directions.draw_probes("test", probe, (20000, 3), np.random.default_rng(0))
    # entries of v v^T have variance at most 2: five standard errors of 20000 draws
    np.testing.assert_allclose(v.T @ v / 20000, np.eye(3), rtol=0, atol=5 * np.sqrt(2 / 20000))


def test_probes_keep_dtype_and_refuse_unknown_names():
    assert directions.draw_probes("t", "sphere", (4, 3), np.random.default_rng(0), np.float32).dtype == np.float32
    with pytest.raises(ValueError, match="trace: probe is 'cube', expected 'rademacher', 'gaussian' or 'sphere'"):
        network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "hutchinson", probe="cube")
    with pytest.raises(ValueError, match="trace: method is 'fast', expected 'exact', 'textbook' or 'hutchinson'"):
        network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "fast")
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="trace: n_probes is"):
            network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "hutchinson", n_probes=bad)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_which_factor_is_taken_does_not_depend_on_the_unit_of_the_weights(unit):
    """Columns that depend on each other up to 1e-5 would cost Cholesky half of its digits, in any unit; R^T R is W^T W either way."""
    W = np.random.default_rng(0).standard_normal((9, 4))
    near = np.column_stack([W[:, :3], W[:, 2] + 1e-5 * W[:, 3]])
    for matrix, triangle in ((W, True), (near, False)):
        R, _, told = directions._factor(unit * matrix)
        assert told is triangle
        np.testing.assert_allclose(R.T @ R, unit**2 * matrix.T @ matrix, rtol=1e-13, atol=1e-13 * unit**2)
    assert directions._factor(W.T)[2] is False and directions._factor(W.T)[0].shape == (4, 9)  # wide: W itself
