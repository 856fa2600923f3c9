"""A network without noise climbs onto its samples, and its loss falls for ever.

An energy network of 48 tanh units, trained by the implicit loss on 30 waiting times of Old Faithful. On these very rows the loss falls without
end; on the others it turns after three steps. Then the score has the two slopes of the two kinds of eruption; later it plunges wherever a
sample lies on the plunge, for there the trace is as low as one likes.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 4
START = ns.EnergyMLP.init(1, (48,), "tanh", confinement=1.0, rng=0)
STEPS = 36


def rows():
    """30 waiting times, standardised, and the 242 others."""
    x = np.random.default_rng(3).permutation(ns.standardise(ns.old_faithful()).x[:, 1:])
    return x[:30], x[30:]


def measure():
    """Parameters and both losses after each step of L-BFGS; x, and the score where the loss on other rows is least and at the end."""
    from scipy.optimize import minimize

    own, others = rows()
    path = [START.theta]

    def loss(theta):
        found = ns.implicit(START.with_theta(theta), own)
        return found.value, found.gradient

    minimize(
        loss,
        START.theta,
        jac=True,
        method="L-BFGS-B",
        callback=lambda t: path.append(t.copy()),
        options={"maxiter": STEPS},
    )
    nets = [START.with_theta(theta) for theta in path]
    losses = np.array([[ns.implicit(net, x, gradient=False).value for x in (own, others)] for net in nets])
    x = np.linspace(-2.3, 2.3, 2301)
    best = nets[int(np.argmin(losses[:, 1]))]
    return {
        "path": np.array(path), "own": losses[:, 0], "others": losses[:, 1], "x": x,
        "best": best.score(x[:, None])[:, 0], "last": nets[-1].score(x[:, None])[:, 0],
    }  # fmt: skip


def claim(found):
    """Asserted: losses and scores are those of the parameters; the one loss never rises and ends far below, the other turns."""
    own, others, x = found["own"], found["others"], found["x"]
    for data, losses in zip(rows(), (own, others), strict=True):
        nets = [START.with_theta(theta) for theta in found["path"]]
        again = [np.mean(ns.implicit_loss(net.score(data), net.trace(data))) for net in nets]
        np.testing.assert_allclose(losses, again, rtol=1e-6, atol=1e-6)
    assert np.all(np.diff(own) <= 1e-9) and own[-1] < 15 * own[np.argmin(others)] < 0, (own[-1], own[np.argmin(others)])
    best = int(np.argmin(others))
    assert 0 < best < 10 and others[best] < -1 and others[-1] > 20
    f = lambda theta, x: START.with_theta(theta).energy(x[:, None])
    for name, k in (("best", best), ("last", -1)):
        slope = -(f(found["path"][k], x + 1e-6) - f(found["path"][k], x - 1e-6)) / 2e-6
        np.testing.assert_allclose(found[name], slope, rtol=1e-5, atol=1e-5)
    assert np.min(np.diff(found["last"])) < 10 * np.min(np.diff(found["best"])) < 0


def draw():
    """Losses by step, cut off above and below; the two scores, and the samples."""
    found = measure()
    claim(found)
    figure, (left, right) = plots.panels(2, height=3.2)
    blue, red = (look | {"marker": ""} for look in plots.looks(2))
    own, others, x = found["own"], found["others"], found["x"]
    steps, best = np.arange(len(own)), int(np.argmin(others))
    left.plot(steps, own, **blue)
    left.plot(steps, others, **red)
    left.plot(best, others[best], color=plots.INK, marker="o", markerfacecolor="none", markersize=8)
    left.set(xlim=(0, steps[-1] + 1), ylim=(-40, 40))
    plots.name(left, 24, -12, "on its own 30 rows", blue["color"], ha="right", xytext=(-4, -6))
    plots.name(left, 25, 11, "on the 242 others", red["color"], ha="right", xytext=(-6, 10))
    plots.name(left, best, others[best], "stop here", xytext=(2, -15))
    plots.labels(left, "step of training", "implicit loss, 1/[x]²", "The loss falls for ever")
    right.plot(x, found["last"], color=blue["color"], linewidth=1.2)
    right.plot(x, found["best"], color=plots.INK, linewidth=2.2)
    right.plot(rows()[0][:, 0], np.full(30, -38), "|", color=plots.PALETTE[1], markersize=8)
    right.set(xlim=(-2.3, 2.3), ylim=(-42, 42))
    plots.name(right, -2.3, 2.5, "at the mark", ha="left", xytext=(3, 9))
    plots.name(right, 2.2, 30, "at the end", blue["color"], ha="right")
    plots.labels(right, "waiting time, standardised, with the 30 rows", "score", "It plunges through samples")
    return figure
