r"""Half-lines and boxes.

Where the data's density does not vanish at the edge of its support, the boundary term of the integration by parts stays and implicit
score matching is wrong. Weights h that vanish there kill it: the weighted losses differ by a constant again. The price is that the
diagonal of the Jacobian is weighted, so its d entries are needed and not their sum alone.
"""

import numpy as np

from ..densities import Exponential, HalfNormal, TruncatedGaussian
from ..densities.weights import box_weight, capped_weight, interval_weight, linear_weight, square_weight
from ..estimation.estimators import exponential as exponential_estimate
from ..networks.models import EnergyMLP
from ..numerics.flux import flux
from ..numerics.quadrature import expectation
from ..objectives.arrays import generalised_loss
from ..objectives.implicit import generalised, implicit
from .case import BUDGET
from .means import EPS, integral, number, worst
from .steps import Chapter, Sides, failing, hypothesis, vanishes

CHAPTER = Chapter(6, "half-lines and boxes")
SOURCE = "Hyvarinen (2007), Comput. Statist. Data Anal. 51:2499-2512; Yu, Drton & Shojaie (2019), JMLR 20(76)"
BOXES = (
    "Liu, Kanamori & Williams (2022), JMLR 23(186); Yu, Drton & Shojaie (2022), Information and Inference 11:739-780"
)
WEIGHTS = {"h = x": linear_weight(), "h = x^2": square_weight(), "h = min(x, 1)": capped_weight(1.0)}


def _bounded(case):
    """Supports with an end, and a model whose Jacobian is at hand, where quadrature reaches."""
    return (
        case.samples is None
        and case.dim <= 3
        and hasattr(case.model, "jacobian")
        and np.isfinite(case.density.support).any()
    )


def weight(density):
    """The distance to the nearer end of each side, or of each interval of a union, and its derivative; for a half-line the distance to
    its end, at most 1."""
    if hasattr(density, "intervals"):
        return interval_weight(density.intervals)
    lower, upper = density.support.T
    if np.isfinite(lower).all() and np.isinf(upper).all():
        return capped_weight(1.0, lower)
    return box_weight(lower, upper)


def _kinks(density):
    """Where these weights have a kink, per axis: the middle of a box or an interval, one unit from the end of a half-line."""
    if hasattr(density, "intervals"):
        return (tuple(m for m in density.intervals.mean(axis=1).tolist() if np.isfinite(m)),)
    lower, upper = density.support.T
    half_lines = np.isfinite(lower).all() and np.isinf(upper).all()
    return tuple(
        (a + 1.0,) if half_lines else ((a + b) / 2,) if np.isfinite([a, b]).all() else ()
        for a, b in zip(lower, upper, strict=True)
    )


def weighted(density, model, pair, breaks):
    """E of the weighted explicit loss, of the weighted implicit one, and of the constant between them, on the same nodes."""

    h, h_prime = pair

    def columns(x):
        s_0, s, w, slope = density.score(x), model.score(x), h(x), h_prime(x)
        diagonal = np.einsum("nii->ni", model.jacobian(x))
        explicit, constant = 0.5 * np.sum(w * (s - s_0) ** 2, 1), 0.5 * np.sum(w * s_0**2, 1)
        return np.stack([explicit, generalised_loss(s, diagonal, w, slope), constant, np.sum(slope * s, 1)], 1)

    rtol = 1e-9 if hasattr(density, "slack") else 1e-12  # no further than a differenced score carries
    found = expectation(columns, density, rtol=rtol, breaks=breaks, budget=BUDGET[density.dim])
    return [number(v, e) for v, e in zip(found.value, found.error, strict=True)]


# ------------------------------------------------------------------------------- lines


@CHAPTER.line(
    "weights kill the boundary term",
    r"\oint p_0 \sum_i h_i s_i n_i\,dS = 0 \quad \text{if } h \to 0 \text{ there}",
    SOURCE,
    needs=_bounded,
)
def killed(case):
    """The flux of p_0 h s, with h the distance to the boundary: nothing crosses, whatever the model does there."""
    h, _ = weight(case.density)
    term = flux(lambda x: h(x) * case.model.score(x), case.density)
    return Sides(integral(term), number(0, 0), (vanishes("boundary term p h s vanishes", term),), integral(term))


@CHAPTER.line(
    "weighted losses differ by a constant",
    r"\tfrac12 E\sum_i h_i (s_i - s_{0,i})^2 = E\sum_i \left[\tfrac12 h_i s_i^2 + h_i' s_i + h_i\, \partial_i s_i\right] + \tfrac12 E \sum_i h_i s_{0,i}^2",
    SOURCE,
    needs=_bounded,
)
def constant(case):
    """Theorem 1 again, for p_0 h in place of p_0: the derivative of h is what is new."""
    explicit, implicit_, rest, _ = weighted(case.density, case.model, weight(case.density), _kinks(case.density))
    return Sides(explicit, implicit_ + rest)


# ------------------------------------------------------------------------------- examples


@CHAPTER.example("three weights on a half-line", r"\oint p_0\, h\, s\,dS = 0, \quad h = x,\; x^2,\; \min(x, 1)", SOURCE)
def three_weights(seed):
    """Exponential data, whose density is largest at the boundary itself; the two losses and their constant, for each weight."""
    net = EnergyMLP.init(1, (6,), "softplus", confinement=0.5, rng=seed)
    for name, pair in WEIGHTS.items():
        breaks = ((1.0,),) if "min" in name else ()
        explicit, implicit_, rest, _ = weighted(Exponential(2.0), net, pair, breaks)
        yield name, Sides(explicit, implicit_ + rest)


@CHAPTER.example("weights in a box", r"h_i = \min(x_i - a_i,\, b_i - x_i)", BOXES)
def boxes(seed):
    """Truncated Gaussian and half-normal data in one and two dimensions, random energy networks."""
    for d in (1, 2):
        net = EnergyMLP.init(d, (6,), "softplus", confinement=0.5, rng=seed)
        for density in (TruncatedGaussian(0.3 * np.ones(d), np.eye(d), -1.0, 2.0), HalfNormal(np.ones(d))):
            explicit, implicit_, rest, _ = weighted(density, net, weight(density), _kinks(density))
            yield f"{type(density).__name__}, d = {d}", Sides(explicit, implicit_ + rest)


@CHAPTER.example(
    "rate of an exponential",
    r"\hat b = \frac{E[h']}{E[h]}; \quad h = x: \; \frac{1}{\bar x}, \quad h = x^2: \; \frac{2\bar x}{\overline{x^2}}",
    SOURCE,
)
def rate(seed):
    """On 200 samples, the estimator against its formula: h = x is the maximum likelihood estimate, h = x^2 Hyvarinen's."""
    x = Exponential(2.0).sample(200, rng=seed)
    formula = {
        "h = x": 1 / x.mean(),
        "h = x^2": 2 * x.mean() / np.mean(x**2),
        "h = min(x, 1)": np.mean(x < 1) / np.minimum(x, 1).mean(),
    }
    for name, (h, h_prime) in WEIGHTS.items():
        yield (
            name,
            Sides(number(exponential_estimate(x, h, h_prime)[0], 64 * EPS * formula[name]), number(formula[name])),
        )


@CHAPTER.example(
    "the true rate is the minimiser", r"E[h'] = a\, E[h] \quad \text{under the exponential of rate } a", SOURCE
)
def true_rate(seed):
    """Not on samples but in the population: integration by parts with h(0) = 0 says that the estimate is right, for any such h."""
    for a in (0.5, 2.0):
        for name, (h, h_prime) in WEIGHTS.items():
            breaks = ((1.0,),) if "min" in name else ()
            columns = lambda x: np.stack([h(x)[:, 0], h_prime(x)[:, 0]], 1)
            found = expectation(columns, Exponential(a), breaks=breaks)
            yield (
                f"a = {a:g}, {name}",
                Sides(number(found.value[1], found.error[1]), a * number(found.value[0], found.error[0])),
            )


@CHAPTER.example(
    "a truncated Gaussian is recovered",
    r"E[h\, s\, \partial F_k] = -E[h'\, \partial F_k + h\, \partial^2 F_k] \quad \text{at } s = \frac{\mu - x}{\sigma^2}, \; F = (x, -\tfrac12 x^2)",
    SOURCE,
)
def truncated(seed):
    """The equations of the weighted minimum hold at the mean and variance from before truncation: the ends need not be known to s."""
    mu, var, lower, upper = 0.3, 0.8, -1.0, 2.0
    h, h_prime = box_weight(lower, upper)

    def columns(x):
        s, F, dF = (mu - x) / var, np.stack([1 + 0 * x, -x], 1), np.stack([0 * x, -1 + 0 * x], 1)  # (n, 2, 1)
        w, slope = h(x)[:, None], h_prime(x)[:, None]
        return np.stack([(w * s[:, None] * F)[..., 0], (slope * F + w * dF)[..., 0]], 2)

    found = expectation(columns, TruncatedGaussian(mu, var, lower, upper), breaks=((0.5,),))
    for k, name in enumerate(("mean", "variance")):
        left, right = (number(found.value[k, side], found.error[k, side]) for side in (0, 1))
        yield f"equation of the {name}", Sides(left, -right)


@CHAPTER.example(
    "weight one is the plain loss", r"h = 1,\; h' = 0: \quad \tfrac12 |s|^2 + \mathrm{tr}\,\partial_x s", SOURCE
)
def plain(seed):
    """The generalised objective of a network without weights against the implicit one: two routes through the code, one number."""
    net = EnergyMLP.init(3, (8, 8), "softplus", confinement=0.3, rng=seed)
    x = np.random.default_rng(seed).standard_normal((16, 3))
    left, right = generalised(net, x, np.ones_like(x), np.zeros_like(x)), implicit(net, x)
    size = np.abs(right.per_sample).max() + np.abs(net.jacobian(x)).sum((1, 2)).max()
    error = 128 * EPS * size
    yield "worst of 16 samples", Sides(*worst((left.per_sample, error), (right.per_sample, error))[:2])


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample("no weight on a half-line", r"h = 1: \quad J_E - J_I - \tfrac12 E|s_0|^2 = -ab", SOURCE)
def unweighted(seed):
    """The minimum of the plain loss over the rate b is at 0, whatever the data: s = -b has no curvature to reward it."""
    one, zero = (lambda x: np.ones_like(x)), (lambda x: np.zeros_like(x))
    for a, b in ((2.0, 3.0), (1.0, 0.5)):
        explicit, implicit_, rest, _ = weighted(Exponential(a), Exponential(b), (one, zero), ())
        held = failing("h vanishes at the boundary, h(0)", 1.0)
        yield f"a = {a:g}, b = {b:g}", Sides(explicit, implicit_ + rest, (held,), number(-a * b))


@CHAPTER.counterexample(
    "one wall forgotten", r"h = x - a \text{ on } (a, b): \quad \text{gap } -\,p_0(b)\, h(b)\, s(b)", SOURCE
)
def one_wall(seed):
    """A weight for half-lines on an interval: the flux at the far wall remains, p_0 h s taken there."""
    lower, upper = -1.0, 2.0
    density = TruncatedGaussian(0.3, 1.0, lower, upper)
    net = EnergyMLP.init(1, (6,), "softplus", confinement=0.5, rng=seed)
    explicit, implicit_, rest, _ = weighted(density, net, linear_weight(lower), ())
    end = np.array([[upper]])
    flow = float(np.exp(density.logpdf(end))[0] * (upper - lower) * net.score(end)[0, 0])
    held = hypothesis("boundary term p h s vanishes", flow, 0.0)
    yield "truncated Gaussian on (-1, 2)", Sides(explicit, implicit_ + rest, (held,), number(-flow))


@CHAPTER.counterexample(
    "the derivative of the weight forgotten",
    r"E\sum_i \left[\tfrac12 h_i s_i^2 + h_i\, \partial_i s_i\right]: \quad \text{gap } E\sum_i h_i' s_i",
    "the product rule; the term h' s is easily lost when a plain loss is weighted afterwards",
)
def no_slope(seed):
    """Weighting the summands of the implicit loss is not enough: p_0 h was integrated by parts, so h is differentiated too."""
    net = EnergyMLP.init(1, (6,), "softplus", confinement=0.5, rng=seed)
    explicit, implicit_, rest, slope = weighted(Exponential(2.0), net, linear_weight(), ())
    held = failing("h' s is kept, E[h' s]", slope.value)
    yield "exponential data, h = x", Sides(explicit, implicit_ - slope + rest, (held,), slope)
