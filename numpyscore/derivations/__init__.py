r"""The derivation of score matching, line by line, each line computed on both sides.

`verify` runs it: on closed-form densities with random networks, on the counterexamples, and on data of your own.
"""

import os
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .. import densities
from ..datasets import Table, from_csv, old_faithful, standardise
from ..densities import Parzen
from ..inputs import samples
from ..models import EnergyMLP, ScoreMLP
from ..objectives import implicit
from ..training import minimise
from . import energy, integration_by_parts
from .common import STEPS, Case, Hypothesis, Step, Verdict

__all__ = [
    "CHAPTERS",
    "STEPS",
    "Case",
    "Hypothesis",
    "Step",
    "Study",
    "Verdict",
    "named_densities",
    "studies",
    "verify",
]

CHAPTERS = (energy, integration_by_parts)
MONTE_CARLO = 4000  # samples where quadrature is out of reach
TRAINING = 2000  # samples the demonstration network is trained on
ROWS = {3: 200}  # of a longer table this many rows (else 2000), drawn at random, carry the Parzen density
DEMONSTRATION = {1: ((16, 16), 100), 2: ((16, 16), 100), 3: ((8,), 12)}  # widths and steps that a grid can follow


class Study(NamedTuple):
    """A group of cases with the names of the steps to run (None: all that apply), and what to say of it."""

    title: str
    cases: list
    only: tuple | None = None
    notes: tuple = ()


# ------------------------------------------------------------------------------- the densities


def named_densities():
    """The closed forms that `verify --density NAME` knows: name -> list of densities in 1, 2 and 3 dimensions.

    Student's degrees of freedom grow with the dimension: the tail p |x|^2 must be summed to 1e-12 on a grid that still resolves
    the network, and its reach grows like 10^(12/df).
    """
    mean, cov = np.array([0.3, -0.5, 0.2]), np.array([[1.0, 0.5, 0.2], [0.5, 2.0, 0.3], [0.2, 0.3, 0.7]])
    far, near = np.array([-1.5, -1.0, -1.2]), np.array([1.0, 0.8, 0.6])
    dims, df = (1, 2, 3), {1: 4.0, 2: 12.0, 3: 30.0}

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
        "half-normal": [densities.HalfNormal(np.array([1.0, 1.5])[:d]) for d in dims[:2]],
        "truncated-gaussian": [densities.TruncatedGaussian(mean[:d], np.eye(d), -1.0, 2.0) for d in dims[:2]],
        "uniform": [densities.Uniform(-np.ones(d), np.ones(d)) for d in dims[:2]],
        "banana": [densities.Banana(0.3, 1.0)],
        "ring": [densities.Ring(2.0, 0.5)],
    }


SMOOTH = ("gaussian", "mixture", "student-t", "logistic")  # of the default run


def random_models(d, rng):
    """A random energy network and a random score network on R^d, confined where that is needed."""
    widths = (6, 6) if d < 3 else (4,)
    return (
        EnergyMLP.init(d, widths, "softplus", confinement=0.5, rng=rng),
        ScoreMLP.init(d, widths, "softplus", rng=rng),
    )


def closed_forms(names, seed):
    """Every named density with a random energy network and a random score network on it."""
    rng, cases = np.random.default_rng(seed), []
    for name in names:
        for density in named_densities()[name]:
            for model in random_models(density.dim, rng):
                kind = "energy" if isinstance(model, EnergyMLP) else "score"
                direction = rng.standard_normal(model.theta.size) if density.dim == 1 else None
                subject = f"{name} in {density.dim}-d, random {kind} network"
                cases.append(Case(density, model, subject, seed=seed, direction=direction))
    return cases


# ------------------------------------------------------------------------------- data


def on_data(x, name, columns=None, *, seed=0, progress=None):
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
    z, _, _, constant = standardise(x, columns)
    n, d = z.shape
    notes = [f"{n} rows x {d} columns, standardised"]
    if len(constant):
        notes.append(f"constant columns kept at scale 1: {', '.join(map(str, constant))}")
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
    return Study(name, [case], None, tuple(notes))


# ------------------------------------------------------------------------------- verify


def studies(target=None, *, density=None, seed=0, progress=None):
    """What a call of `verify` looks at, one `Study` at a time (a generator: data are trained on when it comes to them)."""
    if density is not None:
        known = named_densities()
        if isinstance(density, str):
            if density not in known:
                raise ValueError(f"verify: density is {density!r}, expected one of {', '.join(known)}.")
            cases = closed_forms([density], seed)
        else:
            rng = np.random.default_rng(seed)
            name = type(density).__name__
            cases = [
                Case(density, model, f"{name}, random {model.kind}", seed=seed)
                for model in random_models(density.dim, rng)
            ]
        yield Study("Closed forms", cases)
        return
    if target is None:
        yield Study("Closed forms", closed_forms(SMOOTH, seed))
        for case, only in integration_by_parts.counterexamples():
            yield Study("Counterexamples", [case], only)
        yield on_data(old_faithful(), "Old Faithful", ("eruptions", "waiting"), seed=seed, progress=progress)
    elif isinstance(target, str | os.PathLike):
        table = from_csv(target)
        yield on_data(table.x, os.path.basename(os.fspath(target)), table.columns, seed=seed, progress=progress)
    elif isinstance(target, Table):
        yield on_data(target.x, "data", target.columns, seed=seed, progress=progress)
    elif hasattr(target, "logpdf"):
        yield from studies(density=target, seed=seed)
    else:
        yield on_data(target, "data", seed=seed, progress=progress)


def selected(only):
    """The steps called `only`, or of the chapter called so; all of them for None. Case and punctuation do not matter."""
    if only is None:
        return STEPS
    plain = lambda text: "".join(c for c in text.lower() if c.isalnum())
    chosen = [s for s in STEPS if plain(only) in (plain(s.name), plain(s.chapter))]
    chosen = chosen or [s for s in STEPS if plain(only) and plain(only) in plain(s.name)]
    if not chosen:
        names = "; ".join(s.name for s in STEPS)
        chapters = "; ".join(chapter.CHAPTER for chapter in CHAPTERS)
        raise ValueError(f"verify: only is {only!r}, expected a step ({names}) or a chapter ({chapters}).")
    return chosen


def run(study, steps):
    """The verdicts of one study."""
    for case in study.cases:
        for s in steps:
            if s.needs(case) and (study.only is None or s.name in study.only):
                verdict = s(case)
                if verdict.holds is None and case.spare is not None:
                    verdict = s(replace(case, samples=case.spare, spare=None))
                    verdict = replace(verdict, note="a grid within the budget did not decide; by Monte Carlo")
                yield verdict


def verify(target=None, *, only=None, seed=0, density=None, progress=None):
    """Verify the derivation of score matching, both sides of every line computed.

    Parameters
    ----------
    target : None, path of a CSV file, (n, d) array, Table, or a density
        None: closed forms, counterexamples and the Old Faithful data. Data: their Parzen density and a network trained on
        them. A density (anything with dim, support, logpdf, score, sample): random networks on it.
    only : str, optional
        Name of a step or of a chapter.
    seed : int
        Seed of networks, samples and training.
    density : str, optional
        One of the closed forms by name.
    progress : callable, optional
        progress(iteration, loss) during training.

    Returns
    -------
    list of Verdict
        Step by step; ``all(v.ok for v in verdicts)`` if everything is as it should be.

    Raises
    ------
    ValueError
        For an unknown name or unusable data; `datasets.CSVError` for an unusable file.
    """
    steps = selected(only)
    return [
        verdict
        for study in studies(target, density=density, seed=seed, progress=progress)
        for verdict in run(study, steps)
    ]
