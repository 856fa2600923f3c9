"""The whole machinery on tiny cases: processes, guard, record, words. No absolute time is asserted anywhere."""

import itertools
import json

import numpy as np
import pytest

from numpyscore.cli import main
from numpyscore.vectors import bench as module
from numpyscore.vectors.bench import bench, curve, summary, table
from numpyscore.vectors.contenders import CASES, CURVE, OURS, Case

TINY = "f64-d5-4x3-n6"

STAND_INS = '''
"""Peers for the tests: each a function of (model, x), as numpyscore.vectors.contenders.worker wants it."""
import os, time
import numpy as np
from numpyscore import implicit
from numpyscore.vectors.contenders import Contender, Skipped

def right(model, x, factor=1.0):
    print("a library that talks on stdout")
    loss = lambda: (implicit(model, x).value, [factor * implicit(model, x).gradient])
    return Contender(lambda: model.trace(x), loss)

def wrong_gradient(model, x):
    return right(model, x, 1 + 1e-8)

def wrong_trace(model, x):
    """And its gradient is wrong when it is read last."""
    last = lambda: (implicit(model, x).value, implicit(model, x).gradient * (1 + 1e-8))
    return right(model, x)._replace(trace=lambda: model.trace(x) * (1 + 1e-8), value_first=last)

def column(model, x):
    return right(model, x)._replace(trace=lambda: model.trace(x)[:, None])

def nan(model, x):
    return right(model, x)._replace(trace=lambda: np.full(len(x), np.nan))

def half(model, x):
    """The first two terms of the trace, as a loop over basis vectors that would take too long."""
    return Contender(lambda: np.einsum("nii->ni", model.jacobian(x))[:, :2].sum(1), None, passes=2)

def absent(model, x):
    import a_package_that_is_not_there

def declines(model, x):
    def trace():
        raise Skipped("too large")
    return right(model, x)._replace(trace=trace)

def dies(model, x):
    return right(model, x)._replace(trace=lambda: os._exit(3))

def hangs(model, x):
    return right(model, x)._replace(trace=lambda: time.sleep(60))

class Later:
    def __init__(self, model, x):
        self.model, self.x, self.calls = model, x, 0
    def __call__(self):
        self.calls += 1
        if self.calls > 2:
            raise RuntimeError("only\\ntwice")
        return self.model.trace(self.x)

def later(model, x):
    return right(model, x)._replace(trace=Later(model, x))
'''


@pytest.fixture(autouse=True)
def short_turns(monkeypatch, tmp_path):
    (tmp_path / "stand_ins.py").write_text(STAND_INS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "TURN", 0.005)


def measured(*names, **options):
    """One case's rows {(contender, quantity): row} with stand-ins beside ours."""
    record = bench([TINY], peers=[], rounds=1, others={name: f"stand_ins:{name}" for name in names}, **options)
    json.loads(json.dumps(record, allow_nan=False))
    assert table(record["cases"][0]) and summary(record)
    return {(row["contender"], row["quantity"]): row for row in record["cases"][0]["rows"]}, record


def test_the_whole_machinery_with_contenders_right_wrong_and_failing():
    names = ("right", "wrong_trace", "wrong_gradient", "column", "nan", "half", "absent", "declines", "dies", "later")
    rows, record = measured(*names)
    status = {key: row["status"] for key, row in rows.items()}
    assert ("textbook", "loss") not in rows and ("half", "loss") not in rows
    for name in ("exact", "right", "wrong_trace", "wrong_gradient", "column", "nan", "declines", "later"):
        assert status[name, "loss"] == ("disagrees" if name == "wrong_gradient" else "ok"), rows[name, "loss"]
    for name in ("exact", "textbook", "right", "half", "wrong_gradient"):
        assert status[name, "trace"] == "ok" and rows[name, "trace"]["gap"] < 1e-12, rows[name, "trace"]
    assert rows["half", "trace"]["scaled"] == 2.5
    assert status["wrong_trace", "trace"] == "disagrees" and rows["wrong_trace", "trace"]["seconds"] is None
    assert 0.9e-8 < rows["wrong_trace", "trace"]["gap"] < 1.1e-8
    assert status["nan", "trace"] == "disagrees"
    reasons = {
        ("column", "trace"): "shape (6, 1), expected (6,)",
        ("absent", "trace"): "ModuleNotFoundError: No module named 'a_package_that_is_not_there'",
        ("absent", "loss"): "a_package",
        ("dies", "trace"): "its process ended with code 3",
        ("dies", "loss"): "its process ended with code 3",
        ("later", "trace"): "RuntimeError: only twice",
    }
    for key, reason in reasons.items():
        assert status[key] == "failed" and reason in rows[key]["reason"] and rows[key]["seconds"] is None, rows[key]
    assert status["declines", "trace"] == "skipped" and rows["declines", "trace"]["reason"] == "too large"
    first, again = rows["exact", "loss"], rows["exact", "value_first"]
    assert again["status"] == "ok" and again["gap"] < 1e-12 and "flops" not in again
    assert again["ratios"] == [a / b for a, b in zip(again["rounds"], first["rounds"], strict=True)]
    assert status["wrong_trace", "value_first"] == "disagrees"
    assert {name for name, quantity in rows if quantity == "value_first"} == {"exact", "wrong_trace"}
    best = record["cases"][0]["best"]
    assert "value_first" not in best
    assert best["trace"]["peer"] in ("right", "half", "wrong_gradient") and best["loss"]["peer"] != "wrong_gradient"
    text = table(record["cases"][0])
    assert (
        "trace disagrees: differs from ours by 1.0e-08" in text and "trace skipped: too large" in text and "~" in text
    )
    assert f"value, then gradient: {again['ratio']:.2f} x the time of loss + gradient (" in text


def test_a_contender_that_takes_too_long_is_a_line(monkeypatch):
    monkeypatch.setattr(module, "OURS", {"exact": OURS["exact"]})
    rows, _ = measured("hangs", limit=2.0)  # on a slow machine already its start may be late, and ours with it
    assert rows["hangs", "trace"]["reason"] == rows["hangs", "loss"]["reason"] == "no answer within 2 s"


def test_command_line_record_and_curve(capsys):
    argv = ["bench", "--case", "f32-d3-4x4-n5", "--case", TINY, "--rounds", "1", "--curve", "--json"]
    assert main(argv) == 0
    out = capsys.readouterr()
    record = json.loads(out.out)
    assert out.err == "" and record["schema"] == "numpyscore-bench/1" and record["rounds"] == 1
    assert {"machine", "versions", "notes", "cases", "curve"} <= set(record) and record["versions"]["numpy"]
    assert {"cores", "thread variables", "blas", "platform", "python"} == set(record["machine"])
    assert record["curve"] == curve(record) and record["curve"]["d"] == [3, 5]
    assert all(t > 0 for name in OURS for t in record["curve"][name])
    case = record["cases"][1]
    assert {"case", "dtype", "d", "widths", "n", "gemm_peak", "rows", "best"} == set(case) and case["case"] == TINY
    row = case["rows"][0]
    assert {"contender", "quantity", "status", "reason", "seconds", "rounds", "scaled", "memory", "gap"} <= set(row)
    assert row["flops"] == sum(Case.named(TINY).flops("trace").values()) and row["memory"] >= 0
    assert 0 < row["share"] < 1 and row["ratio"] == 1


def test_installed_peers_agree_and_missing_ones_are_a_note(capsys, monkeypatch):
    monkeypatch.setattr(module, "_version", lambda package: None if package in ("folx", "jet-for-pytorch") else "0")
    stand_ins = {"jax": "stand_ins:absent", "folx": "?", "torch.func": "stand_ins:wrong_trace", "jet": "?"}
    monkeypatch.setattr(module, "PEERS", stand_ins)
    assert main(["bench", "--case", TINY, "--rounds", "1"]) == 1  # a check found a difference
    out = capsys.readouterr()
    assert "peer folx is left out: folx not installed" in out.out and out.err == ""
    assert "peer jet is left out: jet-for-pytorch not installed" in out.out
    assert "failed: ModuleNotFoundError" in out.out and "disagrees: differs from ours" in out.out


@pytest.mark.parametrize(
    "argv",
    [("--case", "mnist"), ("--case", "f32-d0-4-n1"), ("--case", "f16-d2-4-n1"), ("--peers", "tf"), ("--rounds", "0")]
    + [("--rounds", "x"), ("--peers", "jax,"), ("--limit", "nan"), ("--limit", "0")],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_2(capsys, argv):
    try:
        code = main(["bench", *argv])
    except SystemExit as error:
        code = error.code
    out = capsys.readouterr()
    assert code == 2 and out.out == "" and out.err.count("\n") == 1 and out.err.startswith("numpyscore bench: ")


def test_a_case_is_its_name():
    for case in (*CASES, *CURVE):
        assert Case.named(case.name) == case
    assert [case.d for case in CURVE] == sorted(case.d for case in CURVE) and (CURVE[0].d, CURVE[-1].d) == (2, 12288)


# ------------------------------------------------------------------------------- operations, counted one by one


def product(samples, W):
    """Operations of (samples, i) @ W, one multiplication and one addition for each entry that is not surely zero."""
    return sum(2 for _ in range(samples) for _ in np.argwhere(W))


@pytest.mark.parametrize("d, widths", [(3, (4, 5, 2)), (7, (4, 5, 2)), (7, (4, 5)), (2, (3, 3)), (9, (4,))])
def test_operations_by_formula_are_those_counted_one_by_one(d, widths):
    n, case = 3, Case("f64", d, widths, 3)
    sizes = [d, *widths, 1]
    layers = [np.ones((i, j)) for i, j in itertools.pairwise(sizes)]
    found = case.flops("trace")
    assert found["forward"] == sum(product(n, W) for W in layers)
    assert found["adjoint"] == sum(product(n, W) for W in layers[1:])
    assert case.flops("loss")["adjoint"] == found["forward"]
    rows, R = 0, np.triu(np.ones((widths[0], widths[0]))) if d > widths[0] else layers[0]
    for row in R:  # row i of the triangle meets the rows k >= i of W_2 alone
        rows += sum(product(n, row[:, None] * W if l == 0 else W) for l, W in enumerate(layers[1:-1]))
    assert found["rows"] == rows and case.flops("loss")["rows"] == 3 * rows
    # each product has two products in its pullback, but x has no cotangent, and y's is a constant in the adjoint
    below, above = product(n, layers[0]), product(n, layers[-1])
    between = sum(product(n, W) for W in layers[1:-1])
    assert case.flops("loss")["pullback"] == 2 * (below + between) + below + 2 * between + above
    assert (found["factor"] > 0) == (d > widths[0] and len(widths) > 1)
