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
    equations = re.findall(r"^\$\$.+\$\$\n(.*)$", text, re.M)
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
