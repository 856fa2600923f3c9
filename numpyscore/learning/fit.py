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
import time
import warnings
from html import escape
from typing import Any, NamedTuple

import numpy as np

from ..common.files import write_whole
from ..common.inputs import count, generator, positive
from ..common.names import missing
from ..data.frames import is_frame, table_of
from ..objectives.arrays import denoising_loss, generalised_loss, implicit_loss
from ..objectives.denoising import multilevel_denoising
from ..objectives.implicit import generalised, implicit
from ..sampling.draw import draw
from ..sampling.flow import log_likelihood
from ..sampling.targets import Ladder
from .baselines import BASELINES
from .checkpoints import NAME, Checkpoint, State, seal_of
from .optimisers import Adam, adam_start, adam_step, learning_rate, minimise
from .settings import levels_for, network_for, objective_of, rows_of, support_within, without_correlations
from .splits import Folds, NestedFolds, Snapshot, ThreeWay, best_step, some
from .summary import appraise
from .units import Units, save_fitted

SMALL = 1000  # rows up to which a table is cross-validated
SNAPSHOTS = {False: 6, True: 8}  # of each level; of a network that is told the level, in all
CHOOSING, WEIGHED = 300, 1000  # rows, of those that choose and of those that report, whose log-likelihood is computed
LEASTS, LARGEST_LEAST = 5, 0.5  # least levels to choose among, and how large one may be
MANY = 100_000  # rows that a baseline is fitted to, at most
ROUGHLY, DIGITS = (
    1e-2,
    1e-4,
)  # nats: tolerance of a log-likelihood that chooses among levels, and of one that is reported
TRIED, EVALUATIONS = (
    5,
    250,
)  # steps by which a time is foretold; times that a flow asks the network for a row's score and trace
AVERAGED = 3  # the weights handed out are averaged over about this part of the steps of a level
BATCH, RATE = 256, 0.01  # of Adam
SHOWN = 300  # rows of those trained on that a snapshot looks at
FILES = ("model.npz", "metrics.csv", "summary.json")


# ------------------------------------------------------------------------------- fit


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
    Where columns are nearly functions of one another, and levels are chosen, their correlations are taken out too (`Units.mix`):
    noise of one size in all directions would hide what is thin in one.
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
        Scale columns by median and quartiles in place of mean and standard deviation, which one cell may rule.
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
    result = task.result(state)
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


# ------------------------------------------------------------------------------- one fit as steps from state to state


class Task:
    """What stays the same during a fit: rows, settings, splits; and `next`, from one State to the following."""

    def __init__(
        self, data, objective, sigma, model, rng, optimiser, steps, batch, rate, support=None, robust=False, dequantise=False,
    ):  # fmt: skip
        self.seed = (
            int(rng) if isinstance(rng, int | np.integer) and rng >= 0 else int(generator("fit", rng).integers(1 << 63))
        )
        x, z, units, self.notes = rows_of(data, robust, dequantise, self.seed)
        self.units = units._replace(support=support_within(support, objective, x))
        self.support = self.units.standard_support
        self.objective, self.rule = objective_of(objective, self.support, z)
        self.model = network_for(model, z.shape[1], self.objective, self.seed)
        if self.model.conditional and isinstance(sigma, str):
            z, self.units = without_correlations(z, self.units)
        self.z = z.astype(self.model.theta.dtype)
        n = len(z)
        if optimiser not in ("adam", "lbfgs"):
            raise ValueError(f"fit: optimiser is {optimiser!r}, expected 'adam' or 'lbfgs'.")
        if optimiser == "lbfgs" and (batch is not None or rate is not None):
            raise ValueError(
                f"fit: optimiser is 'lbfgs' and {'rate' if batch is None else 'batch'} was given, which is Adam's: L-BFGS takes all rows and "
                f"finds its own steps. Leave it out."
            )
        batch, rate = BATCH if batch is None else batch, RATE if rate is None else rate
        self.optimiser, self.batch = optimiser, count("fit", "batch", batch)
        self.rate = positive("fit", "rate", rate)
        self.sigmas = levels_for(sigma, self.objective, self.model.conditional, self.z, n <= SMALL)
        usual = (800, 5000) if self.model.conditional else (120, 1000)
        self.steps = usual[n > SMALL] if steps is None else count("fit", "steps", steps)
        several = self.model.conditional
        self.asked = {
            "objective": self.objective, "sigma": sigma, "lower and upper": support, "network": self.model, "seed": self.seed,
            "optimiser": optimiser, "steps": self.steps, "batch": batch, "rate": rate, "robust": robust, "dequantise": dequantise,
            "columns": ", ".join(self.units.columns), "rows": n,
        }  # fmt: skip
        # within ends a network stopped midway through a level lacks the tail, which the loss hardly sees, and its mean is too long
        whole = self.support is not None and len(self.sigmas) > 1
        self.every = self.steps if whole else max(1, self.steps // SNAPSHOTS[several])
        split: Any = ThreeWay if n > SMALL else Folds if several else NestedFolds
        self.split = split(n, self.steps * len(self.sigmas), np.random.default_rng((self.seed, n)))
        self._now: Any = (None, None)
        self.rows_tested = np.sort(np.concatenate([rows for rows, _ in self.split.tested()]))
        self.leasts = self._leasts(isinstance(sigma, str))
        if several:  # noise of the rows that are looked at, the same in every comparison
            self.seen = self.split.looked_at(SHOWN)
            self.noise = np.random.default_rng((self.seed, n, 1)).standard_normal((len(self.seen), z.shape[1]))

    def _leasts(self, auto):
        """Indices of the levels that may be the least of the density handed out; the last one alone where levels were given."""
        if not (self.model.conditional and auto):
            return []
        last = len(self.sigmas[0]) - 1
        first = max(1, int(np.argmax(self.sigmas[0] <= max(LARGEST_LEAST, self.sigmas[0][-1]))))
        return sorted({round(k) for k in np.linspace(first, last, LEASTS)}) if first < last else [last]

    @property
    def seal(self):
        """All that the states depend on, as text that says what differs between two fits."""
        rest = {
            "data": {"z": self.z, "mean": self.units.mean, "scale": self.units.scale},
            "weights of the network": {"theta": self.model.theta},
            "noise levels": {"sigmas": np.concatenate([np.atleast_1d(s) for s in self.sigmas])},
            "ends": {} if self.support is None else self.support._asdict(),
        }
        return seal_of(self.asked, rest)

    def start(self):
        """The first state."""
        return State(0, 0, None, 0.0, 0, (), np.full(len(self.rows_tested), np.nan), self._nothing, *[self._none] * 2)

    def misfit(self, state):
        """What of a state cannot have come about by `next`, "" if nothing: which snapshots there are follows from run and step alone."""
        if state.run > self.split.runs or (
            state.run == self.split.runs and not (len(state.best[0]) and state.step == 0)
        ):
            return f"it is at training {state.run} of {self.split.runs}, step {state.step}"
        lines, kept, at, stop = [(line.run, line.fold, line.step) for line in state.history], 0, 0, 0
        for index in range(min(state.run + 1, self.split.runs)):
            run = self._run(index, state.history[:at])
            stop = run.stop if index < state.run else state.step
            steps = [s for s in range(1, min(stop, run.stop) + 1) if s % self.steps % self.every == 0]
            expected = [(index, fold, step) for step in steps for fold in run.folds or [-1]]
            if stop > run.stop or lines[at : at + len(expected)] != expected:
                return f"the history of training {index} is not that of its {stop} steps"
            at += len(expected)
            kept += len(steps) * self._later(run)
        sizes = {
            "history": (len(lines), at),
            "kept": (len(state.kept), kept),
            "ladder": (len(state.ladder), stop // self.steps),
        }
        sizes["adam"] = (state.adam is not None, state.step > 0)
        wrong = [
            f"{name} has {found} entries where {right} belong"
            for name, (found, right) in sizes.items()
            if found != right
        ]
        return "" if not wrong else wrong[0]

    def share(self, state):
        """The share of all steps that is done, counting every training at its full length."""
        return (state.run + state.step / (self.steps * len(self.sigmas))) / self.split.runs

    def expected(self, state):
        """Seconds that are left from a state on, by the times of a step, of a look at rows and of one of the flow's; None for L-BFGS."""
        if self.optimiser != "adam":
            return None
        run, steps, net = self._run(0, ()), self.steps * len(self.sigmas), self.model
        first = self.next(self.start())

        def seconds(work):
            """The least of TRIED times: others wait for what is loaded for the first time, or for other processes."""
            times = []
            for _ in range(TRIED):
                start = time.perf_counter()
                work()
                times.append(time.perf_counter() - start)
            return min(times)

        looks = np.concatenate([run.rows[:SHOWN], *run.folds.values()])
        step, look = seconds(lambda: self.next(first)), seconds(lambda: self.criterion(net, looks))
        training = self.split.runs * steps * (step + look / self.every)
        done = 1 - self.share(state)
        if not net.conditional:
            return done * training
        levels = len(self.leasts) or 1
        reported = self.rows_tested[:WEIGHED]
        weighed = (
            levels * min(CHOOSING, len(reported)) + len(reported) if len(self.z) > SMALL else levels * len(reported)
        )
        sigma = float(self.sigmas[0][-1])
        seen = self.z[reported[:SHOWN]]
        once = seconds(lambda: net.evaluate(seen, score=True, trace=True, sigma=sigma)) / len(seen)
        return done * training + EVALUATIONS * weighed * once

    def next(self, state):
        """The state after one step more, or after the end of a training."""
        run = self._run(state.run, state.history)
        if state.step >= run.stop:
            return self._finish(run, state)
        level, k = divmod(state.step, self.steps)
        adam = state.adam or adam_start(self.model.theta)
        if k == 0 and state.adam:
            adam = adam_start(adam.average)
        advance = self._adam if self.optimiser == "adam" else self._lbfgs
        adam, done, value = advance(run, state, adam, level, k)
        if not math.isfinite(value):
            raise ValueError(
                f"fit: the training loss is {value} at step {state.step + done} (sigma = {self.sigmas[level]}), expected a "
                f"finite number: training diverged. Lower the rate, now {self.rate:g}, or raise sigma."
            )
        state = state._replace(step=state.step + done, adam=adam, total=state.total + value, terms=state.terms + 1)
        at_snapshot = state.step % self.steps % self.every == 0
        return self._snapshot(run, state, level) if at_snapshot else state

    def _run(self, index, history):
        """The training `index`, looked up once."""
        if self._now[0] != index:
            self._now = (index, self.split.run(index, history))
        return self._now[1]

    def _adam(self, run, state, adam, level, k):
        """One step of Adam on fresh noise, drawn from (seed, run, step)."""
        rng = np.random.default_rng((self.seed, state.run, state.step, 2))
        rows = run.rows if len(run.rows) <= self.batch else rng.choice(run.rows, self.batch, replace=False)
        loss = self.rule(self.model.with_theta(adam.theta), self.z[rows], self.sigmas[level], rng)
        gradient, value = loss.gradient, float(loss.value)
        now = learning_rate(k + 1, self.steps, self.rate)
        return adam_step(adam, gradient, now, memory=max(0.0, 1 - AVERAGED / self.steps)), 1, value

    def _lbfgs(self, run, state, adam, level, k):
        """L-BFGS up to the next snapshot, anew from where the last one stopped, on the noise of this level."""
        copies = (
            max(1, 2000 // len(run.rows)) if np.any(self.sigmas[level]) else 1
        )  # of each row, each with its own noise
        x = np.tile(self.z[run.rows], (copies, 1))
        draw = lambda: np.random.default_rng((self.seed, state.run, level, 3))
        iterations = min(self.every, self.steps - k)
        net, history = minimise(
            self.model.with_theta(adam.average),
            lambda net: self.rule(net, x, self.sigmas[level], draw()),
            max_iterations=iterations,
        )
        zero = np.zeros_like(net.theta)
        return Adam(net.theta, zero, zero, net.theta, k + iterations), iterations, history[-1]

    def _snapshot(self, run, state, level):
        """The averaged network scored, and kept if it is the best of this training."""
        net = self.model.with_theta(state.adam.average)
        train = float(self.criterion(net, run.rows[:SHOWN]).mean())
        sigma = 0.0 if np.ndim(self.sigmas[level]) else float(self.sigmas[level])
        held = {fold: float(self.criterion(net, rows).mean()) for fold, rows in run.folds.items()} or {-1: math.nan}
        lines = tuple(
            Snapshot(state.run, fold, sigma, state.step, state.total / state.terms, train, value)
            for fold, value in held.items()
        )
        mean, best = float(np.mean(list(held.values()))), state.best
        if mean < best[1] and self._worth(run, net, level, best):
            best = (net.theta, mean, state.step)
        done = state.step % self.steps == 0
        ladder = np.vstack([state.ladder, net.theta]) if done else state.ladder
        kept = np.vstack([state.kept, net.theta]) if self._later(run) else state.kept
        return state._replace(total=0.0, terms=0, history=state.history + lines, best=best, ladder=ladder, kept=kept)

    def _later(self, run):
        """Whether this training tests its fold once the others have chosen for it."""
        return isinstance(self.split, Folds) and bool(run.folds)

    def _worth(self, run, net, level, best):
        """Whether a level with less noise than that of the best so far is better by two standard errors, row by row.

        Trainings that report only: the others leave the choice to the mean over all of them.
        """
        theta, _, step = best
        if not len(run.report) or not len(theta) or (step - 1) // self.steps == level:
            return True
        (rows,) = run.folds.values()
        gain = self.criterion(self.model.with_theta(theta), rows) - self.criterion(net, rows)
        return gain.mean() > 2 * gain.std(ddof=1) / math.sqrt(len(rows))

    def _finish(self, run, state):
        """The rows that this training reports on, and the start of the next; the last one's parameters stay in `best`."""
        best = state.best if run.folds else (state.adam.average, math.nan, state.step)
        scores = state.scores.copy()
        if len(run.report):
            at = np.searchsorted(self.rows_tested, run.report)
            scores[at] = self.criterion(self.model.with_theta(best[0]), run.report)
        last = state.run + 1 == self.split.runs
        kept = (best, state.ladder) if last else (self._nothing, self._none)
        return State(state.run + 1, 0, None, 0.0, 0, state.history, scores, *kept, state.kept)

    @property
    def _nothing(self):
        return np.empty(0, self.model.theta.dtype), math.inf, 0

    @property
    def _none(self):
        return np.empty((0, len(self.model.theta)), self.model.theta.dtype)

    # ---- what is compared

    def criterion(self, net, rows):
        """The loss of clean rows by which networks are compared (n,): exact implicit, or generalised; of a conditional one, denoising,

        with each noise and its opposite: what is linear in it falls out.
        """
        if self.support is not None:
            return generalised(net, self.z[rows], *self.support.weight, gradient=False).per_sample
        if not net.conditional:
            return implicit(net, self.z[rows], gradient=False).per_sample
        z, eps = self.z[rows], self.noise_of(rows)
        both = [multilevel_denoising(net, z, self.sigmas[0], noise=e, gradient=False).per_sample for e in (eps, -eps)]
        return 0.5 * (both[0] + both[1])

    def noise_of(self, rows):
        """The unit noise (n, d) by which these rows are compared, of those that are ever looked at."""
        return self.noise[np.searchsorted(self.seen, rows)]

    def density_criterion(self, density, rows):
        """The same of a density in closed form."""
        z = self.z[rows].astype(float)
        if self.support is not None:
            diagonal = np.diagonal(density.jacobian(z), axis1=1, axis2=2)
            return generalised_loss(density.score(z), diagonal, *(w(z) for w in self.support.weight))
        if not self.model.conditional:
            return implicit_loss(density.score(z), density.trace(z))
        total = 0
        for sigma in self.sigmas[0]:
            q = density.perturbed(sigma)
            for eps in (self.noise_of(rows), -self.noise_of(rows)):
                total = total + 0.5 * sigma**2 * denoising_loss(q.score(z + sigma * eps), eps, sigma)
        return total / len(self.sigmas[0])

    def compared(self, make):
        """The held-out loss of make(rows trained on), a density, at `rows_tested`."""
        out = np.empty(len(self.rows_tested))
        for tested, trained in self.split.tested():
            at = np.searchsorted(self.rows_tested, tested)
            out[at] = self.density_criterion(make(self.z[trained].astype(float)), tested)
        return out

    # ---- what a conditional network is worth, once training has ended

    def tests(self, state):
        """(network, rows that it tests, rows that choose for it) for each test of a conditional network."""
        if isinstance(self.split, ThreeWay):
            return [(self.model.with_theta(state.best[0]), self.split.report, self.split.choose)]
        steps = sorted({line.step for line in state.history if line.fold == 0})
        out = []
        for k, fold in enumerate(self.split.folds):
            step, _ = best_step(state.history, self.split.scored(k))
            theta = state.kept[k * len(steps) + steps.index(step)]
            out.append((self.model.with_theta(theta), fold, np.setdiff1d(np.arange(len(self.z)), fold)))
        return out

    def scores(self, state):
        """The held-out loss at `rows_tested`."""
        if not isinstance(self.split, Folds):
            return state.scores
        out = np.empty(len(self.rows_tested))
        for net, rows, _ in self.tests(state):
            out[rows] = self.criterion(net, rows)
        return out

    def log_likelihoods(self, state):
        """Rows tested, their log-likelihood (n,) in nats per unit of z at a level that other rows chose, and the level that all chose."""
        tests, levels = self.tests(state), self.leasts or [len(self.sigmas[0]) - 1]
        ends = {"sigma_max": self.sigmas[0][0]}
        flow = lambda net, rows, rtol=DIGITS: np.column_stack(
            [log_likelihood(net, self.z[rows], sigma_min=self.sigmas[0][k], rtol=rtol, **ends) for k in levels]
        )
        if isinstance(self.split, ThreeWay):
            ((net, report, choose),) = tests
            choose, report = choose[some(len(choose), CHOOSING)], report[some(len(report), WEIGHED)]
            means = flow(net, choose, ROUGHLY).mean(axis=0) if len(levels) > 1 else np.zeros(1)
            levels = [levels[int(np.argmax(means))]]
            return report, flow(net, report)[:, 0], levels[0]
        rows = np.concatenate([fold for _, fold, _ in tests])
        log_p = np.empty((len(rows), len(levels)))
        for net, fold, _ in tests:
            log_p[fold] = flow(net, fold)
        chosen = np.empty(len(rows))
        for _, fold, others in tests:
            chosen[fold] = log_p[fold, int(np.argmax(log_p[others].mean(axis=0)))]
        return np.arange(len(rows)), chosen, levels[int(np.argmax(log_p.mean(axis=0)))]

    def rivals(self, rows):
        """The log-likelihood at these rows, of those tested, of each baseline fitted to the rows that the network there saw."""
        out = {name: np.empty(len(rows)) for name in BASELINES}
        for tested, trained in self.split.tested():
            tested = np.intersect1d(tested, rows)
            x = self.z[trained[some(len(trained), MANY)]].astype(float)
            for name, make in BASELINES.items():
                out[name][np.searchsorted(rows, tested)] = make(x).logpdf(self.z[tested].astype(float))
        return out

    def result(self, state):
        """The Fit of the last state."""
        theta, _, step = state.best
        net, ladder, above = self.model.with_theta(theta), None, (step - 1) // self.steps
        if above > 0:
            networks = (*map(self.model.with_theta, state.ladder[:above]), net)
            ladder = Ladder(networks, np.array(self.sigmas[: above + 1]))
        result = Fit(net, state.history, appraise(self, state, step, ladder))
        result.ladder = ladder
        return result
