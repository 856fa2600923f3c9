"""Derivatives of a black box: the steps that are taken, Romberg's table in exact fractions, its error, and what gives way to other steps."""

from fractions import Fraction

import numpy as np
import pytest

from numpyscore.numerics import differences as module
from numpyscore.numerics.differences import Derivative, differences, other_widths, romberg, settled, tolerance, widths

EPS = np.finfo(float).eps
INF = np.inf
column = lambda *numbers: np.array(numbers, float)[:, None]
QUARTILES = 2 / 1.349  # the standard deviation of a normal law whose quartiles are -1 and 1


def lying(low, high, far, times=8):
    """Rows of one column whose quartiles are low and high, and one far away."""
    return column(*[low] * times, *[high] * times, far)


# --------------------------------------------------------------------------- how wide


@pytest.mark.parametrize(
    "x, expected",
    [
        (column(0, 2), [0.5]),  # half of the standard deviation 1
        (np.zeros((0, 2)), [0.5, 0.5]),  # nothing is known
        (np.zeros((3, 1)), [0.5]),
        (np.array([[3.0, 0.0, -8.0, 0.25]]), [1.5, 0.5, 4.0, 0.125]),  # one row: half of its own size
        (np.array([[7, -2], [7, -2]]), [3.5, 1.0]),  # no column varies, and whole numbers are numbers
        # beside columns of spread 1 and 3, those that do not vary: no more than the larger, and that where they are 0
        (np.array([[0, 0, 5.0, 0.25, 0.0], [2, 6, 5.0, 0.25, 0.0]]), [0.5, 1.5, 1.5, 0.125, 1.5]),
        (column(1 - 1.1e-9, 1 + 1.1e-9), [0.55e-9]),  # it varies
        (column(1 - 0.9e-9, 1 + 0.9e-9), [0.5]),  # by less than its rounding in float32 and a few operations
        (lying(-1, 1, 0), [0.5 * np.sqrt(16 / 17)]),
        (lying(0, 0, 1), [0.5 * np.std([0] * 16 + [1])]),  # quartiles together say nothing
    ],
)  # fmt: skip
def test_half_of_the_standard_deviation_or_of_the_size_where_a_column_does_not_vary(x, expected):
    found = widths(x)
    assert found.shape == (x.shape[1],) and found.dtype == float
    np.testing.assert_allclose(found, expected, rtol=1e-6)  # 1 +- 1e-9 is rounded


@pytest.mark.parametrize("ratio, counts", [(7.7, "all"), (8.3, "bulk")])
def test_an_outlier_beyond_eight_times_the_bulk_does_not_count(ratio, counts):
    """17 rows, of which the last is chosen so that the standard deviation is `ratio` times that of the quartiles."""
    far = np.sqrt((17 * (ratio * QUARTILES) ** 2 - 16) * 17 / 16)  # std^2 = (16 + far^2 16 / 17) / 17
    x = np.hstack([lying(-1, 1, far), lying(-1, 1, 0)])
    assert x[:, 0].std() == pytest.approx(ratio * QUARTILES)
    whole, even = ratio * QUARTILES / 2, np.sqrt(16 / 17) / 2
    np.testing.assert_allclose(widths(x), [whole if counts == "all" else QUARTILES / 2, even])
    others = other_widths(x)
    assert len(others) == (4 if counts == "all" else 5)
    if counts == "bulk":
        np.testing.assert_allclose(others[0], [whole, even])  # the whole spread comes first
    for k, width in enumerate(others[-4:], 1):
        np.testing.assert_array_equal(width, widths(x) / 2.0 ** (9 * k))  # to 2^-9 and on, where the last ones ended
    assert len(other_widths(x, step=0.1)) == 4


def test_the_bulk_is_the_distance_of_the_quartiles_of_each_column():
    u = np.linspace(-1, 1, 101)
    np.testing.assert_allclose(module._bulk(np.column_stack([u, 10 * u])), np.array([1, 10]) / 1.349)
    assert module._bulk(np.zeros((0, 2))).tolist() == [0, 0]


@pytest.mark.parametrize("bulk, expected", [(1.2e-9, 0.6e-9), (0.8e-9, 0.5 * np.std([0] * 16 + [1]))])
def test_a_bulk_narrower_than_a_billionth_is_none(bulk, expected):
    half = bulk * 1.349 / 2
    np.testing.assert_allclose(widths(lying(-half, half, 1.0)), [expected], rtol=1e-6)


def test_a_step_that_is_given_is_the_width():
    x = np.ones((4, 3), np.float32)
    for step in (0.25, [0.25] * 3, np.float32(0.25)):
        found = widths(x, step)
        assert found.tolist() == [0.25] * 3 and found.dtype == float
        found[0] = 1  # a copy of their own for each column
        assert found.tolist() == [1, 0.25, 0.25]
    assert [w.tolist() for w in other_widths(x, 512.0)] == [[512.0 * 2.0 ** (-9 * k)] * 3 for k in (1, 2, 3, 4)]


# --------------------------------------------------------------------------- where


def test_the_stencil_goes_both_ways_along_each_column_in_nine_halvings():
    x, width = np.array([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]]), np.array([1.0, 2.0, 4.0])
    for h in (width, np.stack([width, 8 * width])):  # the same for all rows, or each row its own
        points = module.stencil(x, h, np.array([0, 2]))
        assert points.shape == (2, 9, 2, 2, 3)
        h = np.broadcast_to(h, (2, 3))
        for side, k, c, i in np.ndindex(2, 9, 2, 2):
            right = x[i].copy()
            right[2 * c] += (1 - 2 * side) * h[i, 2 * c] / 2**k
            np.testing.assert_array_equal(points[side, k, c, i], right)


@pytest.mark.parametrize("d, rows, expected", [(3, 2 * 18 * 9, [2, 2, 1]), (5, 2 * 18 * 5, [1] * 15), (2, 1, [1] * 10)])
def test_a_call_has_no_more_numbers_than_it_may_and_all_are_counted(d, rows, expected, monkeypatch):
    """Some rows and all columns in a call, or of one row some columns, or one of one: 18 points each. The cut changes no digit."""
    x, asked = np.random.default_rng(0).normal(size=(5, d)), []

    def f(points):
        asked.append(points.shape)
        return np.stack([np.sin(points).sum(1), np.exp(points[:, 0])], axis=1), points

    whole, evaluations = differences(f, x, np.full(d, 0.3), (2,))
    assert evaluations == 5 * d * 18 == asked[0][0] and len(asked) == 1
    assert whole.value.shape == whole.error.shape == whole.second.shape == (5, 2, d)
    asked.clear()
    monkeypatch.setattr(module, "ROWS", rows)
    parts, evaluations = differences(f, x, np.broadcast_to(0.3, (5, d)), (2,))  # widths of each row, the same
    assert evaluations == 5 * d * 18 and len(asked) == len(expected)
    assert all(n * k <= max(rows, 18 * d) for n, k in asked)
    if d == 3:
        assert [n // (18 * d) for n, _ in asked] == expected
    elif d == 5:
        assert [n // 18 for n, _ in asked] == [2, 2, 1] * 5
    for one, other in zip(whole, parts, strict=True):
        # the noise of a value is pooled over the columns of a call
        np.testing.assert_allclose(other, one, rtol=1e-6 if one is not whole.error else 10, atol=1e-9)


def test_two_million_numbers_in_a_call():
    asked = []
    found, _ = differences(lambda p: (asked.append(p.size), p.sum(1))[1:] + (p,), np.ones((1, 400)), np.ones(400))
    assert asked == [18 * 291 * 400, 18 * 109 * 400] and (1 << 20) < max(asked) <= 1 << 21
    np.testing.assert_allclose(found.value, 1, rtol=1e-12)


def test_a_function_that_rounds_its_points_is_differenced_between_those_that_it_saw():
    """3 x at x rounded to float32: 3 to the last digits, though half of the steps of 1e-4 are wrong in the third."""

    def f(points):
        seen = points.astype(np.float32)
        return 3 * seen.astype(float).sum(1), seen

    x = np.array([[1.0, 1.1], [2.7, 3.1]])
    for width in (np.array([1e-4, 2e-4]), np.array([[1e-4, 2e-4], [4e-4, 8e-4]])):
        found, _ = differences(f, x, width)
        np.testing.assert_allclose(found.value, 3, rtol=1e-9)
        assert np.all(np.abs(found.value - 3) <= found.error)


# --------------------------------------------------------------------------- Romberg's table


def extrapolated(half, slopes):
    """The polynomial in h^2 through (h, slope), at 0, in exact fractions (Lagrange)."""
    squares = [Fraction(h) ** 2 for h in half]
    total = Fraction(0)
    for a, slope in zip(squares, slopes, strict=True):
        term = slope
        for b in squares:
            term *= b / (b - a) if a != b else 1
        total += term
    return total


def by_hand(plus, minus, half):
    """Value and error of numbers (9, c): of all T_km, the interpolant through h_(k-m) ... h_k at 0, the one closest to its parents beside noise / h_k."""
    c, table = plus.shape[1], {}
    exact = lambda a, k, j: Fraction(float(a[k, j]))
    for j in range(c):
        slopes = [(exact(plus, k, j) - exact(minus, k, j)) / (2 * Fraction(float(half[k, j]))) for k in range(9)]
        for k in range(9):
            for m in range(k + 1):
                table[j, k, m] = extrapolated(half[k - m : k + 1, j].tolist(), slopes[k - m : k + 1])
    deep = [[float(abs(table[j, k, m] - table[j, k - 1, m - 1])) * half[k, j] for j in range(c)] for m in (2, 3, 4) for k in range(5, 9)]  # fmt: skip
    noise = max(np.median(deep), EPS * max(np.abs(plus).max(), np.abs(minus).max()))
    out = []
    for j in range(c):
        errors = {}
        for k in range(1, 9):
            for m in range(k + 1):
                parents = [table[j, k, m - 1], table[j, k - 1, m - 1]] if m else [table[j, k - 1, 0]]
                errors[k, m] = max(float(abs(table[j, k, m] - p)) for p in parents) + noise / half[k, j]
        best = min(errors, key=errors.get)
        out.append((float(table[j, *best]), errors[best]))
    return np.array(out).T


# of each pair of columns: what is smooth; what is noisy; what bends within the first step; a kink at the point; large beside its slope
FUNCTIONS = {
    "smooth": (np.sin, np.exp),
    "noisy": (lambda x: np.sin(x) + 1e-7 * np.sin(1e9 * x), lambda x: np.exp(x) + 1e-6 * np.cos(1e10 * x)),
    "bent": (lambda x: np.tanh(20 * x), lambda x: 1 / (1 + 30 * x**2)),
    "kink": (lambda x: np.abs(x - 0.3), np.sin),
    "large": (lambda x: 1e6 + x, lambda x: 1e3 * np.cos(x)),
    "falls and rises": (lambda x: np.where(x > 0.3, 1e5, -1e5) + x, lambda x: -x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_entry_of_romberg_s_table_that_is_closest_to_its_parents(name):
    half = 0.5 / 2.0 ** np.arange(9)[:, None] * np.array([1.0, 0.75])
    plus, minus = (np.column_stack([f(0.3 + s * h) for f, h in zip(FUNCTIONS[name], half.T, strict=True)]) for s in (1, -1))  # fmt: skip
    found = romberg(plus[:, :, None], minus[:, :, None], half[:, :, None])  # (9, 2 columns, 1 row)
    value, error = by_hand(plus, minus, half)
    # the same fractions, rounded: a few eps of the values over the smallest step, which are the noise itself where there is no other
    np.testing.assert_allclose(found.error[:, 0], error, rtol=1e-6 if name == "noisy" else 0.05)
    assert np.all(np.abs(found.value[:, 0] - value) <= np.maximum(0.05 * error, 4 * EPS * np.abs(value)))


def test_each_row_has_a_noise_and_a_size_of_its_own():
    """One row with a noise of 1e-5, one of size 1e9: the quiet ones beside them keep their digits."""
    x = np.linspace(0.2, 0.8, 5)[:, None]
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None] * np.ones((1, 5))
    for noise, offset, least in ((1e-5, 0.0, 1e-6), (0.0, 1e9, 1e-8)):
        there = np.where(np.arange(5) == 2, 1.0, 0.0)
        f = lambda z, h, n=noise * there, o=offset * there: np.sin(z) + n * np.sin(1e8 * h) + o
        found = romberg(f(x.T + half, half), f(x.T - half, -half), half)
        assert np.all((found.error[0] > least) == (np.arange(5) == 2)) and np.all(found.error[0] < 1e-3)
        assert np.all(np.abs(found.value[0] - np.cos(x[:, 0])) <= 32 * found.error[0])


@pytest.mark.parametrize("where", [lambda h: h > 0.2, lambda h: h < 0.01])
def test_what_is_infinite_at_some_steps_has_neither_size_nor_noise(where):
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None]
    plus = np.where(where(half), INF, 1e-20 * np.exp(half))
    found = romberg(plus, 1e-20 * np.exp(-half), half)
    assert abs(found.value[0, 0] - 1e-20) <= 32 * found.error[0, 0] < 1e-28


def test_a_constant_is_known_but_for_its_rounding_over_the_second_step():
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None]
    for size in (7.0, -7.0):
        found = romberg(np.full((9, 1, 1), size), np.full((9, 1, 1), size), half)
        assert (
            found.value == 0
            and found.error[0, 0] == pytest.approx(EPS * 7 / 0.25, rel=1e-9, abs=0)
            and found.second == 0
        )


def test_the_second_derivative_is_that_of_a_parabola():
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None]
    f = lambda h: 3 + 2 * h + 5 * h**2
    found = romberg(f(half), f(-half), half)
    assert found.second[0, 0] == 10 and found.value[0, 0] == pytest.approx(2, rel=1e-14)


@pytest.mark.parametrize("bad", [INF, np.nan])
def test_what_is_no_number_is_not_known(bad):
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None]
    found = romberg(np.full((9, 1, 1), bad), np.zeros((9, 1, 1)), half)
    assert np.isinf(found.error) and found.second == 0


def test_where_no_two_steps_are_known_the_smallest_is_what_there_is():
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None]
    plus = np.where(np.arange(9) == 8, 3.0, INF)[:, None, None]
    found = romberg(plus, np.zeros((9, 1, 1)), half)
    assert np.isinf(found.error) and found.value == 3 * 256 and found.value.shape == found.error.shape == (1, 1)


def test_where_only_the_first_steps_leave_the_domain_the_others_find_the_slope():
    half = 0.5 / 2.0 ** np.arange(9)[:, None, None]
    minus = np.where(half < 0.3, np.log(np.abs(0.3 - half)), -INF)
    found = romberg(np.log(0.3 + half), minus, half)
    assert abs(found.value[0, 0] - 1 / 0.3) <= 32 * found.error[0, 0] < 1e-4


@pytest.mark.parametrize("wave, sharp", [(1.0, 1e-12), (3.0, 1e-10), (10.0, 1e-6)])
def test_the_error_with_its_safety_is_no_less_than_the_truth(wave, sharp):
    x = np.random.default_rng(1).normal(size=(200, 2))
    f = lambda p: (np.sin(wave * p).sum(1) + p[:, 0] * p[:, 1], p)
    found, _ = differences(f, x, widths(x))
    truth = wave * np.cos(wave * x) + x[:, ::-1]
    assert np.all(np.abs(found.value - truth) <= 32 * found.error) and np.median(found.error) < sharp
    wrong = found._replace(error=found.error / 1e6)  # the control
    assert not np.all(np.abs(wrong.value - truth) <= 32 * wrong.error)


def test_a_tolerance_is_32_errors_and_128_units_of_rounding():
    found = Derivative(np.zeros(2), np.array([0.5, 0.0]), np.zeros(2))
    assert tolerance(found, np.array([1.0, 10.0]), 0.25).tolist() == [48.0, 320.0]
    assert (module.SAFETY, module.UNITS) == (32, 128)


# --------------------------------------------------------------------------- other steps, where the first are in doubt


class Told:
    """`differences` replaced: for each width its answer at the rows asked for, (value, error) of each; what was asked."""

    def __init__(self, monkeypatch, answers):
        self.answers, self.asked = answers, []
        monkeypatch.setattr(module, "differences", self)

    def __call__(self, function, x, width, shape):
        self.asked.append((x[:, 0].tolist(), float(width[0]), shape))
        value, error = (np.array([self.answers[width[0]][row][k] for row in x[:, 0]]) for k in (0, 1))
        value, error = (a.reshape(len(x), *shape, 1) for a in (value, error))
        return Derivative(value, error, 10 * value), len(x)


def judged(monkeypatch, first, answers, limit=1.0, shape=()):
    """`settled` of rows 0, 1, ...; in doubt is a row with an error beyond `limit`, and each number may be off by its error."""
    told = Told(monkeypatch, answers)
    n = len(first)
    value, error = (np.array(a, float).reshape(n, *shape, 1) for a in zip(*first, strict=True))
    found = Derivative(value, error, 10 * value)
    doubtful = lambda f: (f.error > limit).reshape(n, -1).any(axis=1)
    x = np.arange(float(n))[:, None]
    out = settled(None, x, [np.array([w]) for w in answers], found, doubtful, lambda f: f.error, shape)
    assert (found.value == value).all() and (found.error == error).all()  # what came is left alone
    assert (out.second == 10 * out.value).all()  # whole derivatives give way, not parts of them
    return out.value.reshape(n, -1).tolist(), out.error.reshape(n, -1).tolist(), told.asked


def test_rows_without_doubt_are_not_asked_again(monkeypatch):
    assert judged(monkeypatch, [(1, 0.1), (2, 1.0)], {0.5: {}})[2] == []


def test_a_row_in_doubt_is_cleared_by_the_first_steps_that_do(monkeypatch):
    """Row 1 by the first of them, row 2 by the second; row 3 by none, and keeps what it had: other steps never accuse."""
    answers = {
        0.5: {1: (7, 0.2), 2: (8, 2.0), 3: (9, 4.0)},
        0.25: {2: (6, 0.3), 3: (9, 1.5)},
        0.125: {3: (9, 1.25)},
    }
    value, error, asked = judged(monkeypatch, [(1, 0.1), (2, 3.0), (3, 3.0), (4, 5.0)], answers)
    assert value == [[1], [7], [6], [4]] and error == [[0.1], [0.2], [0.3], [5.0]]
    assert asked == [([1, 2, 3], 0.5, ()), ([2, 3], 0.25, ()), ([3], 0.125, ())]


def test_a_number_gives_way_to_one_of_less_error_or_to_one_that_contradicts_it(monkeypatch):
    """One row of five numbers, cleared as a whole: the limit is 4."""
    first = [([1.0, 1.0, 1.0, 1.0, 1.0], [5.0, 0.5, 0.5, 0.5, 0.5])]
    answers = {0.5: {0: ([2.0, 2.0, 2.0, 2.5, 2.0625], [1.0, 0.25, 0.5, 1.0, 0.5625])}}
    value, error, _ = judged(monkeypatch, first, answers, 4.0, (5,))
    # less error; less; the same error and apart by as much as both may be off, so that it stays; by exactly as much; by next to nothing more
    assert value == [[2.0, 2.0, 1.0, 1.0, 1.0]] and error == [[1.0, 0.25, 0.5, 0.5, 0.5]]
    answers = {0.5: {0: ([2.0, 2.0, 2.0625, 2.5625, 2.125], [1.0, 0.25, 0.5, 1.0, 0.5625])}}
    assert judged(monkeypatch, first, answers, 4.0, (5,))[0] == [[2.0, 2.0, 2.0625, 2.5625, 2.125]]


def test_below_the_scale_of_a_wave_first_steps_that_step_over_it_are_settled_by_smaller_ones():
    x = np.array([[0.0], [0.7], [100.0]])
    f = lambda p: (np.sin(300 * p[:, 0]), p)
    width = widths(x)
    first, _ = differences(f, x, width)
    doubtful = lambda found: (found.error > 1e-6)[:, 0]
    assert doubtful(first).any()
    found = settled(f, x, other_widths(x), first, doubtful, lambda g: tolerance(g, 1.0, EPS))
    assert not doubtful(found).any()
    np.testing.assert_allclose(found.value, 300 * np.cos(300 * x), atol=1e-6)
