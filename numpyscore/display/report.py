"""One self-contained page of verdicts: every step with its equation, its measured gap, and the figures of its chapter.

A template and a list of verdicts. Everything it says about the mathematics comes from the steps and the chapters. The page needs no
network and no script, and the same verdicts give the same bytes.
"""

import math
import re
from html import escape
from pathlib import Path

import numpy as np

from .. import __version__
from ..derivations import CHAPTERS, Verdicts
from ..derivations.verdict import WORDS
from .gallery import NO_MATPLOTLIB, draw, drawable, pictures_of
from .mathml import mathml, pieces
from .prose import typeset
from .snippets import snippet

STYLE = Path(__file__).with_name("report.css")
CLASSES = dict(zip(WORDS, ("holds", "fails", "differs", "open"), strict=True))
MARKS = {"holds": "✓", "fails": "≠", "differs": "✗", "open": "?"}
KINDS = {
    "line": "a line of the derivation",
    "example": "an example",
    "counterexample": "a counterexample: a hypothesis is taken away",
}
LOWEST = -17  # the axis of gaps runs from 1e-17 to 1
COLUMN = 600  # points: a wider figure has letters too small for half of the page, so its panels stand two by two there
TITLE = "Score matching, verified"


def report(verdicts, *, title=TITLE, pictures=None):
    """The page for a list of verdicts, as HTML.

    Parameters
    ----------
    verdicts : Verdicts, or any list of Verdict
        From `verify`, of all steps or of some, on closed forms or on somebody's data.
    title : str
    pictures : dict, chapter number -> list of gallery.Picture, optional
        By default the figures of the chapters that have verdicts, drawn now; without matplotlib one line says what they need.

    Returns
    -------
    str
        A whole HTML document. No date: the same verdicts give the same bytes.

    Raises
    ------
    ValueError
        If there are no verdicts, or one of a step that no chapter has.
    """
    verdicts = verdicts if isinstance(verdicts, Verdicts) else Verdicts(verdicts)
    groups = verdicts.by_step()
    known = {(chapter.title, step.name) for chapter in CHAPTERS for step in chapter.steps}
    if not groups:
        raise ValueError("report: verdicts is empty, expected at least one; a page of nothing proves nothing.")
    if unknown := set(groups) - known:
        raise ValueError(f"report: no chapter has a step {sorted(unknown)[0]}; expected verdicts that verify() gave.")
    spoken_of = {chapter for chapter, _ in groups}
    chapters = [chapter for chapter in CHAPTERS if chapter.title in spoken_of]
    if pictures is None:
        pictures = pictures_of([chapter.number for chapter in chapters])
    note = NO_MATPLOTLIB if pictures is None else ""
    pictures = pictures or {}
    body = [_summary(verdicts, title, note), _contents(chapters, groups), _legend()]
    body += ['<div id="chapters">']
    body += [_chapter(chapter, groups, pictures.get(chapter.number, ())) for chapter in chapters]
    body += ["</div>"]
    return PAGE.format(title=escape(title), style=STYLE.read_text(encoding="utf-8"), body="\n".join(body))


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#chapters">Skip to the chapters</a>
<main>
{body}
</main>
</body>
</html>
"""


# ------------------------------------------------------------------------------- the short page

CHOSEN = {  # chapter -> the line that stands for it, and its figure
    1: ("exp(-f)/Z integrates to one", "cost_of_z"),
    2: ("normaliser drops out", "old_faithful_score"),
    3: ("cross term by parts", "parts_areas"),
    4: ("together they settle", "two_terms"),
    5: ("curvature identity", "trace_cost"),
    6: ("three weights on a half-line", "boundary_weights"),
    7: ("denoising is explicit on the noisy density", "levels_flow"),
    8: ("Langevin in steps", "flow_paths"),
}


def short_report(verdicts, *, title=TITLE, pictures=None):
    """The same in eight chapters of one screen each: claim, figure, one line with its numbers, one counterexample.

    Parameters
    ----------
    verdicts : Verdicts, or any list of Verdict
        As for `report`, which is the whole certificate; the counts, and whatever is wrong, are those of all of them.
    title : str
    pictures : dict, chapter number -> gallery.Picture, optional
        By default one figure for each chapter, drawn now; without matplotlib one line says what they need.

    Returns
    -------
    str
        A whole HTML document. No date: the same verdicts give the same bytes.

    Raises
    ------
    ValueError
        If there are no verdicts.
    """
    verdicts = verdicts if isinstance(verdicts, Verdicts) else Verdicts(verdicts)
    groups = verdicts.by_step()
    if not groups:
        raise ValueError("short_report: verdicts is empty, expected at least one; a page of nothing proves nothing.")
    chapters = [chapter for chapter in CHAPTERS if any(name == chapter.title for name, _ in groups)]
    note = "" if pictures is not None or drawable() else NO_MATPLOTLIB
    if pictures is None:
        pictures = (
            {} if note else {chapter.number: draw(CHOSEN[chapter.number][1], narrow=True) for chapter in chapters}
        )
    counts = "".join(
        f'<li class="{CLASSES[word]}"><b>{count}</b> <span class="mark">{MARKS[CLASSES[word]]}</span> {word}</li>'
        for word, count in verdicts.counts.items()
    )
    wrong = [step for (_, step), same in groups.items() if same.worst.ok is False]
    alarm = f'<div class="alarm"><p>Differences were found: {escape(", ".join(wrong))}</p></div>' if wrong else ""
    about = "".join(
        f"<li>{typeset(line)}</li>"
        for line in (f"numpyscore {__version__}, seed {verdicts.seed}", *verdicts.notes, note)
        if line
    )
    head = f"""<header><h1>{escape(title)}</h1>
<p>Each line of the derivation says that two numbers are equal. Both were computed, with a bound for the error. One line and one counterexample of
each chapter stand here; <code>numpyscore verify --report FILE --full</code> writes all of them.</p>
<ul class="counts" aria-label="verdicts">{counts}</ul>{alarm}<ul class="about">{about}</ul></header>"""
    body = [
        head,
        '<div id="chapters">',
        *(_short_chapter(c, groups, pictures.get(c.number)) for c in chapters),
        "</div>",
    ]
    page = PAGE.replace("<main>", '<main class="short">')
    return page.format(title=escape(title), style=STYLE.read_text(encoding="utf-8"), body="\n".join(body))


def _short_chapter(chapter, groups, picture):
    """Claim, figure, one line with its numbers, one counterexample."""
    here = [step for step in chapter.steps if (chapter.title, step.name) in groups]
    line = next((step for step in here if step.name == CHOSEN[chapter.number][0]), here[0])
    against = next((step for step in here if step.kind == "counterexample" and step is not line), None)
    steps = "".join(_short_step(step, groups[chapter.title, step.name]) for step in (line, against) if step)
    claim = re.split(r"\n\s*\n", chapter.text.strip())[0]
    if picture and picture.narrow and picture.width > COLUMN:
        picture = picture._replace(svg=picture.narrow, narrow="")
    figure = _figure(picture._replace(claim="")) if picture else ""
    return f"""<section class="chapter"><div><h2 id="chapter-{chapter.number}">{escape(chapter.heading)}</h2>
{_prose(claim)}{figure}</div><div>{steps}</div></section>"""


def _short_step(step, same):
    """Name, equation, words and numbers: of the case that the NumPy lines compute, unless another is not as it should be."""
    subject, code = snippet(step.name, same.seed)
    shown = same.worst
    if shown.ok is True:
        shown = next((v for v in same if v.subject == subject), shown)
    code = _code(code) if shown.subject == subject else ""
    equation = "".join(f"<span>{mathml(piece)}</span>" for piece in pieces(step.equation))
    return f"""<article class="step {CLASSES[shown.word]}" id="{_slug(step.name)}">
<header><h3>{typeset(step.name)}</h3>{_badge(shown)}<p class="kind">{KINDS[step.kind]}</p></header>
<div class="equation">{equation}</div>
{_prose(step.words)}
<div class="measured">{_numbers(shown)}<ul class="remarks"><li>{_subject(step, shown)}</li></ul>{code}</div>
</article>
"""


def _code(lines):
    """Lines to run, folded away."""
    return f'<details class="code"><summary>in NumPy</summary><pre><code>{escape(lines, quote=False)}</code></pre></details>'


def _subject(step, verdict):
    """What a verdict is about; the name of somebody's file stays as it is."""
    return escape(verdict.subject) if step.kind == "line" else typeset(verdict.subject)


# ------------------------------------------------------------------------------- the head of the page


def _summary(verdicts, title, note):
    """Counts, what is wrong if anything is, and what was looked at."""
    counts = [
        f'<li class="{CLASSES[word]}"><b>{count}</b> <span class="mark">{MARKS[CLASSES[word]]}</span> {word}</li>'
        for word, count in verdicts.counts.items()
    ]
    wrong = [
        f'<li><a href="#{_slug(step)}">{escape(step)}</a>: {escape(same.worst.subject)}</li>'
        for (_, step), same in verdicts.by_step().items()
        if same.worst.ok is False
    ]
    found = f'<div class="alarm"><p>Differences were found:</p><ul>{"".join(wrong)}</ul></div>' if wrong else ""
    about = [f"numpyscore {__version__}, NumPy {np.__version__}, seed {verdicts.seed}", *verdicts.notes, note]
    lines = "".join(f"<li>{typeset(line)}</li>" for line in about if line)
    return f"""<header>
<h1>{escape(title)}</h1>
<p>Each line of the derivation is a statement that two numbers are equal. Both were computed, each with an estimate of its error, and compared.</p>
<ul class="counts" aria-label="verdicts">{"".join(counts)}</ul>
{found}<ul class="about">{lines}</ul>
</header>"""


def _contents(chapters, groups):
    """Chapters and their steps, each with the mark of its worst verdict."""
    items = []
    for chapter in chapters:
        steps = "".join(
            f'<li><span class="mark {_class(groups[key])}">{MARKS[_class(groups[key])]}</span> '
            f'<a href="#{_slug(step.name)}">{typeset(step.name)}</a></li>'
            for step in chapter.steps
            if (key := (chapter.title, step.name)) in groups
        )
        items.append(
            f'<li><a href="#chapter-{chapter.number}">{escape(chapter.heading)}</a><ul class="steps">{steps}</ul></li>'
        )
    return f'<nav aria-label="contents"><h2>Contents</h2><ul class="chapters">{"".join(items)}</ul></nav>'


def _legend():
    """How to read what is drawn below each step."""
    return f"""<section class="legend"><h2>How to read it</h2>
<ul>
<li><span class="badge holds">✓ holds</span> the gap between the two sides is within its bound.</li>
<li><span class="badge fails">≠ fails as predicted</span> a hypothesis does not hold, and the gap is the one that theory foresees.</li>
<li><span class="badge differs">✗ DIFFERS</span> the gap is neither zero nor the one foreseen: something is wrong.</li>
<li><span class="badge open">? inconclusive</span> the bound is too wide to tell.</li>
</ul>
<div class="sample">{_axis(3e-13, 4e-11, 0.2, "An example of a scale")}</div>
<p>The scale is logarithmic. The bar is the bound of the error, the diamond what the two sides miss each other by, less what theory foresees.
It belongs into the bar. In a counterexample the cross is the gap itself, which is not zero. A step with many cases shows the worst of them.</p>
</section>"""


# ------------------------------------------------------------------------------- chapters and steps


def _chapter(chapter, groups, pictures):
    """A chapter's text, its figures, and its steps."""
    steps = [
        _step(step, groups[chapter.title, step.name]) for step in chapter.steps if (chapter.title, step.name) in groups
    ]
    return f"""<section class="chapter">
<h2 id="chapter-{chapter.number}">{escape(chapter.heading)}</h2>
{_prose(chapter.text)}
{"".join(_figure(picture) for picture in pictures)}
{"".join(steps)}
</section>"""


def _figure(picture):
    """A figure and what it claims."""
    words = f"<b>{typeset(picture.title)}</b> {typeset(picture.claim)}"
    forms = (
        f'<div class="wide">{picture.svg}</div><div class="narrow">{picture.narrow}</div>'
        if picture.narrow
        else f"<div>{picture.svg}</div>"
    )
    return f"<figure>{forms}<figcaption>{words}</figcaption></figure>\n"


def _step(step, same):
    """Equation, words, code and source of a step, and what was measured."""
    worst = same.worst
    equation = "".join(f"<span>{mathml(piece)}</span>" for piece in pieces(step.equation))
    return f"""<article class="step {_class(same)}" id="{_slug(step.name)}">
<header><h3>{typeset(step.name)}</h3>{_badge(worst)}<p class="kind">{KINDS[step.kind]}</p></header>
<div class="equation">{equation}</div>
{_prose(step.words)}
<div class="measured">
{_numbers(worst)}
{_axis(abs(worst.gap - worst.predicted), worst.bound, None if worst.expected else abs(worst.gap), _reading(worst))}
{_remarks(step, worst, same)}
{_code(snippet(step.name, same.seed)[1])}
</div>
<p class="source"><code>{escape(step.code)}</code> {typeset(step.source)}</p>
</article>
"""


def _badge(v):
    """The verdict in a word, marked by more than its colour."""
    name = CLASSES[v.word]
    return f'<span class="badge {name}"><span class="mark">{MARKS[name]}</span> {v.word}</span>'


def _numbers(v):
    """Both sides, gap and bound."""
    relation = {"<=": "≤", ">=": "≥"}.get(v.relation, v.relation)
    relation = relation if v.expected else {"=": "≠"}.get(relation, f"not {relation}")
    pairs = [("left", f"{_shown(v.left, 10)}"), ("right", _shown(v.right, 10)), ("gap", _shown(v.gap, 2))]
    if not v.expected:
        pairs = [*pairs[:2], ("gap", _shown(v.gap, 10)), ("foreseen", _shown(v.predicted, 10))]
    pairs.append(("bound", _shown(v.bound, 2)))
    cells = [f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs]
    cells.insert(1, f'<div class="relation" aria-hidden="true"><dt></dt><dd>{relation}</dd></div>')
    return f'<dl class="numbers">{"".join(cells)}</dl>'


def _remarks(step, v, same):
    """Which case this is, its hypotheses, its note, and all the other cases to unfold."""
    which = f"the worst of {len(same)} cases: " if len(same) > 1 else ""
    lines = [f"{which}{_subject(step, v)} ({escape(v.method)})"]
    for h in v.hypotheses:
        state = "holds" if h.holds else "<strong>does not hold</strong>"
        lines.append(f"hypothesis, {typeset(h.name)}: {_shown(h.value, 4)} ± {_shown(h.bound, 1)}, {state}")
    if v.note:
        lines.append(typeset(v.note))
    items = "".join(f"<li>{line}</li>" for line in lines)
    return f'<ul class="remarks">{items}</ul>{_cases(step, same) if len(same) > 1 else ""}'


def _cases(step, same):
    """Every case of a step, in a table that is folded away."""
    rows = "".join(
        f'<tr class="{CLASSES[v.word]}"><th scope="row">{_subject(step, v)}</th><td>{_shown(v.left, 8)}</td><td>{_shown(v.right, 8)}</td>'
        f"<td>{_shown(v.gap, 2)}</td><td>{_shown(v.bound, 2)}</td><td>{MARKS[CLASSES[v.word]]} {v.word}</td></tr>"
        for v in same
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("case", "left", "right", "gap", "bound", "verdict"))
    return (
        f'<details><summary>all {len(same)} cases</summary><div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


# ------------------------------------------------------------------------------- the scale of gaps


def _axis(miss, bound, gap, text):
    """From 1e-17 to 1: the bound as a bar, the miss as a diamond, and, of a counterexample, the gap as a cross."""
    ticks = "".join(
        f'<line class="tick" x1="{_at(10.0**k)}" x2="{_at(10.0**k)}" y1="21" y2="25"/>'
        f'<text x="{_at(10.0**k)}" y="38">{_power(k) if k else 1}</text>'
        for k in (-16, -12, -8, -4, 0)
    )
    start, end = _place(0.0), _place(bound)
    bar = (
        f'<rect class="bound" x="{start}%" y="7" width="{max(end - start, 0):.2f}%" height="14"/>' if bound > 0 else ""
    )
    cross = "" if gap is None else f'<svg x="{_at(gap)}" y="14" class="gap"><path d="M-5-5 5 5M-5 5 5-5"/></svg>'
    diamond = f'<svg x="{_at(miss)}" y="14" class="miss"><path d="M-6 0 0-6 6 0 0 6Z"/></svg>'
    return (
        f'<svg class="axis" role="img" aria-label="{escape(text)}" width="100%" height="42">{bar}'
        f'<line x1="{_at(0.0)}" x2="{_at(np.inf)}" y1="21" y2="21"/>{ticks}{cross}{diamond}</svg>'
    )


def _place(value):
    """Where a size stands on the axis, in percent; what is off the scale stands at its ends."""
    exponent = math.log10(value) if 0 < value < np.inf else (LOWEST if value == 0 else 0.0)
    return round(3 + 92 * min(max(1 - exponent / LOWEST, 0.0), 1.04), 2)


def _at(value):
    return f"{_place(value)}%"


def _reading(v):
    """What the scale shows, in words."""
    if v.expected:
        return f"gap {v.gap:.1e}, bound {v.bound:.1e}"
    return f"gap {v.gap:.6g}, foreseen {v.predicted:.6g}, bound {v.bound:.1e}"


# ------------------------------------------------------------------------------- words and numbers


def _class(same):
    return CLASSES[same.worst.word]


def _slug(name):
    """The name of a step as an id."""
    return "step-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _shown(value, digits):
    """A number to so many digits, with powers of ten as one writes them by hand."""
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    mantissa, _, exponent = f"{value:.{digits}g}".partition("e")
    if not exponent and (value == 0 or abs(value) >= 1e-4 or digits > 4):
        return mantissa.replace("-", "−")
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    power = _power(int(exponent))
    return power if mantissa == "1" else f"{mantissa.replace('-', '−')}×{power}"


def _power(k):
    """A power of ten."""
    return f"10{str(k).translate(SUPERSCRIPTS)}"


def _prose(text):
    """Paragraphs of a docstring; a paragraph that is a math directive becomes a displayed equation."""
    out = []
    for paragraph in filter(None, re.split(r"\n\s*\n", text.strip())):
        if paragraph.startswith(".. math::"):
            out.append(f'<div class="equation">{mathml(" ".join(paragraph.split()[2:]))}</div>')
        else:
            out.append(f"<p>{typeset(paragraph)}</p>")
    return "\n".join(out)
