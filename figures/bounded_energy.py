"""A bounded energy has no normaliser, and confinement repairs it.

A network of tanh units saturates, so exp(-f) does not decay: its integral over [-R, R] grows in proportion to R, at the rate of its limits
at both ends. With a confinement of 0.1 x^2/2 the same network is a density, and the integral stays where it is.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 1


def measure():
    """x, exp(-f) of both networks, and their integrals over [-R, R]; asserted: the one grows at its limits' rate, the other not."""
    x = np.linspace(-60, 60, 4801)
    fields, growth = {}, {}
    for label, confinement in (("bounded", 0.0), ("confined", 0.1)):
        net = ns.EnergyMLP.init(1, (6,), "tanh", confinement=confinement, rng=0)
        fields[label] = np.exp(-net.energy(x[:, None]))
        middle = len(x) // 2
        both = fields[label][middle:] + fields[label][middle::-1]  # at R and at -R
        growth[label] = np.append(0, np.cumsum((both[1:] + both[:-1]) / 2 * (x[1] - x[0])))
    R = x[middle:]
    ends = fields["bounded"][0] + fields["bounded"][-1]
    slope = (growth["bounded"][-1] - growth["bounded"][-400]) / (R[-1] - R[-400])
    assert abs(slope / ends - 1) < 1e-4, (slope, ends)
    assert growth["confined"][-1] / growth["confined"][1000] - 1 < 1e-9
    return x, fields, R, growth, ends


def draw():
    """exp(-f), and its integral over longer and longer intervals."""
    x, fields, R, growth, ends = measure()
    figure, (left, right) = plots.panels(2)
    plots.curves(left, x, fields)
    plots.labels(left, "x", "exp(-f(x))", "Not normalised")
    plots.curves(right, R, growth)
    plots.labels(right, "R", "integral over [-R, R]", f"Growth {ends:.2f} per unit of R, for ever")
    return figure
