"""A bounded energy has no normaliser, and confinement repairs it.

A network of tanh units saturates, so exp(-f) does not decay: its integral over [-R, R] grows in proportion to R, at the rate of its limits
at both ends, 5.93. With a confinement of 0.1 x^2/2 the same network is a density, and the integral stays where it is.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 1


def measure():
    """x and exp(-f) of both networks; R and their integrals over [-R, R]."""
    x = np.linspace(-60, 60, 4801)
    found = {"x": x, "R": x[2400:]}
    for label, confinement in (("bounded", 0.0), ("confined", 0.1)):
        net = ns.EnergyMLP.init(1, (6,), "tanh", confinement=confinement, rng=0)
        p = found[f"{label} p"] = np.exp(-net.energy(x[:, None]))
        both = p[2400:] + p[2400::-1]  # at R and at -R
        found[f"{label} integral"] = np.append(0, np.cumsum((both[1:] + both[:-1]) / 2 * (x[1] - x[0])))
    return found


def claim(found):
    """Asserted: integrals are those of the curves; the bounded one grows by its limits for every unit of R, the confined one not at all."""
    x, R = found["x"], found["R"]
    for label in ("bounded", "confined"):
        both = found[f"{label} p"][2400:] + found[f"{label} p"][2400::-1]
        grown = found[f"{label} integral"]
        np.testing.assert_allclose(grown[-1], np.trapezoid(both, R), rtol=1e-9)
        np.testing.assert_allclose(np.trapezoid(found[f"{label} p"], x), grown[-1], rtol=1e-9)
    ends = found["bounded p"][0] + found["bounded p"][-1]
    grown = found["bounded integral"]
    np.testing.assert_allclose((grown[-1] - grown[-400]) / (R[-1] - R[-400]), ends, rtol=1e-4)
    assert abs(ends - 5.93) < 5e-3 and R[-1] == 60
    assert found["confined integral"][-1] / found["confined integral"][1000] - 1 < 1e-9


def draw():
    """exp(-f), and its integral over longer and longer intervals."""
    found = measure()
    claim(found)
    figure, (left, right) = plots.panels(2)
    blue, red = (look | {"marker": ""} for look in plots.looks(2))
    for ax, x, what in ((left, "x", "p"), (right, "R", "integral")):
        ax.plot(found[x], found[f"bounded {what}"], **blue)
        ax.plot(found[x], found[f"confined {what}"], **red)
    plots.name(left, -58, 0.9, "bounded", blue["color"])
    plots.name(left, 4, 2.3, "confined", red["color"], xytext=(4, 6))
    plots.labels(left, "x, [x]", "$e^{-f(x)}$", "Does it decay?")
    plots.name(right, 40, 240, "bounded: 5.93 more\nfor each unit of R", blue["color"], ha="right", xytext=(-6, 14))
    plots.name(right, 40, 17, "confined: this is Z", red["color"], ha="center", xytext=(0, 9))
    plots.labels(right, "R, [x]", "integral of $e^{-f}$ over [−R, R], [x]", "Has it an integral?")
    return figure
