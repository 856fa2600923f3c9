"""`numpyscore sample`: samples of a fitted network, in the units of its data."""

import csv
import io
import json
import sys
import time

import numpy as np

from .. import __version__
from ..common.files import write_whole
from ..common.inputs import count
from ..learning.units import load_with_ladder
from ..sampling.draw import METHODS, draw
from .terminal import FINE, INCONCLUSIVE, MODEL, Progress, file_at, levels, may_be_written, note, seed, whole

HELP = "samples of a fitted network, as a table"
SAID = 4  # columns, in a note
BEYOND = 1.05  # times the largest level learned, or below the least: levels are typed with few digits


def arguments(parser):
    """The options of `numpyscore sample`."""
    parser.description = (
        "Samples of a network that `numpyscore fit` or model.save wrote, in the units of the data it was fitted to: by the "
        "probability flow where it knows noise levels, by annealed chains where it is an energy without, by Langevin else."
    )
    parser.epilog = "exit codes: 0 done, 2 usage or input error, or no proposal accepted, 3 hardly one was accepted, 130 interrupted"
    parser.add_argument("model", metavar="MODEL.npz", help="a network's file, or the folder of a fit; - is stdin")
    parser.add_argument("-n", type=whole, default=1000, metavar="N", help="how many (default 1000)")
    parser.add_argument("--out", metavar="FILE.csv", help="where they go, whole or not at all (default, and -: stdout)")
    parser.add_argument("--method", choices=("auto", *METHODS), default="auto", help="default: what suits the network")
    parser.add_argument("--steps", type=whole, metavar="N", help="levels, or steps at each level: see numpyscore.draw")
    parser.add_argument("--step", type=float, metavar="X", help="size of a Langevin step, in standardised units")
    parser.add_argument(
        "--sigma",
        type=levels,
        metavar="A,B",
        help="noise levels from the largest down, in standardised units (default: the file's)",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="same seed, same samples (default 0)")
    parser.add_argument("--clip", action="store_true", help="put what leaves the range of the rows fitted on its ends")
    parser.add_argument(
        "--round", action="store_true", help="round each column to the values it takes: whole numbers, tenths, ..."
    )
    parser.add_argument("--json", action="store_true", help="a record for machines on stdout; needs --out")


def run(args):
    """Write the samples; returns the exit code."""
    if args.out == "-":
        args.out = None
    if args.json and args.out is None:
        raise ValueError("--json needs --out FILE.csv: without, the samples themselves go to stdout")
    count("sample", "-n", args.n)
    if args.out is not None:
        may_be_written(args.out, [args.model])
    with file_at(args.model, "model.npz", MODEL) as path:
        model, units, ladder = load_with_ladder(path)
    if units.grid is None and (args.clip or args.round):
        raise ValueError(
            f"--{'clip' if args.clip else 'round'} was given, but {args.model} does not hold the columns' ranges, as a file of `numpyscore fit` does"
        )
    start = time.monotonic()
    drawn = _drawn(args, model, units, ladder)
    x, left, notes = _as_asked(args, units, units.to_data(drawn.samples))
    content = table(units.columns, _rows(x) if args.round else x.tolist())
    said = "".join(f"note: {told}\n" for told in [drawn.note] * bool(drawn.note) + notes)
    if args.out is None:
        print(content, end="")
        print(said, end="", file=sys.stderr)
    else:
        write_whole(args.out, content.encode())
        if args.json:
            print(json.dumps(_record(args, model, units, drawn, left), indent=1, allow_nan=False))
        else:
            rate = "" if drawn.acceptance is None else f", {drawn.acceptance.mean():.0%} of the proposals accepted"
            print(f"{args.n} samples by {drawn.method}{rate}; {time.monotonic() - start:.1f} s; wrote {args.out}")
            print(said, end="")
    return INCONCLUSIVE if drawn.stuck else FINE


def _drawn(args, model, units, ladder):
    """The samples, standardised; refused where they are no more than the starts."""
    progress = Progress("sample")
    progress.say(f"{args.n} samples ...")
    try:
        drawn = draw(
            model, args.n, sigmas=noise_levels(model, units, args.sigma), support=units.standard_support,
            ladder=ladder, method=args.method,
            n_steps=args.steps, step=args.step, rng=args.seed,
        )  # fmt: skip
    finally:
        progress.clear()
    if drawn.acceptance is not None and not drawn.acceptance.any():
        raise ValueError("no proposal was accepted: these would be the starts, not samples; take a smaller --step")
    return drawn


def _as_asked(args, units, x):
    """Samples x (n, d) rounded and clipped if so asked; how many leave the range of the rows; notes on that."""
    left, notes = _left(units, x)
    if args.round:
        x = units.grid.rounded(x)
    if args.clip:
        x = units.grid.clipped(x)
    if left and left["rows"]:
        notes[-1] += "; they were put on its ends" if args.clip else "; --clip puts them on its ends"
    return x, left, notes


def _record(args, model, units, drawn, left):
    """What was drawn, for machines."""
    return {
        "schema": "numpyscore-sample/1",
        "version": __version__,
        "model": repr(model),
        "seed": args.seed,
        "n": args.n,
        "columns": list(units.columns),
        "method": drawn.method,
        "acceptance": None if drawn.acceptance is None else float(drawn.acceptance.mean()),
        "note": drawn.note,
        "outside": left,
        "clipped": args.clip,
        "rounded": args.round,
        "out": args.out,
    }


def _rows(x):
    """Rows of rounded numbers, columns of whole ones as integers: 3, not 3.0."""
    whole = (x == np.round(x)).all(axis=0) & (np.abs(x) < 2**53).all(axis=0)
    columns = [
        [int(v) for v in column] if is_whole else column.tolist() for column, is_whole in zip(x.T, whole, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _left(units, x):
    """How many samples x (n, d) leave the range of the rows fitted, in all and by column, and the note that says so; None if it is not known."""
    if units.grid is None:
        return None, []
    outside = units.grid.outside(x)
    by_column = {name: int(k) for name, k in zip(units.columns, outside.sum(axis=0), strict=True) if k}
    rows = int(outside.any(axis=1).sum())
    if not rows:
        return {"rows": 0, "columns": {}}, []
    ends = dict(zip(units.columns, zip(units.grid.low, units.grid.high, strict=True), strict=True))
    most = sorted(by_column, key=lambda name: -by_column[name])[:SAID]
    words = ", ".join(f"{name} {by_column[name]} ({ends[name][0]:g} to {ends[name][1]:g})" for name in most)
    more = f" and {len(by_column) - SAID} columns more" if len(by_column) > SAID else ""
    left = f"{rows} of {len(x)} samples leave the range of the rows fitted: {words}{more}"
    return {"rows": rows, "columns": by_column}, [left]


def noise_levels(model, units, given):
    """The levels asked for, else those of the file; in standardised units."""
    if given is not None and not model.conditional:
        raise ValueError("--sigma was given, but this network does not take a noise level: leave it out")
    sigmas = units.sigma if given is None else given
    if model.conditional and (sigmas is None or np.size(sigmas) < 2):
        raise ValueError("this network takes a noise level: give its largest and its least, --sigma 10,0.01")
    if given is not None and model.conditional and units.sigma is not None:
        _say_beyond(np.asarray(units.sigma), np.asarray(given))
    return sigmas


def _say_beyond(learned, given):
    """A note where levels are asked for that lie outside those learned: there the network's scores are guesses."""
    high, low = float(learned.max()), float(learned.min())
    if given.max() > BEYOND * high or given.min() < low / BEYOND:
        asked = ",".join(f"{sigma:g}" for sigma in given)
        note(
            f"--sigma {asked} goes beyond the levels that the network learned, {high:.3g} to {low:.3g}: its scores there are guesses, and "
            f"so is what is computed from them; --sigma {high:.3g},{low:.3g}, or none, stays within"
        )


def table(names, rows_of_numbers):
    """Columns as CSV with a header; numbers in as many digits as tell them apart."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(names)
    rows.writerows(rows_of_numbers)
    return text.getvalue()
