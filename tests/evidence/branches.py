"""Branch coverage of the default tests, file by file, with what the tests' further processes ran; by the package coverage, where it is installed."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

NOTE = (
    "Not counted: what tests start as programs of their own (`python -m numpyscore`, the workers of `bench`), what only the nightly tests reach, and, where torch "
    "and jax are not installed, the tests that skip without them: in an environment with both, run as any other, they count."
)
ROOT = Path(__file__).resolve().parents[2]
SETTINGS = """
[run]
branch = true
source = numpyscore
data_file = {folder}/data
parallel = true
patch = _exit
    fork

[report]
exclude_also =
    if TYPE_CHECKING
"""


def measure(tests=(), folder=None):
    """{file: (branches and lines run, all of them, what was not run)} of one run of the default tests, or of those named."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(folder or scratch)
        settings = folder / "settings"
        settings.write_text(SETTINGS.format(folder=folder))
        tool = [sys.executable, "-m", "coverage"]
        options = ["--rcfile", str(settings)]
        tests = subprocess.run([*tool, "run", *options, "-m", "pytest", *tests], cwd=ROOT)
        subprocess.run([*tool, "combine", "-q", *options, str(folder)], cwd=ROOT, check=True)
        subprocess.run([*tool, "json", "-q", *options, "-o", str(folder / "found.json")], cwd=ROOT, check=True)
        found = json.loads((folder / "found.json").read_text())
    return tests.returncode, found["files"]


def share(summary):
    """Lines and branches run, in percent of those there are, as coverage counts them."""
    return summary["percent_covered"]


def report(args):
    """Rows of the table, and the files below 90 % with their lines."""
    if importlib.util.find_spec("coverage") is None:
        return [("branch coverage", ">= 97 %", "not measured: the package coverage is not installed")], ""
    code, files = measure()
    total = {key: sum(f["summary"][key] for f in files.values()) for key in
             ("covered_branches", "num_branches", "covered_lines", "num_statements")}  # fmt: skip
    ran, there = total["covered_branches"] + total["covered_lines"], total["num_branches"] + total["num_statements"]
    worst = sorted(files.items(), key=lambda item: share(item[1]["summary"]))
    below = [(name, f) for name, f in worst if share(f["summary"]) < 90]
    rows = [
        ("tests under coverage", "pass", "pass" if code == 0 else f"exit {code}"),
        ("lines and branches run", ">= 97 %", f"{100 * ran / there:.1f} % of {there}"),
        ("branches alone", "", f"{100 * total['covered_branches'] / total['num_branches']:.1f} %"),
        ("least of a file", ">= 90 %", f"{share(worst[0][1]['summary']):.0f} % ({worst[0][0]})"),
        ("files below 90 %", "0", str(len(below))),
    ]
    lines = [
        f"- {name}: {share(f['summary']):.0f} %, not run {f['missing_lines']}, branches {f['missing_branches']}"
        for name, f in below
    ]
    return rows, "\n".join(lines)


if __name__ == "__main__":
    code, files = measure(sys.argv[2:], sys.argv[1])
    for name, f in sorted(files.items(), key=lambda item: share(item[1]["summary"])):
        print(f"{share(f['summary']):5.1f} {name} {f['missing_lines']} {f['missing_branches']}")
