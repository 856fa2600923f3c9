"""Mathematics in sentences becomes MathML, words stay words, and nothing that looks like typed mathematics is left on a page."""

import inspect
import re

import pytest

from numpyscore.derivations import CHAPTERS
from numpyscore.display import gallery
from numpyscore.display.prose import typeset
from numpyscore.lessons import LESSONS

TYPED = re.compile(
    r"\^|\w_\w|\b(?:grad|sqrt|eps|sigma|lambda|theta|tau|mu)\b|\w~|->|<=|\b\d/\d\b|\|"
)  # how a keyboard writes it


def left(html):
    """What is not set: MathML and code taken out, a mark in their place."""
    return re.sub(
        r"<math>.*?</math>|<code>.*?</code>|</?span[^>]*>", lambda m: "§" if m[0].startswith("<math") else "", html
    )


def tex(html):
    return re.findall(r'x-tex">(.*?)</annotation>', html)


@pytest.mark.parametrize(
    "text, words, equations",
    [
        ("Half of 1/2 E|s_0 - s|^2, a number.", "Half of §, a number.", [r"\tfrac{1}{2} E | s_{0} - s | ^{2}"]),
        ("grad p_0 . s by parts", "§ by parts", [r"\nabla p_{0} \cdot s"]),
        ("x~ = x + sigma eps is noisy.", "§ is noisy.", [r"\tilde x = x + \sigma \epsilon"]),
        ("A Gaussian cut at a and b", "A Gaussian cut at § and §", ["a", "b"]),
        ("a sum over a sign", "a sum over a sign", []),
        ("from 1 to 2, 99 % of 20 000 in 2-d", "from 1 to 2, 99 % of 20 000 in 2-d", []),
        ("sqrt(2 tau), not sqrt 2", "§, not §", [r"\sqrt{2 \tau}", r"\sqrt{2}"]),
        ("log p is one, log10 p another, a log density none", "§ is one, § another, a log density none", [r"\log p", r"\log_{10} p"]),
        ("`a_b` and my_file.csv", " and my_file.csv", []),
        ("min(d, n_1) of e_1, ..., e_d", "§ of §, ..., §", [r"\min ( d ,\, n_{1} )", "e_{1}", "e_{d}"]),
        ("(x, x with a bit", "(§, § with a bit", ["x", "x"]),
        ("p'", "§", ["p'"]),
        ("Stein's", "Stein's", []),
        ("1e-8 of 2.7e-3", "§ of §", ["10^{-8}", r"2.7 \times 10^{-3}"]),
    ],
)  # fmt: skip
def test_runs_of_symbols_are_set_and_words_are_not(text, words, equations):
    html = typeset(text)
    assert left(html) == words and tex(html) == equations


def sentences():
    """Everything a page says in prose."""
    for chapter in CHAPTERS:
        yield chapter.text
        yield from (text for step in chapter.steps for text in (step.name, step.words))
    yield from (inspect.cleandoc(gallery.load(name).__doc__) for name in gallery.scripts())
    yield from (lesson.claim for lesson in LESSONS)


def test_no_typed_mathematics_is_left_in_prose():
    skip = "a wrong power of sigma", "the weight sigma squared"  # names, in words
    for text in sentences():
        found = left(typeset(text))
        assert text in skip or not TYPED.search(found), found


def test_the_search_for_typed_mathematics_finds_some():
    """Negative control: the same texts before they are set are full of it."""
    assert sum(bool(TYPED.search(text)) for text in sentences()) > 80


def test_brackets_and_bars_that_do_not_pair_are_words():
    for text in ("f(x", "|s", "a) b", "[x, y", "x | y | z |", "^2", "sqrt(", "-", "- f", "(((", "sqrt", "x_", "~"):
        assert isinstance(typeset(text), str)
