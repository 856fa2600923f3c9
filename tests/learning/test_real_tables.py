"""The trial on real tables: it reads what it says, counts what it says, and by night its verdict is that of the README."""

import json

import numpy as np
import pytest
from learning import real_tables
from learning.real_tables import HEAD, Result, Source, continuous, line, measured, tables, verdict

from numpyscore import EnergyMLP

ENOUGH, SHARE = 15, 0.8  # tables; of the continuous ones, those that are to be level with the best baseline


def test_tables_are_read_from_the_files_of_installed_packages(tmp_path, monkeypatch):
    """Invented packages of three kinds: text beside numbers and a missing cell, JSON with null, counts and names before numbers."""
    for name, file, content in [
        ("tables_a", "a.csv", "who,x,y\nann,1,2\nbob,,3\ncid,4,5\n"),
        ("tables_b", "b.json", json.dumps([{"x": 1, "y": None, "z": 0}, {"x": 6, "y": 7, "z": 0}])),
        ("tables_c", "c.csv", "2,3,one,two\n1.5,2.5,3.5,0\n4.5,5.5,6.5,1\n"),
    ]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / file).write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    sources = {
        "a": Source("tables_a", "a.csv", ("y", "x")),
        "b": Source("tables_b", "b.json", ("x", "y"), "json"),
        "c": Source("tables_c", "c.csv", (0, 2), "numbers"),
        "d": Source("tables_of_nobody", "d.csv", ("x",)),
    }
    monkeypatch.setattr(real_tables, "SOURCES", sources)
    found = tables()
    assert list(found) == ["faithful", "a", "b", "c"] and found["faithful"].shape == (272, 2)
    np.testing.assert_array_equal(found["a"], [[2, 1], [5, 4]])
    np.testing.assert_array_equal(found["b"], [[6, 7]])
    np.testing.assert_array_equal(found["c"], [[1.5, 3.5], [4.5, 6.5]])
    assert list(tables(["c"])) == ["c"]


def test_a_table_counts_as_continuous_by_its_columns_alone():
    x = np.random.default_rng(0).standard_normal((200, 2))
    assert continuous(x)
    assert not continuous(np.column_stack([x, np.arange(200) % 20]))  # twenty values in two hundred rows
    assert not continuous(np.column_stack([x, 1 - x.sum(axis=1)]))
    assert not continuous(np.column_stack([x, np.ones(200)]))


def test_a_line_holds_what_the_fit_found_and_the_verdict_counts():
    rows = np.random.default_rng(0).standard_normal((40, 2))
    model = EnergyMLP.init(2, (6,), "silu", confinement=1.0, conditional=True, rng=0)
    result = measured("invented", rows, model=model, steps=8, sigma=[2.0, 0.5])
    best = max(result.gaussian, result.kernel_density, result.mixture)
    assert result.difference == pytest.approx(result.network - best, abs=1e-9) and result.continuous
    assert f"{result.network:9.2f}" in line(result) and len(line(result)) == len(HEAD)
    near, far = result._replace(difference=-0.099), result._replace(difference=-0.101, continuous=False)
    assert "1 of 1 continuous tables, 1 of 2 in all" in verdict([near, far]) and line(far).startswith("invented*")
    assert Result._fields[-1] == "notes"


@pytest.mark.nightly
def test_real_tables_are_learned_as_well_as_by_the_best_of_three_baselines():
    """A density on every table, and on four fifths of the continuous ones no more than .1 nat a row below the best."""
    found = tables()
    if len(found) < ENOUGH:
        pytest.skip(
            f"{len(found)} tables are installed, {ENOUGH} were expected: scikit-learn, statsmodels, vega-datasets, ..."
        )
    results = [measured(name, x) for name, x in found.items()]
    whole = [r for r in results if r.continuous]
    assert all(np.isfinite(r.network) for r in results)
    assert sum(r.level for r in whole) >= SHARE * len(whole), "\n".join([HEAD, *map(line, results), verdict(results)])
