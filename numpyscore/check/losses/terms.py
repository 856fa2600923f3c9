r"""The terms that a loss may be made of: those of the right formula, from the objectives' registry, and what people have written in their place.

A loss of the family is K (square + linear) + constant: a half square of the score, and a term linear in the model (a trace, a curvature, a
product with noise or target). A new name is one row of `vocabulary`.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from .identify import UNITS, solve
from .names import Explanation

ALIASES = {alias: name for name, row in OBJECTIVES.items() for alias in row.aliases}
CALLS = 14  # probes in a trial, where a few coefficients are wanted


class Observation(NamedTuple):
    """What one call of a loss was about: the probe, the data, and the random numbers that it used; what `Objective.right` is given."""

    probe: Any
    x: np.ndarray  # (n, d)
    at: np.ndarray  # (k, n, d) where the score is taken: x itself, or the noisy points
    shift: np.ndarray | None = None  # (k, n, d), noise that was added: at - x
    sigma: Any = None  # () or (k, n, 1), [x]
    weight: Any = 1.0  # () or (k, n), lambda of each level
    v: np.ndarray | None = None  # (m, n, d)
    target: np.ndarray | None = None
    h: np.ndarray | None = None
    h_prime: np.ndarray | None = None
    step: float = 0.0
    variance_reduced: bool = False  # 1/2 |s|^2 in place of 1/2 (v.s)^2
    energies: bool = False  # finite differences of energies, not of scores
    square_at_x: bool = False  # of the score itself, where others take differences or a mean
    numbers: dict = {}  # noqa: RUF012  of the objective itself
    forward: bool = False  # v.(s(x + eps v) - s(x)) / eps in place of the central difference


def observation(caller, trial, v=None, step=None):
    """The `Observation` of a trial, its probe still to be put in."""
    extras, x = trial.setting.extras, trial.setting.x
    weights = {k: extras[k] for k in ("h", "h_prime") if caller.objective == "generalised"}
    target = extras["target"] if caller.objective == "explicit" else None
    step = caller.known["step"] if step is None else step
    return Observation(None, x, x[None], v=v, target=target, step=step, numbers=caller.numbers, **weights)


def right_terms(objective, answers, q, form):
    """Linear and square term of the reference for all probes (P, 2)."""
    right, q = OBJECTIVES[objective].right, q._replace(**form)
    mean = lambda probe: [float(np.mean(part)) for part in right(q._replace(probe=probe), probe.score(q.at))[1:]]
    return np.array([mean(p) for p in answers.probes])


def as_it_should_be(objective, tables, seen, floors):
    """(coefficients (G, 2) of the linear and the square term, `Fit`s, form) in the first right form that explains all trials; None."""
    best = None
    for form in OBJECTIVES[objective].forms:
        if form.get("energies") and tables[0].kind != "energy":
            continue
        fits = [
            solve(right_terms(objective, t.grow(CALLS), q, form), t.values, t.caller.eps, f)
            for t, q, f in zip(tables, seen, floors, strict=True)
        ]
        if all(f.exact for f in fits):
            return np.array([f.coefficients for f in fits]), fits, form
        if best is None or max(f.residual for f in fits) < max(f.residual for f in best[1]):
            best = np.array([f.coefficients for f in fits]), fits, form
    return best


# ------------------------------------------------------------------------------- everything else


class Term(NamedTuple):
    """A term in words and its values (P,); `kind` is "linear", "square" or "other" in the model."""

    words: str
    kind: str
    value: np.ndarray


def _squares(s):
    return np.sum(s * s, axis=-1)


def vocabulary(answers, q, noise=None, target=None):
    """All terms that a wrong loss may contain, short name -> Term; scales and signs are left to the fit.

    S, J and E are (P, M, ...) at the points x of the trial; noise is (eps, sigma) of the points, where they are noisy, and target theirs.
    """
    S, J, E, x = answers.S, answers.J, answers.E, q.x
    diagonal = np.diagonal(J, axis1=-2, axis2=-1)
    trace, norm = diagonal.sum(-1), np.sqrt(_squares(S))
    J2 = np.sum(J * J, (-2, -1))
    # fmt: off
    rows = {
        "tr J":          ("linear", trace, "the trace of the Jacobian"),
        "1.J 1":         ("linear", J.sum((-2, -1)), "the sum of all entries of the Jacobian (the derivative of a summed score)"),
        "J_00":          ("linear", diagonal[..., 0], "the first diagonal entry of the Jacobian alone"),
        "J_dd":          ("linear", diagonal[..., -1], "the last diagonal entry of the Jacobian alone"),
        "first row of J": ("linear", J[..., 0, :].sum(-1), "the sum of the first row of the Jacobian"),
        "trace less J_dd": ("linear", trace - diagonal[..., -1], "the trace without its last entry: the loop over dimensions ends one too early"),
        "trace, row 0":  ("linear", trace[..., 0], "the trace of the first sample alone"),
        "sum s":         ("linear", S.sum(-1), "the sum of the score's entries"),
        "E":             ("linear", E, "the energy itself"),
        "|s|^2":         ("square", _squares(S), "the squared score"),
        "(sum s)^2":     ("square", S.sum(-1) ** 2, "the square of the sum of the score's entries (summed before it is squared)"),
        "|mean s|^2":    ("square", _squares(S.mean(-2)), "the square of the batch mean of the score (averaged before it is squared)"),
        "|J|_F^2":       ("square", J2, "the squared Frobenius norm of the Jacobian"),
        "tr^2":          ("square", trace**2, "the squared trace"),
        "tr J^2":        ("square", np.einsum("...ij,...ji->...", J, J), "the trace of the squared Jacobian"),
        "sum J_ii^2":    ("square", _squares(diagonal), "the squared diagonal of the Jacobian"),
        "E^2":           ("square", E**2, "the squared energy (a regulariser)"),
        "(mean E)^2":    ("square", E.mean(-1) ** 2, "the squared mean energy"),
        "var E":         ("square", E.var(-1), "the variance of the energy"),
        "|s|":           ("other", norm, "the norm of the score, not squared"),
        "|s|_1":         ("other", np.abs(S).sum(-1), "the sum of absolute scores"),
        "|tr|":          ("other", np.abs(trace), "the absolute trace"),
        "sum |J_ii|":    ("other", np.abs(diagonal).sum(-1), "the sum of absolute diagonal entries of the Jacobian"),
        "|J|_F":         ("other", np.sqrt(J2), "the Frobenius norm of the Jacobian"),
        "|s|^4":         ("other", _squares(S) ** 2, "the fourth power of the score's norm"),
        "relu tr":       ("other", np.maximum(trace, 0), "the trace clipped at 0"),
        "relu -tr":      ("other", np.minimum(trace, 0), "the trace clipped at 0 from above"),
        "prod J_ii":     ("other", np.prod(diagonal, -1), "the product of the diagonal entries of the Jacobian"),
        "det J":         ("other", np.linalg.det(J), "the determinant of the Jacobian"),
        "log |det J|":   ("other", np.linalg.slogdet(J)[1], "the logarithm of the Jacobian's determinant"),
    }
    # fmt: on
    if noise is None:
        rows["s.x"] = ("linear", np.sum(S * x, -1), "the product of score and x")
    if q.target is not None:
        rows |= _target_rows(S, q.target, "target")
        rows["s.next"] = (
            "linear",
            np.sum(S * np.roll(q.target, 1, axis=0), -1),
            "the product of score and target of the next row",
        )
    if q.h is not None:
        rows |= _weight_rows(q.h, q.h_prime, S, diagonal)
    if q.v is not None:
        rows |= _probe_rows(q.v, S, J)
    if noise is not None:
        rows |= _noise_rows(S, *noise)
    if target is not None:
        rows |= _target_rows(S, target, "target")
    return {name: Term(words, kind, _mean(value)) for name, (kind, value, words) in rows.items()}


def _mean(value):
    """Over everything but the probes."""
    return np.asarray(value, float).reshape(len(value), -1).mean(1)


def _target_rows(S, t, word):
    gap = S - t
    # fmt: off
    return {
        "|s - t|":       ("other", np.sqrt(_squares(gap)), f"the distance of score and {word}, not squared"),
        "|s - t|_1":     ("other", np.abs(gap).sum(-1), f"the sum of absolute differences of score and {word}"),
        "RMS (s - t)":   ("other", np.sqrt(np.mean(_squares(gap), -1)), "the root of the mean squared difference"),
        "cosine":        ("other", np.sum(S * t, -1) / np.sqrt(_squares(S) * _squares(t) + 1e-300), f"the cosine between score and {word}"),
        "huber":         ("other", np.where(np.abs(gap) < 1, gap**2 / 2, np.abs(gap) - 0.5).sum(-1), "a Huber error: a square for small differences, absolute for large ones"),
        "log cosh":      ("other", np.logaddexp(gap, -gap).sum(-1), "the logarithm of cosh of the differences"),
    }
    # fmt: on


def _noise_rows(S, eps, sigma):
    scaled = sigma[:, None] * S + eps
    # fmt: off
    return {
        "|sigma s + eps|": ("other", np.sqrt(_squares(scaled)), "the norm |sigma s + eps|, not squared"),
        "|sigma s + eps|_1": ("other", np.abs(scaled).sum(-1), "the sum of absolute differences |sigma s + eps|"),
    }
    # fmt: on


def _weight_rows(h, slope, S, diagonal):
    # fmt: off
    return {
        "h.J":           ("linear", np.sum(h * diagonal, -1), "the weighted trace sum h_i J_ii"),
        "h'.s":          ("linear", np.sum(slope * S, -1), "the term with the derivative of the weight, sum h_i' s_i"),
        "h.s":           ("linear", np.sum(h * S, -1), "sum h_i s_i: the weight in place of its derivative"),
        "sqrt(h).J":     ("linear", np.sum(np.sqrt(h) * diagonal, -1), "the trace weighted by sqrt(h)"),
        "h^2.s^2":       ("square", np.sum(h**2 * S * S, -1), "the square weighted by h^2"),
        "mean h tr J":   ("linear", h.mean(-1) * diagonal.sum(-1), "the trace weighted by the mean of h"),
    }
    # fmt: on


def _probe_rows(v, S, J):
    """v is (m, n, d); everything is (P, m, n)."""
    S, J = S[:, None], J[:, None]
    along, Jv = np.sum(v * S, -1), np.einsum("pmnij,mnj->pmni", np.broadcast_to(J, (len(J), len(v), *J.shape[2:])), v)
    curve = np.sum(v * Jv, -1)
    # fmt: off
    return {
        "v.Jv":          ("linear", curve, "the projected Jacobian v.J v"),
        "v.s":           ("linear", along, "v.s, not squared"),
        "1.Jv":          ("linear", Jv.sum(-1), "the sum of the entries of J v, not its product with v"),
        "v'.Jv":         ("linear", np.sum(np.roll(v, 1, axis=1) * Jv, -1), "v.J v with the v of another row on one side"),
        "v0.Jv0":        ("linear", np.einsum("i,pknij,j->pkn", v[0, 0], J, v[0, 0]), "the projected Jacobian along the first row's v for all rows"),
        "(v.s)^2":       ("square", along**2, "the squared projection (v.s)^2"),
        "(v0.s)^2":      ("square", (S @ v[0, 0]) ** 2, "the squared projection on the first row's v for all rows"),
        "(mean_v v.s)^2": ("square", along.mean(1) ** 2, "the square of the mean projection"),
        "|v|^2 |s|^2":   ("square", np.sum(v * v, -1) * _squares(S), "|v|^2 times the squared score"),
        "|Jv|^2":        ("square", _squares(Jv), "the squared norm of J v"),
        "|v.s|":         ("other", np.abs(along), "the absolute projection |v.s|"),
        "|v.Jv|":        ("other", np.abs(curve), "the absolute projected Jacobian"),
    }
    # fmt: on


# ------------------------------------------------------------------------------- which of them is it?


def search(tables, terms, right, floors):
    """The `Explanation`s with the fewest terms that leave nothing in any trial, right terms among them first.

    terms : of each trial, name -> Term; right : of each trial, linear and square term (P, 2), or None
    """
    if right is not None:
        given = {"linear": ("the right linear term", "linear"), "square": ("the right square", "square")}
        terms = [
            {n: Term(*given[n], r[:, k]) for k, n in enumerate(given)} | t for t, r in zip(terms, right, strict=True)
        ]
    names = _distinct(terms, tables)
    columns = [np.column_stack([t[n].value for n in names]) for t in terms]
    for size in (1, 2, 3):
        combinations = np.array(
            [
                c
                for c in itertools.combinations(range(len(names)), size)
                if size < 3 or names[c[0]] in ("linear", "square")
            ]
        )
        found = []
        for pick in _screened(columns[0], tables[0], combinations, floors[0]) if len(combinations) else ():
            fits = [
                solve(c[:, pick], t.values, t.caller.eps, f) for c, t, f in zip(columns, tables, floors, strict=True)
            ]
            if all(f.exact for f in fits):
                chosen = [names[i] for i in pick]
                words, kinds = (tuple(getattr(terms[0][n], a) for n in chosen) for a in ("words", "kind"))
                found.append(Explanation(tuple(chosen), words, kinds, np.array([f.coefficients for f in fits])))
        if found:
            return sorted(found, key=_strangeness)
    return []


def _distinct(terms, tables):
    """Names of the terms that are not one of the earlier ones over again, in all trials."""
    names: list[str] = []
    for name in terms[0]:
        values = [t[name].value for t in terms]
        same = lambda other, v=values: all(
            _parallel(a, t[other].value, 64 * UNITS * table.caller.eps)
            for a, t, table in zip(v, terms, tables, strict=True)
        )
        if all(np.all(np.isfinite(v)) and np.ptp(v) > 0 for v in values) and not any(same(other) for other in names):
            names.append(name)
    return names


def _parallel(a, b, rtol):
    c = (a @ b) / max(b @ b, 1e-300)
    return np.linalg.norm(a - c * b) <= rtol * np.linalg.norm(a)


def _screened(columns, table, combinations, floor):
    """The combinations of columns whose least squares residual in one trial is round-off, all solved at once."""
    y = table.values
    centred, off = columns - columns.mean(0), y - y.mean()
    centred = centred / np.maximum(np.linalg.norm(centred, axis=0), 1e-300)
    Q = np.linalg.qr(centred[:, combinations].transpose(1, 0, 2))[0]  # (C, P, size)
    left = off - np.einsum("cpk,ck->cp", Q, np.einsum("cpk,p->ck", Q, off))
    allowed = 64 * UNITS * table.caller.eps * (np.abs(y).max() + np.abs(off).max()) + floor
    return combinations[np.abs(left).max(1) <= allowed]


def _strangeness(e):
    """Explanations with right terms first, then those with simple coefficients."""
    rough = sum(abs(np.log2(max(abs(c), 1e-9)) % 1) > 1e-6 for c in e.coefficients[0])
    return sum(n not in ("linear", "square") for n in e.names), rough, float(np.ptp(e.coefficients, axis=0).sum())
