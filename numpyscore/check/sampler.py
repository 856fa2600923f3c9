r"""Does one step of a sampler leave the right law behind, on a Gaussian where every law is known?

On N(mu, v I) the score is -(x - mu)/v, and one unadjusted step is x' - mu = a (x - mu) + b z. With common random numbers a is a difference
quotient, and exact; b is the spread of the rest. The stationary variance is b^2/(1 - a^2), and the named discretisations are

.. math:: \text{Euler-Maruyama: } a = 1 - \tau/v,\; b^2 = 2\tau \;\Rightarrow\; \frac{v}{1 - \tau/(2v)}; \qquad
    \text{exact: } a = e^{-\tau/v},\; b^2 = v (1 - a^2) \;\Rightarrow\; v

A step that is not linear in x (Metropolis-adjusted) is judged by its law alone.
"""

import inspect
from typing import Any

import numpy as np

from ..common.arrays import framework, same_randomness, source, to_numpy, wrapper
from ..common.inputs import count, generator, positive
from .numbers import law, product
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst

VARIANCE, MEAN, DIM = 1.6, 0.7, 2
SIGMAS = 5.0
SOURCES = ("rng", "key", "generator", "seed")


def check_sampler(step, *, discretisation="euler", step_size=0.2, wrap=None, rng=0, n=20000):
    """Does this step of a Langevin sampler have the stationary law of the discretisation that it claims to be?

    Parameters
    ----------
    step : callable step(x, score, step_size) -> x
        One step for all rows of x (n, d). score is a function in the user's arrays, of a Gaussian. A parameter called rng, key, generator
        or seed is given a source of random numbers.
    discretisation : "euler" or "adjusted"
        "euler": x + step * score + sqrt(2 step) z, stationary at variance v / (1 - step/(2 v)); an exact step of the linear process, stationary
        at v, passes too. "adjusted": Metropolis-adjusted, stationary at v.
    step_size : float, [x]^2
        The largest step; the Gaussian has variance 1.6, so it must be well below 3.2.
    wrap : as in `check_score`
    rng : seed or numpy.random.Generator
    n : int
        Chains; the noise's size is known to 1/sqrt(2 n).

    Returns
    -------
    CheckReport
        PASS, with the conversion in a note, where only the meaning of step_size differs (x + step/2 score + sqrt(step) z).

    Source: stationary variance of the unadjusted step, Roberts & Tweedie (1996), Bernoulli 2:341-363.
    """
    where = "check_sampler"
    if discretisation not in ("euler", "adjusted"):
        raise ValueError(f"{where}: discretisation is {discretisation!r}, expected 'euler' or 'adjusted'.")
    tau = positive(where, "step_size", step_size)
    n, rng = count(where, "n", n, 100), generator(where, rng)
    chain = _Chain(where, step, wrapper(where, wrap))
    x = MEAN + np.sqrt(VARIANCE) * rng.standard_normal((n, DIM))
    x = (x - x.mean(0)) / x.std(0) * np.sqrt(VARIANCE) + MEAN
    first = chain(x, tau, 1)
    summary = f"{n} chains x {DIM} dims on N({MEAN}, {VARIANCE} I), step {tau:g}"
    if first.shape != x.shape or not np.isfinite(first).all():
        text = (
            f"shape: the step returned {first.shape}, expected {x.shape}"
            if first.shape != x.shape
            else "not finite: the step returned NaN or infinity"
        )
        return CheckReport(where, FAIL, summary, diagnosis=text)
    linear = [_linear(chain, x, tau * c, k + 1) for k, c in enumerate((1.0, 0.5, 0.25))]
    silent = all(part is not None and part[2] <= 1e-12 for part in linear)
    if not silent and not np.array_equal(first, x) and np.array_equal(first, chain(x, tau, 2)):
        text = "repeated noise: steps with different random numbers are the same; a generator or a key is made anew in each step, or there is no noise"
        return CheckReport(where, FAIL, summary, diagnosis=text, pattern="two steps from the same points are equal")
    if discretisation == "adjusted" or any(part is None for part in linear):
        return _by_law(where, chain, tau, n, rng, summary, discretisation, linear[0])
    return _unadjusted(where, np.array(linear), tau * np.array([1.0, 0.5, 0.25]), n, summary)


class _Chain:
    """The user's step on ndarrays."""

    def __init__(self, where, step, make):
        if not callable(step):
            raise TypeError(f"{where}: step is {step!r}, expected a function step(x, score, step_size).")
        self.where, self.step, self.make = where, step, make
        self.kind = framework(make(np.zeros((1, 1))))
        try:
            parameters = list(inspect.signature(step).parameters)
        except (TypeError, ValueError):
            parameters = []
        self.name = next((name for name in SOURCES if name in parameters), None)

    def __call__(self, x, tau, seed):
        given = {} if self.name is None else {self.name: source(self.name, seed, self.kind)}
        with same_randomness(seed):
            out = self.step(self.make(x), lambda x: (x - MEAN) * (-1 / VARIANCE), tau, **given)
        return to_numpy(out[0] if isinstance(out, tuple) else out, f"{self.where}: what step returned").astype(float)


def _linear(chain, x, tau, seed):
    """Of x' = mu + a (x - mu) + offset + b z: a, offset, b^2, kurtosis of z, whether the chains share it, and the correlation of its dimensions.

    None if the step is not linear in x, or not repeatable.
    """
    base, move = chain(x, tau, seed), 0.37
    near, far = (chain(x + c * move, tau, seed) - base for c in (1, 2))
    tol = 1e-4 if chain.kind == "jax" else 1e-9
    a = near / move
    if np.ptp(a) > tol or not np.allclose(far, 2 * near, atol=tol) or not np.array_equal(base, chain(x, tau, seed)):
        return None
    rest = base - MEAN - a.mean() * (x - MEAN)
    noise = rest - rest.mean(0)
    size = noise.std() or 1e-300
    shared = np.allclose(rest, rest[:1], atol=1e-6 * size) if noise.any() else False
    z = noise / size
    variance = noise.var() if not shared else rest.var()
    return a.mean(), rest.mean(), variance, np.mean(z**4), float(shared), np.mean(z[:, 0] * z[:, 1])


def _unadjusted(where, parts, taus, n, summary):
    """The verdict on a linear step from its coefficients at three step sizes."""
    a, offset, noise, kurtosis, shared, correlation = parts.T
    error = SIGMAS * np.sqrt(2 / (n * DIM))
    settings = [{"step": t} for t in taus]
    drift = (1 - a) * VARIANCE
    stationary, euler = (np.where(np.abs(a) < 1, noise / (1 - a**2), np.inf)), VARIANCE / (1 - drift / (2 * VARIANCE))
    D = law(drift, settings, 1e-3, odd=("step",)) if np.all(drift > 0) or np.all(drift < 0) else None
    B = law(np.sqrt(noise), settings, error, odd=("step",)) if np.all(noise > 0) else None
    words = lambda found, values: product(found[0], found[1], 2e-2) if found else f"{values[0]:.4g} at step {taus[0]:g}"
    pattern = f"x' = x + {words(D, drift)} score + {words(B, np.sqrt(noise))} z"
    worst = Worst(f"stationary variance at step {taus[0]:g}", float(stationary[0]), float(euler[0]), float(error))
    common: dict[str, Any] = {
        "worst": worst,
        "pattern": pattern,
        "resolution": float(error),
        "details": {"a": a, "noise variance": noise, "stationary variance": stationary},
    }
    fail = lambda text: CheckReport(where, FAIL, summary, diagnosis=text, **common)
    if shared.any():
        return fail("shared noise: all chains get the same noise in a step")
    if np.any(np.abs(correlation) > (SIGMAS + 1) / np.sqrt(n)):
        one = "one number for all dimensions of a chain" if correlation[0] > 0.999 else "they must be independent"
        return fail(f"correlated noise: the dimensions of the noise have correlation {correlation[0]:.3g}; {one}")
    if np.all(noise <= 1e-12):
        return fail("no noise: the step only climbs to the mode; it is gradient ascent, not Langevin")
    if np.all(drift < 0):
        return fail("sign of the drift: the step moves away from the mode, along grad E instead of the score")
    if np.all(np.abs(drift) < 1e-9):
        return fail("no drift: the score is not used; this is a random walk")
    if np.any(np.abs(offset) > SIGMAS * np.sqrt(noise / (n * DIM)) + 1e-9):
        return fail(
            f"biased: the step has an offset of {offset[0]:.3g}; the noise has a mean, or the score is taken at another point"
        )
    right = np.abs(noise / (2 * drift) - 1) <= error
    exact = np.abs(noise / (VARIANCE * (1 - a**2)) - 1) <= error
    if right.all() or exact.all():
        if np.any(np.abs(kurtosis - 3) > SIGMAS * np.sqrt(96 / (n * DIM))):
            return fail("noise not Gaussian: its variance is right, its fourth moment is not")
        named = "Euler-Maruyama" if right.all() else "an exact step of the linear process"
        notes: tuple[str, ...] = (
            f"this is {named}; at step {taus[0]:g} it settles at variance {stationary[0]:.4g} where the target has {VARIANCE}",
        )
        if D and right.all() and (abs(D[0] - 1) > 1e-3 or D[1] != {"step": 1}):
            notes += (
                f"another convention: your step is {product(D[0], D[1], 1e-3)} in x + step score + sqrt(2 step) z",
            )
        return CheckReport(where, PASS, summary, notes=notes, **common)
    return fail(_noise_text(noise, drift, D, B, stationary, taus, error))


def _noise_text(noise, drift, D, B, stationary, taus, error):
    """What is wrong with the size of the noise beside the drift."""
    wanted = "sqrt(2 step) z for a drift of step x score"
    settles = (
        f"the chain settles at variance {stationary[0]:.3g} instead of {VARIANCE / (1 - drift[0] / (2 * VARIANCE)):.3g}"
    )
    ratio = noise / (2 * drift)
    text = product(B[0], B[1], 2e-2) if B else f"{np.sqrt(noise[0]):.3g}"
    if np.ptp(ratio) <= 2 * error * ratio.max():
        for c, why in (
            (0.5, "the factor 2 under the root is missing, or the drift lacks its 1/2"),
            (2.0, "a factor sqrt(2) too much, or the drift has a 1/2 too many"),
            (0.25, "half of what it should be"),
        ):
            if abs(ratio[0] / c - 1) <= 2 * error:
                return f"scale of the noise: it is {text} z where {wanted} is right: {why}; {settles}"
        return f"temperature: the noise has {ratio[0]:.3g} times the variance that belongs to the drift: the samples are those of p^{1 / ratio[0]:.3g}; {settles}"
    if D and B and B[1] == {"step": 0.5} and abs(B[0] / np.sqrt(2) - 1) <= error:
        return f"scale of the drift: it is {product(D[0], D[1], 2e-2)} x score where step x score belongs to a noise of sqrt(2 step) z; {settles}"
    return f"scale of the noise: it is {text} z where {wanted} is right; {settles}"


# ------------------------------------------------------------------------------- by its law


def _acceptance(tau, n, rng):
    """The share of Langevin proposals that the Metropolis rule accepts on this Gaussian at stationarity."""
    u = np.sqrt(VARIANCE) * rng.standard_normal((n, DIM))
    v = u * (1 - tau / VARIANCE) + np.sqrt(2 * tau) * rng.standard_normal((n, DIM))
    log_q = lambda a, b: -np.sum((a - b * (1 - tau / VARIANCE)) ** 2, axis=1) / (4 * tau)
    log_ratio = np.sum(u**2 - v**2, axis=1) / (2 * VARIANCE) + log_q(u, v) - log_q(v, u)
    return float(np.mean(np.exp(np.minimum(log_ratio, 0.0))))


def _by_law(where, chain, tau, n, rng, summary, discretisation, linear):
    """Start in the law claimed, and far from it: does a chain stay there, and get there?"""
    if linear is None and discretisation == "euler":
        again = np.array_equal(chain(np.full((8, DIM), MEAN), tau, 3), chain(np.full((8, DIM), MEAN), tau, 3))
        a = None if again else "unseeded"
    else:
        a = None
    target = VARIANCE if discretisation == "adjusted" else VARIANCE / (1 - tau / (2 * VARIANCE))
    stay = MEAN + np.sqrt(target) * rng.standard_normal((n, DIM))
    come = MEAN + 2 * np.sqrt(target) * rng.standard_normal((n, DIM))
    seeds = iter(rng.integers(1 << 31, size=1000))
    moved = chain(stay, tau, int(next(seeds)))
    share = np.mean(np.any(moved != stay, axis=1))
    steps = int(np.clip(6 * VARIANCE / tau, 5, 400))
    for _ in range(steps):
        stay, come = (chain(z, tau, int(next(seeds))) for z in (stay, come))
    root = np.sqrt(n * DIM)
    tests = {}
    for name, z in (("stays", stay), ("arrives", come)):
        u = (z - MEAN) / np.sqrt(target)
        tests[f"mean, {name}"] = u.mean() * root
        tests[f"variance, {name}"] = (np.mean(u**2) - 1) * root / np.sqrt(2)
        tests[f"fourth moment, {name}"] = (np.mean(u**4) - 3) * root / np.sqrt(96)
        tests[f"correlation, {name}"] = np.mean(u[:, 0] * u[:, 1]) * np.sqrt(n)
        tests[f"squares together, {name}"] = (np.mean(u[:, 0] ** 2 * u[:, 1] ** 2) - 1) * np.sqrt(n / 8)
    error = SIGMAS * np.sqrt(2) / root
    worst = Worst(f"variance after {steps} steps", float(np.mean((stay - MEAN) ** 2)), float(target), float(error))
    name = max(tests, key=lambda key: abs(tests[key]))
    pattern = f"largest |z| = {abs(tests[name]):.1f} ({name}), {share:.0%} of the chains move in a step"
    common: dict[str, Any] = {"worst": worst, "pattern": pattern, "resolution": float(error), "details": {"z": tests}}
    if share == 0:
        return CheckReport(
            where, FAIL, summary, diagnosis="no move: the chain never moves; every proposal is rejected", **common
        )
    if all(abs(z) <= SIGMAS + 1 for key, z in tests.items() if "arrives" not in key or key == "variance, arrives"):
        return CheckReport(where, PASS, summary, **common)
    got = float(np.mean((stay - MEAN) ** 2))
    accepted = _acceptance(tau, n, rng) if discretisation == "adjusted" else 1.0
    if discretisation == "adjusted" and share == 1 and accepted < 1 - 20 / n:
        text = f"not adjusted: every chain moves, and the variance is {got:.3g} instead of {VARIANCE}: the acceptance step is missing, accepts everything, or is one decision for all chains"
    elif abs(share - (1 - accepted)) < 5 * np.sqrt(accepted * (1 - accepted) / n) + 1e-9:
        text = f"acceptance reversed: {share:.1%} of the chains move where {accepted:.1%} of the proposals are to be accepted: the rejected ones are taken"
    elif abs(tests["variance, stays"]) <= SIGMAS + 1 and abs(tests["mean, stays"]) <= SIGMAS + 1:
        text = "does not arrive: a chain that starts in the target stays there, one from outside does not come (too small a step, or frozen chains)"
        return CheckReport(where, INCONCLUSIVE, summary, diagnosis=text, **common)
    else:
        text = f"wrong law: the chain settles at mean {stay.mean():.3g} and variance {got:.3g} instead of {MEAN} and {target:.4g}; look at the noise, at the proposal's correction in the acceptance, and at the sign of log p"
    return CheckReport(
        where,
        FAIL,
        summary,
        diagnosis=text,
        notes=() if a is None else ("its random numbers cannot be seeded, so only its law was checked",),
        **common,
    )
