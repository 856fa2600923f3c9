"""Densities in closed form, mixtures, noise, supports and the weights that belong to them."""

from .base import Density
from .closed_forms import (
    Banana,
    Beta,
    Exponential,
    Gamma,
    Gaussian,
    HalfNormal,
    Laplace,
    Logistic,
    Ring,
    StudentT,
    TruncatedGaussian,
    Uniform,
)
from .intervals import Restricted
from .mixtures import GaussianMixture, Parzen
from .surfaces import Dirichlet, VonMisesFisher

__all__ = [
    "Banana",
    "Beta",
    "Density",
    "Dirichlet",
    "Exponential",
    "Gamma",
    "Gaussian",
    "GaussianMixture",
    "HalfNormal",
    "Laplace",
    "Logistic",
    "Parzen",
    "Restricted",
    "Ring",
    "StudentT",
    "TruncatedGaussian",
    "Uniform",
    "VonMisesFisher",
]
