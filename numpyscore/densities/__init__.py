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
from .mixtures import GaussianMixture, Parzen

__all__ = [
    "Banana",
    "Beta",
    "Density",
    "Exponential",
    "Gamma",
    "Gaussian",
    "GaussianMixture",
    "HalfNormal",
    "Laplace",
    "Logistic",
    "Parzen",
    "Ring",
    "StudentT",
    "TruncatedGaussian",
    "Uniform",
]
