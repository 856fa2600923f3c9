"""The command line: results on stdout, progress on stderr; exit codes 0, 1, 2, 3, 130."""

import argparse
import errno
import importlib
import os
import re
import sys

from .common.names import nearest, shortened

COMMANDS = (
    "verify",
    "learn",
    "explore",
    "fit",
    "sample",
    "evaluate",
    "check",
    "golden",
    "compare",
    "figures",
    "bench",
)
FINE, USAGE, INTERRUPTED = 0, 2, 130  # as in commands.terminal, which is loaded later


class _Parser(argparse.ArgumentParser):
    """One line on stderr for a usage error, not the whole synopsis."""

    def error(self, message):
        choice = re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", message)
        near = nearest(choice[1], re.findall(r"[\w.-]+", choice[2])) if choice else ""
        self.exit(USAGE, f"{self.prog}: {shortened(message)}{near}; see {self.prog} --help\n")


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
    from . import __version__

    parser = _Parser(
        prog="numpyscore", description="Score matching, verified: the reference implementation in pure NumPy."
    )
    parser.add_argument("--version", action="version", version=f"numpyscore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = importlib.import_module(f".commands.{name}", __package__)
        own = commands.add_parser(name, help=command.HELP)
        command.arguments(own)
        if hasattr(command, "Progress"):
            own.add_argument("--quiet", action="store_true", help="no progress on stderr")
        own.set_defaults(run=command.run, own=own)
    return parser


def _arguments(argv):
    """What was asked for; an option that is not known is told with the nearest one."""
    args, unknown = _parser().parse_known_args(_joined(argv))
    if unknown:
        options = re.findall(r"--[a-z-]+", args.own.format_help())
        near = next((q for word in unknown if (q := nearest(word.partition("=")[0], options))), "")
        args.own.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
    return args


def main(argv=None):
    """Run the command line; returns the exit code."""
    try:
        args = _arguments(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # during the imports
        return _interrupted()
    from .commands.terminal import Progress

    Progress.quiet = getattr(args, "quiet", False)
    try:
        code = args.run(args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, a pager or head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        return _interrupted()
    except MemoryError as error:
        print(
            f"numpyscore {args.command}: out of memory ({error or 'no more to be had'}): ask for less at a time",
            file=sys.stderr,
        )
        return USAGE
    except (ValueError, TypeError, OSError) as error:
        words = getattr(error, "command", "") or _of_system(error)  # of a table, the cure in words of the command line
        said = shortened(" ".join(words.split()).removeprefix(f"{args.command}: "))
        print(f"numpyscore {args.command}: {said}", file=sys.stderr)
        return USAGE
    finally:
        Progress.speaking = None


def _of_system(error):
    """An error in words: those of the system, which speak of an errno, as the house's."""
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return str(error)
    cures = {
        errno.ENOENT: "there is no such file; check its name and its folder",
        errno.EEXIST: "it is a file, and a folder was expected; name another",
        errno.ENOTDIR: "a folder was expected in its path, and a file is there; name another",
        errno.EISDIR: "it is a folder, and a file was expected; name one",
        errno.EACCES: "it may not be read or written; change its mode, or name another",
    }
    return f"{os.fsdecode(error.filename)}: {cures.get(error.errno, error.strerror)}"


def _interrupted():
    print("numpyscore: interrupted", file=sys.stderr)
    return INTERRUPTED
