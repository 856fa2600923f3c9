"""Weights that vanish at the boundary give back what the boundary takes.

Data from a Gaussian of mean 0.5 cut at 0, the uncut Gaussian of mean mu as the model. The implicit loss has its minimum at 1.01, the mean of what
was kept, for p s does not vanish at 0; weighted by h with h(0) = 0, whichever h, generalised score matching has it at the truth.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 6
TRUTH = 0.5
WEIGHTS = {
    "h = 1": (np.ones_like, np.zeros_like),
    "h = x": ns.linear_weight(),
    "h = x²": ns.square_weight(),
    "h = min(x, 1)": ns.capped_weight(1.0),
}


def measure():
    """x with p h for each weight; mu with each loss, by quadrature."""
    p = ns.TruncatedGaussian(TRUTH, 1.0, 0.0, np.inf)
    x, mu = np.linspace(0, 3, 601), np.linspace(-0.5, 2.5, 121)
    found = {"x": x, "mu": mu}
    for name, (h, slope) in WEIGHTS.items():

        def each(x, h=h, slope=slope):
            return np.stack([ns.generalised_loss(m - x, -np.ones_like(x), h(x), slope(x)) for m in mu], 1)

        found[f"p h, {name}"] = np.exp(p.logpdf(x[:, None])) * h(x)
        found[f"loss, {name}"] = ns.expectation(each, p, breaks=((1.0,),)).value
    return found


def claim(found):
    """Asserted: every loss is the parabola that its moments say, with its minimum at the truth where h(0) = 0, and at the mean where not."""
    from scipy.special import ndtr

    t, w = np.polynomial.legendre.leggauss(80)  # on each side of the corner of min(x, 1)
    y = np.concatenate([(1 + t) / 2, 1 + 5.5 * (1 + t)])
    w = np.concatenate([w / 2, 5.5 * w])

    p = lambda x: np.exp(-((x - TRUTH) ** 2) / 2) / np.sqrt(2 * np.pi) / ndtr(TRUTH)
    x, mu = found["x"], found["mu"]
    np.testing.assert_allclose(mu[[0, -1]], [-0.5, 2.5])
    for name, (h, slope) in WEIGHTS.items():
        np.testing.assert_allclose(found[f"p h, {name}"], p(x) * h(x), rtol=1e-9)
        mean = lambda values: w @ (p(y) * values)
        a, b, c = mean(h(y)), mean(h(y) * y - slope(y)), mean(h(y) * (y**2 / 2 - 1) - slope(y) * y)
        np.testing.assert_allclose(found[f"loss, {name}"], a * mu**2 / 2 - b * mu + c, atol=1e-8)
        assert abs(mu[np.argmin(found[f"loss, {name}"])] - (1.01 if name == "h = 1" else TRUTH)) < 0.02


def draw():
    """p times the weights near the boundary, and the losses less their minima."""
    found = measure()
    claim(found)
    figure, (left, right) = plots.panels(2, height=3.3)
    spots = {
        "h = 1": (0.45, 0.58, 0, 10, "center"),
        "h = x": (2.3, 0.25, 6, 8, "left"),
        "h = x²": (1.7, 0.82, 0, 9, "center"),
        "h = min(x, 1)": (0.62, 0.14, 8, -8, "left"),
    }
    for (name, look), width in zip(zip(WEIGHTS, plots.looks(4), strict=True), (3, 1.8, 1.8, 1.8), strict=True):
        look = look | {"marker": "", "linewidth": width}
        left.plot(found["x"], found[f"p h, {name}"], **look)
        losses = found[f"loss, {name}"]
        right.plot(found["mu"], losses - losses.min(), **look)
        x, y, right_, up, side = spots[name]
        plots.name(left, x, y, name, look["color"], xytext=(right_, up), ha=side)
    left.set(xlim=(0, 3), ylim=(0, 0.95))
    plots.labels(left, "x, [x]", "density p times weight h", "What is left at the wall x = 0")
    plots.rule(right, x=TRUTH, text="truth")
    plots.name(right, -0.15, 0.68, "h = 1", plots.PALETTE[0], xytext=(6, 6))
    right.set_ylim(0, 1.2)
    plots.labels(right, "mean μ of the model, [x]", "loss less its minimum", "Where the minimum is")
    return figure
