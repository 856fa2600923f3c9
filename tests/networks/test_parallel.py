"""Workers side by side: the same bits on any number of cores, errors and contexts that cross threads, workspaces."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from networks_cases import (
    BOTH,
    EPS,
    large,
)
from numpy.testing import assert_array_equal

from numpyscore import EnergyMLP, implicit, sliced
from numpyscore.networks import parallel, sweep
from numpyscore.networks.activations import Activation
from numpyscore.networks.directions import Probes
from numpyscore.networks.parallel import Worker, cores, side_by_side


def answers(net, x, **sigma):
    """Everything that goes through a sweep, with both kinds of rows and both gradients."""
    probes = np.random.default_rng(1).standard_normal((2, *x.shape))
    loss, slices = implicit(net, x, **sigma), sliced(net, x, probes=probes, **sigma)
    ev = net.evaluate(x, trace=True, curvature=probes, **sigma)
    hutchinson = net.trace(x, "hutchinson", n_probes=2, rng=0, **sigma)
    return [
        loss.gradient,
        loss.per_sample,
        slices.gradient,
        slices.per_sample,
        ev.score,
        ev.trace,
        ev.curvature,
        hutchinson,
    ]


def workers_of(net, x, m):
    """The workers that a sweep over x with m directions is dealt to."""
    call = sweep.Call(net, net.points("test", x), float)
    call.ways = Probes(m, None).prepared(call.net, net.dim, scalar=True)
    return call.workers()


@pytest.mark.parametrize("widths", [(48,), (48, 40), (32, 24, 32)], ids=str)
@BOTH
def test_the_same_bits_on_one_core_and_on_many(cls, widths, monkeypatch):
    net, x = large(cls, widths=widths, conditional=len(widths) == 2)
    sigma = {"sigma": np.linspace(0.5, 2, len(x))} if net.conditional else {}
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    alone = answers(net, x, **sigma)
    for several in (2, 3):
        monkeypatch.setattr(parallel, "cores", lambda: several)  # noqa: B023
        for one, many in zip(alone, answers(net, x, **sigma), strict=True):
            assert_array_equal(one, many)


@BOTH
def test_workers_and_pieces_give_what_one_worker_gives(cls, monkeypatch):
    """The same sums in another order: gradients of 6000 samples agree to a few hundred eps of their largest entries."""
    net, x = large(cls)
    assert len(workers_of(net, x, 3)) > 1
    several = answers(net, x)
    monkeypatch.setattr("numpyscore.networks.sweep.WORKERS", 1)
    assert len(workers_of(net, x, 3)) == 1
    for one, many in zip(answers(net, x), several, strict=True):
        np.testing.assert_allclose(many, one, rtol=0, atol=256 * EPS * max(1, np.abs(one).max()))


def test_control_a_worker_that_is_not_added_is_seen(monkeypatch):
    net, x = large(EnergyMLP)
    whole = implicit(net, x).gradient
    monkeypatch.setattr(Worker, "add", lambda self, other: None)
    assert np.abs(implicit(net, x).gradient - whole).max() > 1e-3 * np.abs(whole).max()


def test_how_samples_are_dealt_depends_on_shapes_alone(monkeypatch):
    net, x = large(EnergyMLP)
    dealt = []
    for several in (1, 7):
        monkeypatch.setattr(parallel, "cores", lambda: several)  # noqa: B023
        dealt.append([work.at for work in workers_of(net, x, 3)])
    assert dealt[0] == dealt[1]
    assert [at.start for at in dealt[0][1:]] == [at.stop for at in dealt[0][:-1]]
    assert (dealt[0][0].start, dealt[0][-1].stop) == (0, len(x))
    (few,) = workers_of(net, x[:20], 3)  # a thread would cost more than it saves
    assert few.alone


def test_fewer_threads_where_the_environment_asks_for_fewer(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    for variables, expected in (({}, 3), ({"OMP_NUM_THREADS": "2"}, 2), ({"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "2"}, 1),
                                ({"OPENBLAS_NUM_THREADS": "64"}, 3), ({"OMP_NUM_THREADS": "4,2"}, 3), ({"OMP_NUM_THREADS": "0"}, 3)):  # fmt: skip
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert cores() == expected, variables


def meeting(act):
    """An activation (tanh) that calls act(z), and that two threads must have entered before either goes on."""
    barrier, seen = threading.Barrier(2), {}

    def columns(z, order):
        me = threading.get_ident()
        if me not in seen:
            seen[me] = True
            barrier.wait(timeout=30)
        act(z)
        t = np.tanh(z)
        return (t, 1 - t * t, -2 * t * (1 - t * t), (1 - t * t) * (6 * t * t - 2))[: order + 1]

    return Activation("meeting", columns), seen


@pytest.mark.parametrize("state", ["raise", "ignore"])
def test_threads_obey_the_callers_errstate(state, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    row, seen = meeting(lambda z: np.exp(1e4 + z))  # overflows on every thread
    net, x = large(EnergyMLP, row)
    with np.errstate(all=state):
        if state == "raise":
            with pytest.raises(FloatingPointError, match="overflow"):
                net.trace(x)
        else:
            assert np.isfinite(net.trace(x)).all()
    assert len(seen) == 2


def test_an_exception_in_a_worker_reaches_the_caller_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    net, x = large(EnergyMLP)
    whole, before = net.score(x), threading.active_count()
    _, second, *_ = workers_of(net, x, 3)

    def local(at, here):
        if at.start >= second.at.start:
            raise KeyError(f"sample {at.start}")
        return {"score": here["score"]}

    with pytest.raises(KeyError, match=f"sample {second.at.start}"):
        net.sweep(net.points("test", x), trace=True, local=lambda at, here: local(at, here) | {"trace": np.ones(len(here["score"]))},
                   gradient=True)  # fmt: skip
    assert threading.active_count() == before
    assert_array_equal(net.score(x), whole)


def test_the_first_workers_exception_is_the_one_raised(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    barrier = threading.Barrier(2)

    def visit(work):
        barrier.wait(timeout=30)
        raise ValueError(work)

    for _ in range(20):
        with pytest.raises(ValueError, match=r"^0$"):
            side_by_side(visit, [0, 1])


def test_where_no_thread_can_start_the_caller_does_it_all(monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 4)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen = []
    side_by_side(seen.append, [0, 1, 2, 3])
    assert seen == [0, 1, 2, 3]


@BOTH
def test_threads_of_the_user_may_share_a_network(cls, monkeypatch):
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    net, x = large(cls)
    expected = [answers(net, x + shift) for shift in (0, 1)]
    got: list = [None, None]

    def run(i):
        for _ in range(3):
            got[i] = answers(net, x + i)

    threads = [threading.Thread(target=run, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, theirs in zip(expected, got, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert_array_equal(a, b)


def test_two_workers_never_share_a_workspace_and_few_are_kept():
    with Worker(slice(0, 1), float) as one, Worker(slice(1, 2), float) as other:
        assert not np.shares_memory(one.array("a", 4), other.array("a", 4))
        kept = {id(one.array), id(other.array)}
    with Worker(slice(0, 1), float) as again:
        assert id(again.array) in kept  # written over, not allocated again
    with pytest.raises(ZeroDivisionError), Worker(slice(0, 1), float) as failing:
        workspace = failing.array
        _ = 1 / 0
    assert any(workspace is waiting for waiting in parallel._waiting[np.dtype(float)])  # handed back all the same
    many = [Worker(slice(0, 1), np.float32).__enter__() for _ in range(3 * parallel.KEPT)]
    for work in many:
        work.__exit__(None, None, None)
    assert len(parallel._waiting[np.dtype(np.float32)]) == parallel.KEPT


FORK = """
import os, sys, warnings
import numpy as np
import numpyscore.networks.parallel as parallel
from numpyscore import EnergyMLP, implicit
warnings.simplefilter("ignore")
parallel.cores = lambda: 2
net, x = EnergyMLP.init(3, (48, 40), "tanh", rng=0), np.random.default_rng(0).standard_normal((6000, 3))
before = implicit(net, x).gradient
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(implicit(net, x).gradient, before) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_use_works_on():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "0", done.stderr
