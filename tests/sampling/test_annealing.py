"""Annealing: log Z against closed forms and quadrature, error bars that mean what they say, and weights of far modes."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from numpyscore.densities import Gaussian, GaussianMixture, HalfNormal
from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.sampling.annealing import annealed_importance_sampling, tempered_langevin
from numpyscore.sampling.langevin import langevin
from numpyscore.sampling.normaliser import log_normaliser
from numpyscore.sampling.targets import at_level

SE = 4.0


def unnormalised(density, log_z):
    """A density as an energy whose log Z is known."""
    return SimpleNamespace(dim=density.dim, energy=lambda x: -density.logpdf(x) - log_z, score=density.score)


FAR = GaussianMixture([0.3, 0.7], [np.full(4, -2.0), np.full(4, 2.0)], 0.5)


@pytest.mark.parametrize(
    "density, start",
    [
        (Gaussian(np.full(20, 0.5), 0.3), Gaussian(np.zeros(20), 1.0)),
        (FAR, Gaussian(np.zeros(4), 9.0)),
        (HalfNormal(np.ones(2)), Gaussian(np.zeros(2), 2.0)),
    ],
    ids=["gaussian 20", "mixture 4", "half normal 2"],
)
def test_annealing_knows_the_normalisers_of_closed_forms(density, start):
    found = annealed_importance_sampling(unnormalised(density, 50.0), start, n_chains=400, n_levels=100, rng=0)
    assert abs(found.value - 50.0) < SE * found.error and found.error < 0.15 and 10 < found.effective <= 400
    again = annealed_importance_sampling(unnormalised(density, 50.0), start, n_chains=400, n_levels=100, rng=0)
    assert again == found


def test_annealing_agrees_with_quadrature_on_a_network():
    net = EnergyMLP.init(2, (16, 16), confinement=0.5, rng=1)
    net = net.with_theta(net.theta * 1.5)
    exact = log_normaliser(net)
    found = annealed_importance_sampling(net, n_chains=400, n_levels=60, rng=0)
    assert exact.error < 1e-9 and abs(found.value - exact.value) < SE * found.error + exact.error and found.error < 0.05
    noisy = EnergyMLP.init(2, (8,), conditional=True, confinement=1.0, rng=0)
    found = annealed_importance_sampling(noisy, sigma=0.6, n_chains=300, n_levels=50, rng=0)
    assert abs(found.value - log_normaliser(noisy, sigma=0.6).value) < SE * found.error


def test_error_bars_mean_what_they_say():
    """Over 60 repetitions: errors are a standard deviation apart from the truth, and the mean of Z itself is Z, few levels or not."""
    target, start = unnormalised(Gaussian(np.full(3, 1.0), 0.5), 0.0), Gaussian(np.zeros(3), 2.0)
    found = [annealed_importance_sampling(target, start, n_chains=100, n_levels=12, rng=seed) for seed in range(60)]
    z = np.array([f.value / f.error for f in found])
    assert 0.75 < np.sqrt(np.mean(z**2)) < 1.3  # a root mean square of 60 has a standard error of 9 %
    Z = np.exp([f.value for f in found])
    assert abs(Z.mean() - 1) < SE * Z.std(ddof=1) / math.sqrt(60)
    biased = Z * 1.2
    assert abs(biased.mean() - 1) > SE * biased.std(ddof=1) / math.sqrt(60)  # control


def test_a_score_alone_or_no_start_is_refused():
    with pytest.raises(TypeError, match="neither logpdf nor energy"):
        annealed_importance_sampling(ScoreMLP.init(2, (4,), rng=0), Gaussian(np.zeros(2), 1.0))
    with pytest.raises(ValueError, match="no confinement"):
        annealed_importance_sampling(EnergyMLP.init(2, (4,), rng=0))


def test_modes_far_apart_get_their_weights():
    """3/10 and 7/10 in four dimensions, ten standard deviations apart, from a start that weighs both alike; plain chains keep that."""
    start, n = Gaussian(np.zeros(4), 9.0), 2000
    target = GaussianMixture([0.3, 0.7], [np.full(4, -2.5), np.full(4, 2.5)], 1.0)
    chains = tempered_langevin(unnormalised(target, 5.0), n, start, n_levels=100, rng=0)
    share = np.mean(chains.samples.sum(1) < 0)
    # resampling correlates the chains: over 20 seeds the share is 0.298 with a standard deviation of 0.011
    assert abs(share - 0.3) < SE * 0.011 and chains.acceptance.shape == (n,) and 0.3 < chains.acceptance.mean() < 0.9
    plain = langevin(target, start.sample(n, rng=1), 0.5, 300, adjusted=True, rng=2)
    assert abs(np.mean(plain.samples.sum(1) < 0) - 0.3) > 0.1
    along = chains.samples[:, 0]
    law = lambda x: 0.3 * stats.norm.cdf(x, -2.5, 1) + 0.7 * stats.norm.cdf(x, 2.5, 1)
    assert stats.kstest(along, law).statistic < 0.06


def test_tempered_samples_of_nothing_and_twice_the_same():
    net = EnergyMLP.init(2, (8,), confinement=1.0, rng=0)
    none = tempered_langevin(net, 0, rng=0)
    assert none.samples.shape == (0, 2) and none.acceptance.shape == (0,) and none.trace is None
    once = tempered_langevin(net, 50, n_levels=10, n_steps=1, rng=3).samples  # the default
    a, b = (tempered_langevin(net, 50, n_levels=10, rng=3).samples for _ in range(2))
    assert np.array_equal(a, b) and np.array_equal(a, once) and a.shape == (50, 2)


def test_systematic_resampling_takes_each_row_as_often_as_its_weight_says():
    from numpyscore.sampling.annealing import _Way

    way = _Way("test", unnormalised(Gaussian(0.0, 1.0), 0.0), Gaussian(0.1, 1.0), None, 2, 1, 0)
    w = np.array([0.1, 0.0, 2.5, 1.4])
    with np.errstate(divide="ignore"):
        times = [np.bincount(way.resampled(np.log(w) + c), minlength=4) for c in (0.0, 800.0, -800.0)]
    assert all(t.sum() == 4 and np.all(np.abs(t - w) < 1) for t in times)
    _, log_w, _ = way.lead(
        50, way.tuned(), resample=True
    )  # where all weights are near 1 the last level resamples still
    assert not log_w.any() and way.lead(50, way.tuned())[1].any()


def test_a_function_that_gives_bare_functions_is_told_how_to_make_them_scores():
    with pytest.raises(TypeError, match=r"target\(2\).*SimpleNamespace\(score=s\)"):
        at_level("annealed_langevin", lambda sigma: lambda x: -x, 2.0)


def test_a_model_of_ones_own_needs_a_score_that_takes_sigma_and_no_word_about_it():
    target = at_level("annealed_langevin", SimpleNamespace(score=lambda x, sigma: -x / sigma**2), 2.0)
    assert np.array_equal(target.score(np.array([[8.0]])), [[-2.0]])


def test_one_chain_has_no_spread_to_tell_an_error_from():
    with pytest.raises(ValueError, match=r"annealed_importance_sampling: n_chains is 1, expected .* 2"):
        annealed_importance_sampling(unnormalised(Gaussian(0.0, 1.0), 0.0), Gaussian(0.0, 1.0), n_chains=1)


def test_the_error_is_that_of_a_mean_of_independent_weights(monkeypatch):
    """log of a mean: its standard error is that of the mean over the mean, with n - 1 in the variance; effective chains are (sum w)^2 / sum w^2."""
    from numpyscore.sampling.annealing import _Way

    w = np.array([1.0, 2.0, 6.0])
    monkeypatch.setattr(_Way, "lead", lambda self, n, steps: (None, 700 + np.log(w), None))
    target = unnormalised(Gaussian(0.0, 1.0), 0.0)
    found = annealed_importance_sampling(target, Gaussian(0.0, 1.0), n_chains=3, n_levels=2, rng=0)
    assert found.value == pytest.approx(700 + math.log(3))
    assert found.error == pytest.approx(stats.sem(w) / 3) and found.effective == pytest.approx(81 / 41)


def test_the_first_step_is_that_of_the_narrowest_coordinate(monkeypatch):
    """The least variance of the starts over d^(1/3), whichever coordinate it is; then it is tuned."""
    from numpyscore.sampling import annealing

    first = []

    def move(self, state, beta, step):
        first.append(step)
        return state, np.full(len(state.x), 0.57)  # Roberts & Rosenthal's rate: no step is changed

    monkeypatch.setattr(annealing._Way, "move", move)
    monkeypatch.setattr(annealing, "PILOT", 20_000)
    variance = np.array([4.0, 0.25, 1.0, 9.0, 2.0, 3.0, 7.0, 5.0])
    start = Gaussian(np.zeros(8), np.diag(variance))
    way = annealing._Way("test", unnormalised(start, 0.0), start, None, 5, 1, 0)
    steps = way.tuned()
    assert len(steps) == len(way.betas) - 1 and np.ptp(first) == 0 and len(first) == 5 + annealing.SEARCH
    assert first[0] == pytest.approx(0.25 / 2, rel=5 * math.sqrt(2 / annealing.PILOT))  # the variance of so many


def test_levels_are_squares_and_two_chains_have_a_spread():
    from numpyscore.sampling.annealing import _Way

    target, start = unnormalised(Gaussian(0.0, 1.0), 0.0), Gaussian(0.0, 1.0)
    np.testing.assert_allclose(
        _Way("test", target, start, None, 4, 1, 0).betas, [0, 1 / 16, 1 / 4, 9 / 16, 1], rtol=1e-15
    )
    found = annealed_importance_sampling(target, Gaussian(0.0, 2.0), n_chains=2, n_levels=2, rng=0)
    assert 1 <= found.effective <= 2 and np.isfinite(found.error)


def test_steps_grow_by_what_is_accepted_beyond_the_rate_and_acceptance_is_a_share(monkeypatch):
    """Of every move .8 accepted: a step of e^{.8 - .57} times the one before; n_steps moves a level, SEARCH more at the first."""
    from numpyscore.sampling import annealing

    moved = []

    def move(self, state, beta, step):
        moved.append(beta)
        return state, np.arange(len(state.x)) % 5 < 4

    monkeypatch.setattr(annealing._Way, "move", move)
    way = annealing._Way("test", unnormalised(Gaussian(0.0, 1.0), 0.0), Gaussian(0.0, 1.0), None, 3, 2, 0)
    steps = way.tuned()
    assert [moved.count(beta) for beta in way.betas] == [0, 2 + annealing.SEARCH, 2, 2]
    np.testing.assert_allclose(np.diff(np.log(steps)), 2 * (0.8 - 0.57), rtol=1e-12)
    _, _, acceptance = way.lead(10, steps)
    np.testing.assert_array_equal(acceptance, np.tile([1.0, 1.0, 1.0, 1.0, 0.0], 2))


@pytest.mark.parametrize("share, times", [(0.45, 4), (0.5, 1), (0.55, 1)])
def test_chains_are_resampled_below_half_of_them_and_at_the_end(share, times, monkeypatch):
    from numpyscore.sampling import annealing

    way, calls = annealing._Way("test", unnormalised(FAR, 0.0), Gaussian(np.zeros(4), 9.0), None, 4, 1, 0), []
    right = way.resampled
    monkeypatch.setattr(annealing, "_effective", lambda log_w: share * len(log_w))
    monkeypatch.setattr(way, "resampled", lambda log_w: (calls.append(log_w), right(log_w))[1])
    way.lead(40, way.tuned(), resample=True)
    assert len(calls) == times
