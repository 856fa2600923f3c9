"""Matrix products in pieces: right, complete, and each piece small enough for one thread."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks_cases import (
    EPS,
)
from numpy.testing import assert_array_equal

from numpyscore.networks import parallel, products

SIZES = st.sampled_from([1, 2, 3, 7, 16, 31, 32, 48, 64, 97, 128, 130, 255, 512, 1024, 1300, 2050])


def exact(A, W):
    """The product and the bound k eps |A| |W| on the rounding error of any order of summation, plus its own."""
    A, W = A.astype(np.longdouble), W.astype(np.longdouble)
    return A @ W, 2 * A.shape[1] * EPS * (np.abs(A) @ np.abs(W))


def check_product(n, k, m, turn=False, seed=0):
    rng = np.random.default_rng(seed)
    A, W = rng.standard_normal((n, k)), rng.standard_normal((m, k)).T if turn else rng.standard_normal((k, m))
    few = rng.integers(0, n, 4) if n else np.empty(0, int)
    out = np.full((n, m), np.nan)
    assert products.product(A, W, out) is out
    for rows in (few, slice(max(0, n - 3), n)):
        want, bound = exact(A[rows], W)
        assert np.all(np.abs(out[rows] - want) <= bound)
    assert_array_equal(products.product(A, W), out)


def check_outer(n, i, j, seed=0):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((n, i)), rng.standard_normal((n, j))
    few = rng.integers(0, i, 4)
    want, bound = exact(A[:, few].T, B)
    for target, fresh, at in ((np.zeros((i, j)), True, 0), (np.ones((i, j)), False, 1)):
        products.add_outer(target, A, B, fresh)
        assert np.all(np.abs(target[few] - at - want) <= bound + EPS * (np.abs(want) + at))


@given(n=st.integers(0, 400), k=SIZES, m=SIZES, turn=st.booleans(), seed=st.integers(0, 99))
def test_products_in_pieces_are_products(n, k, m, turn, seed):
    check_product(n, k, m, turn, seed)


@given(n=st.integers(1, 2000), i=SIZES, j=SIZES, seed=st.integers(0, 99))
def test_outer_products_in_pieces_are_outer_products(n, i, j, seed):
    check_outer(n, i, j, seed)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2000, 300, 64), (700, 2500, 40)], ids=str)
def test_shared_products_are_products_on_any_number_of_cores(shape, monkeypatch):
    n, k, m = shape
    rng = np.random.default_rng(0)
    A, W, B = rng.standard_normal((n, k)), rng.standard_normal((k, m)), rng.standard_normal((n, m))
    found = []
    for several in (1, 2):
        monkeypatch.setattr(parallel, "cores", lambda: several)  # noqa: B023
        outer = np.full((k, m), np.nan)
        # of few samples each, one narrower than the target, and one that is a transposed matrix
        parts = [(A[: n // 2], B[: n // 2]), (A[n // 2 :], B[n // 2 :]), (A[:, : k // 2 + 1], B), (W.T, np.eye(m))]
        parallel.add_outers(outer, parts, fresh=True)
        found.append((parallel.shared_product(A, W), parallel.shared_gram(A), outer))
    (product, gram, outer), again = found
    for one, other in zip(found[0], again, strict=True):
        assert_array_equal(one, other)
    want, bound = exact(A[-4:], W)
    assert np.all(np.abs(product[-4:] - want) <= bound)
    want, bound = exact(A[:, -3:].T, A)
    assert np.all(np.abs(gram[-3:] - want) <= bound) and np.all(np.abs(gram[:, -3:] - want.T) <= bound.T)
    want, bound = exact(A.T[[0, -1]], B)
    want[0] *= 2  # the narrower one again
    assert np.all(np.abs(outer[[0, -1]] - want - W[[0, -1]]) <= 4 * bound + EPS * np.abs(W[[0, -1]]))


@pytest.mark.parametrize("check", [check_product, check_outer])
def test_control_a_lost_remainder_is_seen(check, monkeypatch):
    check(1000, 128, 64)
    right = products._stacks
    monkeypatch.setattr(products, "_stacks", lambda n, rows: right(n, rows)[:1])
    with pytest.raises(AssertionError):
        check(1000, 128, 64)


@pytest.mark.parametrize(
    "shape",
    [(4096, 128, 128), (1000, 64, 64), (300, 784, 128), (700, 2, 128), (512, 512, 512), (64, 3072, 128), (999, 128, 1)],
)
def test_every_piece_is_small_enough_for_one_thread(shape, monkeypatch):
    """What the pieces are for: OpenBLAS starts its threads above 2^18 multiplications."""
    n, k, m = shape
    A, W, B = np.ones((n, k)), np.ones((k, m)), np.ones((n, m))
    seen, matmul = [], np.matmul

    def watched(a, b, out=None):
        seen.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
        return matmul(a, b, out=out)

    monkeypatch.setattr(np, "matmul", watched)
    products.product(A, W)
    products.add_outer(np.zeros((k, m)), A, B)
    limit = products.VECTOR if m == 1 else products.PIECE
    assert seen
    assert max(seen) <= limit
