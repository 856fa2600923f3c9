"""A student's folder: lesson files written, read back as cells, run cell by cell, and judged.

A lesson is a script of `# %%` cells, which VS Code and Jupytext show as a notebook, or an .ipynb. Each cell is compiled and run by itself, so
that a broken one spoils its own exercise only.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..common.files import write_whole
from . import LESSONS
from .exercise import Exercise, Lesson
from .judge import Judgement, guarded, judge, raised

MARK = "# Counterexample: run this cell"  # a cell that begins so is the student's to run, and is not run for judging


class Cell(NamedTuple):
    """kind : "markdown" or "code". text : what is in it. name : where it stands, for messages. line : lines of the file above it."""

    kind: str
    text: str
    name: str = ""
    line: int = 0


class Result(NamedTuple):
    """An exercise, the file its answer is in, the judgement, and what is wrong in a cell of the file that holds no exercise."""

    lesson: Lesson
    exercise: Exercise
    path: Path
    judgement: Judgement
    broken: str = ""


# ------------------------------------------------------------------------------- a lesson as cells


def cells(lesson):
    """The cells of a lesson: what it claims, its exercises, and a counterexample to run."""
    count = len(lesson.exercises)
    head = f"# {lesson.number}. {lesson.title}\n\n{lesson.claim}\n\n$${lesson.equation}$$\n\n"
    head += f"{count} exercises, about {lesson.minutes} minutes. Write code in place of each `...`, save, and run `numpyscore learn`: it says what is wrong, "
    head += f"and what is next; `numpyscore learn hint {lesson.number}.1` helps. x is (n, d): samples are rows, so a sum over dimensions is `np.sum(..., axis=1)`. "
    head += "What a letter means: GLOSSARY.md of the repository."
    found = [Cell("markdown", head), Cell("code", lesson.given)]
    for e in lesson.exercises:
        see = [f'`numpyscore verify --only "{e.step}"`'] if e.step else []
        see += [f"a picture: `numpyscore figures {e.figure} --out .`"] if e.figure else []
        words = f"## {e.key} {e.name}\n\n{e.ask}" + (f"\n\nThe line it belongs to: {'; '.join(see)}" if see else "")
        found += [Cell("markdown", words), Cell("code", e.stub.rstrip())]
    shows, code = lesson.counterexample
    return [*found, Cell("markdown", f"## Counterexample\n\n{shows}"), Cell("code", f"{MARK}\n{code}")]


def as_script(lesson):
    """The text of a lesson's .py file."""
    parts = []
    for cell in cells(lesson):
        if cell.kind == "code":
            parts.append(f"# %%\n{cell.text}\n")
        else:
            parts.append("# %% [markdown]\n" + "".join(f"# {line}".rstrip() + "\n" for line in cell.text.split("\n")))
    return "\n".join(parts)


def as_notebook(lesson):
    """The text of a lesson's .ipynb file."""
    written = []
    for cell in cells(lesson):
        record: dict[str, Any] = {"cell_type": cell.kind, "metadata": {}, "source": cell.text.splitlines(keepends=True)}
        written.append(record | ({"execution_count": None, "outputs": []} if cell.kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": written, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def read(path):
    """The code cells of a lesson file, a script or a notebook.

    Raises
    ------
    ValueError
        If a notebook is no notebook, or the file is not text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} is not UTF-8 text; `numpyscore learn start` in another folder writes the lesson anew"
        ) from None
    if path.suffix == ".ipynb":
        try:
            written = json.loads(text)["cells"]
            return [
                Cell("code", "".join(cell["source"]), f"{path.name}, cell {k}")
                for k, cell in enumerate(written, 1)
                if cell["cell_type"] == "code"
            ]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(
                f"{path} is no notebook (JSON with a list of cells); `numpyscore learn start` in another folder writes it anew"
            ) from None
    found, start, lines = [], 0, text.splitlines()
    marks = [k for k, line in enumerate(lines) if line.startswith("# %%")] + [len(lines)]
    for end in marks:
        if end > start and not (lines[start].startswith("# %%") and "[markdown]" in lines[start]):
            found.append(Cell("code", "\n".join(lines[start:end]), path.name, start))
        start = end
    return found


# ------------------------------------------------------------------------------- a folder of lessons


def path_of(folder, lesson):
    """The file of a lesson in a folder, a script or a notebook; None if there is neither.

    Raises
    ------
    ValueError
        If both are there.
    """
    found = [path for ending in (".py", ".ipynb") if (path := Path(folder) / f"{lesson.file}{ending}").is_file()]
    if len(found) == 2:
        raise ValueError(f"{found[0]} and {found[1].name} are both there; keep the one you work in")
    return found[0] if found else None


def start(folder, notebook=False):
    """Write the lessons that are not in a folder yet; a list of (path, whether it was written). Nothing that is there is touched."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for lesson in LESSONS:
        path = path_of(folder, lesson)
        if new := path is None:
            path = folder / f"{lesson.file}{'.ipynb' if notebook else '.py'}"
            write_whole(path, (as_notebook(lesson) if notebook else as_script(lesson)).encode())
        found.append((path, new))
    return found


def judged(folder):
    """The judgement of every exercise in a folder, in order. Runs the code that is there.

    Raises
    ------
    ValueError
        If no lesson is there.
    """
    paths = {lesson: path_of(folder, lesson) for lesson in LESSONS}
    if not any(paths.values()):
        raise ValueError(
            f"no lesson is in {folder}: `numpyscore learn start {folder}` writes them (lesson_1.py ... lesson_8.py)"
        )
    sys.path.insert(0, str(folder))
    try:
        return [result for lesson, path in paths.items() for result in _lesson(folder, lesson, path)]
    finally:
        sys.path.remove(str(folder))


def _lesson(folder, lesson, path):
    """Every exercise of one file."""
    if path is None:
        gone = Judgement(
            "todo",
            f"{lesson.file}.py is not there: `numpyscore learn start {folder}` writes it, and leaves the others as they are.",
        )
        return [Result(lesson, e, Path(folder) / f"{lesson.file}.py", gone) for e in lesson.exercises]
    space, problems = _run(lesson, read(path))
    names = {e.name for e in lesson.exercises}
    broken = next((said for name, said in problems.items() if name not in names), "")
    results = []
    for e in lesson.exercises:
        if e.name in problems:
            judgement = Judgement("wrong", problems[e.name])
        elif e.name in space:
            judgement = judge(lesson, e, space[e.name])
        elif problems:
            judgement = Judgement("wrong", next(iter(problems.values())))
        else:
            judgement = Judgement(
                "todo",
                f"{e.name} is not in {path.name}: {'def ' + e.name + '(' + e.call + ')' if e.call else e.name + ' = ...'}. {e.ask}",
            )
        if broken and judgement.state == "wrong":  # it may be the reason, and is mended first
            judgement = Judgement("wrong", broken)
        results.append(Result(lesson, e, path, judgement, broken))
    return results


def _run(lesson, found):
    """What the cells define, and exercise (or cell) -> why its cell did not run."""
    space: dict[str, Any] = {"__name__": lesson.file}
    problems: dict[str, str] = {}
    for cell in found:
        if cell.text.removeprefix("# %%\n").startswith(MARK):
            continue
        try:
            with guarded():
                exec(compile("\n" * cell.line + cell.text, cell.name, "exec"), space)
        except BaseException as error:
            said = raised(error)
            defined = [
                e.name
                for e in lesson.exercises
                if re.search(rf"^(def\s+{e.name}\b|{e.name}\s*=)", cell.text, re.MULTILINE)
            ]
            for name in defined or [cell.name]:
                problems.setdefault(name, said)
    return space, problems
