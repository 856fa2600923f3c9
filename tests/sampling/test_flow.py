"""The probability flow: closed forms on Gaussians and mixtures, and densities of any network that integrate to one."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from oracles import defaults
from scipy import stats

from numpyscore.densities import Gaussian, GaussianMixture
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.sampling.flow import bits_per_dimension, fokker_planck_residual, log_likelihood, sample_flow, transport

LOW, HIGH = 0.05, 10.0
DENSITIES = {
    "gaussian": Gaussian(np.array([1.0, -0.5]), np.array([[2.0, 0.9], [0.9, 1.0]])),
    "mixture": GaussianMixture([0.2, 0.8], [[-2.0, -2.0], [2.0, 2.0]], [0.5, 1.0]),
    "line": GaussianMixture([0.3, 0.2, 0.5], [-3.0, 0.0, 1.0], [0.1, 1.0, 0.3]),
    "five dimensions": GaussianMixture([0.5, 0.5], np.array([np.zeros(5), np.ones(5)]), 0.7),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_log_likelihood_is_the_closed_form(name):
    """Up to 1e-8, of a log density of order one; the prior is the exact density at sigma_max."""
    p = DENSITIES[name]
    x = p.perturbed(1.0).sample(60, rng=0)  # some of them far out
    found = log_likelihood(p.perturbed, x, sigma_min=LOW, sigma_max=HIGH, prior=p.perturbed(HIGH))
    np.testing.assert_allclose(found, p.perturbed(LOW).logpdf(x), rtol=0, atol=1e-8)


class Altered:
    """A density whose trace is off by a factor."""

    def __init__(self, density, factor):
        self.score, self.trace = density.score, lambda x: factor * density.trace(x)


def test_control_a_wrong_trace_is_noticed():
    p, x = DENSITIES["mixture"], np.zeros((1, 2))
    family = lambda sigma: Altered(p.perturbed(sigma), 1 + 1e-6)
    found = log_likelihood(family, x, sigma_min=LOW, sigma_max=HIGH, prior=p.perturbed(HIGH))
    assert abs(found - p.perturbed(LOW).logpdf(x))[0] > 1e-7


@pytest.mark.parametrize("ends", [(0.1, 5.0), (5.0, 0.1)])
def test_paths_of_a_gaussian_are_known(ends):
    """On N(m, s^2 I): x - m grows as sqrt(s^2 + sigma^2), and the volume as its power d."""
    m, s, x = np.array([1.0, -2.0, 0.5]), 0.7, np.random.default_rng(0).standard_normal((40, 3))
    growth = math.hypot(s, ends[1]) / math.hypot(s, ends[0])
    end, log_volume = transport(Gaussian(m, s**2).perturbed, x, *ends)
    np.testing.assert_allclose(end, m + growth * (x - m), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(log_volume, 3 * math.log(growth), rtol=0, atol=1e-9)
    assert transport(Gaussian(m, s**2).perturbed, x, *ends, volume=False).log_volume is None


def test_there_and_back_again():
    net = ScoreMLP.init(2, (16,), conditional=True, rng=1)
    x = np.random.default_rng(0).standard_normal((30, 2))
    out, grown = transport(net, x, 0.2, 4.0)
    back, shrunk = transport(net, out, 4.0, 0.2)
    np.testing.assert_allclose(
        back, x, rtol=0, atol=1e-7
    )  # errors on the way back grow by up to exp(log_volume) per axis
    np.testing.assert_allclose(shrunk, -grown, rtol=0, atol=1e-7)


def test_the_volume_is_that_of_the_jacobian_of_the_paths():
    """log |det| by differences of the end points themselves."""
    net = EnergyMLP.init(2, (16, 16), "tanh", conditional=True, confinement=1.0, rng=2)
    x, h = np.array([[0.3, -0.4]]), 1e-4
    nodes = np.concatenate([x + k * h * e for e in np.eye(2) for k in (-2, -1, 1, 2)])
    y = transport(net, nodes, 0.3, 3.0, volume=False, rtol=1e-11).x.reshape(2, 4, 2)
    jacobian = np.einsum("k,ikj->ij", np.array([1, -8, 8, -1]) / (12 * h), y)
    # truncation h^4 = 1e-16, the solver's 1e-11 over h
    assert transport(net, x, 0.3, 3.0).log_volume[0] == pytest.approx(np.linalg.slogdet(jacobian)[1], abs=1e-6)


def trapezoid(log_p, ends, n, dim):
    """Integral of exp(log_p) over a box by the trapezoidal rule, which converges geometrically for what vanishes at the ends."""
    axis = np.linspace(*ends, n)
    grid = np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return np.exp(log_p(grid)).sum() * (axis[1] - axis[0]) ** dim


NETWORKS = {
    "energy": lambda d: EnergyMLP.init(d, (16, 16), conditional=True, confinement=1.0, rng=0),
    "score": lambda d: ScoreMLP.init(d, (16, 16), "tanh", conditional=True, rng=3),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("dim, n", [(1, 400), (2, 90)])
def test_the_density_of_any_network_integrates_to_one(kind, dim, n):
    """Whatever the weights: the flow is a bijection and the prior a density. The claim is 1e-3; the rule leaves less."""
    net = NETWORKS[kind](dim)
    log_p = lambda x: log_likelihood(net, x, sigma_min=0.5, sigma_max=4.0, rtol=1e-6)
    reach = np.abs(sample_flow(net, 500, sigma_min=0.5, sigma_max=4.0, rng=0)).max() * 1.8
    assert abs(trapezoid(log_p, (-reach, reach), n, dim) - 1) < 1e-3


def test_control_half_a_trace_does_not_integrate_to_one():
    net = NETWORKS["energy"](1)
    family = lambda sigma: Altered(type("At", (), {"score": staticmethod(lambda x: net.score(x, sigma=sigma)), "trace": staticmethod(lambda x: net.trace(x, sigma=sigma))}), 0.5)  # fmt: skip
    log_p = lambda x: log_likelihood(family, x, sigma_min=0.5, sigma_max=4.0, rtol=1e-6)
    assert abs(trapezoid(log_p, (-8, 8), 400, 1) - 1) > 0.01


def test_samples_have_the_density():
    """Draws from the exact prior, carried down, are draws from the density at sigma_min: Kolmogorov and Smirnov on the line."""
    p = DENSITIES["line"]
    x = sample_flow(p.perturbed, 3000, sigma_min=LOW, sigma_max=HIGH, prior=p.perturbed(HIGH), rng=0)
    sd = np.sqrt(p.covs[:, 0, 0] + LOW**2)
    cdf = lambda t: (p.weights * stats.norm.cdf(np.reshape(t, (-1, 1)), p.means[:, 0], sd)).sum(1)
    assert x.shape == (3000, 1) and stats.kstest(x[:, 0], cdf).pvalue > 1e-3
    assert stats.kstest(x[:, 0] * 1.1, cdf).pvalue < 1e-3
    start = p.perturbed(HIGH).sample(5, rng=1)
    again = sample_flow(p.perturbed, 5, sigma_min=LOW, sigma_max=HIGH, prior=p.perturbed(HIGH), rng=1)
    assert np.array_equal(again, transport(p.perturbed, start, HIGH, LOW, volume=False, rtol=1e-6).x)


def test_the_default_prior_is_noise_and_fair_far_above_the_data():
    net = NETWORKS["energy"](2)
    x = np.random.default_rng(0).standard_normal((5, 2))
    prior = Gaussian(np.zeros(2), 16.0)
    same = log_likelihood(net, x, sigma_min=0.5, sigma_max=4.0, prior=prior)
    assert np.array_equal(log_likelihood(net, x, sigma_min=0.5, sigma_max=4.0), same)
    # centred data of variance v differ from nothing at sigma = 1000 by a log density of order v / sigma^2 = 5e-6
    p = GaussianMixture([0.5, 0.5], [[-2.0, -1.0], [2.0, 1.0]], 0.5)
    found = log_likelihood(p.perturbed, x, sigma_min=0.5, sigma_max=1000.0)
    np.testing.assert_allclose(found, p.perturbed(0.5).logpdf(x), atol=5e-5)


def test_the_tolerance_holds_for_every_sample_in_a_crowd():
    """One hard row among many easy ones: a root mean square would let its error grow by the root of their number."""
    p = GaussianMixture([0.5, 0.5], [[-1.0], [1.0]], 0.01)
    hard = np.array([[1e-3]])  # between the modes, where paths part
    crowd = np.concatenate([hard, np.full((3000, 1), 1.0)])
    options = {"sigma_min": 0.02, "sigma_max": 5.0, "prior": p.perturbed(5.0), "rtol": 1e-7}
    truth = p.perturbed(0.02).logpdf(hard)[0]
    assert abs(log_likelihood(p.perturbed, crowd, **options)[0] - truth) < 1e-5
    assert abs(log_likelihood(p.perturbed, hard, **options)[0] - truth) < 1e-5


def test_bits_are_those_of_the_raw_data():
    assert bits_per_dimension(np.array([-math.log(256)]), 1)[0] == pytest.approx(8)  # uniform on [0, 256)
    assert bits_per_dimension(np.zeros(1), 1, scale=256)[0] == pytest.approx(8)  # the same, scaled to [0, 1)
    # a standardised Gaussian with columns of standard deviation c: log p in raw units by SciPy
    c, x = np.array([0.5, 20.0, 3.0]), np.random.default_rng(0).standard_normal((6, 3))
    raw = stats.norm.logpdf(c * x, 0, c).sum(1)
    found = bits_per_dimension(Gaussian(np.zeros(3), 1.0).logpdf(x), 3, scale=c)
    np.testing.assert_allclose(found, -raw / (3 * math.log(2)), rtol=1e-14)
    for wrong in (0.0, -1.0, [1.0, 2.0], np.inf):
        with pytest.raises(ValueError, match="scale is"):
            bits_per_dimension(np.zeros(1), 3, scale=wrong)


def test_dtype_empty_and_bits():
    net = EnergyMLP.init(2, (8,), conditional=True, confinement=1.0, rng=0, dtype=np.float32)
    x = np.ones((3, 2), np.float32)
    kept = x.copy()
    low = log_likelihood(net, x, sigma_min=0.5, sigma_max=2.0)
    assert low.dtype == np.float32 and np.array_equal(x, kept)
    assert log_likelihood(net, x.astype(float), sigma_min=0.5, sigma_max=2.0).dtype == np.float64
    assert log_likelihood(net, x[:0], sigma_min=0.5, sigma_max=2.0).shape == (0,)
    assert sample_flow(net, 0, sigma_min=0.5, sigma_max=2.0, rng=0).shape == (0, 2)
    a, b = (sample_flow(net, 4, sigma_min=0.5, sigma_max=2.0, rng=1) for _ in range(2))
    assert np.array_equal(a, b)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sigma_min": 2.0, "sigma_max": 1.0}, "sigma_min < sigma_max"),
        ({"sigma_min": 0.0, "sigma_max": 1.0}, "sigma_min is 0.0"),
        ({"sigma_min": 0.5, "sigma_max": 1.0, "rtol": 1e-14}, "where rounding begins"),
    ],
)
def test_what_is_wrong_is_named(options, message):
    p = DENSITIES["mixture"]
    with pytest.raises(ValueError, match=message):
        log_likelihood(p.perturbed, np.zeros((1, 2)), **options)


def test_a_density_alone_and_relu_are_refused():
    x = np.zeros((1, 2))
    with pytest.raises(ValueError, match=r"Pass density\.perturbed"):
        log_likelihood(DENSITIES["mixture"], x, sigma_min=0.5, sigma_max=1.0)
    with pytest.raises(ValueError, match="not twice differentiable"):
        log_likelihood(ScoreMLP.init(2, (4,), "relu", conditional=True, rng=0), x, sigma_min=0.5, sigma_max=1.0)


@pytest.mark.filterwarnings("error")
def test_a_score_that_grows_too_fast_is_warned_of_and_others_are_not():
    cubic = SimpleNamespace(dim=1, score=lambda x: x**3, trace=lambda x: 3 * x[:, 0] ** 2)
    x = np.linspace(-1, 1, 5)[:, None]
    with pytest.warns(RuntimeWarning, match=r"the score grows like \|x\|\^3 far out"):
        log_p = log_likelihood(lambda sigma: cubic, x, sigma_min=0.5, sigma_max=2.0)
    # the closed form: x' = x / sqrt(1 + 3.75 x^2), |dx'/dx| = (1 + 3.75 x^2)^(-3/2)
    want = stats.norm(scale=2.0).logpdf(x / np.sqrt(1 + 3.75 * x**2)) - 1.5 * np.log1p(3.75 * x**2)
    np.testing.assert_allclose(log_p, want[:, 0], atol=1e-8)
    for model in (DENSITIES["line"].perturbed, EnergyMLP.init(1, (6,), "softplus", conditional=True, rng=0)):
        log_likelihood(model, x, sigma_min=0.5, sigma_max=2.0)


def test_a_growth_in_one_direction_is_not_hidden_by_a_large_score_in_another():
    """Each direction by itself: beyond a wall of 1e8 on the left, the cubic on the right is a small part of the norm of all."""
    steep = lambda x: -x * np.where(x > 0, x**2, 1e8)
    one_sided = SimpleNamespace(dim=1, score=steep, trace=lambda x: -np.where(x > 0, 3 * x**2, 1e8)[:, 0])
    with pytest.warns(RuntimeWarning, match=r"the score grows like \|x\|\^3 far out"):
        log_likelihood(lambda sigma: one_sided, np.array([[0.5]]), sigma_min=0.5, sigma_max=0.6)


def test_the_least_tolerance_that_is_named_is_taken():
    """One row at a time: 3e-14 sqrt(d + 1) in dimension 3; a hair below is refused, and names it."""
    p, x = Gaussian(np.zeros(3), np.eye(3)), np.ones((2, 3))
    found = transport(p.perturbed, x, 0.5, 0.51, rtol=6e-14)
    np.testing.assert_allclose(found.x, x * math.sqrt((1 + 0.51**2) / 1.25), rtol=1e-12)
    with pytest.raises(ValueError, match=r"rtol is .*, expected at least 6.0e-14 in dimension 3"):
        transport(p.perturbed, x, 0.5, 0.51, rtol=5.9e-14)


# ---- the equation that ties the levels together


def test_the_fokker_planck_residual_of_noisy_densities_is_zero():
    """A mixture in the plane; a random network misses by its own size; the bound is kept and says something."""
    p = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], 0.4)
    x = np.random.default_rng(0).standard_normal((20, 2))
    found = fokker_planck_residual(p.perturbed, x, 0.7)
    assert np.abs(found.residual).max() < 2e-10 and np.all(np.abs(found.residual) <= found.error)
    assert found.error.max() < 1e-11  # Romberg's last corners; those before them differ by powers of the step
    net = EnergyMLP.init(2, (8, 8), "tanh", conditional=True, rng=0)
    wrong = fokker_planck_residual(net, x, 0.7)
    assert np.abs(wrong.residual).max() > 0.05 and wrong.error.max() < 1e-6


def test_the_fokker_planck_residual_of_a_scaled_score_is_known():
    family = lambda sigma: SimpleNamespace(
        dim=1, score=lambda x: -1.5 * x / (1 + sigma**2), trace=lambda x: np.full(len(x), -1.5 / (1 + sigma**2))
    )
    x = np.array([[0.5], [-2.0]])
    np.testing.assert_allclose(fokker_planck_residual(family, x, 1.0).residual, (1.5 - 2.25) * x / 4, rtol=1e-10)


def test_between_far_modes_a_path_takes_no_more_steps_than_elsewhere():
    """Modes 1000 standard deviations apart: an explicit rule alone asked for the score 300,000 times, 7 s a row."""
    calls, two = [], GaussianMixture([0.999, 0.001], [[0.0], [100.0]], 0.01)

    def model(sigma):
        calls.append(sigma)
        return two.perturbed(sigma)

    x = np.array([[52.0]])
    end, volume = transport(model, x, 0.01, 300.0, rtol=1e-5)
    assert len(calls) < 10_000
    log_p = two.perturbed(300.0).logpdf(end) + volume
    np.testing.assert_allclose(log_p, two.perturbed(0.01).logpdf(x), rtol=8e-5)  # rtol |x'| is 2 rtol |log p|


def test_no_implicit_rule_is_asked_for_where_paths_contract_slowly(monkeypatch):
    """However often it is asked."""
    monkeypatch.setattr("numpyscore.sampling.flow.PATIENCE", 3)
    monkeypatch.setattr("scipy.integrate.LSODA", None)
    x = np.array([[0.1, 52.0]])
    found = transport(Gaussian(np.zeros(2), 1.0).perturbed, x, 0.5, 3.0)
    np.testing.assert_allclose(found.x, math.sqrt(10 / 1.25) * x, rtol=1e-8)


def test_rows_far_out_have_the_digits_of_the_others():
    """log p = -1.5e6 and -1.8e7 were off by 2.5e-5 and 6e-4 nats, unsaid; an ordinary row beside them is as before."""
    two = GaussianMixture([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], 0.1)
    x = np.array([[500.0, 300.0], [0.1, 0.2], [2000.0, 0.0]])
    log_p = log_likelihood(two.perturbed, x, sigma_min=0.1, sigma_max=20.0, prior=two.perturbed(20.0))
    exact = two.perturbed(0.1).logpdf(x)
    assert exact.min() < -1e7
    assert np.all(np.abs(log_p - exact) <= 2e-10 + 1e-12 * np.abs(exact))
    coarse = log_likelihood(two.perturbed, x, sigma_min=0.1, sigma_max=20.0, prior=two.perturbed(20.0), rtol=1e-4)
    assert np.all(np.abs(coarse - exact) <= 1e-2)  # it was off by 60 nats


@pytest.mark.parametrize("sigma", [0.01, 0.7, 30.0])
def test_the_bound_of_the_residual_holds_where_rounding_rules(sigma):
    """Differences over sigma / 256 of numbers of size |s| / sigma; and the level itself is not one, where sigma^2 and sigma^3 agree."""
    p = GaussianMixture([0.3, 0.7], [[-1.0, 0.0], [1.0, 0.5]], 1e-4)
    x = p.perturbed(sigma).sample(20, rng=0)
    found = fokker_planck_residual(p.perturbed, x, sigma)
    assert np.all(np.abs(found.residual) <= found.error)
    size = np.abs(p.perturbed(sigma).score(x)).max() / sigma**2 + 1
    assert found.error.max() < 1e-9 * size
    h = 1e-4 * sigma**2
    slope = (p.perturbed(math.sqrt(sigma**2 + h)).score(x) - p.perturbed(math.sqrt(sigma**2 - h)).score(x)) / (2 * h)
    np.testing.assert_allclose(found.change, slope, rtol=1e-5, atol=1e-6 * np.abs(slope).max())


def test_levels_that_are_one_and_the_same_are_no_range():
    with pytest.raises(ValueError, match="sigma_min < sigma_max"):
        log_likelihood(DENSITIES["mixture"].perturbed, np.zeros((1, 2)), sigma_min=1.0, sigma_max=1.0)


def test_what_is_left_out_of_the_samplers():
    from numpyscore.sampling import annealing, diagnostics, flow, langevin, normaliser

    steps = {"n_steps": 1}
    table = {
        flow.transport: {"volume": True, "rtol": 1e-10}, flow.log_likelihood: {"rtol": 1e-10}, flow.sample_flow: {"rtol": 1e-6},
        flow.bits_per_dimension: {"scale": 1}, normaliser.log_normaliser: {"rtol": 1e-12},
        annealing.annealed_importance_sampling: {"n_chains": 1000, "n_levels": 200} | steps,
        annealing.tempered_langevin: {"n_levels": 100} | steps,
        langevin.langevin: {"adjusted": False}, langevin.reverse_diffusion: {"denoise": True},
        langevin.annealed_langevin: {"n_steps": 100, "adjusted": False, "denoise": False},
        diagnostics.kernel_stein_discrepancy: {"kernel": "imq", "statistic": "u", "bootstrap": "multinomial", "n_bootstrap": 0, "flip": 0.5},
        langevin.predictor_corrector: {"n_corrector": 1, "snr": 0.16, "denoise": True},
        diagnostics.split_r_hat: {"ranked": True}, diagnostics.stein_kernel: {"kernel": "imq", "bandwidth": 1},
        diagnostics.energy_distance: {"n_permutations": 0},
    }  # fmt: skip
    assert {function: defaults(function) for function in table} == table


def test_the_points_that_are_none_are_named():
    with pytest.raises(ValueError, match=r"transport: x\[1, 0\] is nan"):
        transport(DENSITIES["line"].perturbed, np.array([[0.0], [np.nan]]), 0.5, 1.0)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_paths_and_volumes_have_no_unit(unit):
    """N(0, u^2) from 0.5 u to 3 u: the tolerance of x is in units of sigma, that of the volume in nats."""
    x = unit * np.array([[0.3, -1.0], [2.0, 0.1], [0.0, 0.0]])
    end, log_volume = transport(Gaussian(np.zeros(2), unit**2).perturbed, x, 0.5 * unit, 3 * unit)
    growth = math.sqrt(10 / 1.25)
    np.testing.assert_allclose(end, growth * x, rtol=0, atol=1e-8 * unit)
    np.testing.assert_allclose(log_volume, 2 * math.log(growth), rtol=0, atol=1e-8)


@pytest.mark.parametrize("d, least", [(1, "4.2e-14"), (3, "6.0e-14")])
def test_where_rounding_begins(d, least):
    p, x = Gaussian(np.zeros(d), np.eye(d)), np.ones((2, d))
    with pytest.raises(ValueError, match=f"expected at least {least} in dimension {d}"):
        transport(p.perturbed, x, 0.5, 0.51, rtol=0.999 * 3e-14 * math.sqrt(d + 1))
    transport(p.perturbed, x, 0.5, 0.51, rtol=1.001 * 3e-14 * math.sqrt(d + 1))


def test_rows_far_out_are_followed_again_to_what_their_log_density_needs(monkeypatch):
    """A score of 0 moves nothing: x' = x, and rtol |x'| moves log pi(x') by rtol |x|^2 / sigma^2, which is to be rtol d, not below the finest."""
    from numpyscore.sampling import flow

    still = lambda sigma: SimpleNamespace(dim=2, score=lambda x: 0 * x, trace=lambda x: 0 * x[:, 0])
    asked, right = [], flow.transport
    monkeypatch.setattr(
        flow, "transport", lambda *a, rtol: (asked.append((a[1].copy(), rtol)), right(*a, rtol=rtol))[1]
    )
    rows = lambda *sizes: 3.0 * np.sqrt([[s, 0.0] for s in sizes])  # |x|^2 / sigma^2, where 10 d = 20 is the bound
    ask = lambda x, rtol: log_likelihood(still, x, sigma_min=1.0, sigma_max=3.0, rtol=rtol)
    x = rows(1.0, 19.0, 21.0, 400.0)
    np.testing.assert_allclose(ask(x, 1e-6), Gaussian(np.zeros(2), 9.0).logpdf(x), rtol=1e-12)
    (_, first), (again, second) = asked
    assert first == 1e-6 and np.array_equal(again, x[2:]) and second == pytest.approx(1e-6 * 2 / 400, rel=1e-4)
    finest = 3e-13 * math.sqrt(3)
    for sizes, rtol, times in (((1.0, 19.0), 1e-6, 1), ((400.0,), 2 * finest, 2), ((400.0,), 0.999 * finest, 1)):
        asked.clear()
        ask(rows(*sizes), rtol)
        assert len(asked) == times
        assert times == 1 or asked[1][1] == pytest.approx(finest, rel=1e-12)


def test_growth_is_looked_for_at_20_and_400_times_the_reach_and_told_from_the_power_3_2_on():
    """The reach is sigma_max + max |x|. A score |x|^1.49 far out is none to be warned of, nor one too small to move anything; the line is the caller's."""
    asked = []
    power = lambda k, size=1.0: SimpleNamespace(
        dim=2, trace=lambda x: 0 * x[:, 0],
        score=lambda x: (asked.append(np.linalg.norm(x, axis=1)), size * np.where(np.linalg.norm(x, axis=1) > 30, np.linalg.norm(x, axis=1) ** (k - 1), 0)[:, None] * x)[1],
    )  # fmt: skip
    x = np.array([[1.0, -0.5], [0.2, 0.3]])
    ask = lambda model: log_likelihood(lambda sigma: model, x, sigma_min=1.0, sigma_max=2.0)
    with pytest.warns(RuntimeWarning, match=r"at sigma = 1 the score grows like \|x\|\^1.5 far out") as told:
        ask(power(1.51))
    assert [w.filename for w in told] == [__file__]
    np.testing.assert_allclose(asked[0], 20 * 3.0, rtol=1e-12)
    np.testing.assert_allclose(asked[1], 400 * 3.0, rtol=1e-12)
    assert len(asked[0]) > 1
    ask(power(1.49))  # warnings are errors here
    ask(power(3.0, size=1e-10))  # 1200^3 of them, 0.17: below 1 / sigma
    with pytest.warns(RuntimeWarning, match="at sigma = 1 "):
        ask(power(3.0, size=1e-9))


def test_the_bound_of_the_residual_is_how_far_the_last_corners_of_the_table_are_apart():
    """Through a pole near the first step the table converges slowly; its corners by Lagrange's formula in h^2, points 0..5, 0..4 and 1..5."""
    t0, x = 4.0, np.array([[0.75], [-2.0]])
    g = lambda t: 1 / (t - 0.85 * t0)  # steps from t0 / 8 down; the pole is at 1.2 of the first
    family = lambda s: SimpleNamespace(dim=1, score=lambda x: -g(s**2) * x, trace=lambda x: np.full(len(x), -g(s**2)))
    found = fokker_planck_residual(family, x, 2.0)
    h = t0 / 8 / 2.0 ** np.arange(6)
    D = (g(t0 + h) - g(t0 - h)) / (2 * h)

    def at_zero(k):
        return sum(D[i] * np.prod([h[j] ** 2 / (h[j] ** 2 - h[i] ** 2) for j in k if j != i]) for i in k)

    corner, before, beside = (at_zero(k) for k in (range(6), range(5), range(1, 6)))
    np.testing.assert_allclose(found.change, -corner * x, rtol=1e-11)
    apart = (abs(corner - before) + abs(corner - beside)) * np.abs(x)
    np.testing.assert_allclose(found.error, apart, rtol=1e-5)  # beside them 1024 eps
    assert apart.min() > 1e-6
    # in x likewise: a score 2 / (x - c) has the potential 1 / (x - c)^2, whose pole is at 1.2 of the first step sigma / 8
    c = 1.2 * 2.0 / 8
    pole = lambda s: SimpleNamespace(dim=1, score=lambda x: 2 / (x - c), trace=lambda x: -2 / (x[:, 0] - c) ** 2)
    found, h = fokker_planck_residual(pole, np.zeros((1, 1)), 2.0), 2.0 / 8 / 2.0 ** np.arange(6)
    D = (1 / (h - c) ** 2 - 1 / (h + c) ** 2) / (2 * h)
    corner, before, beside = (at_zero(k) for k in (range(6), range(5), range(1, 6)))
    assert found.spread.item() == pytest.approx(corner, rel=1e-11) and found.change.item() == 0
    assert found.error.item() == pytest.approx(abs(corner - before) + abs(corner - beside), rel=1e-4)


def test_what_rounding_adds_to_the_bound_of_the_residual():
    """A score -t x is differenced exactly in binary fractions: what remains is 1024 eps (1 + |s| / t + (|potential| + |x| |spread|) / sigma)."""

    def family(sigma):
        t = round(sigma**2 * 2**20) / 2**20  # of the root of a binary fraction the square
        return SimpleNamespace(dim=2, score=lambda x: -t * x, trace=lambda x: np.full(len(x), -2 * t))

    x = np.array([[0.5, -0.25], [2.0, 1.0]])
    found = fokker_planck_residual(family, x, 2.0)
    np.testing.assert_array_equal(found.change, -x)
    np.testing.assert_array_equal(found.spread, 16 * x)
    np.testing.assert_array_equal(found.residual, -17 * x)
    potential = 0.5 * (-8 + 16 * np.sum(x**2, 1))
    size = np.abs(4 * x).max(1) / 4 + (np.abs(potential) + np.abs(x).max(1) * np.abs(16 * x).max(1)) / 2
    np.testing.assert_allclose(found.error, 1024 * np.finfo(float).eps * (1 + size)[:, None] * np.ones(2), rtol=1e-12)
    with pytest.raises(ValueError, match=r"fokker_planck_residual: x\[0, 0\] is nan"):
        fokker_planck_residual(family, x * np.nan, 2.0)


def test_the_points_of_a_likelihood_that_are_none_are_named():
    with pytest.raises(ValueError, match=r"log_likelihood: x\[0, 0\] is nan"):
        log_likelihood(DENSITIES["line"].perturbed, np.array([[np.nan]]), sigma_min=0.5, sigma_max=1.0)
