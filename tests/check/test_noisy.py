"""A denoising loss piece by piece, on made points and arrays: what is asked in which order, and both sides of each comparison."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import noise
from numpyscore.check.losses.denoising import PARAMETRISATIONS, Read
from numpyscore.check.losses.hearing import Draw
from numpyscore.check.losses.names import COARSEST, Level, Naming
from numpyscore.check.losses.trials import Trial

X, Z = np.random.default_rng(11).standard_normal((2, 6, 4))
SIGMA = np.array([0.5, 0.8, 0.3, 0.65, 0.7, 0.4])
FAILED, PASSED, OPEN = (
    Naming("FAIL", "failed: so", "p"),
    Naming("PASS", "", "p"),
    Naming("INCONCLUSIVE", "open: so", "p"),
)


class Setting(SimpleNamespace):
    def _replace(self, **changes):
        return Setting(**{**vars(self), **changes})


def trial_of(sigma=0.5, c=1.0, eps=Z, x=X, trouble="", told=None, draws=None, row=None, **more):
    n, d = x.shape
    draws = [Draw("normal", eps)] if draws is None else draws
    setting = Setting(**({"n": n, "d": d, "m": 1, "levels": 1, "level": 0.5, "seed": 3, "x": x, "extras": {"noise": 0, "v": 0}} | more.pop("setting", {})))  # fmt: skip
    M = len(eps)
    row, sigma, c = np.arange(M) if row is None else row, sigma + np.zeros(M), c + np.zeros(M)
    source = np.stack([np.zeros(M, int), np.arange(M)], axis=1)
    points = c[:, None] * x[row] + sigma[:, None] * eps
    return Trial(
        setting, points, told, tuple(draws), row, c, sigma, eps, **({"source": source, "trouble": trouble} | more)
    )


def caller_of(takes=(), objective="denoising", **more):
    known = {"predicts": None, "score_of": None, "kernel": None, "levels": None, "step": 0.05} | more.pop("known", {})
    made = {
        "takes": dict.fromkeys(takes, 0),
        "objective": objective,
        "eps": 2.2e-16,
        "known": known,
        "free": True,
        "said": None,
        "numbers": {},
        "notes": set(),
    }
    return SimpleNamespace(**(made | more))


def found_of(own, b, A=None, near=True, exact=True, residual=0.0, cross=0.0, doubt=0.0):
    """The arrays (M, d, d) and (M, d) of a loss."""
    M, d = b.shape
    whole = np.zeros((M, d, M, d))
    whole[np.arange(M), :, np.arange(M)] = own
    doubts = np.full(M, doubt)
    fit = SimpleNamespace(near=near, exact=exact, residual=residual)
    return SimpleNamespace(own=whole[np.arange(M), :, np.arange(M)], b=b, A=whole if A is None else A, fit=fit, cross=cross, doubt=doubt, doubts=doubts, _replace=lambda **k: SimpleNamespace(**({"own": np.einsum("iaib->iab", k["A"])} | k)))  # fmt: skip


def pulled(trial, p, q=0.0, w=1.0, **more):
    """The arrays of w/2 |fn - (p eps + q x)|^2."""
    M, d = trial.points.shape
    w, p, q = (np.asarray(v, float) + np.zeros(M) for v in (w, p, q))
    target = p[:, None] * trial.eps + q[:, None] * trial.data[trial.row]
    return found_of(w[:, None, None] * np.eye(d), -w[:, None] * target, **more)


def read_of(p, q=0.0, w=1.0, sigma=SIGMA, c=1.0, left=0.0, apart=0.0, trial=0, rtol=1e-9):
    none = np.zeros(len(sigma))
    of = np.stack([np.zeros(len(sigma), int) + trial, np.arange(len(sigma))], axis=1)
    levels = [Level(6 + 2 * k, 4 + k, s, 1, 1.0, 1) for k, s in enumerate(sigma)]
    return Read(w + none, p + none, q + none, left + none, c + none, sigma, of, levels, rtol, apart + none)


# ------------------------------------------------------------------------------- in which order it is asked


def examined(monkeypatch, trials=None, covariances=(), bad=None, points=None, drawn=None, read=None, correlated=None):
    looked = []

    def look(name, value):
        return lambda *args: looked.append(name) or value

    trials = [trial_of(), trial_of()] if trials is None else trials
    monkeypatch.setattr(noise.perturbation, "known", look("known", (trials, covariances, ("mapped",))))
    monkeypatch.setattr(
        noise, "Answers", lambda caller, kind, t, rng: SimpleNamespace(grow=lambda count: looked.append(count) or t)
    )
    monkeypatch.setattr(noise, "unusable", lambda tables: looked.append(len(tables)) or bad)
    monkeypatch.setattr(noise.perturbation, "perturbation", look("points", points))
    monkeypatch.setattr(noise.perturbation, "correlated", look("correlated", correlated))
    monkeypatch.setattr(noise.perturbation, "drawn", look("drawn", drawn))
    monkeypatch.setattr(noise, "_read", look("read", (read, 2, {"d": 1})))
    monkeypatch.setattr(noise, "_with_caveats", lambda caller, trials, naming, mapped: naming._replace(notes=mapped))
    out = noise.denoised(caller_of(), "score", [], None)
    assert looked[:4] == ["known", 14, 14, 2]
    return *out, looked[4:]


def test_a_loss_is_read_where_its_noise_is_known(monkeypatch):
    say = lambda **more: examined(monkeypatch, **more)
    assert say(read=PASSED) == (PASSED._replace(notes=("mapped",)), 2, {"d": 1}, ["points", "read", "drawn"])
    assert say(read=FAILED) == (FAILED._replace(notes=("mapped",)), 2, {"d": 1}, ["points", "read"])
    assert say(read=PASSED, drawn=FAILED)[0].diagnosis == "failed: so" and say(read=OPEN)[1] == 2
    coupled = OPEN._replace(diagnosis="coupled noise: x")
    assert say(read=coupled)[1] == 0 == say(read=OPEN._replace(diagnosis="not heard: x"))[1]
    assert say(read=FAILED._replace(diagnosis="coupled noise: x"))[1] == 2
    assert say(bad=FAILED) == (FAILED, 1, {}, []) and say(points=FAILED) == (FAILED, 1, {}, ["points"])
    unheard = [trial_of(), trial_of(trouble="not heard")]
    text = f"unknown noise: {noise.TROUBLE['not heard']}"
    assert say(trials=unheard) == (Naming("INCONCLUSIVE", text, ""), 0, {}, ["points", "drawn"])
    assert say(trials=unheard, drawn=FAILED) == (FAILED, 1, {}, ["points", "drawn"])
    unseen = say(trials=[trial_of(trouble="unseen"), trial_of(trouble="not heard")])
    assert unseen[0].diagnosis == f"hidden randomness: {noise.TROUBLE['unseen']}" and unseen[3] == ["points"]
    assert say(trials=[trial_of(trouble="inferred"), trial_of()], read=PASSED)[3] == ["points", "read", "drawn"]
    C = np.eye(3)
    C[0, 1] = C[1, 0] = 1.1e-6
    joined = say(covariances=(np.eye(3), C), correlated=PASSED)
    assert joined == (PASSED, 1, {}, ["points", "correlated", "drawn"])
    assert say(covariances=(C,), correlated=PASSED, drawn=FAILED)[0] is FAILED
    assert say(covariances=(C,), correlated=OPEN) == (OPEN, 1, {}, ["points", "correlated"])
    C[0, 1] = C[1, 0] = 0.9e-6
    assert say(covariances=(C,), read=PASSED)[3] == ["points", "read", "drawn"]


def test_what_must_be_said_of_the_noise():
    say = lambda naming, *trials, mapped=(), **more: noise._with_caveats(
        caller_of(**more), trials or [trial_of()], naming, mapped
    )
    assert say(PASSED) == PASSED and say(FAILED) == FAILED and say(PASSED, mapped=("m",)).notes == ("m",)
    single = trial_of(draws=[Draw("normal", Z.astype(np.float32))])
    noted = say(PASSED._replace(notes=("one",), resolution=1e-9), single)
    assert noted.notes == (noise.near_note(noise.SINGLE), "one") and noted.resolution == COARSEST
    assert say(PASSED._replace(resolution=1e-3), single).resolution == 1e-3
    assert say(PASSED, single, eps=noise.SINGLE).notes == () and say(
        PASSED._replace(notes=("right up to 1",)), single
    ).notes == ("right up to 1",)
    assert say(PASSED, single, trial_of()).notes != ()
    few = trial_of(row=np.array([0, 1, 2, 0, 1, 2]), c=1.0)
    (note,) = say(PASSED, few, few).notes
    assert (
        note
        == "only the first 3 of the rows of x are used, however many are handed over: right only for a batch of so many"
    )
    other = trial_of(row=np.array([0, 1, 2, 3, 1, 2]))
    last = trial_of(row=np.array([1, 2, 3, 1, 2, 3]))
    assert say(PASSED, few, other).notes == () and say(PASSED, last).notes == () and say(PASSED, trial_of()).notes == ()
    short = trial_of(x=X[:3], eps=Z[:3])
    assert say(PASSED, few, short).notes == ()  # one batch has no more
    scaled = trial_of(c=0.7)
    assert "with c = 0.7;" in say(PASSED, scaled).notes[0]
    clean = trial_of(sigma=np.array([0.5, 0, 0.5, 0.5, 0.5, 0.5]), c=np.array([1, 0.5, 1, 1, 1, 1]))
    assert say(PASSED, clean).notes == ()  # of points with noise
    inferred = trial_of(trouble="inferred")
    assert say(PASSED, inferred).notes == ("the noise was not heard; its size was inferred from that of many rows",)
    unsure = say(FAILED, inferred, trial_of())
    assert (
        unsure.verdict == "INCONCLUSIVE"
        and unsure.diagnosis == "not heard: failed: so; but its noise was not heard, and only its size inferred"
    )
    assert (
        say(FAILED._replace(diagnosis="fixed noise: x"), inferred).verdict == "FAIL"
        and say(OPEN, inferred).diagnosis == "open: so"
    )
    coupled = trial_of(coupled=True)
    assert say(PASSED, coupled, trial_of()).notes == (
        f"{noise.COUPLED}: where it is assigned, a velocity learnt so carries noise to data, but no score follows from it",
    )
    doubt = say(FAILED, coupled)
    assert (
        doubt.verdict == "INCONCLUSIVE"
        and doubt.diagnosis == f"{noise.COUPLED}; failed: so; say predicts="
        and doubt.pattern == "p"
        and doubt.notes
    )
    for known in ({"predicts": "x"}, {"score_of": len}):
        assert say(FAILED, coupled, known=known).verdict == "FAIL"


# ------------------------------------------------------------------------------- from arrays to what fn is pulled to


def reading(monkeypatch, founds, trials=None, named=PASSED, entry=None, isotropic=None):
    trials = trials or [trial_of(SIGMA) for _ in founds]
    rows, seen = list(founds), []
    monkeypatch.setattr(noise, "identify", lambda table, jacobian: seen.append(jacobian) or rows.pop(0))
    monkeypatch.setattr(noise, "_unread", lambda *args: "unread")
    monkeypatch.setattr(noise, "_entry_weights", lambda caller, kind, trials, founds, rng: (founds, entry or ()))
    monkeypatch.setattr(noise, "_not_isotropic", lambda *args: isotropic)
    monkeypatch.setattr(noise, "_strange", lambda *args: FAILED)
    monkeypatch.setattr(noise, "_named", lambda caller, kind, trials, r, rng: seen.append(r) or named)
    out = noise._read(caller_of(), "score", trials, ["t"] * len(founds), None)
    return out, seen


def test_the_arrays_of_a_loss_are_read_point_by_point(monkeypatch):
    trial = trial_of(SIGMA)
    right = pulled(trial, -1 / SIGMA, w=6.0)
    (naming, sense, details), seen = reading(monkeypatch, [right])
    assert seen[0] is False and sense == 2 and naming == PASSED._replace(resolution=COARSEST)
    np.testing.assert_allclose(details["p"], -1 / SIGMA, rtol=1e-12)
    assert (
        list(details) == ["b", "p", "q", "sigma", "c"]
        and np.allclose(details["b"], 36.0)
        and np.allclose(details["sigma"], SIGMA)
    )
    near = pulled(trial, -1 / SIGMA, exact=False, residual=3e-6)
    (naming, _, _), seen = reading(monkeypatch, [right, near], entry=("entry",))
    assert seen[-1].rtol == pytest.approx(3e-5) and naming.resolution == pytest.approx(3e-5)
    assert naming.notes == (noise.near_note(3e-6), "entry")
    assert reading(monkeypatch, [near], named=FAILED)[0][0].notes == ()
    assert reading(monkeypatch, [pulled(trial, -1 / SIGMA, near=False)])[0] == "unread"
    assert reading(monkeypatch, [right, pulled(trial, -1 / SIGMA, near=False)])[0] == "unread"
    none = found_of(0 * right.own, right.b)
    assert reading(monkeypatch, [none, none])[0] == (
        Naming("FAIL", noise.missing("denoising", noise.SQUARE), "A = 0"),
        2,
        {},
    )
    size = np.abs(right.b).max()
    faint = lambda by: reading(monkeypatch, [found_of(by * size * np.eye(4) + 0 * right.own, right.b)])[0][0].pattern
    assert faint(0.98e-9) == "A = 0" and faint(1.02e-9) != "A = 0"
    assert reading(monkeypatch, [none, right], isotropic=FAILED)[0] == (FAILED, 1, {})
    lost = pulled(trial, -1 / SIGMA, doubt=1.0)
    (naming, sense, _), _ = reading(monkeypatch, [lost])
    assert (
        naming.verdict == "INCONCLUSIVE"
        and sense == 0
        and naming.diagnosis.startswith("unresolved: the points with noise lie too near")
    )
    odd = found_of(right.own, right.b + np.random.default_rng(0).standard_normal(right.b.shape))
    (naming, sense, details), _ = reading(monkeypatch, [odd])
    assert naming is FAILED and sense == 1 and "p" in details


def test_targets_are_explained_within_rounding():
    assert not noise._unexplained(read_of(1.0, left=0.98e-6)) and noise._unexplained(read_of(1.0, left=1.02e-6))
    assert not noise._unexplained(read_of(1.0, left=0.98e-3, rtol=1e-4)) and noise._unexplained(
        read_of(1.0, left=1.02e-3, rtol=1e-4)
    )
    one = np.arange(6) == 2
    assert noise._unexplained(read_of(1.0, left=1.0 * one)) and not noise._unexplained(
        read_of(np.where(one, np.nan, 1.0), left=1.0 * one)
    )


def test_another_draw_may_be_in_the_targets(monkeypatch):
    """Looked for in three dimensions and more, and not in three alone, where any vector is made up of three; means everywhere, and first."""

    def say(dims, explains=1, draws=3, lost=(), means=None):
        asked = []

        def read(trials, founds):
            asked.append(trials)
            return read_of(1.0, left=0.0 if trials[0] == ("apart", explains) else 1.0)

        monkeypatch.setattr(noise.denoising, "read", read)
        monkeypatch.setattr(noise, "with_draw_apart", lambda t, k: None if k in lost else ("apart", k))
        monkeypatch.setattr(noise, "apart_from", lambda t: range(draws))
        monkeypatch.setattr(noise, "with_posterior_means", lambda t: means)
        trials = [SimpleNamespace(setting=SimpleNamespace(d=d), draws=[0] * draws) for d in dims]
        out, r, notes = noise._of_other_numbers(trials, [])
        assert notes == ((noise.MEANS,) if out == [("apart", "mean")] * len(dims) else ())
        return (out if out is not trials else None), r.left[0], len(asked)

    assert (
        say((4, 3), 1) == ([("apart", 1)] * 2, 0.0, 3)
        and say((5, 4), 0)[0] == [("apart", 0)] * 2
        and say((4, 4), 2)[2] == 4
    )
    assert say((3, 3)) == (None, 1.0, 1) and say((2, 4)) == (None, 1.0, 1) and say((4, 2)) == (None, 1.0, 1)
    assert say((4, 4), 5) == (None, 1.0, 4) and say((4, 4), 1, lost=(1,)) == (None, 1.0, 3)
    mean = ("apart", "mean")
    assert say((2, 3), "mean", means=mean) == ([mean] * 2, 0.0, 2) and say((4, 4), 0, means=mean)[2] == 3
    monkeypatch.setattr(noise.denoising, "read", lambda trials, founds: read_of(1.0))
    trials = [SimpleNamespace(setting=SimpleNamespace(d=4), draws=[0])]
    assert noise._of_other_numbers(trials, [])[0] is trials


def entry_weights(
    monkeypatch, w, p, q=0.0, trial=None, other=None, cross=0.0, off=0.0, target_off=0.0, draws_other=True
):
    """What becomes of arrays with the weights w (M, d) of single entries, and targets p eps + q x."""
    trial = trial or trial_of(SIGMA)
    w = np.broadcast_to(np.asarray(w, float), trial.points.shape)
    target = (np.asarray(p) + np.zeros(6))[:, None] * trial.eps + (np.asarray(q) + np.zeros(6))[:, None] * trial.data[
        trial.row
    ]
    b = -w * target
    b[0, 0] += target_off * np.abs(b).max()
    own = np.einsum("ia,ab->iab", w, np.eye(4))
    own[0, 0, 1] += off * np.abs(w).max()
    found, seeds = found_of(own, b, cross=cross), []
    again = (
        found_of(np.einsum("ia,ab->iab", np.roll(w, 1, axis=0) if other is None else other, np.eye(4)), b)
        if other is not False
        else None
    )

    def noisy(caller, kind, setting, rng):
        seeds.append(setting.seed)
        return trial

    monkeypatch.setattr(noise, "noisy", noisy)
    monkeypatch.setattr(noise, "Answers", lambda *args: None)
    monkeypatch.setattr(noise, "identify", lambda table, jacobian: again)
    out, notes = noise._entry_weights(None, "score", [trial], [found], None)
    assert seeds in ([], [6]) and (out[0] is found) == (notes == ())
    return (None if out[0] is found else out[0]), seeds, target


def test_weights_of_single_entries_are_a_convention_where_the_target_is_right(monkeypatch):
    w = np.array([1.0, 2, 3, 2])
    out, seeds, target = entry_weights(monkeypatch, w, -1 / SIGMA)
    assert seeds == []
    np.testing.assert_allclose(out.own, 2 * np.eye(4) + np.zeros((6, 4, 4)))
    np.testing.assert_allclose(out.b, -2 * target)
    np.testing.assert_allclose(out.A, np.einsum("ij,ab->iajb", np.eye(6), 2 * np.eye(4)))
    c = np.sqrt(1 - SIGMA**2)
    for row in PARAMETRISATIONS[:-1]:
        trial = trial_of(SIGMA, c)
        p, q = row.form(c, SIGMA)
        out, _, target = entry_weights(monkeypatch, w, p, q, trial)
        np.testing.assert_allclose(out.b, -2 * target)
    none = lambda *args, **more: entry_weights(monkeypatch, *args, **more)[0] is None
    assert none(w, 0.3) and none(w, -1 / SIGMA, off=1.02e-6) and not none(w, -1 / SIGMA, off=0.98e-6)
    assert none(w, -1 / SIGMA, cross=1.1e-6) and not none(w, -1 / SIGMA, cross=0.9e-6)
    assert none(w, -1 / SIGMA, target_off=1.02e-6) and not none(w, -1 / SIGMA, target_off=0.98e-6)
    assert none(3.0, -1 / SIGMA) and none(3 - 3 * 0.98e-6 * np.array([1, 0, 0, 0]), -1 / SIGMA) and not none(3 - 3 * 1.02e-6 * np.array([1, 0, 0, 0]), -1 / SIGMA)  # fmt: skip
    below = lambda by: np.where(np.arange(24).reshape(6, 4) == 5, -3 * by, w)
    assert none(below(1.02e-9), -1 / SIGMA) and not none(below(0.98e-9), -1 / SIGMA)


def test_weights_of_zero_are_a_mask_if_it_is_drawn(monkeypatch):
    mask = 3.0 * (np.arange(24).reshape(6, 4) % 5 > 0)
    out, seeds, _ = entry_weights(monkeypatch, mask, -1 / SIGMA)
    assert seeds == [6] and out is not None
    np.testing.assert_allclose(
        out.own, 3 * np.eye(4) + np.zeros((6, 4, 4))
    )  # a row's weight is that of what is used of it
    assert entry_weights(monkeypatch, mask, -1 / SIGMA, other=2 * mask)[0] is None  # the same entries: left out
    faint = np.where(mask > 0, mask, 3 * 0.98e-9), np.where(mask > 0, mask, 3 * 1.02e-9)
    assert (
        entry_weights(monkeypatch, faint[0], -1 / SIGMA)[1] == [6]
        and entry_weights(monkeypatch, faint[1], -1 / SIGMA)[1] == []
    )
    for other, masked in (
        (np.where(mask > 0, mask, 3 * 0.98e-9), False),
        (np.where(mask > 0, mask, 3 * 1.02e-9), True),
    ):
        assert (entry_weights(monkeypatch, mask, -1 / SIGMA, other=other)[0] is not None) == masked
    clean = trial_of(np.where(np.arange(6) == 2, 0.0, SIGMA))
    rows = np.where(np.arange(6)[:, None] == 2, 0.0, np.array([1.0, 2, 3, 2]))
    out, seeds, _ = entry_weights(monkeypatch, rows, np.where(np.arange(6) == 2, 0, -1 / SIGMA), trial=clean)
    assert seeds == [] and np.allclose(out.own[0], 2 * np.eye(4))  # points without noise do not count
    even = np.where(np.arange(6)[:, None] == 2, np.array([1.0, 2, 3, 2]), 3.0)
    assert entry_weights(monkeypatch, even, np.where(np.arange(6) == 2, 0, -1 / SIGMA), trial=clean)[0] is None


# ------------------------------------------------------------------------------- names


ORDER = ("forgotten", "told", "as said", "apart", "another", "questions", "never", "averaged", "by noise", "one level", "size", "by score", "by target")  # fmt: skip


def named(
    monkeypatch,
    objective="multilevel_denoising",
    levels=3,
    says=None,
    many="many",
    size=(None, ("size",)),
    known=None,
    target=PASSED,
    apart=0.0,
):
    looked = []

    def look(name, otherwise=None):
        def asked(*args):
            looked.append(name)
            return FAILED if name == says else otherwise

        return asked

    lv = noise.levels
    for module, name, word, otherwise in (
        (lv, "forgotten", "forgotten", None), (lv, "told", "told", (FAILED if says == "told" else None, ("told",))), (noise, "_as_said", "as said", None), (noise, "_of_noise_apart", "apart", None),
        (lv, "target_of_another", "another", None), (lv, "questions", "questions", None), (noise, "_never", "never", None), (lv, "averaged", "averaged", None), (lv, "weighted_by_what_is_behind", "by noise", None),
        (lv, "of_one_level", "one level", None), (noise, "_by_score", "by score", None), (lv, "weights_note", "w", ("w",)), (lv, "coarse_note", "c", ("c",)), (noise, "_counted", "n", ("n",)), (lv, "shared", "s", ("s",)),
    ):  # fmt: skip
        asked = look(word, otherwise)
        monkeypatch.setattr(
            module, name, asked if word != "told" else lambda trials, o=otherwise: looked.append("told") or o
        )
    monkeypatch.setattr(noise, "_many", lambda *args: many)
    monkeypatch.setattr(noise, "_size", lambda *args: size)
    multi = []
    monkeypatch.setattr(
        noise,
        "_by_target",
        lambda caller, kind, trials, r, m, multilevel, rng: (
            multi.append((m, multilevel)) or looked.append("by target") or target
        ),
    )
    trials = [trial_of(setting={"levels": levels})]
    out = noise._named(
        caller_of(objective=objective, known=known or {}), "score", trials, read_of(1.0, apart=apart), None
    )
    assert all(m == (many, levels > 1) for m in multi)
    return out, looked


def test_rules_are_asked_in_order(monkeypatch):
    whole = [
        "forgotten",
        "told",
        "as said",
        "apart",
        "another",
        "questions",
        "never",
        "averaged",
        "by noise",
        "one level",
        "by target",
        "w",
        "c",
        "n",
        "s",
    ]
    out, looked = named(monkeypatch)
    assert looked == whole and out == PASSED._replace(notes=("told", "size", "w", "c", "n", "s"))
    for k, name in enumerate(whole[:10]):
        out, looked = named(monkeypatch, says=name)
        assert out is FAILED and looked == whole[: k + 1]
    out, looked = named(monkeypatch, "denoising", levels=1)
    assert looked == [
        "as said",
        "apart",
        "questions",
        "never",
        "averaged",
        "by noise",
        "by target",
        "w",
        "c",
        "n",
    ] and out.notes == ("size", "w", "c", "n")
    assert "questions" not in named(monkeypatch, many=None)[1]
    assert named(monkeypatch, size=(FAILED, ()))[0] is FAILED
    assert named(monkeypatch, target=FAILED)[0].notes == ("told", "size") and named(monkeypatch, target=OPEN)[
        0
    ].notes == ("told", "size")
    assert named(monkeypatch, known={"score_of": len})[1][-1] == "by score"
    assert named(monkeypatch, apart=1.1 * COARSEST)[0].notes[:3] == ("told", "size", noise.APART) and noise.APART not in named(monkeypatch, apart=0.9 * COARSEST)[0].notes  # fmt: skip


def by_target(
    monkeypatch,
    predicts=None,
    name=PASSED,
    velocity=None,
    none=None,
    takes=("sigmas",),
    multilevel=True,
    kind="score",
    free=True,
):
    seen = []
    monkeypatch.setattr(noise, "_velocity", lambda *args: velocity)
    monkeypatch.setattr(noise.denoising, "name", lambda *args: seen.append(args[1:]) or name)
    monkeypatch.setattr(noise.levels, "smooth", lambda many: "smooth")
    monkeypatch.setattr(noise.levels, "none_of_them", lambda trials, r: none)
    caller = caller_of(takes, "multilevel_denoising", known={"predicts": predicts}, free=free, said="s")
    return noise._by_target(caller, kind, [], None, None, multilevel, None), seen


def test_targets_are_named_by_what_fn_may_be(monkeypatch):
    say = lambda **more: by_target(monkeypatch, **more)
    assert say() == (PASSED, [("multilevel_denoising", True, "s", None, "smooth")])
    assert (
        say(multilevel=False)[1] == [("denoising", True, "s", None, "smooth")] and say(kind="energy")[1][0][1] is False
    )
    assert (
        say(predicts="score")[1][0][1:4] == (False, "s", "score")
        and say(free=False)[1][0][1] is False
        and say(predicts="x")[1][0][1] is True
    )
    asked = [("multilevel_denoising", True, "s", "velocity", "smooth")]
    assert say(predicts="velocity", velocity=FAILED) == (FAILED, asked)
    assert say(predicts="velocity")[0].notes == (noise.NO_TIME,)
    another, sign = Naming("FAIL", "another velocity: so", ""), Naming("FAIL", "sign of the target: so", "")
    slip = Naming("FAIL", "sign of one term: so", "")
    assert say(predicts="velocity", velocity=another, name=slip)[0] is slip  # says more than that it is another
    assert say(predicts="velocity", velocity=sign, name=slip)[0] is sign
    for words in ("another parametrisation: so", "another path: so"):
        unsaid = say(predicts="velocity", velocity=another, name=Naming("FAIL", words, ""))[0]
        assert unsaid is another
    assert say(predicts="velocity", velocity=another, name=OPEN)[0] is another
    assert say(predicts="velocity", velocity=PASSED, name=slip)[0] is PASSED
    assert say(velocity=FAILED)[0] is PASSED and say(predicts="eps", velocity=FAILED)[0] is PASSED
    between, other = Naming("FAIL", "x between 1 and 2", ""), Naming("FAIL", "levels mixed", "")
    for takes in ("sigmas", "alphas", "level"):
        assert say(name=between, none=other, takes=(takes,))[0] is other
    assert say(name=between)[0] is between and say(name=between, none=other, takes=("t",))[0] is between
    assert say(name=FAILED, none=other)[0] is FAILED and say(name=between, none=other, multilevel=False)[0] is between
    assert (
        say(name=OPEN._replace(diagnosis="between"), none=other)[0].verdict == "INCONCLUSIVE"
        and say(name=between, none=other, predicts="x")[0] is between
    )
    moving = PASSED._replace(notes=("moves",))
    assert (
        say(name=OPEN, velocity=moving)[0] is moving
        and say(name=OPEN, velocity=FAILED)[0] is OPEN
        and say(name=OPEN)[0] is OPEN
    )
    assert say(name=OPEN, velocity=moving, predicts="x")[0] is OPEN and say(name=FAILED, velocity=moving)[0] is FAILED


def test_noise_that_is_drawn_apart_is_told_from_noise_beside(monkeypatch):
    monkeypatch.setattr(noise.levels, "velocity", lambda many, r, trials: 0)
    say = lambda r: noise._of_noise_apart(r, None, None)
    wrong = say(read_of(0.0, apart=-1 / SIGMA))
    assert (
        wrong.verdict == "FAIL"
        and wrong.diagnosis == noise.OTHER_NOISE
        and wrong.pattern == "target = -1/sigma eps, its eps drawn apart"
    )
    c = np.sqrt(1 - SIGMA**2)
    assert say(read_of(0.0, -SIGMA, c=c, apart=c)) is not None and say(read_of(0.0, 1.0, apart=0.3)) is None
    assert say(read_of(0.0, 0.98e-6 * 3, apart=3 * np.exp(SIGMA))) is not None
    mild = lambda q: say(read_of(0.0, q * 2 * np.exp(SIGMA), apart=2 * np.exp(SIGMA)))
    assert mild(0.98e-6) is not None and mild(1.02e-6) is None
    part = lambda p: say(read_of(p * 2 * np.exp(SIGMA), apart=2 * np.exp(SIGMA)))
    assert part(0.98e-6) is not None and part(1.02e-6) is None and say(read_of(0.0, 0.0)) is None
    along = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    path = read_of(0.0, -1.0, sigma=0.05 + 0.95 * (1 - along), c=along, apart=0.95)
    assert say(path) is not None  # the velocity of a straight path
    monkeypatch.setattr(noise.levels, "velocity", lambda many, r, trials: 1)
    assert say(read_of(0.0, np.cos(SIGMA), apart=np.exp(SIGMA))) is not None


def test_velocities_are_right_in_the_direction_of_time(monkeypatch):
    def say(sign, predicts=None, moved=None, w=1.0):
        monkeypatch.setattr(noise.levels, "velocity", lambda many, r, trials: sign)
        monkeypatch.setattr(noise.levels, "by_moving_time", lambda *args: moved)
        caller = caller_of(known={"predicts": predicts})
        return noise._velocity(caller, "score", None, None, read_of(1.0, -1.0, w=w), None)

    right, scaled = say(1), say(2)
    assert right.verdict == scaled.verdict == "PASS" and "of the noisy points; the score" in right.notes[0] and "of the points x~/(c + sigma), in units of its own; the score" in scaled.notes[0]  # fmt: skip
    assert (
        say(-1).verdict == say(-2).verdict == "FAIL"
        and say(-1).pattern == right.pattern == "target = eps - x"
        and right.diagnosis == ""
    )
    assert (
        say(0) is None
        and say(None) is None
        and say(1, w=-1.0) is None
        and say(1, w=np.array([1.0, 1, -1, 1, 1, 1])) is None
    )
    assert (
        say(1, w=0.0) is not None
        and say(None, "velocity", 1).verdict == "PASS"
        and say(None, "velocity") is None
        and say(None, "eps", 1) is None
    )
    assert say(0, "velocity", 1) is None and say(0.5).verdict == "PASS"


# ------------------------------------------------------------------------------- levels that are meant

TABLE = np.stack([np.linspace(1, 0.1, 8), np.linspace(0.05, 0.9, 8)], axis=1)


def test_the_level_that_is_meant():
    told = np.array([0, 3, 7, 2, 1, 5.0])
    index = told.astype(int)
    trial = trial_of(
        TABLE[index, 1],
        TABLE[index, 0],
        told=told,
        row=np.array([1, 0, 2, 3, 4, 5]),
        setting={"level": np.arange(6) * 10},
    )
    meant = lambda takes=(), table=TABLE, trial=trial: noise._level_meant(caller_of(takes), trial, table)
    for takes in ("level", "t", "sigma", "alpha"):
        assert meant([takes]).tolist() == [10, 0, 20, 30, 40, 50]
    assert (
        meant(["sigmas"]).tolist() == told.tolist() and meant(table=None) is told and meant(table=TABLE[:, 0]) is told
    )
    assert meant().tolist() == told.tolist()
    assert meant(trial=trial._replace(told=None)).tolist() == index.tolist()  # the nearest of the table
    assert meant(trial=trial._replace(told=told + 1)).tolist() == index.tolist()  # of no timestep
    assert meant(trial=trial._replace(told=told + 0.5)).tolist() == index.tolist()
    assert meant(table=TABLE[:, :1] * [1, 1], trial=trial._replace(told=None)) is not None
    for c, k in ((0.5, 1), (0.56, 1), (0.58, 0)):  # by the larger of both differences
        lone = meant(table=np.array([[0.6, 0.5], [0.5, 0.55]]), trial=trial_of(0.5, c, told=None))
        assert lone.tolist() == [k if c != 0.56 else 0] * 6


def as_said(trial, kernel=None, table=None, takes=("t",)):
    return noise._as_said(caller_of(takes, known={"kernel": kernel, "levels": table}), [trial])


def test_points_have_the_level_of_the_kernel_that_was_said():
    t = np.linspace(0.2, 0.9, 6)
    kernel = lambda t: (1 - t, t)
    trial = trial_of(t, 1 - t, setting={"level": t})
    assert as_said(trial, kernel) is None and as_said(trial) is None and as_said(trial, table=TABLE[:, 0]) is None
    wrong = as_said(trial, lambda t: (1 - t, 2 * t))
    assert wrong.verdict == "FAIL" and wrong.diagnosis.startswith(
        "other noise level: the noisy points have not the c and sigma"
    )
    assert wrong.pattern == "at level 0.9 c = 0.1, sigma = 0.9; meant are 0.1 and 1.8"
    for off in ((0.98, None), (1.02, "FAIL")):
        by = off[0] * 10 * COARSEST
        for k in (0, 1):
            say = as_said(trial, lambda t, k=k, by=by: (1 - t + by * (k == 0), t + by * (k == 1)))
            assert (say and say.verdict) == off[1]
    assert as_said(trial, lambda t: (1.0, t)).pattern.endswith("meant are 1 and 0.9")
    clean = trial_of(np.where(np.arange(6) == 5, 0.0, t), np.where(np.arange(6) == 5, 1.0, 1 - t), setting={"level": t})
    assert as_said(clean, kernel) is None  # of points with noise
    steps = np.array([0, 3, 7, 2, 1, 5])
    handed = trial_of(TABLE[steps, 1], TABLE[steps, 0], setting={"level": steps})
    assert as_said(handed, table=TABLE) is None and as_said(handed, table=TABLE[::-1]).verdict == "FAIL"
    caller = caller_of((), known={"kernel": kernel})
    assert noise._as_said(caller, [trial_of(t, 1 - t)]) is None and caller.notes == {noise.NOT_COMPARED}  # told nothing


def never(monkeypatch, draws, varied=True, table=TABLE, given=None, trouble="", many=True, short=7):
    """What is said where batches have these timesteps, of a schedule that is short up to so many levels."""
    monkeypatch.setattr(noise, "SHORT", short)
    rows, seeds = list(draws), []

    def trial(index):
        index = np.asarray(index)
        return Trial(Setting(seed=0), np.zeros((len(index), 3)), None, c=TABLE[index, 0], sigma=TABLE[index, 1])

    def noisy(caller, kind, setting, rng):
        seeds.append(setting.seed)
        return trial(rows[len(seeds) % len(rows)])._replace(trouble=trouble)

    monkeypatch.setattr(noise, "noisy", noisy)
    batch = SimpleNamespace(trial=trial(rows[0]), given=given, varied=varied) if many else None
    return noise._never(caller_of(known={"levels": table}), "score", batch, np.random.default_rng(0)), seeds


def test_a_quarter_of_a_schedule_that_never_turns_up(monkeypatch):
    say = lambda *draws, **more: never(monkeypatch, draws, **more)
    naming, seeds = say([0, 1, 2], [3, 4, 5])
    assert naming.verdict == "FAIL" and len(seeds) == 10 and len(set(seeds)) == 10 and max(seeds) > 1 << 28
    assert (
        naming.diagnosis == noise.NEVER.format("levels 6 to 7", 8)
        and naming.pattern == "6 of 8 levels met in 10 batches of 3 points"
    )
    assert say([0, 1, 2, 3, 4, 5, 6]) == (None, []) and say([1, 2, 3, 4, 5, 6, 7]) == (None, [])
    naming, seeds = say([2, 3, 4, 5, 6, 7], varied=False)
    assert (
        naming.diagnosis == noise.NEVER.format("levels 0 to 1", 8)
        and len(seeds) == 60
        and naming.pattern == "6 of 8 levels met in 60 batches of 6 points"
    )
    assert (
        say([0, 1, 2, 3, 4, 5, 6], table=np.concatenate([TABLE, TABLE[:1]]))[0] is None
    )  # two of nine are less than a quarter
    assert say([0, 1, 4, 5, 6, 7])[0].diagnosis == noise.NEVER.format("levels 2 to 3", 8)
    later, seeds = say([0, 1, 2], [6], [4])
    assert later is None and len(seeds) in (1, 2)
    assert say([0, 1], trouble="not heard")[0] is None and len(say([0, 1], trouble="not heard")[1]) == 1
    for more in ({"many": False}, {"given": np.zeros(3)}, {"table": None}, {"table": TABLE[:, 0]}):
        assert say([0, 1], **more) == (None, [])


def test_of_a_short_schedule_any_level_that_never_turns_up_is_told(monkeypatch):
    say = lambda *draws: never(monkeypatch, draws, short=8)
    naming, seeds = say([0, 1, 2, 3, 4, 5, 6])
    assert naming.diagnosis == noise.NEVER.format("level 7", 8) and len(seeds) == noise.levels.BATCHES
    assert say([1, 2, 3], [4, 6])[0].diagnosis == noise.NEVER.format("levels 0, 5, 7", 8)
    assert say([0, 1, 2, 3], [4, 5, 6], [7])[0] is None


# ------------------------------------------------------------------------------- the user's own conversion


def by_score(score_of, p=-1.0, q=0.0, c=1.0, told=None, w=1.0, sigma=SIGMA):
    trial = trial_of(sigma, c, told=told)
    caller = caller_of(known={"score_of": score_of}, make=lambda a: a)
    return noise._by_score(caller, [trial], read_of(p, q, w, sigma, c))


def test_the_score_is_what_the_user_makes_of_it():
    column = lambda level: level[:, None]
    right = by_score(lambda out, y, level: out / column(level))
    assert right.verdict == "PASS" and right.pattern == "fn learns -eps, of which score_of makes the score"
    assert (
        by_score(lambda out, y, level: out / np.sqrt(column(level)), told=SIGMA**2).verdict == "PASS"
    )  # as it is told
    before = by_score(lambda out, y, level: 0.5 * out / column(level), c=0.5)
    assert before.verdict == "PASS"  # of x + (sigma/c) eps
    x = by_score(lambda out, y, level: (out - y) / column(level) ** 2, p=0.0, q=1.0)
    assert x.verdict == "PASS" and x.pattern == "fn learns x, of which score_of makes the score"
    back = by_score(lambda out, y, level: out / column(level), w=-1.0)
    assert (
        back.verdict == "FAIL"
        and back.diagnosis == "sign of the loss: minimising it drives fn away from its target"
        and back.pattern == "fn learns -eps"
    )
    assert by_score(lambda out, y, level: out / column(level), w=0.0).verdict == "PASS"
    off = lambda by: by_score(lambda out, y, level: (1 + by) * out / column(level))
    assert off(0.98e-5).verdict == "PASS" and off(1.02e-5).verdict == "FAIL"


def test_another_conversion_is_told_by_what_it_is_right_for():
    column = lambda level: level[:, None]
    turned = by_score(lambda out, y, level: -out / column(level))
    assert turned.verdict == "FAIL" and turned.pattern == "fn learns -eps"
    assert (
        turned.diagnosis
        == "sign of what score_of makes of fn: it is minus the score of the points that fn was trained at"
    )
    twice = by_score(lambda out, y, level: 2 * out / column(level))
    assert twice.diagnosis == (
        "another parametrisation: what score_of makes of fn is not the score of the points that fn was trained at; where sigma is 0.5 fn learns -1 eps, and score_of, given the y at which fn is asked, makes the score of -0.5 eps"
    )
    data = by_score(lambda out, y, level: (out - y) / column(level) ** 2, p=0.0, q=2.0)
    assert data.diagnosis.endswith(
        "fn learns 2 x, and score_of, given the y at which fn is asked, makes the score of 1 x"
    )
    mixed = lambda q: by_score(lambda out, y, level: 2 * out / column(level), q=q).diagnosis
    assert "-1 eps +1.02e-06 x" in mixed(1.02e-6) and "-1 eps," in mixed(0.98e-6)
    largest = by_score(lambda out, y, level: out, p=-1.0)
    assert (
        "where sigma is 0.8 fn learns -1 eps, and score_of, given the y at which fn is asked, makes the score of -1.25 eps"
        in largest.diagnosis
        or "where sigma is 0.3" in largest.diagnosis
    )
    none = by_score(lambda out, y, level: 0 * out + y)  # whatever fn says
    assert (
        none.verdict == "FAIL"
        and "score_of, given the y at which fn is asked, makes the score of 0 eps" in none.diagnosis
    )
    near = lambda by: by_score(lambda out, y, level: -(1 + by) * out / column(level)).diagnosis.startswith("sign")
    assert near(0.98e-5) and not near(1.2e-5)
    raised = by_score(lambda out, y, level: out / level)
    assert raised.verdict == "INCONCLUSIVE" and raised.diagnosis.startswith("score_of raised ValueError: ")
    assert (
        raised.diagnosis.endswith(
            "; it is given out and y of shape (6, 4) and level (6,); level[:, None] goes with each row"
        )
        and raised.pattern == "fn learns -eps"
    )
    shape = by_score(lambda out, y, level: out[:, :2])
    assert shape.diagnosis.startswith("score_of returned shape (6, 2); it is given out and y of shape (6, 4)")


# ------------------------------------------------------------------------------- sizes and levels of many rows


def test_a_batch_is_asked_for_where_levels_differ(monkeypatch):
    def say(objective="denoising", trials=None, many="many", varied=True):
        asked = []
        batch = None if many is None else SimpleNamespace(varied=varied)
        monkeypatch.setattr(noise.levels, "of_many_rows", lambda caller, kind, like, rng: asked.append(like) or batch)
        monkeypatch.setattr(noise.levels, "with_values", lambda caller, kind, many, rng: "valued")
        trials = trials or [trial_of(), trial_of(SIGMA)]
        out = noise._many(caller_of(objective=objective), "score", trials, None)
        assert asked in ([], [trials[0]])
        return out if out is not batch or out is None else "as it was"

    assert say() == "valued" and say(varied=False) == "as it was" and say(many=None) is None
    assert say(trials=[trial_of()]) is None and say("multilevel_denoising", trials=[trial_of()]) == "valued"
    spread = lambda by: say(trials=[trial_of(np.tan(0.5 + by * np.array([0, 1, 0, 0, 0, 0])))])
    assert spread(0.98e-6) is None and spread(1.02e-6) == "valued"
    clean = trial_of(np.where(np.arange(6) == 2, 0.0, 0.5))
    assert say(trials=[clean]) is None  # points without noise are of no level


def test_the_sigma_that_is_handed():
    say = lambda takes, levels=None, **setting: noise._sigma_handed(
        caller_of(takes, known={"levels": levels}), trial_of(setting=setting)
    )
    assert say(["sigma"]).tolist() == [0.5] * 6 and say(["sigma"], level=SIGMA).tolist() == SIGMA.tolist()
    several = lambda takes, schedule=None: noise._sigma_handed(
        caller_of(takes, known={"levels": schedule}), trial_of(setting={"levels": 3, "level": SIGMA})
    )
    assert (
        several(["sigma"]) is None
        and several(["sigmas", "level"]) is SIGMA
        and several(["sigmas"]) is None
        and several(["level"]) is None
    )
    assert (
        several(["sigmas", "level"], TABLE) is None
        and several(["sigmas", "level", "noise"]) is SIGMA
        and say(["noise"]) is None
    )


def sizes(size, p, told=SIGMA, c=1.0, q=0.0):
    trials = [trial_of(size, c, setting={"level": told, "levels": 1}, row=np.array([0, 1, 2, 3, 4, 5]))]
    return noise._size(caller_of(["sigma"]), trials, read_of(p, q, sigma=size, c=c))


def test_sizes_agree_within_a_millionth():
    assert sizes(SIGMA, -2.0) == (None, ()) and sizes(0.5 * SIGMA, -2.0, c=0.5) == (None, ())
    near = lambda by: sizes(SIGMA * (1 + by), -1 / SIGMA)[0]
    assert near(0.98e-6) is None and near(1.02e-6) is not None
    scaled = lambda by: sizes(0.5 * SIGMA * (1 + by), -1 / SIGMA, c=0.5)[0]
    assert scaled(0.98e-6) is None and scaled(1.1e-6) is not None
    own = lambda by: sizes(2 * SIGMA, -(1 + by) / (2 * SIGMA))[1]
    note = "another convention: the noise that is added has standard deviation 2 sigma, sigma being what the loss is handed"
    assert own(0.98e-6) == (f"{note}, and the target is that of this noise",) and own(1.02e-6) == (note,)
    told = lambda by: sizes(2 * SIGMA, -(1 + by) / SIGMA)[0]
    assert told(0.98e-6) is not None and told(1.02e-6) is None
    shift = lambda by: sizes(2 * SIGMA, -(1 + by) * 2 / SIGMA)[0]
    assert shift(0.98e-6) is not None and shift(1.02e-6) is None
    q = lambda by: sizes(SIGMA**0.5, -1 / SIGMA, q=by / SIGMA)[0]
    assert q(0.98e-6) is not None and q(1.02e-6) is None
    assert sizes(0.5 + 0 * SIGMA, -2.0 + 0 * SIGMA)[1][0].startswith(
        "another convention: the noise that is added has standard deviation 1/2 whatever sigma is"
    )


# ------------------------------------------------------------------------------- squares and targets of another kind


def test_squares_that_are_no_multiple_of_one(monkeypatch):
    seen = []
    monkeypatch.setattr(noise, "shape_of", lambda caller, kind, found, q: seen.append(q.x) or FAILED)
    monkeypatch.setattr(
        noise, "observation", lambda caller, trial: SimpleNamespace(_replace=lambda x: SimpleNamespace(x=x))
    )

    def say(own, sigma=SIGMA, doubt=0.0):
        trial = trial_of(sigma)
        seen.clear()
        out = noise._not_isotropic(None, "score", [trial], [found_of(own + np.zeros((6, 4, 4)), 0 * Z, doubt=doubt)])
        assert (out is None) == (seen == []) and all(x is trial.points for x in seen)
        return out

    off = lambda by: 3 * (np.eye(4) + by * np.eye(4, k=1))
    assert say(off(0)) is None and say(off(0.98e-6)) is None and say(off(1.02e-6)) is FAILED
    assert say(off(0.98e-4), doubt=1e-5) is None and say(off(1.02e-4), doubt=1e-5) is FAILED
    assert say(np.diag([1.0, 1, 1, 1.1])) is FAILED and say(np.arange(1.0, 7)[:, None, None] * np.eye(4)) is None
    one = np.where(np.arange(6)[:, None, None] == 2, off(1.0), np.eye(4))
    assert say(one) is FAILED and say(one, np.where(np.arange(6) == 2, 0.0, SIGMA)) is None


def strange(target, sigma=0.5, w=1.0, draws=(), offset=None, eps=Z, x=X, trial=None, **more):
    trial = trial or trial_of(sigma, eps=eps, x=x, draws=draws, offset=offset, **more)
    d = x.shape[1]
    found = found_of((w + np.zeros(len(eps)))[:, None, None] * np.eye(d), -(w + np.zeros(len(eps)))[:, None] * target)
    return noise._strange(SimpleNamespace(), [trial], [found], None)


def test_entries_whose_target_is_nothing():
    kept = (np.arange(24) % 3 > 0).reshape(6, 4)
    words = lambda target, **more: strange(target, **more).diagnosis.split(":")[0]
    for right in (-2 * Z, Z, X):
        assert words(right * kept) == "entries without a target"
    assert strange(-2 * Z * kept).pattern == "33% of the entries"
    assert words(-Z / SIGMA[:, None] * kept, sigma=SIGMA) == "entries without a target"
    few = lambda n: (np.arange(24) < n).reshape(6, 4)
    assert words(Z * (np.arange(24) % 5 == 0).reshape(6, 4)) == "entries without a target"  # 5 of 24 count
    assert words(Z * (np.arange(24) % 6 == 0).reshape(6, 4)) != "entries without a target"  # 4 of 24, less than a fifth
    assert (
        words(Z * few(12)) != "entries without a target" and words(Z * few(13)) == "entries without a target"
    )  # of more than half of the rows
    size = np.abs(Z * kept).max()
    faint = lambda by: words(Z * kept + by * size * ~kept)
    assert faint(0.98e-9) == "entries without a target" and faint(1.02e-9) != "entries without a target"
    bent = lambda by: words(3 * Z * kept * (1 + by * (np.arange(24) == 1).reshape(6, 4)))
    assert bent(0.98e-6) == "entries without a target" and bent(1.02e-6) != "entries without a target"
    some = np.where(np.arange(6) == 2, 0.0, 1.0)
    odd = np.where(np.arange(6)[:, None] == 2, 7.0, -2 * Z * kept)
    assert words(odd, w=some) == "entries without a target"  # rows that have no weight have no target
    weight = lambda by: words(odd, w=np.where(np.arange(6) == 2, 2 * by, 2.0))
    assert weight(0.98e-9) == "entries without a target" and weight(1.02e-9) != "entries without a target"
    assert words(odd, sigma=np.where(np.arange(6) == 2, 0.0, 0.5)) == "entries without a target"


def test_targets_that_are_functions_of_single_entries():
    text = lambda target, **more: strange(target, **more).diagnosis
    assert "its entries go with those of the noise, and are" in text(
        np.exp(Z / 2)
    ) and "its entries go with those of the noisy point, and are" in text(np.tanh(X + 0.5 * Z))
    assert text(np.exp(Z / 2), sigma=np.where(np.arange(6) == 1, 0.5 + 1.1e-6, 0.5)) == noise.NOT_OF_ITS_ROW
    assert "go with those of the noise, and" in text(
        np.exp(Z / 2), sigma=np.where(np.arange(6) == 1, 0.5 + 0.9e-6, 0.5)
    )
    three = {"eps": Z[:4, :3], "x": X[:4, :3]}
    assert "go with those of the noise, and" in text(np.exp(Z[:4, :3] / 2), **three)  # twelve numbers
    assert text(np.exp(Z[:3, :3] / 2), eps=Z[:3, :3], x=X[:3, :3]) == noise.NOT_OF_ITS_ROW
    eleven = text(np.exp(Z[:1, :]).repeat(1, 0)[:, :4], eps=Z[:1], x=X[:1])
    assert eleven == noise.NOT_OF_ITS_ROW
    last = strange(-2 * Z + np.random.default_rng(8).standard_normal((6, 4)))
    assert last.pattern.startswith("target of the first row [") and ", eps [" in last.pattern
    wide = trial_of(eps=np.ones((2, 4)), x=X[:2])
    made = [
        (wide, found_of(np.eye(4) + np.zeros((2, 4, 4)), -np.ones((2, 4)))),
        (trial_of(), found_of(np.eye(4) + np.zeros((6, 4, 4)), -np.exp(Z / 2))),
    ]
    out = noise._strange(SimpleNamespace(), *map(list, zip(*made, strict=True)), None)
    assert "its entries go with those of the noise, and are" in out.diagnosis  # of the trial with most numbers


HALF, DRAWN = np.full(4, 0.5), (Draw("normal", Z),)


def test_constants_in_the_target():
    say = lambda target, offset=HALF, sigma=0.5, eps=Z, x=X: noise._with_constant(
        target, eps, x, trial_of(sigma, eps=eps, x=x, offset=offset)
    )
    assert say(-2 * Z + 0.3).pattern == "target = -2 eps +0.3" and say(-2 * Z + 0.3, None) is None
    assert (
        say(-2 * Z + 0.3, sigma=0.5 + 1.1e-6 * np.eye(6)[0]) is None
        and say(-2 * Z + 0.3, sigma=0.5 + 0.9e-6 * np.eye(6)[0]) is not None
    )
    three = lambda n, d: say(-2 * Z[:n, :d] + 0.3, np.full(d, 0.5), eps=Z[:n, :d], x=X[:n, :d])
    assert three(3, 3) is None and three(4, 3) is not None and three(3, 4) is not None and three(4, 4) is not None
    rng = np.random.default_rng(2)
    basis = np.stack([Z.ravel(), X.ravel(), np.ones(24)], axis=1)
    off = rng.standard_normal(24)
    off -= basis @ np.linalg.lstsq(basis, off, rcond=None)[0]
    off /= np.abs(off).max()
    near = lambda by: say(-2 * Z + 0.3 + by * np.abs(-2 * Z + 0.3).max() * off.reshape(6, 4))
    assert near(0.98e-6) is not None and near(1.02e-6) is None
    part = lambda q: say(-2 * Z + q * X + 0.3).pattern
    assert (
        part(0.5) == "target = -2 eps +0.5 x' +0.3"
        and part(1.95e-6) == "target = -2 eps +0.3"
        and part(2.05e-6) == "target = -2 eps +2.05e-06 x' +0.3"
    )


def other_rows(target, draws=DRAWN, eps=Z, x=X, source=None):
    trial = trial_of(eps=eps, x=x, draws=draws)
    trial = trial if source is None else trial._replace(source=source)
    return noise._other_rows_in(target, trial, np.arange(len(eps)))


def test_rows_that_targets_are_made_of():
    say = lambda *args, **more: other_rows(*args, **more)
    rolled, moved = np.roll(Z, 1, 0), np.roll(X, 1, 0)
    assert (
        "made of the noise of another row" in say(-Z + 0.3 * rolled).diagnosis
        and "made of the data x of another row" in say(Z + 0.3 * moved).diagnosis
    )
    assert "made of the noise and data x of another row" in say(0.5 * rolled + moved).diagnosis
    assert say(-2 * Z + 0.5 * X) is None  # of its own
    some = np.where(np.arange(6)[:, None] < 3, -Z + 0.3 * rolled, -Z + 0.3 * X)
    assert say(some).pattern == "50% of the rows" and say(some).verdict == "FAIL"
    apart = [Draw("normal", Z), Draw("normal", Z[::-1] * 1.1 + X)]
    assert say(-Z + 0.3 * (Z[::-1] * 1.1 + X)[[1, 2, 3, 4, 5, 0]], apart) is None  # of another draw
    assert say(np.random.default_rng(0).standard_normal((6, 4))) is None
    three = {"draws": (Draw("normal", Z[:, :3]),), "eps": Z[:, :3], "x": X[:, :3]}
    assert say(-Z[:, :3] + 0.3 * rolled[:, :3], **three) is None  # three of three make up anything
    assert "made of the noise and data x of another row" in say((0.5 * rolled + moved)[:, :3], **three).diagnosis
    assert "made of the noise of another row" in say((0.5 * rolled + X)[:, :3], **three).diagnosis and "of the data x of another" in say((Z + moved)[:, :3], **three).diagnosis  # fmt: skip


def test_a_part_of_a_target_counts_if_it_is_large():
    a, b = np.eye(5)[0], 3 * np.eye(5)[1]
    pick = lambda target: noise._sum_of(target, [((7, 8), np.stack([a, b]))])
    assert pick(a + b) == [7, 8] and pick(a + 0.98e-6 * b / 3) == [7] and pick(a + 1.02e-6 * b / 3) == [7, 8]
    assert pick(0.98e-6 * 5 * a + 5 / 3 * b) == [8] and pick(1.02e-6 * 5 * a + 5 / 3 * b) == [7, 8]
    off = lambda by: pick(2 * a + 2 * by * np.eye(5)[3])
    assert off(0.98e-6) == [7] and off(1.02e-6) is None


def unread(
    monkeypatch, points=24, one_more=None, residual=1.0, shape=None, diagnosis="unknown", levels=1, implicit=None
):
    looked = []

    def look(name, value):
        return lambda *args, **options: looked.append((name, args, options)) or value

    monkeypatch.setattr(noise, "named_by_one_more", look("one more", one_more))
    monkeypatch.setattr(noise, "identify", look("arrays", SimpleNamespace(fit=SimpleNamespace(residual=residual))))
    monkeypatch.setattr(noise, "shape_of", look("shape", shape))
    monkeypatch.setattr(noise, "_implicit", lambda trials, tables: implicit)
    monkeypatch.setattr(noise, "unexplained", look("unexplained", (Naming("FAIL", diagnosis, ""), 0)))
    monkeypatch.setattr(
        noise, "observation", lambda caller, trial: SimpleNamespace(_replace=lambda **k: SimpleNamespace(**k))
    )
    sigma = np.where(np.arange(6) == 1, 0.0, SIGMA)
    trials = [trial_of(sigma, setting={"levels": levels}) for _ in range(4)]
    tables = [SimpleNamespace(trial=SimpleNamespace(points=np.zeros(points)), k=k) for k in range(4)]
    founds = [found_of(np.eye(4) + np.zeros((6, 4, 4)), 0 * Z, residual=0.1 * k) for k in range(3)]
    return noise._unread(caller_of(), "score", trials, tables, founds, None), looked, trials


def test_what_is_not_quadratic_at_each_point_is_looked_for(monkeypatch):
    out, looked, trials = unread(monkeypatch)
    assert [k for k, *_ in looked] == ["one more", "one more", "arrays", "arrays", "unexplained"] and out == (
        Naming("FAIL", "unknown", ""),
        0,
        {},
    )
    for k in (0, 1):
        _, (_, _, table, q), options = looked[k]
        sigma = np.where(np.arange(6) == 1, 1.0, SIGMA)
        assert (
            table.k == k + 1
            and options["jacobian"] is False
            and q.x is trials[k + 1].points
            and options["noise"][0] is trials[k + 1].eps
        )
        np.testing.assert_allclose(q.target, -Z / sigma[:, None])
        np.testing.assert_array_equal(options["noise"][1], sigma)
    assert looked[2][1][0].k == 0 and looked[2][1][1] is None and looked[2][2] == {"jacobian": True}
    assert [g.tolist() for g in looked[3][1][1]] == [list(range(24))] and looked[3][2] == {"jacobian": False}
    assert looked[4][1][3] is None and looked[4][1][4] == pytest.approx(0.2)
    assert unread(monkeypatch, one_more=FAILED)[0] == (FAILED, 1, {})
    assert unread(monkeypatch, implicit=PASSED)[0] == (PASSED, 2, {})
    assert [k for k, *_ in unread(monkeypatch, points=25)[1]] == ["one more", "one more", "unexplained"]
    for residual, found in ((0.98e-7, True), (1.02e-7, False)):
        out, looked, _ = unread(monkeypatch, residual=residual, shape=FAILED)
        assert (out == (FAILED, 1, {})) == found
    assert looked[-1][0] == "unexplained"
    out, looked, _ = unread(monkeypatch, residual=1e-8)
    assert [k for k, *_ in looked] == ["one more", "one more", "arrays", "shape", "arrays", "shape", "unexplained"]
    mixed = lambda **more: unread(monkeypatch, **more)[0][0].diagnosis
    assert (
        mixed(diagnosis=noise.PIECES, levels=2) == noise.MIXED
        and mixed(diagnosis=noise.PIECES) == noise.PIECES
        and mixed(levels=2) == "unknown"
    )
