"""Is a score minus the gradient of its energy, and is it a gradient at all?"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..common.inputs import generator
from ..numerics.differences import differences, other_widths, settled, tolerance, widths
from .fields import Field, explained, moved
from .functions import Function, points_of
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Explanation, allowing, enough, judge, sizes, summary_of
from .rows import by_rows, one_number_each, unfit, unfit_energy, unsteady


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
    log_p, yours = Function(where, name, of, wrap, x), Function(where, "score", score, wrap, x)
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
    eps = max(yours.measure(points).eps, log_p.measure(points).eps)
    field = _beside_differences(one_each, sign, value, points, eps, step)
    size = np.linalg.norm(field.reference, axis=1, keepdims=True)
    field = field._replace(tolerance=allowing(where, field.tolerance, rtol, size))
    among = lambda: quotients(lambda p: sign * one_each(p)[0], points, "the energy")
    summary = summary_of(points, yours, f"{log_p.evaluations} {name} evaluations")
    report = judge(where, summary, field, (yours, log_p), lambda f: explained(f, yours, among()), rtol=rtol)
    return _other_energy(_or_exchanged(by_rows(report, yours, points), name), score, x, wrap, step)


def _or_exchanged(report, name):
    """The report; where only the sign is wrong, the score may be right, and the energy a log p or the reverse: both are said."""
    if report.verdict != FAIL or report.name != "sign":
        return report
    is_one = (
        "your energy is a log p: pass it as logpdf="
        if name == "energy"
        else "your log p is an energy: pass it as energy="
    )
    return replace(report, diagnosis=f"{report.diagnosis}. Or the score is right, and {is_one}")


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
    return replace(report, diagnosis=text)


# ------------------------------------------------------------------------------- differences


def _differenced(function, x, step, doubtful, allowance, shape=()):
    """The `Derivative` of a function at the rows of x, doubtful rows looked at with other steps."""
    found, _ = differences(function, x, widths(x, step), shape)
    return settled(function, x, other_widths(x, step), found, doubtful, allowance, shape)


def _beside_differences(one_each, sign, value, points, eps, step):
    """The user's score (n, d) beside the differenced energy: a `Field`."""

    def allowance(d_dx):
        """What a right score may differ by, (n, d)."""
        size = np.linalg.norm(d_dx.value, axis=1, keepdims=True)
        return tolerance(d_dx, size, eps) + 8 * eps * moved(d_dx.second, points)

    def doubtful(d_dx):
        """Rows that no PASS could be said of."""
        gap, allowed = np.abs(value - sign * d_dx.value), allowance(d_dx)
        return ~np.all((gap <= allowed) & (allowed <= enough(eps) * sizes(d_dx.value, value)), axis=1)

    d_dx = _differenced(one_each, points, step, doubtful, allowance)
    E, second = -sign * one_each(points)[0], -sign * d_dx.second
    return Field(value, sign * d_dx.value, allowance(d_dx), points, E, second)


STEPS = tuple(c * 10.0**-k for k in range(4) for c in (1, 0.5, 0.25, 0.2))  # of quotients that are recognised


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
        it_is = lambda kind, h=h: f"it is the {kind} difference of {of} with step {h:g}"
        rows += [
            ("one-sided difference", it_is("forward"), (up - middle) / h),
            ("one-sided difference", it_is("backward"), (middle - down) / h),
            ("central difference", f"{it_is('central')}, which is too long", (up - down) / (2 * h)),
        ]
    return rows


class Jacobian(NamedTuple):
    """Differenced Jacobian (n, d, d) of a score, jac[n, i, j] = d s_i / d x_j, its tolerance, the score (n, d), x, and roughly d^2 s_i / d x_j^2."""

    value: np.ndarray
    tolerance: np.ndarray
    score: np.ndarray
    x: np.ndarray
    second: np.ndarray

    @property
    def diagonals(self):
        """Diagonals (n, d) of the Jacobian and of its tolerance."""
        return [np.diagonal(a, axis1=1, axis2=2) for a in (self.value, self.tolerance)]


def differenced_jacobian(where, function, x, step=None, suspect=None):
    """The Jacobian of a user's score by Romberg differences, or a report if the score is unfit for it.

    Rows that it does not resolve, and rows that `suspect` (of a `Jacobian`) points at, are looked at with other steps.
    """
    score, seen = function.both(x)
    bad = unfit(where, function, score, x.shape, x)
    if bad is not None:
        return bad
    seen = seen.astype(float)
    eps = function.measure(seen).eps
    size = lambda value: np.linalg.norm(value, axis=(1, 2), keepdims=True)
    of = lambda d_dx: Jacobian(d_dx.value, tolerance(d_dx, size(d_dx.value), eps), score, seen, d_dx.second)

    def doubtful(d_dx):
        jac = of(d_dx)
        unresolved = ~np.all(jac.tolerance <= enough(eps) * size(jac.value), axis=(1, 2))
        return unresolved if suspect is None else unresolved | suspect(jac)

    allowance = lambda d_dx: of(d_dx).tolerance
    return of(_differenced(function.both, seen, step, doubtful, allowance, (x.shape[1],)))


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
    function, d = Function(where, "score", score, wrap, x), points.shape[1]
    flip = lambda a: a.transpose(0, 2, 1)
    symmetric = lambda jac: np.abs(jac.value - flip(jac.value)) <= jac.tolerance + flip(jac.tolerance)
    jac = differenced_jacobian(where, function, points, step, lambda jac: ~np.all(symmetric(jac), axis=(1, 2)))
    if isinstance(jac, CheckReport):
        return jac
    summary = summary_of(points, function, f"{function.evaluations} score evaluations")
    if d == 1:
        notes = ("in one dimension every score is a gradient", *function.notes())
        return CheckReport(where, PASS, summary, notes=notes)
    # above the diagonal beside below it, (n, d (d - 1)/2)
    upper = np.triu_indices(d, 1)
    above, below, allowed = (a[:, *upper] for a in (jac.value, flip(jac.value), jac.tolerance + flip(jac.tolerance)))
    size = sizes(jac.value.reshape(len(points), -1), above)
    field = Field(above, below, allowing(where, allowed, rtol, size), jac.x, word="Jacobian")
    share = float(np.sqrt(np.sum((above - below) ** 2) / (2 * np.sum(jac.value**2) + 1e-300)))
    none = Explanation("not a gradient", "the Jacobian is not symmetric, so no energy has this score")
    place = lambda row, k: f"x[{row}], d s_{upper[0][k]}/d x_{upper[1][k]} beside d s_{upper[1][k]}/d x_{upper[0][k]}"
    report = judge(where, summary, field, (function,), lambda f: [none], rtol=rtol, size=size, place=place)
    pattern = "" if report else f"the antisymmetric part is {share:.2g} of the Jacobian"
    report = replace(report, pattern=pattern, details={"jacobian": jac.value, "antisymmetric": share})
    if claimed or report.verdict != FAIL:
        return report
    usual = (
        f"not the gradient of an energy, as is usual for a network that gives the score itself: the antisymmetric part is {share:.2g} of its Jacobian "
        f"(0 for a gradient, 1 for a rotation). Denoising and samplers do not need one; a likelihood by an energy, or a Metropolis correction, does"
    )
    return replace(report, verdict=PASS, diagnosis="", notes=(usual, *report.notes))
