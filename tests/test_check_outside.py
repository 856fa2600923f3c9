"""Faults that an examination from outside found in the checks: right code accused, wrong code passed, a mistake called by another's name."""

import json

import numpy as np


from numpyscore.cli import main


def call(capsys, *argv):
    """Exit code, stdout, stderr of a command."""
    try:
        code = main(list(argv))
    except SystemExit as error:
        code = error.code
    out = capsys.readouterr()
    return code, out.out, out.err


# ------------------------------------------------------------------------------- the command line

UNSEEDED = """
import sys
import numpy as np

W = np.random.default_rng().normal(size=(3, 8))  # a network that starts anywhere, as modules do


def energy(x):
    return np.logaddexp(0, x @ W).sum(1)


def score(x):
    return -(1 / (1 + np.exp(-x @ W))) @ W.T


def other(x):
    return score(x) + 1e-3


def leaves(x):
    sys.exit(0)
"""


def test_a_file_runs_once_so_that_score_and_energy_are_of_one_network(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(UNSEEDED)
    options = ("--energy", f"{file}:energy", "--dim", "3", "--json")
    code, out, _ = call(capsys, "check", f"{file}:score", *options)
    assert code == 0 and [r["verdict"] for r in json.loads(out)] == ["PASS", "PASS"]
    assert call(capsys, "check", f"{file}:other", *options)[0] == 1  # a wrong one is seen as before


def test_code_that_leaves_the_program_is_no_pass(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(UNSEEDED)
    code, out, err = call(capsys, "check", f"{file}:leaves", "--energy", f"{file}:energy", "--dim", "3")
    assert code == 2 and out == "" and "SystemExit" in err and err.count("\n") == 1
