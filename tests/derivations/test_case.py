"""A case beyond quadrature: the estimate of what flows through a far sphere."""

import math

import numpy as np

import numpyscore as ns
from numpyscore.derivations.case import far_flux


def through_a_sphere(density, x):
    """|p(R) R| times the area of the sphere that `far_flux` takes: what s = -x sends through it, where p depends on |x - centre| alone."""
    centre, d = x.mean(0), x.shape[1]
    radius = 2 * np.sqrt(np.max(np.sum((x - centre) ** 2, 1)))
    n = np.random.default_rng(1).standard_normal((4000, d))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    at = centre + radius * n
    area = 2 * math.pi ** (d / 2) / math.gamma(d / 2) * radius ** (d - 1)
    return abs(area * np.mean(np.exp(density.logpdf(at)) * np.sum(-at * n, 1)))


def test_the_far_flux_is_the_flux_of_a_round_density_and_an_upper_estimate_of_others():
    """It is the largest of 64 points, not their mean: more than the flux where p does not fall alike on all sides. Its value is 0."""
    field = lambda x: -x
    round_, other = ns.StudentT(4.0, np.zeros(5), 1.0), ns.StudentT(4.0, np.zeros(5), np.diag([1.0, 1, 2, 2, 4]))
    for density, most in ((round_, 1.2), (other, np.inf)):
        x = density.sample(2000, rng=0)
        found, exact = far_flux(density, field, x, seed=0), through_a_sphere(density, x)
        assert found.value == 0 and "or less through a sphere" in found.note
        assert exact <= found.error <= most * exact, (exact, found)
    control = far_flux(round_, lambda x: 0.5 * field(x), round_.sample(2000, rng=0), seed=0).error
    assert control < through_a_sphere(round_, round_.sample(2000, rng=0)), "control: half the field"
