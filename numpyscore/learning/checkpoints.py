"""A training that can be stopped at any time: its state written whole or not at all, and read back with a checksum."""

import json
import os
import time
from typing import Any, NamedTuple

import numpy as np

from ..common.files import digest, read_npz, text, write_npz
from ..common.names import shortened
from .optimisers import Adam
from .splits import Snapshot

NAME = "checkpoint.npz"
VERSION = 5  # of the format
SECONDS = 2.0  # between checkpoints: what a kill may cost


class State(NamedTuple):
    """Everything between two steps of `fit`; the next state depends on this one, the data and the settings alone.

    run, step : the training and its steps so far. adam : the optimiser (None before its first step). total, terms : sum and
    number of training losses since the last snapshot. history : Snapshots. scores : held-out loss of each row that is tested,
    NaN before. best : parameters of the snapshot that the held-out rows chose in this training, its value, its step.
    ladder : (levels done, p), the averaged parameters at the end of each noise level of this training. kept : (snapshots, p), those
    at each snapshot of the trainings that left a fold out, where folds choose for one another.

    There is no generator among them: the random numbers of a step are drawn from (seed, run, step).
    """

    run: int
    step: int
    adam: Adam | None
    total: float
    terms: int
    history: tuple
    scores: np.ndarray
    best: tuple
    ladder: np.ndarray
    kept: np.ndarray


def to_arrays(state, seal):
    """A State as a dict of arrays; `seal` says of which data and settings: see `seal_of`."""
    adam = state.adam
    theta, value, step = state.best
    arrays: dict[str, Any] = {"format": "numpyscore-checkpoint", "version": VERSION, "seal": seal}
    arrays |= {"run": state.run, "step": state.step, "total": state.total, "terms": state.terms, "scores": state.scores}
    arrays |= {"history": np.array(state.history, float).reshape(-1, len(Snapshot._fields))}
    arrays |= {"best_theta": theta, "best_value": value, "best_step": step, "ladder": state.ladder}
    arrays |= {"kept": state.kept}
    if adam is not None:
        arrays |= {f"adam_{name}": value for name, value in adam._asdict().items()}
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    return arrays | {"sha256": np.asarray(digest(arrays))}


def from_arrays(data, first):
    """The State that `to_arrays` wrote, of the shapes and dtypes of a fit whose first state is `first`.

    Raises
    ------
    ValueError
        If an entry is missing, or is not what stands there in a checkpoint of such a fit.
    """
    (_, p), dtype = first.ladder.shape, first.ladder.dtype

    def entry(name, kind, *shape):
        """An entry of this dtype or kind and shape, None for any length; counts are not negative, parameters finite."""
        a = data.get(name)
        fits = (
            a is not None and a.ndim == len(shape) and all(m in (None, k) for m, k in zip(shape, a.shape, strict=True))
        )
        if not (fits and kind in (a.dtype.kind, a.dtype.str)):
            found = "missing" if a is None else f"{a.dtype} of shape {a.shape}"
            raise ValueError(f"{name} is {found}, expected {kind} of shape {shape}")
        if (kind == "i" and not (a >= 0).all()) or (kind == dtype.str and not np.isfinite(a).all()):
            raise ValueError(f"{name} holds numbers that are negative or not finite")
        return a

    known = {"format", "version", "seal", "sha256", *to_arrays(first, "")}
    adam = None
    if "adam_step" in data:
        known |= {f"adam_{name}" for name in Adam._fields}
        theta, m, v, average = (entry(f"adam_{name}", dtype.str, p) for name in Adam._fields[:-1])
        adam = Adam(theta, m, v, average, int(entry("adam_step", "i")))
    if strange := sorted(set(data) - known):
        raise ValueError(f"{strange[0]} is no entry of a checkpoint")
    history = tuple(
        Snapshot(int(run), int(fold), sigma, int(step), *rest)
        for run, fold, sigma, step, *rest in entry("history", "f", None, len(Snapshot._fields)).tolist()
    )
    best_step = int(entry("best_step", "i"))
    best = (entry("best_theta", dtype.str, p if best_step else 0), float(entry("best_value", "f")), best_step)
    counts = (int(entry("run", "i")), int(entry("step", "i")))
    sums = (float(entry("total", "f")), int(entry("terms", "i")))
    scores, ladder, kept = (
        entry("scores", "f", len(first.scores)),
        entry("ladder", dtype.str, None, p),
        entry("kept", dtype.str, None, p),
    )
    return State(*counts, adam, *sums, history, scores, best, ladder, kept)


def seal_of(options, rest):
    """What a fit is of, as text: its options, name -> what was asked for; the rest, name -> arrays, that follows from these and the data."""
    words = {name: str(value) for name, value in options.items()}
    return json.dumps({"options": words, "rest": {name: digest(arrays) for name, arrays in rest.items()}})


def _differences(theirs, mine):
    """The options in which two seals differ, in words; where they agree in all of them, what else is different."""
    try:
        theirs, mine = json.loads(theirs), json.loads(mine)
        then, now = theirs["options"], mine["options"]
        words = [f"{name} {then.get(name)}, now {now.get(name)}" for name in now if then.get(name) != now.get(name)]
        others = [name for name in mine["rest"] if theirs["rest"].get(name) != mine["rest"][name]]
    except (ValueError, LookupError, TypeError, AttributeError):
        return "of other data or options"
    return f"begun with {'; '.join(words)}" if words else f"of other {' and '.join(others) or 'data'}"


class Checkpoint:
    """The file checkpoint.npz in the folder `out`, sealed with what was fitted; without a folder nothing is kept."""

    def __init__(self, out, seal):
        self.path = None if out is None else os.path.join(out, NAME)
        self.seal, self.saved, self.mine = seal, time.monotonic(), None

    def read(self, task):
        """The State in the file; None if there is no file.

        Parameters
        ----------
        task : the `Task` that it is to be a state of: its `start()`, and its `misfit(state)`, "" or what cannot be.

        Raises
        ------
        ValueError
            If the file is damaged, foreign, or of other data or settings.
        """

        def refuse(why):
            return ValueError(
                f"fit: {self.path} {shortened(why)}; expected a checkpoint of this fit. Remove it to begin anew, or choose another folder."
            )

        try:
            data = read_npz(self.path, refuse, max_bytes=1 << 62)  # as large as it was written
        except FileNotFoundError:
            return None
        if text(data, "format") != "numpyscore-checkpoint":
            raise refuse("is an npz file, but not a numpyscore checkpoint")
        if text(data, "version") != str(VERSION):
            raise refuse(f"has format version {text(data, 'version')}, this program reads version {VERSION}")
        if text(data, "sha256") != digest({name: a for name, a in data.items() if name != "sha256"}):
            raise refuse("is damaged: its contents do not have the checksum that stands in it")
        if text(data, "seal") != self.seal:
            raise refuse(f"is of another fit: {_differences(text(data, 'seal'), self.seal)}")
        try:
            state = from_arrays(data, task.start())
            if misfit := task.misfit(state):
                raise ValueError(misfit)
        except (LookupError, ValueError, TypeError, ArithmeticError) as error:
            raise refuse(f"lacks what a checkpoint holds ({error})") from None
        return state

    def keep(self, state):
        """Write the state if the last time is SECONDS ago."""
        if self.path is not None and time.monotonic() - self.saved >= SECONDS:
            self.write(state)

    def write(self, state):
        """Write the state now."""
        if self.path is None:
            return
        if self.mine is not None and _identity(self.path) not in (None, self.mine):
            raise OSError(
                f"fit: another fit has written {self.path} since this one did; give each a folder of its own."
            )
        write_npz(self.path, to_arrays(state, self.seal))
        self.saved, self.mine = time.monotonic(), _identity(self.path)


def _identity(path):
    """Which file stands at a path, None if none does; a write puts another there."""
    try:
        at = os.stat(path)
    except FileNotFoundError:
        return None
    return at.st_ino, at.st_mtime_ns
