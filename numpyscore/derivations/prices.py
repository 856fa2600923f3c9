r"""Half-lines and boxes, and noise, continued: what each loss costs in samples.

With n samples of p_theta the minimiser of a loss spreads with the covariance A^{-1} B A^{-1} / n, A its second derivative and B the
covariance of its slopes. Maximum likelihood spreads least; the ratio is the price of not needing Z. See `estimation.asymptotics`.
"""

import math

import numpy as np

from ..densities import Gaussian, GaussianMixture, TruncatedGaussian
from ..densities.weights import linear_weight, square_weight
from ..estimation.asymptotics import asymptotic_variance, stein_weight
from ..numerics.quadrature import expectation
from .case import integrated
from .generalised import CHAPTER, SOURCE
from .means import number
from .noise import CHAPTER as NOISE
from .noise import VINCENT
from .steps import Sides, failing

KOEHLER = (
    "Koehler, Heckett & Risteski (2023), ICLR, arXiv:2210.00726; Diao (2023), Challenges of Score Matching, mzydiao.com"
)
SANDWICH = "Huber (1967); van der Vaart (1998), Asymptotic Statistics, Theorem 5.21"
ERROR = 1e-11  # of a family that is differenced, relative


def _variance(*args, **options):
    found = asymptotic_variance(*args, **options).item()
    return number(found, ERROR * found)


def cut_mean(mean):
    """The normal density of variance 1 cut at 0."""
    return TruncatedGaussian(mean, 1.0, 0.0, np.inf)


def cut_variance(var):
    """The half-normal density."""
    return TruncatedGaussian(0.0, var, 0.0, np.inf)


HALF_NORMAL = (
    ("mean, h = x", cut_mean, 0.0, linear_weight(), np.pi),
    ("mean, h = x^2", cut_mean, 0.0, square_weight(), 7.0),
    ("variance, h = x", cut_variance, 1.0, linear_weight(), 7 * np.pi / 8),
    ("variance, h = x^2", cut_variance, 1.0, square_weight(), 14 / 3),
)


@CHAPTER.example(
    "the price of a weight",
    r"n \operatorname{Var} \hat\mu = \pi \;(h = x),\; 7 \;(h = x^2); \qquad n \operatorname{Var} \hat\sigma^2 = \tfrac{7\pi}8,\; \tfrac{14}3",
    SOURCE + "; moments of the half-normal",
)
def price_of_a_weight(seed):
    """Half-normal data, mean or variance before truncation by generalised matching: quadrature against moments."""
    for name, family, theta, (h, h_prime), right in HALF_NORMAL:
        yield name, Sides(_variance(family, theta, "generalised", h=h, h_prime=h_prime), number(right))


@CHAPTER.example(
    "the Stein-kernel weight costs nothing",
    r"h = \frac{\tau}{F'},\; \tau(x) = \tfrac1{p(x)} \int_x^\infty (F - E F)\,p \;\Rightarrow\; n \operatorname{Var} \hat\theta = \frac1{\operatorname{Var} F}",
    "Ley, Reinert & Swan (2017), Probab. Surv. 14:1-52, for tau",
)
def stein(seed):
    """With this weight the equation of the loss is that of the likelihood, and h(0) = 0 comes out by itself. Cut normal means, closed variances."""
    from scipy.special import log_ndtr

    for mean in (-2.0, 0.0, 1.5):
        ratio = np.exp(-0.5 * mean**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(mean))  # phi(mean) / Phi(mean)
        bound = 1 / (1 - mean * ratio - ratio**2)
        by_hand = lambda x, m=mean + ratio: (x - m, np.ones((len(x), 1, 1)), np.zeros((len(x), 1, 1, 1)))
        h, h_prime = stein_weight(cut_mean, mean, derivatives=by_hand)
        found = _variance(cut_mean, mean, "generalised", h=h, h_prime=h_prime, derivatives=by_hand, rtol=1e-12)
        yield f"mean {mean:g}", Sides(found, number(bound, 64 * np.finfo(float).eps * bound**2))
        yield f"mean {mean:g}: h(0)", Sides(number(1 + h(np.zeros((1, 1))).item(), 1e-14), number(1, 0))


@CHAPTER.counterexample(
    "score matching taken for efficient",
    r"n \operatorname{Var} \hat\mu - \frac1{\operatorname{Var} x} = \pi - \frac{1}{1 - 2/\pi}",
    SOURCE,
)
def not_efficient(seed):
    """h = x on half-normal data needs 14 per cent more samples for the mean than maximum likelihood."""
    h, h_prime = linear_weight()
    bound = 1 / (1 - 2 / np.pi)
    held = failing("the loss is efficient, excess of the variance", np.pi - bound)
    found = _variance(cut_mean, 0.0, "generalised", h=h, h_prime=h_prime)
    yield "h = x, mean", Sides(found, number(bound), (held,), number(np.pi - bound))


@CHAPTER.counterexample(
    "the second derivative taken for the error",
    r"A^{-1} - A^{-1} B A^{-1} = \sqrt{\tfrac\pi2} - \pi",
    SANDWICH,
)
def inverse_hessian(seed):
    """For a likelihood A = B and A^-1 / n is the covariance. For score matching it is not: here too small by more than a half."""
    h, h_prime = linear_weight()
    A = integrated(lambda x: {"h": h(x)[:, 0]}, cut_mean(0.0)).value["h"]
    held = failing("A = B, change of the variance", np.sqrt(np.pi / 2) - np.pi)
    right = _variance(cut_mean, 0.0, "generalised", h=h, h_prime=h_prime)
    yield "h = x, mean", Sides(number(1 / A, 1e-12), right, (held,), number(np.sqrt(np.pi / 2) - np.pi))


# ------------------------------------------------------------------------------- noise


@NOISE.example(
    "a learned score errs where data are few",
    r"n\, E|\hat s - s_0|^2(x) = \nabla F^\top A^{-1} B A^{-1} \nabla F, \quad s = \theta \cdot \nabla F,\; \nabla F = (1, x, x^2, x^3)",
    "Song & Ermon (2019), arXiv:1907.05600, section 3.2.1; the sandwich, " + SANDWICH,
)
def shells(seed):
    """A cubic fitted to normal data by the implicit loss: its mean squared error in shells of density, by quadrature against moments. From
    |x| < 1, where two thirds of the data are, to |x| > 3, where three in a thousand are, it grows 190-fold."""
    p = Gaussian(0.0, 1.0)
    powers = lambda x: x ** np.arange(4)  # phi (n, 4)
    slopes = lambda x: -x * powers(x) + np.arange(4) * x ** np.maximum(np.arange(4) - 1, 0)  # s_0 phi + phi'
    product = lambda f: lambda x: {f"{i}{j}": f(x)[:, i] * f(x)[:, j] for i in range(4) for j in range(4)}
    A, B = (np.reshape([*integrated(product(f), p).value.values()], (4, 4)) for f in (powers, slopes))
    C = np.linalg.inv(A) @ B @ np.linalg.inv(A)
    # in integers: moments of N(0, 1) and the coefficients of the slopes
    moment = np.array([1, 0, 1, 0, 3, 0, 15, 0, 105.0])
    g = np.zeros((4, 5))
    for k in range(4):
        g[k, k + 1], g[k, max(k - 1, 0)] = -1, k
    index = np.add.outer(np.arange(4), np.arange(4))
    exact = (
        np.linalg.inv(moment[index])
        @ (g @ moment[np.add.outer(np.arange(5), np.arange(5))] @ g.T)
        @ np.linalg.inv(moment[index])
    )
    inner = None
    for a, b in ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, np.inf)):
        inside = lambda x, a=a, b=b: (np.abs(x[:, 0]) > a) & (np.abs(x[:, 0]) < b)
        error = lambda x, inside=inside: np.stack(
            [inside(x) * np.einsum("ni,ij,nj->n", powers(x), C, powers(x)), inside(x) * 1.0], 1
        )
        edges = tuple(s * e for e in (a, b) for s in (-1, 1) if 0 < e < np.inf)
        top, mass = expectation(error, p, breaks=(tuple(sorted(edges)),)).value
        partial = _normal_moments(a, b)
        right = np.sum(exact * partial[index]) / partial[0]
        yield (
            f"{a:g} < |x| < {b:g}: {right:.4g}",
            Sides(number(top / mass, 1e-10 * right), number(right, 1e-12 * right)),
        )
        if inner is not None:
            yield f"|x| > {a:g} beside the shell within", Sides(number(right, 0), number(inner, 0), relation=">=")
        inner = right


def _normal_moments(a, b):
    """E[x^k; a < |x| < b] for k = 0 .. 6 under N(0, 1), by parts: M_k = (k - 1) M_(k-2) + 2 (a^(k-1) phi(a) - b^(k-1) phi(b))."""
    phi = lambda t: np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)
    ends = lambda k: 2 * (a ** (k - 1) * phi(a) - (b ** (k - 1) * phi(b) if np.isfinite(b) else 0.0))
    M = np.zeros(7)
    M[0] = math.erfc(a / math.sqrt(2)) - math.erfc(b / math.sqrt(2))
    for k in (2, 4, 6):
        M[k] = (k - 1) * M[k - 2] + ends(k)
    return M


@NOISE.example(
    "the price of noise",
    r"x \sim N(\theta, v): \quad n \operatorname{Var} \hat\theta = v + \frac{v^2}{\sigma^2} \;\text{(one } \epsilon \text{ a sample)}, \quad v \;\text{(endless)}",
    VINCENT + "; the minimiser is the mean of x - (v / sigma) eps",
)
def price_of_noise(seed):
    """Little noise drawn once is dear: the target -eps/sigma is loud. Drawn again for every step of a long training it costs nothing here."""
    v = 2.0
    family = lambda mean: Gaussian(mean, v)
    for sigma in (0.5, 3.0):
        yield (
            f"sigma = {sigma:g}, one eps",
            Sides(_variance(family, 0.3, "denoising", sigma=sigma), number(v + v**2 / sigma**2)),
        )
    found = _variance(family, 0.3, "denoising", sigma=1.0, noise="integrated", rtol=1e-11)
    yield "sigma = 1, endless", Sides(found, number(v))


@NOISE.example(
    "the price of slices",
    r"x \sim N(0, I/\theta): \quad n \operatorname{Var} \hat\theta = \frac{2\theta^2}{d} \left(1 + \frac{c}{M}\right), \quad c = 1 \;\text{(Gaussian)},\; 0 \;\text{(Rademacher)}",
    "Song, Garg, Shi & Ermon (2019), arXiv:1905.07088, with variance reduction",
)
def price_of_slices(seed):
    """M probes a sample: their variance adds to that of the samples. Random signs see the trace of a multiple of I without error."""
    d, theta = 2, 1.5
    family = lambda t: Gaussian(np.zeros(d), 1 / t)
    for probe, M, c in (("gaussian", 1, 1.0), ("gaussian", 4, 0.25), ("rademacher", 1, 0.0)):
        found = _variance(family, theta, "sliced", probe=probe, n_probes=M, rtol=1e-11)
        yield f"{probe}, M = {M}", Sides(found, number(2 * theta**2 / d * (1 + c)))


@NOISE.counterexample(
    "the weight of far modes by the implicit loss",
    r"\frac{n \operatorname{Var} \hat w}{n \operatorname{Var} \hat w_{ML}}: \; 1.66, 9.42, 139.5, 5543 \;\text{at modes } \pm m,\; m = 1..4",
    KOEHLER,
)
def far_modes(seed):
    """Between far modes hardly a sample says what they weigh. Differences of the family against derivatives by hand, over the bound."""
    for m in (1.0, 2.0, 3.0, 4.0):
        family = lambda w, m=m: GaussianMixture([w, 1 - w], [[-m], [m]], 1.0)
        p = family(0.5)

        def columns(x, m=m, p=p):
            r = 1 / (1 + np.exp(np.clip(2 * m * x[:, 0], -700, 700)))  # of the left mode
            ds, dtrace = -8 * m * r * (1 - r), 16 * m**2 * r * (1 - r) * (1 - 2 * r)
            push = p.score(x)[:, 0] * ds + dtrace
            return {"A": ds**2, "B": push**2, "information": (4 * r - 2) ** 2}

        A, B, information = (integrated(columns, p).value[name] for name in ("A", "B", "information"))
        ratio = B / A**2 * information
        held = failing("the loss is efficient, ratio of the variances less 1", ratio - 1)
        found = asymptotic_variance(family, 0.5) / asymptotic_variance(family, 0.5, "likelihood")
        left = number(found.item(), 5e-11 * ratio)
        yield f"m = {m:g}", Sides(left, number(1, 0), (held,), number(ratio - 1, 5e-11 * ratio), f"ratio {ratio:.7g}")
