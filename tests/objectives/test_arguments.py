"""What the objectives refuse: when the loss is made, with one clear message."""

from types import SimpleNamespace

import numpy as np
import pytest
from objectives_cases import BOTH, X

from numpyscore.densities.weights import box_weight, capped_weight, linear_weight, square_weight
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.objectives import OBJECTIVES
from numpyscore.objectives import denoising as denoising_module
from numpyscore.objectives.arrays import (
    denoising_loss,
    finite_difference_energy_loss,
    finite_difference_score_loss,
    generalised_loss,
    sliced_loss,
)
from numpyscore.objectives.denoising import denoising, multilevel_denoising
from numpyscore.objectives.implicit import explicit, generalised, implicit
from numpyscore.objectives.sliced import finite_difference_sliced, sliced


@BOTH
def test_a_loss_of_no_samples_is_refused(cls):
    model, x = cls.init(3, (4,), rng=0), np.empty((0, 3))
    for name, run in (("explicit", lambda: explicit(model, x, x)), ("implicit", lambda: implicit(model, x))):
        with pytest.raises(
            ValueError, match=f"^{name}: x has no rows, and a loss is a mean over samples; expected at least one row"
        ):
            run()


@pytest.mark.parametrize(
    "target, error, message",
    [
        (np.ones(3), ValueError, r"target_score has shape \(3,\), expected \(n, d\)"),
        (np.ones((4, 2)), ValueError, r"target_score has shape \(4, 2\), expected \(n, 3\)"),
        (np.ones((5, 3)), ValueError, r"target_score has shape \(5, 3\), expected that of x, \(4, 3\)"),
        (np.ones((1, 3)), ValueError, r"target_score has shape \(1, 3\), expected that of x"),  # must not broadcast
        (np.full((4, 3), np.nan), ValueError, r"target_score\[0, 0\] is nan"),
        (np.full((4, 3), "a"), TypeError, "target_score has dtype"),
        (None, TypeError, "target_score has dtype object"),
        ([[1, 2, 3], [1]], ValueError, "target_score cannot be made an array"),
        (np.ma.array(np.ones((4, 3)), mask=np.eye(4, 3)), ValueError, "target_score is a masked array"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(target, error, message):
    with pytest.raises(error, match="^explicit: " + message):
        explicit(ScoreMLP.init(3, (4,), rng=0), np.zeros((4, 3)), target)


def test_a_complex_target_for_a_real_network_is_refused():
    with pytest.raises(TypeError, match="target_score"):
        _ = explicit(ScoreMLP.init(3, (4,), rng=0), np.zeros((4, 3)), np.full((4, 3), 1j)).value


REFUSED = [
    *[
        (lambda net, s=s: denoising(net, X, s), "denoising: sigma has the value .* expected positive standard deviations")
        for s in (0, -0.1, 0.0, [0.1, 0.2, -1, 0.3])
    ],
    (lambda net: denoising(net, X, np.nan), "denoising: sigma is nan"),
    (lambda net: denoising(net, X, [0.1, 0.2]), r"denoising: sigma has shape \(2,\), expected one number or \(4,\)"),
    (lambda net: denoising(net, X, np.ones((4, 1))), r"denoising: sigma has shape \(4, 1\)"),
    (lambda net: denoising(net, X, 1, noise=np.ones((4, 2))), r"denoising: noise has shape \(4, 2\), expected \(n, 3\)"),
    (lambda net: denoising(net, X, 1, noise=np.ones((1, 3))), r"denoising: noise has shape \(1, 3\), expected that of x"),
    (lambda net: denoising(net, X, 1, noise=np.full((4, 3), np.inf)), r"denoising: noise\[0, 0\] is inf"),
    (lambda net: denoising(net, X, 1, noise=X, rng=0), "denoising: rng and noise are both given"),
    (lambda net: denoising(net, X[0], 1), r"denoising: x has shape \(3,\)"),
    (lambda net: denoising(net, X[:0], 1), "denoising: x has no rows"),
    (lambda net: multilevel_denoising(net, X[:0], [1]), "multilevel_denoising: x has no rows"),
    (lambda net: multilevel_denoising(net, X, []), r"multilevel_denoising: sigmas has shape \(0,\)"),
    (lambda net: multilevel_denoising(net, X, 0.5), r"multilevel_denoising: sigmas has shape \(\), expected \(L,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 0]), "multilevel_denoising: sigmas has the value 0"),
    (lambda net: multilevel_denoising(net, X, [1], weight="sigma"), "weight is 'sigma', expected 'sigma2', 'one' or"),
    (lambda net: multilevel_denoising(net, X, [1], weight=2.0), "weight is 2.0, expected"),
    (lambda net: multilevel_denoising(net, X, [1], weight=lambda s: -s), "weight has the value -1.0, expected weights >= 0"),
    (lambda net: multilevel_denoising(net, X, [1, 2], weight=lambda s: s[:1]), r"weight returned float64 \(1,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=[0, 1, 2, 0]), "level has the value 2, expected 0 to 1"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=-1), "level has the value -1, expected 0 to 1"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=[0, 1]), r"level has shape \(2,\), expected one integer or \(4,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], noise=np.ones((3, 4, 3))), r"noise has shape \(3, 4, 3\), expected \(4, 3\) or \(2, 4, 3\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=0, noise=np.ones((2, 4, 3))), r"noise has shape \(2, 4, 3\), expected \(4, 3\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], rng=0, noise=X), "rng and noise are both given"),
    (lambda net: sliced(net, X, probe="cauchy"), "sliced: probe is 'cauchy', expected 'rademacher', 'gaussian' or 'sphere'"),
    (lambda net: sliced(net, X, n_probes=0), "sliced: n_probes is 0, expected an integer >= 1"),
    (lambda net: sliced(net, X, probes=np.ones((4, 2))), r"sliced: probes has shape \(4, 2\), expected \(4, 3\)"),
    (lambda net: sliced(net, X, probes=np.ones(3)), r"sliced: probes has shape \(3,\)"),
    (lambda net: sliced(net, X, probes=np.ones((0, 4, 3))), "sliced: probes are 0 per sample"),
    (lambda net: sliced(net, X, probes=X, n_probes=2), "sliced: probes are 1 per sample and n_probes is 2"),
    (lambda net: sliced(net, X, probes=X * np.nan), "sliced: probes.* is nan"),
    (lambda net: sliced(net, X, probes=X, rng=0), "sliced: rng and probes are both given"),
    (lambda net: sliced(net, X, rng=-1), "sliced: rng is -1"),
    (lambda net: sliced(net, X, sigma=1.0), "sliced: sigma was given, but this network is not conditional"),
    (lambda net: generalised(net, -X, *linear_weight()), r"generalised: h\[0, 0\] is -0.5 at x\[0, 0\] = -0.5, expected h >= 0 .*lies outside"),
    (lambda net: generalised(net, -X, *square_weight()), r"square_weight: x\[0\] = .* lies below lower"),
    (lambda net: generalised(net, X, *box_weight(0.6, 1)), "generalised: h.* lies outside"),
    (lambda net: generalised(net, X, 1.0, 0.0), r"generalised: h has shape \(\)"),
    (lambda net: generalised(net, X, np.ones((4, 2)), X), r"generalised: h has shape \(4, 2\)"),
    (lambda net: generalised(net, X, X, np.ones((1, 3))), r"generalised: h_prime has shape \(1, 3\), expected that of x"),
    (lambda net: generalised(net, X, X, X * np.nan), r"generalised: h_prime\[0, 0\] is nan"),
    (lambda net: finite_difference_sliced(net, X, 1e-9), "eps is 1e-09, expected at least 1.49e-08 .*in float64"),
    (lambda net: finite_difference_sliced(net, 1e6 * X, 1e-3), "eps is 0.001, expected at least 0.007"),
    (lambda net: finite_difference_sliced(net, X, 0), "finite_difference_sliced: eps is 0.0, expected a finite positive"),
    (lambda net: finite_difference_sliced(net, X, -1e-3), "eps is -0.001, expected a finite positive number"),
    (lambda net: finite_difference_sliced(net, X, np.nan), "eps is nan"),
    (lambda net: capped_weight(0), "capped_weight: c is 0.0"),
    (lambda net: box_weight(0, 1, cap=0), "box_weight: cap is 0, expected a positive number"),
    (lambda net: box_weight(1, 1), "box_weight: lower is 1.0, upper 1.0, expected lower < upper"),
    (lambda net: denoising_loss(X, X, -1), "denoising_loss: sigma has the value -1"),
    (lambda net: denoising_loss(X, X[0], 1), "denoising_loss: noise has shape"),
    (lambda net: sliced_loss(X, np.ones((4, 1))), r"sliced_loss: curvature has shape \(4, 1\)"),
    (lambda net: sliced_loss(X, np.ones((2, 4)), X), "sliced_loss: probes are 1 per sample and curvature 2"),
    (lambda net: generalised_loss(X, np.ones(4), X, X), "generalised_loss: diagonal has shape"),
    (lambda net: finite_difference_energy_loss(np.ones(3), np.ones(4), np.ones(4), 0.1), "energies have shapes"),
    (lambda net: finite_difference_score_loss(X, X[:2], X, 0.1), "finite_difference_score_loss: plus has shape"),
    (lambda net: finite_difference_score_loss(X, X, X[:2], 0.1), "finite_difference_score_loss: probes has shape"),
    (lambda net: finite_difference_score_loss(X, X, X, 0.0), "finite_difference_score_loss: eps is 0.0"),
    (lambda net: finite_difference_energy_loss(np.ones(4), np.ones(4), np.ones(3), 0.1), "energies have shapes"),
    (lambda net: finite_difference_energy_loss(np.ones((4, 1)), np.ones((4, 1)), np.ones((4, 1)), 0.1), "energies have shapes"),
    (lambda net: finite_difference_energy_loss(np.ones(4), np.ones(4), np.ones(4), -0.1), "finite_difference_energy_loss: eps is -0.1"),
    (lambda net: generalised_loss(X, X, np.ones(4), X), "generalised_loss: h has shape"),
    (lambda net: generalised_loss(X, X, X, np.ones(4)), "generalised_loss: h_prime has shape"),
    (lambda net: sliced_loss(X[0], np.ones(3)), r"sliced_loss: curvature has shape \(3,\) and score \(3,\)"),
    (lambda net: sliced_loss(X, np.ones((0, 4))), r"sliced_loss: curvature has shape \(0, 4\)"),
    (lambda net: sliced_loss(X, np.ones((1, 1, 4))), r"sliced_loss: curvature has shape \(1, 1, 4\)"),
    (lambda net: sliced_loss(X, np.ones(4), X[:, :2]), "sliced_loss: probes has shape"),
    (lambda net: multilevel_denoising(net, X, [[1.0]]), r"sigmas has shape \(1, 1\), expected \(L,\)"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=[0, 5, -1, 0]), "level has the value 5, expected 0 to 1, an index into the 2 sigmas"),
    (lambda net: multilevel_denoising(net, X, [1, 2], level=[0, -1, 5, 0]), "level has the value -1, expected 0 to 1"),
    (lambda net: multilevel_denoising(net, X, [1, 2], noise=X * np.nan), r"noise\[0, 0\] is nan"),
    (lambda net: multilevel_denoising(net, X, [1], weight=lambda s: s * np.nan), r"weight\[0\] is nan"),
    (lambda net: multilevel_denoising(net, X, [1], weight=lambda s: s * 1j), "weight returned complex128"),
    (lambda net: sliced(net, X, probes=X, n_probes=0), "n_probes is 0"),
    (lambda net: implicit(net, X, weights=[1.0, 0.0, -0.5, -0.7]), r"implicit: weights\[2\] is -0.5 and their sum"),
    (lambda net: implicit(net, X, weights=np.zeros(4)), r"implicit: weights\[0\] is 0.0 and their sum 0.0, expected weights >= 0, not all 0"),
    (lambda net: implicit(net, X, weights=np.ones((4, 1))), r"weights are float64 of shape \(4, 1\), expected real \(4,\)"),
    (lambda net: implicit(net, X, weights=[1.0, np.nan, 1.0, 1.0]), r"weights\[1\] is nan"),
    (lambda net: implicit(net, X, weights=np.ones(4) * 1j), "weights are complex128"),
]  # fmt: skip


@BOTH
@pytest.mark.parametrize("run, message", REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_bad_input_is_refused_when_the_loss_is_made(cls, run, message):
    with pytest.raises(ValueError, match=message):
        run(cls.init(3, (4,), rng=0))


def test_a_step_fine_in_float64_is_refused_in_float32():
    net = EnergyMLP.init(3, (4,), rng=0, dtype=np.float32)
    assert np.isfinite(finite_difference_sliced(net, X, 1e-4, rng=0).value)
    with pytest.raises(ValueError, match=r"eps is 0.0001, expected at least 0.000345 .* in float32"):
        finite_difference_sliced(net, X.astype(np.float32), 1e-4, rng=0)


def test_types_that_are_no_numbers_are_refused():
    net = ScoreMLP.init(3, (4,), rng=0)
    for run in (
        lambda: denoising(net, X, "a"),
        lambda: denoising(net, X, 1j),
        lambda: denoising(net, X, 1, noise=1j * X),
        lambda: sliced(net, X, probes=1j * X),
        lambda: sliced(net, X, rng=np.random.RandomState(0)),
        lambda: generalised(net, X, 1j * X, X),
        lambda: multilevel_denoising(net, X, [1], level=0.0),
        lambda: multilevel_denoising(net, X, [1], noise=1j * X),
        lambda: finite_difference_sliced(net, X, "small"),
        lambda: sliced(net, X, n_probes=1.5),
    ):
        with pytest.raises(TypeError, match=r"^(denoising|sliced|generalised|multilevel|finite)"):
            run()


def test_relu_has_an_explicit_loss_only():
    model = EnergyMLP.init(3, (4,), "relu", rng=0)
    x = np.ones((2, 3))
    assert np.isfinite(explicit(model, x, x).value)
    for run in (lambda: implicit(model, x), lambda: explicit(model, x, x).gradient):
        with pytest.raises(
            ValueError, match=r"'relu' is not twice differentiable.*the trace would silently miss the kink"
        ):
            run()


def test_relu_is_refused_wherever_the_trace_stands_behind():
    net = ScoreMLP.init(3, (4,), "relu", rng=0)
    for run in (
        lambda: sliced(net, X),
        lambda: generalised(net, X, *linear_weight()),
        lambda: finite_difference_sliced(net, X, 1e-2),
        lambda: OBJECTIVES["regularised"].function(net, X, 0.3),
    ):
        with pytest.raises(ValueError, match="'relu' is not twice differentiable"):
            run()
    assert np.isfinite(denoising(net, X, 0.5, rng=0).gradient).all()  # first derivatives only


def test_control_a_check_that_is_left_out_is_seen(monkeypatch):
    run, message = REFUSED[0]
    monkeypatch.setattr(denoising_module, "deviations", lambda where, name, value, *rest: np.asarray(value) + 1.0)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test_bad_input_is_refused_when_the_loss_is_made(ScoreMLP, run, message)


def test_what_the_sweep_refuses_is_told_under_the_name_of_the_loss():
    x, told = np.zeros((1, 2), np.float32), {"sigma": np.array([1e-300])}
    for cls in (EnergyMLP, ScoreMLP):
        net = cls.init(2, (3,), conditional=True, rng=0, dtype=np.float32)
        for name, more in {
            "explicit": (x,), "implicit": (), "generalised": (x, x), "regularised": (0.3,), "sliced": (), "finite_difference_sliced": (0.1,),
        }.items():  # fmt: skip
            with pytest.raises(ValueError, match=f"^{name}: sigma"):
                OBJECTIVES[name].function(net, x, *more, **told).value  # noqa: B018  computed when read


def torch_module():
    """Something with parameters and a state_dict."""
    return type("Module", (), {"parameters": None, "state_dict": None, "__call__": None})()


@pytest.mark.parametrize(
    "model, x, cure",
    [
        (EnergyMLP, X, r"model is the class EnergyMLP, .*; make one of it, for example EnergyMLP\.init\(dim, widths\)\."),
        (X, ScoreMLP.init(3, (4,), rng=0), r"the arguments are exchanged: implicit\(model, x, \.\.\.\)\."),
        (SimpleNamespace(units=1, score=2), X, r"pass its network and rows in its units, implicit\(fit\.model, fit\.units\.to_standard\(x\), \.\.\.\)"),
        (torch_module(), X, r"take its weights, EnergyMLP\.from_torch\(module\.state_dict\(\), \.\.\.\), or its scores, implicit_loss; and check_loss is for"),
        (SimpleNamespace(parameters=1, score=2), X, "it has a score: pass that to implicit_loss"),
        (lambda x: x, X, "pass what it returns to implicit_loss"),
        (3, X, r"make one by EnergyMLP\.init\(dim, widths\) or ScoreMLP\.init\(dim, widths\)\."),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_is_no_network_is_told_what_to_pass(model, x, cure):
    with pytest.raises(
        TypeError,
        match=rf"^implicit: model is .*, expected an EnergyMLP or a ScoreMLP; .*{cure}"
        if model is not EnergyMLP
        else cure,
    ):
        implicit(model, x)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_refuses_what_is_no_network(name):
    with pytest.raises(
        TypeError, match=rf"^{name}: model is .*, expected an EnergyMLP or a ScoreMLP; pass what it returns to"
    ):
        OBJECTIVES[name].function(lambda x: x, X, *[1.0] * {"implicit": 0, "sliced": 0, "generalised": 2}.get(name, 1))


def test_the_twin_for_arrays_is_named_where_there_is_one():
    with pytest.raises(TypeError, match=r"pass what it returns to the losses for arrays, such as implicit_loss\."):
        finite_difference_sliced(lambda x: x, X, 1e-3)


def test_the_least_step_is_taken_and_the_size_of_x_may_be_large():
    """sqrt(eps) = 2^-26 in float64 for x of unit size; in float32 a square of 1e30 would be no number."""
    for cls in (EnergyMLP, ScoreMLP):
        net = cls.init(3, (4,), rng=0)
        assert np.isfinite(finite_difference_sliced(net, X, 2.0**-26, rng=0).value)
        with pytest.raises(ValueError, match=r"expected at least 1\.49e-08"):
            finite_difference_sliced(net, X, 0.999 * 2.0**-26, rng=0)
        small = cls.init(3, (4,), rng=0, dtype=np.float32)
        with pytest.raises(ValueError, match=r"eps is 1, expected at least 3.45e\+26"):
            finite_difference_sliced(small, np.full((4, 3), 1e30, np.float32), 1.0, rng=0)


def test_levels_at_the_ends_and_a_weight_of_0_are_taken():
    net = ScoreMLP.init(3, (4,), rng=0)
    ends = multilevel_denoising(net, X, [1.0, 2.0], level=[0, 1, 0, 1], noise=X)
    each = [multilevel_denoising(net, X, [1.0, 2.0], level=k, noise=X).per_sample for k in (0, 1)]
    np.testing.assert_array_equal(ends.per_sample, np.where([True, False, True, False], *each))
    assert multilevel_denoising(net, X, [1.0, 2.0], weight=np.zeros_like, noise=X).value == 0
    np.testing.assert_allclose(multilevel_denoising(net, X, [2.0], weight=lambda s: 3.0, noise=X).value, 0.75 * multilevel_denoising(net, X, [2.0], noise=X).value, rtol=1e-14)  # fmt: skip
