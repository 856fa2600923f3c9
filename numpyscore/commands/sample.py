"""`numpyscore sample`: samples of a fitted network, in the units of its data."""

import csv
import io
import json
import time

import numpy as np

from .. import __version__
from ..common.files import write_whole
from ..common.inputs import count
from ..learning.units import load_with_ladder
from ..sampling.draw import METHODS, draw
from .terminal import FINE, Progress, levels, may_be_written, seed

HELP = "samples of a fitted network, as a table"


def arguments(parser):
    """The options of `numpyscore sample`."""
    parser.description = (
        "Samples of a network that `numpyscore fit` or model.save wrote, in the units of the data it was fitted to: by the "
        "probability flow where it knows noise levels, by annealed chains where it is an energy without, by Langevin else."
    )
    parser.epilog = "exit codes: 0 done, 2 usage or input error, 130 interrupted"
    parser.add_argument("model", metavar="MODEL.npz", help="a network's file")
    parser.add_argument("-n", type=int, default=1000, metavar="N", help="how many (default 1000)")
    parser.add_argument("--out", metavar="FILE.csv", help="where they go, whole or not at all (default: stdout)")
    parser.add_argument("--method", choices=("auto", *METHODS), default="auto", help="default: what suits the network")
    parser.add_argument("--steps", type=int, metavar="N", help="levels, or steps at each level: see numpyscore.draw")
    parser.add_argument("--step", type=float, metavar="X", help="size of a Langevin step, in standardised units")
    parser.add_argument(
        "--sigma",
        type=levels,
        metavar="A,B",
        help="noise levels from the largest down, in standardised units (default: the file's)",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="same seed, same samples (default 0)")
    parser.add_argument("--json", action="store_true", help="a record for machines on stdout; needs --out")


def run(args):
    """Write the samples; returns the exit code."""
    if args.json and args.out is None:
        raise ValueError("--json needs --out FILE.csv: without, the samples themselves go to stdout")
    count("sample", "-n", args.n)
    if args.out is not None:
        may_be_written(args.out, [args.model])
    model, units, ladder = load_with_ladder(args.model)
    start, progress = time.monotonic(), Progress("sample")
    progress.say(f"{args.n} samples ...")
    try:
        drawn = draw(
            model, args.n, sigmas=noise_levels(model, units, args.sigma), support=units.standard_support,
            ladder=ladder, method=args.method,
            n_steps=args.steps, step=args.step, rng=args.seed,
        )  # fmt: skip
    finally:
        progress.clear()
    content = table(units.columns, units.to_data(drawn.samples).tolist())
    if args.out is None:
        print(content, end="")
        return FINE
    write_whole(args.out, content.encode())
    rate = None if drawn.acceptance is None else float(drawn.acceptance.mean())
    record = {
        "n": args.n,
        "columns": list(units.columns),
        "method": drawn.method,
        "acceptance": rate,
        "note": drawn.note,
    }
    if args.json:
        head = {"schema": "numpyscore-sample/1", "version": __version__, "model": repr(model), "seed": args.seed}
        print(json.dumps(head | record | {"out": args.out}, indent=1, allow_nan=False))
        return FINE
    said = "" if rate is None else f", {rate:.0%} of the proposals accepted"
    print(f"{args.n} samples by {drawn.method}{said}; {time.monotonic() - start:.1f} s; wrote {args.out}")
    if drawn.note:
        print(f"note: {drawn.note}")
    return FINE


def noise_levels(model, units, given):
    """The levels asked for, else those of the file; in standardised units."""
    if given is not None and not model.conditional:
        raise ValueError("--sigma was given, but this network does not take a noise level: leave it out")
    sigmas = units.sigma if given is None else given
    if model.conditional and (sigmas is None or np.size(sigmas) < 2):
        raise ValueError("this network takes a noise level: give its largest and its least, --sigma 10,0.01")
    return sigmas


def table(names, rows_of_numbers):
    """Columns as CSV with a header; numbers in as many digits as tell them apart."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    rows.writerows(rows_of_numbers)
    return text.getvalue()
