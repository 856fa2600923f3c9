"""Without noise or held-out rows the implicit loss falls for ever.

Kernels of width h on the odd rows of Old Faithful. On these very rows the loss falls like -d/h^2 as h shrinks: a peak on every sample. On
the even rows it has an interior minimum, and too narrow is far worse than too wide.
"""

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 4


def measure():
    """Widths, the loss on the kernels' own rows and on the others; asserted: the fall of the one, the interior minimum of the other."""
    x = ns.standardise(ns.old_faithful()).x
    fitted, held_out = x[1::2], x[::2]
    widths = np.geomspace(0.01, 2, 40)
    own, others = [], []
    for h in widths:
        q = ns.Parzen(fitted, h)
        own.append(np.mean(ns.implicit_loss(q.score(fitted), q.trace(fitted))))
        others.append(np.mean(ns.implicit_loss(q.score(held_out), q.trace(held_out))))
    own, others = np.array(own), np.array(others)
    best = int(np.argmin(others))
    assert np.all(np.diff(own) > 0) and own[0] < -0.5 * 2 / widths[0] ** 2
    assert 0.1 < widths[best] < 0.6 and others[0] > 1000 > -1 > others[best]
    return widths, own, others, best


def draw():
    """Both losses against the kernels' width."""
    widths, own, others, best = measure()
    figure, (ax,) = plots.panels(1, width=5.6, height=3.2)
    plots.curves(ax, widths, {"on the kernels' own rows": own, "on rows held out": others})
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1)
    plots.mark(ax, widths[best], others[best], f"best, h = {widths[best]:.2g}", offset=(6, 10))
    ax.legend(loc="center right", bbox_to_anchor=(1, 0.75))
    plots.labels(
        ax, "kernel width h, in standard deviations", "implicit loss", "Old Faithful, eruptions and waiting times"
    )
    return figure
