"""The arithmetic behind the reference vectors: published constants, differences at 80 digits, and the size of what is summed."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpyscore.networks.activations import ACTIVATIONS
from numpyscore.vectors import decimals
from numpyscore.vectors.decimals import DEFINITIONS, Jet, Number, column, context, derivatives, gradient

# standard tables
PI = Decimal("3.141592653589793238462643383279502884197169399375105820974944592307816406286208998628034825342117068")
AT_ONE = {
    "tanh": "0.7615941559557648881194582826047935904127685972579365515968105001219532445766384834589475216736767144",
    "sin": "0.8414709848078965066525023216302989996225630607983710656727517099919104043912396689486397435430526958",
    "erf": "0.8427007929497148693412206350826092592960669979663029",
}
POINTS = [Decimal(z) for z in ("0", "0.3", "-1.7", "4.25", "-9", "1e-9", "-30", "37.5")]


def test_published_constants():
    with context(120):
        assert abs(decimals.pi() - PI) < Decimal("1e-98")
        for name, value in AT_ONE.items():
            phi = derivatives(name, Decimal(1))[0]
            assert abs(phi - Decimal(value)) < Decimal(10) ** -(len(value) - 3), name


@pytest.mark.parametrize("name", DEFINITIONS)
def test_each_derivative_is_the_difference_of_the_one_before(name):
    """Central differences of step h = 1e-20 at 80 digits. Truncation: h^2/6 times the derivative two further up, which in the
    tail of gelu is 900 times the largest column, so 2e-38 of it; rounding 1e-60."""
    h = Decimal("1e-20")
    with context(80):
        for z in POINTS:
            up, down, here = derivatives(name, z + h), derivatives(name, z - h), derivatives(name, z)
            for k in range(3):
                difference = (up[k] - down[k]) / (2 * h)
                size = max(abs(a) for a in here)
                assert abs(difference - here[k + 1]) <= Decimal("1e-36") * size, (z, k)


def test_control_the_differences_notice_one_part_in_10_to_the_33(monkeypatch):
    right = decimals.derivatives
    wrong = lambda name, z: [a * (1 + k * Decimal("1e-33")) for k, a in enumerate(right(name, z))]
    monkeypatch.setitem(globals(), "derivatives", wrong)
    with pytest.raises(AssertionError):
        test_each_derivative_is_the_difference_of_the_one_before("tanh")


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_same_functions_as_the_activation_rows(name):
    """Two independent routes, hand-written rows against definitions: 8 eps in the tails, absolute at interior zeros."""
    z = np.array([-30.0, -9.0, -1.7, -1e-9, 0.0, 0.3, 4.25, 20.0, 37.5])
    rows = ACTIVATIONS[name](z, 3)
    with context(60):
        exact = np.array([[float(a) for a in derivatives(name, Decimal(v))] for v in z]).T
    size = np.maximum(np.abs(exact), np.where(np.abs(z) < 5, 1.0, 0.0))
    assert (np.abs(rows - exact) <= 8 * np.finfo(float).eps * size + 5e-324).all()


def test_tails_keep_all_digits():
    with context(50):
        for z in (Decimal(100), Decimal(-100)):
            assert abs(derivatives("tanh", z)[1] / (4 * (-2 * abs(z)).exp()) - 1) < Decimal("1e-45")
        assert abs(derivatives("softplus", Decimal(-100))[0] / Decimal(-100).exp() - 1) < Decimal("1e-40")
        # Phi(-z) = phi(z)/z (1 - 1/z^2 + 3/z^4 - ...): the first terms are good to 15/z^6
        z, bell = Decimal(30), (-Decimal(450)).exp() / (2 * decimals.pi()).sqrt()
        asymptotic = -bell * (1 - 1 / z**2 + 3 / z**4)
        assert abs(derivatives("gelu", -z)[0] / asymptotic - 1) < 20 / z**6


# ------------------------------------------------------------------------------- reverse accumulation and jets


def _function(x, y):
    """A function of two Numbers that uses every operation: x phi(x y) - 3 y + (x - y)^2 / 7."""
    z = x * y
    phi = derivatives("tanh", z.value)
    return x * column(z, phi, 0) - y * 3 + (x - y) * (x - y) * (1 / Decimal(7)) + column(z, phi, 1) * column(z, phi, 2)


def test_gradient_is_the_difference_quotient():
    h = Decimal("1e-25")
    with context(80):
        at = [Decimal("0.7"), Decimal("-1.1")]
        inputs = [Number(a) for a in at]
        exact = gradient(_function(*inputs), inputs)
        for k in range(2):
            moved = lambda s, k=k: _function(*[Number(a + s * h * (j == k)) for j, a in enumerate(at)]).value
            assert abs((moved(1) - moved(-1)) / (2 * h) - exact[k][0]) < Decimal("1e-45")


@given(st.lists(st.integers(-999, 999), min_size=3, max_size=3))
def test_sums_and_products_are_those_of_rational_numbers(v):
    """f = (a b - c)(a - b c) + a and its gradient, exact in integers; the size is f of absolute values with plus for minus."""
    inputs = [Number(Decimal(a)) for a in v]
    f = lambda a, b, c: (a * b - c) * (a - b * c) + a
    a, b, c = v
    exact = [b * (a - b * c) + (a * b - c) + 1, a * (a - b * c) - c * (a * b - c), -(a - b * c) - b * (a * b - c)]
    y = f(*inputs)
    p, q, r = map(abs, v)
    assert y.value == f(a, b, c) and y.size == (p * q + r) * (p + q * r) + p
    found = gradient(y, inputs)
    assert [bar for bar, _ in found] == exact and all(size >= abs(bar) for bar, size in found)


def test_a_number_that_y_does_not_depend_on_has_derivative_zero():
    x, y = Number(Decimal(2)), Number(Decimal(3))
    assert gradient(x * x, [x, y]) == [(4, 4), (0, 0)]


def test_size_is_the_sum_of_absolute_values():
    """f = a b - c + 2: the size |a||b| + |c| + 2, and that of its derivatives |b|, |a|, 1."""
    a, b, c = (Number(Decimal(v)) for v in (-2, 3, 5))
    f = a * b - c + 2
    assert (f.value, f.size) == (-9, 13)
    assert gradient(f, [a, b, c]) == [(3, 3), (-2, 2), (-1, 1)]
    zero = a - a
    assert zero.value == 0 and zero.size == 4  # what cancels is not forgotten


def test_jets_differentiate_twice():
    """g(x, y) = sin(x y) + x: gradient (y c + 1, x c), Hessian [[-y^2 s, c - x y s], [., -x^2 s]]."""
    with context(60):
        x, y = Decimal("0.4"), Decimal("-1.3")
        jets = [Jet.variable(Number(v), i, 2, 2) for i, v in enumerate((x, y))]
        g = (jets[0] * jets[1]).through("sin") + jets[0]
        s, c = derivatives("sin", x * y)[:2]
        values = [a.value for a in g.first] + [a.value for row in g.second for a in row]
        exact = [y * c + 1, x * c, -y * y * s, c - x * y * s, c - x * y * s, -x * x * s]
        assert max(abs(a - b) for a, b in zip(values, exact, strict=True)) < Decimal("1e-57")
    assert math.isclose(float(s), math.sin(-0.52))
