r"""Losses that fit a score: local functions of score, trace and curvature, each beside its cotangents.

Score means the gradient of log p in x. Conventions, everywhere: 1/2 in front of the square, sum over dimensions, mean
over samples, sigma a standard deviation. An objective knows no network: it says what a sample contributes and how
that moves with the score, and the model's one pullback turns this into the gradient in theta.
"""

import functools

import numpy as np

from .inputs import samples


class Loss:
    """A mean over samples: `value`, `per_sample` (n,), and `gradient` (p,), each computed when first read.

    Reading `gradient` first computes everything in one sweep; reading `value` first never computes a gradient. The samples
    are not copied: an x changed in place before a quantity is first read changes that quantity.
    float(loss) is its value. ``value`` is complex if the parameters are: complex steps pass through.
    """

    def __init__(self, compute):
        self._compute = compute

    @functools.cached_property
    def _both(self):
        return self._compute(True)

    @functools.cached_property
    def per_sample(self):
        """Loss of each sample (n,)."""
        return self._both[0] if "_both" in self.__dict__ else self._compute(False)[0]

    @functools.cached_property
    def value(self):
        """Mean of `per_sample`."""
        return self.per_sample.mean()

    @property
    def gradient(self):
        """Gradient of `value` in theta (p,), in its order."""
        return self._both[1]

    def __float__(self):
        return float(self.value)

    def __repr__(self):
        return f"Loss(value={self.value!r}, n={len(self.per_sample)})"


def _some(where, n):
    if n == 0:
        raise ValueError(f"{where}: x has no rows, and a loss is a mean over samples; expected at least one row.")


def _local_loss(where, model, x, sigma, local, trace=False):
    """The Loss whose sample contributes ``local(at, score)[0]``, plus the trace if asked for.

    ``local`` is given a slice of the samples and their score (n, d); it returns its term (n,) and that term's cotangent
    of the score (n, d).
    """
    x, sigma = model._input(where, x, sigma)
    _some(where, len(x))
    if trace:
        model._twice(where)

    def compute(gradient):
        terms = []

        def bars(at, here):
            term, score_bar = local(at, here["score"])
            terms.append(term)
            n = term.dtype.type(len(x))
            return {"score": score_bar / n, "trace": np.full(term.shape, 1 / n)} if gradient else None

        out, theta_bar = model._sweep(where, x, sigma, trace=trace, local=bars, gradient=gradient)
        per_sample = np.concatenate(terms)
        return per_sample + out["trace"] if trace else per_sample, theta_bar

    return Loss(compute)


def _square(a):
    """1/2 |a|^2 of each row, without conjugation, so that complex steps pass."""
    return 0.5 * np.einsum("nd,nd->n", a, a)


# ------------------------------------------------------------------------------- for arrays from elsewhere


def explicit_loss(score, target_score):
    """Explicit loss of each sample (n,) from two scores (n, d): 1/2 |s - s_0|^2. See `explicit`."""
    _same_shape("explicit_loss", score, target_score=target_score)
    return _square(np.asarray(score) - target_score)


def implicit_loss(score, trace):
    """Implicit loss of each sample (n,) from a score (n, d) and the trace of its Jacobian (n,). See `implicit`."""
    _one_number_per_row("implicit_loss", score, trace=trace)
    return _square(np.asarray(score)) + trace


def _same_shape(where, score, **others):
    for name, a in others.items():
        if np.ndim(score) != 2 or np.shape(a) != np.shape(score):
            raise ValueError(
                f"{where}: {name} has shape {np.shape(a)} and score {np.shape(score)}, expected (n, d) for both; other shapes "
                f"would broadcast and pair samples that do not belong together."
            )


def _one_number_per_row(where, score, **others):
    for name, a in others.items():
        if np.ndim(score) != 2 or np.shape(a) != np.shape(score)[:1]:
            raise ValueError(
                f"{where}: {name} has shape {np.shape(a)}, expected {np.shape(score)[:1]}, one number per row of score "
                f"{np.shape(score)}. A column would broadcast to a square and pair every sample with all the others; "
                f"pass {name}[:, 0]."
            )


# ------------------------------------------------------------------------------- explicit, implicit


def explicit(model, x, target_score, *, sigma=None):
    r"""Explicit score matching: half the squared distance to a known score (the gradient of log p in x).

    .. math:: \ell(x) = \tfrac12 \lvert s(x) - s_0(x) \rvert^2

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
    x : (n, d) array, n >= 1
    target_score : (n, d) array, 1/[x]
        Score of the data density s_0 at the same points: `density.score(x)`.
    sigma : scalar or (n,) array
        Noise level, conditional networks only.

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean under the data density is half the Fisher divergence.

    Raises
    ------
    ValueError
        If target_score has another shape than x, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Without the 1/2 (as in some papers) multiply by 2; a mean over dimensions is this divided by d.

    Source: Hyvarinen (2005), JMLR 6:695-709, equation 2.
    """
    x = samples("explicit", x, model.dim)
    target = samples("explicit", target_score, model.dim, name="target_score")
    if target.shape != x.shape:
        raise ValueError(
            f"explicit: target_score has shape {target.shape}, expected that of x, {x.shape}: one score per sample."
        )
    if target.dtype.kind == "c" and model.theta.dtype.kind != "c":
        raise TypeError("explicit: target_score is complex, but the network is real; pass target_score.real.")

    def local(at, score):
        off = score - target[at].astype(score.dtype, copy=False)
        return _square(off), off

    return _local_loss("explicit", model, x, sigma, local)


def implicit(model, x, *, sigma=None):
    r"""Implicit score matching: needs samples only, no score of the data (the gradient of log p in x).

    .. math:: \ell(x) = \tfrac12 \lvert s(x) \rvert^2 + \mathrm{tr}\, \partial_x s(x)

    The trace is exact, at min(d, n_1) tangent rows for an `EnergyMLP` and free of d for a `ScoreMLP`.

    Parameters
    ----------
    model : EnergyMLP or ScoreMLP
        With a twice differentiable activation.
    x : (n, d) array, n >= 1
    sigma : scalar or (n,) array
        Noise level, conditional networks only.

    Returns
    -------
    Loss
        Units 1/[x]^2. Its mean is that of `explicit` minus half the Fisher information of the data, provided that the
        boundary term p s vanishes; so it may be negative, and differences between models are Fisher divergences.

    Raises
    ------
    ValueError
        If the activation is not twice differentiable, or x is not a finite (n, d) array with n >= 1.

    Notes
    -----
    Written with tr + |s|^2/2 everywhere; where a source drops the 1/2 and doubles the trace, that is twice this loss.
    A mean over dimensions is this divided by d. On finitely many samples a flexible network has no minimum: the trace
    runs to minus infinity at the samples.

    Source: Hyvarinen (2005), JMLR 6:695-709, Theorem 1.
    """
    return _local_loss("implicit", model, x, sigma, lambda at, score: (_square(score), score), trace=True)
