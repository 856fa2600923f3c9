"""What `check_loss` says to the user, word for word: each report of a test is compared with the one that is written down beside it.

    from wording import check_loss

The reports of tests/check/test_x.py stand in tests/check/wording/x.txt, under the name of the test and the number of the call in it. After a change
that is meant, `NUMPYSCORE_WORDING=write python -m pytest tests/check/test_x.py` writes them anew, and the difference is read like any other.
Words and whole numbers (n, d, calls) are compared as they are, other numbers to the digits that every machine finds.
"""

import os
import re
from functools import cache
from pathlib import Path

import numpyscore

FOLDER = Path(__file__).parent / "check" / "wording"
NUMBER = re.compile(r"(\d+(?:\.\d*)?(?:e[+-]?\d+)?)")
DIGITS = 2e-3  # four digits are printed, of numbers that are known to eight
ROUNDING, TIMES = 1e-6, 30.0  # what is smaller is what rounding left, which is another on another machine
counted: dict = {"test": "", "calls": 0}


def check_loss(*args, **options):
    """`numpyscore.check_loss`, its report held to what is written down."""
    report = numpyscore.check_loss(*args, **options)
    hold(report)
    return report


def hold(said):
    """Hold something that is said to what is written down for this test, and this call in it."""
    file, test = _test()
    counted["calls"] = counted["calls"] + 1 if counted["test"] == test else 0
    counted["test"] = test
    name, text, known = f"{test} #{counted['calls']}", str(said), written(file)
    if os.environ.get("NUMPYSCORE_WORDING") == "write":
        known[name] = text
        (FOLDER / file).write_text("".join(f"== {k}\n{v}\n" for k, v in sorted(known.items())), encoding="utf-8")
    elif name in known:
        assert same(text, known[name]), f"{name} said\n{known[name]}\nand says now\n{text}"


def _test():
    """(file of the reports, name of the test) that is running."""
    path, _, test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("::")
    return f"{Path(path).stem.removeprefix('test_')}.txt", test


@cache
def written(file):
    """{test and number of the call: its report}."""
    path = FOLDER / file
    blocks = path.read_text(encoding="utf-8").split("== ")[1:] if path.exists() else []
    return {name: text.rstrip("\n") for name, _, text in (block.partition("\n") for block in blocks)}


def same(text, other):
    """Whether two reports say the same."""
    mine, theirs = (NUMBER.split(" ".join(t.split())) for t in (text, other))
    if len(mine) != len(theirs) or mine[::2] != theirs[::2]:
        return False
    return all(a == b or _close(a, b) for a, b in zip(mine[1::2], theirs[1::2], strict=True))


def _close(a, b):
    """Whether two printed numbers are one number."""
    if a.isdigit() and b.isdigit():
        return False
    low, high = sorted((float(a), float(b)))
    return high <= TIMES * low if high <= ROUNDING else high - low <= DIGITS * high
