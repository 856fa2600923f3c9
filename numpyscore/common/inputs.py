"""What comes in, looked at once: every error names the argument, what came, what was expected, why, and the cure."""

import numpy as np

from .names import kind_of

BLOCK = 1 << 17  # numbers per block: validation and conversion stay in cache and never make a large temporary


def _shape(a):
    return "x".join(map(str, np.shape(a))) or "scalar"


def numeric(where, name, value):
    """`value` as an ndarray of real or complex numbers, not copied when it is one already."""
    try:
        a = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{where}: {name} cannot be made an array ({error}); rows of unequal length? Pass rows of equal length."
        ) from None
    if np.ma.is_masked(value):
        raise ValueError(
            f"{where}: {name} is a masked array with {np.ma.count_masked(value)} masked entries, which would silently be "
            f"used as if they were data; drop those rows, for example np.ma.compress_rows({name})."
        )
    if a.dtype.kind not in "biufc":
        cure = f"Convert it first, for example np.asarray({name}, dtype=float)."
        if hasattr(value, "score"):
            cure = (
                f"It is {kind_of(value)}: were two arguments exchanged? Where numbers of it belong, pass its .score(x)."
            )
        elif callable(value):
            cure = f"It is {kind_of(value)}: pass what it returns for your samples."
        raise TypeError(f"{where}: {name} has dtype {a.dtype}, expected numbers (float, integer or complex). {cure}")
    return a


def samples(where, x, dim=None, *, name="x", dtype=None):
    """A finite (n, d) array of samples, rows are samples; converted only if `dtype` is given, never modified."""
    a = numeric(where, name, x)
    if a.ndim != 2:
        cure = (
            f"A Series is made a table by {name}.to_frame()."
            if hasattr(x, "to_frame")
            else f"One sample of dimension {a.size}: {name}[None, :]; {a.size} samples of dimension 1: {name}[:, None]."
            if a.ndim == 1
            else "It is one number: were two arguments exchanged?"
            if a.ndim == 0
            else f"Reshape it to (n, d), for example {name}.reshape(len({name}), -1)."
        )
        raise ValueError(f"{where}: {name} has shape {a.shape}, expected (n, d) with samples as rows. {cure}")
    if dim is not None and a.shape[1] != dim:
        hint = f" Rows are samples: pass {name}.T?" if a.shape[0] == dim else ""
        raise ValueError(
            f"{where}: {name} has shape {a.shape}, expected (n, {dim}), one column per dimension of this object.{hint}"
        )
    finite(where, name, a)
    return a if dtype is None else a.astype(dtype, copy=False)


def directions(where, v, n, d, name="v"):
    """Probe directions as (m, n, d) from (n, d), one per sample, or (m, n, d), m per sample; finite."""
    a = numeric(where, name, v)
    if a.shape != (n, d) and (a.ndim != 3 or a.shape[1:] != (n, d)):
        raise ValueError(
            f"{where}: {name} has shape {a.shape}, expected ({n}, {d}), one direction per sample, "
            f"or (m, {n}, {d}) for m directions per sample."
        )
    finite(where, name, a)
    return a if a.ndim == 3 else a[None]


def finite(where, name, a):
    """Refuse NaN and infinity, naming the first bad row; in blocks, so that no temporary is as large as `a`."""
    if a.dtype.kind not in "fc" or a.size == 0:
        return
    rows = np.atleast_1d(a)
    step = max(1, BLOCK * len(rows) // rows.size)
    for start in range(0, len(rows), step):
        good = np.isfinite(rows[start : start + step])
        if not good.all():
            at = np.argwhere(~good)[0]
            at[0] += start
            place = f"{name}[{', '.join(map(str, at))}]" if a.ndim else name
            row = f" (first bad row: {at[0]})" if 0 < a.ndim < 3 else ""
            raise ValueError(
                f"{where}: {place} is {rows[tuple(at)]}, expected finite numbers{row}. One such value turns every mean, "
                f"and so every result, into NaN; remove or repair it first."
            )


def positive(where, name, value):
    """A finite positive float."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{where}: {name} is {value!r}, expected one positive number.") from None
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{where}: {name} is {number}, expected a finite positive number.")
    return number


def count(where, name, value, least=1):
    """An integer not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{where}: {name} is {value!r} ({type(value).__name__}), expected an integer >= {least}.")
    if value < least:
        raise ValueError(f"{where}: {name} is {value}, expected an integer >= {least}.")
    return int(value)


def generator(where, rng):
    """`rng` is a seed or a numpy.random.Generator; None draws fresh entropy."""
    if rng is None or isinstance(rng, int | np.integer | np.random.Generator | np.random.SeedSequence):
        if isinstance(rng, int | np.integer) and rng < 0:
            raise ValueError(f"{where}: rng is {rng}, expected a seed >= 0 or a numpy.random.Generator.")
        return np.random.default_rng(rng)
    raise TypeError(
        f"{where}: rng is {rng!r} ({type(rng).__name__}), expected an integer seed or a numpy.random.Generator; "
        f"for the old interface pass np.random.default_rng(seed)."
    )


# ------------------------------------------------------------------------------- noise levels


def deviations(where, name, value, shapes, dtype=None):
    """Positive real standard deviations of one of these shapes, between tiny and max of the dtype."""
    sigma = numeric(where, name, value)
    if sigma.shape not in shapes:
        expected = " or ".join("one number" if shape == () else str(shape) for shape in shapes)
        raise ValueError(f"{where}: {name} has shape {sigma.shape}, expected {expected}, one per sample of x.")
    if sigma.dtype.kind == "c":
        raise TypeError(f"{where}: {name} is complex, expected real standard deviations; pass {name}.real.")
    finite(where, name, sigma)
    low = 0 if dtype is None else np.finfo(dtype).tiny
    high = np.inf if dtype is None else np.finfo(dtype).max
    if not (np.all(sigma > 0) and np.all(sigma >= low) and np.all(sigma <= high)):
        bad = sigma[~((sigma > 0) & (sigma >= low) & (sigma <= high))].flat[0]
        raise ValueError(
            f"{where}: {name} has the value {bad}, expected positive standard deviations"
            f"{'' if bad <= 0 else f' in the range of {dtype}, {low} to {high}'}: the target is -eps/sigma. "
            f"{'For no noise at all use implicit.' if bad <= 0 else 'Rescale the data.'}"
        )
    return sigma if dtype is None else sigma.astype(np.finfo(dtype).dtype)


def column(sigma):
    """sigma () or (n,) so that it divides rows."""
    return sigma if np.ndim(sigma) == 0 else sigma[:, None]
