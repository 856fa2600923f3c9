"""The command line: `numpyscore verify`. Results on stdout, progress on stderr; exit codes 0, 1, 2, 3, 130."""

import argparse
import json
import os
import sys
import time
from itertools import groupby

from . import __version__, bench
from .datasets import from_csv
from .derivations import run, selected, studies

FINE, DIFFERENCE, USAGE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 130


class _Parser(argparse.ArgumentParser):
    """One line on stderr for a usage error, not the whole synopsis."""

    def error(self, message):
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser():
    parser = _Parser(
        prog="numpyscore", description="Score matching, verified: the reference implementation in pure NumPy."
    )
    parser.add_argument("--version", action="version", version=f"numpyscore {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="verify the derivation of score matching, line by line",
        description="Both sides of every line of the derivation, with a bound for the gap: on closed-form densities, on "
        "counterexamples, and on data (default: Old Faithful).",
        epilog="exit codes: 0 all as it should be, 1 a difference was found, 2 usage or input error, 3 inconclusive",
    )
    verify.add_argument("data", nargs="?", metavar="DATA.csv", help="numeric columns, with or without a header")
    verify.add_argument("--columns", type=_columns, metavar="A,B", help="columns of DATA.csv, by name or number from 0")
    verify.add_argument("--density", metavar="NAME", help="one closed form instead, by name")
    verify.add_argument("--only", metavar="STEP", help="one step or one chapter, by name")
    verify.add_argument("--json", action="store_true", help="records for machines")
    verify.add_argument("--all", action="store_true", help="a row for every case, not the worst of each step")
    verify.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of networks, samples and training (default 0)"
    )
    verify.set_defaults(action=_verify)
    bench.arguments(
        commands.add_parser("bench", help="exact trace and implicit loss beside the peers that are installed")
    ).set_defaults(action=_bench)
    return parser


def _columns(text):
    return [int(name) if name.lstrip("-").isdecimal() else name for name in text.split(",")]


def _seed(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed; a whole number >= 0 was expected")
    return int(text)


# ------------------------------------------------------------------------------- verify


def _verify(args):
    if args.data is not None and args.density is not None:
        raise ValueError("DATA.csv and --density exclude each other: give the one to be verified")
    if args.data is None and args.columns is not None:
        raise ValueError("--columns needs DATA.csv, the file whose columns these are")
    target = args.data if args.columns is None else from_csv(args.data, columns=args.columns)
    start, verdicts = time.monotonic(), []
    steps = selected(args.only)
    progress = _Progress("training")
    wanted = studies(target, density=args.density, seed=args.seed, progress=progress)
    for title, group in groupby(wanted, key=lambda study: study.title):
        part: list = []
        for study in group:
            progress.clear()
            if not args.json and not part:
                print(_bold(title) + "".join(f"\n  {note}" for note in study.notes))
            progress.say(f"{title} ...")
            part += run(study, steps)
            progress.clear()
        if not args.json:
            print(_table(part, args.all), flush=True)
        verdicts += part
    counts = {
        word: sum(v.word == word for v in verdicts)
        for word in ("holds", "fails as predicted", "DIFFERS", "inconclusive")
    }
    if args.json:
        record = {"schema": "numpyscore-verify/1", "version": __version__, "seed": args.seed, "counts": counts}
        print(json.dumps(record | {"verdicts": [v.to_dict() for v in verdicts]}, indent=1, allow_nan=False))
    else:
        print(
            f"{len(verdicts)} verdicts: {counts['holds']} hold, {counts['fails as predicted']} fail as predicted, "
            f"{counts['DIFFERS']} differ, {counts['inconclusive']} inconclusive. {time.monotonic() - start:.1f} s"
        )
    if not verdicts:
        raise ValueError(f"no step called {args.only!r} applies here")
    if counts["DIFFERS"]:
        return DIFFERENCE
    return INCONCLUSIVE if counts["inconclusive"] else FINE


def _table(verdicts, every):
    """Step, left, right, gap, bound, verdict: every case, or the worst of each step where there are many."""
    lines = [f"  {'step':<37} {'left':>12} {'right':>12} {'gap':>9} {'bound':>8}  verdict"]
    groups: dict[str, list] = {}
    for v in verdicts:
        groups.setdefault(v.step if not every else f"{v.step}/{v.subject}", []).append(v)
    for same in groups.values():
        many = len(same) > 1 and len({v.subject for v in same}) > 2
        for v in [max(same, key=_concern)] if many else same:
            lines.append(f"  {v.step:<37} {v.left:>12.6g} {v.right:>12.6g} {v.gap:>9.1e} {v.bound:>8.0e}  {v.word}")
            if many:
                lines.append(f"    worst of {len(same)} cases: {v.subject}")
            elif len(groups) > 1 and len({w.subject for w in verdicts}) > 1:
                lines.append(f"    {v.subject}")
            if not v.expected or not v.ok:
                lines += [f"    {h}" for h in v.hypotheses if not h.holds]
                if not v.expected:
                    lines.append(f"    gap foreseen: {v.predicted:.12g}, found: {v.gap:.12g}")
            if v.note:
                lines.append(f"    {v.note}")
    return "\n".join(lines)


def _concern(v):
    """Differences first, then what could not be decided, then the largest gap for its bound."""
    return (v.ok is False, v.ok is None, abs(v.gap - v.predicted) / max(v.bound, 1e-300))


# ------------------------------------------------------------------------------- bench


def _bench(args):
    progress = _Progress("bench")
    return DIFFERENCE if bench.command(args, progress.say) else FINE


# ------------------------------------------------------------------------------- the terminal


class _Progress:
    """A line on stderr that rewrites itself, on a terminal only."""

    def __init__(self, what):
        self.what, self.live = what, sys.stderr.isatty()

    def __call__(self, iteration, loss):
        self.say(f"{self.what}: step {iteration}, loss {loss:.4g}")

    def say(self, text):
        if self.live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def clear(self):
        self.say("")


def _bold(text):
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty()
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def main(argv=None):
    """Run the command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        code = args.action(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, a pager or head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        print("numpyscore: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, TypeError, OSError) as error:
        said = " ".join(str(error).split()).removeprefix(f"{args.command}: ")
        print(f"numpyscore {args.command}: {said}", file=sys.stderr)
        return USAGE
