"""A density away from its rows is said to be, one where they are is not; samples that differ from the rows likewise."""

import numpy as np

from numpyscore import EnergyMLP, GaussianMixture, fit
from numpyscore.learning.agreement import agreement
from numpyscore.learning.task import Task

ROWS = np.random.default_rng(0).standard_normal((60, 2)) * [1.0, 30.0] + [5, 100]
NORMAL = EnergyMLP.init(2, (6,), "silu", confinement=1.0, rng=0)
NORMAL = NORMAL.with_theta(0 * NORMAL.theta)  # N(0, I), which the standardised rows are drawn from
WELL = EnergyMLP.init(2, (6,), "silu", confinement=0.1, rng=0)
WELL = WELL.with_theta(20 * WELL.theta)  # its least energy lies far from the origin


def said(model, rows=ROWS):
    return agreement(Task(rows, "implicit", 0.3, model, 0, "adam", 6, 256, 0.01), (model, 0.3, None))


def test_a_density_elsewhere_is_said_in_words_with_the_cure():
    record, notes = said(WELL)
    assert record["density"] == "elsewhere" and record["above_a_gaussian"] < -10
    assert any("the density lies elsewhere" in note and "multilevel_denoising" in note for note in notes)
    assert record["samples"]["differ"] and any("samples differ" in note for note in notes)


def test_control_the_density_of_the_rows_is_not_accused():
    record, notes = said(NORMAL)
    assert record["density"] == "where the rows are" and abs(record["above_a_gaussian"]) < 0.2
    assert record["samples"]["p_value"] > 0.01 and notes == []


def test_samples_of_one_mode_differ_from_rows_of_two():
    two = GaussianMixture([0.5, 0.5], [[-6.0, 0.0], [6.0, 0.0]], 1.0).sample(300, rng=0)
    record, notes = said(NORMAL, two)
    assert record["samples"]["differ"] and "samples differ" in notes[-1]


def test_mass_beyond_the_ends_of_the_rows_is_said():
    """A posterior within a prior's box, and N(0, I) beside it: beyond sqrt(3) deviations lie 2 (1 - Phi(1.73)) = .083 of each column."""
    box = np.random.default_rng(0).uniform([0.0, 2.0], [1.0, 5.0], (300, 2))
    record, notes = said(NORMAL, box)
    share = record["samples"]["outside"]
    assert abs(share - (1 - (1 - 0.083) ** 2)) < 4 * (0.16 * 0.84 / 300) ** 0.5 + 0.01
    assert any(f"{share:.0%} of the samples lie outside the range of the rows" in note for note in notes)
    normal = np.random.default_rng(0).standard_normal((300, 2))
    assert not any("outside the range" in note for note in said(NORMAL, normal)[1])  # control


def test_a_fit_has_its_density_and_its_samples_in_the_units_of_the_data(tmp_path):
    """One object: the mean of exp(logpdf) over a box times its area is 1, and the samples have the moments of the rows."""
    result = fit(ROWS, steps=120, out=tmp_path)
    assert result.summary["check"]["density"] == "where the rows are"
    a, b = np.linspace(-2, 12, 61), np.linspace(-110, 310, 61)
    grid = np.stack(np.meshgrid(a, b), -1).reshape(-1, 2)
    mass = np.exp(result.logpdf(grid)).sum() * (a[1] - a[0]) * (b[1] - b[0])
    assert abs(mass - 1) < 0.01  # the box reaches 6 standard deviations; equal steps of a smooth density
    drawn = result.sample(2000, rng=0)
    assert (np.abs(drawn.mean(0) - ROWS.mean(0)) < 0.3 * ROWS.std(0)).all()
    assert (np.abs(np.log(drawn.std(0) / ROWS.std(0))) < 0.3).all()
