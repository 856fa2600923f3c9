"""The tools behind EVIDENCE.md: their truths agree with others, and each sees a fault that is put there."""

import sys
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from oracles import scales

import numpyscore as ns
from numpyscore.vectors.decimals import context, derivatives

sys.path.insert(0, str(Path(__file__).resolve().parent))
import densities
import digits
import hostile
import interrupted
import mutants
import networks

# ------------------------------------------------------------------------------- decimals


@pytest.mark.parametrize("name", digits.JETS)
@pytest.mark.parametrize("z", ["0", "1e-12", "-0.3", "2.5", "-7", "20", "-29.5", "33"])
def test_activations_are_those_of_the_taylor_polynomials_and_each_the_derivative_of_the_last(name, z):
    with context(digits.DIGITS):
        z, h = Decimal(z), Decimal("1e-25")
        got, want = digits.JETS[name](z), derivatives(name, z)
        for a, b in zip(
            got, want, strict=False
        ):  # 50 digits of the larger; what erf lacks of 1 beyond 30 is below 1e-390
            assert abs(a - b) <= Decimal("1e-50") * max(abs(a), abs(b), Decimal("1e-300"))
        up, down = digits.JETS[name](z + h)[3], digits.JETS[name](z - h)[3]
        # a difference quotient: h^2 = 1e-50 of what it differences, rounding 1e-80/h = 1e-55
        assert abs((up - down) / (2 * h) - got[4]) <= Decimal("1e-45") * max(1, abs(got[3]))


@pytest.mark.parametrize("k", [1, 4, 8])
def test_the_scales_are_those_of_the_oracles(k):
    _, model, given = networks.draw(k, 0)
    sigma = {"sigma": given["sigma"]} if model.conditional else {}
    want = scales(model, given["x"], cancellation=True, **sigma)
    with context(digits.DIGITS):
        found = networks.truths(model, given)
    for name, S in zip(("score", "trace", "jacobian", "gradient of implicit"), want, strict=False):
        np.testing.assert_allclose(found[name][2], S, rtol=1e-12)


def test_networks_are_within_their_targets_and_a_wrong_derivative_is_not(monkeypatch):
    for k in (0, 7, 57):
        assert max(found[1] for found in networks.errors(k, 0)[2].values()) <= networks.TARGET2
    real = digits.JETS["tanh"]
    monkeypatch.setitem(
        digits.JETS, "tanh", lambda z: [c * (1 + Decimal("1e-11") * (i == 1)) for i, c in enumerate(real(z))]
    )
    assert networks.errors(1, 0)[2]["trace"][1] > 100 * networks.TARGET2


def test_densities_are_within_their_target_and_a_wrong_term_is_not(monkeypatch):
    for k in range(14):
        assert max(densities.errors(k, 0)[1:]) <= densities.TARGET
    monkeypatch.setattr(densities, "LOG_2PI", lambda: densities.Sized(Decimal("1.83787707")))
    assert densities.errors(0, 0)[1] > 100 * densities.TARGET


# ------------------------------------------------------------------------------- mutants


def test_a_mutant_is_one_change_of_what_is_computed_and_every_one_compiles():
    path = mutants.PACKAGE / "common" / "names.py"
    every = list(mutants.mutants(path))
    assert len(every) > 10 and all(mutants.compiled(m) for m in every)
    module = {}
    exec(mutants.compiled(next(m for m in every if m.what == "LtE becomes Gt")), module)
    assert module["shortened"]("a" * 3000) == "a" * 3000 != ns.cli.shortened("a" * 3000)


def test_messages_annotations_and_decorators_are_not_mutated():
    tree = mutants.ast.parse("@f(1)\ndef g(a: 2):\n    raise E(f'{3}', 4)\nx = 5")
    no = mutants.skipped(tree)
    constants = {n.value for n in mutants.ast.walk(tree) if isinstance(n, mutants.ast.Constant) and id(n) not in no}
    assert constants == {5}


def test_every_survivor_that_is_argued_is_there():
    """The line is in the file; an argument for every change of a number is for a number that stands in it."""
    files: dict = {}
    for file, text, what in mutants.argued():
        if file not in files:
            lines = [line.strip() for line in (mutants.ROOT / file).read_text().splitlines()]
            files[file] = {line: set() for line in lines}
            for m in mutants.mutants(mutants.ROOT / file):
                files[file][lines[m.line - 1]].add(m.what.partition(" becomes ")[0])
        assert text in files[file], (file, text)
        if what.endswith(mutants.ANY):
            number = what.removesuffix(" " + mutants.ANY)
            assert number in files[file][text] and type(mutants.ast.literal_eval(number)) in (int, float), what


def test_an_argument_for_every_change_of_a_number_covers_no_other_number_and_no_operator():
    path = "numpyscore/common/names.py"
    every = {m.what: m for m in mutants.mutants(mutants.ROOT / path)}
    number = next(what for what in every if what[0].isdigit())
    one = every[number]
    known = {(*mutants.key(one)[:2], f"{number.split()[0]} {mutants.ANY}"): "an effort"}
    assert (
        mutants.reason(one, known) == "an effort" and mutants.reason(one, {mutants.key(one): "this one"}) == "this one"
    )
    others = [
        m
        for m in mutants.mutants(mutants.ROOT / path)
        if mutants.key(m)[1] != mutants.key(one)[1] or not m.what.startswith(number.split()[0] + " ")
    ]
    assert len(others) > 5 and not any(mutants.reason(m, known) for m in others)


# ------------------------------------------------------------------------------- files


def test_hostile_files_have_one_way_to_be_refused(tmp_path):
    counts, faults = hostile.trial(110, 1, tmp_path)
    assert not faults and len(counts) == 11


@pytest.mark.parametrize(
    "read, wrong",
    [
        (lambda path: {}["a"], "KeyError"),
        (lambda path: warnings.warn("told", stacklevel=1), "a warning"),
        (lambda path: np.zeros(1 << 21), "bytes of memory"),
        (lambda path: (_ for _ in ()).throw(OSError("of no file")), "OSError"),
        (lambda path: (_ for _ in ()).throw(ValueError("a" * 9000)), "a message of 9000"),
    ],
)
def test_control_a_reader_that_does_otherwise_is_seen(read, wrong, tmp_path):
    reader = hostile.Reader("any", ".npz", None, read, len)
    assert wrong in hostile.fault(reader, b"12", tmp_path / "a")[0]


def test_fits_that_are_killed_and_resumed_have_the_bits_of_one_that_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr("numpyscore.learning.checkpoints.SECONDS", 1.0)  # is set back afterwards
    done, fits, wrong = interrupted.kills(3, 0, tmp_path)
    assert done == 3 and fits >= 1 and wrong == 0


@pytest.mark.nightly
def test_disks_and_two_fits_and_threads(tmp_path, monkeypatch):
    monkeypatch.setattr("numpyscore.learning.checkpoints.SECONDS", 1.0)  # is set back afterwards
    tmp_path.chmod(0o755)
    assert not any(found for _, found in interrupted.disks(tmp_path).values())
    assert interrupted.two_fits(tmp_path)[1] and interrupted.shared()
    assert len({both.split()[0] for both in interrupted.settings().values()}) == 1  # of the wide batch: see NOTE
