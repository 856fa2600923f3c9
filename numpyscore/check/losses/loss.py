"""Is a loss the score-matching loss that it is meant to be, and if not, which of its terms is wrong?

**Hear** where the user's loss asks its model and which random numbers it draws; **identify** it as a function of what the model answers;
**read** off what it is. Everything is done in several trials of other n, d and noise level, so that factors show themselves as 1/n or 1/d; and for
fn an energy and for fn a score, if nobody says which.
"""

import contextlib
import itertools
import pathlib
import traceback
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...common.inputs import generator, positive
from ...densities.weights import linear_weight
from ...objectives import OBJECTIVES
from ..report import FAIL, INCONCLUSIVE, PASS, CheckReport
from .denoising import PARAMETRISATIONS
from .identify import random_probe
from .names import COARSEST, LINEAR, SQUARE, Naming, levels_of, name_parts
from .noise import denoised
from .observe import LossCaller, Setting
from .patterns import bent
from .plain import of_terms

ALIASES = {alias: name for name, row in OBJECTIVES.items() for alias in row.aliases}
# (n, d), n even and never d: powers of n, d, sigma, m tell themselves apart
SIZES = ((4, 2), (6, 3), (2, 4), (8, 3), (6, 2))
NOISY = ((4, 3), (2, 4), (6, 3), (4, 5), (2, 5))  # with three dimensions p eps + q x is more than any vector
SEVERAL = ((8, 3, 3), (4, 4, 4), (6, 3, 4))  # (n, d, levels)
LEVELS = (0.5, 0.8, 0.3, 0.65, 0.8)  # below 1: a variance-preserving loss takes 1 - sigma^2
COUNTS = (1, 2, 3, 1, 2)
# a weight whose derivative is no constant, for losses that are told both
CURVED = ((lambda x: x + x**2 / 4), (lambda x: 1 + x / 2))
LARGEST = 256  # numbers in a sample
STEP = 0.05
HERE = str(pathlib.Path(__file__).parents[2])
PRONOUN = {"energy": "an", "score": "a"}
PREDICTS = ("score", *dict.fromkeys(row.key for row in PARAMETRISATIONS if " " not in row.key and row.key != "edm"))


def check_loss(
    loss, *, objective, wrap=None, sigma=None, rng=0, model=None, weight=None, step=STEP,
    predicts=None, score_of=None, levels=None, kernel=None, shape=None, condition=None,
):  # fmt: skip
    r"""Is this the loss that it is meant to be, up to a factor and a constant, and if not, what is wrong with it?

    Parameters
    ----------
    loss : callable loss(fn, x, ...) -> number, or one number per sample
        In the user's framework, a function or a torch module. fn is the model, an energy (..., d) -> (...) or a score (..., d) -> (..., d), to be called like a network
        (in NumPy also fn.energy(x), fn.score(x), fn.trace(x), fn.jacobian(x), fn.curvature(x, v), fn.jvp(x, v)); x is (n, d). Whatever the
        objective needs beyond is passed by name if the loss takes it: target_score; h, h_prime; sigma,
        noise (unit normals), alpha (1 - sigma^2), t (a time in (0, 1)), numbers, or arrays with one for each row if the loss takes it so;
        sigmas or alphas, level (of each row, an index); probes, n_probes; eps (the step of differences); lam (of a regularised loss; of one that does not take it that which it has is read off); rng, key, generator or seed. A loss may draw noise and
        probes itself: what NumPy, torch or jax give it is heard.
    objective : str
        "explicit", "implicit", "generalised", "denoising", "multilevel_denoising", "sliced", "finite_difference_sliced", "regularised".
        "sliced" accepts the form with 1/2 |s|^2 and that with 1/2 (v.s)^2.
    wrap : None, "torch", "jax" or callable
        Makes the user's arrays from ndarrays.
    sigma : float, optional
        The level of a denoising loss that does not take sigma itself.
    rng : seed or numpy.random.Generator
        Draws probes, data and noise. The global generators that a loss may use, and those it holds, are seeded, and restored.
    model : None, "energy", "score" or "noise"
        What fn is in this loss, "noise" being a network that predicts the noise; by default whichever the loss takes, and makes sense of.
    weight : (callable, callable), optional
        h and h' of a generalised loss, as functions of x (n, d); default x and 1, and x + x^2/4 for a loss that takes both.
    step : float
        Step that a finite-difference loss takes, or is told.
    predicts : None, "score", "eps", "x", "v" or "velocity"
        What the network of a denoising loss is meant to predict, as the sampler uses it; a target of another kind, or of the wrong sign, is a FAIL.
        A velocity is dx~/dt of the noisy points, as the time goes that the loss is handed or fn is told; a constant times it, and that of points
        scaled to c + sigma = 1 (a network behind a scaled input), are taken for one too.
    score_of : callable score_of(out, y, level) -> score, optional
        How the user's sampler turns fn's answer out (n, d) at y (n, d) into a score; level is what the loss told fn, (n,), or sigma; a number
        where all rows have one and it cannot take it row by row. y is where fn is asked, or y/c, the noisy points before they were scaled; so
        the score may be that of either.
    levels : array, optional
        The schedule of a denoising loss that is given a time: (k,) times that t may take, or (k, 2) with c and sigma of the timesteps 0 ... k - 1,
        which are handed over as integers; the noise of a row must then be that of its timestep.
    kernel : callable level -> (c, sigma), optional
        What x~ = c x + sigma eps is meant to be at the level that the loss is given.
    shape : tuple, optional
        Of one sample, for images and sequences: x is then (n, *shape). At most 256 numbers, each of which is solved for: (3, 8, 8) takes half a
        minute, (3, 4, 4) a second or two.
    condition : dict, optional
        Further keyword arguments, handed on to the loss as they are.

    Returns
    -------
    CheckReport
        PASS for the reference and for another convention of it (the conversion is in the notes): a factor or a constant does not move
        the minimiser. INCONCLUSIVE where the loss hides its random numbers.

    Raises
    ------
    TypeError, ValueError
        If the loss cannot be called, the objective is unknown, or an argument is not what is expected here, or of no use to the objective.

    Notes
    -----
    The noisy points of a denoising loss may be c x + sigma eps with any c (variance preserving, cosine, straight line): c is measured by moving
    x, sigma by the noise that was heard, row by row; the target must be -eps/sigma. Noise may come from two draws (a path with noise of its
    own), and the target may have normals in it that are independent of its point: these only add variance. Errors may be squared along
    drawn directions, or by one matrix: that weighs them. A fn called as fn(x), not as
    fn.score(x), may predict eps, x, v or a velocity instead: the score that follows from it is in the notes. Weights of levels are a convention;
    a level that never turns up, a target or weight with another row's level, and an fn that is told another level than that of its noise are not.

    With torch and jax the derivative in the model's scale is checked too: a detached graph has the right value and the wrong gradient.

    Source: the objectives as in `numpyscore.objectives`.
    """
    where = "check_loss"
    objective = ALIASES.get(objective, objective)
    if objective not in OBJECTIVES:
        raise ValueError(f"{where}: objective is {objective!r}, expected one of {', '.join(OBJECTIVES)}.")
    if model not in (None, "energy", "score", "noise") or (model == "noise" and "denoising" not in objective):
        raise ValueError(
            f"{where}: model is {model!r}, expected 'energy', 'score', for a denoising loss 'noise', or None to find out."
        )
    if predicts is not None and (predicts not in PREDICTS or "denoising" not in objective):
        raise ValueError(
            f"{where}: predicts is {predicts!r}, expected one of {', '.join(PREDICTS)}, for a denoising loss."
        )
    said = {"weight": weight, "score_of": score_of, "levels": levels, "kernel": kernel, "shape": shape, "condition": condition}  # fmt: skip
    _sensible(where, objective, said)
    known = said | {"weight": weight or linear_weight(), "predicts": predicts, "step": positive(where, "step", step)}
    known["sigma"] = sigma
    known["levels"] = None if levels is None else np.asarray(levels)
    caller = LossCaller(where, loss, objective, wrap, known, model, shape, condition)
    if weight is None and {"h", "h_prime"} <= set(caller.takes):
        known["weight"] = CURVED
    caller.weighted = weight is not None or bool({"h", "h_prime"} & set(caller.takes))
    caller.own_step = step == STEP and "step" not in caller.takes
    rng = generator(where, rng)
    settings = _settings(where, caller, rng, None if sigma is None else positive(where, "sigma", sigma))
    said_to_be = "score" if model == "noise" or predicts is not None or score_of is not None else model
    kinds = [said_to_be] if said_to_be else ["energy", "score"]
    return _investigate(where, caller, settings, kinds, rng)


SAYABLE = {  # what the user may say of his loss: for which objectives, what is expected, and whether something is that
    "weight": ("generalised", "a pair of functions (h, h')", lambda v: isinstance(v, tuple | list) and len(v) == 2 and all(map(callable, v))),
    "score_of": ("denoising", "a function score_of(out, y, level)", callable),
    "levels": ("denoising", "times (k,), or c and sigma (k, 2), finite, sigma not below 0", lambda v: _is_schedule(v)),
    "kernel": ("denoising", "a function from a level to (c, sigma)", callable),
    "shape": ("", f"a tuple of positive integers, such as (1, 8, 8), of at most {LARGEST} numbers together, each of which is solved for: the code is the same for small samples", lambda v: _is_shape(v)),
    "condition": ("", "a mapping from names of the loss's arguments", lambda v: isinstance(v, Mapping)),
}  # fmt: skip


def _sensible(where, objective, said):
    """TypeError or ValueError where something is said that is not what is expected, or that the objective has no use for."""
    for name, value in said.items():
        of, expected, holds = SAYABLE[name]
        if value is None:
            continue
        if of not in objective:
            raise ValueError(
                f"{where}: {name} is given for the objective {objective!r}, which has no use for it; it belongs to a {of} loss; leave it out."
            )
        if not holds(value):
            came = " ".join(str(value)[:80].split())
            raise (TypeError if "function" in expected else ValueError)(
                f"{where}: {name} is {came}, expected {expected}."
            )


def _is_shape(shape):
    """Whether this is the shape of a sample that is not too large."""
    sizes = isinstance(shape, tuple | list) and all(isinstance(k, int | np.integer) and k > 0 for k in shape)
    return bool(sizes and len(shape) and np.prod(shape, dtype=float) <= LARGEST)


def _is_schedule(levels):
    """Whether these are times (k,), or c and sigma of the timesteps (k, 2)."""
    try:
        table = np.asarray(levels, float)
    except (TypeError, ValueError):
        return False
    plain = table.ndim == 1 or (table.ndim == 2 and table.shape[1] == 2 and np.all(table[:, 1] >= 0))
    return bool(plain and len(table) and np.all(np.isfinite(table)))


def _settings(where, caller, rng, sigma):
    """The trials that an objective wants."""
    objective, shape = caller.objective, caller.shape
    of_rows = {"level", *({"sigmas", "alphas", "t", "sigma"} if objective == "multilevel_denoising" else ())}
    several = bool(of_rows & caller.takes.keys())
    if objective == "denoising" and not {"sigma", "alpha", "t"} & caller.takes.keys():
        sigma = sigma or 0.5
    sizes = SEVERAL if several else [(*s, 1) for s in (NOISY if "denoising" in objective else SIZES)]
    counts = COUNTS if "n_probes" in caller.takes else (1,) * len(COUNTS)
    dim = int(np.prod(shape)) if shape else None
    return [
        _setting(caller, rng, n, dim or d, L, sigma or s, m)
        for (n, d, L), s, m in zip(sizes, LEVELS, counts, strict=False)
    ]


def _setting(caller, rng, n, d, L, sigma, m):
    """Data and everything else that a loss may take, for one group of calls."""
    known, x = caller.known, 0.3 + 1.2 * rng.standard_normal((n, d))
    sigmas = 0.95 * np.geomspace(1, 0.3, L) * rng.uniform(0.97, 1.0, L) if L > 1 else np.array([sigma])
    extras = {
        "target": rng.standard_normal((n, d)),
        "noise": rng.standard_normal((n, d)),
        "v": rng.choice([-1.0, 1.0], (m, n, d)) * rng.uniform(0.5, 1.5, (m, n, d)),
        "sigmas": sigmas,
        "level": np.concatenate([np.arange(L), rng.integers(0, L, n - L)])[rng.permutation(n)]
        if n >= L
        else rng.integers(0, L, n),
    }
    if caller.objective == "generalised":
        x = np.abs(x) + 0.2
        extras |= {"h": np.array(known["weight"][0](x)), "h_prime": np.array(known["weight"][1](x))}
    level: Any = sigma
    if known["levels"] is not None:
        table = known["levels"]
        index = rng.integers(len(table), size=n)
        level = index if table.ndim == 2 else table[index]
    elif L > 1:  # a loss over several levels that is handed a time or a level for each row
        level = sigmas[extras["level"]]
    return Setting(n, d, m, int(rng.integers(1 << 31)), x, extras, level, L)


class Outcome(NamedTuple):
    """What was found with fn of one kind: the `Naming`, how much sense the loss made, and numbers for machines."""

    kind: str
    naming: Any
    sense: int  # 2: the loss is explained; 1: something is said of it; 0: nothing is
    details: dict

    @property
    def rank(self):
        """What one of several kinds is chosen by."""
        verdict = self.naming.verdict
        return verdict == PASS, self.sense, verdict != FAIL


def _investigate(where, caller, settings, kinds, rng):
    """The `CheckReport` of a loss: with fn an energy and with fn a score, each to the end; no FAIL where one of them is right."""
    errors: dict = {}
    found = []
    # noise for each row, or for each row at each level
    either = settings[0].levels > 1 and "noise" in caller.takes and not {"level", "t", "sigma"} & caller.takes.keys()
    for kind, by_level in itertools.product(kinds, (False, True) if either else (False,)):
        caller.forget()
        noise = lambda s: {"noise": rng.standard_normal((s.levels, *s.x.shape))}
        here = [s._replace(extras=s.extras | noise(s)) for s in settings] if by_level else settings
        try:
            caller.ask(random_probe(kind, settings[0].d, rng), here[0])
        except Exception as error:
            errors.setdefault(kind, error)
            continue
        if caller.way["each"] and not np.ndim(here[0].level):  # rows with levels of their own tell more
            here = [s._replace(level=s.level * rng.uniform(0.6, 1.0, s.n)) for s in here]
        try:
            outcome = _examined(caller, kind, here, rng)
        except Exception as error:  # at another size, or for another model
            text = f"stopped: {'it could be called, and then raised' if _theirs(error) else 'the check itself stopped with'} {type(error).__name__}: {error}"
            outcome = Outcome(kind, Naming(INCONCLUSIVE, text, ""), 0, {})
        found.append((outcome, caller.way, caller.came))
        if outcome.naming.verdict == PASS:
            break
    if not found:
        raise _not_called(where, errors) from next(iter(errors.values()))
    best, caller.way, caller.came = max(found, key=lambda one: one[0].rank)  # the first of equals
    return _report(where, caller, settings, best)


def _theirs(error):
    """Whether an error comes from the user's code: from a file that is no part of a library."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return any("site-packages" not in file and not file.startswith(HERE) for file in files)


def _not_called(where, errors):
    """The ValueError of a loss that could be called with fn of no kind."""
    said = "; ".join(f"with fn {PRONOUN[k]} {k}, {type(e).__name__}: {str(e).rstrip('.')}" for k, e in errors.items())
    return ValueError(
        f"{where}: loss could not be called: {said}. It is called as loss(fn, x, ...) with fn(x) like a network and x (n, d); for "
        f"another interface put a function around it, for other arrays pass wrap=."
    )


def _examined(caller, kind, settings, rng):
    """The `Outcome` of a loss with fn of one kind."""
    kept = again(caller, kind, settings[0], rng)
    if kept is not None:
        return Outcome(kind, kept, 1, {})
    examine = denoised if "denoising" in caller.objective else of_terms
    naming, sense, details = examine(caller, kind, settings, rng)
    if naming.verdict == PASS:
        naming = _controlled(caller, kind, settings, naming, rng, details)
    elif naming.verdict == FAIL and "factors" in details and "direction" not in naming.diagnosis:
        naming = surrogate(caller, kind, settings, details["factors"], rng) or naming
    return Outcome(kind, naming, sense, details)


def _controlled(caller, kind, settings, naming, rng, details):
    """The PASS of a loss, or what the questions for every loss find."""
    if any(note.startswith("right up to") for note in naming.notes):  # judged at the precision of its coarsest part
        caller.eps = max(caller.eps, float(np.finfo(np.float32).eps))
    return bent(caller, kind, settings[0], rng) or graph(caller, kind, settings, rng) or naming


def again(caller, kind, setting, rng):
    """The `Naming` of a loss that says something else when the same is asked again; None if it says the same."""
    probe, other = random_probe(kind, setting.d, rng), random_probe(kind, setting.d, rng)
    rolled = {"level": np.roll(setting.extras["level"], 1)}
    between = setting._replace(seed=setting.seed + 1, extras=setting.extras | rolled)
    if caller.kind == "jax":  # which keeps nothing, and compiles anew where it is not asked for values alone
        ((first,), _, (last,)), told = (caller.values([p], setting) for p in (probe, other, probe)), []
    else:
        calls = [caller.ask(p, s) for p, s in ((probe, setting), (other, between), (probe, setting))]
        first, last = calls[0].value, calls[2].value
        told = [c.told for c in calls[::2] if c.told is not None]
        at = [c.points for c in calls[::2]]
    if len(told) == 2 and not np.array_equal(*told) and np.array_equal(*at):
        text = "state: after another call, with other levels, fn is told another level beside the same points; it is told what an earlier call has left"
        return Naming(FAIL, text, f"told {told[0][0]:.4g} first, {told[1][0]:.4g} after another call")
    if not np.isfinite(first + last) or abs(first - last) <= 1e3 * caller.eps * max(abs(first), abs(last)):
        return None
    steps = np.diff(caller.values([probe] * 10, setting))
    size = np.abs(steps)
    calm = np.all(np.diff(size) <= 0) and size[-1] <= 0.1 * size[0]
    # random numbers would go up and down, and not come to rest
    if calm or np.all(steps >= 0) or np.all(steps <= 0):
        text = "state: the same call with the same random numbers gives another value; something is kept from call to call (a running average, a counter, a list that grows?)"
        return Naming(FAIL, text, f"{first:.9g} first, {last:.9g} after another call")
    cure = "let the loss take rng= (or key, generator, noise, probes)"
    if "source" in caller.takes:
        cure = f"it takes {caller.takes['source'][0]}, and draws from something else: let it draw from that alone"
    text = f"hidden randomness: asked again it gives another value, whatever is seeded: it draws numbers that no seed holds, or keeps something from call to call; {cure}"
    return Naming(INCONCLUSIVE, text, f"{first:.9g} first, {last:.9g} when the same was asked again")


def _flows(caller, kind, settings, rng):
    """How much of the linear part and of the square of the value the derivative in the model's scale has, (2,), whether that and a constant are all of it, and whether there is one; None without a derivative.

    Linear part and square of the value are those of 0, 1 and 2 times the model: nothing need be known of the loss.
    """
    rows, slopes = [], []
    for setting in settings[:2]:
        for _ in range(3):
            probe = random_probe(kind, setting.d, rng)
            slope = caller.ask(probe, setting, slope=True).value
            if slope is None:
                return None
            zero, one, two = caller.values([probe.scaled(c) for c in (0.0, 1.0, 2.0)], setting)
            square = (two - 2 * one + zero) / 2
            rows.append((one - zero - square, 2 * square, abs(one) + abs(two) + abs(zero)))
            slopes.append(slope)
    y, A, size = np.array(slopes), np.array(rows)[:, :2], np.array(rows)[:, 2]
    allowed = 2e4 * caller.eps * (np.abs(A).sum(1) + size)  # row by row: large terms must not hide the others
    for B in (A, np.column_stack([A, np.ones(len(A))])):
        c = np.linalg.lstsq(B, y, rcond=None)[0]
        rest = c[2] if len(c) > 2 else 0.0
        c = np.ones(2) if np.all(np.abs(y - rest - A.sum(1)) <= allowed) else c[:2]
        if whole := bool(np.all(np.abs(y - rest - A @ c) <= allowed)):
            break
    return c, whole, bool(rest) and whole


def graph(caller, kind, settings, rng):
    """A FAIL if the derivative in the model's scale, by the user's framework, is not that of the value: a graph that is cut."""
    if caller.kind not in ("torch", "jax"):
        return None
    try:
        found = _flows(caller, kind, settings, rng)
    except Exception as error:
        why = str(error).split(". ")[0].split("\n")[0]
        text = f"no gradient: the value cannot be differentiated in the parameters, {type(error).__name__}: {why} (create_graph=True is missing, a value that is a plain number?)"
        return Naming(FAIL if caller.kind == "torch" else INCONCLUSIVE, text, "the derivative of the value raises")
    if found is None:
        text = "graph detached: the loss returns a plain number (.item()?): its value is right, and nothing can be trained with it"
        return Naming(INCONCLUSIVE, text, "no graph") if caller.kind == "torch" else None
    (c, whole, more), linear = found, LINEAR[caller.objective]
    if more:
        caller.notes.add(
            "its gradient has a part that depends on the parameters alone (a weight decay?), which is not looked at"
        )
    if whole and np.all(c == 1):
        return None
    if whole and c[0] > 0 and np.isclose(c[0], c[1], rtol=1e-6):
        caller.notes.add(f"its gradient in the parameters is {c[0]:.6g} times that of its value")
        return None
    pattern = f"d loss / d scale = {c[0]:.6g} x [{linear}] + {c[1]:.6g} x [square] of what the value says"
    if not whole:
        pattern = "d loss / d scale is no sum of multiples of the linear and the quadratic part of the value"
        text = "wrong gradient: the value is right, its gradient in the parameters is not that of the value (something is detached: a term, a weight, a factor of the score?)"
    elif all(off := [abs(v) < 1e-3 for v in c]):
        text = "graph detached: no gradient reaches the parameters; the loss has the right value and cannot be trained (detach, no_grad, stop_gradient, .item(), create_graph=False?)"
    elif any(off):
        term = linear if off[0] else "square"
        text = f"graph detached: no gradient flows through the {term}; the value is right, training ignores that term (create_graph=True is missing, or something is detached?)"
    else:
        text = f"wrong gradient: the value is right, but its gradient has {c[0]:.4g} times the {linear} and {c[1]:.4g} times the square (a factor of the score is detached?)"
    return Naming(FAIL, text, pattern)


SURROGATE = "the value is not that of the objective, its gradient in the parameters is (a factor of the score is detached): right for training, not as a number"


def surrogate(caller, kind, settings, factors, rng):
    """The PASS of a loss whose terms have the wrong factors in its value, by the user's framework the right ones in its gradient; None of others.

    Of a loss along directions their law is another question, which must be answered before.
    """
    if caller.kind not in ("torch", "jax") or set(factors) != {SQUARE, LINEAR[caller.objective]}:
        return None
    found = None
    with contextlib.suppress(Exception):
        found = _flows(caller, kind, settings, rng)
    if found is None or not found[1] or np.all(found[0] == 1):
        return None
    parts = {name: np.asarray(f) * found[0][int(name == SQUARE)] for name, f in factors.items()}
    naming = name_parts(caller.objective, parts, levels_of(settings), COARSEST)
    return naming._replace(notes=(*naming.notes, SURROGATE)) if naming.verdict == PASS else None


def _report(where, caller, settings, outcome):
    kind, naming, _, details = outcome
    n, d = [sorted({getattr(s, size) for s in settings}) for size in ("n", "d")]
    L = sorted({s.levels for s in settings})
    several = f", {L[0]}-{L[-1]} levels" if L[-1] > 1 else ""
    summary = f"{caller.objective} with fn {PRONOUN[kind]} {kind}{several}, n {n[0]}-{n[-1]}, d {d[0]}-{d[-1]}, {caller.came} out, {caller.calls} calls"
    resolution = max(naming.resolution, COARSEST) if np.isfinite(naming.resolution) else np.nan
    notes = (*naming.notes, *sorted(caller.notes))
    if "32" in caller.came or "16" in caller.came:
        unseen = f": errors below {resolution:.0e} stay unseen" * bool(np.isfinite(resolution))
        notes += (f"the loss comes back in {caller.came}{unseen}",)
    return CheckReport(
        where, naming.verdict, summary, None, naming.pattern, naming.diagnosis, resolution, notes, details
    )
