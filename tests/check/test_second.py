"""What a second examination of the checks from outside found: bugs that passed, and right code that was accused."""

import numpy as np
import pytest
from wording import check_loss

from numpyscore import check_gradient

half = lambda s: 0.5 * np.sum(s * s, axis=-1)


def clean(fn, x, sigma, noise):
    return np.mean(half(fn.score(x) + noise / sigma))


def scaled_and_clean(fn, x, sigma, noise):
    return np.mean(half(fn.score(0.7 * x) + noise / sigma))


def clean_levels(fn, x, sigmas, noise):
    return np.mean([s**2 * np.mean(half(fn.score(x) + noise / s)) for s in sigmas])


@pytest.mark.parametrize(
    "loss, objective",
    [(clean, "denoising"), (scaled_and_clean, "denoising"), (clean_levels, "multilevel_denoising")],
    ids=["noise given", "x scaled", "levels"],
)
def test_a_score_at_clean_points_is_wrong_though_the_noise_was_given(loss, objective):
    report = check_loss(loss, objective=objective)
    assert report.verdict == "FAIL" and report.name == "clean point", report


def test_noise_of_the_mean_level_is_not_passed():
    def loss(fn, x, sigmas, level, noise):
        sigma = sigmas[level][:, None]
        return np.mean(half(sigma * fn(x + sigmas.mean() * noise, sigma) + noise))

    report = check_loss(loss, objective="multilevel_denoising")
    assert report.verdict != "PASS" and "levels mixed" in report.diagnosis, report


def differences(square, slope, directions):
    """A finite-difference loss: 1/2 of a square, and a slope along directions that it draws."""

    def loss(fn, x, eps, rng):
        v = directions(rng, x.shape)
        at = {h: fn(x + h * eps * v) for h in (1, 0, -1)}
        return np.mean(square(at, v) + np.sum(v * slope(at, eps), axis=1))

    return loss


def unit(rng, shape):
    v = rng.standard_normal(shape)
    return v / np.linalg.norm(v, axis=1, keepdims=True)


NORMAL = lambda rng, shape: rng.standard_normal(shape)
SIGNS = lambda rng, shape: rng.choice([-1.0, 1.0], shape)
EXACT, MEAN = lambda at, v: half(at[0]), lambda at, v: half((at[1] + at[-1]) / 2)
ALONG = lambda at, v: 0.5 * np.sum(v * at[0], axis=1) ** 2
CENTRAL, FORWARD = lambda at, eps: (at[1] - at[-1]) / (2 * eps), lambda at, eps: (at[1] - at[0]) / eps
by_d = lambda slope: lambda at, eps: at[0].shape[1] * slope(at, eps)
DIFFERENCES = {
    "exact square": (EXACT, CENTRAL, NORMAL),
    "exact square along v": (ALONG, CENTRAL, SIGNS),
    "forward difference": (EXACT, FORWARD, SIGNS),
    "unit directions, times d": (EXACT, by_d(CENTRAL), unit),
    "unit directions, times d, mean of both ends": (MEAN, by_d(CENTRAL), unit),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_finite_differences_have_many_right_forms(name):
    report = check_loss(differences(*DIFFERENCES[name]), objective="finite_difference_sliced")
    assert report, report
    square, slope, directions = DIFFERENCES[name]
    doubled = differences(square, lambda at, eps: 2 * slope(at, eps), directions)
    wrong = check_loss(doubled, objective="finite_difference_sliced")
    assert wrong.verdict == "FAIL" and "second difference" in wrong.name, wrong


def test_unit_directions_without_d_are_named():
    report = check_loss(differences(EXACT, CENTRAL, unit), objective="finite_difference_sliced")
    assert report.verdict == "FAIL" and report.name == "second difference divided by d", report


def test_antithetic_use_of_the_noise_given_is_right():
    def loss(fn, x, sigma, noise):
        return np.mean([half(fn.score(x + sigma * e) + e / sigma) for e in (noise, -noise)])

    def one_sided(fn, x, sigma, noise):
        return np.mean([half(fn.score(x + sigma * e) + noise / sigma) for e in (noise, -noise)])

    assert check_loss(loss, objective="denoising")
    assert check_loss(one_sided, objective="denoising").verdict == "FAIL"


def test_a_loss_that_draws_what_it_need_not_is_no_accusation():
    def loss(fn, x, target_score, rng):
        v = rng.standard_normal(x.shape)
        return 0.5 * np.mean(np.sum(v * (fn(x) - target_score), axis=1) ** 2)

    report = check_loss(loss, objective="explicit")
    assert report.verdict == "INCONCLUSIVE" and report.name == "random", report


@pytest.mark.parametrize("h, verdict", [(1e-3, "PASS"), (0.1, "FAIL")])
def test_a_loss_that_differences_an_energy_is_as_right_as_its_steps_are_small(h, verdict):
    def loss(fn, x):
        middle, out = fn.energy(x), 0.0
        for e in h * np.eye(x.shape[1]):
            up, down = fn.energy(x + e), fn.energy(x - e)
            out = out + 0.5 * ((up - down) / (2 * h)) ** 2 - (up - 2 * middle + down) / h**2
        return np.mean(out)

    assert check_loss(loss, objective="implicit", model="energy").verdict == verdict


def test_a_gradient_that_accumulates_is_named():
    total = np.zeros(3)

    def gradient(theta):
        total[:] += 2 * theta
        return total.copy()

    theta = np.array([1.0, 2.0, -0.5])
    report = check_gradient(lambda t: np.sum(t**2), gradient, theta)
    assert report.verdict == "FAIL" and report.name == "accumulated gradient", report
    assert check_gradient(lambda t: np.sum(t**2), lambda t: 2 * t, theta)


def test_torch_terms_that_are_detached_are_found_without_the_directions():
    torch = pytest.importorskip("torch")
    grad = torch.autograd.grad

    def loss(detach_square=False, create=True):
        def of(fn, x):
            x = x.requires_grad_()
            s, v = fn(x), torch.randn_like(x)
            Jv = grad((s * v).sum(), x, create_graph=create, retain_graph=True)[0]
            square = (s.detach() if detach_square else s) * v
            return (0.5 * square.sum(1) ** 2 + (Jv * v).sum(1)).mean()

        return of

    check = lambda f: check_loss(f, objective="sliced", wrap="torch", model="score")
    assert check(loss())
    for wrong, term in ((loss(detach_square=True), "square"), (loss(create=False), "curvature")):
        report = check(wrong)
        assert report.verdict == "FAIL" and report.name == "graph detached" and term in report.diagnosis, report

    def number(fn, x):
        return loss()(fn, x).item()

    report = check(number)
    assert report.verdict == "INCONCLUSIVE" and report.name == "graph detached", report
