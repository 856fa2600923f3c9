"""Recognising a number: 0.125 is 1/8, which is 1/n where there are eight points."""

import functools
import itertools
import math
from fractions import Fraction

import numpy as np

PLAIN = {1.0: "1", 2.0: "2", 0.5: "1/2", 4.0: "4", 0.25: "1/4", 3.0: "3", 1 / 3: "1/3", 8.0: "8", 0.125: "1/8"}
PLAINNESS = 3  # cost of a plain number: beside "1/n" (2) it is listed, and "2 d/n^2" (7) is not
NEXT = 1  # readings that cost more than this beyond the simplest are far-fetched beside it
IRRATIONAL = {
    math.sqrt(2): "sqrt(2)",
    math.sqrt(0.5): "1/sqrt(2)",
    math.pi: "pi",
    2 * math.pi: "2 pi",
    math.sqrt(2 * math.pi): "sqrt(2 pi)",
    1 / math.sqrt(2 * math.pi): "1/sqrt(2 pi)",
    math.log(2): "log 2",
    1 / math.log(2): "1/log 2",
    math.log(10): "log 10",
}


def close(a, b, rtol):
    """Whether two numbers agree to rtol of the larger."""
    return abs(a - b) <= rtol * max(abs(a), abs(b))


def said(c, rtol=1e-9):
    """A number as one would say it: "1/2", "-1", "sqrt(2)", or its digits."""
    sign, size = ("-" if c < 0 else ""), abs(c)
    for value, text in (PLAIN | IRRATIONAL).items():
        if close(size, value, rtol):
            return sign + text
    if rtol < 1e-5 and size < 1e6:
        fraction = Fraction(size).limit_denominator(64)
        if fraction and close(float(fraction), size, rtol):
            return f"{sign}{fraction}"
    digits = max(2, min(12, round(-math.log10(rtol))))
    return f"{c:.{digits}g}"


def power(name, exponent):
    """ "sigma^2", "1/d", "sqrt(d)" ..."""
    root = abs(exponent) == 0.5
    size = f"sqrt({name})" if root else name if abs(exponent) == 1 else f"{name}^{abs(exponent):g}"
    return size if exponent > 0 else f"1/{size}"


def product(c, exponents, rtol=1e-9):
    """c times powers in words: "2/d", "sigma^4", "-1/n"."""
    above = [power(name, e) for name, e in exponents.items() if e > 0]
    below = [power(name, -e) for name, e in exponents.items() if e < 0]
    number = said(c, rtol)
    if not above and not below:
        return number
    sign = "-" if number.startswith("-") else ""
    top = [t for t in [number.removeprefix("-")] if t != "1"] + above
    bottom = below
    if top and top[0].startswith("1/") and "(" not in top[0][2:3]:
        bottom, top = [top[0][2:]] + below, top[1:]
    text = " ".join(top) or "1"
    if bottom:
        text += "/" + (bottom[0] if len(bottom) == 1 else f"({' '.join(bottom)})")
    return sign + text


def readings(c, known, rtol=1e-9):
    """All simple readings of a number as a power of known quantities, simplest first: ["1/n", "1/d"] when n = d.

    Parameters
    ----------
    c : float
    known : dict, name -> value, such as {"n": 8, "d": 3}
    rtol : float
    """
    found = []
    if any(close(abs(c), value, rtol) for value in PLAIN):  # 1/2 is no d/n of six points in three dimensions
        found.append((PLAINNESS, said(c, rtol)))
    names = list(known)
    for exponents in itertools.product((0, 1, -1, 2, -2, 0.5, -0.5), repeat=len(names)):
        if sum(map(bool, exponents)) > 2 or any(
            e and known[n] in (0, 1) for n, e in zip(names, exponents, strict=True)
        ):
            continue
        rest = c / math.prod(known[n] ** e for n, e in zip(names, exponents, strict=True))
        for value in (1.0, 2.0, 0.5):
            if close(abs(rest), value, rtol):
                powers = {n: e for n, e in zip(names, exponents, strict=True) if e}
                cost = 2 * sum(abs(e) + (abs(e) == 0.5) for e in exponents) + (value != 1) + (rest < 0)
                found.append((cost, product(math.copysign(value, rest), powers)))
    least = min((cost for cost, _ in found), default=0)
    return list(dict.fromkeys(text for cost, text in sorted(found) if cost <= least + NEXT))


@functools.cache
def _exponents(choices):
    """All combinations of exponents (C, names)."""
    return np.array(list(itertools.product(*choices)), float).reshape(-1, len(choices))


def law(values, settings, rtol=1e-8, odd=()):
    """(c, {name: exponent}) with values[g] = c prod settings[g][name]^exponent for all g, simplest first; None if there is none.

    Parameters
    ----------
    values : sequence of floats, all of one sign
    settings : sequence of dicts, name -> positive value, one for each value
    rtol : float
    odd : names whose exponents may be halves
    """
    names = [name for name in settings[0] if len({s[name] for s in settings}) > 1]
    choices = [(0, 1, -1, 2, -2, 4, -4, 3, -3) + ((0.5, -0.5) if name in odd else ()) for name in names]
    values = np.asarray(values, float)
    if np.any(values == 0) or np.any(np.sign(values) != np.sign(values[0])):
        return None
    exponents = _exponents(tuple(choices))
    sizes = np.log(np.array([[s[name] for name in names] for s in settings], float).reshape(len(settings), -1))
    logs = np.log(np.abs(values))
    for k in range(
        1, len(logs)
    ):  # log c = logs - exponents . sizes is the same in all settings; few choices survive the second
        exponents = exponents[np.abs(logs[k] - logs[0] - exponents @ (sizes[k] - sizes[0])) <= rtol]
        if len(exponents) == 0:
            return None
    best = exponents[np.argmin(np.abs(exponents).sum(1) + 0.1 * (exponents != 0).sum(1))]
    c = float(np.sign(values[0]) * np.exp(logs[0] - best @ sizes[0]))
    return c, {name: float(e) for name, e in zip(names, best, strict=True) if e}
