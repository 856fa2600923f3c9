"""Accuracy of the densities' log p and score against 80 digits, where every number carries its scale S with it.

A `Sized` is a decimal and the size of its terms: of a sum the sum of sizes, of a product |a| size_b + size_a |b| - |a b|,
of a function f(a) |f(a)| + |f'(a)| size: what the rounding of the terms does to it, to first order.
The formulas are written down here as the docstrings have them, one point at a time.
"""

import sys
from collections import defaultdict
from decimal import Decimal

import digits as dg
import numpy as np

import numpyscore as ns
from numpyscore.vectors.decimals import context, derivatives, pi

NUMBER = 3000  # densities
TARGET = 32  # eps S


class Sized:
    """A decimal and its scale."""

    def __init__(self, value, size=None):
        self.value = value if isinstance(value, Decimal) else Decimal(value)
        self.size = abs(self.value) if size is None else size

    def __add__(self, other):
        other = sized(other)
        return Sized(self.value + other.value, self.size + other.size)

    def __mul__(self, other):
        other = sized(other)
        a, b = abs(self.value), abs(other.value)
        return Sized(self.value * other.value, a * other.size + self.size * b - a * b)

    def __neg__(self):
        return Sized(-self.value, self.size)

    def __sub__(self, other):
        return self + -sized(other)

    def __rsub__(self, other):
        return sized(other) - self

    def through(self, f, slope):
        """f(a), whose size is |f| + |f'| size."""
        return Sized(f, abs(f) + abs(slope) * self.size)

    def __truediv__(self, other):
        b = sized(other)
        return self * b.through(1 / b.value, 1 / b.value**2)

    def __rtruediv__(self, other):
        return sized(other) / self

    def __abs__(self):
        return Sized(abs(self.value), self.size)

    def exp(self):
        return self.through(self.value.exp(), self.value.exp())

    def log(self):
        return self.through(self.value.ln(), 1 / self.value)

    def sqrt(self):
        root = self.value.sqrt()
        return self.through(root, 1 / (2 * root))

    __radd__, __rmul__ = __add__, __mul__


def sized(a):
    """As a Sized: itself, or a number as it is."""
    return (
        a
        if isinstance(a, Sized)
        else Sized(Decimal(float(a)) if isinstance(a, float) else Decimal(int(a)) if not isinstance(a, Decimal) else a)
    )


def vector(a):
    """A list of Sized."""
    return [Sized(Decimal(float(v))) for v in a]


def log_gamma(x):
    """Stirling's series with Bernoulli numbers, after a shift past 60."""
    from fractions import Fraction
    from math import comb

    shift, bernoulli = Decimal(0), [Fraction(1)]
    while x < 60:
        shift, x = shift + x.ln(), x + 1
    total = (x - Decimal("0.5")) * x.ln() - x + (2 * pi()).ln() / 2
    for m in range(1, 81):
        bernoulli.append(-sum(comb(m + 1, k) * bernoulli[k] for k in range(m)) / (m + 1))
        if m % 2 == 0:
            total += Decimal(bernoulli[m].numerator) / bernoulli[m].denominator / (m * (m - 1) * x ** (m - 1))
    return total - shift


def gamma_term(x, size=1):
    """log Gamma of a Sized; what it costs to round x is 1 + |x log x| at most."""
    value = log_gamma(x.value)
    return Sized(value, abs(value) + x.size * (1 + abs(x.value.ln())))


def normal_cdf(a):
    """Phi of a decimal."""
    return (1 + derivatives("erf", a / Decimal(2).sqrt())[0]) / 2


# ------------------------------------------------------------------------------- densities: (log p, score) of one point


def cholesky(C):
    """L of a covariance, rows of Sized."""
    d = len(C)
    L = [[sized(0)] * d for _ in range(d)]
    for i in range(d):
        for j in range(i + 1):
            left = sum((L[i][k] * -L[j][k] for k in range(j)), sized(float(C[i, j])))
            L[i][j] = left.sqrt() if i == j else left / L[j][j]
    return L


def whitened(x, mean, C):
    """y = L^-1 (x - m), Sigma^-1 (x - m), sum of log L_ii."""
    L, d = cholesky(C), len(x)
    y, w = [], [sized(0)] * d
    for i in range(d):
        y.append(sum((L[i][k] * -y[k] for k in range(i)), x[i] - mean[i]) / L[i][i])
    for i in reversed(range(d)):
        w[i] = sum((L[k][i] * -w[k] for k in range(i + 1, d)), y[i]) / L[i][i]
    return sum((a * a for a in y), sized(0)), w, sum((L[i][i].log() for i in range(d)), sized(0))


LOG_2PI = lambda: Sized((2 * pi()).ln())


def gaussian(x, mean, C):
    q, w, log_det = whitened(x, vector(mean), C)
    return -q * 0.5 - log_det - LOG_2PI() * (len(x) * 0.5), [-a for a in w]


def mixture(x, weights, means, covs):
    total = sum(vector(weights), sized(0))
    parts = [gaussian(x, m, C) for m, C in zip(means, covs, strict=True)]
    logs = [l + (w / total).log() for w, (l, _) in zip(vector(weights), parts, strict=True)]
    most = max(l.value for l in logs)
    e = [(l - Sized(most)).exp() for l in logs]
    whole = sum(e, sized(0))
    score = [sum((r * s[i] for r, (_, s) in zip(e, parts, strict=True)), sized(0)) / whole for i in range(len(x))]
    return whole.log() + Sized(most, max(l.size for l in logs)), score


def student(x, df, mean, C):
    q, w, log_det = whitened(x, vector(mean), C)
    nu, d = sized(df), len(x)
    half = (nu + d) * 0.5
    log_p = (
        gamma_term(half)
        - gamma_term(nu * 0.5)
        - (nu * Sized(pi())).log() * (d * 0.5)
        - log_det
        - half * (1 + q / nu).log()
    )
    return log_p, [-(nu + d) / (nu + q) * a for a in w]


def product(one):
    """A density of independent coordinates, from one coordinate's (log p, score)."""

    def all_of(x, *parameters):
        found = [one(a, *(sized(float(p[i])) for p in parameters)) for i, a in enumerate(x)]
        return sum((l for l, _ in found), sized(0)), [s for _, s in found]

    return all_of


def sign(a):
    return 1 if a.value > 0 else -1 if a.value < 0 else 0


def logistic(x, loc, scale):
    z = (x - loc) / scale
    e = (-abs(z)).exp()
    return -abs(z) - 2 * (1 + e).log() - scale.log(), -sign(z) * (1 - e) / (1 + e) / scale


def laplace(x, loc, scale):
    z = (x - loc) / scale
    return -abs(z) - (2 * scale).log(), -sign(z) / scale


def exponential(x, rate):
    return rate.log() - rate * x, -rate


def half_normal(x, scale):
    z = x / scale
    return (Sized(2 / pi())).log() * 0.5 - scale.log() - z * z * 0.5, -z / scale


def gamma(x, shape, rate):
    return shape * rate.log() - gamma_term(shape) + (shape - 1) * x.log() - rate * x, (shape - 1) / x - rate


def beta(x, a, b):
    norm = gamma_term(a) + gamma_term(b) - gamma_term(a + b)
    return (a - 1) * x.log() + (b - 1) * (1 - x).log() - norm, (a - 1) / x - (b - 1) / (1 - x)


def uniform(x, lower, upper):
    return -(upper - lower).log(), sized(0)


def box(x, mean, var, lower, upper):
    sd = var.sqrt()
    z = (x - mean) / sd
    at = [normal_cdf(((end - mean) / sd).value) if end is not None else None for end in (lower, upper)]
    inside = at[1] - at[0]
    reach = sum(((end - mean) / sd).size * (-(((end - mean) / sd).value ** 2) / 2).exp() for end in (lower, upper))
    log_in = Sized(inside.ln(), abs(inside.ln()) + (inside + reach) / inside)
    return -z * z * 0.5 - sd.log() - LOG_2PI() * 0.5 - log_in, -(x - mean) / var


def banana(x, bend, spread):
    a, b, d = sized(spread), sized(bend), len(x)
    y = list(x)
    y[1] = x[1] + b * (x[0] - a) * (x[0] + a)
    rest = sum((v * v for v in y[1:]), sized(0))
    first = x[0] / a
    score = [-x[0] / (a * a) - 2 * b * x[0] * y[1], *(-v for v in y[1:])]
    return -(first * first + rest) * 0.5 - a.log() - LOG_2PI() * (d * 0.5), score


def ring(x, radius, width):
    R, w, d = sized(radius), sized(width), len(x)
    r = sum((a * a for a in x), sized(0)).sqrt()
    rho = (R / w).value
    moment = pi().sqrt() / Decimal(2).sqrt() * 2 * normal_cdf(rho)
    I = [moment, rho * moment + (-rho * rho / 2).exp()]  # in units of w
    for m in range(2, d):
        I.append(rho * I[m - 1] + (m - 1) * I[m - 2])
    sphere = Decimal(2).ln() + pi().ln() * d / 2 - log_gamma(Decimal(d) / 2)
    norm = Sized(sphere) + d * w.log() + Sized(I[d - 1].ln(), 1 + abs(I[d - 1].ln()))
    z = (r - R) / w
    return -z * z * 0.5 - norm, [-z / w * a / r for a in x]


def covariance(rng, d):
    """Random axes and standard deviations between 0.5 and 2."""
    Q, _ = np.linalg.qr(rng.standard_normal((d, d)))
    C = (Q * rng.uniform(0.25, 4, d)) @ Q.T
    return 0.5 * (C + C.T)


def draw(k, seed):
    """The k-th density: (name, the package's, the formula's arguments)."""
    rng = np.random.default_rng([seed, k])
    d = int(rng.integers(1, 4))
    m, C, s = rng.normal(size=d), covariance(rng, d), rng.uniform(0.5, 2, d)
    low = m - rng.uniform(0, 2, d) * s
    high = low + rng.uniform(0.5, 3, d)
    w = rng.uniform(0.2, 1, 3)
    means, covs = 3 * rng.normal(size=(3, d)), [covariance(rng, d) for _ in range(3)]
    data = rng.normal(size=(7, d))
    bend, spread, radius, width, df = rng.uniform(-0.5, 0.5), *rng.uniform(0.5, 3, 3), rng.uniform(1, 9)
    a, b = rng.uniform(1.1, 5, (2, d))
    return [
        ("Gaussian", ns.Gaussian(m, C), gaussian, (m, C)),
        ("GaussianMixture", ns.GaussianMixture(w / w.sum(), means, covs), mixture, (w / w.sum(), means, covs)),
        ("Parzen", ns.Parzen(data, 0.25), mixture, (np.ones(7), data, [np.eye(d) * 0.25**2] * 7)),
        ("StudentT", ns.StudentT(df, m, C), student, (df, m, C)),
        ("Logistic", ns.Logistic(m, s), product(logistic), (m, s)),
        ("Laplace", ns.Laplace(m, s), product(laplace), (m, s)),
        ("Exponential", ns.Exponential(s), product(exponential), (s,)),
        ("HalfNormal", ns.HalfNormal(s), product(half_normal), (s,)),
        ("Gamma", ns.Gamma(a, s), product(gamma), (a, s)),
        ("Beta", ns.Beta(a, b), product(beta), (a, b)),
        ("Uniform", ns.Uniform(low, high), product(uniform), (low, high)),
        ("TruncatedGaussian", ns.TruncatedGaussian(m, np.diag(s), low, high), product(box), (m, s, low, high)),
        ("Banana", ns.Banana(bend, spread, d + 1), banana, (bend, spread)),
        ("Ring", ns.Ring(radius, width, d + 1), ring, (radius, width)),
    ][k % 14], rng


def points(p, rng):
    """Two draws, one of them moved away from the others; within the support."""
    x = p.sample(3, rng=rng)
    far = rng.choice([1e-6, 1e-2, 10, 1e3]) * x[:1]
    inside = (
        bool(np.all(p.support.contains(far))) if hasattr(p.support, "contains") else np.isfinite(p.logpdf(far)).all()
    )
    return np.vstack([x, far]) if inside else x


def errors(k, seed):
    """(name, worst error of log p, of the score) in eps S."""
    (name, p, formula, arguments), rng = draw(k, seed)
    x = points(p, rng)
    log_p, score, worst = p.logpdf(x), p.score(x), [0.0, 0.0]
    with context(dg.DIGITS):
        for i, row in enumerate(x):
            exact_log, exact_score = formula(vector(row), *arguments)
            for j, (got, exact) in enumerate(
                [(log_p[i], exact_log), *((g, e) for g, e in zip(score[i], exact_score, strict=True))]
            ):
                off = abs(Decimal(float(got)) - exact.value)
                if off:
                    worst[j > 0] = max(
                        worst[j > 0], float(off / exact.size) / np.finfo(float).eps if exact.size else np.inf
                    )
    return name, *worst


def report(args):
    """Rows of the table."""
    worst = defaultdict(lambda: [0.0, 0.0, 0])
    for k in range(max(28, round(NUMBER * args.share))):
        name, log_p, score = errors(k, args.seed)
        row = worst[name]
        row[:] = max(row[0], log_p), max(row[1], score), row[2] + 1
    rows = [
        (f"{name}: log p, score, eps S", f"<= {TARGET}", f"{a:.2g}, {b:.2g} ({n})") for name, (a, b, n) in worst.items()
    ]
    return rows, ""


if __name__ == "__main__":
    worst = defaultdict(lambda: [0.0, 0.0, 0])
    for k in range(int(sys.argv[1])):
        name, log_p, score = errors(k, 0)
        row = worst[name]
        if max(log_p, score) > 8:
            print(k, name, log_p, score)
        row[:] = max(row[0], log_p), max(row[1], score), row[2] + 1
    print(dict(worst))
