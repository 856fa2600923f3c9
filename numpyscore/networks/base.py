r"""What energy and score networks have in common: quantities, one public sweep that answers all of them, input checks, files."""

from typing import Any

import numpy as np

from ..common.files import write_npz
from ..common.inputs import finite, numeric, samples
from .activations import ACTIVATIONS
from .directions import Probes
from .evaluation import Evaluation
from .parallel import together
from .parameters import Layers
from .sweep import Batch, Call, Points, Swept, run


class MLP(Layers):
    """What both kinds of network share: quantities, the sweep over batches of samples, input checks, files."""

    kind = "MLP"

    # of one batch, by each kind of network: visit answers a sweep, _trace_ways(net, d) are the directions along which the trace is a sum
    visit: Any
    _trace_ways: Any
    _jacobian: Any
    _jvp: Any
    _vjp: Any

    # ---- the quantities

    def score(self, x, *, sigma=None):
        """Score: gradient of log p in x (n, d), units 1/[x]. For an energy network it is -grad f."""
        return self.sweep(self.points("score", x, sigma), score=True, where="score").score

    def trace(self, x, method="exact", *, sigma=None, n_probes=1, probe="rademacher", rng=None):
        """Trace of the score's Jacobian (n,), units 1/[x]^2; for an energy network minus the Laplacian of f.

        Parameters
        ----------
        method : "exact", "textbook" or "hutchinson"
            "exact": the collapsed one, min(d, n_1) directions however large d is. "textbook": d backward passes,
            the same number at a cost that grows with d. "hutchinson": mean of v^T J v over `n_probes` random v.
        n_probes, probe, rng
            For "hutchinson": how many, "rademacher" | "gaussian" | "sphere", and a seed or Generator.

        Raises
        ------
        ValueError
            If the activation is not twice differentiable: the trace would silently be wrong.
        """
        points = self.points("trace", x, sigma)
        if method == "exact":
            return self.sweep(points, trace=True, where="trace").trace
        if method == "hutchinson":
            n, d = points.x.shape
            probes = Probes.drawn("trace", probe, n_probes, n, d, rng)
            return self.sweep(points, directions=probes, where="trace").curvature / n_probes
        if method != "textbook":
            raise ValueError(f"trace: method is {method!r}, expected 'exact', 'textbook' or 'hutchinson'.")

        def one_pass_a_dimension(call, batch, work):
            total = np.zeros(len(batch.x), call.dtype)
            for i in range(self.dim):
                e_i = np.zeros((len(batch.x), self.dim), call.dtype)
                e_i[:, i] = 1
                total += self._vjp(call, batch, e_i, work)[:, i]
            return total

        return self._each_batch("trace", points, one_pass_a_dimension, (len(points.x),))

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
        points = self.points("evaluate", x, sigma)
        probes, found = None, Swept()
        if curvature is not None:
            probes = Probes.of("evaluate", curvature, *points.x.shape)
        if trace and probes is not None:  # a sweep has one kind of directions
            found, trace = self.sweep(points, trace=True, where="evaluate"), False
        if energy or score or trace or probes is not None:
            asked: dict[str, Any] = {
                "energy": energy,
                "score": score,
                "trace": trace,
                "directions": probes,
                "total": False,
            }
            also = self.sweep(points, where="evaluate", **asked)
            found = Swept(*(b if a is None else a for a, b in zip(found, also, strict=True)))
        c, v = found.curvature, None if curvature is None else np.asarray(curvature)
        if v is not None and v.ndim == 2:
            c = c[0]
        return Evaluation(self, points.x, points.sigma, v, found.energy, found.score, found.trace, c)

    def jacobian(self, x, *, sigma=None):
        """Jacobian of the score, jac[n, i, j] = d s_i / d x_j (n, d, d), units 1/[x]^2."""
        points = self.points("jacobian", x, sigma)
        shape = (len(points.x), self.dim, self.dim)
        return self._each_batch("jacobian", points, self._jacobian, shape, directions=self.dim)

    def jvp(self, x, v, *, sigma=None):
        """Jacobian of the score times v (n, d), in forward mode: how the score changes as x moves along v (n, d)."""
        return self._product("jvp", x, v, sigma, self._jvp)

    def vjp(self, x, v, *, sigma=None):
        """v (n, d) times the Jacobian of the score, in reverse mode: the gradient of v . s in x (n, d)."""
        return self._product("vjp", x, v, sigma, self._vjp)

    def _product(self, where, x, v, sigma, product):
        points = self.points(where, x, sigma)
        v = samples(where, v, self.dim, name="v")
        if v.shape != points.x.shape:
            raise ValueError(
                f"{where}: v has shape {v.shape}, expected {points.x.shape}, one direction per sample of x."
            )
        along = lambda call, batch, work: product(call, batch, v[batch.at].astype(call.dtype, copy=False), work)
        return self._each_batch(where, points, along, v.shape, others=[v])

    def _each_batch(self, where, points, answer, shape, others=(), directions=None):
        """`answer(call, batch, work)` of every batch, in one array."""
        self.needs_second_derivatives(where)
        call = Call(self, points, self._dtype(where, points, others))
        out = np.empty(shape, call.dtype)
        size = None if directions is None else max(1, call.chunk // (directions * call.width))

        def visit(work):
            for at in call.batches(work.at, size):
                out[at] = answer(call, Batch(call, at), work)

        together(visit, [slice(0, len(points.x))], call.dtype)
        return out

    # ---- one sweep over batches

    def sweep(
        self,
        points,
        *,
        energy=False,
        score=False,
        trace=False,
        directions=None,
        total=True,
        local=None,
        sees=("score",),
        gradient=False,
        where="sweep",
    ):
        """One visit to each sample: any of the quantities, and the gradient in theta of a function of them.

        This is how an objective meets a network. What is asked for is computed a batch of samples at a time; batches come in any order
        and from several threads.

        Parameters
        ----------
        points : Points
            What `points` returned for x and sigma.
        energy, score, trace : bool
            Which quantities to return.
        directions : Probes, optional
            Directions v of the curvatures v^T J v; not beside `trace`, which has directions of its own.
        total : bool
            Return the sum of the curvatures over directions (n,), or each of them (m, n).
        local : callable, optional
            ``local(at, here)`` is given a slice of the samples and a dict of what it `sees`. It returns a term of each sample (k,), or one number,
            and a dict of cotangents under the names "energy", "score", "trace" and "curvature", as far as there are any: arrays of the
            shapes of the quantities. That of "curvature" is (k,) with `total`, else a function of (slice of the directions, their
            curvatures (r, k)).
        sees : tuple of str
            What `local` is given, and may return a cotangent of: "score" (k, d), "energy" (k,).
        gradient : bool
            Pull these cotangents back to the parameters.
        where : str
            Who asks, for error messages.

        Returns
        -------
        Swept
            term (n,) that `local` returned, energy (n,), score (n, d), trace (n,), curvature (n,) or (m, n), gradient (p,); None what was
            not asked for.

        Raises
        ------
        ValueError
            If the activation is not twice differentiable and that is needed.
        """
        if trace or directions is not None or (gradient and self.kind == "EnergyMLP"):
            self.needs_second_derivatives(where)
        # room for each quantity that is asked for
        dtype, (n, d) = self._dtype(where, points), points.x.shape
        m = None if directions is None else directions.m
        shapes = {"energy": energy and (n,), "score": score and (n, d), "trace": trace and (n,)}
        shapes["term"] = local is not None and (n,)
        shapes["curvature"] = m is not None and ((n,) if total else (m, n))
        out = {name: np.empty(shape, dtype) for name, shape in shapes.items() if shape}
        # which directions, and one visit to every batch
        call = Call(self, points, dtype, out, local, sees, gradient, total or trace)
        if trace:
            call.ways = self._trace_ways(call.net, d)
        elif directions is not None:
            call.second, call.ways = "curvature", directions.prepared(call.net, d, scalar=self.kind == "EnergyMLP")
        return Swept(gradient=run(call), **out)

    # ---- input

    def points(self, where, x, sigma=None, *, second=False):
        """x (n, d) and the noise level as this network takes them, looked at once: `Points` for `sweep`.

        Parameters
        ----------
        where : str
            Who asks, for error messages.
        x : (n, d) array
        sigma : scalar or (n,) array, for a conditional network
        second : bool
            Whether second derivatives will be asked for.

        Raises
        ------
        ValueError
            If x is not a finite (n, d) array, or sigma is missing, not wanted, not positive or of another shape, or an
            activation is not twice differentiable that has to be.
        """
        if second:
            self.needs_second_derivatives(where)
        x = samples(where, x, self.dim)
        if not self.conditional:
            if sigma is not None:
                raise ValueError(
                    f"{where}: sigma was given, but this network is not conditional; leave sigma out, or make the network "
                    f"with conditional=True."
                )
            return Points(x)
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
        return Points(x, sigma)

    def needs_second_derivatives(self, where):
        """Refuse an activation that is not twice differentiable, with the reason."""
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

    def _dtype(self, where, points, others=()):
        """The common dtype of parameters and input, in which this call is computed."""
        x, sigma = points.x, points.sigma
        complex_sigma = [sigma] if sigma is not None and sigma.dtype.kind == "c" else []
        dtype = np.result_type(self.theta.dtype, *(a.dtype for a in (x, *others, *complex_sigma)))
        if dtype != self.theta.dtype:
            self._allowed(where, dtype)
        if sigma is not None and sigma.size:
            low, high = np.finfo(dtype).tiny, np.finfo(dtype).max  # between these 1/sigma and log sigma are finite
            if not (low <= sigma.real.min() and sigma.real.max() <= high):
                raise ValueError(
                    f"{where}: sigma ranges from {sigma.real.min()} to {sigma.real.max()}, expected {low} to {high}, the "
                    f"range of {dtype}."
                )
        return dtype

    # ---- files

    def save(self, path):
        """Write the network to a plain npz file (no pickle), whole or not at all; `numpyscore.load` reads it back."""
        write_npz(path, self.to_arrays())

    def to_arrays(self):
        """What `save` writes: a dict of the layers and of the words and numbers that make the network again."""
        phi = self.activation
        if phi not in ACTIVATIONS.values():
            raise ValueError(
                f"save: activation {phi.name!r} is your own; call activations.register on it before saving, "
                f"and before loading, so that the file means one function."
            )
        header: dict[str, Any] = {"format": "numpyscore-model", "version": 1, "kind": self.kind}
        header |= {"activation": str(phi.name), "confinement": self.confinement, "conditional": self.conditional}
        return header | {
            f"{name}{l}": a for l, pair in enumerate(self.layers, 1) for name, a in zip("Wb", pair, strict=True)
        }
