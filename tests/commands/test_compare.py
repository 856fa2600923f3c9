"""`numpyscore golden` and `numpyscore compare`: what they print, their exit codes, and no traceback whatever comes in."""

import json
import sys

import numpy as np
import pytest
from test_cli import call

from numpyscore.vectors import decimals, golden
from numpyscore.vectors.compare import evaluate, read_vectors


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A folder with the shipped vectors."""
    folder = tmp_path_factory.mktemp("golden") / "vectors"
    golden.write(golden.shipped(), folder)
    return str(folder)


OURS = "from numpyscore.vectors.compare import evaluate\n"


def test_golden_writes_what_is_shipped(capsys, tmp_path):
    out = tmp_path / "deep" / "vectors"
    code, said, err = call(capsys, "golden", "--out", str(out))
    assert (
        (code, err) == (0, "") and said.startswith("44 reference vectors (numpyscore-vectors/1, ") and str(out) in said
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == golden.shipped()
    assert call(capsys, "golden", "--out", str(out))[0] == 0  # the same again does no harm
    (out / "README.md").write_text("my notes")
    code, said, err = call(capsys, "golden", "--out", str(out))
    assert code == 2 and said == "" and err.count("\n") == 1 and "README.md exists" in err
    assert (out / "README.md").read_text() == "my notes"


def test_golden_regenerate_says_what_differs(capsys, tmp_path, monkeypatch):
    few = golden.cases()[21:23]
    monkeypatch.setattr(golden, "cases", lambda: few)
    code, said, _ = call(capsys, "golden", "--out", str(tmp_path / "a"), "--regenerate")
    assert code == 1 and said.endswith(
        "1 of 3 files differ from the shipped ones\n  manifest.json\n"
    )  # 2 cases, not 44
    assert len(read_vectors(tmp_path / "a")) == 2
    monkeypatch.setitem(decimals.DEFINITIONS, "softplus", decimals.DEFINITIONS["sigmoid"])
    code, said, _ = call(capsys, "golden", "--out", str(tmp_path / "b"), "--regenerate")
    assert code == 1 and "2 of 3 files differ from the shipped ones\n  energy-zero-weights.json\n" in said


@pytest.mark.nightly
def test_golden_regenerates_all(capsys, tmp_path):
    code, said, _ = call(capsys, "golden", "--out", str(tmp_path), "--regenerate")
    assert code == 0 and "computed again: 0 of 45 files differ from the shipped ones" in said


def test_golden_needs_a_place(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for argv in (("golden",), ("golden", "--out", str(tmp_path / "file"))):
        code, out, err = call(capsys, *argv)
        assert code == 2 and out == "" and err.count("\n") == 1


def test_our_own_numbers_agree(capsys, vectors):
    code, out, err = call(capsys, "compare", vectors, "numpyscore.vectors.compare")
    assert code == 0 and err == "" and "1346 of 1346 agree to 64 eps x S; worst" in out
    assert "implicit.gradient                            44 of 44" in out and "missing" not in out


def test_a_file_with_a_function_and_what_it_leaves_out(capsys, vectors, tmp_path):
    path = tmp_path / "theirs.py"
    path.write_text(
        OURS + "def some(v):\n    return {'trace': evaluate(v)['trace']} if v.activation != 'sin' else None\n"
    )
    code, out, _ = call(capsys, "compare", vectors, f"{path}:some")
    assert code == 0 and "39 of 39 agree" in out and "missing: energy (26), score (44)" in out and "trace (5)" in out
    assert call(capsys, "compare", vectors, str(path))[0] == 0  # evaluate, which it imports


def test_a_difference_exits_with_1_and_says_where(capsys, vectors, tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(OURS + "def wrong(v):\n    return {'score': -evaluate(v)['score']}\n")
    code, out, _ = call(capsys, "compare", vectors, f"{path}:wrong")
    assert code == 1 and "2 of 44 agree" in out and "DIFFERS " in out and "] is " in out and "and 30 more" in out
    record = json.loads(call(capsys, "compare", vectors, f"{path}:wrong", "--json")[1])
    assert record["schema"] == "numpyscore-compare/1" and record["agree"] == 2 and record["compared"] == 44
    assert {"id", "quantity", "error", "fault", "dtype", "flags"} == set(record["rows"][0])


def test_results_from_a_file(capsys, vectors, tmp_path):
    path = tmp_path / "results.json"
    own = {v.id: {name: np.asarray(a).tolist() for name, a in evaluate(v).items()} for v in read_vectors(vectors)}
    path.write_text(json.dumps(own))
    assert call(capsys, "compare", vectors, str(path))[0] == 0
    own["energy-sin"]["trace"][1] = float("nan")
    own["energy-sin"]["energy"] = 3.0
    path.write_text(json.dumps(own))
    code, out, _ = call(capsys, "compare", vectors, str(path))
    assert code == 1 and "1344 of 1346" in out and "energy-sin trace [1] is nan" in out and "inf eps x S" in out
    assert "energy-sin energy has shape (), expected (2,)" in out
    assert json.loads(call(capsys, "compare", vectors, str(path), "--json")[1])["agree"] == 1344
    single = {
        v: {name: np.float32(a).tolist() for name, a in out.items() if "fin" not in name} for v, out in own.items()
    }
    single["energy-sin"] = {}
    path.write_text(json.dumps(single))
    assert call(capsys, "compare", vectors, str(path))[0] == 1
    assert call(capsys, "compare", vectors, str(path), "--dtype", "float32")[0] == 0


def test_tails_are_named_and_can_be_left_out(capsys, vectors, tmp_path):
    path = tmp_path / "tail.py"
    path.write_text(
        OURS + "def f(v):\n    t = evaluate(v)['trace']\n    return {'trace': t * (1 + ('tail' in v.flags))}\n"
    )
    code, out, _ = call(capsys, "compare", vectors, f"{path}:f")
    assert code == 1 and "7 of the 7 that differ are flagged tail" in out
    code, out, _ = call(capsys, "compare", vectors, f"{path}:f", "--without", "tail")
    assert code == 0 and "37 of 37 agree" in out


def test_single_precision_is_said(capsys, vectors, tmp_path):
    path = tmp_path / "single.py"
    path.write_text(OURS + "def f(v):\n    return {'score': evaluate(v)['score'].astype('float32')}\n")
    code, out, _ = call(capsys, "compare", vectors, f"{path}:f")
    assert code == 0 and "what came back is float32: errors in units of the eps of each" in out


UNUSABLE = {
    "empty.json": "",
    "list.json": "[1]",
    "ids.json": '{"energy-sinn": {}}',
    "names.json": '{"energy-sin": {"tracee": [1]}}',
    "numbers.json": '{"energy-sin": 3}',
    "nothing.json": "{}",
    "deep.json": "[" * 100_000,
    "syntax.py": "def evaluate(:\n",
    "raises.py": "raise RuntimeError('at import\\nsomehow')\n",
    "exits.py": "import sys; sys.exit(0)\n",
    "nameless.py": "x = 1\n",
    "constant.py": "evaluate = 3\n",
    "list.py": "def evaluate(v): return [1]\n",
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_what_cannot_be_compared_is_one_line_and_exit_2(capsys, vectors, tmp_path, name):
    path = tmp_path / name
    path.write_text(UNUSABLE[name])
    code, out, err = call(capsys, "compare", vectors, str(path))
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("numpyscore compare: "), err


@pytest.mark.parametrize(
    "argv, said",
    [
        (("{v}", "no_such_module_here"), "raised ModuleNotFoundError"),
        (("{v}", "no such file.py"), "there is no file"),
        (("{v}", "notes/README.md:f"), "is no Python file; expected module:name or path.py:name"),
        (("{v}", "no such file.json"), "no such file"),
        (("{v}", "numpyscore.vectors.compare:evaluat"), "has no evaluat "),
        (("{v}", "numpyscore.vectors.compare", "--limit", "nan"), "limit is nan"),
        (("{v}", "numpyscore.vectors.compare", "--limit", "x"), "invalid float value"),
        (("{v}", "numpyscore.vectors.compare", "--without", "tails"), "'tails' is no flag"),
        (("{v}", "numpyscore.vectors.compare", "--dtype", "float16"), "invalid choice"),
        (("{v}",), "required: THEIRS"),
        (("no such folder", "numpyscore.vectors.compare"), "no such folder has no manifest.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_wrong_usage_is_one_line_and_exit_2(capsys, vectors, argv, said):
    code, out, err = call(capsys, "compare", *(arg.format(v=vectors) for arg in argv))
    assert code == 2 and out == "" and err.count("\n") == 1 and said in err, err


def test_a_spoilt_folder_is_one_line_and_exit_2(capsys, tmp_path):
    golden.write(golden.shipped(), tmp_path)
    (tmp_path / "energy-sin.json").write_bytes(b"{}")
    code, _, err = call(capsys, "compare", str(tmp_path), "numpyscore.vectors.compare")
    assert code == 2 and err.count("\n") == 1 and "energy-sin.json (2 bytes) has SHA-256" in err


def test_what_their_code_prints_stays_out_of_the_results(capsys, vectors, tmp_path):
    path = tmp_path / "talks.py"
    (tmp_path / "beside.py").write_text(OURS)
    path.write_text(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
        "print('hello')\nimport beside\ndef evaluate(v):\n    print(v.id)\n    return beside.evaluate(v)\n"
    )
    code, out, err = call(capsys, "compare", vectors, str(path), "--json")
    assert code == 0 and json.loads(out)["agree"] == 1346 and err.startswith("hello\nenergy-tanh\n")


def test_modules_are_found_where_one_stands(capsys, vectors, tmp_path, monkeypatch):
    (tmp_path / "standing_here.py").write_text(OURS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert call(capsys, "compare", vectors, "standing_here")[0] == 0
