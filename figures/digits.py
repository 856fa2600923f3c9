"""Handwritten digits learned from 1437 of them, with no derivative but those written by hand, and judged on the other 360.

A network that knows noise levels, trained by multilevel denoising, codes held-out digits, 8 x 8 pixels dequantised as
(pixel + u)/17, with at least 0.2 bits per dimension less than a Gaussian of full covariance; its likelihood is exact, because the
trace in the probability flow is. Each sample stands beside the training digit that is nearest to it: it is none of them, as far from it as a
held-out digit is. Below, held-out digits with noise, and the network's best guess of the clean ones, which halves the error at least.

It takes a minute or two and no chapter waits for it: ``python figures/digits.py`` writes digits.png beside itself.
"""

from pathlib import Path

import numpy as np

import numpyscore as ns
from numpyscore.display import fit_figure as portrait
from numpyscore.display import plots

SHOWN = 24
NOISE = 1.0  # of the denoised digits, in standard deviations of a pixel
# noise levels, in standard deviations of a pixel; where it is always paper, that of u/17
HIGH, LOW = 10.0, 0.1


def bits(log_p, units):
    """Bits per dimension of grey levels, of log densities of standardised pixels."""
    return ns.bits_per_dimension(log_p, 64, scale=17 * units.scale)


def multilevel(mean, scale):
    """Multilevel denoising of pixels that are dequantised anew at each step, one level a row."""

    def objective(net, z, sigmas, rng):
        grey = np.clip(np.floor(17 * (mean + scale * z)), 0, 16)
        z = ((grey + rng.random(z.shape)) / 17 - mean) / scale
        return ns.multilevel_denoising(net, z, sigmas, level=rng.integers(len(sigmas), size=len(z)), rng=rng)

    return objective


def nearest(images, train):
    """The training digit (m, 64) nearest to each image (m, 64), and how far it is (m,)."""
    square = np.sum(images**2, 1)[:, None] - 2 * images @ train.T + np.sum(train**2, 1)
    k = np.argmin(square, 1)
    return train[k], np.linalg.norm(images - train[k], axis=1)


def numbers(steps=2000, held_out=360, shown=SHOWN, trained=1437):
    """Sheets of images (shown, 64) by name; distances from the training digits; bits per dimension of held-out digits; the fit."""
    rng = np.random.default_rng(0)
    pixels = ns.digits()
    x = (pixels + rng.random(pixels.shape)) / 17
    rows = rng.permutation(len(x))
    train, test = x[rows[:trained]], x[rows[1437 : 1437 + held_out]]
    start = ns.EnergyMLP.init(64, (256, 256), "silu", confinement=1.0, conditional=True, rng=0)
    levels = ns.geometric_levels(HIGH, LOW, 22)
    objective = multilevel(*ns.standardise(train)[1:3])
    flow = ns.fit(train, objective=objective, sigma=levels, model=start, steps=steps, rate=0.003)
    units, net = flow.units, flow.model
    z, z_train = units.to_standard(test), units.to_standard(train)
    log_p = ns.log_likelihood(net, z, sigma_min=LOW, sigma_max=HIGH, rtol=1e-4)
    gaussian = ns.Gaussian(*ns.estimators.gaussian(z_train))
    drawn = units.to_data(ns.draw(net, max(shown, 200), sigmas=levels, method="predictor-corrector", rng=0).samples)
    noisy, _ = ns.perturb(z, NOISE, rng=1)
    clean = ns.tweedie(noisy, net.score(noisy, sigma=NOISE), NOISE)
    like, far = nearest(drawn, train)
    sheets = {
        "digits": train[:shown], "samples": drawn[:shown], "nearest": like[:shown],
        "noisy": units.to_data(noisy)[:shown], "denoised": units.to_data(clean)[:shown], "clean": test[:shown],
    }  # fmt: skip
    distances = {"samples": far, "held out": nearest(test, train)[1]}
    errors = {"noisy": np.mean((noisy - z) ** 2, 1), "denoised": np.mean((clean - z) ** 2, 1)}
    return sheets, distances, errors, bits(log_p, units), bits(gaussian.logpdf(z), units), flow


def measure(**small):
    """What `numbers` gives but the fit, the claim asserted."""
    sheets, distances, errors, network, gaussian, _ = numbers(**small)
    gain = gaussian - network
    error = gain.std(ddof=1) / len(gain) ** 0.5
    assert gain.mean() - 2 * error > 0.2, (network.mean(), gaussian.mean(), error)
    far = {name: np.median(values) for name, values in distances.items()}
    assert far["samples"] > 0.8 * far["held out"], far
    assert errors["denoised"].mean() < 0.5 * errors["noisy"].mean(), {k: v.mean() for k, v in errors.items()}
    return sheets, distances, errors, network, gaussian


def pairs(left, right):
    """Two lots of images (m, 64), each of the one beside its fellow of the other, with a white column after (m, 8, 17)."""
    pages = [np.clip(images, 0, 1).reshape(-1, 8, 8) for images in (left, right)]
    return np.concatenate([*pages, np.zeros((len(left), 8, 1))], 2)


def draw(measured=None):
    """Digits; samples, each beside its nearest training digit; held-out digits noisy, denoised and clean."""
    sheets, distances, errors, network, gaussian = measured or measure()
    # a digit and its white edge are 9 pixels wide, a pair 18, a triple 26: the three sheets are as high
    figure, axes = plots.panels(3, width=10, height=3.1, gridspec_kw=plots.ratios(*(4 * w + 1 for w in (9, 18, 26))))
    images = lambda name: np.clip(sheets[name], 0, 1).reshape(-1, 8, 8)
    portrait.image_sheet(axes[0], images("digits"), 4)
    portrait.image_sheet(axes[1], pairs(sheets["samples"], sheets["nearest"]), 4)
    triples = np.concatenate(
        [images("noisy"), images("denoised"), images("clean"), np.zeros((len(sheets["clean"]), 8, 1))], 2
    )
    portrait.image_sheet(axes[2], triples, 4)
    far = {name: np.median(values) for name, values in distances.items()}
    titles = (
        f"digits, to a Gaussian\n{gaussian.mean():.2f} bits a pixel",
        f"sample | nearest training digit: {far['samples']:.2f} away,\na held-out digit {far['held out']:.2f}; "
        f"network: {network.mean():.2f} bits a pixel",
        f"noise σ = {NOISE:g} | best guess | clean, held out:\n{1 - errors['denoised'].mean() / errors['noisy'].mean():.0%} of the noise taken off",
    )
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=9, loc="left")
    return figure


if __name__ == "__main__":
    measured = measure()
    print(
        f"bits per dimension of {len(measured[3])} digits: network {measured[3].mean():.3f}, Gaussian {measured[4].mean():.3f}"
    )
    with plots.style():
        draw(measured).savefig(Path(__file__).with_suffix(".png"), dpi=150, facecolor="white")
