"""Losses at the data, on made arrays and made draws: the law of directions, those that were not heard, differences, and what is left over."""

from types import SimpleNamespace

import numpy as np
import pytest

from numpyscore.check.losses import plain
from numpyscore.check.losses.hearing import Draw
from numpyscore.check.losses.identify import Fit, random_probe
from numpyscore.check.losses.names import Naming
from numpyscore.check.losses.plain import Observation, Right
from numpyscore.check.losses.trials import Trial


class Setting(SimpleNamespace):
    def _replace(self, **changes):
        return Setting(**{**vars(self), **changes})


def setting_of(n=4, d=3, seed=5, **more):
    x = np.random.default_rng(0).standard_normal((n, d))
    return Setting(**({"n": n, "d": d, "m": 1, "seed": seed, "x": x, "extras": {}, "level": 0.5, "levels": 1} | more))


def caller_of(objective="sliced", takes=(), **more):
    known = {"step": 0.05, "predicts": None}
    return SimpleNamespace(**({"objective": objective, "takes": dict.fromkeys(takes, 0), "eps": 2.2e-16, "known": known, "numbers": {}} | more))  # fmt: skip


# ------------------------------------------------------------------------------- what the terms of the reference explain


def fit_of(residual, exact=False, coefficients=(1.0, 1.0), doubt=0.0):
    c = np.array(coefficients, float)
    return Fit(c, doubt + 0 * c, residual, exact)


def test_a_right_form_holds_in_every_trial():
    near, far, exact = fit_of(0.9e-5), fit_of(1.1e-5), fit_of(3.0, True)
    of = lambda *fits: Right({}, fits, {}, [])
    assert of(near, exact).near and not of(near, far).near and of(near, fit_of(1e-6)).left == 0.9e-5
    q = plain.observation(caller_of("explicit"), Trial(setting_of(extras={"target": "t"}), None, None))
    assert q.target == "t" and q.h is None and q.v is None and q.at.shape == (1, 4, 3) and q.step == 0.05
    assert (
        not (q.variance_reduced or q.energies or q.square_at_x or q.forward)
        and Observation(None, q.x, q.at).step == 0.0
    )
    weighted = plain.observation(
        caller_of("generalised"), Trial(setting_of(extras={"h": 1, "h_prime": 2, "target": 3}), None, None)
    )
    assert (weighted.h, weighted.h_prime, weighted.target) == (1, 2, None)


def test_round_off_of_energies_grows_with_the_step():
    """256 eps of the largest energy over the square of the step."""
    probe = random_probe("energy", 3, np.random.default_rng(2))
    setting = setting_of()
    table = SimpleNamespace(trial=SimpleNamespace(setting=setting), probes=[probe, probe.scaled(3.0)])
    size = 3 * np.abs(probe.energy(setting.x)).max()
    assert plain._round_off(caller_of("implicit"), table) == 0.0
    assert plain._round_off(caller_of("finite_difference_sliced"), table) == pytest.approx(2.2e-16 * size / 0.05**2)


def forms(monkeypatch, residuals, kind="energy", exact=()):
    """Which of the forms of a sliced loss with differences is taken, if they leave so much."""
    rows = iter(zip(residuals, residuals, strict=True))
    fits = [fit_of(r, k in exact) for k, pair in enumerate(rows) for r in pair]
    asked = []
    monkeypatch.setattr(
        plain.patterns, "right_parts", lambda objective, t, q: asked.append(q) or {"a": np.ones(3), "b": np.ones(3)}
    )
    monkeypatch.setattr(plain, "solve", lambda *args: fits.pop(0))
    table = SimpleNamespace(kind=kind, values=np.ones(3), caller=SimpleNamespace(eps=1e-16), trial=SimpleNamespace(setting=setting_of()), probes=[random_probe("energy", 3, np.random.default_rng(0))])  # fmt: skip
    table.grow = lambda count: table
    q = Observation(None, np.zeros((4, 3)), None)
    return plain.as_it_should_be(caller_of("finite_difference_sliced"), [table, table], [q, q]), asked


def test_the_first_form_that_explains_all_or_that_which_leaves_least(monkeypatch):
    rows = plain.OBJECTIVES["finite_difference_sliced"].forms
    few = [form for form in rows if not form.get("energies")]
    leaves = lambda least, n: [2.0 if k != least else 1.0 for k in range(n)]
    for k in range(len(rows)):
        found, asked = forms(monkeypatch, leaves(k, len(rows)))
        assert found.form == rows[k] and len(asked) == 2 * len(rows) and found.left == 1.0
        assert found.parts["a"].tolist() == [1, 1] and found.seen[0] == Observation(None, None, None)._replace(
            x=found.seen[0].x, **rows[k]
        )
    found, asked = forms(monkeypatch, [2.0, 3.0], exact=(0,))
    assert found.form == rows[0] and len(asked) == 2
    found, asked = forms(monkeypatch, leaves(0, len(few)), kind="score")
    assert found.form == few[0] and len(asked) == 2 * len(few) < 2 * len(rows)


# ------------------------------------------------------------------------------- factors in words


def factors(monkeypatch, parts, objective="implicit", exact=True, left=0.0, doubt=0.0, yours=None, takes=(), **more):
    settings = [setting_of(n, d) for n, d in ((4, 2), (6, 3), (2, 4))]
    fits = [fit_of(left, exact, coefficients=(2.0, 0.5), doubt=doubt) for _ in settings]
    monkeypatch.setattr(
        plain.patterns, "minimiser", lambda caller, kind, setting, rng: asked.append(setting.n) or yours
    )
    asked = []
    right = Right({k: np.array(v, float) + np.zeros(3) for k, v in parts.items()}, fits, {"form": 1}, [])
    naming, details = plain._factors(caller_of(objective, takes, **more), "score", settings, right, None)
    return naming, details, asked


def test_factors_are_told_to_what_they_are_known(monkeypatch):
    right = {"square of the score": 1.0, "trace": 1.0}
    naming, details, asked = factors(monkeypatch, right)
    assert naming.verdict == "PASS" and naming.notes == () and naming.resolution == 4e-7 and asked == []
    assert details["residual"] == 0 and details["form"] == {"form": 1} and "oracle" not in details
    assert details["settings"] == [{"n": 4, "d": 2, "m": 1}, {"n": 6, "d": 3, "m": 1}, {"n": 2, "d": 4, "m": 1}]
    naming, _, _ = factors(monkeypatch, right, exact=False, left=1e-6)
    assert naming.resolution == pytest.approx(3e-5) and naming.notes == (plain.near_note(1e-6),)
    naming, _, _ = factors(monkeypatch, right, doubt=1e-6)
    assert naming.resolution == pytest.approx(5 * 1e-6 / 2) and naming.notes == ()
    off = {"square of the score": 1.0, "trace": 1 + 2e-5}
    assert (
        factors(monkeypatch, off, doubt=1.0e-5)[0].verdict == "PASS"
        and factors(monkeypatch, off, doubt=0.7e-5)[0].verdict == "FAIL"
    )


def test_the_minimum_of_a_wrong_implicit_loss_is_told(monkeypatch):
    half = {"square of the score": 1.0, "trace": 0.5}
    naming, details, asked = factors(monkeypatch, half, yours=0.5)
    assert naming.verdict == "FAIL" and asked == [4] and details["oracle"] == {"yours": 0.5, "right": 1.0}
    assert naming.notes == (
        "for lambda |x|^2/2 on 4 standardised rows in 2 dimensions your loss has its minimum at lambda = 0.5, the right one at 1",
    )
    for yours in (None, 1.0, 1 + 0.9e-6):
        naming, details, _ = factors(monkeypatch, half, yours=yours)
        assert naming.notes == () and "oracle" not in details
    assert (
        factors(monkeypatch, half, yours=1 + 1.1e-6)[0].notes and factors(monkeypatch, half, yours=1 - 1.1e-6)[0].notes
    )
    other = {"square of the score": 1.0, "product with the target": 0.5}
    assert factors(monkeypatch, other, "explicit", yours=0.5)[2] == []


def test_a_regularised_loss_may_have_a_lambda_of_its_own():
    names = ("square of the score", "trace", plain.REGULARISER)
    parts = lambda *c: dict(zip(names, (np.array(v, float) for v in c), strict=True))
    caller = caller_of("regularised", numbers={"lam": 0.3})
    own = lambda p, caller=caller, rtol=0.0: plain._at_its_own_number(caller, p, rtol)
    found, (note,) = own(parts([1, 2], [1, 2], [2, 4]))
    assert list(found) == ["square of the score", "trace"]  # it has no unit beside which the others are right or wrong
    assert note == "it takes no lam, and has lambda = 0.6 beside 1/2 |s|^2: whether that is meant is not asked here"
    same = parts([1, 2], [1, 2], [2, 3])
    assert (
        own(same) == (same, ())
        and own(parts([1, 1], [1, 1], [-1, -1]))[1] == ()
        and own(parts([1, 0], [1, 1], [1, 1]))[1] == ()
    )
    assert own(parts([1, 1], [1, 1], [0.5, 0.5]))[1] != ()
    assert (
        own(parts([1, 1], [1, 1], [0, 0]))[1] == ()
        and own(parts([1, 1], [1, 1], [1, 1]), caller_of("regularised", ["lam"]))[1] == ()
    )
    near = lambda by, rtol: own(parts([1, 1], [1, 1], [2, 2 * (1 + by)]), rtol=rtol)[1] != ()
    assert near(3.9e-7, 0) and not near(4.1e-7, 0) and near(0.99e-3, 1e-3) and not near(1.01e-3, 1e-3)
    plain_parts = parts([1], [1], [1]) | {}
    del plain_parts[plain.REGULARISER]
    assert own(plain_parts) == (plain_parts, ())


# ------------------------------------------------------------------------------- the law of directions


def law_of(v, small=None, projected=False, d=3, drawn=True):
    """What `_law` says of directions (m, 3000, d) of a large batch, and of two small ones; `drawn`: whether what is drawn is used."""
    seen = []
    small = small or (lambda seed: np.random.default_rng(seed).standard_normal((1, 4, d)))

    def pick(setting):
        seen.append((setting.n, setting.seed, setting.x.shape))
        if setting.n == plain.MANY:
            return v
        return small(setting.seed)

    caller, seeds = caller_of(), []
    caller.values = lambda probes, s: seeds.append((s.seed, len(probes))) or np.array([s.seed if drawn else 1.0])
    out = plain._law(caller, "score", setting_of(d=d), pick, projected, np.random.default_rng(0))
    same = np.array_equal(small(5), small(6))  # by chance, or in every call
    known = v is not None and small(5) is not None
    assert seen == [(3000, 6, (3000, d)), *((4, k, (4, d)) for k in range(5, 8 if known and same else 7))]
    held = same and np.array_equal(small(5), small(7))
    last = 5 if not known or held else 7 if drawn else 17  # other seeds are asked until one says something else
    assert seeds == [(k, 1) for k in range(5, last)]
    return out


def even(K=1.0, d=3, N=3000):
    """Directions with the mean K I of v v^T."""
    z = np.random.default_rng(1).standard_normal((N, d))
    return np.sqrt(K) * (z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / N)).T)[None]


ERROR = 6 * np.sqrt(2 / 3000)


def test_directions_have_a_mean_of_v_v_T():
    naming, K, error = law_of(even(2.5))
    assert naming is None and pytest.approx(2.5) == K and error == pytest.approx(ERROR)
    both = np.concatenate([even(1.0), even(4.0)])
    assert law_of(both)[1:] == (pytest.approx(2.5), pytest.approx(6 * np.sqrt(2 / 6000)))
    assert law_of(None) == (None, 1.0, 0.0) and law_of(even(), lambda seed: None) == (None, 1.0, 0.0)
    assert law_of(even(2.5), lambda seed: None if seed == 5 else np.ones((1, 4, 3))) == (None, 1.0, 0.0)
    assert law_of(even(), lambda seed: None if seed == 6 else np.ones((1, 4, 3)))[0] is None


def skewed(off, K=2.0):
    """Directions with one product off the diagonal, of a share of K."""
    M = np.eye(3)
    M[0, 1] = M[1, 0] = off
    return even(K) @ np.linalg.cholesky(M).T


def test_directions_that_are_not_isotropic_are_a_metric_or_wrong():
    assert law_of(skewed(0.99 * ERROR))[0] is None
    uneven, K, _ = law_of(skewed(1.01 * ERROR))
    assert (uneven.verdict, uneven.diagnosis) == ("FAIL", plain.UNEVEN) and pytest.approx(2.0) == K
    metric = law_of(skewed(0.5), projected=True)[0]
    assert (metric.verdict, metric.diagnosis) == ("", plain.METRIC)
    assert metric.pattern.startswith("M/K = [[") and "\n" not in metric.pattern
    flat = law_of(skewed(1 - 0.98 * ERROR), projected=True)[0]  # an eigenvalue of 0.98 times what is known
    assert (
        flat.diagnosis == plain.UNEVEN and law_of(skewed(1 - 1.02 * ERROR), projected=True)[0].diagnosis == plain.METRIC
    )


def test_directions_that_are_shared_or_the_same_in_every_call():
    one = np.repeat(even(1.0, N=3000)[:, :1], 3000, axis=1)
    shared = law_of(one)[0]
    assert (shared.verdict, shared.diagnosis, shared.pattern) == (
        "FAIL",
        plain.SHARED,
        "the mean of v v^T has rank one",
    )
    held = lambda seed: np.ones((1, 4, 3))
    for v, projected, text in (
        (one, False, plain.FIXED_WRONG), (skewed(0.5), False, plain.FIXED_WRONG), (even(), False, plain.FIXED_FEW), (one, True, plain.FIXED_WRONG), (skewed(0.5), True, plain.FIXED_WRONG),
    ):  # fmt: skip
        naming = law_of(v, held, projected)[0]
        assert (naming.verdict, naming.diagnosis, naming.pattern) == ("FAIL", text, "another seed, the same directions")
    for small in (held, None):  # what it draws need not be what it uses
        assert law_of(one, small, drawn=False)[0].diagnosis == plain.FIXED_WRONG
    twice = lambda seed: np.ones((1, 4, 3)) * (seed == 7)  # signs, the same in two calls by chance
    assert law_of(one, twice)[0].diagnosis == plain.SHARED and law_of(even(), twice)[0] is None
    noted = law_of(even(), held, True)[0]
    assert (noted.verdict, noted.diagnosis) == ("", plain.FIXED)
    basis = np.tile(np.eye(3)[:, None] * np.sqrt(3), (1, 3000, 1))  # all unit vectors in every row
    assert law_of(basis, held)[0].diagnosis == plain.FIXED_WRONG  # the same in all rows
    signs = np.random.default_rng(3).choice([-1.0, 1.0], 3000)
    turned = np.stack([v * np.roll(signs, k)[:, None] for k, v in enumerate(basis)])
    whole = law_of(turned, held)[0]
    assert (whole.verdict, whole.diagnosis) == ("", plain.FIXED)  # v v^T over a row is I
    off = lambda by: law_of(2 * (turned + by * np.eye(3000, 3)[None] * turned), held)[0].diagnosis
    assert off(0.49e-6) == plain.FIXED and off(0.52e-6) == plain.FIXED_FEW  # v v^T by twice of it


def test_laws_hold_within_what_is_known():
    settings = [setting_of(d=d) for d in (2, 3)]
    assert plain._law_of(np.array([1.25, 1.25]), settings, 0.25) is plain.LAWS[0] and plain._law_of(np.array([1.26, 1.25]), settings, 0.25) is None  # fmt: skip
    np.testing.assert_allclose([[law(d) for d in (2, 5)] for law in plain.LAWS], [[1, 1], [0.5, 0.2], [2, 5], [2, 2], [0.5, 0.5], [1 / 3] * 2, [4, 4], [0.25] * 2, [1 / 12] * 2, [0.25, 0.04]])  # fmt: skip


def with_law(monkeypatch, laws, form=True, parts=(1.0, 1.0), verdict="PASS", notes=("first",)):
    """`_with_law` of a sliced loss whose directions have these laws (naming, size, error) in the first and the third setting."""
    settings, seen = [setting_of(d=d, n=n) for n, d in ((4, 2), (6, 3), (2, 4), (8, 3))], []
    rows = iter(laws)

    def _law(caller, kind, setting, pick, projected, rng):
        seen.append((setting.d, projected, pick))
        return next(rows)

    monkeypatch.setattr(plain, "_law", _law)
    b, a = (np.asarray(v, float) + np.zeros(4) for v in parts)
    right = Right({"square of the score": b, "curvature v.J v": a}, [], {"variance_reduced": form}, [])
    draws = lambda setting: None
    out = plain._with_law(caller_of(), "score", settings, draws, Naming(verdict, "said", "p", notes), right, None)
    assert seen == [(2, not form, draws), (4, not form, draws)]
    return out


def test_the_size_of_directions_is_a_factor_of_the_curvature(monkeypatch):
    unit = [(None, 1.01, 0.1), (None, 0.98, 0.1)]
    assert with_law(monkeypatch, unit) == Naming("PASS", "said", "p", ("first",))
    by_d = [(None, 0.5, 0.1), (None, 0.25, 0.1)]
    low = with_law(monkeypatch, by_d)
    assert low.verdict == "FAIL" and low.resolution == 0.1 and "divided by d" in low.diagnosis
    assert with_law(monkeypatch, by_d, parts=([1 / 2, 1 / 3, 1 / 4, 1 / 3], 1.0)).verdict == "PASS"
    whole = with_law(monkeypatch, by_d, form=False)
    assert whole.verdict == "PASS" and "slices of unit length" in whole.notes[-1] and whole.notes[0] == "first"
    assert "2/d times the reference" in with_law(monkeypatch, by_d, form=False, parts=(2.0, 2.0)).notes[-1]
    assert with_law(monkeypatch, by_d, form=False, verdict="FAIL") == Naming("FAIL", "said", "p", ("first",))
    assert with_law(monkeypatch, by_d, form=True, verdict="FAIL").verdict == "FAIL"
    lawless = with_law(monkeypatch, [(None, 0.7, 0.01), (None, 0.74, 0.01)]).diagnosis  # the first of both
    assert "0.7 times" in lawless or "7/10" in lawless
    wrong = Naming("FAIL", "shared", "")
    assert with_law(monkeypatch, [(None, 1.0, 0.1), (wrong, 1.0, 0.1)]) is wrong
    note = Naming("", "fixed", "")
    assert with_law(monkeypatch, [(note, 1.0, 0.1), (note, 1.0, 0.1)]).notes == ("first", "fixed")
    assert with_law(monkeypatch, [(None, 1.0, 0.1), (note, 1.0, 0.1)], form=False, verdict="FAIL").notes == (
        "first",
        "fixed",
    )


# ------------------------------------------------------------------------------- directions that were not heard


def found_of(v, own=None, b=0.0, cross=0.0, near=True, scale=1.0):
    """The arrays of a loss with the directions v (n, d): C = scale v v^T, and A of the same, or `own`."""
    C = scale * np.einsum("ni,nj->nij", v, v)
    own = C.copy() if own is None else np.broadcast_to(own, C.shape).copy()
    return SimpleNamespace(own=own, C=C, b=b + np.zeros(v.shape), cross=cross, fit=SimpleNamespace(near=near))


def by_arrays(monkeypatch, found, mean, draws=("drawn",), d=3, raises=False, wrong=None, fixed=False):
    asked = []

    def identify(table):
        asked.append(table.trial)
        table.probes = ["p", "q"]
        if len(asked) == 1:
            return found
        if raises:
            raise IndexError("too few")
        return mean

    monkeypatch.setattr(plain, "identify", identify)
    monkeypatch.setattr(plain, "_of_rows", lambda *args: wrong)
    setting, again = setting_of(d=d), []
    monkeypatch.setattr(plain, "_same_of_other_seeds", lambda caller, *args: again.append(args) or fixed)
    caller = caller_of(ask=lambda probe, setting: SimpleNamespace(draws=draws))
    out = plain._by_arrays(caller, "score", setting, np.random.default_rng(0))
    assert asked[0].points is setting.x and again in ([], [("p", setting)])
    if len(asked) == 2:
        assert (
            asked[1].setting.n == 3000
            and asked[1].setting.x.shape == (3000, d)
            and np.ptp(asked[1].setting.x, axis=0).max() == 0
        )
        np.testing.assert_array_equal(asked[1].points, setting.x[:1])
        np.testing.assert_array_equal(asked[1].setting.x[0], setting.x[0])
    return out


V4 = np.random.default_rng(9).standard_normal((4, 3))
E3 = np.eye(3)


def mean_of(N=None, M=None, near=True):
    return SimpleNamespace(
        own=(E3 if N is None else N)[None], C=(E3 if M is None else M)[None], fit=SimpleNamespace(near=near)
    )


def off_by(share, K=1.0):
    M = K * np.eye(3)
    M[0, 1] = M[1, 0] = share * K
    return M


def test_directions_that_were_not_heard_are_read_off_their_arrays(monkeypatch):
    of = lambda found, mean=None, **more: by_arrays(monkeypatch, found, mean or mean_of(), **more)
    # the square along them too: C = ratio A
    assert of(found_of(V4, own=np.einsum("ni,nj->nij", V4, V4)), mean_of(M=2 * E3)) == (
        pytest.approx(1.0),
        pytest.approx(2.0),
        1e-6,
        "",
    )
    half = found_of(V4, own=2 * np.einsum("ni,nj->nij", V4, V4))
    assert of(half, mean_of(M=2 * E3)) == (pytest.approx(0.5), pytest.approx(4.0), 1e-6, "")
    assert of(half, mean_of(M=off_by(0.5, 2.0)))[3] == plain.METRIC
    assert of(half, mean_of(M=2 * E3), fixed=True)[3] == plain.FIXED  # the square is along them as well
    assert of(found_of(V4, own=E3), fixed=True).diagnosis == plain.FIXED_FEW
    assert (
        of(half, mean_of(M=off_by(0.98 * ERROR, 2.0)))[3] == ""
        and of(half, mean_of(M=off_by(1.02 * ERROR, 2.0)))[3] == plain.METRIC
    )
    # beside |s|^2
    uneven = found_of(V4, own=E3)
    out = of(uneven, mean_of(N=2 * E3, M=3 * E3))
    assert out == (pytest.approx(1.5), 1.0, pytest.approx(2 * ERROR), "")
    unit = V4 / np.linalg.norm(V4, axis=1, keepdims=True)
    assert of(found_of(unit, own=E3), mean_of()) == (pytest.approx(1 / 3), 1.0, 1e-6, "")
    long = unit * (1 + np.array([[0.98e-6 / 2], [0], [0], [0]]))
    longer = unit * (1 + np.array([[1.02e-6 / 2], [0], [0], [0]]))
    assert of(found_of(long, own=E3))[2] == 1e-6 and of(found_of(longer, own=E3))[2] == pytest.approx(2 * ERROR)
    assert of(found_of(5 * long, own=E3))[2] == 1e-6 and of(found_of(5 * longer, own=E3))[2] == pytest.approx(2 * ERROR)
    assert (
        of(half, mean_of(M=off_by(1 - 0.98 * ERROR, 2.0))).diagnosis == plain.UNEVEN
    )  # its smallest eigenvalue is not known
    size = np.abs(half.C).max()
    for by, known in ((0.95e-6, 1e-6), (1.05e-6, 2 * ERROR)):  # C is half of A but for so much
        bent = half.own.copy()
        bent[0, 0, 1] += 2 * by * size
        out = of(found_of(V4, own=bent), mean_of(M=2 * E3))
        assert out[2] == pytest.approx(known)
    whole = lambda by: SimpleNamespace(
        **vars(found_of(V4, own=2 * E3)) | {"C": np.tile(E3, (4, 1, 1)) * (1 + np.diag([0, 0, by]))}
    )
    assert of(whole(0.0), mean_of(M=2 * E3)) == (pytest.approx(0.5), pytest.approx(4.0), 1e-6, plain.TRACE)
    assert of(whole(0.0), mean_of(M=2 * E3), fixed=True)[3] == plain.TRACE  # of no directions, which need not be new
    assert of(whole(0.98e-6), mean_of(M=2 * E3))[3] == plain.TRACE and of(whole(1e-3), mean_of(M=2 * E3))[3] == ""
    weights = E3 * (1 + np.array([0.0, 0, 0, 1e-3])[:, None, None])
    assert of(found_of(unit, own=weights))[2] == pytest.approx(2 * ERROR)  # squares of other weights in other rows
    skew = of(uneven, mean_of(M=off_by(1.02 * ERROR)))
    assert (
        (skew.verdict, skew.diagnosis) == ("FAIL", plain.UNEVEN)
        and skew.pattern.startswith("M/K = [[")
        and "\n" not in skew.pattern
    )
    assert (
        of(uneven, mean_of(M=off_by(0.98 * ERROR))) is not None and of(uneven, mean_of(N=off_by(1.02 * ERROR))) is None
    )


def test_arrays_that_are_no_directions_explain_nothing(monkeypatch):
    of = lambda found, mean=None, **more: by_arrays(monkeypatch, found, mean or mean_of(), **more)
    good = lambda **more: found_of(V4, **({"own": E3} | more))
    assert of(good(near=False)) is None and of(good(cross=1.1e-6)) is None and of(good(cross=0.9e-6)) is not None
    assert of(good(), mean_of(near=False)) is None
    size = np.abs(V4[:, :, None] * V4[:, None]).max()
    assert (
        of(good(scale=0.98e-6 * 5 / size, own=5 * E3)) is None
        and of(good(scale=1.02e-6 * 5 / size, own=5 * E3)) is not None
    )
    assert of(good(own=0.98e-6 * size * E3)) is None and of(good(own=1.02e-6 * size * E3)) is not None
    assert of(good(b=1.0)) is None and of(good(b=0.5)) is not None  # pulled as much as it is squared
    said = Naming("FAIL", "x", "")
    assert of(good(), wrong=said) is said
    lost = V4 * np.array([[1.0], [1], [0], [1]])
    some = of(found_of(lost, own=E3), wrong=said)
    assert (some.verdict, some.diagnosis, some.pattern) == ("INCONCLUSIVE", plain.SOME_ROWS, "C is 0 in 1 of 4 rows")
    assert of(found_of(lost, own=np.where(np.arange(4) == 2, 0, 1.0)[:, None, None] * E3), wrong=said) is said
    few = of(good(), raises=True, draws=())
    assert (few.verdict, few.diagnosis) == (
        "FAIL",
        plain.FIXED_WRONG,
    ) and few.pattern == "nothing is drawn, and with 3000 rows it raised IndexError"
    assert of(good(), raises=True) is None


def of_rows(C, kind="score", other=None, draws=("drawn",), d=3, n=4):
    """What is said of these arrays, of a loss that has another value for the seed `other` alone."""
    setting, seeds = setting_of(n, d), []
    caller = caller_of(
        values=lambda probes, s: seeds.append((s.seed, probes)) or np.array([1.5 if s.seed == other else 1.0]),
        ask=lambda p, s: SimpleNamespace(draws=draws),
    )
    table = SimpleNamespace(trial=SimpleNamespace(setting=setting), probes=["p", "q"], values=np.array([1.0, 2.0]))
    out = plain._of_rows(caller, kind, table, C, np.random.default_rng(0))
    assert seeds in ([], [(k, ["p"]) for k in range(5, 17 if other is None else other + 1)])
    return out


def test_directions_of_all_rows_or_of_the_two_sides():
    outer = lambda u, w: np.einsum("ni,nj->nij", u, w)
    same = outer(np.repeat(V4[:1], 4, 0), np.repeat(V4[:1], 4, 0))
    fixed, shared = of_rows(same), of_rows(same, other=6)
    assert of_rows(same, other=16) == shared  # signs in two dimensions have the same v v^T for one seed in two
    assert of_rows(same[:3], n=3) is None  # rows of a small batch may share a direction where those of a larger do not
    assert (fixed.diagnosis, shared.diagnosis) == (
        plain.FIXED_PRODUCT,
        plain.SHARED,
    ) and fixed.pattern == shared.pattern == "C is the same in all rows"
    near = lambda by: of_rows(same * (1 + np.array([0, by, 0, 0])[:, None, None]))
    assert near(0.9e-6) is not None and near(2.5e-5) is None
    assert of_rows(same[:, :1, :1], d=1) is None and of_rows(outer(V4, V4)) is None
    assert of_rows(same[:, :2, :2], d=2) is None  # where signs are the same in all rows by chance
    bent = lambda by: of_rows(
        np.stack(
            [np.array([[3.0, 0, 0], [0, 0, 0], [0, 0, 0]])] * 3
            + [np.array([[3.0, 3 * by, 0], [3 * by, 0, 0], [0, 0, 0]])]
        )
    )
    assert bent(0.98e-6) is not None and bent(1.02e-6) is None
    rank = lambda by: of_rows(np.tile(np.diag([3.0, 3.0 * by, 0.0]), (4, 1, 1)))  # one direction has one eigenvalue
    assert rank(0.98e-6) is not None and rank(1.02e-6) is None
    other = of_rows(outer(V4, V4[::-1]))
    assert (
        (other.verdict, other.diagnosis) == ("FAIL", plain.TWO)
        and other.pattern.startswith("C of the first row [[")
        and "\n" not in other.pattern
    )
    assert of_rows(outer(V4, V4[::-1]), draws=()) is None
    even_part = lambda C: (C + C.swapaxes(1, 2)) / 2
    assert of_rows(even_part(outer(V4, V4[::-1])), "energy").diagnosis == plain.TWO  # of both signs
    assert of_rows(outer(V4, V4), "energy") is None and of_rows(-outer(V4, V4), "energy") is None
    turned = np.zeros((3, 3))
    turned[0, 1], turned[1, 0] = 1.0, -1.0
    size = np.abs(outer(V4, V4)).max()
    spun = lambda by: of_rows(outer(V4, V4) + by * size * turned)
    assert spun(0.98e-6) is None and spun(1.02e-6).diagnosis == plain.TWO
    signs = lambda low: np.concatenate([np.tile(np.diag([3.0, 1.0, 0.5]), (3, 1, 1)), np.diag([2.0, 1.0, low])[None]])
    assert (
        of_rows(signs(-0.98e-9 * 9 / 2), "energy") is None
        and of_rows(signs(-1.02e-9 * 9 / 2), "energy").diagnosis == plain.TWO
    )


def hidden(monkeypatch, *found):
    rows = list(found)
    monkeypatch.setattr(plain, "_by_arrays", lambda *args: rows.pop(0))
    return plain._hidden(caller_of(), "score", [setting_of(6, 3), setting_of(2, 4)], None)


def test_hidden_directions_are_a_sentence(monkeypatch):
    say = lambda *found: hidden(monkeypatch, *found)
    right = say((1.0, 1.0, 1e-6, ""), (1.0, 1.0, 1e-6, ""))
    assert right.verdict == "PASS" and right.notes == () and right.resolution == 1e-6
    assert say((1.0, 1.0, 1e-6, ""), None) is None
    wrong = Naming("FAIL", "x", "")
    assert say(wrong, None) is wrong and say((1.0, 1.0, 1e-6, ""), wrong) is wrong
    unit = say((1.0, 1 / 3, 1e-6, ""), (1.0, 1 / 4, 1e-6, ""))
    assert (
        unit.verdict == "PASS"
        and len(unit.notes) == 1
        and "1/d times the reference (slices of unit length" in unit.notes[0]
    )
    near = lambda by: say((1.0, (1 + by) / 3, 1e-6, ""), (1.0, 1 / 4, 1e-6, "")).notes != ()
    assert near(0.19) and not near(0.21)
    metric = say((1.0, 1 / 3, 1e-6, plain.METRIC), (1.0, 1 / 4, 1e-6, ""))
    assert metric.notes == (plain.METRIC,)
    low = say((1 / 3, 1.0, 1e-6, ""), (1 / 4, 1.0, 1e-6, ""))
    assert low.verdict == "FAIL" and "divided by d" in low.diagnosis
    rough = say((1.1, 1.0, 0.05, ""), (0.95, 1.0, 0.15, ""))
    assert rough.verdict == "PASS" and rough.resolution == 0.15
    assert rough.notes == ("its directions are not numbers that were heard: the size of the curvature is known to 15%",)
    third = say((0.36, 1.0, 0.1, ""), (0.24, 1.0, 0.1, ""))
    assert third.verdict == "FAIL" and "divided by d" in third.diagnosis  # the law within what is known
    for law in (lambda d: 1, lambda d: 1 / d, lambda d: d):
        batch = say((1.05 * law(3) / 3000, 1.0, 0.1, ""), (law(4) / 3000, 1.0, 0.1, ""))
        assert (batch.verdict, batch.diagnosis) == ("FAIL", plain.OVER_BATCH)
    assert batch.pattern == "with 3000 rows v.J v has the mean 0.0011 tr J"
    assert say((2 / 3000, 1.0, 0.1, ""), (2 / 3000, 1.0, 0.1, "")).diagnosis != plain.OVER_BATCH
    assert "known to" not in " ".join(say((1.0, 1.0, 0.9e-6, ""), (1.0, 1.0, 1e-6, "")).notes)


# ------------------------------------------------------------------------------- differences of energies


def differences(
    monkeypatch, offsets, kind="energy", near=True, e=(-1.0, -1.0, 2.0), order=None, exact=False, doubt=0.0
):
    n, x, h = 4, np.random.default_rng(0).standard_normal((4, 3)), 0.05
    setting = setting_of(x=x)
    points = np.concatenate([x[i] + h * np.asarray(offsets(i)) for i in range(n)])
    order = np.arange(len(points)) if order is None else order
    seen = []

    def identify(table, groups, jacobian, quadratic=("S",)):
        seen.append((jacobian, quadratic, [g.tolist() for g in groups]))
        weights = np.concatenate(
            [[e[{1: 0, -1: 1, 0: 2}[int(np.sign(o @ V4[i]))]] for o in np.asarray(offsets(i))] for i in range(n)]
        )
        F = np.zeros((3 * n, 3 * n))
        for g in groups:
            signs = np.array(
                [
                    np.sign(
                        (points[order][k] - x[np.linalg.norm(points[order][k] - x, axis=1).argmin()])
                        @ V4[np.linalg.norm(points[order][k] - x, axis=1).argmin()]
                    )
                    for k in g
                ]
            )
            signs[
                np.abs(points[order][g] - x[np.linalg.norm(points[order][g[0]] - x, axis=1).argmin()]).max(1) < 1e-12
            ] = 0
            F[np.ix_(g, g)] = np.outer(signs, signs)
        fit = SimpleNamespace(near=near, exact=exact, doubt=np.zeros(40))
        return SimpleNamespace(e=weights[order] / h**2 / n, F=F, doubt=doubt, fit=fit)

    monkeypatch.setattr(plain, "identify", identify)
    trial = Trial(setting, points[order], None)
    out = plain._differences(caller_of("finite_difference_sliced"), kind, trial, None)
    return out, seen


def test_differences_of_energies_are_found_by_their_points(monkeypatch):
    three = lambda i: [V4[i], -V4[i], 0 * V4[i]]
    say = lambda offsets, **more: differences(monkeypatch, offsets, **more)
    out, seen = say(three)
    assert out is None and seen == [(False, ("E",), [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]])]
    mixed = np.random.default_rng(1).permutation(12)
    assert say(three, order=mixed)[0] is None  # in whatever order it asks
    once = say(three, e=(-1.0, -1.0, 1.0), order=mixed)[0]
    assert once.verdict == "FAIL" and once.pattern == "second difference -1, -1, 1"
    doubted = lambda doubt, **more: say(three, e=(-1.0, -1.0, 1.0), doubt=doubt, **more)[0]
    assert doubted(0.0499) == once and doubted(0.0501) is None
    assert doubted(1.0, exact=True, near=False) == once
    four = say(lambda i: [V4[i], -V4[i], 2 * V4[i], -2 * V4[i], 0 * V4[i]])
    assert (four[0].verdict, four[0].diagnosis) == ("INCONCLUSIVE", plain.APART) and four[1] == []
    assert four[0].pattern == "4 points beside x in a row"
    none = say(lambda i: [0 * V4[i]])
    assert (none[0].verdict, none[0].diagnosis) == ("INCONCLUSIVE", plain.NO_DIFFERENCES) and none[1] == []
    assert (
        say(three, kind="score", near=False)[1][0][1] == ("S",)  # of scores
        and [way for _, way, _ in say(lambda i: [V4[i], -V4[i]], near=False)[1]] == [("S",), ("E",)]
        and say(three, near=False)[0] is None
    )
    apart, seen = say(lambda i: [V4[i], -2 * V4[i], 0 * V4[i]])
    assert apart.verdict == "FAIL" and apart.diagnosis.startswith("directions apart: ") and seen == []
    assert apart.pattern == f"x + a and x + b with a + b = {plain.patterns.few(-0.05 * V4[0])}"
    size = np.abs(V4).max()
    off = lambda by: say(lambda i: [V4[i] + by * size * np.eye(4, 3)[i], -V4[i], 0 * V4[i]])[0]
    assert off(0.97e-6) is None and off(1.03e-6) is not None


def second(e, F=None, doubt=0.0, n=4, rows=1.0):
    """What is said of energies with these factors at the two ends and the middle."""
    h = 0.05
    at = np.tile(np.asarray(e, float), (n, 1)) * (rows + np.zeros(n))[:, None]
    if F is None:
        F = np.kron(np.eye(n), np.outer([1, -1, 0], [1, -1, 0]))
    found = SimpleNamespace(e=at.ravel() / h**2 / n, F=F, fit=SimpleNamespace(doubt=doubt + np.zeros(6 * n + 3)))
    if np.ndim(doubt):
        found.fit.doubt[:] = doubt
    return plain._second_difference(found, np.arange(3 * n).reshape(n, 3), h)


def test_second_differences_within_rounding():
    assert second([-1, -1, 2]) is None and second([-3, -3, 6]) is None
    off = lambda by: second([-1 + by, -1, 2])
    assert off(1.96e-5) is None and off(2.04e-5) is not None  # 1e-5 of the largest, 2
    uneven = lambda by, sum_=0.0: second([-1, -1 + sum_, 2], rows=np.array([1.0, 1 + by, 1, 1]))
    assert uneven(0.98e-5) is None and uneven(1.02e-5).diagnosis.startswith("weight of the second difference")
    assert uneven(1.0, 1.96e-5).diagnosis.startswith("weight of the second") and uneven(1.0, 2.04e-5) is None
    assert uneven(1.0).pattern == "factors of the rows (1, 2, 1, 1)"
    F = np.kron(np.eye(4), np.outer([3.0, -3, 0], [3.0, -3, 0]))
    middle = lambda by, doubt=0.0: second([-1, -1, 2], F + by * np.eye(12)[2][:, None] * np.eye(12)[2], doubt)
    assert middle(8.8e-6) is None and middle(9.2e-6).diagnosis.startswith(
        "values of the difference: the middle point x enters"
    )
    assert middle(0.9e-3, 2e-4) is None and middle(1.1e-3, 2e-4) is not None  # five standard errors
    last = np.zeros(27)
    last[24:] = 1.0  # of other terms
    assert middle(1e-3, last) is not None
    last[23] = 1.0
    assert middle(1e-3, last) is None


# ------------------------------------------------------------------------------- what is left over


def wrong(monkeypatch, objective="implicit", left=0.5, parts=None, draws=(), random=False, hidden=None, by_arrays=None, one_more=None, differences=None, takes=(), kind="score", away=None, exact=()):  # fmt: skip
    """`_wrong`, with each of the places where it looks in place."""
    looked = []
    settings = [setting_of(4, 2), setting_of(6, 3), setting_of(2, 4)]
    trials = [Trial(s, s.x, None, draws) for s in settings]

    def look(name, value):
        return lambda *args, **options: looked.append((name, args)) or value

    monkeypatch.setattr(plain.patterns, "elsewhere", look("elsewhere", away))
    monkeypatch.setattr(plain, "_in_some_batches", look("some batches", (Naming("FAIL", "some batches", ""), 1, {})))
    monkeypatch.setattr(plain, "_hidden", look("hidden", hidden))
    monkeypatch.setattr(plain, "_random", look("random", random))
    monkeypatch.setattr(plain, "_differences", look("differences", differences))
    monkeypatch.setattr(plain.patterns, "named_by_arrays", look("arrays", by_arrays))
    monkeypatch.setattr(plain.patterns, "named_by_one_more", look("one more", one_more))
    monkeypatch.setattr(plain.patterns, "right_parts", lambda objective, table, q: {"a": 1, "b": 2})
    unexplained = Naming("FAIL", "unknown", "")
    monkeypatch.setattr(plain.patterns, "unexplained", look("unexplained", (unexplained, 0)))
    monkeypatch.setattr(plain.patterns, "rounded", lambda table, terms: None)
    right = (
        None
        if parts is None
        else Right(
            {k: np.array(v) for k, v in enumerate(parts)},
            [fit_of(left, k in exact) for k in range(3)],
            {},
            ["q0", "q1", "q2"],
        )
    )
    tables = ["t0", "t1", "t2"]
    out = plain._wrong(caller_of(objective, takes), kind, trials, tables, right, None)
    name, args = looked.pop(0)  # where fn is asked comes before any name
    assert name == "elsewhere" and args[2] is settings[1]
    return out, looked, trials


def test_what_the_reference_does_not_explain_is_looked_for_in_order(monkeypatch):
    say = lambda *args, **more: wrong(monkeypatch, *args, **more)
    named = Naming("FAIL", "named", "")
    out, looked, trials = say()
    assert (
        out[0].diagnosis == "unknown"
        and out[1:] == (0, {})
        and [k for k, _ in looked] == ["arrays", "one more", "unexplained"]
    )
    (_, arrays), (_, more), (_, last) = looked
    assert arrays[2] == more[2] == "t1" and last[2] == "t0" and last[3] is None and last[4] == 1.0
    assert arrays[3].x is trials[1].setting.x
    assert say(by_arrays=named)[0] == (named, 2, {}) and say(one_more=named)[0] == (named, 2, {})
    out, looked, _ = say(parts=([1.0, 1.0], [0.5, 0.5]))
    assert looked[0][1][3] == "q1" and looked[-1][1][3:5] == ({"a": 1, "b": 2}, 0.5)
    out, looked, _ = say("finite_difference_sliced", differences=named)
    assert out == (named, 2, {}) and looked == [("differences", looked[0][1])] and looked[0][1][2].setting.d == 3
    assert [k for k, _ in say("finite_difference_sliced")[1]] == ["differences", "unexplained"]
    assert say("sliced", away=named, hidden=named)[:2] == ((named, 1, {}), [])
    for exact in ((0,), (0, 2), (1,)):  # right in some of the trials
        out, looked, _ = say("sliced", left=0.5, parts=([1.0, 1.0], [0.5, 0.5]), exact=exact)
        assert out[0].diagnosis == "some batches" and [k for k, _ in looked] == ["hidden", "some batches"]
        assert looked[1][1][5] == list(exact)
    assert say(left=0.5, parts=([1.0, 1.0], [0.5, 0.5]), exact=(0, 1, 2))[1][0][0] == "arrays"


def test_a_loss_that_is_right_in_some_batches_is_told_by_that_which_is_furthest_off(monkeypatch):
    named, asked = [], []
    monkeypatch.setattr(plain.patterns, "named_by_arrays", lambda *args: asked.append(args[2:4]) or named[0])
    bent = [None]
    monkeypatch.setattr(plain.patterns, "bent", lambda *args: bent[0])
    trials = [SimpleNamespace(setting=setting_of(n, d)) for n, d in ((4, 2), (6, 3), (2, 4))]

    def say(name, *residuals):
        named[:] = [name]
        fits = [fit_of(r, r == 0) for r in residuals]
        exact = [k for k, r in enumerate(residuals) if r == 0]
        right = Right({}, fits, {}, ["q0", "q1", "q2"])
        return plain._in_some_batches(caller_of(), "score", trials, ["t0", "t1", "t2"], right, exact, None)

    out, sense, details = say(None, 0.0, 0.1, 0.25)
    assert (out.verdict, sense, details) == ("FAIL", 1, {}) and asked == [("t2", "q2")] and out.pattern == "off by 0.25"
    assert (
        out.diagnosis
        == "some batches: right for batches of 4 x 2 numbers, and not for 2 x 4 (a size that is written down, rows or dimensions that are left out, a threshold?)"
    )
    found = say(Naming("FAIL", "wrong trace: x", ""), 0.0, 0.1, 0.0)[0]
    assert found.diagnosis == (
        "some batches: right for batches of 4 x 2, 2 x 4 numbers, and not for 6 x 3 (there wrong trace: x)"
    )
    passed = Naming("PASS", "", "", ("a metric",))
    assert say(passed, 0.0, 0.1, 0.0) == (passed, 2, {})
    bent[:] = [Naming("FAIL", "clipped loss: it stands still at 0", "")]
    assert say(None, 0.0, 0.1, 0.0) == (bent[0], 1, {}) and say(passed, 0.0, 0.1, 0.0) == (passed, 2, {})
    bent[:] = [Naming("FAIL", "clipped loss: no parabola", "")]
    assert "some batches" in say(None, 0.0, 0.1, 0.0)[0].diagnosis


def test_hidden_directions_come_first_where_they_explain_all(monkeypatch):
    say = lambda *args, **more: wrong(monkeypatch, *args, **more)
    right, sharp, rough = (
        Naming("PASS", "", ""),
        Naming("FAIL", "sharp", "", resolution=1e-3),
        Naming("FAIL", "rough", "", resolution=1.1e-3),
    )
    out, looked, _ = say("sliced", hidden=right)
    assert out == (right, 2, {}) and [k for k, _ in looked] == ["hidden"]
    assert [s.d for s in looked[0][1][2]] == [3, 2]
    assert (
        say("sliced", hidden=sharp)[0] == (sharp, 2, {})
        and say("sliced", hidden=Naming("FAIL", "x", ""))[0][0].diagnosis == "x"
    )
    out, looked, _ = say("sliced", hidden=rough)
    assert out == (rough, 2, {}) and [k for k, _ in looked] == ["hidden", "arrays", "one more"]
    named = Naming("FAIL", "named", "")
    assert (
        say("sliced", hidden=rough, by_arrays=named)[0][0] is named
        and say("sliced", hidden=rough, one_more=named)[0][0] is named
    )
    assert say("sliced", hidden=right, takes=["v"])[1][0][0] == "arrays"
    out, looked, _ = say(draws=("drawn",), random=True)
    assert out == (Naming("INCONCLUSIVE", "random: the loss draws numbers, of which its objective has none, and only their mean could be checked (rows that are drawn, dropout, noise?); let it be without", "another seed, another value"), 1, {})  # fmt: skip
    assert looked[0][1][1] == "t0" and [k for k, _ in say(draws=("drawn",))[1]] == [
        "random",
        "arrays",
        "one more",
        "unexplained",
    ]
    assert "random" not in [k for k, _ in say("sliced", draws=("drawn",), random=True)[1]] and "random" not in [
        k for k, _ in say(random=True)[1]
    ]


def test_a_loss_that_is_nearly_right_is_inaccurate(monkeypatch):
    say = lambda left, parts: wrong(monkeypatch, left=left, parts=parts)[0]
    near, sense, details = say(0.9e-2, ([1.0, 1.0], [1.0, 1 + 0.9e-2]))
    assert near.verdict == "FAIL" and (sense, details) == (1, {}) and near.pattern == "off by 0.009"
    assert (
        near.diagnosis
        == "inaccurate: your loss is the right one up to 9e-03 of its terms, as with a finite difference of its own, an epsilon, or a small term that is wrong"
    )
    for left, parts in (
        (1e-2, ([1.0], [1.0])),
        (1e-3, ([1.0], [1 + 1.1e-2])),
        (1e-3, ([1.0], [-1.0])),
        (1e-3, ([2.0], [1.0])),
    ):
        assert say(left, parts)[0].diagnosis == "unknown"
    assert say(1e-3, ([3.0, 3.0], [3.0, 3.02]))[0].diagnosis.startswith("inaccurate")
    assert say(1e-3, ([1.0], [0.99005]))[0].diagnosis.startswith("inaccurate")  # beside the first of them
    assert say(1e-3, ([1.0, 2.0], [1.0, 2.0]))[0].diagnosis.startswith("inaccurate")


def test_a_random_loss_is_another_one_with_another_seed():
    asked = []

    def values(probes, setting):
        asked.append((len(probes), setting.seed))
        return np.array([1.0, 2.0, 3.0])

    table = SimpleNamespace(
        trial=SimpleNamespace(setting=setting_of()), probes=list("abcde"), values=np.array([1.0, 2, 3, 4, 5])
    )
    assert not plain._random(caller_of(values=values), table) and asked == [(3, 6)]
    table.values = np.array([1.0, 2, 3.5, 4, 5])
    assert plain._random(caller_of(values=values), table)


def test_directions_are_those_that_explain_the_loss(monkeypatch):
    settings = [setting_of(4, 2), setting_of(6, 3), setting_of(2, 4)]
    rng = np.random.default_rng(0)
    trials = [
        SimpleNamespace(setting=s, draws=[Draw("normal", rng.standard_normal((s.n, s.d))) for _ in range(2)])
        for s in settings
    ]
    keys = list(plain.directions_of(trials[0]))

    def drawn(good):
        asked = []

        def as_it_should_be(caller, tables, seen):
            asked.append((len(tables), seen))
            return SimpleNamespace(near=len(asked) - 1 in good)

        monkeypatch.setattr(plain, "as_it_should_be", as_it_should_be)
        return plain._along_draws(caller_of(), trials, ["t0", "t1", "t2"], lambda vs: vs), asked

    (key, _), asked = drawn([0])
    assert key == keys[0] and [n for n, _ in asked] == [2, 3]
    np.testing.assert_array_equal(asked[1][1][2], trials[2].draws[0].value[None])
    (key, _), asked = drawn([2])
    assert key == keys[2] and [n for n, _ in asked] == [2, 2, 2, 3]
    (key, found), asked = drawn([])
    assert key == "" and found is not None and [n for n, _ in asked] == [2] * len(keys) + [3]
    np.testing.assert_array_equal(asked[-1][1][0], trials[0].draws[0].value[None])
    lost = [trials[0], SimpleNamespace(setting=settings[1], draws=[])]
    monkeypatch.setattr(plain, "as_it_should_be", None)
    assert plain._along_draws(caller_of(), lost, [], lambda vs: vs) == ("", None)


def test_rows_and_numbers_of_directions():
    n, d = 4, 3
    made = lambda a: plain.directions_of(SimpleNamespace(setting=SimpleNamespace(n=n, d=d), draws=[Draw("normal", a)]))
    v = np.random.default_rng(0).standard_normal((n, d))
    lost = v.copy()
    lost[1] = 0
    assert (
        made(lost) == {} and made(np.concatenate([v, lost])) == {} and made(v[:2]) == {} and made(np.ones((4, 2))) == {}
    )
    u = np.abs(v)
    u[0, 0] = 0.0
    assert list(made(u)) == ["0", "0 unit", "0 sign", "0 twice less one"] and made(u)["0 sign"][0, 0, 0] == -1
    step, x = 0.05, v + 10
    moved = lambda *points: plain._moved(
        SimpleNamespace(setting=SimpleNamespace(x=x, n=len(x)), points=np.concatenate(points)), step
    )
    w = 4 * np.random.default_rng(1).standard_normal((n, d)).clip(-1, 1)
    size = np.abs(w).max(1, keepdims=True)
    across = np.where(np.abs(w) == np.abs(w).min(1, keepdims=True), 1.0, 0.0)
    twice = lambda by: len(moved(x + step * w, x - step * (w + by * size * across)))
    assert twice(0.0) == 1 and twice(1e-4) == 2
    far, near = plain._as_far(np.array([[[2.0, 0, 0], [0, 2 * (1 + 0.98e-6), 0]]]), 0.1), plain._as_far(np.array([[[2.0, 0, 0], [0, 2 * (1 + 1.02e-6), 0]]]), 0.1)  # fmt: skip
    assert far[1] == pytest.approx(0.2 / np.sqrt(3)) and near[1] == 0.1


def test_terms_are_those_of_the_reference_or_of_an_estimated_trace(monkeypatch):
    s, asked = setting_of(), []
    trials = {"drawn": Trial(s, s.x, None, ("drawn",)), "none": Trial(s, s.x + 1, None)}
    table = lambda caller, kind, trial, rng: SimpleNamespace(
        trial=trial, grow=lambda count: asked.append((count, trial.points is s.x)) or "table"
    )
    monkeypatch.setattr(plain, "Answers", table)
    monkeypatch.setattr(plain, "_wrong", lambda *args: ("wrong", 7, {}))
    monkeypatch.setattr(plain, "_factors", lambda *args: ("factors", {"d": 1}))
    monkeypatch.setattr(plain, "_with_law", lambda *args: "law")
    monkeypatch.setattr(plain, "_with_law_of_moves", lambda *args: "law of moves")

    def say(objective, trial="none", key="", near=True, right=True, bad=None, takes=(), drowned=None, left=0.0):
        monkeypatch.setattr(plain, "_drowned", lambda *args: drowned)
        monkeypatch.setattr(plain, "plain", lambda *args: trials[trial])
        monkeypatch.setattr(plain, "as_asked", lambda *args: asked.append("asked") or trials[trial])
        monkeypatch.setattr(plain, "unusable", lambda tables: bad)
        monkeypatch.setattr(
            plain, "_right", lambda *args: (key, SimpleNamespace(near=near, left=left) if right else None)
        )
        asked.clear()
        return plain.of_terms(caller_of(objective, takes), "score", [s], None)

    assert say("implicit") == ("factors", 2, {"d": 1}) and asked == [(14, True)]
    assert say("finite_difference_sliced") == ("law of moves", 2, {"d": 1}) and asked == ["asked", (14, True)]
    assert say("finite_difference_sliced", takes=["v"]) == ("factors", 2, {"d": 1})
    assert (
        say("sliced", key="0") == ("law", 2, {"d": 1})
        and say("sliced", key="0", takes=["v"])[0] == "law"  # it draws its own beside those that it is given
        and say("sliced")[0] == "factors" == say("sliced", takes=["v"])[0]
    )
    drowned = say("finite_difference_sliced", near=False, drowned="drowned")
    assert drowned == ("drowned", 0, {}) == say("finite_difference_sliced", right=False, drowned="drowned")
    for left, said in ((0.98e-3, "law of moves"), (1.02e-3, "drowned")):  # what fits is not drowned
        assert say("finite_difference_sliced", drowned="drowned", left=left)[0] == said
    assert say("implicit", bad="bad") == ("bad", 0, {}) and say("implicit", near=False) == say(
        "implicit", right=False
    ) == ("wrong", 7, {})
    seen = []
    monkeypatch.setattr(plain, "_estimated", lambda caller, *args: seen.append(caller.objective) or "estimated")
    assert (
        say("implicit", "drawn", near=False) == "estimated"
        and say("explicit", "drawn", near=False)[0] == "wrong"
        and seen == ["implicit"]
    )


def test_a_trace_that_is_estimated_is_that_of_a_sliced_loss(monkeypatch):
    caller = caller_of("implicit")
    monkeypatch.setattr(
        plain,
        "of_terms",
        lambda caller, kind, settings, rng: (Naming("PASS", caller.objective, "", ("one",)), 2, {"d": 1}),
    )
    naming, sense, details = plain._estimated(caller, "score", [], None)
    assert naming.diagnosis == "sliced" and caller.objective == "implicit" and (sense, details) == (2, {"d": 1})
    assert naming.notes == (
        "one",
        "it draws numbers, and is judged as a sliced loss (a trace along directions, or of rows or dimensions, that are drawn?)",
    )
    monkeypatch.setattr(plain, "of_terms", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plain._estimated(caller, "score", [], None)
    assert caller.objective == "implicit"
