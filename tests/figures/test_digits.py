"""figures/digits.py, small: its parts fit together, and the Gaussian's bits are those of SciPy on raw grey levels."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import numpyscore as ns

SPEC = importlib.util.spec_from_file_location("digits_figure", Path(__file__).parents[2] / "figures" / "digits.py")
figure = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(figure)


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpyscore.learning.task.SMALL", 100)  # one training, not sixteen
        patch.setattr("numpyscore.learning.agreement.ROWS", 20)
        return figure.numbers(steps=2, held_out=20, shown=4, trained=200)


def test_the_figure_runs_small_and_its_gaussian_is_scipys(small, tmp_path):
    from scipy.stats import multivariate_normal

    sheets, distances, errors, network, gaussian, flow = small
    assert all(images.shape == (4, 64) for images in sheets.values()) and network.shape == gaussian.shape == (20,)
    assert np.isfinite(network).all() and flow.model.conditional
    assert errors["noisy"].mean() == pytest.approx(1, abs=4 * np.sqrt(2 / (20 * 64)))  # NOISE squared
    rng = np.random.default_rng(0)  # the same draws again, in grey levels
    raw = ns.digits()
    raw = raw + rng.random(raw.shape)
    rows = rng.permutation(len(raw))
    train, test = raw[rows[:200]], raw[rows[1437:1457]]
    log_p = multivariate_normal(train.mean(0), np.cov(train.T, bias=True)).logpdf(test)
    np.testing.assert_allclose(
        gaussian, -log_p / 64 / np.log(2), rtol=1e-9
    )  # eps times the condition number, about 1e4
    distance = lambda a, b: np.sqrt(np.sum((a - b) ** 2))
    for image, like, far in zip(sheets["samples"], sheets["nearest"], distances["samples"], strict=False):
        assert far == pytest.approx(distance(image, like), rel=1e-6)
        assert far <= min(distance(image, (row + 0.5) / 17) for row in ns.digits()[rows[:200]]) + 0.5 / 17 * 8
    figure.draw((sheets, distances, errors, network, gaussian)).savefig(tmp_path / "digits.png")
    assert (tmp_path / "digits.png").stat().st_size > 10000


def test_control_the_claim_fails_for_a_network_that_has_learned_nothing(small, monkeypatch):
    monkeypatch.setattr(figure, "numbers", lambda: small)
    with pytest.raises(AssertionError):
        figure.measure()


def test_pixels_are_dequantised_anew_and_keep_their_grey_level():
    """The objective moves u alone: with noise and levels fixed, its rows stay within one grey level of those that came in."""
    x = (ns.digits()[:50] + 0.5) / 17
    mean, scale = x.mean(0), 0.3 + x.std(0)
    seen = []

    class Spy:
        @staticmethod
        def multilevel_denoising(net, z, sigmas, level, rng):
            seen.append(17 * (mean + scale * z))

    original, figure.ns = figure.ns, Spy
    try:
        figure.multilevel(mean, scale)(None, (x - mean) / scale, np.ones(3), np.random.default_rng(1))
    finally:
        figure.ns = original
    np.testing.assert_array_equal(np.floor(seen[0] + 1e-9), ns.digits()[:50])
    assert np.std(seen[0] - np.floor(seen[0])) > 0.25  # of a uniform: 0.289
