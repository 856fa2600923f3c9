"""`numpyscore figures`: the figures, each claim asserted in numbers before it is drawn."""

import os

from ..common.files import write_whole
from ..display import gallery
from .terminal import DIFFERENCE, FINE, Progress, may_be_written

HELP = "draw the figures, each after asserting its claim"


def arguments(parser):
    """The options of `numpyscore figures`."""
    parser.description = "Draw figures as SVG. Each script first asserts in numbers what its figure claims."
    parser.epilog = "exit codes: 0 drawn, 1 a claim does not hold, 2 usage error or no matplotlib"
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all of them)")
    parser.add_argument("--out", metavar="DIR", help="folder for NAME.svg, made if it is missing")
    parser.add_argument("--list", action="store_true", help="name the figures and what they claim, and stop")


def run(args):
    """Draw; returns the exit code."""
    known = gallery.scripts()
    if args.list:
        for name in known:
            script = gallery.load(name)
            print(f"{name:<20} {script.CHAPTER}  {script.__doc__.partition(chr(10))[0]}")
        return FINE
    for name in args.names:
        gallery.load(name)
    if args.out is None:
        raise ValueError("--out DIR is missing: the folder to put the pictures in")
    if not gallery.drawable():
        raise ValueError(gallery.NO_MATPLOTLIB)
    os.makedirs(args.out, exist_ok=True)
    paths = {name: os.path.join(args.out, f"{name}.svg") for name in args.names or known}
    for path in paths.values():
        may_be_written(path)
    progress, wrong = Progress("drawing"), []
    for name, path in paths.items():
        progress.say(f"drawing {name} ...")
        try:
            write_whole(path, gallery.draw(name).file.encode())
        except AssertionError as error:
            wrong.append(name)
            progress.clear()
            print(f"{name}: its claim does not hold: {' '.join(str(error).split())}")
        else:
            progress.clear()
            print(path)
    return DIFFERENCE if wrong else FINE
