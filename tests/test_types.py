"""The types of the public names: every one declared, with the parameters that it has; a user's script in mypy's strict mode."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import numpyscore as ns

STUB = Path(ns.__file__).with_suffix(".pyi")
MODULES = (ns.textbook, ns.testing)  # public modules with types of their own
SCRIPT = Path(__file__).with_name("typed_script.py")


def declared(text):
    """name -> node of what the types of a stub declare at the top; the places, which come first, are left out."""
    found: dict = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.setdefault(node.name, node)  # of overloads the first
        elif isinstance(node, ast.Assign):  # one name for another's types
            found[ast.unparse(node.targets[0])] = ast.unparse(node.value)
    return found


def parameters(node):
    """(name, kind, whether there is a default) of each parameter of a declared function."""
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    first = len(plain) - len(a.defaults)
    out = [(p.arg, "plain", k >= first) for k, p in enumerate(plain)] + (
        [(a.vararg.arg, "more", False)] if a.vararg else []
    )
    out += [(p.arg, "keyword", d is not None) for p, d in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return out + ([(a.kwarg.arg, "rest", False)] if a.kwarg else [])


KINDS = {
    "POSITIONAL_OR_KEYWORD": "plain",
    "VAR_POSITIONAL": "more",
    "KEYWORD_ONLY": "keyword",
    "VAR_KEYWORD": "rest",
}


def there(function):
    """The same of the function itself."""
    return [
        (p.name, KINDS[p.kind.name], p.default is not p.empty) for p in inspect.signature(function).parameters.values()
    ]


def differences(text):
    """One line for each public name, or method of a public class, that is declared with other parameters than it has, or not at all."""
    nodes, out = declared(text), []
    for name in ns.__all__:
        thing = getattr(ns, name)
        if inspect.ismodule(thing):
            continue
        if name not in nodes:
            out.append(f"{name} is not declared")
        elif inspect.isfunction(thing) and parameters(nodes[name]) != there(thing):
            out.append(f"{name}: declared {parameters(nodes[name])}, there {there(thing)}")
    for name, node in nodes.items():
        if isinstance(node, str):
            continue
        if inspect.isclass(thing := getattr(ns, name, None)):
            out += list(_methods(name, node, thing))
    for base, heir in (("Network", ns.EnergyMLP), ("Density", ns.Gaussian)):
        out += list(_methods(base, nodes[base], heir))
    return out


def _methods(name, node, thing):
    for method in (m for m in node.body if isinstance(m, ast.FunctionDef)):
        raw = inspect.getattr_static(thing, method.name, None)
        function = getattr(raw, "__func__", raw)
        if raw is None:
            yield f"{name}.{method.name} is not there"
        elif not inspect.isfunction(function) or (method.name.startswith("__") and method.name != "__init__"):
            continue
        elif parameters(method) != there(function):
            yield f"{name}.{method.name}: declared {parameters(method)}, there {there(function)}"


def test_every_public_name_is_declared_with_the_parameters_that_it_has():
    assert not differences(STUB.read_text()), "\n".join(differences(STUB.read_text()))


def defined_in(module):
    """The public names of a module that it defines itself."""
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", "") == module.__name__
    ]


def differences_of_module(module, text):
    """One line for each public name of the module that its stub declares otherwise, or not at all."""
    nodes, out = declared(text), []
    for name in defined_in(module):
        thing, node = getattr(module, name), nodes.get(name)
        if node is None:
            out.append(f"{name} is not declared")
        elif isinstance(node, str):  # an assertion has the types of its check
            out += [] if there(thing) == there(getattr(ns, node)) else [f"{name} is not {node}"]
        elif inspect.isfunction(thing) and parameters(node) != there(thing):
            out.append(f"{name}: declared {parameters(node)}, there {there(thing)}")
        elif inspect.isclass(thing):
            out += list(_methods(name, node, thing))
            fields = tuple(n.target.id for n in node.body if isinstance(n, ast.AnnAssign))
            out += [] if fields == thing._fields else [f"{name}: declared {fields}, there {thing._fields}"]
    return out


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_public_modules_are_declared_with_the_parameters_that_they_have(module):
    text = Path(module.__file__).with_suffix(".pyi").read_text()
    assert len(defined_in(module)) >= 12 and not differences_of_module(module, text)


def test_control_what_differs_in_a_module_is_named():
    text = Path(ns.textbook.__file__).with_suffix(".pyi").read_text()
    for old, new, said in (
        ("def outer(A: Array, ", "def outer(", "outer: declared"),
        ("    T_1: Array\n", "", "Directions: declared"),
        ("def half(", "def double(", "half is not declared"),
    ):
        assert old in text and any(said in line for line in differences_of_module(ns.textbook, text.replace(old, new)))


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("def tweedie(x: ", "def tweedie(y: ", "tweedie: declared"),
        ("def sample(self, n: int, *, rng", "def sample(self, n: int, rng", "sample: declared"),
        ("class Ring(", "class Rong(", "Ring is not declared"),
        ("def logpdf(self, x: object)", "def log_pdf(self, x: object)", "Fit.log_pdf is not there"),
    ],
)
def test_control_what_differs_is_named(old, new, said):
    text = STUB.read_text()
    assert old in text and any(said in line for line in differences(text.replace(old, new)))


def test_every_parameter_and_result_has_a_type():
    stubs = [STUB, *(Path(module.__file__).with_suffix(".pyi") for module in MODULES)]
    for node in (n for stub in stubs for n in ast.walk(ast.parse(stub.read_text()))):
        if isinstance(node, ast.FunctionDef):
            everything = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            untyped = [p.arg for p in everything if p.annotation is None and p.arg not in ("self", "cls")]
            assert node.returns is not None and not untyped, (node.name, untyped)


def test_the_script_runs_and_has_sixty_calls():
    calls = [node for node in ast.walk(ast.parse(SCRIPT.read_text())) if isinstance(node, ast.Call)]
    ours = [
        c for c in calls if ast.unparse(c.func).split(".")[0] in ("ns", "p", "net", "told", "found", "at", "verdicts")
    ]
    assert len(ours) >= 60 and len({ast.unparse(c.func) for c in ours}) >= 50


@pytest.mark.nightly  # mypy reads NumPy's stubs: 10 s and more
def test_mypy_strict_reports_nothing_and_reveals_no_any(tmp_path):
    pytest.importorskip("mypy")
    text = SCRIPT.read_text()
    tree, asked = ast.parse(text), []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            asked += [
                ast.unparse(value)
                for value in values
                if isinstance(value, ast.Call | ast.Attribute | ast.BinOp | ast.Name)
            ]
    path = tmp_path / "script.py"
    path.write_text(text + "\n" + "\n".join(f"reveal_type({expression})" for expression in asked))
    argv = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=STUB.parent.parent)
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert " error: " not in done.stdout and done.returncode == 0, done.stdout
    assert len(revealed) == len(asked) >= 60
    # NamedTuples are shown with a fallback tuple[Any, ...]; what counts are the types that a user sees
    assert not [line for line in revealed if re.search(r"\bAny\b", re.sub(r", fallback=[\w.]+", "", line))], revealed
