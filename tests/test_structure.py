"""The house as DESIGN.md draws it: which room may import which, what loading costs, and that everything public is explained."""

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numpyscore

PACKAGE = Path(numpyscore.__file__).parent

# Rooms and floors: a room is a folder or a file, and imports lower floors only.
FLOORS = {
    "textbook": 1, "common": 1,
    "numerics": 2, "networks": 2, "data": 2,
    "densities": 3,
    "objectives": 4, "sampling": 4,
    "estimation": 5, "vectors": 5,
    "learning": 6,
    "derivations": 7, "check": 7,
    "testing": 8, "display": 8, "lessons": 8,
    "commands": 9,
    "cli": 10,
    "__main__": 11,
}  # fmt: skip
EVERYWHERE = {"numpy", "scipy"}
# inside functions only, and only in these rooms
WHERE_INSTALLED = {
    "matplotlib": {"display"},
    "hypothesis": {"testing"},
    "torch": {"vectors", "common"},
    "jax": {"vectors", "common"},
    "folx": {"vectors"},
    "jet": {"vectors"},
}


def sources(package=PACKAGE):
    """(dotted name below the package, path) of every module except the top-level __init__, which only lists names."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if parts != ("__init__",) and "__pycache__" not in parts:
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name, path):
    """(line, absolute module, inside a function?) of every import in a file; `from . import textbook` names numpyscore.textbook."""
    package = ["numpyscore", *name.split(".")]
    if path.name != "__init__.py":
        package.pop()

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            within = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                yield from ((child.lineno, alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                base = ".".join([*base, *([child.module] if child.module else [])])
                for alias in child.names:  # a name imported from a package may be one of its modules
                    yield child.lineno, f"{base}.{alias.name}" if base.split(".")[0] == "numpyscore" else base, inside
            yield from visit(child, within)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False)


def resolved(module, names):
    """The module of this package that an import refers to: the longest beginning that is one, else None for the package."""
    parts = module.split(".")[1:]
    for k in range(len(parts), 0, -1):
        if ".".join(parts[:k]) in names:
            return ".".join(parts[:k])
    return None


def complaints(package=PACKAGE):
    """Everything in the imports that breaks the rule, one line each."""
    files = dict(sources(package))
    names, out, inner = set(files) | {name.split(".")[0] for name in files}, [], {}
    for name, path in files.items():
        room = name.split(".")[0]
        if room not in FLOORS:
            out.append(f"{name}: numpyscore/{room} has no floor; give it one in FLOORS, tests/test_structure.py")
            continue
        for line, module, inside in imports(name, path):
            top, at = module.split(".")[0], f"{path.relative_to(package)}:{line}"
            if top == "numpyscore":
                target = resolved(module, names)
                if target is None:
                    if FLOORS[room] < 8:  # above, the public names will do
                        out.append(
                            f"{at}: {name} imports {module}, which is no module; import from the module that defines it"
                        )
                    continue
                if target.split(".")[0] == room:
                    inner.setdefault(name, set()).add(target)
                elif FLOORS.get(target.split(".")[0], 99) >= FLOORS[room]:
                    out.append(
                        f"{at}: {name} (floor {FLOORS[room]}) imports {target} (floor {FLOORS.get(target.split('.')[0])})"
                    )
            elif top in WHERE_INSTALLED:
                if room not in WHERE_INSTALLED[top]:
                    out.append(f"{at}: {name} imports {top}, which only {', '.join(sorted(WHERE_INSTALLED[top]))} may")
                elif not inside:
                    out.append(
                        f"{at}: {name} imports {top} at the top of the file; import it inside the function that needs it"
                    )
            elif top not in EVERYWHERE and top not in sys.stdlib_module_names:
                out.append(
                    f"{at}: {name} imports {top}; only NumPy, SciPy, the standard library and lower floors are allowed"
                )
    return out + circles(inner)


def circles(edges):
    """One line for each module from which a chain of imports within its folder leads back to it."""
    out = []
    for start in sorted(edges):
        seen, front = set(), edges[start] - {start} if start.count(".") == 0 else edges[start]
        while front:
            seen |= front
            front = set().union(*(edges.get(name, set()) for name in front)) - seen
        if start in seen:
            out.append(f"{start}: imports itself by way of {', '.join(sorted(seen - {start})) or 'nothing else'}")
    return out


def test_every_module_imports_lower_floors_only():
    found = complaints()
    assert not found, "\n".join(["the floors of DESIGN.md do not hold:", *found])


@pytest.mark.parametrize(
    "room, text, message",
    [
        ("networks/sweep.py", "from .. import densities", r"sweep.py:1: networks.sweep \(floor 2\) imports densities"),
        ("networks/sweep.py", "def f():\n    from ..objectives import implicit", r"sweep.py:2: .* imports objectives"),
        ("networks/sweep.py", "import numpyscore.numerics", r"\(floor 2\) imports numerics \(floor 2\)"),
        ("objectives/loss.py", "from numpyscore import sampling", r"\(floor 4\) imports sampling \(floor 4\)"),
        (
            "derivations/sliced.py",
            "from ..display.plots import trace",
            r"derivations.sliced \(floor 7\) imports display",
        ),
        (
            "derivations/sliced.py",
            "from .common import step\nfrom .. import display",
            r"sliced.py:2: .* imports display",
        ),
        ("networks/sweep.py", "import torch", r"networks.sweep imports torch, which only common, vectors may"),
        (
            "networks/sweep.py",
            "def f():\n    import matplotlib.pyplot as plt",
            "networks.sweep imports matplotlib, which only display may",
        ),
        ("display/plots.py", "import matplotlib", "display.plots imports matplotlib at the top of the file"),
        ("networks/sweep.py", "import pandas as pd", "networks.sweep imports pandas; only NumPy, SciPy"),
        ("attic.py", "import numpy", "attic: numpyscore/attic has no floor"),
        (
            "derivations/common.py",
            "from .sliced import f",
            "derivations.common: imports itself by way of derivations.sliced",
        ),
    ],
)
def test_control_a_forbidden_import_is_named(room, text, message, tmp_path):
    files = ("networks/sweep", "objectives/loss", "densities/noise", "numerics/flux", "sampling/flow", "display/plots")
    for name in (*files, "derivations/common"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("import numpy as np\nimport json\n")
    (tmp_path / "derivations" / "sliced.py").write_text(
        "from .common import step\nfrom ..objectives.loss import implicit\n"
    )
    assert complaints(tmp_path) == []
    (tmp_path / room).write_text(text + "\n")
    found = complaints(tmp_path)
    assert any(re.search(message, line) for line in found), found


# ------------------------------------------------------------------------------- what is private, and what is too long

NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make", "_field_defaults"}  # public, whatever they look like


def private(name):
    """Whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def made(tree):
    """Private names that a file makes: its functions, classes, methods, variables, attributes, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and of_self(node.value):
            yield node.attr


def of_self(node):
    """self, cls or super()."""
    return ast.unparse(node) in ("self", "cls", "super()")


def foreign(node):
    """Whether an attribute is reached from a library that only some rooms may ask for: its own privacy is another matter."""
    return ast.unparse(node).split(".")[0] in WHERE_INSTALLED


def borrowed(name, tree):
    """(line, text) of every private name that a file reads from elsewhere: x._y where x is not self, and imports of _y."""
    room = ["numpyscore", *name.split(".")][:2]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in NAMED_TUPLE:
            if not of_self(node.value) and not foreign(node.value):
                yield node.lineno, node.attr, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.level != 1 and (node.module or "").split(".")[:2] != room):
            yield from ((node.lineno, a.name, f"import {a.name}") for a in node.names if private(a.name))


def trespasses(package=PACKAGE):
    """One line for each private name that a room reads and does not make itself.

    Within a room, files may know each other's: what counts is that some file of the room makes the name.
    """
    trees = {name: (path, ast.parse(path.read_text(encoding="utf-8"))) for name, path in sources(package)}
    rooms = {}
    for name, (_, tree) in trees.items():
        rooms.setdefault(name.split(".")[0], set()).update(filter(private, made(tree)))
    return [
        f"{path.relative_to(package)}:{line}: {text} is private to another room; make it public there, or do without"
        for name, (path, tree) in trees.items()
        for line, attribute, text in borrowed(name, tree)
        if text.startswith("import ") or attribute not in rooms[name.split(".")[0]]
    ]


def test_what_is_private_to_a_room_is_read_nowhere_else():
    assert not trespasses(), "\n".join(trespasses())


@pytest.mark.parametrize(
    "text, message",
    [
        ("def f(model):\n    return model._sweep()", "sliced.py:2: model._sweep is private"),
        ("from ..networks import base\nbase._factor(1)", "sliced.py:2: base._factor is private"),
        ("from ..networks.base import _factor", "sliced.py:1: import _factor is private"),
        ("f = lambda self: self.model._theta", "sliced.py:1: self.model._theta is private"),
    ],
)
def test_control_a_private_name_of_another_room_is_named(text, message, tmp_path):
    for room in ("networks", "objectives"):
        (tmp_path / room).mkdir()
    (tmp_path / "networks" / "base.py").write_text(
        "class M:\n    def _sweep(self):\n        self._theta = 0\ndef _factor(W):\n    return M()._sweep()\n"
    )
    fine = "def f(q):\n    return q._replace(a=q.__doc__)\nclass C:\n    def g(self):\n        return self._x + super()._g()\n"
    path = tmp_path / "objectives" / "sliced.py"
    path.write_text(fine)
    assert trespasses(tmp_path) == []
    path.write_text(text)
    assert any(message in line for line in trespasses(tmp_path)), trespasses(tmp_path)


LINES = {"networks": (350, 40), "objectives": (350, 40)}  # of a file, of a function without its docstring


def too_long(package=PACKAGE):
    """One line for each file and function of the rooms in LINES that is longer than said there."""
    for name, path in sources(package):
        most, most_of_a_function = LINES.get(name.split(".")[0], (10**9, 10**9))
        text = path.read_text(encoding="utf-8")
        if (count := len(text.splitlines())) > most:
            yield f"{path.relative_to(package)} has {count} lines, more than {most}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (count := length(node)) > most_of_a_function:
                yield f"{path.relative_to(package)}:{node.lineno}: {node.name} has {count} lines, more than {most_of_a_function}"


def length(function):
    """Lines of a function, docstring not counted."""
    doc = function.body[0] if ast.get_docstring(function) is not None else None
    return function.end_lineno - function.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)


def test_no_file_and_no_function_of_the_engine_is_long():
    assert not list(too_long()), "\n".join(too_long())


def test_control_a_long_function_is_named(tmp_path):
    (tmp_path / "networks").mkdir()
    body = "    x = 1\n"
    path = tmp_path / "networks" / "base.py"
    path.write_text("def f():\n    '''a\n" + "b\n" * 50 + "    '''\n" + body * 39)
    assert list(too_long(tmp_path)) == []
    path.write_text("def f():\n" + body * 40)
    assert list(too_long(tmp_path)) == ["networks/base.py:1: f has 41 lines, more than 40"]
    path.write_text("x = 1\n" * 351)
    assert list(too_long(tmp_path)) == ["networks/base.py has 351 lines, more than 350"]


# ------------------------------------------------------------------------------- what loading costs


def loaded_by(statement):
    """Top-level modules that are loaded after a statement in a fresh interpreter."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_import_loads_numpy_alone():
    statement = "import numpyscore\nfor name in getattr(numpyscore, '__all__', []): getattr(numpyscore, name)"
    heavy = loaded_by(statement) & {"scipy", "matplotlib", "torch", "jax", "pandas", "hypothesis", "pytest"}
    assert not heavy, (
        f"`import numpyscore` and its public names load {', '.join(sorted(heavy))}; import it where it is used"
    )


def test_no_module_loads_scipy_or_matplotlib_before_it_is_used():
    """Every module by itself, without the command line, which may load what it runs."""
    names = [
        f"numpyscore.{name}"
        for name, _ in sources()
        if name.split(".")[0] not in ("cli", "commands", "__main__", "testing")
    ]
    heavy = loaded_by("import " + ", ".join(names)) & {"scipy", "matplotlib", "torch", "jax", "hypothesis"}
    if heavy:  # say which
        guilty = [name for name in names if loaded_by(f"import {name}") & heavy]
        raise AssertionError(f"{', '.join(sorted(heavy))} is loaded by importing {', '.join(guilty)}")


def test_import_loads_no_room_until_a_name_is_asked_for():
    """`import numpyscore` reads its list of names; what lies behind a name is loaded with the first use of it."""
    code = "import sys, numpyscore as ns\n{}\nprint(sorted(m for m in sys.modules if m.startswith('numpyscore.')))"

    def rooms(statement):
        done = subprocess.run(
            [sys.executable, "-c", code.format(statement)], capture_output=True, text=True, check=True
        )
        return ast.literal_eval(done.stdout)

    assert rooms("") == rooms("dir(ns)") == []
    assert "numpyscore.networks.models" in rooms("ns.EnergyMLP")  # the control: it is seen once it is loaded
    assert not {m.split(".")[1] for m in rooms("ns.EnergyMLP, ns.implicit")} & {"check", "derivations", "learning"}


def test_dir_lists_the_public_names_and_each_is_there():
    assert dir(numpyscore) == sorted(["__version__", *numpyscore.__all__])
    for name in numpyscore.__all__:
        assert getattr(numpyscore, name).__name__.split(".")[-1] == name
    with pytest.raises(AttributeError, match="no name implict; did you mean implicit"):
        numpyscore.implict  # noqa: B018
    with pytest.raises(ImportError, match="denoisng"):
        exec("from numpyscore import denoisng")


def test_control_scipy_is_seen_when_it_is_loaded():
    assert "scipy" in loaded_by("import numpyscore, scipy")


# ------------------------------------------------------------------------------- everything public is explained


def own(thing, module):
    """Whether a module defines this thing itself."""
    return getattr(thing, "__module__", None) == module.__name__


def public(module):
    """(dotted name, thing) of every public function, class, method and property that a module defines."""
    for name, thing in vars(module).items():
        if name.startswith("_") or not own(thing, module):
            continue
        if inspect.isclass(thing):
            yield f"{module.__name__}.{name}", thing
            for member, raw in vars(thing).items():
                inner = getattr(raw, "__func__", getattr(raw, "fget", getattr(raw, "func", raw)))
                # what a NamedTuple or dataclass makes by itself is not ours
                if not member.startswith("_") and inspect.isfunction(inner) and inner.__module__ == module.__name__:
                    yield f"{module.__name__}.{name}.{member}", inner
        elif inspect.isfunction(inspect.unwrap(thing)) if callable(thing) else False:
            yield f"{module.__name__}.{name}", thing


def modules():
    """Every module of the package except those that run when imported."""
    return [numpyscore, *(importlib.import_module(f"numpyscore.{name}") for name, _ in sources() if name != "__main__")]


def explained(name, thing):
    """Whether a thing has words of its own; a method that overrides another may inherit them, a dataclass's repr is none."""
    doc = thing.__doc__
    automatic = inspect.isclass(thing) and doc and doc.startswith(f"{thing.__name__}(")
    return bool(doc and doc.strip()) and not automatic


def test_everything_public_has_a_docstring():
    missing = [module.__name__ for module in modules() if not (module.__doc__ or "").strip()]
    for module in modules():
        for name, thing in public(module):
            inherited = inspect.isfunction(thing) and "." in thing.__qualname__ and inherits(module, thing)
            if not explained(name, thing) and not inherited:
                missing.append(name)
    assert not missing, "no docstring: " + ", ".join(missing)


def inherits(module, method):
    """Whether a method overrides one that has a docstring."""
    cls = vars(module).get(method.__qualname__.split(".")[0])
    return any(getattr(vars(base).get(method.__name__), "__doc__", None) for base in (cls.__mro__[1:] if cls else ()))


HEADING = re.compile(r"^(?P<title>\w[\w ]*)\n-{3,}$", re.MULTILINE)
ENTRY = re.compile(r"^(?P<names>\*{0,2}\w+(, \*{0,2}\w+)*)(?P<rest> ?[:,].*)?$")


def documented(doc):
    """Names in the "Parameters" section of a docstring in order, or None if there is no such section."""
    text = inspect.cleandoc(doc or "")
    found = list(HEADING.finditer(text))
    for k, heading in enumerate(found):
        if heading["title"] == "Parameters":
            end = found[k + 1].start() if k + 1 < len(found) else len(text)
            section = re.split(r"^(?:Source|Test): ", text[heading.end() : end], flags=re.MULTILINE)[
                0
            ]  # STYLE's last lines
            lines = [line for line in section.splitlines() if line and not line.startswith(" ")]
            entries = [(line, ENTRY.match(line.split(" : ")[0].strip())) for line in lines]
            return [name.lstrip("*") for line, entry in entries if entry for name in re.split(r", ", entry["names"])]
    return None


# what nearly every method takes and the class or the module explains once
SHARED = {"x", "sigma"}


def mismatch(thing):
    """What is wrong between the "Parameters" section of a thing and its signature, in words; None if nothing is."""
    names = documented(thing.__doc__)
    if names is None:
        return None
    try:
        parameters = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return None
    takes = [name for name in parameters if name not in ("self", "cls")]
    catch_all = [name for name, p in parameters.items() if p.kind is p.VAR_KEYWORD]
    unknown = [name for name in names if name not in takes and not catch_all]
    silent = [name for name in takes if name not in names and name not in catch_all and name not in SHARED]
    ordered = [name for name in takes if name in names and parameters[name].kind is not parameters[name].KEYWORD_ONLY]
    said = [name for name in names if name in ordered]
    faults = [f"documents {', '.join(unknown)}, which it does not take"] * bool(unknown)
    faults += [f"takes {', '.join(silent)}, which it does not document"] * bool(silent)
    faults += [f"documents {', '.join(said)} in another order than it takes them"] * (said != ordered)
    return "; ".join(faults) or None


def test_documented_parameters_are_those_of_the_signature():
    wrong = [f"{name}: {fault}" for module in modules() for name, thing in public(module) if (fault := mismatch(thing))]
    assert not wrong, "\n".join(["Parameters sections and signatures differ:", *wrong])


def test_control_a_wrong_parameter_section_is_named():
    def good(x, steps, *, rng=None):
        """Do.

        Parameters
        ----------
        x : (n, d) array
        steps : int
            How many; rng : is no entry here.
        rng : seed

        Returns
        -------
        y : array
        """

    def unknown(x):
        """Do.

        Parameters
        ----------
        x, sigma_max : arrays
        """

    def silent(x, step):
        """Do.

        Parameters
        ----------
        x : array
        """

    def swapped(a, b):
        """Do.

        Parameters
        ----------
        b : array
        a : array
        """

    assert documented(good.__doc__) == ["x", "steps", "rng"] and mismatch(good) is None
    assert mismatch(unknown) == "documents sigma_max, which it does not take"
    assert mismatch(silent) == "takes step, which it does not document"
    assert mismatch(swapped) == "documents b, a in another order than it takes them"
    assert not explained("f", lambda: 0) and explained("good", good)
