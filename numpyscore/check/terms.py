r"""The terms that a loss may be made of, each in closed form on a probe: those of the right formula, and those of wrong ones.

A loss of the family is K (square + linear) + constant: a half square of the score, and a term linear in the model (a trace, a curvature,
a product with noise or target). `right` gives these two for an objective; `vocabulary` gives everything else that people have
written in their place, with words for it. Every value is a mean over the batch, so sums and means differ by a factor only.
"""

from typing import Any, NamedTuple

import numpy as np

from ..objectives import OBJECTIVES

ALIASES = {alias: name for name, row in OBJECTIVES.items() for alias in row.aliases}
LINEAR = {name: row.linear for name, row in OBJECTIVES.items()}  # what the linear term of each objective is called


class Situation(NamedTuple):
    """What one call of a loss was about: the probe, the data, and the random numbers that it used, as far as they are known."""

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


def variants(objective, kind):
    """Keyword changes of a `Situation` for each right form of an objective."""
    return [form for form in OBJECTIVES[objective].forms if kind == "energy" or not form.get("energies")]


def _mean(a):
    return float(np.mean(a))


def _squares(s):
    return np.sum(s * s, axis=-1)


def right(objective, q):
    """(constant, linear, square) of the objective at a `Situation`: their sum is the reference loss."""
    return tuple(_mean(part) for part in OBJECTIVES[objective].right(q, q.probe.score(q.at)))


# ------------------------------------------------------------------------------- everything else


class Term(NamedTuple):
    """A term in words and its value in one situation; `kind` is "linear", "square" or "other" in the model."""

    words: str
    kind: str
    value: float


def vocabulary(objective, q):
    """All terms that a wrong loss may contain, a dict of short name -> Term; scales and signs are left to the fit."""
    p, x = q.probe, q.x
    s, J, E = p.score(q.at), p.jacobian(q.at), p.energy(q.at)
    out: dict[str, Term] = {}

    def add(name, kind, value, words):
        out[name] = Term(words, kind, _mean(value))

    diagonal = np.diagonal(J, axis1=-2, axis2=-1)
    trace = diagonal.sum(-1)
    if objective in ("denoising", "multilevel_denoising"):
        _noise_terms(add, q, s)
    if objective == "explicit":
        _target_terms(add, s, q.target, "target")
        _target_terms(add, s, np.roll(q.target, 1, axis=0), "target of the next row", whole=False)
    if q.h is not None:
        _weight_terms(add, q, s, diagonal)
    if q.v is not None:
        _probe_terms(add, q, s, J)
    add("tr J", "linear", trace, "the trace of the Jacobian")
    add("1.J 1", "linear", J.sum((-2, -1)), "the sum of all entries of the Jacobian (the derivative of a summed score)")
    add("J_00", "linear", diagonal[..., 0], "the first diagonal entry of the Jacobian alone")
    add("J_dd", "linear", diagonal[..., -1], "the last diagonal entry of the Jacobian alone")
    if J.shape[-1] > 1:
        add("J_01", "linear", J[..., 0, 1], "an off-diagonal entry of the Jacobian")
        add("first row of J", "linear", J[..., 0, :].sum(-1), "the sum of the first row of the Jacobian")
    add("trace, row 0", "linear", trace[..., 0], "the trace of the first sample alone")
    add("trace, last row", "linear", trace[..., -1], "the trace of the last sample alone")
    add("sum s", "linear", s.sum(-1), "the sum of the score's entries")
    add("s.x", "linear", np.sum(s * x, -1), "the product of score and x")
    add("E", "linear", E, "the energy itself")
    add("|s|^2", "square", _squares(s), "the squared score")
    add(
        "(sum s)^2",
        "square",
        s.sum(-1) ** 2,
        "the square of the sum of the score's entries (summed before it is squared)",
    )
    add(
        "|mean s|^2",
        "square",
        _squares(s.mean(-2)),
        "the square of the batch mean of the score (averaged before it is squared)",
    )
    add("s_0^2", "square", s[..., 0] ** 2, "the square of the score's first entry alone")
    add("|s|^2, row 0", "square", _squares(s[..., 0, :]), "the squared score of the first sample alone")
    add("|J|_F^2", "square", np.sum(J * J, (-2, -1)), "the squared Frobenius norm of the Jacobian")
    add("tr^2", "square", trace**2, "the squared trace")
    add("tr J^2", "square", np.einsum("...ij,...ji->...", J, J), "the trace of the squared Jacobian")
    add("E^2", "square", E**2, "the squared energy (a regulariser)")
    add("(mean E)^2", "square", E.mean() ** 2, "the squared mean energy")
    add("var E", "square", E.var(), "the variance of the energy")
    add("var s", "square", _squares(s - s.mean(-2, keepdims=True)), "the squared score less its batch mean")
    add("|s|", "other", np.sqrt(_squares(s)), "the norm of the score, not squared")
    add("|s|_1", "other", np.abs(s).sum(-1), "the sum of absolute scores")
    add("|tr|", "other", np.abs(trace), "the absolute trace")
    add("sum |J_ii|", "other", np.abs(diagonal).sum(-1), "the sum of absolute diagonal entries of the Jacobian")
    add("|J|_F", "other", np.sqrt(np.sum(J * J, (-2, -1))), "the Frobenius norm of the Jacobian")
    add("RMS s", "other", np.sqrt(_mean(_squares(s))), "the root of the mean squared score")
    add("|s|^4", "other", _squares(s) ** 2, "the fourth power of the score's norm")
    add("relu tr", "other", np.maximum(trace, 0), "the trace clipped at 0")
    return out


def _target_terms(add, s, t, word, whole=True):
    add(f"s.{word}", "linear", np.sum(s * t, -1), f"the product of score and {word}")
    if whole:
        gap = s - t
        add("|s - t|", "other", np.sqrt(_squares(gap)), f"the distance of score and {word}, not squared")
        add("|s - t|_1", "other", np.abs(gap).sum(-1), f"the sum of absolute differences of score and {word}")
        add("RMS (s - t)", "other", np.sqrt(_mean(_squares(gap))), "the root of the mean squared difference")
        add("|s - t|^4", "other", _squares(gap) ** 2, "the fourth power of the difference")
        add(
            "cosine",
            "other",
            np.sum(s * t, -1) / np.sqrt(_squares(s) * _squares(t) + 1e-300),
            f"the cosine between score and {word}",
        )


def _noise_terms(add, q, s):
    noise, clean = q.shift / q.sigma, q.probe.score(q.x)
    add("s.eps", "linear", np.sum(s * noise, -1), "the product of score and noise")
    add("s(x).eps", "linear", np.sum(clean * noise, -1), "the product of the noise with the score at the clean x")
    add("s.x~", "linear", np.sum(s * q.at, -1), "the product of score and noisy point")
    add("s(x).x~", "linear", np.sum(clean * q.at, -1), "the product of the clean score and the noisy point")
    add("s.eps'", "linear", np.sum(s * np.roll(noise, 1, axis=-2), -1), "the product of score and the next row's noise")
    add("s(x).s(x~)", "square", np.sum(clean * s, -1), "the product of the scores at the clean and the noisy point")
    add("|s(x)|^2", "square", _squares(clean), "the squared score at the clean x")
    add("tr J(x)", "linear", q.probe.trace(q.x), "the trace of the Jacobian at the clean x")
    t = -noise / q.sigma
    gap = s - t
    add("|s - t|", "other", np.sqrt(_squares(gap)), "the distance of score and target, not squared")
    add("|s - t|_1", "other", np.abs(gap).sum(-1), "the sum of absolute differences of score and target")
    add("RMS (s - t)", "other", np.sqrt(_mean(_squares(gap))), "the root of the mean squared difference")
    scaled = q.sigma * s + noise
    add("|sigma s + eps|", "other", np.sqrt(_squares(scaled)), "the norm |sigma s + eps|, not squared")
    add("|sigma s + eps|_1", "other", np.abs(scaled).sum(-1), "the sum of absolute differences |sigma s + eps|")


def _weight_terms(add, q, s, diagonal):
    h, slope = q.h, q.h_prime
    add("h.J", "linear", np.sum(h * diagonal, -1), "the weighted trace sum h_i J_ii")
    add("h'.s", "linear", np.sum(slope * s, -1), "the term with the derivative of the weight, sum h_i' s_i")
    add("h.s", "linear", np.sum(h * s, -1), "sum h_i s_i: the weight in place of its derivative")
    add("h'.J", "linear", np.sum(slope * diagonal, -1), "sum h_i' J_ii: the weight's derivative in place of the weight")
    add("h^2.J", "linear", np.sum(h**2 * diagonal, -1), "the trace weighted by h^2")
    add("sqrt(h).J", "linear", np.sum(np.sqrt(h) * diagonal, -1), "the trace weighted by sqrt(h)")
    add("h.s^2", "square", np.sum(h * s * s, -1), "the weighted square sum h_i s_i^2")
    add("h^2.s^2", "square", np.sum(h**2 * s * s, -1), "the square weighted by h^2")
    add("sqrt(h).s^2", "square", np.sum(np.sqrt(h) * s * s, -1), "the square weighted by sqrt(h)")
    add("mean h tr J", "linear", h.mean(-1) * diagonal.sum(-1), "the trace weighted by the mean of h")
    add("mean h |s|^2", "square", h.mean(-1) * _squares(s), "the square weighted by the mean of h")


def _probe_terms(add, q, s, J):
    v = q.v
    along = np.sum(v * s, -1)
    add("v.Jv", "linear", np.einsum("mni,knij,mnj->mn", v, J, v), "the projected Jacobian v.J v")
    add("v.s", "linear", along, "v.s, not squared")
    add("1.Jv", "linear", np.einsum("knij,mnj->mn", J, v), "the sum of the entries of J v, not its product with v")
    add("|v|^2 tr J", "linear", np.sum(v * v, -1) * np.trace(J, axis1=-2, axis2=-1), "|v|^2 times the trace")
    add(
        "v'.Jv",
        "linear",
        np.einsum("mni,knij,mnj->mn", np.roll(v, 1, axis=1), J, v),
        "v.J v with the v of another row on one side",
    )
    add(
        "v0.Jv0",
        "linear",
        np.einsum("i,knij,j->kn", v[0, 0], J, v[0, 0]),
        "the projected Jacobian along the first row's v for all rows",
    )
    add("(v.s)^2", "square", along**2, "the squared projection (v.s)^2")
    add("(v0.s)^2", "square", (s @ v[0, 0]) ** 2, "the squared projection on the first row's v for all rows")
    add("(mean_v v.s)^2", "square", along.mean(0) ** 2, "the square of the mean projection")
    add("|v|^2 |s|^2", "square", np.sum(v * v, -1) * _squares(s), "|v|^2 times the squared score")
    add("|Jv|^2", "square", np.sum(np.einsum("knij,mnj->mni", J, v) ** 2, -1), "the squared norm of J v")
    add("|v.s|", "other", np.abs(along), "the absolute projection |v.s|")
    add("|v.Jv|", "other", np.abs(np.einsum("mni,knij,mnj->mn", v, J, v)), "the absolute projected Jacobian")
