"""What both kinds of network share: what may come in as x, v and sigma, and activations that are refused."""

import re

import numpy as np
import pytest
from accuracy import scaled
from networks_cases import (
    BAD,
    BOTH,
    EPS,
    EXPLICIT_FIRST,
    GOOD,
    PLAIN,
    V,
    calls,
    checksum,
    network_of,
)
from oracles import scales

from numpyscore import EnergyMLP, implicit
from numpyscore.networks import base
from numpyscore.networks.activations import ACTIVATIONS, Activation
from numpyscore.objectives.implicit import explicit

# ------------------------------------------------------------------------------- what may come in as x, v and sigma


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@pytest.mark.parametrize("name", GOOD)
@BOTH
def test_good_input_gives_the_result_of_the_plain_array(cls, name, conditional):
    model, *_ = network_of(cls, 3, (5, 4), conditional=conditional, confinement=0.5)
    x = GOOD[name]
    plain = np.array(np.asarray(x).tolist(), dtype=float)
    before = checksum(x)
    for what, call in calls(model, {"sigma": 0.5} if conditional else {}).items():
        got, want = call(x), call(plain)
        assert type(got) is np.ndarray and got.dtype == np.float64, (what, type(got), got.dtype)
        np.testing.assert_array_equal(got, want, err_msg=what)  # blocks are copied to one layout first: the same bits
    assert checksum(x) == before


@pytest.mark.parametrize("name", GOOD)
def test_good_directions_targets_and_noise_levels(name):
    model, *_ = network_of(EnergyMLP, 3, (5, 4), conditional=True, confinement=0.5)
    x, v = PLAIN, GOOD[name]
    plain, before = np.array(np.asarray(v).tolist(), dtype=float), checksum(v)
    for call in (
        model.jvp,
        model.vjp,
        model.curvature,
        lambda x, v, sigma: explicit(model, x, v, sigma=sigma).gradient,
    ):
        got = call(x, v, sigma=0.5)
        assert type(got) is np.ndarray and got.dtype == np.float64
        np.testing.assert_array_equal(got, call(x, plain, sigma=0.5))
    ev, want = model.evaluate(x, curvature=v, sigma=0.5), model.evaluate(x, curvature=plain, sigma=0.5)
    np.testing.assert_array_equal(
        ev.pullback(curvature_bar=1.0, score_bar=v), want.pullback(curvature_bar=1.0, score_bar=plain)
    )
    levels = np.abs(np.asarray(plain))[:, 0] + 1
    np.testing.assert_array_equal(
        model.score(x, sigma=levels.astype(">f4")), model.score(x, sigma=levels.astype(">f4").astype(float))
    )
    assert checksum(v) == before


LIMIT32 = 64  # of float32: energy 5.6, score 9.1, trace 58 eps S were seen in float64; a small network is near 5


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_float32_stays_float32_and_mixed_becomes_float64(cls, conditional):
    model, x, sigma = network_of(cls, 3, (5, 4), conditional=conditional, confinement=0.5, dtype=np.float32)
    assert model.theta.dtype == np.float32
    v = np.ones_like(x)
    ev = model.evaluate(x, trace=True, curvature=v, energy=cls is EnergyMLP, **sigma)
    results = [
        ev.score,
        ev.trace,
        ev.curvature,
        model.jacobian(x, **sigma),
        model.jvp(x, v, **sigma),
        model.vjp(x, v, **sigma),
    ]
    results += [model.trace(x, method, rng=0, **sigma) for method in ("textbook", "hutchinson")]
    results += [
        implicit(model, x, **sigma).gradient,
        implicit(model, x, **sigma).per_sample,
        explicit(model, x, v, **sigma).gradient,
    ]
    results += [ev.pullback(trace_bar=1.0, score_bar=np.ones(x.shape)), *([ev.energy] if cls is EnergyMLP else [])]
    assert {str(r.dtype) for r in results} == {"float32"}
    double = model.with_theta(model.theta.astype(float))
    sigma32 = {k: s.astype(np.float32).astype(float) for k, s in sigma.items()}
    S_score, S_trace, *_ = scales(double, x.astype(float), **sigma32)
    ratio = np.finfo(np.float32).eps / EPS
    assert scaled(ev.score, double.score(x, **sigma32), S_score) <= LIMIT32 * ratio
    assert scaled(ev.trace, double.trace(x, **sigma32), S_trace) <= LIMIT32 * ratio
    assert model.score(x.astype(float), **sigma).dtype == np.float64
    assert double.score(x, **sigma).dtype == np.float64


@pytest.mark.parametrize("name", BAD)
@BOTH
def test_bad_input_is_one_clear_error_that_names_x(cls, name):
    model, *_ = network_of(cls, 3, (5, 4))
    x, error, message = BAD[name]
    for what, call in calls(model, {}).items():
        if what == "explicit" and name in EXPLICIT_FIRST:
            continue
        with pytest.raises(error, match=r"^[a-z]+: " + message):
            call(x)


@pytest.mark.parametrize("name", sorted(set(BAD) - {"three-dimensional", "masked entries"}))
def test_bad_directions_are_one_clear_error_that_names_v(name):
    model, *_ = network_of(EnergyMLP, 3, (5, 4))
    v, error, _ = BAD[name]
    for call in (model.jvp, model.vjp, model.curvature):
        with pytest.raises(error, match=r"^[a-z]+: v\b"):
            call(PLAIN, v)
    with pytest.raises(ValueError, match=r"jvp: v has shape \(2, 3\), expected \(4, 3\)"):
        model.jvp(PLAIN, PLAIN[:2])
    with pytest.raises(ValueError, match=r"v has shape \(2, 5, 3\), expected \(4, 3\)"):
        model.curvature(PLAIN, np.ones((2, 5, 3)))
    several = np.ones((2, 4, 3))
    several[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"v\[1, 2, 0\] is nan"):
        model.curvature(PLAIN, several)


def test_the_first_bad_row_is_found_in_large_arrays():
    model, *_ = network_of(EnergyMLP, 3, (5,))
    for rows in ((70000,), (99999, 60001)):
        x = np.zeros((100000, 3))
        x[list(rows), 2] = np.nan
        with pytest.raises(ValueError, match=rf"x\[{min(rows)}, 2\] is nan.*first bad row: {min(rows)}\)"):
            model.score(np.asfortranarray(x))


SIGMAS = {
    "missing": (None, ValueError, r"conditional on the noise level; pass sigma="),
    "zero": (0.0, ValueError, "sigma has a value 0.0, expected positive"),
    "negative": (-1.0, ValueError, "sigma has a value -1.0, expected positive"),
    "one negative": ([1.0, 2.0, -3.0, 1.0], ValueError, "sigma has a value -3.0, expected positive"),
    "NaN": (np.nan, ValueError, "sigma.* is nan"),
    "one NaN": ([1.0, np.nan, 1.0, 1.0], ValueError, r"sigma\[1\] is nan"),
    "infinite": (np.inf, ValueError, "sigma.* is inf"),
    "wrong length": (np.ones(3), ValueError, r"sigma has shape \(3,\), expected one number or \(4,\)"),
    "column": (np.ones((4, 1)), ValueError, r"sigma has shape \(4, 1\), expected one number or \(4,\)"),
    "string": ("1", TypeError, "sigma has dtype"),
    "below the smallest float": (1e-310, ValueError, "sigma ranges from"),
}


@pytest.mark.parametrize("name", SIGMAS)
@BOTH
def test_noise_levels_that_are_none(cls, name):
    model, *_ = network_of(cls, 3, (5, 4), conditional=True)
    sigma, error, message = SIGMAS[name]
    for what, call in calls(model, {"sigma": sigma}).items():
        with pytest.raises(error, match=r"^[a-z]+: .*" + message):
            print(what, call(PLAIN))


@BOTH
def test_a_noise_level_for_a_network_that_takes_none(cls):
    model, *_ = network_of(cls, 3, (5, 4))
    for what, call in calls(model, {"sigma": 1.0}).items():
        with pytest.raises(ValueError, match=r"^[a-z]+: sigma was given, but this network is not conditional"):
            print(what, call(PLAIN))


def test_a_noise_level_out_of_the_range_of_float32():
    model, x, _ = network_of(EnergyMLP, 3, (5,), conditional=True, dtype=np.float32)
    tiny, huge = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    for sigma in ([1e-60, 1.0], [1.0, 2 * huge], [0.9 * tiny, 1.0]):
        text = rf"sigma ranges from {min(sigma)} to {max(sigma)}, expected .* the range of float32"
        with pytest.raises(ValueError, match="score: " + re.escape(text).replace(r"\.\*", ".*")):
            model.score(x, sigma=sigma)
    with np.errstate(all="ignore"):
        model.score(x, sigma=[tiny, huge])  # the ends of the range are in it
    run = calls(model, {"sigma": 1e-60})
    for what in ("score", "trace", "textbook", "hutchinson", "jacobian", "evaluate", "implicit"):
        where = {"textbook": "trace", "hutchinson": "trace"}.get(what, what)
        with pytest.raises(ValueError, match=f"^{where}: sigma ranges from"):
            run[what](PLAIN.astype(np.float32))


@pytest.mark.parametrize("name", sorted(EXPLICIT_FIRST))
def test_explicit_names_x_when_x_is_bad(name):
    model, *_ = network_of(EnergyMLP, 3, (5, 4))
    x, error, message = BAD[name]
    with pytest.raises(error, match="^explicit: " + message):
        explicit(model, x, V)


def test_a_complex_step_in_the_noise_level_passes():
    model, x, _ = network_of(EnergyMLP, 3, (5, 4), conditional=True, confinement=0.3)
    h = 1e-30
    rate = model.energy(x, sigma=0.7 + 1j * h).imag / h
    difference = (model.energy(x, sigma=0.7 + 1e-6) - model.energy(x, sigma=0.7 - 1e-6)) / 2e-6
    np.testing.assert_allclose(rate, difference, rtol=0, atol=1e-8)  # round-off eps/1e-6, truncation 1e-12


# ------------------------------------------------------------------------------- relu


NEEDS_TRACE = ("trace", "textbook", "hutchinson", "jacobian", "jvp", "vjp", "curvature", "evaluate", "implicit")


@BOTH
def test_relu_is_refused_for_all_that_needs_the_trace_with_the_reason(cls):
    model, *_ = network_of(cls, 3, (5, 4), "relu")
    run = calls(model, {})
    for what in NEEDS_TRACE:
        where = {"textbook": "trace", "hutchinson": "trace", "curvature": "evaluate"}.get(what, what)
        reason = rf"^{where}: activation 'relu' is not twice differentiable.*the trace would silently miss the kink.*softplus"
        with pytest.raises(ValueError, match=reason):
            run[what](PLAIN)
        with pytest.raises(ValueError, match=reason):
            run[what](PLAIN[:0]) if what not in ("implicit", "jvp", "vjp", "curvature") else run[what](PLAIN)
    assert model.score(PLAIN).shape == (4, 3)
    loss = explicit(model, PLAIN, V)
    assert np.isfinite(loss.value)
    if cls is EnergyMLP:
        assert np.isfinite(model.energy(PLAIN)).all()
        with pytest.raises(ValueError, match=r"^explicit: activation 'relu' is not twice differentiable"):
            loss.gradient  # noqa: B018
        with pytest.raises(ValueError, match=r"^pullback: activation 'relu' is not twice differentiable"):
            model.evaluate(PLAIN, trace=False).pullback(score_bar=V)
    else:  # its gradient needs first derivatives alone
        assert np.isfinite(loss.gradient).all()


def test_the_refused_trace_would_indeed_be_wrong():
    """On relu the curvature formula returns 0, and differences of the score across a kink do not."""
    model, x, _ = network_of(EnergyMLP, 2, (6, 5), "relu", seed=1)
    silent = EnergyMLP(model.layers, Activation("relu as if smooth", ACTIVATIONS["relu"].jet))
    assert np.all(silent.trace(x) == 0)
    far = 10 * np.eye(2)
    assert np.abs(model.score(far) - model.score(-far)).max() > 0.1


@BOTH
def test_control_an_input_that_is_read_in_the_wrong_order_is_seen(cls, monkeypatch):
    right = base.samples

    def wrong(where, x, *rest, **options):
        a = right(where, x, *rest, **options)
        return a if not isinstance(x, np.ndarray) or x.flags.c_contiguous else a.ravel("F").reshape(a.shape)

    test_good_input_gives_the_result_of_the_plain_array(cls, "Fortran", False)
    monkeypatch.setattr(base, "samples", wrong)
    with pytest.raises(AssertionError):
        test_good_input_gives_the_result_of_the_plain_array(cls, "Fortran", False)
