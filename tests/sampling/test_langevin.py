"""Samplers: every step computed by hand from the same noise, every law against its closed form, and what chains say of themselves."""

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import integrate, stats

from numpyscore.densities import Gaussian, GaussianMixture, HalfNormal, Logistic, StudentT
from numpyscore.densities.noise import geometric_levels
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.sampling.diagnostics import effective_sample_size, split_r_hat
from numpyscore.sampling.langevin import (
    annealed_langevin,
    langevin,
    langevin_step,
    log_acceptance,
    predictor_corrector,
    reverse_diffusion,
    reverse_step,
    tweedie,
)

EPS = np.finfo(float).eps
SE = 4.0  # standard errors: one false alarm in 16 000
TWO_MODES = GaussianMixture([0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]], 1.0)


class ScoreOnly:
    """A target with nothing but a score."""

    def __init__(self, score):
        self.score = score


def assert_variance(x, variance):
    """The variance of independent normal numbers x (n,) or (n, d): sample variance has a standard error v sqrt(2 / n)."""
    assert abs(np.mean(x**2) / variance - 1) < SE * math.sqrt(2 / x.size)


# ------------------------------------------------------------------------------- steps by hand


def test_a_step_is_what_it_says():
    """Number by number, with the moments of the proposal that the definitions name."""
    rng = np.random.default_rng(0)
    x, s, eps = rng.standard_normal((3, 5, 2))
    y, z = langevin_step(x, s, 0.3, eps), reverse_step(x, s, 2.0, 1.5, eps)
    for i in range(5):
        for j in range(2):
            assert y[i, j] == pytest.approx(
                x[i, j] + 0.3 * s[i, j] + math.sqrt(0.6) * eps[i, j], rel=8 * EPS, abs=8 * EPS
            )
            assert z[i, j] == pytest.approx(
                x[i, j] + 1.75 * s[i, j] + math.sqrt(1.75) * eps[i, j], rel=8 * EPS, abs=8 * EPS
            )


def by_hand(target, x, steps, rng):
    """Unadjusted Langevin written out: the reference for what a sampler does with its noise."""
    for step in steps:
        x = x + step * target.score(x) + math.sqrt(2 * step) * rng.standard_normal(x.shape)
    return x


def test_chains_are_the_steps_one_after_the_other():
    x0 = np.random.default_rng(0).standard_normal((6, 2))
    kept = x0.copy()
    chains = langevin(TWO_MODES, x0, 0.2, 7, rng=3, thin=2)
    expected = by_hand(TWO_MODES, x0, [0.2] * 7, np.random.default_rng(3))
    np.testing.assert_allclose(chains.samples, expected, rtol=1e-13)
    assert chains.trace.shape == (3, 6, 2) and chains.acceptance is None and np.array_equal(x0, kept)
    for k in range(3):
        np.testing.assert_allclose(chains.trace[k], by_hand(TWO_MODES, x0, [0.2] * (2 * k + 2), np.random.default_rng(3)), rtol=1e-13)  # fmt: skip
    control = by_hand(TWO_MODES, x0, [0.2 * (1 + 1e-9)] * 7, np.random.default_rng(3))
    assert not np.allclose(chains.samples, control, rtol=1e-13, atol=0)


def test_annealing_is_langevin_at_each_level_with_the_step_of_song_and_ermon():
    x0, sigmas, epsilon = np.random.default_rng(0).standard_normal((6, 2)), [3.0, 1.5, 0.5], 0.04
    chains = annealed_langevin(TWO_MODES.perturbed, x0, sigmas, 4, step=epsilon / 2, rng=5, thin=4)
    rng, x = np.random.default_rng(5), x0
    for k, sigma in enumerate(sigmas):
        alpha = epsilon * sigma**2 / sigmas[-1] ** 2  # their Algorithm 1, in their letters
        for _ in range(4):
            x = x + alpha / 2 * TWO_MODES.perturbed(sigma).score(x) + math.sqrt(alpha) * rng.standard_normal(x.shape)
        np.testing.assert_allclose(chains.trace[k], x, rtol=1e-12)
    np.testing.assert_allclose(chains.samples, x, rtol=1e-12)
    default = annealed_langevin(TWO_MODES.perturbed, x0, sigmas, 4, rng=5)
    assert np.array_equal(
        default.samples, annealed_langevin(TWO_MODES.perturbed, x0, sigmas, 4, step=0.025, rng=5).samples
    )


def test_predictor_and_corrector_in_turn_and_the_last_noise_taken_off():
    x0, sigmas = np.random.default_rng(0).standard_normal((6, 2)), [3.0, 1.5, 0.5]
    at = lambda sigma, x: TWO_MODES.perturbed(sigma).score(x)
    chains = predictor_corrector(TWO_MODES.perturbed, x0, sigmas, n_corrector=2, snr=0.2, rng=5)
    rng, x = np.random.default_rng(5), x0
    for sigma, below in ((3.0, 1.5), (1.5, 0.5)):
        gap = sigma**2 - below**2
        x = x + gap * at(sigma, x) + math.sqrt(gap) * rng.standard_normal(x.shape)
        for _ in range(2):
            tau = 2 * 0.2**2 * below**2
            x = x + tau * at(below, x) + math.sqrt(2 * tau) * rng.standard_normal(x.shape)
    np.testing.assert_allclose(chains.samples, x + 0.25 * at(0.5, x), rtol=1e-12)
    rough = predictor_corrector(TWO_MODES.perturbed, x0, sigmas, n_corrector=2, snr=0.2, rng=5, denoise=False)
    np.testing.assert_allclose(rough.samples, x, rtol=1e-12)
    usual, once = (
        predictor_corrector(TWO_MODES.perturbed, x0, sigmas, rng=5, **k).samples for k in ({}, {"n_corrector": 1})
    )
    assert np.array_equal(usual, once)
    alone = predictor_corrector(TWO_MODES.perturbed, x0, sigmas, n_corrector=0, rng=5)
    assert np.array_equal(alone.samples, reverse_diffusion(TWO_MODES.perturbed, x0, sigmas, rng=5).samples)


def test_tweedie_is_the_posterior_mean():
    """Of a mixture through noise, against the integral that defines it."""
    p, sigma = GaussianMixture([0.3, 0.7], [-1.0, 2.0], [0.5, 0.2]), 0.8
    for y in (-2.0, 0.3, 1.7):
        joint = lambda x, y=y: np.exp(p.logpdf(np.array([[x]]))[0]) * stats.norm.pdf(y, x, sigma)
        mass = integrate.quad(joint, -12, 12, epsabs=0, epsrel=1e-11, limit=200)[0]
        mean = integrate.quad(lambda x: x * joint(x), -12, 12, epsabs=1e-13, epsrel=1e-11, limit=200)[0] / mass  # noqa: B023
        found = tweedie(np.array([[y]]), p.perturbed(sigma).score([[y]]), sigma)[0, 0]
        assert found == pytest.approx(mean, rel=1e-9)


# ------------------------------------------------------------------------------- the Metropolis test


def test_the_metropolis_ratio_is_that_of_normal_densities():
    rng, step = np.random.default_rng(0), 0.4
    x, y = rng.standard_normal((2, 20, 3)) * 3
    p = StudentT(5, np.zeros(3), np.eye(3))
    at = lambda z: (p.logpdf(z), p.score(z))
    proposal = lambda b, a: stats.norm.logpdf(b, a + step * p.score(a), math.sqrt(2 * step)).sum(1)
    expected = p.logpdf(y) + proposal(x, y) - p.logpdf(x) - proposal(y, x)
    found = log_acceptance(x, *at(x), y, *at(y), step)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(log_acceptance(y, *at(y), x, *at(x), step), -found, rtol=1e-12)
    assert not np.allclose(log_acceptance(x, *at(x), y, *at(y), 2 * step), expected, rtol=1e-3)


LAWS = {
    "logistic": (Logistic(1.0, 0.7), stats.logistic(1.0, 0.7).cdf),
    "half normal": (HalfNormal(1.0), stats.halfnorm.cdf),
    "mixture": (
        GaussianMixture([0.3, 0.7], [-1.0, 2.0], [0.5, 1.0]),
        lambda x: 0.3 * stats.norm.cdf(x, -1, math.sqrt(0.5)) + 0.7 * stats.norm.cdf(x, 2, 1),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_adjusted_chains_have_the_law_of_the_target(name):
    """By Kolmogorov and Smirnov's test, at a step so long that unadjusted chains fail it where they exist."""
    p, cdf = LAWS[name]
    chains = langevin(p, p.sample(4000, rng=0) * 0.9 + 0.05, 0.8, 60, adjusted=True, rng=1)
    assert stats.kstest(chains.samples[:, 0], cdf).pvalue > 1e-3
    assert chains.acceptance.shape == (4000,) and 0.2 < chains.acceptance.mean() < 0.99
    if not np.isfinite(p.support).any():
        loose = langevin(p, p.sample(4000, rng=0), 0.8, 60, rng=1)
        assert stats.kstest(loose.samples[:, 0], cdf).pvalue < 1e-3


def test_an_energy_network_is_sampled_as_its_own_density():
    """Mean and mean energy under exp(-f)/Z, by quadrature on one side and adjusted chains on the other."""
    net = EnergyMLP.init(1, (12,), "softplus", confinement=0.7, rng=3)
    weight = lambda x: math.exp(-net.energy(np.array([[x]]))[0])
    moment = lambda g: integrate.quad(lambda x: g(x) * weight(x), -15, 15, epsabs=1e-10, limit=200)[0]
    Z = moment(lambda x: 1.0)
    chains = langevin(net, np.zeros((4000, 1)), 0.5, 80, adjusted=True, rng=0)
    for power in (1, 2):
        mean = moment(lambda x, k=power: x**k) / Z
        sd = math.sqrt(moment(lambda x, k=power, m=mean: (x**k - m) ** 2) / Z)
        assert abs(np.mean(chains.samples**power) - mean) < SE * sd / math.sqrt(4000)


# ------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("step", [0.2, 1.0])
def test_variance_of_unadjusted_and_adjusted_chains(step):
    """1 / (1 - step / 2) and 1 on N(0, 1); and the effective sample size is that of the autoregression the chain is."""
    p, rng = Gaussian(0.0, 1.0), np.random.default_rng(0)
    n, t = 400, 500
    start = rng.standard_normal((n, 1)) / math.sqrt(1 - step / 2)
    loose = langevin(p, start, step, t, rng=1, thin=1)
    exact = langevin(p, rng.standard_normal((n, 1)), step, t, adjusted=True, rng=2, thin=1)
    for chains, variance in ((loose, 1 / (1 - step / 2)), (exact, 1.0)):
        square = chains.trace**2
        ess = effective_sample_size(square)[0]
        error = math.sqrt(2 * variance**2 / ess)
        assert abs(square.mean() - variance) < SE * error
        other = 1.0 if chains is loose else 1 / (1 - step / 2)
        assert abs(square.mean() - other) > SE * error  # which of the two it is can be told
        # means of half chains of 250 draws with an autocorrelation time of 9 vary by 9/250 of the variance: R is near 1.018
        assert abs(split_r_hat(chains.trace)[0] - 1) < 0.03
    phi = 1 - step  # the unadjusted chain is x' = phi x + noise: times (1 + phi)/(1 - phi) for x, with phi^2 for x^2
    for trace, correlation in ((loose.trace, phi), (loose.trace**2, phi**2)):
        truth = n * t * (1 - correlation) / (1 + correlation)
        assert effective_sample_size(trace)[0] == pytest.approx(truth, rel=0.05)


def test_control_half_the_noise_is_noticed():
    x = np.random.default_rng(0).standard_normal((20_000, 1))
    rng = np.random.default_rng(1)
    for _ in range(60):
        x = x - 0.5 * x + math.sqrt(0.5) * rng.standard_normal(x.shape)  # sqrt(step) where sqrt(2 step) belongs
    with pytest.raises(AssertionError):
        assert_variance(x, 1 / (1 - 0.25))


def test_annealed_chains_on_a_gaussian_have_the_variance_of_their_recursion():
    """x' = (1 - tau / v) x + sqrt(2 tau) eps with v = 4 + sigma^2 at each level: a recursion of the variance in closed form."""
    p, sigmas = Gaussian(np.zeros(2), 4.0), geometric_levels(6.0, 0.5, 5)
    chains = annealed_langevin(p.perturbed, np.zeros((10_000, 2)), sigmas, 3, step=0.05, rng=0)
    variance = 0.0
    for sigma in sigmas:
        tau, v = 0.05 * (sigma / 0.5) ** 2, 4 + sigma**2
        for _ in range(3):
            variance = (1 - tau / v) ** 2 * variance + 2 * tau
    assert_variance(chains.samples, variance)
    with pytest.raises(AssertionError):
        assert_variance(chains.samples, 1.1 * variance)


@pytest.mark.parametrize("levels", [6, 40])
def test_the_reverse_diffusion_of_a_gaussian_has_the_variance_of_its_recursion(levels):
    p, sigmas = Gaussian(np.zeros(2), 1.0), geometric_levels(10.0, 0.1, levels)
    x0 = math.sqrt(101) * np.random.default_rng(0).standard_normal((20_000, 2))
    variance = 101.0
    for sigma, below in pairwise(sigmas):
        gap = sigma**2 - below**2
        variance = (1 - gap / (1 + sigma**2)) ** 2 * variance + gap
    found = reverse_diffusion(p.perturbed, x0, sigmas, rng=1)
    assert_variance(found.samples, variance * (1 / 1.01) ** 2)  # Tweedie on a Gaussian shrinks by 1 / (1 + sigma^2)
    assert_variance(reverse_diffusion(p.perturbed, x0, sigmas, rng=1, denoise=False).samples, variance)


def test_the_corrector_repairs_what_few_levels_get_wrong():
    """On N(0, 1) through six levels: the variance of the predictor alone is far from 1 + sigma_min^2, corrected it is near."""
    p, sigmas = Gaussian(np.zeros(2), 1.0), geometric_levels(10.0, 0.3, 6)
    x0 = math.sqrt(101) * np.random.default_rng(0).standard_normal((10_000, 2))
    alone = reverse_diffusion(p.perturbed, x0, sigmas, rng=1, denoise=False).samples.var()
    corrected = predictor_corrector(
        p.perturbed, x0, sigmas, n_corrector=30, snr=0.3, rng=1, denoise=False
    ).samples.var()
    truth = 1 + 0.3**2
    assert abs(corrected - truth) < 0.3 * abs(alone - truth) and abs(corrected / truth - 1) < 0.06


def share_of_the_smaller_mode(samples):
    """Of Song & Ermon's toy: 1/5."""
    return float(np.mean(samples.sum(axis=1) < 0))


def toy(n):
    """Shares by plain Langevin and by annealing with 100 and with 400 steps a level, from uniform starts."""
    x0, sigmas = np.random.default_rng(0).uniform(-8, 8, (n, 2)), geometric_levels(20.0, 1.0, 10)
    plain = langevin(TWO_MODES, x0, 0.1, 1000, rng=1)
    short, long = (annealed_langevin(TWO_MODES.perturbed, x0, sigmas, k, step=0.05, rng=2) for k in (100, 400))
    return [share_of_the_smaller_mode(c.samples) for c in (plain, short, long)]


def test_annealing_finds_the_weights_and_plain_langevin_does_not():
    n = 2000
    plain, _, long = toy(n)
    error = 0.4 / math.sqrt(n)
    assert abs(plain - 0.5) < 0.05
    assert abs(long - 0.2) < 0.02 + SE * error
    assert plain - long > 0.2


@pytest.mark.nightly
def test_annealing_finds_the_weights_at_full_count():
    n = 20_000
    plain, short, long = toy(n)
    error = 0.4 / math.sqrt(n)
    assert abs(plain - 0.5) < 0.05
    assert abs(long - 0.2) < 0.02
    assert abs(short - 0.217) < SE * error and short - 0.2 > SE * error


# ------------------------------------------------------------------------------- targets


def test_a_conditional_network_is_a_family_like_a_function_of_sigma():
    x0, sigmas = np.random.default_rng(0).standard_normal((5, 2)), [2.0, 1.0, 0.5]
    for cls, options in ((EnergyMLP, {"confinement": 1.0}), (ScoreMLP, {})):
        net = cls.init(2, (8,), conditional=True, rng=0, **options)
        family = lambda sigma, net=net: ScoreOnly(lambda x: net.score(x, sigma=sigma))
        for sampler in (annealed_langevin, reverse_diffusion, predictor_corrector):
            assert np.array_equal(sampler(net, x0, sigmas, rng=1).samples, sampler(family, x0, sigmas, rng=1).samples)
        at_one = langevin(net, x0, 0.1, 5, sigma=0.7, rng=1).samples
        assert np.array_equal(at_one, langevin(family(0.7), x0, 0.1, 5, rng=1).samples)
    energies = EnergyMLP.init(2, (8,), conditional=True, confinement=1.0, rng=0)
    assert annealed_langevin(energies, x0, sigmas, 3, adjusted=True, rng=1).acceptance.shape == (5,)


@pytest.mark.parametrize("adjusted", [False, True])
def test_dtype_shape_and_bits(adjusted):
    net = EnergyMLP.init(3, (8,), confinement=1.0, rng=0, dtype=np.float32)
    x0 = np.ones((4, 3), np.float32)
    first = langevin(net, x0, 0.1, 6, adjusted=adjusted, rng=1, thin=3)
    assert first.samples.dtype == first.trace.dtype == np.float32 and first.trace.shape == (2, 4, 3)
    again = langevin(net, x0, 0.1, 6, adjusted=adjusted, rng=np.random.default_rng(1), thin=3)
    assert np.array_equal(first.samples, again.samples) and np.array_equal(first.trace, again.trace)
    assert langevin(net, x0.astype(float), 0.1, 6, adjusted=adjusted, rng=1).samples.dtype == np.float64
    assert langevin(net, np.ones((4, 3), int), 0.1, 0, adjusted=adjusted, rng=1).samples.dtype == np.float64
    assert langevin(net, x0[:0], 0.1, 6, adjusted=adjusted, rng=1).samples.shape == (0, 3)


def test_an_adjusted_chain_needs_more_than_a_score():
    for target in (ScoreMLP.init(2, (8,), rng=0), ScoreOnly(lambda x: -x)):
        with pytest.raises(TypeError, match="neither logpdf nor energy, and a Metropolis test compares densities"):
            langevin(target, np.zeros((2, 2)), 0.1, 3, adjusted=True)
        assert langevin(target, np.zeros((2, 2)), 0.1, 3, rng=0).samples.shape == (2, 2)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: langevin(Gaussian(np.zeros(2), 1.0), x, 2.5, 2000, rng=0), ValueError, "chain [0-9]+ left the range of numbers at step [0-9]+"),
        (lambda x: langevin(ScoreOnly(lambda x: x**3), 10 + x, 1.0, 2000, rng=0), ValueError, "points outwards"),
        (lambda x: langevin(ScoreOnly(lambda x: x[:, :1]), x, 0.1, 1), ValueError, r"shape \(4, 1\) for x of shape \(4, 2\)"),
        (lambda x: langevin(HalfNormal(np.ones(2)), x - 1, 0.1, 1, adjusted=True), ValueError, r"x0\[0\] lies outside"),
        (lambda x: langevin(Gaussian(np.zeros(2), 1.0), x[0], 0.1, 1), ValueError, "x0 has shape"),
        (lambda x: langevin(Gaussian(np.zeros(2), 1.0), x * 1j, 0.1, 1), TypeError, "x0 is complex"),
        (lambda x: langevin(Gaussian(np.zeros(2), 1.0), x, 0.0, 1), ValueError, "step is 0.0"),
        (lambda x: langevin(Gaussian(np.zeros(2), 1.0), x, 0.1, -1), ValueError, "n_steps is -1"),
        (lambda x: annealed_langevin(TWO_MODES, x, [1.0]), ValueError, "Pass density.perturbed"),
        (lambda x: annealed_langevin(EnergyMLP.init(2, (4,), rng=0), x, [1.0]), ValueError, "conditional=True"),
        (lambda x: annealed_langevin(3, x, [1.0]), TypeError, "conditional model"),
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, [1.0, 2.0]), ValueError, "not decreasing"),
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, []), ValueError, r"sigmas has shape \(0,\)"),
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, [1.0, 0.0]), ValueError, "positive standard deviations"),
        (lambda x: langevin(TWO_MODES, x, 0.1, 1, rng="1"), TypeError, "rng is '1'"),
    ],
    ids=range(15),
)  # fmt: skip
def test_what_is_wrong_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((4, 2)))


# ------------------------------------------------------------------------------- what chains say of themselves


def autoregression(phi, t, n, rng):
    """x' = phi x + sqrt(1 - phi^2) eps, stationary: integrated autocorrelation time (1 + phi) / (1 - phi)."""
    x, out = rng.standard_normal(n), []
    for _ in range(t):
        x = phi * x + math.sqrt(1 - phi**2) * rng.standard_normal(n)
        out.append(x)
    return np.array(out)


@pytest.mark.parametrize("n", [1, 8])
def test_effective_sample_size_of_an_autoregression(n):
    """For each phi as one of three dimensions; a relative error of the time of about sqrt(12 tau / (t n))."""
    rng, phis, t = np.random.default_rng(0), (-0.5, 0.0, 0.9), 8000
    trace = np.stack([autoregression(phi, t, n, rng) for phi in phis], axis=2)
    truth = t * n * np.array([(1 - phi) / (1 + phi) for phi in phis])
    found = effective_sample_size(trace)
    assert np.all(np.abs(found / truth - 1) < SE * np.sqrt(12 * np.array([3, 1, 19]) / (t * n)))
    np.testing.assert_allclose(effective_sample_size(5 - 3 * trace), found, rtol=1e-9)  # no unit, no origin


def test_effective_sample_size_by_its_definition():
    """Autocovariances by double sum, Geyer's sequence by loop, on a short trace: the same number to rounding."""
    rng = np.random.default_rng(1)
    trace = autoregression(0.6, 60, 3, rng)
    x = np.concatenate([trace[:30], trace[30:]], axis=1)
    t, n = x.shape
    e = x - x.mean(axis=0)
    covariance = [sum(e[i, j] * e[i + k, j] for i in range(t - k) for j in range(n)) / (n * (t - 1)) for k in range(t)]
    within = np.mean([x[:, j].var(ddof=1) for j in range(n)])
    total = (t - 1) / t * within + np.var([x[:, j].mean() for j in range(n)], ddof=1)
    rho = [1.0] + [1 - (within - covariance[k]) / total for k in range(1, t)]
    time, last = -1.0, math.inf
    for k in range(0, t - 1, 2):
        pair = rho[k] + rho[k + 1]
        if pair <= 0:
            break
        last = min(last, pair)
        time += 2 * last
    assert effective_sample_size(trace[:, :, None])[0] == pytest.approx(t * n / time, rel=1e-12)


def test_chains_stuck_in_different_modes_are_worth_little():
    rng = np.random.default_rng(0)
    trace = rng.standard_normal((500, 8, 1))
    assert effective_sample_size(trace)[0] > 3000
    assert effective_sample_size(trace + 5 * (np.arange(8) % 2)[:, None])[0] < 30


def test_r_hat_sees_other_places_other_widths_and_drifts():
    rng = np.random.default_rng(0)
    trace = rng.standard_normal((400, 6, 1))
    shifted, wider, drifting = trace.copy(), trace.copy(), trace + np.linspace(0, 3, 400)[:, None, None]
    shifted[:, 0] += 3
    wider[:, 0] *= 5
    assert abs(split_r_hat(trace)[0] - 1) < 0.01 and abs(split_r_hat(trace, ranked=False)[0] - 1) < 0.01
    for bad in (shifted, wider, drifting):
        assert split_r_hat(bad)[0] > 1.1
    assert split_r_hat(wider, ranked=False)[0] < 1.01  # why ranks and folding
    cauchy = rng.standard_cauchy((400, 6, 1))
    assert abs(split_r_hat(cauchy)[0] - 1) < 0.01


def test_r_hat_by_its_definition():
    x = np.random.default_rng(0).standard_normal((10, 3)) + np.arange(3)
    halves = [x[:5, j] for j in range(3)] + [x[5:, j] for j in range(3)]
    within = np.mean([h.var(ddof=1) for h in halves])
    between = np.var([h.mean() for h in halves], ddof=1)
    expected = math.sqrt((4 / 5 * within + between) / within)
    assert split_r_hat(x[:, :, None], ranked=False)[0] == pytest.approx(expected, rel=1e-13)


def test_constant_traces_and_wrong_shapes():
    assert np.isnan(effective_sample_size(np.ones((10, 2, 1)))[0]) and np.isnan(split_r_hat(np.ones((10, 2, 1)))[0])
    for wrong in (np.ones(10), np.ones((10, 2)), np.ones((3, 2, 1)), np.ones((10, 0, 1))):
        for diagnostic in (effective_sample_size, split_r_hat):
            with pytest.raises(ValueError, match="expected \\(t, n, d\\)"):
                diagnostic(wrong)


def test_adjusted_chains_accept_by_the_ratio_and_say_how_often():
    p, tau, x0 = GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], 0.3), 0.7, np.array([[0.3], [-2.0], [1.0], [0.0]])
    rng, x, accepted = np.random.default_rng(7), x0, np.zeros(4)
    for _ in range(25):
        y = x + tau * p.score(x) + np.sqrt(2 * tau) * rng.standard_normal(x.shape)
        q = lambda a, b: (
            -np.sum((b - a - tau * p.score(a)) ** 2, axis=1) / (4 * tau)
        )  # log density of a step from a to b
        accept = -rng.standard_exponential(4) < p.logpdf(y) + q(y, x) - p.logpdf(x) - q(x, y)
        accepted += accept
        x = np.where(accept[:, None], y, x)
    found = langevin(p, x0, tau, 25, adjusted=True, rng=7)
    np.testing.assert_allclose(found.samples, x, rtol=1e-11)
    np.testing.assert_array_equal(found.acceptance, accepted / 25)
    assert 0 < accepted.min() < accepted.max() < 25
    none = langevin(p, x0, tau, 0, adjusted=True, rng=7)
    assert np.array_equal(none.samples, x0) and not none.acceptance.any()
    with pytest.raises(ValueError, match=r"chain 1 left the range of numbers at step 1:"):
        langevin(SimpleNamespace(score=lambda x: 1e80 * x), np.array([[0.0], [1.0], [0.0]]), 1.0, 3, rng=0)


def test_no_steps_one_step_and_the_mean_of_the_clean_sample():
    p, x0 = GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], 0.3), np.array([[0.3], [-2.0]])
    assert np.array_equal(annealed_langevin(p.perturbed, x0, [2.0, 1.0], 0, rng=0).samples, x0)
    one = langevin(p, x0, 1e-9, 1, adjusted=True, rng=0)  # so short a step is accepted
    assert one.acceptance.tolist() == [1, 1]
    sigmas = [3.0, 2.0, 1.0, 0.5]
    rough, clean = (annealed_langevin(p.perturbed, x0, sigmas, 3, denoise=k, rng=1).samples for k in (False, True))
    np.testing.assert_allclose(clean, rough + 0.25 * p.perturbed(0.5).score(rough), rtol=1e-14)


@pytest.mark.parametrize("sampler", [langevin, reverse_diffusion], ids=lambda sampler: sampler.__name__)
def test_a_step_beyond_the_range_of_numbers_is_told_as_that(sampler):
    steep = SimpleNamespace(score=lambda x: np.full(x.shape, 1e300))
    more = (1e10, 3) if sampler is langevin else ([1e6, 1.0],)
    with pytest.raises(ValueError, match=r"chain 0 left the range of numbers at step 1:"):
        sampler(steep if sampler is langevin else lambda sigma: steep, np.zeros((2, 1)), *more, rng=0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, 1.0), ValueError, r"sigmas has shape \(\), expected \(L,\)"),
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, [[1.0]]), ValueError, r"sigmas has shape \(1, 1\)"),
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, [1.0, 1.0]), ValueError, "not decreasing"),
        (lambda x: annealed_langevin(TWO_MODES.perturbed, x, [1.0, 1.2]), ValueError, "not decreasing"),
        (lambda x: annealed_langevin(GaussianMixture, x, [1.0]), TypeError, "the class GaussianMixture, not one of its objects"),
        (lambda x: annealed_langevin(SimpleNamespace(score=None, conditional=False, units=1), x, [1.0]), ValueError, r"fit\.sample\(n\)"),
        (lambda x: annealed_langevin(SimpleNamespace(score=None, perturbed=1), x, [1.0]), ValueError, r"Pass density\.perturbed"),
        (lambda x: langevin(SimpleNamespace(logpdf=len), x, 0.1, 1, adjusted=True), TypeError, r"expected something with \.score"),
        (lambda x: langevin(SimpleNamespace(logpdf=len), x, 0.1, 1), TypeError, r"expected something with \.score"),
        (lambda x: langevin(TWO_MODES, x, 0.1, 1, thin=0), ValueError, "thin is 0"),
        (lambda x: langevin(TWO_MODES.perturbed, x, 0.1, 1, sigma=-1.0), ValueError, "sigma is -1.0"),
        (lambda x: predictor_corrector(TWO_MODES.perturbed, x, [1.0], snr=0.0), ValueError, "snr is 0.0"),
        (lambda x: predictor_corrector(TWO_MODES.perturbed, x, [1.0], n_corrector=-1), ValueError, "n_corrector is -1"),
        (lambda x: langevin(TWO_MODES, x + np.nan, 0.1, 1), ValueError, r"x0\[0, 0\] is nan"),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_else_is_wrong_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(np.zeros((4, 2)))


@pytest.mark.parametrize("trace", [np.ones((4, 1)), np.ones(3), np.ones(())], ids=str)
def test_a_trace_of_another_shape_is_refused(trace):
    from numpyscore.sampling.flow import transport

    family = lambda sigma: SimpleNamespace(score=lambda x: -x, trace=lambda x: trace)
    with pytest.raises(
        ValueError, match=r"target\.trace\(x\) has shape \(.*\) for x of shape \(4, 2\), expected \(4,\), one per row"
    ):
        transport(family, np.zeros((4, 2)), 1.0, 2.0)
