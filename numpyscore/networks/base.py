r"""What energy and score networks have in common: quantities, the sweep over blocks of samples, probes, input checks, files.

Both answer through one loop, `MLP._sweep`: a block of samples goes forward, back, and once through the tangent rows,
and, if cotangents are given, back again to the parameters. So memory is bounded for any number of samples, and an
objective gets its value and its gradient from one visit to each sample.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..common.files import write_npz
from ..common.inputs import count, directions, finite, generator, numeric, samples
from .activations import ACTIVATIONS
from .parallel import Gradient, abreast
from .parameters import Layers
from .schedule import ROWS, Call

# ------------------------------------------------------------------------------- probes


def draw_probes(where, probe, shape, rng, dtype=float):
    """Directions v (..., d) with E[v v^T] = I: "rademacher" (signs), "gaussian", or "sphere" (of radius sqrt d)."""
    if probe == "rademacher":
        return rng.integers(0, 2, shape, dtype=np.int8).astype(dtype) * 2 - 1
    if probe not in ("gaussian", "sphere"):
        raise ValueError(f"{where}: probe is {probe!r}, expected 'rademacher', 'gaussian' or 'sphere'.")
    v = rng.standard_normal(shape).astype(dtype, copy=False)
    return v if probe == "gaussian" else v * np.sqrt(shape[-1] / np.sum(v * v, -1, keepdims=True)).astype(dtype)


# ------------------------------------------------------------------------------- what evaluate returns


@dataclass(frozen=True)
class Evaluation:
    """Energy (n,), score (n, d), trace (n,) and curvature (n,) or (m, n) at x, as far as they were asked for."""

    model: "MLP"
    x: np.ndarray
    sigma: Any
    v: Any
    energy: np.ndarray | None
    score: np.ndarray | None
    trace: np.ndarray | None
    curvature: np.ndarray | None

    def pullback(self, *, energy_bar=None, score_bar=None, trace_bar=None, curvature_bar=None):
        """Flat gradient in theta of any function with these cotangents of energy, score, trace and curvature.

        Parameters
        ----------
        energy_bar, trace_bar : (n,) arrays or scalars, optional
        score_bar : (n, d) array, optional
        curvature_bar : (n,) or (m, n) array or scalar, optional
            Needs `curvature=` in `evaluate`, which says along which directions.

        Returns
        -------
        gradient : (p,) array, order of theta

        Raises
        ------
        ValueError
            If a cotangent has another shape than its quantity, or trace and curvature are both pulled back.
        """
        given = {"energy": energy_bar, "score": score_bar, "trace": trace_bar, "curvature": curvature_bar}
        bars = {name: self._cotangent(name, bar) for name, bar in given.items() if bar is not None}
        return self.model._pullback("pullback", self.x, self.sigma, self.v, bars)

    def _cotangent(self, name, bar):
        n, d = self.x.shape
        if name == "energy":
            self.model._energy_exists("pullback")
        if name == "curvature" and self.v is None:
            raise ValueError("pullback: curvature_bar needs evaluate(..., curvature=v), the directions it belongs to.")
        shape = {"energy": (n,), "score": (n, d), "trace": (n,)}.get(name) or self.v.shape[:-1]
        a = numeric("pullback", f"{name}_bar", bar)
        if a.ndim and a.shape != shape:
            raise ValueError(
                f"pullback: {name}_bar has shape {a.shape}, expected {shape}, the shape of {name}, or one number."
            )
        others = [q for q in (self.v, self.sigma if np.iscomplexobj(self.sigma) else None) if q is not None]
        dtype = np.result_type(self.model.theta, self.x, *others)
        if a.dtype.kind == "c" and dtype.kind != "c":
            raise TypeError(f"pullback: {name}_bar is complex and the network real; expected real cotangents.")
        finite("pullback", f"{name}_bar", a)
        return np.broadcast_to(a.astype(dtype, copy=False), shape)  # an unsigned -1 would be 255


# ------------------------------------------------------------------------------- the common part


class MLP(Layers):
    """What both kinds of network share: quantities, the sweep over blocks of samples, input checks, files."""

    kind = "MLP"

    _prepare: Any  # what all blocks of a trace share; _block: one block; _finish: what was gathered; _jacobian, _jvp, _vjp: on one block
    _block: Any
    _finish: Any
    _jacobian: Any
    _jvp: Any
    _vjp: Any

    # ---- the quantities

    def score(self, x, *, sigma=None):
        """Score: gradient of log p in x (n, d), units 1/[x]. For an energy network it is -grad f."""
        return self.evaluate(x, sigma=sigma).score

    def trace(self, x, method="exact", *, sigma=None, n_probes=1, probe="rademacher", rng=None):
        """Trace of the score's Jacobian (n,), units 1/[x]^2; for an energy network minus the Laplacian of f.

        Parameters
        ----------
        method : "exact", "textbook" or "hutchinson"
            "exact": the collapsed one, min(d, n_1) tangent rows however large d is. "textbook": d backward passes,
            the same number at a cost that grows with d. "hutchinson": mean of v^T J v over `n_probes` random v.
        n_probes, probe, rng
            For "hutchinson": how many, "rademacher" | "gaussian" | "sphere", and a seed or Generator.

        Raises
        ------
        ValueError
            If the activation is not twice differentiable: the trace would silently be wrong.
        """
        if method == "exact":
            return self.evaluate(x, score=False, trace=True, sigma=sigma).trace
        if method == "textbook":
            return self._textbook(x, sigma)
        if method == "hutchinson":
            count("trace", "n_probes", n_probes)
            x, sigma = self._input("trace", x, sigma)
            rng, total, group = generator("trace", rng), 0, max(1, ROWS // self.dim)
            for start in range(
                0, n_probes, group
            ):  # so that the probes of a block fit in memory, however many there are
                v = functools.partial(_drawn, "trace", probe, min(group, n_probes - start), _seed(rng))
                total = total + self._sweep("trace", x, sigma, curvature=v)[0]["curvature"].sum(0)
            return total / n_probes
        raise ValueError(f"trace: method is {method!r}, expected 'exact', 'textbook' or 'hutchinson'.")

    def curvature(self, x, v, *, sigma=None):
        """Projected curvature v^T J v of the score, units [v/x]^2: (n,) for v (n, d), (m, n) for v (m, n, d)."""
        return self.evaluate(x, score=False, curvature=numeric("curvature", "v", v), sigma=sigma).curvature

    def evaluate(self, x, *, energy=False, score=True, trace=False, curvature=None, sigma=None):
        """All that is asked for at x in one sweep, with a `pullback` of cotangents to the parameters.

        Parameters
        ----------
        x : (n, d) array
        energy, score, trace : bool
            Which quantities to compute; energy for `EnergyMLP` only.
        curvature : (n, d) or (m, n, d) array, optional
            Directions v of the projected curvature v^T J v.
        sigma : scalar or (n,) array
            Noise level, a standard deviation; conditional networks only.

        Returns
        -------
        Evaluation
        """
        if energy:
            self._energy_exists("evaluate")
        x, sigma = self._input("evaluate", x, sigma)
        v = None if curvature is None else directions("evaluate", curvature, *x.shape)
        out = {}
        if trace and v is not None:  # a sweep has one kind of rows
            out, trace = self._sweep("evaluate", x, sigma, trace=True)[0], False
        if energy or score or trace or v is not None:
            out |= self._sweep("evaluate", x, sigma, energy=energy, score=score, trace=trace, curvature=v)[0]
        c = out.get("curvature")
        if c is not None and np.ndim(curvature) == 2:
            c, v = c[0], np.asarray(curvature)
        return Evaluation(self, x, sigma, v, out.get("energy"), out.get("score"), out.get("trace"), c)

    def jacobian(self, x, *, sigma=None):
        """Jacobian of the score, jac[n, i, j] = d s_i / d x_j (n, d, d), units 1/[x]^2."""
        x, sigma = self._input("jacobian", x, sigma)
        self._twice("jacobian")
        call = self._call("jacobian", x, sigma)
        out = np.empty((len(x), self.dim, self.dim), call.dtype)
        size = max(1, ROWS // (self.dim * call.width))
        with call.lane() as lane:
            for at, block in call.blocks(lane, size):
                out[at] = self._jacobian(call, block, lane)
        return out

    def jvp(self, x, v, *, sigma=None):
        """Jacobian of the score times v (n, d), in forward mode: how the score changes as x moves along v (n, d)."""
        return self._product("jvp", x, v, sigma)

    def vjp(self, x, v, *, sigma=None):
        """v (n, d) times the Jacobian of the score, in reverse mode: the gradient of v . s in x (n, d)."""
        return self._product("vjp", x, v, sigma)

    def _product(self, where, x, v, sigma):
        x, sigma = self._input(where, x, sigma)
        v = samples(where, v, self.dim, name="v")
        if v.shape != x.shape:
            raise ValueError(f"{where}: v has shape {v.shape}, expected {x.shape}, one direction per sample of x.")
        self._twice(where)
        call = self._call(where, x, sigma, v)
        out = np.empty(x.shape, call.dtype)
        with call.lane() as lane:
            for at, block in call.blocks(lane):
                out[at] = getattr(self, f"_{where}")(call, block, v[at].astype(call.dtype, copy=False), lane)
        return out

    def _textbook(self, x, sigma):
        """The trace as it is taught: one backward pass for each of the d dimensions."""
        x, sigma = self._input("trace", x, sigma)
        self._twice("trace")
        call = self._call("trace", x, sigma)
        out = np.zeros(len(x), call.dtype)
        with call.lane() as lane:
            for at, block in call.blocks(lane):
                for i in range(self.dim):
                    e_i = np.zeros(block.x.shape, call.dtype)
                    e_i[:, i] = 1
                    out[at] += self._vjp(call, block, e_i, lane)[:, i]
        return out

    # ---- one sweep over blocks

    def _sweep(
        self, where, x, sigma, *, energy=False, score=False, trace=False, curvature=None, local=None, gradient=False
    ):
        """Everything at once, a block of samples at a time.

        ``curvature`` is (m, n, d), or a function of (slice, d, dtype) that draws a block of directions.
        ``local`` is a function of (slice, block of results) that sees the block's energy and score and returns the
        cotangents of energy, score, trace and curvature as a dict; with ``gradient`` they are pulled back. Lanes call it and
        ``curvature`` from several threads, in any order, so either may write at its slice and keep nothing else. Cotangents of
        trace and curvature must not depend on their values (every objective is affine in them), so that the rows are
        visited once, forward and back. Returns the results as a dict and the gradient (or None).
        """
        if trace or curvature is not None or (gradient and self.kind == "EnergyMLP"):
            self._twice(where)
        given = isinstance(curvature, np.ndarray)
        call = self._call(where, x, sigma, curvature if given else None)
        draw = (lambda at, d, dtype: curvature[:, at].astype(dtype)) if given else curvature
        n, d = x.shape
        m = None if draw is None else len(draw(slice(0, 0), d, call.dtype))
        shapes = {"energy": energy and (n,), "score": score and (n, d), "trace": trace and (n,)}
        shapes["curvature"] = m is not None and (m, n)
        out = {name: np.empty(shape, call.dtype) for name, shape in shapes.items() if shape}
        lanes = call.lanes(self._prepare(call) if trace else m or 0)

        def visit(lane):
            if gradient:
                theta_bar = np.zeros(self.theta.size, call.dtype)
                lane.grads = Gradient(theta_bar, self.unflatten(theta_bar), self.conditional, lane)
            with lane:
                for at, block in call.blocks(lane):
                    v = None if draw is None else draw(at, d, call.dtype)
                    self._block(call, block, at, v, out, local, lane)

        abreast(visit, lanes)
        if not gradient:
            return out, None
        first, *others = lanes
        for lane in others:
            first.add(lane)
        self._finish(call, first)
        return out, first.grads.theta

    def _pullback(self, where, x, sigma, v, bars):
        """Gradient in theta for given arrays of cotangents."""
        if v is not None and v.ndim == 2:
            v = v[None]
        if "trace" in bars and "curvature" in bars:
            raise ValueError(f"{where}: trace_bar and curvature_bar in one call; add the results of two calls.")
        rows = v if "curvature" in bars else None
        take = lambda at, _: {name: bar[..., at, :] if name == "score" else bar[..., at] for name, bar in bars.items()}
        return self._sweep(where, x, sigma, trace="trace" in bars, curvature=rows, local=take, gradient=True)[1]

    # ---- input

    def _twice(self, where):
        if not self.activation.smooth:
            raise ValueError(
                f"{where}: activation {self.activation.name!r} is not twice differentiable: its second derivative is 0 almost "
                f"everywhere and a point mass at the kink, so the trace would silently miss the kink. Use softplus, silu "
                f"or another smooth activation."
            )

    def _energy_exists(self, where):
        raise ValueError(
            f"{where}: a ScoreMLP has no energy (its Jacobian need not be symmetric); use an EnergyMLP, "
            f"or integrate the score along a path at your own risk."
        )

    def _input(self, where, x, sigma):
        """Check x (n, d) and the noise level; sigma comes back as None or a float array () or (n,)."""
        x = samples(where, x, self.dim)
        if not self.conditional:
            if sigma is not None:
                raise ValueError(
                    f"{where}: sigma was given, but this network is not conditional; leave sigma out, or make the network "
                    f"with conditional=True."
                )
            return x, None
        if sigma is None:
            raise ValueError(
                f"{where}: this network is conditional on the noise level; pass sigma= (a standard deviation), "
                f"one number or one per sample."
            )
        sigma = numeric(where, "sigma", sigma)
        if sigma.shape not in ((), (len(x),)):
            raise ValueError(
                f"{where}: sigma has shape {sigma.shape}, expected one number or ({len(x)},), one per sample of x."
            )
        finite(where, "sigma", sigma)
        if not np.all(sigma.real > 0):
            raise ValueError(f"{where}: sigma has a value {sigma.real.min()}, expected positive standard deviations.")
        return x, sigma

    def _call(self, where, x, sigma, *others):
        """What one call needs once: parameters in the common dtype, noise levels, block sizes."""
        complex_sigma = [sigma] if sigma is not None and sigma.dtype.kind == "c" else []
        arrays = [a for a in (x, *others, *complex_sigma) if a is not None]
        dtype = np.result_type(self.theta.dtype, *(a.dtype for a in arrays))
        self._allowed(where, dtype)
        if sigma is not None and sigma.size:
            low, high = np.finfo(dtype).tiny, np.finfo(dtype).max  # between these 1/sigma and log sigma are finite
            if not (low <= sigma.real.min() and sigma.real.max() <= high):
                raise ValueError(
                    f"{where}: sigma ranges from {sigma.real.min()} to {sigma.real.max()}, expected {low} to {high}, the "
                    f"range of {dtype}."
                )
        layers = list(self.unflatten(self.theta.astype(dtype, copy=False)))
        return Call(x, sigma, dtype, layers, self.conditional, self.confinement)

    # ---- files

    def save(self, path):
        """Write the network to a plain npz file (no pickle), whole or not at all; `numpyscore.load` reads it back."""
        write_npz(path, self.to_arrays())

    def to_arrays(self):
        """What `save` writes: a dict of the layers and of the words and numbers that make the network again."""
        row = self.activation
        if row not in ACTIVATIONS.values():
            raise ValueError(
                f"save: activation {row.name!r} is your own row; call activations.register(row) before saving, "
                f"and before loading, so that the file means one function."
            )
        header: dict[str, Any] = {"format": "numpyscore-model", "version": 1, "kind": self.kind}
        header |= {"activation": str(row.name), "confinement": self.confinement, "conditional": self.conditional}
        return header | {
            f"{name}{l}": a for l, pair in enumerate(self.layers, 1) for name, a in zip("Wb", pair, strict=True)
        }


def _seed(rng):
    """One seed drawn from `rng`, so that a block's probes can be drawn again from it."""
    return int(rng.integers(1 << 63))


def _drawn(where, probe, m, seed, at, d, dtype):
    """The probes (m, n, d) of the samples `at`, the same ones each time."""
    n = at.stop - at.start
    return draw_probes(where, probe, (m, n, d), np.random.default_rng((seed, at.start)), dtype)
