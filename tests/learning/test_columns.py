"""Each oddity of a table is said, with the names of its columns and a cure, and nothing is said of a table without."""

import numpy as np
import pytest

from numpyscore import old_faithful
from numpyscore.learning.columns import Grid, dequantised, left_out, look
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
    "months": ({"a": A, "month": np.arange(300) % 12 + 1}, "month fills 1 to 12, as months do"),
    "days": ({"a": np.tile(A, 4)[:1096] + np.arange(1096), "day": np.arange(1096) % 366 + 1}, "day fills 1 to 365, as days of the year do"),
    "rounded shares": (dict(zip("abc", (100 * SHARES).round(1).T, strict=True)), "sum to 100 to within their rounding: a, b, c"),
    "one value": ({"a": A, "same": np.full(300, 7.0)}, "constant columns kept at scale 1: same"),
    "few rows": ({"a": A[:14], "b": B[:14]}, "14 rows in 2 columns are few: a Gaussian alone has 5 parameters"),
    "one cell of few": ({"a": np.append(A[:11], 99.0)}, "one cell, 99, makes 100% of the variance of a"),
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
    [
        {"a": A[:15], "b": B[:15]},
        {"a": A, "b": B},
        {"a": A, "b": A + 0.01 * C, "c": B},
        {"waiting": old_faithful()[:, 0]},
        {"far": A + 1e6},
        {"a": 1e9 + A, "b": 100 + A * B},
        {"a": 1e-300 * A, "b": B},
        {"a": 1e300 * A, "b": B},
        {"a": (90 + B).round(1), "b": (90 - B + 0.2 * A).round(1)},
    ],
    ids=[
        "few, but not very few",
        "two",
        "nearly dependent",
        "old faithful",
        "far from 0",
        "one of them very far",
        "tiny",
        "huge",
        "nearly a constant sum",
    ],
)
def test_control_of_continuous_columns_nothing_is_said(table):
    assert notes(table) == []


def test_one_cell_is_no_reason_to_see_an_end():
    table = {"h": np.where(np.arange(300) == 7, 1e6, 10 + A / 3)}
    assert [note for note in notes(table) if "close to 0" in note] == []


def test_of_few_values_no_end_is_advised():
    assert not any("close to 0" in note for note in notes({"a": A, "class": RNG.integers(0, 3, 300)}))


def test_an_end_that_was_given_is_not_advised():
    wait = RNG.exponential(3.0, (300, 1))
    assert look(wait, ["wait"], within=True) == [] != look(wait, ["wait"])


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
    y = (x - units.mean) / units.scale
    quartiles = np.quantile(y, [0.25, 0.5, 0.75], axis=0)
    np.testing.assert_allclose(quartiles[1], 0, atol=1e-12)
    np.testing.assert_allclose(quartiles[2] - quartiles[0], 1.3489795, rtol=1e-12)
    assert units.scale[1] < 30 and not notes and rows_of(x)[2].scale[1] > 1e4
    # beyond the quartiles logarithms: a cell at 1e5 quartiles is log(2e5) = 12 away
    np.testing.assert_allclose(z, np.arcsinh(y), rtol=1e-14)
    assert np.abs(y).max() > 1e4 and np.abs(z).max() < 15
    # control: within ends the scale stays linear
    inside = rows_of(np.abs(x), robust=True, within=True)
    assert inside[2].tail is None and np.abs(inside[1]).max() > 1e4


def test_the_values_that_a_column_takes_are_found_and_samples_are_rounded_to_them():
    rng = np.random.default_rng(0)
    steps = [5.0, 0.1, 0.25, 1e6, 0.0, 0.001, 0.0]
    grids = [rng.integers(0, 40, 100) * step for step in steps]
    x = np.column_stack(grids) + [3, 0, -1.5, 0, 2.5, 1e5, 0]
    x[:, 6] = rng.standard_normal(100)  # no grid; column 4 is constant
    grid = Grid.of(x)
    np.testing.assert_allclose(grid.step, steps, rtol=1e-9)
    near = x + 0.4 * grid.step * rng.uniform(-1, 1, x.shape)
    np.testing.assert_array_equal(grid.rounded(near)[:, :6], np.round(x[:, :6], 6))
    assert np.array_equal(grid.rounded(near)[:, 6], x[:, 6]) and not grid.outside(near).any()
    far = x.copy()
    far[3], far[4, 1] = grid.high + 0.6 * grid.step + 1e-9, grid.low[1] - 0.06
    assert grid.outside(far).all(axis=1).sum() == 1 and grid.outside(far).any(axis=1).sum() == 2
    assert not grid.outside(grid.clipped(far)).any() and (grid.clipped(far)[3] == grid.high).all()


def test_of_one_row_dropped_one_is_said():
    assert left_out(0) == [] and left_out(1) == ["1 row with missing cells left out"]
    assert left_out(3) == ["3 rows with missing cells left out"]
