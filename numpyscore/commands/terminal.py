"""What every command shares: exit codes, the progress line on stderr, emphasis, and types of arguments."""

import argparse
import contextlib
import math
import os
import shutil
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ..common.files import write_whole
from ..data.csv import CSVError, from_csv

EVERY = 10.0  # seconds between lines of progress where stderr is no terminal
FINE, DIFFERENCE, USAGE, INCONCLUSIVE, INTERRUPTED = 0, 1, 2, 3, 130


class Progress:
    """A line on stderr that rewrites itself on a terminal; elsewhere a line every EVERY seconds; nothing with --quiet."""

    quiet = False  # set by the command line
    speaking: Any = None  # the one that said something last
    begun: Any = None  # when the thread that repeats it was started

    def __init__(self, what=""):
        self.what, self.live = what, sys.stderr.isatty() and not Progress.quiet
        self.text, self.start = "", time.monotonic()

    def __call__(self, iteration, loss):
        self.say(f"{self.what}: step {iteration}, loss {loss:.4g}")

    def say(self, text):
        """Show `text` in place of what stood there."""
        self.text = text
        if self.live:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()
        elif not Progress.quiet:
            Progress.speaking = self
            if Progress.begun is None:
                Progress.begun = time.monotonic()
                threading.Thread(target=_now_and_then, daemon=True).start()

    def clear(self):
        """Take the line away."""
        self.say("")


def _now_and_then():
    """Where stderr is no terminal: what was said last, every EVERY seconds, as long as the process lives."""
    while True:
        time.sleep(EVERY)
        said = Progress.speaking
        if said is not None and said.text:
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                sys.stderr.write(f"{said.text} ({time.monotonic() - said.start:.0f} s)\n")
                sys.stderr.flush()


def program():
    """How this program was called, for a line that is to be typed again: by its name if the shell finds it, else by its path."""
    called = sys.argv[0]
    if os.path.basename(called) != "numpyscore" or shutil.which("numpyscore"):
        return "python -m numpyscore" if os.path.basename(called) == "__main__.py" else "numpyscore"
    return called


def measured(q):
    """A mean in as many digits as its standard error has, two of its own: -4.187 +- 0.061; q has "mean" and "se", None if unknown."""
    mean, se = q["mean"], q["se"]
    if se is None or not se > 0:
        return f"{mean:10.5g}" + ("" if se is None else f" +- {se:.2g}")
    digits = math.floor(math.log10(abs(mean) or se)) - math.floor(math.log10(se)) + 2
    return f"{mean:10.{min(max(digits, 2), 10)}g} +- {se:.2g}"


def bold(text):
    """`text` in bold where stdout is a terminal and NO_COLOR is not set."""
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty()
    return text if plain else f"\x1b[1m{text}\x1b[0m"


def whole(text):
    """The type of a count: 1000 or 1e3."""
    number: int | None
    try:
        number = int(text)
    except ValueError:
        try:
            number = int(float(text)) if float(text).is_integer() else None
        except (ValueError, OverflowError):
            number = None
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; one such as 1000 or 1e3 was expected")
    return number


def seed(text):
    """The type of --seed: a whole number >= 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed; a whole number >= 0 was expected")
    return int(text)


def columns(text):
    """The type of --columns: names, or numbers from 0, separated by commas."""
    return [int(name) if name.lstrip("-").isdecimal() else name for name in text.split(",")]


HEADER = {"yes": True, "no": False, "auto": None}
DECIMAL = {"point": ".", "comma": ",", "auto": None}


def table_options(parser, which="columns of DATA.csv, by name or number from 0"):
    """--columns, --header, --decimal and --drop-missing, of every command that reads a table."""
    parser.add_argument("--columns", type=columns, metavar="A,B", help=which)
    parser.add_argument(
        "--header",
        choices=HEADER,
        default="auto",
        help="whether the first line holds names (default: if it holds no number)",
    )
    parser.add_argument("--decimal", choices=DECIMAL, default="auto", help="3.6 or 3,6 (default: as the table has it)")
    parser.add_argument(
        "--drop-missing", action="store_true", help="leave out rows with missing cells, and say how many"
    )


def read_table(args):
    """The Table of args.data, by the options of `table_options`."""
    options = {"header": HEADER[args.header], "decimal": DECIMAL[args.decimal], "drop_missing": args.drop_missing}
    with file_at(args.data, "table", TABLES) as path:
        try:
            table = from_csv(path, columns=args.columns, **options)
        except CSVError as error:
            if args.data != "-":
                raise
            told = CSVError(str(error).replace(path, "stdin"))
            told.command = error.command.replace(path, "stdin")
            raise told from None
    if args.header == "yes" and all(map(_is_number, table.columns)):
        note(
            f"--header yes: the names of the columns are numbers, {', '.join(table.columns[:4])}; if they are a row, --header no"
        )
    return table


def _is_number(name):
    """Whether a column's name reads as a number."""
    try:
        float(name.replace(",", "."))
    except ValueError:
        return False
    return True


TABLES, MODEL = ("*.csv", "*.csv.gz", "*.tsv", "*.txt"), ("model.npz",)
CHECKPOINT, METRICS = "checkpoint.npz", "metrics.csv"  # of a fit's folder


@contextlib.contextmanager
def file_at(path, what, patterns):
    """The path of a file to be read: of "-" stdin, kept while the block lasts; of a folder the one file in it that is meant.

    Raises
    ------
    ValueError
        If a folder holds none of the patterns, or several files of them.
    """
    if path == "-":
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.join(folder, "stdin")
            with open(name, "wb") as file:
                file.write(content := sys.stdin.buffer.read())
            if not content:
                raise ValueError(f"stdin is empty, expected a {what} in it: numpyscore ... - < FILE")
            try:
                yield name
            except (ValueError, OSError) as error:
                if name not in str(error):
                    raise
                raise ValueError(str(error).replace(name, "stdin")) from None
    elif os.path.isdir(path):
        found = sorted({p.name for pattern in patterns for p in Path(path).glob(pattern)})
        inside = set(os.listdir(path))
        if what == "model.npz" and not found and CHECKPOINT in inside:
            raise ValueError(
                f"{path} holds a fit that has not ended: numpyscore fit DATA.csv --out {path} --resume ends it"
            )
        if what == "table" and found == [METRICS] and inside & {CHECKPOINT, *MODEL}:
            raise ValueError(
                f"{path} is the folder of a fit, and {METRICS} its record of losses: give the table that was fitted"
            )
        if len(found) != 1:
            there = ", ".join(found) or ", ".join(sorted(os.listdir(path))[:9]) or "nothing"
            several = f"several, {there}: name one of them" if found else f"it holds {there}"
            raise ValueError(f"{path} is a folder, expected one {what} in it ({', '.join(patterns)}); {several}")
        yield os.path.join(path, found[0])
    else:
        yield path


def put(path, content):
    """Write text or bytes, whole or not at all, to a path; to stdout for "-"."""
    content = content.encode() if isinstance(content, str) else content
    if path != "-":
        return write_whole(path, content)
    for piece in [content] if isinstance(content, bytes) else content:
        sys.stdout.write(piece.decode())


def no_stdout(path, option="--out"):
    """Refuse "-" for a folder."""
    if path == "-":
        raise ValueError(f"{option} is -, which is stdout, and a folder was expected: name one")


def note(text):
    """A note, on stderr."""
    print(f"note: {text}", file=sys.stderr)


def refuse_without_data(args):
    """ValueError where an option of `table_options` came without DATA.csv."""
    given = (args.columns is not None, args.header != "auto", args.decimal != "auto", args.drop_missing)
    for name, there in zip(("--columns", "--header", "--decimal", "--drop-missing"), given, strict=True):
        if there:
            raise ValueError(f"{name} needs DATA.csv, the file that it is about")


def levels(text):
    """The type of --sigma: positive numbers separated by commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(0 < s < float("inf") for s in numbers):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of noise levels; positive numbers such as 10,0.01 were expected"
        )
    down = sorted(set(numbers), reverse=True)
    if numbers != down:
        said = ",".join(f"{s:g}" for s in down)
        raise argparse.ArgumentTypeError(
            f"{text!r} does not go down; levels from the largest to the least were expected: {said}"
        )
    return numbers


def ends(text):
    """The type of --lower and --upper: one number or several, separated by commas, inf and -inf among them."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no end; a number, or several separated by commas, was expected"
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


def page_at(path, option):
    """Refuse a page under the name of something else."""
    end = os.path.splitext(path)[1].lower()
    if path != "-" and end not in ("", ".html", ".htm"):
        raise ValueError(f"{option} {path}: the page is HTML; a name that ends in .html was expected, not in {end}")


def may_be_written(path, inputs=()):
    """Whether a file could be put at `path` once there is one: found out before the work, not after it.

    Raises
    ------
    OSError
        If the folder is missing or may not be written to, something that is no file stands at `path`, or one that may not be
        written to, or one of the files `inputs` that the work begins with.
    """
    if path == "-":
        return
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(f"{path} is there and is no file; name a file to be written")
    for other in inputs:
        if other is not None and os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other):
            raise OSError(f"{path} is what is read; name another file to be written")
    if os.path.exists(path) and not os.stat(path).st_mode & stat.S_IWUSR:
        raise OSError(f"{path} is there and may not be written to; name another file, or change its mode")
    folder = os.path.dirname(os.path.realpath(os.fspath(path)))
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror} ({folder})") from None
