"""Is a trace that of the score's Jacobian: exactly, or on average if it is estimated; and does the score jump, so that its trace misses something?"""

from dataclasses import replace
from typing import Any

import numpy as np

from ..common.arrays import wrapper
from ..common.inputs import count, generator
from ..numerics.differences import widths
from .fields import Field
from .functions import Function, Seeded, points_of
from .numbers import close, said
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst
from .score import Jacobian, by_rows, differenced_jacobian, judge, misshapen, quotients

SIGMAS = 5.0  # pooled over all rows; each row alone must be within SIGMAS + 1
ROUGH = 0.25  # relative resolution that a PASS of an estimate needs
MORE = 10  # times n_calls that may be made to get there


def check_trace(trace, *, score, x, wrap=None, rtol=None, rng=0, n_calls=200, step=None):
    r"""Is this the trace of the Jacobian of the score, or an unbiased estimate of it, at the points x?

    .. math:: t(x) = \mathrm{tr}\, \partial_x s(x)

    Parameters
    ----------
    trace : callable (n, d) -> (n,)
        Exact, or random (Hutchinson): if two calls differ it is averaged over many, and held against the reference by a
        z-test. If it takes rng, key, generator or seed, it is given one, another in each call.
    score : callable (n, d) -> (n, d)
        Its Jacobian is differenced.
    x : (n, d) array
    wrap, rtol, step
        As in `check_score`.
    rng : seed or numpy.random.Generator
    n_calls : int
        Calls of a random estimator; up to ten times as many where they settle it.

    Returns
    -------
    CheckReport
        FAIL with the diagnosis "shared probe" if all rows of a batch have one random vector: right on average, row by
        row, but their errors are one and do not average out over the batch. FAIL with the diagnosis "kink" if the score
        jumps: its trace is then a point mass that no differentiation sees, and implicit and sliced score matching are
        wrong for it, however exact the trace is elsewhere.

    Source: estimator, Hutchinson (1990), Comm. Statist. Simul. Comput. 19:433-450.
    """
    where = "check_trace"
    count(where, "n_calls", n_calls, 2)
    points, rng = points_of(where, x), generator(where, rng)
    of_score = Function(where, "score", score, wrap, x)
    seeded = Seeded(trace, wrapper(where, wrap, x), rng) if callable(trace) else trace
    yours = Function(where, "trace", seeded, wrap, x)
    first, second = (a[:, 0] if a.shape == (len(points), 1) else a for a in (yours(points), yours(points)))
    bad = misshapen(where, "trace", first, (len(points),), yours, points)
    if bad is not None:
        return bad
    close_by = 256 * yours.eps
    exact = np.allclose(first, second, rtol=close_by, atol=close_by * np.abs(first).max())
    if exact:
        yours.measure(points)
    suspect = lambda jac: ~(np.abs(first - np.trace(jac.value, axis1=1, axis2=2)) <= _allowed(jac, yours.eps))
    jac = differenced_jacobian(where, of_score, points, step, suspect if exact else None)
    if isinstance(jac, CheckReport):
        return jac
    if exact:
        report = by_rows(_exact(where, first, jac, (yours, of_score), rtol), yours, jac.x)
    else:
        report = _estimated(where, yours, of_score, jac, n_calls)
    return _with_kink(report, kink(of_score, jac.x))


def _with_kink(report, found):
    """The report, or a FAIL that says where the score jumps, unless the trace itself has a name for what is wrong."""
    if found is None or (report.verdict == FAIL and report.name != "different"):
        return report
    at, jump, width = found
    text = (
        f"kink: the score jumps by {jump:.3g} at x = {np.array2string(at, precision=4)}; the trace has a point mass there that no differentiation "
        f"sees (a ReLU energy?), so implicit and sliced losses are wrong for this model; use a smooth activation"
    )
    pattern = f"jump of {jump:.3g} within {width:.0e}"
    return replace(report, verdict=FAIL, worst=None, pattern=pattern, diagnosis=text)


# ------------------------------------------------------------------------------- exact


def _allowed(jac: Jacobian, eps):
    """What a right trace may differ by (n,)."""
    diagonals = [np.diagonal(a, axis1=1, axis2=2) for a in (jac.tolerance, np.abs(jac.value))]
    return diagonals[0].sum(1) + 128 * eps * diagonals[1].sum(1)


def _exact(where, value, jac: Jacobian, functions, rtol):
    """The report on a trace that is the same in each call."""
    diagonal, column = np.diagonal(jac.value, axis1=1, axis2=2), lambda a: a[:, None]
    allowed = column(_allowed(jac, max(f.eps for f in functions)))
    second = column(np.trace(jac.second, axis1=1, axis2=2))  # what one-sided differences of the score leave
    field = Field(column(value), column(diagonal.sum(1)), allowed, jac.x, second=second, word="trace")
    size = column(np.maximum(np.abs(diagonal).sum(1), np.linalg.norm(jac.value, axis=(1, 2))))
    text = f"{functions[1].evaluations} score evaluations"
    divergences = lambda: [
        (key, text, column(q.sum(1))) for key, text, q in quotients(functions[1], jac.x, "the score")
    ]
    among = lambda: _of_the_jacobian(jac) + divergences()
    return judge(where, field, functions, text, rtol=rtol, size=size, among=among)


def _of_the_jacobian(jac):
    """What else may have been made of the same Jacobian and score: (key, sentence, (n, 1) array)."""
    with np.errstate(all="ignore"):
        return _combinations(jac)


def _combinations(jac):
    """See above; a few of them may not be finite."""
    J, s, (n, d) = jac.value, jac.score, jac.score.shape
    trace, whole = np.trace(J, axis1=1, axis2=2), J.sum((1, 2))
    rows = [
        ("sum of the Jacobian", "this is the sum of all entries of the Jacobian, the derivative of the summed score, not its trace", whole),
        ("Frobenius norm", "this is the Frobenius norm of the Jacobian", np.sqrt(np.sum(J**2, (1, 2)))),
        ("Frobenius norm", "this is the squared Frobenius norm of the Jacobian", np.sum(J**2, (1, 2))),
        ("trace of the square", "this is the trace of the squared Jacobian", np.einsum("nij,nji->n", J, J)),
        ("determinant", "this is the determinant of the Jacobian", np.linalg.det(J)),
        ("log determinant", "this is log |det J|, not the trace", np.linalg.slogdet(J)[1]),
        ("squared score", "this is |s|^2", np.sum(s**2, 1)),
        ("sum of the score", "this is the sum of the score's entries", np.sum(s, 1)),
        ("s.J s", "this is the curvature along the score, s.J s", np.einsum("ni,nij,nj->n", s, J, s)),
        ("absolute diagonal", "absolute values of the diagonal are summed", np.abs(np.diagonal(J, axis1=1, axis2=2)).sum(1)),
        ("product of the diagonal", "the diagonal is multiplied, not summed", np.prod(np.diagonal(J, axis1=1, axis2=2), axis=1)),
        ("antidiagonal", "this is the sum over the antidiagonal", np.trace(J[:, ::-1], axis1=1, axis2=2)),
        ("off the diagonal", "this is the sum of what is off the diagonal", whole - trace),
        ("trace plus |s|^2", "|s|^2 is added: this is a part of the loss", trace + np.sum(s**2, 1)),
        ("trace plus |s|^2/2", "|s|^2/2 is added: this is the implicit loss", trace + np.sum(s**2, 1) / 2),
    ]  # fmt: skip
    for i in range(d if d > 1 else 0):
        rows += [
            (f"entry {i}", f"this is the one diagonal entry d s_{i}/d x_{i}, not the sum over all", J[:, i, i]),
            (f"without entry {i}", f"d s_{i}/d x_{i} is missing from the sum", trace - J[:, i, i]),
            (f"row {i}", f"this is the sum of the gradient of s_{i}, not the trace", J[:, i].sum(-1)),
            (f"column {i}", f"this is the derivative of the summed score in x_{i}", J[:, :, i].sum(-1)),
        ]
    return [(key, sentence, np.reshape(a, (n, 1))) for key, sentence, a in rows if np.isfinite(a).all()]


# ------------------------------------------------------------------------------- estimated


def _estimated(where, yours, of_score, jac: Jacobian, n_calls):
    """Mean over calls against the differenced trace, in standard errors."""
    reference, (n, d) = np.trace(jac.value, axis1=1, axis2=2), jac.x.shape
    more = lambda m: np.array([yours(jac.x).reshape(-1) for _ in range(m)])
    values = more(n_calls)
    wanted = _enough(n_calls, SIGMAS * _standard_error(values, reference))
    if n_calls < wanted <= MORE * n_calls:  # a few times the calls settle it
        values, n_calls = np.concatenate([values, more(wanted - n_calls)]), wanted
    shared = _one_probe(yours, np.tile(jac.x[:1], (max(4, n), 1)))
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(n_calls) + 1e-300
    z = (mean - reference) / np.hypot(error, np.diagonal(jac.tolerance, axis1=1, axis2=2).sum(1))
    weight = reference / error**2
    ratio, doubt = float(weight @ mean / (weight @ reference)), float(1 / np.sqrt(weight @ reference))
    if shared:  # the rows of a call err together: one standard error for their weighted mean
        of_call = values @ weight / (weight @ reference)
        ratio, doubt = float(of_call.mean()), float(of_call.std(ddof=1) / np.sqrt(n_calls))
    i = int(np.argmax(np.abs(z)))
    place, size = f"x[{i}], mean of {n_calls} calls", max(abs(reference[i]), 1e-300)
    resolution = SIGMAS * doubt
    notes = (*of_score.notes(), *yours.notes(), f"random: the mean of {n_calls} calls was checked")
    common: dict[str, Any] = {
        "worst": Worst(place, float(mean[i]), float(reference[i]), float(error[i] / size)),
        "resolution": resolution,
        "pattern": f"mean = {ratio:.4g} +- {doubt:.1g} x reference, largest |z| = {abs(z[i]):.1f}",
        "notes": notes,
        "details": {"mean": mean, "standard error": error, "reference": reference},
    }
    summary = f"{n} points x {d} dims, {yours.went} in, {yours.came} out, {of_score.evaluations} score evaluations"
    report = lambda verdict, text="": CheckReport(where, verdict, summary, diagnosis=text, **common)
    if abs(ratio - 1) > SIGMAS * doubt or abs(z[i]) > SIGMAS + 1:
        off = np.abs(mean - ratio * reference) / error
        return report(FAIL, _uncentred(values, reference, jac) or _bias(ratio, doubt, d, off))
    if shared:
        text = "shared probe: all rows of a batch use one direction; unbiased, but averaging over the batch does not reduce its noise"
        return replace(report(FAIL, text), pattern="equal rows get equal values, which change from call to call")
    if resolution > ROUGH:
        needed = _enough(n_calls, resolution)
        return report(
            INCONCLUSIVE,
            f"unresolved: {n_calls} calls leave an error of {resolution:.0%} of the trace; take n_calls={needed}",
        )
    return report(PASS)


def _standard_error(values, reference):
    """Standard error of the ratio of an estimate's mean to the reference, all rows together."""
    variance = values.var(0, ddof=1) / len(values) + 1e-300
    return float(1 / np.sqrt(np.sum(reference**2 / variance) + 1e-300))


def _enough(n_calls, resolution):
    """How many calls bring a resolution to ROUGH, in hundreds; a resolution falls as 1/sqrt(n_calls)."""
    return n_calls if resolution <= ROUGH else int(100 * np.ceil(1.3 * n_calls * (resolution / ROUGH) ** 2 / 100))


def _one_probe(yours, equal):
    """Whether equal rows get equal values in each of two calls that differ."""
    first, second = yours(equal).reshape(-1), yours(equal).reshape(-1)
    same = lambda a: np.allclose(a, a[0], rtol=1e3 * yours.eps)
    return bool(same(first) and same(second) and not np.isclose(first[0], second[0], rtol=1e3 * yours.eps))


def _uncentred(values, trace, jac: Jacobian):
    """The diagnosis of directions with a mean: E[v v^T] = a I + b 1 1^T, so E[v.J v] = a tr J + b (sum of all entries); or "".

    Regressed on both, each row by its standard error. Directions of 0 and 1 have a = b = 1/4, numbers from 0 to 1 have 1/12 and 1/4.
    """
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(len(values)) + 1e-300
    A = np.column_stack([trace, jac.value.sum((1, 2))]) / error[:, None]
    if len(mean) < 3 or np.linalg.matrix_rank(A) < 2:
        return ""
    (a, b), spread = np.linalg.lstsq(A, mean / error, rcond=None)[0], np.sqrt(np.diag(np.linalg.inv(A.T @ A)))
    if b <= (SIGMAS - 1) * spread[1] or np.any(np.abs(mean / error - A @ [a, b]) > SIGMAS + 1):
        return ""
    near = lambda c, value, of: abs(c - value) <= 4 * of
    a_text, b_text = (
        next((said(v) for v in (0.25, 1 / 12, 1.0, 0.5, 1 / 3) if near(c, v, of)), f"{c:.2g}")
        for c, of in zip((a, b), spread, strict=True)
    )
    if near(a, 0.25, spread[0]) and near(b, 0.25, spread[1]):
        a_text, what = "1/4", "0 and 1 in place of -1 and 1"
    elif near(a, 1 / 12, spread[0]) and near(b, 0.25, spread[1]):
        a_text, what = "1/12", "numbers from 0 to 1"
    else:
        what = "a generator of numbers from 0 to 1, or of 0 and 1?"
    return (
        f"directions not centred: the mean is {a_text} of the trace plus {b_text} of the sum of all entries of the Jacobian, so E[v v^T] = {a_text} I + {b_text} 1 1^T "
        f"({what}) and what is off the diagonal does not average out; draw v with mean 0 and variance 1"
    )


def _bias(ratio, doubt, d, off):
    """The diagnosis of a biased estimator from its ratio to the trace; `off` (n,), what is left of each row in standard errors."""
    if np.any(off > SIGMAS + 1):
        return "biased: the mean is no multiple of the trace; the directions are not isotropic (E[v v^T] is not I), or something else is estimated"
    near = lambda c: abs(ratio - c) <= SIGMAS * doubt
    m, out = round(ratio), []
    for c, text in (
        (-1, "sign: the estimate has the wrong sign"),
        (0, "zero mean: the estimate averages to nothing (two different v on both sides?)"),
        (1 / d, "unit-length directions: E[v v^T] = I/d, so the mean is the trace divided by d; take |v|^2 = d, or multiply by d"),
        (d, "multiplied by d: the mean is d times the trace"),
        (0.5, "halved: the mean is half the trace"),
    ):  # fmt: skip
        if near(c) and (d > 1 or c not in (1 / d, d)):
            out.append(text)
    if m > 1 and near(m):
        what = f"the mean is {m} times the trace; the sum over probes is never divided by their number"
        out.append(
            f"summed over probes: {what if m != d else f'or, with {m} probes, their sum is never divided by their number'}"
        )
    for c in (2 / 3, 1 / 3, 1 / 12):
        if near(c) and close(ratio, c, 0.1) and (not out or close(c, 1 / d, 1e-9)):
            of = said(c, 1e-6)
            out.append(
                f"variance of the directions: E[v v^T] = {of} I (uniform numbers?), so the mean is {of} of the trace"
            )
    return " -- or -- ".join(out) or f"scale: the mean is {ratio:.4g} +- {doubt:.1g} times the trace"


# ------------------------------------------------------------------------------- does the score jump?


def kink(function, x, parts=48):
    """A point, the size of the jump and the width of the interval that shows it, if the score jumps between two of the points; else None."""
    n, d = x.shape
    ends = np.roll(x, 1, axis=0) if n > 1 else x + 2 * widths(x)
    t = np.linspace(0, 1, parts + 1)[:, None, None]
    line = (1 - t) * x + t * ends  # (parts + 1, n, d)
    s = function(line.reshape(-1, d)).reshape(parts + 1, n, -1)
    change = np.linalg.norm(np.diff(s, axis=0), axis=-1)  # (parts, n)
    scale = float(np.linalg.norm(s, axis=-1).max())
    if not np.isfinite(change).all() or scale == 0:
        return None
    at, rows = change.argmax(0), np.arange(n)
    low, high = line[at, rows], line[at + 1, rows]
    s_low, s_high = s[at, rows], s[at + 1, rows]
    start = change[at, rows]
    for _ in range(34 if function.eps < 1e-10 else 14):  # to within 1e-11, or 1e-5
        middle = 0.5 * (low + high)
        s_mid = function(middle).reshape(n, -1)
        left = np.linalg.norm(s_mid - s_low, axis=-1) >= np.linalg.norm(s_high - s_mid, axis=-1)
        high, s_high = np.where(left[:, None], middle, high), np.where(left[:, None], s_mid, s_high)
        low, s_low = np.where(left[:, None], low, middle), np.where(left[:, None], s_low, s_mid)
    jump = np.linalg.norm(s_high - s_low, axis=-1)
    i = int(jump.argmax())
    if jump[i] < 0.05 * start[i] or jump[i] < 1e-4 * scale:
        return None
    return low[i], float(jump[i]), float(np.linalg.norm(high[i] - low[i]))
