r"""The score.

Score means here the gradient of log p in x. For p = exp(-f)/Z it is -grad f, and Z has dropped out. It points uphill, knows the
density up to its weights of far-apart modes, and not every vector field is one: its Jacobian must be symmetric.
"""

import numpy as np

from ..densities import Exponential, GaussianMixture, Laplace
from ..networks.models import ScoreMLP
from ..numerics.differences import SAFETY, Derivative, differences, widths
from ..numerics.quadrature import Frame, expectation, integrate
from ..objectives.loss import half_square
from ..sampling.normaliser import log_normaliser
from .case import STEP, Case
from .means import EPS, integral, number, worst
from .steps import ENOUGH, Chapter, Sides, failing, hypothesis, vanishes

CHAPTER = Chapter(2, "score")
DEFINITION = "definition of the score; Hyvarinen (2005), JMLR 6:695-709, section 2"


def _path(case, log_p, score):
    """log p(b) - log p(a), and the line integral of the score from a to b, for the worst of 8 random pairs."""
    from scipy.integrate import quad_vec

    rng = np.random.default_rng(case.seed)
    a, b = case.density.sample(16, rng=rng).reshape(2, 8, case.dim)
    if hasattr(case.density, "intervals"):  # the path stays in the interval that it begins in
        ends = case.density.intervals
        b = np.clip(b, *ends[np.searchsorted(ends[:, 0], a[:, 0], side="right") - 1].T[:, :, None])
    along = lambda t: np.sum(score(a + t * (b - a)) * (b - a), 1)
    kinks = _crossings(case.density, a, b)
    right, error = quad_vec(along, 0.0, 1.0, epsabs=1e-13, epsrel=1e-13, norm="max", limit=200, points=kinks)
    ends = log_p(a), log_p(b)
    left = ends[1] - ends[0]
    rounding = 16 * EPS * max(np.abs(end).max() for end in ends)
    return worst((left, rounding), (right, error + 16 * EPS * np.abs(right) + rounding))[:2]


def _crossings(density, a, b):
    """Where the straight lines from a to b (n, d), with t from 0 to 1, cross the points at which the density is not smooth."""
    breaks = getattr(getattr(density, "frame", None), "breaks", ())
    t = [(c - a[:, j]) / (b[:, j] - a[:, j]) for j, axis in enumerate(breaks) for c in axis]
    inside = np.concatenate([np.array([]), *t])
    return np.unique(inside[(inside > 0) & (inside < 1)])


def _points(case, n=16):
    return case.density.sample(n, rng=np.random.default_rng([case.seed, 2]))


def _differenced(function, x, right, allowance):
    """The derivative (n, d) of function at x: by steps of the width of the data, and where that is not `right` by the smaller ones that are.

    Wide steps go over a part that is narrower smoothly, with a small error of their own. Smaller ones may clear a number and never accuse
    one, and only where they resolve a millionth of it.
    """
    found, _ = differences(function, x, widths(x))
    for k in range(4, 33, 4):
        now, _ = differences(function, x, widths(x) / 2.0**k)
        clears = (np.abs(now.value - right) <= allowance(now)) & (allowance(now) <= ENOUGH * np.abs(right))
        better = clears & ((np.abs(found.value - right) > allowance(found)) | (allowance(now) < allowance(found)))
        found = Derivative(*(np.where(better, new, old) for new, old in zip(now, found, strict=True)))
    return found


def _slope_scale(model, x):
    """S of MATH section 6 for the score, (n, d): every weight by its size, every phi' by a bound of it (1.13 for gelu)."""
    S = np.ones(1)
    for l, (W, _) in enumerate(reversed(model.layers)):
        S = np.abs(W) @ (S if l == 0 else 1.13 * S)
    return S + model.confinement * np.abs(x)


def _network(case):
    """Energy networks without a noise level that take complex input."""
    return getattr(case.model, "kind", "") == "EnergyMLP" and case.model.activation.analytic


# ------------------------------------------------------------------------------- lines


@CHAPTER.line("score is the gradient of log p", r"\log p_0(b) - \log p_0(a) = \int_a^b s_0 \cdot dx", DEFINITION)
def data_score(case):
    """The closed-form score of the data against their log density, along a path: nothing is differenced."""
    return Sides(*_path(case, case.density.logpdf, case.density.score))


@CHAPTER.line(
    "score at points",
    r"s_{0,i}(x) = \lim_{h \to 0} \frac{\log p_0(x + h e_i) - \log p_0(x - h e_i)}{2h}",
    DEFINITION,
    needs=lambda case: case.dim <= 3 and case.smooth_data and case.unbounded,
)
def at_points(case):
    """log p differenced, the step extrapolated to 0 (Romberg), against the score at 16 points: it says where a wrong one is wrong."""
    x = _points(case)
    s = case.density.score(x)
    allowance = lambda found: SAFETY * found.error + 64 * EPS * np.abs(s).max()
    found = _differenced(lambda y: (case.density.logpdf(y), y), x, s, allowance)
    left, right, (row, column) = worst((s, 0), (found.value, allowance(found)))
    place = ", ".join(f"{c:.4g}" for c in x[row])
    return Sides(left, right, note=f"worst at x = ({place}), coordinate {column}")


@CHAPTER.line(
    "the log-derivative",
    r"p_0\, \nabla \log p_0 = \nabla p_0",
    "chain rule of the natural logarithm; the step on which the integration by parts hangs",
    needs=lambda case: case.dim <= 3 and case.smooth_data and case.unbounded,
)
def log_derivative(case):
    """The density itself is differenced, not its logarithm, in units of p_0 at each of 16 points; along one coordinate, at the worst."""
    x = _points(case)
    at = case.density.logpdf(x)
    s, p = case.density.score(x), np.exp(at - at.max())[:, None]
    allowance = lambda found: SAFETY * found.error + 64 * EPS * ((1 + np.abs(at).max()) + p * np.abs(s))
    density = lambda y: (np.exp(case.density.logpdf(y) - at.max()), y)
    found = _differenced(density, x, p * s, allowance)
    return Sides(*worst((s, 0), (found.value / p, allowance(found) / p))[:2])


@CHAPTER.line(
    "normaliser drops out",
    r"\nabla \log \frac{e^{-f}}{Z} = -\nabla f",
    DEFINITION,
    needs=lambda case: hasattr(case.model, "energy"),
)
def normaliser(case):
    """log p(b) - log p(a) with p = exp(-f)/Z normalised by quadrature, against the line integral of -grad f."""
    model = case.model
    log_Z, note = 0.0, "Z is out of reach of quadrature here, and is not needed"
    hypotheses: tuple = ()
    if case.samples is None:
        log_Z, relative = log_normaliser(model, case.density)
        finite = bool(np.isfinite(log_Z))
        hypotheses = (hypothesis("Z is finite, log Z", log_Z, relative, finite),) if finite else ()
        note = (
            "" if finite else "Z is infinite: exp(-f) is no density, though it has a score; confinement > 0 repairs it"
        )
        log_Z = log_Z if finite else 0.0
    left, right = _path(case, lambda x: -model.energy(x) - log_Z, model.score)
    return Sides(left, right, hypotheses, None, note)


@CHAPTER.line("score of a network", r"s = -\nabla f", DEFINITION, needs=_network)
def network_score(case):
    """Reverse mode by hand against a complex step of the energy, at the worst of 16 points and of all coordinates."""
    x = _points(case)
    steps = np.stack([-case.model.energy(x + 1j * STEP * e).imag / STEP for e in np.eye(case.dim)], 1)
    error = 32 * EPS * _slope_scale(case.model, x)
    return Sides(*worst((case.model.score(x), error), (steps, error))[:2])


@CHAPTER.line("the score points uphill", r"\frac{d}{dt} \log p(x + t s)\Big|_{t=0} = |s|^2", DEFINITION, needs=_network)
def uphill(case):
    """Along the score log p rises, and no direction of the same length rises faster: the slope is |s|^2, never negative."""
    x = _points(case)
    s = case.model.score(x)
    rise = -case.model.energy(x + 1j * STEP * s).imag / STEP
    error = 32 * EPS * np.sum(np.abs(s) * _slope_scale(case.model, x), 1)
    return Sides(*worst((rise, error), (np.sum(s**2, 1), error))[:2])


@CHAPTER.line(
    "mean score is zero",
    r"E[s_0] = \oint p_0\, n\,dS = 0",
    "the integral of a gradient; Fisher's score of a location family",
)
def mean_score(case):
    """The integral of grad p_0 is what crosses the boundary; along one direction w."""
    rim = case.flux(lambda x: np.broadcast_to(case.w, x.shape))
    return Sides(case.mean("score . w"), number(0, 0), (vanishes("boundary term p vanishes", rim),), integral(rim))


@CHAPTER.line(
    "information equality",
    r"E|s_0|^2 = -E[\mathrm{tr}\,\partial_x s_0]",
    "Fisher's information identity, for a location family",
    needs=lambda case: case.smooth_data,
)
def information(case):
    """Slope squared is curvature on average, if p_0 s_0 vanishes at the boundary."""
    held = vanishes("boundary term p_0 s_0 vanishes", case.own_boundary)
    return Sides(2.0 * case.mean("fisher"), -case.mean("data trace"), (held,), integral(case.own_boundary))


@CHAPTER.line(
    "the Jacobian of a gradient is symmetric",
    r"\partial_j s_i = \partial_i s_j",
    "Schwarz's theorem",
    needs=lambda case: 1 < case.dim <= 3 and _network(case),
)
def symmetric(case):
    """The first two coordinates, at the worst of 16 points: a column of forward mode against a column of reverse mode."""
    x = _points(case)
    e_0, e_1 = (np.broadcast_to(e, x.shape) for e in np.eye(case.dim)[:2])
    forward, reverse = case.model.jvp(x, e_0)[:, 1], case.model.vjp(x, e_0)[:, 1]
    size = np.abs(case.model.jacobian(x)).max((1, 2)) + np.abs(case.model.jvp(x, e_1)).max(1) + 1
    return Sides(*worst((forward, 64 * EPS * size), (reverse, 64 * EPS * size))[:2])


@CHAPTER.line(
    "work around a loop is zero",
    r"\oint s \cdot dx = 0",
    "gradient theorem",
    needs=lambda case: 1 < case.dim <= 3 and _network(case) and case.samples is None,
)
def loop(case):
    """Carry a point once around a circle through the data: log p is what it was, so the score did no work."""
    return Sides(_circulation(case.model.score, np.zeros(case.dim), 1.0), number(0, 0))


def _circulation(field, center, radius, n=512):
    """Integral of a field around a circle in the first two coordinates, by the trapezoidal rule and with half the points."""
    angle = 2 * np.pi * np.arange(n) / n
    along = np.zeros((n, len(center)))
    along[:, 0], along[:, 1] = -np.sin(angle), np.cos(angle)
    x = np.array(center, float) + np.zeros_like(along)
    x[:, 0] += radius * np.cos(angle)
    x[:, 1] += radius * np.sin(angle)
    work = radius * np.sum(field(x) * along, 1)
    whole, half = 2 * np.pi * work.mean(), 2 * np.pi * work[::2].mean()
    return number(whole, abs(whole - half) + 64 * EPS * 2 * np.pi * np.abs(work).mean())


# ------------------------------------------------------------------------------- examples


@CHAPTER.example("a constant in the energy changes no score", r"\nabla (f + c) = \nabla f", DEFINITION)
def constant_in_energy(seed):
    """The energies differ by c at every point, the scores not in the last bit."""
    from ..networks.models import EnergyMLP

    net = EnergyMLP.init(2, (8, 8), "softplus", rng=seed)
    x = np.random.default_rng(seed).standard_normal((64, 2))
    for c in (1.0, -1e3):
        *layers, (w, b) = net.layers
        raised = EnergyMLP.from_arrays([*layers, (w, b + c)], "softplus")
        change = np.mean(raised.energy(x) - net.energy(x))
        yield f"energies, c = {c:g}", Sides(number(change, 64 * EPS * abs(c)), number(c, 0))
        yield f"scores, c = {c:g}", Sides(*worst((raised.score(x), 0), (net.score(x), 0))[:2])


@CHAPTER.example(
    "other units",
    r"y = c\,x \;\Rightarrow\; s_y(cx) = \tfrac1c\, s_x(x), \quad t_y(cx) = \tfrac1{c^2}\, t_x(x)",
    DEFINITION,
)
def units(seed):
    """The score has the unit 1/[x], its trace 1/[x]^2: minutes or hours, a free test of any formula."""
    rng = np.random.default_rng(seed)
    means, covs = rng.standard_normal((3, 2)), np.array([np.eye(2) * k for k in (0.5, 1.0, 2.0)])
    x = rng.standard_normal((32, 2))
    for c in (60.0, 1e-3):
        p, q = GaussianMixture(np.ones(3) / 3, means, covs), GaussianMixture(np.ones(3) / 3, c * means, c**2 * covs)
        for name, power, a, b in (("score", 1, p.score(x), q.score(c * x)), ("trace", 2, p.trace(x), q.trace(c * x))):
            error = 64 * EPS * np.abs(a).max()
            yield f"{name} of a mixture, c = {c:g}", Sides(*worst((b * c**power, error), (a, error))[:2])


def two_modes(m, weight):
    """Unit Gaussians at -m and m, the first with this weight."""
    return GaussianMixture([weight, 1 - weight], [[-m], [m]], 1.0)


@CHAPTER.example(
    "blindness to far modes",
    r"s_p - s_q = (r_p - r_q)\,(\mu_1 - \mu_2), \quad J_E = \tfrac12\, (2m)^2\, E_p (r_p - r_q)^2",
    "r is the responsibility of the first mode; Song & Ermon (2019), arXiv:1907.05600, section 3.2.2",
)
def blindness(seed):
    """Unit modes at -m and m, weights .2/.8 against .5/.5. The scores differ only where both modes matter; far apart, nowhere."""
    for m in (1.0, 2.0, 5 * np.sqrt(2)):
        p, q = two_modes(m, 0.2), two_modes(m, 0.5)
        share = lambda x, w, m=m: 1 / (1 + (1 - w) / w * np.exp(np.minimum(2 * m * x[:, 0], 700)))
        scores = expectation(lambda x: half_square(p.score(x) - q.score(x)), p)
        shares = expectation(lambda x, m=m: 2 * m**2 * (share(x, 0.2) - share(x, 0.5)) ** 2, p)
        yield f"m = {m:.4g}", Sides(integral(scores), integral(shares), note=f"J_E = {scores.value:.2g}")


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "almost equal scores, other densities",
    r"J_E(p, q) \approx 0 \;\not\Rightarrow\; \mathrm{KL}(p|q) = 0: \quad \mathrm{KL} \to \textstyle\sum_k \pi_k \log \pi_k/\rho_k",
    "Song & Ermon (2019), section 3.2.2; Wenliang & Kanagawa (2020), arXiv:2008.10087",
)
def blind(seed):
    """Modes 10 standard deviations apart: the Fisher divergence is 1e-11, the Kullback-Leibler divergence that of the weights."""
    m = 5 * np.sqrt(2)
    p, q = two_modes(m, 0.2), two_modes(m, 0.5)
    fisher = expectation(lambda x: half_square(p.score(x) - q.score(x)), p)
    kl = expectation(lambda x: p.logpdf(x) - q.logpdf(x), p)
    weights = 0.2 * np.log(0.2 / 0.5) + 0.8 * np.log(0.8 / 0.5)
    overlap = 4 * m * np.exp(-(m**2) / 2)  # mass between the modes, where the responsibilities are not 0 or 1
    note = f"J_E = {fisher.value:.2g}, yet the densities differ"
    held = failing("p and q share their modes' weights, KL of the weights", weights)
    yield f"m = {m:.4g}", Sides(integral(kl), number(0, 0), (held,), number(weights, overlap), note)


@CHAPTER.counterexample(
    "a field that is no score",
    r"\oint s \cdot dx = \iint (\partial_1 s_2 - \partial_2 s_1)\, dx_1 dx_2",
    "Stokes's theorem; nothing makes a score network a gradient, Salimans & Ho (2021)",
)
def rotating(seed):
    """A score network is any vector field: around a circle its work is the curl inside, and no log p can have that score."""
    for hidden in ((6,), (6, 6)):
        net = ScoreMLP.init(2, hidden, "softplus", rng=seed)
        disc = Frame(np.array([0.5, np.pi]), np.diag([0.5, np.pi]))

        def curl(polar, net=net):
            r, angle = polar.T
            J = net.jacobian(np.stack([r * np.cos(angle), r * np.sin(angle)], 1))
            return r * (J[:, 1, 0] - J[:, 0, 1])

        inside = integrate(curl, disc, np.array([[0.0, 1.0], [0.0, 2 * np.pi]]))
        held = hypothesis("Jacobian is symmetric, curl inside", inside.value, inside.error)
        work = _circulation(net.score, np.zeros(2), 1.0)
        yield f"random score network {hidden}", Sides(work, number(0, 0), (held,), integral(inside))


@CHAPTER.counterexample(
    "mean score of the exponential", r"E[s_0] = -p_0(0) = -a", "the boundary term of the mean score"
)
def exponential_mean(seed):
    """The density ends at 0 with the value a: grad p_0 integrates to -a, not to 0. Along w, the rate itself."""
    for a in (0.5, 2.0):
        case = Case(Exponential(a), Exponential(a))
        yield f"rate {a:g}", mean_score.sides(case)._replace(predicted=number(-a * case.w[0]))


@CHAPTER.counterexample(
    "information equality of the Laplace",
    r"E|s_0|^2 + E[s_0'] = \frac1{b^2}, \quad \text{the jump of } s_0 \text{ being } -\frac2b \text{ where } p_0 = \frac1{2b}",
    "a density whose score jumps",
)
def laplace_information(seed):
    """The score is -sign(x)/b: its derivative is 0 wherever it exists, and the jump at 0 holds all the curvature."""
    for b in (0.6, 2.0):
        case = Case(Laplace(0.0, b), Laplace(0.0, b))
        held = failing("the score has no jumps, p(0) times the jump", -1 / b**2)
        yield f"b = {b:g}", Sides(2.0 * case.mean("fisher"), -case.mean("data trace"), (held,), number(1 / b**2))


def raised_cosines(weight):
    """Weight on (-2, -1), the rest on (1, 2), as 1 + cos around the middles: log p and score of x (n,)."""
    half = lambda x: np.pi * (np.abs(x) - 1.5)  # 1 + cos 2a = 2 cos^2 a
    log_p = lambda x: np.where(x < 0, np.log(2 * weight), np.log(2 - 2 * weight)) + 2 * np.log(np.cos(half(x)))
    return log_p, lambda x: -2 * np.pi * np.sign(x) * np.tan(half(x))


@CHAPTER.counterexample(
    "equal scores need not mean equal densities",
    r"s_p = s_q \text{ everywhere}, \quad \mathrm{KL}(p|q) = \sum_k \pi_k \log \frac{\pi_k}{\rho_k} = .1927447570218",
    "two components of a support, each with its own constant; Wenliang & Kanagawa (2020), arXiv:2008.10087",
)
def disconnected(seed):
    """Raised cosines on (-2, -1) and (1, 2), weights .2/.8 against .5/.5: the scores agree to the last bit, since no path joins the two parts."""
    (log_p, s_p), (log_q, s_q) = raised_cosines(0.2), raised_cosines(0.5)
    x = np.concatenate([np.linspace(-1.99, -1.01, 99), np.linspace(1.01, 1.99, 99)])
    apart = float(np.abs(s_p(x) - s_q(x)).max())
    foreseen = 0.2 * np.log(0.4) + 0.8 * np.log(1.6)
    kl = number(0, 0)
    for middle, ends in ((-1.5, [[-2.0, -1.0]]), (1.5, [[1.0, 2.0]])):
        gap = lambda y: (np.exp(log_p(y)) * (log_p(y) - log_q(y)))[:, 0]
        kl = kl + integral(integrate(gap, Frame(np.array([middle]), np.array([[0.5]])), np.array(ends)))
    held = failing("the support is connected, KL of the weights of its parts", foreseen)
    note = f"largest difference of the scores at 198 points: {apart:g}"
    yield "weights .2/.8 and .5/.5", Sides(kl, number(0, 0), (held,), number(foreseen), note)


@CHAPTER.example(
    "a connected support identifies the density",
    r"\log\frac{p(b)}{q(b)} - \log\frac{p(a)}{q(a)} = \int_a^b (s_p - s_q)\,dx; \quad J_E = 0 \Rightarrow p = q",
    "Hyvarinen (2005), JMLR 6:695-709, Theorem 2",
)
def identifies(seed):
    """What the scores differ by along a path is all that the log ratio can change: if they agree it is constant, and as both integrate to one it is 0."""
    from scipy.integrate import quad

    p, q = two_modes(1.0, 0.2), two_modes(1.5, 0.5)
    ratio = lambda x: float((p.logpdf(np.array([[x]])) - q.logpdf(np.array([[x]]))).item())
    for a, b in ((-3.0, 2.0), (0.0, 4.0)):
        work, error = quad(
            lambda x: float((p.score(np.array([[x]])) - q.score(np.array([[x]]))).item()), a, b, epsabs=1e-13, limit=200
        )
        left = ratio(b) - ratio(a)
        yield f"from {a:g} to {b:g}", Sides(number(left, 1e-13), number(work, error + 1e-13))
