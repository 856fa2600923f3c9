"""TeX to MathML: every equation of the derivation translates, structure and spacing are TeX's, and what is not known is refused by name."""

import re
import xml.etree.ElementTree as ET

import pytest

from numpyscore.derivations import STEPS
from numpyscore.display.mathml import mathml, pieces


def body(tex):
    """The translation without the math element and its annotation."""
    return re.sub(r"^<math.*?><semantics>|<annotation.*$", "", mathml(tex))


def leaves(tex):
    """Texts of the leaves of the translation, in order."""
    semantics = ET.fromstring(mathml(tex))[0]
    return [e.text for e in semantics[0].iter() if e.tag in ("mi", "mn", "mo", "mtext") and e.text]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_equation_of_the_derivation_translates(step):
    root = ET.fromstring(mathml(step.equation))  # well-formed
    assert root.tag == "math" and root.get("display") == "block"
    assert root[0].find("annotation").text == step.equation
    assert not [text for text in leaves(step.equation) if text in ("\\", "_", "$", "'") or "\\" in text]
    assert "".join(pieces(step.equation)).replace(" ", "") == re.sub(r"\\q?quad|\s", "", step.equation)
    assert all(ET.fromstring(mathml(piece)).tag == "math" for piece in pieces(step.equation))


@pytest.mark.parametrize(
    "tex, xml",
    [
        ("x", "<mi>x</mi>"),
        ("12.5", "<mn>12.5</mn>"),
        ("x^12", "<mrow><msup><mi>x</mi><mn>1</mn></msup><mn>2</mn></mrow>"),
        ("x_i^2", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"),
        ("x^2_i", "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>"),
        ("s_0'", "<msubsup><mi>s</mi><mn>0</mn><mo>′</mo></msubsup>"),
        ("s''", "<msup><mi>s</mi><mo>″</mo></msup>"),
        (r"\frac12", "<mfrac><mn>1</mn><mn>2</mn></mfrac>"),
        (r"\tfrac1{c^2}", '<mstyle displaystyle="false"><mfrac><mn>1</mn><msup><mi>c</mi><mn>2</mn></msup></mfrac></mstyle>'),
        (r"\sqrt{2\pi}", "<msqrt><mrow><mn>2</mn><mi>π</mi></mrow></msqrt>"),
        (r"\sqrt[3]x", "<mroot><mi>x</mi><mn>3</mn></mroot>"),
        (r"\mathrm{tr}", '<mi mathvariant="normal">tr</mi>'),
        (r"\text{ if so}", "<mtext>\u00a0if\u00a0so</mtext>"),
        (r"\mathbb{R}", "<mi>ℝ</mi>"),
        (r"\mathcal{N}", "<mi>𝒩</mi>"),
        (r"\hat S", '<mover accent="true"><mi>S</mi><mo stretchy="false">^</mo></mover>'),
        (r"\not\Rightarrow", "<mo>⇏</mo>"),
        (r"\not=", "<mo>≠</mo>"),
        (r"a<b", "<mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow>"),
        (r"\int_a^b", "<msubsup><mo>∫</mo><mi>a</mi><mi>b</mi></msubsup>"),
        (r"\sum_k", '<munder><mo movablelimits="true">∑</mo><mi>k</mi></munder>'),
        (r"\Gamma", '<mi mathvariant="normal">Γ</mi>'),
    ],
)  # fmt: skip
def test_structure(tex, xml):
    assert body(tex) == xml


def test_a_minus_is_a_sign_or_a_difference():
    for tex in ("-x", "= -x", "(-x)", "a + -x", "[a, -x]", r"\log -x", "e^{-x}"):
        assert '<mo form="prefix">−</mo>' in body(tex), tex
    for tex in ("a - x", "(a) - x", "a^2 - x", r"|a| - x"):
        assert "<mo>−</mo>" in body(tex), tex


def test_log_p_has_a_space_where_log_of_p_has_none():
    thin = '<mspace width="0.1667em"/>'
    assert thin in body(r"\log p") and thin in body(r"\pi \log (p)") and thin not in body(r"\log(p)")
    assert body(r"\log\,p").count("mspace") == 1


def test_delimiters_grow_where_they_are_told_to():
    assert 'stretchy="false"' in body("(x)") and 'stretchy="true"' in body(r"\left(\frac12\right)")
    assert body(r"\left.x\right|").count("<mo") == 1
    assert body(r"\left[x \,\middle|\, y\right]").count('stretchy="true"') == 3
    assert 'minsize="1.8em"' in body(r"\Big|_{t=0}")


def test_in_a_line_and_on_a_line_of_its_own():
    assert 'display="block"' in mathml("x") and "display" not in mathml("x", display=False)
    assert pieces(r"a,\quad {b \quad c} \qquad d") == ["a,", r"{b \quad c}", "d"]


@pytest.mark.parametrize(
    "tex, message",
    [
        (r"a + \foo x", r"\\foo is not known"),
        ("{x", "} was expected, the end came"),
        ("x}", "the end was expected, } came"),
        (r"\left( x", r"\\right was expected"),
        (r"x \right)", r"the end was expected, \\right came"),
        (r"\left a x\right)", "a is no delimiter"),
        ("x^2^3", r"a second \^"),
        ("x_1_2", "a second _"),
        (r"\not x", "applies to a relation"),
        (r"\frac1", "the equation ends"),
        ("x_", "the equation ends"),
        ("x_^2", r"\^ where a symbol"),
        (r"\( x", r"\\\( is not known"),
        (r"\text x", "a { was expected"),
        (r"\text{a{b}}", "plain text"),
        ("a & b", "& is not known"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(tex, message):
    with pytest.raises(ValueError, match=message) as caught:
        mathml(tex)
    assert repr(tex) in str(caught.value)
