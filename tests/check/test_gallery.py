"""The gallery: what each of its implementations returns on the data that it is checked with, and when a report is the one that it must get."""

from functools import partial
from inspect import signature

import numpy as np
import pytest
from wording import hold

from numpyscore import CheckReport, EnergyMLP
from numpyscore.check import gallery
from numpyscore.check.gallery import CASES, RIGHT, Case, recognised

X = np.array([[0.3, -1.2, 0.8], [1.1, 0.4, -0.5], [-0.7, 0.9, 1.6], [0.2, -0.3, -1.4], [1.9, 0.6, 0.1]])
NET = EnergyMLP.init(3, (5,), "softplus", confinement=0.4, rng=3)


class Fn:
    """A model as a loss is given it: of an energy, and a network that is told its level."""

    energy, score, trace = NET.energy, NET.score, NET.trace
    jacobian, curvature = NET.jacobian, NET.curvature

    def __call__(self, x, *told):
        level = np.reshape(told[0], (-1, 1)) if told else 0.0
        return NET.score(x) * (1 + 0.3 * level)


def given():
    """What a loss or a step may ask for, by the name of its parameter."""
    return {
        "fn": Fn(), "x": X, "sigma": 0.6, "rng": np.random.default_rng(5), "t": np.cos(X), "h": 1 + X**2, "h_prime": 2 * X, "eps": 0.03,
        "sigmas": np.array([1.7, 0.9, 0.4, 0.25]), "alphas_cumprod": np.array([0.9, 0.6, 0.2]), "score": lambda x: 0.7 - x, "h_": 0.3,
    }  # fmt: skip


def called(function):
    """What a loss or a step returns when it is given what it asks for."""
    known = given()
    step = "score" in signature(function).parameters
    return function(*(known["h_" if step and name == "h" else name] for name in signature(function).parameters))


def said(value):
    a = np.asarray(value, float)
    return f"{a.shape} {' '.join(f'{v:.9g}' for v in a.ravel())}"


def of(case, monkeypatch):
    """The user's numbers behind a case, as text: its functions at the points and with the options of its check."""
    calls = []
    for name in ("check_score", "check_trace", "check_rows", "check_gradient"):
        monkeypatch.setattr(
            gallery, name, partial(lambda name, *args, **options: calls.append((name, args, options)), name)
        )
    np.random.seed(0)  # noqa: NPY002  what a user's probes are drawn from
    if isinstance(case.run, partial):
        calls.append((case.run.func.__name__, case.run.args, case.run.keywords))
    else:
        case.run()
    ((check, args, options),) = calls
    if check in ("check_loss", "check_sampler"):
        return f"{said(called(args[0]))} {options}"
    if check == "check_density":
        d = options.get("dim", 1)
        return f"{said(args[0](np.abs(X[:, :d])))} {options}"
    if check == "check_gradient":
        loss, gradient, theta = args
        return f"{said(theta)} {said(loss(theta))} {said(gradient(theta))}"
    x = options.get("x", args[-1])
    functions = [f for f in (*args, *options.values()) if callable(f)]
    return "\n".join([said(x), *(said(f(x)) for f in functions)])


@pytest.mark.parametrize("case", CASES + RIGHT, ids=lambda case: case.name)
def test_what_an_implementation_returns_is_what_is_wrong_with_it(case, monkeypatch):
    hold(of(case, monkeypatch), 1e-6)


def test_the_gallery_is_in_this_order():
    hold("\n".join(f"{case.verdict} {case.name} ({case.seen}): {case.says}" for case in CASES + RIGHT))
    assert len({case.name for case in CASES + RIGHT}) == len(CASES + RIGHT)


def test_a_report_is_recognised_by_its_verdict_and_one_of_the_words():
    report = lambda verdict, diagnosis="", notes=(): CheckReport(
        "check_loss", verdict, "", diagnosis=diagnosis, notes=notes
    )
    wrong, right = Case("a", "", None, "sign -- or -- scale"), Case("b", "", None, "preserving", "PASS")
    assert recognised(wrong, report("FAIL", "the scale is wrong")) and recognised(wrong, report("FAIL", "a sign"))
    assert not recognised(wrong, report("FAIL", "different")) and not recognised(wrong, report("PASS", "a sign"))
    assert not recognised(wrong, report("FAIL", "different", ("a sign",)))  # a note accuses nobody
    assert recognised(right, report("PASS", "", ("one", "variance preserving")))
    assert not recognised(right, report("PASS", "variance preserving")) and not recognised(
        right, report("FAIL", "", ("preserving",))
    )
