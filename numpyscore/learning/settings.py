"""What a fit is asked for, checked as it comes in: rows, objective, support, network, noise levels."""

import functools
import os

import numpy as np

from ..common.inputs import finite, numeric, samples
from ..common.names import kind_of, nearest
from ..data.csv import Table, from_csv
from ..data.datasets import standardise
from ..data.frames import is_frame, table_of
from ..densities.noise import geometric_levels, perturb, suggest_levels
from ..densities.support import support_of
from ..networks.models import EnergyMLP, ScoreMLP
from ..objectives.denoising import denoising, multilevel_denoising
from ..objectives.implicit import generalised, implicit
from ..objectives.sliced import finite_difference_sliced, sliced
from .columns import Grid, dequantised, left_out, look
from .splits import some
from .units import FAR, NEAR, Units

WIDEST = 0.8  # noise tried first where sigma is "auto": modes overlap there
LEAST_AND_LEVELS = {True: (0.07, 7), False: (0.035, 9)}  # of a small table; of a large one, which bears less noise

FINEST = 0.01  # least of all levels where they are chosen together: what is finer than a hundredth of a column is hardly its density
TAIL = 1.0  # widths, as of a Gaussian of these quartiles, beyond which --robust takes logarithms: see `Units`
RIDGE = 1e-6  # added to a correlation matrix, lest rounding count as a direction
SPACED = 20_000  # rows, at most, by whose spacing levels are chosen

WIDEST_OF_ALL = 1e3  # noise beyond which nothing of standardised data is left

# ------------------------------------------------------------------------------- objectives by name


def _noisy(x, sigma, rng):
    return perturb(x, sigma, rng=rng)[0] if sigma else x


def _multilevel(net, x, sigma, rng):
    """Each row at one level, drawn at random."""
    return multilevel_denoising(net, x, sigma, level=rng.integers(len(sigma), size=len(x)), rng=rng)


def _differences(net, x, sigma, rng):
    eps = 1e-3 if x.dtype == np.float64 else 0.05
    return finite_difference_sliced(net, _noisy(x, sigma, rng), eps, rng=rng)


# name -> (net, rows x, sigma, generator) -> Loss
OBJECTIVES = {
    "implicit": lambda net, x, sigma, rng: implicit(net, _noisy(x, sigma, rng)),
    "sliced": lambda net, x, sigma, rng: sliced(net, _noisy(x, sigma, rng), rng=rng),
    "finite_difference_sliced": _differences,
    "denoising": lambda net, x, sigma, rng: denoising(net, x, sigma, rng=rng),
    "multilevel_denoising": _multilevel,
}
GENERALISED = "generalised"  # the one objective that is told a support


def _within(support, rows):
    """The rule of "generalised" on this support: noise that does not leave it nor moves the mean of `rows` from an end, weights that
    vanish at its ends."""
    stretch = functools.cache(lambda sigma: support.stretch(rows, sigma))

    def rule(net, x, sigma, rng):
        noisy = support.perturb(x, sigma, stretch=stretch(sigma), rng=rng) if sigma else x
        return generalised(net, noisy, *support.weight)

    return rule


# ------------------------------------------------------------------------------- what comes in


def rows_of(data, robust=False, dequantise=False, seed=0, within=False):
    """Rows (n, d), the same standardised, Units without sigma, and what is to be said of the columns."""
    if isinstance(data, str | os.PathLike):
        data = from_csv(data)
    elif is_frame(data):
        data = table_of("fit", data)
    names = data.columns if isinstance(data, Table) else None
    x = samples("fit", data.x if isinstance(data, Table) else data, name="data")
    if x.dtype.kind == "c" or len(x) < 10 or x.shape[1] == 0:
        raise ValueError(
            f"fit: data are {x.dtype} of shape {x.shape}, expected real numbers, at least 10 rows and a column: some rows train, "
            f"some choose, some report."
        )
    if np.abs(x).max() > FAR:
        row = int(np.argmax(np.abs(x).max(axis=1)))
        raise ValueError(
            f"fit: data has {np.abs(x).max():.3g} in row {row}, expected numbers below {FAR:g}, whose squares are numbers; choose another unit."
        )
    spread = np.ptp(x, axis=0)
    if np.any(small := (spread > 0) & (spread < NEAR)):
        raise ValueError(
            f"fit: column {int(np.argmax(small))} of the data ranges over {spread[small][0]:.3g}, expected more than {NEAR:g}: the trace goes "
            f"with its square, whose own square would be no number; choose another unit."
        )
    grid = Grid.of(np.asarray(x, float))
    if dequantise:
        x, whole = dequantised(x, seed)
        if not len(whole):
            raise ValueError(f"fit: dequantise is {dequantise}, but no column is of whole numbers: leave it out.")
    z, mean, scale, _ = standardise(x, names)
    if robust:
        z, mean, scale = _robust(x, mean, scale)
    tail = TAIL if robust and not within else None
    z = z if tail is None else tail * np.arcsinh(z / tail)
    columns = names or tuple(f"x{i}" for i in range(1, x.shape[1] + 1))
    notes = left_out(data.dropped if isinstance(data, Table) else 0) + look(x, columns, robust, within)
    return x, z, Units(tuple(map(str, columns)), mean.astype(float), scale.astype(float), grid=grid, tail=tail), notes


def _robust(x, mean, scale):
    """Rows less their median, over the distance of the quartiles of a Gaussian of deviation 1; as they were where the quartiles are one."""
    x = x.astype(float)
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75], axis=0)
    spread = (high - low) / 1.3489795
    mean, scale = np.where(spread > 0, middle, mean), np.where(spread > 0, spread, scale)
    return (x - mean) / scale, mean, scale


def without_correlations(z, units):
    """Rows z (n, d) and Units whose mix takes out the correlations; as they were where a column is constant, or there is one alone.

    One that was drawn in (`Units.tail`) is brought to deviation 1 too.

    Noise is of one size in all directions, and so blurs first what is thin in one; and without the network's part the density is then
    the Gaussian with the mean and the covariance of the rows.
    """
    away = (z - z.mean(axis=0)).astype(float)
    moments = away.T @ away / len(z)  # (d, d)
    variances = np.diag(moments)
    if not variances.all() or (len(variances) == 1 and units.tail is None):
        return z, units
    mix = np.linalg.cholesky(moments + RIDGE * np.diag(variances))
    return np.linalg.solve(mix, z.T).T, units._replace(mix=mix)


def support_within(support, objective, x):
    """The Support of the rows x, in their units; None without one."""
    if (support is not None) != (objective == GENERALISED):
        raise ValueError(
            f"fit: objective is {objective!r} and support (--lower, --upper) {support}, expected both 'generalised' and a support (lower, upper), or "
            f"neither: its weights vanish at the ends of the data, which a table does not tell, and no other objective knows ends."
        )
    if support is None:
        return None
    ends = support_of("fit", support, x.shape[1])
    ends.refuse_outside("fit", x, "data")
    return ends


def objective_of(objective, support, z):
    """Its name and its rule, for the standardised rows z."""
    if support is not None:
        return GENERALISED, _within(support, z[some(len(z), SPACED)].astype(float))
    if callable(objective):
        return getattr(objective, "__name__", "objective"), objective
    if objective not in OBJECTIVES:
        raise ValueError(
            f"fit: objective is {objective!r}, expected one of {', '.join(OBJECTIVES)}, generalised, or a callable{nearest(objective, OBJECTIVES)}."
        )
    return objective, OBJECTIVES[objective]


def network_for(model, d, objective, seed):
    """Where training starts; a conditional network for several levels, and only for these."""
    several = objective == "multilevel_denoising"
    if model is None:
        widths: tuple
        if several:  # three layers: the detail of little noise and the plain shape of much noise have to be told apart
            widths, lam = (32 if d <= 8 else 64 if d <= 24 else 128,) * 3, 1.0
        else:
            widths, lam = ((32, 32) if d <= 3 else (128, 128)), 0.1
        # lambda/(1 + sigma^2) is the precision of noisy standardised columns
        return EnergyMLP.init(d, widths, "silu", confinement=lam, conditional=several, rng=seed)
    if not isinstance(model, EnergyMLP | ScoreMLP):
        raise TypeError(f"fit: model is {kind_of(model)}, expected an EnergyMLP or a ScoreMLP.")
    if model.dim != d or model.theta.dtype.kind != "f" or model.theta.dtype.itemsize > 8:
        raise ValueError(f"fit: model is {model!r}, expected dim {d}, the columns of the data, and float32 or float64.")
    if model.conditional != several and objective in OBJECTIVES:
        raise ValueError(
            f"fit: the network is {'' if model.conditional else 'not '}conditional and the objective is {objective!r}; a network that "
            f"is told the noise level is trained by 'multilevel_denoising', and only such a one."
        )
    return model


def levels_for(sigma, objective, conditional, z, small):
    """The noise levels one after the other; of a conditional network one entry, the array of levels that it sees at once."""
    auto = isinstance(sigma, str)
    if auto and sigma != "auto":
        raise ValueError(f"fit: sigma is {sigma!r}, expected 'auto', a number or an array of levels.")
    if conditional:
        levels = _suggested(z) if auto else np.asarray(numeric("fit", "sigma", sigma), float)
        finite("fit", "sigma", levels)
        if levels.ndim != 1 or not (levels > 0).all() or len(levels) < 2 or not (np.diff(levels) < 0).all():
            raise ValueError(
                f"fit: sigma is {levels}, expected at least two levels, positive and decreasing, for {objective!r}; one level alone is "
                f"what --objective implicit (in Python objective='implicit') is trained at."
            )
        return [levels]
    if auto:
        least, n = LEAST_AND_LEVELS[small]
        low = max(least, _suggested(z)[-1])
        return [float(s) for s in geometric_levels(max(WIDEST, 4 * low), low, n)]
    value = np.asarray(numeric("fit", "sigma", sigma))
    if value.ndim or not 0 <= value <= WIDEST_OF_ALL:
        raise ValueError(
            f"fit: sigma is {sigma}, expected 'auto' or one number from 0 to {WIDEST_OF_ALL:g}, in standard deviations of the columns; "
            f"several levels need a conditional network."
        )
    if value == 0 and objective == "denoising":
        raise ValueError(
            "fit: sigma is 0, expected a positive number: denoising has the target -eps/sigma. See 'implicit'."
        )
    return [float(value)]


def _suggested(z):
    """`suggest_levels` by at most SPACED rows, none below FINEST."""
    levels = suggest_levels(z[some(len(z), SPACED)])
    if levels[-1] >= FINEST or levels[0] <= 2 * FINEST:
        return levels
    count = sum(levels > FINEST) + 1
    return geometric_levels(levels[0], FINEST, count)
