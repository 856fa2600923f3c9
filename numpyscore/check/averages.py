r"""A sliced loss whose directions come from a generator that nobody can seed: what many calls say on average.

With E[v v^T] a multiple of I the mean of the loss is a E[tr J] + b E[1/2 |s|^2] + constant, whatever its form, and a = b if it is right.
Regression over calls with models drawn at random finds both with their standard errors. A mean far from right is an accusation; one near it
is none, and no acquittal either.
"""

import numpy as np

from .calling import Setting
from .fitting import Explanation
from .naming import Naming, name_right
from .probes import random_probe
from .report import FAIL, INCONCLUSIVE
from .terms import Situation, right

ROWS, CALLS = 1000, 200
SIGMAS = 6.0
CURE = "let the loss take rng= (or key, generator, probes), and it can be checked to round-off"


def averaged(caller, kind, rng):
    """Naming, resolution and details of a sliced loss by its mean."""
    settings, found = [], []
    for d, m in ((2, 1), (3, 2), (4, 3)):
        x = 0.1 * rng.standard_normal((ROWS, d))
        m = m if "n_probes" in caller.takes else 1
        settings.append(Setting(ROWS, d, 1.0, m, int(rng.integers(1 << 31)), x, {}))
        found.append(_coefficients(caller, kind, settings[-1], rng))
    (a, b), (da, db) = np.array([c for c, _ in found]).T, np.array([s for _, s in found]).T
    details = {"curvature": a, "square": b, "standard errors": np.column_stack([da, db])}
    pattern = ", ".join(
        f"{u:.3g} +- {du:.1g} x tr J and {v:.3g} +- {dv:.1g} x 1/2 |s|^2"
        for u, du, v, dv in zip(a, da, b, db, strict=True)
    )
    note = f"a mean over {CALLS} calls, {SIGMAS:.0f} standard errors or more from right; {CURE}"
    pattern = f"on average {pattern} in {', '.join(str(s.d) for s in settings)} dimensions"
    apart = np.abs(a - b) > SIGMAS * np.hypot(da, db)
    if np.all(apart & (np.abs(a) < SIGMAS * da)):
        text = "no curvature: the curvature v.J v is missing from your loss; it is minimised by a score of zero"
        return Naming(FAIL, text, pattern, (note,)), float(np.max(da / np.abs(b))), details
    if np.all(apart & (np.abs(b) < SIGMAS * db)):
        text = "no square: the square of the score is missing from your loss; it has no minimum"
        return Naming(FAIL, text, pattern, (note,)), float(np.max(db / np.abs(a))), details
    if np.any(np.abs(a) < SIGMAS * da) or np.any(np.abs(b) < SIGMAS * db):
        return _unsure(pattern, np.nan, details)
    ratio, error = a / b, np.abs(a / b) * np.hypot(da / a, db / b)
    resolution = float(SIGMAS * error.max())
    if np.all(np.abs(ratio - 1) <= SIGMAS * error):
        if np.all(b < -SIGMAS * db):
            return (
                Naming(FAIL, "sign of the loss: minimising it drives the score away from the data", pattern, (note,)),
                resolution,
                details,
            )
        return _unsure(pattern, resolution, details)
    exact = _law(ratio, error, settings)
    names = ("linear", "square")
    e = Explanation(names, names, names, np.column_stack([exact, np.ones(3)]), np.full((3, 2), 1e-9), {}, 0.0)
    naming = name_right("sliced", e, settings, 1e-6)
    return naming._replace(pattern=pattern, notes=(note,)), resolution, details


def _coefficients(caller, kind, setting, rng):
    """(a, b) and their standard errors: least squares weighted by what directions scatter, errors whatever they scatter (a sandwich)."""
    rows, values, scatter = [], [], []
    for _ in range(CALLS):
        probe = random_probe(kind, setting.d, rng)
        probe.b = probe.b * rng.choice([0.0, 0.3, 1.0])  # near 0 the score is small: the trace alone is left
        _, trace, square = right("implicit", Situation(probe, setting.x, setting.x[None]))
        rows.append([1.0, trace, square])
        scatter.append(np.hypot(np.sqrt(np.mean(np.sum(probe.jacobian(setting.x) ** 2, axis=(1, 2)))), 2 * square))
        values.append(caller.ask(probe, setting).value)
    A, y = (np.array(a) / np.array(scatter).reshape(-1, *[1] * (np.ndim(a) - 1)) for a in (rows, values))
    inverse = np.linalg.inv(A.T @ A)
    c = inverse @ A.T @ y
    left = (y - A @ c)[:, None] * A
    spread = inverse @ left.T @ left @ inverse * CALLS / (CALLS - 3)
    return c[1:], np.sqrt(np.diag(spread))[1:]


def _law(ratio, error, settings):
    """The ratio as the simple law that it follows within its errors, as one number, or as it is."""
    known = [{"d": s.d, "m": s.m} for s in settings]
    follows = lambda exact: np.all(np.abs(ratio - exact) <= SIGMAS * error)
    powers = [{}, {"d": -1}, {"d": 1}, {"m": 1}, {"m": -1}, {"d": -2}, {"d": 2}]
    for e in powers:
        for c in (2.0, 0.5, 1.0, -1.0, -2.0, -0.5):
            exact = np.array([c * np.prod([k[name] ** p for name, p in e.items()]) for k in known])
            if follows(exact):
                return exact
    mean = np.sum(ratio / error**2) / np.sum(1 / error**2)
    return np.full(len(ratio), float(f"{mean:.2g}")) if follows(mean) else ratio


def _unsure(pattern, resolution, details):
    text = f"hidden randomness: the loss draws directions from a generator that cannot be seeded; its mean over many calls is not wrong; {CURE}"
    return Naming(INCONCLUSIVE, text, pattern), resolution, details
