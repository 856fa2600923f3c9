"""What a loss did to its data, on made points: noise whose size is inferred, rules about the points and their noise, and correlated noise."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import brentq

from numpyscore.check.losses import perturbation
from numpyscore.check.losses.hearing import Draw
from numpyscore.check.losses.trials import Trial

X, Z = np.random.default_rng(11).standard_normal((2, 6, 4))


class Setting(SimpleNamespace):
    def _replace(self, **changes):
        return Setting(**{**vars(self), **changes})


def trial_of(shift, draws=(), c=1.0, x=X, row=None, points=None, told=None, **more):
    """A `Trial` at c x + shift."""
    row = np.arange(len(shift)) if row is None else row
    c = None if c is None else c + np.zeros(len(shift))
    setting = Setting(**({"n": len(x), "d": x.shape[1], "x": x, "levels": 1, "level": 0.5, "seed": 3, "extras": {"noise": 0}} | more.pop("setting", {})))  # fmt: skip
    points = (0 if c is None else c[:, None] * x[row]) + shift if points is None else points
    made = tuple(d if isinstance(d, Draw) else Draw("normal", d) for d in draws)
    return Trial(setting, points, told, made, row, c, **({"trouble": "not heard"} | more))


def rule(name, *trials, takes=(), unread=False):
    return getattr(perturbation, name)(SimpleNamespace(takes=dict.fromkeys(takes, 0), unread=unread), trials)


# ------------------------------------------------------------------------------- maps of the data


def test_a_scale_close_to_a_whole_number_is_one():
    s = np.array([0.3, 0.5, 1.0, 1.5, 0.9, 0.6])  # a size of noise above 1 is of no kernel known here

    def read(c):
        (trial,), _ = perturbation._of_mapped_data([trial_of(0 * X, c=c, sigma=s, offset=np.full(4, -0.5))])
        return trial

    assert read(2.0).scale == 2.0 and np.all(read(2.0).c == 1)
    single = 2.0**-23  # a schedule may be kept in single precision
    assert (
        read(2 + 1.9 * single).scale == 2.0
        and read(2 + 2.1 * single).scale != 2.0
        and read(0.3).scale == pytest.approx(0.3)
    )
    assert read(1e-10).scale == pytest.approx(1e-10)
    wave = np.array([0.0, 1, 0.5, 0.2, 0.9, 0.4])
    even, uneven = read(4 * (1 + 0.9 * single * wave)), read(4 * (1 + 20 * single * wave))  # c^2 to 8 of them
    assert even.scale == pytest.approx(4.0, rel=1e-6) and uneven.scale == 1.0 and np.all(even.c == 1)
    mapped, plain, unknown = trial_of(0 * X, c=2.0, sigma=s, offset=np.full(4, 1.0)), trial_of(0 * X, c=3.0, sigma=s), trial_of(0 * X, c=None)  # fmt: skip
    out, (note,) = perturbation._of_mapped_data([mapped, plain, unknown])
    assert (
        out[0].scale == out[1].scale == 2.0
        and np.all(out[1].c == 1.5)
        and out[2] is unknown
        and "2 x + 2 before" in note
    )
    words = lambda scale, *b: perturbation.map_in_words(SimpleNamespace(scale=scale, offset=np.array(b)))
    assert words(1.0, -0.5, -0.5) == "x - 0.5" and words(1.5, 2.0, 2.0 * (1 + 0.9e-9)) == "1.5 x + 3"
    assert words(0.25, 4.0, 4.0 * (1 + 1.2e-9)) == "0.25 x + a constant vector" and words(1, 0.0, 0.0) == "x + 0"


# ------------------------------------------------------------------------------- noise whose size is inferred


def whitened(n, d, seed=0):
    """Numbers whose mean square matrix is I."""
    z = np.random.default_rng(seed).standard_normal((n, d))
    return z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / n)).T


def inferred(monkeypatch, z, c=0.8, size=0.6, level=0.5, trouble="not heard"):
    """What becomes of two trials with noise of size 0.6, where a batch of a thousand rows has the noise size z."""
    seen = []

    def noisy(caller, kind, setting, rng):
        seen.append(setting)
        if trouble == "raises":
            raise ValueError("for so many rows it is not meant")
        return trial_of(size * z, c=c, x=setting.x, setting={"level": level}, trouble=trouble)

    monkeypatch.setattr(perturbation, "noisy", noisy)
    trials = [trial_of(size * Z, c=c, setting={"level": level}) for _ in range(2)]
    out = perturbation._inferred(None, "score", trials, np.random.default_rng(0))
    if seen:
        (asked,) = seen
        assert asked.n == 1000 == len(asked.x) and asked.x.shape == (1000, 4) and asked.extras["noise"] is asked.x
        assert abs(asked.x.mean() - 0.3) < 0.1 and abs(asked.x.std() - 1.2) < 0.1
    return trials, out


@pytest.mark.parametrize("size, level", [(0.6, 0.5), (0.2, 0.5), (0.5, 0.5), (0.4, 0.5), (0.5, np.full(6, 0.5))])
def test_noise_that_was_not_heard_has_one_of_three_sizes(monkeypatch, size, level):
    """The level that was handed, sqrt(1 - c^2) or 1 - c; with c = 0.8 that is 0.5, 0.6 and 0.2."""
    trials, out = inferred(monkeypatch, whitened(1000, 4), 0.8, size, level)
    if size == 0.4 or np.ndim(level):
        assert out is trials
        return
    for trial in out:
        np.testing.assert_allclose(trial.sigma, np.full(6, size), rtol=1e-12)
        np.testing.assert_allclose(trial.eps, Z, rtol=1e-9)
        assert trial.trouble == "inferred" and trial.source.tolist() == [[-3, -3]] * 6


def test_what_many_rows_do_not_show_is_not_inferred(monkeypatch):
    z = whitened(1000, 4)
    for trouble in ("raises", "", "not scaled"):
        trials, out = inferred(monkeypatch, z, trouble=trouble)
        assert out is trials
    nothing = inferred(monkeypatch, z, c=1.0, size=0.5)[1]  # 1 - c^2 and 1 - c are 0
    assert nothing[0].sigma.tolist() == [0.5] * 6
    assert inferred(monkeypatch, z, c=1.3, size=0.7)[1][0].trouble == "not heard"  # above 1


def test_inferred_noise_is_that_of_normals_within_six_deviations(monkeypatch):
    """Of N normals the mean square has the variance 2/N, the mean fourth power over 3 the variance 96/9/N, here 11/N."""
    z = whitened(1000, 4)
    word = lambda z: inferred(monkeypatch, z, c=0.8, size=0.6)[1][0].trouble
    off = lambda k: np.sqrt(1 + k * np.sqrt(2 / 4000)) * z
    assert [word(off(k)) for k in (5.9, 6.1, -5.9, -6.1)] == ["inferred", "not heard"] * 2

    def bent(power):
        y = np.sign(z) * np.abs(z) ** power
        return y / np.sqrt(np.mean(y**2))

    def fourth(k):
        goal = 1 + k * np.sqrt(11 / 4000)
        return bent(brentq(lambda p: np.mean(bent(p) ** 4) / 3 - goal, 0.5, 1.8))

    assert [word(fourth(k)) for k in (5.9, 6.1, -5.9, -6.1)] == ["inferred", "not heard"] * 2

    def together(k):
        C = np.eye(4)
        C[0, 1] = C[1, 0] = k * np.sqrt(2 / 1000)
        return z @ np.linalg.cholesky(C).T

    assert [word(together(k)) for k in (5.9, 6.1, -5.9, -6.1)] == ["inferred", "correlated"] * 2


# ------------------------------------------------------------------------------- rules


def test_the_noise_of_points_is_looked_at_where_there_is_some():
    shift = 0.5 * Z
    shift[2] = 0
    shift[3] = 0.9e-9 * 7
    shift[4] = [1.2e-9 * 7, 0, 0, 0]
    row = np.array([5, 4, 3, 2, 1, 0])
    shift[0, 0] = 7 - 0.5 * X[5, 0]  # the largest point is 7
    of = trial_of(shift, c=0.5, row=row)
    assert np.abs(of.points).max() == 7
    ((moved, rows),) = perturbation._shifts([of, of._replace(c=None), trial_of(Z[:, :1], x=X[:, :1])])
    assert rows.tolist() == [5, 4, 1, 0] and moved.shape == (4, 4)
    np.testing.assert_allclose(moved[1], 0.5 * Z[1], rtol=1e-12)
    assert list(perturbation._shifts([trial_of(0 * Z)])) == []
    two = trial_of(Z[:, :2], x=X[:, :2])
    assert len(list(perturbation._shifts([two]))) == 1
    signs = lambda by: perturbation._signs(3 * np.array([[1.0, -1, 1], [2, 2, 2 * (1 + by)]]))
    assert signs(0.9e-6) and not signs(1.1e-6)
    heard = trial_of(Z, sigma=np.ones(6), trouble="")
    assert perturbation._heard([heard]) and perturbation._heard([heard, heard._replace(trouble="inferred")]) == ()
    assert perturbation._heard([heard._replace(sigma=None)]) == ()


def test_points_at_an_edge_are_clipped():
    points = np.arange(24.0).reshape(6, 4) / 10
    at = lambda k, trouble="not heard": trial_of(Z, points=np.where(points >= np.sort(points.ravel())[-k], 2.75, points), trouble=trouble)  # fmt: skip
    text, pattern = rule("_points_clipped", at(3))
    assert (
        text
        == "bounded points: several entries of the noisy points stand at 2.75 (clipped or clamped, divided by their largest, set to an end of the range?); they are not c x + sigma eps"
    )
    assert pattern == "several entries stand at 2.75" and rule("_points_clipped", at(2)) is None
    both = at(3)
    turned = both._replace(points=np.where(both.points == 2.75, np.array([2.75, -2.75, 2.75, -2.75]), both.points))
    assert rule("_points_clipped", turned) is not None
    higher = at(2)._replace(points=np.where(at(2).points == 2.75, 3.5, points))
    assert rule("_points_clipped", higher, at(3)) == (text, pattern)  # the edge of the trial that stands at one
    assert rule("_points_clipped", at(3, "")) is None and rule("_points_clipped", at(3, "inferred")) is None
    assert rule("_points_clipped", at(3, ""), at(3)) is not None


def test_noise_that_multiplies_the_data_is_told_by_its_factors():
    level = Draw("normal", np.ones((6, 1)))  # the same for all entries of a row
    of = lambda factors, draws, x=X: trial_of(0 * x, draws, c=None, x=x, factors=factors)
    drawn = [level, Z, Draw("random", Z**3)]
    assert rule("_data_multiplied", of(0.7 + 0.3 * Z, drawn))[1] == "x~ moves by a + b z times what x moves"
    size = np.abs(0.3 * (Z - Z.mean(1, keepdims=True))).max()
    along = Z[2] - Z[2].mean()
    away = np.array([1.0, -1, 0, 0]) - np.array([1.0, -1, 0, 0]) @ along / (along @ along) * along
    away -= away.mean()
    off = np.zeros((6, 4))
    off[2] = away / np.abs(away).max()
    assert rule("_data_multiplied", of(1 + 0.3 * Z + 0.9e-6 * size * off, drawn)) is not None
    assert rule("_data_multiplied", of(1 + 0.3 * Z + 1.2e-6 * size * off, drawn)) is None
    assert rule("_data_multiplied", of(1 + Z**3, drawn)) is None and rule("_data_multiplied", of(1 + Z, [])) is None
    assert rule("_data_multiplied", of(1 + Z, drawn), of(None, drawn)) is None
    assert rule("_data_multiplied", of(1 + Z[:, :2], [Z[:, :2]], X[:, :2])) is None  # two numbers: a + b z is anything
    assert rule("_data_multiplied", of(1 + Z[:, :3], [Z[:, :3]], X[:, :3])) is not None
    assert rule("_data_multiplied", of(1 + 0.3 * Z, [level, Z]), of(1 + Z**3, drawn)) is None


def test_columns_without_noise_are_without_it_in_every_trial():
    masked, whole = trial_of(0.5 * Z * [1, 0, 1, 1]), trial_of(0.5 * Z)
    said = (perturbation.NO_NOISE, "x~ = c x in some columns")
    assert (
        rule("_columns_without_noise", masked, masked) == said and rule("_columns_without_noise", masked, whole) is None
    )
    assert rule("_columns_without_noise", masked, whole._replace(c=None)) == said
    assert (
        rule("_columns_without_noise", trial_of(0 * Z)) is None
        and rule("_columns_without_noise", whole._replace(c=None)) is None
    )
    scaled = trial_of(0.5 * Z * [1, 0, 1, 1], c=0.0, row=np.arange(6)[::-1].copy())
    assert rule("_columns_without_noise", scaled) == said


def changes(shift, draws, x=0.25, sigma=np.nan, c=1.0):
    shift = np.asarray(shift, float)
    return trial_of(shift, draws, c=c, x=x + 0 * shift, sigma=np.broadcast_to(sigma, len(shift)))


def test_entries_that_are_no_multiples_are_written_down():
    z = np.array([[1.0, -2, 0.5, 3, 4]])
    of = lambda *args, **more: list(perturbation._changes(changes(*args, **more)))
    assert of(0.5 * np.clip(z, -1.5, 1.5), [z]) == ["1.5", "1.5", "1.5", "at 0.5", "at 1", "at 1"]
    assert of([[0.5, 0, 0.25, 1.5, 0.9e-12]], [z]) == ["zero", "zero", "at 0.25", "at 0.25"]
    assert of([[0.5, 1.1e-12, 0.25, 1.5, 2]], [z], x=0.0)[0] == "2.2e-12"
    assert of([[0.5, 0.3, 0.1, 0.2, 0.6]], [z]) == []  # no two agree
    assert len(of([[0.5, 0.3, 0.25, 0.2, 0.6]], [z])) == 6  # two do
    assert of([[0.5, 0.3, 0.25, 0.2, 0.6]], [Draw("random", z)]) == [] and of([[0.5, 0.3, 0.25, 0.2, 0.6]], []) == []
    assert of(0.5 * np.clip(z, -1.5, 1.5), [z], sigma=0.5) == []
    others = np.array([[7.0, 1, 2, 9, 5], [1.0, -2, 0.5, 3, 4]])
    assert of(0.5 * np.clip(z, -1.5, 1.5), [Draw("random", z), others])[:3] == ["1.5"] * 3
    near = lambda by: of([[0.5, -1, 0.25, 1.5, 2 * (1 + by)]], [z])
    assert near(0.9e-6) == [] and near(1.1e-6)[0] == "4"
    rows = np.concatenate([z, z[:, ::-1]])
    two = of(np.array([[0.5, -1, 0.25, 1.5, 2], [2, 1.5, 0.25, 0.1, 0.5]]), [rows], sigma=[0.5, np.nan])
    assert two == ["0.2", "at 0.35"]
    zeros = np.array([[1.0, -2, 0.0, 3, 4]])
    assert of(0.5 * np.clip(zeros, -1.5, 9), [zeros]) == ["1.5", "zero", "at 0.5", "at 0.25"]


def test_entries_that_stand_somewhere_are_clipped_or_masked():
    z = np.array([[1.0, -2, 0.5, 3, 4]])
    clipped = lambda n: rule(
        "_entries_changed", changes(0.5 * np.where(np.arange(5) < 5 - n, z, 1.5), [z], np.arange(5.0))
    )
    text, pattern = clipped(3)
    assert (
        text
        == "clipped noise: the noise is clipped (truncated) at 1.5 standard deviations; the score of the noisy points is the mean of -eps/sigma for Gaussian noise alone"
    )
    assert pattern == "3 entries stand there" and clipped(2) is None
    edge = np.array([[0.5, -1, 0.25, 1.5, 2.0]])
    held = changes(edge, [z], 0.1 * np.arange(5))
    held = held._replace(points=np.minimum(held.points, 0.6))
    text, pattern = rule("_entries_changed", held, held._replace(points=held.points))
    assert (
        text
        == "clipped points: the noisy points are clipped (clamped) at 0.6; they are not c x + sigma eps, and their law is no Gaussian perturbation"
    )
    assert pattern == "4 entries stand at 0.6"
    masked = lambda n: changes(0.5 * np.where(np.arange(5) < n, 0, z), [z])
    assert rule("_entries_changed", masked(1)) == (perturbation.NO_NOISE, "x~ = c x there")
    mixed = [
        masked(1),
        changes(0.5 * np.where(np.arange(5) < 4, z, 1.1), [z]),
    ]  # one of four that changed: of two in each row
    assert rule("_entries_changed", *mixed) is None
    third = [masked(3), changes(0.5 * np.where(np.arange(5) < 3, z, 1.1), [z], np.arange(5.0))]  # three of ten
    assert rule("_entries_changed", *third)[0] == perturbation.NO_NOISE
    assert rule("_entries_changed", trial_of(Z)._replace(sigma=None)) is None


SIGMAS = np.array([0.9, 0.5, 0.3])


def test_levels_of_single_entries_are_those_that_were_handed():
    sizes = SIGMAS[np.arange(24).reshape(6, 4) % 3]
    told = np.linspace(0.3, 0.9, 6)
    of = lambda sizes, told=told, levels=3, **more: trial_of(sizes * Z, [Z], told=told, setting={"levels": levels, "extras": {"sigmas": SIGMAS}}, **more)  # fmt: skip
    text, pattern = rule("_levels_of_entries", of(sizes))
    assert text.startswith("levels mixed: the entries of a point have noise of different levels")
    assert pattern == "sigmas of the first point [0.9 0.5 0.3 0.9]"
    one = np.where(sizes == 0.3, 0.3 + 0.88e-6, sizes), np.where(sizes == 0.3, 0.3 + 0.92e-6, sizes)
    assert rule("_levels_of_entries", of(one[0])) is not None and rule("_levels_of_entries", of(one[1])) is None
    assert rule("_levels_of_entries", of(sizes, None)) is None
    assert rule("_levels_of_entries", of(sizes), unread=True) is None  # a level for each entry may be what was not read
    clipped = np.where(np.arange(24).reshape(6, 4) % 5 == 0, sizes, 0.5)  # most of one size: their noise is clipped
    assert rule("_levels_of_entries", of(sizes, levels=1)) is not None
    assert rule("_levels_of_entries", of(clipped, levels=1)) is None
    by_row = SIGMAS[np.arange(6) % 3][:, None] + 0 * sizes
    assert rule("_levels_of_entries", of(by_row)) is None
    assert rule("_levels_of_entries", of(sizes, levels=2)) is not None
    assert rule("_levels_of_entries", of(sizes, trouble="")) is None
    assert rule("_levels_of_entries", of(sizes), of(np.linspace(1, 2, 24).reshape(6, 4))) is None
    assert rule("_levels_of_entries", of(sizes), of(sizes, levels=1)) is not None


def test_noise_that_is_a_function_of_normals_entry_by_entry_is_changed():
    whole = lambda shift, draws=(Z,), **more: trial_of(shift, draws, **more)
    cast, plain = whole(np.trunc(2 * Z)), whole(0.5 * Z, trouble="")
    text, pattern = rule("_changed_by_entry", cast)
    assert text.startswith("noise changed: each entry of the noise is a function of the normal number that was drawn")
    assert pattern == "x~ - c x is a function of the numbers drawn, entry by entry"
    assert rule("_changed_by_entry", cast, plain) is not None and rule("_changed_by_entry", cast, plain, plain) is None
    assert rule("_changed_by_entry", cast, whole(Z[::-1] ** 2 * X)) is None
    assert rule("_changed_by_entry", cast, unread=True) is not None
    by_levels = whole(0.5 * (1 + np.arange(24).reshape(6, 4) % 3 / 10) * Z)
    assert rule("_changed_by_entry", by_levels) is not None
    assert rule("_changed_by_entry", by_levels, unread=True) is None  # a level for each entry, in what was not read
    assert rule("_changed_by_entry", whole(np.tanh(Z), [Draw("random", Z)])) is None
    assert rule("_changed_by_entry", whole(np.tanh(Z), [X**2, Z])) is not None
    assert rule("_changed_by_entry", whole(np.tanh(Z), setting={"levels": 2})) is None
    assert rule("_changed_by_entry", whole(np.tanh(Z), c=None)) is None
    assert rule("_changed_by_entry", whole(np.tanh(Z[:4]), row=np.arange(4))) is None
    order = np.array([3, 1, 2, 0, 5, 4])
    assert rule("_changed_by_entry", whole(np.tanh(Z[order]), row=order)) is not None
    assert rule("_changed_by_entry", whole(np.tanh(Z[order]))) is None


def accumulated(factors, told, draws=None, off=0.0, **more):
    """Batches one after the other, each with the noise of those before; factors (steps, steps)."""
    steps = len(factors)
    rng = np.random.default_rng(3)
    r = rng.standard_normal((steps, 6, 4))
    shift = np.einsum("ks,knd->snd", np.asarray(factors, float), r).reshape(-1, 4)
    shift = shift + off * rng.standard_normal(shift.shape)
    told = None if told is None else np.repeat(np.asarray(told, float), 6)
    return trial_of(shift, list(r) if draws is None else draws, row=np.tile(np.arange(6), steps), told=told, **more)


def test_noise_that_accumulates_is_told_by_its_steps():
    s = [0.5, 0.25, 1.0]
    whole = np.triu(np.ones((3, 3))) * np.array(s)[:, None]
    text, pattern = rule("_accumulated", accumulated(whole, s))
    assert text.startswith("noise accumulates: each noisy batch is made of the one before")
    assert pattern == "standard deviations [0.5    0.559  1.1456], told [0.5  0.25 1.  ]"
    two = rule("_accumulated", accumulated(whole, s), accumulated(whole[:2, :2], s[:2]))
    assert two[1] == "standard deviations [0.5   0.559], told [0.5  0.25]"  # of the last trial
    assert rule("_accumulated", accumulated(np.diag(s), s)) is None  # each its own
    assert rule("_accumulated", accumulated(whole, [0.5, 0.559, 1.1456])) is None  # told what it has
    assert rule("_accumulated", accumulated(whole, [0.5, 0.25, 1 + 0.9e-5])) is not None
    assert rule("_accumulated", accumulated(whole, [0.5, 0.25, 1 + 1.2e-5])) is None
    assert (
        rule("_accumulated", accumulated([[0.5]], [0.5])) is None
        and rule("_accumulated", accumulated(whole, None)) is None
    )
    assert (
        rule("_accumulated", accumulated(whole, s, trouble="")) is None
        and rule("_accumulated", accumulated(whole, s, c=None)) is None
    )

    def left(off):
        """What the steps do not explain, of the squares of the noise in each."""
        made = accumulated(whole, s, off=off)
        shift, r = (
            a.reshape(3, -1).T for a in (made.points - np.tile(X, (3, 1)), np.array([d.value for d in made.draws]))
        )
        return (np.linalg.lstsq(r, shift, rcond=None)[1] / np.sum(shift**2)).max()

    by = np.sqrt(1e-12 / left(1e-3)) * 1e-3
    assert left(by) == pytest.approx(1e-12, rel=0.01)
    assert (
        rule("_accumulated", accumulated(whole, s, off=0.98 * by)) is not None
        and rule("_accumulated", accumulated(whole, s, off=1.02 * by)) is None
    )
    for faint, known in ((0.98e-6, False), (1.02e-6, True)):  # the first step is lost in the third
        lost = whole.copy()
        lost[0, 2] = faint
        assert (rule("_accumulated", accumulated(lost, s)) is not None) == known
    r = np.random.default_rng(3).standard_normal((3, 6, 4))
    beside = [Draw("random", r[0]), np.ones((6, 1)), *r]  # other draws are no steps
    assert rule("_accumulated", accumulated(whole, s, beside)) is not None
    assert rule("_accumulated", accumulated(whole, s, list(r[:2]))) is None  # more points than steps
    assert rule("_accumulated", accumulated(whole, s), trial_of(Z, [Z])) is None


def test_coordinates_that_share_their_noise_are_listed():
    size = 2 * np.abs(Z[:, :3]).max()
    column = lambda by: trial_of(np.concatenate([2 * Z[:, :3], 2 * Z[:, :1] + by * size * np.eye(6, 1)], axis=1))
    text, pattern = rule("_coordinates_shared", column(0.9e-6))
    assert text.startswith("shared noise: some coordinates of a row get the same noise")
    assert (
        pattern == "x~ - c x is the same in the columns [0, 3], [1], [2]"
        and rule("_coordinates_shared", column(1.2e-6)) is None
    )
    whole = trial_of(Z[:, :1] * np.ones(4))
    assert rule("_coordinates_shared", whole, whole) == ("shared noise: every dimension of a row gets the same noise", "x~ - c x is the same in all columns")  # fmt: skip
    assert rule("_coordinates_shared", column(0), trial_of(Z)) is None  # not in every trial
    three = trial_of(Z[:, [0, 0, 0, 1]])
    assert rule("_coordinates_shared", three, column(0))[1] == "x~ - c x is the same in the columns [0, 1, 2], [3]"
    one = trial_of(Z[:1, [0, 0, 1, 2]], row=np.arange(1))
    assert rule("_coordinates_shared", trial_of(Z[:2, [0, 0, 1, 2]], row=np.arange(2))) is not None
    assert rule("_coordinates_shared", one) is None  # of one row the columns may be alike by chance
    signs = trial_of(np.sign(Z[:, [0, 0, 1, 2]]))
    assert (
        rule("_coordinates_shared", signs) is None
        and rule("_coordinates_shared", trial_of(np.sign(Z[:, :1]) * np.ones(4))) is not None
    )
    assert rule("_coordinates_shared", trial_of(0 * Z)) is None


def test_rows_that_share_their_noise_are_told_from_a_few_that_do():
    off = np.eye(6, 4)
    unit = Z[0] / np.linalg.norm(Z[0])
    twin = lambda by: trial_of(np.arange(1.0, 7)[:, None] * (unit + by * off * np.array([1, 0, 0, 0])))
    all_rows = (
        "shared noise: every row gets the same noise; draw one for each row",
        "x~ - c x is the same in all rows",
    )
    assert rule("_rows_shared", twin(0.5e-6)) == all_rows and rule("_rows_shared", twin(4e-6)) is None
    halves = trial_of(Z[[0, 1, 2, 0, 1, 2]])
    text, pattern = rule("_rows_shared", halves)
    assert (
        text
        == "shared noise: different rows of the batch get the same noise (it is drawn for a part of the batch, and repeated, or its numbers are fixed nodes?)"
    )
    assert pattern == "x~ - c x is the same in several rows"
    assert rule("_rows_shared", halves, twin(0))[1] == pattern and rule("_rows_shared", halves, trial_of(Z)) is None
    assert rule("_rows_shared", trial_of(Z[[0, 0, 1, 1, 2, 3]])) is None and rule("_rows_shared") is None
    assert rule("_rows_shared", trial_of(np.sign(Z[[0, 1, 2, 0, 1, 2]]))) is None  # signs are alike by chance
    assert rule("_rows_shared", trial_of(np.sign(Z[:1]) * np.ones((6, 1)))) == all_rows
    several = trial_of(Z[[0, 0, 1, 1]], row=np.array([0, 0, 1, 1]))
    assert rule("_rows_shared", several) is None  # two points of one row are no two rows
    crossed = trial_of(Z[[0, 0, 1, 1]], row=np.array([0, 1, 0, 1]))
    assert rule("_rows_shared", crossed)[1] == pattern
    everywhere = trial_of(Z[[0, 0, 0, 0]], row=np.array([0, 0, 1, 1]))
    assert rule("_rows_shared", everywhere) == all_rows
    alone = trial_of(Z[[0, 0]], row=np.array([2, 2]))
    assert rule("_rows_shared", alone) is None


def test_noise_less_its_mean_over_the_batch_is_centred():
    centred = Z - Z.mean(0)
    size = np.abs(centred).max()
    said = "the sum of x~ - c x over the rows is 0"
    plus = lambda by: trial_of(centred + by * size * np.eye(6, 4))
    assert rule("_centred_over_rows", plus(0.9e-9))[1] == said and rule("_centred_over_rows", plus(1.2e-9)) is None
    assert rule("_centred_over_rows", plus(0), trial_of(Z)) is None
    pair = trial_of(centred[:2] - centred[:2].mean(0), row=np.arange(2))
    assert rule("_centred_over_rows", pair) is None and rule("_centred_over_rows", plus(0), pair)[1] == said
    three = Z[:3] - Z[:3].mean(0)
    assert rule("_centred_over_rows", trial_of(three, row=np.arange(3)))[1] == said
    assert rule("_centred_over_rows", trial_of(three, row=np.array([0, 1, 1]))) is None
    anti = np.concatenate([Z[:3], -Z[:3]])
    assert rule("_centred_over_rows", trial_of(anti)) is None
    for by, opposite in ((0.98e-6, True), (1.02e-6, False)):  # of sum 0, and not opposite each other
        bent = anti * (3 / np.abs(anti).max())
        bent[0] += 3 * by * np.sign(bent[0])
        bent[1] -= 3 * by * np.sign(bent[0])
        assert (rule("_centred_over_rows", trial_of(bent, x=0 * X)) is None) == opposite


def test_data_and_noise_that_are_not_used():
    none, some = trial_of(Z, c=0.0, sigma=np.ones(6)), trial_of(Z, sigma=np.ones(6))
    assert (
        rule("_data_or_noise_alone", none, none)[1] == "x~ = noise" and rule("_data_or_noise_alone", none, some) is None
    )
    assert (
        rule("_data_or_noise_alone", none._replace(sigma=None)) is None
        and rule("_data_or_noise_alone", none, some._replace(sigma=None)) is not None
    )
    clean = trial_of(0 * Z, sigma=np.zeros(6))
    assert (
        rule("_data_or_noise_alone", clean, clean)[1] == "fn was asked at x and nowhere else"
        and rule("_data_or_noise_alone", clean, some) is None
    )
    assert (
        rule("_data_or_noise_alone", clean._replace(sigma=None)) is None
        and rule("_data_or_noise_alone", clean, some._replace(sigma=None)) is not None
    )
    one = np.array([1.0, 0, 0, 0, 0, 0])
    assert rule("_data_or_noise_alone", trial_of(0 * Z, sigma=one)) is None
    source = np.stack([np.array([0, 1, 0, 2, 0, 0]), np.arange(6)], axis=1)
    drawn = [Draw("normal", Z), Draw("uniform", Z), Draw("laplace", Z)]
    heard = trial_of(Z, drawn, sigma=np.ones(6), source=source, trouble="")
    assert rule("_not_gaussian", heard)[0].endswith("the noise is drawn by laplace, uniform")
    quiet = heard._replace(sigma=np.array([1.0, 0, 1, 0, 1, 1]))  # of the points that have noise
    assert rule("_not_gaussian", quiet) is None and rule("_not_gaussian", heard._replace(trouble="inferred")) is None
    given = heard._replace(draws=(Draw("the noise given", Z), *drawn[1:]), source=source * [0, 1])
    assert rule("_not_gaussian", given) is None

    def noted(trial, takes=("noise",)):
        caller = SimpleNamespace(takes=dict.fromkeys(takes, ("z", None)), notes=set())
        assert perturbation._given_noise_not_used(caller, [trial]) is None
        return caller.notes

    assert noted(given) == noted(heard, ()) == set()
    text = "the noise of the points is not what was given as z"
    assert noted(heard) == {f"{text}: another is drawn (or is z meant to be something else?)"}
    rows = given._replace(source=np.stack([0 * np.arange(6), np.array([0, 1, 2, 3, 5, 4])], axis=1))
    assert noted(rows) == {f"{text}, row by row: rows have the noise of other rows"}
    assert noted(rows._replace(sigma=np.array([1.0, 1, 1, 1, 0, 0]))) == set()
    assert noted(heard._replace(trouble="inferred")) == set()


# ------------------------------------------------------------------------------- draws


def drawn(draws, points=X, other=X + 1, takes=(), trials=None):
    seeds = []

    def ask(probe, setting):
        seeds.append(setting.seed)
        return SimpleNamespace(points=other, told=None, draws=(), beside=None)

    caller = SimpleNamespace(takes=dict.fromkeys(takes, 0), ask=ask)
    made = [trial_of(Z, ds, points=points) for ds in (trials or [draws])]
    naming = perturbation.drawn(caller, "score", made, np.random.default_rng(0))
    assert all(seed not in (3, 4) for seed in seeds) and len(seeds) == ("noise" not in takes)
    return naming


def test_noise_is_drawn_anew_and_from_keys_of_its_own():
    one, two = Draw("normal", Z, "k"), Draw("uniform", Z[:, :1], "k")
    fixed = drawn([], other=X)
    assert fixed.verdict == "FAIL" and fixed.diagnosis.startswith("fixed noise: another seed gives the same noise")
    assert (
        fixed.pattern == "another seed, the same points"
        and drawn([]) is None
        and drawn([], other=X, takes=["noise"]) is None
    )
    shared = drawn([one, two])
    assert shared.verdict == "FAIL" and shared.diagnosis.startswith(
        "one key: two different draws of the loss come from one key"
    )
    assert shared.pattern == "uniform (6, 1) from the key of an earlier draw"
    assert drawn([one, one]) is None  # the same again is the same noise, used twice
    assert (
        drawn([one, two._replace(key="l")]) is None and drawn([one._replace(key=None), two._replace(key=None)]) is None
    )
    assert drawn([one, Draw("normal", Z[:3], "k")]).pattern == "normal (3, 4) from the key of an earlier draw"
    assert drawn([one, Draw("laplace", Z, "k")]) is not None
    assert drawn([one, Draw("normal", Z, "l"), Draw("normal", Z[:2], "l")]) is not None
    assert drawn(None, trials=[[one], [one, two]]) is not None and drawn(None, trials=[[one], [two]]) is None


# ------------------------------------------------------------------------------- correlated noise

C4 = np.eye(4) + 0.3 * (np.eye(4, k=1) + np.eye(4, k=-1))
B4 = np.linalg.cholesky(C4).T


def correlated(monkeypatch, targets, w=1.0, predicts=None, free=True, near=True, off=0.0, sigmas=None):
    """What is said of a loss with noise of covariance sigma^2 C whose rows are pulled to targets(eps, sigma, x)."""
    founds, trials, calls = [], [], []
    for k, target in enumerate(targets):
        s = np.linspace(0.3, 0.8, 6) if sigmas is None else sigmas
        eps = Z @ B4 if k == 0 else Z[::-1] @ B4
        weight = w + np.zeros(6)
        own = weight[:, None, None] * np.eye(4)
        own[0, 0, 1] = off * np.abs(w).max()
        founds.append(
            SimpleNamespace(fit=SimpleNamespace(near=near), own=own, b=-weight[:, None] * target(eps, s[:, None], X))
        )
        trials.append(trial_of(s[:, None] * eps, sigma=s, eps=eps))

    def identify(table, jacobian):
        calls.append(jacobian)
        return founds[table]

    monkeypatch.setattr(perturbation, "identify", identify)
    caller = SimpleNamespace(known={"predicts": predicts}, free=free)
    out = perturbation.correlated(caller, trials, [C4] * len(targets), list(range(len(targets))))
    assert calls and not any(calls)
    return out


def score(eps, s, x):
    return -np.linalg.solve(C4, eps.T).T / s


def noise(eps, s, x):
    return 1.7 * eps


def data(eps, s, x):
    return x


def test_correlated_noise_is_read_by_what_fn_is_pulled_to(monkeypatch):
    said = lambda *targets, **more: correlated(monkeypatch, targets, **more)
    right = said(score, score)
    assert right.verdict == "PASS" and right.notes == (
        f"another convention: {perturbation.JOINED}, and the target is its score -C^-1 (x~ - c x)",
    )
    assert right.pattern == "covariance of the noise over its mean variance, first row [1.  0.3 0.  0. ]"
    assert said(score, predicts="score").verdict == "PASS" and said(score, w=2.5).verdict == "PASS"
    assert said(score, noise).verdict == said(noise, predicts="v").verdict == "INCONCLUSIVE"
    for target, meant in ((score, "eps"), (data, "eps"), (noise, "x"), (lambda e, s, x: 0 * e, "eps")):
        other = said(target, predicts=meant)
        assert other.verdict == "FAIL" and other.diagnosis.endswith("the target is not " + perturbation.MEANT[meant])
    eps = said(noise, noise, predicts="eps")
    assert eps.verdict == "PASS" and eps.notes == (f"another convention: {perturbation.JOINED}, and fn predicts the noise; the score is C^-1 times what it is for independent noise",)  # fmt: skip
    x = said(data, predicts="x")
    assert x.verdict == "PASS" and "fn predicts x; the score" in x.notes[0]
    assert said(data).verdict == said(noise).verdict == "INCONCLUSIVE"
    assert (
        said(noise).diagnosis.endswith("say predicts='eps' if it is that noise itself")
        and said(noise).pattern == right.pattern
    )
    assert said(lambda e, s, x: 0.5 * e, predicts="eps").verdict == "PASS"
    turned, uneven = (lambda e, s, x: -1.7 * e), (lambda e, s, x: s * e)
    assert said(turned, predicts="eps").verdict == said(uneven, predicts="eps").verdict == "FAIL"
    sizes = lambda by: lambda e, s, x: 1.7 * e * (1 + by * np.eye(6, 1))
    assert (
        said(sizes(0.9e-6), predicts="eps").verdict == "PASS" and said(sizes(1.2e-6), predicts="eps").verdict != "PASS"
    )
    plain = lambda e, s, x: -e / s  # the score of independent noise
    for more in ({"free": False}, {"predicts": "score"}):
        wrong = said(plain, **more)
        assert (
            wrong.verdict == "FAIL"
            and wrong.diagnosis
            == f"{perturbation.JOINED}; the target is not the score of the points, which is -C^-1 (x~ - c x)"
        )
    assert said(plain).verdict == "INCONCLUSIVE"
    size = np.abs(score(Z @ B4, np.linspace(0.3, 0.8, 6)[:, None], X)).max()
    off = lambda by: lambda e, s, x: score(e, s, x) + by * size * np.eye(6, 4)
    assert said(off(0.9e-6)).verdict == "PASS" and said(off(1.2e-6)).verdict != "PASS"


def test_correlated_noise_is_not_judged_where_weights_are_not_plain(monkeypatch):
    said = lambda **more: correlated(monkeypatch, [score], **more)
    for more in ({"near": False},):
        assert said(**more).verdict == "INCONCLUSIVE" and said(**more).diagnosis.endswith(
            "; what fn is pulled to was not read off"
        )
    assert said(off=0.9e-6, w=3.0).verdict == "PASS"
    for w in (np.array([1.0, 1, 1, 1, 1, 1e-300]) * [1, 1, 1, 1, 1, 0], np.array([1.0, -1, 1, 1, 1, 1])):
        with np.errstate(all="ignore"):
            assert (
                said(w=w).diagnosis == f"{perturbation.JOINED}; some rows or dimensions have no weight, or one below 0"
            )
