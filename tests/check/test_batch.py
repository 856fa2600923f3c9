"""One batch of many rows, on made arrays: how it is asked for, what is solved in it, and the rules that look at several batches."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import levels
from numpyscore.check.losses.denoising import Read
from numpyscore.check.losses.hearing import Draw
from numpyscore.check.losses.levels import (
    ROWS,
    Batch,
    along,
    averaged,
    by_moving_time,
    coarse_note,
    forgotten,
    of_many_rows,
    weighted_by_what_is_behind,
    widened,
    with_values,
)
from numpyscore.check.losses.names import Level
from numpyscore.check.losses.trials import Trial

LEVEL = np.linspace(0.1, 1.4, 40)
SIGMAS = np.array([0.9, 0.5, 0.3])


class Setting(SimpleNamespace):
    def _replace(self, **changes):
        return Setting(**{**vars(self), **changes})


def setting_of(**more):
    made = {"n": 6, "d": 3, "m": 1, "seed": 5, "levels": 3, "level": 0.5, "x": np.zeros((6, 3))}
    extras = {"noise": np.zeros((6, 3)), "sigmas": SIGMAS, "level": np.arange(6) % 3}
    return Setting(**(made | {"extras": extras} | more))


def caller_of(takes=(), eps=1e-16, schedule=None, **more):
    known = {"levels": schedule, "predicts": None, "kernel": None, "score_of": None}
    return SimpleNamespace(**({"takes": dict.fromkeys(takes, 0), "eps": eps, "known": known, "column": 0} | more))


# ------------------------------------------------------------------------------- how many rows are asked for


def asked(monkeypatch, caller, setting, seed=0):
    """The setting that a loss is called with in place of this one."""
    seen = []
    monkeypatch.setattr(levels, "noisy", lambda caller, kind, s, rng: seen.append((kind, s)) or "trial")
    assert widened(caller, "score", setting, np.random.default_rng(seed)) == "trial"
    ((kind, out),) = seen
    assert kind == "score" and out.seed == 5 and out.d == 3 and out.levels == setting.levels
    return out


def test_a_batch_has_forty_rows_and_all_else_as_it_is(monkeypatch):
    out = asked(monkeypatch, caller_of(), setting_of())
    assert out.n == ROWS == 40 and out.x.shape == (40, 3) and out.extras["noise"].shape == (40, 3)
    assert abs(out.x.mean() - 0.3) < 0.35 and abs(out.x.std() - 1.2) < 0.25 and abs(out.extras["noise"].std() - 1) < 0.2
    assert np.bincount(out.extras["level"]).tolist() == [14, 13, 13] and np.any(np.diff(out.extras["level"]) < 0)
    assert out.level == 0.5 and out.extras["sigmas"] is SIGMAS
    several = setting_of(extras={"noise": np.zeros((3, 6, 3)), "sigmas": SIGMAS, "level": np.arange(6) % 3})
    assert asked(monkeypatch, caller_of(), several).extras["noise"].shape == (3, 40, 3)


def test_a_batch_has_a_level_for_each_row_where_one_is_handed(monkeypatch):
    of = lambda takes, schedule=None, seed=0: asked(monkeypatch, caller_of(takes, schedule=schedule), setting_of(level=np.full(6, 0.5)), seed)  # fmt: skip
    for takes in (["sigmas"], ["alphas"], ["level"]):
        out = of(takes)
        np.testing.assert_array_equal(out.level, SIGMAS[out.extras["level"]])
    drawn = of(["t"]).level
    assert drawn.shape == (40,) and 0.05 <= drawn.min() < 0.15 and 0.85 < drawn.max() <= 0.95
    times = np.linspace(0.1, 2.0, 100)
    handed = of(["t"], times).level
    assert (
        handed[:4].tolist() == [times[0], times[1], times[-2], times[-1]]
        and np.isin(handed, times).all()
        and len(handed) == 40
    )
    table = np.stack([np.linspace(1, 0.1, 100), np.linspace(0, 1, 100)], axis=1)
    steps = of(["t"], table).level
    assert steps[:4].tolist() == [0, 1, 98, 99] and steps.dtype.kind == "i" and len(set(steps.tolist())) > 20
    ends = np.concatenate([of(["t"], table[:3], seed).level for seed in range(3)])
    assert ends[:4].tolist() == [0, 1, 1, 2] and set(ends.tolist()) == {0, 1, 2}
    assert of(["t"], table[:1]).level.tolist() == [0] * 40


def trial_of(sigma, c=None, told=None, trouble="", beside=None, level=0.5, draws=(), n=None, **more):
    """A `Trial` of points with these levels, one for each row."""
    M = len(sigma)
    rng = np.random.default_rng(3)
    x, eps = rng.standard_normal((2, M, 3))
    c = np.sqrt(1 - sigma**2) if c is None else c + np.zeros(M)
    beside = told[:, None] if beside is None and told is not None else beside
    setting = setting_of(n=n or M, x=x, level=level)
    source = np.stack([np.zeros(M, int), np.arange(M)], axis=1)
    points = c[:, None] * x + sigma[:, None] * eps
    return Trial(
        setting, points, told, draws, np.arange(M), c, sigma, eps, source, trouble=trouble, beside=beside, **more
    )


def batch_of(monkeypatch, trial, takes=(), eps=1e-16, like=None, schedule=None, column=0):
    monkeypatch.setattr(levels, "widened", lambda *args: trial)
    like = like or Trial(setting_of(), None, None)
    return of_many_rows(caller_of(takes, eps, schedule, column=column), "score", like, np.random.default_rng(0))


SIGMA = np.linspace(0.1, 0.9, 40)


def test_a_batch_is_known_by_its_noisy_points(monkeypatch):
    told = SIGMA**2
    out = batch_of(monkeypatch, trial_of(SIGMA, told=told))
    np.testing.assert_allclose(out.level, np.arctan2(SIGMA, np.sqrt(1 - SIGMA**2)), rtol=1e-12)
    assert out.told is not None and np.array_equal(out.told, told) and out.given is None and out.exact and out.varied
    assert len(out.clean.points) == 0 and out.w is None
    assert batch_of(monkeypatch, trial_of(SIGMA, trouble="not scaled")) is None
    assert batch_of(monkeypatch, trial_of(0 * SIGMA, c=1.0)) is None
    assert not batch_of(monkeypatch, trial_of(SIGMA), eps=1e-10).exact
    assert not batch_of(monkeypatch, trial_of(0.5 + 1e-7 * SIGMA, c=1.0)).varied
    some = batch_of(monkeypatch, trial_of(np.where(np.arange(40) < 3, 0.0, SIGMA), told=told))
    assert len(some.clean.points) == 3 and len(some.level) == 37 and some.clean.told.tolist() == told[:3].tolist()
    assert np.array_equal(some.told, told[3:])


def test_a_batch_is_handed_its_levels_or_is_told_them(monkeypatch):
    trial = trial_of(SIGMA, level=SIGMA)._replace(row=np.arange(40)[::-1].copy())
    for takes, handed in ((["t"], True), (["level"], True), (["sigma"], True), (["alpha"], True), (["noise"], False), ([], False)):  # fmt: skip
        given = batch_of(monkeypatch, trial, takes).given
        assert (given is not None) == handed and (not handed or np.array_equal(given, SIGMA[::-1]))
    assert batch_of(monkeypatch, trial_of(SIGMA, level=0.5), ["t"]).given is None
    label, other = np.random.default_rng(0).permutation(40) * 1.0, np.random.default_rng(1).permutation(40) * 1.0
    of = lambda *columns: batch_of(monkeypatch, trial_of(SIGMA, told=columns[0], beside=np.stack(columns, axis=1))).told
    assert np.array_equal(of(label, SIGMA), SIGMA)  # the one that goes with the level
    assert np.array_equal(of(np.full(40, 2.0), label, other), label)  # else the first that is no constant
    assert np.array_equal(of(np.full(40, 2.0), np.full(40, 3.0)), np.full(40, 2.0))  # else what is told first
    assert np.array_equal(of(np.full(40, 2.0), label, SIGMA), SIGMA)
    untold = lambda *columns: batch_of(monkeypatch, trial_of(SIGMA, beside=np.stack(columns, axis=1)), column=None).told
    assert untold(label, other) is None  # where none of them was the level before, none is unless it goes with it
    assert np.array_equal(untold(label, SIGMA), SIGMA)


def test_data_of_a_batch_are_mapped_as_before(monkeypatch):
    like = Trial(setting_of(), None, None, scale=2.0)
    out = batch_of(monkeypatch, trial_of(SIGMA, c=1.5), like=like)
    assert np.all(out.trial.c == 0.75) and out.trial.scale == 2.0
    np.testing.assert_allclose(out.level, np.arctan2(SIGMA, 0.75), rtol=1e-12)
    draws = (Draw("normal", np.ones((40, 3))), Draw("normal", 2 * np.ones((40, 3))))
    apart = batch_of(monkeypatch, trial_of(SIGMA, draws=draws), like=like._replace(apart_of=(1, 0)))
    assert np.all(apart.trial.apart == 2) and apart.trial.apart_of == (1, 0)
    first = trial_of(SIGMA, draws=draws)._replace(source=np.ones((40, 2), int))
    assert np.all(batch_of(monkeypatch, first, like=like._replace(apart_of=(0, 0))).trial.apart == 1)
    assert batch_of(monkeypatch, first, like=like).trial.apart is None  # none was found before
    assert (
        batch_of(monkeypatch, trial_of(SIGMA, draws=draws), like=like._replace(apart_of=(0, 0))).trial.apart is None
    )  # it is used


def test_noise_that_is_turned_is_solved_in_a_batch(monkeypatch):
    """A mixture that is a rotation is noise like any other; one that is not is correlated."""
    rng = np.random.default_rng(0)
    r, x = rng.standard_normal((2, 40, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))

    def solved(B):
        points = x + SIGMA[:, None] * (r @ B)
        setting = setting_of(n=40, x=x)
        trial = Trial(setting, points, None, (Draw("normal", r),), np.arange(40), np.ones(40), trouble="not heard")
        return batch_of(monkeypatch, trial)

    found = solved(turn)
    np.testing.assert_allclose(found.trial.sigma, SIGMA, rtol=1e-9)
    np.testing.assert_allclose(found.trial.eps, r @ turn, rtol=0, atol=1e-9)
    skew = lambda by: turn @ (np.eye(3) + np.array([[0, by, 0], [by, 0, 0], [0, 0, 0]]) / 2)
    assert solved(skew(0.9e-6)) is not None and solved(skew(1.1e-6)) is None


# ------------------------------------------------------------------------------- w, p and q of its points


class Loss:
    """mean of w/2 |s|^2 - w (p eps + q x) . s + noise, of the scores at the points of a trial, and at its clean ones."""

    eps = 2.2e-16

    def __init__(self, trial, w, p, q, apart=0.0, clean=None, variate=0.0, extra=None):
        self.trial, self.clean, self.variate, self.extra = trial, clean, variate, extra
        self.w, target = w, p[:, None] * trial.eps + q[:, None] * trial.data[trial.row]
        self.target = target + (0 if trial.apart is None else apart * trial.apart)

    def values(self, probes, setting):
        out = []
        for probe in probes:
            s = probe.score(self.trial.points)
            value = np.mean(self.w * (0.5 * np.sum(s**2, axis=1) - np.sum(s * self.target, axis=1)))
            if self.variate:
                rows = [int(np.flatnonzero(self.trial.row == i)[0]) for i in self.clean.row]
                value += self.variate * np.sum(probe.score(self.clean.points) * self.trial.eps[rows])
            value += 0 if self.extra is None else self.extra(s)
            out.append(value)
        return np.array(out)


def valued(M=12, clean=None, normals=None, offset=None, **more):
    rng = np.random.default_rng(5)
    w, p, q = rng.uniform(0.5, 2, M), rng.standard_normal(M), rng.standard_normal(M)
    trial = trial_of(np.linspace(0.2, 0.9, M))._replace(apart=normals, offset=offset)
    trial = trial._replace(setting=trial.setting._replace(d=3))
    clean = trial.only(np.zeros(M, bool)) if clean is None else clean(trial)
    loss = Loss(trial, more.pop("w", w), p, q, clean=clean, **more)
    batch = Batch(trial, None, None, np.arctan2(trial.sigma, trial.c), True, clean=clean)
    asked = []
    values = loss.values
    loss.values = lambda probes, setting: asked.append(len(probes)) or values(probes, setting)
    return with_values(loss, "score", batch, np.random.default_rng(1)), batch, (loss.w, p, q), sum(asked)


def test_weights_and_targets_of_every_point_are_solved():
    """Twelve points have 36 unknowns, with equations of condition 1e3."""
    found, _, (w, p, q), calls = valued()
    for mine, right in ((found.w, w), (found.p, p), (found.q, q)):
        np.testing.assert_allclose(mine, right, rtol=1e-7)
    assert calls == 4 * 12 + 1 + 8 and found.close == 1e-6
    apart = np.random.default_rng(6).standard_normal((12, 3))
    beside, _, (w, p, q), _ = valued(normals=apart, apart=0.7)
    for mine, right in ((beside.w, w), (beside.p, p), (beside.q, q)):
        np.testing.assert_allclose(mine, right, rtol=1e-6)
    mapped, _, (w, p, q), _ = valued(offset=np.full(3, -0.5))
    np.testing.assert_allclose(mapped.q, q, rtol=1e-6)


def test_what_clean_points_say_may_stand_beside():
    clean = lambda trial: trial.only(np.arange(12) < 2)._replace(points=trial.data[:2])
    found, _, (w, p, q), calls = valued(clean=clean, variate=0.3)
    for mine, right in ((found.w, w), (found.p, p), (found.q, q)):
        np.testing.assert_allclose(mine, right, rtol=1e-6)
    assert calls == 4 * 12 + 2 * 2 + 1 + 8
    without, batch, _, _ = valued(
        clean=lambda trial: trial.only(np.zeros(12, bool)), extra=lambda s: 0.01 * np.abs(s).sum()
    )
    assert without is batch  # not of that form


def test_a_batch_without_weights_or_of_too_many_points_stays_as_it_was():
    none, batch, _, _ = valued(w=np.zeros(12), extra=lambda s: s.sum())
    assert none is batch
    lost, _, (_, p, _), _ = valued(w=np.where(np.arange(12) == 3, 0.0, 1.0))
    assert np.abs(lost.w[3]) < 1e-9 and np.allclose(np.delete(lost.p, 3), np.delete(p, 3), rtol=1e-6)
    off, _, _, _ = valued(extra=lambda s: 3e-7 * np.abs(s).sum())
    assert off.w is not None and off.close > 1e-6  # known to what is left
    many = Batch(None, None, None, np.zeros(2 * ROWS + 1), True)
    assert with_values(None, "score", many, None) is many


@pytest.mark.parametrize("M", [2, 2 * ROWS])
def test_what_is_solved_is_weights_and_targets_within_their_doubt(monkeypatch, M):
    """-a/w and -b/w of w 1/2 |s|^2 + (a eps + b x) . s; a hundredth of a mean over M rows."""
    w, a, b = (np.resize(v, M) for v in (np.array([2.0, 0.0]), np.array([1.0, -3.0]), np.array([-5.0, 2.0])))
    doubt = np.array([np.resize(v, M) for v in ([1e-8, -4e-8], [1e-8, 2e-8], [-3e-8, 0])])
    trial, fits = trial_of(np.full(M, 0.5)), []

    def solved(w=w, a=a, b=b, doubt=doubt, near=True):
        def solve(columns, values, eps):
            fits.append(columns.shape)
            return SimpleNamespace(coefficients=np.concatenate([w, a, b, [9.0]]), doubt=np.concatenate([doubt.ravel(), [9.0]]), near=near)  # fmt: skip

        monkeypatch.setattr(levels, "solve", solve)
        answers = SimpleNamespace(S=np.ones((7, M, 3)), values=np.ones(7))
        monkeypatch.setattr(levels, "Answers", lambda *args: SimpleNamespace(grow=lambda count: answers))
        made = Batch(trial, None, None, np.ones(M), True, clean=trial.only(np.zeros(M, bool)))
        out = with_values(caller_of(), "score", made, None)
        return None if out is made else out

    found = solved()
    assert fits[0] == (7, 3 * M) and found.w.tolist() == (M * w).tolist()
    assert found.p[0] == -0.5 and found.q[0] == 2.5 and np.isinf(found.p[1]) and np.isinf(found.q[1])
    assert (
        found.close == pytest.approx(10 * (4e-8 / 2 + 3e-8 / 5), rel=1e-12)
        if found.close > 1e-6
        else found.close == 1e-6
    )
    assert solved(doubt=100 * doubt).close == pytest.approx(1000 * (4e-8 / 2 + 3e-8 / 5), rel=1e-12)
    assert solved(doubt=100 * doubt, a=4 * a).close == pytest.approx(1000 * (4e-8 / 2 + 3e-8 / 12), rel=1e-12)
    turned = solved(doubt=100 * np.stack([doubt[0], 2.5 * doubt[1], doubt[2]])).close
    assert turned == pytest.approx(1000 * (4e-8 / 2 + 5e-8 / 5), rel=1e-12)
    assert solved(near=False) is None
    for size, other in ((5.0, 0.1), (0.1, 5.0)):  # the larger of both products
        least = 1e-9 * 5.0
        none = lambda v, size=size, other=other: solved(w=v + 0 * w, a=size + 0 * a, b=other + 0 * b)
        assert none(0.98 * least) is None and none(1.02 * least) is not None


# ------------------------------------------------------------------------------- rules


def read_of(sigma, trial, w=1.0, p=None, q=0.0, levels_=None, rtol=1e-9):
    sigma, trial = np.asarray(sigma, float), np.asarray(trial)
    of = np.stack([trial, np.concatenate([np.arange(np.sum(trial == k)) for k in np.unique(trial)])], axis=1)
    none = np.zeros(len(sigma))
    made = [Level(4 + 2 * k, 3 + k, s, 1, 0.8 - 0.1 * k, 3) for k, s in zip(trial, sigma, strict=True)]
    p = -1 / sigma if p is None else p + none
    return Read(w + none, p, q + none, none, none + 1, sigma, of, levels_ or made, rtol, none)


def weighed(power, n=6, trials=2, sigma=0.5, turn=None, spread=0.0, rtol=1e-9, rolled=False):
    rng = np.random.default_rng(2)
    made, w = [], []
    for k in range(trials):
        eps = rng.standard_normal((n, 3))
        size = np.linalg.norm(eps, axis=1)
        here = np.exp(power * size) if turn is None else turn(k, size)
        w.append(here[::-1] if rolled else here)
        other = np.random.default_rng(3 + k).standard_normal((2, n, 3))
        made.append(SimpleNamespace(eps=eps, points=other[0], data=other[1], row=np.arange(n)))
    r = read_of(
        np.full(n * trials, sigma) + spread * np.arange(n * trials),
        np.repeat(np.arange(trials), n),
        np.concatenate(w),
        rtol=rtol,
    )
    return weighted_by_what_is_behind(r, made)


def test_weights_that_go_with_the_size_of_the_noise():
    grows, falls = weighed(0.3), weighed(-0.3)
    assert grows.verdict == "FAIL" and grows.pattern == "in the same order for all 12 rows of one level"
    assert grows.diagnosis.startswith("weights of the noise: the weight of a row grows with the size of its own noise;")
    assert falls.diagnosis.startswith("weights of the noise: the weight of a row falls with the size of its own noise;")
    assert weighed(0.3, trials=3).pattern == "in the same order for all 18 rows of one level"
    assert weighed(0.3, n=11, trials=1) is None and weighed(0.3, n=12, trials=1) is not None  # an accident once in 1e4
    assert weighed(0.3, spread=1e-6) is None and weighed(0.3, spread=1e-7) is not None  # of one level
    assert weighed(0, turn=lambda k, size: np.exp(0.3 * size * (1 - 2 * k))) is None  # here so, there the other way
    assert weighed(0, turn=lambda k, size: np.sin(5 * size)) is None
    some = lambda k, size: np.where(k == 0, 1.0, np.exp(0.3 * size))
    assert weighed(0, n=12, turn=some).pattern == "in the same order for all 12 rows of one level"
    assert (
        weighed(
            0,
            n=12,
            turn=lambda k, size: np.sort(size)[np.argsort(np.argsort(size))].clip(size.min(), np.sort(size)[-2]),
        )
        is None
    )
    little = lambda by, rtol=1e-9: weighed(
        0, rtol=rtol, turn=lambda k, size: 1 + by * (size - size.min()) / np.ptp(size)
    )
    assert little(0.98e-5) is None and little(1.02e-5) is not None  # what rounding may do, ten times
    assert little(0.98e-3, 1e-4) is None and little(1.02e-3, 1e-4) is not None
    assert weighed(0.3, rolled=True) is None
    for sign in (1, -1):
        mixed = lambda k, size, sign=sign: np.exp(sign * 0.3 * size) if k == 0 else np.sin(5 * size)
        assert weighed(0, n=12, turn=mixed) is None
        assert (
            weighed(0, turn=lambda k, size, sign=sign: sign * np.minimum(size, np.sort(size)[-2])) is None
        )  # two alike


def batch(level=LEVEL, told=None, given=None, w=None, p=None, q=None, close=1e-6):
    M = len(level)
    trial = Trial(
        setting_of(n=M, x=np.zeros((M, 3))),
        np.zeros((M, 3)),
        told,
        row=np.arange(M),
        c=np.cos(level),
        sigma=np.sin(level),
    )
    return Batch(trial, given, told, np.asarray(level, float), True, close, w, p, q)


def test_numbers_told_coarsely_are_noted():
    levels_of = np.repeat(LEVEL[::2], 2)  # 20 of them
    of = lambda n: batch(levels_of, np.floor(np.arange(40) * n / 40))
    assert coarse_note(of(10)) == (
        "fn is told 10 numbers at 20 levels: right only for a network that needs no finer ones",
    )
    assert coarse_note(of(11)) == () and coarse_note(None) == () and coarse_note(batch(levels_of)) == ()
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5.0), 8))
    assert coarse_note(batch(levels_of, labels)) == () and coarse_note(batch(levels_of, np.full(40, 2.0))) == ()
    assert coarse_note(batch(np.full(40, 0.5), np.repeat(np.arange(5.0), 8))) == ()


def test_a_velocity_is_a_factor_times_two_slopes():
    c, s = np.array([-0.5, -0.8, -1.0, 0.3]), np.array([1.0, 0.7, 0.2, -2.0])
    assert along(s, c, c, s) == 1 and along(-s, -c, c, s) == -1 and along(2.5 * s, 2.5 * c, c, s) == 1
    off = lambda by: along(s - by * c, c + by * s, c, s)  # across by a share of the whole
    share = lambda by: by / np.hypot(1, by)
    assert share(0.03) < 0.03 < share(0.0301) and off(0.0299) == 1 and off(0.0302) == 0
    speed = lambda by: along(s * (1 + by * np.arange(4) / 3), c * (1 + by * np.arange(4) / 3), c, s)
    assert speed(0.0305) == 1 and speed(0.0315) == 0  # by/(1 + by)
    assert along(3 * s * (1 + 0.0305 * np.arange(4) / 3), 3 * c * (1 + 0.0305 * np.arange(4) / 3), c, s) == 1
    assert along(s * 0 + 1, 0 * c, 0 * c, 0 * s) == 0  # a path that stands still has no velocity


def moving(monkeypatch, p, q, takes=("t",), schedule=None, level=0.4, trouble="", lost=0):
    """What is said of targets at one time for a batch, of a path c(t) = cos t, sigma(t) = t^2."""
    times = []

    def noisy(caller, kind, setting, rng):
        times.append(setting.level)
        t = np.full(4, setting.level)
        after = setting.level > 0.4
        made = Trial(setting, np.zeros((4, 3)), None, c=np.cos(t), sigma=t**2, trouble=trouble if after else "")
        return made.only(np.arange(4) >= lost) if after else made

    monkeypatch.setattr(levels, "noisy", noisy)
    trials = [Trial(setting_of(level=level), np.zeros((4, 3)), None, c=np.cos(np.full(4, 0.4)), sigma=np.full(4, 0.16))]
    r = read_of(np.full(4, 0.16), np.zeros(4, int), p=p, q=q)
    return by_moving_time(caller_of(takes, schedule=schedule), "score", r, trials, np.random.default_rng(0)), times


def test_the_velocity_at_one_time_is_that_of_differences(monkeypatch):
    p, q = 2 * 0.4, -np.sin(0.4)
    for times, sign in ((1, 1), (-3, -1)):
        found, asked = moving(monkeypatch, times * p, times * q)
        assert found == sign and asked == pytest.approx([0.4 + 1e-4, 0.4 - 1e-4], rel=1e-12)
    assert moving(monkeypatch, p, -q)[0] == 0
    for by, known in ((0.029, 1), (0.031, 0)):  # a slope is known to the square of the step
        assert moving(monkeypatch, p - by * q, q + by * p)[0] == known
    assert moving(monkeypatch, p, q, takes=("sigma",)) == (None, [])
    assert moving(monkeypatch, p, q, schedule=np.ones(3)) == (None, []) and moving(
        monkeypatch, p, q, level=np.full(4, 0.4)
    ) == (None, [])
    assert moving(monkeypatch, p, q, trouble="not heard")[0] is None and moving(monkeypatch, p, q, lost=1)[0] is None


def means(power, rows=((0, 1, 2), (0, 1, 1)), w=None, batch=None, again=None, trials=None, monkeypatch=None):
    sigma = np.concatenate([SIGMAS[list(k)] for k in rows])
    of = np.repeat(np.arange(len(rows)), [len(k) for k in rows])
    w = np.concatenate([np.full(len(k), np.mean(SIGMAS[list(k)] ** float(power))) for k in rows]) if w is None else w
    seeds = []
    if monkeypatch is not None:

        def of_many(caller, kind, trial, rng):
            seeds.append(trial.setting.seed)
            return again

        monkeypatch.setattr(levels, "of_many_rows", of_many)
        monkeypatch.setattr(levels, "with_values", lambda caller, kind, batch, rng: batch)
    trials = [Trial(setting_of(), np.zeros((3, 3)), None)] * len(rows)
    return averaged(None, "score", batch, trials, read_of(sigma, of, w), None), seeds


def test_a_weight_of_the_batch_that_moves_with_the_batch(monkeypatch):
    many = lambda value, spread=0.0: batch(LEVEL, w=value * (1 + spread * np.linspace(0, 1, 40)), p=LEVEL, q=LEVEL)
    odd = np.repeat([0.31, 0.74], 3)
    say = lambda mine, other: means(0, w=odd, batch=mine, again=other, monkeypatch=monkeypatch)
    found, seeds = say(many(0.5), many(0.6))
    assert found.verdict == "INCONCLUSIVE" and found.diagnosis == levels.ONE_WEIGHT and seeds == [6]
    assert found.pattern == "one weight in all rows of a batch"
    assert found.diagnosis.startswith("one weight for a batch: all its rows have the same, and another batch another one (the mean of the weights of its rows,")  # fmt: skip
    assert say(many(0.5), many(0.5))[0] is None and say(many(0.5), None)[0] is None and say(None, None)[0] is None
    assert say(many(0.5), batch(LEVEL))[0] is None and say(batch(LEVEL), many(0.5))[0] is None
    assert say(many(0.5, 1e-3), many(0.6))[0] is None and say(many(0.5), many(0.6, 1e-3))[0] is None
    assert (
        say(many(0.5), many(0.5 * (1 + 0.9e-5)))[0] is None and say(many(0.5), many(0.5 * (1 + 1.1e-5)))[0] is not None
    )
    for power, word in ((2, "sigma^2"), (1, "sigma"), (-1, "1/sigma"), (-2, "1/sigma^2")):
        naming, seeds = means(power)
        assert (
            naming.verdict == "FAIL"
            and naming.pattern == f"weight = mean of {word} over the rows of a batch"
            and f"its batch, that of {word}, and" in naming.diagnosis
        )
    one_level = means(2, rows=((1, 1, 1), (0, 1, 2), (0, 1, 1)))[0]
    assert one_level is not None  # a batch of one level says nothing
    assert means(0, rows=((0, 1, 2), (0, 1, 1), (2, 2)))[0] is None
    lawful = np.concatenate([np.full(3, 3.0), np.full(3, 4.0)])  # d, in both batches: a convention
    assert means(0, w=lawful)[0] is None
    rows = ((0, 1, 2), (0, 1, 1), (1, 2, 2))
    for first, mean in ((lambda k: SIGMAS[rows[k][0]] ** 2, False), (lambda k: 0.8 - 0.1 * k, False), (lambda k: SIGMAS[rows[k][0]] ** 2, True), (lambda k: 0.8 - 0.1 * k, True)):  # fmt: skip
        w = np.repeat([first(k) * (np.mean(SIGMAS[list(rows[k])] ** 2) if mean else 1) for k in range(3)], 3)
        found, _ = means(0, rows, w, many(0.5), many(0.6), monkeypatch=monkeypatch)
        assert found.diagnosis == levels.ONE_WEIGHT  # of no size alone
        assert found.pattern == "one weight in all rows of a batch"


def weightless(monkeypatch, met=((0, 1, 2),), w=None, first=(0, 1, 2), trouble="", sigmas=SIGMAS):
    """What is said where batches have points of these levels."""
    asked, L = [], len(sigmas)

    def trial(index, setting, trouble=""):
        return Trial(setting, None, None, c=np.ones(len(index)), sigma=sigmas[list(index)], trouble=trouble)

    def noisy(caller, kind, setting, rng):
        asked.append(setting.seed)
        return trial(met[len(asked) % len(met)], setting, trouble)

    monkeypatch.setattr(levels, "noisy", noisy)
    setting = setting_of(levels=L, extras={"sigmas": sigmas})
    r = read_of(sigmas[list(first)], np.zeros(len(first), int), 1.0 if w is None else np.array(w, float))
    return forgotten(caller_of(), "score", [trial(first, setting)], r, np.random.default_rng(0)), asked


def test_levels_that_never_turn_up_or_have_no_weight(monkeypatch):
    assert weightless(monkeypatch) == (None, [])
    later, asked = weightless(monkeypatch, ((0,), (2,)), first=(0, 1))
    assert later is None and len(asked) == 1
    naming, asked = weightless(monkeypatch, ((0,), (1,)), first=(0, 1))
    assert len(asked) == 40 and len(set(asked)) == 40 and max(asked) > 1 << 30 and min(asked) < 1 << 28
    assert naming.verdict == "FAIL" and naming.pattern == "levels [0, 1] of 3 met in up to 40 batches"
    assert naming.diagnosis == (
        "level forgotten: the last of sigmas is never used (an upper end that randint excludes, a slice that ends too early, an index off by one?); "
        "the network does not learn that level"
    )
    four = np.array([0.9, 0.5, 0.3, 0.2])
    assert "number 1 of sigmas" in weightless(monkeypatch, ((0,),), first=(0, 2, 3), sigmas=four)[0].diagnosis
    assert "numbers 1, 2 of sigmas are" in weightless(monkeypatch, ((0,),), first=(0, 3), sigmas=four)[0].diagnosis
    assert "the first of sigmas" in weightless(monkeypatch, ((1,),), first=(1, 2))[0].diagnosis
    none, _ = weightless(monkeypatch, w=[0.0, 1, 1])
    assert "the first of sigmas is never used (its weight is zero)" in none.diagnosis and none.pattern.startswith(
        "levels [0, 1, 2] of 3"
    )
    assert (
        weightless(monkeypatch, w=[0.98e-9, 1, 1])[0] is not None
        and weightless(monkeypatch, w=[1.02e-9, 1, 1])[0] is None
    )
    assert weightless(monkeypatch, w=[3.9e-9, 4, 4])[0] is not None and weightless(monkeypatch, w=[-1, 1, 1])[0] is None
    assert "the last of sigmas" in weightless(monkeypatch, w=[1, 1, 0])[0].diagnosis
    both, _ = weightless(monkeypatch, ((0,),), first=(0, 1), w=[0, 1])
    assert "numbers 0, 2 of sigmas are never used (its weight is zero)" in both.diagnosis
    hidden, asked = weightless(monkeypatch, ((2,),), first=(0, 1), trouble="not heard")
    assert hidden is not None and len(asked) == 40  # what is not known of a batch says nothing
    strange, asked = weightless(monkeypatch)[0], None
    setting = setting_of(extras={"sigmas": SIGMAS})
    off = Trial(setting, None, None, c=np.ones(2), sigma=np.array([0.7, 0.5]))
    assert strange is None and forgotten(caller_of(), "score", [off], None, None) is None


def test_values_at_one_level_are_one_within_its_rounding():
    level = 100 * np.repeat(np.linspace(0.1, 1.0, 20), 2)
    off = 1e-3 * (np.arange(40) == 7)
    apart = lambda by: levels.function_of(level**2 / 1e4 + off, level + by * (np.arange(40) == 7))
    assert not apart(0.98e-7) and apart(1.02e-7)  # a thousandth of 1e-6 of the largest level


def test_classes_and_spreads_of_levels():
    of = lambda *a: levels._classes(np.array(a), 1e-6).tolist()
    assert of(100.0, 100 + 0.98e-4) == [0, 0] and of(100.0, 100 + 1.02e-4) == [0, 1]
    assert of(0.01, 0.01 + 0.98e-8) == [0, 0] and of(0.01, 0.01 + 1.02e-8) == [0, 1]
    spread = lambda *k: levels._spread(np.array([0.0, 1, 5, 9]), np.array(k))
    assert spread(0, 0, 1, 1) == 4 and spread(0, 0, 0, 1) == 5 and spread(0, 1, 2, 3) == 0 and spread(1, 1, 0, 0) == 4


def test_labels_of_repeated_levels_are_counted():
    rng = np.random.default_rng(4)

    def labelled(classes, exact=True, noise=0.0):
        """Levels of which some come twice, each with a label of its own."""
        index = np.concatenate([np.arange(classes), np.arange(40 - classes)])
        level = np.linspace(0.1, 1.4, classes)[index] + noise * rng.standard_normal(40)
        return levels.one_to_one(rng.permutation(classes)[index] * 1.0, batch(level)._replace(exact=exact))

    assert labelled(20) and not labelled(21)  # more than half of the rows
    assert labelled(20, False, 1e-6) and not labelled(20, True, 1e-5)
    steps = np.repeat(np.arange(5.0), 8)
    assert not levels.one_to_one(np.minimum(steps, 3), batch(0.1 + 0.2 * steps))  # two levels told as one
    assert not levels.one_to_one(np.minimum(steps, 3), batch(0.5 + 0.002 * steps))
    close = np.repeat(LEVEL[::2], 2) + 1e-5 * (np.arange(40) % 2)
    handed = batch(close, given=np.arange(40))
    assert not levels.one_to_one(np.arange(40) // 2 * 1.0, handed)  # two timesteps, however close
    assert levels.one_to_one(np.arange(40) // 2 * 0.3 + 0.1, handed)  # a time: they are close


def said(made, trials=()):
    naming = levels.questions(made, trials)
    return None if naming is None else (naming.diagnosis.split(",")[0].split("(")[0], naming.pattern)


def rich(level, eps, **more):
    made = batch(level, **more)
    beside = None if made.told is None else made.told[:, None]
    none = made.trial.only(np.zeros(len(level), bool))
    return made._replace(trial=made.trial._replace(eps=eps, beside=beside), clean=none)


def test_noise_that_goes_with_its_level_is_told_by_its_dimension():
    for M in (40, 80, 81):
        level, eps = np.linspace(0.1, 1.4, M), np.random.default_rng(6).standard_normal((M, 3))
        for k, sign in ((0, 1), (2, -1)):
            eps_k = eps.copy()
            eps_k[:, k] = sign * np.exp(level)
            pattern = f"rank correlation {sign}.00 between the level and dimension {k} of the noise"
            found = said(rich(level, eps_k))
            assert found == (
                None
                if M == 81
                else (
                    "one key: the noise of a row goes with its level: both are made of the same random numbers ",
                    pattern,
                )
            )
    order = np.random.default_rng(8).permutation(40)

    def part(share):
        """Ranks of which a share follows the level."""
        n = int(share * 40)
        column = np.concatenate([np.arange(n), n + np.random.default_rng(8).permutation(40 - n)]) * 1.0
        return rich(LEVEL[order], np.stack([column[order]] * 3, axis=1)), np.corrcoef(np.arange(40), column)[0, 1]

    shares = [part(s) for s in np.linspace(0, 1, 41)]
    assert {c > 0.75 for _, c in shares} == {True, False}
    assert all((said(made) is not None) == (c > 0.75) for made, c in shares)


def test_what_is_told_is_coarse_or_of_another_row():
    eps = np.random.default_rng(6).standard_normal((40, 3))
    coarse = "level told: fn is told the same number at different levels "
    other = "level told: what fn is told goes up and down along the levels of the noise "  # and a question in brackets
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(5.0), 8))
    assert said(rich(LEVEL, eps, told=labels))[0] == other  # fewer numbers, and no function
    turned = np.abs(LEVEL - 0.75) + 1e-3 * LEVEL  # a function, each number once
    apart = "level told: what fn is told does not tell the levels of the noise apart: it is no function of them that can be turned round"
    assert said(rich(LEVEL, eps, told=turned))[0] == apart
    assert said(rich(np.repeat(LEVEL[::4], 4), eps, told=np.repeat(np.arange(5.0), 8)))[0] == coarse
    constant = rich(LEVEL, eps, told=np.full(40, 0.7))
    trial = lambda told, sigma: SimpleNamespace(told=np.array(told), sigma=np.array(sigma), c=np.full(2, 0.8))
    assert said(constant, [trial([0.7, 5.0], [0.5, 0.0])]) is None  # what a point without noise is told does not count
    assert said(constant, [trial([0.7, 5.0], [0.5, 0.6])])[1] == "told 0.7 in all rows"


def test_rows_that_hardly_count_have_no_target():
    few = np.arange(40) % 10 == 4
    smooth = lambda w: levels.smooth(batch(LEVEL, w=np.where(few, w, 100.0), p=np.where(few, 50.0, LEVEL), q=LEVEL))
    assert smooth(0.98e-4) and not smooth(1.02e-4)


def test_a_spline_needs_six_times_and_points_between_them():
    def found(times, at, sign=1, repeat=4):
        t = np.repeat(np.linspace(0.2, 0.7, times), repeat)
        made = batch(np.arctan2(t, 1 - t), told=t)
        made = made._replace(trial=made.trial._replace(c=1 - t, sigma=t))
        trial = SimpleNamespace(told=np.asarray(at, float))
        of = np.stack([np.zeros(len(at), int), np.arange(len(at))], axis=1)
        r = SimpleNamespace(p=np.full(len(at), sign * 1.0), q=np.full(len(at), -sign * 1.0), of=of)
        return levels.velocity(made, r, [trial])

    assert found(6, [0.4, 0.5]) == 1 and found(5, [0.4, 0.5]) is None and found(6, [0.4], -1) == -1
    for ends in ([0.2], [0.7], [0.25], [0.65]):
        assert found(6, ends) == 1
    assert found(6, [0.1]) is None and found(6, [0.8]) is None and found(6, [0.1, 0.4]) == 1


def noised(sigma, c=1.0, told=None, sigmas=SIGMAS, n=None):
    sigma = np.asarray(sigma, float)
    M = len(sigma)
    setting = setting_of(n=n or M, extras={"sigmas": sigmas}, levels=len(sigmas))
    return Trial(setting, np.zeros((M, 3)), None if told is None else np.asarray(told, float), row=np.arange(M), c=c + np.zeros(M), sigma=sigma)  # fmt: skip


def test_levels_and_targets_of_a_list_within_rounding():
    assert levels.numbers(noised(SIGMAS, c=0.0)).tolist() == [0, 1, 2]
    index, used = np.array([0, 1, 2]), np.array([1, 2, 0])
    trials, half = [noised(SIGMAS)], [noised(SIGMAS / 2, c=0.5)]
    of = lambda p, q=0.0, made=trials: levels.target_of_another(
        made, read_of(made[0].sigma, np.zeros(3, int), p=p, q=q)
    )
    words = (
        "level of the target: the target -eps/sigma is made with the sigma of the next level: an index is off by one"
    )
    p = -1 / SIGMAS[used]
    assert of(p).diagnosis == words and of(2 * p, made=half).diagnosis == words
    assert of(p, 0.98e-6 * np.abs(p)).diagnosis == words and of(p, 1.02e-6 * np.abs(p)) is None
    for k in range(3):
        off = lambda by, k=k: of(p / (1 + by * (np.arange(3) == k)))
        assert off(0.98e-6) is not None and off(1.02e-6) is None
    assert of(np.array([0.0, -1, -2])) is None and of(-1 / SIGMAS[index]) is None
    none = levels.none_of_them
    known, strange = noised(SIGMAS), noised([0.7, 0.6, 0.8, 0.4, 0.2])
    r = read_of(strange.sigma, np.zeros(5, int), p=1.0)
    naming = none([strange], r)
    assert naming.verdict == "FAIL" and naming.pattern == "sigma of the points 0.7, 0.6, 0.8, 0.4"
    assert (
        naming.diagnosis
        == "levels mixed: the noise that is added is that of none of the levels, and the target does not belong to it"
    )
    assert (
        none([known], read_of(SIGMAS, np.zeros(3, int), p=1.0)) is None
        and none([strange], read_of(strange.sigma, np.zeros(5, int))) is None
    )
    assert none([known, strange], r).verdict == "FAIL"


def test_targets_of_a_batch_are_alike_within_rounding():
    sigma, of = np.tile(SIGMAS, 2), [0, 0, 0, 1, 1, 1]
    one = lambda p, q=0.5: levels.of_one_level(read_of(sigma, of, p=np.array(p, float), q=q))
    assert one([2, 2, 2, 3, 3, 3 + 2.9e-6]) is not None and one([2, 2, 2, 3, 3, 3 + 3.1e-6]) is None
    assert one([3, 3, 3, 3 + 2.9e-6] + [3 + 2.9e-6] * 2) is None and one([3, 3, 3] + [3 + 3.1e-6] * 3) is not None
    words = lambda p: one(p, 0.0).diagnosis.split(":")[0]
    assert words([0, 1, 2, 3, 1, 2]) == "rows without a target" and words([0, 0, 0, 3, 1, 2]) == "rows without a target"
    assert one([0, 1, 2, 3, 1, 2], 0.0).pattern == "1 of 6 rows" and one([0, 0, 0, 0, 1, 2], 0.0) is None


def test_what_is_told_of_a_list_counts_where_there_is_noise():
    same = noised([0.9, 0.5, 0.0], told=[4.0, 4.0, 9.0])
    assert levels.told([same])[1] == (
        "the numbers that fn is told are the same at every level: right only for one model that serves all levels",
    )
    assert levels._said([noised(SIGMAS, told=[1, 2, 4])], "number") is None
    assert levels._said([noised(SIGMAS, told=[1, 2, 3])], "number") == [(0, 1, 3), (1, 2, 3), (2, 3, 3)]
    assert levels._said([same], "sigma") is None  # a point without noise is of no level
    assert levels.shared([noised([0.5, 0.5, 0.0])]) != () and levels.shared([noised([0.5, 0.5], n=3)]) == ()
    spread = lambda by: levels.shared([noised([0.5, 0.5 + by])])
    assert spread(0.98e-6) != () and spread(1.02e-6) == ()
