"""`numpyscore check`: a user's own score, trace or loss against the reference. It runs the user's code."""

import contextlib
import json
import re
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import check
from ..check.gallery import CASES, RIGHT, recognised
from ..check.reverse import KINDS, SCORES
from ..common.files import read_npy, read_npz
from ..common.names import nearest
from ..data.csv import from_csv
from ..objectives import OBJECTIVES
from .loading import load_object
from .terminal import DIFFERENCE, FINE, INCONCLUSIVE, Progress, bold, seed

HELP = "your own score, trace or loss against the reference, with a diagnosis; runs your code"


FINE_BESIDE_SELF = ("command", "run", "own", "quiet", "json", "self")
OPTIONS = (
    ("--energy", {"metavar": "M:F", "help": "the energy whose score TARGET should be"}),
    ("--logpdf", {"metavar": "M:F", "help": "the log density whose score TARGET should be"}),
    ("--trace", {"metavar": "M:F", "help": "a function that should be the trace of TARGET's Jacobian"}),
    ("--loss", {"metavar": "M:F", "help": "a loss(fn, x, ...); the same as TARGET with --objective"}),
    ("--objective", {"metavar": "NAME", "help": f"what the loss is meant to be: {', '.join(OBJECTIVES)}"}),
    ("--density", {"action": "store_true", "help": "TARGET is a log density: does it integrate to 1? (dimension 1, 2 or 3)"}),
    ("--support", {"metavar": "A:B,...", "help": "with --density: lower and upper end of each dimension, such as 0:inf,-inf:inf"}),
    ("--conservative", {"action": "store_true", "help": "TARGET claims to be a gradient: FAIL where its Jacobian is not symmetric"}),
    ("--sampler", {"choices": ("euler", "adjusted"), "help": "TARGET is one step of a Langevin sampler, step(x, score, step_size)"}),
    ("--reverse", {"metavar": "LEVELS", "help": "TARGET is a step down in noise level, step(x, fn, level, next_level); LEVELS are sigmas (5,2,1,0.5) or M:F, an array or a mapping"}),
    ("--kind", {"choices": KINDS, "help": "with --reverse: what the step is meant to be (default: found out)"}),
    ("--predicts", {"choices": tuple(SCORES), "help": "with --reverse or a denoising loss: what fn predicts"}),
    ("--sigma", {"type": float, "metavar": "X", "help": "with a denoising loss: the noise level at which it is asked, if it takes none itself"}),
    ("--score-of", {"metavar": "M:F", "help": "with a denoising loss: how your sampler makes a score of what fn says, score_of(out, y, level)"}),
    ("--levels", {"metavar": "LEVELS", "help": "with a denoising loss: its schedule, times (0.1,0.5,0.9) or M:F, an array of times (k,), or of c and sigma (k, 2) of its timesteps"}),
    ("--kernel", {"metavar": "M:F", "help": "with a denoising loss: a function from a level to c and sigma, the points being c x + sigma eps"}),
    ("--condition", {"metavar": "M:F", "help": "further keyword arguments that a loss takes, a mapping"}),
    ("--shape", {"metavar": "A,B,...", "help": "of one sample that a loss takes, such as 1,4,4 for images"}),
    ("--model", {"choices": ("energy", "score", "noise"), "help": "what fn is, or predicts, in the loss (default: found out)"}),
    ("--wrap", {"metavar": "W", "help": "numpy, torch, jax, or M:F from an ndarray to your array type"}),
    ("--at", {"metavar": "FILE", "help": "points: .npz (array x, or the only one), .npy or .csv"}),
    ("--dim", {"type": int, "metavar": "D", "help": "without --at: random normal points of dimension D"}),
    ("--rtol", {"type": float, "metavar": "X", "help": "allowed relative error of scores and traces"}),
    ("--seed", {"type": seed, "default": 0, "metavar": "N", "help": "of points and probes (default 0)"}),
    ("--self", {"action": "store_true", "help": "no TARGET: the checks on a gallery of wrong implementations, and of right ones in other conventions"}),
    ("--json", {"action": "store_true", "help": "records for machines"}),
)  # fmt: skip


# what each kind of TARGET makes use of, besides TARGET, --wrap and --seed
USES = {
    "density": {"density", "at", "dim", "support", "rtol"},
    "sampler": {"sampler"},
    "reverse": {"reverse", "kind", "predicts"},
    "objective": {"loss", "objective", "model", "shape", "condition"},
    "score": {"energy", "logpdf", "trace", "conservative", "at", "dim", "rtol"},
}
NOISY = {"sigma", "predicts", "score_of", "levels", "kernel"}  # what a denoising loss makes use of beside those


def arguments(parser):
    """The options of `numpyscore check`."""
    parser.description = (
        "Is your score-matching code right, and if not, what is wrong with it? TARGET, module:function or path.py:function, is a score, "
        "function of points (n, d); with --objective it is a loss(fn, x, ...). THIS RUNS YOUR CODE: the module is imported and its functions are called."
    )
    parser.epilog = "exit codes: 0 pass, 1 fail, 2 usage or input error, 3 inconclusive"
    parser.add_argument("target", nargs="?", metavar="TARGET", help="module:function or path.py:function")
    for flag, about in OPTIONS:
        parser.add_argument(flag, **about)


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
            head, *rest = _as_options(str(report)).split("\n")
            print("\n".join([bold(head), *rest]))
    verdicts = {r.verdict for r in reports}
    return DIFFERENCE if "FAIL" in verdicts else INCONCLUSIVE if "INCONCLUSIVE" in verdicts else FINE


def _checked(args):
    """The reports that the options ask for."""
    _makes_sense(args)
    _nothing_ignored(args)
    load = lambda name: load_object(getattr(args, name), "TARGET" if name == "target" else _flag(name))
    common: dict[str, Any] = {"wrap": load("wrap") if args.wrap and ":" in args.wrap else args.wrap, "rng": args.seed}
    own: dict[str, Any]
    if args.density:
        x, support = None if args.at is None else _points(args), _ends(args.support)
        own = {"dim": args.dim, "support": support, "rtol": args.rtol}
        return [_theirs(check.check_density, load("target"), x=x, **own, **common)]
    if args.sampler:
        return [_theirs(check.check_sampler, load("target"), discretisation=args.sampler, **common)]
    if args.reverse:
        own = {"levels": _sigmas(args.reverse), "kind": args.kind, "predicts": args.predicts or "score"}
        return [_theirs(check.check_reverse, load("target"), **own, **common)]
    reports = _of_loss(args, load, common) if args.loss or args.objective else []
    alone = args.target is None or (args.objective and not args.loss)
    return reports if alone else reports + _of_score(args, load, common)


def _makes_sense(args):
    """ValueError where options miss something, or exclude each other."""
    misuse = (
        (args.target is None and args.loss is None, "nothing to check: give TARGET (module:function or path.py:function), or --self"),
        (args.energy and args.logpdf, "--energy and --logpdf exclude each other: give the one that TARGET is the score of"),
        (args.at and args.dim is not None, "--at and --dim exclude each other: the dimension is that of the points in the file"),
        (args.density and args.target is None, "--density needs TARGET, a log density"),
        ((args.sampler or args.reverse) and args.target is None, "--sampler and --reverse need TARGET, a step"),
        (args.sampler and args.reverse, "--sampler and --reverse exclude each other: the step stays at its level, or comes down"),
        (args.objective and args.objective not in OBJECTIVES, f"--objective is {args.objective!r}, expected one of {', '.join(OBJECTIVES)}{nearest(args.objective, OBJECTIVES)}"),
        (args.loss and not args.objective, f"--loss needs --objective, one of {', '.join(OBJECTIVES)}"),
    )  # fmt: skip
    for wrong, text in misuse:
        if wrong:
            raise ValueError(text)


def _of_loss(args, load, common):
    """The report of a loss."""
    own = {name: getattr(args, name) for name in ("objective", "sigma", "model", "predicts")}
    own |= {name: load(name) for name in ("score_of", "kernel") if getattr(args, name)}
    if args.levels:
        own["levels"] = _levels("levels", args.levels, "times such as 0.1,0.5,0.9, or module:name")
    if args.condition:
        own["condition"] = _held(args.condition, "--condition")
        if not isinstance(own["condition"], Mapping):
            raise ValueError(
                f"--condition {args.condition} is {type(own['condition']).__name__}, expected a mapping from the names of your loss's arguments"
            )
    return [
        _theirs(check.check_loss, load("loss" if args.loss else "target"), shape=_shape(args.shape), **own, **common)
    ]


def _of_score(args, load, common):
    """The reports of a score."""
    reports, score, x = [], load("target"), _points(args)
    of = {name: load(name) for name in ("energy", "logpdf") if getattr(args, name)}
    if of:
        reports.append(_theirs(check.check_score, score, x=x, rtol=args.rtol, **of, **common))
    if args.trace:
        reports.append(_theirs(check.check_trace, load("trace"), score=score, x=x, rtol=args.rtol, **common))
    if args.conservative or not (of or args.trace):
        own = {"wrap": common["wrap"], "rtol": args.rtol, "claimed": args.conservative}
        reports.append(_theirs(check.check_conservative, score, x=x, **own))
    if len(x) > 1:
        reports.append(_theirs(check.check_rows, score, x, **common))
    return reports


def _nothing_ignored(args):
    """ValueError where an option has no effect on what is checked: a log density, a step, a loss, a score."""
    kinds = [name for name in ("density", "sampler", "reverse") if getattr(args, name)]
    if not kinds and (args.loss or args.objective):
        kinds = ["objective"] + ["score"] * (args.loss is not None and args.target is not None)
    kinds = kinds or ["score"]
    noisy = NOISY if "objective" in kinds and "denoising" in str(args.objective) else set()
    used = set.union(noisy, *(USES[kind] for kind in kinds))
    for name in sorted(set.union(NOISY, *USES.values()) - used):
        if getattr(args, name) not in (None, False):
            where = [_flag(kind) for kind, names in USES.items() if name in names and kind != "score"]
            where += ["a score as TARGET"] if name in USES["score"] else []
            where += ["a denoising --objective"] if name in NOISY else []
            beside = "a score" if kinds == ["score"] else f"--{kinds[0]}"
            raise ValueError(
                f"{_flag(name)} has no effect beside {beside}: it belongs to {' or '.join(where)}; leave it out"
            )


def _levels(name, text, expected):
    """The numbers of an option such as "5,2,1", or what module:name holds, called if it is a function."""
    if ":" not in text:
        return _numbers(name, text, expected, float)
    return _held(text, f"--{name}")


def _held(text, flag):
    """What module:name holds, called if it is a function."""
    found = load_object(text, flag)
    return _theirs(found) if callable(found) else found


def _sigmas(text):
    """The levels of a step down."""
    sigmas = _levels("reverse", text, "sigmas such as 5,2,1,0.5, or module:name")
    if ":" in text:
        return sigmas
    if len(sigmas) < 3:
        raise ValueError(
            f"--reverse is {text}, expected three sigmas at least, such as 5,2,1,0.5: steps are compared with each other"
        )
    if sigmas != sorted(sigmas, reverse=True):
        down = ",".join(f"{sigma:g}" for sigma in sorted(sigmas, reverse=True))
        raise ValueError(f"--reverse is {text}, expected sigmas from the largest down, as the step goes: {down}")
    return sigmas


def _ends(text):
    """Ends (d, 2) from "0:inf,-inf:inf"."""
    expected = "A:B for each dimension, such as 0:inf,-inf:inf"
    pairs = text and [_numbers("support", pair, expected, float, ":") for pair in text.split(",")]
    if pairs and not all(len(pair) == 2 for pair in pairs):
        raise ValueError(f"--support is {text!r}, expected {expected}")
    return pairs


def _shape(text):
    """A tuple of sizes from "1,4,4"."""
    return None if text is None else tuple(_numbers("shape", text, "sizes such as 1,4,4", int))


def _numbers(name, text, expected, kind, separator=","):
    """The numbers of an option."""
    try:
        return [kind(number) for number in text.split(separator)]
    except ValueError:
        raise ValueError(f"--{name} is {text!r}, expected {expected}") from None


def _flag(name):
    """The option of an argument."""
    return f"--{name.replace('_', '-')}"


KEYWORDS = {"x": "at"} | {
    name: _flag(name).removeprefix("--")
    for name in ("dim", "support", "energy", "logpdf", "model", "predicts", "score_of", "levels", "kernel", "condition", "shape", "kind", "wrap", "sigma")
}  # fmt: skip


def _as_options(text):
    """Keywords of Python in the words of the command line: model='noise' is --model noise, and give x= is give --at."""
    option = lambda found: f"--{KEYWORDS[found[1]]}" + (f" {found[2]}" if found[2] else "")
    return re.sub(rf"\b({'|'.join(KEYWORDS)})=(?:'(\w+)'|(?=[\s,.;:)]|$))", option, text)


def _theirs(function, *args, **options):
    """A check, in which whatever the user's code raises becomes one line."""
    try:
        return function(*args, **options)
    except OSError:
        raise
    except (ValueError, TypeError) as error:
        raise ValueError(_as_options(str(error))) from error
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
