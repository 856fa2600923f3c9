"""Losses as libraries write them, reduced to what sets each apart: more noise than one draw a row, in the points or in the target, and scaled inputs."""

import numpy as np
import pytest
from nightly import mostly
from scipy.optimize import linear_sum_assignment

from numpyscore import check_loss

MANY = "multilevel_denoising"


def mean_square(a):
    return np.mean(np.asarray(a) ** 2)


# ------------------------------------------------------------------------------- noise in the target that is not that of the point


def target_with_noise(fn, x, rng):
    """A denoiser whose target has noise of its own, of mean zero: it only adds variance."""
    s = np.exp(1.2 * rng.standard_normal((len(x), 1)) - 1.2)
    y = x + s * rng.standard_normal(x.shape)
    return mean_square((fn(y, s[:, 0]) - (x + 0.1 * rng.standard_normal(x.shape))) / s)


def preconditioned(fn, x, rng, width=0.5, extra=0.1):
    """The same with the network inside its preconditioning (Karras et al. 2022)."""
    s = np.exp(1.2 * rng.standard_normal((len(x), 1)) - 1.2)
    y, total = x + s * rng.standard_normal(x.shape), s**2 + width**2
    denoised = width**2 / total * y + s * width / np.sqrt(total) * fn(y / np.sqrt(total), np.log(s[:, 0]) / 4)
    return mean_square((denoised - x - extra * rng.standard_normal(x.shape)) * np.sqrt(total) / (s * width))


def v_of_other_noise(fn, x, rng):
    t = rng.uniform(0.05, 0.95, (len(x), 1))
    c, s = np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)
    y = c * x + s * rng.standard_normal(x.shape)
    return mean_square(fn(y, t[:, 0]) - (c * rng.standard_normal(x.shape) - s * x))


def flow_of_other_noise(fn, x, rng):
    t = rng.uniform(0.05, 0.95, (len(x), 1))
    return mean_square(fn(t * x + (1 - t) * rng.standard_normal(x.shape), t[:, 0]) - (x - rng.standard_normal(x.shape)))


@pytest.mark.parametrize("loss", [target_with_noise, preconditioned])
def test_noise_of_mean_zero_in_the_target_only_adds_variance(loss):
    report = check_loss(loss, objective=MANY)
    assert report and any("only adds variance" in note for note in report.notes), report


@pytest.mark.parametrize("loss", [v_of_other_noise, flow_of_other_noise])
def test_a_target_made_of_another_draw_than_its_point_is_named(loss):
    report = check_loss(loss, objective=MANY)
    assert report.verdict == "FAIL" and report.name == "other noise", report


# ------------------------------------------------------------------------------- two draws in one point

PATHS = {  # of t: scale of the data, of the noise at the start, of the noise of the path, and their slopes
    "straight, sigma": (lambda t: (t, 1 - t, 0.1 + 0 * t), lambda t: (1.0, -1.0, 0.0)),
    "bridge": (lambda t: (t, 1 - t, 0.5 * np.sqrt(t * (1 - t))), lambda t: (1.0, -1.0, 0.25 * (1 - 2 * t) / np.sqrt(t * (1 - t)))),
    "trigonometric, sigma": (
        lambda t: (np.sin(np.pi * t / 2), np.cos(np.pi * t / 2), 0.1 + 0 * t),
        lambda t: (np.pi / 2 * np.cos(np.pi * t / 2), -np.pi / 2 * np.sin(np.pi * t / 2), 0.0),
    ),
}  # fmt: skip


def flow_of_two(path, sign=1, couple=False):
    values, slopes = PATHS[path]

    def loss(fn, x, rng):
        z = rng.standard_normal(x.shape)
        if couple:  # minibatch optimal transport, pairs drawn with replacement
            i, j = linear_sum_assignment(((z[:, None] - x) ** 2).sum(-1))
            some = rng.integers(len(x), size=len(x))
            z, x = z[i[some]], x[j[some]]
        t = rng.uniform(0.05, 0.95, (len(x), 1))
        (a, b, s), (da, db, ds) = values(t), slopes(t)
        e = rng.standard_normal(x.shape)
        return mean_square(fn(a * x + b * z + s * e, t[:, 0]) - sign * (da * x + db * z + ds * e))

    return loss


@pytest.mark.parametrize("path", mostly(PATHS, "bridge"))
def test_a_path_with_noise_of_its_own_is_judged_by_its_velocity(path):
    for said in ("velocity", None):
        report = check_loss(flow_of_two(path), objective=MANY, predicts=said)
        assert report and any("velocity" in note for note in report.notes), report
    report = check_loss(flow_of_two(path, -1), objective=MANY, predicts="velocity")
    assert report.verdict == "FAIL" and report.name == "sign of the target", report


@pytest.mark.parametrize("path", mostly(PATHS, "straight, sigma"))
def test_coupled_pairs_are_judged_by_their_target_and_teach_no_score(path):
    report = check_loss(flow_of_two(path, couple=True), objective=MANY, predicts="velocity")
    assert report and any("coupled" in note for note in report.notes), report
    report = check_loss(flow_of_two(path, -1, couple=True), objective=MANY, predicts="velocity")
    assert report.verdict == "FAIL" and report.name == "sign of the target", report


# ------------------------------------------------------------------------------- networks behind a scaling of their input and output


def normalised_flow(sign=1.0):
    def loss(fn, x, rng):
        t, e = rng.uniform(0.02, 0.98, (len(x), 1)), rng.standard_normal(x.shape)
        y = ((1 - t) * x + t * e) / np.sqrt((1 - t) ** 2 + t**2)
        return mean_square(fn(y, t[:, 0]) - sign * (e - x) / np.sqrt(2))

    return loss


def test_a_velocity_in_other_units_behind_a_scaled_input_is_one():
    assert check_loss(normalised_flow(), objective=MANY, predicts="velocity")
    assert check_loss(normalised_flow(-1.0), objective=MANY).verdict == "INCONCLUSIVE"
    report = check_loss(normalised_flow(-1.0), objective=MANY, predicts="velocity")
    assert report.verdict == "FAIL" and report.name == "sign of the target", report


def trigonometric_with_a_straight_target(fn, x, rng):
    t, e = rng.uniform(0.02, 0.98, (len(x), 1)), rng.standard_normal(x.shape)
    return mean_square(fn(np.cos(np.pi * t / 2) * x + np.sin(np.pi * t / 2) * e, t[:, 0]) - (e - x))


def test_the_velocity_of_another_path_is_none():
    report = check_loss(trigonometric_with_a_straight_target, objective=MANY, predicts="velocity")
    assert report.verdict == "FAIL", report


def edm_score(out, y, level, width=0.5, wrong=1.0):
    s = np.exp(4 * np.asarray(level))[:, None]
    total = s**2 + width**2
    y = y * np.sqrt(total)  # of the loss, whose network has its points scaled
    return wrong * (width**2 / total * y + s * width / np.sqrt(total) * out - y) / s**2


def test_the_score_of_the_points_before_they_are_scaled_is_theirs_too():
    loss = lambda fn, x, rng: preconditioned(fn, x, rng, extra=0.0)
    assert check_loss(loss, objective=MANY, score_of=edm_score)
    for wrong in (-1.0, 2.0):
        report = check_loss(loss, objective=MANY, score_of=lambda *a, w=wrong: edm_score(*a, wrong=w))
        assert report.verdict == "FAIL", report


# ------------------------------------------------------------------------------- control variates


def control_variate(schedule, cut=0.3, sign=1.0):
    """sbi's: where the noise is small a term of mean zero, the score at the mean times the noise."""

    def loss(fn, x, rng):
        c, s = schedule(rng.uniform(0.01, 1, (len(x), 1)))
        e = rng.standard_normal(x.shape)
        off = fn(c * x + s * e, s[:, 0]) + sign * e / s
        control = np.where(
            s < cut,
            len(x[0]) / s**2
            - 2 / s * np.sum(e * fn(c * x, s[:, 0]), -1, keepdims=True)
            - np.sum(e**2, -1, keepdims=True) / s**2,
            0,
        )
        return np.mean(s**2 * (np.sum(off**2, -1, keepdims=True) + control))

    return loss


KERNELS = {
    "exploding": lambda t: (np.ones_like(t), 1e-4 * 1e5**t),
    "sub-VP": lambda t: (np.exp(-2 * t**2), 1 - np.exp(-4 * t**2)),
}


@pytest.mark.parametrize("kernel", mostly(KERNELS, "exploding"))
def test_a_control_variate_of_mean_zero_is_no_mistake(kernel):
    assert check_loss(
        control_variate(KERNELS[kernel]), objective=MANY, model="score", rng=1
    )  # 0.0001 from each other in one trial
    report = check_loss(control_variate(KERNELS[kernel], sign=-1.0), objective=MANY, model="score")
    assert report.verdict == "FAIL" and report.name == "sign of the target", report


def dropped(fn, x, rng):
    """Rows that get no noise, and are told a level and pulled to noise all the same."""
    t = rng.uniform(0.05, 0.95, (len(x), 1))
    e, c, s = rng.standard_normal(x.shape), np.cos(np.pi * t / 2), np.sin(np.pi * t / 2)
    y = np.where(rng.uniform(size=(len(x), 1)) < 0.3, x, c * x + s * e)
    return mean_square(fn(y, t[:, 0]) - e)


def test_rows_without_noise_among_noisy_ones_are_found():
    report = check_loss(dropped, objective=MANY, predicts="eps")
    assert report.verdict == "FAIL" and report.name == "clean points", report


def test_a_target_of_zero_is_resolved_however_small_it_is():
    """The product is taken with the score at the clean x: at the noisy points nothing but the square is left."""

    def loss(fn, x, sigma, noise):
        product = np.sum(fn.score(x) * noise, axis=1) / sigma
        return np.mean(0.5 * np.sum(fn.score(x + sigma * noise) ** 2, axis=1) + product)

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and report.name == "no product with the noise", report
