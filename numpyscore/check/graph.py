"""What a loss is good for: the minimiser of one number, and whether the gradient in the parameters is that of the value."""

import numpy as np

from .naming import Naming
from .probes import Probe, random_probe
from .report import FAIL, INCONCLUSIVE
from .terms import LINEAR, right


def oracle(caller, kind, setting, rng):
    """The minimiser in lambda of the loss for E = lambda |x|^2 / 2 on standardised data, yours and the right one."""
    x = rng.standard_normal(setting.x.shape)
    x = (x - x.mean(0)) / x.std(0)
    if caller.objective in ("explicit", "generalised"):
        return {}
    setting = setting._replace(x=x)
    scales = np.array([1.0, 2.0, 3.0])
    answers = [caller.ask(Probe.isotropic(kind, setting.d, scale), setting) for scale in scales]
    if any(a.situation is None or a.noisy for a in answers):
        return {}
    parabola = np.polyfit(scales, [a.value for a in answers], 2)
    _, linear, square = right(caller.objective, answers[0].situation)
    return {
        "oracle": {
            "yours": float(-parabola[1] / (2 * parabola[0])) if parabola[0] else np.inf,
            "right": -linear / (2 * square),
        }
    }


def by_scale(caller, settings):
    """Linear and square part of the value, as `graph` wants them, from 0, 1 and 2 times the model: nothing need be known of the loss."""

    def parts(k, situation):
        zero, one, two = (caller.ask(situation.probe.scaled(c), settings[k]).value for c in (0.0, 1.0, 2.0))
        square = (two - 2 * one + zero) / 2
        return one - zero - square, square

    return parts


def graph(caller, kind, settings, parts, rng):
    """A FAIL if the derivative in the model's scale, by the user's framework, is not that of the value: a graph that is cut.

    parts(k, situation) is the linear and the square part of the value in settings[k], as they were found.
    """
    if caller.kind not in ("torch", "jax"):
        return None
    rows, slopes = [], []
    for k, setting in enumerate(settings[:2]):
        for _ in range(4):
            probe = random_probe(kind, setting.d, rng)
            answer = caller.ask(probe, setting)
            slope = caller.ask(probe, setting, slope=True).slope
            if slope is None:
                text = "graph detached: the loss returns a plain number (.item()?): its value is right, and nothing can be trained with it"
                return Naming(INCONCLUSIVE, text, "no graph") if caller.kind == "torch" else None
            linear, square = parts(k, answer.situation)
            rows.append((linear, 2 * square))
            slopes.append(slope)
    A, y = np.array(rows), np.array(slopes)
    c = np.linalg.lstsq(A, y, rcond=None)[0]
    allowed = 2e4 * caller.eps * np.abs(A).sum(1)  # row by row: a probe with large terms must not hide the others
    if np.all(np.abs(y - A.sum(1)) <= allowed):
        return None
    linear, pattern = (
        LINEAR[caller.objective],
        f"d loss / d scale = {c[0]:.6g} x [{LINEAR[caller.objective]}] + {c[1]:.6g} x [square] of what the value says",
    )
    if np.any(np.abs(y - A @ c) > allowed):
        return Naming(
            FAIL, "wrong gradient: the value is right, its gradient in the parameters is not that of the value", pattern
        )
    off = [abs(v) < 1e-3 for v in c]
    if all(off):
        return Naming(
            FAIL,
            "graph detached: no gradient reaches the parameters; the loss has the right value and cannot be trained (detach, no_grad, stop_gradient, .item(), or create_graph=False)",
            pattern,
        )
    if any(off):
        term = linear if off[0] else "square"
        return Naming(
            FAIL,
            f"graph detached: no gradient flows through the {term}; the value is right, training ignores that term (create_graph=True is missing, or something is detached)",
            pattern,
        )
    return Naming(
        FAIL,
        f"wrong gradient: the value is right, but its gradient has {c[0]:.4g} times the {linear} and {c[1]:.4g} times the square (a factor of the score is detached)",
        pattern,
    )
