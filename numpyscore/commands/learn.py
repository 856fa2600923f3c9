"""`numpyscore learn`: the course, eight lessons that a student types himself, each answer judged."""

import json
import sys
from itertools import groupby
from pathlib import Path

from ..common.names import nearest
from ..lessons import EXERCISES, folder
from .terminal import DIFFERENCE, FINE, bold, note, program

HELP = "the course: exercises whose answers are judged"
FOLDER = "score-matching-lessons"
MARKS = {"done": "✓", "todo": "·", "wrong": "✗"}
PLAIN = {"done": "+", "todo": ".", "wrong": "x"}  # where the terminal has no such letters
VERBS = ("start", "hint", "solution")
NOUNS = {"todo": "next", "wrong": "not yet"}


def arguments(parser):
    """The options of `numpyscore learn`."""
    parser.description = (
        "Score matching from the first equation to the last, in eight lessons. `learn start` writes the lesson files, `learn` judges what is "
        "in them (it runs that code) and names the first thing to do."
    )
    parser.usage = (
        "numpyscore learn [DIR] [--json] | learn start [DIR] [--notebook] | learn hint KEY | learn solution KEY"
    )
    parser.epilog = "exit codes: 0 all exercises are done, 1 not all yet, 2 usage or input error"
    parser.add_argument(
        "words", nargs="*", metavar="WHAT", help=f"start, hint, solution, or the folder to judge (default: {FOLDER})"
    )
    parser.add_argument("--notebook", action="store_true", help="with start: write .ipynb files")
    parser.add_argument("--json", action="store_true", help="the judgement of every exercise, for machines")


def run(args):
    """Write, judge, hint or solve; returns the exit code."""
    verb, *rest = args.words or [""]
    if verb not in VERBS:
        verb, rest = "judge", args.words
    if args.notebook and verb != "start":
        raise ValueError("--notebook belongs to `learn start`, which writes the files")
    if args.json and verb != "judge":
        raise ValueError(f"--json belongs to `learn [DIR]`, the judgement; `learn {verb}` prints text")
    if len(rest) > 1 and verb == "judge":
        raise ValueError(
            f"{rest[0]!r} is no word of learn; start, hint, solution or one folder was expected{nearest(rest[0], VERBS)}"
        )
    if len(rest) > 1:
        raise ValueError(f"one word after {verb!r} was expected, {len(rest)} came: {' '.join(rest)}")
    if verb in ("hint", "solution"):
        return _tell(verb, rest)
    where = rest[0] if rest else _here(verb)
    return _start(where, args.notebook) if verb == "start" else _judge(where, args.json)


def _here(verb):
    """The folder where none is named: the present one if lessons are in it, else FOLDER."""
    return "." if verb == "judge" and not Path(FOLDER).is_dir() and any(Path().glob("lesson_[1-8].*")) else FOLDER


def _start(where, notebook):
    """Write what is missing."""
    for path, new in folder.start(where, notebook):
        print(path if new else f"{path} is there and is left as it is")
    print(f"Begin with {where}/lesson_1, then: {program()} learn{'' if where == FOLDER else ' ' + str(where)}")
    return FINE


def _judge(where, as_json):
    """One line a lesson, then the first thing to do."""
    if not Path(where).exists() and (near := nearest(str(where), VERBS)):
        raise ValueError(f"{where!r} is no folder and no word of learn{near}")
    results = folder.judged(where)
    done = sum(r.judgement.state == "done" for r in results)
    if as_json:
        print(json.dumps(_record(where, results, done), indent=1, ensure_ascii=False))
        return FINE if done == len(results) else DIFFERENCE
    marks = MARKS if _prints(MARKS["done"]) else PLAIN
    for lesson, group in groupby(results, key=lambda r: r.lesson):
        states = [r.judgement.state for r in group]
        row = " ".join(marks[state] for state in states)
        print(f"{lesson.number}. {lesson.title:<24} {row:<28} {states.count('done'):>2} of {len(states)}")
    print(f"\n{done} of {len(results)} done")
    first = next((r for r in results if r.judgement.state != "done"), None)
    told = first.judgement.said if first else ""
    for path, broken in {r.path: r.broken for r in results if r.broken and r.broken != told}.items():
        note(f"{path}: {broken}")
    if first is None:
        print("The whole course is done: every line from the energy back to samples is yours.")
        return FINE
    e = first.exercise
    print(
        f"\n{bold(f'{NOUNS[first.judgement.state]}: {e.key} {e.name}')}   ({first.path})\n{_indented(first.judgement.said)}"
    )
    if first.judgement.state == "wrong" and e.step:
        print(f'  the line it belongs to: {program()} verify --only "{e.step}"')
    return DIFFERENCE


def _record(where, results, done):
    """What --json prints."""
    exercises = [
        {"key": r.exercise.key, "name": r.exercise.name, "lesson": r.lesson.title, "file": str(r.path)}
        | {"state": r.judgement.state, "said": r.judgement.said, "named": r.judgement.named}
        for r in results
    ]
    return {
        "schema": "numpyscore-learn/1",
        "folder": str(where),
        "done": done,
        "of": len(results),
        "exercises": exercises,
    }


def _tell(verb, rest):
    """What people get wrong in an exercise, or its solution."""
    if not rest or rest[0] not in EXERCISES:
        given = f"{rest[0]!r} is no exercise" if rest else "the exercise is missing"
        raise ValueError(f"{given}; expected a key such as 2.1, of {', '.join(f'{k}.1-{k}.{n}' for k, n in _counts())}")
    _, e = EXERCISES[rest[0]]
    if verb == "hint":
        print(f"{bold(f'{e.key} {e.name}')}\n{_indented(e.ask)}\n\nWhat people get wrong:")
        print("\n".join(f"- {hint}" for hint in e.wrong.values()))
    else:
        print(f"{e.given}\n\n\n{e.code(e.solution)}".lstrip(), end="")
    return FINE


def _counts():
    """(lesson, number of exercises) of all."""
    return [(n, len([*group])) for n, group in groupby(key.partition(".")[0] for key in EXERCISES)]


def _indented(text):
    return "\n".join(f"  {line}".rstrip() for line in text.split("\n"))


def _prints(letter):
    """Whether stdout can show a letter."""
    try:
        letter.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
