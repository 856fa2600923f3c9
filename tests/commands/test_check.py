"""`numpyscore check` and `verify --list`: every option does something or is refused in a line that names its cure."""

import json

import numpy as np
import pytest
from commandline import call

from numpyscore.commands import check as command

MINE = """
import numpy as np
energy = lambda x: 0.5 * (x**2).sum(1)
logpdf = lambda x: -energy(x)
score = lambda x: -x
turned = lambda x: x @ np.array([[-1.0, 0.5], [-0.5, -1.0]])
trace = lambda x: np.full(len(x), -2.0)
wide = lambda a: a
levels = lambda: [3.0, 1.0, 0.3]
down = lambda x, fn, level, below, rng: x + (level**2 - below**2) * fn(x, level) + np.sqrt(level**2 - below**2) * rng.standard_normal(x.shape)
def left(x):
    raise SystemExit(0)
def missing(x):
    return open("no such file").read()
def loss(fn, x, sigma, rng):
    eps = rng.standard_normal(x.shape)
    return 0.5 * np.mean(np.sum((fn(x + sigma * eps) + eps / sigma) ** 2, 1))
kernel = lambda t: (np.cos(1.5 * t), np.sin(1.5 * t))
table = np.stack(kernel(np.linspace(0.05, 0.95, 12)), axis=1)
at = lambda t: table[t].T if t.dtype.kind == "i" else kernel(t)
score_of = lambda out, y, t: -out / at(np.round(t).astype(int))[1][:, None]
turned_of = lambda out, y, t: -score_of(out, y, t)
labels = lambda: {"label": 3}
three = np.ones((4, 3))
doubled = lambda t: (np.cos(3 * t), np.sin(3 * t))
def noise(fn, x, t, rng, label=0):
    (c, s), eps = at(t), rng.standard_normal(x.shape)
    return 0.5 * np.mean(np.sum((fn(c[:, None] * x + s[:, None] * eps, t) - eps) ** 2, 1))
def labelled(fn, x, t, rng, label):
    return noise(fn, x, t, rng)
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "mine.py"
    path.write_text(MINE)
    np.savetxt(path.with_name("points.csv"), [[0.1, 0.2], [1.0, -0.3], [0.4, 0.9]], delimiter=",")
    np.save(path.with_name("complex.npy"), np.ones((3, 2)) + 1j)
    np.savez(path.with_name("two.npz"), a=np.ones((3, 2)), b=np.ones((3, 2)))
    return path


RIGHT = {
    "score beside an energy": ("{}:score --energy {}:energy --dim 2", ["check_score PASS", "check_rows PASS"]),
    "score beside a log density": ("{}:score --logpdf {}:logpdf --dim 2 --rtol 1e-6", ["check_score PASS"]),
    "trace": ("{}:score --trace {}:trace --dim 2", ["check_trace PASS"]),
    "a score that claims nothing": ("{}:turned --dim 2", ["check_conservative PASS", "is usual for a network"]),
    "one point has no other rows": ("{}:score --at {folder}/points.csv --wrap {}:wide", ["check_conservative PASS", "check_rows PASS"]),
    "sampler": ("{}:down --reverse {}:levels", ["check_reverse"]),
    "a schedule": ("{}:noise --objective multilevel_denoising --levels {}:table --predicts eps", ["check_loss PASS"]),
    "times": ("{}:noise --objective multilevel_denoising --levels 0.1,0.2,0.5,0.9 --kernel {}:kernel --predicts eps", ["check_loss PASS"]),
    "a sampler's score": ("{}:noise --objective multilevel_denoising --levels {}:table --score-of {}:score_of", ["check_loss PASS"]),
    "further arguments": ("{}:labelled --objective multilevel_denoising --condition {}:labels --predicts eps", ["check_loss PASS"]),
    "loss at a level": ("{}:loss --objective denoising --predicts score", ["check_loss PASS"]),
}  # fmt: skip
FAIL = {
    "a rotation": ("{}:turned --conservative --dim 2", "not a gradient"),
    "a sampler's sign": ("{}:noise --objective multilevel_denoising --levels {}:table --score-of {}:turned_of", "sign of what score_of makes of fn"),
    "another kernel": ("{}:noise --objective multilevel_denoising --kernel {}:doubled --predicts eps", "other noise level"),
}  # fmt: skip
REFUSED = {  # options, words of the line
    "nothing": ("", "nothing to check"),
    "both densities": ("{}:score --energy {}:energy --logpdf {}:logpdf --dim 2", "--energy and --logpdf exclude each other"),
    "points twice": ("{}:score --at p.csv --dim 2", "--at and --dim exclude each other"),
    "no points": ("{}:score", "give --at FILE, or --dim D"),
    "no dimension": ("{}:score --dim 0", "expected at least 1"),
    "step without target": ("--sampler euler --loss {}:loss", "need TARGET, a step"),
    "two kinds of step": ("{}:down --sampler euler --reverse 3,2,1", "exclude each other"),
    "density without target": ("--density --loss {}:loss", "--density needs TARGET"),
    "another objective": ("{}:loss --objective denoisin", "did you mean denoising"),
    "loss without objective": ("--loss {}:loss", "--loss needs --objective"),
    "option of another kind": ("{}:loss --objective implicit --predicts eps", "a denoising --objective"),
    "schedule of an implicit loss": ("{}:loss --objective implicit --levels 0.1,0.5", "a denoising --objective"),
    "no schedule": ("{}:noise --objective multilevel_denoising --levels {}:MINE", "--levels: "),
    "a schedule of three columns": ("{}:noise --objective multilevel_denoising --levels {}:three", "expected times (k,), or c and sigma (k, 2)"),
    "a number as condition": ("{}:labelled --objective multilevel_denoising --condition {}:three", "expected a mapping"),
    "a kernel that is none": ("{}:noise --objective multilevel_denoising --kernel {}:three", "expected a function from a level"),
    "shape of a score": ("{}:score --dim 2 --shape 2", "--shape has no effect beside a score"),
    "self and more": ("{}:score --self", "--self stands alone"),
    "levels": ("{}:down --reverse 3,x,1", "expected sigmas such as 5,2,1,0.5"),
    "two levels": ("{}:down --reverse 3,1", "three sigmas at least"),
    "levels that rise": ("{}:down --reverse 1,2,3", "expected sigmas from the largest down, as the step goes: 3,2,1"),
    "support": ("{}:logpdf --density --support 0:1:2", "expected A:B for each dimension"),
    "shape": ("{}:loss --objective denoising --shape 1,x", "sizes such as 1,4,4"),
    "complex points": ("{}:score --at {folder}/complex.npy", "expected real numbers"),
    "two arrays": ("{}:score --at {folder}/two.npz", "holds a, b, expected an array x"),
    "code that leaves": ("{}:left --dim 2", "SystemExit"),
    "code without its file": ("{}:missing --dim 2", "no such file"),
}  # fmt: skip


def words(text, mine):
    return text.replace("{}", str(mine)).replace("{folder}", str(mine.parent)).split()


@pytest.mark.parametrize("name", RIGHT)
def test_right_code_passes(name, mine, capsys):
    text, said = RIGHT[name]
    code, out, err = call(capsys, "check", *words(text, mine))
    assert code in (0, 3) if "reverse" in text else code == 0, (out, err)
    assert all(part in out for part in said), out


@pytest.mark.parametrize("name", FAIL)
def test_wrong_code_fails_as_text_and_as_json(name, mine, capsys):
    text, said = FAIL[name]
    code, out, _ = call(capsys, "check", *words(text, mine))
    assert code == 1 and said in out, out
    code, out, _ = call(capsys, "check", *words(text, mine), "--json")
    assert code == 1 and json.loads(out)[0]["name"] == said


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_effect_or_no_meaning_is_refused_in_one_line(name, mine, capsys):
    text, said = REFUSED[name]
    code, out, err = call(capsys, "check", *words(text, mine))
    assert code == 2 and out == "" and err.count("\n") == 1 and said in err, (out, err)


def test_the_gallery_is_told_case_by_case_and_counts_what_it_does_not_recognise(capsys, monkeypatch):
    few = (command.CASES[0], command.CASES[1]._replace(says="words that no diagnosis has"))
    monkeypatch.setattr(command, "CASES", few)
    monkeypatch.setattr(command, "RIGHT", command.RIGHT[:1])
    code, out, _ = call(capsys, "check", "--self")
    assert code == 1 and "2 wrong implementations, 1 detected and named" in out and "1 right ones" in out
    assert "NOT RECOGNISED" in out and f"{few[0].name} (a tutorial)" in out
    code, out, _ = call(capsys, "check", "--self", "--json")
    assert code == 1 and [r["recognised"] for r in json.loads(out)] == [True, False, True]


def test_verify_lists_its_steps_as_text_and_as_json(capsys):
    code, text, _ = call(capsys, "verify", "--list")
    assert code == 0 and text.count("\n") > 40
    code, out, _ = call(capsys, "verify", "--list", "--json")
    record = json.loads(out)
    assert code == 0 and record["schema"] == "numpyscore-steps/1" and len(record["chapters"]) == 8
    for chapter in record["chapters"]:
        assert all(step["name"] in text and step["equation"] and step["source"] for step in chapter["steps"])
