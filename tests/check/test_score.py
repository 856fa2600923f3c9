"""`check_score`, `check_conservative` and `check_rows` on what people hand in: every verdict, with its reason."""

import numpy as np
import pytest
from wording import check_conservative, check_rows, check_score, hold

from numpyscore import CheckReport, EnergyMLP
from numpyscore.check import score as module
from numpyscore.check.fields import Field
from numpyscore.check.score import quotients, with_growth

P = np.array([[1.7, 0.3, 0.1], [0.3, 0.9, -0.2], [0.1, -0.2, 1.3]]) / 3  # no entry is a float32
TURN = np.array([[0.0, 0.3, 0.0], [-0.3, 0.0, 0.1], [0.0, -0.1, 0.0]])  # a rotation: no energy has it
X = 0.4 + np.random.default_rng(1).standard_normal((9, 3)) * [0.5, 1.0, 2.0]
NET = EnergyMLP.init(3, (12, 12), "softplus", confinement=0.7, rng=0)
AXES = np.eye(3)


def energy(x):
    return 0.5 * np.einsum("ni,ij,nj->n", x, P, x)


def score(x):
    return -x @ P


def differenced(up, down):
    """The score of the network by differences of its energy at x + up e and x - down e."""
    return lambda x: np.stack([(NET.energy(x - down * e) - NET.energy(x + up * e)) / (up + down) for e in AXES], 1)


# ------------------------------------------------------------------------------- scores


def test_right_scores_in_other_clothes_pass():
    """Complex numbers without an imaginary part, an energy (n, 1), constants kept in float32, central differences."""
    assert check_score(lambda x: score(x) + 0j, energy=energy, x=X)
    assert check_score(score, energy=lambda x: energy(x)[:, None], x=X)
    single = check_score(lambda x: -x @ P.astype(np.float32).astype(float), energy=energy, x=X)
    assert single and "constants kept in float32" in single.notes[-1], single
    quotient = check_score(differenced(1e-6, 1e-6), energy=NET.energy, x=X)
    assert quotient and any(
        "(difference quotients, random numbers, a kink or a jump?)" in note for note in quotient.notes
    ), quotient


WRONG = {  # score, energy, words
    "complex": (lambda x: score(x) * (1 + 0.1j), energy, "complex: score returned complex numbers"),
    "forward difference": (differenced(1e-3, 0), NET.energy, "forward difference of the energy with step 0.001"),
    "backward difference": (differenced(0, 1e-3), NET.energy, "backward difference of the energy with step 0.001"),
    "long central difference": (differenced(0.1, 0.1), NET.energy, "central difference of the energy with step 0.1, which is too long"),
    "curl": (lambda x: NET.score(x) + np.sin(x @ TURN) * x[:, [1, 2, 0]], NET.energy, "no gradient: your score is the gradient of no energy"),
    "another term": (lambda x: NET.score(x) - np.sinh(x), NET.energy, "another energy: your score is a gradient"),
    "the log of a Jacobian left out": (lambda x: NET.score(x) + 1 / x, NET.energy, "logarithmic term: your score is the reference + 1/x (a logarithm of x in one of them alone, or with another factor: an exponent off by one"),
    "a Laplace prior left out": (lambda x: NET.score(x) - 0.3 * np.sign(x), NET.energy, "sign term: your score is the reference - 3/10 sign(x) (a term |x|, a Laplace prior"),
    "a quartic well left out": (lambda x: NET.score(x) - 2 * x**3, NET.energy, "cubic term: your score is the reference - 2 x^3 (a quartic term"),
    "all but a prior summed": (lambda x: 9 * (NET.score(x) + 0.5 * x) - 0.5 * x, NET.energy, "9 x the reference + 4 x (the denoised x + sigma^2 s, a drift, a step of a sampler, a quadratic term"),
    "all but the mean's pull": (lambda x: NET.score(x) + 0.7 * (x - x.mean(0)), NET.energy, "the reference + 7/10 (x - mean) (the denoised x + sigma^2 s, a drift"),
    "energy for log p": (NET.score, lambda x: -NET.energy(x), "your energy is a log p: pass it as logpdf="),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_scores_are_told_what_they_are(name):
    wrong, of, words = WRONG[name]
    report = check_score(wrong, energy=of, x=X)
    assert report.verdict == "FAIL" and words in report.diagnosis, report


def test_with_half_of_the_rows_one_over_n_is_told_from_one_over_twice_d():
    six = check_score(lambda x: score(x) / len(x), energy=energy, x=X[:6])
    assert six.verdict == "FAIL" and "1/n times the reference" in six.diagnosis and "1/(2 d)" not in six.diagnosis, six
    fixed = check_score(lambda x: score(x) / 6, energy=energy, x=X[:6])
    assert (
        fixed.verdict == "FAIL" and "1/(2 d) times the reference" in fixed.diagnosis and "1/n" not in fixed.diagnosis
    ), fixed


CENTRES, PRECISIONS = np.array([[-2.0, 0.5, 1.0], [1.5, 0.0, -1.0]]), np.array([1.0, 2.0])


def mixture(weights, precisions=PRECISIONS):
    """log p and score of two normal parts, of any normaliser."""
    off = lambda x: x[:, None] - CENTRES
    logs = lambda x: np.log(weights) - 0.5 * precisions * np.sum(off(x) ** 2, axis=2)
    share = lambda x: np.exp(logs(x) - np.logaddexp(*logs(x).T)[:, None])
    return lambda x: np.logaddexp(*logs(x).T), lambda x: -np.einsum("nk,nki->ni", share(x) * precisions, off(x))


FAR_OUT = {  # what is added to the score of the network, and what is said of it
    "a bounded term": (lambda x: np.tanh(x[:, [1, 2, 0]] + x), "differs by what stays bounded"),
    "a logarithm": (lambda x: -x / (1 + np.sum(x**2, axis=1, keepdims=True)), "differs by what falls off as 1/|x|"),
    "another square": (
        lambda x: np.abs(x) * [1.0, 0.3, 0.2] * np.sign(x[:, [1, 2, 0]]),
        "differs by what grows as |x|",
    ),
    "a cubic term": (lambda x: x**2, "differs by what grows as |x|^2"),
    "a quartic term": (lambda x: x * np.sum(x**2, axis=1, keepdims=True), "differs by what grows as |x|^3"),
    "no power": (lambda x: np.abs(x) ** 0.5 * np.sign(x), "another energy"),
    "an exponential": (lambda x: np.sinh(x), "another energy"),
}


@pytest.mark.parametrize("name", FAR_OUT)
def test_what_differs_by_no_simple_function_is_told_by_its_growth_far_out(name):
    extra, words = FAR_OUT[name]
    report = check_score(lambda x: NET.score(x) + extra(x), energy=NET.energy, x=X)
    assert report.verdict == "FAIL" and report.name == words, report


def test_parts_of_a_mixture_that_count_otherwise_are_right_far_out():
    log_p, right = mixture(np.array([0.3, 0.7]))
    assert check_score(right, logpdf=log_p, x=X)
    for weights in ([0.5, 0.5], [0.3, 7.0]):
        report = check_score(mixture(np.array(weights))[1], logpdf=log_p, x=X)
        assert report.verdict == "FAIL" and report.name == "differs by what dies out", report
    other = check_score(mixture(np.array([0.3, 0.7]), np.array([1.1, 2.0]))[1], logpdf=log_p, x=X)
    assert other.verdict == "FAIL" and other.name == "differs by what grows as |x|", other


def test_shapes_and_places_are_said():
    turned = check_score(lambda x: score(x).T, energy=energy, x=X)
    assert turned.verdict == "FAIL" and "(3, 9) (transposed?) where (9, 3) was expected" in turned.diagnosis, turned
    short = check_score(lambda x: score(x)[:, :2], energy=energy, x=X)
    assert short.verdict == "FAIL" and "returned (9, 2) where (9, 3) was expected" in short.diagnosis, short
    line = check_score(lambda x: x, energy=lambda x: x[:, 0] ** 2 / 2, x=X[:, :1])
    assert line.name == "sign" and line.worst.place.endswith(", dim 0"), line
    two = np.array(
        [[1e3, 2e3], [1.0, 2.0], [1.5, 0.5]]
    )  # an error of 1e-6 in a row of 2e3 is less than one of 1e-4 in a row of 2
    off = lambda x: -x - np.where(x > 5, 1e-3, 1e-4) * [1, 0] * (np.abs(x[:, :1] - 1.5) > 0.2)
    assert check_score(off, energy=lambda x: np.sum(x**2, axis=1) / 2, x=two).worst.place == "x[1], dim 0"
    assert check_score(lambda x: 0 * x, energy=lambda x: 0 * x[:, 0], x=X)  # flat, and nothing off by anything


def test_the_worst_number_stands_with_its_resolution_and_so_does_the_whole():
    report = check_score(lambda x: 1.5 * score(x), energy=energy, x=X)
    i, j = map(int, (report.worst.place[2], report.worst.place[-1]))
    size = np.linalg.norm(report.details["reference"][i])
    size = max(size, np.sqrt(np.mean(np.sum(report.details["reference"] ** 2, axis=1))))
    assert report.worst.tolerance == pytest.approx(report.details["tolerance"][i, j] / size, rel=1e-9, abs=0), report
    assert report.worst.yours == pytest.approx(1.5 * score(X)[i, j]) and report.resolution >= report.worst.tolerance
    assert f"would have noticed a relative error of {report.resolution:.0e}" in str(report)


def test_log_p_that_is_an_energy_is_told_so():
    report = check_score(NET.score, logpdf=NET.energy, x=X)
    assert report.verdict == "FAIL" and "your log p is an energy: pass it as energy=" in report.diagnosis, report


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_energy_that_is_not_finite_at_a_point_decides_nothing(value):
    """A wrong score beside it ended in LAPACK's "SVD did not converge"."""
    cut = lambda x: np.where(x[:, 2] > 1, value, energy(x))
    for of in (score, lambda x: -score(x)):
        report = check_score(of, energy=cut, x=X)
        assert report.verdict == "INCONCLUSIVE" and f"the energy is {value} at x[" in report.diagnosis, report


def test_extreme_numbers_have_names_too():
    """Of scores near 1e-150 the squares are 0: a factor ended in "SVD did not converge"."""
    for scale in (1e-150, 1e60):
        assert check_score(score, energy=energy, x=scale * X)
        report = check_score(lambda x: 2 * score(x), energy=energy, x=scale * X)
        assert report.verdict == "FAIL" and report.name == "scale", report
    flat = check_score(score, energy=energy, x=np.zeros((4, 3)))  # was "computed in half precision"
    assert flat.verdict == "INCONCLUSIVE" and "the score is zero to all digits" in flat.diagnosis, flat
    signs = check_score(lambda x: x < 0, energy=energy, x=X)
    assert signs.verdict == "FAIL" and signs.summary.endswith("bool out, 2596 energy evaluations"), signs


def test_rtol_allows_a_factor_and_a_larger_one_keeps_its_name():
    """A score times 1.0001 beside rtol = 1e-5 was "other coordinates", a matrix of nine constants: the factor was taken for 1."""
    off = lambda x: 1.0001 * score(x)
    assert check_score(off, energy=energy, x=X, rtol=1e-3)
    report = check_score(off, energy=energy, x=X, rtol=1e-5)
    assert report.verdict == "FAIL" and report.name == "scale" and "1.0001 times" in report.diagnosis, report


def memory(kind):
    """A score that keeps something between calls."""
    calls = []

    def of(x):
        calls.append(-x @ P)
        changed = {"shifted": len(calls) > 2, "random": True, "late": False}[kind]
        if kind == "late" and len(calls) > 1 and calls[-2].shape == x.shape:
            return calls[-2].astype(np.float32)
        noise = np.random.default_rng(len(calls) if kind == "random" else 0).standard_normal(x.shape)
        return calls[-1] + changed * noise

    return of


@pytest.mark.parametrize(
    "kind, verdict, words",
    [
        ("shifted", "FAIL", "running statistics"),
        ("random", "INCONCLUSIVE", "dropout"),
        ("late", "FAIL", "the result is that of the call before"),
    ],
)
def test_scores_that_remember_or_throw_dice_are_told_apart(kind, verdict, words):
    report = check_score(memory(kind), energy=energy, x=X)
    assert report.verdict == verdict and words in report.diagnosis, report
    assert any("float32 came back" in note for note in report.notes) == (kind == "late"), report


def test_a_result_that_is_kept_for_a_number_of_points_is_a_cache():
    kept = {}
    report = check_score(lambda x: kept.setdefault(len(x), score(x)), energy=energy, x=X)
    assert (
        report.verdict == "FAIL"
        and "other points get the same result (numbers that were computed before, a fixed array, a cache?)"
        in report.diagnosis
    ), report
    hidden = []

    def part(x):
        """Minus the gradient of log cosh: its hidden values are those of the first batch of a size."""
        if not hidden or hidden[-1].shape != x.shape:
            hidden.append(np.tanh(x))
        return -x - hidden[-1]

    report = check_score(part, energy=lambda x: np.sum(x**2 / 2 + np.log(np.cosh(x)), axis=1), x=X)
    assert report.verdict == "FAIL" and "a cache of hidden values" in report.diagnosis, report


def test_where_rows_are_wrong_is_said_only_if_no_chance_explains_it():
    """One row of nine is beyond all others in one of five quantities quite often: that sets it apart from nothing."""
    one = lambda x: score(x) * np.where(np.arange(len(x)) == 2, 1.5, 1.0)[:, None]
    far = lambda x: score(x) * np.where(x[:, :1] > 0.6, 1.5, 1.0)
    points = np.random.default_rng(3).standard_normal((24, 3))
    assert 4 < np.sum(points[:, 0] > 0.6) < 20
    report = check_score(far, energy=energy, x=points)
    assert "exactly those with x[:, 0] >" in report.diagnosis, report
    for seed in range(8):
        points = np.random.default_rng(seed).standard_normal((9, 3))
        report = check_score(one, energy=energy, x=points)
        assert report.verdict == "FAIL" and "exactly those" not in report.diagnosis, report


# ------------------------------------------------------------------------------- is it a gradient?


def test_conservative_scores_and_others():
    assert check_conservative(lambda x: -x, x=X[:, :1]).notes == ("in one dimension every score is a gradient",)
    flat = check_conservative(lambda x: score(x)[:, 0], x=X)
    assert flat.verdict == "FAIL" and flat.name == "shape", flat
    turned = lambda x: score(x) + 1e-4 * x @ TURN
    assert check_conservative(turned, x=X, rtol=1e-2)
    with pytest.raises(ValueError, match="check_conservative: rtol"):
        check_conservative(turned, x=X, rtol=0.0)
    report = check_conservative(turned, x=X)
    assert report.verdict == "FAIL" and report.name == "not a gradient" and "beside d s_" in report.worst.place, report
    coarse = check_conservative(lambda x: score(x) + 1e9, x=X)  # the offset takes nine of sixteen digits
    assert coarse.verdict == "INCONCLUSIVE" and coarse.name == "unresolved", coarse


def test_a_score_that_claims_no_energy_is_told_how_far_it_is_from_one():
    """|A| / |J| of s = -P x + T x: A = (T - T')/2 is all of T."""
    report = check_conservative(lambda x: score(x) + x @ TURN, x=X, claimed=False)
    share = np.linalg.norm(TURN) / np.linalg.norm(TURN - P)
    assert report and abs(report.details["antisymmetric"] - share) < 1e-9, report
    assert f"{share:.2g} of its Jacobian" in report.notes[0] and not report.diagnosis, report
    assert not check_conservative(score, x=X, claimed=False).notes


# ------------------------------------------------------------------------------- rows

ROWS = {  # score, verdict, name
    "a mean": (lambda x: score(x).mean(0), "FAIL", "shape"),
    "another axis": (lambda x: score(x) @ np.ones((3, len(x))), "FAIL", "shape"),
    "divided by n": (lambda x: score(x) / len(x), "FAIL", "1/n"),
    "times n": (lambda x: score(x) * len(x), "FAIL", "n"),
    "centred": (lambda x: score(x - x.mean(0)), "FAIL", "batch statistics"),
    "an index": (lambda x: score(x) * np.arange(1, len(x) + 1)[:, None], "FAIL", "position"),
    "the row before": (lambda x: score(x) + 0.1 * np.roll(x, 1, axis=0), "FAIL", "neighbours"),
    "itself": (score, "PASS", ""),
    "zero": (lambda x: 0 * x, "PASS", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_how_rows_depend_on_each_other_is_named(name):
    of, verdict, key = ROWS[name]
    report = check_rows(of, X)
    assert report.verdict == verdict and report.name == key, report


def test_two_rows_are_enough_and_one_is_not():
    assert check_rows(score, X[:2]) and check_rows(lambda x: score(x - x.mean(0)), X[:2]).name == "batch statistics"
    with pytest.raises(ValueError, match="1 row, expected at least two"):
        check_rows(score, X[:1])


def test_rows_of_random_functions_decide_nothing_and_rtol_allows_a_little():
    rng = np.random.default_rng(0)
    report = check_rows(lambda x: score(x) * rng.integers(0, 2, x.shape), X)
    assert report.verdict == "INCONCLUSIVE" and report.name == "random", report
    slightly = lambda x: score(x - 1e-6 * x.mean(0))
    assert check_rows(slightly, X, rtol=1e-3) and not check_rows(slightly, X)
    with pytest.raises(ValueError, match="check_rows: rtol"):
        check_rows(slightly, X, rtol=-1.0)


def test_where_the_whole_is_wrong_and_fewer_rows_raise_the_size_of_the_batch_is_named():
    table = np.random.default_rng(2).standard_normal((9, 9))
    report = check_score(lambda x: score(x) + table @ np.sin(x), energy=energy, x=X)
    assert report.verdict == "FAIL" and report.name == "size of the batch", report
    assert "it takes 9 rows, and with the first 5 of them it raises matmul" in report.diagnosis, report


def test_a_bias_left_out_of_a_hidden_unit_dies_out():
    weights, bias = np.random.default_rng(7).standard_normal((3, 5)), np.array([1.0, -0.5, 0.3, 0.8, -1.2])
    energy = lambda x: 0.5 * np.sum(x**2, axis=1) - np.logaddexp(0, x @ weights + bias).sum(1)
    unbiased = lambda x: 0.5 * (1 + np.tanh(x @ weights / 2)) @ weights.T - x
    assert "a bias, the slope of a hidden unit" in check_score(unbiased, energy=energy, x=X).diagnosis


# ------------------------------------------------------------------------------- how a difference grows far out


def grown(near, out, *, word="score", tolerance=1e-15, d=2):
    """The rows of `far` on gaps that are given as functions of the distance r; they are asked at 100 and 10,000 times it."""

    def far(x):
        r = np.linalg.norm(x - [[0.5, 1.0]], axis=1, keepdims=True)
        gap = (near if r.max() < 1e3 else out)(r) * np.ones((1, d)) / np.sqrt(d)
        return Field(1.0 + gap, np.ones_like(gap), np.full(gap.shape, tolerance), x, word=word)

    return far


RING = np.array([[0.5, 1.0]]) + [
    [1.0, 0.0],
    [-1.0, 0.0],
    [0.0, 1.0],
    [0.0, -1.0],
    [0.6, 0.8],
    [-0.6, -0.8],
]  # its mean is (0.5, 1)
power = lambda p: grown(*(lambda r: 1e-3 * r**p,) * 2)
by_row = lambda r, share: np.where(np.arange(len(r))[:, None] < share, 0.0, 1.0)
GROWTH = {  # far, derivatives
    **{f"power {p}, {k} derivatives": (power(p), k) for p in (-3, -2, -1, 0, 1, 2, 3, 4) for k in (1, 2)},
    "power 1.04": (power(1.04), 1), "power 1.06": (power(1.06), 1), "power 0.96": (power(0.96), 1), "power 0.94": (power(0.94), 1),
    "right far out": (grown(lambda r: by_row(r, 2), lambda r: 0 * r), 1), "a trace": (grown(lambda r: by_row(r, 2), lambda r: 0 * r, word="trace", d=1), 2),
    "right at a sixth near by": (grown(lambda r: by_row(r, 1), lambda r: 0 * r), 1), "not all right far out": (grown(lambda r: by_row(r, 2), lambda r: by_row(r, 5)), 1),
    "not resolved": (grown(lambda r: by_row(r, 2), lambda r: 0 * r, tolerance=1.1e-6 * np.sqrt(2)), 1), "resolved": (grown(lambda r: by_row(r, 2), lambda r: 0 * r, tolerance=0.9e-6 * np.sqrt(2)), 1),
    "infinite near by": (grown(lambda r: np.inf * r, lambda r: r), 1), "infinite far out": (grown(lambda r: r, lambda r: np.nan * r), 1),
    "no gap": (grown(lambda r: 0 * r + 1, lambda r: 0 * r), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", GROWTH)
def test_growth_far_out_is_said_as_the_term_of_an_energy(name):
    far, derivatives = GROWTH[name]
    report = CheckReport("check_score", "FAIL", "", diagnosis="different: so")
    hold(f"{with_growth(report, far, RING, derivatives).diagnosis}")


def test_growth_is_looked_at_along_the_rays_of_the_points():
    asked = []
    far = lambda x: (asked.append(x), power(1)(x))[1]
    with_growth(CheckReport("check_score", "FAIL", ""), far, RING, 1)
    for x, r in zip(
        asked, (1e2, 1e4, 1), strict=True
    ):  # and at the points, whether what differs would be seen out there
        np.testing.assert_allclose(x, [[0.5, 1.0]] + r * (RING - [[0.5, 1.0]]), rtol=1e-12)


# ------------------------------------------------------------------------------- quotients of a cubic


def test_difference_quotients_of_a_cubic_are_what_they_are_by_hand():
    """(x + h)^3 - x^3 = (3 x^2 + 3 x h + h^2) h; five points are exact."""
    x = X[:2]
    rows = quotients(lambda p: np.sum(p**3, axis=1), x, "the energy")
    hold("\n".join(text for _, text, _ in rows))
    steps = [c * 10.0**-k for k in range(4) for c in (1, 0.5, 0.25, 0.2)]
    twice = [h for h in steps if any(abs(2 * h - g) < 1e-12 for g in steps[: steps.index(h)])]
    by_hand = {"forward": lambda h: 3 * x**2 + 3 * x * h + h**2, "backward": lambda h: 3 * x**2 - 3 * x * h + h**2,
               "central": lambda h: 3 * x**2 + h**2, "five-point": lambda h: 3 * x**2}  # fmt: skip
    for kind, of in by_hand.items():
        found = [value for _, text, value in rows if f"the {kind} difference" in text]
        for value, h in zip(found, twice if kind == "five-point" else steps, strict=True):
            np.testing.assert_allclose(value, of(h), rtol=0, atol=1e-14 * 40 / h)
    assert len(rows) == 3 * len(steps) + len(twice)


def test_difference_quotients_of_a_score_are_its_own_derivatives_and_of_many_dimensions_none():
    x = X[:2]
    found = [v for _, text, v in quotients(lambda p: p**2 + p[:, [1, 2, 0]], x, "the score") if "central" in text]
    np.testing.assert_allclose(found[0], 2 * x, atol=1e-13)
    of = lambda n, d: len(quotients(lambda p: p.sum(1), np.zeros((n, d)), "f"))
    assert of(64, 32) > 0 and of(65, 32) == 0  # n d^2 up to 2^16


def test_a_one_sided_difference_of_a_log_density_has_the_sign_of_its_curvature():
    log_p = lambda x: -NET.energy(x)
    forward = lambda x: np.stack([(log_p(x + 1.3e-4 * e) - log_p(x)) / 1.3e-4 for e in AXES], 1)
    report = check_score(forward, logpdf=log_p, x=X)
    assert report.name == "one-sided difference" and "= -6.5e-05 x second derivative" in report.pattern, report


def test_of_a_log_density_the_gradient_of_p_is_known_by_its_sign():
    p = lambda x: np.exp(-NET.energy(x))[:, None]
    log_p = lambda x: -NET.energy(x)
    assert check_score(lambda x: NET.score(x) * p(x), logpdf=log_p, x=X).name == "gradient of p"
    assert check_score(lambda x: NET.score(x) / p(x), logpdf=log_p, x=X).name != "gradient of p"


def test_the_step_that_is_asked_for_holds_where_the_score_is_asked_whether_it_is_a_gradient(monkeypatch):
    asked = []

    def conservative(of, *, x, step):
        asked.append(step)
        np.testing.assert_array_equal(x, X)
        return CheckReport("check_conservative", "INCONCLUSIVE", "")

    monkeypatch.setattr(module, "check_conservative", conservative)
    for step in (0.01, None):
        report = check_score(
            lambda x: NET.score(x) + np.sin(x @ TURN) * x[:, [1, 2, 0]], energy=NET.energy, x=X, step=step
        )
        assert report.verdict == "FAIL" and asked.pop() == step
