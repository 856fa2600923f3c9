"""Axes in, artists out: what the figures are drawn with. Matplotlib is imported where it is used.

The palette is that of Okabe and Ito, which colour-blind readers can tell apart; every line differs from the others in its dashes and
markers too, so that a grey print will do. Ink is one colour throughout, so that a dark page can exchange it.
"""

import contextlib
import contextvars
import io
import math
import textwrap
from itertools import cycle, islice
from typing import Any

import numpy as np

INK = "#1b1f24"
PALETTE = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
)  # blue, vermilion, green, purple, orange, sky
SHADES = ("#0b4a6f", "#2f7fab", "#73afd0", "#b3d4e7", "#dcebf4", "#f4f8fb")  # from much to little, in grey too
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
RC: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "mathtext.fontset": "dejavusans",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlelocation": "left",
    "legend.frameon": False, "legend.handlelength": 2.6, "lines.linewidth": 1.8, "lines.markersize": 4.5,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "svg.hashsalt": "numpyscore", "svg.fonttype": "path", "pdf.fonttype": 42, "path.simplify_threshold": 0.15,
}  # fmt: skip


COLUMN = 3.7  # inches: the width of a figure on a phone, where a point is then more than a pixel
_narrow = contextvars.ContextVar("narrow", default=False)


@contextlib.contextmanager
def style(*, narrow=False, **changed):
    """The style of the figures, for as long as the block lasts; nobody's own settings play a part, or are changed.

    changed : settings of matplotlib that differ. narrow : for a phone: panels stand beneath one another, COLUMN inches wide, with letters of the same size.
    """
    import matplotlib as mpl

    before = _narrow.set(narrow)
    try:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC | changed)
            yield
    finally:
        _narrow.reset(before)


def _figure(width, height):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels(n, *, width=7.2, height=3.0, together=False, **options):
    """A figure of n panels side by side; returns (figure, list of axes). Sizes in inches.

    On a phone they stand beneath one another, each as high, four of them two by two, unless they belong `together`.
    """
    if not _narrow.get():
        shape, size = (1, n), (width, height)
    elif together or n == 1:
        shape, size = (1, n), (COLUMN, min(height, 0.95 * COLUMN))
    elif n == 4:
        shape, size = (2, 2), (COLUMN, 1.15 * COLUMN)
    else:
        shape, size = (n, 1), (COLUMN, n * min(height, 0.8 * COLUMN))
    figure = _figure(*size)
    axes = list(np.atleast_1d(figure.subplots(*shape, **options)).flat)
    return figure, axes


def ratios(*widths):
    """Widths of panels that stand side by side; on a phone they are as wide as the page."""
    return None if _narrow.get() else {"width_ratios": widths}


def mosaic(wide, narrow, *, width=7.2, height=3.0, narrow_height=5.0, **options):
    """Panels by letters, as in matplotlib's subplot_mosaic: one arrangement for a page and one for a phone. Returns (figure, letter -> axes)."""
    small = _narrow.get()
    figure = _figure(COLUMN, narrow_height) if small else _figure(width, height)
    ratios = options.pop("narrow_ratios" if small else "ratios", {})
    options.pop("ratios" if small else "narrow_ratios", None)
    return figure, figure.subplot_mosaic(narrow if small else wide, gridspec_kw=ratios, **options)


def svg(figure):
    """A figure as SVG text: no date, and the same bytes for the same figure."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


FORMATS = ("svg", "png", "pdf")
PIXELS = 2560  # of a picture for a slide, across


DIAGRAM = "diagram"  # the name of a figure whose boxes hold text
LEAST = 0.6  # of the height and the width that a figure has of its own: below, its labels meet


def grown(font_size):
    """How much larger than a figure's own its text is to be."""
    return (font_size or RC["font.size"]) / RC["font.size"]


def slide(figure, title, formats, size=None, font_size=None):
    """A figure for a slide: its claim as the title, on white, text as text.

    Parameters
    ----------
    figure : Figure
    title : str
    formats : sequence of "svg", "png", "pdf"
    size : (width, height), inches, optional
        Of the slide; None: the figure's own.
    font_size : number, points, optional
        Of the text where the picture fills the slide. All is drawn in the figure's own points, on a slide that is smaller by as much, so
        that text, lines and distances grow together.

    Returns
    -------
    dict : format -> bytes

    Raises
    ------
    ValueError
        If labels of that size would not fit the slide.
    """
    own, larger = figure.get_size_inches(), grown(font_size)
    asked = own if size is None else np.array(size)
    width, height = asked / larger
    if np.any(np.array([width, height]) < LEAST * own):
        least = "x".join(f"{math.ceil(10 * LEAST * inches * larger) / 10:g}" for inches in own)
        raise ValueError(
            f"size is {asked[0]:.3g} x {asked[1]:.3g} inches and the text has {font_size or RC['font.size']:g} points, expected at least {least} for "
            f"this figure with such letters: its labels would lie on one another; take a larger --size or a smaller --font-size"
        )
    if width < own[0] and figure.get_label() == DIAGRAM:  # boxes shrink with the slide, and what is written in them too
        for text in (text for ax in figure.axes for text in ax.texts):
            text.set_fontsize(text.get_fontsize() * width / own[0])
    figure.set_size_inches(width, height)
    across = max(20, int(72 * width / (0.56 * RC["axes.titlesize"])))  # letters to a line
    figure.suptitle(textwrap.fill(title, across), fontsize=RC["axes.titlesize"], x=0.01, ha="left")
    out = {}
    for form in formats:
        stream = io.BytesIO()
        about: Any = {
            "svg": {"Date": None, "Creator": None},
            "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        }
        figure.savefig(
            stream, format=form, metadata=about.get(form, {"Software": None}), facecolor="white", dpi=PIXELS / width
        )
        out[form] = stream.getvalue()
    return out


def looks(n):
    """n looks that differ in colour, dashes and marker: keywords of `Axes.plot`."""
    found = zip(cycle(PALETTE), cycle(DASHES), cycle(MARKERS), strict=False)
    return [{"color": c, "linestyle": d, "marker": m} for c, d, m in islice(found, n)]


def curves(ax, x, ys, *, points=False, **options):
    """One line for each label -> values (m,) of `ys` over x (m,), with markers where `points` says so, and a legend if there are several."""
    artists = []
    for (label, y), look in zip(ys.items(), looks(len(ys)), strict=True):
        look = look if points else look | {"marker": ""}
        artists += ax.plot(x, y, label=label, **(look | options))
    if len(ys) > 1:
        ax.legend()
    return artists


def labels(ax, x, y, title=""):
    """What the axes are, with units where they have some; what the panel shows."""
    return [ax.set_xlabel(x), ax.set_ylabel(y), ax.set_title(title)]


def rule(ax, *, x=None, y=None, text="", below=False):
    """A thin line across the axes at x or y, with a word at its end; `below` a horizontal line, not above it."""
    if x is not None:
        line = ax.axvline(x, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
        return [
            line,
            ax.annotate(
                text,
                (x, 1),
                xycoords=("data", "axes fraction"),
                xytext=(4, -9),
                textcoords="offset points",
                fontsize=8.5,
            ),
        ]
    line = ax.axhline(y, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
    word = ax.annotate(
        text,
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(-2, -3 if below else 3),
        textcoords="offset points",
        ha="right",
        va="top" if below else "bottom",
        fontsize=8.5,
    )
    return [line, word]


def mark(ax, x, y, text, *, offset=(8, 8), **options):
    """A ring around a point, and what it is."""
    ring = ax.plot([x], [y], marker="o", markersize=9, markerfacecolor="none", markeredgecolor=INK, linestyle="")
    return [*ring, ax.annotate(text, (x, y), xytext=offset, textcoords="offset points", fontsize=8.5, **options)]


def grid(window, n):
    """n x n points of a window ((x_low, x_high), (y_low, y_high)): the two axes, and the points (n * n, 2)."""
    (a, b), (c, d) = window
    x, y = np.linspace(a, b, n), np.linspace(c, d, n)
    return x, y, np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def score_field(ax, density, window, *, arrows=15, levels=7):
    """Level lines of a density in two dimensions, and arrows along its score, their length its square root so that far ones fit."""
    x, y, points = grid(window, 80)
    p = np.exp(density.logpdf(points)).reshape(80, 80)
    lines = ax.contour(x, y, p, np.geomspace(p.max() * 1e-3, p.max() * 0.9, levels), colors=PALETTE[0], linewidths=0.9)
    _, _, tails = grid(window, arrows)
    s = density.score(tails)
    s = s / np.sqrt(np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-300))
    return [lines, ax.quiver(*tails.T, *s.T, color=PALETTE[1], angles="xy", width=0.0045, pivot="tail")]


def intervals(ax, x, values, errors, **options):
    """Measured values (m,) with their bounds (m,) as bars."""
    look = {"fmt": "o", "color": PALETTE[1], "capsize": 3, "markersize": 4.5, "linewidth": 1.2}
    return [ax.errorbar(x, values, yerr=errors, **(look | options))]


def gaps(ax, verdicts):
    """The worst gap of each step, less what theory foresees, and its bound, on a logarithmic axis; steps from top to bottom."""
    worst = [same.worst for same in verdicts.by_step().values()]
    rows = np.arange(len(worst))
    seen = lambda values: np.maximum(np.abs(values), 1e-17)
    bound = ax.barh(rows, [seen(v.bound) for v in worst], left=1e-18, color=PALETTE[5], alpha=0.5, height=0.7)
    miss = ax.plot([seen(v.gap - v.predicted) for v in worst], rows, "D", color=PALETTE[1], markersize=4)
    ax.set_xscale("log")
    ax.set_yticks(rows, [v.step for v in worst])
    ax.invert_yaxis()
    return [bound, *miss]


def stacked(rows, columns, *, width=7.2, height=4.6, ratios=None):
    """A grid of panels whose columns share x and whose rows share y; returns (figure, array of axes). Sizes in inches, heights in ratios.

    On a phone the columns stand beneath one another.
    """
    if not _narrow.get() or columns == 1:
        figure = _figure(COLUMN if _narrow.get() else width, height)
        return figure, figure.subplots(rows, columns, sharex="col", sharey="row", gridspec_kw={"height_ratios": ratios})
    figure = _figure(COLUMN, 0.8 * columns * height)
    every = figure.subplots(rows * columns, 1, gridspec_kw={"height_ratios": list(ratios or [1] * rows) * columns})
    axes = every.reshape(columns, rows).T
    for row in axes:
        for ax in row[1:]:
            ax.sharey(row[0])
    for column in axes.T:
        for ax in column[1:]:
            ax.sharex(column[0])
    return figure, axes


def name(ax, x, y, text, color=INK, **options):
    """What a line is, written beside it in its colour, in place of a legend; `x`, `y` in the units of the data."""
    look = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 8.5, "linespacing": 1.25}
    return [ax.annotate(text, (x, y), color=color, **(look | options))]


def area(ax, x, y, colour, *, hatch=None):
    """The area between y (m,) and 0, filled or hatched, with its outline."""
    filled = (
        {"facecolor": colour, "alpha": 0.3}
        if hatch is None
        else {"facecolor": "none", "edgecolor": colour, "hatch": hatch}
    )
    patch = ax.fill_between(x, 0, y, linewidth=0, **filled)
    return [patch, *ax.plot(x, y, color=colour, linewidth=1.4, linestyle="-" if hatch is None else (0, (5, 2)))]


def corner(ax, text, *, low=False, **options):
    """Words in the upper right corner of a panel, or in the lower."""
    y, side = (0.03, "bottom") if low else (0.97, "top")
    return [ax.annotate(text, (0.98, y), xycoords="axes fraction", ha="right", va=side, fontsize=8.5, **options)]


def height(ax, x, y, text, *, color):
    """A two-headed arrow from 0 to y at x, and what it is."""
    look = {"arrowstyle": "<->", "color": color, "lw": 2, "shrinkA": 0, "shrinkB": 0}
    arrow = ax.annotate("", (x, y), (x, 0), arrowprops=look)
    return [arrow, ax.annotate(text, (x, y), xytext=(14, -4), textcoords="offset points", color=color, fontsize=8.5)]


def between(ax, x, low, high, text, *, color=INK):
    """A two-headed arrow from low to high at x, and what that distance is."""
    look = {"arrowstyle": "<->", "color": color, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    return [ax.annotate("", (x, high), (x, low), arrowprops=look), *name(ax, x, (low + high) / 2, text, color)]


def shades(figure, ax, filled, ticks, unit):
    """What the shades of a filled contour mean: a bar beside the panel, its unit above."""
    bar = figure.colorbar(filled, ax=ax, ticks=ticks, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.set_title(unit, fontsize=8.5)
    bar.ax.tick_params(length=0)
    return [bar]


def ramp():
    """SHADES as a colour map, from little to much."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", SHADES[::-1])


def profile(ax, p, y, colour, *, towards="right"):
    """A density p (m,) over a vertical axis y (m,), growing to one side, without a scale of its own."""
    patch = ax.fill_betweenx(y, 0, p, color=colour, alpha=0.35, linewidth=0)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    if towards == "left":
        ax.invert_xaxis()
    return [patch]


def signed(value):
    """A number to three places with its sign, and no minus before a zero."""
    return f"{value:+.3f}".replace("-", "−") if abs(value) > 5e-4 else "0"


def passes(rows):
    """A diagram of passes and their pullbacks: (name, what it leaves, what its pullback adds to) in order. Returns the figure."""
    small, n = _narrow.get(), len(rows)
    figure = _figure(COLUMN, 5.2) if small else _figure(8.6, 3.0)
    figure.set_label(DIAGRAM)
    ax = figure.subplots()
    ax.set_axis_off()
    place = (lambda k, back: (2.3 * back, -1.5 * k)) if small else (lambda k, back: (2.6 * k, -1.9 * back))
    width, high, blue, red = (1.95 if small else 2.05), 0.92, PALETTE[0], PALETTE[1]
    arrow = lambda a, b, color, **options: ax.annotate(
        "", b, a, arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6, "shrinkA": 0, "shrinkB": 0} | options
    )
    for k, (title, leaves, adds) in enumerate(rows):
        for back, (text, below, color) in enumerate(((title, leaves, blue), (f"{title}_pullback", adds, red))):
            x, y = place(k, back)
            dash = "-" if back == 0 else (0, (4, 2))
            ax.add_patch(_box(x, y, width, high, color, dash))
            ax.text(
                x,
                y + 0.17,
                text,
                ha="center",
                va="center",
                family="DejaVu Sans Mono",
                fontsize=7.8 if back else 8.6,
                color=color,
            )
            ax.text(
                x,
                y - 0.2,
                below,
                ha="center",
                va="center",
                fontsize=7.8 if back else 8.5,
                family="DejaVu Sans Mono" if back else None,
            )
        (x, y), (x_, y_) = place(k, 0), place(k, 1)
        gap = (width / 2, 0) if small else (0, -high / 2)
        arrow((x + gap[0], y + gap[1]), (x_ - gap[0], y_ - gap[1]), INK, linestyle=(0, (1, 2)))
        if k + 1 < n:
            for back, color in ((0, blue), (1, red)):
                (x, y), (x_, y_) = place(k, back), place(k + 1, back)
                ends = ((x, y - high / 2), (x_, y_ + high / 2)) if small else ((x + width / 2, y), (x_ - width / 2, y_))
                arrow(*(ends[::-1] if back else ends), color)
    (x, y), (x_, y_), (c, d) = place(0, 0), place(0, 1), place(n - 1, 0)
    if small:
        ax.text(x, y + 0.95, "x, θ", ha="center")
        ax.text(x_, y_ + 0.95, "gradient in θ", ha="center")
        arrow((x, y + 0.85), (x, y + high / 2), blue)
        arrow((x_, y_ + high / 2), (x_, y_ + 0.85), red)
        ax.text(x + 1.15, d - 0.95, "the loss turns s and its curvature into cotangents", ha="center", fontsize=8.5)
        ax.set(xlim=(-1.05, 3.35), ylim=(d - 1.3, 1.3))
    else:
        ax.text(x - 1.75, y, "x, θ", ha="center", va="center")
        ax.text(x_ - 1.75, y_, "gradient\nin θ", ha="center", va="center")
        arrow((x - 1.5, y), (x - width / 2, y), blue)
        arrow((x_ - width / 2, y_), (x_ - 1.35, y_), red)
        ax.text(
            c + 1.15,
            -0.95,
            "the loss:\ns and its\ncurvature\ninto\ncotangents",
            va="center",
            fontsize=8.5,
            linespacing=1.25,
        )
        ax.set(xlim=(-2.1, c + 2.3), ylim=(-2.5, 0.6))
    return figure


def _box(x, y, width, high, color, dash):
    from matplotlib.patches import FancyBboxPatch

    corner, style = (x - width / 2, y - high / 2), "round,pad=0,rounding_size=0.12"
    return FancyBboxPatch(
        corner, width, high, boxstyle=style, facecolor="none", edgecolor=color, linewidth=1.5, linestyle=dash
    )
