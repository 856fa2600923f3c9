"""`numpyscore check`: a user's own score, trace or loss against the reference. It runs the user's code."""

import contextlib
import json
import sys
import zipfile

import numpy as np

from .. import check
from ..check.gallery import CASES, RIGHT, recognised
from ..check.reverse import KINDS, SCORES
from ..common.files import read_npy, read_npz
from ..data.csv import from_csv
from ..objectives import OBJECTIVES
from .loading import load_object
from .terminal import DIFFERENCE, FINE, INCONCLUSIVE, Progress, bold, seed

HELP = "your own score, trace or loss against the reference, with a diagnosis; runs your code"


FINE_BESIDE_SELF = ("command", "run", "own", "quiet", "json", "self")


def arguments(parser):
    """The options of `numpyscore check`."""
    parser.description = (
        "Is your score-matching code right, and if not, what is wrong with it? TARGET, module:function or path.py:function, is a score, "
        "function of points (n, d); with --objective it is a loss(fn, x, ...). THIS RUNS YOUR CODE: the module is imported and its functions are called."
    )
    parser.epilog = "exit codes: 0 pass, 1 fail, 2 usage or input error, 3 inconclusive"
    parser.add_argument("target", nargs="?", metavar="TARGET", help="module:function or path.py:function")
    parser.add_argument("--energy", metavar="M:F", help="the energy whose score TARGET should be")
    parser.add_argument("--logpdf", metavar="M:F", help="the log density whose score TARGET should be")
    parser.add_argument("--trace", metavar="M:F", help="a function that should be the trace of TARGET's Jacobian")
    parser.add_argument("--loss", metavar="M:F", help="a loss(fn, x, ...); the same as TARGET with --objective")
    parser.add_argument("--objective", metavar="NAME", help=f"what the loss is meant to be: {', '.join(OBJECTIVES)}")
    parser.add_argument(
        "--density", action="store_true", help="TARGET is a log density: does it integrate to 1? (dimension 1, 2 or 3)"
    )
    parser.add_argument(
        "--support",
        metavar="A:B,...",
        help="with --density: lower and upper end of each dimension, such as 0:inf,-inf:inf",
    )
    parser.add_argument(
        "--conservative",
        action="store_true",
        help="TARGET claims to be a gradient: FAIL where its Jacobian is not symmetric",
    )
    parser.add_argument(
        "--sampler",
        choices=("euler", "adjusted"),
        help="TARGET is one step of a Langevin sampler, step(x, score, step_size)",
    )
    parser.add_argument(
        "--reverse",
        metavar="LEVELS",
        help="TARGET is a step down in noise level, step(x, fn, level, next_level); LEVELS are sigmas (5,2,1,0.5) or M:F, an array or a mapping",
    )
    parser.add_argument(
        "--kind", choices=KINDS, help="with --reverse: what the step is meant to be (default: found out)"
    )
    parser.add_argument(
        "--predicts", choices=tuple(SCORES), help="with --reverse or a denoising loss: what fn predicts"
    )
    parser.add_argument(
        "--sigma", type=float, metavar="X", help="noise level of a denoising loss that does not take it"
    )
    parser.add_argument("--shape", metavar="A,B,...", help="of one sample that a loss takes, such as 1,4,4 for images")
    parser.add_argument(
        "--model",
        choices=("energy", "score", "noise"),
        help="what fn is, or predicts, in the loss (default: found out)",
    )
    parser.add_argument("--wrap", metavar="W", help="numpy, torch, jax, or M:F from an ndarray to your array type")
    parser.add_argument("--at", metavar="FILE", help="points: .npz (array x, or the only one), .npy or .csv")
    parser.add_argument("--dim", type=int, metavar="D", help="without --at: random normal points of dimension D")
    parser.add_argument("--rtol", type=float, metavar="X", help="allowed relative error of scores and traces")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of points and probes (default 0)")
    parser.add_argument(
        "--self",
        action="store_true",
        help="no TARGET: the checks on a gallery of wrong implementations, and of right ones in other conventions",
    )
    parser.add_argument("--json", action="store_true", help="records for machines")


def run(args):
    """Print the reports; returns the exit code."""
    if args.self:
        if beside := [name for name, value in vars(args).items() if value and name not in FINE_BESIDE_SELF]:
            raise ValueError(f"--self stands alone: it has no use for {', '.join(beside)}")
        return _demonstrate(args)
    with contextlib.redirect_stdout(sys.stderr):  # what the user's code prints is no result
        reports = _checked(args)
    if args.json:
        print(json.dumps([r.to_dict() for r in reports], indent=1, allow_nan=False))
    else:
        for report in reports:
            head, *rest = str(report).split("\n")
            print("\n".join([bold(head), *rest]))
    verdicts = {r.verdict for r in reports}
    return DIFFERENCE if "FAIL" in verdicts else INCONCLUSIVE if "INCONCLUSIVE" in verdicts else FINE


def _checked(args):
    """The reports that the options ask for."""
    if args.target is None and args.loss is None:
        raise ValueError("nothing to check: give TARGET (module:function or path.py:function), or --self")
    if args.energy and args.logpdf:
        raise ValueError("--energy and --logpdf exclude each other: give the one that TARGET is the score of")
    if args.support and not args.density:
        raise ValueError("--support belongs to --density")
    if args.kind and not args.reverse:
        raise ValueError("--kind belongs to --reverse")
    if args.predicts and not (args.reverse or "denoising" in str(args.objective)):
        raise ValueError("--predicts belongs to --reverse or to a denoising --objective")
    wrap = load_object(args.wrap, "--wrap") if args.wrap and ":" in args.wrap else args.wrap
    if args.density:
        return [_density(args, wrap)]
    if args.sampler or args.reverse:
        return [_step(args, wrap)]
    reports = []
    loss = args.loss or (args.target if args.objective else None)
    if loss is not None:
        if not args.objective:
            raise ValueError(f"--loss needs --objective, one of {', '.join(OBJECTIVES)}")
        function = load_object(loss, "the loss")
        options = {
            "objective": args.objective,
            "sigma": args.sigma,
            "model": args.model,
            "predicts": args.predicts,
            "shape": _shape(args.shape),
        }
        reports.append(_theirs(check.check_loss, function, wrap=wrap, rng=args.seed, **options))
        if loss == args.target:
            return reports
    if args.target is None:
        return reports
    score, x = load_object(args.target, "TARGET"), _points(args)
    if args.energy or args.logpdf:
        of = (
            {"energy": load_object(args.energy, "--energy")}
            if args.energy
            else {"logpdf": load_object(args.logpdf, "--logpdf")}
        )
        reports.append(_theirs(check.check_score, score, x=x, wrap=wrap, rtol=args.rtol, rng=args.seed, **of))
    if args.trace:
        trace = load_object(args.trace, "--trace")
        reports.append(_theirs(check.check_trace, trace, score=score, x=x, wrap=wrap, rtol=args.rtol, rng=args.seed))
    if args.conservative or (args.energy is None and args.logpdf is None and args.trace is None):
        of = {"wrap": wrap, "rtol": args.rtol, "claimed": args.conservative}
        reports.append(_theirs(check.check_conservative, score, x=x, **of))
    if len(x) > 1:
        reports.append(_theirs(check.check_rows, score, x, wrap=wrap, rng=args.seed))
    return reports


def _step(args, wrap):
    """The report on TARGET as one step of a sampler."""
    if args.target is None:
        raise ValueError("--sampler and --reverse need TARGET, a step")
    if args.sampler and args.reverse:
        raise ValueError("--sampler and --reverse exclude each other: the step stays at its level, or comes down")
    step = load_object(args.target, "TARGET")
    if args.sampler:
        return _theirs(check.check_sampler, step, discretisation=args.sampler, wrap=wrap, rng=args.seed)
    options = {"kind": args.kind, "predicts": args.predicts or "score", "wrap": wrap, "rng": args.seed}
    return _theirs(check.check_reverse, step, levels=_levels(args.reverse), **options)


def _levels(text):
    """Sigmas from "5,2,1", or what module:name holds, called if it is a function."""
    try:
        return [float(sigma) for sigma in text.split(",")]
    except ValueError:
        if ":" not in text:
            raise ValueError(f"--reverse is {text!r}, expected sigmas such as 5,2,1,0.5, or module:name") from None
    levels = load_object(text, "--reverse")
    return levels() if callable(levels) else levels


def _density(args, wrap):
    """The report on TARGET as a log density."""
    if args.target is None:
        raise ValueError("--density needs TARGET, a log density")
    x = None if args.at is None else _points(args)
    options = {"dim": args.dim, "support": _support(args.support), "wrap": wrap, "rtol": args.rtol, "rng": args.seed}
    return _theirs(check.check_density, load_object(args.target, "TARGET"), x=x, **options)


def _support(text):
    """Ends (d, 2) from "0:inf,-inf:inf"."""
    if text is None:
        return None
    try:
        ends = [[float(end) for end in pair.split(":")] for pair in text.split(",")]
        if not all(len(pair) == 2 for pair in ends):
            raise ValueError
    except ValueError:
        raise ValueError(f"--support is {text!r}, expected A:B for each dimension, such as 0:inf,-inf:inf") from None
    return ends


def _shape(text):
    """A tuple of sizes from "1,4,4"."""
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise ValueError(f"--shape is {text!r}, expected sizes such as 1,4,4") from None


def _theirs(function, *args, **options):
    """A check, in which whatever the user's code raises becomes one line."""
    try:
        return function(*args, **options)
    except (ValueError, TypeError, OSError):
        raise
    except (Exception, SystemExit) as error:  # sys.exit(0) in their code is no PASS
        raise ValueError(f"your code raised {type(error).__name__}: {error}") from error


def _points(args):
    """Points (n, d) from --at, or random ones."""
    if args.at is None:
        if args.dim is None:
            raise ValueError("where to check? give --at FILE, or --dim D for random points")
        if args.dim < 1:
            raise ValueError(f"--dim is {args.dim}, expected at least 1")
        return np.random.default_rng(args.seed).standard_normal((8, args.dim))
    if args.at.endswith(".csv"):
        return from_csv(args.at).x
    refuse = lambda why: ValueError(f"--at {args.at} {why}")
    if not zipfile.is_zipfile(args.at):
        return _real(args.at, read_npy(args.at, refuse))
    found = read_npz(args.at, refuse)
    if "x" not in found and len(found) != 1:
        raise refuse(f"holds {', '.join(found) or 'nothing'}, expected an array x")
    return _real(args.at, found["x"] if "x" in found else next(iter(found.values())))


def _real(path, x):
    """Points as they are, unless they are no real numbers."""
    if x.dtype.kind not in "biuf":
        raise ValueError(f"--at {path} holds an array of {x.dtype}, expected real numbers")
    return x


def _demonstrate(args):
    """Each implementation of the gallery, wrong ones and right ones in other conventions, and what the checks say of it."""
    progress, records, missed = Progress("check"), [], {"FAIL": 0, "PASS": 0}
    for case in (*CASES, *RIGHT):
        progress.say(f"{case.name} ...")
        report = case.run()
        progress.clear()
        good = recognised(case, report)
        missed[case.verdict] += not good
        records.append({"case": case.name, "seen": case.seen, "recognised": good, "report": report.to_dict()})
        if not args.json:
            seen = f" ({case.seen})" if case.seen else ""
            print(
                f"{bold(case.name)}{seen}\n  {report.check} {report.verdict}{'' if good else '  NOT RECOGNISED'}: {report.diagnosis or next(iter(report.notes), '')}"
            )
    if args.json:
        print(json.dumps(records, indent=1, allow_nan=False))
    else:
        print(f"{len(CASES)} wrong implementations, {len(CASES) - missed['FAIL']} detected and named.")
        print(
            f"{len(RIGHT)} right ones in other conventions, {len(RIGHT) - missed['PASS']} passed with the conversion."
        )
    return DIFFERENCE if any(missed.values()) else FINE
