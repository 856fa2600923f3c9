r"""A score-matching loss is a parabola in the scale of the model; where its minimum lies says what the model is pulled to.

For a model lambda s every loss here is a lambda^2 + b lambda + c, down to its minimum and below zero. Random models rarely come near the
minimum, where implicit and sliced losses are negative; one that is clamped there looks right everywhere else. For constant scores c e_j the
minimum of a denoising loss is the batch mean of its target: the noise that it was drawn from is the noise that was added, or is not.
"""

from typing import Any

import numpy as np

from .naming import Naming
from .probes import Probe
from .report import FAIL

BEND = 1e-9  # of the range of the loss: what its own differences leave
SCALES = np.array([-2.0, -1.0, -0.5, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0])


def bent(caller, kind, group, rng):
    """A FAIL if the loss of the models lambda |x|^2 / 2, on standardised data, is no parabola in lambda; None if it is."""
    setting = group.setting
    if caller.objective != "generalised":  # whose weights belong to its data
        x = rng.standard_normal(setting.x.shape)
        setting = setting._replace(x=(x - x.mean(0)) / x.std(0))
    values = np.array([caller.ask(Probe.isotropic(kind, setting.d, scale), setting).value for scale in SCALES])
    if not np.all(np.isfinite(values)):
        return None
    curve = np.polyfit(SCALES, values, 2)
    left = np.abs(values - np.polyval(curve, SCALES)).max()
    if left <= 1e5 * caller.eps * np.abs(values).max() + BEND * np.ptp(values) + 4 * group.floor:
        return None
    low, high = values.min(), values.max()
    stands = next((v for v in (low, high) if np.sum(values == v) > 1), None)
    where = "" if stands is None else f": it stands still at {stands:.6g}"
    text = f"clipped loss: in the scale of the model the loss is no parabola{where}; it is clamped, or a term of it is (clamp, relu, maximum, clip)"
    points = ", ".join(f"{v:.4g}" for v in values)
    return Naming(FAIL, text, f"loss of lambda |x|^2/2 at lambda = -2 ... 4: {points}")


def strange_target(caller, kind, setting):
    """A FAIL if the mean target of a denoising loss is not that of the noise that was added; None if it is, or cannot be told."""
    sizes, targets = np.array([-1.0, 0.0, 1.0, 2.0]), np.empty(setting.d)
    situation: Any = None
    for j, e in enumerate(np.eye(setting.d)):
        answers = [caller.ask(_constant(kind, c * e), setting) for c in sizes]
        values, situation = np.array([a.value for a in answers]), answers[0].situation
        curve = np.polyfit(sizes, values, 2)
        if (
            situation is None
            or curve[0] <= 0
            or np.abs(values - np.polyval(curve, sizes)).max() > 1e-9 * np.ptp(values)
        ):
            return None
        targets[j] = -curve[1] / (2 * curve[0])
    wanted = -situation.shift / np.asarray(situation.sigma) ** 2
    added = wanted.mean(axis=(0, 1))
    if np.abs(targets - added).max() <= 1e-6 * np.abs(wanted).max():
        return None
    show = lambda a: np.array2string(a, precision=3)
    text = "other noise: the target is not made of the noise that was added; it is drawn anew (another key, a second call of randn), or belongs to other points"
    return Naming(FAIL, text, f"mean target {show(targets)}, mean of -(x~ - x)/sigma^2 {show(added)}")


def _constant(kind, value):
    """The model with this score everywhere."""
    out = Probe.isotropic(kind, len(value), 0.0)
    out.b = -value
    return out
