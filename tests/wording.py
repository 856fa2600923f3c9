"""What the package says to the user, word for word: each report of a test is compared with the one that is written down beside it.

    from wording import check_loss

Any function of numpyscore that returns a report can be had from here; `hold` and `hold_verdicts` take what is said otherwise. The reports of
tests/room/test_x.py stand in tests/room/wording/x.txt, under the name of the test and the number of the call in it. After a change that is meant,
`NUMPYSCORE_WORDING=write python -m pytest tests/room/test_x.py` writes them anew, and the difference is read like any other.
Words and whole numbers (n, d, calls) are compared as they are, other numbers to the digits that every machine finds.
"""

import os
import platform
import re
from functools import cache, wraps
from pathlib import Path

import numpyscore

NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)")
DIGITS = 2e-3  # four digits are printed, of numbers that are known to eight
ROUNDING, TIMES = 1e-6, 30.0  # what is smaller is what rounding left, which is another on another machine
# how many times one bound may be another: a few per cent from release to release, more where sums are rounded otherwise
BOUNDS = 1.2 if platform.machine() in ("x86_64", "AMD64") else 10.0
# of entries known to 1e-7 and better rounding decides which one is the furthest off for its tolerance, and it moves the points of a quadrature
BY_ROUNDING = re.compile(r"^  worst .*\(resolution .*e-(?:0[7-9]|[1-9]\d)\)$|, \d+ evaluations$", re.MULTILINE)
counted: dict = {"test": "", "calls": 0}


def __getattr__(name):
    """A function of numpyscore whose report is held to what is written down."""
    function = getattr(numpyscore, name)

    @wraps(function)
    def held(*args, **options):
        report = function(*args, **options)
        hold(report)
        return report

    return held


def hold(said, digits=DIGITS, times=TIMES):
    """Hold something that is said to what is written down for this test, and this call in it.

    digits : how far numbers may be apart, of their size; times : how many times one that is as small as rounding may be the other.
    """
    file, test = _test()
    counted["calls"] = counted["calls"] + 1 if counted["test"] == test else 0
    counted["test"] = test
    name, text, known = f"{test} #{counted['calls']}", str(said), written(file)
    if os.environ.get("NUMPYSCORE_WORDING") == "write":
        known[name] = text
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"== {k}\n{v}\n" for k, v in sorted(known.items())), encoding="utf-8")
    elif name in known:
        assert same(text, known[name], digits, times), (
            f"{name} said otherwise:\n{_changes(known[name], text, digits, times)}"
        )


def _test():
    """(file of what is written down, name of the test) that is running."""
    path, _, test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("::")
    path = Path(__file__).parents[1] / path
    return path.parent / "wording" / f"{path.stem.removeprefix('test_')}.txt", test


@cache
def written(file):
    """{test and number of the call: its report}."""
    blocks = file.read_text(encoding="utf-8").split("== ")[1:] if file.exists() else []
    return {name: text.rstrip("\n") for name, _, text in (block.partition("\n") for block in blocks)}


def same(text, other, digits=DIGITS, times=TIMES):
    """Whether two reports say the same."""
    mine, theirs = (NUMBER.split(" ".join(BY_ROUNDING.sub("", t).split())) for t in (text, other))
    if len(mine) != len(theirs) or mine[::2] != theirs[::2]:
        return False
    return all(a == b or _close(a, b, digits, times) for a, b in zip(mine[1::2], theirs[1::2], strict=True))


def _changes(known, text, digits, times):
    """The lines that are not the same, as a difference of two texts; the whole where lines came or went."""
    old, new = known.splitlines(), text.splitlines()
    if len(old) != len(new):
        return f"- {known}\n+ {text}"
    return "\n".join(f"- {a}\n+ {b}" for a, b in zip(old, new, strict=True) if not same(a, b, digits, times))


def _close(a, b, digits, times):
    """Whether two printed numbers are one number."""
    if a.isdigit() and b.isdigit():
        return False
    low, high = sorted((float(a), float(b)))
    return high <= times * low if high <= ROUNDING else high - low <= digits * high


def hold_verdicts(verdicts):
    """Hold both sides, their bound, what is foreseen and what fails, of each verdict of a test. What is zero within its bound has no digits to hold."""
    hold("\n".join(map(_numbers, verdicts)), 1e-6, BOUNDS)


def _numbers(v):
    """A verdict on a line: sides, the gap foreseen, its bound, the hypotheses that fail, the note."""
    if v.ok is None:
        return f"{v.step}, {v.subject}: inconclusive"
    samples = v.method == "monte carlo"
    zero = 1e-9 if samples else max(v.bound, 1e-9)
    said = lambda x: f"{x:.9g}" if abs(x) > zero else "0"
    parts = [
        f"{v.step}, {v.subject}: {said(v.left)} {v.relation} {said(v.right)}, foreseen {said(v.predicted)}, {v.method}"
    ]
    parts += [f"within {v.bound:.{5 if samples else 2}e}"] + [
        f"{h.name} {h.value:.9g}" for h in v.hypotheses if not h.holds
    ]
    return "; ".join(filter(None, [*parts, re.sub(r", \S+ times its bound", "", v.note)]))
