"""`numpyscore.testing` and `numpyscore check`: assertions, strategies, exit codes, and one line for every mishap."""

import json

import numpy as np
import pytest
from hypothesis import given

import numpyscore as ns
from numpyscore import testing
from numpyscore.cli import main


def test_an_assertion_returns_its_report_or_raises_its_text():
    net, x = ns.EnergyMLP.init(2, (8,), rng=0), np.random.default_rng(0).standard_normal((6, 2))
    assert testing.assert_score(net.score, energy=net.energy, x=x).verdict == "PASS"
    with pytest.raises(AssertionError, match="sign: this is grad E"):
        testing.assert_score(lambda x: -net.score(x), energy=net.energy, x=x)
    with pytest.raises(AssertionError, match="INCONCLUSIVE"):
        testing.assert_score(net.score, energy=lambda x: net.energy(x) + 1e12, x=x)
    assert {name for name in testing.__all__ if name.startswith("assert_")} == {
        f"assert_{name[6:]}" for name in ns.__all__ if name.startswith("check_") and name != "checkerboard"
    }


@given(testing.networks(2), testing.points(2))
def test_networks_and_points_make_right_scores(net, x):
    assert net.dim == 2 and x.shape[1] == 2
    with np.errstate(all="ignore"):
        assert ns.check_score(net.score, energy=net.energy, x=x).verdict != "FAIL"


@given(testing.densities(2))
def test_densities_have_right_traces(density):
    x = density.sample(4, rng=0)
    with np.errstate(all="ignore"):
        assert ns.check_trace(density.trace, score=density.score, x=x).verdict != "FAIL"


MINE = """
import numpy as np
print("user code prints")
score = lambda x: -2 * x
wrong = lambda x: 2 * x
energy = lambda x: (x**2).sum(1)
offset = lambda x: (x**2).sum(1) + 1e13
trace = lambda x: np.full(len(x), -2.0 * x.shape[1])
def loss(fn, x): return np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) + 0.5 * fn.trace(x))
def boom(x): raise RuntimeError("no such luck")
"""


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Exit code, stdout, stderr of `numpyscore check` in a folder with the user's module."""
    (tmp_path / "mine_here.py").write_text(MINE)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).standard_normal((5, 2)))
    np.savez(tmp_path / "two.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    monkeypatch.chdir(tmp_path)

    def run(line):
        try:
            code = main(["check", *line.split()])
        except SystemExit as error:
            code = error.code
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


@pytest.mark.parametrize(
    "line, code, words",
    [
        ("mine_here.py:score --energy mine_here.py:energy --trace mine_here.py:trace --at x.npz", 0, "check_trace PASS"),
        ("mine_here:score --energy mine_here:energy --dim 3", 0, "check_score PASS"),
        ("mine_here.py:score --dim 3", 0, "check_conservative PASS"),
        ("mine_here.py:wrong --energy mine_here.py:energy --at x.npz", 1, "sign: this is grad E"),
        ("mine_here.py:loss --objective implicit", 1, "trace halved"),
        ("--loss mine_here.py:loss --objective implicit", 1, "trace halved"),
        ("mine_here.py:score --energy mine_here.py:offset --at x.npz", 3, "INCONCLUSIVE"),
    ],
)  # fmt: skip
def test_exit_codes_and_what_is_said(call, line, code, words):
    got, out, _ = call(line)
    assert got == code and words in out and "user code prints" not in out


def test_json_is_json_although_the_user_prints(call):
    code, out, _ = call("mine_here.py:wrong --energy mine_here.py:energy --at x.npz --json")
    records = json.loads(out)
    assert code == 1 and records[0]["verdict"] == "FAIL" and records[0]["name"] == "sign"


@pytest.mark.parametrize(
    "line",
    [
        "", "mine_here.py:score", "mine_here.py:nothing --dim 2", "nothing.py:score --dim 2", "no_module:score --dim 2", "mine_here.py --dim 2",
        "mine_here.py:boom --dim 2", "mine_here.py:score --at none.npz", "mine_here.py:score --at bad.npz", "mine_here.py:score --at two.npz",
        "mine_here.py:score --dim 0", "mine_here.py:loss --objective nothing", "--loss mine_here.py:loss", "mine_here.py:score --dim 2 --wrap nothing",
        "mine_here.py:score --energy mine_here.py:energy --logpdf mine_here.py:energy --dim 2", "--unknown",
    ],
)  # fmt: skip
def test_mishaps_are_one_line_and_exit_2(call, line):
    code, out, err = call(line)
    lines = [text for text in err.splitlines() if text != "user code prints"]
    assert code == 2 and out == "" and len(lines) == 1 and lines[0].startswith("numpyscore"), err


def test_help_says_that_it_runs_code(call):
    code, out, _ = call("--help")
    assert code == 0 and "RUNS YOUR CODE" in out


def test_the_gallery_is_shown(call, monkeypatch):
    from numpyscore.check.gallery import CASES, RIGHT
    from numpyscore.commands import check

    monkeypatch.setattr(check, "CASES", CASES[:3])
    monkeypatch.setattr(check, "RIGHT", RIGHT[:2])
    code, out, _ = call("--self")
    assert code == 0 and "3 wrong implementations, 3 detected and named." in out and "2 right ones" in out
    monkeypatch.setattr(check, "CASES", (CASES[0]._replace(says="something else"),))  # control
    code, out, _ = call("--self")
    assert code == 1 and "NOT RECOGNISED" in out
