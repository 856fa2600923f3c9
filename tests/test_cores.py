"""The suite on several processes: every test once, every failure told, and a process that dies is no success."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONFTEST = "import cores\ndef pytest_runtestloop(session):\n    return cores.run(session) or None\n"
TESTS = """
import os, pytest
@pytest.mark.parametrize("i", range(70))
def test(i):
    with open(os.environ["SEEN"], "a") as file:
        file.write(f"{__name__} {i} {os.getpid()}\\n")
    assert i != %s
"""


def outcome(folder, processes, bad="47", *options):
    """(exit code, last line, [module, number, process] of every test run, the whole output)."""
    (folder / "conftest.py").write_text(CONFTEST)
    for name in ("test_a", "test_b", "test_c"):
        (folder / f"{name}.py").write_text(TESTS % (bad if name != "test_c" else "-1"))
    seen = folder / f"seen{processes}"
    environment = os.environ | {
        "SEEN": str(seen),
        "NUMPYSCORE_TEST_PROCESSES": str(processes),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(folder), str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)
    return (
        done.returncode,
        done.stdout.strip().splitlines()[-1],
        [line.split() for line in seen.read_text().splitlines()],
        done.stdout + done.stderr,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_several_processes_run_every_test_once_and_tell_every_failure(tmp_path):
    for processes in (1, 3):
        code, last, seen, output = outcome(tmp_path, processes)
        assert code == 1 and re.match(r"2 failed, 208 passed", last), output
        assert len(seen) == len({(module, i) for module, i, _ in seen}) == 210
        assert output.count("test_a.py::test[47]") == output.count("test_b.py::test[47]") == 1
        if processes == 1:
            assert len({process for *_, process in seen}) == 1
    code, last, _, output = outcome(tmp_path, 2, "-1")
    assert code == 0 and last.startswith("210 passed"), output


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_control_a_process_that_dies_is_no_success(tmp_path):
    code, _, _, output = outcome(tmp_path, 2, "47 or os._exit(9)")
    assert code != 0, output
