"""Training digs valleys where the data are.

The energy f of a network of 24 + 24 softplus units, on Old Faithful with noise sigma = 0.3, fitted by denoising: at the start a bowl, the
confinement's, then one trough, and in the end two valleys with a pass between them, one for each kind of eruption. Level lines are a unit
of energy apart.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 4
SIGMA, WINDOW, SHOWN = 0.3, ((-2.6, 2.6), (-2.6, 2.6)), (0, 4, 12, 80)
START = ns.EnergyMLP.init(2, (24, 24), "softplus", confinement=1.0, rng=0)


def rows():
    """Old Faithful, standardised, each row twice, and noise for it."""
    x = np.repeat(ns.standardise(ns.old_faithful()).x, 2, axis=0)
    return x, np.random.default_rng(0).standard_normal(x.shape)


def measure():
    """Parameters (4, p) after so many steps of L-BFGS, the loss of each, and its energy on a grid (4, 61, 41)."""
    from scipy.optimize import minimize

    x, eps = rows()
    path = [START.theta]

    def loss(theta):
        found = ns.denoising(START.with_theta(theta), x, SIGMA, noise=eps)
        return found.value, found.gradient

    minimize(
        loss,
        START.theta,
        jac=True,
        method="L-BFGS-B",
        callback=lambda t: path.append(t.copy()),
        options={"maxiter": SHOWN[-1]},
    )
    thetas = np.array([path[min(k, len(path) - 1)] for k in SHOWN])
    _, _, points = plots.grid(WINDOW, 41)
    energies = [START.with_theta(theta).energy(points).reshape(41, 41) for theta in thetas]
    return {"thetas": thetas, "losses": np.array([loss(theta)[0] for theta in thetas]), "energies": np.array(energies)}


def valleys(f):
    """How many points of a grid lie lower than their eight neighbours."""
    near = [np.roll(np.roll(f, i, 0), j, 1) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    return int(np.all([f < g for g in near], axis=0)[1:-1, 1:-1].sum())


def claim(found):
    """Asserted: losses and energies are those of the parameters, the loss falls, and one valley becomes two."""
    x, eps = rows()
    _, _, points = plots.grid(WINDOW, 41)
    for theta, value, energy in zip(found["thetas"], found["losses"], found["energies"], strict=True):
        net = START.with_theta(theta)
        np.testing.assert_allclose(np.mean(ns.denoising_loss(net.score(x + SIGMA * eps), eps, SIGMA)), value, rtol=1e-9)
        np.testing.assert_allclose(net.energy(points), energy.ravel(), rtol=1e-9)
    assert np.all(np.diff(found["losses"]) < 0)
    assert [valleys(f) for f in found["energies"][[0, -1]]] == [1, 2]


def draw():
    """Four landscapes, darker where the energy is low, and rows on the first and the last."""
    found = measure()
    claim(found)
    figure, axes = plots.panels(4, width=9.6, height=2.9)
    x = ns.standardise(ns.old_faithful()).x
    gx, gy, _ = plots.grid(WINDOW, 41)
    for k, (ax, f, value) in enumerate(zip(axes, found["energies"], found["losses"], strict=True)):
        depth = f - f.min()
        ax.contourf(gx, gy, depth, [0, 1, 2, 3, 4, 5], colors=plots.SHADES)
        ax.contour(gx, gy, depth, np.arange(1, 7), colors=plots.INK, linewidths=0.5)
        if k in (0, 3):
            ax.plot(*x[::3].T, "o", color=plots.PALETTE[1], markersize=3, markeredgecolor="white", markeredgewidth=0.5)
        plots.labels(
            ax,
            "eruption, standardised",
            "waiting, standardised" if k == 0 else "",
            f"step {SHOWN[k]}: loss {value:.2f}",
        )
        ax.set(xlim=WINDOW[0], ylim=WINDOW[1], aspect="equal")
    return figure
