"""Integration by parts is two areas that cancel, unless p s arrives at an end with something left.

The filled area of p' s is E[s_0 s], the hatched area of p s' is E[s']. Their sum is the height of p s at the right end minus that at the left.
Two modes on the line: both heights are 0, the areas cancel. Exponential data end at a wall: p s begins at 0.347 there, and the sum misses
by just that. The model is s = -(x - 0.5)/1.44 in both.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 3


def measure():
    """For both densities: x, the two integrands, p s, and E[s_0 s], E[s'], [p s] by quadrature."""
    model, found = ns.Gaussian(0.5, 1.44), {}
    two = ns.GaussianMixture([0.35, 0.65], [[-1.2], [1.4]], [0.35, 0.5])
    for name, data, ends in (("line", two, (-6, 6)), ("wall", ns.Exponential(1.0), (0, 30))):
        x = np.linspace(*ends, 6001)
        p, s_0, s, slope = (
            f(x[:, None]).ravel() for f in (lambda x, d=data: np.exp(d.logpdf(x)), data.score, model.score, model.trace)
        )
        cross = ns.expectation(lambda x, d=data: np.sum(d.score(x) * model.score(x), 1), data)
        jump = ns.flux(model.score, data)
        found |= {f"{name} x": x, f"{name} p's": p * s_0 * s, f"{name} ps'": p * slope, f"{name} ps": p * s}
        found[f"{name} sums"] = np.array([float(cross), float(ns.expectation(model.trace, data)), float(jump)])
    return found


def claim(found):
    """Asserted: the drawn areas are the two means, their sum is the jump of p s, 0 on the line and 0.347 at the wall."""
    for name, jump in (("line", 0.0), ("wall", -0.5 / 1.44)):
        x, first, second, ps = (found[f"{name} {k}"] for k in ("x", "p's", "ps'", "ps"))
        cross, slope, rim = found[f"{name} sums"]
        np.testing.assert_allclose([np.trapezoid(first, x), np.trapezoid(second, x)], [cross, slope], rtol=1e-4)
        np.testing.assert_allclose([cross + slope, rim, ps[-1] - ps[0]], jump, atol=1e-8)
        s = -(x - 0.5) / 1.44
        np.testing.assert_allclose(ps * -1 / 1.44, second * s, atol=1e-12)  # p s and p s' belong together
    assert abs(found["line sums"][0]) > 0.3  # both areas are there: nothing cancels trivially


def draw():
    """Above, the two integrands; below, p s with its height at the wall."""
    found = measure()
    claim(found)
    figure, axes = plots.stacked(2, 2, width=7.2, height=4.6, ratios=(1.2, 1))
    titles = ("Two modes: nothing at the ends", "Exponential data: a wall at x = 0")
    for name, title, (top, low), window in zip(("line", "wall"), titles, axes.T, ((-4, 5), (-0.2, 5.5)), strict=True):
        x, first, second, ps = (found[f"{name} {k}"] for k in ("x", "p's", "ps'", "ps"))
        cross, slope, rim = found[f"{name} sums"]
        blue, red, green = plots.PALETTE[:3]
        x, first, second, ps = (values[::24] for values in (x, first, second, ps))
        plots.area(top, x, first, blue)
        plots.area(top, x, second, red, hatch="////")
        plots.corner(top, f"p′s: E[s₀ s] = {plots.signed(cross)}", color=blue)
        plots.corner(top, f"p s′: E[s′] = {plots.signed(slope)}", color=red, low=True)
        top.set(title=title, xlim=window, ylim=(-0.85, 0.6))
        low.plot(x, ps, color=plots.INK)
        low.axhline(0, color=plots.INK, linewidth=0.6)
        low.set(xlim=window, ylim=(-0.35, 0.85), xlabel="x, [x]")
        if abs(rim) > 1e-8:
            plots.height(low, 0.0, ps[0], f"p s starts at {ps[0]:.3f}", color=green)
        plots.corner(low, f"sum of the areas {plots.signed(cross + slope)}\n= p s at the right end − at the left")
    axes[0, 0].set_ylabel("integrands, 1/[x]³")
    axes[1, 0].set_ylabel("p s, 1/[x]²")
    return figure
