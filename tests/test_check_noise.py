"""`check_loss` and the perturbation of a denoising loss: scaled data, networks that predict something else, several levels at once."""

import numpy as np
import pytest

from numpyscore import check_loss


def half(s):
    return 0.5 * np.sum(s**2, axis=1)


# ------------------------------------------------------------------------------- x~ = c x + sigma eps, and what fn predicts

KERNELS = {  # c of sigma
    "exploding": lambda sigma: 1.0,
    "preserving": lambda sigma: np.sqrt(1 - sigma**2),
    "straight": lambda sigma: 1 - sigma,
    "halved": lambda sigma: 0.5,
}
TARGETS = {  # of eps, x, c, sigma
    "score": lambda e, x, c, sigma: -e / sigma,
    "eps": lambda e, x, c, sigma: e,
    "x": lambda e, x, c, sigma: x,
    "v": lambda e, x, c, sigma: c * e - sigma * x,
    "velocity": lambda e, x, c, sigma: e - x,
    "backward velocity": lambda e, x, c, sigma: x - e,
}
ONLY = {"v": ("preserving",), "velocity": ("straight",), "backward velocity": ("straight",)}
RIGHT = [(k, t) for t in TARGETS for k in KERNELS if k in ONLY.get(t, KERNELS)]
WRONG = {  # words that name it
    "-eps": (lambda e, x, c, sigma: -e, "the target is -eps instead"),
    "-eps/sigma^2": (lambda e, x, c, sigma: -e / sigma**2, "-eps/sigma^2 instead"),
    "+eps/sigma": (lambda e, x, c, sigma: e / sigma, "sign of the target"),
    "x - x~ over sigma^2": (lambda e, x, c, sigma: -(c * x + sigma * e - x) / sigma**2, "x is not scaled there"),
    "x~ - x over sigma^2": (lambda e, x, c, sigma: (c * x + sigma * e - x) / sigma**2, "with the wrong sign, and x is not scaled"),
    "-x": (lambda e, x, c, sigma: -x, "the target is -x"),
    "half eps": (lambda e, x, c, sigma: 0.5 * e, "-sigma/2 times"),
}  # fmt: skip


def perturbed(kernel, target, *, takes="sigma", spread=lambda sigma: sigma, reduce=lambda a, sigma: np.mean(a)):
    """A loss 1/2 |fn(x~) - target|^2 that draws its own noise, told sigma, alpha, a time, or the noise as well."""

    def value(fn, x, eps, sigma):
        c = kernel(sigma)
        return reduce(half(fn(c * x + spread(sigma) * eps) - target(eps, x, c, sigma)), sigma)

    return {
        "sigma": lambda fn, x, sigma, rng: value(fn, x, rng.standard_normal(x.shape), sigma),
        "noise": lambda fn, x, sigma, noise: value(fn, x, noise, sigma),
        "global": lambda fn, x, sigma: value(fn, x, np.random.standard_normal(x.shape), sigma),  # noqa: NPY002
        "alpha": lambda fn, x, alpha_bar, rng: value(fn, x, rng.standard_normal(x.shape), np.sqrt(1 - alpha_bar)),
        "t": lambda fn, x, t, rng: value(fn, x, rng.standard_normal(x.shape), np.sin(t)),
    }[takes]


@pytest.mark.parametrize("kernel, target", RIGHT)
def test_right_targets_of_every_kernel_pass_with_the_conversion(kernel, target):
    report = check_loss(perturbed(KERNELS[kernel], TARGETS[target]), objective="denoising")
    assert report, report
    said = " ".join(report.notes)
    assert ("x~ = c x + sigma eps" in said) == (kernel != "exploding")
    assert ("variance preserving" in said) == (kernel == "preserving")
    assert ("fn predicts" in said) == (target != "score")
    if kernel == "exploding" and target == "eps":  # E |fn - eps|^2 / 2 is sigma^2 times the reference at s = -fn/sigma
        assert "the score is -fn/sigma" in said and "your loss is sigma^2 times the reference" in said


@pytest.mark.parametrize("kernel", ["preserving", "straight"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_targets_stay_wrong_whatever_the_kernel_is(kernel, name):
    target, words = WRONG[name]
    report = check_loss(perturbed(KERNELS[kernel], target), objective="denoising")
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_a_loss_that_calls_its_model_a_score_predicts_nothing_else():
    def loss(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        return np.mean(half(fn.score(x + sigma * eps) - eps))

    for model in (None, "score", "energy"):
        report = check_loss(loss, objective="denoising", model=model)
        assert report.verdict == "FAIL", report


def test_data_that_never_reach_fn_and_noise_of_another_size_are_named():
    lost = check_loss(perturbed(lambda sigma: 0.0, TARGETS["score"]), objective="denoising")
    assert lost.verdict == "FAIL" and lost.name == "data not used", lost
    large = perturbed(KERNELS["preserving"], TARGETS["score"], spread=lambda sigma: 1.3 * sigma)
    report = check_loss(large, objective="denoising")
    assert report.verdict == "FAIL" and "scale of the" in report.diagnosis, report


def test_a_level_drawn_for_each_row_inside_is_no_accusation():
    def loss(fn, x, rng):
        t = rng.uniform(0.1, 1.4, (len(x), 1))
        eps = rng.standard_normal(x.shape)
        return np.mean(half(fn(np.cos(t) * x + np.sin(t) * eps) - eps))

    report = check_loss(loss, objective="denoising", sigma=0.5)
    assert report.verdict == "INCONCLUSIVE" and "multilevel_denoising" in report.diagnosis, report


def alarms(count, seed, factor=1.0):
    """Reports other than PASS among `count` losses drawn at random: kernel, target times `factor`, what is told, reduction."""
    rng, found = np.random.default_rng(seed), []
    reductions = (
        lambda a, sigma: np.mean(a),
        lambda a, sigma: np.sum(a),
        lambda a, sigma: a,
        lambda a, sigma: 2 * np.mean(a),
        lambda a, sigma: np.mean(a) * sigma**2,
        lambda a, sigma: 0.37 * np.mean(a) + 5,
    )
    for _ in range(count):
        kernel, target = RIGHT[rng.integers(len(RIGHT))]
        takes = str(rng.choice(["sigma", "noise", "global", "alpha", "t"]))
        target_of = lambda *args, of=TARGETS[target]: factor * of(*args)
        loss = perturbed(KERNELS[kernel], target_of, takes=takes, reduce=reductions[rng.integers(6)])
        report = check_loss(loss, objective="denoising", rng=int(rng.integers(1 << 30)))
        if not report:
            found.append(f"{kernel}, {target}, {takes}: {report}")
    return found


def test_no_false_alarm_on_right_losses_of_other_kernels_and_predictions():
    assert alarms(60, 0) == []


def test_the_count_of_alarms_counts():
    assert len(alarms(10, 2, factor=1.001)) == 10


@pytest.mark.nightly
def test_no_false_alarm_on_many_right_losses_of_other_kernels_and_predictions():
    assert alarms(1000, 1) == []
