"""Networks, points and inputs, good and bad, that the tests of the networks share."""

import hashlib

import numpy as np
import pytest
from accuracy import SMOOTH, scaled
from hypothesis import strategies as st
from oracles import absolute, random_network

from numpyscore.networks.models import EnergyMLP, ScoreMLP
from numpyscore.objectives.implicit import explicit, implicit

EPS = np.finfo(float).eps
ISSUE = 1e-12 / EPS  # "1e-12 relative" in the issues reads 1e-12 of S: 4504 eps S
BOTH = pytest.mark.parametrize("cls", (EnergyMLP, ScoreMLP), ids=lambda cls: cls.kind)
SEEDS = st.integers(0, 2**32 - 1)
long = pytest.mark.skipif(np.finfo(np.longdouble).eps > 1e-18, reason="longdouble is no better than double here")


def network_of(cls, d, widths, activation="tanh", *, conditional=False, confinement=0.0, seed=0, n=2, dtype=float):
    """A network, points and noise levels; confinement is dropped where there is none."""
    rng = np.random.default_rng(seed)
    options = {"confinement": confinement} if cls is EnergyMLP else {}
    model = cls.init(d, widths, activation, conditional=conditional, rng=rng, dtype=dtype, **options)
    x = rng.standard_normal((n, d)).astype(dtype)
    return model, x, {"sigma": np.exp(rng.uniform(-1, 1, n))} if conditional else {}


def large(cls, activation="tanh", widths=(48, 40), n=6000, d=3, seed=0, **options):
    """A network and so many samples that they are worth several workers."""
    net = cls.init(d, widths, activation, rng=seed, **options)
    return net, np.random.default_rng(seed).standard_normal((n, d))


def drawn(seed, cls, **limits):
    """A random network with points, noise levels, and the generator that made them."""
    rng = np.random.default_rng(seed)
    model, x, sigma = random_network(rng, cls, SMOOTH, **limits)
    return rng, model, x, sigma


def deficient(model, how):
    """The same network whose W_1 has dependent columns, so that its Gram matrix has no Cholesky factor."""
    theta = model.theta.copy()
    W = model.unflatten(theta)[0][0]
    if how == "duplicate columns":
        W[:, -1] = W[:, 0]
    elif how == "zero column":
        W[:, 1] = 0
    elif how == "zero":
        W[:] = 0
    elif how == "nearly dependent":
        W[:, -1] = W[:, 0] * (1 + 1e-9)
    elif how == "badly scaled":
        W[:, 0] *= 1e-12
    return model.with_theta(theta)


# ------------------------------------------------------------------------------- error scales


def trace_scale(model, x, sigma):
    """S of the trace (n,)."""
    return np.abs(absolute(model, x, **sigma).evaluate(np.abs(x), score=False, trace=True, **sigma).trace)


def assert_within(limit, got, want, S, what=""):
    """|got - want| <= limit * eps * S."""
    assert np.shape(got) == np.shape(want), (what, np.shape(got), np.shape(want))
    error = scaled(got, want, S)
    assert error <= limit, f"{what}: {error:.3g} eps S, more than {limit:.3g}"
    return error


def textbook_error(model, x, sigma):
    """|exact - textbook| of the trace in eps S."""
    return scaled(model.trace(x, **sigma), model.trace(x, "textbook", **sigma), trace_scale(model, x, sigma))


# ------------------------------------------------------------------------------- what may come in as x, v and sigma, and what may not


V = np.linspace(-1, 1, 12).reshape(4, 3)
PLAIN = np.random.default_rng(0).integers(-8, 8, (4, 3)) / 4.0  # numbers that every float format holds
INTEGERS = np.random.default_rng(0).integers(0, 5, (4, 3))


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def embedded(a, step_rows, step_columns):
    """A view with the values of a and these strides (in elements of a larger array)."""
    big = np.full((len(a) * abs(step_rows), a.shape[1] * abs(step_columns)), np.nan)
    view = big[::step_rows, ::step_columns][: len(a), : a.shape[1]]
    view[...] = a
    return view


GOOD = {
    "list": PLAIN.tolist(),
    "tuples": tuple(map(tuple, PLAIN.tolist())),
    "list of arrays": list(PLAIN),
    "read-only": read_only(PLAIN),
    "Fortran": np.asfortranarray(PLAIN),
    "strided rows": embedded(PLAIN, 3, 1),
    "strided columns": embedded(PLAIN, 1, 2),
    "negative strides": embedded(PLAIN, -1, -1),
    "transposed view": np.ascontiguousarray(PLAIN.T).T,
    "broadcast": np.broadcast_to(PLAIN[:1], (4, 3)),
    "int64": INTEGERS,
    "int8": INTEGERS.astype(np.int8),
    "uint8": INTEGERS.astype(np.uint8),
    "big-endian int": INTEGERS.astype(">i4"),
    "bool": INTEGERS > 2,
    "float16": PLAIN.astype(np.float16),
    "float32": PLAIN.astype(np.float32),
    "big-endian float64": PLAIN.astype(">f8"),
    "big-endian float32": PLAIN.astype(">f4"),
    "matrix": PLAIN.view(np.matrix),
    "masked array without a mask": np.ma.array(PLAIN),
    "masked array, nothing masked": np.ma.array(PLAIN, mask=np.zeros((4, 3), bool)),
    "unaligned": np.frombuffer(b"?" + PLAIN.tobytes(), offset=1).reshape(4, 3),
}


def checksum(x):
    return hashlib.sha256(np.asarray(x).tobytes()).hexdigest(), type(x)


BAD = {
    "one-dimensional": (PLAIN[0], ValueError, r"x has shape \(3,\), expected \(n, d\).*x\[None, :\].*x\[:, None\]"),
    "a number": (1.5, ValueError, r"x has shape \(\), expected \(n, d\)"),
    "three-dimensional": (PLAIN[None], ValueError, r"x has shape \(1, 4, 3\), expected \(n, d\).*reshape"),
    "empty list": ([], ValueError, r"x has shape \(0,\), expected \(n, d\)"),
    "too narrow": (PLAIN[:, :2], ValueError, r"x has shape \(4, 2\), expected \(n, 3\)"),
    "too wide": (np.ones((4, 5)), ValueError, r"x has shape \(4, 5\), expected \(n, 3\)"),
    "no columns": (np.ones((4, 0)), ValueError, r"x has shape \(4, 0\), expected \(n, 3\)"),
    "transposed": (np.ones((3, 7)), ValueError, r"x has shape \(3, 7\), expected \(n, 3\).*pass x\.T"),
    "NaN": (
        np.where(np.arange(12).reshape(4, 3) == 7, np.nan, PLAIN),
        ValueError,
        r"x\[2, 1\] is nan.*first bad row: 2",
    ),
    "infinity": (
        np.where(np.arange(12).reshape(4, 3) >= 10, -np.inf, PLAIN),
        ValueError,
        r"x\[3, 1\] is -inf.*first bad row: 3",
    ),
    "NaN in float32": (np.full((4, 3), np.nan, np.float32), ValueError, r"x\[0, 0\] is nan.*first bad row: 0"),
    "objects": (PLAIN.astype(object), TypeError, "x has dtype object, expected numbers"),
    "strings": (PLAIN.astype(str), TypeError, "x has dtype <U.*, expected numbers"),
    "a string": ("x", TypeError, "x has dtype <U1, expected numbers"),
    "bytes": (PLAIN.astype(bytes), TypeError, r"x has dtype \|S.*, expected numbers"),
    "dates": (INTEGERS.astype("datetime64[s]"), TypeError, r"x has dtype datetime64\[s\], expected numbers"),
    "records": (np.zeros((4, 3), "f8,f8"), TypeError, "x has dtype .*, expected numbers"),
    "unequal rows": ([[1.0, 2.0, 3.0], [4.0]], ValueError, "x cannot be made an array.*rows of unequal length"),
    "None": (None, TypeError, "x has dtype object, expected numbers"),
    "None in a list": ([[1.0, None, 2.0]], TypeError, "x has dtype object, expected numbers"),
    "a dict": ({"x": 1}, TypeError, "x has dtype object, expected numbers"),
    "masked entries": (
        np.ma.array(PLAIN, mask=PLAIN[1, 1] == PLAIN),
        ValueError,
        "x is a masked array with .* masked entries",
    ),
}


# explicit is looked at below
EXPLICIT_FIRST = {
    "one-dimensional",
    "a number",
    "three-dimensional",
    "empty list",
    "too narrow",
    "too wide",
    "no columns",
}


EXPLICIT_FIRST |= {"transposed", "a string", "unequal rows", "None", "None in a list", "a dict"}


def calls(model, sigma):
    """name -> function of x alone, for everything that takes x. `None` stands for a v that fits any good x."""
    v_like = lambda x: np.linspace(-1, 1, np.asarray(x).size).reshape(np.asarray(x).shape)
    fixed = lambda f: lambda x: f(x, V if np.shape(np.asarray(V)) != np.shape(peek(x)) else v_like(peek(x)))
    out = {
        "score": lambda x: model.score(x, **sigma),
        "trace": lambda x: model.trace(x, **sigma),
        "textbook": lambda x: model.trace(x, "textbook", **sigma),
        "hutchinson": lambda x: model.trace(x, "hutchinson", rng=0, **sigma),
        "jacobian": lambda x: model.jacobian(x, **sigma),
        "jvp": fixed(lambda x, v: model.jvp(x, v, **sigma)),
        "vjp": fixed(lambda x, v: model.vjp(x, v, **sigma)),
        "curvature": fixed(lambda x, v: model.curvature(x, v, **sigma)),
        "evaluate": lambda x: model.evaluate(x, trace=True, **sigma).pullback(trace_bar=1.0, score_bar=1.0),
        "implicit": lambda x: implicit(model, x, **sigma).gradient,
        "explicit": fixed(lambda x, v: explicit(model, x, v, **sigma).gradient),
    }
    if isinstance(model, EnergyMLP):
        out["energy"] = lambda x: model.energy(x, **sigma)
    return out


def peek(x):
    """x as an array, or an empty one if it is none."""
    try:
        return np.asarray(x)
    except ValueError:
        return np.empty(0)
