"""A learned score gives far modes their weights where the true one does, and errs where the true one errs.

Song and Ermon's toy: a fifth of the mass at (-5, -5), the rest at (5, 5), chains from uniform starts. Annealed through ten noise
levels, 400 steps at each, 20 000 chains of the true score put 0.20 +- 0.02 of them on the smaller mode, and so do those of networks
trained by multilevel denoising on 20 000 rows, whatever the seed. Plain Langevin at the last level leaves it near one half with either.

Beside it: what the network's energy itself says of the weights, exp(-f) integrated. It knows them while noise joins the modes, and
hardly where it does not: there the score does not depend on them, and a chain that came from above does not ask.

It takes a quarter of an hour and no chapter waits for it: ``python figures/learned_weights.py`` writes learned_weights.png, the chains,
and learned_weights_levels.png, the shares.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

TRUTH = ns.GaussianMixture([0.2, 0.8], [[-5.0, -5.0], [5.0, 5.0]], 1.0)
LEVELS = ns.geometric_levels(20.0, 1.0, 10)
STEP = 0.05  # at the last level; Song and Ermon's epsilon is twice that
BATCH = 1024  # four times the default: what is left of the error is the noise of the gradients
SCHEDULES = (100, 400)  # steps at each level
TWO = "true score", "learned score"


def learned(seed, *, rows=20_000, steps=5000):
    """A family sigma -> score and energy in the toy's own units, from samples alone; and the share of these in the smaller mode.

    `fit` has one noise in units of each column's standard deviation; the two differ by less than a per cent.
    """
    x = ns.song_ermon_mixture(rows, rng=seed)
    unit = np.sqrt(x.var(0).mean())
    fitted = ns.fit(x, objective="multilevel_denoising", sigma=LEVELS / unit, steps=steps, batch=BATCH, rng=seed)
    units, net = fitted.units, fitted.model

    def family(sigma):
        return SimpleNamespace(
            score=lambda x: units.score(net, x, sigma=sigma / unit),
            energy=lambda x: units.energy(net, x, sigma=sigma / unit),
        )

    return family, smaller(x)


def smaller(x):
    """The share of samples (n, 2) on the side of the smaller mode."""
    return np.mean(x.sum(1) < 0)


def chains(family, n, schedules=SCHEDULES):
    """n samples from uniform starts for each schedule of annealing, and last by plain Langevin at the last level."""
    x0 = np.random.default_rng(0).uniform(-8, 8, (n, 2))
    found = [ns.annealed_langevin(family, x0, LEVELS, k, step=STEP, rng=k).samples for k in schedules]
    at_last = SimpleNamespace(score=family(LEVELS[-1]).score)
    return [*found, ns.langevin(at_last, x0, 0.1, 1000, rng=1).samples]


def share_by_energy(energy, sigma):
    """The share of exp(-energy) on the side of the smaller mode, by the trapezoidal rule on 301 x 301 points."""
    reach = 5 + 6 * np.sqrt(1 + sigma**2)
    _, _, x = plots.grid([(-reach, reach)] * 2, 301)
    f, side = energy(x), np.sign(np.round(x.sum(1), 9))
    p = np.exp(f.min() - f)
    return p @ (0.5 - 0.5 * side) / p.sum()


class Numbers(NamedTuple):
    """Shares of the smaller mode: among chains, one for each schedule and last of plain Langevin, true (s,) and learned (seeds, s); by
    energy and level, exact (10,) and energies (seeds, 10); among rows (seeds,). And the samples behind the shares of true and seed 0."""

    true: np.ndarray
    learned: np.ndarray
    exact: np.ndarray
    energies: np.ndarray
    rows: np.ndarray
    samples: tuple


def numbers(seeds=range(5), n=20_000, schedules=SCHEDULES, **training):
    """The Numbers; each seed has rows, network and training of its own, and all have the noise of the chains in common."""
    families, rows = zip(*(learned(seed, **training) for seed in seeds), strict=True)
    by_level = lambda energy: [share_by_energy(energy(sigma), sigma) for sigma in LEVELS]
    exact = by_level(lambda sigma: lambda x: -TRUTH.perturbed(sigma).logpdf(x))
    energies = [by_level(lambda sigma, family=family: family(sigma).energy) for family in families]
    samples = [chains(family, n, schedules) for family in (TRUTH.perturbed, *families)]
    shares = np.array([[smaller(x) for x in each] for each in samples])
    return Numbers(shares[0], shares[1:], np.array(exact), np.array(energies), np.array(rows), tuple(samples[:2]))


def measure(**small):
    """The Numbers, the claim asserted."""
    found = numbers(**small)
    for *_, long, plain in (found.true, *found.learned):
        assert abs(long - 0.2) < 0.02 and abs(plain - 0.5) < 0.05, (long, plain)
    joined = found.exact > 0.201  # as long as noise joins the modes, it mixes them up as well
    assert np.abs(found.energies - found.exact)[:, joined].max() < 0.02
    return found


def draw(measured=None):
    """Chains of the true score and of a learned one side by side."""
    found = measured or measure()
    figure, axes = plots.panels(2, width=7.2, height=3.7)
    for ax, samples, shares, whose in zip(axes, found.samples, (found.true, found.learned[0]), TWO, strict=True):
        ax.scatter(*samples[-2][:3000].T, s=3, color=plots.PALETTE[0], linewidths=0, rasterized=True)
        ax.set(xlim=(-11, 11), ylim=(-11, 11), aspect="equal")
        plots.name(ax, -5, 2, f"{shares[-2]:.3f}", ha="center", xytext=(0, 0), fontsize=11)
        plots.name(ax, 5, -2, f"{1 - shares[-2]:.3f}", ha="center", xytext=(0, 0), fontsize=11)
        plots.labels(ax, "x₁, [x]", "x₂, [x]" if ax is axes[0] else "", f"Annealed, {whose}")
    return figure


def draw_levels(measured=None):
    """The share of the smaller mode among chains, by schedule, and in the energies, by level."""
    found = measured or measure()
    figure, (left, right) = plots.panels(2, width=7.2, height=3.4)
    blue, red = plots.PALETTE[:2]
    names = [f"{k} steps\na level" for k in SCHEDULES] + ["plain\nLangevin"]
    at = np.arange(len(names))
    errors = 4 * np.sqrt(found.true * (1 - found.true) / len(found.samples[0][0]))
    plots.intervals(left, at - 0.12, found.true, errors, color=red)
    for k, shares in enumerate(found.learned):
        left.plot(at + 0.04 + 0.06 * k, shares, "x", color=blue)
    plots.rule(left, y=0.2, text="the data's", below=True)
    left.set(xlim=(-0.5, 2.6), ylim=(0, 0.6))
    left.set_xticks(at, names)
    plots.name(left, 0, 0.3, "true score, 4 standard errors", red, ha="left", xytext=(-24, 6))
    plots.name(left, 0, 0.36, "learned, five seeds", blue, ha="left", xytext=(-24, 10))
    plots.labels(left, "", "share in the smaller mode", "Chains from uniform starts")
    right.plot(LEVELS, found.exact, color=red)
    for shares in found.energies:
        right.plot(LEVELS, shares, "x", color=blue)
    right.set(xscale="log", ylim=(0, 0.6))
    plots.name(right, 3, 0.215, "true", red, ha="left", xytext=(0, -14))
    plots.name(right, 1.1, 0.5, "learned: knows it while noise\njoins the modes, σ > 2.5", blue, ha="left")
    plots.labels(right, "noise σ, [x]", "share in the smaller mode", r"$e^{-f}$ integrated, level by level")
    return figure


if __name__ == "__main__":
    measured = measure()
    print("shares of the smaller mode at 100 and 400 steps a level and by plain Langevin")
    print("true   ", *(f"{share:.4f}" for share in measured.true))
    for shares, rows in zip(measured.learned, measured.rows, strict=True):
        print("learned", *(f"{share:.4f}" for share in shares), f"  from rows with {rows:.4f}")
    for drawn, name in ((draw, "learned_weights"), (draw_levels, "learned_weights_levels")):
        with plots.style():
            drawn(measured).savefig(Path(__file__).with_name(f"{name}.png"), dpi=150, facecolor="white")
