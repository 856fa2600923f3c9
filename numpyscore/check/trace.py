"""Is a trace that of the score's Jacobian: exactly, or on average if it is estimated; and does the score jump, so that its trace misses something?"""

from dataclasses import replace
from functools import partial

import numpy as np

from ..common.arrays import wrapper
from ..common.inputs import count, generator
from ..numerics.differences import differences, widths
from .fields import Field, explained
from .functions import Function, Seeded, by_rows, kink, points_of, unfit, unsteady
from .report import FAIL, INCONCLUSIVE, PASS, QUOTIENT, CheckReport, Worst, close, judge, ranked, said, summary_of
from .score import differenced, quotients, with_growth

SIGMAS = 5.0  # pooled over all rows; each row alone must be within SIGMAS + 1
NAMED = 3.5  # standard errors within which a mean is called by a number
LEAST = 20  # calls of a random estimator: of fewer, 6 estimated standard errors are no rare event
ROUGH = 0.25  # relative resolution that a PASS of an estimate needs
NOTHING = 1e3  # relative resolution beyond which more calls are no cure
MORE = 30  # times n_calls that may be made to get there


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
        Calls of a random estimator, at least 20; up to thirty times as many where they settle it, and sixteen times as many where the mean is
        three standard errors off.

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
    n_calls = max(LEAST, count(where, "n_calls", n_calls))
    points, rng = points_of(where, x), generator(where, rng)
    of_score = Function(where, "score", score, wrap, x)
    seeded = Seeded(trace, wrapper(where, wrap, x))
    fresh = (lambda x: seeded(rng.integers(1 << 31), x)) if callable(trace) else trace
    yours = Function(where, "trace", fresh, wrap, x)
    first, second = (a[:, 0] if a.shape == (len(points), 1) else a for a in (yours(points), yours(points)))
    s, seen = of_score.both(points)
    for function, value, shape in ((yours, first, points.shape[:1]), (of_score, s, points.shape)):
        if (bad := unfit(where, function, value, shape, points)) is not None:
            return bad
    close_by = 256 * yours.eps
    exact = np.allclose(first, second, rtol=close_by, atol=close_by * np.abs(first).max())
    if exact:
        yours.measure(points)
    seen = seen.astype(float)
    eps = of_score.measure(seen).eps
    beside = partial(_beside, first if exact else None, seen, max(yours.eps, eps))
    field, jac = differenced(of_score.both, seen, step, eps, beside, (points.shape[1],))
    summary = summary_of(seen, yours, f"{of_score.evaluations} score evaluations")
    if exact:
        explain = lambda field: _explained(field, yours, of_score, jac.value, s)
        field = field.allowing(where, rtol, np.abs(field.reference))
        report = by_rows(judge(where, summary, field, (yours, of_score), explain, rtol=rtol), yours, seen)
        kept = unsteady(where, yours, first, points) if report.verdict == FAIL else None
        report = _with_probe(report, yours, of_score, seen) if kept is None else kept
    elif (kept := unsteady(where, yours, first, points)) is not None and "each call adds" in kept.diagnosis:
        return kept  # of whatever else differs from call to call an estimate may be made
    else:
        notes = (*of_score.notes(), *yours.notes())
        report = _estimated(partial(CheckReport, where, summary=summary), notes, yours, field, jac.value, s, n_calls)
    report = _with_kink(report, kink(of_score, seen))
    if exact and report.verdict == FAIL and report.name == "different":
        of = lambda x: partial(_beside, yours(x).reshape(-1), x, max(yours.eps, eps))
        far = lambda x: differenced(of_score.both, x, widths(seen, step), eps, of(x), (x.shape[1],))[0]
        report = with_growth(report, far, seen, 2)
    return report


def _beside(theirs, x, eps, jac):
    """The trace (n,), where it is an estimate the reference itself, beside the differenced one: a `Field` (n, 1)."""
    reference, total = jac.diagonal.sum(1), np.abs(jac.diagonal).sum(1)
    allowed = np.trace(jac.tolerance, axis1=1, axis2=2) + 128 * eps * total
    second = np.trace(jac.second, axis1=1, axis2=2)  # what one-sided differences of the score leave
    size = np.maximum(total, np.linalg.norm(jac.value, axis=(1, 2)))
    columns = (reference if theirs is None else theirs, reference, allowed, second, size)
    theirs, reference, allowed, second, size = (a[:, None] for a in columns)
    known = {"d": x.shape[1]}
    return Field(theirs, reference, allowed, x, second=second, known=known, word="trace", size=size)


def _with_kink(report, found):
    """The report, or a FAIL that says where the score jumps, unless the trace itself has a name for what is wrong."""
    if found is None or (report.verdict == FAIL and report.name != "different"):
        return report
    at, jump, width = found
    text = (
        f"kink: the score jumps by {jump:.3g} at x = {np.array2string(at, precision=4)}; the trace has a point mass there that no differentiation "
        f"sees (a ReLU energy, a cut-off, a minimum image, a minimum or maximum over parts?), so implicit and sliced losses are wrong for this model"
    )
    pattern = f"jump of {jump:.3g} within {width:.0e}"
    return replace(report, verdict=FAIL, worst=None, pattern=pattern, diagnosis=text)


# ------------------------------------------------------------------------------- exact


def _explained(field, yours, of_score, J, s):
    """What explains the user's trace: something else of the Jacobian or of the score, a divergence by difference quotients, or weights of the entries."""
    divergences = ((key, text, q.sum(1)[:, None]) for key, text, q in quotients(of_score, field.x, "the score"))
    found = explained(field, yours, [*_of_the_jacobian(J, s), *divergences])
    found = [e for e in found if e.key not in CURVED or close(abs(e.detail["factor"]), 1, 1e-6)]
    return found or ranked(_weighted(field, J))


CURVED = (  # functions of the Jacobian that are not linear: a multiple of one is an accident
    "Frobenius norm", "trace of the square", "determinant", "log determinant", "largest eigenvalue", "spectral norm", "absolute diagonal",
    "squared diagonal", "product of the diagonal",
)  # fmt: skip


@np.errstate(all="ignore")
def _of_the_jacobian(J, s):
    """What else may have been made of the same Jacobian and score, where it is finite: (key, sentence, (n, 1) array)."""
    diagonal, whole, (n, d) = np.diagonal(J, axis1=1, axis2=2), J.sum((1, 2)), s.shape
    trace = diagonal.sum(1)
    rows = [
        ("sum of the Jacobian", "this is the sum of all entries of the Jacobian, the derivative of the summed score, not its trace", whole),
        ("Frobenius norm", "this is the Frobenius norm of the Jacobian", np.sqrt(np.sum(J**2, (1, 2)))),
        ("Frobenius norm", "this is the squared Frobenius norm of the Jacobian", np.sum(J**2, (1, 2))),
        ("trace of the square", "this is the trace of the squared Jacobian", np.einsum("nij,nji->n", J, J)),
        ("determinant", "this is the determinant of the Jacobian", np.linalg.det(J)),
        ("log determinant", "this is log |det J|, not the trace", np.linalg.slogdet(J)[1]),
        ("log determinant", "this is log |det(I + J)|, of a change of variables x + s(x), not the trace", np.linalg.slogdet(np.eye(d) + J)[1]),
        ("log determinant", "this is log |det(I - J)|, of a change of variables x - s(x), not the trace", np.linalg.slogdet(np.eye(d) - J)[1]),
        ("largest eigenvalue", "this is the largest eigenvalue of the Jacobian, not the sum of all", np.linalg.eigvals(J).real.max(1)),
        ("spectral norm", "this is the spectral norm of the Jacobian", np.linalg.norm(J, 2, axis=(1, 2))),
        ("squared score", "this is |s|^2", np.sum(s**2, 1)),
        ("sum of the score", "this is the sum of the score's entries", np.sum(s, 1)),
        ("s.J s", "this is the curvature along the score, s.J s", np.einsum("ni,nij,nj->n", s, J, s)),
        ("absolute diagonal", "absolute values of the diagonal are summed", np.abs(diagonal).sum(1)),
        ("squared diagonal", "the entries of the diagonal are squared before they are summed", np.sum(diagonal**2, 1)),
        ("product of the diagonal", "the diagonal is multiplied, not summed", np.prod(diagonal, axis=1)),
        ("antidiagonal", "this is the sum over the antidiagonal", np.trace(J[:, ::-1], axis1=1, axis2=2)),
        ("off the diagonal", "this is the sum of what is off the diagonal", whole - trace),
        ("trace plus |s|^2", "|s|^2 is added: this is a part of the loss", trace + np.sum(s**2, 1)),
        ("trace plus |s|^2/2", "|s|^2/2 is added: this is the implicit loss", trace + np.sum(s**2, 1) / 2),
    ]  # fmt: skip
    for k, word in ((1, "after"), (-1, "before")) if d > 1 else ():
        text = f"this is the sum of the entries d s_i/d x_j beside the diagonal, j the dimension {word} i"
        rows += [
            ("beside the diagonal", text, np.trace(J, k, 1, 2)),
            ("beside the diagonal", f"{text}, all round", np.trace(np.roll(J, -k, axis=2), 0, 1, 2)),
        ]
    for i in range(d if d > 1 else 0):
        rows += [
            (f"entry {i}", f"this is the one diagonal entry d s_{i}/d x_{i}, not the sum over all", J[:, i, i]),
            (f"without entry {i}", f"d s_{i}/d x_{i} is missing from the sum", trace - J[:, i, i]),
            (f"row {i}", f"this is the sum of the gradient of s_{i}, not the trace", J[:, i].sum(-1)),
            (f"column {i}", f"this is the derivative of the summed score in x_{i}", J[:, :, i].sum(-1)),
        ]
    return [(key, sentence, np.reshape(a, (n, 1))) for key, sentence, a in rows if np.isfinite(a).all()]


def _weighted(field, J):
    """The sum of the entries of the diagonal, or of the whole Jacobian, with a weight each that holds in every row."""
    n, d = field.x.shape
    for where in (np.eye(d, dtype=bool), np.ones((d, d), bool)) if d > 1 else ():
        if n < where.sum() + 2:
            continue
        entries = J[:, where].T[..., None]  # (k, n, 1)
        w = field.fitted(*entries)
        used = [(c, *at) for c, at in zip(w, np.argwhere(where), strict=True) if abs(c) > 1e-6]
        listed = ", ".join(f"{c:.4g} at [{i}, {j}]" for c, i, j in used)
        text = f"your trace is a sum over the Jacobian with weights, {listed}, where 1 at each entry of its diagonal belongs"
        if where.sum() == d and np.all(w > 0):
            text += " (that of scaled coordinates: a standardisation?)"
        pattern = f"weights {np.array2string(w, precision=6)}"
        yield field.says("weights of the entries", text, np.tensordot(w, entries, 1), len(w), pattern)


FIXED = "fixed probe: each place of the batch has directions v of its own, the same in every call (a generator or a key made anew inside?), and the result is v.J v along them; its error never averages out"


def _with_probe(report, yours, of_score, x):
    """The report on a trace that changes with the place of a row: it is C : J with one C at each place if it is taken along fixed directions."""
    (n, d), unknowns = x.shape, x.shape[1] * (x.shape[1] + 1) // 2
    if not report.diagnosis.startswith("position") or d > WIDE:
        return report
    rng, width = np.random.default_rng(9), widths(x)
    points = x[None] + width * rng.uniform(-1, 1, (unknowns + SPARE, n, d))
    traces = np.array([yours(p).reshape(-1) for p in points])  # (T, n)
    J = differences(of_score.both, points.reshape(-1, d), width, (d,))[0].value
    i, j = np.triu_indices(d)
    even = (J + J.swapaxes(1, 2))[:, i, j].reshape(len(points), n, unknowns)
    left = [t - A @ np.linalg.lstsq(A, t, rcond=None)[0] for t, A in zip(traces.T, even.swapaxes(0, 1), strict=True)]
    return replace(report, diagnosis=FIXED) if np.abs(left).max() <= 1e-6 * np.abs(traces).max() else report


WIDE, SPARE = 6, 4  # dimensions in which directions are looked for; equations beyond the unknowns


# ------------------------------------------------------------------------------- estimated


def _estimated(report, notes, yours, field, J, s, n_calls):
    """Mean over calls against the differenced trace, in standard errors."""
    reference, floor, n = field.reference[:, 0], field.tolerance[:, 0], len(field.x)
    more = lambda m: np.array([yours(field.x).reshape(-1) for _ in range(m)])
    values = more(n_calls)
    wanted = _enough(n_calls, SIGMAS * _ratio(values, reference, floor)[1])
    if n_calls < wanted <= MORE * n_calls:  # a few times the calls settle it
        values, n_calls = np.concatenate([values, more(wanted - n_calls)]), wanted
    shared = _one_probe(yours, np.tile(field.x[:1], (max(4, n), 1)))
    asked, off = n_calls, _far(values, reference, floor, shared)
    if SUSPECT < off <= SIGMAS + 1 and _share(values, field) > QUOTIENT:  # it settles nothing of itself
        values, n_calls = np.concatenate([values, more(SURE * asked)]), (1 + SURE) * asked
    (mean, error), (ratio, ratio_error) = _mean(values, floor), _ratio(values, reference, floor, shared)
    z = (mean - reference) / error
    i, resolution = int(np.argmax(np.abs(z))), SIGMAS * ratio_error
    numbers = mean[i], reference[i], error[i] / max(abs(reference[i]), 1e-300)
    worst = Worst(f"x[{i}], mean of {n_calls} calls", *map(float, numbers))
    pattern = f"mean = {ratio:.4g} +- {ratio_error:.1g} x reference, largest |z| = {abs(z[i]):.1f}"
    verdict, text, share = PASS, "", _share(values, field)
    wrong = abs(ratio - 1) > resolution or abs(z[i]) > SIGMAS + 1
    if wrong and share <= QUOTIENT:
        notes = (*notes, f"right up to {share:.0e} of its size, as difference quotients are")
    elif wrong:
        verdict, text = FAIL, _wrong(values, field, J, s, shared)
        if n_calls == asked and ("on average" in text or text.startswith("directions not white")):
            values = np.concatenate([values, more(max(asked, NAMING))])  # two numbers, or one, fit six rows easily
            text = _wrong(values, field, J, s, shared)
    elif shared:
        verdict, pattern = FAIL, "equal rows get equal values, which change from call to call"
        text = "shared random numbers: all rows of a batch use the same (one direction, a shared probe, one minibatch or mask?); unbiased, but averaging over the batch does not reduce its noise"
    elif resolution > NOTHING:
        verdict = INCONCLUSIVE
        text = f"unresolved: the trace is next to nothing beside the scatter of its estimate, +- {error[i]:.2g}, and no number of calls resolves it; take other x"
    elif resolution > ROUGH:
        verdict = INCONCLUSIVE
        text = f"unresolved: {n_calls} calls leave an error of {resolution:.0%} of the trace; take n_calls={_enough(n_calls, resolution)}"
    return report(
        verdict, worst=worst, pattern=pattern, diagnosis=text, resolution=resolution, notes=(*notes, f"random: the mean of {n_calls} calls was checked" + f", and named by {len(values)}" * (len(values) > n_calls)),
        details={"mean": mean, "standard error": error, "reference": reference},
    )  # fmt: skip


def _wrong(values, field, J, s, shared):
    """What the mean of calls (calls, n) is, if it is not the trace."""
    trace, floor = field.reference[:, 0], field.tolerance[:, 0]
    (mean, error), (ratio, ratio_error) = _mean(values, floor), _ratio(values, trace, floor, shared)
    other = _of_all_rows(values, trace) or _of_another(mean, error, ratio * trace, J, s)
    return other or _biased(mean, error, trace, J.sum((1, 2)), ratio, ratio_error, field.x.shape[1])


def _of_all_rows(values, trace):
    """The diagnosis of calls (calls, n) in which all rows get one number; ""."""
    if np.ptp(values, axis=1).max() > 1e-9 * np.abs(values).max() or np.ptp(trace) <= 1e-6 * np.abs(trace).max():
        return ""
    c = values.mean() / trace.mean()
    return f"one number for all rows: in a call every row gets the same, on average {c:.3g} times the mean of the traces over the batch (summed or averaged over all axes, or one row's number for all?)"


def _of_another(mean, error, trace, J, s):
    """What else of the Jacobian it is the mean of, if it is no multiple of the trace; ""."""
    far = lambda a: np.abs(mean - a) > (SIGMAS + 1) * error
    if not np.any(far(trace)):
        return ""
    same = lambda a: not np.any(far(a)) and np.median(error / np.abs(a)) < 0.1
    others = [f"{key}: on average {it_is}" for key, it_is, a in _of_the_jacobian(J, s) if same(a[:, 0])]
    return " -- or -- ".join(others[:3])


def _share(values, field):
    """What the mean is off by, of the size of a row."""
    return float(np.max(np.abs(values.mean(0) - field.reference[:, 0]) / field.sizes[:, 0]))


def _far(values, reference, floor, shared):
    """How many standard errors the mean of a row, or that of all, is off."""
    (mean, error), (ratio, ratio_error) = _mean(values, floor), _ratio(values, reference, floor, shared)
    return max(np.abs((mean - reference) / error).max(), abs(ratio - 1) / ratio_error)


def _mean(values, floor):
    """Mean over calls and its standard error, (n,) each; `floor` is what the reference itself may be off by."""
    return values.mean(0), np.hypot(values.std(0, ddof=1) / np.sqrt(len(values)), floor) + 1e-300


def _ratio(values, reference, floor, shared=False):
    """The ratio of an estimate's mean to the reference, all rows together, and its standard error."""
    mean, error = _mean(values, floor)
    weight = reference / error**2
    size = weight @ reference + 1e-300
    if shared:  # the rows of a call err together: one standard error for their weighted mean
        mean, error = _mean(values @ weight / size, np.abs(weight) @ floor / size)
        return float(mean), float(error)
    return float(weight @ mean / size), float(1 / np.sqrt(size))


def _enough(n_calls, resolution):
    """How many calls bring a resolution to ROUGH, in hundreds; a resolution falls as 1/sqrt(n_calls)."""
    return n_calls if resolution <= ROUGH else int(100 * np.ceil(1.3 * n_calls * (resolution / ROUGH) ** 2 / 100))


def _one_probe(yours, equal):
    """Whether equal rows get equal values in each of several calls, which differ."""
    calls = [yours(equal).reshape(-1) for _ in range(8)]  # of signs two calls are often the same
    same = lambda a: np.allclose(a, a[0], rtol=1e3 * yours.eps)
    return bool(all(map(same, calls)) and not same([call[0] for call in calls]))


# standard errors from which on more calls are made; of right estimates in eight rows 3 in 100 are as far off
SUSPECT = 3.0
SURE = 15  # times the calls that are made then
NAMING = 3000  # calls more, or as many more, before anything but a plain multiple is named
UNIT = "divided by d: the mean is the trace divided by d (directions of unit length, E[v v^T] = I/d, v.J v averaged over the dimensions, one entry of the diagonal without its factor d?)"
VARIANCE = "scale: the mean is {0} of the trace (directions of that variance, as uniform numbers have?)"
BIASES = (  # the mean over the trace in d dimensions, and its name
    (lambda d: -1, "sign: the estimate has the wrong sign"),
    (lambda d: 0, "zero mean: the estimate averages to nothing (two different v on both sides?)"),
    (lambda d: 1 / d, UNIT),
    (lambda d: 0.5, "halved: the mean is half the trace"),
)  # fmt: skip
UNCENTRED = {(0.25, 0.25): "0 and 1 in place of -1 and 1", (1 / 12, 0.25): "numbers from 0 to 1"}


def _biased(mean, error, trace, whole, ratio, ratio_error, d):
    """The diagnosis of a biased estimate (n,): E[v v^T] = a I + b 1 1^T gives a tr J + b (sum of all entries of J, `whole`)."""
    A = np.column_stack([trace, whole]) / error[:, None]
    if len(mean) > 2 and np.linalg.matrix_rank(A) > 1:
        found, spread = np.linalg.lstsq(A, mean / error, rcond=None)[0], np.sqrt(np.diag(np.linalg.inv(A.T @ A)))
        if found[1] > (SIGMAS - 1) * spread[1] and np.all(np.abs(mean / error - A @ found) <= SIGMAS + 1):
            known = next((ab for ab in UNCENTRED if np.all(np.abs(found - ab) <= 4 * spread)), None)
            plain = lambda c, of: next(
                (said(v) for v in (0.25, 1 / 12, 1.0, 0.5, 1 / 3) if abs(c - v) <= 4 * of), f"{c:.2g}"
            )
            a, b = map(said, known) if known else map(plain, found, spread)
            what = UNCENTRED[known] if known else "numbers from 0 to 1, or 0 and 1, entries that share a part?"
            return (
                f"directions not white: the mean is {a} of the trace plus {b} of the sum of all entries of the Jacobian, so E[v v^T] = {a} I + {b} 1 1^T "
                f"({what}) and what is off the diagonal does not average out; draw v with mean 0, variance 1 and independent entries"
            )
    off = (mean - ratio * trace) / error  # of which the sum of squares is n +- sqrt(2 n)
    if np.any(np.abs(off) > SIGMAS + 1) or off @ off > len(off) + SIGMAS * np.sqrt(2 * len(off)):
        return "biased: the mean is no multiple of the trace; the directions are not isotropic (E[v v^T] is not I), or something else is estimated"
    near = lambda c: abs(ratio - c) <= NAMED * ratio_error and c != 1
    out = [text for factor, text in BIASES if near(factor(d))]
    m = round(ratio)
    if m > 1 and near(m):
        times = "d" if m == d else m
        out.append(
            f"multiplied by {times}: the mean is {times} times the trace (a sum over {m} probes that is not divided by their number, a factor of the loss, directions of variance {m}, calls that add up?)"
        )
    uniform = (
        c
        for c in (2 / 3, 1 / 3, 1 / 12, 1 / 4)
        if near(c) and close(ratio, c, 0.1) and (not out or close(c, 1 / d, 1e-9))
    )
    out += [VARIANCE.format(said(c, 1e-6)) for c in uniform]
    return (
        " -- or -- ".join(out)
        or f"scale: on average over the points the mean is {ratio:.4g} +- {ratio_error:.1g} times the trace"
    )
