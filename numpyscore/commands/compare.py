"""`numpyscore compare`: somebody's numbers against the reference vectors."""

import contextlib
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

from ..vectors import compare as comparison
from ..vectors.golden import SCHEMA
from .loading import load_object
from .terminal import DIFFERENCE, FINE

HELP = "somebody's module or file of results against the reference vectors"
SHOWN = 12  # rows that differ


def arguments(parser):
    """The options of `numpyscore compare`."""
    parser.description = (
        "Runs THEIRS on every reference vector in DIR: a Python file or module (path.py, module, or with :function; "
        "evaluate without one) whose function takes a vector and returns {quantity: array}, or a JSON file "
        "{vector id: {quantity: numbers}}. THIS RUNS THEIR CODE. A first one to try: numpyscore.vectors.compare, our own numbers."
    )
    parser.epilog = "exit codes: 0 all that was given agrees, 1 something differs, 2 usage or input error"
    parser.add_argument("folder", metavar="DIR", help="as written by numpyscore golden --out DIR")
    parser.add_argument(
        "theirs", metavar="THEIRS", help="path.py, module, path.py:function, module:function or results.json"
    )
    parser.add_argument(
        "--limit", type=float, default=comparison.LIMIT, metavar="X", help="what agrees, in eps x S (default 64)"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="FLAG", help="leave out vectors, such as tail"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="what results.json was computed in")
    parser.add_argument("--json", action="store_true", help="a record for machines")


def run(args):
    """Compare, print; returns the exit code."""
    if not Path(args.folder).is_dir() and Path(args.theirs).is_dir():
        raise ValueError(
            f"{args.theirs} is a folder: were the two exchanged? numpyscore compare {args.theirs} {args.folder}"
        )
    if Path(args.theirs).is_file() and not args.theirs.endswith((".json", ".py")):
        raise ValueError(
            f"{args.theirs} is no code and no results, expected module:function, path.py:function or results.json"
        )
    vectors = comparison.read_vectors(args.folder)
    options = {"limit": args.limit, "without": args.without, "dtype": args.dtype}
    with contextlib.redirect_stdout(sys.stderr):  # what their code prints is no result
        if args.dtype and not args.theirs.endswith(".json"):
            raise ValueError(
                "--dtype belongs to results.json, whose numbers do not say it; a function returns arrays, which do"
            )
        theirs = _results(args.theirs) if args.theirs.endswith(".json") else _function(args.theirs)
        found = comparison.compare(theirs, vectors, **options)
    if not found.rows:
        raise ValueError(f"{args.theirs} gave nothing to compare; the quantities are {', '.join(found.missing)}")
    print(json.dumps(_record(found), indent=1, allow_nan=False) if args.json else _report(found))
    return FINE if found else DIFFERENCE


def _results(path):
    """{id: {quantity: numbers}} from a file."""
    try:
        results = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); expected {{vector id: {{quantity: numbers}}}}") from None
    if not isinstance(results, dict):
        raise ValueError(f"{path} holds a {type(results).__name__}, expected {{vector id: {{quantity: numbers}}}}")
    return results


def _function(target):
    """The function that path.py, module, path.py:function or module:function names; `evaluate` where none is named."""
    function = load_object(target, "THEIRS", "evaluate")
    if not callable(function):
        raise ValueError(f"{target} is no function; expected evaluate(vector) -> {{quantity: array}}")
    return function


def _report(found):
    """A line for each quantity, what differs, what is missing, and the sum of it."""
    lines = [f"  {'quantity':<42} {'agree':>10}  worst, eps x S"]
    groups: dict[str, list] = {}
    for row in found.rows:
        groups.setdefault(row.quantity, []).append(row)
    for quantity, rows in groups.items():
        worst = max(rows, key=lambda row: row.error)
        agree = f"{sum(not row.fault for row in rows)} of {len(rows)}"
        lines.append(f"  {quantity:<42} {agree:>10}  {_size(worst.error):<9} {worst.id}")
    for row in found.faults[:SHOWN]:
        lines.append(
            f"DIFFERS {row.id} {row.quantity} {row.fault} ({_size(row.error)} eps x S, {row.dtype or 'no dtype'})"
        )
    if len(found.faults) > SHOWN:
        lines.append(f"and {len(found.faults) - SHOWN} more")
    if found.missing:
        lines.append("missing: " + ", ".join(f"{name} ({count})" for name, count in found.missing.items()))
    dtypes = sorted({row.dtype for row in found.rows if row.dtype})
    if not all(name.endswith("float64") for name in dtypes):
        lines.append(f"what came back is {', '.join(dtypes)}: errors in units of the eps of each")
    worst = max(found.rows, key=lambda row: row.error)
    lines.append(
        f"{len(found.rows) - len(found.faults)} of {len(found.rows)} agree to {found.limit:g} eps x S; "
        f"worst {_size(worst.error)}: {worst.id} {worst.quantity}"
    )
    tails = sum("tail" in row.flags for row in found.faults)
    if tails:
        lines.append(
            f"{tails} of the {len(found.faults)} that differ are flagged tail: units so far out that 1 - tanh^2 and its like "
            f"keep no digit; --without tail leaves them out"
        )
    return "\n".join(lines)


def _size(error):
    return f"{error:.3g}"


def _record(found):
    """For machines: the same; an error that is infinite is null."""
    rows = [asdict(row) | {"error": row.error if math.isfinite(row.error) else None} for row in found.rows]
    return {
        "schema": "numpyscore-compare/1",
        "vectors": SCHEMA,
        "limit": found.limit,
        "agree": len(found.rows) - len(found.faults),
        "compared": len(found.rows),
        "missing": found.missing,
        "rows": rows,
    }
