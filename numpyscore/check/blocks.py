"""What is wrong with a flat gradient, block by block: found from the numbers alone, without being told where weights begin and end.

A transposed matrix, two blocks in each other's place and a block off by a factor are statements about stretches of the vector; each is tried
wherever the gradient first goes wrong, and counts only if it explains everything.
"""

from typing import NamedTuple

import numpy as np

from .numbers import close, said

MOST = 8  # blocks in an explanation


class Blocks(NamedTuple):
    """The reference, the user's gradient and the tolerance of their difference, each (p,)."""

    reference: np.ndarray
    yours: np.ndarray
    allowed: np.ndarray

    def same(self, here, there=None):
        """Whether yours at the indices `here` is the reference at `there`."""
        there = here if there is None else there
        return bool(
            np.all(np.abs(self.yours[here] - self.reference[there]) <= self.allowed[here] + self.allowed[there])
        )

    def first_wrong(self, start):
        """The first index from `start` on at which the gradient is wrong; None if it is right to the end."""
        wrong = np.flatnonzero(np.abs(self.yours[start:] - self.reference[start:]) > 2 * self.allowed[start:])
        return int(wrong[0]) + start if len(wrong) else None


def explained(blocks):
    """(pattern, diagnosis) of a gradient that is wrong block by block, or None."""
    for rule in (swapped, transposed, scaled):
        found = rule(blocks)
        if found is not None:
            return found
    return None


def transposed(blocks):
    """Matrices that are flattened the other way round: all of the wrong stretches, one after the other."""
    found: list[tuple] = []
    start = 0
    while (wrong := blocks.first_wrong(start)) is not None:
        block = next(_matrices(blocks, start, wrong), None)
        if block is None or len(found) == MOST:
            return None
        found.append(block)
        start = block[0] + block[1] * block[2]
    if not found:
        return None
    places = "; ".join(f"theta[{s}:{s + a * b}], a matrix ({a}, {b})" for s, a, b in found)
    _, a, b = found[0]
    turned = f"is flattened as ({b}, {a})" if len(found) == 1 else "are flattened the other way round, columns as rows"
    text = f"transposed block{'s' * (len(found) > 1)}: the gradient of {places}, {turned}"
    return "the right numbers in another order", text


def _matrices(blocks, start, wrong):
    """(first index, rows, columns) of matrices that cover the wrong index and whose transpose the gradient holds, small ones first."""
    p = len(blocks.yours)
    for size in range(4, p + 1):
        for rows in range(2, size // 2 + 1):
            if size % rows:
                continue
            s = wrong - 1  # the first entry of a matrix stays where it is
            if s < start or s + size > p:
                continue
            here = np.arange(s, s + size)
            if blocks.same(here, here.reshape(rows, size // rows).T.ravel()):
                yield s, rows, size // rows


def swapped(blocks):
    """Two stretches in each other's place, of the same length or side by side."""
    a = blocks.first_wrong(0)
    if a is None:
        return None
    wrong = np.flatnonzero(np.abs(blocks.yours - blocks.reference) > 2 * blocks.allowed)
    end = int(wrong[-1]) + 1
    right = np.arange(len(blocks.yours))
    for middle in range(a + 1, end):  # theta[a:middle] and theta[middle:end], side by side
        order = right.copy()
        order[a:end] = np.r_[middle:end, a:middle]
        if blocks.same(right, order):
            first, second = f"theta[{a}:{middle}]", f"theta[{middle}:{end}]"
            return _swap(first, second)
    for size in range(1, (end - a) // 2 + 1):  # of the same length, with others between them
        order = right.copy()
        order[a : a + size], order[end - size : end] = right[end - size : end], right[a : a + size]
        if size > 1 and blocks.same(right, order):
            return _swap(f"theta[{a}:{a + size}]", f"theta[{end - size}:{end}]")
    return None


def _swap(first, second):
    return (
        "the right numbers in another order",
        f"swapped blocks: the gradients of {first} and {second} stand in each other's place",
    )


def scaled(blocks):
    """Stretches with a factor each."""
    found, start, p = [], 0, len(blocks.yours)
    while start < p:
        end, c = _stretch(blocks, start)
        found.append((start, end, c))
        start = end
        if len(found) > MOST:
            return None
    off = [(s, e, c) for s, e, c in found if not close(c, 1, 1e-6)]
    if not off or len(found) > max(2, p // 3) or any(_told(blocks, s, e) < 2 for s, e, _ in off):
        return None
    what = {0.0: "zero", -1.0: "minus the reference"}
    words = [f"theta[{s}:{e}] is {what.get(round(c, 9), f'{said(c, 1e-6)} times the reference')}" for s, e, c in off]
    rest = "; the rest is right" if len(off) < len(found) else ""
    return (
        f"{len(found)} stretches with a factor each",
        f"scale of blocks: the gradient of {', that of '.join(words)}{rest}",
    )


def _stretch(blocks, start):
    """How far one factor goes, and the factor."""
    ref, got, allowed = blocks.reference[start:], blocks.yours[start:], blocks.allowed[start:]
    top, size = np.cumsum(ref * got), np.cumsum(ref * ref)
    end, c = 1, 1.0
    for n in range(1, len(ref) + 1):
        factor = top[n - 1] / size[n - 1] if np.any(np.abs(ref[:n]) > 2 * allowed[:n]) else 1.0
        if np.any(np.abs(got[:n] - factor * ref[:n]) > 2 * (1 + abs(factor)) * allowed[:n]):
            break
        end, c = n, factor
    return start + end, float(c)


def _told(blocks, start, end):
    """How many entries of a stretch are large enough to tell its factor."""
    return int(np.sum(np.abs(blocks.reference[start:end]) > 1e3 * blocks.allowed[start:end]))
