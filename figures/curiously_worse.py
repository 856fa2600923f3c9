"""On samples the implicit loss swings with the model, the explicit one does not: that is why it looks worse.

100 samples of N(0, 1), models s = -theta x, 300 draws. J_E - J_I - C is (1/2 - theta)(mean of x^2 - 1): zero on average, but its spread grows
with the sharpness theta of the model, 0.07 at theta = 1, 0.5 at theta = 4. The minimum of both is in the same place on average; the value of
the implicit loss says little from one data set to the next.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 4
N, DRAWS = 100, 300


def measure():
    """theta (k,), both losses (DRAWS, k) from the package's own functions, and the mean squares (DRAWS,)."""
    rng = np.random.default_rng(0)
    theta = np.linspace(0, 4, 41)
    x = rng.standard_normal((DRAWS, N, 1))
    explicit = np.array([[np.mean(ns.explicit_loss(-t * draw, -draw)) for t in theta] for draw in x])
    implicit = np.array([[np.mean(ns.implicit_loss(-t * draw, np.full(N, -t))) for t in theta] for draw in x])
    return {"theta": theta, "explicit": explicit, "implicit": implicit + 0.5, "squares": np.mean(x**2, axis=(1, 2))}


def claim(found):
    """Asserted: the difference is (1/2 - theta)(mean x^2 - 1) to rounding, and its spread is (theta - 1/2) sqrt(2/n)."""
    theta, q = found["theta"], found["squares"][:, None]
    np.testing.assert_allclose(found["explicit"], (theta - 1) ** 2 / 2 * q, atol=1e-12)
    np.testing.assert_allclose(found["explicit"] - found["implicit"], (0.5 - theta) * (q - 1), atol=1e-12)
    spread = (found["explicit"] - found["implicit"]).std(0)
    np.testing.assert_allclose(
        spread, np.abs(theta - 0.5) * np.sqrt(2 / N), rtol=0.13, atol=1e-12
    )  # three standard errors of 300 draws


def draw():
    """Both losses with the middle 80 % of the draws, and the spread of their difference."""
    found = measure()
    claim(found)
    theta = found["theta"]
    figure, (left, right) = plots.panels(2, height=3.2)
    for name, colour, dash in (("explicit", plots.PALETTE[0], "-"), ("implicit", plots.PALETTE[1], (0, (5, 2)))):
        low, mid, high = np.quantile(found[name], [0.1, 0.5, 0.9], axis=0)
        left.fill_between(theta, low, high, color=colour, alpha=0.25, linewidth=0)
        left.plot(theta, mid, color=colour, linestyle=dash, label=name + (" + C" if name == "implicit" else ""))
    left.legend()
    plots.labels(
        left, "sharpness θ of the model s = −θx", "loss on 100 samples, 1/[x]²", "Median and middle 80 % of 300 draws"
    )
    gaps = found["explicit"] - found["implicit"]
    right.plot(theta[[0, -1]], gaps[:40, [0, -1]].T, color=plots.PALETTE[1], linewidth=0.6, alpha=0.6)
    plots.rule(right, y=0.0)
    plots.labels(right, "sharpness θ", "$J_E - J_I - C$, 1/[x]²", "Zero on average, never on samples")
    return figure
