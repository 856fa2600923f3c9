"""numpyscore: the reference implementation of score matching, in pure NumPy.

Score means, everywhere, the gradient of log p with respect to x: not a likelihood, not a gradient in the parameters.
"""

from .check import (
    CheckReport,
    check_conservative,
    check_density,
    check_gradient,
    check_loss,
    check_rows,
    check_sampler,
    check_score,
    check_trace,
)
from .data.csv import CSVError, from_csv
from .data.datasets import (
    checkerboard,
    digits,
    eight_gaussians,
    old_faithful,
    rings,
    song_ermon_mixture,
    standardise,
    swiss_roll,
    two_moons,
)
from .densities import (
    Banana,
    Beta,
    Exponential,
    Gamma,
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
from .densities.noise import (
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
from .densities.weights import box_weight, capped_weight, distance_weight, linear_weight, log_weight, square_weight
from .derivations import Verdict, Verdicts, verify, verify_line
from .estimation import estimators
from .estimation.asymptotics import asymptotic_variance, efficiency, stein_weight
from .estimation.errors import sandwich
from .learning.fit import Fit, fit
from .learning.units import Units, load_fitted, load_ladder
from .networks.activations import Activation
from .networks.models import EnergyMLP, ScoreMLP, load
from .numerics.quadrature import Integral, expectation, flux, integrate
from .objectives.arrays import (
    denoising_loss,
    explicit_loss,
    finite_difference_energy_loss,
    finite_difference_score_loss,
    generalised_loss,
    implicit_loss,
    sliced_loss,
)
from .objectives.denoising import denoising, multilevel_denoising
from .objectives.implicit import explicit, generalised, implicit
from .objectives.loss import Loss
from .objectives.regularised import regularised
from .objectives.sliced import finite_difference_sliced, sliced
from .sampling.annealing import annealed_importance_sampling, tempered_langevin
from .sampling.diagnostics import effective_sample_size, energy_distance, kernel_stein_discrepancy, split_r_hat
from .sampling.draw import draw
from .sampling.flow import bits_per_dimension, fokker_planck_residual, log_likelihood, sample_flow, transport
from .sampling.langevin import Chains, annealed_langevin, langevin, predictor_corrector, reverse_diffusion, tweedie
from .sampling.normaliser import log_normaliser
from .sampling.targets import Ladder
from .vectors.compare import compare, read_vectors

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Banana",
    "Beta",
    "CSVError",
    "Chains",
    "CheckReport",
    "EnergyMLP",
    "Exponential",
    "Fit",
    "Gamma",
    "Gaussian",
    "GaussianMixture",
    "HalfNormal",
    "Integral",
    "Ladder",
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
    "Verdicts",
    "annealed_importance_sampling",
    "annealed_langevin",
    "asymptotic_variance",
    "bias",
    "bits_per_dimension",
    "box_weight",
    "capped_weight",
    "check_conservative",
    "check_density",
    "check_gradient",
    "check_loss",
    "check_rows",
    "check_sampler",
    "check_score",
    "check_trace",
    "checkerboard",
    "compare",
    "cosine_levels",
    "coverage",
    "denoising",
    "denoising_loss",
    "digits",
    "distance_weight",
    "draw",
    "effective_sample_size",
    "efficiency",
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
    "fokker_planck_residual",
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
    "load_ladder",
    "log_likelihood",
    "log_normaliser",
    "log_weight",
    "multilevel_denoising",
    "old_faithful",
    "perturb",
    "predictor_corrector",
    "read_vectors",
    "regularised",
    "reverse_diffusion",
    "rings",
    "sample_flow",
    "sandwich",
    "sliced",
    "sliced_loss",
    "song_ermon_mixture",
    "split_r_hat",
    "square_weight",
    "standardise",
    "stein_weight",
    "suggest_levels",
    "swiss_roll",
    "tempered_langevin",
    "transport",
    "tweedie",
    "two_moons",
    "verify",
    "verify_line",
    "visibility",
]
