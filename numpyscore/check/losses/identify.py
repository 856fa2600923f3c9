r"""A loss as a function of what fn answers: one regression for A, b, C in

.. math:: L = \tfrac12 z \cdot A z + b \cdot z + C : J + \text{constant}

z the answers (scores; where needed energies and Jacobians too) at the points where the loss asks, with the random numbers held. Which
answers may be multiplied with each other is the only choice: those of one point, of one row of data, or all of them.

fn is a probe, which answers everywhere and runs, and differentiates, on anybody's arrays: a sum of ridge functions, of `*`, `/`, `@` and `.sum(-1)` alone,

.. math:: E(x) = \tfrac12 x^T A x + b \cdot x + \sum_k r_k f(q_k \cdot x + o_k), \qquad f(y) = 1 / (1 + y^2)

and its score is minus the gradient; a score probe has vectors R_k in place of r_k q_k and need be no gradient. With enough ridges its answers at
the points, and the Jacobians there, are as good as independent random numbers.
"""

import copy
from typing import NamedTuple

import numpy as np

from ...common.arrays import concrete, framework

UNITS = 512.0  # eps of the terms' absolute sum: what summing them in another order may change, with room
MOST = 0.02  # of it, whatever eps is
NEAR = 1e-5  # of its terms: what single precision in a part, finite differences of its own, or an epsilon may leave
SPARE = 8  # equations beyond the unknowns
WIDE, MANY = 8, 1500  # dimensions, and unknowns, from which on entries are first looked at one by one
RIDGES = 60


class Probe:
    """A random model of `kind` "energy" or "score" in dimension d."""

    def __init__(self, kind, d, rng, scale=1.0, ridges=RIDGES):
        self.kind, self.dim = kind, d
        A = 0.5 * rng.standard_normal((d, d))
        self.A = scale * (A + A.T) / 2 if kind == "energy" else scale * A
        self.b = scale * rng.standard_normal(d)
        self.Q = rng.standard_normal((d, ridges)) / np.sqrt(d / 2)
        self.o = 1.5 * rng.standard_normal(ridges)
        size = 4 * scale / np.sqrt(max(1, ridges))
        if kind == "energy":
            self.r = size * rng.standard_normal(ridges)
            self.R = self.Q * self.r
        else:
            self.R = size * rng.standard_normal((d, ridges))
            self.r = np.sum(self.R * self.Q, axis=0) / np.maximum(np.sum(self.Q**2, axis=0), 1e-9)

    @classmethod
    def isotropic(cls, kind, d, scale, b=0.0):
        """scale |x|^2 / 2 + b.x."""
        # 0 times another model, and so of the same size as all others, for which a loss may be compiled
        out = cls(kind, d, np.random.default_rng(0)).scaled(0.0)
        out.A, out.b = scale * np.eye(d), b + np.zeros(d)
        return out

    def scaled(self, c):
        """c times this model."""
        out = copy.copy(self)
        out.A, out.b, out.r, out.R = c * self.A, c * self.b, c * self.r, c * self.R
        return out

    def moved(self, size, rng):
        """This model and a little of another one."""
        out, A = copy.copy(self), rng.standard_normal(self.A.shape)
        out.A = self.A + size * (A + A.T if self.kind == "energy" else A)
        out.b = self.b + size * rng.standard_normal(self.dim)
        out.r = self.r + size * rng.standard_normal(self.r.shape)
        out.R = self.Q * out.r if self.kind == "energy" else self.R + size * rng.standard_normal(self.R.shape)
        return out

    # ---- closed forms, on ndarrays (..., d)

    def _f(self, x, order):
        """f, f' or f'' at the ridges (..., k)."""
        y = x @ self.Q + self.o
        f = 1 / (1 + y * y)
        return f if order == 0 else -2 * y * f * f if order == 1 else (8 * y * y * f - 2) * f * f

    def energy(self, x):
        """(...,); of a score probe, some energy, for want of another."""
        return np.sum(x * (0.5 * x @ self.A + self.b), axis=-1) + self._f(x, 0) @ self.r

    def score(self, x):
        """(..., d): -(A x + b + R f') with R = r Q for an energy; f in place of f' for a score."""
        return -(x @ self.A + self.b + self._f(x, self.kind == "energy") @ self.R.T)

    def jacobian(self, x):
        """jac[..., i, j] = d s_i / d x_j."""
        slope = self._f(x, 1 + (self.kind == "energy"))
        return -(self.A.T + np.einsum("ik,...k,jk->...ij", self.R, slope, self.Q))

    def trace(self, x):
        """(...,)."""
        return np.trace(self.jacobian(x), axis1=-2, axis2=-1)

    @property
    def constants(self):
        """What the formula in the user's framework is made of."""
        return self.A, self.b, self.Q, self.o, self.r, self.R.T


def random_probe(kind, d, rng):
    """A probe model of random sign and scale."""
    return Probe(kind, d, rng, rng.choice([-1, 1]) * rng.uniform(0.5, 2))


class Asked:
    """A probe as the user's loss sees it: a function of his arrays, with `scale` a number of his that he may differentiate in.

    Called like a network, `fn(x)`, with points (..., d) or (..., *shape); whatever else he passes (a noise level) is written down and not
    used. NumPy code may instead call `fn.energy(x)`, `fn.score(x)`, `fn.trace(x)`, `fn.jacobian(x)`, `fn.curvature(x, v)`, `fn.jvp(x, v)`.
    """

    def __init__(self, probe, make, shape=None):
        self.probe, self.dim, self.shape = probe, probe.dim, shape
        self.constants = [make(np.ascontiguousarray(a)) for a in probe.constants]
        self.scale = None
        self.points: list = []  # ndarrays (..., d), or None where a compiler hid them
        self.told: list = []
        self.as_score = False
        self.see = concrete  # what is written down of an array

    def __call__(self, x, *told, **named):
        return self.of(x, self.scale, *told, **named)

    def of(self, x, scale, *told, **named):
        """The model's value at x in the user's arrays."""
        images = self.shape is not None and tuple(x.shape[-len(self.shape) :]) == self.shape
        at = x.reshape((*x.shape[: -len(self.shape)], self.dim)) if images and self.shape else x
        self._note(at, told, named)
        A, b, Q, o, r, R = (_beside(at, c) for c in self.constants)
        y = at @ Q + o
        f = 1 / (1 + y * y)
        if self.probe.kind == "energy":
            value = (at * (0.5 * (at @ A) + b)).sum(-1) + (f * r).sum(-1)
        else:
            value = -(at @ A + b + f @ R)
            value = value.reshape(x.shape) if images else value
        return value if scale is None else scale * value

    def _note(self, x, told, named):
        self.points.append(self.see(x))
        self.told.append([self.see(value) for value in (*told, *named.values()) if value is not None])

    # ---- for NumPy code, which differentiates by hand

    def _of(self, what, x, told=(), named=None):
        self._note(x, told, named or {})
        return getattr(self.probe, what)(np.asarray(x))

    def energy(self, x):
        """Energy (n,)."""
        return self._of("energy", x)

    def score(self, x, *told, **named):
        """Score (n, d)."""
        self.as_score = True
        return self._of("score", x, told, named)

    def jacobian(self, x):
        """Jacobian of the score (n, d, d)."""
        return self._of("jacobian", x)

    def trace(self, x):
        """Trace of it (n,)."""
        return self._of("trace", x)

    def jvp(self, x, v):
        """J v (n, d)."""
        return np.einsum("...ij,...j->...i", self.jacobian(x), v)

    def vjp(self, x, v):
        """v^T J (n, d)."""
        return np.einsum("...ij,...i->...j", self.jacobian(x), v)

    def curvature(self, x, v):
        """v^T J v (n,)."""
        return np.sum(v * self.jvp(x, v), axis=-1)


def _beside(x, constant):
    """A constant in the dtype of x (and on its device)."""
    if getattr(x, "dtype", None) == constant.dtype or not hasattr(x, "dtype"):
        return constant
    return constant.to(x) if hasattr(constant, "to") and framework(constant) == "torch" else constant.astype(x.dtype)


# ------------------------------------------------------------------------------- the regression


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
    parts = np.maximum(np.abs(X * c).sum(1) + np.abs(values), 1e-300)  # a loss may be 0, of rows that are left out
    left = values - X @ c
    largest = float(np.abs(left).max())
    noise = np.sqrt(left @ left / max(1, len(values) - X.shape[1])) + eps * np.sqrt(np.mean(parts**2))
    exact = largest <= min(UNITS * eps, MOST) * parts.max() + floor
    return Fit(c[1:], noise * spread[1:], largest / float(parts.max()), bool(exact))


class Found(NamedTuple):
    """The arrays of a loss in one trial, for the M points where it asks; those of what was not multiplied are 0."""

    A: np.ndarray  # (M, d, M, d): of the scores
    b: np.ndarray  # (M, d)
    C: np.ndarray  # (M, d, d): of the Jacobians; symmetric if fn is an energy
    D: np.ndarray  # (M, w, w): of the products of two of the w entries of a Jacobian
    e: np.ndarray  # (M,): of the energies
    F: np.ndarray  # (M, M): of the products of two energies
    fit: Fit
    doubt: float  # relative standard error of the least certain of them
    # (M, d, w): of the products of a score and one of the w entries, where these were multiplied
    G: np.ndarray | None = None

    @property
    def own(self):
        """The blocks (M, d, d) of A that belong to one point."""
        return np.einsum("iaib->iab", self.A)

    @property
    def largest(self):
        """The largest entry of all that multiply a score, a Jacobian or an energy once, or two scores."""
        return max(float(np.abs(a).max()) for a in (self.A, self.b, self.C, self.e))

    @property
    def doubts(self):
        """(M,), standard error of what was found at each point, where scores are multiplied within a point alone."""
        M, d = self.b.shape
        squares = len(self.fit.doubt) - M * d
        parts = self.fit.doubt[:squares].reshape(M, -1), self.fit.doubt[squares : squares + M * d].reshape(M, d)
        return np.maximum(*(part.max(1) for part in parts))

    @property
    def cross(self):
        """The largest entry of A between different points, relative to the largest of all."""
        A = np.abs(self.A)
        return float((A * (1 - np.eye(len(A)))[:, None, :, None]).max() / max(A.max(), 1e-300))


def entries_of(kind, d, diagonal=False):
    """The Jacobians (w, d, d) whose sum is any Jacobian, or any diagonal one: one entry is 1; of an energy both entries that are equal are 1/2."""
    if diagonal:
        return np.eye(d)[:, None] * np.eye(d)
    basis = np.eye(d * d).reshape(d * d, d, d)
    if kind == "score":
        return basis
    i, j = np.triu_indices(d)
    return (basis[i * d + j] + basis[j * d + i]) / 2


def identify(answers, groups=None, jacobian=True, quadratic=("S",), beside=None):
    """The `Found` arrays of a loss; answers are multiplied within each of `groups` (index arrays of points), by default each point alone.

    In many dimensions the squares of single entries and the diagonal of the Jacobian, which are few, are tried first; nothing else is where
    all products would be more than `MANY` unknowns.

    quadratic : which answers are multiplied, of scores "S", Jacobians "J", energies "E"
    beside : (P,), values of one more term of the loss
    """
    M, d = answers.trial.points.shape
    once = list(dict.fromkeys(["S", *["J"] * jacobian, *quadratic]))
    groups = [np.array([p]) for p in range(M)] if groups is None else groups
    width = {"S": d, "J": d * d if answers.kind == "score" else d * (d + 1) // 2, "E": 1}
    sizes = [len(g) * sum(width[q] for q in quadratic) for g in groups]
    unknowns = sum(size * (size + 1) // 2 for size in sizes) + M * sum(width[q] for q in once)
    if d > WIDE:
        found = _identified(answers, groups, once, quadratic, beside, True)
        if found.fit.near or unknowns > MANY:
            return found
    return _identified(answers, groups, once, quadratic, beside, False)


def _identified(answers, groups, once, quadratic, beside, alone):
    """The `Found` arrays; `alone` if each answer is multiplied with itself alone."""
    M, d = answers.trial.points.shape
    basis = entries_of(answers.kind, d, alone)
    width = {"S": d, "J": len(basis), "E": 1}
    step = sum(width[q] for q in quadratic)
    pairs = [(np.arange(size),) * 2 if alone else np.triu_indices(size) for size in (len(g) * step for g in groups)]
    if beside is None:
        answers.grow(sum(len(i) for i, _ in pairs) + M * sum(width[q] for q in once) + 2 + SPARE)
    dual = basis / np.einsum("wij,wij->w", basis, basis)[:, None, None]
    of = {
        "S": lambda: answers.S,
        "J": lambda: np.einsum("pmij,wij->pmw", answers.J, dual),
        "E": lambda: answers.E[..., None],
    }
    tables = {q: of[q]() for q in once}
    P, columns, all_z = len(answers.values), [], np.concatenate([tables[q] for q in quadratic], axis=-1)
    for g, (i, j) in zip(groups, pairs, strict=True):
        z = all_z[:, g].reshape(P, -1)
        columns.append(z[:, i] * z[:, j] * np.where(i == j, 0.5, 1.0))
    columns += [tables[q].reshape(P, -1) for q in once] + ([] if beside is None else [beside[:, None]])
    fit = solve(np.concatenate(columns, axis=1), answers.values, answers.caller.eps)
    c, at = fit.coefficients, 0
    Q = np.zeros((M * step, M * step))  # of all products
    for g, (i, j) in zip(groups, pairs, strict=True):
        k = (g[:, None] * step + np.arange(step)).ravel()
        Q[k[i], k[j]] = Q[k[j], k[i]] = c[at : at + len(i)]
        at += len(i)
    single = {}
    for q in once:
        single[q] = c[at : at + M * width[q]].reshape(M, -1)
        at += M * width[q]
    return _arrays(fit, Q.reshape(M, step, M, step), single, quadratic, width, dual)


def _arrays(fit, Q, single, quadratic, width, dual):
    """The `Found` of the coefficients Q (M, z, M, z) of all products, and those of single answers."""
    M = len(Q)
    ends = np.cumsum([0, *(width[q] for q in quadratic)])
    at = {q: slice(a, b) for q, a, b in zip(quadratic, ends[:-1], ends[1:], strict=True)}
    block = lambda q: Q[:, at[q], :, at[q]] if q in at else np.zeros((M, width[q], M, width[q]))
    A, F, e = block("S"), block("E")[:, 0, :, 0], single.get("E", np.zeros((M, 1)))[:, 0]
    D, C = np.einsum("iaib->iab", block("J")), np.einsum("mw,wij->mij", single.get("J", np.zeros((M, len(dual)))), dual)
    G = np.einsum("iaib->iab", Q[:, at["S"], :, at["J"]]) if "J" in at else None
    doubt = float(fit.doubt.max() / max(np.abs(fit.coefficients).max(), 1e-300))
    return Found(A, single["S"], C, D, e, F, fit, doubt, G)
