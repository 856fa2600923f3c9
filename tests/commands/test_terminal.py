"""What every command shares: stdin and stdout as -, folders, counts such as 1e3, nearest names, progress through a pipe, --quiet."""

import inspect
import io
import subprocess
import sys
import time

import numpy as np
import pytest
from commandline import call

from numpyscore.cli import main
from numpyscore.commands import terminal

ROWS = np.random.default_rng(0).standard_normal((60, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3, 200]
QUICK = ("--widths", "8", "--steps", "1.2e1", "--sigma", "0.3", "--objective", "implicit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one table, and the folder of its fit, made by naming the folder."""
    place = tmp_path_factory.mktemp("front") / "mine"
    place.mkdir()
    np.savetxt(place / "rows.csv", ROWS, delimiter=",", header="a,b", comments="")
    assert main(["fit", str(place), "--out", str(place / "out"), *QUICK]) == 0
    return place


class Stdin:
    """Bytes as stdin."""

    def __init__(self, content):
        self.buffer = io.BytesIO(content)


# ------------------------------------------------------------------------------- nearest names


@pytest.mark.parametrize(
    "argv, near",
    [
        (("verfy",), "verify"),
        (("fit", "a.csv", "--objectve", "implicit"), "--objective"),
        (("fit", "a.csv", "--optimiser", "adm"), "adam"),
        (("sample", "a.npz", "--method", "langvin"), "langevin"),
        (("verify", "--density", "gausian"), "gaussian"),
        (("learn", "hnt", "3.3"), "hint"),
        (("verify", "--only", "boundry term"), "boundary term"),
        (("verify", "--explain", "stien's identity"), "Stein's identity"),
        (("figures", "parts_aras", "--out", "x"), "parts_areas"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_misspelt_name_is_told_with_the_nearest(argv, near, capsys):
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1 and f"(did you mean {near}?)" in err


@pytest.mark.parametrize(
    "argv, said",
    [
        (("sample", "nofile.npz"), "nofile.npz: there is no such file"),
        (("fit", "rows.csv", "--out", "rows.csv"), "rows.csv: it is a file, and a folder was expected"),
        (("compare", "vectors", "nofile.json"), "vectors"),
    ],
)
def test_what_the_system_says_comes_in_words(argv, said, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    code, _, err = call(capsys, *argv)
    assert code == 2 and said in err and "Errno" not in err and err.count("\n") == 1


# ------------------------------------------------------------------------------- nothing is ignored in silence


@pytest.mark.parametrize(
    "argv, said",
    [
        (("verify", "--list", "--all"), "no use for --all"),
        (("verify", "--list", "--density", "gaussian"), "no use for --density"),
        (("verify", "--list", "--seed", "3"), "no use for --seed"),
        (("verify", "--explain", "boundary term", "--json"), "no use for --json"),
        (("verify", "--explain", "boundary term", "a.csv"), "no use for DATA.csv"),
        (("verify", "--all", "--json"), "--all has no effect beside --json"),
        (("verify", "--line", "a.py", "--only", "3"), "give one of them"),
        (("figures", "--list", "parts_areas"), "no use for NAME"),
        (("check", "--self", "--objective", "implicit"), "no use for objective"),
        (("check", "a.py:f", "--self"), "no use for target"),
        (("check", "a.py:f", "--at", "x.npz", "--dim", "2"), "--at and --dim exclude each other"),
        (("check", "a.py:f", "--objective", "implicit", "--rtol", "1e-3"), "--rtol has no effect beside --objective"),
        (("check", "a.py:f", "--objective", "implicit", "--dim", "2"), "--dim has no effect beside --objective"),
        (("check", "a.py:f", "--objective", "implicit", "--at", "x.npz"), "--at has no effect beside --objective"),
        (
            ("check", "a.py:f", "--objective", "implicit", "--energy", "a:g"),
            "--energy has no effect beside --objective",
        ),
        (("check", "a.py:f", "--objective", "implicit", "--sigma", "1"), "it belongs to a denoising --objective"),
        (("check", "a.py:f", "--dim", "2", "--sigma", "0.3"), "--sigma has no effect beside a score"),
        (("check", "a.py:f", "--density", "--dim", "2", "--shape", "1,2"), "--shape has no effect beside --density"),
        (("check", "a.py:f", "--sampler", "euler", "--dim", "2"), "it belongs to --density or a score as TARGET"),
        (("fit", "a.csv", "--resume", "--overwrite"), "--resume continues a fit and --overwrite begins anew"),
        (("golden", "--out", "-"), "a folder was expected"),
        (("figures", "--out", "-"), "a folder was expected"),
        (("fit", "a.csv", "--out", "-"), "a folder was expected"),
        (("evaluate", "-", "-"), "there is one stdin"),
        (("explore", "--out", "x", "--quiet"), "unrecognized arguments: --quiet"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_an_option_without_effect_is_refused(argv, said, capsys):
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1 and said in err


def test_levels_of_a_reverse_step_are_not_sorted_in_silence(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def step(x, fn, level, next_level):\n    return x\n")
    code, out, err = call(capsys, "check", tmp_path / "mine.py:step", "--reverse", "0.5,1,2,5")
    assert code == 2 and out == "" and "expected sigmas from the largest down, as the step goes: 5,2,1,0.5" in err


@pytest.mark.parametrize("option", ["--rate", "--batch"])
def test_what_is_adams_is_refused_beside_lbfgs(option, folder, tmp_path, capsys):
    argv = ("fit", folder, "--optimiser", "lbfgs", option, "1", "--out", tmp_path / "out", *QUICK)
    code, _, err = call(capsys, *argv)
    assert code == 2 and f"{option[2:]} was given, which is Adam's" in err


def test_nothing_to_resume_is_said(folder, tmp_path, capsys):
    code, _, err = call(capsys, "fit", folder, "--out", tmp_path / "out", "--resume", *QUICK)
    assert code == 0 and "holds no fit that was stopped; this one begins" in err
    code, _, err = call(capsys, "fit", folder, "--out", tmp_path / "out", "--resume", *QUICK)
    assert code == 0 and "had ended; nothing was left to do" in err


def test_notes_go_to_stderr_where_samples_go_to_stdout_and_starts_are_no_samples(folder, capsys, monkeypatch):
    from numpyscore.commands import sample
    from numpyscore.sampling.draw import Drawn

    code, out, err = call(capsys, "sample", folder / "out", "-n", "2", "--method", "langevin", "--steps", "3")
    assert code == 0 and len(out.splitlines()) == 3 and "note: far modes keep" in err
    for share, code_of in ((0.0, 2), (0.005, 3)):
        drawn = Drawn(np.zeros((2, 2)), "langevin", np.full(2, share), "hardly more than the starts")
        monkeypatch.setattr(sample, "draw", lambda *a, drawn=drawn, **k: drawn)
        code, out, err = call(capsys, "sample", folder / "out", "-n", "2")
        assert code == code_of and ("starts" in err) and (out == "" if code == 2 else "note: hardly" in err)


# ------------------------------------------------------------------------------- in the words of the command line


CODE = """
import numpy as np
score = lambda x: -x
logp = lambda x: -0.5 * (x**2).sum(1)
def step(x, fn, level, next_level):
    return x
def of_noise(fn, x, sigma, noise):
    return 0.5 * np.mean(np.sum((fn(x + sigma * noise) - noise) ** 2, axis=1))
"""


@pytest.mark.parametrize(
    "argv, said",
    [
        (("sample", "out", "--sigma", "1,2"), "levels from the largest to the least were expected: 2,1"),
        (
            ("sample", "levels.npz", "--sigma", "2,1", "--step", "0.1"),
            "step (--step) is 0.1, but 'flow' chooses its own",
        ),
        (
            ("fit", "rows.csv", "--objective", "explicit"),
            "which a table does not tell; implicit has the same minimiser",
        ),
        (("fit", "rows.csv", "--objective", "implict"), "(did you mean implicit?)"),
        (
            ("fit", "rows.csv", "--objective", "generalised", "--lower", "0,0,0"),
            "--lower has 3 ends, expected one for all",
        ),
        (("check", "mine.py:score", "--objective", "implict"), "(did you mean implicit?)"),
        (("check", "mine.py:logp", "--density"), "give --dim, --at or --support"),
        (("check", "mine.py:scor", "--dim", "2"), "TARGET: mine.py has no scor (did you mean score?)"),
        (("check", "mine.py:step", "--reverse", "5"), "--reverse is 5, expected three sigmas at least"),
        (("evaluate", "rows.csv", "out"), "expected the network first: numpyscore evaluate MODEL.npz rows.csv"),
        (("compare", "mine.py", "out"), "were the two exchanged? numpyscore compare out mine.py"),
        (("compare", "out", "rows.csv"), "rows.csv is no code and no results"),
        (("sample", "stopped"), "a fit that has not ended: numpyscore fit DATA.csv --out stopped --resume"),
        (("verify", "out"), "metrics.csv its record of losses: give the table"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_cure_is_in_the_words_of_the_command_line(argv, said, folder, capsys, monkeypatch):
    from numpyscore import EnergyMLP

    monkeypatch.chdir(folder)
    (folder / "mine.py").write_text(CODE)
    (folder / "stopped").mkdir(exist_ok=True)
    (folder / "stopped" / "checkpoint.npz").touch()
    EnergyMLP.init(2, (4,), conditional=True, confinement=1.0, rng=0).save(folder / "levels.npz")
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1 and said in err, err


def test_a_report_names_options_and_no_keywords(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "mine.py").write_text(CODE)
    code, out, _ = call(capsys, "check", "mine.py:of_noise", "--objective", "denoising")
    assert "say --model noise" in out and "model=" not in out
    code, out, _ = call(capsys, "check", "mine.py:score", "--energy", "mine.py:logp", "--dim", "2")
    assert code == 1 and "sign: this is grad E" in out and "your energy is a log p: pass it as --logpdf" in out
    code, out, _ = call(capsys, "check", "mine.py:score", "--logpdf", "mine.py:logp", "--dim", "2")  # the cure
    assert code == 0 and "log p:" not in out


def test_levels_beyond_those_learned_are_said(folder, capsys):
    from types import SimpleNamespace

    from numpyscore.commands.sample import noise_levels

    net, units = SimpleNamespace(conditional=True), SimpleNamespace(sigma=np.array([4.62, 1.0, 0.0963]))
    for given, beyond in (([100.0, 0.001], True), ([4.62, 0.01], True), ([4.7, 0.1], False), (None, False)):
        noise_levels(net, units, given)
        err = capsys.readouterr().err
        assert beyond == ("4.62 to 0.0963: its scores there are guesses" in err) and bool(err) == beyond


def test_rounded_counts_are_whole_numbers_and_a_row_taken_for_names_is_said(folder, tmp_path, capsys):
    from numpyscore.commands.sample import _rows, table

    assert table(["k", "h"], _rows(np.array([[3.0, 1.5], [-2.0, 2.0]]))) == "k,h\n3,1.5\n-2,2.0\n"
    np.savetxt(tmp_path / "bare.csv", ROWS, delimiter=",")
    argv = ("verify", tmp_path / "bare.csv", "--only", "boundary term")
    assert "if they are a row, --header no" in call(capsys, *argv, "--header", "yes")[2]
    assert "--header" not in call(capsys, *argv, "--header", "no")[2]


# ------------------------------------------------------------------------------- stdin, stdout, folders, counts


def test_minus_is_stdin_and_stdout(folder, capsys, monkeypatch):
    rows, model = (folder / "rows.csv").read_bytes(), (folder / "out" / "model.npz").read_bytes()
    stdin = lambda content: monkeypatch.setattr(sys, "stdin", Stdin(content))
    stdin(rows)
    code, out, _ = call(capsys, "verify", "-", "--only", "boundary term")
    assert code == 0 and "stdin" in out and "60 rows x 2 columns" in out
    stdin(model)
    code, out, _ = call(capsys, "sample", "-", "-n", "1e1", "--out", "-")
    assert code == 0 and len(out.splitlines()) == 11 and out.startswith("a,b\n")
    stdin(rows)
    code, out, err = call(capsys, "evaluate", folder / "out", "-", "--out", "-")
    assert code == 0 and len(out.splitlines()) == 61 and out.startswith("row,energy") and "log likelihood" in err
    code, out, _ = call(capsys, "explore", "--out", "-")
    assert code == 0 and out.startswith("<!doctype html>")
    code, out, err = call(capsys, "verify", "--only", "boundary term", "--density", "beta", "--report", "-")
    assert code == 0 and out.startswith("<!DOCTYPE html>") and "gap = left - right" in err
    stdin(b"")
    code, _, err = call(capsys, "sample", "-")
    assert code == 2 and "stdin is empty" in err
    stdin(b"no network")
    code, _, err = call(capsys, "sample", "-")
    assert code == 2 and "load: stdin is not a whole npz file" in err and "/tmp" not in err
    stdin(b"a,b\n1,x\n")
    code, _, err = call(capsys, "verify", "-")
    assert code == 2 and err.startswith("numpyscore verify: stdin, line 2, column ")


def test_a_folder_stands_for_the_one_file_in_it(folder, tmp_path, capsys):
    assert (folder / "out" / "model.npz").exists()  # made by `fit FOLDER`
    assert call(capsys, "sample", folder / "out", "-n", "2")[0] == 0
    code, _, err = call(capsys, "sample", folder)
    assert code == 2 and "expected one model.npz in it" in err and "rows.csv" in err
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_bytes((folder / "rows.csv").read_bytes())
    code, _, err = call(capsys, "fit", tmp_path)
    assert code == 2 and "several, one.csv, two.csv: name one of them" in err


def test_counts_may_be_written_in_powers_of_ten():
    import argparse

    assert [terminal.whole(text) for text in ("1000", "1e3", "2.5e3", "-1")] == [1000, 1000, 2500, -1]
    for text in ("1.5", "x", "nan", "inf", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="no whole number"):
            terminal.whole(text)


# ------------------------------------------------------------------------------- progress, interruption

SLOW = """
import sys, time
from numpyscore.commands import terminal
terminal.EVERY = 0.05
terminal.Progress.quiet = "--quiet" in sys.argv
progress = terminal.Progress("fit")
progress.say("drawing ...")
time.sleep(0.4)
progress.clear()
time.sleep(0.3)
"""


def test_through_a_pipe_a_line_of_progress_comes_now_and_then_unless_quiet():
    run = lambda *words: subprocess.run([sys.executable, "-c", SLOW, *words], capture_output=True, text=True)
    found = run()
    lines = found.stderr.splitlines()
    assert found.returncode == 0 and 2 <= len(lines) <= 9 and all(line.startswith("drawing ... (") for line in lines)
    assert run("--quiet").stderr == ""
    assert "EVERY = 10.0" in inspect.getsource(terminal)  # seconds; tests/conftest.py has it longer


STOPPED = """
import builtins, sys
import numpyscore.cli as cli
real = builtins.__import__
def interrupted(name, *args, **kwargs):
    if "explore" in name or (len(args) > 2 and args[2] and "Progress" in args[2]):
        raise KeyboardInterrupt
    return real(name, *args, **kwargs)
builtins.__import__ = interrupted
sys.exit(cli.main(["verify", "--list"]))
"""


def test_interrupted_during_the_imports_it_is_one_line():
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True)
    assert done.returncode == 130 and done.stderr == "numpyscore: interrupted\n" and done.stdout == ""


@pytest.mark.nightly  # 40 processes
def test_interrupted_at_any_time_it_is_at_most_one_line():
    import signal

    counts = {"one line": 0, "before Python ran it": 0, "traceback": 0}
    for k in range(40):
        argv = [sys.executable, "-m", "numpyscore", "verify", "--only", "boundary term"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(0.02 + 0.02 * k)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        ours = "numpyscore/c" in err
        counts[
            "traceback" if ours and "Traceback" in err else "before Python ran it" if "Traceback" in err else "one line"
        ] += 1
    assert counts["traceback"] == 0 and counts["one line"] >= 20, counts
