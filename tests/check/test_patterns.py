"""Wrong losses whose arrays have a pattern, written down in NumPy: each is told what it is, and right ones in other conventions pass."""

import numpy as np
import pytest
from nightly import mostly
from wording import check_loss

from numpyscore.check.losses.identify import Answers, Fit, Found, entries_of, random_probe
from numpyscore.check.losses.loss import _setting
from numpyscore.check.losses.observe import LossCaller
from numpyscore.check.losses.patterns import (
    Part,
    _by_target,
    _of_rows,
    _place,
    _weights,
    few,
    matrices,
    not_quadratic,
    parts_of,
    products,
    sentence,
    target_named,
    vectors,
)
from numpyscore.check.losses.plain import observation
from numpyscore.check.losses.trials import Trial


def half(s):
    return 0.5 * np.sum(s**2, -1)


def implicit(square, trace=lambda fn, x: fn.trace(x).mean()):
    """A loss of two terms, the first a number made of the score (n, d)."""
    return lambda fn, x: square(fn.score(x)) + trace(fn, x)


def of(pick):
    """The trace term made of other entries of the Jacobian."""
    return lambda fn, x: pick(fn.jacobian(x)).mean()


def by_place(n):
    return np.arange(1, n + 1) / n


def weighted(weight):
    return lambda fn, x: np.mean(weight(x) * (half(fn.score(x)) + fn.trace(x)))


def generalised(square=1.0, trace=1.0, slope=1.0):
    def loss(fn, x, h, h_prime):
        s, J = fn.score(x), np.einsum("nii->ni", fn.jacobian(x))
        times = lambda c, a: c(a) if callable(c) else c * a
        return np.mean(np.sum(times(square, h) * s**2 / 2 + times(slope, h_prime) * s + times(trace, h) * J, 1))

    return loss


def explicit(moved):
    return lambda fn, x, target_score: np.mean(half(fn.score(x) - moved(target_score)))


def differences(points, weights=(-1, 2, -1), ends=(1, -1)):
    """Finite differences of an energy at some points: -(w . f)/eps^2 + (f[a] - f[b])^2/(8 eps^2)."""

    def loss(fn, x, rng, eps):
        v = rng.standard_normal(x.shape)
        f = [fn.energy(y) for y in points(x, v, rng.standard_normal(x.shape), eps)]
        a, b = (f[0] if k == 1 else f[2] if k == -1 else f[1] for k in ends)
        return np.mean(sum(w * e for w, e in zip(weights, f, strict=True)) / eps**2 + (a - b) ** 2 / (8 * eps**2))

    return loss


SIGNS = np.random.default_rng(5).choice([-1.0, 1.0], (64, 8))
STRAIGHT = lambda x, v, u, h: (x + h * v, x, x - h * v)
mean = lambda s: half(s).mean()
# name -> (objective, loss, what is said of it)
WRONG = {
    "mean before the square": ("implicit", implicit(lambda s: half(s.mean(0))), "averaged before it is squared"),
    "centred": ("implicit", implicit(lambda s: mean(s - s.mean(0))), "less its batch mean"),
    "products of rows": ("implicit", implicit(lambda s: mean(s) + np.mean(np.sum(s[::2] * s[1::2], 1))), "products of the scores of different rows"),
    "sum before the square": ("implicit", implicit(lambda s: 0.5 * np.mean(s.sum(1) ** 2)), "summed before it is squared"),
    "coordinates joined": ("implicit", implicit(lambda s: mean(s) + np.mean(s[:, 0] * s[:, 1]) / 2), "products of different entries of the score"),
    "last row": ("implicit", implicit(lambda s: half(s)[:-1].sum() / len(s)), "the last row of the batch is never squared"),
    "first row": ("implicit", implicit(lambda s: half(s)[1:].sum() / len(s)), "the first row of the batch is never squared"),
    "last dimension": ("implicit", implicit(lambda s: mean(s[:, :-1])), "entries [0, 1] alone"),
    "first dimension": ("implicit", implicit(lambda s: mean(s[:, 1:])), "entries [1, 2] alone"),
    "one entry": ("implicit", implicit(lambda s: mean(s) - s[0, 0] ** 2 / 2 / len(s)), "entries left out"),
    "weights of squares": ("implicit", implicit(lambda s: np.mean(by_place(len(s)) * half(s))), "weighted in the square alone"),
    "weights of traces": ("implicit", implicit(mean, lambda fn, x: np.mean(by_place(len(x)) * fn.trace(x))), "weighted in the other term alone"),
    "first column of J": ("implicit", implicit(mean, of(lambda J: J[:, :, 0].sum(1))), "the entries [0, 0], [0, 1]"),
    "linear term": ("implicit", implicit(lambda s: mean(s) + s.sum(1).mean()), "the sum of the score's entries"),
    "weights of x": ("implicit", weighted(lambda x: np.exp(-(x**2).sum(1))), "all terms are weighted by a function of x: right for importance weights, of samples of another density; for a weighted divergence"),
    "clamped": ("implicit", lambda fn, x: np.maximum(np.mean(half(fn.score(x)) + fn.trace(x)), 0.1), "clipped loss"),
    "largest": ("implicit", lambda fn, x: np.max(half(fn.score(x)) + fn.trace(x)), "a maximum"),
    "running sum": ("implicit", (lambda kept: lambda fn, x: kept.append(np.mean(half(fn.score(x)) + fn.trace(x))) or sum(kept))([]), "state"),
    "target of another row": ("explicit", explicit(lambda t: np.roll(t, 1, 0)), "previous row"),
    "target times two": ("explicit", explicit(lambda t: 2 * t), "the target is 2 times what it should be"),
    "target of another sign": ("explicit", explicit(lambda t: -t), "sign"),
    "square of h": ("generalised", generalised(square=lambda h: h**2), "the square weighted by h^2"),
    "mean of h": ("generalised", generalised(trace=lambda h: h.mean(1, keepdims=True) + 0 * h), "the trace weighted by the mean or the sum of h"),
    "h and its derivative exchanged": ("generalised", lambda fn, x, h, h_prime: np.mean(np.sum(h_prime * fn.score(x) ** 2 / 2 + h * (fn.score(x) + np.einsum("nii->ni", fn.jacobian(x))), 1)), "weighted by h'"),
    "lengths alone": ("explicit", lambda fn, x, target_score: np.mean((np.linalg.norm(fn.score(x), axis=1) - np.linalg.norm(target_score, axis=1)) ** 2), "the product of the lengths of score and target"),
    "square of the trace": ("regularised", lambda fn, x, lam: np.mean(half(fn.score(x)) + fn.trace(x) + lam * fn.trace(x) ** 2), "in place of the regulariser lambda sum J_ii^2 your loss has the square of the trace"),
    "probes of a table": ("sliced", lambda fn, x: np.mean(half(fn.score(x)) + fn.curvature(x, SIGNS[: len(x), : x.shape[1]])), "fixed directions"),
    "no derivative of h": ("generalised", generalised(slope=0.5), "derivative"),
    "two directions": ("finite_difference_sliced", differences(lambda x, v, u, h: (x + h * v, x, x - h * u)), "directions apart"),
    "middle point in the slope": ("finite_difference_sliced", differences(STRAIGHT, ends=(1, 0)), "middle point x enters the squared difference"),
    "weights 1 1": ("finite_difference_sliced", differences(STRAIGHT, weights=(-1, 1, -1)), "values of the difference"),
}  # fmt: skip


KEPT = (
    "products of rows", "coordinates joined", "one entry", "weights of squares", "weights of traces", "weights of x", "clamped",
    "running sum", "square of h", "two directions", "middle point in the slope", "lengths alone", "square of the trace", "probes of a table",
)  # fmt: skip


@pytest.mark.parametrize("name", mostly(WRONG, *KEPT))
def test_a_wrong_loss_is_told_by_the_pattern_of_its_arrays(name):
    objective, loss, said = WRONG[name]
    report = check_loss(loss, objective=objective)
    verdict = "INCONCLUSIVE" if name == "weights of x" else "FAIL"  # which are right for samples of another density
    assert report.verdict == verdict and said in report.diagnosis, report


RIGHT = {
    "as it is": ("implicit", implicit(mean)),
    "weights by place": ("implicit", lambda fn, x: np.mean(by_place(len(x)) * (half(fn.score(x)) + fn.trace(x)))),
    "target": ("explicit", explicit(lambda t: t)),
    "weights of x, explicit": ("explicit", lambda fn, x, t: np.mean(np.exp(-(x[:, 0] ** 2)) * half(fn.score(x) - t))),
    "another metric": ("explicit", lambda fn, x, t: np.mean((fn.score(x) - t).sum(1) ** 2 + half(fn.score(x) - t))),
    "h": ("generalised", generalised()),
    "differences": ("finite_difference_sliced", differences(STRAIGHT)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_control_the_right_ones_pass(name):
    objective, loss = RIGHT[name]
    assert check_loss(loss, objective=objective)


def zero_or_one(square):
    def loss(fn, x, rng):
        v = rng.integers(0, 2, x.shape).astype(float)
        return np.mean(square(fn.score(x), v) + fn.curvature(x, v))

    return loss


def test_directions_that_are_not_isotropic_are_a_metric_where_both_terms_have_them():
    """With E v v^T = M the loss is s.M s/2 + tr(M J), of the same minimiser for any M > 0; beside |s|^2 it is another loss."""
    report = check_loss(zero_or_one(lambda s, v: np.sum(v * s, 1) ** 2 / 2), objective="sliced")
    assert report and any("weighs errors by M" in note for note in report.notes), report
    report = check_loss(zero_or_one(lambda s, v: half(s)), objective="sliced")
    assert report.verdict == "FAIL" and report.name == "directions not isotropic", report


# ------------------------------------------------------------------------------- tables of arrays, against the terms written out


def made(objective, loss=lambda fn, x: 0.0, n=4, d=3, kind="score", **known):
    """(caller, `Answers`, `Observation`) of a loss in one trial."""
    weight = (lambda x: x + x**2 / 4, lambda x: 1 + x / 2)
    said = {"step": 0.05, "weight": weight, "predicts": None, "score_of": None, "kernel": None, "levels": None}
    caller = LossCaller("check_loss", loss, objective, None, said | known)
    rng = np.random.default_rng(2)
    setting = _setting(caller, rng, n, d, 1, 0.5, 2)
    trial = Trial(setting, setting.x, None)
    q = observation(caller, trial)
    return caller, Answers(caller, kind, trial, rng), q._replace(v=setting.extras["v"]) if objective == "sliced" else q


def values(arrays, answers, power):
    """1/2 s.M s, or M : J, of all probes, a mean over rows."""
    form = "pna,nab,pnb->pn" if power == 2 else "nab,pnab->pn"
    M = np.broadcast_to(arrays, answers.J.shape[1:])
    terms = 0.5 * np.einsum(form, answers.S, M, answers.S) if power == 2 else np.einsum(form, M, answers.J)
    return terms.mean(1)


def two_probes(objective, **more):
    caller, answers, q = made(objective, lambda fn, x, **k: 0.0, **more)
    answers.probes = [random_probe(answers.kind, 3, answers.rng) for _ in range(2)]
    return caller, answers, q


def elsewhere(h):
    """Weights of other rows and of other columns."""
    return {
        "the previous row": np.concatenate([h[-1:], h[:-1]]), "the next row": np.concatenate([h[1:], h[:1]]),
        "the columns in reverse order": h[:, ::-1],
        "the previous column": np.concatenate([h[:, -1:], h[:, :-1]], 1), "the next column": np.concatenate([h[:, 1:], h[:, :1]], 1),
    }  # fmt: skip


def test_squares_and_traces_that_may_stand_in_a_loss():
    for objective in ("implicit", "generalised", "sliced"):
        _, a, q = two_probes(objective)
        s, J, v = a.S, a.J, q.v
        J_diagonal, along = np.einsum("pnii->pni", J), None if v is None else np.einsum("mni,pni->pmn", v, s)
        terms = {  # words: (square, trace)
            "the squared score" + ", without the weight h" * (q.h is not None): (
                np.sum(s**2, -1),
                np.sum(J_diagonal, -1),
            ),
            "the square of the sum": (s.sum(-1) ** 2, J.sum((-2, -1))),
        }
        if q.h is not None:
            mean = q.h.mean(1)[:, None]
            terms |= {
                "the square weighted by h^2": (np.sum(q.h**2 * s**2, -1), np.sum(q.h**2 * J_diagonal, -1)),
                "the square weighted by h'": (np.sum(q.h_prime * s**2, -1), np.sum(q.h_prime * J_diagonal, -1)),
                "the square weighted by the mean or the sum of h": (
                    np.sum(mean * s**2, -1),
                    np.sum(mean * J_diagonal, -1),
                ),
                **{
                    f"the square weighted by the {word}": (np.sum(w * s**2, -1), np.sum(w * J_diagonal, -1))
                    for word, w in {
                        "mean or the sum of h over the batch": q.h.mean(0),
                        "h of the first row": q.h[0],
                        **{f"h of {word}": h for word, h in elsewhere(q.h).items()},
                    }.items()
                },
                "the product of two sums of the score, one": (
                    np.sum(q.h * s, -1) * s.sum(-1),
                    np.einsum("ni,pnij->pn", q.h, J),
                ),
                "the product of two sums of the score, one ": (
                    np.sum(q.h * s, -1) * s.sum(-1),
                    np.einsum("nj,pnij->pn", q.h, J),
                ),
            }
        if v is not None:
            curve = lambda u, w, J=J: np.einsum("mni,pnij,mnj->pmn", u, J, w).mean(1)
            mean, first = v.mean(0), np.broadcast_to(v[:, :1], v.shape)
            lengths = np.sum(v**2, -1).mean(0)
            before = np.roll(v, 1, axis=1)
            terms |= {
                "the squared projection (v.s)^2": ((along**2).mean(1), curve(v, v)),
                "the square of the mean projection": (np.einsum("ni,pni->pn", mean, s) ** 2, np.einsum("ni,pnij,nj->pn", mean, J, mean)),
                "|v|^2 times the squared score": (lengths * np.sum(s**2, -1), lengths * np.sum(J_diagonal, -1)),
                "the sum of (v_i s_i)^2": (np.einsum("mni,pni->pmn", v**2, s**2).mean(1), np.einsum("mni,pni->pmn", v**2, J_diagonal).mean(1)),
                "the squared projection on the first row's v": (np.einsum("mi,pni->pmn", v[:, 0], s).__pow__(2).mean(1), curve(first, first)),
                "the product of two projections": ((along * np.einsum("mni,pni->pmn", before, s)).mean(1), curve(before, v)),
                "the product of v.s and the sum of s": ((along * s.sum(-1)[:, None]).mean(1), curve(np.ones_like(v), v)),
            }  # fmt: skip
        table = matrices(q)
        assert len(table) == len(terms)
        for (M, square, _), (words, (of_square, of_trace)) in zip(table, terms.items(), strict=True):
            assert square.startswith(words)
            np.testing.assert_allclose(values(M, a, 2), 0.5 * of_square.mean(1), rtol=1e-11, atol=1e-11)
            np.testing.assert_allclose(values(M, a, 1), of_trace.mean(1), rtol=1e-11, atol=1e-11)


def test_linear_terms_and_products_that_may_stand_in_a_loss():
    for objective in ("implicit", "generalised", "sliced"):
        _, a, q = two_probes(objective)
        s, x, h, dh = a.S, q.x, q.h, q.h_prime
        terms = {"the sum of the score's entries": s.sum(-1), "the product of score and x": np.sum(x * s, -1)}
        if h is not None:
            terms |= {
                "sum h_i s_i": np.sum(h * s, -1), "the sum of h h' s": np.sum(h * dh * s, -1),
                "sum h_i' x_i s_i": np.sum(dh * x * s, -1), "sum h_i'/h_i s_i": np.sum(dh / h * s, -1),
                **{f"sum h_i' s_i with the h' of {word}": np.sum(w * s, -1) for word, w in elsewhere(dh).items()},
            }  # fmt: skip
        if q.v is not None:
            terms |= {"v.s, not squared": np.einsum("mni,pni->pmn", q.v, s).mean(1)}
        table = vectors(q)
        assert len(table) == len(terms)
        for (b, text), (words, value) in zip(table, terms.items(), strict=True):
            assert text.startswith(words)
            np.testing.assert_allclose(np.einsum("pni,ni->p", s, b + 0 * x), value.sum(1), rtol=1e-11, atol=1e-11)
        J, basis = a.J, entries_of("score", 3)
        squares = {
            "the squared diagonal of the Jacobian": np.sum(np.einsum("pnii->pni", J) ** 2, -1),
            "the squared Frobenius norm of the Jacobian": np.sum(J**2, (-2, -1)),
            "the square of the trace": np.einsum("pnii->pn", J) ** 2,
            "the trace of the squared Jacobian": np.einsum("pnij,pnji->pn", J, J),
        }
        if q.v is not None:
            squares["the squared norm of J v"] = np.sum(np.einsum("pnij,mnj->pmni", J, q.v) ** 2, -1).sum(1)
            squares["the squared curvature (v.J v)^2"] = np.sum(np.einsum("mni,pnij,mnj->pmn", q.v, J, q.v) ** 2, 1)
        for (D, text), (words, value) in zip(products(q, basis), squares.items(), strict=True):
            assert text == words
            D, flat = D.sum(0) if D.ndim == 4 else D, J.reshape(*J.shape[:2], -1)
            form = "pnu,nuw,pnw->pn" if D.ndim == 3 else "pnu,uw,pnw->pn"
            np.testing.assert_allclose(np.einsum(form, flat, D, flat), value, rtol=1e-11, atol=1e-11)


def test_terms_that_are_no_squares_are_those_of_their_words():
    _, a, q = two_probes("sliced")
    q = q._replace(target=np.random.default_rng(4).standard_normal(q.x.shape))
    eps, sigma = np.random.default_rng(5).standard_normal(q.x.shape), np.linspace(0.3, 0.9, len(q.x))
    found = not_quadratic(a, q, (eps, sigma))
    norm, cosh = (lambda v: float(np.sqrt(v @ v))), lambda g: float(np.sum(np.log(np.exp(g) + np.exp(-g))))
    huber = lambda g: sum(v * v / 2 if abs(v) < 1 else abs(v) - 0.5 for v in g)
    each = {  # of one row: s, J, target t, directions V (m, d), eps e and sigma z
        "the norm of the score, not squared": lambda s, J, t, V, e, z: norm(s),
        "the fourth power of the score's norm": lambda s, J, t, V, e, z: (s @ s) ** 2,
        "the sum of absolute scores": lambda s, J, t, V, e, z: abs(s).sum(),
        "the absolute trace": lambda s, J, t, V, e, z: abs(np.trace(J)),
        "the trace clipped at 0": lambda s, J, t, V, e, z: max(np.trace(J), 0),
        "the trace clipped at 0 from above": lambda s, J, t, V, e, z: min(np.trace(J), 0),
        "the sum of absolute diagonal entries of the Jacobian": lambda s, J, t, V, e, z: abs(np.diag(J)).sum(),
        "the Frobenius norm of the Jacobian": lambda s, J, t, V, e, z: norm(J.ravel()),
        "the product of the diagonal entries of the Jacobian": lambda s, J, t, V, e, z: J[0, 0] * J[1, 1] * J[2, 2],
        "the logarithm of the Jacobian's determinant": lambda s, J, t, V, e, z: np.log(abs(np.linalg.det(J))),
        "the distance of score and target, not squared": lambda s, J, t, V, e, z: norm(s - t),
        "the sum of absolute differences of score and target": lambda s, J, t, V, e, z: abs(s - t).sum(),
        "the product of the lengths of score and target": lambda s, J, t, V, e, z: norm(s) * norm(t),
        "the cosine between score and target": lambda s, J, t, V, e, z: s @ t / norm(s) / norm(t),
        "a Huber error: a square for small differences, absolute for large ones": lambda s, J, t, V, e, z: huber(s - t),
        "the logarithm of cosh of the differences": lambda s, J, t, V, e, z: cosh(s - t),
        "the norm |sigma s + eps|, not squared": lambda s, J, t, V, e, z: norm(z * s + e),
        "the sum of absolute differences |sigma s + eps|": lambda s, J, t, V, e, z: abs(z * s + e).sum(),
        "the absolute projection |v.s|": lambda s, J, t, V, e, z: np.mean([abs(v @ s) for v in V]),
        "the absolute projected Jacobian": lambda s, J, t, V, e, z: np.mean([abs(v @ J @ v) for v in V]),
    }
    assert list(found) == list(each)
    rows = lambda p: zip(a.S[p], a.J[p], q.target, q.v.swapaxes(0, 1), eps, sigma, strict=True)
    for words, term in each.items():
        np.testing.assert_allclose(
            found[words], [np.mean([term(*row) for row in rows(p)]) for p in range(2)], rtol=1e-10
        )
    plain = not_quadratic(a, q._replace(target=None, v=None))
    assert list(plain) == list(each)[:10]


def found_of(A=None, b=0.0, C=0.0, D=0.0, e=0.0, F=0.0, M=4, d=3, doubt=0.0):
    """A `Found` of these arrays of single points, (M, d, d) or what broadcasts to it."""
    whole = np.zeros((M, d, M, d))
    for i in range(M):
        whole[i, :, i] = np.broadcast_to(np.eye(d) if A is None else A, (M, d, d))[i]
    like = lambda a, *shape: np.array(np.broadcast_to(np.asarray(a, float), shape))
    fit = Fit(np.zeros(1), np.zeros(1), 0.0, True)
    return Found(
        whole, like(b, M, d), like(C, M, d, d), like(D, M, d * d, d * d), like(e, M), like(F, M, M), fit, doubt
    )


def said_by(objective, **arrays):
    caller, _, q = made(objective, lambda fn, x, **k: 0.0)
    if objective == "sliced":
        caller.takes = {"v": ("v", "named")}
    return sentence(objective, *parts_of(caller, "score", found_of(**arrays), q))


E3, UNEVEN = np.eye(3), np.diag([1.0, 2.0, 3.0])
SWAP = np.zeros((3, 3))
SWAP[0, 1] = SWAP[1, 0] = 1.0
ROWS3 = np.arange(1.0, 5)[:, None, None]
READ = {  # arrays -> what is said of an implicit loss
    "right": ({"C": E3}, ""),
    "rows have weights": ({"A": ROWS3 * E3, "C": ROWS3 * E3}, ""),
    "sum before": ({"A": np.ones((3, 3)), "C": E3}, "wrong square: in place of the square of the score your loss has the square of the sum of the score's entries (summed before it is squared)"),
    "joined": ({"A": E3 + 0.5 * SWAP, "C": E3}, "wrong square: in place of the square of the score your loss has products of different entries of the score (coordinates joined)"),
    "two entries": ({"A": np.diag([1.0, 0, 1]), "C": E3}, "wrong square: in place of the square of the score your loss has the squares of its entries [0, 2] alone: dimensions are left out"),
    "weights of entries": ({"A": UNEVEN, "C": E3}, "wrong square: in place of the square of the score your loss has a square with other weights"),
    "some entries of some rows": ({"A": np.where(ROWS3 > 1, E3, np.diag([1.0, 0, 2])), "C": E3}, "wrong square: in place of the square of the score your loss has a square with other weights (entries left out)"),
    "no square": ({"A": 0 * E3, "C": E3}, "no square: the square of the score is missing from your loss (or kept from a call before, the same whatever fn is?); it has no minimum"),
    "no trace": ({}, "no trace: the trace is missing from your loss (or kept from a call before, the same whatever fn is?); it is minimised by a score of zero"),
    "all entries": ({"C": np.ones((3, 3))}, "wrong trace: in place of the trace your loss has the sum of all entries of the Jacobian (the derivative of a summed score)"),
    "other trace": ({"C": UNEVEN}, "wrong trace: in place of the trace your loss has its diagonal with other weights, (1, 2, 3)"),
    "part of the trace": ({"C": np.diag([1.0, 1, 0])}, "wrong trace: in place of the trace your loss has the entries [0, 0], [1, 1] of the Jacobian, where its diagonal is wanted; dimensions are missing"),
    "first row": ({"C": np.eye(3)[:, :1] + np.zeros((3, 3))}, "wrong trace: in place of the trace your loss has the entries [0, 0], [0, 1], [0, 2] of the Jacobian, where its diagonal is wanted"),
    "eight entries": ({"C": np.ones((3, 3)) - np.diag([0.0, 0, 1])}, "wrong trace: in place of the trace your loss has the entries [0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2] ... (8 in all) of the Jacobian, where its diagonal is wanted"),
    "traces of rows": ({"C": ROWS3 ** np.array([0.0, 1, 2]) * E3}, "wrong trace: in place of the trace your loss has a trace with other weights"),
    "other axes": ({"C": ROWS3 * SWAP + E3}, "wrong trace: in place of the trace your loss has different entries of the Jacobians of different rows (a trace over the wrong axes, other directions?)"),
    "linear": ({"C": E3, "b": [1.0, 1, 1]}, "extra term: the right loss, and in it the sum of the score's entries, which does not belong there"),
    "other linear": ({"C": E3, "b": [0.25, 0, 2]}, "extra term: the right loss, and in it a term linear in the score with other weights, b = (0.25, 0, 2) in the first row, which does not belong there"),
    "linear in place": ({"b": [1.0, 1, 1]}, "wrong trace: in place of the trace your loss has the sum of the score's entries"),
    "nothing but": ({"A": 0 * E3, "b": [1.0, 1, 1]}, "not a square: your loss is the sum of the score's entries"),
    "energy": ({"C": E3, "e": 1.0}, "extra term: the right loss, and in it the energy itself, which does not belong there"),
    "squared energy": ({"C": E3, "F": np.eye(4)}, "extra term: the right loss, and in it the squared energy (a regulariser?), which does not belong there"),
    "squared mean energy": ({"C": E3, "F": np.ones((4, 4))}, "extra term: the right loss, and in it the squared mean energy (a regulariser?), which does not belong there"),
    "variance of the energy": ({"C": E3, "F": np.eye(4) - 0.25}, "extra term: the right loss, and in it the variance of the energy (a regulariser?), which does not belong there"),
    "other energies": ({"C": E3, "e": 1.0, "F": np.diag([1.0, 2, 3, 4])}, "extra term: the right loss, and in it the energy itself and products of energies (a regulariser?), which does not belong there"),
    "products of entries": ({"C": E3, "D": np.diag(np.arange(9.0))}, "extra term: the right loss, and in it products of entries of the Jacobian, which does not belong there"),
    "squared trace": ({"C": E3, "D": np.outer(E3, E3)}, "extra term: the right loss, and in it the square of the trace, which does not belong there"),
    "two things": ({"A": np.ones((3, 3)), "C": np.ones((3, 3))}, "wrong square: in place of the square of the score your loss has the square of the sum of the score's entries (summed before it is squared); wrong trace: in place of the trace your loss has the sum of all entries of the Jacobian (the derivative of a summed score)"),
    "doubt": ({"C": E3, "b": [1e-4] * 3, "doubt": 2e-5}, ""),
    "no doubt": ({"C": E3, "b": [1e-4] * 3, "doubt": 0.5e-5}, "extra term: the right loss, and in it the sum of the score's entries, which does not belong there"),
    "a millionth": ({"C": E3, "b": [0.9e-6] * 3}, ""),
    "more than a millionth": ({"C": E3, "b": [1.1e-6] * 3}, "extra term: the right loss, and in it the sum of the score's entries, which does not belong there"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_the_arrays_of_a_loss_are_read(case):
    arrays, text = READ[case]
    assert said_by("implicit", **arrays) == text


def test_products_of_rows_are_read():
    found = found_of(C=E3)
    for off, own, words in (
        (0.25, 0.25, "the square of the batch mean, or sum, of the score (averaged, or summed, before it is squared)"),
        (-0.25, 0.75, "the square of the score less its batch mean (centred, or normalised by batch statistics)"),
    ):
        A = np.einsum("ij,ab->iajb", np.where(np.eye(4) == 1, own, off), E3)
        assert _of_rows(found._replace(A=A)) == words
        caller, _, q = made("implicit")
        parts, _ = parts_of(caller, "score", found._replace(A=A), q)
        assert (
            sentence("implicit", parts, [])
            == f"rows interact: in place of the square of the score your loss has {words}"
        )
    A[0, :, 1] *= 2
    assert _of_rows(found._replace(A=A)).startswith("products of the scores of different rows")
    A[0, :, 1], A[0, :, 0] = A[0, :, 2], 3 * A[1, :, 1]
    assert _of_rows(found._replace(A=A)).startswith("products of the scores of different rows")
    assert (
        _place(np.array([True, False, False])) == "first row" and _place(np.array([False, False, True])) == "last row"
    )
    assert _place(np.array([False, True, True])) == "rows 1, 2" and few(np.arange(5.0)) == "(0, 1, 2, 3, ...)"
    assert few(np.array([1.0, 1e-13, -2])) == "(1, 0, -2)" and few(np.arange(4.0)) == "(0, 1, 2, 3)"


WEIGHTS = {  # weights of the rows of square and trace -> what is said
    "even": ([1, 1, 1, 1], [1, 1, 1, 1], None),
    "even, other sizes": ([2, 2, 2, 2], [1, 1, 1, 1], None),
    "last row never squared": ([1, 1, 1, 0], [1, 1, 1, 1], "rows left out: the last row of the batch is never squared"),
    "first row never used": ([0, 1, 1, 1], [0, 1, 1, 1], "rows left out: the first row of the batch is never used"),
    "rows never in the trace": ([1, 1, 1, 1], [1, 0, 0, 1], "rows left out: the rows 1, 2 of the batch are never in the trace"),
    "one trace": ([1, 1, 1, 1], [0, 0, 1, 0], "rows left out: the trace of the row 2 alone is in your loss"),
    "one square": ([1, 0, 0, 0], [1, 1, 1, 1], "rows left out: the square of the score of the first row alone is in your loss"),
    "one of both": ([1, 0, 0, 0], [1, 0, 0, 0], "rows left out: the rows 1-3 of the batch are never used"),
    "squares": ([1, 2, 3, 4], [1, 1, 1, 1], "weights at one term: the rows are weighted in the square alone, and not in the other term"),
    "traces": ([1, 1, 1, 1], [1, 2, 3, 4], "weights at one term: the rows are weighted in the other term alone, and not in the square"),
}  # fmt: skip


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_of_rows_are_read(case):
    square, trace, text = WEIGHTS[case]
    parts = [Part("square of the score", "w", True, np.array(square, float)), Part("trace", "w", True, np.array(trace, float))]  # fmt: skip
    caller, answers, _ = made("implicit", lambda fn, x: np.mean(square * half(fn.score(x)) + trace * fn.trace(x)))
    caller.ask(random_probe("score", 3, answers.rng), answers.trial.setting)
    naming = _weights(
        caller, "score", [*parts, Part("gone", "", False, np.zeros(4))], answers.trial.setting, answers.rng
    )
    assert (naming and naming.diagnosis) == text


def test_a_target_is_read_whatever_the_metric_is():
    target = np.random.default_rng(0).standard_normal((4, 3))
    pulled = lambda t, A=E3, **more: _by_target(found_of(A, -np.einsum("nij,nj->ni", A + 0 * t[:, :, None], t), **more), target)  # fmt: skip
    metric = E3 + 0.3 * SWAP
    right = pulled(target, metric)
    assert right.verdict == "PASS" and right.pattern == "A of the first row (1, 0.3, 0, 0.3, ...)" and right.notes
    assert pulled(-target, metric).diagnosis.startswith("wrong target, sign")
    assert "2 times the reference" in pulled(2 * target).diagnosis and pulled(target, C=E3) is None
    assert pulled(target, np.diag([1.0, 0, 1])) is None and pulled(target, np.diag([1.0, -1, 1])) is None
    assert pulled(target * (1 + 0.9e-6)).verdict == "PASS" and pulled(target * (1 + 1e-5)).verdict == "FAIL"
    order = target_named(target[[1, 0, 3, 2]], target, {"n": 4, "d": 3})
    assert order.verdict == "FAIL" and "the target of a row is that of another row" in order.diagnosis
    for rows, said in (([2, 0, 3, 1], "2, 0, 3, 1"), ([2, 0, 0, 1], "2, 0, 0, 1")):
        named = target_named(target[rows], target, {"n": 4, "d": 3}).diagnosis
        assert f"in the order {said}" in named and named.endswith(
            "; the target of a row is that of another row of the batch"
        )
    assert "another row" not in pulled(-target).diagnosis and target_named(target, target, {"n": 4, "d": 3}) is None
    assert target_named(np.random.default_rng(9).standard_normal((4, 3)), target, {"n": 4, "d": 3}) is None
