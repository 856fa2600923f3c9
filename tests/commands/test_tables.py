"""A table that misleads is said to, in the same words by `verify` and `fit`, in text, JSON and page; of a plain one nothing is said."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from numpyscore.cli import main
from numpyscore.commands.terminal import measured

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 220))
GAPS = np.where(np.arange(220) < 3, np.nan, A)
ODD = {
    "one cell, and gaps": (
        np.column_stack([GAPS, np.where(np.arange(220) == 7, 1e6, B)]),
        ["one cell, 1e+06, makes 100% of the variance of b", "3 rows with missing cells left out"],
    ),
    "constant": (np.column_stack([A, np.full(220, 3.0)]), ["constant columns kept at scale 1: b"]),
    "collinear": (np.column_stack([A, 2 * A]), ["b is an exact linear function of a"]),
    "repeated": (np.column_stack([np.repeat(A[:55], 4), np.repeat(B[:55], 4)]), ["75% of the rows repeat another"]),
    "tiny": (np.column_stack([A[:12], B[:12]]), ["12 rows in 2 columns are few"]),
}


def told(path, rows, tmp_path, capsys, *options):
    """What verify says in text, JSON and page, and fit in text and summary.json."""
    np.savetxt(path, rows, delimiter=",", header="a,b", comments="")
    verify, fit = ["verify", str(path), "--only", "boundary term"], ["fit", str(path), "--objective", "implicit"]
    fit += ["--sigma", "0.5", "--steps", "4", "--widths", "4", "--overwrite", "--out", str(tmp_path / "out")]

    def said(argv):
        code = main([*argv, *options])
        out = capsys.readouterr()
        assert code == 0, out.err
        return out.out

    yield "verify", said([*verify, "--report", str(tmp_path / "page.html")])
    yield "page", (tmp_path / "page.html").read_text()
    yield "verify --json", "\n".join(json.loads(said([*verify, "--json"]))["notes"])
    yield "fit", said(fit)
    yield "summary", "\n".join(json.loads((tmp_path / "out" / "summary.json").read_text())["notes"])


@pytest.mark.parametrize(
    "name", ["one cell, and gaps", *(pytest.param(n, marks=pytest.mark.nightly) for n in list(ODD)[1:])]
)
def test_what_misleads_is_said_alike_in_text_json_and_page(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("numpyscore.display.report.drawable", lambda: False)  # figures take a second each
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    rows, words = ODD[name]
    for where, text in told(tmp_path / "rows.csv", rows, tmp_path, capsys, "--drop-missing"):
        assert all(said in text for said in words), (where, text)


def test_control_of_a_plain_table_nothing_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("numpyscore.display.report.drawable", lambda: False)
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    for where, text in told(tmp_path / "rows.csv", np.column_stack([A, B]), tmp_path, capsys):
        assert not any(said in text for _, words in ODD.values() for said in words), (where, text)


def test_options_of_a_table_without_one_are_refused(capsys):
    for option in ("--drop-missing", "--header=yes", "--decimal=comma"):
        assert main(["verify", option, "--only", "boundary term"]) == 2
        assert "needs DATA.csv" in capsys.readouterr().err


PEAK = (
    "import resource, sys; from numpyscore.cli import main; code = main(sys.argv[1:]); "
    "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr); sys.exit(code)"
)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss counts KiB on Linux")
def test_ten_million_rows_are_fitted_and_evaluated_in_a_gibibyte(tmp_path):
    """The numbers alone are 160 MB, the file 380."""
    block = io.StringIO()
    np.savetxt(block, RNG.standard_normal((100_000, 2)), delimiter=",", fmt="%.16g")
    with open(tmp_path / "rows.csv", "w") as file:
        file.write("a,b\n")
        for _ in range(100):
            file.write(block.getvalue())
    out, table = str(tmp_path / "out"), str(tmp_path / "rows.csv")
    for argv in (["fit", table, "--steps", "50", "--out", out], ["evaluate", f"{out}/model.npz", table]):
        done = subprocess.run([sys.executable, "-c", PEAK, *argv], capture_output=True, text=True)
        assert done.returncode == 0 and float(done.stderr.split()[-1]) < 1024, done.stderr
        assert "10000000 rows" in done.stdout


def test_numbers_have_the_digits_that_their_errors_leave():
    told = {
        (-4.18661, 0.0612): "-4.187 +- 0.061",
        (0.010147, 0.03): "0.01 +- 0.03",
        (-195600.489, 195606.18): "-2e+05 +- 2e+05",
        (1.23456e-9, 3.1e-11): "1.235e-09 +- 3.1e-11",
        (0.0, 0.02): "0 +- 0.02",
        (2.5, 0.0): "2.5 +- 0",
    }
    assert [measured({"mean": mean, "se": se}).strip() for mean, se in told] == list(told.values())
    assert measured({"mean": 2.5, "se": None}).strip() == "2.5"
