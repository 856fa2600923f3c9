"""Axes in, artists out: what the figures are drawn with. Matplotlib is imported where it is used.

The palette is that of Okabe and Ito, which colour-blind readers can tell apart; every line differs from the others in its dashes and
markers too, so that a grey print will do. Ink is one colour throughout, so that a dark page can exchange it.
"""

import contextlib
import io
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
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
RC: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.labelsize": 9, "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "mathtext.fontset": "dejavusans",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8, "axes.titlelocation": "left",
    "legend.frameon": False, "legend.handlelength": 2.6, "lines.linewidth": 1.8, "lines.markersize": 4.5,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "svg.hashsalt": "numpyscore", "svg.fonttype": "path", "pdf.fonttype": 42, "path.simplify_threshold": 0.5,
}  # fmt: skip


@contextlib.contextmanager
def style(**changed):
    """The style of the figures, for as long as the block lasts; nobody's own settings play a part, or are changed."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC | changed)
        yield


def panels(n, *, width=7.2, height=3.0, **options):
    """A figure of n panels side by side; returns (figure, list of axes). Sizes in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, n, **options)).flat)


def svg(figure):
    """A figure as SVG text: no date, and the same bytes for the same figure."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


FORMATS = ("svg", "png", "pdf")
PIXELS = 2560  # of a picture for a slide, across


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
    """
    grown = (font_size or RC["font.size"]) / RC["font.size"]
    width, height = np.array(figure.get_size_inches() if size is None else size) / grown
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
    """A grid of panels whose columns share x and whose rows share y; returns (figure, array of axes). Sizes in inches, heights in ratios."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, sharex="col", sharey="row", gridspec_kw={"height_ratios": ratios})


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
