"""`numpyscore evaluate`: what a fitted network says of the rows of a table, and how well its samples agree with them."""

import json
import math

import numpy as np

from .. import __version__
from ..common.files import write_whole
from ..data.csv import from_csv
from ..learning.settings import FAR
from ..learning.units import load_with_ladder
from ..objectives.implicit import generalised, implicit
from ..sampling.annealing import annealed_importance_sampling
from ..sampling.diagnostics import energy_distance, kernel_stein_discrepancy
from ..sampling.draw import draw, wide
from ..sampling.flow import bits_per_dimension, log_likelihood
from ..sampling.normaliser import log_normaliser
from ..sampling.targets import at_level
from .sample import noise_levels, table
from .terminal import FINE, Progress, bold, columns, levels, may_be_written, seed

HELP = "energy, score, trace and log-likelihood of rows; tests of samples against them"
ROWS = 1000  # rows that the tests look at, and samples they compare them with
RESAMPLED = 999  # statistics behind a p value
BELIEVED = 10  # effective chains below which a log Z is not


def arguments(parser):
    """The options of `numpyscore evaluate`."""
    parser.description = (
        "Energy, norm of the score, trace and, where it is defined, log-likelihood of every row, in the units of the data; and two "
        "tests: the kernel Stein discrepancy of the rows from the network's score, and the energy distance between rows and samples."
    )
    parser.epilog = (
        "exit codes: 0 done, 2 usage or input error, 130 interrupted. A small p value says that network and rows differ"
    )
    parser.add_argument("model", metavar="MODEL.npz", help="a network's file")
    parser.add_argument("data", metavar="DATA.csv", help="rows in the units that the network was fitted in")
    parser.add_argument("--columns", type=columns, metavar="A,B", help="columns of DATA.csv, by name or number from 0")
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
    model, units, ladder = load_with_ladder(args.model)
    x = _rows(args, units)
    sigmas = noise_levels(model, units, args.sigma)
    progress = Progress("evaluate")
    try:
        found, record = evaluate(model, units, x, sigmas, args.seed, progress.say, ladder)
    finally:
        progress.clear()
    if args.out is not None:
        write_whole(
            args.out,
            table(
                ["row", *found], zip(range(1, len(x) + 1), *map(np.ndarray.tolist, found.values()), strict=True)
            ).encode(),
        )
    head = {
        "schema": "numpyscore-evaluate/1",
        "version": __version__,
        "model": repr(model),
        "seed": args.seed,
        "out": args.out,
    }
    print(json.dumps(head | record, indent=1, allow_nan=False) if args.json else _words(model, record, args.out))
    return FINE


def _rows(args, units):
    """The table's rows, refused where its columns are not those of the network."""
    read = from_csv(args.data, columns=args.columns)
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
    return read.x


def evaluate(model, units, x, sigmas, seed, say, ladder=None):
    """Columns of numbers for each row of x, by name, and the record of their means and of both tests."""
    sigma = float(np.atleast_1d(sigmas)[-1]) if model.conditional else None
    found = {} if model.kind == "ScoreMLP" else {"energy": units.energy(model, x, sigma=sigma)}
    found["score_norm"] = np.linalg.norm(units.score(model, x, sigma=sigma), axis=1)
    found["trace"] = units.trace(model, x, sigma=sigma)
    say("log-likelihood ...")
    z, rng = units.to_standard(x), np.random.default_rng(seed)
    log_p, how = _log_likelihood(model, z, sigmas, units.standard_support, rng)
    if log_p is not None:
        found["log_likelihood"] = log_p - units.log_volume
        found["bits_per_dimension"] = bits_per_dimension(log_p, model.dim, scale=units.scale)
    record = {
        "rows": len(x),
        "columns": list(units.columns),
        "sigma": sigma,
        "means": {k: _mean(v) for k, v in found.items()},
    }
    loss, name = _loss(model, z, sigma, units.standard_support)
    record[f"{name}_loss_standardised"] = _mean(loss)
    record["likelihood"] = how
    say("tests ...")
    return found, record | _tests(model, z, sigmas, sigma, units.standard_support, rng, ladder)


def _loss(model, z, sigma, support):
    """The loss of each row (n,), and its name: implicit, or where there are ends generalised."""
    if support is not None:
        return generalised(model, z, *support.weight).per_sample, "generalised"
    return implicit(model, z, sigma=sigma).per_sample, "implicit"


def _mean(values):
    """Mean, and its standard error over rows."""
    return {"mean": float(np.mean(values)), "se": float(np.std(values, ddof=1) / math.sqrt(len(values)))}


def _log_likelihood(model, z, sigmas, support, rng):
    """log p of rows (n,), nats per unit of z, or None; and how it was found, or why not."""
    if model.conditional:
        high, low = float(sigmas[0]), float(sigmas[-1])
        log_p = log_likelihood(model, z, sigma_min=low, sigma_max=high, rtol=1e-8)
        return log_p, {"method": "probability flow", "sigma_min": low, "sigma_max": high}
    if model.kind == "ScoreMLP":
        return None, {"method": None, "why": "a score network without noise levels has neither energy nor flow"}
    start = wide(model, support)
    if model.dim <= 3:
        log_Z, error = log_normaliser(model, start)
        if not math.isfinite(log_Z):
            missed = (
                "Z is finite, but the integral of exp(-f) was not found: it is too fine, or too large, for quadrature"
            )
            endless = "Z is infinite: exp(-f) has no integral; train with confinement > 0"
            return None, {"method": None, "why": missed if model.confinement > 0 else endless}
        return -model.energy(z) - log_Z, {"method": "quadrature", "log_normaliser": log_Z, "error_bound": error}
    if model.confinement == 0:
        return None, {
            "method": None,
            "why": "without confinement nothing says that Z is finite, and no quadrature can look",
        }
    target = model if support is None else support.restricted(model)
    log_Z, error, effective = annealed_importance_sampling(target, start, n_chains=500, n_levels=500, rng=rng)
    how = {
        "method": "annealed importance sampling",
        "log_normaliser": log_Z,
        "standard_error": error,
        "effective": effective,
    }
    if effective < BELIEVED:
        return None, how | {"why": f"only {effective:.1f} effective chains: log Z is not to be believed"}
    return -model.energy(z) - log_Z, how


def _tests(model, z, sigmas, sigma, support, rng, ladder):
    """Both tests, on at most ROWS rows; with ends only that of samples, for Stein's identity needs a density that vanishes at them."""
    some = z if len(z) <= ROWS else z[np.sort(rng.choice(len(z), ROWS, replace=False))]
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
    lines += [f"wrote {out}"] * bool(out)
    return "\n".join(lines)
