"""Frozen distributions of SciPy as densities: the same log p, the same samples, and words for what has none."""

import numpy as np
import pytest
from scipy import stats

import numpyscore as ns
from numpyscore.cli import main
from numpyscore.densities.frozen import Frozen, is_frozen

NEW = [stats.Normal(mu=1.0, sigma=2.0)] if hasattr(stats, "Normal") else []
KINDS = [stats.gamma(3), stats.norm(1, 2), stats.multivariate_normal([0, 1], [[1, 0.3], [0.3, 2]]), *NEW]


@pytest.mark.parametrize("given", KINDS, ids=lambda given: type(given).__name__)
def test_it_has_dim_support_log_p_and_samples(given):
    density = Frozen(given)
    x = density.sample(5, rng=0)
    assert is_frozen(given) and x.shape == (5, density.dim) and density.support.shape == (density.dim, 2)
    np.testing.assert_array_equal(density.logpdf(x), np.ravel(given.logpdf(x if density.dim > 1 else x[:, 0])))
    np.testing.assert_array_equal(x, density.sample(5, rng=0))


def test_its_support_is_that_of_the_distribution():
    assert Frozen(stats.gamma(3)).support.tolist() == [[0, np.inf]]
    assert Frozen(stats.uniform(1, 2)).support.tolist() == [[1, 3]]
    assert Frozen(stats.multivariate_normal(np.zeros(2))).support.tolist() == [[-np.inf, np.inf]] * 2


@pytest.mark.parametrize(
    "given, said",
    [
        (stats.norm, r"not frozen; expected a frozen .* scipy\.stats\.norm\(\.\.\.\)"),
        (stats.poisson(3), "discrete"),
        (stats.norm([0, 1], 1), r"parameters of shape \(2,\)"),
    ],
)
def test_what_has_no_density_is_told_why(given, said):
    assert is_frozen(given)
    with pytest.raises(TypeError, match=said):
        Frozen(given)


def test_verify_takes_it_as_it_is(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("from scipy import stats\ndist = stats.gamma(3)\n")
    assert main(["verify", "--density", f"{tmp_path / 'mine.py'}:dist", "--only", "boundary term"]) == 0
    assert "gamma of SciPy" in capsys.readouterr().out
    assert all(v.ok for v in ns.verify(stats.gamma(3), only="boundary term"))


def test_a_class_in_place_of_a_density_is_told(tmp_path, capsys):
    with pytest.raises(TypeError, match=r"the class Gaussian, not one of its objects; make one"):
        ns.verify(density=ns.Gaussian)
