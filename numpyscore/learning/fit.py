r"""Learning a score from rows of data: `fit` chooses the noise and the stopping point by rows that were not trained on.

The training points carry noise, x~ = x + sigma eps. By default one network is told sigma and trained at all levels at once, by denoising.
With levels equally spaced in log sigma and weights sigma^2 that loss, as a mean over levels, bounds what the network's density lacks,

.. math:: \mathrm{KL}(q_{\sigma_{\min}} | p) - \mathrm{KL}(q_{\sigma_{\max}} | p_{\max})
    \le \int \sigma^2 E|s - \nabla \log q_\sigma|^2 \, d\log\sigma,

and rows held out choose the stopping point by it; the least level, that of the density handed out, they choose by their log-likelihood,
which the probability flow gives exactly. (The exact implicit loss at every level has the same minimum, but its gradients scatter
more: at equal steps the held-out log-likelihood of four tables was lower by 0.1 to 0.6 nats a row, at two to five times the price.)

A network without levels is trained at one after the other, and compared by the exact implicit loss of clean rows held out,

.. math:: E[\tfrac12 |s(x)|^2 + \mathrm{tr}\, \partial_x s(x)] = \tfrac12 E|s - s_0|^2 - \tfrac12 E|s_0|^2,

the Fisher divergence to the data up to a constant that no model changes; a score of zero has 0. It is local: a score
that is right near the rows says nothing of where else exp(-f) has mass, so this fit is for scores, not for densities. A training is a sequence of steps, State -> State, each of which depends on the
state before, the data and the settings alone: so one that was stopped continues as if it had not been.
"""

import json
import math
import os
import warnings
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..common.files import write_whole
from ..common.names import missing
from ..data.frames import is_frame, table_of
from ..sampling.draw import draw
from .checkpoints import NAME, Checkpoint
from .splits import Snapshot
from .summary import appraise
from .task import Task
from .units import Units, save_fitted

FILES = ("model.npz", "metrics.csv", "summary.json")


class _Fit(NamedTuple):
    model: Any
    history: tuple
    summary: dict


class Rows(NamedTuple):
    """What `Fit.evaluate` says of rows x, in the units of the data: energy (n,), None for a score network; score (n, d), 1/[x];
    trace (n,), 1/[x]^2; logpdf (n,), nats per unit of [x], None where the network has no density, and then `why`."""

    energy: np.ndarray | None
    score: np.ndarray
    trace: np.ndarray
    logpdf: np.ndarray | None
    why: str = ""


class Fit(_Fit):
    """What `fit` returns: a density, or a score, that is asked in the units of the data, [x].

    ``score(x)``, ``trace(x)``, ``logpdf(x)``, ``evaluate(x)`` and ``sample(n)`` take and give rows as they stand in the table: an array
    (n, d), or a DataFrame with the columns of the one that was fitted. At the least noise level, where there are several; there the
    density is that of the probability flow, and the score its gradient as far as training got.
    Beneath: `model`, the network, which knows standardised rows only, ``units.to_standard(x)``; `history`, Snapshots; `summary`, as
    in summary.json; `units`; and `ladder`, the `Ladder` of the networks that training passed at larger noise, ending with `model`, None
    if there was one level.
    """

    ladder: Any = None
    conditional = False  # as a target for samplers: one density, not one for each noise level

    def score(self, x):
        """Gradient of log p in x at rows x (n, d): (n, d) array, 1/[x]."""
        return self.units.score(self.model, self._rows(x), sigma=self._sigma)

    def trace(self, x):
        """Trace of the score's Jacobian at rows x (n, d): (n,) array, 1/[x]^2."""
        return self.units.trace(self.model, self._rows(x), sigma=self._sigma)

    def logpdf(self, x):
        """Log density of rows x (n, d), nats per unit of the data [x]; see `log_density`.

        Raises ValueError where the network has none, with the reason.
        """
        return self.units.logpdf(self.model, self._rows(x))

    def evaluate(self, x):
        """Energy, score, trace and log density of rows x (n, d), as `numpyscore evaluate` has them: `Rows`."""
        x, units, at = self._rows(x), self.units, {"sigma": self._sigma}
        energy = None if self.model.kind == "ScoreMLP" else units.energy(self.model, x, **at)
        try:
            log_p, why = units.logpdf(self.model, x), ""
        except ValueError as error:
            log_p, why = None, str(error)
        return Rows(energy, units.score(self.model, x, **at), units.trace(self.model, x, **at), log_p, why)

    def sample(self, n, *, rng=None):
        """n samples (n, d) in [x], by the method that suits the network; see `draw`, which says more of how they came about.

        Warns where hardly a proposal was accepted: those are starts, not samples.
        """
        drawn = self.draw(n, rng=rng)
        if drawn.stuck:
            warnings.warn(f"Fit.sample: {drawn.note}", stacklevel=2)
        return drawn.samples

    def draw(self, n, *, rng=None, **options):
        """n samples in [x] with the method and its acceptance: `Drawn`. Options are those of `numpyscore.draw`: method, n_steps, step, sigmas."""
        units = self.units
        told = {"sigmas": units.sigma if self.model.conditional or units.sigma else None, "ladder": self.ladder}
        drawn = draw(self.model, n, support=units.standard_support, rng=rng, **(told | options))
        return drawn._replace(samples=units.to_data(drawn.samples))

    @property
    def units(self):
        """The columns' names, mean, scale, sigma and support: `Units`."""
        return Units.from_dict(self.summary["units"])

    @property
    def _sigma(self):
        """The noise level that the network is told: the least."""
        return float(np.atleast_1d(self.units.sigma)[-1]) if self.model.conditional else None

    def _rows(self, x):
        """Rows in [x], of a DataFrame by the names of its columns."""
        return table_of("Fit", x, self.units.columns).x if is_frame(x) else x

    def _lines(self):
        """What was fitted, how well, and what to ask of it."""
        s, units = self.summary, self.units
        names = ", ".join(units.columns[:6]) + (", ..." if len(units.columns) > 6 else "")
        levels = np.atleast_1d(units.sigma)
        noise = f"noise levels {levels[0]:.3g} to {levels[-1]:.3g}" if len(levels) > 1 else f"noise {levels[0]:.3g}"
        number = lambda q: f"{q['mean']:.4g}" + ("" if q["se"] is None else f" +- {q['se']:.2g}")
        found = s["log_likelihood"] or {"network": s["held_out"], "gaussian": s["gaussian"]}
        what = "log-likelihood held out, nats a row" if s["log_likelihood"] else f"{s['criterion']}, held out"
        beside = f", a Gaussian {number(found['gaussian'])}" if found["gaussian"] else ""
        return [
            f"Fit of {s['rows']} rows x {len(units.columns)} columns ({names}): {s['objective']}, {noise}",
            f"{what}: {number(found['network'])}{beside}{_noted(s['notes'])}",
            ".score(x) .logpdf(x) .evaluate(x) .sample(n) in the units of the data; .model .units .history .summary beneath",
        ]

    def __repr__(self):
        return "\n  ".join(self._lines())

    def _repr_html_(self):
        """The same for a notebook, with the notes."""
        head, *rest = map(escape, self._lines())
        notes = [f"note: {escape(note)}" for note in self.summary["notes"]]
        return f"<div><b>{head}</b><br>{'<br>'.join([*rest, *notes])}</div>"

    def __getattr__(self, name):
        raise missing(self, name)


def _noted(notes):
    return f"; {len(notes)} note{'s' * (len(notes) > 1)} in .summary['notes']" if notes else ""


def fit(
    data, *, objective="multilevel_denoising", sigma="auto", support=None, model=None, rng=0, out=None, resume=False, overwrite=False,
    optimiser="adam", steps=None, batch=None, rate=None, robust=False, dequantise=False, progress=None, announce=None,
):  # fmt: skip
    """Learn the score of the density that rows of data came from; see the module for how sigma and the stopping point are chosen.

    Columns are standardised with the mean and scale of the whole table: a choice of units, which all that is compared shares.
    Where levels are chosen, their correlations are taken out too (`Units.mix`): noise of one size in all directions would hide what
    is thin in one, and of up to 1000 rows the folds choose whether the weights decay towards their Gaussian, the faster the fewer.
    A constant column stays at scale 1. Up to 1000 rows are cross-validated, more are split in three: see `splits`.

    Parameters
    ----------
    data : (n, d) array, n >= 10, [x]; DataFrame or Table, whose names are kept; or path of a CSV file
    objective : str or callable
        "multilevel_denoising", for a density: a conditional network at all levels at once. For the score alone "implicit", "sliced",
        "finite_difference_sliced" (on noisy rows), "denoising"; or (model, x, sigma, generator) -> Loss, for example `explicit` towards
        the score of ``Parzen(rows, sigma)``. "generalised" is "implicit" for half-lines and boxes: see support.
    sigma : "auto", a number >= 0, or (L,) array
        Noise on the training points in standardised units, a standard deviation. For "multilevel_denoising" the levels; "auto" takes
        those of `suggest_levels`, none below 0.01, and the density handed out is that at the level, of the lower ones, at which rows held
        out have the greatest log-likelihood. For a network without levels "auto" trains from 0.8 down to 0.07, to 0.035 where a
        table is split in three (higher where the rows are further apart), each level from where the one before stopped, and the
        held-out rows choose; in three parts, less noise only where it is better by two standard errors. For
        "generalised" sigma h, which vanishes at the ends and keeps the mean distance from one end; the held-out rows choose among the
        networks at the ends of levels.
    support : (lower, upper), for "generalised" and only for it, [x]
        Ends of the columns, each one number or (d,), infinite where there is none. The weight h is the distance to the nearer end, at
        most one standard deviation, and 1 in a column without ends; each step takes d directions, one for each column.
    model : EnergyMLP or ScoreMLP, optional
        Where training starts, dim d. By default an EnergyMLP, a conditional one for "multilevel_denoising".
    rng : seed or numpy.random.Generator
        Same seed, data and options, same bits: on one machine, with one build of NumPy and its BLAS and one number of threads.
    out : path of a folder, optional
        Gets model.npz, metrics.csv, summary.json and, every two seconds, checkpoint.npz, each written whole or not at all.
    resume : bool
        Continue from the checkpoint in `out`; with Adam the result is that of a run never stopped, bit for bit, and with L-BFGS too,
        since it starts anew at every snapshot, stopped or not. Where there is no checkpoint yet, begin.
    overwrite : bool
        Begin anew in a folder that holds a fit.
    optimiser : "adam" or "lbfgs"
        Adam draws fresh noise at each step, warms up, decays, and hands out an average of its weights. L-BFGS keeps the noise of a level.
    steps : int, optional
        Steps at each noise level; by default 120 for a table that is cross-validated, 1000 for a larger one; 800 and 5000 in all for "multilevel_denoising".
    batch : int, optional
        Rows in a step of Adam, 256 by default; all where there are no more.
    rate : float, optional
        Largest learning rate of Adam, 0.01 by default.
    robust : bool
        Scale columns by median and quartiles in place of mean and standard deviation, which one cell may rule, and beyond the quartiles
        by logarithms (`Units.tail`), which draw far cells in; within ends by quartiles alone.
    dequantise : bool
        Add a uniform number from -1/2 to 1/2 to the columns of whole numbers; see `columns.dequantised`.
    progress : callable, optional
        Called as progress(share of the work done, state) after each step.
    announce : callable, optional
        Called as announce(seconds, words) before the first step, with the time that this may take on this machine, as `Task.expected`
        finds it by a few steps; not for L-BFGS, whose steps tell no time.

    Returns
    -------
    Fit
        Asked in the units of the data: ``score(x)``, ``logpdf(x)``, ``evaluate(x)``, ``sample(n)``; model, history, summary beneath.

    Raises
    ------
    ValueError
        For data that cannot be learned from, unknown names, a checkpoint that is damaged or of another fit, a loss that is no longer
        finite. `datasets.CSVError` for an unusable file.
    OSError
        If `out` cannot be written, or holds a fit already. The last checkpoint stays as it was.
    """
    task = Task(data, objective, sigma, model, rng, optimiser, steps, batch, rate, support, robust, dequantise)
    if out is not None:
        out = os.fsdecode(out)
        _free(out, resume or overwrite)
    checkpoint = Checkpoint(out, task.seal)
    state = checkpoint.read(task) if out is not None and resume else None
    if state is None:
        state = task.start()
        checkpoint.write(state)  # what cannot be written is found out now
    if announce is not None and (seconds := task.expected(state)) is not None:
        words = f"{task.split.runs} training{'s' * (task.split.runs > 1)} of {task.steps * len(task.sigmas)} steps"
        announce(seconds, words + ", and likelihoods" * task.model.conditional)
    try:
        while state.run < task.split.runs:
            state = task.next(state)
            checkpoint.keep(state)
            if progress is not None:
                progress(task.share(state), state)
    except KeyboardInterrupt:
        checkpoint.write(state)
        raise
    checkpoint.write(state)
    network, ladder = task.handed_out(state)
    result = Fit(network, state.history, appraise(task, state, state.best[2], ladder))
    result.ladder = ladder
    if out is not None:
        write_results(out, result)
    return result


def _free(out, known):
    """Make the folder; refuse one that holds a fit, unless that is `known`."""
    os.makedirs(out, exist_ok=True)
    there = [name for name in (NAME, *FILES) if os.path.exists(os.path.join(out, name))]
    if there and not known:
        raise FileExistsError(
            f"fit: the folder {out} holds a fit already ({', '.join(there)}); continue it with --resume (resume=True), begin anew "
            f"with --overwrite (overwrite=True), or choose another folder."
        )


def write_results(out, result):
    """model.npz, metrics.csv and summary.json in the folder `out`, each whole or not at all."""
    save_fitted(os.path.join(out, "model.npz"), result.model, result.units, result.ladder)
    lines = [",".join(Snapshot._fields)]
    lines += [",".join("" if math.isnan(value) else repr(value) for value in line) for line in result.history]
    write_whole(os.path.join(out, "metrics.csv"), "\n".join([*lines, ""]).encode())
    text = json.dumps(result.summary, indent=1, allow_nan=False)
    write_whole(os.path.join(out, "summary.json"), f"{text}\n".encode())
