"""Plain-text mathematics in sentences, set as MathML: `1/2 E|s_0 - s|^2` of a docstring becomes what a reader of a page expects.

Docstrings are read in terminals too, so they are written in plain text. Here a sentence is cut into words, which stay, and runs of symbols,
numbers and signs, which are put into TeX and through `mathml`.
"""

import re
from html import escape

from .mathml import mathml

LETTERS = ["lambda", "sigma", "theta", "tau", "mu", "pi", "phi", "epsilon", "delta", "Gamma", "Phi"]
GREEK = {"eps": r"\epsilon"} | {name: rf"\{name}" for name in LETTERS}
NEVER_FIRST = (", ", "=", "<", ">", "/", "*", ")", "]")
FUNCTIONS = {
    "log": r"\log", "log10": r"\log_{10}", "exp": r"\exp", "grad": r"\nabla", "sum": r"\sum", "sqrt": r"\sqrt", "tr": r"\mathrm{tr}\,",
    "sign": r"\mathrm{sign}", "min": r"\min", "max": r"\max", "ln": r"\ln", "tanh": r"\tanh", "cosh": r"\cosh",
}  # fmt: skip
SIGNS = {"->": r"\to", "<=": r"\le", ">=": r"\ge", "+-": r"\pm", ".": r"\cdot", "*": "*", "−": "-"}
TOKEN = re.compile(
    r"""(?P<sign>->|<=|>=|\+-|\ \.\ (?=[A-Za-z(])|[-+*/=<>|()\[\]{}−]|,\ |(?<=[a-z])\.(?=[a-z](?![a-z])))
    |(?P<space>\ +)
    |(?P<word>`[^`]*`|[\w./-]+\.(?:csv|npz|py)\b|x(?=\ \d+\ columns)|[A-Za-z]+-[A-Za-z]{2,}[\w-]*|\d-d\b|[A-Za-z]+['’](?:s|t|ll|re)\b(?!_))
    |(?P<power>\d+(?:\.\d+)?e-?\d+)
    |(?P<number>\d+(?:\.\d+)?|\.\d+)
    |(?P<function>(?:log10|log|exp|grad|sum|sqrt|sign|min|max|ln|tanh|cosh)\b(?=\ ?[-\w|(])|tr\b(?=[\](\ ]))
    |(?P<symbol>(?:(?:lambda|sigma|theta|tau|mu|eps|epsilon|pi|phi|delta|Gamma|Phi)(?![A-Za-z])|d[swtxS](?![A-Za-z0-9])|dsigma(?![A-Za-z])|ab(?![A-Za-z])
        |[A-Za-z](?![A-Za-z])|[a-z]0(?![A-Za-z])|[A-Z]0(?![A-Za-z]))0?(?:_(?:\{[^}]*\}|[+-](?!\w)|[A-Za-z0-9]+)|~)*'{0,3}(?![a-z]))
    |(?P<script>\^(?:\{[^}]*\}|-?[A-Za-z0-9]+))
    |(?P<other>\w+|.)""",
    re.X | re.S,
)


def typeset(text):
    """A sentence or a paragraph as HTML: `names` as code, mathematics as MathML, the rest as it is."""
    tokens = [(m.lastgroup, m[0]) for m in TOKEN.finditer(" ".join(text.split()).replace("``", "`"))]
    out, k = [], 0
    while k < len(tokens):
        end = _run(tokens, k)
        if end > k:
            written = mathml(" ".join(_tex(tokens[k:end])), display=False)
            if end - k < 12 and end < len(tokens) and tokens[end][1] in ".,:;":  # no line begins with a full stop
                written, end = f'<span class="whole">{written}{tokens[end][1]}</span>', end + 1
            out.append(written)
            k = end
        else:
            kind, piece = tokens[k]
            code = kind == "word" and piece.startswith("`")
            out.append(f"<code>{escape(piece[1:-1])}</code>" if code else escape(piece, quote=False))
            k += 1
    return "".join(out)


# ------------------------------------------------------------------------------- what is mathematics


def _run(tokens, start):
    """Where the run of mathematics that begins at `start` ends; `start` itself if none does."""
    if tokens[start][0] in ("space", "word", "other", "script") or tokens[start][1] in NEVER_FIRST:
        return start
    end, best, depth = start, start, 0
    while end < len(tokens):
        kind, piece = tokens[end]
        if kind in ("word", "other") or (piece == ", " and not depth):
            break
        if kind == "space" and end + 1 < len(tokens) and _article(tokens, end + 1):
            break
        depth += (piece in ("(", "[", "{")) - (piece in (")", "]", "}"))
        if depth < 0:
            break
        end += 1
        may_end = kind not in ("space", "sign", "function") or piece in (")", "]", "}", "|")
        if may_end and not depth and _closed(tokens[start:end]):
            best = end
    return best if _means(tokens, start, best) else start


def _article(tokens, at):
    """Whether a letter is the word a, A or I: alone among words."""
    kind, piece = tokens[at]
    if kind != "symbol" or piece not in ("a", "A"):
        return False
    after = tokens[at + 1 : at + 3]
    if [k for k, _ in after[:1]] != ["space"] or after[1:] == [("other", "and")]:
        return False
    return after[-1][0] in ("word", "other", "function") or (piece == "A" and after[-1][0] == "symbol")


def _closed(run):
    """Whether bars come in pairs."""
    return sum(piece == "|" for _, piece in run) % 2 == 0


def _means(tokens, start, end):
    """Whether a run says something that words do not: a symbol, a power, a fraction, a negative number."""
    run = tokens[start:end]
    if not run or _article(tokens, start):
        return False
    pieces = [piece for kind, piece in run if kind != "space"]
    kinds = {kind for kind, _ in run}
    if "symbol" in kinds or "power" in kinds or "script" in kinds:
        return True
    if "function" in kinds:
        return len(pieces) > 1
    text = "".join(pieces)
    return bool(re.fullmatch(r"\d+/\d+|(?:[-−]|\+-)\d.*|\(.*, .*\)|\[-.*\]|sqrt.*", text))


# ------------------------------------------------------------------------------- and as TeX


def _tex(run):
    """The pieces of a run as TeX."""
    run = [(kind, piece) for kind, piece in run if kind != "space"]
    k = 0
    while k < len(run):
        kind, piece = run[k]
        if kind == "function" and piece == "sqrt":
            k, inner = _argument(run, k + 1)
            yield rf"\sqrt{{{' '.join(inner)}}}"
            continue
        fraction = "".join(p for _, p in run[k : k + 3])
        if re.fullmatch(r"\d/\d", fraction):
            yield rf"\tfrac{{{piece}}}{{{fraction[-1]}}}"
            k += 3
            continue
        yield _piece(kind, piece)
        k += 1


def _argument(run, k):
    """What stands under a root: a bracket, or one piece. Where it ends, and its TeX."""
    if k < len(run) and run[k][1] == "(":
        depth, end = 1, k + 1
        while depth:
            depth += {"(": 1, ")": -1}.get(run[end][1], 0)
            end += 1
        return end, [*_tex(run[k + 1 : end - 1])]
    return k + 1, [*_tex(run[k : k + 1])]


def _piece(kind, piece):
    """One piece as TeX."""
    match kind:
        case "power":
            mantissa, exponent = piece.split("e")
            return f"10^{{{exponent}}}" if mantissa == "1" else rf"{mantissa} \times 10^{{{exponent}}}"
        case "function":
            return FUNCTIONS[piece]
        case "script":
            inner = piece[1:].strip("{}")
            return f"^{{{' '.join(_tex(_tokens(inner)))}}}"
        case "symbol":
            return _symbol(piece)
        case "sign":
            return SIGNS.get(piece.strip(), piece.strip() + ("\\," if piece == ", " else ""))
    return piece


def _tokens(text):
    """The tokens of a piece of mathematics, without spaces."""
    return [(m.lastgroup, m[0]) for m in TOKEN.finditer(text) if m.lastgroup != "space"]


def _symbol(piece):
    """A letter with what hangs on it: index, tilde, primes."""
    ((name, index, tilde, primes),) = re.findall(r"^([A-Za-z]+)(0?(?:_\{?[+\w-]*\}?)?)(~?)('*)$", piece)
    base = GREEK.get(name) or (rf"d \{name[1:]}" if name[1:] in GREEK else " ".join(name))
    if tilde:
        base = rf"\tilde {base}"
    index = index.lstrip("_").strip("{}")
    index = GREEK.get(index, index)
    return base + (f"_{{{index}}}" if index else "") + primes
