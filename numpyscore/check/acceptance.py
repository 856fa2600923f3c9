"""The rule by which a Metropolis-adjusted step accepts: who moves where from a few chosen starts tells one rule from another.

The target is not Gaussian where the step takes an energy: there half a step is half a ratio. A new name is a new row of `RULES`.
"""

import itertools
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from .report import FAIL, INCONCLUSIVE, PASS, Explanation, diagnosis_of
from .steps import MEAN, SIGMAS, VARIANCE

STARTS = (0.0, 0.8, 1.6, 3.0)  # distances from the mean of the chosen starts, in standard deviations
FEW, CALLS = 32, 16  # chains that decide together, and how often they are asked
BINS = 8  # classes of the proposals of one start, by their ratio


class Target(NamedTuple):
    """An energy (n, d) -> (n,), its score, and the log density, in arrays of any framework: one object each, for which a user's code is compiled once."""

    energy: Callable
    score: Callable
    logpdf: Callable


GAUSSIAN = Target(
    lambda x: ((x - MEAN) ** 2).sum(-1) / (2 * VARIANCE),
    lambda x: (MEAN - x) / VARIANCE,
    lambda x: -((x - MEAN) ** 2).sum(-1) / (2 * VARIANCE),
)
TAILS = Target(  # linear tails
    lambda x: 2 * (((x - MEAN) ** 2 + 1) ** 0.5).sum(-1),
    lambda x: 2 * (MEAN - x) / ((x - MEAN) ** 2 + 1) ** 0.5,
    lambda x: -2 * (((x - MEAN) ** 2 + 1) ** 0.5).sum(-1),
)


class Moves(NamedTuple):
    """Ends y (m, d) of moves from one start x (d,) that are drawn from N(x + drift score(x), var I)."""

    of: Target
    x: np.ndarray
    y: np.ndarray
    drift: float
    var: float


class Proposals(Moves):
    """Moves that are to be accepted, with what a ratio of acceptance may be made of."""

    @cached_property
    def _squares(self):
        """What many rules are made of, once for each."""
        return {}

    @cached_property
    def target(self):
        """log p(y) - log p(x)."""
        return self.of.energy(self.x) - self.of.energy(self.y)

    def _square(self, way, drift):
        """(m,), |end - start - drift score|^2 of a way, with the drift of q times a factor."""
        if (way, drift) not in self._squares:
            x, y = self.x, self.y
            start, end, at = {"forth": (x, y, x), "back": (y, x, y), "back, the old score": (y, x, x)}[way]
            gap = end - start - drift * self.drift * self.of.score(at)
            self._squares[way, drift] = np.sum(gap**2, axis=1)
        return self._squares[way, drift]

    def forth(self, drift=1.0, var=1.0):
        """log q(y | x), with the drift and the variance of q times a factor."""
        return -self._square("forth", drift) / (2 * var * self.var)

    def back(self, drift=1.0, var=1.0, old=False):
        """log q(x | y); `old` takes the score at x."""
        return -self._square("back, the old score" if old else "back", drift) / (2 * var * self.var)

    def proposal(self, drift=1.0, var=1.0):
        """log q(x | y) - log q(y | x)."""
        return self.back(drift, var) - self.forth(drift, var)

    @cached_property
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


def _normal_below(u):
    from scipy.special import ndtr

    return ndtr(u)


_RATIO = _metropolis(lambda p: p.ratio)


FACTORS = {0.5: "half", 2.0: "twice", 0.25: "a quarter of", 4.0: "four times"}
LOGS = {0.5: "1/2", 2.0: "2", np.log(10): "log 10 (log10 of the uniform number)", 1 / np.log(2): "1/log 2"}
RULES = (
    Rule("", "Metropolis-Hastings", _RATIO, True),
    Rule("", "Barker's rule", lambda p: 1 / (1 + np.exp(-p.ratio)), True),
    Rule("not adjusted", "every proposal is accepted (the acceptance step is missing, its result is not used, its ratio is never below 1?)", lambda p: np.ones(len(p.y))),
    Rule("rejected states dropped", "it proposes again until something is accepted: a rejected proposal must count the old state once more", lambda p: _RATIO(p) / _RATIO(p).mean()),
    Rule("acceptance reversed", "the rejected ones are taken, and the accepted ones left", lambda p: 1 - _RATIO(p)),
    Rule("sign of the ratio", "the ratio of acceptance is upside down: p(x) q(y|x) / (p(y) q(x|y))", _metropolis(lambda p: -p.ratio)),
    Rule("no proposal density", "the ratio is p(y)/p(x), without q(x|y)/q(y|x) (of HMC: without the kinetic energy); a Langevin proposal is not symmetric", _metropolis(lambda p: p.target)),
    Rule("proposal density upside down", "the ratio has q(y|x)/q(x|y) in place of q(x|y)/q(y|x)", _metropolis(lambda p: p.target - p.proposal())),
    Rule("sign of log p", "the ratio has p(x)/p(y) in place of p(y)/p(x): an energy was taken for a log density", _metropolis(lambda p: p.proposal() - p.target)),
    Rule("no target density", "the ratio is q(x|y)/q(y|x) alone, without p(y)/p(x)", _metropolis(lambda p: p.proposal())),
    Rule("score at the old point", "q(x|y) is computed with the score at x where the one at y belongs", _metropolis(lambda p: p.target + p.back(old=True) - p.forth())),
    Rule("drift forgotten in q(x|y)", "q(x|y) is centred at y, without its drift", _metropolis(lambda p: p.target + p.back(0) - p.forth())),
    Rule("only q(x|y)", "the ratio has q(x|y) and not q(y|x)", _metropolis(lambda p: p.target + p.back())),
    Rule("only q(y|x)", "the ratio has q(y|x) and not q(x|y)", _metropolis(lambda p: p.target - p.forth())),
    *(Rule("step of the proposal density", f"q is computed with {word} the step of the proposal", _metropolis(lambda p, c=c: p.target + p.proposal(c, c))) for c, word in FACTORS.items()),
    *(Rule("variance of the proposal density", f"q has {word} the variance of the proposal", _metropolis(lambda p, c=c: p.target + p.proposal(1, c))) for c, word in FACTORS.items()),
    Rule("variance of the proposal density", "q has the variance of the proposal for its standard deviation", _metropolis(lambda p: p.target + p.proposal(1, p.var))),
    Rule("variance of the proposal density", "q has the standard deviation of the proposal for its variance", _metropolis(lambda p: p.target + p.proposal(1, p.var**-0.5))),
    *(Rule("drift of the proposal density", f"q has {c:g} times the drift of the proposal", _metropolis(lambda p, c=c: p.target + p.proposal(c, 1))) for c in (0.5, 2.0, -1.0)),
    *(Rule("scale of the ratio", f"the logarithm of the ratio is multiplied by {word}", _metropolis(lambda p, c=c: c * p.ratio)) for c, word in LOGS.items()),
    *(Rule("temperature", f"log p is multiplied by {word} in the ratio", _metropolis(lambda p, c=c: c * p.target + p.proposal())) for c, word in ((0.5, "1/2"), (2.0, "2"))),
    Rule("averaged over dimensions", "the logarithm of the ratio is a mean over dimensions where a sum belongs", _metropolis(lambda p: p.ratio / len(p.x))),
    Rule("averaged over dimensions", "log p is a mean over dimensions where a sum belongs", _metropolis(lambda p: p.target / len(p.x) + p.proposal())),
    Rule("averaged over dimensions", "log q is a mean over dimensions where a sum belongs", _metropolis(lambda p: p.target + p.proposal() / len(p.x))),
    Rule("no exponential", "a uniform number is compared with the logarithm of the ratio", lambda p: np.clip(p.ratio, 0, 1)),
    Rule("normal for uniform", "a normal number is compared with the ratio where a uniform one belongs", lambda p: _normal_below(np.exp(p.ratio))),
    Rule("threshold", "what has a ratio above 1 is accepted and all else rejected: no random number is used", lambda p: (p.ratio > 0).astype(float)),
    Rule("half of the proposals", "a proposal is accepted with probability 1/2, whatever its ratio", lambda p: np.full(len(p.y), 0.5)),
)  # fmt: skip

PROPOSALS = {  # drift and variance, in units of the step
    (1.0, 2.0): "x + step score + sqrt(2 step) z",
    (0.5, 1.0): "x + step/2 score + sqrt(step) z",
    (1.0, 1.0): "x + step score + sqrt(step) z",
    (0.5, 2.0): "x + step/2 score + sqrt(2 step) z",
    (0.0, 2.0): "x + sqrt(2 step) z",
    (0.0, 1.0): "x + sqrt(step) z",
}


TOGETHER = "one decision for all chains: they are accepted or rejected together (a ratio that is summed or averaged over the batch, one uniform number, an `if` on all or any of them?)"
CHANGING = "changing share: the share of the chains that move from one start changes from call to call (one uniform number, a kernel, a step or a length for all of them, a step that is tuned as it runs, kernels in turn?)"
SHARING = f"{CHANGING}; each chain has the right law, and where they share random numbers they are together no independent sample"


def _features(x, y, ratio, edges):
    """What a step does from one start x: that it moves, by how much, squared, and the class of its ratio (m, features)."""
    classes = np.digitize(ratio, edges)[:, None] == np.arange(len(edges) + 1)
    return np.column_stack([np.ones(len(y)), y - x, (y - x) ** 2, classes])


def _means(p, features):
    """Mean and variance of the features of what is accepted with probability p (m,)."""
    mean = p @ features / len(p)
    return mean, np.maximum(p @ features**2 / len(p) - mean**2, 0.0)


def _all_or_none(chain, tau, x, share, of):
    """Whether `FEW` chains from x, which all moved or none, do so again but not always the same."""
    if share not in (0, 1):
        return False
    calls = [np.any(chain(np.tile(x, (FEW, 1)), tau, seed, of) != x, axis=1) for seed in range(300, 300 + CALLS)]
    return all(moved.all() or not moved.any() for moved in calls) and len({bool(moved[0]) for moved in calls}) > 1


def _moves(chain, tau, n, of):
    """(start, where n chains are after a step from it, which of them moved) of each chosen start, and what chains wrongly share, or ""."""
    dims = 3 if _takes_three(chain, tau) else chain.dim  # a mean over two dimensions is half the sum
    out, together, changing = [], False, False
    for k, r in enumerate(STARTS):
        x = MEAN + r * np.where(np.arange(dims) % 2, -0.6, 1.0) * np.sqrt(VARIANCE / dims)
        y, other = (chain(np.tile(x, (n, 1)), tau, seed, of) for seed in (100 + k, 200 + k))
        out.append((x, y, np.any(y != x, axis=1)))
        share, again = out[-1][2].mean(), np.any(other != x, axis=1).mean()
        spread = np.sqrt((share * (1 - share) + again * (1 - again)) / n) + 1 / n
        changing |= bool(abs(share - again) > 2 * SIGMAS * spread)
        together |= _all_or_none(chain, tau, x, share, of)
    shares = [moved.mean() for *_, moved in out]
    if any(shares) and all(np.array_equal(y, np.tile(y[:1], (n, 1))) for _, y, _ in out):
        return (
            out,
            "shared noise: all chains from one start go to one point (one random number for all of them, accepted or rejected together?)",
        )
    if together or (np.isin(shares, (0, 1)).all() and 0 < sum(shares) < len(shares)):
        return out, TOGETHER
    return out, CHANGING * changing


def gone_astray(chain, tau, n):
    """What is wrong if chains from one start go to one and the same other point, where a rejected proposal leaves them; "" if they do not."""
    of = TAILS if chain.names else GAUSSIAN
    for x, y, moved in _moves(chain, tau, n, of)[0]:
        ends, counts = np.unique(y[moved], axis=0, return_counts=True)
        if len(counts) > 1 and counts.max() > 2 and np.sum(counts > 1) == 1:
            end, share = ends[counts.argmax()], counts.max() / n
            mean = next(
                (w for w, c in (("step", 1.0), ("step/2", 0.5)) if np.allclose(end, x + c * tau * of.score(x))), ""
            )
            of_start = f"{share:.1%} of the chains that start at one x all go to"
            if mean:
                return f"rejection: at step {tau:.3g} {of_start} x + {mean} score, the proposal without its noise; a rejected proposal must leave the chain at x."
            return f"rejection, or points that are cut: at step {tau:.3g} {of_start} {np.array2string(end, precision=4)} (a rejected proposal that does not leave the chain at x, points that are clipped, projected or started anew?)."
    return ""


class Proposal(NamedTuple):
    """What a step may propose: in words, how it is made of a `Target`, a start and unit normals, and what is wrong with it by itself, or ""."""

    words: str
    make: Callable
    flaw: str = ""


def _of_langevin(tau):
    """The `Proposal`s that are normal."""
    make = lambda of, x, z, a, v: Proposals(of, x, x + a * tau * of.score(x) + np.sqrt(v * tau) * z, a * tau, v * tau)
    return [Proposal(name, partial(make, a=a, v=v)) for (a, v), name in PROPOSALS.items()]


class Trajectory(Proposals):
    """Ends of leapfrog trajectories, whose log q is minus the kinetic energy: forth that of the momentum at the start, back that at the end."""

    @classmethod
    def leapfrog(cls, of, x, p, length, count, first, last):
        """So many steps of a length from momenta p (m, d); `first` and `last` are the shares of a step by which the score moves p then."""
        y, start = x + 0 * p, p
        for k in range(count):
            p = p + (first if k == 0 else 1.0) * length * of.score(y)
            y = y + length * p
        out = cls(of, x, y, 0.0, 1.0)
        ends = (("forth", start), ("back", p + last * length * of.score(y)))
        out._squares.update({(way, 1.0): np.sum(p**2, axis=1) for way, p in ends})
        return out

    def _square(self, way, drift):
        return self._squares.get((way, drift), np.full(len(self.y), np.nan))  # it has no drift


KICKS = {  # shares of a step by which a momentum is moved at first and at last
    "": (0.5, 0.5),
    "the last step of the momentum is a whole one": (0.5, 1.0),
    "the first step of the momentum is a whole one": (1.0, 0.5),
    "the last half step of the momentum is left out": (0.5, 0.0),
    "the first half step of the momentum is left out": (0.0, 0.5),
    "the momentum is moved before each step of the position alone": (1.0, 0.0),
    "the momentum is moved after each step of the position alone": (0.0, 1.0),
}


def _of_trajectories(tau):
    """The `Proposal`s that are leapfrog trajectories of several lengths."""
    lengths = {"step": tau, "sqrt(step)": np.sqrt(tau), "sqrt(2 step)": np.sqrt(2 * tau)}
    words = "{} leapfrog step{} of length {}, q the density exp(-|p|^2/2) of its momenta"
    return [
        Proposal(words.format(n, "s" * (n > 1), name), partial(Trajectory.leapfrog, length=length, count=n, first=first, last=last), flaw)
        for (name, length), n, (flaw, (first, last)) in itertools.product(lengths.items(), range(1, LEAPS + 1), KICKS.items())
        if n > 1 or flaw  # one right step is Langevin's, whose ratios tell more
    ]  # fmt: skip


LEAPS = 12  # steps of a trajectory that is recognised


def _fitting(proposals, of, moves, rng):
    """(distance, `Proposal`, `Rule`) of those that agree with the moves, the nearest first."""
    found = []
    for proposal in proposals:
        distance = np.zeros(len(RULES))  # largest |z| of what was seen, if this is the rule
        for x, y, moved in moves:
            z = rng.standard_normal(y.shape)
            if not np.any(distance <= SIGMAS):
                continue
            own = proposal.make(of, x, z)
            plain = not isinstance(own, Trajectory)  # whose ends do not tell their ratio
            classes = plain and np.ptp(own.ratio) > 1e-9
            edges = np.quantile(own.ratio, np.arange(1, BINS) / BINS) if classes else np.zeros(0)
            ratio = own._replace(y=y).ratio if plain else np.zeros(len(y))
            seen = _means(moved.astype(float), _features(x, y, ratio, edges))
            ours = _features(x, own.y, own.ratio, edges)
            for i in np.flatnonzero(distance <= SIGMAS):
                far = _distance(RULES[i], own, ours, *seen)
                distance[i] = max(distance[i], np.nan_to_num(far, nan=np.inf))
        found += [(distance[i], proposal, RULES[i]) for i in np.flatnonzero(distance <= SIGMAS)]
    return sorted(found, key=lambda entry: entry[0])


def _distance(rule, own, ours, seen, spread):
    """Largest |z| between what was seen and what a rule does to our own proposals."""
    with np.errstate(all="ignore"):
        p = np.maximum(rule.probability(own), 0.0)
    mean, var = _means(p, ours)
    error = np.sqrt((np.maximum(var, spread) + var) / len(ours)) + 3 / len(ours)
    return float(np.max(np.abs(mean - seen) / error))


def _takes_three(chain, tau):
    """Whether the step takes points of three dimensions."""
    try:
        return chain(np.full((4, 3), MEAN), tau, 1).shape == (4, 3)
    except Exception:
        return False


BY_COORDINATE = "accepted by coordinate: each coordinate of a chain is accepted or left by a uniform number of its own, on the ratio of the whole row; one decision must be taken for a row"


def _by_coordinate(tau, of, moves):
    """`BY_COORDINATE` if so many chains move in all, in some and in no coordinates as by that rule, of one of the known proposals; ""."""
    rng = np.random.default_rng(8)  # its own: what is drawn afterwards does not depend on this question
    for drift, var in PROPOSALS:
        fits, some = [], 0.0
        for x, y, _ in moves:
            y_own = x + drift * tau * of.score(x) + np.sqrt(var * tau) * rng.standard_normal(y.shape)
            p, d, apart = _RATIO(Proposals(of, x, y_own, drift * tau, var * tau)), len(x), y != x
            seen, meant = ([np.mean(a), np.mean(b)] for a, b in ((apart.all(1), ~apart.any(1)), (p**d, (1 - p) ** d)))
            some = max(some, 1 - sum(seen))
            fits.append(np.abs(np.subtract(seen, meant)).max() <= SIGMAS * np.sqrt(0.5 / len(y)) + 3 / len(y))
        if some > 0.01 and all(fits):
            return BY_COORDINATE
    return ""


def decided(report, chain, tau, n, rng):
    """The report on the rule of acceptance: PASS with the rule as a note, FAIL with its name, INCONCLUSIVE where chains share random numbers; None where no rule fits."""
    of = TAILS if chain.names else GAUSSIAN  # who is given no energy may have that of the Gaussian written down
    moves, flaw = _moves(chain, tau, n, of)
    if flaw == CHANGING:
        return report(
            INCONCLUSIVE, diagnosis=flaw, pattern="from one start other shares of the chains move in other calls"
        )
    if flaw:
        return report(FAIL, diagnosis=flaw, pattern="from a start all chains move or none")
    if flaw := _by_coordinate(tau, of, moves):
        return report(FAIL, diagnosis=flaw, pattern="in some chains some coordinates move and others do not")
    return _named(report, _fitting(_of_langevin(tau), of, moves, rng), n)


def decided_by_trajectory(report, chain, tau, n, rng):
    """`decided` of a step with momenta, by its leapfrog trajectories."""
    of = TAILS if chain.names else GAUSSIAN
    whole = _moves(chain, tau, n, of)[0][::-1]  # the most telling start first
    few = [(x, y[:FEWER], moved[:FEWER]) for x, y, moved in whole]
    near = dict.fromkeys(proposal for _, proposal, _ in _fitting(_of_trajectories(tau), of, few, rng))
    found = _fitting(near, of, whole, rng)
    found = [one for one in found if one[2].right or not one[1].flaw]  # one thing is wrong, not two
    return _named(report, found, n)


FEWER = 3000  # chains whose ends are compared with those of all trajectories


def _named(report, found, n):
    """The report on the rules that fit."""
    right = [f"{rule.sentence} on the proposal {p.words}" for _, p, rule in found if rule.right and not p.flaw]
    if right or not found:
        return report(PASS, notes=(right[0],)) if right else None
    least, proposal, _ = found[0]
    near = sorted({rule for far, _, rule in found if far <= least + 2 and not rule.right}, key=RULES.index)
    names = [Explanation(rule.key, f"{rule.sentence}; the proposal is {proposal.words}") for rule in near]
    if proposal.flaw:
        text = f"{proposal.flaw}, where the first and the last are half ones; the proposal is {proposal.words}"
        names = [Explanation("leapfrog", text)]
    pattern = f"{n} chains from each of {len(STARTS)} starts move as by this rule, largest |z| = {least:.1f}, and as by no right one"
    return report(FAIL, pattern=pattern, diagnosis=diagnosis_of(names), resolution=SIGMAS / np.sqrt(n))
