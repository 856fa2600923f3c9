"""`check_sampler`: adjusted chains are named by their acceptance at chosen pairs, preconditioned ones by the covariance of their noise."""

import numpy as np
import pytest
from scipy.special import ndtr

from numpyscore import check_sampler

SQUARE = lambda x: np.sum(x**2, axis=-1)


def log_q(to, of, score, step, var=None):
    """Langevin's proposal density."""
    return -SQUARE(to - of - step * score(of)) / (2 * (2 * step if var is None else var))


def mala(ratio=None, decide=None, move=None):
    """A Metropolis-adjusted step written with an energy: `ratio` (x, y, energy, score, h), `decide` (log ratio, rng), `move` (y, x, accepted)."""
    right = lambda x, y, E, s, h: E(x) - E(y) + log_q(x, y, s, h) - log_q(y, x, s, h)
    uniform = lambda r, rng: np.log(rng.random(len(r))) < r

    def step(x, score, h, energy, rng):
        y = x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
        accepted = (decide or uniform)((ratio or right)(x, y, energy, score, h), rng)
        return np.where(np.reshape(accepted, (-1, 1)), y, x)

    return step


Q = lambda x, y, s, h, c=1.0, var=None: log_q(x, y, s, c * h, var) - log_q(y, x, s, c * h, var)
ADJUSTED = {
    "sign of the ratio": mala(lambda x, y, E, s, h: E(y) - E(x) - Q(x, y, s, h)),
    "no proposal density": mala(lambda x, y, E, s, h: E(x) - E(y)),
    "proposal density upside down": mala(lambda x, y, E, s, h: E(x) - E(y) - Q(x, y, s, h)),
    "sign of log p": mala(lambda x, y, E, s, h: E(y) - E(x) + Q(x, y, s, h)),
    "no target density": mala(lambda x, y, E, s, h: Q(x, y, s, h)),
    "step of the proposal density": mala(lambda x, y, E, s, h: E(x) - E(y) + Q(x, y, s, h, 0.5)),
    "variance of the proposal density": mala(lambda x, y, E, s, h: E(x) - E(y) + Q(x, y, s, h, 1, h)),
    "score at the old point": mala(lambda x, y, E, s, h: E(x) - E(y) - SQUARE(x - y - h * s(x)) / (4 * h) + SQUARE(y - x - h * s(x)) / (4 * h)),
    "drift forgotten in q(x|y)": mala(lambda x, y, E, s, h: E(x) - E(y) - SQUARE(x - y) / (4 * h) - log_q(y, x, s, h)),
    "scale of the ratio": mala(lambda x, y, E, s, h: 0.5 * (E(x) - E(y) + Q(x, y, s, h))),
    "temperature": mala(lambda x, y, E, s, h: 2 * (E(x) - E(y)) + Q(x, y, s, h)),
    "averaged over dimensions": mala(lambda x, y, E, s, h: (E(x) - E(y) + Q(x, y, s, h)) / x.shape[1]),
    "not adjusted": mala(decide=lambda r, rng: rng.random(len(r)) < np.inf),
    "acceptance reversed": mala(decide=lambda r, rng: np.log(rng.random(len(r))) > r),
    "no exponential": mala(decide=lambda r, rng: rng.random(len(r)) < r),
    "normal for uniform": mala(decide=lambda r, rng: rng.standard_normal(len(r)) < np.exp(r)),
    "threshold": mala(decide=lambda r, rng: r > 0),
    "half of the proposals": mala(decide=lambda r, rng: rng.random(len(r)) < 0.5),
    "rejected states dropped": None,
    "follows no known rule": None,
    "one uniform number is drawn": mala(decide=lambda r, rng: np.log(rng.random()) < r),
    "one decision for all chains": mala(decide=lambda r, rng: np.full(len(r), np.log(rng.random()) < r.sum())),
}  # fmt: skip


def until_accepted(x, score, h, energy, rng):
    out = np.full(x.shape, np.nan)
    while (todo := np.isnan(out[:, 0])).any():
        y = mala()(x[todo], score, h, energy, rng)
        out[todo] = np.where(np.any(y != x[todo], axis=1, keepdims=True), y, np.nan)
    return out


def coupled(x, score, h, energy, rng):
    """The number of the acceptance is made of the proposal's, as with one key for both."""
    z = rng.standard_normal(x.shape)
    y = x + h * score(x) + np.sqrt(2 * h) * z
    r = energy(x) - energy(y) + log_q(x, y, score, h) - log_q(y, x, score, h)
    return np.where((np.log(ndtr(z[:, :1])) < r[:, None]), y, x)


ADJUSTED |= {"rejected states dropped": until_accepted, "follows no known rule": coupled}


def one_noise(x, score, h, energy, rng):
    """The same random numbers for each chain, as with one key mapped over them."""
    seed = int(rng.integers(1 << 31))
    return np.concatenate([mala()(row[None], score, h, energy, np.random.default_rng(seed)) for row in x])


def test_an_adjusted_step_with_one_noise_for_all_chains_is_named_at_once():
    """Where nearly every proposal is accepted it went to the law, and was a wrong one."""
    report = check_sampler(one_noise, discretisation="adjusted", step_size=0.2, n=200)
    assert report.verdict == "FAIL" and report.name == "shared noise", report


@pytest.mark.parametrize("name", ADJUSTED)
def test_a_wrong_acceptance_is_called_by_its_name(name):
    report = check_sampler(ADJUSTED[name], discretisation="adjusted", step_size=0.8, n=6000)
    assert report.verdict == "FAIL" and name in report.diagnosis, report
    assert report.diagnosis.count("-- or --") <= 1, report


def halved(x, score, h, energy, rng):
    """x + h/2 s + sqrt(h) z, with the density of that."""
    return mala()(x, score, h / 2, energy, rng)


def random_walk(x, score, h, logpdf, rng):
    y = x + np.sqrt(2 * h) * rng.standard_normal(x.shape)
    return np.where((np.log(rng.random(len(x))) < logpdf(y) - logpdf(x))[:, None], y, x)


def hamiltonian(x, score, h, energy, rng, last=0.5, length=0.5):
    """Three leapfrog steps: its acceptance is that of the momenta, and no formula of the table."""
    e, q = np.sqrt(2 * h) * length, x
    start = rng.standard_normal(x.shape)
    p = start + e / 2 * score(q)
    for k in range(3):
        q = q + e * p
        p = p + (e if k < 2 else e * last) * score(q)
    r = energy(x) - energy(q) + SQUARE(start) / 2 - SQUARE(p) / 2
    return np.where((np.log(rng.random(len(x))) < r)[:, None], q, x)


def one_coordinate(x, score, h, energy, rng):
    """Random scan: half as fast as a walk of all coordinates."""
    y = x.copy()
    y[np.arange(len(x)), rng.integers(x.shape[1], size=len(x))] += np.sqrt(4 * h) * rng.standard_normal(len(x))
    return np.where((np.log(rng.random(len(x))) < energy(x) - energy(y))[:, None], y, x)


def to_the_mean(x, score, h, energy, rng):
    """MALA that returns the proposal without its noise where it rejects."""
    y = mala()(x, score, h, energy, rng)
    return np.where(y == x, x + h * score(x), y)


HIDDEN = np.random.default_rng(3)
RIGHT = {
    "metropolis": mala(),
    "barker": mala(decide=lambda r, rng: rng.random(len(r)) < 1 / (1 + np.exp(-r))),
    "half the step": halved,
    "random walk": random_walk,
    "hamiltonian": hamiltonian,
    "one coordinate at a time": one_coordinate,
    "unseeded": lambda x, score, h, energy: mala()(x, score, h, energy, HIDDEN),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_acceptance_passes(name):
    report = check_sampler(RIGHT[name], discretisation="adjusted", step_size=0.8, n=6000)
    assert report, report


def test_mistakes_that_hide_at_the_step_that_was_given_show_at_longer_ones():
    """At step 0.2 their variances are off by 1.6 and 1.5 %, below what 20000 chains resolve: both passed."""
    without = lambda x, score, h, energy, rng: hamiltonian(x, score, h, energy, rng, 1.0, 1.0)
    whole = lambda x, score, h, energy, rng: hamiltonian(x, score, h, energy, rng, 0.5, 1.0)
    report = check_sampler(without, discretisation="adjusted", n=6000)
    assert report.verdict == "FAIL" and "half step" in report.diagnosis, report
    assert check_sampler(whole, discretisation="adjusted", n=6000)
    report = check_sampler(to_the_mean, discretisation="adjusted", step_size=0.5, n=6000)
    assert report.name == "rejection" and "x + step score" in report.diagnosis, report


def test_half_the_log_density_is_a_temperature_in_proposal_and_ratio():
    """It was a wrong law: the proposal x + step/2 score + sqrt(2 step) z was not among those known."""
    half = lambda x, score, h, energy, rng: mala()(x, lambda y: score(y) / 2, h, lambda y: energy(y) / 2, rng)
    report = check_sampler(half, discretisation="adjusted", step_size=0.8, n=6000)
    assert report.verdict == "FAIL" and "temperature" in report.diagnosis, report


M = np.array([[2.0, 0.6], [0.6, 0.5]])
ROOT = np.linalg.cholesky(M)


def preconditioned(noise):
    return lambda x, score, h, rng: x + h * score(x) @ M + np.sqrt(2 * h) * rng.standard_normal(x.shape) @ noise.T


PRECONDITIONED = {
    "preconditioner without its root": preconditioned(M),
    "preconditioner not in the noise": preconditioned(np.eye(2)),
    "temperature": preconditioned(ROOT / np.sqrt(2)),
}


@pytest.mark.parametrize("name", PRECONDITIONED)
def test_the_noise_of_a_preconditioned_step_is_named(name):
    """torch code that multiplies the noise by the preconditioner was a chain with a wrong law."""
    report = check_sampler(PRECONDITIONED[name])
    assert report.verdict == "FAIL" and report.name == name, report


def test_a_preconditioned_step_with_the_root_in_its_noise_passes():
    assert (
        check_sampler(preconditioned(ROOT))
        and check_sampler(preconditioned(np.diag([1.5, 0.3]) @ np.eye(2)), n=200) is not None
    )
    diagonal = np.diag([2.0, 0.25])
    step = lambda x, score, h, rng: (
        x + h * score(x) @ diagonal + np.sqrt(2 * h) * rng.standard_normal(x.shape) @ np.sqrt(diagonal)
    )
    assert check_sampler(step)


def unadjusted(drift=lambda s: s, after=lambda y, x: y):
    return lambda x, score, h, rng: after(x + h * drift(score(x)) + np.sqrt(2 * h) * rng.standard_normal(x.shape), x)


BENT = {
    "drift, clipped": unadjusted(lambda s: np.clip(s, -0.3, 0.3)),
    "drift, normalised": unadjusted(lambda s: s / np.linalg.norm(s, axis=1, keepdims=True)),
    "drift, tanh": unadjusted(np.tanh),
    "state clipped": unadjusted(after=lambda y, x: np.clip(y, -1, 1)),
    "step clipped": unadjusted(after=lambda y, x: x + np.clip(y - x, -0.5, 0.5)),
    "frozen": unadjusted(after=lambda y, x: np.column_stack([y[:, 0], x[:, 1]])),
}


@pytest.mark.parametrize("name", BENT)
def test_a_drift_that_is_no_multiple_of_the_score_is_named(name):
    report = check_sampler(BENT[name], n=4000)
    assert report.verdict == "FAIL" and report.name == name, report


def test_three_dimensions_and_one():
    euler = lambda x, score, h, rng: x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
    for dim in (1, 3):
        assert check_sampler(euler, dim=dim, n=4000)
        assert check_sampler(mala(), dim=dim, n=4000, discretisation="adjusted")
