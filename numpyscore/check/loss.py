"""Is a loss the score-matching loss that it is meant to be, and if not, which of its terms is wrong?

The user's loss is called on random probe models whose score, Jacobian and trace are closed forms, in half a dozen settings of n, d,
sigma and the number of probes. Within a setting everything but the model stays, so the loss must be K (square + linear term) +
constant with one K; linear regression finds the coefficients of both, and, where they do not explain the numbers to round-off, the
terms that do. How a coefficient depends on n, d and sigma then says what it is.
"""

import numpy as np

from ..common.inputs import generator, positive
from ..densities.weights import linear_weight
from .calling import LossCaller, Setting
from .investigation import investigate
from .terms import ALIASES, OBJECTIVES

SIZES = ((6, 2), (6, 3), (11, 3), (11, 4), (7, 4), (7, 4))  # (n, d): powers of n, d, sigma, m tell themselves apart
LEVELS = (0.5, 0.8, 0.5, 0.3, 0.8, 0.8)  # below 1: a variance-preserving loss takes 1 - sigma^2
CURVED = (
    (lambda x: x + x**2 / 4),
    (lambda x: 1 + x / 2),
)  # a weight whose derivative is no constant, for losses that are told both
COUNTS = (1, 2, 3, 1, 2, 2)


def check_loss(loss, *, objective, wrap=None, sigma=None, rng=0, model=None, weight=None, step=0.05):
    r"""Is this the loss that it is meant to be, up to a factor and a constant, and if not, what is wrong with it?

    Parameters
    ----------
    loss : callable loss(fn, x, ...) -> number, or one number per sample
        In the user's framework. fn is the model, an energy (..., d) -> (...) or a score (..., d) -> (..., d), to be called like a network
        (in NumPy also fn.energy(x), fn.score(x), fn.trace(x), fn.jacobian(x), fn.curvature(x, v), fn.jvp(x, v)); x is (n, d). Whatever the
        objective needs beyond is passed by name if the loss takes it: target_score; h, h_prime; sigma,
        noise (unit normals), alpha (1 - sigma^2), t (a time in (0, 1)); sigmas or alphas, level (of each row, an
        index); probes, n_probes; eps (the step of differences); rng, key, generator or seed. A loss may draw noise and
        probes itself: the probe models see where they are asked.
    objective : str
        "explicit", "implicit", "generalised", "denoising", "multilevel_denoising", "sliced", "finite_difference_sliced".
        "sliced" accepts the form with 1/2 |s|^2 and that with 1/2 (v.s)^2.
    wrap : None, "torch", "jax" or callable
        Makes the user's arrays from ndarrays.
    sigma : float, optional
        The level of a denoising loss that does not take sigma itself.
    rng : seed or numpy.random.Generator
        Draws probes, data and noise. The global generators that a loss may use are seeded, and restored.
    model : None, "energy", "score" or "noise"
        What fn is in this loss, "noise" being a network that predicts the noise; by default whichever the loss takes, and makes sense of.
    weight : (callable, callable), optional
        h and h' of a generalised loss, as functions of x (n, d); default x and 1, and x + x^2/4 for a loss that takes both.
    step : float
        Step that a finite-difference loss takes, or is told.

    Returns
    -------
    CheckReport
        PASS for the reference and for another convention of it (the conversion is in the notes): a factor or a constant does not move
        the minimiser. INCONCLUSIVE where the loss hides its random numbers.

    Raises
    ------
    TypeError, ValueError
        If the loss cannot be called, or the objective is unknown.

    Notes
    -----
    The noisy points of a denoising loss may be c x + sigma eps with any c (variance preserving, cosine, straight line): c and sigma are
    measured, the target must be -eps/sigma. A fn called as fn(x), not as fn.score(x), may predict eps, x, v or a velocity instead: the
    score that follows from it is in the notes.

    A multilevel loss is given three or four levels at once. The level of a row is the entry of sigmas whose change moves its noisy point;
    then the weight and the target of every level are found. Weights are a convention; a level that never turns up, a target with another
    level's sigma, and an fn that is told another level than that of its noise are not.

    With torch and jax the derivative in the model's scale is checked too: a detached graph has the right value and the wrong gradient.

    Source: the objectives as in `numpyscore.objectives`.
    """
    where = "check_loss"
    objective = ALIASES.get(objective, objective)
    if objective not in OBJECTIVES:
        raise ValueError(f"{where}: objective is {objective!r}, expected one of {', '.join(OBJECTIVES)}.")
    if model not in (None, "energy", "score", "noise") or (model == "noise" and "denoising" not in objective):
        raise ValueError(
            f"{where}: model is {model!r}, expected 'energy', 'score', for a denoising loss 'noise', or None to find out."
        )
    known = {"step": positive(where, "step", step), "weight": weight or linear_weight()}
    caller = LossCaller(where, loss, objective, wrap, known, model)
    if weight is None and {"h", "h_prime"} <= set(caller.takes):
        known["weight"] = CURVED
    if objective == "denoising" and not {"sigma", "alpha", "t"} & caller.takes.keys() and sigma is None:
        raise ValueError(
            f"{where}: loss does not take sigma; say sigma=, the noise level that it uses, or let it take it: loss(fn, x, sigma); "
            f"or alpha (x~ = sqrt(alpha) x + sqrt(1 - alpha) eps), or a time t in (0, 1)."
        )
    fixed = None if sigma is None else positive(where, "sigma", sigma)
    rng = generator(where, rng)
    counts = COUNTS if "n_probes" in caller.takes else (1,) * len(SIZES)
    settings = [
        _setting(objective, rng, n, d, fixed or s, m, known) for (n, d), s, m in zip(SIZES, LEVELS, counts, strict=True)
    ]
    return investigate(where, caller, settings, "score" if model == "noise" else model, rng)


def _setting(objective, rng, n, d, sigma, m, known):
    """Data and everything else that a loss may take, for one group of calls."""
    x = 0.3 + 1.2 * rng.standard_normal((n, d))
    extras = {
        "target": rng.standard_normal((n, d)),
        "noise": rng.standard_normal((n, d)),
        "v": rng.choice([-1.0, 1.0], (m, n, d)) * rng.uniform(0.5, 1.5, (m, n, d)),
        "sigmas": np.array([sigma]),
        "level": np.zeros(n, int),
    }
    if objective == "generalised":
        x = np.abs(x) + 0.2
        extras |= {"h": np.array(known["weight"][0](x)), "h_prime": np.array(known["weight"][1](x))}
    return Setting(n, d, sigma, m, int(rng.integers(1 << 31)), x, extras, sigma)
