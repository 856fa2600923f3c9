"""Is a gradient in the parameters that of the loss?"""

from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import dtype_name, same_randomness, to_numpy, wrapper
from ..common.inputs import count, finite, generator, positive
from ..numerics.differences import STEPS, romberg, tolerance
from .fields import MAPS, read_field
from .functions import QUOTIENT, Precision, precision
from .numbers import close, readings, said
from .report import FAIL, INCONCLUSIVE, PASS, CheckReport, Worst
from .score import check_conservative

ENOUGH = {True: 1e-6, False: 2e-2}
WHOLE = 600  # parameters, up to which a wrong gradient is looked at as a whole
MIXED = 8  # random directions through all parameters
MOST = 8  # blocks in an explanation


def check_gradient(loss, gradient, theta, *, wrap=None, rtol=None, rng=0, step=None, coordinates=48):
    r"""Is this the gradient of the loss in its parameters, at theta?

    .. math:: g_k = \partial L / \partial \theta_k

    The loss is differenced (Romberg) along some parameters and along random directions through all of them; and Taylor's
    theorem is asked: \|L(theta + h v) - L(theta) - h g.v\| falls as h^2 if g is right, as h if it is not.

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
    rng, p = generator(where, rng), start.size
    function = _Loss(where, loss, wrapper(where, wrap, theta), start.shape)
    yours = _Gradient(where, gradient, function.make, start.shape)
    g = yours(start.reshape(-1))
    summary = f"{p} parameters, {yours.came} gradient"
    unfit = _unfit(yours, function, g, start)
    if unfit is not None:
        return CheckReport(where, unfit[0], summary, diagnosis=unfit[1])
    spread = start.std() or np.abs(start).max() or 1.0
    width = 0.5 * spread if step is None else positive(where, "step", step)
    few = count(where, "coordinates", coordinates)
    chosen = np.arange(p) if p <= few else np.sort(rng.choice(p, few, replace=False))
    single = np.zeros((len(chosen), p))
    single[np.arange(len(chosen)), chosen] = 1.0
    V = np.concatenate([single, rng.choice([-1.0, 1.0], (MIXED, p)) / np.sqrt(p)])
    measured = _along(function, start.reshape(-1), V, width)
    norm = float(np.sqrt(np.mean(measured.value[: len(chosen)] ** 2) * p))
    found = yours.precision(start.reshape(-1), spread)
    eps = max(function.eps, found.eps, 2.0**-23 if "32" in yours.came else 0.0)
    allowed = tolerance(measured, norm, eps)
    if rtol is not None:
        allowed = np.maximum(allowed, positive(where, "rtol", rtol) * norm)
    summary += f", {function.calls} loss evaluations"
    seen = _Seen(g, V, chosen, measured.value, allowed, norm, eps)
    return _verdict(where, summary, seen, function, yours, start.reshape(-1), width, rtol, found)


def _unfit(yours, function, g, start):
    """(verdict, diagnosis) of a gradient that is no gradient's shape, not finite or accumulates, or of a loss that is random; None if all is well."""
    p = start.size
    if g.size != p:
        text = f"shape: the gradient has shape {g.shape}, theta {start.shape}; expected one number for each parameter"
        return FAIL, text
    if not np.isfinite(g).all():
        k = int(np.argmin(np.isfinite(g)))
        text = f"not finite: {np.sum(~np.isfinite(g))} of {p} numbers of the gradient are NaN or infinite, the first is number {k}"
        return FAIL, text
    again = yours(start.reshape(-1))
    if again.size == p and np.any(g) and np.allclose(again, 2 * g, rtol=1e-6, atol=0):
        text = "accumulated gradient: a second call at the same theta gives twice the first; set the gradient to zero before each (zero_grad)"
        return FAIL, text
    if function(start.reshape(-1)) != function(start.reshape(-1)):
        return (
            INCONCLUSIVE,
            "random loss: two calls with the same theta and the same global seeds differ; fix its random numbers",
        )
    return None


class _Gradient:
    """The user's gradient as a function of a flat ndarray, or the array that he gave; the same global seeds in each call."""

    def __init__(self, where, gradient, make, shape):
        self.where, self.gradient, self.make, self.shape, self.came = where, gradient, make, shape, ""

    def __call__(self, theta):
        value = self.gradient
        if callable(value):
            with same_randomness(0):
                value = value(self.make(np.ascontiguousarray(theta.reshape(self.shape))))
        self.came = dtype_name(value)
        return to_numpy(value, f"{self.where}: gradient").astype(float).reshape(-1)

    def precision(self, theta, spread):
        """The `Precision` of its numbers near theta."""
        if not callable(self.gradient) or "32" in self.came:
            return Precision(0.0, "")
        near = theta + 1e-3 * spread * np.array([[0.0], [1.0]])  # two points, which tell a width
        return precision(lambda points: np.array([self(point) for point in points]), near)


class _Seen(NamedTuple):
    """The user's gradient (p,), directions (D, p), of which the first are the chosen parameters, and what was measured along them."""

    g: np.ndarray
    V: np.ndarray
    chosen: np.ndarray
    reference: np.ndarray
    allowed: np.ndarray
    norm: float
    eps: float


class _Loss:
    """The loss as a function of a flat ndarray; the same global seeds in each call."""

    def __init__(self, where, loss, make, shape):
        if not callable(loss):
            raise TypeError(f"{where}: loss is {loss!r}, expected a function of theta.")
        self.where, self.loss, self.make, self.shape = where, loss, make, shape
        self.calls, self.eps = 0, float(np.finfo(float).eps)

    def __call__(self, theta):
        self.calls += 1
        with same_randomness(0):
            value = to_numpy(
                self.loss(self.make(np.ascontiguousarray(theta.reshape(self.shape)))), f"{self.where}: loss"
            )
        if value.size != 1:
            raise ValueError(f"{self.where}: loss returned shape {value.shape}, expected one number; take its mean.")
        if value.dtype.kind == "f":
            self.eps = max(self.eps, float(np.finfo(value.dtype).eps))
        return float(value.reshape(-1)[0].real)


def _along(function, theta, V, width):
    """Derivatives along each row of V (D, p): a `Derivative` of shape (D,)."""
    h = width / 2.0 ** np.arange(STEPS)
    values = np.array(
        [[[function(theta + sign * step * v) for v in V] for step in h] for sign in (1, -1)]
    )  # (2, STEPS, D)
    half = np.broadcast_to(h[:, None, None], (STEPS, len(V), 1))
    found = romberg(values[0][..., None], values[1][..., None], half)
    return type(found)(*(a[:, 0] for a in found))


def _verdict(where, summary, seen, function, yours, theta, width, rtol, found):
    """PASS, FAIL with a diagnosis, or INCONCLUSIVE."""
    along = seen.V @ seen.g
    gap = np.abs(along - seen.reference)
    size = seen.norm or np.abs(along).max() or 1e-300
    enough = max(rtol or 0.0, ENOUGH[seen.eps < 1e-10])
    wrong, resolved = gap > seen.allowed, seen.allowed <= enough * size
    i = int(np.argmax(gap / np.maximum(seen.allowed, 1e-300)))
    place = f"theta[{seen.chosen[i]}]" if i < len(seen.chosen) else "a random direction"
    worst = Worst(place, float(along[i]), float(seen.reference[i]), float(seen.allowed[i] / size))
    slope = taylor_slope(function, theta, seen.V[-1], float(along[-1]), width)
    common: dict[str, Any] = {
        "worst": worst,
        "resolution": float(np.max(seen.allowed) / size),
        "details": {"along": along, "reference": seen.reference, "taylor slope": slope},
    }
    notes = [found.note("the gradient", yours.came)] if found.kind else []
    if wrong.any() and found.kind == "quotient" and np.all(gap <= QUOTIENT * size):
        notes.append(f"right up to {np.max(gap) / size:.0e} of its norm, as difference quotients are")
        return CheckReport(where, PASS, summary, notes=tuple(notes), **common)
    common["notes"] = tuple(notes)
    if np.any(wrong & (resolved | (gap > 32 * seen.allowed))):
        each = lambda: _each(function, theta, seen, width)
        pattern, diagnosis = _named(seen, along, wrong, theta, function(theta), each, yours)
        told = f"{pattern}; Taylor slope {slope:.2f} (right: 2)" if np.isfinite(slope) else pattern
        return CheckReport(where, FAIL, summary, pattern=told, diagnosis=diagnosis, **common)
    if wrong.any() or not resolved.all():
        text = f"unresolved: along {np.sum(~resolved)} of {len(gap)} directions the halvings disagree (a kink, or too few digits)"
        return CheckReport(where, INCONCLUSIVE, summary, diagnosis=text, **common)
    return CheckReport(
        where, PASS, summary, pattern=f"Taylor slope {slope:.2f}" if np.isfinite(slope) else "", **common
    )


def taylor_slope(function, theta, v, derivative, width):
    """Order in h of L(theta + h v) - L(theta) - h g.v, from the halvings that stand above round-off; NaN if none do.

    Parameters
    ----------
    function : callable, theta (p,) -> number
    theta, v : (p,) arrays
    derivative : float, g.v
    width : float, largest h
    """
    h = width / 2.0 ** np.arange(STEPS)
    L = function(theta)
    values = np.array([function(theta + step * v) for step in h])
    left = np.abs(values - L - h * derivative)
    clear = left > 1e3 * function.eps * np.maximum(np.abs(values), abs(L))
    usable = np.flatnonzero(clear[:-1] & clear[1:])
    if len(usable) == 0:
        return np.nan
    return float(np.median(np.log2(left[usable] / left[usable + 1])[-3:]))


def _ranges(numbers):
    """Ascending numbers as ranges: "0-14, 20, 22-24", the first eight of them."""
    runs = np.split(np.asarray(numbers), np.flatnonzero(np.diff(numbers) > 1) + 1) if len(numbers) else []
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs[:8]) + " ..." * (len(runs) > 8)


def _each(function, theta, seen, width):
    """The `Blocks` of all parameters, None if there are too many to look at one by one."""
    p, m = len(theta), len(seen.chosen)
    if p > WHOLE:
        return None
    reference, allowed = seen.reference[:m], seen.allowed[:m]
    if m < p:
        found = _along(function, theta, np.eye(p), width)
        reference, allowed = found.value, tolerance(found, seen.norm, seen.eps)
    return Blocks(reference, seen.g, 4 * (allowed + 64 * seen.eps * seen.norm))


def _named(seen, along, wrong, theta, loss, each, yours):
    """What is wrong with a gradient: pattern and diagnosis."""
    m = len(seen.chosen)
    ref, got, allowed = seen.reference, along, seen.allowed + 256 * seen.eps * seen.norm
    c = float(np.sum(ref * got) / np.sum(ref * ref)) if ref.any() else 0.0
    if np.all(np.abs(got - c * ref) <= 4 * allowed):
        pattern = f"yours = {c:.12g} x reference"
        rtol = max(1e-9, 8 * float(np.max(allowed) / seen.norm))
        if abs(c) < rtol:
            return pattern, "zero: no gradient reaches the parameters (detached graph?)"
        if close(c, -1, rtol):
            return pattern, "sign: this is minus the gradient; descending along it climbs"
        long = float(np.linalg.norm(seen.g))
        limit = float(f"{long:.0e}")
        text = (readings(c, {"p": len(theta)}, rtol) or [said(c, rtol)])[0]
        laws = {"log L": 1 / loss, "the root of L": 0.5 / np.sqrt(loss), "L^2": 2 * loss} if loss > 0 else {}
        for law, slope in laws.items():
            if close(c, slope, 8 * rtol) and not close(c, round(c), 1e-6):
                return pattern, f"gradient of {law}: your gradient is that of {law}, not of the loss L = {loss:.6g}"
        if 0 < c < 1 and text == said(c, rtol) and "/" not in text and close(long, limit, 1e-5):
            return (
                f"{pattern}, norm {long:.9g}",
                f"clipped: your gradient has norm {limit:g} and the right direction; it is clipped to that norm, or normalised",
            )
        return pattern, f"scale: your gradient is {text} times the reference"
    part = seen.V @ theta
    A = np.stack([ref, part], axis=1)
    (a, b), *_ = np.linalg.lstsq(A, got, rcond=None)
    if np.all(np.abs(got - A @ [a, b]) <= 4 * allowed) and close(a, 1, 1e-6):
        return (
            f"yours = reference {b:+.6g} theta",
            f"weight decay: your gradient is the reference {'-' if b < 0 else '+'} {said(abs(b), 1e-6)} theta: a penalty is in one and not in the other",
        )
    bad = seen.chosen[wrong[:m]]
    names = _ranges(bad)
    k = np.flatnonzero(wrong[:m])
    ratio = got[k] / np.where(ref[k] == 0, np.nan, ref[k])
    pattern = f"{len(bad)} of {m} parameters differ"
    if len(k) and np.all(got[k] == 0):
        return (
            pattern,
            f"no gradient for some parameters: that of parameters {names} is zero (detached, or never written)",
        )
    every = each()
    known = None if every is None else explained(every)
    if known is not None:
        return known
    if len(bad) == 0:
        return (
            "single parameters are right, random directions are not",
            "other parameters: the parameters looked at one by one are right, others are not; raise coordinates=",
        )
    if len(k) > 1 and np.all(np.abs(got[k] - np.nanmedian(ratio) * ref[k]) <= 16 * allowed[k]):
        return (
            pattern,
            f"scale of some parameters: that of parameters {names} is {said(float(np.nanmedian(ratio)), 1e-6)} times the reference",
        )
    if sorted(np.round(got[:m], 9)) == sorted(np.round(ref[:m], 9)):
        text = f"order: the right numbers in another order (a transposed weight matrix?), at parameters {names}"
        return pattern, text
    column = lambda a: a[:m, None]
    read = read_field(column(got), column(ref), column(allowed), word="gradient", known={"p": len(theta)})
    read = [e for e in read if e.key in {row.key for row in MAPS} | {"constant shift", "clipped", "constant"}]
    if read:
        return read[0].pattern, read[0].diagnosis.replace("row", "parameter")
    if len(bad) < m:
        return pattern, f"some parameters: that of parameters {names} is wrong; those of the others are right"
    return pattern, _of_another(yours, theta)


def _of_another(yours, theta):
    """The diagnosis of a gradient of which no parameter is right: stale, of another function of theta, or of none."""
    text = "different: this is not the gradient of that loss; no parameter is right"
    if not callable(yours.gradient) or len(theta) > WHOLE // 10:
        return text
    spread = theta.std() or np.abs(theta).max() or 1.0
    points = theta + 0.1 * spread * np.random.default_rng(0).standard_normal((2, len(theta)))
    values = np.array([yours(point) for point in points])
    if values.shape[1] == len(theta) and np.array_equal(values[0], values[1]):
        return "stale: the gradient is the same at another theta; it was computed once, and kept"
    of_rows = lambda points: np.array([yours(point) for point in points])
    symmetric = check_conservative(of_rows, x=points, step=0.1 * spread)
    if symmetric.verdict == INCONCLUSIVE:
        return text
    if symmetric:
        return "another loss: your gradient is that of another function of theta: a term of the loss is missing in it (detached?), or has another factor or scale (sum for mean)"
    return f"no gradient: your gradient is that of no function of theta ({symmetric.pattern}): a factor of the chain rule is missing or wrong"


# ------------------------------------------------------------------------------- block by block


class Blocks(NamedTuple):
    """The reference, the user's gradient and the tolerance of their difference, each (p,)."""

    reference: np.ndarray
    yours: np.ndarray
    allowed: np.ndarray

    def same(self, here, there=None):
        """Whether yours at the indices `here` is the reference at `there`."""
        there = here if there is None else there
        return bool(
            np.all(np.abs(self.yours[here] - self.reference[there]) <= self.allowed[here] + self.allowed[there])
        )

    def first_wrong(self, start):
        """The first index from `start` on at which the gradient is wrong; None if it is right to the end."""
        wrong = np.flatnonzero(np.abs(self.yours[start:] - self.reference[start:]) > 2 * self.allowed[start:])
        return int(wrong[0]) + start if len(wrong) else None


def explained(blocks):
    """(pattern, diagnosis) of a gradient that is wrong block by block, or None."""
    for rule in (swapped, transposed, scaled):
        found = rule(blocks)
        if found is not None:
            return found
    return None


def transposed(blocks):
    """Matrices that are flattened the other way round: all of the wrong stretches, one after the other."""
    found: list[tuple] = []
    start = 0
    while (wrong := blocks.first_wrong(start)) is not None:
        block = next(_matrices(blocks, start, wrong), None)
        if block is None or len(found) == MOST:
            return None
        found.append(block)
        start = block[0] + block[1] * block[2]
    if not found:
        return None
    places = "; ".join(f"theta[{s}:{s + a * b}], a matrix ({a}, {b})" for s, a, b in found)
    _, a, b = found[0]
    turned = f"is flattened as ({b}, {a})" if len(found) == 1 else "are flattened the other way round, columns as rows"
    text = f"transposed block{'s' * (len(found) > 1)}: the gradient of {places}, {turned}"
    return "the right numbers in another order", text


def _matrices(blocks, start, wrong):
    """(first index, rows, columns) of matrices that cover the wrong index and whose transpose the gradient holds, small ones first."""
    p = len(blocks.yours)
    for size in range(4, p + 1):
        for rows in range(2, size // 2 + 1):
            if size % rows:
                continue
            s = wrong - 1  # the first entry of a matrix stays where it is
            if s < start or s + size > p:
                continue
            here = np.arange(s, s + size)
            if blocks.same(here, here.reshape(rows, size // rows).T.ravel()):
                yield s, rows, size // rows


def swapped(blocks):
    """Two stretches in each other's place, of the same length or side by side."""
    a = blocks.first_wrong(0)
    if a is None:
        return None
    wrong = np.flatnonzero(np.abs(blocks.yours - blocks.reference) > 2 * blocks.allowed)
    end = int(wrong[-1]) + 1
    right = np.arange(len(blocks.yours))
    for middle in range(a + 1, end):  # theta[a:middle] and theta[middle:end], side by side
        order = right.copy()
        order[a:end] = np.r_[middle:end, a:middle]
        if blocks.same(right, order):
            first, second = f"theta[{a}:{middle}]", f"theta[{middle}:{end}]"
            return _swap(first, second)
    for size in range(1, (end - a) // 2 + 1):  # of the same length, with others between them
        order = right.copy()
        order[a : a + size], order[end - size : end] = right[end - size : end], right[a : a + size]
        if size > 1 and blocks.same(right, order):
            return _swap(f"theta[{a}:{a + size}]", f"theta[{end - size}:{end}]")
    return None


def _swap(first, second):
    return (
        "the right numbers in another order",
        f"swapped blocks: the gradients of {first} and {second} stand in each other's place",
    )


def scaled(blocks):
    """Stretches with a factor each."""
    found, start, p = [], 0, len(blocks.yours)
    while start < p:
        end, c = _stretch(blocks, start)
        found.append((start, end, c))
        start = end
        if len(found) > MOST:
            return None
    off = [(s, e, c) for s, e, c in found if not close(c, 1, 1e-6)]
    if not off or len(found) > max(2, p // 3) or any(_clear(blocks, s, e) < 2 for s, e, _ in off):
        return None
    what = {0.0: "zero", -1.0: "minus the reference"}
    words = [f"theta[{s}:{e}] is {what.get(round(c, 9), f'{said(c, 1e-6)} times the reference')}" for s, e, c in off]
    rest = "; the rest is right" if len(off) < len(found) else ""
    return (
        f"{len(found)} stretches with a factor each",
        f"scale of blocks: the gradient of {', that of '.join(words)}{rest}",
    )


def _stretch(blocks, start):
    """How far one factor goes, and the factor."""
    ref, got, allowed = blocks.reference[start:], blocks.yours[start:], blocks.allowed[start:]
    top, size = np.cumsum(ref * got), np.cumsum(ref * ref)
    end, c = 1, 1.0
    for n in range(1, len(ref) + 1):
        factor = top[n - 1] / size[n - 1] if np.any(np.abs(ref[:n]) > 2 * allowed[:n]) else 1.0
        if np.any(np.abs(got[:n] - factor * ref[:n]) > 2 * (1 + abs(factor)) * allowed[:n]):
            break
        end, c = n, factor
    return start + end, float(c)


def _clear(blocks, start, end):
    """How many entries of a stretch are large enough to tell its factor."""
    return int(np.sum(np.abs(blocks.reference[start:end]) > 1e3 * blocks.allowed[start:end]))
