"""Somebody's own density: what is missing is differenced and said so, a wrong score is caught and located."""

import numpy as np
import pytest

from numpyscore.cli import main
from numpyscore.derivations import verify
from numpyscore.derivations.own import Own


class Hyperbolic:
    """log p = -sqrt(1 + x^2) - log Z in one dimension; Z = 2 K_1(1) in closed form."""

    dim = 1

    def logpdf(self, x):
        from scipy.special import k1

        return -np.sqrt(1 + x[:, 0] ** 2) - np.log(2 * k1(1.0))


class WithScore(Hyperbolic):
    def score(self, x):
        return -x / np.sqrt(1 + x**2)


class OffBeyondTwo(WithScore):
    def score(self, x):
        return super().score(x) * np.where(x > 0.5, 1.001, 1.0)


@pytest.mark.nightly  # a minute of differencing at every node
def test_log_p_alone_is_enough_and_the_rest_is_said_to_be_differenced():
    verdicts = verify(Hyperbolic(), only="explicit to implicit")
    assert len(verdicts) > 8 and all(v.word == "holds" for v in verdicts), verdicts
    notes = " ".join(Own(Hyperbolic()).notes)
    assert "no score: log p is differenced" in notes and "no sample" in notes
    assert not any("truth" in v.step for v in verdicts)  # these need the trace of the data's score


@pytest.mark.nightly  # a minute of differencing at every node
def test_a_given_score_brings_the_lines_that_need_its_trace():
    verdicts = verify(WithScore(), only="explicit to implicit")
    assert {"the implicit loss of the truth"} <= {v.step for v in verdicts} and all(v.ok for v in verdicts)


def test_the_slack_bounds_what_differencing_is_off_by():
    own, x = Own(Hyperbolic()), np.linspace(-6, 6, 101)[:, None]
    exact = WithScore().score(x)
    error, _ = own.slack(x)
    assert np.all(np.abs(own.score(x) - exact)[:, 0] <= error + 4e-16)
    assert np.median(error) < 1e-9  # and says something


def test_a_wrong_score_is_caught_and_located():
    verdicts = verify(OffBeyondTwo(), only="score at points")
    assert verdicts and all(v.word == "DIFFERS" for v in verdicts)
    place = float(verdicts[0].note.split("(")[1].split(")")[0])
    assert place > 0.5  # where it is wrong


@pytest.mark.parametrize(
    "body, words",
    [
        ("class D: dim = 1", "no logpdf"),
        ("class D:\n    def logpdf(self, x): return x[:, 0]", "no dim"),
        ("class D:\n    dim = 2\n    def logpdf(self, x): return x", "expected real numbers of shape"),
        ("D = None; 1/0", "raised ZeroDivisionError"),
        ("E = 1", "has no D"),
    ],
)
def test_an_unusable_density_is_one_line_and_exit_2(tmp_path, capsys, body, words):
    path = tmp_path / "mine.py"
    path.write_text(body + ("\nobject_ = D()\n" if "class D" in body else "\n"))
    target = f"{path}:{'object_' if 'class D' in body else 'D'}"
    assert main(["verify", "--density", target, "--only", "boundary term"]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.count("\n") == 1 and words in out.err
