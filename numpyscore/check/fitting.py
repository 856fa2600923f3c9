"""A loss as a combination of terms: the coefficients of the right ones, or a search for the wrong ones that explain it exactly."""

import itertools
from typing import NamedTuple

import numpy as np

from .terms import right, variants, vocabulary

UNITS = 512.0  # eps of the terms' absolute sum: what summing them in another order may change, with room
MOST = 3  # terms in an explanation


class Group(NamedTuple):
    """Calls of one setting: values (N,) of the loss, what each was about, and the round-off of one value (N,)."""

    setting: object
    values: np.ndarray
    situations: list
    eps: float
    floor: float = 0.0  # round-off beyond eps of the terms, as of a second difference
    drift: np.ndarray | None = (
        None  # (N, c), parts of the constant that change from call to call, where noise cannot be held
    )


class Fit(NamedTuple):
    """values = constant + sum_j coefficients[j] term_j; `exact` if nothing but round-off is left."""

    coefficients: np.ndarray
    exact: bool
    residual: float  # largest, relative to the terms
    doubt: np.ndarray  # standard error of each coefficient, from what is left


def solve(columns, group):
    """Least squares of the group's values on a constant and `columns` (N, c)."""
    y, n = group.values, len(group.values)
    drift = () if group.drift is None else group.drift.T
    A = np.column_stack([np.ones(n), *columns.T, *drift])
    wanted = slice(1, 1 + columns.shape[1])
    size = np.linalg.norm(A, axis=0)
    size[size == 0] = 1.0
    c = np.linalg.lstsq(A / size, y, rcond=1e-12)[0] / size
    parts = np.abs(A * c).sum(1) + np.abs(y)
    allowed = UNITS * group.eps * parts.max() + group.floor
    left = y - A @ c
    residual = np.abs(left).max()
    noise = np.sqrt(left @ left / max(1, n - A.shape[1])) + group.eps * np.sqrt(np.mean(parts**2))
    spread = np.sqrt(np.diag(np.linalg.pinv((A / size).T @ (A / size)))) / size
    return Fit(c[wanted], bool(residual <= allowed), float(residual / parts.max()), noise * spread[wanted])


def right_terms(objective, group, form):
    """Linear and square term of the reference (N, 2), and its constant (N,)."""
    parts = np.array([right(objective, q._replace(**form)) for q in group.situations])
    return parts[:, 1:], parts[:, 0]


class Explanation(NamedTuple):
    """Names of the terms that a loss is made of, and their coefficients in each group (G, c)."""

    names: tuple[str, ...]
    words: tuple[str, ...]
    kinds: tuple[str, ...]
    coefficients: np.ndarray
    doubt: np.ndarray
    form: dict
    residual: float

    def coefficient(self, name):
        """Of one term in every group (G,), zeros if it is not there."""
        return self.coefficients[:, self.names.index(name)] if name in self.names else np.zeros(len(self.coefficients))


def as_it_should_be(objective, groups, kind):
    """The `Explanation` by the two right terms in one of the right forms, or None."""
    for form in variants(objective, kind):
        fits = [solve(right_terms(objective, g, form)[0], g) for g in groups]
        if all(f.exact for f in fits):
            c, doubt = np.array([f.coefficients for f in fits]), np.array([f.doubt for f in fits])
            names = ("linear", "square")
            return Explanation(names, names, names, c, doubt, form, max(f.residual for f in fits))
    return None


def search(objective, groups, kind):
    """All explanations with the fewest terms, right ones and others, that leave nothing in any group."""
    found: list[Explanation] = []
    for form in variants(objective, kind):
        tables = [_table(objective, g, form) for g in groups]
        names, kinds, words = _distinct(tables, groups)
        columns = [np.column_stack([t[name].value for name in names]) for t in tables]
        for size in range(1, MOST + 1):
            combinations = np.array(list(itertools.combinations(range(len(names)), size)))
            for pick in _screened(columns[0], groups[0], combinations):
                fits = [solve(c[:, pick], g) for c, g in zip(columns, groups, strict=True)]
                if all(f.exact for f in fits):
                    c, doubt = np.array([f.coefficients for f in fits]), np.array([f.doubt for f in fits])
                    chosen, said, sorts = (tuple(seq[i] for i in pick) for seq in (names, words, kinds))
                    found.append(Explanation(chosen, said, sorts, c, doubt, form, max(f.residual for f in fits)))
            if any(len(e.names) == size for e in found):
                break
    least = min((len(e.names) for e in found), default=0)
    return sorted((e for e in found if len(e.names) == least), key=_strangeness)


class _Column(NamedTuple):
    words: str
    kind: str
    value: np.ndarray


def _table(objective, group, form):
    """Name -> _Column over the calls of a group: the right terms, and the vocabulary."""
    terms, _ = right_terms(objective, group, form)
    out = {"linear": _Column("the right linear term", "linear", terms[:, 0])}
    out["square"] = _Column("the right square", "square", terms[:, 1])
    rows = [vocabulary(objective, q._replace(**form)) for q in group.situations]
    for name, term in rows[0].items():
        out[name] = _Column(term.words, term.kind, np.array([row[name].value for row in rows]))
    return out


def _distinct(tables, groups):
    """Names of the terms that are not one of the earlier ones over again (in all groups), with kinds and words."""
    names: list[str] = []
    for name in tables[0]:
        if name not in tables[-1] or any(name not in t for t in tables):
            continue
        same = lambda other, name=name: all(
            _parallel(t[name].value, t[other].value, 64 * UNITS * g.eps) for t, g in zip(tables, groups, strict=True)
        )
        if not any(same(other) for other in names) and all(np.ptp(t[name].value) > 0 for t in tables):
            names.append(name)
    return names, [tables[0][n].kind for n in names], [tables[0][n].words for n in names]


def _parallel(a, b, rtol):
    c = (a @ b) / max(b @ b, 1e-300)
    return np.linalg.norm(a - c * b) <= rtol * np.linalg.norm(a)


def _screened(columns, group, combinations):
    """The combinations of columns whose least squares residual in one group is round-off, all solved at once."""
    y = group.values
    centred, off = columns - columns.mean(0), y - y.mean()
    if group.drift is not None:
        D = np.linalg.qr(group.drift - group.drift.mean(0))[0]
        centred, off = centred - D @ (D.T @ centred), off - D @ (D.T @ off)
    centred = centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-300)
    Q = np.linalg.qr(centred[:, combinations].transpose(1, 0, 2))[0]  # (C, N, size)
    left = off - np.einsum("cnk,ck->cn", Q, np.einsum("cnk,n->ck", Q, off))
    allowed = 64 * UNITS * group.eps * (np.abs(y).max() + np.abs(off).max()) + group.floor
    return combinations[np.abs(left).max(1) <= allowed]


def _strangeness(e):
    """Explanations with right terms first, then those with common terms and simple coefficients."""
    rough = sum(abs(np.log2(max(abs(c), 1e-9)) % 1) > 1e-6 for c in e.coefficients[0])
    return (
        sum(name not in ("linear", "square") for name in e.names),
        rough,
        float(np.ptp(e.coefficients, axis=0).sum()),
    )
