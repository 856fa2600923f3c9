"""Workers side by side: the same bits on any number of cores, errors and contexts that cross threads, workspaces; products in pieces."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks_cases import (
    BOTH,
    EPS,
    large,
)
from numpy.testing import assert_array_equal

from numpyscore import EnergyMLP, implicit, sliced
from numpyscore.networks import parallel, passes, sweep
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


def cuts_of(net, x, m):
    """The slices of x that workers get in a sweep with m directions."""
    call = sweep.Call(net, net.points("test", x), float)
    call.ways = Probes(m, None).prepared(call.net, net.dim, scalar=True)
    return call.cuts()


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
    assert len(cuts_of(net, x, 3)) > 1
    several = answers(net, x)
    monkeypatch.setattr("numpyscore.networks.sweep.WORKERS", 1)
    assert len(cuts_of(net, x, 3)) == 1
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
        dealt.append(cuts_of(net, x, 3))
    assert dealt[0] == dealt[1]
    assert [at.start for at in dealt[0][1:]] == [at.stop for at in dealt[0][:-1]]
    assert (dealt[0][0].start, dealt[0][-1].stop) == (0, len(x))
    assert cuts_of(net, x[:20], 3) == [slice(0, 20)]  # a thread would cost more than it saves


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
    _, second, *_ = cuts_of(net, x, 3)

    def local(at, here):
        if at.start >= second.start:
            raise KeyError(f"sample {at.start}")
        return 0, {"score": here["score"], "trace": np.ones(len(here["score"]))}

    with pytest.raises(KeyError, match=f"sample {second.start}"):
        net.sweep(net.points("test", x), trace=True, local=local, gradient=True)
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


# ------------------------------------------------------------------------------- products in pieces: right, complete, and small enough for one thread

SIZES = st.sampled_from([1, 2, 3, 7, 16, 31, 32, 48, 64, 97, 128, 130, 255, 512, 1024, 1300, 2050])


def exact(A, W):
    """The product and the bound k eps |A| |W| on the rounding error of any order of summation, plus its own."""
    A, W = A.astype(np.longdouble), W.astype(np.longdouble)
    return A @ W, 2 * A.shape[1] * EPS * (np.abs(A) @ np.abs(W))


def check_product(n, k, m, turn=False, seed=0):
    rng = np.random.default_rng(seed)
    A, W = rng.standard_normal((n, k)), rng.standard_normal((m, k)).T if turn else rng.standard_normal((k, m))
    few = rng.integers(0, n, 4) if n else np.empty(0, int)
    out = np.full((n, m), np.nan)
    assert parallel.product(A, W, out) is out
    for rows in (few, slice(max(0, n - 3), n)):
        want, bound = exact(A[rows], W)
        assert np.all(np.abs(out[rows] - want) <= bound)
    assert_array_equal(parallel.product(A, W), out)


def check_outer(n, i, j, seed=0):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((n, i)), rng.standard_normal((n, j))
    few = rng.integers(0, i, 4)
    want, bound = exact(A[:, few].T, B)
    for target, fresh, at in ((np.zeros((i, j)), True, 0), (np.ones((i, j)), False, 1)):
        parallel.add_outer(target, A, B, fresh)
        assert np.all(np.abs(target[few] - at - want) <= bound + EPS * (np.abs(want) + at))


@given(n=st.integers(0, 400), k=SIZES, m=SIZES, turn=st.booleans(), seed=st.integers(0, 99))
def test_products_in_pieces_are_products(n, k, m, turn, seed):
    check_product(n, k, m, turn, seed)


@given(n=st.integers(1, 2000), i=SIZES, j=SIZES, seed=st.integers(0, 99))
def test_outer_products_in_pieces_are_outer_products(n, i, j, seed):
    check_outer(n, i, j, seed)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2000, 300, 64), (700, 2500, 40)], ids=str)
def test_shared_products_are_products_on_any_number_of_cores(shape, monkeypatch):
    n, k, m = shape
    rng = np.random.default_rng(0)
    A, W, B = rng.standard_normal((n, k)), rng.standard_normal((k, m)), rng.standard_normal((n, m))
    found = []
    for several in (1, 2):
        monkeypatch.setattr(parallel, "cores", lambda: several)  # noqa: B023
        outer = np.full((k, m), np.nan)
        # of few samples each, one narrower than the target, and one that is a transposed matrix
        parts = [(A[: n // 2], B[: n // 2]), (A[n // 2 :], B[n // 2 :]), (A[:, : k // 2 + 1], B), (W.T, np.eye(m))]
        parallel.add_outers(outer, parts, fresh=True)
        found.append((parallel.shared_product(A, W), parallel.shared_gram(A), outer))
    (product, gram, outer), again = found
    for one, other in zip(found[0], again, strict=True):
        assert_array_equal(one, other)
    want, bound = exact(A[-4:], W)
    assert np.all(np.abs(product[-4:] - want) <= bound)
    want, bound = exact(A[:, -3:].T, A)
    assert np.all(np.abs(gram[-3:] - want) <= bound) and np.all(np.abs(gram[:, -3:] - want.T) <= bound.T)
    some = np.unique(np.linspace(0, k - 1, 12).astype(int))
    want, bound = exact(A.T[some], B)
    want[some <= k // 2] *= 2  # the narrower one again
    assert np.all(np.abs(outer[some] - want - W[some]) <= 4 * bound + EPS * np.abs(W[some]))


@pytest.mark.parametrize("check", [check_product, check_outer])
def test_control_a_lost_remainder_is_seen(check, monkeypatch):
    check(1000, 128, 64)
    right = parallel._stacks
    monkeypatch.setattr(parallel, "_stacks", lambda n, rows: right(n, rows)[:1])
    with pytest.raises(AssertionError):
        check(1000, 128, 64)


@pytest.mark.parametrize(
    "shape",
    [
        (4096, 128, 128),
        (1000, 64, 64),
        (300, 784, 128),
        (700, 2, 128),
        (512, 512, 512),
        (64, 3072, 128),
        (999, 128, 1),
        (20, 512, 509),
    ],
)
def test_every_piece_is_small_enough_for_one_thread(shape, monkeypatch):
    """What the pieces are for: OpenBLAS starts its threads above 2^18 multiplications."""
    n, k, m = shape
    A, W, B = np.ones((n, k)), np.ones((k, m)), np.ones((n, m))
    seen, matmul = [], np.matmul

    def watched(a, b, out=None):
        seen.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
        return matmul(a, b, out=out)

    monkeypatch.setattr(np, "matmul", watched)
    parallel.product(A, W)
    parallel.add_outer(np.zeros((k, m)), A, B)
    limit = parallel.VECTOR if m == 1 else parallel.PIECE
    assert seen
    assert max(seen) <= limit


def test_a_stack_of_results_is_no_larger_than_a_million_numbers(monkeypatch):
    """128 pieces of 32 by 4 tiles, 2 million numbers in all: two stacks at least."""
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((1 << 15, 128)), rng.standard_normal((1 << 15, 128))
    sizes, matmul = [], np.matmul

    def watched(a, b, out=None):
        made = matmul(a, b, out=out)
        sizes.append(made.size)
        return made

    monkeypatch.setattr(np, "matmul", watched)
    target = np.ones((128, 128))
    parallel.add_outer(target, A, B)
    assert max(sizes) == 1 << 20 and sum(sizes) == 1 << 21
    np.testing.assert_allclose(target - 1, A.T @ B, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [0, 10, 50])
def test_where_no_cut_fits_the_whole_product_is_computed(n):
    """A prime number of columns, so many that not even one row of them is small enough for a piece."""
    check_product(n, 300, 1031)
    check_product(3 * n, 5000, 2)
    rng = np.random.default_rng(0)
    A, B, target = rng.standard_normal((n, 1031)), rng.standard_normal((n, 1031)), np.ones((1031, 1031))
    parallel.add_outer(target, A, B)
    np.testing.assert_allclose(target - 1, A.T @ B, rtol=0, atol=1e-11)


def test_columns_of_a_piece_are_a_divisor_and_not_few():
    for k, most, t in ((96, 40, 32), (96, 32, 32), (96, 31, 24), (97, 50, 97), (14, 13, 14), (16, 8, 8), (18, 9, 9), (5, 100, 5), (64, 0, 64), (64, 64, 64), (64, 1000, 64)):  # fmt: skip
        assert parallel._tile.__wrapped__(k, most) == t, (k, most)


def test_rows_are_cut_into_pieces_of_equal_height_and_a_rest():
    assert parallel._stacks(10, 4) == [(slice(0, 8), 4), (slice(8, 10), 2)]
    assert parallel._stacks(8, 4) == [(slice(0, 8), 4)] and parallel._stacks(0, 4) == []


def test_as_many_shares_as_the_work_is_worth_and_no_more_than_workers(monkeypatch):
    w = parallel.WORK
    assert parallel._shares(10, 0) == parallel._shares(10, 2 * w - 1) == [slice(0, 10)]
    assert parallel._shares(10, 2 * w) == [slice(0, 5), slice(5, 10)]
    assert parallel._shares(10, 3 * w) == [slice(0, 3), slice(3, 6), slice(6, 10)]
    assert len(parallel._shares(10, 100 * w)) == parallel.WORKERS == 4
    # the work is counted in multiplications
    counts = []
    monkeypatch.setattr(parallel, "side_by_side", lambda visit, shares: counts.append(len(shares)))
    monkeypatch.setattr(parallel, "WORK", 1000)
    A = np.ones((20, 10))  # 200 numbers
    parallel.shared_product(A, np.ones((10, 15)))
    parallel.shared_gram(A)
    parallel.add_outers(np.ones((10, 9)), [(A, np.ones((20, 9))), (A[:, :5], np.ones((20, 9)))], True)
    assert counts == [3, 2, 2]


@pytest.mark.parametrize("late", [False, True])
def test_a_gradient_is_the_sum_of_what_came_wherever_it_was_added(late):
    """Two workers' gradients: products wide and narrow, lasting and not, biases, the same of another worker, and once more after that."""
    net, rng = EnergyMLP.init(4, (6, 3), rng=0), np.random.default_rng(0)
    want = [np.zeros(a.shape) for pair in net.layers for a in pair]
    W, b = want[::2], want[1::2]

    def product_for(l, first=0):
        A, B = rng.standard_normal((5, len(W[l - 1]) - first)), rng.standard_normal((5, len(b[l - 1])))
        W[l - 1][first:] += A.T @ B
        return A, B

    made = [parallel.Gradient(net, float, late, Worker(slice(0, 1), float, alone)) for alone in (True, False)]
    for grads in made:
        bar = passes.Cotangents()
        bar.W = [(2, *product_for(2, 2), 2, True), (1, *product_for(1), 0, True), (3, *product_for(3), 0, False)]
        z_bar = rng.standard_normal((7, 6))
        b[0] += z_bar.sum(0)
        bar.b = [(1, z_bar)]
        for _ in range(2):  # what has been gathered is forgotten
            grads.gather(bar)
        grads.add(2, *product_for(2))
        if not late:
            grads.add(1, *product_for(1), lasting=False)
    first, other = made
    assert len(first.waiting) == len(other.waiting) == late
    other.add(3, *product_for(3))
    first.take(other)
    first.add(2, *product_for(2))
    assert len(first.waiting) == 2 * late
    waits = product_for(1)
    first.waiting.append(waits)  # as directions do at the end
    np.testing.assert_allclose(first.finish(), np.concatenate([a.ravel() for a in want]), rtol=0, atol=1e-13)
    empty = parallel.Gradient(net, float, late, Worker(slice(0, 1), float))
    assert not empty.finish().any()


def test_the_first_product_of_two_workers_goes_to_its_place_and_no_later_one_does():
    """`fresh` says of whom nothing has come; of two workers, neither."""
    net, one = EnergyMLP.init(2, (3,), rng=0), np.ones((1, 3))
    a, b = (parallel.Gradient(net, float, False, Worker(slice(0, 1), float)) for _ in range(2))
    b.add(2, one, np.ones((1, 1)))
    a.take(b)
    a.add(2, one, np.ones((1, 1)))
    assert a.W[2].tolist() == [[2.0]] * 3


def test_alone_a_worker_leaves_products_to_blas_and_in_company_it_cuts_them():
    for cuts, alone in (([slice(0, 2)], True), ([slice(0, 1), slice(1, 2)], False)):
        workers = parallel.together(lambda work: None, cuts, np.float32)
        assert [work.at for work in workers] == cuts and {work.alone for work in workers} == {alone}
        assert {work.product for work in workers} == {np.matmul if alone else parallel.product}
        assert {work.dtype for work in workers} == {np.dtype(np.float32)}
    assert Worker(slice(0, 1), float).alone


@pytest.mark.parametrize("alone", [True, False])
def test_a_worker_adds_to_its_target_or_writes_over_what_is_fresh(alone):
    work, A, B = Worker(slice(0, 1), float, alone), np.ones((4, 2)), np.full((4, 3), 2.0)
    target = np.ones((2, 3))
    work.add_outer(target, A, B)
    assert target.tolist() == [[9.0] * 3] * 2
    target[:] = 0
    work.add_outer(target, A, B, fresh=True)
    assert target.tolist() == [[8.0] * 3] * 2
    assert not work.sum("a", target).any() and work.sum("a", None) is work.sum("a", None)


def test_no_more_threads_than_cores_and_none_that_keeps_the_program_open(monkeypatch):
    for several, workers, helpers in ((1, 5, 0), (2, 5, 1), (3, 2, 1), (3, 5, 2), (8, 1, 0)):
        monkeypatch.setattr(parallel, "cores", lambda: several)  # noqa: B023
        started = []
        usual = threading.Thread.start
        monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self), usual(self))[1])  # noqa: B023
        seen = []
        side_by_side(seen.append, list(range(workers)))
        monkeypatch.setattr(threading.Thread, "start", usual)
        assert sorted(seen) == list(range(workers)) and len(started) == helpers
        assert all(thread.daemon and not thread.is_alive() for thread in started)


def test_one_core_where_nobody_says_how_many(monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for count, found in ((None, 1), (6, 6)):
        monkeypatch.setattr(os, "cpu_count", lambda: count)  # noqa: B023
        assert cores() == found


def test_as_many_workers_as_their_sums_leave_memory_for(monkeypatch):
    """Each holds sums as large as theta; where samples are few W_1_bar is written once, and theirs are without it."""
    monkeypatch.setattr(sweep, "WORK", 1)
    monkeypatch.setattr(sweep, "FEW", 1)
    net = EnergyMLP.init(40, (30, 5), rng=0)
    first, p, x = 40 * 30, net.theta.size, np.random.default_rng(0).standard_normal((100, 40))
    for n, numbers in ((100, p), (30, p - first)):
        call = sweep.Call(net, net.points("test", x[:n]), float)
        assert call.late() == (n == 30)
        for several in (1, 2, 3):
            monkeypatch.setattr(sweep, "SUMS", several * numbers * 8)
            assert len(call.cuts()) == several
            monkeypatch.setattr(sweep, "SUMS", several * numbers * 8 - 1)
            assert len(call.cuts()) == max(1, several - 1)


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    asked = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: (asked.append(pid), {3, 5, 7})[1], raising=False)
    assert cores() == 3 and asked == [0]  # 0: of whoever asks
