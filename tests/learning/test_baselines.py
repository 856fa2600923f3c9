"""What a fit is compared with: a kernel density and a mixture that a brute force, and the truth, find again."""

import numpy as np
import pytest

from numpyscore import Gaussian, GaussianMixture
from numpyscore.learning.baselines import BASELINES, RIDGE, WIDTHS, expectation_maximisation, kernel_density, mixture

TRUE = GaussianMixture([0.3, 0.7], [[-1.5, 0.0], [1.0, 0.5]], [[[0.1, 0.0], [0.0, 0.3]], [[0.3, 0.2], [0.2, 0.3]]])
ROWS = TRUE.sample(400, rng=0)


def test_the_width_of_the_kernel_is_the_best_for_each_row_under_the_others():
    x = ROWS[:60]

    def left_out(h):
        return sum(
            np.log(np.mean([np.exp(-0.5 * ((a - b) ** 2).sum() / h**2) / h**2 for j, b in enumerate(x) if j != i]))
            for i, a in enumerate(x)
        )

    assert kernel_density(x).sigma == max(WIDTHS[6:], key=left_out)


def test_a_mixture_is_found_again_and_so_is_the_number_of_its_components():
    """4 standard errors of the weight, sqrt(.3 x .7 / 400) = .023, and of the means, sqrt(.3 / 120) = .05."""
    found = mixture(ROWS)
    order = np.argsort(found.means[:, 0])
    assert len(found.weights) == 2
    np.testing.assert_allclose(found.weights[order], [0.3, 0.7], atol=0.1)
    np.testing.assert_allclose(found.means[order], TRUE.means, atol=0.2)
    # held out it loses what eleven parameters cost, about 11/2 in 400 rows, and Gaussian sampling noise
    fresh = TRUE.sample(4000, rng=1)
    loss = TRUE.logpdf(fresh) - found.logpdf(fresh)
    assert -0.01 < loss.mean() < 0.05
    assert (TRUE.logpdf(fresh) - BASELINES["gaussian"](ROWS).logpdf(fresh)).mean() > 0.3  # control: one Gaussian


def test_one_component_is_the_gaussian_of_the_moments():
    found, log_p = expectation_maximisation(ROWS, 1, np.random.default_rng(0))
    gaussian = Gaussian(ROWS.mean(0), np.cov(ROWS.T, bias=True) + RIDGE * np.eye(2))
    np.testing.assert_allclose(log_p, gaussian.logpdf(ROWS), rtol=1e-8)  # the weight of the component is 1 - 1e-10 / n
    np.testing.assert_allclose(found.logpdf(ROWS), log_p, rtol=1e-8)


@pytest.mark.parametrize("name", BASELINES)
def test_rows_that_repeat_and_columns_that_do_not_vary_have_densities_too(name):
    x = np.column_stack([np.repeat([0.0, 1.0], 10), np.full(20, 3.0)])
    assert np.isfinite(BASELINES[name](x).logpdf(x)).all()
