r"""Networks as models of a density: energy, score, Jacobian, trace, curvature, and the pullback to their parameters.

Score means here the gradient of log p with respect to x (units 1/[x]): not a likelihood, not a gradient in the
parameters. An `EnergyMLP` has energy f and score -grad f; a `ScoreMLP` gives the score itself, which need not be a
gradient. Conditional on a noise level, the network part of either carries the factor 1/sigma.
"""

from typing import Any

import numpy as np

from ..common.files import MOST, read_npz, text
from ..common.names import shortened
from .base import MLP
from .cyclic import Bilinear, Leave, cyclic
from .directions import Collapsed, along
from .passes import (
    Bend,
    Cotangents,
    adjoint,
    adjoint_pullback,
    adjoint_tangent,
    forward,
    forward_pullback,
    tangent,
)


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
        net, x, lam, here, bar = call.net, batch.x, batch.lam, {}, None
        second, asked = call.ways is not None, "score" in call.out or "score" in call.sees
        # up: z_l, a_l and as many derivatives of phi as will be wanted; y (n, 1)
        at = forward(net, x, (asked or second) + second + call.gradient, work)
        if "energy" in call.out or "energy" in call.sees:
            here["energy"] = at.y[:, 0] * batch.scale + 0.5 * lam * _square(x[:, : call.d])
        # down: g_l, and g_0 = grad y (n, d); s = -(g_0 / sigma + lambda x)
        if asked or second:
            adjoint(net, at, work, to_input=asked)
        if asked:
            here["score"] = -at.g[0][:, : call.d]
            if call.conditional:
                here["score"] *= batch.scale[:, None]
            if call.confinement:
                here["score"] -= lam[..., None] * x[:, : call.d]
        # the objective sees the batch and says how its loss moves with each quantity
        here["term"], bars = call.local(batch.at, here) if call.local else (0, {})
        for name in call.out.keys() & here.keys():
            call.out[name][batch.at] = here[name]
        y_bar, u_bar, c_bar = bars.get("energy"), bars.get("score"), bars.get(call.second)
        if u_bar is not None:
            u_bar = batch.beside_x(-batch.per_row(u_bar).astype(call.dtype))
        if call.gradient:
            bar = Cotangents(at if second else None)
        # v.J v = -(v.(Hess net) v / sigma + lambda |v|^2) along the directions, there and back
        if second:
            curvatures = along(call, batch, at, bar, Bend(batch, at, bar, not call.total, c_bar, work), work)
            if call.second in call.out:
                call.out[call.second][..., batch.at] = curvatures
        # and all of it back to the parameters: through the adjoint first, since it leaves cotangents of phi' behind
        if call.gradient:
            y_bar = None if y_bar is None else (y_bar * batch.scale)[:, None].astype(call.dtype)
            adjoint_pullback(net, at, bar, u_bar, work)
            forward_pullback(net, at, bar, y_bar, work)
            work.grads.gather(bar)

    _trace_ways = Collapsed  # the trace is a sum over the min(d, n_1) columns of Q, W_1 = Q R

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
        return -(batch.per_row(hess) + batch.lam[..., None, None] * np.eye(call.d, dtype=call.dtype))

    def _jvp(self, call, batch, v, work):
        """Forward mode over the reverse sweep: the adjoints are differentiated along v."""
        at = self._reversed(call, batch, work)
        tangent(call.net, at, (v @ call.net.W[1][: call.d])[None], work, lambda l, T: None, keep=True)
        u_dot = adjoint_tangent(call.net, at, work)[:, : call.d]
        return -(batch.per_row(u_dot) + batch.lam[..., None] * v)

    def _vjp(self, call, batch, v, work):
        """Reverse mode over the reverse sweep: the gradient of v . grad f in x."""
        at, bar = self._reversed(call, batch, work), Cotangents()
        adjoint_pullback(call.net, at, bar, batch.beside_x(v), work)
        x_bar = forward_pullback(call.net, at, bar, None, work, to_input=True)[:, : call.d]
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

    Source: Song & Ermon (2019), arXiv:1907.05600, for networks of the score; Song & Ermon (2020), arXiv:2006.09011, Technique 3, for the
    factor 1/sigma.
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
        # up: z_l, a_l and as many derivatives of phi as will be wanted; s = y / sigma (n, d)
        at = forward(net, batch.x, max(second, call.gradient) + (second and call.gradient), work)
        here = {"score": batch.per_row(at.y)}
        # the objective sees the batch and says how its loss moves with each quantity
        here["term"], bars = call.local(batch.at, here) if call.local else (0, {})
        for name in call.out.keys() & here.keys():
            call.out[name][batch.at] = here[name]
        y_bar, c_bar = bars.get("score"), bars.get(call.second)
        # v.J v = v.(J net) v / sigma along the directions, there and back
        if isinstance(call.ways, Bilinear):
            bar = Cotangents() if call.gradient else None
            curvatures = call.ways.trace(batch, at, bar, c_bar, work)
        elif second:
            bar = Cotangents(at) if call.gradient else None
            curvatures = along(call, batch, at, bar, Leave(batch, at, bar, not call.total, c_bar, work), work)
        if call.second in call.out:
            call.out[call.second][..., batch.at] = curvatures
        # and all of it back to the parameters
        if call.gradient:
            bar = Cotangents() if bar is None else bar
            y_bar = None if y_bar is None else batch.per_row(y_bar).astype(call.dtype)
            forward_pullback(net, at, bar, y_bar, work)
            work.grads.gather(bar)

    _trace_ways = staticmethod(
        cyclic
    )  # the trace as a bilinear form with one or two hidden layers, else along the basis of z_1

    def _jacobian(self, call, batch, work):
        N_L = self._pushed(call, batch, call.net.W[1][: call.d, None], work)
        jac = (N_L @ call.net.W[call.net.L + 1]).transpose(1, 2, 0)
        return batch.per_row(jac)

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
        return batch.per_row(at.g[0][:, : call.d])


def _square(x):
    """|x|^2 of each row, without conjugation, so that complex steps pass."""
    return np.einsum("...d,...d->...", x, x)


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
        return ValueError(f"load: {path} {shortened(why)}; expected a file written by model.save(path).")

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
        raise refuse(f"is of kind {text(data, 'kind')[:40]!r}, which this program does not know")
    # what is not an array of a layer
    conditional, confinement = data["conditional"], data["confinement"]
    if conditional.shape or conditional.dtype != bool or confinement.shape or confinement.dtype != float:
        raise refuse("has a conditional that is no truth value or a confinement that is no number")
    layers = [(data[f"W{l}"], data[f"b{l}"]) for l in range(1, depth + 1)]
    dtypes = {
        a.dtype for pair in layers for a in pair if a.dtype.kind not in "iu"
    }  # integers, written by hand, are numbers
    if len(dtypes) > 1 or any(dtype.kind not in "fc" for dtype in dtypes):
        found = ", ".join(sorted({str(a.dtype) for pair in layers for a in pair}))
        raise refuse(f"has weights of dtype {found}, expected one floating dtype for all")
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
        raise refuse(f"does not make a network ({str(error)[:1000]})") from None
