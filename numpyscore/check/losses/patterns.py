r"""The arrays of a loss in words: tables say what may stand in them, and one sentence what does in place of what should.

A loss is 1/2 s.A s + b.s + C : J + constant at the data, further 1/2 J.D J, e.E and 1/2 E.F E. Of the right one A and C are I (or diag h, or v v^T), b is 0
(or -A target, or h') in every row, D, e, F are 0. What no arrays explain may have one more term, which is looked up in the list of `not_quadratic`.
"""

from typing import Any, NamedTuple

import numpy as np

from ...objectives import OBJECTIVES
from ..fields import Field, numbered, read
from ..report import FAIL, PASS, Explanation, diagnosis_of, ranked, tied
from .identify import NEAR, WIDE, Answers, entries_of, identify
from .names import LINEAR, REGULARISER, SHORT, SLOPE, SQUARE, WEIGHTED, Naming, alike, equal, missing
from .trials import Trial

SMALL = 1e-6  # of the largest entry: what counts as 0
LOST = 1e-9  # the same for the weight of a row

# ------------------------------------------------------------------------------- what may stand in an array


def matrices(q):
    """[(rows (n, d, d) of A or C, what they are in the square, in the term of the Jacobian)]."""
    e, sum_of = np.eye(q.x.shape[1]), "the sum of all entries of the Jacobian (the derivative of a summed score)"
    rows = [
        (e, "the squared score", "the trace of the Jacobian"),
        (np.ones_like(e), "the square of the sum of the score's entries (summed before it is squared)", sum_of),
    ]
    if q.h is not None:
        powers = {"h^2": q.h**2, "h'": q.h_prime, "the mean of h": q.h.mean(1, keepdims=True) + 0 * q.h}
        rows += [
            (w[:, :, None] * e, f"the square weighted by {of}", f"the trace weighted by {of}")
            for of, w in powers.items()
        ]
    if q.v is not None:
        v, first, mean = q.v, 0 * q.v + q.v[:, :1], 0 * q.v + q.v.mean(0)
        of = lambda a, b: np.einsum("mni,mnj->nij", a, b) / len(v)
        # fmt: off
        rows += [
            (of(v, v), "the squared projection (v.s)^2", "the projected Jacobian v.J v"),
            (of(mean, mean), "the square of the mean projection", "the Jacobian projected on the mean of the v"),
            (of(v, v).trace(axis1=1, axis2=2)[:, None, None] * e, "|v|^2 times the squared score", "|v|^2 times the trace"),
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
    return [*rows, (np.einsum("mnpi,mnqi->npq", along, along), "the squared norm of J v")]


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


def _multiples(theirs, wanted, tol):
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
    found = [(words, good, w) for a, words, good in known if (w := _multiples(theirs, a, tol)) is not None]
    even = [f for f in found if alike(f[2], tol)]
    return (even or found or [(otherwise(theirs, tol), False, np.ones(len(theirs)))])[0]


def few(a):
    """The first numbers of an array, as text; what rounding left beside the largest is 0."""
    a = np.where(np.abs(a) > 1e-12 * np.abs(a).max(), a, 0.0)
    return "(" + ", ".join(f"{v:.4g}" for v in np.ravel(a)[:4]) + (", ..." if np.size(a) > 4 else "") + ")"


def _other_square(A, tol):
    diagonal = np.einsum("iaa->ia", A)
    if not equal(A, diagonal[:, :, None] * np.eye(A.shape[1]), tol):
        return "products of different entries of the score (coordinates joined)"
    used = np.abs(diagonal) > tol * np.abs(A).max()
    if np.all(used == used[0]) and not used.all():
        return f"the squares of its entries {np.flatnonzero(used[0]).tolist()} alone: dimensions are left out"
    return "a square with other weights" + (" (entries left out)" if not used.all() else "")


def _other_entries(C, tol):
    mean, diagonal = C.mean(0), np.einsum("iaa->ia", C)
    if not equal(C, mean, tol):
        if equal(C, diagonal[:, :, None] * np.eye(C.shape[1]), tol):
            return "a trace with other weights"
        return "different entries of the Jacobians of different rows (a trace over the wrong axes)"
    used = np.abs(mean) > tol * np.abs(mean).max()
    listed = ", ".join(f"[{i}, {j}]" for i, j in np.argwhere(used)[:6])
    some = "; dimensions are missing" if np.any(~used.diagonal()) and np.all(used.sum(1) == used.diagonal()) else ""
    return f"the entries {listed} of the Jacobian, where its diagonal is wanted{some}"


OTHERWISE = {
    "A": _other_square,
    "b": lambda b, _: f"a term linear in the score with other weights, b = {few(b[0])} in the first row",
    "C": _other_entries,
    "D": lambda *_: "products of entries of the Jacobian",
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
    drawn = [] if "v" in caller.takes else [found.C]  # of what it drew, only `plain._hidden` can tell
    return {"A": (SQUARE, [e, *along, *drawn]), "C": (LINEAR[objective], drawn or along)}


def parts_of(caller, kind, found, q):
    """(the `Part`s that a loss should have, what else is in it in words), read from its arrays."""
    arrays = {"A": found.own, "b": found.b, "C": found.C, "D": found.D}
    size, tol = max(np.abs(a).max() for a in (found.A, found.b, found.C)), max(SMALL, 10 * found.doubt)
    even = (lambda M: M) if kind == "score" else (lambda M: (M + np.swapaxes(M, -1, -2)) / 2)
    table = matrices(q)
    tables = {
        "A": [(even(M), words) for M, words, _ in table],
        "b": vectors(q),
        "C": [(even(M), words) for M, _, words in table],
        "D": products(q, entries_of(kind, q.x.shape[1])),
    }
    parts, extras, right = [], [], _should_be(caller, kind, found, q)
    for key, array in arrays.items():
        name, wanted = right.get(key, ("", []))
        said = _in_words(array, wanted, tables[key], OTHERWISE[key], size, tol)
        if name:
            parts.append(Part(name, *said))
        elif said[0]:
            extras.append(said[0])
    if found.cross > tol:
        parts[0] = Part(SQUARE, _of_rows(found), False, parts[0].w, True)
    return parts, extras + _of_energies(found, tol * size)


def _of_rows(found):
    same = np.einsum("iaja->ij", found.A / np.abs(found.A).max()) / found.b.shape[1]
    off, own = same[~np.eye(len(same), dtype=bool)], np.diag(same)
    if np.ptp(same) <= SMALL:
        return "the square of the batch mean of the score (averaged before it is squared)"
    if np.ptp(off) <= SMALL and np.ptp(own) <= SMALL:
        return "the square of the score less its batch mean (centred, or normalised by batch statistics)"
    return "products of the scores of different rows, where a loss is a mean over rows"


def _of_energies(found, zero):
    F, e = found.F, np.eye(len(found.F))
    out = ["the energy itself"] * bool(np.abs(found.e).max() > zero)
    if np.abs(F).max() <= zero:
        return out
    known = {"squared energy": e, "squared mean energy": np.ones_like(e), "variance of the energy": e - 1 / len(e)}
    is_it = lambda P: _multiples(F[None], P[None], SMALL) is not None
    what = next((f"the {words}" for words, P in known.items() if is_it(P)), "products of energies")
    return [*out, f"{what} (a regulariser)"]


# ------------------------------------------------------------------------------- from words to a sentence


def sentence(objective, parts, extras):
    """What stands in a loss in place of what should; "" of a loss all of whose terms are right."""
    short = lambda part: SHORT.get(part.name, part.name)
    head = lambda part: "rows interact" if part.rows else f"wrong {short(part)}"
    said = [f"{head(p)}: in place of the {p.name} your loss has {p.words}" for p in parts if p.words and not p.right]
    gone, listed = [p for p in parts if not p.words], " and ".join(extras)
    if extras and len(gone) == len(parts):
        return f"not a square: your loss is {listed}"
    if extras and gone:
        absent = " and the ".join(p.name for p in gone)
        said.append(f"wrong {short(gone[0])}: in place of the {absent} your loss has {listed}")
    elif extras:
        said.append(f"extra term: the right loss, and in it {listed}, which does not belong there")
    else:
        said += [missing(objective, p.name) for p in gone]
    return "; ".join(said)


def _weights(caller, kind, parts, setting, rng):
    """The `Naming` of right terms whose rows have weights of their own; None if they have none."""
    there = [p for p in parts if p.words]
    w = np.array([p.w / np.abs(p.w).max() for p in there])  # (parts, n)
    k, same = int(np.ptp(w, axis=1).argmax()), np.ptp(w, axis=0).max() <= SMALL
    if np.ptp(w[k]) <= SMALL:
        return None
    lost, square = np.abs(w[k]) <= LOST, there[k].name == SQUARE
    pattern, text = f"weights of the rows {few(w[k])}", ""
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
    rolled = setting._replace(x=np.roll(setting.x, 1, axis=0))
    other = np.einsum("iaa->i", identify(Answers(caller, kind, Trial(rolled, rolled.x, None), rng)).own)
    if np.abs(other / np.abs(other).max() - w[k]).max() <= SMALL:
        note = "another convention: rows have weights of their own, by their place in the batch, the same in both terms"
        return Naming(PASS, "", pattern, (note,))
    text = "weighted: both terms are weighted by a function of x; the weighted loss needs the product of the weight's gradient with the score as well (see generalised)"
    return Naming(FAIL, text, pattern)


def _place(rows):
    first, *more = np.flatnonzero(rows).tolist()
    ends = {0: "first row", len(rows) - 1: "last row"}
    return ends[first] if first in ends and not more else numbered("row", np.flatnonzero(rows))


def in_numbers(found):
    """The arrays of the first row, as text."""
    size, largest = np.abs(found.A).max(), max(np.abs(a).max() for a in (found.A, found.b, found.C))
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


def _by_target(found, target):
    """The `Naming` of a loss whose rows are pulled to -A^-1 b, by what that is of the right target; None if they are pulled nowhere."""
    sizes = np.linalg.eigvalsh(found.own)
    if max(found.cross, np.abs(found.C).max() / np.abs(found.A).max()) > SMALL or sizes.min() <= SMALL * sizes.max():
        return None
    theirs = -np.linalg.solve(found.own, found.b[..., None])[..., 0]
    if np.abs(theirs - target).max() > SMALL * np.abs(target).max():
        return target_named(theirs, target, dict(zip("nd", target.shape, strict=True)))
    note = "another convention: rows or dimensions have weights of their own (a positive definite metric of the differences); the minimiser is the same"
    return Naming(PASS, "", f"A of the first row {few(found.own[0])}", (note,))


# answers of all rows together, or of each alone: which are multiplied
RUNGS = ((False, "S"), (True, "SE"), (False, "SJ"))


def named_by_arrays(caller, kind, table, q, rng):
    """The `Naming` of a loss that is quadratic in what fn says, by its arrays in one trial; None if it is not, or if they are all right."""
    for together, products in RUNGS:
        if "J" in products and q.x.shape[1] > 5:  # thousands of unknowns
            continue
        groups = [np.arange(len(q.x))] if together else None
        found = identify(table, groups, quadratic=[p for p in products if p != "E" or kind == "energy"])
        if found.fit.exact or found.fit.residual < NEAR / 100:
            break
    else:
        return None
    if q.target is not None and (named := _by_target(found, q.target)) is not None:
        return named
    parts, extras = parts_of(caller, kind, found, q)
    text = sentence(caller.objective, parts, extras)
    return Naming(FAIL, text, in_numbers(found)) if text else _weights(caller, kind, parts, table.trial.setting, rng)


def named_by_one_more(caller, kind, table, q, jacobian=True, noise=None):
    """The FAIL of a loss that is quadratic but for one term of the list, by the fewest others beside it; None if there is none, or in many dimensions."""
    found: list = []
    if table.trial.points.shape[1] > WIDE:
        return None
    for words, values in not_quadratic(table, q, noise).items():
        if not np.all(np.isfinite(values)) or np.ptp(values) == 0:
            continue
        one = identify(table, jacobian=jacobian, beside=values)
        if one.fit.exact and abs(times := one.fit.coefficients[-1]) * np.ptp(values) > SMALL * np.ptp(table.values):
            if np.ptp(table.values - times * values) <= SMALL * np.ptp(table.values):  # nothing but that term
                one = one._replace(**{array: 0 * getattr(one, array) for array in "AbCDeF"})
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
