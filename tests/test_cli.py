"""The command line: exit codes, one line per error, JSON, and no traceback whatever comes in."""

import json
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest
from commandline import call


def test_one_step_on_one_density(capsys):
    code, out, err = call(capsys, "verify", "--density", "gaussian", "--only", "boundary term")
    assert code == 0 and err == "" and "holds" in out and "0 differ" in out


def test_a_counterexample_is_not_a_failure_of_the_program(capsys):
    code, out, _ = call(capsys, "verify", "--density", "exponential", "--only", "explicit minus implicit is a constant")
    assert code == 0 and "fails as predicted" in out and "boundary term p s vanishes" in out


def test_without_all_there_is_a_line_for_each_chapter_and_what_is_wrong_in_full():
    import dataclasses

    import numpyscore as ns
    from numpyscore.commands.verify import _by_chapter

    verdicts = [*ns.verify(only="exponential data"), *ns.verify(only="other units")]
    lines = _by_chapter(verdicts).splitlines()
    assert [line.split(".")[0] for line in lines] == ["3", "2"] and "exponential data" in lines[0]
    off = dataclasses.replace(verdicts[0], gap=verdicts[0].gap + 1, holds=False, predicted=0.0, expected=True)
    assert "DIFFERS" in _by_chapter([off, *verdicts[1:]]) and "DIFFERS" not in "".join(lines)


def test_explain_gives_equation_words_code_figure_and_lesson(capsys):
    code, out, err = call(capsys, "verify", "--explain", "cross term by parts")
    assert code == 0 and err == ""
    for part in (r"E[s_0 \cdot s]", "def by_parts(case)", "Hyvarinen (2005)", "figures parts_areas", "3.3 by_parts"):
        assert part in out
    code, out, err = call(capsys, "verify", "--explain", "3")
    assert code == 2 and out == "" and "takes one step" in err


def test_json_is_json_and_has_every_field(capsys):
    code, out, _ = call(
        capsys, "verify", "--density", "exponential", "--only", "cross term by parts", "--json", "--seed", "3"
    )
    record = json.loads(out)
    assert code == 0 and record["schema"] == "numpyscore-verify/1" and record["seed"] == 3
    assert {"step", "left", "right", "gap", "bound", "holds", "expected", "hypotheses", "note"} <= set(
        record["verdicts"][0]
    )


def test_the_same_seed_prints_the_same(capsys):
    argv = ("verify", "--density", "mixture", "--only", "normaliser drops out", "--json", "--seed", "5")
    assert call(capsys, *argv) == call(capsys, *argv)


def test_a_difference_exits_with_1_and_an_inconclusive_integral_with_3(capsys, monkeypatch):
    import numpyscore.densities as densities

    argv = ("verify", "--density", "gaussian", "--only", "cross term by parts, each component")
    right = densities.Gaussian._score
    monkeypatch.setattr(densities.Gaussian, "_score", lambda self, x: right(self, x) * 1.001)
    code, out, _ = call(capsys, *argv)
    assert code == 1 and "DIFFERS" in out
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules["numpyscore.derivations"].named_densities.__globals__, "named_densities", _cauchy)
    code, out, _ = call(capsys, "verify", "--density", "cauchy", "--only", "expansion of the square")
    assert code == 3 and "inconclusive" in out


def _cauchy():
    from numpyscore.densities import StudentT

    return {"cauchy": [StudentT(1.0, 0.0, 1.0)]}


BAD_FILES = {
    "empty": b"",
    "header only": b"a,b\n",
    "one row": b"a,b\n1,2\n",
    "text": b"a,b\n1,2\n3,x\n",
    "missing": b"a,b\n1,2\n3,\n",
    "ragged": b"a,b\n1,2\n3,4,5\n",
    "overflow": b"a,b\n1,2\n1e400,3\n",
    "nan": b"a\n1\nnan\n",
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_one_line_and_exit_2(capsys, tmp_path, name):
    path = tmp_path / "bad.csv"
    path.write_bytes(BAD_FILES[name])
    code, out, err = call(capsys, "verify", str(path))
    assert code == 2 and err.count("\n") == 1 and err.startswith("numpyscore verify: ") and "Traceback" not in err + out


@pytest.mark.parametrize(
    "argv",
    [
        ("verify", "no such file.csv"),
        ("verify", "."),
        ("verify", "--density", "cauchy"),
        ("verify", "--only", "stokes"),
        ("verify", "--seed", "-1"),
        ("verify", "--seed", "x"),
        ("verify", "--columns", "a"),
        ("verify", "--unknown"),
        ("verify", "a.csv", "--density", "gaussian"),
        ("certify",),
        (),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_exit_2(capsys, argv):
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "content",
    ["\ufeffa;b\n1;2\n3;5\n4;4\n7;1\n", "1\t2\n3\t5\n4\t4\n", "a,c\n1,7\n2,7\n4,7\n"],
    ids=["BOM and semicolons", "tabs, no header", "a constant column"],
)
def test_unusual_but_right_files_are_read(capsys, tmp_path, content):
    path = tmp_path / "data.csv"
    path.write_text(content, encoding="utf-8")
    code, out, _ = call(capsys, "verify", str(path), "--only", "cross term by parts, each component")
    assert code == 0 and "holds" in out
    if "c\n" in content:
        assert "constant columns kept at scale 1: c" in out


def test_columns_are_chosen_by_name_and_number(capsys, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("day,a,b\nMon,1,5\nTue,2,4\nWed,4,7\nThu,3,1\n")
    for columns in ("a,b", "1,2"):
        code, out, _ = call(capsys, "verify", str(path), "--columns", columns, "--only", "boundary term")
        assert code == 0 and "4 rows x 2 columns" in out
    code, _, err = call(capsys, "verify", str(path))
    assert code == 2 and "--columns a,b" in err and "columns=" not in err


def test_as_a_module_with_a_closed_pipe_and_interrupted(tmp_path):
    table = tmp_path / "rows.csv"
    np.savetxt(table, np.random.default_rng(0).standard_normal((40, 2)), delimiter=",")
    run = [sys.executable, "-m", "numpyscore", "verify", str(table), "--only", "'boundary term'"]
    piped = subprocess.run(f"{' '.join(run)} | head -n 1", shell=True, capture_output=True, text=True)
    assert piped.stdout.startswith("gap = left - right.") and piped.stderr == ""
    code = "import numpyscore.cli as c, numpyscore.derivations as d; d.studies = lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt); raise SystemExit(c.main(['verify']))"
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert stopped.returncode == 130 and stopped.stderr == "numpyscore: interrupted\n"


def test_the_module_is_the_command_and_imports_without_running_it(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["numpyscore", "verify", "--density", "nothing of the kind"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("numpyscore", run_name="__main__")
    assert ended.value.code == 2 and "nothing of the kind" in capsys.readouterr().err
    assert callable(runpy.run_module("numpyscore.__main__", run_name="numpyscore.__main__")["main"])


def test_no_colour_and_no_progress_off_a_terminal(tmp_path):
    argv = [sys.executable, "-m", "numpyscore", "verify", "--density", "gaussian", "--only", "boundary term"]
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout


def test_a_list_of_negative_ends_is_a_value(capsys, tmp_path):
    """argparse knows -40, and takes -40,-40 and -inf,0 for options: the file, which is missing, is what must be complained of."""
    for ends in ("-40,-40", "-40", "-inf,-.5", "-1e3,0"):
        code, _, err = call(capsys, "fit", str(tmp_path / "none.csv"), "--objective", "generalised", "--lower", ends)
        assert code == 2 and "none.csv" in err and "expected one argument" not in err
    code, _, err = call(capsys, "fit", str(tmp_path / "none.csv"), "--lower", "--json")
    assert code == 2 and "expected one argument" in err


def test_a_name_of_100_000_characters_is_not_echoed_whole(capsys):
    for argv in (("x" * 100_000,), ("fit", "y" * 100_000), ("verify", "--density", "z" * 100_000)):
        code, _, err = call(capsys, *argv)
        assert code == 2 and len(err) < 3000 and "characters" in err


def write_points(folder, name):
    """Points for `check --at` in a file of this kind."""
    x, path = np.random.default_rng(0).normal(size=(8, 2)), folder / name
    if name == "promise.npy":
        np.lib.format.write_array_header_1_0(
            file := path.open("wb"), {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 2)}
        )
        file.close()
    elif name.endswith(".npy"):
        np.save(path, {"x.npy": x, "complex.npy": x + 0j, "words.npy": np.array(["a"])}[name])
    else:
        np.savez(path, **{"x.npz": {"y": x[:1], "x": x}, "one.npz": {"y": x}, "two.npz": {"y": x, "z": x}}[name])
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "one.npz"])
def test_points_to_check_at_come_from_a_file(name, tmp_path, capsys):
    code, out, err = call(capsys, "check", "numpy:negative", "--at", write_points(tmp_path, name))
    assert code == 0 and err == "" and "8 points" in out


REFUSED = {
    "complex.npy": "holds an array of complex128, expected real numbers",
    "words.npy": "holds an array of <U1, expected real numbers",
    "promise.npy": "it has 0 bytes for an array of (1099511627776, 2) numbers of float64",
    "two.npz": "holds y, z, expected an array x",
}


@pytest.mark.parametrize("name", REFUSED)
def test_points_that_are_none_are_refused_in_one_line(name, tmp_path, capsys):
    code, out, err = call(capsys, "check", "numpy:negative", "--at", write_points(tmp_path, name))
    assert code == 2 and out == "" and REFUSED[name] in err and err.count("\n") == 1
