"""Shipped data against published facts, synthetic sets against their laws, and the CSV reader against every file we could think of."""

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

from numpyscore import datasets
from numpyscore.datasets import CSVError, from_csv, standardise

SETS = ["two_moons", "eight_gaussians", "checkerboard", "swiss_roll", "rings", "song_ermon_mixture"]


@pytest.fixture
def read(tmp_path):
    def read(content, name="data.csv", **how):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return from_csv(path, **how)

    return read


# ---- shipped data: facts from outside this package


def test_old_faithful_is_the_published_table():
    x = datasets.old_faithful()  # R: dim(faithful), colMeans(faithful), range, cor
    assert x.shape == (272, 2) and x.dtype == float
    np.testing.assert_allclose(x.mean(axis=0), [3.4877831, 70.8970588], atol=5e-8)
    assert x.min(axis=0).tolist() == [1.6, 43] and x.max(axis=0).tolist() == [5.1, 96]
    assert round(np.corrcoef(x.T)[0, 1], 7) == 0.9008112


def test_digits_are_the_published_table():
    x, y = datasets.digits(labels=True)  # scikit-learn: load_digits
    assert x.shape == (1797, 64) and y.dtype.kind == "i"
    assert x.min() == 0 and x.max() == 16 and np.all(x == np.round(x)) and x.sum() == 561718
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.array_equal(datasets.digits(), x)


def test_shipped_data_are_fresh_copies():
    datasets.old_faithful()[:] = 0
    assert datasets.old_faithful().min() > 1


# ---- synthetic sets


@pytest.mark.parametrize("name", SETS)
def test_a_seed_decides_every_bit(name):
    make = getattr(datasets, name)
    x = make(50, rng=3)
    assert x.shape == (50, 2) and x.dtype == float and np.isfinite(x).all()
    assert np.array_equal(x, make(50, rng=np.random.default_rng(3))) and not np.array_equal(x, make(50, rng=4))
    assert make(0, rng=3).shape == (0, 2)
    with pytest.raises(ValueError, match=f"{name}: n is -1"):
        make(-1)
    with pytest.raises(TypeError, match="rng"):
        make(3, rng="seed")


def test_song_ermon_mixture_has_its_moments():
    n = 40_000
    x = datasets.song_ermon_mixture(n, rng=0)
    # mean 4/5*5 - 1/5*5 = 3; variance 1 + 25 - 9 = 17; covariance 25 - 9 = 16. Five standard errors each.
    np.testing.assert_allclose(x.mean(axis=0), 3, atol=5 * np.sqrt(17 / n))
    np.testing.assert_allclose(np.cov(x.T), [[17, 16], [16, 17]], atol=5 * 26 / np.sqrt(n))
    near = x[:, 0] + x[:, 1] > 0
    assert abs(near.mean() - 0.8) < 5 * np.sqrt(0.16 / n)
    np.testing.assert_allclose(np.cov(x[near].T), np.eye(2), atol=5 * np.sqrt(2 / (0.8 * n)))  # not a point mass


def test_without_noise_the_sets_lie_on_their_curves():
    radius = np.linalg.norm(datasets.rings(500, noise=0, rng=0), axis=1)
    np.testing.assert_allclose(radius, np.round(radius), atol=1e-14)
    assert set(np.round(radius)) == {1, 2, 3, 4}
    x = datasets.swiss_roll(500, noise=0, rng=0)
    t = 5 * np.linalg.norm(x, axis=1)
    np.testing.assert_allclose(np.arctan2(x[:, 1], x[:, 0]), np.angle(np.exp(1j * t)), atol=1e-12)
    assert 1.5 * np.pi <= t.min() and t.max() <= 4.5 * np.pi
    centres = datasets.eight_gaussians(500, noise=0, rng=0)
    assert len(np.unique(np.round(centres, 9) + 0.0, axis=0)) == 8
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 4)
    x = datasets.two_moons(500, noise=0, rng=0)
    upper, lower = np.linalg.norm(x, axis=1), np.linalg.norm(x - [1, 0.5], axis=1)
    on_upper, on_lower = np.isclose(upper, 1) & (x[:, 1] >= 0), np.isclose(lower, 1) & (x[:, 1] <= 0.5)
    assert np.all(on_upper | on_lower) and on_upper.sum() > 150 and on_lower.sum() > 150


def test_checkerboard_is_uniform_on_the_dark_squares():
    n = 8000
    square = np.floor(datasets.checkerboard(n, rng=0) / 2).astype(int) + 2
    assert np.all(square.sum(axis=1) % 2 == 0)
    counts = np.bincount(4 * square[:, 0] + square[:, 1], minlength=16)
    assert np.count_nonzero(counts) == 8
    assert np.abs(counts[counts > 0] - n / 8).max() < 5 * np.sqrt(n / 8)


@pytest.mark.parametrize("noise", [-1, np.nan, "much"])
def test_noise_is_a_standard_deviation(noise):
    with pytest.raises((ValueError, TypeError), match="two_moons: noise"):
        datasets.two_moons(3, noise=noise)


# ---- standardise


def test_standardise_is_accurate_far_from_the_origin():
    x = np.stack([1e9 + np.random.default_rng(0).standard_normal(1000), np.arange(1000) * 1e-300], axis=1)
    exact = np.array([float(v) - 1e9 for v in x[:, 0]])  # exact: Sterbenz
    before = x.copy()
    z, mean, scale, constant = standardise(x)
    assert np.array_equal(x, before) and constant == ()
    np.testing.assert_allclose(scale[0], exact.std(), rtol=1e-12)
    assert abs(mean[0] - 1e9 - exact.mean()) <= np.spacing(1e9)  # a one-pass variance would be wrong by 100
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=2e-7)  # half a unit of the mean's last digit
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)
    np.testing.assert_array_equal(z[:, 0], (x[:, 0] - mean[0]) / scale[0])


def test_a_constant_column_is_named_and_keeps_scale_1():
    x = np.array([[0.1 + 0.2, 7, 1], [0.3, 7, 2], [0.3, 7, 4]])  # 0.1 + 0.2 differs from 0.3 by one rounding
    z, mean, scale, constant = standardise(x, columns=["a", "b", "c"])
    assert constant == ("a", "b") and scale.tolist()[:2] == [1, 1] and mean[1] == 7
    assert np.all(z[:, :2] == 0) and np.isclose(z[:, 2].std(), 1)
    assert standardise(x).constant == (0, 1)


@given(st.lists(st.floats(-1.7e308, 1.7e308, allow_subnormal=False), min_size=2, max_size=8))
def test_standardise_at_any_magnitude(values):
    z, mean, scale, constant = standardise(np.array(values)[:, None])
    assert np.isfinite(z).all() and np.isfinite(mean).all() and (scale > 0).all()
    if not constant:
        np.testing.assert_allclose(np.sqrt(np.mean(z**2)), 1, rtol=1e-6)


def test_standardise_keeps_float32_and_refuses_what_has_no_mean():
    assert {a.dtype for a in standardise(np.ones((3, 2), np.float32))[:3]} == {np.dtype(np.float32)}
    assert standardise(np.array([[1], [3]])).x.tolist() == [[-1], [1]]
    for bad in (np.empty((0, 2)), np.ones((2, 2)) * 1j, np.array([[np.nan]])):
        with pytest.raises(ValueError, match="standardise: x"):
            standardise(bad)
    with pytest.raises(ValueError, match="one per column"):
        standardise(np.ones((2, 2)), columns=["a"])


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

    monkeypatch.setattr(datasets, "open", locked, raising=False)
    with pytest.raises(CSVError, match=r"it cannot be read \(Permission denied\)"):
        from_csv("locked.csv")
    with pytest.raises(CSVError, match=r"'two\\nlines"):
        from_csv("two\nlines")


@pytest.mark.parametrize("piece", [b"0,1\n", b"\n", b"1,", b"# "])
def test_a_gzip_bomb_is_refused_soon(read, piece, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_LINE", 1 << 16)  # the file limit is then 200 times the packed size
    bomb = gzip.compress(piece * (1 << 21))
    assert len(bomb) < len(piece) << 21 - 9
    with pytest.raises(CSVError, match=r"more than [\d,]+ characters \(after decompression\)"):
        read(bomb)


def test_the_limit_holds_for_plain_files_too(read, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_SIZE", 1000)
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
