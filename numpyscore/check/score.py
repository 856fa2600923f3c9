"""Is a score minus the gradient of its energy, and is it a gradient at all?"""

import functools
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import generator, positive
from ..numerics.differences import SAFETY, differences, other_widths, settled, tolerance, widths
from .field import Field, fitted
from .functions import Caller, points_of
from .numbers import readings
from .patterns import recognise
from .places import located
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst
from .steady import by_rows, unsteady

ENOUGH = {True: 1e-6, False: 2e-2}  # relative resolution that a PASS needs, in float64 and below


def check_score(score, *, energy=None, logpdf=None, x, wrap=None, rtol=None, rng=0, step=None):
    r"""Is this score minus the gradient of the energy, or the gradient of log p, at the points x?

    .. math:: s(x) = -\nabla E(x) = \nabla \log p(x)

    The energy is differenced (Romberg, nine halved steps), with all points in one call of it; so nothing of the user's
    differentiation is trusted. Rows that differ are looked at with other steps before anything is said of them, and the score is asked
    again after other points: it must not depend on what was asked before.

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

    Source: sign and meaning, Hyvarinen (2005), JMLR 6:695-709, section 2; differences, see `numpyscore.numerics.differences`.
    """
    where = "check_score"
    if (energy is None) == (logpdf is None):
        raise ValueError(f"{where}: expected one of energy= and logpdf=, got {'none' if energy is None else 'both'}.")
    points = points_of(where, x)
    name, sign = ("energy", -1.0) if logpdf is None else ("logpdf", 1.0)
    log_p = Caller(where, name, energy if logpdf is None else logpdf, wrap, x)
    yours = Caller(where, "score", score, wrap, x)
    value, points = yours.both(points)
    points = points.astype(float)
    bad = _misshapen(where, "score", value, points.shape, yours, points)
    if bad is not None:
        return bad
    restless = unsteady(where, yours, value, points)
    if restless is not None:
        return restless
    one_each = lambda p: _one_each(where, name, *log_p.both(p))
    unfit = _unfit_energy(where, name, lambda p: one_each(p)[0], points, generator(where, rng))
    if unfit is not None:
        return unfit
    found, _ = differences(one_each, points, widths(points, step))
    judged = functools.partial(
        _differenced, where, sign, name, yours, log_p, value, points, found, one_each, rtol, step
    )
    eps, inside = max(yours.eps, log_p.eps), max(yours.inside, log_p.inside)
    report = judged(eps)
    if not report and report.name != "precision" and inside > eps:
        report = judged(inside)
    return by_rows(report, yours, points)


def _differenced(where, sign, name, yours, log_p, value, points, d_dx, one_each, rtol, step, eps):
    """The report on a score (n, d) beside the differenced energy, for round-off eps."""

    def allowance(d_dx):
        """What a right score may differ by, (n, d)."""
        size = np.linalg.norm(d_dx.value, axis=1, keepdims=True)
        return tolerance(d_dx, size, eps) + _input_rounding(d_dx.second, points, eps)

    def doubtful(d_dx):
        """Rows that no PASS could be said of."""
        gap, allowed = np.abs(value - sign * d_dx.value), allowance(d_dx)
        return ~np.all((gap <= allowed) & (allowed <= ENOUGH[eps < 1e-10] * _sizes(d_dx.value, value)), axis=1)

    d_dx = settled(one_each, points, other_widths(points, step), d_dx, doubtful, allowance)
    reference, allowed = sign * d_dx.value, allowance(d_dx)
    E = -sign * one_each(points)[0]
    n, d = points.shape
    summary = f"{n} point{'s' * (n > 1)} x {d} dim{'s' * (d > 1)}, {yours.went} in, {yours.came} out, {log_p.evaluations} {name} evaluations"
    notes = yours.notes() or log_p.notes()
    field = Field(value, reference, allowed, points, E, -sign * d_dx.second, eps)
    return judge(where, field, summary, eps, rtol, notes, again=lambda: _fewer_rows(yours, field))


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


def judge(where, field, summary, eps, rtol=None, notes=(), again=None, recognise=recognise, size=None):
    """PASS, FAIL or INCONCLUSIVE for a field (n, d) beside its reference, with the diagnosis.

    `size` (n, 1) is what a relative error is relative to: the norm of a row, or for a sum of terms that cancel their absolute sum;
    `again` asks the user's function about half of the rows alone: what depends on n then tells itself from what does not;
    `recognise` finds explanations of a field.
    """
    yours, reference, allowed = field.yours, field.reference, field.tolerance
    size = _sizes(reference if size is None else size, yours)
    if rtol is not None:
        rtol = positive(where, "rtol", rtol)
        allowed = np.maximum(allowed, rtol * np.linalg.norm(reference, axis=1, keepdims=True))
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


def _sizes(reference, yours):
    """What a relative error of each row is relative to (n, 1): the norm of the row, at least that of the field."""
    norm = np.linalg.norm(reference, axis=1, keepdims=True)
    size = np.maximum(norm, np.sqrt(np.mean(norm**2)))
    return np.where(size > 0, size, np.maximum(np.abs(yours).max(), 1e-300))


def _settle_n(found, field, again):
    """Of the readings of a factor, those that read the factor of fewer rows as well: 1/n is no 1/(2 d) there."""
    if len(found) == 0 or found[0].name != "scale" or again is None or len(field.x) < 2:
        return found
    change, (n, d) = again(), field.x.shape
    if change is None:
        return found
    (c,) = fitted(field, field.reference)
    fewer = readings(abs(c * change), {"n": (n + 1) // 2, "d": d}, 1e-6)
    return [f for f in found if any(f"is {text} of the reference" in f.sentence for text in fewer)] or found


# ------------------------------------------------------------------------------- is it a gradient?


class Jacobian(NamedTuple):
    """Differenced Jacobian (n, d, d) of a score, jac[n, i, j] = d s_i / d x_j, its tolerance, and the score (n, d)."""

    value: np.ndarray
    tolerance: np.ndarray
    score: np.ndarray
    x: np.ndarray


def differenced_jacobian(where, caller, x, step=None, suspect=None):
    """The Jacobian of a user's score by Romberg differences, or a report if the score is unfit for it.

    Rows that it does not resolve, and rows that `suspect` (of a `Jacobian`) points at, are looked at with other steps.
    """
    score, seen = caller.both(x)
    bad = _misshapen(where, "score", score, x.shape, caller, x)
    if bad is not None:
        return bad
    seen = seen.astype(float)
    shape = (x.shape[1],)
    size = lambda value: np.linalg.norm(value, axis=(1, 2), keepdims=True)
    of = lambda d_dx: Jacobian(d_dx.value, tolerance(d_dx, size(d_dx.value), caller.eps), score, seen)

    def doubtful(d_dx):
        jac = of(d_dx)
        unresolved = ~np.all(jac.tolerance <= ENOUGH[caller.eps < 1e-10] * size(jac.value), axis=(1, 2))
        return unresolved if suspect is None else unresolved | suspect(jac)

    d_dx, _ = differences(caller.both, seen, widths(seen, step), shape)
    return of(
        settled(caller.both, seen, other_widths(seen, step), d_dx, doubtful, lambda d_dx: of(d_dx).tolerance, shape)
    )


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
    points = points_of(where, x)
    caller = Caller(where, "score", score, wrap, x)
    flip = lambda a: a.transpose(0, 2, 1)
    symmetric = lambda jac: np.abs(jac.value - flip(jac.value)) <= jac.tolerance + flip(jac.tolerance)
    jac = differenced_jacobian(where, caller, points, step, lambda jac: ~np.all(symmetric(jac), axis=(1, 2)))
    if isinstance(jac, CheckReport):
        return jac
    n, d = points.shape
    summary = f"{n} points x {d} dims, {caller.went} in, {caller.came} out, {caller.evaluations} score evaluations"
    if d == 1:
        return CheckReport(
            where, PASS, summary, diagnosis="", notes=("in one dimension every score is a gradient", *caller.notes())
        )
    upper = np.triu_indices(d, 1)
    above, below = jac.value[:, *upper], flip(jac.value)[:, *upper]
    allowed = (jac.tolerance + flip(jac.tolerance))[:, *upper]
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
