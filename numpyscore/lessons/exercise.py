"""What an exercise and a lesson are: data. Wrong answers are code as a student would type it, each with its hint."""

import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Exercise:
    """A function or a number that a student writes.

    name : what is defined. ask : what is asked, in a sentence or two. call : the function's arguments; empty for a number. gives : shapes
    in and out. solution : an expression, or the function's body. wrong : code -> the hint it gets. inputs : rng -> arguments on which
    answers are compared; generic, so that only the right formula is right. terms : name -> expression; what matches no wrong answer is
    written as a sum of these. check : their function -> CheckReport, for what that does not explain. given : code above the stub.
    forms : other ways to write the solution, of which a mistake may be one edit away.
    step : the line of `verify`. figure : the picture. rtol : how far an answer may be off; less where a difference quotient would pass.
    """

    name: str
    ask: str
    solution: str
    wrong: dict[str, str]
    call: str = ""
    gives: str = ""
    inputs: Callable[..., tuple] | None = None
    terms: dict[str, str] = field(default_factory=dict)
    forms: tuple[str, ...] = ()
    check: Callable[..., Any] | None = None
    given: str = ""
    step: str = ""
    figure: str = ""
    rtol: float = 1e-7
    key: str = ""

    def code(self, answer):
        """The cell in which `answer`, an expression or a body, stands as the student's answer."""
        if not self.call:
            return f"{self.name} = {answer}\n"
        body = answer if "return" in answer or answer == "..." else f"return {answer}"
        doc = f'    """{self.gives}"""\n' if self.gives else ""
        return f"def {self.name}({self.call}):\n{doc}{textwrap.indent(body.strip(), '    ')}\n"

    @property
    def stub(self):
        """The cell as the student finds it."""
        return (self.given.strip() + "\n\n\n" if self.given else "") + self.code("...")


@dataclass(frozen=True, eq=False)
class Lesson:
    """A chapter: its claim in one sentence, its equation (TeX), its exercises, and a counterexample to run at the end.

    given : code that every exercise finds: the first cell. minutes : how long it takes. counterexample : (what it shows, code).
    """

    number: int
    title: str
    minutes: int
    claim: str
    equation: str
    exercises: tuple[Exercise, ...]
    counterexample: tuple[str, str]
    given: str = "import numpy as np"

    @property
    def file(self):
        """The name of its file, without the ending."""
        return f"lesson_{self.number}"

    def answers(self, exercise, answer):
        """What `answer` defines, run as a student's file would run it."""
        space: dict[str, Any] = {"__name__": self.file}
        with warnings.catch_warnings():  # an edited answer may call a number: that is an error soon enough
            warnings.simplefilter("ignore", SyntaxWarning)
            code = compile(f"{self.given}\n{exercise.given}\n{exercise.code(answer)}", f"<{exercise.key}>", "exec")
        exec(code, space)
        return space[exercise.name]


def numbered(lesson):
    """A lesson whose exercises carry their keys: 2.1, 2.2, ..."""
    from dataclasses import replace

    exercises = (replace(e, key=f"{lesson.number}.{k}") for k, e in enumerate(lesson.exercises, 1))
    return replace(lesson, exercises=tuple(exercises))


def points(rng, n=7, d=3):
    """n generic points (n, d), neither centred nor of unit size."""
    return rng.normal(size=(n, d)) * 1.3 + [0.4, -0.7, 0.2, 0.9, -0.3][:d]


def slip(lines, wrong_line, hints):
    """(question, solution, wrong answers) of "which is the first line that does not follow?"."""
    text = "\n".join(f"    {k}. {line}" for k, line in enumerate(lines, 1))
    ask = f"Somebody derives\n\n{text}\n\nWhich is the first line that does not follow? A line's number."
    return ask, str(wrong_line), {str(k): hint for k, hint in hints.items()}


def equal(a, b, rtol=1e-7):
    """Whether two answers are the same numbers of the same shape; infinities match themselves."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    scale = np.max(np.abs(b[np.isfinite(b)]), initial=1e-6)
    return bool(np.allclose(a, b, rtol=rtol, atol=rtol * scale * 1e-2))
