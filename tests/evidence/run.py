"""The evidence that the package's figures rest on, measured anew and written to EVIDENCE.md.

    python tests/evidence/run.py                          # everything, in full
    python tests/evidence/run.py --share .1               # a tenth of it: fewer networks, mutants, files
    python tests/evidence/run.py --part networks          # one part; the sections of the others stay as they are

Parts: networks and densities (accuracy against 50 digits), laws (what must not matter), mutants, branches, hostile and interrupted (files,
disks, threads, bits), versions (NumPy, SciPy, matplotlib, Python). A part needs nothing but the test environment, except that branches needs
the package coverage, and versions a registry; where that is not there the table says so.
"""

import argparse
import importlib
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TABLE = ROOT / "EVIDENCE.md"
PARTS = {
    "networks": "Accuracy of networks and objectives against 50 digits",
    "densities": "Accuracy of densities against 50 digits",
    "laws": "What must not matter",
    "mutants": "Mutation score",
    "branches": "Lines and branches that the default tests run",
    "hostile": "Hostile files",
    "interrupted": "Kills, disks, threads and bits",
    "versions": "Versions",
}


def head():
    """What the table is and where it comes from."""
    return (
        "# Evidence\n\nWritten by `python tests/evidence/run.py`, which measures every figure anew; `--part NAME` renews one section, `--share .1` takes a "
        "tenth of the cases. eps is that of the dtype; S and S2 are error scales: the same formula with every term replaced by its absolute value, and, in S2, every "
        "activation column by itself plus what the rounding of its argument does to it. A figure beyond its target has its reason below the table.\n"
    )


def where():
    """Date, versions and class of machine."""
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "matplotlib", "pytest", "hypothesis"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()}, {packages}; {platform.system()} {platform.machine()}, {cores} cores"


def revision():
    """The commit that was measured; a plus sign where the tree has changed since."""
    run = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = [line for line in run("status", "--porcelain").splitlines() if not line.endswith("EVIDENCE.md")]
    return run("rev-parse", "--short", "HEAD") + "+" * bool(changed) or "no repository"


def section(name, args):
    """One part's section, measured."""
    started, module = time.monotonic(), importlib.import_module(name)
    rows, lines = module.report(args)
    took = time.monotonic() - started
    cell = lambda a: str(a).replace("|", "\\|")
    table = "\n".join(f"| {' | '.join(map(cell, row))} |" for row in rows)
    note = "\n\n".join(part for part in (getattr(module, "NOTE", ""), lines) if part)
    return (
        f"## {PARTS[name]}\n\n{where()}; commit {revision()}, share {args.share:g}, seed {args.seed}, {took:.0f} s (`--part {name}`).\n\n"
        f"| | target | measured |\n|---|---|---|\n{table}\n" + (f"\n{note}\n" if note else "")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this part; may be given several times")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases, above 0 and at most 1 (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rooms", nargs="*", help="of mutants: these rooms")
    args = parser.parse_args()
    if not 0 < args.share <= 1:
        parser.error(f"--share is {args.share:g}, expected above 0 and at most 1")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    sys.path[:0] = [str(ROOT), str(HERE), str(HERE.parent)]
    kept = re.split(r"^(?=## )", TABLE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:] if TABLE.exists() else []
    sections = {text.splitlines()[0][3:]: text for text in kept}
    for name in args.part or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        sections[PARTS[name]] = section(name, args)
        whole = [head(), *(sections[title].strip() + "\n" for title in PARTS.values() if title in sections)]
        TABLE.write_text("\n".join(whole), encoding="utf-8")  # after each part: what was measured stays
    print(TABLE)


if __name__ == "__main__":
    main()
