"""A loss with fn of one kind and of another: which of both is told, and what a report says."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import loss as module
from numpyscore.check.losses.loss import Outcome, _is_shape, _setting
from numpyscore.check.losses.names import COARSEST, Factor, Naming, conversion

FAILED, PASSED, OPEN = (
    Naming("FAIL", "failed: so", "p"),
    Naming("PASS", "", "p"),
    Naming("INCONCLUSIVE", "open: so", "p"),
)


def caller_of(asks=(), **more):
    """A caller that raises what is in `asks` for a kind of fn, when it is asked once."""
    made = {
        "takes": {},
        "objective": "implicit",
        "came": "float64",
        "way": None,
        "calls": 12,
        "notes": set(),
        "eps": 2.2e-16,
    }
    caller = SimpleNamespace(**(made | more))
    caller.forgotten = 0

    def ask(probe, setting):
        caller.asked.append((probe.kind, setting.extras["noise"].shape))
        if (error := dict(asks).get(probe.kind)) is not None:
            raise error
        caller.way = {"each": False, "of": probe.kind}

    def forget():
        caller.forgotten += 1

    caller.asked, caller.ask, caller.forget = [], ask, forget
    return caller


def setting_of(n=4, d=3, levels=1):
    x = np.zeros((n, d))
    extras = {"noise": np.zeros((n, d))}
    return SimpleNamespace(
        n=n,
        d=d,
        levels=levels,
        x=x,
        extras=extras,
        m=1,
        _replace=lambda extras: SimpleNamespace(n=n, d=d, levels=levels, x=x, extras=extras, m=1),
    )


def investigated(monkeypatch, outcomes, kinds=("energy", "score"), levels=1, takes=(), asks=()):
    """The report, and what was examined."""
    rows, seen = dict(outcomes), []

    def examined(caller, kind, settings, rng):
        seen.append((kind, settings[0].extras["noise"].shape))
        out = rows[kind] if kind in rows else rows[kind, len(seen[-1][1])]
        if isinstance(out, Exception):
            raise out
        caller.came = f"float of {kind}"
        return Outcome(kind, *out)

    monkeypatch.setattr(module, "_examined", examined)
    caller = caller_of(asks, takes=dict.fromkeys(takes, 0))
    report = module._investigate(
        "check_loss",
        caller,
        [setting_of(levels=levels), setting_of(6, 2, levels)],
        list(kinds),
        np.random.default_rng(0),
    )
    assert caller.forgotten == len(caller.asked)
    return report, seen, caller


def test_the_kind_of_fn_that_makes_sense_is_told(monkeypatch):
    say = lambda energy, score, **more: investigated(monkeypatch, {"energy": energy, "score": score}, **more)
    report, seen, caller = say((PASSED, 2, {"d": 1}), (FAILED, 2, {}))
    assert (
        report.verdict == "PASS"
        and [k for k, _ in seen] == ["energy"]
        and report.details == {"d": 1}
        and "fn an energy" in report.summary
    )
    assert caller.way["of"] == "energy" and caller.came == "float of energy"
    for energy, score, verdict, kind in (
        ((FAILED, 2, {}), (PASSED, 1, {}), "PASS", "score"), ((FAILED, 2, {}), (OPEN, 1, {}), "FAIL", "energy"), ((FAILED, 1, {}), (OPEN, 2, {}), "INCONCLUSIVE", "score"),
        ((FAILED, 1, {}), (OPEN, 1, {}), "INCONCLUSIVE", "score"), ((OPEN, 1, {}), (FAILED, 1, {}), "INCONCLUSIVE", "energy"), ((FAILED, 1, {}), (FAILED, 1, {"second": 1}), "FAIL", "energy"),
    ):  # fmt: skip
        report, seen, caller = say(energy, score)
        assert (
            report.verdict == verdict
            and f"fn {module.PRONOUN[kind]} {kind}" in report.summary
            and f"float of {kind} out" in report.summary
            and len(seen) == 2
        )
        assert caller.way["of"] == kind and report.details == (energy if kind == "energy" else score)[2]
    report, _, _ = say(RuntimeError("no"), (FAILED, 0, {}))
    assert (
        report.verdict == "INCONCLUSIVE"
        and report.diagnosis == "stopped: it could be called, and then raised RuntimeError: no"
    )
    assert say(RuntimeError("no"), (FAILED, 1, {}))[0].verdict == "FAIL"


def test_a_loss_that_cannot_be_called_is_misuse(monkeypatch):
    say = lambda asks, **more: investigated(
        monkeypatch, {"energy": (FAILED, 2, {}), "score": (FAILED, 2, {})}, asks=asks, **more
    )
    report, seen, _ = say({"energy": TypeError("an energy.")})
    assert report.verdict == "FAIL" and [k for k, _ in seen] == ["score"] and "fn a score" in report.summary
    with pytest.raises(
        ValueError,
        match=r"^check_loss: loss could not be called: with fn an energy, TypeError: an energy; with fn a score, KeyError: 'x'\. It is called as loss",
    ):
        say({"energy": TypeError("an energy."), "score": KeyError("x")})
    first = {"energy": TypeError("first"), "score": KeyError("x")}
    with pytest.raises(ValueError) as raised:
        say(first)
    assert raised.value.__cause__ is first["energy"]


def test_noise_may_be_handed_for_each_level(monkeypatch):
    outcomes = {("score", 2): (FAILED, 1, {}), ("score", 3): (PASSED, 2, {})}
    say = lambda takes, levels=3: investigated(monkeypatch, outcomes, ("score",), levels, takes)
    report, seen, _ = say(["noise"])
    assert report.verdict == "PASS" and seen == [("score", (4, 3)), ("score", (3, 4, 3))]
    assert (
        say(["noise", "level"])[1] == [("score", (4, 3))] == say(["noise"], 1)[1] == say([])[1]
        and len(say(["noise"], 2)[1]) == 2
    )


def test_a_pass_answers_the_questions_for_every_loss(monkeypatch):
    asked = []

    def say(again=None, objective="implicit", naming=PASSED, bent=None, graph=None, eps=2.2e-16):
        asked.clear()
        monkeypatch.setattr(
            module, "again", lambda caller, kind, setting, rng: asked.append(("again", setting)) or again
        )
        monkeypatch.setattr(module, "denoised", lambda *args: asked.append("denoised") or (naming, 2, {"d": 1}))
        monkeypatch.setattr(module, "of_terms", lambda *args: asked.append("of_terms") or (naming, 2, {"d": 1}))
        monkeypatch.setattr(
            module,
            "bent",
            lambda caller, kind, setting, rng: asked.append(("bent", setting, caller.eps)) or bent,
        )
        monkeypatch.setattr(module, "graph", lambda *args: asked.append("graph") or graph)
        return module._examined(caller_of(objective=objective, eps=eps), "score", ["first", "second"], None)

    assert say() == Outcome("score", PASSED, 2, {"d": 1}) and asked == [
        ("again", "first"),
        "of_terms",
        ("bent", "first", 2.2e-16),
        "graph",
    ]
    assert say(objective="multilevel_denoising").sense == 2 and asked[1] == "denoised"
    assert say(again=FAILED) == Outcome("score", FAILED, 1, {}) and asked == [("again", "first")]
    assert say(naming=FAILED) == Outcome("score", FAILED, 2, {"d": 1}) and len(asked) == 2
    assert (
        say(bent=FAILED) == Outcome("score", FAILED, 2, {"d": 1})
        and asked[-1] == ("bent", "first", 2.2e-16)
        and say(graph=OPEN).naming is OPEN
    )
    rough = PASSED._replace(notes=("one", "right up to 1e-7"))
    assert say(naming=rough).naming is rough and asked[2][2] == np.finfo(np.float32).eps
    assert say(naming=rough, eps=1e-3).naming is rough and asked[2][2] == 1e-3


def test_a_report_says_how_a_loss_was_asked():
    def say(came="float64", levels=(1, 1), naming=PASSED, notes=(), kind="score"):
        settings = [setting_of(6, 3, levels[0]), setting_of(2, 5, levels[1])]
        return module._report(
            "check_loss", caller_of(came=came, notes=set(notes)), settings, Outcome(kind, naming, 2, {"d": 1})
        )

    plain = say()
    assert (
        plain.summary == "implicit with fn a score, n 2-6, d 3-5, float64 out, 12 calls"
        and plain.notes == ()
        and np.isnan(plain.resolution)
    )
    assert say(levels=(3, 4)).summary == "implicit with fn a score, 3-4 levels, n 2-6, d 3-5, float64 out, 12 calls"
    assert (
        ", 1-2 levels" in say(levels=(2, 1)).summary
        and ", 2-2 levels" in say(levels=(2, 2)).summary
        and "an energy" in say(kind="energy").summary
    )
    assert (
        say(naming=PASSED._replace(resolution=1e-9)).resolution == COARSEST
        and say(naming=PASSED._replace(resolution=1e-3)).resolution == 1e-3
    )
    assert say(naming=PASSED._replace(resolution=np.inf)).resolution is np.nan or np.isnan(
        say(naming=PASSED._replace(resolution=np.inf)).resolution
    )
    noted = say("float32", naming=PASSED._replace(resolution=1e-5, notes=("z",)), notes=("b", "a"))
    assert noted.notes == ("z", "a", "b", "the loss comes back in float32: errors below 1e-05 stay unseen")
    assert (
        "bfloat16" in say("bfloat16", naming=PASSED._replace(resolution=1e-5)).notes[0]
        and noted.details == {"d": 1}
        and noted.pattern == "p"
    )


def test_settings_of_few_rows_and_levels():
    caller = SimpleNamespace(objective="multilevel_denoising", known={"levels": None}, takes={})
    made = lambda n, L, seed=0: _setting(caller, np.random.default_rng(seed), n, 3, L, 0.5, 1)
    for seed in range(8):
        assert sorted(made(3, 3, seed).extras["level"].tolist()) == [0, 1, 2] and set(
            made(6, 3, seed).extras["level"].tolist()
        ) == {0, 1, 2}
    assert {k for seed in range(30) for k in made(2, 4, seed).extras["level"].tolist()} == {0, 1, 2, 3}
    two = made(4, 2)
    assert (
        two.extras["sigmas"].shape == (2,)
        and 0.92 <= two.extras["sigmas"][0] <= 0.95
        and 0.27 < two.extras["sigmas"][1] <= 0.285
    )
    np.testing.assert_array_equal(two.level, two.extras["sigmas"][two.extras["level"]])
    one = made(4, 1)
    assert one.extras["sigmas"].tolist() == [0.5] and one.level == 0.5 and one.extras["level"].tolist() == [0] * 4
    assert (
        not _is_shape((2**40, 2**40)) and not _is_shape((2**32, 2**32)) and _is_shape((16, 16))
    )  # no number of 64 bits holds these


def test_reasons_of_a_scale_are_those_of_its_objective():
    why = lambda c, powers, objective: (
        conversion(Factor(c, powers, "K", True), objective).split("reference", 1)[1].split(";")[0]
    )
    assert why(1.0, {"d": -1}, "implicit") == " (a mean over dimensions instead of a sum)"
    assert why(1.0, {"d": -1}, "sliced") == " (slices of unit length, or a mean over dimensions)"
    assert why(2.0, {"d": -1}, "sliced") == " (a mean over dimensions instead of a sum, and no 1/2)"
    assert (
        why(1.0, {"n": 1}, "sliced") == " (a sum over samples instead of a mean)"
        and why(3.0, {"d": -1}, "sliced") == why(1.0, {}, "sliced") == ""
    )
