"""Densities in closed form, mixtures, noise, supports and the weights that belong to them."""

from .base import Density
from .closed_forms import (
    Banana,
    Exponential,
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
    "Density",
    "Exponential",
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
