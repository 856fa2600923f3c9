"""Files that survive: whole or not at all, sizes before contents, and a network's units beside it."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from numpyscore import EnergyMLP, ScoreMLP, load
from numpyscore.common.files import digest, read_npz, write_npz, write_whole
from numpyscore.learning.columns import Grid
from numpyscore.learning.units import Units, ladder_of, load_fitted, load_ladder, save_fitted, units_of
from numpyscore.networks.models import network_of
from numpyscore.sampling.targets import Ladder

EPS = np.finfo(float).eps
resource = pytest.importorskip("resource")  # POSIX


# ------------------------------------------------------------------------------- whole or not at all


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path):
    write_whole(tmp_path / "a", b"old")
    write_whole(str(tmp_path / "a"), b"new")
    assert (tmp_path / "a").read_bytes() == b"new" and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_after_a_failure_the_old_file_is_there_and_the_error_names_it(moment, tmp_path, monkeypatch):
    write_whole(tmp_path / "a", b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, moment, full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a'"):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_an_interrupt_in_between_leaves_the_old_file_too(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", b"old")

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix", reason="resource limits are POSIX's")
def test_a_full_disk_leaves_the_old_file():
    """RLIMIT_FSIZE in a process of its own: the write itself fails, halfway, as on a full disk."""
    code = """
import os, resource, sys, tempfile
from numpyscore.common.files import write_whole
with tempfile.TemporaryDirectory() as folder:
    write_whole(folder + "/a", b"old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    try:
        write_whole(folder + "/a", bytes(5000))
    except OSError as error:
        print(error.filename == folder + "/a", open(folder + "/a", "rb").read(), os.listdir(folder))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True b'old' ['a']\n", done.stderr


def test_a_folder_where_the_file_should_be_is_an_error(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match=r"a'$"):
        write_whole(tmp_path / "a", b"new")
    assert os.listdir(tmp_path) == ["a"]


# ------------------------------------------------------------------------------- archives


def test_a_size_is_looked_at_before_anything_is_unpacked(tmp_path):
    """Half a megabyte that would inflate to half a gigabyte: refused with hardly any memory used."""
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("W1.npy", "w", force_zip64=True) as out,
    ):
        np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": ((1 << 29) // 8,)})
        for _ in range(1 << 5):
            out.write(bytes(1 << 24))
    assert path.stat().st_size < 1 << 21
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="would unpack to 53687"):
        read_npz(path, ValueError, 1 << 28)
    with pytest.raises(ValueError, match="numbers that say nothing"):  # below max_bytes, and a thousand times the file
        read_npz(path, ValueError, 1 << 62)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 16  # kilobytes


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 20, 1 << 12), (-1,), (7,), (9,)])
def test_a_header_that_promises_another_array_than_there_is_takes_no_memory(shape, tmp_path):
    """8 numbers under a header of more: NumPy would make room for them (8 TB are given, as long as nobody writes there)."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("W1.npy", stream.getvalue() + bytes(64))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"W1.npy has 64 bytes for an array of \(.*\) numbers of float64"):
        read_npz(tmp_path / "a.npz", ValueError)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_the_same_arrays_are_the_same_bytes_whatever_the_time(tmp_path, monkeypatch):
    arrays = {"a": np.arange(3.0), "word": np.asarray("word"), "bit": True}
    write_npz(tmp_path / "a.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 1.7e9)
    write_npz(tmp_path / "b.npz", arrays)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["a", "bit", "word"] and file["a"].tobytes() == arrays["a"].tobytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(tmp_path / "c.npz", {"a": np.array([{}], object)})
    assert sorted(os.listdir(tmp_path)) == ["a.npz", "b.npz"]


def test_a_link_stays_a_link_and_permissions_stay(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_whole(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new" and target.stat().st_mode & 0o777 == 0o600


def test_the_digest_sees_names_dtypes_shapes_and_bytes():
    a = {"a": np.arange(6.0), "b": np.float64(1)}
    variants = [
        {"a": np.arange(6.0), "c": np.float64(1)},
        {"a": np.arange(6.0).reshape(2, 3), "b": np.float64(1)},
        {"a": np.arange(6.0).astype(np.float32), "b": np.float64(1)},
        {"a": np.arange(6.0), "b": np.nextafter(1.0, 2)},
    ]
    assert digest(a) == digest(dict(reversed(a.items())))
    assert len({digest(v) for v in [a, *variants]}) == 5


# ------------------------------------------------------------------------------- a network and its units

UNITS = Units(("a", "b", "c"), np.array([1e3, -2.0, 0.5]), np.array([10.0, 0.1, 3.0]), 0.14)


@pytest.mark.parametrize("sigma", [0.14, 0.0, np.array([1.0, 0.1])], ids=["one", "none", "levels"])
def test_a_network_and_its_units_survive_the_file(sigma, tmp_path):
    path, model = tmp_path / "model.npz", EnergyMLP.init(3, (5,), rng=0)
    save_fitted(path, model, UNITS._replace(sigma=sigma))
    again, units = load_fitted(path)
    assert again.theta.tobytes() == model.theta.tobytes() == load(path).theta.tobytes()
    assert units.columns == UNITS.columns and type(units.sigma) is type(sigma)
    for name in ("mean", "scale", "sigma"):
        np.testing.assert_array_equal(getattr(units, name), getattr(UNITS._replace(sigma=sigma), name))


def test_the_grid_of_the_columns_survives_the_file_and_a_wrong_one_is_refused(tmp_path):
    path, model = tmp_path / "model.npz", EnergyMLP.init(3, (5,), rng=0)
    grid = Grid(np.array([0.0, -3, 1]), np.array([9.0, 2, 1]), np.array([1.0, 0, 0.1]))
    units = UNITS._replace(grid=grid)
    save_fitted(path, model, units)
    for found in (load_fitted(path)[1], Units.from_dict(json.loads(json.dumps(units.to_dict())))):
        np.testing.assert_array_equal(found.grid, grid)
    for wrong in (grid._replace(low=np.full(3, 10.0)), grid._replace(step=-grid.step), grid._replace(step=np.ones(2))):
        save_fitted(path, model, UNITS._replace(grid=wrong))
        with pytest.raises(ValueError, match="ranges of columns that do not fit"):
            load_fitted(path)


def rungs():
    first, model = (EnergyMLP.init(3, (5,), rng=seed) for seed in (1, 0))
    return Ladder((first, model), np.array([0.8, 0.14]))


def test_a_ladder_survives_the_file_and_does_not_disturb_who_does_not_ask(tmp_path):
    path, ladder = tmp_path / "model.npz", rungs()
    save_fitted(path, ladder.networks[-1], UNITS, ladder)
    again = load_ladder(path)
    assert [net.theta.tobytes() for net in again.networks] == [net.theta.tobytes() for net in ladder.networks]
    np.testing.assert_array_equal(again.sigmas, ladder.sigmas)
    assert load_fitted(path)[0].theta.tobytes() == load(path).theta.tobytes() == ladder.networks[-1].theta.tobytes()
    save_fitted(path, ladder.networks[-1], UNITS)
    assert load_ladder(path) is None


@pytest.mark.parametrize(
    "change",
    [{"ladder_sigma": np.array([0.1])}, {"ladder_sigma": np.ones((1, 1))}, {"ladder_sigma": None}, {"sigma": None},
     {"ladder_theta": np.zeros((1, 3))}, {"ladder_theta": np.full((1, 26), np.nan)}, {"ladder_theta": np.array([["a"] * 26])}],
    ids=range(7),
)  # fmt: skip
def test_a_wrong_ladder_is_one_value_error(change, tmp_path):
    path, ladder = tmp_path / "model.npz", rungs()
    save_fitted(path, ladder.networks[-1], UNITS, ladder)
    with np.load(path) as file:
        data = dict(file) | {f"data_{name}": value for name, value in change.items()}
    write_npz(path, {name: value for name, value in data.items() if value is not None})
    with pytest.raises(ValueError, match=r"^load: .*ladder.*expected a file written by"):
        load_ladder(path)


def test_a_network_saved_alone_has_the_units_of_its_x(tmp_path):
    model, x = ScoreMLP.init(3, (5,), rng=0), np.random.default_rng(1).standard_normal((4, 3))
    model.save(tmp_path / "model.npz")
    _, units = load_fitted(tmp_path / "model.npz")
    np.testing.assert_array_equal(units.to_standard(x), x)
    assert units.columns == ("x1", "x2", "x3") and not units.log_volume(x).any() and units.sigma is None


WRONG = {
    "no mean": {"mean": None},
    "a mean too short": {"mean": np.zeros(2)},
    "a scale of 0": {"scale": np.array([1.0, 0, 1])},
    "NaN": {"scale": np.full(3, np.nan)},
    "columns that are numbers": {"columns": np.arange(3.0)},
    "a negative sigma": {"sigma": np.float64(-1)},
    "a matrix of levels": {"sigma": np.ones((2, 2))},
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_units_are_one_value_error(name, tmp_path):
    path = tmp_path / "model.npz"
    save_fitted(path, EnergyMLP.init(3, (5,), rng=0), UNITS)
    with np.load(path) as file:
        data = dict(file)
    for key, value in WRONG[name].items():
        del data[f"data_{key}"]
        if value is not None:
            data[f"data_{key}"] = value
    write_npz(path, data)
    with pytest.raises(ValueError, match=r"^load: .*model\.npz .*expected a file written by"):
        load_fitted(path)


def forgeries(a):
    """What cannot stand in the place of an entry of a model file: missing, of another dtype, another shape, not finite."""
    yield from (
        None,
        np.asarray("three"),
        np.asarray(b"x"),
        np.asarray([1 + 2j]),
        np.zeros((2, 3, 4)),
        np.zeros((3, 0)),
        np.zeros(0, "V8"),
    )
    for dtype in ("?", "i8", "f2", "f4", "g", "c16", "S5", "M8[s]", [("a", "f8")]):
        if np.dtype(dtype) != a.dtype:
            yield np.zeros(a.shape, dtype)
    yield np.stack([a, a])
    if a.ndim:
        yield from (a[:-1], np.concatenate([a, a[-1:]]), a[..., None])
    if a.dtype.kind == "f":
        yield from (np.full_like(a, np.nan), np.full_like(a, -np.inf))


@pytest.mark.parametrize("kind", ["energy", "score", "levels", "ladder"])
def test_whatever_entry_of_a_model_file_is_forged_it_is_one_value_error(kind, tmp_path):
    path, make = tmp_path / "model.npz", ScoreMLP if kind == "score" else EnergyMLP
    model = make.init(3, (4,), rng=0, conditional=kind == "levels")
    units = UNITS._replace(sigma=np.array([1.0, 0.1]) if kind == "levels" else 0.14)
    ladder = Ladder((make.init(3, (4,), rng=1), model), np.array([0.8, 0.14])) if kind == "ladder" else None
    save_fitted(path, model, units, ladder)
    good, tried = read_npz(path, ValueError), 0
    for name, a in {**good, "data_more": np.zeros(3), "W9": np.zeros((1, 1))}.items():
        for forged in forgeries(a):
            if (forged is None and name not in good) or (
                name[0] in "Wb" and forged is not None and forged.dtype == int
            ):
                continue  # integer weights are numbers: see test_parameters.py
            data = {key: value for key, value in good.items() if key != name} | (
                {} if forged is None else {name: forged}
            )
            with pytest.raises(ValueError, match=r"^load: .*expected a file written by") as caught:
                network_and_units(data)
            assert "\n" not in str(caught.value) and len(str(caught.value)) < 2000, name
            tried += 1
    assert tried > 150
    network_and_units(good)  # the control


def network_and_units(data):
    """What `load_with_ladder` makes of the entries of a file, without the file."""
    refuse = lambda why: ValueError(f"load: model.npz {why}; expected a file written by `numpyscore fit`")
    model = network_of(data, refuse)
    return model, units_of(data, model.dim, refuse), ladder_of(data, model, refuse)


@pytest.mark.parametrize("conditional", [False, True], ids=["plain", "conditional"])
def test_energy_score_and_trace_in_the_users_units(conditional):
    """Complex steps through z = (x - mean) / scale, of the network alone.

    |x - mean| / scale rounds by eps |mean| / scale = 100 eps in z, which is what the tolerance allows, with the size of the
    derivatives and 1/scale^2 = 100 in front.
    """
    model, rng = (
        EnergyMLP.init(3, (6, 5), "tanh", confinement=0.3, conditional=conditional, rng=0),
        np.random.default_rng(2),
    )
    x = UNITS.mean + UNITS.scale * rng.standard_normal((40, 3))
    told = {"sigma": rng.uniform(0.5, 2, 40)} if conditional else {}
    energy = lambda x: model.energy((x - UNITS.mean) / UNITS.scale, **told)
    score = lambda x: model.score((x - UNITS.mean) / UNITS.scale, **told) / UNITS.scale
    step = 1e-30j * np.eye(3)
    gradient = np.stack([energy(x + h).imag / 1e-30 for h in step], 1)
    trace = sum(score(x + h)[:, i].imag / 1e-30 for i, h in enumerate(step))
    np.testing.assert_allclose(UNITS.energy(model, x, **told), energy(x) + np.log(3.0), rtol=0, atol=1e3 * EPS)
    np.testing.assert_allclose(UNITS.score(model, x, **told), -gradient, rtol=0, atol=1e4 * EPS)
    np.testing.assert_allclose(UNITS.trace(model, x, **told), trace, rtol=0, atol=1e5 * EPS)
    assert (
        abs(UNITS.trace(model, x, **told) - model.trace(UNITS.to_standard(x), **told)).max() > 1
    )  # control: other units


def test_standard_units_and_back():
    z = np.random.default_rng(0).standard_normal((50, 3))
    np.testing.assert_allclose(UNITS.to_standard(UNITS.to_data(z)), z, rtol=0, atol=4e2 * EPS)  # eps mean / scale = 100
    with pytest.raises(ValueError, match=r"to_data: z has shape \(50, 2\)"):
        UNITS.to_data(z[:, :2])
