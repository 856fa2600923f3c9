"""Each order of a difference buys digits, until rounding takes them back; the complex step loses none.

The score of the energy f = log cosh x + x^2/8 at x = 0.7, differenced with step h. Errors: forward h |f''|/2, central h^2 |f'''|/6, of fourth
order h^4/30 times the fifth derivative. Below, rounding grows as 1/h. A complex step, the imaginary part of -f(x + i h)/h, has the central error and no rounding.
"""

import numpy as np

from numpyscore.display import plots

CHAPTER = 2
X = 0.7


def energy(x):
    """f, for real and complex x."""
    return np.log(np.cosh(x)) + x**2 / 8


def measure():
    """Steps (k,) and the error of each rule (k,)."""
    h = np.logspace(-12, 0, 73)
    score = -(np.tanh(X) + X / 4)
    rules = {
        "forward": -(energy(X + h) - energy(X)) / h,
        "central": -(energy(X + h) - energy(X - h)) / (2 * h),
        "fourth order": -(energy(X - 2 * h) - 8 * energy(X - h) + 8 * energy(X + h) - energy(X + 2 * h)) / (12 * h),
        "complex step": -energy(X + 1j * h).imag / h,
    }
    return {"h": h} | {name: np.abs(values - score) for name, values in rules.items()}


def claim(found):
    """Asserted: each error is its leading term to half a percent where that dominates; the complex step reaches rounding and stays."""
    t = np.tanh(X)
    r = 1 - t**2
    second, third, fifth = r + 0.25, -2 * t * r, 24 * t * r**2 - 8 * t * r  # the fifth derivative of log cosh
    leading = {"forward": (abs(second) / 2, 1, 1e-4), "central": (abs(third) / 6, 2, 1e-3), "complex step": (abs(third) / 6, 2, 1e-3), "fourth order": (abs(fifth) / 30, 4, 2e-2)}  # fmt: skip
    for name, (factor, order, near) in leading.items():
        k = np.argmin(np.abs(np.log(found["h"] / near)))
        np.testing.assert_allclose(found[name][k], factor * found["h"][k] ** order, rtol=5e-3, err_msg=name)
    tiny = found["h"] < 1e-8
    assert found["complex step"][tiny].max() < 1e-15 < 1e-9 < found["central"][tiny].max()


def draw():
    """Errors against the step, both logarithmic."""
    found = measure()
    claim(found)
    figure, (ax,) = plots.panels(1, width=5.4, height=3.4)
    h = found.pop("h")
    for (name, error), look in zip(found.items(), plots.looks(4), strict=True):
        ax.loglog(h, np.maximum(error, 1e-17), label=name, **(look | {"marker": ""}))
    ax.set_ylim(1e-17, 3)
    ax.legend(loc="upper left", ncols=2)
    plots.labels(ax, "step h, [x]", "error of the score, 1/[x]", "Order 1, 2, 4, and no rounding at all")
    return figure
