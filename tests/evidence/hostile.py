"""Damaged and hostile files through every reader: one exception class, no warning, no hang, no memory to speak of.

A file is a whole one that was cut, spoilt, spliced or blown up at random, or one whose entries are of another kind, shape or value. A reader
may take it or raise ValueError (OSError where the file itself cannot be read); anything else is a fault and is listed with its seed.
"""

import contextlib
import hashlib
import io
import json
import random
import sys
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np

import numpyscore as ns
from numpyscore.cli import main
from numpyscore.common.files import digest, read_npz
from numpyscore.learning.checkpoints import Checkpoint
from numpyscore.learning.task import Task
from numpyscore.learning.units import load_with_ladder
from numpyscore.lessons import folder as lessons

NUMBER = 10_000
SECONDS = 5.0  # that one file may take
SPARE = 4 << 20  # bytes beside twice the declared size: what NumPy, zipfile and a traceback take for themselves
TEXT = 24  # a text reader's bytes for each byte of text: Python's own objects for cells and numbers


# ------------------------------------------------------------------------------- spoiling bytes


def spoil(data, rng):
    """The bytes with one to three random faults."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        n = len(data)
        if not n:
            break
        i, k = rng.randrange(n), rng.choice((1, 2, 8, 64))
        match rng.randrange(9):
            case 0:
                data[i] ^= 1 << rng.randrange(8)
            case 1:
                data[i : i + k] = rng.randbytes(k)
            case 2:
                del data[i:]
            case 3:
                del data[i : i + k]
            case 4:
                data[i:i] = rng.randbytes(k)
            case 5:
                data[i:i] = data[i : i + 64 * k]
            case 6:
                data[i : i + k] = bytes(k)
            case 7:
                data[i : i + k] = b"\xff" * k
            case 8:
                j = rng.randrange(n)
                data[i:] = data[j:]
    return bytes(data)


# ------------------------------------------------------------------------------- entries of an npz that are of another kind

KINDS = ("<c16", "<c8", "<i8", "<u1", "?", "<f4", ">f8", "<f2", "<U7", "S3", "<M8[s]", "<f16", "<c32", "V8")
VALUES = (0.0, -1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324, 1e300, 2.0**63)


def twist(arrays, rng):
    """The dict of arrays with one or two entries of another dtype, shape or value, one too many or one too few."""
    arrays = {name: np.asarray(a) for name, a in arrays.items()}
    for _ in range(rng.randint(1, 2)):
        name = rng.choice(sorted(arrays))
        a = arrays[name]
        match rng.randrange(8):
            case 0:
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        with contextlib.suppress(RuntimeError):  # NumPy cannot write every date as text
                            arrays[name] = a.astype(rng.choice(KINDS))
                    except (ValueError, TypeError):
                        arrays[name] = np.zeros(a.shape, rng.choice(KINDS))
            case 1 if a.size and a.dtype.kind in "fiu":
                flat = a.copy().ravel()
                with np.errstate(all="ignore"), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    flat[rng.randrange(flat.size)] = np.array(rng.choice(VALUES)).astype(a.dtype)
                arrays[name] = flat.reshape(a.shape)
            case 2:
                arrays[name] = rng.choice((a[None], a.ravel(), a.T, a.reshape(-1)[:0], np.concatenate([a.ravel()] * 2)))
            case 3:
                del arrays[name]
                if not arrays:
                    break
            case 4:
                arrays[rng.choice(("x", "data_" + name, name + "0", "W99", "../" + name, "W1 ", "data_mix"))] = a
            case 5:
                arrays[name], other = arrays[rng.choice(sorted(arrays))], a
                arrays[rng.choice(sorted(arrays))] = other
            case 6:
                arrays[name] = np.asarray(
                    rng.choice(("", "1", "\x00", "a" * 10_000, "numpyscore-model", "tanh", "relu"))
                )
            case _:
                arrays[name] = np.zeros((0,) * rng.randint(0, 4))
    return arrays


def packed(arrays, rng):
    """An npz file: as ours, compressed, or with an entry whose header promises more than there is, or an object."""
    stream, bad = io.BytesIO(), rng.choice((None, None, None, "object", "header", "huge")) if arrays else None
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for k, (name, a) in enumerate(arrays.items()):
            member = io.BytesIO()
            if bad == "object" and k == 0:
                np.lib.format.write_array(member, np.array([{}, a], object), allow_pickle=True)
            else:
                np.lib.format.write_array(member, a, allow_pickle=False)
            content = member.getvalue()
            if bad == "header" and k == 0:
                content = content.replace(b"'shape': (", b"'shape': [", 1)
            if bad == "huge" and k == 0:
                huge = io.BytesIO()
                shape = rng.choice(((1 << 40,), (1 << 62, 1 << 62), (-1,), (1 << 20, 1 << 12)))
                np.lib.format.write_array_header_1_0(huge, {"descr": "<f8", "fortran_order": False, "shape": shape})
                content = huge.getvalue() + bytes(64)
            archive.writestr(name + ".npy", content)
    return stream.getvalue()


# ------------------------------------------------------------------------------- texts that are of another kind


def twist_json(document, rng):
    """The document with one to three of its nodes put in place of others, or replaced by what does not belong there."""
    strange = (
        None,
        True,
        0,
        -1,
        1e400,
        float("nan"),
        10**400,
        "",
        "0x1p99999",
        "\ud800",
        [],
        {},
        [[[]]],
        {"hex": "0x1p0"},
        "a" * 5000,
    )
    for _ in range(rng.randint(1, 3)):
        nodes, stack = [], [document]
        while stack:
            node = stack.pop()
            items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
            for key, value in items:
                nodes.append((node, key))
                stack.append(value)
        if not nodes:
            break
        node, key = rng.choice(nodes)
        if isinstance(node, dict) and rng.random() < 0.2:
            del node[key]
        else:
            node[key] = rng.choice(strange)
    return document


CELLS = ("", " ", "nan", "inf", "1e999", "-1e-999", "0x1p3", "1_0", "１２", "1,5", "1;5", '"', '""', '"a', "\x00", "a\tb", "9" * 400, "1e5000", "#", "\ufeff", "é", "-", "None", "True", "1j")  # fmt: skip


def twist_csv(text, rng):
    """The table with cells, separators, line ends, quotes or an encoding that do not belong there; bytes."""
    separator = rng.choice((",", ";", "\t", " ", "|"))
    lines = [line.split(",") for line in text.splitlines()]
    for _ in range(rng.randint(1, 4)):
        line = rng.choice(lines)
        match rng.randrange(5):
            case 0:
                line[rng.randrange(len(line))] = rng.choice(CELLS)
            case 1:
                line.append(rng.choice(CELLS))
            case 2:
                line[:] = line[:-1] or [""]
            case 3:
                lines.insert(rng.randrange(len(lines)), rng.choice(([], [""], line, ["#"], ["a"] * 3)))
            case 4:
                line[:] = line * rng.choice((2, 100))
    text = rng.choice(("\n", "\r\n", "\r", "\n\n", "\u2028")).join(separator.join(line) for line in lines)
    return text.encode(rng.choice(("utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-32")), errors="replace")


DEEP = [b"[" * 100_000, b'{"a":' * 50_000, b'{"cells":' + b"[" * 100_000, b"", b"null", b"[]", b'"', b"\xef\xbb\xbf{}", b'{"cells": [1]}', b'{"cells": {"a": 1}}', b"1" * 5000]  # fmt: skip


# ------------------------------------------------------------------------------- readers: whole files, and how they are read


class Reader:
    """A kind of file: `hostile(rng)` gives bytes, `read(path)` reads them, `declared(bytes)` is what they say they hold."""

    def __init__(self, name, ending, hostile, read, declared):
        self.name, self.ending, self.hostile, self.read, self.declared = name, ending, hostile, read, declared


def command(*words):
    """A command of numpyscore; ValueError with its line on stderr where it ends with 2, anything but one line is a fault."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    told = err.getvalue()
    if code not in (0, 1, 2, 3) or told.count("\n") > 1 or bool(told) != (code == 2):
        raise RuntimeError(f"exit {code} with {told!r} on stderr")
    if code == 2:
        raise ValueError(told)


def npz_size(data):
    """The bytes an archive says it unpacks to, or its own, if more."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return max(len(data), *(m.file_size for m in archive.infolist()))
    except Exception:
        return len(data)


def readers(folder):
    """Every reader, with whole files to spoil in `folder`."""
    folder, out = Path(folder), []
    # models: plain, with units, with a ladder
    models = [
        ns.EnergyMLP.init(2, (3, 4), "silu", confinement=0.5, rng=0),
        ns.ScoreMLP.init(3, (4,), "tanh", conditional=True, rng=1, dtype=np.float32),
    ]
    wholes = []
    for k, model in enumerate(models):
        model.save(folder / f"{k}.npz")
        wholes.append(read_npz(folder / f"{k}.npz", ValueError))
    d = {"columns": np.array(["a", "b"]), "mean": np.zeros(2), "scale": np.ones(2), "sigma": np.float64(0.1)}
    d |= {"lower": np.full(2, -5.0), "upper": np.full(2, np.inf), "mix": np.eye(2)}
    d |= {"ladder_theta": np.stack([models[0].theta] * 2), "ladder_sigma": np.array([2.0, 1.0])}
    wholes.append(wholes[0] | {f"data_{name}": a for name, a in d.items()})

    def npz(wholes, seal=lambda arrays: arrays):
        def hostile(rng):
            whole = rng.choice(wholes)
            if rng.random() < 0.4:
                stream = io.BytesIO()
                np.savez(stream, **whole)
                return spoil(stream.getvalue(), rng)
            return packed(seal(twist(whole, rng)), rng)

        return hostile

    out.append(Reader("model", ".npz", npz(wholes), ns.load, npz_size))
    out.append(Reader("model with units", ".npz", npz(wholes), load_with_ladder, npz_size))

    # a checkpoint, its seal made anew
    small = ns.EnergyMLP.init(2, (3,), "silu", rng=0)
    rows = ns.Gaussian(np.zeros(2), np.eye(2)).sample(12, rng=0)
    ns.fit(rows, objective="implicit", sigma=0.3, steps=2, model=small, out=folder / "fit")
    path = folder / "fit" / "checkpoint.npz"
    state = read_npz(path, ValueError)
    task = Task(rows, "implicit", 0.3, small, 0, "adam", 2, 256, 0.01)
    seal = lambda arrays: (rest := {n: a for n, a in arrays.items() if n != "sha256"}) | {"sha256": np.asarray(digest(rest))}  # fmt: skip

    def resume(path):
        checkpoint = Checkpoint(str(path.parent), str(state["seal"]))
        checkpoint.path = str(path)
        return checkpoint.read(task)

    out.append(Reader("checkpoint", ".npz", npz([state], seal), resume, npz_size))

    # tables
    text = "a,b,c\n" + "\n".join(
        ",".join(f"{v:.6g}" for v in row) for row in np.random.default_rng(0).normal(size=(20, 3))
    )

    def table(rng):
        return spoil(text.encode(), rng) if rng.random() < 0.3 else twist_csv(text, rng)

    out.append(Reader("CSV", ".csv", table, ns.from_csv, len))
    out.append(Reader("CSV, gaps left out", ".csv", table, lambda path: ns.from_csv(path, drop_missing=True), len))

    # reference vectors: one case beside a manifest that agrees with it
    from numpyscore.vectors import compare

    shipped = compare.shipped()
    case = next(name for name in shipped if name.endswith("energy-one-unit.json"))
    manifest = json.loads(shipped["manifest.json"])

    def vector(rng):
        if rng.random() < 0.1:
            return rng.choice(DEEP)
        if rng.random() < 0.3:
            return spoil(shipped[case], rng)
        return json.dumps(twist_json(json.loads(shipped[case]), rng)).encode("utf-8", "surrogatepass")

    def read_vector(path):
        own = path.with_suffix("")
        own.mkdir(exist_ok=True)
        content = path.read_bytes()
        (own / case).write_bytes(content)
        sums = {case: hashlib.sha256(content).hexdigest()}
        (own / "manifest.json").write_text(json.dumps(manifest | {"sha256": sums, "cases": 1}))
        return ns.read_vectors(own)

    def read_manifest(path):
        own = path.with_suffix("")
        own.mkdir(exist_ok=True)
        (own / "manifest.json").write_bytes(path.read_bytes())
        return ns.read_vectors(own)

    def list_of(rng):
        if rng.random() < 0.2:
            return rng.choice(DEEP)
        if rng.random() < 0.3:
            return spoil(shipped["manifest.json"], rng)
        return json.dumps(twist_json(json.loads(shipped["manifest.json"]), rng)).encode("utf-8", "surrogatepass")

    out.append(Reader("reference vector", ".json", vector, read_vector, len))
    out.append(Reader("manifest of vectors", ".json", list_of, read_manifest, len))

    # lessons
    lessons.start(folder / "script")
    lessons.start(folder / "book", notebook=True)
    script = next((folder / "script").glob("*.py")).read_bytes()
    book = next((folder / "book").glob("*.ipynb")).read_bytes()

    def notebook(rng):
        if rng.random() < 0.2:
            return rng.choice(DEEP)
        if rng.random() < 0.3:
            return spoil(book, rng)
        return json.dumps(twist_json(json.loads(book), rng)).encode("utf-8", "surrogatepass")

    out.append(Reader("lesson, a script", ".py", lambda rng: spoil(script, rng), lessons.read, len))
    out.append(Reader("lesson, a notebook", ".ipynb", notebook, lessons.read, len))

    # points for `check`, numbers for `compare`: through the command line, whose errors are one line each
    own = folder / "vectors"
    own.mkdir()
    (own / case).write_bytes(shipped[case])
    sums = {case: hashlib.sha256(shipped[case]).hexdigest()}
    (own / "manifest.json").write_text(json.dumps(manifest | {"sha256": sums, "cases": 1}))
    right = {"energy-one-unit": {"score": np.zeros((2, 3)).tolist(), "energy": [0.0, 0.0]}}

    def results(rng):
        if rng.random() < 0.1:
            return rng.choice(DEEP)
        text = json.dumps(twist_json(json.loads(json.dumps(right)), rng)).encode("utf-8", "surrogatepass")
        return spoil(text, rng) if rng.random() < 0.3 else text

    x = {"x": np.random.default_rng(0).normal(size=(4, 2)), "y": np.arange(3.0)}
    out.append(
        Reader(
            "points for check",
            ".npz",
            npz([x]),
            lambda path: command("check", "numpy:negative", "--at", path),
            npz_size,
        )
    )
    out.append(Reader("numbers for compare", ".json", results, lambda path: command("compare", own, path), len))
    return out


# ------------------------------------------------------------------------------- the trial


def fault(reader, data, path):
    """What is wrong with how a reader takes these bytes; None if nothing. And the bytes of memory it took over those declared."""
    path.write_bytes(data)
    started, wrong = time.monotonic(), None
    tracemalloc.start()
    try:
        with warnings.catch_warnings(record=True) as told, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            try:
                reader.read(path)
            except ValueError as error:
                if isinstance(error, UnicodeError):
                    wrong = f"{type(error).__name__}: {error}"
                elif len(str(error)) > 2000:
                    wrong = f"a message of {len(str(error))} characters"
            except OSError as error:
                wrong = None if error.filename is not None else f"OSError: {error}"
            except BaseException as error:
                wrong = f"{type(error).__name__}: {error}"
        if told:
            wrong = wrong or f"a warning: {told[0].message}"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    declared = reader.declared(data)
    if reader.ending != ".npz":
        declared *= TEXT / 2
    if peak > 2 * declared + SPARE:
        wrong = wrong or f"{peak} bytes of memory for {declared} declared"
    if time.monotonic() - started > SECONDS:
        wrong = wrong or f"{time.monotonic() - started:.1f} s"
    return wrong, peak


def trial(number, seed, folder):
    """({reader: (files, refused or taken as it should be)}, [faults]) of `number` files, shared evenly between the readers."""
    every, faults, counts = readers(folder), [], {}
    for reader in every:
        path, most = Path(folder) / f"hostile{reader.ending}", 0
        n = max(1, number // len(every))
        fault(reader, reader.hostile(random.Random(0)), path)  # what it imports is no memory of a file's
        for k in range(n):
            rng = random.Random(f"{seed} {reader.name} {k}")
            data = reader.hostile(rng)
            wrong, peak = fault(reader, data, path)
            most = max(most, peak)
            if wrong:
                faults.append(f"{reader.name}, seed {seed}, file {k} ({len(data)} bytes): {wrong[:300]}")
        counts[reader.name] = n, sum(f.startswith(reader.name + ",") for f in faults), most
    return counts, faults


def report(args):
    """Rows of the table, and the faults."""
    with tempfile.TemporaryDirectory() as folder:
        counts, faults = trial(round(NUMBER * args.share), args.seed, folder)
    rows = [
        (f"hostile files: {name}", "0 faults", f"{wrong} of {n}; at most {most / 1e6:.1f} MB")
        for name, (n, wrong, most) in counts.items()
    ]
    return rows, "\n".join(f"- {line}" for line in faults)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        counts, faults = trial(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 0, folder)
    print(counts, *faults[:40], f"{time.monotonic() - begun:.1f} s", sep="\n")
