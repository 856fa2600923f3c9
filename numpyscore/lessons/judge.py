"""How an answer is judged: equal to the solution, or a mistake that is known, or one that its numbers give away.

In this order: the wrong answers listed with the exercise; what can be read off the numbers (a sign, a factor, a shape, a mean in place of a
sum, another combination of the same terms); numpyscore's own checks. What none of them names is told where it differs.
"""

import contextlib
import copy
import difflib
import dis
import io
import itertools
import signal
import sys
import threading
import traceback
import warnings
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from . import EXERCISES
from .edits import edits
from .exercise import Exercise, Lesson, equal

LIMIT = 3.0  # seconds an answer may take on all its inputs
DRAWS = 9  # inputs that an answer is tried on
CLOSE = 2e-4  # a number typed by hand has four digits at least
NEARLY = 1e-3  # relatively: what is so near the right answer is an approximation of it
APPROXIMATE = "Right to three digits or more, and not exactly: an approximation, such as a difference quotient with a step. The answer asked for is the formula, by hand."
FACTORS = {
    -1: "minus", 2: "twice", 0.5: "half of", -2: "minus twice", -0.5: "minus half of", 4: "four times", 0.25: "a quarter of",
    np.pi: "pi times", 2 * np.pi: "2 pi times", 1 / np.log(10): "1/ln 10 times (a logarithm to base 10)", 1 / np.log(2): "1/ln 2 times",
    np.sqrt(2): "sqrt 2 times", np.sqrt(0.5): "1/sqrt 2 times",
}  # fmt: skip


class Judgement(NamedTuple):
    """state : "done", "todo" or "wrong". said : what is to be done, or what is wrong. named : whether the mistake has a name."""

    state: str
    said: str = ""
    named: bool = True


class OutOfTime(BaseException):
    """Raised into an answer that does not come to an end; no `except Exception` of the answer's own catches it."""


@contextlib.contextmanager
def guarded(limit=LIMIT):
    """Run somebody's code: its prints are kept from the page, its warnings are silent, and it has `limit` seconds.

    The limit needs a POSIX timer and the main thread; elsewhere there is none.
    """
    timed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()

    def stop(number, frame):
        raise OutOfTime

    old = signal.signal(signal.SIGALRM, stop) if timed else None
    stdin, sys.stdin = sys.stdin, io.StringIO()
    try:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, limit, 0.2)  # again, should a bare `except:` swallow it
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            np.errstate(all="ignore"),
        ):
            yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
        sys.stdin = stdin


def judge(lesson: Lesson, exercise: Exercise, answer):
    """The judgement of an answer, a function or a number; None and ... are one that is still to be written."""
    if answer is None or answer is Ellipsis:
        return Judgement("todo", exercise.ask)
    if not exercise.call:
        return _number(lesson, exercise, answer)
    if not callable(answer):
        return Judgement("wrong", f"{exercise.name} is {_kind(answer)}; a function of ({exercise.call}) was asked.")
    draws = inputs(exercise)
    try:
        with guarded():
            found, changed = [], False
            for given in draws:
                own = copy.deepcopy(given)
                found.append(answer(*own))
                changed = changed or not all(_same(a, b) for a, b in zip(own, given, strict=True))
            again = answer(*copy.deepcopy(draws[0]))
    except BaseException as error:
        return Judgement("wrong", raised(error, exercise))
    if any(value is None or value is Ellipsis for value in found):
        if _empty(answer):
            return Judgement("todo", exercise.ask)
        return Judgement("wrong", f"{exercise.name} returns nothing: its last line needs `return`.")
    if changed:
        return Judgement(
            "wrong",
            "It changes its arguments in place (x -= ..., x[...] = ...): work on a copy. The caller's data would be spoilt.",
        )
    try:
        got = [_numbers(value) for value in found]
    except (TypeError, ValueError):
        return Judgement(
            "wrong", f"It returned {_kind(found[0])}; numbers of shape {right(exercise)[0].shape} were expected."
        )
    if all(equal(a, b, exercise.rtol) for a, b in zip(got, right(exercise), strict=True)):
        return Judgement("done")
    if not np.array_equal(got[0], np.asarray(again, float), equal_nan=True):
        return Judgement(
            "wrong",
            "It gives another answer each time: it draws numbers of its own. Use the noise or the probes that it is given.",
        )
    for hint, values in known(exercise).items():
        if all(map(equal, got, values)):
            return Judgement("wrong", hint)
    if _xors(answer):
        return Judgement("wrong", POWER)
    if all(equal(a, b, NEARLY) for a, b in zip(got, right(exercise), strict=True)):
        return Judgement("wrong", APPROXIMATE)
    if said := _shapes(exercise, got) or _likeness(exercise, got) or _twice_wrong(exercise, got):
        return Judgement("wrong", said)
    if said := _edited(lesson, exercise, got) or _power_law(exercise, got) or _explodes(exercise, got):
        return Judgement("wrong", said)
    if exercise.check is not None and (said := _checked(exercise, answer)):
        return Judgement("wrong", said, not said.startswith(("Unknown", "Different")))
    return _unnamed(exercise, got)


# ------------------------------------------------------------------------------- what is expected


@cache
def _draws(key, n):
    """n inputs of an exercise, the same every time."""
    exercise = EXERCISES[key][1]
    return [exercise.inputs(np.random.default_rng([7, k])) for k in range(n)] if exercise.inputs else [()]


def inputs(exercise, n=DRAWS):
    """n argument tuples on which answers are compared."""
    return _draws(exercise.key, n)


def _values(lesson, exercise, code, n=DRAWS):
    """What `code` gives on the inputs."""
    answer = lesson.answers(exercise, code)
    with np.errstate(all="ignore"):
        return [_numbers(answer(*given) if exercise.call else answer) for given in inputs(exercise, n)]


@cache
def _right(key, n):
    lesson, exercise = EXERCISES[key]
    return _values(lesson, exercise, exercise.solution, n)


def right(exercise, n=DRAWS):
    """The solution's values on the inputs."""
    return _right(exercise.key, n)


@cache
def _known(key):
    lesson, exercise = EXERCISES[key]
    return {hint: _values(lesson, exercise, code) for code, hint in exercise.wrong.items()}


def known(exercise):
    """hint -> values of the wrong answer it belongs to."""
    return _known(exercise.key)


# ------------------------------------------------------------------------------- numbers


def _number(lesson, exercise, answer):
    """The judgement of a number typed by hand: four digits will do."""
    if callable(answer):
        return Judgement("wrong", f"{exercise.name} is a function; a number was asked: {exercise.name} = ...")
    try:
        value, true = _numbers(answer), right(exercise)[0]
    except (TypeError, ValueError):
        return Judgement("wrong", f"{exercise.name} is {_kind(answer)}; a number was asked.")
    if value.shape != ():
        return Judgement("wrong", f"{exercise.name} has shape {value.shape}; one number was asked.")
    near = lambda other, rtol: bool(
        value == other or (np.isfinite(other) and abs(value - other) <= rtol * max(abs(other), 1e-3))
    )
    if near(true, CLOSE):
        return Judgement("done")
    for hint, (other,) in known(exercise).items():
        if near(other, CLOSE) or (np.isnan(other) and np.isnan(value)):
            return Judgement("wrong", hint)
    counts = value == np.round(value) and true == np.round(true)  # one off is another count, no rounding
    if near(true, 0.02) and not counts and exercise.solution not in ("1", "2", "3", "4", "5"):
        return Judgement(
            "wrong", f"Nearly: {value:g} is within two percent. Give four digits or more, or the formula itself."
        )
    for hint, (other,) in known(exercise).items():  # a known mistake, rounded
        if other != 0 and near(other, 5e-3):
            return Judgement("wrong", hint)
    for factor, word in FACTORS.items():
        if true != 0 and np.isfinite(true) and near(factor * true, CLOSE):
            return Judgement("wrong", f"This is {word} the right number.")
    if true != 0 and near(1 / true, CLOSE):
        return Judgement("wrong", "This is one over the right number.")
    if true > 0 and np.isfinite(true) and (near(true**2, CLOSE) or near(np.sqrt(true), CLOSE)):
        return Judgement(
            "wrong",
            "This is the square or the root of the right number: a variance where a standard deviation belongs, or the reverse.",
        )
    return Judgement(
        "wrong", f"{value:g} is not it. `numpyscore learn hint {exercise.key}` shows what people get wrong here.", False
    )


# ------------------------------------------------------------------------------- what the numbers give away


def _numbers(value):
    """Anything like an array as an array of floats; complex numbers only if their imaginary part is 0."""
    found = np.asarray(value)
    if found.dtype == object or found.dtype.kind not in "biufc":
        raise TypeError
    if found.dtype.kind == "c":
        if np.any(found.imag != 0):
            raise TypeError
        found = found.real
    return found.astype(float)


def _shapes(exercise, got):
    """What a wrong shape, or a NaN, says of the mistake; None if there is nothing wrong with either."""
    true = right(exercise)
    first, shape = got[0], true[0].shape
    n = next((np.shape(a)[0] for a in inputs(exercise)[0] if np.ndim(a)), 0)
    matches = lambda f: all(equal(f(a), b) for a, b in zip(got, true, strict=True))
    reached = lambda f: all(equal(a, f(b)) for a, b in zip(got, true, strict=True))
    if first.shape != shape:
        said = f"It has shape {first.shape}, expected {shape}. "
        if first.shape == (*shape, 1):
            return said + "A column beside a row would broadcast to a square: leave out keepdims, or take [:, 0]."
        if first.shape == (1, *shape):
            return said + "An axis of length 1 is left in front: sum over it or take [0]."
        if len(shape) == 1 and first.shape == (n, n) and n:
            return (
                said
                + "A column (n, 1) met a row (n,) and every sample was paired with all the others; or a product `@` is where `*` and a sum over axis 1 belong."
            )
        if first.ndim == 0:
            if reached(np.mean):
                return said + "This is the mean over everything; one number for each was asked."
            if reached(np.sum):
                return said + "This is the sum over everything; one number for each was asked."
            return said + "One number came back for all samples: sum over axis=1 only."
        if first.ndim > len(shape):
            axes = range(first.ndim)
            for k in range(1, first.ndim - len(shape) + 1):
                for chosen in itertools.combinations(axes, k):
                    for word, f in (("mean", np.mean), ("sum", np.sum)):
                        if matches(lambda a, f=f, chosen=chosen: f(a, axis=chosen)):
                            return said + f"What is missing is the {word} over axis {', '.join(map(str, chosen))}."
            return said + (
                "The loss is one number, the mean over the samples."
                if not shape
                else "A sum or a mean over the other axes is missing."
            )
        if first.shape == shape[::-1]:
            return said + "It looks transposed: rows are samples, and W is (in, out)."
        if len(shape) == 2 and first.shape == shape[:1]:
            return said + "It is summed over dimensions; a vector for each sample was asked."
        if len(shape) == 2 and first.shape == shape[1:]:
            return said + "It is summed or averaged over the samples; one row for each was asked."
        if len(shape) == 1 and first.shape != shape and matches(lambda a: a) is False:
            return said + "Rows are samples (axis 0), columns dimensions (axis 1): over which did you sum?"
        return said
    if bad := sum(int(np.sum(~np.isfinite(a))) for a in got) - sum(int(np.sum(~np.isfinite(b))) for b in true):
        return f"{bad} of its numbers are NaN or infinite: a division by 0, the log or root of something negative, or an overflow."
    return None


def _likeness(exercise, got):
    """What wrong numbers of the right shape have to do with the right ones; None if nothing is seen."""
    true = right(exercise)
    a, b = np.concatenate([np.ravel(v) for v in got]), np.concatenate([np.ravel(v) for v in true])
    same = lambda c, d: equal(c, d)
    if np.max(np.abs(a)) == 0:
        return "It is 0 everywhere."
    columns_alike = lambda v: v.ndim == 2 and v.shape[1] > 1 and equal(v - v[:, :1], 0 * v)
    if all(map(columns_alike, got)) and not all(map(columns_alike, true)):
        return "It is the same number in every dimension: a sum or a mean over them has come in where each has its own entry."
    for factor, word in FACTORS.items():
        if same(a, factor * b):
            return (
                "It is minus the right answer: check the sign." if factor == -1 else f"It is {word} the right answer."
            )
    sizes = _sizes(exercise)
    for name in sizes[0]:
        for word, f in (
            ("times", lambda v, k: v * k),
            ("divided by", lambda v, k: v / k),
            ("times the root of", lambda v, k: v * k**0.5),
            ("divided by the root of", lambda v, k: v / k**0.5),
        ):
            for sign, minus in ((1, ""), (-1, "minus ")):
                if all(same(g, sign * f(t, s[name])) for g, t, s in zip(got, true, sizes, strict=True)):
                    return f"It is {minus}the right answer {word} {name}."
    if np.all(b != 0) and b.size > 3 and np.allclose(a / b, (a / b)[0], rtol=1e-9):
        return f"It is {(a / b)[0]:.6g} times the right answer."
    if a.size > 3 and np.allclose(a - b, (a - b)[0], rtol=1e-8, atol=1e-9 * np.max(np.abs(b))):
        return f"It is the right answer {(a - b)[0]:+.6g}, the same everywhere."
    if said := _terms(exercise, got):
        return said
    with np.errstate(all="ignore"):
        for word, c in (
            ("the square of", b**2),
            ("the root of", np.sqrt(b)),
            ("one over", 1 / b),
            ("exp of", np.exp(b)),
            ("log of", np.log(b)),
            ("the absolute value of", np.abs(b)),
            ("minus the square of", -(b**2)),
        ):
            if same(a, c):
                return f"It is {word} the right answer."
    apart = ~np.isclose(a, b, rtol=1e-7, atol=1e-9 * np.max(np.abs(b)))
    if 0 < np.mean(apart) < 0.75 and a.size > 3:  # where fewer are right, it is by chance
        if np.array_equal(apart, b < 0):
            return "It is right where the answer is positive and wrong where it is negative."
        if np.array_equal(apart, b > 0):
            return "It is right where the answer is negative and wrong where it is positive."
        return f"It is right in {np.sum(~apart)} of {a.size} numbers and wrong in the others: a case or an index is missing, as in the first wrong one ({np.flatnonzero(apart)[0]})."
    for g, t in zip(got, true, strict=True):
        if g.ndim == 0 or not equal(np.sort(g, axis=None), np.sort(t, axis=None)):
            return None
    return "All the right numbers, in another order."


def _twice_wrong(exercise, got):
    """A known mistake and a factor or a sign besides."""
    for hint, values in known(exercise).items():
        if (factor := _factor(got, values)) is not None:
            return f"Two things. {hint} And what comes of that is multiplied: yours is {FACTORS[factor]} it."
    return None


def _factor(got, values):
    """The factor, of those that people forget, between two answers; None if there is none."""
    if np.shape(got[0]) != np.shape(values[0]) or not np.all(np.isfinite(values[0])):
        return None
    for factor in FACTORS:
        if equal(got[0], factor * values[0]) and all(equal(a, factor * b) for a, b in zip(got, values, strict=True)):
            return factor
    return None


def _edited(lesson, exercise, got):
    """The one edit of the solution, however it is written, that gives the answer up to a sign or a factor, if there is one."""
    names = [name.strip() for name in exercise.call.split(",")]
    first = inputs(exercise)[0]
    for code, stands, belongs in itertools.chain(
        *(edits(form, names) for form in (exercise.solution, *exercise.forms))
    ):
        try:
            answer = lesson.answers(exercise, code)
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                value = _numbers(answer(*copy.deepcopy(first)))
                same = equal(got[0], value)
                if not same and _factor(got[:1], [value]) is None:
                    continue
                values = _values(lesson, exercise, code)
                if same and all(map(equal, got, values)):
                    return f"Yours is the right answer but for one thing: `{stands}` stands where `{belongs}` belongs."
                if (factor := _factor(got, values)) is not None:
                    return f"Two things: `{stands}` stands where `{belongs}` belongs, and yours is {FACTORS[factor]} what that gives."
        except Exception:  # most edits give no numbers of this shape, and some do not run
            continue
    return None


def _power_law(exercise, got):
    """The right answer times a constant and powers of the arguments that are numbers, if it is that."""
    ratios, sizes = [], []
    names = [a.strip() for a in exercise.call.split(",")]
    for given, a, b in zip(inputs(exercise), got, right(exercise), strict=True):
        if np.any(b == 0) or np.any(a == 0):
            return None
        ratio = np.ravel(a / b)
        if np.ptp(ratio) > 1e-9 * np.abs(ratio[0]):
            return None
        ratios.append(ratio[0])
        sizes.append([float(v) for v in given if not callable(v) and np.ndim(v) == 0])
    names = [name for name, v in zip(names, inputs(exercise)[0], strict=True) if not callable(v) and np.ndim(v) == 0]
    logs = np.array(sizes, float)
    if not names or len(set(np.sign(ratios))) > 1 or np.any(logs <= 0) or np.any(np.ptp(logs, axis=0) == 0):
        return None
    A = np.column_stack([np.ones(len(ratios)), np.log(logs)])
    y = np.log(np.abs(ratios))
    fit = np.linalg.lstsq(A, y, rcond=None)[0]
    powers = np.round(2 * fit[1:]) / 2
    if len(y) <= len(fit) or np.max(np.abs(A @ fit - y)) > 1e-8 or np.max(np.abs(fit[1:] - powers)) > 1e-6:
        return None
    constant = np.sign(ratios[0]) * np.exp(fit[0])
    parts = [f"{name}^{power:g}" if power != 1 else name for name, power in zip(names, powers, strict=True) if power]
    return f"It is the right answer times {' times '.join([*([f'{constant:.4g}'] if abs(constant - 1) > 1e-9 else []), *parts])}."


def _explodes(exercise, got):
    """Whether it is larger than the right answer beyond all measure."""
    size = lambda values: max(np.max(np.abs(v), initial=0) for v in values)
    times = size(got) / max(size(right(exercise)), 1e-300)
    if times < 1e6:
        return None
    return f"It is 10^{np.log10(times):.0f} times as large as the right answer: is the sign of an exponent wrong, or is exp taken where log belongs?"


def _sizes(exercise):
    """n, d and the named scalars of each input: what an answer may have been multiplied or divided by."""
    names, out = [a.strip() for a in exercise.call.split(",")], []
    for given in inputs(exercise):
        found = {}
        for name, a in zip(names, given, strict=True):
            if callable(a):
                continue
            if np.ndim(a) == 0 and a > 0:
                found[name] = float(a)
                found[f"{name} squared"] = float(a) ** 2
            elif np.ndim(a) == 2:
                found.setdefault("n, the number of samples", float(np.shape(a)[0]))
                found.setdefault("d, the dimension", float(np.shape(a)[1]))
            elif np.ndim(a) == 1:
                found.setdefault("n, the number of samples", float(len(a)))
        out.append(found)
    return out


def _terms(exercise, got):
    """The answer as a sum of the exercise's terms, if it is one: which coefficient is wrong?"""
    if not exercise.terms:
        return None
    lesson = EXERCISES[exercise.key][0]
    true, names = right(exercise), [*exercise.terms]
    columns = [
        [np.broadcast_to(v, t.shape) for v, t in zip(_values(lesson, exercise, code), true, strict=True)]
        for code in exercise.terms.values()
    ]
    A = np.stack([np.concatenate([np.ravel(v) for v in column]) for column in columns], axis=1)
    if len(A) <= len(names):
        names, A = (
            names[: len(A) - 1],
            A[:, : len(A) - 1],
        )  # an answer with as many numbers as terms would prove nothing
    fit = lambda y: np.linalg.lstsq(A, y, rcond=None)[0]
    mine, theirs = (np.concatenate([np.ravel(v) for v in values]) for values in (true, got))
    want, have = fit(mine), fit(theirs)
    if np.linalg.norm(A @ have - theirs) > 1e-7 * np.linalg.norm(theirs) or np.linalg.norm(
        A @ want - mine
    ) > 1e-7 * np.linalg.norm(mine):
        return None
    return f"Yours is {_sum(names, have)}; right is {_sum(names, want)}."


def _sum(names, coefficients):
    """Terms with their coefficients, those of 0 left out."""
    parts = [f"{c:+.4g} [{name}]" for name, c in zip(names, coefficients, strict=True) if abs(c) > 1e-7]
    return " ".join(parts).removeprefix("+") or "0"


def _checked(exercise, answer):
    """The diagnosis of numpyscore's own check of this answer, if it has one."""
    try:
        with guarded():
            report = exercise.check(answer)
    except (Exception, OutOfTime):
        return None
    if report.verdict != "FAIL" or not report.diagnosis:
        return None
    return f"{report.diagnosis[0].upper()}{report.diagnosis[1:].rstrip('.')}."


def _unnamed(exercise, got):
    """Where the answer differs most."""
    true = right(exercise)
    k = int(np.argmax([np.max(np.abs(a - b), initial=0) for a, b in zip(got, true, strict=True)]))
    a, b = np.atleast_1d(got[k]), np.atleast_1d(true[k])
    at = np.unravel_index(np.argmax(np.abs(a - b)), a.shape)
    place = f" at {tuple(map(int, at))}" if np.ndim(got[k]) else ""
    said = f"It differs: yours {a[at]:+.6g}, right {b[at]:+.6g}{place}. `numpyscore learn hint {exercise.key}` shows what people get wrong here."
    return Judgement("wrong", said, False)


# ------------------------------------------------------------------------------- what went wrong before there were numbers

POWER = "A power is ** in Python: x**2. (^ is the exclusive or of bits.)"
CURES = {
    NameError: "Is its name spelt as in the cell above, and does that cell still stand there?",
    AttributeError: "NumPy's functions are np.sum, np.mean, np.exp, ...",
    ZeroDivisionError: "Divide by something that cannot be 0.",
    RecursionError: "The function calls itself without an end.",
    ImportError: "Is its name spelt right? The course needs numpy, and numpyscore where the cell says so.",
    IndexError: "Rows are samples (n), columns dimensions (d); n, d and 1 all occur.",
}


def raised(error, exercise=None):
    """An exception of somebody's code in a line: where, what, and the cure where one is known."""
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, OutOfTime):
        return f"It was still running after {LIMIT:g} s: is there a loop without an end? Whole arrays need no loop."
    if isinstance(error, SystemExit | EOFError):
        return "It stops the program, or asks for input: a function takes its arguments and returns."
    if isinstance(error, SyntaxError):
        return f"{_cell(error.filename)}line {error.lineno}: {type(error).__name__}: {error.msg}."
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).name.startswith(("lesson_", "<"))
    ]
    where = f"{_cell(frames[-1].filename)}line {frames[-1].lineno}: " if frames else ""
    said = " ".join(str(error).split())
    cure = next((cure for kind, cure in CURES.items() if isinstance(error, kind)), "")
    if isinstance(error, NameError) and (near := _near(error, exercise)):
        cure = f"Did you mean {near}?"
    if "for ^" in said or "bitwise_xor" in said:
        cure = POWER
    if isinstance(error, TypeError) and "argument" in said and "positional" in said and exercise is not None:
        cure = f"Its arguments are ({exercise.call}), in this order."
    if "broadcast" in said or "matmul" in said or "shapes" in said:
        cure = "Rows are samples: x is (n, d). A vector of n numbers beside it needs [:, None]; a sum over dimensions is axis=1."
    return f"{where}{type(error).__name__}: {said.rstrip('.')}. {cure}".strip()


def _near(error, exercise):
    """The name in reach that was meant, if one is spelt nearly so."""
    inside = error.__traceback__
    while inside is not None and inside.tb_next is not None:
        inside = inside.tb_next
    reach = {*inside.tb_frame.f_locals, *inside.tb_frame.f_globals} if inside is not None else set()
    reach |= {a.strip() for a in exercise.call.split(",")} if exercise is not None else set()
    known = {name.lower(): name for name in sorted(reach)}
    found = difflib.get_close_matches((error.name or "").lower(), known, 1, 0.75)
    return known[found[0]] if found and known[found[0]] != error.name else None


def _xors(answer):
    """Whether a function uses ^, which is no power in Python."""
    return hasattr(answer, "__code__") and any(i.argrepr == "^" for i in dis.get_instructions(answer))


def _cell(filename):
    """The cell of a notebook that a file name stands for, in words."""
    return f"{filename.partition(', ')[2]}, " if filename and ", cell " in filename else ""


def _same(a, b):
    return a is b if callable(a) else np.array_equal(a, b)


def _kind(value):
    """What something is, in a word or two."""
    return f"a {type(value).__name__}" if not isinstance(value, np.ndarray) else f"an array of {value.dtype}"


def _empty(function):
    """Whether a function is still the stub, a docstring and `...`."""
    code = getattr(function, "__code__", None)
    blank = (lambda: None).__code__
    return code is not None and len(code.co_code) <= len(blank.co_code) + 2 and not code.co_names
