r"""Arrays from anywhere, importing nothing: NumPy, torch, jax and whatever else knows `__array__` or DLPack.

What comes in is copied (torch shares its memory, jax arrays are read-only), C-contiguous, in NumPy's dtype; the dtype that
it had over there is reported, for jax without x64 turns float64 into float32 without a word.
"""

import contextlib

import numpy as np


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
    if isinstance(value, list | tuple):
        return [_nearer(v) for v in value]
    if hasattr(value, "detach"):
        value = value.detach().cpu().resolve_conj().resolve_neg()  # NumPy's DLPack forgets the negative bit
        return (value.float() if str(value.dtype).endswith("float16") else value).numpy()
    if hasattr(value, "__array__"):
        return value.__array__()
    return np.from_dlpack(value) if hasattr(value, "__dlpack__") else value


def dtype_name(value):
    """The dtype that `value` has where it comes from: "torch.float32", "float64", ..."""
    return str(getattr(value, "dtype", None) or np.asarray(value).dtype)


def _typed(value):
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
