"""The exact trace stops growing with the dimension.

A tanh energy network with three hidden layers of 128 units, a batch of 64, float32. The textbook method takes d backward passes; the exact one needs
min(d, 128) tangent rows, so beyond d = 128 only the first layer's product still grows. Best of repeated measurements, on one thread of a machine
with 2 cores; beyond d = 512 the textbook's time is that of one pass times d. `numpyscore bench --curve` measures it anew.
"""

import json
from pathlib import Path

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 5
MEASURED = Path(__file__).with_suffix(".json")


def measure():
    """d, and milliseconds of both; asserted: the ratio at the widest, how either grows, and that both methods give one trace."""
    record = json.loads(MEASURED.read_text(encoding="utf-8"))
    d = np.array(record["d"])
    exact, textbook = (1e3 * np.array(record[name]) for name in ("exact", "textbook"))
    wide = d >= 128
    growth = lambda t: t[-1] / t[wide][0] / (d[-1] / d[wide][0])
    assert textbook[-1] > 50 * exact[-1] and growth(exact) < 0.25 and growth(textbook) > 0.5
    net, x = ns.EnergyMLP.init(40, (8, 8), "tanh", rng=0), np.random.default_rng(0).standard_normal((5, 40))
    np.testing.assert_allclose(net.trace(x), net.trace(x, "textbook"), rtol=1e-12)
    return d, exact, textbook


def draw():
    """Both times against the dimension."""
    d, exact, textbook = measure()
    figure, (ax,) = plots.panels(1, width=5.6)
    plots.curves(ax, d, {"textbook, d passes": textbook, "exact, min(d, 128) rows": exact}, points=True)
    ax.set(xscale="log", yscale="log")
    plots.rule(ax, x=128, text="d = 128")
    ax.legend(loc="upper left", bbox_to_anchor=(0, 0.98))
    plots.labels(ax, "dimension d", "milliseconds for 64 traces", "Trace of a 128-128-128 network")
    return figure
