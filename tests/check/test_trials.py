"""From points to c, sigma and eps, on made arrays: each solver against what the arrays were made of, and both sides of each room for rounding."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import trials
from numpyscore.check.losses.hearing import Draw
from numpyscore.check.losses.trials import Trial, as_asked, by_column, by_entry, noisy, plain, rows_of, with_noise

SINGLE = float(np.finfo(np.float32).eps)


def normals(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


class Asking:
    """A loss that asks at points(x), and writes down every x; a caller's `ask`."""

    def __init__(self, points, eps=1e-16, draws=()):
        self.points, self.eps, self.draws, self.xs, self.probes = points, eps, draws, [], []

    def ask(self, probe, setting):
        self.xs.append(setting.x)
        self.probes.append(probe)
        points = self.points(setting.x)
        told = None if points is None else np.arange(len(points)) * 1.0
        beside = None if told is None else told[:, None]
        return SimpleNamespace(points=points, told=told, draws=self.draws, beside=beside, _replace=self.replaced)

    def replaced(self, points):
        return SimpleNamespace(points=points)


class Setting(SimpleNamespace):
    def _replace(self, **changes):
        return Setting(**{**vars(self), **changes})


def setting_of(x, **more):
    return Setting(**({"n": len(x), "d": x.shape[1], "x": x, "levels": 1, "level": 0.5, "seed": 3} | more))


# ------------------------------------------------------------------------------- what a loss is asked


def test_points_are_the_data_or_where_the_loss_asks():
    x, draws = normals(4, 3), (Draw("normal", normals(4, 3, seed=1)),)
    caller = Asking(lambda x: x + 1, draws=draws)
    at_data, asked = (look(caller, "score", setting_of(x), np.random.default_rng(0)) for look in (plain, as_asked))
    assert at_data.points is x and at_data.told is None and at_data.draws == draws and at_data.trouble == ""
    np.testing.assert_array_equal(asked.points, x + 1)
    assert asked.told.tolist() == [0, 1, 2, 3] and asked.beside.shape == (4, 1) and asked.draws == draws
    assert asked.trouble == "" and caller.probes[0].kind == "score" and caller.probes[0].dim == 3
    assert asked.scale == 1.0 and not asked.coupled and asked.apart_of == ()
    hidden = Asking(lambda x: None, draws=draws)
    unseen = as_asked(hidden, "energy", setting_of(x), np.random.default_rng(0))
    assert unseen.trouble == "unseen" and unseen.points is x and unseen.draws == draws
    assert noisy(hidden, "energy", setting_of(x), np.random.default_rng(0)).trouble == "unseen" and len(hidden.xs) == 2


def test_steps_of_the_data_are_of_both_signs_and_three_sizes():
    x = normals(60, 3)
    caller = Asking(lambda x: np.tanh(x))  # no multiple at any size
    trial = noisy(caller, "score", setting_of(x), np.random.default_rng(0))
    assert trial.trouble == "not scaled" and trial.factors is None and trial.c is None
    steps = [moved - x for moved in caller.xs[2:]]
    assert len(steps) == 6  # three sizes, twice by factors, and all rows together
    for step, size in zip(steps[:5], (1.0, 1e-4, 1e-6, 1.0, 1.0), strict=True):
        assert 0.3 < np.mean(step > 0) < 0.7
        relative = np.abs(step) / size
        assert 0.5 <= relative.min() + 1e-8 < 0.55 and 1.45 < relative.max() <= 1.5 + 1e-8
    np.testing.assert_allclose(steps[5], np.tile([0.5, 0.75, 1.0], (60, 1)), rtol=1e-12)
    assert not np.array_equal(steps[3], steps[4])
    coarse = Asking(lambda x: np.tanh(x), eps=1e-9)  # in single precision smaller steps show nothing
    noisy(coarse, "score", setting_of(x), np.random.default_rng(0))
    assert len(coarse.xs) == 2 + 1 + 3


def test_points_that_come_and_go_are_not_held():
    x = normals(4, 3)
    calls = []

    def changing(first, later):
        def points(x):
            calls.append(x)
            return first(x) if len(calls) % 2 else later(x)

        return noisy(Asking(points), "score", setting_of(x), np.random.default_rng(0)).trouble

    assert changing(lambda x: x + 1, lambda x: x + 1 + 1e-15) == "not held"
    assert changing(lambda x: x + 1, lambda x: (x + 1)[:3]) == "not held"
    assert changing(lambda x: x + 1, lambda x: None) == "not held"


def test_a_scale_of_one_is_told_from_one_close_by():
    x, z = normals(4, 3), normals(4, 3, seed=1)

    def c(by, eps, **more):
        caller = Asking(lambda x: (1 + by) * x + 0.5 * z, eps, (Draw("normal", z),))
        return noisy(caller, "score", setting_of(x, **more), np.random.default_rng(0)).c

    assert np.all(c(0.9e-8, 1e-12) == 1) and np.all(c(1.1e-8, 1e-12) != 1)
    assert np.all(c(0.9e-12, 1e-16) == 1) and np.all(c(1.1e-12, 1e-16) != 1)
    single = lambda x: (((1 + 1e-4) * x + 0.5 * z).astype(np.float32)).astype(float)
    caller = Asking(single, 1e-16, (Draw("normal", z.astype(np.float32)),))
    rounded = noisy(caller, "score", setting_of(x), np.random.default_rng(0))
    assert rounded.trouble == "" and np.all(rounded.c == 1)  # 1e4 x 1.2e-7: nothing closer is known
    few = np.round(4 * x) / 4  # data of few digits: that the points have few too shows no rounding
    exact = noisy(Asking(lambda x: (1 + 2.0**-10) * x), "score", setting_of(few), np.random.default_rng(0))
    np.testing.assert_allclose(exact.c, 1 + 2.0**-10, rtol=1e-12)


def test_what_is_drawn_may_go_with_the_order_of_the_rows():
    """Found with the smaller steps, of which c is known to eps/(1e3 size)."""
    x, z = np.array([[0.1, 2, 3], [1.1, -1, 0], [2.1, 1, 1], [3.1, 0, -2]]), normals(4, 3, seed=1)

    def trial(by, cell):
        """Noise that goes to the rows by the cell in which their first number lies."""
        points = lambda x: (1 + by) * x + 0.5 * z[(np.round(x[:, 0] / cell).astype(int) % 4)]
        caller = Asking(points, 1e-17, (Draw("normal", z),))
        return noisy(caller, "score", setting_of(x), np.random.default_rng(0)), len(caller.xs)

    found, calls = trial(0.0, 1.0)
    assert found.coupled and calls == 4 and np.all(found.c == 1) and found.trouble == ""
    assert np.all(trial(2e-11, 1.0)[0].c == 1) and np.all(trial(2.5e-11, 1.0)[0].c != 1)  # 1e4 x 2.2e-16/(1e3 x 1e-4)
    found, calls = trial(0.0, 3e-5)
    assert found.coupled and calls == 5  # the smallest of the steps
    still = noisy(
        Asking(lambda x: x + z, 1e-17, (Draw("normal", z),)), "score", setting_of(x), np.random.default_rng(0)
    )
    assert not still.coupled


# ------------------------------------------------------------------------------- c and the row

POINTS = np.array([[2.0, 0.5], [-1.0, 1.0], [0.3, 0.2], [0.0, 1.5]])
STEP = np.array([[4.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def scaled(change, eps=1e-6):
    return trials._scale(Trial(None, POINTS, None), SimpleNamespace(points=POINTS + change), STEP, eps)


def test_each_point_moves_with_a_row_of_the_data():
    change = np.array([[0.5, 0.5], [-8.0, 0.0], [0.0, 0.25], [0.0, 0.0]])
    row, c = scaled(change)
    assert row.tolist() == [2, 0, 1, 0]  # one that stands still belongs to the row of its number, 3 of 3
    np.testing.assert_allclose(c, [0.5, -2.0, 0.25, 0.0], rtol=0, atol=1e-15)
    off = lambda by: scaled(change + np.array([[0, 0], [0, by], [0, 0], [0, 0]]))
    room = 1e3 * 1e-6 * 2 + 1e4 * 1e-6 * 4  # of the points, and of the step
    assert off(0.99 * room) is not None and off(1.01 * room) is None
    same = SimpleNamespace(points=None)
    assert trials._scale(Trial(None, POINTS, None), same, STEP, 1e-6) is None
    assert trials._scale(Trial(None, POINTS, None), SimpleNamespace(points=POINTS[:3]), STEP, 1e-6) is None
    tiny = scaled(change + np.array([[0, 0], [0, 0], [0, 0], [1e-9, 0]]))
    assert tiny[0][3] == 0 and 0 < tiny[1][3] < 1e-9  # it moves


def test_points_that_move_with_all_rows_together():
    x = normals(4, 3, seed=5)
    step, seen = np.array([0.5, 0.75, 1.0]), []

    def translated(c, off=0.0, of=lambda a: a):
        points = 3 * normals(4, 3, seed=6)
        points *= 3 / np.abs(points).max()
        across = np.array([1.0, 0.0, -0.5])  # at right angles to the step

        def moved(y):
            seen.append(y)
            return of(points + np.asarray(c)[:, None] * step + off * across)

        return trials._translated(Trial(setting_of(x), points, None), moved)

    found = translated(np.array([1.0, 0.5, 1 + 0.9e-6, 1 + 1.1e-6]))
    np.testing.assert_allclose(seen[0], x + step, rtol=1e-15)
    assert found.row.tolist() == [0, 1, 2, 3] and found.trouble == "not scaled"
    assert found.c[0] == found.c[2] == 1 and found.c[3] != 1
    np.testing.assert_allclose(found.c, [1, 0.5, 1, 1 + 1.1e-6], rtol=1e-12)
    assert (
        translated(np.full(4, 0.9e-6)).trouble == "centred" and translated(np.full(4, 1.1e-6)).trouble == "not scaled"
    )
    assert translated(np.array([0, 0, 0, 0.3])).trouble == "not scaled"
    assert translated(np.ones(4), 2.9e-6) is not None and translated(np.ones(4), 3.1e-6) is None  # of points up to 3
    assert translated(np.ones(4), of=lambda a: None) is None and translated(np.ones(4), of=lambda a: a[:3]) is None
    assert trials._translated(Trial(setting_of(x), x[:3], None), lambda y: y) is None


def test_factors_of_single_entries_are_those_of_two_steps():
    x, f = normals(5, 3), 1 + normals(5, 3, seed=2)

    def factors(bend=0.0, of=lambda a: a, points=f * x):
        made = lambda y: of(f * x + f * (y - x) * (1 + bend * (y > x)))
        return trials._multiplied(Trial(setting_of(x), points, None), made, np.random.default_rng(0))

    found = factors()
    np.testing.assert_allclose(found.factors, f, rtol=1e-12)
    assert found.trouble == "not scaled" and factors(0.9e-9 / 2).factors is not None and factors(4e-9).factors is None
    for other in (factors(of=lambda a: None), factors(of=lambda a: a[:4]), factors(points=x[:4])):
        assert other.factors is None and other.trouble == "not scaled"


# ------------------------------------------------------------------------------- sigma and eps

X = normals(4, 3, seed=20)
Z = normals(4, 3, seed=21)


def trial_of(shift, draws, c=1.0, row=None, x=X, points=None):
    row, c = np.arange(len(shift)) if row is None else np.asarray(row), c + np.zeros(len(shift))
    points = c[:, None] * x[row] + shift if points is None else points
    made = tuple(d if isinstance(d, Draw) else Draw("normal", d) for d in draws)
    return Trial(setting_of(x), points, None, made, row, c)


def across(z):
    """A unit vector at right angles to each row."""
    out = np.roll(z, 1, axis=1)
    out = out - np.sum(out * z, axis=1, keepdims=True) / np.sum(z * z, axis=1, keepdims=True) * z
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.mark.parametrize("points", [0.5, 400.0])
def test_a_shift_is_a_multiple_of_a_row_within_rounding(points):
    """Within 1e4 eps of its length, or of a hundredth of the largest point."""
    eps = 1e-8
    at = np.full((4, 3), points)
    size = 0.5 * np.linalg.norm(Z[0])
    room = 1e4 * eps * max(size, 0.01 * points)

    def found(off):
        shift = 0.5 * Z
        shift[0] += off * across(Z)[0]
        return trials._multiples(trial_of(shift, [Z], points=at), shift, eps)

    right, wrong = found(0.99 * room), found(1.01 * room)
    assert right.trouble == "" and right.source.tolist() == [[0, k] for k in range(4)]
    np.testing.assert_allclose(right.sigma, 0.5, rtol=1e-12)
    np.testing.assert_array_equal(right.eps, Z)
    assert wrong.trouble == "not heard" and np.isnan(wrong.sigma).tolist() == [True, False, False, False]
    assert np.all(np.isnan(wrong.eps[0])) and wrong.source.tolist() == [[-1, -1], [0, 1], [0, 2], [0, 3]]


def test_noise_in_single_precision_has_its_own_room():
    single = Z.astype(np.float32)
    rows = single.astype(float)
    size = 0.5 * np.linalg.norm(rows[0])

    def trouble(off, eps, draw):
        shift = 0.5 * rows
        shift[0] += off * across(rows)[0]
        return trials._multiples(trial_of(shift, [draw], points=np.zeros((4, 3))), shift, eps).trouble

    room = 8 * SINGLE * size
    assert trouble(0.99 * room, 1e-16, single) == "" and trouble(1.01 * room, 1e-16, single) == "not heard"
    assert trouble(0.5 * room, 1e-16, rows) == "not heard"
    assert trouble(1e3 * room, 2 * SINGLE, single) == ""  # of a loss in single precision its own
    kinds = [Draw("normal", v) for v in (single, rows, np.arange(3), single.astype(np.float16))]
    one = lambda eps: trials._single(SimpleNamespace(draws=kinds), eps).tolist()
    assert one(1e-16) == [True, False, False, True] and one(SINGLE) == [False] * 4


@pytest.mark.parametrize("points", [0.5, 20.0])
def test_a_shift_of_rounding_is_no_noise(points):
    at, eps = np.full((4, 3), points), 1e-9
    least = 64 * eps * max(1.0, points) * np.sqrt(3)
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    for size, none in ((0.99 * least, True), (1.01 * least, False)):
        found = trials._multiples(trial_of(size * unit, [Z], points=at), size * unit, eps)
        assert found.trouble == "" and np.all((found.source[:, 0] == -2) == none) and np.all((found.sigma == 0) == none)
        assert np.all((found.eps == 0) == none)
    nothing = trials._multiples(trial_of(Z, [], points=at), Z, eps)
    assert nothing.trouble == "not heard" and np.all(np.isnan(nothing.sigma))
    clean = trials._multiples(trial_of(0 * Z, [], points=at), 0 * Z, eps)
    assert clean.trouble == "" and np.all(clean.source == -2)


def test_signs_are_those_of_their_own_rows():
    """Among rows that are multiples of each other that of the point's own row, and of the same sign."""
    signs = np.array(
        [[1.0, 1, -1], [-1, -1, 1], [1, 1, -1], [1, 1, -1], [1, 1, -1], [-1, -1, 1], [1, 1, -1], [1, 1, -1]]
    )
    shift = 0.5 * np.array([[1.0, 1, -1], [-1, -1, 1], [1, 1, -1], [-1, -1, 1]])
    found = trials._multiples(trial_of(shift, [signs]), shift, 1e-16)
    assert found.source[:3].tolist() == [[0, 0], [0, 1], [0, 2]] and np.all(found.sigma == 0.5)
    np.testing.assert_array_equal(found.eps, 2 * shift)
    second = trials._multiples(trial_of(shift, [np.concatenate([2 * normals(4, 3), signs[:4]])]), shift, 1e-16)
    assert second.source[:3].tolist() == [[0, 4], [0, 5], [0, 6]]  # of the second of two for each row
    turned = trials._multiples(trial_of(-0.7 * Z, [Z]), -0.7 * Z, 1e-16)
    np.testing.assert_allclose(turned.sigma, 0.7, rtol=1e-14)
    np.testing.assert_array_equal(turned.eps, -Z)


def test_noise_that_is_centred_or_of_another_mean_is_found_but_for_a_constant():
    u = np.random.default_rng(3).random((4, 3))
    for shift, draw, heard in (
        (0.5 * (Z - Z.mean(1, keepdims=True)), Draw("normal", Z), True),
        (0.5 * Z + 0.3 * X[:, :1], Draw("normal", Z), False),  # something else is added
        (0.5 * (u - 0.5), Draw("random", u), True),
        (0.5 * u + 0.1 * u**2, Draw("random", u), False),
    ):
        trial = trial_of(shift, [draw])
        assert trials._multiples(trial, shift, 1e-16).trouble == "not heard"
        found = with_noise(trial, shift, 1e-16)
        assert (found.trouble == "") == heard
        if heard:
            centred = draw.value - draw.value.mean(1, keepdims=True)
            np.testing.assert_array_equal(found.eps, centred)
            np.testing.assert_allclose(
                found.sigma * np.linalg.norm(centred, axis=1), np.linalg.norm(shift, axis=1), rtol=1e-12
            )
            assert found.source.tolist() == [[0, k] for k in range(4)]
    for sum_of, heard in ((0.99, True), (1.01, False)):  # normals whose mean was not taken away are something else
        at, eps = np.full((4, 3), 20.0), 1e-9
        shift = 0.5 * (Z - Z.mean(1, keepdims=True)) + sum_of * 1e4 * eps * 20 / 3
        found = trials._multiples(trial_of(shift, [Z], points=at), shift, eps, spread=True)
        assert (found.trouble == "") == heard
    two = np.random.default_rng(3).random((4, 2))  # of two numbers any shift is a multiple but for a constant
    made = trial_of(two**2, [Draw("random", two)], x=X[:, :2])
    assert trials._multiples(made, two**2, 1e-16, spread=True).trouble == "not heard"
    rows = normals(5, 4, seed=7)
    off = 2 * rows[3] + 0.7
    unit = across((rows - rows.mean(1, keepdims=True)) - 0)[3]
    unit = unit - unit.mean()
    centred = off - off.mean()
    left = lambda by: trials._spread(off + by * unit, rows)
    assert left(0.0) == 3 and left(0.5e-6 * np.linalg.norm(centred)) == 3
    assert left(2e-6 * np.linalg.norm(centred) / np.linalg.norm(unit)) is None
    assert trials._spread(off, np.ones((2, 4))) is None  # rows of one number


def test_an_offset_of_the_data_is_solved():
    c, row, o = np.array([2.0, 1.0, 0.5, 2.0]), np.array([2, 0, 1, 3]), np.array([-0.5, 0.25, 1e-13])
    shift = c[:, None] * o + 0.5 * Z
    found = with_noise(trial_of(shift, [Z], c, row), shift, 1e-16)
    np.testing.assert_allclose(found.offset, [-0.5, 0.25, 0.0], rtol=0, atol=1e-12)
    assert found.offset[2] == 0 or abs(found.offset[2]) > 1e-11  # what rounding leaves is none
    np.testing.assert_allclose(found.sigma, 0.5, rtol=1e-10)
    assert found.trouble == "" and found.source.tolist() == [[0, k] for k in range(4)]
    by_row = c[:, None] * o + 0.5 * Z[row]
    found = with_noise(trial_of(by_row, [Z], c, row), by_row, 1e-16)
    np.testing.assert_allclose(found.offset, [-0.5, 0.25, 0.0], rtol=0, atol=1e-12)
    assert found.source.tolist() == [[0, k] for k in row]
    offset = lambda trial, shift, eps=1e-16: trials._offset(trial, shift, eps)
    assert offset(trial_of(shift, [Z], 0.0, row), shift) is None  # where the data do not count
    assert offset(trial_of(shift, [Draw("random", Z)], c, row), shift) is None  # of normals alone
    assert offset(trial_of(shift[:1], [Z], c[:1], row[:1]), shift[:1]) is None  # as many equations as unknowns
    flat = np.stack([Z[:, 0]] * 3, axis=1)  # all along one line: o along it is not known
    assert offset(trial_of(c[:, None] * o + 0.5 * flat, [flat], c, row), c[:, None] * o + 0.5 * flat) is None
    close = flat + 1e-9 * normals(4, 3, seed=31)  # nearly so
    assert offset(trial_of(o + 0.5 * close, [close]), o + 0.5 * close) is None
    few = normals(3, 2, seed=30)  # three equations, two unknowns
    made = np.array([0.5, -1.0]) + few
    np.testing.assert_allclose(offset(trial_of(made, [few], x=X[:, :2]), made), [0.5, -1], atol=1e-12)
    assert offset(trial_of(made[:2], [few[:2]], x=X[:, :2]), made[:2]) is None
    line = normals(4, 1)
    assert offset(trial_of(1 + line, [line], x=X[:, :1]), 1 + line) is None


def test_an_offset_holds_for_every_point_within_rounding():
    """1e4 eps of the largest point; of noise in single precision 8 of its roundings."""
    o, eps = np.array([-0.5, 0.25, 0.75]), 1e-9
    for draw, eps, room in ((Z, 1e-9, 1e-5), (Z.astype(np.float32), 1e-16, 8 * SINGLE)):
        rows = draw.astype(float)
        shift = o + 0.5 * rows
        trial = trial_of(shift, [draw], points=np.full((4, 3), 3.0))
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        P = np.eye(3) - unit[:, :, None] * unit[:, None]
        A = P.reshape(-1, 3)

        def left(by, shift=shift, P=P, A=A):
            y = np.einsum("mij,mj->mi", P, shift + by * np.sin(np.arange(12.0)).reshape(4, 3)).ravel()
            return np.abs(A @ np.linalg.lstsq(A, y, rcond=None)[0] - y).max()

        by = 3 * room / left(1.0)  # what is left goes with it
        wave = np.sin(np.arange(12.0)).reshape(4, 3)
        assert trials._offset(trial, shift + 0.99 * by * wave, eps) is not None
        assert trials._offset(trial, shift + 1.01 * by * wave, eps) is None
    small = lambda v: trials._offset(trial_of(np.array([0.5, 0.25, v]) + 0.5 * Z, [Z]), np.array([0.5, 0.25, v]) + 0.5 * Z, 1e-9)[2]  # fmt: skip
    assert small(0.99e-4) == 0 and small(1.01e-4) != 0


def test_noise_of_two_draws_is_taken_apart():
    u, v = normals(4, 3, seed=40), normals(4, 3, seed=41)
    a, b = np.array([0.6, 1.0, -0.3, 2.0])[:, None], np.array([0.8, 0.2, 0.4, -1.5])[:, None]
    shift, size = a * u + b * v, np.hypot(a, b)
    level = Draw("normal", normals(4, 1, seed=42))  # one number for a row is no draw for it
    found = with_noise(trial_of(shift, [Draw("random", u), level, u, v]), shift, 1e-16)
    np.testing.assert_allclose(found.sigma, size[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found.eps, shift / size, rtol=1e-12)
    np.testing.assert_allclose(found.apart, (b * u - a * v) / size, rtol=0, atol=1e-12)
    assert found.trouble == "" and found.source.tolist() == [[2, k] for k in range(4)]
    other = np.array([3, 0, 1, 2])
    mixed = a * u[other] + b * v
    rows = with_noise(trial_of(mixed, [u, v]), mixed, 1e-16)
    assert rows.source.tolist() == [[0, k] for k in other] and np.allclose(rows.sigma, size[:, 0], rtol=1e-12)
    two = lambda trial, shift, eps=1e-16: trials._of_two_draws(trial, shift, eps)
    plane = (a * u + b * v)[:, :2]  # of two dimensions any two rows make up everything
    assert two(trial_of(plane, [u[:, :2], v[:, :2]], x=X[:, :2]), plane) is None
    assert two(trial_of(shift, [u]), shift) is None and two(trial_of(shift, [u, Draw("random", v)]), shift) is None


def test_two_draws_hold_within_rounding_and_are_looked_for_among_few(monkeypatch):
    for dtype, eps, room in ((float, 1e-9, 1e-5), (np.float32, 1e-16, 8 * SINGLE)):
        u, v = (normals(4, 3, seed=s).astype(dtype) for s in (40, 41))
        shift = 0.6 * u.astype(float) + 0.8 * v.astype(float)
        trial = trial_of(shift, [u, v], points=np.full((4, 3), 3.0))
        normal = np.cross(u[0].astype(float), v[0].astype(float))
        normal /= np.abs(normal).max()  # at right angles to both
        off = lambda by, shift=shift, normal=normal: shift + np.array([[by], [0], [0], [0]]) * normal
        assert trials._of_two_draws(trial, off(0.99 * 3 * room), eps) is not None
        assert trials._of_two_draws(trial, off(1.01 * 3 * room), eps) is None
    monkeypatch.setattr(trials, "TRIED", 4 * 4 * 12 - 1)
    assert trials._of_two_draws(trial, shift, 1e-16) is None
    monkeypatch.setattr(trials, "TRIED", 4 * 4 * 12)
    assert trials._of_two_draws(trial, shift, 1e-16) is not None


# ------------------------------------------------------------------------------- points of a difference, and mixtures


def test_points_that_lie_close_together_become_their_middle():
    far = np.array([[4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    step = np.array([0.0, 1.0, 0.0])

    def centred(h, at=far, times=2):
        points = np.concatenate([at + (k - (times - 1) / 2) * h * step for k in range(times)])
        told = np.arange(len(points)) * 1.0
        trial = Trial(None, points, told, beside=np.stack([told, -told], axis=1))
        return trial, *trials._centred(trial)

    trial, found, of = centred(3.9e-3)  # a thousandth of 4
    np.testing.assert_allclose(found.points, far, rtol=0, atol=1e-15)
    assert found.told.tolist() == [1.5, 2.5, 3.5] and found.beside.tolist() == [[1.5, -1.5], [2.5, -2.5], [3.5, -3.5]]
    again = SimpleNamespace(points=trial.points + 1, _replace=lambda points: points)
    np.testing.assert_allclose(of(again), far + 1, rtol=0, atol=1e-15)
    assert of(SimpleNamespace(points=None, _replace=lambda points: points)) is None
    assert of(SimpleNamespace(points=far, _replace=lambda points: points)) is None  # of another number of points
    trial, found, of = centred(4.1e-3)
    assert found is trial and of(again) is again
    trial, found, _ = centred(1e-4, times=3)
    np.testing.assert_allclose(found.points, far, rtol=0, atol=1e-15)
    trial, found, _ = centred(1e-4, times=1)
    assert found is trial
    uneven = Trial(None, np.concatenate([trial.points, far[:1] + 1e-5]), None)
    assert trials._centred(uneven)[0] is uneven
    five = Trial(None, np.concatenate([far, far + 1e-5, far[:1] - 1e-5]), None)
    assert trials._centred(five)[0] is five
    lattice = np.arange(250.0)[:, None] * np.array([1.0, 0, 0])
    assert len(centred(1e-3, lattice)[1].points) == 250  # five hundred are compared with each other
    more = np.arange(251.0)[:, None] * np.array([1.0, 0, 0])
    trial, found, of = centred(1e-3, more)
    assert found is trial and of(again) is again


def mixed_trial(r, B, sigma, off=0.0):
    M = len(r)
    shift = sigma[:, None] * (r @ B)
    shift = shift + off * np.sin(np.arange(shift.size)).reshape(shift.shape)
    return trial_of(shift, [r], x=0 * normals(M, B.shape[1]))._replace(trouble="not heard"), shift


def test_a_mixture_needs_more_equations_than_unknowns():
    B = np.array([[1.0, 0.5, 0.2], [0.3, -1.0, 0.5]])
    levels = np.array([0.3, 0.5, 0.7, 0.4])
    solved = lambda M: trials.mixture(mixed_trial(normals(M, 2, seed=50), B, levels[:M])[0], 1e-16)
    assert solved(3) is None  # 9 equations, 6 + 3 unknowns
    np.testing.assert_allclose(solved(4), B * np.sqrt(3 / np.sum(B**2)), rtol=1e-9)
    trial, _ = mixed_trial(normals(4, 2, seed=50), B, levels)
    assert trials.mixture(trial._replace(draws=()), 1e-16) is None
    still = trial._replace(points=trial.points * np.array([[1], [1], [1], [0]]))
    assert trials.mixture(still, 1e-16) is None  # a row without noise has no 1/sigma
    both = np.repeat(normals(8, 1, seed=51), 2, axis=1) * [1, 2]
    twice, _ = mixed_trial(both, B, np.full(8, 0.5))
    assert trials.mixture(twice, 1e-16) is None  # of two that are multiples of each other B is not known
    one, _ = mixed_trial(normals(6, 1, seed=52), B[:1], np.linspace(0.3, 0.8, 6))
    np.testing.assert_allclose(trials.mixture(one, 1e-16), B[:1] * np.sqrt(3 / np.sum(B[:1] ** 2)), rtol=1e-9)
    noisy_trial, sigma = mixed_trial(normals(4, 2, seed=50), B, levels)[0], levels
    near, other = normals(8, 1, seed=51), normals(8, 1, seed=54)

    def equations(by):
        """The trial of two normals that are multiples of each other but for `by`, and the second smallest of its singular values, beside the largest."""
        trial, shift = mixed_trial(np.concatenate([near, 2 * near + by * other], axis=1), B, np.full(8, 0.5))
        A = np.zeros((24, 14))
        for i, a in np.ndindex(8, 3):
            A[3 * i + a, [a, 3 + a]], A[3 * i + a, 6 + i] = trial.draws[0].value[i], -shift[i, a] / np.abs(shift).max()
        sizes = np.linalg.svd(A, compute_uv=False)
        return trial, sizes[-2] / sizes[0]

    by = np.sqrt(1e-6 / equations(1e-3)[1]) * 1e-3  # it goes with the square
    for part, known in ((0.98, False), (1.02, True)):
        trial, share = equations(np.sqrt(part) * by)
        assert share == pytest.approx(part * 1e-6, rel=0.01) and (trials.mixture(trial, 1e-16) is not None) == known
    known = trials.with_mixture(noisy_trial, B, 1e-16)
    np.testing.assert_allclose(known.sigma, sigma, rtol=1e-12)
    assert known.source.tolist() == [[0, k] for k in range(4)]
    assert trials.with_mixture(noisy_trial, B[:1], 1e-16) is None


def test_a_mixture_holds_within_rounding():
    """The smallest singular value of the equations r_i B = lambda_i shift_i, beside the largest."""
    r, B, sigma = normals(8, 2, seed=53), np.array([[1.0, 0.5, 0.2], [0.3, -1.0, 0.5]]), np.linspace(0.3, 0.8, 8)

    def share(shift):
        rows = []
        for i in range(8):
            for a in range(3):
                unknowns = np.zeros(6 + 8)
                unknowns[[a, 3 + a]], unknowns[6 + i] = r[i], -shift[i, a] / np.abs(shift).max()
                rows.append(unknowns)
        sizes = np.linalg.svd(np.array(rows), compute_uv=False)
        return sizes[-1] / sizes[0]

    for eps, room in ((1e-16, 1e-9), (1e-9, 8 * SINGLE)):
        by = room * 1e-3 / share(mixed_trial(r, B, sigma, 1e-3)[1])
        for part, holds in ((0.98, True), (1.02, False)):
            trial, shift = mixed_trial(r, B, sigma, part * by)
            assert abs(share(shift) / (part * room) - 1) < 0.01
            assert (trials.mixture(trial, eps) is not None) == holds
        unit = r @ B
        off = np.zeros((8, 3))
        off[0] = across(unit)[0]
        for part, holds in ((0.98, True), (1.02, False)):
            shift = sigma[:, None] * unit
            size = np.abs(shift).max()
            shift = shift + part * room * size / np.abs(off).max() * off
            trial = trial_of(shift, [r], x=0 * off)._replace(trouble="not heard")
            assert (trials.with_mixture(trial, B, eps) is not None) == holds
    below = mixed_trial(r, B, np.where(np.arange(8) == 3, -0.4, sigma))[0]
    assert trials.with_mixture(below, B, 1e-16) is None  # no noise has a size below 0


# ------------------------------------------------------------------------------- noise of several sizes in a row


def test_sizes_of_single_entries_and_of_columns():
    sizes = np.array([[0.5, 0.5, 1.0], [1.0, 0.5, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, 0.5]])
    trial = trial_of(sizes * Z, [Draw("random", normals(4, 3)), normals(3, 3), Z])
    found, rows = by_entry(trial)
    np.testing.assert_allclose(found, sizes, rtol=1e-12)
    np.testing.assert_array_equal(rows, Z)
    assert by_column(trial._replace(trouble="not heard")) is None  # of no one size in a column
    many = np.linspace(1, 2, 12).reshape(4, 3)
    assert by_entry(trial_of(many * Z, [Z])) is None  # more sizes than half the entries
    half = np.resize(np.linspace(1, 2, 6), (4, 3))
    assert by_entry(trial_of(half * Z, [Z])) is not None
    assert by_entry(trial_of(np.resize(np.linspace(1, 2, 7), 12).reshape(4, 3) * Z, [Z])) is None
    apart = lambda by, size=1.0: by_entry(trial_of(size * (1 - by * np.arange(12.0).reshape(4, 3)) * Z, [Z], x=0 * X))
    assert (
        apart(2e-6) is None and apart(2e-7) is not None and apart(0.05, 1e-3) is None
    )  # alike to six digits of the largest
    assert by_entry(trial_of(0.5 * Z[:, :2], [Z[:, :2]], x=X[:, :2])) is not None  # of two dimensions too
    assert by_entry(trial._replace(c=None)) is None and by_entry(trial_of(0 * Z, [Z])) is None
    assert by_entry(trial_of(Z[:3], [Z[:3]])) is None  # fewer points than rows
    line = normals(4, 1)
    assert by_entry(trial_of(line, [line], x=X[:, :1])) is None
    zero = Z * (np.arange(12).reshape(4, 3) > 0)
    assert by_entry(trial_of(zero, [zero])) is None  # a normal of exactly 0 tells nothing
    rolled = np.array([1, 2, 3, 0])
    there = trial_of(0.5 * Z[rolled], [Z], row=rolled)
    np.testing.assert_array_equal(by_entry(there)[1], Z[rolled])
    scaled = trial_of(0.5 * Z, [Z], c=0.7)
    np.testing.assert_allclose(by_entry(scaled)[0], 0.5, rtol=1e-12)


def test_columns_of_a_size_of_their_own_are_correlated_noise():
    f = np.array([1.0, 2.0, 0.5])
    level = np.array([0.3, 0.6, 0.3, 0.6])[:, None]
    draws = [Draw("random", normals(4, 1)), Z]
    trial = trial_of(level * f * Z, draws)._replace(trouble="not heard")
    found, C = by_column(trial)
    mean = np.sqrt(np.mean(f**2))
    np.testing.assert_allclose(found.sigma, level[:, 0] * mean, rtol=1e-12)
    np.testing.assert_allclose(found.eps, f / mean * Z, rtol=1e-12)
    np.testing.assert_allclose(C, np.diag((f / mean) ** 2), rtol=1e-12, atol=1e-15)
    assert found.trouble == "" and found.source.tolist() == [[1, k] for k in range(4)]
    assert by_column(trial._replace(trouble="not scaled")) is not None
    assert by_column(trial._replace(trouble="")) is None and by_column(trial._replace(trouble="unseen")) is None
    even = trial_of(level * Z, draws)._replace(trouble="not heard")
    assert by_column(even) is None  # of one size in a row: no correlation
    assert by_column(trial_of(level[1] * f * Z, draws, x=0 * X)._replace(trouble="not heard")) is not None
    nearly = lambda by: trial_of(level * np.array([1.0, 1 + by, 1]) * Z, draws)._replace(trouble="not heard")
    assert by_column(nearly(0.99e-6)) is None and by_column(nearly(1.02e-6)) is not None
    uneven = lambda by: by_column(
        trial_of((level * f + by * np.eye(4, 3)) * Z, draws, x=0 * X)._replace(trouble="not heard")
    )
    share = lambda by: np.ptp((lambda a: a / np.sqrt(np.mean(a**2, axis=1, keepdims=True)))(level * f + by * np.eye(4, 3)), axis=0).max()  # fmt: skip
    by = 1e-6 / share(1e-3) * 1e-3  # by which the shares of a column differ by a millionth
    assert uneven(0.98 * by) is not None and uneven(1.02 * by) is None
    clean = trial_of(np.array([0.3, 0, 0.3, 0.3])[:, None] * f * Z, draws)._replace(trouble="not heard")
    assert by_column(clean) is None


def test_mixtures_are_as_close_as_their_precision():
    of = lambda eps, *values: trials._closeness(SimpleNamespace(draws=[Draw("normal", v) for v in values]), eps)
    assert (
        of(1e-16, Z) == 1e-9
        and of(1e-16, Z.astype(np.float32)) == 8 * SINGLE == of(1.1e-10, Z)
        and of(1e-10, Z) == 1e-9
    )
    mixed = trial_of(0.5 * Z, [Z, Z, Draw("random", Z), Draw("normal", normals(8, 3)), Draw("normal", np.array(1.0))])
    np.testing.assert_array_equal(trials._normals_of_rows(mixed), Z)  # each once
    np.testing.assert_allclose(mixed.shift, 0.5 * Z, rtol=1e-12)
    assert trials._normals_of_rows(trial_of(0.5 * Z, [])).shape == (4, 0)
    images = trial_of(0.5 * Z, [Z.reshape(4, 1, 3)])
    np.testing.assert_array_equal(trials._normals_of_rows(images), Z)
    assert rows_of([Draw("integers", np.ones((4, 3), int))], 3)[0].shape == (0, 3)
