"""The command line: results on stdout, progress on stderr; exit codes 0, 1, 2, 3, 130."""

import argparse
import os
import re
import sys

from . import __version__
from .commands import bench, check, compare, evaluate, explore, figures, fit, golden, learn, sample, verify
from .commands.terminal import FINE, INTERRUPTED, USAGE

COMMANDS = {
    "verify": verify,
    "learn": learn,
    "explore": explore,
    "fit": fit,
    "sample": sample,
    "evaluate": evaluate,
    "check": check,
    "golden": golden,
    "compare": compare,
    "figures": figures,
    "bench": bench,
}


class _Parser(argparse.ArgumentParser):
    """One line on stderr for a usage error, not the whole synopsis."""

    def error(self, message):
        self.exit(USAGE, f"{self.prog}: {_shortened(message)}; see {self.prog} --help\n")


def _shortened(message):
    """A name of 100,000 characters is not echoed whole."""
    return (
        message
        if len(message) <= 2000
        else f"{message[:800]} [... {len(message) - 1600} characters ...] {message[-800:]}"
    )


def _joined(argv):
    """`--lower -40,-40` as `--lower=-40,-40`: argparse knows negative numbers, but takes a list of them for an option."""
    out: list = []
    for word in map(str, argv):
        option = out and re.fullmatch(r"--[a-z-]+", out[-1])
        if option and re.match(r"-(\.?\d|inf)", word, re.IGNORECASE):
            out[-1] += f"={word}"
        else:
            out.append(word)
    return out


def _parser():
    parser = _Parser(
        prog="numpyscore", description="Score matching, verified: the reference implementation in pure NumPy."
    )
    parser.add_argument("--version", action="version", version=f"numpyscore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.HELP)
        command.arguments(own)
        own.set_defaults(run=command.run)
    return parser


def main(argv=None):
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(_joined(sys.argv[1:] if argv is None else argv))
    try:
        code = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, a pager or head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        print("numpyscore: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MemoryError as error:
        print(
            f"numpyscore {args.command}: out of memory ({error or 'no more to be had'}): ask for less at a time",
            file=sys.stderr,
        )
        return USAGE
    except (ValueError, TypeError, OSError) as error:
        words = getattr(error, "command", "") or str(error)  # of a table, the cure in words of the command line
        said = _shortened(" ".join(words.split()).removeprefix(f"{args.command}: "))
        print(f"numpyscore {args.command}: {said}", file=sys.stderr)
        return USAGE
