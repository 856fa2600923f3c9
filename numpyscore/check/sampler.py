r"""Does one step of a sampler leave the right law behind, on a Gaussian where every law is known?

On N(mu, v I) the score is -(x - mu)/v, and one unadjusted step is x' - mu = A (x - mu) + noise. With common random numbers A is a difference
quotient, and exact; the covariance of the noise is that of the rest. With G = (I - A) v the step is x + G score + noise, and

.. math:: \text{Euler-Maruyama: } \mathrm{Cov} = G + G^T \;\Rightarrow\; \frac{v}{1 - \tau/(2v)}; \qquad
    \text{exact: } \mathrm{Cov} = v (I - A A^T) \;\Rightarrow\; v

A Metropolis-adjusted step is known by its acceptance (`acceptance`); what is neither is judged by its law.

Source: stationary variance of the unadjusted step and the adjusted one, Roberts & Tweedie (1996), Bernoulli 2:341-363.
"""

import contextlib
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, generator, positive
from .acceptance import GAUSSIAN, SHARING, decided, decided_by_trajectory, gone_astray
from .fields import Field, numbered, read
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst, product
from .steps import MEAN, REPEATED, SIGMAS, VARIANCE, Flaw, Step, in_words, langevin_flaw, noise_flaw

CHAINS = 100  # the fewest that are asked for
LOG_DENSITIES = ("logpdf", "log_prob", "log_p", "log_density")  # names of a parameter that is given minus the energy


def check_sampler(step, *, discretisation="euler", step_size=0.2, wrap=None, rng=0, n=20000, dim=2):
    """Does this step of a Langevin sampler have the stationary law of the discretisation that it claims to be?

    Parameters
    ----------
    step : callable step(x, score, step_size) -> x
        One step for all rows of x (n, d). score is a function in the user's arrays, of the Gaussian N(0.7, 1.6 I); a parameter called energy, or logpdf
        (or log_prob), is given that of the same Gaussian, (n, d) -> (n,), wherever it stands: step(x, energy, step_size) has no score. One called
        rng, key, generator or seed is given random numbers.
    discretisation : "euler" or "adjusted"
        "euler": x + step * score + sqrt(2 step) z, stationary at variance v / (1 - step/(2 v)); an exact step of the linear process, stationary
        at v, passes too, and so does a constant preconditioner M in x + step M score + sqrt(2 step) M^(1/2) z. "adjusted": Metropolis-adjusted,
        stationary at v.
    step_size : float, [x]^2
        The largest step; it must be well below twice the variance of the Gaussian, 3.2.
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
    tau, n, dim = positive(where, "step_size", step_size), count(where, "n", n, CHAINS), count(where, "dim", dim)
    rng, chain = generator(where, rng), Chain(where, step, wrap, "x, score, step_size")
    chain.dim = dim
    law = f"{dim} dim{'s' * (dim > 1)} on N({MEAN}, {VARIANCE} I), step {tau:g}"
    report = partial(CheckReport, where, summary=f"{n} chains x {law}")
    try:
        if _one_noise(chain, tau, dim):
            return report(FAIL, diagnosis=SHARED_NOISE)
        return _by_chains(_judged(report, chain, tau, n, dim, rng, discretisation), chain, tau, dim)
    except Flaw as error:
        return report(FAIL, diagnosis=str(error))


def _by_chains(report, chain, tau, dim):
    """The report; of a law that is wrong for no other reason it says whether a chain's step changes with the other chains, or with the call before."""
    law = report.name in ("wrong law", "acceptance", ALL_MOVE.partition(":")[0])
    if not law and report.name not in BY_NUMBERS:
        return report
    rng = np.random.default_rng(6)
    x, half = MEAN + np.sqrt(VARIANCE) * rng.standard_normal((64, dim)), rng.permutation(64) < 32
    _, again, same, _, after = (chain(points, tau, 3) for points in (x, x, x, x + 1.0, x))
    state = np.array_equal(again, same) and not np.array_equal(same, after)
    if report.name in (TOGETHER, CHANGING_SHARE) and not state:
        return report
    if state:
        text = "state: from the same points, with the same random numbers, the step leads elsewhere after other points were asked (a score or an energy that is kept from the call before?)"
        return _because(report, text, law)
    if chain.seeded.kind != "jax" and law and _asks_in_some(chain, x, tau):  # whose score may be compiled
        text = "state: the score is asked in some of the steps alone, and what it said is kept for the others (a cache, a count of steps?)"
        return _because(report, text, law)
    first, again, beside = (chain(points, tau, 3) for points in (x, x, np.where(half[:, None], x, x + 1.0)))
    if not np.array_equal(first, again) or np.allclose(first[half], beside[half], rtol=1e-6, atol=1e-9):
        return report
    text = "rows mixed: the step of a chain changes with the other chains (a mean over the batch in its drift, its preconditioner, its acceptance, points put back into other rows, or moves of an ensemble, which may be right?)"
    return _because(report, text, law)


def _asks_in_some(chain, x, tau):
    """Whether of a dozen steps some ask the score, and others do not."""
    asked = [False] * 12
    for k in range(len(asked)):

        def score(x, k=k):
            asked[k] = True
            return GAUSSIAN.score(x)

        chain(x, tau, 3, GAUSSIAN._replace(score=score))
    return any(asked) and not all(asked)


def _because(report, text, law):
    """The report on a law, with its reason in front; of another, whose numbers suppose chains by themselves, the reason alone."""
    if law:
        return replace(report, diagnosis=f"{text}; {report.diagnosis}")
    return replace(report, diagnosis=text, pattern="", worst=None)


TOGETHER, CHANGING_SHARE = "one decision for all chains", "changing share"
SHARED_NOISE = "shared noise: all chains get the same noise in a step"
# names that suppose chains without memory, each by itself
BY_NUMBERS = (
    "no drift",
    "sign of the drift",
    "x left out",
    "temperature",
    "scale of the noise",
    "scale of the drift",
    "noise without root",
    "biased",
    TOGETHER,
    CHANGING_SHARE,
)


def _one_noise(chain, tau, dim):
    """Whether all chains from one start go to one point, another in the next step."""
    x = np.full((CHAINS, dim), MEAN + 2 * np.sqrt(VARIANCE))
    first = chain(x, tau, 1)
    return np.array_equal(first, np.tile(first[:1], (CHAINS, 1))) and not np.array_equal(first, chain(x, tau, 2))


def _judged(report, chain, tau, n, dim, rng, discretisation):
    """The report by the coefficients of a linear step, by the rule of acceptance, or by the law."""
    taus, x = tau * np.array([1.0, 0.5, 0.25]), rng.standard_normal((n, dim))
    x = (x - x.mean(0)) / x.std(0) * np.sqrt(VARIANCE) + MEAN
    first = chain(x, tau, 1)
    parts = [linear(lambda y, seed, t=t: chain(y, t, seed), x, k + 1) for k, t in enumerate(taus)]
    straight = all(part is not None for part in parts)
    silent = straight and not any(part.noise.any() for part in parts)
    if not silent and not np.array_equal(first, x) and np.array_equal(first, chain(x, tau, 2)):
        return report(FAIL, diagnosis=REPEATED, pattern="two steps from the same points are equal")
    if straight and (silent or discretisation == "euler"):
        return _unadjusted(report, parts, taus)
    bent = _bent(chain, tau, dim) if discretisation == "euler" else ""
    if bent:
        return report(FAIL, diagnosis=bent, pattern="the step is not linear in x")
    if discretisation == "adjusted":
        return _adjusted(report, chain, tau, n, dim, rng, straight)
    found = _by_law(report, chain, tau, n, dim, rng, VARIANCE / (1 - tau / (2 * VARIANCE)), look=PLAIN)
    exact = _by_law(report, chain, tau, n, dim, rng, VARIANCE, look=PLAIN) if found.name == "wrong law" else found
    return (
        replace(exact, notes=(*exact.notes, "its law is that of the target itself")) if exact and not found else found
    )


ALL_MOVE = "nothing rejected: every chain moves in every step (the acceptance is missing, its ratio is never below 1, the proposal is x itself, changed in place, several steps are made in one, or it needs none, as Gibbs sampling does?)."
# steps at which an adjusted sampler, right at every one, must have the same law; mistakes are larger there
LONGER = (2.0, 3.0)


def _adjusted(report, chain, tau, n, dim, rng, straight):
    """The report of an adjusted step by its rule of acceptance, and by its law at this step and at longer ones."""
    rule = decided(report, chain, tau, n, rng)
    if rule is not None and rule.verdict == FAIL:
        return rule
    found = _by_law(report, chain, tau, n, dim, rng, VARIANCE)
    for factor in LONGER if found.verdict != FAIL else ():
        with contextlib.suppress(Flaw, ArithmeticError):  # nothing was claimed of a longer step
            longer = _by_law(report, chain, factor * tau, n, dim, rng, VARIANCE, arriving=False)
            if longer.name == "wrong law":
                found = longer
                break
    if rule is not None and rule.verdict == INCONCLUSIVE:
        if found.verdict == PASS:
            return replace(found, notes=(*found.notes, SHARING))
        return replace(rule, verdict=found.verdict, worst=found.worst, resolution=found.resolution)
    if rule is None and found.verdict != PASS and not straight:
        rule = decided_by_trajectory(report, chain, tau, n, rng)
        if rule is not None and rule.verdict == FAIL and found.verdict == FAIL:
            return rule
    if rule is not None and found.verdict != FAIL:
        notes = (
            *found.notes,
            *rule.notes,
            *(f"by its law alone it would be {found.verdict}: {found.diagnosis}",) * bool(found.diagnosis),
        )
        return replace(found, verdict=PASS, diagnosis="", notes=notes)
    if found.name != "wrong law" or (straight and found.details["share"] < 1):
        return found
    law = found.diagnosis.partition(": ")[2].partition(" (")[0]
    text = "" if straight else gone_astray(chain, LONGER[-1] * tau, n)
    if not text and found.details["share"] == 1:
        text = ALL_MOVE
    text = text or (
        "acceptance: who moves where from chosen starts follows no known rule, right or wrong; what is returned on rejection, a half step, a sign or the kinetic energy of a "
        "momentum, a bound on the ratio, a random number that is not independent of the proposal?"
    )
    return replace(found, diagnosis=f"{text} {law}")


class Chain(Step):
    """The user's step for one level, given what its parameters ask for."""

    dim = 2

    @property
    def names(self):
        """Names of its parameters that are given an energy or a log density."""
        return [name for name in ("energy", *LOG_DENSITIES) if name in (self.parameters or ())]

    @cached_property
    def places(self):
        """Names of its parameters of the score and the step (None where it takes no score); () where these are the two after x, or not known."""
        every = [p for p in (self.parameters or {}).values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        others = [p for p in every[1:] if p.name not in (*self.names, self.seeded.name)]
        wanted = [
            p.name for p in sorted(others, key=lambda p: p.default is not p.empty)
        ]  # those without a default first
        required = sum(p.default is p.empty for p in others)
        score = next((name for name in wanted if "score" in name), wanted[0] if required > 1 else None)
        step = next((name for name in wanted if name != score), None)
        if len(every) > 1 and step is None:
            taken = ", ".join(p.name for p in every)
            raise TypeError(
                f"{self.where}: step takes {taken}, expected x, a score and a step size, step(x, score, step_size)."
            )
        as_they_come = [p.name for p in every[1:3] if p.kind is p.POSITIONAL_OR_KEYWORD] == [score, step]
        return () if as_they_come or step is None else (score, step)

    def __call__(self, x, tau, seed, target=GAUSSIAN):
        """The step from x (n, d), on a `Target`."""
        given = {name: target.energy if name == "energy" else target.logpdf for name in self.names}
        if not self.places:
            return self.taken(x, seed, target.score, tau, **given)
        score, step = self.places
        return self.taken(x, seed, **given, **({score: target.score} if score else {}), **{step: tau})


# ------------------------------------------------------------------------------- unadjusted


class Linear(NamedTuple):
    """x' = mu + A (x - mu) + noise: A (d, d), noise (n, d)."""

    A: np.ndarray
    noise: np.ndarray


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
    noise = base - MEAN - (x - MEAN) @ A.T
    return Linear(A, noise * (np.abs(noise).max() > 1e-6))


COEFFICIENTS = {  # of a step whose dimensions are alike, and of others
    True: "x' = x + {D} score + {B} z",
    False: "x' = x + G score + noise; the diagonal of G is {D} on average, the noise has the standard deviation {B} in the mean square",
}


def _unadjusted(report, parts, taus):
    """The verdict on a linear step from its coefficients at three step sizes."""
    n, d = parts[0].noise.shape
    error = SIGMAS * np.sqrt(2 / (n * d))
    G = np.array([(np.eye(d) - p.A) * VARIANCE for p in parts])  # (3, d, d), x' = x + G score + noise
    cov = np.array([np.cov(p.noise.T, bias=True).reshape(d, d) for p in parts])
    drift, noise = np.trace(G, axis1=1, axis2=2) / d, np.trace(cov, axis1=1, axis2=2) / d
    flat = np.allclose(G, drift[:, None, None] * np.eye(d), atol=1e-6 * np.abs(G).max())
    a = 1 - drift / VARIANCE
    stationary = np.divide(noise, 1 - a**2, out=np.full_like(noise, np.inf), where=np.abs(a) < 1)
    part = np.abs(drift) / (2 * VARIANCE)
    euler = np.divide(VARIANCE, 1 - part, out=np.full_like(drift, np.inf), where=part < 1)
    settings = [{"step": t} for t in taus]
    (D, D_law), (B, _) = in_words(drift, settings, 1e-3), in_words(np.sqrt(noise), settings, error)
    settles = Worst(f"stationary variance at step {taus[0]:g}", float(stationary[0]), float(euler[0]), float(error))
    report = partial(
        report, pattern=COEFFICIENTS[bool(flat)].format(D=D, B=B).replace("+ -", "- "), resolution=float(error), worst=settles if flat else None,
        details={"A": parts[0].A, "noise covariance": cov, "stationary variance": stationary},
    )  # fmt: skip
    flaws = [noise_flaw(p.noise, independent=flat) for p in parts]
    apart, laws = langevin_flaw(drift, noise, error, settings), _laws(taus, drift, a) if flat else {}
    like = [name for name, law in laws.items() if np.all(np.abs(stationary / law - 1) <= error)]
    if not flat and apart.startswith(("no drift", "sign")):  # of the mean over dimensions
        apart = ""
    named = "Euler-Maruyama" if not apart else next(iter(like), "")
    if apart.startswith(OF_NOISE):
        apart = _temperature(stationary, laws, noise / (2 * drift), error) or apart
    text = _plain_flaw(flaws, apart, flat and np.allclose(a, -taus / VARIANCE, atol=1e-6))
    if not text and not flat:
        text = _preconditioned(G, cov, taus, n)
    elif not text and not named:
        text = f"{apart}; the chain settles at variance {stationary[0]:.3g}, Euler's step with that drift at {euler[0]:.3g}"
    text = text or next(filter(None, flaws), "")
    if text:
        of_one = {"pattern": "", "worst": None} if text.startswith(("shared noise", "chains without")) else {}
        return report(FAIL, diagnosis=text, **of_one)  # no numbers of all chains are those of one
    if not flat:
        M = np.array2string(G[0] / drift[0], precision=3).replace("\n", "")
        return report(PASS, notes=(f"preconditioned by a multiple of {M}",))
    own = {} if apart or not D_law or (abs(D_law[0] - 1) <= 1e-3 and D_law[1] == {"step": 1}) else D_law
    return report(PASS, notes=_settled(named, taus[0], stationary[0], own))


def _settled(named, tau, variance, own):
    """The notes on a right step: what it is, and its drift in the step size (factor, exponents), if that is its `own`."""
    settled = f"this is {named}; at step {tau:g} it settles at variance {variance:.4g} where the target has {VARIANCE}"
    if not own:
        return (settled,)
    return (
        settled,
        f"another convention: your step is {product(own[0], own[1], 1e-3)} in x + step score + sqrt(2 step) z",
    )


def _laws(taus, drift, a):
    """The variances (3,) at which right steps x' - mu = a (x - mu) + noise settle that are not Euler's, by what they are called."""
    before = np.divide(2 * drift * a**2, 1 - a**2, out=np.zeros_like(a), where=np.abs(a) < 1)
    return {
        "an exact step of the linear process": VARIANCE,
        "a step with the law of Euler's step": VARIANCE / (1 - taus / (2 * VARIANCE)),
        "Euler's step with its noise before the drift": before,
    }


OF_NOISE = ("temperature", "scale of the noise")


def _temperature(stationary, laws, ratio, error):
    """The flaw of a step that settles at one multiple of the variance of a right step that is not Euler's, nearer to it than to one of Euler's; ""."""
    spread = lambda a: np.ptp(a) / np.abs(a).max() if np.all(np.isfinite(a)) else np.inf
    with np.errstate(all="ignore"):
        times = {name: stationary / law for name, law in laws.items()}
    name = min(times, key=lambda name: spread(times[name]), default="")
    if not name or not spread(times[name]) + error / 2 < min(2 * error, spread(ratio)):
        return ""
    k = times[name].mean()
    return f"temperature: the chain settles at {k:.3g} times the variance of {name}, at every step; the samples are those of p^{1 / k:.3g}"


def _plain_flaw(flaws, apart, increment):
    """The flaw of a linear step that is said before all others; `increment` if the score alone moves it; ""."""
    first = lambda *starts: next((t for t in (*flaws, apart) if t.startswith(starts)), "")
    left_out = "x left out: the step returns its increment, step score + sqrt(2 step) z, and x itself is not in it"
    return (
        first("shared", "chains without", "dimensions without", "noise of other sizes", "correlated")
        or first("no ", "sign")
        or left_out * increment
        or first("biased")
    )


def _between(low, cov, high, n):
    """Whether covariances (k, d, d) of n numbers lie between two others, in every direction: in units of the larger, as far as they are known."""
    if np.linalg.eigvalsh(high).min() <= 0:
        return False
    unit = np.linalg.inv(np.linalg.cholesky(high))
    least = lambda a: np.linalg.eigvalsh(unit @ a @ np.transpose(unit, (0, 2, 1))).min()
    return bool(min(least(cov - low), least(high - cov)) >= -SIGMAS * np.sqrt(2 / n))


def _preconditioned(G, cov, taus, n):
    """What is wrong with the noise of a step whose drift is a matrix times the score: its covariance must be G + G^T; "" if it is."""
    d, tau, flip = len(G[0]), taus[:, None, None], np.transpose(G, (0, 2, 1))
    size = lambda a: np.sqrt(np.abs(np.einsum("kii,kjj->kij", a, a)))
    fits = lambda a: bool(np.all(np.abs(cov - a) <= SIGMAS * size(a) * np.sqrt(2 / n) + 1e-12))
    A, euler = np.eye(d) - G / VARIANCE, G + flip
    exact = VARIANCE * (np.eye(d) - A @ np.transpose(A, (0, 2, 1)))
    own = np.diagonal(G[0])
    frozen = np.flatnonzero((np.abs(own) < 1e-9 * np.abs(own).max()) & (np.diagonal(cov[0]) < 1e-12))
    if len(frozen):
        return f"frozen: {numbered('dimension', frozen)} of a chain never move{'s' * (len(frozen) == 1)}"
    if np.any(own < 0):
        uphill = numbered("dimension", np.flatnonzero(own < 0))
        return f"sign of the drift: {uphill} of a chain moves away from the mode"
    if not own.any():
        return "coordinates exchanged: the drift of a dimension has nothing of its own score in it, and that of others (a flip, a transposition?)"
    # one step of Euler's, an exact one, several of Euler's in one, which lie between these two, or the noise before the drift
    if fits(euler) or _between(exact, cov, euler, n) or fits(A @ euler @ np.transpose(A, (0, 2, 1))):
        return ""
    mean = np.trace(G, axis1=1, axis2=2)[:, None, None] / d
    ratio = np.trace(cov, axis1=1, axis2=2) / np.trace(2 * G, axis1=1, axis2=2)
    right = "it must be sqrt(2 step) M^(1/2) z"
    wrong = "the drift is step M score and the noise"
    candidates = (
        (2 * G @ flip / tau, f"preconditioner without its root: {wrong} sqrt(2 step) M z; {right}"),
        (2 * tau * np.eye(d), f"preconditioner not in the noise: {wrong} sqrt(2 step) z; {right}"),
        (2 * mean * np.eye(d), f"preconditioner not in the noise: {wrong} the same in all dimensions; {right}"),
        (np.linalg.matrix_power(G + flip, 2) / (2 * mean), f"preconditioner without its root: the noise is multiplied by a matrix where its root belongs; {right}"),
        (ratio.mean() * (G + flip), f"temperature: the noise has {ratio.mean():.3g} times the variance that belongs to the drift"),
    )  # fmt: skip
    other = "noise of a preconditioned step: beside x + G score its covariance is not G + G^T, as in Euler's step, nor that of an exact one"
    return next((text for covariance, text in candidates if fits(covariance)), other)


def _bent(chain, tau, dim):
    """The diagnosis of a step that is not linear, from starts that get the same noise; "" if its noise is not the same, or nothing explains it."""
    m, starts = 64, MEAN + 3 * np.random.default_rng(5).standard_normal((12, dim))
    from_start = lambda x: chain(np.tile(x, (m, 1)), tau, 3)
    ends, mirrored = (np.array([from_start(x) for x in points]) for points in (starts, 2 * MEAN - starts))
    if not np.array_equal(ends[0], from_start(starts[0])):
        return ""
    moves = ends - starts[:, None]
    for limit in (ends.max(), ends.min()):
        if _piled(ends, limit):
            return f"state clipped: the points are cut at {limit:.6g}; the chain leaves the law of the target"
    longest = np.abs(moves).max()
    if _piled(np.abs(moves), longest):
        return f"step clipped: no coordinate moves by more than {longest:.6g}; with the noise cut the chain has another law"
    drifts = (moves - (mirrored - 2 * MEAN + starts[:, None])) / 2  # in each chain: its noise is the same in both
    if np.ptp(drifts, axis=1).max() > 1e-6 * np.abs(drifts).max():
        return ""
    found = read(Field(drifts.mean(axis=1) / tau, GAUSSIAN.score(starts), 1e-9, x=starts, word="drift"))
    return f"drift, {found[0].diagnosis}" if found and not found[0].right else ""


def _piled(a, limit):
    """Whether many chains, from several starts, stand at a limit; a (starts, chains, d)."""
    share = np.isclose(a, limit, rtol=1e-9, atol=1e-9).reshape(len(a), -1).mean(axis=1)
    return share.mean() > 0.02 and np.sum(share > 0) > 2


# ------------------------------------------------------------------------------- by its law


UNLIKE = "two calls with the same random numbers differ (numbers that cannot be seeded, or something that is kept from call to call: a velocity, a step size that adapts?), so only its law was checked"


ADJUSTED, PLAIN = (
    "the noise, the proposal's correction in the acceptance, the sign of log p?",
    "the noise, the drift, a clip, numbers of the whole batch?",
)


def _by_law(report, chain, tau, n, dim, rng, target, arriving=True, look=ADJUSTED):
    """Does a chain that starts in the law claimed, of variance `target`, stay there, and one that starts far from it get there?"""
    steps = int(np.clip(6 * VARIANCE / tau, 5, 400))
    start = lambda far: MEAN + far * np.sqrt(target) * rng.standard_normal((n, dim))

    def run(x):
        for _ in range(steps):
            x = chain(x, tau, int(rng.integers(1 << 31)))
        return x

    fine = lambda z: abs(z) <= SIGMAS + 1
    stay = start(1)
    again = np.array_equal(chain(stay[:8], tau, 3), chain(stay[:8], tau, 3))
    share = np.mean(np.any(chain(stay, tau, 4) != stay, axis=1))
    stay = run(stay)
    stays = {f"{name}, stays": z for name, z in _moments(stay, target).items()}
    come = start(2)
    for _ in range(4 * arriving):  # a slow chain is on its way for a while
        come = run(come)
        arrives = {f"{name}, arrives": z for name, z in _moments(come, target).items()}
        if fine(arrives["variance, arrives"]):
            break
    tests = stays | (arrives if arriving else {})
    error, got = float(SIGMAS * np.sqrt(2 / (n * dim))), float(np.mean((stay - stay.mean(0)) ** 2))
    name = max(tests, key=lambda key: abs(tests[key]))
    report = partial(
        report, worst=Worst(f"variance after {steps} steps of {tau:.3g}", got, float(target), error), resolution=error, details={"z": tests, "share": share},
        pattern=f"largest |z| = {abs(tests[name]):.1f} ({name}), {share:.0%} of the chains move in a step",
        notes=() if again else (UNLIKE,),
    )  # fmt: skip
    if share == 0:
        return report(FAIL, diagnosis="no move: the chain never moves; every proposal is rejected")
    if all(map(fine, stays.values())) and fine(tests.get("variance, arrives", 0)):
        return report(PASS)
    if fine(tests["variance, stays"]) and fine(tests["mean, stays"]):
        text = "does not arrive: a chain that starts in the target stays there, one from outside does not come (too small a step, or frozen chains?)"
        return report(INCONCLUSIVE, diagnosis=text)
    text = f"after {steps} steps of {tau:.3g} from the target the chain has mean {stay.mean():.3g} and variance {got:.4g} instead of {MEAN} and {target:.4g} ({look})"
    return report(FAIL, diagnosis=f"wrong law: {text}")


def _moments(x, target):
    """Moments of chains (n, d) beside those of N(mu, target I), in standard errors."""
    u, (n, d) = (x - MEAN) / np.sqrt(target), x.shape
    root = np.sqrt(u.size)
    tests = {
        "mean": u.mean() * root,
        "variance": (np.mean(u**2) - 1) * root / np.sqrt(2),
        "fourth moment": (np.mean(u**4) - 3) * root / np.sqrt(96),
    }
    if d > 1:
        tests["correlation"] = np.mean(u[:, 0] * u[:, 1]) * np.sqrt(n)
        tests["squares together"] = (np.mean(u[:, 0] ** 2 * u[:, 1] ** 2) - 1) * np.sqrt(n / 8)
    return tests
