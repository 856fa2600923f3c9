"""Steps of samplers: the known ones against the formulas of their papers, every change against its words, and what is said of a step's noise."""

import inspect
import itertools

import numpy as np
import pytest

from numpyscore.check.reverse import slopes
from numpyscore.check.sampler import Chain
from numpyscore.check.steps import (
    CHANGES,
    KNOWN_STEPS,
    Flaw,
    Place,
    Step,
    changed,
    in_words,
    langevin_flaw,
    noise_flaw,
    sets_of_changes,
)

C, S = np.array([0.5, 0.8, 0.9]), np.array([0.8, 0.6, 0.4])  # scale and noise, the noisiest first
D, T = np.array([0.8, 0.9, 0.97]), np.array([0.6, 0.4, 0.1])  # of the next level
P = Place(C, S, D, T)
STEP = {step.name: step for step in KNOWN_STEPS}
RATIO = D / C


def coefficients(step):
    """alpha, gamma of each call, b^2 of a step (x, scores, z) -> x' that is linear in all of them, by unit inputs."""
    zero, one, n = 0 * C, 1 + 0 * C, 2
    unit = lambda k: [one if j == k else zero for j in range(n)]
    gamma = [step(zero, unit(k), zero) for k in range(n)]
    return (
        step(one, [zero] * n, zero),
        gamma[0] if not gamma[1].any() else tuple(gamma),
        step(zero, [zero] * n, one) ** 2,
    )


def posterior(x, S_k, z, var=None):
    """Algorithm 2 of Ho, Jain & Abbeel: Bayes' rule of x' ~ N(d x_0, t^2) and x ~ N((c/d) x', s^2 - (c t/d)^2)."""
    x_0, added = (x + S**2 * S_k[0]) / C, S**2 - (C * T / D) ** 2
    precision = 1 / T**2 + (C / D) ** 2 / added
    return (D * x_0 / T**2 + C / D * x / added) / precision + (np.sqrt(1 / precision) if var is None else var) * z


BETA = S**2 - (C * T / D) ** 2  # variance that the forward step x = (c/d) x' + sqrt(beta) z adds
SDE = 1 - (C / D) ** 2  # beta of dx = -beta/2 x dt + sqrt(beta) dw, where (c/d)^2 = 1 - beta


def heun_in_noise(x, S_k, z):
    """y = x/c obeys dy/d rho = eps, rho = sigma/c."""
    slope = (-S * S_k[0] - T * S_k[1]) / 2
    return D * (x / C + (T / D - S / C) * slope)


def heun_on_line(x, S_k, z):
    h, velocity = T - S, lambda x, c, s, score: -(x + s * score) / c
    first = velocity(x, C, S, S_k[0])
    return x + h * (first + velocity(x + h * first, D, T, S_k[1])) / 2


FORMULAS = {  # kind, step
    "an ancestral step (posterior variance)": ("ancestral", posterior),
    "an ancestral step with the forward variance beta": ("ancestral", lambda x, s, z: posterior(x, s, z, np.sqrt(BETA))),
    "DDIM, the probability flow in sigma / c": ("ddim", lambda x, s, z: D * (x + S**2 * s[0]) / C - T * S * s[0]),
    "a reverse-diffusion step": ("euler", lambda x, s, z: x - (C / D - 1) * x + BETA * s[0] + np.sqrt(BETA) * z),
    "an Euler-Maruyama step of the reverse SDE": ("euler", lambda x, s, z: x + SDE / 2 * x + BETA * s[0] + np.sqrt(BETA) * z),
    "an Euler step of the probability flow": ("euler", lambda x, s, z: x + SDE / 2 * x + BETA / 2 * s[0]),
    "a reverse-diffusion step of the probability flow": ("euler", lambda x, s, z: x - (C / D - 1) * x + BETA / 2 * s[0]),
    "an Euler-Maruyama step of the reverse SDE in continuous time": ("euler", lambda x, s, z: x + np.log(D / C) * (x + 2 * s[0]) + np.sqrt(2 * np.log(D / C)) * z),
    "an Euler step of the probability flow in continuous time": ("euler", lambda x, s, z: x + np.log(D / C) * (x + s[0])),
    "an Euler-Maruyama step of the reverse SDE in sigma": ("euler", lambda x, s, z: D / C * x - 2 * S * (T - S) * s[0] + np.sqrt(-2 * S * (T - S)) * z),
    "Heun's step of the probability flow": ("heun", heun_in_noise),
    "Heun's step along a straight path": ("heun", heun_on_line),
}  # fmt: skip


def assert_same(found, expected):
    """(alpha, gamma, b^2), to round-off."""
    assert isinstance(found[1], tuple) == isinstance(expected[1], tuple)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_known_steps_are_the_formulas_of_their_papers():
    assert list(STEP) == list(FORMULAS)
    for name, (kind, formula) in FORMULAS.items():
        assert STEP[name].kind == kind and STEP[name].levels == ((0, 1) if kind == "heun" else (0,))
        assert_same(STEP[name].of(P), coefficients(formula))
    with pytest.raises(AssertionError):  # control: the variance of one is not that of the other
        assert_same(STEP["an ancestral step (posterior variance)"].of(P), STEP["a reverse-diffusion step"].of(P))


def test_time_is_known_where_the_scale_grows_alone():
    clock = Place(np.array([0.5, 0.5, 1.0]), S, np.array([0.6, 0.5, 0.9]), T).clock
    assert clock[0] == np.log(0.6 / 0.5) and np.isnan(clock[1:]).all()


NEXT_D, NEXT_T = np.array([0.9, 0.97, 0.97]), np.array([0.4, 0.1, 0.1])
ONE = np.ones(3)
ELSEWHERE = {  # the level and the next that are used
    "sigma of the next level where that of this one belongs": (C, T, D, T),
    "sigma of this level where that of the next one belongs": (C, S, D, S),
    "this level and the next one exchanged": (D, T, C, S),
    "levels shifted by one: those of the step after this one": (D, T, NEXT_D, NEXT_T),
    "levels shifted by one: those of the step after this one, the last of them data without noise": (
        D,
        T,
        np.append(D[1:], 1.0),
        np.append(T[1:], 0.0),
    ),
    "a level skipped: the one after the next stands where the next one belongs": (C, S, NEXT_D, NEXT_T),
    "alpha_bar in place of its root": (C**2, S, D**2, T),
    "the root of c taken once more": (C**0.5, S, D**0.5, T),
    "sigma^2 in place of sigma": (C, S**2, D, T**2),
    "the root of sigma in place of sigma": (C, S**0.5, D, T**0.5),
    "sigma^2 in place of sigma, at this level": (C, S**2, D, T),
    "sigma^2 in place of sigma, at the next level": (C, S, D, T**2),
    "alpha_bar in place of its root, at this level": (C**2, S, D, T),
    "alpha_bar in place of its root, at the next level": (C, S, D**2, T),
    "alpha of the single step in place of alpha_bar, the product of all": (
        C / D,
        np.sqrt(1 - (C / D) ** 2),
        D / np.append(D[1:], 1),
        np.sqrt(1 - (D / np.append(D[1:], 1)) ** 2),
    ),
    "x_0 not scaled: c of this level left out": (ONE, S, D, T),
    "c of the next level left out": (C, S, ONE, T),
}
FACTORS = {  # of the score's coefficient
    "drift halved": ONE / 2,
    "drift doubled (the sum of two slopes for their mean?)": ONE * 2,
    "sign of the drift": -ONE,
    "no drift: the score is not used": 0 * ONE,
    "eps taken for the score": -S,  # eps = -sigma score
    "the score taken for eps": -1 / S,
    "sigma of the next level in front of the score": T / S,
    "score multiplied by sigma/sigma'": S / T,
    "drift divided by sigma, as where the root of 1 - alpha_bar is left out": 1 / S,
    "drift multiplied by sigma": S,
    "drift divided by sigma^2": 1 / S / S,
    "drift multiplied by sigma^2": S * S,
    "drift divided by the scale r of x": C / D,
    "drift multiplied by the scale r of x": D / C,
    "drift of the score left by sqrt(beta)": BETA**-0.5,
    "1 - alpha of the single step under the root of the drift, where 1 - alpha_bar belongs": S / np.sqrt(BETA),
}
TWICE = {  # of the two calls of Heun's method, whose slopes count one half each
    "start of the second half: Heun's mean slope is added to the predicted point, not to the first": (3, 1),  # 1 + 1/2, 1/2
    "sigma of each slope forgotten: the score is taken for it, where it is -sigma score": (1 / S, 1 / T),
    "the first slope alone, twice over": (2, 0),
    "the second slope alone, twice over": (0, 2),
}  # fmt: skip
DEVIATIONS = {  # standard deviation of the noise, where b belongs
    "no noise": lambda b: 0 * b,
    "noise without its root: the variance is taken for a standard deviation": lambda b: b**2,
    "root of the noise taken twice": lambda b: np.sqrt(b),
    "noise too small by sqrt(2)": lambda b: b / np.sqrt(2),
    "noise too large by sqrt(2)": lambda b: b * np.sqrt(2),
    "noise halved": lambda b: b / 2,
    "noise doubled": lambda b: b * 2,
    "noise of the size of the next level, sigma' z": lambda b: T,
    "noise of the size of this level, sigma z": lambda b: S,
    "noise of the difference of the levels, (sigma - sigma') z": lambda b: S - T,
    "noise sqrt(beta) z": lambda b: np.sqrt(BETA),
    "unit noise z": lambda b: ONE,
    "ratio upside down, sigma/sigma' in place of sigma'/sigma in the noise": lambda b: b * (S / T) ** 2,
}
SCALED = {  # alpha, and what all the rest is multiplied by
    "x not rescaled": lambda a: (ONE, ONE),
    "x scaled the other way": lambda a: (1 / a, ONE),
    "x scaled twice": lambda a: (a * a, ONE),
    "alpha_bar in place of alpha: the mean is divided by its root c, not by the scale of the step": lambda a: (
        1 / C,
        ONE / (C * RATIO),
        ONE,
    ),
    "alpha in place of its root: the mean is divided by the squared scale of the step": lambda a: (
        a * RATIO,
        RATIO,
        ONE,
    ),
    "sign of the step: it goes up in level": lambda a: (1 - (a - 1), -ONE),
    "the result not rescaled by r": lambda a: (a / RATIO, 1 / RATIO),
    "the result rescaled by r twice": lambda a: (a * RATIO, RATIO),
    "the result rescaled by 1/r": lambda a: (a / RATIO / RATIO, 1 / RATIO / RATIO),
}


@pytest.mark.parametrize("name", ["an ancestral step (posterior variance)", "a reverse-diffusion step"])
def test_every_change_is_what_its_words_say(name):
    step = STEP[name]
    alpha, gamma, var = step.of(P)
    assert {t: list(rows) for t, rows in CHANGES.items()} == {
        "place": list(ELSEWHERE), "scale": list(SCALED), "drift": [*FACTORS, *TWICE], "noise": list(DEVIATIONS)
    }  # fmt: skip
    for words, place in ELSEWHERE.items():
        assert_same(changed(step, P, {"place": words}), step.of(Place(*place)))
    for words, factor in FACTORS.items():
        assert_same(changed(step, P, {"drift": words}), (alpha, factor * gamma, var))
    for words, of in DEVIATIONS.items():
        assert_same(changed(step, P, {"noise": words}), (alpha, gamma, of(np.sqrt(var)) ** 2))
    for words, of in SCALED.items():
        a, rest, noise = (*of(alpha), of(alpha)[1])[:3]
        assert_same(changed(step, P, {"scale": words}), (a, rest * gamma, noise**2 * var))
    for words in TWICE:  # not of a step that asks once
        assert np.isnan(changed(step, P, {"drift": words})[1]).all()


def test_changes_of_a_step_that_asks_twice_and_several_at_once():
    heun = STEP["Heun's step of the probability flow"]
    alpha, (first, second), var = heun.of(P)
    for words, (a, b) in TWICE.items():
        assert_same(changed(heun, P, {"drift": words}), (alpha, (a * first, b * second), var))
    for words, factor in FACTORS.items():
        assert_same(changed(heun, P, {"drift": words}), (alpha, (factor * first, factor * second), var))
    both = {"scale": "the result rescaled by r twice", "drift": "drift halved"}
    assert_same(changed(heun, P, both), (alpha * RATIO, (RATIO * first / 2, RATIO * second / 2), var))
    step = STEP["a reverse-diffusion step"]
    alpha, gamma, var = step.of(Place(C, S**2, D, T))
    every = both | {"noise": "noise doubled", "place": "sigma^2 in place of sigma, at this level"}
    assert_same(changed(step, P, every), (alpha * RATIO, RATIO * gamma / 2, 4 * RATIO**2 * var))


@pytest.mark.parametrize("predicts", ["eps", "x", "v", "velocity", "score"])
@pytest.mark.parametrize("words", ELSEWHERE)
def test_a_wrong_level_where_the_answer_of_a_network_is_used(predicts, words):
    """The step turns fn's answer into a score by the wrong level, and all else of it is of that level too."""
    step = STEP["a reverse-diffusion step"]
    c, s, _, _ = ELSEWHERE[words]
    as_score = {  # of an answer, at a level (c, s), and x
        "eps": lambda f, x, c, s: -f / s,
        "x": lambda f, x, c, s: (c * f - x) / s**2,
        "v": lambda f, x, c, s: -(f * c + s * x) / (s * (c**2 + s**2)),
        "velocity": lambda f, x, c, s: -(c * f + x) / (s * (c + s)),
        "score": lambda f, x, c, s: f,
    }[predicts]
    a, b = slopes(predicts, C, S)
    alpha, gamma, _ = step.of(Place(*ELSEWHERE[words]))
    of = lambda x, score: alpha * x + gamma * as_score(a * score + b * x, x, c, s)
    found = changed(step, P, {"place": words}, lambda c, s: slopes(predicts, c, s))
    np.testing.assert_allclose(found[0], of(ONE, 0 * ONE), rtol=1e-12)
    np.testing.assert_allclose(found[1], of(0 * ONE, ONE), rtol=1e-12)


def test_sets_of_changes_take_each_table_once():
    sizes = [len(rows) for rows in CHANGES.values()]
    assert len(list(sets_of_changes(1))) == sum(sizes)
    pairs = list(sets_of_changes(2))
    assert len(pairs) == sum(a * b for a, b in itertools.combinations(sizes, 2)) and all(
        len(made) == 2 for made in pairs
    )
    assert all(name in CHANGES[table] for made in pairs for table, name in made.items())
    assert len({tuple(made.items()) for made in pairs}) == len(pairs)


# ------------------------------------------------------------------------------- what is wrong with noise


def even(n, k=None, d=2):
    """(n, d) numbers of mean 0 and no correlation, k of each column +-1 and the others 0: their fourth moment is n / k."""
    k = n if k is None else k
    assert k % 4 == 0 <= n - k
    a = np.zeros((n, d))
    for j in range(d):
        a[:k, j] = (
            np.where(np.arange(k) // (k // 4) % 2, 1.0, -1.0) if j % 2 else np.where(np.arange(k) < k // 2, 1.0, -1.0)
        )
    return a


def normal_like(n):
    """Quantiles of a normal in each of two columns, without mean and correlation; no number of the first column, and so no row, is there twice."""
    from scipy.special import ndtri

    p = ndtri(0.5 + (np.arange(n // 2) + 0.5) / n)
    q = np.random.default_rng(0).permutation(ndtri((np.arange(n // 2) + 0.5) / (n // 2)))
    return np.column_stack([np.r_[p, -p], np.r_[q, q]])


def test_noise_without_a_flaw_and_noise_that_is_none():
    assert noise_flaw(normal_like(4000)) == noise_flaw(np.zeros((50, 2))) == ""
    assert noise_flaw(np.ones((1, 2))).startswith("biased: the step has an offset of 1,")  # one chain shares with none
    assert noise_flaw(1e-12 * normal_like(4000)) == ""


@pytest.mark.parametrize("off, shared", [(0.9e-6, True), (1.1e-6, False)])
def test_noise_is_shared_up_to_a_millionth_of_the_largest(off, shared):
    noise = np.tile([3.0, 0.0], (40, 1))
    noise[1::2, 1] += 3 * off
    found = noise_flaw(noise)
    assert (found == "shared noise: all chains get the same noise in a step") == shared, found


def test_a_mean_is_one_beyond_six_standard_errors():
    n, base = 4000, normal_like(4000)
    for share, words in ((0.98, ""), (1.02, "biased: the step has an offset of")):
        for sign in (1, -1):
            offset = sign * share * 6 * base[:, 0].std() / np.sqrt(n)
            found = noise_flaw(base + [offset, 0])
            assert found[: len(words)] == words and bool(found) == bool(words), found
            assert not words or f"offset of {offset:.3g} in dimension 0, whatever x is" in found
            assert bool(noise_flaw(base + [offset, 0], independent=False)) == bool(words)
    own = np.repeat([0.8, 0.9, 1.0, 1.1, 1.2], 2) * np.where(np.arange(10) % 2, 1, -1)
    tiny = np.column_stack([own, 0 * own])
    assert noise_flaw(tiny).startswith("dimensions without noise")
    assert "biased" not in noise_flaw(tiny)  # a column without any has no mean
    assert noise_flaw(tiny * 0.1 + [[1.0, 0.0]]).startswith(
        "biased: the step has an offset of 1 in dimension 0, whatever x is:"
    )


def test_dimensions_are_correlated_beyond_six_standard_errors():
    n, base = 4000, normal_like(4000)
    u = base / base.std(0)
    for share, sign in itertools.product((0.98, 1.02), (1, -1)):
        r = sign * share * 6 / np.sqrt(n)
        noise = np.column_stack([u[:, 0], r * u[:, 0] + np.sqrt(1 - r**2) * u[:, 1]])
        found = noise_flaw(noise)
        words = f"correlated noise: the dimensions of the noise have correlation {r:.3g}; they must be independent where the drift has no matrix of its own (a preconditioner in the noise alone?)"
        assert found == (words if share > 1 else ""), found
        assert noise_flaw(noise, independent=False) == ""
    one = noise_flaw(np.column_stack([u[:, 0], u[:, 0]]))
    assert (
        one
        == "correlated noise: the dimensions of the noise have correlation 1; one number for all dimensions of a chain"
    )
    assert "they must be" in noise_flaw(np.column_stack([u[:, 0], -u[:, 0]]))  # not the same number
    third = noise_flaw(np.column_stack([u, -0.5 * u[:, 1] + u[:, 0]]))  # the largest of three, which may be below zero
    assert "correlation 0.894" in third, third
    assert "correlated" not in noise_flaw(np.column_stack([u[:, 0], 0 * u[:, 0]]))  # a dimension without noise


def test_a_fourth_moment_is_another_beyond_six_standard_errors():
    """n d numbers of a normal have a fourth moment of 3 +- sqrt(96 / (n d))."""
    n = 4000
    room = 6 * np.sqrt(96 / (2 * n))
    for moment, share in itertools.product((3 - room, 3 + room), (0.97, 1.03)):
        k = 4 * round(n / (3 + (moment - 3) * share) / 4)
        noise = even(n, k) + 1e-6 * even(n)  # none of them without noise
        assert abs(np.mean(noise**4) / np.mean(noise**2) ** 2 - n / k) < 1e-5
        words = "noise not Gaussian: its fourth moment is not that of a normal number" if share > 1 else ""
        assert noise_flaw(noise) == words, (moment, share)
        assert noise_flaw(7 * noise) == words and noise_flaw(noise, independent=False) == ""


# ------------------------------------------------------------------------------- what is wrong with a Langevin step

TAUS = np.array([0.2, 0.1, 0.05])
AT = [{"step": t} for t in TAUS]
ERROR = 0.01
LANGEVIN = {  # drift, variance of the noise, what is said
    "right": (TAUS, 2 * TAUS, ""),
    "right, at the end of the error": (TAUS, 2 * TAUS * (1 - 0.99 * ERROR), ""),
    "right, another step": (TAUS / 2, TAUS, ""),
    "no noise": (TAUS, 1e-12 + 0 * TAUS, "no noise: the step only climbs to the mode; it is gradient ascent on log p, not Langevin"),
    "no noise, away from the mode": (-TAUS, 1e-12 + 0 * TAUS, "no noise: the step only runs down from the mode: the sign of its drift is another mistake; it is gradient descent on log p, not Langevin"),
    "nothing": (0.9e-9 * np.array([1, -1, 1]), 1e-12 + 0 * TAUS, "no step: the points are returned as they came"),
    "no drift": (0.9e-9 * np.array([1, -1, 1]), 2 * TAUS, "no drift: the score is not used; this is a random walk"),
    "sign": (-TAUS, 2 * TAUS, "sign of the drift: the step moves away from the mode, along grad E instead of the score"),
    "half the variance": (TAUS, TAUS, "temperature: the noise has 0.5 times the variance that belongs to the drift (the factor 2 under the root is missing, the drift lacks its 1/2?); it is sqrt(step) z, to 1%, for a drift of step score; the samples are those of p^2"),
    "twice the variance": (TAUS, 4 * TAUS, "temperature: the noise has 2 times the variance that belongs to the drift (a factor sqrt(2) too much, a 1/2 too many in the drift?); it is 2 sqrt(step) z, to 1%, for a drift of step score; the samples are those of p^0.5"),
    "half the noise": (TAUS, TAUS / 2, "temperature: the noise has 0.25 times the variance that belongs to the drift (the noise is half of what it should be?); it is sqrt(step)/sqrt(2) z, to 1%, for a drift of step score; the samples are those of p^4"),
    "another temperature": (TAUS, 2.4 * TAUS, "temperature: the noise has 1.2 times the variance that belongs to the drift; it is 1.5 sqrt(step) z, to 1%, for a drift of step score; the samples are those of p^0.833"),
    "no root": (TAUS, TAUS**2, "noise without root: it is step z, to 1%, for a drift of step score, where sqrt(2 D) z belongs to D score"),
    "no root, twice": (3 * TAUS, 4 * (3 * TAUS) ** 2, "noise without root: it is 6 step z, to 1%, for a drift of 3 step score, where sqrt(2 D) z belongs to D score"),
    "drift squared": (TAUS**2, 2 * TAUS, "scale of the drift: it is step^2 x score for a noise of sqrt(2) sqrt(step) z, where D score belongs to sqrt(2 D) z"),
    "noise squared": (TAUS, TAUS**4, "scale of the noise: it is step^2 z, to 1%, for a drift of step score, where Euler's step with a drift of D score has sqrt(2 D) z, at every step"),
    "noise of no law": (TAUS, np.array([0.4, 0.1, 0.3]), "scale of the noise: it is 0.6325 z, to 1%, for a drift of step score, where Euler's step with a drift of D score has sqrt(2 D) z, at every step"),
    "neither a law": (np.array([0.2, 0.3, 0.1]), np.array([0.4, 0.1, 0.3]), "scale of the noise: it is 0.6325 z, to 1%, for a drift of 0.2 score, where Euler's step with a drift of D score has sqrt(2 D) z, at every step"),
    "drift of no law": (np.array([0.2, 0.3, 0.1]), 2 * TAUS, "scale of the noise: it is sqrt(2) sqrt(step) z, to 1%, for a drift of 0.2 score, where Euler's step with a drift of D score has sqrt(2 D) z, at every step"),
}  # fmt: skip


@pytest.mark.parametrize("name", LANGEVIN)
def test_a_langevin_step_is_told_by_its_drift_and_its_noise(name):
    drift, var, words = LANGEVIN[name]
    assert langevin_flaw(drift, var, ERROR, AT) == words


def test_what_is_nearly_nothing_is_not_nothing_and_errors_have_an_end():
    assert not langevin_flaw(TAUS, 2e-12 + 0 * TAUS, ERROR, AT).startswith("no noise")
    assert not langevin_flaw(TAUS, np.array([0.0, 0.0, 0.1]), ERROR, AT).startswith("no noise")
    assert not langevin_flaw(1.1e-9 + 0 * TAUS, 2 * TAUS, ERROR, AT).startswith("no drift")
    assert not langevin_flaw(TAUS * [1, -1, 1], 2 * TAUS, ERROR, AT).startswith("sign")
    assert not langevin_flaw(TAUS * [1, 0, 1], 2 * TAUS, ERROR, AT).startswith("sign")
    assert langevin_flaw(TAUS, 2 * TAUS * (1 + 1.01 * ERROR), ERROR, AT).startswith(
        "temperature: the noise has 1.01 times"
    )
    assert langevin_flaw(TAUS, 2 * TAUS * [1, 1, 1 + 1.5 * ERROR], ERROR, AT).startswith("temperature")
    assert langevin_flaw(TAUS, 2 * TAUS * [1, 1, 1 + 2.2 * ERROR], ERROR, AT).startswith("scale of the noise")
    why = lambda c: (
        langevin_flaw(TAUS, 2 * c * TAUS, ERROR, AT).split(":")[1].count("missing")
        + langevin_flaw(TAUS, 2 * c * TAUS, ERROR, AT).count("lacks")
    )
    assert why(0.5 * (1 + 1.9 * ERROR)) and not why(0.5 * (1 + 2.1 * ERROR)) and why(0.5 * (1 - 1.9 * ERROR))
    root = lambda c: langevin_flaw(TAUS, TAUS**2 * [1, 1, 1 - c * ERROR], ERROR, AT)
    assert root(1.9).startswith("noise without root") and root(2.1).startswith("scale of the noise")


def test_laws_in_words_are_those_of_numbers_of_one_sign():
    assert in_words(np.sqrt(2 * TAUS), AT, 1e-9)[0] == "sqrt(2) sqrt(step)"
    text, (c, powers) = in_words(-3 * TAUS**2, AT, 1e-9)
    assert text == "-3 step^2" and abs(c + 3) < 1e-12 and powers == {"step": 2.0}
    assert in_words(np.array([0.25, -0.1, 0.1]), AT, 1e-9) == ("0.25", None)
    assert (
        in_words(np.array([0.0, 0.1, 0.1]), AT, 1e-9) == ("0", None)
        and in_words(-TAUS * [1, 0, 1], AT, 1e-9)[1] is None
    )
    assert in_words(np.array([1 / 3, 0.9, 0.1]), AT, 1e-9) == ("0.3333", None)
    assert (
        in_words(1.019 * TAUS, AT, 1e-9)[0] == "step" and in_words(1.3 * TAUS, AT, 1e-9)[0] == "1.3 step"
    )  # two digits


# ------------------------------------------------------------------------------- how a step is called


def test_a_step_is_a_function_of_points_that_returns_as_many():
    with pytest.raises(TypeError, match=r"check_sampler: step is 3, expected a function step\(x, score\)"):
        Step("check_sampler", 3, None, "x, score")
    x = np.arange(6.0).reshape(3, 2)
    take = lambda f, **named: Step("check_sampler", f, None, "x").taken(x, 5, **named)
    assert np.array_equal(take(lambda x: (2 * x, "state")), 2 * x) and take(lambda x: x.astype(int)).dtype == float
    assert np.array_equal(take(lambda x, energy: x + energy, energy=1.0), x + 1)
    drawn = lambda rng: np.random.default_rng(5).random() if isinstance(rng, int) else rng.random()
    assert np.array_equal(take(lambda x, rng: x + rng.random()), take(lambda x, rng: x + rng.random())) and drawn(
        5
    ) == drawn(5)
    with pytest.raises(Flaw, match=r"shape: the step returned \(3, 1\), expected \(3, 2\)"):
        take(lambda x: x[:, :1])
    with pytest.raises(Flaw, match="not finite: the step returned NaN or infinity"):
        take(lambda x: np.where(x > 4, np.inf, x))
    with pytest.raises(TypeError, match="check_sampler: what step returned"):
        take(lambda x: None)
    assert Step("check_sampler", max, None, "x").parameters is None or inspect.signature(max)


def test_an_energy_and_log_densities_are_given_by_name():
    seen = {}

    def step(x, score, h, energy, log_prob, log_density):
        seen.update(h=h, sums=(energy(x) + log_prob(x), energy(x) + log_density(x)), score=score(x))
        return x

    chain = Chain("check_sampler", step, None, "x")
    x = np.array([[0.7, 1.7], [0.0, 0.7]])
    assert chain.names == ["energy", "log_prob", "log_density"]
    assert np.array_equal(chain(x, 0.25, 3), x) and seen["h"] == 0.25 and not np.any(seen["sums"])
    np.testing.assert_allclose(seen["score"], -(x - 0.7) / 1.6, rtol=1e-15)
    assert Chain("check_sampler", lambda x, s, h: x, None, "x").names == []
