"""Losses that no terms and no arrays explain: what can be said of them all the same. Rules, read from the top."""

import numpy as np

from ..report import FAIL
from . import controls
from .identify import Answers
from .names import LINEAR, Naming
from .structure import PIECES, growth, not_quadratic, piecewise
from .trials import Trial, as_asked

MONOTONE = 40  # models; others are in order by chance once in 40!


def unexplained(caller, kind, table, right, left, rng):
    """(`Naming`, sense) of a loss of which `left` is not explained; right are linear and square term (P, 2), or None."""
    for rule in RULES:
        named = rule(caller, kind, table, right, left, rng)
        if named is not None:
            return named, 1
    power = growth(table, caller, table.trial.setting)
    return not_quadratic(power, left, LINEAR[caller.objective]), 0


def _clamped(caller, kind, table, right, left, rng):
    wrong = controls.bent(caller, kind, table.trial.setting, rng)
    return wrong if wrong is not None and "stands still" in wrong.diagnosis else None


def _round_off(caller, kind, table, right, left, rng):
    """It differences for itself, with a step so small that nothing but round-off is left."""
    near = table.trial.setting._replace(x=table.trial.setting.x * (1 + 2 * caller.eps))
    change = np.abs(caller.values(table.probes[:4], near) - table.values[:4]).max() / np.abs(table.values[:4]).max()
    if change < left / 100 or change < 1e4 * caller.eps:
        return None
    text = f"round-off: moving x by a unit in its last place changes the loss by {change:.0e} of it; the step of its own differences is too small, they cancel"
    return Naming(FAIL, text, f"{left:.2g} of it is unexplained")


def _function_of_right(caller, kind, table, right, left, rng):
    """It is a monotone function of the right one: of its mean, or of that of each row, which equal rows show."""
    monotone = lambda ours, theirs: not (np.any((steps := np.diff(theirs[np.argsort(ours)])) < 0) and np.any(steps > 0))
    if right is not None and monotone(right.sum(1)[: len(table.values)], table.values):
        of, why = "the right one", "its mean over batches has another minimum"
    elif caller.objective == "implicit":
        setting = table.trial.setting
        x = np.tile(setting.x[:1], (setting.n, 1))
        equal = Answers(caller, kind, Trial(setting._replace(x=x), x[:1], None), rng).grow(MONOTONE)
        if not monotone((0.5 * np.sum(equal.S**2, -1) + np.trace(equal.J, axis1=-2, axis2=-1))[:, 0], equal.values):
            return None
        of, why = "the right one of each sample", "the mean of that has another minimum"
    else:
        return None
    text = f"function of the loss: your loss is a function of {of} (a logarithm, a softplus, a root, an exponential), not linear in it: {why}"
    return Naming(FAIL, text, "monotone in the reference")


def _of_first_power(caller, kind, table, right, left, rng):
    """It grows with the model, not with its square."""
    power = growth(table, caller, table.trial.setting)
    return not_quadratic(power, left, "") if power is not None and abs(power - 1) < 0.05 else None


def _pieces(caller, kind, table, right, left, rng):
    """Only some rows or terms count at a time."""
    return Naming(FAIL, PIECES, "a square for models near each other, none for all") if piecewise(table) else None


def _away(caller, kind, table, right, left, rng):
    """It asks its model elsewhere than at the data."""
    setting = table.trial.setting
    points = as_asked(caller, kind, setting, rng).points
    if (
        "denoising" in caller.objective
        or caller.objective == "finite_difference_sliced"
        or np.abs(points[:, None] - setting.x).max(-1).min(1).max() < 1e-6
    ):
        return None
    text = f"other points: fn is asked at points that are not the data, where the {caller.objective} loss is taken at x alone (noise is added, x is scaled, or a step of differences is large)"
    return Naming(FAIL, text, f"asked at {np.array2string(points[-1], precision=3)}")


RULES = (_clamped, _round_off, _function_of_right, _of_first_power, _pieces, _away)
