r"""What a loss is, and how a local function of the score meets a network.

An objective knows no network. It says what a sample contributes and how that moves with the score, the trace or the curvatures;
the model's one public sweep turns this into the gradient in theta.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..common.inputs import finite, numeric
from ..common.numbers import Number, is_number, plain


class Objective(NamedTuple):
    """What everybody has to know of an objective: its row in the registry, `OBJECTIVES`."""

    function: Callable  # the public function, (model, x, ...) -> Loss
    # for check: what its linear term is called; (constant, linear, square) of each sample, given an observation with the score at it
    linear: str
    right: Callable
    # what check may hand over to somebody's loss, those first that it must be handed; numbers of its own, {name: (names that a parameter
    # may have, the value at which check asks)}, which `right` finds in q.numbers
    takes: tuple = ()
    first: int = 0
    numbers: dict = {}  # noqa: RUF012  a NamedTuple's defaults are never changed
    # for the reference vectors: {name: Loss} of (network, inputs), and the same of one sample in decimals, {name: number}; None: it came
    # after their schema was closed
    losses: Callable | None = None
    exact: Callable | None = None
    aliases: tuple = ()  # other names that people give it
    forms: tuple = ({},)  # for check: variants that are all right, as changes of an observation; the one meant first

    @property
    def name(self):
        """The name of its function."""
        return self.function.__name__


class Loss(Number):
    """A mean over samples: `value`, `per_sample` (n,), and `gradient` (p,), computed when first read.

    Value and gradient come from one visit to each sample: whichever is read first computes both, forward once and backward once. A loss
    made with ``gradient=False`` computes its value alone, at a third of the cost; reading its gradient then costs a visit of its own.

    Noise and probes are fixed when the loss is made, so that value and gradient see the same ones. The samples are not copied: an x changed
    in place before a quantity is first read changes that quantity. ``value`` is complex if the parameters are: complex steps pass through.

    A loss is formatted and compared like its value; ``loss + 0.1 * other`` is a loss again, with its gradient.
    """

    def __init__(self, compute, weights=None, gradient=True, name=""):
        self._compute, self._weights, self._wanted, self.name = compute, weights, gradient, name

    @functools.cached_property
    def _both(self):
        return self._compute(True)

    @functools.cached_property
    def _alone(self):
        return self._compute(False)[0]

    @property
    def per_sample(self):
        """Loss of each sample (n,), whatever its weight."""
        return self._both[0] if self._wanted or "_both" in self.__dict__ else self._alone

    @functools.cached_property
    def value(self):
        """Mean of `per_sample`, or their weighted mean."""
        loss, w = self.per_sample, self._weights
        return loss.mean() if w is None else loss @ w.astype(loss.dtype)

    @property
    def gradient(self):
        """Gradient of `value` in theta (p,), in its order."""
        return self._both[1]

    @property
    def number(self):
        """Its value."""
        return self.value

    def __add__(self, other):
        return Combination([(1.0, self)]) + other

    def __mul__(self, other):
        return Combination([(1.0, self)]) * other

    def __truediv__(self, other):
        return self * (1.0 / plain(other)) if is_number(other) else NotImplemented

    def __sub__(self, other):
        return self + -1.0 * other if is_number(other) else NotImplemented

    def __rsub__(self, other):
        return -1.0 * self + other if is_number(other) else NotImplemented

    __radd__, __rmul__ = __add__, __mul__

    def __repr__(self):
        name = f"{self.name}, " if self.name else ""
        return f"Loss({name}value={self.value:.12g}, n={len(self.per_sample)})"


class Combination(Loss):
    """sum_k c_k loss_k + constant, a loss: its value and gradient are those sums; per_sample too, where all have as many samples."""

    def __init__(self, parts, constant=0):
        self.parts, self.constant = parts, constant

    @property
    def value(self):
        """The sum of the values."""
        return sum((c * loss.value for c, loss in self.parts), self.constant)

    @property
    def gradient(self):
        """The sum of the gradients (p,)."""
        return self._sum("gradient", 0.0)

    @property
    def per_sample(self):
        """The sum, sample by sample (n,)."""
        return self._sum("per_sample", self.constant)

    def _sum(self, name, constant):
        parts = [c * getattr(loss, name) for c, loss in self.parts]
        if len(sizes := {len(part) for part in parts}) > 1:
            raise ValueError(
                f"{name} of a sum of losses: they have {', '.join(map(str, sorted(sizes)))} entries, expected as many each: the losses of "
                f"one network{'' if name == 'gradient' else ' at as many samples'}."
            )
        return sum(parts, constant)

    def __add__(self, other):
        if isinstance(other, Loss):
            more = other if isinstance(other, Combination) else Combination([(1.0, other)])
            return Combination([*self.parts, *more.parts], self.constant + more.constant)
        return Combination(self.parts, self.constant + plain(other)) if is_number(other) else NotImplemented

    def __mul__(self, other):
        if isinstance(other, Loss):
            return self.value * other.value
        if not is_number(other):
            return NotImplemented
        factor = plain(other)
        return Combination([(factor * c, loss) for c, loss in self.parts], factor * self.constant)

    __radd__, __rmul__ = __add__, __mul__

    def __repr__(self):
        terms = " + ".join(f"{c:g} {loss.name or 'loss'}" for c, loss in self.parts)
        return f"Loss({terms}{f' + {self.constant:g}' if self.constant else ''}, value={self.value:.12g})"


def of_samples(where, model, points, local, *, weights=None, gradient=True, per_direction=1.0, **ways):
    r"""The Loss whose samples contribute a local term and, linearly, a trace or curvatures.

    .. math:: \ell(x) = \mathrm{local}(s) \;[+ \mathrm{tr} J] \;[+ c \sum_v v^T J v]

    Parameters
    ----------
    where : str
        Who asks, for error messages.
    model, points
        A network and what its `points` returned.
    local : callable
        ``local(at, score)`` is given a slice of the samples and their scores (k, d); it returns the term (k,) and its
        cotangent of the score (k, d).
    weights : (n,) array or None
        Shares of the samples in the mean, 1 together (`sample_weights`); None: each counts 1/n.
    gradient : bool
        See `Loss`.
    per_direction : float
        c.
    **ways
        ``trace=True``, ``directions=Probes`` or neither: see `MLP.sweep`.
    """

    def compute(gradient):
        def cotangents(at, here):
            share = shares(at, here["score"], weights, len(points.x))
            term, score_bar = local(at, here["score"])
            bars = {"score": share[:, None] * score_bar, "trace": share, "curvature": per_direction * share}
            return term, bars if gradient else {}

        found = model.sweep(points, local=cotangents, gradient=gradient, where=where, **ways)
        per_sample = found.term
        if found.trace is not None:
            per_sample = per_sample + found.trace
        if found.curvature is not None:
            per_sample = per_sample + per_direction * found.curvature
        return per_sample, found.gradient

    there_is_one = model.activation.smooth or model.kind == "ScoreMLP"  # else whoever reads the gradient is told why
    return Loss(compute, weights, gradient and there_is_one, where)


def sample_weights(where, weights, n):
    """Each of n >= 1 samples' share in the mean (n,), 1 together, of weights in any unit; None for equal ones."""
    if n == 0:
        raise ValueError(f"{where}: x has no rows, and a loss is a mean over samples; expected at least one row.")
    if weights is None:
        return None
    w = numeric(where, "weights", weights)
    if w.shape != (n,) or w.dtype.kind == "c":
        raise ValueError(
            f"{where}: weights are {w.dtype} of shape {w.shape}, expected real ({n},), one per sample of x."
        )
    finite(where, "weights", w)
    if (w < 0).any() or not (w > 0).any():
        bad = int(np.argmax(w < 0))
        raise ValueError(
            f"{where}: weights[{bad}] is {w[bad]} and their sum {w.sum()}, expected weights >= 0, not all 0: below, a loss has no "
            f"minimum, and without any it is no mean."
        )
    w = w.astype(float) / w.max()  # their sum is then a number
    return w / w.sum()


def shares(at, like, weights, n):
    """What each sample counts in the mean (k,), in the dtype of `like` (k, ...)."""
    return np.full(len(like), 1 / n, like.dtype) if weights is None else weights[at].astype(like.dtype)


def weighted_sum(parts, weights=None, gradient=True, name=""):
    """The Loss sum_k c_k loss_k of (c_k, function that makes loss_k), a part at a time so that memory holds one of them."""

    def compute(gradient):
        value: Any = 0
        theta_bar: Any = 0 if gradient else None
        for c, make in parts:
            loss = make(gradient)
            value = value + c * loss.per_sample
            if gradient:
                theta_bar = theta_bar + c * loss.gradient
        return value, theta_bar

    return Loss(compute, weights, gradient, name)


# ------------------------------------------------------------------------------- local functions that several objectives share


def half_square(a):
    """1/2 |a|^2 of each row, without conjugation, so that complex steps pass."""
    return 0.5 * np.einsum("nd,nd->n", a, a)


def squared_score(at, score):
    """1/2 |s|^2 and its cotangent."""
    return half_square(score), score


def distance(target):
    """The local function 1/2 |s - target|^2, and its cotangent."""

    def local(at, score):
        off = score - target[at].astype(score.dtype, copy=False)
        return half_square(off), off

    return local
