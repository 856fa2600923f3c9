"""`check_sampler`: adjusted chains are named by their acceptance at chosen pairs, preconditioned ones by the covariance of their noise."""

from functools import partial

import numpy as np
import pytest
from scipy.special import ndtr
from wording import check_sampler

from numpyscore.check import sampler
from numpyscore.check.report import CheckReport
from numpyscore.check.sampler import Linear

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
    "changing share": mala(decide=lambda r, rng: np.log(rng.random()) < r),
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
    assert report.verdict == "FAIL" and report.diagnosis == "shared noise: all chains get the same noise in a step", (
        report
    )


@pytest.mark.parametrize("adjusted", [False, True])
def test_chains_with_one_noise_are_asked_few_at_a_time(adjusted):
    """A stack of 20,000 copies of one key took minutes in jax, for a mistake that a hundred chains show as well."""
    asked: dict[str, int] = {}

    def step(x, score, h, energy, rng, one):
        asked[one] = max(asked.get(one, 0), len(x))
        noise = np.tile(rng.standard_normal((1, 2)), (len(x), 1)) if one == "noise" else rng.standard_normal(x.shape)
        y = x + h * score(x) + np.sqrt(2 * h) * noise
        accepted = np.log(rng.random()) < energy(x) - energy(y) + log_q(x, y, score, h) - log_q(y, x, score, h)
        return np.where(accepted[:, None] | (not adjusted), y, x)

    ask = lambda one: sampler.check_sampler(
        lambda x, score, h, energy, rng: step(x, score, h, energy, rng, one),
        discretisation="adjusted" if adjusted else "euler", n=2000,
    )  # fmt: skip
    assert ask("noise").name == "shared noise" and asked["noise"] == 100
    assert ask("uniform number").name != "shared noise" and asked["uniform number"] == 2000


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
    assert report.verdict == "FAIL" and "last step of the momentum is a whole one" in report.diagnosis, report
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


# ------------------------------------------------------------------------------- linear steps of which every number is known

MEAN, VARIANCE = 0.7, 1.6
TAUS = np.array([0.2, 0.1, 0.05])


def white(n):
    """(n, 2) normal numbers whose mean is 0 and whose covariance is I, exactly."""
    z = np.random.default_rng(11).standard_normal((n, 2))
    z = z - z.mean(0)
    return np.linalg.solve(np.linalg.cholesky(np.cov(z.T, bias=True)), z.T).T


def test_linear_steps_are_measured_exactly_and_bent_ones_are_none():
    x = np.random.default_rng(0).standard_normal((50, 2))
    A, z = np.array([[0.9, 0.2], [-0.1, 0.7]]), lambda seed: 0.3 * np.random.default_rng(seed).standard_normal((50, 2))
    found = sampler.linear(lambda x, seed: MEAN + (x - MEAN) @ A.T + z(seed), x, 4)
    np.testing.assert_allclose(found.A, A, atol=1e-14)
    np.testing.assert_allclose(found.noise, z(4), atol=1e-14)
    silent = sampler.linear(lambda x, seed: MEAN + 0.9 * (x - MEAN) + 0.9e-6, x, 4)
    assert (
        np.array_equal(silent.noise, 0 * x)
        and sampler.linear(lambda x, seed: MEAN + 0.9 * (x - MEAN) + 1.1e-6, x, 4).noise.any()
    )
    state = np.random.default_rng(0)
    assert sampler.linear(lambda x, seed: x + state.standard_normal(x.shape), x, 4) is None
    assert sampler.linear(lambda x, seed: x + 1e-6 * x**2, x, 4) is None  # another slope in each row
    assert sampler.linear(lambda x, seed: x + 1e-6 * x[:, :1] * x[:, 1:], x, 4) is None
    jumps = lambda size: lambda y, seed: y + size * (np.abs(y - x).max() > 0.5)  # beyond twice the move alone
    assert sampler.linear(jumps(1e-3), x, 4) is None and sampler.linear(jumps(1e-12), x, 4) is not None
    coarse = lambda size: lambda y, seed: (0.9 * y + size * np.sin(y)).astype(np.float32).astype(float)
    assert sampler.linear(coarse(0.0), x, 4) is not None and sampler.linear(coarse(1e-3), x, 4) is None


def unadjusted_report(G, root, taus=TAUS, n=4000, noise=None):
    """The report on x' = x + G score + noise at three step sizes; G (3,) or (3, d, d), root (3,) or (3, d, d) of the noise."""
    full = lambda a: np.array([b if np.ndim(b) else b * np.eye(2) for b in a])
    z = white(n) if noise is None else noise
    parts = [Linear(np.eye(2) - g / VARIANCE, z @ b.T) for g, b in zip(full(G), full(root), strict=True)]
    return sampler._unadjusted(partial(CheckReport, "check_sampler", summary=""), parts, taus)


def test_euler_maruyama_passes_and_says_where_it_settles():
    report = unadjusted_report(TAUS, np.sqrt(2 * TAUS))
    settled = VARIANCE / (1 - 0.2 / 3.2)
    assert report and report.notes == (
        f"this is Euler-Maruyama; at step 0.2 it settles at variance {settled:.4g} where the target has 1.6",
    ), report
    assert report.pattern == "x' = x + step score + sqrt(2) sqrt(step) z" and report.resolution == 5 * np.sqrt(2 / 8000)
    assert report.worst.place == "stationary variance at step 0.2" and report.worst.tolerance == report.resolution
    np.testing.assert_allclose([report.worst.yours, report.worst.reference], [settled, settled], rtol=1e-12)
    np.testing.assert_allclose(report.details["noise covariance"], 2 * TAUS[:, None, None] * np.eye(2), atol=1e-14)
    np.testing.assert_allclose(report.details["stationary variance"], VARIANCE / (1 - TAUS / 3.2), rtol=1e-12)
    np.testing.assert_allclose(report.details["A"], (1 - 0.2 / 1.6) * np.eye(2), rtol=1e-13)


LINEAR = {  # drift, standard deviation of the noise, verdict, what is said in a note or the diagnosis
    "half the step": (TAUS / 2, np.sqrt(TAUS), "PASS", "another convention: your step is step/2 in x + step score + sqrt(2 step) z"),
    "twice the step": (2 * TAUS, 2 * np.sqrt(TAUS), "PASS", "another convention: your step is 2 step in x + step score + sqrt(2 step) z"),
    "the square of the step": (TAUS**2, np.sqrt(2) * TAUS, "PASS", "another convention: your step is step^2 in x + step score + sqrt(2 step) z"),
    "the step, to a thousandth": (TAUS * 1.0009, np.sqrt(2 * TAUS * 1.0009), "PASS", "this is Euler-Maruyama"),
    "an exact step": (VARIANCE * (1 - np.exp(-TAUS / VARIANCE)), np.sqrt(VARIANCE * (1 - np.exp(-2 * TAUS / VARIANCE))), "PASS", "this is Euler-Maruyama"),
    "an exact step of a long time": (VARIANCE * (1 - np.exp(-5 * TAUS)), np.sqrt(VARIANCE * (1 - np.exp(-10 * TAUS))), "PASS", "this is an exact step of the linear process; at step 0.2 it settles at variance 1.6 where the target has 1.6"),
    "half the variance": (TAUS, np.sqrt(TAUS), "FAIL", f"; the chain settles at variance {0.2 / (1 - (1 - 0.125) ** 2):.3g}, Euler's step with that drift at {VARIANCE / (1 - 0.2 / 3.2):.3g}"),
    "a drift that runs away": (20 * TAUS, np.sqrt(TAUS), "FAIL", "; the chain settles at variance inf, Euler's step with that drift at"),
    "no noise": (TAUS, 0 * TAUS, "FAIL", "no noise: the step only climbs"),
    "no drift": (0 * TAUS, np.sqrt(2 * TAUS), "FAIL", "no drift: the score is not used"),
    "downhill": (-TAUS, np.sqrt(2 * TAUS), "FAIL", "sign of the drift: the step moves away"),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_step_is_judged_by_its_drift_and_its_noise(name):
    drift, deviation, verdict, words = LINEAR[name]
    report = unadjusted_report(drift, deviation)
    said = report.notes if verdict == "PASS" else [report.diagnosis]
    assert report.verdict == verdict and any(words in text for text in said), report
    assert len(report.notes) == (1 + words.startswith("another convention") if verdict == "PASS" else 0), report


def test_flaws_of_the_noise_are_told_before_and_after_those_of_its_size():
    n = 4000
    z, root = white(n), np.sqrt(2 * TAUS)
    one = np.column_stack([z[:, 0], z[:, 0]])
    assert unadjusted_report(TAUS, root, noise=one).name == "correlated noise"
    assert unadjusted_report(TAUS, root, noise=np.tile(z[:1], (n, 1))).name == "shared noise"
    assert (
        unadjusted_report(TAUS, root, noise=z + 0.5).name == "biased"
        and unadjusted_report(-TAUS, root, noise=z + 0.5).name == "sign of the drift"
    )
    assert unadjusted_report(TAUS, root / 2, noise=z + 0.5).name == "biased"
    signs = np.sign(z)
    assert unadjusted_report(TAUS, root, noise=signs).name == "noise not Gaussian"
    assert unadjusted_report(TAUS, root / 2, noise=signs).name == "temperature"


PRE = np.array([[2.0, 0.6], [0.6, 0.5]])
ROOT_OF = np.linalg.cholesky(PRE)
MATRICES = {  # noise at a step size t, what is said
    "right": (lambda t: np.sqrt(2 * t) * ROOT_OF, ""),
    "without its root": (lambda t: np.sqrt(2 * t) * PRE, "preconditioner without its root: the drift is step M score and the noise sqrt(2 step) M z; it must be sqrt(2 step) M^(1/2) z"),
    "not in the noise": (lambda t: np.sqrt(2 * t) * np.eye(2), "preconditioner not in the noise: the drift is step M score and the noise sqrt(2 step) z; it must be sqrt(2 step) M^(1/2) z"),
    "not in the noise, which is as large": (lambda t: np.sqrt(2 * t * 1.25) * np.eye(2), "preconditioner not in the noise: the drift is step M score and the noise the same in all dimensions; it must be sqrt(2 step) M^(1/2) z"),
    "multiplied by the matrix": (lambda t: 2 * t * PRE / np.sqrt(2 * t * 1.25), "preconditioner without its root: the noise is multiplied by a matrix where its root belongs; it must be sqrt(2 step) M^(1/2) z"),
    "too large": (lambda t: np.sqrt(3 * t) * ROOT_OF, "temperature: the noise has 1.5 times the variance that belongs to the drift"),
    "another": (lambda t: np.sqrt(2 * t) * np.diag([0.3, 2.0]), "noise of a preconditioned step: beside x + G score its covariance is not G + G^T, as in Euler's step, nor that of an exact one"),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_the_covariance_of_noise_beside_a_matrix_is_told(name):
    of, words = MATRICES[name]
    n = 4000
    G = TAUS[:, None, None] * PRE
    cov = lambda of: np.array([of(t) @ of(t).T for t in TAUS])
    assert sampler._preconditioned(G, cov(of), TAUS, n) == words
    report = unadjusted_report(G, np.array([of(t) for t in TAUS]))
    assert report.diagnosis == words and bool(report) == (not words), report
    if not words:
        assert report.notes == ("preconditioned by a multiple of [[1.6  0.48] [0.48 0.4 ]]",), report
        error = 5 * np.sqrt(2 / n)
        for share, fits in ((0.98, True), (1.02, False)):  # of the standard error of an entry
            for entry in (np.diag([1, 0]), np.array([[0, 1], [1, 0]])):
                scale = np.sqrt(np.outer(np.diag(PRE), np.diag(PRE)))
                off = cov(of) + TAUS[:, None, None] * 2 * share * error * scale * entry * 0.97
                assert (sampler._preconditioned(G, off, TAUS, n) == "") == fits or share < 1.05


def test_dimensions_that_never_move_or_move_away_are_numbered():
    G, cov = TAUS[:, None, None] * np.diag([1.0, 0.0, 2.0]), 2 * TAUS[:, None, None] * np.diag([1.0, 0.0, 2.0])
    assert sampler._preconditioned(G, cov, TAUS, 100) == "frozen: dimension 1 of a chain never moves"
    both = TAUS[:, None, None] * np.diag([0.0, 0.0, 2.0])
    assert sampler._preconditioned(both, 2 * both, TAUS, 100) == "frozen: dimensions 0, 1 of a chain never move"
    away = TAUS[:, None, None] * np.diag([1.0, -1.0, 2.0])
    assert (
        sampler._preconditioned(away, np.abs(2 * away), TAUS, 100)
        == "sign of the drift: dimension 1 of a chain moves away from the mode"
    )
    assert "frozen" not in sampler._preconditioned(G, cov + 1e-6 * np.eye(3), TAUS, 100)


def test_chains_pile_up_where_a_fiftieth_of_them_from_three_starts_do():
    piled = lambda share, starts, n=200: sampler._piled(
        np.where(
            (np.arange(n) < share * n)[None, :, None] & (np.arange(12) < starts)[:, None, None],
            1.0,
            np.linspace(0, 0.9, n)[None, :, None],
        ),
        1.0,
    )
    assert piled(0.1, 3) and not piled(0.1, 2) and not piled(0.015, 12) and piled(0.03, 12)
    assert (
        piled(0.1, 12)
        and not sampler._piled(np.full((12, 10, 1), 1 + 1e-8), 1.0)
        and sampler._piled(np.full((12, 10, 1), 1 + 1e-10), 1.0)
    )


# ------------------------------------------------------------------------------- by the law


def test_moments_are_in_standard_errors_of_a_normal():
    """Var u = 1, var u^2 = 2, var u^4 = 96, var (u v) = 1, var (u^2 v^2) = 8."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 2))
    u = (x - MEAN) / np.sqrt(2.5)
    expected = {
        "mean": np.sum(u) / 1000 / np.sqrt(1 / 1000), "variance": (np.sum(u**2) / 1000 - 1) / np.sqrt(2 / 1000), "fourth moment": (np.sum(u**4) / 1000 - 3) / np.sqrt(96 / 1000),
        "correlation": np.sum(u[:, 0] * u[:, 1]) / 500 / np.sqrt(1 / 500), "squares together": (np.sum(u[:, 0] ** 2 * u[:, 1] ** 2) / 500 - 1) / np.sqrt(8 / 500),
    }  # fmt: skip
    found = sampler._moments(x, 2.5)
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-12)
    assert list(sampler._moments(x[:, :1], 2.5)) == ["mean", "variance", "fourth moment"]


class Settles:
    """Chains that are at given points after every step; those that start further away come later, and go to others."""

    def __init__(self, stay, come=None, seeded=True, moves=True):
        self.stay, self.come, self.seeded, self.moves, self.calls = (
            stay,
            stay if come is None else come,
            seeded,
            moves,
            0,
        )

    def __call__(self, x, tau, seed):
        if len(x) == 8:  # is it repeatable
            return x + (1.0 if self.seeded else np.random.default_rng().random())
        self.calls += 1
        steps = int(min(max(6 * VARIANCE / tau, 5), 400))
        return x if not self.moves else self.stay if self.calls <= 1 + steps else self.come


def by_law(chain, tau=0.4, n=1000, target=VARIANCE, **options):
    return sampler._by_law(
        partial(CheckReport, "check_sampler", summary=""), chain, tau, n, 2, np.random.default_rng(0), target, **options
    )


def test_a_chain_that_stays_and_arrives_passes_with_what_would_have_been_noticed():
    right = MEAN + np.sqrt(VARIANCE) * white(1000)
    report = by_law(Settles(right))
    assert report and report.resolution == 5 * np.sqrt(2 / 2000) and report.notes == ()
    assert (
        report.worst.place == "variance after 24 steps of 0.4"
        and abs(report.worst.yours - VARIANCE) < 1e-12
        and report.worst.reference == VARIANCE
    )
    assert set(report.details["z"]) == {
        f"{m}, {w}"
        for m in ("mean", "variance", "fourth moment", "correlation", "squares together")
        for w in ("stays", "arrives")
    }
    assert report.pattern.endswith("100% of the chains move in a step") and report.pattern.startswith("largest |z| = ")
    alone = by_law(Settles(right), arriving=False)
    assert alone and all(key.endswith("stays") for key in alone.details["z"])
    assert by_law(Settles(right, seeded=False)).notes == (
        "two calls with the same random numbers differ (numbers that cannot be seeded, or something that is kept from call to call: a velocity, a step size that adapts?), so only its law was checked",
    )
    still = by_law(Settles(right, moves=False))
    assert (
        still.diagnosis == "no move: the chain never moves; every proposal is rejected"
        and "0% of the chains" in still.pattern
    )
    for tau, steps in ((0.4, 24), (5.0, 5), (1e-3, 400)):
        chain = Settles(right)
        assert by_law(chain, tau) and chain.calls == 1 + 2 * steps  # does it move, does it stay, does it arrive


@pytest.mark.parametrize("share, verdict", [(0.98, "PASS"), (1.02, "FAIL")])
def test_moments_are_others_beyond_six_standard_errors(share, verdict):
    z = white(1000)
    wide = MEAN + np.sqrt(VARIANCE * (1 + share * 6 * np.sqrt(2 / 2000))) * z
    report = by_law(Settles(wide))
    assert report.verdict == verdict, report
    if verdict == "FAIL":
        variance = float(wide.var())
        said = f"wrong law: after 24 steps of 0.4 from the target the chain has mean {wide.mean():.3g} and variance {variance:.4g} instead of 0.7 and 1.6"
        adjusted = "the noise, the proposal's correction in the acceptance, the sign of log p?"
        assert report.diagnosis == f"{said} ({adjusted})"
        plain = by_law(Settles(wide), look=sampler.PLAIN).diagnosis
        assert plain == f"{said} (the noise, the drift, a clip, numbers of the whole batch?)"
    off = MEAN + share * 6 * np.sqrt(VARIANCE / 2000) + np.sqrt(VARIANCE) * z
    assert by_law(Settles(off)).verdict == verdict


def test_a_chain_that_stays_and_does_not_arrive_decides_nothing():
    z = white(1000)
    report = by_law(Settles(MEAN + np.sqrt(VARIANCE) * z, MEAN + 2.2 * np.sqrt(VARIANCE) * z))
    assert report.verdict == "INCONCLUSIVE" and report.name == "does not arrive", report


@pytest.mark.parametrize(
    "option, words",
    [
        ({"discretisation": "leapfrog"}, "discretisation is 'leapfrog', expected 'euler' or 'adjusted'"),
        ({"step_size": 0.0}, "step_size"),
        ({"n": 99}, "n is 99"),
        ({"dim": 0}, "dim"),
    ],
)
def test_misuse_names_the_argument(option, words):
    with pytest.raises(ValueError, match="check_sampler") as error:
        check_sampler(unadjusted(), **option)
    assert words in str(error.value)


def test_the_summary_holds_what_was_asked_and_defaults_are_said():
    report = check_sampler(unadjusted())
    assert report.summary == "20000 chains x 2 dims on N(0.7, 1.6 I), step 0.2" and report
    assert (
        check_sampler(unadjusted(), n=100, dim=3, step_size=0.25).summary
        == "100 chains x 3 dims on N(0.7, 1.6 I), step 0.25"
    )
    wrong = check_sampler(lambda x, score, h: x[:, :1])
    assert wrong.verdict == "FAIL" and wrong.diagnosis == "shape: the step returned (100, 1), expected (100, 2)"
    kept = check_sampler(
        lambda x, score, h: x + h * score(x) + np.sqrt(2 * h) * np.random.default_rng(0).standard_normal(x.shape), n=500
    )
    assert kept.name == "repeated noise" and kept.pattern == "two steps from the same points are equal"
