"""numpyscore: the reference implementation of score matching, in pure NumPy.

Score means, everywhere, the gradient of log p with respect to x: not a likelihood, not a gradient in the parameters.
"""

import ast
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"

# Every public name and its place is listed once, in __init__.pyi, where type checkers and editors look; it is imported
# when it is first asked for, so `import numpyscore` costs next to nothing beside NumPy.
_PLACES = {
    alias.asname or alias.name: "." + (node.module or "")
    for node in ast.walk(ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")))
    if isinstance(node, ast.ImportFrom) and node.level
    for alias in node.names
}
__all__ = sorted(_PLACES)


def __getattr__(name):
    """A public name, imported from its place when it is first asked for (PEP 562)."""
    if name not in _PLACES:
        near = get_close_matches(name, _PLACES, n=1)
        cure = f"; did you mean {near[0]}?" if near else "; dir(numpyscore) lists the public names"
        raise AttributeError(f"numpyscore has no name {name}{cure}")
    place = vars(import_module(_PLACES[name], __name__))
    thing = place[name] if name in place else import_module(f"{_PLACES[name].rstrip('.')}.{name}", __name__)
    globals()[name] = thing  # the next time it is found without asking
    return thing


def __dir__():
    """The public names alone."""
    return [*__all__, "__version__"]
