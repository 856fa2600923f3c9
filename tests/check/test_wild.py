"""Code as it stands in the wild, reduced: right forms that are no textbook's, and wrong ones; each once came out otherwise."""

import numpy as np
from wording import check_loss, check_reverse

KERNEL = lambda t: (1.0, np.sqrt((25.0 ** (2 * t) - 1) / (2 * np.log(25.0))))


def score_sde(right=1.0):
    """score_sde's tutorial: loss_fn(model, x, eps=1e-5), eps the smallest time."""

    def loss(model, x, rng, eps=1e-5):
        t = rng.random(len(x)) * (1 - eps) + eps
        z, std = rng.standard_normal(x.shape), KERNEL(t)[1]
        return np.mean(np.sum((model(x + z * std[:, None], t) * std[:, None] + right * z) ** 2, axis=1))

    return loss


def test_a_number_by_default_is_no_noise():
    assert check_loss(score_sde(), objective="multilevel_denoising", kernel=KERNEL)
    assert check_loss(score_sde(-1.0), objective="multilevel_denoising", kernel=KERNEL).verdict == "FAIL"


def langevin_at_each_level(noise=np.sqrt, steps=5):
    def step(x, fn, level, rng):
        a = 0.05 * level**2
        for _ in range(steps):
            x = x + 0.5 * a * fn(x, level) + noise(a) * rng.standard_normal(x.shape)
        return x

    return step


def test_several_langevin_steps_at_each_level_are_annealed_langevin_dynamics():
    levels = np.geomspace(3.0, 0.3, 6)
    report = check_reverse(langevin_at_each_level(), levels=levels, kind="annealed", n=4000)
    assert report and report.notes[0] == "this is several Langevin steps at each level", report
    report = check_reverse(langevin_at_each_level(lambda a: a), levels=levels, kind="annealed", n=4000)
    assert report.verdict == "FAIL" and report.name == "noise without root", report
