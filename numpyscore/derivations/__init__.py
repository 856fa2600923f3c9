r"""The derivation of score matching, line by line, each line computed on both sides.

`verify` runs it: on closed-form densities with random networks, on the counterexamples, and on data of your own.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import densities
from ..common.inputs import samples
from ..common.names import kind_of, nearest
from ..data.csv import Table, from_csv
from ..data.datasets import old_faithful, standardise
from ..data.frames import is_frame, table_of
from ..densities import Parzen
from ..densities.base import Density
from ..densities.frozen import Frozen, is_frozen
from ..learning.columns import left_out, look
from ..learning.optimisers import minimise
from ..networks.models import EnergyMLP, ScoreMLP
from ..objectives.implicit import implicit
from . import (
    boundary,
    energy,
    flows,
    generalised,
    integration_by_parts,
    levels,
    prices,
    sampling,
    score,
    surfaces,
    trace,
    two_terms,
)
from .case import Case
from .line import Line, line_of, step_of
from .own import Own
from .steps import Chapter, Step
from .verdict import Hypothesis, Verdict, Verdicts

__all__ = [
    "CHAPTERS",
    "STEPS",
    "Case",
    "Chapter",
    "Hypothesis",
    "Line",
    "Step",
    "Study",
    "Verdict",
    "Verdicts",
    "line_of",
    "line_study",
    "named_densities",
    "studies",
    "verify",
    "verify_line",
]

CHAPTERS: tuple[Chapter, ...] = tuple(
    module.CHAPTER for module in (energy, score, integration_by_parts, two_terms, trace, generalised, levels, sampling)
)
CONTINUED = (
    boundary,
    prices,
    surfaces,
    flows,
)  # steps of chapters 3, 6, 7 and 8 in files of their own, as levels continues noise
STEPS: tuple[Step, ...] = tuple(step for chapter in CHAPTERS for step in chapter.steps)
LINES = tuple(step for step in STEPS if step.kind == "line")

MONTE_CARLO = 4000  # samples where quadrature is out of reach
TRAINING = 2000  # samples the demonstration network is trained on
ROWS = {3: 200}  # of a longer table this many rows (else 2000), drawn at random, carry the Parzen density
# widths and steps: what a grid can follow, and no longer, since at 100 steps the network collapses onto the samples it is trained on
DEMONSTRATION = {1: ((16, 16), 40), 2: ((16, 16), 40), 3: ((8,), 12)}


class Study(NamedTuple):
    """A part of a run: the cases that lines are computed for, the steps in order, the seed of examples, and what to say of it."""

    title: str
    cases: Sequence[Case]
    steps: Sequence[Step]
    seed: int = 0
    notes: tuple = ()


# ------------------------------------------------------------------------------- the densities


def named_densities():
    """The closed forms that `verify --density NAME` knows: name -> list of densities in 1, 2 and 3 dimensions.

    Student's degrees of freedom grow with the dimension: the tail p |x|^2 must be summed to 1e-12 on a grid that still resolves
    the network, and its reach grows like 10^(12/df).
    """
    mean, cov = np.array([0.3, -0.5, 0.2]), np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.3], [0.2, 0.3, 0.7]])
    far, near = np.array([-1.5, -1.0, -1.2]), np.array([1.0, 0.8, 0.6])
    dims, df = (1, 2, 3), {1: 8.0, 2: 12.0, 3: 30.0}

    def mixture(d):
        if d == 3:  # a grid in three dimensions cannot follow a sharp ridge between modes to 1e-12
            return densities.GaussianMixture([0.3, 0.7], [far * 0.5, near * 0.5], [0.8, 1.0])
        return densities.GaussianMixture([0.3, 0.7], [far[:d], near[:d]], [cov[:d, :d] / 2, np.eye(d)])

    return {
        "gaussian": [densities.Gaussian(mean[:d], cov[:d, :d]) for d in dims],
        "mixture": [mixture(d) for d in dims],
        "student-t": [densities.StudentT(df[d], mean[:d], cov[:d, :d]) for d in dims],
        "logistic": [densities.Logistic(mean[:d], np.array([0.6, 0.5, 0.4])[:d]) for d in dims],
        "laplace": [densities.Laplace(mean[:d], np.array([0.6, 0.5])[:d]) for d in dims[:2]],
        "exponential": [densities.Exponential(np.array([2.0, 1.5])[:d]) for d in dims[:2]],
        "gamma": [densities.Gamma(np.array([4.0, 5.0])[:d], np.array([2.0, 1.5])[:d]) for d in dims[:2]],
        "beta": [densities.Beta(4.0, 5.0)],
        "half-normal": [densities.HalfNormal(np.array([1.0, 1.5])[:d]) for d in dims[:2]],
        "truncated-gaussian": [densities.TruncatedGaussian(mean[:d], np.eye(d), -1.0, 2.0) for d in dims[:2]],
        "uniform": [densities.Uniform(-np.ones(d), np.ones(d)) for d in dims[:2]],
        "intervals": [densities.Restricted(densities.Gaussian(0.3, 1.0), [[-1.5, -0.5], [0.25, 2.0]])],
        "banana": [densities.Banana(0.3, 1.0)],
        "ring": [densities.Ring(2.0, 0.5)],
    }


SMOOTH = ("gaussian", "mixture", "student-t", "logistic")  # of the default run
QUICK = ("gaussian", "mixture", "logistic")  # heavy tails take the largest grids


def random_models(d, rng):
    """A random energy network and a random score network on R^d, confined where that is needed."""
    widths = (6, 6) if d < 3 else (4,)
    return (
        EnergyMLP.init(d, widths, "softplus", confinement=0.5, rng=rng),
        ScoreMLP.init(d, widths, "softplus", rng=rng),
    )


def closed_forms(names, seed, dims=(1, 2, 3)):
    """Every named density of these dimensions with a random energy network and a random score network on it."""
    rng, cases = np.random.default_rng(seed), []
    for name in names:
        for density in (density for density in named_densities()[name] if density.dim in dims):
            for model in random_models(density.dim, rng):
                kind = "energy" if isinstance(model, EnergyMLP) else "score"
                direction = rng.standard_normal(model.theta.size) if density.dim == 1 else None
                subject = f"{name} in {density.dim}-d, random {kind} network"
                cases.append(Case(density, model, subject, seed=seed, direction=direction))
    return cases


# ------------------------------------------------------------------------------- data


def on_data(x, name, columns=None, *, dropped=0, seed=0, progress=None):
    """The derivation on somebody's own rows: their Parzen density, and a network trained on it by implicit score matching.

    Training is a short demonstration of a fixed number of steps (the same on a busy machine), shortest in three dimensions,
    where a grid cannot follow a sharp network. Columns are standardised; sigma follows Scott's rule, n^(-1/(d+4)). In up to
    three dimensions every mean is an integral; beyond, a mean over MONTE_CARLO samples of the Parzen density.
    """
    where = "verify"
    x = samples(where, x, name="data", dtype=float)
    if len(x) < 2:
        raise ValueError(f"{where}: the data have {len(x)} rows, expected at least 2; one row has no spread.")
    rng = np.random.default_rng(seed)
    z = standardise(x, columns).x
    n, d = z.shape
    notes = [f"{n} rows x {d} columns, standardised", *left_out(dropped)]
    notes += look(x, columns or [f"x{i}" for i in range(1, d + 1)])
    if n > (most := ROWS.get(d, 2000)):
        z = z[np.sort(rng.choice(n, most, replace=False))]
        notes.append(f"a random {most} of the rows carry the density")
    sigma = len(z) ** (-1 / (d + 4))
    density = Parzen(z, sigma)
    widths, steps = DEMONSTRATION.get(d, ((64, 64), 30))
    model = EnergyMLP.init(d, widths, "softplus", confinement=1.0, rng=rng)
    batch = density.sample(TRAINING, rng=rng)
    trained, history = minimise(model, lambda net: implicit(net, batch), max_iterations=steps, progress=progress)
    notes.append(f"Parzen density with sigma = {sigma:.3g} (Scott's rule)")
    notes.append(f"{trained!r}, {len(history) - 1} L-BFGS steps: implicit loss {history[0]:.4g} -> {history[-1]:.4g}")
    direction = trained.theta if d != 3 else None  # all parameters grow in proportion: far above Monte Carlo noise
    points = density.sample(MONTE_CARLO, rng=rng) if d > 2 else None
    if d > 3:
        notes.append(f"means over {MONTE_CARLO} samples; a bound is four standard errors")
    case = Case(density, trained, f"{name}: Parzen density, trained network", seed=seed, direction=direction)
    case.samples, case.spare = (points, None) if d > 3 else (None, points)
    return Study(name, [case], LINES, seed, tuple(notes))


# ------------------------------------------------------------------------------- verify


def studies(target=None, *, name=None, density=None, seed=0, progress=None, steps=STEPS):
    """What a call of `verify` looks at, one `Study` at a time (a generator: data are trained on when it comes to them)."""
    wanted = set(steps)
    if density is None and (hasattr(target, "logpdf") or is_frozen(target)) and not is_frame(target):
        target, density = None, target
    if isinstance(density, str):
        yield Study("Closed forms", on_density(density, seed), LINES, seed)
        return
    if density is not None:
        density = density_of(density)
        cases = on_density(density, seed)
        yield Study("Your density", cases, LINES, seed, tuple(getattr(density, "notes", ())))
        return
    if target is None:
        quick = len(wanted) == 1  # one step alone is a quick look
        cases = closed_forms(QUICK if quick else SMOOTH, seed, dims=(1, 2) if quick else (1, 2, 3))
        for chapter in CHAPTERS:
            if wanted.intersection(chapter.steps):
                yield Study(chapter.heading, cases, chapter.steps, seed)
        if len(wanted) > 1 and wanted.intersection(LINES):
            yield on_data(old_faithful(), "Old Faithful", ("eruptions", "waiting"), seed=seed, progress=progress)
    else:
        yield on_target(target, name, seed=seed, progress=progress)


def on_density(density, seed):
    """Cases of one density, a closed form by name or somebody's own, with random networks."""
    if not isinstance(density, str):
        rng, name = np.random.default_rng(seed), getattr(density, "name", type(density).__name__)
        points = None
        if density.dim > 3 and not getattr(density, "has", {"sample": True})["sample"]:  # beyond quadrature
            raise ValueError(
                f"verify: {name} has dimension {density.dim} and no sample; beyond three dimensions means are taken over samples, "
                f"so give it sample(n, rng=...) -> (n, {density.dim})."
            )
        if density.dim > 3 or getattr(density, "empty", 0.0):  # or of a shape that a grid does not follow
            points = density.sample(MONTE_CARLO, rng=seed)
        return [
            Case(density, model, f"{name}, random {model.kind}", seed=seed, samples=points)
            for model in random_models(density.dim, rng)
        ]
    if density not in (known := named_densities()):
        near = " (did you mean gaussian?)" if density.lower() in ("normal", "norm") else nearest(density, known)
        near = " (of a file name one object: path.py:object)" if density.endswith(".py") else near
        raise ValueError(f"verify: density is {density!r}, expected one of {', '.join(known)}{near}.")
    return closed_forms([density], seed)


def density_of(given):
    """A density as the steps take it: one of ours, a frozen distribution of SciPy, or an object with dim and logpdf.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, a class in place of one of its objects among them.
    """
    if isinstance(given, type):
        raise TypeError(
            f"verify: density is {kind_of(given)}; make one, for example {given.__name__}(...), and pass that."
        )
    if is_frame(given) or isinstance(given, np.ndarray):
        raise TypeError(
            "verify: density is a table of data; make a density of its rows, Parzen(data, sigma), and pass that."
        )
    if is_frozen(given):
        given = Frozen(given)
    if hasattr(type(given), "chart"):
        raise ValueError(
            f"verify: density is {given!r}, on a surface; the lines are those of R^d. What changes on a surface has steps of its own: "
            f"verify(only='on a sphere nothing is left')."
        )
    return given if isinstance(given, Density) else Own(given)


def on_target(target, name=None, **options):
    """The study of a CSV file, a DataFrame, a table, or an array, under its name."""
    if isinstance(target, str | os.PathLike):
        name, target = os.path.basename(os.fspath(target)), from_csv(target)
    elif is_frame(target):
        target = table_of("verify", target)
    if isinstance(target, Table):
        return on_data(target.x, name or "data", target.columns, dropped=target.dropped, **options)
    return on_data(target, name or "data", **options)


def selected(only):
    """The steps called `only`, or of the chapter called or numbered so; all of them for None. Case and punctuation do not matter."""
    if only is None:
        return STEPS
    plain = lambda text: "".join(c for c in text.lower() if c.isalnum())
    chosen = [s for s in STEPS if plain(only) in (plain(s.name), plain(s.chapter.title), str(s.chapter.number))]
    chosen = chosen or [s for s in STEPS if plain(only) and plain(only) in plain(s.name)]
    if not chosen:
        chapters = "; ".join(f"{chapter.number} {chapter.title}" for chapter in CHAPTERS)
        near = nearest(only, [*(s.name for s in STEPS), *(chapter.title for chapter in CHAPTERS)])
        raise ValueError(
            f"verify: only is {only!r}, expected a chapter ({chapters}) or a step{near}; numpyscore verify --list names them all."
        )
    return chosen


def run(study, steps=STEPS):
    """The verdicts of one study, as far as its steps are among `steps`."""
    for step in study.steps:
        if step not in steps:
            continue
        if step.kind != "line":
            yield from step.settings(study.seed)
            continue
        for case in filter(step.applies, study.cases):
            verdict = step(case)
            if verdict.holds is None and case.spare is not None:
                verdict = step(replace(case, samples=case.spare))
                verdict = replace(verdict, note="a grid within the budget did not decide; by Monte Carlo")
            yield verdict


def verify(target=None, *, only=None, seed=0, density=None, progress=None):
    """Verify the derivation of score matching, both sides of every line computed.

    Parameters
    ----------
    target : None, path of a CSV file, (n, d) array, Table, or a density
        None: all chapters with their examples and counterexamples, and the Old Faithful data. Data: their Parzen density and a
        network trained on them. A density (anything with dim, support, logpdf, score, sample): random networks on it.
    only : str, optional
        Name of a step, or name or number of a chapter. One step alone is a quick look: without a target, on closed forms in one
        and two dimensions.
    seed : int
        Seed of networks, samples and training.
    density : str, optional
        One of the closed forms by name.
    progress : callable, optional
        progress(iteration, loss) during training.

    Returns
    -------
    Verdicts
        A list of `Verdict`, step by step, that prints as a table; ``all(v.ok for v in verdicts)`` if everything is as it should be.

    Raises
    ------
    ValueError
        For an unknown name or unusable data; `datasets.CSVError` for an unusable file.
    """
    steps = selected(only)
    verdicts = Verdicts(seed=seed)
    for study in studies(target, density=density, seed=seed, progress=progress, steps=steps):
        verdicts.add(study, run(study, steps))
    return verdicts


def line_study(line, target=None, *, name=None, density=None, model=None, seed=0, progress=None):
    """The `Study` of a `Line` of one's own: on its density, or the one given, on data, or on closed forms in one and two dimensions."""
    step, density = step_of(line, model), line.density if density is None else density
    if target is not None:
        study = on_target(target, name, seed=seed, progress=progress)
        return study._replace(steps=[step])
    notes: tuple = ()
    if density is None or isinstance(density, str):
        names = QUICK if density is None else (density,)
        cases = [case for name in names for case in on_density(name, seed)]
        cases = [case for case in cases if case.dim < 3 or density is not None]
    else:
        density = density_of(density)
        cases, notes = on_density(density, seed), tuple(getattr(density, "notes", ()))
    if step.model is None:  # one case a density will do
        cases = list({id(case.density): case for case in cases}.values())
    elif step.model is not True:
        cases = [replace(case, model=step.model) for case in cases if case.dim == step.model.dim]
        cases = list({id(case.density): case for case in cases}.values())
    if not cases:
        raise ValueError(
            f"verify_line: the line is about a network of dimension {step.model.dim}, and no density of that dimension was given."
        )
    plain = step.model is not True
    cases = [replace(case, subject=case.subject.partition(", random")[0]) if plain else case for case in cases]
    return Study("A line of your own", cases, [step], seed, notes)


def verify_line(left, right, density=None, *, model=None, name="your line", relation="=", seed=0):
    """A line of one's own, E[left] = E[right] under a density, judged as the lines of `verify` are.

    Parameters
    ----------
    left, right : function, number, or dictionary of these
        A function takes x (n, d), or (x, density), or (x, density, model), and returns one number a row (n,): the mean under the density is
        taken here, by quadrature in up to three dimensions, over samples beyond. A number may be an `Integral`. A dictionary
        names the terms whose sum the side is; an error in one of them can then be told by its name.
    density : a density, frozen distribution of scipy.stats, object with dim and logpdf, or name
        Those with several names (see `verify`) give the verdict nearest to being wrong. None: closed forms in one and two dimensions.
    model : EnergyMLP or ScoreMLP, optional
        The network that the line is about; found out where the functions refer to one network. Functions of three arguments
        are given random ones.
    name : str
    relation : "=", "<=" or ">="
    seed : int
        Of random networks, and of samples.

    Returns
    -------
    Verdict
        bool(verdict) says whether the line holds, verdict.gap by how much it does not, verdict.note what the gap is: a term whose sign
        is turned, or a term that is missing, where one is known.

    Raises
    ------
    ValueError, TypeError
        If a side is no function, raises, or does not return one real number a row.

    Test: test_line.py::test_a_sign_error_is_told_with_its_term
    """
    study = line_study(Line(left, right, density, name, relation), model=model, seed=seed)
    return Verdicts(run(study, study.steps)).worst
