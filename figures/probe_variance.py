"""Which probe suits which matrix: the variances of Hutchinson's estimator.

Symmetric matrices in 20 dimensions from diagonal to fully mixed. Rademacher probes see the off-diagonal part only and are exact on a diagonal
matrix, Gaussian ones see all of it, those on the sphere the spread of the eigenvalues. Lines are closed forms, markers 40 000 probes each.
"""

import numpy as np

from numpyscore.display import plots

CHAPTER = 5
D, N = 20, 40_000


def closed_forms(A):
    """Variance of v^T A v for the three laws of v."""
    square, trace = np.sum(A**2), np.trace(A)
    return {
        "Gaussian": 2 * square,
        "sphere": 2 * D / (D + 2) * (square - trace**2 / D),
        "Rademacher": 2 * (square - np.sum(np.diag(A) ** 2)),
    }


def measure():
    """How much is mixed, the closed forms, and measured variances; asserted: within 5 standard errors of each other."""
    rng = np.random.default_rng(0)
    eigenvalues = np.linspace(0.2, 2, D)
    skew = rng.standard_normal((D, D))
    skew = (skew - skew.T) / 10
    mixed, exact, found = np.linspace(0, 1, 9), [], []
    normal = rng.standard_normal((N, D))
    probes = {
        "Gaussian": normal,
        "sphere": normal * np.sqrt(D) / np.linalg.norm(normal, axis=1, keepdims=True),
        "Rademacher": rng.choice([-1.0, 1.0], (N, D)),
    }
    for t in mixed:
        Q = np.linalg.solve(np.eye(D) + t * skew, np.eye(D) - t * skew)  # orthogonal, by Cayley
        A = Q @ np.diag(eigenvalues) @ Q.T
        exact.append(closed_forms(A))
        estimates = {law: np.sum((v @ A) * v, 1) for law, v in probes.items()}
        found.append({law: e.var() for law, e in estimates.items()})
        for law, e in estimates.items():
            error = np.sqrt(np.mean((e - e.mean()) ** 4) / N)
            assert abs(found[-1][law] - exact[-1][law]) <= 5 * error + 1e-9, (t, law)
    assert found[0]["Rademacher"] < 1e-20
    return mixed, exact, found


def draw():
    """Variances against how far the matrix is from diagonal."""
    mixed, exact, found = measure()
    figure, (ax,) = plots.panels(1, width=5.6)
    for law, look in zip(exact[0], plots.looks(3), strict=True):
        ax.plot(mixed, [e[law] for e in exact], **(look | {"marker": ""}))
        ax.plot(mixed, [f[law] for f in found], **look, label=law)
    ax.set_ylim(0)
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 0.86))
    plots.labels(ax, "rotation away from diagonal", "variance of one probe", "Hutchinson's estimator, d = 20")
    return figure
