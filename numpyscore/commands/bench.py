"""`numpyscore bench`: exact trace and gradient beside the peers that are installed."""

import json
from typing import Any

from ..vectors import bench, contenders
from .terminal import DIFFERENCE, FINE, Progress, whole

HELP = "exact trace and implicit loss beside the peers that are installed"


def arguments(parser):
    """The options of `numpyscore bench`."""
    parser.description = (
        "Exact trace and implicit loss with gradient of energy networks: ours, and the installed peers."
    )
    parser.epilog = "exit codes: 0 measured, 1 a contender's numbers disagree with ours, 2 usage error"
    parser.add_argument(
        "--peers", metavar="A,B", help=f"of {', '.join(contenders.PEERS)}, or none (default: all installed)"
    )
    parser.add_argument(
        "--case", action="append", metavar="NAME", help=f"such as {contenders.CASES[0].name}; may be given again"
    )
    parser.add_argument("--rounds", type=whole, default=5, metavar="N", help="turns of each contender (default 5)")
    parser.add_argument("--limit", type=float, default=180.0, metavar="S", help="seconds to wait for an answer (180)")
    parser.add_argument("--curve", action="store_true", help="the trace's cost in d = 2 ... 12288 (default: no peers)")
    parser.add_argument("--json", action="store_true", help="a record for machines")


def run(args):
    """Print the measurements; returns the exit code."""
    say = Progress("bench").say
    asked = args.peers or ("none" if args.curve else None)
    peers = asked and [name.strip() for name in asked.split(",") if asked != "none"]

    def each(case):
        say("")
        if not args.json:
            print(bench.table(case), end="\n\n", flush=True)

    cases, quantities = (
        (contenders.CURVE, ("trace",)) if args.curve else (contenders.CASES, tuple(contenders.QUANTITIES))
    )
    options: dict[str, Any] = {"peers": peers, "rounds": args.rounds, "limit": args.limit, "quantities": quantities}
    record = bench.bench(args.case or cases, each=each, say=say, **options)
    if args.curve:
        record["curve"] = bench.curve(record)
    print(json.dumps(record, indent=1, allow_nan=False) if args.json else bench.summary(record))
    differs = any(row["status"] == "disagrees" for case in record["cases"] for row in case["rows"])
    return DIFFERENCE if differs else FINE
