r"""A denoising loss, point by point: with x~ = c x + sigma eps it is mean of w 1/2 |fn(x~) - (p eps + q x)|^2 + constant, and w, p, q are read off.

The minimiser is p E[eps | x~] + q E[x | x~], and x~ = c E[x | x~] + sigma E[eps | x~]; so unless q sigma = p c it knows the score,

.. math:: s(\tilde x) = -E[\varepsilon \mid \tilde x] / \sigma, \qquad
    E[\varepsilon \mid \tilde x] = \frac{q \tilde x - c\, {\rm fn}}{q \sigma - p c}

and the loss is w sigma^2 (q sigma - p c)^2 / c^2 times the reference of that score. The right p and q are -1/sigma and 0, or those of a row of
`PARAMETRISATIONS`; weights w are a convention.

Source: Vincent (2011) for the score; Ho, Jain & Abbeel (2020) for eps; Salimans & Ho (2022) for v.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..report import FAIL, INCONCLUSIVE, PASS
from .names import COARSEST, SQUARE, Level, Naming, conversion, factor, missing, name_right, whole_loss, wrong_target

SIGMAS = 5.0
# points known worse than this are left out beside others: they lie too near another one
RESOLVED, UNRESOLVED = (1e-3, 0.5)
WRONG_WAY = "fn is driven away from its target where the weight is negative"
COMPROMISE = "weights move the minimiser only where one network without enough freedom serves all levels"


NOISE = ("eps", "sigma eps", "sigma score", "sigma^2 score")  # parametrisations that are the noise, up to a factor


class Read(NamedTuple):
    """w, p and q of the noisy points of all trials (K,), with what they may depend on, and how exactly they are known."""

    w: np.ndarray  # in units of a mean over the points
    p: np.ndarray
    q: np.ndarray
    left: np.ndarray  # (K,), of the target beside p eps + q x, relative
    c: np.ndarray
    sigma: np.ndarray
    of: np.ndarray  # (K, 2), trial and point
    levels: list  # of `Level`, K of them
    rtol: float
    apart: np.ndarray  # (K,), of normals in the target that are independent of the point

    @property
    def size(self):
        """(K,), the larger of p and q."""
        return np.maximum(np.abs(self.p), np.abs(self.q))

    @property
    def batches(self):
        """The points (k,) of each trial."""
        return [np.flatnonzero(self.of[:, 0] == t) for t in np.unique(self.of[:, 0])]

    def only(self, use):
        """What was read of some points (k,)."""
        arrays = {name: a[use] for name, a in self._asdict().items() if isinstance(a, np.ndarray)}
        return self._replace(**arrays, levels=[self.levels[k] for k in np.arange(len(self.p))[use]])


class Parametrisation(NamedTuple):
    """Something that fn may predict: p eps + q x, of the kernels where `kernel` is 1, and the score that follows."""

    key: str
    name: str
    form: Callable
    kernel: Callable
    score: str


PARAMETRISATIONS = (
    Parametrisation("eps", "the noise eps", lambda c, s: (1, 0), lambda c, s: 1, "-fn/sigma"),
    Parametrisation("sigma eps", "the noise sigma eps", lambda c, s: (s, 0), lambda c, s: 1, "-fn/sigma^2"),
    Parametrisation("sigma score", "sigma times the score, -eps", lambda c, s: (-1, 0), lambda c, s: 1, "fn/sigma"),
    Parametrisation("x", "the clean x", lambda c, s: (0, 1), lambda c, s: 1, "(c fn - x~)/sigma^2"),
    Parametrisation("v", "v = c eps - sigma x", lambda c, s: (c, -s), lambda c, s: c * c + s * s, "-x~ - (c/sigma) fn"),
    Parametrisation("velocity", "the velocity eps - x", lambda c, s: (1, -1), lambda c, s: c + s, "-(x~ + c fn)/sigma"),
    Parametrisation("velocity", "the velocity x - eps", lambda c, s: (-1, 1), lambda c, s: c + s, "-(x~ - c fn)/sigma"),
    Parametrisation("sigma^2 score", "the residual x - x~ = -sigma eps", lambda c, s: (-s, 0), lambda c, s: c, "fn/sigma^2"),
    Parametrisation(
        "edm", "sigma x/r - r c eps with r = sqrt(1 - sigma^2)/c (-v if r = 1; EDM's network inside its preconditioning)",
        lambda c, s: (-np.sqrt(1 - s * s), s * c / np.sqrt(1 - s * s)), lambda c, s: s < 1, "-x~ + (r c/sigma) fn",
    ),
)  # fmt: skip


def of_score(c, s):
    """p and q of the right target, -eps/sigma."""
    return -1 / s, 0


RIGHT = (of_score, *(row.form for row in PARAMETRISATIONS))  # all p and q from which the score follows
MISTAKES = (
    ("-(x~ - x)/sigma^2: x is not scaled there as it is in x~ = c x + sigma eps, and the target should be (c x - x~)/sigma^2", lambda c, s: (-1 / s, (1 - c) / s**2)),
    ("(x~ - x)/sigma^2, with the wrong sign, and x is not scaled there as it is in x~ = c x + sigma eps", lambda c, s: (1 / s, -(1 - c) / s**2)),
    ("x - x~: the scale c of x and the division by sigma^2 are missing", lambda c, s: (-s, 1 - c)),
    ("x~ - x: the scale c of x, the division by sigma^2 and the sign are wrong", lambda c, s: (s, c - 1)),
    ("-x", lambda c, s: (0, -1)),
    ("-x~/sigma^2: the data are not subtracted from the noisy points", lambda c, s: (-1 / s, -c / s**2)),
    ("x~/sigma^2: the data are not subtracted from the noisy points, and the sign is wrong", lambda c, s: (1 / s, c / s**2)),
)  # fmt: skip


RESIDUALS = ("x - x~", "x~ - x")  # which a network may be meant to predict


def read(trials, founds):
    """The `Read` of the arrays found in some trials, noisy points only."""
    rows = []
    for t, (trial, found) in enumerate(zip(trials, founds, strict=True)):
        s, d = trial.setting, trial.points.shape[1]
        own, doubts = np.einsum("pii->pi", found.own), found.doubts
        M = np.sum(np.abs(own).max(1) > 1e-9 * np.abs(found.own).max())  # of points that count
        for p in np.flatnonzero(trial.sigma > 0):
            w = own[p].mean()
            used = abs(w) > 1e-9 * np.abs(found.own).max()
            target = -found.b[p] / w if used else np.full(d, np.nan)
            apart = np.zeros(d) if trial.apart is None else trial.apart[p]
            basis = np.stack([trial.eps[p], trial.data[trial.row[p]], apart], axis=1)
            a, b, e = np.linalg.lstsq(basis, target, rcond=None)[0] if used else (np.nan, np.nan, 0.0)
            left = np.abs(target - basis @ [a, b, e]).max() if used else 0.0
            size = np.abs(target).max()
            error = SIGMAS * doubts[p] / abs(w) * (1 + size) if used else 0.0  # of the target
            lost = error / max(size, 1) if used else 0.0
            turn = -1.0 if trial.c[p] < 0 else 1.0  # what is behind the point is -x then
            rows.append((w * M, a, turn * b, left, turn * trial.c[p], trial.sigma[p], e, error, lost, t, p))
    table = np.array(rows).reshape(-1, 11)
    sizes = np.nan_to_num(np.abs(table[:, [1, 2, 6]]).max(1))
    # a row without a target has no scale of its own
    table[:, [3, 7]] /= np.maximum(sizes, 1e-3 * sizes.max(initial=1e-9))[:, None]
    if np.any(table[:, 8] <= RESOLVED):
        table = table[table[:, 8] <= RESOLVED]
    elif np.all(table[:, 8] > UNRESOLVED):
        table[:, 7] = np.inf
    of = table[:, 9:].astype(int)
    levels = []
    for row, (t, _) in zip(table, of, strict=True):
        s = trials[t].setting
        levels.append(Level(s.n, s.d, row[5], s.m, row[4], s.levels))
    w, p, q, rest, c, sigma, apart, rtols = table[:, :8].T
    return Read(w, p, q, rest, c, sigma, of, levels, float(max(1e-9, rtols.max(initial=0.0))), apart)


def is_form(r, form, rtol=None):
    """Whether p and q are those of a form at all points."""
    with np.errstate(all="ignore"):
        p, q = (np.broadcast_to(np.asarray(v, float), r.p.shape) for v in form(r.c, r.sigma))
    allowed = max(r.rtol if rtol is None else rtol, COARSEST) * r.size
    return bool(np.all(np.abs(r.p - p) <= allowed) and np.all(np.abs(r.q - q) <= allowed))


def name(r, objective, free, said, predicts=None, smooth=False):
    """The `Naming` of what the network of a loss is pulled to, the same rule at every point that counts; `smooth` if it is a function of the level."""
    unused = np.isnan(r.p)
    if np.all(unused):
        return Naming(FAIL, missing(objective, SQUARE), "loss has no square of what fn says")
    naming, s = _name(r.only(~unused), objective, free, said, predicts, smooth), r.sigma[unused]
    if naming.verdict == FAIL or not len(s):
        return naming
    at = f"sigma {s[0]:.3g}" if np.ptp(s) <= 1e-6 * s[0] else f"sigma between {s.min():.3g} and {s.max():.3g}"
    note = f"{len(s)} of {len(unused)} points have no weight, at {at} (a mask, a slice, a threshold?): nothing is learnt there"
    return naming._replace(notes=(*naming.notes, note))


def _name(r, objective, free, said, predicts, smooth):
    """The same of points that have a weight."""
    if np.all(r.size <= 1e-9 * np.median(r.size + 1)) or np.all(r.size * r.sigma <= 1e-9):
        return Naming(FAIL, missing(objective, "product with the noise"), "target = 0")
    if np.all(np.abs(r.q) <= max(r.rtol, COARSEST) * r.size) and np.allclose(
        -r.p * r.sigma, 1, rtol=max(r.rtol, COARSEST), atol=0
    ):
        return _score(r, objective, predicts)
    if predicts not in (None, "score"):
        return _predicted(r, objective, predicts)
    inside = said == "score" and predicts is None  # of a preconditioning, whatever its network is called
    known = _convention(r, objective, said, None if free else "edm") if free or inside else None
    return known or _mistake(r, objective, free, smooth)


def _score(r, objective, predicts):
    """fn is the score: right, with some weight."""
    if predicts not in (None, "score"):
        text = f"wrong target: fn learns the score -eps/sigma, and is meant to predict {predicts}"
        return Naming(FAIL, text, "target = -eps/sigma")
    if np.any(r.w < 0):
        text = (
            "sign of the loss: minimising it drives the score away from the data" if np.all(r.w < 0)
            else f"sign of the weight: {WRONG_WAY}, at sigma {r.sigma[r.w < 0].min():.3g} to {r.sigma[r.w < 0].max():.3g}"
        )  # fmt: skip
        return Naming(FAIL, text, f"weights between {r.w.min():.4g} and {r.w.max():.4g}")
    if objective == "denoising":
        one = [level._replace(levels=1) for level in r.levels]
        if factor(r.w, one, r.rtol).known:
            return name_right(objective, r.w, r.w, one, r.rtol)
    pattern = f"loss = mean over levels of {factor(r.w, r.levels, r.rtol).text} x [1/2 |s + eps/sigma|^2] + constant"
    return Naming(PASS, "", pattern, weights(r))


def along_path(r):
    """What fn predicts if that is k times the velocity of the path (c, sigma), the same k everywhere: (name, score), None if it is not."""
    constant = lambda a: np.ptp(a) <= max(r.rtol, 1e-6) * np.abs(a).max()
    with np.errstate(all="ignore"):
        k, preserving = r.p / r.c, np.allclose(r.c**2 + r.sigma**2, 1)
        along = preserving and constant(k) and np.all(np.abs(r.q + k * r.sigma) <= 1e-6 * np.abs(k))
    if along:
        name = f"{k[0]:.6g} (c eps - sigma x), the velocity of a path with c^2 + sigma^2 = 1"
        return name, f"-x~ - (c/sigma) fn/{k[0]:.6g}"
    if len(np.unique(np.round(r.c, 6))) > 2 and constant(r.p) and constant(r.q) and np.all(np.abs(r.q) > 0):
        slope, start = np.polyfit(r.c, r.sigma, 1)
        if np.allclose(r.sigma, start + slope * r.c) and np.allclose(r.p / r.q, slope):
            name = f"{r.q[0]:.6g} x {'-' if r.p[0] < 0 else '+'} {abs(r.p[0]):.6g} eps, the velocity of a straight path"
            return name, "-(q x~ - c fn)/(sigma (q sigma - p c)) with fn = p eps + q x"
    return None


PREDICTS = "another convention: fn predicts {}, and the score is {}; if your fn is meant to be the score itself, the target is wrong"


OTHER_WEIGHTS = f"another convention: the points have weights of their own beside the reference; {COMPROMISE}"


def _convention(r, objective, said, only=None):
    """The PASS of a loss whose fn predicts something that the score follows from, or None.

    Noise added to x as it is says nothing of what fn is meant to be; there the noise as target is right only if fn was `said` to be "noise".
    """
    for row in PARAMETRISATIONS:
        if only is not None and row.key != only:
            continue
        sizes = np.broadcast_to(row.kernel(r.c, r.sigma), r.c.shape).astype(float)
        if not np.allclose(sizes, 1, atol=max(r.rtol, 1e-6), rtol=0) or not is_form(r, row.form) or np.any(r.w < 0):
            continue
        data = r.only(r.c != 0)  # a level that is all noise says nothing of the score of data
        weight = 1.0 if objective == "multilevel_denoising" else data.sigma**2
        K = factor(data.w * weight * (data.q * data.sigma / data.c - data.p) ** 2, data.levels, r.rtol)
        pattern = f"loss = {factor(r.w, r.levels, r.rtol).text} x [1/2 |fn - target|^2] + constant, target {row.name}"
        scaled = () if K.one else (f"with that score, {conversion(K, objective) if K.known else OTHER_WEIGHTS}",)
        if row.key == "sigma score" and said != "noise" and not np.all(r.c == 1):
            continue  # of points that are scaled eps itself is the rule
        if row.key in NOISE and np.all(r.c == 1) and said != "noise" and only is None:
            text = f"noise or score: fn learns {row.name}; if that is meant, say model='noise': it is right, and the score is {row.score}. If fn is meant to be the score, the target is wrong, it should be -eps/sigma"
            return Naming(INCONCLUSIVE, text, pattern, scaled)
        return Naming(PASS, "", pattern, (PREDICTS.format(row.name, row.score), *scaled))
    path = along_path(r) if only in (None, "velocity") and np.all(r.w > 0) else None
    return None if path is None else Naming(PASS, "", f"target = {in_words(r)}", (PREDICTS.format(*path),))


def _predicted(r, objective, predicts):
    """fn was said to predict something: that, or a FAIL."""
    known = _convention(r, objective, "noise", predicts)
    if known is not None:
        return known
    straight = np.allclose(r.c + r.sigma, 1, atol=1e-6)
    velocity = "the velocity eps - x or x - eps" if straight else "the velocity of the points, c' x + sigma' eps"
    meant = {"v": "v = c eps - sigma x", "velocity": velocity}.get(predicts, predicts)
    turned = _convention(r._replace(p=-r.p, q=-r.q), objective, "noise", predicts)
    other = next((row.name for row in PARAMETRISATIONS if is_form(r, row.form)), "")
    slip = "" if other else _slip(*_along_v(r, predicts))
    as_meant = _convention(r._replace(w=np.abs(r.w)), objective, "noise", predicts)
    text = (
        f"sign of the weight: {WRONG_WAY}" if as_meant is not None
        else f"another path: fn learns {other}, the velocity of the straight line, and the points move on another path: dx~/dt = c' x + sigma' eps" if predicts == "velocity" and "velocity" in other
        else f"sign of the target: fn is pulled towards minus what it is meant to predict, {meant}" if turned is not None
        else f"{slip}: fn learns {in_words(r)}, and is meant to predict {meant}" if slip
        else f"another parametrisation: fn learns {other or in_words(r)}, and is meant to predict {meant}"
    )  # fmt: skip
    return Naming(FAIL, text, f"target = {in_words(r)}")


def _along_v(r, predicts):
    """(what was read, what is meant); of a velocity with c^2 + sigma^2 = 1, a multiple of v, as v."""
    with np.errstate(all="ignore"):
        k = np.abs(r.p / r.c)
    if predicts != "velocity" or not np.allclose(r.c**2 + r.sigma**2, 1) or np.ptp(k) > 1e-6 * k.max():
        return r, predicts
    return r._replace(p=r.p / k, q=r.q / k), "v"


SLIPS = {  # what may happen to a right target p eps + q x of kernel c, s, (p, q) = f(c, s): words -> what it is then
    "noisy point in the target, x~ in place of x": lambda f, c, s: (f(c, s)[0] + f(c, s)[1] * s, f(c, s)[1] * c),
    "noisy point in the target, x~ in place of eps": lambda f, c, s: (f(c, s)[0] * s, f(c, s)[1] + f(c, s)[0] * c),
    "c and sigma exchanged in the target": lambda f, c, s: f(s, c),
    "c and sigma exchanged in the target, and its sign": lambda f, c, s: tuple(-np.asarray(a) for a in f(s, c)),
    "sign of one term of the target": lambda f, c, s: (f(c, s)[0], -f(c, s)[1]),
    "sign of the other term of the target": lambda f, c, s: (-f(c, s)[0], f(c, s)[1]),
    "squares in the target, c^2 and sigma^2 in place of c and sigma": lambda f, c, s: f(c * c, s * s),
    "roots in the target, those of c and sigma in place of c and sigma": lambda f, c, s: f(np.sqrt(c), np.sqrt(s)),
    "scale of the target, multiplied by c": lambda f, c, s: tuple(c * a for a in f(c, s)),
    "scale of the target, divided by c": lambda f, c, s: tuple(a / c for a in f(c, s)),
    "scale of the target, multiplied by sigma": lambda f, c, s: tuple(s * a for a in f(c, s)),
    "scale of the target, divided by sigma": lambda f, c, s: tuple(a / s for a in f(c, s)),
}


def _slip(r, predicts):
    """What happened to the target that is meant, as words; "" if that is not known."""
    rows = [row for row in PARAMETRISATIONS if row.key == predicts]
    right = [row for row in rows if not is_form(r, row.form)]
    for words, slip in SLIPS.items():
        if any(is_form(r, lambda c, s, f=row.form, slip=slip: slip(f, c, s)) for row in right):
            return words
    return "noisy point as the target" if np.all(_lost(r)) else ""


def _lost(r):
    """Whether the targets are multiples of the noisy point, which fn is given: there is nothing of the data in them."""
    return np.abs(r.q * r.sigma - r.p * r.c) <= 1e-6 * r.size


def _mistake(r, objective, free, smooth):
    """The `Naming` of a loss whose target is something else: FAIL, or INCONCLUSIVE if fn is `free` to be a model of something unknown here."""
    target = in_words(r)
    pattern = f"target = {target}"
    if np.all(np.abs(r.q) <= max(r.rtol, COARSEST) * np.abs(r.p)):
        return Naming(FAIL, _of_noise(r, objective), pattern)
    for text, form in MISTAKES:
        if is_form(r, form) and not (free and text.startswith(RESIDUALS)):
            return Naming(FAIL, f"wrong target: the target is {text}", pattern)
    lost = _lost(r)
    if np.all(lost) and np.any(r.p != 0):
        text = "noisy point as the target: the target is a multiple of the noisy point, which fn is given: it can be met without knowing the data"
        return Naming(FAIL, text, pattern)
    lawful = all(factor(np.abs(a), r.levels, r.rtol).known for a in (r.p, r.q))
    residual = any(is_form(r, form) for text, form in MISTAKES if text.startswith(RESIDUALS))
    noise_is_in_it = np.all(np.abs(r.p) > 1e-6 * np.abs(r.q))
    if free and not np.any(lost) and (lawful or residual or (smooth and noise_is_in_it)):
        text = (
            f"unknown target: fn predicts {target}, and the score follows from that: say what your sampler makes of it, score_of=, or predicts=; "
            f"if fn is meant to be the score itself, the target is wrong"
        )
        return Naming(INCONCLUSIVE, text, pattern)
    return Naming(FAIL, f"wrong target: the target is {target}, it should be -eps/sigma", pattern)


POWERS = {  # of sigma, of the target beside the right one
    (("sigma", 1),): "-eps",
    (("sigma", 2),): "-sigma eps = x - x~",
    (("sigma", -1),): "-eps/sigma^2",
    (("sigma", -2),): "-eps/sigma^3",
}


def _of_noise(r, objective):
    """The diagnosis of a target R times -eps/sigma."""
    what = f"-eps/sigma = ({'c ' * bool(np.any(r.c != 1))}x - x~)/sigma^2"
    R = factor(-r.p * r.sigma, r.levels, r.rtol)
    B = factor(r.w if objective == "denoising" else r.w / r.sigma**2, r.levels, r.rtol)
    powers, rtol = tuple(R.powers.items()), max(r.rtol, 1e-6)
    signs = np.sign(-r.p)
    if np.ptp(signs) and np.allclose(np.abs(r.p * r.sigma), 1, rtol=rtol):
        return f"sign of some targets: at {np.mean(signs < 0):.0%} of the points the target is minus {what}, at the others it is that (x + sigma eps and x - sigma eps with one target?){whole_loss(B)}"
    told = POWERS.get(powers)
    if not (R.known and told and abs(abs(R.c) - 1) <= rtol):
        return wrong_target(R, B, what, rtol)
    sign, at = told if R.c > 0 else told.removeprefix("-") + " (and its sign is wrong)", ""
    if objective == "multilevel_denoising" and powers in ((("sigma", 2),), (("sigma", -2),)):
        square, product = factor(r.w, r.levels, r.rtol).text, factor(r.w * -r.p * r.sigma, r.levels, r.rtol).text
        at = f" (or weight at one term: the weight of a level is {square} at the square of the score, {product} at the product with the noise)"
    return f"scale of the target: the target is {sign} instead of {what}{whole_loss(B)}{at}"


def in_words(r):
    """p eps + q x in words."""
    out = ""
    for values, word in ((r.p, "eps"), (r.q, "x")):
        if np.any(np.abs(values) > max(r.rtol, COARSEST) * r.size):
            one_sign = np.all(values >= 0) or np.all(values <= 0)
            text = factor(np.abs(values) if one_sign else values, r.levels, r.rtol).text
            out += f" {'-' if one_sign and values[0] < 0 else '+'} {word if text == '1' else f'{text} {word}'}"
    return out.removeprefix(" + ").replace(" - ", "-", 1) if out.startswith(" -") else out.removeprefix(" + ")


# ------------------------------------------------------------------------------- weights and kernels


def weights(r):
    """Notes on how levels are weighted beside the reference's sigma^2, and on the factor that is left."""
    W = factor(r.w, r.levels, r.rtol)
    if not W.known:
        some = np.unique(np.round(np.stack([r.sigma, r.w], axis=1), 6), axis=0)[::-1][:4]
        text = f"{', '.join(f'{w:.4g}' for w in some[:, 1])} at sigma = {', '.join(f'{s:.4g}' for s in some[:, 0])}"
        return (f"another convention: the weights of the levels follow no law known here ({text}); {COMPROMISE}",)
    powers, out = {name: W.powers.get(name, 0.0) for name in ("sigma", "c")}, []
    weight = r.sigma ** powers["sigma"] * r.c ** powers["c"]
    if powers != {"sigma": 2.0, "c": 0.0} or W.form:
        word = factor(weight, r.levels, 1e-9).text if not W.form else W.text
        out.append(f"another convention: the weight of a level is {word}, the reference's is sigma^2; {COMPROMISE}")
    rest = factor(r.w / weight, r.levels, r.rtol)
    return tuple(out) if rest.one or W.form else (*out, conversion(rest, "multilevel_denoising"))


def kernel_note(c, sigma):
    """What the noisy points are, if they are not x + sigma eps, and how scores convert; () otherwise."""
    if np.all(c == 1):
        return ()
    one = np.ptp(sigma) <= 1e-6  # of which any path goes through
    if not one and np.allclose(c**2 + sigma**2, 1):
        form = "sqrt(1 - sigma^2) (variance preserving)"
    elif not one and np.allclose(c + sigma, 1):
        form = "1 - sigma (a straight line from data to noise)"
    elif not one and np.allclose(c**2 + sigma, 1):
        form = "sqrt(1 - sigma), so that sigma = 1 - c^2 (sub-VP, or a variance in place of its root)"
    else:
        far = c[np.abs(c - 1).argmax()]
        digits = f"{far:.{6 if abs(far - 1) > 1e-6 else 12}g}"
        form = f"between {c.min():.6g} and {c.max():.6g}" if np.ptp(c) > 1e-6 else digits
    note = f"another convention: the noisy points are x~ = c x + sigma eps with c = {form}; a score learnt there is that of x~, and the score of x + (sigma/c) eps at y is c s(c y)"
    return (note,)
