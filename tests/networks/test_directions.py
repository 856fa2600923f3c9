"""Directions: the exact trace against the textbook one, first layers of deficient rank, and probes of unit second moment.

Tolerances are in units of eps * S, S the error scale of MATH's section 6 (`oracles.scales`): the same formula in absolute values.
Two computations that are each within k eps S of the truth differ by at most 2 k eps S; k is LIMITS of test_accuracy.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from accuracy import LIMITS, SMOOTH
from networks_cases import BOTH, EPS, ISSUE, assert_within, deficient, network_of, textbook_error, trace_scale
from nightly import mostly
from oracles import extended, scales

from numpyscore import EnergyMLP, ScoreMLP, implicit
from numpyscore.networks import cyclic, directions, passes

# ------------------------------------------------------------------------------- exact against textbook


def shapes(d):
    """First layers narrower than d, as wide, and wider; beyond d = 384 a wider one is a nightly matter."""
    return sorted({max(1, min(d - 1, 9)), d, d + 3} if d < 300 else {9, 24} | ({d + 3} if d < 3000 else set()))


@pytest.mark.parametrize("depth", mostly([1, 2, 3, 4], 1, 3))
@pytest.mark.parametrize("d", [1, 2, 17, 384, 3072])
@BOTH
def test_exact_is_textbook(cls, d, depth):
    worst = 0.0
    for conditional in (False, True):
        for first in shapes(d):
            if conditional == (first == 24) if d == 3072 else conditional and first > 300:
                continue  # the same code, seconds of time
            confinement = 0.7 * (not conditional or depth % 2)
            widths = (first, 7, 5, 6)[:depth]
            activation = SMOOTH[(d + depth + first) % len(SMOOTH)]
            case = network_of(
                cls, d, widths, activation, conditional=conditional, confinement=confinement, seed=d + first
            )
            error = textbook_error(*case)
            worst = max(worst, error)
            assert error <= ISSUE, f"{case[0]}: {error:.3g} eps S"
    print(f"exact against textbook, {cls.kind}, d = {d}, {depth} hidden: {worst:.1f} eps S")


@pytest.mark.nightly
@BOTH
def test_exact_is_textbook_with_a_first_layer_wider_than_an_image(cls):
    assert textbook_error(*network_of(cls, 3072, (3080, 6), seed=1, n=1)) <= ISSUE


HOW = ("full rank", "duplicate columns", "zero column", "zero", "nearly dependent", "badly scaled")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("widths", [(5,), (5, 4), (5, 4, 3)], ids=str)
@BOTH
def test_a_rank_deficient_first_layer_changes_nothing(cls, widths, how):
    for d in (3, 5, 11):  # n_1 = 5: wide, square, narrow
        model, x, sigma = network_of(cls, d, widths, conditional=d == 11, confinement=0.3, seed=d)
        model = deficient(model, how)
        assert textbook_error(model, x, sigma) <= ISSUE
        # the gradient by complex steps in clongdouble, where T_1 = W_1: an oracle that knows neither Cholesky nor QR
        places = np.arange(0, model.theta.size, 3 if d < 11 else 7)
        assert_gradient(model, x, sigma, places)


def assert_gradient(model, x, sigma, places):
    """Gradient of implicit against complex steps at some places, in units of S."""
    net, real = extended(model)
    h, exact = real(1e-30), []
    for i in places:
        theta = net.theta.copy()
        theta[i] += 1j * h
        exact.append(implicit(net.with_theta(theta), x, **sigma).value.imag / h)
    S = scales(model, x, **sigma)[3][places]
    assert_within(LIMITS["gradient"], implicit(model, x, **sigma).gradient[places], np.array(exact), S, repr(model))


@pytest.mark.parametrize("d", [1, 2, 17, 384])
@BOTH
def test_the_gradient_of_the_exact_trace(cls, d):
    for depth, first in ((1, 4), (2, d + 2 if d < 300 else 6), (3, 5), (4, 3)):
        conditional = depth % 2 == 0
        case = network_of(
            cls, d, (first, 5, 4, 3)[:depth], "softplus", conditional=conditional, confinement=0.4, seed=depth
        )
        p = case[0].theta.size
        assert_gradient(*case, np.unique(np.linspace(0, p - 1, 12).astype(int)))


@BOTH
def test_control_a_trace_wrong_by_one_part_in_a_hundred_billion_is_seen(cls, monkeypatch):
    case = network_of(cls, 17, (6, 5), seed=5)
    assert textbook_error(*case) <= ISSUE
    where, name = (passes, "curvature") if cls is EnergyMLP else (cyclic.Bilinear, "trace")
    right = getattr(where, name)
    monkeypatch.setattr(where, name, lambda *a: right(*a) * (1 + 1e-11))
    assert textbook_error(*case) > ISSUE / 100  # some of S cancels in the trace: at least a tenth of it here
    with pytest.raises(AssertionError):
        monkeypatch.setattr(where, name, lambda *a: right(*a) * (1 + 1e-9))
        assert textbook_error(*case) <= ISSUE


# ------------------------------------------------------------------------------- probes


PROBES = ("rademacher", "gaussian", "sphere")


def probe_deviation(model, probe, exact, draws=4000):
    """(mean over draws - exact) in standard errors, and the variance of one draw with its own standard error."""
    x, n = exact[0], draws
    estimates = model.trace(np.repeat(x, n, axis=0), "hutchinson", probe=probe, rng=11)
    off = estimates - exact[1]
    variance = np.mean(off**2)
    return off.mean() / np.sqrt(variance / n), variance, np.std(off**2) / np.sqrt(n)


@pytest.mark.parametrize("probe", PROBES)
@BOTH
def test_hutchinson_has_the_exact_mean_and_the_variance_of_its_probe(cls, probe):
    model, x, _ = network_of(cls, 6, (7, 5), seed=8, n=1)
    A = model.jacobian(x)[0]
    A, trace, d = (A + A.T) / 2, model.trace(x)[0], 6  # v^T J v sees the symmetric part alone
    square = np.sum(A * A)
    # Var: Gaussian 2|A|^2; Rademacher 2 sum_{i != j} A_ij^2; sphere 2d/(d+2) (|A|^2 - tr^2/d)   (MATH, section 5)
    variance = {
        "gaussian": 2 * square,
        "rademacher": 2 * (square - np.sum(np.diag(A) ** 2)),
        "sphere": 2 * d / (d + 2) * (square - trace**2 / d),
    }[probe]
    deviation, found, error = probe_deviation(model, probe, (x, trace))
    assert abs(deviation) < 5
    assert abs(found - variance) < 5 * error
    several = model.trace(np.repeat(x, 500, axis=0), "hutchinson", n_probes=8, probe=probe, rng=3)
    assert abs(several.mean() - trace) < 5 * np.sqrt(variance / 4000)
    assert several.var() < variance / 8 * 2  # eight probes: an eighth of the variance


def test_control_probes_of_unit_length_are_seen(monkeypatch):
    model, x, _ = network_of(EnergyMLP, 6, (7, 5), confinement=0.5, seed=8, n=1)
    exact = (x, model.trace(x)[0])
    assert abs(probe_deviation(model, "sphere", exact)[0]) < 5
    right = directions.draw_probes
    monkeypatch.setattr(
        directions, "draw_probes", lambda where, probe, shape, *a: right(where, probe, shape, *a) / shape[-1] ** 0.5
    )
    assert abs(probe_deviation(model, "sphere", exact)[0]) > 5


@pytest.mark.parametrize("probe", PROBES)
@BOTH
def test_rademacher_is_exact_in_one_dimension_and_every_probe_has_unit_second_moment(cls, probe):
    model, x, _ = network_of(cls, 1, (4, 3), n=5)
    if probe != "gaussian":  # v = +-1
        S = trace_scale(model, x, {})
        assert_within(2 * LIMITS["trace"], model.trace(x, "hutchinson", probe=probe, rng=0), model.trace(x), S)
    v = directions.draw_probes("test", probe, (20000, 3), np.random.default_rng(0))
    # entries of v v^T have variance at most 2: five standard errors of 20000 draws
    np.testing.assert_allclose(v.T @ v / 20000, np.eye(3), rtol=0, atol=5 * np.sqrt(2 / 20000))


def test_probes_keep_dtype_and_refuse_unknown_names():
    for probe in PROBES:
        assert directions.draw_probes("t", probe, (4, 3), np.random.default_rng(0), np.float32).dtype == np.float32
    sphere = directions.draw_probes("t", "sphere", (2, 4, 3), np.random.default_rng(0))
    np.testing.assert_allclose(np.sum(sphere**2, axis=-1), 3, rtol=1e-14)
    signs = directions.draw_probes("t", "rademacher", (2, 4, 3), np.random.default_rng(0))
    assert set(signs.ravel()) == {-1, 1} and signs.dtype == float
    for x in (np.zeros((1, 2)), np.zeros((0, 2))):  # of no samples as well
        with pytest.raises(ValueError, match="trace: probe is 'cube'"):
            network_of(EnergyMLP, 2, (3,))[0].trace(x, "hutchinson", probe="cube")
    with pytest.raises(ValueError, match="trace: probe is 'cube', expected 'rademacher', 'gaussian' or 'sphere'"):
        network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "hutchinson", probe="cube")
    with pytest.raises(ValueError, match="trace: method is 'fast', expected 'exact', 'textbook' or 'hutchinson'"):
        network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "fast")
    for bad, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="trace: n_probes is"):
            network_of(EnergyMLP, 2, (3,))[0].trace(np.zeros((1, 2)), "hutchinson", n_probes=bad)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_which_factor_is_taken_does_not_depend_on_the_unit_of_the_weights(unit):
    """Columns that depend on each other up to 1e-5 would cost Cholesky half of its digits, in any unit; R^T R is W^T W either way."""
    W = np.random.default_rng(0).standard_normal((9, 4))
    near = np.column_stack([W[:, :3], W[:, 2] + 1e-5 * W[:, 3]])
    for matrix, triangle in ((W, True), (near, False)):
        R, _, told = directions._factor(unit * matrix)
        assert told is triangle
        np.testing.assert_allclose(R.T @ R, unit**2 * matrix.T @ matrix, rtol=1e-13, atol=1e-13 * unit**2)
    assert directions._factor(W.T)[2] is False and directions._factor(W.T)[0].shape == (4, 9)  # wide: W itself


@BOTH
def test_one_probe_unless_more_are_asked_for_and_of_each_a_seed(cls):
    model, x, _ = network_of(cls, 3, (4, 5), n=4)
    ask = lambda **k: model.trace(x, "hutchinson", rng=0, **k)
    np.testing.assert_array_equal(ask(), ask(n_probes=1))
    several = model.sweep(model.points("t", x), directions=directions.Probes.drawn("t", "rademacher", 5, 4, 3, 0))
    np.testing.assert_allclose(ask(n_probes=5), several.curvature / 5, rtol=1e-15)  # their mean


def test_probes_are_the_same_however_the_samples_are_cut():
    """700 samples are three streams of 256, the last one short; each direction has streams of its own."""
    n, d = 700, 3
    for probe in PROBES:
        probes = directions.Probes.drawn("t", probe, 4, n, d, 5)
        whole = probes.draw(slice(0, 4), slice(0, n), float)
        assert whole.shape == (4, n, d) and probes.m == 4
        for chunk, at in ((slice(1, 3), slice(0, n)), (slice(0, 4), slice(255, 258)), (slice(3, 4), slice(300, 700)), (slice(2, 4), slice(511, 513)), (slice(0, 1), slice(10, 10))):  # fmt: skip
            np.testing.assert_array_equal(probes.draw(chunk, at, float), whole[chunk, at])
        flat = whole.reshape(-1, d).tolist()
        if probe != "rademacher":
            assert len({tuple(v) for v in flat}) == 4 * n
        else:  # each pair of streams agrees in about an eighth of its rows, 32 +- 6 of 256
            streams = [whole[j, start : start + 256] for j in range(4) for start in (0, 256)]
            for a, b in itertools.combinations(streams, 2):
                assert np.sum(np.all(a == b, axis=1)) < 32 + 5 * 6
        first = directions.Probes.drawn("t", probe, 4, 256, d, 5).draw(slice(0, 4), slice(0, 256), float)
        np.testing.assert_array_equal(first, whole[:, :256])


def test_streams_have_as_many_samples_as_they_are_said_to(monkeypatch):
    seeds, right = [], np.random.default_rng
    probes = directions.Probes.drawn("t", "gaussian", 2, 600, 3, 5)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: (seeds.append(seed), right(seed))[1])
    probes.draw(slice(0, 2), slice(200, 600), float)
    assert [seed[1:] for seed in seeds] == [(j, start) for start in (0, 256, 512) for j in (0, 1)]


@BOTH
def test_weighted_axes_are_the_diagonal_of_the_jacobian_there_and_back(cls):
    """Curvatures along w_i(x) e_i: w_i^2 J_ii; and the gradient of a sum of them with cotangents, against given directions."""
    model, x, sigma = network_of(cls, 4, (5, 6), conditional=True, confinement=0.4, n=6)
    rng = np.random.default_rng(0)
    w, c = rng.standard_normal((6, 4)), rng.standard_normal((4, 6))
    points = model.points("test", x, **sigma)
    axes, given = directions.Axes(w), directions.Probes.given(np.einsum("ni,ij->inj", w, np.eye(4)))
    each = model.sweep(points, directions=axes, total=False).curvature
    right = np.einsum("ni,nii->in", w**2, model.jacobian(x, **sigma))
    np.testing.assert_allclose(each, right, rtol=0, atol=64 * EPS * np.abs(right).max())
    np.testing.assert_allclose(model.sweep(points, directions=axes).curvature, right.sum(0), rtol=0, atol=1e-13)
    for local, total in (
        (lambda at, here: (0, {"curvature": c[0, at]}), True),
        (lambda at, here: (0, {"curvature": lambda chunk, K: c[chunk, at]}), False),
    ):
        one, other = (
            model.sweep(points, directions=way, local=local, gradient=True, total=total).gradient
            for way in (axes, given)
        )
        np.testing.assert_allclose(one, other, rtol=0, atol=256 * EPS * np.abs(other).max())


@pytest.mark.parametrize("share, triangle", [(0.11, True), (0.09, False)])
def test_a_column_of_which_a_tenth_is_its_own_is_independent(share, triangle):
    """A second column at that sine to the first, whatever their lengths."""
    W = np.zeros((5, 2))
    W[0, 0], W[:2, 1] = 1e3, 1e-3 * np.array([np.sqrt(1 - share**2), share])
    assert directions._factor(W)[2] is triangle


def test_a_square_first_layer_is_taken_as_it_is():
    W = np.random.default_rng(0).standard_normal((4, 4))
    assert directions._factor(W)[0] is W and not directions._factor(W)[2]
    for dtype in (np.float32, np.float64, np.longdouble):
        for shape in ((4, 4), (9, 4), (3, 4)):
            a = np.random.default_rng(0).standard_normal(shape).astype(dtype)
            for matrix in (a, np.column_stack([a[:, :-1], a[:, 0]])):  # of deficient rank as well
                R, lift, _ = directions._factor(matrix)
                A, B = lift(np.zeros_like(R), np.ones(4, dtype))
                assert R.dtype == A.dtype == B.dtype == dtype


# ------------------------------------------------------------------------------- how much at once


def test_chunks_of_directions_fill_the_cache_and_parts_of_a_batch_leave_room_for_sixteen():
    work = SimpleNamespace(alone=False)
    call = lambda m, shared, numbers=0, chunk=9600, width=20: SimpleNamespace(
        chunk=chunk, width=width, ways=SimpleNamespace(m=m, shared=shared, numbers=numbers)
    )
    lengths = lambda slices: [at.stop - at.start for at in slices]
    # 480 rows of 20 numbers: 16 directions of 30 samples, 4 of 120; as many as there are where directions are not shared
    assert lengths(directions._parts(call(100, True), 70, work)) == [30, 30, 10]
    assert lengths(directions._parts(call(4, True), 250, work)) == [120, 120, 10]
    assert lengths(directions._parts(call(100, False), 70, work)) == [70]
    assert lengths(directions._parts(call(100, True, chunk=1), 3, work)) == [1, 1, 1]
    assert directions._parts(call(100, False), 0, work) == []
    # 480 rows: of 48 samples ten directions, or four whose points have 50 numbers each
    assert lengths(directions._chunks(call(25, True), 48, work)) == [10, 10, 5]
    assert lengths(directions._chunks(call(9, False, 50), 48, work)) == [4, 4, 1]
    assert lengths(directions._chunks(call(2, False, chunk=1), 48, work)) == [1, 1]
    assert lengths(directions._chunks(call(500, False), 0, work)) == [480, 20]
    for parts in (directions._parts(call(100, True), 70, work), directions._chunks(call(25, True), 48, work)):
        assert parts[0].start == 0 and [a.stop for a in parts[:-1]] == [b.start for b in parts[1:]]
    # alone a product has 1024 rows, but no more than four times what the cache bears
    alone = SimpleNamespace(alone=True)
    for width, chunk, numbers in ((20, 9600, 20480), (20, 30000, 30000), (100, 9600, 38400)):
        assert directions._numbers(call(1, True, chunk=chunk, width=width), alone) == numbers
        assert directions._numbers(call(1, True, chunk=chunk, width=width), work) == chunk


def test_directions_of_few_samples_are_counted_once(monkeypatch):
    """A batch in parts: the squares of directions that all share are counted with the first part, those of samples with each."""
    for cls, widths in ((EnergyMLP, (6, 5)), (ScoreMLP, (6, 5, 4)), (EnergyMLP, (6,))):
        for d, n, numbers in ((4, 40, 126), (9, 40, 126), (9, 2, 1)):  # seven samples of three directions; one of one
            model, x, _ = network_of(cls, d, widths, n=n, confinement=0.3)
            trace, gradient = model.trace(x), implicit(model, x).gradient
            with monkeypatch.context() as small:
                small.setattr(directions, "_numbers", lambda call, work: numbers)  # noqa: B023
                np.testing.assert_allclose(model.trace(x), trace, rtol=0, atol=64 * EPS * np.abs(trace).max())
                parts = implicit(model, x).gradient
            np.testing.assert_allclose(parts, gradient, rtol=0, atol=256 * EPS * np.abs(gradient).max())
