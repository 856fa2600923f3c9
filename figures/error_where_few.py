"""A learned score is right where the data are, and a guess elsewhere.

400 samples of two modes and a network of 16 + 16 softplus units, trained by implicit matching with noise sigma = 0.1. Left: how far its score is from
the true one. Right: the same against the distance from the nearest sample, median and middle 80 %. Among the samples the error is a small part
of the score; four units away it is larger than the score itself.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 2
SIGMA, SIDE, N = 0.1, 6.5, 71
TRUTH = ns.GaussianMixture([0.3, 0.7], [[-3, -2], [3, 2]], 0.6)
EDGES = np.array([0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5])
START = ns.EnergyMLP.init(2, (16, 16), "softplus", confinement=1.0, rng=0)


def measure():
    """The samples, the network's score and the true one on a grid, and the distance of each of its points from the samples."""
    from scipy.optimize import minimize
    from scipy.spatial import KDTree

    data = TRUTH.sample(400, rng=1)
    units = ns.standardise(data)
    noisy = ns.perturb(np.repeat(units.x, 3, axis=0), SIGMA, rng=0)[0]

    def loss(theta):
        found = ns.implicit(START.with_theta(theta), noisy)
        return found.value, found.gradient

    theta = minimize(loss, START.theta, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    _, _, points = plots.grid(((-SIDE, SIDE), (-SIDE, SIDE)), N)
    return {
        "data": data, "theta": theta, "learned": score(theta, points, units), "true": TRUTH.score(points),
        "distance": KDTree(data).query(points)[0],
    }  # fmt: skip


def score(theta, x, units):
    """The network's score in the units of the data: it was trained on standardised ones."""
    return START.with_theta(theta).score((x - units.mean) / units.scale) / units.scale


def spread(found):
    """Median, lower and upper tenth of the error for each interval of the distance (8, 3)."""
    error = np.linalg.norm(found["learned"] - found["true"], axis=1)
    k = np.digitize(found["distance"], EDGES) - 1
    return np.array([np.quantile(error[k == i], [0.1, 0.5, 0.9]) for i in range(len(EDGES) - 1)])


def claim(found):
    """Asserted: true scores and distances, found anew; the error grows with the distance, from a fraction of the score on the data to more than all of it."""
    _, _, points = plots.grid(((-SIDE, SIDE), (-SIDE, SIDE)), N)
    slope = [(TRUTH.logpdf(points + 1e-5 * e) - TRUTH.logpdf(points - 1e-5 * e)) / 2e-5 for e in np.eye(2)]
    np.testing.assert_allclose(found["true"], np.stack(slope, 1), rtol=1e-5, atol=1e-4)
    nearest = np.sqrt(np.min(np.sum((points[::7, None] - found["data"]) ** 2, -1), 1))
    np.testing.assert_allclose(found["distance"][::7], nearest, rtol=1e-9)
    np.testing.assert_allclose(found["data"], TRUTH.sample(400, rng=1), rtol=1e-12)
    h = 1e-4 * np.eye(2)  # the learned score is minus the slope of the network's energy
    units, net = ns.standardise(found["data"]), START.with_theta(found["theta"])
    energy = lambda x: net.energy((x - units.mean) / units.scale)
    slope = [-(energy(points + e) - energy(points - e)) / 2e-4 for e in h]
    np.testing.assert_allclose(found["learned"], np.stack(slope, 1), rtol=1e-4, atol=1e-4)
    middle = spread(found)[:, 1]
    size = np.sqrt(np.mean(np.sum(TRUTH.score(found["data"]) ** 2, 1)))
    assert np.all(np.diff(middle) > 0) and middle[0] < 0.3 * size and middle[-1] > 2 * size, (middle, size)


def draw():
    """The error as a map with the samples, and against their distance."""
    found = measure()
    claim(found)
    figure, (left, right) = plots.panels(2, width=7.6, height=3.4, gridspec_kw=plots.ratios(1.15, 1))
    gx, gy, _ = plots.grid(((-SIDE, SIDE), (-SIDE, SIDE)), N)
    error = np.linalg.norm(found["learned"] - found["true"], axis=1).reshape(N, N)
    map_ = left.contourf(gx, gy, error, [0, 0.5, 1, 2, 4, 8, 99], colors=plots.SHADES[::-1])
    left.plot(*found["data"].T, ".", color=plots.PALETTE[1], markersize=2.2)
    left.set(xlim=(-SIDE, SIDE), ylim=(-SIDE, SIDE), aspect="equal")
    plots.shades(figure, left, map_, [0.5, 1, 2, 4, 8], "1/[x]")
    plots.labels(left, "x₁, [x]", "x₂, [x]", "Error |s − s₀| of the score")
    low, middle, high = spread(found).T
    at = (EDGES[:-1] + EDGES[1:]) / 2
    right.fill_between(at, low, high, color=plots.PALETTE[0], alpha=0.2, linewidth=0)
    right.plot(at, middle, color=plots.PALETTE[0], marker="o")
    size = np.sqrt(np.mean(np.sum(TRUTH.score(found["data"]) ** 2, 1)))
    plots.rule(right, y=size, text="size of s₀ on the data", below=True)
    right.set(xlim=(0, 4.7), ylim=(0, 9))
    plots.labels(right, "distance from the nearest sample, [x]", "|s − s₀|, 1/[x]", "Far from data: a guess")
    return figure
