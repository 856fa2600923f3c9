"""Integrals: right where the truth is known, honest and sharp about their error, and refusing what they cannot do."""

import itertools
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.densities import (
    Banana,
    Exponential,
    Gaussian,
    GaussianMixture,
    HalfNormal,
    Laplace,
    Logistic,
    StudentT,
    TruncatedGaussian,
    Uniform,
)
from numpyscore.numerics import quadrature, trapezoid
from numpyscore.numerics.quadrature import (
    Frame,
    Integral,
    Rows,
    Terms,
    _reconcile,
    _report,
    expectation,
    frame_of,
    integrate,
    needs,
    over_pieces,
    per_axis,
    support_of,
    values_of,
)
from numpyscore.numerics.trapezoid import Sum

EPS, INF = np.finfo(float).eps, np.inf
LINE = np.array([[-np.inf, np.inf]])
squares = lambda x: (x**2).sum(axis=1)
ones = np.ones


def assert_honest(found, truth, scale=None):
    """|value - truth| <= error; 4 eps of slack for the truth's own rounding."""
    truth = np.asarray(truth, float)
    slack = 4 * EPS * np.maximum(np.abs(truth), 0 if scale is None else scale)
    assert np.all(np.abs(found.value - truth) <= found.error + slack), f"{found} against {truth}"


# --------------------------------------------------------------------------- known moments

CORRELATED = {d: 0.9 * ones((d, d)) + 0.1 * np.eye(d) for d in (1, 2, 3)}
NARROW = GaussianMixture([0.5, 0.5], [-2.0, 1.0], [1.0, 0.0025])
MOMENTS = [
    *[(f"gaussian {d}", Gaussian(np.zeros(d), CORRELATED[d]), d) for d in (1, 2, 3)],
    *[(f"logistic {d}", Logistic(np.zeros(d)), d * np.pi**2 / 3) for d in (1, 2, 3)],
    *[(f"t3 {d}", StudentT(3, np.zeros(d), np.eye(d)), 3 * d) for d in (1, 2)],
    *[(f"t5 {d}", StudentT(5, np.zeros(d), np.eye(d)), 5 / 3 * d) for d in (1, 2, 3)],
    *[(f"laplace {d}", Laplace(0.3 * ones(d)), 2.09 * d) for d in (1, 2, 3)],
    *[(f"exponential {d}", Exponential(2 * ones(d)), 0.5 * d) for d in (1, 2, 3)],
    *[(f"half normal {d}", HalfNormal(ones(d)), d) for d in (1, 2, 3)],
    *[(f"uniform {d}", Uniform(ones(d), 2 * ones(d)), 7 / 3 * d) for d in (1, 2, 3)],
    ("narrow mixture", NARROW, (4 + 1 + 1 + 0.0025) / 2),
    # On [1, inf): E x^2 = 1 + phi(1) / Q(1), with phi(1) / Q(1) the inverse Mills ratio to 30 digits from mpmath.
    ("truncated", TruncatedGaussian(0.0, 1.0, 1.0), 1 + 1.525135276160981),
]


@pytest.mark.parametrize("density, truth", [m[1:] for m in MOMENTS], ids=[m[0] for m in MOMENTS])
def test_moments(density, truth):
    found = expectation(lambda x: np.stack([squares(x), ones(len(x))], axis=1), density)
    assert found.converged, found
    assert_honest(found, [truth, 1])
    assert np.all(found.error <= 1e-12 * np.array([truth, 1]))  # what converged promises; squares are not negative


def test_several_integrals_share_the_points_and_keep_their_shape():
    points = []

    def outer(x):
        points.append(len(x))
        return x[:, :, None] * x[:, None, :]

    found = expectation(outer, Gaussian(np.zeros(2), CORRELATED[2]))
    assert found.value.shape == found.error.shape == (2, 2)
    assert_honest(found, CORRELATED[2])
    assert max(points) <= trapezoid.BLOCK and sum(points) <= found.evaluations
    assert expectation(lambda x: squares(x)[:, None], Gaussian(0.0, 1.0)).value.shape == (1,)


def test_blocks_are_contiguous_float64():
    def g(x):
        assert x.flags.c_contiguous and x.dtype == np.float64 and x.shape[1] == 2
        return squares(x)

    assert_honest(expectation(g, Gaussian(np.zeros(2), CORRELATED[2])), 2)
    assert_honest(expectation(g, Exponential(ones(2))), 4)


def test_an_endpoint_singularity_is_integrated_to_the_end():
    # E x^-1/2 under the unit exponential is Gamma(1/2); 1e-13 of the mass lies within 1e-26 of the end.
    assert_honest(expectation(lambda x: x[:, 0] ** -0.5, Exponential(1.0)), np.sqrt(np.pi))


def test_location_and_scale_do_not_matter():
    for loc, scale in ((1e3, 1e-3), (-1e6, 1.0), (0.0, 1e-8), (0.0, 1e8)):
        found = expectation(lambda x, m=loc, s=scale: ((x[:, 0] - m) / s) ** 2, Gaussian(loc, scale**2))
        assert_honest(found, 1)
        assert found.error <= 1e-12 + 100 * EPS * abs(loc) / scale  # x itself is rounded to eps |loc|


@pytest.mark.parametrize("rho", [0.9999, 1 - 1e-9, 1 - 1e-12])
def test_nearly_parallel_axes(rho):
    """LAPACK's triangle, 2.5e-10 off in L_22 at 1 - 1e-9, made E (x_1 - x_2)^2 wrong by 5e-10 beside a claim of 6e-13."""
    p = Gaussian(np.zeros(2), np.array([[1, rho], [rho, 1]]))
    found = expectation(lambda x: np.column_stack([(x[:, 0] - x[:, 1]) ** 2, (p.score(x) ** 2).sum(axis=1)]), p)
    truth = np.array([2 * (1 - rho), 2 / ((1 - rho) * (1 + rho))])  # 1 - rho is exact
    assert_honest(found, truth)
    assert np.all(found.error <= 1e-5 * np.sqrt(EPS) / np.sqrt(1 - rho) * truth)  # eps |x| beside the narrow axis


def test_normaliser_of_an_energy():
    found = integrate(lambda x: np.exp(-squares(x) / 2), Frame(np.zeros(2), np.eye(2)), [[-np.inf, np.inf]] * 2)
    assert_honest(found, 2 * np.pi)
    quartic = integrate(lambda x: np.exp(-(x[:, 0] ** 4)), Frame(np.zeros(1), np.eye(1)), LINE)
    assert_honest(quartic, 1.8128049541109541)  # 2 Gamma(5/4)
    assert float(quartic) == quartic.value and quartic.converged


def test_a_density_without_a_frame():
    shifted = lambda x: -0.5 * (x[:, 0] - 30) ** 2 - 0.5 * np.log(2 * np.pi)
    bare = SimpleNamespace(dim=1, support=LINE, logpdf=shifted)
    assert_honest(expectation(squares, bare), 901)
    sampled = SimpleNamespace(**vars(bare), sample=lambda n, rng: 30 + np.random.default_rng(rng).normal(size=(n, 1)))
    assert_honest(expectation(squares, sampled), 901)


# --------------------------------------------------------------------------- divergence


@pytest.mark.parametrize(
    "g, density",
    [
        (lambda x: np.abs(x[:, 0]), StudentT(1.0)),
        (squares, StudentT(2.0)),
        (squares, StudentT(2.0, np.zeros(2), np.eye(2))),
        (lambda x: np.exp(squares(x) / 2), Gaussian(0.0, 1.0)),
        (lambda x: np.exp(squares(x) / 2), Gaussian(np.zeros(2), np.eye(2))),
        (lambda x: np.exp(squares(x)), Gaussian(0.0, 1.0)),
        (lambda x: np.exp(x[:, 0]), Exponential(1.0)),
        (lambda x: 1 / x[:, 0], Exponential(1.0)),
        (lambda x: np.exp(np.abs(x).sum(axis=1)), Logistic(np.zeros(2))),
    ],
)
def test_an_expectation_that_does_not_exist_is_recognised(g, density):
    found = expectation(g, density)
    assert np.isnan(found.value) and np.isinf(found.error) and not found.converged and "does not decay" in found.note


def test_divergence_of_one_component_leaves_the_others_alone():
    found = expectation(lambda x: np.stack([x[:, 0] ** 2, np.tanh(x[:, 0]) ** 2], axis=1), StudentT(2.0))
    assert np.isnan(found.value[0]) and np.isinf(found.error[0]) and found.error[1] < 1e-12


def test_the_normaliser_of_a_bounded_energy_is_infinite():
    frame = Frame(np.zeros(1), np.eye(1))
    assert np.isnan(integrate(lambda x: np.exp(-np.tanh(x[:, 0])), frame, LINE).value)


# --------------------------------------------------------------------------- kinks


def test_a_kink_is_resolved_by_subdivision_or_by_breaks():
    # E |x - c| under N(0, 1) = 2 phi(c) + c (2 Phi(c) - 1)
    from scipy.stats import norm

    c, density = 0.3, Gaussian(0.0, 1.0)
    truth = 2 * norm.pdf(c) + c * (2 * norm.cdf(c) - 1)
    blind = expectation(lambda x: np.abs(x[:, 0] - c), density)
    told = expectation(lambda x: np.abs(x[:, 0] - c), density, breaks=[c])
    assert_honest(blind, truth)
    assert_honest(told, truth)
    assert blind.converged and told.converged and told.evaluations < blind.evaluations / 50


@pytest.mark.parametrize("drawn", [0, pytest.param(6, marks=pytest.mark.nightly)])
def test_steps_anywhere_are_met_honestly(drawn):
    """One adaptive run misses one step in ten by up to 1e-3 and claims 1e-15: the step hides in the edge of a cell."""
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    for c in (0.0, 1e-8, 1.0, 0.3515100700930197, *rng.normal(size=drawn)):
        found = expectation(lambda x, c=c: x[:, 0] > c, Gaussian(0.0, 1.0))
        assert_honest(found, norm.sf(c))
        assert found.error < 1e-2


@pytest.mark.parametrize("kink", ["step", pytest.param("relu", marks=pytest.mark.nightly)])
def test_a_kink_across_the_plane_is_admitted(kink):
    u = lambda x: x[:, 0] - 0.3 * x[:, 1]  # N(0, 1.09) under the unit Gaussian
    g, truth = {
        "relu": (lambda x: np.maximum(u(x), 0), np.sqrt(1.09 / (2 * np.pi))),
        "step": (lambda x: (u(x) > 0) * 1.0, 0.5),
    }[kink]
    found = expectation(g, Gaussian(np.zeros(2), np.eye(2)), budget=1 << 18)
    assert not found.converged and "breaks=" in found.note and 1e-12 < found.error < 1e-2
    assert_honest(found, truth)


# --------------------------------------------------------------------------- what the frame does not know


def test_mass_the_frame_misses_is_not_averaged_away():
    """Negative control: a spike of weight 1/1000, sd 1e-5, with a frame that says all is of size 1."""
    spiky = GaussianMixture([0.999, 0.001], [0.0, 0.4321], [1.0, 1e-10])
    liar = SimpleNamespace(dim=1, support=LINE, logpdf=spiky.logpdf, frame=Frame(np.zeros(1), np.eye(1)))
    found = expectation(lambda x: x[:, 0], liar)
    assert abs(found.value - 4.321e-4) > 1e-5, "the control must miss the spike, else it controls nothing"
    assert np.isinf(found.error) and not found.converged and "integrates to" in found.note
    honest = expectation(lambda x: x[:, 0], GaussianMixture([0.999, 0.001], [0.0, 0.4321], [1.0, 1e-6]))
    assert honest.converged
    assert_honest(honest, 4.321e-4, scale=1)


def test_a_part_that_falls_between_the_nodes_of_the_rule_is_seen_by_others():
    """A bump of 1e-3 of the scale, between nodes 0.6 apart: nodes that share none with them find it, and the rule resolves it."""
    for c in np.random.default_rng(2).normal(size=5):
        for w in (1e-1, 1e-2, 3e-3):
            found = expectation(lambda x, c=c, w=w: 1 + np.exp(-(((x[:, 0] - c) / w) ** 2) / 2), Gaussian(0.0, 1.0))
            truth = 1 + w / np.sqrt(1 + w**2) * np.exp(-(c**2) / (2 * (1 + w**2)))
            assert found.converged
            assert_honest(found, truth)
    spiky = GaussianMixture([0.999, 0.001], [0.0, 0.4321], [1.0, 1e-6])
    frame = Frame(np.zeros(1), np.eye(1))
    found = expectation(lambda x: x[:, 0], SimpleNamespace(dim=1, support=LINE, logpdf=spiky.logpdf, frame=frame))
    assert found.converged
    assert_honest(found, 4.321e-4, scale=1)


def test_a_component_that_is_0_at_every_node_shares_the_doubt_about_the_mass():
    """Half the mass, 1e-3 wide and 1e4 away, falls between all nodes there can be: nothing is known of it, so nothing of g."""
    two = GaussianMixture([0.5, 0.5], [0.0, 1e4], [1e-6, 1.0])
    found = expectation(lambda x: (x[:, 0] < 5000) * 1.0, two)
    assert np.isinf(found.error) and not found.converged and "the density" in found.note
    found = expectation(lambda x: 0 * x[:, 0], Gaussian(0.0, 1.0))
    assert found.value == 0 and 0 < found.error < 1e-14 and found.converged


def test_a_banana_beyond_the_largest_grid_is_refused():
    found = expectation(lambda x: x[:, 1] ** 2, Banana(0.03, 100, 3))  # 180001
    assert np.isinf(found.error) and not found.converged


def test_the_sharper_claim_of_two_rules_that_disagree_is_not_believed():
    """Modes at (0, 0) and (100, 0): the subdivision misses the first, of weight .01, and claims 1e-183 +- 6e-15 for it."""
    modes = GaussianMixture([0.01, 0.99], [[0.0, 0.0], [100.0, 0.0]], np.stack([0.09 * np.eye(2), np.eye(2)]))
    found = expectation(lambda x: (x[:, 0] < 50) * 1.0, modes, budget=1 << 20)
    assert_honest(found, 0.01)
    assert not found.converged and found.error < 1e-3
    both = [
        Sum(*np.array([v, [1.0], e, [0.0]]).reshape(4, 1), np.array([False]))
        for v, e in (([0.01], [4e-11]), ([0.3], [1e-3]))
    ]
    _reconcile(both[0], np.array([0.0]), np.array([6e-15]), None)
    assert both[0].error >= 0.01, "no third party decides between the two"
    _reconcile(both[1], np.array([0.3001]), np.array([6e-15]), None)
    assert both[1].value == 0.3001 and both[1].error == 6e-15, "the control: where they agree, the sharper one counts"


@pytest.mark.parametrize("power", [-0.9, -0.7, -0.5, -0.2])
def test_a_singularity_nobody_was_told_of(power):
    """E |x - c|^a under N(0, 1) by Kummer's function; below the spacing of doubles at c lies what no node can see."""
    from scipy.special import gamma, hyp1f1

    c = 0.3
    truth = 2 ** (power / 2) * gamma((1 + power) / 2) / np.sqrt(np.pi) * hyp1f1(-power / 2, 0.5, -(c**2) / 2)
    assert_honest(expectation(lambda x: np.abs(x[:, 0] - c) ** power, Gaussian(0.0, 1.0)), truth)


def test_what_lies_beyond_the_box_of_the_density_is_looked_for():
    """g is 0 where the mass is, and e^200 where p is 1e-89: p g is 0 at every node of the box."""
    from scipy.stats import norm

    found = expectation(lambda x: (x[:, 0] > 20) * math.exp(200), Gaussian(0.0, 1.0))
    assert_honest(found, norm.sf(20) * math.exp(200))


def test_an_unnormalised_density_is_refused():
    half = SimpleNamespace(dim=1, support=LINE, logpdf=lambda x: -squares(x) / 2, frame=Frame(np.zeros(1), np.eye(1)))
    found = expectation(squares, half)
    assert np.isinf(found.error) and "2.50663" in found.note  # sqrt(2 pi)


def test_a_density_that_underflows_everywhere_is_refused():
    far = SimpleNamespace(dim=1, support=LINE, logpdf=lambda x: -1e9 - squares(x))
    found = expectation(squares, far)
    assert np.isnan(found.value) and found.error == INF and not found.converged and found.evaluations == 0
    assert found.note == "the density underflows at every node: give it a frame that says where it lives"
    empty = integrate(squares, Frame(np.zeros(1), np.eye(1)), LINE, logpdf=far.logpdf)
    assert np.isnan(empty.value) and empty.error == INF and not empty.converged
    assert empty.note == "the integrand is 0 at every node: frame or support miss it"


# --------------------------------------------------------------------------- honest and sharp, on random pairs
#
# Truth: composite Gauss-Legendre in x, 16 nodes on panels an eighth of the finest feature wide near the bulk and growing by a
# sixth per panel beyond, so that the analyticity ellipse of every panel has a parameter above 10 and 10^-32 is far below
# rounding. Elliptical densities in d dimensions with ridge functions sum_j c_j phi(a_j . x + b_j) reduce to one dimension.

NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)


def panels(low, high, center, scale, fine, cuts=()):
    """Nodes and weights on (low, high)."""
    near = np.arange(0, 6, fine / 8)
    far = near[-1] + np.cumsum(fine / 8 * (7 / 6) ** np.arange(1, 520))
    ladder = scale * np.r_[near, far[far < 1e12]]
    edges = np.unique(np.r_[center - ladder, center + ladder, low, high, cuts])
    edges = edges[np.isfinite(edges) & (edges >= low) & (edges <= high)]
    half = np.diff(edges) / 2
    return (edges[:-1, None] + half[:, None] * (1 + NODES)).ravel(), (half[:, None] * WEIGHTS).ravel()


def truth_on_the_line(g, density, center, scale, fine):
    (low, high), cuts = density.support[0], [b for axis in density.frame.breaks for b in axis]
    x, w = panels(low, high, center, scale, fine, cuts)
    terms = (w * np.exp(density.logpdf(x[:, None])))[:, None] * g(x[:, None])
    return tuple(np.array([math.fsum(column) for column in t.T]) for t in (terms, np.abs(terms)))


def random_line(rng):
    """A density on the line, and its location, scale and finest feature."""
    m, s = rng.normal(), np.exp(rng.normal())
    kind = rng.integers(9)
    if kind == 0:
        return Gaussian(m, s**2), m, s, 1.0
    if kind == 1:
        return Logistic(m, s), m, s, 1.0
    if kind == 2:
        return StudentT(rng.uniform(1.5, 8), m, s), m, s, 1.0
    if kind == 3:
        return Laplace(m, s), m, s, 1.0
    if kind == 4:
        return Exponential(1 / s), 0.0, s, 1.0
    if kind == 5:
        return HalfNormal(s), 0.0, s, 1.0
    if kind == 6:
        return Uniform(m, m + s), m, s, 0.5
    if kind == 7:
        low = rng.uniform(-2, 1)
        high = rng.choice([np.inf, low + rng.uniform(0.5, 4)])
        return TruncatedGaussian(m, s**2, m + low * s, m + high * s), m, s, 0.5
    k, narrow = rng.integers(2, 5), np.exp(rng.uniform(np.log(0.05), 0))
    mixture = GaussianMixture(
        rng.dirichlet(2 * ones(k)), m + 2 * s * rng.normal(size=k), s**2 * np.r_[narrow**2, ones(k - 1)]
    )
    return mixture, m, 3 * s, narrow / 3


def random_network(rng, A, center, scale):
    """A one-layer tanh network of (x - center) / scale and a sum of the same ridges' slopes; A is (d, units)."""
    b, w, v = rng.normal(size=A.shape[1]), rng.normal(size=A.shape[1]), rng.normal(size=A.shape[1])
    phi = lambda z: np.stack([np.tanh(z) @ w, (1 - np.tanh(z) ** 2) @ v], axis=-1)
    return lambda x: phi((x - center) / scale @ A + b), (b, w, v)


def pair_on_the_line(rng):
    density, m, s, fine = random_line(rng)
    A = rng.normal(size=(1, rng.integers(1, 7))) * rng.uniform(0.3, 3)
    net, _ = random_network(rng, A, m, s)
    psi = lambda x: np.column_stack(
        [net(x), net(x)[:, 0] ** 2 / 2 + net(x)[:, 1]]
    )  # the shape of a score matching loss
    fine = min(fine, 1 / np.abs(A).max())
    return psi, density, *truth_on_the_line(psi, density, m, s, fine)


def pair_in_space(rng, d, tails="light"):
    """Gaussian, mixture or Student's t in d dimensions: every ridge a . x has a law of the same family."""
    units = rng.integers(1, 5)
    L = np.tril(rng.normal(size=(d, d)), -1) + np.diag(rng.uniform(0.5, 2, d))
    C, m, df = L @ L.T, rng.normal(size=d), rng.uniform(3, 8)
    A = np.linalg.solve(L.T, rng.normal(size=(d, units))) * rng.uniform(0.3, 1.2)  # slopes in standardised coordinates
    if tails == "heavy":
        density, line = StudentT(df, m, C), lambda a: StudentT(df, m @ a, np.sqrt(a @ C @ a))
    elif rng.random() < 0.5:
        density, line = Gaussian(m, C), lambda a: Gaussian(m @ a, a @ C @ a)
    else:
        means, covs = m + rng.normal(size=(2, d)) @ L.T, np.stack([C, C / 2])
        density = GaussianMixture([0.3, 0.7], means, covs)
        line = lambda a: GaussianMixture([0.3, 0.7], means @ a, [a @ c @ a for c in covs])
    net, (b, w, v) = random_network(rng, A, m, 1.0)
    truth, total = np.zeros(2), np.zeros(2)
    for a, *unit in zip(A.T, b, w, v, strict=True):
        s, shift = np.sqrt(a @ C @ a), unit[0] - m @ a
        one = lambda z, u=unit, c=shift: np.column_stack([np.tanh(z + c) * u[1], (1 - np.tanh(z + c) ** 2) * u[2]])
        t, absolute = truth_on_the_line(one, line(a), m @ a, s, min(1, 1 / s) / 2)
        truth, total = truth + t, total + absolute
    return net, density, truth, total


def any_pair(seed):
    """Nine in ten on the line; the rest in the plane, some in space."""
    rng = np.random.default_rng([20240, seed])
    return pair_on_the_line(rng) if seed % 10 else pair_in_space(rng, 2 if seed % 40 else 3)


def count_pairs(pairs, budget=None):
    """Violations, refusals, and the ratios of claimed error to true error (or rounding, where that is larger)."""
    dishonest, refused, ratios = [], [], []
    for name, (g, density, truth, total) in pairs:
        found = expectation(g, density, budget=budget)
        gap = np.abs(found.value - truth)
        if not np.all(gap <= found.error + 2 * EPS * total):  # 2 eps: the truth is a rounded sum too
            dishonest.append((name, density, found, truth, total))
        if not found.converged:
            refused.append((name, density, found))
        ratios.extend(found.error / np.maximum(gap, EPS * total))
    return dishonest, refused, np.array(ratios)


@pytest.mark.parametrize("n", [15, pytest.param(2000, marks=pytest.mark.nightly)])
def test_honest_and_sharp(n):
    dishonest, refused, ratios = count_pairs((seed, any_pair(seed)) for seed in range(n))
    print(
        f"\n{n} pairs: {len(dishonest)} dishonest, {len(refused)} refused, claimed / true error: median {np.median(ratios):.0f}"
    )
    assert not dishonest, dishonest[0]
    assert np.median(ratios) <= 1000
    assert len(refused) <= n / 100, refused


@pytest.mark.parametrize("n", [1, pytest.param(60, marks=pytest.mark.nightly)])
def test_heavy_tails_in_the_plane_are_hard_and_said_to_be(n):
    """Far out, the step of tanh(a . x) is narrower than any grid in sinh coordinates: most are refused, none is wrong."""
    pairs = ((seed, pair_in_space(np.random.default_rng([7, seed]), 2, "heavy")) for seed in range(n))
    dishonest, refused, ratios = count_pairs(pairs, budget=1 << 18)
    print(
        f"\n{n} pairs: {len(dishonest)} dishonest, {len(refused)} refused, claimed / true error: median {np.median(ratios):.0f}"
    )
    assert not dishonest, dishonest[0]
    assert np.median(ratios) <= 1000


def test_the_difference_of_two_refinements_would_be_dishonest():
    """E cos(8 pi x) under N(0, 1) is exp(-32 pi^2), but at every node of spacing 1/2 and 1/4 the cosine is 1."""
    rule = lambda h: h * sum(math.exp(-(x**2) / 2) * math.cos(8 * math.pi * x) for x in np.arange(-9, 9 + h / 2, h))
    coarse, fine = rule(0.5) / math.sqrt(2 * math.pi), rule(0.25) / math.sqrt(2 * math.pi)
    assert abs(fine - coarse) < 1e-12 and abs(fine - 1) < 1e-12  # agreed, and wrong by 1
    for phase in np.linspace(0, 1, 9):  # ours at all phases, on the grid's own resonances or not
        for k in (1 / 0.6, 2, 4, 1 / 0.15):
            found = expectation(lambda x, p=phase, k=k: np.cos(2 * np.pi * (k * x[:, 0] + p)), Gaussian(0.0, 1.0))
            assert_honest(found, math.exp(-2 * math.pi**2 * k**2) * math.cos(2 * math.pi * phase), scale=1)


@pytest.mark.parametrize("d", [1, 2])
def test_a_network_of_sines_in_step_with_the_nodes_is_not_believed(d):
    """E sin(w (x_1 + 1)) = sin(w) exp(-w^2 / 2): next to nothing, while samples of it alias to anything."""
    for w in np.r_[20.0, 30.0, 2 * np.pi / 0.3, np.linspace(33, 34, 5)]:
        found = expectation(lambda x, w=w: np.sin(w * (x[:, 0] + 1)), Gaussian(np.zeros(d), np.eye(d)))
        assert_honest(found, math.sin(w) * math.exp(-(w**2) / 2), scale=1)
        assert found.converged


def test_float32_integrands_claim_float32_accuracy():
    found = expectation(lambda x: np.float32(x[:, 0]) ** 2, Gaussian(0.0, 1.0))
    assert 1e-7 < found.error < 1e-4 and abs(found.value - 1) <= found.error


# --------------------------------------------------------------------------- misuse


def test_errors_name_the_place_and_the_cure():
    normal = Gaussian(np.zeros(2), np.eye(2))
    with pytest.raises(ValueError, match=r"dimension 4.*Monte Carlo"):
        expectation(squares, Gaussian(np.zeros(4), np.eye(4)))
    with pytest.raises(ValueError, match=r"returned shape \(\d+,\) for \d+ points"):
        expectation(lambda x: np.ravel(x), normal)
    with pytest.raises(ValueError, match=r"g is nan at x = \[.*\].*limit"):
        expectation(lambda x: np.where(x[:, 0] > 1, np.nan, 1.0), normal)
    with pytest.raises(ValueError, match=r"logpdf is nan at x"):
        expectation(squares, SimpleNamespace(dim=1, support=LINE, logpdf=lambda x: np.full(len(x), np.nan)))
    with pytest.raises(TypeError, match="real numbers"):
        expectation(lambda x: 1j * x[:, 0], normal)
    with pytest.raises(ValueError, match="axes are not diagonal"):
        expectation(squares, Gaussian(np.zeros(2), CORRELATED[2]), breaks=[[0.0], []])
    with pytest.raises(ValueError, match="breaks is"):
        expectation(squares, normal, breaks=[0.0, 1.0])
    with pytest.raises(ValueError, match="lower < upper"):
        integrate(squares, Frame(np.zeros(1), np.eye(1)), [[1.0, 0.0]])
    with pytest.raises(ValueError, match="rtol is"):
        expectation(squares, normal, rtol=-1.0)


def test_a_scalar_integral_prints_and_converts():
    assert repr(Integral(1.5, 2e-14, 100)) == "Integral(1.5 +- 2.0e-14, 100 evaluations)"
    both = Integral(np.array([1.5, 2.0]), np.array([2.25e-14, 1.0]), 7)
    assert repr(both) == "Integral([1.5 2. ] +- [2.2e-14 1.0e+00], 7 evaluations)"
    assert "not converged: why" in repr(Integral(1.5, 2e-1, 100, False, "why"))
    assert float(Integral(1.5, 2e-14, 100)) == 1.5


def test_import_loads_no_scipy():
    code = "import sys, numpyscore.numerics.quadrature; sys.exit(any(m.startswith('scipy') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_mass_beyond_an_end_is_claimed_twice_over():
    """Of a geometric profile, whose continuation is known: r / (1 - r) of the outermost shell to infinity, a / -log r of the last node to an end."""
    m, a, goal = 4, 1e-3, np.array([1e-300])
    profile = (
        a * 1.25 ** (np.arange(40) / m)[None]
    )  # from the end inwards, each shell of m nodes 1.25 times the one before
    outer = profile[0, :m].sum()
    claim = lambda infinite: trapezoid._end(
        profile, np.ones(40, bool), 9.0, trapezoid.SHELL / m, infinite, False, goal, None
    )
    assert claim(True).tail == pytest.approx(2 * outer * 0.8 / 0.2) and claim(True).ratio == pytest.approx(0.8)
    assert claim(False).tail == pytest.approx(2 * a * m / np.log(1.25))
    both = np.concatenate([profile, a * 3.0 ** (np.arange(40) / m)[None]])  # each component by itself
    end = trapezoid._end(both, np.ones(40, bool), 9.0, trapezoid.SHELL / m, True, False, goal, None)
    assert end.ratio == pytest.approx([0.8, 1 / 3])


@pytest.mark.parametrize("centre", [0.0, 50.0])
def test_a_density_without_a_frame_is_looked_at_through_its_sample(centre):
    """Median and quartiles of 1000 rows: standard errors 0.08 of the centre, 0.05 of the scale 2; five of each."""
    right = Gaussian([centre, -centre], [[4.0, 0.0], [0.0, 0.04]])
    bare = SimpleNamespace(dim=2, support=right.support, logpdf=right.logpdf, sample=right.sample)
    frame = frame_of(bare, right.support)
    np.testing.assert_allclose(frame.center, [centre, -centre], atol=0.4)
    np.testing.assert_allclose(np.diag(frame.axes), [2.0, 0.2], rtol=0.13)
    assert 2 < frame.reach < 3.2 and not frame.axes[0, 1] and frame.tail == "exponential"


def test_what_a_second_grid_finds_is_part_of_the_error_and_is_looked_for(monkeypatch):
    """A grid that shares no node says a sum is 1e-4 off: the error says so too, and the nodes are refined before it does."""
    density, square = Gaussian(0.0, 1.0), lambda x: x[:, 0] ** 2
    calm = expectation(square, density)
    monkeypatch.setattr(trapezoid, "_apart", lambda terms, pieces, n, lo, h, value, evidence: np.full(len(value), 1e-4))
    monkeypatch.setattr(quadrature, "subdivide", lambda *a: (np.ones(2), np.ones(2)))
    warned = expectation(square, density)
    assert calm.error < 1e-12 < 1e-4 <= warned.error and not warned.converged
    assert warned.evaluations > 2 * calm.evaluations


def test_a_sample_that_stands_still_leaves_a_frame_of_positive_width():
    bare = SimpleNamespace(dim=1, support=LINE, logpdf=lambda x: -squares(x), sample=lambda n, rng: np.zeros((n, 1)))
    assert 0 < frame_of(bare, LINE).axes[0, 0] < 1e-11


def test_what_is_infinite_on_one_side_of_a_break_is_infinite():
    """1/x on the right of 0, 1 on the left: neither the piece before it nor the one after makes it finite."""
    for sign in (1, -1):
        one_sided = lambda x, sign=sign: np.where(sign * x[:, 0] > 0, 1 / np.abs(x[:, 0]), 1.0)
        found = expectation(one_sided, Gaussian(0.0, 1.0), breaks=((0.0,),))
        assert not found.converged and np.isinf(found.error)


def test_the_rounding_of_points_is_looked_at_on_either_side_of_them():
    """Points a unit in the last place away are asked for too; without them what a map rounds off goes unseen."""
    seen = []

    def f(x):
        seen.append(x[:, 0])
        return np.sin(x[:, 0])

    expectation(f, Gaussian(10.0, 1.0))
    pairs = [(a, b) for a, b in itertools.pairwise(seen) if len(a) == len(b)]
    assert any(0 < np.abs(a - b).max() <= 4 * np.spacing(10.0) for a, b in pairs)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_integrand_decides_nothing(unit):
    """A kink is subdivided whatever it is measured in: value and error scale, to the rounding of a unit that is no power of two."""
    kink = lambda x: np.abs(x[:, 0] - 0.3)
    one, other = (
        expectation(lambda x, c=c: c * kink(x), Gaussian(0.0, 1.0), rtol=1e-7, budget=1 << 9) for c in (1.0, unit)
    )
    assert one.converged and other.converged and one.note == other.note
    assert abs(other.value / unit - one.value) <= one.error and other.error / unit == pytest.approx(one.error, rel=0.1)


def test_of_two_rules_the_one_that_finds_the_mass_is_believed_and_where_neither_is_refuted_the_sharper():
    """Three components, the last the mass, which is 1: a rule that misses it while the other finds it counts for nothing."""

    def reconciled(first, second, mass=1.0):
        part = Sum(*np.array([first[0], np.ones(3), first[1], np.zeros(3)]), np.zeros(3, bool))
        _reconcile(part, *map(np.array, second), mass)
        return part.value.tolist(), part.error.tolist()

    sharp, rough = [1e-9] * 3, [1e-3, 1e-4, 2e-4]
    right = ([0.3, 0.4, 1.0], rough)
    assert reconciled(right, ([0.2, 0.3, 0.5], sharp)) == right  # it misses half of the mass
    assert reconciled(right, ([0.2, 0.3, 0.5], sharp), None)[1] == pytest.approx(
        [0.2, 0.2, 1.0]
    )  # unknown: both are doubted
    assert reconciled(right, ([0.3, 0.4, 1.0], sharp)) == ([0.3, 0.4, 1.0], sharp)
    finds = ([0.3, 0.4, 1.0], sharp)
    assert reconciled(([0.2, 0.3, 0.5], rough), finds)[1] == pytest.approx(
        [0.2, 0.2, 1.0]
    )  # the other way round it is no witness
    one_each = reconciled(right, ([0.3001, 0.4, 1.0], [1e-9, 1e-2, 1e-9]))
    assert one_each == ([0.3001, 0.4, 1.0], [1e-9, 1e-4, 1e-9])


def test_a_component_of_zeros_leaves_the_others_their_subdivision():
    g = lambda x: np.column_stack([np.abs(x[:, 0] - 0.3), 0 * x[:, 0]])
    found = expectation(g, Gaussian(0.0, 1.0), rtol=1e-6, budget=1 << 9)
    assert found.converged and found.error[0] < 1e-6 and found.value[1] == 0


@pytest.mark.filterwarnings("error")
def test_a_product_that_overflows_is_endless_and_no_warning():
    found = integrate(
        lambda x: 1e308 * np.exp(-squares(x)),
        Frame(np.zeros(1), np.eye(1)),
        LINE,
        logpdf=lambda x: np.full(len(x), 9.0),
    )
    assert np.isinf(found.error) and not found.converged


# --------------------------------------------------------------------------- what comes in, entry by entry


def test_a_frame_is_gaussian_and_of_unit_size_unless_it_says_otherwise():
    frame = Frame(np.zeros(1), np.eye(1))
    assert (frame.tail, frame.reach, frame.detail, frame.breaks) == ("gaussian", 1.0, 1.0, ())


@pytest.mark.parametrize(
    "support, words",
    [
        ([0.0, 1.0], "lower < upper"),
        ([[0.0, 1.0, 2.0]], "lower < upper"),
        ([[0.0, 1.0], [1.0, 1.0]], r"support is \[\[0.0, 1.0\], \[1.0, 1.0\]\], expected \(d, 2\) with lower < upper"),
        ([[np.nan, 1.0]], "lower < upper"),
        (np.zeros((0, 2)), "dimension 0, expected 1, 2 or 3"),
        ([[0.0, 1.0]] * 4, "dimension 4, expected 1, 2 or 3"),
    ],
)
def test_a_support_that_is_none(support, words):
    with pytest.raises(ValueError, match=f"here: .*{words}"):
        support_of("here", support)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_support_that_is_one(d):
    assert support_of("here", [[0, INF]] * d).tolist() == [[0.0, INF]] * d


class Callable:
    """A density that is a function as well."""

    dim, support = 1, LINE
    logpdf = staticmethod(lambda x: -squares(x) / 2)

    def __call__(self, x):
        """Something."""
        return x


def test_functions_and_densities_are_told_apart():
    normal, g, none = Gaussian(0.0, 1.0), lambda x: x, SimpleNamespace(logpdf=1)
    for function, density, words in (
        (
            normal,
            g,
            r"g is .*Gaussian.*expected a function of x \(n, d\); the arguments are exchanged: here\(g, density\)",
        ),
        (normal, normal, r"expected a function of x \(n, d\); pass one of its methods, such as g=p.score"),
        (normal, Callable(), r"pass one of its methods, such as g=p.score"),
        (normal, 3, "pass one of its methods"),
        (3, normal, r"g is .*expected a function of x \(n, d\), one row a point"),
        (g, none, "density"),
        (g, 3, "density"),
    ):
        with pytest.raises(TypeError, match="here: .*" + words):
            needs("here", "g", function, density)
    needs("here", "g", g, normal)
    needs("here", "g", Callable(), normal)


@pytest.mark.parametrize(
    "row, scale, reach",
    [
        (lambda u: 5 + 4 * u, 2 / 1.35, 0.99 * 1.35),  # uniform on 5 +- 2: quartiles 4 and 6
        (lambda u: 5 + np.where(np.abs(u) > 0.48, 1e3 * u, 4 * u), 2 / 1.35, 10),  # never more than ten
        (lambda u: 5 + np.sign(u) * np.minimum(np.abs(u), 0.3), 0.5 / 1.35, 1),  # and never less than one
        (lambda u: 5 + 0 * u, 6e-12, 1),
    ],
    ids=["uniform", "heavy tails", "no tails", "stands still"],
)
def test_the_frame_of_a_sample_is_its_median_its_quartiles_and_its_99th_percentile(row, scale, reach):
    asked = []

    def sample(n, rng):
        asked.append((n, rng))
        return row(np.linspace(-0.5, 0.5, 1001))[:, None]

    frame = frame_of(SimpleNamespace(sample=sample), LINE)
    assert asked == [(1000, 0)]
    assert frame.center == pytest.approx([5.0]) and frame.axes == pytest.approx(np.array([[scale]]), rel=1e-9, abs=0)
    assert frame.reach == pytest.approx(reach, rel=0.01)
    assert (frame.tail, frame.detail, frame.breaks) == ("exponential", 0.25, ())


def test_the_unit_frame_lies_in_the_support():
    frame = frame_of(SimpleNamespace(), np.array([[-INF, INF], [2.0, 3.0], [-3.0, -1.0]]))
    assert frame.center.tolist() == [0, 2, -1] and frame.axes.tolist() == np.eye(3).tolist()
    assert (frame.tail, frame.reach, frame.detail) == ("exponential", 3.0, 0.25)
    own = Frame(np.ones(1), np.eye(1))
    assert frame_of(SimpleNamespace(frame=own, sample=None), LINE) is own


def test_breaks_are_points_of_each_axis():
    assert per_axis("here", (), 2) == [[], []] and per_axis("here", [], 1) == [[]]
    assert per_axis("here", [3, 1.0], 1) == [[1.0, 3.0]] == per_axis("here", ([3.0, 1.0],), 1)
    assert per_axis("here", [[2, 1], ()], 2) == [[1.0, 2.0], []]
    for breaks, d in (([1.0, 2.0], 2), ([[1.0]], 2), ([[1.0], 2.0], 2), ([[[1.0]]], 1), ([[1.0]] * 3, 2)):
        with pytest.raises(ValueError, match=f"here: breaks is .*, expected {d} sequences of points"):
            per_axis("here", breaks, d)


def test_one_finite_row_a_point():
    x = np.arange(6.0).reshape(3, 2)
    for a in (np.ones(3, bool), np.ones(3, np.int8), np.ones((3, 2), np.uint8), np.ones(3, np.float32), [INF, -INF, 0]):
        assert values_of("here", "g", a, x).dtype == float
    assert values_of("here", "g", np.ones((3, 2)), x, (2,)).shape == (3, 2)
    for a in (np.ones(3, complex), np.array(["a"] * 3), np.array([None] * 3)):
        with pytest.raises(TypeError, match=r"here: g returned dtype .*expected real numbers"):
            values_of("here", "g", a, x)
    for a, trailing, expected in (
        (np.ones(2), None, r"\(2,\) for 3 points, expected \(3, ...\)"),
        (np.float64(1.0), None, r"\(\) for 3 points, expected \(3, ...\)"),
        (np.ones((3, 1)), (), r"\(3, 1\) for 3 points, expected \(3,\)"),
        (np.ones((3, 1)), (2,), r"\(3, 1\) for 3 points, expected \(3, 2\)"),
        (np.ones((2, 3)), (3,), r"\(2, 3\) for 3 points, expected \(3, 3\)"),
    ):
        with pytest.raises(ValueError, match="here: g returned shape " + expected):
            values_of("here", "g", a, x, trailing)
    with pytest.raises(ValueError, match=r"here: g is nan at x = \[2.0, 3.0\]. An integral needs a number"):
        values_of("here", "g", np.array([[1.0, 1.0], [1.0, np.nan], [np.nan, np.nan]]), x)


def test_rows_keep_the_shape_and_the_coarsest_precision_of_a_function():
    x = np.arange(3.0)[:, None]
    single, double, whole = (
        Rows("here", "g", lambda x, t=t: np.stack([x, x], 1).astype(t)) for t in ("f4", "f8", "i4")
    )
    for rows, eps in ((single, 2.0**-23), (double, EPS), (whole, EPS)):
        assert rows.trailing is None and rows(x).tolist() == [[0, 0], [1, 1], [2, 2]]
        assert rows.trailing == (2, 1) and rows.eps == eps
    assert Rows("here", "g", lambda x: x, mass=True)(x).tolist() == [[0, 1], [1, 1], [2, 1]]
    assert not Rows("here", "g", lambda x: x).mass


def terms_at(weight, values, logpdf=True, f=None):
    """t, which nodes count, round-off, weight of the rim: of points whose log weight is half in log p and half in the volume."""
    weight = np.array(weight, float)
    n = len(weight)
    asked = []

    def constant(x):
        asked.extend(x[:, 0].tolist())
        return np.array(values, float)[x[:, 0].astype(int)].reshape(len(x), -1)

    p = (lambda x: weight[x[:, 0].astype(int)] / 2) if logpdf else None
    terms = Terms("here", f(constant) if f else constant, Frame(np.zeros(1), np.eye(1)), LINE, p)
    found = terms(np.arange(float(n))[:, None], weight / 2 if logpdf else weight)
    assert terms.spent == n
    return *found, asked, terms


def test_terms_are_values_times_weights_where_these_do_not_underflow():
    t, alive, (rounding, rim), asked, terms = terms_at([0.0, -699.0, -700.0, -701.0], [2.0, -3.0, 4.0, 5.0])
    assert alive.tolist() == [True, True, False, False] and asked == [0, 1]
    np.testing.assert_allclose(t, [[2, -3 * math.exp(-699), 0, 0]], rtol=1e-13)
    assert rounding == pytest.approx([EPS * 8 * 2], rel=1e-9, abs=0) and rim == 0 and terms.eps == EPS
    t, alive, checks, asked, _ = terms_at([-701.0, -800.0], [1.0, 1.0])
    assert t is None and not alive.any() and asked == [] and not checks[0].any() and not checks[1].any()


def test_the_rounding_of_a_logarithm_is_eps_times_its_size():
    for density in (True, False):  # p's logarithm, or that of the largest component where there is no p
        weight, values = ([-40.0, 20.0], [[1.0, 2.0], [0.0, -4.0]])
        t, alive, (rounding, _), _, _ = terms_at(weight, values, density)
        logs = np.array([20.0, 10.0]) if density else np.log([2.0, 4.0])
        np.testing.assert_allclose(t, np.array(values).T * np.exp(weight), rtol=1e-14)
        np.testing.assert_allclose(rounding, EPS * (np.abs(t) * (8 + logs)).sum(1), rtol=1e-14)
        assert alive.all()


def test_without_a_density_what_counts_is_where_f_is_not_0_and_the_volume_does_not_underflow():
    values = [[0.0, 0.0], [0.0, 3.0], [5.0, 5.0], [7.0, 7.0]]
    t, alive, (rounding, _), asked, _ = terms_at([0.0, 0.0, -800.0, 0.0], values, False)
    assert alive.tolist() == [False, True, False, True] and asked == [0, 1, 3]
    assert t.tolist() == [[0, 0, 0, 7], [0, 3, 0, 7]]
    sevens = 7 * (8 + math.log(7))
    np.testing.assert_allclose(rounding, [EPS * sevens, EPS * (sevens + 3 * (8 + math.log(3)))], rtol=1e-14)


@pytest.mark.parametrize("density", [True, False])
def test_a_value_that_large_beside_a_weight_that_small_is_on_the_rim(density):
    for value, weight, counts in ((1.01e150, -551.0, True), (0.99e150, -551.0, False), (1.01e150, -549.0, False)):
        t, _, (_, rim), _, _ = terms_at([weight, 0.0], [[value, 1.0], [1.0, 1.0]], density)
        assert rim[0] == (t[0, 0] if counts else 0) and rim[1] == 0


def test_the_precision_of_the_coarsest_function_counts():
    class Coarse:
        eps = 2.0**-20

        def __init__(self, f):
            self.f = f

        def __call__(self, x):
            return self.f(x)

    *_, terms = terms_at([0.0], [1.0], f=Coarse)
    assert terms.eps == 2.0**-20


def test_terms_of_a_turned_frame_are_taken_at_its_points_with_its_volume():
    axes, center, asked = np.array([[1.0, 0.0], [2.0, 3.0]]), np.array([10.0, -5.0]), []
    whole = np.array([[-INF, INF]] * 2)
    terms = Terms("here", lambda x: (asked.append(x), squares(x)[:, None])[1], Frame(center, axes), whole, None)
    u = np.array([[1.0, 2.0], [0.5, -1.0]])
    t, *_ = terms(u, np.zeros(2))
    np.testing.assert_allclose(asked[0], center + u @ axes.T, rtol=1e-15)
    np.testing.assert_allclose(t[0], 3 * squares(center + u @ axes.T), rtol=1e-14)
    away = np.array([[0.25, 0.0], [0.0, -0.5]])  # relatively as far away as that, within the support
    terms(u, np.zeros(2), away)
    np.testing.assert_allclose(asked[1], (center + u @ axes.T) * (1 + away), rtol=1e-15)
    terms = Terms("here", lambda x: (asked.append(x), squares(x)[:, None])[1], Frame(np.zeros(1), np.eye(1)), np.array([[1.0, 2.0]]), None)  # fmt: skip
    terms(np.array([[1.0], [2.0], [1.5]]), np.zeros(3), np.array([[-0.1], [0.1], [0.1]]))
    np.testing.assert_allclose(asked[2][:, 0], [1.0, 2.0, 1.65])


@pytest.mark.parametrize("a", [0.5, 0.9])
def test_singular_along_two_edges_of_a_quadrant(a):
    """prod x^-a e^-x is Gamma(1 - a)^2; near the corner the volume element underflows, which f alone, without logpdf, ended in an error."""
    frame = Frame(np.ones(2), np.eye(2), "exponential", 3.0, 0.5)
    found = integrate(lambda x: np.exp(-x.sum(axis=1)) * (x**-a).prod(axis=1), frame, [[0.0, INF]] * 2)
    assert found.converged
    assert_honest(found, math.gamma(1 - a) ** 2)


# --------------------------------------------------------------------------- pieces, and what is made of them


def recorded(monkeypatch, found, subdivided=None):
    """`trapezoid` replaced by one that finds these Sums, one after the other; what pieces, accuracy and budget it was given."""
    asked, sums = [], iter(found)

    def trapezoid_(terms, pieces, rtol, budget):
        asked.append(([(p.low, p.high) for p in pieces], pieces, rtol, budget))
        terms.spent += 10
        return next(sums), np.zeros(1), np.ones(1)

    monkeypatch.setattr(quadrature, "trapezoid", trapezoid_)
    monkeypatch.setattr(quadrature, "subdivide", subdivided or (lambda *a: pytest.fail("nothing to subdivide")))
    return asked


def a_sum(value, total, error, rest, endless=False, where=""):
    """The Sum of numbers, or of lists."""
    numbers = [np.atleast_1d(np.array(a, float)) for a in (value, total, error, rest)]
    return Sum(*numbers, np.broadcast_to(np.array(endless), numbers[0].shape).copy(), where)


def test_the_support_is_cut_at_the_points_within_it_and_the_budget_shared(monkeypatch):
    frame = Frame(np.array([1.0, 2.0]), np.diag([3.0, -4.0]), "exponential", 5.0, 0.5, ((0.0, 7.0), ()))
    sums = [a_sum(1, 2, 1e-20, 1e-20)] * 6
    asked = recorded(monkeypatch, [replaced(s) for s in sums])
    ends = np.array([[0.0, INF], [-1.0, 1.0]])
    whole = over_pieces("here", None, frame, ends, None, 1e-9, [[8.0], [-1.0, 0.25, 1.0]], None)
    first, second = [(0, 7), (7, 8), (8, INF)], [(-1, 0.25), (0.25, 1)]
    assert [a[0] for a in asked] == [[a, b] for a in first for b in second]
    assert [a[2:] for a in asked] == [(1e-9, quadrature.BUDGET[2] // 3)] * 6
    for piece, center, scale in zip(asked[0][1], (1.0, 2.0), (3.0, 4.0), strict=True):
        assert (piece.center, piece.scale, piece.tail, piece.reach, piece.detail) == (
            center,
            scale,
            "exponential",
            5,
            0.5,
        )
    assert (whole.value, whole.total, whole.evaluations) == (6, 12, 60)
    assert whole.error == pytest.approx(6e-20, rel=1e-9, abs=0) and whole.rest == pytest.approx(6e-20, rel=1e-9, abs=0)


def replaced(s):
    """A copy: what is added to is not the one that came."""
    return Sum(s.value.copy(), s.total.copy(), s.error.copy(), s.rest.copy(), s.endless.copy(), s.where)


@pytest.mark.parametrize("breaks, shares", [([], 1), ([0.0], 1), ([0.0, 1.0], 1), ([0.0, 1.0, 2.0], 2), ([0.0, 1.0, 2.0, 3.0, 4.0], 3)])  # fmt: skip
def test_two_pieces_share_no_more_than_one(monkeypatch, breaks, shares):
    asked = recorded(monkeypatch, [a_sum(1, 2, 0, 0) for _ in range(6)])
    over_pieces("here", None, Frame(np.zeros(1), np.eye(1)), LINE, None, 1e-9, [breaks], 700)
    assert [a[3] for a in asked] == [700 // shares] * (len(breaks) + 1)


def test_a_turned_frame_has_no_pieces(monkeypatch):
    turned = Frame(np.ones(2), np.array([[1.0, 0.0], [1.0, 2.0]]), "gaussian", 2.0)
    asked = recorded(monkeypatch, [a_sum(1, 2, 0, 0)])
    whole = np.array([[-INF, INF]] * 2)
    over_pieces("here", None, turned, whole, None, 1e-9, [[], []], None)
    assert [(p.center, p.scale) for p in asked[0][1]] == [(0, 1), (0, 1)]
    for support, breaks in ((np.array([[-INF, INF], [0.0, INF]]), [[], []]), (whole, [[], [0.5]])):
        with pytest.raises(
            ValueError, match="here: the frame's axes are not diagonal, but the support has finite ends"
        ):
            over_pieces("here", None, turned, support, None, 1e-9, breaks, None)


def test_pieces_of_nothing_are_left_out_and_of_the_rest_what_is_endless_stays(monkeypatch):
    frame = Frame(np.zeros(1), np.eye(1))
    recorded(monkeypatch, [None, a_sum(1, 2, 0, 0), None, a_sum(3, 4, 0, 0, True, "x[:, 0]")])
    whole = over_pieces("here", None, frame, LINE, None, 1e-9, [[0, 1, 2]], None)
    assert (whole.value, whole.total, whole.endless, whole.where, whole.evaluations) == (4, 6, True, "x[:, 0]", 40)
    recorded(monkeypatch, [a_sum(3, 4, 0, 0, True, "x[:, 0]"), a_sum(1, 2, 0, 0)])
    whole = over_pieces("here", None, frame, LINE, None, 1e-9, [[0]], None)
    assert (whole.value, whole.endless, whole.where) == (4, True, "x[:, 0]")
    recorded(monkeypatch, [None, None])
    assert over_pieces("here", None, frame, LINE, None, 1e-9, [[0]], None) is None


@pytest.mark.parametrize(
    "part, asked",
    [
        (a_sum(1, 2, 2.1e-9, 1e-20), True),
        (a_sum(1, 2, 1.9e-9, 1e-20), False),  # sharp enough
        (a_sum(1, 2, 1.0, 2.1e-9), False),  # what lies beyond the box is no kink in it
        (a_sum(1, 2, 1.0, 1.9e-9), True),
        (a_sum(1, 2, 1.0, 0.0, True), False),  # no number at all
        (a_sum(0, 0, 1.0, 0.0), False),  # 0 at every node
        (a_sum([1, 1], [2, 2], [0, 1.0], [0, 0]), True),
        (a_sum([1, 1], [2, 2], [0, 1.0], [1e-3, 0]), False),
        (a_sum([1, 1], [2, 2], [0, 1.0], [1e-3, 0], [True, False]), True),
        (a_sum([0, 1], [0, 2], [1.0, 0.0], [0, 0]), False),
    ],
)
def test_a_kink_within_the_box_is_subdivided(monkeypatch, part, asked):
    done = []
    part = replaced(part)
    before = part.value.copy()
    recorded(monkeypatch, [part], lambda terms, pieces, lo, hi, total, rtol: (done.append((total, rtol)), (before, part.error / 2))[1])  # fmt: skip
    over_pieces("here", None, Frame(np.zeros(1), np.eye(1)), LINE, None, 1e-9, [[]], None)
    assert bool(done) == asked and all(rtol == 1e-9 for _, rtol in done)


@pytest.mark.parametrize("kinks, asked", [(1.04e-3, True), (1.06e-3, False), (None, True)])
def test_a_kink_is_left_to_the_grid_up_to_the_error_that_was_said(monkeypatch, kinks, asked):
    done = []
    recorded(monkeypatch, [a_sum(1, 2, 2.1e-3, 1e-20)], lambda *a: (done.append(a), (np.ones(1), np.ones(1)))[1])
    over_pieces("here", None, Frame(np.zeros(1), np.eye(1)), LINE, None, 1e-9, [[]], None, kinks)
    assert bool(done) == asked


def test_the_mass_is_known_where_there_is_one_piece_and_a_column_of_it(monkeypatch):
    told = []
    monkeypatch.setattr(quadrature, "_reconcile", lambda part, value, error, mass: told.append(mass))
    for rows, breaks, mass in ((Rows("here", "g", None, mass=True), [[]], 1.0), (Rows("here", "g", None, mass=True), [[0.5]], None), (Rows("here", "g", None), [[]], None), (None, [[]], None)):  # fmt: skip
        recorded(monkeypatch, [a_sum(1, 2, 1, 0), a_sum(1, 2, 1, 0)], lambda *a: (0, 0))
        told.clear()
        over_pieces("here", rows, Frame(np.zeros(1), np.eye(1)), LINE, None, 1e-9, breaks, None)
        assert told == [mass] * (1 + len(breaks[0]))


@pytest.mark.parametrize(
    "other, own, left",
    [
        ((1 - 6e-4, 5e-4), (1 + 2e-4, 1e-4), True),  # .0011 beside .0003
        ((1 + 6e-4, 5e-4), (1 - 2e-4, 1e-4), True),
        ((1 - 6e-4, 3e-4), (1 + 2e-4, 1e-4), False),  # .0009
        ((1 - 6e-4, 5e-4), (1 + 6e-4, 5e-4), False),  # neither has it
    ],
)
def test_a_mass_off_by_a_thousandth_with_its_error_is_missed(other, own, left):
    part = a_sum([0.5, own[0]], [1, 1], [1e-2, own[1]], [0, 0])
    _reconcile(part, np.array([0.25, other[0]]), np.array([1e-6, other[1]]), 1.0)
    assert (part.error[0] == 1e-2) == left and (part.value[0] == 0.5)
    assert left or part.error[0] == 0.5  # twice the distance


def test_what_two_rules_claim_is_all_that_they_claim():
    """Apart by .3: errors of .1 and .1, and .05 or .15 for the ends of the box and rounding."""
    for rest, believed in ((0.05, False), (0.15, True)):
        part = a_sum([1.0], [2.0], [0.1], [rest])
        _reconcile(part, np.array([1.3]), np.array([0.09]), None)
        assert part.value == (1.3 if believed else 1.0) and part.error == pytest.approx(0.09 if believed else 0.6)
    part = a_sum([1.0, 5.0], [2.0, 2.0], [0.1, 1.0], [0.0, 0.0], [False, True])
    _reconcile(part, np.array([1.01, 9.0]), np.array([0.2, 0.1]), None)
    assert part.value[0] == 1.0 and part.error[0] == 0.1  # what is endless agrees with anything; the sharper one stays
    part = a_sum([1.0], [2.0], [0.1], [0.0])
    _reconcile(part, np.array([1.15]), np.array([0.2]), None)
    both = a_sum([1.0, 0.0], [2.0, 1.0], [0.1, 0.0], [0.0, 0.0])
    _reconcile(both, np.array([1.05, 0.0]), np.array([0.01, 0.0]), None)
    assert both.value.tolist() == [1.05, 0.0] and both.error.tolist() == [0.01, 0.0]  # 0 +- 0 twice is no quarrel
    assert part.error == pytest.approx(0.3)  # sharper, but off by more than it says: twice the distance


def test_what_a_sum_becomes_in_the_shape_of_the_integrand():
    whole = a_sum([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6], [1e-10] * 6, [3e-10] * 6)
    found = _report(whole, (2, 3), 1e-9)
    assert found.value.tolist() == [[1, 2, 3], [4, 5, 6]] and found.error == pytest.approx(np.full((2, 3), 4e-10))
    assert found.converged and found.note == "" and found.evaluations == 1
    found = _report(whole, (2, 3), 3.9e-10)
    assert not found.converged
    assert (
        found.note
        == "relative accuracy 4e-10 reached, 4e-10 asked for; a kink needs breaks=, fine detail a larger budget="
    )
    assert _report(whole, (6,), 1e-12, "so it is").note == "so it is"
    exact = _report(a_sum(0, 0, 0, 0), (), 1e-9)
    assert exact.converged and exact.value == 0 == exact.error and isinstance(exact.value, float)
    for where, words in (("x[:, 1]", "x[:, 1]"), ("", "the axes")):
        lost = _report(a_sum([1, 2], [1, 2], [0, 0], [0, 0], [True, False], where), (2,), 1e-9)
        assert np.isnan(lost.value[0]) and lost.value[1] == 2 and lost.error.tolist() == [INF, 0] and not lost.converged
        assert lost.note == (
            f"the integrand does not decay along {words}: the integral is infinite, or does not exist, "
            "or converges too slowly for this rule"
        )


def expected_of(monkeypatch, value, error, rest, total=(2.0, 1.0), rtol=1e-9):
    """`expectation` of one component and the mass, from such a Sum."""
    monkeypatch.setattr(quadrature, "over_pieces", lambda *a: a_sum(value, total, error, rest))
    g = Gaussian(0.0, 1.0)
    monkeypatch.setattr(quadrature, "_report", lambda whole, trailing, rtol, note: (whole, note))
    return expectation(squares, g, rtol=rtol)


def test_what_is_unknown_of_the_mass_is_unknown_of_every_component(monkeypatch):
    """|mass - 1| and the error of the mass, times the sum of |terms|, is added to what each may be off by."""
    whole, note = expected_of(monkeypatch, [5.0, 1 + 3e-10], [0.25, 1e-10], [0.5, 2e-10])
    assert note == "" and whole.rest == pytest.approx([0.5 + 2 * 6e-10], rel=1e-12) and whole.error == 0.25
    assert whole.value.tolist() == [5.0] and whole.total.tolist() == [2.0] and len(whole.endless) == 1
    whole, _ = expected_of(monkeypatch, [0.0, 1 + 3e-10], [0.0, 1e-10], [0.0, 2e-10], (0.0, 1.0))
    assert whole.total == 1 and whole.rest == pytest.approx([6e-10], rel=1e-6, abs=0)  # 0 at every node: as |g| <= 1


@pytest.mark.parametrize(
    "mass, error, rest, words",
    [
        (1 + 1.1e-9, 1e-10, 1e-10, "the density integrates to 1 on its frame: logpdf is not normalised"),  # beyond rtol
        (1 - 1.1e-9, 1e-10, 1e-10, "the density integrates to 1 on its frame: logpdf is not normalised"),
        (1 + 0.9e-9, 1e-10, 1e-10, ""),
        (1 + 1e-6, 1e-6, 1e-7, ""),  # within its error
        (1 + 1e-6, 5e-7, 4e-7, "the density integrates to 1 on its frame"),
        (0.5, 0.0, 0.0, "the density integrates to 0.5 on its frame"),
        (1.0, 6e-4, 5e-4, "the mass of the density is 1 +- 1e-03: it is finer than the largest grid"),
        (1.0, 6e-4, 3e-4, ""),
        (1.0, np.nan, 0.0, "the mass of the density is 1 +- nan"),
    ],
)
def test_a_mass_that_is_not_1_or_not_known_to_a_thousandth(monkeypatch, mass, error, rest, words):
    whole, note = expected_of(monkeypatch, [5.0, mass], [0.25, error], [0.5, rest])
    assert note.startswith(words) and bool(note) == bool(words)
    assert np.isinf(whole.rest[0]) == bool(words) or np.isnan(whole.rest[0])


def test_what_is_asked_of_an_expectation_is_asked_of_its_pieces(monkeypatch):
    asked = []
    monkeypatch.setattr(quadrature, "over_pieces", lambda *a: asked.append(a))
    for f in (
        lambda **k: expectation(squares, Gaussian(0.0, 1.0), **k),
        lambda **k: integrate(squares, Frame(np.zeros(1), np.eye(1)), LINE, **k),
    ):
        f(rtol=1e-3, breaks=[0.5], budget=77), f()
    integrate(squares, Frame(np.zeros(1), np.eye(1)), LINE, kinks=0.1)
    first, second = (1e-3, [[0.5]], 77), (1e-12, [[]], None)
    assert [a[5:] for a in asked] == [first, second, (*first, None), (*second, None), (*second, 0.1)]
    circle = SimpleNamespace(
        dim=2,
        support=LINE,
        logpdf=None,
        chart=SimpleNamespace(place=lambda u: np.column_stack([np.cos(u), np.sin(u)]), density=Uniform(0.0, 2 * np.pi)),
    )
    expectation(squares, circle, rtol=1e-3, breaks=[0.5], budget=77)
    assert asked[-1][5:] == (1e-3, [[0.5]], 77)
    monkeypatch.undo()
    assert_honest(expectation(lambda x: x**2, circle), [0.5, 0.5])


# --------------------------------------------------------------------------- arithmetic


def test_sums_products_and_quotients_of_integrals_carry_their_errors():
    a, b = Integral(6.0, 0.5, 10, True, "a"), Integral(-2.0, 0.25, 5, False, "b")
    read = lambda c: (c.value, c.error, c.evaluations, c.converged, c.note)
    assert read(a + b) == (4.0, 0.75, 15, False, "a; b") and read(a - b) == (8.0, 0.75, 15, False, "a; b")
    assert read(a * b) == (-12.0, 6 * 0.25 + 2 * 0.5 + 0.125, 15, False, "a; b")
    ratio = 6 * (0.25 / (2 * 1.75)) + 0.5 / 2 + 0.5 * (0.25 / (2 * 1.75))  # 1/b is off by e / (|b| (|b| - e)) at most
    assert read(a / b) == (-3.0, pytest.approx(ratio), 15, False, "a; b")
    assert read(a + 1) == read(1 + a) == (7.0, 0.5, 10, True, "a") and read(a - 1) == (5.0, 0.5, 10, True, "a")
    assert read(1 - a) == (-5.0, 0.5, 10, True, "a") and read(a * -2) == read(-2 * a) == (-12.0, 1.0, 10, True, "a")
    assert read(a / -2) == (-3.0, 0.25, 10, True, "a")
    assert (1 / b).value == -0.5 and (1 / b).error == pytest.approx(0.25 / 3.5)
    assert (1 / Integral(0.25, 0.25, 1)).error == INF  # it may be 0
    assert (1 / Integral(0.25, 0.1875, 1)).error == pytest.approx(0.1875 / (0.25 * 0.0625))
    several = Integral(np.array([1.0, 2.0]), np.array([0.5, 2.0]), 3)
    assert (1 / several).error.tolist() == [1.0, INF] and (several + several).note == ""
    assert read(a + a)[4] == "a"  # said once
    assert a.number == 6.0
    for wrong in (
        lambda: a + "1",
        lambda: "1" - a,
        lambda: a * None,
        lambda: a / "1",
        lambda: None / a,
        lambda: a - "1",
    ):
        with pytest.raises(TypeError):
            wrong()


def test_axes_of_very_different_scales_keep_to_the_budget():
    """A frame a billion times too narrow along one axis once asked for 1.4e8 points, 8 along the other."""
    frame = Frame(np.array([6e-10, 0.6]), np.diag([5e-10, 0.4]), detail=0.8)
    for budget in (1 << 12, 1 << 16):
        found = integrate(lambda x: np.ones(len(x)), frame, np.array([[0.0, 1.0]] * 2), budget=budget)
        assert found.evaluations < 20 * budget + 4e5, (
            found
        )  # some grids, their evidence, and the cells of a subdivision
        assert not found.converged or abs(found.value - 1) <= found.error
