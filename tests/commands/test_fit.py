"""`numpyscore fit` as a process: killed, interrupted, with a full disk, with damaged files; nothing lost, one line, the right exit code."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commandline import call

from numpyscore import EnergyMLP, from_csv, load_fitted
from numpyscore.common.files import read_npz, write_npz
from numpyscore.learning.checkpoints import NAME

resource = pytest.importorskip("resource")  # POSIX
ROWS = np.random.default_rng(0).standard_normal((60, 2)) @ [[1.0, 0.5], [0.0, 2.0]] + [3, 200]
OFTEN = "import numpyscore.learning.checkpoints as c; c.SECONDS = {}; import numpyscore.cli; raise SystemExit(numpyscore.cli.main())"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "rows.csv"
    np.savetxt(path, ROWS, delimiter=",", header="a,b", comments="")
    return path


def start(data, out, *options, seconds=0.0):
    """The command in a process of its own that writes a checkpoint after every step, or every so many seconds."""
    argv = [sys.executable, "-c", OFTEN.format(seconds), "fit", str(data), "--out", str(out), "--quiet", *options]
    heard = lambda: signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a shell's background jobs, and so these tests, may ignore Ctrl-C
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)


def results(out):
    return {name: (out / name).read_bytes() for name in ("model.npz", "metrics.csv", "summary.json", NAME)}


def readable(out):
    """Whether a checkpoint is there; it must load whenever it is."""
    if not (out / NAME).exists():
        return False
    read_npz(out / NAME, ValueError)
    return True


# ------------------------------------------------------------------------------- killed


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.nightly)])
def test_killed_at_random_times_a_fit_ends_in_the_same_bits(kills, data, tmp_path, capsys):
    """SIGKILL after a random time, again and again, each time resumed; begun anew where a fit ended before it was killed."""
    options = ("--widths", "8", "--steps", "12", "--seed", "3")
    assert call(capsys, "fit", data, "--out", tmp_path / "whole", *options)[0] == 0
    whole, rng = results(tmp_path / "whole"), np.random.default_rng(kills)
    killed = midway = rounds = 0
    while killed < kills:
        out = tmp_path / f"round{rounds}"
        process = start(data, out, "--resume", *options)
        while process.poll() is None and not out.exists():  # the interpreter is starting
            time.sleep(0.005)
        time.sleep(rng.exponential(0.15))
        process.kill()
        process.communicate()
        if process.returncode == -signal.SIGKILL:
            killed += 1
            midway += readable(out)
        else:
            assert process.returncode == 0 and results(out) == whole
            rounds += 1
    assert midway >= kills // 2
    assert call(capsys, "fit", data, "--out", out, "--resume", *options)[0] == 0
    assert results(out) == whole
    assert all(name.endswith(".tmp") for name in set(os.listdir(out)) - {*whole, "fit.png"})


def test_interrupted_it_saves_says_so_and_goes_on(data, tmp_path, capsys):
    options = ("--widths", "8", "--steps", "240", "--sigma", "0.3", "--objective", "implicit")
    process = start(data, tmp_path / "out", *options, seconds=1e9)  # only the first checkpoint, and that of Ctrl-C
    while not (tmp_path / "out" / NAME).exists():
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and err == "numpyscore: interrupted\n"
    saved = read_npz(tmp_path / "out" / NAME, ValueError)
    assert saved["run"] > 0 or saved["step"] > 0
    assert os.listdir(tmp_path / "out") == [NAME]
    assert call(capsys, "fit", data, "--out", tmp_path / "out", "--resume", *options)[0] == 0
    assert call(capsys, "fit", data, "--out", tmp_path / "whole", *options)[0] == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")


@pytest.mark.parametrize("limit", [pytest.param(2000, marks=pytest.mark.nightly), 12000], ids=["at once", "on the way"])
def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_kept(limit, data, tmp_path, capsys):
    """RLIMIT_FSIZE: no file may grow beyond the limit; the checkpoint does, as its history grows."""
    options, out = ("--widths", "8", "--steps", "24", "--sigma", "0.3", "--objective", "implicit"), tmp_path / "out"
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY)); {OFTEN.format(0.0)}"
    argv = [sys.executable, "-c", code, "fit", str(data), "--out", str(out), *options]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == "", done.stderr
    assert done.stderr.count("\n") == 1 and "File too large" in done.stderr and NAME in done.stderr
    assert os.listdir(out) == ([] if limit == 2000 else [NAME])
    if limit == 12000:
        assert read_npz(out / NAME, ValueError)["history"].size > 0
    assert call(capsys, "fit", data, "--out", out, "--resume", *options)[0] == 0
    assert call(capsys, "fit", data, "--out", tmp_path / "whole", *options)[0] == 0
    assert results(out) == results(tmp_path / "whole")


# ------------------------------------------------------------------------------- what it prints and writes

QUICK = ("--widths", "8", "--steps", "12", "--sigma", "0.3", "--objective", "implicit")


def test_it_writes_the_folder_and_says_what_it_found(data, tmp_path, capsys):
    code, out, err = call(capsys, "fit", data, "--out", tmp_path / "out", *QUICK)
    assert code == 0 and err == ""
    for words in ("60 rows x 2 columns", "nested 5-fold", "<- chosen", "a Gaussian", "difference, paired"):
        assert words in out
    model, units = load_fitted(tmp_path / "out" / "model.npz")
    assert units.columns == ("a", "b") and model.dim == 2
    np.testing.assert_allclose(units.mean, from_csv(data).x.mean(0))


def test_json_is_the_summary(data, tmp_path, capsys):
    code, out, _ = call(capsys, "fit", data, "--out", tmp_path / "out", "--json", *QUICK)
    record = json.loads(out)
    assert code == 0 and record["schema"] == "numpyscore-fit/1" and record["held_out"]["rows"] == 60
    assert json.loads((tmp_path / "out" / "summary.json").read_text()).items() <= record.items()


def test_the_folder_is_named_after_the_data(data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "fit", data, *QUICK)[0] == 0 and (tmp_path / "rows-fit" / "model.npz").exists()


@pytest.mark.parametrize("columns", ["b", "b,a", "a,b,c"])
def test_the_picture_of_one_two_and_three_columns_is_drawn(columns, data, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    table = np.column_stack([ROWS, ROWS[:, :1] ** 2])
    np.savetxt(data, table, delimiter=",", header="a,b,c", comments="")
    code, out, _ = call(capsys, "fit", data, "--columns", columns, "--sigma", "0.3", "--out", tmp_path / "out", *QUICK)
    assert code == 0 and "fit.png" in out
    png = (tmp_path / "out" / "fit.png").read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 20000


def test_without_matplotlib_a_line_says_so_and_all_else_is_written(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = call(capsys, "fit", data, "--out", tmp_path / "out", *QUICK)
    assert code == 0 and err == "" and "no fit.png, for that install matplotlib" in out
    assert set(os.listdir(tmp_path / "out")) == {"model.npz", "metrics.csv", "summary.json", NAME}


# ------------------------------------------------------------------------------- wrong input

WRONG = {
    "no file": (["nowhere.csv"], "no such file"),
    "objective": (["DATA", "--objective", "ism"], "objective is 'ism'"),
    "sigma": (["DATA", "--sigma", "small"], "--sigma is 'small'"),
    "negative sigma": (["DATA", "--sigma=-1"], "sigma is -1"),
    "NaN": (["DATA", "--sigma", "nan"], "sigma is nan"),
    "nothing whole": (["DATA", "--dequantise"], "no column is of whole numbers"),
    "widths": (["DATA", "--widths", "8,x"], "--widths is '8,x'"),
    "widths beyond any memory": (["DATA", "--widths", "100000000"], "keeps dozens of copies"),
    "widths 0": (["DATA", "--widths", "0"], "--widths"),
    "steps": (["DATA", "--steps", "0"], "steps is 0"),
    "column": (["DATA", "--columns", "z"], "no column 'z'"),
    "seed": (["DATA", "--seed", "-1"], "seed"),
    "no data": ([], "DATA.csv"),
    "levels for one": (["DATA", "--objective", "implicit", "--sigma", "1,0.5"], "one number from 0"),
    "one level for several": (["DATA", "--sigma", "0.3"], "--objective implicit"),
    "a file for a folder": (["DATA", "--out", "DATA"], "rows.csv"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_one_line_and_exit_2(name, data, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv, message = WRONG[name]
    code, out, err = call(capsys, "fit", *[str(data) if word == "DATA" else word for word in argv])
    assert code == 2 and out == "" and err.count("\n") == 1 and message in err, err
    assert os.listdir(tmp_path) == ["rows.csv"]


def test_a_second_fit_does_not_take_the_place_of_the_first(data, tmp_path, capsys):
    assert call(capsys, "fit", data, "--out", tmp_path / "out", *QUICK)[0] == 0
    before = results(tmp_path / "out")
    code, _, err = call(capsys, "fit", data, "--out", tmp_path / "out", *QUICK)
    assert code == 2 and "holds a fit already" in err and results(tmp_path / "out") == before
    assert call(capsys, "fit", data, "--out", tmp_path / "out", "--overwrite", "--seed", "1", *QUICK)[0] == 0
    assert results(tmp_path / "out") != before


def test_no_progress_and_no_colour_off_a_terminal(data, tmp_path):
    argv = [sys.executable, "-m", "numpyscore", "fit", str(data), "--out", str(tmp_path / "out"), *QUICK]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and "\x1b" not in done.stdout


def test_the_time_of_a_long_fit_is_said_before_it_starts(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("numpyscore.commands.fit.LONG", 0)  # of a short one nothing is said: the test before this
    code, _, err = call(capsys, "fit", data, "--out", tmp_path / "out", *QUICK)
    assert code == 0 and re.fullmatch(r"fit: about \d+ s on this machine: 16 trainings of 12 steps\n", err)


def test_the_progress_line_tells_step_losses_and_time_left(monkeypatch, capsys):
    from numpyscore.commands.fit import _Watch
    from numpyscore.learning.checkpoints import State
    from numpyscore.learning.splits import Snapshot

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    watch = _Watch()
    state = State(
        2, 40, None, -12.0, 4, (Snapshot(2, 0, 0.1, 36, -3.0, -3.5, -2.25),), np.empty(0), (), *[np.empty(0)] * 2
    )
    watch.shown = watch.start = time.monotonic() - 10
    watch(0.2, state)
    watch.shown -= 1
    watch(0.7, state)
    said = capsys.readouterr().err
    assert "fit  70%: training 3, step 40, loss -3, held out -2.25, 6 s left" in said


# ------------------------------------------------------------------------------- units and files that are hostile


@pytest.mark.parametrize("unit", [1e-300, 1e-110, 1e-72, 1e101, 1e300])
def test_units_whose_squares_are_no_numbers_are_refused_in_one_line(unit, tmp_path, capsys):
    """1e-160 trained, and then printed a trace of nan +- nan with exit code 0; 1e-110 was a traceback; 1e-300 LAPACK's own words."""
    np.savetxt(tmp_path / "rows.csv", (ROWS - [3, 200]) * [unit, 1], delimiter=",")
    code, out, err = call(capsys, "fit", tmp_path / "rows.csv", "--out", tmp_path / "out", "--steps", 1)
    assert code == 2 and out == "" and err.count("\n") == 1 and "choose another unit" in err


@pytest.mark.parametrize("unit", [2e-70, pytest.param(1e98, marks=pytest.mark.nightly)])
def test_units_just_within_are_evaluated_in_numbers(unit, tmp_path, capsys):
    rows, out = tmp_path / "rows.csv", tmp_path / "out"
    np.savetxt(rows, (ROWS - [3, 200]) * [unit, 1], delimiter=",")
    options = ("--objective", "implicit", "--sigma", "0.3", "--steps", 1)
    assert call(capsys, "fit", rows, "--out", out, *options)[0] == 0
    code, said, err = call(capsys, "evaluate", out / "model.npz", rows, "--json")
    assert code == 0 and err == "" and all(np.isfinite(q["mean"]) for q in json.loads(said)["means"].values())


@pytest.mark.parametrize("name", ["W1", "W2", "b2"])
def test_weights_beyond_what_can_be_evaluated_are_named_in_one_line(name, tmp_path, capsys, data):
    model = EnergyMLP.init(2, (3,), rng=0, confinement=1.0)
    arrays = model.to_arrays()
    write_npz(tmp_path / "model.npz", arrays | {name: np.full_like(arrays[name], 1e300)})
    for options in ((), ("--json",)):
        code, out, err = call(capsys, "evaluate", tmp_path / "model.npz", data, *options)
        assert code == 2 and out == "" and err.count("\n") == 1, err
