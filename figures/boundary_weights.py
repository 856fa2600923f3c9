"""Weights that vanish at the boundary give back what the boundary takes.

Data from a Gaussian of mean 0.5 cut at 0, the uncut Gaussian of mean mu as the model. The implicit loss has its minimum elsewhere, for
p s does not vanish at 0; weighted by h with h(0) = 0, whichever h, generalised score matching has it at the truth.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 6
TRUTH = 0.5
IMPLICIT = "h = 1, the implicit loss"
WEIGHTS = {"h = x": ns.linear_weight(), "h = x²": ns.square_weight(), "h = min(x, 1)": ns.capped_weight(1.0)}


def measure():
    """p, mu, and every loss over mu; asserted: the minima of the weighted ones at the truth, that of the implicit one as in its closed form."""
    p = ns.TruncatedGaussian(TRUTH, 1.0, 0.0, np.inf)
    mu = np.linspace(-0.5, 2.5, 61)
    losses = {}
    for name, (h, slope) in {IMPLICIT: (np.ones_like, np.zeros_like), **WEIGHTS}.items():

        def each(x, h=h, slope=slope):
            return np.stack([ns.generalised_loss(m - x, -np.ones_like(x), h(x), slope(x)) for m in mu], 1)

        losses[name] = ns.expectation(each, p, breaks=((1.0,),)).value
    best = {name: mu[np.argmin(values)] for name, values in losses.items()}
    mean = ns.expectation(lambda x: x[:, 0], p).value
    assert abs(best[IMPLICIT] - mean) < 0.026 and mean > TRUTH + 0.3
    assert all(abs(best[name] - TRUTH) < 1e-9 for name in WEIGHTS), best
    return p, mu, losses, best


def draw():
    """p times the weights near the boundary, and the losses less their minima."""
    p, mu, losses, _ = measure()
    figure, (left, right) = plots.panels(2, height=3.3)
    x = np.linspace(0, 3, 301)
    density = np.exp(p.logpdf(x[:, None]))
    looks = plots.looks(4)
    left.plot(x, density, **(looks[0] | {"marker": ""}), label=IMPLICIT)
    for (name, (h, _)), look in zip(WEIGHTS.items(), looks[1:], strict=True):
        left.plot(x, density * h(x), **(look | {"marker": ""}), label=name)
    left.set_ylim(0, 1.35)
    left.legend(ncols=2, loc="upper left")
    plots.labels(left, "x", "density p times weight h", "What is left at the boundary x = 0")
    plots.curves(right, mu, {name: values - values.min() for name, values in losses.items()})
    plots.rule(right, x=TRUTH, text="truth")
    right.set_ylim(0, 1.2)
    right.get_legend().remove()  # the lines are those of the left panel
    plots.labels(right, "mean mu of the model", "loss less its minimum", "Where the minimum is")
    return figure
