"""The parts of the trapezoidal rule, each against what it is said to be: maps, ends, spectra, other nodes, subdivision, singularities."""

import math

import numpy as np
import pytest

from numpyscore.numerics import trapezoid
from numpyscore.numerics.trapezoid import Piece, subdivide

EPS = np.finfo(float).eps
INF = np.inf
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
KINDS = {
    "gaussian": Piece(-INF, INF, 2.0, 3.0, "gaussian", 1.5, 0.5),
    "exponential": Piece(-INF, INF, 2.0, 3.0, "exponential", 1.5, 0.5),
    "algebraic": Piece(-INF, INF, 2.0, 3.0, "algebraic", 1.5, 0.5),
    "from 1 up": Piece(1.0, INF, 2.0, 3.0, "gaussian", 1.5, 0.5),
    "up to 1": Piece(-INF, 1.0, -2.0, 3.0, "algebraic", 1.5, 0.5),
    "finer than its reach": Piece(-INF, INF, 0.0, 1.0, "exponential", 0.1, 0.1),
    "of no detail": Piece(-INF, INF, 0.0, 1.0, "gaussian", 1.0, 3.0),
    "from 0 up": Piece(0.0, INF, 2.0, 3.0, "exponential", 1.5, 0.5),
    "interval": Piece(1.0, 3.0, 2.0, 0.4, "gaussian", 1.5, 0.5),
    "interval from 0": Piece(0.0, 3.0, 2.0, 0.4, "gaussian", 1.5, 0.5),
    "interval to 0": Piece(-3.0, 0.0, -2.0, 0.4, "gaussian", 1.5, 0.5),
}
each_kind = pytest.mark.parametrize("piece", KINDS.values(), ids=KINDS)


def assert_slope(nodes, distance, at):
    """exp(log dx/du), integrated over panels of 1/8, is what x gains: from the nearer finite end, where x itself is rounded."""
    for a in at:
        u = a + (NODES + 1) / 16
        gain = np.exp(nodes(u)[1]) @ WEIGHTS / 16
        ends = distance(np.array([a, a + 1 / 8]))
        # 20 nodes of Gauss and Legendre on an eighth: 1e-30 of e^(8 u); beyond it the rounding of both, and of a difference of ends
        assert abs(gain - abs(ends[1] - ends[0])) <= 64 * EPS * (np.abs(ends).max() + gain), a


# --------------------------------------------------------------------------- maps


@each_kind
def test_the_slope_of_a_map_is_its_own_to_full_accuracy_at_either_end(piece):
    from_end = (
        piece.distance if np.isfinite([piece.low, piece.high]).any() else lambda u: piece.nodes(u)[0] - piece.center
    )
    reach = {0: 6.0, 1: 2.5, 2: 3.0}[int(np.isfinite([piece.low, piece.high]).sum())]
    assert_slope(piece.nodes, from_end, np.arange(-reach, reach, 0.125))


def test_a_slope_off_by_a_millionth_is_seen():
    nodes = lambda u: (0, KINDS["algebraic"].nodes(u)[1] + 1e-6)
    with pytest.raises(AssertionError):
        assert_slope(nodes, lambda u: KINDS["algebraic"].nodes(u)[0] - 2.0, [1.0])


def test_the_maps_are_those_of_the_docstring():
    """c + s u; c + s sinh u; c + s sinh(4 sinh(u / 4)); end + s exp(u - exp(-u)); low + (high - low) / (1 + exp(pi sinh(-u)))."""
    u = np.array([-2.0, -0.3, 0.0, 1.1])
    right = {
        "gaussian": 2 + 3 * u,
        "exponential": 2 + 3 * np.sinh(u),
        "algebraic": 2 + 3 * np.sinh(4 * np.sinh(u / 4)),
        "from 1 up": 1 + 3 * np.exp(u - np.exp(-u)),
        "up to 1": 1 - 3 * np.exp(u - np.exp(-u)),
        "interval": 1 + 2 / (1 + np.exp(-np.pi * np.sinh(u))),
        "interval to 0": -3 + 3 / (1 + np.exp(-np.pi * np.sinh(u))),
    }
    for name, x in right.items():
        np.testing.assert_allclose(KINDS[name].nodes(u)[0], x, rtol=8 * EPS, atol=8 * EPS, err_msg=name)


@each_kind
def test_the_range_of_u_ends_where_rounding_hides_the_end_and_where_x_to_the_fourth_overflows(piece):
    one, both = np.isinf([piece.low, piece.high]).any(), np.isinf([piece.low, piece.high]).all()
    toward = (INF, INF) if both else (piece.end, INF) if one else (piece.low, piece.high)  # a single end is at u = -inf
    low, high = piece.limits()
    assert low < -2 and high > 2
    for u, end in ((low, toward[0]), (high, toward[1])):
        if np.isfinite(end):
            inside, outside = piece.distance(np.array([u, u + 0.02 * np.sign(u)]))
            assert inside >= 2 * np.spacing(abs(end))
            assert (
                inside < 1e-120 if end == 0 else outside < 2 * np.spacing(abs(end))
            )  # near 0 are ever smaller numbers
        elif both and piece.tail == "gaussian":
            assert abs(u) > 38.6  # from there on a Gaussian of unit width underflows
        else:
            x = np.abs(piece.nodes(np.array([u]))[0] / piece.scale)
            np.testing.assert_allclose(x, math.exp(trapezoid.FAR) / (2 if both else 1), rtol=1e-12)
            assert 1e280 < x**4 < INF


@each_kind
def test_the_first_box_holds_the_bulk_and_its_nodes_see_the_detail(piece):
    """A detail between two nodes at most wherever the density is not in its tail, in not much more than the nodes which that takes."""
    low, high, h = piece.start()
    u = np.arange(low, high, h)
    x, detail = np.sort(piece.nodes(u)[0]), min(1, piece.detail) * piece.scale
    bulk = np.clip(piece.center + piece.reach * piece.scale * np.array([-1, 1]), piece.low, piece.high)
    gaps = np.diff(x)[(x[:-1] < bulk[1]) & (x[1:] > bulk[0])]
    assert gaps.max() <= detail
    assert len(u) <= 150 + 10 * np.ptp(bulk) / detail
    first = np.sort(piece.nodes(np.array([low, high]))[0])
    for x, end in zip(first, (piece.low, piece.high), strict=True):
        reached = abs(x - piece.center) / piece.scale - piece.reach
        if np.isfinite(end):
            assert abs(x - end) < 1e-9 * piece.scale
        elif np.isinf([piece.low, piece.high]).all():
            assert reached == pytest.approx(trapezoid.MARGIN[piece.tail])
        else:
            assert trapezoid.MARGIN[piece.tail] - 1 <= reached <= 2 * trapezoid.MARGIN[piece.tail]


def test_the_first_margin_leaves_1e_minus_17_outside():
    assert math.erfc(trapezoid.MARGIN["gaussian"] / math.sqrt(2)) < 1e-17
    assert math.exp(-trapezoid.MARGIN["exponential"]) < 1e-17


# --------------------------------------------------------------------------- the ends of the box

WIDE, GOAL = trapezoid.SHELL, np.array([1e-300])


def geometric(rate, first=1e-3, n=60, m=4):
    """Sums of |terms| from the end inwards, each shell of m nodes 1 / rate times the one before it."""
    return first * rate ** (-np.arange(n) / m)


def end(profile, alive=None, at=9.0, infinite=True, blocked=False, goal=GOAL, past=None):
    profile = np.atleast_2d(profile)
    alive = np.ones(profile.shape[1], bool) if alive is None else alive
    return trapezoid._end(profile, alive, at, WIDE / 4, infinite, blocked, goal, past)


def test_a_shell_is_as_wide_as_it_should_be_and_has_two_nodes_at_least():
    found = end(geometric(0.5))
    assert found.width == WIDE and found.at == 9.0 and not found.blocked and found.spare == 0
    assert found.outer == pytest.approx(geometric(0.5)[:4].sum())
    coarse = trapezoid._end(geometric(0.5)[None], np.ones(60, bool), 9.0, 1.0, True, False, GOAL, None)
    assert coarse.width == 2.0 and coarse.ratio == pytest.approx(0.5**0.5)


@pytest.mark.parametrize(
    "profile, ratio",
    [(np.r_[np.zeros(4), np.ones(20)], 0), (0.1 * np.r_[np.ones(4), np.zeros(20)], 0.98), (np.zeros(24), 0)],
)
def test_a_shell_of_nothing_has_decayed_and_one_before_nothing_has_hardly(profile, ratio):
    assert end(profile).ratio == pytest.approx(ratio)


def test_the_shell_itself_bounds_what_lies_outside_of_a_fast_decay():
    found = end(geometric(0.01))
    assert found.tail == pytest.approx(found.outer)  # twice the continuation would be 2 / 99 of it
    assert end(np.ones(60)).tail == pytest.approx(
        2 * 4 * 0.999 / 0.001
    )  # and no decay is taken for one by a thousandth


@pytest.mark.parametrize("slow", [0.9, 0.3])
def test_the_history_of_an_end_that_moved_tells_of_slow_decay(slow):
    """Of 4 units in u, by which the shells' mass fell to slow^(4 / width): the slower of that and of what the last shells say counts."""
    past = end(geometric(0.5, 1e-4), at=5.0)
    profile = geometric(0.5)
    profile *= past.outer * slow ** (4 / WIDE) / profile[:4].sum()
    assert end(profile, past=past).ratio == pytest.approx(max(slow, 0.5))
    assert end(geometric(0.5), at=5.0 + WIDE, past=past).ratio == pytest.approx(
        0.5
    )  # not further than a shell: not asked
    assert end(geometric(0.5), at=5.1 + WIDE, past=past).ratio > 1  # the control: it has grown tenfold
    nothing = end(np.zeros(60), at=5.0)
    assert end(profile, past=nothing).ratio == pytest.approx(0.5)


def test_beyond_the_first_node_alive_there_is_nothing():
    alive = np.arange(60) >= 20
    found = end(np.where(alive, geometric(0.5), 0), alive)
    assert found.blocked and found.outer == pytest.approx(geometric(0.5)[20:24].sum())
    assert found.spare == 20 - 2 * 4  # two shells stay, to see it again next time
    assert end(np.where(alive, geometric(0.5), 0), np.arange(60) >= 0).spare == 19  # the last node of nothing stays
    assert end(geometric(0.5), np.arange(60) >= 1).blocked and end(geometric(0.5), np.arange(60) >= 3).spare == 0
    faint = np.where(alive, 1e-160, 0.0)
    assert end(faint, alive, goal=np.array([1e-50])).tail == pytest.approx(4e-160, rel=1e-9, abs=0)
    assert end(faint, alive, goal=np.array([1e-70])).tail == pytest.approx(2 * 4e-160 * 0.999 / 0.001, rel=1e-9, abs=0)
    rising = np.where(alive, 1e-160 * 10.0 ** np.arange(-20, 40), 0.0)  # the first node alive alone says what is beyond
    assert end(rising, alive, goal=np.array([1e-50])).tail == pytest.approx(4e-160, rel=1e-9, abs=0)
    assert end(geometric(0.5), blocked=True).blocked and not end(geometric(0.5)).blocked


def test_what_is_below_a_ten_thousandth_of_the_goal_may_be_dropped():
    profile = np.r_[np.full(12, 1e-6), np.ones(30)]
    assert end(profile, goal=np.array([1.0])).spare == 11
    assert end(profile, goal=np.array([0.01])).spare == 0  # 12e-6 in all is more than 1e-6
    both = np.stack([profile, np.r_[np.full(8, 1e-6), np.ones(34)]])
    assert end(both, goal=np.array([1.0, 1.0])).spare == 7  # of no component
    assert end(np.full(40, 1e-9), goal=np.array([1.0])).spare == 0


def test_only_what_matters_and_does_not_decay_is_endless():
    for rate, goal, endless in ((0.995, 1e-9, True), (0.995, 10.0, False), (0.98, 1e-9, False)):
        assert end(geometric(rate)).endless(np.array([goal]))[0] == endless


def test_each_end_of_each_axis_is_judged_by_the_sums_over_the_others():
    rates = {(0, 0): 0.5, (0, 1): 0.6, (1, 0): 0.7, (1, 1): 0.8}
    side = lambda j: np.r_[geometric(rates[j, 0]), 1.0, geometric(rates[j, 1])[::-1]]
    t = np.stack([side(0)[:, None] * side(1), np.ones((121, 121))])
    alive, lo, hi, h = np.ones((121, 121), bool), np.array([-9.0, -8.0]), np.array([7.0, 6.0]), np.full(2, WIDE / 4)
    limits = np.array([[-9.0, 50.0], [-50.0, 6.05]])
    found = trapezoid._ends(t, alive, lo, hi, h, limits, [(True, True), (False, True)], False, GOAL.repeat(2), {})
    for (j, k), e in found.items():
        assert e.at == (lo, hi)[k][j] and e.ratio == pytest.approx([rates[j, k], 1.0])
        assert e.outer[0] == pytest.approx(geometric(rates[j, k])[:4].sum() * side(1 - j).sum())
        assert e.blocked == ((j, k) in ((0, 0), (1, 1)))  # within a node of its limit
    assert found[1, 0].tail[0] == pytest.approx(2 * 1e-3 * 4 / -math.log(0.7) * side(0).sum())  # a finite end
    shut = trapezoid._ends(t, alive, lo, hi, h, limits, [(True, True), (False, True)], True, GOAL.repeat(2), {})
    assert all(e.blocked for e in shut.values())
    dead = alive.copy()
    dead[:, -5:] = False
    assert (
        trapezoid._ends(t, dead, lo, hi, h, limits, [(True, True)] * 2, False, GOAL.repeat(2), {})[1, 1].outer[1]
        == 4 * 121
    )


# --------------------------------------------------------------------------- samples

PLAIN = Piece(-INF, INF, 0.0, 1.0, "gaussian", 1.0, 1.0)  # x = u
pdf = lambda x: np.exp(-(x**2).sum(axis=1) / 2) / (2 * np.pi) ** (x.shape[1] / 2)


class Asked:
    """Terms of plain functions of x; what they were asked for."""

    def __init__(self, *functions, away=0.0):
        self.functions, self.away, self.x = functions, away, []

    def __call__(self, x, logw, away=0):
        self.x.append(x)
        values = np.array([f(x) for f in self.functions]) * np.exp(logw)
        return (
            values * (1 + self.away * np.sign(np.ravel(away)[:: x.shape[1] if np.ndim(away) else 1])),
            np.ones(len(x), bool),
            np.zeros((2, 1)),
        )


def test_a_grid_is_sampled_in_blocks_in_the_order_of_its_axes(monkeypatch):
    monkeypatch.setattr(trapezoid, "BLOCK", 10)
    f, sizes = lambda x: x[:, 0] + 100 * x[:, 1], []

    def terms(x, logw):
        sizes.append(len(x))
        if x[0, 0] < 1:
            return None, np.zeros(len(x), bool), np.full((2, 1), np.nan)  # of a block that underflows nothing counts
        return np.array([f(x), -f(x)]) * np.exp(logw), x[:, 1] < 4, np.array([[1.0, 2.0], [10.0, 20.0]])

    h = np.array([1.0, 0.5])
    t, alive, rounding, rim = trapezoid._sample(terms, [PLAIN] * 2, np.zeros(2), h, (4, 10))
    x, y = np.meshgrid(np.arange(4.0), 0.5 * np.arange(10), indexing="ij")
    np.testing.assert_allclose(t[0], np.where(x < 1, 0, 0.5 * (x + 100 * y)), rtol=1e-14)
    np.testing.assert_array_equal(t[1], -t[0])
    np.testing.assert_array_equal(alive, (x >= 1) & (y < 4))
    assert sizes == [10] * 4 and rounding.tolist() == [3.0, 6.0] and rim.tolist() == [30.0, 60.0]
    nothing = lambda x, logw: (None, np.zeros(len(x), bool), np.zeros((2, 1)))
    assert trapezoid._sample(nothing, [PLAIN] * 2, np.zeros(2), h, (4, 10))[0] is None


# --------------------------------------------------------------------------- what samples say of what lies between them


def loudest(f, j, low):
    """The largest coefficient of the full transform at |frequencies| from `low` cycles a sample up, along axis j."""
    n = f.shape[j]
    high = np.abs(np.fft.fftfreq(n)) >= np.ceil(low * n) / n - 1e-9
    return np.abs(np.compress(high, np.fft.fftn(f), axis=j)).max()


@pytest.mark.parametrize(
    "shape, low", [((40,), 3 / 8), ((41,), 3 / 8), ((40, 27), 7 / 16), ((33, 32), 7 / 16), ((16, 9, 22), 7 / 16)]
)
def test_the_band_is_the_loudest_of_the_frequencies_near_half_a_cycle_a_sample(shape, low):
    t = np.random.default_rng(3).normal(size=(3, *shape)) * np.array([1, 10, 100]).reshape(-1, *(1 for _ in shape))
    right = [[loudest(f, j, low) for j in range(len(shape))] for f in t]
    np.testing.assert_allclose(trapezoid._spectrum(t), right, rtol=1e-12)


def test_points_between_show_the_aliases_themselves():
    """Along one axis at a time at half the spacing: 15/16 to 1 of a cycle a node, in units of the coarse rule's coefficients."""
    lo, h, n = np.array([-3.0, -2.0]), np.array([0.4, 0.3]), (17, 16)
    f = (lambda x: np.cos(15 * x[:, 0]) * pdf(x), lambda x: x[:, 1] * np.cos(20 * x[:, 1] - x[:, 0]) * pdf(x))
    grid = lambda n, h: np.stack(
        np.meshgrid(*(a + s * np.arange(m) for a, s, m in zip(lo, h, n, strict=True)), indexing="ij"), -1
    )
    at = lambda g, n, h: g(grid(n, h).reshape(-1, 2)).reshape(n) * 0.4 * 0.3
    t, right = np.stack([at(g, n, h) for g in f]), np.empty((2, 2))
    for j in (0, 1):
        more = 1 + (np.arange(2) == j)
        right[:, j] = [loudest(at(g, tuple(n * more), h / more), j, 15 / 32) / 2 for g in f]
    np.testing.assert_allclose(trapezoid._spectrum_at_the_aliases(Asked(*f), [PLAIN] * 2, t, lo, h), right, rtol=1e-9)
    nothing = lambda x, logw: (None, np.zeros(len(x), bool), np.zeros((2, 1)))
    band = trapezoid._spectrum_at_the_aliases(nothing, [PLAIN] * 2, t, lo, h)
    assert np.all(band > 0) and np.isfinite(band).all()


def test_the_inverse_of_nothing_is_nothing():
    np.testing.assert_array_equal(trapezoid.inverse(np.array([0.0, 1e-291, 4.0])), [0, 0, 0.25])


@pytest.mark.parametrize("d", [1, 2])
def test_an_oscillation_in_step_with_the_nodes_is_measured_between_them(d):
    """p (1 + a sin(pi u / h)): a mean of a |sin| p, of 24 points that p chooses; |sin| has mean 2 / pi and standard deviation .31."""
    h, lo = np.array([0.5, 0.4])[:d], np.full(d, -8.0)
    n = (33, 41)[:d]
    wave = lambda x: np.sin(np.pi * (x[:, 0] - lo[0]) / h[0])
    f = (pdf, lambda x: pdf(x) * (1 + 0.1 * wave(x)), lambda x: 0 * x[:, 0])
    t = trapezoid._sample(Asked(*f), [PLAIN] * d, lo, h, n)[0]
    t[1] = t[0]  # on the nodes the sine is 0, but for rounding
    total = np.array([1.0, 1.0, 0.0])
    gap, moved = trapezoid._misfit(Asked(*f), [PLAIN] * d, t, lo, h, total)
    assert (
        gap[0] < 1e-8 and gap[2] == 0 == moved.max()
    )  # but for what the nodes do not resolve, e^(-pi^2 / (2 h^2)) = 3e-9
    assert gap[1] == pytest.approx(0.1 * 2 / np.pi, rel=5 * 0.31 / math.sqrt(24) * np.pi / 2)
    assert trapezoid._misfit(Asked(*f, away=0.3), [PLAIN] * d, t, lo, h, total)[1] == pytest.approx(
        [0.3, 0.3, 0], rel=0.1
    )
    nothing = lambda x, logw, away: (None, np.zeros(len(x), bool), np.zeros((2, 1)))
    unseen, moved = trapezoid._misfit(nothing, [PLAIN] * d, t[:1], lo, h, total[:1])
    assert unseen == pytest.approx(1.0, rel=0.25) and moved == 0  # all that the nodes saw
    asked = Asked(pdf)
    trapezoid._misfit(asked, [PLAIN] * d, t[:1], lo, h, total[:1])
    off = (asked.x[0] - lo) / h
    assert np.all(np.abs(off - np.rint(off)) <= 0.5) and np.std(off - np.rint(off)) > 0.2 and len(off) == 24
    assert np.ptp(asked.x[0], axis=0).min() > 1 and np.abs(asked.x[0]).max() < 5  # where p is


def test_what_lies_beyond_the_box_is_found_up_to_the_limit_and_if_it_matters():
    spot = lambda low, high: Asked(lambda x: 1.0 * ((x[:, -1] > low) & (x[:, -1] < high)))
    lo, hi, far = np.array([-2.0, -9.0]), np.array([2.0, 9.0]), np.array([[-1e3, 1e3], [-1e3, 1e3]])
    look = lambda terms, limits=far, goal=1e-3: trapezoid._beyond(terms, lo, hi, limits, [PLAIN] * 2, np.array([goal]))
    found = look(spot(60, 80))
    assert found[0].tolist() == [0, 0] and found[1, 0] == 0 and 60 < 9 + found[1, 1] < 80
    left = look(spot(-80, -60))
    assert left[1].tolist() == [0, 0] and left[0, 1] == found[1, 1]
    assert 70 < 9 + look(spot(12, 80))[1, 1] < 80  # the furthest of what is found
    assert 9 + look(spot(9.01, 10))[1, 1] > 9.5 and 100 < look(spot(100, 1e3))[1, 1] < 200
    assert not look(spot(60, 80), np.array([[-1e3, 1e3], [-1e3, 50.0]])).any()
    grows = Asked(
        lambda x: np.exp(x[:, 1] * (1.0 + 99 * (x[:, 1] > 10))) - np.exp(x[:, 1])
    )  # what overflows is a finding
    assert look(grows)[1, 1] > 100
    assert not look(spot(60, 80), goal=4 * 20.0).any() and look(spot(60, 80), goal=4.0).any()  # its share of the volume
    assert not look(lambda x, logw: (None, None, None)).any()
    assert not look(Asked(lambda x: 0 * x[:, 0]), goal=0.0).any()  # a component of nothing is not looked for

    def refuses(x, logw):
        raise ValueError("no number out there")

    assert not look(refuses).any()


@pytest.mark.parametrize("d", [1, 2])
def test_a_second_set_of_nodes_shares_none_and_covers_the_box(d):
    h, lo, n = np.array([0.5, 0.4])[:d], np.full(d, -8.0), np.array([33, 41])[:d]
    narrow = lambda x: (
        pdf(x) + np.exp(-(((x[:, 0] - 0.22) / 0.02) ** 2) / 2) / (0.02 * math.sqrt(2 * math.pi)) / 16 ** (d - 1)
    )
    asked = Asked(pdf, pdf, narrow)
    apart = trapezoid._apart(asked, [PLAIN] * d, n, lo, h, np.array([1.0, 0.9, 1.0]), 4096)
    assert apart[0] < (1e-13 if d == 1 else 3e-4) and apart[1] == pytest.approx(0.1, abs=3e-4)  # at 2 h: 2 e^(-2 pi^2)
    x = np.concatenate(asked.x)
    step = (np.array([16 / (33 * 124)]) * 33 / 32 if d == 1 else 2 * h)[:d]
    assert np.all(x > lo) and np.all(x < lo + h * (n - 1)) and np.all(x.min(axis=0) < lo + step)
    assert np.all(x.max(axis=0) > lo + h * (n - 1) - step) and np.ptp(x, axis=0).max() > 14
    off = np.abs((x - lo) / h - np.rint((x - lo) / h)).min(axis=0)
    assert np.all(off > (1e-5 if d == 1 else 0.01))
    if d == 1:
        assert 3900 < len(x) < 4200 and apart[2] == pytest.approx(1.0, rel=1e-6)
    nothing = lambda x, logw: (None, np.zeros(len(x), bool), np.zeros((2, 1)))
    assert trapezoid._apart(nothing, [PLAIN] * d, n, lo, h, np.array([-0.3]), 4096) == pytest.approx([0.3])
    endless = Asked(
        lambda x: np.full(len(x), INF), lambda x: np.copysign(INF, x[:, 0]), lambda x: np.full(len(x), 1e307)
    )
    assert np.all(trapezoid._apart(endless, [PLAIN] * d, n, lo, 4 * h, np.ones(3), 4096) > 1e308)


# --------------------------------------------------------------------------- subdivision, and what it cannot see


@pytest.mark.parametrize("power", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("delta", [1e-10, 1e-13])
def test_what_is_left_of_a_singularity_is_bounded_from_its_growth(power, delta):
    """int |v - c|^-a over the last delta on either side is 2 delta^(1 - a) / (1 - a); the claim, ten times that by the measured a."""
    away = delta * 10 ** np.arange(0, 9, 0.125)
    v = 0.4 + np.concatenate([-away, away, [0.0]])
    f = np.abs(np.where(v == 0.4, delta, v - 0.4)) ** -power
    away = np.abs(v - 0.4)
    left = 2 * away[away > 0].min() ** (1 - power) / (1 - power)
    claim = trapezoid._spike(v[:, None], np.column_stack([f, np.ones(len(v)), 0 * v]))
    assert left <= claim[0] <= 20 * left and claim[1:].tolist() == [0, 0]


def test_a_singularity_that_cannot_be_integrated_or_is_not_approached():
    away = 1e-12 * 10 ** np.arange(0, 9, 0.125)
    v = np.concatenate([[0.0], away])[:, None]
    growth = lambda a: np.r_[away[0], away][:, None] ** -a
    assert np.isinf(trapezoid._spike(v, growth(1.0))) and np.isfinite(trapezoid._spike(v, growth(0.96)))
    assert trapezoid._spike(v, growth(0.04)) == 0
    assert np.isinf(trapezoid._spike(v, (away[0] >= v).astype(float)))  # nothing but at the point itself
    assert trapezoid._spike(1e4 * v, growth(0.5)) == 0  # no cell shrunk to a point


def test_of_several_meshes_the_two_that_agree_best_count(monkeypatch):
    """Five runs of eight cells. First component: the closest two are the second and the fourth, .01 apart, the larger of their errors .003."""
    import scipy.integrate

    first = [[0.1, 0.0], [0.5, 0.001], [0.2, 0.0], [0.51, 0.003], [0.9, 0.0]]
    runs = iter(np.repeat([[a, (0.7, 0.0), (0.3 + 0.1 * k, 0.0)] for k, a in enumerate(first)], 8, axis=0) / 8)
    cells: list = []

    class Part:
        def __init__(self, f, a, b, **options):
            assert f(np.array([[a[0]], [b[0]]])).shape == (2, 3)
            self.estimate, self.error = next(runs).T
            cells.append((a[0], b[0], options))

    monkeypatch.setattr(scipy.integrate, "cubature", Part)
    monkeypatch.setattr(trapezoid, "_spike", lambda v, f: np.array([0.0, 0.0, 7.0]))
    total = np.array([2.0, 1.0, 1.0])
    value, error = subdivide(Asked(pdf, pdf, pdf), [PLAIN], np.array([-9.0]), np.array([9.0]), total, 1e-9)
    assert 0.5 <= value[0] / 2 <= 0.51 and 2 * (0.01 + 0.003) <= error[0] <= 2 * (4 * 0.01 + 2 * 0.0031)
    assert (
        value[1] == pytest.approx(0.7) and 8 * EPS <= error[1] <= 1e-13
    )  # what is the same in all is known but for rounding
    assert 7.1 < error[2] < 7.5 and 0.3 <= value[2] <= 0.7  # and what may be left of a singularity
    assert [c[:2] for c in cells[:8]] == [(k / 8, (k + 1) / 8) for k in range(8)] and len(cells) == 40
    options = [c[2] for c in cells]
    assert all(8 * o["atol"] <= 1e-9 / 2 and o["rtol"] == 0 for o in options)
    assert sum(o["max_subdivisions"] for o in options) <= trapezoid.SUBDIVISIONS[1]


@pytest.mark.parametrize("d", [1, 2, 3])
def test_subdivision_integrates_over_the_box_in_the_unit_of_the_total(d):
    from scipy.stats import norm

    lo, hi = np.full(d, -1.0), np.array([2.0, 1.5, 1.0])[:d]
    if d == 1:
        f, area = lambda x: 1e6 * np.abs(x[:, 0] - 0.3), 1e6 * (1.3**2 + 1.7**2) / 2
    else:
        f, area = (
            lambda x: 1e6 * np.exp(x[:, 0] - x[:, 1]),
            1e6 * (np.exp(2) - np.exp(-1)) * (np.exp(1) - np.exp(-1.5)) * 2 ** (d - 2),
        )
    mass = np.prod(norm.cdf(hi) - norm.cdf(lo))
    asked = Asked(f, pdf, lambda x: 0 * x[:, 0])
    value, error = subdivide(asked, [PLAIN] * d, lo, hi, np.array([area, mass, 0.0]), 1e-9)
    # a cell has 21^d nodes and 10^d coarser ones, which may be among them; it was 21^d more
    points = np.concatenate(asked.x)
    assert len(points) - len(np.unique(points, axis=0)) <= len(points) * 10**d / (21**d + 10**d)
    truth = np.array([area, mass, 0.0])
    assert np.all(np.abs(value - truth) <= error) and np.all(error <= [1e-8 * area, 1e-8, 1e-13]), (value, error)


# --------------------------------------------------------------------------- the rule as a whole


def line(tail="gaussian", reach=1.0, detail=1.0):
    return Piece(-INF, INF, 0.0, 1.0, tail, reach, detail)


def logistic(x):
    e = np.exp(-np.abs(x).sum(axis=1))
    return e / (1 + e) ** 2


# name: (f, pieces, its integral, nodes that the rule may spend on 1e-12: a seventh more than it does)
SMOOTH = {
    "gaussian": (pdf, [line()], 1.0, 392),
    "too wide a box": (pdf, [line(reach=60.0)], 1.0, 612),
    "too narrow a box": (lambda x: pdf(x / 8) / 8, [line()], 1.0, 1000),
    "exponential decay": (logistic, [line("exponential")], 1.0, 473),
    "algebraic decay": (lambda x: 1 / (1 + x[:, 0] ** 2) / np.pi, [line("algebraic")], 1.0, 813),
    "wave": (lambda x: pdf(x) * np.cos(6 * x[:, 0]), [line()], math.exp(-18), 520),
    "step of tanh": (lambda x: pdf(x) * (1 + np.tanh(3 * x[:, 0])), [line()], 1.0, 1829),
    "half": (lambda x: np.exp(-x[:, 0]), [Piece(0.0, INF, 0.0, 1.0, "exponential", 1.0, 1.0)], 1.0, 395),
    "interval": (lambda x: np.exp(x[:, 0]), [Piece(0.0, 1.0, 0.5, 1.0, "gaussian", 1.0, 1.0)], math.e - 1, 342),
    "plane": (pdf, [line()] * 2, 1.0, 4761),
    "fine along one axis": (lambda x: pdf(x * [1, 8]) * 8, [line()] * 2, 1.0, 13932),
}  # fmt: skip
each_smooth = pytest.mark.parametrize("f, pieces, truth, most", SMOOTH.values(), ids=SMOOTH)


def rule(f, pieces, rtol=1e-12, budget=1 << 17):
    """The Sum, the box, and the terms with what they were asked for."""
    terms = f if isinstance(f, Asked) else Asked(f)
    found, lo, hi = trapezoid.trapezoid(terms, pieces, rtol, budget)
    return found, lo, hi, terms


@each_smooth
def test_the_rule_alone_is_honest_about_its_error_and_its_cost(f, pieces, truth, most, monkeypatch):
    """Without the second look, which would find out: the spectrum and the shells suffice for what is analytic."""
    monkeypatch.setattr(trapezoid, "EVIDENCE", 1)
    found, _, _, asked = rule(f, pieces)
    gap = abs(found.value[0] - truth)
    assert gap <= (found.error + found.rest)[0] + 16 * EPS and (found.error + found.rest)[0] <= 1e-12 * found.total[0]
    assert found.total[0] >= abs(truth) * (1 - 1e-12) and not found.endless[0]
    assert sum(map(len, asked.x)) <= most


@pytest.mark.parametrize("budget", [12, 20, 34, 60, 100, 180])
@each_smooth
def test_a_grid_as_large_as_the_budget_and_no_larger_is_honest(f, pieces, truth, most, budget, monkeypatch):
    monkeypatch.setattr(trapezoid, "EVIDENCE", 1)
    budget **= len(pieces)
    found, _, _, asked = rule(f, pieces, budget=budget)
    assert abs(found.value[0] - truth) <= (found.error + found.rest)[0] + 16 * EPS and not found.endless[0]
    assert max(map(len, asked.x)) <= max(
        budget // len(pieces), 9 ** len(pieces), 32
    )  # half of it in the plane; 32 points on the way to each limit
    if pieces[0].reach == 60 and budget > 32:  # the first grid alone would be larger: then as many as there may be
        assert max(map(len, asked.x)) >= 0.9 * budget


@pytest.mark.parametrize("d", [1, 2])
def test_a_component_of_no_number_is_endless_and_leaves_the_others_alone(d):
    infinite = lambda x: np.where(x[:, 0] > 3, INF, pdf(x))
    cancels = lambda x: np.where(np.abs(x[:, 0]) > 3, np.copysign(INF, x[:, 0]), pdf(x))
    overflows = lambda x: np.full(len(x), 1.7e308)  # a number everywhere, whose sum is none
    found = rule(Asked(infinite, pdf, cancels, overflows), [line()] * d)[0]
    assert found.endless.tolist() == [True, False, True, True] and found.total[0] == 0
    assert abs(found.value[1] - 1) <= (found.error + found.rest)[1] <= 1e-12


def test_a_sum_with_weight_on_the_rim_of_what_underflows_is_endless():
    def terms(x, logw, away=0):
        values = np.array([pdf(x), pdf(x)]) * np.exp(logw)
        return values, np.ones(len(x), bool), np.array([[0.0, 0.0], [1e-3 / len(x), 1e-20]])

    found = trapezoid.trapezoid(terms, [line()], 1e-12, 1 << 17)[0]
    assert found.endless.tolist() == [True, False] and found.value[1] == pytest.approx(1, rel=1e-13)


def test_blocks_and_the_second_look_are_as_large_as_said():
    """At most 2^15 points in a call; 4096 nodes on a line beside those of the rule, an eighth of it where 1e-8 is asked for or less."""
    for rtol, nodes in ((1e-12, 4096), (0.99e-8, 4096), (1e-8, 512), (1e-6, 512)):
        asked = rule(pdf, [line()], rtol)[3]
        assert 0.8 * nodes < max(map(len, asked.x)) < 1.1 * nodes  # a whole number of them beside each of the rule
    asked = rule(pdf, [line(detail=1e-4)])[3]
    assert max(map(len, asked.x)) == 1 << 15


def test_a_grid_of_many_components_has_fewer_nodes(monkeypatch):
    """The terms of a grid, components times nodes, are no more numbers than MEMORY."""
    wave = SMOOTH["wave"][0]
    monkeypatch.setattr(trapezoid, "EVIDENCE", 1)
    one = max(map(len, rule(wave, [line()])[3].x))
    for components, memory in ((1, 80), (4, 320), (2, 160)):
        monkeypatch.setattr(trapezoid, "MEMORY", memory)
        found, _, _, asked = rule(Asked(*[wave] * components), [line()])
        assert max(map(len, asked.x)) <= 80 < one
        assert np.all(np.abs(found.value - math.exp(-18)) <= found.error + found.rest + 16 * EPS)


@pytest.mark.parametrize("d", [1, 2])
def test_a_component_of_nothing_costs_nothing(d):
    one = rule(pdf, [line()] * d)[3]
    found, _, _, both = rule(Asked(pdf, lambda x: 0 * x[:, 0]), [line()] * d)
    assert [len(x) for x in both.x] == [len(x) for x in one.x]
    assert found.value[1] == found.total[1] == found.error[1] == found.rest[1] == 0 and not found.endless[1]


@pytest.mark.parametrize("budget", [40, 60, 100, 200, 400])
def test_where_there_is_no_room_to_go_on_what_has_not_decayed_is_endless_and_nothing_else(budget):
    slow = lambda x: 1 / (1 + np.abs(x[:, 0]))
    found = rule(Asked(slow, pdf, lambda x: pdf(x - 1)), [line("exponential")], budget=budget)[0]
    assert found.endless.tolist() == [True, False, False] and found.where == "x[:, 0]"
    assert np.all(np.abs(found.value[1:] - 1) <= (found.error + found.rest)[1:])
