"""The reader of tables: the same table in many dresses, and one clear line for whatever is none."""

import csv
import gzip
import io
import os
import re
import time

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from numpyscore.data import csv as reader
from numpyscore.data.csv import CSVError, from_csv


@pytest.fixture
def read(tmp_path):
    def read(content, name="data.csv", **how):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return from_csv(path, **how)

    return read


# ---- shipped data: facts from outside this package


# ---- CSV files that are well

XY = [[3.6, 79.0], [1.8, 54.0]]
GOOD = {
    "plain": "a,b\n3.6,79\n1.8,54\n",
    "no newline at the end": "a,b\n3.6,79\n1.8,54",
    "BOM": "\ufeffa,b\n3.6,79\n1.8,54\n",
    "BOM and quotes": '\ufeff"a","b"\n"3.6","79"\n1.8,54\n',
    "CRLF": "a,b\r\n3.6,79\r\n1.8,54\r\n",
    "old Mac": "a,b\r3.6,79\r1.8,54\r",
    "semicolon": "a;b\n3.6;79\n1.8;54\n",
    "decimal comma": "a;b\n3,6;79\n1,8;54\n",
    "decimal comma, tab": "a\tb\n3,6\t79\n1,8\t54\n",
    "decimal comma, blank": "a b\n3,6 79\n1,8 54\n",
    "decimal comma, quoted": '"a","b"\n"3,6","79"\n"1,8","54"\n',
    "tab": "a\tb\n3.6\t79\n1.8\t54\n",
    "bar": "a|b\n3.6|79\n1.8|54\n",
    "white space": "  a   b\n 3.6  79 \n 1.8 \t  54\n".replace("\t", ""),
    "blank after comma": 'a, "b"\n3.6, 79\n 1.8 ,54\n',
    "comma with a blank before": "a ,b\n3.6 ,79\n1.8 ,54\n",
    "empty lines": "\n\na,b\n\n3.6,79\n1.8,54\n\n  \n\n",
    "separator at the end": "a,b,\n3.6,79,\n1.8,54,\n",
    "separator at the end of rows": "a,b\n3.6,79,\n1.8,54\n",
    "comments": "# from\n#,,,\na,b\n3.6,79\n  # note\n1.8,54\n#end",
    "exponents": "a,b\n36e-1,+7.9E+1\n1.8e0,54.\n",
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("pack", [lambda b: b, gzip.compress], ids=["plain", "gzip"])
def test_the_same_table_in_many_dresses(read, content, pack):
    table = read(pack(content.encode()))
    assert table.x.tolist() == XY and table.columns == ("a", "b") and table.rows == 2


def test_no_header_one_column_and_tiny_numbers(read):
    table = read("3.6,79\n1.8,54\n")
    assert table.x.tolist() == XY and table.columns == ("column 1", "column 2")
    assert read("1\n2\n").x.tolist() == [[1], [2]]
    assert read("waiting time\n1\n2\n").columns == ("waiting time",)
    assert read("a\n1e-400\n-.5\n").x.tolist() == [[0], [-0.5]]
    assert read("a,b\n1,7\n2,7\n").x[:, 1].tolist() == [7, 7]
    assert read("Länge;Breite\n1;2\n3;4\n".encode("latin-1")).columns == ("Länge", "Breite")
    assert read("Länge;Breite\n1;2\n3;4\n").columns == ("Länge", "Breite")
    assert read('"first\nname",b\n1,2\n3,4\n').columns == ("first\nname", "b")
    assert read("2019,2020\n1,2\n3,4\n", header=True).columns == ("2019", "2020")


def test_columns_are_chosen_by_name_or_number(read):
    content = "date,a,b\n2020-01-01,1,2\n2020-01-02,3,4\n"
    assert read(content, columns=["b", "a"]).x.tolist() == [[2, 1], [4, 3]]
    assert read(content, columns=[1]).columns == ("a",) and read(content, columns=-1).x.tolist() == [[2], [4]]
    assert read(content, columns=np.arange(1, 3)).x.tolist() == [[1, 2], [3, 4]]
    assert read(content, columns="a").x.tolist() == [[1], [3]]
    assert read("2020-01-01,1\n2020-01-02,3\n", columns=[1], header=False).x.tolist() == [[1], [3]]


def test_the_decimal_mark_is_settled_by_one_number_or_by_the_caller(read):
    assert read("a;b\n1,234;5\n1,5;6\n").x.tolist() == [[1.234, 5], [1.5, 6]]
    assert read("a;b\n1.234;5\n0.567;6\n").x.tolist() == [[1.234, 5], [0.567, 6]]
    assert read("a;b\n1,234;5\n2,345;6\n", decimal=",").x.tolist() == [[1.234, 5], [2.345, 6]]
    assert read("a,b\n1.234,5\n2.345,6\n").x.tolist() == [[1.234, 5], [2.345, 6]]


# ---- CSV files that are not

BAD = {  # content, then what the message must hold
    "empty": ("", "the file is empty"),
    "only comments": ("# a\n\n", "the file is empty"),
    "header only": ("a,b\n", "names and no row of numbers, expected at least two rows"),
    "one row": ("a,b\n1,2\n", "one row of numbers, expected at least two rows"),
    "text": ("a,b\n1,2\n3,x\n4,5\n", "line 3, column 'b': 'x' is no number like 3.6", "columns=['a']"),
    "date": ("day,a,who,b\n2020-01-01,1,me,2\n", "line 2, column 'day': '2020-01-01'", "columns=['a', 'b']"),
    "empty cell": ("a,b\n1,2\n,4\n5,\n,\n", "line 3, column 'a': the cell is empty", "cells: 4, in rows: 3"),
    "NA": ("a,b\n1,2\nNA,4\n5,6\n", "line 3, column 'a': the cell is 'NA'", "cells: 1, in rows: 1"),
    "NaN": ("a,b\n1,2\n3,NaN\n5,6\n", "line 3, column 'b': the cell is 'NaN'"),
    "inf": ("a,b\n1,2\n3,-inf\n5,Infinity\n", "line 3, column 'b': the cell is '-inf'", "cells: 2"),
    "missing in the first row": ("NA,2\n3,4\n", "line 1, column 1: the cell is 'NA'", "columns=[1]"),
    "ragged": ("a,b\n1,2\n3\n", "line 3: 1 cells, expected 2 as in line 1"),
    "too long": ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells, expected 2"),
    "unnamed row names": (
        '"a" "b"\n"1" 3.6 79\n"2" 1.8 54\n',
        "line 2: 3 cells, expected 2 as in line 1",
        "name every",
    ),
    "overflow": ("a,b\n1,2\n3,1e400\n", "line 3, column 'b': '1e400' is too large", "1.8e308"),
    "underscore": ("a,b\n1_000,2\n3,4\n", "line 2, column 'a': '1_000' is no number"),
    "hexadecimal": ("a,b\n0x10,2\n3,4\n", "line 2, column 'a': '0x10' is no number"),
    "other digits": ("a,b\n1,2\n٣,4\n", "line 3, column 'a': '٣' is no number"),
    "some names are numbers": (
        "a,2020\n1,2\n3,4\n",
        "line 1: some cells are text ('a') and some numbers",
        "header=True",
    ),
    "name twice": ("a,b,a\n1,2,3\n4,5,6\n", "line 1, column 'a': this name comes twice", "columns=[0, 1]"),
    "no name": (",a,b\n0,1,2\n1,3,4\n", "line 1, column 1: no name (a row number?)", "columns=[1, 2]"),
    "thousands, quoted": (
        'a,b\n"1,234",5\n"2,345",6\n',
        "line 2, column 'a': '1,234' may be 1234 or 1.234",
        "decimal=','",
    ),
    "thousands by point": (
        "a;b\n7;1.234\n5;2.345\n",
        "line 2, column 'b': '1.234' may be 1234 or 1.234",
        "decimal='.'",
    ),
    "thousands twice": ('a,b\n"1,234,567",5\n2,6\n', "line 2, column 'a': '1,234,567' is no number", "thousands"),
    "thousands and decimals": ("a;b\n1.234,5;5\n2;6\n", "line 2, column 'a': '1.234,5' is no number", "thousands"),
    "two decimal marks": ("a;b\n1,5;5\n2;6.5\n", "line 3, column 'b': '6.5' is no number like 3,6"),
    "thousands by blank": ("a;b\n1 234;5\n2;6\n", "line 2, column 'a': '1 234' is no number"),
    "unit": ("a,b\n1,2\n3,4 min\n", "line 3, column 'b': '4 min' is no number", "unit"),
    "open quote": ('a,b\n1,2\n"3,4\n5,6\n', "line 3 or later: quotation marks do not match"),
    "text after quote, tab": ('a\tb\n1\t2\n"3"x\t4\n', "line 3 or later: quotation marks do not match"),
    "text after quote": ('a,b\n1,2\n"3"x,4\n', "line 3 or later: quotation marks do not match"),
    "UTF-16": ("a,b\n1,2\n3,4\n".encode("utf-16"), "zero bytes", "UTF-16", "CSV UTF-8"),
    "UTF-16 without BOM": ("a,b\n1,2\n3,4\n".encode("utf-16-le"), "zero bytes"),
    "Excel": (b"PK\x03\x04\x14\x00\x06\x00", "zero bytes", "Excel workbook"),
    "zero byte later": ("a,b\n" + "1,2\n" * 9000 + "3,\0\n", "line 9002: zero bytes"),
    "binary": (bytes(range(1, 256)) * 3, "data.csv"),
    "gzip cut short": (
        gzip.compress(b"a,b\n" + os.urandom(999).hex().encode())[:-300],
        "the compressed file is damaged",
    ),
    "gzip in gzip": (gzip.compress(gzip.compress(b"a,b\n1,2\n")), "zero bytes"),
    "long cell": ("a,b\n1,2\n3," + "x" * 999 + "\n", "line 3, column 'b': 'xxx", "xxx...'"),
    "control characters": ("a,b\n1,2\n3,\x1b[31m\n", r"'\x1b[31m' is no number"),
}


@pytest.mark.parametrize(("content", "expected"), [(c, e) for c, *e in BAD.values()], ids=BAD)
def test_a_bad_file_gives_one_clear_line(read, content, expected):
    with pytest.raises(CSVError) as caught:
        read(content)
    message = str(caught.value)
    assert message.isprintable() and message.endswith(".") and "data.csv" in message and len(message) < 600
    for part in expected:
        assert part in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_damaged_gzip_whatever_byte_is_wrong(read):
    packed = bytearray(gzip.compress(GOOD["plain"].encode() * 20))
    with pytest.raises(CSVError, match="damaged"):
        read(GOOD["plain"], name="data.csv.gz")
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(CSVError, match=r"data\.csv"):
        read(bytes(packed))


def test_files_that_cannot_be_opened(tmp_path, monkeypatch):
    with pytest.raises(CSVError, match=r"no\.csv: there is no such file\. Check its name"):
        from_csv(tmp_path / "no.csv")
    with pytest.raises(CSVError, match="cannot be read"):
        from_csv(tmp_path)

    def locked(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reader, "open", locked, raising=False)
    with pytest.raises(CSVError, match=r"it cannot be read \(Permission denied\)"):
        from_csv("locked.csv")
    with pytest.raises(CSVError, match=r"'two\\nlines"):
        from_csv("two\nlines")


@pytest.mark.parametrize("piece", [b"0,1\n", b"\n", b"1,", b"# "])
def test_a_gzip_bomb_is_refused_soon(read, piece, monkeypatch):
    monkeypatch.setattr(reader, "MAX_LINE", 1 << 16)  # the file limit is then 200 times the packed size
    bomb = gzip.compress(piece * (1 << 21))
    assert len(bomb) < len(piece) << 21 - 9
    with pytest.raises(CSVError, match=r"more than [\d,]+ characters \(after decompression\)"):
        read(bomb)


def test_the_limit_holds_for_plain_files_too(read, monkeypatch):
    monkeypatch.setattr(reader, "MAX_SIZE", 1000)
    assert read("1,2\n" * 250).rows == 250
    with pytest.raises(CSVError, match="line 251: more than 1,000 characters"):
        read("1,2\n" * 251)


def test_wrong_arguments(read):
    content = "eruptions,waiting\n1,2\n3,4\n"
    with pytest.raises(CSVError, match=r"there is no column 'wating'\. Choose among 'waiting'\."):
        read(content, columns=["wating"])
    with pytest.raises(CSVError, match="there is no column 2"):
        read(content, columns=[2])
    with pytest.raises(CSVError, match=r"there is no column 'waiting'\. Choose among 0, 1"):
        read(content, columns=["waiting"], header=False)
    with pytest.raises(CSVError, match="comes twice"):
        read(content, columns=[0, "eruptions"])
    for bad in ([], [True], [1.5]):
        with pytest.raises(ValueError, match="from_csv: columns"):
            read(content, columns=bad)
    with pytest.raises(ValueError, match="from_csv: decimal"):
        read(content, decimal=";")


# ---- round trip

WAYS = {
    "separator": st.sampled_from([",", ";", "\t", "|", " "]),
    "comma": st.booleans(),
    "bom": st.booleans(),
    "newline": st.sampled_from(["\n", "\r\n", "\r"]),
    "header": st.booleans(),
    "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    "packed": st.booleans(),
}


def written(x, separator, comma, bom, newline, header, quoting, packed):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator=newline, quoting=quoting)
    if header:
        writer.writerow([f"name {i}" for i in range(x.shape[1])])
    for row in x.tolist():
        writer.writerow([repr(v).replace(".", ",") if comma else repr(v) for v in row])
    raw = (b"\xef\xbb\xbf" if bom else b"") + out.getvalue().encode()
    return gzip.compress(raw) if packed else raw


@given(data=st.data(), d=st.integers(1, 4), n=st.integers(2, 6), **WAYS)
def test_a_table_survives_writing_and_reading(tmp_path_factory, data, d, n, **how):
    assume(not (d == 1 and how["comma"] and how["separator"] != ","))  # one column 3,6 is also two columns
    number = st.floats(allow_nan=False, allow_infinity=False)
    x = np.array(data.draw(st.lists(number, min_size=n * d, max_size=n * d))).reshape(n, d)
    x[-1] = 0.5  # settles that the decimal mark groups no thousands
    path = tmp_path_factory.getbasetemp() / "round.csv"
    path.write_bytes(written(x, **how))
    table = from_csv(path)
    assert table.x.tobytes() == x.tobytes() and table.rows == n  # every bit, the sign of zero too
    assert table.columns == tuple(f"name {i}" if how["header"] else f"column {i + 1}" for i in range(d))


def test_the_round_trip_sees_one_wrong_bit(read):
    x = np.array([[0.1, 2.0], [0.3, 0.5]])
    wrong = written(np.nextafter(x, 9), ",", False, False, "\n", True, csv.QUOTE_MINIMAL, False)
    assert read(wrong).x.tobytes() != x.tobytes()


@given(st.binary(max_size=60) | st.text(st.sampled_from('1,;.\t \n\r"#e-ax|_'), max_size=30).map(str.encode))
def test_whatever_the_bytes_a_table_or_one_line(tmp_path_factory, raw):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(raw)
    try:
        table = from_csv(path)
        assert table.x.shape == (table.rows, len(table.columns)) and np.isfinite(table.x).all()
    except CSVError as error:
        assert str(error).isprintable() and re.match(r"\S", str(error))


def test_a_large_file_is_read_in_reasonable_time(read):
    x = np.random.default_rng(0).standard_normal((60_000, 5))
    content = "\n".join(",".join(map(repr, row)) for row in x.tolist())
    start = time.process_time()
    assert np.array_equal(read(content).x, x)
    assert time.process_time() - start < 3  # 0.2 s here; 1e6 rows take 16 times as long


def test_all_columns_that_are_no_numbers_are_named_at_once_and_the_cure_is_one_of_the_command_line(tmp_path):
    """The suggested --columns, read as the command line reads it, works at the next run."""
    import shlex

    from numpyscore.commands.terminal import columns as option

    path = tmp_path / "mixed.csv"
    path.write_text("who,a,when,the b,c\nme,1,2020-01-01,5,7\nyou,2,2020-01-02,6,\nyou,4,2020-01-02,8,9\n")
    with pytest.raises(CSVError, match="columns with such cells or missing ones: who, when, c") as caught:
        from_csv(path)
    chosen = option(shlex.split(caught.value.command.split("--columns ")[1])[0])
    assert chosen == ["a", "the b"] and from_csv(path, columns=chosen).x.tolist() == [[1, 5], [2, 6], [4, 8]]
    path.write_text("a,b,c\n1,,3\n4,5,\n6,7,8\n")
    with pytest.raises(CSVError, match=r"in columns: b, c.*columns=\['a'\]") as caught:
        from_csv(path)
    assert caught.value.command.endswith("drop them with --drop-missing, or choose the columns of numbers: --columns a")


CURES = {  # a cure in Python, and on the command line, where it is tried
    "names that are numbers": ("a,2020\n1,2\n3,4\n", "header=True", ["--header", "yes"]),
    "rows with gaps": ("a,b\n1,2\n,4\n5,6\n", "drop_missing=True", ["--drop-missing"]),
    "thousands": ('a,b\n"1,234",5\n"2,345",6\n', "decimal=','", ["--decimal", "comma"]),
    "a name twice": ("a,b,a\n1,2,3\n4,5,6\n", "columns=[0, 1]", ["--columns", "0,1"]),
    "text": ("a,who,b\n1,me,2\n3,you,4\n", "columns=['a', 'b']", ["--columns", "a,b"]),
}


@pytest.mark.parametrize(("content", "python", "options"), CURES.values(), ids=CURES)
def test_on_the_command_line_a_cure_is_in_its_words_and_works(content, python, options, tmp_path, capsys):
    from numpyscore.cli import main

    path = tmp_path / "data.csv"
    path.write_text(content)
    with pytest.raises(CSVError) as caught:
        from_csv(path)
    assert python in str(caught.value)
    argv = ["explore", str(path), "--out", str(tmp_path / "page.html")]  # the command that does least with a table
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert " ".join(options) in said and python not in said
    assert main(argv + options) == 0


def test_rows_with_missing_cells_are_dropped_when_asked_and_counted(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("a,b,c\n1,2,x\n,4,x\n5,NA,x\n7,8,x\n9,inf,x\n3,1,x\n")
    table = from_csv(path, columns=["a", "b"], drop_missing=True)
    assert table.x.tolist() == [[1, 2], [7, 8], [3, 1]] and table.rows == 3 and table.dropped == 3
    assert from_csv(path, columns=["b"], drop_missing=True).dropped == 2  # of the columns asked for
    with pytest.raises(CSVError, match=r"'x' is no number.*columns=\['a', 'b'\]"):  # text is no missing cell
        from_csv(path, drop_missing=True)
    path.write_text("a,b\n1,\n,4\n5,\n7,8\n")
    with pytest.raises(CSVError, match="one row of numbers, 3 having been dropped for missing cells"):
        from_csv(path, drop_missing=True)


def test_a_comma_in_quoted_text_is_no_decimal_mark(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text('who,a,b\n"Doe, Jane",3.6,79\n"Roe, Rik",1.8,54\n')
    with pytest.raises(
        CSVError, match=r"line 2, column 'who': 'Doe, Jane' is no number like 3.6.*columns=\['a', 'b'\]"
    ):
        from_csv(path)
    assert from_csv(path, columns=["a", "b"]).x.tolist() == XY


@pytest.mark.parametrize("mark", [",", "\t", "|", ";", " "])
def test_the_quick_reader_reads_the_same_bits_as_the_careful_one(mark, tmp_path, monkeypatch):
    x = np.random.default_rng(0).standard_normal((50, 3)) * 10.0 ** np.arange(-3, 6, 3)
    path = tmp_path / "x.csv"
    lines = [mark.join(map(repr, row)) for row in x.tolist()]
    path.write_text("\n".join([mark.join("abc"), *lines]) + "\n\n")
    quick = from_csv(path, columns=["c", "a"])

    def never(*_, **__):
        raise ValueError

    monkeypatch.setattr(np, "loadtxt", never)
    careful = from_csv(path, columns=["c", "a"])
    assert quick.columns == careful.columns == ("c", "a") and quick.rows == careful.rows == 50
    assert quick.x.tobytes() == careful.x.tobytes() == np.ascontiguousarray(x[:, [2, 0]]).tobytes()
