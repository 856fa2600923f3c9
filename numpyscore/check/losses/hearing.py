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
import types
from typing import Any, NamedTuple

import numpy as np

from ...common.arrays import concrete, same_randomness

NORMAL, OTHER, WHOLE = "normal", "other", "integers"
GIVEN = {"noise": "the noise given", "v": "the directions given"}  # what the loss is handed
UNITS = {"standard_normal", "randn", "randn_like", "normal_", "normal", "multivariate_normal", GIVEN["noise"]}
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

    def __init__(self, see=concrete):
        self.draws: list = []
        self.see = see  # what is written down of an array
        self.depth = 0  # of calls within calls: jax.random.normal calls uniform, choice calls integers
        self.unseeded = False  # a generator was made without a seed

    def hears(self, name, function, state=None):
        """`function`, its answers written down."""
        state = state or (lambda args, options: _key(args, self.see))

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
        value = self.see(out)
        if value is None or value.dtype.kind not in "biuf":
            return
        if name in ("normal", "normal_", "multivariate_normal"):
            value = _standardised(value, args, options, name)
        self.draws.append(Draw(name, value, key))


def _standardised(value, args, options, name):
    """Normals of any mean and standard deviation, or covariance, as unit normals; as they are where these are not numbers."""
    with_key, joint = _key(args) is not None, name == "multivariate_normal"
    if with_key and not joint:  # jax's are unit normals
        return value
    rest = args[1:] if with_key or name == "normal_" else args  # behind the key, or the tensor itself
    given = (
        next((options[k] for k in names if k in options), rest[place] if len(rest) > place else default)
        for place, (default, *names) in enumerate(((0.0, "loc", "mean"), (1.0, "scale", "std", "cov")))
    )
    try:
        mean, spread = (np.asarray(concrete(a), float) for a in given)
        if joint:
            flat = np.moveaxis(value - mean, -1, 0).reshape(len(spread), -1)
            return np.linalg.solve(np.linalg.cholesky(spread), flat).T.reshape(value.shape)
        return (value - mean) / spread if np.all(np.isfinite(mean)) and np.all(spread > 0) else value
    except (TypeError, ValueError, np.linalg.LinAlgError):
        return value


def _key(args, see=concrete):
    """The numbers of a jax key among the arguments, None if there is none."""
    first = args[0] if args else None
    if first is None or not type(first).__module__.startswith("jax"):
        return None
    jax = sys.modules["jax"]
    with contextlib.suppress(Exception):
        first = jax.random.key_data(first) if "key" in str(getattr(first, "dtype", "")) else first
    return numbers_of(see(first))


def numbers_of(key):
    """The numbers of a key as a tuple; as it is while it is traced, or none."""
    return tuple(key.ravel().tolist()) if isinstance(key, np.ndarray) else key


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
def listening(held, seed, kind, see=concrete):
    """Inside, global generators start from `seed`, as do those `held` by the loss, and all draws go to the `Ear` that is yielded."""
    ear = Ear(see)
    with same_randomness(seed), contextlib.ExitStack() as stack:
        for one in held:
            stack.enter_context(_set_back(one, seed, ear))
        heard = {name: ear.hears(name, getattr(np.random, name)) for name in DRAWS if hasattr(np.random, name)}
        stack.enter_context(_patched(np.random, heard | {"default_rng": _default_rng(ear, seed)}))
        torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
        if torch is not None and kind == "torch":
            stack.enter_context(_torch_mode(ear))
        if jax is not None and kind == "jax":
            heard = {name: ear.hears(name, function) for name, function in _jax_functions().items()}
            stack.enter_context(_patched(jax.random, heard))
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


GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
FEW = (dict, list, tuple)  # which a loss may keep a generator in
FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)


def generators_of(loss):
    """Generators, of NumPy, torch or Python, and functions of np.random or jax.random bound by name, in reach of a loss: (container, name, what)."""
    seen: set = set()
    out, todo = [], [loss]
    bound = [np.random.default_rng, *_jax_functions().values()]  # that somebody may have imported by name
    while todo and len(seen) < 200:
        thing = todo.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        for holder, name, value in _members(thing):
            by_name = holder is not None and any(value is function for function in bound)
            if by_name or isinstance(value, GENERATORS) or _is_torch_generator(value):
                out.append((holder, name, value))
            elif isinstance(value, FUNCTIONS) or _is_theirs(value) or (isinstance(value, FEW) and len(value) < 50):
                todo.append(value)
    return out


def _jax_functions():
    """The functions of jax.random that draw, by name; {} where jax is not loaded."""
    of = getattr(sys.modules.get("jax"), "random", None)
    return {name: getattr(of, name) for name in JAX_DRAWS if hasattr(of, name)}


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
    elif isinstance(thing, FEW):
        yield from ((thing, k, v) for k, v in (thing.items() if isinstance(thing, dict) else enumerate(thing)))
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
    again = _state_of(value)
    if not callable(value):
        _start(value, seed)
    heard = value if ear is None else _heard(value, seed, ear)
    placed = heard is not value and _put(holder, name, heard)
    try:
        yield
    finally:
        if placed:
            _put(holder, name, value)
        again()


def _heard(value, seed, ear):
    """What stands in the place of a generator, or of a function bound by name, while it is heard."""
    if value is np.random.default_rng:
        return _default_rng(ear, seed)
    if callable(value):
        return ear.hears(value.__name__, value)
    return generator(value.bit_generator, ear) if isinstance(value, np.random.Generator) else value


def _state_of(value):
    """A function that sets a generator of any kind back to the state that it has now."""
    if callable(value):
        return lambda: None
    if isinstance(value, np.random.Generator):
        bits, state = value.bit_generator, value.bit_generator.state
        return lambda: setattr(bits, "state", state)
    read, write = ("getstate", "setstate") if isinstance(value, random.Random) else ("get_state", "set_state")
    state = getattr(value, read)()
    return lambda: getattr(value, write)(state)


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
        if isinstance(holder, dict | list):
            holder[name] = value
        elif isinstance(name, int) and not isinstance(holder, tuple):
            holder.__defaults__ = (*holder.__defaults__[:name], value, *holder.__defaults__[name + 1 :])
        else:
            setattr(holder, name, value)
    except (AttributeError, TypeError, ValueError):
        return False
    return True
