"""`numpyscore fit`: learn the density of a table of numbers, with the noise and the stopping point chosen by rows held out."""

import json
import os
import sys
import time
from itertools import pairwise

import numpy as np

from .. import __version__
from ..common.files import write_whole
from ..common.inputs import count
from ..common.names import nearest
from ..display.fit_figure import fit_picture
from ..learning.checkpoints import NAME
from ..learning.fit import fit
from ..learning.settings import GENERALISED, OBJECTIVES
from ..networks.models import EnergyMLP, ScoreMLP
from ..sampling.draw import draw
from .terminal import FINE, Progress, bold, ends, measured, no_stdout, note, read_table, seed, table_options, whole

HELP = "learn the density of a table, noise and stopping point chosen by rows held out"
DRAWN = 1000  # samples in the picture
LONG = 20  # seconds from which the time is said before
LARGEST = 1 << 25  # weights of a network asked for by --widths


def arguments(parser):
    """The options of `numpyscore fit`."""
    parser.description = (
        "Trains a network on the rows of a table, standardised, with noise on them, and writes model.npz, metrics.csv, summary.json "
        "and fit.png. By default one network learns all noise levels at once and is a density: exact log-likelihoods and samples by its "
        "probability flow. Rows held out choose the stopping point and the least noise, and report the log-likelihood beside that of a "
        "Gaussian, a kernel density and a Gaussian mixture. --objective implicit learns the score at one level: sharper near "
        "the rows, and with no say about where else its exp(-f) has mass."
    )
    parser.epilog = "exit codes: 0 done, 2 usage or input error, 130 interrupted (continue with --resume)"
    parser.add_argument(
        "data",
        metavar="DATA.csv",
        help="numeric columns, with or without a header; - is stdin, a folder the table in it",
    )
    table_options(parser)
    parser.add_argument(
        "--objective",
        default="multilevel_denoising",
        metavar="NAME",
        help=f"{', '.join(OBJECTIVES)}, {GENERALISED} (default multilevel_denoising)",
    )
    parser.add_argument(
        "--sigma", default="auto", metavar="X", help="noise in standard deviations of a column, or auto (default)"
    )
    parser.add_argument(
        "--lower", type=ends, metavar="A,B", help="lower end of every column, or of each; -inf where none (generalised)"
    )
    parser.add_argument(
        "--upper", type=ends, metavar="A,B", help="upper end of every column, or of each; inf where none (generalised)"
    )
    parser.add_argument(
        "--dequantise", action="store_true", help="add a uniform number from -1/2 to 1/2 to columns of whole numbers"
    )
    parser.add_argument(
        "--robust", action="store_true", help="scale columns by median and quartiles, far cells by logarithms"
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: DATA-fit)")
    parser.add_argument("--resume", action="store_true", help="continue the fit that was stopped in DIR")
    parser.add_argument("--overwrite", action="store_true", help="begin anew in a DIR that holds a fit")
    parser.add_argument(
        "--network", choices=("energy", "score"), default="energy", help="what the network gives (default energy)"
    )
    parser.add_argument(
        "--widths", metavar="32,32", help="units of the hidden layers (default 32,32,32; more in more than 8 columns)"
    )
    parser.add_argument("--optimiser", choices=("adam", "lbfgs"), default="adam", help="default adam")
    parser.add_argument("--steps", type=whole, metavar="N", help="steps at each noise level")
    parser.add_argument("--batch", type=whole, metavar="N", help="rows in a step of Adam (default 256)")
    parser.add_argument("--rate", type=float, metavar="X", help="largest learning rate of Adam (default 0.01)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of splits, network and noise (default 0)")
    parser.add_argument("--json", action="store_true", help="summary.json on stdout")


def run(args):
    """Fit, write the folder, print what was found; returns the exit code."""
    if args.out is not None:
        no_stdout(args.out)
    if args.resume and args.overwrite:
        raise ValueError("--resume continues a fit and --overwrite begins anew: give one of them")
    _objective(args.objective)
    progress = _Watch()
    progress.say(f"fit: reading {args.data} ...")
    try:
        table = read_table(args)
    finally:
        progress.clear()
    name = "stdin" if args.data == "-" else os.path.basename(os.path.abspath(args.data))
    out = args.out or f"{name.split('.')[0] or 'data'}-fit"
    if args.resume and not os.path.exists(os.path.join(out, NAME)):
        note(f"--resume: {out} holds no fit that was stopped; this one begins")
    watch = _Watch()
    try:
        result = fit(
            table, objective=args.objective, sigma=_sigma(args.sigma), support=_support(args, table.x.shape[1]),
            model=_network(args, table.x.shape[1]), rng=args.seed, out=out, resume=args.resume, overwrite=args.overwrite,
            optimiser=args.optimiser, steps=args.steps, batch=args.batch, rate=args.rate, robust=args.robust,
            dequantise=args.dequantise, progress=watch, announce=_announce,
        )  # fmt: skip
    finally:
        watch.clear()
    if args.resume and not watch.steps:
        note(f"--resume: the fit in {out} had ended; nothing was left to do")
    picture = _picture(out, result, table.x, args.seed)
    if args.json:
        print(json.dumps({"version": __version__, "out": out} | result.summary, indent=1, allow_nan=False))
    else:
        print(_words(name, result.summary))
        print(f"wrote model.npz, metrics.csv, summary.json{picture} in {out}")
    return FINE


def _objective(name):
    """Refuse an objective that a table cannot be fitted by."""
    known = (*OBJECTIVES, GENERALISED)
    if name in known:
        return
    why = nearest(name, known)
    if name == "explicit":
        why = ": explicit compares with the score of the data, which a table does not tell; implicit has the same minimiser without it"
    raise ValueError(f"--objective is {name!r}, expected one of {', '.join(known)}{why}")


def _sigma(text):
    """auto, a number, or levels separated by commas."""
    if text == "auto":
        return text
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--sigma is {text!r}, expected auto, a number, or levels separated by commas") from None
    return numbers if len(numbers) > 1 else numbers[0]


def _support(args, dim):
    """The ends asked for, infinite where one side alone was; None for none."""
    if args.lower is None and args.upper is None:
        return None
    for name in ("lower", "upper"):
        given = np.size(getattr(args, name)) if getattr(args, name) is not None else 1
        if given not in (1, dim):
            raise ValueError(f"--{name} has {given} ends, expected one for all columns, or {dim}, one for each of them")
    return (-np.inf if args.lower is None else args.lower), (np.inf if args.upper is None else args.upper)


def _network(args, dim):
    """The network asked for; None leaves the choice to fit."""
    if args.widths is None and args.network == "energy":
        return None
    try:
        widths = [count("--widths", "a layer", int(part)) for part in (args.widths or "64,64,64").split(",")]
    except ValueError:
        raise ValueError(f"--widths is {args.widths!r}, expected positive whole numbers separated by commas") from None
    if (weights := sum(k * m for k, m in pairwise([dim, *widths, 1]))) > LARGEST:
        raise ValueError(
            f"--widths is {args.widths}, which makes {weights} weights, expected {LARGEST} at most: training keeps dozens of copies"
        )
    conditional = args.objective == "multilevel_denoising"
    if args.network == "score":
        return ScoreMLP.init(dim, widths, "silu", conditional=conditional, rng=args.seed)
    return EnergyMLP.init(
        dim, widths, "silu", confinement=1.0 if conditional else 0.1, conditional=conditional, rng=args.seed
    )


def _announce(seconds, words):
    """The time that a long fit will take, on stderr before it starts, terminal or not."""
    if seconds >= LONG:
        told = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
        print(f"fit: about {told} on this machine: {words}", file=sys.stderr, flush=True)


class _Watch(Progress):
    """The progress line: share of the work, training, step, losses, time left."""

    def __init__(self):
        super().__init__("fit")
        self.start = self.shown = time.monotonic()
        self.first, self.steps = None, 0

    def __call__(self, share, state):
        now, self.steps = time.monotonic(), self.steps + 1
        if Progress.quiet or now - self.shown < 0.1:
            return
        self.first = share if self.first is None else self.first
        left = (now - self.start) * (1 - share) / max(share - self.first, 1e-9)
        loss = f", loss {state.total / state.terms:.4g}" if state.terms else ""
        held = [line.held_out for line in state.history[-2:] if line.fold >= 0]
        said = f", held out {held[-1]:.4g}" if held else ""
        guess = f", {left:.0f} s left" if share > self.first else ""
        self.say(f"fit {share:4.0%}: training {state.run + 1}, step {state.step}{loss}{said}{guess}")
        self.shown = now


# ------------------------------------------------------------------------------- what is said


def _words(name, s):
    """The summary for a reader."""
    sigma = s["units"]["sigma"]
    lines = [bold(f"{os.path.basename(name)}: {s['rows']} rows x {len(s['units']['columns'])} columns, standardised")]
    lines += [
        f"  {s['network']}",
        f"  objective {s['objective']}, {s['optimiser']}, seed {s['seed']}",
        f"  {s['protocol']}",
        "",
    ]
    if isinstance(sigma, list):
        decay = f", weights decay at {s['decay']:.2g} times the rate" if s["decay"] else ""
        lines.append(f"  noise levels from {sigma[0]:.3g} to {sigma[-1]:.3g}, stopped at step {s['step']}{decay}")
        lines += _likelihoods(s["log_likelihood"])
    else:
        lines += [f"  {'sigma':>9}  {'held-out loss, at best':>22}  step"]
        for level in s["levels"]:
            mark = "  <- chosen" if level["sigma"] == sigma else ""
            lines.append(f"  {level['sigma']:9.3g}  {level['held_out']:22.5g}  {level['step']:4d}{mark}")
    lines += ["", f"  {s['criterion']}, rows that chose nothing ({s['held_out']['rows']}), with its standard error:"]
    lines.append(f"    this network          {measured(s['held_out'])}")
    if s["gaussian"]:
        lines += [
            f"    a Gaussian            {measured(s['gaussian'])}",
            f"    difference, paired    {measured(s['difference'])}",
        ]
    return "\n".join(lines + [f"  note: {note}" for note in s["notes"]] + [""])


def _likelihoods(found):
    """The table of held-out log-likelihoods."""
    names = {
        "network": "this density",
        "gaussian": "a Gaussian",
        "kernel_density": "a kernel density",
        "mixture": "a Gaussian mixture",
    }
    lines = [
        "",
        f"  log-likelihood of rows held out ({found['network']['rows']}), nats a row in the units of the data:",
    ]
    lines += [f"    {word:<22}{measured(found[name])}" for name, word in names.items()]
    return [*lines, f"    above the best of them{measured(found['difference'])}"]


def _picture(out, result, x, rng):
    """Write fit.png; how the list of files goes on."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return "; no fit.png, for that install matplotlib;"
    units, model = result.units, result.model
    if units.support is not None and model.kind != "EnergyMLP":
        return "; no fit.png, a score network has no samples within ends;"
    sigmas = units.sigma if model.conditional or units.sigma else None
    drawn = draw(model, DRAWN, sigmas=sigmas, support=units.standard_support, ladder=result.ladder, rng=rng)
    write_whole(os.path.join(out, "fit.png"), fit_picture(result, x, units.to_data(drawn.samples)))
    return ", fit.png"
