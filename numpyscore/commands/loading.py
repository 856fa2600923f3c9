"""Somebody's own code for a command: the object that module:name or path.py:name refers to. Importing it runs it."""

import importlib
import importlib.util
import os
import sys

from ..common.names import nearest


def load_object(target, what, default=None):
    """The object that a target on the command line names.

    Parameters
    ----------
    target : str
        module:name or path.py:name; without the name if there is a `default`. The name may have dots.
    what : str
        What to call it in an error.
    default : str, optional

    Raises
    ------
    ValueError
        If the target is malformed, there is no such file or name, or importing it fails.
    """
    place, colon, name = target.rpartition(":")
    if (not colon or target.endswith(".py")) and default is not None:
        place, name = target, default
    if not place or not name:
        raise ValueError(f"{what} is {target!r}, expected module:name or path.py:name")
    file = place.endswith(".py")
    if file and not os.path.isfile(place):
        raise ValueError(f"{what}: there is no file {place}")
    if not file and os.sep in place:
        raise ValueError(f"{what}: {place} is no Python file; expected module:name or path.py:name")
    folder = os.path.dirname(os.path.abspath(place)) if file else os.getcwd()  # what stands beside it can be imported
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = _module_of(place) if file else importlib.import_module(place)
    except (Exception, SystemExit) as error:  # their code, at import
        raise ValueError(f"{what}: importing {place} raised {type(error).__name__}: {error}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            public = [known for known in dir(found) if not known.startswith("_")]
            raise ValueError(f"{what}: {place} has no {name}{nearest(part, public)}")
        found = getattr(found, part)
    return found


def _module_of(path):
    """The module that a file makes, registered while it runs: dataclasses look themselves up there.

    A file runs once, however many of its names are asked for: run twice, it would make two networks of one random start.
    """
    name = f"_of_{os.path.splitext(os.path.basename(path))[0]}"
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == os.path.abspath(path):
        return known
    spec = importlib.util.spec_from_file_location(name, os.path.abspath(path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
