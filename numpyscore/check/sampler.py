r"""Does one step of a sampler leave the right law behind, on a Gaussian where every law is known?

On N(mu, v I) the score is -(x - mu)/v, and one unadjusted step is x' - mu = A (x - mu) + noise. With common random numbers A is a difference
quotient, and exact; the covariance of the noise is that of the rest. With G = (I - A) v the step is x + G score + noise, and

.. math:: \text{Euler-Maruyama: } \mathrm{Cov} = G + G^T \;\Rightarrow\; \frac{v}{1 - \tau/(2v)}; \qquad
    \text{exact: } \mathrm{Cov} = v (I - A A^T) \;\Rightarrow\; v

A Metropolis-adjusted step is known by its acceptance: who moves where from a few chosen starts tells one rule from another (on a target
that is not Gaussian: there half a step is half a ratio). What is neither is judged by its law.

Source: stationary variance of the unadjusted step and the adjusted one, Roberts & Tweedie (1996), Bernoulli 2:341-363.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import framework, same_randomness, source, to_numpy, wrapper
from ..common.inputs import count, generator, positive
from .fields import dimensions, read_field
from .functions import random_parameter
from .numbers import law, product
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst

VARIANCE, MEAN = 1.6, 0.7
LOG_DENSITIES = ("logpdf", "log_prob", "log_p", "log_density")  # names of a parameter that is given minus the energy
SIGMAS = 5.0
STARTS = (0.0, 0.8, 1.6, 3.0)  # distances from the mean of the chosen starts, in standard deviations
BINS = 8  # classes of the proposals of one start, by their ratio


def check_sampler(step, *, discretisation="euler", step_size=0.2, wrap=None, rng=0, n=20000, dim=2):
    """Does this step of a Langevin sampler have the stationary law of the discretisation that it claims to be?

    Parameters
    ----------
    step : callable step(x, score, step_size) -> x
        One step for all rows of x (n, d). score is a function in the user's arrays, of a Gaussian; a parameter called energy, or logpdf
        (or log_prob), is given that of the same Gaussian, (n, d) -> (n,). One called rng, key, generator or seed is given random numbers.
    discretisation : "euler" or "adjusted"
        "euler": x + step * score + sqrt(2 step) z, stationary at variance v / (1 - step/(2 v)); an exact step of the linear process, stationary
        at v, passes too, and so does a constant preconditioner M in x + step M score + sqrt(2 step) M^(1/2) z. "adjusted": Metropolis-adjusted,
        stationary at v.
    step_size : float, [x]^2
        The largest step; the Gaussian has variance 1.6, so it must be well below 3.2.
    wrap : as in `check_score`
    rng : seed or numpy.random.Generator
    n : int
        Chains; the noise's size is known to 1/sqrt(2 n).
    dim : int
        Dimension of the Gaussian.

    Returns
    -------
    CheckReport
        PASS, with the conversion in a note, where only the meaning of step_size differs (x + step/2 score + sqrt(step) z).
    """
    where = "check_sampler"
    if discretisation not in ("euler", "adjusted"):
        raise ValueError(f"{where}: discretisation is {discretisation!r}, expected 'euler' or 'adjusted'.")
    tau = positive(where, "step_size", step_size)
    n, dim, rng = count(where, "n", n, 100), count(where, "dim", dim), generator(where, rng)
    chain = Chain(where, step, wrapper(where, wrap))
    x = MEAN + np.sqrt(VARIANCE) * rng.standard_normal((n, dim))
    x = (x - x.mean(0)) / x.std(0) * np.sqrt(VARIANCE) + MEAN
    first = chain(x, tau, 1)
    summary = f"{n} chains x {dim} dims on N({MEAN}, {VARIANCE} I), step {tau:g}"
    if first.shape != x.shape or not np.isfinite(first).all():
        shape = f"shape: the step returned {first.shape}, expected {x.shape}"
        text = shape if first.shape != x.shape else "not finite: the step returned NaN or infinity"
        return CheckReport(where, FAIL, summary, diagnosis=text)
    parts = [linear(lambda y, seed, t=tau * c: chain(y, t, seed), x, k + 1) for k, c in enumerate((1.0, 0.5, 0.25))]
    silent = all(part is not None and np.trace(part.cov) <= 1e-12 for part in parts)
    if not silent and not np.array_equal(first, x) and np.array_equal(first, chain(x, tau, 2)):
        text = "repeated noise: steps with different random numbers are the same; a generator or a key is made anew in each step, or there is no noise"
        return CheckReport(where, FAIL, summary, diagnosis=text, pattern="two steps from the same points are equal")
    bent = _bent_drift(chain, tau, dim) if discretisation == "euler" and any(part is None for part in parts) else ""
    if bent:
        return CheckReport(where, FAIL, summary, diagnosis=bent, pattern="the drift is not the step times the score")
    if discretisation == "adjusted" or any(part is None for part in parts):
        return _adjusted(where, chain, tau, n, dim, rng, summary, discretisation)
    return _unadjusted(where, parts, tau * np.array([1.0, 0.5, 0.25]), n, summary)


class Chain:
    """The user's step on ndarrays, given what its parameters ask for."""

    def __init__(self, where, step, make):
        if not callable(step):
            raise TypeError(f"{where}: step is {step!r}, expected a function step(x, score, step_size).")
        self.where, self.step, self.make = where, step, make
        self.kind, self.random = framework(make(np.zeros((1, 1)))), random_parameter(step)
        try:
            names = set(inspect.signature(step).parameters)
        except (TypeError, ValueError):
            names = set()
        self.names = [name for name in ("energy", *LOG_DENSITIES) if name in names]

    def __call__(self, x, tau, seed, target=None):
        """The step from x (n, d), on a `Target`: the Gaussian if nothing else is said."""
        target = GAUSSIAN if target is None else target
        noise = {} if self.random is None else {self.random: source(self.random, seed, self.kind)}
        given = {name: target.energy if name == "energy" else (lambda x: -target.energy(x)) for name in self.names}
        with same_randomness(seed):
            out = self.step(self.make(x), target.score, tau, **noise, **given)
        return to_numpy(out[0] if isinstance(out, tuple) else out, f"{self.where}: what step returned").astype(float)


class Target(NamedTuple):
    """An energy (n, d) -> (n,) and its score, in arrays of any framework."""

    energy: Callable
    score: Callable


GAUSSIAN = Target(
    lambda x: ((x - MEAN) * (x - MEAN)).sum(-1) * (0.5 / VARIANCE),
    lambda x: (x - MEAN) * (-1 / VARIANCE),
)
TAILS = Target(  # linear tails: not quadratic, where half a step is half a ratio
    lambda x: 2 * (((x - MEAN) * (x - MEAN) + 1) ** 0.5).sum(-1),
    lambda x: (x - MEAN) * (-2) / ((x - MEAN) * (x - MEAN) + 1) ** 0.5,
)


class Linear(NamedTuple):
    """x' = mu + A (x - mu) + offset + noise: A (d, d), offset (d,), covariance of the noise (d, d), its fourth moment, whether chains share it."""

    A: np.ndarray
    offset: np.ndarray
    cov: np.ndarray
    kurtosis: float
    shared: bool


def linear(step, x, seed):
    """The `Linear` step (x, seed) -> x', None if it is not linear in x, or not repeatable."""
    base, move, d = step(x, seed), 0.37, x.shape[1]
    if not np.array_equal(base, step(x, seed)):
        return None
    tol = 1e-4 if np.array_equal(base, base.astype(np.float32)) else 1e-9
    near = np.stack([step(x + move * e, seed) - base for e in np.eye(d)], axis=2) / move  # (n, d out, d in)
    A = near.mean(axis=0)
    far = step(x + 2 * move, seed) - base
    if np.ptp(near, axis=0).max() > tol or not np.allclose(far, 2 * move * A.sum(axis=1), atol=tol):
        return None
    rest = base - MEAN - (x - MEAN) @ A.T
    size = rest.std() or 1e-300
    shared = bool(rest.any() and len(x) > 1 and np.allclose(rest, rest[:1], atol=1e-6 * max(size, np.abs(rest).max())))
    noise = rest if shared else rest - rest.mean(0)
    z = noise / np.where(noise.std(axis=0) > 0, noise.std(axis=0), 1.0)
    return Linear(A, rest.mean(0), noise.T @ noise / len(x), float(np.mean(z**4)), shared)


# ------------------------------------------------------------------------------- unadjusted


def _unadjusted(where, parts, taus, n, summary):
    """The verdict on a linear step from its coefficients at three step sizes."""
    d = len(parts[0].A)
    error = SIGMAS * np.sqrt(2 / (n * d))
    G = np.array([(np.eye(d) - p.A) * VARIANCE for p in parts])  # (3, d, d), x' = x + G score + noise
    cov = np.array([p.cov for p in parts])
    drift, noise = np.trace(G, axis1=1, axis2=2) / d, np.trace(cov, axis1=1, axis2=2) / d
    flat = bool(
        np.ptp(np.diagonal(G, axis1=1, axis2=2), axis=1).max() <= 1e-6 * np.abs(G).max()
        and np.allclose(G, drift[:, None, None] * np.eye(d), atol=1e-6 * np.abs(G).max())
    )
    settings = [{"step": t} for t in taus]
    a = 1 - drift / VARIANCE
    stationary, euler = np.where(np.abs(a) < 1, noise / (1 - a**2), np.inf), VARIANCE / (1 - drift / (2 * VARIANCE))
    D = law(drift, settings, 1e-3, odd=("step",)) if np.all(drift > 0) or np.all(drift < 0) else None
    B = law(np.sqrt(noise), settings, error, odd=("step",)) if np.all(noise > 0) else None
    words = lambda found, values: product(found[0], found[1], 2e-2) if found else f"{values[0]:.4g} at step {taus[0]:g}"
    common: dict[str, Any] = {
        "worst": Worst(f"stationary variance at step {taus[0]:g}", float(stationary[0]), float(euler[0]), float(error)),
        "pattern": f"x' = x + {words(D, drift)} score + {words(B, np.sqrt(noise))} z",
        "resolution": float(error),
        "details": {"A": parts[0].A, "noise covariance": cov, "stationary variance": stationary},
    }
    fail = lambda text: CheckReport(where, FAIL, summary, diagnosis=text, **common)
    text = _noise_law(parts, cov, drift, noise, n, flat) or ("" if flat else _preconditioned(G, cov, taus, n))
    if text:
        return fail(text)
    right = np.abs(noise / (2 * drift) - 1) <= error
    exact = np.abs(noise / (VARIANCE * (1 - a**2)) - 1) <= error
    if not flat:
        M = np.array2string(G[0] / drift[0], precision=3).replace("\n", "")
        return CheckReport(where, PASS, summary, notes=(f"preconditioned by a multiple of {M}",), **common)
    if not (right.all() or exact.all()):
        return fail(_noise_text(noise, drift, D, B, stationary, taus, error))
    if any(abs(p.kurtosis - 3) > SIGMAS * np.sqrt(96 / (n * d)) for p in parts):
        return fail("noise not Gaussian: its variance is right, its fourth moment is not")
    named = "Euler-Maruyama" if right.all() else "an exact step of the linear process"
    notes: tuple[str, ...] = (
        f"this is {named}; at step {taus[0]:g} it settles at variance {stationary[0]:.4g} where the target has {VARIANCE}",
    )
    if D and right.all() and (abs(D[0] - 1) > 1e-3 or D[1] != {"step": 1}):
        notes += (f"another convention: your step is {product(D[0], D[1], 1e-3)} in x + step score + sqrt(2 step) z",)
    return CheckReport(where, PASS, summary, notes=notes, **common)


def _bent_drift(chain, tau, dim):
    """The diagnosis of a step whose drift is not linear, from starts that get the same noise; "" if its noise is not the same, or nothing explains it."""
    m, starts = 64, MEAN + 3 * np.random.default_rng(5).standard_normal((12, dim))
    from_start = lambda x: chain(np.tile(x, (m, 1)), tau, 3)
    ends, mirrored = (np.array([from_start(x) for x in points]) for points in (starts, 2 * MEAN - starts))
    if not np.array_equal(ends[0], from_start(starts[0])):
        return ""
    for limit, word in ((ends.max(), "above"), (ends.min(), "below")):
        if np.mean(ends == limit) > 0.02:
            return f"state clipped: the points are cut {word} at {limit:.6g}; the chain leaves the law of the target"
    moves = (ends - mirrored) / 2 - (starts - MEAN)[:, None]  # the drift, in each chain: its noise is the same in both
    if np.ptp(moves, axis=1).max() > 1e-6 * np.abs(moves).max():
        return ""
    drift, score = moves.mean(axis=1), GAUSSIAN.score(starts)
    found = read_field(drift / tau, score, 1e-9, x=starts, word="drift")
    if not found or found[0].right:
        return ""
    return f"drift, {found[0].key}: {found[0].sentence}"


def _noise_law(parts, cov, drift, noise, n, flat):
    """What is wrong with the noise by itself, or with the drift's direction; "" if nothing is."""
    d = len(cov[0])
    if any(p.shared for p in parts):
        return "shared noise: all chains get the same noise in a step"
    std = np.sqrt(np.maximum(np.diagonal(cov, axis1=1, axis2=2), 1e-300))
    correlation = (cov / std[:, :, None] / std[:, None, :])[:, *np.triu_indices(d, 1)]
    if flat and d > 1 and np.any(np.abs(correlation) > (SIGMAS + 1) / np.sqrt(n)):
        worst = correlation.flat[np.argmax(np.abs(correlation))]
        one = "one number for all dimensions of a chain" if worst > 0.999 else "they must be independent"
        return f"correlated noise: the dimensions of the noise have correlation {worst:.3g}; {one}"
    if np.all(noise <= 1e-12):
        return "no noise: the step only climbs to the mode; it is gradient ascent, not Langevin"
    if np.all(drift < 0):
        return "sign of the drift: the step moves away from the mode, along grad E instead of the score"
    if np.all(np.abs(drift) < 1e-9):
        return "no drift: the score is not used; this is a random walk"
    for p in parts:
        if np.any(np.abs(p.offset) > (SIGMAS + 1) * np.sqrt(np.diag(p.cov) / n) + 1e-9):
            return f"biased: the step has an offset of {p.offset[0]:.3g}; the noise has a mean, or the score is taken at another point"
    return ""


def _preconditioned(G, cov, taus, n):
    """What is wrong with the noise of a step whose drift is a matrix times the score: its covariance must be G + G^T; "" if it is."""
    d = len(G[0])
    tau = taus[:, None, None]
    size = lambda a: np.sqrt(np.abs(np.einsum("kii,kjj->kij", a, a)))
    fits = lambda a: bool(np.all(np.abs(cov - a) <= SIGMAS * size(a) * np.sqrt(2 / n) + 1e-12))
    flip = np.transpose(G, (0, 2, 1))
    own = np.diagonal(G[0])
    frozen = np.flatnonzero((np.abs(own) < 1e-9 * np.abs(own).max()) & (np.diagonal(cov[0]) < 1e-12))
    if len(frozen):
        return f"frozen: {dimensions(frozen)} of a chain never move{'s' * (len(frozen) == 1)}"
    if np.any(own < 0):
        return f"sign of the drift: {dimensions(np.flatnonzero(own < 0))} of a chain moves away from the mode"
    if fits(G + flip):
        return ""
    mean, ratio = (
        np.trace(G, axis1=1, axis2=2)[:, None, None] / d,
        np.trace(cov, axis1=1, axis2=2) / np.trace(2 * G, axis1=1, axis2=2),
    )
    if fits(2 * G @ flip / tau):
        return "preconditioner without its root: the drift is step M score and the noise sqrt(2 step) M z; it must be sqrt(2 step) M^(1/2) z"
    for c, text in ((tau, "sqrt(2 step) z"), (mean, "the same in all dimensions")):
        if fits(2 * c * np.eye(d)):
            return f"preconditioner not in the noise: the drift is step M score and the noise {text}; it must be sqrt(2 step) M^(1/2) z"
    if fits(np.linalg.matrix_power(G + flip, 2) / (4 * mean) * 2):
        return "preconditioner without its root: the noise is multiplied by a matrix where its root belongs"
    if fits(ratio[:, None, None] * (G + flip)):
        return f"temperature: the noise has {ratio[0]:.3g} times the variance that belongs to the drift"
    return "noise of a preconditioned step: its covariance is not 2 step M for a drift of step M score"


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


# ------------------------------------------------------------------------------- adjusted: the rule of acceptance


class Proposals(NamedTuple):
    """Proposals y (m, d) from one start x (d,), drawn from N(x + drift score(x), var I)."""

    of: Target
    x: np.ndarray
    y: np.ndarray
    drift: float
    var: float

    @property
    def target(self):
        """log p(y) - log p(x)."""
        return self.of.energy(self.x) - self.of.energy(self.y)

    def forth(self, drift=1.0, var=1.0):
        """log q(y | x), with the drift and the variance of q times a factor."""
        return -np.sum((self.y - self.x - drift * self.drift * self.of.score(self.x)) ** 2, axis=-1) / (
            2 * var * self.var
        )

    def back(self, drift=1.0, var=1.0, old=False):
        """log q(x | y); `old` takes the score at x."""
        score = self.of.score(self.x if old else self.y)
        return -np.sum((self.x - self.y - drift * self.drift * score) ** 2, axis=-1) / (2 * var * self.var)

    def proposal(self, drift=1.0, var=1.0):
        """log q(x | y) - log q(y | x)."""
        return self.back(drift, var) - self.forth(drift, var)

    @property
    def ratio(self):
        """Logarithm of the ratio of Metropolis and Hastings."""
        return self.target + self.proposal()


class Rule(NamedTuple):
    """A rule of acceptance: its name, a sentence, the probability of acceptance (m,) of `Proposals`, and whether it leaves the target as it is."""

    key: str
    sentence: str
    probability: Callable[[Proposals], np.ndarray]
    right: bool = False


def _metropolis(ratio):
    return lambda p: np.exp(np.minimum(ratio(p), 0.0))


def _chances(p):
    return np.exp(np.minimum(p.ratio, 0.0))


def _normal_below(u):
    from scipy.special import ndtr

    return ndtr(u)


FACTORS = {0.5: "half", 2.0: "twice", 0.25: "a quarter of", 4.0: "four times"}
LOGS = {0.5: "1/2", 2.0: "2", np.log(10): "log 10 (log10 of the uniform number)", 1 / np.log(2): "1/log 2"}
RULES = (
    Rule("", "Metropolis-Hastings", _metropolis(lambda p: p.ratio), True),
    Rule("", "Barker's rule", lambda p: 1 / (1 + np.exp(-np.clip(p.ratio, -700, 700))), True),
    Rule("not adjusted", "every proposal is accepted: the acceptance step is missing, or its ratio is never below 1", lambda p: np.ones(len(p.y))),
    Rule("rejected states dropped", "it proposes again until something is accepted: a rejected proposal must count the old state once more", lambda p: _chances(p) / _chances(p).mean()),
    Rule("acceptance reversed", "the rejected ones are taken, and the accepted ones left", lambda p: 1 - _metropolis(lambda p: p.ratio)(p)),
    Rule("sign of the ratio", "the ratio of acceptance is upside down: p(x) q(y|x) / (p(y) q(x|y))", _metropolis(lambda p: -p.ratio)),
    Rule("no proposal density", "the ratio is p(y)/p(x), without q(x|y)/q(y|x); a Langevin proposal is not symmetric", _metropolis(lambda p: p.target)),
    Rule("proposal density upside down", "the ratio has q(y|x)/q(x|y) in place of q(x|y)/q(y|x)", _metropolis(lambda p: p.target - p.proposal())),
    Rule("sign of log p", "the ratio has p(x)/p(y) in place of p(y)/p(x): an energy was taken for a log density", _metropolis(lambda p: p.proposal() - p.target)),
    Rule("no target density", "the ratio is q(x|y)/q(y|x) alone, without p(y)/p(x)", _metropolis(lambda p: p.proposal())),
    Rule("score at the old point", "q(x|y) is computed with the score at x where the one at y belongs", _metropolis(lambda p: p.target + p.back(old=True) - p.forth())),
    Rule("only q(x|y)", "the ratio has q(x|y) and not q(y|x)", _metropolis(lambda p: p.target + p.back())),
    Rule("only q(y|x)", "the ratio has q(y|x) and not q(x|y)", _metropolis(lambda p: p.target - p.forth())),
    *(Rule("step of the proposal density", f"q is computed with {word} the step of the proposal", _metropolis(lambda p, c=c: p.target + p.proposal(c, c))) for c, word in FACTORS.items()),
    *(Rule("variance of the proposal density", f"q has {word} the variance of the proposal", _metropolis(lambda p, c=c: p.target + p.proposal(1, c))) for c, word in FACTORS.items()),
    *(Rule("drift of the proposal density", f"q has {c:g} times the drift of the proposal", _metropolis(lambda p, c=c: p.target + p.proposal(c, 1))) for c in (0.5, 2.0, -1.0)),
    *(Rule("scale of the ratio", f"the logarithm of the ratio is multiplied by {word}", _metropolis(lambda p, c=c: c * p.ratio)) for c, word in LOGS.items()),
    *(Rule("temperature", f"log p is multiplied by {word} in the ratio", _metropolis(lambda p, c=c: c * p.target + p.proposal())) for c, word in ((0.5, "1/2"), (2.0, "2"))),
    Rule("averaged over dimensions", "the logarithm of the ratio is a mean over dimensions where a sum belongs", _metropolis(lambda p: p.ratio / len(p.x))),
    Rule("averaged over dimensions", "log p is a mean over dimensions where a sum belongs", _metropolis(lambda p: p.target / len(p.x) + p.proposal())),
    Rule("averaged over dimensions", "log q is a mean over dimensions where a sum belongs", _metropolis(lambda p: p.target + p.proposal() / len(p.x))),
    Rule("no exponential", "a uniform number is compared with the logarithm of the ratio", lambda p: np.clip(p.ratio, 0, 1)),
    Rule("normal for uniform", "a normal number is compared with the ratio where a uniform one belongs", lambda p: _normal_below(np.exp(np.minimum(p.ratio, 50)))),
    Rule("threshold", "what has a ratio above 1 is accepted and all else rejected: no random number is used", lambda p: (p.ratio > 0).astype(float)),
    Rule("half of the proposals", "a proposal is accepted with probability 1/2, whatever its ratio", lambda p: np.full(len(p.y), 0.5)),
)  # fmt: skip

PROPOSALS = {  # drift and variance, in units of the step
    (1.0, 2.0): "x + step score + sqrt(2 step) z",
    (0.5, 1.0): "x + step/2 score + sqrt(step) z",
    (1.0, 1.0): "x + step score + sqrt(step) z",
    (0.0, 2.0): "x + sqrt(2 step) z",
    (0.0, 1.0): "x + sqrt(step) z",
}


def _features(x, y, ratio, edges):
    """What a step does from one start x: that it moves, by how much, squared, and the class of its ratio (m, features)."""
    classes = np.digitize(ratio, edges)[:, None] == np.arange(len(edges) + 1)
    return np.column_stack([np.ones(len(y)), y - x, (y - x) ** 2, classes])


def _means(p, features):
    """Mean and variance of the features of what is accepted with probability p (m,)."""
    mean = p @ features / len(p)
    return mean, np.maximum(p @ features**2 / len(p) - mean**2, 0.0)


def decisions(chain, tau, n, rng):
    """(distance, proposal, `Rule`) of those that agree with who moves where from the chosen starts; "shared" if all chains decide together."""
    dims = 3 if _takes(chain, tau, 3) else 2  # a mean over two dimensions is half the sum
    of, trials = (
        TAILS if chain.names else GAUSSIAN,
        [],
    )  # who is given no energy may have that of the Gaussian written down
    for k, r in enumerate(STARTS):
        x = MEAN + r * np.where(np.arange(dims) % 2, -0.6, 1.0) * np.sqrt(VARIANCE / dims)
        y = chain(np.tile(x, (n, 1)), tau, 100 + k, of)
        trials.append((x, y, np.any(y != x, axis=1)))
    shares = np.array([moved.mean() for *_, moved in trials])
    if np.all((shares == 0) | (shares == 1)) and not np.all(shares == 1):
        return "shared" if np.any(shares == 1) else []
    found = []
    for (drift, var), name in PROPOSALS.items():
        distance = np.zeros(len(RULES))  # largest |z| of what was seen, if this is the rule
        for x, y, moved in trials:
            noise = rng.standard_normal((n, dims))
            own = Proposals(of, x, x + drift * tau * of.score(x) + np.sqrt(var * tau) * noise, drift * tau, var * tau)
            edges = np.quantile(own.ratio, np.arange(1, BINS) / BINS) if np.ptp(own.ratio) > 1e-9 else np.zeros(0)
            seen = _means(moved.astype(float), _features(x, y, own._replace(y=y).ratio, edges))
            ours = _features(x, own.y, own.ratio, edges)
            for i in np.flatnonzero(distance <= SIGMAS):
                distance[i] = max(distance[i], _distance(RULES[i], own, ours, *seen))
        found += [(distance[i], name, RULES[i]) for i in np.flatnonzero(distance <= SIGMAS)]
    return sorted(found, key=lambda entry: entry[0])


def _distance(rule, own, ours, seen, spread):
    """Largest |z| between what was seen and what a rule does to our own proposals."""
    with np.errstate(all="ignore"):
        p = np.maximum(rule.probability(own), 0.0)
    mean, var = _means(p, ours)
    error = np.sqrt((np.maximum(var, spread) + var) / len(ours)) + 3 / len(ours)
    return float(np.max(np.abs(mean - seen) / error))


def _takes(chain, tau, dims):
    """Whether the step takes points of another dimension."""
    try:
        return chain(np.full((4, dims), MEAN), tau, 1).shape == (4, dims)
    except Exception:
        return False


def _adjusted(where, chain, tau, n, dim, rng, summary, discretisation):
    """The verdict by the rule of acceptance, where who moves where shows it; by the law where not."""
    found = decisions(chain, tau, n, rng) if discretisation == "adjusted" else []
    if found == "shared":
        text = "one decision for all chains: they are accepted or rejected together; the ratio is summed over the batch, or one uniform number is drawn"
        return CheckReport(where, FAIL, summary, diagnosis=text, pattern="from each start all chains move or none")
    right = [f"{rule.sentence} on the proposal {name}" for _, name, rule in found if rule.right]
    if found and not right:
        least = found[0][0]
        near = sorted({rule for far, _, rule in found if far <= least + 2}, key=RULES.index)
        texts = [f"{rule.key}: {rule.sentence}; the proposal is {found[0][1]}" for rule in near]
        pattern = f"{n} chains from each of {len(STARTS)} starts move as by this rule, largest |z| = {least:.1f}, and as by no right one"
        return CheckReport(
            where,
            FAIL,
            summary,
            pattern=pattern,
            diagnosis=" -- or -- ".join(texts[:3]),
            resolution=SIGMAS / np.sqrt(n),
        )
    by_law = _by_law(where, chain, tau, n, dim, rng, summary, discretisation)
    if right and by_law.verdict != FAIL:
        return replace(by_law, verdict=PASS, diagnosis="", notes=(*by_law.notes, right[0]))
    return by_law


# ------------------------------------------------------------------------------- by its law


def _by_law(where, chain, tau, n, dim, rng, summary, discretisation):
    """Start in the law claimed, and far from it: does a chain stay there, and get there?"""
    target = VARIANCE if discretisation == "adjusted" else VARIANCE / (1 - tau / (2 * VARIANCE))
    stay = MEAN + np.sqrt(target) * rng.standard_normal((n, dim))
    come = MEAN + 2 * np.sqrt(target) * rng.standard_normal((n, dim))
    again = np.array_equal(chain(stay[:8], tau, 3), chain(stay[:8], tau, 3))
    notes = () if again else ("its random numbers cannot be seeded, so only its law was checked",)
    steps = int(np.clip(6 * VARIANCE / tau, 5, 400))
    seeds = iter(rng.integers(1 << 31, size=2 * steps + 2))
    moved = chain(stay, tau, int(next(seeds)))
    share = np.mean(np.any(moved != stay, axis=1))
    for _ in range(steps):
        stay, come = (chain(z, tau, int(next(seeds))) for z in (stay, come))
    tests = _moments("stays", stay, target) | _moments("arrives", come, target)
    error = SIGMAS * np.sqrt(2 / (n * dim))
    name = max(tests, key=lambda key: abs(tests[key]))
    got = float(np.mean((stay - MEAN) ** 2))
    common: dict[str, Any] = {
        "worst": Worst(f"variance after {steps} steps", got, float(target), float(error)),
        "pattern": f"largest |z| = {abs(tests[name]):.1f} ({name}), {share:.0%} of the chains move in a step",
        "resolution": float(error),
        "notes": notes,
        "details": {"z": tests},
    }
    report = lambda verdict, text="": CheckReport(where, verdict, summary, diagnosis=text, **common)
    if share == 0:
        return report(FAIL, "no move: the chain never moves; every proposal is rejected")
    if all(abs(z) <= SIGMAS + 1 for key, z in tests.items() if "arrives" not in key or key == "variance, arrives"):
        return report(PASS)
    if abs(tests["variance, stays"]) <= SIGMAS + 1 and abs(tests["mean, stays"]) <= SIGMAS + 1:
        return report(
            INCONCLUSIVE,
            "does not arrive: a chain that starts in the target stays there, one from outside does not come (too small a step, or frozen chains)",
        )
    return report(
        FAIL,
        f"wrong law: the chain settles at mean {stay.mean():.3g} and variance {got:.3g} instead of {MEAN} and {target:.4g}; look at the noise, at the proposal's correction in the acceptance, and at the sign of log p",
    )


def _moments(name, x, target):
    """Moments of chains (n, d) beside those of N(mu, target I), in standard errors."""
    u = (x - MEAN) / np.sqrt(target)
    root, (n, d) = np.sqrt(u.size), u.shape
    tests = {
        f"mean, {name}": u.mean() * root,
        f"variance, {name}": (np.mean(u**2) - 1) * root / np.sqrt(2),
        f"fourth moment, {name}": (np.mean(u**4) - 3) * root / np.sqrt(96),
    }
    if d > 1:
        tests[f"correlation, {name}"] = np.mean(u[:, 0] * u[:, 1]) * np.sqrt(n)
        tests[f"squares together, {name}"] = (np.mean(u[:, 0] ** 2 * u[:, 1] ** 2) - 1) * np.sqrt(n / 8)
    return tests
