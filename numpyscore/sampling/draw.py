r"""Samples of a trained network, by the sampler that suits what it gives: one front door to `samplers`, `flow` and `annealing`.

Data are taken to be centred and of unit size, as `fit` standardises them: starts are drawn accordingly.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..common.inputs import count, generator, positive
from ..common.names import kind_of, nearest
from ..densities import Gaussian, TruncatedGaussian
from ..densities.noise import geometric_levels
from ..densities.support import support_of
from .annealing import tempered_langevin
from .flow import sample_flow
from .langevin import annealed_langevin, langevin, predictor_corrector, reverse_diffusion
from .targets import descending

METHODS = ("flow", "predictor-corrector", "reverse", "annealed", "tempered", "langevin")
LEVELS = 200  # through which the reverse diffusion steps down
WIDER = 0.1  # of a variance, from which samples of few steps are said to be too wide
STUCK = 0.01  # acceptance below which chains stand still
WIDE = 3.0  # standard deviation of a start that covers standardised data


class Drawn(NamedTuple):
    """samples (n, d); the method that drew them; acceptance (n,) or None; what is to be said of the method, or ""."""

    samples: np.ndarray
    method: str
    acceptance: np.ndarray | None = None
    note: str = ""

    @property
    def stuck(self):
        """Whether hardly a proposal was accepted: the chains stand where they started, and these are no samples."""
        return self.acceptance is not None and len(self.acceptance) > 0 and float(self.acceptance.mean()) < STUCK


def draw(
    model, n, *, sigmas=None, ladder=None, support=None, method="auto", n_steps=None, step=None, rng=None,
):  # fmt: skip
    """n samples of a network, (n, d), by a method that its kind allows.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP, conditional or not, of standardised data; or a `Fit`, whose samples are in the units of its data
    n : int
    sigmas : (L,) array, decreasing, in units of the standardised data
        The levels a conditional network was trained at. For a network without levels None, or the one number that it was
        trained at, which only sets the step of "langevin".
    ladder : Ladder, optional
        For a network without levels: those that training passed at larger noise, and itself last; see `fit`.
    support : (lower, upper), optional, in units of the standardised data
        Ends of the columns, each one number or (d,), infinite where there is none: samples lie within. For energies without levels.
    method : str
        For conditional networks "flow" (the default: samples of just the density of `log_likelihood`), "predictor-corrector",
        "reverse" and "annealed". For networks that come with a ladder "annealed" (the default): chains are drawn from the first network
        and come down through all; far modes get the weights they have at the largest noise, where the score knows them. For energies
        without levels "tempered", which gives far modes the weights they have in exp(-f)/Z; what these are, a score learned at
        little noise hardly knows. "langevin", for all, leaves modes the weights that the starts had.
    n_steps : int, optional
        Levels of "reverse", "predictor-corrector" (200) and "tempered" (100); steps at each level of "annealed" (100) and in
        all of "langevin" (2000).
    step : positive float, optional
        Of "langevin" and, at the last level, "annealed"; default 0.2 and 0.1 of the square of the least sigma.
    rng : seed or numpy.random.Generator

    Returns
    -------
    Drawn

    Raises
    ------
    ValueError
        If the method is not one for this network, a conditional network comes without sigmas, or a support with a network that has
        no energy, without which nothing is refused at an end.

    Test: test_drawing.py::test_every_method_draws_from_a_gaussian_family
    """
    if callable(own := getattr(model, "draw", None)):  # a Fit knows its units, levels, ladder and ends
        given = {"sigmas": sigmas, "ladder": ladder, "support": support, "n_steps": n_steps, "step": step}
        return own(n, method=method, rng=rng, **{name: value for name, value in given.items() if value is not None})
    if not hasattr(model, "conditional"):
        itself = "; it samples itself: .sample(n, rng=seed)" if hasattr(model, "sample") else ""
        raise TypeError(f"draw: model is {kind_of(model)}, expected a network or a Fit{itself}.")
    where, rng, n = "draw", generator("draw", rng), count("draw", "n", n, least=0)
    steps = None if n_steps is None else count(where, "n_steps", n_steps)
    step = None if step is None else positive(where, "step", step)
    support = None if support is None else support_of(where, support, model.dim)
    method = _method(where, model, ladder, method, support)
    if (steps and method == "flow") or (step and method not in ("annealed", "langevin")):
        option, value = ("n_steps (--steps)", n_steps) if steps and method == "flow" else ("step (--step)", step)
        raise ValueError(f"{where}: {option} is {value}, but {method!r} chooses its own; leave it out.")
    levels = noise_levels(where, model, sigmas)
    x0 = rng.standard_normal((n, model.dim))
    if method == "flow":
        return Drawn(sample_flow(model, n, sigma_min=levels[-1], sigma_max=levels[0], rng=rng), method)
    if method in ("reverse", "predictor-corrector"):
        down = reverse_diffusion if method == "reverse" else predictor_corrector
        fine = geometric_levels(levels[0], levels[-1], max(2, steps or LEVELS))
        return Drawn(down(model, levels[0] * x0, fine, rng=rng).samples, method, note=_too_wide(fine))
    if method == "annealed" and ladder is not None:
        return _down(ladder, n, support, steps, step, rng)
    if method == "annealed":
        found = annealed_langevin(model, levels[0] * x0, levels, steps or 100, step=step, rng=rng)
        return Drawn(found.samples, method)
    if method == "tempered":
        target = model if support is None else support.restricted(model)
        found = tempered_langevin(target, n, wide(model, support), n_levels=steps or 100, rng=rng)
        note = (
            "far modes have the weights of exp(-f)/Z, which a score learned at little noise hardly knows: of .2 it may make .0; "
            "for weights take a network that knows noise levels, the default of fit"
        )
        return _judged(Drawn(found.samples, method, found.acceptance, note))
    least = levels[-1] if levels is not None else 0.1
    options = {"adjusted": model.kind == "EnergyMLP", "sigma": levels[-1] if model.conditional else None, "rng": rng}
    if support is not None:
        model, x0 = support.restricted(model), TruncatedGaussian(np.zeros(model.dim), 1.0, *support).sample(n, rng=rng)
    found = langevin(model, x0, step or 0.2 * least**2, steps or 2000, **options)
    note = "far modes keep the weights of the starts, N(0, I)"
    return _judged(Drawn(found.samples, method, found.acceptance, note))


def _judged(drawn):
    """With another note where the chains stood still."""
    if not drawn.stuck:
        return drawn
    said = f"{drawn.acceptance.mean():.1%} of the proposals were accepted: these are hardly more than the starts; take a smaller step"
    return drawn._replace(note=said)


def _too_wide(levels):
    """The note where so few steps of the reverse diffusion leave a column of variance 1 wider by more than a tenth, by Euler's recursion."""
    variance = levels[0] ** 2
    for high, low in pairwise(levels):
        down = high**2 - low**2
        variance = variance * (1 - down / (1 + high**2)) ** 2 + down  # s = -x / (1 + sigma^2), and fresh noise
    right = 1 + levels[-1] ** 2  # before the noise that is left is taken off, by the same factor for both
    if variance < (1 + WIDER) * right:
        return ""
    return (
        f"{len(levels) - 1} {'steps' if len(levels) > 2 else 'step'} of the reverse diffusion {'leave' if len(levels) > 2 else 'leaves'} samples too wide, a column of variance 1 with "
        f"{variance / right:.2g}: take more (default {LEVELS} levels), or method flow"
    )


def _down(ladder, n, support, steps, step, rng):
    """From the first network of a ladder through the others, with a Metropolis test where they are energies."""
    first, sigmas = ladder.networks[0], ladder.sigmas
    x0 = draw(first, n, sigmas=sigmas[:1], support=support, rng=rng).samples
    family = ladder if support is None else lambda sigma: support.restricted(ladder(sigma))
    options = {"step": step, "adjusted": first.kind == "EnergyMLP", "rng": rng}
    found = annealed_langevin(family, x0, sigmas[1:], steps or 100, **options)
    note = "far modes have the weights of the larger noise; those in exp(-f)/Z of the last energy (method tempered) may differ"
    return _judged(Drawn(found.samples, "annealed", found.acceptance, note))


def wide(model, support):
    """A density from which chains may start: wider than standardised data, within their support. None, the confinement's, will do without."""
    if support is not None:
        return TruncatedGaussian(np.zeros(model.dim), WIDE**2, *support)
    return None if model.confinement > 0 else Gaussian(np.zeros(model.dim), WIDE**2)


def _method(where, model, ladder, method, support):
    """The method's name, fit for this network; the first of those that are is the default."""
    if support is not None and (model.conditional or model.kind != "EnergyMLP"):
        raise ValueError(
            f"{where}: a support was given and {model!r}, expected an EnergyMLP without noise levels: its energy tells a "
            f"Metropolis test what to refuse at an end, where a score alone walks through."
        )
    down = METHODS[:4] if model.conditional else METHODS[3:4] if ladder is not None else ()
    fit = [*down, *(["tempered"] if model.kind == "EnergyMLP" and not model.conditional else []), "langevin"]
    if method == "auto":
        return fit[0]
    if method not in fit:
        raise ValueError(
            f"{where}: method is {method!r}, expected {', '.join(fit)} for {model!r}{nearest(method, fit)}."
        )
    return method


def noise_levels(where, model, sigmas):
    """The levels (L,), L >= 2 if conditional; None for none."""
    if sigmas is None or (not model.conditional and not np.all(np.asarray(sigmas) > 0)):
        if model.conditional:
            raise ValueError(
                f"{where}: this network is conditional on the noise level; give sigmas, those it was trained at."
            )
        return None
    levels = [float(s) for s in descending(where, np.atleast_1d(sigmas))]
    if model.conditional and len(levels) < 2:
        raise ValueError(
            f"{where}: sigmas is {sigmas}, expected the levels of the network, at least the largest and the least."
        )
    return levels
