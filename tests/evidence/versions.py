"""The tests with the oldest and the newest NumPy, SciPy and matplotlib that pyproject.toml admits, on every Python from 3.11 to 3.13 found here.

    python tests/evidence/versions.py                     # the default tests, minutes for each of up to six environments
    python tests/evidence/versions.py tests/densities     # these tests alone

Pythons are looked for on the PATH and where pyenv keeps them; the packages come from the registry. Oldest means the oldest that has a wheel.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13")
FIRST = {"3.13": {"numpy": "2.1.0", "matplotlib": "3.9.2"}}  # the first wheels for a Python that came later
QUICK = ("tests/networks/test_passes.py", "tests/networks/test_accuracy.py", "tests/objectives/test_laws.py", "tests/densities/test_frozen.py", "tests/common", "tests/display/test_gallery.py")  # fmt: skip


def floors():
    """{package: the oldest that pyproject.toml admits}."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["figures"]]
    return dict(re.fullmatch(r"(\w+)>=([\d.]+)", one).groups() for one in asked)


def python(version):
    """The path of a Python that runs, None if there is none here; pyenv's shim on the PATH may be there and not run."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    for path in (shutil.which(f"python{version}"), *map(str, reversed(kept))):
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            return path
    return None


def environments():
    """(Python, "oldest" or "newest", what pip is asked for)."""
    for version in PYTHONS:
        for age in ("oldest", "newest"):
            pins = floors() | FIRST.get(version, {})
            yield version, age, [f"{name}=={pin}" if age == "oldest" else name for name, pin in pins.items()]


def measure(version, age, asked, tests, folder):
    """(what was installed, the last line of the tests) of one environment."""
    if python(version) is None:
        return "", "not measured: no such Python here"
    place = Path(folder) / f"{version}-{age}"
    run = lambda *words: subprocess.run([*map(str, words)], cwd=ROOT, capture_output=True, text=True)
    run(python(version), "-m", "venv", place)
    installed = run(place / "bin/pip", "install", "-q", *asked, "pytest", "hypothesis")
    if installed.returncode:
        return "", f"not measured: {installed.stderr.strip().splitlines()[-1][:200]}"
    names = "import numpy, scipy, matplotlib, sys; print(sys.version.split()[0], numpy.__version__, scipy.__version__, matplotlib.__version__)"
    found = run(place / "bin/python", "-c", names).stdout.strip()
    done = run(place / "bin/python", "-m", "pytest", *tests)
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["nothing"])[-1]
    return found, last + "".join(f"; {name}" for name in failed[:5])


def report(args):
    """Rows of the table."""
    rows, tests = [], () if args.share == 1 else QUICK
    with tempfile.TemporaryDirectory() as folder:
        for version, age, asked in environments():
            started = time.monotonic()
            found, said = measure(version, age, asked, getattr(args, "tests", None) or tests, folder)
            rows.append((f"Python {version}, {age}: {found}", "all pass", said))
            print(*rows[-1], f"{time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            shutil.rmtree(Path(folder) / f"{version}-{age}", ignore_errors=True)
    return rows, ""


if __name__ == "__main__":
    from types import SimpleNamespace

    report(SimpleNamespace(share=1, tests=sys.argv[1:]))
