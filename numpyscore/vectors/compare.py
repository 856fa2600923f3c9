r"""Somebody's numbers against the reference vectors: read and verified, compared one array at a time in units of eps x S.

S is the scale that stands beside every number: the same formula with absolute values and plus for minus, so that an error is
measured by what was summed and not by what happened to be left. `golden` made the vectors, without any of the passes.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..common.arrays import dtype_name, to_numpy
from ..common.inputs import positive
from ..common.names import shortened
from ..networks.models import EnergyMLP, ScoreMLP
from ..objectives import OBJECTIVES
from .golden import SCHEMA, shipped

LIMIT = 64.0  # eps x S


class Unit(NamedTuple):
    """A dtype's relative spacing at 1, and its smallest normal number, below which results may be anything so small."""

    eps: float
    tiny: float


UNITS = {
    "float64": Unit(2.0**-52, 2.0**-1022),
    "float32": Unit(2.0**-23, 2.0**-126),
    "bfloat16": Unit(2.0**-7, 2.0**-126),
    "float16": Unit(2.0**-10, 2.0**-14),
}


class Expected(NamedTuple):
    """A quantity to 50 digits, rounded once: `value` and its error scale S, float64 arrays of one shape."""

    value: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Vector:
    """One reference vector: a network, what goes in, and what comes out.

    Parameters
    ----------
    id : str
    flags : tuple of str
        "tail": units so far in their tails that 1 - tanh^2 and the like lose everything.
    kind : str
        "energy" or "score", what the network is for.
    activation : str
    conditional : bool
        Whether log sigma is one more input, the last, and the network part carries 1/sigma.
    confinement : float
        lambda.
    layers : tuple of (W, b)
        float64; W is (in, out).
    inputs : dict of float64 arrays
        "x" (n, d), "sigma" (n,) if conditional, and what the objectives are given: see vectors/README.md.
    expected : dict of Expected
        By the name of the quantity: "score", "implicit.value", "implicit.gradient", ...
    """

    id: str
    flags: tuple
    kind: str
    activation: str
    conditional: bool
    confinement: float
    layers: tuple
    inputs: dict
    expected: dict

    @property
    def x(self):
        """The points (n, d)."""
        return self.inputs["x"]

    @property
    def sigma(self):
        """The noise levels (n,) that a conditional network is told, else None."""
        return self.inputs.get("sigma")


# ------------------------------------------------------------------------------- reading


def read_vectors(folder=None):
    """The reference vectors in a folder, every file held against the manifest; those of the package without one.

    Parameters
    ----------
    folder : path, optional
        As written by ``numpyscore golden --out DIR``.

    Returns
    -------
    vectors : list of Vector

    Raises
    ------
    ValueError
        If the schema is another one, a file is missing, truncated or changed, or a number's hex and decimal disagree.
    OSError
        If the folder cannot be read.
    """
    files = shipped() if folder is None else None
    read = (lambda name: files[name]) if files else lambda name: (Path(folder) / name).read_bytes()
    try:
        manifest = _parsed("manifest.json", read("manifest.json"))
    except FileNotFoundError:
        raise ValueError(
            f"read_vectors: {folder} has no manifest.json; `numpyscore golden --out {folder}` writes the vectors there."
        ) from None
    sums = manifest.get("sha256")
    if not isinstance(sums, dict) or not sums or manifest.get("cases") != len(sums):
        raise ValueError(
            f"read_vectors: manifest.json names {len(sums) if isinstance(sums, dict) else 'no'} files and says cases = "
            f"{manifest.get('cases')!r:.60}, expected as many, at least one; write the vectors again."
        )
    vectors = []
    for name, expected in sums.items():
        if name != Path(name).name:
            raise ValueError(f"read_vectors: manifest.json names {name!r:.60}, expected a file in the same folder.")
        try:
            content = read(name)
        except FileNotFoundError:
            raise ValueError(
                f"read_vectors: {name} is missing, which manifest.json names; write the vectors again."
            ) from None
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise ValueError(
                f"read_vectors: {name} ({len(content)} bytes) has SHA-256 {found[:16]}..., and manifest.json says "
                f"{str(expected)[:16]}...: it was changed or truncated. Write the vectors again, into an empty folder."
            )
        vectors.append(_vector(name, _parsed(name, content)))
    return vectors


def _parsed(name, content):
    """A JSON object of our schema."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"read_vectors: {name} is not whole JSON ({error}): truncated? Write the vectors again."
        ) from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ValueError(
            f"read_vectors: {name} has schema {schema!r:.60}, expected {SCHEMA!r}: it is of another version, or no reference vector."
        )
    return document


def _vector(name, document):
    try:
        net, inputs = document["network"], {key: _doubles(name, a) for key, a in document["inputs"].items()}
        layers = tuple((_doubles(name, layer["W"]), _doubles(name, layer["b"])) for layer in net["layers"])
        expected = {
            key: Expected(_doubles(f"{name}, {key}", a), _scale(f"{name}, {key}", a["scale"]))
            for key, a in document["expected"].items()
        }
        return Vector(
            document["id"], tuple(document["flags"]), net["kind"], net["activation"], net["conditional"],
            float(_doubles(name, net["confinement"])), layers, inputs, expected,
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise ValueError(
            f"read_vectors: {name} lacks what the schema {SCHEMA} asks for ({shortened(repr(error))})."
        ) from None


def _scale(where, numbers):
    try:
        return np.array(numbers, float)
    except (ValueError, TypeError, ArithmeticError):
        raise ValueError(f"read_vectors: {where}: its scale is no array of numbers.") from None


def _doubles(where, numbers):
    """The array of {"hex", "decimal"}, which must say the same."""
    hexes = np.array(numbers["hex"], object)
    if hexes.shape != np.shape(numbers["decimal"]):
        raise ValueError(f"read_vectors: {where}: hex and decimal have different shapes.")
    values = []
    for h, text in zip(hexes.ravel(), np.array(numbers["decimal"], object).ravel(), strict=True):
        try:
            values.append(float.fromhex(h))
            same = values[-1] == float(text)
        except (ValueError, TypeError, ArithmeticError):
            raise ValueError(
                f"read_vectors: {where}: {h!r:.60} and {text!r:.60} are no hex and decimal of a number."
            ) from None
        if not same:
            raise ValueError(
                f"read_vectors: {where}: {h:.60} is {values[-1]!r}, but the decimal beside it says {text!s:.60}."
            )
    return np.array(values, float).reshape(hexes.shape)


# ------------------------------------------------------------------------------- our own numbers


def model(vector):
    """The network of a vector as an `EnergyMLP` or a `ScoreMLP`."""
    options: dict[str, Any] = {"conditional": vector.conditional}
    if vector.kind == "energy":
        return EnergyMLP.from_arrays(vector.layers, vector.activation, confinement=vector.confinement, **options)
    return ScoreMLP.from_arrays(vector.layers, vector.activation, **options)


def evaluate(vector):
    """All quantities of a vector by numpyscore itself: an example of what `compare` is given.

    Returns
    -------
    quantities : dict
        "energy", "score", "jacobian", "trace", and value, per_sample and gradient of every objective.
    """
    net, given, told = model(vector), vector.inputs, {"sigma": vector.sigma}
    x = vector.x
    out = {"energy": net.energy(x, **told)} if vector.kind == "energy" else {}
    out |= {"score": net.score(x, **told), "jacobian": net.jacobian(x, **told), "trace": net.trace(x, **told)}
    losses: dict[str, Any] = {}
    for row in OBJECTIVES.values():
        if row.losses is not None:
            losses |= row.losses(net, x, given, told)
    for name, loss in losses.items():
        out |= {f"{name}.{part}": getattr(loss, part) for part in ("value", "per_sample", "gradient")}
    return out


# ------------------------------------------------------------------------------- comparing


@dataclass(frozen=True)
class Row:
    """One quantity of one vector: the worst entry's error in eps x S, and what is at fault, if anything is."""

    id: str
    quantity: str
    flags: tuple
    error: float
    dtype: str
    fault: str


@dataclass(frozen=True)
class Comparison:
    """All that was compared: rows, the limit in eps x S, and {quantity: number of vectors that lack it}."""

    rows: tuple
    limit: float
    missing: dict

    @property
    def faults(self):
        """The rows that do not agree, the worst first."""
        return sorted((row for row in self.rows if row.fault), key=lambda row: -row.error)

    def __bool__(self):
        return bool(self.rows) and not self.faults


def compare(theirs, vectors=None, *, limit=LIMIT, without=(), dtype=None):
    """Somebody's quantities against the reference vectors.

    Parameters
    ----------
    theirs : callable or mapping
        ``theirs(vector)`` returns, or ``theirs[vector.id]`` is, a mapping from names of quantities (those of
        ``vector.expected``) to arrays, tensors, numbers or nested lists; a gradient may be a list of arrays in the order W1,
        b1, W2, .... What is left out counts as missing, not as wrong; so does a vector for which None or {} comes back.
    vectors : list of Vector, optional
        Those of the package without it.
    limit : float
        What still agrees, in eps x S; eps is that of the dtype that came back.
    without : sequence of str
        Flags, such as "tail": vectors that carry one are left out.
    dtype : float32 or float64, optional
        What was computed in, where the numbers do not say so themselves: those of a file.

    Returns
    -------
    Comparison
        True if everything that was given agrees, and something was.

    Raises
    ------
    ValueError
        If a quantity, vector or flag has a name that is not known: a misspelt one would silently count as missing.
    TypeError
        If theirs is neither, or something else than a mapping comes back.
    """
    vectors = read_vectors() if vectors is None else vectors
    limit = positive("compare", "limit", limit)
    ask: Callable = theirs if callable(theirs) else lambda vector: theirs.get(vector.id)
    known = dict.fromkeys(name for vector in vectors for name in vector.expected)
    _known("flag", without, dict.fromkeys(flag for vector in vectors for flag in vector.flags))
    if not callable(theirs) and not isinstance(theirs, Mapping):
        raise TypeError(
            f"compare: theirs is a {type(theirs).__name__}, expected a function of a vector, or a mapping of ids."
        )
    if not callable(theirs):
        _known("vector", theirs, [vector.id for vector in vectors])
    rows: list[Row] = []
    missing: dict[str, int] = {}
    for vector in (vector for vector in vectors if not set(without) & set(vector.flags)):
        try:
            given = ask(vector)
        except (Exception, SystemExit) as error:  # their code: said beside the vector, and the others go on
            said = " ".join(f"raised {type(error).__name__}: {error}".split())
            rows.append(Row(vector.id, "all", vector.flags, np.inf, "", said))
            continue
        given = {} if given is None else given
        if not isinstance(given, Mapping):
            raise TypeError(
                f"compare: {vector.id} came back as a {type(given).__name__}, expected a mapping such as {{'score': array}}."
            )
        _known("quantity", given, known)
        for name, expected in vector.expected.items():
            if given.get(name) is None:
                missing[name] = missing.get(name, 0) + 1
            else:
                rows.append(_row(vector, name, expected, given[name], limit, dtype))
    return Comparison(tuple(rows), limit, missing)


def _known(what, names, known):
    """Refuse the first name that is not known."""
    for name in names:
        if name not in known:
            raise ValueError(f"compare: {name!r} is no {what} of these vectors; they have {', '.join(known)}.")


def _row(vector, name, expected, given, limit, dtype):
    came = _dtype(given)
    row = lambda error, fault: Row(vector.id, name, vector.flags, error, came, fault)
    try:
        a = _array(name, given)
    except (TypeError, ValueError, OverflowError) as error:
        return row(np.inf, " ".join(str(error).split()))
    if a.shape != expected.value.shape:
        return row(np.inf, f"has shape {a.shape}, expected {expected.value.shape}")
    unit = UNITS.get(dtype or came.rpartition(".")[2], UNITS["float64"])
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(a - expected.value) / (unit.eps * expected.scale + unit.tiny)
    off = np.where(np.isnan(off), np.inf, off)
    at = np.unravel_index(np.argmax(off), off.shape)
    place = f"[{', '.join(map(str, at))}] " if at else ""
    fault = f"{place}is {a[at]}, expected {expected.value[at]}" if off[at] > limit else ""
    return row(float(off[at]), fault)


def _array(name, given):
    """The float64 array of a quantity; a gradient may come in pieces, numbers as hex or decimal text."""
    if name.endswith(".gradient") and isinstance(given, list | tuple):
        return np.concatenate(
            [np.ravel(_array(name.removesuffix(".gradient"), piece)) for piece in given] or [np.empty(0)]
        )
    a = to_numpy(_numbers(given), name)
    if a.dtype.kind == "c":
        raise TypeError(f"{name} is complex, expected real numbers")
    return a.astype(float)


def _numbers(a):
    """Nested lists with text turned into numbers."""
    if isinstance(a, list | tuple):
        return [_numbers(b) for b in a]
    try:
        return (float.fromhex(a) if "x" in a else float(a)) if isinstance(a, str) else a
    except (ValueError, OverflowError):
        raise ValueError(f"{a!r:.60} is no number, decimal or hex, of a double's range") from None


def _dtype(a):
    """The name of the dtype of an array, or of the first one in nested lists; of plain numbers and texts that of Python's."""
    while isinstance(a, list | tuple) and a:
        a = a[0]
    return "float64" if isinstance(a, str | list | tuple) else dtype_name(a)
