"""The picture of a fitted network: densities, score fields, samples beside data, loss curves, sheets of images.

matplotlib is loaded inside the functions that need it. Of the palette of `plots`, blue is what was learned, orange are data.
"""

import io
import warnings

import numpy as np

from .plots import INK, PALETTE, grid

LEARNED, DATA = PALETTE[0], PALETTE[4]
CROSSES = 500  # rows of data in a picture
GRID = 81  # points an axis of a density that a flow has to be followed for


def mass_levels(p, shares=(0.5, 0.9, 0.99)):
    """The values of p above which these shares of its sum lie, increasing: levels for contour lines."""
    ordered = np.sort(p.ravel())[::-1]
    total = np.cumsum(ordered)
    levels = [ordered[min(len(ordered) - 1, int(np.searchsorted(total, share * total[-1])))] for share in shares]
    return sorted(set(levels))


def density_map(ax, energy, box, shares=(0.5, 0.9, 0.99), n=161):
    """exp(-energy) over box, darker where there is more, with lines around 50, 90 and 99 per cent of it; energy: (m, 2) -> (m,)."""
    a, b, points = grid(box, n)
    f = energy(points)
    p = np.exp(f.min() - f).reshape(n, n)
    image = ax.imshow(
        np.sqrt(p),
        origin="lower",
        extent=[a[0], a[-1], b[0], b[-1]],
        aspect="auto",
        cmap="Blues",
        interpolation="bilinear",
    )
    levels = mass_levels(p, shares)
    names = {level: f"{share:.0%}" for level, share in zip(levels, sorted(shares, reverse=True), strict=False)}
    lines = ax.contour(a, b, p, levels=levels, colors=INK, linewidths=0.8)
    ax.clabel(lines, fmt=names, fontsize=7)
    return image, lines


def score_field(ax, score, box, n=15):
    """Arrows of a score: (n, 2) -> (n, 2) over box; their length grows as the fourth root, so that small ones are seen."""
    _, _, points = grid([(low + (high - low) / (2 * n), high - (high - low) / (2 * n)) for low, high in box], n)
    s = score(points) * [box[0][1] - box[0][0], box[1][1] - box[1][0]]  # in units of the box, as it is drawn
    length = np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1e-300)
    s = s / length**0.75
    s /= np.abs(s).max() * n
    return ax.quiver(
        *points.T, *s.T, angles="uv", scale=1.1, scale_units="width", units="width", width=0.004, color=LEARNED
    )


def scatter(ax, x, data, names):
    """Samples x (n, 2) as points, data (m, 2) as crosses over them, columns named."""
    artists = [
        ax.scatter(*x.T, s=4, color=LEARNED, alpha=0.35, linewidths=0, label="samples", rasterized=True),
        ax.scatter(*data.T, s=14, color=DATA, marker="x", linewidths=0.8, label="data", rasterized=True),
    ]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    return artists


def histograms(ax, x, data, name, bins=40):
    """Samples x (n,) filled and data (m,) as a line, both normalised."""
    edges = np.histogram_bin_edges(np.concatenate([x, data]), bins)
    learned = ax.hist(x, edges, density=True, color=LEARNED, alpha=0.5, label="samples")
    given = ax.hist(data, edges, density=True, histtype="step", color=INK, linewidth=1.2, label="data")
    ax.set_xlabel(name)
    ax.set_ylabel(f"density [1/{name}]")
    return learned, given


def loss_curves(ax, history, chosen):
    """Train and held-out loss by step, mean over trainings, of lines with run, fold, sigma, step, train and held_out; and the choice."""
    scored = [line for line in history if line.fold >= 0]
    steps = sorted({line.step for line in scored})
    mean = lambda name: [np.mean([getattr(line, name) for line in scored if line.step == step]) for step in steps]
    held = mean("held_out")
    artists = ax.plot(steps, mean("train"), color=LEARNED, linestyle="--", label="rows trained on")
    artists += ax.plot(steps, held, color=LEARNED, label="rows held out")
    at = min(steps, key=lambda step: abs(step - chosen))
    artists += ax.plot(at, held[steps.index(at)], "o", color=INK, fillstyle="none", markersize=9, label="chosen")
    low, high = min(held), max(held[0], held[-1], 0.0)
    ax.set_ylim(low - 0.6 * (high - low), high + 0.25 * (high - low))  # a collapse leaves the picture at the bottom
    sigmas = list(dict.fromkeys(line.sigma for line in scored))
    if len(sigmas) > 1:
        ends = [max(line.step for line in scored if line.sigma == sigma) for sigma in sigmas]
        for start, end, sigma in zip([0, *ends], ends, sigmas, strict=False):
            artists.append(ax.axvline(end, color="0.8", linewidth=0.8, zorder=0))
            place = (0.5 * (start + end), 0.98)
            artists.append(
                ax.text(*place, f"{sigma:.2g}", transform=ax.get_xaxis_transform(), ha="center", va="top", fontsize=7)
            )
        ax.set_title("loss by step, at noise sigma (top)")
    else:
        ax.set_title("loss by step")
    ax.set_xlabel("step")
    return artists


def chosen_lines(result):
    """The lines of a fit's history that chose its step: those of trainings without decay, say, and not those with it."""
    return [line for line in result.history if line.run in result.summary["trainings"]]


def image_sheet(ax, images, columns):
    """Images (n, h, w), values from 0 (white) to 1 (black), as one sheet with this many columns."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.zeros((rows * (h + 1) + 1, columns * (w + 1) + 1))
    for k, image in enumerate(images):
        i, j = divmod(k, columns)
        sheet[i * (h + 1) + 1 : (i + 1) * (h + 1), j * (w + 1) + 1 : (j + 1) * (w + 1)] = image
    ax.set_axis_off()
    return ax.imshow(sheet, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")


# ------------------------------------------------------------------------------- the picture of a fit


def fit_picture(result, x, drawn):
    """The picture of a `training.Fit`, as the bytes of a PNG: density, score field, samples, loss by step.

    Of many rows 500 are shown, lest they hide the samples.

    Parameters
    ----------
    result : training.Fit
    x : (n, d) array
        The data in their own units.
    drawn : (m, d) array
        Samples of the network in the same units.

    In more than two columns the first three are shown in pairs in place of density and field.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 8), layout="constrained", dpi=110)
    axes = figure.subplots(2, 2).ravel()
    units, model = result.units, result.model
    told = {"sigma": float(units.sigma[-1])} if model.conditional else {}
    names = [name if len(name) < 30 else f"{name[:27]}..." for name in units.columns]
    if model.dim > 2:
        for ax, pair in zip(axes, ([0, 1], [0, 2], [1, 2]), strict=False):
            scatter(ax, drawn[:, pair], _some(x)[:, pair], [names[i] for i in pair])
        axes[0].legend(loc="best", fontsize=8)
        axes[0].set_title("samples and data")
    else:
        panels = _one_column if model.dim == 1 else _two_columns
        panels(axes, model, units, told, x, drawn, names)
    loss_curves(axes[3], chosen_lines(result), result.summary["step"])
    axes[3].set_ylabel(result.summary["criterion"])
    axes[3].legend(loc="lower left", fontsize=8)
    if result.summary["check"]["density"] == "elsewhere":
        figure.suptitle(
            "The density lies elsewhere: most of its mass is away from the data (see the notes)",
            color=DATA,
            fontsize=12,
        )
    canvas, stream = FigureCanvasAgg(figure), io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph", UserWarning
        )  # a name in letters that the font lacks is a row of boxes
        canvas.print_png(stream)
    return stream.getvalue()


def _energy(model, units):
    """-log p up to a constant, points (n, d) in the units of the data -> (n,): of the flow, where there is one."""
    return (lambda x: -units.logpdf(model, x)) if model.conditional else (lambda x: units.energy(model, x))


def _box(x, units, margin=0.25):
    """Where the rows are, and a margin, within their ends; of columns with cells far away (`Units.tail`) where all but a twentieth are."""
    support, share = units.support, 0.0 if units.tail is None else 0.025
    low, high = np.quantile(x, [share, 1 - share], axis=0)
    wide = np.where(high > low, high - low, 1.0)
    low, high = low - margin * wide, high + margin * wide
    if support is not None:
        low, high = np.maximum(low, support.lower), np.minimum(high, support.upper)
    return list(zip(low, high, strict=True))


def _some(x):
    """At most CROSSES rows, at equal distances in the table."""
    return x[:: -(-len(x) // CROSSES)]


def _one_column(axes, model, units, told, x, drawn, names):
    (low, high), *_ = _box(x, units)
    t = np.linspace(low, high, 801)[:, None]
    histograms(axes[0], drawn[:, 0], x[:, 0], names[0])
    if model.kind == "EnergyMLP" or model.conditional:
        f = _energy(model, units)(t)
        p = np.exp(f.min() - f)
        axes[0].plot(t, p / np.trapezoid(p, t[:, 0]), color=LEARNED, label="density learned")
    axes[0].set_xlim(low, high)
    axes[0].legend(fontsize=8)
    axes[0].set_title("density, samples, data")
    axes[1].plot(t, units.score(model, t, **told), color=LEARNED)
    axes[1].axhline(0, color="0.8", linewidth=0.8)
    axes[1].set_xlabel(names[0])
    axes[1].set_ylabel(f"score [1/{names[0]}]")
    axes[1].set_title("score learned")
    ordered = np.sort(drawn[:, 0]), np.sort(x[:, 0])
    for values, colour, label, style in zip(ordered, (LEARNED, INK), ("samples", "data"), ("-", "--"), strict=True):
        axes[2].step(values, np.arange(1, len(values) + 1) / len(values), color=colour, label=label, linestyle=style)
    axes[2].set_xlabel(names[0])
    axes[2].set_ylabel("share below")
    axes[2].legend(fontsize=8)
    axes[2].set_title("distribution of samples and data")


def _two_columns(axes, model, units, told, x, drawn, names):
    box = _box(x, units)
    if model.kind == "EnergyMLP" or model.conditional:
        density_map(axes[0], _energy(model, units), box, n=GRID if model.conditional else 161)
        axes[0].set_title("density learned, and what holds 50, 90, 99 % of it")
    else:
        axes[0].set_title("data (a score network has no density)")
    x = _some(x)
    axes[0].scatter(*x.T, s=10, color=DATA, marker="x", linewidths=0.7, label="data")
    score_field(axes[1], lambda p: units.score(model, p, **told), box)
    axes[1].scatter(*x.T, s=6, color=DATA, marker="x", linewidths=0.5, zorder=0)
    axes[1].set_title("score learned (length: fourth root)")
    scatter(axes[2], drawn, x, names)
    axes[2].set_title("samples and data")
    for ax in axes[:3]:
        ax.set_xlim(*box[0])
        ax.set_ylim(*box[1])
        ax.set_xlabel(names[0])
        ax.set_ylabel(names[1])
    axes[2].legend(loc="best", fontsize=8)
