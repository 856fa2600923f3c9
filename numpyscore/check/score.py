"""Is a score minus the gradient of its energy, is it a gradient at all, and does row i depend on row i alone?"""

from typing import Any, NamedTuple

import numpy as np

from ..differences import SAFETY, differences, tolerance, widths
from ..foreign import to_numpy
from ..inputs import generator, positive, samples
from .caller import Caller
from .field import Field
from .patterns import recognise
from .places import located
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst

ENOUGH = {True: 1e-6, False: 2e-2}  # relative resolution that a PASS needs, in float64 and below


def check_score(score, *, energy=None, logpdf=None, x, wrap=None, rtol=None, rng=0, step=None):
    r"""Is this score minus the gradient of the energy, or the gradient of log p, at the points x?

    .. math:: s(x) = -\nabla E(x) = \nabla \log p(x)

    The energy is differenced (Romberg, nine halved steps), with all points in one call of it; so nothing of the user's
    differentiation is trusted.

    Parameters
    ----------
    score : callable (n, d) -> (n, d)
        Of the user's framework: a function, a torch module, a jitted jax function.
    energy, logpdf : callable (n, d) -> (n,)
        One of them. A constant does not matter.
    x : (n, d) array, of NumPy or of the user's framework
        Where to check; half a dozen rows like your data will do.
    wrap : None, "torch", "jax" or callable
        Makes the user's arrays from ndarrays, for example torch.tensor. With None they are made like x.
    rtol : float, optional
        A difference below rtol times the norm of its row is allowed. By default nothing but round-off is.
    rng : seed or numpy.random.Generator
        Chooses the rows that are asked again, to see whether rows depend on each other.
    step : float or (d,) array, optional, [x]
        Largest half-width of the differences; half the centred standard deviation of each column by default.

    Returns
    -------
    CheckReport

    Raises
    ------
    TypeError, ValueError
        For misuse: no energy, x of another shape than (n, d), a function that does not take such points.

    Source: sign and meaning, Hyvarinen (2005), JMLR 6:695-709, section 2; differences, see `numpyscore.check.differences`.
    """
    where = "check_score"
    if (energy is None) == (logpdf is None):
        raise ValueError(f"{where}: expected one of energy= and logpdf=, got {'none' if energy is None else 'both'}.")
    points = _points(where, x)
    name, sign = ("energy", -1.0) if logpdf is None else ("logpdf", 1.0)
    log_p = Caller(where, name, energy if logpdf is None else logpdf, wrap, x)
    yours = Caller(where, "score", score, wrap, x)
    value, points = yours.both(points)
    points = points.astype(float)
    bad = _misshapen(where, "score", value, points.shape, yours, points)
    if bad is not None:
        return bad
    one_each = lambda p: _one_each(where, name, *log_p.both(p))
    unfit = _unfit_energy(where, name, lambda p: one_each(p)[0], points, generator(where, rng))
    if unfit is not None:
        return unfit
    d_dx, _ = differences(one_each, points, widths(points, step))
    reference = sign * d_dx.value
    E = -sign * one_each(points)[0]
    eps = max(yours.eps, log_p.eps)
    allowed = tolerance(d_dx, np.linalg.norm(reference, axis=1, keepdims=True), eps) + _input_rounding(
        d_dx.second, points, eps
    )
    n, d = points.shape
    summary = f"{n} point{'s' * (n > 1)} x {d} dim{'s' * (d > 1)}, {yours.went} in, {yours.came} out, {log_p.evaluations} {name} evaluations"
    notes = yours.notes()
    field = Field(value, reference, allowed, points, E, -sign * d_dx.second, eps)
    return judge(where, field, summary, eps, rtol, notes, again=lambda: _fewer_rows(yours, field))


def _points(where, x):
    """Points of any framework as a finite (n, d) array, n >= 1."""
    points = samples(where, to_numpy(x, f"{where}: x"))
    if points.dtype.kind == "c":
        raise TypeError(f"{where}: x is complex, expected real points (n, d).")
    if points.size == 0:
        raise ValueError(f"{where}: x has shape {points.shape}, expected at least one row and one column.")
    return points.astype(float)


def _misshapen(where, name, value, shape, caller, x):
    """A FAIL if the user's array has another shape than it must have, or is not finite, or is complex."""
    n, d = x.shape
    summary = f"{n} points x {d} dims, {caller.went} in, {caller.came} out"
    if value.dtype.kind == "c":
        text = f"complex: {name} returned complex numbers"
        return CheckReport(where, FAIL, summary, diagnosis=text, notes=tuple(caller.notes()))
    if value.shape != shape:
        flipped = " (transposed?)" if value.shape == shape[::-1] else ""
        text = f"shape: {name} returned {value.shape}{flipped} where {shape} was expected, one row of numbers for each row of x"
        return CheckReport(where, FAIL, summary, pattern=f"shape {value.shape}", diagnosis=text)
    if not np.isfinite(value).all():
        bad = np.argwhere(~np.isfinite(value))
        place = ", ".join(map(str, bad[0]))
        text = f"not finite: {len(bad)} of {value.size} numbers of {name} are NaN or infinite, the first at [{place}], x = {x[bad[0][0]]}"
        return CheckReport(where, FAIL, summary, pattern=f"{name}[{place}] = {value[tuple(bad[0])]}", diagnosis=text)
    return None


def _one_each(where, name, value, seen):
    """The values (r,) of a function with one number per row."""
    r = len(seen)
    if value.shape == (r, 1):
        value = value[:, 0]
    if value.shape != (r,) or value.dtype.kind == "c":
        raise ValueError(
            f"{where}: {name} returned {value.dtype} {value.shape} for {r} points, expected ({r},), one real number per row. A function of "
            f"a single point: map it over rows first (jax.vmap, numpy.vectorize); a sum or mean over the batch: leave it out."
        )
    return value.astype(float), seen


def _unfit_energy(where, name, function, x, rng):
    """INCONCLUSIVE if the energy is random, or depends on the other rows: then it has no differences to speak of."""
    once = function(x)
    if len(x) == 1:
        other, order = function(x), np.arange(1)
    else:
        order = rng.permutation(len(x))[: max(1, len(x) // 2)]
        other = function(x[order])
    finite = np.isfinite(once[order]) & np.isfinite(other)
    if np.allclose(
        once[order][finite], other[finite], rtol=1e-3, atol=1e-3 * np.abs(once[np.isfinite(once)]).max(initial=0.0)
    ):
        return None
    if not np.allclose(function(x), once, rtol=1e-12, equal_nan=True):
        text = f"random {name}: two calls at the same points differ (dropout?); put the model in evaluation mode"
    else:
        text = f"rows depend on each other: the {name} of a row changes with the rest of the batch (batch normalisation?); put the model in evaluation mode"
    return CheckReport(where, INCONCLUSIVE, f"{len(x)} points x {x.shape[1]} dims", diagnosis=text)


def _input_rounding(second, x, eps):
    """What rounding x itself moves a score by: sum_j |H_ij| |x_j|, with |H_ij| bounded by sqrt |H_ii H_jj|."""
    root = np.sqrt(np.abs(second))
    return 8 * eps * root * np.sum(root * np.abs(x), axis=1, keepdims=True)


def _fewer_rows(caller, field):
    """The user's field for half of the rows alone, divided by what it was in the whole batch; None if it is no one factor."""
    half = field.x[: (len(field.x) + 1) // 2]
    value = caller(half)
    if len(half) == len(field.x) or value.shape != half.shape:
        return None
    before = field.yours[: len(half)]
    c = np.sum(value * before) / max(np.sum(before**2), 1e-300)
    return c if np.allclose(value, c * before, rtol=1e-6, atol=1e-6 * np.abs(value).max()) else None


# ------------------------------------------------------------------------------- the verdict on a field


def judge(where, field, summary, eps, rtol=None, notes=(), again=None, recognise=recognise):
    """PASS, FAIL or INCONCLUSIVE for a field (n, d) beside its reference, with the diagnosis.

    `again` asks the user's function about half of the rows alone: what depends on n then tells itself from what does not;
    `recognise` finds explanations of a field.
    """
    yours, reference, allowed = field.yours, field.reference, field.tolerance
    norm = np.linalg.norm(reference, axis=1, keepdims=True)
    size = np.maximum(norm, np.sqrt(np.mean(norm**2)))
    size = np.where(size > 0, size, np.maximum(np.abs(yours).max(), 1e-300))
    if rtol is not None:
        rtol = positive(where, "rtol", rtol)
        allowed = np.maximum(allowed, rtol * norm)
    gap = np.abs(yours - reference)
    wrong = gap > allowed
    resolved = allowed <= size * max(rtol or 0.0, ENOUGH[eps < 1e-10])
    resolution = float(np.max(allowed / size))
    with np.errstate(all="ignore"):
        at = np.unravel_index(
            np.nanargmax(np.where(allowed > 0, gap / allowed, np.where(gap > 0, np.inf, 0.0))), gap.shape
        )
    place = f"x[{at[0]}], dim {at[1]}" if gap.shape[1] > 1 or field.word == "score" else f"x[{at[0]}]"
    worst = Worst(place, float(yours[at]), float(reference[at]), float(allowed[at] / size[at[0], 0]))
    details = {"yours": yours, "reference": reference, "tolerance": allowed, "x": field.x}
    common: dict[str, Any] = {"worst": worst, "resolution": resolution, "notes": tuple(notes), "details": details}
    sure = wrong & (resolved | (gap > SAFETY * allowed))
    if sure.any():
        found = recognise(field._replace(tolerance=allowed)) or ([located(field)] if located(field) else [])
        found = _settle_n(found, field, again)
        pattern = (
            found[0].pattern
            if found
            else f"{wrong.sum()} of {wrong.size} entries differ, relative differences up to {np.max(gap / size):.2g}"
        )
        diagnosis = (
            " -- or -- ".join(f.diagnosis for f in found)
            or f"different: your {field.word} is no simple function of the reference; it belongs to another energy"
        )
        return CheckReport(where, FAIL, summary, pattern=pattern, diagnosis=diagnosis, **common)
    if wrong.any() or not resolved.all():
        share = f"{np.sum(~resolved)} of {resolved.size} entries"
        text = (
            f"unresolved: for {share} the halvings disagree by more than {max(rtol or 0.0, ENOUGH[eps < 1e-10]):.0e} of the {field.word} (a kink, an energy dominated by an "
            f"offset, or too few digits); nothing is claimed about them"
        )
        return CheckReport(where, INCONCLUSIVE, summary, diagnosis=text, **common)
    return CheckReport(where, PASS, summary, **common)


def _settle_n(found, field, again):
    """Of the readings of a factor, those that agree with what fewer rows give."""
    if len(found) == 0 or found[0].name != "scale" or again is None or len(field.x) < 2:
        return found
    change, n, m = again(), len(field.x), (len(field.x) + 1) // 2
    if change is None:
        return found
    with_n = lambda f: (
        m / n if "n" in _letters(f.sentence) else 1.0,
        n / m if "1/n" in f.sentence or "/n" in f.sentence else 1.0,
    )
    kept = [f for f in found if any(abs(change - c) < 1e-3 for c in (np.prod(with_n(f)),))] or found
    return kept


def _letters(sentence):
    """The quantities that a reading names."""
    return set(sentence.split(" of the reference")[0].replace("/", " ").replace("(", " ").replace(")", " ").split())


# ------------------------------------------------------------------------------- is it a gradient?


class Jacobian(NamedTuple):
    """Differenced Jacobian (n, d, d) of a score, jac[n, i, j] = d s_i / d x_j, its tolerance, and the score (n, d)."""

    value: np.ndarray
    tolerance: np.ndarray
    score: np.ndarray
    x: np.ndarray


def differenced_jacobian(where, caller, x, step=None):
    """The Jacobian of a user's score by Romberg differences, or a report if the score is unfit for it."""
    score, seen = caller.both(x)
    bad = _misshapen(where, "score", score, x.shape, caller, x)
    if bad is not None:
        return bad
    seen = seen.astype(float)
    d_dx, _ = differences(caller.both, seen, widths(seen, step), shape=(x.shape[1],))
    size = np.linalg.norm(d_dx.value, axis=(1, 2), keepdims=True)
    return Jacobian(d_dx.value, tolerance(d_dx, size, caller.eps), score, seen)


def check_conservative(score, *, x, wrap=None, rtol=None, step=None):
    r"""Is this score the gradient of anything: is its Jacobian symmetric at the points x?

    .. math:: \partial_j s_i = \partial_i s_j \quad\Longleftrightarrow\quad s = -\nabla E \text{ for some } E

    A network that gives the score itself usually fails this, by itself no mistake: it has then no density of its own.

    Parameters
    ----------
    score : callable (n, d) -> (n, d)
    x : (n, d) array
    wrap, rtol, step
        As in `check_score`; rtol is relative to the norm of the Jacobian.

    Returns
    -------
    CheckReport
    """
    where = "check_conservative"
    points = _points(where, x)
    caller = Caller(where, "score", score, wrap, x)
    jac = differenced_jacobian(where, caller, points, step)
    if isinstance(jac, CheckReport):
        return jac
    n, d = points.shape
    summary = f"{n} points x {d} dims, {caller.went} in, {caller.came} out, {caller.evaluations} score evaluations"
    if d == 1:
        return CheckReport(
            where, PASS, summary, diagnosis="", notes=("in one dimension every score is a gradient", *caller.notes())
        )
    upper = np.triu_indices(d, 1)
    above, below = jac.value[:, *upper], jac.value.transpose(0, 2, 1)[:, *upper]
    allowed = (jac.tolerance + jac.tolerance.transpose(0, 2, 1))[:, *upper]
    size = np.linalg.norm(jac.value, axis=(1, 2))[:, None]
    size = np.maximum(size, np.sqrt(np.mean(size**2)) or 1e-300)
    if rtol is not None:
        allowed = np.maximum(allowed, positive(where, "rtol", rtol) * size)
    gap = np.abs(above - below)
    at = np.unravel_index(np.argmax(gap / np.maximum(allowed, 1e-300)), gap.shape)
    i, j = upper[0][at[1]], upper[1][at[1]]
    worst = Worst(
        f"x[{at[0]}], d s_{i}/d x_{j} beside d s_{j}/d x_{i}",
        float(above[at]),
        float(below[at]),
        float(allowed[at] / size[at[0], 0]),
    )
    share = float(np.sqrt(np.sum(gap**2) / np.sum((jac.value - jac.value.mean()) ** 2 + 1e-300)))
    common: dict[str, Any] = {
        "worst": worst,
        "resolution": float(np.max(allowed / size)),
        "notes": tuple(caller.notes()),
        "details": {"jacobian": jac.value},
    }
    resolved = allowed <= size * max(rtol or 0.0, ENOUGH[caller.eps < 1e-10])
    if np.any((gap > allowed) & (resolved | (gap > SAFETY * allowed))):
        text = "not a gradient: the Jacobian is not symmetric, so no energy has this score"
        return CheckReport(
            where,
            FAIL,
            summary,
            pattern=f"the antisymmetric part is {share:.2g} of the Jacobian",
            diagnosis=text,
            **common,
        )
    if not resolved.all() or np.any(gap > allowed):
        return CheckReport(
            where,
            INCONCLUSIVE,
            summary,
            diagnosis="unresolved: the halvings disagree (a kink, or too few digits)",
            **common,
        )
    return CheckReport(where, PASS, summary, **common)


# ------------------------------------------------------------------------------- does row i depend on row i alone?


def check_rows(score, x, *, wrap=None, rtol=None, rng=0):
    """Does row i of the result depend on row i of x alone?

    The rows are asked again in another order, in half a batch, and with all other rows replaced; up to a few units of
    round-off (a matrix product sums in another order) nothing may change.

    Parameters
    ----------
    score : callable (n, d) -> (n, ...)
        Or an energy, a trace: anything with one result per row.
    x : (n, d) array, n >= 2
    wrap : as in `check_score`
    rtol : float, optional
        Allowed change relative to the largest result; 4096 eps by default.
    rng : seed or numpy.random.Generator
        Draws the order and the other rows.

    Returns
    -------
    CheckReport
    """
    where = "check_rows"
    points, rng = _points(where, x), generator(where, rng)
    n, d = points.shape
    if n < 2:
        raise ValueError(
            f"{where}: x has {n} row, expected at least two: with one there is nothing it could depend on."
        )
    caller = Caller(where, "score", score, wrap, x)
    whole = caller(points)
    summary = f"{n} rows x {d} dims, {caller.went} in, {caller.came} out"
    if whole.shape[:1] != (n,):
        text = f"shape: the result has shape {whole.shape} for {n} rows; expected one result per row"
        return CheckReport(where, FAIL, summary, diagnosis=text)
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    allowed = (4096 * caller.eps if rtol is None else positive(where, "rtol", rtol)) * scale
    change = lambda now, i: np.nan_to_num(np.abs(now - whole[i]), nan=np.inf).reshape(len(now), -1).max(axis=1)
    order, half = rng.permutation(n), np.arange((n + 1) // 2)
    others = np.concatenate([points[:1], points[1:].mean(0) + 3 * points.std(0) * rng.standard_normal((n - 1, d))])
    again = caller(points)
    trials = {
        "two calls": change(again, np.arange(n)),
        "another order": change(caller(points[order]), order),
        "half the batch": change(caller(points[half]), half),
        "other rows": change(caller(others)[:1], np.arange(1)),
    }
    top = {name: float(gap.max()) for name, gap in trials.items()}
    name = max(top, key=lambda key: top[key])
    resolution = float(allowed / scale) if scale else np.nan
    common: dict[str, Any] = {
        "resolution": resolution,
        "notes": tuple(caller.notes()),
        "details": {"largest change": top},
    }
    if max(top.values()) <= allowed:
        return CheckReport(where, PASS, summary, **common)
    i = int(trials[name].argmax())
    if top["two calls"] > allowed:
        text = "random: two calls with the same rows differ (dropout, random probes); nothing can be said about rows"
        return CheckReport(
            where, INCONCLUSIVE, summary, pattern=f"changes by {top['two calls'] / scale:.2g}", diagnosis=text, **common
        )
    pattern = (
        ", ".join(f"{key}: {value / scale:.1e}" for key, value in top.items() if key != "two calls")
        + " of the largest result"
    )
    return CheckReport(
        where,
        FAIL,
        summary,
        pattern=pattern,
        diagnosis=_mixed(caller(points[half]), whole, top, allowed, n),
        **common | {"worst": Worst(f"row {i}, {name}", top[name], 0.0, resolution)},
    )


def _mixed(halved, whole, top, allowed, n):
    """In which way rows depend on each other."""
    m = len(halved)
    for c, text in (
        (n / m, "1/n: rows are divided by their number, as in the gradient of a mean over the batch"),
        (m / n, "n: rows are multiplied by their number"),
    ):
        if m != n and np.allclose(halved, c * whole[:m], rtol=1e-5, atol=1e-9 * np.abs(whole).max()):
            return text
    if top["another order"] <= allowed:
        return "batch statistics: the result of a row changes with the other rows, not with their order (batch normalisation, centring, a mean or sum over the wrong axis)"
    if top["other rows"] <= allowed:
        return "position: the result of a row changes with its place in the batch (an index, a fixed noise array, a cumulative sum)"
    return "rows mixed: the result of a row changes with the other rows and with their order"
