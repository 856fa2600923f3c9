"""The sweep over batches: what is asked for together, cut in any way, one by one, or of no samples at all, is the same."""

import itertools

import numpy as np
import pytest
from networks_cases import (
    BOTH,
    EPS,
    assert_within,
    network_of,
    trace_scale,
)
from oracles import scales

from numpyscore import EnergyMLP, implicit
from numpyscore.networks import parallel, sweep


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_what_is_asked_for_together_is_what_is_asked_for_alone(cls, conditional):
    """evaluate(trace=True, curvature=v) once returned a trace of uninitialised memory."""
    model, x, sigma = network_of(cls, 5, (6, 4), conditional=conditional, confinement=0.3, n=3)
    v = np.stack([x, -2 * x])
    names = ["score", "trace", "curvature", *(["energy"] if cls is EnergyMLP else [])]
    alone = {name: getattr(model, name)(x, **({"v": v} if name == "curvature" else {}), **sigma) for name in names}
    for size in range(len(names) + 1):
        for some in itertools.combinations(names, size):
            asked = {"score": False} | {name: v if name == "curvature" else True for name in some}
            ev = model.evaluate(x, **asked, **sigma)
            for name in ("energy", *names):
                if name in some:
                    # the same operations on the same numbers: the same bits
                    np.testing.assert_array_equal(getattr(ev, name), alone[name], err_msg=f"{name} of {some}")
                else:
                    assert getattr(ev, name) is None, (name, some)


def everything(model, x, sigma, v, several):
    """Every quantity at x that does not depend on random numbers, by name, and the gradient of implicit."""
    out = {
        "score": model.score(x, **sigma),
        "trace": model.trace(x, **sigma),
        "textbook": model.trace(x, "textbook", **sigma),
        "jacobian": model.jacobian(x, **sigma),
        "jvp": model.jvp(x, v, **sigma),
        "vjp": model.vjp(x, v, **sigma),
        "curvature": model.curvature(x, v, **sigma),
        "several": np.moveaxis(model.curvature(x, several, **sigma), 1, 0),
    }
    if isinstance(model, EnergyMLP):
        out["energy"] = model.energy(x, **sigma)
    return out


def size_of(model, x, sigma, v, several):
    """S of each of `everything`."""
    S_score, S_trace, S_jac, S_gradient, S_energy = scales(model, x, **sigma)
    V, M = np.abs(v), np.abs(several)
    out = {"score": S_score, "trace": S_trace, "textbook": S_trace, "jacobian": S_jac, "energy": S_energy}
    out |= {"jvp": np.einsum("nij,nj->ni", S_jac, V), "vjp": np.einsum("ni,nij->nj", V, S_jac)}
    out |= {"curvature": np.einsum("ni,nij,nj->n", V, S_jac, V), "several": np.einsum("mni,nij,mnj->nm", M, S_jac, M)}
    return out, S_gradient


def gradients(model, x, sigma, v, several):
    """Pullbacks through the shared rows and through rows of directions."""
    loss = implicit(model, x, **sigma)
    ev = model.evaluate(x, curvature=several, **sigma)
    return loss.value, loss.gradient, ev.pullback(score_bar=v, curvature_bar=1.0)


@pytest.mark.parametrize("constants", [(1, 1, 1), (64, 1, 99999), (1, 1 << 17, 1), (200, 50, 1)], ids=str)
@pytest.mark.parametrize("widths", [(7,), (7, 6), (4, 6, 5)], ids=str)
@BOTH
def test_results_do_not_depend_on_how_much_is_done_at_once(cls, widths, constants, monkeypatch):
    rng = np.random.default_rng(1)
    for d in (5, 12):
        model, x, sigma = network_of(cls, d, widths, conditional=d == 5, confinement=0.3, seed=2, n=50)
        v, several = rng.standard_normal(x.shape), rng.standard_normal((3, *x.shape))
        case = (model, x, sigma, v, several)
        S, S_gradient = size_of(*case)
        whole, (value, gradient, other) = everything(*case), gradients(*case)
        with monkeypatch.context() as small:
            small.setattr(sweep, "FEW", 1)
            small.setattr(sweep, "numbers", lambda cache: constants[:2])
            small.setattr(sweep, "WORK", constants[2])  # for a worker of its own
            small.setattr(parallel, "PIECE", 64)
            parts, (value_parts, gradient_parts, other_parts) = everything(*case), gradients(*case)
        # the same sums in another order: two computations within 8 eps S of each other in all trials, 32 allowed
        for name, want in whole.items():
            assert_within(32, parts[name], want, S[name], name)
        assert_within(32, gradient_parts, gradient, S_gradient, "gradient")
        assert abs(value_parts - value) <= 32 * EPS * np.mean(0.5 * np.sum(S["score"] ** 2, 1) + S["trace"])
        np.testing.assert_allclose(other_parts, other, rtol=0, atol=1e-13 * np.abs(other).max())


@BOTH
def test_a_thousand_samples_at_once_are_a_thousand_samples_one_by_one(cls):
    rng = np.random.default_rng(4)
    model, x, sigma = network_of(cls, 4, (6, 5), conditional=True, confinement=0.3, seed=2, n=1000)
    v, several = rng.standard_normal(x.shape), rng.standard_normal((2, *x.shape))
    S, _ = size_of(model, x, sigma, v, several)
    whole = everything(model, x, sigma, v, several)
    for i in range(0, 1000, 23):
        at = slice(i, i + 1)
        one = everything(model, x[at], {"sigma": sigma["sigma"][at]}, v[at], several[:, at])
        for name, got in one.items():
            assert_within(32, got, whole[name][at], S[name][at], f"{name} of sample {i}")
    few = slice(300, 500)
    gradient = np.mean([implicit(model, x[[i]], sigma=sigma["sigma"][i]).gradient for i in range(300, 500)], 0)
    x, sigma = x[few], {"sigma": sigma["sigma"][few]}
    assert_within(32, gradient, implicit(model, x, **sigma).gradient, scales(model, x, **sigma)[3], "gradient")


@BOTH
def test_control_a_batch_that_forgets_its_place_is_seen(cls, monkeypatch):
    model, x, sigma = network_of(cls, 5, (4, 6, 5), n=50)
    whole, S = model.trace(x), trace_scale(model, x, sigma)
    monkeypatch.setattr(sweep, "FEW", 1)
    monkeypatch.setattr(sweep, "numbers", lambda cache: (1, 1))
    right = sweep.Batch.__init__

    def forgetful(self, call, at):
        right(self, call, at)
        self.at = slice(0, len(self.x))

    monkeypatch.setattr(sweep.Batch, "__init__", forgetful)
    with pytest.raises(AssertionError):
        assert_within(32, model.trace(x), whole, S)


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
@BOTH
def test_no_samples_give_empty_results_of_the_right_shape(cls, conditional):
    model, x, _ = network_of(cls, 3, (4, 5), conditional=conditional, n=0)
    for sigma in [{"sigma": np.empty(0)}, {"sigma": 0.5}] if conditional else [{}]:
        ev = model.evaluate(x, trace=True, **sigma)
        assert ev.score.shape == (0, 3) and ev.trace.shape == (0,)
        if cls is EnergyMLP:
            assert model.energy(x, **sigma).shape == (0,)
        for method in ("exact", "textbook", "hutchinson"):
            assert model.trace(x, method, rng=0, **sigma).shape == (0,)
        assert model.jacobian(x, **sigma).shape == (0, 3, 3)
        assert model.jvp(x, x, **sigma).shape == model.vjp(x, x, **sigma).shape == (0, 3)
        assert model.curvature(x, x, **sigma).shape == (0,)
        assert model.curvature(x, np.empty((4, 0, 3)), **sigma).shape == (4, 0)
        np.testing.assert_array_equal(ev.pullback(score_bar=x, trace_bar=1.0), np.zeros(model.theta.size))
    model, x, sigma = network_of(cls, 3, (4, 5), conditional=conditional, n=2)
    assert model.curvature(x, np.empty((0, 2, 3)), **sigma).shape == (0, 2)


@pytest.mark.parametrize(
    "text, size", [("2048K", 1 << 21), ("1M", 1 << 20), ("32K", 1 << 15), ("", 1 << 20), ("many", 1 << 20)]
)
def test_the_cache_is_as_large_as_linux_says_and_a_mebibyte_where_nobody_does(text, size, monkeypatch):
    monkeypatch.setattr(sweep.Path, "read_text", lambda self: text)
    assert sweep.cache_bytes.__wrapped__() == size


def test_second_derivatives_of_a_kink_are_refused_before_anything_is_computed():
    net, x = EnergyMLP.init(2, (3,), "relu", rng=0), np.zeros((1, 2))
    assert len(net.points("trace", x).x) == 1
    with pytest.raises(ValueError, match="relu"):
        net.points("trace", x, second=True)
