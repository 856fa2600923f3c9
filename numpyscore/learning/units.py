r"""The user's units beside a network fitted in standardised ones: model.npz holds both.

`fit` standardises every column, z = (x - mean) / scale, and trains the network on z. The file that it writes, model.npz, is a
network's file with more entries:

    data_columns (d,) names     data_mean (d,) [x]     data_scale (d,) [x]
    data_sigma   the noise the network was trained at, in units of z: one number, or (L,) levels, decreasing, if conditional
    data_mix (d, d)   where correlations were taken out: its lower triangle times z is the standardised row
    data_tail   where cells far away were drawn in: the c of y = c sinh(standardised row / c), (x - mean) / scale = y
    data_low (d,), data_high (d,), data_step (d,) [x]   the range of each column, and the step between the values that it takes
    data_lower (d,), data_upper (d,) [x]   the ends of the columns, where they were told; infinite where there is none

and, where training came down through larger noise, data_ladder_sigma (k,) and data_ladder_theta (k, p), what it was there.

`numpyscore.load(path)` gives the network alone, which answers for z; `load_fitted(path)` the network and its `Units`. A file
written by `model.save` has no such entries: its units are those of its x, mean 0 and scale 1. So a command reads

    model, units = load_fitted(path)
    z = units.to_standard(table.x)            # evaluate: the user's rows, as the network knows them
    x = units.to_data(z)                      # sample: what a sampler made, in the user's units
    log_p = log_p_z - units.log_volume(z)     # density per unit of x, from density per unit of z

and `units.energy`, `units.score` and `units.trace` answer in the user's units at once.
"""

from typing import Any, NamedTuple

import numpy as np

from ..common.files import MOST, read_npz, write_npz
from ..common.inputs import samples
from ..common.names import shortened
from ..densities.support import Support
from ..networks.models import network_of
from ..sampling.likelihood import log_density
from ..sampling.targets import Ladder
from .columns import Grid

NUMBERS = 1 << 20  # in the directions of one block
NEAR, FAR = (
    1e-70,
    1e100,
)  # a spread below NEAR has traces whose squares are no numbers, rows beyond FAR have none themselves
OWN = {"columns", "mean", "scale", "sigma", "mix", "tail"}
ENTRIES = {*OWN, *Grid._fields, "lower", "upper", "ladder_sigma", "ladder_theta"}


class Units(NamedTuple):
    r"""Columns (d names), mean (d,) and scale (d,) in [x], the noise sigma that the network was trained at, in scales, the `Support`
    of the data in [x], None where they have no ends, and mix (d, d), None or the Cholesky factor of the columns' correlations:
    then mix z = (x - mean) / scale, and z has no correlations. grid: the range of the columns and the values they take, a `Grid`, or None.
    tail: None, or the c of a map that leaves what is near as it is and takes logarithms of what is far,

    .. math:: w = \mathrm{mix}\, z = c\, \mathrm{arsinh}(y / c), \qquad y = (x - \mathrm{mean}) / \mathrm{scale}, \qquad
        \frac{dw}{dy} = \frac{1}{\cosh(w / c)}

    Source: Johnson (1949), Biometrika 36:149-176, the system S_U, for the inverse hyperbolic sine.
    """

    columns: tuple
    mean: np.ndarray
    scale: np.ndarray
    sigma: Any = None
    support: Any = None
    mix: Any = None
    grid: Any = None
    tail: Any = None

    @classmethod
    def from_dict(cls, words):
        """The Units of what `to_dict` gave."""
        sigma, support = np.array(words["sigma"]), words["support"]
        if support is not None:
            support = Support(
                *(np.array(_numbers(end, no)) for end, no in zip(support, (-np.inf, np.inf), strict=True))
            )
        numbers = np.array(words["mean"]), np.array(words["scale"]), sigma if sigma.ndim else float(sigma)
        mix, grid, tail = (words.get(name) for name in ("mix", "grid", "tail"))
        grid = None if grid is None else Grid(*(np.array(grid[name]) for name in Grid._fields))
        return cls(tuple(words["columns"]), *numbers, support, None if mix is None else np.array(mix), grid, tail)

    def to_dict(self):
        """Lists and numbers for JSON, which knows no infinity: None where a column has no end."""
        support = None if self.support is None else [_words(end) for end in self.support]
        numbers = {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "sigma": np.asarray(self.sigma).tolist()}
        more = {} if self.mix is None else {"mix": self.mix.tolist()}
        more |= {} if self.tail is None else {"tail": self.tail}
        more |= {} if self.grid is None else {"grid": {name: a.tolist() for name, a in self.grid._asdict().items()}}
        return {"columns": list(self.columns)} | numbers | {"support": support} | more

    @property
    def standard_support(self):
        """The support in units of z; None without one."""
        return None if self.support is None else self.support.standardised(self.mean, self.scale)

    def log_volume(self, z):
        """log |det dx/dz| at standardised rows z (n, d): (n,); the same in every row where there is no tail."""
        mixed = 0.0 if self.mix is None else np.log(np.diag(self.mix)).sum()
        linear = np.full(len(z), np.log(self.scale).sum() + mixed)
        return linear if self.tail is None else linear + _log_cosh(self._mixed(z) / self.tail).sum(axis=1)

    @property
    def _unmixed(self):
        """dz/dw (d, d), w = mix z."""
        return np.eye(len(self.scale)) if self.mix is None else np.linalg.inv(self.mix)

    def _mixed(self, z):
        """w = mix z of rows (n, d)."""
        return z if self.mix is None else z @ self.mix.T

    def _slopes(self, z):
        """In each column dw/dx, the slope of its logarithm, and the slope of that, (n, d), 1/[x], 1/[x], 1/[x]^2; scalars 0 without a tail."""
        if self.tail is None:
            return np.broadcast_to(1 / self.scale, np.shape(z)), 0.0, 0.0
        w = self._mixed(z) / self.tail
        sech, tanh, unit = np.exp(-_log_cosh(w)), np.tanh(w), self.tail * self.scale
        # dw/dy = sech w, so d log(dw/dy) / dy = -tanh(w) sech(w) / c, and its slope (tanh^2 - sech^2) sech^2 / c^2
        return sech / self.scale, -tanh * sech / unit, (tanh**2 - sech**2) * (sech / unit) ** 2

    def to_standard(self, x):
        """z of rows x (n, d) in the user's units: (x - mean) / scale, what is far drawn in if there is a tail, without correlations if a mix."""
        w = (samples("to_standard", x, len(self.mean)) - self.mean) / self.scale
        w = w if self.tail is None else self.tail * np.arcsinh(w / self.tail)
        return w if self.mix is None else np.linalg.solve(self.mix, w.T).T

    def to_data(self, z):
        """x of standardised rows z (n, d): mean + scale y, y = mix z, or tail sinh(mix z / tail)."""
        w = self._mixed(samples("to_data", z, len(self.mean), name="z"))
        return self.mean + self.scale * (w if self.tail is None else self.tail * np.sinh(w / self.tail))

    def energy(self, model, x, *, sigma=None):
        """-log p(x) up to the network's log Z, per unit of x (n,)."""
        z = self.to_standard(x)
        return model.energy(z, sigma=sigma) + self.log_volume(z)

    def logpdf(self, model, x):
        """log p(x), nats per unit of x (n,); of a conditional network at the least level. ValueError where it has none, with the reason."""
        sigmas, z = self.sigma if model.conditional else None, self.to_standard(x)
        log_p, how = log_density(model, z, sigmas=sigmas, support=self.standard_support)
        if log_p is None:
            raise ValueError(f"logpdf: {model!r} has no log density here: {how['why']}.")
        return log_p - self.log_volume(z)

    def score(self, model, x, *, sigma=None):
        """Gradient of log p in x at rows x (n, d) in the user's units, 1/[x]: score_z dz/dx, and the gradient of log |det dz/dx|."""
        z = self.to_standard(x)
        score, (slope, bend, _) = model.score(z, sigma=sigma), self._slopes(z)
        return (score if self.mix is None else score @ self._unmixed) * slope + bend

    def trace(self, model, x, *, sigma=None):
        """Trace of that score's Jacobian (n,), 1/[x]^2: sum_i (dw_i/dx_i)^2 v_i^T J v_i, v_i = dz/dw_i, along d directions; with a tail
        more, by the product rule."""
        z = self.to_standard(x)
        n, d = z.shape
        out, size, unmixed, tail = np.empty(n), max(1, NUMBERS // d**2), self._unmixed, self.tail is not None
        for start in range(0, n, size):
            at = slice(start, min(n, start + size))
            rows = np.broadcast_to(unmixed.T[:, None], (d, at.stop - at.start, d))
            told = sigma if np.ndim(sigma) == 0 else sigma[at]
            found = model.evaluate(z[at], score=tail, curvature=rows, sigma=told)
            slope, bend, more = self._slopes(z[at])
            out[at] = (found.curvature.T * slope**2).sum(axis=1)
            if tail:
                out[at] += (found.score @ unmixed * slope * bend + more).sum(axis=1)
        return out


def _log_cosh(a):
    """log cosh a, also where cosh is no number."""
    return np.logaddexp(a, -a) - np.log(2)


def _words(end):
    return [float(a) if np.isfinite(a) else None for a in end]


def _numbers(end, none):
    return [none if a is None else a for a in end]


def save_fitted(path, model, units, ladder=None):
    """Write a network, its units and the `Ladder` that ends with it, if any, to one plain npz file, whole or not at all."""
    entries = {"columns": np.array(units.columns, str), "mean": units.mean, "scale": units.scale, "sigma": units.sigma}
    entries |= {name: part for name in ("mix", "tail") if (part := getattr(units, name)) is not None}
    if units.grid is not None:
        entries |= units.grid._asdict()
    if units.support is not None:
        entries |= {"lower": units.support.lower, "upper": units.support.upper}
    if ladder is not None:
        above = np.array([net.theta for net in ladder.networks[:-1]])
        entries |= {"ladder_theta": above, "ladder_sigma": ladder.sigmas[:-1]}
    write_npz(path, model.to_arrays() | {f"data_{name}": np.asarray(value) for name, value in entries.items()})


def load_fitted(path, *, max_bytes=MOST):
    """The network in a file written by `fit` or by `model.save`, and its `Units`; `load_ladder` gives what else is in it.

    Parameters
    ----------
    path : path of an npz file
    max_bytes : int
        Refuse a file whose contents would unpack to more than this.

    Returns
    -------
    model, units

    Raises
    ------
    ValueError
        If the file is not a whole numpyscore model.
    OSError
        If it cannot be read.
    """
    return load_with_ladder(path, max_bytes=max_bytes)[:2]


def load_ladder(path, *, max_bytes=MOST):
    """The `Ladder` in a file written by `fit`: the network and those that training passed at larger noise; None if there is none.

    Parameters, exceptions: see `load_fitted`.
    """
    return load_with_ladder(path, max_bytes=max_bytes)[2]


def load_with_ladder(path, *, max_bytes=MOST):
    """What `load_fitted` and `load_ladder` give, from one reading: model, units, ladder."""

    def refuse(why):
        return ValueError(
            f"load: {path} {shortened(why)}; expected a file written by `numpyscore fit` or model.save(path)."
        )

    data = read_npz(path, refuse, max_bytes)
    model = network_of(data, refuse)
    return model, units_of(data, model.dim, refuse), ladder_of(data, model, refuse)


def units_of(data, d, refuse):
    """The Units in a file; those of x itself, if it has none."""
    if not any(name.startswith("data_") for name in data):
        return Units(tuple(f"x{i}" for i in range(1, d + 1)), np.zeros(d), np.ones(d))
    if strange := sorted(name for name in data if name.startswith("data_") and name[len("data_") :] not in ENTRIES):
        raise refuse(f"holds {strange[0]!r}, which is no entry of its units")
    if ("data_ladder_sigma" in data) != ("data_ladder_theta" in data):
        raise refuse("has a ladder of which either the levels or the networks are missing")
    try:
        columns, mean, scale, sigma = (data[f"data_{name}"] for name in ("columns", "mean", "scale", "sigma"))
    except KeyError as error:
        raise refuse(f"lacks {error} beside the other entries of its units") from None
    numbers = all(a.dtype == float and np.isfinite(a).all() for a in (mean, scale, sigma))
    if not numbers or not (mean.shape == scale.shape == columns.shape == (d,)) or sigma.ndim > 1:
        raise refuse(f"has units that do not fit a network of dimension {d}")
    squares = (np.abs(mean) < FAR).all() and ((scale > NEAR) & (scale < FAR)).all()
    if columns.dtype.kind != "U" or not (squares and (sigma >= 0).all() and (sigma < FAR).all()):
        raise refuse(f"has a scale outside {NEAR:g} to {FAR:g}, a noise level below 0, or columns that are not names")
    if sigma.ndim and not (sigma.size > 1 and (sigma > 0).all() and (np.diff(sigma) < 0).all()):
        raise refuse("has noise levels that are not two or more, positive and decreasing")
    support, mix = _support(data, d, refuse), data.get("data_mix")
    if mix is not None and not (
        mix.shape == (d, d) and mix.dtype == float and np.isfinite(mix).all() and (np.diag(mix) > 0).all()
    ):
        raise refuse(f"has a mix of columns that does not fit a network of dimension {d}")
    grid, tail = _grid(data, d, refuse), data.get("data_tail")
    if tail is not None and not (tail.shape == () and tail.dtype == float and NEAR < tail < FAR and support is None):
        raise refuse("has a tail that is no positive number, or one within ends")
    told = sigma if sigma.ndim else float(sigma), support, mix, grid, None if tail is None else float(tail)
    return Units(tuple(map(str, columns)), mean, scale, *told)


def _grid(data, d, refuse):
    """The Grid in a file, None if it has none."""
    found = [data[f"data_{name}"] for name in Grid._fields if f"data_{name}" in data]
    if not found:
        return None
    whole = len(found) == 3 and all(a.shape == (d,) and a.dtype == float and np.isfinite(a).all() for a in found)
    if not whole or (found[0] > found[1]).any() or (found[2] < 0).any():
        raise refuse(f"has ranges of columns that do not fit a network of dimension {d}")
    return Grid(*found)


def _support(data, d, refuse):
    """The Support in a file, None if it has none."""
    ends = [data[name] for name in ("data_lower", "data_upper") if name in data]
    if not ends:
        return None
    if len(ends) < 2 or not all(a.shape == (d,) and a.dtype == float for a in ends) or not (ends[0] < ends[1]).all():
        raise refuse(f"has ends of columns that do not fit a network of dimension {d}")
    return Support(*ends)


def ladder_of(data, model, refuse):
    """The Ladder in a file, None if it has none."""
    if "data_ladder_theta" not in data:
        return None
    missing = [name for name in ("data_ladder_sigma", "data_sigma") if name not in data]
    if missing:
        raise refuse(f"has a ladder of networks without {', '.join(missing)}")
    theta, above, sigma = data["data_ladder_theta"], data["data_ladder_sigma"], data["data_sigma"]
    kinds = theta.dtype == model.theta.dtype and above.dtype == sigma.dtype == float
    numbers = kinds and all(np.isfinite(a).all() for a in (theta, above, sigma))
    shapes = above.ndim == 1 and sigma.ndim == 0 and theta.shape == (*above.shape, len(model.theta))
    sigmas = np.append(above, sigma) if numbers and shapes else np.zeros(2)
    if not ((sigmas > 0).all() and (np.diff(sigmas) < 0).all()):
        raise refuse("has a ladder that is not one network for each of several decreasing noise levels")
    return Ladder((*(model.with_theta(t) for t in theta), model), sigmas)
