r"""Energy and normaliser.

Any energy f gives a density p = exp(-f)/Z, if Z, the integral of exp(-f), is finite. Z is one number, but an expensive one:
on a grid its cost grows with the power of the dimension. That is why one learns the score, in which Z drops out.
"""

import numpy as np

from ..networks.models import EnergyMLP
from ..numerics.quadrature import Frame, integrate
from ..sampling.normaliser import log_normaliser
from .means import EPS, integral, number
from .steps import Chapter, Sides, failing, hypothesis

CHAPTER = Chapter(1, "energy and normaliser")
DEFINITION = "Boltzmann-Gibbs form; Hyvarinen (2005), JMLR 6:695-709, section 1"


def _line(a, b):
    """The interval (a, b) as a support."""
    return np.array([[a, b]], float)


REAL_LINE = _line(-np.inf, np.inf)


# ------------------------------------------------------------------------------- lines


@CHAPTER.line(
    "density integrates to one",
    r"\int p_0(x)\,dx = 1",
    "definition of a density",
    needs=lambda case: case.samples is None,
)
def normalised(case):
    """The closed-form normaliser of the data density, against quadrature."""
    return Sides(case.mean("one"), number(1, 0))


@CHAPTER.line(
    "exp(-f)/Z integrates to one",
    r"\int \frac{e^{-f(x)}}{Z}\,dx = 1, \quad \frac{e^{-f}}{Z} > 0",
    DEFINITION,
    needs=lambda case: case.dim == 1 and getattr(case.model, "confinement", 0.0) > 0,
)
def model_normalised(case):
    """Z by the trapezoidal rule; the integral of exp(-f)/Z, which cannot be negative, by SciPy's adaptive Gauss-Kronrod rule."""
    from scipy.integrate import quad

    log_Z, relative = log_normaliser(case.model, case.density)
    p = lambda x: float(np.exp(-case.model.energy(np.array([[x]]))[0] - log_Z))
    ends = case.density.support[0]
    x = np.clip(np.linspace(-10, 10, 401) / np.sqrt(case.model.confinement), *ends)[:, None]
    mode = float(x[np.argmin(case.model.energy(x)), 0])  # of the network, however far the data are from it
    parts = [quad(p, *piece, epsabs=1e-13, epsrel=1e-13, limit=200) for piece in ((ends[0], mode), (mode, ends[1]))]
    return Sides(number(sum(v for v, _ in parts), sum(e for _, e in parts)), number(1, relative + 1e-14))


# ------------------------------------------------------------------------------- examples


@CHAPTER.example(
    "Gaussian as an energy",
    r"f = \frac{(x-\mu)^2}{2\sigma^2} \;\Rightarrow\; Z = \sqrt{2\pi\sigma^2}",
    "Gauss's integral",
)
def gaussian_energy(seed):
    """The one energy whose normaliser everybody knows: Z by quadrature against its closed form."""
    for mu, sigma in ((0.0, 1.0), (3.0, 0.2), (-50.0, 7.0)):
        frame = Frame(
            np.array([mu + 0.3 * sigma]), np.array([[1.1 * sigma]])
        )  # not the energy's own, which would flatter
        Z = integrate(lambda x: np.exp(-((x[:, 0] - mu) ** 2) / (2 * sigma**2)), frame, REAL_LINE)
        yield f"mu = {mu:g}, sigma = {sigma:g}", Sides(integral(Z), number(np.sqrt(2 * np.pi * sigma**2)))


@CHAPTER.example(
    "Gaussian normaliser in d dimensions",
    r"f = \tfrac12 x^\top \Sigma^{-1} x \;\Rightarrow\; Z = (2\pi)^{d/2} |\Sigma|^{1/2}",
    "Gauss's integral, after a change of variables",
)
def gaussian_energy_in_d(seed):
    """The factor of sqrt(2 pi) stands once for each dimension: the d in the exponent is forgotten more often than one thinks."""
    rng = np.random.default_rng(seed)
    for d in (1, 2, 3):
        A = rng.standard_normal((d, d)) + 2 * np.eye(d)
        cov, frame = A @ A.T, Frame(np.zeros(d), 1.1 * A)
        precision = np.linalg.inv(cov)
        Z = integrate(
            lambda x: np.exp(-0.5 * np.einsum("ni,ij,nj->n", x, precision, x)), frame, np.tile(REAL_LINE, (d, 1))
        )
        right = (2 * np.pi) ** (d / 2) * np.sqrt(np.linalg.det(cov))
        yield f"d = {d}", Sides(integral(Z), number(right, 64 * EPS * right * np.linalg.cond(cov)))


@CHAPTER.example("a constant in the energy", r"Z(f + c) = e^{-c}\, Z(f)", DEFINITION)
def shifted_energy(seed):
    """Raising the energy by c lowers exp(-f) everywhere, and Z with it: the density does not notice."""
    net = EnergyMLP.init(1, (8, 8), "softplus", confinement=1.0, rng=seed)
    frame = Frame(np.zeros(1), np.eye(1))
    plain = integrate(lambda x: np.exp(-net.energy(x)), frame, REAL_LINE)
    for c in (-3.0, 0.5, 20.0):
        *layers, (w, b) = net.layers
        raised = EnergyMLP.from_arrays([*layers, (w, b + c)], "softplus", confinement=1.0)
        Z = integrate(lambda x: np.exp(-raised.energy(x)), frame, REAL_LINE)
        yield f"random network, c = {c:g}", Sides(integral(Z), np.exp(-c) * integral(plain))


@CHAPTER.example(
    "cost of the normaliser", r"N_d \ge N_1^{\,d}", "tensor-product rules; the curse of dimension, Bellman (1957)"
)
def cost(seed):
    """Points of the coarsest trapezoidal grid that gives Z to 1e-8, counted, against a power of those in 1-d: f = sum x^2/2 + x^4/10, whose Z
    is a power too, and the same with (sum x)^2/4 beside it, whose Z is no product of integrals on lines."""
    for what, c, first in (("separable", 0.0, 1), ("coupled", 0.5, 2)):
        one = points(first, c) ** (1 / first)
        for d in range(first + 1, 5):
            n = points(d, c)
            yield f"{what}, d = {d}: {n} points", Sides(number(n, 0), number(one**d, 1e-9 * one**d), relation=">=")


def coupled_normaliser(d, c, a=0.5, b=0.1):
    """Z of f = sum a x^2 + b x^4 + c (sum x)^2/2 in d dimensions, by one integral: e^(-c S^2/2) = E cos(t S sqrt c), t ~ N(0, 1)."""
    from scipy.integrate import quad

    line = lambda k: 2 * quad(lambda x: np.exp(-a * x**2 - b * x**4) * np.cos(k * x), 0, 12, epsabs=1e-14, limit=200)[0]
    if c == 0:
        return line(0.0) ** d
    weight = lambda t: np.exp(-0.5 * t**2) * np.sqrt(2 / np.pi)
    return quad(lambda t: weight(t) * line(t * np.sqrt(c)) ** d, 0, 9, epsabs=1e-13, limit=200)[0]


def on_grid(d, m, c, b=0.1):
    """Points of a grid of m points an axis from -5.5 to 5.5, and the same Z by it."""
    axis, h = np.linspace(-5.5, 5.5, m, retstep=True)
    f, total = axis**2 / 2 + b * axis**4, axis
    for _ in range(d - 1):
        f, total = np.add.outer(f, axis**2 / 2 + b * axis**4), np.add.outer(total, axis)
    return f.size, np.exp(-f - 0.5 * c * total**2).sum() * h**d


def points(d, c):
    """Points of the coarsest grid that gives Z to 1e-8."""
    Z = coupled_normaliser(d, c)
    for m in range(4, 40):
        n, found = on_grid(d, m, c)
        if abs(found / Z - 1) < 1e-8:
            return n
    raise ArithmeticError("no grid of up to 39 points an axis reaches 1e-8")


@CHAPTER.example(
    "draws in place of a grid",
    r"\frac{\mathrm{Var}\, w}{(E w)^2} = \frac{Z_2 (2\pi)^{d/2}}{Z^2} - 1, \quad w = \frac{e^{-f(x)}}{N(x; 0, I)},\; Z_2 = \int \frac{e^{-2f}}{e^{-|x|^2/2}}",
    "importance sampling; the variance of a mean of n draws is this over n in every dimension",
)
def draws(seed):
    """Draws from N(0, I) give Z of the coupled energy to a relative variance V_d / n. V_d is by a grid what one integral says; it grows with d
    too, but slowly: for two digits 20,000 draws do in eight dimensions, where a grid takes two hundred million points."""
    c = 0.5
    variance = lambda d, Z_2: Z_2 * (2 * np.pi) ** (d / 2) / coupled_normaliser(d, c) ** 2 - 1
    by_integral = lambda d: variance(d, coupled_normaliser(d, 2 * c, b=0.2))
    for d in (2, 3):
        V = by_integral(d)
        yield (
            f"d = {d}: V = {V:.4f}",
            Sides(number(variance(d, on_grid(d, 40, 2 * c, b=0.2)[1]), 1e-10), number(V, 1e-10)),
        )
    coarse = next(m for m in range(4, 40) if abs(on_grid(2, m, c)[1] / coupled_normaliser(2, c) - 1) < 0.01)
    for d in (4, 8):
        n = by_integral(d) / 0.01**2
        yield f"d = {d}: {n:.0f} draws, {coarse**d} points", Sides(number(n), number(coarse**d, 0), relation="<=")


@CHAPTER.example(
    "confinement bounds the normaliser",
    r"Z \le e^{-\inf \mathrm{net}} \left(\frac{2\pi}{\lambda}\right)^{d/2}",
    "net is bounded by its output weights where |phi| <= 1",
)
def confined(seed):
    """A bounded network plus lambda |x|^2 / 2 has a Gaussian's tail: Z is finite, whatever the weights."""
    for d, lam in ((1, 1.0), (1, 0.01), (2, 0.5)):
        net = EnergyMLP.init(d, (6,), "tanh", confinement=lam, rng=seed)
        (w, c) = net.layers[-1]
        frame = Frame(np.zeros(d), np.eye(d) / np.sqrt(lam))
        Z = integrate(lambda x: np.exp(-net.energy(x)), frame, np.tile(REAL_LINE, (d, 1)))
        ceiling = np.exp(np.abs(w).sum() - c[0]) * (2 * np.pi / lam) ** (d / 2)
        yield f"tanh network, d = {d}, lambda = {lam:g}", Sides(integral(Z), number(ceiling), relation="<=")


# ------------------------------------------------------------------------------- counterexamples


@CHAPTER.counterexample(
    "a bounded energy has no normaliser",
    r"\frac{d}{dR} \int_{-R}^{R} e^{-f}\,dx \to e^{-f(\infty)} + e^{-f(-\infty)} \ne 0",
    "Z exists only if exp(-f) is integrable",
)
def bounded_energy(seed):
    """tanh units saturate, so exp(-f) tends to a constant and the integral grows in proportion to the interval, for ever.

    It would have to stop growing. With a confinement of 0.01 it does.
    """
    net = EnergyMLP.init(1, (6,), "tanh", rng=seed)
    (W, _), (w, c) = net.layers
    limits = [np.exp(-(sign * np.sign(W[0]) @ w + c)).item() for sign in (1, -1)]
    R = 40.0 / np.abs(W).min()  # tanh(40) is 1 to the last bit

    def growth(model):
        p = lambda x: np.exp(-model.energy(x))
        pieces = [
            integrate(p, Frame(np.array([1.5 * s * R]), np.array([[R]])), _line(*sorted((s * R, 2 * s * R))))
            for s in (1, -1)
        ]
        return sum(map(integral, pieces), number(0, 0)) * (1 / R)

    whole = integrate(lambda x: np.exp(-net.energy(x)), Frame(np.zeros(1), np.eye(1)), REAL_LINE)
    infinite = failing("Z is finite: growth of the integral per unit of R", sum(limits))
    note = "" if np.isfinite(whole.value) else f"quadrature over the line: {whole.note}"
    yield "tanh network, no confinement", Sides(growth(net), number(0, 0), (infinite,), number(sum(limits)), note)


@CHAPTER.example(
    "confinement repairs it",
    r"\frac{d}{dR} \int_{-R}^{R} e^{-f - \lambda x^2/2}\,dx \to 0",
    "Z exists only if exp(-f) is integrable",
)
def repaired(seed):
    """The same network and the same interval, with lambda = 0.01."""
    net = EnergyMLP.init(1, (6,), "tanh", confinement=0.01, rng=seed)
    R = 40.0 / np.abs(net.layers[0][0]).min()
    log_p = lambda r: -float(net.energy(np.array([[r]]))[0])
    rate = np.exp(log_p(R)) + np.exp(log_p(-R))
    finite = hypothesis("Z is finite: growth of the integral per unit of R", rate, 1e-12)
    yield "tanh network, lambda = 0.01", Sides(number(rate), number(0, 1e-12), (finite,))


@CHAPTER.example(
    "mass over volume tends to the density",
    r"\frac{1}{2r} \int_{x-r}^{x+r} p \to p(x), \qquad p(0) = \frac{1}{\sqrt{2\pi}\, s} > 1 \;\text{for small } s",
    "definition of a density",
)
def mass_over_volume(seed):
    """The probability of an interval over its length, the length halved and extrapolated to 0. A density is no probability."""
    from scipy.special import ndtr

    for s, x in ((1.0, 0.5), (0.1, 0.0), (0.01, 0.02)):
        row: list[float] = []
        for k in range(6):
            r = 0.5 * s / 2**k
            new = [float(ndtr((x + r) / s) - ndtr((x - r) / s)) / (2 * r)]
            for i, coarse in enumerate(row):
                new.append(new[i] + (new[i] - coarse) / (4 ** (i + 1) - 1))
            last, row = row, new
        p = np.exp(-0.5 * (x / s) ** 2) / np.sqrt(2 * np.pi) / s
        yield (
            f"N(0, {s:g}^2) at {x:g}",
            Sides(number(row[-1], abs(row[-1] - last[-1]) + 256 * EPS / s), number(p), note=f"p = {p:.4g}"),
        )


@CHAPTER.example(
    "high energy, low density",
    r"\frac{\Pr[|x - a| < r]}{\Pr[|x - b| < r]} \to e^{f(b) - f(a)}",
    DEFINITION,
)
def high_and_low(seed):
    """Two intervals of a random network's density, weighed by quadrature as they shrink: their ratio needs no Z, only the difference of energies."""
    net = EnergyMLP.init(1, (6,), "softplus", confinement=1.0, rng=seed)

    def mass(x, r):
        frame, ends = Frame(np.array([x]), np.array([[r]])), _line(x - r, x + r)
        return integrate(lambda y: np.exp(-net.energy(y)), frame, ends).value

    for a, b in ((0.0, 1.0), (-1.5, 0.5)):
        row: list[float] = []
        for k in range(6):
            new = [float(mass(a, 0.4 / 2**k) / mass(b, 0.4 / 2**k))]
            for i, coarse in enumerate(row):
                new.append(new[i] + (new[i] - coarse) / (4 ** (i + 1) - 1))
            last, row = row, new
        f = net.energy(np.array([[a], [b]]))
        right = np.exp(f[1] - f[0])
        yield f"a = {a:g}, b = {b:g}", Sides(number(row[-1], abs(row[-1] - last[-1]) + 1e-12 * right), number(right))


@CHAPTER.example(
    "a separable energy factorises", r"f = \sum_i f_1(x_i) \;\Rightarrow\; Z_d = Z_1^{\,d}", "Fubini's theorem"
)
def separable(seed):
    """Then d integrals on the line do, and Z costs d grids in place of their product: it is the coupling that is expensive."""
    f = lambda x: np.sum(x**2 / 2 + x**4 / 10, axis=1)
    one, two = (
        integrate(lambda x: np.exp(-f(x)), Frame(np.zeros(d), np.eye(d)), np.tile(REAL_LINE, (d, 1))) for d in (1, 2)
    )
    yield "d = 2", Sides(integral(two), number(one.value**2, 2 * one.value * one.error + 8 * EPS * one.value**2))


@CHAPTER.example(
    "what Monte Carlo pays for the normaliser",
    r"\frac{n \operatorname{Var} \hat Z}{Z^2} = \left( \frac{1}{v \sqrt{2/v - 1}} \right)^d - 1, \quad \hat Z = \tfrac1n \textstyle\sum e^{-f}/q,\; q = N(0, I)",
    "importance sampling of f = |x|^2 / (2v), v < 2",
)
def monte_carlo(seed):
    """Samples need no grid, but their variance is a power of the dimension too: v = 1/2 in 20 dimensions needs 18 times the samples of 1/n."""
    v = 0.5
    for d in (1, 2, 3):
        square = integrate(
            lambda x, d=d: np.exp(-np.sum(x**2, 1) / v + 0.5 * np.sum(x**2, 1)) * (2 * np.pi) ** (d / 2),
            Frame(np.zeros(d), 0.6 * np.eye(d)),
            np.tile(REAL_LINE, (d, 1)),
        )
        Z = (2 * np.pi * v) ** (d / 2)
        yield (
            f"d = {d}, v = {v:g}",
            Sides(integral(square) * (1 / Z**2) - 1.0, number((v * np.sqrt(2 / v - 1)) ** -d - 1, 1e-14)),
        )


@CHAPTER.counterexample(
    "a density taken for a probability",
    r"p(0) = \frac{1}{\sqrt{2\pi}\, s} \le 1 \;\text{fails for } s < 0.399",
    "definition of a density",
)
def above_one(seed):
    """A density has the unit 1/[x]: in other units it is another number, and nothing keeps it below 1."""
    from ..densities import Gaussian

    for s in (0.1, 0.01):
        p = np.exp(Gaussian(0.0, s**2).logpdf(np.zeros((1, 1)))).item()
        foreseen = 1 / (np.sqrt(2 * np.pi) * s) - 1
        held = failing("p is a probability, excess over 1", foreseen)
        yield f"N(0, {s:g}^2) at 0", Sides(number(p), number(1, 0), (held,), number(foreseen), relation="<=")
