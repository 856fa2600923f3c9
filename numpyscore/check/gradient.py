"""Is a gradient in the parameters that of the loss?"""

import contextlib
from dataclasses import replace
from functools import partial

import numpy as np

from ..common.arrays import same_randomness, to_numpy
from ..common.inputs import count, finite, generator, positive
from ..numerics.differences import differences, tolerance
from .fields import Field, added, by_row, clipped, constant, located, mapped, one_sided, read, rounded, scaled, shifted
from .functions import DRIFTS, Compiled, Function, drifts, unfit
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Explanation, close, judge, ranked, said, tied
from .score import check_conservative, quotients

WHOLE = 600  # parameters, up to which a wrong gradient is looked at as a whole
MIXED = 8  # random directions through all parameters
MOST = 8  # blocks in an explanation
FEW = 60  # parameters, up to which the loss is asked for more than its gradient
SEEDS = 60
SCALES = (1.0, 0.0, 0.5, 1.5, 2.0)  # of theta


def check_gradient(loss, gradient, theta, *, wrap=None, rtol=None, rng=0, step=None, coordinates=48):
    r"""Is this the gradient of the loss in its parameters, at theta?

    .. math:: g_k = \partial L / \partial \theta_k

    The loss is differenced (Romberg) along some parameters and along random directions through all of them.

    Parameters
    ----------
    loss : callable, theta -> number
        Random losses are called with the same global seeds each time.
    gradient : callable, theta -> array like theta, or that array itself
    theta : array of any shape
    wrap : None, "torch", "jax" or callable
        As in `check_score`.
    rtol : float, optional
        Allowed error relative to the norm of the gradient.
    rng : seed or numpy.random.Generator
        Chooses parameters and directions.
    step : float, optional
        Largest half-width of the differences; half the spread of theta by default.
    coordinates : int
        Parameters looked at one by one; all, if there are no more.

    Returns
    -------
    CheckReport

    Raises
    ------
    TypeError, ValueError
        If theta is empty or not finite, or the loss returns no number.
    """
    where = "check_gradient"
    start = to_numpy(theta, f"{where}: theta")
    if start.size == 0:
        raise ValueError(f"{where}: theta is empty, expected at least one parameter.")
    start = start.astype(float)
    finite(where, "theta", start)
    few, width = count(where, "coordinates", coordinates), None if step is None else positive(where, "step", step)
    with same_randomness(0) as again:
        L = Function(where, "loss", loss, wrap, theta, start.shape, again)
        given, again = (gradient, again) if callable(gradient) else (lambda theta: gradient, None)
        yours = Function(where, "gradient", given, wrap, theta, start.shape, again)
        p, origin = start.size, start.reshape(-1)
        unusable = _unfit(where, yours, L, yours(origin[None])[0], origin)
        if unusable is not None:
            return replace(unusable, summary=f"{p} parameter{'s' * (p > 1)}, {yours.came} gradient")
        L, yours = Compiled.of(L), Compiled.of(yours)
        return _checked(where, L, yours, origin, generator(where, rng), few, width, rtol)


def _checked(where, L, yours, origin, rng, few, width, rtol):
    """The report on a gradient beside its loss, at the parameters `origin` (p,)."""
    p, g = len(origin), yours(origin[None])[0]
    spread = origin.std() or np.abs(origin).max() or 1.0
    width = 0.5 * spread if width is None else width
    if yours.again is not None:  # a function, and no array
        yours.measure(origin + 1e-3 * spread * np.array([[0.0], [1.0]]))  # two points, which tell a width
    # some parameters one by one, and directions through all of them: V (D, p)
    chosen = np.arange(p) if p <= few else np.sort(rng.choice(p, few, replace=False))
    V = np.concatenate([np.eye(p)[chosen], rng.choice([-1.0, 1.0], (MIXED, p)) / np.sqrt(p)])

    def along(V, at, single, g=g, width=width):
        """Nearer to theta, where it may not be moved so far."""
        try:
            return _along(V, L, g, at, width, max(L.eps, yours.eps), single)
        except ValueError:
            if width < 1e-3 * spread:
                raise
            return along(V, at, single, g, width / 10)

    field = along(V, origin, len(chosen))
    field = field.allowing(where, rtol, field.sizes)
    summary = f"{p} parameter{'s' * (p > 1)}, {yours.came} gradient, {L.evaluations} loss evaluations"
    place = lambda i, j: f"theta[{chosen[i]}]" if i < len(chosen) else "a random direction"
    explain = lambda field: _explained(field, chosen, L, yours, g, origin, along)
    report = judge(where, summary, field, (yours, L), explain, rtol=rtol, place=place)
    if report.verdict == PASS and not origin.any():
        return replace(report, notes=(*report.notes, AT_ZERO))
    return report


AT_ZERO = "theta is 0: a term whose gradient vanishes there, as that of a weight decay does, is not seen"


def _unfit(where, yours, L, g, origin):
    """A report on a gradient that has not its shape, is not finite or accumulates, or on a loss that is random or no number; else None."""
    bad = unfit(where, yours, g, origin.shape, origin[:, None], "one number for each parameter", "theta")
    if bad is not None:
        return bad
    same = lambda a, b: np.allclose(a, b, rtol=1e-6, atol=1e-6 * np.abs(g).max())
    second, third = (yours(origin[None])[0] for _ in range(2))
    if not same(second, g) and same(third - second, second - g):
        text = "accumulated gradient: each call adds to what the calls before returned, at the same theta (zero_grad missing, a buffer that is not cleared?)"
        return CheckReport(where, FAIL, "", diagnosis=text)
    if not same(second, g) and drifts(yours, origin[None]):
        return CheckReport(where, FAIL, "", diagnosis=f"state: {DRIFTS.format('theta')}")
    if not same(second, g):
        text = "random gradient: two calls at the same theta differ (it draws numbers of its own, or keeps something from call to call?); give it and the loss the same numbers"
        return CheckReport(where, INCONCLUSIVE, "", diagnosis=text)
    first, second = L(origin[None]), L(origin[None])
    if first.size != 1:
        raise ValueError(f"{where}: loss returned {first.size} numbers, expected one; take their mean.")
    if first.dtype.kind == "c":
        raise ValueError(f"{where}: loss returned the complex number {first[0, 0]}, expected a real one.")
    if not np.isfinite(first):
        return CheckReport(where, INCONCLUSIVE, "", diagnosis=f"not finite: the loss is {first[0, 0]} at theta")
    if first != second:
        text = "random loss: two calls with the same theta and the same global seeds differ; fix its random numbers"
        return CheckReport(where, INCONCLUSIVE, "", diagnosis=text)
    return None


def _along(V, L, g, origin, width, eps, single):
    """The user's gradient along the rows of V (D, p) beside the differenced loss: a `Field` (D, 1), its size the norm of the gradient.

    The first `single` rows of V are axes; the norm is estimated from them.
    """
    D, p = V.shape
    along, _ = differences(lambda t: (L(origin + t @ V)[:, 0], t), np.zeros((1, D)), np.full(D, width))
    norm = float(np.sqrt(np.mean(along.value[0, :single] ** 2) * p))
    columns = (V @ g, along.value[0], tolerance(along, norm, eps)[0], V @ origin)
    theirs, reference, allowed, x = (a[:, None] for a in columns)
    options = {"second": along.second[0][:, None], "size": np.full((D, 1), norm), "known": {"p": p}}
    return Field(theirs, reference, allowed, x, word="gradient", of="theta", **options)


# ------------------------------------------------------------------------------- what is wrong with it


def _explained(field, chosen, L, yours, g, origin, along):
    """What explains the gradient: all parameters one by one if they are not too many, else what was looked at."""
    p, m = len(origin), len(chosen)
    single = field.rows(slice(m))._replace(numbers=chosen)
    laws = partial(of_the_loss, L=float(L(origin[None])[0, 0])), partial(shortened, norm=float(np.linalg.norm(g)))
    linear = (scaled, *laws, shifted, added)  # these hold along random directions as well
    if p > WHOLE:
        those = f"of the {m} parameters looked at one by one, "
        found = read(field, rules=linear) or [
            replace(e, sentence=those + e.sentence) for e in read(single, rules=(by_row, located)) if not e.right
        ]
        if not found and np.all(single.gap <= single.tolerance):
            text = "the parameters looked at one by one are right, others are not; raise coordinates="
            found = [Explanation("other parameters", text)]
    else:
        every = lambda at: along(np.eye(p), at, p)
        whole = single if m == p else every(origin)
        found = read(whole, rules=(*linear, *BLOCKS, *OTHERS))
        if p <= FEW and (not found or found[0].constants > 1):
            found = ranked([*by_degree(whole, lambda at: every(at).reference, origin), *found])
        if p <= FEW and (not found or found[0].constants > 1):
            single_loss = lambda points: L(points)[:, 0]
            rows = [(key, text, q.T) for key, text, q in quotients(single_loss, origin[None], "the loss")]
            found = [e for e in read(whole, rows, rules=()) if not e.constants] or found
        if found and found[0].key == "terms of the loss" and yours.again is not None and _kept(yours, origin):
            kept = "(or it was computed once, and kept: it is the same at another theta?)"
            found = [replace(found[0], sentence=f"{found[0].sentence} {kept}")]
        found = found or list(_other_side(whole, yours, origin))
        if p <= FEW and not found:
            found = list(_after_a_step(whole, lambda at: every(at).reference[:, 0], origin))
    found = [replace(e, sentence=_of_parameters(_off_diagonal(e, yours.shape))) for e in tied(found)]
    some = np.eye(p)[chosen if p > WHOLE else slice(None)]
    return [_elsewhere(e, some, yours, origin, along) for e in found] or [_of_another(L, yours, origin)]


INSTEAD = {  # what is said of rows of a batch -> of parameters
    "the mean over the batch is subtracted: rows depend on each other": "their mean is subtracted from all of them",
    "the mean over the batch": "the mean over all of them",
    "the sum over the batch": "the sum over all of them",
    "cumulative sums over the batch": "cumulative sums",
    "its number in the batch": "its number",
    "by its x: the score of log x, and the 1/x of the chain rule is missing": "by its theta: the gradient in log theta",
    "by its x: the 1/x of the chain rule of log x is there twice": "by its theta: the chain rule of log theta, the other way",
    "row": "parameter",
}


def _of_parameters(text):
    """A sentence on rows of a batch as one on parameters."""
    for of_rows, of_theta in INSTEAD.items():
        text = text.replace(of_rows, of_theta)
    return text


def _elsewhere(e, V, yours, theta, along):
    """An explanation; by a multiple of theta if it is the same at another theta, as that of a term of the loss is."""
    if e.key != "weight decay" or yours.again is None or _kept(yours, theta):  # known at one theta alone
        return e
    at, here = 1.5 * theta, np.array(e.detail["coefficients"])
    there = along(V, at, len(V), yours(at[None])[0])
    off = there.x - there.x.mean(0) * ("mean" in e.pattern)
    if np.allclose(there.fitted(there.reference, off), here, rtol=1e-4, atol=1e-4 * np.abs(here).max()):
        return e
    text = f"your gradient is off by {here[1]:.4g} theta here, and by another multiple of it, or none, at 1.5 theta: by no quadratic term, but by something else that goes along theta (a norm of theta that is detached, or differentiated in one of the two alone?)"
    return replace(e, key="along theta", sentence=text)


def _off_diagonal(e, shape):
    """The sentence of an explanation, that says whether exactly the entries off the diagonal of a square matrix, or on it, are off."""
    factors = e.detail.get("factors")
    if factors is None or len(shape) != 2 or shape[0] != shape[1] or len(factors) != np.prod(shape):
        return e.sentence
    off, diagonal = factors != 1, np.eye(shape[0], dtype=bool).ravel()
    place = "off" if np.array_equal(off, ~diagonal) else "on" if np.array_equal(off, diagonal) else ""
    sentence = e.sentence.partition(": exactly those")[0]
    return f"{sentence}: exactly the entries {place} the diagonal of the matrix" if place else e.sentence


def of_the_loss(field, L):
    """The gradient of a function of the loss: of its logarithm, its root, its square."""
    c = float(*field.fitted(field.reference))
    laws = {"log L": 1 / L, "the root of L": 0.5 / np.sqrt(L), "L^2": 2 * L} if L > 0 else {}
    for law, slope in laws.items():
        if close(c, slope, 8 * field.rtol) and not close(c, round(c), 1e-6):
            text = f"your gradient is that of {law}, not of the loss L = {L:.6g}"
            yield field.says(f"gradient of {law}", text, c * field.reference, 0, f"yours = {c:.12g} x reference")


def shortened(field, norm):
    """The right direction, and a norm that is a round number."""
    c, limit = float(*field.fitted(field.reference)), float(f"{norm:.0e}")
    if c > 0 and not close(c, 1, 1e-6) and close(norm, limit, 1e-5):
        how = "clipped to that norm, or normalised" if c < 1 else "normalised to that norm"
        text = f"your gradient has norm {limit:g} and the right direction; it is {how}"
        yield field.says("clipped", text, c * field.reference, 0, f"yours = {c:.12g} x reference, norm {norm:.9g}")


def by_degree(field, along, origin):
    """The terms of a loss that is a polynomial in theta, by their degree k: grad L(t theta) = sum_k t^(k-1) grad L_k(theta); each with its own factor."""
    at = np.stack([field.reference, *(along(t * origin) for t in SCALES[1:])])[..., 0]  # (T, p)
    powers = np.vander(SCALES, 4, increasing=True)  # degrees 1 to 4
    terms = np.linalg.lstsq(powers, at, rcond=None)[0]
    size = np.abs(terms).max(1)
    there = np.flatnonzero(size > 1e-6 * size.max())
    if len(there) < 2 or np.abs(at - powers @ terms).max() > 1e-7 * np.abs(at).max():
        return
    basis = [terms[k][:, None] for k in there]
    factors = field.fitted(*basis)
    off = {k + 1: c for k, c in zip(there, factors, strict=True) if abs(c - 1) > 1e-6}
    has = lambda c: "are missing" if abs(c) < 1e-6 else f"have the factor {said(c, 1e-6)}"
    words = [f"those of degree {k} {has(c)}" for k, c in off.items()]
    text = f"the loss is a polynomial in theta, and of its terms {', '.join(words)} in your gradient{'; the others are right' * (len(off) < len(there))}"
    candidate, pattern = np.tensordot(factors, basis, 1), f"factors {factors} of degrees {there + 1}"
    yield field.says("terms of the loss", text, candidate, len(off), pattern, 1e-7 * np.abs(candidate).max())


def _other_side(field, yours, theta):
    """A gradient in a square matrix that is right at the transposed one, transposed."""
    turn = lambda a: a.reshape(yours.shape).T.ravel()
    if len(yours.shape) == 2 and yours.shape[0] == yours.shape[1]:
        gap = np.abs(turn(yours(turn(theta)[None])[0]) - field.reference[:, 0])
        if np.all(gap <= field.allowed(field.reference)[:, 0]):
            text = "your gradient at the transposed matrix, transposed, is that of the loss: a product stands in the wrong order (S P where P S belongs), which only a symmetric matrix does not show"
            yield Explanation("order of a product", text)


def _after_a_step(field, gradient, theta):
    """A gradient that belongs to theta moved along the gradient, or along its signs."""
    right, theirs = field.reference[:, 0], field.theirs[:, 0]
    for step, word in ((right, "the gradient"), (np.sign(right), "the signs of the gradient")):
        off = lambda k, step=step: np.nan_to_num(gradient(theta + k * step) - theirs, nan=1e9, posinf=1e9)
        with contextlib.suppress(ValueError):  # theta may be moved out of where the loss is defined
            k = _root(off, right - theirs)
            if k is not None and np.abs(off(k)).max() <= 1e-6 * np.linalg.norm(theirs) and abs(k) > 1e-5:
                text = f"your gradient is that of the loss at theta moved by {k:.4g} times {word}: a step of an optimiser is taken before it"
                yield Explanation("after a step", text, False, 1)
                return


def _root(off, start):
    """The number k at which a vector off(k), `start` at 0, is least; None where a straight line does not even halve it."""
    from scipy.optimize import least_squares

    slope = (off(NUDGE) - start) / NUDGE
    k = -float(start @ slope / max(slope @ slope, 1e-300))
    if np.linalg.norm(start + k * slope) > np.linalg.norm(start) / 2:
        return None
    return float(least_squares(off, [k], diff_step=NUDGE, max_nfev=12).x[0])


NUDGE = 1e-3  # of the gradient, by which theta is moved to see where the gradient goes


def _on_average(L, yours, theta, spread):
    """Which of the loss and the gradient draws numbers, in words, where they agree on average over seeds and not for each; ""."""
    if (again := yours.again) is None:
        return ""
    V = np.random.default_rng(0).choice([-1.0, 1.0], (4, len(theta))) / np.sqrt(len(theta))
    off, slopes, theirs, h = [], [], [], 1e-3 * spread
    for seed in range(SEEDS):
        L.again = yours.again = partial(again, seed)
        slopes.append((L(theta + h * V) - L(theta - h * V))[:, 0] / (2 * h))
        theirs.append(V @ yours(theta[None])[0])
        off.append(theirs[-1] - slopes[-1])
    L.again = yours.again = again
    error = np.std(off, axis=0) / np.sqrt(SEEDS)  # of what is not random it is 0, and the gradient wrong by more
    resolved = 5 * error.max() <= np.abs(np.mean(slopes, axis=0)).max()
    if not resolved or np.any(np.abs(np.mean(off, axis=0)) > 5 * error):
        return ""
    draws = [np.std(a, axis=0).max() > 1e-9 * np.abs(a).max() for a in (slopes, theirs)]
    return (
        "both draw, in another order or other ones"
        if all(draws)
        else f"the {'loss' if draws[0] else 'gradient'} alone draws"
    )


STALE = Explanation(
    "stale",
    "the gradient is the same at another theta (it, or a part of it, was computed once, and kept, or only a linear part of the loss is in it?)",
)


def _kept(yours, theta):
    """Whether the gradient is the same at another theta; one that was given as an array is."""
    spread = theta.std() or np.abs(theta).max() or 1.0
    points = theta + 0.1 * spread * np.random.default_rng(0).standard_normal((2, len(theta)))
    return np.array_equal(*yours(points))


def _of_another(L, yours, theta):
    """A gradient of which no parameter is right: of other random numbers, stale, of another function of theta, or of none."""
    unknown = Explanation("different", "this is not the gradient of that loss; no parameter is right")
    spread = theta.std() or np.abs(theta).max() or 1.0
    if which := _on_average(L, yours, theta, spread):
        text = f"your gradient is right on average over seeds, and not for the random numbers of one: {which}"
        return Explanation("other random numbers", text)
    if len(theta) > FEW:
        return unknown
    points = theta + 0.1 * spread * np.random.default_rng(0).standard_normal((2, len(theta)))
    if yours.again is None:
        return replace(
            unknown,
            sentence=f"{unknown.sentence}; of a gradient that is a function of theta, and no array, more can be said",
        )
    if _kept(yours, theta):
        return STALE
    symmetric = check_conservative(yours, x=points, step=0.1 * spread)
    if symmetric.verdict == INCONCLUSIVE:
        return unknown
    if symmetric:
        text = "your gradient is that of another function of theta (a term of the loss that is missing in it, detached, or has another factor; a factor of the chain rule that is left out, as the derivative of an activation; other random numbers, another batch, another theta?)"
        return Explanation("another loss", text)
    text = f"your gradient is that of no function of theta ({symmetric.pattern} near theta; a factor of the chain rule is missing or wrong, a path to a parameter is cut by detach or stop_gradient, or it is the gradient in something else?)"
    return Explanation("no gradient", text)


# ------------------------------------------------------------------------------- block by block


def _wrong(field, start=0):
    """Indices from `start` on at which the gradient is wrong."""
    wrong = np.flatnonzero(field.gap[:, 0] > field.allowed(field.reference)[:, 0])
    return wrong[wrong >= start]


def _is(field, here, there):
    """Whether yours at the indices `here` is the reference at `there`."""
    gap, allowed = np.abs(field.theirs[here] - field.reference[there]), field.allowed(field.reference)
    return bool(np.all(gap <= allowed[here] + allowed[there]))


def _in_order(field, order, key, text):
    """The explanation that the gradient is the reference in another order."""
    pattern = "the right numbers in another order"
    return field.says(key, text, field.reference[order], 1, pattern, field.tolerance[order])


def transposed(field):
    """Matrices that are flattened the other way round: all of the wrong stretches, one after the other."""
    found: list[tuple] = []
    start, order = 0, np.arange(len(field.theirs))
    while len(wrong := _wrong(field, start)):
        block = next(_matrices(field, start, wrong[0]), None)
        if block is None or len(found) == MOST:
            return
        found.append(block)
        s, a, b = block
        start = s + a * b
        order[s:start] = order[s:start].reshape(a, b).T.ravel()
    if found:
        places = "; ".join(f"theta[{s}:{s + a * b}], a matrix ({a}, {b})" for s, a, b in found)
        many = len(found) > 1
        turned = (
            "are flattened the other way round, columns as rows"
            if many
            else f"is flattened as ({b}, {a}){' transposed' * (a == b)}"
        )
        yield _in_order(field, order, f"transposed block{'s' * many}", f"the gradient of {places}, {turned}")


def _matrices(field, start, wrong):
    """(first index, rows, columns) of matrices that cover the wrong index and whose transpose the gradient holds, small ones first."""
    s = int(wrong) - 1  # the first entry of a matrix stays where it is
    for size in range(4, len(field.theirs) - s + 1) if s >= start else ():
        here = np.arange(s, s + size)
        for rows in range(2, size // 2 + 1):
            if size % rows == 0 and _is(field, here, here.reshape(rows, size // rows).T.ravel()):
                yield s, rows, size // rows


def swapped(field):
    """Two stretches in each other's place, of the same length or side by side."""
    wrong, right = _wrong(field), np.arange(len(field.theirs))
    if len(wrong) < 2:
        return
    a, end = int(wrong[0]), int(wrong[-1]) + 1
    # theta[a:middle] and theta[middle:end], side by side; two numbers are a transposed matrix (2, 2) as well
    pairs = [(a, middle, middle, end) for middle in range(a + 1, end)] if end - a > 2 else []
    # of the same length, with others between them
    pairs += [(a, a + size, end - size, end) for size in range(2, (end - a) // 2 + 1)]
    for first, last, other, stop in pairs:
        order = np.r_[right[:first], right[other:stop], right[last:other], right[first:last], right[stop:]]
        if _is(field, right, order):
            text = f"the gradients of theta[{first}:{last}] and theta[{other}:{stop}] stand in each other's place"
            yield _in_order(field, order, "swapped blocks", text)
            return


def stretched(field):
    """Stretches with a factor each."""
    found, start, p = [], 0, len(field.theirs)
    while start < p:
        end, c = _stretch(field, start)
        found.append((start, end, c))
        start = end
        if len(found) > MOST:
            return
    clear = np.abs(field.reference)[:, 0] > 1e3 * field.allowed(field.reference)[:, 0]  # large enough to tell a factor
    off = [(s, e, c) for s, e, c in found if not close(c, 1, 1e-6)]
    if not off or len(found) > max(2, p // 3) or any(clear[s:e].sum() < 2 for s, e, _ in off):
        return
    what = {0.0: "zero", -1.0: "minus the reference"}
    words = [f"theta[{s}:{e}] is {what.get(round(c, 9), f'{said(c, 1e-6)} times the reference')}" for s, e, c in off]
    text = f"the gradient of {', that of '.join(words)}{'; the rest is right' * (len(off) < len(found))}"
    factors = np.repeat([c for _, _, c in found], [e - s for s, e, _ in found])[:, None]
    pattern, allowed = f"{len(found)} stretches with a factor each", np.abs(factors) * field.tolerance
    yield field.says("scale of blocks", text, factors * field.reference, len(off), pattern, allowed)


def _stretch(field, start):
    """How far one factor goes, and the factor."""
    ref, got, allowed = (a[start:, 0] for a in (field.reference, field.theirs, field.allowed(field.reference)))
    top, size = np.cumsum(ref * got), np.cumsum(ref * ref)
    end, c = 1, 1.0
    for n in range(1, len(ref) + 1):
        factor = top[n - 1] / size[n - 1] if np.any(np.abs(ref[:n]) > 2 * allowed[:n]) else 1.0
        if np.any(np.abs(got[:n] - factor * ref[:n]) > 2 * (1 + abs(factor)) * allowed[:n]):
            break
        end, c = n, factor
    return start + end, float(c)


BLOCKS = (swapped, transposed, stretched)
OTHERS = (by_row, mapped, constant, clipped, one_sided, rounded, located)
