"""`numpyscore evaluate`: what a fitted network says of the rows of a table, and how well its samples agree with them."""

import json
import math
import sys
import time

import numpy as np

from .. import __version__
from ..learning.columns import left_out
from ..learning.settings import FAR
from ..learning.units import load_with_ladder
from ..objectives.implicit import generalised, implicit
from ..sampling.diagnostics import energy_distance, kernel_stein_discrepancy
from ..sampling.draw import draw
from ..sampling.flow import bits_per_dimension
from ..sampling.likelihood import log_density
from ..sampling.targets import at_level
from .sample import noise_levels, table
from .terminal import FINE, MODEL, Progress, bold, file_at, levels, may_be_written, put, read_table, seed, table_options

HELP = "energy, score, trace and log-likelihood of rows; tests of samples against them"
ROWS = 1000  # rows that the tests look at, and samples they compare them with
RESAMPLED = 999  # statistics behind a p value
MEANT = 20_000  # rows, at random, that means are taken over where no row is asked for
LARGEST = 1e140  # of a number that is averaged
BATCH = 8192  # rows looked at at once
LOSSES = {True: "generalised", False: "implicit"}


def arguments(parser):
    """The options of `numpyscore evaluate`."""
    parser.description = (
        "Energy, norm of the score, trace and, where it is defined, log-likelihood of every row, in the units of the data; and two "
        "tests: the kernel Stein discrepancy of the rows from the network's score, and the energy distance between rows and samples."
    )
    parser.epilog = (
        "exit codes: 0 done, 2 usage or input error, 130 interrupted. A small p value says that network and rows differ"
    )
    parser.add_argument("model", metavar="MODEL.npz", help="a network's file, or the folder of a fit")
    parser.add_argument("data", metavar="DATA.csv", help="rows in the units that the network was fitted in; - is stdin")
    table_options(parser)
    parser.add_argument("--out", metavar="FILE.csv", help="a row of numbers for every row, whole or not at all")
    parser.add_argument(
        "--sigma",
        type=levels,
        metavar="A,B",
        help="noise levels from the largest down, in standardised units (default: the file's)",
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of samples and tests (default 0)")
    parser.add_argument("--json", action="store_true", help="a record for machines")


def run(args):
    """Print the summary, write the rows; returns the exit code."""
    if args.out is not None:
        may_be_written(args.out, [args.model, args.data])
    if args.out == "-" and args.json:
        raise ValueError("--json and --out - both go to stdout: give --out FILE.csv")
    if args.model == "-" and args.data == "-":
        raise ValueError("MODEL.npz and DATA.csv are both -, and there is one stdin: name one of them")
    if str(args.model).endswith((".csv", ".tsv", ".txt")):
        raise ValueError(
            f"{args.model} is a table, expected the network first: numpyscore evaluate MODEL.npz {args.model}"
        )
    with file_at(args.model, "model.npz", MODEL) as path:
        model, units, ladder = load_with_ladder(path)
    progress = Progress("evaluate")
    progress.say(f"evaluate: reading {args.data} ...")
    try:
        table = _rows(args, units)
        sigmas = noise_levels(model, units, args.sigma)
        record = evaluate(model, units, table.x, sigmas, args.seed, progress.say, ladder, args.out)
    finally:
        progress.clear()
    record["notes"] = [f"{note}; the others are numbered from 1" for note in left_out(table.dropped)] + record["notes"]
    head = {
        "schema": "numpyscore-evaluate/1",
        "version": __version__,
        "model": repr(model),
        "seed": args.seed,
        "out": args.out,
    }
    said = json.dumps(head | record, indent=1, allow_nan=False) if args.json else _words(model, record, args.out)
    print(said, file=sys.stderr if args.out == "-" else sys.stdout)
    return FINE


def _rows(args, units):
    """The table, refused where its columns are not those of the network."""
    read = read_table(args)
    wanted = ", ".join(units.columns)
    if read.x.shape[1] != len(units.columns):
        raise ValueError(
            f"{args.data} has {read.x.shape[1]} columns, expected {len(units.columns)}, those of the network: {wanted}. Choose them "
            f"with --columns"
        )
    named = not all(name == f"column {k}" for k, name in enumerate(read.columns, 1))
    if args.columns is None and named and not set(read.columns) & set(units.columns) and units.sigma is not None:
        raise ValueError(
            f"{args.data} has the columns {', '.join(read.columns)}, expected those of the network: {wanted}. If they are the same "
            f"under other names, say so: --columns {','.join(map(str, range(len(units.columns))))}"
        )
    if sorted(read.columns) == sorted(units.columns) and read.columns != tuple(units.columns):
        raise ValueError(
            f"{args.data} has its columns in another order than the network, {wanted}: give --columns {wanted.replace(' ', '')}"
        )
    with np.errstate(over="ignore"):
        far = np.abs((read.x - units.mean) / units.scale).max(axis=1)
    if np.any(far > FAR):
        raise ValueError(
            f"{args.data}: row {int(np.argmax(far)) + 1} is {far.max():.3g} standard deviations away, where squares leave the range of "
            f"numbers; expected rows below {FAR:g}"
        )
    if units.support is not None:
        units.support.refuse_outside(args.data, read.x, "x")
    return read


def evaluate(model, units, x, sigmas, seed, say, ladder=None, out=None):
    """The record of means over rows and of both tests; with `out` each row's numbers go there, in batches, and without it MEANT
    rows at random tell the means."""
    rng = np.random.default_rng(seed)
    looked = x if out is not None or len(x) <= MEANT else x[np.sort(rng.choice(len(x), MEANT, replace=False))]
    rows = _RowByRow(model, units, sigmas, rng, say, len(looked))
    if out is None:
        for _ in rows.batches(looked):
            pass
    else:
        put(out, rows.lines(looked))
    record = {
        "rows": len(x),
        "rows_looked_at": len(looked),
        "columns": list(units.columns),
        "sigma": rows.sigma,
        "means": {name: mean.words() for name, mean in rows.means.items() if name not in LOSSES.values()},
    }
    name = LOSSES[units.support is not None]
    record |= {f"{name}_loss_standardised": rows.means[name].words(), "likelihood": rows.how}
    record["notes"] = _notes(rows.means)
    say("evaluate: tests of the rows and of samples ...")
    some = looked if len(looked) <= ROWS else looked[np.sort(rng.choice(len(looked), ROWS, replace=False))]
    return record | _tests(model, units.to_standard(some), sigmas, rows.sigma, units.standard_support, rng, ladder)


def _notes(means):
    """What surprises at first sight, in words."""
    bits = means.get("bits_per_dimension")
    if bits is None or bits.mean >= 0:
        return []
    return [
        "negative bits per dimension are no mistake: a density may exceed 1, and its bits depend on the units of the columns. Only for "
        "whole numbers, fitted with --dequantise, are they the length of a code, which is not negative"
    ]


class _Mean:
    """Mean and standard error of numbers that come in batches (Chan, Golub & LeVeque 1983)."""

    def __init__(self):
        self.n, self.mean, self.squares = 0, 0.0, 0.0

    def add(self, values):
        n, mean = len(values), float(np.mean(values))
        away, total = mean - self.mean, self.n + n
        self.squares += float(((values - mean) ** 2).sum()) + away**2 * self.n * n / total
        self.mean, self.n = self.mean + away * n / total, total

    def words(self):
        return {"mean": self.mean, "se": math.sqrt(self.squares / (self.n - 1) / self.n)}


def _within_range(found, start):
    """Refuse rows of which the network says what is no number, or one whose square is none."""
    for name, values in found.items():
        beyond = ~(np.abs(values) < LARGEST)
        if beyond.any():
            row = int(np.argmax(beyond))
            raise ValueError(
                f"evaluate: {name.replace('_', ' ')} of row {start + row + 1} is {values[row]:.3g}, expected numbers below {LARGEST:g}, whose "
                f"squares are numbers: the network's weights, the units of the columns or the row are too extreme"
            )


class _RowByRow:
    """What a network says of each row, batch by batch, and the means so far."""

    def __init__(self, model, units, sigmas, rng, say, n):
        self.model, self.units, self.sigmas, self.say, self.n = model, units, sigmas, say, n
        self.sigma = float(np.atleast_1d(sigmas)[-1]) if model.conditional else None
        self.support, self.start, self.means = units.standard_support, time.monotonic(), {}
        self.say("evaluate: log-likelihood ...")
        none = np.zeros((0 if model.conditional else 1, model.dim))  # an energy's Z is found once
        self.value, self.how = log_density(model, none, sigmas=sigmas, support=self.support, rng=rng)

    def batches(self, x):
        """A dict of (m,) arrays for each batch of rows."""
        for start in range(0, len(x), BATCH):
            with np.errstate(over="ignore", invalid="ignore"):
                found = self.look(x[start : start + BATCH])
            _within_range(found, start)
            for name, values in found.items():
                self.means.setdefault(name, _Mean()).add(values)
            yield {name: values for name, values in found.items() if name not in LOSSES.values()}
            share = min(1.0, (start + BATCH) / len(x))
            left = (time.monotonic() - self.start) * (1 - share) / share
            self.say(f"evaluate {share:4.0%} of {len(x)} rows, {left:.0f} s left")

    def look(self, x):
        """The numbers of the rows x (m, d), and their loss."""
        model, units, sigma, z = self.model, self.units, self.sigma, self.units.to_standard(x)
        found = {} if model.kind == "ScoreMLP" else {"energy": units.energy(model, x, sigma=sigma)}
        found["score_norm"] = np.linalg.norm(units.score(model, x, sigma=sigma), axis=1)
        found["trace"] = units.trace(model, x, sigma=sigma)
        if self.value is not None:
            if model.conditional:
                log_p = log_density(model, z, sigmas=self.sigmas).value
            else:
                log_p = -model.energy(z) - self.how["log_normaliser"]
            found["log_likelihood"] = log_p - units.log_volume(z)
            found["bits_per_dimension"] = bits_per_dimension(found["log_likelihood"], model.dim)
        if self.support is not None:
            return found | {LOSSES[True]: generalised(model, z, *self.support.weight, gradient=False).per_sample}
        return found | {LOSSES[False]: implicit(model, z, sigma=sigma, gradient=False).per_sample}

    def lines(self, x):
        """The table of all rows as CSV, in pieces of bytes."""
        first = 1
        for found in self.batches(x):
            rows = zip(range(first, first + BATCH), *map(np.ndarray.tolist, found.values()), strict=False)
            text = table(["row", *found], rows)
            yield (text if first == 1 else text.split("\n", 1)[1]).encode()
            first += BATCH


def _tests(model, some, sigmas, sigma, support, rng, ladder):
    """Both tests, on at most ROWS rows; with ends only that of samples, for Stein's identity needs a density that vanishes at them."""
    target = model if sigma is None else at_level("evaluate", model, sigma)
    if support is not None and model.kind != "EnergyMLP":
        return {"stein": None, "energy_distance": None}
    stein = None if support is not None else kernel_stein_discrepancy(target, some, n_bootstrap=RESAMPLED, rng=rng)
    drawn = draw(model, ROWS, sigmas=sigmas, support=support, ladder=ladder, rng=rng)
    energy = energy_distance(some, drawn.samples, n_permutations=RESAMPLED, rng=rng)
    return {
        "stein": stein and {"value": stein.value, "p_value": stein.p_value, "bandwidth": stein.bandwidth, "rows": len(some)},
        "energy_distance": {"value": energy.value, "p_value": energy.p_value, "rows": len(some), "samples": ROWS, "method": drawn.method, "note": drawn.note},
    }  # fmt: skip


def _words(model, record, out):
    """The record for a reader."""
    lines = [bold(f"{record['rows']} rows, {model!r}")]
    if record["rows_looked_at"] < record["rows"]:
        lines.append(f"  means over {record['rows_looked_at']} of them, drawn at random (all of them with --out)")
    if record["sigma"] is not None:
        lines.append(f"  at noise level {record['sigma']:.4g} in standardised units")
    for name, q in record["means"].items():
        lines.append(f"  {name.replace('_', ' '):<20} {q['mean']:12.5g} +- {q['se']:.2g}")
    name = "implicit" if "implicit_loss_standardised" in record else "generalised"
    loss = record[f"{name}_loss_standardised"]
    lines.append(f"  {f'{name} loss':<20} {loss['mean']:12.5g} +- {loss['se']:.2g}   (standardised units)")
    how = record["likelihood"]
    numbers = ", ".join(f"{k.replace('_', ' ')} {v:.4g}" for k, v in how.items() if isinstance(v, float))
    lines.append(f"  log-likelihood: {how.get('why') or how['method']}{numbers and ' (' + numbers + ')'}")
    s, e = record["stein"], record["energy_distance"]
    if s:
        lines.append(
            f"  kernel Stein discrepancy^2 of {s['rows']} rows from the score   {s['value']:.4g}, p = {s['p_value']:.3g}"
        )
    if e:
        lines.append(
            f"  energy distance of {e['rows']} rows from {e['samples']} samples ({e['method']})   {e['value']:.4g}, p = {e['p_value']:.3g}"
        )
        lines += [f"  note: {e['note']}"] * bool(e["note"])
    lines += [f"  note: {note}" for note in record["notes"]]
    lines += [f"wrote {out}"] * bool(out and out != "-")
    return "\n".join(lines)
