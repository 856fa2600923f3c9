"""The exact trace stops growing with the dimension.

A tanh energy network with three hidden layers of 128 units, a batch of 64, float32. The textbook method takes d backward passes; the exact one needs
min(d, 128) directions, so beyond d = 128 only the first layer's product still grows. Hutchinson's estimate from one probe takes one direction, and is an
estimate. Best of repeated measurements, on one thread of a machine with 2 cores; beyond d = 512 the textbook's time is that of one pass
times d. `numpyscore bench --curve` measures it anew.
"""

import json
from pathlib import Path

import numpy as np

import numpyscore as ns
from numpyscore.display import plots

CHAPTER = 5
MEASURED = Path(__file__).with_suffix(".json")


def measure():
    """d, and milliseconds of the three; and a small network's trace by each of them, the estimate from all sign vectors."""
    record = json.loads(MEASURED.read_text(encoding="utf-8"))
    net, x = ns.EnergyMLP.init(6, (8, 8), "tanh", rng=0), np.random.default_rng(0).standard_normal((5, 6))
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 6)).reshape(6, -1).T
    return {
        "d": np.array(record["d"], float), **{name: 1e3 * np.array(record[name]) for name in ("exact", "textbook", "hutchinson")},
        "trace": net.trace(x), "by passes": net.trace(x, "textbook"),
        "by probes": np.mean([net.curvature(x, np.broadcast_to(v, x.shape)) for v in signs], axis=0),
    }  # fmt: skip


def claim(found):
    """Asserted: one trace by three ways; the times are those on record; how each grows beyond d = 128, and the ratio at the widest."""
    for other in ("by passes", "by probes"):
        np.testing.assert_allclose(found[other], found["trace"], rtol=1e-10)
    record = json.loads(MEASURED.read_text(encoding="utf-8"))
    for name, unit in (("d", 1), ("exact", 1e3), ("textbook", 1e3), ("hutchinson", 1e3)):
        np.testing.assert_allclose(found[name], unit * np.array(record[name]), rtol=1e-9)
    d, wide = found["d"], found["d"] >= 128
    growth = lambda t: t[-1] / t[wide][0] / (d[-1] / d[wide][0])
    assert growth(found["exact"]) < 0.25 and growth(found["textbook"]) > 0.5
    assert found["textbook"][-1] > 50 * found["exact"][-1] > 50 * found["hutchinson"][-1]


def draw():
    """Three times against the dimension."""
    found = measure()
    claim(found)
    figure, (ax,) = plots.panels(1, width=5.6, height=3.3)
    for name, look in zip(("textbook", "exact", "hutchinson"), plots.looks(3), strict=True):
        ax.plot(found["d"], found[name], **look)
    ax.set(xscale="log", yscale="log", ylim=(0.03, 5e5))
    plots.rule(ax, x=128, text="width 128")
    blue, red, green = plots.PALETTE[:3]
    plots.name(ax, 900, 150, "textbook,\nd passes", blue)
    plots.name(ax, 128, 6.5, "exact, min(d, 128) directions", red, ha="left", xytext=(6, 11))
    plots.name(ax, 300, 0.65, "Hutchinson, 1 probe:\nan estimate", green, ha="left", xytext=(0, -16))
    plots.labels(ax, "dimension d", "milliseconds for 64 traces", "Trace of a 128-128-128 network")
    return figure
