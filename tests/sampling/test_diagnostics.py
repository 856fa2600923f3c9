"""Discrepancies by their definitions, and tests whose level is what they say."""

import math

import numpy as np
import pytest
from scipy import stats

from numpyscore.densities import Gaussian, GaussianMixture, StudentT
from numpyscore.networks.models import EnergyMLP
from numpyscore.numerics.quadrature import expectation
from numpyscore.sampling.diagnostics import (
    effective_sample_size,
    energy_distance,
    kernel_stein_discrepancy,
    split_r_hat,
    stein_kernel,
)

SE = 4.0
KERNELS = ("imq", "gaussian")

# ------------------------------------------------------------------------------- Stein


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_stein_kernel_by_differences(kernel):
    """From k alone, written out, and its derivatives by complex steps and a central difference of these."""
    h, d, H = 1.3, 3, 1e-30
    k = lambda x, y: (
        (1 + np.sum((x - y) ** 2) / h**2) ** -0.5 if kernel == "imq" else np.exp(-np.sum((x - y) ** 2) / (2 * h**2))
    )
    p = StudentT(5, np.zeros(d), np.eye(d))
    x, y = np.random.default_rng(0).standard_normal((2, 4, d))
    found = stein_kernel(x, p.score(x), y, p.score(y), kernel=kernel, bandwidth=h)
    in_x = lambda x, y: np.array([k(x + 1j * H * e, y).imag / H for e in np.eye(d)])
    in_y = lambda x, y: in_x(y, x)  # k is symmetric
    for i in range(4):
        for j in range(4):
            s, t = p.score(x[i : i + 1])[0], p.score(y[j : j + 1])[0]
            cross = sum(
                (in_x(x[i], y[j] + 1e-5 * e) - in_x(x[i], y[j] - 1e-5 * e))[a] / 2e-5 for a, e in enumerate(np.eye(d))
            )
            u = s @ t * k(x[i], y[j]) + s @ in_y(x[i], y[j]) + t @ in_x(x[i], y[j]) + cross
            assert found[i, j] == pytest.approx(u, abs=1e-9)  # truncation 1e-10, rounding 1e-16 / 1e-5
            assert found[i, j] != pytest.approx(u - cross, abs=1e-3)  # control: without its last term


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("p", [GaussianMixture([0.3, 0.7], [-1.0, 2.0], [0.5, 1.0]), Gaussian(np.zeros(2), np.array([[1.0, 0.6], [0.6, 2.0]]))], ids=["line", "plane"])  # fmt: skip
def test_steins_identity(kernel, p):
    """E_p u(x, .) = 0 at every x, by quadrature; with the score of another density it is not."""
    x = np.random.default_rng(1).standard_normal((3, p.dim))
    mean = lambda score: expectation(lambda y: stein_kernel(x, score(x), y, score(y), kernel=kernel).T, p, rtol=1e-9)
    found = mean(p.score)
    assert np.all(np.abs(found.value) <= found.error + 1e-12) and np.all(found.error < 1e-7)
    assert np.all(np.abs(mean(lambda y: 1.01 * p.score(y)).value) > 1e-4)


@pytest.mark.parametrize("kernel", KERNELS)
def test_both_statistics_by_their_definition_and_in_blocks(kernel, monkeypatch):
    p, x = Gaussian(np.zeros(2), 1.0), np.random.default_rng(0).standard_normal((30, 2)) + 100
    u = stein_kernel(x, p.score(x), x, p.score(x), kernel=kernel, bandwidth=0.9)
    sums = {"v": u.mean(), "u": (u.sum() - np.trace(u)) / (30 * 29)}
    options = {"kernel": kernel, "bandwidth": 0.9, "n_bootstrap": 40, "rng": 3}
    whole = {s: kernel_stein_discrepancy(p, x, statistic=s, **options) for s in sums}
    monkeypatch.setattr("numpyscore.sampling.diagnostics.ROWS", 100)
    for s, value in sums.items():
        part = kernel_stein_discrepancy(p, x, statistic=s, **options)
        assert part.value == pytest.approx(value, rel=1e-11) and part.p_value == whole[s].p_value
        assert whole[s].value == pytest.approx(value, rel=1e-11)
    assert sums["v"] > 0


def test_the_bootstrap_by_its_definition():
    """Weights drawn again from the same seed, sums by loop."""
    p, x = Gaussian(np.zeros(1), 1.0), np.random.default_rng(4).standard_normal((12, 1)) * 1.2
    u = stein_kernel(x, p.score(x), x, p.score(x), bandwidth=1.0)
    found = kernel_stein_discrepancy(p, x, bandwidth=1.0, n_bootstrap=50, rng=7)
    counts = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=50)
    resampled = [sum((c[i] / 12 - 1 / 12) * (c[j] / 12 - 1 / 12) * u[i, j] for i in range(12) for j in range(12) if i != j) for c in counts]  # fmt: skip
    # the statistic with weights 1/n against sums with weights c/n - 1/n
    observed = sum(u[i, j] for i in range(12) for j in range(12) if i != j) / 144
    assert found.p_value == (1 + sum(r >= observed for r in resampled)) / 51


def rejections(test, repeats, level=0.05):
    """Share of repetitions with p <= level, and its standard error where p is uniform."""
    p = np.array([test(seed) for seed in range(repeats)])
    return np.mean(p <= level), math.sqrt(level * (1 - level) / repeats)


TESTS = {
    "stein multinomial u": lambda seed, off=0.0: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), np.random.default_rng(seed).standard_normal((80, 2)) + off, n_bootstrap=99, rng=seed).p_value,
    "stein wild v": lambda seed, off=0.0: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), np.random.default_rng(seed).standard_normal((80, 2)) + off, statistic="v", bootstrap="wild", n_bootstrap=99, rng=seed).p_value,
    "energy distance": lambda seed, off=0.0: energy_distance(np.random.default_rng(seed).standard_normal((40, 2)) + off, np.random.default_rng(10_000 + seed).standard_normal((60, 2)), n_permutations=99, rng=seed).p_value,
}  # fmt: skip


@pytest.mark.parametrize("name", TESTS)
def test_the_level_of_the_tests(name):
    """At 5 % about 5 % are rejected where nothing is wrong, and most where the mean is off by half a standard deviation."""
    share, error = rejections(TESTS[name], 400)
    assert abs(share - 0.05) < SE * error
    assert rejections(lambda seed: TESTS[name](seed, 0.5), 40)[0] > 0.7


@pytest.mark.nightly
@pytest.mark.parametrize("name", TESTS)
def test_the_level_of_the_tests_at_full_count(name):
    share, error = rejections(TESTS[name], 5000)
    assert abs(share - 0.05) < SE * error + 0.01  # the bootstrap's level is asymptotic: n is 80 here


def test_the_wild_bootstrap_is_for_chains():
    """States of an autoregression of the right law: independent weights reject too often, flipping signs about as often as said."""

    def states(seed):
        rng = np.random.default_rng(seed)
        x = np.empty((200, 1))
        x[0] = rng.standard_normal()
        for t in range(1, 200):
            x[t] = 0.8 * x[t - 1] + 0.6 * rng.standard_normal()
        return x

    p = Gaussian(np.zeros(1), 1.0)
    test = lambda seed, **options: kernel_stein_discrepancy(p, states(seed), statistic="v", n_bootstrap=99, rng=seed, **options).p_value  # fmt: skip
    assert rejections(test, 60)[0] > 0.3
    assert rejections(lambda seed: test(seed, bootstrap="wild", flip=0.05), 60)[0] < 0.15


def test_stein_is_blind_to_the_weights_of_far_modes():
    """All samples in one of two modes: a score cannot tell, and the docstring says so; the energy distance can."""
    p = GaussianMixture([0.5, 0.5], [[-10.0], [10.0]], 1.0)
    x = np.random.default_rng(0).standard_normal((300, 1)) + 10
    assert kernel_stein_discrepancy(p, x, n_bootstrap=199, rng=0).p_value > 0.01
    assert energy_distance(x, p.sample(300, rng=1), n_permutations=199, rng=0).p_value == 1 / 200


def test_a_network_is_a_target_like_a_density():
    net = EnergyMLP.init(2, (8,), confinement=1.0, rng=0, dtype=np.float32)
    found = kernel_stein_discrepancy(net, np.random.default_rng(0).standard_normal((40, 2)), n_bootstrap=20, rng=0)
    assert np.isfinite(found.value) and 0 < found.p_value <= 1 and found.bandwidth > 0
    assert math.isnan(kernel_stein_discrepancy(net, np.eye(2)).p_value)


# ------------------------------------------------------------------------------- energy distance


@pytest.mark.parametrize("bad, name", [(0, "x"), (1, "y")])
def test_the_sample_that_is_none_is_named(bad, name):
    pair = [np.zeros((3, 2)), np.zeros((3, 2))]
    pair[bad][1, 0] = np.nan
    with pytest.raises(ValueError, match=rf"energy_distance: {name}\[1, 0\] is nan"):
        energy_distance(*pair)


def test_energy_distance_by_its_definition(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)), 2 * rng.standard_normal((30, 3)) + 1e3
    mean = lambda a, b: sum(math.dist(p, q) for p in a for q in b) / (len(a) * len(b))
    truth = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    whole = energy_distance(x, y, n_permutations=30, rng=1)
    assert whole.value == pytest.approx(truth, rel=1e-12) and whole.p_value == 1 / 31
    monkeypatch.setattr("numpyscore.sampling.diagnostics.ROWS", 120)
    part = energy_distance(x, y, n_permutations=30, rng=1)
    assert part.value == pytest.approx(truth, rel=1e-12) and part.p_value == whole.p_value
    assert abs(energy_distance(x, x).value) < 1e-12 and math.isnan(energy_distance(x, y).p_value)
    assert energy_distance(y, x).value == pytest.approx(truth, rel=1e-12)


def test_energy_distance_on_the_line_is_the_cramer_distance():
    """In one dimension it is 2 int (F - G)^2: Szekely & Rizzo's identity, with both empirical distributions."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(50), rng.exponential(size=70)
    at = np.sort(np.concatenate([x, y]))
    F, G = (np.searchsorted(np.sort(a), at[:-1], side="right") / len(a) for a in (x, y))
    assert energy_distance(x[:, None], y[:, None]).value == pytest.approx(
        2 * np.sum((F - G) ** 2 * np.diff(at)), rel=1e-12
    )
    assert math.sqrt(energy_distance(x[:, None], y[:, None]).value) == pytest.approx(
        stats.energy_distance(x, y), rel=1e-12
    )


@pytest.mark.parametrize("rows", [1_000_000, 7])
def test_equal_rows_do_not_decide(rows, monkeypatch):
    """Every relabelling of two equal samples of one point is a tie: p is 1. Of tenths, p by whole numbers: rounding does not break ties."""
    monkeypatch.setattr("numpyscore.sampling.diagnostics.ROWS", rows)
    x = np.repeat([[0.1, 0.3]], 6, axis=0)
    assert energy_distance(x, x, n_permutations=50, rng=0).p_value == 1
    first, second = np.array([0, 1, 7, 7, 3, 1, 7, 0]), np.array([7, 0, 3, 1, 0, 7])
    pooled, ties = np.concatenate([first, second]), 0
    D = np.abs(pooled[:, None] - pooled)
    member = np.zeros((14, 301), int)
    member[:8] = 1
    member[:, 1:] = np.random.default_rng(5).permuted(member[:, 1:], axis=0)
    a, b = member.T, 1 - member.T
    sums = lambda u, v: np.einsum("pn,nm,pm->p", u, D, v)
    exact = 2 * sums(a, b) * 48 - sums(a, a) * 36 - sums(b, b) * 64  # times (8 x 6)^2: 8 rows and 6
    ties = np.sum(exact[1:] == exact[0])
    found = energy_distance(0.1 * first[:, None], 0.1 * second[:, None], n_permutations=300, rng=5)
    assert found.value == pytest.approx(0.1 * exact[0] / 48**2, rel=1e-12, abs=1e-15) and ties > 5
    assert found.p_value == (1 + np.sum(exact[1:] >= exact[0])) / 301


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: energy_distance(x, x[:, :1]), "expected \\(n, d\\) and \\(m, d\\)"),
        (lambda x: energy_distance(x[:1], x), "at least 2"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x[:1]), "x has 1 rows"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), 0 * x), "all rows of x are equal"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x, statistic="w"), "statistic is 'w'"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x, kernel="rbf"), "kernel is 'rbf'"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x, bootstrap="x"), "bootstrap is 'x'"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x, bootstrap="wild", flip=0.6), "flip 0.6"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x, bootstrap="wild", flip=0.0), "flip 0.0"),
        (lambda x: kernel_stein_discrepancy(Gaussian(np.zeros(2), 1.0), x, n_bootstrap=-1), "n_bootstrap is -1"),
        (lambda x: energy_distance(x, x, n_permutations=-1), "n_permutations is -1"),
        (lambda x: split_r_hat(np.full((4, 1, 1), np.nan)), r"split_r_hat: trace\[0, 0, 0\] is nan"),
        (lambda x: stein_kernel(x, x, x, x, kernel="rbf"), "kernel is 'rbf', expected 'imq' or 'gaussian'"),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0).standard_normal((5, 2)))


def test_the_energy_distance_of_equal_distributions_has_the_mean_of_a_v_statistic():
    """E = (1/n + 1/m) E|X - X'|, which is 2/sqrt(pi) for normal numbers: not 0. Over 2000 pairs of samples."""
    rng, n, m = np.random.default_rng(0), 8, 12
    found = np.array(
        [energy_distance(rng.standard_normal((n, 1)), rng.standard_normal((m, 1))).value for _ in range(2000)]
    )
    want = (1 / n + 1 / m) * 2 / np.sqrt(np.pi)
    assert abs(found.mean() - want) < 4 * found.std() / np.sqrt(2000)


@pytest.mark.parametrize("t", [12, 13, 15])
def test_ranked_r_hat_and_effective_draws_by_their_definitions_in_each_dimension(t):
    """Vehtari et al.: eq. 14, normal quantiles of (rank - 3/8) / (S + 1/4) of draws and of distances from the median; Geyer's pairs by loops."""
    x = np.round(np.random.default_rng(0).standard_normal((t, 3, 2)) * [1, 5], 1)  # ties among them
    x[: t // 2, 0, 1] += 9
    expected, effective = [], []
    for column in np.moveaxis(x, 2, 0):
        h = t // 2
        halves = np.array(
            [half for c in column.T for half in (c[:h], c[-h:])]
        )  # the middle draw of an odd number is left out
        numbers = []
        for a in (halves, np.abs(halves - np.median(halves))):
            z = stats.norm.ppf((stats.rankdata(a.ravel()) - 3 / 8) / (a.size + 1 / 4)).reshape(a.shape)
            W, B = np.mean([np.var(c, ddof=1) for c in z]), np.var([np.mean(c) for c in z], ddof=1)
            numbers.append(math.sqrt(((h - 1) / h * W + B) / W))
        expected.append(max(numbers))
        W, B = np.mean([np.var(c, ddof=1) for c in halves]), np.var([np.mean(c) for c in halves], ddof=1)
        total = (h - 1) / h * W + B
        lag = lambda c, k: sum((c[i] - c.mean()) * (c[i + k] - c.mean()) for i in range(len(c) - k)) / (len(c) - 1)
        rho = [1.0] + [1 - (W - np.mean([lag(c, k) for c in halves])) / total for k in range(1, h)]
        pairs, time = [], -1.0
        for k in range(0, h - 1, 2):
            if rho[k] + rho[k + 1] <= 0:
                break
            pairs.append(min([rho[k] + rho[k + 1], *pairs]))
            time += 2 * pairs[-1]
        draws = halves.size
        effective.append(draws / max(time, 1 / math.log10(draws)))
    np.testing.assert_allclose(split_r_hat(x), expected, rtol=1e-12)
    np.testing.assert_allclose(effective_sample_size(x), effective, rtol=1e-11)


def test_antithetic_draws_are_worth_up_to_the_logarithm_of_their_number():
    """Draws that alternate exactly: time -1 + 2 (1 - 1 + ...) is none, and the cap log10 of the draws holds."""
    x = np.tile([1.0, -1.0], 50)[:, None, None] * np.ones((1, 2, 1))
    assert effective_sample_size(x)[0] == pytest.approx(200 * math.log10(200))


def test_signs_of_the_wild_bootstrap_flip_as_often_as_said_and_begin_either_way():
    from numpyscore.sampling.diagnostics import _weights

    w = _weights("test", "wild", 4000, 30, 0.1, np.random.default_rng(0))
    assert set(np.unique(w)) == {-1.0, 1.0} and abs(w[:, 0].mean()) < SE / math.sqrt(4000)
    flips = np.mean(w[:, 1:] != w[:, :-1])
    assert abs(flips - 0.1) < SE * math.sqrt(0.09 / (4000 * 29))
    counts = _weights("test", "multinomial", 7, 30, 0.5, np.random.default_rng(0))
    np.testing.assert_allclose(counts.sum(axis=1), 0, atol=1e-12)
    assert counts.shape == (7, 30) and _weights("test", "wild", 2, 5, 0.5, np.random.default_rng(0)).shape == (2, 5)


def test_the_bandwidth_is_the_median_distance_of_different_rows():
    x = np.array([[0.0], [0.0], [1.0], [3.0]])  # distances 0, 1, 1, 3, 3, 2
    assert kernel_stein_discrepancy(Gaussian(0.0, 1.0), x).bandwidth == 2.0
    assert kernel_stein_discrepancy(Gaussian(0.0, 1.0), 1e-4 * x).bandwidth == pytest.approx(2e-4)
    far = np.concatenate([np.arange(1000.0)[:, None] % 2, np.full((5, 1), 1e6)])  # of the first 1000
    assert kernel_stein_discrepancy(Gaussian(0.0, 1.0), far, n_bootstrap=0).bandwidth == 1.0


def test_the_least_that_is_taken():
    """Four draws of one chain, two rows; float32 and whole numbers are computed in float64; complex ones are refused."""
    short = np.array([0.0, 1.0, 3.0, 2.0])[:, None, None]
    assert np.isfinite(effective_sample_size(short)).all() and np.isfinite(split_r_hat(short)).all()
    for diagnostic in (effective_sample_size, split_r_hat):
        small = diagnostic(short.astype(np.float32))
        assert small.dtype == float and np.array_equal(small, diagnostic(short))
        assert np.array_equal(small, diagnostic(short.astype(int)))
        with pytest.raises(TypeError, match="trace is complex"):
            diagnostic(short * 1j)
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert energy_distance(x, x + [[0.0, 0.0]]).value == 0 and energy_distance(x, 2 * x).value == pytest.approx(2.5)


def test_no_unit_and_no_origin():
    """Chains in units a thousand times larger; a kernel a million away from the origin, each coordinate another way."""
    rng = np.random.default_rng(0)
    trace = rng.standard_normal((40, 3, 1))
    for diagnostic in (effective_sample_size, split_r_hat, lambda t: split_r_hat(t, ranked=False)):
        np.testing.assert_allclose(diagnostic(1e-3 * trace), diagnostic(trace), rtol=1e-10)
    trace[:, 0] *= 5  # told by distances from the median, wherever that lies
    assert split_r_hat(trace)[0] > 1.1 > split_r_hat(trace, ranked=False)[0]
    np.testing.assert_allclose(split_r_hat(trace + 7), split_r_hat(trace), rtol=0.01)  # two are as far from the median
    x, s = (
        np.round(rng.standard_normal((2, 5, 2)) * 1024) / 1024
    )  # whole multiples of 1/1024, so that moving them is exact
    away = np.array([2.0**20, -(2.0**20)])
    for kernel in KERNELS:
        here, there = (stein_kernel(y, s, y[:3], s[:3], kernel=kernel) for y in (x, x + away))
        np.testing.assert_allclose(there, here, rtol=0, atol=1e-13 * np.abs(here).max())


def test_blocks_of_chains_and_of_single_rows_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    trace, x, p = rng.standard_normal((30, 7, 2)), rng.standard_normal((9, 2)), Gaussian(np.zeros(2), 1.0)
    whole = effective_sample_size(trace), kernel_stein_discrepancy(p, x).value, energy_distance(x, 2 * x).value
    monkeypatch.setattr("numpyscore.sampling.diagnostics.FOURIER", 200)  # three chains at a time
    parts = [effective_sample_size(trace)]
    monkeypatch.setattr("numpyscore.sampling.diagnostics.FOURIER", 1)
    monkeypatch.setattr("numpyscore.sampling.diagnostics.ROWS", 1)
    parts.append(effective_sample_size(trace))
    for part in parts:
        np.testing.assert_allclose(part, whole[0], rtol=1e-12)
    np.testing.assert_allclose(
        [kernel_stein_discrepancy(p, x).value, energy_distance(x, 2 * x).value], whole[1:], rtol=1e-12
    )
