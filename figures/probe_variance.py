"""Which probe suits which matrix: the variances of Hutchinson's estimator.

A diagonal matrix in 20 dimensions with eigenvalues from 0.2 to 2, turned step by step away from its axes; three of them are shown, by the root of the size of their entries. Rademacher's
signs see the entries off the diagonal only and are exact on the first matrix; probes on the sphere see the spread of the eigenvalues, Gaussian ones
all of it, and a rotation is nothing to either. Lines are closed forms, markers 40 000 probes each.
"""

import numpy as np

from numpyscore.display import plots

CHAPTER = 5
D, N = 20, 40_000
LAWS = "Gaussian", "sphere", "Rademacher"


def closed_forms(A):
    """Variance of v^T A v under the three laws of v (3,)."""
    square, trace = np.sum(A**2), np.trace(A)
    return np.array([2 * square, 2 * D / (D + 2) * (square - trace**2 / D), 2 * (square - np.sum(np.diag(A) ** 2))])


def probes():
    """N probes of each law."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((N, D))
    return normal, normal * np.sqrt(D) / np.linalg.norm(normal, axis=1, keepdims=True), rng.choice([-1.0, 1.0], (N, D))


def measure():
    """How far it is turned (9,), the matrices (9, d, d), closed forms and measured variances (9, 3)."""
    rng = np.random.default_rng(1)
    skew = rng.standard_normal((D, D))
    skew = (skew - skew.T) / 10
    turned, matrices = np.linspace(0, 1, 9), []
    for t in turned:
        Q = np.linalg.solve(np.eye(D) + t * skew, np.eye(D) - t * skew)  # orthogonal, by Cayley
        matrices.append(Q @ np.diag(np.linspace(0.2, 2, D)) @ Q.T)
    found = [[np.var(np.sum((v @ A) * v, 1)) for v in probes()] for A in matrices]
    return {
        "turned": turned, "matrices": np.array(matrices), "exact": np.array([*map(closed_forms, matrices)]), "found": np.array(found),
    }  # fmt: skip


def claim(found):
    """Asserted: eigenvalues that do not turn, closed forms within 5 standard errors of what was measured, and signs exact on a diagonal."""
    for A, exact, variances in zip(found["matrices"], found["exact"], found["found"], strict=True):
        np.testing.assert_allclose(np.linalg.eigvalsh(A), np.linspace(0.2, 2, D), rtol=1e-9)
        np.testing.assert_allclose(exact, closed_forms(A), rtol=1e-9, atol=1e-9)
        for v, a, b in zip(probes(), exact, variances, strict=True):
            e = np.sum((v @ A) * v, 1)
            np.testing.assert_allclose(b, e.var(), rtol=1e-9, atol=1e-9)
            assert abs(a - b) <= 5 * np.sqrt(np.mean((e - e.mean()) ** 4) / N) + 1e-9
    np.testing.assert_allclose(found["turned"], np.arange(9) / 8, atol=1e-12)
    assert found["exact"][0, 2] < 1e-9 and np.ptp(found["exact"][:, :2], axis=0).max() < 1e-9


def draw():
    """Variances above, three of the matrices below."""
    found = measure()
    claim(found)
    turned = found["turned"]
    figure, axes = plots.mosaic(
        "vvv;abc",
        "vvv;abc",
        width=5.6,
        height=4.6,
        narrow_height=4.6,
        ratios={"height_ratios": [1.7, 1]},
        narrow_ratios={"height_ratios": [2.2, 1]},
    )
    ax = axes["v"]
    for k, look in enumerate(plots.looks(3)):
        ax.plot(turned, found["exact"][:, k], **(look | {"marker": ""}))
        ax.plot(turned, found["found"][:, k], **(look | {"linestyle": ""}))
        at, lift = ((0.5, -11), (0.3, 9), (0.62, -15))[k]
        plots.name(ax, at, found["exact"][4, k], LAWS[k], look["color"], ha="center", xytext=(0, lift))
    ax.set_ylim(-9, 66)
    plots.labels(ax, "turned away from its axes", "variance of one probe", "Hutchinson's estimator, d = 20")
    for key, k in zip("abc", (0, 4, 8), strict=True):
        axes[key].imshow(
            np.sqrt(np.abs(found["matrices"][k])), cmap=plots.ramp(), vmin=0, vmax=1.2, interpolation="nearest"
        )
        axes[key].set(xticks=[], yticks=[], title=f"at {turned[k]:g}")
    return figure
