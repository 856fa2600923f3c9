"""Every column of every row against decimals of 400 digits and more: phi by its definition, its derivatives by differences of phi."""

import decimal
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from numpyscore.networks import activations
from numpyscore.networks.activations import ACTIVATIONS, Activation, activation, register

SMOOTH = [row for row in ACTIVATIONS.values() if row.smooth]
ANALYTIC = [row for row in ACTIVATIONS.values() if row.analytic]
PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651"
)

each = pytest.mark.parametrize("row", SMOOTH, ids=lambda row: row.name)


# ---- the definitions, in decimals


def d_series(z, term):
    """Sum of a Taylor series whose next term is term(previous, k)."""
    total, t, k = Decimal(0), z, 0
    while t and abs(t) > abs(total) * Decimal(10) ** -decimal.getcontext().prec:
        total, k = total + t, k + 1
        t = term(t, k)
    return total


def d_erf(z):
    power = d_series(z, lambda t, k: -t * z * z * (2 * k - 1) / (k * (2 * k + 1)))
    return 2 / PI.sqrt() * power


def d_sigmoid(z):
    return 1 / (1 + (-z).exp())


DEFINITIONS = {
    "tanh": lambda z: 2 * d_sigmoid(2 * z) - 1,
    "sigmoid": d_sigmoid,
    "softplus": lambda z: (1 + z.exp()).ln(),
    "silu": lambda z: z * d_sigmoid(z),
    "sin": lambda z: d_series(z, lambda t, k: -t * z * z / (2 * k * (2 * k + 1))),
    "erf": d_erf,
    "gelu": lambda z: z * (1 + d_erf(z / Decimal(2).sqrt())) / 2,
}


def truth(name, z, digits=400):
    """phi and three derivatives at a float z, as floats, from central differences of the definition in decimals."""
    with decimal.localcontext() as context:
        context.prec = digits
        phi, z, h = DEFINITIONS[name], Decimal(float(z)), Decimal(10) ** (-digits // 5)
        f = {k: phi(z + k * h) for k in (-2, -1, 0, 1, 2)}
        ladder = (
            f[0],
            (f[1] - f[-1]) / (2 * h),
            (f[1] - 2 * f[0] + f[-1]) / h**2,
            (f[2] - 2 * f[1] + 2 * f[-1] - f[-2]) / (2 * h**3),
        )
        return [value if abs(value) > h else Decimal(0) for value in ladder] if z == 0 else ladder


def columns_error(row, z, exact):
    """Error of each column in eps: relative, but absolute near the zeros that it has inside (0.5 < |z| < 6)."""
    eps = float(np.finfo(z.dtype).eps)
    out = []
    for k, (got, want) in enumerate(zip(row(np.array([z]), 3), exact, strict=True)):
        size = abs(float(want))
        interior = k >= 1 and 0.5 < abs(float(z)) < 6 and size < 0.5
        scale = 0.5 if interior else max(size, float(np.finfo(z.dtype).tiny) / eps)  # below: gradual underflow
        with decimal.localcontext() as context:
            context.prec = 60
            out.append(float(abs(Decimal(float(got[0])) - want)) / scale / eps)
    return out


POINTS = [
    0.0,
    1e-300,
    -1e-300,
    1e-30,
    1e-8,
    -1e-8,
    1e-3,
    0.3,
    -0.7,
    1.2,
    -1.28,
    2.3,
    -3.1,
    4.5,
    -5.5,
    7.0,
    -8.1,
    12.0,
    -14.0,
]
FAR = [20.0, -20.0, 37.42994775023705, -37.42994775023705, 38.5, -38.5, 60.0, -60.0]


@each
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_columns_are_right_to_a_few_ulp_in_the_middle_and_in_both_tails(row, dtype):
    # A few elementary functions, each within 1 ulp (4 for float32 SIMD ones), and up to six products: 16 eps.
    bell = row.name in ("erf", "gelu")  # beyond 13 (9) their derivatives leave the range of the decimals' digits
    points = POINTS + ([] if bell else FAR)
    for z in points:
        z = dtype(z)
        # a third difference over h = 10^(-digits/5) loses three fifths of them; near 0 derivatives have the size of z, far out that of exp(-z^2)
        digits = 1000 if 0 < abs(float(z)) < 1e-20 else 600 if bell else 400
        exact = truth(row.name, z, digits)
        error = columns_error(row, z, exact)
        assert max(error) <= 16, (row.name, z, error, [float(v) for v in exact])


def test_the_figures_that_a_careless_formula_gets_wrong():
    assert activations.tanh(1e-300, 2)[2] == -2e-300
    assert activations.tanh(20.0, 1)[1] == pytest.approx(1.6993417021166355e-17, rel=4e-16, abs=0)
    assert activations.softplus(37.42994775023705, 2)[2] == pytest.approx(5.551115123125775e-17, rel=4e-16, abs=0)
    assert activations.gelu(-30.0)[0] == pytest.approx(-30.0 * 4.906713927148187e-198, rel=1e-14, abs=0)


@pytest.mark.parametrize("row", ACTIVATIONS.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.longdouble])
def test_no_overflow_and_no_warning_at_the_ends_of_the_range(row, dtype):
    if dtype is np.longdouble and not row.analytic:
        return
    big = np.finfo(dtype).max
    z = np.array([1e4, -1e4, 1e30, -1e30, big, -big, np.finfo(dtype).tiny, 0.0], dtype)
    for column in row(z, 3):  # the suite turns every overflow, division and invalid warning into an error
        assert np.isfinite(column).all() and column.dtype == dtype and column.shape == z.shape


@pytest.mark.parametrize("row", ANALYTIC, ids=lambda row: row.name)
@pytest.mark.parametrize("h", [np.longdouble(1e-30), np.longdouble(-1e-30)])
@given(z=st.floats(-300, 300))
@example(z=0.0)
def test_each_column_is_the_complex_step_of_the_one_before(row, h, z):
    column = row(np.array([z], np.longdouble), 3)
    moved = row(np.array([np.clongdouble(z) + 1j * h]), 3)
    for k in range(3):
        # 32 ulp of the larger of the column and what it is made of (interior zeros); tails are relative.
        size = np.maximum(np.abs(column[k + 1]), np.abs(column[k]) * (np.abs(z) < 8) * 0.5)
        size = np.maximum(size, np.finfo(np.longdouble).tiny)
        assert np.abs(moved[k].imag / h - column[k + 1]) <= 32 * np.finfo(np.longdouble).eps * size
        # and beside the step stands the column itself, tails too; where it is 0, h^2 times its curvature
        assert np.abs(moved[k].real - column[k]) <= 32 * np.finfo(np.longdouble).eps * np.abs(column[k]) + 8 * h * h


def test_the_ladder_rejects_a_third_derivative_wrong_by_one_part_in_a_billion():
    right = activations.tanh
    wrong = Activation("wrong", lambda z, order: tuple(c * (1 + 1e-9 * (k == 3)) for k, c in enumerate(right(z, 3))))
    assert max(columns_error(right, np.float64(0.3), truth("tanh", 0.3))) <= 16
    assert max(columns_error(wrong, np.float64(0.3), truth("tanh", 0.3))) > 1e5


@each
@given(z=st.lists(st.floats(-50, 50), min_size=1, max_size=5), order=st.integers(0, 3))
def test_fewer_columns_are_the_first_of_all_columns_and_z_is_left_alone(row, z, order):
    z = np.array(z)
    before = z.copy()
    some = row(z, order)
    assert len(some) == order + 1 and np.array_equal(z, before)
    assert all(np.array_equal(a, b) for a, b in zip(some, row(z, 3), strict=False))


def test_a_row_of_your_own_is_taken_and_a_taken_name_is_refused():
    cube = Activation("test cube", lambda z, order: (z**3, 3 * z**2, 6 * z, 6 + 0 * z)[: order + 1])
    assert activation("here", cube) is cube
    assert register(cube) is register(cube) is activation("here", "test cube")
    del ACTIVATIONS["test cube"]
    with pytest.raises(ValueError, match="'tanh' is taken"):
        register(Activation("tanh", cube.jet))
    with pytest.raises(TypeError, match="expected a numpyscore"):
        register("tanh")
    with pytest.raises(ValueError, match="activation is 'swish', expected one of tanh"):
        activation("EnergyMLP", "swish")
    with pytest.raises(ValueError, match="order is 4"):
        activations.tanh(0.0, 4)


def test_an_activation_is_smooth_and_analytic_unless_it_says_otherwise():
    cube = Activation("test cube", lambda z, order: (z**3, 3 * z**2, 6 * z, 6 + 0 * z)[: order + 1])
    assert cube.smooth and cube.analytic
    assert [(phi.smooth, phi.analytic) for phi in ACTIVATIONS.values()] == [(True, True)] * 5 + [(True, False)] * 2 + [(False, False)]  # fmt: skip
    (value,) = cube(2)  # phi alone, and of whole numbers a float
    assert value == 8.0 and value.dtype == float and value.shape == ()
    for order in (-1, 4):
        with pytest.raises(ValueError, match=f"activation test cube: order is {order}"):
            cube(1.0, order)


def test_the_kink_of_relu_has_the_slope_of_its_left():
    for order, expected in ((1, [[0, 0, 2], [0, 0, 1]]), (3, [[0, 0, 2], [0, 0, 1], [0, 0, 0], [0, 0, 0]])):
        found = activations.relu(np.array([-2.0, 0.0, 2.0]), order)
        assert [a.tolist() for a in found] == expected
