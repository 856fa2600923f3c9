"""A line of one's own: right ones hold, wrong ones are told with their gap and the term; oracles are the papers' identities."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats
from wording import hold_verdicts

import numpyscore as ns
from numpyscore.cli import main
from numpyscore.derivations import line_study
from numpyscore.derivations.line import Line

DENSITY = ns.GaussianMixture([0.3, 0.7], [[-1.0], [1.0]], [0.6, 0.9])
NET = ns.EnergyMLP.init(1, (6,), "softplus", confinement=0.5, rng=0)


def cross(x):
    return (DENSITY.score(x) * NET.score(x)).sum(1)


def explicit(x):
    return 0.5 * ((DENSITY.score(x) - NET.score(x)) ** 2).sum(1)


def fisher(x):
    return 0.5 * (DENSITY.score(x) ** 2).sum(1)


def square(x):
    return 0.5 * (NET.score(x) ** 2).sum(1)


def verify_line(*line, **options):
    """The verdict, its sides and its words held to what is written down."""
    verdict = ns.verify_line(*line, **options)
    hold_verdicts([verdict])
    return verdict


def test_a_right_line_holds_whatever_it_is_written_with():
    assert verify_line(cross, lambda x: -NET.trace(x), DENSITY)
    assert verify_line(explicit, {"a": fisher, "b": square, "c": NET.trace}, DENSITY)
    assert verify_line(lambda x, p: (p.score(x) * x).sum(1), -1, DENSITY)
    assert verify_line(lambda x: x[:, 0] ** 2, ns.expectation(lambda x: x[:, 0] ** 2, DENSITY), DENSITY)
    verdict = verify_line(lambda x, p, s: (p.score(x) * s.score(x)).sum(1), lambda x, p, s: -s.trace(x))
    assert verdict.ok and verdict.word == "holds" and verdict.bound < 1e-11


def test_a_sign_error_is_told_with_its_term():
    terms = {"constant": fisher, "square": square, "trace": lambda x: -NET.trace(x)}
    verdict = verify_line(explicit, terms, DENSITY, name="J_E")
    trace = ns.expectation(NET.trace, DENSITY)
    assert not verdict and verdict.word == "DIFFERS" and verdict.step == "J_E"
    assert verdict.gap == pytest.approx(2 * trace.value, abs=1e-11)
    assert "the term 'trace' of right: its sign is turned" in verdict.note
    # the same in one function, where the names of the terms are not known: by the terms of the derivation
    verdict = verify_line(explicit, lambda x: fisher(x) + square(x) - NET.trace(x), DENSITY)
    assert "it is 2 x E[tr ds/dx], as where its sign is turned" in verdict.note


@pytest.mark.parametrize(
    "right, said",
    [
        ({"c": fisher, "s": lambda x: 2 * square(x), "t": NET.trace}, "the term 's' of right: it counts twice"),
        ({"c": fisher, "s": square, "t": lambda x: NET.trace(x) / 2}, "the term 't' of right: it counts half"),
        ({"c": fisher, "s": square, "t": NET.trace, "u": cross}, "the term 'u' of right: it should not be there"),
        (lambda x: fisher(x) + square(x), "it is E[tr ds/dx], as where it is missing"),
        (lambda x: -explicit(x), "left is -right"),
        (lambda x: 2 * explicit(x), "left is 1/2 x right"),
        (lambda x: -2 * explicit(x), "left is -1/2 x right"),
        (lambda x: explicit(x) / 2, "left is 2 x right"),
        (lambda x: -explicit(x) / 2, "left is -2 x right"),
    ],
)
def test_other_slips_are_told_too(right, said):
    verdict = verify_line(explicit, right, DENSITY)
    assert verdict.ok is False and said in verdict.note


@pytest.mark.parametrize(
    "factor, cure", [(-1.0, "its sign is turned"), (2.0, "it counts twice"), (0.5, "it counts half")]
)
def test_a_term_of_the_left_is_told_as_one_of_the_right(factor, cure):
    """J_E = fisher + square + E tr: whichever side a term stands on, the cure is its own; its mean is E tr = -cross here."""
    wrong = {"c": fisher, "s": square, "t": lambda x: factor * NET.trace(x)}
    for left, right, side in ((wrong, explicit, "left"), (explicit, wrong, "right")):
        assert f"the term 't' of {side}: {cure} (its mean is 0." in verify_line(left, right, DENSITY).note


def test_a_constant_difference_is_named_as_a_constant_first():
    verdict = verify_line(square, lambda x: square(x) + 1, DENSITY)
    assert verdict.ok is False and verdict.note.split("; ")[1] == "left - right is -1 at every x: a constant"
    p = ns.Gaussian(np.zeros(1), 1.0)  # where d, 1/2 E|s_0|^2 twice and E[tr ds_0/dx] are 1 as well
    verdict = verify_line(lambda x: x[:, 0] ** 2, lambda x: x[:, 0] ** 2 + 1, p)
    assert verdict.note.split("; ")[1] == "left - right is -1 at every x: a constant"
    wrong = verify_line(explicit, lambda x: fisher(x) + square(x), DENSITY)  # control: a term that varies with x
    assert "a constant" not in wrong.note


def test_a_forgotten_boundary_term_is_named():
    """E[s_0 . s] = flux - E[tr ds/dx]: on exponential data the flux is -p(0) s(0) = -a s(0)."""
    p = ns.Exponential(2.0)
    verdict = verify_line(lambda x: (p.score(x) * NET.score(x)).sum(1), lambda x: -NET.trace(x), p)
    assert verdict.gap == pytest.approx(-2 * NET.score(np.zeros((1, 1)))[0, 0], abs=1e-10)
    assert "it is the boundary term, the flux of p_0 s" in verdict.note


def test_a_term_beside_a_boundary_term_is_named_with_its_sign():
    p = ns.Exponential(2.0)
    flux = -2 * NET.score(np.zeros((1, 1)))[0, 0]
    for sign, said in ((1, " + "), (-1, " - ")):
        verdict = verify_line(square, -sign * flux, p)
        assert (
            f"it is 1/2 E|s|^2, as where it is missing or too many{said}the boundary term, the flux of p_0 s"
            in verdict.note
        )


def test_control_an_error_without_a_name_has_its_gap_alone():
    verdict = verify_line(cross, lambda x: -1.001 * NET.trace(x), DENSITY)
    assert verdict.ok is False and verdict.note.startswith("the gap is") and "it is" not in verdict.note


def test_a_differenced_score_widens_the_bound_and_accuses_nobody():
    verdict = verify_line(lambda x, p: (p.score(x) * x).sum(1), -1, stats.gamma(3))
    assert verdict.ok and 1e-12 < verdict.bound < 1e-6
    assert verify_line(lambda x, p: (p.score(x) * x).sum(1), -1.001, stats.gamma(3)).ok is False


def test_a_density_without_a_score_still_has_the_terms_of_the_model():
    line = lambda x: square(x) + NET.trace(x)
    p = SimpleNamespace(dim=1, logpdf=lambda x: -0.5 * x[:, 0] ** 2 - 0.5 * np.log(2 * np.pi))
    note = verify_line(line, {"t": NET.trace}, p).note
    assert "it is 1/2 E|s|^2, as where it is missing or too many" in note and "s_0" not in note


def test_beyond_three_dimensions_means_are_over_samples():
    p = ns.Gaussian(np.zeros(5), 1.0)
    verdict = verify_line(lambda x: (p.score(x) * x).sum(1), -5, p)
    assert verdict.ok and verdict.method == "monte carlo"
    assert "-2 x the dimension d" in verify_line(lambda x: (p.score(x) * x).sum(1), 5, p).note


def broken(x):
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize(
    "left, density, said",
    [
        (broken, DENSITY, r"left raised ZeroDivisionError: division by zero.*\(test_line.py, line \d+, in broken;"),
        (lambda x: x, DENSITY, r"shape \(\d+, 1\).*take \[:, 0\]"),
        (lambda x: np.hstack([x, x]), DENSITY, "sum over dimensions"),
        (lambda x: np.mean(x), DENSITY, "the mean under the density is taken here"),
        (lambda x: x[:, 0] * np.nan, DENSITY, "left is nan at x ="),
        (lambda: 1.0, DENSITY, "takes 0 arguments"),
        (lambda x, p, s, t: x[:, 0], DENSITY, "takes 4 arguments"),
        ("text", DENSITY, "left is a str"),
        (cross, ns.Gaussian, "the class Gaussian"),
        (cross, 5, "int has no logpdf"),
        (cross, "gausian", "expected one of"),
    ],
)
def test_what_is_no_line_is_told_in_words(left, density, said):
    with pytest.raises((ValueError, TypeError), match=said):
        verify_line(left, 0.0, density)


def test_the_seed_of_a_study_of_a_line_is_0_and_gives_its_networks():
    line = Line(lambda x, p, s: s.score(x).sum(1), 0.0)
    plain, same, other = line_study(line), line_study(line, seed=0), line_study(line, seed=1)
    theta = lambda study: study.cases[0].model.theta
    assert (
        plain.seed == 0 and np.array_equal(theta(plain), theta(same)) and not np.array_equal(theta(plain), theta(other))
    )


MINE = """
import numpyscore as ns
def left(x, p, s): return (p.score(x) * s.score(x)).sum(1)
def right(x, p, s): return {sign}s.trace(x)
line = (left, right)
at = dict(left=left, right=right, density=ns.Gaussian(0.5, 2.0))
def made(): return line
wrong = 7
four = (left, right, None, 1)
"""


def test_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(MINE.format(sign="-"))
    assert main(["verify", "--line", str(path), "--density", "beta"]) == 0
    out = capsys.readouterr().out
    assert "your line" in out and "2 verdicts: 2 hold" in out
    assert main(["verify", "--line", f"{path}:at", "--json"]) == 0
    assert '"subject": "Gaussian' in capsys.readouterr().out
    assert (
        main(["verify", "--line", f"{path}:made", "--density", "uniform"]) == 1
    )  # its boundary term is none of the line's
    assert "the boundary term, the flux of p_0 s" in capsys.readouterr().out
    assert main(["verify", "--line", f"{path}:wrong"]) == 2
    assert "the line is an int" in capsys.readouterr().err
    assert main(["verify", "--line", f"{path}:four"]) == 2
    assert "the line is a tuple" in capsys.readouterr().err
    (tmp_path / "slip.py").write_text(MINE.format(sign=""))
    assert main(["verify", "--line", str(tmp_path / "slip.py"), "--density", "beta"]) == 1
    assert "-2 x E[tr ds/dx], as where its sign is turned" in capsys.readouterr().out
