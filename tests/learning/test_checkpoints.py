"""Checkpoints that were forged and sealed again are refused in one line, whichever entry was changed and how."""

import numpy as np
import pytest

from numpyscore import EnergyMLP, GaussianMixture, ScoreMLP, fit
from numpyscore.common.files import digest, read_npz, write_npz
from numpyscore.learning.checkpoints import Checkpoint
from numpyscore.learning.task import Task

ROWS = GaussianMixture([0.4, 0.6], [[-2.0, 0.0], [2.0, 1.0]], 0.3).sample(30, rng=0)
FITS = {
    "implicit": {"objective": "implicit", "steps": 6, "sigma": 0.3, "model": EnergyMLP.init(2, (3,), "silu", rng=0)},
    "levels": {
        "objective": "multilevel_denoising",
        "steps": 6,
        "sigma": [1.0, 0.3],
        "model": ScoreMLP.init(2, (3,), "silu", conditional=True, rng=0, dtype=np.float32),
    },
}  # fmt: skip


class Stop:
    """A progress callable that raises KeyboardInterrupt at the k-th call."""

    def __init__(self, k):
        self.left = k

    def __call__(self, share, state):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


NIGHTLY = pytest.mark.nightly
WHEN = [("implicit", 9), ("levels", 13), *(pytest.param((name, 10**6), marks=NIGHTLY) for name in FITS)]


@pytest.fixture(params=WHEN, ids=lambda p: f"{p[0]} {p[1]}")
def stopped(request, tmp_path):
    """The options of a fit stopped in the middle, or at its end, its folder, and the entries of its checkpoint."""
    name, k = request.param
    if k < 10**6:
        with pytest.raises(KeyboardInterrupt):
            fit(ROWS, out=tmp_path, progress=Stop(k), **FITS[name])
    else:
        fit(ROWS, out=tmp_path, **FITS[name])
    return FITS[name], tmp_path, read_npz(tmp_path / "checkpoint.npz", ValueError)


def task_of(options):
    """The Task that `fit` makes of the options, with its own defaults for the rest."""
    objective, sigma, model, steps = (options[name] for name in ("objective", "sigma", "model", "steps"))
    return Task(ROWS, objective, sigma, model, 0, "adam", steps, 256, 0.01)


def sealed(folder, data):
    """Write the entries with a checksum that is right."""
    data = {name: a for name, a in data.items() if name != "sha256"}
    write_npz(folder / "checkpoint.npz", data | {"sha256": np.asarray(digest(data))})


def read(task, folder, seal):
    """The state in the folder's checkpoint, as `fit` reads it."""
    return Checkpoint(folder, str(seal)).read(task)


def forgeries(name, a):
    """What somebody may put in the place of an entry; none of them can stand there."""
    yield from (None, np.asarray("three"), np.asarray([1 + 2j]), np.zeros((2, 3, 4)), np.zeros(0, "V8"))
    for dtype in ("i8" if a.dtype.kind == "f" else "f8", "f4" if a.dtype == np.float64 else "f2", "S5"):
        yield np.zeros(a.shape, dtype)
    yield np.stack([a, a])
    if a.ndim:
        yield from (a[:-1], np.concatenate([a, a[-1:]])) if len(a) else (np.zeros((1, *a.shape[1:]), a.dtype),)
        yield a[..., None]
    if a.dtype.kind == "i":
        yield from (a - 10**6, a + 10**6, a + 1)
    if name.startswith(("adam", "best_theta", "ladder", "kept")) and a.ndim and a.size:
        yield np.full_like(a, np.nan)
        yield np.full_like(a, np.inf)


def test_every_forged_entry_is_refused_in_one_line(stopped):
    options, folder, data = stopped
    task = task_of(options)
    names = [name for name in data if name not in ("format", "version", "seal", "sha256", "terms", "adam_step")]
    tried = 0
    for name in names:
        for forged in forgeries(name, data[name]):
            if (
                name == "best_step"
                and forged is not None
                and forged.shape == ()
                and forged.dtype.kind == "i"
                and forged > 0
            ):
                continue  # which of its steps was best no reader can know
            if name in ("scores", "best_value", "total") and forged is not None and forged.dtype == np.float32:
                continue  # numbers with fewer digits, in the shape of those that belong there
            entries = {key: a for key, a in data.items() if key != name} | ({} if forged is None else {name: forged})
            sealed(folder, entries)
            with pytest.raises(ValueError, match=r"^fit: .*checkpoint.npz lacks what a checkpoint holds .*") as caught:
                read(task, folder, data["seal"])
            assert "\n" not in str(caught.value), name
            tried += 1
    assert tried > 100
    sealed(folder, data)  # the control: what was not forged is read, and goes on
    assert read(task, folder, data["seal"]).run == data["run"]
    fit(ROWS, out=folder, resume=True, **options)


def test_a_history_of_other_steps_and_an_entry_too_many_are_refused(stopped):
    options, folder, data = stopped
    history = data["history"].copy()
    history[0, 3] += 1
    for entries in (data | {"history": history}, data | {"history": history[::-1]}, data | {"more": np.zeros(1)}):
        sealed(folder, entries)
        with pytest.raises(ValueError, match="lacks what a checkpoint holds"):
            read(task_of(options), folder, data["seal"])
