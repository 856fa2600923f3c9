"""Mutation score: how many small faults, put into the package one at a time, the tests of the same room find.

    python tests/evidence/mutants.py                      # 25 mutants of each room, by seed
    python tests/evidence/mutants.py --number 100 numerics check/score.py

Every test of the room runs once under a tracer, which tells what lines it reaches. A mutant is one change of the syntax tree on a line that
some test reaches; it is imported in a fork of a process that has NumPy, SciPy and pytest already loaded, and the tests that reach its line
run, the quickest first, until one fails. What survives is listed; where `equivalent.txt` says why no test can see it, it does not count.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import os
import pickle
import random
import resource
import signal
import sys
import threading
import time
from collections import Counter, namedtuple
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE, TESTS, HERE = ROOT / "numpyscore", ROOT / "tests", Path(__file__).resolve().parent
ABOUT = (
    "Not counted as faults: annotations and messages; a tolerance or a limit a quarter further, and a number of 8 or more that multiplies eps one further. "
    "Equivalent: argued one by one in tests/evidence/equivalent.txt, efforts (steps, points, thresholds between measured numbers) among them."
)
ROOMS = (
    "textbook",
    "networks",
    "objectives",
    "densities",
    "numerics",
    "sampling",
    "estimation",
    "derivations",
    "check",
)
NUMBER = 25  # mutants of each room
MEMORY = 6 << 30  # bytes a mutant may take
LOADED = ("numpy", "scipy.special", "scipy.linalg", "scipy.integrate", "scipy.optimize", "scipy.stats", "pytest", "hypothesis", "hypothesis.extra.numpy", "hypothesis.strategies")  # fmt: skip

Mutant = namedtuple(
    "Mutant", "file line node part what"
)  # the node's place in ast.walk, which of its mutations, in words


# ------------------------------------------------------------------------------- what may be changed

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
COMPARISONS = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip


def changes(node):
    """The mutations of one node as (words, function that returns what stands in its place)."""

    def put(words, **fields):
        def change(n):
            for name, value in fields.items():
                setattr(n, name, value)
            return n

        return words, change

    name = lambda op: op.__name__
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            other = OPERATORS[type(op)]
            yield put(f"{name(type(op))} becomes {name(other)}", op=other())
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert() as op):
            yield f"{name(type(op))} dropped", lambda n: n.operand
        case ast.Compare(ops=ops):
            for k, op in enumerate(ops):
                for other in COMPARISONS[type(op)]:
                    yield put(f"{name(type(op))} becomes {name(other)}", ops=[*ops[:k], other(), *ops[k + 1 :]])
        case ast.BoolOp(op=op):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield put(f"{name(type(op))} becomes {name(other)}", op=other())
        case ast.Constant(value=bool() as value):
            yield put(f"{value} becomes {not value}", value=not value)
        case ast.Constant(value=int() as value):
            yield put(f"{value} becomes {value + 1}", value=value + 1)
            if value:
                yield put(f"{value} becomes {value - 1}", value=value - 1)
        case ast.Constant(value=float() as value):
            yield put(f"{value} becomes {1.25 * value or 1.0}", value=1.25 * value or 1.0)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield put("condition turned round", test=ast.UnaryOp(ast.Not(), test))
        case ast.Call(keywords=keywords) if keywords:
            for k, keyword in enumerate(keywords):
                if keyword.arg not in (None, "strict", "copy"):
                    yield put(f"keyword {keyword.arg} dropped", keywords=keywords[:k] + keywords[k + 1 :])
    if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or isinstance(
        node, (ast.AugAssign, ast.Raise)
    ):
        yield "statement dropped", lambda n: ast.Pass()


def skipped(tree):
    """Nodes that say nothing of what is computed: annotations, decorators, messages, zip's strict, astype's copy, and what only type checkers read.

    Nor how much room there is: a number of 8 or more that multiplies eps, and the tolerance or the limit that an integrator or a comparison is given,
    would be an eighth or a quarter more or less. That a bound is not far too wide or too narrow is what the tests of wrong twins and of right ones say.
    """
    out = set()
    for node in ast.walk(tree):
        parts = []
        match node:
            case ast.FunctionDef(args=args, returns=returns, decorator_list=decorators):
                parts = [a.annotation for a in (*args.args, *args.kwonlyargs, *args.posonlyargs)] + [
                    returns,
                    *decorators,
                ]
            case ast.ClassDef(decorator_list=decorators):
                parts = decorators
            case ast.AnnAssign(annotation=annotation):
                parts = [annotation]
            case ast.JoinedStr():
                parts = [node]
            case ast.keyword(arg="strict" | "copy"):  # of zip: a claim that never fails; of astype: the same numbers
                parts = [node]
            case ast.keyword(
                arg="rtol" | "atol" | "epsabs" | "epsrel" | "abseps" | "releps" | "limit",
                value=ast.Constant(value=float() | int()),
            ):
                parts = [node]
            case ast.BinOp(
                op=ast.Mult(),
                left=ast.Constant(value=value),
                right=ast.Name(id="EPS" | "eps") | ast.Attribute(attr="eps"),
            ) if value >= 8:
                parts = [node.left]
            case ast.Raise(exc=exc):
                parts = [exc]
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                parts = [node]
        out.update(id(n) for part in parts if part is not None for n in ast.walk(part))
    return out


def mutants(path):
    """Every mutant of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    no = skipped(tree)
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in no:
            for part, (words, _) in enumerate(changes(node)):
                yield Mutant(str(path.relative_to(ROOT)), node.lineno, place, part, words)


def compiled(mutant):
    """The code of the file with this mutant in it."""
    path = ROOT / mutant.file
    tree = ast.parse(path.read_text(encoding="utf-8"))
    target = next(node for place, node in enumerate(ast.walk(tree)) if place == mutant.node)
    change = list(changes(target))[mutant.part][1]

    class Put(ast.NodeTransformer):
        def visit(self, node):
            if node is not target:
                return self.generic_visit(node)
            return ast.copy_location(change(copy.copy(node)), node)

    return compile(ast.fix_missing_locations(Put().visit(tree)), str(path), "exec", dont_inherit=True)


def functions(path):
    """The lines within functions of a file; the others run when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = (ast.FunctionDef, ast.Lambda)
    spans = [
        (n.body[0] if isinstance(n.body, list) else n.body, n.end_lineno)
        for n in ast.walk(tree)
        if isinstance(n, inner)
    ]
    return {line for first, last in spans for line in range(first.lineno, last + 1)}


# ------------------------------------------------------------------------------- forks


def fork(work, limit):
    """What `work` returns in a process of its own; None where it ended in another way or took longer than `limit` seconds."""
    take, put = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setsid()  # so that what it starts ends with it
            os.close(take)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.environ["NUMPYSCORE_TEST_PROCESSES"] = "1"
            with os.fdopen(put, "wb") as out:
                pickle.dump(work(), out)
        finally:
            os._exit(0)
    os.close(put)
    pieces, end = [], time.monotonic() + limit
    import select

    while select.select([take], [], [], max(0, end - time.monotonic()))[0]:
        piece = os.read(take, 1 << 20)
        if not piece:
            break
        pieces.append(piece)
    else:
        pieces = []
    os.close(take)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    try:
        return pickle.loads(b"".join(pieces))
    except (EOFError, pickle.UnpicklingError):
        return None


class Watch:
    """A pytest plugin: of every test its outcome, its seconds, and the lines of the room it reached."""

    def __init__(self, folder):
        self.folder, self.lines, self.tests, self.inside = str(folder), set(), {}, {}

    def trace(self, frame, event, arg):
        name = frame.f_code.co_filename
        inside = self.inside.get(name)
        if inside is None:
            inside = self.inside[name] = name.startswith(self.folder)
        return self.line if inside else None

    def line(self, frame, event, arg):
        self.lines.add((frame.f_code.co_filename, frame.f_lineno))
        return self.line

    def pytest_runtest_logreport(self, report):
        seconds, passed, lines = self.tests.get(report.nodeid, (0.0, True, set()))
        self.tests[report.nodeid] = (seconds + report.duration, passed and not report.failed, lines | self.lines)
        self.lines = set()

    def start(self):
        sys.settrace(self.trace)
        threading.settrace(self.trace)


class Choose:
    """A pytest plugin: of the collected tests these, in this order; what failed first."""

    def __init__(self, nodes):
        self.order, self.failed = {node: k for k, node in enumerate(nodes)}, None

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])

    def pytest_runtest_logreport(self, report):
        if report.failed and self.failed is None:
            self.failed = report.nodeid


OPTIONS = (
    "-p",
    "no:cacheprovider",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "--tb=no",
    "--rootdir",
    str(ROOT),
    "-c",
    str(ROOT / "pyproject.toml"),
)


def room_of(name):
    """(the files to mutate, the tests beside them) of a room or a file."""
    place = PACKAGE / name
    files = (
        sorted(place.rglob("*.py")) if place.is_dir() else [place if name.endswith(".py") else place.with_suffix(".py")]
    )
    room = name.split("/")[0].removesuffix(".py")
    tests = TESTS / room if (TESTS / room).is_dir() else TESTS / f"test_{room}.py"
    return files, tests


def reached(name):
    """{test: (seconds, {file: lines})} of the tests of a room that pass."""
    files, tests = room_of(name)
    folder = PACKAGE / name.split("/")[0] if (PACKAGE / name.split("/")[0]).is_dir() else files[0]

    def work():
        import pytest

        watch = Watch(folder)
        watch.start()
        pytest.main([*OPTIONS, str(tests)], plugins=[watch])
        sys.settrace(None)
        return watch.tests

    found = fork(work, 3600)
    if found is None:
        raise SystemExit(f"{name}: its tests did not run")
    failed = [node for node, (_, passed, _) in found.items() if not passed]
    if failed:
        print(f"{name}: not used, since they fail as it is: {failed}", file=sys.stderr)
    return {node: (seconds, lines) for node, (seconds, passed, lines) in found.items() if passed}


def tests_for(mutant, tests, inner):
    """The tests that reach the mutant's line, the quickest first; of a line that runs at import, such as a table, all tests of the room."""
    line = (str(ROOT / mutant.file), mutant.line)
    found = [node for node, (_, lines) in tests.items() if mutant.line not in inner or line in lines]
    return sorted(found, key=lambda node: tests[node][0])


def verdict(mutant, nodes, seconds):
    """The test that found the mutant, "import" where it cannot be imported, "time" where it does not end, "" where it survives."""

    def work():
        from importlib.machinery import SourceFileLoader

        import pytest

        code, usual, path = compiled(mutant), SourceFileLoader.get_code, str(ROOT / mutant.file)
        SourceFileLoader.get_code = lambda self, name: code if self.path == path else usual(self, name)
        choose = Choose(nodes)
        files = list(dict.fromkeys(node.split("::")[0] for node in nodes))
        ended = pytest.main(["-x", *OPTIONS, *(str(ROOT / f) for f in files)], plugins=[choose])
        return choose.failed or ("" if ended == 0 else "import")

    found = fork(work, 20 + 3 * seconds)
    return "time" if found is None else found


# ------------------------------------------------------------------------------- a room, and all


ANY = "becomes another"  # after a number: the argument holds for whatever stands in its place


def argued():
    """{(file, the line's text, mutation): why no test can see it}; of a mutation "0.6 becomes another", whatever 0.6 becomes."""
    out, reason = {}, ""
    for line in (HERE / "equivalent.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            reason = line[2:]
        elif line.strip():
            out[tuple(line.split("\t"))] = reason
    return out


def key(mutant):
    """How a mutant is found again when lines have moved."""
    return (
        mutant.file,
        (ROOT / mutant.file).read_text(encoding="utf-8").splitlines()[mutant.line - 1].strip(),
        mutant.what,
    )


def reason(mutant, known):
    """Why no test can see it, or None: of this change, or of every change of this number."""
    file, text, what = key(mutant)
    number, becomes, _ = what.partition(" becomes ")
    return known.get((file, text, what)) or (known.get((file, text, f"{number} {ANY}")) if becomes else None)


def score(name, number, seed, known, tell=print):
    """(counts, survivors) of a sample of a room's mutants on lines that its tests reach."""
    files, _ = room_of(name)
    tests = reached(name)
    inner = {str(path.relative_to(ROOT)): functions(path) for path in files}
    used = {path for _, lines in tests.values() for path, _ in lines}
    every = [m for path in files for m in mutants(path)]
    random.Random(f"{seed} {name}").shuffle(every)
    counts, survivors = Counter(), []
    for mutant in every:
        if sum(counts[k] for k in ("killed", "survived", "equivalent")) >= number:
            break
        nodes = tests_for(mutant, tests, inner[mutant.file]) if str(ROOT / mutant.file) in used else []
        if not nodes:
            counts["not reached"] += 1
            continue
        found = verdict(mutant, nodes, sum(tests[node][0] for node in nodes))
        outcome = "killed" if found else "equivalent" if reason(mutant, known) else "survived"
        counts[outcome] += 1
        if not found:
            survivors.append((outcome, mutant))
        tell(f"{outcome:10} {mutant.file}:{mutant.line} {mutant.what}   {key(mutant)[1][:90]}   {found}")
    return counts, survivors


def load():
    """What every mutant needs and no mutant changes."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.chdir(ROOT)
    for path in (str(TESTS), str(ROOT)):
        if path not in sys.path:
            sys.path.insert(0, path)
    for module in LOADED:
        importlib.import_module(module)


def report(args):
    """Rows of the table, and the survivors."""
    load()
    rows, lines, total, known = [], [], Counter(), argued()
    for room in args.rooms or ROOMS:
        started = time.monotonic()
        counts, survivors = score(
            room,
            max(1, round(NUMBER * args.share)),
            args.seed,
            known,
            lambda line: print(line, file=sys.stderr, flush=True),
        )
        total += counts
        rows.append((f"mutants of {room}", ">= 95 %", words(counts) + f", {time.monotonic() - started:.0f} s"))
        lines += [
            f"- {outcome}: {m.file}:{m.line} {m.what}: `{key(m)[1]}` {reason(m, known) or ''}".rstrip()
            for outcome, m in survivors
        ]
    return [*rows, ("mutants, all", ">= 95 %", words(total))], "\n\n".join([ABOUT, "\n".join(lines)])


def words(counts):
    """The counts in words."""
    live = counts["killed"] + counts["survived"]
    return f"{100 * counts['killed'] / max(live, 1):.0f} % ({counts['killed']} of {live}; {counts['equivalent']} equivalent, {counts['not reached']} on lines not reached)"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("rooms", nargs="*", help="rooms or files, such as numerics or check/score.py; all by default")
    parser.add_argument("--number", type=int, default=NUMBER, help=f"mutants of each ({NUMBER})")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.share = args.number / NUMBER
    rows, lines = report(args)
    print("\n".join(f"{a:30} {b:8} {c}" for a, b, c in rows), lines, sep="\n")
