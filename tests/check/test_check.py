"""The checks themselves: no false alarm on right code, no wrong code passed, and each mistake called by its name."""

import numpy as np
import pytest
from wording import (
    check_conservative,
    check_gradient,
    check_loss,
    check_rows,
    check_sampler,
    check_score,
    check_trace,
    hold,
)

import numpyscore as ns
from numpyscore.check.gallery import CASES, RIGHT, recognised
from numpyscore.check.losses.identify import Asked, Probe
from numpyscore.check.report import law, readings, said

ACTIVATIONS = ("softplus", "tanh", "silu", "sigmoid", "sin")


def net(dim=3, seed=0, **options):
    return ns.EnergyMLP.init(dim, (12, 12), "softplus", confinement=0.7, rng=seed, **options)


def points(dim=3, n=9, seed=1):
    return 0.4 + np.random.default_rng(seed).standard_normal((n, dim)) * np.linspace(0.5, 2, dim)


def right_case(rng, dtype=float):
    """A random network, and points for it, at one of thirteen scales: E(x / scale)."""
    d = int(rng.choice([1, 2, 3, 5, 10, 20, 50]))
    widths = rng.integers(2, 24, rng.integers(1, 4))
    model = ns.EnergyMLP.init(d, widths, str(rng.choice(ACTIVATIONS)), confinement=float(rng.uniform(0, 2)), rng=rng)
    scale = 10.0 ** rng.integers(-6, 7)
    x = scale * (rng.standard_normal((int(rng.integers(1, 7)), d)) + rng.uniform(-2, 2, d))
    model = model.with_theta(model.theta.astype(dtype))
    energy = lambda x: model.energy((x / scale).astype(dtype))
    score = lambda x: model.score((x / scale).astype(dtype)) / dtype(scale)
    return score, energy, x


# ------------------------------------------------------------------------------- no false alarms, nothing missed


def alarms(count, dtype, seed):
    """Verdicts on `count` right scores."""
    rng = np.random.default_rng(seed)
    verdicts = []
    for _ in range(count):
        score, energy, x = right_case(rng, dtype)
        with np.errstate(all="ignore"):
            verdicts.append(ns.check_score(score, energy=energy, x=x).verdict)
    return {word: verdicts.count(word) for word in ("PASS", "FAIL", "INCONCLUSIVE")}


def test_no_false_alarm_on_right_scores():
    counts = alarms(200, np.float64, 0)
    assert counts["FAIL"] == 0 and counts["PASS"] >= 190, counts


@pytest.mark.nightly
def test_no_false_alarm_on_two_thousand_right_scores():
    counts = alarms(2000, np.float64, 1)
    assert counts["FAIL"] == 0 and counts["PASS"] >= 1900, counts


def test_hardly_a_false_alarm_in_single_precision():
    counts = alarms(200, np.float32, 2)
    assert counts["FAIL"] <= 1, counts  # 0.5 %


def test_precision_that_is_lost_inside_is_seen_by_the_numbers_that_come_back():
    """Single precision behind float64: no false alarm, and it is said; an error of one per cent is wrong there too."""
    rng, verdicts = np.random.default_rng(5), []
    for _ in range(60):
        score, energy, x = right_case(rng, np.float32)
        with np.errstate(all="ignore"):
            report = ns.check_score(
                lambda x, s=score: s(x).astype(float), energy=lambda x, e=energy: e(x).astype(float), x=x
            )
        verdicts.append(report.verdict)
        assert report.verdict != "FAIL" and any("single precision" in note for note in report.notes), report
    assert verdicts.count("PASS") >= 50
    model, x = net(), points()
    single = lambda f: lambda x: f(x.astype(np.float32)).astype(np.float32).astype(float)
    off = check_score(single(lambda x: 1.01 * model.score(x)), energy=single(model.energy), x=x)
    assert off.verdict == "FAIL" and off.name == "scale", off
    assert not any("single" in note for note in check_score(model.score, energy=model.energy, x=x).notes)


@pytest.mark.parametrize("off", [2.0**-10, 2.0**-14, 2.0**-20])
def test_round_numbers_at_round_points_are_no_lost_precision(off):
    """At whole numbers a score has few binary digits, and so has an error of a power of two: it passed for round-off of single precision."""
    x = np.array([[0.0, 1], [1, 2], [3, -1], [2, 5], [-4, 1]])
    energy = lambda x: 0.5 * np.sum(x**2, axis=1)
    assert check_score(lambda x: -x, energy=energy, x=x)
    for wrong, name in ((lambda x: -(x + off), "constant shift"), (lambda x: -x * (1 + off), "scale")):
        report = check_score(wrong, energy=energy, x=x)
        assert report.verdict == "FAIL" and report.name == name, report


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_an_error_of_one_part_in_a_billion_of_the_row_norm_is_caught_anywhere(scale):
    rng = np.random.default_rng(3)
    caught = 0
    for trial in range(20):
        model, x = net(seed=trial), scale * rng.standard_normal((5, 3))
        i, j = rng.integers(5), rng.integers(3)

        def wrong(p, model=model, i=i, j=j):
            s = model.score(p / scale) / scale
            s[i, j] += 1e-9 * np.linalg.norm(s[i])
            return s

        caught += ns.check_score(wrong, energy=lambda p, model=model: model.energy(p / scale), x=x).verdict == "FAIL"
    assert caught == 20


def test_an_energy_dominated_by_an_offset_is_not_accused_and_says_so():
    model = net()
    report = check_score(model.score, energy=lambda x: model.energy(x) + 1e10, x=points())
    assert report.verdict == "INCONCLUSIVE" and not report and report.resolution > 1e-7 and "offset" in report.diagnosis


def test_data_far_from_the_origin_raise_no_alarm():
    gaussian = ns.Gaussian([1e5, -1e4], np.diag([1.0, 4.0]))
    assert check_score(gaussian.score, logpdf=gaussian.logpdf, x=gaussian.sample(8, rng=0)).verdict != "FAIL"


@pytest.mark.parametrize("name", ["Gaussian", "StudentT", "Logistic", "GaussianMixture"])
def test_closed_forms_pass(name):
    density = {
        "Gaussian": lambda: ns.Gaussian([0.5, 1.0], [[2.0, 0.3], [0.3, 1.0]]),
        "StudentT": lambda: ns.StudentT(3.0, [0.0, 1.0], np.eye(2)),
        "Logistic": lambda: ns.Logistic(np.zeros(2), np.ones(2)),
        "GaussianMixture": lambda: ns.GaussianMixture([0.3, 0.7], [[0.0, 0.0], [2.0, 1.0]], np.stack([np.eye(2)] * 2)),
    }[name]()
    x = density.sample(8, rng=0)
    for report in (
        check_score(density.score, logpdf=density.logpdf, x=x),
        check_trace(density.trace, score=density.score, x=x),
        check_conservative(density.score, x=x),
        check_rows(density.score, x),
    ):
        assert report, report


# ------------------------------------------------------------------------------- the gallery, and mistakes that are not in it


@pytest.mark.parametrize("case", CASES + RIGHT, ids=lambda case: case.name)
def test_every_implementation_of_the_gallery_is_named_or_passes(case):
    report = case.run()
    hold(report)
    assert recognised(case, report), report


def half(s):
    return 0.5 * np.sum(s**2, axis=1)


UNSEEN = {  # loss, objective, words: none of these is in the gallery
    "trace clipped at zero": (lambda fn, x: np.mean(half(fn.score(x)) + np.maximum(fn.trace(x), 0)), "implicit", "clipped"),
    "absolute trace": (lambda fn, x: np.mean(half(fn.score(x)) + np.abs(fn.trace(x))), "implicit", "absolute trace"),
    "trace a third too large": (lambda fn, x: np.mean(half(fn.score(x)) + 4 / 3 * fn.trace(x)), "implicit", "4/3"),
    "trace summed over the batch": (lambda fn, x: np.mean(half(fn.score(x))) + fn.trace(x).sum(), "implicit", "multiplied by n"),
    "square summed over the batch": (lambda fn, x: half(fn.score(x)).sum() + fn.trace(x).mean(), "implicit", "square multiplied by n"),
    "one column left out": (lambda fn, x: np.mean(half(fn.score(x)) + fn.jacobian(x)[:, 0, 0]), "implicit", "the entries [0, 0] (or their mirror images) of the Jacobian"),
    "score squared, then summed wrongly": (lambda fn, x: np.mean(0.5 * fn.score(x).sum(1) ** 2 + fn.trace(x)), "implicit", "summed before"),
    "a wrong power": (lambda fn, x: np.mean(0.5 * np.sum(fn.score(x) ** 2, 1) ** 2 + fn.trace(x)), "implicit", "fourth power"),
    "s.x left in": (lambda fn, x: np.mean(half(fn.score(x)) + fn.trace(x) + np.sum(fn.score(x) * x, 1)), "implicit", "extra term"),
    "n - 1 in one term": (lambda fn, x: half(fn.score(x)).mean() + fn.trace(x).sum() / (len(x) - 1), "implicit", "n/(n-1)"),
    "squared norm of the Jacobian": (lambda fn, x: np.mean(half(fn.score(x)) + np.sum(fn.jacobian(x) ** 2, (1, 2))), "implicit", "Frobenius"),
    "exponential of the loss": (lambda fn, x: np.exp(np.clip(np.mean(half(fn.score(x)) + fn.trace(x)), -20, 20)), "implicit", "function of the loss"),
    "maximum over the batch": (lambda fn, x: np.max(half(fn.score(x)) + fn.trace(x)), "implicit", "a maximum"),
    "model ignored": (lambda fn, x: float(np.sum(x**2)) + 0 * fn.energy(x).sum(), "implicit", "model not used"),
    "root of the mean square": (lambda fn, x, t: np.sqrt(np.mean(np.sum((fn.score(x) - t) ** 2, 1))), "explicit", "a root"),
    "absolute error": (lambda fn, x, t: np.mean(np.abs(fn.score(x) - t).sum(1)), "explicit", "absolute differences"),
    "target doubled": (lambda fn, x, t: np.mean(half(fn.score(x) - 2 * t)), "explicit", "target is 2 times"),
    "target x - x~": (lambda fn, x, sigma, noise: np.mean(half(fn.score(x + sigma * noise) + sigma * noise)), "denoising", "-sigma eps"),
    "unit noise, whatever sigma": (lambda fn, x, sigma, noise: np.mean(half(fn.score(x + noise) + noise / sigma)), "denoising", "noise"),
    "noise given, another drawn": (lambda fn, x, sigma, noise: np.mean(half(fn.score(x + sigma * np.roll(noise, 1, 0)) + noise / sigma)), "denoising", "rows permuted"),
    "denoising with absolute errors": (lambda fn, x, sigma, noise: np.mean(np.abs(fn.score(x + sigma * noise) + noise / sigma).sum(1)), "denoising", "absolute differences"),
    "v.J v with 1 on one side": (lambda fn, x, probes: np.mean(half(fn.score(x)) + fn.jvp(x, probes).sum(1)), "sliced", "sum of the entries of J v"),
    "|J v|^2": (lambda fn, x, probes: np.mean(half(fn.score(x)) + np.sum(fn.jvp(x, probes) ** 2, 1)), "sliced", "norm of J v"),
    "weights squared": (lambda fn, x, h, h_prime: np.mean(np.sum(0.5 * h**2 * fn.score(x) ** 2 + h_prime * fn.score(x) + h * np.diagonal(fn.jacobian(x), axis1=1, axis2=2), 1)), "generalised", "weighted by h^2"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSEEN)
def test_mistakes_outside_the_gallery_are_caught_and_named(name):
    loss, objective, words = UNSEEN[name]
    with np.errstate(all="ignore"):
        report = check_loss(loss, objective=objective)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


UNSEEN_SCORES = {
    "tanh of the score": (lambda m, x: np.tanh(m.score(x)), "tanh"),
    "batch mean removed": (lambda m, x: m.score(x) - m.score(x).mean(0), "mean over the batch"),
    "one dimension zero": (lambda m, x: m.score(x) * [1, 0, 1], "dimension 1"),
    "two signs wrong": (lambda m, x: m.score(x) * [1, -1, -1], "dimensions 1, 2"),
    "gradient of E squared": (lambda m, x: m.score(x) * m.energy(x)[:, None], "E^2"),
    "normalised": (lambda m, x: m.score(x) / np.linalg.norm(m.score(x), axis=1, keepdims=True), "direction"),
    "rotated": (lambda m, x: m.score(x) @ np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2 + np.eye(3))[0], "orthogonal"),
    "wrong for negative x_0": (lambda m, x: np.where(x[:, :1] < 0, 1.1, 1.0) * m.score(x), "x[:, 0] <"),
    "zero": (lambda m, x: 0 * m.score(x), "zero"),
    "minus x": (lambda m, x: -x, "energy is not used"),
    "entries clipped": (lambda m, x: np.clip(m.score(x), -0.5, 0.5), "clipped"),
    "other network": (lambda m, x: net(seed=5).score(x), "another energy"),
    "NaN": (lambda m, x: np.where(x > 1, np.nan, m.score(x)), "not finite"),
    "transposed": (lambda m, x: m.score(x).T, "shape"),
    "sqrt(n)": (lambda m, x: m.score(x) / np.sqrt(len(x)), "sqrt(n)"),
}


@pytest.mark.parametrize("name", UNSEEN_SCORES)
def test_wrong_scores_outside_the_gallery_are_caught_and_named(name):
    change, words = UNSEEN_SCORES[name]
    model = net()
    report = check_score(lambda x: change(model, x), energy=model.energy, x=points())
    assert report.verdict == "FAIL" and words in report.diagnosis, report


# ------------------------------------------------------------------------------- scale is not bias

CONVENTIONS = {
    "reference": (lambda fn, x: np.mean(half(fn.score(x)) + fn.trace(x)), "implicit", ""),
    "no half": (lambda fn, x: np.mean(np.sum(fn.score(x) ** 2, 1) + 2 * fn.trace(x)), "implicit", "no 1/2"),
    "mean over dimensions": (
        lambda fn, x: np.mean((half(fn.score(x)) + fn.trace(x)) / x.shape[1]),
        "implicit",
        "mean over dimensions",
    ),
    "sum over samples": (lambda fn, x: np.sum(half(fn.score(x)) + fn.trace(x)), "implicit", "sum over samples"),
    "per sample": (lambda fn, x: half(fn.score(x)) + fn.trace(x), "implicit", "returns an array"),
    "plus a constant": (lambda fn, x: np.mean(half(fn.score(x)) + fn.trace(x)) + np.sum(x**2), "implicit", ""),
    "sigma^2": (
        lambda fn, x, sigma, noise: np.mean(half(sigma * fn.score(x + sigma * noise) + noise)),
        "denoising",
        "sigma^2",
    ),
    "ncsn's sigma^4": (
        lambda fn, x, sigma, noise: np.mean(half(sigma**2 * fn.score(x + sigma * noise) + sigma * noise)),
        "denoising",
        "sigma^4",
    ),
    "mean of everything": (
        lambda fn, x, sigma, noise: np.mean((fn.score(x + sigma * noise) + noise / sigma) ** 2),
        "denoising",
        "2/d",
    ),
    "without the target's square": (
        lambda fn, x, t: np.mean(half(fn.score(x)) - np.sum(fn.score(x) * t, 1)),
        "explicit",
        "",
    ),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_another_convention_passes_with_its_conversion(name):
    loss, objective, words = CONVENTIONS[name]
    report = check_loss(loss, objective=objective)
    assert report and (not words or any(words in note for note in report.notes)), report


def test_unit_length_slices_in_both_terms_are_a_convention_in_one_a_bug():
    def loss(reduced):
        def of(fn, x, rng):
            v = rng.standard_normal(x.shape)
            v /= np.linalg.norm(v, axis=1, keepdims=True)
            s = fn.score(x)
            return np.mean(fn.curvature(x, v) + (half(s) if reduced else 0.5 * np.sum(v * s, 1) ** 2))

        return of

    both, one = (check_loss(loss(reduced), objective="sliced") for reduced in (False, True))
    assert both and any("1/d times" in note for note in both.notes), both
    assert one.verdict == "FAIL" and "unit length" in one.diagnosis, one


def test_the_package_s_own_losses_pass():
    """Losses of arrays, on the probes' own scores and traces."""
    assert check_loss(lambda fn, x: ns.implicit_loss(fn.score(x), fn.trace(x)), objective="implicit")
    assert check_loss(lambda fn, x, t: ns.explicit_loss(fn.score(x), t), objective="explicit")
    noisy = lambda fn, x, sigma, noise: ns.denoising_loss(fn.score(x + sigma * noise), noise, sigma)
    assert check_loss(noisy, objective="denoising")
    sliced = lambda fn, x, probes: ns.sliced_loss(fn.score(x), fn.curvature(x, probes), probes)
    assert check_loss(sliced, objective="sliced")
    weighted = lambda fn, x, h, h_prime: ns.generalised_loss(
        fn.score(x), np.diagonal(fn.jacobian(x), axis1=1, axis2=2), h, h_prime
    )
    assert check_loss(weighted, objective="generalised")

    def differences(fn, x, eps, probes):
        return ns.finite_difference_energy_loss(
            fn.energy(x - eps * probes), fn.energy(x), fn.energy(x + eps * probes), eps
        )

    assert check_loss(differences, objective="finite_difference_sliced")


def test_a_loss_that_hides_its_generator_is_not_accused():
    fresh = np.random.default_rng(0)

    def loss(fn, x):
        v = fresh.standard_normal(x.shape)
        return np.mean(fn.curvature(x, v) + 0.5 * np.sum(v * fn.score(x), 1) ** 2)

    assert check_loss(loss, objective="sliced").verdict != "FAIL"


# ------------------------------------------------------------------------------- the rest of the contract


def test_probes_are_what_they_say():
    """Score and Jacobian of a probe by complex steps of its own framework-free formula."""
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((4, 3)), 1e-30
    energy, score = Probe("energy", 3, rng), Probe("score", 3, rng)
    step = lambda f, j: f(x + 1j * h * np.eye(3)[j]).imag / h
    value = Asked(energy, np.array)
    # float64 sums of a dozen terms of order ten: 1e-13 of the largest
    np.testing.assert_allclose(np.stack([step(value, j) for j in range(3)], 1), -energy.score(x), rtol=0, atol=1e-12)
    for probe in (energy, score):
        jac = np.stack([step(probe.score, j) for j in range(3)], 2)
        np.testing.assert_allclose(probe.jacobian(x), jac, rtol=0, atol=1e-12)
    np.testing.assert_allclose(Asked(score, np.array)(x), score.score(x), rtol=0, atol=1e-12)


def test_numbers_are_read():
    assert said(0.125) == "1/8" and said(-2) == "-2" and said(np.sqrt(2)) == "sqrt(2)" and said(0.123456) == "0.123456"
    assert readings(1 / 8, {"n": 8, "d": 3})[0] == "1/n" and set(readings(1 / 8, {"n": 8, "d": 8})) >= {"1/n", "1/d"}
    settings = [{"n": 5, "d": 2, "sigma": 0.5}, {"n": 7, "d": 3, "sigma": 0.5}, {"n": 7, "d": 2, "sigma": 0.9}]
    assert law([3 * s["sigma"] ** 2 / s["d"] for s in settings], settings)[1] == {"d": -1, "sigma": 2}
    assert law([1.0, 2.0, 2.5], settings) is None


def test_a_report_is_text_json_and_a_truth_value():
    import json

    model = net()
    report = check_score(lambda x: -model.score(x), energy=model.energy, x=points())
    text = str(report)
    assert text.startswith("check_score FAIL  9 points x 3 dims, float64 in, float64 out")
    assert (
        "worst      x[" in text
        and "pattern    yours = -1 x reference" in text
        and "diagnosis  sign: this is grad E" in text
    )
    record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert record["verdict"] == "FAIL" and record["name"] == "sign" and record["schema"] == "numpyscore-check/1"
    assert not report and check_score(model.score, energy=model.energy, x=points())


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda m: check_score(m.score, x=points()), ValueError),
        (lambda m: check_score(m.score, energy=m.energy, logpdf=m.energy, x=points()), ValueError),
        (lambda m: check_score(3, energy=m.energy, x=points()), TypeError),
        (lambda m: check_score(m.score, energy=m.energy, x=np.zeros(3)), ValueError),
        (lambda m: check_score(m.score, energy=lambda x: m.energy(x).sum(), x=points()), ValueError),
        (lambda m: check_score(m.score, energy=m.energy, x=points(), wrap="nothing"), TypeError),
        (lambda m: check_loss(lambda fn, x: 0.0, objective="nothing"), ValueError),
        (lambda m: check_loss(lambda fn, x, magic: 0.0, objective="implicit"), TypeError),
        (lambda m: check_loss(lambda fn, x: 1 / 0, objective="implicit"), ValueError),
        (lambda m: check_loss(lambda fn, x, sigma: 0.0, objective="denoising", predicts="nothing"), ValueError),
        (lambda m: check_loss(lambda fn, x: 0.0, objective="implicit", predicts="eps"), ValueError),
        (lambda m: check_loss(lambda fn, x: 0.0, objective="generalised", weight=(1, 2)), TypeError),
        (lambda m: check_loss(lambda fn, x: 0.0, objective="implicit", weight=(np.abs, np.sign)), ValueError),
        (lambda m: check_loss(lambda fn, x: 0.0, objective="implicit", shape=(2, 0)), ValueError),
        (lambda m: check_loss(lambda fn, x: 0.0, objective="denoising", levels=[[1.0, -0.5]]), ValueError),
        (lambda m: check_rows(m.score, points()[:1]), ValueError),
        (lambda m: check_gradient(np.sum, np.ones(0), np.ones(0)), ValueError),
        (lambda m: check_sampler(lambda x, score, h: x, discretisation="magic"), ValueError),
    ],
)
def test_misuse_is_an_error_that_names_the_check(call, error):
    with pytest.raises(error, match="check_"):
        call(net())


def test_arguments_are_not_changed_and_the_same_seed_says_the_same():
    x = points()
    kept = x.copy()

    def rude(p):
        out = net().score(p)
        p[:] = 0
        return out

    assert check_score(rude, energy=net().energy, x=x) and np.array_equal(x, kept)
    loss = CONVENTIONS["no half"][0]
    assert str(check_loss(loss, objective="implicit", rng=4)) == str(check_loss(loss, objective="implicit", rng=4))


def test_a_random_or_batch_dependent_energy_is_no_accusation():
    rng, model = np.random.default_rng(0), net()
    dropout = check_score(model.score, energy=lambda x: model.energy(x * rng.integers(0, 2, x.shape)), x=points())
    batch = check_score(model.score, energy=lambda x: model.energy(x - x.mean(0)), x=points())
    assert (
        dropout.verdict == batch.verdict == "INCONCLUSIVE"
        and "random" in dropout.diagnosis
        and "rows" in batch.diagnosis
    )


def test_gradients_of_the_package_pass_and_a_factor_on_them_is_measured():
    model, x = ns.EnergyMLP.init(2, (6,), "tanh", confinement=1.0, rng=0), points(2)
    loss = lambda theta: ns.implicit(model.with_theta(theta), x).value
    gradient = lambda theta: ns.implicit(model.with_theta(theta), x).gradient
    report = check_gradient(loss, gradient, model.theta)
    assert report and report.resolution < 1e-9, report
    wrong = check_gradient(loss, lambda theta: 1.2 * gradient(theta), model.theta)
    assert wrong.verdict == "FAIL" and wrong.diagnosis.startswith("scale: your gradient is 6/5 times the reference")


def test_right_samplers_pass_and_the_other_convention_is_told():
    def metropolis(x, score, h, rng):
        y = x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
        log_p = lambda z: -np.sum((z - 0.7) ** 2, 1) / 3.2
        log_q = lambda a, b: -np.sum((a - b - h * score(b)) ** 2, 1) / (4 * h)
        accept = np.log(rng.random(len(x))) < log_p(y) - log_p(x) + log_q(x, y) - log_q(y, x)
        return np.where(accept[:, None], y, x)

    assert check_sampler(metropolis, discretisation="adjusted", step_size=0.8)
    euler = lambda x, score, h, rng: x + h * score(x) + np.sqrt(2 * h) * rng.standard_normal(x.shape)
    other = lambda x, score, h, rng: x + h / 2 * score(x) + np.sqrt(h) * rng.standard_normal(x.shape)
    assert check_sampler(euler)
    report = check_sampler(other)
    assert report and any("step/2" in note for note in report.notes)
    assert not check_sampler(lambda x, score, h: x, discretisation="adjusted")


def test_score_networks_need_not_be_gradients():
    model = ns.ScoreMLP.init(3, (8,), rng=0)
    report = check_conservative(model.score, x=points())
    assert (
        report.verdict == "FAIL"
        and "no energy has this score" in report.diagnosis
        and check_conservative(net().score, x=points())
    )
