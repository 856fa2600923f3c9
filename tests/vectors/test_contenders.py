"""The contenders of `bench` in this process: each computes what we do, by its own way, and its worker answers for it."""

import io
import itertools
import json
import os
import sys

import numpy as np
import pytest

from numpyscore.vectors import contenders
from numpyscore.vectors.contenders import OURS, PEERS, Case, Contender, Skipped, worker

CASE = Case("f64", 5, (4, 3), 6)
NEEDS = {
    "jax": ("jax",),
    "folx": ("jax", "folx"),
    "torch": ("torch",),
    "torch.func": ("torch",),
    "jet": ("torch", "jet"),
}


@pytest.fixture
def jax_as_it_was():
    before = getattr(sys.modules.get("jax"), "config", None)
    wide = before is not None and before.jax_enable_x64
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_enable_x64", wide)


def built(name):
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module)
    return getattr(contenders, (OURS | PEERS)[name].split(":")[1])


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*:FutureWarning"
)  # of torch's own, where it first sees a function
@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("name", [*OURS, *PEERS])
def test_trace_loss_and_gradient_are_ours(name, dtype, jax_as_it_was):
    """Sums of at most some hundred terms in their order and in ours: a hundred roundings."""
    build = built(name)
    model, x = CASE._replace(dtype=dtype).problem()
    found, limit = build(model, x), 100 * np.finfo(x.dtype).eps
    for quantity in ("trace", "loss", "value_first"):
        if (call := getattr(found, quantity)) is not None:
            gaps = [
                contenders._gap(model, x, found.passes, quantity, call()) for _ in range(2)
            ]  # and once more: a graph is not used up
            assert max(gaps) < limit, quantity
    assert found.passes is None


@pytest.mark.parametrize("name", ["textbook", "torch"])
def test_a_loop_that_would_take_too_long_takes_its_first_turns(name, monkeypatch):
    build = built(name)
    model, x = CASE.problem()
    monkeypatch.setattr(contenders, "PASSES", 2.5 * x.size)
    found = build(model, x)
    assert found.passes == 2
    J = model.jacobian(x)
    np.testing.assert_allclose(np.asarray(found.trace()), J[:, 0, 0] + J[:, 1, 1], rtol=1e-12)
    for quantity in ("trace", "loss"):
        if (call := getattr(found, quantity)) is not None:
            assert contenders._gap(model, x, 2, quantity, call()) < 1e-13
            assert contenders._gap(model, x, None, quantity, call()) > 1e-3  # the control: not the whole of it


@pytest.mark.parametrize("name", ["jax", "torch.func"])
def test_hessians_beyond_the_memory_are_declined(name, monkeypatch, jax_as_it_was):
    build = built(name)
    model, x = CASE.problem()
    found = build(model, x)
    monkeypatch.setattr(contenders, "MEMORY", 1)
    for call in (found.trace, found.loss):
        with pytest.raises(Skipped, match="more than the limit"):
            call()


def right(model, x):
    return contenders._exact(model, x)


def declines(model, x):
    def trace():
        raise Skipped("too large")

    return Contender(trace, lambda: (_ for _ in ()).throw(RuntimeError("never\nmind")))


def conversation(build, *requests, monkeypatch):
    """What a worker answers, line by line; what it prints besides goes to stderr, and both are as they were afterwards."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(json.dumps(r) + "\n" for r in requests)))
    take, put = os.pipe()
    out = os.dup(1)
    os.dup2(put, 1)
    os.close(put)
    try:
        worker(build, CASE.name)  # its answers are far shorter than what a pipe holds
    finally:
        os.dup2(out, 1)
        os.close(out)
    with os.fdopen(take, "rb") as answers:
        os.set_blocking(answers.fileno(), False)
        return [json.loads(line) for line in answers.read().splitlines()]


def test_a_worker_builds_measures_and_compares(monkeypatch):
    requests = [
        ["start"],
        *(["first", q] for q in contenders.QUANTITIES),
        *(["check", q] for q in contenders.QUANTITIES),
    ]
    start, *rest, turn, unknown = conversation(
        f"{__name__}:right", *requests, ["turn", "trace", 1e-3], ["turn", "hessian", 1.0], monkeypatch=monkeypatch
    )
    assert start == {"scaled": 1.0, "quantities": ["trace", "loss", "value_first"]}
    assert all(0 <= found["memory"] < 1 << 30 for found in rest[:3]) and all(found["gap"] < 1e-13 for found in rest[3:])
    assert 0 < turn["seconds"] < 0.1
    assert unknown["status"] == "failed" and "hessian" in unknown["reason"]


def test_a_worker_says_why_there_is_no_number(monkeypatch):
    found = conversation(
        f"{__name__}:declines", ["start"], ["first", "trace"], ["first", "loss"], monkeypatch=monkeypatch
    )
    assert found[0]["quantities"] == ["trace", "loss"]
    assert found[1:] == [
        {"status": "skipped", "reason": "too large"},
        {"status": "failed", "reason": "RuntimeError: never mind"},
    ]


def test_memory_is_known_without_proc(monkeypatch):
    there = contenders._memory("VmHWM")
    monkeypatch.setattr("builtins.open", lambda *a, **k: (_ for _ in ()).throw(OSError()))
    found = contenders._memory("VmHWM")
    monkeypatch.undo()
    assert 1 << 20 < found < 1 << 40 and (not sys.platform.startswith("linux") or there / 4 < found < 4 * there)


def test_a_name_that_is_no_case_is_told_what_one_looks_like():
    with pytest.raises(ValueError, match=r"case 'f16-d3' is unknown.*f32-d784-128x128x128-n128"):
        Case.named("f16-d3")
    assert Case.named(CASE.name) == CASE and CASE.name == "f64-d5-4x3-n6"


@pytest.mark.parametrize("d, widths", [(5, (4, 3)), (3, (4, 5, 6)), (7, (4,))])
def test_operations_are_counted_product_by_product(d, widths):
    """Forward: every weight once; rows: min(d, n_1) of them through every layer but the first, of a triangle half of those into the second."""
    found = Case("f64", d, widths, 10).flops("trace")
    layers = [d, *widths, 1]
    every = [a * b for a, b in itertools.pairwise(layers)]
    assert found["forward"] == 20 * sum(every) and found["adjoint"] == 20 * sum(every[1:]) and not found["pullback"]
    r, n1 = min(d, widths[0]), widths[0]
    through = [r * m for m in every[1:-1]]
    if through and d > n1:
        through[0] = n1 * (n1 + 1) // 2 * widths[1]
    assert found["rows"] == 20 * sum(through)
    both = Case("f64", d, widths, 10).flops("loss")
    assert both["rows"] == 3 * found["rows"] and both["adjoint"] == 20 * sum(every)
