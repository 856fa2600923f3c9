"""`numpyscore golden`: the reference vectors, written to a folder, or computed again."""

from ..vectors import golden
from .terminal import DIFFERENCE, FINE, Progress, no_stdout

HELP = "write the reference vectors (JSON, 50 digits) to a folder"


def arguments(parser):
    """The options of `numpyscore golden`."""
    parser.description = (
        "Networks, points and what every quantity and objective is there to 50 digits, from a generator that shares nothing "
        "with the package's own passes. README.md, written beside them, says how to read them in any language."
    )
    parser.epilog = "exit codes: 0 written, 1 --regenerate found other bytes than are shipped, 2 usage or input error"
    parser.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--regenerate", action="store_true", help="compute them all again and compare with the shipped ones"
    )


def run(args):
    """Write the files; returns the exit code."""
    no_stdout(args.out)
    shipped, changed = golden.shipped(), []
    files = shipped
    if args.regenerate:
        progress = Progress("golden")
        files = golden.regenerated(lambda case: progress.say(f"computing {case} ..."))
        progress.clear()
        changed = [name for name, content in files.items() if content != shipped.get(name)]
        files = {"README.md": shipped["README.md"]} | files
    golden.write(files, args.out)
    cases, size = sum(name.endswith(".json") for name in files) - 1, sum(map(len, files.values()))
    print(f"{cases} reference vectors ({golden.SCHEMA}, {size / 1e6:.2f} MB) in {args.out}")
    if args.regenerate:
        print(
            f"computed again: {len(changed)} of {cases + 1} files differ from the shipped ones"
            + "".join(f"\n  {name}" for name in changed)
        )
    return DIFFERENCE if changed else FINE
