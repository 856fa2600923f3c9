"""`numpyscore verify`: the derivation of score matching, both sides of every line computed."""

import json
import time
from itertools import groupby

from .. import __version__, derivations
from ..datasets import from_csv
from ..terminal import DIFFERENCE, FINE, INCONCLUSIVE, Progress, bold, columns, seed

HELP = "verify the derivation of score matching, line by line"


def arguments(parser):
    """The options of `numpyscore verify`."""
    parser.description = (
        "Both sides of every line of the derivation, with a bound for the gap: on closed-form densities, on "
        "counterexamples, and on data (default: Old Faithful)."
    )
    parser.epilog = (
        "exit codes: 0 all as it should be, 1 a difference was found, 2 usage or input error, 3 inconclusive"
    )
    parser.add_argument("data", nargs="?", metavar="DATA.csv", help="numeric columns, with or without a header")
    parser.add_argument("--columns", type=columns, metavar="A,B", help="columns of DATA.csv, by name or number from 0")
    parser.add_argument("--density", metavar="NAME", help="one closed form instead, by name")
    parser.add_argument("--only", metavar="STEP", help="one step by name, or one chapter by name or number")
    parser.add_argument("--list", action="store_true", help="name the chapters and steps, and stop")
    parser.add_argument("--json", action="store_true", help="records for machines")
    parser.add_argument("--all", action="store_true", help="a row for every case, not the worst of each step")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of networks, samples and training (default 0)"
    )


def run(args):
    """Print the verdicts; returns the exit code."""
    if args.list:
        return _list(args.json)
    if args.data is not None and args.density is not None:
        raise ValueError("DATA.csv and --density exclude each other: give the one to be verified")
    if args.data is None and args.columns is not None:
        raise ValueError("--columns needs DATA.csv, the file whose columns these are")
    target = args.data if args.columns is None else from_csv(args.data, columns=args.columns)
    start, verdicts = time.monotonic(), []
    steps = derivations.selected(args.only)
    progress = Progress("training")
    wanted = derivations.studies(target, density=args.density, seed=args.seed, progress=progress, steps=steps)
    for title, group in groupby(wanted, key=lambda study: study.title):
        part: list = []
        for study in group:
            progress.clear()
            if not args.json and not part:
                print(bold(title) + "".join(f"\n  {note}" for note in study.notes))
            progress.say(f"{title} ...")
            part += derivations.run(study, steps)
            progress.clear()
        if part and not args.json:
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


def _list(as_json):
    """Every chapter with its steps: lines for any density, examples, counterexamples."""
    fields = ("name", "kind", "equation", "words", "source", "code")
    if as_json:
        chapters = [
            {"number": c.number, "title": c.title, "steps": [{f: getattr(s, f) for f in fields} for s in c.steps]}
            for c in derivations.CHAPTERS
        ]
        print(json.dumps({"schema": "numpyscore-steps/1", "chapters": chapters}, indent=1))
        return FINE
    for chapter in derivations.CHAPTERS:
        print(bold(f"{chapter.number}. {chapter.title}"))
        print("\n".join(f"  {s.name:<52} {s.kind}" for s in chapter.steps))
    return FINE


def _table(verdicts, every):
    """Step, left, right, gap, bound, verdict: every case, or the worst of each step where there are many."""
    wide = max(len(v.step) for v in verdicts)
    lines = [f"  {'step':<{wide}} {'left':>12}    {'right':>12} {'gap':>9} {'bound':>8}  verdict"]
    groups: dict[str, list] = {}
    for v in verdicts:
        groups.setdefault(v.step if not every else f"{v.step}/{v.subject}", []).append(v)
    for same in groups.values():
        many = len(same) > 1 and len({v.subject for v in same}) > 2
        for v in [max(same, key=_concern)] if many else same:
            lines.append(
                f"  {v.step:<{wide}} {v.left:>12.6g} {v.relation:<2} {v.right:>12.6g} {v.gap:>9.1e} {v.bound:>8.0e}  {v.word}"
            )
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
