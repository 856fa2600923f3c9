"""numpyscore: the reference implementation of score matching, in pure NumPy.

Score means, everywhere, the gradient of log p with respect to x: not a likelihood, not a gradient in the parameters.
"""

from .activations import Activation
from .datasets import (
    CSVError,
    checkerboard,
    digits,
    eight_gaussians,
    from_csv,
    old_faithful,
    rings,
    song_ermon_mixture,
    standardise,
    swiss_roll,
    two_moons,
)
from .densities import (
    Banana,
    Exponential,
    Gaussian,
    GaussianMixture,
    HalfNormal,
    Laplace,
    Logistic,
    Parzen,
    Ring,
    StudentT,
    TruncatedGaussian,
    Uniform,
)
from .derivations import Verdict, verify
from .models import EnergyMLP, ScoreMLP, load
from .objectives import Loss, explicit, implicit
from .quadrature import Integral, expectation, flux, integrate

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Banana",
    "CSVError",
    "EnergyMLP",
    "Exponential",
    "Gaussian",
    "GaussianMixture",
    "HalfNormal",
    "Integral",
    "Laplace",
    "Logistic",
    "Loss",
    "Parzen",
    "Ring",
    "ScoreMLP",
    "StudentT",
    "TruncatedGaussian",
    "Uniform",
    "Verdict",
    "checkerboard",
    "digits",
    "eight_gaussians",
    "expectation",
    "explicit",
    "flux",
    "from_csv",
    "implicit",
    "integrate",
    "load",
    "old_faithful",
    "rings",
    "song_ermon_mixture",
    "standardise",
    "swiss_roll",
    "two_moons",
    "verify",
]
