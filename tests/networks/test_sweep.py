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

from numpyscore import EnergyMLP, ScoreMLP, implicit
from numpyscore.networks import directions, parallel, sweep
from numpyscore.networks.activations import ACTIVATIONS, Activation
from numpyscore.objectives.implicit import explicit


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


# ------------------------------------------------------------------------------- how much at once


def test_how_much_goes_at_once_by_the_size_of_the_cache():
    for cache, batch, chunk in ((19, 15, 17), (20, 15, 17), (21, 17, 18), (22, 17, 19), (23, 17, 19)):
        assert sweep.numbers.__wrapped__(1 << cache) == (1 << batch, 1 << chunk), cache


def call_of(net, n, group=1):
    """A call of n points."""
    return sweep.Call(net, sweep.Points(np.zeros((n, net.dim)), None, group), float)


@pytest.mark.parametrize("widths", [(40,), (40, 30), (20, 30, 10)], ids=str)
def test_as_many_workers_as_the_multiplications_of_all_passes_are_worth(widths, monkeypatch):
    """theta once, the hidden layers once a direction that goes through them, and 64 for each unit's activation."""
    net, n = EnergyMLP.init(8, widths, rng=0), 97
    hidden, units = sum(a * b for a, b in itertools.pairwise(widths)), sum(widths)
    ways = {
        "none": (None, 0),
        "probes": (directions.Probes(5, None), 5),
        "exact": (directions.Collapsed, 8 if len(widths) > 1 else 0),
    }
    for way, through in ways.values():
        call = call_of(net, n)
        if way is not None:
            call.ways = way(call.net, 8) if isinstance(way, type) else way.prepared(call.net, 8, True)
        work = n * (net.theta.size + through * hidden + 64 * units)
        monkeypatch.setattr(sweep, "WORKERS", 50)
        monkeypatch.setattr(sweep, "FEW", 1)
        for several in (1, 2, 30):
            monkeypatch.setattr(sweep, "WORK", work // several)
            cuts = call.cuts()
            assert len(cuts) == several
            assert [cut.start for cut in cuts[1:]] == [cut.stop for cut in cuts[:-1]] and cuts[-1].stop == n
            assert max(cut.stop - cut.start for cut in cuts) <= n // several + 1
        monkeypatch.setattr(sweep, "WORK", work + 1)
        assert call.cuts() == [slice(0, n)]
        monkeypatch.setattr(sweep, "WORK", 1)
        for few, several in ((97, 1), (49, 1), (48, 2), (24, 4)):
            monkeypatch.setattr(sweep, "FEW", few)
            assert len(call.cuts()) == several
        monkeypatch.setattr(sweep, "WORKERS", 3)
        assert len(call.cuts()) == 3


def test_a_group_of_samples_stays_together(monkeypatch):
    """103 samples in groups of 7, the last one of 5: every cut between groups."""
    net = EnergyMLP.init(3, (10, 5), rng=0)
    monkeypatch.setattr(sweep, "WORK", 1)
    monkeypatch.setattr(sweep, "FEW", 1)
    for group in (7, 1, 50):
        call = call_of(net, 103, group)
        cuts = call.cuts()
        assert len(cuts) == 4 and (cuts[0].start, cuts[-1].stop) == (0, 103)
        for cut in cuts:
            batches = call.batches(cut, 10)
            assert not cut.start % group and all(not at.start % group for at in batches)
            ends = [cut.start, *(at.stop for at in batches)]
            assert [at.start for at in batches] == ends[:-1] and ends[-1] == cut.stop
            assert all(at.stop - at.start <= -(-10 // group) * group for at in batches)
            assert all(at.stop - at.start == -(-10 // group) * group for at in batches[:-1])


def test_batches_are_as_large_as_the_cache_bears_and_not_too_small(monkeypatch):
    monkeypatch.setattr(sweep, "INPUT", 3000)
    sizes = lambda call, *size: [at.stop - at.start for at in call.batches(slice(10, 210), *size)]
    for d, numbers, size in ((3, 1000, 50), (3, 200, 32), (60, 10**6, 50), (500, 10**6, 32)):
        net = EnergyMLP.init(d, (20, 10), rng=0)
        monkeypatch.setattr(sweep, "numbers", lambda cache: (numbers, 7))  # noqa: B023
        call = call_of(net, 210)
        assert call.width == 20 and call.chunk == 7
        assert sizes(call) == [size] * (200 // size) + [200 % size] * bool(200 % size)
        assert sizes(call, 80) == [80, 80, 40]
    assert call_of(EnergyMLP.init(3, (4, 20, 9), rng=0), 1).width == 20


@pytest.mark.parametrize("n", [1, 2, 3])
@BOTH
def test_of_a_call_nothing_is_asked_unless_it_says_so(cls, n):
    net, x = cls.init(3, (4,), "tanh", rng=0), np.random.default_rng(0).standard_normal((n, 3))
    assert sweep.Points(x).group == 1 and sweep.Points(x).sigma is None
    call = sweep.Call(net, sweep.Points(x), float)
    assert sweep.run(call) is None and call.out == {} and call.sees == () and call.second == "trace"
    swept = net.sweep(sweep.Points(x))
    assert all(found is None for found in swept)
    v = np.stack([x, 2 * x[::-1]])
    swept = net.sweep(sweep.Points(x), directions=directions.Probes.given(v))  # their sum
    np.testing.assert_allclose(swept.curvature, net.curvature(x, v[0]) + net.curvature(x, v[1]), rtol=1e-13)
    assert swept.gradient is None and swept.score is None
    seen = []
    net.sweep(sweep.Points(x), local=lambda at, here: (seen.append(sorted(here)), (0, {}))[1])
    assert seen == [["score"]]


def test_of_few_samples_the_first_layer_s_gradient_waits_for_all_workers(monkeypatch):
    """50 samples and 60 units: W_1_bar is written once, with what every worker has kept for it."""
    for cls in (EnergyMLP, ScoreMLP):
        for widths in ((60,), (60, 5), (60, 5, 4)):
            model, x, _ = network_of(cls, 5, widths, n=50)
            whole = implicit(model, x).gradient
            with monkeypatch.context() as small:
                small.setattr(sweep, "WORK", 1)
                small.setattr(sweep, "FEW", 8)
                assert len(sweep.Call(model, model.points("test", x), float).cuts()) == 4
                parts = implicit(model, x).gradient
            np.testing.assert_allclose(parts, whole, rtol=0, atol=256 * EPS * np.abs(whole).max())


ORDERS = {
    "energy": (0, None),
    "score": (1, 0),
    "trace": (2, 1),
    "curvature": (2, 1),
    "jacobian": (2, 1),
    "jvp": (2, 1),
    "vjp": (2, 1),
    "score and its gradient": (2, 1),
    "trace and its gradient": (3, 2),
    "energy and its gradient": (1, None),
}


@pytest.mark.parametrize("what", ORDERS)
@BOTH
def test_no_more_derivatives_of_the_activation_than_are_wanted(cls, what):
    expected = ORDERS[what][cls is ScoreMLP]
    if expected is None:
        return
    orders, right = [], ACTIVATIONS["tanh"].jet
    own = Activation("watched", lambda z, order: (orders.append(order), right(z, order))[1])
    net, x = cls.init(3, (4, 5), own, rng=0), np.ones((2, 3))
    ask = {
        "energy": lambda: net.energy(x),
        "score": lambda: net.score(x),
        "trace": lambda: net.trace(x),
        "curvature": lambda: net.curvature(x, x),
        "jacobian": lambda: net.jacobian(x),
        "jvp": lambda: net.jvp(x, x),
        "vjp": lambda: net.vjp(x, x),
        "score and its gradient": lambda: explicit(net, x, x).gradient,
        "trace and its gradient": lambda: implicit(net, x).gradient,
        "energy and its gradient": lambda: net.sweep(
            net.points("test", x), local=lambda at, here: (0, {"energy": np.ones(2)}), sees=("energy",), gradient=True
        ),
    }
    ask[what]()
    assert set(orders) == {expected}


def test_the_jacobian_takes_so_few_samples_at_a_time_that_all_its_directions_fit(monkeypatch):
    net, x = EnergyMLP.init(3, (4, 5), rng=0), np.random.default_rng(0).standard_normal((20, 3))
    whole, sizes, right = net.jacobian(x), [], EnergyMLP._jacobian
    monkeypatch.setattr(EnergyMLP, "_jacobian", lambda self, call, batch, work: (sizes.append(len(batch.x)), right(self, call, batch, work))[1])  # fmt: skip
    for chunk, expected in ((6 * 15, [6, 6, 6, 2]), (1, [1] * 20)):
        monkeypatch.setattr(sweep, "numbers", lambda cache: (10**6, chunk))  # noqa: B023
        sizes.clear()
        np.testing.assert_allclose(net.jacobian(x), whole, rtol=1e-13, atol=1e-15)
        assert sizes == expected
