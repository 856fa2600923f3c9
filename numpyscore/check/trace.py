"""Is a trace that of the score's Jacobian: exactly, or on average if it is estimated; and does the score jump, so that its trace misses something?"""

import inspect
from typing import Any

import numpy as np

from ..common.arrays import framework, same_randomness, source, wrapper
from ..common.inputs import count, generator
from ..numerics.differences import widths
from .field import Field, Finding
from .functions import Caller, points_of
from .numbers import close, said
from .patterns import ONE_EACH, recognise
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst
from .score import Jacobian, _misshapen, differenced_jacobian, judge
from .steady import by_rows

SIGMAS = 5.0  # pooled over all rows; each row alone must be within SIGMAS + 1
SOURCES = ("rng", "key", "generator", "seed")
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
    n, d = points.shape
    of_score = Caller(where, "score", score, wrap, x)
    seeded = _Seeded(where, trace, wrapper(where, wrap, x), rng)
    yours = Caller(where, "trace", seeded, wrap, x)
    first, second = (a[:, 0] if a.shape == (n, 1) else a for a in (yours(points), yours(points)))
    bad = _misshapen(where, "trace", first, (n,), yours, points)
    if bad is not None:
        return bad
    exact = np.allclose(first, second, rtol=256 * yours.eps, atol=256 * yours.eps * np.abs(first).max())
    suspect = lambda jac: ~(np.abs(first - np.trace(jac.value, axis1=1, axis2=2)) <= _allowed(jac, yours.eps))
    jac = differenced_jacobian(where, of_score, points, step, suspect if exact else None)
    if isinstance(jac, CheckReport):
        return jac
    summary = f"{n} points x {d} dims, {yours.went} in, {yours.came} out, {of_score.evaluations} score evaluations"
    notes = [*of_score.notes(), *yours.notes()]
    found = kink(of_score, jac.x)
    if exact:
        report = _exact(where, first, jac, summary, max(yours.eps, of_score.eps), rtol, notes)
    else:
        report = _estimated(where, yours, jac, summary, n_calls, notes)
    if found is not None and (report.verdict != FAIL or report.name == "different"):
        text = (
            f"kink: the score jumps by {found[1]:.3g} at x = {np.array2string(found[0], precision=4)}; the trace has a point mass there that no differentiation "
            f"sees (a ReLU energy?), so implicit and sliced losses are wrong for this model; use a smooth activation"
        )
        return CheckReport(
            where,
            FAIL,
            summary,
            None,
            f"jump of {found[1]:.3g} within {found[2]:.0e}",
            text,
            report.resolution,
            tuple(notes),
            report.details,
        )
    return by_rows(report, yours, jac.x) if exact else report


class _Seeded:
    """The user's trace with a fresh source of random numbers in each call, if it takes one; global generators are seeded too."""

    def __init__(self, where, trace, make, rng):
        if not callable(trace):
            raise TypeError(f"{where}: trace is {trace!r}, expected a function of x (n, d).")
        self.trace, self.rng, self.kind = trace, rng, framework(make(np.zeros((1, 1))))
        try:
            parameters = list(inspect.signature(trace).parameters)
        except (TypeError, ValueError):
            parameters = []
        self.name = next((name for name in SOURCES if name in parameters), None)

    def __call__(self, x):
        seed = int(self.rng.integers(1 << 31))
        with same_randomness(seed):
            return self.trace(x, **({} if self.name is None else {self.name: source(self.name, seed, self.kind)}))


# ------------------------------------------------------------------------------- exact


def _allowed(jac: Jacobian, eps):
    """What a right trace may differ by (n,)."""
    diagonals = [np.diagonal(a, axis1=1, axis2=2) for a in (jac.tolerance, np.abs(jac.value))]
    return diagonals[0].sum(1) + 128 * eps * diagonals[1].sum(1)


def _exact(where, value, jac: Jacobian, summary, eps, rtol, notes):
    diagonal = np.diagonal(jac.value, axis1=1, axis2=2)
    allowed = _allowed(jac, eps)
    field = Field(
        value[:, None],
        diagonal.sum(1)[:, None],
        allowed[:, None],
        jac.x,
        np.zeros(len(value)),
        np.zeros_like(jac.x),
        eps,
        "trace",
    )
    return judge(
        where,
        field,
        summary,
        eps,
        rtol,
        notes,
        recognise=lambda f: _of_the_jacobian(f, jac) or recognise(f, ONE_EACH),
        size=np.maximum(np.abs(diagonal).sum(1), np.linalg.norm(jac.value, axis=(1, 2)))[:, None],
    )


def _of_the_jacobian(field, jac):
    """Something else made of the same Jacobian and score."""
    J, s = jac.value, jac.score
    d = J.shape[-1]
    found = []
    if field.reference.any() and not _multiple(field):
        for name, candidate, sentence in (
            ("sum of the Jacobian", J.sum((1, 2)), "this is the sum of all entries of the Jacobian, the derivative of the summed score, not its trace"),
            ("Frobenius norm", np.sqrt(np.sum(J**2, (1, 2))), "this is the Frobenius norm of the Jacobian"),
            ("Frobenius norm", np.sum(J**2, (1, 2)), "this is the squared Frobenius norm of the Jacobian"),
            ("trace of the square", np.einsum("nij,nji->n", J, J), "this is the trace of the squared Jacobian"),
            ("determinant", np.linalg.det(J), "this is the determinant of the Jacobian"),
            ("squared score", np.sum(s**2, 1), "this is |s|^2"),
            ("sum of the score", np.sum(s, 1), "this is the sum of the score's entries"),
            ("absolute diagonal", np.abs(np.diagonal(J, axis1=1, axis2=2)).sum(1), "absolute values of the diagonal are summed"),
            ("off the diagonal", J.sum((1, 2)) - np.trace(J, axis1=1, axis2=2), "this is the sum of what is off the diagonal"),
            *((f"entry {i}", J[:, i, i], f"this is the one diagonal entry d s_{i}/d x_{i}, not the sum over all") for i in range(d) if d > 1),
            *((f"without entry {i}", np.trace(J, axis1=1, axis2=2) - J[:, i, i], f"d s_{i}/d x_{i} is missing from the sum") for i in range(d) if d > 1),
            *((f"row {i}", J[:, i].sum(-1), f"this is the sum of the gradient of s_{i}, not the trace") for i in range(d) if d > 1),
            *((f"column {j}", J[:, :, j].sum(-1), f"this is the derivative of the summed score in x_{j}") for j in range(d) if d > 1),
        ):  # fmt: skip
            for sign in (1, -1):
                if field.explains(sign * candidate[:, None])[0]:
                    found.append(
                        Finding(
                            name,
                            sentence + ", with the wrong sign" * (sign < 0),
                            f"residual {field.explains(sign * candidate[:, None])[1]:.0e}",
                        )
                    )
    return found[:2]


def _multiple(field):
    """Whether the user's numbers are a multiple of the reference."""
    c = np.sum(field.yours * field.reference) / np.sum(field.reference**2)
    return field.explains(c * field.reference)[0]


# ------------------------------------------------------------------------------- estimated


def _estimated(where, yours, jac: Jacobian, summary, n_calls, notes):
    """Mean over calls against the differenced trace, in standard errors."""
    reference = np.trace(jac.value, axis1=1, axis2=2)
    values = np.array([yours(jac.x).reshape(-1) for _ in range(n_calls)])
    wanted = _enough(n_calls, SIGMAS * _doubt(values, reference))
    if n_calls < wanted <= MORE * n_calls:  # a few times the calls settle it
        values = np.concatenate([values, [yours(jac.x).reshape(-1) for _ in range(wanted - n_calls)]])
        n_calls = wanted
    equal = np.tile(jac.x[:1], (max(4, len(jac.x)), 1))
    shared = _one_probe(yours, equal)
    mean, error = values.mean(0), values.std(0, ddof=1) / np.sqrt(n_calls) + 1e-300
    z = (mean - reference) / np.hypot(error, np.diagonal(jac.tolerance, axis1=1, axis2=2).sum(1))
    weight = reference / error**2
    ratio, doubt = float(weight @ mean / (weight @ reference)), float(1 / np.sqrt(weight @ reference))
    if shared:  # the rows of a call err together: one standard error for their weighted mean
        of_call = values @ weight / (weight @ reference)
        ratio, doubt = float(of_call.mean()), float(of_call.std(ddof=1) / np.sqrt(n_calls))
    i = int(np.argmax(np.abs(z)))
    worst = Worst(
        f"x[{i}], mean of {n_calls} calls",
        float(mean[i]),
        float(reference[i]),
        float(error[i] / max(abs(reference[i]), 1e-300)),
    )
    resolution = SIGMAS * doubt
    common: dict[str, Any] = {
        "worst": worst,
        "resolution": resolution,
        "notes": (*notes, f"random: the mean of {n_calls} calls was checked"),
        "details": {"mean": mean, "standard error": error, "reference": reference},
    }
    pattern = f"mean = {ratio:.4g} +- {doubt:.1g} x reference, largest |z| = {abs(z[i]):.1f}"
    if abs(ratio - 1) > SIGMAS * doubt or abs(z[i]) > SIGMAS + 1:
        text = _uncentred(mean, error, jac) or _bias(
            ratio, doubt, jac.x.shape[1], np.abs(mean - ratio * reference) / error
        )
        return CheckReport(where, FAIL, summary, pattern=pattern, diagnosis=text, **common)
    if shared:
        text = "shared probe: all rows of a batch use one direction; unbiased, but averaging over the batch does not reduce its noise"
        return CheckReport(
            where,
            FAIL,
            summary,
            pattern="equal rows get equal values, which change from call to call",
            diagnosis=text,
            **common,
        )
    if resolution > ROUGH:
        text = f"unresolved: {n_calls} calls leave an error of {resolution:.0%} of the trace; take n_calls={_enough(n_calls, resolution)}"
        return CheckReport(where, INCONCLUSIVE, summary, pattern=pattern, diagnosis=text, **common)
    return CheckReport(where, PASS, summary, pattern=pattern, **common)


def _doubt(values, reference):
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


def _uncentred(mean, error, jac: Jacobian):
    """The diagnosis of directions with a mean m and a variance s: E[v.J v] = (s + m^2) tr J + m^2 (sum of all else of J); or ""."""
    trace = np.trace(jac.value, axis1=1, axis2=2)
    A = np.column_stack([trace, jac.value.sum((1, 2)) - trace]) / error[:, None]
    if len(mean) < 3 or np.linalg.matrix_rank(A) < 2:
        return ""
    c, spread = np.linalg.lstsq(A, mean / error, rcond=None)[0], np.sqrt(np.diag(np.linalg.inv(A.T @ A)))
    if c[1] <= (SIGMAS + 1) * spread[1] or np.any(np.abs(mean / error - A @ c) > SIGMAS + 1):
        return ""
    return (
        f"directions not centred: E[v v^T] = {max(c[0] - c[1], 0.0):.2g} I + {c[1]:.2g} 1 1^T, so v has mean {np.sqrt(c[1]):.2g} (numbers from 0 to 1, "
        f"or 0 and 1?) and what is off the diagonal of the Jacobian does not average out; draw v with mean 0 and variance 1"
    )


def _bias(ratio, doubt, d, off):
    """The diagnosis of a biased estimator from its ratio to the trace."""
    if np.any(off > SIGMAS + 1):
        return "biased: the mean is no multiple of the trace; the directions are not isotropic (E[v v^T] is not I), or something else is estimated"
    near = lambda c: abs(ratio - c) <= SIGMAS * doubt
    out = []
    if near(-1):
        out.append("sign: the estimate has the wrong sign")
    if near(0):
        out.append("zero mean: the estimate averages to nothing (two different v on both sides?)")
    if near(1 / d) and d > 1:
        out.append(
            "unit-length directions: E[v v^T] = I/d, so the mean is the trace divided by d; take |v|^2 = d, or multiply by d"
        )
    if near(d) and d > 1:
        out.append("multiplied by d: the mean is d times the trace")
    if near(0.5):
        out.append("halved: the mean is half the trace")
    m = round(ratio)
    if m > 1 and near(m) and m != d:
        out.append(
            f"summed over probes: the mean is {m} times the trace; the sum over probes is never divided by their number"
        )
    elif m > 1 and m == d and near(m):
        out.append(f"summed over probes: or, with {m} probes, their sum is never divided by their number")
    for c in (2 / 3, 1 / 3, 1 / 12):
        if near(c) and close(ratio, c, 0.1) and (not out or close(c, 1 / d, 1e-9)):
            out.append(
                f"variance of the directions: E[v v^T] = {said(c, 1e-6)} I (uniform numbers?), so the mean is {said(c, 1e-6)} of the trace"
            )
    return " -- or -- ".join(out) or f"scale: the mean is {ratio:.4g} +- {doubt:.1g} times the trace"


# ------------------------------------------------------------------------------- does the score jump?


def kink(caller, x, parts=48):
    """A point, the size of the jump and the width of the interval that shows it, if the score jumps between two of the points; else None."""
    n, d = x.shape
    ends = np.roll(x, 1, axis=0) if n > 1 else x + 2 * widths(x)
    t = np.linspace(0, 1, parts + 1)[:, None, None]
    line = (1 - t) * x + t * ends  # (parts + 1, n, d)
    s = caller(line.reshape(-1, d)).reshape(parts + 1, n, -1)
    change = np.linalg.norm(np.diff(s, axis=0), axis=-1)  # (parts, n)
    scale = float(np.linalg.norm(s, axis=-1).max())
    if not np.isfinite(change).all() or scale == 0:
        return None
    at, rows = change.argmax(0), np.arange(n)
    low, high = line[at, rows], line[at + 1, rows]
    s_low, s_high = s[at, rows], s[at + 1, rows]
    start = change[at, rows]
    for _ in range(34 if caller.eps < 1e-10 else 14):  # to within 1e-11, or 1e-5
        middle = 0.5 * (low + high)
        s_mid = caller(middle).reshape(n, -1)
        left = np.linalg.norm(s_mid - s_low, axis=-1) >= np.linalg.norm(s_high - s_mid, axis=-1)
        high, s_high = np.where(left[:, None], middle, high), np.where(left[:, None], s_mid, s_high)
        low, s_low = np.where(left[:, None], low, middle), np.where(left[:, None], s_low, s_mid)
    jump = np.linalg.norm(s_high - s_low, axis=-1)
    i = int(jump.argmax())
    if jump[i] < 0.05 * start[i] or jump[i] < 1e-4 * scale:
        return None
    return low[i], float(jump[i]), float(np.linalg.norm(high[i] - low[i]))
