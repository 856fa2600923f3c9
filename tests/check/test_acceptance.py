"""Rules of acceptance against the densities they are ratios of, and what is read off chains of which every move is known."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import norm

from numpyscore.check.acceptance import (
    CHANGING,
    GAUSSIAN,
    PROPOSALS,
    RULES,
    STARTS,
    TAILS,
    Proposals,
    Rule,
    _all_or_none,
    _distance,
    _features,
    _means,
    _moves,
    decided,
    gone_astray,
)
from numpyscore.check.report import CheckReport
from numpyscore.check.sampler import Chain

MEAN, VARIANCE = 0.7, 1.6
TAU = 0.8
ENERGY = {
    "Gaussian": lambda x: np.sum((x - MEAN) ** 2, axis=-1) / (2 * VARIANCE),
    "linear tails": lambda x: 2 * np.sum(np.sqrt((x - MEAN) ** 2 + 1), axis=-1),
}
TARGETS = {"Gaussian": GAUSSIAN, "linear tails": TAILS}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_are_energies_with_their_scores(name):
    x = np.random.default_rng(0).standard_normal((6, 3))
    np.testing.assert_allclose(TARGETS[name].energy(x), ENERGY[name](x), rtol=1e-14)
    slope = np.stack([ENERGY[name](x + 1e-30j * e).imag / 1e-30 for e in np.eye(3)], axis=1)
    np.testing.assert_allclose(TARGETS[name].score(x), -slope, rtol=1e-14)


# ------------------------------------------------------------------------------- rules


def proposals(name="linear tails", drift=0.8, var=1.6, m=400):
    """Proposals from one start, with log p(y) - log p(x) and log q of either way by SciPy's normal density."""
    of, x = TARGETS[name], np.array([1.5, 0.1, -0.8])
    y = x + drift * of.score(x) + np.sqrt(var) * np.random.default_rng(1).standard_normal((m, 3))
    own = Proposals(of, x, y, drift, var)
    top = norm(scale=np.sqrt(var)).logpdf(0) * 3

    def q(to, start, at=None, c=1.0, v=1.0):
        """log q(to | start) up to its normaliser, with a factor of drift and variance, the score taken at another point."""
        mean = start + c * drift * of.score(start if at is None else at)
        return norm(mean, np.sqrt(v * var)).logpdf(to).sum(-1) - top + 1.5 * np.log(v)

    energy = ENERGY[name]
    return own, energy(x) - energy(y), q


OWN, LOG_P, Q = proposals()
X, Y = OWN.x, OWN.y
FORTH, BACK = Q(Y, X), Q(X, Y)
BOTH = lambda c, v: Q(X, Y, c=c, v=v) - Q(Y, X, c=c, v=v)
A = np.exp(np.minimum(LOG_P + BACK - FORTH, 0))
EXPECTED = [  # key, words of the sentence, what is accepted
    ("", "Metropolis-Hastings", A),
    ("", "Barker's rule", np.exp(LOG_P + BACK) / (np.exp(LOG_P + BACK) + np.exp(FORTH))),
    ("not adjusted", "every proposal", 1 + 0 * A),
    ("rejected states dropped", "proposes again", A / A.mean()),
    ("acceptance reversed", "the rejected ones", 1 - A),
    ("sign of the ratio", "upside down", np.exp(np.minimum(FORTH - BACK - LOG_P, 0))),
    ("no proposal density", "is p(y)/p(x)", np.exp(np.minimum(LOG_P, 0))),
    ("proposal density upside down", "q(y|x)/q(x|y) in place", np.exp(np.minimum(LOG_P + FORTH - BACK, 0))),
    ("sign of log p", "p(x)/p(y) in place", np.exp(np.minimum(-LOG_P + BACK - FORTH, 0))),
    ("no target density", "alone", np.exp(np.minimum(BACK - FORTH, 0))),
    ("score at the old point", "score at x", np.exp(np.minimum(LOG_P + Q(X, Y, at=X) - FORTH, 0))),
    ("drift forgotten in q(x|y)", "centred at y", np.exp(np.minimum(LOG_P + Q(X, Y, c=0) - FORTH, 0))),
    ("only q(x|y)", "and not q(y|x)", np.exp(np.minimum(LOG_P + BACK, 0))),
    ("only q(y|x)", "and not q(x|y)", np.exp(np.minimum(LOG_P - FORTH, 0))),
    *(("step of the proposal density", f"q is computed with {word} the step", np.exp(np.minimum(LOG_P + BOTH(c, c), 0))) for c, word in ((0.5, "half"), (2, "twice"), (0.25, "a quarter of"), (4, "four times"))),
    *(("variance of the proposal density", f"q has {word} the variance", np.exp(np.minimum(LOG_P + BOTH(1, c), 0))) for c, word in ((0.5, "half"), (2, "twice"), (0.25, "a quarter of"), (4, "four times"))),
    ("variance of the proposal density", "has the variance of the proposal for", np.exp(np.minimum(LOG_P + BOTH(1, OWN.var), 0))),
    ("variance of the proposal density", "has the standard deviation of the proposal for", np.exp(np.minimum(LOG_P + BOTH(1, OWN.var**-0.5), 0))),
    *(("drift of the proposal density", f"q has {c:g} times the drift", np.exp(np.minimum(LOG_P + BOTH(c, 1), 0))) for c in (0.5, 2, -1)),
    *(("scale of the ratio", f"multiplied by {word}", np.exp(np.minimum(c * (LOG_P + BACK - FORTH), 0))) for c, word in ((0.5, "1/2"), (2, "2"), (np.log(10), "log 10 (log10"), (1 / np.log(2), "1/log 2"))),
    *(("temperature", f"log p is multiplied by {word} in the ratio", np.exp(np.minimum(c * LOG_P + BACK - FORTH, 0))) for c, word in ((0.5, "1/2"), (2, "2"))),
    ("averaged over dimensions", "the logarithm of the ratio is a mean", np.exp(np.minimum((LOG_P + BACK - FORTH) / 3, 0))),
    ("averaged over dimensions", "log p is a mean", np.exp(np.minimum(LOG_P / 3 + BACK - FORTH, 0))),
    ("averaged over dimensions", "log q is a mean", np.exp(np.minimum(LOG_P + (BACK - FORTH) / 3, 0))),
    ("no exponential", "compared with the logarithm", np.clip(LOG_P + BACK - FORTH, 0, 1)),
    ("normal for uniform", "a normal number", norm.cdf(np.exp(LOG_P + BACK - FORTH))),
    ("threshold", "no random number", LOG_P + BACK > FORTH),
    ("half of the proposals", "with probability 1/2", 0.5 + 0 * A),
]  # fmt: skip


def test_every_rule_accepts_what_its_sentence_says():
    assert [rule.key for rule in RULES] == [key for key, _, _ in EXPECTED] and np.ptp(A) > 0.9
    for rule, (_, words, p) in zip(RULES, EXPECTED, strict=True):
        assert words in rule.sentence
        np.testing.assert_allclose(rule.probability(OWN), p, rtol=1e-9, atol=1e-12, err_msg=rule.sentence)
    assert [rule.sentence for rule in RULES if rule.right] == ["Metropolis-Hastings", "Barker's rule"]


def test_right_rules_keep_detailed_balance_and_others_do_not():
    """p(x) q(y|x) a(x, y) = p(y) q(x|y) a(y, x), with the rule asked from either end."""
    there = np.array([Proposals(OWN.of, y, X[None], OWN.drift, OWN.var) for y in Y[:60]], dtype=object)
    for rule in RULES:
        forth = FORTH[:60] + np.log(np.maximum(rule.probability(OWN._replace(y=Y[:60])), 1e-300))
        back = np.array([np.log(np.maximum(rule.probability(Proposals(*p))[0], 1e-300)) for p in there])
        balanced = np.allclose(forth, LOG_P[:60] + BACK[:60] + back, rtol=0, atol=1e-9)
        assert balanced == rule.right, rule.sentence


@pytest.mark.parametrize("ratio", [-1e3, 1e3])
def test_rules_of_huge_ratios_are_zero_and_one(ratio):
    far = Proposals(GAUSSIAN, X, X[None], 0.0, 1.0)
    fixed = type("Fixed", (), {"ratio": np.array([ratio]), "y": far.y, "x": far.x})
    with np.errstate(over="ignore"):
        for rule in RULES[:2]:
            assert rule.probability(fixed) == (ratio > 0), rule


# ------------------------------------------------------------------------------- what is seen of a step


def test_features_are_moves_squares_and_classes_of_the_ratio():
    x, y = np.array([1.0, 2.0]), np.array([[1.0, 2.0], [2.0, 0.0], [1.0, 5.0]])
    found = _features(x, y, np.array([-1.0, 0.5, 3.0]), np.array([0.0, 1.0]))
    expected = [[1, 0, 0, 0, 0, 1, 0, 0], [1, 1, -2, 1, 4, 0, 1, 0], [1, 0, 3, 0, 9, 0, 0, 1]]
    assert np.array_equal(found, expected)
    assert np.array_equal(_features(x, y, np.zeros(3), np.zeros(0))[:, 5:], np.ones((3, 1)))


def test_means_are_those_of_what_is_accepted():
    """A proposal that is not accepted has no move: its features are 0."""
    p, features = np.array([1.0, 0.25, 0.0, 0.5]), np.array([[1.0, 2.0], [1.0, -4.0], [1.0, 8.0], [1.0, 6.0]])
    mean, var = _means(p, features)
    for k in range(2):
        values, chances = np.r_[features[:, k], 0], np.r_[p, 4 - p.sum()] / 4
        first = np.sum(values * chances)
        assert abs(mean[k] - first) < 1e-15 and abs(var[k] - np.sum((values - first) ** 2 * chances)) < 1e-14
    assert np.array_equal(_means(np.ones(3), np.full((3, 1), 0.1))[1] >= 0, [True])


def test_distances_are_in_standard_errors_of_both_samples():
    n, ours = 400, np.ones((400, 1))
    half = Rule("", "", lambda own: np.full(n, 0.5))
    error = lambda spread: np.sqrt((max(0.25, spread) + 0.25) / n) + 3 / n
    for seen, spread in ((0.6, 0.24), (0.3, 0.36)):
        found = _distance(half, None, ours, np.array([seen]), np.array([spread]))
        assert abs(found - abs(0.5 - seen) / error(spread)) < 1e-12
    below = Rule("", "", lambda own: np.full(n, -1.0))  # no probability
    assert _distance(below, None, ours, np.array([0.0]), np.array([0.0])) == 0
    assert (
        abs(_distance(below, None, ours, np.array([0.5]), np.array([0.25])) - 0.5 / (np.sqrt(0.25 / n) + 3 / n)) < 1e-9
    )
    two = np.column_stack([ours, 2 * ours])
    assert _distance(half, None, two, np.array([0.5, 1.5]), np.array([0.25, 1.0])) > 1


class Moves:
    """A chain of which `moved` (seed, n, start) says who moves, and `ends` (x, seed) where to."""

    names, dim = (), 2

    def __init__(self, moved, ends=None, dims=(2, 3)):
        self.moved, self.dims, self.seen = moved, dims, []
        self.ends = ends or (lambda x, seed: x + 1 + np.random.default_rng(seed).random(x.shape))

    def __call__(self, x, tau, seed, of=None):
        if x.shape[1] not in self.dims:
            raise ValueError("other dimensions")
        self.seen.append((x[0].copy(), seed, len(x), of))
        moved = np.broadcast_to(self.moved(seed, len(x), x[0]), len(x))
        return np.where(np.reshape(moved, (-1, 1)), self.ends(x, seed), x)


def first(share):
    """The first so many of the chains move."""
    return lambda seed, n, x: np.arange(n) < round(share * n)


def starts(dims):
    return [MEAN + r * np.array([1, -0.6, 1])[:dims] * np.sqrt(VARIANCE / dims) for r in (0.0, 0.8, 1.6, 3.0)]


@pytest.mark.parametrize("dims", [2, 3])
def test_chains_start_at_chosen_points_of_three_dimensions_where_the_step_takes_them(dims):
    chain = Moves(first(0.5), dims=(2, dims))
    moves, flaw = _moves(chain, TAU, 50, GAUSSIAN)
    assert not flaw and len(moves) == len(STARTS)
    for k, ((x, y, moved), start) in enumerate(zip(moves, starts(dims), strict=True)):
        np.testing.assert_allclose(x, start, rtol=1e-15)
        assert y.shape == (50, dims) and moved.sum() == 25
        assert np.array_equal(y, chain(np.tile(x, (50, 1)), TAU, 100 + k))
    asked = [(seed, n) for _, seed, n, _ in chain.seen if n == 50]
    assert asked[:8] == [(100, 50), (200, 50), (101, 50), (201, 50), (102, 50), (202, 50), (103, 50), (203, 50)]
    assert all(of is GAUSSIAN for _, seed, n, of in chain.seen[dims == 3 :][:8])


@pytest.mark.parametrize("excess, together", [(-3, False), (3, True)])
def test_chains_move_together_where_shares_of_two_calls_are_ten_standard_errors_apart(excess, together):
    n, a = 1000, 0.5
    b = a
    while abs(a - b) <= 10 * (np.sqrt((a * (1 - a) + b * (1 - b)) / n) + 1 / n):
        b -= 1e-3
    second = lambda seed: b - excess / n if seed >= 200 else a
    _, flaw = _moves(Moves(lambda seed, n, x: first(second(seed))(seed, n, x)), TAU, n, GAUSSIAN)
    assert flaw == CHANGING * together


TOGETHER = {  # who moves, whether that is one decision
    "all or none, by the call": (lambda seed, n, x: seed % 3 == 0, True),
    "all, whatever the call": (lambda seed, n, x: True, False),
    "none, whatever the call": (lambda seed, n, x: False, False),
    "some": (lambda seed, n, x: np.arange(n) % 2 == 0, False),
    "all of a start, none of another": (lambda seed, n, x: x[0] > 1, True),
    "all in the long call, few in the short ones": (lambda seed, n, x: (np.arange(n) < 3) | (seed < 300), False),
}  # fmt: skip


@pytest.mark.parametrize("name", TOGETHER)
def test_who_moves_with_all_others_is_seen(name):
    moved, together = TOGETHER[name]
    assert bool(_moves(Moves(moved), TAU, 60, GAUSSIAN)[1]) == together


def test_all_or_none_is_asked_of_thirty_two_chains_sixteen_times():
    x = np.zeros(2)
    once = lambda which: Moves(lambda seed, n, x: seed == which)
    chain = once(315)
    assert _all_or_none(chain, TAU, x, 0.0, None) and [(seed, n) for _, seed, n, _ in chain.seen] == [
        (k, 32) for k in range(300, 316)
    ]
    assert not _all_or_none(once(316), TAU, x, 0.0, None) and not _all_or_none(once(299), TAU, x, 1.0, None)
    assert not _all_or_none(once(310), TAU, x, 0.5, None)  # where some moved already
    assert _all_or_none(Moves(lambda seed, n, x: seed != 310), TAU, x, 1.0, None)


def test_one_noise_for_all_chains_is_told_before_anything_else():
    same = lambda x, seed: x + np.random.default_rng(seed).random((1, x.shape[1]))
    _, flaw = _moves(Moves(lambda seed, n, x: True, same), TAU, 40, GAUSSIAN)
    assert (
        flaw
        == "shared noise: all chains from one start go to one point (one random number for all of them, accepted or rejected together?)"
    )
    assert not _moves(Moves(lambda seed, n, x: False, same), TAU, 40, GAUSSIAN)[1]  # nobody moves
    assert not _moves(Moves(first(0.5), same), TAU, 40, GAUSSIAN)[1]
    report = decided(
        partial(CheckReport, "check_sampler", summary=""),
        Moves(lambda seed, n, x: True, same),
        TAU,
        40,
        np.random.default_rng(0),
    )
    assert report.verdict == "FAIL" and report.diagnosis == flaw
    assert report.pattern == "from a start all chains move or none"


# ------------------------------------------------------------------------------- rejected chains that go elsewhere

ASTRAY = {  # where the first of n chains go, how many, and what is said
    "the proposal without its noise": (lambda x: x + TAU * GAUSSIAN.score(x), 30, "rejection: at step 0.8 30.0% of the chains that start at one x all go to x + step score, the proposal without its noise; a rejected proposal must leave the chain at x."),
    "half of it": (lambda x: x + TAU / 2 * GAUSSIAN.score(x), 12, "rejection: at step 0.8 12.0% of the chains that start at one x all go to x + step/2 score, the proposal without its noise; a rejected proposal must leave the chain at x."),
    "another point": (lambda x: 0 * x + [1.23456, -2.0], 3, "rejection, or points that are cut: at step 0.8 3.0% of the chains that start at one x all go to [ 1.2346 -2.    ] (a rejected proposal that does not leave the chain at x, points that are clipped, projected or started anew?)."),
    "two of them by chance": (lambda x: 0 * x + [1.5, -2.0], 2, ""),
    "all but one": (lambda x: 0 * x + [1.5, -2.0], 99, "rejection, or points that are cut: at step 0.8 99.0% of the chains that start at one x all go to [ 1.5 -2. ] (a rejected proposal that does not leave the chain at x, points that are clipped, projected or started anew?)."),
    "all": (lambda x: 0 * x + [1.5, -2.0], 100, ""),
    "none": (lambda x: 0 * x, 0, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ASTRAY)
def test_chains_that_all_go_to_another_point_are_told_where(name):
    where, count, words = ASTRAY[name]
    ends = lambda x, seed: np.where(
        np.arange(len(x))[:, None] < count, where(x), x + 1 + np.random.default_rng(seed).random(x.shape)
    )
    away = lambda seed, n, x: np.linalg.norm(x - MEAN) > 0.1  # at the mean the score is 0
    assert gone_astray(Moves(away, ends, dims=(2,)), TAU, 100) == words


def test_two_points_to_which_many_go_are_no_rejection():
    ends = lambda x, seed: np.where(np.arange(len(x))[:, None] % 2, x + 1, x + 2)
    assert gone_astray(Moves(first(1.0), ends, dims=(2,)), TAU, 100) == ""


# ------------------------------------------------------------------------------- the rule


def adjusted(rule, drift, var):
    """A step with a rule of the table on a proposal with so many steps of drift and variance."""

    def step(x, score, h, energy, rng):
        y = x + drift * h * score(x) + np.sqrt(var * h) * rng.standard_normal(x.shape)
        each = [Proposals(TAILS, a, b[None], drift * h, var * h) for a, b in zip(x[:1], y[:1], strict=True)]
        own = each[0]._replace(y=y)  # all chains of a call start at one point
        return np.where((rng.random(len(x)) < rule.probability(own))[:, None], y, x)

    return Chain("check_sampler", step, None, "x")


def judged(rule, proposal, n=1500):
    report = partial(CheckReport, "check_sampler", summary="")
    return decided(report, adjusted(rule, *proposal), TAU, n, np.random.default_rng(0))


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_a_right_rule_is_named_with_its_proposal(proposal):
    report = judged(RULES[0], proposal, 1000)
    assert report and report.notes == (f"Metropolis-Hastings on the proposal {PROPOSALS[proposal]}",), report
    assert PROPOSALS[proposal] == {
        (1, 2): "x + step score + sqrt(2 step) z", (0.5, 1): "x + step/2 score + sqrt(step) z", (1, 1): "x + step score + sqrt(step) z",
        (0.5, 2): "x + step/2 score + sqrt(2 step) z", (0, 2): "x + sqrt(2 step) z", (0, 1): "x + sqrt(step) z",
    }[proposal]  # fmt: skip


def test_a_wrong_rule_is_named_with_its_distance_and_what_would_have_been_noticed():
    report = judged(RULES[2], (1.0, 2.0), 1600)
    assert report.verdict == "FAIL" and report.resolution == 5 / 40
    assert report.diagnosis == (
        "not adjusted: every proposal is accepted (the acceptance step is missing, its result is not used, its ratio is never below 1?); the proposal is x + step score + sqrt(2 step) z"
    )
    assert report.pattern.startswith("1600 chains from each of 4 starts move as by this rule, largest |z| = ")
    assert (
        report.pattern.endswith(", and as by no right one") and float(report.pattern.split("= ")[1].split(",")[0]) <= 5
    )


def test_a_rule_of_no_table_is_none():
    other = Rule("", "", lambda p: 0.6 * np.exp(np.minimum(p.ratio, 0)))
    assert judged(other, (1.0, 2.0), 3000) is None
    assert judged(RULES[0], (0.2, 3.0), 3000) is None


def test_moves_are_counted_in_eight_classes_of_the_ratio_as_full_as_each_other(monkeypatch):
    from numpyscore.check import acceptance

    seen = []
    spied = lambda x, y, ratio, edges: seen.append((ratio, edges)) or _features(x, y, ratio, edges)
    monkeypatch.setattr(acceptance, "_features", spied)
    assert judged(RULES[0], (1.0, 2.0), 800)
    classed = [(ratio, edges) for ratio, edges in seen if len(edges)]
    # what was seen and what would be, from four starts on the right proposal, and from one at least on each of the other five
    assert 2 * (4 + 5) <= len(classed) == len(seen) <= 2 * 4 * 6
    for ratio, edges in classed[1::2]:
        assert np.bincount(np.digitize(ratio, edges)).tolist() == [100] * 8
    chain = Moves(first(0.5), lambda x, seed: x + 1e-12)
    seen.clear()
    decided(partial(CheckReport, "check_sampler", summary=""), chain, 1e-24, 80, np.random.default_rng(0))
    assert seen and all(len(edges) == 0 for _, edges in seen)  # ratios that are all the same have no classes


def test_rules_between_which_the_moves_do_not_decide_are_told_in_the_order_of_the_table():
    """Half of log p beside a symmetric proposal: of the ratio too, and of a temperature."""
    report = judged(Rule("", "", lambda p: np.exp(np.minimum(p.target / 2 + p.proposal(), 0))), (0.0, 2.0), 1500)
    assert report.verdict == "FAIL"
    keys = [text.split(":")[0] for text in report.diagnosis.split(" -- or -- ")]
    order = [rule.key for rule in RULES]
    assert [order.index(key) for key in keys] == sorted(order.index(key) for key in keys) and len(keys) > 1, report


def test_chains_that_move_together_in_one_coordinate_are_all_or_none():
    along = lambda x, tau, seed, of: x + (seed % 2) * np.eye(x.shape[1])[0]
    apart = lambda x, tau, seed, of: x + ((seed + np.arange(len(x))) % 2)[:, None] * np.eye(x.shape[1])[0]
    start = np.array([0.3, -0.2])
    assert _all_or_none(along, TAU, start, 1, GAUSSIAN) and _all_or_none(along, TAU, start, 0, GAUSSIAN)
    assert not _all_or_none(along, TAU, start, 0.5, GAUSSIAN) and not _all_or_none(apart, TAU, start, 1, GAUSSIAN)
    assert not _all_or_none(lambda x, tau, seed, of: x + 1, TAU, start, 1, GAUSSIAN)
