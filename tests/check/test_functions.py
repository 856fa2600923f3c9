"""The user's function behind its numbers: what it may take and return, how precise it is, and what a report says of it."""

import json

import numpy as np
import pytest
from wording import check_rows, check_score

from numpyscore import CheckReport, EnergyMLP
from numpyscore.check.functions import random_parameter
from numpyscore.check.report import law, product, readings, said

P = np.array([[1.7, 0.3, 0.1], [0.3, 0.9, -0.2], [0.1, -0.2, 1.3]]) / 3  # no entry is a float32
X = 0.4 + np.random.default_rng(1).standard_normal((9, 3)) * [0.5, 1.0, 2.0]
FAR = 1e5


def energy(x):
    return 0.5 * np.einsum("ni,ij,nj->n", x, P, x)


def score(x):
    return -x @ P


def bfloat16(a):
    """Numbers cut to the sixteen bits of bfloat16, in float64."""
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32) & 0xFFFF0000
    return bits.view(np.float32).astype(float)


# ------------------------------------------------------------------------------- precision

COARSE = {  # score, verdict, words
    "float16 comes back": (lambda x: score(x).astype(np.float16), "float64 went in and float16 came back"),
    "float16 inside": (lambda x: score(x).astype(np.float16).astype(float), "computed in half precision"),
    "bfloat16 inside": (lambda x: bfloat16(score(x)), "computed in bfloat16 precision"),
}  # fmt: skip


@pytest.mark.parametrize("name", COARSE)
def test_sixteen_bits_decide_nothing_and_are_said(name):
    of, words = COARSE[name]
    report = check_score(of, energy=energy, x=X)
    assert report.verdict == "INCONCLUSIVE" and words in f"{report}", report


def test_points_rounded_far_from_the_origin_are_told_from_single_precision():
    """x = 1e5 + u keeps 7 bits of u in float32: wrong by 1e-2, and the cure is to subtract first."""
    rounded = lambda x: score(x.astype(np.float32).astype(float) - FAR)
    report = check_score(rounded, energy=lambda x: energy(x - FAR), x=X + FAR)
    assert report.verdict == "FAIL" and "subtract the offset before it is rounded" in report.diagnosis, report
    assert check_score(lambda x: score(x - FAR), energy=lambda x: energy(x - FAR), x=X + FAR).verdict != "FAIL"


def test_arrays_in_single_precision_are_noted():
    narrow = lambda a: a.astype(np.float32)
    report = check_score(score, energy=energy, x=X, wrap=narrow)
    assert report and any("score worked in float32 (your arrays)" in note for note in report.notes), report


# ------------------------------------------------------------------------------- what comes in and what comes back


def in_place(x):
    value = energy(x)
    x.fill(0.0)
    return value


def test_lists_and_points_changed_in_place_are_taken_as_they_are():
    assert check_score(lambda x: score(x).tolist(), energy=energy, x=X.tolist())
    report = check_score(score, energy=in_place, x=X)
    assert report and any("energy changes the points" in note for note in report.notes), report


def once(x, calls=[]):  # noqa: B006  it is what the function remembers
    calls.append(len(x))
    return score(x) if len(calls) < 2 else calls.missing


MISUSE = {  # score, x, error, words
    "a class": (EnergyMLP, X, TypeError, "make one, EnergyMLP(...), and pass its .score"),
    "no function": (3.0, X, TypeError, "expected a function of x"),
    "it raises": (lambda x: x.foo, X, ValueError, "raised AttributeError: 'numpy.ndarray' object has no attribute 'foo' when called with float64 (9, 3)"),
    "it raises later": (once, X, ValueError, "raised AttributeError: 'list' object has no attribute 'missing'"),
    "text": (lambda x: "a", X, TypeError, "what score returned is str"),
    "nothing": (lambda x: None, X, TypeError, "what score returned is NoneType"),
    "complex points": (score, X + 1j, TypeError, "x is complex"),
    "no points": (score, X[:0], ValueError, "at least one row and one column"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_names_the_check_and_what_came(name):
    of, x, error, words = MISUSE[name]
    with pytest.raises(error, match="check_score") as raised:
        check_score(of, energy=energy, x=x)
    assert words in str(raised.value)


def test_what_has_no_signature_takes_no_random_numbers():
    assert random_parameter(max) is None and random_parameter(lambda x, key: x) == "key"


# ------------------------------------------------------------------------------- reports and numbers


def test_a_report_of_any_numbers_becomes_json_without_infinities():
    details = {"inf": np.inf, "nan": np.float32(np.nan), "complex": 1 + 2j, "array": np.array([1.0, np.inf]), 3: (True, None, np.int64(4))}  # fmt: skip
    report = CheckReport("check_score", "PASS", "9 points", details=details)
    record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert record["details"] == {
        "inf": None,
        "nan": None,
        "complex": [1.0, 2.0],
        "array": [1.0, None],
        "3": [True, None, 4],
    }
    assert record["resolution"] is None and record["worst"] is None and record["name"] == ""
    assert str(report) == "check_score PASS  9 points" == repr(report)


@pytest.mark.parametrize(
    "number, text",
    [(0.125, "1/8"), (-2.0, "-2"), (2**0.5, "sqrt(2)"), (-np.pi, "-pi"), (3 / 7, "3/7"), (np.log(2), "log 2"), (0.123456, "0.123456"), (1e-7, "1e-07")],
)  # fmt: skip
def test_numbers_are_said_as_one_says_them(number, text):
    assert said(number) == text


def test_products_and_readings_of_powers():
    assert (
        product(2.0, {"d": -1}) == "2/d"
        and product(-1.0, {"n": -1}) == "-1/n"
        and product(1.0, {"sigma": 4}) == "sigma^4"
    )
    assert product(0.5, {"d": -1}) == "1/(2 d)" and product(1.0, {"a": 0.5, "b": -0.5}) == "sqrt(a)/sqrt(b)"
    assert product(1.0, {}) == "1" and product(3.0, {"d": 2, "n": -1}) == "3 d^2/n"
    assert readings(2 / 7, {"n": 7}) == ["2/n"] and readings(0.5, {"n": 2}) == ["1/2", "1/n"]
    assert readings(1 / 105, {"n": 3, "d": 5, "m": 7}) == [] and readings(1 / 15, {"n": 3, "d": 5, "m": 7}) == [
        "1/(n d)"
    ]
    assert said(0.123456789012345, 1e-15) == "0.123456789012" and product(2**-0.5, {"d": -1}) == "1/(sqrt(2) d)"
    assert (
        readings(1 / 8, {"n": 8}) == ["1/n", "1/8"]
        and readings(49.0, {"n": 7}) == ["n^2"]
        and readings(1 / 49, {"n": 7}) == ["1/n^2"]
    )
    assert readings(7**0.5, {"n": 7}) == ["sqrt(n)"] and readings(7**-0.5, {"n": 7}) == ["1/sqrt(n)"]
    assert readings(2.0, {"n": 0, "d": 1}) == ["2"] and readings(3.0, {"n": 9, "d": 3}) == ["d", "3", "sqrt(n)"]
    assert readings(0.7312, {"n": 7}) == [] and readings(-7.0, {"n": 7}) == ["-n"]


def test_the_law_of_numbers_is_the_simplest_power_that_holds_everywhere():
    settings = [{"n": 5, "sigma": 0.5}, {"n": 7, "sigma": 0.5}, {"n": 7, "sigma": 0.9}]
    of = lambda c, n, sigma: [c * s["n"] ** n * s["sigma"] ** sigma for s in settings]
    assert law(of(-3.0, -1, 2), settings) == (pytest.approx(-3.0), {"n": -1.0, "sigma": 2.0})
    assert law(of(1.0, 0, 0.5), settings) is None and law(of(1.0, 0, 0.5), settings, odd=("sigma",))[1] == {
        "sigma": 0.5
    }
    assert law([1.0, -1.0, 1.0], settings) is None and law([0.0, 1.0, 1.0], settings) is None


def test_a_running_mean_is_a_state_and_no_random_number():
    kept = {"mean": np.zeros(3)}

    def running(x):
        kept["mean"] = 0.9 * kept["mean"] + 0.1 * x.mean(0)
        return -(x - kept["mean"])

    assert check_rows(running, X).name == "state"
    noise = np.random.default_rng(3)
    assert check_rows(lambda x: -x + noise.standard_normal(x.shape), X).name == "random"
