"""What a normaliser is made of: every family and every change of log p, on densities of which all constants are known."""

from math import gamma, log, pi, sqrt
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from wording import hold

from numpyscore.check import normaliser
from numpyscore.check.normaliser import (
    TIMES,
    _by_tails,
    _family,
    _jacobians,
    _multiplied,
    _of_parts,
    _parts,
    _products,
    _variants,
)

HALF, UNIT, WHOLE = [[0.0, np.inf]], [[0.0, 1.0]], [[-np.inf, np.inf]]


def modes(d=1, size=1.0, mode=0.0, top=-0.3):
    """One mode, of a covariance of that size."""
    return SimpleNamespace(means=np.full((1, d), mode), covs=size * np.eye(d)[None], mode=np.full(d, mode), top=top)


# ------------------------------------------------------------------------------- families

FAMILIES = {  # log p up to a constant, support, name, {word: value}
    "gamma": (lambda x: 1.5 * np.log(x) - 3 * x, HALF, "a Gamma density x^(a-1) exp(-rate x)", {"(rate^a)": 3**2.5, "rate": 3, "Gamma(a)": gamma(2.5), "a": 2.5}),
    "exponential": (lambda x: -0.4 * x, HALF, "a Gamma density x^(a-1) exp(-rate x)", {"(rate^a)": 0.4, "rate": 0.4, "Gamma(a)": 1, "a": 1}),
    "inverse gamma": (lambda x: -4.5 * np.log(x) - 2 / x, HALF, "an inverse Gamma density x^(-a-1) exp(-scale/x)", {"(scale^a)": 2**3.5, "scale": 2, "Gamma(a)": gamma(3.5)}),
    "chi": (lambda x: 2 * np.log(x) - x**2 / 0.98, HALF, "a density x^(a-1) exp(-x^2/(2 h^2))", {"h": 0.7, "(h^a)": 0.7**3, "Gamma(a/2)": gamma(1.5), "(2^(a/2))": 2**1.5, "2": 2, "pi": pi}),
    "lognormal": (lambda x: -np.log(x) - (np.log(x) - 0.3) ** 2 / (2 * 0.6**2), HALF, "a lognormal density", {"s": 0.6, "(2 pi)": 2 * pi}),
    "beta": (lambda x: 1.5 * np.log(x) + 0.5 * np.log(1 - x), UNIT, "a Beta density u^(a-1) (1-u)^(b-1)", {"Gamma(a)": gamma(2.5), "Gamma(b)": gamma(1.5), "Gamma(a+b)": gamma(4.0)}),
    "none on a half-line": (lambda x: -(x**3), HALF, "", {}),
    "none between": (lambda x: np.sin(3 * x), UNIT, "", {}),
    "not finite": (lambda x: np.where(x < 0.5, np.nan, -x), HALF, "", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shift, scale", [(0.0, 1.0), (-1.3, 2.0)])
def test_a_family_is_known_by_log_p_and_its_numbers_are_those_of_the_density(name, shift, scale):
    log_p, ends, family, parts = FAMILIES[name]
    between = ends is UNIT
    scale = scale if between else 1.0  # of a place between two ends alone
    moved = np.array(ends) * scale + shift
    found = _family(lambda x: log_p((x[:, 0] - shift) / scale) - 0.7, modes(size=0.25), moved)
    assert found[0] == family and found[1] == pytest.approx(parts, rel=1e-6), found


def test_of_several_dimensions_or_one_end_from_below_no_family_is_known():
    assert _family(lambda x: -x.sum(1), modes(2), np.array(HALF * 2)) == ("", {})
    assert _family(lambda x: x[:, 0], modes(), np.array([[-np.inf, 0.0]])) == ("", {})
    asked = []
    _family(lambda x: (asked.append(x[:, 0]), -x[:, 0])[1], modes(size=0.25), np.array(HALF))
    np.testing.assert_allclose(asked[0], 0.5 * np.geomspace(0.01, 20, 24))  # in standard deviations
    _family(lambda x: (asked.append(x[:, 0]), -x[:, 0])[1], modes(), np.array([[2.0, 4.0]]))
    np.testing.assert_allclose(asked[1], np.linspace(2.1, 3.9, 24))


def student(nu, s, d):
    return lambda x: -(nu + d) / 2 * np.log1p(np.sum(x**2, axis=1) / (nu * s**2))


def of_student(nu, s, d):
    gammas = {
        f"Gamma({k})": gamma(v) for k, v in (("(nu+d)/2", (nu + d) / 2), ("nu/2", nu / 2), ("(nu+1)/2", (nu + 1) / 2))
    }
    return {"(nu pi)": nu * pi, "s": s, "nu": nu, "pi": pi} | gammas


TAILS = {  # log p, d, name, {word: value}
    "laplace": (lambda x: -np.abs(x).sum(1) / 0.6, 1, "a Laplace density exp(-|x|/b)", {"b": 0.6, "2": 2.0}),
    "laplace in the plane": (lambda x: -np.abs(x).sum(1) / 3, 2, "a Laplace density exp(-|x|/b)", {"b": 3.0, "2": 2.0}),
    "student": (student(5, 1.3, 1), 1, "a Student t", of_student(5, 1.3, 1)),
    "student in the plane": (student(2.5, 0.4, 2), 2, "a Student t", of_student(2.5, 0.4, 2)),
    "gaussian": (lambda x: -np.sum(x**2, axis=1) / 0.98, 1, "", {"h": 0.7}),
    "widest of a mixture": (lambda x: np.logaddexp(-np.sum(x**2, axis=1) / 2, -np.sum(x**2, axis=1) / 18 - 3), 2, "", {"h": 3.0}),
    "two widths": (lambda x: -x[:, 0] ** 2 / 2 - x[:, 1] ** 2 / 8, 2, "", {}),
    "two laplaces": (lambda x: -np.abs(x[:, 0]) - np.abs(x[:, 1]) / 2, 2, "", {}),
    "laplace's tails": (lambda x: -np.log(np.cosh(np.clip(x[:, 0], -300, 300))) - np.maximum(np.abs(x[:, 0]) - 300, 0), 1, "", {}),
    "student's tails": (lambda x: student(5, 1.3, 1)(x) - np.exp(-(x[:, 0] ** 2)), 1, "", {}),
    "a quartic": (lambda x: -np.sum(x**4, axis=1), 1, "", {}),
    "not finite": (lambda x: np.where(np.abs(x[:, 0]) > 1e6, -np.inf, -(x[:, 0] ** 2)), 1, "", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", TAILS)
@pytest.mark.parametrize("mode, size", [(0.0, 1.0), (2.0, 0.49)])
def test_a_density_of_the_whole_space_is_known_by_its_tails_and_near_its_mode(name, mode, size):
    log_p, d, family, parts = TAILS[name]
    found = _by_tails(lambda x: log_p(x - mode) + 0.2, modes(d, size, mode), d)
    assert found[0] == family and found[1] == pytest.approx(parts, rel=2e-5), found  # what floats hold of log p at 1e8
    assert _family(lambda x: log_p(x - mode) + 0.2, modes(d, size, mode), np.array(WHOLE * d)) == found


def test_products_are_of_powers_of_three_parts_at_most_simple_ones_first():
    parts = {"a": 2.0, "(b^c)": 3.0, "one": 1.0, "less": -2.0, "d": 0.2}
    found = list(_products("a family", parts))
    powers = (1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
    assert len(found) == 3 * 6 + 3 * 36 + 4**3  # of what is positive and no 1; of three parts no squares
    values = sorted(
        2.0**i * 3.0**j * 0.2**k
        for i in (0, *powers)
        for j in (0, *powers)
        for k in (0, *powers)
        if 0 < np.count_nonzero([i, j, k]) < 3 or 0 < min(abs(i), abs(j), abs(k)) <= max(abs(i), abs(j), abs(k)) <= 1
    )
    np.testing.assert_allclose(sorted(v for v, _, _ in found), values, rtol=1e-12)
    numbers = [n for _, n, _ in found]
    assert numbers[:6].count(1) == 6 and numbers[-1] == 3 and numbers.count(1) == 18 and numbers.count(2) == 108
    hold("\n".join(f"{value:.6g} {n} {text.split(', with ')[0]}" for value, n, text in found[:80]))
    assert (
        found[0][2]
        == "normaliser of a family: p integrates to 1.41421 (sqrt(a)?), with a = 2, (b^c) = 3, d = 0.2: by that its normaliser is not that of its exponent (missing, twice, of the wrong sign in the logarithm, or the exponent is wrong?)"
    )


# ------------------------------------------------------------------------------- one change


def test_changes_of_variables_have_the_slope_of_what_they_are_called():
    """log |dy/dx| by complex steps and differences of y, on supports of any place and width."""
    x, h = np.array([[0.3], [0.55], [0.9]]), 1e-6
    ends = lambda low, high: (np.array([low]), np.array([high]))
    slope = lambda y, x: np.log((y(x + h) - y(x - h)) / (2 * h))[:, 0]
    ((of, words, name),) = _jacobians(*ends(-1.0, np.inf))
    np.testing.assert_allclose(of(x), slope(lambda x: np.log(x + 1), x), atol=1e-8)
    assert (words, name) == ("1/x", "log x")
    assert list(_jacobians(*ends(-np.inf, np.inf))) == [] == list(_jacobians(*ends(-np.inf, 0.0)))
    logit, artanh, scores = _jacobians(*ends(-1.0, 1.0))
    np.testing.assert_allclose(artanh[0](x), slope(np.arctanh, x), atol=1e-8)
    np.testing.assert_allclose(logit[0](x), slope(lambda x: np.log((1 + x) / (1 - x)), x), atol=1e-8)
    of = lambda x: ndtri((x + 1) / 2)
    np.testing.assert_allclose(
        scores[0](x), slope(of, x) + np.log(2) - 0.5 * np.log(2 * np.pi), atol=1e-8
    )  # but for 2 pi
    assert [j[1] for j in (logit, artanh, scores)] == ["1/(x (1 - x))", "1/(1 - x^2)", "exp(z^2/2)"]
    plane = np.array([[0.5, 2.5], [0.1, 3.5]])
    logit, below, above, scores = _jacobians(*ends(0.0, 1.0))
    np.testing.assert_allclose(below[0](x), slope(lambda x: -np.log(1 - x), x), atol=1e-8)
    np.testing.assert_allclose(above[0](x), slope(np.log, x), atol=1e-8)
    assert [j[1] for j in (logit, below, above)] == ["1/(x (1 - x))", "1/(1 - x)", "1/x"]
    logit, scores = _jacobians(np.array([0.0, 2.0]), np.array([1.0, 4.0]))
    one = lambda x, low, high: next(iter(_jacobians(np.array([low]), np.array([high]))))[0](x[:, None])
    np.testing.assert_allclose(logit[0](plane), one(plane[:, 0], 0.0, 1.0) + one(plane[:, 1], 2.0, 4.0), rtol=1e-13)
    np.testing.assert_allclose(
        scores[0](np.array([[0.0, 4.0]])), 0.5 * np.sum(ndtri([1e-10, 1 - 1e-10]) ** 2), rtol=1e-6
    )
    assert ndtr(0) == 0.5


@pytest.mark.parametrize("ends", [WHOLE, WHOLE * 3, HALF * 2, UNIT, UNIT * 2])
def test_a_variant_is_log_p_after_one_change(ends):
    d, ends, log_p = len(ends), np.array(ends), lambda x: np.where(x[:, 0] > 0.8, -np.inf, -x.sum(1))
    x = np.vstack([np.full(d, 0.25), np.full(d, 1.5)])  # beyond the support nothing has a slope, and p is 0
    found = list(_variants(log_p, ends))
    powers = [2, 0.5, log(2), log(10), *[d] * (d > 2)]
    for (change, text), m in zip(found, powers, strict=False):
        np.testing.assert_allclose(change(x), [-0.25 * d * m, -np.inf], rtol=1e-13)
        assert text.startswith("power of p: ") and ("a mean over dimensions where a sum belongs" in text) == (
            m == d > 1
        )
    slopes = [of for of, _, _ in _jacobians(*ends.T)]
    rest = found[len(powers) :]
    assert len(rest) == 2 * len(slopes)
    for k, (change, text) in enumerate(rest):
        times = 1 + k % 2
        np.testing.assert_allclose(change(x), [-0.25 * d + times * slopes[k // 2](x[:1])[0], -np.inf], rtol=1e-13)
        assert (
            text.endswith(" has the wrong sign in log p?)" if times == 2 else ", or an exponent that is off by one?)")
            and text.count(" twice (the Jacobian of ") == times - 1
        )
    hold("\n".join(text for _, text in found))


def density_that_integrates(values):
    """`integral` of a log p: what is given for its name, by the number that it has at 1/4."""

    def integral(log_p, ends):
        at = float(log_p(np.full((1, len(ends)), 0.25))[0])
        value, error = values.get(round(at, 9), (7.0, 1e-12))
        return SimpleNamespace(value=value, error=error)

    return integral


class LogP:
    """-x, or nothing outside of its support."""

    def __init__(self, ends, raises=False):
        self.ends, self.raises = np.array(ends), raises

    def __call__(self, x):
        if self.raises and np.isinf(self.ends).any():
            raise ValueError
        return -x.sum(1)


def framed(d):
    """What is found of a density near 0."""
    return SimpleNamespace(mode=np.zeros(d), frame=SimpleNamespace(center=np.zeros(d), axes=np.eye(d)))


def test_a_gaussian_on_a_part_of_its_space_has_its_mass_over_the_whole():
    P, at = np.array([[2.0, 0.6], [0.6, 0.8]]), np.array([0.3, -0.2])
    whole = lambda x: (
        log(2.3) - 0.5 * np.einsum("ni,ij,nj->n", x - at, P, x - at) + 0.5 * log(np.linalg.det(P)) - log(2 * pi)
    )
    part = lambda x: np.where(x[:, 0] > -0.5, whole(x), -np.inf)
    for log_p in (whole, part):
        np.testing.assert_allclose(normaliser._gaussian_mass(log_p, framed(2)), 2.3, rtol=1e-9)
    for other in (
        lambda x: -x.sum(1),
        lambda x: -np.sum(x**4, axis=1),
        lambda x: x[:, 0] ** 2 - x[:, 1] ** 2,
        lambda x: np.where(x[:, 0] > 3, whole(x), -np.inf),
    ):
        assert np.isnan(normaliser._gaussian_mass(other, framed(2)))


def test_a_change_is_named_where_p_integrates_to_one_after_it():
    name = lambda ends, values, close=1e-6, **options: normaliser._variant(
        LogP(ends, **options), np.array(ends), close, density_that_integrates(values), framed(len(ends))
    )
    halved = round(-0.5, 9)  # 2 log p at 1/4
    assert (
        name(WHOLE, {halved: (1 + 0.9e-6, 0.0)}).startswith("power of p: 2 log p is normalised")
        and name(WHOLE, {halved: (1 + 1.1e-6, 0.0)}) == ""
    )
    assert name(WHOLE, {halved: (1 + 3.9e-5, 1e-5)}) and name(WHOLE, {halved: (1 + 4.1e-5, 1e-5)}) == ""
    assert name(WHOLE, {halved: (1.0, 0.99e-3 / 4)}) and name(WHOLE, {halved: (1.0, 1.01e-3 / 4)}) == ""  # too coarse
    assert name(WHOLE, {-0.25: (1.0, 0.0)}) == ""  # log p itself was asked before
    everywhere = name(UNIT, {-0.25: (1.0, 0.0)})
    assert (
        everywhere
        == "mass of the support: p, its formula continued, integrates to 1 over the whole line, and not over its support: it is not divided by its mass there"
    )
    assert name(UNIT, {-0.25: (1.1, 0.0)}) == "" == name(UNIT, {-0.25: (1.0, 0.0)}, raises=True)


# ------------------------------------------------------------------------------- a multiple of log Z


@pytest.mark.parametrize("Z", [7.3, 0.2, 1e8])
def test_a_multiple_of_the_logarithm_of_z_is_told(Z):
    """log p = q - c log Z with q = 0 at its maximum: it has -c log Z there, and p integrates to Z^(1 - c)."""
    told = lambda c, close=1e-6, off=0.0: _multiplied((1 - c) * log(Z) + off, -c * log(Z), close)
    for c in (-1, 2, 0.5, 1 / log(2), 1 / log(10)):
        assert told(c).startswith(TIMES[c]) and "if log p is 0 at its maximum but for the normaliser" in told(c), c
    assert (
        told(3.0) == told(1.5) == ""
        and told(0.5, 1e-3, 2.2e-3 * (1 + abs(log(Z)))) == ""
        and told(0.5, 1e-3, 1.5e-3 * (1 + abs(log(Z)))) != ""
    )
    hold("\n".join(told(c) for c in TIMES))
    of_z = lambda off=0.0: _multiplied(log(Z) - Z + off, -Z, 1e-6)
    if Z < 100:
        assert of_z().startswith("logarithm of the normaliser: Z = ") and "is subtracted where log Z belongs" in of_z()


def test_of_what_is_nearly_one_or_far_from_it_nothing_is_told():
    told = lambda log_Z: _multiplied(0.5 * log_Z, -0.5 * log_Z, 1e-6)
    assert (
        told(1.1e-3)
        and not told(0.9e-3)
        and told(19.9)
        and not told(20.1)
        and told(-1.1e-3)
        and told(-19.9)
        and not told(-20.1)
    )


# ------------------------------------------------------------------------------- a mixture


def mixture(masses, means, sigmas, d=1):
    """The log of Gaussians of these masses, and what is found of it."""
    means = np.array(means, float)[:, None] * np.ones((1, d))

    def log_p(x):
        logs = [
            np.log(m) - 0.5 * np.sum((x - mu) ** 2, axis=1) / s**2 - d * np.log(s * sqrt(2 * pi))
            for m, mu, s in zip(masses, means, sigmas, strict=True)
        ]
        return np.logaddexp.reduce(logs)

    found = SimpleNamespace(
        means=means + 0.05, covs=np.array([1.2 * s**2 * np.eye(d) for s in sigmas]), mode=means[0], top=-0.3
    )
    return log_p, found


@pytest.mark.parametrize("d", [1, 2])
def test_the_parts_of_a_mixture_have_their_masses_and_widths(d):
    log_p, found = mixture([0.3, 1.1, 0.6], [-4.0, 0.0, 5.0], [0.5, 1.0, 2.0], d)
    mass, sigma = _parts(log_p, found)
    np.testing.assert_allclose(mass, [0.3, 1.1, 0.6], rtol=1e-7)
    np.testing.assert_allclose(sigma, [0.5, 1.0, 2.0], rtol=1e-7)
    one = mixture([0.5], [0.0], [1.0], d)
    many = mixture([0.1] * 6, range(0, 36, 6), [1.0] * 6, d)
    assert _parts(*one) is None and _parts(*many) is None and _parts(*mixture([0.1] * 5, range(0, 30, 6), [1.0] * 5, d))
    assert _parts(lambda x: log_p(x) + 1e-6 * np.sin(x[:, 0]), found) is None
    assert _parts(lambda x: np.where(x[:, 0] > 4, -np.inf, log_p(x)), found) is None


SIGMAS, WEIGHTS = np.array([0.5, 2.0]), np.array([0.4, 0.6])
LACKS = {  # masses of the two parts in d dimensions
    "sigma": lambda d: WEIGHTS * SIGMAS, "1/sigma": lambda d: WEIGHTS / SIGMAS, "sigma^d": lambda d: WEIGHTS * SIGMAS**d, "sigma^2d": lambda d: WEIGHTS * SIGMAS ** (2 * d),
    "sigma^-d": lambda d: WEIGHTS / SIGMAS**d, "normaliser": lambda d: WEIGHTS * (2 * pi) ** (d / 2) * SIGMAS**d, "twice": lambda d: WEIGHTS / (2 * pi) ** (d / 2) / SIGMAS**d,
    "logarithm": lambda d: np.exp(WEIGHTS), "other": lambda d: np.array([0.7, 0.9]), "a part unseen": lambda d: np.array([0.3, 0.4]),
}  # fmt: skip


@pytest.mark.parametrize("name", LACKS)
@pytest.mark.parametrize("d", [1, 2])
def test_what_each_part_of_a_mixture_lacks_is_told(name, d):
    log_p, found = mixture(LACKS[name](d), [-6.0, 6.0], SIGMAS, d)
    said = _of_parts(log_p, found, np.array(WHOLE * d), 1e-6)
    assert bool(said) == (name != "a part unseen") and said.startswith("weights of the parts") == (name == "other"), (
        said
    )
    hold(said)
    assert _of_parts(log_p, found, np.array(WHOLE * (d - 1) + HALF), 1e-6) == ""


def test_a_part_is_told_to_the_digits_of_the_integral():
    for off, told in ((0.9e-5, True), (1.1e-5, False)):
        log_p, found = mixture(WEIGHTS * SIGMAS * (1 + off), [-6.0, 6.0], SIGMAS)
        assert _of_parts(log_p, found, np.array(WHOLE), 1e-5).startswith("normaliser of the parts") == told
        log_p, found = mixture(np.exp(WEIGHTS + off / 2), [-6.0, 6.0], SIGMAS)
        assert _of_parts(log_p, found, np.array(WHOLE), 1e-5).startswith("weights without") == told


# ------------------------------------------------------------------------------- the order in which it is asked


def test_half_lines_families_scales_and_weights_are_asked_in_this_order():
    log_p = lambda x: 1.5 * np.log(np.abs(x[:, 0])) - 3 * x[:, 0]
    several = list(normaliser._constants(log_p, modes(size=0.25, mode=0.5), np.array(HALF), False))
    assert several[0] == (
        0.5,
        1,
        "half of it: p integrates to 1/2, as a density of the whole line does on a half-line: then log 2 is missing for each",
    )
    assert several[1][2].startswith("normaliser of a Gamma density") and [v for v, _, _ in several[-63:]] == list(
        range(2, 65)
    )
    assert several[-63][2].startswith(
        "weights: p integrates to 2, as a sum of 2 densities does whose weights are 1 each, in place of 1/2 or of others that sum to 1, or a density of scale 2"
    )
    bare = list(normaliser._constants(log_p, modes(size=0.25, mode=0.5), np.array(HALF), True))
    assert not any(text.startswith(("half", "weights", "normaliser of")) for _, _, text in bare)
    plane = list(
        normaliser._constants(
            lambda x: -np.sum(x**2, axis=1) / 2, modes(2), np.array([[0, np.inf], [-np.inf, 0]]), False
        )
    )
    assert [p[0] for p in plane[:2]] == [0.5, 0.25] and "on 2 half-lines" in plane[1][2]
    # h stands beside sigma where the tails are wider than the mode by a thousandth
    wide = lambda h: list(
        normaliser._constants(
            lambda x: np.logaddexp(-(x[:, 0] ** 2) / 2, -(x[:, 0] ** 2) / (2 * h**2) - 20),
            modes(),
            np.array(WHOLE),
            False,
        )
    )
    assert any("h = 3 is the standard deviation of its tails" in text for _, _, text in wide(3.0))
    assert not any("of its tails" in text for _, _, text in wide(1.0))


def test_what_was_meant_instead_of_p_is_one_change_and_two_constants_are_not(monkeypatch):
    asked = []
    monkeypatch.setattr(normaliser, "_constants", lambda *a: iter([(3.0, 1, "one"), (5.0, 2, "two")]))
    monkeypatch.setattr(normaliser, "_variant", lambda *a: asked.append("variant") or change)
    monkeypatch.setattr(normaliser, "_multiplied", lambda *a: asked.append("multiplied") or "")
    monkeypatch.setattr(normaliser, "_of_parts", lambda *a: asked.append("parts") or "of parts")
    named = lambda I, top=-0.3: normaliser.named(None, modes(top=top), I, np.array(WHOLE), 1e-6, None)
    change = "a change"
    assert named(3.0) == "one" and asked == []
    assert named(3.0 * (1 + 0.9e-6)) == "one" and named(3.0 * (1 - 0.9e-6)) == "one" and asked == []
    assert named(5.0) == "a change" and named(3.0 * (1 + 1.1e-6)) == "a change" and asked == ["variant"] * 2
    change = ""
    asked.clear()
    assert named(5.0) == "two" and named(4.0) == "of parts" and asked == ["variant", "variant", "multiplied", "parts"]
    asked.clear()
    for top in (0.0, 0.9e-6, -0.9e-6):  # without a normaliser p was no density of parts
        assert named(4.0, top) == "" and named(5.0, top) == "two"
    assert asked == [] and named(4.0, 1.1e-6) == "of parts"
