r"""TeX equations as MathML: the subset of TeX that the steps of the derivation are written in.

A page then shows its equations without scripts, fonts or network, and a screen reader can read them. Letters become `mi`,
numbers `mn`, operators `mo` with the spacing TeX would give them; the TeX stays beside it as an annotation, to be copied.
"""

import re
import unicodedata
from html import escape
from typing import NamedTuple

# ------------------------------------------------------------------------------- what each command means

GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε", "zeta": "ζ", "eta": "η", "theta": "θ",
    "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "varsigma": "ς", "tau": "τ",
    "upsilon": "υ", "phi": "ϕ", "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω",
    "Gamma": "Γ", "Delta": "Δ", "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Phi": "Φ", "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
LETTERS = GREEK | {
    "infty": "∞",
    "ell": "ℓ",
    "top": "⊤",
    "dagger": "†",
    "emptyset": "∅",
    "prime": "′",
    "ldots": "…",
    "dots": "…",
    "cdots": "⋯",
}
RELATIONS = {
    "=": "=", "<": "<", ">": ">", ":": ":", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠", "ll": "≪", "gg": "≫",
    "approx": "≈", "sim": "∼", "propto": "∝", "equiv": "≡", "in": "∈", "ni": "∋", "subset": "⊂", "mid": "∣", "perp": "⊥",
    "to": "→", "rightarrow": "→", "leftarrow": "←", "mapsto": "↦", "Rightarrow": "⇒", "implies": "⟹", "Leftrightarrow": "⇔", "iff": "⟺",
}  # fmt: skip
BINARY = {
    "+": "+", "-": "−", "*": "∗", "cdot": "⋅", "times": "×", "pm": "±", "mp": "∓", "circ": "∘", "star": "⋆", "otimes": "⊗", "oplus": "⊕",
    "cup": "∪", "cap": "∩", "setminus": "∖",
}  # fmt: skip
PREFIX = {"nabla": "∇", "partial": "∂", "forall": "∀", "exists": "∃"}
INTEGRALS = {"int": "∫", "iint": "∬", "iiint": "∭", "oint": "∮"}  # limits beside them
SUMS = {"sum": "∑", "prod": "∏"}  # limits below and above, where there is room
FUNCTIONS = {"log", "ln", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "det", "dim", "arg", "deg", "ker"}
LIMITS = {"min", "max", "inf", "sup", "lim", "argmin", "argmax", "Pr"}  # functions with their limits below
OPEN = {"(": "(", "[": "[", r"\{": "{", r"\langle": "⟨", r"\lfloor": "⌊", r"\lceil": "⌈"}
CLOSE = {")": ")", "]": "]", r"\}": "}", r"\rangle": "⟩", r"\rfloor": "⌋", r"\rceil": "⌉"}
BARS = {"|": "|", r"\|": "‖", r"\lvert": "|", r"\rvert": "|", r"\lVert": "‖", r"\rVert": "‖"}
DELIMITERS = OPEN | CLOSE | BARS
SPACES = {",": 3, ":": 4, ">": 4, ";": 5, "!": -3, " ": 4, "quad": 18, "qquad": 36}  # in eighteenths of an em
ACCENTS = {
    "hat": "^",
    "widehat": "^",
    "bar": "¯",
    "overline": "¯",
    "dot": "˙",
    "ddot": "¨",
    "tilde": "~",
    "widetilde": "~",
    "vec": "→",
}
SIZES = {"big": 1.2, "Big": 1.8, "bigg": 2.4, "Bigg": 3.0}  # in em; bigl, bigr and bigm are big
STYLES = {"displaystyle": "true", "textstyle": "false"}
ALPHABETS = {"mathbb": "DOUBLE-STRUCK", "mathcal": "SCRIPT", "mathbf": "BOLD"}
REST_OF_NUMBER = re.compile(r"^\d*(?:\.\d+)?")
NO_BREAK = "\u00a0"
TOKEN = re.compile(r"\\(?:[A-Za-z]+|.)|\s+|.", re.S)


class Atom(NamedTuple):
    """A piece of a row: what TeX calls its class (for spacing, and for where limits go), and its MathML."""

    kind: str
    xml: str


def mathml(tex, *, display=True):
    r"""MathML of an equation.

    Parameters
    ----------
    tex : str
        Without dollar signs.
    display : bool
        On a line of its own, with large integrals and limits below; else within a line of text.

    Returns
    -------
    str
        One ``<math>`` element.

    Raises
    ------
    ValueError
        For a command it does not know, or braces and delimiters that do not pair.

    >>> mathml("x^2", display=False)
    '<math><semantics><msup><mi>x</mi><mn>2</mn></msup><annotation encoding="application/x-tex">x^2</annotation></semantics></math>'
    """
    reader = _Reader(tex)
    body = reader.row(None)
    block = ' display="block"' if display else ""
    annotation = f'<annotation encoding="application/x-tex">{escape(tex, quote=False)}</annotation>'
    return f"<math{block}><semantics>{body}{annotation}</semantics></math>"


def pieces(tex):
    r"""An equation cut at each ``\quad`` outside of braces: a narrow page sets the pieces one beneath the other."""
    out, depth = [""], 0
    for token in TOKEN.findall(tex):
        depth += {"{": 1, "}": -1, r"\left": 1, r"\right": -1}.get(token, 0)
        if depth == 0 and token in (r"\quad", r"\qquad"):
            out.append("")
        else:
            out[-1] += token
    return [piece.strip() for piece in out if piece.strip()]


# ------------------------------------------------------------------------------- elements


def _mo(text, **attributes):
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<mo{written}>{escape(text, quote=False)}</mo>"


def _mrow(xml):
    return f"<mrow>{xml}</mrow>"


def _space(eighteenths):
    return f'<mspace width="{eighteenths / 18:.4f}em"/>'


def _join(atoms):
    """The atoms of a row as one element: a minus is a sign or a difference, and log p has a thin space where log(p) has none."""
    out: list[str] = []
    before = "open"  # the class of the atom before, spaces apart
    spaced = True
    for kind, xml in atoms:
        if kind == "space":
            out.append(xml)
            spaced = True
            continue
        if kind == "binary" and before not in ("letter", "close"):
            kind, xml = "open", xml.replace("<mo>", '<mo form="prefix">', 1)
        pair = (before, kind)
        if not spaced and pair in (
            ("function", "letter"),
            ("function", "function"),
            ("letter", "function"),
            ("close", "function"),
        ):
            out.append(_space(3))
        out.append(xml)
        before, spaced = kind, False
    return out[0] if len(out) == 1 else _mrow("".join(out))


def _symbols():
    """token -> Atom for every symbol that takes no argument."""
    zero = {"lspace": 0, "rspace": 0}
    upright = lambda name: ' mathvariant="normal"' if name in ("infty", "top", "dagger") or name[0].isupper() else ""
    table = {
        "/": Atom("letter", _mo("/", **zero)),
        ".": Atom("letter", _mo(".", **zero)),
        "!": Atom("letter", _mo("!", **zero)),
    }
    table |= {name: Atom("letter", f"<mi{upright(name)}>{c}</mi>") for name, c in LETTERS.items()}
    table |= {name: Atom("letter", _mo(c, form="prefix", lspace="0.05em", rspace=0)) for name, c in PREFIX.items()}
    table |= {name: Atom("relation", _mo(c)) for name, c in RELATIONS.items()}
    table |= {name: Atom("binary", _mo(c)) for name, c in BINARY.items()}
    table |= {name: Atom("operator", _mo(c)) for name, c in INTEGRALS.items()}
    table |= {name: Atom("sum", _mo(c, movablelimits="true")) for name, c in SUMS.items()}
    table |= {name: Atom("limits", _mo(name, form="prefix", movablelimits="true", **zero)) for name in LIMITS}
    table |= {name: Atom("function", f"<mi>{name}</mi>") for name in FUNCTIONS}
    table = {f"\\{name}" if name.isalpha() else name: atom for name, atom in table.items()}
    table |= {token: Atom("open", _mo(c, stretchy="false")) for token, c in OPEN.items()}
    table |= {token: Atom("close", _mo(c, stretchy="false")) for token, c in CLOSE.items()}
    table |= {token: Atom("letter", _mo(c, stretchy="false", **zero)) for token, c in BARS.items()}
    table |= {token: Atom("comma", _mo(token)) for token in (",", ";")}
    return table | {f"\\{name}": Atom("space", _space(width)) for name, width in SPACES.items()}


SYMBOLS = _symbols()

# ------------------------------------------------------------------------------- the reader


class _Reader:
    """Reads tokens from left to right; every method leaves the position behind what it has read."""

    def __init__(self, tex):
        self.tex, self.tokens, self.at = tex, TOKEN.findall(tex), 0

    def fail(self, what):
        before = "".join(self.tokens[: self.at])
        return ValueError(f"mathml: {what}, after {before[-30:]!r} in {self.tex!r}.")

    def peek(self, skip=True):
        while skip and self.at < len(self.tokens) and self.tokens[self.at].isspace():
            self.at += 1
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def next(self):
        token = self.peek()
        if token is None:
            raise self.fail("the equation ends where something was expected")
        self.at += 1
        return token

    def row(self, closing):
        """Everything up to the token `closing`, which is read too, as one element."""
        atoms = []
        while (token := self.peek()) != closing:
            if token is None or token in ("}", r"\right"):
                raise self.fail(f"{closing or 'the end'} was expected, {token or 'the end'} came")
            if token.removeprefix("\\") in STYLES:
                style = STYLES[self.next()[1:]]
                atoms.append(Atom("letter", f'<mstyle displaystyle="{style}">{self.row(closing)}</mstyle>'))
                return _join(atoms)
            atoms.append(self.scripted())
        if closing is not None:
            self.next()
        return _join(atoms)

    def scripted(self):
        """One atom with its subscript, superscript and primes."""
        base = Atom("letter", "<mrow></mrow>") if self.peek() in ("^", "_", "'") else self.atom()
        sub, sup, primes = None, None, ""
        while (token := self.peek()) in ("^", "_", "'"):
            self.next()
            if token == "'":
                primes += "′"
            elif (token == "^" and sup) or (token == "_" and sub):
                raise self.fail(f"a second {token} on one symbol: braces say which is meant")
            elif token == "^":
                sup = self.argument()
            else:
                sub = self.argument()
        if primes:
            mark = _mo({2: "″", 3: "‴"}.get(len(primes), primes))
            sup = mark if sup is None else _mrow(mark + sup)
        if sub is None and sup is None:
            return base._replace(kind="function") if base.kind == "limits" else base
        if base.kind in ("limits", "sum"):
            names, kind = ("munder", "mover", "munderover"), "function" if base.kind == "limits" else "operator"
        else:
            names, kind = ("msub", "msup", "msubsup"), base.kind
        name = names[2] if sub and sup else names[0] if sub else names[1]
        return Atom(kind, f"<{name}>{base.xml}{sub or ''}{sup or ''}</{name}>")

    def argument(self):
        """What a command or a script applies to: a group in braces, or the next symbol alone."""
        if self.peek() == "{":
            self.next()
            return self.row("}")
        token = self.peek()
        if token is not None and token in "^_'}":
            raise self.fail(f"{token} where a symbol or a group was expected")
        return self.atom(digits=0).xml

    def words(self):
        """The text between braces, as it stands."""
        if self.next() != "{":
            raise self.fail("a { was expected")
        text = ""
        while (token := self.peek(skip=False)) != "}":
            if token is None or token == "{":
                raise self.fail("plain text up to a } was expected")
            text += token
            self.at += 1
        self.at += 1
        return text

    def atom(self, digits=40):
        """The next number, symbol, group or command with its arguments; a script, like \\frac, takes one digit of a number."""
        token = self.next()
        if token.isdigit():
            more = REST_OF_NUMBER.findall("".join(self.tokens[self.at : self.at + digits]))[0]
            self.at += len(more)
            return Atom("letter", f"<mn>{token}{more}</mn>")
        if token == "{":
            return Atom("letter", self.row("}"))
        if token.isalpha():
            return Atom("letter", f"<mi>{token}</mi>")
        if token in SYMBOLS:
            return SYMBOLS[token]
        if token[1:] in ALPHABETS:
            return Atom("letter", f"<mi>{''.join(_letter(ALPHABETS[token[1:]], c) for c in self.words())}</mi>")
        if token[1:] in ACCENTS:
            mark = _mo(ACCENTS[token[1:]], stretchy="true" if token[1:5] in ("wide", "over") else "false")
            return Atom("letter", f'<mover accent="true">{self.argument()}{mark}</mover>')
        if token[1:].rstrip("lrm") in SIZES:
            size = f"{SIZES[token[1:].rstrip('lrm')]}em"
            kind = {"l": "open", "r": "close"}.get(token[-1], "letter")
            return Atom(kind, self.delimiter(minsize=size, maxsize=size))
        if token in COMMANDS:
            return COMMANDS[token](self)
        raise self.fail(f"{token} is not known; add it to the tables of mathml.py, or write it another way")

    def fraction(self):
        """Two arguments, in the size of their surroundings."""
        return Atom("letter", f"<mfrac>{self.argument()}{self.argument()}</mfrac>")

    def small_fraction(self):
        """As within a line of text."""
        return Atom("letter", f'<mstyle displaystyle="false">{self.fraction().xml}</mstyle>')

    def root(self):
        """A square root, or, with an index in brackets, another one."""
        if self.peek() != "[":
            return Atom("letter", f"<msqrt>{self.argument()}</msqrt>")
        self.next()
        index = self.row("]")
        return Atom("letter", f"<mroot>{self.argument()}{index}</mroot>")

    def text(self):
        """Words, with the spaces at their ends, which HTML would drop."""
        return Atom("letter", f"<mtext>{escape(self.words(), quote=False).replace(' ', NO_BREAK)}</mtext>")

    def upright(self):
        """A name of several letters that is one symbol."""
        return Atom("letter", f'<mi mathvariant="normal">{escape(self.words(), quote=False)}</mi>')

    def operator(self):
        """The same, spaced like log."""
        return Atom("function", self.upright().xml)

    def brace(self):
        """A brace below its argument; the subscript goes below the brace."""
        return Atom("sum", f"<munder>{self.argument()}{_mo('⏟')}</munder>")

    def negated(self):
        """The relation that follows, struck out."""
        relation = self.atom()
        symbol = re.sub(r"<.*?>", "", relation.xml)
        if relation.kind != "relation":
            raise self.fail(r"\not applies to a relation")
        return Atom("relation", _mo(unicodedata.normalize("NFC", symbol + "\u0338")))

    def fenced(self):
        """What stands between delimiters that grow with it."""
        left = self.delimiter()
        inside = self.row(r"\right")
        return Atom("letter", _mrow(left + inside + self.delimiter()))

    def bar(self):
        """A delimiter between two others that grows with them."""
        return Atom("relation", self.delimiter())

    def delimiter(self, **size):
        """A delimiter that grows; nothing for a point."""
        token = self.next()
        if token == ".":
            return ""
        if token not in DELIMITERS:
            raise self.fail(f"{token} is no delimiter; expected a bracket, a bar or a point")
        return _mo(DELIMITERS[token], stretchy="true", lspace=0, rspace=0, **size)


COMMANDS = {
    r"\frac": _Reader.fraction,
    r"\tfrac": _Reader.small_fraction,
    r"\sqrt": _Reader.root,
    r"\text": _Reader.text,
    r"\mathrm": _Reader.upright,
    r"\operatorname": _Reader.operator,
    r"\underbrace": _Reader.brace,
    r"\not": _Reader.negated,
    r"\left": _Reader.fenced,
    r"\middle": _Reader.bar,
}


def _letter(alphabet, c):
    """A letter of one of Unicode's mathematical alphabets; a few of them had their place before the others."""
    for name in (f"MATHEMATICAL {alphabet} CAPITAL {c}", f"{alphabet} CAPITAL {c}"):
        try:
            return unicodedata.lookup(name)
        except KeyError:
            pass
    return c
