"""Questions for every loss, and what is left of one that nothing explains, for losses that are functions of what they are asked with."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import loss as questions
from numpyscore.check.losses import patterns
from numpyscore.check.losses.identify import Probe, random_probe
from numpyscore.check.losses.names import Naming
from numpyscore.check.losses.trials import Trial

X = 3 + 2 * np.random.default_rng(0).standard_normal((5, 3))


class Setting(SimpleNamespace):
    def _replace(self, **changes):
        return Setting(**{**vars(self), **changes})


def setting_of(**more):
    return Setting(**({"x": X, "n": 5, "d": 3, "seed": 1, "extras": {"level": np.arange(5)}} | more))


class Loss:
    """`values` of a loss that is a function of the scale of its probe (A[0, 0]), the number of the call, and the setting."""

    def __init__(self, of, objective="implicit", kind="numpy", eps=2.2e-16):
        self.of, self.objective, self.kind, self.eps, self.settings, self.calls = of, objective, kind, eps, [], 0

    def ask(self, probe, setting):
        return SimpleNamespace(value=float(self.values([probe], setting)[0]), told=None, points=setting.x)

    def values(self, probes, setting):
        self.settings.append(setting)
        out = [self.of(p.A[0, 0], self.calls + k, setting) for k, p in enumerate(probes)]
        self.calls += len(probes)
        return np.array(out)


def standardised(x):
    return np.allclose(x.mean(0), 0, atol=1e-12) and np.allclose(x.std(0), 1)


def test_the_minimum_and_the_parabola_are_those_on_standardised_data():
    parabola = lambda a, k, s: 3 * (a - 0.25) ** 2 + 1
    loss = Loss(parabola)
    assert patterns.minimiser(loss, "energy", setting_of(), np.random.default_rng(1)) == pytest.approx(0.25)
    assert standardised(loss.settings[0].x) and loss.settings[0].x.shape == (5, 3)
    for objective, own in (("implicit", False), ("generalised", True)):
        loss = Loss(parabola, objective)
        assert patterns.bent(loss, "score", setting_of(), np.random.default_rng(1)) is None
        assert (loss.settings[0].x is X) == own and standardised(loss.settings[0].x) != own


@pytest.mark.parametrize("eps, size", [(1e-9, 1.0), (1e-17, 1.0), (1e-9, 50.0)])
def test_a_parabola_is_one_within_rounding(eps, size):
    scales = patterns.SCALES
    even = size * (scales**2 + 2)
    wave = np.cos(5 * scales)
    left = np.abs(wave - np.polyval(np.polyfit(scales, wave, 2), scales)).max()
    room = lambda by: 1e5 * eps * np.abs(even + by * wave).max() + 1e-9 * np.ptp(even + by * wave)

    def said(part):
        by = part * room(0) / left
        by = part * room(by) / left
        table = dict(zip(scales, even + by * wave, strict=True))
        loss = Loss(lambda a, k, s: table[a], eps=eps)
        return patterns.bent(loss, "energy", setting_of(), np.random.default_rng(1))

    assert said(0.98) is None and said(1.02).verdict == "FAIL"


def asked_again(of, kind="numpy", eps=2.2e-16):
    loss = Loss(of, kind=kind, eps=eps)
    loss.takes = {}
    return questions.again(loss, "energy", setting_of(), np.random.default_rng(1)), loss.settings


def test_the_same_call_is_made_around_another():
    same, settings = asked_again(lambda a, k, s: a)
    assert same is None and [s.seed for s in settings] == [1, 2, 1]
    assert [s.seed for s in asked_again(lambda a, k, s: a, "jax")[1]] == [1, 1, 1]
    for grows in (
        lambda a, k, s: k // 2,
        lambda a, k, s: -(k // 2),
        lambda a, k, s: 10 * ((k + 1) // 2),
        lambda a, k, s: 0.01 * k,
    ):
        assert asked_again(grows)[0].diagnosis.startswith("state: ")
    assert asked_again(lambda a, k, s: 0.1 * np.sin(3 * k))[0].diagnosis.startswith("hidden randomness: ")
    comes_to_rest = lambda a, k, s: (-0.7) ** k
    restless = lambda a, k, s: (-0.8) ** k
    assert asked_again(comes_to_rest)[0].diagnosis.startswith("state: ")
    assert asked_again(restless)[0].diagnosis.startswith("hidden randomness: ")
    near = lambda by: asked_again(lambda a, k, s: 5.0 + 5 * by * (k == 2) + 5 * by * (k > 2) * (k % 2), eps=1e-9)[0]
    assert near(0.98e-6) is None and near(1.02e-6) is not None
    low = lambda by: asked_again(lambda a, k, s: -5.0 - 5 * by * (k == 2), eps=1e-9)[0]
    assert low(0.98e-6) is None and low(1.02e-6) is not None
    assert (
        asked_again(lambda a, k, s: np.inf)[0] is None
        and asked_again(lambda a, k, s: np.inf if k == 2 else 1.0)[0] is None
    )


# ------------------------------------------------------------------------------- what no arrays explain


def table_of(values=None, d=3, P=6, seed=0, **more):
    rng = np.random.default_rng(seed)
    probes = [random_probe("energy", d, rng) for _ in range(P)]
    x = X if d == 3 else np.ones((5, d))
    trial = Trial(setting_of(x=x, d=d), x, None)
    return SimpleNamespace(
        probes=probes,
        values=np.arange(1.0, P + 1) if values is None else np.asarray(values, float),
        trial=trial,
        **more,
    )


def test_rules_for_what_is_left_are_asked_in_order(monkeypatch):
    names, asked = [rule.__name__ for rule in patterns.LEFT], []
    assert names == [
        "_clamped",
        "_round_off",
        "_function_of_right",
        "_first_power",
        "_pieces",
        "_rows_together",
        "_function_of_each",
        "_away",
    ]
    named = Naming("FAIL", "named", "")

    def say(which=None, power=None, d=3):
        asked.clear()
        rule = lambda name: lambda *args: asked.append(name) or (named if name == which else None)
        monkeypatch.setattr(patterns, "LEFT", tuple(rule(name) for name in names))
        monkeypatch.setattr(patterns, "_power", lambda *args, **options: power)
        return patterns.unexplained(Loss(None), "energy", table_of(d=d), "right", 0.125, None)

    for k, name in enumerate(names):
        assert say(name) == (named, 1) and asked == names[: k + 1]
    powered = Naming("FAIL", "power", "")
    assert say(power=powered) == (powered, 0)
    last, sense = say()
    assert (
        sense == 0
        and last.verdict == "FAIL"
        and last.pattern == "off by 0.12"
        and last.diagnosis.endswith("row by row?)")
    )
    assert last.diagnosis.startswith(
        "unknown term: no combination of the terms known here is your loss; the trace and the square leave 0.12 of it unexplained (is it quadratic"
    )
    assert say(d=8)[0].diagnosis == last.diagnosis and say(d=9)[0].diagnosis.endswith(
        "with a smaller shape=, such as (1, 2, 4), products of different entries are looked at as well"
    )


def test_clamped_losses_stand_still(monkeypatch):
    for said, named in (
        (None, False),
        (Naming("FAIL", "bent: it stands still at 1", ""), True),
        (Naming("FAIL", "bent", ""), False),
    ):
        monkeypatch.setattr(patterns, "bent", lambda *args, said=said: said)
        assert (patterns._clamped(None, "energy", table_of(), None, 0.1, None) is not None) == named


def test_round_off_moves_a_loss_at_once():
    """x by a unit in its last place, the first four probes."""

    def said(change, left, eps=1e-12):
        seen = []

        def values(probes, setting):
            seen.append((len(probes), setting.x))
            return np.array([1.0, 2, 3, 4]) + change * 4 * np.array([0, 1, 0, 0])

        table = table_of([1, 2, 3, 4, 50, 60])
        out = patterns._round_off(SimpleNamespace(values=values, eps=eps), "energy", table, None, left, None)
        assert seen[0][0] == 4
        np.testing.assert_allclose(seen[0][1], X * (1 + 2 * eps), rtol=1e-15)
        return out

    named = said(0.02, 1.0)
    assert named.verdict == "FAIL" and named.pattern == "1 of it is unexplained"
    assert (
        named.diagnosis
        == "round-off: moving x by a unit in its last place changes the loss by 2e-02 of it (differences of its own with too small a step, which cancel, or numbers that are drawn from the data?)"
    )
    assert said(0.0102, 1.0) is not None and said(0.0098, 1.0) is None  # a hundredth of what is left
    assert said(1.02e-8, 1e-7) is not None and said(0.98e-8, 1e-7) is None and said(-0.02, 1.0) is not None


def test_monotone_functions_of_the_right_loss(monkeypatch):
    right = np.array([3.0, 1, 2, 5, 4, 6, 99.0])
    asked = []

    def say(values, right=right, equal=True):
        terms = None if right is None else {"square": right - 7, "trace": 0 * right + 7}
        monkeypatch.setattr(
            patterns, "_equal_where_right_is", lambda caller, table, terms: asked.append(terms) or equal
        )
        return patterns._function_of_right(None, "energy", table_of(values), terms, 0.1, None)

    assert say(np.exp(right[:6])).diagnosis.startswith(
        "function of the loss: your loss is a function of the right one (a logarithm"
    )
    assert [list(terms) for terms in asked] == [["square", "trace"]]
    assert (
        say(-right[:6]).pattern == "monotone in the reference"
        and say(np.exp(right[:6]), equal=False) is None
        and say(np.sin(right[:6])) is None
        and say(np.exp(right[:6]), None) is None
    )
    ties = np.minimum(right[:6], 4)
    assert (
        say(ties) is not None
        and say(-ties) is not None
        and say(np.where(right[:6] == 3, 2.5, np.where(right[:6] == 2, 2.6, right[:6]))) is None
    )


def test_a_function_of_the_right_loss_is_equal_where_that_is():
    """Pairs of models, scaled to have the same right loss: another loss in the same order has two values for them."""
    table, asked = table_of(P=8), []
    square = lambda p: 0.5 * np.sum(p.score(X) ** 2)
    trace = lambda p: np.sum(p.trace(X))
    terms = {patterns.SQUARE: np.array([square(p) for p in table.probes]), "trace": np.array([trace(p) for p in table.probes])}  # fmt: skip

    def equal(of):
        def values(probes, setting):
            asked.append([square(p) + trace(p) for p in probes])
            return np.array([of(square(p), trace(p)) for p in probes])

        return patterns._equal_where_right_is(SimpleNamespace(values=values), table, terms)

    for of in (lambda s, t: s + t, lambda s, t: np.log1p((s + t + 1e4) / 1e4), lambda s, t: np.cosh((s + t) / 1e3)):
        assert equal(of)
    first = np.reshape(asked[0], (-1, 2))
    assert len(first) >= 4
    np.testing.assert_allclose(first[:, 0], first[:, 1], rtol=1e-9)
    near = lambda by: equal(lambda s, t: s + t + by * t)
    assert near(1e-9) and not near(1e-3)
    assert not equal(lambda s, t: np.minimum(s, 20.0) + t) and not equal(lambda s, t: s + 1.01 * t)


def each(of, objective="implicit"):
    """What is said of a loss that is a function of the right one at equal rows."""
    asked = []

    def values(probes, setting):
        asked.append((len(probes), setting.x))
        right = [0.5 * np.sum(p.score(setting.x[:1]) ** 2) + p.trace(setting.x[:1])[0] for p in probes]
        return np.array([of(v) for v in right])

    table = SimpleNamespace(trial=SimpleNamespace(setting=setting_of()))
    caller = SimpleNamespace(objective=objective, values=values, eps=2.2e-16)
    out = patterns._function_of_each(caller, "score", table, None, 0.1, np.random.default_rng(4))
    if asked:
        assert asked[0][0] == 40 and asked[0][1].shape == (5, 3) and np.ptp(asked[0][1], axis=0).max() == 0
        np.testing.assert_array_equal(asked[0][1][0], X[0])
    return out


def test_functions_of_the_loss_of_each_row_are_seen_at_equal_rows():
    named = each(lambda v: np.logaddexp(0, v / 100))
    assert (
        named.verdict == "FAIL"
        and named.pattern == "of equal rows, monotone in the reference"
        and "a function of the right one of each sample" in named.diagnosis
    )
    assert (
        each(lambda v: 3 * v - 2) is None
        and each(np.cos) is None
        and each(lambda v: np.logaddexp(0, v / 100), "sliced") is None
    )
    rights = []
    each(lambda v: rights.append(v) or v)
    r = np.array(rights)
    cube = ((r - r.mean()) / np.ptp(r)) ** 3
    fit = lambda y: np.abs(y - np.polyval(np.polyfit(r, y, 1), r)).max() / np.ptp(r)
    by = 1e-6 / fit(cube)  # bent by a millionth of the range
    bent = lambda part: each(lambda v: v + part * by * ((v - r.mean()) / np.ptp(r)) ** 3)
    assert bent(0.98) is None and bent(1.02) is not None


def test_a_loss_of_pieces_is_a_square_nearby(monkeypatch):
    asked, own = [], np.ones((4, 3, 3))
    table = SimpleNamespace(near=lambda size: ("near", size))

    def say(*exact, own=own, whole=4.0, anywhere=(False, False), left=1e-3):
        rows = [*anywhere, *exact]
        asked.clear()

        def identify(near, jacobian):
            asked.append((near, jacobian))
            return SimpleNamespace(fit=SimpleNamespace(exact=rows.pop(0), residual=left), own=own)

        monkeypatch.setattr(patterns, "identify", identify)
        monkeypatch.setattr(patterns, "_added", lambda *args: (np.ones((4, 2)), whole, 0.1))
        return patterns._pieces(None, "energy", table, None, 0.1, None)

    whole = [(table, False), (table, True)]
    assert say(True).diagnosis == patterns.KINKS and asked == [*whole, (("near", 1e-3), False)]
    assert say(False, True).pattern == "a square for models near each other, none for all"
    assert asked == [*whole, (("near", 1e-3), False), (("near", 1e-3), True)]
    assert say(False, False) is None and say(False, False, left=2e-11) is None
    assert say(False, left=0.5e-11).diagnosis == patterns.KINKS  # all but round-off
    for anywhere in ((True,), (False, True)):  # a square for all has no kinks
        assert say(True, anywhere=anywhere) is None and asked == whole[: len(anywhere)]
    assert say(True, whole=np.array([4.0, 4.2])).diagnosis == patterns.PIECES  # together another number
    some = lambda k: own * (np.arange(4) >= k)[:, None, None]  # of the points the first k do not count
    assert say(True, own=some(1)).diagnosis == patterns.KINKS and say(True, own=some(2)).diagnosis == patterns.PIECES


def test_rows_interact_where_together_they_add_another_number_than_one_by_one():
    def together(of, eps=2.2e-16):
        """Of a loss that is a function of the sums of the rows (5,), and of the probe."""
        values = lambda probes, setting: np.array([of(setting.x.sum(1)) for _ in probes])
        caller = SimpleNamespace(values=values, eps=eps)
        added, whole, allowed = patterns._added(caller, table_of(), np.random.default_rng(5))
        rule = patterns._rows_together(caller, "energy", table_of(), None, 0.25, np.random.default_rng(5))
        apart = bool(np.abs(whole - added.sum(0)).max() > allowed)
        assert added.shape == (5, 6) and (rule is not None) == apart
        return apart

    assert not together(lambda r: np.mean(r**4)) and not together(lambda r: np.mean(np.clip(r, -1, 1)))
    for of in (np.median, np.max, np.std, lambda r: np.mean(r) ** 2, lambda r: r[-1] * r[-2]):
        assert together(of), of
    small = lambda by: together(lambda r: np.mean(r) + by * r[0] * r[1])  # of what the first row adds
    assert not small(1e-8) and small(1e-5) and not together(lambda r: 1e7 + np.mean(r**2), eps=1e-12)


def test_points_elsewhere_are_told(monkeypatch):
    def say(points, objective="implicit", trouble="", alone=False):
        """What is said of a loss that nothing explains; `alone`: that is asked at no data at all, before any other name."""
        monkeypatch.setattr(patterns, "as_asked", lambda *args: SimpleNamespace(points=points, trouble=trouble))
        caller = SimpleNamespace(objective=objective)
        if alone:
            return patterns.elsewhere(caller, "energy", setting_of(), None)
        return patterns._away(caller, "energy", table_of(), None, 0.1, None)

    moved = say(X + 1)
    assert moved.verdict == "FAIL" and moved.diagnosis.startswith(
        "other points: fn is asked at points that are not the data, where the implicit loss is taken at x alone"
    )
    assert moved.pattern == f"asked at {np.array2string(X[-1] + 1, precision=3)}" and say(X + 1, alone=True) == moved
    more = np.concatenate([X, X[:1] + 0.5])  # differences of its own
    assert say(X) is None and say(X[[2, 0]]) is None and say(more) is not None
    assert say(X, alone=True) is None and say(more, alone=True) is None
    one = lambda by: say(X + by * np.eye(5, 3)[::-1])
    assert one(0.98e-6) is None and one(1.02e-6) is not None
    all_ = lambda by, last=0.0: say(X + np.where(np.arange(5) < 4, by, by + last)[:, None], alone=True)
    assert all_(0.98e-6) is None and all_(1.02e-6) is not None and all_(1.02e-6, -1.02e-6) is None
    for alone in (False, True):
        assert say(X + 1, "finite_difference_sliced", alone=alone) is None
        assert say(X + 1, trouble="unseen", alone=alone) is None
    for objective in ("denoising", "multilevel_denoising"):
        assert say(X + 1, objective) is None


def test_powers_are_those_of_very_large_models():
    probe = random_probe("energy", 3, np.random.default_rng(0))
    table, asked = SimpleNamespace(probes=[probe], trial=SimpleNamespace(setting=setting_of())), []

    def say(of, only=None):
        def values(probes, setting):
            asked.append([p.b[0] / probe.b[0] for p in probes])
            return np.array([of(p.b[0] / probe.b[0]) for p in probes])

        options = {} if only is None else {"only": only}
        return patterns._power(SimpleNamespace(values=values), "energy", table, None, 0.25, None, **options)

    assert say(lambda s: s * s + 7) is None
    np.testing.assert_allclose(asked[0], [0, 1e3, -1e3, 1e6, -1e6, 1e9, -1e9])
    assert say(lambda s: abs(s) ** 1.96) is None and say(lambda s: abs(s) ** 1.94) is not None
    assert say(lambda s: abs(s) ** 2.04) is None and say(lambda s: abs(s) ** 2.06) is not None
    assert (
        say(lambda s: abs(s) ** 1.04).diagnosis
        == "not a square: for large scores what should be the square grows with the power 1 of the score (a norm, an absolute error, a Huber error?)"
        and say(lambda s: abs(s) ** 1.06).diagnosis
        == "not a square: for large scores what should be the square grows with the power 1.1 of the score"
    )
    assert (
        say(lambda s: abs(s) ** 0.04).diagnosis.startswith(
            "not a square: for large scores what should be the square grows with the power 0.04 of the score: it stands still (clipped,"
        )
        and say(lambda s: abs(s) ** 0.06).diagnosis
        == "not a square: for large scores what should be the square grows with the power 0.06 of the score"
    )
    assert say(lambda s: max(s, 0.0)).diagnosis.startswith(
        "not a square: for large scores what should be the square grows with the power 1 of the score"
    )
    assert say(lambda s: 7 + 3 * s).diagnosis.startswith(  # there is nothing but the linear term
        "not a square: for large scores your loss grows with the power 1 of the score"
    )
    assert say(lambda s: 7 + 3 * s + s * s) is None
    assert say(lambda s: min(s * s, 50.0) + 0.5 * s).diagnosis.startswith(  # which the linear term says nothing of
        "not a square: for large scores what should be the square grows with the power 0 of the score: it stands still"
    )
    assert (
        say(lambda s: 7 + max(-s, 0.0)) is not None
        and say(lambda s: abs(s) ** 1.06, (0.5, 1.0)) is None
        and say(lambda s: abs(s) ** 1.04, (0.5, 1.0)) is not None
    )
    assert (
        say(lambda s: 5.0).diagnosis.startswith("not a square: for large scores your loss grows with the power 0 of")
        and say(lambda s: np.nan) is None
    )
    first = lambda of: patterns._first_power(
        SimpleNamespace(values=lambda probes, s: np.array([of(p.b[0] / probe.b[0]) for p in probes])),
        "energy",
        table,
        None,
        0.25,
        None,
    )
    assert first(abs) is not None and first(lambda s: abs(s) ** 1.5) is None and first(lambda s: 5.0) is not None
    assert isinstance(Probe.isotropic("score", 2, 1.0), Probe)
