"""One fit as steps from state to state: what stays the same, the next step, what networks are compared by, what the last is worth.

Derivations and choices stand in `fit`; this is their order.
"""

import math
import time
from typing import Any

import numpy as np

from ..common.inputs import count, generator, positive
from ..objectives.arrays import denoising_loss, generalised_loss, implicit_loss
from ..objectives.denoising import multilevel_denoising
from ..objectives.implicit import generalised, implicit
from ..sampling.flow import log_likelihood
from ..sampling.targets import Ladder
from .baselines import BASELINES
from .checkpoints import State, seal_of
from .optimisers import Adam, adam_start, adam_step, learning_rate, minimise
from .settings import levels_for, network_for, objective_of, rows_of, support_within, without_correlations
from .splits import Folds, NestedFolds, Snapshot, ThreeWay, some

SMALL = 1000  # rows up to which a table is cross-validated
SNAPSHOTS = {False: 6, True: 8}  # of each level; of a network that is told the level, in all
CHOOSING, WEIGHED = 300, 1000  # rows, of those that choose and of those that report, whose log-likelihood is computed
LEASTS, LARGEST_LEAST = 5, 0.5  # least levels to choose among, and how large one may be
MANY = 100_000  # rows that a baseline is fitted to, at most
ROUGHLY, DIGITS = 1e-2, 1e-4  # nats: tolerance of a log-likelihood that chooses among levels, and of one reported
TRIED, EVALUATIONS = 5, 250  # steps by which a time is foretold; times that a flow asks for a row's score and trace
AVERAGED = 3  # the weights handed out are averaged over about this part of the steps of a level
BATCH, RATE = 256, 0.01  # of Adam
DECAYS = 30.0, 0.0  # of a conditional network's weights, times columns over rows trained on: the folds choose
LARGEST_DECAY = 1.0
SHOWN = 300  # rows of those trained on that a snapshot looks at


class Task:
    """What stays the same during a fit: rows, settings, splits; and `next`, from one State to the following."""

    def __init__(
        self, data, objective, sigma, model, rng, optimiser, steps, batch, rate, support=None, robust=False, dequantise=False,
    ):  # fmt: skip
        whole = isinstance(rng, int | np.integer) and rng >= 0
        self.seed = int(rng) if whole else int(generator("fit", rng).integers(1 << 63))
        self._data(data, objective, sigma, model, support, robust, dequantise)
        self._training(optimiser, steps, batch, rate)
        self.asked = {
            "objective": self.objective, "sigma": sigma, "lower and upper": support, "network": self.model, "seed": self.seed,
            "optimiser": optimiser, "steps": self.steps, "batch": self.batch, "rate": self.rate, "robust": robust,
            "dequantise": dequantise, "columns": ", ".join(self.units.columns), "rows": len(self.z),
        }  # fmt: skip
        self._held_out(isinstance(sigma, str))
        self._now: Any = (None, None)

    def _data(self, data, objective, sigma, model, support, robust, dequantise):
        """Rows z (n, d) and their units, what is minimised, where it starts, at which noise."""
        x, z, units, self.notes = rows_of(data, robust, dequantise, self.seed, within=support is not None)
        self.units = units._replace(support=support_within(support, objective, x))
        self.support = self.units.standard_support
        self.objective, self.rule = objective_of(objective, self.support, z)
        self.model = network_for(model, z.shape[1], self.objective, self.seed)
        if self.model.conditional and isinstance(sigma, str):
            z, self.units = without_correlations(z, self.units)
        self.z = z.astype(self.model.theta.dtype)
        self.sigmas = levels_for(sigma, self.objective, self.model.conditional, self.z, len(z) <= SMALL)

    def _training(self, optimiser, steps, batch, rate):
        """The optimiser, and how many steps it takes from one snapshot to the next."""
        if optimiser not in ("adam", "lbfgs"):
            raise ValueError(f"fit: optimiser is {optimiser!r}, expected 'adam' or 'lbfgs'.")
        if optimiser == "lbfgs" and (batch is not None or rate is not None):
            raise ValueError(
                f"fit: optimiser is 'lbfgs' and {'rate' if batch is None else 'batch'} was given, which is Adam's: L-BFGS takes all rows and "
                f"finds its own steps. Leave it out."
            )
        self.optimiser = optimiser
        self.batch = count("fit", "batch", BATCH if batch is None else batch)
        self.rate = positive("fit", "rate", RATE if rate is None else rate)
        several = self.model.conditional
        usual = (800, 5000) if several else (120, 1000)
        self.steps = usual[len(self.z) > SMALL] if steps is None else count("fit", "steps", steps)
        # within ends a network stopped midway through a level lacks the tail, which the loss hardly sees, and its mean is too long
        whole = self.support is not None and len(self.sigmas) > 1
        self.every = self.steps if whole else max(1, self.steps // SNAPSHOTS[several])

    def _held_out(self, auto):
        """Which rows train, choose and report, and what the choice is among."""
        (n, d), several = self.z.shape, self.model.conditional
        split: Any = ThreeWay if n > SMALL else Folds if several else NestedFolds
        self.decays = self._decays()
        ways = {"ways": len(self.decays)} if split is Folds else {}
        self.split = split(n, self.steps * len(self.sigmas), np.random.default_rng((self.seed, n)), **ways)
        self.rows_tested = np.sort(np.concatenate([rows for rows, _ in self.split.tested()]))
        self.leasts = self._leasts(auto)
        if several:  # noise of the rows that are looked at, the same in every comparison
            self.seen = self.split.looked_at(SHOWN)
            self.noise = np.random.default_rng((self.seed, n, 1)).standard_normal((len(self.seen), d))

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
        options = {"memory": max(0.0, 1 - AVERAGED / self.steps), "decay": self.decay(run)}
        return adam_step(adam, gradient, now, **options), 1, value

    def _decays(self):
        """How fast weights may decay where what they decay to is a density, the Gaussian of the columns; 0 alone elsewhere.

        Of few rows in many columns a network learns the rows themselves, and the more so the longer it is trained: decay is worth .5
        nats of wine, 178 x 13. Where rows lie along curves or in corners it costs detail, .6 nats of 55 rows along one, .4 of 220
        skewed ones: so rows held out choose. A large table is trained for long and stopped by them.
        """
        gaussian = self.model.conditional and self.model.kind == "EnergyMLP" and self.model.confinement > 0
        few = self.objective == "multilevel_denoising" and len(self.z) <= SMALL and self.optimiser == "adam"
        return DECAYS if gaussian and few else (0.0,)

    def decay(self, run):
        """How fast the weights decay in a training."""
        return min(LARGEST_DECAY, self.decays[run.way] * self.z.shape[1] / len(run.rows))

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

    def choosing(self, state):
        """The (run, fold) pairs whose scores chose the network that is handed out."""
        if not isinstance(self.split, Folds):
            return self.split.scored()
        return self.split.scored(way=self.split.chosen(state.history)[0])

    # ---- what a conditional network is worth, once training has ended

    def tests(self, state):
        """(network, rows that it tests, rows that choose for it) for each test of a conditional network."""
        if isinstance(self.split, ThreeWay):
            return [(self.model.with_theta(state.best[0]), self.split.report, self.split.choose)]
        steps = sorted({line.step for line in state.history if line.fold == 0})
        out = []
        for k, fold in enumerate(self.split.folds):
            way, step = self.split.chosen(state.history, k)
            theta = state.kept[(way * len(self.split.folds) + k) * len(steps) + steps.index(step)]
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

    def handed_out(self, state):
        """The network of the last state, and the Ladder of those that training passed at larger noise, None if it passed none."""
        theta, _, step = state.best
        net, above = self.model.with_theta(theta), (step - 1) // self.steps
        if above == 0:
            return net, None
        networks = (*map(self.model.with_theta, state.ladder[:above]), net)
        return net, Ladder(networks, np.array(self.sigmas[: above + 1]))
