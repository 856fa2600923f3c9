r"""Reference vectors: small networks, points and noise, and what every quantity and every objective is there, to 50 digits.

Nothing of the package's own passes is used. Values and derivatives in x come from jets, derivatives in the parameters from
reverse accumulation, activations from their definitions, all in `decimals`; this file writes down the networks and the
objectives as vectors/README.md states them, one sample at a time. Every vector is computed with more and more digits until 50 agree twice.

Inputs are multiples of 2^-10 below 2^5, so exact in float32, in float64, and as short decimals.
"""

import hashlib
import itertools
import json
import random
import secrets
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from pathlib import Path

from ..objectives import OBJECTIVES
from .decimals import Jet, Number, context, gradient, number

SCHEMA = "numpyscore-vectors/1"
DIGITS = 50  # of the decimals in the files
WORKING = (60, 90, 150, 300)  # digits computed with, until two in a row agree
HALF = Decimal("0.5")


# ------------------------------------------------------------------------------- the cases


@dataclass(frozen=True)
class Case:
    """What a reference vector is about; its numbers are drawn from its id, so that no case depends on another."""

    id: str
    kind: str  # "energy" or "score"
    activation: str
    dim: int
    widths: tuple
    conditional: bool = False
    confinement: float = 0.0
    samples: int = 2
    gain: float = 1.0  # of the weights
    flags: tuple = ()


SMOOTH = ("tanh", "softplus", "silu", "sigmoid", "sin", "erf", "gelu")
SHAPES = ((2, (3, 2)), (1, (4,)), (3, (2, 3)), (4, (3,)), (2, (2, 2, 2)), (3, (4,)), (1, (2, 3)))  # dim, widths


def cases():
    """All cases, in the order of the manifest."""
    every = []
    for kind in ("energy", "score"):
        energy = kind == "energy"
        for k, (activation, (dim, widths)) in enumerate(zip(SMOOTH, SHAPES, strict=True)):
            plain = Case(f"{kind}-{activation}", kind, activation, dim, widths, flags=("plain",))
            told = Case(
                f"{kind}-{activation}-conditional", kind, activation, 1 + (k + 1) % 3, ((2, 2), (3,))[k % 2],
                conditional=True, confinement=0.75 * energy * (k % 3 == 0), flags=("conditional",),
            )  # fmt: skip
            tail = Case(f"{kind}-{activation}-tail", kind, activation, 2, (3,), samples=3, gain=10.0, flags=("tail",))
            every += [plain, told, tail] if energy else [plain, told]
        every += [
            Case(f"{kind}-zero-weights", kind, "softplus", 2, (2,), gain=0.0, flags=("zero weights",)),
            Case(f"{kind}-one-unit", kind, "tanh", 3, (1,), flags=("one unit",)),
            Case(f"{kind}-deep", kind, "silu", 4, (2, 3, 2), flags=("deep",)),
            Case(f"{kind}-one-sample", kind, "softplus", 2, (3,), samples=1, flags=("one sample",)),
        ]
    every.append(Case("energy-confined", "energy", "sigmoid", 2, (3,), confinement=0.5, flags=("confined",)))
    return tuple(every)


def draw(case):
    """The numbers that go in, floats in nested lists: layers [(W, b), ...], x, sigma, and what each objective is given."""
    rng = random.Random(case.id)
    n, d, told = case.samples, case.dim, case.conditional

    def grid(shape, reach, bits):
        """Uniform in +-reach, on multiples of 2^-bits; ``random()`` gives the same in every version of Python."""
        if shape:
            return [grid(shape[1:], reach, bits) for _ in range(shape[0])]
        return round((2 * rng.random() - 1) * reach * 2**bits) / 2**bits

    levels = lambda *shape: _mapped(lambda a: 1.125 + a, grid(shape, 0.875, 3))  # standard deviations, 0.25 to 2
    sizes = [d + told, *case.widths, 1 if case.kind == "energy" else d]
    layers = [
        (grid((k, m), case.gain * 1.5 / k**0.5, 8), grid((m,), min(case.gain, 1) * 0.5, 8))
        for k, m in itertools.pairwise(sizes)
    ]
    x = grid((n, d), 2, 5)
    return {
        "layers": layers,
        "x": x,
        "sigma": levels(n) if told else None,
        "target_score": grid((n, d), 1.5, 6),
        "h": _mapped(lambda a: a * a, x),
        "h_prime": _mapped(lambda a: 2 * a, x),
        "noise": grid((n, d), 2, 6),
        "noise_sigma": levels(n),
        "level_sigmas": levels(2),
        "level_noise": grid((2, n, d), 2, 6),
        "probes": [_mapped(lambda a: 1.0 if a > 0 else -1.0, grid((n, d), 1, 6)), grid((n, d), 1.5, 6)],
        "step": 0.0625,
    }


# ------------------------------------------------------------------------------- a network at a point


@dataclass(frozen=True)
class Point:
    """Energy, score (d) and Jacobian (d x d) at one point, as far as they were asked for."""

    energy: Number | None
    score: list
    jacobian: list


class Network:
    """The network of a case, its parameters Numbers; ``at(x, sigma, order)`` evaluates it."""

    def __init__(self, case, layers):
        self.case = case
        self.layers = [(_mapped(number, W), _mapped(number, b)) for W, b in layers]
        self.theta = [w for W, b in self.layers for w in [*(w for row in W for w in row), *b]]

    def at(self, x, sigma, order):
        """Energy (order 0), score (order 1), Jacobian (order 2)."""
        case, d = self.case, self.case.dim
        order -= case.kind == "score"  # such a network gives the score itself
        coordinates = [Jet.variable(number(c), i, d, order) for i, c in enumerate(x)]
        log_sigma = [Jet.variable(number(Decimal(sigma).ln()), None, d, order)] if case.conditional else []
        a = coordinates + log_sigma
        for W, b in self.layers[:-1]:
            a = [z.through(case.activation) for z in _affine(a, W, b)]
        y = _affine(a, *self.layers[-1])
        if case.conditional:
            y = [y_i * (1 / Decimal(sigma)) for y_i in y]
        if case.kind == "score":
            return Point(None, [y_i.value for y_i in y], [y_i.first for y_i in y] if order > 0 else [])
        f, lam = y[0], Decimal(case.confinement)
        if lam:
            lam = lam / (1 + Decimal(sigma) ** 2) if case.conditional else lam
            f = f + sum(c * c for c in coordinates) * (HALF * lam)
        return Point(f.value, [-g for g in f.first], [[-h for h in row] for row in f.second])


def _affine(a, W, b):
    """a W + b."""
    columns = zip(*W, strict=True)
    return [
        sum(a_i * w for a_i, w in zip(a, column, strict=True)) + b_j for column, b_j in zip(columns, b, strict=True)
    ]


# ------------------------------------------------------------------------------- the objectives, of one sample


class Sample:
    """Sample k of a case, with its network there, for the formulas of the objectives: `Objective.exact`, see vectors/README.md."""

    HALF = HALF

    def __init__(self, net, data, k, point):
        decimals = lambda name: [Decimal(a) for a in data[name][k]]
        self.net, self.point, self.x, self.sigma = net, point, data["x"][k], data["sigma"] and data["sigma"][k]
        self.score, self.diagonal = point.score, [row[i] for i, row in enumerate(point.jacobian)]
        self.target_score, self.h, self.h_prime, self.noise = map(decimals, ("target_score", "h", "h_prime", "noise"))
        self.noise_sigma, self.step = data["noise_sigma"][k], Decimal(data["step"])
        self.levels = [(Decimal(s), e[k]) for s, e in zip(data["level_sigmas"], data["level_noise"], strict=True)]
        self.probes = [[Decimal(a) for a in v[k]] for v in data["probes"]]
        self.curvatures = [_dot(v, [_dot(row, v) for row in point.jacobian]) for v in self.probes]
        self.half_square, self.dot, self.mean = _half_square, _dot, _mean

    def denoising(self, noise, sigma):
        """1/2 |s(x + sigma eps; sigma) + eps/sigma|^2."""
        sigma = Decimal(sigma)
        s = self.net.at(_moved(self.x, noise, sigma), sigma, 1).score
        return _half_square([s_i + Decimal(e) / sigma for s_i, e in zip(s, noise, strict=True)])

    def differences(self, v, reduced):
        """Energies: -(f+ - 2 f + f-)/eps^2 + (f+ - f-)^2/(8 eps^2). Scores: v.(s+ - s-)/(2 eps) + 1/2 (v.m)^2, m = (s+ + s-)/2.

        Reduced: + 1/2 |s|^2, and + 1/2 |m|^2, in the second term's place.
        """
        h, net = self.step, self.net
        energies = net.case.kind == "energy"
        plus, minus = (net.at(_moved(self.x, v, step), self.sigma, 0 if energies else 1) for step in (h, -h))
        if energies:
            plus, minus = plus.energy, minus.energy
            curvature = (plus - self.point.energy * 2 + minus) * (-1 / h**2)
            square = _half_square(self.score) if reduced else _half_square([plus - minus]) * (1 / (2 * h) ** 2)
            return curvature + square
        both = list(zip(plus.score, minus.score, strict=True))
        mean = [(p + m) * HALF for p, m in both]
        square = _half_square(mean) if reduced else _half_square([_dot(v, mean)])
        return _dot(v, [p - m for p, m in both]) * (1 / (2 * h)) + square


def losses(net, data, k, point):
    """Every objective's loss of sample k, {name: Number}, `point` being the network there."""
    sample = Sample(net, data, k, point)
    return {name: a for row in OBJECTIVES.values() if row.exact for name, a in row.exact(sample).items()}


def _moved(x, v, h):
    """x + h v."""
    return [number(a) + number(h * Decimal(c)) for a, c in zip(x, v, strict=True)]


def _half_square(a):
    """1/2 |a|^2."""
    return sum(number(a_i) * number(a_i) for a_i in a) * HALF


def _dot(v, a):
    """v . a for constants v."""
    return sum(number(a_i) * v_i for v_i, a_i in zip(v, a, strict=True))


def _mean(a):
    return sum(a) * (1 / Decimal(len(a)))


# ------------------------------------------------------------------------------- one vector


def expected(case, data):
    """{name: nested lists of (value, size)} of every quantity, in the current context."""
    net = Network(case, data["layers"])
    told = data["sigma"] or [None] * case.samples
    points = [net.at(x, sigma, 2) for x, sigma in zip(data["x"], told, strict=True)]
    out = {"energy": [p.energy for p in points]} if case.kind == "energy" else {}
    out |= {
        "score": [p.score for p in points],
        "jacobian": [p.jacobian for p in points],
        "trace": [sum(row[i] for i, row in enumerate(p.jacobian)) for p in points],
    }
    out = _mapped(lambda a: (number(a).value, number(a).size), out)
    by_sample = [losses(net, data, k, point) for k, point in enumerate(points)]
    for name in by_sample[0]:
        per_sample = [terms[name] for terms in by_sample]
        value = _mean(per_sample)
        out[f"{name}.value"] = (value.value, value.size)
        out[f"{name}.per_sample"] = [(a.value, a.size) for a in per_sample]
        out[f"{name}.gradient"] = gradient(value, net.theta)
    return out


def generate(case):
    """The document of one case: what its file says."""
    data = draw(case)
    exact, decimals = _computed(case, data)
    layers = [{"W": _exact(W), "b": _exact(b)} for W, b in data.pop("layers")]
    network = {
        "kind": case.kind,
        "activation": case.activation,
        "dim": case.dim,
        "conditional": case.conditional,
        "confinement": _exact(case.confinement),
        "layers": layers,
    }
    results = {
        name: {
            "hex": _mapped(lambda pair: float(pair[0]).hex(), pairs),
            "decimal": decimals[name],
            "scale": _mapped(lambda pair: float(pair[1]), pairs),
        }
        for name, pairs in exact.items()
    }
    inputs = {name: _exact(a) for name, a in data.items() if a is not None}
    head = {"schema": SCHEMA, "id": case.id, "flags": list(case.flags)}
    return head | {"network": network, "inputs": inputs, "expected": results}


def _computed(case, data):
    """What is expected as (value, size to 4 digits), and the values' decimals, with as many digits as it takes."""
    before = None
    for digits in WORKING:
        with context(digits):
            exact = _mapped(_settled, expected(case, data))
        with context(DIGITS):
            decimals = _mapped(lambda pair: str((+pair[0]).normalize()), exact)
        if decimals == before:
            with context(4):
                return _mapped(lambda pair: (pair[0], +pair[1]), exact), decimals
        before = decimals
    raise ArithmeticError(f"golden: {case.id} has not settled to {DIGITS} digits within {WORKING[-1]}")


def _settled(pair):
    """A value that is rounding beside its size is 0: nothing else makes 50 digits cancel."""
    value, size = pair
    return (value if abs(value) > size.scaleb(-DIGITS) else Decimal(0)), size


def _exact(a):
    """Doubles as hex and as their exact decimals."""
    return {"hex": _mapped(float.hex, a), "decimal": _mapped(lambda v: str(Decimal(v)), a)}


def _mapped(f, a):
    """f of everything in nested lists and dicts; a pair (value, size) is one thing."""
    if isinstance(a, dict):
        return {name: _mapped(f, b) for name, b in a.items()}
    return [_mapped(f, b) for b in a] if isinstance(a, list) else f(a)


# ------------------------------------------------------------------------------- files


def render(document):
    """A document as bytes, the same everywhere: a line for each entry of its parts."""
    line = lambda name, part: f"{json.dumps(name)}: {json.dumps(part, allow_nan=False)}"
    block = lambda part: "{\n" + ",\n".join(f"  {line(*item)}" for item in part.items()) + "\n }"
    entries = [
        f" {json.dumps(name)}: {block(part)}" if isinstance(part, dict) else f" {line(name, part)}"
        for name, part in document.items()
    ]
    return ("{\n" + ",\n".join(entries) + "\n}\n").encode("ascii")


def manifest(files):
    """The bytes of manifest.json for {file name: bytes}: the schema, and the SHA-256 of every file."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return render({"schema": SCHEMA, "cases": len(files), "sha256": sums})


def regenerated(say=lambda text: None):
    """{file name: bytes} of every case and of the manifest, computed anew; ``say`` is told the case at work."""
    files = {}
    for case in cases():
        say(case.id)
        files[f"{case.id}.json"] = render(generate(case))
    return files | {"manifest.json": manifest(files)}


def shipped():
    """{file name: bytes} of what is in the package: README.md, manifest.json and a file for every case."""
    folder = resources.files(__package__)
    return {
        file.name: file.read_bytes()
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if file.name.endswith((".json", ".md"))
    }


def write(files, folder):
    """Write {file name: bytes} into a folder, the manifest last; nothing is written if another file stands in the way.

    Raises
    ------
    ValueError
        If the folder holds a file of the same name and other content.
    OSError
        If it cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if path.exists() and (not path.is_file() or path.read_bytes() != content):
            raise ValueError(
                f"golden: {path} exists and is not what would be written; expected an empty or new folder, so that nothing "
                f"of yours is lost. Choose another --out, or remove it."
            )
    for name in sorted(files, key=lambda name: (name == "manifest.json", name)):
        path, temporary = folder / name, folder / f"{name}.{secrets.token_hex(4)}.tmp"
        if not path.exists():
            try:
                temporary.write_bytes(files[name])
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
