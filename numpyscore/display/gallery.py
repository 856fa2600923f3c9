"""The figures: one script each, found, run, and written as SVG with a text alternative, the same bytes every time.

A script states its claim in its docstring, names its CHAPTER, asserts the claim in numbers (`measure`) and draws them (`draw`).
In a checkout the scripts stand in figures/ beside the package, in an installed package within it.
"""

import importlib.util
import inspect
import re
import runpy
from functools import cache
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from ..common.names import nearest
from . import plots

NO_MATPLOTLIB = "Figures need matplotlib: pip install 'numpyscore[figures]'"
SCALE = 1.55  # pixels of a page for a point of a figure: all figures have letters of one size
PACKAGE = Path(__file__).parent.parent


class Picture(NamedTuple):
    """A drawn figure: its name, its title, what it claims, and the SVG, to be put into a page or into a file of its own.

    Within a page, ink is the page's `currentColor` and there is no background, so that light and dark suit it. narrow : the same for a
    phone, its panels beneath one another, if that was asked for.
    """

    name: str
    title: str
    claim: str
    svg: str
    narrow: str = ""

    @property
    def width(self):
        """Width of the wide form in points."""
        return float(re.findall(r'viewBox="\S+ \S+ (\S+) ', self.svg)[0])

    @property
    def file(self):
        """The SVG as a file, on white."""
        return _on_white(self.svg)

    @property
    def narrow_file(self):
        """The form for a phone as a file, on white."""
        return _on_white(self.narrow)


def _on_white(svg):
    return svg.replace('style="', f'style="background: #fff; color: {plots.INK}; ', 1) + "\n"


def scripts():
    """name -> path of every figure's script, in the order of the names; a script without a CHAPTER is none of them."""
    folder = PACKAGE / "figures"
    if not folder.is_dir():
        folder = PACKAGE.parent / "figures"
    found = sorted(folder.glob("[a-z]*.py"))
    return {path.stem: path for path in found if "\nCHAPTER = " in path.read_text(encoding="utf-8")}


def load(name):
    """The script of a figure as a module.

    Raises
    ------
    ValueError
        If there is no figure of this name.
    """
    if name not in (known := scripts()):
        raise ValueError(
            f"figures: there is no figure {name!r}, expected one of {', '.join(known)}{nearest(name, known)}."
        )
    return SimpleNamespace(**runpy.run_path(str(known[name]), run_name=name))


def draw(name, *, narrow=False):
    """The picture of a figure, its claim asserted on the way; `narrow`, its form for a phone as well.

    Raises
    ------
    ValueError
        If there is no figure of this name.
    AssertionError
        If what the figure claims is not so.
    """
    script = load(name)
    title, _, claim = inspect.cleandoc(script.__doc__).partition("\n\n")
    title, claim = (" ".join(text.split()) for text in (title, claim))
    once = cache(script.measure)
    script.draw.__globals__["measure"] = lambda: dict(once())  # two forms, measured once
    forms = []
    for form, small in (("", False), ("-narrow", True))[: 1 + narrow]:
        with plots.style(narrow=small):
            forms.append(_dressed(name + form, title, claim, plots.svg(script.draw())))
    return Picture(name, title, claim, *forms)


def slides(name, formats, size=None, font_size=None):
    """The picture of a figure for a slide, its claim asserted on the way: format -> bytes. See `plots.slide`.

    On a narrow one panels stand beneath one another, as on a phone.
    """
    script = load(name)
    title = " ".join(inspect.cleandoc(script.__doc__).partition("\n\n")[0].split())
    small = size is not None and size[0] <= 1.3 * plots.COLUMN * plots.grown(font_size)
    with plots.style(narrow=small, **{"svg.fonttype": "none"}):
        return plots.slide(script.draw(), title, formats, size, font_size)


def drawable():
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def pictures_of(chapters):
    """chapter number -> pictures of these chapters, drawn now; None where matplotlib is not installed."""
    if not drawable():
        return None
    found: dict[int, list[Picture]] = {}
    for name in scripts():
        number = load(name).CHAPTER
        if number in chapters:
            found.setdefault(number, []).append(draw(name, narrow=True))
    return found


def _dressed(name, title, claim, svg):
    """Matplotlib's SVG made fit for a page: names that cannot clash, ink that follows the page, a text alternative, no fixed size."""
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(plots.INK, "currentColor").replace("*{stroke", f"#{name} *{{stroke")
    svg = MARKERS.sub(_styled_once, svg)
    svg = re.sub(r'\b(d|x|y)="[^"]*"', lambda found: re.sub(r"\.\d+", _two_digits, found[0]), svg)
    box, width = re.findall(r'(viewBox="\S+ \S+ (\S+) [^"]*")', svg)[0]
    head = f'<svg id="{name}" role="img" aria-labelledby="{name}-title {name}-desc" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box} style="max-width: {SCALE * float(width):.0f}px">'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(claim)}</desc>'
    return re.sub(r"<svg.*?>", lambda _: head + words, svg, count=1, flags=re.S)


MARKERS = re.compile(
    r'<g( clip-path="[^"]*")?>\s*((?:<use [^>]* style="([^"]*)"/>\s*)(?:<use [^>]* style="\3"/>\s*)+)</g>'
)


def _styled_once(found):
    """Markers of one look: the look belongs to their group."""
    clip, uses, look = found.groups()
    bare = uses.replace(f' style="{look}"', "")
    return f'<g{clip or ""} style="{look}">\n{bare}</g>'


def _two_digits(fraction):
    """A hundredth of a point is fine enough."""
    return fraction[0][:3]
