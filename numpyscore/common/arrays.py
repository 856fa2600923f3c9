"""Arrays from anywhere, importing nothing: NumPy, torch, jax and whatever else knows `__array__` or DLPack, in and out.

What comes in is copied (torch shares its memory, jax arrays are read-only), C-contiguous, in NumPy's dtype; the dtype that
it had over there is reported, for jax without x64 turns float64 into float32 without a word. What goes out is made by `wrap`: None
for NumPy, the names "torch" or "jax", or any function from an ndarray to the user's own array type.
"""

import contextlib
import functools
import random
import sys
from typing import Any

import numpy as np

# ------------------------------------------------------------------------------- in


def to_numpy(value, name="value"):
    """Numbers of any framework as an ndarray of our own.

    Parameters
    ----------
    value : ndarray, torch tensor, jax array, nested list, or anything with `__array__` or DLPack
        A tensor may require a gradient, live on another device, be a conjugate or a negative view.
    name : str
        What to call it in an error.

    Returns
    -------
    array : ndarray
        A C-contiguous copy in native byte order; half precisions are widened to float32.

    Raises
    ------
    TypeError
        If nothing numeric can be made of it.
    """
    try:
        a = np.array(_nearer(value), order="C", copy=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} is {_typed(value)}, from which no array of numbers can be made ({error}).") from error
    if a.dtype.kind in "fV" and a.dtype.itemsize <= 2:  # float16, and bfloat16, which NumPy does not know
        with contextlib.suppress(TypeError, ValueError):
            a = a.astype(np.float32)
    if a.dtype.kind not in "biufc":
        raise TypeError(f"{name} is {_typed(value)} with dtype {a.dtype}, expected numbers.")
    return a.astype(a.dtype.newbyteorder("="), copy=False)


def _nearer(value):
    """Something of `value` that NumPy copies rightly."""
    if isinstance(value, np.ndarray | np.generic | int | float | complex | list | tuple):
        return _deep(value) if isinstance(value, list | tuple) else value
    if hasattr(value, "detach"):
        for step in ("detach", "cpu", "resolve_conj", "resolve_neg"):  # NumPy's DLPack forgets the negative bit
            value = getattr(value, step)() if hasattr(value, step) else value
        if str(getattr(value, "dtype", "")).endswith(("bfloat16", "float16")):
            value = value.float()
        return value.numpy()
    if hasattr(value, "__array__"):
        return value.__array__()
    if hasattr(value, "__dlpack__"):
        return np.from_dlpack(value)
    return value


def _deep(values):
    """Lists of tensors as lists of arrays."""
    if any(hasattr(v, "detach") or isinstance(v, list | tuple) for v in values):
        return [_nearer(v) for v in values]
    return values


def dtype_name(value):
    """The dtype that `value` has where it comes from: "torch.float32", "float64", ..."""
    return _name(getattr(value, "dtype", None) or np.asarray(value).dtype)


@functools.cache
def _name(dtype):
    return str(dtype)


def _typed(value):
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def framework(value):
    """The top-level module that an object's type comes from: "numpy", "torch", "jax", ..."""
    name = type(value).__module__.split(".")[0]
    return "jax" if name == "jaxlib" else name


# ------------------------------------------------------------------------------- out


def wrapper(where, wrap, like=None):
    """The function from an ndarray to the user's array type.

    Parameters
    ----------
    where : str
        Who asks, for the error.
    wrap : None, "numpy", "torch", "jax" or callable
    like : array of the user's, optional
        With wrap=None arrays are made like this one: same type, dtype and device.

    Raises
    ------
    TypeError
        If wrap is nothing of the kind.
    ValueError
        If the framework of that name is not installed.
    """
    if wrap is None and like is not None and framework(like) not in ("numpy", "builtins"):
        return _like(like)
    if wrap is None or wrap == "numpy":
        return np.array
    if callable(wrap):
        return wrap
    if wrap in MAKERS:
        try:
            MAKERS[wrap](np.zeros(1))
        except ImportError as error:
            raise ValueError(f"{where}: wrap is {wrap!r}, but {wrap} cannot be imported here ({error}).") from None
        return MAKERS[wrap]
    raise TypeError(
        f"{where}: wrap is {wrap!r}, expected None for NumPy, 'torch', 'jax', or a function from an ndarray to the array type "
        f"that your code takes, for example torch.tensor."
    )


def _torch(a):
    import torch  # type: ignore[import-not-found]

    return torch.tensor(a)


def _jax(a):
    import jax.numpy  # type: ignore[import-not-found]

    return jax.numpy.array(a)


MAKERS = {"torch": _torch, "jax": _jax}


def _like(like):
    """The wrapper that makes arrays of the type, dtype and device of `like`."""
    if hasattr(like, "new_tensor"):
        return like.detach().new_tensor
    if framework(like) == "jax":
        return lambda a: _jax(np.asarray(a)).astype(like.dtype)
    return np.array


def bare(value):
    """The array of jax that a transformation (grad, vmap, jvp) looks at, without its wrappers; of a compiled function a tracer."""
    for _ in range(8):
        inner = next((getattr(value, a) for a in ("primal", "val") if hasattr(value, a)), None)
        if not hasattr(inner, "dtype") or hasattr(value, "detach"):
            break
        value = inner
    return value


def concrete(value):
    """The numbers behind an array that a transformation (grad, vmap, jvp) looks at, (..., d); None where there are none."""
    value = bare(value)
    try:
        return _below_functorch(value) if hasattr(value, "detach") else to_numpy(value)
    except Exception:
        return None


def _below_functorch(value):
    """The numbers of a tensor below the wrappers of torch.func, whose own operations would wrap them again."""
    torch: Any = sys.modules.get("torch")
    tools = getattr(getattr(torch, "_C", None), "_functorch", None)
    if tools is None or not tools.is_functorch_wrapped_tensor(value):
        return to_numpy(value)
    while tools.is_functorch_wrapped_tensor(value):
        value = tools.get_unwrapped(value)
    with torch._functorch.pyfunctorch.temporarily_clear_interpreter_stack():
        return to_numpy(value)


# ------------------------------------------------------------------------------- their randomness


@contextlib.contextmanager
def same_randomness(seed):
    """Inside, the global generators of Python, NumPy and torch (if loaded) start from `seed`; afterwards they go on as before.

    It yields a function that starts them once more, from `seed` or another one.
    """
    torch: Any = sys.modules.get("torch")
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002  theirs, not ours
    theirs = torch.get_rng_state() if hasattr(torch, "get_rng_state") else None

    def start(seed=seed):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        if theirs is not None:
            torch.random.default_generator.manual_seed(seed)

    start()
    try:
        yield start
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        if theirs is not None:
            torch.set_rng_state(theirs)


def source(name, seed, kind):
    """A source of random numbers for a parameter of this name: a Generator, a torch.Generator, a jax key, or the seed itself."""
    if name == "key" or (name == "rng" and kind == "jax"):
        jax = sys.modules.get("jax")
        return jax.random.PRNGKey(seed) if jax is not None else seed
    if name == "generator" and kind == "torch":
        return sys.modules["torch"].Generator().manual_seed(seed)
    return seed if name == "seed" else np.random.default_rng(seed)


# ------------------------------------------------------------------------------- their derivatives


def model_with_parameter(function, scale, kind):
    """`function(x, scale, ...)` as a model of the user's framework with the one parameter `scale`: a torch module, or a function."""
    if kind != "torch":
        return lambda x, *told, **named: function(x, scale, *told, **named)
    import torch

    class Probe(torch.nn.Module):
        """The probe as a module, for losses that ask for one."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(scale.detach().clone())

        def forward(self, x, *told, **named):
            return function(x, self.scale, *told, **named)

    return Probe()


def derivative_in(loss_of, start, kind):
    """d loss_of(scale) / d scale at `start`, by the framework's own differentiation; None if it has none or the graph ends early."""
    if kind == "jax":
        jax = sys.modules["jax"]
        return float(jax.grad(lambda scale: loss_of(scale).sum())(start))
    if kind == "torch":
        scale = start.detach().clone().requires_grad_(True)
        value = loss_of(scale)
        if not hasattr(value, "backward"):
            return None
        if not value.requires_grad:
            return 0.0
        value.sum().backward()
        return 0.0 if scale.grad is None else float(scale.grad)
    return None
