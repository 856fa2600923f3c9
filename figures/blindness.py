"""The score does not see the weights of far modes.

Two unit modes at -m and m, the data with weights .2 and .8, the model with .5 and .5. As the modes part, the explicit loss J_E between them
falls from 6e-2 to 1e-11, while the Kullback-Leibler divergence rises to that of the weights, 0.193.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 2


def two_modes(m, weight):
    """Unit modes at -m and m, the first with this weight."""
    return ns.GaussianMixture([weight, 1 - weight], [[-m], [m]], 1.0)


def measure():
    """m, J_E and KL; asserted: the numbers named above."""
    m = np.append(np.linspace(1, 7, 13), 5 * np.sqrt(2))
    found = []
    for half in m:
        p, q = two_modes(half, 0.2), two_modes(half, 0.5)
        columns = lambda x, p=p, q=q: np.stack(
            [np.sum((p.score(x) - q.score(x)) ** 2, 1) / 2, p.logpdf(x) - q.logpdf(x)], 1
        )
        found.append(ns.expectation(columns, p).value)
    explicit, kl = np.array(found).T
    np.testing.assert_allclose([explicit[0], explicit[-1]], [6.2e-2, 1.2e-11], rtol=0.05)
    np.testing.assert_allclose([kl[0], kl[-1]], [0.104, 0.193], atol=1e-3)
    assert np.all(np.diff(explicit) < 0) and np.all(np.diff(kl) > -1e-12)
    return m, explicit, kl


def draw():
    """Both divergences against the distance of the modes."""
    m, explicit, kl = measure()
    figure, (ax,) = plots.panels(1, width=5.4)
    plots.curves(ax, m, {"J$_E$, what score matching sees": explicit, "KL, what it should see": kl}, points=True)
    ax.set_yscale("log")
    ax.legend(loc="lower left")
    plots.labels(
        ax,
        "m, half the distance of the modes, in their standard deviations",
        "divergence",
        "Weights .2/.8 against .5/.5",
    )
    return figure
