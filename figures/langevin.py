"""Langevin's step is a bias, and far modes keep the weights they were started with.

Left: x + tau s + eps sqrt(2 tau) on N(0, 1) settles at the variance 1/(1 - tau/2), not at 1; measured on 60 000 chains, bars of four
standard errors. With a Metropolis test it stays at 1. Right: modes at -m and m with weights .2/.8, chains started evenly. At m = 1 the share
left of 0 goes to the truth, at m = 4 it stays at one half.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 8
CHAINS = 60_000
BAR = 4 * np.sqrt(2 / CHAINS)  # four standard errors of a variance, over that variance


def measure():
    """Steps with both variances; time with the share left of 0 at m = 1 and at m = 4."""
    rng, normal = np.random.default_rng(0), ns.Gaussian(0.0, 1.0)
    steps = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
    plain, adjusted = [], []
    for step in steps:
        n = int(np.ceil(12 / -np.log(max(abs(1 - step), 0.1))))  # what is left of the start: exp(-12)
        start = rng.standard_normal((CHAINS, 1))
        plain.append(ns.langevin(normal, start, step, n, rng=rng).samples.var())
        adjusted.append(ns.langevin(normal, start, step, n, adjusted=True, rng=rng).samples.var())
    found = {"steps": steps, "plain": np.array(plain), "adjusted": np.array(adjusted), "time": 0.05 * np.arange(1, 401)}
    for m in (1.0, 4.0):
        p = ns.GaussianMixture([0.2, 0.8], [[-m], [m]], 1.0)
        start = np.where(np.arange(4000) % 2, m, -m)[:, None]
        found[f"m = {m:g}"] = np.mean(ns.langevin(p, start, 0.05, 400, rng=rng, thin=1).trace[:, :, 0] < 0, axis=1)
    return found


def truth(m):
    """The share of the density left of 0."""
    from scipy.special import ndtr

    return 0.2 * ndtr(m) + 0.8 * ndtr(-m)


def claim(found):
    """Asserted: both variances within their bars of the closed forms, far from each other; one share arrives, the other does not move."""
    steps, plain = found["steps"], found["plain"]
    exact = 1 / (1 - steps / 2)
    np.testing.assert_allclose(steps, [0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
    assert np.all(np.abs(plain / exact - 1) < BAR) and np.all(plain[2:] - 1 > 4 * BAR)
    assert np.all(np.abs(found["adjusted"] - 1) < BAR)
    for all_seven in (np.mean(plain / exact), np.mean(found["adjusted"])):  # three standard errors of the mean of seven
        assert abs(all_seven - 1) < 3 * BAR / 4 / np.sqrt(7) < 0.007
    np.testing.assert_allclose(found["time"], 0.05 * np.arange(1, 401))
    counts = 4000 * np.stack([found["m = 1"], found["m = 4"]])  # shares of 4000 chains
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-6)
    assert abs(np.mean(found["m = 1"][200:]) - truth(1)) < 0.02
    assert found["m = 4"].min() > 0.47 and truth(4) < 0.21


def draw():
    """Variance against step, and the share of the left mode against time."""
    found = measure()
    claim(found)
    figure, (left, right) = plots.panels(2, height=3.2)
    blue, red, green = plots.PALETTE[:3]
    fine = np.linspace(0, 1.55, 100)
    left.plot(fine, 1 / (1 - fine / 2), color=blue)
    left.plot(fine, np.ones(100), color=green, linestyle=plots.DASHES[1])
    plots.intervals(left, found["steps"], found["plain"], BAR * found["plain"], color=blue)
    plots.intervals(left, found["steps"], found["adjusted"], BAR, color=green, fmt="^")
    plots.name(left, 1.15, 1 / (1 - 1.15 / 2), "plain: 1/(1 − τ/2)", blue, ha="right", xytext=(-8, 4))
    plots.name(left, 1.55, 1, "with a Metropolis test", green, ha="right", xytext=(0, -11))
    left.set_ylim(0.4, 4.6)
    plots.labels(left, "step τ, target N(0, 1)", "variance it settles at", "The step is a bias")
    for m, color, dash in ((1, blue, "-"), (4, red, plots.DASHES[1])):
        right.plot(found["time"], found[f"m = {m}"], color=color, linestyle=dash)
        right.axhline(truth(m), color=color, linewidth=0.9, linestyle=(0, (2, 2)))
    plots.name(right, 20, 0.5, "m = 4: stuck where it was started", red, ha="right", xytext=(0, 9))
    plots.name(right, 20, 0.2, "where it should be", red, ha="right", xytext=(0, -9))
    plots.name(right, 20, 0.3, "m = 1: arrives", blue, ha="right", xytext=(0, 13))
    right.set_ylim(0, 0.65)
    plots.labels(right, "time: τ = 0.05 times steps", "share of chains left of 0", "Far modes keep their start")
    return figure
