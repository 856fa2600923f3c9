"""Calling a user's loss on a probe: which extra arguments it takes, where it asked, which random numbers it drew, and what it returned."""

import contextlib
import random
import sys
from typing import Any, NamedTuple

import numpy as np

from ...common.arrays import bare, derivative_in, dtype_name, framework, model_with_parameter, source, to_numpy, wrapper
from ...common.callables import parameters_of
from ...objectives import OBJECTIVES
from ..functions import UNITS
from .hearing import GIVEN, Draw, generator, generators_of, listening, numbers_of, repeating
from .identify import Asked, random_probe

NAMES = {  # what a parameter of a loss is called -> what it is given
    "alpha": ("alpha", "alpha_bar", "alphas_bar", "alpha_cumprod", "alphas_cumprod", "abar", "a_bar"),
    "t": ("t", "time", "times", "timestep", "timesteps"),
    "sigma": ("sigma", "std", "noise_std", "noise_scale", "noise_level", "sigma_n"),
    "alphas": ("alphas", "alpha_bars", "alphas_cumprod", "alphas_bar", "alpha_bar", "abar"),
    "level": ("level", "labels", "label", "idx", "indices", "index"),
    "sigmas": ("sigmas", "levels", "noise_levels", "stds"),
    "noise": ("noise", "eps", "epsilon", "z", "x0", "x_0"),
    "step": ("eps", "epsilon", "step", "step_size", "delta"),
    "v": ("probes", "probe", "v", "vectors", "projections", "directions", "slices"),
    "n_probes": ("n_probes", "num_probes", "n_projections", "num_projections", "n_slices", "num_slices", "n_vectors", "n_particles"),
    "target": ("target_score", "target", "score_target", "data_score"),
    "h": ("h",),
    "h_prime": ("h_prime", "dh", "h_dash"),
    "source": ("rng", "key", "generator", "seed"),
}  # fmt: skip
ARRAYS = {
    "noise",
    "v",
    "target",
    "h",
    "h_prime",
    "sigmas",
    "alphas",
    "level",
}  # what has a number by default is none of them
TWICE = "right only for a network that answers alike: fn is asked at the same points with different levels (or labels) told beside them"
LEVELS_TOO = ("t", "sigma")  # what a loss over several levels may take for each row, besides its schedule


class Setting(NamedTuple):
    """One group of calls: sizes, data and random numbers stay, the probe changes. `level` is what a loss is told."""

    n: int
    d: int
    m: int
    seed: int
    x: np.ndarray
    extras: dict
    level: Any = 1.0
    levels: int = 1


class Call(NamedTuple):
    """What a loss said for one probe, where it asked (M, d) and what it told fn there (M,), and what it drew."""

    value: float
    points: np.ndarray | None
    told: np.ndarray | None
    draws: tuple = ()
    beside: np.ndarray | None = None  # (M, k), all that it told there


class LossCaller:
    """The user's loss behind numbers."""

    def __init__(self, where, loss, objective, wrap, known, said=None, shape=None, condition=None):
        if not callable(loss):
            raise TypeError(f"{where}: loss is {loss!r}, expected a function loss(fn, x, ...).")
        self.where, self.loss, self.objective, self.known = where, loss, objective, known
        self.shape, self.condition = shape, condition or {}
        self.make = wrapper(where, wrap)
        self.kind = framework(self.make(np.zeros(1)))
        self.takes = _signature(where, loss, objective, self.condition)
        self.numbers = {name: value for name, (_, value) in OBJECTIVES[objective].numbers.items()}
        self.said = said  # what fn is meant to be, if the user said so
        self.held = generators_of(loss)
        self.way: Any = None
        self.uncompiled = self.unseeded = False
        self.traces = True  # whether jax compiles it with all that is to be heard of it
        self.hidden = False  # where it is compiled, the points at which it asks fn
        self.calls, self.came, self.notes = 0, "", set()
        self.as_score = False  # the loss calls fn.score(x), so fn is no prediction of something else
        # which of the numbers that fn is told is taken for the level; None if it is none of them
        self.column: int | None = 0
        self.weighted = self.own_step = False  # whether a weight was said or is taken, and a step is neither
        self.unread = False  # whether something else is told beside, such as an embedding of the level
        self.eps = float(np.finfo(float).eps)
        self.compiled: dict[tuple, CompiledLoss] = {}

    @property
    def free(self):
        """Whether fn may be a model of something else than the score: it is called as fn(x), and was not said to be one."""
        return not self.as_score and self.said != "score"

    def forget(self):
        """Find out anew how the loss wants its arguments."""
        self.way, self.compiled, self.hidden = None, {}, False

    # ---- one call

    def ask(self, probe, setting, slope=False):
        """The `Call` of the loss for a probe; raises what the loss raises."""
        errors = []
        for way in [self.way] if self.way else _ways(self.kind, bool({"sigma", "alpha", "t"} & self.takes.keys())):
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
        if self.way and (compiled := self._compiled(setting, probe.kind)) is not None:
            try:
                return compiled.call(probe, setting, slope)
            except Exception:
                # it asks fn within a function that it compiles itself; or it wants numbers, or leaves jax
                self.hidden, self.traces, self.compiled = True, not self.hidden, {}
                return self._ask(probe, setting, way, slope)
        asked = Asked(probe, self.maker(way), self.shape)
        one = self.make(np.asarray(1.0)) if self.kind in ("torch", "jax") else None
        self.calls += 1
        with listening(self.held, setting.seed, self.kind) as ear:
            if slope and self.kind == "jax":
                mean = lambda scale: mean_of(self.run(asked, setting, way, scale, ear)[1], setting.n)
                return Call(float(derivative_in(mean, one, "jax")), None, None)
            model, value = self.run(asked, setting, way, one, ear)
            if slope:
                return Call(_torch_slope(model, value), None, None)
        self.unseeded |= ear.unseeded
        self.as_score = asked.as_score
        return self.called(value, setting, asked.points, asked.told, ear.draws)

    def called(self, value, setting, points, told, draws):
        """The `Call` of a value, of the points where fn was asked and what it was told there, and of the draws."""
        given = [Draw(name, setting.extras[what]) for what, name in GIVEN.items() if what in self.takes]
        self.unread |= any(_is_array(value) for more in told for value in more)
        points, beside, twice = _where(points, told, setting.d)
        if twice:
            self.notes.add(TWICE)
        told = None if beside is None or self.column is None else beside[:, self.column]
        return Call(self._number(value, setting), points, told, (*given, *draws), beside)

    def maker(self, way):
        """What makes the user's arrays."""
        return (lambda a: self.make(np.asarray(a, np.float32))) if way["single"] else self.make

    def run(self, asked, setting, way, scale, ear=None, x=None, key=None):
        """(model, value) of the loss in the user's framework, of data and a key that are his arrays already, if they are given."""
        make = self.maker(way)
        positional, named = self._given(setting, make, way, ear, key)
        asked.points.clear()
        asked.told.clear()
        asked.scale = scale
        x = self.data(setting, way) if x is None else x
        x = x.requires_grad_(True) if way["gradient"] else x
        model = asked if self.kind != "torch" else model_with_parameter(asked.of, scale, self.kind)
        traced = self.kind == "jax" and self.uncompiled  # without jit a probe sees numbers
        with sys.modules["jax"].disable_jit() if traced else contextlib.nullcontext():
            value, chosen = _first(self.loss(model, x, *positional, **named), setting.n)
        self.notes |= {chosen} - {""}
        if ear is not None and self.kind != "jax":  # whose arrays cannot be changed, and may be traced
            left = to_numpy(x).reshape(setting.x.shape)
            if not np.array_equal(left, setting.x.astype(left.dtype)):
                self.notes.add("the loss changes x in place; let it work on a copy")
        return model, value

    def data(self, setting, way):
        """The data as the user's array."""
        return self.maker(way)(setting.x.reshape(-1, *self.shape) if self.shape else setting.x)

    def values(self, probes, setting):
        """What the loss says of many probes (N,), with the random numbers of `ask`; compiled once where that is possible."""
        if self.kind == "jax":  # whose sources of random numbers are arguments
            return np.array([self.ask(probe, setting).value for probe in probes])
        out = []
        with repeating(self.held, setting.seed, self.unseeded) as again:
            for probe in probes:
                self.calls += 1
                asked = Asked(probe, self.maker(self.way), self.shape)
                asked.see = unseen  # it is known already
                scale = self.make(np.asarray(1.0)) if self.kind == "torch" else None
                again()
                out.append(self._number(self.run(asked, setting, self.way, scale)[1], setting))
        return np.array(out)

    def _compiled(self, setting, kind):
        """The `CompiledLoss` of a setting but for its data and its seed; None where it is not jax's, or cannot be traced."""
        if self.kind != "jax" or self.uncompiled or not self.traces:
            return None
        level = np.asarray(setting.level).tobytes()
        key = (id(setting.extras), level, setting.n, kind)
        if key not in self.compiled:
            self.compiled[key] = CompiledLoss(self, setting, kind)
        return self.compiled[key]

    def _given(self, setting, make, way, ear, key):
        """Positional and keyword arguments beyond fn and x; the source of random numbers is `key` if it is given."""
        positional, named = [], dict(self.condition)
        for name, (parameter, how) in self.takes.items():
            value = self._value(name, setting) if name != "source" else self.source(setting) if key is None else key
            if type(value) is np.random.Generator and ear is not None:
                value = generator(value.bit_generator, ear)
            if isinstance(value, np.ndarray):
                whole = value.dtype.kind == "i"  # in single precision too
                value = np.full(setting.n, value) if way["each"] and not value.ndim else value
                value = value.item() if not value.ndim and way["plain"] else (self.make if whole else make)(value)
            if how == "positional":
                positional.append(value)
            else:
                named[parameter] = value
        return positional, named

    def source(self, setting):
        """The source of random numbers that the loss takes; None if it takes none."""
        taken = self.takes.get("source")
        return None if taken is None else source(taken[0], setting.seed, self.kind)

    def _value(self, name, setting):
        """What is given as an argument: a number, or an array, which is one of the user's then."""
        numbers = {"n_probes": setting.m, "step": self.known["step"], **self.numbers}
        if name in numbers:
            return numbers[name]
        if name in ("sigma", "alpha", "t"):
            return np.asarray(1 - setting.level**2 if name == "alpha" else setting.level)
        if name == "alphas":
            return 1 - setting.extras["sigmas"] ** 2
        value = setting.extras[name]
        value = value[0] if name == "v" and setting.m == 1 else value
        images = self.shape and name in ("noise", "v", "target")
        return value.reshape(*value.shape[:-1], *self.shape) if images else value

    def _number(self, value, setting):
        """The loss as one number: itself, or the mean of one number per sample."""
        self.came = dtype_name(value)
        a = to_numpy(value, f"{self.where}: what the loss returned").real
        if a.dtype.kind == "f" and a.dtype.itemsize < 8:
            self.eps = max(self.eps, float(np.finfo(a.dtype).eps))
        if "16" in self.came:  # widened on arrival
            self.eps = max(self.eps, UNITS["bfloat16" if "bfloat16" in self.came else "half"])
        if a.size != 1:
            sizes = {setting.n: "n", setting.d: "d"}
            shape = ", ".join(sizes.get(k, str(k)) for k in a.shape) + "," * (a.ndim == 1)
            self.notes.add(f"the loss returns an array ({shape}) instead of a number: its mean was checked")
        return float(a.item() if a.size == 1 else np.mean(a, dtype=float))


def unseen(_):
    """Nothing is written down of an array."""


class CompiledLoss:
    """A loss of jax, compiled once for many probes, data and keys, and with it what is to be heard: points, what fn is told there, draws and their keys."""

    def __init__(self, caller, setting, kind):
        self.caller, self.extras = caller, setting.extras  # held, as it is known by its place
        self.names: list[str] = []  # of its draws
        jax, way = sys.modules["jax"], caller.way
        asked = Asked(random_probe(kind, setting.d, np.random.default_rng(0)), caller.maker(way), caller.shape)
        asked.see = unseen if caller.hidden else bare

        def heard(scale, constants, x, key):
            asked.constants = constants
            with listening(caller.held, setting.seed, "jax", bare) as ear:
                start = random.getstate()
                value = mean_of(caller.run(asked, setting, way, scale, ear, x, key)[1], setting.n)
                if random.getstate() != start or any(isinstance(d.value, np.ndarray) for d in ear.draws):
                    raise TypeError("random numbers of Python or NumPy, which would be the same in every call")
            self.names = [d.name for d in ear.draws]
            return value, (asked.points, asked.told, [(d.value, d.key) for d in ear.draws])

        self.heard = jax.jit(heard)
        self.slope = jax.jit(jax.grad(lambda *args: heard(*args)[0].sum()))

    def call(self, probe, setting, slope):
        """The `Call` for a probe, for the data and the seed of a setting."""
        caller, make = self.caller, self.caller.maker(self.caller.way)
        caller.calls += 1
        args = (
            make(np.asarray(1.0)),
            [make(np.array(c)) for c in probe.constants],
            caller.data(setting, caller.way),
            caller.source(setting),
        )
        if slope:
            return Call(float(self.slope(*args)), None, None)
        value, (points, told, draws) = sys.modules["jax"].tree.map(np.asarray, self.heard(*args))
        draws = [Draw(name, value, numbers_of(key)) for name, (value, key) in zip(self.names, draws, strict=True)]
        return caller.called(value, setting, points, told, draws)


def _ways(kind, levels=False):
    """How a loss may want its arguments: plain numbers, arrays of one, or one for each row; points that require a gradient; single precision."""
    gradients = (False, True) if kind == "torch" else (False,)
    numbers = ((True, False), (False, False), (False, True))[: 2 + levels]  # plain, one for each row
    ways = [{"gradient": g, "plain": p, "each": e, "single": False} for p, e in numbers for g in gradients]
    return ways + ([{**way, "single": True} for way in ways] if kind != "numpy" else [])


def _signature(where, loss, objective, condition):
    """{what: (parameter, "positional" or "named")} of the parameters beyond fn and x that a loss is to be given."""
    known = parameters_of(loss)
    if known is None:
        return {}
    parameters = list(known.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise TypeError(
            f"{where}: loss takes {len(positional)} positional arguments, expected loss(fn, x, ...): the model, and the data."
        )
    rest = [p for p in positional[2:] + [p for p in parameters if p.kind is p.KEYWORD_ONLY] if p.name not in condition]
    out: dict[str, tuple[str, str]] = {}
    row = OBJECTIVES[objective]
    names = NAMES | {name: called for name, (called, _) in row.numbers.items()}
    more = LEVELS_TOO if objective == "multilevel_denoising" else ()
    wanted = [*row.numbers, *row.takes, *more, "source"]
    natural = [*row.numbers, *row.takes[: row.first]]
    for p in rest:
        fits = lambda name, p=p: p.name in names[name] and not (name in ARRAYS and isinstance(p.default, int | float))
        what = next((name for name in wanted if fits(name) and name not in out), None)
        if what is None and natural and natural[0] not in out and p.default is p.empty and p.kind is not p.KEYWORD_ONLY:
            what = natural[0]
        if what is None and objective == "generalised" and p.default is p.empty:
            what = next((name for name in natural if name not in out), None)
        if what is None and p.default is p.empty:
            known = ", ".join(name for key in wanted for name in names[key])
            raise TypeError(
                f"{where}: loss has a parameter {p.name!r} that means nothing to the objective {objective!r}, expected loss(fn, x) and any of {known}. "
                f"Put a function around it that fixes {p.name}: lambda fn, x: loss(fn, x, {p.name}=...), or say condition={{{p.name!r}: ...}}."
            )
        if what is not None:
            out[what] = (p.name, "positional" if p.kind is p.POSITIONAL_ONLY else "named")
    return out


def _first(value, n):
    """(a loss that comes with other things, what was chosen of these in words): the first of a tuple, `loss` of a record or dict; n numbers are those of the samples."""
    if isinstance(value, list) and len(value) == n > 1 and all(np.ndim(v) == 0 for v in value):
        return sum(value) / n, ""
    if hasattr(value, "loss") and not hasattr(value, "detach"):
        return value.loss, ""
    if isinstance(value, dict) and value:
        key = next((name for name in LOSSES if name in value), next(iter(value)))
        return value[key], f"the loss returns a dict of {len(value)}: its entry {key!r} was checked" * (len(value) > 1)
    if isinstance(value, tuple | list) and len(value):
        return value[0], f"the loss returns {len(value)} things: the first was checked" * (len(value) > 1)
    return value, ""


LOSSES = ("loss", "total", "total_loss", "objective")


def mean_of(value, n):
    """A loss as one number: itself, or the mean of one number per sample."""
    return value if getattr(value, "ndim", 0) == 0 else value.mean()


def _torch_slope(model, value):
    """d value / d scale of the probe, 0 where no gradient arrives; None if the loss is a plain number."""
    if not hasattr(value, "backward"):
        return None
    if not value.requires_grad:  # it may have gone backward itself
        return 0.0 if model.scale.grad is None else float(model.scale.grad)
    model.scale.grad = None
    value.mean().backward()
    return 0.0 if model.scale.grad is None else float(model.scale.grad)


def _where(points, told, d):
    """The distinct points (M, d) at which a probe was asked, in order, the numbers (M, k) told beside each, and whether one was told several; None if hidden."""
    if not points or any(p is None or p.shape[-1:] != (d,) for p in points):
        return None, None, False
    flat = [np.asarray(p.real, float).reshape(-1, d) for p in points]
    told = [_beside_points(more, len(p)) for p, more in zip(flat, told, strict=True)]
    points = np.concatenate(flat)
    _, first, same = np.unique(points, axis=0, return_index=True, return_inverse=True)
    k = min(t.shape[1] for t in told)
    every = np.concatenate([t[:, :k] for t in told])
    twice = bool(k) and not np.array_equal(every, every[first][same.ravel()])
    first = np.sort(first)
    return points[first], every[first] if k else None, twice


def _is_array(value):
    """Whether this has more than one number for a row, as an embedding has."""
    return value is not None and value.ndim > 1 and max(value.shape[1:]) > 1


def _beside_points(more, rows):
    """All things told with one number, or one for each row, as (rows, k)."""
    fit = [
        np.resize(t.astype(float).ravel(), rows)
        for t in more
        if t is not None
        and t.dtype.kind in "fiu"
        and t.size
        and (t.size in (1, rows) or (rows % t.size == 0 and t.ndim == 1))
    ]
    return np.array(fit).reshape(len(fit), rows).T
