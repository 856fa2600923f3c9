"""One toy, fitted five ways: where the data are, the five scores agree.

2000 samples of p proportional to exp(0.25 x + 1.2 x^2 - 0.3 x^4); the model is log p = theta . (x, x^2, x^3, x^4) + constant. Explicit, implicit, sliced and denoising
(sigma = 0.1) matching are each one linear system, maximum likelihood a few steps of Newton. Between the 5 and 95 % quantiles of the data the
five scores lie within 0.4 of each other.
"""

import numpy as np

from numpyscore.display import plots

CHAPTER = 7
POWERS = np.arange(1, 5)
TRUE = np.array([0.25, 1.2, 0.0, -0.3])
SIGMA = 0.1


def slope(x):
    """d/dx of the statistics (n, 4)."""
    return POWERS * x[:, None] ** (POWERS - 1)


def bend(x):
    """d^2/dx^2 of the statistics (n, 4)."""
    return POWERS * (POWERS - 1) * x[:, None] ** np.maximum(POWERS - 2, 0)


def sample():
    """The data, noise for denoising and squared probes for slices."""
    rng, t = np.random.default_rng(1), np.linspace(-5, 5, 20001)
    p = np.exp(t[:, None] ** POWERS @ TRUE)
    x = np.interp(rng.uniform(size=2000), np.cumsum(p) / p.sum(), t)  # by the inverse of the distribution function
    return x, rng.standard_normal((50, len(x))), rng.standard_normal((50, len(x))) ** 2


def moments(theta):
    """E and covariance of the statistics under exp(theta . F)/Z, by the trapezoidal rule."""
    t = np.linspace(-6, 6, 4001)
    F = t[:, None] ** POWERS
    w = np.exp(F @ theta - np.max(F @ theta))
    w /= w.sum()
    mean = w @ F
    return mean, (w[:, None] * (F - mean)).T @ (F - mean)


def equations(x, eps, v2):
    """name -> (A, b) of A theta = b, for the four losses that are quadratic in theta."""
    D = slope(x)
    noisy = x + SIGMA * eps
    A = np.mean([slope(y).T @ slope(y) for y in noisy], axis=0) / len(x)
    target = np.mean([slope(y).T @ (-e / SIGMA) for y, e in zip(noisy, eps, strict=True)], axis=0) / len(x)
    probes = v2.mean(0)  # v.J v = v^2 s' and (v.s)^2 = v^2 s^2 in one dimension
    return {
        "explicit": (D.T @ D / len(x), D.T @ slope(x) @ TRUE / len(x)),
        "implicit": (D.T @ D / len(x), -bend(x).mean(0)),
        "sliced": ((D * probes[:, None]).T @ D / len(x), -(probes @ bend(x)) / len(x)),
        "denoising": (A, target),
    }


def measure():
    """name -> theta (4,)."""
    x, eps, v2 = sample()
    found = {name: np.linalg.solve(A, b) for name, (A, b) in equations(x, eps, v2).items()}
    theta, goal = found["implicit"], (x[:, None] ** POWERS).mean(0)
    for _ in range(50):
        mean, covariance = moments(theta)
        theta = theta + np.linalg.solve(covariance, goal - mean)
    return found | {"maximum likelihood": theta}


def claim(found):
    """Asserted: each theta solves its own equation, maximum likelihood matches the moments, and the scores agree where data are."""
    x, eps, v2 = sample()
    for name, (A, b) in equations(x, eps, v2).items():
        np.testing.assert_allclose(A @ found[name], b, atol=1e-8, err_msg=name)
    np.testing.assert_allclose(moments(found["maximum likelihood"])[0], (x[:, None] ** POWERS).mean(0), atol=1e-8)
    grid = np.linspace(*np.quantile(x, [0.05, 0.95]), 200)
    scores = np.array([slope(grid) @ theta for theta in found.values()])
    assert np.max(np.ptp(scores, axis=0)) < 0.4, np.max(np.ptp(scores, axis=0))


def draw():
    """Five scores and the true one, above the histogram of the data."""
    found = measure()
    claim(found)
    x, _, _ = sample()
    figure, (top, low) = plots.stacked(2, 1, width=5.4, height=4.2, ratios=(3, 1))
    grid = np.linspace(-3, 3.4, 400)
    top.plot(grid, slope(grid) @ TRUE, color=plots.INK, linewidth=3.5, alpha=0.25, label="true")
    for (name, theta), look in zip(found.items(), plots.looks(5), strict=True):
        top.plot(grid, slope(grid) @ theta, label=name, **(look | {"marker": ""}))
    top.axhline(0, color=plots.INK, linewidth=0.6)
    top.set_ylim(-9, 9)
    top.legend(ncols=2, loc="upper right")
    plots.labels(top, "", "score, 1/[x]", "Five losses, nearly one score")
    low.hist(x, 60, color=plots.PALETTE[5], density=True)
    plots.labels(low, "x, [x]", "data")
    return figure
