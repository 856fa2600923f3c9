"""A reader of CSV files: a user's own table of numbers, or one line that says where it is none, and the cure."""

import csv
import difflib
import gzip
import io
import math
import os
import re
import shlex
import warnings
import zlib
from contextlib import suppress
from itertools import chain, count, islice
from typing import NamedTuple

import numpy as np

from ..common import inputs

MAX_SIZE = 1 << 30  # characters of one file, after decompression
MAX_LINE = 1 << 24  # characters of one line
MAX_RATIO = 200  # a compressed table is 3 to 50 times smaller than its text; a gzip bomb 1000 times

MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-", "inf", "infinity"}
NUMBER = re.compile(r"[+-]?([0-9]+([.,][0-9]*)?|[.,][0-9]+)([eE][+-]?[0-9]+)?")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")  # 1,234 is 1.234 in Berlin and 1234 in Boston


class Table(NamedTuple):
    """A table of numbers: x (n, d) float64 in the units of the file, the d column names, the n rows kept, and how many were dropped."""

    x: np.ndarray
    columns: tuple[str, ...]
    rows: int
    dropped: int = 0


class CSVError(ValueError):
    """A file that is no table of numbers: one line with the place, what came, what was expected, and the cure.

    `command` is the same line with the cure in the words of the command line.
    """

    command: str = ""


def _separator(lines):
    """Judged by the lines after the first, which may hold names, and before the last, which may be cut."""
    lines = [re.sub('"[^"]*"', '""', line).strip(" ") for line in lines if line.strip() and line.lstrip()[0] != "#"]
    lines = lines[1:-1] or lines[1:] or lines
    for mark in ";\t|":
        if any(mark in line for line in lines):
            return mark
    words = [line.split() for line in lines]
    loose = any(re.search(r"(^|\s),|,(\s|$)", line) for line in lines) or any(len(row) < 2 for row in words)
    if not loose and all(map(NUMBER.fullmatch, chain.from_iterable(words))):
        return " "  # also 3,6 79, with a decimal comma
    return "," if any("," in line for line in lines) or all(len(row) < 2 for row in words) else " "


def _missing(cell):
    return cell.strip().lower().lstrip("+-") in MISSING


def _show(cell):
    return repr(cell[:37] + "..." if isinstance(cell, str) and len(cell) > 40 else cell)


class _NotPlain(Exception):
    """The file holds more than numbers with a decimal point: it is read again, cell by cell, with words for what is wrong."""


class _Reader:
    """One file on its way to an array; it remembers the line reached, so that every error can say where."""

    def __init__(self, path, decimal, drop=False):
        self.path, self.decimal, self.drop = os.fsdecode(path), decimal, drop
        self.sure = decimal is not None  # that the decimal mark does not group thousands
        self.doubt = self.gap = None  # where the first doubtful and the first missing cell stand
        self.line = self.done = self.cells = self.rows = 0
        self.gaps: set = set()  # columns with missing cells

    def error(self, what, cure, line=None, i=None):
        """The CSVError; cure is one text, or a pair: for Python, for the command line."""
        place = [self.path if self.path.isprintable() else repr(self.path)]
        place += [] if line is None else [f"line {line}"]
        place += [] if i is None else [self.labels[i]]
        python, command = (cure, cure) if isinstance(cure, str) else cure
        error = CSVError(f"{', '.join(place)}: {what}. {python}")
        error.command = f"{', '.join(place)}: {what}. {command}"
        return error

    def lines(self, text, limit):
        """Line by line without comments; what would fill the memory is refused before it does."""
        size = 0
        for self.line in count(1):
            line = text.readline(MAX_LINE)
            size += len(line)
            if size > limit or len(line) == MAX_LINE:
                what = f"more than {limit:,} characters (after decompression), or more than {MAX_LINE:,} in one line"
                raise self.error(what, "Check that this is a table, or split it.", self.line)
            if "\0" in line:
                what = "zero bytes, expected plain text: an Excel workbook, UTF-16 ('Unicode text') or a damaged file"
                raise self.error(what, "Save it as 'CSV UTF-8' and pass that file.", self.line)
            if not line:
                return
            if not line.isascii() and re.search("[\udc80-\udcff]", line):  # not UTF-8: taken as Latin-1
                line = line.encode("utf-8", "surrogateescape").decode("latin-1")
            if not line.lstrip().startswith("#"):
                yield line

    def table(self, text, limit, separator, columns, header, plain=False):
        """The Table; with `plain` by NumPy's reader, _NotPlain where anything is left to judge; "text" if its size has been looked at."""
        lines = self.lines(text, limit)
        if separator == " ":
            lines = (" ".join(line.split()) for line in lines)
        rows = csv.reader(lines, delimiter=separator, skipinitialspace=separator != " ", strict=True)
        first = next((row for row in rows if any(map(str.strip, row))), None)
        if first is None:
            raise self.error("the file is empty, expected a table of numbers", "Check that it was saved.")
        if len(first) > 1 and not first[-1].strip():  # a separator at the end of the line
            first.pop()
        names = [cell.strip() for cell in first]
        words = [name for name in names if not _missing(name) and not NUMBER.fullmatch(name)]
        if header is None and words and any(map(NUMBER.fullmatch, names)):
            what = f"some cells are text ({_show(words[0])}) and some numbers, expected column names or numbers only"
            cure = "Correct it, or say {} if it holds the names, {} if data."
            both = cure.format("header=True", "header=False"), cure.format("--header yes", "--header no")
            raise self.error(what, both, self.line)
        header = bool(words) if header is None else header
        self.labels = [f"column {_show(name) if header and name else i + 1}" for i, name in enumerate(names)]
        self.names = names if header else list(range(len(names)))
        self.keep = self.choose(columns)
        if plain and names and separator in ",\t|":
            return self.plain(text if plain == "text" else lines, first, header, separator, names)
        self.grouping = ",." if separator == ";" else ","  # 1.234;5.678 may come from where a point groups thousands
        rows = self.complete(rows if header else chain([first], rows), len(names))
        size = max(1, inputs.BLOCK // len(names))
        blocks = [self.array(block) for block in iter(lambda: list(islice(rows, size)), [])]
        self.finish()
        if self.rows:  # that are to be dropped
            blocks = [block[~np.isnan(block).any(axis=1)] for block in blocks]
        n = sum(map(len, blocks))
        if n < 2:
            what = f"{'one row' if n else 'names and no row' if not self.rows else 'no row'} of numbers"
            what += f", {self.rows} having been dropped for missing cells" if self.rows else ""
            rest = self.only([k for k in self.keep if k not in self.gaps])
            what += ", expected at least two rows"
            if self.rows:
                raise self.error(what, tuple(f"Complete them{end}" for end in rest))
            raise self.error(what, "Add rows: there is no spread to learn from.")
        columns = tuple(names[i] if header else self.labels[i] for i in self.keep)
        return Table(np.concatenate(blocks), columns, n, int(self.rows))

    def plain(self, lines, first, header, separator, names):
        """The Table where every cell is a number with a decimal point: ten times as fast as cell by cell."""
        if self.decimal == ",":
            raise _NotPlain
        lines = lines if header else chain([separator.join(first)], lines)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # no rows
                x = np.loadtxt(lines, delimiter=separator, comments=None, ndmin=2)
        except (ValueError, UserWarning):
            raise _NotPlain from None
        if len(x) < 2 or x.shape[1] != len(names) or not np.isfinite(x).all():
            raise _NotPlain
        labels = tuple(names[i] if header else self.labels[i] for i in self.keep)
        return Table(x if self.keep == list(range(len(names))) else x[:, self.keep], labels, len(x))

    def choose(self, columns):
        """The positions of the columns to keep, each with a name of its own."""
        keep = list(range(len(self.names))) if columns is None else []
        for column in columns or ():
            found = [i for i, name in enumerate(self.names) if column in (name, i, i - len(self.names))]
            if not found:
                near = difflib.get_close_matches(str(column), map(str, self.names)) or self.names[:12]
                cure = f"Choose among {', '.join(_show(name) for name in near)}."
                raise self.error(f"there is no column {column!r}", cure, self.line)
            keep += found
        taken = set()
        for i in keep:
            if self.names[i] == "" or self.names[i] in taken:
                what = "no name (a row number?)" if self.names[i] == "" else "this name comes twice"
                rest = [k for k in dict.fromkeys(keep) if k != i]
                cure = "Name it in the first line, or choose each column once{}."
                numbers = f"columns={rest}", f"--columns {','.join(map(str, rest))}"
                ends = (f", by its number from 0: {told}" if 0 < len(rest) <= 12 else "" for told in numbers)
                raise self.error(f"{what}, expected a name of its own", tuple(map(cure.format, ends)), self.line, i)
            taken.add(self.names[i])
        return keep

    def only(self, keep):
        """The end of a cure, for Python and for the command line: the columns to choose instead."""
        names = [self.names[i] for i in keep]
        if not names or len(str(names)) > 200:
            return ".", "."
        plain = [
            str(i if not isinstance(n, str) or "," in n or n.lstrip("-").isdecimal() else n)
            for i, n in zip(keep, names, strict=True)
        ]
        told = f"columns={names}", f"--columns {shlex.quote(','.join(plain))}"
        python, command = (f", or choose the columns of numbers: {chosen}" for chosen in told)
        return f"{python}.", command  # a point after a command would be copied with it

    def complete(self, rows, width):
        """(line, row) of every row, of the right width; empty lines are no rows."""
        start = self.line
        for row in rows:
            self.done = self.line
            if len(row) == width + 1 and not row[-1].strip():
                row.pop()
            if len(row) < 2 and not any(map(str.strip, row)):
                continue
            if len(row) != width:
                cure = "Complete it, name every column, and quote a cell that holds the separator (a decimal comma?)."
                raise self.error(f"{len(row)} cells, expected {width} as in line {start}", cure, self.line)
            yield self.line, row

    def array(self, block):
        """The numbers of a block of rows: at the speed of float() while nothing is wrong."""
        width = len(self.keep)
        cells = [row[i] for _, row in block for i in self.keep]
        place = lambda k: (block[k // width][0], self.keep[k % width])
        text = " ".join(cells)
        if self.decimal is None and re.search("[,.]", text):
            # the mark of the first number that has one: text has commas of its own
            marks = (re.search("[,.]", cell) for cell in cells if NUMBER.fullmatch(cell.strip()))
            self.decimal = next((mark[0] for mark in marks if mark), None)
        if self.decimal and not self.sure:
            marked = [k for k, cell in enumerate(cells) if self.decimal in cell]
            grouped = all(THOUSANDS.fullmatch(cells[k].strip()) for k in marked)
            self.sure = self.decimal not in self.grouping or not grouped
            self.doubt = self.doubt or (marked and (cells[marked[0]].strip(), *place(marked[0])))
        if text.isascii() and "_" not in text and self.other() not in text:  # float() itself takes 1_000 and १
            with suppress(ValueError):
                points = cells if self.decimal != "," else (cell.replace(",", ".") for cell in cells)
                x = np.fromiter(map(float, points), float, len(cells))
                if np.isfinite(x).all():
                    return x.reshape(-1, width)
        values = [self.value(cell) for cell in cells]
        for k, value in enumerate(values):
            if value is None:
                like = "3,6" if self.decimal == "," else "3.6"
                what = f"{_show(cells[k])} is no number like {like} (no date, unit, thousands separator, underscore)"
                bad = [
                    c
                    for c in range(width)
                    if any(v is None or (math.isnan(v) and not self.drop) for v in values[c::width])
                ]
                if len(bad) > 1:
                    what += f"; columns with such cells or missing ones: {', '.join(str(self.names[self.keep[c]]) for c in bad)}"
                rest = self.only([i for c, i in enumerate(self.keep) if c not in bad])
                raise self.error(what, tuple(f"Correct the cell{end}" for end in rest), *place(k))
            if math.isinf(value):
                what = f"{_show(cells[k])} is too large, expected a number below 1.8e308"
                raise self.error(what, "Correct it, or use another unit.", *place(k))
            if math.isnan(value):
                self.gap = self.gap or (cells[k].strip(), *place(k))
                self.gaps.add(self.keep[k % width])
        x = np.reshape(values, (-1, width))
        self.cells, self.rows = self.cells + np.isnan(x).sum(), self.rows + np.isnan(x).any(axis=1).sum()
        return x

    def other(self):
        return "." if self.decimal == "," else ","

    def value(self, cell):
        """The value of a cell, NaN where it is missing, None where it is no number in the notation of this file."""
        if _missing(cell):
            return math.nan
        good = NUMBER.fullmatch(cell.strip()) and self.other() not in cell
        return float(cell.replace(",", ".")) if good else None

    def finish(self):
        """What only the whole table can tell."""
        if self.gap and not self.drop:
            cell, line, i = self.gap
            what = f"{f'the cell is {_show(cell)}' if cell else 'the cell is empty'}, expected a finite number; "
            what += f"missing or infinite cells: {self.cells}, in rows: {self.rows}"
            if len(self.gaps) > 1:
                what += f"; in columns: {', '.join(str(self.names[k]) for k in sorted(self.gaps))}"
            rest = self.only([k for k in self.keep if k not in self.gaps])
            ways = "drop_missing=True", "--drop-missing"
            both = tuple(f"Complete these rows, drop them with {way}{end}" for way, end in zip(ways, rest, strict=True))
            raise self.error(what, both, line, i)
        if self.doubt and not self.sure:
            cell, line, i = self.doubt
            whole, fraction = cell.replace(self.decimal, ""), cell.replace(",", ".")
            what = f"{_show(cell)} may be {whole} or {fraction}, expected a number of one meaning"
            ways = f"decimal={self.decimal!r}", f"--decimal {'comma' if self.decimal == ',' else 'point'}"
            both = tuple(f"Write {whole}, or say {way} if it is {fraction}." for way in ways)
            raise self.error(what, both, line, i)


def from_csv(path, *, columns=None, header=None, decimal=None, drop_missing=False):
    """Read a table of numbers: comma, semicolon, tab, bar or white space between the cells, plain or gzip.

    Empty lines and lines that start with # are passed over. What is not certain is refused in words: text, missing
    or infinite cells, rows of unequal length, numbers that may be grouped thousands.

    Parameters
    ----------
    path : path of the file
    columns : names, or numbers from 0, of the columns to keep, in this order; None keeps all
    header : True if the first row holds names, False if data; None takes it for names if it holds no number
    decimal : "." or ","; None takes the mark that the table uses
    drop_missing : bool
        Leave out rows with missing or infinite cells in these columns, and count them, in place of refusing them.

    Returns
    -------
    table : Table, x in the units of the file; columns without names are called "column 1", "column 2", ...

    Raises
    ------
    CSVError
        One line with the file, line and column (from 1), what came, what was expected, and the cure.

    Test: test_csv.py::test_a_table_survives_writing_and_reading
    """
    if decimal not in (None, ".", ","):
        raise ValueError(f"from_csv: decimal is {decimal!r}, expected '.' or ',', or None to find out.")
    if columns is not None:
        columns = [columns] if isinstance(columns, str | int) else list(columns)
        if not columns or any(isinstance(c, bool) or not isinstance(c, str | int | np.integer) for c in columns):
            raise ValueError(f"from_csv: columns is {columns}, expected names or numbers from 0, at least one.")
        if header is None and any(isinstance(c, str) for c in columns):
            header = True
    with suppress(_NotPlain):
        return _read(_Reader(path, decimal), path, columns, header, plain=True)
    return _read(_Reader(path, decimal, drop_missing), path, columns, header, plain=False)


def _read(reader, path, columns, header, plain):
    """The Table, read once."""
    try:
        with open(path, "rb") as file:
            stream, limit = file, MAX_SIZE
            if reader.path.endswith(".gz") or file.peek(2).startswith(b"\x1f\x8b"):
                stream = gzip.GzipFile(fileobj=file)  # type: ignore[assignment]
                limit = min(MAX_SIZE, max(MAX_LINE, MAX_RATIO * os.fstat(file.fileno()).st_size))
            elif plain and os.fstat(file.fileno()).st_size <= limit:
                plain = "text"
            separator = _separator(stream.peek(1 << 13).decode("latin-1").splitlines())
            with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape") as text:
                return reader.table(text, limit, separator, columns, header, plain)
    except FileNotFoundError:
        raise reader.error("there is no such file", "Check its name and its folder.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise reader.error(f"the compressed file is damaged ({error})", "Copy or download it again.") from None
    except OSError as error:
        raise reader.error(f"it cannot be read ({error.strerror or error})", "Pass a text file you may read.") from None
    except csv.Error:
        cure = 'Close every quotation mark " before the next separator, or remove it.'
        raise reader.error("quotation marks do not match", cure, f"{reader.done + 1} or later") from None
