r"""A multilevel denoising loss with all of its levels at once: how each level is weighted, and whether its target is its own.

With seen levels the loss is, for fn the score,

.. math:: \frac1{kn} \sum_{\rm rows} \left[ b_l\, \tfrac12 |s|^2 - b_l\, s \cdot (p_l \varepsilon + q_l x) \right] + {\rm constant},

l the level of the row, and regression finds b, p and q of every level. The reference has b = sigma^2, p = -1/sigma, q = 0. Other weights b
are a convention: they move the minimiser only where one network has to serve all levels.
"""

from typing import Any, NamedTuple

import numpy as np

from .fitting import Group, solve
from .levels import Unseen, given_noise_is_used, joint_setting, noise_size, rows_of, with_rows
from .prediction import Prediction
from .probes import random_probe

SIZES = ((12, 2, 3), (12, 3, 4), (19, 3, 3))  # n, d, levels: 19 is prime, so powers of n, d and L are told apart


class Level(NamedTuple):
    """One level of one setting, as `naming` looks at settings."""

    n: int
    d: int
    sigma: float
    m: int
    scale: float
    levels: int


class Joint(NamedTuple):
    """What was seen of a loss at several levels."""

    kind: str
    groups: list
    rows: list
    size: Any
    coefficients: np.ndarray  # (V, 3), of s.eps, s.x and 1/2 |s|^2, for every level of every setting
    of: list  # V of (setting's number, level)
    rtol: float

    @property
    def levels(self):
        """The V levels as settings."""
        out = []
        for g, k in self.of:
            s, rows = self.groups[g].setting, self.rows[g]
            c = float(np.median(rows.scale[rows.level == k]))
            sigma = float(self.size(s.extras["sigmas"][k], c))
            out.append(Level(s.n, s.d, sigma, s.m, c, s.levels))
        return out

    def parts(self, g, situation):
        """Linear and square part of the loss in setting g."""
        terms = _terms(situation, self.rows[g].level)
        linear = square = 0.0
        for (group, k), (a, e, b) in zip(self.of, self.coefficients, strict=True):
            if group == g:
                eps, x, half = terms[k]
                linear, square = linear + a * eps + e * x, square + b * half
        return linear, square

    @property
    def prediction(self):
        """b, p and q of every level; p and q are infinite or NaN where a level has no square."""
        a, e, b = self.coefficients.T
        with np.errstate(all="ignore"):
            return Prediction(b, -a / b, -e / b, self.rtol)


def joint(caller, model, rng):
    """The `Joint` of a loss; raises `Unseen` with the reason why levels cannot be told, or "" if no coefficients explain it."""
    reason = Unseen("the loss could not be called with several levels")
    layouts = (False, True) if "noise" in caller.takes and "level" not in caller.takes else (False,)
    for kind in [model] if model else ["energy", "score"]:
        for per_level in layouts:
            caller.forget()
            try:
                found = _seen(caller, kind, rng, per_level)
            except Unseen as unseen:
                reason = unseen if str(reason) else reason
                continue
            except Exception:  # the loss does not take such a fn, or such noise
                continue
            if found is not None:
                return found
            reason = Unseen("")  # seen, and not explained
    raise reason


def _seen(caller, kind, rng, per_level):
    """The `Joint` of a loss with fn of this kind, None if no coefficients explain it."""
    caller.ask(
        random_probe(kind, 2, rng), joint_setting(caller, rng, *SIZES[0], per_level)
    )  # whether it takes such a fn at all
    size = noise_size(caller, kind, rng, per_level)
    groups: list[Group] = []
    all_rows, of, coefficients, doubts = [], [], [], []
    for n, d, L in SIZES:
        setting = joint_setting(caller, rng, n, d, L, per_level)
        rows = rows_of(caller, kind, setting, rng)
        setting = with_rows(setting, rows, size)
        present = np.unique(rows.level)
        situations, values = asked(caller, kind, setting, rng, 6 + 3 * (3 * len(present) + 1))
        if "noise" in caller.takes and not given_noise_is_used(setting, rows, size, situations[0].shift):
            raise Unseen("the noise that is added is not the one that was given")
        table = [_terms(q, rows.level) for q in situations]
        columns = np.array([[t[k] for k in present] for t in table])  # (calls, levels, 3)
        group = Group(setting, values, situations, caller.eps)
        fit = _fitted(columns, group)
        if not fit.exact:
            return None
        of += [(len(groups), int(k)) for k in present]
        coefficients.append(fit.coefficients.reshape(-1, 3))
        size_of = np.abs(coefficients[-1]).max(axis=1, keepdims=True)
        doubts.append(fit.doubt.reshape(-1, 3) / np.where(size_of > 0, size_of, np.inf))
        groups.append(group)
        all_rows.append(rows)
    rtol = max(1e-9, 5 * float(np.max(np.concatenate(doubts))))
    return Joint(kind, groups, all_rows, size, np.concatenate(coefficients), of, rtol)


def _fitted(columns, group):
    """The `Fit` of all columns of every level; without those of s.x, if they are not needed."""
    calls, levels, _ = columns.shape
    fit = solve(columns[:, :, [0, 2]].reshape(calls, -1), group)
    if not fit.exact:
        return solve(columns.reshape(calls, -1), group)
    without = lambda values: np.insert(values.reshape(levels, 2), 1, 0.0, axis=1).ravel()
    return fit._replace(coefficients=without(fit.coefficients), doubt=without(fit.doubt))


def asked(caller, kind, setting, rng, calls):
    """Situations and values of a loss on random probes."""
    answers = [caller.ask(random_probe(kind, setting.d, rng), setting) for _ in range(calls)]
    return [a.situation for a in answers], np.array([a.value for a in answers])


def _terms(q, level):
    """Sum over the rows of each level of s.eps, s.x and 1/2 |s|^2, divided by the number of all rows: level -> three numbers."""
    s = q.probe.score(q.at)
    rows = np.stack([np.sum(s * f, -1) for f in (q.shift / q.sigma, np.broadcast_to(q.x, s.shape), 0.5 * s)])
    return {int(k): rows[:, level == k].sum(-1) / level.size for k in np.unique(level)}
