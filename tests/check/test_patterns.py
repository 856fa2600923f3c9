"""Wrong losses whose arrays have a pattern, written down in NumPy: each is told what it is, and right ones in other conventions pass."""

import numpy as np
import pytest
from nightly import mostly
from wording import check_loss


def half(s):
    return 0.5 * np.sum(s**2, -1)


def implicit(square, trace=lambda fn, x: fn.trace(x).mean()):
    """A loss of two terms, the first a number made of the score (n, d)."""
    return lambda fn, x: square(fn.score(x)) + trace(fn, x)


def of(pick):
    """The trace term made of other entries of the Jacobian."""
    return lambda fn, x: pick(fn.jacobian(x)).mean()


def by_place(n):
    return np.arange(1, n + 1) / n


def weighted(weight):
    return lambda fn, x: np.mean(weight(x) * (half(fn.score(x)) + fn.trace(x)))


def generalised(square=1.0, trace=1.0, slope=1.0):
    def loss(fn, x, h, h_prime):
        s, J = fn.score(x), np.einsum("nii->ni", fn.jacobian(x))
        times = lambda c, a: c(a) if callable(c) else c * a
        return np.mean(np.sum(times(square, h) * s**2 / 2 + times(slope, h_prime) * s + times(trace, h) * J, 1))

    return loss


def explicit(moved):
    return lambda fn, x, target_score: np.mean(half(fn.score(x) - moved(target_score)))


def differences(points, weights=(-1, 2, -1), ends=(1, -1)):
    """Finite differences of an energy at some points: -(w . f)/eps^2 + (f[a] - f[b])^2/(8 eps^2)."""

    def loss(fn, x, rng, eps):
        v = rng.standard_normal(x.shape)
        f = [fn.energy(y) for y in points(x, v, rng.standard_normal(x.shape), eps)]
        a, b = (f[0] if k == 1 else f[2] if k == -1 else f[1] for k in ends)
        return np.mean(sum(w * e for w, e in zip(weights, f, strict=True)) / eps**2 + (a - b) ** 2 / (8 * eps**2))

    return loss


SIGNS = np.random.default_rng(5).choice([-1.0, 1.0], (64, 8))
STRAIGHT = lambda x, v, u, h: (x + h * v, x, x - h * v)
mean = lambda s: half(s).mean()
# name -> (objective, loss, what is said of it)
WRONG = {
    "mean before the square": ("implicit", implicit(lambda s: half(s.mean(0))), "averaged before it is squared"),
    "centred": ("implicit", implicit(lambda s: mean(s - s.mean(0))), "less its batch mean"),
    "products of rows": ("implicit", implicit(lambda s: mean(s) + np.mean(np.sum(s[::2] * s[1::2], 1))), "products of the scores of different rows"),
    "sum before the square": ("implicit", implicit(lambda s: 0.5 * np.mean(s.sum(1) ** 2)), "summed before it is squared"),
    "coordinates joined": ("implicit", implicit(lambda s: mean(s) + np.mean(s[:, 0] * s[:, 1]) / 2), "products of different entries of the score"),
    "last row": ("implicit", implicit(lambda s: half(s)[:-1].sum() / len(s)), "the last row of the batch is never squared"),
    "first row": ("implicit", implicit(lambda s: half(s)[1:].sum() / len(s)), "the first row of the batch is never squared"),
    "last dimension": ("implicit", implicit(lambda s: mean(s[:, :-1])), "entries [0, 1] alone"),
    "first dimension": ("implicit", implicit(lambda s: mean(s[:, 1:])), "entries [1, 2] alone"),
    "one entry": ("implicit", implicit(lambda s: mean(s) - s[0, 0] ** 2 / 2 / len(s)), "entries left out"),
    "weights of squares": ("implicit", implicit(lambda s: np.mean(by_place(len(s)) * half(s))), "weighted in the square alone"),
    "weights of traces": ("implicit", implicit(mean, lambda fn, x: np.mean(by_place(len(x)) * fn.trace(x))), "weighted in the other term alone"),
    "first column of J": ("implicit", implicit(mean, of(lambda J: J[:, :, 0].sum(1))), "the entries [0, 0], [0, 1]"),
    "linear term": ("implicit", implicit(lambda s: mean(s) + s.sum(1).mean()), "the sum of the score's entries"),
    "weights of x": ("implicit", weighted(lambda x: np.exp(-(x**2).sum(1))), "weighted by a function of x"),
    "clamped": ("implicit", lambda fn, x: np.maximum(np.mean(half(fn.score(x)) + fn.trace(x)), 0.1), "clipped loss"),
    "largest": ("implicit", lambda fn, x: np.max(half(fn.score(x)) + fn.trace(x)), "a maximum"),
    "running sum": ("implicit", (lambda kept: lambda fn, x: kept.append(np.mean(half(fn.score(x)) + fn.trace(x))) or sum(kept))([]), "state"),
    "target of another row": ("explicit", explicit(lambda t: np.roll(t, 1, 0)), "previous row"),
    "target times two": ("explicit", explicit(lambda t: 2 * t), "the target is 2 times what it should be"),
    "target of another sign": ("explicit", explicit(lambda t: -t), "sign"),
    "square of h": ("generalised", generalised(square=lambda h: h**2), "the square weighted by h^2"),
    "mean of h": ("generalised", generalised(trace=lambda h: h.mean(1, keepdims=True) + 0 * h), "the trace weighted by the mean of h"),
    "h and its derivative exchanged": ("generalised", lambda fn, x, h, h_prime: np.mean(np.sum(h_prime * fn.score(x) ** 2 / 2 + h * (fn.score(x) + np.einsum("nii->ni", fn.jacobian(x))), 1)), "weighted by h'"),
    "lengths alone": ("explicit", lambda fn, x, target_score: np.mean((np.linalg.norm(fn.score(x), axis=1) - np.linalg.norm(target_score, axis=1)) ** 2), "the product of the lengths of score and target"),
    "square of the trace": ("regularised", lambda fn, x, lam: np.mean(half(fn.score(x)) + fn.trace(x) + lam * fn.trace(x) ** 2), "in place of the regulariser lambda sum J_ii^2 your loss has the square of the trace"),
    "probes of a table": ("sliced", lambda fn, x: np.mean(half(fn.score(x)) + fn.curvature(x, SIGNS[: len(x), : x.shape[1]])), "fixed directions"),
    "no derivative of h": ("generalised", generalised(slope=0.5), "derivative"),
    "two directions": ("finite_difference_sliced", differences(lambda x, v, u, h: (x + h * v, x, x - h * u)), "directions apart"),
    "middle point in the slope": ("finite_difference_sliced", differences(STRAIGHT, ends=(1, 0)), "middle point x enters the squared difference"),
    "weights 1 1": ("finite_difference_sliced", differences(STRAIGHT, weights=(-1, 1, -1)), "values of the difference"),
}  # fmt: skip


KEPT = (
    "products of rows", "coordinates joined", "one entry", "weights of squares", "weights of traces", "weights of x", "clamped",
    "running sum", "square of h", "two directions", "middle point in the slope", "lengths alone", "square of the trace", "probes of a table",
)  # fmt: skip


@pytest.mark.parametrize("name", mostly(WRONG, *KEPT))
def test_a_wrong_loss_is_told_by_the_pattern_of_its_arrays(name):
    objective, loss, said = WRONG[name]
    report = check_loss(loss, objective=objective)
    assert report.verdict == "FAIL" and said in report.diagnosis, report


RIGHT = {
    "as it is": ("implicit", implicit(mean)),
    "weights by place": ("implicit", lambda fn, x: np.mean(by_place(len(x)) * (half(fn.score(x)) + fn.trace(x)))),
    "target": ("explicit", explicit(lambda t: t)),
    "weights of x, explicit": ("explicit", lambda fn, x, t: np.mean(np.exp(-(x[:, 0] ** 2)) * half(fn.score(x) - t))),
    "another metric": ("explicit", lambda fn, x, t: np.mean((fn.score(x) - t).sum(1) ** 2 + half(fn.score(x) - t))),
    "h": ("generalised", generalised()),
    "differences": ("finite_difference_sliced", differences(STRAIGHT)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_control_the_right_ones_pass(name):
    objective, loss = RIGHT[name]
    assert check_loss(loss, objective=objective)


def zero_or_one(square):
    def loss(fn, x, rng):
        v = rng.integers(0, 2, x.shape).astype(float)
        return np.mean(square(fn.score(x), v) + fn.curvature(x, v))

    return loss


def test_directions_that_are_not_isotropic_are_a_metric_where_both_terms_have_them():
    """With E v v^T = M the loss is s.M s/2 + tr(M J), of the same minimiser for any M > 0; beside |s|^2 it is another loss."""
    report = check_loss(zero_or_one(lambda s, v: np.sum(v * s, 1) ** 2 / 2), objective="sliced")
    assert report and any("weighs errors by M" in note for note in report.notes), report
    report = check_loss(zero_or_one(lambda s, v: half(s)), objective="sliced")
    assert report.verdict == "FAIL" and report.name == "directions not isotropic", report
