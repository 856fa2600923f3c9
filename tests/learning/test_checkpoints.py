"""Checkpoints that were forged and sealed again are refused in one line."""

import numpy as np
import pytest

from numpyscore.common.files import write_npz
from numpyscore.learning.checkpoints import Checkpoint, State, digest, to_arrays

GOOD = State(0, 1, None, 0.5, 3, (), np.zeros((1, 2)), (np.zeros(4), 0.25, 1), np.array([1.0, 0.5]), np.zeros((0, 4)))


@pytest.mark.parametrize(
    "name, forged",
    [
        ("step", np.inf),
        ("run", np.nan),
        ("best_step", np.inf),
        ("step", "three"),
        ("history", np.inf),
        ("adam_step", 2),
    ],
)
def test_a_forged_checkpoint_is_refused(name, forged, tmp_path):
    checkpoint, path = Checkpoint(tmp_path, "seal"), tmp_path / "checkpoint.npz"
    arrays = to_arrays(GOOD, "seal")
    write_npz(path, arrays)
    assert checkpoint.read().step == 1, "the control: what was not forged is read"
    del arrays["sha256"]
    arrays[name] = np.asarray(forged)
    write_npz(path, arrays | {"sha256": np.asarray(digest(arrays))})
    with pytest.raises(ValueError, match="lacks what a checkpoint holds"):
        checkpoint.read()
