r"""Networks as models of a density: energy, score, Jacobian, trace, curvature, and the pullback to their parameters.

Score means here the gradient of log p with respect to x (units 1/[x]): not a likelihood, not a gradient in the
parameters. An `EnergyMLP` has energy f and score -grad f; a `ScoreMLP` gives the score itself, which need not be a
gradient. Conditional on a noise level, the network part of either carries the factor 1/sigma.
"""

from typing import Any

import numpy as np

from ..common.files import MOST, read_npz, text
from .base import MLP
from .directions import Bilinear, Collapsed, Cyclic
from .passes import (
    Cotangents,
    adjoint,
    adjoint_pullback,
    adjoint_tangent,
    forward,
    forward_pullback,
    tangent,
)
from .sweep import Bend, Leave, along


class EnergyMLP(MLP):
    r"""A network for the energy f: p = exp(-f)/Z, score = -grad f (the gradient of log p in x), trace = -Laplacian f.

    .. math:: f(x) = \mathrm{net}(x) + \tfrac{\lambda}{2} |x|^2, \qquad
       f(x; \sigma) = \mathrm{net}(x, \log\sigma)/\sigma + \frac{\lambda |x|^2}{2 (1 + \sigma^2)}

    One sweep gives energy, score and every projected curvature,
    v^T (Hess net) v = sum_l sum_k g_l phi''(z_l) T_l^2, so the exact trace costs min(d, n_1) directions, not d
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

    Source: curvature identity and collapsed trace, derived in `numpyscore.textbook`; model of p by its energy,
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

    # ---- one batch

    def visit(self, call, batch, work):
        """Energy, score and curvatures of a batch, and, where cotangents come, their pullback."""
        net, x, bar = call.net, batch.x, None
        second, asked = call.ways is not None, "score" in call.out or "score" in call.sees
        # up: z_l, a_l and as many derivatives of phi as will be wanted; y (n, 1)
        at = forward(net, x, (asked or second) + second + call.gradient, work)
        here = {}
        if "energy" in call.out or "energy" in call.sees:
            here["energy"] = batch.per_sample(at.y[:, 0]) + 0.5 * batch.lam * _square(batch.of_x(x))
        # down: g_l, and g_0 = grad y (n, d); s = -(g_0 / sigma + lambda x)
        if asked or second:
            adjoint(net, at, work, to_input=asked)
        if asked:
            here["score"] = -batch.per_row(batch.of_x(at.g[0]))
            if call.confinement:
                here["score"] -= batch.lam[..., None] * batch.of_x(x)
        for name in call.out.keys() & here.keys():
            call.out[name][batch.at] = here[name]
        # the objective sees the batch and says how its loss moves with each quantity
        bars = call.local(batch.at, here) if call.local else {}
        if second:  # w_l = g_l phi'': what each squared tangent counts
            at.w = {l: at.g[l] * at.d2[l] for l in range(1, net.L + 1)}
        if call.gradient:
            bar = _ready(at, net.L, second)
        # along the directions, there and back
        if second:
            self._curvatures(call, batch, at, bars, bar, work)
        # and all of it back to the parameters: through the adjoint first, since it leaves cotangents of phi' behind
        if call.gradient:
            y_bar, u_bar = bars.get("energy"), bars.get("score")
            y_bar = None if y_bar is None else batch.per_sample(y_bar)[:, None].astype(call.dtype)
            u_bar = None if u_bar is None else batch.beside_x(-batch.per_row(u_bar).astype(call.dtype))
            adjoint_pullback(net, at, bar, u_bar, work)
            forward_pullback(net, at, bar, y_bar, work)

    def _curvatures(self, call, batch, at, bars, bar, work):
        """v.J v = -(v.(Hess net) v / sigma + lambda |v|^2) along the call's directions, and its cotangent on the way back."""
        name = call.second
        bend = lambda K, lengths: -(batch.per_sample(K) + batch.lam * lengths)
        c_bar = bars.get(name)
        if bar is not None and call.total:
            c_bar = batch.per_sample(-c_bar).astype(call.dtype, copy=False)
        elif bar is not None:
            given = c_bar
            c_bar = lambda chunk, K, v: batch.per_sample(-given(chunk, bend(K, call.ways.lengths(v)))).astype(
                call.dtype, copy=False
            )
        K, lengths = along(call, at, batch, Bend, c_bar, bar, work)
        if name in call.out:
            call.out[name][..., batch.at] = bend(K, lengths)

    def _trace_ways(self, call):
        """The trace is a sum over the min(d, n_1) columns of Q, W_1 = Q R."""
        return Collapsed(call.net.W[1][: call.d], call.net.L)

    def _reversed(self, call, batch, work):
        at = forward(call.net, batch.x, 2, work)
        adjoint(call.net, at, work, to_input=False)
        return at

    def _jacobian(self, call, batch, work):
        """-Hess f = -sum_l T_l^T diag(g_l phi'') T_l along the basis vectors."""
        at = self._reversed(call, batch, work)
        hess: Any = 0

        def see(l, T):
            nonlocal hess
            T = np.broadcast_to(T, (call.d, *at.d2[l].shape))
            hess = hess + np.einsum("ink,nk->nik", T, at.g[l] * at.d2[l]) @ T.transpose(1, 2, 0)

        tangent(call.net, at, call.net.W[1][: call.d, None], work, see, keep=False)
        if batch.scale is not None:
            hess *= batch.scale[:, None, None]
        return -(hess + batch.lam[..., None, None] * np.eye(call.d, dtype=call.dtype))

    def _jvp(self, call, batch, v, work):
        """Forward mode over the reverse sweep: the adjoints are differentiated along v."""
        at = self._reversed(call, batch, work)
        tangent(call.net, at, (v @ call.net.W[1][: call.d])[None], work, lambda l, T: None, keep=True)
        u_dot = batch.of_x(adjoint_tangent(call.net, at, work))
        return -(batch.per_row(u_dot) + batch.lam[..., None] * v)

    def _vjp(self, call, batch, v, work):
        """Reverse mode over the reverse sweep: the gradient of v . grad f in x."""
        at, bar = self._reversed(call, batch, work), Cotangents()
        adjoint_pullback(call.net, at, bar, batch.beside_x(v), work)
        x_bar = batch.of_x(forward_pullback(call.net, at, bar, None, work, to_input=True))
        return -(batch.per_row(x_bar) + batch.lam[..., None] * v)


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

    # ---- one batch

    def visit(self, call, batch, work):
        """Score and curvatures of a batch, and, where cotangents come, their pullback."""
        net, second, bar = call.net, call.ways is not None, None
        order = max(second, call.gradient) + (second and call.gradient)
        at = forward(net, batch.x, order, work)
        here = {"score": batch.per_row(at.y)}
        if "score" in call.out:
            call.out["score"][batch.at] = here["score"]
        bars = call.local(batch.at, here) if call.local else {}
        if call.gradient:
            bar = Cotangents()
        if second:
            self._curvatures(call, batch, at, bars, bar, work)
        if call.gradient:
            y_bar = bars.get("score")
            y_bar = None if y_bar is None else batch.per_row(y_bar).astype(call.dtype)
            forward_pullback(net, at, bar, y_bar, work)

    def _curvatures(self, call, batch, at, bars, bar, work):
        """v.J v = v.(J net) v / sigma along the call's directions, and its cotangent on the way back."""
        name = call.second
        c_bar = bars.get(name)
        if bar is not None and call.total:
            c_bar = batch.per_sample(c_bar).astype(call.dtype, copy=False)
        elif bar is not None:
            given = c_bar
            c_bar = lambda chunk, K, _: batch.per_sample(given(chunk, batch.per_sample(K))).astype(
                call.dtype, copy=False
            )
        if isinstance(call.ways, Bilinear):
            K = call.ways.trace(at, work)
            if bar is not None:
                call.ways.trace_pullback(at, bar, c_bar, work)
        else:
            if bar is not None:
                bar.d1 = {l: np.zeros_like(d1) for l, d1 in at.d1.items()}
            K, _ = along(call, at, batch, Leave, c_bar, bar, work)
        if name in call.out:
            call.out[name][..., batch.at] = batch.per_sample(K)

    def _trace_ways(self, call):
        """The trace as a bilinear form with one or two hidden layers, else along the basis of z_1."""
        W_1, W_out = call.net.W[1][: call.d], call.net.W[call.net.L + 1]
        return Bilinear(call.net, W_1, W_out) if call.net.L <= 2 else Cyclic(W_1, W_out)

    def _jacobian(self, call, batch, work):
        N_L = self._pushed(call, batch, call.net.W[1][: call.d, None], work)
        jac = (N_L @ call.net.W[call.net.L + 1]).transpose(1, 2, 0)
        return jac if batch.scale is None else jac * batch.scale[:, None, None]

    def _jvp(self, call, batch, v, work):
        N_L = self._pushed(call, batch, (v @ call.net.W[1][: call.d])[None], work)
        return batch.per_row(N_L[0] @ call.net.W[call.net.L + 1])

    def _pushed(self, call, batch, T_1, work):
        """Tangents at z_1, pushed through to a_L."""
        at = forward(call.net, batch.x, 1, work)
        tangent(call.net, at, T_1, work, lambda l, T: None, keep=True)
        return at.T[call.net.L] * at.d1[call.net.L]

    def _vjp(self, call, batch, v, work):
        at = forward(call.net, batch.x, 1, work)
        adjoint(call.net, at, work, v)
        return batch.per_row(batch.of_x(at.g[0]))


def _square(x):
    """|x|^2 of each row, without conjugation, so that complex steps pass."""
    return np.einsum("...d,...d->...", x, x)


def _ready(at, L, second):
    """Cotangents of an energy's batch: where curvatures come, their places."""
    bar = Cotangents()
    if second:
        bar.g, bar.d2 = ({l: np.empty_like(at.d2[l]) for l in at.d2} for _ in range(2))
        bar.d1 = {l: np.zeros_like(at.d1[l]) for l in range(1, L)}
    return bar


def _check_dim(where, dim, conditional):
    if dim < 1:
        raise ValueError(
            f"{where}: W1 has {dim + conditional} rows, expected at least {1 + conditional}"
            f"{', the last for log sigma' if conditional else ''}."
        )


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
    # exactly the arrays of one network, no more and no less
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
    # what is not an array of a layer
    conditional, confinement = data["conditional"], data["confinement"]
    if conditional.shape or conditional.dtype != bool or confinement.shape or confinement.dtype != float:
        raise refuse("has a conditional that is no truth value or a confinement that is no number")
    layers = [(data[f"W{l}"], data[f"b{l}"]) for l in range(1, depth + 1)]
    dtypes = {a.dtype for pair in layers for a in pair}
    if len(dtypes) > 1 or any(dtype.kind not in "fc" for dtype in dtypes):
        raise refuse(f"has weights of dtype {', '.join(sorted(map(str, dtypes)))}, expected one floating dtype for all")
    cls: Any = kinds[text(data, "kind")]
    options: dict[str, Any] = {"conditional": bool(conditional)}
    if cls is EnergyMLP:
        options["confinement"] = float(confinement)
    elif confinement != 0:
        raise refuse(f"has the confinement {confinement}, expected 0 of a score network")
    # the layers are checked as those of any network
    try:
        return cls(layers, text(data, "activation"), **options)
    except (TypeError, ValueError) as error:
        raise refuse(f"does not make a network ({error})") from None
