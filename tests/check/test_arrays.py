"""From the arrays of a loss to words, on made arrays: both sides of each room, what each objective should have, and what is tried in which order."""

from types import SimpleNamespace

import numpy as np
import pytest
from wording import hold

from numpyscore.check.losses import patterns
from numpyscore.check.losses.identify import Fit, Found, entries_of
from numpyscore.check.losses.patterns import Part
from numpyscore.check.losses.plain import Observation

E3 = np.eye(3)
SWAP = np.zeros((3, 3))
SWAP[0, 1] = SWAP[1, 0] = 1.0
X = np.random.default_rng(0).standard_normal((4, 3))


def caller_of(objective="implicit", takes=()):
    return SimpleNamespace(objective=objective, takes=dict.fromkeys(takes, 0), known={"step": 0.05}, eps=2.0**-52)


def found_of(
    A=E3, b=0.0, C=0.0, D=0.0, e=0.0, F=0.0, M=4, d=3, w=9, doubt=0.0, exact=True, residual=0.0, coefficients=(0.0,)
):
    whole = np.zeros((M, d, M, d))
    whole[np.arange(M), :, np.arange(M)] = A
    like = lambda a, *shape: np.array(np.broadcast_to(np.asarray(a, float), shape))
    fit = Fit(np.array(coefficients), np.zeros(1), residual, exact)
    return Found(whole, like(b, M, d), like(C, M, d, d), like(D, M, w, w), like(e, M), like(F, M, M), fit, doubt)


def seen(objective="implicit", v=None, **more):
    return Observation(None, X, X[None], v=v, **more)


# ------------------------------------------------------------------------------- multiples, row by row


def test_rows_are_multiples_within_a_share_of_the_largest():
    wanted = np.stack([SWAP, E3, 2 * E3, E3])
    w = np.array([3.0, -1.0, 0.0, 2.0])
    np.testing.assert_allclose(patterns.multiples(w[:, None, None] * wanted, wanted, 1e-6), w)
    off = lambda by: patterns.multiples(
        w[:, None, None] * wanted + by * np.diag([0, 0, 1.0])[[2, 1, 0]], np.where(wanted == 0, 0, wanted), 1e-6
    )
    assert off(2.9e-6) is not None and off(3.1e-6) is None
    np.testing.assert_allclose(patterns.multiples(np.tile(5 * E3, (4, 1, 1)), E3, 1e-6), 5.0)
    zero = patterns.multiples(np.zeros((2, 3)), np.zeros((2, 3)), 1e-6)
    assert zero.tolist() == [0, 0] and patterns.multiples(np.ones((2, 3)), np.zeros((2, 3)), 1e-6) is None


def in_words(theirs, right=(E3,), table=(), size=5.0, tol=1e-3):
    return patterns._in_words(
        np.asarray(theirs, float) + np.zeros((4, 3, 3)), list(right), list(table), lambda a, t: f"other {t}", size, tol
    )


def test_an_array_is_the_first_that_it_is_a_multiple_of():
    rows = np.arange(1.0, 5)[:, None, None]
    words, good, w = in_words(0.98 * 5e-3 * E3)
    assert (words, good, w.tolist()) == ("", False, [0.0] * 4) and in_words(1.02 * 5e-3 * E3)[0] == "as it should be"
    words, good, w = in_words(2 * E3)
    assert (words, good, w.tolist()) == ("as it should be", True, [2.0] * 4)
    table = [(SWAP, "swapped"), (rows * E3, "by rows"), (E3, "again")]
    assert in_words(3 * SWAP, table=table)[:2] == ("swapped", False) and in_words(np.ones((3, 3)), table=table)[:2] == (
        "other 0.001",
        False,
    )
    words, good, w = in_words(np.ones((3, 3)), table=table)
    assert np.isnan(w).tolist() == [True] * 4  # of nothing known it is no multiple
    assert in_words(2 * rows * E3, table=table)[:2] == ("by rows", False)  # one number where it can be
    assert in_words(rows**2 * E3, table=table)[:2] == ("as it should be", True)
    uneven = lambda by: in_words(
        3 * (1 + by * np.array([0, 0, 1, 0]))[:, None, None] * E3,
        table=[(E3 * (1 + by * np.array([0, 0, 1, 0]))[:, None, None], "uneven")],
    )[0]
    assert uneven(0.98e-3) == "as it should be" and uneven(1.1e-3) == "uneven"


def test_squares_and_entries_of_another_kind():
    square = lambda A, tol=1e-3: patterns._other_square(5 * (A + np.zeros((4, 3, 3))), tol)
    joined, left = "products of different entries of the score (coordinates joined)", "a square with other weights"
    assert square(E3 + 0.98e-3 * SWAP) == left and square(E3 + 1.02e-3 * SWAP) == joined
    some = lambda low: square(np.diag([1.0, low, 2 / 2]))
    assert some(0.98e-3) == "the squares of its entries [0, 2] alone: dimensions are left out" and some(1.02e-3) == left
    other = np.where(np.arange(4)[:, None, None] == 1, np.diag([1.0, 0, 1]), E3)
    assert square(other) == f"{left} (entries left out)"
    entries = lambda C, tol=1e-3: patterns._other_entries(5 * (C + np.zeros((4, 3, 3))), tol)
    row = lambda M: np.where(np.arange(4)[:, None, None] == 1, M, E3)
    weights, axes = (
        "a trace with other weights",
        "different entries of the Jacobians of different rows (a trace over the wrong axes, other directions?)",
    )
    assert entries(row(2 * E3)) == weights and entries(row(E3 + 0.5 * SWAP)) == axes
    shares = lambda by: entries(row(E3 + np.diag([by, 0, 0]) / 0.75))
    assert shares(0.98e-3) == "its diagonal with other weights, (5.002, 5, 5)" and shares(1.02e-3) == weights
    off = lambda by: entries(row(np.diag([1.5, 1, 1]) + 1.5 * by * SWAP))
    assert off(0.98e-3) == weights and off(1.02e-3) == axes
    gone = lambda low: entries(np.diag([1.0, low, 1.0]))
    assert gone(0.98e-3).endswith(
        "the entries [0, 0], [2, 2] of the Jacobian, where its diagonal is wanted; dimensions are missing"
    )
    assert gone(1.02e-3) == "its diagonal with other weights, (5, 0.0051, 5)"


# ------------------------------------------------------------------------------- what should stand there


def test_each_objective_has_terms_of_its_own():
    v = np.random.default_rng(1).standard_normal((2, 4, 3))
    target, h, dh = np.random.default_rng(2).random((3, 4, 3))
    found = found_of(A=2 * E3, C=E3)
    should = lambda objective, q, takes=(), kind="score": patterns._should_be(
        caller_of(objective, takes), kind, found, q
    )
    plain = should("implicit", seen())
    assert [(k, n) for k, (n, _) in plain.items()] == [("A", "square of the score"), ("C", "trace")]
    assert all(len(a) == 1 and np.array_equal(a[0], E3) for _, a in plain.values())
    pulled = should("explicit", seen(target=target))
    assert [(k, n) for k, (n, _) in pulled.items()] == [("A", "square of the score"), ("b", "product with the target")]
    np.testing.assert_allclose(pulled["b"][1][0], -2 * target)
    weighted = should("generalised", seen(h=h, h_prime=dh))
    assert list(weighted) == ["A", "b", "C"] and np.array_equal(weighted["b"][1][0], dh)
    for key in "AC":
        np.testing.assert_allclose(weighted[key][1][0], h[:, :, None] * E3)
    held = should("regularised", seen())
    assert list(held) == ["A", "C", "D"] and np.array_equal(
        held["D"][1][0], np.einsum("pii,qii->pq", entries_of("score", 3), entries_of("score", 3))
    )
    along = np.einsum("mni,mnj->nij", v, v)
    given = should("sliced", seen(v=v), ["v"])
    assert len(given["A"][1]) == 3 and np.array_equal(given["A"][1][0], E3)
    np.testing.assert_allclose(given["A"][1][1], along)
    np.testing.assert_allclose(given["A"][1][2], np.einsum("mni,ij->nij", v**2, E3) / len(v))
    np.testing.assert_allclose(given["C"][1], [along])
    drawn = should("sliced", seen(v=v))
    assert (
        len(drawn["A"][1]) == 4
        and drawn["A"][1][3] is found.C
        and len(drawn["C"][1]) == 1
        and drawn["C"][1][0] is found.C
    )
    np.testing.assert_allclose(drawn["A"][1][1], along)
    unheard = should("sliced", seen())
    assert len(unheard["A"][1]) == 3 and unheard["A"][1][1] is found.C and unheard["C"][1][0] is found.C


def test_arrays_of_an_energy_are_symmetric():
    """C of an energy is known by its symmetric part; so is what may stand in it."""
    uneven = np.triu(np.ones((3, 3)), 1) + np.tril(np.full((3, 3), 1.0), -1) + E3
    v = np.random.default_rng(1).standard_normal((1, 4, 3))
    before = np.einsum("ni,nj->nij", np.roll(v[0], 1, axis=0), v[0])
    q = seen(v=v)
    even = (before + before.swapaxes(1, 2)) / 2
    for kind, C in (("score", before), ("energy", even)):
        parts, _ = patterns.parts_of(caller_of("sliced", ["v"]), kind, found_of(C=C, w=9 if kind == "score" else 6), q)
        assert parts[1].words == "v.J v with the v of another row on one side"
    assert (
        patterns.parts_of(caller_of("sliced", ["v"]), "score", found_of(C=even), q)[0][1].words
        != "v.J v with the v of another row on one side"
    )
    parts, extras = patterns.parts_of(caller_of(), "energy", found_of(A=np.ones((3, 3)), C=uneven, w=6), seen())
    assert (
        parts[0].words.startswith("the square of the sum")
        and parts[1].words.startswith("the sum of all entries")
        and extras == []
    )


def test_parts_are_read_within_doubt_and_size():
    of = lambda **more: patterns.parts_of(caller_of(), "score", found_of(**({"C": E3} | more)), seen())
    parts, extras = of(A=3 * E3)
    assert [(p.name, p.words, p.right, p.w.tolist(), p.rows) for p in parts] == [
        ("square of the score", "as it should be", True, [3.0] * 4, False), ("trace", "as it should be", True, [1.0] * 4, False),
    ]  # fmt: skip
    assert extras == [] and Part("a", "b", True, 1).rows is False
    cross = found_of(A=0.25 * E3, C=E3)
    whole = np.einsum("ij,ab->iajb", np.full((4, 4), 0.25), E3)
    parts, _ = patterns.parts_of(caller_of(), "score", cross._replace(A=whole), seen())
    assert (
        [p.name for p in parts] == ["square of the score", "trace"]
        and parts[0].rows
        and not parts[0].right
        and parts[0].w.tolist() == [0.25] * 4
        and parts[1].right
    )
    small = lambda by, doubt=0.0, A=5.0: of(A=A * E3, e=by, doubt=doubt)[1]
    assert small(4.9e-6) == [] and small(5.1e-6) == ["the energy itself"]  # a millionth of the largest of A, b and C
    assert small(4.9e-4, 1e-5) == [] and small(5.1e-4, 1e-5) == ["the energy itself"]
    linear = lambda by: of(A=5 * E3, b=[by, 0, 0])[1]
    assert linear(4.9e-6) == [] and len(linear(5.1e-6)) == 1
    assert patterns.parts_of(caller_of(), "score", found_of(A=E3, C=50 * E3, e=49e-6), seen())[1] == []
    assert patterns.parts_of(caller_of(), "score", found_of(A=E3, C=E3, b=50.0, e=49e-6), seen())[1] == [
        "the sum of the score's entries"
    ]
    F = lambda M: patterns._of_energies(found_of(F=M), 1e-3)
    assert F(0.98e-3 * np.eye(4)) == [] and F(1.02e-3 * np.eye(4)) == ["the squared energy (a regulariser?)"]
    near = lambda by: F(3 * (np.ones((4, 4)) + by * np.eye(4)[0] * np.eye(4)[:, :1]))[0]
    assert near(0.98e-6).startswith("the squared mean energy") and near(1.1e-6).startswith("products of energies")


def test_products_of_rows_are_even_within_a_millionth():
    def said(off, own, scale=1.0, by=0.0, own_by=0.0):
        A = np.einsum("ij,ab->iajb", np.where(np.eye(4) == 1, own, off), E3)
        A[0, :, 1] += by * E3
        A[2, :, 2] += own_by * E3
        return patterns._of_rows(found_of()._replace(A=scale * A)).split(" (")[0]

    mean, centred, other = (
        "the square of the batch mean, or sum, of the score",
        "the square of the score less its batch mean",
        "products of the scores of different rows, where a loss is a mean over rows",
    )
    for scale in (1.0, 1e-4, 1e4):
        assert (
            said(0.25, 0.25, scale) == mean
            and said(-0.25, 0.75, scale) == centred
            and said(0.1, 0.7, scale, by=0.05) == other
        )
    assert said(1, 1, by=-0.98e-6) == mean and said(1, 1, by=-1.02e-6) == other
    assert said(-0.5, 1, by=0.98e-6) == centred and said(-0.5, 1, by=1.02e-6) == other
    assert said(-0.5, 1, own_by=-0.98e-6) == centred and said(-0.5, 1, own_by=-1.02e-6) == other


def test_numbers_in_words():
    few = lambda *a: patterns.few(np.array(a))
    assert (
        few(5.0, 4.9e-12, 1) == "(5, 0, 1)"
        and few(5.0, 5.1e-12, 1) == "(5, 5.1e-12, 1)"
        and few(0.5, 0.49e-12) == "(0.5, 0)"
    )
    assert (
        few(1.0, 2, 3, 4) == "(1, 2, 3, 4)" and few(1.0, 2, 3, 4, 5) == "(1, 2, 3, 4, ...)" and few(1 / 3) == "(0.3333)"
    )
    text = patterns.in_numbers(found_of(A=4 * E3, b=[2.0, 0, 4 * 0.4e-6], C=SWAP))
    assert (
        text
        == "of the first row A = [[1. 0. 0.] [0. 1. 0.] [0. 0. 1.]], b = [0.5 0.  0. ], C = [[0.   0.25 0.  ] [0.25 0.   0.  ] [0.   0.   0.  ]], in units of A's largest"
    )
    unit = lambda by: patterns.in_numbers(found_of(A=5 * by * E3, b=[5.0, 0, 0])).rpartition(" of ")[2]
    assert unit(0.98e-9) == "the largest" and unit(1.02e-9) == "A's largest"
    assert "b = [1. 0. 0.]" in patterns.in_numbers(found_of(A=0 * E3, b=[2.0, 0, 0]))
    assert "b = [0.e+00 0.e+00 1.e-06]" in patterns.in_numbers(found_of(b=[0, 0, 0.6e-6]))


# ------------------------------------------------------------------------------- targets


def test_targets_are_named_within_a_millionth():
    right = 1e4 * np.random.default_rng(3).standard_normal((4, 3))
    size = np.abs(right).max()
    known = {"n": 4, "d": 3}
    for theirs in (
        -right,
        2 * right,
        4 * right,
        right / 3,
        right[:, [1, 0, 2]],
        np.roll(right, 1, axis=0),
        np.clip(right, -5e3, 5e3),
        right + 7e3,
        -2 * right,
    ):
        hold(patterns.target_named(theirs, right, known))
    wave = size * np.sin(np.arange(12.0)).reshape(4, 3)
    near = lambda by: patterns.target_named(-right + by * wave, right, known)
    assert near(0.9e-7) is not None and near(1e-5) is None
    rows = lambda by: patterns.target_named(right[[1, 0, 3, 2]] + by * size * np.eye(4, 3), right, known)
    assert rows(0.9e-7).diagnosis.endswith("is that of another row of the batch")
    metric = lambda **more: patterns._by_target(found_of(**({"A": 5 * E3, "b": -5 * right} | more)), right)
    assert metric().verdict == "PASS" and metric(C=5 * 0.98e-6 * E3) is not None and metric(C=5 * 1.02e-6 * E3) is None
    low = lambda by: patterns._by_target(
        found_of(A=np.diag([5.0, 5, 5 * by]), b=-(right @ np.diag([5.0, 5, 5 * by]))), right
    )
    assert low(0.98e-6) is None and low(1.02e-6) is not None
    crossed = found_of(A=5 * E3, b=-5 * right)
    for by, known_there in ((0.98e-6, True), (1.02e-6, False)):
        A = crossed.A.copy()
        A[0, 0, 1, 0] = A[1, 0, 0, 0] = 5 * by
        assert (patterns._by_target(crossed._replace(A=A), right) is not None) == known_there
    off = lambda by: patterns._by_target(found_of(b=-right + by * size * np.eye(4, 3)), right)
    assert off(0.98e-6).verdict == "PASS" and (off(1.02e-6) is None or off(1.02e-6).verdict == "FAIL")


# ------------------------------------------------------------------------------- what is tried in which order


def by_arrays(monkeypatch, founds, kind="energy", d=3, target=None, named=None, text=""):
    asked, rows = [], list(founds)

    def identify(table, groups, quadratic):
        asked.append((None if groups is None else [g.tolist() for g in groups], "".join(quadratic)))
        return rows.pop(0)

    monkeypatch.setattr(patterns, "identify", identify)
    monkeypatch.setattr(patterns, "_by_target", lambda found, target: named)
    monkeypatch.setattr(patterns, "sentence", lambda *args: text)
    monkeypatch.setattr(patterns, "_weights", lambda *args: "weights")
    monkeypatch.setattr(patterns, "parts_of", lambda *args: ("parts", "extras"))
    monkeypatch.setattr(patterns, "in_numbers", lambda found: "numbers")
    q = Observation(None, np.zeros((4, d)), None, target=target)
    table = SimpleNamespace(trial=SimpleNamespace(setting=None))
    return patterns.named_by_arrays(caller_of(), kind, table, q, None), asked


def test_arrays_are_looked_for_with_few_unknowns_first(monkeypatch):
    far, near = found_of(exact=False, residual=1.02e-7), found_of(exact=False, residual=0.98e-7)
    say = lambda *founds, **more: by_arrays(monkeypatch, founds, **more)
    whole = [(None, "S"), ([[0, 1, 2, 3]], "SE"), (None, "SJ")]
    assert say(far, far, far) == (None, whole) and say(far, far, found_of()) == ("weights", whole)
    assert say(near) == ("weights", whole[:1]) and say(found_of(residual=1.0)) == ("weights", whole[:1])
    assert say(far, near) == ("weights", whole[:2]) and say(far, far, far, kind="score")[1] == [
        (None, "S"),
        ([[0, 1, 2, 3]], "S"),
        (None, "SJ"),
    ]
    assert say(far, far, far, d=5)[1] == whole and say(far, far, d=6) == (None, whole[:2])
    assert (
        say(near, target=np.ones(3), named="named") == ("named", whole[:1])
        and say(near, target=np.ones(3))[0] == "weights"
    )
    assert say(near, named="named")[0] == "weights"
    naming = say(near, text="said: so")[0]
    assert (naming.verdict, naming.diagnosis, naming.pattern) == ("FAIL", "said: so", "numbers")


def one_more(monkeypatch, terms, times, exact=True, d=3, values=None, parts=None, noise=None, jacobian=True):
    """What is said where each of these terms is known with so much of it beside."""
    asked = []

    def identify(table, jacobian, beside):
        asked.append(jacobian)
        k = next(k for k, v in terms.items() if v is beside)
        return found_of(coefficients=(0.0, times[k]), exact=exact, C=E3)

    seen_terms = []
    monkeypatch.setattr(patterns, "not_quadratic", lambda table, q, noise: seen_terms.append(noise) or terms)
    monkeypatch.setattr(patterns, "identify", identify)
    got = []
    part = lambda words: Part("trace", words, True, np.ones(4))

    def parts_of(caller, kind, one, q):
        got.append(np.abs(one.A).max())
        return ([part("as it should be"), part("")] if parts is None else parts), []

    monkeypatch.setattr(patterns, "parts_of", parts_of)
    table = SimpleNamespace(
        trial=SimpleNamespace(points=np.zeros((4, d))), values=np.array([1.0, 2.0, 4.0]) if values is None else values
    )
    out = patterns.named_by_one_more(caller_of(), "score", table, seen(), jacobian, noise)
    assert all(j is jacobian for j in asked) and seen_terms in ([], [noise])
    return out, got


def test_one_more_term_is_named_where_it_explains_the_rest(monkeypatch):
    a, b = np.array([1.0, 3.0, 2.0]), np.array([2.0, 1.0, 5.0])
    say = lambda *args, **more: one_more(monkeypatch, *args, **more)
    out, got = say({"term a": a}, {"term a": 0.25})
    assert (
        out.verdict == "FAIL"
        and "term a" in out.diagnosis
        and out.pattern.startswith("0.25 times term a, beside of the first row A = ")
        and got == [1.0]
    )
    assert say({"term a": a}, {"term a": 0.25}, exact=False)[0] is None
    least = 1e-6 * 3 / 2  # of the range of the values, 3, by the range of the term, 2
    assert (
        say({"term a": a}, {"term a": 0.98 * least})[0] is None
        and say({"term a": a}, {"term a": -1.02 * least})[0] is not None
    )
    for bad in (np.array([1.0, np.nan, 2]), np.array([1.0, np.inf, 2]), np.full(3, 2.0)):
        assert say({"term a": bad}, {"term a": 1.0})[0] is None
    assert (
        say({"term a": a}, {"term a": 0.25}, d=9) == (None, [])
        and say({"term a": a}, {"term a": 0.25}, d=8)[0] is not None
    )
    off = lambda by: say({"term a": a}, {"term a": 2.0}, values=2 * a + 4 * by * np.array([0, 1, 0]))[1]
    assert off(0.9e-6) == [0.0] and off(1.1e-6) == [1.0]  # nothing but that term
    both, _ = say({"term a": a, "term b": b}, {"term a": 0.25, "term b": 0.5})
    assert (
        "term a" in both.diagnosis and " -- or -- " in both.diagnosis and both.pattern.startswith("0.25 times term a")
    )
    assert say({"term a": a}, {"term a": 0.25}, noise=("eps", 1), jacobian=False)[0] is not None


def test_the_fewest_terms_beside_are_said(monkeypatch):
    a, b = np.array([1.0, 3.0, 2.0]), np.array([2.0, 1.0, 5.0])
    part = lambda words: Part("trace", words, True, np.ones(4))
    given = iter(
        [
            ([part("x"), part("y")], ["more"]),
            ([part("x"), part("")], ["more", "other"]),
            ([part("x"), part("")], ["more"]),
        ]
    )
    monkeypatch.setattr(patterns, "not_quadratic", lambda table, q, noise: {"term a": a, "term b": b, "term c": a + b})
    monkeypatch.setattr(patterns, "identify", lambda table, jacobian, beside: found_of(coefficients=(1.0,), C=E3))
    monkeypatch.setattr(patterns, "parts_of", lambda *args: next(given))
    table = SimpleNamespace(trial=SimpleNamespace(points=np.zeros((4, 3))), values=np.array([1.0, 2.0, 4.0]))
    out = patterns.named_by_one_more(caller_of(), "score", table, seen())
    assert out.pattern.startswith("1 times term c") and "term a" not in out.diagnosis and "term b" not in out.diagnosis


def test_the_shape_of_a_loss_at_noisy_points():
    target = np.random.default_rng(3).standard_normal((4, 3))
    say = lambda A=2 * E3, **more: patterns.shape_of(
        caller_of("denoising"), "score", found_of(A, -(A @ target.T).T if A.ndim == 2 else 0.0, **more), seen()
    )
    assert say() is None and say(np.diag([1.0, 2, 3])).verdict == "FAIL"
    joined = say(E3 + 0.5 * SWAP)
    assert (
        joined.verdict == "FAIL"
        and "products of different entries of the score" in joined.diagnosis
        and "product with" not in joined.diagnosis
    )
    assert joined.pattern.startswith("of the first row A = ") and "extra term" in say(C=E3).diagnosis


@pytest.mark.parametrize("by, known", [(0.98e-6, True), (1.02e-6, False)])
def test_weights_of_rows_are_even_within_a_millionth(by, known, monkeypatch):
    def weights(parts):
        """The `Naming` of weights that go by the place of a row: they stay where they are when x is rolled."""
        own = parts[0].w[:, None, None] * E3
        monkeypatch.setattr(patterns, "identify", lambda answers: SimpleNamespace(own=own))
        setting = SimpleNamespace(x=X, _replace=lambda x: SimpleNamespace(x=x))
        return patterns._weights(caller_of(), "score", parts, setting, None)

    w = np.array([1.0, 1, 1 - by, 1])
    parts = [Part("square of the score", "w", True, 5 * w), Part("trace", "w", True, 3 * np.ones(4))]
    named = weights(parts)
    assert (named is None) == known
    if not known:
        assert named.diagnosis.startswith("weights at one term: the rows are weighted in the square alone")
    lost = [Part("square of the score", "w", True, 5 * np.array([1.0, 1, 1, low])) for low in (0.98e-9, 1.02e-9)]
    said = [weights([p, parts[1]._replace(w=np.ones(4))]).diagnosis.split(":")[0] for p in lost]
    assert said == ["rows left out", "weights at one term"]
