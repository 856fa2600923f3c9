"""Whether the density and the samples of a finished fit are where its rows are: looked at after every fit, and said in words.

A score matching loss is local. It sees the score near the rows, and not whether exp(-f) has more mass elsewhere, where the network
was never trained and only extrapolates; a log-likelihood sees that, as it needs Z, and so do samples.
"""

import numpy as np

from ..sampling.diagnostics import energy_distance
from ..sampling.draw import draw
from ..sampling.likelihood import log_density
from .baselines import gaussian
from .splits import some

ROWS = 300  # looked at, and samples they are compared with
CHAINS = 150  # of annealed importance sampling: whether the mass is near the rows takes no more
RELABELLED = 199  # permutations behind a p value
AWAY = 1.0  # nats a row below a Gaussian's, from which a density is said to lie elsewhere
BEYOND, UNEXPECTED = (
    0.05,
    4.0,
)  # share of samples outside the range of the rows that is said; times what chance leaves there
UNLIKE, FAR = 0.01, 0.02  # p value and share of the rows' own mean distance at which samples are said to differ


def agreement(task, result, above=None):
    """The record "check" of a summary, and the notes that it gives rise to.

    Parameters
    ----------
    task : task.Task
    result : (model, sigmas, ladder)
        The network that is handed out, its noise levels, its `Ladder` or None.
    above : float, optional
        By how much its held-out log-likelihood is above a Gaussian's, nats a row, where that is known already.

    Returns
    -------
    record, notes
        record: "density" is "where the rows are", "elsewhere" or None where none can be computed (and why); "samples" has the energy
        distance between rows (those that report, of a large table) and as many samples, its p value, and the share of samples outside
        the range of the rows.
    """
    model, sigmas, ladder = result
    rows = task.rows_tested[some(len(task.rows_tested), ROWS)]
    z, notes = task.z[rows].astype(float), []
    if above is None:
        record, difference = _exponential(task, model, z)
    else:
        record, difference = {"method": "probability flow"}, above
    record = {"density": None, **record, "above_a_gaussian": difference}
    if difference is not None:
        record["density"] = "elsewhere" if difference < -AWAY else "where the rows are"
    if record["density"] == "elsewhere":
        notes.append(
            f"the density lies elsewhere: at the rows it is lower than a Gaussian's by {-difference:.3g} nats a row, so most of its mass is "
            f"away from them, where the network was never trained. Its score near the rows may be right; for a density "
            + (
                "train longer (--steps) or leave out columns that are almost functions of others"
                if model.conditional
                else "take the default objective, multilevel_denoising"
            )
        )
    record["samples"] = _samples(task, model, sigmas, ladder, z)
    if record["samples"] and record["samples"]["differ"]:
        s = record["samples"]
        notes.append(
            f"samples differ from the rows: the energy distance between them is {s['energy_distance']:.3g}, p = {s['p_value']:.2g}, "
            f"{s['share']:.0%} of the rows' own mean distance. " + _cure(model)
        )
    elif record["samples"] and record["samples"]["outside"] > max(BEYOND, UNEXPECTED * _chance(task)):
        notes.append(
            f"{record['samples']['outside']:.0%} of the samples lie outside the range of the rows. If that is where the data end, such as a prior's "
            f"bounds, so much of the density lies where none can be: sample --clip, or --objective generalised with --lower and --upper, whose "
            f"samples stay within"
        )
    return record, notes


def _chance(task):
    """At most this share of fresh rows of the same density lies outside the range of n rows: 1/(n + 1) beyond each end of a column."""
    n, d = task.z.shape
    return 2 * d / (n + 1)


def _cure(model):
    return (
        "Train longer (--steps)."
        if model.conditional
        else "Samples of the default objective, multilevel_denoising, do better."
    )


def _exponential(task, model, z):
    """How the log-likelihood of rows under exp(-f)/Z was found, and by how much it is above a Gaussian's, nats a row."""
    if task.support is not None and model.kind != "EnergyMLP":
        return {"why": "a score network has no density within ends"}, None
    log_p, how = log_density(model, z, support=task.support, rng=task.seed, chains=CHAINS)
    if log_p is None:
        return how, None
    return how, float(np.mean(log_p - gaussian(task.z[some(len(task.z), 10_000)].astype(float)).logpdf(z)))


def _samples(task, model, sigmas, ladder, z):
    """Energy distance of the rows from samples, and its test; None for what has no quick sampler."""
    if not model.conditional and model.kind != "EnergyMLP" and ladder is None:
        return None
    if task.support is not None and model.kind != "EnergyMLP":
        return None
    told = sigmas if model.conditional or np.ndim(sigmas) or sigmas else None
    drawn = draw(
        model,
        ROWS,
        sigmas=told,
        support=task.support,
        ladder=ladder,
        n_steps=None if model.conditional else 50,
        rng=task.seed,
    )
    if not np.isfinite(drawn.samples).all():
        return None
    found = energy_distance(z, drawn.samples, n_permutations=RELABELLED, rng=task.seed)
    spread = _spread(z)
    share = found.value / spread if spread > 0 else 0.0
    differ = found.p_value <= UNLIKE and share > FAR
    words = {"energy_distance": found.value, "p_value": found.p_value, "share": share, "differ": bool(differ)}
    words["outside"] = float(task.units.grid.outside(task.units.to_data(drawn.samples)).any(axis=1).mean())
    return words | {"rows": len(z), "samples": ROWS, "method": drawn.method}


def _spread(z):
    """The mean distance of two rows."""
    from scipy.spatial.distance import pdist

    return float(pdist(z).mean()) if len(z) > 1 else 0.0
