"""Langevin's step size is a bias, and far modes keep the weights they were started with.

Left: x + step s + sqrt(2 step) eps on N(0, 1) settles at the variance 1/(1 - step/2), not at 1; measured on 40 000 chains, bars of four
standard errors. With a Metropolis test it stays at 1. Right: modes with weights .2/.8, chains started evenly. At m = 1 the share left of 0
goes to the truth, at m = 4 it stays at one half.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 8
CHAINS = 40_000


def measure():
    """Steps with their variances, and shares over time; asserted: the closed form within its bars, one share right and one stuck."""
    rng, normal = np.random.default_rng(0), ns.Gaussian(0.0, 1.0)
    steps = np.array([0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5])
    variances, adjusted = [], []
    for step in steps:
        n = int(np.ceil(12 / -np.log(max(abs(1 - step), 0.1))))  # what is left of the start: exp(-12)
        start = rng.standard_normal((CHAINS, 1))
        variances.append(ns.langevin(normal, start, step, n, rng=rng).samples.var())
        adjusted.append(ns.langevin(normal, start, step, n, adjusted=True, rng=rng).samples.var())
    variances, adjusted = np.array(variances), np.array(adjusted)
    assert np.all(np.abs(adjusted - 1) < 4 * np.sqrt(2 / CHAINS))
    exact = 1 / (1 - steps / 2)
    bars = 4 * exact * np.sqrt(2 / CHAINS)
    assert np.all(np.abs(variances - exact) < bars) and np.all(np.abs(variances - 1)[2:] > 4 * bars[2:])
    shares, truth = {}, {}
    for m in (1.0, 4.0):
        p = ns.GaussianMixture([0.2, 0.8], [[-m], [m]], 1.0)
        start = np.where(np.arange(4000) % 2, m, -m)[:, None]
        chains = ns.langevin(p, start, 0.05, 400, rng=rng, thin=1).trace
        shares[f"m = {m:g}"] = np.mean(chains[:, :, 0] < 0, axis=1)
        truth[f"m = {m:g}"] = np.mean(p.sample(200_000, rng=rng) < 0)
    assert abs(np.mean(shares["m = 1"][200:]) - truth["m = 1"]) < 0.02
    assert min(shares["m = 4"]) > 0.47 and truth["m = 4"] < 0.21
    return steps, variances, adjusted, bars, shares, truth


def draw():
    """Variance against step, and the share of the left mode against time."""
    steps, variances, adjusted, bars, shares, truth = measure()
    figure, (left, right) = plots.panels(2)
    fine = np.linspace(0, 1.55, 100)
    plots.curves(left, fine, {"1/(1 - step/2)": 1 / (1 - fine / 2)})
    plots.intervals(left, steps, variances, bars)
    plots.intervals(left, steps, adjusted, 4 * np.sqrt(2 / CHAINS), color=plots.PALETTE[2], fmt="^")
    plots.rule(left, y=1.0, text="adjusted: the target's own variance", below=True)
    left.set_ylim(0.5, 4.6)
    left.annotate("1/(1 - step/2)", (1.15, 1 / (1 - 1.15 / 2)), xytext=(-6, 4), textcoords="offset points", ha="right")
    plots.labels(left, "step", "stationary variance", "The step is a bias")
    time = 0.05 * np.arange(1, 401)
    plots.curves(right, time, shares)
    for name, share in truth.items():
        plots.rule(right, y=share, text=f"truth, {name}", below=True)
    right.set_ylim(0, 0.65)
    right.legend(loc="upper right", ncols=2)
    plots.labels(right, "time, step 0.05 times iterations", "share of chains left of 0", "Far modes keep their start")
    return figure
