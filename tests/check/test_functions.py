"""The user's function behind its numbers: what it may take and return, how precise it is, and what a report says of it."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from wording import check_rows, check_score, hold

from numpyscore import CheckReport, EnergyMLP, check_density
from numpyscore.check import functions
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
    "float16 inside": (lambda x: score(x).astype(np.float16).astype(float), "computed in half precision, or rounded to few digits"),
    "bfloat16 inside": (lambda x: bfloat16(score(x)), "computed in bfloat16 precision, or rounded to few digits"),
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


# ------------------------------------------------------------------------------- scatter that is known

NEAR = np.array([[1.0], [3.0]])  # widths of 1/2


class Stepping:
    """2 and a number of known size beside it, of alternating sign: the sixth difference of +-a is 64 a. Asked on the coarse points first."""

    def __init__(self, coarse, fine, entries=1):
        self.sizes, self.asked, self.entries = [coarse] * 8 + [fine] * 8, [], entries

    def __call__(self, x):
        a = 2.0 * self.sizes[len(self.asked)] * (-1) ** len(self.asked)
        self.asked.append(x)
        return (2.0 + a) * np.ones((len(x), *[self.entries] * (self.entries > 1)))


ROOT = 64 / np.sqrt(924)  # scatter of +-1
KINDS = {  # scatter of the coarse points and of the fine ones: kind
    "none": (0.99 * 2.0**-46, 0.99 * 2.0**-46, ""),
    "more than by hand": (1.01 * 2.0**-46, 0.0, "single"),
    "float32": (0.99e-5, 0.0, "single"),
    "half": (1.01e-5, 0.0, "half"),
    "on both": (1e-8, 1.01e-8 / 64, "quotient"),
    "hardly on the fine ones": (1e-8, 0.99e-8 / 64, "single"),
    "coarse quotient": (1e-3, 1e-3, "quotient"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_of_precision_is_told_by_scatter_on_two_scales(name):
    coarse, fine, kind = KINDS[name]
    found = functions.precision(Stepping(coarse / ROOT, fine / ROOT), NEAR)
    assert found.kind == kind, found
    np.testing.assert_allclose(found.scatter, coarse, rtol=1e-3 if coarse > 1e-9 else 0.1)  # numbers of 2 step by 4e-16


def test_far_from_the_origin_float32_steps_by_more():
    far = np.array([[2.0**10], [2.0**10 + 4]])  # rounding moves x by 2^-13 of the width 1
    for scatter, kind in ((0.99 * 2.0**-13, "offset"), (1.01 * 2.0**-13, "half"), (0.9e-5, "single")):
        assert functions.precision(Stepping(scatter / ROOT, 0.0), far).kind == kind


POINTS = {  # x: steps of the coarse points of each row, of the fine points
    "near": (NEAR, [2.0**-21, 2.0**-20], 2.0**-45),
    "at zero": (np.array([[0.0], [2.0]]), [2.0**-21, 2.0**-20], 2.0**-45),
    "far": (np.array([[2.0**20], [2.0**20 + 4]]), [2.0**-12] * 2, 2.0**-29),
}


@pytest.mark.parametrize("name", POINTS)
def test_points_of_a_line_are_exact_and_as_far_apart_as_float32_sees(name):
    x, coarse, fine = POINTS[name]
    function = Stepping(0.0, 0.0)
    functions.precision(function, x)
    asked = np.array(function.asked)
    assert asked.shape == (16, 2, 1)
    np.testing.assert_array_equal(asked[:8], x + np.arange(8)[:, None, None] * np.reshape(coarse, (2, 1)) * 351 / 256)
    np.testing.assert_array_equal(asked[8:], x + np.arange(8)[:, None, None] * fine)


def test_the_worst_entry_of_a_typical_row_is_the_scatter():
    class Columns(Stepping):
        def __call__(self, x):
            steps = super().__call__(x) - 2.0
            return np.stack([2.0 + 0 * steps, np.array([1.0, 1.0, 3.0])[: len(x)] * steps], axis=1)

    found = functions.precision(Columns(1e-8 / ROOT, 0.0), np.array([[1.0], [3.0], [2.0]]))
    np.testing.assert_allclose(found.scatter, 1e-8, rtol=1e-6)  # the median over rows, the largest of columns


def test_short_numbers_are_of_a_short_type_where_float32_would_not_move_x_as_much():
    """2^-14 of the width, one part in 2^23 of x: 508 and 512."""
    short = lambda x: np.full(len(x), float(np.float16(0.1)))
    for x, kind in ((504.0, "half"), (512.0, "")):
        assert functions.precision(short, np.array([[x], [x + 4]])).kind == kind


def test_what_cannot_be_measured_has_no_precision():
    nothing = functions.Precision(0.0, "")
    for of in (lambda x: 1j * x[:, 0], lambda x: np.ones(3), lambda x: np.full(len(x), np.nan), lambda x: np.inf * x):
        assert functions.precision(of, NEAR) == nothing
    assert functions.precision(lambda x: np.rint(x[:, 0]), NEAR) == nothing  # whole numbers are not short ones
    assert functions.precision(lambda x: (0.1 * x[:, 0]).astype(np.float16), NEAR) == (2.0**-11, "half")
    assert functions.precision(lambda x: bfloat16(0.1 + 0 * x[:, 0]), NEAR) == (2.0**-9, "bfloat16")
    assert functions.precision(lambda x: 0 * x, NEAR) == nothing  # and zero is no scatter of zero


def test_sixteen_bits_are_seen_in_the_numbers():
    assert functions._short(np.array([0.5, 1.25])) == "bfloat16"  # which holds them, and so does half
    assert functions._short(np.array([0.1]).astype(np.float16).astype(float)) == "half"
    assert functions._short(bfloat16(np.array([1e30, 0.1]))) == "bfloat16" and functions._short(np.array([0.1])) == ""
    assert functions._short(np.array([1 + 2.0**-23, 0.5])) == ""  # the last bit of float32
    assert functions._short(np.array([3.0, -7.0])) == "" and functions._short(np.array([0.1]).astype(np.float32)) == ""


def test_the_round_off_of_a_precision_and_its_words():
    of = functions.Precision
    assert [of(1e-5, kind).eps for kind in ("single", "half", "bfloat16", "offset", "quotient", "")] == [
        2e-5, 2e-5, 2e-5, 2e-5, 0.25e-5, functions.EPS,
    ]  # fmt: skip
    assert of(1e-20, "single").eps == functions.EPS
    hold("\n".join(of(1.2e-5, kind).note("score", "float64") for kind in ("single", "offset", "quotient", "")))


# ------------------------------------------------------------------------------- how it is asked


class Foreign(np.ndarray):
    """An array of another framework, that can be told to require a gradient."""

    grad = False

    def requires_grad_(self, on):
        self.grad = on
        return self


Foreign.__module__ = "other.arrays"


def foreign(a):
    return np.array(a).view(Foreign)


def asked(accepts, wrap=foreign):
    """(dtype, whether it requires a gradient) of all arrays that a function is called with until it takes one, and of the next call."""
    seen = []

    def of(a):
        seen.append((str(a.dtype), getattr(a, "grad", False)))
        if not accepts(a):
            raise RuntimeError(f"no {seen[-1]}")
        return np.asarray(a)[:, 0]

    f = functions.Function("check_score", "score", of, wrap)
    f(X)
    until = list(seen)
    seen.clear()
    f(X)
    return until, seen


def test_a_function_is_asked_in_float64_with_a_gradient_then_in_float32():
    every = [("float64", False), ("float64", True), ("float32", False), ("float32", True)]
    for k, way in enumerate(every):
        assert asked(lambda a, way=way: (str(a.dtype), a.grad) == way) == (every[: k + 1], [way])  # the way is kept
    with pytest.raises(
        ValueError, match=r"score raised RuntimeError: no .'float64', False.* called with float64 .9, 3.;"
    ):
        asked(lambda a: False)
    with pytest.raises(ValueError, match="RuntimeError"):
        asked(lambda a: a.dtype == np.float32, np.array)  # an array of NumPy's is what its function takes


def test_what_came_tells_the_round_off_and_what_went():
    f = lambda of, wrap=None: functions.Function("check_score", "score", of, wrap)
    kinds = {
        "float64": (lambda x: x, functions.EPS), "float32": (lambda x: x.astype(np.float32), 2.0**-23),
        "float16": (lambda x: x.astype(np.float16), 2.0**-10), "int64": (lambda x: x.astype(np.int64), functions.EPS),
    }  # fmt: skip
    for name, (of, eps) in kinds.items():
        one = f(of)
        one(X)
        assert (one.went, one.came, one.eps, one.evaluations, one.changes) == ("float64", name, eps, len(X), False)
    narrow = f(lambda x: x.astype(float), lambda a: a.astype(np.float32))
    value, seen = narrow.both(X)
    assert narrow.eps == 2.0**-23 and narrow.went == "float32" and seen.dtype == np.float32
    np.testing.assert_array_equal(value, X.astype(np.float32))
    assert (
        f(lambda x: x > 0)(X).dtype == float
        and f(lambda x: x + 0j)(X).dtype == float
        and f(lambda x: x + 1j)(X).dtype == complex
    )
    rude = f(in_place)
    rude(X.copy())
    assert rude.changes
    rude(0 * X)
    assert rude.changes  # once is enough


def test_a_function_of_parameters_is_asked_row_by_row_in_their_shape():
    shapes = []

    def of(theta):
        shapes.append(theta.shape)
        return 2 * theta

    f = functions.Function("check_gradient", "gradient", of, shape=(2, 3))
    value, seen = f.both(np.arange(12.0).reshape(2, 6))
    assert shapes == [(2, 3)] * 2 and f.evaluations == 2
    np.testing.assert_array_equal(value, 2 * np.arange(12.0).reshape(2, 6))
    np.testing.assert_array_equal(seen, np.arange(12.0).reshape(2, 6))
    with pytest.raises(ValueError, match=r"it must take parameters of that type"):
        functions.Function("check_gradient", "loss", lambda t: t.foo, shape=(2,))(np.ones((1, 2)))


def test_precision_is_measured_of_float64_alone():
    f = functions.Function("check_score", "score", lambda x: x.astype(np.float32).astype(float))
    assert f.measure(X) is f and f.precision.kind == "single" and f.eps == f.precision.eps > functions.EPS
    for of in (lambda x: x.astype(np.float32), lambda x: x.astype(np.float16)):  # said by the dtype
        g = functions.Function("check_score", "score", of)
        g(X)
        assert g.measure(X).precision == (0.0, "")


NOTES = {  # went, came, changes, kind of array, kind of precision
    "nothing": ("float64", "float64", False, "numpy", ""),
    "changed": ("float64", "float64", True, "numpy", ""),
    "lost": ("float64", "float32", False, "numpy", ""),
    "lost more": ("float64", "bfloat16", True, "torch", "half"),
    "narrow": ("float32", "float32", False, "torch", ""),
    "narrow, and wide again": ("torch.float16", "float64", False, "torch", "single"),
    "jax": ("float32", "float32", False, "jax", ""),
    "jax's float16": ("float16", "float16", False, "jax", ""),
    "a part": ("float64", "float64", False, "numpy", "single"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_the_user_may_not_have_noticed(name):
    f = functions.Function("check_score", "score", score)
    f.went, f.came, f.changes, f.kind, kind = NOTES[name]
    f.precision = functions.Precision(1e-7 * bool(kind), kind)
    hold("\n".join(f.notes()))


def test_what_drifts_goes_one_way_and_does_not_stand_still():
    """Ten calls; each number up or down, some of them at rest."""
    of = lambda steps: functions.drifts(Answers(*np.cumsum([[0.0, 0.0], *steps], axis=0)), X)
    assert of([[1, -1]] * 9) and of([[1, 0]] * 9) and of([[0, 0]] * 8 + [[1, 0]])
    assert not of([[0, 0]] * 9) and not of([[1, 1]] * 8 + [[1, -1]]) and of([[1, 1]] * 9 + [[-1, -1]])


def compiled(of, jit, monkeypatch):
    """The rows of each call of a function of jax's kind, whose compiler is `jit`, its last numbers and the function, asked for 3, 3, 5 and 6 rows."""
    rows: list[int] = []
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(jit=jit))
    f = functions.Compiled("check_density", "logpdf", lambda x: rows.append(len(x)) or of(x))
    f.kind = "jax"
    for n in (3, 3, 5, 6):
        out, seen = f.both(np.arange(2.0 * n).reshape(n, 2))
        assert np.array_equal(seen, np.arange(2.0 * n).reshape(n, 2))
    return rows, out, f


def test_what_jax_compiles_is_asked_for_a_power_of_two_rows(monkeypatch):
    """The first call is as it was written, the second shows that the compiled one says the same; a compiled one that does not is not used."""
    of = lambda x: np.where(x[:, 0] == 2, -np.inf, x.sum(1))
    rows, out, f = compiled(of, lambda f: f, monkeypatch)
    assert rows == [3, 4, 4, 8, 8] and f.evaluations == 3 + 4 + 4 + 8 + 8
    np.testing.assert_array_equal(out, [1, -np.inf, 9, 13, 17, 21])
    assert compiled(of, lambda f: lambda x: f(x) * (1 + 0.9e-4), monkeypatch)[0] == rows
    assert compiled(of, lambda f: lambda x: f(x) * (1 + 1.3e-4), monkeypatch)[0] == [3, 4, 3, 5, 6]
    assert compiled(of, lambda f: lambda x: [][0], monkeypatch)[0] == [3, 3, 5, 6]  # a part of it is none of jax
    monkeypatch.setitem(sys.modules, "jax", None)
    plain = functions.Compiled("check_density", "logpdf", of)
    np.testing.assert_array_equal(plain(np.ones((3, 2))), [2, 2, 2])  # NumPy has no compiler


def test_what_jax_compiles_of_parameters_is_asked_one_by_one_and_not_where_global_generators_are_drawn_from(
    monkeypatch,
):
    asked: list[str] = []
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(jit=lambda f: lambda a: asked.append("jit") or f(a)))

    def of(draws, again):
        asked.clear()
        f = functions.Function(
            "check_gradient", "loss", lambda a: asked.append("own") or a.sum() + draws(), None, None, (2, 2), again
        )
        f.kind = "jax"
        f(np.ones((1, 4)))
        compiled = functions.Compiled.of(f)
        assert compiled.evaluations == 1 and compiled.shape == (2, 2)
        value = compiled(np.arange(12.0).reshape(3, 4))
        assert value.shape == (3, 1)
        return value.ravel() - [6, 22, 38], compiled.compiled

    start = lambda seed=0: np.random.seed(seed)  # noqa: NPY002  as users' generators are
    value, compiled = of(lambda: 0.0, start)
    assert not value.any() and compiled and asked == ["own"] * 3 + ["jit", "own"] * 4
    value, compiled = of(np.random.random, start)
    assert value.all() and np.ptp(value) < 1e-12 and compiled is False and "jit" not in asked
    assert of(lambda: 0.0, None)[1] and asked == ["own"] * 2 + ["jit", "own"] * 4  # an array is asked for with no seed


@pytest.mark.filterwarnings("ignore")
def test_jax_compiles_a_density_and_what_it_cannot_compile_is_asked_as_it_is():
    jax = pytest.importorskip("jax")
    traced: list[bool] = []
    for of in (lambda x: -(x**2) / 2, lambda x: -(np.asarray(x) ** 2) / 2):
        logpdf = lambda x, of=of: traced.append(isinstance(x, jax.core.Tracer)) or of(x).sum(1) - np.log(2 * np.pi)
        assert check_density(logpdf, dim=2, wrap="jax")
    first = traced[: traced.index(False, 1)]
    assert len(traced) > 20 and len(first) < 20 and first[1:] == [True] * len(first[1:])
    assert traced[len(first) + 1 : len(first) + 2] == [True] and not any(traced[len(first) + 2 :])


def test_random_numbers_are_made_of_the_seed():
    drawn = []
    of = functions.Seeded(lambda x, rng, scale=1.0: drawn.append(scale * x * rng.standard_normal()), np.array)
    assert (of.name, of.kind) == ("rng", "numpy")
    of(3, 2.0), of(3, 2.0), of(4, 2.0, scale=3.0)
    assert drawn[0] == drawn[1] == 2.0 * np.random.default_rng(3).standard_normal()
    assert drawn[2] == 6.0 * np.random.default_rng(4).standard_normal()
    world = functions.Seeded(lambda x: drawn.append(np.random.random()), np.array)  # noqa: NPY002  as users do
    world(3, 0), world(3, 0), world(4, 0)
    assert drawn[3] == drawn[4] != drawn[5] and world.name is None


def test_points_are_real_and_there_are_some():
    points = functions.points_of("check_score", [[1, 2], [3, 4]])
    assert points.dtype == float and points.shape == (2, 2)
    for empty in (np.zeros((0, 2)), np.zeros((2, 0))):
        with pytest.raises(ValueError, match=r"x has shape \(\d, \d\), expected at least one row and one column"):
            functions.points_of("check_score", empty)


# ------------------------------------------------------------------------------- rows, and what was asked before


def test_changes_of_rows_are_their_largest_and_none_where_both_are_not_finite():
    before = np.array([[1.0, 2.0], [np.nan, np.inf], [0.0, -np.inf], [4.0, 4.0]])
    now = np.array([[1.5, 1.0], [np.nan, np.inf], [0.0, np.inf], [4.0, np.nan]])
    assert functions._change(now, before).tolist() == [1.0, 0.0, np.finfo(float).max, np.inf]
    assert functions._change(before[:, 0], before[:, 0]).tolist() == [0.0] * 4
    assert functions._change(np.array([np.nan]), np.array([1.0])).tolist() == [np.inf]


class Adding:
    """A score -x that is off by `off` in its first column in one of its calls: whole, half, with other rows, again, in another order, near one."""

    def __init__(self, call, off):
        self.call, self.off, self.sizes = call, off, []

    def __call__(self, x):
        value = -np.array(x)
        self.sizes.append(len(x))
        if len(self.sizes) - 1 == self.call:
            value[:, 0] += self.off
        return value


@pytest.mark.parametrize("call", range(1, 7))
def test_rows_may_change_by_round_off_of_the_largest(call):
    """4096 eps of the largest number, and of what rtol says."""
    largest = np.abs(X).max()
    verdict = lambda off, **options: check_rows(Adding(call, off * largest), X, **options).verdict
    wrong = "INCONCLUSIVE" if call == 3 else "FAIL"  # two calls that differ are random
    assert verdict(0.99 * 4096 * functions.EPS) == "PASS" and verdict(1.01 * 4096 * functions.EPS) == wrong
    assert verdict(0.99e-3, rtol=1e-3) == "PASS" and verdict(1.01e-3, rtol=1e-3) == wrong
    of = Adding(call, 0.0)
    report = check_rows(of, X)
    assert of.sizes == [9, 5, *[9] * 11] and report.details["largest change"] == dict.fromkeys(
        ("two calls", "another order", "half the batch", "other rows", "near rows"), 0.0
    )
    again = Adding(call, 1e-3)
    report = check_rows(again, X)
    assert len(again.sizes) == 13 + 10 * (call == 3) + (call == 4)  # once more with another first row
    if call != 3:
        name, far = {1: "half the batch", 2: "other rows", 4: "another order"}.get(call, "near rows"), outermost()
        row = far[call - 5] if call > 4 else 0
        assert report.worst.place == f"row {row}, {name}" and report.worst.reference == 0.0
        np.testing.assert_allclose([report.worst.yours, report.resolution], [1e-3, 4096 * functions.EPS], rtol=1e-9)


def outermost():
    """The eight rows furthest from the mean in standard deviations, in order."""
    return sorted(np.argsort(np.sum(((X - X.mean(0)) / X.std(0)) ** 2, axis=1))[-8:])


def test_what_is_not_finite_and_stays_so_does_not_change_and_dtypes_are_noted():
    assert check_rows(lambda x: np.full_like(x, np.nan), X)
    assert check_rows(lambda x: x.astype(np.float32), X).notes == (
        "float64 went in and float32 came back: precision is lost inside score",
    )


def test_other_rows_are_three_standard_deviations_wide_and_the_first_is_kept():
    seen = []
    check_rows(lambda x: (seen.append(np.array(x)), -x)[1], X)
    _, half, others, _, order, *near = seen
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(order, X[rng.permutation(9)])
    np.testing.assert_array_equal(half, X[:5])
    np.testing.assert_array_equal(others[0], X[0])
    np.testing.assert_allclose(others[1:], X[1:].mean(0) + 3 * X.std(0) * rng.standard_normal((8, 3)), rtol=1e-12)
    nearest = np.argmin(
        np.sum(((X - X.mean(0)) / X.std(0)) ** 2, axis=1)
    )  # the eight others are each left alone with rows a hundredth as far
    for i, rows in zip(np.delete(np.arange(9), nearest), near, strict=True):
        np.testing.assert_allclose(rows, X[i] + 0.01 * (X - X[i]), rtol=1e-12)


def test_rows_that_are_divided_by_their_number_or_multiplied():
    top = {"another order": 0.0, "other rows": 0.0}
    whole = np.array([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0], [1.0, 1.0]])
    name = lambda halved, **t: functions._mixed(halved, whole, top | t, 1e-9).split(":")[0]
    half = whole[:2]
    assert name(2 * half) == "1/n" and name(half / 2) == "n" and name(half) == "batch statistics"
    assert name(half * 2 * (1 + 0.9e-5)) == "1/n" and name(half * 2 * (1 + 1.1e-5)) == "batch statistics"
    assert name(half * 2 + 0.9 * 3e-9) == "1/n"
    assert functions._mixed(1e-9 * half, 1e-9 * whole, top, 1e-9).startswith("batch")  # small numbers are no zeros
    assert name(half, **{"another order": 1.0}) == "position"
    assert name(half, **{"another order": 1.0, "other rows": 1.0}) == "rows mixed"
    assert (
        name(half, **{"another order": 1e-9}) == "batch statistics"
        and name(half, **{"another order": 1.0, "other rows": 1e-9}) == "position"
    )
    assert functions._mixed(whole, whole, top, 1e-9).startswith("batch statistics")  # one row is its own half


def test_a_report_without_a_name_is_asked_whether_rows_depend_on_each_other():
    report = lambda name="different", verdict="FAIL": CheckReport(
        "check_score", verdict, "", diagnosis=f"{name}: so", pattern="p"
    )
    f = lambda of: functions.Function("check_score", "score", of)
    centred = lambda x: x - x.mean(0)
    for name in functions.LOOSE:
        assert functions.by_rows(report(name), f(centred), X).name == "batch statistics"
    assert "half the batch" in functions.by_rows(report(), f(centred), X).pattern
    same = report("scale")
    assert functions.by_rows(same, f(centred), X) is same
    for kept in (report(), report(verdict="PASS")):
        of = np.negative if kept.verdict == "FAIL" else centred
        assert functions.by_rows(kept, f(of), X) is kept
    one = report()
    assert functions.by_rows(one, f(centred), X[:1]) is one
    assert functions.by_rows(one, f(centred), X[:2]).name == "batch statistics"
    fixed = functions.by_rows(report(), f(lambda x: x + X), X)  # of nine rows and no other number
    words = "size of the batch: it takes 9 rows, and with the first 5 of them it raises operands could not be broadcast"
    assert fixed.diagnosis.startswith(words), fixed
    beyond = lambda x: np.negative(x) if np.abs(x).max() <= np.abs(X).max() else [][0]
    assert functions.by_rows(report(), f(beyond), X).diagnosis == "different: so"  # other points between its own
    other = functions.by_rows(report(), f(lambda x: x if np.isin(x, X).all() else [][0]), X)
    assert other.diagnosis == "different: so; asked at other points it raises (list index out of range)"


UNFIT = {  # value, words
    "complex": (np.ones((2, 2)) + 1j, "complex: score returned complex numbers"),
    "transposed": (np.ones((3, 2)), "shape: score returned (3, 2) (transposed?) where (2, 3) was expected, one row of numbers for each row of x"),
    "other": (np.ones(2), "shape: score returned (2,) where (2, 3) was expected"),
    "not finite": (np.array([[1, 2, 3], [4, np.nan, np.inf]]), "not finite: 2 of 6 numbers of score are NaN or infinite, the first at [1, 1], x = [3. 4. 5.]"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_field_at_all(name):
    value, words = UNFIT[name]
    f = functions.Function("check_score", "score", score)
    f.changes = True
    x = np.arange(6.0).reshape(2, 3)
    report = functions.unfit("check_score", f, value, (2, 3), x)
    assert report.verdict == "FAIL" and report.diagnosis.startswith(words) and report.notes == tuple(f.notes()) != (), (
        report
    )
    hold(report)
    assert functions.unfit("check_score", f, np.ones((2, 3)), (2, 3), x) is None


def test_one_number_each():
    seen = np.zeros((3, 2))
    of = lambda value, r=3: functions.one_number_each("check_score", "energy", np.asarray(value), seen[:r])[0]
    assert of([1.0, 2.0, 3.0]).tolist() == of([[1.0], [2.0], [3.0]]).tolist() == [1.0, 2.0, 3.0] and of(
        4, 1
    ).tolist() == [4.0]
    assert of([1, 2, 3]).dtype == float
    for value in (1.0, [[1.0, 2.0, 3.0]], [1.0, 2.0], [1j, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"for 3 points, expected \(3,\), one real number per row"):
            of(value)
    with pytest.raises(ValueError, match="one real number"):
        of(1.0, 3)


class Answers:
    """A function that gives these answers one after the other, and notes what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.name, self.eps = list(answers), [], "score", functions.EPS

    def __call__(self, x):
        self.asked.append(np.array(x))
        answer = self.answers.pop(0) if self.answers else self.last
        self.last = answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def notes(self):
        return ["noted"]


V = np.array([[1.0, 0.0], [2.0, -1.0], [4.0, 3.0]])
R, O = V[::-1], V + [[0.3, 0.0], [0.1, 0.2], [0.0, 0.0]]
ASKED_AGAIN = {  # answers to: reversed points, the same points, and what follows; words
    "right": ((R, V), ""),
    "a cache": (
        (V, V, V),
        "other points get the same result (numbers that were computed before, a fixed array, a cache?)",
    ),
    "a function of nothing": ((R * 0 + 1, V * 0 + 1), ""),
    "a part of a cache": ((O, V, V[:1], R), "a part of the result is that of an earlier call with as many points"),
    "rows that depend on their order": ((O, V, V[:1], O, O, V), ""),
    "fewer rows raise": ((O, V, ValueError(), ValueError(), V), ""),
    "other points alone": ((R, V, O, O, O), "after other points were asked (a cache, a buffer, running statistics?)"),
    "a cache of reversed points": ((V, V, O, V[:1], R), "a part of the result"),
    "the call before": ((V, R, V), "the result is that of the call before"),
    "reversed, and no call before": (
        (O, R, R),
        "after other points were asked (a cache, a buffer, running statistics?)",
    ),
    "a cache that moves on": ((V, O, O), "after other points were asked (a cache, a buffer, running statistics?)"),
    "accumulates": ((V + R, V + R + V, V + R + 2 * V), "each call adds to what the calls before returned"),
    "another after others": ((R, O, O), "after other points were asked (a cache, a buffer, running statistics?)"),
    "drifts": ((R, V + 0.1, *(V + 0.1 * 1.5**k for k in range(2, 14))), "always further in one direction"),
    "random": (
        (R, V + 0.1, V + 0.3, *(V + 0.1 * (-1) ** k for k in range(11))),
        "random score: two calls at the same points differ",
    ),
    "another shape": ((R[:2], V[:2], V[:2]), "after other points were asked"),
}


@pytest.mark.parametrize("name", ASKED_AGAIN)
def test_a_state_is_told_by_what_the_same_points_get_after_others(name):
    answers, words = ASKED_AGAIN[name]
    f = Answers(*answers)
    value = 0 * V + 1 if "nothing" in name else V
    points = np.array([[0.5, 1.0], [1.5, -2.0], [3.0, 0.0]])
    report = functions.unsteady("check_score", f, value, points)
    if not words:
        assert report is None, report
    else:
        assert words in report.diagnosis and report.verdict == ("INCONCLUSIVE" if name == "random" else "FAIL"), report
        assert report.notes == ("noted",) and report.summary == "3 points x 2 dims"
    hold(f"{report}\n{[a.tolist() for a in f.asked]}", 1e-9)


def test_the_same_result_is_the_same_to_five_digits_or_a_thousand_units_of_round_off():
    points = np.array([[0.5], [1.5], [3.0]])
    value = np.array([[1.0], [0.0], [4.0]])
    for off, steady in ((0.9e-5, True), (1.1e-5, False)):
        assert (
            functions.unsteady("c", Answers(value[::-1], value * (1 + off), value * (1 + off)), value, points) is None
        ) == steady
    for off, steady in ((0.9e3, True), (1.1e3, False)):
        again = value + [[0], [off * functions.EPS * 4], [0]]
        assert (functions.unsteady("c", Answers(value[::-1], again, again), value, points) is None) == steady


ENERGIES = {  # answers to: the points, some of them, the points again; words
    "right": ((V[:, 0], V[:1, 0]), None),
    "not finite": (
        (np.array([1.0, np.nan, np.inf]),),
        "not finite: the energy is nan at x[1] = [ 1.5 -2. ], and has no gradient there",
    ),
    "rows": (
        (V[:, 0], V[:1, 0] + 1, V[:, 0]),
        "rows depend on each other: the energy of a row changes with the rest of the batch (batch normalisation: put the model in evaluation mode; a minimum, a mean or a sum over the batch: leave it out?)",
    ),
    "random": (
        (V[:, 0], V[:1, 0] + 1, V[:, 0] + 0.1),
        "random energy: two calls at the same points differ (dropout?); put the model",
    ),
}


@pytest.mark.parametrize("name", ENERGIES)
def test_an_energy_that_has_no_differences_to_speak_of(name):
    answers, words = ENERGIES[name]
    points = np.array([[0.5, 1.0], [1.5, -2.0], [3.0, 0.0]])
    rng = SimpleNamespace(permutation=lambda n: np.arange(n))
    f = Answers(*answers)
    report = functions.unfit_energy("check_score", "energy", f, points, rng)
    assert (report is None) == (words is None) and [len(a) for a in f.asked] == [3, 1, 3][: len(f.asked)]
    if words:
        assert (
            report.diagnosis.startswith(words)
            and report.verdict == "INCONCLUSIVE"
            and report.summary == "3 points x 2 dims"
        ), report
    for off, right in ((0.9e-3 * (1 + 4), True), (1.1e-3 * (1 + 4), False)):  # of the number, and of the largest
        f = Answers(V[:, 0], V[:1, 0] + off, V[:, 0])
        assert (functions.unfit_energy("c", "energy", f, points, rng) is None) == right
    for off, scale, kind in (
        (0.9e-12, 1, "rows"),
        (1.1e-12, 1, "random"),
        (1.1e-12, 1e-12, "random"),
        (0.5, 1e-12, "random"),
    ):
        f = Answers(scale * V[:, 0], scale * (V[:1, 0] + 1), scale * V[:, 0] * (1 + off))
        assert functions.unfit_energy("c", "energy", f, points, rng).diagnosis.startswith(kind)
