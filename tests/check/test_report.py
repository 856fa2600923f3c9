"""Reports: the verdict on numbers of which gap, tolerance and size are chosen, what is said of the worst of them, and numbers in words."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from wording import hold

from numpyscore import CheckReport
from numpyscore.check import report as parts
from numpyscore.check.fields import Field
from numpyscore.check.report import Explanation, Worst, close, enough, judge, law, power, product, readings, said, sizes

ONE = np.array([[2.0, -1.0], [0.5, 4.0], [3.0, 0.25]])  # rows of norm sqrt(5), sqrt(16.25), sqrt(9.0625)
EPS = 2.0**-52


def function(name="score", eps=EPS, kind="", notes=()):
    """What a judge asks of a user's function."""
    precision = SimpleNamespace(kind=kind, note=lambda name, came: f"{name} is in {kind} precision, {came}")
    return SimpleNamespace(name=name, eps=eps, precision=precision, came="float64", notes=lambda: list(notes))


def judged(gap, tolerance, *, found=(), functions=None, reference=ONE, word="score", **options):
    """The report on numbers that are off by `gap`; what was asked for an explanation is noted."""
    field = Field(reference + gap, reference, tolerance + 0 * reference, x=np.arange(6.0).reshape(3, 2), word=word)
    asked = []

    def explain(f):
        asked.append(f)
        return found[len(asked) - 1] if isinstance(found, list) else list(found)

    report = judge("check_score", "3 points", field, functions or (function(),), explain, **options)
    return report, asked


RIGHT = Explanation("convention", "another convention", right=True)
SCALE = Explanation("scale", "your score is 2 times the reference", detail={"pattern": "yours = 2 x reference"})
ROWS = Explanation("some rows", "only row 1 went wrong")
OFF = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])  # one number alone
EVERY = np.array([[1.0, 2.0], [-1.0, 0.5], [0.25, -3.0]])
QUOTIENTS = (function(), function("energy", kind="quotient", notes=("it scatters",)))
VERDICTS = {  # gap, tolerance, options: verdict, how often an explanation was asked for
    "right": ((0.5e-12 * OFF, 1e-12), {}, "PASS", 0),
    "as far off as it may be": ((2.0**-30 * OFF, 2.0**-30), {"reference": np.full((3, 2), 0.5)}, "PASS", 0),
    "not resolved": ((0.5e-5 * OFF, 1e-5), {}, "INCONCLUSIVE", 0),
    "off by what is not resolved": ((3e-5 * OFF, 1e-5), {}, "INCONCLUSIVE", 0),
    "off by nearly SAFETY times what is not resolved": ((parts.SAFETY * 0.99e-5 * OFF, 1e-5), {}, "INCONCLUSIVE", 0),
    "off by more than that": ((parts.SAFETY * 1.01e-5 * OFF, 1e-5), {"found": [[ROWS]]}, "FAIL", 1),
    "resolved as rtol asks": ((0.5e-5 * OFF, 1e-5), {"rtol": 1e-5}, "PASS", 0),
    "of a single one": ((1e-2 * OFF, 1e-9), {"found": [[ROWS]]}, "FAIL", 1),
    "a convention": ((EVERY, 1e-12), {"found": [[RIGHT, SCALE]]}, "PASS", 1),
    "a factor": ((EVERY, 1e-12), {"found": [[SCALE, ROWS, SCALE]]}, "FAIL", 1),
    "of no simple function": ((EVERY, 1e-12), {}, "FAIL", 1),
    "a quotient's error": ((0.9e-7 * 4.03 * OFF, 1e-12), {"functions": QUOTIENTS}, "PASS", 2),
    "more than a quotient's error": ((1.1e-7 * 4.04 * OFF, 1e-12), {"functions": QUOTIENTS, "found": [[], [ROWS]]}, "FAIL", 2),
    "a small error without a name": ((1e-8 * OFF, 1e-12), {}, "PASS", 1),
    "a small error with the name of one": ((1e-8 * OFF, 1e-12), {"found": [[ROWS]]}, "PASS", 1),
    "a small factor": ((1e-8 * EVERY, 1e-12), {"found": [[SCALE]]}, "FAIL", 1),
    "a small factor of a quotient": ((1e-8 * EVERY, 1e-12), {"functions": QUOTIENTS, "found": [[SCALE]]}, "PASS", 1),
    "coarse": ((1e-2 * OFF, 3e-1), {"functions": (function(eps=2.0**-23, kind="single"),)}, "INCONCLUSIVE", 0),
    "coarse, and right": ((1e-2 * OFF, 1.5e-2), {"functions": (function(eps=2.0**-23, kind="single", notes=("coarse",)),)}, "PASS", 0),
    "the coarser counts": ((1e-2 * OFF, 1.5e-2), {"functions": (function(), function("energy", 2.0**-10, "half"))}, "PASS", 0),
    "nothing": ((0 * OFF, 1e-9), {"reference": 0 * ONE}, "INCONCLUSIVE", 0),
    "one column": ((OFF[:, :1], 1e-12), {"reference": ONE[:, :1], "word": "trace"}, "FAIL", 1),
    "a place of its own": ((OFF, 1e-12), {"place": lambda i, j: f"theta[{10 * i + j}]"}, "FAIL", 1),
    "along one direction": ((np.outer([1.0, 2.0, -1.0], [0.6, -0.3]), 1e-12), {}, "FAIL", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", VERDICTS)
def test_a_field_is_judged_by_gap_tolerance_and_size(name):
    (gap, tolerance), options, verdict, times = VERDICTS[name]
    report, asked = judged(gap, tolerance, **options)
    assert report.verdict == verdict and len(asked) == times, report
    hold(f"{report}\n{report.worst}\n{report.resolution:.6e}", 1e-6)
    reference = options.get("reference", ONE)
    for key, value in (("yours", reference + gap), ("reference", reference), ("tolerance", tolerance + 0 * reference)):
        np.testing.assert_array_equal(report.details[key], value)
    np.testing.assert_array_equal(report.details["x"], np.arange(6.0).reshape(3, 2))


def test_an_explanation_is_asked_with_the_round_off_and_of_quotients_with_what_they_leave():
    _, (first, second) = judged(1e-3 * OFF, 1e-12, functions=QUOTIENTS)
    np.testing.assert_allclose(first.round_off, 256 * EPS)
    np.testing.assert_array_equal(first.tolerance, np.full((3, 2), 1e-12))
    root = np.sqrt(np.mean(np.sum(ONE**2, axis=1)))  # 3.18, beside the norm of each row
    norms = np.maximum(np.sqrt([[5.0], [16.25], [9.0625]]), root)
    np.testing.assert_allclose(second.tolerance, 1e-7 * norms * np.ones((3, 2)), rtol=1e-12)


def test_the_size_of_a_row_is_its_norm_and_at_least_that_of_the_field():
    np.testing.assert_allclose(sizes(np.array([[3.0, 4.0], [0.0, 0.0]]), ONE), [[5.0], [np.sqrt(12.5)]])
    np.testing.assert_array_equal(sizes(np.zeros((2, 2)), np.array([[0.0, -7.0], [2.0, 1.0]])), [[7.0], [7.0]])
    np.testing.assert_array_equal(sizes(np.zeros((1, 2)), np.zeros((1, 2))), [[1e-300]])
    assert [enough(eps) for eps in (EPS, 0.99e-10, 1.01e-10, 2.0**-23)] == [1e-6, 1e-6, 2e-2, 2e-2]


def test_the_worst_number_is_that_furthest_off_for_its_tolerance():
    gap = np.array([[1.0, 0.0], [2.0, 5.0]])
    worst = lambda tolerance, word="score", **options: parts._worst(
        Field(gap, 0 * gap, tolerance, word=word), gap, np.array([[2.0], [4.0]]), options.get("place")
    )
    assert worst(np.ones((2, 2))) == ("x[1], dim 1", 5.0, 0.0, 0.25)
    assert worst(np.array([[0.1, 1.0], [1.0, 1.0]])) == ("x[0], dim 0", 1.0, 0.0, 0.05)
    assert worst(np.array([[0.0, 0.0], [1.0, 1.0]]), "trace").place == "x[0], dim 0"
    line = Field(gap[:, :1], 0 * gap[:, :1], np.ones((2, 1)), word="trace")
    assert parts._worst(line, line.gap, np.ones((2, 1)), None).place == "x[1]"
    assert parts._worst(line._replace(word="score"), line.gap, np.ones((2, 1)), None).place == "x[1], dim 0"
    assert worst(np.ones((2, 2)), place=lambda i, j: f"{i} {j}").place == "1 1"


def test_directions_that_differences_lie_along():
    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((2, 6))[:, :4]
    said_of = lambda gap: parts._spanned(Field(ONE[0, 0] + gap, ONE[0, 0] + 0 * gap, 1e-12))
    one = np.outer(rng.standard_normal(6), [0.5, -1.0, 0.25, 0.0])
    assert (
        said_of(one) == ", and lie along [-0.5   1.   -0.25  0.  ] in every row: a term of 1 of the 4 directions of x"
    )
    two = one + np.outer(rng.standard_normal(6), u)
    assert said_of(two) == ", and lie along 2 directions in every row: a term of 2 of the 4 directions of x"
    assert said_of(two + 1e-7 * np.outer(rng.standard_normal(6), v)) == said_of(two)
    assert "3 directions" in said_of(two + 1e-4 * np.outer(rng.standard_normal(6), v))
    assert said_of(rng.standard_normal((6, 4))) == "" and said_of(one[:2]) == "" and said_of(one[:3]) != ""


def test_a_report_says_what_it_has():
    worst = Worst("x[1]", 1.25, -2.5, 3e-8)
    full = CheckReport(
        "check_score", "FAIL", "3 points", worst, "yours = 2", "scale: twice", 1e-9, ("a", "b"), {"z": 1}
    )
    assert str(full).splitlines() == [
        "check_score FAIL  3 points", "  worst      x[1]: yours +1.25, reference -2.5 (resolution 3e-08)",
        "  pattern    yours = 2", "  diagnosis  scale: twice", "  resolution would have noticed a relative error of 1e-09",
        "  note       a", "  note       b",
    ]  # fmt: skip
    assert full.name == "scale" and not full and full.to_dict() == {
        "schema": "numpyscore-check/1", "check": "check_score", "verdict": "FAIL", "summary": "3 points",
        "worst": {"place": "x[1]", "yours": 1.25, "reference": -2.5, "tolerance": 3e-8}, "pattern": "yours = 2", "name": "scale",
        "diagnosis": "scale: twice", "resolution": 1e-9, "notes": ["a", "b"], "details": {"z": 1},
    }  # fmt: skip
    right = CheckReport("check_score", "PASS", "3 points", worst)
    assert right and str(right) == "check_score PASS  3 points"  # of what is right no number is the worst
    for nothing in (np.nan, np.inf, 1.0, 2e285, 0.0):  # what a resolution is that notices nothing
        assert "noticed" not in str(CheckReport("c", "PASS", "", resolution=nothing))
    assert "relative error of 1e-01" in str(CheckReport("c", "PASS", "", resolution=0.099))
    for nothing in (1.0, np.inf, np.nan):
        assert str(Worst("x[0]", 0.0, 0.0, nothing)) == "x[0]: yours +0, reference +0"


def test_what_was_compared_is_counted():
    f = SimpleNamespace(went="float64", came="float32")
    assert parts.summary_of(np.zeros((1, 1))) == "1 point x 1 dim"
    assert (
        parts.summary_of(np.zeros((2, 3)), f, "7 evaluations")
        == "2 points x 3 dims, float64 in, float32 out, 7 evaluations"
    )


def test_explanations_are_ranked_by_their_constants_and_only_those_that_hold():
    of = lambda key, constants, residual=0.0: Explanation(key, "s", constants=constants, residual=residual)
    several = [of("a", 2), of("b", 1, 1.0), of("c", 0, 1.001), of("d", 1)]
    assert [e.key for e in parts.ranked(several)] == ["b", "d", "a"]
    assert [e.key for e in parts.tied(parts.ranked(several))] == ["b", "d"]
    assert parts.diagnosis_of([of(k, 0) for k in "aabcd"]) == "a: s -- or -- b: s -- or -- c: s"
    assert of("a", 0).pattern == "" and Explanation("a", "s", detail={"pattern": 3}).pattern == "3"
    assert (of("a", 0).right, Explanation("a", "s").constants, Explanation("a", "s").residual) == (False, 0, 0.0)


# ------------------------------------------------------------------------------- numbers in words


def meant(text, **known):
    """The number that a text stands for."""
    text = text.replace("^", "**").replace("log 2", "log(2)").replace("log 10", "log(10)").replace(" ", "*")
    return eval(text, {"sqrt": math.sqrt, "log": math.log, "pi": math.pi, **known})


PLAIN = (1, 2, 0.5, 4, 0.25, 3, 1 / 3, 8, 0.125, 2**0.5, 0.5**0.5, math.pi, 2 * math.pi, (2 * math.pi) ** 0.5,
         (2 * math.pi) ** -0.5, math.log(2), 1 / math.log(2), math.log(10))  # fmt: skip


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_said_of_a_number_is_that_number(sign):
    for value in (*PLAIN, 5, 7 / 3, 3 / 64, 63 / 64, 0.7, 12.0, 999999.0):
        text = said(sign * value)
        assert not text.replace("-", "").startswith("0.") and meant(text) == pytest.approx(sign * value, rel=1e-12), (
            text
        )
    hold(" ".join(said(sign * value) for value in PLAIN))
    assert said(sign * 3 / 65) == f"{sign * 3 / 65:.9g}"  # no fraction of 65ths
    assert [said(sign * value * 1.0009, 1e-3) for value in PLAIN] == [said(sign * value) for value in PLAIN]
    assert said(0.0) == "0" and said(1e6 + 0.5) == "1000000.5"


def test_numbers_are_said_to_the_digits_that_they_have():
    assert [said(0.123456789, 10.0**-k) for k in (1, 2, 3, 6, 9, 12, 15)] == [
        "1/8", "0.12", "0.123", "0.123457", "0.123456789", "0.123456789", "0.123456789",
    ]  # fmt: skip
    assert said(0.76543, 0.04) == "0.77" and said(0.123456789012345, 1e-15) == "0.123456789012"  # two digits to twelve
    assert said(0.5004, 1e-3) == "1/2" and said(0.5004, 1e-4) == "0.5004" and said(0.6, 0.9e-5) == "3/5"
    assert [said(0.5 * (1 + off)) for off in (0.9e-9, 1.1e-9)] == ["1/2", "0.500000001"]
    assert [product(0.5 * (1 + off), {}) for off in (0.9e-9, 1.1e-9)] == ["1/2", "0.500000001"]
    assert said(0.6, 1.1e-5) == "0.6"  # 64ths are no finer than that: many a number is next to one
    assert close(1.0, 1.1, 0.1) and not close(1.0, 1.12, 0.1) and close(-1.0, -1.1, 0.1) and not close(1.0, -1.0, 1.0)


def test_powers_and_products_are_written_as_fractions():
    assert [power("d", e) for e in (1, -1, 2, -2, 0.5, -0.5, 4)] == [
        "d",
        "1/d",
        "d^2",
        "1/d^2",
        "sqrt(d)",
        "1/sqrt(d)",
        "d^4",
    ]
    assert (
        power("(2 pi)", 0.5) == "sqrt(2 pi)"
        and power("(2 pi)", -1) == "1/(2 pi)"
        and power("Gamma(a)", 0.5) == "sqrt(Gamma(a))"
    )
    assert product(1.0, {"(nu pi)": 0.5, "Gamma(a)": -2}) == "sqrt(nu pi)/Gamma(a)^2"
    exponents = (0, 1, -1, 2, 0.5, -0.5)
    made = {
        (c, a, b): product(c, {"n": a, "d": b})
        for c in (1.0, -1.0, 2.0, -0.5, 0.3)
        for a in exponents
        for b in exponents
    }
    for (c, a, b), text in made.items():  # "n d/2" and the like, evaluated
        assert meant(text, n=7.0, d=3.0) == pytest.approx(c * 7.0**a * 3.0**b, rel=1e-12), text
    hold("\n".join(map(str, made.items())))
    assert product(0.5004, {"d": 1}, 1e-3) == "d/2" and product(0.5004, {"d": 1}) == "0.5004 d"


def test_readings_of_a_number_are_that_number_and_the_simplest():
    rows = []
    for known in (
        {"n": 7, "d": 3},
        {"n": 6, "d": 3},
        {"n": 8, "d": 2},
        {"n": 9, "d": 3},
        {"n": 5, "d": 1},
        {"n": 6, "d": 4, "m": 2},
    ):
        for c in (
            1.0,
            2.0,
            0.5,
            -3.0,
            1 / 3,
            1.5,
            1 / 7,
            1 / 6,
            36.0,
            1 / 42,
            18.0,
            2 / 9,
            1 / 81,
            12.0,
            3.5,
            6**0.5,
            1 / 5,
            9 / 8,
            0.37,
        ):
            found = readings(c, known)
            rows.append(f"{c:.6g} {known}: {found}")
            for text in found:
                assert meant(text, **known) == pytest.approx(c, rel=1e-9), (c, known, text)
    hold("\n".join(rows))
    assert all(readings(float(n), {"n": n}) == ["n", str(n)] for n in (3, 4, 8))  # plain ones stand beside it
    assert [readings(7 * (1 + off), {"n": 7}) for off in (0.9e-9, 1.1e-9)] == [["n"], []]
    assert readings(0.5004, {"n": 7}, 1e-3) == ["1/2"] and readings(0.5004, {"n": 7}) == []
    assert readings(7.006, {"n": 7}, 1e-3) == ["n"] and readings(7.008, {"n": 7}, 1e-3) == []


def test_laws_are_found_among_powers_up_to_four_and_to_the_digits_asked_for():
    settings = [{"n": 5, "s": 0.5}, {"n": 7, "s": 0.5}, {"n": 7, "s": 0.9}, {"n": 5, "s": 1.3}]
    for a in (0, 1, -1, 2, -2, 3, -3, 4, -4):
        for b in (0, 1, -2, -4, 3):
            c, found = law([-1.7 * t["n"] ** a * t["s"] ** b for t in settings], settings)
            assert c == pytest.approx(-1.7, rel=1e-9) and found == {k: float(e) for k, e in (("n", a), ("s", b)) if e}
    bent = lambda by: [t["n"] * (1 + by * (k == 3)) for k, t in enumerate(settings)]
    assert law(bent(0.9e-8), settings) and law(bent(1.1e-8), settings) is None and law(bent(0.9e-3), settings, 1e-3)
    same = [{"n": 5, "d": 2}, {"n": 5, "d": 3}]  # what does not change has no exponent, and a constant is a law
    assert law([6.0, 9.0], same) == (pytest.approx(3.0), {"d": 1.0}) and law([4.0, 4.0], same) == (
        pytest.approx(4.0),
        {},
    )
    assert law([4.0], [{"n": 5}]) == (pytest.approx(4.0), {}) and law([4.0, 5.0], [{"n": 5}, {"n": 5}]) is None
    half = [2.0, 3.0]
    assert (
        law(half, [{"n": 4}, {"n": 9}], odd=("n",))[1] == {"n": 0.5}
        and law(half, [{"n": 4}, {"n": 9}], odd=("d",)) is None
    )
    # where several hold, the smallest exponents, and then one name rather than two: m = n^2 at both
    assert law([4.0, 16.0], [{"n": 2, "m": 12.0}, {"n": 4, "m": 48.0}])[1] == {"m": 1.0}
    assert law([8.0, 64.0], [{"n": 2, "m": 12.0}, {"n": 4, "m": 48.0}])[1] == {"n": 1.0, "m": 1.0}
    assert law([4.0, 16.0], [{"n": 2, "m": 3.0}, {"n": 4, "m": 6.0}])[1] == {"m": 2.0}
