"""README keeps its word: its code runs, every displayed equation names a function and a test that exist."""

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parent.parent / "README.md"
TESTS = Path(__file__).parent


def problems(text):
    """What is wrong with the equation lines of a text: one line behind each displayed equation, with names that exist."""
    found = []
    equations = re.findall(r"^```math\n.+\n```\n(.*)$", text, re.M)
    for line in equations:
        match = re.fullmatch(r"code `([\w.]+)` · test `(\w+\.py)::(\w+)` · .+", line)
        if not match:
            found.append(f"no code, test and source behind an equation: {line!r}")
            continue
        code, file, test = match.groups()
        module, name = code.rsplit(".", 1)
        if not hasattr(importlib.import_module(f"numpyscore.{module}"), name):
            found.append(f"{code} is gone")
        if not any(f"def {test}(" in path.read_text() for path in TESTS.rglob(file)):
            found.append(f"{file}::{test} is gone")
    return found if equations else ["no displayed equation"]


def test_each_displayed_equation_points_at_its_function_and_its_test():
    assert problems(README.read_text()) == []


@pytest.mark.parametrize(
    "old, new",
    [("score.normaliser", "score.normalizer"), ("test_derivations.py::test_", "test_derivations.py::best_")],
)
def test_the_reader_of_equations_notices_a_name_that_is_gone(old, new):
    assert problems(README.read_text().replace(old, new)) != []


def test_the_code_of_the_readme_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, str(README), "exec"), {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_code_for_a_framework_runs_where_it_is_installed(framework):
    pytest.importorskip(framework)
    blocks = re.findall(rf"^```python {framework}\n(.*?)^```", README.read_text(), re.M | re.S)
    assert blocks
    with np.errstate(all="ignore"):
        for block in blocks:
            exec(compile(block, str(README), "exec"), {})


def test_the_two_commands_are_where_ci_looks_for_them():
    text = README.read_text()
    for heading in ("Install it and run the main job", "Install it and run the tests:"):
        assert re.search(rf"^{heading}.*\n\n```sh\npython3 -m venv ", text, re.M), heading


# ------------------------------------------------------------------------------- the glossary

GLOSSARY = README.with_name("GLOSSARY.md")
WORDS = r"\\(text|mathrm|operatorname|rm)\s*\{[^}]*\}"
SHAPES = re.compile(  # commands that arrange or relate, and are no symbols
    r"approx|bar|dot|begin|big|Big|bigl|bigr|cdots?|dim|end|exp|frac|ge|hat|inf|infty|in|int|iint|ldots|le|left|leftarrow|lim|log|mapsto|max|middle|min|ne|"
    r"not|oint|overline|prime|qquad|quad|right|Rightarrow|sim|sqrt|sum|textstyle|tfrac|tilde|times|to|top|cup|cap|text|mathrm|operatorname|rm"
)


def symbols(tex):
    """Letters and Greek letters of an equation, and the names of operators set upright."""
    upright = set(re.findall(r"\\(?:mathrm|operatorname)\{(KL|Var|Cov|tr)\}", tex))
    commands = set(re.findall(r"\\([A-Za-z]+)", re.sub(WORDS, " ", tex)))
    letters = set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", re.sub(WORDS, " ", tex))))
    return upright | {name for name in commands if not SHAPES.fullmatch(name)} | letters


def explained():
    """The symbols of the glossary's first column."""
    rows = [line.split(" | ")[0] for line in GLOSSARY.read_text().splitlines() if line.startswith("| $")]
    return set().union(*(symbols(tex) for row in rows for tex in re.findall(r"\$([^$]+)\$", row)))


def test_every_symbol_of_a_displayed_equation_is_in_the_glossary():
    from numpyscore.derivations import STEPS
    from numpyscore.lessons import LESSONS

    equations = [(step.name, step.equation) for step in STEPS] + [(lesson.title, lesson.equation) for lesson in LESSONS]
    equations += [("README", tex) for tex in re.findall(r"^```math\n(.+)\n```$", README.read_text(), re.M)]
    known = explained()
    missing = {(name, symbol) for name, tex in equations for symbol in symbols(tex) - known}
    assert not missing, sorted(missing)


def test_the_glossary_test_notices_a_symbol_that_nobody_explains():
    assert symbols(r"E[s_0 \cdot s] = \Xi - \mathrm{tr}\,J \text{ if any}") - explained() == {"Xi"}


def test_every_row_of_the_glossary_has_all_its_columns():
    rows = [line for line in GLOSSARY.read_text().splitlines() if line.startswith("| $")]
    assert len(rows) > 40 and {line.count("|") for line in rows} == {6}


def several_meanings():
    """Rows of one symbol that give two shapes or two units."""
    rows = [line.split(" | ") for line in GLOSSARY.read_text().splitlines() if line.startswith("| $")]
    return [row[0] for row in rows if row[0].count("$") == 2 and ";" in row[2] + row[3]]


def test_a_letter_with_two_meanings_has_two_rows_and_what_lessons_write_is_explained():
    text = GLOSSARY.read_text()
    assert not several_meanings()
    for symbol in ("n", "I", "D", "T", "v", r"\tau"):
        assert sum(f"${symbol}$" in line.split(" | ")[0] for line in text.splitlines()) >= 2, symbol
    for words in ("`[p s]`", "x~", "Stein kernel"):
        assert words in text


def test_the_pictures_and_figures_that_the_readme_names_are_there():
    text = README.read_text()
    pictures = re.findall(r"\((figures/\w+\.(?:svg|png))\)|src=\"(figures/\w+\.(?:svg|png))\"", text)
    named = {a or b for a, b in pictures}
    assert len(named) >= 4 and all((README.parent / name).is_file() for name in named)
    first = text[: text.index("## ")]
    assert 'src="figures/' in first and text[: text.index("figures/")].count("\n") < 15, (
        "the first screen has a picture"
    )


def test_the_readme_counts_the_exercises_and_an_hour_is_an_hour():
    from numpyscore.lessons import EXERCISES, LESSONS

    text = README.read_text()
    wrong = sum(len(e.wrong) for _, e in EXERCISES.values())
    assert f"{len(EXERCISES)} exercises, and {wrong} wrong answers" in text
    rows = re.findall(r"^\| (\d)\. (.+?) \| (\d+) \| `verify --only \d`", text, re.M)
    assert [(int(a), b, int(c)) for a, b, c in rows] == [(x.number, x.title, x.minutes) for x in LESSONS]
