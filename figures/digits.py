"""Handwritten digits learned from 1437 of them, with no derivative but those written by hand, and judged on the other 360.

A network that knows noise levels, trained by multilevel denoising, codes held-out digits, 8 x 8 pixels dequantised as
(pixel + u)/17, with at least 0.2 bits per dimension less than a Gaussian of full covariance; its likelihood is exact, because the
trace in the probability flow is. Beside it an energy with one hidden layer, trained by the exact implicit loss.

It takes a minute or two and no chapter waits for it: ``python figures/digits.py`` writes digits.png beside itself.
"""

from pathlib import Path

import numpy as np

import numpyscore as ns
from numpyscore.display import fit_figure as portrait
from numpyscore.display import plots

SHOWN = 80
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


def numbers(steps=2000, held_out=360, shown=SHOWN, trained=1437):
    """Both fits, their samples, and bits per dimension of held-out digits by the network and by the Gaussian, each (n,)."""
    rng = np.random.default_rng(0)
    pixels = ns.digits()
    x = (pixels + rng.random(pixels.shape)) / 17
    rows = rng.permutation(len(x))
    train, test = x[rows[:trained]], x[rows[1437 : 1437 + held_out]]
    start = ns.EnergyMLP.init(64, (256, 256), "silu", confinement=1.0, conditional=True, rng=0)
    levels = ns.geometric_levels(HIGH, LOW, 22)
    objective = multilevel(*ns.standardise(train)[1:3])
    flow = ns.fit(train, objective=objective, sigma=levels, model=start, steps=steps, rate=0.003)
    plain = ns.EnergyMLP.init(64, (512,), "silu", confinement=1.0, rng=0)
    energy = ns.fit(train, objective="implicit", model=plain, steps=max(1, steps // 5), rate=0.003)
    units = flow.units
    z, z_train = units.to_standard(test), units.to_standard(train)
    log_p = ns.log_likelihood(flow.model, z, sigma_min=LOW, sigma_max=HIGH, rtol=1e-4)
    gaussian = ns.Gaussian(*ns.estimators.gaussian(z_train))
    drawn = ns.draw(flow.model, shown, sigmas=levels, method="predictor-corrector", rng=0).samples
    noisy = ns.draw(energy.model, shown, ladder=energy.ladder, rng=0).samples
    clean = ns.tweedie(noisy, energy.model.score(noisy), energy.units.sigma)
    pictures = x[rows[:shown]], units.to_data(drawn), energy.units.to_data(clean)
    return pictures, bits(log_p, units), bits(gaussian.logpdf(z), units), flow, energy


def measure(**small):
    """The three sheets and the bits per dimension of network and Gaussian, the claim asserted."""
    pictures, network, gaussian, _, _ = numbers(**small)
    gain = gaussian - network
    error = gain.std(ddof=1) / len(gain) ** 0.5
    assert gain.mean() - 2 * error > 0.2, (network.mean(), gaussian.mean(), error)
    return pictures, network, gaussian


def draw(measured=None):
    """Three sheets: digits, samples of the network, samples of the energy."""
    pictures, network, gaussian = measured or measure()
    figure, axes = plots.panels(3, width=10, height=4.8)
    titles = (
        f"digits\nGaussian: {gaussian.mean():.2f} bits per dimension, held out",
        f"samples, multilevel denoising\n{network.mean():.2f} bits per dimension, held out",
        "samples, energy with one hidden layer\nexact implicit loss, the noise taken off",
    )
    for ax, images, title in zip(axes, pictures, titles, strict=True):
        portrait.image_sheet(ax, np.clip(images, 0, 1).reshape(-1, 8, 8), 8)
        ax.set_title(title, fontsize=10)
    return figure


if __name__ == "__main__":
    measured = measure()
    print(
        f"bits per dimension of {len(measured[1])} digits: network {measured[1].mean():.3f}, Gaussian {measured[2].mean():.3f}"
    )
    with plots.style():
        draw(measured).savefig(Path(__file__).with_suffix(".png"), dpi=150)
