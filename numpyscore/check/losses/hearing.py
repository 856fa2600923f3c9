"""Hearing a loss's random numbers: whatever NumPy, torch or jax gives it while it runs is written down, and can be given again.

NumPy: the Generator that a loss is handed, those that it makes with `np.random.default_rng`, the functions of `np.random`, and generators that it holds
in its closure, its globals or its attributes. torch: a `TorchFunctionMode` of the user's own torch sees every
function that draws. jax: the functions of `jax.random`. Nothing is imported: what is not loaded cannot draw.
"""

import contextlib
import functools
import inspect
import random
import sys
from typing import Any, NamedTuple

import numpy as np

from ...common.arrays import concrete, same_randomness

NORMAL, OTHER, WHOLE = "normal", "other", "integers"
UNITS = {"standard_normal", "randn", "randn_like", "normal_", "normal", "multivariate_normal"}
INTEGERS = {"integers", "randint", "randint_like", "random_integers", "permutation", "randperm", "categorical", "multinomial"}  # fmt: skip
DRAWS = {  # what a source of random numbers is asked for
    "standard_normal", "normal", "multivariate_normal", "random", "random_sample", "uniform", "integers", "randint", "choice", "permutation",
    "randn", "rand", "laplace", "exponential", "standard_t", "lognormal", "beta", "gamma", "standard_exponential", "standard_cauchy", "logistic",
    "binomial", "poisson", "triangular", "gumbel", "standard_gamma", "chisquare", "shuffle", "permuted",
}  # fmt: skip
TORCH_DRAWS = {
    "randn", "randn_like", "rand", "rand_like", "randint", "randint_like", "normal", "normal_", "uniform_", "bernoulli", "bernoulli_", "random_",
    "randperm", "multinomial", "exponential_", "cauchy_", "log_normal_", "geometric_", "_standard_gamma", "poisson", "dropout",
}  # fmt: skip
JAX_DRAWS = {
    "normal", "uniform", "randint", "bernoulli", "rademacher", "choice", "permutation", "truncated_normal", "multivariate_normal", "categorical",
    "laplace", "exponential", "cauchy", "gumbel", "logistic", "t", "gamma", "beta", "ball", "orthogonal", "poisson", "bits", "lognormal",
}  # fmt: skip


class Draw(NamedTuple):
    """One answer of a source of random numbers: what was asked, the numbers, and the key or state that they come from."""

    name: str
    value: np.ndarray
    key: Any = None

    @property
    def law(self):
        """What numbers it gives: "normal", "integers" or "other"."""
        return NORMAL if self.name in UNITS else WHOLE if self.name in INTEGERS else OTHER


class Ear:
    """What was drawn in one call, in order."""

    def __init__(self):
        self.draws: list = []
        self.depth = 0  # of calls within calls: jax.random.normal calls uniform, choice calls integers
        self.unseeded = False  # a generator was made without a seed

    def hears(self, name, function, state=lambda args, options: _key(args)):
        """`function`, its answers written down."""

        @functools.wraps(function)
        def heard(*args, **options):
            self.depth += 1
            key = state(args, options) if self.depth == 1 else None
            try:
                out = function(*args, **options)
            finally:
                self.depth -= 1
            if self.depth == 0:
                self.note(name, out, args, options, key)
            return out

        return heard

    def note(self, name, out, args, options, key):
        """Write down one answer, normals in units of their standard deviation."""
        value = concrete(out)
        if value is None or value.dtype.kind not in "biuf":
            return
        if name in ("normal", "normal_"):
            value = _standardised(value, args, options, name)
        if name == "multivariate_normal":
            value = _whitened(value, args, options)
        self.draws.append(Draw(name, np.asarray(value), key))


def _standardised(value, args, options, name):
    """Normals of any mean and standard deviation, as unit normals; as they are where these are not numbers."""
    numbers = [a for a in args if not hasattr(a, "shape") or getattr(a, "ndim", 1) >= 0]
    numbers = numbers[1:] if name == "normal_" or _key(args) is not None else numbers
    loc = next((options[k] for k in ("loc", "mean") if k in options), numbers[0] if numbers else 0.0)
    scale = next((options[k] for k in ("scale", "std") if k in options), numbers[1] if len(numbers) > 1 else 1.0)
    if _key(args) is not None:
        return value
    try:
        loc, scale = (np.asarray(concrete(a) if hasattr(a, "detach") else a, float) for a in (loc, scale))
        return (value - loc) / scale if np.all(scale > 0) else value
    except (TypeError, ValueError):
        return value


def _whitened(value, args, options):
    """Normals of any mean and covariance, as unit normals; as they are where these are not numbers."""
    rest = list(args[1:] if _key(args) is not None else args)
    try:
        mean = np.asarray(concrete(options.get("mean", rest[0] if rest else 0.0)), float)
        cov = np.asarray(concrete(options.get("cov", rest[1] if len(rest) > 1 else 1.0)), float)
        return np.linalg.solve(
            np.linalg.cholesky(cov), np.moveaxis(value - mean, -1, 0).reshape(len(cov), -1)
        ).T.reshape(value.shape)
    except (TypeError, ValueError, np.linalg.LinAlgError):
        return value


def _key(args):
    """The numbers of a jax key among the arguments, None if there is none."""
    first = args[0] if args else None
    if first is None or not type(first).__module__.startswith("jax"):
        return None
    jax = sys.modules["jax"]
    with contextlib.suppress(Exception):
        first = jax.random.key_data(first) if "key" in str(getattr(first, "dtype", "")) else first
    value = concrete(first)
    return None if value is None else tuple(np.asarray(value).ravel().tolist())


class Heard(np.random.Generator):
    """A NumPy Generator whose draws are written down."""

    ear: Any = None


def _method(name):
    plain = getattr(np.random.Generator, name)

    @functools.wraps(plain)
    def heard(self, *args, **options):
        if self.ear is None:
            return plain(self, *args, **options)
        state = lambda args, options: str(self.bit_generator.state)
        return self.ear.hears(name, functools.partial(plain, self), state)(*args, **options)

    return heard


for _name in DRAWS & set(dir(np.random.Generator)):
    setattr(Heard, _name, _method(_name))


def generator(seed, ear):
    """A recording Generator."""
    out = Heard(np.random.PCG64(seed) if isinstance(seed, int | np.integer) else seed)
    out.ear = ear
    return out


@contextlib.contextmanager
def listening(held, seed, kind):
    """Inside, global generators start from `seed`, as do those `held` by the loss, and all draws go to the `Ear` that is yielded."""
    ear = Ear()
    with same_randomness(seed), contextlib.ExitStack() as stack:
        for one in held:
            stack.enter_context(_set_back(one, seed, ear))
        stack.enter_context(_patched(np.random, _numpy_functions(ear, seed)))
        torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
        if torch is not None and kind == "torch":
            stack.enter_context(_torch_mode(ear))
        if jax is not None and kind == "jax":
            names = {
                name: ear.hears(name, getattr(jax.random, name)) for name in JAX_DRAWS if hasattr(jax.random, name)
            }
            stack.enter_context(_patched(jax.random, names))
        yield ear


@contextlib.contextmanager
def repeating(held, seed, unseeded):
    """Inside, the same random numbers come as inside `listening`, and nobody writes them down; the function that it yields starts them again."""
    with same_randomness(seed) as globals_again, contextlib.ExitStack() as stack:
        for one in held:
            stack.enter_context(_set_back(one, seed, None))
        if unseeded:
            made = np.random.default_rng
            stack.enter_context(_patched(np.random, {"default_rng": lambda s=None: made(seed if s is None else s)}))
        own = [value for _, _, value in held if not callable(value)]

        def again():
            globals_again()
            for value in own:
                _start(value, seed)

        yield again


@contextlib.contextmanager
def _patched(module, functions):
    """A module with some of its functions replaced."""
    kept = {name: getattr(module, name) for name in functions}
    for name, function in functions.items():
        setattr(module, name, function)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(module, name, function)


def _numpy_functions(ear, seed):
    """The functions of np.random, and default_rng, that write down."""
    functions = {name: ear.hears(name, getattr(np.random, name)) for name in DRAWS if hasattr(np.random, name)}
    return functions | {"default_rng": _default_rng(ear, seed)}


def _default_rng(ear, seed):
    """np.random.default_rng, its generators heard; one made without a seed starts from `seed`."""
    made = np.random.default_rng

    def default_rng(own=None):
        if isinstance(own, np.random.Generator):
            return made(own)
        ear.unseeded |= own is None
        return generator(made(seed if own is None else own).bit_generator, ear)

    return default_rng


def _torch_mode(ear):
    """A mode in which every torch function that draws is written down, however its name was bound."""

    class Mode(sys.modules["torch.overrides"].TorchFunctionMode):  # type: ignore[name-defined,misc]
        def __torch_function__(self, function, types, args=(), kwargs=None):
            name = getattr(function, "__name__", "")
            function = ear.hears(name, function, _torch_state) if name in TORCH_DRAWS else function
            return function(*args, **(kwargs or {}))

    return Mode()


def _torch_state(args, options):
    """The state of the generator that a torch function is about to draw from."""
    of = options.get("generator") or sys.modules["torch"].random.default_generator
    return hash(of.get_state().numpy().tobytes())


# ------------------------------------------------------------------------------- generators that a loss keeps for itself


def generators_of(loss):
    """Generators, of NumPy, torch or Python, and functions of np.random or jax.random bound by name, in reach of a loss: (container, name, what)."""
    seen: set = set()
    out, todo, bound = [], [loss], _bound_names()
    while todo and len(seen) < 200:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        for holder, name, value in _members(thing):
            if (
                isinstance(value, np.random.Generator | np.random.RandomState | random.Random)
                or _is_torch_generator(value)
                or (
                    holder is not None
                    and callable(value)
                    and getattr(value, "__name__", "") in bound
                    and bound[value.__name__] is value
                )
            ):
                out.append((holder, name, value))
            elif (
                inspect.isfunction(value)
                or isinstance(value, functools.partial)
                or inspect.ismethod(value)
                or _is_theirs(value)
            ):
                todo.append(value)
    return out


def _bound_names():
    """Functions of jax.random and np.random that somebody may have imported by name."""
    jax = sys.modules.get("jax")
    out = (
        {name: getattr(jax.random, name) for name in JAX_DRAWS if hasattr(jax.random, name)} if jax is not None else {}
    )
    return out | {"default_rng": np.random.default_rng}


def _members(thing):
    """(holder, name, value) of what a function or object refers to."""
    if isinstance(thing, functools.partial):
        yield from ((None, "", v) for v in (thing.func, *thing.args, *thing.keywords.values()))
    elif inspect.ismethod(thing):
        yield from ((None, "", v) for v in (thing.__func__, thing.__self__))
    elif inspect.isfunction(thing):
        for cell in thing.__closure__ or ():
            with contextlib.suppress(ValueError):
                yield cell, "cell_contents", cell.cell_contents
        for name in _names(thing.__code__):
            if name in thing.__globals__:
                yield thing.__globals__, name, thing.__globals__[name]
        yield from ((thing, k, v) for k, v in enumerate(thing.__defaults__ or ()))
        yield from ((thing.__kwdefaults__, name, v) for name, v in (thing.__kwdefaults__ or {}).items())
    elif hasattr(thing, "__dict__"):
        if callable(thing) and not isinstance(thing, type):
            yield None, "", type(thing).__call__
        yield from ((thing, name, value) for name, value in list(vars(thing).items()))
        yield from ((None, "", v) for v in vars(type(thing)).values() if inspect.isfunction(v))


def _names(code):
    """Global names that a code object, and those within it, refer to."""
    inner = (c for c in code.co_consts if inspect.iscode(c))
    return {*code.co_names, *(name for c in inner for name in _names(c))}


def _is_theirs(value):
    """An object whose attributes are worth a look: of a class of the user's, not of a library."""
    libraries = ("numpy", "torch", "jax", "jaxlib", "builtins", "numpyscore", "scipy", "types")
    return hasattr(value, "__dict__") and type(value).__module__.split(".")[0] not in libraries


def _is_torch_generator(value):
    return type(value).__name__ == "Generator" and type(value).__module__.startswith("torch")


@contextlib.contextmanager
def _set_back(held, seed, ear):
    """Inside, a generator of the loss's own starts from `seed`, and NumPy's is heard; afterwards it goes on as before."""
    holder, name, value = held
    if callable(value):  # a function, bound by name
        if ear is not None:
            _put(
                holder,
                name,
                ear.hears(value.__name__, value) if value is not np.random.default_rng else _default_rng(ear, seed),
            )
        try:
            yield
        finally:
            _put(holder, name, value)
        return
    numpys, torchs = isinstance(value, np.random.Generator), _is_torch_generator(value)
    read, write = (
        ("get_state", "set_state") if torchs or isinstance(value, np.random.RandomState) else ("getstate", "setstate")
    )
    state = value.bit_generator.state if numpys else getattr(value, read)()
    _start(value, seed)
    placed = (
        numpys and ear is not None and holder is not None and _put(holder, name, generator(value.bit_generator, ear))
    )
    try:
        yield
    finally:
        if placed:
            _put(holder, name, value)
        if numpys:
            value.bit_generator.state = state
        else:
            getattr(value, write)(state)


def _start(value, seed):
    """Start a generator of any kind from a seed."""
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = type(value.bit_generator)(seed).state
    elif _is_torch_generator(value):
        value.manual_seed(seed)
    else:
        value.seed(seed)


def _put(holder, name, value):
    """Whether `value` could be placed under a name of a function's cell, globals or object."""
    try:
        if isinstance(holder, dict):
            holder[name] = value
        elif isinstance(name, int):
            holder.__defaults__ = (*holder.__defaults__[:name], value, *holder.__defaults__[name + 1 :])
        else:
            setattr(holder, name, value)
    except (AttributeError, TypeError, ValueError):
        return False
    return True
