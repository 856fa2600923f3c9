"""Weights of samples, for every objective: integers are repeated rows, units do not matter, gradients, dtypes, refusals."""

import importlib

import numpy as np
import pytest
from objectives_cases import BOTH, EPS
from oracles import true_gradient

from numpyscore.networks import sweep
from numpyscore.networks.models import ScoreMLP
from numpyscore.objectives import OBJECTIVES
from numpyscore.objectives.denoising import denoising, multilevel_denoising
from numpyscore.objectives.implicit import explicit, generalised, implicit
from numpyscore.objectives.sliced import finite_difference_sliced, sliced

# ------------------------------------------------------------------------------- weights of samples


def data(cls, conditional, n=5, d=3, dtype=float):
    """A network and arrays, one row a sample, for `WEIGHTED`."""
    rng = np.random.default_rng(2)
    net = cls.init(d, (6, 4), "tanh", conditional=conditional, rng=rng, dtype=dtype)
    q = {name: rng.standard_normal((n, d)) for name in ("x", "target", "h_prime", "noise", "v", "w")}
    q |= {"h": rng.uniform(0.1, 2, (n, d)), "sd": rng.uniform(0.5, 2, n), "level": np.arange(n) % 2}
    q |= {"sigma": rng.uniform(0.5, 2, n)} if conditional else {}
    return net, {k: a.astype(dtype) if a.dtype == float else a for k, a in q.items()}


def told(q):
    """The noise level, where there is one."""
    return {"sigma": q["sigma"]} if "sigma" in q else {}


two = lambda q: np.stack([q["v"], q["w"]])
WEIGHTED = {
    "explicit": lambda net, q, **k: explicit(net, q["x"], q["target"], **told(q), **k),
    "implicit": lambda net, q, **k: implicit(net, q["x"], **told(q), **k),
    "generalised": lambda net, q, **k: generalised(net, q["x"], q["h"], q["h_prime"], **told(q), **k),
    "denoising": lambda net, q, **k: denoising(net, q["x"], q["sd"], noise=q["noise"], **k),
    "multilevel_denoising": lambda net, q, **k: multilevel_denoising(net, q["x"], [1, 0.5], noise=two(q), **k),
    "multilevel_denoising, one level each": lambda net, q, **k: multilevel_denoising(
        net, q["x"], [1, 0.5], noise=q["noise"], level=q["level"], **k
    ),
    "regularised": lambda net, q, **k: OBJECTIVES["regularised"].function(net, q["x"], 0.3, **told(q), **k),
    "sliced": lambda net, q, **k: sliced(net, q["x"], probes=two(q), **told(q), **k),
    "sliced, plain": lambda net, q, **k: sliced(net, q["x"], probes=two(q), variance_reduced=False, **told(q), **k),
    "finite_difference_sliced": lambda net, q, **k: finite_difference_sliced(
        net, q["x"], 0.05, probes=two(q), **told(q), **k
    ),
    "finite_difference_sliced, reduced": lambda net, q, **k: finite_difference_sliced(
        net, q["x"], 0.05, probes=two(q), variance_reduced=True, **told(q), **k
    ),
}
EACH = pytest.mark.parametrize("make", WEIGHTED.values(), ids=WEIGHTED)
CONDITIONAL = pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
WEIGHTS = np.array([2, 0, 1, 3, 1])
CLOSE = 1e-11  # of the largest: eps/step^2 = 9e-14 is lost to second differences of values of order one, 100 times that allowed


def close(got, want, rtol=CLOSE):
    """To `rtol` of the largest entry."""
    np.testing.assert_allclose(got, want, rtol=0, atol=rtol * max(1, np.abs(want).max()))


def test_every_objective_is_weighted_below():
    assert {name.split(",")[0] for name in WEIGHTED} == set(OBJECTIVES)


@EACH
@CONDITIONAL
@BOTH
def test_integer_weights_are_repeated_rows(cls, conditional, make):
    net, q = data(cls, conditional)
    rows = np.repeat(np.arange(5), WEIGHTS)
    weighted, repeated = make(net, q, weights=WEIGHTS), make(net, {k: a[rows] for k, a in q.items()})
    close(weighted.value, repeated.value)
    close(weighted.gradient, repeated.gradient)
    np.testing.assert_array_equal(weighted.per_sample, make(net, q).per_sample)  # each sample's, whatever its weight


@EACH
@BOTH
def test_the_unit_of_weights_does_not_matter(cls, make):
    net, q = data(cls, False)
    one = make(net, q, weights=WEIGHTS)
    for other in (WEIGHTS * 3.0, WEIGHTS * 1e-300, WEIGHTS * 5e307, WEIGHTS.tolist(), WEIGHTS.astype(np.uint8), WEIGHTS.astype(">f4")):  # fmt: skip
        loss = make(net, q, weights=other)
        close(loss.value, one.value)
        close(loss.gradient, one.gradient)
    equal, none = make(net, q, weights=np.full(5, 7)), make(net, q)
    close(equal.value, none.value)
    close(equal.gradient, none.gradient)


def weighted_gradient_error(net, make, q):
    """Of the largest entry, against complex steps of the value."""
    got = make(net, q, weights=WEIGHTS / 3).gradient
    places = np.arange(0, net.theta.size, 5)
    exact = true_gradient(net, lambda net: make(net, q, weights=WEIGHTS / 3).value, places)
    return np.abs(got[places] - exact).max() / np.abs(exact).max()


@EACH
@BOTH
def test_weighted_gradients_against_complex_steps(cls, make):
    assert weighted_gradient_error(*(data(cls, False)[0], make, data(cls, False)[1])) <= CLOSE


@pytest.mark.parametrize("name", ["implicit", "finite_difference_sliced"])
@BOTH
def test_control_a_share_wrong_by_one_part_in_a_billion_is_seen(cls, name, monkeypatch):
    net, q = data(cls, False)
    for module in ("loss", "sliced"):
        right = importlib.import_module(f"numpyscore.objectives.{module}").shares
        monkeypatch.setattr(f"numpyscore.objectives.{module}.shares", lambda *a, right=right: right(*a) * (1 + 1e-9))
    assert weighted_gradient_error(net, WEIGHTED[name], q) > CLOSE


@EACH
@BOTH
def test_weights_and_a_gradient_that_comes_late(cls, make):
    """gradient=False changes when, not what."""
    net, q = data(cls, True)
    late, soon = make(net, q, weights=WEIGHTS, gradient=False), make(net, q, weights=WEIGHTS)
    close(late.value, soon.value, 64 * EPS)
    np.testing.assert_array_equal(late.gradient, soon.gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.longdouble], ids=lambda t: t.__name__)
@EACH
@BOTH
def test_weights_do_not_change_the_dtype(cls, make, dtype):
    net, q = data(cls, False, dtype=dtype)
    loss = make(net, q, weights=WEIGHTS / 3)
    assert loss.value.dtype == loss.gradient.dtype == loss.per_sample.dtype == dtype


BAD_WEIGHTS = [
    (np.ones(4), ValueError, r"weights are float64 of shape \(4,\), expected real \(5,\), one per sample of x"),
    (np.ones((5, 1)), ValueError, r"weights are float64 of shape \(5, 1\), expected real \(5,\)"),
    (1.0, ValueError, r"weights are float64 of shape \(\), expected real \(5,\)"),
    (np.ones(5) * 1j, ValueError, "weights are complex128"),
    ([1, 2, -1e-9, 3, 1], ValueError, r"weights\[2\] is -1e-09 .*expected weights >= 0, not all 0"),
    (np.zeros(5), ValueError, r"weights\[0\] is 0.0 and their sum 0.0, expected weights >= 0, not all 0"),
    ([1, np.nan, 1, 1, 1], ValueError, r"weights\[1\] is nan"),
    ([1, 1, 1, np.inf, 1], ValueError, r"weights\[3\] is inf"),
    (["1"] * 5, TypeError, "weights has dtype <U1"),
    ([1, None, 1, 1, 1], TypeError, "weights has dtype object"),
]


@pytest.mark.parametrize("name", WEIGHTED)
def test_weights_that_are_none_are_refused_when_the_loss_is_made(name):
    net, q, make = *data(ScoreMLP, False), WEIGHTED[name]
    for bad, error, message in BAD_WEIGHTS:
        with pytest.raises(error, match=f"^{name.split(chr(44))[0]}: {message}"):
            make(net, q, weights=bad)


@BOTH
def test_weights_of_finite_differences_find_their_samples_in_every_batch(cls):
    """Each sample has two or three points, and 6,000 of them several batches: the gradient is that of the halves, by their shares."""
    rng = np.random.default_rng(0)
    net, x, v = cls.init(2, (4,), "tanh", rng=0), rng.standard_normal((6000, 2)), rng.standard_normal((6000, 2))
    w = rng.uniform(0, 1, 6000)
    make = lambda at: finite_difference_sliced(net, x[at], 0.0625, probes=v[at], weights=w[at])
    parts = [slice(0, 500), slice(500, 3100), slice(3100, 6000)]
    want = sum(w[at].sum() / w.sum() * make(at).gradient for at in parts)
    np.testing.assert_allclose(make(slice(None)).gradient, want, rtol=0, atol=1e-11 * np.abs(want).max())


@EACH
@CONDITIONAL
@BOTH
def test_each_sample_keeps_its_weight_in_whatever_batch_it_is(cls, conditional, make, monkeypatch):
    """Batches of one sample, or of the points that belong to one, and several workers: the values and the gradient of one batch."""
    net, q = data(cls, conditional, n=20)
    weights = np.random.default_rng(0).uniform(0, 3, 20)
    whole = make(net, q, weights=weights)
    value, per_sample, gradient = whole.value, whole.per_sample, whole.gradient
    monkeypatch.setattr(sweep, "FEW", 1)
    monkeypatch.setattr(sweep, "numbers", lambda cache: (1, 1))
    monkeypatch.setattr(sweep, "WORK", 1)
    parts = make(net, q, weights=weights)
    close(parts.per_sample, per_sample)
    close(parts.gradient, gradient)
    close(parts.value, value)
