"""`numpyscore explore`: a page with sliders that needs no network."""

import os
import sys

from ..display.explore import explore
from ..learning.columns import left_out
from .terminal import FINE, may_be_written, page_at, put, read_table, refuse_without_data, table_options

HELP = "write a page with sliders, in one file that needs no network"


def arguments(parser):
    """The options of `numpyscore explore`."""
    parser.description = (
        "Four panels: the wall where integration by parts fails, noise and flow on data (default: Old Faithful), the two terms as forces, "
        "Langevin's step."
    )
    parser.epilog = "exit codes: 0 written, 2 usage or input error"
    parser.add_argument(
        "data", nargs="?", metavar="DATA.csv", help="two numeric columns for the panel of noise and flow"
    )
    table_options(parser, "which two columns, by name or number from 0")
    parser.add_argument("--out", required=True, metavar="FILE.html", help="the page")


def run(args):
    """Write the page; returns the exit code."""
    if args.data is None:
        refuse_without_data(args)
    page_at(args.out, "--out")
    may_be_written(args.out, [args.data])
    notes: list = []
    if args.data is None:
        page = explore()
    else:
        table = read_table(args)
        x, notes = table.x, left_out(table.dropped)
        if x.shape[1] != 2:
            raise ValueError(
                f"{args.data} has {x.shape[1]} numeric column(s), two were expected: choose them with --columns A,B"
            )
        page = explore(x, os.path.basename(args.data))
    put(args.out, page)
    if args.out != "-":
        print(args.out)
    print("".join(f"note: {note}\n" for note in notes), end="", file=sys.stderr)
    return FINE
