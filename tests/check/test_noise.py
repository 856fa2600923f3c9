"""`check_loss` and the perturbation of a denoising loss: scaled data, networks that predict something else, several levels at once."""

from types import SimpleNamespace

import numpy as np
import pytest
from wording import check_loss, hold

from numpyscore.check.losses import denoising as denoising_losses
from numpyscore.check.losses import noise, perturbation
from numpyscore.check.losses.denoising import (
    MISTAKES,
    NOISE,
    PARAMETRISATIONS,
    Read,
    along_path,
    is_form,
    kernel_note,
    name,
)
from numpyscore.check.losses.hearing import Draw
from numpyscore.check.losses.loss import _setting
from numpyscore.check.losses.names import COARSEST, Level
from numpyscore.check.losses.observe import LossCaller
from numpyscore.check.losses.trials import (
    Trial,
    _centred,
    _ends_with,
    apart_from,
    mixture,
    noisy,
    rows_of,
    with_draw_apart,
    with_mixture,
    with_posterior_means,
)


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
    "minus v": lambda e, x, c, sigma: sigma * x - c * e,
    "sigma eps": lambda e, x, c, sigma: sigma * e,
}
ONLY = {"minus v": ("preserving",), "v": ("preserving",), "velocity": ("straight",), "backward velocity": ("straight",)}
RIGHT = [(k, t) for t in TARGETS for k in KERNELS if k in ONLY.get(t, KERNELS)]
WRONG = {  # words that name it
    "-eps": (lambda e, x, c, sigma: -e, "the target is -eps instead"),
    "-eps/sigma^2": (lambda e, x, c, sigma: -e / sigma**2, "-eps/sigma^2 instead"),
    "+eps/sigma": (lambda e, x, c, sigma: e / sigma, "sign of the target"),
    "x - x~ over sigma^2": (lambda e, x, c, sigma: -(c * x + sigma * e - x) / sigma**2, "x is not scaled there"),
    "x~ - x over sigma^2": (lambda e, x, c, sigma: (c * x + sigma * e - x) / sigma**2, "with the wrong sign, and x is not scaled"),
    "-x": (lambda e, x, c, sigma: -x, "the target is -x"),
    "x~ - x": (lambda e, x, c, sigma: c * x + sigma * e - x, "the scale c of x, the division by sigma^2"),
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


def said(kernel, target):
    """What fn has to be said to be: the noise, where nothing else tells it from a score."""
    return "noise" if kernel == "exploding" and target in ("eps", "sigma eps") else None


@pytest.mark.parametrize("target", ["eps", "sigma eps"])
def test_noise_as_target_of_an_unknown_fn_is_neither_right_nor_wrong(target):
    """Without a scale of x nothing tells a network that predicts noise from a score with a wrong target; said to be either, it is known."""
    loss = perturbed(KERNELS["exploding"], TARGETS[target])
    reports = {model: check_loss(loss, objective="denoising", model=model) for model in (None, "noise", "score")}
    assert [r.verdict for r in reports.values()] == ["INCONCLUSIVE", "PASS", "FAIL"], reports
    assert "model='noise'" in reports[None].diagnosis and "target" in reports["score"].diagnosis


@pytest.mark.parametrize("kernel, target", RIGHT)
def test_right_targets_of_every_kernel_pass_with_the_conversion(kernel, target):
    report = check_loss(perturbed(KERNELS[kernel], TARGETS[target]), objective="denoising", model=said(kernel, target))
    assert report, report
    notes = " ".join(report.notes)
    assert ("x~ = c x + sigma eps" in notes) == (kernel != "exploding")
    assert ("variance preserving" in notes) == (kernel == "preserving")
    assert ("fn predicts" in notes) == (target != "score")
    if kernel == "exploding" and target == "eps":  # E |fn - eps|^2 / 2 is sigma^2 times the reference at s = -fn/sigma
        assert "the score is -fn/sigma" in notes and "your loss is sigma^2 times the reference" in notes


@pytest.mark.parametrize("kernel", ["preserving", "straight"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_targets_stay_wrong_whatever_the_kernel_is(kernel, name):
    target, words = WRONG[name]
    loss, residual = perturbed(KERNELS[kernel], target), name == "x~ - x"
    report = check_loss(loss, objective="denoising", model="score" if residual else None)
    assert report.verdict == "FAIL" and words in report.diagnosis, report
    if residual:  # which fn may be meant to predict
        report = check_loss(loss, objective="denoising")
        assert report.verdict == "INCONCLUSIVE" and report.name == "unknown target", report
        assert "say what your sampler makes of it, score_of=, or predicts=" in report.diagnosis, report


def test_a_loss_that_calls_its_model_a_score_predicts_nothing_else():
    def loss(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        return np.mean(half(fn.score(x + sigma * eps) - eps))

    for model in (None, "score", "energy"):
        report = check_loss(loss, objective="denoising", model=model)
        assert report.verdict == "FAIL", report


def test_a_target_unknown_here_is_no_accusation_unless_fn_is_a_score():
    target = lambda e, x, c, sigma: e + 0.3 * x
    report = check_loss(perturbed(KERNELS["preserving"], target), objective="denoising")
    assert report.verdict == "INCONCLUSIVE" and "fn predicts eps + 3/10 x" in report.diagnosis, report

    def called_a_score(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        return np.mean(half(fn.score(x + sigma * eps) - eps - 0.3 * x))

    report = check_loss(called_a_score, objective="denoising")
    assert report.verdict == "FAIL" and "the target is eps + 3/10 x" in report.diagnosis, report


def test_data_that_never_reach_fn_and_noise_of_another_size_are_named():
    lost = check_loss(perturbed(lambda sigma: 0.0, TARGETS["score"]), objective="denoising")
    assert lost.verdict == "FAIL" and lost.name == "data not used", lost
    large = perturbed(KERNELS["preserving"], TARGETS["score"], spread=lambda sigma: 1.3 * sigma)
    report = check_loss(large, objective="denoising")
    assert report.verdict == "FAIL" and "scale of the" in report.diagnosis, report


def times(target, *, c=np.cos, spread=np.sin, weight=lambda t: 1.0):
    """A time for each row, drawn inside and told to nobody but fn."""

    def loss(fn, x, rng):
        t, eps = rng.uniform(0.05, 0.95, (len(x), 1)), rng.standard_normal(x.shape)
        f = fn(c(t) * x + spread(t) * eps, t)
        return np.mean(weight(t) * half(f - target(eps, x, c(t), spread(t)))[:, None])

    return loss


STRAIGHT = {"c": lambda t: 1 - t, "spread": lambda t: t}
TIMES = {  # loss, words among the notes
    "score": (times(TARGETS["score"]), "variance preserving"),
    "weighted score": (times(TARGETS["score"], weight=lambda t: np.sin(t) ** 2), "weighted by sigma^2"),
    "eps": (times(TARGETS["eps"]), "fn predicts the noise eps"),
    "x": (times(TARGETS["x"], weight=np.exp), "fn predicts the clean x"),
    "velocity": (times(TARGETS["velocity"], **STRAIGHT), "fn predicts the velocity eps - x"),
}


@pytest.mark.parametrize("objective", ["denoising", "multilevel_denoising"])
@pytest.mark.parametrize("name", TIMES)
def test_a_time_drawn_for_each_row_inside_is_seen_by_the_scale_of_x(name, objective):
    loss, words = TIMES[name]
    report = check_loss(loss, objective=objective, sigma=0.5)
    assert report and words in " ".join(report.notes), report


@pytest.mark.parametrize("name", ["-eps", "-eps/sigma^2", "+eps/sigma", "x - x~ over sigma^2", "-x"])
def test_wrong_targets_are_named_where_every_row_draws_its_time(name):
    target, words = WRONG[name]
    report = check_loss(times(target), objective="denoising", sigma=0.5)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_a_level_drawn_inside_is_heard_whatever_its_law_is():
    """The size of the noise followed from nothing that was told, and the verdict was INCONCLUSIVE; the noise itself is heard now."""
    large = lambda t: 1.3 * np.sin(t)
    report = check_loss(times(TARGETS["score"], spread=large), objective="denoising", sigma=0.5)
    assert report.verdict == "PASS", report
    report = check_loss(times(TARGETS["eps"], spread=large), objective="denoising", predicts="score")
    assert report.verdict == "FAIL" and report.name == "scale of the target", report
    halved = check_loss(times(lambda e, x, c, s: -e / s / 2, spread=large), objective="denoising")
    assert halved.verdict == "FAIL" and "1/2 times" in halved.diagnosis, halved


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
        report = check_loss(loss, objective="denoising", rng=int(rng.integers(1 << 30)), model=said(kernel, target))
        if not report:
            found.append(f"{kernel}, {target}, {takes}: {report}")
    return found


def test_no_false_alarm_on_right_losses_of_other_kernels_and_predictions():
    assert alarms(8, 0) == []


def test_the_count_of_alarms_counts():
    assert len(alarms(5, 2, factor=1.2)) == 5  # where sigma is measured, 5 % may pass


@pytest.mark.nightly
def test_no_false_alarm_on_many_right_losses_of_other_kernels_and_predictions():
    assert alarms(1000, 1) == []


# ------------------------------------------------------------------------------- several levels at once


def looped(
    *, weight=lambda s: s**2, target=lambda e, k, S: -e / S[k], which=slice(None), total=np.mean, tell=lambda k, S: S[k]
):
    """A loss that goes through the levels one by one."""

    def loss(fn, x, sigmas, rng):
        out = []
        for k in range(len(sigmas))[which]:
            e = rng.standard_normal(x.shape)
            s = fn(x + sigmas[k] * e, tell(k, sigmas))
            out.append(weight(sigmas[k]) * np.mean(half(s - target(e, k, sigmas))))
        return total(out)

    return loss


def drawn(
    *,
    weight=lambda s: s**2,
    target=lambda e, k, S: -e / S[k][:, None],
    index=lambda rng, L, n: rng.integers(L, size=n),
    tell=lambda k, S: S[k],
):
    """A loss that draws a level for each row."""

    def loss(fn, x, sigmas, rng):
        k, e = index(rng, len(sigmas), len(x)), rng.standard_normal(x.shape)
        s = fn(x + sigmas[k][:, None] * e, tell(k, sigmas))
        return np.mean(weight(sigmas[k]) * half(s - target(e, k, sigmas)))

    return loss


def stacked(repeat, columns=False):
    """All levels in one call: the batch again and again, every row several times, or three axes."""

    def loss(fn, x, sigmas, rng):
        n, L = len(x), len(sigmas)
        if columns:
            e = rng.standard_normal((L, *x.shape))
            return np.mean(np.sum((sigmas[:, None, None] * fn(x + sigmas[:, None, None] * e) + e) ** 2, -1))
        X, S = (np.repeat(x, L, 0), np.tile(sigmas, n)) if repeat else (np.tile(x, (L, 1)), np.repeat(sigmas, n))
        e = rng.standard_normal(X.shape)
        return np.mean(S**2 * half(fn(X + S[:, None] * e, S) + e / S[:, None]))

    return loss


def with_level(fn, x, sigmas, noise, level):
    """The level of each row is told."""
    s = sigmas[level]
    return np.mean(s**2 * half(fn(x + s[:, None] * noise, s) + noise / s[:, None]))


def one_noise(fn, x, sigmas, noise):
    """The same unit noise at every level."""
    return np.mean([s**2 * np.mean(half(fn.score(x + s * noise) + noise / s)) for s in sigmas])


def noise_of_each(fn, x, sigmas, noise):
    """Unit noise (L, n, d), one for each level."""
    return np.mean([s**2 * np.mean(half(fn.score(x + s * e) + e / s)) for s, e in zip(sigmas, noise, strict=True)])


def ddpm(fn, x, alphas_cumprod, rng):
    """A time for each row, and a network that predicts noise."""
    t, e = rng.integers(len(alphas_cumprod), size=len(x)), rng.standard_normal(x.shape)
    a = alphas_cumprod[t][:, None]
    return np.mean((fn(np.sqrt(a) * x + np.sqrt(1 - a) * e, t) - e) ** 2)


def edm(fn, x, sigmas, rng, width=0.5):
    """A preconditioned denoiser: fn sees c (x + sigma eps), and predicts what the skip connection leaves."""
    sigma, eps = sigmas[rng.integers(len(sigmas), size=len(x))][:, None], rng.standard_normal(x.shape)
    total = sigma**2 + width**2
    noisy = x + sigma * eps
    denoised = width**2 / total * noisy + sigma * width / np.sqrt(total) * fn(noisy / np.sqrt(total), np.log(sigma) / 4)
    return np.mean((total / (sigma * width) ** 2)[:, 0] * np.sum((denoised - x) ** 2, axis=1))


JOINTLY = {  # loss, words among the notes
    "loop": (looped(), ""),
    "sum over levels": (looped(total=np.sum), "a sum over levels instead of a mean"),
    "weight one": (looped(weight=lambda s: 1.0), "the weight of a level is 1, the reference's is sigma^2"),
    "weight sigma": (looped(weight=lambda s: s), "the weight of a level is sigma,"),
    "weight 1/sigma^2": (drawn(weight=lambda s: s**-2), "the weight of a level is 1/sigma^2,"),
    "weight of no law": (drawn(weight=np.exp), "follow no law"),
    "drawn": (drawn(), ""),
    "drawn, told a number": (drawn(tell=lambda k, S: k), ""),
    "drawn, told from one": (drawn(tell=lambda k, S: k + 1), ""),
    "drawn, told backwards": (drawn(tell=lambda k, S: len(S) - 1 - k), ""),
    "drawn, told a logarithm": (drawn(tell=lambda k, S: np.log(S[k]) / 4), ""),
    "told nothing of use": (drawn(tell=lambda k, S: None), "not told"),
    "one level for the batch": (drawn(index=lambda rng, L, n: np.full(n, rng.integers(L))), "share one level"),
    "one level for the batch, from one": (drawn(index=lambda rng, L, n: np.full(n, rng.integers(L)), tell=lambda k, S: k + 1), "share one level"),
    "told a constant": (drawn(tell=lambda k, S: 0.0), "the numbers that fn is told are the same at every level"),
    "predicting noise": (drawn(weight=lambda s: 1.0, target=lambda e, k, S: e), "fn predicts the noise eps"),
    "stacked": (stacked(False), ""),
    "repeated": (stacked(True), ""),
    "three axes": (stacked(True, columns=True), "no 1/2"),
    "level told": (with_level, ""),
    "one noise": (one_noise, ""),
    "noise of each level": (noise_of_each, ""),
    "ddpm": (ddpm, "variance preserving"),
    "edm": (edm, "EDM's network"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOINTLY)
def test_right_losses_over_several_levels_pass_and_their_weights_are_told(name):
    loss, words = JOINTLY[name]
    report = check_loss(loss, objective="multilevel_denoising", model="noise" if name == "predicting noise" else None)
    assert report and "levels" in report.summary and words in " ".join(report.notes), report


def test_the_weights_of_the_levels_are_recovered():
    weight = lambda s: 0.3 + np.sin(5 * s) ** 2
    report = check_loss(drawn(weight=weight), objective="multilevel_denoising")
    sigma, b, p = (np.array(report.details[name]) for name in ("sigma", "b", "p"))
    # a regression in float64 on some thirty numbers of order ten, of condition 1e4 at most
    np.testing.assert_allclose(b, weight(sigma), rtol=1e-9)
    np.testing.assert_allclose(p, -1 / sigma, rtol=1e-9)


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
def test_levels_kept_in_single_precision_are_no_mistake(told):
    """As a module that registers them as a buffer does: every coefficient is off by powers of 6e-8."""

    def loss(fn, x, sigmas, rng):
        sigma = sigmas.astype(np.float32).astype(float)[rng.integers(len(sigmas), size=len(x))][:, None]
        eps = rng.standard_normal(x.shape)
        s = fn(x + sigma * eps, sigma) if told else fn(x + sigma * eps)
        return np.mean(half(sigma * s + eps))

    for seed in range(5):
        report = check_loss(loss, objective="multilevel_denoising", rng=seed)
        assert report and not any("times the reference" in note for note in report.notes), report


def several_draws(order):
    """Four noisy points for each row, the batch again and again or row by row."""

    def loss(fn, x, sigma, rng):
        many = order(x)
        eps = rng.standard_normal(many.shape)
        return np.mean(half(fn(many + sigma * eps) + eps / sigma))

    return loss


@pytest.mark.parametrize(
    "order", [lambda x: np.tile(x, (4, 1)), lambda x: np.repeat(x, 4, axis=0)], ids=["tiled", "repeated"]
)
def test_several_noisy_points_of_a_row_are_found_in_either_order(order):
    assert check_loss(several_draws(order), objective="denoising")


@pytest.mark.parametrize("power", [2, 1, -1])
def test_weights_that_broadcast_over_the_batch_are_no_weights(power):
    def loss(fn, x, sigmas, rng):
        sigma = sigmas[rng.integers(len(sigmas), size=len(x))][:, None]
        eps = rng.standard_normal(x.shape)
        return np.mean(half(fn(x + sigma * eps, sigma) + eps / sigma) * sigma**power)  # (n,) times (n, 1)

    report = check_loss(loss, objective="multilevel_denoising")
    assert report.verdict == "FAIL" and report.name == "weights averaged", report


def one_sided_weight(fn, x, sigmas, rng):
    """The weight stands at the square alone."""
    out = 0.0
    for sigma in sigmas:
        e = rng.standard_normal(x.shape)
        s = fn(x + sigma * e, sigma)
        out += np.mean(sigma**2 * half(s) + np.sum(s * e, axis=1) / sigma)
    return out / len(sigmas)


def product_alone(fn, x, sigmas, rng):
    """The square was forgotten."""
    out = 0.0
    for sigma in sigmas:
        e = rng.standard_normal(x.shape)
        out += sigma * np.mean(np.sum(fn(x + sigma * e, sigma) * e, axis=1))
    return out


def hardest_level(fn, x, sigmas, rng):
    """The largest of the losses of the levels."""
    return max(looped(total=lambda a: a[0])(fn, x, sigmas[k:], rng) for k in range(len(sigmas)))


def noise_of_another_index(fn, x, sigmas, noise, level):
    """Rows get the noise of the level before the one that fn is told."""
    s = sigmas[level - 1]
    return np.mean(s**2 * half(fn(x + s[:, None] * noise, level) + noise / s[:, None]))


MISTAKEN = {  # loss, words of the diagnosis
    "weight at the square alone": (one_sided_weight, "weight at one term: the weight of a level is sigma^2 at the square of the score, 1 at"),
    "sigma of the next level": (looped(target=lambda e, k, S: -e / S[min(k + 1, len(S) - 1)]), "the sigma of the next level"),
    "sigma of the previous level": (drawn(target=lambda e, k, S: -e / S[k - 1][:, None]), "the sigma of the previous level"),
    "squared sigma of another level": (looped(target=lambda e, k, S: -e * S[k] / S[k - 1] ** 2), "(x - x~)/sigma^2 is made with the sigma of the previous"),
    "one sigma in all targets": (looped(target=lambda e, k, S: -e / S[0]), "one sigma for all levels, the first"),
    "sigmas reversed": (looped(target=lambda e, k, S: -e / S[::-1][k]), "reversed"),
    "sigma of another row": (drawn(target=lambda e, k, S: -e / S[np.roll(k, 1)][:, None]), "the sigma of another row"),
    "last level forgotten": (looped(which=slice(0, -1)), "level forgotten: the last"),
    "first level forgotten": (looped(which=slice(1, None)), "level forgotten: the first"),
    "randint excludes its end": (drawn(index=lambda rng, L, n: rng.integers(L - 1, size=n)), "level forgotten: the last"),
    "one level without weight": (looped(weight=lambda s: s**2 * (s < 0.8)), "its weight is zero"),
    "fn told the next level": (drawn(tell=lambda k, S: (k + 1) % len(S)), "level told: fn is told the number of the next level"),
    "fn told the sigma before": (drawn(tell=lambda k, S: S[k - 1]), "level told: fn is told the sigma of the previous level"),
    "fn told another row's level": (drawn(tell=lambda k, S: S[np.roll(k, 1)]), "the sigma of another row"),
    "noise of another index": (noise_of_another_index, "level told"),
    "sign": (drawn(target=lambda e, k, S: e / S[k][:, None]), "sign of the target"),
    "no square": (product_alone, "no square"),
    "hardest level only": (hardest_level, "levels mixed"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKEN)
def test_mistakes_between_levels_are_caught_and_named(name):
    loss, words = MISTAKEN[name]
    report = check_loss(loss, objective="multilevel_denoising")
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def joint_alarms(count, seed, mistaken=False):
    """Reports other than PASS among `count` losses over levels drawn at random: form, weight, what fn is told, prediction."""
    rng, found = np.random.default_rng(seed), []
    weights = (
        lambda s: s**2,
        lambda s: 1.0 + 0 * s,
        lambda s: s,
        lambda s: 1 / s,
        lambda s: s**-2,
        lambda s: 2 * s**2,
        lambda s: s**2 / (1 + s**2),
    )
    tells = (
        lambda k, S: S[k],
        lambda k, S: k,
        lambda k, S: k + 1,
        lambda k, S: np.log(S[k]),
        lambda k, S: 1 / S[k],
        lambda k, S: 0.0,
    )
    for _ in range(count):
        options = {"weight": weights[rng.integers(len(weights))], "tell": tells[rng.integers(len(tells))]}
        factor, model = 1.001 if mistaken else 1.0, None
        if rng.random() < 0.3:
            model = "noise"
            options["target"] = lambda e, k, S, c=factor: c * e
        else:
            options["target"] = lambda e, k, S, c=factor: -c * e / (S[k] if np.ndim(k) == 0 else S[k][:, None])
        if rng.random() < 0.5:
            loss = looped(total=(np.mean, np.sum)[rng.integers(2)], **options)
        else:
            at = (lambda r, L, n: r.integers(L, size=n), lambda r, L, n: np.full(n, r.integers(L)))[rng.integers(2)]
            loss = drawn(index=at, **options)
        report = check_loss(loss, objective="multilevel_denoising", rng=int(rng.integers(1 << 30)), model=model)
        if not report:
            found.append(str(report))
    return found


def test_no_false_alarm_on_right_losses_over_levels():
    assert joint_alarms(5, 0) == []


def test_the_count_of_alarms_over_levels_counts():
    assert len(joint_alarms(4, 1, mistaken=True)) == 4


@pytest.mark.nightly
def test_no_false_alarm_on_many_right_losses_over_levels():
    assert joint_alarms(500, 2) == []


# ------------------------------------------------------------------------------- the user's own schedule, levels drawn inside

STEPS = 50
SCHEDULE = np.stack([np.sqrt(a := np.cumprod(1 - np.linspace(1e-3, 0.2, STEPS))), np.sqrt(1 - a)], axis=1)


def ddpm(fn, x, rng, size=1.0, shift=0, steps=STEPS):
    """A loss that draws its own timesteps; `size` of the noise, `shift` of what fn is told and fewer `steps` are mistakes."""
    t, eps = rng.integers(0, steps, size=len(x)), rng.standard_normal(x.shape)
    c, sigma = SCHEDULE[t, :1], SCHEDULE[t, 1:]
    return np.mean((fn(c * x + size * sigma * eps, np.maximum(t - shift, 0)) - eps) ** 2)


def sub_vp(t):
    c = np.exp(-5 * t**2 - 0.05 * t)
    return c, 1 - c**2


def own_times(fn, x, rng):
    t, eps = rng.uniform(0.02, 1, len(x)), rng.standard_normal(x.shape)
    c, sigma = (a[:, None] for a in sub_vp(t))
    return np.mean(np.sum((sigma * fn(c * x + sigma * eps, t) + eps) ** 2, axis=1))


def test_levels_drawn_inside_are_held_to_the_users_schedule():
    said = {"objective": "multilevel_denoising", "predicts": "eps", "levels": SCHEDULE}
    assert check_loss(ddpm, **said)
    for mistake in ({"size": 2.0}, {"shift": 1}, {"steps": 35}, {"steps": 1}):
        report = check_loss(lambda fn, x, rng, m=mistake: ddpm(fn, x, rng, **m), **said)
        assert report.verdict == "FAIL" and "level" in report.diagnosis, report


def test_two_timesteps_are_not_told_as_one():
    def loss(fn, x, t, rng, told):
        eps, (c, sigma) = rng.standard_normal(x.shape), SCHEDULE[t].T[..., None]
        return np.mean((fn(c * x + sigma * eps, told(t)) - eps) ** 2)

    said = {"objective": "multilevel_denoising", "predicts": "eps", "levels": SCHEDULE}
    assert check_loss(lambda fn, x, t, rng: loss(fn, x, t, rng, lambda t: t + 1), **said)
    clipped = check_loss(lambda fn, x, t, rng: loss(fn, x, t, rng, lambda t: np.minimum(t + 1, STEPS - 1)), **said)
    assert clipped.verdict == "FAIL" and clipped.name == "level told", clipped


def test_levels_drawn_inside_are_those_of_the_users_kernel():
    assert check_loss(own_times, objective="multilevel_denoising", kernel=sub_vp)
    steeper = lambda t: (sub_vp(t)[0], sub_vp(t)[1] ** 0.5)
    assert check_loss(own_times, objective="multilevel_denoising", kernel=steeper).verdict == "FAIL"


BARS = np.cumprod(1 - np.linspace(1e-3, 0.35, 20))
TABLE = np.stack([np.sqrt(BARS), np.sqrt(1 - BARS)], axis=1)


def scheduled(target, told=lambda t: t, weight=1.0):
    """A loss over the timesteps of `TABLE`, target(c, s, eps, x, rng)."""

    def loss(fn, x, t, rng):
        (c, s), z = TABLE[t].T[:, :, None], rng.standard_normal(x.shape)
        return np.mean(weight * (fn(c * x + s * z, told(t)) - target(c, s, z, x, rng)) ** 2)

    return loss


SLIPS = {  # loss, what fn predicts, words
    "squares": (scheduled(lambda c, s, z, x, rng: c**2 * z - s**2 * x), "v", "squares in the target"),
    "scaled": (scheduled(lambda c, s, z, x, rng: c * x), "x", "multiplied by c"),
    "nothing of the data": (scheduled(lambda c, s, z, x, rng: x + s / c * z), "x", "noisy point as the target"),
    "rows dropped": (scheduled(lambda c, s, z, x, rng: z * (rng.random((len(x), 1)) < 0.7)), "eps", "rows without a target"),
    "entries dropped": (scheduled(lambda c, s, z, x, rng: z * (rng.random(x.shape) < 0.8)), "eps", "entries without a target"),
    "the first row's level": (scheduled(lambda c, s, z, x, rng: c[0] * z - s[0] * x), "v", "that of the first row"),
    "an averaged level": (scheduled(lambda c, s, z, x, rng: c.mean() * z - s.mean() * x), "v", "level of the target: the targets of all rows"),
    "two timesteps as one": (scheduled(lambda c, s, z, x, rng: z, told=lambda t: t // 2), "eps", "same number at different levels"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_slips_in_the_target_are_told_by_what_is_there(name):
    """Dropped rows were "weights averaged", dropped entries "some dimensions", two timesteps told as one those "of another row"."""
    loss, predicts, words = SLIPS[name]
    report = check_loss(loss, objective="multilevel_denoising", levels=TABLE, predicts=predicts)
    assert report.verdict == "FAIL" and words in report.diagnosis, report
    right = {
        "v": lambda c, s, z, x, rng: c * z - s * x,
        "x": lambda c, s, z, x, rng: x,
        "eps": lambda c, s, z, x, rng: z,
    }
    assert check_loss(scheduled(right[predicts]), objective="multilevel_denoising", levels=TABLE, predicts=predicts)


def test_a_weight_that_is_negative_at_some_levels_is_no_sign_of_the_loss():
    def loss(fn, x, sigmas, rng):
        each = [(s, rng.standard_normal(x.shape)) for s in sigmas]
        return np.mean([(s**2 - 0.4) * np.mean((fn.score(x + s * z) + z / s) ** 2) for s, z in each])

    report = check_loss(loss, objective="multilevel_denoising")
    assert report.name == "sign of the weight" and "at sigma" in report.diagnosis, report


KEPT = np.random.default_rng(5).standard_normal((64, 16))
MEMORY: dict = {}


def single(points=lambda x, s, z, rng: x + s * z, target=lambda x, s, z, rng: -z / s):
    """A loss of one level with other points or targets."""

    def loss(fn, x, sigma, rng):
        z = rng.standard_normal(x.shape)
        return np.mean((fn.score(points(x, sigma, z, rng)) - target(x, sigma, z, rng)) ** 2)

    return loss


def averaging(x, s, z, rng):
    """Points of noise averaged with that of the call before."""
    z, MEMORY[x.shape] = (z + MEMORY.get(x.shape, z)) / 2, z
    return x + s * z


ONE_LEVEL = {  # loss, words
    "multiplied": (single(lambda x, s, z, rng: x * (1 + s * z)), "noise that multiplies the data"),
    "shuffled data": (single(target=lambda x, s, z, rng: (rng.permutation(x) - x - s * z) / s**2), "data x of another row"),
    "kept from call to call": (single(averaging), "state: "),
    "drawn at import": (lambda fn, x, sigma: np.mean((fn.score(x + sigma * (z := KEPT[: len(x), : x.shape[1]])) + z / sigma) ** 2), "fixed noise"),
    "the noisy point": (single(target=lambda x, s, z, rng: -(x + s * z) / s**2), "not subtracted"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_LEVEL)
def test_mistakes_of_one_level_are_told_by_what_is_there(name):
    """Multiplied data and noise drawn at import were INCONCLUSIVE, shuffled data "other noise", a memory a "clipped loss"."""
    loss, words = ONE_LEVEL[name]
    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and words in report.diagnosis, report
    assert check_loss(single(), objective="denoising")


def test_notes_on_the_size_of_the_noise_and_on_points_asked_twice():
    root = check_loss(
        single(lambda x, s, z, rng: x + np.sqrt(s) * z, lambda x, s, z, rng: -z / np.sqrt(s)), objective="denoising"
    )
    assert root and any("standard deviation sqrt(sigma)" in note for note in root.notes), root

    def teacher(fn, x, t, rng):
        (c, s), z = TABLE[t].T[:, :, None], rng.standard_normal(x.shape)
        y = c * x + s * z
        return np.mean((fn(y, t) - (fn(y, np.maximum(t - 1, 0)) + z) / 2) ** 2)

    twice = check_loss(teacher, objective="multilevel_denoising", levels=TABLE, predicts="eps")
    assert any("same points with different levels" in note for note in twice.notes), twice


def test_offset_noise_passes_where_the_noise_is_said_to_be_predicted():
    """It was INCONCLUSIVE; diffusers' examples add it."""

    def loss(fn, x, t, rng):
        (c, s), z = TABLE[t].T[:, :, None], rng.standard_normal(x.shape) + 0.1 * rng.standard_normal((len(x), 1))
        return np.mean((fn(c * x + s * z, t) - z) ** 2)

    said = {"objective": "multilevel_denoising", "levels": TABLE}
    assert check_loss(loss, **said, predicts="eps")
    assert check_loss(loss, **said).verdict == "INCONCLUSIVE"


# ------------------------------------------------------------------------------- what a target p eps + q x is called

SIZES, SIGMA = ((4, 3), (2, 4), (6, 3), (4, 5), (2, 5)), np.array([0.5, 0.8, 0.3, 0.65, 0.8])
SCALES = {"exploding": 0 * SIGMA + 1, "preserving": np.sqrt(1 - SIGMA**2), "straight": 1 - SIGMA, "halved": 0 * SIGMA + 0.5}  # fmt: skip


def made(form, kernel="preserving", weight=lambda c, s: 1.0, levels=1):
    """The `Read` of five points with targets p eps + q x, (p, q) = form(c, sigma)."""
    c, s, none = SCALES[kernel], SIGMA, 0 * SIGMA
    p, q, w = (none + v for v in (*form(c, s), weight(c, s)))
    of = [Level(n, d, size, 1, scale, levels) for (n, d), size, scale in zip(SIZES, s, c, strict=True)]
    return Read(w, p, q, none, c, s, np.stack([np.arange(5), np.zeros(5, int)], axis=1), of, 1e-9, none)


def score_of_target(row, r, y, fn):
    """The score that `row.score` makes of fn's answers at y, for the numbers of r."""
    sigma, c = r.sigma, r.c
    text = row.score.replace("^", "**").replace("x~", "y").replace("(c fn", "(c*fn").replace("c fn)", "c*fn)")
    text = text.replace(") fn", ")*fn").replace("(r c/sigma)", "(np.sqrt(1 - sigma**2)/sigma)")
    return eval(text, {"np": np, "y": y, "fn": fn, "sigma": sigma, "c": c})


@pytest.mark.parametrize("kernel", SCALES)
@pytest.mark.parametrize("k", range(len(PARAMETRISATIONS)))
def test_each_parametrisation_is_right_for_its_kernels_alone(k, kernel):
    """The oracle: with fn = p eps + q x and one x the score is -eps/sigma at every point, whatever eps and x are."""
    row, rng = PARAMETRISATIONS[k], np.random.default_rng(k)
    r, e, x = made(row.form, kernel), rng.standard_normal(5), rng.standard_normal(5)
    fits = np.allclose(row.kernel(r.c, r.sigma) + 0 * r.c, 1)
    right = np.allclose(score_of_target(row, r, r.c * x + r.sigma * e, r.p * e + r.q * x), -e / r.sigma)
    assert right or not fits, "the score said does not follow"
    for said in (None, "noise"):
        naming = name(r, "denoising", True, said)
        hold(naming)
        plain = kernel == "exploding" and row.key in NOISE and said is None
        known = fits and (said == "noise" or row.key != "sigma score" or plain)
        verdict = "INCONCLUSIVE" if plain else "PASS" if known else naming.verdict
        assert naming.verdict == verdict and (known or naming.verdict != "PASS")
    if row.key not in ("sigma score", "edm", "sigma eps", "sigma^2 score"):
        turned = made(lambda c, s: tuple(-np.asarray(v) for v in row.form(c, s)), kernel)
        backward = made(row.form, kernel, lambda c, s: -1.0)
        for seen, verdict in ((r, "PASS"), (turned, "FAIL"), (backward, "FAIL")):
            naming = name(seen, "denoising", True, None, row.key)
            hold(naming)
            if fits and row.key != "velocity":
                assert naming.verdict == verdict
        assert name(r, "denoising", False, None).verdict == "FAIL"  # fn is a score


def test_an_energy_or_a_weight_below_zero_is_no_convention():
    for form in (lambda c, s: (1, 0), lambda c, s: (0, 1), lambda c, s: (-1 / s, 0)):
        for weight in (lambda c, s: -1.0, lambda c, s: s - 0.4):
            naming = name(made(form, weight=weight), "denoising", True, None)
            hold(naming)
            assert naming.verdict == "FAIL"


@pytest.mark.parametrize("k", range(len(MISTAKES)))
def test_each_mistake_is_what_its_words_say(k):
    words, form = MISTAKES[k]
    e, x, (c, s) = 0.7, -1.3, (SCALES["straight"], SIGMA)
    said = words.split(":")[0].split(", with")[0].replace("^", "**").replace("x~", "y")
    p, q = form(c, s)
    np.testing.assert_allclose(
        p * e + q * x, eval(said, {"y": c * x + s * e, "x": x, "sigma": s}), rtol=1e-14, atol=1e-14
    )
    for kernel in SCALES:
        naming = name(made(form, kernel), "denoising", False, None)
        hold(naming)
        if kernel != "exploding":  # where some of them are the right target, or a multiple of it
            assert naming.verdict == "FAIL" and naming.diagnosis == f"wrong target: the target is {words}"


@pytest.mark.parametrize("predicts", ["eps", "x", "v", "velocity"])
def test_slips_are_those_of_the_target_that_is_meant(predicts):
    row = next(r for r in PARAMETRISATIONS if r.key == predicts)
    kernel = "straight" if predicts == "velocity" else "preserving"
    e, x, (c, s) = 0.7, -1.3, (SCALES[kernel], SIGMA)
    of, (p, q) = (lambda f: f[0] * e + f[1] * x), row.form(c, s)
    y = c * x + s * e
    meant = {  # what each does to p eps + q x, written out
        "noisy point in the target, x~ in place of x": p * e + q * y,
        "noisy point in the target, x~ in place of eps": p * y + q * x,
        "c and sigma exchanged in the target": of(row.form(s, c)),
        "c and sigma exchanged in the target, and its sign": -of(row.form(s, c)),
        "sign of one term of the target": p * e - q * x,
        "sign of the other term of the target": q * x - p * e,
        "squares in the target, c^2 and sigma^2 in place of c and sigma": of(row.form(c**2, s**2)),
        "roots in the target, those of c and sigma in place of c and sigma": of(row.form(c**0.5, s**0.5)),
        "scale of the target, multiplied by c": c * (p * e + q * x),
        "scale of the target, divided by c": (p * e + q * x) / c,
        "scale of the target, multiplied by sigma": s * (p * e + q * x),
        "scale of the target, divided by sigma": (p * e + q * x) / s,
    }
    assert list(meant) == list(denoising_losses.SLIPS)
    for words, slip in denoising_losses.SLIPS.items():
        np.testing.assert_allclose(of(slip(row.form, c, s)) + 0 * s, meant[words] + 0 * s, rtol=1e-14)
        naming = name(made(lambda c, s, slip=slip: slip(row.form, c, s), kernel), "denoising", True, None, predicts)
        hold(naming)


def test_targets_of_noise_alone_are_told_by_their_factor():
    for objective, levels in (("denoising", 1), ("multilevel_denoising", 3)):
        for power in (-3, -2, -1, 0, 1):
            for sign in (1, -1):
                for times in (1, 2, 1.1):
                    if (power, sign, times) != (-1, -1, 1):
                        target = lambda c, s, a=sign * times, b=power: (a * s**b, 0)
                        naming = name(made(target, levels=levels, weight=lambda c, s: 2 * s**2), objective, False, None)
                        hold(naming)
                        assert naming.verdict == "FAIL"
    shifted = name(made(lambda c, s: (-1 / (1 + s**2), 0)), "denoising", False, None)
    hold(shifted)
    assert shifted.verdict == "FAIL"


def test_a_target_that_nobody_knows_and_what_fn_may_be():
    forms = {  # (p, q), whether a score follows from it
        "plain": (lambda c, s: (1, 0.3), True),
        "no law": (lambda c, s: (np.exp(s), np.cos(c)), None),  # if it is said to be smooth
        "no noise": (lambda c, s: (0, np.cos(c)), False),
        "nothing of the data": (lambda c, s: (np.exp(s), np.exp(s) * c / s), False),
    }
    for form, follows in forms.values():
        for smooth in (True, False):
            naming = name(made(form), "denoising", True, None, None, smooth)
            hold(naming)
            assert naming.verdict == ("INCONCLUSIVE" if follows or (follows is None and smooth) else "FAIL")
            assert name(made(form), "denoising", False, None, None, smooth).verdict == "FAIL"
    assert name(made(forms["no law"][0]), "denoising", True, None).verdict == "FAIL"  # smooth only if that was seen


def test_the_velocity_of_a_path_is_known_whatever_its_speed():
    along = {
        "circle": made(lambda c, s: (1.7 * c, -1.7 * s)),
        "line": made(lambda c, s: (2, -2), "straight"),
        "circle the other way": made(lambda c, s: (-1.7 * c, 1.7 * s)),
    }
    for r in along.values():
        naming = name(r, "denoising", True, None)
        hold(naming)
        assert naming.verdict == "PASS"
    slower = made(lambda c, s: (0.95, -1), "straight")._replace(sigma=0.05 + 0.95 * SIGMA)
    assert along_path(slower)[0] == "-1 x + 0.95 eps, the velocity of a straight path"
    assert (
        along_path(slower._replace(p=1.01 * slower.p)) is None and along_path(slower._replace(q=0 * slower.q)) is None
    )
    two = slower._replace(**{k: getattr(slower, k)[[0, 1, 1]] for k in ("p", "q", "c", "sigma")})
    assert along_path(two) is None  # any two points lie on a line
    assert along_path(made(lambda c, s: (1.7 * c, -1.6 * s))) is None
    uneven = along["circle"]
    assert along_path(uneven._replace(p=uneven.p * (1 + 1e-3 * np.arange(5)))) is None


def test_weights_of_levels_are_told_beside_the_reference_s():
    for weight in (
        lambda c, s: s**2, lambda c, s: 1.0, lambda c, s: 2 * s**2, lambda c, s: s, lambda c, s: 3 * s, lambda c, s: c * s**2,
        lambda c, s: 1 / (1 + s**2), lambda c, s: np.exp(s), lambda c, s: 0.5 / s**2, lambda c, s: s**2 / 3,
    ):  # fmt: skip
        naming = name(made(lambda c, s: (-1 / s, 0), weight=weight, levels=3), "multilevel_denoising", False, None)
        hold(naming)
        assert naming.verdict == "PASS"
    wrong = name(made(lambda c, s: (-1 / s, 0)), "multilevel_denoising", True, None, "x")
    hold(wrong)
    assert wrong.verdict == "FAIL"


def test_kernels_are_told_with_the_score_of_the_points():
    for c in SCALES.values():
        hold(kernel_note(c, SIGMA))
    assert kernel_note(SCALES["exploding"], SIGMA) == ()
    assert "between 0.5 and 0.6" in kernel_note(np.array([0.5, 0.6]), SIGMA[:2])[0]
    assert "with c = 0.5;" in kernel_note(np.array([0.5, 0.5 + 1e-7]), SIGMA[:2])[0]
    off = lambda by: kernel_note(np.sqrt(1 - SIGMA**2) + by, SIGMA)[0]
    assert "variance preserving" in off(2e-7) and "variance preserving" not in off(1e-5)  # 1e-6 of c^2 + sigma^2


def test_rows_without_a_weight_say_nothing_and_without_targets_it_is_said():
    r = made(lambda c, s: (-1 / s, 0))
    lost = np.array([False, True, False, False, True])
    some = r._replace(p=np.where(lost, np.nan, r.p), q=np.where(lost, np.nan, r.q))
    assert name(some, "denoising", False, None).verdict == "PASS"
    assert name(r._replace(p=np.nan * r.p), "denoising", False, None).diagnosis.startswith("no square")
    none = name(r._replace(p=0 * r.p), "denoising", False, None)
    assert none.diagnosis.startswith("no product with the noise") and none.pattern == "target = 0"
    tiny = name(r._replace(p=1e-10 * r.p), "denoising", False, None)
    assert tiny.diagnosis.startswith("no product with the noise")
    assert name(r._replace(p=1e-8 * r.p), "denoising", False, None).diagnosis.startswith("scale of the target")
    form = lambda c, s: (1, 0)
    near = made(form)._replace(p=np.ones(5) * (1 + 0.9 * COARSEST))
    assert is_form(near, form) and not is_form(near._replace(p=np.ones(5) * (1 + 1.5 * COARSEST)), form)
    assert is_form(near._replace(p=np.full(5, 1.001)), form, 2e-3)
    assert is_form(near._replace(q=np.full(5, 0.9 * COARSEST)), form)
    assert not is_form(near._replace(q=np.full(5, 2 * COARSEST)), form)


# ------------------------------------------------------------------------------- where a loss asks: c, sigma and eps of every point


def caller_of(loss, **known):
    said = {"step": 0.05, "weight": None, "predicts": None, "score_of": None, "kernel": None, "levels": None}
    return LossCaller("check_loss", loss, "denoising", None, said | known)


def setting_of(caller, n=4, d=3, sigma=0.5, seed=5):
    return _setting(caller, np.random.default_rng(seed), n, d, 1, sigma, 1)


def asked(points):
    """A loss that asks at the points made from x, sigma and rng, and writes down what they were made of."""
    made = []

    def loss(fn, x, sigma, rng):
        made.append(points(x, sigma, rng))
        return np.mean(fn.score(made[-1]["x~"]) ** 2)

    caller = caller_of(loss)
    setting = setting_of(caller)
    return caller, setting, noisy(caller, "score", setting, np.random.default_rng(1)), made[0]


def plain_points(x, s, rng):
    e = rng.standard_normal(x.shape)
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4))}


def scaled_points(x, s, rng):
    t, e = rng.uniform(0.2, 1.2, len(x)), rng.standard_normal(x.shape)
    points = np.cos(t)[:, None] * x + np.sin(t)[:, None] * e
    return {
        "x~": points,
        "c": np.cos(t),
        "sigma": np.sin(t),
        "eps": e,
        "row": np.arange(4),
        "source": (1, np.arange(4)),
    }


def other_order(x, s, rng):
    e = rng.standard_normal(x.shape)
    return {
        "x~": x[::-1] - s * e,
        "c": 1.0,
        "sigma": s,
        "eps": -e,
        "row": np.arange(4)[::-1],
        "source": (0, np.arange(4)),
    }


def turned_draw(x, s, rng):
    e = rng.standard_normal(x.shape[::-1]).T
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4))}


def one_for_a_row(x, s, rng):
    e = rng.standard_normal((len(x), 1)) * np.ones_like(x)
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4))}


def some_clean(x, s, rng):
    e, noised = rng.standard_normal(x.shape), np.array([1.0, 0, 1, 0])
    return {"x~": x + (s * noised)[:, None] * e, "c": 1.0, "sigma": s * noised, "eps": noised[:, None] * e, "row": np.arange(4), "source": (np.array([0, -2, 0, -2]), np.array([0, -2, 2, -2]))}  # fmt: skip


def mapped(x, s, rng):
    e = rng.standard_normal(x.shape)
    return {"x~": 2 * x - 1 + s * e, "c": 2.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4)), "offset": np.full(3, -0.5)}  # fmt: skip


def two_draws(x, s, rng):
    a, b = rng.standard_normal(x.shape), rng.standard_normal(x.shape)
    e, apart = (0.6 * a + 0.8 * b), (0.8 * a - 0.6 * b)
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4)), "apart": apart}  # fmt: skip


def centred(x, s, rng):
    z = rng.standard_normal(x.shape)
    e = z - z.mean(1, keepdims=True)
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4))}


def in_single(x, s, rng):
    e = rng.standard_normal(x.shape, dtype=np.float32)
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4), "source": (0, np.arange(4)), "single": True}  # fmt: skip


def matched(x, s, rng):
    """Noise that goes to the rows in the order of their first column."""
    e = rng.standard_normal(x.shape)[np.argsort(np.argsort(np.round(50 * x[:, 0])))]
    return {"x~": x + s * e, "c": 1.0, "sigma": s, "eps": e, "row": np.arange(4)}


POINTS = {f.__name__: f for f in (plain_points, scaled_points, other_order, turned_draw, one_for_a_row, some_clean, mapped, two_draws, centred, in_single, matched)}  # fmt: skip


@pytest.mark.parametrize("case", POINTS)
def test_what_was_done_to_the_data_is_found_point_by_point(case):
    """c is a quotient of differences of order one, known to 1e-15; sigma and eps follow; single precision has 6e-8 of them."""
    caller, setting, trial, made = asked(POINTS[case])
    near = {"rtol": 2e-6 if made.get("single") else 1e-9, "atol": 1e-6 if made.get("single") else 1e-9}
    assert trial.trouble == "" and caller.calls == 3 + (case == "matched") and trial.factors is None
    np.testing.assert_array_equal(trial.points, made["x~"])
    np.testing.assert_array_equal(trial.row, made["row"])
    np.testing.assert_allclose(trial.c, np.broadcast_to(made["c"], 4), **near)
    assert case in ("scaled_points", "mapped") or np.all(trial.c == 1)
    np.testing.assert_allclose(trial.sigma, np.broadcast_to(made["sigma"], 4), **near)
    np.testing.assert_allclose(trial.eps, made["eps"], **near)
    if "source" in made:
        np.testing.assert_array_equal(trial.source, np.stack(np.broadcast_arrays(*made["source"]), axis=1))
    np.testing.assert_allclose(0.0 if trial.offset is None else trial.offset, made.get("offset", 0.0), **near)
    np.testing.assert_allclose(trial.data, setting.x + made.get("offset", 0.0), rtol=1e-9)
    assert trial.single == bool(made.get("single")) and trial.coupled == (case == "matched")
    np.testing.assert_array_equal(trial.sigma == 0, np.broadcast_to(np.asarray(made["sigma"]) == 0, 4))
    if "apart" in made:
        np.testing.assert_allclose(np.abs(trial.apart), np.abs(made["apart"]), **near)
    kept = trial.only(np.array([True, False, True, False]))
    np.testing.assert_array_equal(kept.points, trial.points[[0, 2]])
    np.testing.assert_array_equal(kept.source, trial.source[[0, 2]])
    assert kept.told is None and len(kept.row) == len(kept.c) == len(kept.sigma) == len(kept.eps) == 2


UNKNOWN = {  # points, trouble
    "not heard": lambda x, s, rng: x + s * np.sin(rng.standard_normal(x.shape)),
    "not scaled": lambda x, s, rng: np.tanh(x) + s * rng.standard_normal(x.shape),
    "not scaled ": lambda x, s, rng: x + x.mean(0) + s * rng.standard_normal(x.shape),
    "": lambda x, s, rng: 0 * x + rng.standard_normal(x.shape),  # c = 0 is known
}


@pytest.mark.parametrize("trouble", UNKNOWN)
def test_what_is_not_known_of_the_points_is_said(trouble):
    _, _, trial, _ = asked(lambda x, s, rng: {"x~": UNKNOWN[trouble](x, s, rng)})
    assert trial.trouble == trouble.strip() and trial.factors is None
    if not trouble:
        assert np.all(trial.c == 0) and np.allclose(trial.sigma, 1, rtol=1e-12) and trial.row.tolist() == [0, 1, 2, 3]
    if trouble == "not heard":
        assert np.all(np.isnan(trial.sigma)) and np.all(np.isnan(trial.eps)) and np.all(trial.source == -1)


def test_noise_that_multiplies_the_data_leaves_its_factors():
    _, _, trial, made = asked(lambda x, s, rng: {"f": (f := 1 + s * rng.standard_normal(x.shape)), "x~": x * f})
    np.testing.assert_allclose(trial.factors, made["f"], rtol=1e-9)
    assert trial.trouble == "not scaled"


def test_points_close_together_are_one_point():
    """A central difference of the user's own: its middle has the noise."""

    def loss(fn, x, sigma, rng):
        y = x + sigma * rng.standard_normal(x.shape)
        return np.mean(fn.score(y + 1e-5) ** 2 + fn.score(y - 1e-5) ** 2)

    caller = caller_of(loss)
    trial = noisy(caller, "score", setting_of(caller), np.random.default_rng(1))
    assert trial.trouble == "" and len(trial.points) == 4
    np.testing.assert_allclose(trial.sigma, 0.5, rtol=1e-9)
    apart = lambda h, *more: _centred(Trial(None, np.array([[0.0, 1], [h, 1], *more]), np.array([1.0, 3.0, *map(len, more)])))  # fmt: skip
    middle, of = apart(0.9e-3)
    np.testing.assert_array_equal(middle.points, [[0.45e-3, 1]])
    assert middle.told.tolist() == [2.0] and len(apart(1.1e-3)[0].points) == 2
    moved = of(SimpleNamespace(points=np.array([[2.0, 4], [4, 6]]), _replace=lambda points: points))
    np.testing.assert_array_equal(moved, [[3.0, 5]])
    assert len(apart(1e-4, [5.0, 5.0])[0].points) == 3  # groups of other sizes are no quotients


def test_rows_of_d_numbers_in_what_was_drawn():
    d, a = 3, np.arange(1.0, 13)
    rows, of = rows_of([Draw("normal", a.reshape(4, 3)), Draw("random", a.reshape(2, 2, 3)), Draw("integers", a.reshape(4, 3))], d)  # fmt: skip
    np.testing.assert_array_equal(rows, np.tile(a.reshape(4, 3), (2, 1)))
    assert of.tolist() == [[0, j] for j in range(4)] + [[1, j] for j in range(4)]
    turned, _ = rows_of([Draw("normal", a.reshape(3, 4))], d)
    np.testing.assert_array_equal(turned, a.reshape(3, 4).T)
    assert len(rows_of([Draw("random", a.reshape(3, 4))], d)[0]) == 0
    for each in (a[:4], a[:4, None]):
        rows, of = rows_of([Draw("standard_normal", each)], d)
        np.testing.assert_array_equal(rows, np.repeat(a[:4, None], 3, axis=1))
        assert of.tolist() == [[0, j] for j in range(4)] and len(rows_of([Draw("random", each)], d)[0]) == 0
    held, of = rows_of([Draw("normal", np.array([[0.0, 0, 0], [1, 2, 3]]))], d)
    assert held.tolist() == [[1, 2, 3]] and of.tolist() == [[0, 1]]
    nothing, of = rows_of([Draw("normal", np.empty((0, 3))), Draw("normal", np.array(2.0))], d)
    assert nothing.shape == (0, 3) and of.shape == (0, 2)
    for shape, of in (
        ((4, 3), True),
        ((2, 1, 3), True),
        ((4, 6), False),
        ((2, 3, 2), False),
        ((3,), True),
        ((2,), False),
    ):
        assert _ends_with(shape, 3) == of
    assert _ends_with((5, 2, 3), 6) and not _ends_with((5, 4, 3), 6)


def many_rows(mix, sigma=np.sin, M=40, d=3):
    """A `Trial` of 40 points whose noise is sigma_i r_i B of normals that were drawn."""
    rng = np.random.default_rng(0)
    r, t, x = rng.standard_normal((M, d)), rng.uniform(0.2, 1.2, M), rng.standard_normal((M, d))
    more = rng.standard_normal((M, len(mix) - d))
    arrays = (r, more, r) if more.size else (r,)  # what is drawn twice counts once
    draws, all_r = tuple(Draw("standard_normal", a) for a in arrays), np.concatenate([r, more], axis=1)
    eps = all_r @ mix
    points = x + sigma(t)[:, None] * eps
    setting = SimpleNamespace(x=x, n=M, d=d)
    return Trial(setting, points, None, draws, np.arange(M), np.ones(M), trouble="not heard"), sigma(t), eps


def test_a_mixture_of_what_was_drawn_is_solved():
    """Equations of condition 1e3 at most."""
    B = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.3, 0.0, 1.0]])
    trial, sigma, eps = many_rows(B)
    size = np.sqrt(3 / np.sum(B**2))
    found = mixture(trial, 2e-16)
    np.testing.assert_allclose(found, B * size, rtol=0, atol=1e-10)
    known = with_mixture(trial, found, 2e-16)
    np.testing.assert_allclose(known.sigma, sigma / size, rtol=1e-9)
    np.testing.assert_allclose(known.eps, eps * size, rtol=0, atol=1e-9)
    assert known.trouble == "" and known.source.tolist() == [[0, j] for j in range(40)]
    assert mixture(trial._replace(trouble=""), 2e-16) is None and with_mixture(trial, found[:2], 2e-16) is None
    assert with_mixture(trial, -found, 2e-16) is None and with_mixture(trial, found.T, 2e-16) is None
    B4 = np.vstack([np.eye(3), np.full((1, 3), 0.3)])  # one number for all of a row added
    joined, sigma, eps = many_rows(B4)
    found = mixture(joined, 2e-16)
    np.testing.assert_allclose(found, B4 * np.sqrt(3 / np.sum(B4**2)), rtol=0, atol=1e-10)
    np.testing.assert_allclose(with_mixture(joined, B4, 2e-16).sigma, sigma, rtol=1e-9)
    few = many_rows(B, M=3)[0]  # nine equations for nine and three unknowns
    assert mixture(few, 2e-16) is None
    off = trial._replace(points=trial.points + 1e-4 * np.sin(np.arange(120.0)).reshape(40, 3))
    assert mixture(off, 2e-16) is None
    rounded = trial._replace(points=trial.points.astype(np.float32).astype(float))
    assert mixture(rounded, 2e-16) is None and mixture(rounded, 1e-7) is not None


def test_normals_that_belong_to_no_point_are_put_beside_them():
    draws = tuple(Draw(name, np.arange(12.0).reshape(4, 3) + 1) for name in ("normal", "normal", "random")) + (Draw("normal", np.ones((8, 3))),)  # fmt: skip
    setting = SimpleNamespace(n=4, d=3)
    trial = Trial(setting, np.zeros((2, 3)), None, draws, row=np.array([3, 1]), source=np.array([[0, 1], [0, 2]]))
    beside = with_draw_apart(trial, (1, 0))
    assert beside.apart.tolist() == [[10, 11, 12], [4, 5, 6]] and beside.apart_of == (1, 0)
    assert apart_from(trial) == [(1, 0), (3, 0), (3, 1)]
    assert [with_draw_apart(trial, block) for block in ((0, 0), (2, 0), (4, 0))] == [
        None
    ] * 3  # used, not normal, not there
    draws = (Draw("normal", np.arange(24.0).reshape(2, 4, 3) + 1), Draw("normal", np.ones((6, 3))))
    both = trial._replace(
        draws=draws, source=np.array([[0, 5], [-1, -1]])
    )  # of two times n rows the last n, of six none
    assert apart_from(both) == [(0, 0)] and with_draw_apart(both, (0, 0)).apart.tolist() == [[10, 11, 12], [4, 5, 6]]


def test_means_given_the_noisy_points_are_sums_over_the_rows_of_the_batch():
    rng = np.random.default_rng(0)
    x, y, c, s = (
        rng.standard_normal((3, 2)),
        rng.standard_normal((3, 2)),
        np.array([1.0, 0.5, 0.8]),
        np.array([0.4, 2.0, 0.7]),
    )
    trial = Trial(
        SimpleNamespace(n=3, x=x, _replace=lambda x: SimpleNamespace(n=3, x=x)), y, None, row=np.arange(3), c=c, sigma=s
    )
    found = with_posterior_means(trial)
    for i in range(3):
        w = [np.exp(-sum((y[i] - c[i] * x[j]) ** 2) / (2 * s[i] ** 2)) for j in range(3)]
        mean = sum(w[j] * x[j] for j in range(3)) / sum(w)
        np.testing.assert_allclose(found.data[found.row[i]], mean, rtol=1e-12)
        np.testing.assert_allclose(found.eps[i], (y[i] - c[i] * mean) / s[i], rtol=1e-12)
    assert with_posterior_means(trial._replace(points=y[:2])) is None
    assert with_posterior_means(trial._replace(sigma=s * [1, 0, 1])) is None


# ------------------------------------------------------------------------------- maps and rules of the noise, on made points


def points_of(x, shift, c=1.0, sigma=0.5, draws=(), **more):
    """A `Trial` with the points c x + shift."""
    n, d = x.shape
    c = None if c is None else c + np.zeros(n)
    setting = SimpleNamespace(x=x, n=n, d=d, levels=1, level=0.5)
    draws = draws or [Draw("normal", shift)]
    rest = {
        "row": np.arange(n),
        "sigma": sigma + np.zeros(n),
        "eps": shift / 0.5,
        "source": np.stack([np.zeros(n, int), np.arange(n)], axis=1),
    } | more
    return Trial(setting, (0 * x if c is None else c[:, None] * x) + shift, None, tuple(draws), c=c, **rest)


X4 = np.random.default_rng(11).standard_normal((6, 4))
Z4 = np.random.default_rng(12).standard_normal((6, 4))
ODD = np.array([1.0, 1, 2, 2, 3, 3])
SPOILT = {  # trials, what is said (the start of it), the pattern
    "right": (lambda: [points_of(X4, 0.5 * Z4)], "", ""),
    "clipped": (lambda: [points_of(X4, np.clip(X4 + 2 * Z4, -1, 1) - X4, trouble="not heard", sigma=np.nan)], "bounded points: several entries of the noisy points stand at 1 (clipped or clamped, divided by their largest, set to an end of the range?); they are not c x + sigma eps", "several entries stand at 1"),
    "not clipped": (lambda: [points_of(X4, np.clip(X4 + 2 * Z4, -1, 1) - X4)], "", ""),
    "columns": (lambda: [points_of(X4, 0.5 * Z4 * [1, 1, 0, 1])], "dimensions without noise: some entries of the points get no noise (columns, a mask?)", "x~ = c x in some columns"),
    "columns, once": (lambda: [points_of(X4, 0.5 * Z4 * [1, 1, 0, 1]), points_of(X4, 0.5 * Z4)], "", ""),
    "no noise": (lambda: [points_of(X4, 0 * Z4, sigma=0.0)], "clean point: the score is taken at the clean x, never at the noisy x + sigma eps", "fn was asked at x and nowhere else"),
    "one for a row": (lambda: [points_of(X4, 0.5 * Z4[:, :1] * np.ones(4))], "shared noise: every dimension of a row gets the same noise", "x~ - c x is the same in all columns"),
    "one for two columns": (lambda: [points_of(X4, 0.5 * Z4[:, [0, 1, 0, 2]])], "shared noise: some coordinates of a row get the same noise", "x~ - c x is the same in the columns [0, 2], [1], [3]"),
    "one for all rows": (lambda: [points_of(X4, 0.5 * Z4[:1] * np.ones((6, 1)))], "shared noise: every row gets the same noise; draw one for each row", "x~ - c x is the same in all rows"),
    "one for all rows, of other sizes": (lambda: [points_of(X4, Z4[:1] * np.arange(1.0, 7)[:, None])], "shared noise: every row gets the same noise; draw one for each row", "x~ - c x is the same in all rows"),
    "halves": (lambda: [points_of(X4, 0.5 * np.tile(Z4[:3], (2, 1)))], "shared noise: different rows of the batch get the same noise (it is drawn for a part of the batch, and repeated, or its numbers are fixed nodes?)", "x~ - c x is the same in several rows"),
    "two rows alike": (lambda: [points_of(X4, 0.5 * Z4[[0, 0, 1, 2, 3, 4]])], "", ""),
    "signs in halves": (lambda: [points_of(X4, 0.5 * np.sign(np.tile(Z4[:3], (2, 1))))], "", ""),
    "centred": (lambda: [points_of(X4, 0.5 * (Z4 - Z4.mean(0)))], "noise centred: the mean over the batch is taken from the noise", "the sum of x~ - c x over the rows is 0"),
    "centred, two rows": (lambda: [points_of(X4[:2], 0.5 * (Z4 - Z4[:2].mean(0))[:2])], "", ""),
    "antithetic": (lambda: [points_of(X4, 0.5 * np.concatenate([Z4[:3], -Z4[:3]]))], "", ""),
    "data not used": (lambda: [points_of(X4, 0.5 * Z4, c=0.0)], "data not used: the points at which fn is asked do not depend on x", "x~ = noise"),
    "data used by some": (lambda: [points_of(X4, 0.5 * Z4, c=1.0 * (np.arange(6) > 2))], "", ""),
    "multiplied": (lambda: [points_of(X4, 0 * X4, draws=[Draw("normal", Z4)], factors=1 + 0.3 * Z4, c=None)], "noise that multiplies the data: the noisy points are (a + b z) x", "x~ moves by a + b z times what x moves"),
    "multiplied by something": (lambda: [points_of(X4, 0.5 * Z4, draws=[Draw("normal", Z4)], factors=1 + Z4**3)], "", ""),
    "uniform": (lambda: [points_of(X4, 0.5 * Z4, draws=[Draw("uniform", Z4)])], "not Gaussian: the score of the noisy points is the mean of -eps/sigma for Gaussian noise alone, and the noise is drawn by uniform", "the draws were heard"),
    "clipped noise": (lambda: [points_of(X4, 0.5 * np.clip(Z4, -0.8, 0.8), draws=[Draw("normal", Z4)], sigma=np.where(np.abs(Z4).max(1) > 0.8, np.nan, 0.5), trouble="inferred")], "clipped noise: the noise is clipped (truncated) at 0.8 standard deviations", None),
    "masked": (lambda: [points_of(X4, 0.5 * Z4 * (np.arange(24).reshape(6, 4) % 3 > 0), draws=[Draw("normal", Z4)], sigma=np.nan, trouble="inferred")], "dimensions without noise: ", "x~ = c x there"),
    "clamped": (lambda: [points_of(X4, np.minimum(X4 + 0.5 * Z4, 0.9) - X4, draws=[Draw("normal", Z4)], sigma=np.where((X4 + 0.5 * Z4).max(1) > 0.9, np.nan, 0.5), trouble="inferred")], "clipped points: the noisy points are clipped (clamped) at 0.9;", None),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILT)
def test_what_is_wrong_with_points_is_said_of_made_points(case):
    make, text, pattern = SPOILT[case]
    naming = perturbation.perturbation(SimpleNamespace(takes={}), make())
    if not text:
        assert naming is None, naming
        return
    assert naming.verdict == "FAIL" and naming.diagnosis.startswith(text) and pattern in (None, naming.pattern), naming


def test_noise_that_was_given_is_used_row_by_row():
    caller = SimpleNamespace(takes={"noise": ("z", None)}, notes=set())
    of = lambda name, rows: perturbation.perturbation(caller, [points_of(X4, 0.5 * Z4, draws=[Draw(name, Z4)], source=np.stack([0 * np.arange(6), rows], 1))])  # fmt: skip
    assert (
        of("the noise given", np.arange(6)) is None and of("the noise given", np.arange(6) + 6) is None
    )  # of the second level
    assert caller.notes == set()
    text = "the noise of the points is not what was given as z"
    assert of("normal", np.arange(6)) is None  # what the target belongs to is asked of the target
    assert caller.notes == {f"{text}: another is drawn (or is z meant to be something else?)"}
    caller.notes.clear()
    assert of("the noise given", np.roll(np.arange(6), 1)) is None
    assert caller.notes == {f"{text}, row by row: rows have the noise of other rows"}


def test_maps_of_the_data_are_read_with_their_scale():
    s = np.array([0.3, 0.5, 0.7, 0.2, 0.9, 0.6])
    read = lambda c, offset, sigma=s: perturbation._of_mapped_data([points_of(X4, 0.5 * Z4, c=c, sigma=sigma, offset=offset)])  # fmt: skip
    half_down = np.full(4, -0.5)
    for c, scale, rest in ((2.0, 2.0, 1.0), (3 * np.sqrt(1 - s**2), 3.0, np.sqrt(1 - s**2)), (2 * (1 - s), 2.0, 1 - s), (1 + s**3, 1.0, 1 + s**3), (2.5, 2.5, 1.0)):  # fmt: skip
        (trial,), (note,) = read(c, half_down)
        assert trial.scale == pytest.approx(scale, rel=1e-12)
        np.testing.assert_allclose(trial.c, rest + 0 * s, rtol=1e-12)
        b = 0.5 * scale
        words = f"{'' if scale == 1 else f'{scale:g} '}x - {b:g}"
        assert (
            note
            == f"another convention: the data are mapped to {words} before the noise is added; a score learnt there is that of the mapped data"
        )
    assert "2 x + 1 before" in read(2.0, -half_down)[1][0]
    assert "2 x + a constant vector" in read(2.0, np.array([-0.5, 0.5, 0, 0]))[1][0]
    assert read(2.0, None)[1] == () and read(2.0, None)[0][0].scale == 1.0


def strange(target, eps=Z4, x=X4, sigma=0.5, offset=None, draws=(), d=None):
    """What is said of targets that are not made of the noise and the data of their rows."""
    trial = points_of(x, sigma * eps, sigma=sigma, eps=eps, offset=offset, draws=draws)
    n, d = x.shape
    whole = np.zeros((n, d, n, d))
    whole[np.arange(n)[:, None], np.arange(d), np.arange(n)[:, None], np.arange(d)] = 1.0
    found = SimpleNamespace(own=np.tile(np.eye(d), (n, 1, 1)), b=-target, A=whole)
    r = SimpleNamespace(sigma=trial.sigma)
    return noise._strange(SimpleNamespace(), [trial], [found], r)


def test_targets_that_are_not_of_their_rows_are_told_by_what_they_are():
    kept = np.random.default_rng(3).random((6, 4)) < 0.7
    dropped = strange(-2 * Z4 * kept)
    assert (
        dropped.diagnosis.startswith("entries without a target: ")
        and dropped.pattern == f"{1 - kept.mean():.0%} of the entries"
    )
    for right in (Z4, X4):
        assert strange(right * kept).diagnosis.startswith("entries without a target")
    signs = strange(Z4[:, [1, 0, 2, 3]])
    assert signs.diagnosis.endswith("in the order 1, 0, 2, 3 (of the noise eps)")
    square = strange(np.exp(Z4 / 2))
    assert (
        square.diagnosis
        == "wrong target, not linear: it is no p eps + q x of its own point; its entries go with those of the noise, and are not their multiples (a square, a log density, a clip, a mean that is removed?)"
    )
    bent = strange(np.tanh(X4 + 0.5 * Z4))
    assert "its entries go with those of the noisy point, and are not their multiples" in bent.diagnosis
    draws = [Draw("normal", Z4)]
    other = strange(-2 * Z4 + 0.3 * np.roll(Z4, 1, 0), draws=draws)
    assert (
        other.diagnosis
        == "wrong target, other rows: the target of a row is made of the noise of another row of the batch (shuffled, rolled, or paired wrongly?)"
    )
    assert other.pattern == "100% of the rows"
    data = strange(Z4 + 0.3 * np.roll(X4, 1, 0), draws=draws)
    assert "made of the data x of another row" in data.diagnosis
    assert (
        strange(-2 * Z4 + np.random.default_rng(8).standard_normal((6, 4)), draws=draws).diagnosis
        == noise.NOT_OF_ITS_ROW
    )
    shifted = strange(-2 * Z4 + 0.4 * X4 - 0.7, offset=np.full(4, 0.5))
    assert shifted.pattern == "target = -2 eps +0.4 x' -0.9" and shifted.diagnosis.startswith(
        "wrong target, constant: "
    )
    assert strange(-2 * Z4 - 0.7, offset=np.full(4, 0.5)).pattern == "target = -2 eps -0.7"
    assert "x' = x + 0.5, and the target is -2 eps -0.7 instead of -eps/sigma" in strange(-2 * Z4 - 0.7, offset=np.full(4, 0.5)).diagnosis  # fmt: skip


def test_a_target_is_split_into_the_fewest_rows():
    vectors, rng = np.eye(5)[:3], np.random.default_rng(0)
    target = 2 * vectors[0] - vectors[2]
    candidates = [((7, 8), vectors[:2]), ((7, 9), vectors[[0, 2]]), ((8, 9), vectors[1:])]
    assert noise._sum_of(target, candidates) == [7, 9] and noise._sum_of(2 * vectors[0], candidates) == [7]
    assert noise._sum_of(rng.standard_normal(5), candidates) is None and noise._sum_of(target, []) is None
    beside = [((4,), np.stack([vectors[0], vectors[1], vectors[2]]))]  # own vectors first: those are not counted
    assert noise._sum_of(target, beside) == [4] and noise._sum_of(2 * vectors[0], beside) == []


def test_the_size_of_the_noise_is_that_of_the_level_handed():
    caller = SimpleNamespace(takes={"sigma": 0}, known={"levels": None})
    trials = [SimpleNamespace(setting=SimpleNamespace(levels=1, level=s, x=np.zeros((1, 3))), row=np.array([0])) for s in SIGMA]  # fmt: skip
    say = lambda size, p, c=1.0: noise._size(caller, trials, made(lambda c, s: (1, 0))._replace(sigma=size, p=p, c=c + 0 * SIGMA))  # fmt: skip
    assert say(SIGMA, -1 / SIGMA) == (None, ()) and say(0.5 * SIGMA, -2 / SIGMA, 0.5) == (None, ())
    wrong, notes = say(SIGMA**0.5, -1 / SIGMA)
    assert (
        notes == ()
        and wrong.diagnosis
        == "scale of the noise: the noise that is added has standard deviation sqrt(sigma), the target is that of sigma"
    )
    assert wrong.pattern == "sigma told 0.5, added 0.7071"
    assert say(2 * SIGMA, -2 / SIGMA)[0].diagnosis.startswith("scale of the noise")  # -shift/sigma^2
    none, (note,) = say(SIGMA**2, -1 / SIGMA**2)
    assert (
        none is None
        and "standard deviation sigma^2, sigma being what the loss is handed, and the target is that of this noise"
        in note
    )
    assert "standard deviation 1/2 whatever sigma is" in say(0.5 + 0 * SIGMA, -2 + 0 * SIGMA)[1][0]
    assert say(SIGMA**2, 0.3 + 0 * SIGMA) == (
        None,
        (
            "another convention: the noise that is added has standard deviation sigma^2, sigma being what the loss is handed",
        ),
    )
    caller.takes = {"noise": 0}
    assert say(SIGMA**2, -1 / SIGMA) == (None, ())


# ------------------------------------------------------------------------------- noise in other units

UNITS = {  # of (x, sigma, rng): noisy points, sigma of the target beside eps; and what is said if the target is -eps/sigma
    "units of the data": (lambda x, sigma, eps: x + sigma * x.std(0) * eps, "noise of other sizes"),
    "cast to integers": (lambda x, sigma, eps: x + sigma * np.trunc(eps), "noise changed"),
}


@pytest.mark.parametrize("name", UNITS)
def test_noise_in_other_units_is_heard(name):
    points, words = UNITS[name]

    def loss(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        return np.mean(half(fn.score(points(x, sigma, eps)) + eps / sigma))

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and report.name == words, report


def test_the_score_of_noise_in_units_of_the_data_passes():
    def loss(fn, x, sigma, rng):
        eps, size = rng.standard_normal(x.shape), sigma * x.std(0)
        return np.mean(half(fn.score(x + size * eps) + eps / size))

    assert check_loss(loss, objective="denoising")


def in_steps(told):
    """Every noisy batch made of the one before."""

    def loss(fn, x, sigmas, rng):
        y, total, variance = x, 0.0, 0.0
        for sigma in np.sort(sigmas):
            eps = rng.standard_normal(x.shape)
            y, variance = y + sigma * eps, variance + sigma**2
            total += np.mean(half(sigma * fn(y, np.full(len(x), told(sigma, variance))) + eps))
        return total

    return loss


def by_entry(fn, x, sigmas, rng):
    sigma = sigmas[rng.integers(len(sigmas), size=x.shape)]
    eps = rng.standard_normal(x.shape)
    return np.mean(half(sigma * fn(x + sigma * eps, sigma[:, 0]) + eps))


def test_noise_that_accumulates_and_levels_of_entries_are_heard():
    check = lambda loss: check_loss(loss, objective="multilevel_denoising")
    assert check(in_steps(lambda sigma, variance: sigma)).name == "noise accumulates"
    assert (
        check(in_steps(lambda sigma, variance: variance**0.5)).verdict != "FAIL"
    )  # the target -eps/sigma is unbiased for it
    assert "the entries of a point have noise of different levels" in check(by_entry).diagnosis


def test_rows_that_are_not_used_and_times_told_coarsely_are_noted():
    def first(fn, x, sigma, rng):
        eps = rng.standard_normal(x[:1].shape)
        return np.mean(half(fn.score(x[:1] + sigma * eps) + eps / sigma))

    def coarse(fn, x, rng):
        t, eps = rng.uniform(0.02, 0.98, len(x)), rng.standard_normal(x.shape)
        c, s = np.cos(np.pi / 2 * t)[:, None], np.sin(np.pi / 2 * t)[:, None]
        return np.mean((s * fn(c * x + s * eps, (10 * t).astype(int)) + eps) ** 2)

    noted = lambda loss, objective: " ".join((report := check_loss(loss, objective=objective)).notes) * bool(report)
    assert "only the first 1 of the rows of x are used" in noted(first, "denoising")
    assert "numbers at 40 levels" in noted(coarse, "multilevel_denoising")


# ------------------------------------------------------------------------------- weights of the noise, and time that is handed


@pytest.mark.parametrize("sign, word", [(-1, "falls"), (1, "grows")])
def test_a_weight_that_goes_with_the_size_of_the_noise_moves_the_minimiser(sign, word):
    def loss(fn, x, sigma, rng):
        eps = rng.standard_normal(x.shape)
        w = np.exp(sign * 0.5 * np.sum(eps**2, axis=1))
        return np.sum(w * np.sum((fn.score(x + sigma * eps) + eps / sigma) ** 2, axis=1)) / np.sum(w)

    report = check_loss(loss, objective="denoising")
    assert report.verdict == "FAIL" and f"the weight of a row {word} with the size of its own noise" in report.diagnosis
    assert report.pattern == "in the same order for all 18 rows of one level", report


def test_weights_that_are_drawn_or_of_the_noisy_point_move_nothing():
    def loss(fn, x, sigma, rng, of):
        eps = rng.standard_normal(x.shape)
        y = x + sigma * eps
        w = of(y, rng)[:, 0]
        return np.mean(w * np.sum((fn.score(y) + eps / sigma) ** 2, axis=1))

    drawn = lambda y, rng: rng.uniform(0.5, 1.5, (len(y), 1))
    of_point = lambda y, rng: 1 / (1 + np.sum(y**2, axis=1, keepdims=True))
    for of in (drawn, of_point):
        report = check_loss(lambda fn, x, sigma, rng, of=of: loss(fn, x, sigma, rng, of), objective="denoising")
        assert report.verdict == "PASS", report


PATHS = {
    "straight": (lambda t: 1 - t, lambda t: t, lambda t: -1.0, lambda t: 1.0),
    "backwards": (lambda t: t, lambda t: 1 - t, lambda t: 1.0, lambda t: -1.0),
    "cosine": (
        lambda t: np.cos(t * np.pi / 2),
        lambda t: np.sin(t * np.pi / 2),
        lambda t: -np.pi / 2 * np.sin(t * np.pi / 2),
        lambda t: np.pi / 2 * np.cos(t * np.pi / 2),
    ),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sign, verdict", [(1, "PASS"), (-1, "FAIL")])
def test_one_time_for_a_batch_tells_the_sign_of_a_velocity(path, sign, verdict):
    c, s, c_prime, s_prime = PATHS[path]

    def loss(fn, x, t, rng):
        eps = rng.standard_normal(x.shape)
        return np.mean(np.sum((fn(c(t) * x + s(t) * eps) - sign * (c_prime(t) * x + s_prime(t) * eps)) ** 2, axis=1))

    report = check_loss(loss, objective="denoising", predicts="velocity")
    assert report.verdict == verdict, report
    assert verdict == "PASS" or "pulled towards minus the velocity" in report.diagnosis, report
    assert not any("time is not known" in note for note in report.notes), report
