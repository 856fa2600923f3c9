"""Flux of p times a field through the boundary of a density's support: the boundary term of the integration by parts."""

from itertools import product

import numpy as np

from ..common.inputs import positive
from .quadrature import Frame, Integral, Rows, frame_of, needs, over_pieces, per_axis, rotated, support_of, values_of
from .trapezoid import EPS, Sum

MOST = 40  # faces on the way to an end
SLOWLY = "the flux vanishes slowly"


def flux(field, density, *, rtol=1e-12, breaks=(), budget=None):
    r"""Flux of p times a field out of the density's support, faces at infinity included as limits.

    .. math:: \oint_{\partial\,{\rm support}} p(x)\, v(x) \cdot n(x)\, dS = \int_{\rm support} {\rm div}(p v)\, dx

    This is the boundary term of the integration by parts. At a finite end p and v are evaluated on the end itself, as the
    support is closed. Where p is 0 there, and at an infinite end, p v is followed, in logarithms, through points and faces ever nearer.

    Parameters
    ----------
    field : callable, (n, d) -> (n, d)
    density, rtol, breaks, budget : see expectation

    Returns
    -------
    Integral
        Where the flux through far faces dies out, its last magnitude is part of the error. It may tend to another limit in one
        dimension, or at a finite end: value contains that limit and the note says so. Otherwise value is nan and error inf.

    Raises
    ------
    ValueError
        As integrate; or if field does not return one vector per point.

    Source: Gauss's divergence theorem; Hyvarinen (2005), JMLR 6:695-709, whose Theorem 1 assumes this term to be 0.
    Test: test_flux.py::test_divergence_theorem
    """
    needs("flux", "field", field, density)
    if (parts := getattr(density, "parts", None)) is not None:  # of a union of intervals each has ends of its own
        return sum(flux(field, part, rtol=rtol, breaks=breaks, budget=budget) for part in parts)
    faces = Faces(field, density, positive("flux", "rtol", rtol), breaks, budget)
    value = error = through_bulk = 0.0
    evaluations, notes = 0, []
    for j, side in product(range(faces.d), (0, 1)):
        found, bound, news, spent = _at_end(faces, j, side)
        through_bulk = max(through_bulk, found[0].total[0])
        end = f"{faces.ends[j, side]:g}" if np.isfinite(faces.ends[j, side]) else "-+"[side] + "inf"
        notes += [f"{news} through x[:, {j}] = {end}"] if news else []
        evaluations += spent
        lost = found[-1].endless[0] or np.isinf(bound)
        value += np.nan if lost else (2 * side - 1) * found[-1].value[0]
        error += np.inf if lost else bound + (found[-1].error + found[-1].rest)[0]
    converged = bool(error <= rtol * through_bulk)
    if not converged and not notes:
        notes = [f"error {error:.0e} against a flux of {through_bulk:.0e} through the bulk"]
    return Integral(float(value), float(error), evaluations, converged, "; ".join(notes))


class Faces:
    """Faces z_j = const of a box in z, x = origin + axes z: p v_j over a whole face, and at points of a line towards it."""

    def __init__(self, field, density, rtol, breaks, budget):
        self.field, self.density, self.rtol, self.budget = field, density, rtol, budget
        self.ends = support_of("flux", density.support)
        self.d, self.frame = d, frame = len(self.ends), frame_of(density, self.ends)
        self.field_of = Rows("flux", "field", field)
        self.field_of.trailing = (d,)
        known, given = per_axis("flux", frame.breaks, d), per_axis("flux", breaks, d)
        self.cuts = [sorted({*a, *b}) for a, b in zip(known, given, strict=True)]
        self.turned = rotated(frame.axes)
        if self.turned:  # v becomes |det A| A^-1 v in z (Piola)
            self.origin, self.center, self.scale, self.axes = frame.center, np.zeros(d), np.ones(d), frame.axes
            self.normal = np.linalg.inv(frame.axes) * abs(np.linalg.det(frame.axes))
        else:
            self.origin, self.center, self.scale = np.zeros(d), frame.center, np.abs(np.diag(frame.axes))
            self.axes, self.normal = np.eye(d), np.eye(d)
        # within the support, where p is not 0, and off the planes of symmetry, on which a field may be
        inside = np.minimum(self.scale, 0.5 * (self.ends[:, 1] - self.ends[:, 0]))
        self.middle = np.clip(self.center + 0.3 * self.scale, self.ends[:, 0] + inside, self.ends[:, 1] - inside)

    def x(self, z):
        """The points (n, d) at z."""
        return np.ascontiguousarray(self.origin + z @ self.axes.T) if self.turned else z

    def through(self, j, at, rtol=None):
        """Integral of p v_j over the face z_j = at: a Sum."""
        others = [i for i in range(self.d) if i != j]

        def embed(y):
            z = np.empty((len(y), self.d))
            z[:, j], z[:, others] = at, y
            return self.x(z)

        across = lambda y: self.field_of(embed(y)) @ self.normal[j][:, None]
        logpdf = lambda y: self.density.logpdf(embed(y))
        kinks, frame = tuple(self.cuts[i] for i in others), self.frame
        face = Frame(self.center[others], np.diag(self.scale[others]), frame.tail, frame.reach, frame.detail, kinks)
        uncut = [()] * len(others)
        whole = over_pieces("flux", across, face, self.ends[others], logpdf, rtol or self.rtol, uncut, self.budget)
        none = np.zeros(1)
        return whole or Sum(none, none, none, none, none > 0)

    def along(self, j, at):
        """log p and v_j at z_j = at on a line near the middle, up to the first point where v is no number; and whether there is one."""
        z = np.tile(self.middle, (len(at), 1)).astype(float)
        z[:, j] = at
        x = self.x(z)
        with np.errstate(all="ignore"):
            logp, v = values_of("flux", "logpdf", self.density.logpdf(x), x, ()), np.asarray(self.field(x))
        wrong = np.zeros(len(x), bool)
        if v.shape == x.shape and v.dtype.kind == "f":
            wrong = ~np.isfinite(v).all(axis=1)
        stop = int(np.argmax(wrong)) if wrong.any() else len(x)
        v = values_of("flux", "field", v[:stop] if wrong.any() else v, x[:stop], (self.d,)) if stop else x[:0]
        return logp[:stop], v @ self.normal[j], bool(wrong.any())

    def nearer(self, j, side):
        """z_j of faces k = 0, 1, ... ever nearer to an end, and how many there are: as long as rounding lets one tell x - end."""
        sign, end, scale = 2 * side - 1, self.ends[j, side], self.scale[j]
        if not np.isfinite(end):
            return lambda k: self.center[j] + sign * scale * (self.frame.reach + 2 * (4.0**k - 1)), MOST
        width = min(scale, 0.5 * (self.ends[j, 1] - self.ends[j, 0]))
        most = int(min(MOST, np.log(width / max(1e4 * np.spacing(abs(end)), 1e-280)) / np.log(4)))
        return lambda k: end - sign * width * 4.0**-k, most


def _at_end(faces, j, side):
    """(Sums of p v_j on the way to an end of axis j, the last of which counts; how far it is from the limit; the news; points)."""
    end = faces.ends[j, side]
    inner = bool(np.isfinite(end))
    face, most = faces.nearer(j, side)
    # on the end itself
    found = [faces.through(j, end)] if inner and faces.d > 1 else []
    if inner and faces.d == 1:
        logp, v, wrong = faces.along(0, np.array([end]))
        found = [_point(logp[0], v[0])] if not wrong else []
    bound, news, spent = 0.0, "", sum(f.evaluations for f in found)
    # and where p v is 0 there, or there is no such place: on the way to it
    if not (found and found[0].total[0] > 0) and most > 3:
        steps = np.arange(0, most, 0.23)  # in no octaves: sin x and sin log x are not in step with them
        line, apart, told = _limit(*faces.along(j, face(steps)))
        spent += len(steps)
        vanishes = told in ("", SLOWLY)
        if faces.d == 1 and not (found and vanishes):
            found, bound, news = [line], apart, told
        elif not (inner and vanishes):  # in one dimension it is both
            found, bound, news = _follow(lambda k: faces.through(j, face(k), 1e-6), most, inner)
            spent += sum(f.evaluations for f in found)
            if not vanishes and np.isfinite(bound) and found[-1].total[0] < 0.1 * line.total[0]:
                bound, news = np.inf, "the flux does not vanish: where p underflows, p v does not"
    if not found:
        found, bound, news = [_point(-np.inf, 0.0)], np.inf, "the field is not finite"
    return found, bound, news, spent


def _point(logp, v):
    """p v at a point as a Sum: by logarithms, for p may underflow where p v does not."""
    with np.errstate(divide="ignore", over="ignore"):
        size = np.exp(logp + np.log(np.abs(np.array([v]))))
    rounding = EPS * (8 + np.abs(logp)) * size if size > 0 else size
    return Sum(np.sign(v) * size, size, np.zeros(1), rounding, ~np.isfinite(size))


def _limit(logp, v, wrong):
    """The limit of p v at points (m,) ever nearer to an end: a Sum, how far it is from the limit, the news.

    wrong : v was no number at the next point. Where log |v| then grows faster than -log p, it overtakes it further on.
    """
    if len(v) < 6:
        return _point(-np.inf, 0.0), np.inf, "the field is not finite"
    found = [_point(*pair) for pair in zip(logp, v, strict=True)]
    flow, size = (np.array([getattr(f, name)[0] for f in found]) for name in ("value", "total"))
    last, m = found[-1], max(3, len(v) // 4)
    last.total = np.array([np.max(size)])
    with np.errstate(divide="ignore", invalid="ignore"):
        log_v, log_p = np.log(np.abs(v[-3:])), -logp[-3:]
        power = lambda log: np.log(log[2] / log[0])
        overtaken = wrong and min(log_v[0], log_p[0]) > 1 and power(log_v) > 1.01 * power(log_p)
    if not overtaken and np.isfinite(size).all():
        if size[-3:].max() <= 0.1 * EPS * size.max():
            return last, size[-3:].max(), ""
        if size[-1] < 0.9 * size[-1 - m] and size[-m:].max() < 0.9 * size[-2 * m : -m].max():
            return last, 4 * size[-3:].max(), SLOWLY
        tail, before = np.ptp(flow[-m:]), np.ptp(flow[-2 * m : -m])
        if tail <= 0.1 * before or tail <= 1e-10 * size[-1]:
            return last, 2 * tail, "the flux tends to a limit that is not 0"
    return last, np.inf, "the flux does not vanish"


def _follow(through, most, inner):
    """Follow the flux through faces k = 0, 1, ... ever nearer to an end: the sums found, how far from the limit, the news.

    Faces are whole planes, not sides of a box; where the flux vanishes that makes no difference. A limit other than 0
    is a number for all to agree on only at an end of the support (`inner`).
    """
    found = [through(0)]
    size = lambda back: found[-back].total[0]
    while len(found) < most:
        if found[-1].endless[0]:
            return found, np.inf, "the flux is infinite on the way"
        if len(found) > 1 and size(1) <= 0.1 * EPS * found[0].total[0]:
            return found, size(1), ""
        if len(found) >= 8 and min(size(1) / size(2), size(2) / size(3)) > 0.99:
            break
        found.append(through(len(found)))
    if size(1) < 0.9 * size(2):
        return found, 4 * size(1), SLOWLY
    last, before = (abs(found[-k].value[0] - found[-k - 1].value[0]) for k in (1, 2))
    if inner and (last <= 0.5 * before or last <= 1e-12 * size(1)):
        return found, 4 * last, "the flux tends to a limit that is not 0"
    return found, np.inf, "the flux does not vanish"
