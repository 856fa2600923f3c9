"""Is a score minus the gradient of its energy, is it a gradient at all, and is it one of its rows?"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import generator, positive
from ..numerics.differences import SAFETY, differences, other_widths, settled, tolerance, widths
from .explanations import tied
from .fields import Field, read
from .functions import QUOTIENT, Function, points_of
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst

LOOSE = (
    "different",
    "some rows",
    "some dimensions",
    "factor of each row",
    "inaccurate",
)  # these say where or how much, not what


def enough(eps):
    """Relative resolution that a PASS needs, in float64 and below."""
    return 1e-6 if eps < 1e-10 else 2e-2


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
        A difference below rtol times the norm of its row is allowed. By default nothing but round-off is; it is measured: a part in
        single precision is judged as such, and a score that scatters as difference quotients do is right up to 1e-7, with a note.
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
    log_p = Function(where, name, energy if logpdf is None else logpdf, wrap, x)
    yours = Function(where, "score", score, wrap, x)
    value, points = yours.both(points)
    points = points.astype(float)
    one_each = lambda p: one_number_each(where, name, *log_p.both(p))
    trials = (
        lambda: misshapen(where, "score", value, points.shape, yours, points),
        lambda: unsteady(where, yours, value, points),
        lambda: unfit_energy(where, name, lambda p: one_each(p)[0], points, generator(where, rng)),
    )
    unfit = next((report for report in (trial() for trial in trials) if report is not None), None)
    if unfit is not None:
        return unfit
    eps = max(yours.measure(points).eps, log_p.measure(points).eps)
    field = _beside_differences(one_each, sign, value, points, eps, step)
    among = lambda: quotients(lambda p: sign * one_each(p)[0], points, "the energy")
    report = judge(where, field, (yours, log_p), f"{log_p.evaluations} {name} evaluations", rtol=rtol, among=among)
    return _other_energy(by_rows(report, yours, points), score, x, wrap, step)


def _other_energy(report, score, x, wrap, step):
    """The report; where the score is no function of the reference, it says whether it is the gradient of another energy."""
    if report.verdict != FAIL or report.name != "different":
        return report
    symmetric = check_conservative(score, x=x, wrap=wrap, step=step)
    if symmetric.verdict == INCONCLUSIVE:
        return report
    if symmetric:
        text = "another energy: your score is a gradient, and no simple function of the reference: it belongs to another energy (other parameters, a term or a weight left out)"
    else:
        text = f"no gradient: your score is the gradient of no energy ({symmetric.pattern}), nor a simple function of the reference: a term of it is wrong"
    return replace(report, diagnosis=text, pattern=report.pattern)


STEPS = tuple(
    c * 10.0**-k for k in range(4) for c in (1, 0.5, 0.25, 0.2)
)  # of difference quotients that are recognised


def quotients(function, x, of):
    """Difference quotients with round steps, as rows of `among`: d f / d x_j of a function (r, d) -> (r,), d s_j / d x_j of one -> (r, d)."""
    rows: list[tuple] = []
    n, d = x.shape
    if n * d * d > 1 << 16:
        return rows
    own = lambda p, m: np.einsum("mnjj->mnj", np.broadcast_to(np.reshape(function(p), (m, n, d, -1)), (m, n, d, d)))
    (middle,) = own(np.repeat(x, d, axis=0), 1)
    for h in STEPS:
        moved = np.concatenate([(x[:, None] + s * h * np.eye(d)).reshape(-1, d) for s in (1, -1)])
        up, down = own(moved, 2)
        rows += [
            ("one-sided difference", f"it is the forward difference of {of} with step {h:g}", (up - middle) / h),
            ("one-sided difference", f"it is the backward difference of {of} with step {h:g}", (middle - down) / h),
            (
                "central difference",
                f"it is the central difference of {of} with step {h:g}, which is too long",
                (up - down) / (2 * h),
            ),
        ]
    return rows


def _beside_differences(one_each, sign, value, points, eps, step):
    """The user's score (n, d) beside the differenced energy: a `Field`."""

    def allowance(d_dx):
        """What a right score may differ by, (n, d)."""
        size = np.linalg.norm(d_dx.value, axis=1, keepdims=True)
        return tolerance(d_dx, size, eps) + _input_rounding(d_dx.second, points, eps)

    def doubtful(d_dx):
        """Rows that no PASS could be said of."""
        gap, allowed = np.abs(value - sign * d_dx.value), allowance(d_dx)
        return ~np.all((gap <= allowed) & (allowed <= enough(eps) * _sizes(d_dx.value, value)), axis=1)

    d_dx, _ = differences(one_each, points, widths(points, step))
    d_dx = settled(one_each, points, other_widths(points, step), d_dx, doubtful, allowance)
    E, second = -sign * one_each(points)[0], -sign * d_dx.second
    return Field(value, sign * d_dx.value, allowance(d_dx), points, E, second)


def _input_rounding(second, x, eps):
    """What rounding x itself moves a score by: sum_j |H_ij| |x_j|, with |H_ij| bounded by sqrt |H_ii H_jj|."""
    root = np.sqrt(np.abs(second))
    return 8 * eps * root * np.sum(root * np.abs(x), axis=1, keepdims=True)


# ------------------------------------------------------------------------------- what is no field at all


def misshapen(where, name, value, shape, function, x):
    """A FAIL if the user's array has another shape than it must have, or is not finite, or is complex."""
    n, d = x.shape
    summary = f"{n} points x {d} dims, {function.went} in, {function.came} out"
    if value.dtype.kind == "c":
        text = f"complex: {name} returned complex numbers"
        return CheckReport(where, FAIL, summary, diagnosis=text, notes=tuple(function.notes()))
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


def one_number_each(where, name, value, seen):
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


def unfit_energy(where, name, function, x, rng):
    """INCONCLUSIVE if the energy is random, or depends on the other rows: then it has no differences to speak of."""
    once = function(x)
    order = rng.permutation(len(x))[: max(1, len(x) // 2)] if len(x) > 1 else np.arange(1)
    other = function(x[order])
    finite = np.isfinite(once[order]) & np.isfinite(other)
    size = np.abs(once[np.isfinite(once)]).max(initial=0.0)
    if np.allclose(once[order][finite], other[finite], rtol=1e-3, atol=1e-3 * size):
        return None
    if not np.allclose(function(x), once, rtol=1e-12, equal_nan=True):
        text = f"random {name}: two calls at the same points differ (dropout?); put the model in evaluation mode"
    else:
        text = f"rows depend on each other: the {name} of a row changes with the rest of the batch (batch normalisation?); put the model in evaluation mode"
    return CheckReport(where, INCONCLUSIVE, f"{len(x)} points x {x.shape[1]} dims", diagnosis=text)


# ------------------------------------------------------------------------------- the verdict on a field


def judge(where, field, functions, evaluations, *, rtol=None, size=None, among=list):
    """PASS, FAIL or INCONCLUSIVE for a field (n, d) beside its reference, with the diagnosis.

    functions : the `Function`s behind it, the user's field first; the coarsest precision counts
    evaluations : text for the summary
    size : (n, 1), what a relative error is relative to: the norm of a row, or for a sum of terms that cancel their absolute sum
    among : callable without arguments, what `read_field` takes by that name; called if something is wrong
    """
    yours, eps = functions[0], max(f.eps for f in functions)
    n, d = field.x.shape
    summary = f"{n} point{'s' * (n > 1)} x {d} dim{'s' * (d > 1)}, {yours.went} in, {yours.came} out, {evaluations}"
    size = _sizes(field.reference if size is None else size, field.theirs)
    allowed = field.doubt
    if rtol is not None:
        allowed = np.maximum(
            allowed, positive(where, "rtol", rtol) * np.linalg.norm(field.reference, axis=1, keepdims=True)
        )
    field = field._replace(doubt=allowed, round_off=256 * eps, known={"n": n, "d": d})
    gap, least = np.abs(field.theirs - field.reference), max(rtol or 0.0, enough(eps))
    wrong, resolved = gap > allowed, allowed <= size * least
    notes = [note for f in functions for note in f.notes()]
    common: dict[str, Any] = {
        "worst": _worst(field, gap, size),
        "resolution": float(np.max(allowed / size)),
        "details": {"yours": field.theirs, "reference": field.reference, "tolerance": allowed, "x": field.x},
    }
    report = lambda verdict, **more: CheckReport(where, verdict, summary, notes=tuple(notes), **more, **common)
    if np.any(wrong & (resolved | (gap > SAFETY * allowed))):
        among = among()
        found = read(field, among)
        share = float(np.max(gap / size))
        if found and found[0].right:
            notes.append(found[0].sentence)
            return report(PASS)
        if share <= QUOTIENT and any(f.precision.kind == "quotient" for f in functions):
            notes.append(
                f"right up to {share:.0e} of its size, as difference quotients are; derivatives would be right to 1e-14"
            )
            return report(PASS)
        found = _told_apart(tied(found), field, yours, among) if found else []
        pattern = (
            found[0].pattern
            if found
            else f"{wrong.sum()} of {wrong.size} entries differ, relative differences up to {share:.2g}"
        )
        text = " -- or -- ".join(e.diagnosis for e in found[:3])
        return report(
            FAIL,
            pattern=pattern,
            diagnosis=text
            or f"different: your {field.word} is no simple function of the reference; it belongs to another energy",
        )
    if wrong.any() or not resolved.all():
        coarse = next((f for f in functions if f.precision.kind not in ("", "quotient")), None)
        text = (
            f"precision: {coarse.precision.note(coarse.name, coarse.came)}, which decides nothing"
            if coarse
            else (
                f"unresolved: for {np.sum(~resolved)} of {resolved.size} entries the halvings disagree by more than {least:.0e} of the {field.word} (a kink, "
                f"an energy dominated by an offset, or too few digits); nothing is claimed about them"
            )
        )
        return report(INCONCLUSIVE, diagnosis=text)
    return report(PASS)


def _worst(field, gap, size):
    """The `Worst` pair of numbers: furthest apart for their tolerance."""
    with np.errstate(all="ignore"):
        ratio = np.where(field.doubt > 0, gap / field.doubt, np.where(gap > 0, np.inf, 0.0))
    i, j = np.unravel_index(np.nanargmax(ratio), gap.shape)
    place = f"x[{i}], dim {j}" if gap.shape[1] > 1 or field.word == "score" else f"x[{i}]"
    return Worst(place, float(field.theirs[i, j]), float(field.reference[i, j]), float(field.doubt[i, j] / size[i, 0]))


def _sizes(reference, yours):
    """What a relative error of each row is relative to (n, 1): the norm of the row, at least that of the field."""
    norm = np.linalg.norm(reference, axis=1, keepdims=True)
    size = np.maximum(norm, np.sqrt(np.mean(norm**2)))
    return np.where(size > 0, size, np.maximum(np.abs(yours).max(), 1e-300))


def _told_apart(found, field, function, among):
    """Of explanations that tie, those that explain half of the rows alone as well: 1/n is no 1/(2 d) there."""
    n = len(field.x)
    half = slice((n + 1) // 2)
    if n < 2 or not (len(found) > 1 or found[0].key == "scale"):
        return found
    value = function(field.x[half])
    value = value[:, None] if value.ndim == 1 else value
    if value.shape != field.theirs[half].shape:
        return found
    parts = {
        name: None if a is None else a[half]
        for name, a in field._asdict().items()
        if name in ("reference", "doubt", "x", "energy", "second")
    }
    fewer = field._replace(theirs=value, known={**field.known, "n": len(value)}, **parts)
    again = {(e.key, e.detail.get("reading")) for e in read(fewer, [(k, t, a[half]) for k, t, a in among])}
    return [e for e in found if (e.key, e.detail.get("reading")) in again] or found


# ------------------------------------------------------------------------------- is it a gradient?


class Jacobian(NamedTuple):
    """Differenced Jacobian (n, d, d) of a score, jac[n, i, j] = d s_i / d x_j, its tolerance, the score (n, d), x, and roughly d^2 s_i / d x_j^2."""

    value: np.ndarray
    tolerance: np.ndarray
    score: np.ndarray
    x: np.ndarray
    second: np.ndarray


def differenced_jacobian(where, function, x, step=None, suspect=None):
    """The Jacobian of a user's score by Romberg differences, or a report if the score is unfit for it.

    Rows that it does not resolve, and rows that `suspect` (of a `Jacobian`) points at, are looked at with other steps.
    """
    score, seen = function.both(x)
    bad = misshapen(where, "score", score, x.shape, function, x)
    if bad is not None:
        return bad
    seen, shape = seen.astype(float), (x.shape[1],)
    eps = function.measure(seen).eps
    size = lambda value: np.linalg.norm(value, axis=(1, 2), keepdims=True)
    of = lambda d_dx: Jacobian(d_dx.value, tolerance(d_dx, size(d_dx.value), eps), score, seen, d_dx.second)

    def doubtful(d_dx):
        jac = of(d_dx)
        unresolved = ~np.all(jac.tolerance <= enough(eps) * size(jac.value), axis=(1, 2))
        return unresolved if suspect is None else unresolved | suspect(jac)

    d_dx, _ = differences(function.both, seen, widths(seen, step), shape)
    others = other_widths(seen, step)
    return of(settled(function.both, seen, others, d_dx, doubtful, lambda d_dx: of(d_dx).tolerance, shape))


def check_conservative(score, *, x, wrap=None, rtol=None, step=None, claimed=True):
    r"""Is this score the gradient of anything: is its Jacobian symmetric at the points x?

    .. math:: \partial_j s_i = \partial_i s_j \quad\Longleftrightarrow\quad s = -\nabla E \text{ for some } E

    A network that gives the score itself usually is none, by itself no mistake: it has then no density of its own, and samplers and
    denoising losses do not need one.

    Parameters
    ----------
    score : callable (n, d) -> (n, d)
    x : (n, d) array
    wrap, rtol, step
        As in `check_score`; rtol is relative to the norm of the Jacobian.
    claimed : bool
        Whether the score is meant to be a gradient. If not, a PASS says how far from one it is.

    Returns
    -------
    CheckReport
        With details["antisymmetric"], the norm of (J - J^T)/2 over that of J: 0 for a gradient, 1 for a pure rotation.
    """
    where, points = "check_conservative", points_of("check_conservative", x)
    function = Function(where, "score", score, wrap, x)
    flip = lambda a: a.transpose(0, 2, 1)
    symmetric = lambda jac: np.abs(jac.value - flip(jac.value)) <= jac.tolerance + flip(jac.tolerance)
    jac = differenced_jacobian(where, function, points, step, lambda jac: ~np.all(symmetric(jac), axis=(1, 2)))
    if isinstance(jac, CheckReport):
        return jac
    n, d = points.shape
    summary = (
        f"{n} points x {d} dims, {function.went} in, {function.came} out, {function.evaluations} score evaluations"
    )
    notes = tuple(function.notes())
    if d == 1:
        return CheckReport(where, PASS, summary, notes=("in one dimension every score is a gradient", *notes))
    upper = np.triu_indices(d, 1)
    above, below, allowed = (a[:, *upper] for a in (jac.value, flip(jac.value), jac.tolerance + flip(jac.tolerance)))
    size = np.linalg.norm(jac.value, axis=(1, 2))[:, None]
    size = np.maximum(size, np.sqrt(np.mean(size**2)) or 1e-300)
    if rtol is not None:
        allowed = np.maximum(allowed, positive(where, "rtol", rtol) * size)
    gap = np.abs(above - below)
    row, k = np.unravel_index(np.argmax(gap / np.maximum(allowed, 1e-300)), gap.shape)
    i, j = upper[0][k], upper[1][k]
    place = f"x[{row}], d s_{i}/d x_{j} beside d s_{j}/d x_{i}"
    share = float(np.sqrt(np.sum(gap**2) / (2 * np.sum(jac.value**2) + 1e-300)))
    common: dict[str, Any] = {
        "worst": Worst(place, float(above[row, k]), float(below[row, k]), float(allowed[row, k] / size[row, 0])),
        "resolution": float(np.max(allowed / size)),
        "pattern": f"the antisymmetric part is {share:.2g} of the Jacobian",
        "details": {"jacobian": jac.value, "antisymmetric": share},
    }
    least = max(rtol or 0.0, enough(function.eps))
    if not np.any((gap > allowed) & ((allowed <= size * least) | (gap > SAFETY * allowed))):
        if np.all(gap <= allowed) and np.all(allowed <= size * least):
            return CheckReport(where, PASS, summary, notes=notes, **common | {"pattern": ""})
        text = "unresolved: the halvings disagree (a kink, or too few digits)"
        return CheckReport(where, INCONCLUSIVE, summary, diagnosis=text, notes=notes, **common)
    if claimed:
        text = "not a gradient: the Jacobian is not symmetric, so no energy has this score"
        return CheckReport(where, FAIL, summary, diagnosis=text, notes=notes, **common)
    usual = (
        f"not the gradient of an energy, as is usual for a network that gives the score itself: the antisymmetric part is {share:.2g} of its Jacobian "
        f"(0 for a gradient, 1 for a rotation). Denoising and samplers do not need one; a likelihood by an energy, or a Metropolis correction, does"
    )
    return CheckReport(where, PASS, summary, notes=(usual, *notes), **common)


# ------------------------------------------------------------------------------- is it one of its rows, and steady?


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
    points, rng = points_of(where, x), generator(where, rng)
    if len(points) < 2:
        raise ValueError(
            f"{where}: x has {len(points)} row, expected at least two: with one there is nothing it could depend on."
        )
    return _rows(where, Function(where, "score", score, wrap, x), points, rtol, rng)


def _rows(where, function, points, rtol, rng):
    """The report on rows."""
    n, d = points.shape
    whole = function(points)
    summary = f"{n} rows x {d} dims, {function.went} in, {function.came} out"
    if whole.shape[:1] != (n,):
        text = f"shape: the result has shape {whole.shape} for {n} rows; expected one result per row"
        return CheckReport(where, FAIL, summary, diagnosis=text)
    scale = np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    order, half = rng.permutation(n), np.arange((n + 1) // 2)
    fewer = function(points[half])
    if fewer.shape != (len(half), *whole.shape[1:]):
        text = f"axes: the result has shape {whole.shape} for {n} rows and {fewer.shape} for {len(half)}; rows and dimensions are mixed up (a trace, a sum or a vmap over the wrong axis)"
        return CheckReport(where, FAIL, summary, diagnosis=text)
    others = np.concatenate([points[:1], points[1:].mean(0) + 3 * points.std(0) * rng.standard_normal((n - 1, d))])

    def change(now, i):
        """Largest change of each row; numbers that are not finite and stay what they are do not change."""
        with np.errstate(invalid="ignore"):
            gap = np.where((now == whole[i]) | (np.isnan(now) & np.isnan(whole[i])), 0.0, np.abs(now - whole[i]))
        return np.nan_to_num(gap, nan=np.inf).reshape(len(now), -1).max(axis=1)

    trials = {
        "two calls": change(function(points), np.arange(n)),
        "another order": change(function(points[order]), order),
        "half the batch": change(fewer, half),
        "other rows": change(function(others)[:1], np.arange(1)),
    }
    allowed = (4096 * function.eps if rtol is None else positive(where, "rtol", rtol)) * scale
    top = {name: float(gap.max()) for name, gap in trials.items()}
    name = max(top, key=lambda key: top[key])
    common: dict[str, Any] = {
        "resolution": float(allowed / scale) if scale else np.nan,
        "notes": tuple(function.notes()),
        "details": {"largest change": top},
    }
    if max(top.values()) <= allowed:
        return CheckReport(where, PASS, summary, **common)
    if top["two calls"] > allowed:
        pattern = f"changes by {top['two calls'] / scale:.2g}"
        text = "random: two calls with the same rows differ (dropout, random probes); nothing can be said about rows"
        return CheckReport(where, INCONCLUSIVE, summary, pattern=pattern, diagnosis=text, **common)
    pattern = ", ".join(f"{key}: {value / scale:.1e}" for key, value in top.items() if key != "two calls")
    worst = Worst(f"row {int(trials[name].argmax())}, {name}", top[name], 0.0, common["resolution"])
    text = _mixed(fewer, whole, top, allowed, n)
    return CheckReport(where, FAIL, summary, worst, f"{pattern} of the largest result", text, **common)


def _mixed(halved, whole, top, allowed, n):
    """In which way rows depend on each other."""
    m, size = len(halved), np.abs(whole[np.isfinite(whole)]).max(initial=0.0)
    for c, text in (
        (n / m, "1/n: rows are divided by their number, as in the gradient of a mean over the batch"),
        (m / n, "n: rows are multiplied by their number"),
    ):
        if m != n and np.allclose(halved, c * whole[:m], rtol=1e-5, atol=1e-9 * size):
            return text
    if top["another order"] <= allowed:
        return "batch statistics: the result of a row changes with the other rows, not with their order (batch normalisation, centring, a mean or sum over the wrong axis)"
    if top["other rows"] <= allowed:
        return "position: the result of a row changes with its place in the batch (an index, a fixed noise array, a cumulative sum)"
    return "rows mixed: the result of a row changes with the other rows and with their order"


def by_rows(report, function, points):
    """The report, or one that says that rows depend on each other, where the numbers themselves have no explanation."""
    if report.verdict != FAIL or report.name not in LOOSE or len(points) < 2:
        return report
    try:
        rows = _rows(report.check, function, points, None, generator(report.check, 0))
    except ValueError as error:
        text = f"axes: with fewer rows than {len(points)} it raises; rows and dimensions are mixed up, or the size of the batch is fixed"
        return replace(report, diagnosis=text, pattern=str(error.__cause__ or error))
    return replace(report, diagnosis=rows.diagnosis, pattern=rows.pattern) if rows.verdict == FAIL else report


def unsteady(where, function, value, points):
    """A report if the same points give another result after other points were asked: a state, or random numbers."""
    turned, again = function(points[::-1]), function(points)
    atol = 1e3 * function.eps * np.abs(value).max()
    same = lambda a, b: a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=atol, equal_nan=True)
    summary = f"{len(points)} points x {points.shape[1]} dims"
    cached = len(points) > 1 and same(turned, value) and not same(value[::-1], value)
    if same(again, value):
        cached = cached and same(function(points + 0.37 * widths(points)), value)
        text = "state: other points get the same result: it is that of an earlier call with as many points (a cache)"
        return CheckReport(where, FAIL, summary, diagnosis=text, notes=tuple(function.notes())) if cached else None
    third = function(points)
    if cached and same(again, value[::-1]):
        text = "state: the result is that of the call before"
    elif same(third - again, value):
        text = "state: each call adds to what the calls before returned; gradients accumulate (zero_grad is missing)"
    elif same(third, again):
        text = "state: the same points give another result after other points were asked (a cache, a buffer, running statistics)"
    else:
        text = (
            f"random {function.name}: two calls at the same points differ (dropout?); put the model in evaluation mode"
        )
        return CheckReport(where, INCONCLUSIVE, summary, diagnosis=text, notes=tuple(function.notes()))
    return CheckReport(where, FAIL, summary, diagnosis=text, notes=tuple(function.notes()))
