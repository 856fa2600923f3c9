"""What a finished fit says of itself: the choice, held-out loss and log-likelihood beside simpler densities', and what went wrong."""

import math

import numpy as np

from ..densities import Gaussian, Parzen
from ..densities.noise import geometric_levels
from ..estimation import estimators
from .agreement import agreement
from .baselines import RIDGE
from .splits import best_step

NATS = 0.1  # a row, by which a density may be worse than the best baseline without a word
FALLING, STEEP = 4, 1.5  # last levels whose loss is looked at; the power of 1/sigma from which it is that of points
DROWNS = 100  # times what a Gaussian knows: a denoising loss in which that is not seen
WORDS = {"gaussian": "Gaussian", "kernel_density": "kernel density", "mixture": "Gaussian mixture"}


def appraise(task, state, step, ladder=None):
    """The summary of a fit, for summary.json: numbers, lists and words only.

    Parameters
    ----------
    task : task.Task
    state : checkpoints.State, the last
    step : int
        Where the network that is handed out stopped.
    ladder : Ladder, optional
        Those that training passed at larger noise.
    """
    level, notes = (step - 1) // task.steps, list(task.notes)
    sigma, pairs = task.sigmas[level], task.choosing(state)
    _, means = best_step(state.history, pairs)
    scores = task.scores(state)
    likelihood = _likelihood(task, state, notes) if task.model.conditional else None
    if likelihood is not None:
        sigma = sigma[: likelihood.pop("level") + 1]
    gaussian = _gaussian(task, notes)
    trained, held_out = _at_the_end(state.history, pairs, (level + 1) * task.steps)
    best, levels = min(means.values()), _levels(task, means)
    collapsed = not task.model.conditional and _collapsed(best, trained, held_out)
    if collapsed:
        notes.append(_collapse(task, sigma, trained, held_out, step))
    notes += _learned_nothing(task, best) + _sharpness(levels)
    if task.objective == "denoising":
        notes += _drowned(task, sigma, scores, gaussian)
    above = likelihood and likelihood["network"]["mean"] - likelihood["gaussian"]["mean"]
    check, found = agreement(task, (task.model.with_theta(state.best[0]), sigma, ladder), above)
    what = {"rows": len(task.z), "units": task.units._replace(sigma=sigma).to_dict(), "network": repr(task.model)}
    how: dict = {
        "objective": task.objective,
        "criterion": _criterion(task),
        "optimiser": task.optimiser,
        "seed": task.seed,
    }
    handed_out = task.split.run(task.split.runs - 1, state.history)
    how |= {"protocol": task.split.words, "step": step, "decay": task.decay(handed_out)}
    how |= {
        "trainings": sorted({run for run, _ in pairs}),
        "levels": levels,
    }  # those whose rows held out chose the step
    worth: dict = {"held_out": _mean(scores), "gaussian": None, "difference": None}
    if gaussian is not None:
        worth |= {"gaussian": _mean(gaussian), "difference": _mean(scores - gaussian)}
    worth |= {"log_likelihood": likelihood}
    end = {"step": (level + 1) * task.steps, "train": trained, "held_out": held_out}
    last = {"end": end, "check": check, "collapsed": bool(collapsed), "notes": notes + found}
    return {"schema": "numpyscore-fit/1"} | what | how | worth | last


def _collapsed(best, trained, held_out):
    """Whether at the end the loss of rows trained on is far below the best of rows held out, and theirs has risen to half of it."""
    away = best - max(1.0, abs(best))  # further than the loss itself, and than twice the -1/2 of a Gaussian column
    return held_out > 0.5 * best and trained < away


def _learned_nothing(task, best):
    """The note where a score of zero is better."""
    if task.model.conditional or not best > 0:
        return []
    return [
        f"nothing was learned: the least held-out loss is {best:.3g}, and a score of zero has 0. Training diverged: lower the rate, now {task.rate:g}, or raise sigma"
    ]


def _criterion(task):
    if task.support is not None:
        return "exact generalised loss of clean rows"
    return "denoising at all levels" if task.model.conditional else "exact implicit loss of clean rows"


def _likelihood(task, state, notes):
    """The mean log-likelihood of rows held out, nats a row in the units of the data, of this density and of each baseline, and paired
    differences; and the least level."""
    try:
        rows, log_p, level = task.log_likelihoods(state)
    except ValueError as error:
        raise ValueError(
            f"fit: the density that was learned has no log-likelihood, as its score changes too fast to be followed: training ran away. Lower "
            f"the rate, now {task.rate:g}, or raise sigma. ({str(error).partition('. ')[0]})"
        ) from None
    volume = task.units.log_volume(task.z[rows])
    out = {"level": level, "sigma": float(task.sigmas[0][level]), "network": _mean(log_p - volume)}
    rivals = task.rivals(rows)
    for name, theirs in rivals.items():
        out[name] = _mean(theirs - volume)
    best = max(rivals, key=lambda name: rivals[name].mean())
    out["best_baseline"], out["difference"] = best, _mean(log_p - rivals[best])
    if (gap := out["difference"])["mean"] < -max(NATS, 2 * (gap["se"] or 0)):
        notes.append(
            f"rows held out are less likely under this density than under a {WORDS[best]} of the same rows, by {-gap['mean']:.2f} +- "
            f"{gap['se']:.2f} nats a row: train longer with --steps, now {task.steps}, or use the {WORDS[best]}"
        )
    return out


def _mean(values):
    """Mean, its standard error over rows, and their number."""
    n = len(values)
    return {"mean": float(values.mean()), "se": float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None, "rows": n}


def _levels(task, means):
    """Of each noise level: the best mean held-out loss of the rows that choose, and its step."""
    out = []
    for level, sigma in enumerate(task.sigmas):
        steps = [s for s in means if level * task.steps < s <= (level + 1) * task.steps]
        best = min(steps, key=means.get)
        out.append({"sigma": np.asarray(sigma, float).tolist(), "step": best, "held_out": means[best]})
    return out


def _sharpness(levels):
    """The note where the least held-out losses of the last levels go as 1/sigma^2, as they do of rows on points or lines.

    Noise of sigma on k columns without any width of their own has the loss -k/(2 sigma^2), of which a network learns a part.
    """
    last = levels[-FALLING:]
    loss = np.array([level["held_out"] for level in last])
    if len(last) < FALLING or not (loss < -1).all():
        return []
    power = np.polyfit(np.log([level["sigma"] for level in last]), np.log(-loss), 1)[0]
    if not power < -STEEP:
        return []
    return [
        f"the held-out loss falls as 1/sigma^{-power:.2g} with the noise, as 1/sigma^2 does of rows on points or lines: it says how sharply they lie "
        f"there, not how well their density is learned. Rounded columns and copies do this; a log-likelihood does not"
    ]


def _drowned(task, sigma, scores, gaussian):
    """The note where denoising with little noise learned less than a Gaussian knows."""
    d = len(task.units.columns)
    if gaussian is None or not d / (2 * sigma**2) > DROWNS * abs(gaussian.mean()):
        return []
    worse = scores - gaussian
    if not worse.mean() > 2 * worse.std(ddof=1) / math.sqrt(len(worse)):
        return []
    return [
        f"at sigma = {sigma:g} the denoising loss is 1/(2 sigma^2) = {1 / (2 * sigma**2):.2g} a column, whatever the network says; what there is to "
        f"learn, {abs(gaussian.mean()):.2g} even by a Gaussian, drowns in it. Raise --sigma to 0.1 or so, or take --objective implicit"
    ]


def _gaussian(task, notes):
    """The held-out loss of a Gaussian fitted to the same rows; None, and a note why, where there is none."""
    try:
        return task.compared(lambda rows: _fitted(task, rows))
    except ValueError as error:
        flat = (
            f"in the loss: its covariance has no inverse, as a column is constant or an exact function of others; that of the log-likelihood has "
            f"{RIDGE:g} standard deviations of its own in every direction"
        )
        notes.append(f"no Gaussian to compare with {flat if task.support is None else f'({error})'}")
        return None


def _fitted(task, rows):
    """The Gaussian with the least loss on these rows, of those within the support if there is one, where its score is the same."""
    if task.support is None:
        return Gaussian(*estimators.gaussian(rows))
    return Gaussian(*estimators.truncated_gaussian(rows, *task.support, *task.support.weight))


def _at_the_end(history, pairs, step):
    """Mean loss on the rows trained on, and on those that choose, at the last snapshot of a level."""
    lines = [line for line in history if (line.run, line.fold) in pairs and line.step == step]
    return float(np.mean([line.train for line in lines])), float(np.mean([line.held_out for line in lines]))


def _collapse(task, sigma, trained, held_out, step):
    """What happened, in plain words, and the noise that would prevent it."""
    better = "--sigma auto"
    if task.support is None:
        better += f", or --sigma {_recommended(task):.2g}, at which a Gaussian on every row does best on unseen rows"
    return (
        f"the network collapses onto the samples: trained to the end with sigma = {sigma:g} its loss is {trained:.3g} on the rows it "
        f"was trained on and {held_out:.3g} on rows it never saw (a score of zero has 0). The trace runs to minus infinity at "
        f"the samples, and nothing is learned between them. It was stopped at step {step}, before the worst; better, train with "
        f"noise: {better}"
    )


def _recommended(task):
    """The noise at which Parzen's density of the rows trained on has the least loss on the rows tested."""
    levels = geometric_levels(0.8, 0.05, 9)
    losses = [np.nanmean(task.compared(lambda rows, s=s: Parzen(rows, s))) for s in levels]
    return levels[int(np.argmin(losses))]
