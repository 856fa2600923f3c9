"""Functions of the user's own: called with care, so that what goes wrong in them is told with its place."""

import inspect
import os
import traceback

import numpy as np

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def called(where, what, function, *args, **named):
    """function(*args); what it raises becomes one error with its origin, unless it was raised here, and by nobody else on the way.

    Parameters
    ----------
    where : str
        Who calls.
    what : str
        What the function is called in the error: "left", "density.logpdf".
    function : callable
    *args, **named
        What it is given.

    Raises
    ------
    ValueError
        From the user's own exception: its type, its words, and the last line of the user's code on the way.
    """
    try:
        return function(*args, **named)
    except Exception as error:
        if not (place := origin(error)):
            raise
        shapes = "".join(f"; it was given {a.dtype} of shape {a.shape}" for a in args[:1] if isinstance(a, np.ndarray))
        raise ValueError(f"{where}: {what} raised {type(error).__name__}: {error} ({place}{shapes})") from error


def origin(error):
    """Where in the user's own code an exception came from: "mine.py, line 3, in left"; "" if nowhere."""
    others = (PACKAGE + os.sep, os.path.dirname(os.__file__) + os.sep, "<frozen", "<__array")
    own = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if not f.filename.startswith(others) and not {"site-packages", "dist-packages"} & {*f.filename.split(os.sep)}
    ]
    return f"{os.path.basename(own[-1].filename)}, line {own[-1].lineno}, in {own[-1].name}" if own else ""


def parameters_of(function):
    """{name: parameter} of what a function takes, of a torch module what its `forward` takes; None where it does not say."""
    try:
        parameters = dict(inspect.signature(function).parameters)
        if hasattr(function, "forward") and all(
            p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values()
        ):
            parameters = dict(inspect.signature(function.forward).parameters)
        return parameters
    except (TypeError, ValueError):
        return None


def per_row(where, what, value, n):
    """What a function of n rows returned, as float64 (n,)."""
    try:
        a = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: {what} returned what is no array ({error}), expected real numbers ({n},)."
        ) from None
    if a.dtype.kind not in "biuf" or a.shape != (n,):
        cure = "one number for each row of x"
        if a.ndim == 0:
            cure += "; the mean under the density is taken here, so leave it out, and give a constant as a number"
        elif a.shape == (n, 1):
            cure += "; take [:, 0]"
        elif a.ndim == 2 and len(a) == n:
            cure += "; sum over dimensions, for example np.sum(..., axis=1)"
        kind = f"{a.dtype} of shape {a.shape}" if a.dtype.kind != "O" else f"a {type(value).__name__}"
        raise ValueError(f"{where}: {what} returned {kind}, expected real numbers of shape ({n},): {cure}.")
    return a.astype(float, copy=False)
