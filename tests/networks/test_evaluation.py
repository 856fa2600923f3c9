"""The pullback of any cotangents of energy, score, trace and curvature, against complex steps, and what it refuses."""

import numpy as np
import pytest
from accuracy import LIMITS, scaled
from networks_cases import (
    BOTH,
    network_of,
)
from oracles import absolute, extended

from numpyscore import EnergyMLP, ScoreMLP
from numpyscore.networks import directions


def combined(ev, bars):
    """The number whose gradient `pullback` returns: the sum of quantities times their cotangents."""
    return sum(np.sum(bar * getattr(ev, name[: -len("_bar")])) for name, bar in bars.items())


def pullback_scale(model, x, sigma, v, bars):
    """S of a pullback: that of the absolute network with cotangents of one sign, one sample at a time."""
    total = 0
    for i in range(len(x)):
        at = slice(i, i + 1)
        one = {"sigma": np.asarray(sigma["sigma"])[at]} if sigma else {}
        row = None if v is None else np.abs(v[..., at, :])
        # an energy network's score is minus a sum of absolute values: its cotangents take the sign along
        sign = -1 if isinstance(model, EnergyMLP) else 1
        size = {
            k: (1 if k == "energy_bar" else sign) * np.abs(b[..., at, :] if k == "score_bar" else b[..., at])
            for k, b in bars.items()
        }
        total = total + np.abs(
            absolute(model, x[at], **one).evaluate(np.abs(x[at]), curvature=row, **one).pullback(**size)
        )
    return total


def pullback_error(model, x, sigma, v, bars):
    """Error of `pullback` against complex steps at some parameters, in eps S."""
    asked = {name[: -len("_bar")]: True for name in bars}
    asked |= {"curvature": v} if "curvature_bar" in bars else {}
    got = model.evaluate(x, **asked, **sigma).pullback(**bars)
    assert got.shape == model.theta.shape and got.dtype == np.float64
    net, real = extended(model)
    h, places, exact = real(1e-30), np.unique(np.linspace(0, model.theta.size - 1, 25).astype(int)), []
    for i in places:
        theta = net.theta.copy()
        theta[i] += 1j * h
        exact.append(combined(net.with_theta(theta).evaluate(x, **asked, **sigma), bars).imag / h)
    S = pullback_scale(model, x, sigma, v if "curvature_bar" in bars else None, bars)
    return scaled(got[places], np.array(exact), S[places])


PULLED = ("energy", "score", "trace", "curvature", "curvature of several", "all with trace", "all with curvature")


def bars_for(what, rng, n, d, energy):
    """Random cotangents, and directions (n, d) or (m, n, d)."""
    v = rng.standard_normal((3, n, d) if "several" in what or "all" in what else (n, d))
    every = {"energy": rng.standard_normal(n), "score": rng.standard_normal((n, d)), "trace": rng.standard_normal(n)}
    every["curvature"] = rng.standard_normal(v.shape[:-1])
    if what.startswith("all"):
        every.pop("curvature" if what.endswith("trace") else "trace")
        if not energy:
            every.pop("energy")
        names = every
    else:
        names = [what.split()[0]]
    return v, {f"{name}_bar": every[name] for name in names}


@pytest.mark.parametrize("what", PULLED)
@pytest.mark.parametrize("widths", [(5,), (5, 4), (3, 5, 4)], ids=str)
@BOTH
def test_pullback_against_complex_steps(cls, widths, what):
    if cls is ScoreMLP and what == "energy":
        pytest.skip("a ScoreMLP has no energy")
    rng = np.random.default_rng(6)
    for d, conditional in ((3, True), (8, False)):
        model, x, sigma = network_of(cls, d, widths, "silu", conditional=conditional, confinement=0.4, seed=d, n=3)
        v, bars = bars_for(what, rng, 3, d, cls is EnergyMLP)
        error = pullback_error(model, x, sigma, v, bars)
        assert error <= LIMITS["gradient"], f"{error} eps S"


@BOTH
def test_control_a_pullback_wrong_by_one_part_in_a_billion_is_seen(cls, monkeypatch):
    model, x, sigma = network_of(cls, 4, (3, 5, 4), n=3)
    v, bars = bars_for("curvature", np.random.default_rng(0), 3, 4, True)
    right = directions.tangent_pullback
    monkeypatch.setattr(directions, "tangent_pullback", lambda *a: right(*a) * (1 + 1e-9))
    assert pullback_error(model, x, sigma, v, bars) > LIMITS["gradient"]


@BOTH
def test_a_number_as_cotangent_stands_for_all_and_integers_for_floats(cls):
    model, x, _ = network_of(cls, 3, (4, 3), n=3)
    ev = model.evaluate(x, trace=True, curvature=x)
    want = ev.pullback(trace_bar=np.ones(3))
    for one in (1, 1.0, True, np.uint8(1), np.ones(3, np.uint8), np.ones(3, bool), [1, 1, 1], np.float16(1)):
        np.testing.assert_array_equal(ev.pullback(trace_bar=one), want)
    np.testing.assert_array_equal(ev.pullback(curvature_bar=2), ev.pullback(curvature_bar=np.full(3, 2.0)))
    np.testing.assert_array_equal(ev.pullback(), np.zeros(model.theta.size))


@BOTH
def test_pullback_says_what_is_wrong(cls):
    model, x, _ = network_of(cls, 3, (4, 3), n=4)
    ev = model.evaluate(x, trace=True)
    cases = [
        ({"score_bar": np.zeros(4)}, ValueError, r"score_bar has shape \(4,\), expected \(4, 3\)"),
        ({"trace_bar": np.zeros((4, 1))}, ValueError, r"trace_bar has shape \(4, 1\), expected \(4,\)"),
        ({"curvature_bar": 1.0}, ValueError, r"curvature_bar needs evaluate\(..., curvature=v\)"),
        ({"trace_bar": np.full(4, np.nan)}, ValueError, r"trace_bar\[0\] is nan"),
        ({"trace_bar": 1j}, TypeError, "trace_bar is complex"),
        ({"trace_bar": "1"}, TypeError, "trace_bar has dtype"),
    ]
    if cls is ScoreMLP:
        cases.append(({"energy_bar": 1.0}, ValueError, "a ScoreMLP has no energy"))
    for bars, error, message in cases:
        with pytest.raises(error, match="pullback: .*" + message):
            ev.pullback(**bars)
    with pytest.raises(ValueError, match="trace_bar and curvature_bar in one call"):
        model.evaluate(x, curvature=x).pullback(trace_bar=1.0, curvature_bar=1.0)
    with pytest.raises(ValueError, match=r"curvature_bar has shape \(4,\), expected \(2, 4\)"):
        model.evaluate(x, curvature=np.stack([x, x])).pullback(curvature_bar=np.ones(4))
