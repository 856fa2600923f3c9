"""Is a score minus the gradient of its energy, and is it a gradient at all?"""

import contextlib
import itertools
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..common.inputs import generator
from ..numerics.differences import differences, other_widths, settled, tolerance, widths
from .fields import Field, explained, moved
from .functions import (
    Compiled,
    Function,
    by_rows,
    kink,
    one_number_each,
    points_of,
    unfit,
    unfit_energy,
    unsteady,
    with_rows,
)
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Explanation, judge, product, sizes, summary_of

EXCHANGED = {  # what a wrong sign alone may be as well
    "energy": "your energy is a log p: pass it as logpdf=",
    "logpdf": "your log p is an energy: pass it as energy=",
}


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
    name, sign, of = ("energy", -1.0, energy) if logpdf is None else ("logpdf", 1.0, logpdf)
    points = points_of(where, x)
    log_p, yours = Compiled(where, name, of, wrap, x), Function(where, "score", score, wrap, x)
    value, points = yours.both(points)
    points = points.astype(float)
    one_each = lambda p: one_number_each(where, name, *log_p.both(p))
    trials = (
        lambda: unfit(where, yours, value, points.shape, points),
        lambda: unsteady(where, yours, value, points),
        lambda: unfit_energy(where, name, lambda p: one_each(p)[0], points, generator(where, rng)),
    )
    unusable = next((report for trial in trials if (report := trial()) is not None), None)
    if unusable is not None:
        return unusable
    yours = Compiled.of(yours)
    eps = max(yours.measure(points).eps, log_p.measure(points).eps)
    E = -sign * one_each(points)[0]
    beside = lambda d: Field(
        value, sign * d.value, d.tolerance + 8 * eps * moved(d.second, points), points, E, -sign * d.second
    )
    field, _ = differenced(one_each, points, step, eps, beside)
    field = field.allowing(where, rtol, np.linalg.norm(field.reference, axis=1, keepdims=True))
    among = lambda: quotients(lambda p: sign * one_each(p)[0], points, "the energy")
    summary = summary_of(points, yours, f"{log_p.evaluations} {name} evaluations")
    report = judge(where, summary, field, (yours, log_p), lambda f: explained(f, yours, among()), rtol=rtol)
    report = by_rows(report, yours, points)
    if report.verdict == FAIL and report.name == "sign":
        either = f"Or the score is right, and {EXCHANGED[name]}"
        report = replace(report, diagnosis=f"{report.diagnosis}. {either}")
    report = with_rows(_with_curl(report, yours, points, step), yours, value, points)
    if report.verdict == FAIL and report.name == "different":
        of, width = lambda x: lambda d: Field(yours(x), sign * d.value, d.tolerance, x), widths(points, step)
        far = lambda x: differenced(one_each, x, width, eps, of(x))[0]
        report = _unknown(report, yours, log_p, points, step, far)
    if report.verdict == PASS and len(points) > 1 and not np.ptp(points, axis=0).any():
        report = replace(report, notes=(*report.notes, ALL_EQUAL))
    return report


def _unknown(report, yours, log_p, points, step, far):
    """The report on a score that is no function of the reference, with what is seen elsewhere; `far` as in `with_growth`."""
    report = _other_energy(report, yours, points, step)
    with contextlib.suppress(ValueError):  # it cannot be asked so far out
        report = with_growth(report, far, points, 1)
    with contextlib.suppress(ValueError):
        report = _with_jump(report, yours, log_p, points)
    return report


ALL_EQUAL = "all rows of x are equal: take points like your data, where more can be seen"


def _with_jump(report, yours, log_p, points):
    """The report, or one that says where the score jumps and the gradient of the energy does not."""
    steps = np.sqrt(yours.eps) * widths(points)
    slope = lambda x: np.stack([log_p(x + s) - log_p(x - s) for s in np.diag(steps)], 1).reshape(x.shape) / (2 * steps)
    found = None if report.name.startswith("differs") else kink(yours, points)
    if found is None or kink(slope, points, halvings=14) is not None:
        return report
    at, jump, _ = found
    text = f"jumps: your score jumps by {jump:.3g} at x = {np.array2string(at, precision=4)}, where the gradient of the energy does not: a step stands where a smooth function belongs (the derivative of a ReLU for that of a softplus, a threshold, rounding?)"
    return replace(report, diagnosis=text)


def _other_energy(report, yours, points, step):
    """The report on a score that is no function of the reference: it says whether it is a gradient."""
    symmetric = check_conservative(yours, x=points, step=step)
    if symmetric.verdict == INCONCLUSIVE:
        return report
    if symmetric:
        text = "another energy: your score is a gradient, that of another energy, and none of the functions of the reference that are known here (other parameters, a term or a weight left out?)"
    else:
        text = f"no gradient: your score is the gradient of no energy ({symmetric.pattern}), nor one of the functions of the reference that are known here: a term of it is wrong, or a path of the derivative is cut (detach, stop_gradient?)"
    return replace(report, diagnosis=text)


WITH_CURL = {  # names beside which it is said that the score is no gradient, and where that may come from
    "some dimensions": "the derivative in these of a term in which several dimensions stand, a product, a pair, a chain, is left out or wrong?",
    "other coordinates": "a matrix for its transpose, a product in another order, a column for another?",
}


def _with_curl(report, yours, points, step):
    """The report on a score with one of the names above: it says whether it is a gradient."""
    if report.verdict != FAIL or report.name not in WITH_CURL:
        return report
    symmetric = check_conservative(yours, x=points, step=step)
    if symmetric.verdict != FAIL:
        return report
    text = f"{report.diagnosis}; no gradient: it is that of no energy ({symmetric.pattern}; {WITH_CURL[report.name]})"
    return replace(report, diagnosis=text)


FAR = 1e2, 1e4  # times the points' distance from their mean
NEARER = 5.0, 10.0  # the same, where numbers over- or underflow that far out
TERMS = {  # power of |x| with which a term of the energy grows, in words
    0: "log |x|, as the tails of a Student t, a log determinant, a logarithm of a variance that depends on x do",
    1: "|x|, as a softplus, a norm, a hidden layer that saturates do, or a mean left out",
    2: "|x|^2, as a confinement, a prior, a variance do (of a part of a mixture, too)",
    3: "|x|^3",
    4: "|x|^4",
}
DIES_OUT = {  # what differs between the points alone, and is right far out: of a score, of a trace
    "score": "differs by what dies out: far out your score is the reference, and between the points it differs (the weights, normalisers or determinants in the responsibilities of a mixture, a bias, the slope of a hidden unit that saturates, a log determinant of a map that is linear far out?)",
    "trace": "differs by what dies out: far out your trace is the reference, and between the points it differs (a term that dies out is wrong, the curvature of a hidden unit that saturates, of a mixture between its parts?)",
}


def with_growth(report, far, points, derivatives):
    """The report, with how the difference from the reference grows far out; `far` is points -> Field, of so many derivatives of the energy."""
    middle = points.mean(0)
    for radii in (FAR, NEARER):
        with np.errstate(all="ignore"):
            near, out = (far(middle + r * (points - middle)) for r in radii)
        if all(np.isfinite(f.gap).all() for f in (near, out)):
            break
    else:
        return report
    gaps, ratio = [np.linalg.norm(f.gap, axis=1) for f in (near, out)], radii[1] / radii[0]
    with np.errstate(all="ignore"):
        power = float(np.log(np.median(gaps[1]) / np.median(gaps[0])) / np.log(ratio))
        whole = np.round(power)
        near_whole = abs(power - whole) <= 0.05
        change = (out.theirs - out.reference) * ratio**-power - (near.theirs - near.reference)
    lasts = np.mean(np.linalg.norm(change, axis=1) <= 0.3 * gaps[0]) > 0.5  # along a ray: what turns has no power
    right = [1 - np.mean(f.doubtful(0.0)) for f in (near, out)]
    seen = np.median(far(points).gap) > 10 * out.tolerance.max()  # what differs here would be seen out there
    if right[0] > 0.2 and right[1] == 1 and seen:  # near by, a ray may stay where a hidden unit bends
        text = DIES_OUT[near.word]
    elif lasts and radii is FAR and near_whole and whole + derivatives in TERMS:
        grown = product(1.0, {"|x|": whole}) if whole else ""
        grows = "stays bounded" if not grown else f"falls off as {grown}" if power < 0 else f"grows as {grown}"
        of = "the gradient" if derivatives == 1 else "the Laplacian"
        text = f"differs by what {grows}: far out, at {FAR[0]:.0f} to {FAR[1]:.0f} times the spread of x; so does {of} of a term that grows as {TERMS[whole + derivatives]}: such a term may be wrong, or left out"
        slope = ", or the derivative of an activation is (1 - h for 1 - h^2), which saturates"
        itself = ", or an activation stands where its derivative belongs (a softplus for a sigmoid?)"
        text += slope * (not grown) + itself * bool(whole == derivatives == 1)
    else:
        return report
    return replace(report, diagnosis=f"{text}; {report.diagnosis}")


# ------------------------------------------------------------------------------- differences


def differenced(function, x, step, eps, beside, shape=()):
    """The user's numbers beside a differenced reference: a `Field`, and the `Differenced` behind it.

    Rows of which no PASS could be said are looked at with other steps.

    function : callable (r, d) -> values (r, *shape), and the points that it saw
    beside : callable `Differenced` -> Field
    """
    size = lambda v: np.linalg.norm(v, axis=tuple(range(1, v.ndim)), keepdims=True)
    of = lambda d: Differenced(d.value, tolerance(d, size(d.value), eps), d.second)
    found = _differences(function, x, step, shape)
    doubtful, allowance = lambda d: beside(of(d)).doubtful(eps), lambda d: of(d).tolerance
    with contextlib.suppress(ValueError):  # it cannot be asked there
        found = settled(function, x, other_widths(x, step), found, doubtful, allowance, shape)
    found = of(found)
    return beside(found), found


def _differences(function, x, step, shape):
    """`differences`, with shorter steps where the first ones leave what the function takes."""
    first, *shorter = widths(x, step), *sorted(other_widths(x, step), key=np.sum, reverse=True)
    for width in shorter:
        with contextlib.suppress(ValueError):
            return differences(function, x, first, shape)[0]
        first = width
    return differences(function, x, first, shape)[0]


class Differenced(NamedTuple):
    """A derivative (n, ..., d), last index the column of x, what it may be off by, and roughly the second derivative along that column."""

    value: np.ndarray
    tolerance: np.ndarray
    second: np.ndarray

    @property
    def diagonal(self):
        """Of a Jacobian jac[n, i, j] = d s_i / d x_j: its diagonal (n, d)."""
        return np.diagonal(self.value, axis1=1, axis2=2)


def _kind(jac, value):
    """What a Jacobian (n, d, d) that is not symmetric, of a score of this value (n, d), is beside that, in words; "" if it is nothing known."""
    J, flip = jac.value, jac.value.transpose(0, 2, 1)
    allowed, d = jac.tolerance + jac.tolerance.transpose(0, 2, 1), J.shape[1]
    if allowed.max() > 1e-3 * np.abs(J - flip).max():  # too little of it is known
        return ""
    if pair := _exchanged(J, allowed):
        return f"with the dimensions {pair[0]} and {pair[1]} of the score exchanged it is symmetric"
    zero, upper = np.all(np.abs(J) <= jac.tolerance, axis=0), np.triu_indices(d, 1)
    for word, none in (("earlier", zero), ("later", zero.T)):
        if none[upper].all():
            return f"it is triangular: entry i of the score depends on the {word} dimensions and on its own alone (one of the two terms of each pair: conditionals without the others in which a dimension stands, one triangle of a matrix, one force of a pair?)"
    if len(J) > 1 and np.all(np.abs(J - flip - (J - flip)[:1]) <= 4 * (allowed + allowed[:1])):
        return "what is not symmetric is the same at all points: a linear term of the score whose matrix is not symmetric (a rotation, a skew drift, a triangle or a product of matrices?)"
    cycle = np.einsum("ni,njk->nijk", value, J - flip)
    cycle = np.abs(cycle + cycle.transpose(0, 2, 3, 1) + cycle.transpose(0, 3, 1, 2)).max((1, 2, 3))
    size, left = (np.abs(value).max(1) * a.max((1, 2)) for a in (np.abs(J - flip), allowed))
    if d > 2 and np.all(cycle <= 12 * left + 1e-9 * size):  # s ^ ds = 0 (Frobenius)
        return "it is a function of x times a gradient (a norm that it is divided by or clipped to, a weight that depends on x?)"
    with np.errstate(all="ignore"):
        scale = np.median(J / flip, axis=0)[:, 0]  # of each dimension beside the first
        if np.all(scale > 0) and np.all(np.abs(J / scale[:, None] - flip / scale) <= 4 * allowed / scale.min()):
            return f"with its dimensions divided by {np.array2string(scale, precision=4)} it is symmetric (scales of the columns whose chain rule is left out, a preconditioner?)"
    return ""


def _exchanged(J, allowed):
    """The two dimensions of a score with whose exchange its Jacobian (n, d, d) is symmetric; None."""
    d = J.shape[1]
    for i, j in itertools.combinations(range(min(d, 8)), 2) if d > 2 else ():
        order = np.arange(d)
        order[[i, j]] = j, i
        turned = J[:, order]
        if np.all(np.abs(turned - turned.transpose(0, 2, 1)) <= 4 * (allowed + allowed[:, order])):
            return i, j
    return None


STEPS = tuple(c * 10.0**-k for k in range(4) for c in (1, 0.5, 0.25, 0.2))  # of quotients that are recognised


def quotients(function, x, of):
    """Difference quotients with round steps, as rows of `among`: d f / d x_j of a function (r, d) -> (r,), d s_j / d x_j of one -> (r, d)."""
    rows: list[tuple] = []
    central: dict[str, np.ndarray] = {}  # by step
    n, d = x.shape
    if n * d * d > 1 << 16:
        return rows
    own = lambda p, m: np.einsum("mnjj->mnj", np.broadcast_to(np.reshape(function(p), (m, n, d, -1)), (m, n, d, d)))
    (middle,) = own(np.repeat(x, d, axis=0), 1)
    for h in STEPS:
        moved = np.concatenate([(x[:, None] + s * h * np.eye(d)).reshape(-1, d) for s in (1, -1)])
        try:
            up, down = own(moved, 2)
        except ValueError:  # outside of what it takes
            continue
        it_is = lambda kind, h=h: f"it is the {kind} difference of {of} with step {h:g}"
        quotient = central[f"{h:g}"] = (up - down) / (2 * h)
        rows += [
            ("one-sided difference", it_is("forward"), (up - middle) / h),
            ("one-sided difference", it_is("backward"), (middle - down) / h),
            ("central difference", f"{it_is('central')}, which is too long", quotient),
        ]
        if (longer := central.get(f"{2 * h:g}")) is not None:
            text = f"{it_is('five-point')} (Richardson's), which is too long"
            rows.append(("five-point difference", text, (4 * quotient - longer) / 3))
    return rows


# ------------------------------------------------------------------------------- is it a gradient?


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
    function, (n, d) = Function(where, "score", score, wrap, x), points.shape
    value, seen = function.both(points)
    for rule in (
        lambda: unfit(where, function, value, points.shape, points),
        lambda: unsteady(where, function, value, points),
    ):
        if (unusable := rule()) is not None:
            return unusable
    seen, upper = seen.astype(float), np.triu_indices(d, 1)

    def beside(jac):
        """Above the diagonal beside below it, (n, d (d - 1)/2)."""
        above, below = (a[:, *upper] for a in (jac.value, jac.value.transpose(0, 2, 1)))
        allowed = (jac.tolerance + jac.tolerance.transpose(0, 2, 1))[:, *upper]
        return Field(above, below, allowed, seen, word="Jacobian", size=sizes(jac.value.reshape(n, -1), above))

    eps = function.measure(seen).eps
    if d == 1:
        notes = ("in one dimension every score is a gradient", *function.notes())
        return CheckReport(where, PASS, summary_of(points, function), notes=notes)
    field, jac = differenced(function.both, seen, step, eps, beside, (d,))
    summary = summary_of(points, function, f"{function.evaluations} score evaluations")
    field = field.allowing(where, rtol, field.size)
    above, below = field.theirs, field.reference
    share = float(np.sqrt(np.sum((above - below) ** 2) / (2 * np.sum(jac.value**2) + 1e-300)))
    none = Explanation("not a gradient", "the Jacobian is not symmetric, so no energy has this score")
    place = lambda row, k: f"x[{row}], d s_{upper[0][k]}/d x_{upper[1][k]} beside d s_{upper[1][k]}/d x_{upper[0][k]}"
    report = judge(where, summary, field, (function,), lambda f: [none], rtol=rtol, place=place)
    pattern = "" if report else f"the antisymmetric part is {share:.2g} of the Jacobian"
    if report.verdict == FAIL and (kind := _kind(jac, value)):
        report = replace(report, diagnosis=f"{report.diagnosis}; {kind}")
    report = replace(report, pattern=pattern, details={"jacobian": jac.value, "antisymmetric": share})
    if claimed or report.verdict != FAIL:
        return with_rows(report, function, value, points)
    usual = (
        f"not the gradient of an energy, as is usual for a network that gives the score itself: the antisymmetric part is {share:.2g} of its Jacobian "
        f"(0 for a gradient, 1 for a rotation). Denoising and samplers do not need one; a likelihood by an energy, or a Metropolis correction, does"
    )
    report = replace(report, verdict=PASS, diagnosis="", notes=(usual, *report.notes))
    return with_rows(report, function, value, points)
