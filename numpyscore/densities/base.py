"""What all densities share: checks of what comes in, blocks of samples, dtypes, and what follows from a few formulae.

Arithmetic is float64; results carry the common dtype of `x` and the parameters.
"""

from collections.abc import Callable

import numpy as np

from ..common.inputs import count, generator, samples
from ..common.names import missing
from .parameters import common_dtype, real

BLOCK = 262_144  # numbers per block: temporaries stay in cache and memory is bounded however many samples come in


class Density:
    """What all densities share: checks, blocks of samples, dtype, and the quantities that follow from the others.

    A density adds `_logpdf`, `_score`, `_jacobian`, `_trace` on a float64 block of samples inside the support, `_sample`,
    and a `frame`. The support is closed: at a finite end log p and score are the limits from inside, finite but for `Gamma`, `Beta` and `Dirichlet`,
    powers there.
    Samples that are not (n, d), or not finite, raise ValueError; so do samples outside the support, except in logpdf and
    energy. Constructors raise ValueError naming the parameter that is not finite, not positive where it must be, of the
    wrong shape, or not a symmetric positive definite matrix. Complex and extended precision raise TypeError.

    dim : int. support : (d, 2) array of lower and upper ends, [x], infinite where there is none.
    dtype : float32 if every parameter came as float32, else float64.
    """

    _logpdf: Callable
    _score: Callable
    _jacobian: Callable
    _trace: Callable
    _sample: Callable

    def __init__(self, support, *parameters):
        self.dtype = common_dtype(parameters)
        self.support = np.asarray(support, self.dtype).astype(float)  # ends that samples of this dtype can reach
        self.dim = len(self.support)
        self._row = self.dim**2  # numbers that one sample needs in a block

    def logpdf(self, x):
        """log p(x) of samples x (n, d): (n,) array, normalised, -inf outside the support."""

        def inside_only(x):
            value, inside = np.full(len(x), -np.inf), self._inside(x)
            value[inside] = self._logpdf(x[inside])
            return value

        return self._evaluate("logpdf", (), inside_only, x)

    def energy(self, x):
        """-log p(x) of samples x (n, d): (n,) array, inf outside the support."""
        return -self.logpdf(x)

    def score(self, x):
        """Gradient of log p in x at samples x (n, d): (n, d) array, 1/[x]."""
        return self._evaluate("score", (self.dim,), self._score, x)

    def jacobian(self, x):
        """jac[n, i, j] = d score_i / d x_j at samples x (n, d): (n, d, d) array, 1/[x]^2."""
        return self._evaluate("jacobian", (self.dim, self.dim), self._jacobian, x)

    def trace(self, x):
        """Trace of the score's Jacobian, without forming it, at x (n, d): (n,) array, 1/[x]^2."""
        return self._evaluate("trace", (), self._trace, x)

    def curvature(self, x, v):
        """v^T J v at samples x (n, d) along v (n, d): (n,) array, 1/[x]^2."""
        where = f"{type(self).__name__}.curvature"
        v = real(where, "v", samples(where, v, self.dim, name="v"))
        if v.shape != np.shape(x):
            raise ValueError(f"{where}: v has shape {v.shape}, expected {np.shape(x)}, one direction per row of x.")
        return self._evaluate("curvature", (), lambda x, v: np.einsum("ni,nij,nj->n", v, self._jacobian(x), v), x, v)

    def sample(self, n, *, rng=None):
        """n independent samples: (n, d) array of the parameters' dtype; `rng` is a seed or a numpy.random.Generator."""
        where = f"{type(self).__name__}.sample"
        x = self._sample(count(where, "n", n, least=0), generator(where, rng))
        return np.clip(x, *self.support.T).astype(self.dtype)  # rounding may leave a closed support by one ulp

    def perturbed(self, sigma):
        """Density of x + sigma * eps, eps ~ N(0, I); here NotImplementedError: the family is not closed under noise."""
        name = type(self).__name__
        raise NotImplementedError(
            f"{name}.perturbed: a {name} plus Gaussian noise is not a {name}; only Gaussian, GaussianMixture and Parzen "
            f"are closed. Use the Parzen density of samples instead: Parzen(density.sample(n, rng=0), sigma)."
        )

    def _inside(self, x):
        lower, upper = self.support.T
        return ((lower <= x) & (x <= upper)).all(axis=1)

    def _evaluate(self, name, shape, rule, x, *more):
        """rule(block of x, block of more...) of every row, in the common dtype of x, more and the parameters."""
        where = f"{type(self).__name__}.{name}"
        x = real(where, "x", samples(where, x, self.dim))
        if name != "logpdf" and not (inside := self._inside(x)).all():
            row = int(np.argmin(inside))
            raise ValueError(
                f"{where}: x[{row}] = {x[row]} lies outside the support {self.support.tolist()} (first bad row: "
                f"{row}). log p is -inf there and has no gradient; remove such rows, or model a wider support."
            )
        out = np.empty((len(x), *shape), np.result_type(self.dtype, x, *more))
        step = max(1, BLOCK // self._row)
        with np.errstate(over="ignore"):  # what is beyond the range of float64 is infinite, as everywhere
            for start in range(0, len(x), step):
                block = slice(start, start + step)
                out[block] = rule(*(a[block].astype(float, copy=False) for a in (x, *more)))
        return out

    _says: tuple = ()  # attributes that its repr tells beside the dimension

    def __repr__(self):
        told = [f"{name}={_short(getattr(self, name))}" for name in self._says]
        return f"{type(self).__name__}({', '.join([f'dim={self.dim}', *told])})"

    def __getattr__(self, name):
        raise missing(self, name)


def _short(a):
    """An array of parameters in a few words: its numbers where they are few, else its shape."""
    a = np.asarray(a)
    if a.size > 9:
        return f"<{' x '.join(map(str, a.shape))}>"
    return np.array2string(a, precision=4, separator=", ", floatmode="maxprec").replace("\n", "")


def with_dtype(dtype, density):
    """The density, with results in this dtype."""
    density.dtype = dtype
    return density
