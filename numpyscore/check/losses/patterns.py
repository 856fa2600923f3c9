r"""The arrays of a loss in words: tables say what may stand in them, and one sentence what does in place of what should.

A loss is 1/2 s.A s + b.s + C : J + constant at the data, further 1/2 J.D J, e.E and 1/2 E.F E. Of the right one A and C are I (or diag h, or v v^T), b is 0
(or -A target, or h') in every row, D, e, F are 0. What no arrays explain may have one more term, which is looked up in the list of `not_quadratic`,
or is a function of the right loss, rounding, a power, and the like: the rules `LEFT`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from ..fields import Field, numbered, read
from ..report import FAIL, INCONCLUSIVE, PASS, Explanation, close, diagnosis_of, ranked, tied
from ..report import said as number
from .identify import NEAR, WIDE, Answers, Probe, entries_of, identify
from .names import LINEAR, REGULARISER, SHORT, SLOPE, SQUARE, WEIGHTED, Naming, alike, equal, missing
from .trials import Trial, as_asked

SMALL = 1e-6  # of the largest entry: what counts as 0
LOST = 1e-9  # the same for the weight of a row
CLEAR = 0.1  # the same beyond which nothing is known of an array
COARSE = 1e-4  # eps of less than single precision

# ------------------------------------------------------------------------------- what may stand in an array


PLACES: dict[str, Callable] = {  # whose weights (n, d) may stand in place of a row's, or a column's, own
    **{f"the {word} row": partial(np.roll, shift=k, axis=0) for k, word in ((1, "previous"), (-1, "next"))},
    "the columns in reverse order": lambda h: h[:, ::-1],
    **{f"the {word} column": partial(np.roll, shift=k, axis=1) for k, word in ((1, "previous"), (-1, "next"))},
}


def matrices(q):
    """[(rows (n, d, d) of A or C, what they are in the square, in the term of the Jacobian)]."""
    e, sum_of = np.eye(q.x.shape[1]), "the sum of all entries of the Jacobian (the derivative of a summed score)"
    bare = ", without the weight h" * (q.h is not None)
    rows = [
        (e, f"the squared score{bare}", f"the trace of the Jacobian{bare}"),
        (np.ones_like(e), "the square of the sum of the score's entries (summed before it is squared)", sum_of),
    ]
    if q.h is not None:
        powers = {"h^2": q.h**2, "h'": q.h_prime, "the mean or the sum of h": q.h.mean(1, keepdims=True) + 0 * q.h}
        powers |= {
            "the mean or the sum of h over the batch": q.h.mean(0) + 0 * q.h,
            "the h of the first row": q.h[:1] + 0 * q.h,
        }
        powers |= {f"the h of {word}": of(q.h) for word, of in PLACES.items()}
        rows += [
            (w[:, :, None] * e, f"the square weighted by {of}", f"the trace weighted by {of}")
            for of, w in powers.items()
        ]
        every = "all entries of the Jacobian, those off its diagonal too, weighted by h of their {}"
        rows += [
            (w + 0 * e, "the product of two sums of the score, one weighted by h", every.format(of))
            for of, w in (("row", q.h[:, :, None]), ("column", q.h[:, None]))
        ]
    if q.v is not None:
        v, first, mean = q.v, 0 * q.v + q.v[:, :1], 0 * q.v + q.v.mean(0)
        of = lambda a, b: np.einsum("mni,mnj->nij", a, b) / len(v)
        # fmt: off
        rows += [
            (of(v, v), "the squared projection (v.s)^2", "the projected Jacobian v.J v"),
            (of(mean, mean), "the square of the mean projection", "the Jacobian projected on the mean of the v"),
            (of(v, v).trace(axis1=1, axis2=2)[:, None, None] * e, "|v|^2 times the squared score", "|v|^2 times the trace"),
            (np.mean(v**2, axis=0)[..., None] * e, "the sum of (v_i s_i)^2, squared before they are summed", "the sum of v_i^2 J_ii"),
            (of(first, first), "the squared projection on the first row's v for all rows", "the projected Jacobian along the first row's v for all rows"),
            (of(np.roll(v, 1, axis=1), v), "the product of two projections", "v.J v with the v of another row on one side"),
            (of(0 * v + 1, v), "the product of v.s and the sum of s", "the sum of the entries of J v, not its product with v"),
        ]
        # fmt: on
    return rows


def vectors(q):
    """[(rows (n, d) of b, in words)]."""
    rows = [(np.ones_like(q.x), "the sum of the score's entries"), (q.x, "the product of score and x")]
    if q.h is not None:
        rows += [
            (q.h, "sum h_i s_i: the weight in place of its derivative"),
            (q.h * q.h_prime, "the sum of h h' s, from the derivative of h^2 in place of h'"),
            (q.h_prime * q.x, "sum h_i' x_i s_i: the derivative times x"),
            (q.h_prime / q.h, "sum h_i'/h_i s_i: the derivative of the weight's logarithm"),
            *((of(q.h_prime), f"sum h_i' s_i with the h' of {word}") for word, of in PLACES.items()),
        ]
    return rows if q.v is None else [*rows, (q.v.mean(0), "v.s, not squared")]


def products(q, basis):
    """[(array (w, w) or rows (n, w, w) of D, in words)], of Jacobians that are sums of the basis (w, d, d)."""
    of = lambda form: np.einsum(form, basis, basis)
    rows = [
        (of("pii,qii->pq"), "the squared diagonal of the Jacobian"),
        (of("pij,qij->pq"), "the squared Frobenius norm of the Jacobian"),
        (of("pii,qjj->pq"), "the square of the trace"),
        (of("pij,qji->pq"), "the trace of the squared Jacobian"),
    ]
    if q.v is None:
        return rows
    along = np.einsum("pij,mnj->mnpi", basis, q.v)
    curve = np.einsum("mnpi,mni->mnp", along, q.v)
    return [
        *rows,
        (np.einsum("mnpi,mnqi->npq", along, along), "the squared norm of J v"),
        (np.einsum("mnp,mnq->npq", curve, curve), "the squared curvature (v.J v)^2"),
    ]


def of_both(q, basis):
    """[(rows (n, d, w) of G, in words)], of Jacobians that are sums of the basis (w, d, d)."""
    v = np.ones((1, *q.x.shape)) if q.v is None else q.v
    word = "1" if q.v is None else "v"
    trace = np.einsum("paa->p", basis)
    rows = [
        (np.einsum("pij,mnj->nip", basis, v), f"the product s.J {word} of score and Jacobian"),
        (np.einsum("pij,mni->njp", basis, v), f"the product {word}.J s of Jacobian and score"),
        (np.einsum("mni,p->nip", v, trace), f"the product of {word}.s and the trace"),
    ]
    return rows[: 3 if q.v is not None else 2]


def not_quadratic(answers, q, noise=None):
    """Values (P,) of the terms that are not quadratic in what a model says, by their words; noise = (eps, sigma) of noisy points."""
    S, J, mean = answers.S, answers.J, lambda a: a.reshape(len(a), -1).mean(1)
    norm, diagonal = lambda a: np.linalg.norm(a, axis=-1), np.diagonal(J, axis1=-2, axis2=-1)
    trace = diagonal.sum(-1)
    # fmt: off
    rows = {
        "the norm of the score, not squared": norm(S),
        "the fourth power of the score's norm": norm(S) ** 4,
        "the sum of absolute scores": np.abs(S).sum(-1),
        "the absolute trace": np.abs(trace),
        "the trace clipped at 0": np.maximum(trace, 0),
        "the trace clipped at 0 from above": np.minimum(trace, 0),
        "the sum of absolute diagonal entries of the Jacobian": np.abs(diagonal).sum(-1),
        "the Frobenius norm of the Jacobian": norm(J.reshape(*S.shape[:2], -1)),
        "the product of the diagonal entries of the Jacobian": np.prod(diagonal, -1),
        "the logarithm of the Jacobian's determinant": np.linalg.slogdet(J)[1],
    }
    if q.target is not None:
        gap = S - q.target
        rows |= {
            "the distance of score and target, not squared": norm(gap),
            "the sum of absolute differences of score and target": np.abs(gap).sum(-1),
            "the product of the lengths of score and target": norm(S) * norm(q.target),
            "the cosine between score and target": np.sum(S * q.target, -1) / (norm(S) * norm(q.target) + 1e-300),
            "a Huber error: a square for small differences, absolute for large ones": np.where(np.abs(gap) < 1, gap**2 / 2, np.abs(gap) - 0.5).sum(-1),
            "the logarithm of cosh of the differences": np.logaddexp(gap, -gap).sum(-1),
        }
    if noise is not None:
        energies = {"the energy itself": answers.E, "the squared energy (a regulariser)": answers.E**2}
        rows |= energies if answers.kind == "energy" else {}
        scaled = noise[1][:, None] * S + noise[0]
        rows |= {"the norm |sigma s + eps|, not squared": norm(scaled), "the sum of absolute differences |sigma s + eps|": np.abs(scaled).sum(-1)}
    if q.v is not None:
        curve = np.einsum("mni,pnij,mnj->pmn", q.v, J, q.v)
        rows |= {"the absolute projection |v.s|": np.abs(np.einsum("mni,pni->pmn", q.v, S)), "the absolute projected Jacobian": np.abs(curve)}
    # fmt: on
    return {words: mean(values) for words, values in rows.items()}


# ------------------------------------------------------------------------------- from arrays to words


def right_parts(objective, answers, q):
    """The terms of the reference by name, the square first, each for all probes (P,)."""
    parts: dict[str, list[float]] = {}
    for probe in answers.probes:
        s = probe.score(q.at)
        _, linear, square = OBJECTIVES[objective].right(q._replace(probe=probe), s)
        here = {SQUARE: square, LINEAR[objective]: linear}
        if objective == "generalised":
            slope = np.sum(q.h_prime * s, axis=-1)
            here = {SQUARE: square, WEIGHTED: linear - slope, SLOPE: slope}
        elif objective == "regularised":
            half = 0.5 * np.sum(s**2, axis=-1)
            here = {SQUARE: half, LINEAR[objective]: linear, REGULARISER: square - half}
        for name, value in here.items():
            parts.setdefault(name, []).append(float(np.mean(value)))
    return {name: np.array(values) for name, values in parts.items()}


class Part(NamedTuple):
    """One term of a loss: what should stand there, what does ("" for nothing), whether that is right, and how many times in each row."""

    name: str
    words: str
    right: bool
    w: Any  # (n,)
    rows: bool = False  # whether it is made of different rows


def multiples(theirs, wanted, tol):
    """w (n,) with theirs = w wanted, row by row; None if it is not so."""
    wanted = np.broadcast_to(wanted, theirs.shape).reshape(len(theirs), -1)
    flat = theirs.reshape(len(theirs), -1)
    w = np.sum(flat * wanted, 1) / np.maximum(np.sum(wanted * wanted, 1), 1e-300)
    return w if equal(flat, w[:, None] * wanted, tol) else None


def _in_words(theirs, right, table, otherwise, size, tol):
    """(words, right, w) of an array: the first of `right` and the table [(array, words)] that it is w times in every row, w one number if it can be."""
    if np.abs(theirs).max() <= tol * size:
        return "", False, np.zeros(len(theirs))
    known = [(a, "as it should be", True) for a in right] + [(*row, False) for row in table]
    found = [(words, good, w) for a, words, good in known if (w := multiples(theirs, a, tol)) is not None]
    even = [f for f in found if alike(f[2], tol)]
    return (even or found or [(otherwise(theirs, tol), False, np.full(len(theirs), np.nan))])[0]


def few(a):
    """The first numbers of an array, as text; what rounding left beside the largest is 0."""
    a = np.where(np.abs(a) > 1e-12 * np.abs(a).max(), a, 0.0)
    return "(" + ", ".join(f"{v:.4g}" for v in np.ravel(a)[:4]) + (", ..." if np.size(a) > 4 else "") + ")"


def _other_square(A, tol):
    diagonal = np.einsum("iaa->ia", A)
    if not equal(A, diagonal[:, :, None] * np.eye(A.shape[1]), tol):
        sums = np.unique(np.abs(A[0]) > tol * np.abs(A).max(), axis=0)
        if (
            equal(A, A[:1], tol)
            and np.all(sums.sum(0) == 1)
            and np.ptp(A[0][np.any(sums[:, :, None] & sums[:, None], axis=0)]) <= tol
        ):
            groups = ", ".join(str(np.flatnonzero(g).tolist()) for g in sums[:4])
            return f"the squares of sums over the entries {groups}{' ...' * (len(sums) > 4)} of the score (summed before they are squared)"
        return "products of different entries of the score (coordinates joined)"
    used = np.abs(diagonal) > tol * np.abs(A).max()
    if np.all(used == used[0]) and not used.all():
        return f"the squares of its entries {np.flatnonzero(used[0]).tolist()} alone: dimensions are left out"
    return "a square with other weights" + (" (entries left out)" if not used.all() else "")


def _other_entries(C, tol, mirrored=False):
    mean, diagonal = C.mean(0), np.einsum("iaa->ia", C)
    if not equal(C, mean, tol):
        if equal(C, diagonal[:, :, None] * np.eye(C.shape[1]), tol):
            return "a trace with other weights"
        return "different entries of the Jacobians of different rows (a trace over the wrong axes, other directions?)"
    used = np.abs(mean) > tol * np.abs(mean).max()
    if np.all(used == np.eye(len(used), dtype=bool)):
        return f"its diagonal with other weights, {few(mean.diagonal())}"
    shown = np.triu(used) if mirrored else used
    listed = ", ".join(f"[{i}, {j}]" for i, j in np.argwhere(shown)[:6])
    listed += f" ... ({shown.sum()} in all)" * bool(shown.sum() > 6) + " (or their mirror images)" * mirrored
    some = "; dimensions are missing" if np.any(~used.diagonal()) and np.all(used.sum(1) == used.diagonal()) else ""
    return f"the entries {listed} of the Jacobian, where its diagonal is wanted{some}"


OTHERWISE = {
    "A": _other_square,
    "b": lambda b, _: (
        f"a term linear in the score with other weights, b = {few(b[k := int(np.abs(b).max(1).argmax())])} in the {_place(np.arange(len(b)) == k)}"
    ),
    "C": _other_entries,
    "D": lambda *_: "products of entries of the Jacobian",
    "G": lambda *_: "products of entries of the score and of the Jacobian",
}


def _should_be(caller, kind, found, q):
    """{array: (what its term is called, the right arrays)} of the terms that a loss should have."""
    objective, e = caller.objective, np.eye(q.x.shape[1])
    weight = e if q.h is None else q.h[:, :, None] * e
    if q.target is not None:  # pulled to it whatever the square is
        return {"A": (SQUARE, [weight]), "b": (LINEAR[objective], [-np.einsum("iajb,jb->ia", found.A, q.target)])}
    if objective == "generalised":
        return {"A": (SQUARE, [weight]), "b": (SLOPE, [q.h_prime]), "C": (WEIGHTED, [weight])}
    if objective == "regularised":
        diagonal = products(q, entries_of(kind, len(e)))[0][0]
        return {"A": (SQUARE, [e]), "C": (LINEAR[objective], [e]), "D": (REGULARISER, [diagonal])}
    if objective != "sliced":
        return {"A": (SQUARE, [e]), "C": (LINEAR[objective], [e])}
    along = [found.C] if q.v is None else [np.einsum("mni,mnj->nij", q.v, q.v)]
    entries = [] if q.v is None else [_of_entries(q)]
    drawn = [] if "v" in caller.takes else [found.C]  # of what it drew, only `plain._hidden` can tell
    return {"A": (SQUARE, [e, *along, *entries, *drawn]), "C": (LINEAR[objective], drawn or along)}


def _of_entries(q):
    """A (n, d, d) of sum (v_i s_i)^2, whose mean is |s|^2 for directions of variance 1."""
    return np.mean(q.v**2, axis=0)[..., None] * np.eye(q.x.shape[1])


OF_ENTRIES = "another convention: the square is that of each product v_i s_i, whose sum is |s|^2 on average for directions of variance 1"


def parts_of(caller, kind, found, q):
    """(the `Part`s that a loss should have, what else is in it in words), read from its arrays."""
    arrays = {"A": found.own, "b": found.b, "C": found.C, "D": found.D} | ({} if found.G is None else {"G": found.G})
    size, tol = found.largest, max(SMALL, 10 * found.doubt)
    even = (lambda M: M) if kind == "score" else (lambda M: (M + np.swapaxes(M, -1, -2)) / 2)
    table = matrices(q)
    tables = {
        "A": [(even(M), words) for M, words, _ in table],
        "b": vectors(q),
        "C": [(even(M), words) for M, _, words in table],
        "D": products(q, entries_of(kind, q.x.shape[1])),
        "G": of_both(q, entries_of(kind, q.x.shape[1])),
    }
    if caller.objective == "sliced":
        both = np.einsum("iaa->i", found.own - found.C)[:, None, None] / found.C.shape[1] * np.eye(found.C.shape[1])
        tables["A"].append((found.C + both, "both squares, |s|^2 and that of the projection, where one belongs"))
    parts, extras, right = [], [], _should_be(caller, kind, found, q)
    for key, array in arrays.items():
        name, wanted = right.get(key, ("", []))
        otherwise = partial(_other_entries, mirrored=True) if (key, kind) == ("C", "energy") else OTHERWISE[key]
        said = _in_words(array, wanted, tables[key], otherwise, size, tol)
        if name:
            unit = 1.0
            if key == "D":  # lambda sum J_ii^2 is 1/2 J.D J, with a lambda of its own if it takes none
                unit = 2 * caller.numbers["lam"] if "lam" in caller.takes else np.nan
            words, good, w = said
            parts.append(Part(name, words, good, w / unit))
        elif said[0]:
            extras.append(said[0])
    if found.cross > tol and np.abs(found.A).max() > tol * size:
        parts[0] = Part(SQUARE, _of_rows(found), False, parts[0].w, True)
    return parts, extras + _of_energies(found, tol * size)


def _of_rows(found):
    same = np.einsum("iaja->ij", found.A / np.abs(found.A).max()) / found.b.shape[1]
    off, own = same[~np.eye(len(same), dtype=bool)], np.diag(same)
    if np.ptp(same) <= SMALL:
        return "the square of the batch mean, or sum, of the score (averaged, or summed, before it is squared)"
    if np.ptp(off) <= SMALL and np.ptp(own) <= SMALL:
        return "the square of the score less its batch mean (centred, or normalised by batch statistics)"
    return "products of the scores of different rows, where a loss is a mean over rows"


def _of_energies(found, zero):
    F, e = found.F, np.eye(len(found.F))
    out = ["the energy itself"] * bool(np.abs(found.e).max() > zero)
    if np.abs(F).max() <= zero:
        return out
    known = {"squared energy": e, "squared mean energy": np.ones_like(e), "variance of the energy": e - 1 / len(e)}
    is_it = lambda P: multiples(F[None], P[None], SMALL) is not None
    what = next((f"the {words}" for words, P in known.items() if is_it(P)), "products of energies")
    return [*out, f"{what} (a regulariser?)"]


# ------------------------------------------------------------------------------- from words to a sentence


IN_ONE_UNIT = ("implicit", "generalised", "regularised")  # objectives whose right arrays are not made of those found


def _times(objective, part, parts):
    """The words of a wrong term, for `format`, with its factor beside the terms that are right, where that is not 1."""
    beside = next((p.w.mean() for p in parts if p.right and alike(p.w) and p.w.mean()), 0.0) * (
        objective in IN_ONE_UNIT
    )
    if part.rows or not beside or not alike(part.w) or close(part.w.mean(), beside, SMALL):
        return "{}"
    c = part.w.mean() / beside
    return f"{{}}, times {number(c)}" if any(close(c, v, SMALL) for v in (2, 0.5, 4, 0.25)) else "a multiple of {}"


def _scales(objective, parts):
    """What is said of right terms that have one factor each, which is not that of the square."""
    # of "explicit" the right b is made of A
    whole = parts[0].w.mean() if objective in IN_ONE_UNIT else float(objective == "explicit")
    there = [p for p in parts[1:] if p.right and alike(p.w) and alike(parts[0].w) and whole]
    off = [(p.name, p.w.mean() / whole) for p in there if not close(p.w.mean() / whole, 1, SMALL)]
    return [
        f"scale of the {SHORT.get(name, name)}: the {name} is {number(c, SMALL)} times what it should be beside the square"
        for name, c in off
    ]


def sentence(objective, parts, extras):
    """What stands in a loss in place of what should; "" of a loss all of whose terms are right."""
    short = lambda part: SHORT.get(part.name, part.name)
    head = lambda part: "rows interact" if part.rows else f"wrong {short(part)}"
    wrong = [(p, _times(objective, p, parts)) for p in parts if p.words and not p.right]
    said = [f"{head(p)}: in place of the {p.name} your loss has {times.format(p.words)}" for p, times in wrong]
    gone, listed = [p for p in parts if not p.words], " and ".join(extras)
    if extras and len(gone) == len(parts):
        no_gradient = " (is the gradient in x missing?)" * (objective == "explicit" and "the energy itself" in listed)
        return f"not a square: your loss is {listed}{no_gradient}"
    if extras and gone:
        absent = " and the ".join(p.name for p in gone)
        said.append(f"wrong {short(gone[0])}: in place of the {absent} your loss has {listed}")
    elif extras:
        scaled = _scales(objective, parts)
        said += scaled
        said.append(
            f"extra term: {'beside these terms' if scaled else 'the right loss, and in it'} {listed}, which does not belong there"
        )
    else:
        said += [missing(objective, p.name) for p in gone]
    return "; ".join(said)


MASKED = "rows left out by their x: some rows do not count, by what they are and not by their place (a mask, outliers dropped?): of a density that is cut at a threshold the boundary term is missing"
WEIGHTED_ROWS = "weighted: all terms are weighted by a function of x: right for importance weights, of samples of another density; for a weighted divergence the product of the weight's gradient with the score is missing (see generalised)"


def _weights(caller, kind, parts, setting, rng):
    """The `Naming` of right terms whose rows have weights of their own; None if they have none."""
    there = [p for p in parts if p.words]
    there = (
        there[:1] if caller.objective == "explicit" else there
    )  # whose right product is made of the square that is there
    w = np.array([p.w / np.abs(p.w).max() for p in there])  # (parts, n)
    k, same = int(np.ptp(w, axis=1).argmax()), np.ptp(w, axis=0).max() <= SMALL
    if np.ptp(w[k]) <= SMALL:
        return None
    lost, square = np.abs(w[k]) <= LOST, there[k].name == SQUARE
    pattern, text = f"weights of the rows {few(w[k])}", ""
    rolled = setting._replace(x=np.roll(setting.x, 1, axis=0))
    other = np.einsum("iaa->i", identify(Answers(caller, kind, Trial(rolled, rolled.x, None), rng)).own)
    by_place = np.abs(other / max(np.abs(other).max(), 1e-300) - w[k]).max() <= SMALL
    if lost.any() and same and not by_place:
        if caller.objective == "explicit":
            return Naming(PASS, "", pattern, ("another convention: some rows are left out, by their x",))
        return Naming(FAIL, MASKED, pattern)
    if lost.sum() == lost.size - 1 and not same:
        text = f"rows left out: the {there[k].name} of the {_place(~lost)} alone is in your loss"
    elif lost.any():
        what = "used" if same else "squared" if square else f"in the {there[k].name}"
        text = f"rows left out: the {_place(lost)} of the batch {'is' if lost.sum() == 1 else 'are'} never {what}"
    elif not same:
        where = ("square", "other term") if square else ("other term", "square")
        text = "weights at one term: the rows are weighted in the {} alone, and not in the {}".format(*where)
    if text:
        return Naming(FAIL, text, pattern)
    if by_place:
        note = "another convention: rows have weights of their own, by their place in the batch, the same in both terms"
        return Naming(PASS, "", pattern, (note,))
    if caller.objective == "explicit":
        return Naming(PASS, "", pattern, ("another convention: rows have weights of their own, by their x",))
    return Naming(INCONCLUSIVE, WEIGHTED_ROWS, pattern)


def _place(rows):
    first, *more = np.flatnonzero(rows).tolist()
    ends = {0: "first row", len(rows) - 1: "last row"}
    return ends[first] if first in ends and not more else numbered("row", np.flatnonzero(rows))


def in_numbers(found):
    """The arrays of the first row, as text."""
    size, largest = np.abs(found.A).max(), found.largest
    size, of = (size or 1.0, "A's largest") if size >= 1e-9 * largest else (largest, "the largest")  # A is rounding
    text = lambda a: np.array2string(np.round(a[0] / size, 6) + 0.0, precision=4).replace("\n", "")
    return f"of the first row A = {text(found.own)}, b = {text(found.b)}, C = {text(found.C)}, in units of {of}"


# ------------------------------------------------------------------------------- a loss


def target_named(theirs, right, known):
    """The FAIL of a target that is a transformation of the right one, None if it is none that is known."""
    found = read(Field(theirs, right, 1e-7 * np.abs(right).max(), known=known, word="target"))
    if not found or found[0].key == "right":
        return None
    rows = np.abs(theirs[:, None] - right).max(-1) <= 1e-6 * np.abs(right).max()
    permuted = bool(np.all(rows.any(1)) and not np.all(np.diag(rows)))
    other = "; the target of a row is that of another row of the batch" * permuted
    said = " -- or -- ".join(dict.fromkeys(e.diagnosis for e in tied(found)))
    return Naming(FAIL, f"wrong target, {said}{other}", found[0].pattern)


PERMUTED = "wrong target, entries permuted: it is made of the right numbers, and these stand in other places (a flip, a reshape for a transpose, a flattening in another order?)"


def _by_target(found, target):
    """The `Naming` of a loss whose rows are pulled to -A^-1 b, by what that is of the right target; None if they are pulled nowhere."""
    sizes = np.linalg.eigvalsh(found.own)
    whole = np.abs(found.A).max()
    if max(found.cross, np.abs(found.C).max() / max(whole, 1e-300)) > SMALL or sizes.max(1).min() <= LOST * whole:
        return None
    if np.any(sizes.min(1) <= SMALL * sizes.max(1)):
        return None
    theirs = -np.linalg.solve(found.own, found.b[..., None])[..., 0]
    if np.abs(theirs - target).max() > SMALL * np.abs(target).max():
        named = target_named(theirs, target, dict(zip("nd", target.shape, strict=True)))
        if named is None and equal(np.sort(theirs, axis=None), np.sort(target, axis=None)):
            return Naming(FAIL, PERMUTED, f"target of the first row {few(theirs[0])}")
        return named
    note = "another convention: rows or dimensions have weights of their own (a positive definite metric of the differences); the minimiser is the same"
    return Naming(PASS, "", f"A of the first row {few(found.own[0])}", (note,))


METRIC = "another convention: dimensions have weights of their own, the same in both terms (a positive definite metric): the minimiser is the same"
OTHER_WEIGHT = "another weight: square and trace have one weight for each entry, and it is not h = x; say weight=(h, h'), and more can be said"


def _by_metric(caller, found, q):
    """The `Naming` of a loss whose square and trace have one matrix: PASS where it is the same in every row, INCONCLUSIVE where a weight may be meant; None."""
    size, own = found.largest, found.own
    if (
        caller.objective not in ("implicit", "generalised")
        or found.cross > SMALL
        or np.abs(own - found.C).max() > SMALL * size
    ):
        return None
    others = (found.D, found.e, found.F, found.G if found.G is not None else np.zeros(1))
    if max(np.abs(a).max(initial=0) for a in others) > SMALL * size or np.linalg.eigvalsh(own).min() <= SMALL * size:
        return None
    plain = equal(own, own[:1]) and np.abs(found.b).max() <= SMALL * size
    if caller.objective == "implicit" and plain:
        return Naming(PASS, "", in_numbers(found), (METRIC,))
    diagonal = equal(own, np.einsum("iaa->ia", own)[:, :, None] * np.eye(own.shape[1]))
    theirs = multiples(own, q.h[:, :, None] * np.eye(own.shape[1]), SMALL) if q.h is not None else None
    if caller.objective == "implicit" or not diagonal or theirs is not None or caller.weighted or equal(own, own[:1]):
        return None
    return Naming(INCONCLUSIVE, OTHER_WEIGHT, in_numbers(found))


# answers of all rows together, or of each alone: which are multiplied
RUNGS = ((False, "S"), (True, "SE"), (False, "SJ"))


def named_by_arrays(caller, kind, table, q, rng):
    """The `Naming` of a loss that is quadratic in what fn says, by its arrays in one trial; None if it is not, or if they are all right."""
    for together, products in RUNGS:
        if "J" in products and q.x.shape[1] > 5:  # thousands of unknowns
            continue
        groups = [np.arange(len(q.x))] if together else None
        found = identify(table, groups, quadratic=[p for p in products if p != "E" or kind == "energy"])
        if (found.fit.exact or found.fit.residual < NEAR / 100) and 10 * found.doubt < CLEAR:
            break
    else:
        return None
    if q.target is not None and (named := _by_target(found, q.target)) is not None:
        return named
    if (named := _by_metric(caller, found, q)) is not None:
        return named
    parts, extras = parts_of(caller, kind, found, q)
    text = sentence(caller.objective, parts, extras)
    if text:
        return Naming(FAIL, text, in_numbers(found))
    if caller.objective == "sliced" and q.v is not None and multiples(found.own, _of_entries(q), SMALL) is not None:
        return Naming(PASS, "", in_numbers(found), (OF_ENTRIES,))
    return _weights(caller, kind, parts, table.trial.setting, rng)


def named_by_one_more(caller, kind, table, q, jacobian=True, noise=None):
    """The FAIL of a loss that is quadratic but for one term of the list, by the fewest others beside it; None if there is none, or in many dimensions.

    In half precision a small term is rounding.
    """
    found: list = []
    if table.trial.points.shape[1] > WIDE or caller.eps > COARSE:
        return None
    for words, values in not_quadratic(table, q, noise).items():
        if not np.all(np.isfinite(values)) or np.ptp(values) == 0:
            continue
        one = identify(table, jacobian=jacobian, beside=values)
        if one.fit.exact and abs(times := one.fit.coefficients[-1]) * np.ptp(values) > SMALL * np.ptp(table.values):
            if np.ptp(table.values - times * values) <= SMALL * np.ptp(table.values):  # nothing but that term
                one = one._replace(**{array: 0 * getattr(one, array) for array in "AbCDeF"}, G=None)
            parts, extras = parts_of(caller, kind, one, q)
            key, text = sentence(caller.objective, parts, [words, *extras]).split(": ", 1)
            pattern = {"pattern": f"{times:.6g} times {words}, beside {in_numbers(one)}"}
            constants = sum(bool(p.words) for p in parts) + len(extras)
            found.append(Explanation(key, text, constants=constants, detail=pattern))
    best = tied(ranked(found)) if found else []
    return Naming(FAIL, diagnosis_of(best), best[0].pattern) if best else None


def shape_of(caller, kind, found, q):
    """The FAIL of a loss at noisy points whose square is another, or that has the Jacobian in it, whatever its rows are pulled to; None."""
    whole = found.A.reshape(found.b.size, -1)
    pulled = -np.linalg.lstsq(whole, found.b.ravel(), rcond=1e-9)[0].reshape(found.b.shape)
    text = sentence(caller.objective, *parts_of(caller, kind, found, q._replace(target=pulled)))
    return Naming(FAIL, text, in_numbers(found)) if text else None


# ------------------------------------------------------------------------------- what no arrays explain


def unexplained(caller, kind, table, right, left, rng):
    """(`Naming`, sense) of a loss of which `left` is not explained; right is the terms of the reference, {name: (P,)}, or None."""
    if caller.eps > COARSE:
        text = f"unknown term: the {LINEAR[caller.objective]} and the square leave {left:.2g} of your loss unexplained; it comes back in half precision, in which no more is read: let it return single or double precision"
        return Naming(FAIL, text, f"off by {left:.2g}"), 0
    for rule in LEFT:
        if (named := rule(caller, kind, table, right, left, rng)) is not None:
            return named, 1
    smaller = "; with a smaller shape=, such as (1, 2, 4), products of different entries are looked at as well"
    text = f"unknown term: no combination of the terms known here is your loss; the {LINEAR[caller.objective]} and the square leave {left:.2g} of it unexplained (is it quadratic in the score, and is it taken at these points, row by row?)"
    text += smaller if table.trial.points.shape[1] > WIDE else ""
    return _power(caller, kind, table, right, left, rng) or Naming(FAIL, text, f"off by {left:.2g}"), 0


def _clamped(caller, kind, table, right, left, rng):
    """It stands still for some models."""
    wrong = bent(caller, kind, table.trial.setting, rng)
    return wrong if wrong is not None and "stands still" in wrong.diagnosis else None


def _round_off(caller, kind, table, right, left, rng):
    """It differences for itself, with a step so small that nothing but round-off is left."""
    near = table.trial.setting._replace(x=table.trial.setting.x * (1 + 2 * caller.eps))
    change = np.abs(caller.values(table.probes[:4], near) - table.values[:4]).max() / np.abs(table.values[:4]).max()
    if change < left / 100 or change < 1e4 * caller.eps:
        return None
    text = f"round-off: moving x by a unit in its last place changes the loss by {change:.0e} of it (differences of its own with too small a step, which cancel, or numbers that are drawn from the data?)"
    return Naming(FAIL, text, f"{left:.2g} of it is unexplained")


def _function_of_right(caller, kind, table, right, left, rng):
    """It is a monotone function of the right one."""
    if right is None or not _monotone(sum(right.values())[: len(table.values)], table.values):
        return None
    if not _equal_where_right_is(caller, table, right):
        return None
    text = "function of the loss: your loss is a function of the right one (a logarithm, a root, an exponential?), not linear in it: its mean over batches has another minimum"
    return Naming(FAIL, text, "monotone in the reference")


def _equal_where_right_is(caller, table, right):
    """Whether a loss is the same for models for which the right one, a parabola in their scale, is the same."""
    square = sum(part for name, part in right.items() if name in (SQUARE, REGULARISER))
    linear, pairs = sum(right.values()) - square, []
    for p, q in ((0, 1), (1, 0), (2, 3), (3, 2), (4, 5), (5, 4)):
        roots = np.roots([square[q], linear[q], -square[p] - linear[p]])
        pairs += [
            (table.probes[p], table.probes[q].scaled(float(c.real))) for c in roots[np.abs(np.imag(roots)) < 1e-9]
        ]
    values = caller.values([probe for pair in pairs for probe in pair], table.trial.setting).reshape(-1, 2)
    return bool(pairs) and bool(np.all(np.abs(np.diff(values)) <= 1e-6 * np.abs(values).max(1, keepdims=True)))


def _function_of_each(caller, kind, table, right, left, rng):
    """It is the mean of a monotone function of the right loss of each row, which equal rows show."""
    setting = table.trial.setting
    if caller.objective != "implicit":
        return None
    x = np.tile(setting.x[:1], (setting.n, 1))
    equal = Answers(caller, kind, Trial(setting._replace(x=x), x[:1], None), rng).grow(MONOTONE)
    theirs = (0.5 * np.sum(equal.S**2, -1) + np.trace(equal.J, axis1=-2, axis2=-1))[:, 0]
    bent = np.abs(equal.values - np.polyval(np.polyfit(theirs, equal.values, 1), theirs)).max() > 1e-6 * np.ptp(theirs)
    if not bent or not _monotone(theirs, equal.values):
        return None
    text = "function of the loss: your loss is a function of the right one of each sample (a softplus, a logarithm, a root?), not linear in it: its mean has another minimum"
    return Naming(FAIL, text, "of equal rows, monotone in the reference")


def _monotone(right, values):
    steps = np.diff(values[np.argsort(right)])
    return not (np.any(steps < 0) and np.any(steps > 0))


def _power(caller, kind, table, right, left, rng, only=()):
    """It grows with another power of the model than the second, or as its logarithm, for models of very different size; of powers only some are told."""
    sizes = np.array([0.0, 1e3, -1e3, 1e6, -1e6, 1e9, -1e9])
    zero, *at = caller.values([table.probes[0].scaled(s) for s in sizes], table.trial.setting)
    pairs = [np.array(pair) - zero for pair in (at[:2], at[2:4], at[4:])]
    even = [abs(pair.sum()) for pair in pairs]  # without the linear term
    alone = all(e <= 1e-9 * np.abs(pair).max() for e, pair in zip(even, pairs, strict=True))
    near, far, farther = [np.abs(pair).sum() for pair in pairs] if alone else even
    power = np.log(max(far, 1e-300) / max(near, 1e-300)) / np.log(1e3)
    if far > near and close(farther - far, far - near, 0.01):
        text = "not a square: for large scores your loss grows with the logarithm of the score: it is the logarithm of a loss, whose mean over batches has another minimum"
        return Naming(FAIL, text, f"{left:.2g} of it is not quadratic")
    if not np.isfinite(power) or abs(power - 2) <= 0.05 or (only and min(abs(power - p) for p in only) > 0.05):
        return None
    why = ""
    if abs(power - 1) < 0.05:
        why = " (a norm, an absolute error, a Huber error?)"
    elif power < 0.05:
        why = ": it stands still (clipped, made of directions alone, as a cosine, or divided by |s|^2, or by itself, as by a weight 1/loss that is not detached?)"
    what = "your loss" if alone else "what should be the square"
    text = f"not a square: for large scores {what} grows with the power {round(power, 2) + 0.0:.2g} of the score{why}"
    return Naming(FAIL, text, f"{left:.2g} of it is not quadratic")


UNITS = (1, 0.5, 0.1, 0.05, 0.01, 0.005, 1e-3, 5e-4, 1e-4)  # that a term, or half of a square, may be rounded to


def rounded(table, right):
    """The FAIL of a loss one of whose terms is rounded; right is the terms of the reference, {name: (P,)}, or None.

    What is left beside the others is a whole number of units over n m then.
    """
    count, P = table.trial.setting.n * table.trial.setting.m, len(table.values)
    for name in right or {}:
        rest = table.values - sum(part[:P] for other, part in right.items() if other != name)
        for unit in UNITS:
            whole, close = rest * count / unit, 1e4 * table.caller.eps * np.abs(table.values).max() * count / unit
            if close < 1e-3 and np.abs(whole - np.round(whole)).max() <= close and np.ptp(whole) > 1:
                text = (
                    f"rounded: the {name} is rounded to whole numbers (an integer dtype?)"
                    if unit >= 0.5
                    else f"rounded: the {name} is rounded to {unit:g}"
                )
                return Naming(
                    FAIL,
                    f"{text}: no gradient comes through it",
                    f"beside the rest it is a whole number of times {unit:g}, on average over the rows",
                )
    return None


def _first_power(caller, kind, table, right, left, rng):
    """It grows as the model does, as its logarithm, or stands still."""
    return _power(caller, kind, table, right, left, rng, only=(0.0, 1.0))


PIECES = "pieces: for models near each other your loss is a square, and for all it is none: it has kinks (a maximum, a minimum, a median, a sort, a clip, by which only some of the rows count at a time?)"
KINKS = "pieces: for models near each other your loss is a square, and for all it is none: what it makes of a row has kinks (an absolute value, a maximum, a clip or a clamp, of what fn says?)"


def _pieces(caller, kind, table, right, left, rng):
    """It is no square for models anywhere, and one for models near each other."""
    if any(identify(table, jacobian=j).fit.exact for j in (False, True)):
        return None
    near = table.near(1e-3)
    fits = (identify(near, jacobian=j) for j in (False, True))
    found = next((f for f in fits if f.fit.exact or f.fit.residual < 1e-11), None)
    if found is None:
        return None
    sizes, (added, whole, allowed) = np.abs(found.own).max((1, 2)), _added(caller, table, rng)
    idle = np.mean(sizes <= 1e-3 * sizes.max()) >= 0.5  # half of the points do not count there
    text = PIECES if idle or np.abs(whole - added.sum(0)).max() > allowed else KINKS
    return Naming(FAIL, text, "a square for models near each other, none for all")


def _away(caller, kind, table, right, left, rng):
    """It asks its model elsewhere than at the data."""
    return None if "denoising" in caller.objective else elsewhere(caller, kind, table.trial.setting, rng, at_all=True)


def elsewhere(caller, kind, setting, rng, at_all=False):
    """The FAIL of a loss that asks its model elsewhere than at the data, and not there, or at others `at_all`; None."""
    if caller.objective == "finite_difference_sliced":
        return None
    x, asked = setting.x, as_asked(caller, kind, setting, rng)
    points = asked.points
    if asked.trouble:
        return None
    far = np.abs(points[:, None] - x).max(-1)  # own differences ask at x too
    if far.min(1).max() < 1e-6 or not (at_all or far.min(0).min() > 1e-6):
        return None
    text = f"other points: fn is asked at points that are not the data, where the {caller.objective} loss is taken at x alone (noise is added, x is scaled, or a step of differences is large?)"
    return Naming(FAIL, text, f"asked at {np.array2string(points[-1], precision=3)}")


def _added(caller, table, rng):
    """What each row adds to a loss when it moves (n, P), what all of them add together (P,), and what rounding leaves of these."""
    setting = table.trial.setting
    moved = rng.uniform(0.2, 3.0, setting.x.shape)  # far enough to come before another row in any order

    def at(rows):
        x = setting.x + moved * np.isin(np.arange(setting.n), rows)[:, None]
        return caller.values(table.probes[:8], setting._replace(x=x))

    none, whole = at([]), at(range(setting.n))
    each = np.array([at([i]) - none for i in range(setting.n)])
    allowed = 1e-6 * np.abs(each).max() + 1e4 * caller.eps * np.abs(none).max()
    return each, whole - none, allowed


def _rows_together(caller, kind, table, right, left, rng):
    """What one row adds to it changes with another row."""
    added, whole, allowed = _added(caller, table, rng)
    if np.abs(whole - added.sum(0)).max() <= allowed:
        return None
    text = "rows interact: what one row adds to the loss changes with another row: something is averaged, summed or normalised over the batch before it is squared or multiplied, where a loss is a mean over rows"
    return Naming(FAIL, text, f"{left:.2g} of it is unexplained")


LEFT = (
    _clamped,
    _round_off,
    _function_of_right,
    _first_power,
    _pieces,
    _rows_together,
    _function_of_each,
    _away,
)

# ------------------------------------------------------------------------------- a loss in the scale of its model

BEND = 1e-9  # of the range of the loss: what its own differences leave
SCALES = np.array([-2.0, -1.0, -0.4, 0.25, 0.5, 1.0, 1.6, 2.5, 4.3])  # no two as far from 1: the loss is not the same
MONOTONE = 40  # models; others are in order by chance once in 40!


def minimiser(caller, kind, setting, rng):
    """The minimiser in lambda of the loss for E = lambda |x|^2 / 2 on standardised data; None where it has none."""
    scales = np.array([1.0, 2.0, 3.0])
    fit = np.polyfit(scales, _of_scales(caller, kind, standardised(setting, rng), scales), 2)
    a, b, _ = np.where(np.abs(fit) > 1e-9 * np.abs(fit).max(), fit, 0.0)  # a term that is missing is rounding here
    return float(-b / (2 * a)) + 0.0 if a > 0 else None


def standardised(setting, rng):
    """The setting with standardised data."""
    x = rng.standard_normal(setting.x.shape)
    return setting._replace(x=(x - x.mean(0)) / x.std(0))


def _of_scales(caller, kind, setting, scales):
    """The loss of the models lambda |x|^2 / 2."""
    return caller.values([Probe.isotropic(kind, setting.d, scale) for scale in scales], setting)


def bent(caller, kind, setting, rng):
    """A FAIL if the loss of the models lambda |x|^2 / 2, on standardised data, is no parabola in lambda; None if it is.

    Random models rarely come near the minimum, where implicit and sliced losses are negative; one that is clamped there looks right elsewhere.
    """
    own = caller.objective == "generalised"  # whose weights belong to its data
    values = _of_scales(caller, kind, setting if own else standardised(setting, rng), SCALES)
    if not np.all(np.isfinite(values)):
        return None
    left = np.abs(values - np.polyval(np.polyfit(SCALES, values, 2), SCALES)).max()
    if left <= 1e5 * caller.eps * np.abs(values).max() + BEND * np.ptp(values):
        return None
    low, high = values.min(), values.max()
    steps = np.diff(values) == 0  # two equal values beside each other; for an upper limit the ends of the parabola
    stands = low if np.any(steps & (values[1:] == low)) else high if np.sum(values == high) > 1 else None
    where = "" if stands is None else f": it stands still at {stands:.6g}"
    text = f"clipped loss: in the scale of the model the loss is no parabola{where} (it, or a term of it, is clamped: clamp, relu, maximum, clip?)"
    points = ", ".join(f"{v:.4g}" for v in values)
    return Naming(FAIL, text, f"loss of lambda |x|^2/2 at lambda = {SCALES[0]:g} ... {SCALES[-1]:g}: {points}")
