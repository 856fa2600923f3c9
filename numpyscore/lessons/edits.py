"""Every formula that is one edit away from a solution: a sign, an operator, a power, a constant, a function, an axis, a name.

A student's wrong answer that equals one of them on generic inputs is named by that edit: what stands where what belongs.
"""

import ast
import copy
from collections.abc import Iterator

FUNCTIONS = {
    "sum": ("mean", "prod", "max"), "mean": ("sum", "median", "max"), "exp": ("log", "square"), "log": ("log10", "log2"),
    "tanh": ("sin", "cosh", "arctan"), "sqrt": ("square", "cbrt"), "minimum": ("maximum", "add"),
}  # fmt: skip
OPERATORS = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add, ast.Pow),
    ast.Div: (ast.Mult, ast.Pow),
}


def edits(code, names) -> Iterator[tuple[str, str, str]]:
    """(code, what stands there, what belongs there) of each edit of `code`, an expression or a function's body.

    Parameters
    ----------
    code : str
    names : sequence of str
        The arguments, of which one may have been taken for another.
    """
    tree = ast.parse(code)
    targets = {id(t) for node in ast.walk(tree) if isinstance(node, ast.Assign) for t in node.targets}
    nodes = [*ast.walk(tree)]
    for parent in nodes:
        for field, value in ast.iter_fields(parent):
            for k, node in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(node, ast.expr) or id(node) in targets or isinstance(node, ast.Attribute | ast.Slice):
                    continue
                if _is_function(node, nodes):
                    continue
                for new in _replacements(node, names):
                    _put(parent, field, k, new)
                    yield ast.unparse(tree), _shown(new), _shown(node)
                _put(parent, field, k, node)


def _put(parent, field, k, new):
    """Another child in the place of one."""
    if isinstance(getattr(parent, field), list):
        getattr(parent, field)[k] = new
    else:
        setattr(parent, field, new)


def _is_function(node, nodes):
    """Whether a node is what is called, or the module np."""
    return (isinstance(node, ast.Name) and node.id == "np") or any(
        isinstance(n, ast.Call) and n.func is node for n in nodes
    )


def _replacements(node, names):
    """What may stand in place of an expression."""
    text = ast.unparse(node)
    forms = [f"-({text})", f"2 * ({text})", f"({text}) / 2"]
    match node:
        case ast.Constant(value=int() | float() as value):
            return [_parse(str(v)) for v in {2 * value, value + 1, value - 1, -value, value / 2, 0, 1} - {value}]
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return [inner]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            a, n = ast.unparse(left), ast.unparse(right)
            forms += [a, f"np.abs({a})", f"({a}) ** 3", f"({a}) ** 4", f"np.sqrt(np.abs({a}))"]
            if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub):
                sign = "+" if isinstance(left.op, ast.Add) else "-"
                first, second = ast.unparse(left.left), ast.unparse(left.right)
                forms += [f"({first}) ** {n} {sign} ({second}) ** {n}", f"({first}) ** {n} {sign} {second}"]
        case ast.BinOp(left=left, op=op, right=right):
            a, b = ast.unparse(left), ast.unparse(right)
            forms += [a, b, f"np.abs({text})", f"({text}) ** 2", f"1 / ({text})", f"({b}) - ({a})"]
            forms += [f"np.sqrt(np.abs({text}))", *_over_dimensions(text)]
            forms += [f"({text}) {sign} {name}" for name in names for sign in "*/"]
            forms += [ast.unparse(ast.BinOp(left=left, op=kind(), right=right)) for kind in OPERATORS.get(type(op), ())]
        case ast.Call(func=ast.Attribute(attr=name), args=args):
            for other in FUNCTIONS.get(name, ()):
                call = copy.deepcopy(node)
                call.func.attr = other  # type: ignore[attr-defined]
                forms.append(ast.unparse(call))
            forms += [ast.unparse(args[0])] if args else []
            forms += [f"({text}) ** 2", f"np.sqrt(np.abs({text}))", f"np.abs({text})", f"1 / ({text})"]
            rest = "".join(f", {ast.unparse(k)}" for k in node.keywords)
            if name in ("sum", "mean") and args and isinstance(args[0], ast.BinOp) and isinstance(args[0].op, ast.Pow):
                base, n = ast.unparse(args[0].left), ast.unparse(args[0].right)
                forms += [
                    f"np.{name}({base}{rest}) ** {n}",
                    f"np.{name}(np.abs({base}){rest})",
                    f"np.sqrt(np.{name}({text}))",
                ]
                forms += [f"np.sqrt({text})"]
            if any(k.arg == "axis" for k in node.keywords):
                forms += [text.replace("axis=1", "axis=0"), text.replace("axis=0", "axis=1")]
        case ast.Name(id=name):
            forms += [
                f"{name} ** 2",
                f"np.sqrt(np.abs({name}))",
                f"1 / {name}",
                f"np.abs({name})",
                f"({name} + 1)",
                f"({name} - 1)",
                *_over_dimensions(name),
            ]
            forms += [f"{name} * {other}" for other in names]
            forms += [f"np.mean({name}, axis=0)", f"np.mean({name})"] + [other for other in names if other != name]
            forms += [f"np.mean({other}, axis=0)" for other in names[:1]]
        case _:
            return []
    return [new for form in dict.fromkeys(forms) if form != text and (new := _parse(form)) is not None]


def _over_dimensions(text):
    """A row's sum or mean in place of its entries."""
    return [f"np.{f}({text}, axis=1, keepdims=True)" for f in ("sum", "mean")]


def _parse(text):
    return ast.parse(text, mode="eval").body


def _shown(node):
    """A piece of code, short enough for a sentence."""
    text = ast.unparse(node)
    return text if len(text) <= 60 else text[:57] + "..."
