"""Questions for every loss whose value is right: does its gradient follow, is it a parabola, does it draw anew, and does it say the same again?"""

import numpy as np

from ..report import FAIL, INCONCLUSIVE
from .names import LINEAR, Naming
from .probes import Probe, random_probe

BEND = 1e-9  # of the range of the loss: what its own differences leave
SCALES = np.array([-2.0, -1.0, -0.5, 0.25, 0.5, 1.0, 1.5, 2.5, 4.0])


def minimiser(caller, kind, setting, rng):
    """The minimiser in lambda of the loss for E = lambda |x|^2 / 2 on standardised data; None where it has none."""
    x = rng.standard_normal(setting.x.shape)
    setting = setting._replace(x=(x - x.mean(0)) / x.std(0))
    scales = np.array([1.0, 2.0, 3.0])
    a, b, _ = np.polyfit(scales, caller.values([Probe.isotropic(kind, setting.d, s) for s in scales], setting), 2)
    return float(-b / (2 * a)) if a else None


def bent(caller, kind, setting, rng, floor=0.0):
    """A FAIL if the loss of the models lambda |x|^2 / 2, on standardised data, is no parabola in lambda; None if it is.

    Random models rarely come near the minimum, where implicit and sliced losses are negative; one that is clamped there looks right elsewhere.
    """
    if caller.objective != "generalised":  # whose weights belong to its data
        x = rng.standard_normal(setting.x.shape)
        setting = setting._replace(x=(x - x.mean(0)) / x.std(0))
    values = caller.values([Probe.isotropic(kind, setting.d, scale) for scale in SCALES], setting)
    if not np.all(np.isfinite(values)):
        return None
    left = np.abs(values - np.polyval(np.polyfit(SCALES, values, 2), SCALES)).max()
    if left <= 1e5 * caller.eps * np.abs(values).max() + BEND * np.ptp(values) + 4 * floor:
        return None
    low, high = values.min(), values.max()
    stands = next((v for v in (low, high) if np.sum(values == v) > 1), None)
    where = "" if stands is None else f": it stands still at {stands:.6g}"
    text = f"clipped loss: in the scale of the model the loss is no parabola{where}; it is clamped, or a term of it is (clamp, relu, maximum, clip)"
    points = ", ".join(f"{v:.4g}" for v in values)
    return Naming(FAIL, text, f"loss of lambda |x|^2/2 at lambda = -2 ... 4: {points}")


def again(caller, kind, setting, rng):
    """The `Naming` of a loss that says something else when the same is asked again; None if it says the same."""
    probe, other = random_probe(kind, setting.d, rng), random_probe(kind, setting.d, rng)
    between = (
        setting if caller.kind == "jax" else setting._replace(seed=setting.seed + 1)
    )  # jax keeps nothing, and compiles anew
    ((first,), _, (last,)) = (caller.values([p], s) for p, s in ((probe, setting), (other, between), (probe, setting)))
    if not np.isfinite(first + last) or abs(first - last) <= 1e3 * caller.eps * max(abs(first), abs(last)):
        return None
    steps = np.diff(caller.values([probe] * 10, setting))
    if np.all(steps >= 0) or np.all(steps <= 0):  # random numbers would go up and down
        text = "state: the same call with the same random numbers gives another value; something is kept from call to call (a running average, a counter, a list that grows)"
        return Naming(FAIL, text, f"{first:.9g} first, {last:.9g} after another call")
    text = "hidden randomness: it draws numbers that no seed holds; let the loss take rng= (or key, generator, noise, probes)"
    return Naming(INCONCLUSIVE, text, f"{first:.9g} first, {last:.9g} when the same was asked again")


def graph(caller, kind, settings, rng):
    """A FAIL if the derivative in the model's scale, by the user's framework, is not that of the value: a graph that is cut.

    Square and linear part of the value are those of 0, 1 and 2 times the model: nothing need be known of the loss.
    """
    if caller.kind not in ("torch", "jax"):
        return None
    rows, slopes = [], []
    for setting in settings[:2]:
        for _ in range(3):
            probe = random_probe(kind, setting.d, rng)
            slope = caller.ask(probe, setting, slope=True).value
            if slope is None:
                text = "graph detached: the loss returns a plain number (.item()?): its value is right, and nothing can be trained with it"
                return Naming(INCONCLUSIVE, text, "no graph") if caller.kind == "torch" else None
            zero, one, two = caller.values([probe.scaled(c) for c in (0.0, 1.0, 2.0)], setting)
            square = (two - 2 * one + zero) / 2
            rows.append((one - zero - square, 2 * square, abs(one) + abs(two) + abs(zero)))
            slopes.append(slope)
    A, y = np.array(rows), np.array(slopes)
    A, size = A[:, :2], A[:, 2]
    c = np.linalg.lstsq(A, y, rcond=None)[0]
    allowed = (
        2e4 * caller.eps * (np.abs(A).sum(1) + size)
    )  # row by row: a probe with large terms must not hide the others
    if np.all(np.abs(y - A.sum(1)) <= allowed):
        return None
    linear = LINEAR[caller.objective]
    pattern = f"d loss / d scale = {c[0]:.6g} x [{linear}] + {c[1]:.6g} x [square] of what the value says"
    if np.any(np.abs(y - A @ c) > allowed):
        text = "wrong gradient: the value is right, its gradient in the parameters is not that of the value"
    elif all(off := [abs(v) < 1e-3 for v in c]):
        text = "graph detached: no gradient reaches the parameters; the loss has the right value and cannot be trained (detach, no_grad, stop_gradient, .item(), or create_graph=False)"
    elif any(off):
        term = linear if off[0] else "square"
        text = f"graph detached: no gradient flows through the {term}; the value is right, training ignores that term (create_graph=True is missing, or something is detached)"
    else:
        text = f"wrong gradient: the value is right, but its gradient has {c[0]:.4g} times the {linear} and {c[1]:.4g} times the square (a factor of the score is detached)"
    return Naming(FAIL, text, pattern)
