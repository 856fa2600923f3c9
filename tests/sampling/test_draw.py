"""Samples of networks whose density is known, by every method; and the commands that draw and evaluate, on files of such networks."""

import json
import math
import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from commandline import call
from scipy import stats

from numpyscore.densities import Gaussian, HalfNormal
from numpyscore.learning.columns import Grid
from numpyscore.learning.units import Units, save_fitted
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.sampling import draw as sampling_draw
from numpyscore.sampling.draw import METHODS, Drawn, draw, noise_levels, wide
from numpyscore.sampling.targets import Ladder

SE = 4.0
LEVELS = np.geomspace(20.0, 0.2, 8)
UNITS = Units(("a", "b,c"), np.array([10.0, -3.0]), np.array([2.0, 0.5]), LEVELS)
PLAIN = UNITS._replace(sigma=0.0)


def gaussian(conditional, dim=2):
    """All weights 0: f = |x|^2 / 2, or |x|^2 / (2 (1 + sigma^2)): N(0, I), or exactly the family that noise makes of it."""
    net = EnergyMLP.init(dim, (4,), confinement=1.0, conditional=conditional, rng=0)
    return net.with_theta(np.zeros_like(net.theta))


def assert_standard(x, variance, slack=0.0):
    """Mean 0 and this variance in every column, within standard errors and the method's own error."""
    n = len(x)
    assert np.all(np.abs(x.mean(0)) < SE * math.sqrt(variance / n))
    assert np.all(np.abs(x.var(0) / variance - 1) < SE * math.sqrt(2 / n) + slack)


# ------------------------------------------------------------------------------- draw

# noise of 0.2 stays, or is taken off as Tweedie does, which shrinks the rest; flow starts at 400 where 401 would be right
VARIANCES = {
    "flow": (1.04 * 400 / 401, 0.0),
    "reverse": (1 / 1.04, 0.02),  # Euler's error through 200 levels
    "predictor-corrector": (1 / 1.04, 0.03),
    "annealed": (1.04, 0.01),
    "langevin": (1.04, 0.0),
}


@pytest.mark.parametrize("method", VARIANCES)
def test_every_method_draws_from_a_gaussian_family(method):
    options = {"n_steps": 300, "step": 0.05} if method == "langevin" else {}
    drawn = draw(gaussian(True), 3000, sigmas=LEVELS, method=method, rng=0, **options)
    assert drawn.method == method and drawn.samples.shape == (3000, 2)
    assert_standard(drawn.samples, *VARIANCES[method])
    with pytest.raises(AssertionError):
        assert_standard(1.1 * drawn.samples, *VARIANCES[method])
    assert (drawn.acceptance is not None) == (method == "langevin") == bool(drawn.note)


@pytest.mark.parametrize("confinement", [1.0, 0.0])
def test_an_energy_without_levels_is_tempered(confinement):
    """From N(0, 1/lambda), which is the target itself here; without confinement from a wide start, to an energy that grows alone."""
    if confinement:
        net = gaussian(False)
        variance = 1.0
    else:
        # softplus(k x) + softplus(-k x) in each dimension: a logistic density squared, of variance by SciPy's quadrature
        W = 3 * np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
        net = EnergyMLP.from_arrays([(W, np.zeros(4)), (np.ones((4, 1)), np.zeros(1))], "softplus")
        variance = stats.logistic.expect(
            lambda t: t**2 / 9
        )  # exp(-f) = e^t / (1 + e^t)^2 with t = 3 x: the logistic density
    drawn = draw(net, 3000, rng=0)
    assert drawn.method == "tempered" and drawn.acceptance.shape == (3000,)
    x = drawn.samples
    kurtosis = 3.0 if confinement else 4.2
    assert np.all(
        np.abs(x.var(0) / variance - 1) < SE * math.sqrt((kurtosis - 1) / 1500)
    )  # resampled: half as many count
    assert np.all(np.abs(x.mean(0)) < SE * math.sqrt(variance / 1500))


def ladder(sigmas, kind=EnergyMLP):
    """Energies lambda |x|^2 / 2 with lambda = 1 / (1 + sigma^2): what noise makes of N(0, I), without the network being told."""
    if kind is EnergyMLP:
        nets = [EnergyMLP.init(2, (4,), confinement=1 / (1 + s**2), rng=0) for s in sigmas]
        return Ladder(tuple(net.with_theta(np.zeros_like(net.theta)) for net in nets), np.array(sigmas))
    a = 1e-3  # sin(a x) / a is x to 1e-6 of it
    nets = [
        ScoreMLP.from_arrays([(a * np.eye(2), np.zeros(2)), (-np.eye(2) / a / (1 + s**2), np.zeros(2))], "sin")
        for s in sigmas
    ]
    return Ladder(tuple(nets), np.array(sigmas))


@pytest.mark.parametrize("kind, slack", [(EnergyMLP, 0.0), (ScoreMLP, 0.01)], ids=["energies", "scores"])
def test_a_ladder_is_come_down_by_annealing(kind, slack):
    """Each step of 0.1 sigma^2 forgets little of N(0, 1 + 4): 400 of them at sigma = 0.7, 0.5 forget all but exp(-16) of it."""
    steps = {"n_steps": 400, "step": 0.1}
    family = ladder([2.0, 0.7, 0.5], kind)
    assert family(0.51) is family.networks[2] and family(1.9) is family.networks[0]
    drawn = draw(family.networks[-1], 3000, sigmas=0.5, ladder=family, rng=0, **steps)
    assert drawn.method == "annealed" and "larger noise" in drawn.note
    assert (drawn.acceptance is None) == (kind is ScoreMLP)
    # unadjusted, N(0, v) settles at v / (1 - step / (2 v))
    v = 1.25 if kind is EnergyMLP else 1.25 / (1 - 0.1 / 2.5)
    assert_standard(drawn.samples, v, slack)
    with pytest.raises(AssertionError):
        assert_standard(draw(family.networks[0], 3000, sigmas=2.0, rng=0, method="langevin").samples, v, slack)
    with pytest.raises(ValueError, match="expected annealed, "):
        draw(family.networks[-1], 5, ladder=family, method="flow")


def test_a_score_alone_walks_and_says_what_that_is_worth():
    net = ScoreMLP.init(2, (8,), rng=0)
    drawn = draw(net, 20, n_steps=5, step=0.01, rng=0)
    assert drawn.method == "langevin" and drawn.acceptance is None and "weights of the starts" in drawn.note
    again = draw(net, 20, n_steps=5, step=0.01, rng=0)
    assert np.array_equal(drawn.samples, again.samples)


@pytest.mark.parametrize(
    "model, options, message",
    [
        (gaussian(True), {}, "conditional on the noise level"),
        (gaussian(True), {"sigmas": [1.0]}, "at least the largest and the least"),
        (gaussian(True), {"sigmas": LEVELS, "method": "tempered"}, "method is 'tempered', expected flow"),
        (gaussian(False), {"method": "flow"}, "expected tempered, langevin for EnergyMLP"),
        (ScoreMLP.init(2, (4,), rng=0), {"method": "tempered"}, "expected langevin"),
        (gaussian(True), {"sigmas": LEVELS, "n_steps": 5}, r"n_steps \(--steps\) is 5, but 'flow' chooses its own"),
        (gaussian(False), {"step": 0.1}, r"draw: step \(--step\) is 0.1, but 'tempered' chooses its own"),
        (gaussian(True), {"sigmas": LEVELS, "step": 0.1}, r"draw: step \(--step\) is 0.1, but 'flow' chooses its own"),
        (gaussian(True), {"sigmas": LEVELS, "step": 0.1, "method": "reverse"}, "but 'reverse' chooses its own"),
        (
            gaussian(True),
            {"sigmas": LEVELS, "method": "none"},
            "'none', expected flow, predictor-corrector, reverse, annealed, langevin for Energy",
        ),
        (
            ScoreMLP.init(2, (4,), conditional=True, rng=0),
            {"sigmas": LEVELS, "method": "tempered"},
            "expected flow, predictor-corrector, reverse, annealed, langevin for Score",
        ),
        (ScoreMLP.init(2, (4,), rng=0), {"method": "none"}, "'none', expected langevin for Score"),
        (
            gaussian(True),
            {"sigmas": LEVELS, "support": (0, 1)},
            "a support was given and EnergyMLP.*, expected an EnergyMLP without noise levels",
        ),
        (ScoreMLP.init(2, (4,), rng=0), {"support": (0, 1)}, "a support was given and ScoreMLP"),
        (gaussian(False), {"n_steps": 0}, "n_steps is 0"),
        (gaussian(False), {"step": 0.0, "method": "langevin"}, "step is 0.0"),
        (gaussian(False), {"support": (1, 1)}, "expected lower < upper"),
        (gaussian(True), {"sigmas": [1.0, 0.0]}, "positive standard deviations"),
    ],
    ids=range(18),
)
def test_what_does_not_fit_the_network_is_named(model, options, message):
    with pytest.raises(ValueError, match=message):
        draw(model, 5, rng=0, **options)


# ------------------------------------------------------------------------------- the commands


@pytest.fixture
def files(tmp_path):
    """Two fitted networks, a network without units, and rows that suit them."""
    save_fitted(tmp_path / "levels.npz", gaussian(True), UNITS)
    save_fitted(tmp_path / "plain.npz", gaussian(False), PLAIN)
    gaussian(False).save(tmp_path / "bare.npz")
    gaussian(True).save(tmp_path / "bare levels.npz")
    rows = UNITS.to_data(np.random.default_rng(0).standard_normal((150, 2)))
    (tmp_path / "rows.csv").write_text('a,"b,c"\n' + "".join(f"{a!r},{b!r}\n" for a, b in rows.tolist()))
    return tmp_path, rows


def read(path):
    lines = path.read_text().splitlines()
    return lines[0], np.array([[float(v) for v in line.split(",")] for line in lines[1:]])


@pytest.mark.parametrize("name, method, variance", [("levels", "flow", 1.04 * 400 / 401), ("plain", "tempered", 1.0)])
def test_samples_come_in_the_units_of_the_data(capsys, files, name, method, variance):
    folder, _ = files
    code, out, err = call(capsys, "sample", folder / f"{name}.npz", "-n", "2000", "--out", folder / "s.csv")
    head, x = read(folder / "s.csv")
    assert code == 0 and err == "" and f"2000 samples by {method}" in out and head == 'a,"b,c"' and x.shape == (2000, 2)
    assert_standard((x - UNITS.mean) / UNITS.scale, variance)


def test_the_same_seed_gives_the_same_bytes_and_stdout_is_a_table(capsys, files):
    folder, _ = files
    texts = [call(capsys, "sample", folder / "plain.npz", "-n", "20", "--seed", seed)[1] for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2] and texts[0].count("\n") == 21
    code, out, _ = call(
        capsys, "sample", folder / "plain.npz", "-n", "20", "--seed", "1", "--json", "--out", folder / "s.csv"
    )
    record = json.loads(out)
    assert code == 0 and (folder / "s.csv").read_text() == texts[0]
    assert (
        record["schema"] == "numpyscore-sample/1"
        and record["method"] == "tempered"
        and record["columns"] == ["a", "b,c"]
    )


@pytest.mark.parametrize("name, variance", [("levels", 1.04), ("plain", 1.0)])
def test_each_row_is_evaluated_in_its_own_units(capsys, files, name, variance):
    """Against SciPy's normal density of mean and standard deviation in the units of the data."""
    folder, rows = files
    code, out, err = call(
        capsys, "evaluate", folder / f"{name}.npz", folder / "rows.csv", "--out", folder / "e.csv", "--json"
    )
    record = json.loads(out)
    head, table = read(folder / "e.csv")
    assert code == 0 and err == ""
    assert head == "row,energy,score_norm,trace,log_likelihood,bits_per_dimension"
    row, energy, norm, trace, log_p, bits = table.T
    sd = UNITS.scale * math.sqrt(variance)
    truth = stats.norm.logpdf(rows, UNITS.mean, sd).sum(1)
    # the flow of the family starts from N(0, 400) where 401 is right: in the log density of order 1/400
    np.testing.assert_allclose(log_p, truth, atol=1e-9 if name == "plain" else 0.02)
    np.testing.assert_allclose(bits, -log_p / (2 * math.log(2)), rtol=1e-12)
    np.testing.assert_allclose(norm, np.linalg.norm((rows - UNITS.mean) / sd**2, axis=1), rtol=1e-12)
    np.testing.assert_allclose(trace, -np.sum(1 / sd**2), rtol=1e-12)
    np.testing.assert_allclose(energy + truth, (energy + truth)[0], rtol=1e-10)  # up to log Z
    assert np.array_equal(row, np.arange(1, 151)) and record["rows"] == 150
    assert record["means"]["log_likelihood"]["mean"] == pytest.approx(log_p.mean())
    assert record["stein"]["p_value"] > 0.01 and record["energy_distance"]["p_value"] > 0.01


def test_rows_of_another_density_are_told(capsys, files):
    folder, rows = files
    (folder / "off.csv").write_text("a,bc\n" + "".join(f"{a + 3!r},{b!r}\n" for a, b in rows.tolist()))
    code, out, _ = call(capsys, "evaluate", folder / "plain.npz", folder / "off.csv", "--json")
    record = json.loads(out)
    assert code == 0 and record["stein"]["p_value"] == record["energy_distance"]["p_value"] == 1 / 1000
    code, out, _ = call(capsys, "evaluate", folder / "plain.npz", folder / "off.csv")
    assert code == 0 and "kernel Stein" in out and "p = 0.001" in out and "quadrature" in out


def test_five_dimensions_by_annealing_and_a_score_alone(capsys, tmp_path):
    x = np.random.default_rng(0).standard_normal((60, 5))
    np.savetxt(tmp_path / "x.csv", x, delimiter=",")
    gaussian(False, 5).save(tmp_path / "five.npz")
    _, out, _ = call(capsys, "evaluate", tmp_path / "five.npz", tmp_path / "x.csv", "--json")
    record = json.loads(out)
    how = record["likelihood"]
    assert how["method"] == "annealed importance sampling"
    assert abs(how["log_normaliser"] - 2.5 * math.log(2 * math.pi)) <= SE * how["standard_error"] + 1e-9
    assert record["means"]["log_likelihood"]["mean"] == pytest.approx(
        Gaussian(np.zeros(5), 1.0).logpdf(x).mean(), abs=1e-6
    )
    EnergyMLP.init(5, (4,), rng=0).save(tmp_path / "loose.npz")
    net = ScoreMLP.init(5, (4,), rng=0)
    net.with_theta(net.theta * 0.1).save(tmp_path / "score.npz")
    code, out, _ = call(capsys, "evaluate", tmp_path / "score.npz", tmp_path / "x.csv", "--json")
    record = json.loads(out)
    assert code == 0 and "energy" not in record["means"] and "log_likelihood" not in record["means"]
    assert "neither energy nor flow" in record["likelihood"]["why"] and record["energy_distance"]["note"]


def test_files_without_units_and_levels_by_hand(capsys, files):
    folder, _ = files
    code, out, _ = call(capsys, "sample", folder / "bare.npz", "-n", "5")
    assert code == 0 and out.startswith("x1,x2\n")
    code, _, err = call(capsys, "sample", folder / "bare levels.npz", "-n", "5")
    assert code == 2 and "--sigma" in err
    code, out, _ = call(
        capsys, "sample", folder / "bare levels.npz", "-n", "5", "--sigma", "10,0.1", "--method", "reverse"
    )
    assert code == 0 and out.count("\n") == 6
    code, out, _ = call(capsys, "evaluate", folder / "levels.npz", folder / "rows.csv", "--sigma", "50,0.5", "--json")
    assert code == 0 and json.loads(out)["sigma"] == 0.5


@pytest.mark.parametrize(
    "argv",
    [
        ("sample", "no such.npz"),
        ("sample", "rows.csv"),
        ("sample", "plain.npz", "-n", "0"),
        ("sample", "plain.npz", "-n", "x"),
        ("sample", "plain.npz", "--sigma", "1"),
        ("sample", "levels.npz", "--sigma", "1,0"),
        ("sample", "levels.npz", "--sigma", "1,2"),
        ("sample", "levels.npz", "--sigma", "1"),
        ("sample", "plain.npz", "--method", "flow"),
        ("sample", "plain.npz", "--json"),
        ("sample", "plain.npz", "--out", "no such folder/s.csv"),
        ("sample", "plain.npz", "--out", "."),
        ("sample", "levels.npz", "--steps", "5"),
        ("evaluate", "plain.npz", "no such.csv"),
        ("evaluate", "plain.npz", "plain.npz"),
        ("evaluate", "plain.npz", "rows.csv", "--columns", "a"),
        ("evaluate", "plain.npz", "swapped.csv"),
        ("evaluate", "plain.npz", "rows.csv", "--out", "no such folder/e.csv"),
        ("evaluate", "plain.npz"),
    ],
    ids=" ".join,
)
def test_wrong_input_is_one_line_exit_2_and_nothing_is_lost(capsys, files, argv, monkeypatch):
    folder, _ = files
    monkeypatch.chdir(folder)
    (folder / "swapped.csv").write_text('"b,c",a\n1,2\n3,4\n5,7\n')
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1 and "Traceback" not in err, err
    assert before == {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    "argv",
    [
        ("sample", "plain.npz", "-n", "5", "--out", "plain.npz"),
        ("evaluate", "plain.npz", "rows.csv", "--out", "rows.csv"),
        ("evaluate", "plain.npz", "rows.csv", "--out", "plain.npz"),
        ("sample", "plain.npz", "-n", "5", "--out", "kept.csv"),
        ("verify", "rows.csv", "--report", "rows.csv"),
        ("sample", "plain.npz", "-n", "5", "--out", "/dev/null"),
        ("sample", "plain.npz", "-n", "99999999999"),
        ("evaluate", "plain.npz", "far.csv"),
    ],
    ids=" ".join,
)
def test_what_is_read_or_protected_is_not_written_over_and_too_much_is_refused(capsys, files, argv, monkeypatch):
    folder, _ = files
    monkeypatch.chdir(folder)
    (folder / "kept.csv").write_text("kept")
    (folder / "kept.csv").chmod(0o444)
    (folder / "far.csv").write_text('a,"b,c"\n1e308,-1e308\n1,2\n')
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, out, err = call(capsys, *argv)
    assert code == 2 and out == "" and err.count("\n") == 1 and "Traceback" not in err, err
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_columns_of_other_names_are_evaluated_when_told_to(capsys, files):
    folder, rows = files
    (folder / "other.csv").write_text("u,v\n" + "".join(f"{a!r},{b!r}\n" for a, b in rows.tolist()))
    code, out, err = call(capsys, "evaluate", folder / "plain.npz", folder / "other.csv")
    assert code == 2 and out == "" and "has the columns u, v" in err and "--columns 0,1" in err
    assert call(capsys, "evaluate", folder / "plain.npz", folder / "other.csv", "--columns", "0,1")[0] == 0


def test_chains_that_stand_still_are_said_to():
    drawn = draw(gaussian(False), 50, method="langevin", step=1e6, n_steps=20, rng=0)
    assert "hardly more than the starts" in drawn.note


@pytest.mark.parametrize("method", ["reverse", "predictor-corrector"])
def test_samples_of_few_steps_are_said_to_be_too_wide(method, capsys, tmp_path):
    """One step from 20 to 0.2 leaves a variance of 364 where 0.96 is right, as measured; two hundred say nothing (the control)."""
    one = draw(gaussian(True), 2000, sigmas=LEVELS, method=method, n_steps=1, rng=0)
    found = re.search(r"1 step of the reverse diffusion leaves samples too wide, .* with (\S+):", one.note)
    assert found and 0.9 < float(found[1]) * VARIANCES[method][0] / one.samples.var() < 1.1
    assert draw(gaussian(True), 20, sigmas=LEVELS, method=method, rng=0).note == ""
    save_fitted(tmp_path / "net.npz", gaussian(True), UNITS)
    _, _, err = call(capsys, "sample", tmp_path / "net.npz", "-n", "5", "--method", method, "--steps", "2")
    assert "too wide" in err and "method flow" in err


def test_rows_left_out_are_counted_by_evaluate_and_explore(capsys, files):
    folder, rows = files
    (folder / "gaps.csv").write_text('a,"b,c"\n1,\n' + "".join(f"{a!r},{b!r}\n" for a, b in rows.tolist()))
    code, out, _ = call(capsys, "evaluate", folder / "plain.npz", folder / "gaps.csv", "--drop-missing", "--json")
    record = json.loads(out)
    assert code == 0 and record["rows"] == len(rows)
    assert record["notes"][0] == "1 row with missing cells left out; the others are numbered from 1"
    code, out, err = call(capsys, "explore", folder / "gaps.csv", "--drop-missing", "--out", folder / "page.html")
    assert code == 0 and err == "note: 1 row with missing cells left out\n" and out.strip().endswith("page.html")
    assert call(capsys, "evaluate", folder / "plain.npz", folder / "gaps.csv")[0] == 2  # control


def test_tempered_chains_say_what_their_weights_are_worth():
    assert "far modes have the weights of exp(-f)/Z" in draw(gaussian(False), 5, n_steps=3, rng=0).note


def test_an_old_table_stays_where_the_new_one_cannot_be_made(capsys, files, monkeypatch):
    folder, _ = files
    (folder / "s.csv").write_text("old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    code, _, err = call(capsys, "sample", folder / "plain.npz", "-n", "5", "--out", folder / "s.csv")
    assert code == 2 and "No space left" in err and (folder / "s.csv").read_text() == "old"
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_the_list_of_methods_is_the_one_that_is_tried():
    assert set(METHODS) == {*VARIANCES, "tempered"}


def test_samples_outside_the_range_of_the_rows_are_counted_and_clipped_and_rounded_when_asked(capsys, tmp_path):
    """N((10, -3), diag(4, 1/4)) beyond one deviation in a and three in b: 2 (1 - Phi(1)) = .317 and .0027 of the rows."""
    path, out = tmp_path / "net.npz", tmp_path / "s.csv"
    grid = Grid(np.array([8.0, -4.5]), np.array([12.0, -1.5]), np.array([0.0, 0.5]))
    save_fitted(path, gaussian(False), PLAIN._replace(grid=grid))
    code, said, _ = call(capsys, "sample", path, "-n", "2000", "--out", out, "--json")
    left = json.loads(said)["outside"]
    assert code == 0 and abs(left["columns"]["a"] / 2000 - 0.317) < SE * math.sqrt(0.317 * 0.683 / 2000)
    assert left["rows"] >= left["columns"]["a"] > 100 > left["columns"].get("b,c", 0)
    code, said, _ = call(capsys, "sample", path, "-n", "2000", "--out", out)
    words = f"{left['rows']} of 2000 samples leave the range of the rows fitted: a {left['columns']['a']} (8 to 12)"
    assert words in said and "--clip puts them on its ends" in said
    _, said, err = call(capsys, "sample", path, "-n", "2000")
    assert words in err and words not in said  # a table on stdout is a table
    assert call(capsys, "sample", path, "-n", "2000", "--out", out, "--clip", "--round")[0] == 0
    x = np.loadtxt(out, delimiter=",", skiprows=1)
    assert not grid.outside(x).any() and np.array_equal(2 * x[:, 1], np.round(2 * x[:, 1]))
    assert (x[:, 0] == 8).sum() > 100 and len(np.unique(x[:, 0])) > 1000
    save_fitted(path, gaussian(False), PLAIN._replace(grid=grid._replace(low=np.full(2, -50.0), high=np.full(2, 50.0))))
    assert "leave" not in call(capsys, "sample", path, "-n", "2000", "--out", out)[1]  # control
    save_fitted(path, gaussian(False), PLAIN)
    code, _, err = call(capsys, "sample", path, "--round")
    assert code == 2 and "does not hold the columns' ranges" in err


def test_negative_bits_are_explained(capsys, tmp_path):
    """Deviations of 1e-3: the density exceeds 1, log2 of it is positive; in units a thousand times smaller it does not, and nothing is said."""
    for scale, said in ((1e-3, True), (1.0, False)):
        rows = scale * np.random.default_rng(0).standard_normal((40, 2))
        np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="a,b", comments="")
        save_fitted(tmp_path / "net.npz", gaussian(False), Units(("a", "b"), np.zeros(2), np.full(2, scale), 0.1))
        code, out, _ = call(capsys, "evaluate", tmp_path / "net.npz", tmp_path / "rows.csv")
        assert code == 0 and ("a density may exceed 1" in out) == said


@pytest.mark.parametrize(
    "method, function",
    [
        ("reverse", "reverse_diffusion"),
        ("predictor-corrector", "predictor_corrector"),
        ("annealed", "annealed_langevin"),
    ],
)
def test_chains_start_as_wide_as_the_largest_level_and_come_down_to_the_least(method, function, monkeypatch):
    seen = {}

    def stand_in(model, x, sigmas, *rest, **options):
        seen.update(x=x, sigmas=sigmas, rest=rest, step=options.get("step"))
        return SimpleNamespace(samples=x)

    monkeypatch.setattr(sampling_draw, function, stand_in)
    draw(gaussian(True), 400, method=method, sigmas=LEVELS, rng=0)
    assert_standard(seen["x"] / LEVELS[0], 1.0)
    assert (seen["sigmas"][0], seen["sigmas"][-1]) == pytest.approx((20.0, 0.2)) and np.all(np.diff(seen["sigmas"]) < 0)
    if method != "annealed":
        draw(gaussian(True), 4, method=method, sigmas=LEVELS, n_steps=7, rng=0)
        assert len(seen["sigmas"]) == 7
        draw(gaussian(True), 4, method=method, sigmas=LEVELS, n_steps=1, rng=0)
        assert len(seen["sigmas"]) == 2
        draw(gaussian(True), 4, method=method, sigmas=LEVELS, rng=0)
        assert len(seen["sigmas"]) == 200
    else:
        draw(gaussian(True), 4, method=method, sigmas=LEVELS, step=0.01, n_steps=7, rng=0)
        assert seen["step"] == 0.01 and seen["rest"] == (7,)
        draw(gaussian(True), 4, method=method, sigmas=LEVELS, rng=0)
        assert seen["step"] is None and seen["rest"] == (100,)


def calls_of(monkeypatch, *names):
    """What `draw` asks of these samplers, each a record of (name, arguments, options); they answer with where they were to start."""
    asked = []
    for name in names:

        def stand_in(model, x, *rest, name=name, **options):
            asked.append(SimpleNamespace(name=name, x=x, rest=rest, **options))
            x = x if np.ndim(x) else np.zeros((x, model.dim))
            return x if name == "sample_flow" else SimpleNamespace(samples=x, acceptance=np.ones(len(x)))

        monkeypatch.setattr(sampling_draw, name, stand_in)
    return asked


def test_what_is_asked_of_each_sampler_where_nothing_is_said(monkeypatch):
    """n_steps: 100 levels of tempered, 2000 steps of langevin, 100 at each level below a ladder's first; steps of 0.2 sigma^2."""
    asked = calls_of(monkeypatch, "sample_flow", "langevin", "annealed_langevin", "tempered_langevin")
    seeds = np.random.default_rng(3)
    draw(gaussian(True), 5, sigmas=LEVELS, rng=seeds)
    assert (asked[-1].x, asked[-1].sigma_min, asked[-1].sigma_max) == (5, LEVELS[-1], LEVELS[0]) and asked[
        -1
    ].rng is seeds
    draw(gaussian(False), 5, rng=seeds)
    assert (asked[-1].name, asked[-1].x, asked[-1].n_levels, asked[-1].rest) == ("tempered_langevin", 5, 100, (None,))
    assert asked[-1].rng is seeds
    draw(gaussian(False), 5, n_steps=7, rng=seeds)
    assert asked[-1].n_levels == 7
    for model, sigmas, least, told in (
        (gaussian(False), None, 0.1, (True, None)),
        (gaussian(False), 0.5, 0.5, (True, None)),
        (gaussian(True), [3.0, 2.0, 0.5], 0.5, (True, 0.5)),
        (ScoreMLP.init(2, (4,), rng=0), None, 0.1, (False, None)),
    ):
        draw(model, 5, sigmas=sigmas, method="langevin", rng=seeds)
        assert asked[-1].rest == (pytest.approx(0.2 * least**2), 2000) and asked[-1].rng is seeds
        assert (asked[-1].adjusted, asked[-1].sigma) == told
        draw(model, 5, sigmas=sigmas, method="langevin", step=0.3, n_steps=9, rng=seeds)
        assert asked[-1].rest == (0.3, 9)
    for kind, name in ((EnergyMLP, "tempered_langevin"), (ScoreMLP, "langevin")):
        family = ladder([2.0, 0.7, 0.5], kind)
        draw(family.networks[-1], 5, ladder=family, rng=seeds)
        first, then = asked[-2:]
        assert first.name == name and then.name == "annealed_langevin" and then.rng is seeds and then.step is None
        assert then.rest[0].tolist() == [0.7, 0.5] and then.rest[1] == 100 and then.adjusted == (kind is EnergyMLP)
        assert kind is EnergyMLP or first.rest == (pytest.approx(0.2 * 4), 2000)
        draw(family.networks[-1], 5, ladder=family, n_steps=8, step=0.01, rng=seeds)
        assert asked[-1].rest[1] == 8 and asked[-1].step == 0.01
        assert draw(family.networks[-1], 5, ladder=family, method="langevin", rng=seeds).method == "langevin"


@pytest.mark.parametrize("options", [{}, {"method": "langevin", "step": 0.3, "n_steps": 40}, {"ladder": True, "step": 0.2, "n_steps": 40}], ids=["tempered", "langevin", "ladder"])  # fmt: skip
def test_within_a_support_samples_are_those_of_the_part(options):
    """Half-normal columns, of N(0, 1) or at the end of a ladder N(0, 1.25): mean, none outside; starts of langevin are right at once."""
    family = ladder([2.0, 0.7, 0.5])
    net, variance = (family.networks[-1], 1.25) if options else (gaussian(False), 1.0)
    options = options | ({"ladder": family} if "ladder" in options else {})
    drawn = draw(net, 2000, support=(0.0, np.inf), rng=0, **options)
    assert drawn.samples.min() >= 0
    for j in range(2):
        assert stats.kstest(drawn.samples[:, j], stats.halfnorm(scale=math.sqrt(variance)).cdf).pvalue > 1e-4
    again = draw(net, 2000, support=(0.0, np.inf), rng=0, **options)
    assert np.array_equal(drawn.samples, again.samples)
    start = draw(net, 4000, support=(0.0, np.inf), method="langevin", step=1e-9, n_steps=1, rng=0).samples
    assert np.all(np.abs(start.mean(0) - HalfNormal(1.0).sample(10**5, rng=0).mean()) < 5 * 0.6 / math.sqrt(4000))


def test_a_fit_draws_by_itself_and_is_handed_what_was_given():
    asked = []
    fitted = SimpleNamespace(draw=lambda n, **options: asked.append((n, options)) or "drawn")
    assert draw(fitted, 7, method="flow", rng=3, n_steps=0, sigmas=None) == "drawn"
    assert asked == [(7, {"method": "flow", "rng": 3, "n_steps": 0})]
    with pytest.raises(
        TypeError,
        match=r"model is .*Gaussian.*, expected a network or a Fit; it samples itself: \.sample\(n, rng=seed\)",
    ):
        draw(Gaussian(0.0, 1.0), 3)
    with pytest.raises(TypeError, match=r"expected a network or a Fit\.$"):
        draw(3, 3)


def test_no_samples_and_where_chains_stand_still():
    none = draw(gaussian(False), 0, rng=0)
    assert none.samples.shape == (0, 2) and not none.stuck
    for acceptance, stuck in (
        ([0.0, 0.0199], True),
        ([0.01, 0.01], False),
        ([0.0, 0.0201], False),
        ([0.0, 0.024], False),
    ):
        assert Drawn(None, "langevin", np.array(acceptance)).stuck == stuck
    assert not Drawn(None, "flow").stuck


def test_wide_starts_and_levels():
    """N(0, 9 I), cut to the support where there is one; levels that are none, one, or two."""
    net, bowl = EnergyMLP.init(2, (4,), rng=0), gaussian(False)
    assert wide(bowl, None) is None and wide(EnergyMLP.init(2, (4,), confinement=0.3, rng=0), None) is None
    assert wide(net, None).cov.tolist() == [[9, 0], [0, 9]] and wide(net, None).mean.tolist() == [0, 0]
    for model in (net, bowl):
        cut = wide(model, ([0.0, -1.0], [np.inf, 2.0]))
        assert cut.cov.tolist() == [[9, 0], [0, 9]] and cut.support.tolist() == [[0, np.inf], [-1, 2]]
    assert noise_levels("draw", net, None) is None and noise_levels("draw", net, 0) is None
    assert noise_levels("draw", net, [1.0, 0.0]) is None
    assert noise_levels("draw", net, 0.25) == [0.25] and noise_levels("draw", gaussian(True), [2, 1]) == [2.0, 1.0]


def test_the_note_on_few_steps_is_eulers_recursion():
    """Variance of a column of variance 1 through n levels, by a loop of its own; said from a tenth too wide on."""
    from numpyscore.sampling.draw import _too_wide

    said, close = set(), 0
    for top, low in ((20.0, 0.2), (6.0, 0.5), (3.0, 1.5)):
        for n in range(2, 60):
            levels = np.geomspace(top, low, n)
            v = top * top
            for a, b in pairwise(levels):
                kept = 1 - (a * a - b * b) / (1 + a * a)
                v = kept * kept * v + a * a - b * b
            ratio, note = v / (1 + low * low), _too_wide(levels)
            assert (note != "") == (ratio >= 1.1), (top, low, n)
            assert not note or f"with {ratio:.2g}: take more" in note
            assert not note or note.startswith(
                "1 step of the reverse diffusion leaves "
                if n == 2
                else f"{n - 1} steps of the reverse diffusion leave "
            )
            said.add(note != "")
            close += 1.1 <= ratio < 1.124
    assert said == {True, False} and close > 0
