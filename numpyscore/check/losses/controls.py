"""Questions for every loss whose value is right: does its gradient follow, is it a parabola, does it draw anew, and does it say the same again?"""

import numpy as np

from ..report import FAIL, INCONCLUSIVE
from .identify import WIDE, Answers, Probe, identify, random_probe
from .names import LINEAR, Naming
from .trials import Trial, as_asked

BEND = 1e-9  # of the range of the loss: what its own differences leave
SCALES = np.array([-2.0, -1.0, -0.4, 0.25, 0.5, 1.0, 1.6, 2.5, 4.3])  # no two as far from 1: the loss is not the same
MONOTONE = 40  # models; others are in order by chance once in 40!


def minimiser(caller, kind, setting, rng):
    """The minimiser in lambda of the loss for E = lambda |x|^2 / 2 on standardised data; None where it has none."""
    scales = np.array([1.0, 2.0, 3.0])
    fit = np.polyfit(scales, _of_scales(caller, kind, standardised(setting, rng), scales), 2)
    a, b, _ = np.where(np.abs(fit) > 1e-9 * np.abs(fit).max(), fit, 0.0)  # a term that is missing is rounding here
    return float(-b / (2 * a)) + 0.0 if a > 0 else None


def standardised(setting, rng):
    """The setting with standardised data."""
    x = rng.standard_normal(setting.x.shape)
    return setting._replace(x=(x - x.mean(0)) / x.std(0))


def _of_scales(caller, kind, setting, scales):
    """The loss of the models lambda |x|^2 / 2."""
    return caller.values([Probe.isotropic(kind, setting.d, scale) for scale in scales], setting)


def bent(caller, kind, setting, rng):
    """A FAIL if the loss of the models lambda |x|^2 / 2, on standardised data, is no parabola in lambda; None if it is.

    Random models rarely come near the minimum, where implicit and sliced losses are negative; one that is clamped there looks right elsewhere.
    """
    own = caller.objective == "generalised"  # whose weights belong to its data
    values = _of_scales(caller, kind, setting if own else standardised(setting, rng), SCALES)
    if not np.all(np.isfinite(values)):
        return None
    left = np.abs(values - np.polyval(np.polyfit(SCALES, values, 2), SCALES)).max()
    if left <= 1e5 * caller.eps * np.abs(values).max() + BEND * np.ptp(values):
        return None
    low, high = values.min(), values.max()
    steps = np.diff(values) == 0  # two equal values beside each other; for an upper limit the ends of the parabola
    stands = low if np.any(steps & (values[1:] == low)) else high if np.sum(values == high) > 1 else None
    where = "" if stands is None else f": it stands still at {stands:.6g}"
    text = f"clipped loss: in the scale of the model the loss is no parabola{where}; it is clamped, or a term of it is (clamp, relu, maximum, clip)"
    points = ", ".join(f"{v:.4g}" for v in values)
    return Naming(FAIL, text, f"loss of lambda |x|^2/2 at lambda = {SCALES[0]:g} ... {SCALES[-1]:g}: {points}")


def again(caller, kind, setting, rng):
    """The `Naming` of a loss that says something else when the same is asked again; None if it says the same."""
    probe, other = random_probe(kind, setting.d, rng), random_probe(kind, setting.d, rng)
    # jax keeps nothing, and compiles anew
    between = setting if caller.kind == "jax" else setting._replace(seed=setting.seed + 1)
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
    y, A, size = np.array(slopes), np.array(rows)[:, :2], np.array(rows)[:, 2]
    c = np.linalg.lstsq(A, y, rcond=None)[0]
    allowed = 2e4 * caller.eps * (np.abs(A).sum(1) + size)  # row by row: large terms must not hide the others
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


# ------------------------------------------------------------------------------- what no arrays explain


def unexplained(caller, kind, table, right, left, rng):
    """(`Naming`, sense) of a loss of which `left` is not explained; right (P,) is what the reference says, or None."""
    for rule in LEFT:
        if (named := rule(caller, kind, table, right, left, rng)) is not None:
            return named, 1
    smaller = "; with a smaller shape=, such as (1, 2, 4), products of different entries are looked at as well"
    text = f"unknown term: no combination of the terms known here is your loss; the {LINEAR[caller.objective]} and the square leave {left:.2g} of it unexplained. It is not quadratic in the score, or is taken at other points, or mixes the samples"
    text += smaller if table.trial.points.shape[1] > WIDE else ""
    return _power(caller, kind, table, right, left, rng) or Naming(FAIL, text, f"off by {left:.2g}"), 0


def _clamped(caller, kind, table, right, left, rng):
    """It stands still for some models."""
    wrong = bent(caller, kind, table.trial.setting, rng)
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
    """It is a monotone function of the right one."""
    if right is None or not _monotone(right[: len(table.values)], table.values):
        return None
    text = "function of the loss: your loss is a function of the right one (a logarithm, a root, an exponential), not linear in it: its mean over batches has another minimum"
    return Naming(FAIL, text, "monotone in the reference")


def _function_of_each(caller, kind, table, right, left, rng):
    """It is the mean of a monotone function of the right loss of each row, which equal rows show."""
    setting = table.trial.setting
    if caller.objective != "implicit":
        return None
    x = np.tile(setting.x[:1], (setting.n, 1))
    equal = Answers(caller, kind, Trial(setting._replace(x=x), x[:1], None), rng).grow(MONOTONE)
    theirs = (0.5 * np.sum(equal.S**2, -1) + np.trace(equal.J, axis1=-2, axis2=-1))[:, 0]
    bent = np.abs(equal.values - np.polyval(np.polyfit(theirs, equal.values, 1), theirs)).max() > 1e-6 * np.ptp(theirs)
    if not bent or not _monotone(theirs, equal.values):
        return None
    text = "function of the loss: your loss is a function of the right one of each sample (a softplus, a logarithm, a root), not linear in it: its mean has another minimum"
    return Naming(FAIL, text, "of equal rows, monotone in the reference")


def _monotone(right, values):
    steps = np.diff(values[np.argsort(right)])
    return not (np.any(steps < 0) and np.any(steps > 0))


def _power(caller, kind, table, right, left, rng, only=None):
    """It grows with another power of the model than the second, for models of very different size."""
    sizes = np.array([0.0, 1e3, -1e3, 1e6, -1e6])
    zero, *at = caller.values([table.probes[0].scaled(s) for s in sizes], table.trial.setting)
    near, far = (np.abs(np.array(pair) - zero).sum() for pair in (at[:2], at[2:]))
    power = np.log(max(far, 1e-300) / max(near, 1e-300)) / np.log(1e3)
    if not np.isfinite(power) or abs(power - 2) <= 0.05 or (only is not None and abs(power - only) > 0.05):
        return None
    what = f"not with its square, but its power {power:.3g}"
    if abs(power - 1) < 0.05:
        what = "a norm, an absolute error or a Huber error stands where the square should"
    elif power < 0.05:
        what = "stands still: it is clipped, made of directions alone (a cosine), or divided by itself (a weight 1/loss that is not detached)"
    text = f"not a square: for large scores your loss grows with the power {power:.2g} of the score: {what}"
    return Naming(FAIL, text, f"{left:.2g} of it is not quadratic")


def _first_power(caller, kind, table, right, left, rng):
    """It grows as the model does."""
    return _power(caller, kind, table, right, left, rng, only=1.0)


PIECES = "pieces: for models near each other your loss is a square, and for all it is none: it has kinks (an absolute value, or a maximum, a minimum, a median, a sort, a clip, by which only some of the rows count at a time)"


def _pieces(caller, kind, table, right, left, rng):
    """It is no square for models anywhere, and one for models near each other."""
    near = table.near(1e-3)
    if not any(identify(near, jacobian=j).fit.exact for j in (False, True)):
        return None
    return Naming(FAIL, PIECES, "a square for models near each other, none for all")


def _away(caller, kind, table, right, left, rng):
    """It asks its model elsewhere than at the data."""
    if "denoising" in caller.objective or caller.objective == "finite_difference_sliced":
        return None
    x, points = table.trial.setting.x, as_asked(caller, kind, table.trial.setting, rng).points
    if np.abs(points[:, None] - x).max(-1).min(1).max() < 1e-6:
        return None
    text = f"other points: fn is asked at points that are not the data, where the {caller.objective} loss is taken at x alone (noise is added, x is scaled, or a step of differences is large)"
    return Naming(FAIL, text, f"asked at {np.array2string(points[-1], precision=3)}")


LEFT = (_clamped, _round_off, _function_of_right, _first_power, _pieces, _function_of_each, _away)
