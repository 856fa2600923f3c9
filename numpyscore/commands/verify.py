"""`numpyscore verify`: the derivation of score matching, both sides of every line computed."""

import contextlib
import inspect
import json
import os
import sys
import time
from collections.abc import Iterable
from itertools import groupby

from .. import __version__, derivations
from ..display.report import report, short_report
from ..lessons import EXERCISES
from .loading import load_object
from .terminal import (
    DIFFERENCE,
    FINE,
    INCONCLUSIVE,
    Progress,
    bold,
    may_be_written,
    page_at,
    put,
    read_table,
    refuse_without_data,
    seed,
    table_options,
)

KINDS = {"line": "a line", "example": "an example", "counterexample": "a counterexample"}
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
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA.csv",
        help="numeric columns, with or without a header; - is stdin, a folder the table in it",
    )
    table_options(parser)
    parser.add_argument(
        "--density",
        metavar="NAME",
        help="one closed form by name, or your own: path.py:object (runs that file), a frozen "
        "distribution of scipy.stats among them",
    )
    parser.add_argument(
        "--line",
        metavar="M.py:LINE",
        help="a line of your own, LINE = (left, right), two functions of x (n, d) -> (n,) or of "
        "(x, density, model), or numbers; on closed forms, --density or DATA.csv (runs that file)",
    )
    parser.add_argument("--only", metavar="STEP", help="one step by name, or one chapter by name or number")
    parser.add_argument("--explain", metavar="STEP", help="a step's equation, words, code, figure and lesson, and stop")
    parser.add_argument("--list", action="store_true", help="name the chapters and steps, and stop")
    parser.add_argument("--json", action="store_true", help="records for machines")
    parser.add_argument(
        "--report", metavar="FILE.html", help="a page to read: equations, verdicts, figures, in one file"
    )
    parser.add_argument(
        "--full", action="store_true", help="with --report: every step and every case, not a page for reading"
    )
    parser.add_argument("--all", action="store_true", help="a row for every case, not a line for each chapter")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="of networks, samples and training (default 0)"
    )


def run(args):
    """Print the verdicts; returns the exit code."""
    _apart(args)
    if args.explain is not None:
        return _explain(args.explain)
    if args.list:
        return _list(args.json)
    with contextlib.ExitStack() as stack:
        if args.report == "-":  # the page alone goes to stdout
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        page, code = _verified(args)
    if page is not None:
        put(args.report, page)
    return code


def _verified(args):
    """The page, if one was asked for, and the exit code; prints the verdicts."""
    target = None if args.data is None else read_table(args)
    if args.report is not None:
        page_at(args.report, "--report")
        may_be_written(args.report, [args.data])
    start, verdicts = time.monotonic(), derivations.Verdicts(seed=args.seed)
    progress = Progress("training")
    density = load_object(args.density, "--density") if args.density and ":" in args.density else args.density
    name = None if args.data is None else "stdin" if args.data == "-" else os.path.basename(args.data)
    told = {"name": name, "density": density, "seed": args.seed, "progress": progress}
    wanted: Iterable
    if args.line is None:
        steps = derivations.selected(args.only)
        wanted = derivations.studies(target, steps=steps, **told)
    else:
        study = derivations.line_study(_line(args.line), target, **told)
        steps, wanted = study.steps, [study]
    brief = not (args.all or args.only or args.json or args.line)
    head = "" if args.json else f"{READ}\n{HEAD}" if brief else READ
    for title, group in groupby(wanted, key=lambda study: study.title):
        part = derivations.Verdicts()
        for study in group:
            progress.clear()
            if head:
                print(head)
                head = ""
            if not args.json and not part and not (brief and title in HEADINGS.values()):
                print(bold(title) + "".join(f"\n  {note}" for note in study.notes))
            progress.say(f"{title} ...")
            part.add(study, derivations.run(study, steps))
            progress.clear()
        if part and not args.json:
            print(_by_chapter(part) if brief else part.table(args.all), flush=True)
        verdicts.extend(part)
        verdicts.notes += part.notes
    if not verdicts:
        raise ValueError(f"no step called {args.only!r} applies here")
    if args.json:
        record = {"schema": "numpyscore-verify/1", "version": __version__} | verdicts.to_dict()
        print(json.dumps(record, indent=1, allow_nan=False))
    else:
        print(f"{verdicts.summary} {time.monotonic() - start:.1f} s")
        print(_next(args, verdicts))
    page = None
    if args.report is not None:
        progress.say("drawing the page ...")
        page = (report if args.full else short_report)(verdicts)
        progress.clear()
    if verdicts.counts["DIFFERS"]:
        return page, DIFFERENCE
    return page, INCONCLUSIVE if verdicts.counts["inconclusive"] else FINE


READ = (
    'gap = left - right. "holds": within its bound, of rounding and integration. "fails as predicted": a hypothesis is taken away, and the '
    "gap is what theory foresees."
)


def _apart(args):
    """Refuse options that have no effect beside others."""
    given = {
        name: value for name, value in vars(args).items()
        if value not in (None, False, "auto") and name not in ("command", "run", "own", "quiet", "seed")
    }  # fmt: skip
    if args.seed:
        given["seed"] = args.seed
    alone = {"explain": {"explain"}, "list": {"list", "json"}}
    for name, fine in alone.items():
        if name in given and (beside := sorted(given.keys() - fine)):
            raise ValueError(f"--{name} stands alone: it has no use for {', '.join(map(_option, beside))}")
    pairs = {
        ("data", "density"): "DATA.csv and --density exclude each other: give the one to be verified",
        ("line", "only"): "--only names one of our lines, and --line is yours: give one of them",
        ("line", "report"): "--report is the page of our lines; it does not show --line",
        ("line", "all"): "--all has no effect beside --line, of which every case is shown",
        ("json", "all"): "--all has no effect beside --json, which holds every case",
    }
    for pair, said in pairs.items():
        if given.keys() >= set(pair):
            raise ValueError(said)
    if args.data is None:
        refuse_without_data(args)
    if args.full and args.report is None:
        raise ValueError("--full needs --report FILE.html, the page that it makes longer")


def _option(name):
    return "DATA.csv" if name == "data" else f"--{name.replace('_', '-')}"


def _line(target):
    """The Line that module:name or path.py:name is; `line` where no name is given."""
    return derivations.line_of(load_object(target, "--line", "line"))


def _next(args, verdicts):
    """Where to look next."""
    wrong = [v.step for v in verdicts if v.ok is False]
    if args.line:
        return "Where a gap is a known term, it is named under the line. Our own lines: numpyscore verify --list"
    if wrong:
        return f'Next: what the step says and how it is computed, numpyscore verify --explain "{wrong[0]}"'
    if args.only:
        step = verdicts[0].step if len({v.step for v in verdicts}) == 1 else None
        more = f'What it says: --explain "{step}".' if step else "What a step says: --explain STEP."
        return f"{more} The other chapters: --list. Type it yourself: numpyscore learn start"
    each = "" if args.all else "Each step: --all. "
    return f"{each}One chapter: --only 3. What a step says: --explain STEP. A line of yours: --line mine.py:line. As a page: --report page.html"


HEADINGS = {chapter.title: chapter.heading for chapter in derivations.CHAPTERS}
HEAD = f"{'chapter':<26} steps  hold  fail as predicted   worst gap    bound  at"


def _by_chapter(verdicts):
    """A line for each chapter: steps, verdicts, and the gap nearest to its bound; what is not as it should be in full."""
    lines = []
    for title in dict.fromkeys(v.chapter for v in verdicts):
        same = derivations.Verdicts(v for v in verdicts if v.chapter == title)
        counts, worst = same.counts, same.worst
        lines.append(
            f"{HEADINGS[title]:<26} {len(same.by_step()):>5} {counts['holds']:>5} {counts['fails as predicted']:>18} "
            f"{worst.gap - worst.predicted:>11.1e} {worst.bound:>8.0e}  {worst.step}"
        )
    wrong = derivations.Verdicts(v for v in verdicts if not v.ok)
    return "\n".join([*lines, wrong.table(True)] if wrong else lines)


def _explain(name):
    """What a step says: equation, words, the code that computes both sides, figure, lesson."""
    steps = derivations.selected(name)
    if len(steps) != 1:
        raise ValueError(f"--explain takes one step, {name!r} is a chapter of {len(steps)}; --list names them")
    (step,) = steps
    exercises = [e for _, e in EXERCISES.values() if e.step == step.name]
    figures = dict.fromkeys(e.figure for e in exercises if e.figure)
    lines = [bold(step.name), f"  {KINDS[step.kind]} of chapter {step.chapter.heading}", "", f"  {step.equation}", ""]
    lines += [f"  {line}".rstrip() for line in step.words.split("\n")]
    lines += [
        "",
        f"  {step.code}:",
        *(f"    {line}".rstrip() for line in inspect.getsource(step.sides).split("\n")[:40]),
    ]
    lines += [f"  source: {step.source}"]
    lines += [f"  figure: numpyscore figures {' '.join(figures)} --out DIR"] if figures else []
    lines += [f"  lesson: {', '.join(f'{e.key} {e.name}' for e in exercises)} (numpyscore learn)"] if exercises else []
    print("\n".join([*lines, f'  computed: numpyscore verify --only "{step.name}"']))
    return FINE


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
        print(bold(chapter.heading))
        print("\n".join(f"  {s.name:<52} {s.kind}" for s in chapter.steps))
    return FINE
