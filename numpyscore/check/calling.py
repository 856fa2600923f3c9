"""Calling a user's loss on a probe: which extra arguments it takes, which random numbers it used, and what it returned."""

import contextlib
import inspect
import sys
from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import (
    derivative_in,
    dtype_name,
    framework,
    model_with_parameter,
    same_randomness,
    source,
    to_numpy,
    wrapper,
)
from ..objectives import OBJECTIVES
from .probes import Asked
from .terms import Situation

NOISE = ("noise", "eps", "epsilon", "z")
NAMES = {  # what a parameter of a loss is called -> what it is given
    "alpha": ("alpha", "alpha_bar", "alphas_bar", "alpha_cumprod", "alphas_cumprod", "abar", "a_bar"),
    "t": ("t", "time", "times"),
    "sigma": ("sigma", "std", "noise_std", "noise_scale", "noise_level", "sigma_n"),
    "alphas": ("alphas", "alpha_bars", "alphas_cumprod", "alphas_bar", "alpha_bar", "abar"),
    "level": ("level", "labels", "label", "idx", "indices", "index"),
    "sigmas": ("sigmas", "levels", "noise_levels", "stds"),
    "noise": NOISE,
    "step": ("eps", "epsilon", "step", "step_size", "delta"),
    "v": ("probes", "probe", "v", "vectors", "projections", "directions", "slices"),
    "n_probes": ("n_probes", "num_probes", "n_projections", "num_projections", "n_slices", "num_slices", "n_vectors", "n_particles"),
    "target": ("target_score", "target", "score_target", "data_score"),
    "h": ("h",),
    "h_prime": ("h_prime", "dh", "h_dash"),
    "source": ("rng", "key", "generator", "seed"),
}  # fmt: skip


class Setting(NamedTuple):
    """One group of calls: sizes, level, data and random numbers stay, the probe changes.

    A loss is told `level`; the noisy points of a denoising loss are scale x + sigma eps, as far as that is known.
    """

    n: int
    d: int
    sigma: Any  # () or (k, n, 1)
    m: int
    seed: int
    x: np.ndarray
    extras: dict
    level: float = 1.0
    scale: Any = 1.0  # () or (k, n, 1)
    measured: bool = False  # sigma is known by statistics alone
    levels: int = 1


class Answer(NamedTuple):
    """What a loss said for one probe, and what the call was about."""

    value: float
    situation: Situation | None
    noisy: str  # "", or why the random numbers of this call are not known
    slope: float | None = None  # derivative in the scale of the probe, by the user's framework


class LossCaller:
    """The user's loss behind numbers."""

    def __init__(self, where, loss, objective, wrap, known, said=None):
        if not callable(loss):
            raise TypeError(f"{where}: loss is {loss!r}, expected a function loss(fn, x, ...).")
        self.where, self.loss, self.objective, self.known = where, loss, objective, known
        self.make = wrapper(where, wrap)
        self.kind = framework(self.make(np.zeros(1)))
        self.takes = _signature(where, loss, objective)
        self.numbers = {name: value for name, (_, value) in OBJECTIVES[objective].numbers.items()}
        self.way: Any = None
        self.uncompiled = False  # jax without jit, where nothing else shows the probe its numbers
        self.calls, self.came, self.notes = 0, "", set()
        self.interleaved = (
            False  # several noisy points of a row follow each other, instead of the batch again and again
        )
        self.told: np.ndarray | None = None  # (k, n), what fn was told beside its points in the last call
        self.said = said  # what fn is meant to be, if the user said so
        self.as_score = False  # the loss calls fn.score(x), so fn is no prediction of something else
        self.eps = float(np.finfo(float).eps)

    @property
    def free(self):
        """Whether fn may be a model of something else than the score: it is called as fn(x), and was not said to be one."""
        return not self.as_score and self.said != "score"

    def forget(self):
        """Find out anew how the loss wants its arguments."""
        self.way = None

    # ---- one call

    def ask(self, probe, setting, slope=False):
        """The `Answer` of the loss for a probe; raises what the loss raises."""
        errors = []
        for way in [self.way] if self.way else _ways(self.kind):
            try:
                answer = self._ask(probe, setting, way, slope)
            except Exception as error:
                if self.way:
                    raise
                errors.append(error)
                continue
            self.way = way
            return answer
        raise errors[0]

    def _ask(self, probe, setting, way, slope):
        kind = self.kind
        make = (lambda a: self.make(np.asarray(a, np.float32))) if way["single"] else self.make
        given = self._given(setting, make, way)
        asked = Asked(probe, make)

        def run(scale):
            asked.points.clear()
            asked.told.clear()
            x = make(setting.x)
            if way["gradient"]:
                x = x.requires_grad_(True)
            asked.scale = scale
            model = asked if kind not in ("torch",) else model_with_parameter(asked.of, scale, kind)
            with same_randomness(setting.seed), _uncompiled(kind) if self.uncompiled else contextlib.nullcontext():
                value = _first(self.loss(model, x, *given[0], **given[1]))
            left = setting.x if kind == "jax" else to_numpy(x)  # jax arrays cannot be changed, and may be traced
            if not np.array_equal(left, setting.x.astype(left.dtype)):
                self.notes.add("the loss changes x in place; let it work on a copy")
            return model, value

        one = make(np.asarray(1.0)) if kind in ("torch", "jax") else None
        self.calls += 1
        if slope and kind == "torch":
            model, value = run(one)
            return Answer(self._number(value, setting), None, "", _torch_slope(model, value))
        if slope and kind == "jax":
            return Answer(np.nan, None, "", derivative_in(lambda scale: _mean_of(run(scale)[1], setting.n), one, "jax"))
        _, value = run(one)
        situation, noisy = self._situation(probe, setting, asked)
        self.as_score = asked.as_score
        return Answer(self._number(value, setting), situation, noisy)

    def _given(self, setting, make, way):
        """Positional and keyword arguments beyond fn and x."""
        values = {name: value for name, value in setting.extras.items() if name in self.takes}
        positional, named = [], {}
        for name, (parameter, how) in self.takes.items():
            if name == "source":
                value = source(parameter, setting.seed, self.kind)
            elif name == "n_probes":
                value = setting.m
            elif name in ("sigma", "alpha", "t"):
                value = 1 - setting.level**2 if name == "alpha" else setting.level
                value = value if way["plain"] else make(np.asarray(value))
            elif name == "step":
                value = self.known["step"]
            elif name in self.numbers:
                value = self.numbers[name]
            elif name == "level":
                value = self.make(values[name])  # integers, in single precision too
            elif name == "alphas":
                value = make(1 - setting.extras["sigmas"] ** 2)
            else:
                value = make(values[name])
                if name == "v" and setting.m == 1:
                    value = make(values[name][0])
            if how == "positional":
                positional.append(value)
            else:
                named[parameter] = value
        return positional, named

    def _number(self, value, setting):
        """The loss as one number: itself, or the mean of one number per sample."""
        self.came = dtype_name(value)
        a = to_numpy(value, f"{self.where}: what the loss returned").real
        if a.dtype.kind == "f" and a.dtype.itemsize < 8:
            self.eps = max(self.eps, float(np.finfo(a.dtype).eps))
        if a.size != 1:
            per_sample = a.shape in ((setting.n,), (setting.n, 1))
            shape = "(n,)" if per_sample else str(a.shape)
            self.notes.add(f"the loss returns an array {shape} instead of a number: its mean was checked")
        return float(np.mean(a, dtype=float))

    # ---- what it was about

    def _situation(self, probe, setting, asked):
        """The `Situation` of a call, from what was given and from where the probe was asked."""
        x, extras = setting.x, setting.extras
        q = Situation(probe, x, x[None], numbers=self.numbers)
        if self.objective == "explicit":
            return q._replace(target=extras["target"]), ""
        if self.objective == "generalised":
            return q._replace(h=extras["h"], h_prime=extras["h_prime"]), ""
        blocks = _blocks(asked.points, x, self.interleaved)
        if self.objective in ("denoising", "multilevel_denoising"):
            return self._noise(q, setting, asked, blocks)
        if self.objective in ("sliced", "finite_difference_sliced"):
            v = extras["v"] if "v" in self.takes else None
            if self.objective == "finite_difference_sliced":
                q = q._replace(step=self.known["step"])
                if v is None:
                    v, step = _as_far(_steps(blocks, x, q.step), q.step)
                    q = q._replace(step=step)
            return q._replace(v=v), "" if v is not None else "hidden"
        return q, ""

    def _noise(self, q, setting, asked, blocks):
        """Where the noisy points are and what was added to get there."""
        x = setting.x
        if blocks is None or not blocks:
            if "noise" not in self.takes:
                return q, "unseen"
            shift = setting.sigma * setting.extras["noise"][None]
            return q._replace(at=setting.scale * x + shift, shift=shift, sigma=setting.sigma), ""
        noisy = [k for k, b in enumerate(blocks) if np.abs(b - x).max() > 1e-3 * np.min(setting.sigma)]
        moved, told = [blocks[k] for k in noisy], _told(asked, x, self.interleaved)
        self.told = None if told is None or len(told) <= max(noisy, default=-1) else told[noisy]
        if not moved:
            if "noise" in self.takes:
                shift = setting.sigma * setting.extras["noise"][None]
                return q._replace(at=x[None], shift=shift, sigma=setting.sigma), "clean"
            return q, "clean"
        at = np.stack(moved)
        fits = np.ndim(setting.scale) == 0 or setting.scale.shape[:1] == at.shape[:1]
        if not fits:
            return q, "unseen"
        weight = setting.sigma**2 if self.objective == "multilevel_denoising" and np.ndim(setting.sigma) == 0 else 1.0
        return q._replace(at=at, shift=at - setting.scale * x, sigma=setting.sigma, weight=weight), ""


def _ways(kind):
    """How a loss may want its arguments: plain numbers or arrays of one; points that require a gradient; single precision."""
    flags = (
        [(False, True), (True, True), (False, False), (True, False)]
        if kind == "torch"
        else [(False, True), (False, False)]
    )
    ways = [{"gradient": g, "plain": p, "single": False} for g, p in flags]
    return ways + ([{**way, "single": True} for way in ways] if kind != "numpy" else [])


def _signature(where, loss, objective):
    """{what: (parameter, "positional" or "named")} of the parameters beyond fn and x that a loss is to be given."""
    try:
        parameters = list(inspect.signature(loss).parameters.values())
    except (TypeError, ValueError):
        return {}
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise TypeError(
            f"{where}: loss takes {len(positional)} positional arguments, expected loss(fn, x, ...): the model, and the data."
        )
    rest = positional[2:] + [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    out: dict[str, tuple[str, str]] = {}
    row = OBJECTIVES[objective]
    names = NAMES | {name: called for name, (called, _) in row.numbers.items()}
    wanted = [*row.numbers, *row.takes, "source"]
    natural = [*row.numbers, *row.takes[: row.first]]
    for p in rest:
        what = next((name for name in wanted if p.name in names[name] and name not in out), None)
        if what is None and natural and natural[0] not in out and p.default is p.empty and p.kind is not p.KEYWORD_ONLY:
            what = natural[0]
        if what is None and objective == "generalised" and p.default is p.empty:
            what = next((name for name in natural if name not in out), None)
        if what is None and p.default is p.empty:
            known = ", ".join(name for key in wanted for name in names[key])
            raise TypeError(
                f"{where}: loss has a parameter {p.name!r} that means nothing to the objective {objective!r}, expected loss(fn, x) and any of {known}. "
                f"Put a function around it that fixes {p.name}: lambda fn, x: loss(fn, x, {p.name}=...)."
            )
        if what is not None:
            out[what] = (p.name, "positional" if p.kind is p.POSITIONAL_ONLY else "named")
    if missing := [name for name in row.numbers if name not in out]:
        raise ValueError(
            f"{where}: loss does not take {missing[0]}, a number that the objective {objective!r} depends on; let it take it: "
            f"loss(fn, x, {missing[0]})."
        )
    return out


def _first(value):
    """A loss that comes with other things: the first of a tuple, `loss` of a record or dict."""
    if hasattr(value, "loss") and not hasattr(value, "detach"):
        return value.loss
    if isinstance(value, dict):
        return value.get("loss", next(iter(value.values()), None))
    return value[0] if isinstance(value, tuple | list) and len(value) else value


def _mean_of(value, n):
    return value if getattr(value, "ndim", 0) == 0 else value.mean()


def _torch_slope(model, value):
    """d value / d scale of the probe, 0 where no gradient arrives; None if the loss is a plain number."""
    if not hasattr(value, "backward"):
        return None
    if not value.requires_grad:
        return 0.0
    model.scale.grad = None
    value.mean().backward()
    return 0.0 if model.scale.grad is None else float(model.scale.grad)


def _uncompiled(kind):
    """jax without jit, so that a probe sees numbers."""
    jax = sys.modules.get("jax")
    return jax.disable_jit() if kind == "jax" and jax is not None else contextlib.nullcontext()


def _blocks(points, x, interleaved=False):
    """The distinct (n, d) blocks of points that a probe was asked at, in order; None if some were hidden or do not fit.

    Several points for each row may come as the batch again and again, or `interleaved`: all points of the first row, of the second, ...
    """
    n, d = x.shape
    if any(p is None or p.shape[-1:] != (d,) for p in points):
        return None
    rows = [np.asarray(p.real, float).reshape(-1, d) for p in points]
    if not rows:
        return []
    flat = np.concatenate(rows)
    if len(flat) % n:
        return None
    out: list = []
    for block in flat.reshape(n, -1, d).swapaxes(0, 1) if interleaved else flat.reshape(-1, n, d):
        if not any(np.array_equal(block, b) for b in out):
            out.append(block)
    return out


def _steps(blocks, x, step):
    """Directions v (m, n, d) of the points x + step v that were asked; one of each pair x +- step v."""
    moved = [(b - x) / step for b in blocks or [] if np.abs(b - x).max() > 1e-9]
    out: list = []
    for v in moved:
        if not any(np.allclose(v, -w, atol=1e-9 * np.abs(v).max()) for w in out):
            out.append(v)
    return np.stack(out) if out else None


def _as_far(v, step):
    """Directions on a sphere, whatever its radius, as those with |v|^2 = d, and the step that goes as far: (v, step)."""
    if v is None:
        return v, step
    length = np.linalg.norm(v, axis=-1) / np.sqrt(v.shape[-1])
    if np.ptp(length) > 1e-6 * length.max():
        return v, step
    return v / length.mean(), step * length.mean()


def _told(asked, x, interleaved):
    """What fn was told beside each distinct block of points (k, n); None if nothing, or nothing with one number per row."""
    n, d = x.shape
    points, told = [], []
    for p, more in zip(asked.points, asked.told, strict=True):
        if p is None or p.shape[-1:] != (d,):
            return None
        rows = p.size // d
        value = next((np.asarray(t).reshape(-1) for t in more if t is not None and np.size(t) in (1, rows)), None)
        if value is None or value.dtype.kind not in "fiu":
            return None
        points.append(np.asarray(p.real, float).reshape(rows, d))
        told.append(np.broadcast_to(value.astype(float), (rows,)))
    if not points or sum(map(len, points)) % n:
        return None
    flat, values = np.concatenate(points), np.concatenate(told)
    blocks = flat.reshape(n, -1, d).swapaxes(0, 1) if interleaved else flat.reshape(-1, n, d)
    table = values.reshape(n, -1).T if interleaved else values.reshape(-1, n)
    first = [k for k, b in enumerate(blocks) if not any(np.array_equal(b, e) for e in blocks[:k])]
    return table[first]
