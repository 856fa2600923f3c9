"""DataFrames: names kept, columns found by name, and what is no number told with its cure."""

import numpy as np
import pytest
from frames import Frame

import numpyscore as ns
from numpyscore.data.frames import is_frame, table_of


def test_names_and_numbers_come_through():
    table = table_of("fit", Frame(a=[1, 2], b=[0.5, 4], c=[True, False]))
    assert table.columns == ("a", "b", "c") and table.rows == 2
    np.testing.assert_array_equal(table.x, [[1, 0.5, 1], [2, 4, 0]])
    assert table_of("fit", Frame(a=[1, 2], b=[3, 4]), ["b", "a"]).x.tolist() == [[3, 1], [4, 2]]
    assert table_of("fit", Frame(a=np.array([1, 2.5], object))).x.tolist() == [[1], [2.5]]
    assert is_frame(Frame(a=[1])) and not is_frame(np.ones((2, 2))) and not is_frame(ns.old_faithful())


def named(*names):
    """A frame with these names, which need not be text, or differ as text."""
    frame = Frame()
    frame.entries = dict.fromkeys(names, np.ones(2))
    return frame


@pytest.mark.parametrize(
    "frame, said",
    [
        (Frame(a=[1, 2], day=["Mon", "Tue"]), r"no numbers: day\. Choose the others, data\[\['a'\]\]"),
        (Frame(a=[1, 2], day=np.array(["2026-01-01"] * 2, "M8[D]")), "no numbers: day"),
        (Frame(a=[1, np.nan], b=np.array([None, 2], object)), r"columns a \(1\), b \(1\).*dropna"),
        (Frame(b=[1, np.inf]), r"infinite entries in columns b \(1\)"),
        (Frame(a=np.array([1, {}], object)), "no numbers: a"),
        (named(1, "1"), "the columns 1 come twice"),
    ],
)
def test_what_is_no_number_is_told_by_column_with_its_cure(frame, said):
    with pytest.raises(ValueError, match=said):
        table_of("fit", frame)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column b, expected a, b; it has a, c"):
        table_of("Fit", Frame(a=[1], c=[2]), ("a", "b"))


def test_verify_takes_one():
    x = ns.old_faithful()[:40]
    verdicts = ns.verify(Frame(eruptions=x[:, 0], waiting=x[:, 1]), only="boundary term")
    assert all(v.ok for v in verdicts) and verdicts == ns.verify(x, only="boundary term")
