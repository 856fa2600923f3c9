r"""Networks as models of a density: energy, score, Jacobian, trace, curvature, and the pullback to their parameters.

Score means here the gradient of log p with respect to x (units 1/[x]): not a likelihood, not a gradient in the
parameters. An `EnergyMLP` has energy f and score -grad f; a `ScoreMLP` gives the score itself, which need not be a
gradient. Conditional on a noise level, the network part of either carries the factor 1/sigma.
"""

from typing import Any

import numpy as np

from ..common.files import MOST, read_npz, text
from . import passes as mlp
from .base import MLP
from .parallel import shared_product


class EnergyMLP(MLP):
    r"""A network for the energy f: p = exp(-f)/Z, score = -grad f (the gradient of log p in x), trace = -Laplacian f.

    .. math:: f(x) = \mathrm{net}(x) + \tfrac{\lambda}{2} |x|^2, \qquad
       f(x; \sigma) = \mathrm{net}(x, \log\sigma)/\sigma + \frac{\lambda |x|^2}{2 (1 + \sigma^2)}

    One sweep gives energy, score and every projected curvature,
    v^T (Hess net) v = sum_l sum_k g_l phi''(z_l) T_l^2, so the exact trace costs min(d, n_1) tangent rows, not d
    backward passes. Make one with `init`, `from_arrays` or `from_torch`; parameters are immutable, see `with_theta`.

    Parameters
    ----------
    layers : sequence of (W, b)
        W is (in, out); the last has one output. A conditional network's W1 is (dim + 1, n_1), its last row multiplies
        log sigma.
    activation_name : str or Activation
    confinement : float
        lambda >= 0. With 0 and a bounded activation exp(-f) has no finite integral.
    conditional : bool

    Source: curvature identity and collapsed trace, derived in the documentation of `mlp`; model of p by its energy,
    Hyvarinen (2005), JMLR 6:695-709.
    """

    kind = "EnergyMLP"

    def _check_ends(self, where, dim, outputs):
        _check_dim(where, dim, self.conditional)
        if outputs != 1:
            raise ValueError(f"{where}: the output layer has {outputs} units, expected 1, the energy.")

    def _options(self):
        return {"confinement": self.confinement, "conditional": self.conditional}

    def _energy_exists(self, where):
        """It does."""

    def energy(self, x, *, sigma=None):
        """Energy f (n,), without unit: -log p up to the constant log Z."""
        return self.evaluate(x, energy=True, score=False, sigma=sigma).energy

    # ---- one block

    def _prepare(self, call):
        """The rows whose squares make the trace, shared by all samples; how many go through the hidden layers."""
        call.R, call.lift, call.triangular = mlp.row_factor(call.layers[0].W)
        return len(call.R) if call.L > 1 else 0

    def _reverse(self, call, block, lane):
        columns, _ = mlp.forward(call.layers, self.activation, block.x, 2, lane, block.shift)
        return columns, mlp.adjoint(call.layers, columns, lane, None, False)

    def _block(self, call, block, at, v, out, local, lane):
        x, lam = block.x, block.lam
        second = v is not None or "trace" in out
        pulls = lane.grads is not None
        first = "score" in out or second or local is not None
        columns, y = mlp.forward(call.layers, self.activation, x, first + second + pulls, lane, block.shift)
        here = {}
        if "energy" in out or local is not None:
            here["energy"] = block.per_sample(y[:, 0]) + 0.5 * lam * np.einsum("nd,nd->n", x, x)
        if not first:
            out["energy"][at] = here["energy"]
            return
        reverse = mlp.adjoint(call.layers, columns, lane, None, "score" in out or local is not None)
        if reverse.u is not None:
            here["score"] = -block.per_row(reverse.u)
            if call.confinement:
                here["score"] -= lam[..., None] * x
        for name in out.keys() & here.keys():
            out[name][at] = here[name]
        pull: Any = None if local is None else local(at, here)
        cot = c_bar = None
        if pulls:
            cot = mlp.Bars.zeros(columns)
            if second:
                bar = pull["trace"] if v is None else np.atleast_2d(pull["curvature"])
                c_bar = block.per_sample(-bar).astype(call.dtype, copy=False)
        w = mlp.weights(columns, reverse.g) if second or pulls else None
        if second:
            K = self._rows(call, columns, reverse.g, w, v, c_bar, cot, lane)
            spread = call.d if v is None else np.einsum("mnd,mnd->mn", v, v)
            out["trace" if v is None else "curvature"][..., at] = -(block.per_sample(K) + lam * spread)
        if pulls:
            self._pull(call, block, columns, reverse, w, pull, cot, lane)

    def _rows(self, call, columns, g, w, v, c_bar, cot, lane):
        """Curvature of the network part, summed over the shared rows (n,) or for each direction (m, n); pulled back."""
        if v is not None:
            back = lambda place, T_bar: lane.grads.add_product(0, _flat(v[place]), _flat(T_bar))
            blocks = call.probe_rows(lane, _times(v, call.layers[0].W, lane))
            return mlp.energy_curvature(call.layers, columns, g, w, blocks, lane, c_bar, cot, back)
        R_bar = None if c_bar is None else lane.sum("R_bar", call.R)
        total = np.empty(len(columns[0][1]), call.dtype)
        for at in call.parts(
            lane, len(total), len(call.R)
        ):  # fewer samples and more rows at a time than the sweeps like
            blocks = call.rows(lane, call.R, at.stop - at.start, call.triangular)
            here: list = [mlp.part(columns, at), *mlp.part([g, w], at), blocks, lane]
            if c_bar is not None:
                here += [c_bar[at], mlp.Bars(*mlp.part(cot, at)), R_bar]
            total[at] = mlp.laplacian(call.layers, *here)
        return total

    def _pull(self, call, block, columns, reverse, w, pull, cot, lane):
        """Cotangents of energy and score, and what the rows left in `cot`, down to the parameters."""
        y_bar = u_bar = None
        if "energy" in pull:
            y_bar = block.per_sample(pull["energy"])[:, None].astype(call.dtype)
        if "score" in pull:
            u_bar = -block.per_row(pull["score"]).astype(call.dtype)
        g_bar = mlp.adjoint_pullback(call.layers, columns, reverse, w, u_bar, cot, lane)
        mlp.backprop(call.layers, columns, block.x, y_bar, cot, lane)
        lane.grads.W[-1][:, 0] += g_bar.sum(0)
        if block.log_sigma is not None:
            lane.grads.sigma += np.einsum("n,nk->k", block.log_sigma, cot.z[0])

    def _finish(self, call, lane):
        """The shared rows' cotangent, gathered over all blocks, lifted to W_1."""
        if "R_bar" in lane.sums:
            lane.grads.W[0][...] += call.lift(lane.sums["R_bar"])

    def _jacobian(self, call, block, lane):
        columns, reverse = self._reverse(call, block, lane)
        T, _ = mlp.tangent(call.layers, columns, mlp.Rows(call.layers[0].W[:, None], 0, slice(None)), lane)
        hess = 0
        for (_, _, d2, *_), g, T_l in zip(columns, reverse.g, T, strict=True):
            hess = hess + np.einsum("ink,nk->nik", T_l, g * d2) @ np.broadcast_to(
                T_l, (call.d, len(d2), T_l.shape[2])
            ).transpose(1, 2, 0)
        if block.scale is not None:
            hess *= block.scale[:, None, None]
        return -(hess + block.lam[..., None, None] * np.eye(call.d, dtype=call.dtype))

    def _jvp(self, call, block, v, lane):
        """Forward mode over the reverse sweep: the adjoints are differentiated along v."""
        columns, reverse = self._reverse(call, block, lane)
        T, _ = mlp.tangent(call.layers, columns, mlp.Rows((v @ call.layers[0].W)[None], 0, slice(None)), lane)
        u_dot = mlp.adjoint_tangent(call.layers, columns, reverse, T, lane)
        return -(block.per_row(u_dot) + block.lam[..., None] * v)

    def _vjp(self, call, block, v, lane):
        """Reverse mode over the reverse sweep: the gradient of v . grad f in x."""
        columns, reverse = self._reverse(call, block, lane)
        cot = mlp.Bars.zeros(columns)
        mlp.adjoint_pullback(call.layers, columns, reverse, mlp.weights(columns, reverse.g), v, cot, lane)
        x_bar = mlp.backprop(call.layers, columns, block.x, None, cot, lane, to_input=True)
        return -(block.per_row(x_bar) + block.lam[..., None] * v)


class ScoreMLP(MLP):
    r"""A network for the score itself (the gradient of log p in x): s = net(x), or net(x, log sigma)/sigma.

    Nothing makes its Jacobian symmetric, so it need not be the gradient of any energy. The exact trace is the cyclic
    one: tr J = tr(D_1 W_2 D_2 ... W_L D_L M) with M = W_{L+1} W_1 and D_l = diag phi'(z_l), free of d once M is
    formed; with two hidden layers it is a bilinear form, the price of one forward pass.

    Parameters
    ----------
    layers : sequence of (W, b)
        W is (in, out); the last has dim outputs. A conditional network's W1 is (dim + 1, n_1).
    activation_name : str or Activation
    conditional : bool

    Source: Song & Ermon (2019), arXiv:1907.05600, for networks of the score and the factor 1/sigma.
    """

    kind = "ScoreMLP"

    def __init__(self, layers, activation_name, *, conditional=False):
        super().__init__(layers, activation_name, conditional=conditional)

    def _check_ends(self, where, dim, outputs):
        _check_dim(where, dim, self.conditional)
        if outputs != dim:
            raise ValueError(f"{where}: the output layer has {outputs} units, expected {dim}, one per dimension of x.")

    def _prepare(self, call):
        """The matrix K of the bilinear form, or the two ends of the cyclic trace; how many rows (or one product) it takes."""
        W_1, W_out = call.layers[0].W, call.layers[-1].W
        if call.L <= 2:
            call.MT = shared_product(W_out, W_1).T
            call.K = np.diag(call.MT) if call.L == 1 else call.layers[1].W * call.MT
            return call.L - 1
        call.ends = mlp.cyclic_ends(W_1, W_out)
        return len(call.ends[0])

    def _block(self, call, block, at, v, out, local, lane):
        second, pulls = v is not None or "trace" in out, lane.grads is not None
        order = max(second, pulls) + (second and pulls)
        columns, y = mlp.forward(call.layers, self.activation, block.x, order, lane, block.shift)
        here = {"score": block.per_row(y)}
        if "score" in out:
            out["score"][at] = here["score"]
        pull: Any = None if local is None else local(at, here)
        cot: Any = None
        c_bar = None
        if pulls:
            cot = mlp.Bars.zeros(columns)
            if second:
                bar = pull["trace"] if v is None else np.atleast_2d(pull["curvature"])
                c_bar = block.per_sample(bar).astype(call.dtype, copy=False)
        if second:
            K = self._rows(call, columns, v, c_bar, cot, lane)
            out["trace" if v is None else "curvature"][..., at] = block.per_sample(K)
        if pulls:
            y_bar = block.per_row(pull["score"]).astype(call.dtype) if "score" in pull else None
            mlp.backprop(call.layers, columns, block.x, y_bar, cot, lane)
            if block.log_sigma is not None:
                lane.grads.sigma += np.einsum("n,nk->k", block.log_sigma, cot.z[0])

    def _rows(self, call, columns, v, c_bar, cot, lane):
        """Trace (n,) or v^T J v (m, n) of the network part; pulled back if c_bar is given."""
        if v is not None:

            def back(place, T_bar, C_bar):
                lane.grads.add_product(0, _flat(v[place]), _flat(T_bar))
                lane.grads.add_product(-1, _flat(C_bar), _flat(v[place]))

            T, C = _times(v, call.layers[0].W, lane), _times(v, call.layers[-1].WT, lane)
            return mlp.score_curvature(call.layers, columns, C, call.probe_rows(lane, T), lane, False, c_bar, cot, back)
        if call.L <= 2:
            return mlp.cyclic_trace(columns, call.K, lane, c_bar, cot)
        T_1, C, triangular = call.ends

        def gather(place, T_bar, C_bar):
            lane.sum("T_bar", T_1)[place, -T_bar.shape[2] :] += T_bar.sum(1)
            lane.sum("C_bar", C)[place] += C_bar.sum(1)

        total = np.empty(len(columns[0][1]), call.dtype)
        for at in call.parts(lane, len(total), len(T_1)):
            blocks = call.rows(lane, T_1, at.stop - at.start, triangular)
            here: list = [mlp.part(columns, at), C[:, None], blocks, lane, True]
            if c_bar is not None:
                here += [c_bar[at], mlp.Bars(*mlp.part(cot, at)), gather]
            total[at] = mlp.score_curvature(call.layers, *here)
        return total

    def _finish(self, call, lane):
        """The cotangents of K or of the ends, gathered over all blocks, brought to W_1, W_2 and W_out."""
        W_1, W_out = call.layers[0].W, call.layers[-1].W
        W_1_bar, W_2_bar, W_out_bar = (lane.grads.W[l] for l in (0, 1, -1))
        if "T_bar" in lane.sums and call.d < W_1.shape[1]:  # the rows were those of W_1 and of W_out^T
            W_1_bar += lane.sums["T_bar"]
            W_out_bar += lane.sums["C_bar"].T
            return
        if "K_bar" in lane.sums and call.L == 1:
            MT_bar = np.diag(lane.sums["K_bar"])
        elif "K_bar" in lane.sums:
            W_2_bar += lane.sums["K_bar"] * call.MT
            MT_bar = lane.sums["K_bar"] * call.layers[1].W
        elif "C_bar" in lane.sums:
            MT_bar = lane.sums["C_bar"]
        else:
            return
        W_out_bar += shared_product(W_1, MT_bar).T
        W_1_bar += shared_product(MT_bar, W_out).T

    def _jacobian(self, call, block, lane):
        T = self._pushed(call, block, call.layers[0].W[:, None], lane)
        jac = (T @ call.layers[-1].W).transpose(1, 2, 0)
        return jac if block.scale is None else jac * block.scale[:, None, None]

    def _jvp(self, call, block, v, lane):
        T = self._pushed(call, block, (v @ call.layers[0].W)[None], lane)
        return block.per_row(T[0] @ call.layers[-1].W)

    def _pushed(self, call, block, T, lane):
        """Rows at z_1, pushed through to a_L."""
        columns, _ = mlp.forward(call.layers, self.activation, block.x, 1, lane, block.shift)
        return mlp.tangent(call.layers, columns, mlp.Rows(T, 0, slice(None)), lane)[0][-1] * columns[-1][1]

    def _vjp(self, call, block, v, lane):
        columns, _ = mlp.forward(call.layers, self.activation, block.x, 1, lane, block.shift)
        return block.per_row(mlp.adjoint(call.layers, columns, lane, v).u)


def _check_dim(where, dim, conditional):
    if dim < 1:
        raise ValueError(
            f"{where}: W1 has {dim + conditional} rows, expected at least {1 + conditional}"
            f"{', the last for log sigma' if conditional else ''}."
        )


def _flat(A):
    """(r, n, i) as (r n, i)."""
    return A.reshape(-1, A.shape[-1])


def _times(v, W, lane):
    """v W for v (m, n, d)."""
    return lane.product(_flat(v), W).reshape(*v.shape[:2], W.shape[1])


def load(path, *, max_bytes=MOST):
    """The network in a file written by `save`.

    Parameters
    ----------
    path : path of an npz file
    max_bytes : int
        Refuse a file whose contents would unpack to more than this.

    Raises
    ------
    ValueError
        If the file is not a whole numpyscore model: foreign, truncated, pickled, too large, or of inconsistent shapes.
    OSError
        If it cannot be read.
    """

    def refuse(why):
        return ValueError(f"load: {path} {why}; expected a file written by model.save(path).")

    return network_of(read_npz(path, refuse, max_bytes), refuse)


def network_of(data, refuse):
    """The network in the arrays that `to_arrays` made; `refuse(why)` makes the exception to raise.

    Entries whose names begin with data_ say what the network was fitted to (see `units`), not what it is.
    """
    data = {name: a for name, a in data.items() if not name.startswith("data_")}
    if text(data, "format") != "numpyscore-model":
        raise refuse("is an npz file, but not a numpyscore model")
    if text(data, "version") != "1":
        raise refuse(f"has format version {text(data, 'version')}, this program reads version 1")
    kinds = {cls.kind: cls for cls in (EnergyMLP, ScoreMLP)}
    depth = sum(name.startswith("W") for name in data)
    expected = {f"{a}{l}" for a in "Wb" for l in range(1, depth + 1)}
    expected |= {"format", "version", "kind", "activation", "confinement", "conditional"}
    if expected != set(data):
        raise refuse(
            f"lacks {sorted(expected - set(data))} and holds {sorted(set(data) - expected)} beyond a network's arrays"
        )
    if text(data, "kind") not in kinds:
        raise refuse(f"is of kind {text(data, 'kind')!r}, which this program does not know")
    conditional, confinement = data["conditional"], data["confinement"]
    if conditional.shape or conditional.dtype != bool or confinement.shape or confinement.dtype.kind != "f":
        raise refuse("has a conditional that is no truth value or a confinement that is no number")
    cls: Any = kinds[text(data, "kind")]
    options: dict[str, Any] = {"conditional": bool(conditional)}
    if cls is EnergyMLP:
        options["confinement"] = float(confinement)
    try:
        return cls([(data[f"W{l}"], data[f"b{l}"]) for l in range(1, depth + 1)], text(data, "activation"), **options)
    except (TypeError, ValueError) as error:
        raise refuse(f"does not make a network ({error})") from None
