"""numpyscore: the reference implementation of score matching, in pure NumPy.

Score means, everywhere, the gradient of log p with respect to x: not a likelihood, not a gradient in the parameters.
"""

from . import estimators
from .activations import Activation
from .annealing import annealed_importance_sampling, tempered_langevin
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
from .diagnostics import effective_sample_size, energy_distance, kernel_stein_discrepancy, split_r_hat
from .drawing import draw
from .flow import bits_per_dimension, log_likelihood, sample_flow, transport
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
from .noise import (
    bias,
    cosine_levels,
    coverage,
    fisher_divergence,
    geometric_levels,
    kl_divergence,
    perturb,
    suggest_levels,
    visibility,
)
from .normaliser import log_normaliser
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
from .samplers import Chains, annealed_langevin, langevin, predictor_corrector, reverse_diffusion
from .training import Fit, fit
from .units import Units, load_fitted

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Banana",
    "CSVError",
    "Chains",
    "EnergyMLP",
    "Exponential",
    "Fit",
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
    "Units",
    "Verdict",
    "annealed_importance_sampling",
    "annealed_langevin",
    "bias",
    "bits_per_dimension",
    "box_weight",
    "capped_weight",
    "checkerboard",
    "cosine_levels",
    "coverage",
    "denoising",
    "denoising_loss",
    "digits",
    "draw",
    "effective_sample_size",
    "eight_gaussians",
    "energy_distance",
    "estimators",
    "expectation",
    "explicit",
    "explicit_loss",
    "finite_difference_energy_loss",
    "finite_difference_score_loss",
    "finite_difference_sliced",
    "fisher_divergence",
    "fit",
    "flux",
    "from_csv",
    "generalised",
    "generalised_loss",
    "geometric_levels",
    "implicit",
    "implicit_loss",
    "integrate",
    "kernel_stein_discrepancy",
    "kl_divergence",
    "langevin",
    "linear_weight",
    "load",
    "load_fitted",
    "log_likelihood",
    "log_normaliser",
    "multilevel_denoising",
    "old_faithful",
    "perturb",
    "predictor_corrector",
    "reverse_diffusion",
    "rings",
    "sample_flow",
    "sliced",
    "sliced_loss",
    "song_ermon_mixture",
    "split_r_hat",
    "square_weight",
    "standardise",
    "suggest_levels",
    "swiss_roll",
    "tempered_langevin",
    "transport",
    "two_moons",
    "verify",
    "visibility",
]
