"""Independent truths for the networks, by the textbook: complex steps in extended precision, and the error scale S of MATH's section 6.

S is the same formula with every weight, term and activation column replaced by its absolute value. The textbook's passes are
sums of products, so they compute S themselves on a network of absolute values whose jet is the absolute one at the true z.
"""

import itertools
from types import SimpleNamespace

import numpy as np

import numpyscore as ns
from numpyscore import textbook as tb

H = np.longdouble("1e-30")  # complex step: its truncation error is H^2
TEXTBOOK = ("tanh", "sigmoid", "softplus", "silu", "sin")


# ------------------------------------------------------------------------------- a model, as the textbook writes it


def erf_jet(z):
    """erf and three derivatives. SciPy's complex error function has double precision; z and the bell have more."""
    from scipy.special import erf

    z = z.astype(np.clongdouble)
    p = np.exp(-z * z) * 2 / np.sqrt(np.longdouble(np.pi))
    return erf(z.astype(complex)), p, -2 * z * p, (4 * z * z - 2) * p


def gelu_jet(z):
    """gelu and three derivatives, likewise."""
    from scipy.special import erfc

    z = z.astype(np.clongdouble)
    p = np.exp(-z * z / 2) / np.sqrt(2 * np.longdouble(np.pi))
    cdf = 0.5 * erfc(-(z / np.sqrt(np.longdouble(2))).astype(complex))
    return z * cdf, cdf + z * p, p * (2 - z * z), z * p * (z * z - 4)


JETS = {name: getattr(tb, name) for name in TEXTBOOK} | {"erf": erf_jet, "gelu": gelu_jet}


def network(model, theta=None):
    """The textbook's network, in the dtype of theta or in extended precision; an activation of the user's own keeps its own jet."""
    theta = model.theta.astype(np.longdouble) if theta is None else theta
    return tb.Network.of(
        model.unflatten(theta), JETS.get(model.activation.name, lambda z: model.activation(z.real.astype(float), 3))
    )


def column(sigma, n):
    """A noise level for each of n samples as a column, or None."""
    return None if sigma is None else np.broadcast_to(sigma, n)[:, None]


def at(model, net, x, v=None, sigma=None, exact=False):
    """f, s, curvatures along v (m, n, d), by default along all e_i, and their pullback; `exact`: along the fewest that have the trace."""
    energy, sigma = isinstance(model, ns.EnergyMLP), column(sigma, len(x))
    if exact:
        directions = tb.collapsed(net, x) if energy else tb.cyclic(net, x)
    else:
        directions = tb.along(net, tb.basis(x) if v is None else v)
    if energy:
        return tb.energy_network(net, x, directions, model.confinement, sigma)
    return tb.score_network(net, x, directions, sigma)


# ------------------------------------------------------------------------------- truths


def stepped(x):
    """x + i H e_j for every dimension j."""
    return [x.astype(np.longdouble) + 1j * H * e for e in np.eye(x.shape[1])]


def true_energy(model, x, sigma=None):
    """f (n,) in extended precision."""
    return at(model, network(model), x, tb.nowhere(x), sigma).f[:, 0].real


def true_score(model, x, sigma=None):
    """-df/dx by a complex step of the energy, or the output of a score network (n, d)."""
    net, none = network(model), tb.nowhere(x)
    if not isinstance(model, ns.EnergyMLP):
        return at(model, net, x, none, sigma).s.real
    return -np.stack([at(model, net, y, none, sigma).f[:, 0].imag / H for y in stepped(x)], axis=1)


def true_jacobian(model, x, sigma=None):
    """ds_i/dx_j by a complex step of the score (n, d, d)."""
    net, none = network(model), tb.nowhere(x)
    return np.stack([at(model, net, y, none, sigma).s.imag / H for y in stepped(x)], axis=2)


def steps(theta, loss, places):
    """d loss / d theta at some places by complex steps of a function of theta."""
    out = []
    for i in places:
        moved = theta.copy()
        moved[i] += 1j * H
        out.append(loss(moved).imag / H)
    return np.array(out)


def true_implicit_gradient(model, x, places, sigma=None):
    """The gradient of the implicit loss, by complex steps of the textbook's."""
    value = lambda theta: tb.implicit(*at(model, network(model, theta), x, None, sigma)[:3])[0].mean()
    return steps(model.theta.astype(np.clongdouble), value, places)


def true_gradient(model, loss, places):
    """d loss / d theta at some places, by complex steps of the loss of a network of the package (its values, not its pullbacks)."""
    net, _ = extended(model)
    return steps(net.theta, lambda theta: loss(net.with_theta(theta)), places)


def extended(model):
    """The same network of the package for complex steps: clongdouble, or complex128 for the two activations that have no more."""
    if model.activation.name in TEXTBOOK:
        return model.with_theta(model.theta.astype(np.clongdouble)), np.longdouble
    jet, name = JETS[model.activation.name], model.activation.name
    row = ns.Activation(name, lambda z, order: tuple(a.astype(complex) for a in jet(z)[: order + 1]))
    options = {"confinement": model.confinement} if isinstance(model, ns.EnergyMLP) else {}
    layers = [(W.astype(complex), b.astype(complex)) for W, b in model.layers]
    return type(model)(layers, row, conditional=model.conditional, **options), float


# ------------------------------------------------------------------------------- the error scale S


class absolute:
    """The network of absolute values whose jets are the absolute ones of `model` at x; asked like a model of the package.

    All that it answers is of one sign: that of an energy, or minus it for the score and the trace of an energy network. The
    gradient for log sigma has the sign of log sigma, so that gradients are to be asked for one sample at a time. With
    ``cancellation`` every column counts what the rounding of z does to it, |phi(z)| + |phi'(z)| S_z: S2 of MATH's section 6.
    """

    def __init__(self, model, x, sigma=None, cancellation=False):
        net = network(model)
        X = x if sigma is None else np.hstack([x, np.log(column(sigma, len(x)))])
        size = lambda arrays: {l: np.abs(a).astype(float) for l, a in arrays.items()}
        a, S_a, rows = X, np.abs(X), []
        for l in range(1, net.L + 1):
            z, S_z = a @ net.W[l] + net.b[l], S_a @ np.abs(net.W[l]) + np.abs(net.b[l])
            if cancellation:  # of every column its value, and its derivative by a complex step
                jet = net.phi(z + 1j * H)
                S = [np.abs(c.real) + np.abs(c.imag / H) * S_z for c in jet]
            else:
                jet = net.phi(z)
                S = [np.abs(c) for c in jet]
            a, S_a = jet[0].real, np.abs(jet[0].real) + np.abs(jet[1].real) * S_z
            rows.append(tuple(c.astype(float) for c in S))
        jets = itertools.cycle(rows)
        self.model, self.net = model, tb.Network(size(net.W), size(net.b), net.L, lambda z: next(jets))

    def evaluate(self, x, *, energy=False, score=True, trace=False, curvature=None, sigma=None):
        """Energy, score, trace, curvature along given directions (m, n, d) or (n, d), and `pullback`."""
        v = tb.nowhere(x) if curvature is None else curvature.reshape(-1, *x.shape)
        given = at(self.model, self.net, x, v, sigma)
        per_sample = lambda a: np.asarray(a)[..., None] if np.ndim(a) else a
        exact = lambda: at(self.model, self.net, x, sigma=sigma, exact=True)

        def pullback(*, energy_bar=0.0, score_bar=0.0, trace_bar=None, curvature_bar=0.0):
            point, bar = (given, curvature_bar) if trace_bar is None else (exact(), trace_bar)
            return point.pullback(per_sample(energy_bar), score_bar, per_sample(bar))

        return SimpleNamespace(
            energy=None if given.f is None else given.f[:, 0],
            score=given.s,
            trace=exact().c[..., 0].sum(0) if trace else None,
            curvature=None if curvature is None else given.c[..., 0].reshape(curvature.shape[:-1]),
            pullback=pullback,
        )

    def energy(self, x, *, sigma=None):
        """Energy (n,)."""
        return self.evaluate(x, sigma=sigma).energy

    def jacobian(self, x, *, sigma=None):
        """Jacobian (n, d, d): how g_0, or y, moves along every e_i."""
        X = x if sigma is None else np.hstack([x, np.log(column(sigma, len(x)))])
        tape, n, d = tb.forward(self.net, X), *x.shape
        tb.tangent(self.net, tape, tb.along(self.net, tb.basis(x)).T_1)
        over = 1.0 if sigma is None else column(sigma, n)
        if not isinstance(self.model, ns.EnergyMLP):
            return (tape.T[self.net.L + 1] / over).transpose(1, 2, 0)
        tb.adjoint(self.net, tape, np.ones_like(tape.y))
        lam = self.model.confinement / (1 + (0.0 if sigma is None else over) ** 2)
        moved = -(tb.adjoint_tangent(self.net, tape)[..., :d] / over + lam * tb.basis(x))
        return moved.transpose(1, 2, 0)


def scales(model, x, *, cancellation=False, **sigma):
    """S of score (n, d), trace (n,), Jacobian (n, d, d), gradient of implicit (p,), and energy (n,) where there is one."""
    size = absolute(model, x, **sigma, cancellation=cancellation)
    ev = size.evaluate(np.abs(x), trace=True, **sigma)
    jacobian = np.abs(size.jacobian(np.abs(x), **sigma))
    gradient = gradient_scale(
        model, x, sigma, score_bar=np.abs(ev.score), trace_bar=np.ones(len(x)), cancellation=cancellation
    )
    return np.abs(ev.score), np.abs(ev.trace), jacobian, gradient, ev.energy


def gradient_scale(
    model,
    x,
    sigma,
    *,
    score_bar=None,
    energy_bar=None,
    trace_bar=None,
    v=None,
    curvature_bar=None,
    reach=None,
    cancellation=False,
):
    """S of a gradient with these absolute cotangents, of a mean over samples: the pullback through the network of absolute values.

    ``reach`` (n, d) is the size of x where x is itself a sum: |x| + |eps v| for a point that is differenced.
    """
    # an energy network's score is minus a sum of absolute values: its cotangents take the sign along
    sign, total, n = -1 if isinstance(model, ns.EnergyMLP) else 1, 0, len(x)
    for i in range(n):  # one sample at a time: log sigma enters with its sign
        here = slice(i, i + 1)
        one = {"sigma": np.broadcast_to(sigma["sigma"], n)[here]} if sigma else {}
        far = np.abs(x[here]) if reach is None else reach[here]
        bars = {} if score_bar is None else {"score_bar": sign * score_bar[here]}
        bars |= {} if energy_bar is None else {"energy_bar": energy_bar[here]}
        bars |= {} if trace_bar is None else {"trace_bar": sign * trace_bar[here]}
        bars |= {} if v is None else {"curvature_bar": sign * curvature_bar[:, here]}
        size = absolute(model, x[here], **one, cancellation=cancellation)
        part = size.evaluate(far, curvature=None if v is None else np.abs(v[:, here]), **one)
        total = total + np.abs(part.pullback(**bars)) / n
    return total


def random_network(rng, cls, activations, max_dim=40, max_width=24):
    """A random network of any shape, with random biases, and points and noise levels to go with it."""
    d = int(rng.integers(1, max_dim + 1))
    widths = rng.integers(1, max_width + 1, rng.integers(1, 5))
    options = {"conditional": bool(rng.integers(2))}
    if cls.kind == "EnergyMLP":
        options["confinement"] = float(rng.choice([0, rng.uniform(0, 2)]))
    model = cls.init(d, widths, str(rng.choice(activations)), rng=rng, **options)
    model = model.with_theta(model.theta * rng.uniform(0.3, 2.5))
    n = int(rng.integers(1, 5))
    sigma = {"sigma": np.exp(rng.uniform(-2, 2, n))} if options["conditional"] else {}
    return model, rng.standard_normal((n, d)) * rng.uniform(0.2, 3), sigma


def defaults(function):
    """{parameter: its default} of a function or class, those of None and of no default left out: part of what a user is promised."""
    import inspect

    found = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in found if p.default is not p.empty and p.default is not None}
