"""numpyscore: the reference implementation of score matching, in pure NumPy.

Score means, everywhere, the gradient of log p with respect to x: not a likelihood, not a gradient in the parameters.
"""

from . import estimators
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
from .derivations import Verdict, Verdicts, verify
from .losses import (
    box_weight,
    capped_weight,
    denoising_loss,
    explicit_loss,
    finite_difference_energy_loss,
    finite_difference_score_loss,
    generalised_loss,
    implicit_loss,
    linear_weight,
    sliced_loss,
    square_weight,
)
from .models import EnergyMLP, ScoreMLP, load
from .objectives import (
    Loss,
    denoising,
    explicit,
    finite_difference_sliced,
    generalised,
    implicit,
    multilevel_denoising,
    sliced,
)
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
    "Verdicts",
    "box_weight",
    "capped_weight",
    "checkerboard",
    "denoising",
    "denoising_loss",
    "digits",
    "eight_gaussians",
    "estimators",
    "expectation",
    "explicit",
    "explicit_loss",
    "finite_difference_energy_loss",
    "finite_difference_score_loss",
    "finite_difference_sliced",
    "flux",
    "from_csv",
    "generalised",
    "generalised_loss",
    "implicit",
    "implicit_loss",
    "integrate",
    "linear_weight",
    "load",
    "multilevel_denoising",
    "old_faithful",
    "rings",
    "sliced",
    "sliced_loss",
    "song_ermon_mixture",
    "square_weight",
    "standardise",
    "swiss_roll",
    "two_moons",
    "verify",
]
