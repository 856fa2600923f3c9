"""Each oddity of a table is said, with the names of its columns and a cure, and nothing is said of a table without."""

import numpy as np
import pytest

from numpyscore import old_faithful
from numpyscore.learning.columns import dequantised, look
from numpyscore.learning.settings import rows_of

RNG = np.random.default_rng(0)
A, B, C = RNG.standard_normal((3, 300)) * [[1.0], [20.0], [3.0]]
SHARES = RNG.dirichlet([2.0, 3.0, 4.0], 300)
RAIN = np.where(RNG.random(300) < 0.57, 0.0, RNG.exponential(5.0, 300))
ONE_CELL = np.where(np.arange(300) == 7, 1e6, B)

TABLES = {
    "few values": ({"a": A, "class": RNG.integers(0, 3, 300)}, "few distinct values have no density: class (3)"),
    "whole numbers": ({"a": A, "count": RNG.integers(100, 160, 300)}, "whole numbers: count.*--dequantise"),
    "zeros": ({"a": A, "rain": RAIN}, r"5\d% of rain is 0"),
    "copies": ({"a": np.tile(A[:200], 2), "b": np.tile(B[:200], 2)}, "50% of the rows repeat another"),
    "a sum": ({"a": A, "b": B, "total": 2 * A - B + 5}, "total is an exact linear function of a, b"),
    "a copy of a column": ({"km": A, "b": B, "miles": 1.6 * A}, "miles is an exact linear function of km:"),
    "shares": (dict(zip(("sand", "silt", "clay"), SHARES.T, strict=True)), "sum to 1 in every row: sand, silt, clay"),
    "one cell": ({"a": A, "b": ONE_CELL}, r"one cell, 1e\+06, makes 100% of the variance of b.*--robust"),
    "angles": ({"a": A, "wind": RNG.uniform(0, 360, 300)}, "wind fills 0 to 360, as degrees do"),
    "hours": ({"a": A, "hour": np.arange(300) % 24}, "hour fills 0 to 24, as hours do"),
    "an end": ({"a": A, "wait": RNG.exponential(3.0, 300)}, "wait has many rows close to 0.*--lower 0"),
}  # fmt: skip


def notes(table):
    return look(np.column_stack([np.asarray(column, float) for column in table.values()]), list(table))


@pytest.mark.parametrize("name", TABLES)
def test_what_is_odd_is_said_with_the_names_of_the_columns(name):
    import re

    table, words = TABLES[name]
    found = notes(table)
    assert any(re.search(words.replace("(3)", r"\(3\)"), note) for note in found), found


@pytest.mark.parametrize(
    "table",
    [{"a": A, "b": B}, {"a": A, "b": A + 0.01 * C, "c": B}, {"waiting": old_faithful()[:, 0]}, {"far": A + 1e6}],
    ids=["two", "nearly dependent", "old faithful", "far from 0"],
)
def test_control_of_continuous_columns_nothing_is_said(table):
    assert notes(table) == []


def test_whole_numbers_are_spread_evenly_and_found_again_by_rounding():
    x = np.column_stack([A, np.arange(300) % 7])
    y, whole = dequantised(x, 0)
    assert list(whole) == [1] and (y[:, 0] == x[:, 0]).all() and (np.round(y[:, 1]) == x[:, 1]).all()
    u = y[:, 1] - x[:, 1]  # uniform on (-1/2, 1/2): standard errors of mean and variance 1/60 and .0043
    assert abs(u.mean()) < 4 / 60 and abs(u.var() - 1 / 12) < 4 * 0.0043
    assert dequantised(x, 0)[0].tobytes() == y.tobytes() != dequantised(x, 1)[0].tobytes()


def test_robust_scaling_is_by_quartiles_and_one_cell_does_not_rule_it():
    x = np.column_stack([A, ONE_CELL])
    _, z, units, notes = rows_of(x, robust=True)
    quartiles = np.quantile(z, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose(quartiles[1], 0, atol=1e-12)
    np.testing.assert_allclose(quartiles[2] - quartiles[0], 1.3489795, rtol=1e-12)
    assert units.scale[1] < 30 and not notes and rows_of(x)[2].scale[1] > 1e4
