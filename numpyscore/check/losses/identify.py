r"""A loss as a function of what fn answers: one regression for A, b, C in

.. math:: L = \tfrac12 z \cdot A z + b \cdot z + C : J + \text{constant}

z the answers (scores; where needed energies and Jacobians too) at the points where the loss asks, with the random numbers held. Which
answers may be multiplied with each other is the only choice: those of one point, of one row of data, or all of them.
"""

from typing import NamedTuple

import numpy as np

from .probes import random_probe

UNITS = 512.0  # eps of the terms' absolute sum: what summing them in another order may change, with room
NEAR = 1e-5  # of its terms: what single precision in a part, finite differences of its own, or an epsilon may leave
SPARE = 8  # equations beyond the unknowns


class Answers:
    """Probes, what the loss said of them, and what they answer at the points (M, d) where it asks."""

    def __init__(self, caller, kind, trial, rng, draw=None):
        self.caller, self.kind, self.trial, self.rng = caller, kind, trial, rng
        self.draw = draw or (lambda: random_probe(kind, trial.setting.d, rng))
        self.probes: list = []
        self.values = np.empty(0)
        self._cache: dict = {}

    def near(self, size):
        """The same for probes that all differ little from the first."""
        return Answers(self.caller, self.kind, self.trial, self.rng, lambda: self.probes[0].moved(size, self.rng))

    def grow(self, count):
        """At least `count` probes."""
        more = count - len(self.probes)
        if more > 0:
            new = [self.draw() for _ in range(more)]
            self.values = np.concatenate([self.values, self.caller.values(new, self.trial.setting)])
            self.probes += new
            self._cache = {}
        return self

    def __getattr__(self, name):
        """S (P, M, d), J (P, M, d, d) and E (P, M) at the points."""
        what = {"S": "score", "J": "jacobian", "E": "energy"}[name]
        if name not in self._cache:
            self._cache[name] = np.array([getattr(p, what)(self.trial.points) for p in self.probes])
        return self._cache[name]

    def of(self, term):
        """A term, a function of a probe, for all probes (P, ...)."""
        return np.array([term(p) for p in self.probes])


class Fit(NamedTuple):
    """values = constant + columns @ coefficients; `exact` if nothing but round-off is left, `near` if hardly anything is."""

    coefficients: np.ndarray
    doubt: np.ndarray  # standard error of each coefficient, from what is left
    residual: float  # largest, relative to the terms
    exact: bool

    @property
    def near(self):
        """Whether what is left is within `NEAR`."""
        return self.exact or self.residual <= NEAR


def solve(columns, values, eps, floor=0.0):
    """Least squares of values (P,) on a constant and columns (P, c)."""
    X = np.column_stack([np.ones(len(values)), columns])
    size = np.linalg.norm(X, axis=0)
    size[size == 0] = 1.0
    Q, R = np.linalg.qr(X / size)
    diagonal = np.abs(np.diag(R))
    if len(diagonal) and diagonal.min() > 1e-10 * diagonal.max():
        inverse = np.linalg.inv(R)
        c, spread = inverse @ (Q.T @ values) / size, np.linalg.norm(inverse, axis=1) / size
    else:
        inverse = np.linalg.pinv(X / size, rcond=1e-12)
        c, spread = inverse @ values / size, np.linalg.norm(inverse, axis=1) / size
    parts = np.abs(X * c).sum(1) + np.abs(values)
    left = values - X @ c
    largest = float(np.abs(left).max())
    noise = np.sqrt(left @ left / max(1, len(values) - X.shape[1])) + eps * np.sqrt(np.mean(parts**2))
    exact = largest <= UNITS * eps * parts.max() + floor
    return Fit(c[1:], noise * spread[1:], largest / float(parts.max()), bool(exact))


class Found(NamedTuple):
    """The arrays of a loss in one trial, for the M points where it asks."""

    A: np.ndarray  # (M, d, M, d): of the scores
    b: np.ndarray  # (M, d)
    C: np.ndarray  # (M, d, d): of the Jacobians; symmetric if fn is an energy
    fit: Fit
    doubt: float  # relative standard error of the least certain of them
    rest: float  # size of the coefficients of energies and of products with Jacobians, relative to the others

    @property
    def own(self):
        """The blocks (M, d, d) of A that belong to one point."""
        return np.einsum("iaib->iab", self.A)

    @property
    def doubts(self):
        """(M,), standard error of what was found at each point, where scores are multiplied within a point alone."""
        M, d = self.b.shape
        squares = M * d * (d + 1) // 2
        parts = self.fit.doubt[:squares].reshape(M, -1), self.fit.doubt[squares : squares + M * d].reshape(M, d)
        return np.maximum(*(part.max(1) for part in parts))

    @property
    def cross(self):
        """The largest entry of A between different points, relative to the largest of all."""
        A = np.abs(self.A).copy()
        largest = max(A.max(), 1e-300)
        A[np.arange(len(A)), :, np.arange(len(A))] = 0
        return float(A.max() / largest)


def identify(answers, groups=None, jacobian=True, quadratic=("S",), linear=()):
    """The `Found` arrays of a loss; scores are multiplied within each of `groups` (index arrays of points), by default each point alone."""
    M, d = answers.trial.points.shape
    groups = [np.array([p]) for p in range(M)] if groups is None else groups
    entries = np.triu_indices(d) if answers.kind == "energy" else tuple(np.indices((d, d)).reshape(2, -1))
    width = {"S": d, "E": 1, "J": len(entries[0])}
    quads = [np.triu_indices(len(g) * sum(width[q] for q in quadratic)) for g in groups]
    once = ["S", *(["J"] if jacobian else []), *linear]
    once += [q for q in quadratic if q not in once]
    unknowns = sum(len(q[0]) for q in quads) + M * sum(width[q] for q in once)
    answers.grow(unknowns + 1 + SPARE)
    tables = {"S": answers.S}
    if "J" in once:
        twice = np.where(entries[0] == entries[1], 1.0, 2.0) if answers.kind == "energy" else 1.0
        tables["J"] = answers.J[..., entries[0], entries[1]] * twice
    if "E" in once:
        tables["E"] = answers.E[..., None]
    P, columns, z_of = len(answers.values), [], np.concatenate([tables[q] for q in quadratic], axis=-1)
    for g, (i, j) in zip(groups, quads, strict=True):
        z = z_of[:, g].reshape(P, -1)
        columns.append(z[:, i] * z[:, j] * np.where(i == j, 0.5, 1.0))
    columns += [tables[q].reshape(P, -1) for q in once]
    fit = solve(np.concatenate(columns, axis=1), answers.values, answers.caller.eps)
    return _arrays(fit, groups, quads, once, quadratic, entries, (M, d), width, answers)


def _arrays(fit, groups, quads, once, quadratic, entries, shape, width, answers):
    """The coefficients of a fit, put where they belong."""
    (M, d), at, rest = shape, 0, 0.0
    A, b, C = np.zeros((M, d, M, d)), np.zeros((M, d)), np.zeros((M, d, d))
    c, step = fit.coefficients, sum(width[q] for q in quadratic)
    sizes = np.abs(c).max() if len(c) else 1.0
    for g, (i, j) in zip(groups, quads, strict=True):
        values = c[at : at + len(i)]
        at += len(i)
        (p, a), (q, e) = np.divmod(i, step), np.divmod(j, step)
        scores = (a < d) & (e < d)  # the first d of each point's answers are its score
        A[g[p[scores]], a[scores], g[q[scores]], e[scores]] = values[scores]
        A[g[q[scores]], e[scores], g[p[scores]], a[scores]] = values[scores]
        rest = max(rest, float(np.abs(values[~scores]).max(initial=0.0)))
    for name in once:
        values = c[at : at + M * width[name]].reshape(M, -1)
        at += values.size
        if name == "S":
            b = values
        elif name == "J":
            C[:, entries[0], entries[1]] = values
            if answers.kind == "energy":
                C[:, entries[1], entries[0]] = values
        else:
            rest = max(rest, float(np.abs(values).max(initial=0.0)))
    doubt = float(fit.doubt.max(initial=0.0) / max(sizes, 1e-300))
    return Found(A, b, C, fit, doubt, rest / max(sizes, 1e-300))
